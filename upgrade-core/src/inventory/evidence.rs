//! The evidence that Rancher's cluster, Azure's and the API server's are one: what each shows, and what follows from it.
//!
//! The rules are Rancher's, Azure's and AKS's: which side shows what, when two different texts mean the same, and what is the
//! same in many clusters and so proves nothing.

mod nodes;

use core::net::IpAddr;
use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::{Evidence, EvidenceKind, EvidenceVerdict};
use crate::model::{ArmId, KubeVersion, Node};

/// What a side shows, or why that could not be read.
pub type Shown<T> = Result<T, String>;

/// Everything that is compared.
#[derive(Clone, Debug)]
pub struct Sides {
    /// What Rancher shows.
    pub rancher: RancherSide,
    /// What Azure shows.
    pub azure: AzureSide,
    /// What the API server behind Rancher's proxy shows.
    pub kubernetes: KubernetesSide,
}

/// What Rancher shows of the cluster.
#[derive(Clone, Debug)]
pub struct RancherSide {
    /// The API server's authority, PEM. Rancher may have added certificates of its own.
    pub authority: Shown<String>,
    /// The AKS configuration; `None` for a generic import, which has none.
    pub aks: Option<AksConfig>,
}

/// Rancher's AKS configuration, as far as it says which cluster is meant.
#[derive(Clone, Debug)]
pub struct AksConfig {
    /// The cluster's name in Azure.
    pub name: Option<String>,
    /// Its resource group.
    pub resource_group: Option<String>,
    /// The URL under which Rancher reaches the API server.
    pub endpoint: Option<String>,
    /// The subscription of the cloud credential.
    pub subscription: Shown<String>,
}

/// What Azure shows of the cluster.
#[derive(Clone, Debug)]
pub struct AzureSide {
    /// The resource id.
    pub id: ArmId,
    /// The resource group of the nodes.
    pub node_resource_group: Option<String>,
    /// The API server's authority, PEM.
    pub authority: Shown<String>,
    /// The API server's names, public and private, as far as it has them.
    pub endpoints: Vec<String>,
    /// The control plane's version.
    pub version: Option<KubeVersion>,
    /// The pools, by name, with the nodes they count, where they count any.
    pub pools: Vec<(String, Option<u32>)>,
}

/// What the API server behind Rancher's proxy shows.
#[derive(Clone, Debug)]
pub struct KubernetesSide {
    /// Its version.
    pub version: KubeVersion,
    /// Its nodes.
    pub nodes: Shown<Vec<Node>>,
    /// The authority that it gives to its own pods (`kube-root-ca.crt`), PEM. Wanted only where Azure's could not be read.
    pub authority: Option<Shown<String>>,
}

/// Compares the sides. Equal sides give equal evidence, in the same order.
pub fn compare(sides: &Sides) -> Vec<Evidence> {
    let Sides { rancher, azure, kubernetes } = sides;
    let mut evidence = vec![
        authority(&rancher.authority, &azure.authority, kubernetes.authority.as_ref()),
        nodes::machines(&kubernetes.nodes, azure),
    ];
    if let Some(config) = &rancher.aks {
        evidence.extend([endpoint(config, azure), configuration(config, azure), credential(config, azure)]);
    }
    evidence.extend([version(kubernetes.version, azure.version), nodes::sizes(&kubernetes.nodes, azure)]);
    evidence
}

/// Azure answers for another cluster than was asked for. Nothing else that it says is about the one that is meant.
pub fn another_resource(asked: &str, answered: &str) -> Evidence {
    let detail = format!("{asked} was asked for, and Azure answers for {answered}");
    EvidenceKind::ArmId.found(EvidenceVerdict::Contradicts, detail)
}

/// Rancher answers for another cluster than was asked for.
pub fn another_record(asked: &str, answered: &str) -> Evidence {
    let detail = format!("{asked} was asked for, and Rancher answers for {answered}");
    EvidenceKind::RancherId.found(EvidenceVerdict::Contradicts, detail)
}

impl EvidenceKind {
    fn found(self, verdict: EvidenceVerdict, detail: impl Into<String>) -> Evidence {
        Evidence { what: self, verdict, detail: detail.into() }
    }

    fn agrees(self, detail: impl Into<String>) -> Evidence {
        self.found(EvidenceVerdict::Agrees, detail)
    }

    fn contradicts(self, detail: impl Into<String>) -> Evidence {
        self.found(EvidenceVerdict::Contradicts, detail)
    }

    fn unavailable(self, detail: impl Into<String>) -> Evidence {
        self.found(EvidenceVerdict::Unavailable, detail)
    }
}

/// Every AKS cluster has an authority of its own. Rancher may trust others beside it (its "additional CA"), so sets are
/// compared, and Azure's has to lie in Rancher's.
///
/// Without Azure's, the authority that the cluster gives to its own pods can still tell that Rancher's record is of another
/// cluster. It cannot tell that it is Azure's.
fn authority(rancher: &Shown<String>, azure: &Shown<String>, own: Option<&Shown<String>>) -> Evidence {
    let kind = EvidenceKind::ApiServerCa;
    let rancher = match rancher.as_ref().map(|pem| certificates(pem)) {
        Ok(found) if found.is_empty() => return kind.unavailable("Rancher shows no certificate"),
        Ok(found) => found,
        Err(why) => return kind.unavailable(format!("Rancher: {why}")),
    };
    let why = match azure.as_ref().map(|pem| certificates(pem)) {
        Ok(found) if found.is_empty() => "Azure shows no certificate".to_owned(),
        Ok(found) if found.is_subset(&rancher) => {
            return kind.agrees(format!("Rancher trusts Azure's, {}", fingerprint(&found)));
        }
        Ok(found) => {
            let (azure, rancher) = (fingerprint(&found), fingerprint(&rancher));
            return kind.contradicts(format!("Azure's is {azure}, and Rancher trusts {rancher}"));
        }
        Err(why) => format!("Azure: {why}"),
    };
    match own {
        None => kind.unavailable(why),
        Some(Err(unread)) => kind.unavailable(format!("{why}; the cluster's own: {unread}")),
        Some(Ok(pem)) => {
            let own = certificates(pem);
            if own.is_empty() {
                kind.unavailable(format!("{why}; the cluster shows no certificate of its own"))
            } else if own.is_disjoint(&rancher) {
                let (own, rancher) = (fingerprint(&own), fingerprint(&rancher));
                kind.contradicts(format!("the cluster's own is {own}, and Rancher trusts {rancher}"))
            } else {
                kind.unavailable(format!("{why}; the one that Rancher trusts is the cluster's own"))
            }
        }
    }
}

/// The certificates of a PEM text, each without line breaks.
fn certificates(pem: &str) -> BTreeSet<String> {
    let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
    let bodies = blocks.filter_map(|block| block.split_once("-----END CERTIFICATE-----"));
    let compact = bodies.map(|(body, _)| body.split_ascii_whitespace().collect::<String>());
    compact.filter(|body| !body.is_empty()).collect()
}

/// Enough of a digest to tell authorities apart, for people. Not the fingerprint of the certificate itself.
fn fingerprint(certificates: &BTreeSet<String>) -> String {
    let one = |body: &String| {
        let digest = Sha256::digest(body.as_bytes());
        let (first, _) = digest.split_first_chunk::<8>().expect("a SHA-256 has 32 bytes");
        format!("{:012x}", u64::from_be_bytes(*first) >> 16)
    };
    certificates.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// Rancher's operator takes the endpoint from Azure, so it is one of Azure's names. An address is none: it says where the API
/// server is reached, and the same one serves many clusters.
fn endpoint(config: &AksConfig, azure: &AzureSide) -> Evidence {
    let kind = EvidenceKind::Endpoint;
    let Some(url) = &config.endpoint else { return kind.unavailable("Rancher shows none") };
    let host = host_of(url);
    if host.is_empty() || host.parse::<IpAddr>().is_ok() {
        return kind.unavailable(format!("Rancher's is {url}, which names no cluster"));
    }
    if azure.endpoints.is_empty() {
        return kind.unavailable("Azure shows no name of the API server");
    }
    if azure.endpoints.iter().any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(host)) {
        kind.agrees(format!("both say {host}"))
    } else {
        kind.contradicts(format!("Rancher's is {host}, Azure's {}", azure.endpoints.join(" and ")))
    }
}

/// The host of a URL, without port, brackets and a final dot; empty where there is none.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.trim_end_matches('.')
}

/// Rancher's configuration has no subscription: a cluster of the same name and group in another one looks the same. Agreement
/// is worth little, another name is another cluster.
fn configuration(config: &AksConfig, azure: &AzureSide) -> Evidence {
    let kind = EvidenceKind::AksConfig;
    let (Some(name), Some(group)) = (&config.name, &config.resource_group) else {
        return kind.unavailable("Rancher's names no cluster");
    };
    let shown = format!("Rancher's is for {name} in resource group {group}");
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    if same(name, azure.id.name()) && same(group, azure.id.resource_group()) {
        kind.agrees(shown)
    } else {
        kind.contradicts(format!("{shown}, Azure's {} in {}", azure.id.name(), azure.id.resource_group()))
    }
}

fn credential(config: &AksConfig, azure: &AzureSide) -> Evidence {
    let kind = EvidenceKind::Credential;
    let wanted = azure.id.subscription();
    match &config.subscription {
        Err(why) => kind.unavailable(format!("Rancher: {why}")),
        Ok(found) if found.eq_ignore_ascii_case(wanted) => {
            kind.agrees(format!("Rancher's is for subscription {found}"))
        }
        Ok(found) => {
            kind.contradicts(format!("Rancher's is for subscription {found}, the cluster is in {wanted}"))
        }
    }
}

/// Two versions that differ do not contradict: an upgrade may be under way, and Azure tells of it before or after.
fn version(kubernetes: KubeVersion, azure: Option<KubeVersion>) -> Evidence {
    let kind = EvidenceKind::Version;
    match azure {
        None => kind.unavailable("Azure shows none"),
        Some(azure) if azure == kubernetes => kind.agrees(format!("both say {azure}")),
        Some(azure) => kind
            .unavailable(format!("the API server says {kubernetes}, Azure {azure}; one of them is behind")),
    }
}

#[cfg(test)]
mod tests;

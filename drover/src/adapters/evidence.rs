//! The evidence that Rancher's cluster is Azure's.

use std::collections::BTreeSet;

use aks_client::ManagedCluster;
use rancher_client::Cluster;
use rancher_client::ca::pem_checksum;
use upgrade_core::inventory::{Evidence, EvidenceVerdict};
use upgrade_core::model::{KubeVersion, Node};
use upgrade_core::ports::{PortError, PortErrorKind};

use super::text::one_line;
use super::{API_SERVER_CA, NODE_PROVIDER_IDS, azure};

/// Evidence that is consistent and proves nothing.
const KUBERNETES_VERSION: &str = "Kubernetes version";

fn evidence(what: &str, verdict: EvidenceVerdict, detail: impl AsRef<str>) -> Evidence {
    Evidence { what: what.to_owned(), verdict, detail: one_line(detail.as_ref()) }
}

/// The machines behind the nodes lie in the cluster's node resource group. A group belongs to one cluster alone, so this
/// binds Kubernetes to Azure.
pub(super) fn nodes(
    nodes: Result<Vec<Node>, PortError>,
    cluster: &ManagedCluster,
) -> Result<Evidence, PortError> {
    let found = |verdict, detail: String| Ok(evidence(NODE_PROVIDER_IDS, verdict, detail));
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(error) if error.kind == PortErrorKind::Forbidden => {
            return found(EvidenceVerdict::Unavailable, error.message);
        }
        Err(error) => return Err(error),
    };
    let subscription = cluster.id().subscription().to_string();
    let Some(group) = cluster.node_resource_group() else {
        return found(EvidenceVerdict::Unavailable, "Azure shows no node resource group".to_owned());
    };
    // A node has no provider id until the cloud's controller has met it.
    let known = nodes.iter().filter_map(|node| Some((node, node.provider_id.as_deref()?)));
    let known: Vec<(&Node, &str)> = known.collect();
    let elsewhere = known.iter().find(|(_, id)| !is_machine_of(id, &subscription, group));
    match (known.len(), elsewhere) {
        (0, _) => found(EvidenceVerdict::Unavailable, "no node shows one".to_owned()),
        (_, Some((node, id))) => found(
            EvidenceVerdict::Contradicts,
            format!(
                "node {} is {id}, not a machine of resource group {group} in subscription {subscription}",
                node.name
            ),
        ),
        (count, None) => found(
            EvidenceVerdict::Agrees,
            format!("all {count} are machines of resource group {group} in subscription {subscription}"),
        ),
    }
}

/// `azure:///subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.Compute/...`, in any case.
fn is_machine_of(provider_id: &str, subscription: &str, group: &str) -> bool {
    let id = provider_id.to_ascii_lowercase();
    let machines =
        format!("azure:///subscriptions/{subscription}/resourcegroups/{group}/providers/microsoft.compute/");
    id.starts_with(&machines.to_ascii_lowercase())
}

/// Every AKS cluster has an authority of its own. Rancher may have added others beside it.
pub(super) fn authority(
    rancher: &Cluster,
    azure: Result<Option<String>, aks_client::Error>,
) -> Result<Evidence, PortError> {
    let unavailable = |detail: &str| Ok(evidence(API_SERVER_CA, EvidenceVerdict::Unavailable, detail));
    let azure = match azure {
        Ok(Some(pem)) => pem,
        Ok(None) => return unavailable("Azure shows none"),
        Err(error @ aks_client::Error::Forbidden { .. }) => {
            return unavailable(&format!("Azure does not let it be read: {error}"));
        }
        Err(error) => return Err(azure::port_error(error)),
    };
    let rancher = match rancher.ca_cert() {
        Ok(Some(pem)) => pem,
        Ok(None) => return unavailable("Rancher shows none"),
        Err(error) => return unavailable(&format!("Rancher: {error}")),
    };
    let (of_azure, of_rancher) = (certificates(&azure), certificates(&rancher));
    let short = |pem: &str| pem_checksum(pem)[..12].to_owned();
    let values = format!("Azure's PEM is {}.., Rancher's {}..", short(&azure), short(&rancher));
    if of_azure.is_empty() || of_rancher.is_empty() {
        return unavailable("no certificate can be read");
    }
    Ok(if of_azure.is_subset(&of_rancher) {
        evidence(
            API_SERVER_CA,
            EvidenceVerdict::Agrees,
            format!("Rancher trusts Azure's certificate; {values}"),
        )
    } else {
        evidence(API_SERVER_CA, EvidenceVerdict::Contradicts, format!("two different authorities: {values}"))
    })
}

/// The certificates of a PEM text, each without line breaks.
fn certificates(pem: &str) -> BTreeSet<String> {
    let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
    let bodies = blocks.filter_map(|block| block.split_once("-----END CERTIFICATE-----"));
    bodies.map(|(body, _)| body.split_ascii_whitespace().collect()).collect()
}

/// Two versions that differ do not contradict: an upgrade may be under way, and Azure tells of it before or after.
pub(super) fn version(kubernetes: KubeVersion, azure: &ManagedCluster) -> Evidence {
    let found = |verdict, detail: String| evidence(KUBERNETES_VERSION, verdict, detail);
    match azure.current_kubernetes_version().map(str::parse::<KubeVersion>) {
        Some(Ok(version)) if version == kubernetes => {
            found(EvidenceVerdict::Agrees, format!("both say {version}"))
        }
        Some(Ok(version)) => found(
            EvidenceVerdict::Unavailable,
            format!("the API server says {kubernetes}, Azure {version}; one of them is behind"),
        ),
        Some(Err(_)) | None => found(EvidenceVerdict::Unavailable, "Azure shows no version".to_owned()),
    }
}

#[cfg(test)]
mod tests;

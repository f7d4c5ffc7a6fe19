//! Which cluster this is, and when that counts as proven.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{ArmId, RancherClusterId, Uid};

/// Which cluster this is: the names that Rancher, Azure and Kubernetes have for it, bound together by evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterIdentity {
    /// The name in `drover.toml`.
    pub name: String,
    /// The id in Rancher.
    pub rancher_id: RancherClusterId,
    /// The id in Azure.
    pub arm_id: ArmId,
    /// The uid of the namespace `kube-system`, which lives as long as the cluster.
    pub kube_system: Uid,
    /// Why the three are one cluster.
    pub evidence: Vec<Evidence>,
}

impl ClusterIdentity {
    /// Is `other` the same cluster? The evidence may differ, the names may not.
    pub fn is_same_cluster(&self, other: &Self) -> bool {
        self.rancher_id == other.rancher_id
            && self.arm_id == other.arm_id
            && self.kube_system == other.kube_system
    }

    /// Does the evidence prove that the three names mean one cluster? See [`proof`].
    pub fn proof(&self) -> Result<(), Unproven> {
        proof(&self.evidence)
    }

    /// What `self`, just read, has that `planned` has not, in words.
    pub fn difference(&self, planned: &Self) -> String {
        let compared = [
            (
                "Rancher id",
                self.rancher_id.to_string(),
                planned.rancher_id.to_string(),
                self.rancher_id == planned.rancher_id,
            ),
            ("ARM id", self.arm_id.to_string(), planned.arm_id.to_string(), self.arm_id == planned.arm_id),
            (
                "kube-system uid",
                self.kube_system.to_string(),
                planned.kube_system.to_string(),
                self.kube_system == planned.kube_system,
            ),
        ];
        let names = compared
            .iter()
            .filter(|(.., same)| !same)
            .map(|(what, is, was, _)| format!("{what} is {is}, planned for {was}"));
        let against =
            self.evidence.iter().filter(|evidence| evidence.verdict == EvidenceVerdict::Contradicts);
        names.chain(against.map(ToString::to_string)).collect::<Vec<_>>().join("; ")
    }
}

/// One piece of evidence that Rancher's cluster is Azure's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was compared.
    pub what: EvidenceKind,
    /// What came of it.
    pub verdict: EvidenceVerdict,
    /// The values, for people.
    pub detail: String,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.detail)
    }
}

/// What is compared. In files it is the text that people read; a text of a newer Drover is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum EvidenceKind {
    /// The API server's certificate authority, which every AKS cluster has of its own.
    ApiServerCa,
    /// The machines behind the nodes, and the labels that AKS gives to nodes.
    Nodes,
    /// The name under which Rancher itself reaches the API server. Only where Rancher has an AKS configuration.
    Endpoint,
    /// The subscription of the cloud credential in that configuration. Many clusters have the same.
    Credential,
    /// The cluster's name and resource group in that configuration. Another subscription can have the same.
    AksConfig,
    /// The id with which Azure answers. There only if it is another one than was asked for.
    ArmId,
    /// The id with which Rancher answers. There only if it is another one than was asked for.
    RancherId,
    /// The control plane's version. Many clusters have the same, and one side can lag.
    Version,
    /// How many nodes each pool has. Many clusters have the same, and one side can lag.
    Pools,
    /// Something that this version does not know.
    Other(String),
}

impl EvidenceKind {
    const KNOWN: [(Self, &'static str); 9] = [
        (Self::ApiServerCa, "API server CA"),
        (Self::Nodes, "node provider ids"),
        (Self::Endpoint, "API server endpoint"),
        (Self::Credential, "cloud credential"),
        (Self::AksConfig, "AKS configuration"),
        (Self::ArmId, "ARM id"),
        (Self::RancherId, "Rancher id"),
        (Self::Version, "Kubernetes version"),
        (Self::Pools, "pool sizes"),
    ];

    fn text(&self) -> &str {
        match self {
            Self::Other(text) => text,
            known => Self::KNOWN.iter().find(|(kind, _)| kind == known).map_or("", |(_, text)| *text),
        }
    }
}

impl From<String> for EvidenceKind {
    fn from(text: String) -> Self {
        let known = Self::KNOWN.into_iter().find(|(_, known)| *known == text);
        known.map_or(Self::Other(text), |(kind, _)| kind)
    }
}

impl From<EvidenceKind> for String {
    fn from(kind: EvidenceKind) -> Self {
        match kind {
            EvidenceKind::Other(text) => text,
            known => known.text().to_owned(),
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// What a comparison showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceVerdict {
    /// The two sides agree.
    Agrees,
    /// The two sides are different clusters.
    Contradicts,
    /// Neither: a side could not be read, or what it shows says nothing about which cluster it is.
    Unavailable,
}

/// Why it is not proven which cluster this is. Nothing may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// Something says that the names belong to different clusters, whatever else agrees.
    Contradicted {
        /// What does.
        against: Vec<Evidence>,
    },
    /// Nothing contradicts, and too little agrees.
    Insufficient {
        /// What would have to agree and does not.
        missing: Vec<Requirement>,
    },
}

/// Something that a proof cannot do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// One of these has to agree.
    pub one_of: &'static [EvidenceKind],
    /// What was seen of them.
    pub seen: Vec<Evidence>,
}

/// What a proof needs: the authority binds Rancher's record to Azure's cluster, the nodes or the endpoint bind the API server
/// behind Rancher's proxy to it. Everything else can be the same in many clusters.
const REQUIRED: [&[EvidenceKind]; 2] =
    [&[EvidenceKind::ApiServerCa], &[EvidenceKind::Nodes, EvidenceKind::Endpoint]];

/// The rule: nothing contradicts, the API server's authority agrees, and so do the nodes or the endpoint. That something
/// could not be read is never taken for agreement.
///
/// # Errors
/// What contradicts; or else what is missing.
pub fn proof(evidence: &[Evidence]) -> Result<(), Unproven> {
    let of = |verdict| evidence.iter().filter(move |evidence| evidence.verdict == verdict);
    let against: Vec<Evidence> = of(EvidenceVerdict::Contradicts).cloned().collect();
    if !against.is_empty() {
        return Err(Unproven::Contradicted { against });
    }
    let agrees = |kinds: &[EvidenceKind]| of(EvidenceVerdict::Agrees).any(|e| kinds.contains(&e.what));
    let unmet = REQUIRED.into_iter().filter(|kinds| !agrees(kinds));
    let missing: Vec<Requirement> = unmet
        .map(|kinds| Requirement {
            one_of: kinds,
            seen: evidence.iter().filter(|e| kinds.contains(&e.what)).cloned().collect(),
        })
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Unproven::Insufficient { missing }) }
}

impl Unproven {
    /// In a few words, where the evidence stands beside it.
    pub fn summary(&self) -> &'static str {
        match self {
            Self::Contradicted { .. } => "the evidence contradicts",
            Self::Insufficient { .. } => "the evidence does not suffice",
        }
    }

    /// What would make the proof.
    pub fn remedy(&self) -> String {
        match self {
            Self::Contradicted { .. } => {
                "check the Rancher id, the subscription, the resource group and the AKS name in \
                drover.toml: they have to mean one cluster"
                    .to_owned()
            }
            Self::Insufficient { missing } => {
                let all: Vec<&str> = missing.iter().map(Requirement::remedy).collect();
                all.join("; ")
            }
        }
    }
}

impl Requirement {
    fn remedy(&self) -> &'static str {
        if self.one_of.contains(&EvidenceKind::ApiServerCa) {
            "the API server CA has to be seen on both sides: Azure shows it to who may take the action \
             Microsoft.ContainerService/managedClusters/listClusterUserCredential/action, Rancher in the cluster's caCert"
        } else {
            "the cluster's nodes have to be seen, each with its provider id and with AKS's labels: the Rancher user needs to \
             list nodes"
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seen.is_empty() {
            return write!(f, "{}: not compared", listed(self.one_of, " or "));
        }
        f.write_str(&listed(&self.seen, "; "))
    }
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = match self {
            Self::Contradicted { against } => listed(against, "; "),
            Self::Insufficient { missing } => listed(missing, "; "),
        };
        write!(f, "{}: {all}", self.summary())
    }
}

fn listed<T: fmt::Display>(all: &[T], between: &str) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

impl std::error::Error for Unproven {}

#[cfg(test)]
mod tests;

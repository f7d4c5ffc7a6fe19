//! Nodes.

use serde::{Deserialize, Serialize};

use super::{Bytes, KubeVersion, Labels, NodeName, PoolName, Resources, Taint, Uid};

/// The label that names a node's host.
pub const HOST_LABEL: &str = "kubernetes.io/hostname";

/// The label that names a node's zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// The label that keeps a node out of external load balancers, whatever its value (Kubernetes: well-known labels).
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// A Kubernetes Node. The same name with another uid is another node: AKS keeps names when it reimages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The name.
    pub name: NodeName,
    /// The uid.
    pub uid: Uid,
    /// The Azure id of the machine (`azure:///subscriptions/...`), the strongest link between Kubernetes and ARM.
    pub provider_id: Option<String>,
    /// All labels.
    pub labels: Labels,
    /// Taints, the cordon's own excepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Cordoned.
    pub unschedulable: bool,
    /// Condition `Ready` is `True`.
    pub ready: bool,
    /// The kubelet's version; `None` if it has not reported one that can be read.
    pub kubelet: Option<KubeVersion>,
    /// What pods may use.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub max_pods: u32,
    /// What its disk has for images and pods (allocatable `ephemeral-storage`); nothing where it does not say.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub disk: Bytes,
    /// Images on its disk with their sizes; Kubernetes reports at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<(String, Bytes)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
fn is_nothing(bytes: &Bytes) -> bool {
    bytes.0 == 0
}

impl Node {
    /// The AKS pool it belongs to, by label; names are never parsed for it.
    pub fn pool(&self) -> Option<PoolName> {
        self.pool_label().and_then(|name| PoolName::new(name).ok())
    }

    /// Does it belong to this pool?
    pub fn is_in(&self, pool: &PoolName) -> bool {
        self.pool_label() == Some(pool.as_str())
    }

    pub(crate) fn pool_label(&self) -> Option<&str> {
        ["kubernetes.azure.com/agentpool", "agentpool"]
            .iter()
            .find_map(|key| self.labels.get(*key))
            .map(String::as_str)
    }

    /// The zone, if the node says.
    pub fn zone(&self) -> Option<&str> {
        self.labels.get(ZONE_LABEL).map(String::as_str)
    }

    /// Does it run Windows?
    pub fn is_windows(&self) -> bool {
        self.labels.get("kubernetes.io/os").is_some_and(|os| os == "windows")
    }

    /// Who keeps it out of external load balancers: the label's value, which is a run's id if a run has set it.
    pub fn excluded_by(&self) -> Option<&str> {
        self.labels.get(EXCLUDE_LABEL).map(String::as_str)
    }

    /// Ready for new pods: the kubelet answers, nobody cordoned it, and no taint of a machine in trouble or not yet set up
    /// is left (Kubernetes: well-known taints).
    pub fn takes_pods(&self) -> bool {
        const TROUBLE: [&str; 3] =
            ["node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "ToBeDeletedByClusterAutoscaler"];
        self.ready
            && !self.unschedulable
            && !self.taints.iter().any(|t| TROUBLE.iter().any(|p| t.key.starts_with(p)))
    }
}

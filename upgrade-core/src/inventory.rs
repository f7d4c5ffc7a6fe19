//! What was seen, when, and what could not be seen.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::access::Reviewed;
use crate::model::{
    ArmId, Budget, Claim, EndpointSlice, FormatVersion, ManagedCluster, Node, Pod, Pool, PoolName,
    RancherClusterId, Service, Uid, Workload,
};
use crate::trial::Tried;
use crate::view::{Change, Object, ResourceKind, View};

/// Everything a plan rests on. Holds no secret and no environment value: the slim model has no place for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// The file format.
    pub format: FormatVersion,
    /// When it was taken; `None` inside a plan file, so that the same cluster gives the same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Timestamp>,
    /// Which cluster it is, proven.
    pub identity: ClusterIdentity,
    /// What Rancher says of it.
    pub rancher: RancherFacts,
    /// The cluster as Azure sees it.
    pub cluster: ManagedCluster,
    /// The pools, by name.
    pub pools: Vec<Pool>,
    /// The nodes, by name.
    pub nodes: Vec<Node>,
    /// The pods, by name.
    pub pods: Vec<Pod>,
    /// The workloads, by kind and name.
    pub workloads: Vec<Workload>,
    /// The budgets, by name.
    pub budgets: Vec<Budget>,
    /// The Services, by name.
    pub services: Vec<Service>,
    /// Their endpoints, by name.
    pub slices: Vec<EndpointSlice>,
    /// The claims, by name.
    pub claims: Vec<Claim>,
    /// The deprecated APIs that somebody uses, as far as the API server has counted since it started.
    #[serde(default)]
    pub deprecated_apis: Vec<DeprecatedApi>,
    /// What the token's user may do, as far as it was asked.
    #[serde(default)]
    pub access: Vec<Reviewed>,
    /// What the API server said to the writes of the plan that was made of this inventory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<Tried>,
    /// What could not be seen, and why. Never empty in silence: a check that needs it says "unknown".
    pub unseen: Vec<Unseen>,
}

/// One thing that could not be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// What: a resource's plural, or a part of Azure or Rancher.
    pub what: String,
    /// Why.
    pub why: String,
}

/// A deprecated API that somebody has requested since the API server started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeprecatedApi {
    /// Its group; empty for core.
    pub group: String,
    /// Its version.
    pub version: String,
    /// The resource, with its subresource if it was that.
    pub resource: String,
    /// The release that does not serve it any more, as the API server writes it (`1.35`); empty where none is set.
    pub removed_release: String,
}

impl DeprecatedApi {
    /// The release that does not serve it any more; `None` where none is set, or where it cannot be read.
    pub fn removed_in(&self) -> Option<(u16, u16)> {
        let (major, minor) = self.removed_release.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }
}

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

    /// Does any evidence say that the names belong to different clusters?
    pub fn contradicts(&self) -> bool {
        self.evidence.iter().any(|evidence| evidence.verdict == EvidenceVerdict::Contradicts)
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
        let all: Vec<String> =
            names.chain(against.map(|evidence| format!("{}: {}", evidence.what, evidence.detail))).collect();
        all.join("; ")
    }
}

/// One piece of evidence that Rancher's cluster is Azure's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was compared.
    pub what: String,
    /// What came of it.
    pub verdict: EvidenceVerdict,
    /// The values, for people.
    pub detail: String,
}

/// What a comparison showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceVerdict {
    /// The two sides agree.
    Agrees,
    /// The two sides are different clusters.
    Contradicts,
    /// One side could not be read.
    Unavailable,
}

/// What Rancher says of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RancherFacts {
    /// The server's version, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The cluster's state, in Rancher's word.
    pub state: String,
    /// Whether Rancher writes to Azure too.
    pub ownership: Ownership,
    /// When the token ends, if it does and says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires: Option<Timestamp>,
}

/// Whether Rancher is a second writer to the cluster's Azure side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Ownership {
    /// A generic import: Rancher never touches Azure.
    Generic,
    /// An AKS cluster whose version and pools were never edited in Rancher.
    Unmanaged,
    /// Rancher makes Azure match its own record.
    Managed,
    /// A combination that Drover does not know.
    Unclear {
        /// What is odd about it.
        reason: String,
    },
}

impl Inventory {
    /// The Kubernetes part as a view.
    pub fn view(&self) -> View {
        let mut view = View::default();
        let workloads = self.workloads.iter().cloned().map(Object::Workload);
        let rest = (self.nodes.iter().cloned().map(Object::Node))
            .chain(self.pods.iter().cloned().map(Object::Pod))
            .chain(self.budgets.iter().cloned().map(Object::Budget))
            .chain(self.services.iter().cloned().map(Object::Service))
            .chain(self.slices.iter().cloned().map(Object::Slice))
            .chain(self.claims.iter().cloned().map(Object::Claim));
        for object in workloads.chain(rest) {
            view.apply(Change::Applied(object));
        }
        view
    }

    /// Fills the Kubernetes part from a view, sorted, so that equal clusters give equal bytes.
    pub fn set_view(&mut self, view: &View) {
        self.nodes = view.nodes().cloned().collect();
        self.pods = view.pods().cloned().collect();
        self.workloads = view.workloads().cloned().collect();
        self.budgets = view.budgets().cloned().collect();
        self.services = view.services().cloned().collect();
        self.slices = view.slices().cloned().collect();
        self.claims = view.claims().cloned().collect();
    }

    /// One pool.
    pub fn pool(&self, name: &PoolName) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == *name)
    }

    /// Why a kind of resource could not be seen; `None` if it was.
    pub fn unseen(&self, kind: ResourceKind) -> Option<&str> {
        self.unseen.iter().find(|unseen| unseen.what == kind.plural()).map(|unseen| unseen.why.as_str())
    }
}

//! What was seen, when, and what could not be seen.

pub mod evidence;
mod identity;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::access::Reviewed;
use crate::model::{
    Autoscaler, Budget, Claim, EndpointSlice, FormatVersion, ManagedCluster, Node, Pod, Pool, PoolName,
    Service, Surroundings, Workload,
};
use crate::ports::{AzureView, KubeSnapshot};
use crate::trial::Tried;
use crate::view::{Change, Object, ResourceKind, View};

pub use identity::{ClusterIdentity, Evidence, EvidenceKind, EvidenceVerdict, Requirement, Unproven, proof};

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
    /// The HorizontalPodAutoscalers, by name.
    #[serde(default)]
    pub autoscalers: Vec<Autoscaler>,
    /// The deprecated APIs that somebody uses, as far as the API server has counted since it started.
    #[serde(default)]
    pub deprecated_apis: Vec<DeprecatedApi>,
    /// What else decides about pods, as it was when it was read.
    #[serde(default, skip_serializing_if = "Surroundings::is_empty")]
    pub surroundings: Surroundings,
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
    /// When the token ends, by Rancher's clock, if it does and says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires: Option<Timestamp>,
    /// Why the end of the token could not be read; `None` where it was read, also if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_unread: Option<String>,
    /// By how many seconds Rancher's clock is ahead of this machine's; negative if it is behind, `None` if Rancher did not
    /// show its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_seconds: Option<i64>,
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
    Managed(SecondWriter),
    /// A combination that Drover does not know.
    Unclear {
        /// What is odd about it.
        reason: String,
    },
}

/// How a Rancher stands that writes to Azure, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondWriter {
    /// Every reason why nothing may be changed in Azure now, in words. Empty if Rancher is at rest and wants exactly what
    /// Azure has.
    #[serde(default = "not_judged")]
    pub out_of_sync: Vec<String>,
    /// How often Rancher reads Azure, in seconds (its setting `aks-refresh`).
    #[serde(default = "refresh_seconds")]
    pub refresh_seconds: u64,
    /// When it last did, by its own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refresh: Option<Timestamp>,
}

/// A description that does not say whether the two agree is no proof that they do.
fn not_judged() -> Vec<String> {
    vec!["it was not looked at whether Rancher and Azure agree".to_owned()]
}

/// Rancher's default.
const fn refresh_seconds() -> u64 {
    300
}

impl SecondWriter {
    /// The same, without what passes by itself.
    fn timeless(self) -> Self {
        Self { last_refresh: None, ..self }
    }

    /// How long a healthy Rancher may take to adopt a change: two of its reads of Azure, and two minutes for everything
    /// around them.
    pub fn longest_wait(&self) -> Duration {
        Self::longest_wait_at(Duration::from_secs(self.refresh_seconds))
    }

    /// The same for a Rancher that did not say how often it reads.
    pub fn usual_wait() -> Duration {
        Self::longest_wait_at(Duration::from_secs(refresh_seconds()))
    }

    fn longest_wait_at(refresh: Duration) -> Duration {
        refresh.saturating_mul(2).saturating_add(Duration::from_secs(120))
    }
}

impl Inventory {
    /// The same without what differs from one look to the next although nothing has changed: equal clusters are equal
    /// bytes.
    #[must_use]
    pub fn timeless(self) -> Self {
        let RancherFacts { ownership, .. } = self.rancher;
        let ownership = match ownership {
            Ownership::Managed(writer) => Ownership::Managed(writer.timeless()),
            other => other,
        };
        let rancher = RancherFacts { ownership, clock_ahead_seconds: None, ..self.rancher };
        Self { taken_at: None, rancher, ..self }
    }

    /// The Kubernetes part as a view.
    pub fn view(&self) -> View {
        let mut view = View::default();
        let workloads = self.workloads.iter().cloned().map(Object::Workload);
        let rest = (self.nodes.iter().cloned().map(Object::Node))
            .chain(self.pods.iter().cloned().map(Object::Pod))
            .chain(self.budgets.iter().cloned().map(Object::Budget))
            .chain(self.services.iter().cloned().map(Object::Service))
            .chain(self.slices.iter().cloned().map(Object::Slice))
            .chain(self.claims.iter().cloned().map(Object::Claim))
            .chain(self.autoscalers.iter().cloned().map(Object::Autoscaler));
        for object in workloads.chain(rest) {
            view.apply(Change::Applied(object));
        }
        view
    }

    /// Puts together what was read at one time. Sorted, so that equal clusters give equal bytes. What is asked afterwards
    /// (access, trials) is still to come.
    pub fn of(
        taken_at: Timestamp,
        identity: ClusterIdentity,
        rancher: RancherFacts,
        azure: AzureView,
        snapshot: KubeSnapshot,
    ) -> Self {
        let mut inventory = Self {
            format: FormatVersion::CURRENT,
            taken_at: Some(taken_at),
            identity,
            rancher,
            cluster: azure.cluster,
            pools: azure.pools,
            nodes: Vec::new(),
            pods: Vec::new(),
            workloads: Vec::new(),
            budgets: Vec::new(),
            services: Vec::new(),
            slices: Vec::new(),
            claims: Vec::new(),
            autoscalers: Vec::new(),
            deprecated_apis: snapshot.deprecated_apis,
            surroundings: snapshot.surroundings.in_order(),
            access: Vec::new(),
            trials: Vec::new(),
            unseen: snapshot.unseen,
        };
        inventory.take_in(snapshot.lists);
        inventory
    }

    /// Takes the objects out of the lists: of a large cluster there is no room for two.
    fn take_in(&mut self, lists: Vec<Change>) {
        let objects = lists.into_iter().flat_map(|list| match list {
            Change::Listed { objects, .. } => objects,
            // A snapshot is made of lists.
            Change::Applied(_) | Change::Deleted { .. } => Vec::new(),
        });
        for object in objects {
            match object {
                Object::Node(node) => self.nodes.push(node),
                Object::Pod(pod) => self.pods.push(pod),
                Object::Workload(workload) => self.workloads.push(workload),
                Object::Budget(budget) => self.budgets.push(budget),
                Object::Service(service) => self.services.push(service),
                Object::Slice(slice) => self.slices.push(slice),
                Object::Claim(claim) => self.claims.push(claim),
                Object::Autoscaler(scaler) => self.autoscalers.push(scaler),
            }
        }
        put_in_order(&mut self.nodes, |node| &node.name);
        put_in_order(&mut self.pods, |pod| &pod.name);
        put_in_order(&mut self.workloads, |workload| &workload.reference);
        put_in_order(&mut self.budgets, |budget| &budget.name);
        put_in_order(&mut self.services, |service| &service.name);
        put_in_order(&mut self.slices, |slice| &slice.name);
        put_in_order(&mut self.claims, |claim| &claim.name);
        put_in_order(&mut self.autoscalers, |scaler| &scaler.name);
    }

    /// What decides how a workload leaves a node, as a view: the workloads, the budgets, the Services, the claims, the nodes and the
    /// autoscalers, without the many pods.
    pub(crate) fn view_of_workloads(&self) -> View {
        let mut view = View::default();
        let workloads = self.workloads.iter().cloned().map(Object::Workload);
        let rest = (self.budgets.iter().cloned().map(Object::Budget))
            .chain(self.services.iter().cloned().map(Object::Service))
            .chain(self.claims.iter().cloned().map(Object::Claim))
            .chain(self.nodes.iter().cloned().map(Object::Node))
            .chain(self.autoscalers.iter().cloned().map(Object::Autoscaler));
        for object in workloads.chain(rest) {
            view.apply(Change::Applied(object));
        }
        view
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

/// Sorts objects by name; of two with one name the later stays.
fn put_in_order<T, K: Ord>(objects: &mut Vec<T>, name: impl Fn(&T) -> &K) {
    objects.reverse();
    objects.sort_by(|a, b| name(a).cmp(name(b)));
    objects.dedup_by(|later, earlier| name(later) == name(earlier));
    objects.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use crate::model::tests_support::{inventory, node, pod, replica_set, service};

    use super::*;

    #[test]
    fn lists_fill_an_inventory_as_their_view_would() {
        let mut newer = pod("shop/web-1", "n1");
        newer.ready = false;
        let pods = [pod("shop/web-2", "n1"), pod("shop/web-1", "n1"), pod("pay/api-1", "n2"), newer];
        let lists: [Vec<Object>; 4] = [
            vec![Object::Node(node("n2", "user")), Object::Node(node("n1", "user"))],
            pods.map(Object::Pod).to_vec(),
            vec![Object::Workload(replica_set(2))],
            vec![Object::Service(service("shop/web"))],
        ];
        let kinds = [ResourceKind::Node, ResourceKind::Pod, ResourceKind::ReplicaSet, ResourceKind::Service];
        let mut view = View::default();
        for (kind, objects) in kinds.into_iter().zip(lists.clone()) {
            view.apply(Change::Listed { kind, objects });
        }
        let mut by_lists = Inventory { nodes: Vec::new(), pods: Vec::new(), ..inventory() };
        (by_lists.workloads, by_lists.services) = (Vec::new(), Vec::new());
        let lists = kinds.into_iter().zip(lists).map(|(kind, objects)| Change::Listed { kind, objects });
        by_lists.take_in(lists.collect());
        assert_eq!(by_lists.nodes.iter().collect::<Vec<_>>(), view.nodes().collect::<Vec<_>>());
        assert_eq!(by_lists.pods.iter().collect::<Vec<_>>(), view.pods().collect::<Vec<_>>());
        assert_eq!(by_lists.workloads.iter().collect::<Vec<_>>(), view.workloads().collect::<Vec<_>>());
        assert_eq!(by_lists.services.iter().collect::<Vec<_>>(), view.services().collect::<Vec<_>>());
        assert_eq!((by_lists.pods.len(), by_lists.pods[1].ready), (3, false));
    }
}

//! The cluster as last observed: a cache that lists and watches keep up to date, with the indexes decisions need.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{
    Budget, Claim, EndpointSlice, Labels, Node, NodeName, ObjectName, Owner, Pod, PoolName, Service, Uid,
    Workload, WorkloadKind, WorkloadRef,
};

/// The Kubernetes resources that Drover reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResourceKind {
    /// core/v1 nodes.
    Node,
    /// core/v1 pods.
    Pod,
    /// apps/v1 deployments.
    Deployment,
    /// apps/v1 statefulsets.
    StatefulSet,
    /// apps/v1 daemonsets.
    DaemonSet,
    /// apps/v1 replicasets.
    ReplicaSet,
    /// batch/v1 jobs.
    Job,
    /// policy/v1 poddisruptionbudgets.
    PodDisruptionBudget,
    /// core/v1 services.
    Service,
    /// discovery.k8s.io/v1 endpointslices.
    EndpointSlice,
    /// core/v1 persistentvolumeclaims.
    PersistentVolumeClaim,
}

impl ResourceKind {
    /// All of them, in the order in which they are read.
    pub const ALL: [Self; 11] = [
        Self::Node,
        Self::Pod,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::Job,
        Self::PodDisruptionBudget,
        Self::Service,
        Self::EndpointSlice,
        Self::PersistentVolumeClaim,
    ];

    /// The plural in the API's path, for messages and access reviews.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Node => "nodes",
            Self::Pod => "pods",
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
            Self::ReplicaSet => "replicasets",
            Self::Job => "jobs",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::PersistentVolumeClaim => "persistentvolumeclaims",
        }
    }

    /// The kind under which a workload is read; `None` for owners that are not read (custom resources).
    pub fn of_workload(kind: &WorkloadKind) -> Option<Self> {
        Some(match kind {
            WorkloadKind::Deployment => Self::Deployment,
            WorkloadKind::StatefulSet => Self::StatefulSet,
            WorkloadKind::DaemonSet => Self::DaemonSet,
            WorkloadKind::ReplicaSet => Self::ReplicaSet,
            WorkloadKind::Job => Self::Job,
            WorkloadKind::Other(_) => return None,
        })
    }

    fn workload_kind(self) -> Option<WorkloadKind> {
        Some(match self {
            Self::Deployment => WorkloadKind::Deployment,
            Self::StatefulSet => WorkloadKind::StatefulSet,
            Self::DaemonSet => WorkloadKind::DaemonSet,
            Self::ReplicaSet => WorkloadKind::ReplicaSet,
            Self::Job => WorkloadKind::Job,
            _ => return None,
        })
    }
}

/// One object of the slim model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "moved once, from the decoder into the view; boxes would cost each pod an allocation"
)]
pub enum Object {
    /// A node.
    Node(Node),
    /// A pod.
    Pod(Pod),
    /// A Deployment, StatefulSet, DaemonSet, ReplicaSet or Job.
    Workload(Workload),
    /// A PodDisruptionBudget.
    Budget(Budget),
    /// A Service.
    Service(Service),
    /// An EndpointSlice.
    Slice(EndpointSlice),
    /// A PersistentVolumeClaim.
    Claim(Claim),
}

impl Object {
    /// What kind of resource it is; `None` for a workload of a kind that is not read.
    pub fn kind(&self) -> Option<ResourceKind> {
        Some(match self {
            Self::Node(_) => ResourceKind::Node,
            Self::Pod(_) => ResourceKind::Pod,
            Self::Workload(workload) => return ResourceKind::of_workload(&workload.reference.kind),
            Self::Budget(_) => ResourceKind::PodDisruptionBudget,
            Self::Service(_) => ResourceKind::Service,
            Self::Slice(_) => ResourceKind::EndpointSlice,
            Self::Claim(_) => ResourceKind::PersistentVolumeClaim,
        })
    }
}

/// Something that a list or a watch says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "changes are moved once, from the decoder into the view")]
pub enum Change {
    /// Everything there is of one kind; what is not in it is gone.
    Listed {
        /// The kind.
        kind: ResourceKind,
        /// All its objects.
        objects: Vec<Object>,
    },
    /// An object is new or changed.
    Applied(Object),
    /// An object is gone.
    Deleted {
        /// Its kind.
        kind: ResourceKind,
        /// `namespace/name`, or the bare name of a node.
        name: String,
    },
}

/// The cluster as last observed.
///
/// It is as fresh as its last change, no fresher. Lookups by owner and by node cost the size of their answer.
#[derive(Clone, Debug, Default)]
pub struct View {
    nodes: BTreeMap<NodeName, Node>,
    pods: BTreeMap<ObjectName, Pod>,
    workloads: BTreeMap<WorkloadRef, Workload>,
    budgets: BTreeMap<ObjectName, Budget>,
    services: BTreeMap<ObjectName, Service>,
    slices: BTreeMap<ObjectName, EndpointSlice>,
    claims: BTreeMap<ObjectName, Claim>,
    pods_by_node: BTreeMap<NodeName, BTreeSet<ObjectName>>,
    pods_by_owner: BTreeMap<Uid, BTreeSet<ObjectName>>,
    sets_by_deployment: BTreeMap<Uid, BTreeSet<WorkloadRef>>,
    slices_by_service: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
}

fn unlink<K: Ord, V: Ord>(index: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = index.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            index.remove(key);
        }
    }
}

impl View {
    /// Takes in a change; returns the Services whose endpoints may have changed.
    pub fn apply(&mut self, change: Change) -> BTreeSet<ObjectName> {
        let mut touched = BTreeSet::new();
        match change {
            Change::Listed { kind, objects } => {
                self.clear(kind, &mut touched);
                for object in objects {
                    self.insert(object, &mut touched);
                }
            }
            Change::Applied(object) => self.insert(object, &mut touched),
            Change::Deleted { kind, name } => self.delete(kind, &name, &mut touched),
        }
        touched
    }

    fn clear(&mut self, kind: ResourceKind, touched: &mut BTreeSet<ObjectName>) {
        let names: Vec<String> = match kind {
            ResourceKind::Node => self.nodes.keys().map(ToString::to_string).collect(),
            ResourceKind::Pod => self.pods.keys().map(ToString::to_string).collect(),
            ResourceKind::PodDisruptionBudget => self.budgets.keys().map(ToString::to_string).collect(),
            ResourceKind::Service => self.services.keys().map(ToString::to_string).collect(),
            ResourceKind::EndpointSlice => self.slices.keys().map(ToString::to_string).collect(),
            ResourceKind::PersistentVolumeClaim => self.claims.keys().map(ToString::to_string).collect(),
            _ => {
                let wanted = kind.workload_kind();
                let of_kind = self.workloads.keys().filter(|r| Some(&r.kind) == wanted.as_ref());
                of_kind.map(|r| r.name.to_string()).collect()
            }
        };
        for name in names {
            self.delete(kind, &name, touched);
        }
    }

    fn insert(&mut self, object: Object, touched: &mut BTreeSet<ObjectName>) {
        match object {
            Object::Node(node) => {
                self.nodes.insert(node.name.clone(), node);
            }
            Object::Pod(pod) => self.insert_pod(pod),
            Object::Workload(workload) => self.insert_workload(workload),
            Object::Budget(budget) => {
                self.budgets.insert(budget.name.clone(), budget);
            }
            Object::Service(service) => {
                touched.insert(service.name.clone());
                self.services.insert(service.name.clone(), service);
            }
            Object::Slice(slice) => {
                self.remove_slice(&slice.name.clone(), touched);
                if let Some(service) = service_of(&slice) {
                    self.slices_by_service.entry(service.clone()).or_default().insert(slice.name.clone());
                    touched.insert(service);
                }
                self.slices.insert(slice.name.clone(), slice);
            }
            Object::Claim(claim) => {
                self.claims.insert(claim.name.clone(), claim);
            }
        }
    }

    fn delete(&mut self, kind: ResourceKind, name: &str, touched: &mut BTreeSet<ObjectName>) {
        if kind == ResourceKind::Node {
            if let Ok(name) = NodeName::new(name) {
                self.nodes.remove(&name);
            }
            return;
        }
        let Ok(name) = name.parse::<ObjectName>() else { return };
        match kind {
            ResourceKind::Node => {}
            ResourceKind::Pod => self.remove_pod(&name),
            ResourceKind::PodDisruptionBudget => {
                self.budgets.remove(&name);
            }
            ResourceKind::Service => {
                self.services.remove(&name);
                touched.insert(name);
            }
            ResourceKind::EndpointSlice => self.remove_slice(&name, touched),
            ResourceKind::PersistentVolumeClaim => {
                self.claims.remove(&name);
            }
            ResourceKind::Deployment
            | ResourceKind::StatefulSet
            | ResourceKind::DaemonSet
            | ResourceKind::ReplicaSet
            | ResourceKind::Job => {
                if let Some(kind) = kind.workload_kind() {
                    self.remove_workload(&WorkloadRef { kind, name });
                }
            }
        }
    }

    fn insert_pod(&mut self, pod: Pod) {
        self.remove_pod(&pod.name.clone());
        if let Some(node) = &pod.node {
            self.pods_by_node.entry(node.clone()).or_default().insert(pod.name.clone());
        }
        if let Some(owner) = &pod.owner {
            self.pods_by_owner.entry(owner.uid.clone()).or_default().insert(pod.name.clone());
        }
        self.pods.insert(pod.name.clone(), pod);
    }

    fn remove_pod(&mut self, name: &ObjectName) {
        let Some(pod) = self.pods.remove(name) else { return };
        if let Some(node) = &pod.node {
            unlink(&mut self.pods_by_node, node, name);
        }
        if let Some(owner) = &pod.owner {
            unlink(&mut self.pods_by_owner, &owner.uid, name);
        }
    }

    fn insert_workload(&mut self, workload: Workload) {
        self.remove_workload(&workload.reference.clone());
        if let Some(owner) = deployment_of(&workload) {
            self.sets_by_deployment.entry(owner.uid.clone()).or_default().insert(workload.reference.clone());
        }
        self.workloads.insert(workload.reference.clone(), workload);
    }

    fn remove_workload(&mut self, reference: &WorkloadRef) {
        let Some(workload) = self.workloads.remove(reference) else { return };
        if let Some(owner) = deployment_of(&workload) {
            unlink(&mut self.sets_by_deployment, &owner.uid, reference);
        }
    }

    fn remove_slice(&mut self, name: &ObjectName, touched: &mut BTreeSet<ObjectName>) {
        let Some(slice) = self.slices.remove(name) else { return };
        if let Some(service) = service_of(&slice) {
            unlink(&mut self.slices_by_service, &service, name);
            touched.insert(service);
        }
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// One node.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// The nodes of a pool, by label.
    pub fn nodes_of<'a>(&'a self, pool: &'a PoolName) -> impl Iterator<Item = &'a Node> {
        self.nodes.values().filter(move |node| node.is_in(pool))
    }

    /// All pods, by name.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// One pod.
    pub fn pod(&self, name: &ObjectName) -> Option<&Pod> {
        self.pods.get(name)
    }

    /// The pods of a namespace, by name.
    pub fn pods_in_namespace<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a Pod> + use<'a> {
        let from = ObjectName::before_all_in(namespace);
        let namespace = namespace.to_owned();
        self.pods.range(from..).map(|(_, pod)| pod).take_while(move |pod| pod.name.namespace() == namespace)
    }

    /// The pods on a node.
    pub fn pods_on<'a>(&'a self, node: &NodeName) -> impl Iterator<Item = &'a Pod> {
        self.pods_by_node.get(node).into_iter().flatten().filter_map(|name| self.pods.get(name))
    }

    /// The pods on the nodes of a pool.
    pub fn pods_in<'a>(&'a self, pool: &'a PoolName) -> impl Iterator<Item = &'a Pod> {
        self.nodes_of(pool).flat_map(|node| self.pods_on(&node.name))
    }

    /// All workloads, by kind and name.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values()
    }

    /// One workload.
    pub fn workload(&self, reference: &WorkloadRef) -> Option<&Workload> {
        self.workloads.get(reference)
    }

    /// The pods of a workload: for a Deployment those of all its ReplicaSets.
    pub fn pods_of<'a>(&'a self, workload: &Workload) -> impl Iterator<Item = &'a Pod> {
        let sets = self.sets_by_deployment.get(&workload.uid).into_iter().flatten();
        let uids = sets.filter_map(|set| self.workloads.get(set)).map(|set| &set.uid);
        let own = self.pods_by_owner.get(&workload.uid).into_iter().flatten();
        own.chain(uids.filter_map(|uid| self.pods_by_owner.get(uid)).flatten())
            .filter_map(|name| self.pods.get(name))
    }

    /// The workload a person would name as the pod's: the Deployment behind a ReplicaSet, else the controller itself.
    /// `None` for a bare pod.
    pub fn workload_of(&self, pod: &Pod) -> Option<WorkloadRef> {
        let owner = pod.owner.as_ref()?;
        let name = ObjectName::new(pod.name.namespace(), owner.name.as_str()).ok()?;
        let direct = WorkloadRef { kind: owner.kind.clone(), name };
        let above = self.workloads.get(&direct).filter(|w| w.uid == owner.uid).and_then(deployment_of);
        let Some(above) = above else { return Some(direct) };
        let name = ObjectName::new(pod.name.namespace(), above.name.as_str()).ok()?;
        Some(WorkloadRef { kind: WorkloadKind::Deployment, name })
    }

    /// All budgets, by name.
    pub fn budgets(&self) -> impl Iterator<Item = &Budget> {
        self.budgets.values()
    }

    /// The budgets that protect a pod; Kubernetes evicts nothing that has two.
    pub fn budgets_of<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = &'a Budget> {
        self.budgets.values().filter(move |budget| budget.protects(pod))
    }

    /// All Services, by name.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// One Service.
    pub fn service(&self, name: &ObjectName) -> Option<&Service> {
        self.services.get(name)
    }

    /// The Services that send traffic to pods with these labels.
    pub fn services_for<'a>(
        &'a self,
        namespace: &'a str,
        labels: &'a Labels,
    ) -> impl Iterator<Item = &'a Service> {
        self.services.values().filter(move |service| service.selects(namespace, labels))
    }

    /// The ready endpoints of a Service, each counted once even if several slices name it.
    pub fn ready_endpoints(&self, service: &ObjectName) -> u32 {
        let slices = self
            .slices_by_service
            .get(service)
            .into_iter()
            .flatten()
            .filter_map(|name| self.slices.get(name));
        let ready: BTreeSet<&str> = slices
            .flat_map(|slice| &slice.endpoints)
            .filter(|endpoint| endpoint.ready)
            .map(|endpoint| endpoint.address.as_str())
            .collect();
        u32::try_from(ready.len()).unwrap_or(u32::MAX)
    }

    /// The pods behind the ready endpoints of a Service; endpoints without a pod are not in it.
    pub fn ready_pods_behind<'a>(&'a self, service: &ObjectName) -> impl Iterator<Item = &'a Pod> {
        let slices = self
            .slices_by_service
            .get(service)
            .into_iter()
            .flatten()
            .filter_map(|name| self.slices.get(name));
        let ready = slices.flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.ready);
        ready.filter_map(|endpoint| self.pods.get(endpoint.pod.as_ref()?))
    }

    /// All slices, by name.
    pub fn slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.slices.values()
    }

    /// All claims, by name.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims.values()
    }

    /// One claim.
    pub fn claim(&self, name: &ObjectName) -> Option<&Claim> {
        self.claims.get(name)
    }
}

fn deployment_of(workload: &Workload) -> Option<&Owner> {
    let is_set = workload.reference.kind == WorkloadKind::ReplicaSet;
    workload.owner.as_ref().filter(|owner| is_set && owner.kind == WorkloadKind::Deployment)
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectName> {
    ObjectName::new(slice.name.namespace(), slice.service.as_deref()?).ok()
}

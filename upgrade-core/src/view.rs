//! The cluster as last observed: a cache that lists and watches keep up to date, with the indexes decisions need.

mod change;
mod objects;
mod pools;
mod protection;
mod selection;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use crate::model::{
    Autoscaler, Budget, Claim, EndpointSlice, Labels, Node, NodeName, ObjectName, Owner, Pod, PoolName,
    Service, Uid, Workload, WorkloadKind, WorkloadRef,
};

pub use change::{Change, Object, ResourceKind, Touched};
use objects::Objects;
use pools::Pools;
use protection::Protection;
use selection::{Selection, asked};
pub use usage::Usage;
use usage::Usages;

/// The cluster as last observed.
///
/// It is as fresh as its last change, no fresher. Lookups by owner and by node cost the size of their answer.
#[derive(Clone, Debug, Default)]
pub struct View {
    nodes: Objects<NodeName, Node>,
    /// Those that take pods.
    taking: BTreeSet<NodeName>,
    pods: Objects<ObjectName, Pod>,
    workloads: Objects<WorkloadRef, Workload>,
    budgets: Objects<ObjectName, Budget>,
    services: Objects<ObjectName, Service>,
    slices: Objects<ObjectName, EndpointSlice>,
    claims: Objects<ObjectName, Claim>,
    /// Pods that a run has made to have images pulled.
    pulling: BTreeSet<ObjectName>,
    autoscalers: Objects<ObjectName, Autoscaler>,
    pods_by_node: HashMap<NodeName, BTreeSet<ObjectName>>,
    pods_by_owner: HashMap<Uid, BTreeSet<ObjectName>>,
    sets_by_deployment: HashMap<Uid, BTreeSet<WorkloadRef>>,
    /// What a person would name as the workload of the pods of each controller that is known, by its uid.
    named: HashMap<Uid, WorkloadRef>,
    slices_by_service: HashMap<ObjectName, BTreeSet<ObjectName>>,
    pools: Pools,
    protection: Protection,
    usages: Usages,
    budgets_by_label: Selection,
    services_by_label: Selection,
}

fn unlink<K: Eq + Hash, V: Ord>(index: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = index.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            index.remove(key);
        }
    }
}

impl View {
    /// Takes in a change; returns what it may have made different.
    pub fn apply(&mut self, change: Change) -> Touched {
        let mut touched = Touched::default();
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

    fn clear(&mut self, kind: ResourceKind, touched: &mut Touched) {
        let names: Vec<String> = match kind {
            ResourceKind::Node => self.nodes.keys().map(ToString::to_string).collect(),
            ResourceKind::Pod => self.pods.keys().map(ToString::to_string).collect(),
            ResourceKind::PodDisruptionBudget => self.budgets.keys().map(ToString::to_string).collect(),
            ResourceKind::Service => self.services.keys().map(ToString::to_string).collect(),
            ResourceKind::EndpointSlice => self.slices.keys().map(ToString::to_string).collect(),
            ResourceKind::PersistentVolumeClaim => self.claims.keys().map(ToString::to_string).collect(),
            ResourceKind::HorizontalPodAutoscaler => {
                self.autoscalers.keys().map(ToString::to_string).collect()
            }
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

    fn insert(&mut self, object: Object, touched: &mut Touched) {
        match object {
            Object::Node(node) => self.insert_node(node, touched),
            Object::Pod(pod) => self.insert_pod(pod, touched),
            Object::Workload(workload) => self.insert_workload(workload, touched),
            Object::Budget(budget) => self.insert_budget(budget, touched),
            Object::Service(service) => {
                touched.endpoints(service.name.clone());
                self.remove_service(&service.name);
                // An empty selector chooses nothing.
                if !service.selector.is_empty() {
                    self.services_by_label.insert(&service.name, &service.selector);
                }
                self.services.insert(service.name.clone(), service);
            }
            Object::Slice(slice) => {
                self.insert_slice(slice, touched);
            }
            Object::Claim(claim) => {
                self.claims.insert(claim.name.clone(), claim);
            }
            Object::Autoscaler(scaler) => {
                touched.workloads.insert(scaler.target.clone());
                self.autoscalers.insert(scaler.name.clone(), scaler);
            }
        }
    }

    fn delete(&mut self, kind: ResourceKind, name: &str, touched: &mut Touched) {
        if kind == ResourceKind::Node {
            if let Ok(name) = NodeName::new(name) {
                self.remove_node(&name, touched);
            }
            return;
        }
        let Ok(name) = name.parse::<ObjectName>() else { return };
        match kind {
            ResourceKind::Node => {}
            ResourceKind::Pod => self.remove_pod(&name, touched),
            ResourceKind::PodDisruptionBudget => {
                touched.namespaces.insert(name.namespace().to_owned());
                if let Some(budget) = self.budgets.remove(&name)
                    && let Some(labels) = asked(budget.selector.as_ref())
                {
                    self.budgets_by_label.remove(&name, labels);
                }
                self.protection.forget(&name);
            }
            ResourceKind::Service => {
                self.remove_service(&name);
                touched.endpoints(name);
            }
            ResourceKind::EndpointSlice => self.remove_slice(&name, touched),
            ResourceKind::PersistentVolumeClaim => {
                self.claims.remove(&name);
            }
            ResourceKind::HorizontalPodAutoscaler => {
                let gone = self.autoscalers.remove(&name);
                touched.workloads.extend(gone.map(|scaler| scaler.target));
            }
            ResourceKind::Deployment
            | ResourceKind::StatefulSet
            | ResourceKind::DaemonSet
            | ResourceKind::ReplicaSet
            | ResourceKind::Job => {
                if let Some(kind) = kind.workload_kind() {
                    self.remove_workload(&WorkloadRef { kind, name }, touched);
                }
            }
        }
    }

    fn remove_service(&mut self, name: &ObjectName) {
        if let Some(service) = self.services.remove(name) {
            self.services_by_label.remove(name, &service.selector);
        }
    }

    fn insert_node(&mut self, node: Node, touched: &mut Touched) {
        let known = self.nodes.get(&node.name);
        let same =
            |old: &Node| old.pool_label() == node.pool_label() && old.unschedulable == node.unschedulable;
        touched.nodes |= !known.is_some_and(same);
        touched.room |= !known.is_some_and(|old| old.takes_pods() && old.allocatable == node.allocatable);
        if let Some(old) = known {
            self.pools.remove(old);
        }
        self.pools.insert(&node);
        if node.takes_pods() {
            self.taking.insert(node.name.clone());
        } else {
            self.taking.remove(&node.name);
        }
        self.nodes.insert(node.name.clone(), node);
    }

    fn remove_node(&mut self, name: &NodeName, touched: &mut Touched) {
        if let Some(node) = self.nodes.remove(name) {
            self.pools.remove(&node);
            self.taking.remove(name);
            touched.nodes = true;
        }
    }

    fn insert_pod(&mut self, mut pod: Pod, touched: &mut Touched) {
        touched.workloads.extend(self.workload_of(&pod));
        let same = |old: &Pod| {
            let goes = old.leaves_with_node() == pod.leaves_with_node();
            let asks = old.is_finished() == pod.is_finished() && old.requests == pod.requests;
            goes && asks && old.node == pod.node && old.owner == pod.owner && old.labels == pod.labels
        };
        // Most changes of a pod are of its status, which no index knows.
        if let Some(known) = self.pods.get_mut(&pod.name)
            && same(known)
        {
            *known = pod;
            return;
        }
        self.remove_pod(&pod.name.clone(), touched);
        // What the pods of an owner have in common is held once.
        let siblings = pod.owner.as_ref().and_then(|owner| self.pods_by_owner.get(&owner.uid));
        if let Some(sibling) = siblings.and_then(|names| self.pods.get(names.first()?)) {
            pod.labels = pod.labels.with(&sibling.labels);
            pod.rules = pod.rules.with(&sibling.rules);
        }
        if let Some(node) = &pod.node {
            self.pods_by_node.entry(node.clone()).or_default().insert(pod.name.clone());
        }
        if let Some(owner) = &pod.owner {
            self.pods_by_owner.entry(owner.uid.clone()).or_default().insert(pod.name.clone());
        }
        if pod.pulling.is_some() {
            self.pulling.insert(pod.name.clone());
        }
        let pool = pool_of(&self.nodes, &pod);
        self.pools.insert_pod(&pod, pool);
        let budgets = self.budgets_by_label.candidates(pod.name.namespace(), &pod.labels);
        self.protection.insert(&pod, budgets.into_iter().filter_map(|name| self.budgets.get(name)));
        self.usages.insert(&pod);
        self.pods.insert(pod.name.clone(), pod);
    }

    fn remove_pod(&mut self, name: &ObjectName, touched: &mut Touched) {
        let Some(pod) = self.pods.remove(name) else { return };
        self.pulling.remove(name);
        touched.workloads.extend(self.workload_of(&pod));
        touched.room |= pod.node.as_ref().and_then(|node| self.nodes.get(node)).is_some_and(Node::takes_pods);
        self.usages.remove(&pod);
        if let Some(node) = &pod.node {
            unlink(&mut self.pods_by_node, node, name);
        }
        if let Some(owner) = &pod.owner {
            unlink(&mut self.pods_by_owner, &owner.uid, name);
        }
        let pool = pool_of(&self.nodes, &pod);
        self.pools.remove_pod(&pod, pool);
        let budgets = self.budgets_by_label.candidates(name.namespace(), &pod.labels);
        self.protection.remove(&pod, budgets.into_iter().filter_map(|name| self.budgets.get(name)));
    }

    fn insert_budget(&mut self, budget: Budget, touched: &mut Touched) {
        touched.namespaces.insert(budget.name.namespace().to_owned());
        let known = self.budgets.get(&budget.name);
        if known.is_none_or(|old| old.selector != budget.selector) {
            if let Some(labels) = known.and_then(|old| asked(old.selector.as_ref())) {
                self.budgets_by_label.remove(&budget.name, labels);
            }
            if let Some(labels) = asked(budget.selector.as_ref()) {
                self.budgets_by_label.insert(&budget.name, labels);
            }
            let pods = self.pods_in_namespace(budget.name.namespace()).filter(|pod| budget.protects(pod));
            let pods = pods.map(|pod| pod.name.clone()).collect();
            self.protection.set(&budget.name, pods);
        }
        self.budgets.insert(budget.name.clone(), budget);
    }

    fn insert_workload(&mut self, workload: Workload, touched: &mut Touched) {
        touched.workloads.extend(above(&workload));
        touched.workloads.insert(workload.reference.clone());
        if let Some(known) = self.workloads.get_mut(&workload.reference)
            && known.uid == workload.uid
            && known.owner == workload.owner
        {
            *known = workload;
            return;
        }
        self.remove_workload(&workload.reference.clone(), touched);
        if let Some(owner) = deployment_of(&workload) {
            self.sets_by_deployment.entry(owner.uid.clone()).or_default().insert(workload.reference.clone());
        }
        let named = above(&workload).unwrap_or_else(|| workload.reference.clone());
        self.named.insert(workload.uid.clone(), named);
        self.workloads.insert(workload.reference.clone(), workload);
    }

    fn remove_workload(&mut self, reference: &WorkloadRef, touched: &mut Touched) {
        let Some(workload) = self.workloads.remove(reference) else { return };
        self.named.remove(&workload.uid);
        if let Some(owner) = deployment_of(&workload) {
            unlink(&mut self.sets_by_deployment, &owner.uid, reference);
            touched.workloads.extend(above(&workload));
        }
        touched.workloads.insert(workload.reference);
    }

    fn insert_slice(&mut self, slice: EndpointSlice, touched: &mut Touched) {
        let service = service_of(&slice);
        if let Some(known) = self.slices.get_mut(&slice.name)
            && known.service == slice.service
        {
            *known = slice;
            if let Some(service) = service {
                touched.endpoints(service);
            }
            return;
        }
        self.remove_slice(&slice.name.clone(), touched);
        if let Some(service) = service {
            self.slices_by_service.entry(service.clone()).or_default().insert(slice.name.clone());
            touched.endpoints(service);
        }
        self.slices.insert(slice.name.clone(), slice);
    }

    fn remove_slice(&mut self, name: &ObjectName, touched: &mut Touched) {
        let Some(slice) = self.slices.remove(name) else { return };
        if let Some(service) = service_of(&slice) {
            unlink(&mut self.slices_by_service, &service, name);
            touched.endpoints(service);
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

    /// The nodes that take pods, by name.
    pub fn nodes_that_take_pods(&self) -> impl Iterator<Item = &Node> {
        self.taking.iter().filter_map(|name| self.nodes.get(name))
    }

    /// The nodes of a pool, by label.
    pub fn nodes_of<'a>(&'a self, pool: &'a PoolName) -> impl Iterator<Item = &'a Node> {
        self.pools.nodes(pool).filter_map(|name| self.nodes.get(name))
    }

    /// The nodes of a pool that are not cordoned.
    pub fn uncordoned_nodes_of<'a>(&'a self, pool: &'a PoolName) -> impl Iterator<Item = &'a Node> {
        self.pools.open(pool).filter_map(|name| self.nodes.get(name))
    }

    /// How many pods on the nodes of a pool do not go with their node.
    pub fn pods_to_move_from(&self, pool: &PoolName) -> usize {
        self.pools.movers(pool)
    }

    /// All pods, by name.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// One pod.
    pub fn pod(&self, name: &ObjectName) -> Option<&Pod> {
        self.pods.get(name)
    }

    /// The pods that runs have made to have images pulled, by name.
    pub fn pulling_pods(&self) -> impl Iterator<Item = &Pod> {
        self.pulling.iter().filter_map(|name| self.pods.get(name))
    }

    /// The pods of a namespace, by name.
    pub fn pods_in_namespace<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a Pod> + use<'a> {
        in_namespace(&self.pods, namespace)
    }

    /// The pods on a node.
    pub fn pods_on<'a>(&'a self, node: &NodeName) -> impl Iterator<Item = &'a Pod> {
        self.pods_by_node.get(node).into_iter().flatten().filter_map(|name| self.pods.get(name))
    }

    /// What the pods on a node ask for together.
    pub fn usage_of(&self, node: &NodeName) -> Usage {
        self.usages.of(node)
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
        if let Some(named) = self.named.get(&owner.uid) {
            return Some(named.clone());
        }
        let name = ObjectName::new(pod.name.namespace(), owner.name.as_str()).ok()?;
        Some(WorkloadRef { kind: owner.kind.clone(), name })
    }

    /// All budgets, by name.
    pub fn budgets(&self) -> impl Iterator<Item = &Budget> {
        self.budgets.values()
    }

    /// One budget.
    pub fn budget(&self, name: &ObjectName) -> Option<&Budget> {
        self.budgets.get(name)
    }

    /// The budgets that protect a pod, by name; Kubernetes evicts nothing that has two.
    pub fn budgets_of<'a>(&'a self, pod: &Pod) -> impl Iterator<Item = &'a Budget> + use<'a> {
        self.budgets_for(pod.name.namespace(), &pod.labels)
    }

    /// The budgets that protect pods with these labels, by name.
    pub fn budgets_for<'a>(
        &'a self,
        namespace: &str,
        labels: &Labels,
    ) -> impl Iterator<Item = &'a Budget> + use<'a> {
        let names = self.budgets_by_label.candidates(namespace, labels);
        let selects = |budget: &&Budget| budget.selector.as_ref().is_some_and(|own| own.matches(labels));
        let budgets: Vec<&Budget> =
            names.into_iter().filter_map(|name| self.budgets.get(name)).filter(selects).collect();
        budgets.into_iter()
    }

    /// Does a budget protect the pods that a workload makes?
    pub fn has_budget(&self, workload: &Workload) -> bool {
        self.budgets_for(workload.reference.name.namespace(), &workload.template.labels).next().is_some()
    }

    /// The pods that a budget protects.
    pub fn pods_under<'a>(&'a self, budget: &Budget) -> impl Iterator<Item = &'a Pod> + use<'a> {
        self.protection.of(&budget.name).filter_map(|name| self.pods.get(name))
    }

    /// All Services, by name.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// One Service.
    pub fn service(&self, name: &ObjectName) -> Option<&Service> {
        self.services.get(name)
    }

    /// The Services that send traffic to pods with these labels, by name.
    pub fn services_for<'a>(
        &'a self,
        namespace: &str,
        labels: &Labels,
    ) -> impl Iterator<Item = &'a Service> + use<'a> {
        let names = self.services_by_label.candidates(namespace, labels);
        let services: Vec<&Service> = names
            .into_iter()
            .filter_map(|name| self.services.get(name))
            .filter(|service| service.selects(namespace, labels))
            .collect();
        services.into_iter()
    }

    /// The ready endpoints of a Service, each counted once even if several slices name it.
    pub fn ready_endpoints(&self, service: &ObjectName) -> u32 {
        let slices = self
            .slices_by_service
            .get(service)
            .into_iter()
            .flatten()
            .filter_map(|name| self.slices.get(name));
        let mut ready: Vec<&str> = slices
            .flat_map(|slice| slice.endpoints.iter())
            .filter(|endpoint| endpoint.ready)
            .map(|endpoint| endpoint.address.as_str())
            .collect();
        ready.sort_unstable();
        ready.dedup();
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
        let ready = slices.flat_map(|slice| slice.endpoints.iter()).filter(|endpoint| endpoint.ready);
        ready.filter_map(|endpoint| self.pods.get(endpoint.pod.as_ref()?))
    }

    /// One slice.
    pub fn slice(&self, name: &ObjectName) -> Option<&EndpointSlice> {
        self.slices.get(name)
    }

    /// All slices, by name.
    pub fn slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.slices.values()
    }

    /// All claims, by name.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims.values()
    }

    /// All HorizontalPodAutoscalers, by name.
    pub fn autoscalers(&self) -> impl Iterator<Item = &Autoscaler> {
        self.autoscalers.values()
    }

    /// Does an autoscaler set the workload's size?
    pub fn is_autoscaled(&self, workload: &WorkloadRef) -> bool {
        let beside = in_namespace(&self.autoscalers, workload.name.namespace());
        beside.into_iter().any(|scaler| scaler.target == *workload)
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

/// The name of the pool that a pod's node is in.
fn pool_of<'a>(nodes: &'a Objects<NodeName, Node>, pod: &Pod) -> Option<&'a str> {
    nodes.get(pod.node.as_ref()?)?.pool_label()
}

/// The Deployment behind a ReplicaSet.
fn above(set: &Workload) -> Option<WorkloadRef> {
    let owner = deployment_of(set)?;
    let name = ObjectName::new(set.reference.name.namespace(), owner.name.as_str()).ok()?;
    Some(WorkloadRef { kind: WorkloadKind::Deployment, name })
}

/// Everything in one namespace, by name.
fn in_namespace<'a, T>(
    objects: &'a Objects<ObjectName, T>,
    namespace: &str,
) -> impl Iterator<Item = &'a T> + use<'a, T> {
    let from = ObjectName::before_all_in(namespace);
    let namespace = namespace.to_owned();
    objects.range(from..).take_while(move |(name, _)| name.namespace() == namespace).map(|(_, object)| object)
}

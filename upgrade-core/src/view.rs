//! The cluster as last observed: a cache that lists and watches keep up to date, with the indexes decisions need.

mod change;
mod objects;
mod pools;
mod protection;
mod selection;
#[cfg(test)]
mod tests;
mod update;
mod usage;

use std::collections::{BTreeSet, HashMap};

use crate::model::{
    Autoscaler, Budget, Claim, EndpointSlice, Labels, Node, NodeName, ObjectName, Pod, PoolName, Service,
    Uid, Workload, WorkloadRef,
};

pub use change::{Change, Object, ResourceKind, Touched};
use objects::Objects;
use pools::Pools;
use protection::Protection;
use selection::Selection;
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

impl View {
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
        let own = self.pods_by_owner.get(&workload.uid).into_iter().flatten();
        let of_sets = self.sets_of(workload).filter_map(|uid| self.pods_by_owner.get(uid)).flatten();
        own.chain(of_sets).filter_map(|name| self.pods.get(name))
    }

    /// The ReplicaSets of a Deployment, by uid.
    fn sets_of<'a>(&'a self, deployment: &Workload) -> impl Iterator<Item = &'a Uid> + use<'a> {
        let sets = self.sets_by_deployment.get(&deployment.uid).into_iter().flatten();
        sets.filter_map(|set| self.workloads.get(set)).map(|set| &set.uid)
    }

    /// Is any pod of a workload, that has not ended, on a node of the pool? The price of the answer does not grow with the pods.
    pub fn has_pods_in(&self, workload: &Workload, pool: &PoolName) -> bool {
        let mut controllers = std::iter::once(&workload.uid).chain(self.sets_of(workload));
        controllers.any(|controller| self.pools.has_pods_of(controller, pool))
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

/// Everything in one namespace, by name.
fn in_namespace<'a, T>(
    objects: &'a Objects<ObjectName, T>,
    namespace: &str,
) -> impl Iterator<Item = &'a T> + use<'a, T> {
    let from = ObjectName::before_all_in(namespace);
    let namespace = namespace.to_owned();
    objects.range(from..).take_while(move |(name, _)| name.namespace() == namespace).map(|(_, object)| object)
}

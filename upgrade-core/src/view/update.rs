//! Changes taken in: the objects, and every index that knows of them.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use super::objects::Objects;
use super::selection::asked;
use super::{Change, Object, ResourceKind, Touched, View};
use crate::model::{
    Budget, EndpointSlice, Node, NodeName, ObjectName, Owner, Pod, Workload, WorkloadKind, WorkloadRef,
};

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
        self.pools.set(known, &node);
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

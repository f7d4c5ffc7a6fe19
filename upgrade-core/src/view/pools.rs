//! The nodes of each pool, the pods that have to leave them, and whose pods are there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{Node, NodeName, Pod, PoolName, Uid};

/// What is known of the pools, by the labels of their nodes. Every question costs the size of its answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    pools: BTreeMap<PoolName, Nodes>,
    /// On each node, known yet or not.
    pods: HashMap<NodeName, Pods>,
}

/// One pool.
#[derive(Clone, Debug, Default)]
struct Nodes {
    all: BTreeSet<NodeName>,
    /// Those that are not cordoned.
    open: BTreeSet<NodeName>,
    /// On all of them.
    pods: Pods,
}

/// The pods in one place.
#[derive(Clone, Debug, Default)]
struct Pods {
    /// Those that do not go with their node.
    movers: usize,
    /// Those that have not ended, by the uid of their controller.
    owned: HashMap<Uid, usize>,
}

impl Pods {
    fn add(&mut self, pod: &Pod) {
        self.movers += usize::from(!pod.leaves_with_node());
        if let Some(owner) = owner(pod) {
            *self.owned.entry(owner.clone()).or_default() += 1;
        }
    }

    fn take(&mut self, pod: &Pod) {
        self.movers -= usize::from(!pod.leaves_with_node());
        if let Some(owner) = owner(pod) {
            lessen(&mut self.owned, owner, 1);
        }
    }

    fn add_all(&mut self, others: &Self) {
        self.movers += others.movers;
        for (owner, count) in &others.owned {
            *self.owned.entry(owner.clone()).or_default() += count;
        }
    }

    fn take_all(&mut self, others: &Self) {
        self.movers -= others.movers;
        for (owner, count) in &others.owned {
            lessen(&mut self.owned, owner, *count);
        }
    }

    fn are_none(&self) -> bool {
        self.movers == 0 && self.owned.is_empty()
    }
}

/// The controller of a pod that has not ended.
fn owner(pod: &Pod) -> Option<&Uid> {
    pod.owner.as_ref().filter(|_| !pod.is_finished()).map(|owner| &owner.uid)
}

fn lessen(counts: &mut HashMap<Uid, usize>, owner: &Uid, by: usize) {
    if let Some(count) = counts.get_mut(owner) {
        *count -= by;
        if *count == 0 {
            counts.remove(owner);
        }
    }
}

impl Pools {
    /// A node is as it is now.
    pub(super) fn set(&mut self, before: Option<&Node>, node: &Node) {
        if let Some(before) = before.filter(|before| before.pool_label() != node.pool_label()) {
            self.remove(before);
        }
        let Some(name) = node.pool() else { return };
        let pool = self.pools.entry(name).or_default();
        if pool.all.insert(node.name.clone())
            && let Some(pods) = self.pods.get(&node.name)
        {
            pool.pods.add_all(pods);
        }
        if node.unschedulable {
            pool.open.remove(&node.name);
        } else {
            pool.open.insert(node.name.clone());
        }
    }

    pub(super) fn remove(&mut self, node: &Node) {
        let Some(pool) = node.pool().and_then(|name| self.pools.get_mut(&name)) else { return };
        if pool.all.remove(&node.name)
            && let Some(pods) = self.pods.get(&node.name)
        {
            pool.pods.take_all(pods);
        }
        pool.open.remove(&node.name);
    }

    /// A pod is on a node, which belongs to this pool as far as is known.
    pub(super) fn insert_pod(&mut self, pod: &Pod, pool: Option<&str>) {
        let Some(node) = &pod.node else { return };
        self.pods.entry(node.clone()).or_default().add(pod);
        if let Some(pool) = pool.and_then(|name| self.pools.get_mut(name)) {
            pool.pods.add(pod);
        }
    }

    /// The pod is gone from its node.
    pub(super) fn remove_pod(&mut self, pod: &Pod, pool: Option<&str>) {
        let Some(node) = &pod.node else { return };
        if let Some(pods) = self.pods.get_mut(node) {
            pods.take(pod);
            if pods.are_none() {
                self.pods.remove(node);
            }
        }
        if let Some(pool) = pool.and_then(|name| self.pools.get_mut(name)) {
            pool.pods.take(pod);
        }
    }

    pub(super) fn nodes(&self, pool: &PoolName) -> impl Iterator<Item = &NodeName> {
        self.pools.get(pool).into_iter().flat_map(|nodes| &nodes.all)
    }

    pub(super) fn open(&self, pool: &PoolName) -> impl Iterator<Item = &NodeName> {
        self.pools.get(pool).into_iter().flat_map(|nodes| &nodes.open)
    }

    pub(super) fn movers(&self, pool: &PoolName) -> usize {
        self.pools.get(pool).map_or(0, |nodes| nodes.pods.movers)
    }

    /// Has a controller a pod in the pool that has not ended?
    pub(super) fn has_pods_of(&self, owner: &Uid, pool: &PoolName) -> bool {
        self.pools.get(pool).is_some_and(|nodes| nodes.pods.owned.contains_key(owner))
    }
}

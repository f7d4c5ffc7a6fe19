//! The nodes of each pool, and the pods that have to leave them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{Node, NodeName, Pod, PoolName};

/// What is known of the pools, by the labels of their nodes. Every question costs the size of its answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    pools: BTreeMap<PoolName, Nodes>,
    /// On each node, known yet or not: the pods that do not go with it.
    movers: HashMap<NodeName, usize>,
}

/// One pool.
#[derive(Clone, Debug, Default)]
struct Nodes {
    all: BTreeSet<NodeName>,
    /// Those that are not cordoned.
    open: BTreeSet<NodeName>,
    /// The pods on all of them that do not go with their node.
    movers: usize,
}

impl Pools {
    pub(super) fn insert(&mut self, node: &Node) {
        let Some(name) = node.pool() else { return };
        let pool = self.pools.entry(name).or_default();
        if pool.all.insert(node.name.clone()) {
            pool.movers += self.movers.get(&node.name).copied().unwrap_or_default();
        }
        if !node.unschedulable {
            pool.open.insert(node.name.clone());
        }
    }

    pub(super) fn remove(&mut self, node: &Node) {
        let Some(pool) = node.pool().and_then(|name| self.pools.get_mut(&name)) else { return };
        if pool.all.remove(&node.name) {
            pool.movers -= self.movers.get(&node.name).copied().unwrap_or_default();
        }
        pool.open.remove(&node.name);
    }

    /// A pod is on a node, which belongs to this pool as far as is known.
    pub(super) fn insert_pod(&mut self, pod: &Pod, pool: Option<&str>) {
        let Some(node) = pod.node.as_ref().filter(|_| !pod.leaves_with_node()) else { return };
        *self.movers.entry(node.clone()).or_default() += 1;
        if let Some(pool) = pool.and_then(|name| self.pools.get_mut(name)) {
            pool.movers += 1;
        }
    }

    /// The pod is gone from its node.
    pub(super) fn remove_pod(&mut self, pod: &Pod, pool: Option<&str>) {
        let Some(node) = pod.node.as_ref().filter(|_| !pod.leaves_with_node()) else { return };
        if let Some(count) = self.movers.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                self.movers.remove(node);
            }
        }
        if let Some(pool) = pool.and_then(|name| self.pools.get_mut(name)) {
            pool.movers -= 1;
        }
    }

    pub(super) fn nodes(&self, pool: &PoolName) -> impl Iterator<Item = &NodeName> {
        self.pools.get(pool).into_iter().flat_map(|nodes| &nodes.all)
    }

    pub(super) fn open(&self, pool: &PoolName) -> impl Iterator<Item = &NodeName> {
        self.pools.get(pool).into_iter().flat_map(|nodes| &nodes.open)
    }

    pub(super) fn movers(&self, pool: &PoolName) -> usize {
        self.pools.get(pool).map_or(0, |nodes| nodes.movers)
    }
}

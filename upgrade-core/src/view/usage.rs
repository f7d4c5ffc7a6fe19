//! What the pods on each node ask for.

use std::collections::BTreeMap;

use crate::model::{NodeName, Pod, Resources};

/// What the pods on one node ask for together. A pod that has ended asks for nothing; one that is ending still does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Their requests.
    pub requests: Resources,
    /// How many they are.
    pub pods: u32,
}

/// The sums, kept up to date: a question costs the same however many pods there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Usages(BTreeMap<NodeName, Usage>);

impl Usages {
    pub(super) fn insert(&mut self, pod: &Pod) {
        let Some(node) = pod.node.as_ref().filter(|_| !pod.is_finished()) else { return };
        let usage = self.0.entry(node.clone()).or_default();
        usage.requests += pod.requests;
        usage.pods += 1;
    }

    pub(super) fn remove(&mut self, pod: &Pod) {
        let Some(node) = pod.node.as_ref().filter(|_| !pod.is_finished()) else { return };
        if let Some(usage) = self.0.get_mut(node) {
            usage.requests = usage.requests - pod.requests;
            usage.pods -= 1;
            if usage.pods == 0 {
                self.0.remove(node);
            }
        }
    }

    pub(super) fn of(&self, node: &NodeName) -> Usage {
        self.0.get(node).copied().unwrap_or_default()
    }
}

//! The pods that each budget protects.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Budget, ObjectName, Pod};

/// The pods behind each budget. A budget's status changes with every pod and finds its pods as they are; a new selector, or a
/// pod with other labels, is matched once.
#[derive(Clone, Debug, Default)]
pub(super) struct Protection {
    pods: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
}

impl Protection {
    /// The budget protects these pods from now on.
    pub(super) fn set(&mut self, budget: &ObjectName, pods: BTreeSet<ObjectName>) {
        self.pods.insert(budget.clone(), pods);
    }

    /// The budget is gone.
    pub(super) fn forget(&mut self, budget: &ObjectName) {
        self.pods.remove(budget);
    }

    /// There is a new pod; `budgets` are those of its namespace.
    pub(super) fn insert<'a>(&mut self, pod: &Pod, budgets: impl Iterator<Item = &'a Budget>) {
        for budget in budgets.filter(|budget| budget.protects(pod)) {
            self.pods.entry(budget.name.clone()).or_default().insert(pod.name.clone());
        }
    }

    /// The pod is gone; `budgets` are those of its namespace.
    pub(super) fn remove<'a>(&mut self, pod: &Pod, budgets: impl Iterator<Item = &'a Budget>) {
        for budget in budgets {
            if let Some(pods) = self.pods.get_mut(&budget.name) {
                pods.remove(&pod.name);
            }
        }
    }

    pub(super) fn of<'a>(&'a self, budget: &ObjectName) -> impl Iterator<Item = &'a ObjectName> + use<'a> {
        self.pods.get(budget).into_iter().flatten()
    }
}

//! PodDisruptionBudgets.

use serde::{Deserialize, Serialize};

use super::{IntOrPercent, LabelSelector, ObjectName, Pod};

/// A PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Namespace and name.
    pub name: ObjectName,
    /// The pods it protects; `None` protects none, an empty selector all of the namespace.
    pub selector: Option<LabelSelector>,
    /// What it asks for.
    pub limit: BudgetLimit,
    /// `unhealthyPodEvictionPolicy: AlwaysAllow`: pods that are not ready may go whatever the budget says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub always_allow_unhealthy: bool,
    /// `metadata.generation`.
    pub generation: i64,
    /// What the disruption controller reports.
    pub status: BudgetStatus,
}

/// What a budget asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetLimit {
    /// At least so many healthy pods.
    MinAvailable(IntOrPercent),
    /// At most so many unhealthy pods.
    MaxUnavailable(IntOrPercent),
}

/// What the disruption controller reports; to be trusted only if it is about the current generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetStatus {
    /// The generation the report is about.
    pub observed_generation: i64,
    /// Pods counted.
    pub expected: u32,
    /// Healthy pods needed.
    pub desired_healthy: u32,
    /// Healthy pods now.
    pub current_healthy: u32,
    /// Pods that may be evicted now.
    pub disruptions_allowed: u32,
    /// The controller could not compute the budget (condition reason `SyncFailed`), with its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_failed: Option<String>,
}

impl BudgetLimit {
    /// The healthy pods needed, given `matched` pods that exist and `scale`, the sum of their controllers' replicas.
    /// Percentages round up (Kubernetes: disruption controller); a count of `minAvailable` does not look at `scale`.
    pub fn desired_healthy(self, scale: u32) -> u32 {
        match self {
            Self::MinAvailable(limit) => limit.ceil_of(scale),
            Self::MaxUnavailable(limit) => scale.saturating_sub(limit.ceil_of(scale)),
        }
    }

    /// Can a workload of `replicas` pods, all healthy and none to spare, ever lose one under this limit?
    pub fn allows_any(self, replicas: u32) -> bool {
        replicas > self.desired_healthy(replicas)
    }
}

impl Budget {
    /// Does it protect `pod`?
    pub fn protects(&self, pod: &Pod) -> bool {
        pod.name.namespace() == self.name.namespace()
            && self.selector.as_ref().is_some_and(|s| s.matches(&pod.labels))
    }

    /// The report is about the current spec and complete.
    pub fn is_synced(&self) -> bool {
        self.status.observed_generation >= self.generation && self.status.sync_failed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_ever_be_evicted() {
        // Limit, replicas, whether one may ever go: the planner's table (Kubernetes: "can this ever be evicted").
        for (limit, replicas, allowed) in [
            (BudgetLimit::MaxUnavailable(IntOrPercent::Int(0)), 5, false),
            (BudgetLimit::MaxUnavailable(IntOrPercent::Percent(0)), 5, false),
            (BudgetLimit::MinAvailable(IntOrPercent::Percent(100)), 5, false),
            (BudgetLimit::MinAvailable(IntOrPercent::Int(1)), 1, false),
            (BudgetLimit::MinAvailable(IntOrPercent::Percent(10)), 1, false),
            (BudgetLimit::MaxUnavailable(IntOrPercent::Percent(1)), 1, true),
            (BudgetLimit::MinAvailable(IntOrPercent::Int(1)), 2, true),
            (BudgetLimit::MinAvailable(IntOrPercent::Int(3)), 2, false),
            (BudgetLimit::MaxUnavailable(IntOrPercent::Percent(25)), 3, true),
        ] {
            assert_eq!(limit.allows_any(replicas), allowed, "{limit:?} with {replicas}");
        }
    }

    #[test]
    fn percentages_of_a_budget_round_up() {
        assert_eq!(BudgetLimit::MinAvailable(IntOrPercent::Percent(50)).desired_healthy(5), 3);
        assert_eq!(BudgetLimit::MaxUnavailable(IntOrPercent::Percent(50)).desired_healthy(5), 2);
    }
}

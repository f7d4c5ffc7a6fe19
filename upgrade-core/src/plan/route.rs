//! Which way a workload leaves doomed nodes, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Workload, WorkloadKind, WorkloadRef};
use crate::plan::places::no_room_beside_itself;
use crate::view::View;

/// A way to leave doomed nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// A rolling restart: each new pod is ready before an old one goes.
    Restart,
    /// Evictions: under a budget, as many pods at a time as the workload's own rollouts let be missing; else one pod after
    /// another, each replaced and ready before the next.
    Evict,
    /// Wait for the Job to end by itself, then evict what is left.
    WaitThenEvict,
    /// Eviction of something that nothing else stands in for: a gap, accepted by name.
    Gap,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Restart => "restart",
            Self::Evict => "eviction",
            Self::WaitThenEvict => "waiting, then eviction",
            Self::Gap => "eviction with a gap",
        })
    }
}

/// A route with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChoice {
    /// The route.
    pub route: Route,
    /// Why this one, as a fragment.
    pub reason: String,
}

impl RouteChoice {
    fn new(route: Route, reason: impl Into<String>) -> Self {
        Self { route, reason: reason.into() }
    }

    /// The route of whatever owns pods on doomed nodes; owners that are not read (custom resources) are judged by the number
    /// of their pods. `None` for a DaemonSet.
    pub fn of_owner(owner: &WorkloadRef, pods: usize, view: &View) -> Option<Self> {
        match view.workload(owner) {
            Some(workload) => Self::of(workload, view),
            None if pods > 1 => Some(Self::new(
                Route::Evict,
                format!("its owner is not known to Drover; {pods} pods, one leaves at a time"),
            )),
            None => Some(Self::new(Route::Gap, "its owner is not known to Drover, and it has one pod")),
        }
    }

    /// The route of a workload; `None` for a DaemonSet, whose pods go and come with their nodes.
    pub fn of(workload: &Workload, view: &View) -> Option<Self> {
        let replicas = workload.replicas;
        Some(match &workload.reference.kind {
            WorkloadKind::DaemonSet => return None,
            WorkloadKind::Job => {
                Self::new(Route::WaitThenEvict, "a Job cannot be restarted without losing its work")
            }
            WorkloadKind::Deployment => Self::of_deployment(workload, view),
            WorkloadKind::StatefulSet if replicas > 1 => Self::new(
                Route::Evict,
                format!("a StatefulSet replaces in place; {replicas} replicas, one leaves at a time"),
            ),
            WorkloadKind::StatefulSet => Self::new(
                Route::Gap,
                "a StatefulSet never starts the new pod before the old one is gone, and has one replica",
            ),
            WorkloadKind::ReplicaSet | WorkloadKind::Other(_) if replicas > 1 => {
                Self::new(Route::Evict, format!("its owner cannot roll; {}", pace(workload, view)))
            }
            WorkloadKind::ReplicaSet | WorkloadKind::Other(_) => {
                Self::new(Route::Gap, "its owner cannot roll, and it has one replica")
            }
        })
    }

    fn of_deployment(workload: &Workload, view: &View) -> Self {
        let replicas = workload.replicas;
        let one_by_one = |why: &str| match replicas {
            0 | 1 => Self::new(Route::Gap, format!("{why}, and it has one replica")),
            _ => Self::new(Route::Evict, format!("{why}; {}", pace(workload, view))),
        };
        if workload.reference.name.namespace() == "kube-system" {
            let served = view.services_for("kube-system", &workload.template.labels).next().is_some();
            return if replicas < 2 && !served {
                Self::new(Route::Evict, "an add-on of AKS that no Service depends on")
            } else {
                one_by_one("AKS manages its template")
            };
        }
        if workload.paused {
            return one_by_one("its rollouts are paused");
        }
        if uses_exclusive_claim(workload, view) {
            return Self::new(Route::Gap, "its disk can be attached to one node at a time");
        }
        if let Some(why) = no_room_beside_itself(workload, view) {
            return one_by_one(&why);
        }
        match workload.rolling_limits() {
            None => one_by_one("its strategy Recreate would stop every pod first"),
            Some((0, _)) => one_by_one("maxSurge comes to 0"),
            Some((_, unavailable)) if replicas > 0 && unavailable >= replicas => {
                one_by_one("maxUnavailable covers every replica")
            }
            Some((surge, _)) => Self::new(Route::Restart, format!("rolling update with a surge of {surge}")),
        }
    }
}

/// How many replicas there are, and how many leave at a time.
fn pace(workload: &Workload, view: &View) -> String {
    let (replicas, most) = (workload.replicas, workload.most_leaving());
    if most > 1 && view.has_budget(workload) {
        format!("{replicas} replicas, at most {most} leave at a time, as its budget allows")
    } else {
        format!("{replicas} replicas, one leaves at a time")
    }
}

/// Does the template mount a claim that only one node can have at a time? An unknown claim counts as such.
fn uses_exclusive_claim(workload: &Workload, view: &View) -> bool {
    let namespace = workload.reference.name.namespace();
    workload.template.claims.iter().any(|claim| {
        let name = crate::model::ObjectName::new(namespace, claim.as_str()).ok();
        !name.and_then(|name| view.claim(&name)).is_some_and(|claim| claim.shared)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Strategy;
    use crate::model::tests_support::{deployment, exclusive_claim};
    use crate::view::{Change, Object};

    fn route(workload: &Workload) -> Route {
        let mut view = View::default();
        view.apply(Change::Applied(Object::Claim(exclusive_claim("shop/disk"))));
        RouteChoice::of(workload, &view).expect("not a DaemonSet").route
    }

    #[test]
    fn a_single_replica_that_can_surge_is_restarted_without_a_gap() {
        assert_eq!(route(&deployment(1, "25%", "25%")), Route::Restart);
    }

    #[test]
    fn a_single_replica_whose_max_unavailable_is_one_would_be_gone_for_a_moment() {
        assert_eq!(route(&deployment(1, "1", "1")), Route::Gap);
    }

    #[test]
    fn without_surge_several_replicas_are_evicted_one_by_one() {
        assert_eq!(route(&deployment(3, "0", "1")), Route::Evict);
        assert_eq!(route(&deployment(1, "0", "1")), Route::Gap);
    }

    #[test]
    fn recreate_is_evicted_pod_by_pod_and_alone_it_is_a_gap() {
        let mut web = deployment(3, "1", "0");
        web.strategy = Strategy::Recreate;
        assert_eq!(route(&web), Route::Evict);
        web.replicas = 1;
        assert_eq!(route(&web), Route::Gap);
    }

    #[test]
    fn a_disk_for_one_node_makes_a_restart_deadlock_so_it_is_a_gap() {
        let mut web = deployment(1, "1", "0");
        web.template.claims = vec!["disk".into()];
        assert_eq!(route(&web), Route::Gap);
    }

    #[test]
    fn a_paused_deployment_would_never_roll() {
        let mut web = deployment(3, "1", "0");
        web.paused = true;
        assert_eq!(route(&web), Route::Evict);
    }
}

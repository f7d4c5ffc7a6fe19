//! Which way a workload leaves doomed nodes, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::loan::{for_one_more, for_restart};
use crate::model::{Budget, Workload, WorkloadKind, WorkloadRef};
use crate::moves::stays_on_its_node;
use crate::plan::places::no_room_beside_itself;
use crate::policy::Policy;
use crate::view::View;

/// A way to leave doomed nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// A rolling restart: each new pod is ready before an old one goes.
    Restart,
    /// The same, with settings of the workload borrowed for it: as they are, old pods would go before new ones serve.
    RestartWithLoan,
    /// Evictions: under a budget, as many pods at a time as the workload's own rollouts let be missing; else one pod after
    /// another, each replaced and ready before the next.
    Evict,
    /// Evictions with one more replica borrowed, which stands in for the one that goes.
    ScaleThenEvict,
    /// Wait for the Job to end by itself, then evict what is left.
    WaitThenEvict,
    /// Eviction of something that nothing else stands in for: a gap, accepted by name.
    Gap,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Restart => "restart",
            Self::RestartWithLoan => "restart with a loan",
            Self::Evict => "eviction",
            Self::ScaleThenEvict => "eviction with one more replica",
            Self::WaitThenEvict => "waiting, then eviction",
            Self::Gap => "eviction with a gap",
        })
    }
}

impl Route {
    /// The workload's pods are replaced by a rollout of its own.
    pub fn restarts(self) -> bool {
        matches!(self, Self::Restart | Self::RestartWithLoan)
    }

    /// The workload itself is written to, not only its pods.
    pub fn writes(self) -> bool {
        self.restarts() || self.borrows()
    }

    /// Something of the workload may be borrowed for the move.
    pub fn borrows(self) -> bool {
        matches!(self, Self::RestartWithLoan | Self::ScaleThenEvict)
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
    pub fn of_owner(owner: &WorkloadRef, pods: usize, view: &View, policy: &Policy) -> Option<Self> {
        match view.workload(owner) {
            Some(workload) => Self::of(workload, view, policy),
            None if pods > 1 => Some(Self::new(
                Route::Evict,
                format!("its owner is not known to Drover; {pods} pods, one leaves at a time"),
            )),
            None => Some(Self::new(Route::Gap, "its owner is not known to Drover, and it has one pod")),
        }
    }

    /// The route of a workload; `None` for a DaemonSet, whose pods go and come with their nodes.
    pub fn of(workload: &Workload, view: &View, policy: &Policy) -> Option<Self> {
        let replicas = workload.replicas;
        Some(match &workload.reference.kind {
            WorkloadKind::DaemonSet => return None,
            WorkloadKind::Job => {
                Self::new(Route::WaitThenEvict, "a Job cannot be restarted without losing its work")
            }
            WorkloadKind::Deployment => Self::of_deployment(workload, view, policy),
            WorkloadKind::StatefulSet if replicas > 1 => Self::new(
                Route::Evict,
                format!("a StatefulSet replaces in place; {replicas} replicas, one leaves at a time"),
            ),
            WorkloadKind::StatefulSet => Self::new(
                Route::Gap,
                "a StatefulSet never starts the new pod before the old one is gone, and has one replica; a second would be another member, and no stand-in",
            ),
            WorkloadKind::ReplicaSet if workload.owner.is_none() => {
                Self::with_one_more(workload, view, policy, "its owner cannot roll")
            }
            WorkloadKind::ReplicaSet | WorkloadKind::Other(_) if replicas > 1 => {
                Self::new(Route::Evict, format!("its owner cannot roll; {}", pace(workload, view)))
            }
            WorkloadKind::ReplicaSet | WorkloadKind::Other(_) => {
                Self::new(Route::Gap, "its owner cannot roll, and it has one replica")
            }
        })
    }

    fn of_deployment(workload: &Workload, view: &View, policy: &Policy) -> Self {
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
            return Self::with_one_more(workload, view, policy, "its rollouts are paused");
        }
        if uses_exclusive_claim(workload, view) {
            return Self::new(Route::Gap, "its disk can be attached to one node at a time");
        }
        if let Some(why) = no_room_beside_itself(workload, view) {
            return one_by_one(&why);
        }
        let Some((surge, _)) = workload.rolling_limits() else {
            return Self::with_one_more(
                workload,
                view,
                policy,
                "its strategy Recreate would stop every pod first",
            );
        };
        if leaves_nodes_at_once(workload, view)
            && let Some(choice) = Self::node_by_node(workload, view, policy)
        {
            return choice;
        }
        let lent = for_restart(workload, view);
        let whys = [
            lent.max_surge.map(|_| "maxSurge comes to 0"),
            lent.max_unavailable.map(|_| "maxUnavailable covers every replica"),
            lent.min_ready_seconds.map(|_| "nothing says when a new pod is ready"),
        ];
        let why = whys.into_iter().flatten().collect::<Vec<_>>().join(" and ");
        let stops_first = lent.max_surge.is_some() || lent.max_unavailable.is_some();
        if stops_first && replicas > 1 && lets_go(workload, view, 0) {
            return one_by_one(&why);
        }
        if lent.is_empty() {
            return Self::new(Route::Restart, format!("rolling update with a surge of {surge}"));
        }
        Self::new(
            Route::RestartWithLoan,
            format!("{why}; {lent} is lent for the restart and given back after it"),
        )
    }

    /// The route of pods that end while a load balancer still sends to their nodes: a rollout chooses by itself which pod goes, an
    /// eviction goes where its node is out already. `None` where pods cannot go like that, and a restart is the lesser evil.
    fn node_by_node(workload: &Workload, view: &View, policy: &Policy) -> Option<Self> {
        let why = "its load balancer sends to nodes and its pods end at once: each node is taken out before its last pod goes";
        let choice = match workload.replicas {
            0 => return None,
            _ if can_be_lent_one_more(workload, view) => {
                let lent = for_one_more(workload, view);
                let reason =
                    format!("{why}; {lent} is lent until the last pod has moved, and then given back");
                Self::new(Route::ScaleThenEvict, reason)
            }
            1 => return None,
            _ if view.has_budget(workload) && !lets_go(workload, view, 0) => return None,
            _ => Self::new(Route::Evict, format!("{why}; {}", pace(workload, view))),
        };
        let accepted = workload.replicas == 1 && policy.allow_gap.contains(&workload.reference.name);
        (!accepted).then_some(choice)
    }

    /// The route of an owner that does not replace its pods the new one first: one more is lent where one of them cannot be
    /// missed.
    fn with_one_more(workload: &Workload, view: &View, policy: &Policy, why: &str) -> Self {
        let replicas = workload.replicas;
        let budgeted = view.has_budget(workload);
        let pinned = budgeted && !lets_go(workload, view, 0);
        let autoscaled = view.is_autoscaled(&workload.reference);
        // Two copies at a time are not everybody's: whoever has accepted the gap does not get them.
        if replicas == 1 && policy.allow_gap.contains(&workload.reference.name) {
            return Self::new(Route::Gap, format!("{why}, and it has one replica"));
        }
        if replicas > 0 && (replicas == 1 || pinned) && can_be_lent_one_more(workload, view) {
            let all = if replicas == 1 {
                "it has one replica".to_owned()
            } else {
                format!("its budget lets none of its {replicas} replicas go")
            };
            let lent = for_one_more(workload, view);
            let reason =
                format!("{why}, and {all}; {lent} is lent until the last pod has moved, and then given back");
            return Self::new(Route::ScaleThenEvict, reason);
        }
        match replicas {
            0 | 1 if autoscaled => Self::new(
                Route::Gap,
                format!("{why}, and it has one replica, whose number an autoscaler sets"),
            ),
            0 | 1 => Self::new(Route::Gap, format!("{why}, and it has one replica")),
            _ => Self::new(Route::Evict, format!("{why}; {}", pace(workload, view))),
        }
    }
}

/// Does one more replica help, and may it be?
fn can_be_lent_one_more(workload: &Workload, view: &View) -> bool {
    let helps = !view.has_budget(workload) || lets_go(workload, view, 1);
    let alone = uses_exclusive_claim(workload, view) || no_room_beside_itself(workload, view).is_some();
    let managed = workload.reference.name.namespace() == "kube-system";
    helps && !view.is_autoscaled(&workload.reference) && !alone && !managed
}

/// A load balancer sends to the nodes of its pods (`externalTrafficPolicy: Local`), and they do not wait before they end.
fn leaves_nodes_at_once(workload: &Workload, view: &View) -> bool {
    let template = &workload.template;
    !template.pre_stop
        && view.services_for(workload.reference.name.namespace(), &template.labels).any(stays_on_its_node)
}

/// The pods that a budget counts: those of every workload that it protects, and at least this one's.
pub(crate) fn counted(workload: &Workload, budget: &Budget, view: &View) -> u32 {
    let protected = view.pods_under(budget).filter(|pod| !pod.is_finished()).count();
    u32::try_from(protected).unwrap_or(u32::MAX).max(workload.replicas)
}

/// Does its one budget ever let a pod of the workload go, if there are so many more of them?
fn lets_go(workload: &Workload, view: &View, more: u32) -> bool {
    let budgets: Vec<&Budget> =
        view.budgets_for(workload.reference.name.namespace(), &workload.template.labels).collect();
    match budgets[..] {
        [budget] => {
            budget.status.sync_failed.is_none()
                && budget.limit.allows_any(counted(workload, budget, view).saturating_add(more))
        }
        _ => false,
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
    use crate::model::tests_support::{budget, deployment, exclusive_claim, replica_set, service};
    use crate::model::{Autoscaler, BudgetLimit, IntOrPercent, Owner, ServiceType, Strategy, Uid};
    use crate::view::{Change, Object};

    fn view() -> View {
        let mut view = View::default();
        view.apply(Change::Applied(Object::Claim(exclusive_claim("shop/disk"))));
        view
    }

    fn choice(workload: &Workload) -> RouteChoice {
        RouteChoice::of(workload, &view(), &Policy::default()).expect("not a DaemonSet")
    }

    fn route(workload: &Workload) -> Route {
        choice(workload).route
    }

    #[test]
    fn a_single_replica_that_can_surge_is_restarted_without_a_gap() {
        assert_eq!(route(&deployment(1, "25%", "25%")), Route::Restart);
    }

    #[test]
    fn hazard_02_a_surge_of_nothing_is_lent_one() {
        let choice = choice(&deployment(3, "0", "1"));
        assert_eq!(choice.route, Route::RestartWithLoan);
        let reason = "maxSurge comes to 0; maxSurge 1 is lent for the restart and given back after it";
        assert_eq!(choice.reason, reason);
        // Rounded, as Kubernetes does.
        assert_eq!(route(&deployment(3, "1%", "0")), Route::Restart);
        assert_eq!(route(&deployment(3, "0%", "25%")), Route::RestartWithLoan);
    }

    #[test]
    fn hazard_03_a_max_unavailable_that_covers_every_replica_is_lent_none() {
        let choice = choice(&deployment(1, "1", "1"));
        assert_eq!(choice.route, Route::RestartWithLoan);
        assert!(choice.reason.contains("maxUnavailable 0 is lent"), "{}", choice.reason);
        assert!(
            self::choice(&deployment(4, "0", "100%")).reason.contains("maxSurge 1, maxUnavailable 0 is lent")
        );
    }

    #[test]
    fn where_a_budget_guards_several_replicas_they_are_evicted_under_it() {
        let under = |limit| {
            let mut view = view();
            view.apply(Change::Applied(Object::Budget(budget("shop/web", limit, 3, 2))));
            RouteChoice::of(&deployment(3, "0", "1"), &view, &Policy::default()).unwrap().route
        };
        assert_eq!(under(BudgetLimit::MinAvailable(IntOrPercent::Int(2))), Route::Evict);
        // One that never lets any go is not asked by a restart.
        assert_eq!(under(BudgetLimit::MinAvailable(IntOrPercent::Int(3))), Route::RestartWithLoan);
    }

    #[test]
    fn hazard_17_a_pod_that_says_nothing_must_have_run_a_while_where_a_service_sends_traffic_to_it() {
        let mut web = deployment(1, "25%", "25%");
        web.template.to_mut().readiness_probe = false;
        assert_eq!(route(&web), Route::Restart, "nobody sends traffic to it");
        let mut view = view();
        view.apply(Change::Applied(Object::Service(service("shop/web"))));
        let route = |web: &Workload| RouteChoice::of(web, &view, &Policy::default()).unwrap();
        assert_eq!(route(&web).route, Route::RestartWithLoan);
        assert!(route(&web).reason.contains("minReadySeconds 10 is lent"), "{}", route(&web).reason);
        web.replicas = 3;
        assert_eq!(route(&web).route, Route::Restart, "one of its containers has a probe");
        web.template.to_mut().unprobed = true;
        assert_eq!(route(&web).route, Route::RestartWithLoan);
        web.min_ready_seconds = 30;
        assert_eq!(route(&web).route, Route::Restart, "it waits long enough already");
    }

    #[test]
    fn hazard_19_pods_that_end_while_a_balancer_sends_to_their_node_go_node_by_node() {
        let mut view = view();
        let mut front = service("shop/web");
        (front.service_type, front.local_traffic_only) = (ServiceType::LoadBalancer, true);
        view.apply(Change::Applied(Object::Service(front.clone())));
        let of = |web: &Workload, view: &View| RouteChoice::of(web, view, &Policy::default()).unwrap();
        let mut web = deployment(3, "25%", "25%");
        assert_eq!(of(&web, &view).route, Route::ScaleThenEvict);
        assert!(of(&web, &view).reason.contains("replicas 4 is lent"), "{}", of(&web, &view).reason);
        web.template.to_mut().pre_stop = true;
        assert_eq!(of(&web, &view).route, Route::Restart, "they answer until the balancer knows");
        web.template.to_mut().pre_stop = false;
        let scaler = Autoscaler { name: "shop/web".parse().unwrap(), target: web.reference.clone() };
        view.apply(Change::Applied(Object::Autoscaler(scaler)));
        assert_eq!(of(&web, &view).route, Route::Evict, "an autoscaler sets how many there are");
        assert_eq!(of(&deployment(1, "25%", "25%"), &view).route, Route::Restart, "better than a gap");
        front.local_traffic_only = false;
        view.apply(Change::Applied(Object::Service(front)));
        assert_eq!(of(&web, &view).route, Route::Restart, "every node forwards");
    }

    #[test]
    fn recreate_is_evicted_pod_by_pod_and_alone_one_more_is_lent() {
        let mut web = deployment(3, "1", "0");
        web.strategy = Strategy::Recreate;
        assert_eq!(route(&web), Route::Evict);
        web.replicas = 1;
        let reason = "its strategy Recreate would stop every pod first, and it has one replica; replicas 2 is lent until the last pod has moved, and then given back";
        assert_eq!((route(&web), choice(&web).reason), (Route::ScaleThenEvict, reason.to_owned()));
        let accepted = Policy { allow_gap: ["shop/web".parse().unwrap()].into(), ..Policy::default() };
        let choice = RouteChoice::of(&web, &view(), &accepted).unwrap();
        assert_eq!(choice.route, Route::Gap, "two at a time are not wanted");
        web.template.to_mut().claims = vec!["disk".into()];
        assert_eq!(route(&web), Route::Gap, "its disk is on one node at a time");
    }

    #[test]
    fn hazard_16_a_budget_that_lets_none_of_two_go_gets_a_third() {
        let mut set = replica_set(2);
        set.owner = None;
        let under = |limit| {
            let mut view = view();
            view.apply(Change::Applied(Object::Budget(budget("shop/web", limit, 2, 2))));
            RouteChoice::of(&set, &view, &Policy::default()).unwrap()
        };
        let pinned = under(BudgetLimit::MinAvailable(IntOrPercent::Int(2)));
        assert_eq!(pinned.route, Route::ScaleThenEvict);
        assert!(
            pinned.reason.contains("lets none of its 2 replicas go; replicas 3 is lent"),
            "{}",
            pinned.reason
        );
        assert_eq!(under(BudgetLimit::MinAvailable(IntOrPercent::Int(1))).route, Route::Evict);
        // No number of replicas satisfies these.
        assert_eq!(under(BudgetLimit::MinAvailable(IntOrPercent::Percent(100))).route, Route::Evict);
        assert_eq!(under(BudgetLimit::MaxUnavailable(IntOrPercent::Int(0))).route, Route::Evict);
    }

    #[test]
    fn an_autoscaler_would_take_one_more_back_at_once() {
        let mut web = deployment(1, "25%", "25%");
        web.strategy = Strategy::Recreate;
        let mut view = view();
        let scaler = Autoscaler { name: "shop/web".parse().unwrap(), target: web.reference.clone() };
        view.apply(Change::Applied(Object::Autoscaler(scaler)));
        let choice = RouteChoice::of(&web, &view, &Policy::default()).unwrap();
        assert_eq!(choice.route, Route::Gap);
        assert!(choice.reason.ends_with("whose number an autoscaler sets"), "{}", choice.reason);
        // What a rollout borrows is nothing to it.
        let choice = RouteChoice::of(&deployment(1, "0", "1"), &view, &Policy::default()).unwrap();
        assert_eq!(choice.route, Route::RestartWithLoan);
    }

    #[test]
    fn what_belongs_to_somebody_else_or_has_a_name_of_its_own_is_never_scaled() {
        let mut coredns = deployment(1, "0", "1");
        coredns.reference.name = "kube-system/coredns".parse().unwrap();
        assert_ne!(route(&coredns), Route::ScaleThenEvict);
        let mut set = replica_set(1);
        set.owner = Some(Owner {
            kind: WorkloadKind::Other("Rollout".into()),
            name: "web".into(),
            uid: Uid::new("rollout").unwrap(),
        });
        assert_eq!(route(&set), Route::Gap);
        let mut database = deployment(1, "0", "0");
        database.reference.kind = WorkloadKind::StatefulSet;
        database.strategy = Strategy::Ordered { partition: 0 };
        assert!(choice(&database).reason.ends_with("a second would be another member, and no stand-in"));
    }

    #[test]
    fn a_disk_for_one_node_makes_a_restart_deadlock_so_it_is_a_gap() {
        let mut web = deployment(1, "1", "0");
        web.template.to_mut().claims = vec!["disk".into()];
        assert_eq!(route(&web), Route::Gap);
    }

    #[test]
    fn a_paused_deployment_would_never_roll() {
        let mut web = deployment(3, "1", "0");
        web.paused = true;
        assert_eq!(route(&web), Route::Evict);
    }
}

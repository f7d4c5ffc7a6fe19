//! Loans: what a move borrows of a workload so that nobody notices it, and that it comes back whatever happens.

use cluster_lab::{Actor, Lab, Manifest, Scenario, Stored};
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use upgrade_core::access::{Right, Verb};
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::journal::{Entry, RunState, Write};
use upgrade_core::model::{RunId, Settings, Workload, WorkloadKind, WorkloadRef};
use upgrade_core::plan::{Action, Plan, PlanError, Reversal, Route};
use upgrade_core::run::Start;
use upgrade_core::{Policy, plan};

use crate::support::Night;

fn object<T: DeserializeOwned + Stored>(value: Value) -> Manifest {
    Manifest::from(serde_json::from_value::<T>(value).unwrap())
}

fn probe() -> Value {
    json!({ "httpGet": { "path": "/ready", "port": 8080 }, "initialDelaySeconds": 5, "periodSeconds": 5 })
}

/// `shop/web` behind a Service: a Deployment of this size, with more in its spec, and with a probe or without.
fn web(replicas: u32, more: Value, probed: bool) -> Vec<Manifest> {
    let labels = json!({ "app": "web" });
    let mut container = json!({ "name": "app", "image": "registry.example.com/shop/web:1" });
    if probed {
        container["readinessProbe"] = probe();
    }
    let mut spec = json!({
        "replicas": replicas, "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
    });
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    let meta = json!({ "name": "web", "namespace": "shop", "labels": labels });
    vec![object::<Deployment>(json!({ "metadata": meta, "spec": spec })), served()]
}

fn served() -> Manifest {
    let spec = json!({ "selector": { "app": "web" }, "ports": [{ "port": 80 }] });
    object::<Service>(json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": spec }))
}

fn rolling(surge: u32, unavailable: impl Into<Value>) -> Value {
    let unavailable: Value = unavailable.into();
    json!({ "strategy": { "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } } })
}

fn budget(min_available: u32) -> Manifest {
    let spec = json!({ "minAvailable": min_available, "selector": { "matchLabels": { "app": "web" } } });
    object::<PodDisruptionBudget>(json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": spec }))
}

/// A night over a small cluster with nothing but these objects, its plan, and `shop/web` as it is before.
struct Case {
    night: Night,
    plan: Plan,
    before: Workload,
}

impl Case {
    fn new(objects: Vec<Manifest>) -> Self {
        Self::with(objects, Vec::new(), &Policy::default(), false)
    }

    fn paused(objects: Vec<Manifest>) -> Self {
        Self::with(objects, Vec::new(), &Policy::default(), true)
    }

    fn with(objects: Vec<Manifest>, actors: Vec<Actor>, policy: &Policy, paused: bool) -> Self {
        let mut scenario = Scenario::demo();
        for (pool, count) in scenario.pools.iter_mut().zip([1, 2]) {
            pool.count = count;
        }
        (scenario.objects, scenario.actors) = (objects, actors);
        let lab = Lab::new(&scenario, 1);
        if paused {
            // One that is made like this never gets pods.
            lab.with(|world| {
                world.store.update::<Deployment>("shop", "web", |web| web.spec.paused = Some(true))
            })
            .unwrap();
            lab.advance_to(lab.now() + SignedDuration::from_secs(10));
        }
        let night = Night::of(lab);
        let plan = plan(&night.inventory(), policy, "1.35".parse().unwrap()).unwrap();
        let before = web_of(&night);
        Self { night, plan, before }
    }

    fn fresh(&self) -> Start {
        Start::Fresh { plan: self.plan.clone(), run: RunId::new("night-1").unwrap(), tool: "test".into() }
    }

    fn resumed(&self) -> Start {
        Start::Resumed(RunState::replay(self.night.records()).unwrap())
    }

    /// The route of `shop/web`, and its reason; its step is a loan.
    fn route(&self) -> (Route, String) {
        let mut moves = self.plan.steps().filter_map(|step| match &step.action {
            Action::Move { workload, route, reason, .. } if workload.name.name() == "web" => {
                Some((*route, reason.clone(), step.reversal.clone()))
            }
            _ => None,
        });
        let (route, reason, reversal) = moves.next().unwrap();
        assert_eq!(matches!(reversal, Reversal::Loan { .. }), route.borrows(), "{reversal:?}");
        (route, reason)
    }

    /// What was borrowed and given back, in words and in order.
    fn loans(&self) -> Vec<String> {
        let written = self.night.records().into_iter().filter_map(|record| match record.entry {
            Entry::Intent { write: write @ (Write::Lend { .. } | Write::GiveBack { .. }), .. } => {
                Some(write.to_string())
            }
            _ => None,
        });
        written.collect()
    }

    fn warnings(&self) -> Vec<String> {
        let warnings = self.night.events().into_iter().filter_map(|event| match event.kind {
            EventKind::Warning { message } => Some(message),
            _ => None,
        });
        warnings.collect()
    }

    fn assert_unnoticed(&self, report: &Report) {
        assert_eq!(report.outcome, RunOutcome::Done, "{:?}", self.warnings());
        assert_eq!(report.holding, Vec::<String>::new(), "something was not returned");
        let gaps: Vec<_> = report.ledger.iter().flat_map(|record| &record.gaps).collect();
        assert!(gaps.is_empty() && !report.ledger.is_empty(), "somebody noticed: {gaps:?}");
        self.assert_as_before();
        assert!(web_of(&self.night).is_settled());
    }

    /// The workload's spec is what it was.
    fn assert_as_before(&self) {
        // The controllers need a moment.
        let later = self.night.lab.now() + SignedDuration::from_secs(60);
        self.night.lab.advance_to(later);
        let after = web_of(&self.night);
        assert_eq!(Settings::of(&after), Settings::of(&self.before));
        assert_eq!((after.uid, after.paused), (self.before.uid.clone(), self.before.paused));
    }
}

fn web_of(night: &Night) -> Workload {
    let workloads = night.inventory().workloads;
    workloads.into_iter().find(|w| w.reference.name.name() == "web" && w.owner.is_none()).unwrap()
}

/// Somebody sets `shop/web`'s surge.
fn set_surge(lab: &Lab, surge: i32) {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    lab.with(|world| {
        let set = |web: &mut Deployment| {
            let rolling = web.spec.strategy.as_mut().unwrap().rolling_update.as_mut().unwrap();
            rolling.max_surge = Some(IntOrString::Int(surge));
        };
        world.store.update::<Deployment>("shop", "web", set).unwrap();
    });
}

/// The whole night, in which each move borrows the same and gives it back.
fn borrows_and_gives_back(case: &Case, route: Route, lent: &str, former: &str) {
    let (chosen, reason) = case.route();
    assert_eq!(chosen, route, "{reason}");
    assert!(reason.contains(&format!("{lent} is lent")), "{reason}");
    let report = case.night.run(case.fresh()).unwrap();
    case.assert_unnoticed(&report);
    let who = &case.before.reference;
    let there =
        [format!("borrow of {who}: {lent} instead of {former}"), format!("give back to {who}: {former}")];
    assert_eq!(case.loans(), [there.clone(), there].concat());
}

#[test]
fn hazard_02_a_rollout_without_surge_gets_one() {
    let case = Case::new(web(3, rolling(0, 1), true));
    borrows_and_gives_back(&case, Route::RestartWithLoan, "maxSurge 1", "maxSurge 0");
}

#[test]
fn hazard_03_a_rollout_that_may_stop_every_pod_may_stop_none() {
    let case = Case::new(web(1, rolling(1, "100%"), true));
    borrows_and_gives_back(&case, Route::RestartWithLoan, "maxUnavailable 0", "maxUnavailable 100%");
}

#[test]
fn hazard_17_a_pod_that_says_nothing_must_have_run_a_while_before_the_old_one_goes() {
    let case = Case::new(web(1, json!({}), false));
    borrows_and_gives_back(&case, Route::RestartWithLoan, "minReadySeconds 10", "minReadySeconds 0");
}

#[test]
fn hazard_01_a_single_replica_that_would_be_recreated_gets_a_second() {
    let case = Case::new(web(1, json!({ "strategy": { "type": "Recreate" } }), true));
    borrows_and_gives_back(&case, Route::ScaleThenEvict, "replicas 2", "replicas 1");
}

#[test]
fn a_single_replica_whose_rollouts_are_paused_gets_a_second() {
    let case = Case::paused(web(1, json!({}), true));
    borrows_and_gives_back(&case, Route::ScaleThenEvict, "replicas 2", "replicas 1");
}

#[test]
fn hazard_16_a_budget_that_lets_none_of_two_go_gets_a_third() {
    let labels = json!({ "app": "web" });
    let container =
        json!({ "name": "app", "image": "registry.example.com/shop/web:1", "readinessProbe": probe() });
    let set = object::<ReplicaSet>(json!({
        "metadata": { "name": "web", "namespace": "shop", "labels": labels },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    }));
    let case = Case::new(vec![set, served(), budget(2)]);
    borrows_and_gives_back(&case, Route::ScaleThenEvict, "replicas 3", "replicas 2");
    // A Deployment whose rollouts are paused is no other.
    let mut objects = web(2, json!({}), true);
    objects.push(budget(2));
    borrows_and_gives_back(&Case::paused(objects), Route::ScaleThenEvict, "replicas 3", "replicas 2");
}

#[test]
fn whoever_has_accepted_the_gap_gets_no_second_copy() {
    let policy = Policy { allow_gap: ["shop/web".parse().unwrap()].into(), ..Policy::default() };
    let case =
        Case::with(web(1, json!({ "strategy": { "type": "Recreate" } }), true), Vec::new(), &policy, false);
    assert_eq!(case.route().0, Route::Gap);
}

/// What an autoscaler sizes is not scaled by anybody else: the plan asks for the gap. What a rollout borrows is nothing to it.
#[test]
fn an_autoscaler_and_a_loan_do_not_fight() {
    let scaler = || {
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
        object::<HorizontalPodAutoscaler>(json!({
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5 },
        }))
    };
    let mut objects = web(1, json!({ "strategy": { "type": "Recreate" } }), true);
    objects.push(scaler());
    let mut scenario = Scenario::demo();
    scenario.objects = objects;
    let refused = plan(&Lab::new(&scenario, 1).inventory(), &Policy::default(), "1.35".parse().unwrap());
    let Err(PlanError::Blocked(findings)) = refused else { panic!("{refused:?}") };
    let gap = findings.iter().find(|finding| finding.code == "MOV-001").unwrap();
    assert!(gap.message.ends_with("it has one replica, whose number an autoscaler sets"), "{}", gap.message);

    let mut objects = web(1, rolling(0, 1), true);
    objects.push(scaler());
    let case = Case::new(objects);
    let lent = "maxSurge 1, maxUnavailable 0";
    borrows_and_gives_back(&case, Route::RestartWithLoan, lent, "maxSurge 0, maxUnavailable 1");
}

/// Killed right after any record of the first move, the run goes on, and nothing stays borrowed.
#[test]
fn killed_anywhere_in_a_move_the_next_process_gives_back_what_was_borrowed() {
    let objects =
        [|| web(3, rolling(0, 1), true), || web(1, json!({ "strategy": { "type": "Recreate" } }), true)];
    for objects in objects {
        let whole = Case::new(objects());
        whole.night.run(whole.fresh()).unwrap();
        let records = whole.night.records();
        let of_loan = |write: &Write| matches!(write, Write::Lend { .. } | Write::GiveBack { .. });
        let position = |nth: usize| {
            let found = records
                .iter()
                .enumerate()
                .filter(|(_, record)| matches!(&record.entry, Entry::Intent { write, .. } if of_loan(write)));
            found.map(|(number, _)| number + 1).nth(nth).unwrap()
        };
        for after in position(0)..=position(1) + 2 {
            let case = Case::new(objects());
            assert!(case.night.run_until_record(case.fresh(), after), "not killed after {after}");
            let report = case.night.run(case.resumed()).unwrap();
            case.assert_unnoticed(&report);
        }
    }
}

#[test]
fn what_somebody_sets_meanwhile_stays_and_the_move_goes_another_way() {
    let case = Case::new(web(3, rolling(0, 1), true));
    let lab = case.night.lab.clone();
    case.night.at_write("borrow of", Box::new(move || set_surge(&lab, 2)));
    let report = case.night.run(case.fresh()).unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
    assert!(report.ledger.iter().all(|record| record.gaps.is_empty()));
    let warnings = case.warnings();
    let told = "has set maxSurge 2 of Deployment shop/web while maxSurge 1 was borrowed of it; that stays";
    assert!(warnings.iter().any(|warning| warning.contains(told)), "{warnings:?}");
    // Nothing was given back over it; on the way back nothing has to be borrowed.
    assert_eq!(case.loans(), ["borrow of Deployment shop/web: maxSurge 1 instead of maxSurge 0"]);
    assert_eq!(
        Settings::of(&web_of(&case.night)).to_string(),
        "replicas 3, maxSurge 2, maxUnavailable 1, minReadySeconds 0"
    );
}

/// An operator writes its own number back again and again: it is asked once, and with one replica a person is.
#[test]
fn a_loan_that_is_taken_back_is_not_fought_over() {
    let keeper = Actor::ReplicaKeeper {
        workload: WorkloadRef { kind: WorkloadKind::Deployment, name: "shop/web".parse().unwrap() },
        replicas: 1,
        every: std::time::Duration::from_secs(1),
    };
    let objects = web(1, json!({ "strategy": { "type": "Recreate" } }), true);
    let case = Case::with(objects, vec![keeper], &Policy::default(), false);
    let report = case.night.run(case.fresh()).unwrap();
    let RunOutcome::Held { cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(
        cause.contains("has taken back replicas 2, which was borrowed of Deployment shop/web"),
        "{cause}"
    );
    // What is borrowed no more is given back all the same, which changes nothing; and it is not borrowed again.
    let borrowed = case.loans().iter().filter(|write| write.starts_with("borrow of")).count();
    assert_eq!(borrowed, 1, "{:?}", case.loans());
    assert!(report.ledger.iter().all(|record| record.gaps.is_empty()));
    case.assert_as_before();
}

/// Asked to stop in the middle of a rollout that needs what it has borrowed, the run lets it end and gives back; later it goes
/// on.
#[test]
fn asked_to_stop_in_the_middle_the_run_gives_back_first() {
    let surges = || Case::new(web(3, rolling(0, 1), true));
    let paused = || Case::paused(web(1, json!({}), true));
    for (case, at) in
        [(surges(), "borrow of"), (surges(), "restart"), (paused(), "borrow of"), (paused(), "evict")]
    {
        let report = case.night.run_and_stop_at_write(case.fresh(), at).unwrap();
        assert_eq!(report.outcome, RunOutcome::Aborted);
        assert!(!report.holding.iter().any(|held| held.contains("gives it back")), "{:?}", report.holding);
        assert_eq!(case.loans().len(), 2, "{:?}", case.loans());
        case.assert_as_before();
        let report = case.night.run(case.resumed()).unwrap();
        case.assert_unnoticed(&report);
    }
}

#[test]
fn what_cannot_be_given_back_is_held_with_the_command_that_does_it() {
    let case = Case::new(web(3, rolling(0, 1), true));
    let lab = case.night.lab.clone();
    let deny = move || {
        lab.with(|world| {
            world.access.denied = vec![Right::new(Verb::Patch, "apps", "deployments").within("shop")];
        });
    };
    case.night.at_write("restart", Box::new(deny));
    let report = case.night.run(case.fresh()).unwrap();
    let RunOutcome::Held { cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    let command = "kubectl -n shop patch deployment web --type merge -p '{\"spec\":{\"strategy\":{\"rollingUpdate\":{\"maxSurge\":0}}}}'";
    assert!(cause.contains("cannot be given back") && cause.contains(command), "{cause}");
    let owed = format!("maxSurge 1 of Deployment shop/web; `{command}` gives it back");
    assert!(report.holding.contains(&owed), "{:?}", report.holding);
    // With the right again, the next process finds the move done, and the loan.
    case.night.lab.with(|world| world.access.denied.clear());
    let report = case.night.run(case.resumed()).unwrap();
    case.assert_unnoticed(&report);
}

//! A run that is to reverse: when a step fails, the workloads in hand go back to the nodes that they came from, and the buffer
//! goes, as long as those nodes are there. What must never happen: a reversal that makes a gap, that is forgotten by a kill in
//! the middle, or that begins when the nodes are being replaced.

use std::time::Duration;

use cluster_lab::{Lab, RancherDeed, Story};
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::inventory::Ownership;
use upgrade_core::journal::{Entry, RunState};
use upgrade_core::model::{Pod, RunId};
use upgrade_core::plan;
use upgrade_core::plan::{Action, Plan, Stage};
use upgrade_core::policy::RancherManaged;
use upgrade_core::run::Start;
use upgrade_core::run::failure::OnFailure;

use crate::support::Night;

/// An image that is gone from the registry is met only when its workload is restarted: nothing is pulled ahead.
fn deleted_image() -> (Night, Plan) {
    let mut story = Story::named("deleted-image").unwrap();
    story.policy.prewarm = false;
    night_of(&story)
}

fn night_of(story: &Story) -> (Night, Plan) {
    let lab = Lab::new(&story.scenario, 1);
    let plan = plan(&lab.inventory(), &story.policy, story.to).unwrap();
    let night = Night::of(lab);
    night.on_failure(OnFailure::Reverse);
    (night, plan)
}

fn fresh(plan: &Plan) -> Start {
    Start::Fresh { plan: plan.clone(), run: RunId::new("night-1").unwrap(), tool: "test".into() }
}

fn resumed(night: &Night) -> Start {
    Start::Resumed(RunState::replay(night.records()).unwrap())
}

fn warnings(night: &Night) -> Vec<String> {
    let events = night.events().into_iter();
    let told = events.filter_map(|event| match event.kind {
        EventKind::Warning { message } => Some(message),
        _ => None,
    });
    told.collect()
}

/// The pool in hand is as before the run: no buffer, no cordon, every pod on its own nodes, and nobody was without an endpoint.
fn is_brought_back(night: &Night, report: &Report) {
    let RunOutcome::Reversed { title, cause, stays, .. } = &report.outcome else {
        panic!("{:?}\n{:#?}", report.outcome, warnings(night))
    };
    assert!(title.starts_with("move Deployment shop/legacy off user"), "{title}");
    assert!(cause.contains("legacy"), "{cause}");
    assert_eq!(stays[..2], ["the control plane runs 1.35.1", "pool system runs 1.35.1"]);
    assert!(
        stays[2..].iter().all(|what| what.starts_with("Deployment shop/legacy is not at strength")),
        "{stays:?}"
    );
    assert_eq!(report.holding, Vec::<String>::new());
    assert!(report.ledger.iter().all(|service| service.gaps.is_empty()), "{:?}", report.ledger);
    let after = night.inventory();
    let pools: Vec<String> =
        after.pools.iter().map(|pool| format!("{} {}", pool.name, pool.version)).collect();
    assert_eq!(pools, ["system 1.35.1", "user 1.34.2"]);
    assert!(after.nodes.iter().all(|node| !node.unschedulable && node.ready));
    // The pod that was to replace the one of the deleted image waits for it, wherever it is; the old one serves.
    let waiting = after.pods.iter().filter(|pod| !pod.is_finished() && !pod.is_healthy());
    assert!(waiting.clone().count() <= 1);
    assert!(
        waiting.clone().all(|pod| pod.name.name().starts_with("legacy-")),
        "{:?}",
        waiting.collect::<Vec<_>>()
    );
    let serves = |pod: &&Pod| pod.name.name().starts_with("legacy-") && pod.is_healthy();
    assert!(after.pods.iter().any(|pod| serves(&pod)));
}

#[test]
fn a_workload_that_does_not_start_on_the_buffer_is_brought_back_with_all_others() {
    let (night, plan) = deleted_image();
    let report = night.run(fresh(&plan)).unwrap();
    is_brought_back(&night, &report);
    let state = RunState::replay(night.records()).unwrap();
    assert!(state.is_over() && !state.is_done());
}

#[test]
fn a_process_that_is_killed_on_the_way_back_is_followed_by_one_that_goes_on_with_it() {
    let (night, plan) = deleted_image();
    night.run(fresh(&plan)).unwrap();
    let records = night.records();
    let turned = records.iter().position(|record| matches!(record.entry, Entry::Reversing { .. })).unwrap();
    let all = records.len();
    // After the turn itself, and at five places on the way.
    for part in 0..6 {
        let after = turned + 1 + (all - turned - 2) * part / 6;
        let (night, plan) = deleted_image();
        assert!(night.run_until_record(fresh(&plan), after), "{after} of {all}");
        let report = night.run(resumed(&night)).unwrap();
        is_brought_back(&night, &report);
    }
}

#[test]
fn without_being_told_to_a_run_holds_and_one_that_is_resumed_can_be_told() {
    let (night, plan) = deleted_image();
    night.on_failure(OnFailure::Hold);
    let held = night.run(fresh(&plan)).unwrap();
    assert!(matches!(held.outcome, RunOutcome::Held { .. }), "{:?}", held.outcome);
    night.on_failure(OnFailure::Reverse);
    let report = night.run(resumed(&night)).unwrap();
    is_brought_back(&night, &report);
}

#[test]
fn from_the_upgrade_of_its_nodes_on_a_pool_is_not_brought_back() {
    let (night, plan) = night_of(&Story::named("half-an-upgrade").unwrap());
    let report = night.run(fresh(&plan)).unwrap();
    let RunOutcome::Held { step, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    let failed = plan.steps().find(|own| own.id == *step).unwrap();
    let Action::UpgradePool { pool, .. } = &failed.action else { panic!("{}", failed.action) };
    let told = format!(
        "this failure is not reversed: the upgrade of pool {pool} has begun (step {step}), and from there on the way of its workloads is forward; the run holds"
    );
    assert!(warnings(&night).contains(&told), "{:#?}", warnings(&night));
    assert!(plan.points_of_no_return().any(|(own, at)| own == pool && at == step));
    assert!(night.run(resumed(&night)).unwrap().outcome.is_done());
}

#[test]
fn where_nothing_was_begun_there_is_nothing_to_bring_back() {
    let (night, plan) = night_of(&Story::named("no-quota").unwrap());
    let report = night.run(fresh(&plan)).unwrap();
    let RunOutcome::Held { step, cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert_eq!(step.to_string(), "1.1.1");
    assert!(cause.contains("nothing was changed: buffer systembf: "), "{cause}");
    let told = "this failure is not reversed: there is nothing to bring back; the run holds".to_owned();
    assert!(warnings(&night).contains(&told), "{:#?}", warnings(&night));
    assert_eq!(night.inventory().cluster.version, plan.from);
}

/// Beside a Rancher that writes to Azure, too: each stage of the way back that changes Azure begins while the two agree, and
/// Rancher's operator, restarted at every stage, finds nothing to repair.
#[test]
fn in_lock_step_the_way_back_is_gone_together_with_rancher() {
    let mut story = Story::named("deleted-image").unwrap();
    story.policy.prewarm = false;
    story.policy.rancher_managed = RancherManaged::LockStep;
    story.scenario = story.scenario.managed(Duration::from_secs(300));
    let (night, plan) = night_of(&story);
    assert!(plan.is_in_lock_step());
    night.in_rancher_at_every_stage(RancherDeed::RestartOperator);
    let report = night.run(fresh(&plan)).unwrap();
    is_brought_back(&night, &report);
    let state = RunState::replay(night.records()).unwrap();
    let (_, way) = state.reversal().unwrap();
    let waits =
        way.iter().flat_map(Stage::steps).find(|step| matches!(step.action, Action::AwaitRancher { .. }));
    let waited = waits.and_then(|step| state.outcome(&step.id));
    assert!(waited.is_some(), "after the buffer has gone Rancher reads Azure once more: {way:?}");
    assert!(!warnings(&night).iter().any(|told| told.starts_with("alarm: ")), "{:#?}", warnings(&night));
    let writer = || match night.inventory().rancher.ownership {
        Ownership::Managed(writer) => writer,
        other => panic!("it is managed: {other:?}"),
    };
    assert_eq!(writer().out_of_sync, Vec::<String>::new());
    // Long afterwards nobody has made the buffer anew.
    night.lab.with(|world| world.in_rancher(RancherDeed::RestartOperator));
    let later = night.lab.now() + Duration::from_secs(11 * 3600);
    night.lab.block_on(night.lab.clock().sleep_until(later)).unwrap();
    is_brought_back(&night, &report);
    assert_eq!(writer().out_of_sync, Vec::<String>::new());
}

//! Nights beside a Rancher that writes to Azure, too.

use std::time::Duration;

use cluster_lab::{Lab, RancherDeed, Scenario};
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::inventory::Ownership;
use upgrade_core::journal::{Entry, RunState, Write};
use upgrade_core::model::{PoolName, RunId, StepId, VersionRequest};
use upgrade_core::plan::{Action, Plan, PlanError};
use upgrade_core::policy::RancherManaged;
use upgrade_core::run::Start;
use upgrade_core::{Policy, plan};

use crate::support::Night;

const REFRESH: Duration = Duration::from_secs(300);

fn to() -> VersionRequest {
    "1.35".parse().unwrap()
}

fn lock_step() -> Policy {
    Policy { rancher_managed: RancherManaged::LockStep, ..Policy::default() }
}

fn fresh(plan: &Plan) -> Start {
    Start::Fresh { plan: plan.clone(), run: RunId::new("night-2").unwrap(), tool: "test".into() }
}

/// A night under a Rancher, and the plan for it in lock-step.
fn night(scenario: &Scenario) -> (Night, Plan) {
    let night = Night::of(Lab::new(scenario, 1));
    let plan = plan(&night.inventory(), &lock_step(), to()).unwrap();
    (night, plan)
}

fn managed() -> Scenario {
    Scenario::demo().managed(REFRESH)
}

fn gaps(report: &Report) -> usize {
    report.ledger.iter().map(|record| record.gaps.len()).sum()
}

fn warnings(night: &Night) -> Vec<String> {
    let events = night.events().into_iter();
    events
        .filter_map(
            |event| if let EventKind::Warning { message } = event.kind { Some(message) } else { None },
        )
        .collect()
}

fn assert_upgraded(night: &Night, report: &Report, plan: &Plan) {
    assert_eq!((&report.outcome, gaps(report)), (&RunOutcome::Done, 0));
    assert_eq!(report.holding, Vec::<String>::new());
    let world = night.inventory();
    let pools: Vec<_> =
        world.pools.iter().map(|pool| (pool.name.as_str(), pool.version, pool.count)).collect();
    assert_eq!(pools, [("system", plan.target, 3), ("user", plan.target, 6)]);
    assert!(world.nodes.iter().all(upgrade_core::model::Node::takes_pods));
}

/// The step in which the run waits for Rancher after `action` of a pool.
fn wait_after(plan: &Plan, made: &str) -> StepId {
    let stage = plan.stages.iter().find(|stage| stage.title == made).unwrap();
    let wait = stage.steps().find(|step| matches!(step.action, Action::AwaitRancher { .. }));
    wait.unwrap().id.clone()
}

/// Somebody restarts Rancher's operator again and again, whenever a careless tool would lose its buffer: right when the nodes
/// are cordoned, the workloads moved, the nodes upgraded. It finds nothing to repair.
#[test]
fn in_lock_step_an_operator_that_is_restarted_all_night_takes_nothing_back() {
    let (night, plan) = night(&managed());
    night.in_rancher_at_every_stage(RancherDeed::RestartOperator);
    let report = night.run(fresh(&plan)).unwrap();
    assert_upgraded(&night, &report, &plan);
    assert_eq!(warnings(&night), Vec::<String>::new());
    // Each change of the run's own in Azure was followed by a wait for Rancher, which says how long it takes.
    let told = night.events().into_iter().any(|event| {
        matches!(event.kind, EventKind::Progress { waiting_for, .. }
            if waiting_for.iter().any(|what| what.starts_with("Rancher, for ") && what.contains("of at most 12m: ")))
    });
    assert!(told, "nobody was told what the run waits for");
    // And long afterwards there is nothing to repair, either.
    night.lab.with(|world| world.in_rancher(RancherDeed::RestartOperator));
    let later = night.lab.now() + Duration::from_secs(11 * 3600);
    night.lab.block_on(night.lab.clock().sleep_until(later)).unwrap();
    assert_upgraded(&night, &report, &plan);
}

/// The same night without consent: nothing is touched.
#[test]
fn without_consent_nothing_is_touched() {
    let night = Night::of(Lab::new(&managed(), 1));
    let Err(PlanError::Blocked(findings)) = plan(&night.inventory(), &Policy::default(), to()) else {
        panic!("planned beside a second writer without consent")
    };
    let blocking: Vec<_> = findings.iter().filter(|f| f.blocks()).map(|f| f.code.as_str()).collect();
    assert_eq!(blocking, ["RAN-001"]);
    let stale = Night::of(Lab::new(&Scenario::demo().managed_stale(), 1));
    let Err(PlanError::Blocked(findings)) = plan(&stale.inventory(), &lock_step(), to()) else {
        panic!("planned beside a Rancher that adopts nothing")
    };
    let blocking: Vec<_> = findings.iter().filter(|f| f.blocks()).collect();
    assert_eq!(blocking.len(), 1);
    assert!(
        blocking[0].message.contains("Rancher wants version 1.30.9, Azure has 1.34.2"),
        "{}",
        blocking[0].message
    );
}

/// The worst moment of all: Azure has made the buffer, Rancher has not read Azure since, and its operator is restarted. The
/// buffer is lost, and nothing was moved there.
#[test]
fn a_buffer_that_is_taken_back_before_it_was_adopted_costs_nothing_but_the_night() {
    let (night, plan) = night(&Scenario::demo().managed(Duration::from_secs(3600)));
    night.in_rancher_at_step(&wait_after(&plan, "user: add buffer userbf"), RancherDeed::RestartOperator);
    let report = night.run(fresh(&plan)).unwrap();
    let RunOutcome::Held { cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(cause.starts_with("buffer userbf is Deleting in Azure, and this run did not do that"), "{cause}");
    assert!(warnings(&night).iter().any(|message| message.starts_with("alarm: buffer userbf")));
    assert_eq!(gaps(&report), 0);
    let user = PoolName::new("user").unwrap();
    let nodes: Vec<_> = night.inventory().nodes.into_iter().filter(|node| node.is_in(&user)).collect();
    assert_eq!(nodes.len(), 6);
    assert!(nodes.iter().all(upgrade_core::model::Node::takes_pods), "nothing was cordoned");
}

/// Somebody has had the form open since before the buffer, and saves it while the workloads are there: Rancher deletes the
/// buffer under them. The run sees it, gives the old nodes back so that the pods have a place, and raises the alarm.
#[test]
fn a_buffer_that_is_taken_back_in_the_middle_of_a_move_raises_the_alarm_and_gives_the_nodes_back() {
    let (night, plan) = night(&managed());
    night.in_rancher_at("user: add buffer userbf", RancherDeed::OpenForm);
    night.in_rancher_at_step(&first_step(&plan, "user: move onto userbf: drain user"), RancherDeed::SaveForm);
    let report = night.run(fresh(&plan)).unwrap();
    let RunOutcome::Held { cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(cause.contains("buffer userbf is Deleting"), "{cause}");
    let given_back = night.records().into_iter().filter(|record| {
        matches!(&record.entry, Entry::Intent { write: Write::Uncordon { node, .. }, .. } if node.as_str().contains("user"))
    });
    assert_eq!(given_back.count(), 6);
    let user = PoolName::new("user").unwrap();
    assert!(night.inventory().nodes.iter().filter(|node| node.is_in(&user)).all(|node| !node.unschedulable));
    // Resumed while that is so, it moves nothing.
    let records = night.records().len();
    let state = RunState::replay(night.records()).unwrap();
    let again = night.run(Start::Resumed(state)).unwrap();
    assert!(matches!(again.outcome, RunOutcome::Held { .. }), "{:?}", again.outcome);
    let moved = night.records().into_iter().skip(records).filter(|record| {
        matches!(&record.entry, Entry::Intent { write: Write::Restart { .. } | Write::Evict { .. }, .. })
    });
    assert_eq!(moved.count(), 0);
}

fn first_step(plan: &Plan, title: &str) -> StepId {
    let stage = plan.stages.iter().find(|stage| stage.title == title).unwrap();
    stage.steps().next().unwrap().id.clone()
}

/// Rancher does not read Azure any more: the run waits as long as a healthy Rancher may take, and holds with nothing moved.
#[test]
fn a_rancher_that_adopts_nothing_ends_the_wait() {
    let (night, plan) = night(&managed());
    night.in_rancher_at("upgrade the control plane", RancherDeed::OpenForm);
    // What is saved is the old version: Azure refuses it for ever, and nothing is adopted from then on.
    night.in_rancher_at_step(&wait_after(&plan, "upgrade the control plane"), RancherDeed::SaveForm);
    let report = night.run(fresh(&plan)).unwrap();
    let RunOutcome::Held { cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(cause.starts_with("Rancher has not adopted the change in 12m: "), "{cause}");
    assert!(cause.contains("Downgrading Kubernetes version"), "{cause}");
    assert_eq!((gaps(&report), report.holding.len()), (0, 0));
    let pools = night.inventory().pools;
    assert_eq!(pools.len(), 2, "nothing more was changed in Azure");
}

/// A cluster that nobody has edited in Rancher is upgraded as any other; when somebody edits it in the middle of the night,
/// the run holds before it changes anything more.
#[test]
fn an_edit_in_the_middle_of_the_night_makes_rancher_a_second_writer() {
    let night = Night::of(Lab::new(&Scenario::demo().unmanaged(), 1));
    let plan = plan(&night.inventory(), &Policy::default(), to()).unwrap();
    assert!(!plan.is_in_lock_step());
    night.lab.with(|world| world.in_rancher(RancherDeed::OpenForm));
    night.in_rancher_at("system: upgrade its nodes", RancherDeed::OpenForm);
    night.in_rancher_at_step(
        &first_step(&plan, "system: move back from systembf: cordon systembf"),
        RancherDeed::SaveForm,
    );
    let report = night.run(fresh(&plan)).unwrap();
    let RunOutcome::Held { cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(cause.contains("agree to it with `rancher_managed = \"lock-step\"`"), "{cause}");
    assert!(matches!(night.inventory().rancher.ownership, Ownership::Managed(_)));
    let deleted = night
        .records()
        .into_iter()
        .filter(|record| matches!(&record.entry, Entry::Intent { write: Write::DeletePool { .. }, .. }));
    assert_eq!(deleted.count(), 0, "Azure was changed behind Rancher's back");
}

/// Somebody asks to stop right after a change: the run leaves only when Rancher has adopted it, and goes on later.
#[test]
fn a_run_that_is_asked_to_stop_leaves_nothing_that_rancher_would_take_back() {
    let (night, plan) = night(&Scenario::demo().managed(Duration::from_secs(900)));
    let wait = wait_after(&plan, "user: add buffer userbf");
    let report = night.run_and_stop_at_step(fresh(&plan), &wait).unwrap();
    assert_eq!(report.outcome, RunOutcome::Aborted);
    assert!(warnings(&night).iter().any(|message| message.contains("as soon as Rancher has adopted")));
    assert!(
        matches!(&night.inventory().rancher.ownership, Ownership::Managed(writer) if writer.out_of_sync.is_empty())
    );
    night.lab.with(|world| world.in_rancher(RancherDeed::RestartOperator));
    let later = night.lab.now() + Duration::from_secs(3600);
    night.lab.block_on(night.lab.clock().sleep_until(later)).unwrap();
    let state = RunState::replay(night.records()).unwrap();
    let report = night.run(Start::Resumed(state)).unwrap();
    assert_upgraded(&night, &report, &plan);
}

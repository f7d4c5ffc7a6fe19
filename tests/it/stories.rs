//! Whole runs in the lab, in virtual time, each the story of one night.

use std::sync::Arc;

use cluster_lab::{Lab, Scenario};
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::journal::{Entry, Record, RunState};
use upgrade_core::model::{RunId, VersionRequest};
use upgrade_core::plan::{Plan, PlanError};
use upgrade_core::ports::Answer;
use upgrade_core::run::Start;
use upgrade_core::{Policy, plan};

use crate::support::{Night, demo_inventory};

fn to(text: &str) -> VersionRequest {
    text.parse().unwrap()
}

fn demo_plan() -> Plan {
    plan(&demo_inventory(), &Policy::default(), to("1.35")).unwrap()
}

fn fresh(plan: &Plan) -> Start {
    Start::Fresh { plan: plan.clone(), run: RunId::new("night-1").unwrap(), tool: "test".into() }
}

/// What must be so after any night that ends well.
fn assert_upgraded(night: &Night, report: &Report, plan: &Plan) {
    assert_eq!(report.outcome, RunOutcome::Done);
    assert_eq!(report.holding, Vec::<String>::new(), "a loan was not returned");
    let gaps: Vec<_> = report.ledger.iter().flat_map(|record| &record.gaps).collect();
    assert!(gaps.is_empty(), "somebody noticed: {gaps:?}");
    let world = night.inventory();
    assert_eq!(world.cluster.version, plan.target);
    let names: Vec<_> =
        world.pools.iter().map(|pool| (pool.name.as_str(), pool.version, pool.count)).collect();
    assert_eq!(names, [("system", plan.target, 3), ("user", plan.target, 6)]);
    assert_eq!(world.nodes.len(), 9);
    assert!(world.nodes.iter().all(|node| node.kubelet == Some(plan.target) && node.takes_pods()));
    let view = world.view();
    assert!(
        view.workloads()
            .filter(|w| w.owner.is_none())
            .all(|w| w.is_settled() || w.reference.kind.as_str() == "Job")
    );
}

#[test]
fn the_demo_cluster_is_upgraded_by_the_ten_steps_and_nobody_notices() {
    let plan = demo_plan();
    let night = Night::new();
    let report = night.run(fresh(&plan)).unwrap();
    assert_upgraded(&night, &report, &plan);
    let titles: Vec<_> = report.stages.iter().map(|stage| stage.title.as_str()).collect();
    assert_eq!(titles, plan.stages.iter().map(|stage| stage.title.as_str()).collect::<Vec<_>>());
    // Each workload restarts at most once per move: twice per pool.
    let restarts = night.records().into_iter().filter(|record| {
        matches!(&record.entry, Entry::Intent { write: upgrade_core::journal::Write::Restart { .. }, .. })
    });
    let moves =
        plan.steps().filter(|step| matches!(step.action, upgrade_core::plan::Action::Move { .. })).count();
    assert!(restarts.count() <= moves);
    let ended =
        night.events().iter().filter(|event| matches!(event.kind, EventKind::RunEnded { .. })).count();
    assert_eq!(ended, 1);
    assert!(
        matches!(night.events().last().unwrap().kind, EventKind::RunEnded { .. }),
        "something came after the end"
    );
}

#[test]
fn the_same_night_twice_is_the_same_to_the_byte() {
    let plan = demo_plan();
    let tell = || {
        let night = Night::new();
        night.run(fresh(&plan)).unwrap();
        serde_json::to_string(&night.events()).unwrap()
    };
    assert_eq!(tell(), tell());
}

#[test]
fn a_second_run_of_the_same_plan_finds_everything_done() {
    let plan = demo_plan();
    let night = Night::new();
    night.run(fresh(&plan)).unwrap();
    let writes = night.records().len();
    let world = night.inventory();
    let again = upgrade_core::plan(&world, &Policy::default(), to("1.35")).unwrap();
    assert!(again.is_empty(), "{:?}", again.stages.iter().map(|s| &s.title).collect::<Vec<_>>());
    assert!(writes > 50);
}

/// The process is killed right after a record is durable, again and again, at records all over the run; each time a new process
/// goes on from the journal, and the night ends as if nothing had happened.
#[test]
fn killed_again_and_again_the_run_goes_on_and_ends_the_same() {
    // Longer than any batch of intents that are durable before the first of their writes is sent: each process gets something
    // done.
    const LEAST: usize = 14;
    let plan = demo_plan();
    for night_number in 0..3 {
        let night = Night::new();
        let mut start = fresh(&plan);
        let mut kills = 0;
        loop {
            let after = night.records().len() + LEAST + (17 * kills + 5 * night_number) % 31;
            if !night.run_until_record(start, after) {
                break;
            }
            kills += 1;
            start = Start::Resumed(RunState::replay(night.records()).unwrap());
        }
        assert!(kills >= 8, "killed {kills} times only");
        let ended = night.events().into_iter().rev().find_map(|event| match event.kind {
            EventKind::RunEnded { report } => Some(report),
            _ => None,
        });
        assert_upgraded(&night, &ended.unwrap(), &plan);
    }
}

/// The same for a run that is killed once, early, in the middle or late.
#[test]
fn killed_once_the_run_goes_on_and_ends_the_same() {
    let plan = demo_plan();
    let whole = Night::new();
    whole.run(fresh(&plan)).unwrap();
    let length = whole.records().len();
    for part in [1, 3, 5, 7] {
        let night = Night::new();
        let after = length * part / 8;
        assert!(night.run_until_record(fresh(&plan), after), "not killed after {after}");
        let state = RunState::replay(night.records()).unwrap();
        let report = night.run(Start::Resumed(state)).unwrap();
        assert_upgraded(&night, &report, &plan);
    }
}

#[test]
fn asked_to_stop_the_run_stops_at_a_safe_point_and_can_go_on() {
    let plan = demo_plan();
    let night = Night::new();
    let moving = plan.stages.iter().find(|stage| stage.title == "user: move onto userbf").unwrap().number;
    let report = night.run_and_stop_at(fresh(&plan), "user: move onto userbf").unwrap();
    assert_eq!(report.outcome, RunOutcome::Aborted);
    assert!(report.holding.iter().any(|loan| loan.starts_with("buffer userbf")), "{:?}", report.holding);
    let finished = night
        .records()
        .iter()
        .filter(|record| matches!(record.entry, Entry::StageFinished { stage } if stage >= moving))
        .count();
    assert_eq!(finished, 0, "the stage went on");
    let state = RunState::replay(night.records()).unwrap();
    assert_eq!(state.open_intents().count(), 0, "the first request lets every write be answered");
    let report = night.run(Start::Resumed(state)).unwrap();
    assert_upgraded(&night, &report, &plan);
}

#[test]
fn a_cluster_that_is_another_one_is_not_touched() {
    let mut plan = demo_plan();
    plan.cluster.kube_system = upgrade_core::model::Uid::new("another").unwrap();
    let night = Night::new();
    let before = night.inventory();
    let report = night.run(fresh(&plan)).unwrap();
    let RunOutcome::IdentityLost { why } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(why.contains("kube-system uid is"), "{why}");
    let intents = night.records().iter().filter(|r| matches!(r.entry, Entry::Intent { .. })).count();
    assert_eq!(intents, 0);
    assert_eq!(night.inventory().nodes, before.nodes);
}

/// Somebody deletes the pods of a Service by hand in the middle of the move: the gap is seen, the run asks, and with nobody to
/// answer it pauses and can go on later.
#[test]
fn a_gap_that_nobody_accepted_pauses_the_run() {
    let plan = demo_plan();
    let night = Night::new();
    night.sabotage_at("user: move onto userbf", "shop");
    let report = night.run(fresh(&plan)).unwrap();
    let RunOutcome::Paused { question } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(question.text.contains("has no ready endpoint since"), "{}", question.text);
    assert!(report.ledger.iter().any(|record| record.gaps.len() == 1));
    let state = RunState::replay(night.records()).unwrap();
    let report = night.answering(Answer::Continue).run(Start::Resumed(state)).unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
}

/// What cannot move without a gap moves with one, when somebody has accepted it by name: it is measured and stops nobody.
#[test]
fn a_gap_that_was_accepted_is_measured_and_stops_nobody() {
    let lab = Lab::new(&Scenario::with_gap(), 1);
    let inventory = lab.inventory();
    let refused = plan(&inventory, &Policy::default(), to("1.35")).unwrap_err();
    assert!(
        matches!(&refused, PlanError::Blocked(findings) if findings.iter().any(|f| f.code == "MOV-001" && f.blocks()))
    );
    let policy = Policy { allow_gap: ["pay/vault".parse().unwrap()].into(), ..Policy::default() };
    let plan = plan(&inventory, &policy, to("1.35")).unwrap();
    let report = Night::of(lab).run(fresh(&plan)).unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
    let gaps: Vec<_> = report.ledger.iter().flat_map(|record| &record.gaps).collect();
    assert_eq!(gaps.len(), 2, "there and back: {gaps:?}");
    assert!(
        gaps.iter().all(|gap| gap.accepted && gap.service.to_string() == "pay/vault" && gap.end.is_some())
    );
}

#[test]
fn a_journal_without_its_header_is_refused_before_anything_is_done() {
    let plan = demo_plan();
    let night = Night::new();
    night.run_until_record(fresh(&plan), 40);
    let records: Vec<Record> = night.records().into_iter().skip(1).collect();
    assert!(RunState::replay(records).is_err());
    let error = Night::new().run(Start::Resumed(RunState::default())).unwrap_err();
    assert!(Arc::new(error).to_string().contains("cannot go on from its journal"));
}

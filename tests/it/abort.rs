//! A run is asked to stop by somebody who shares nothing with it but the cluster.

use std::sync::Mutex;
use std::time::Duration;

use aks_drover::{AbortProgress, AbortReport, Cluster};
use cluster_lab::{Lab, Scenario};
use futures::future::join;
use jiff::{SignedDuration, Timestamp};
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::journal::{Entry, RunState};
use upgrade_core::lock::{AskEnd, Lease, lock_name};
use upgrade_core::model::RunId;
use upgrade_core::plan::{Action, Stage};
use upgrade_core::run::{Start, drive, stop_signal};
use upgrade_core::{Policy, plan};

use crate::faces::proven;
use crate::support::Night;

const RUN: &str = "demo-20261124-230000-0001";

fn night() -> Night {
    Night::of(Lab::new(&Scenario::demo(), 1))
}

fn id() -> RunId {
    RunId::new(RUN).unwrap()
}

fn fresh(lab: &Lab) -> Start {
    let plan = plan(&lab.inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap();
    Start::Fresh { plan, run: id(), tool: "test".into() }
}

fn lease(lab: &Lab) -> Option<Lease> {
    let kubernetes = lab.kubernetes();
    lab.block_on(kubernetes.lease(&lock_name())).unwrap().unwrap()
}

/// Somebody elsewhere asks; what he was told, and what came of it.
async fn ask(cluster: &Cluster, at_once: bool, wait: Duration) -> (AskEnd, Vec<AbortProgress>) {
    let told = Mutex::new(Vec::new());
    let abort = cluster.abort(id()).at_once(at_once).wait(wait);
    let end = abort.perform(|progress| told.lock().unwrap().push(progress)).await.unwrap();
    (end, told.into_inner().unwrap())
}

/// A run works, and is asked to stop when it has worked for so long.
fn asked_after(night: &Night, minutes: i64, at_once: bool) -> (Report, AskEnd, Vec<AbortProgress>) {
    let (_handle, stop) = stop_signal();
    let run = drive(fresh(&night.lab), night.ports(), stop);
    let cluster = proven(&night.lab);
    let asks = async {
        let clock = night.lab.clock();
        clock.sleep_until(clock.now() + SignedDuration::from_mins(minutes)).await;
        ask(&cluster, at_once, Duration::from_secs(600)).await
    };
    let (report, (end, told)) = night.lab.block_on(join(run, asks)).unwrap();
    (report.unwrap(), end, told)
}

#[test]
fn a_run_that_is_asked_from_elsewhere_stops_at_a_safe_point_and_who_asked_hears_how() {
    for minutes in [3, 20, 40] {
        let night = night();
        let (report, end, told) = asked_after(&night, minutes, false);
        assert_eq!((&report.outcome, &end), (&RunOutcome::Aborted, &AskEnd::LetGo), "after {minutes} min");
        let [AbortProgress::Looking(_), AbortProgress::Asked, ..] = told[..] else { panic!("{told:?}") };
        let state = RunState::replay(night.records()).unwrap();
        assert_eq!((state.open_intents().count(), state.loans().count()), (0, 0));
        let asks = |kind: &EventKind| matches!(kind, EventKind::Warning { message } if message.ends_with("asks the run to stop at a safe point (`abort`)"));
        assert_eq!(night.events().iter().filter(|event| asks(&event.kind)).count(), 1);
        let record = lease(&night.lab).unwrap().record;
        assert_eq!((record.holder.as_str(), record.run, record.stop), ("", None, None));
        let told = AbortReport::new(id(), end, Some(&state));
        assert_eq!((told.exit_code(), told.outcome), (0, Some(RunOutcome::Aborted)));
        let report = night.run(Start::Resumed(state)).unwrap();
        assert_eq!(report.outcome, RunOutcome::Done, "the request is over when the run is resumed");
    }
}

/// Asked for at once, a run does not wait for answers; what is open stands in its journal, and the next process observes it.
#[test]
fn a_run_that_is_asked_to_stop_at_once_leaves_open_what_is_open_and_says_so() {
    let night = night();
    let (report, end, _) = asked_after(&night, 20, true);
    assert_eq!(report.outcome, RunOutcome::Aborted);
    assert!(matches!(end, AskEnd::LetGo | AskEnd::FellSilent(_)), "{end:?}");
    let state = RunState::replay(night.records()).unwrap();
    assert_eq!(state.closed(), Some(&RunOutcome::Aborted));
    let told = AbortReport::new(id(), end, Some(&state));
    assert_eq!(told.open_writes.len(), state.open_intents().count());
    assert_eq!(night.run(Start::Resumed(state)).unwrap().outcome, RunOutcome::Done);
}

#[test]
fn where_no_run_is_at_work_nothing_is_asked_and_that_is_said() {
    let lab = Lab::new(&Scenario::demo(), 1);
    let cluster = proven(&lab);
    let (end, told) = lab.block_on(ask(&cluster, false, Duration::ZERO)).unwrap();
    assert_eq!((end, told, lease(&lab)), (AskEnd::NobodyWorks, vec![], None));
}

#[test]
fn another_run_on_the_cluster_is_named_and_not_asked() {
    let night = night();
    let other = RunId::new("demo-20261124-220000-0002").unwrap();
    let Start::Fresh { plan, tool, .. } = fresh(&night.lab) else { unreachable!() };
    assert!(night.run_until_record(Start::Fresh { plan, run: other.clone(), tool }, 40));
    let before = lease(&night.lab);
    let cluster = proven(&night.lab);
    let (end, _) = night.lab.block_on(ask(&cluster, false, Duration::ZERO)).unwrap();
    let AskEnd::AnotherRun(holder) = &end else { panic!("{end:?}") };
    assert_eq!((holder.holder.as_str(), &holder.run), ("process-1", &Some(other)));
    assert!(holder.since.is_some());
    assert_eq!((lease(&night.lab), AbortReport::new(id(), end, None).exit_code()), (before, 3));
}

/// A killed process cannot be asked, and a request would look like a sign of life to whoever waits for its lock.
#[test]
fn a_dead_run_is_known_by_its_silence_and_nothing_is_written() {
    let night = night();
    assert!(night.run_until_record(fresh(&night.lab), 40));
    let (before, began) = (lease(&night.lab), night.lab.now());
    let cluster = proven(&night.lab);
    let (end, told) = night.lab.block_on(ask(&cluster, false, Duration::from_secs(600))).unwrap();
    assert!(matches!(&end, AskEnd::Dead(holder) if holder.holder == "process-1"), "{end:?}");
    assert_eq!(told, [AbortProgress::Looking(Duration::from_secs(60))]);
    let took = night.lab.now().duration_since(began);
    assert!(took <= SignedDuration::from_secs(66), "{took:?}");
    assert_eq!((lease(&night.lab), AbortReport::new(id(), end, None).exit_code()), (before, 1));
}

/// When somebody asked to stop, when the last answer to a write came (not before that), and when the run had ended.
fn moments(night: &Night) -> (Timestamp, Timestamp, Timestamp) {
    let events = night.events();
    let last = |wanted: &dyn Fn(&EventKind) -> bool| {
        events.iter().rfind(|event| wanted(&event.kind)).map(|event| event.at)
    };
    let asks = |kind: &EventKind| matches!(kind, EventKind::Warning { message } if message.starts_with("stopping: "));
    let asked = last(&asks).expect("it is told");
    let answered = last(&|kind| matches!(kind, EventKind::WriteAnswered { .. })).unwrap_or(asked);
    (asked, answered.max(asked), last(&|kind| matches!(kind, EventKind::RunEnded { .. })).unwrap())
}

/// At most 60 s beside the action in hand: the write that is to be answered, and the rollout that needs what was borrowed for it.
#[test]
fn a_run_that_is_asked_to_stop_ends_within_a_minute_of_the_action_in_hand() {
    let plan = plan(&night().lab.inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap();
    let limit = SignedDuration::from_secs(60);
    // The last stage is a look, and over at once: there is nothing to stop.
    let looks = |stage: &Stage| stage.steps().all(|step| matches!(step.action, Action::Verify { .. }));
    for stage in plan.stages.iter().filter(|stage| !looks(stage)).step_by(3) {
        let night = night();
        let report = night.run_and_stop_at(fresh(&night.lab), &stage.title).unwrap();
        assert_eq!(report.outcome, RunOutcome::Aborted, "{}", stage.title);
        let (asked, answered, ended) = moments(&night);
        assert!(ended.duration_since(answered) <= limit, "{}: {asked} {answered} {ended}", stage.title);
    }
    for write in ["create pool", "upgrade pool", "cordon", "restart", "evict"] {
        let night = night();
        let report = night.run_and_stop_at_write(fresh(&night.lab), write).unwrap();
        assert_eq!(report.outcome, RunOutcome::Aborted, "{write}");
        let (asked, answered, ended) = moments(&night);
        assert!(ended.duration_since(answered) <= limit, "{write}: {asked} {answered} {ended}");
        let goes_on =
            |entry: &Entry| matches!(entry, Entry::StageFinished { .. } | Entry::StageStarted { .. });
        let records = night.records();
        assert!(!records.iter().any(|record| goes_on(&record.entry) && record.at > asked), "{write}");
    }
}

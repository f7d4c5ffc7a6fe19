//! One run works on a cluster at a time, by the Lease in the cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aks_drover::exit_code;
use async_trait::async_trait;
use cluster_lab::{Lab, Scenario};
use futures::future::{Either, join, select};
use jiff::{SignedDuration, Timestamp};
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::journal::{Entry, RunState};
use upgrade_core::lock::{Lease, LeaseRecord, LockHolder, lock_name};
use upgrade_core::model::{HolderId, RunId};
use upgrade_core::ports::{Clock, Ports};
use upgrade_core::run::{Start, drive, stop_signal};
use upgrade_core::{Policy, plan};

use crate::faces::{Nobody, over_http, ports_of};
use crate::support::Night;

fn lab() -> Lab {
    Lab::new(&Scenario::demo(), 1)
}

fn fresh(lab: &Lab, run: &str) -> Start {
    let plan = plan(&lab.inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap();
    Start::Fresh { plan, run: RunId::new(run).unwrap(), tool: "test".into() }
}

fn lease(lab: &Lab) -> Option<Lease> {
    let kubernetes = lab.kubernetes();
    lab.block_on(kubernetes.lease(&lock_name())).unwrap().unwrap()
}

/// Another process writes itself into the Lease, as it may when the Lease has ended.
fn take_away(lab: &Lab) {
    let kubernetes = lab.kubernetes();
    let taken = async {
        let over = kubernetes.lease(&lock_name()).await.unwrap().unwrap();
        let record = LeaseRecord {
            holder: "ann:build-7:4711".into(),
            run: Some(RunId::new("other").unwrap()),
            transitions: over.record.transitions + 1,
            ..over.record.clone()
        };
        kubernetes.update_lease(&lock_name(), &over, &record).await.unwrap();
    };
    futures::executor::block_on(taken);
}

fn locked(report: &Report) -> &LockHolder {
    match &report.outcome {
        RunOutcome::Locked { by } => by,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_holds_the_lock_while_it_works_and_gives_it_back_however_it_ends() {
    for stop in [false, true] {
        let night = Night::of(lab());
        let start = fresh(&night.lab, "night-1");
        let report = if stop {
            night.run_and_stop_at(start, "user: move onto userbf").unwrap()
        } else {
            night.run(start).unwrap()
        };
        let outcome = if stop { RunOutcome::Aborted } else { RunOutcome::Done };
        assert_eq!(report.outcome, outcome);
        let Lease { record, .. } = lease(&night.lab).unwrap();
        assert_eq!((record.holder.as_str(), record.run, record.transitions), ("", None, 0));
        let (began, ended) = (record.acquired_at.unwrap(), record.renewed_at.unwrap());
        assert!(ended.duration_since(began) > SignedDuration::from_mins(10), "{began} to {ended}");
    }
}

/// Two people begin at once: one of the two is refused before anything was changed, and is told by whom.
#[test]
fn a_second_run_on_a_cluster_is_refused_and_told_who_works_there_since_when() {
    let night = Night::of(lab());
    let began = night.lab.now();
    let second = Night::of(night.lab.clone());
    let (start, other) = (fresh(&night.lab, "night-1"), fresh(&night.lab, "night-2"));
    let (_one, stop) = stop_signal();
    let (_two, stop_too) = stop_signal();
    let first = drive(start, night.ports(), stop);
    let ports = Ports { holder: HolderId::new("late").unwrap(), ..second.ports() };
    let late = drive(other, ports, stop_too);
    let clock = night.lab.clock();
    // Boxed: a run is large.
    let late = async {
        let report = Box::pin(late).await.unwrap();
        (report, clock.now())
    };
    let (done, (refused, at)) = night.lab.block_on(join(first, late)).unwrap();
    assert_eq!(done.unwrap().outcome, RunOutcome::Done);
    let by = locked(&refused);
    assert_eq!((by.holder.as_str(), by.run.as_ref().unwrap().as_str()), ("process-1", "night-1"));
    assert!(by.since.is_some_and(|since| since >= began), "{by}");
    assert!(at.duration_since(began) <= SignedDuration::from_secs(15), "refused after {}", at - began);
    assert_eq!((exit_code(&refused), refused.stages.len(), refused.holding.len()), (3, 0, 0));
    let wrote = |entry: &Entry| matches!(entry, Entry::Intent { .. });
    assert!(!second.records().iter().any(|record| wrote(&record.entry)));
}

/// A process that was killed cannot give anything back. Who comes next waits until the Lease has been silent for its whole time.
#[test]
fn a_killed_holder_is_taken_over_when_its_lease_has_ended() {
    let night = Night::of(lab());
    assert!(night.run_until_record(fresh(&night.lab, "night-1"), 40));
    assert_eq!(lease(&night.lab).unwrap().record.holder, "process-1");
    let told = night.events().len();
    let state = RunState::replay(night.records()).unwrap();
    let report = night.run(Start::Resumed(state)).unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
    assert_eq!(lease(&night.lab).unwrap().record.transitions, 1);
    let events = night.events().split_off(told);
    let after =
        |kind: fn(&EventKind) -> bool| events.iter().find(|event| kind(&event.kind)).expect("it is told").at;
    let warned =
        after(|kind| matches!(kind, EventKind::Warning { message } if message.contains("process-1")));
    let begun = after(|kind| matches!(kind, EventKind::WriteStarted { .. }));
    assert!(begun.duration_since(warned) >= SignedDuration::from_secs(60), "{warned} {begun}");
}

#[test]
fn a_lock_that_is_taken_away_in_the_middle_holds_the_run() {
    let night = Night::of(lab());
    let other = night.lab.clone();
    night.at_stage("user: move onto userbf", Box::new(move || take_away(&other)));
    let report = night.run(fresh(&night.lab, "night-1")).unwrap();
    let RunOutcome::Held { cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(
        cause.starts_with("the lock of the cluster was lost: it is held by ann:build-7:4711 since"),
        "{cause}"
    );
    assert!(cause.ends_with("for run other; nothing was written after that was seen"), "{cause}");
    assert_eq!(exit_code(&report), 1);
    let state = RunState::replay(night.records()).unwrap();
    assert_eq!(state.open_intents().count(), 0);
    // What belongs to somebody else is left alone.
    assert_eq!(lease(&night.lab).unwrap().record.holder, "ann:build-7:4711");
}

/// The API server is away for longer than the lock may be used without a renewal: nothing is sent meanwhile, and the run goes
/// on afterwards.
#[test]
fn a_run_that_cannot_renew_its_lock_sends_nothing_until_it_can() {
    let night = Night::of(lab());
    let clock = Arc::new(Outage { inner: night.lab.clock(), leapt: AtomicU64::new(0) });
    let leap = Arc::clone(&clock);
    night.at_stage(
        "user: move onto userbf",
        // The process is stopped for a minute and a half: its time has passed when it wakes up.
        Box::new(move || leap.leapt.store(90, Ordering::Relaxed)),
    );
    let (_handle, stop) = stop_signal();
    let ports = Ports { clock, ..night.ports() };
    let report = night.lab.block_on(drive(fresh(&night.lab, "night-1"), ports, stop)).unwrap().unwrap();
    assert_eq!(report.outcome, RunOutcome::Done);
    let refused = night.events().into_iter().filter(|event| {
        matches!(&event.kind, EventKind::WriteAnswered { answer, ok: false, .. }
            if answer.contains("the lock of the cluster is not held now"))
    });
    assert!(refused.count() > 0, "what was decided before it woke up was not sent");
}

/// A clock whose monotonic time can leap, as it does for a process that was stopped.
struct Outage {
    inner: Arc<dyn Clock>,
    /// Seconds.
    leapt: AtomicU64,
}

#[async_trait]
impl Clock for Outage {
    fn now(&self) -> Timestamp {
        self.inner.now()
    }

    fn elapsed(&self) -> Duration {
        self.inner.elapsed() + Duration::from_secs(self.leapt.load(Ordering::Relaxed))
    }

    async fn sleep_until(&self, until: Timestamp) {
        self.inner.sleep_until(until).await;
    }
}

/// Slow enough that a lock, a minute long, lasts six real seconds: a busy machine renews it in time.
const SLOW: f64 = 10.0;

/// Over HTTP as in the lab: while one process works, another is refused.
#[tokio::test]
async fn over_http_a_second_run_is_refused_too() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab();
    let near = ports_of(&lab);
    let starts = [fresh(&lab, "first"), fresh(&lab, "second")];
    let (server, cluster) = over_http(lab.clone(), folder.path(), SLOW).await;
    let [first, second] = starts.map(|start| {
        let nobody = Arc::new(Nobody);
        let ports = cluster.ports(Arc::<Nobody>::clone(&nobody), Arc::<Nobody>::clone(&nobody), nobody);
        let ports = Ports { clock: Arc::clone(&near.clock), ..ports };
        let (handle, stop) = stop_signal();
        async move {
            let _handle = handle;
            Box::pin(drive(start, ports, stop)).await.unwrap()
        }
    });
    let (first, second) = (Box::pin(first), Box::pin(second));
    let refused = match select(first, second).await {
        Either::Left((report, _)) | Either::Right((report, _)) => report,
    };
    server.shutdown();
    let by = locked(&refused);
    let other = if refused.run.as_str() == "first" { "second" } else { "first" };
    assert_eq!(by.run.as_ref().unwrap().as_str(), other, "{by}");
    assert!(by.holder.contains(&format!(":{}:", std::process::id())), "{by}");
}

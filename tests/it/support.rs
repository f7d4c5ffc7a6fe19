//! A night in the lab: a demo cluster, and everything a run writes, tells and asks.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cluster_lab::{Lab, RancherDeed, Scenario};
use futures::channel::oneshot;
use futures::future::{Either, pending, select};
use k8s_openapi::api::core::v1::Pod;
use upgrade_core::Inventory;
use upgrade_core::event::{Event, EventKind, Report};
use upgrade_core::journal::Record;
use upgrade_core::model::{HolderId, StepId};
use upgrade_core::ports::{Answer, EventSink, Gate, Journal, PortError, Ports, Question};
use upgrade_core::run::failure::OnFailure;
use upgrade_core::run::{DriveError, Start, StopHandle, StopSignal, drive, stop_signal};

/// The seed of every night that does not choose another.
const SEED: u64 = 1;

/// The demo cluster's inventory, as a plan is made from it.
pub(crate) fn demo_inventory() -> Inventory {
    Lab::new(&Scenario::demo(), SEED).inventory()
}

/// A journal in memory that can kill its process: the record is durable, the call never returns.
#[derive(Default)]
struct Records {
    records: Mutex<Vec<Record>>,
    kill: Mutex<Option<(usize, oneshot::Sender<()>)>>,
}

#[async_trait]
impl Journal for Records {
    async fn append(&self, record: &Record) -> Result<(), PortError> {
        self.records.lock().unwrap().push(record.clone());
        let length = self.records.lock().unwrap().len();
        let killed = self.kill.lock().unwrap().take_if(|(after, _)| *after == length);
        if let Some((_, killed)) = killed {
            killed.send(()).unwrap();
            pending::<()>().await;
        }
        Ok(())
    }
}

pub(crate) type Deed = Box<dyn FnOnce() + Send>;
type Habit = Box<dyn Fn() + Send>;

/// Keeps every event, and does something once when a stage or a step begins or a write is done, or something each time that a stage does.
#[derive(Default)]
struct Events {
    told: Mutex<Vec<Event>>,
    at_stage: Mutex<Option<(String, Deed)>>,
    at_step: Mutex<Option<(String, Deed)>>,
    at_write: Mutex<Option<(String, Deed)>>,
    at_every_stage: Mutex<Option<Habit>>,
}

impl EventSink for Events {
    fn emit(&self, event: &Event) {
        self.told.lock().unwrap().push(event.clone());
        let deed = match &event.kind {
            EventKind::StageStarted { title, .. } => {
                if let Some(habit) = &*self.at_every_stage.lock().unwrap() {
                    habit();
                }
                self.at_stage.lock().unwrap().take_if(|(stage, _)| stage == title)
            }
            EventKind::StepStarted { step, .. } => {
                self.at_step.lock().unwrap().take_if(|(wanted, _)| *wanted == step.to_string())
            }
            EventKind::WriteAnswered { what, ok: true, .. } => {
                self.at_write.lock().unwrap().take_if(|(wanted, _)| what.starts_with(&**wanted))
            }
            _ => None,
        };
        if let Some((_, deed)) = deed {
            deed();
        }
    }
}

/// Answers every question the same way.
struct Answers(Mutex<Answer>, Mutex<Option<OnFailure>>);

#[async_trait]
impl Gate for Answers {
    async fn ask(&self, _: &Question) -> Answer {
        *self.0.lock().unwrap()
    }

    fn on_failure(&self) -> Option<OnFailure> {
        *self.1.lock().unwrap()
    }
}

/// One night: a lab, and what the processes that work on the run leave behind.
pub(crate) struct Night {
    pub(crate) lab: Lab,
    journal: Arc<Records>,
    events: Arc<Events>,
    gate: Arc<Answers>,
    processes: AtomicU32,
}

impl Night {
    /// The demo cluster, at rest; questions are answered with "pause".
    pub(crate) fn new() -> Self {
        Self::of(Lab::new(&Scenario::demo(), SEED))
    }

    pub(crate) fn of(lab: Lab) -> Self {
        let gate = Arc::new(Answers(Mutex::new(Answer::Pause), Mutex::default()));
        Self { lab, journal: Arc::default(), events: Arc::default(), gate, processes: AtomicU32::new(0) }
    }

    /// The ports of a new process.
    pub(crate) fn ports(&self) -> Ports {
        let number = self.processes.fetch_add(1, Ordering::Relaxed) + 1;
        Ports {
            kubernetes: self.lab.kubernetes(),
            azure: self.lab.azure(),
            rancher: self.lab.rancher(),
            clock: self.lab.clock(),
            journal: Arc::<Records>::clone(&self.journal),
            gate: Arc::<Answers>::clone(&self.gate),
            events: Arc::<Events>::clone(&self.events),
            holder: HolderId::new(format!("process-{number}")).unwrap(),
        }
    }

    fn drive(&self, start: Start, stop: StopSignal) -> Result<Report, DriveError> {
        self.lab.block_on(drive(start, self.ports(), stop)).expect("a run never waits for nothing")
    }

    /// One process works on the run to its end.
    pub(crate) fn run(&self, start: Start) -> Result<Report, DriveError> {
        let (_handle, stop) = stop_signal();
        self.drive(start, stop)
    }

    /// One process works on the run and is killed when its record number `after` is durable. Says whether it was.
    pub(crate) fn run_until_record(&self, start: Start, after: usize) -> bool {
        let (sender, killed) = oneshot::channel();
        *self.journal.kill.lock().unwrap() = Some((after, sender));
        let (_handle, stop) = stop_signal();
        let run = Box::pin(drive(start, self.ports(), stop));
        let end = self.lab.block_on(select(run, killed)).expect("a run never waits for nothing");
        // Whoever is left of the two is dropped here, as a killed process drops everything.
        matches!(end, Either::Right((Ok(()), _)))
    }

    /// One process works on the run and is asked to stop when a stage begins.
    pub(crate) fn run_and_stop_at(&self, start: Start, stage: &str) -> Result<Report, DriveError> {
        let (handle, stop): (StopHandle, StopSignal) = stop_signal();
        self.at_stage(stage, Box::new(move || handle.stop()));
        self.drive(start, stop)
    }

    /// Somebody deletes every pod of a namespace by hand when a stage begins.
    pub(crate) fn sabotage_at(&self, stage: &str, namespace: &'static str) {
        let lab = self.lab.clone();
        let deed = move || {
            lab.with(|world| {
                let names: Vec<String> = world
                    .store
                    .list_in::<Pod>(namespace)
                    .filter_map(|pod| pod.metadata.name.clone())
                    .collect();
                for name in names {
                    world.delete_pod(namespace, &name, None).unwrap();
                }
            });
        };
        self.at_stage(stage, Box::new(deed));
    }

    /// Somebody does something in Rancher when a stage begins.
    pub(crate) fn in_rancher_at(&self, stage: &str, deed: RancherDeed) {
        let lab = self.lab.clone();
        self.at_stage(stage, Box::new(move || lab.with(|world| world.in_rancher(deed))));
    }

    /// The same when a step begins.
    pub(crate) fn in_rancher_at_step(&self, step: &StepId, deed: RancherDeed) {
        let lab = self.lab.clone();
        let deed = move || lab.with(|world| world.in_rancher(deed));
        *self.events.at_step.lock().unwrap() = Some((step.to_string(), Box::new(deed)));
    }

    /// The same each time that a stage begins.
    pub(crate) fn in_rancher_at_every_stage(&self, deed: RancherDeed) {
        let lab = self.lab.clone();
        let habit = move || lab.with(|world| world.in_rancher(deed));
        *self.events.at_every_stage.lock().unwrap() = Some(Box::new(habit));
    }

    /// One process works on the run and is asked to stop when a step begins.
    pub(crate) fn run_and_stop_at_step(&self, start: Start, step: &StepId) -> Result<Report, DriveError> {
        let (handle, stop): (StopHandle, StopSignal) = stop_signal();
        *self.events.at_step.lock().unwrap() = Some((step.to_string(), Box::new(move || handle.stop())));
        self.drive(start, stop)
    }

    /// Does something once, when a stage begins.
    pub(crate) fn at_stage(&self, stage: &str, deed: Deed) {
        *self.events.at_stage.lock().unwrap() = Some((stage.to_owned(), deed));
    }

    /// Does something once, when a write that is told like this is done.
    pub(crate) fn at_write(&self, what: &str, deed: Deed) {
        *self.events.at_write.lock().unwrap() = Some((what.to_owned(), deed));
    }

    /// One process works on the run and is asked to stop when a write that is told like this is done.
    pub(crate) fn run_and_stop_at_write(&self, start: Start, what: &str) -> Result<Report, DriveError> {
        let (handle, stop): (StopHandle, StopSignal) = stop_signal();
        self.at_write(what, Box::new(move || handle.stop()));
        self.drive(start, stop)
    }

    /// From now on questions are answered like this.
    pub(crate) fn answering(&self, answer: Answer) -> &Self {
        *self.gate.0.lock().unwrap() = answer;
        self
    }

    /// From now on a process says that the run is to do this when it fails.
    pub(crate) fn on_failure(&self, then: OnFailure) -> &Self {
        *self.gate.1.lock().unwrap() = Some(then);
        self
    }

    /// The journal, over all processes.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.journal.records.lock().unwrap().clone()
    }

    /// The events, over all processes.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.told.lock().unwrap().clone()
    }

    /// The cluster as it is.
    pub(crate) fn inventory(&self) -> Inventory {
        self.lab.inventory()
    }
}

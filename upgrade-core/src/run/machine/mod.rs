//! The run machine: a pure function from what happened to what is to be done.

mod agenda;
mod failing;
mod gates;
mod input;
mod loans;
mod locking;
mod maintenance;
mod observe;
mod prewarm;
mod probes;
mod progress;
#[cfg(test)]
mod properties;
mod reversing;
mod room;
mod second_writer;
mod sent;
mod soak;
mod steps;
#[cfg(test)]
mod tests;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::event::{Event, EventKind, Report, RunOutcome};
use crate::journal::{Entry, FORMAT, IllegalRecord, Record, RunState, Write, WriteAnswer};
use crate::ledger::Ledger;
use crate::model::{ObjectName, ProbeName, RunId, StepId, Uid};
use crate::plan::{Drift, Plan};
use crate::ports::{AzureView, BufferSpec, OperationRef, OperationState, Question};
use crate::run::failure::{Failure, Limit};
use crate::run::outcome::{self, AtTheEnd};
use crate::view::{ResourceKind, View};

use agenda::Agenda;
use gates::{About, GateState};
pub use input::{Input, Look};
use loans::Parting;
use locking::LockState;
use prewarm::Warming;
use probes::Probes;
use room::RoomInAzure;
use second_writer::{BufferSteps, RancherReading, StepWithRancher};
pub(super) use sent::Sent;
use soak::Soaking;

/// How often time limits and waits are looked at when nothing else happens.
const TICK: Duration = Duration::from_secs(5);

/// Something to be done, in the order given.
#[derive(Debug)]
pub enum Effect {
    /// Make the record durable; nothing after it may happen before.
    Record(Record),
    /// Tell whoever listens.
    Emit(Event),
    /// Send the write, once.
    Act {
        /// The intent's number.
        id: u64,
        /// The write.
        write: Write,
    },
    /// Look at Azure and these operations.
    LookAtAzure(Vec<OperationRef>),
    /// Look what Azure lacks for these buffers.
    LookForRoom(Vec<BufferSpec>),
    /// Take the lock of the cluster, and keep it to the end.
    TakeLock,
    /// Read the identity anew.
    Prove,
    /// Read what Rancher says of the cluster.
    ReadRancher,
    /// Ask the gate.
    Ask(Question),
    /// Ask a user's probe.
    Probe(ProbeName),
    /// The run has ended. Nothing follows.
    End(Box<Report>),
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// Waiting for the first list of every kind.
    Syncing,
    /// Between stages: the next is chosen and the identity read.
    Proving(u32),
    /// The cluster is proven, and its lock is sought; once a process.
    Locking { stage: u32, since: Timestamp },
    /// The user's probes are asked before a stage begins.
    Probing { stage: u32, since: Timestamp },
    /// A stage is under way.
    Running(u32),
    /// A question is with the gate.
    Asking { stage: u32, question: Question, about: About },
    /// Nothing new is started; answers to what was sent are waited for.
    Ending(RunOutcome),
    /// Over.
    Ended,
}

/// What the machine remembers of a step while it is at it. Nothing in here is needed to resume.
#[derive(Clone, Debug)]
struct Memory {
    since: Timestamp,
    /// Since when it waits for something that should come soon.
    waiting_since: Option<Timestamp>,
    waiting_for: String,
    not_before: Option<Timestamp>,
    failures: u32,
    /// Its writes fail, and none has been accepted since.
    failing: Option<Failing>,
    /// Changes in Azure.
    fresh_writes: u32,
    restart_seen: bool,
    /// It was told that somebody took the restart out again.
    restart_lost: bool,
    loan_seen: bool,
    /// It was told that somebody has set otherwise what was borrowed.
    loan_lost: bool,
    second_writer: StepWithRancher,
}

/// Writes that are tried again and again.
#[derive(Clone, Debug)]
struct Failing {
    since: Timestamp,
    /// The last one, and what it failed with.
    why: String,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tried since {:.0}: {}", self.since, self.why)
    }
}

/// The identity could not be read, or is not proven by what was read.
#[derive(Debug)]
struct Doubt {
    since: Timestamp,
    why: String,
    /// `None` while it is being read.
    look_again: Option<Timestamp>,
}

/// The run machine. See the [module](crate::run) for what it guarantees.
#[derive(Debug)]
pub struct Machine {
    plan: Arc<Plan>,
    run: RunId,
    state: RunState,
    /// The journal says that this process works on the run.
    taken_up: bool,
    began: Timestamp,
    next_event: u64,
    phase: Phase,
    view: View,
    listed: BTreeSet<ResourceKind>,
    contact_error: Option<String>,
    /// When a watch was lost last.
    contact_lost: Option<Timestamp>,
    azure: Option<AzureView>,
    /// What somebody else had changed in Azure at the last look.
    changed: Vec<Drift>,
    operations: BTreeMap<OperationRef, OperationState>,
    looking: bool,
    /// When the look at Azure was begun that is known.
    seen_at: Option<Timestamp>,
    /// When the last look at Azure was begun, whatever came of it.
    looked_at: Option<Timestamp>,
    look_at: Option<Timestamp>,
    rancher: RancherReading,
    room: RoomInAzure,
    buffer_steps: Vec<BufferSteps>,
    /// Each change in Azure waits for Rancher.
    lock_step: bool,
    /// Why the identity is not proven for the next stage.
    doubted: Option<Doubt>,
    lock: LockState,
    /// Something is in doubt, and nothing more is written.
    stopped: bool,
    gates: GateState,
    probes: Probes,
    ledger: Ledger,
    noted: BTreeSet<ObjectName>,
    agenda: Agenda,
    steps: HashMap<StepId, Memory>,
    sent: Sent,
    parting: Parting,
    /// How far the images are that the step under way pulls ahead.
    warming: Option<Warming>,
    /// What the soak under way has seen.
    soaking: Option<Soaking>,
    /// Pods that pulled and were deleted because the run ends.
    stopped_pulling: BTreeSet<Uid>,
    moving_total: u32,
    /// The stage whose beginning this process has told.
    told_stage: Option<u32>,
    last_progress: Option<EventKind>,
    stops: u32,
    out: Vec<Effect>,
}

impl Machine {
    /// A new run of `plan`.
    pub fn begin(plan: Plan, run: RunId, tool: String, now: Timestamp) -> (Self, Vec<Effect>) {
        let mut machine = Self::new(plan.clone(), run.clone(), RunState::default(), now);
        let header = Entry::Header { format: FORMAT, run, tool, plan: Box::new(plan) };
        machine.record(now, header);
        machine.take_up(now);
        machine.start(now, false)
    }

    /// Goes on with a run from its journal. Writes without an answer count as "unknown": what they did is observed.
    ///
    /// Nothing is recorded before the lock of the cluster is held: another process may be at work on this very run, and whoever
    /// is refused must not have disturbed it.
    ///
    /// # Errors
    /// If the journal has no header, or the run is over or given up.
    pub fn resume(state: RunState, now: Timestamp) -> Result<(Self, Vec<Effect>), IllegalRecord> {
        let refuse = |rule: &str| IllegalRecord {
            seq: state.next_seq(),
            what: "opened",
            after: state.next_seq() - 1,
            rule: rule.into(),
        };
        let (Some(run), Some(plan)) = (state.run().cloned(), state.plan().cloned()) else {
            return Err(refuse("a journal begins with its header"));
        };
        if state.is_over() {
            return Err(refuse("the run is over"));
        }
        if state.is_given_up() {
            return Err(refuse("the run is given up"));
        }
        let plan = reversing::with_way_back(plan, &state);
        Ok(Self::new(plan, run, state, now).start(now, true))
    }

    fn new(plan: Plan, run: RunId, state: RunState, now: Timestamp) -> Self {
        let ledger = Ledger::resume(state.ledger().to_vec());
        Self {
            buffer_steps: BufferSteps::of(&plan),
            lock_step: plan.is_in_lock_step(),
            plan: Arc::new(plan),
            run,
            state,
            taken_up: false,
            began: now,
            next_event: 1,
            phase: Phase::Syncing,
            view: View::default(),
            listed: BTreeSet::new(),
            contact_error: None,
            contact_lost: None,
            azure: None,
            changed: Vec::new(),
            operations: BTreeMap::new(),
            looking: false,
            seen_at: None,
            looked_at: None,
            look_at: Some(now),
            rancher: RancherReading::default(),
            room: RoomInAzure::default(),
            doubted: None,
            lock: LockState::default(),
            stopped: false,
            gates: GateState::default(),
            probes: Probes::default(),
            ledger,
            noted: BTreeSet::new(),
            agenda: Agenda::default(),
            steps: HashMap::new(),
            sent: Sent::default(),
            parting: Parting::default(),
            warming: None,
            soaking: None,
            stopped_pulling: BTreeSet::new(),
            moving_total: 0,
            told_stage: None,
            last_progress: None,
            stops: 0,
            out: Vec::new(),
        }
    }

    /// Says in the journal that this process works on the run now.
    fn take_up(&mut self, now: Timestamp) {
        if std::mem::replace(&mut self.taken_up, true) {
            return;
        }
        self.record(now, Entry::Opened);
        self.record_wish(now);
        let open: Vec<u64> = self.state.open_intents().map(|(id, _, _)| id).collect();
        for id in open {
            let message = "the process ended before the answer came".to_owned();
            self.record(now, Entry::Answered { id, answer: WriteAnswer::Unknown { message } });
        }
    }

    fn start(mut self, now: Timestamp, resumed: bool) -> (Self, Vec<Effect>) {
        let stages = u32::try_from(self.plan.stages.len()).unwrap_or(u32::MAX);
        let (cluster, target, plan) = (self.plan.cluster.name.clone(), self.plan.target, self.plan_hash());
        self.emit(now, EventKind::RunStarted { cluster, target, plan, stages, resumed });
        let effects = std::mem::take(&mut self.out);
        (self, effects)
    }

    /// Takes in what happened at `now` and says what is to be done.
    ///
    /// A decision is a span of its own, `decide`, at level trace, which tells the kind of the input and how many changes it holds.
    pub fn on(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        let _deciding =
            tracing::trace_span!("decide", input = input.kind(), changes = input.changes()).entered();
        if self.phase != Phase::Ended {
            self.take_in(now, input);
            self.decide(now);
            self.rancher.grow_old();
        }
        std::mem::take(&mut self.out)
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// When to call again with [`Input::Tick`] if nothing happens before.
    pub fn wake_at(&self, now: Timestamp) -> Timestamp {
        let tick = now + TICK;
        let pause = self.agenda.next_pause();
        let look = self.look_at.filter(|_| !self.looking);
        let doubt = self.doubted.as_ref().and_then(|doubt| doubt.look_again);
        let rancher = self.rancher.ask_at;
        let soak = self.soak_wakes_at();
        pause
            .into_iter()
            .chain(look)
            .chain(doubt)
            .chain(rancher)
            .chain(soak)
            .filter(|at| *at > now)
            .fold(tick, Ord::min)
    }

    /// How long what comes before the first write may take.
    fn beginning(&self) -> Duration {
        Limit::Beginning.lasts(&self.plan.policy)
    }

    fn decide(&mut self, now: Timestamp) {
        loop {
            match self.phase.clone() {
                Phase::Syncing => {
                    if self.listed.len() < ResourceKind::ALL.len() {
                        if now.duration_since(self.began) > signed(self.beginning()) {
                            let missing = ResourceKind::ALL.iter().filter(|kind| !self.listed.contains(kind));
                            let missing: Vec<&str> = missing.map(|kind| kind.plural()).collect();
                            let why = self.contact_error.clone().unwrap_or_default();
                            let cause =
                                format!("the cluster could not be seen ({}): {why}", missing.join(", "));
                            self.fails(now, None, Failure::NotSeen, cause);
                            continue;
                        }
                        return;
                    }
                    self.next_stage();
                }
                Phase::Proving(_) => {
                    let due =
                        self.doubted.as_mut().and_then(|doubt| doubt.look_again.take_if(|at| *at <= now));
                    if due.is_some() {
                        self.out.push(Effect::Prove);
                    }
                    return;
                }
                Phase::Locking { since, .. } => {
                    if !self.lock_is_overdue(now, since) {
                        return;
                    }
                }
                Phase::Probing { stage, since } => {
                    if !self.probed_before_stage(now, stage, since) {
                        return;
                    }
                }
                Phase::Asking { .. } | Phase::Ended => return,
                Phase::Running(stage) => {
                    if !self.run_stage(now, stage) {
                        return;
                    }
                }
                Phase::Ending(outcome) => {
                    self.stop_pulling(now, &outcome);
                    let at_rest = self.sent.is_empty() && !self.gives_back(now);
                    if self.stops > 1 || at_rest && self.is_adopted(now, &outcome) {
                        if self.turns_back(now, &outcome) {
                            continue;
                        }
                        self.end(now, outcome);
                    }
                    return;
                }
            }
        }
    }

    fn next_stage(&mut self) {
        match self.state.current_stage() {
            None => self.phase = Phase::Ending(self.at_the_end()),
            Some(stage) => {
                self.phase = Phase::Proving(stage);
                self.out.push(Effect::Prove);
            }
        }
    }

    fn end(&mut self, now: Timestamp, outcome: RunOutcome) {
        let outcome = self.with_what_is_owed(outcome);
        // A run whose every stage is finished, and which only did not say so, is done without the lock.
        if outcome.is_done() {
            self.take_up(now);
        }
        if self.taken_up {
            let ledger = self.ledger.records();
            self.record(now, Entry::Closed { outcome: outcome.clone(), ledger });
        }
        let known = AtTheEnd {
            plan: &self.plan,
            run: &self.run,
            state: &self.state,
            view: &self.view,
            ledger: &self.ledger,
            azure: self.azure.as_ref(),
            sent: &self.sent,
            is_blind: self.contact_error.is_some(),
        };
        let report = outcome::report(&known, outcome, now);
        self.emit(now, EventKind::RunEnded { report: report.clone() });
        self.out.push(Effect::End(Box::new(report)));
        self.phase = Phase::Ended;
    }

    fn record(&mut self, now: Timestamp, entry: Entry) {
        let record = Record { seq: self.state.next_seq(), at: now, entry };
        match self.state.apply(&record) {
            Ok(()) => self.out.push(Effect::Record(record)),
            // The machine and the journal's rules disagree: a defect. Nothing more is written.
            Err(illegal) => {
                self.out.retain(|effect| !matches!(effect, Effect::Act { .. }));
                self.fails(now, None, Failure::Defect, format!("internal error: {illegal}"));
            }
        }
    }

    fn emit(&mut self, now: Timestamp, kind: EventKind) {
        let event = Event {
            seq: self.next_event,
            at: now,
            elapsed_ms: millis(now, self.began),
            run: self.run.clone(),
            kind,
        };
        self.next_event += 1;
        self.out.push(Effect::Emit(event));
    }
}

fn millis(now: Timestamp, since: Timestamp) -> u64 {
    u64::try_from(now.duration_since(since).as_millis()).unwrap_or(0)
}

fn signed(duration: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}

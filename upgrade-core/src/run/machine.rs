//! The run machine: a pure function from what happened to what is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::Verdict;
use super::azure::AzureCase;
use super::nodes;
use crate::event::{Event, EventKind, Report, RunOutcome, StepOutcome};
use crate::inventory::ClusterIdentity;
use crate::journal::{Entry, IllegalRecord, Record, RunState, Write, WriteAnswer};
use crate::ledger::{Ledger, Notice};
use crate::model::{FormatVersion, ObjectName, RunId, StepId, Uid, WorkloadRef};
use crate::moves::{self, MoveCase, OpenMove};
use crate::plan::{Action, Plan, Stage, Step};
use crate::ports::{Answer, AzureView, EvictionAnswer, OperationRef, OperationState, PortError, Question};
use crate::view::{Change, ResourceKind, View};

/// How long the same write is not repeated after it was answered: the watch needs a moment to show what it did.
const REPEAT_AFTER: Duration = Duration::from_secs(30);
/// How long the first lists may take. A cluster that cannot be seen in this time is not touched.
const SYNC_LIMIT: Duration = Duration::from_secs(300);
/// How long Azure may work on one step. The longest control-plane and pool upgrades reported take hours.
const AZURE_LIMIT: Duration = Duration::from_secs(6 * 3600);
/// The longest pause between two tries of a write that failed for a passing reason.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// How often time limits and waits are looked at when nothing else happens.
const TICK: Duration = Duration::from_secs(5);

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// Lists and watches said something.
    Changes(Vec<Change>),
    /// A watch lost contact and goes on to try.
    ContactLost(PortError),
    /// Azure was looked at.
    Azure(Result<Look, PortError>),
    /// The identity was read anew.
    Identity(Result<ClusterIdentity, PortError>),
    /// A write was answered.
    Answered {
        /// The intent's number.
        id: u64,
        /// The answer.
        answer: WriteAnswer,
        /// How long the service asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The gate has answered.
    Gate(Answer),
    /// Time has passed.
    Tick,
    /// Somebody asked to stop.
    Stop,
}

/// A look at Azure.
#[derive(Clone, Debug)]
pub struct Look {
    /// The cluster and its pools.
    pub view: AzureView,
    /// The operations that were asked for.
    pub operations: Vec<(OperationRef, OperationState)>,
}

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
    /// Read the identity anew.
    Prove,
    /// Ask the gate.
    Ask(Question),
    /// The run has ended. Nothing follows.
    End(Box<Report>),
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// Waiting for the first list of every kind.
    Syncing,
    /// Between stages: the next is chosen and the identity read.
    Proving(u32),
    /// A stage is under way.
    Running(u32),
    /// A question is with the gate.
    Asking { stage: u32, question: Question },
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
    fresh_writes: u32,
    restart_seen: bool,
}

/// The run machine. See the [module](super) for what it guarantees.
#[derive(Debug)]
pub struct Machine {
    plan: Plan,
    run: RunId,
    state: RunState,
    began: Timestamp,
    next_event: u64,
    phase: Phase,
    view: View,
    listed: BTreeSet<ResourceKind>,
    contact_error: Option<String>,
    azure: Option<AzureView>,
    operations: BTreeMap<OperationRef, OperationState>,
    looking: bool,
    look_at: Option<Timestamp>,
    ledger: Ledger,
    noted: BTreeSet<ObjectName>,
    steps: BTreeMap<StepId, Memory>,
    in_flight: BTreeMap<u64, (StepId, Write)>,
    acked: BTreeMap<Write, Timestamp>,
    moving_total: u32,
    last_progress: Option<EventKind>,
    stops: u32,
    out: Vec<Effect>,
}

impl Machine {
    /// A new run of `plan`.
    pub fn begin(plan: Plan, run: RunId, tool: String, now: Timestamp) -> (Self, Vec<Effect>) {
        let mut machine = Self::new(plan.clone(), run.clone(), RunState::default(), now);
        let header = Entry::Header { format: FormatVersion::CURRENT, run, tool, plan: Box::new(plan) };
        machine.record(now, header);
        machine.open(now, false)
    }

    /// Goes on with a run from its journal. Writes without an answer count as "unknown": what they did is observed.
    ///
    /// # Errors
    /// If the journal has no header, or the run is done.
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
        if state.is_done() {
            return Err(refuse("the run is done"));
        }
        Ok(Self::new(plan, run, state, now).open(now, true))
    }

    fn new(plan: Plan, run: RunId, state: RunState, now: Timestamp) -> Self {
        let ledger = Ledger::resume(state.ledger().to_vec());
        Self {
            plan,
            run,
            state,
            began: now,
            next_event: 1,
            phase: Phase::Syncing,
            view: View::default(),
            listed: BTreeSet::new(),
            contact_error: None,
            azure: None,
            operations: BTreeMap::new(),
            looking: false,
            look_at: Some(now),
            ledger,
            noted: BTreeSet::new(),
            steps: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            acked: BTreeMap::new(),
            moving_total: 0,
            last_progress: None,
            stops: 0,
            out: Vec::new(),
        }
    }

    fn open(mut self, now: Timestamp, resumed: bool) -> (Self, Vec<Effect>) {
        self.record(now, Entry::Opened);
        let open: Vec<u64> = self.state.open_intents().map(|(id, _, _)| id).collect();
        for id in open {
            let message = "the process ended before the answer came".to_owned();
            self.record(now, Entry::Answered { id, answer: WriteAnswer::Unknown { message } });
        }
        let stages = u32::try_from(self.plan.stages.len()).unwrap_or(u32::MAX);
        let (cluster, target, plan) = (self.plan.cluster.name.clone(), self.plan.target, self.plan.hash());
        self.emit(now, EventKind::RunStarted { cluster, target, plan, stages, resumed });
        let effects = std::mem::take(&mut self.out);
        (self, effects)
    }

    /// Takes in what happened at `now` and says what is to be done.
    pub fn on(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        if self.phase != Phase::Ended {
            self.take_in(now, input);
            self.decide(now);
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
        let retries = self.steps.values().filter_map(|memory| memory.not_before);
        let look = self.look_at.filter(|_| !self.looking);
        retries.chain(look).filter(|at| *at > now).fold(tick, Ord::min)
    }

    fn take_in(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Changes(changes) => self.changes(now, changes),
            Input::ContactLost(error) => {
                let message = format!("contact lost, trying again: {error}");
                if self.contact_error.as_ref() != Some(&message) {
                    self.emit(now, EventKind::Warning { message: message.clone() });
                }
                self.contact_error = Some(message);
            }
            Input::Azure(look) => self.looked(now, look),
            Input::Identity(identity) => self.identity(now, identity),
            Input::Answered { id, answer, retry_after } => self.answered(now, id, answer, retry_after),
            Input::Gate(answer) => self.gate(answer),
            Input::Tick => {}
            Input::Stop => {
                self.stops += 1;
                let stopping = matches!(self.phase, Phase::Ending(_));
                if !stopping {
                    self.phase = Phase::Ending(RunOutcome::Aborted);
                }
                if self.stops == 1 {
                    let message = "stopping: writes in hand are answered first; ask again to stop at once";
                    self.emit(now, EventKind::Warning { message: message.into() });
                }
            }
        }
    }

    fn changes(&mut self, now: Timestamp, changes: Vec<Change>) {
        self.contact_error = None;
        let mut touched = BTreeSet::new();
        for change in changes {
            if let Change::Listed { kind, .. } = &change {
                self.listed.insert(*kind);
            }
            touched.extend(self.view.apply(change));
        }
        // Before the first lists are complete a Service looks empty because nobody has counted yet.
        self.noted.extend(touched);
        if self.listed.len() == ResourceKind::ALL.len() {
            for service in std::mem::take(&mut self.noted) {
                self.note(now, &service);
            }
        }
    }

    /// Enters a Service's ready endpoints into the ledger.
    fn note(&mut self, now: Timestamp, name: &ObjectName) {
        let Some(service) = self.view.service(name) else { return self.ledger.forget(name, now) };
        if service.publishes_unready {
            return;
        }
        let ready = self.view.ready_endpoints(name);
        let accepted = self.plan.accepted_gaps.contains(name);
        let cause = match &self.phase {
            Phase::Running(stage) | Phase::Asking { stage, .. } | Phase::Proving(stage) => {
                self.cause(*stage, name)
            }
            Phase::Syncing | Phase::Ending(_) | Phase::Ended => "no stage was under way".to_owned(),
        };
        match self.ledger.note(name, ready, now, accepted, || cause) {
            Some(Notice::Opened(gap)) => self.emit(now, EventKind::GapOpened { gap }),
            Some(Notice::Closed(gap)) => self.emit(now, EventKind::GapClosed { gap }),
            None => {}
        }
    }

    /// What was going on: the stage, and the moves begun of workloads behind the Service.
    fn cause(&self, number: u32, service: &ObjectName) -> String {
        let Some(stage) = self.stage(number) else { return String::new() };
        let behind = |workload: &WorkloadRef| {
            let template = self.view.workload(workload).map(|w| &w.template.labels);
            let service = self.view.service(service);
            template
                .zip(service)
                .is_some_and(|(labels, service)| service.selects(workload.name.namespace(), labels))
        };
        let moving: Vec<String> = stage
            .steps()
            .filter(|step| self.state.writes(&step.id) > 0 && self.state.outcome(&step.id).is_none())
            .filter_map(|step| match &step.action {
                Action::Move { workload, .. } if behind(workload) => Some(workload.to_string()),
                _ => None,
            })
            .collect();
        let who = if moving.is_empty() { String::new() } else { format!(", moving {}", moving.join(", ")) };
        format!("stage {number} ({}){who}", stage.title)
    }

    fn looked(&mut self, now: Timestamp, look: Result<Look, PortError>) {
        self.looking = false;
        match look {
            Ok(look) => {
                self.look_at = Some(now + look.view.look_again);
                self.azure = Some(look.view);
                self.operations.extend(look.operations);
            }
            Err(error) if error.is_retryable() => {
                self.look_at = Some(now + error.retry_after.unwrap_or(TICK).max(TICK));
                self.emit(
                    now,
                    EventKind::Warning { message: format!("looking at Azure failed, trying again: {error}") },
                );
            }
            Err(error) => self.hold(None, format!("looking at Azure failed: {error}")),
        }
    }

    fn identity(&mut self, now: Timestamp, identity: Result<ClusterIdentity, PortError>) {
        let Phase::Proving(stage) = self.phase else { return };
        match identity {
            Ok(identity) if identity.is_same_cluster(&self.plan.cluster) && !identity.contradicts() => {
                self.emit(now, EventKind::IdentityProven { stage });
                self.start_stage(now, stage);
            }
            Ok(identity) => {
                let why = identity.difference(&self.plan.cluster);
                self.phase = Phase::Ending(RunOutcome::IdentityLost { why });
            }
            Err(error) if error.is_retryable() => {
                let message = format!("the identity could not be read, trying again: {error}");
                self.emit(now, EventKind::Warning { message });
                self.out.push(Effect::Prove);
            }
            Err(error) => {
                self.phase =
                    Phase::Ending(RunOutcome::IdentityLost { why: format!("it could not be read: {error}") });
            }
        }
    }

    fn start_stage(&mut self, now: Timestamp, number: u32) {
        if self.state.stage_started(number).is_none() {
            self.record(now, Entry::StageStarted { stage: number });
        }
        let title = self.stage(number).map(|stage| stage.title.clone()).unwrap_or_default();
        self.emit(now, EventKind::StageStarted { stage: number, title });
        self.phase = Phase::Running(number);
        self.steps.clear();
        self.moving_total = 0;
        self.look_at = Some(now);
    }

    fn answered(&mut self, now: Timestamp, id: u64, answer: WriteAnswer, retry_after: Option<Duration>) {
        let Some((step, write)) = self.in_flight.remove(&id) else { return };
        let (text, ok) = describe(&answer);
        self.record(now, Entry::Answered { id, answer: answer.clone() });
        self.emit(
            now,
            EventKind::WriteAnswered { step: step.clone(), what: write.to_string(), answer: text, ok },
        );
        let backoff = self.steps.get_mut(&step).map(|memory| {
            memory.failures = if ok { 0 } else { memory.failures + 1 };
            let doubled = Duration::from_secs(1 << memory.failures.min(6));
            retry_after.unwrap_or(doubled).clamp(Duration::from_secs(1), MAX_BACKOFF)
        });
        match answer {
            WriteAnswer::Done | WriteAnswer::Accepted { .. } => {
                self.acked.insert(write, now);
                self.look_at = Some(now);
            }
            WriteAnswer::Eviction { eviction: EvictionAnswer::Accepted | EvictionAnswer::Gone } => {
                self.acked.insert(write, now);
            }
            WriteAnswer::Eviction { eviction: EvictionAnswer::Misconfigured { message } } => {
                self.hold(Some(&step), message)
            }
            WriteAnswer::Failed { message, retryable: false } => {
                self.hold(Some(&step), format!("{write}: {message}"))
            }
            // Whatever an unanswered write did shows at the next look; until then it is not sent again.
            WriteAnswer::Eviction { eviction: EvictionAnswer::Refused { .. } }
            | WriteAnswer::Failed { retryable: true, .. }
            | WriteAnswer::Unknown { .. } => {
                self.look_at = Some(now);
                if let (Some(memory), Some(backoff)) = (self.steps.get_mut(&step), backoff) {
                    memory.not_before = Some(now + backoff);
                }
            }
        }
    }

    fn gate(&mut self, answer: Answer) {
        let Phase::Asking { stage, question } = &self.phase else { return };
        self.phase = match answer {
            Answer::Continue => {
                let stage = *stage;
                self.ledger.accept_open_gaps();
                Phase::Running(stage)
            }
            Answer::Pause => Phase::Ending(RunOutcome::Paused { question: question.clone() }),
        };
    }

    fn hold(&mut self, step: Option<&StepId>, cause: String) {
        if matches!(self.phase, Phase::Ending(_) | Phase::Ended) {
            return;
        }
        let current = self.state.current_stage().and_then(|number| self.stage(number));
        let named = step.and_then(|id| self.plan.steps().find(|s| s.id == *id));
        let step = named.or_else(|| {
            current.and_then(|stage| stage.steps().find(|s| self.state.outcome(&s.id).is_none()))
        });
        let Some(step) = step else { return };
        self.phase =
            Phase::Ending(RunOutcome::Held { step: step.id.clone(), title: step.action.to_string(), cause });
    }

    fn decide(&mut self, now: Timestamp) {
        loop {
            match self.phase.clone() {
                Phase::Syncing => {
                    if self.listed.len() < ResourceKind::ALL.len() {
                        if now.duration_since(self.began) > signed(SYNC_LIMIT) {
                            let missing = ResourceKind::ALL.iter().filter(|kind| !self.listed.contains(kind));
                            let missing: Vec<&str> = missing.map(|kind| kind.plural()).collect();
                            let why = self.contact_error.clone().unwrap_or_default();
                            self.hold(
                                None,
                                format!("the cluster could not be seen ({}): {why}", missing.join(", ")),
                            );
                            continue;
                        }
                        return;
                    }
                    self.next_stage();
                }
                Phase::Proving(_) | Phase::Asking { .. } | Phase::Ended => return,
                Phase::Running(stage) => {
                    if !self.run_stage(now, stage) {
                        return;
                    }
                }
                Phase::Ending(outcome) => {
                    if self.in_flight.is_empty() || self.stops > 1 {
                        self.end(now, outcome);
                    }
                    return;
                }
            }
        }
    }

    fn next_stage(&mut self) {
        match self.state.current_stage() {
            None => self.phase = Phase::Ending(RunOutcome::Done),
            Some(stage) => {
                self.phase = Phase::Proving(stage);
                self.out.push(Effect::Prove);
            }
        }
    }

    /// Advances a stage as far as it goes now; true if the phase changed.
    fn run_stage(&mut self, now: Timestamp, number: u32) -> bool {
        if let Some(gap) = self.ledger.unaccepted_gap() {
            let text = format!(
                "Service {} has no ready endpoint since {} ({}). Go on?",
                gap.service, gap.begin, gap.cause
            );
            let question =
                Question { id: format!("gap-{}-{}", gap.service.namespace(), gap.service.name()), text };
            self.emit(now, EventKind::Asked { question: question.clone() });
            self.out.push(Effect::Ask(question.clone()));
            self.phase = Phase::Asking { stage: number, question };
            return true;
        }
        let Some(stage) = self.stage(number).cloned() else { return false };
        self.look(now, &stage);
        let before = self.phase.clone();
        let open = self.open_steps(&stage);
        for step in &open {
            self.remember(now, step);
        }
        let verdicts = self.verdicts(now, &open);
        for (step, verdict) in open.iter().zip(verdicts) {
            self.act_on(now, step, verdict);
            if self.phase != before {
                return true;
            }
        }
        self.progress(now, &stage);
        if stage.steps().all(|step| self.state.outcome(&step.id).is_some()) {
            let started = self.state.stage_started(number).unwrap_or(now);
            self.record(now, Entry::StageFinished { stage: number });
            self.emit(now, EventKind::StageFinished { stage: number, duration_ms: millis(now, started) });
            self.next_stage();
            return true;
        }
        // A lane may have reached its next step.
        self.open_steps(&stage) != open
    }

    /// The first unfinished step of each lane.
    fn open_steps(&self, stage: &Stage) -> Vec<Step> {
        let lanes = stage.lanes.iter();
        lanes
            .filter_map(|lane| lane.steps.iter().find(|s| self.state.outcome(&s.id).is_none()))
            .cloned()
            .collect()
    }

    fn remember(&mut self, now: Timestamp, step: &Step) {
        if !self.steps.contains_key(&step.id) {
            let fresh = Memory {
                since: now,
                waiting_since: None,
                waiting_for: String::new(),
                not_before: None,
                failures: 0,
                fresh_writes: 0,
                restart_seen: false,
            };
            self.steps.insert(step.id.clone(), fresh);
            self.emit(now, EventKind::StepStarted { step: step.id.clone(), title: step.action.to_string() });
        }
        if let (Action::Move { workload, .. }, Some(memory)) = (&step.action, self.steps.get_mut(&step.id)) {
            let ours = moves::restart_id(&self.run, &step.id);
            let shown = self.view.workload(workload).and_then(|w| w.template.restart_id.as_ref());
            memory.restart_seen |= shown == Some(&ours);
        }
    }

    fn verdicts(&self, now: Timestamp, open: &[Step]) -> Vec<Verdict> {
        let leaving = self.leaving();
        let case = MoveCase {
            view: &self.view,
            run: &self.run,
            now,
            leaving: &leaving,
            slots: self.plan.policy.max_concurrent_moves,
            job_wait: self.plan.policy.job_wait,
        };
        let open_move = |step: &'_ Step| -> Option<(Vec<Write>, StepId)> {
            let Action::Move { off, .. } = &step.action else { return None };
            let missing = nodes::missing_cordons(&self.view, off);
            (!missing.is_empty()).then(|| (missing, step.id.clone()))
        };
        // A node that became schedulable again would take the pods that leave the others: cordon it before anything moves.
        if let Some((missing, first)) = open.iter().find_map(open_move) {
            let wait = Verdict::Wait("every doomed node to be cordoned".to_owned());
            return open
                .iter()
                .map(|step| if step.id == first { Verdict::Write(missing.clone()) } else { wait.clone() })
                .collect();
        }
        let moving: Vec<OpenMove<'_>> = open.iter().filter_map(|step| self.open_move(step)).collect();
        let mut moved = moves::next(&case, &moving).into_iter();
        open.iter()
            .map(|step| match &step.action {
                Action::Move { .. } => moved.next().unwrap_or_else(|| Verdict::Patience(String::new())),
                _ => self.single_verdict(&case, step),
            })
            .collect()
    }

    fn open_move<'a>(&'a self, step: &'a Step) -> Option<OpenMove<'a>> {
        let Action::Move { workload, off, route, .. } = &step.action else { return None };
        let memory = self.steps.get(&step.id)?;
        Some(OpenMove {
            step: &step.id,
            workload,
            off,
            route: *route,
            begun: self.has_begun(&step.id),
            restart_seen: memory.restart_seen,
            since: memory.since,
        })
    }

    /// A move has begun when it has announced a write of its own; cordons that it makes up for do not count.
    fn has_begun(&self, step: &StepId) -> bool {
        self.state.has_announced(step, |write| matches!(write, Write::Restart { .. } | Write::Evict { .. }))
    }

    fn single_verdict(&self, case: &MoveCase<'_>, step: &Step) -> Verdict {
        let Some(memory) = self.steps.get(&step.id) else { return Verdict::Patience(String::new()) };
        let reference = self.state.operation(&step.id);
        let operation = reference.and_then(|reference| self.operations.get(reference));
        let azure = AzureCase {
            azure: self.azure.as_ref(),
            view: &self.view,
            run: &self.run,
            operation,
            operation_unseen: reference.is_some() && operation.is_none(),
            fresh_writes: memory.fresh_writes,
        };
        match &step.action {
            Action::UpgradeControlPlane { to } => azure.control_plane(*to),
            Action::CreateBuffer { buffer } => azure.create_buffer(buffer),
            Action::UpgradePool { pool, to } => {
                azure.upgrade_pool(pool, *to, self.state.writes(&step.id) == 0)
            }
            Action::DeleteBuffer { pool } => azure.delete_buffer(pool),
            Action::Cordon { pool } => nodes::cordon(&self.view, pool),
            Action::Drain { pool } => {
                let missing = nodes::missing_cordons(&self.view, pool);
                if missing.is_empty() {
                    moves::leftovers(case, pool, memory.since)
                } else {
                    Verdict::Write(missing)
                }
            }
            Action::Soak { seconds } => {
                let passed = millis(case.now, memory.since) / 1000;
                match seconds.checked_sub(passed) {
                    Some(rest) if rest > 0 => Verdict::Patience(format!("{rest} s of soaking")),
                    _ => Verdict::Done(format!("watched for {seconds} s")),
                }
            }
            Action::Move { .. } => Verdict::Patience(String::new()),
        }
    }

    /// Pods whose eviction is in flight or was accepted.
    fn leaving(&self) -> BTreeSet<Uid> {
        let flying = self.in_flight.values().map(|(_, write)| write);
        let writes = flying.chain(self.acked.keys());
        writes
            .filter_map(|write| if let Write::Evict { uid, .. } = write { Some(uid.clone()) } else { None })
            .collect()
    }

    fn act_on(&mut self, now: Timestamp, step: &Step, verdict: Verdict) {
        match verdict {
            Verdict::Done(message) => {
                let outcome = if self.state.writes(&step.id) == 0 {
                    StepOutcome::AlreadySo { message }
                } else {
                    StepOutcome::Done { message }
                };
                self.record(now, Entry::StepFinished { step: step.id.clone(), outcome: outcome.clone() });
                self.emit(now, EventKind::StepFinished { step: step.id.clone(), outcome });
                self.steps.remove(&step.id);
            }
            Verdict::Write(writes) => self.write(now, step, writes),
            Verdict::Wait(what) => self.wait(now, step, what),
            Verdict::Patience(what) => {
                let Some(memory) = self.steps.get_mut(&step.id) else { return };
                memory.waiting_since = None;
                memory.waiting_for = what;
                let azure = matches!(
                    step.action,
                    Action::UpgradeControlPlane { .. }
                        | Action::CreateBuffer { .. }
                        | Action::UpgradePool { .. }
                        | Action::DeleteBuffer { .. }
                );
                if azure && now.duration_since(memory.since) > signed(AZURE_LIMIT) {
                    let why = format!(
                        "Azure has not finished in {}: {}",
                        crate::span::show(AZURE_LIMIT),
                        memory.waiting_for
                    );
                    self.hold(Some(&step.id), why);
                }
            }
            Verdict::Fail(cause) => self.hold(Some(&step.id), cause),
        }
    }

    fn wait(&mut self, now: Timestamp, step: &Step, what: String) {
        let limit = self.plan.policy.move_timeout;
        let Some(memory) = self.steps.get_mut(&step.id) else { return };
        let since = *memory.waiting_since.get_or_insert(now);
        memory.waiting_for = what;
        if now.duration_since(since) > signed(limit) {
            let waited = crate::span::show(limit);
            let cause = format!("waited {waited} (`move_timeout`) for {}", memory.waiting_for);
            self.hold(Some(&step.id), cause);
        }
    }

    fn write(&mut self, now: Timestamp, step: &Step, writes: Vec<Write>) {
        let Some(memory) = self.steps.get_mut(&step.id) else { return };
        if memory.not_before.is_some_and(|at| at > now) {
            return;
        }
        memory.not_before = None;
        self.acked.retain(|_, at| now.duration_since(*at) < signed(REPEAT_AFTER));
        let mut sent = false;
        for write in writes {
            let pending =
                self.in_flight.values().any(|(_, other)| *other == write) || self.acked.contains_key(&write);
            if !pending {
                self.send(now, step, write);
                sent = true;
            }
        }
        if sent {
            if let Some(memory) = self.steps.get_mut(&step.id) {
                memory.waiting_since = None;
            }
        } else {
            self.wait(now, step, "what was written to show".into());
        }
    }

    fn send(&mut self, now: Timestamp, step: &Step, write: Write) {
        let id = self.state.next_intent();
        self.record(now, Entry::Intent { id, step: step.id.clone(), write: write.clone() });
        self.emit(now, EventKind::WriteStarted { step: step.id.clone(), what: write.to_string() });
        self.in_flight.insert(id, (step.id.clone(), write.clone()));
        if let Some(memory) = self.steps.get_mut(&step.id) {
            memory.fresh_writes += 1;
        }
        self.out.push(Effect::Act { id, write });
    }

    /// Looks at Azure while a step of the stage depends on it.
    fn look(&mut self, now: Timestamp, stage: &Stage) {
        let needs = |step: &Step| {
            let azure = !matches!(
                step.action,
                Action::Move { .. } | Action::Cordon { .. } | Action::Drain { .. } | Action::Soak { .. }
            );
            azure && self.state.outcome(&step.id).is_none()
        };
        let due = self.look_at.is_some_and(|at| at <= now) && !self.looking;
        if due && stage.steps().any(needs) {
            self.looking = true;
            self.look_at = None;
            let operations = self.state.operations().map(|(_, operation)| operation.clone()).collect();
            self.out.push(Effect::LookAtAzure(operations));
        }
    }

    fn progress(&mut self, now: Timestamp, stage: &Stage) {
        let open = self.open_steps(stage);
        let waiting = open.iter().filter_map(|step| self.steps.get(&step.id));
        let mut waiting_for: Vec<String> = waiting
            .filter(|m| m.waiting_since.is_some())
            .map(|m| m.waiting_for.clone())
            .filter(|w| !w.is_empty())
            .collect();
        if waiting_for.is_empty() {
            let patient =
                open.iter().filter_map(|step| self.steps.get(&step.id)).map(|m| m.waiting_for.clone());
            waiting_for = patient.filter(|what| !what.is_empty()).take(1).collect();
        }
        waiting_for.truncate(5);
        let moving = stage.steps().any(|step| matches!(step.action, Action::Move { .. }));
        let (done, total, unit) = if moving {
            let off: BTreeSet<_> = stage
                .steps()
                .filter_map(|s| if let Action::Move { off, .. } = &s.action { Some(off) } else { None })
                .collect();
            let left = off
                .iter()
                .flat_map(|pool| self.view.pods_in(pool))
                .filter(|pod| !pod.leaves_with_node())
                .count();
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            self.moving_total = self.moving_total.max(left);
            (self.moving_total - left, self.moving_total, "pods")
        } else {
            let all = stage.steps().count();
            let done = stage.steps().filter(|step| self.state.outcome(&step.id).is_some()).count();
            (u32::try_from(done).unwrap_or(u32::MAX), u32::try_from(all).unwrap_or(u32::MAX), "steps")
        };
        let progress =
            EventKind::Progress { stage: stage.number, done, total, unit: unit.to_owned(), waiting_for };
        if self.last_progress.as_ref() != Some(&progress) {
            self.last_progress = Some(progress.clone());
            self.emit(now, progress);
        }
    }

    fn end(&mut self, now: Timestamp, outcome: RunOutcome) {
        let ledger = self.ledger.records();
        self.record(now, Entry::Closed { outcome: outcome.clone(), ledger });
        let report = super::outcome::report(
            &self.plan,
            &self.run,
            &self.state,
            &self.view,
            &self.ledger,
            outcome,
            now,
        );
        self.emit(now, EventKind::RunEnded { report: report.clone() });
        self.out.push(Effect::End(Box::new(report)));
        self.phase = Phase::Ended;
    }

    fn stage(&self, number: u32) -> Option<&Stage> {
        self.plan.stages.iter().find(|stage| stage.number == number)
    }

    fn record(&mut self, now: Timestamp, entry: Entry) {
        let record = Record { seq: self.state.next_seq(), at: now, entry };
        match self.state.apply(&record) {
            Ok(()) => self.out.push(Effect::Record(record)),
            // The machine and the journal's rules disagree: a defect. Nothing more is written, and the run holds.
            Err(illegal) => {
                self.out.retain(|effect| !matches!(effect, Effect::Act { .. }));
                self.hold(None, format!("internal error: {illegal}"));
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

/// An answer in a few words, and whether it is a good one.
fn describe(answer: &WriteAnswer) -> (String, bool) {
    match answer {
        WriteAnswer::Done => ("done".into(), true),
        WriteAnswer::Accepted { .. } => ("accepted by Azure".into(), true),
        WriteAnswer::Eviction { eviction } => match eviction {
            EvictionAnswer::Accepted => ("accepted".into(), true),
            EvictionAnswer::Gone => ("already gone".into(), true),
            EvictionAnswer::Refused { message, .. } => (format!("refused: {message}"), false),
            EvictionAnswer::Misconfigured { message } => (format!("impossible: {message}"), false),
        },
        WriteAnswer::Failed { message, .. } => (format!("failed: {message}"), false),
        WriteAnswer::Unknown { message } => (format!("no answer, will be observed: {message}"), false),
    }
}

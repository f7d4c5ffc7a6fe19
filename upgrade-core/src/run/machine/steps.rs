//! The steps of the stage under way: what each wants, and what is done about it.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::second_writer::StepWithRancher;
use super::{Effect, Machine, Memory, Phase, millis, signed};
use crate::event::{EventKind, StepOutcome};
use crate::journal::{Entry, Write};
use crate::model::{StepId, Uid};
use crate::moves::{self, MoveCase, OpenMove};
use crate::plan::{Action, Stage, Step};
use crate::ports::Question;
use crate::run::azure::AzureCase;
use crate::run::{Verdict, nodes};

/// How long the same write is not repeated after it was answered: the watch needs a moment to show what it did.
const REPEAT_AFTER: Duration = Duration::from_secs(30);
/// How long Azure may work on one step. The longest control-plane and pool upgrades reported take hours.
const AZURE_LIMIT: Duration = Duration::from_secs(6 * 3600);

/// How much more seldom Azure is looked at where only a buffer is watched.
const WATCH_BUFFER: Duration = Duration::from_secs(15);

/// Is it Azure that carries it out?
pub(super) fn is_in_azure(action: &Action) -> bool {
    match action {
        Action::UpgradeControlPlane { .. }
        | Action::CreateBuffer { .. }
        | Action::UpgradePool { .. }
        | Action::DeleteBuffer { .. } => true,
        Action::Cordon { .. }
        | Action::Move { .. }
        | Action::Soak { .. }
        | Action::Drain { .. }
        | Action::AwaitRancher { .. } => false,
    }
}

impl Machine {
    /// Advances a stage as far as it goes now; true if the phase changed.
    pub(super) fn run_stage(&mut self, now: Timestamp, number: u32) -> bool {
        let Some(stage) = self.stage(number).cloned() else { return false };
        self.look(now, &stage);
        let before = self.phase.clone();
        let open = self.open_steps(&stage);
        if !self.buffers_stand(now, &open) {
            return self.phase != before;
        }
        if self.ledger.unaccepted_gap().is_some() {
            return self.ask_about_gap(now, &stage);
        }
        self.look_at_rancher(now, &open);
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

    /// Stops at a gap that nobody has accepted and asks; true if the phase changed. Before anybody is asked it is known whether
    /// the buffer still stands: one that is taken away makes gaps, and going on is no answer to that.
    fn ask_about_gap(&mut self, now: Timestamp, stage: &Stage) -> bool {
        let Some(gap) = self.ledger.unaccepted_gap() else { return false };
        if self.holds_buffer() && (self.looking || self.looked_at.is_none_or(|at| at < gap.begin)) {
            self.look_now(now);
            return false;
        }
        let text = format!(
            "Service {} has no ready endpoint since {} ({}). Go on?",
            gap.service, gap.begin, gap.cause
        );
        let question =
            Question { id: format!("gap-{}-{}", gap.service.namespace(), gap.service.name()), text };
        self.emit(now, EventKind::Asked { question: question.clone() });
        self.out.push(Effect::Ask(question.clone()));
        self.phase = Phase::Asking { stage: stage.number, question };
        true
    }

    /// The first unfinished step of each lane.
    pub(super) fn open_steps(&self, stage: &Stage) -> Vec<Step> {
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
                second_writer: StepWithRancher::default(),
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
            Action::AwaitRancher { once_more } => self.adopted(case.now, memory, *once_more),
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

    pub(super) fn act_on(&mut self, now: Timestamp, step: &Step, verdict: Verdict) {
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
                if is_in_azure(&step.action) && now.duration_since(memory.since) > signed(AZURE_LIMIT) {
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
        let pending = |write: &Write| {
            self.in_flight.values().any(|(_, other)| other == write) || self.acked.contains_key(write)
        };
        let writes: Vec<Write> = writes.into_iter().filter(|write| !pending(write)).collect();
        if writes.is_empty() {
            return self.wait(now, step, "what was written to show".into());
        }
        if writes.iter().any(Write::is_in_azure)
            && let Err(verdict) = self.may_change_azure(now, step)
        {
            return self.act_on(now, step, verdict);
        }
        for write in writes {
            self.send(now, step, write);
        }
        if let Some(memory) = self.steps.get_mut(&step.id) {
            memory.waiting_since = None;
        }
    }

    pub(super) fn send(&mut self, now: Timestamp, step: &Step, write: Write) {
        let id = self.state.next_intent();
        self.record(now, Entry::Intent { id, step: step.id.clone(), write: write.clone() });
        self.emit(now, EventKind::WriteStarted { step: step.id.clone(), what: write.to_string() });
        self.in_flight.insert(id, (step.id.clone(), write.clone()));
        if let Some(memory) = self.steps.get_mut(&step.id) {
            memory.fresh_writes += 1;
        }
        self.out.push(Effect::Act { id, write });
    }

    /// Looks at Azure while a step of the stage depends on it, and now and then while a buffer stands there.
    fn look(&mut self, now: Timestamp, stage: &Stage) {
        let needs = |step: &Step| is_in_azure(&step.action) && self.state.outcome(&step.id).is_none();
        let due = |at: Timestamp| {
            let wanted = stage.steps().any(needs) || self.azure.is_none();
            at <= now && (wanted || self.holds_buffer() && at + WATCH_BUFFER <= now)
        };
        if self.look_at.is_some_and(due) {
            self.look_now(now);
        }
    }

    fn look_now(&mut self, now: Timestamp) {
        if !self.looking {
            self.looking = true;
            self.looked_at = Some(now);
            self.look_at = None;
            let operations = self.state.operations().map(|(_, operation)| operation.clone()).collect();
            self.out.push(Effect::LookAtAzure(operations));
        }
    }
}

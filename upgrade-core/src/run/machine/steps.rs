//! The steps of the stage under way: what each wants, and what is done about it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::agenda::WaitsFor;
use super::gates::About;
use super::second_writer::StepWithRancher;
use super::{Effect, Machine, Memory, millis, signed};
use crate::event::{EventKind, StepOutcome};
use crate::journal::{Entry, Write};
use crate::moves;
use crate::plan::{Action, Stage, Step};
use crate::ports::Question;
use crate::run::failure::{Failure, Limit};
use crate::run::{Verdict, azure};

/// How many writes may be under way at a time, moves and cordons together: the cluster behind Rancher's proxy has other users.
const AT_ONCE: usize = 64;
/// How much more seldom Azure is looked at where only a buffer is watched.
const WATCH_BUFFER: Duration = Duration::from_secs(15);

impl Machine {
    /// Advances a stage as far as it goes now; true if there is more to decide at once.
    pub(super) fn run_stage(&mut self, now: Timestamp, number: u32) -> bool {
        let plan = Arc::clone(&self.plan);
        let Some(stage) = plan.stage(number) else { return false };
        self.look(now);
        let before = self.phase.clone();
        if !self.buffers_stand(now, stage) {
            return self.phase != before;
        }
        if let Some(cause) = self.changed_by_others() {
            self.fails(now, None, Failure::Changed, cause);
            return self.phase != before;
        }
        if self.ledger.unaccepted_gap().is_some() {
            return self.ask_about_gap(now, stage);
        }
        if self.asks_about_maintenance(now, stage) {
            return true;
        }
        self.look_at_rancher(now, stage);
        self.sent.expire(now);
        self.agenda.tick(now);
        let verdicts = self.verdicts(now, stage);
        if self.asks_about_soak(now, stage) {
            return true;
        }
        for (step, verdict) in verdicts {
            let waits_for = WaitsFor::of(&verdict);
            self.remember(now, step);
            self.act_on(now, step, verdict);
            if self.phase != before {
                return true;
            }
            if self.state.outcome(&step.id).is_some() {
                self.agenda.finish(stage, step, now);
            } else {
                self.agenda.watch(step, self.has_begun(&step.id), waits_for);
            }
        }
        self.progress(now, stage);
        if self.agenda.is_finished() {
            let started = self.state.stage_started(number).unwrap_or(now);
            self.record(now, Entry::StageFinished { stage: number });
            self.emit(now, EventKind::StageFinished { stage: number, duration_ms: millis(now, started) });
            self.next_stage();
            return true;
        }
        // A lane has reached its next step, or left a slot to another.
        self.agenda.take_advanced()
    }

    /// Has somebody changed the control plane or a pool, so that the plan does not fit any more? The way back fits all the same.
    fn changed_by_others(&self) -> Option<String> {
        if self.changed.is_empty() || self.state.reversal().is_some() {
            return None;
        }
        let changed: Vec<String> = self.changed.iter().map(ToString::to_string).collect();
        let changed = changed.join("; ");
        Some(format!("somebody has changed the cluster in Azure, for which the plan was made: {changed}"))
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
        self.asks_about(now, stage.number, Failure::Gap, question, About::Gap);
        true
    }

    /// The first unfinished step of each lane.
    pub(super) fn open_steps<'s>(&self, stage: &'s Stage) -> impl Iterator<Item = &'s Step> {
        let lanes = (0..stage.lanes.len()).filter_map(|lane| self.agenda.open(stage, lane));
        lanes.collect::<Vec<_>>().into_iter()
    }

    pub(super) fn remember(&mut self, now: Timestamp, step: &Step) {
        if !self.steps.contains_key(&step.id) {
            let fresh = Memory {
                since: self.agenda.since(&step.id).unwrap_or(now),
                waiting_since: None,
                waiting_for: String::new(),
                not_before: None,
                failures: 0,
                failing: None,
                fresh_writes: 0,
                restart_seen: false,
                restart_lost: false,
                loan_seen: self.state.loan_of(&step.id).is_some_and(|loan| loan.taken),
                loan_lost: false,
                second_writer: StepWithRancher::default(),
            };
            self.steps.insert(step.id.clone(), fresh);
            self.emit(now, EventKind::StepStarted { step: step.id.clone(), title: step.action.to_string() });
        }
        let Action::Move { workload, .. } = &step.action else { return };
        let was_there = self.restart_was_there(&step.id, workload);
        if let Some(memory) = self.steps.get_mut(&step.id) {
            let ours = moves::restart_id(&self.run, &step.id);
            let shown = self.view.workload(workload).and_then(|w| w.template.restart_id.as_ref());
            let there = shown == Some(&ours);
            memory.restart_seen = there || was_there;
            if memory.restart_seen && !there && !memory.restart_lost {
                memory.restart_lost = true;
                let message = format!(
                    "somebody (GitOps, an operator?) took the restart out of the template of {workload} again; what is left of it is evicted"
                );
                self.fails(now, Some(&step.id), Failure::RestartUndone, message);
            }
        }
        self.look_at_loan(now, &step.id);
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
            Verdict::Write(_) if self.asks_before_step(now, step) => {}
            Verdict::Write(writes) => self.write(now, step, writes),
            Verdict::Wait(what) | Verdict::Blocked(what) | Verdict::NoRoom(what) => {
                self.wait(now, step, what);
            }
            Verdict::Patience(what) => {
                let Some(memory) = self.steps.get_mut(&step.id) else { return };
                memory.waiting_since = None;
                memory.waiting_for = what;
                let limit = Limit::Azure.lasts(&self.plan.policy);
                if azure::carries_out(&step.action) && now.duration_since(memory.since) > signed(limit) {
                    let since = memory.since;
                    // A write that fails again and again is no operation that Azure works on.
                    let (failure, why) = match &memory.failing {
                        Some(own) => (
                            Failure::TimedOut,
                            format!("not done in {}, since {since:.0}; {own}", Limit::Azure),
                        ),
                        None => (
                            Failure::AzureTooLong,
                            format!("waited {}, since {since:.0}, for {}", Limit::Azure, memory.waiting_for),
                        ),
                    };
                    self.fails(now, Some(&step.id), failure, why);
                }
            }
            Verdict::Fail(failure, cause) => self.fails(now, Some(&step.id), failure, cause),
        }
    }

    fn wait(&mut self, now: Timestamp, step: &Step, what: String) {
        let limit = self.plan.policy.move_timeout;
        let Some(memory) = self.steps.get_mut(&step.id) else { return };
        let since = *memory.waiting_since.get_or_insert(now);
        memory.waiting_for = what;
        if now.duration_since(since) > signed(limit) {
            let waited = crate::span::show(limit);
            let waiting_for = memory.waiting_for.clone();
            let cause = format!(
                "waited {waited} (`move_timeout`), since {since:.0}, for {waiting_for}{}",
                self.blocker(step)
            );
            let failure = match &step.action {
                Action::Verify { .. } => Failure::Untrue,
                _ => Failure::TimedOut,
            };
            self.fails(now, Some(&step.id), failure, cause);
        }
    }

    fn write(&mut self, now: Timestamp, step: &Step, writes: Vec<Write>) {
        let Some(memory) = self.steps.get_mut(&step.id) else { return };
        if memory.not_before.is_some_and(|at| at > now) {
            return;
        }
        memory.not_before = None;
        let room = AT_ONCE.saturating_sub(self.sent.in_flight());
        // One more than there is room for tells that there are more.
        let fresh = writes.into_iter().filter(|write| !self.sent.is_pending(write));
        let writes: Vec<Write> = fresh.take(room + 1).collect();
        if writes.is_empty() {
            return self.wait(now, step, "what was written to show".into());
        }
        if writes.iter().any(Write::is_in_azure)
            && let Err(verdict) =
                self.has_room_in_azure(now, step, &writes).and_then(|()| self.may_change_azure(now, step))
        {
            return self.act_on(now, step, verdict);
        }
        if writes.len() > room {
            self.agenda.crowd(&step.id);
        }
        for write in writes.into_iter().take(room) {
            self.send(now, step, write);
        }
        if let Some(memory) = self.steps.get_mut(&step.id) {
            memory.waiting_since = None;
        }
    }

    pub(super) fn send(&mut self, now: Timestamp, step: &Step, write: Write) {
        if let Write::Cordon { node, uid } = &write
            && self.state.has_cordoned(node, uid)
        {
            let message = format!("somebody took away the cordon of node {node}; it is cordoned again");
            self.fails(now, Some(&step.id), Failure::CordonUndone, message);
        }
        let id = self.state.next_intent();
        self.record(now, Entry::Intent { id, step: step.id.clone(), write: write.clone() });
        self.emit(now, EventKind::WriteStarted { step: step.id.clone(), what: write.to_string() });
        self.sent.send(id, step.id.clone(), write.clone());
        if let Some(memory) = self.steps.get_mut(&step.id) {
            memory.fresh_writes += u32::from(write.is_in_azure());
        }
        self.out.push(Effect::Act { id, write });
    }

    /// Looks at Azure while a step of the stage depends on it, and now and then while a buffer stands there.
    fn look(&mut self, now: Timestamp) {
        let wanted = self.agenda.needs_azure() || self.azure.is_none();
        let due = |at: Timestamp| at <= now && (wanted || at + WATCH_BUFFER <= now && self.holds_buffer());
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

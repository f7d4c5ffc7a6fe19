//! What is done when something goes wrong: what the [table](crate::run::failure) says.

use std::time::Duration;

use jiff::Timestamp;

use super::gates::About;
use super::{Failing, Machine, Phase, signed};
use crate::event::{EventKind, RunOutcome};
use crate::journal::{Write, WriteAnswer};
use crate::model::StepId;
use crate::moves;
use crate::plan::{Action, Step};
use crate::ports::{EvictionAnswer, PortError, Question};
use crate::run::failure::{Failure, Limit, Next, StepKind, response};

/// The longest pause between two tries of a write that failed for a passing reason, unless the service asks for more.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

impl Machine {
    fn step_of(&self, id: &StepId) -> Option<&Step> {
        self.plan.steps().find(|step| step.id == *id)
    }

    /// What comes next.
    pub(super) fn next_after(&self, step: Option<&StepId>, failure: Failure) -> Next {
        let kind = step.and_then(|id| self.step_of(id)).map(|step| StepKind::of(&step.action));
        response(kind, failure).next
    }

    /// Something went wrong at a step, or between steps.
    pub(super) fn fails(&mut self, now: Timestamp, step: Option<&StepId>, failure: Failure, cause: String) {
        match self.next_after(step, failure) {
            Next::Hold | Next::Stop => self.hold(step, failure, cause),
            Next::GoOn | Next::Ask => self.emit(now, EventKind::Warning { message: cause }),
            Next::Retry(_) | Next::Observe(_) => {
                self.emit(now, EventKind::Warning { message: format!("{cause}; trying again") });
            }
        }
    }

    /// Something is not as it should be that a person may judge.
    pub(super) fn asks_about(
        &mut self,
        now: Timestamp,
        stage: u32,
        failure: Failure,
        question: Question,
        about: About,
    ) {
        match self.next_after(None, failure) {
            Next::Ask => self.ask(now, stage, question, about),
            Next::Retry(_) | Next::Observe(_) | Next::GoOn | Next::Hold | Next::Stop => {
                self.fails(now, None, failure, question.text);
            }
        }
    }

    /// Something could not be read, and is read again later if that may help.
    pub(super) fn cannot_see(&mut self, now: Timestamp, cause: &str, error: &PortError) {
        let step = self.in_hand().map(|step| step.id.clone());
        self.fails(now, step.as_ref(), Failure::of_look(error), format!("{cause}: {error}"));
    }

    /// The step at which a run holds that does not hold at one by name.
    pub(super) fn in_hand(&self) -> Option<&Step> {
        let stage = self.state.current_stage().and_then(|number| self.plan.stage(number))?;
        // A stage whose last step has ended and which is not closed yet holds at that step.
        stage.steps().find(|step| self.state.outcome(&step.id).is_none()).or(stage.steps().last())
    }

    fn hold(&mut self, step: Option<&StepId>, failure: Failure, cause: String) {
        let Some(step) = step.and_then(|id| self.step_of(id)).or_else(|| self.in_hand()) else { return };
        let outcome = RunOutcome::Held { step: step.id.clone(), title: step.action.to_string(), cause };
        self.ends(failure, outcome);
    }

    /// The run ends because of a failure, unless it does so already.
    pub(super) fn ends(&mut self, failure: Failure, outcome: RunOutcome) {
        self.stopped |= self.next_after(None, failure) == Next::Stop;
        if !matches!(self.phase, Phase::Ending(_) | Phase::Ended) {
            self.phase = Phase::Ending(outcome);
        }
    }

    /// A write was not accepted.
    pub(super) fn write_failed(
        &mut self,
        now: Timestamp,
        step: &StepId,
        write: &Write,
        answer: &WriteAnswer,
        pause: Duration,
    ) {
        let Some(failure) = Failure::of_answer(write, answer) else { return };
        let message = message(answer);
        match (self.next_after(Some(step), failure), write) {
            (Next::GoOn, Write::CreatePrewarmPod { pod }) => self.not_admitted(now, pod, message),
            (Next::Retry(limit) | Next::Observe(limit), _) => {
                self.try_again(now, step, limit, pause, &format!("{write}: {message}"));
            }
            (Next::Hold | Next::Stop | Next::GoOn | Next::Ask, _) => {
                self.fails(now, Some(step), failure, format!("{write}: {message}"));
            }
        }
    }

    /// Whatever an unanswered write did shows at the next look; until then, and after a failed one, it is not sent again.
    fn try_again(&mut self, now: Timestamp, step: &StepId, limit: Limit, pause: Duration, cause: &str) {
        self.look_at = Some(now);
        let lasts = limit.lasts(&self.plan.policy);
        let Some(memory) = self.steps.get_mut(step) else { return };
        memory.not_before = Some(now + pause);
        let since = memory.failing.as_ref().map_or(now, |failing| failing.since);
        memory.failing = Some(Failing { since, why: cause.to_owned() });
        self.agenda.pause(step, now + pause);
        if now.duration_since(since) > signed(lasts) {
            let blocker = self.step_of(step).map(|step| self.blocker(step)).unwrap_or_default();
            let cause = format!("tried for {limit}, since {since:.0}: {cause}{blocker}");
            self.fails(now, Some(step), Failure::TimedOut, cause);
        }
    }

    /// How long a step's next try has to wait, after this answer. What was sent together fails together, and counts once.
    pub(super) fn pause_after(
        &mut self,
        now: Timestamp,
        step: &StepId,
        ok: bool,
        asked: Option<Duration>,
    ) -> Duration {
        let Some(memory) = self.steps.get_mut(step) else { return asked.unwrap_or_default() };
        let pauses = memory.not_before.is_some_and(|at| at > now);
        memory.failures = if ok { 0 } else { memory.failures + u32::from(!pauses) };
        if ok {
            memory.failing = None;
        }
        let doubled = Duration::from_secs(1 << memory.failures.min(6)).min(MAX_BACKOFF);
        asked.unwrap_or_default().max(doubled)
    }

    /// Who stands in the way of a step, to be added to a message.
    pub(super) fn blocker(&self, step: &Step) -> String {
        let blocker = match &step.action {
            Action::Move { workload, off, .. } => moves::blocker(&self.view, workload, off),
            Action::Drain { pool } => moves::blocker_on(&self.view, pool),
            _ => None,
        };
        blocker.map(|blocker| format!("; {blocker}")).unwrap_or_default()
    }
}

fn message(answer: &WriteAnswer) -> &str {
    match answer {
        WriteAnswer::Failed { message, .. }
        | WriteAnswer::Unknown { message }
        | WriteAnswer::Eviction {
            eviction: EvictionAnswer::Refused { message, .. } | EvictionAnswer::Misconfigured { message },
        } => message,
        WriteAnswer::Done
        | WriteAnswer::Accepted { .. }
        | WriteAnswer::Eviction { eviction: EvictionAnswer::Accepted | EvictionAnswer::Gone } => "",
    }
}

#[cfg(test)]
mod tests;

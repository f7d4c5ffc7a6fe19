//! What a run has borrowed of workloads: whether it is still as the run has set it, and its return before the run ends.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Machine, TICK, signed};
use crate::event::RunOutcome;
use crate::journal::{Loan, Write, WriteAnswer};
use crate::model::{Settings, StepId, Workload};
use crate::moves;
use crate::run::failure::Failure;

/// How long the end of a run waits for rollouts that need what they have borrowed, and for answers that do not come.
const LIMIT: Duration = Duration::from_secs(180);

/// How long what was written may take to show.
const SHOWS: Duration = Duration::from_secs(30);

/// The return of loans at the end of a run.
#[derive(Debug, Default)]
pub(super) struct Parting {
    since: Option<Timestamp>,
    /// When a return was sent last.
    tried: BTreeMap<StepId, Timestamp>,
    /// Returns that cannot succeed, and why.
    refused: BTreeMap<StepId, String>,
}

impl Machine {
    /// Has the workload shown the step's loan, and does it still? What somebody else has set since stays, and is told.
    pub(super) fn look_at_loan(&mut self, now: Timestamp, step: &StepId) {
        let Some(loan) = self.state.loan_of(step) else { return };
        let workload = self.view.workload(&loan.workload).filter(|workload| workload.uid == loan.uid);
        let (Some(workload), Some(memory)) = (workload, self.steps.get_mut(step)) else { return };
        let now_set = Settings::of(workload);
        let gone = loan.lent.differing_from(&now_set);
        // What is neither as it was nor as it was lent is somebody else's, too, who was quicker than the watch.
        let theirs = now_set.named_in(&gone).differing_from(&loan.former);
        memory.loan_seen |= gone.is_empty() || loan.taken && !theirs.is_empty();
        if gone.is_empty() || !memory.loan_seen || memory.loan_lost {
            return;
        }
        memory.loan_lost = true;
        let message = format!(
            "somebody (GitOps, an operator?) has set {} of {} while {gone} was borrowed of it; that stays, and it is not borrowed again",
            now_set.named_in(&gone),
            loan.workload
        );
        self.fails(now, Some(step), Failure::LoanOverwritten, message);
    }

    /// The step's loan was sent a moment ago and does not show yet.
    pub(super) fn is_lending(&self, step: &StepId) -> bool {
        let Some(Loan { workload, uid, former, lent, .. }) = self.state.loan_of(step).cloned() else {
            return false;
        };
        let shown = self.steps.get(step).is_some_and(|memory| memory.loan_seen);
        !shown && self.sent.is_pending(&Write::Lend { workload, uid, former, lent })
    }

    /// A return that was refused is not sent again.
    pub(super) fn note_return(&mut self, step: &StepId, write: &Write, answer: &WriteAnswer) {
        if let (Write::GiveBack { .. }, WriteAnswer::Failed { message, kind }) = (write, answer)
            && !kind.is_retryable()
        {
            self.parting.refused.insert(step.clone(), message.clone());
        }
    }

    /// Gives back what is borrowed, last first, before the run ends; true while there is something to wait for. A rollout that
    /// needs what it has borrowed comes to its end first.
    pub(super) fn gives_back(&mut self, now: Timestamp) -> bool {
        let since = *self.parting.since.get_or_insert(now);
        if !self.may_write() || now.duration_since(since) > signed(LIMIT) {
            return false;
        }
        self.sent.expire(now);
        let loans: Vec<Loan> = self.state.loans().rev().cloned().collect();
        let mut waits = false;
        for loan in loans {
            self.look_at_loan(now, &loan.step);
            let Some(workload) = self.view.workload(&loan.workload) else { continue };
            let rolls = self.needs_its_loan(now, &loan, workload);
            let Some(write) = moves::give_back(&loan, workload) else {
                waits |= self.is_lending(&loan.step);
                continue;
            };
            if self.parting.refused.contains_key(&loan.step) {
                continue;
            }
            waits = true;
            let tried = self.parting.tried.get(&loan.step);
            let rests = tried.is_some_and(|at| now.duration_since(*at) < signed(TICK));
            if !rolls && !rests {
                self.parting.tried.insert(loan.step.clone(), now);
                let step = self.plan.steps().find(|step| step.id == loan.step).cloned();
                if let Some(step) = step {
                    self.send(now, &step, write);
                }
            }
        }
        waits
    }

    /// A rollout of the step goes on, or was begun and does not show yet.
    fn needs_its_loan(&self, now: Timestamp, loan: &Loan, workload: &Workload) -> bool {
        let restarts = |write: &Write| matches!(write, Write::Restart { .. });
        if !self.state.has_announced(&loan.step, restarts) {
            return false;
        }
        let shown = workload.template.restart_id == Some(moves::restart_id(&self.run, &loan.step))
            || self.steps.get(&loan.step).is_some_and(|memory| memory.restart_seen);
        let fresh = self.parting.since.is_some_and(|since| now.duration_since(since) < signed(SHOWS));
        !workload.is_settled() || !shown && fresh
    }

    /// A run that cannot give something back holds, and says how a person does it.
    pub(super) fn with_what_is_owed(&self, outcome: RunOutcome) -> RunOutcome {
        let owed: Vec<String> = self
            .state
            .loans()
            .filter_map(|loan| {
                let still = loan.still_lent(self.view.workload(&loan.workload)?);
                let why = self.parting.refused.get(&loan.step)?;
                let command = loan.manual_return(&still);
                (!still.is_empty()).then(|| {
                    format!(
                        "{still} of {} cannot be given back ({why}); do it with `{command}`",
                        loan.workload
                    )
                })
            })
            .collect();
        let Some(first) = self.state.loans().find(|loan| self.parting.refused.contains_key(&loan.step))
        else {
            return outcome;
        };
        if owed.is_empty() {
            return outcome;
        }
        let owed = owed.join("; ");
        match outcome {
            RunOutcome::Held { step, title, cause } => {
                RunOutcome::Held { step, title, cause: format!("{cause}; {owed}") }
            }
            other => {
                let title = self.plan.steps().find(|step| step.id == first.step);
                let title = title.map(|step| step.action.to_string()).unwrap_or_default();
                match other {
                    RunOutcome::Aborted | RunOutcome::Paused { .. } => {
                        RunOutcome::Held { step: first.step.clone(), title, cause: owed }
                    }
                    other => other,
                }
            }
        }
    }
}

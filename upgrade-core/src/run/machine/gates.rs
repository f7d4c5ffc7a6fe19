//! Questions to a person: before a stage or a step where that is wanted, within a freeze, at a gap that nobody has accepted.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Effect, Machine, Phase};
use crate::event::{EventKind, RunOutcome};
use crate::journal::Entry;
use crate::model::ProbeName;
use crate::plan::{Stage, Step};
use crate::ports::{Answer, AskBefore, Gate, Question};
use crate::run::failure::OnFailure;

/// What a run knows of its gate.
#[derive(Debug, Default)]
pub(super) struct GateState {
    wants: AskBefore,
    on_failure: Option<OnFailure>,
    probes: BTreeSet<ProbeName>,
    answers_for: String,
}

/// What a question is about, which says what its answer lets happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A gap: the stage goes on.
    Gap,
    /// A soak that has come to its limit: the stage goes on without it.
    Soak,
    /// A stage or a step. A person may take all night, so the cluster is proven again.
    Beginning,
}

impl Machine {
    /// Takes in what the gate wants, before anything else happens.
    pub fn meet(&mut self, now: Timestamp, gate: &dyn Gate) -> Vec<Effect> {
        self.gates = GateState {
            wants: gate.asks_before(),
            on_failure: gate.on_failure(),
            probes: gate.more_probes().into_iter().collect(),
            answers_for: gate.answers_for(),
        };
        if self.taken_up {
            self.record_wish(now);
        }
        std::mem::take(&mut self.out)
    }

    /// Writes down before what is asked, and which probes, if it is more than is known; and what is to happen on a failure.
    pub(super) fn record_wish(&mut self, now: Timestamp) {
        let before = self.gates.wants;
        if before > self.state.asks_before() {
            self.record(now, Entry::AsksBefore { before });
        }
        if let Some(then) = self.gates.on_failure.filter(|then| *then != self.state.on_failure()) {
            self.record(now, Entry::OnFailure { then });
        }
        let known = self.state.probes();
        let probes: BTreeSet<ProbeName> =
            self.gates.probes.iter().filter(|probe| !known.contains(probe)).cloned().collect();
        if !probes.is_empty() {
            self.record(now, Entry::AsksProbes { probes });
        }
    }

    /// Asks what must be asked before a stage; true if it does. One that has begun is gone on with, and the way back was agreed to
    /// beforehand.
    pub(super) fn asks_before_stage(&mut self, now: Timestamp, number: u32) -> bool {
        let plan = std::sync::Arc::clone(&self.plan);
        let asks = self.state.stage_started(number).is_none() && self.state.reversal().is_none();
        let Some(stage) = plan.stage(number).filter(|_| asks) else {
            return false;
        };
        let questions = [self.freeze(now, stage), self.approval(stage)];
        let open = questions.into_iter().flatten().find(|question| !self.state.is_approved(&question.id));
        open.is_some_and(|question| {
            self.ask(now, number, question, About::Beginning);
            true
        })
    }

    fn freeze(&self, now: Timestamp, stage: &Stage) -> Option<Question> {
        let mut freezes = self.plan.policy.freeze.iter();
        let (freeze, end) = freezes.find_map(|freeze| Some((freeze, freeze.ends(now)?)))?;
        let (number, title) = (stage.number, &stage.title);
        Some(Question {
            id: format!("freeze-{number}"),
            text: format!(
                "Stage {number} ({title}) would begin within a freeze, which ends at {end:.0} ({}). Begin it all the same?",
                freeze.reason
            ),
        })
    }

    fn approval(&self, stage: &Stage) -> Option<Question> {
        let (number, title) = (stage.number, &stage.title);
        (self.state.asks_before() >= AskBefore::Stage).then(|| Question {
            id: format!("stage-{number}"),
            text: format!("Begin stage {number} ({title}) of plan {}?", self.plan_hash()),
        })
    }

    /// Asks before the first write of a step, if that is wanted; true if it does.
    pub(super) fn asks_before_step(&mut self, now: Timestamp, step: &Step) -> bool {
        let wanted = self.state.asks_before() >= AskBefore::Step
            && self.state.writes(&step.id) == 0
            && self.state.reversal().is_none();
        let (Some(stage), true) = (self.state.current_stage(), wanted) else { return false };
        let question = Question {
            id: format!("step-{}", step.id),
            text: format!("Begin step {} ({}) of plan {}?", step.id, step.action, self.plan_hash()),
        };
        if self.state.is_approved(&question.id) {
            return false;
        }
        self.ask(now, stage, question, About::Beginning);
        true
    }

    pub(super) fn ask(&mut self, now: Timestamp, stage: u32, question: Question, about: About) {
        self.emit(now, EventKind::Asked { question: question.clone() });
        self.out.push(Effect::Ask(question.clone()));
        self.phase = Phase::Asking { stage, question, about };
    }

    pub(super) fn gate(&mut self, now: Timestamp, answer: Answer) {
        let Phase::Asking { stage, question, about } = self.phase.clone() else { return };
        if answer == Answer::Pause {
            self.phase = Phase::Ending(RunOutcome::Paused { question });
            return;
        }
        let (plan, by) = (self.plan_hash(), self.gates.answers_for.clone());
        match about {
            About::Gap => {
                self.ledger.accept_open_gaps();
                self.phase = Phase::Running(stage);
            }
            About::Soak => self.phase = Phase::Running(stage),
            About::Beginning => {
                self.phase = Phase::Proving(stage);
                self.out.push(Effect::Prove);
            }
        }
        self.record(now, Entry::Approved { question: question.id, plan, by });
    }
}

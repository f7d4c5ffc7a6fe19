//! Gates that need nobody, and what stands before each.

use std::sync::Arc;

use async_trait::async_trait;
use upgrade_core::model::ProbeName;
use upgrade_core::ports::{Answer, AskBefore, Gate, ProbeAnswer, Question};
use upgrade_core::run::failure::OnFailure;

use crate::holder;
use crate::probes::{self, Probes};

/// Pauses at every question: nobody has said "go on". What a run has without a gate.
#[derive(Clone, Copy, Debug, Default)]
pub struct PauseAlways;

#[async_trait]
impl Gate for PauseAlways {
    async fn ask(&self, _question: &Question) -> Answer {
        Answer::Pause
    }
}

/// Goes on at every question: whoever started the run has said so beforehand.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContinueAlways;

#[async_trait]
impl Gate for ContinueAlways {
    async fn ask(&self, _question: &Question) -> Answer {
        Answer::Continue
    }
}

/// Stands before a gate: it knows before what is to be asked, the one answer that was given beforehand,
/// and how the probes of the configuration are asked.
pub(crate) struct Doorkeeper {
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) before: AskBefore,
    /// The id of the question whose answer is "go on".
    pub(crate) approved: Option<String>,
    pub(crate) on_failure: Option<OnFailure>,
    /// Those that the configuration says how to ask; the gate knows others.
    pub(crate) probes: Probes,
}

#[async_trait]
impl Gate for Doorkeeper {
    async fn ask(&self, question: &Question) -> Answer {
        if self.approved.as_ref() == Some(&question.id) {
            return Answer::Continue;
        }
        self.gate.ask(question).await
    }

    fn asks_before(&self) -> AskBefore {
        self.before.max(self.gate.asks_before())
    }

    fn on_failure(&self) -> Option<OnFailure> {
        self.on_failure.or_else(|| self.gate.on_failure())
    }

    fn answers_for(&self) -> String {
        holder::person()
    }

    async fn probe(&self, probe: &ProbeName) -> ProbeAnswer {
        match self.probes.ask(probe).await {
            Some(answer) => answer,
            None => probes::cleaned(self.gate.probe(probe).await),
        }
    }

    fn more_probes(&self) -> Vec<ProbeName> {
        self.gate.more_probes()
    }
}

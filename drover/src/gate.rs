//! Gates that need nobody.

use async_trait::async_trait;
use upgrade_core::ports::{Answer, Gate, Question};

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

//! The person at the terminal as the run's gate.

use async_trait::async_trait;
use upgrade_core::ports::{Answer, Gate, Question};

use super::console::Console;
use crate::report::{Page, Tone};

/// Asks on the terminal. Where nobody can be asked, every question pauses the run.
pub(super) struct TerminalGate {
    console: Console,
}

impl TerminalGate {
    pub(super) fn new(console: Console) -> Self {
        Self { console }
    }
}

#[async_trait]
impl Gate for TerminalGate {
    async fn ask(&self, question: &Question) -> Answer {
        let mut page = Page::default();
        page.paragraph(0, "question: ", Tone::Warn, &question.text);
        if self.console.ask(&page, "Go on?").await { Answer::Continue } else { Answer::Pause }
    }
}

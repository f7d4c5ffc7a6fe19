//! What came of a request to stop a run.

use super::{Page, Tone};
use crate::abort::AbortReport;
use crate::report::{ask_words, outcome_words};

/// What came of it, how the run has ended, and what was open then.
pub fn abort(report: &AbortReport) -> Page {
    let mut page = Page::default();
    let tone = if report.exit_code() == 0 { Tone::Good } else { Tone::Bad };
    page.line(0).put(Tone::Strong, format!("Run {}", report.run)).plain(":");
    page.paragraph(2, "", tone, ask_words(&report.end));
    if let Some(outcome) = &report.outcome {
        page.paragraph(2, "journal  ", Tone::Plain, outcome_words(outcome));
    }
    if !report.open_writes.is_empty() {
        page.heading("Writes without an answer; the next process observes what they did");
        for write in &report.open_writes {
            page.paragraph(2, "", Tone::Warn, write);
        }
    }
    page
}

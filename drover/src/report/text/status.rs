//! Where a run stands.

use upgrade_core::event::RunOutcome;

use super::{Page, Tone};
use crate::report::page::Column;
use crate::report::{RunStatus, StageState, count, outcome_words, took};

/// Where a run stands, as its journal tells.
pub fn status(status: &RunStatus) -> Page {
    let mut page = Page::default();
    page.line(0).put(Tone::Strong, format!("Run {}", status.run)).plain(format!(
        ": {} from {} to {}, plan {}",
        status.cluster, status.from, status.target, status.plan
    ));
    let (tone, state) = match &status.outcome {
        None => (Tone::Warn, "being worked on, or its process was killed".to_owned()),
        Some(outcome) => {
            let tone = match outcome {
                RunOutcome::Done => Tone::Good,
                RunOutcome::Aborted | RunOutcome::Paused { .. } => Tone::Warn,
                RunOutcome::Held { .. }
                | RunOutcome::Reversed { .. }
                | RunOutcome::IdentityLost { .. }
                | RunOutcome::Locked { .. } => Tone::Bad,
            };
            (tone, outcome_words(outcome))
        }
    };
    page.paragraph(2, "state        ", tone, state);
    if status.given_up {
        page.paragraph(2, "             ", Tone::Warn, "given up: it cannot be resumed; make a new plan");
    }
    page.line(2).plain(format!("stages       {} of {} finished", status.finished(), status.stages.len()));
    page.line(2).plain(format!("work         {}", took(status.worked_ms)));
    page.line(2).plain(format!("last record  {:.0}", status.last_record));
    page.heading("Stages");
    let rows: Vec<_> = status
        .stages
        .iter()
        .map(|stage| {
            let (tone, state) = match stage.state {
                StageState::Waiting => (Tone::Faint, "to come".to_owned()),
                StageState::Begun { done, steps } => {
                    (Tone::Warn, format!("{done} of {}", count(steps, "step", "steps")))
                }
                StageState::Finished { duration_ms } => (Tone::Good, took(duration_ms)),
            };
            vec![(Tone::Faint, stage.number.to_string()), (Tone::Plain, stage.title.clone()), (tone, state)]
        })
        .collect();
    page.table(2, &[Column::right(""), Column::left("stage"), Column::right("")], &rows);
    if !status.open_writes.is_empty() {
        page.heading("Writes without an answer; the next process observes what they did");
        for write in &status.open_writes {
            page.paragraph(2, "", Tone::Warn, write);
        }
    }
    if !status.loans.is_empty() {
        page.heading("Borrowed of workloads, and not surely given back");
        for loan in &status.loans {
            page.paragraph(2, "", Tone::Warn, loan);
        }
    }
    if !status.ledger.is_empty() {
        page.blank();
        page.append(super::ledger(&status.ledger));
    }
    page
}

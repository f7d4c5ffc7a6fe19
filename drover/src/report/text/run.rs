//! How a run ended, with the proof.

use upgrade_core::event::{Report, RunOutcome};
use upgrade_core::ledger::ServiceRecord;

use super::{Page, Tone};
use crate::report::page::Column;
use crate::report::{downtime, exact, proof, took};

/// How a run ended: outcome, stages with their durations, what it still holds, the ledger and the proof.
pub fn report(report: &Report) -> Page {
    let mut page = Page::default();
    outcome(&mut page, report);
    if !report.stages.is_empty() {
        page.heading("Stages");
        let rows = report.stages.iter().map(|stage| {
            let (tone, took) = match stage.duration_ms {
                Some(ms) => (Tone::Plain, took(ms)),
                None => (Tone::Warn, "not finished".to_owned()),
            };
            vec![(Tone::Faint, stage.number.to_string()), (Tone::Plain, stage.title.clone()), (tone, took)]
        });
        let rows: Vec<_> = rows.collect();
        page.table(2, &[Column::right(""), Column::left("stage"), Column::right("took")], &rows);
    }
    if !report.ledger.is_empty() {
        page.blank();
        page.append(ledger(&report.ledger));
    }
    page.blank();
    let tone = if downtime(report).1 == 0 { Tone::Good } else { Tone::Bad };
    page.line(0).put(tone, proof(report));
    page
}

fn outcome(page: &mut Page, report: &Report) {
    let (word, tone) = match &report.outcome {
        RunOutcome::Done => ("done", Tone::Good),
        RunOutcome::Held { .. } => ("held", Tone::Bad),
        RunOutcome::Reversed { .. } => ("failed, and brought back", Tone::Bad),
        RunOutcome::Paused { .. } => ("paused", Tone::Warn),
        RunOutcome::Aborted => ("stopped at a safe point", Tone::Warn),
        RunOutcome::IdentityLost { .. } => ("stopped: not the cluster the plan is for", Tone::Bad),
        RunOutcome::Locked { .. } => ("refused: somebody else works on the cluster", Tone::Bad),
    };
    page.line(0).put(Tone::Strong, format!("Run {}", report.run)).plain(": ").put(tone, word).plain(format!(
        "; {} from {} to {}, {} of work",
        report.cluster,
        report.from,
        report.target,
        took(report.duration_ms)
    ));
    match &report.outcome {
        RunOutcome::Done | RunOutcome::Aborted => {}
        RunOutcome::Held { step, title, cause } => {
            page.paragraph(2, "step   ", Tone::Plain, format!("{step}: {title}"));
            page.paragraph(2, "cause  ", Tone::Bad, cause);
        }
        RunOutcome::Reversed { step, title, cause, stays } => {
            page.paragraph(2, "step   ", Tone::Plain, format!("{step}: {title}"));
            page.paragraph(2, "cause  ", Tone::Bad, cause);
            if !stays.is_empty() {
                page.paragraph(2, "stays  ", Tone::Warn, stays.join(", "));
            }
        }
        RunOutcome::Paused { question } => page.paragraph(2, "asks   ", Tone::Warn, &question.text),
        RunOutcome::IdentityLost { why } => page.paragraph(2, "cause  ", Tone::Bad, why),
        RunOutcome::Locked { by } => page.paragraph(2, "locked ", Tone::Bad, format!("by {by}")),
    }
    for (index, loan) in report.holding.iter().enumerate() {
        page.paragraph(2, if index == 0 { "holds  " } else { "       " }, Tone::Warn, loan);
    }
    if report.holding.is_empty() && !report.outcome.is_done() {
        page.line(2).plain("holds  nothing: no buffer, no cordon");
    }
}

/// The ledger as a table: for each Service the ready endpoints at the start, the fewest, at the end, and its gaps.
pub fn ledger(records: &[ServiceRecord]) -> Page {
    let mut page = Page::default();
    page.line(0)
        .put(Tone::Strong, "Ledger")
        .plain(": ready endpoints of each Service, as its EndpointSlices told");
    let mut rows = Vec::new();
    for record in records {
        let tone = if record.gaps.is_empty() { Tone::Plain } else { Tone::Bad };
        let gaps = if record.gaps.is_empty() { "none".to_owned() } else { record.gaps.len().to_string() };
        rows.push(vec![
            (Tone::Plain, record.service.to_string()),
            (Tone::Plain, record.start.to_string()),
            (tone, record.fewest.to_string()),
            (Tone::Plain, record.now.to_string()),
            (tone, gaps),
        ]);
    }
    let columns = [
        Column::left("service"),
        Column::right("start"),
        Column::right("fewest"),
        Column::right("end"),
        Column::right("gaps"),
    ];
    page.table(2, &columns, &rows);
    let gaps: Vec<_> = records.iter().flat_map(|record| &record.gaps).collect();
    if !gaps.is_empty() {
        page.heading("Gaps");
    }
    for gap in gaps {
        let lasted = gap.end.map_or_else(|| "not over".to_owned(), |end| exact(gap.millis(end)));
        let accepted = if gap.accepted { ", accepted" } else { "" };
        let tone = if gap.accepted { Tone::Warn } else { Tone::Bad };
        page.line(2)
            .put(Tone::Strong, &gap.service)
            .put(tone, format!("  {lasted}{accepted}"))
            .plain(format!(", from {:.0}", gap.begin));
        page.paragraph(4, "during ", Tone::Faint, &gap.cause);
    }
    page
}

//! Markdown for pull requests and pipeline summaries: the verdict first, tables, the long part folded away.

use std::fmt::{Display, Write as _};

use cluster_lab::Forecast;
use upgrade_core::event::{Report, RunOutcome};
use upgrade_core::finding::Finding;
use upgrade_core::inventory::Inventory;
use upgrade_core::ledger::ServiceRecord;
use upgrade_core::leftovers::LeftBehind;
use upgrade_core::plan::Plan;

use super::clean::clean;
use super::page::Page;
use super::status::{RunStatus, StageState};
use super::{ask_words, count, exact, leftover_kind, outcome_words, proof, tally, text, took, usage_words};
use crate::abort::AbortReport;

/// Text as part of a paragraph or of a table's cell: nothing in it is markup.
fn plain(text: impl Display) -> String {
    let text = text.to_string();
    let mut out = String::with_capacity(text.len());
    for c in clean(&text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// A name, set as code. Inside of code nothing can be escaped, so a backtick becomes a quote.
fn code(name: impl Display) -> String {
    let name = name.to_string();
    format!("`{}`", clean(&name).replace('`', "'").replace('|', "/"))
}

fn table(out: &mut String, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let line = |out: &mut String, cells: &[String]| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    };
    line(out, &head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    line(out, &vec!["---".to_owned(); head.len()]);
    for row in rows {
        line(out, &row);
    }
}

/// A page of text, folded away under a title.
fn folded(out: &mut String, title: &str, page: &Page) {
    // Four backticks: no line of a page begins with a fence of its own, since names have no backticks and messages are indented
    // behind a word; a longer fence costs nothing.
    let _ = write!(out, "\n<details><summary>{title}</summary>\n\n````text\n{page}````\n\n</details>\n");
}

/// Every finding, as a table.
pub fn findings(cluster: &str, findings: &[Finding]) -> String {
    let verdict = if findings.iter().any(Finding::blocks) { "blocked" } else { "nothing stands in the way" };
    let mut out = format!("# {}: {verdict}\n\nFindings: {}\n", code(cluster), tally(findings));
    findings_table(&mut out, findings);
    out
}

fn findings_table(out: &mut String, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    out.push('\n');
    let rows = findings.iter().map(|finding| {
        let (severity, remedy) = match &finding.accepted {
            Some(reason) => ("accepted".to_owned(), format!("accepted: {}", plain(reason))),
            None => (finding.severity.to_string(), plain(&finding.remedy)),
        };
        vec![severity, code(&finding.code), code(&finding.object), plain(&finding.message), remedy]
    });
    table(out, &["severity", "code", "object", "what", "remedy"], rows);
}

/// A plan: verdict, findings, stages, and the whole text folded away.
pub fn plan(plan: &Plan) -> String {
    let cluster = code(&plan.cluster.name);
    let mut out = if plan.is_empty() {
        format!("# {cluster}: nothing to do, everything runs {}\n", plan.target)
    } else {
        let stages = count(plan.stages.len(), "stage", "stages");
        format!("# {cluster}: {} to {} in {stages}\n", plan.from, plan.target)
    };
    let _ = write!(
        out,
        "\nPlan {} for Rancher {} and Azure {}.\nFindings: {}\n",
        code(plan.hash()),
        code(&plan.cluster.rancher_id),
        code(&plan.cluster.arm_id),
        tally(&plan.findings)
    );
    findings_table(&mut out, &plan.findings);
    if plan.is_empty() {
        return out;
    }
    if let Some(words) = text::reverses(plan) {
        let _ = write!(out, "\nA failure can be reversed {}.\n", plain(words));
    }
    out.push('\n');
    let rows = plan
        .stages
        .iter()
        .map(|stage| vec![stage.number.to_string(), plain(&stage.title), stage.steps().count().to_string()]);
    table(&mut out, &["", "stage", "steps"], rows);
    folded(&mut out, "The whole plan", &text::plan(plan));
    out
}

/// What rehearsals say of a plan: verdict, stages, the Services that lost their endpoints.
pub fn forecast(plan: &Plan, forecast: &Forecast) -> String {
    let mut out = format!(
        "# {}: {} to {}, {} of {} done\n\n",
        code(&plan.cluster.name),
        plan.from,
        plan.target,
        forecast.completed,
        count(forecast.runs as usize, "rehearsal", "rehearsals")
    );
    let stages = forecast.stages.iter().map(|stage| {
        let times = [stage.duration_ms.median, stage.duration_ms.p95, stage.duration_ms.max].map(took);
        [stage.number.to_string(), plain(&stage.title)].into_iter().chain(times).collect()
    });
    table(&mut out, &["", "stage", "median", "p95", "longest"], stages);
    if forecast.completed > 0 {
        let _ = write!(out, "\n{}.\n", usage_words(&forecast.usage));
    }
    let gaps: Vec<_> = forecast.services.iter().filter(|service| service.runs_with_gap > 0).collect();
    if gaps.is_empty() {
        let services = count(forecast.services.len(), "Service", "Services");
        let _ = write!(out, "\n**0 s without ready endpoints in any rehearsal, over {services}.**\n");
    } else {
        out.push('\n');
        let rows = gaps.iter().map(|service| {
            vec![code(&service.service), service.runs_with_gap.to_string(), exact(service.longest_gap_ms)]
        });
        table(&mut out, &["service", "rehearsals with a gap", "longest"], rows);
    }
    if !forecast.failures.is_empty() {
        out.push('\n');
    }
    for failure in &forecast.failures {
        let _ = writeln!(out, "- seed {}: {}", failure.seed, plain(outcome_words(&failure.outcome)));
    }
    out
}

/// How a run ended: verdict, stages with durations, ledger.
pub fn report(report: &Report) -> String {
    let cluster = code(&report.cluster);
    let verdict = match &report.outcome {
        RunOutcome::Done => "done".to_owned(),
        RunOutcome::Held { .. } => "held".to_owned(),
        RunOutcome::Reversed { .. } => "failed, and brought back".to_owned(),
        RunOutcome::Paused { .. } => "paused".to_owned(),
        RunOutcome::Aborted => "stopped at a safe point".to_owned(),
        RunOutcome::IdentityLost { .. } => "stopped, not the cluster the plan is for".to_owned(),
        RunOutcome::Locked { .. } => "refused, somebody else works on the cluster".to_owned(),
    };
    let mut out = format!(
        "# {cluster}: {} to {} {verdict}\n\n**{}.** Run {}, {} of work.\n",
        report.from,
        report.target,
        plain(proof(report)),
        code(&report.run),
        took(report.duration_ms)
    );
    match &report.outcome {
        RunOutcome::Done | RunOutcome::Aborted => {}
        RunOutcome::Held { step, title, cause } => {
            let _ = write!(out, "\nStep {} ({}) failed: {}\n", code(step), plain(title), plain(cause));
        }
        RunOutcome::Reversed { step, title, cause, stays } => {
            let _ = write!(out, "\nStep {} ({}) failed: {}\n", code(step), plain(title), plain(cause));
            if !stays.is_empty() {
                let _ = write!(
                    out,
                    "\nThe workloads were brought back. What stays: {}.\n",
                    plain(stays.join(", "))
                );
            }
        }
        RunOutcome::Paused { question } => {
            let _ = write!(out, "\nIt asks: {}\n", plain(&question.text));
        }
        RunOutcome::IdentityLost { why } => {
            let _ = write!(out, "\nWhat does not agree: {}\n", plain(why));
        }
        RunOutcome::Locked { by } => {
            let _ = write!(out, "\nThe cluster is locked by {}\n", code(by.to_string()));
        }
    }
    if !report.holding.is_empty() {
        out.push_str("\nIt holds:\n\n");
        for loan in &report.holding {
            let _ = writeln!(out, "- {}", plain(loan));
        }
    }
    out.push('\n');
    let stages = report.stages.iter().map(|stage| {
        let took = stage.duration_ms.map_or_else(|| "not finished".to_owned(), took);
        vec![stage.number.to_string(), plain(&stage.title), took]
    });
    table(&mut out, &["", "stage", "took"], stages);
    ledger(&mut out, &report.ledger);
    out
}

fn ledger(out: &mut String, records: &[ServiceRecord]) {
    if records.is_empty() {
        return;
    }
    out.push('\n');
    let rows = records.iter().map(|record| {
        let gaps = record.gaps.iter().map(|gap| {
            let lasted = gap.end.map_or_else(|| "not over".to_owned(), |end| exact(gap.millis(end)));
            let accepted = if gap.accepted { ", accepted" } else { "" };
            format!("{lasted}{accepted}: {}", plain(&gap.cause))
        });
        let gaps: Vec<String> = gaps.collect();
        let gaps = if gaps.is_empty() { "none".to_owned() } else { gaps.join("; ") };
        let numbers = [record.start, record.fewest, record.now].map(|n| n.to_string());
        [code(&record.service)].into_iter().chain(numbers).chain([gaps]).collect()
    });
    table(out, &["service", "start", "fewest", "end", "gaps"], rows);
}

/// Where a run stands.
pub fn status(status: &RunStatus) -> String {
    let mut out = format!(
        "# {}: {} to {}, {} of {} stages finished\n\n",
        code(&status.cluster),
        status.from,
        status.target,
        status.finished(),
        status.stages.len()
    );
    let rows = status.stages.iter().map(|stage| {
        let state = match stage.state {
            StageState::Waiting => "to come".to_owned(),
            StageState::Begun { done, steps } => format!("{done} of {}", count(steps, "step", "steps")),
            StageState::Finished { duration_ms } => took(duration_ms),
        };
        vec![stage.number.to_string(), plain(&stage.title), state]
    });
    table(&mut out, &["", "stage", "state"], rows);
    folded(&mut out, "The whole status", &text::status(status));
    out
}

/// What runs have left on a cluster.
pub fn leftovers(left_behind: &LeftBehind) -> String {
    let left = &left_behind.left;
    let mut out =
        format!("# {}: {} left\n", code(&left_behind.cluster), count(left.len(), "thing", "things"));
    if !left.is_empty() {
        out.push('\n');
        let rows = left.iter().map(|left| {
            let run = left.run.as_ref().map_or_else(|| "not known".to_owned(), code);
            let by_hand =
                left.obstacle.as_ref().map(|why| format!("{}: {}", plain(why), code(&left.by_hand)));
            let what = leftover_kind(left.kind).to_owned();
            vec![what, code(&left.object), plain(&left.detail), run, by_hand.unwrap_or_default()]
        });
        table(&mut out, &["what", "name", "is", "run", "by hand only"], rows);
    }
    folded(&mut out, "All of it", &text::leftovers(left_behind));
    out
}

/// What came of a request to stop a run.
pub fn abort(report: &AbortReport) -> String {
    let mut out = format!("# Run {}: {}\n", code(&report.run), plain(ask_words(&report.end)));
    if let Some(outcome) = &report.outcome {
        let _ = writeln!(out, "\n{}", plain(outcome_words(outcome)));
    }
    if !report.open_writes.is_empty() {
        out.push('\n');
        table(
            &mut out,
            &["write without an answer"],
            report.open_writes.iter().map(|write| vec![plain(write)]),
        );
    }
    out
}

/// An inventory in numbers.
pub fn inventory(inventory: &Inventory) -> String {
    let mut out = format!("# {}: {}\n\n", code(&inventory.identity.name), inventory.cluster.version);
    let rows = inventory.pools.iter().map(|pool| {
        vec![code(&pool.name), pool.version.to_string(), pool.count.to_string(), plain(&pool.vm_size)]
    });
    table(&mut out, &["pool", "version", "nodes", "size"], rows);
    folded(&mut out, "What was seen", &text::inventory(inventory));
    out
}

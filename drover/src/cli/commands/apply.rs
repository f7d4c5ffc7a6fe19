//! `apply` and `resume`: a run, from its beginning or from its journal, to its end.

use upgrade_core::event::{Report, RunOutcome};

use super::Session;
use crate::apply::Apply;
use crate::cli::args::{self, Output};
use crate::cli::console::Console;
use crate::cli::failure::{Failure, exit};
use crate::cli::follow::follow;
use crate::cli::gate::TerminalGate;
use crate::cluster::Cluster;
use crate::error::{Error, exit_code};
use crate::files::PlanFile;
use crate::journal::{RunPlace, RunSelector};
use crate::report::{Page, Tone, count, junit, markdown, text};

pub(super) async fn apply(session: &mut Session, args: &args::Apply) -> Result<u8, Failure> {
    let plan = PlanFile::load(&args.plan)?;
    let cluster = session.connect(&plan.plan.cluster.name).await?;
    if !args.yes && !plan.plan.is_empty() && session.console.is_interactive() {
        let begin = session.console.ask(&summary(&plan), "Begin?").await;
        if !begin {
            session.console.note("not begun; nothing was changed");
            return Ok(exit::ABORTED);
        }
    }
    let apply = cluster
        .apply(plan)
        .journal(args.journal.journal.clone())
        .ask_before(args.approve.into())
        .on_failure(args.on_failure.into());
    let (report, journal) = execute(session, &cluster, apply).await?;
    Ok(conclude(session, &report, &journal))
}

pub(super) async fn resume(session: &mut Session, args: &args::Resume) -> Result<u8, Failure> {
    let journal = session.journal(&args.run, &args.journal).await?;
    let state = session.signals.or_leave(journal.load()).await?;
    let Some(plan) = state.plan() else {
        return Err(Failure::usage("the journal holds no plan", "name another run"));
    };
    if state.is_done() {
        session.console.note("the run is done; there is nothing to go on with");
        return Ok(exit::DONE);
    }
    if state.is_over() {
        let hint = "mend the cause, and make a new plan";
        return Err(Failure::usage("the run failed and brought everything back; it is over", hint));
    }
    let cluster = session.connect(&plan.cluster.name).await?;
    let mut apply = cluster.resume(RunSelector::Place(journal.place()));
    if let Some(question) = &args.approve {
        apply = apply.approve(question);
    }
    if let Some(then) = args.on_failure {
        apply = apply.on_failure(then.into());
    }
    let (report, journal) = execute(session, &cluster, apply).await?;
    Ok(conclude(session, &report, &journal))
}

/// What somebody should have read before saying yes.
fn summary(file: &PlanFile) -> Page {
    let plan = &file.plan;
    let mut page = Page::default();
    page.line(0).put(Tone::Strong, &plan.cluster.name).plain(format!(
        ": {} to {} in {} stages, plan {}",
        plan.from,
        plan.target,
        plan.stages.len(),
        plan.hash()
    ));
    page.line(2).plain("Rancher        ").plain(&plan.cluster.rancher_id);
    page.line(2).plain("Azure          ").plain(&plan.cluster.arm_id);
    let gaps: Vec<String> = plan.accepted_gaps.iter().map(ToString::to_string).collect();
    match gaps[..] {
        [] => page.line(2).plain("accepted gaps  none"),
        _ => page.line(2).plain("accepted gaps  ").put(Tone::Warn, gaps.join(", ")),
    };
    page
}

/// Starts a run and follows it to its end. Until it has started, the first Ctrl-C leaves; then it stops the run.
pub(super) async fn execute(
    session: &mut Session,
    cluster: &Cluster,
    apply: Apply,
) -> Result<(Report, RunPlace), Failure> {
    let apply = apply.gate(TerminalGate::new(session.console.clone()));
    let started = session.signals.or_leave(apply.start()).await;
    let run = started.inspect_err(|failure| show_findings(session, failure))?;
    let journal = run.journal().clone();
    session.console.note(format!("journal: {journal}"));
    let report = follow(&session.console, &mut session.signals, || cluster.now(), run).await?;
    Ok((report, journal))
}

/// Findings that keep a run from starting are worth reading; stdout belongs to the run's own data.
fn show_findings(session: &Session, failure: &Failure) {
    if let Failure::Library(error) = failure
        && let Error::Blocked { findings } = error.as_ref()
    {
        session.console.say(&text::findings(findings));
    }
}

/// Shows how a run ended, and says what to do about it.
fn conclude(session: &Session, report: &Report, journal: &RunPlace) -> u8 {
    show(&session.console, report);
    if let Some(page) = parting(report, &session.resume_command(journal)) {
        session.console.say(&page);
    }
    exit_code(report)
}

/// How a run ended, in the form that was asked for.
pub(super) fn show(console: &Console, report: &Report) {
    match console.output() {
        Output::Text => console.page(&text::report(report)),
        // The last event of the stream has said it all.
        Output::Json => {}
        Output::Markdown => console.data(&markdown::report(report)),
        Output::Junit => console.data(&junit::report(report)),
    }
}

/// The last words on stderr for a run that is not done: what it is in, what it holds, and which command goes on.
fn parting(report: &Report, resume: &str) -> Option<Page> {
    let (lead, tone, message, when) = match &report.outcome {
        RunOutcome::Done => return None,
        RunOutcome::Held { step, title, cause } => (
            "error: ",
            Tone::Bad,
            format!("step {step} ({title}) failed: {cause}; the run holds"),
            "mend the cause, then go on with",
        ),
        RunOutcome::Reversed { step, title, cause, stays } => {
            let mut page = Page::default();
            let stays = if stays.is_empty() { String::new() } else { format!("; {}", stays.join(", ")) };
            let message =
                format!("step {step} ({title}) failed: {cause}; everything else was brought back{stays}");
            page.paragraph(0, "error: ", Tone::Bad, message);
            page.paragraph(0, "state: ", Tone::Plain, state(report));
            page.paragraph(0, "hint: ", Tone::Plain, "mend the cause, and make a new plan");
            return Some(page);
        }
        RunOutcome::Paused { question } => {
            ("paused: ", Tone::Warn, question.text.clone(), "when it may go on, say so with")
        }
        RunOutcome::Aborted => {
            ("stopped: ", Tone::Warn, "at a safe point, as was asked".to_owned(), "go on with")
        }
        RunOutcome::IdentityLost { why } => (
            "error: ",
            Tone::Bad,
            format!("this is not, or no longer, the cluster that the plan is for: {why}"),
            "nothing was written after that was seen; when it is explained, go on with",
        ),
        RunOutcome::Locked { by } => (
            "error: ",
            Tone::Bad,
            format!("somebody else works on the cluster: it is locked by {by}; nothing was changed"),
            "when that run has ended, go on with",
        ),
    };
    let mut page = Page::default();
    page.paragraph(0, lead, tone, message);
    page.paragraph(0, "state: ", Tone::Plain, state(report));
    page.paragraph(0, "hint: ", Tone::Plain, when);
    // On a line of its own, never broken: it is there to be copied.
    let answer = match &report.outcome {
        RunOutcome::Paused { question } => format!(" --approve {}", question.id),
        _ => String::new(),
    };
    page.line(6).put(Tone::Strong, format!("{resume}{answer}"));
    Some(page)
}

/// The cluster's state as far as the run knows it, in one sentence.
fn state(report: &Report) -> String {
    let finished = report.stages.iter().filter(|stage| stage.duration_ms.is_some()).count();
    let open = report.stages.iter().find(|stage| stage.duration_ms.is_none());
    let finished = count(finished, "stage", "stages");
    let stages = match open {
        Some(stage) => format!("{finished} finished, stage {} ({}) under way", stage.number, stage.title),
        None => format!("{finished} finished, none half done"),
    };
    if report.holding.is_empty() {
        format!("{stages}; nothing is held")
    } else {
        format!("{stages}; held: {}", report.holding.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use upgrade_core::lock::LockHolder;
    use upgrade_core::model::RunId;

    use super::*;
    use crate::report::test_support as fixed;

    #[test]
    fn a_run_that_is_not_done_says_what_it_holds_and_how_to_go_on() {
        let aborted = Report { outcome: RunOutcome::Aborted, ..fixed::held() };
        let lost =
            Report { outcome: RunOutcome::IdentityLost { why: "ARM id is x".into() }, ..fixed::done() };
        let by = LockHolder {
            holder: "ann:build-7:4711:0badcafe".into(),
            since: Some("2026-11-24T23:05:09Z".parse().unwrap()),
            run: Some(RunId::new("shop-acc-1").unwrap()),
        };
        let locked = Report { outcome: RunOutcome::Locked { by }, ..fixed::done() };
        let pages: Vec<String> = [fixed::done(), fixed::held(), fixed::paused(), aborted, lost, locked]
            .iter()
            .filter_map(|report| parting(report, "aks-drover resume journal/r-1.jsonl"))
            .map(|page| page.to_string())
            .collect();
        assert_snapshot!("parting", pages.join("\n"));
    }
}

//! `abort`: asks a run to stop that another process works on.

use upgrade_core::event::RunOutcome;
use upgrade_core::journal::RunState;
use upgrade_core::lock::AskEnd;
use upgrade_core::model::RunId;
use upgrade_core::span;

use super::{Session, word};
use crate::abort::AbortReport;
use crate::cli::args::{self, Output};
use crate::cli::failure::{Failure, exit};
use crate::journal::{RunJournal, RunPlace, RunSelector};
use crate::report::{Page, Tone, json, markdown, text};

pub(super) async fn abort(session: &mut Session, args: &args::Abort) -> Result<u8, Failure> {
    if session.common.output == Output::Junit {
        return Err(Failure::usage(
            "what came of `abort` has no JUnit form",
            "use --output text, json or markdown",
        ));
    }
    let named = named(session, args).await?;
    if named.state.as_ref().is_some_and(RunState::is_done) {
        session.console.note("the run is done; there is nothing to stop");
        return Ok(exit::DONE);
    }
    let cluster = session.connect(&named.cluster).await?;
    let mut abort = cluster.abort(named.run.clone()).at_once(args.now).wait(args.wait);
    if let Some(plan) = named.state.as_ref().and_then(RunState::plan) {
        abort = abort.for_plan_of(&plan.cluster)?;
    }
    session.console.note(format!(
        "asking {} to stop {}; waiting for at most {} then",
        named.run,
        if args.now { "at once" } else { "at a safe point" },
        span::show(abort.waits())
    ));
    let console = session.console.clone();
    let asked = abort.perform(|progress| console.note(progress.to_string()));
    let end = session.signals.or_leave(asked).await?;
    // Read once more: it tells how the run has ended.
    let state = match &named.journal {
        Some(journal) => journal.load().await.ok(),
        None => None,
    };
    let report = AbortReport::new(named.run.clone(), end, state.as_ref());
    match session.console.output() {
        Output::Text | Output::Junit => session.console.page(&text::abort(&report)),
        Output::Json => session.console.data(&json::abort(&report)),
        Output::Markdown => session.console.data(&markdown::abort(&report)),
    }
    if let Some(page) = hint(session, &named, &report) {
        session.console.say(&page);
    }
    Ok(report.exit_code())
}

/// The run that is meant, with what can be read of it from here.
struct Named {
    run: RunId,
    cluster: String,
    journal: Option<RunJournal>,
    state: Option<RunState>,
}

/// Finds out which run on which cluster is meant. The journal may be out of reach: it is the other agent's.
async fn named(session: &mut Session, args: &args::Abort) -> Result<Named, Failure> {
    let id = match &args.run {
        RunSelector::Id(run) | RunSelector::Place(RunPlace::Blobs { run, .. }) => Some(run.clone()),
        RunSelector::Place(RunPlace::File(_)) => None,
    };
    let read = match session.journal(&args.run, &args.journal).await {
        Ok(journal) => session.signals.or_leave(journal.load()).await.map(|state| (journal, state)),
        Err(failure) => Err(failure),
    };
    let (journal, state) = match (read, &id) {
        (Ok((journal, state)), _) => (Some(journal), Some(state)),
        (Err(Failure::Library(error)), Some(_)) => {
            session.console.note(format!("going on without the run's journal: {error}"));
            (None, None)
        }
        (Err(failure), _) => return Err(failure),
    };
    let run = state.as_ref().and_then(RunState::run).cloned().or(id);
    let Some(run) = run else {
        return Err(Failure::usage("the journal holds no run", "name another run"));
    };
    let planned = state.as_ref().and_then(RunState::plan).map(|plan| plan.cluster.name.clone());
    let cluster = match args.cluster.clone().or(planned) {
        Some(cluster) => cluster,
        None => by_id(session, &run)?,
    };
    Ok(Named { run, cluster, journal, state })
}

/// The one cluster whose name the run's id bears.
fn by_id(session: &Session, run: &RunId) -> Result<String, Failure> {
    let fleet = session.fleet()?;
    let clusters: Vec<&str> = fleet.clusters_of(run).collect();
    match clusters[..] {
        [only] => Ok(only.to_owned()),
        _ => Err(Failure::usage(
            format!("{run} does not say which cluster of the configuration it is on"),
            "name it with --cluster",
        )),
    }
}

/// What to do next, if there is something to do.
fn hint(session: &Session, named: &Named, report: &AbortReport) -> Option<Page> {
    let place = named.journal.as_ref().map(RunJournal::place);
    let resume = match &place {
        Some(place) => session.resume_command(place),
        None => format!("aks-drover resume {} (where its journal is)", named.run),
    };
    let clean = format!("aks-drover leftovers {} --clean", word(named.cluster.clone()));
    let goes_on = ("go on with it, or have what it holds given back", vec![resume, clean]);
    let (text, commands) = match &report.end {
        AskEnd::NobodyWorks | AskEnd::LetGo if report.outcome == Some(RunOutcome::Done) => return None,
        AskEnd::NobodyWorks if report.outcome.is_none() && place.is_none() => return None,
        AskEnd::NobodyWorks | AskEnd::LetGo | AskEnd::Dead(_) | AskEnd::FellSilent(_) => goes_on,
        AskEnd::AnotherRun(holder) => {
            let run = holder.run.as_ref()?;
            ("to stop that one", vec![format!("aks-drover abort {run}")])
        }
        AskEnd::Deaf(_) => {
            ("press Ctrl-C where it works, or send SIGTERM to its process; it stops at a safe point", vec![])
        }
        AskEnd::StillAtWork(_) => (
            "it stops when the action in hand has ended; to stop it at once",
            vec![format!("aks-drover abort {} --now", named.run)],
        ),
    };
    let mut page = Page::default();
    page.paragraph(0, "hint: ", Tone::Plain, text);
    for command in commands {
        page.line(6).put(Tone::Strong, command);
    }
    Some(page)
}

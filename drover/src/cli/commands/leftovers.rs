//! `leftovers`: what runs have left on a cluster, and giving it back.

use upgrade_core::leftovers::LeftBehind;
use upgrade_core::run::stop_signal;

use super::Session;
use crate::cli::args::{self, Output};
use crate::cli::failure::{Failure, exit};
use crate::error::Error;
use crate::leftovers::{CleanReport, Leftovers};
use crate::report::{json, markdown, text};

pub(super) async fn leftovers(session: &mut Session, args: &args::Leftovers) -> Result<u8, Failure> {
    if session.common.output == Output::Junit {
        return Err(Failure::usage("leftovers have no JUnit form", "use --output text, json or markdown"));
    }
    let cluster = session.connect(&args.cluster).await?;
    let leftovers = cluster.leftovers().journal(args.journal.journal.clone());
    if args.clean {
        return clean(session, args, &leftovers).await;
    }
    let left_behind = find(session, args, &leftovers).await?;
    match session.console.output() {
        Output::Text | Output::Junit => session.console.page(&text::leftovers(&left_behind)),
        Output::Json => session.console.data(&json::leftovers(&left_behind)),
        Output::Markdown => session.console.data(&markdown::leftovers(&left_behind)),
    }
    Ok(exit::DONE)
}

async fn find(
    session: &mut Session,
    args: &args::Leftovers,
    leftovers: &Leftovers,
) -> Result<LeftBehind, Failure> {
    let console = session.console.clone();
    let tell = |text: &str| console.note(text);
    session.read(format!("looking at {}", args.cluster), leftovers.find(&tell)).await
}

async fn clean(session: &mut Session, args: &args::Leftovers, leftovers: &Leftovers) -> Result<u8, Failure> {
    if !args.yes && session.console.is_interactive() {
        let left_behind = find(session, args, leftovers).await?;
        if let Some(by) = left_behind.at_work {
            return Err(Error::Locked { by }.into());
        }
        let begin =
            session.console.ask(&text::leftovers(&left_behind), "Give it back, and the runs up?").await;
        if !begin {
            session.console.note("not begun; nothing was changed");
            return Ok(exit::ABORTED);
        }
    }
    let Some(report) = give_back(session, leftovers).await? else {
        session.console.note("stopped at once; what was open is in the run's journal");
        return Ok(exit::ABORTED);
    };
    match session.console.output() {
        Output::Text | Output::Junit => {
            let mut page = text::leftovers(&report.rest);
            page.append(text::written(&report.written));
            session.console.page(&page);
        }
        Output::Json => session.console.data(&json::leftovers(&report)),
        Output::Markdown => session.console.data(&markdown::leftovers(&report.rest)),
    }
    Ok(report.exit_code())
}

/// Gives it back. The first Ctrl-C stops before the next write, the second leaves at once; the journals know what was open.
async fn give_back(session: &mut Session, leftovers: &Leftovers) -> Result<Option<CleanReport>, Failure> {
    let console = session.console.clone();
    let tell = |text: &str| console.note(text);
    let (handle, mut stop) = stop_signal();
    let mut work = Box::pin(leftovers.clean(&mut stop, &tell));
    let mut asked = false;
    loop {
        tokio::select! {
            report = &mut work => return Ok(Some(report?)),
            () = session.signals.next() => {
                if asked {
                    return Ok(None);
                }
                asked = true;
                handle.stop();
                session.console.note("stopping before the next write; once more stops at once");
            }
        }
    }
}

//! `status`: where a run stands, from its journal alone.

use super::Session;
use crate::cli::args::{Output, Status};
use crate::cli::failure::{Failure, exit};
use crate::report::{RunStatus, json, junit, markdown, text};

pub(super) async fn status(session: &mut Session, args: &Status) -> Result<u8, Failure> {
    let journal = session.journal(&args.run, &args.journal).await?;
    let place = journal.place();
    let state = session.signals.or_leave(journal.load()).await?;
    // `load` refuses a journal without a header, and one with a header has a status.
    let Some(status) = RunStatus::of(&state) else {
        return Err(Failure::usage(format!("{place} holds no run"), "name another run"));
    };
    let console = &session.console;
    match console.output() {
        Output::Text => console.page(&text::status(&status)),
        Output::Json => console.data(&json::status(&status)),
        Output::Markdown => console.data(&markdown::status(&status)),
        Output::Junit => console.data(&junit::status(&status)),
    }
    if !state.is_over() {
        console.note(format!("go on with: {}", session.resume_command(&place)));
    }
    Ok(exit::DONE)
}

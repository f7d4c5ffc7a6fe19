//! `plan`: findings, plan, forecast.

use super::{Session, check, quoted};
use crate::cli::args::{Output, Plan};
use crate::cli::console::Console;
use crate::cli::failure::{Failure, exit};
use crate::error::Error;
use crate::files::PlanFile;
use crate::report::{json, junit, markdown, text};

pub(super) async fn plan(session: &mut Session, args: &Plan) -> Result<u8, Failure> {
    let cluster = session.connect(&args.cluster).await?;
    let planned = session.read(format!("reading {}", args.cluster), cluster.plan(args.to.to)).await;
    let file = match planned {
        Ok(file) => file,
        Err(failure) => {
            if let Failure::Library(error) = &failure
                && let Error::Blocked { findings } = error.as_ref()
            {
                check::show(&session.console, cluster.identity(), args.to.to, findings);
            }
            return Err(failure);
        }
    };
    show(&session.console, &file);
    if let Some(path) = &args.out {
        file.save(path)?;
        session.console.note(format!("wrote {}", quoted(path)));
    }
    Ok(exit::DONE)
}

/// The plan in the form that was asked for.
pub(super) fn show(console: &Console, file: &PlanFile) {
    let plan = &file.plan;
    match console.output() {
        Output::Text => console.page(&text::plan(plan)),
        Output::Json => console.data(&json::plan(plan)),
        Output::Markdown => console.data(&markdown::plan(plan)),
        Output::Junit => console.data(&junit::findings(&plan.cluster.name, &plan.findings)),
    }
}

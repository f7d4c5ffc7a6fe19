//! `plan`: findings, plan, forecast.

use std::time::Duration;

use cluster_lab::Forecast;
use cluster_lab::RehearseOptions;
use jiff::Timestamp;
use upgrade_core::finding::Finding;

use super::{Session, check, quoted, rehearse};
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
    let options = RehearseOptions { runs: args.runs, seed: 1, ..RehearseOptions::default() };
    let forecast = rehearse::forecast(session, &file, None, options).await?;
    if let Some(finding) = forecast.as_ref().and_then(|forecast| outlived(&file, forecast, cluster.now())) {
        let findings = vec![finding];
        check::show(&session.console, cluster.identity(), args.to.to, &findings);
        return Err(Error::Blocked { findings }.into());
    }
    show(&session.console, &file, forecast.as_ref());
    if let Some(path) = &args.out {
        file.save(path)?;
        session.console.note(format!("wrote {}", quoted(path)));
    }
    Ok(exit::DONE)
}

/// What the rehearsals showed to take longer than the token lives, where that is not accepted.
fn outlived(file: &PlanFile, forecast: &Forecast, now: Timestamp) -> Option<Finding> {
    let longest = Duration::from_millis(forecast.duration_ms.max);
    upgrade_core::check::token_outlived(&file.inventory, &file.plan.policy, now, longest)
        .filter(Finding::blocks)
}

/// Plan and forecast in the form that was asked for.
pub(super) fn show(console: &Console, file: &PlanFile, forecast: Option<&Forecast>) {
    let plan = &file.plan;
    match console.output() {
        Output::Text => {
            let mut page = text::plan(plan);
            if let Some(forecast) = forecast {
                page.blank();
                page.append(text::forecast(forecast));
            }
            console.page(&page);
        }
        Output::Json => console.data(&json::plan(plan, forecast)),
        Output::Markdown => {
            console.data(&markdown::plan(plan));
            if let Some(forecast) = forecast {
                console.data("\n");
                console.data(&markdown::forecast(plan, forecast));
            }
        }
        Output::Junit => console.data(&junit::findings(&plan.cluster.name, &plan.findings)),
    }
}

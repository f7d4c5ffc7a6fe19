//! `rehearse`: a plan in a simulated copy of its cluster, in virtual time. Contacts nothing.

use std::fs;
use std::path::Path;

use cluster_lab::{Forecast, Lab, RehearseOptions, Scenario, TimingChanges, TimingModel};
use upgrade_core::Policy;
use upgrade_core::inventory::Inventory;
use upgrade_core::model::VersionRequest;
use upgrade_core::plan::PlanError;

use super::{Session, check};
use crate::cli::args::{Output, Rehearse};
use crate::cli::console::Console;
use crate::cli::failure::{Failure, exit};
use crate::cli::scenario::ScenarioName;
use crate::error::Error;
use crate::files::{PlanFile, SnapshotFile};
use crate::fleet::Fleet;
use crate::report::{json, junit, markdown, text};
use crate::timing::timing_file;

pub(super) async fn rehearse(session: &mut Session, args: &Rehearse) -> Result<u8, Failure> {
    let story = scenario(&args.file).map(|name| name.story()).transpose()?;
    let file = match (&story, is_snapshot(&args.file), args.to) {
        (Some(story), _, to) => {
            session.console.note(&story.text);
            let inventory = Lab::new(&story.scenario, args.seed).inventory();
            planned_by(session, &story.policy, inventory, to.unwrap_or(story.to))?
        }
        (None, true, Some(to)) => planned(session, SnapshotFile::load(&args.file)?.inventory, to)?,
        (None, true, None) => {
            return Err(Failure::usage(
                format!("{} is a snapshot: it says nothing of a version", args.file.display()),
                "say which version to plan for, as in `--to 1.36`",
            ));
        }
        (None, false, None) => PlanFile::load(&args.file)?,
        (None, false, Some(_)) => {
            return Err(Failure::usage(
                format!("{} is not a snapshot, and a plan has its version already", args.file.display()),
                "leave out --to, or give a snapshot file",
            ));
        }
    };
    let learnt = learnt(session, args, &file).await?;
    let own = args.timing.as_ref().map(timing_file).transpose()?.unwrap_or_default();
    let timing = TimingModel::default().with(&learnt).with(&own);
    let options = RehearseOptions { runs: args.runs, seed: args.seed, timing };
    let world = story.map(|story| story.scenario);
    let Some(forecast) = forecast(session, &file, world, options).await? else { return Ok(exit::DONE) };
    if args.learn_from.is_some() && session.console.output() == Output::Text {
        session.console.page(&text::learnt(&learnt));
    }
    show(&session.console, &file, &forecast);
    Ok(if forecast.completed == forecast.runs { exit::DONE } else { exit::FAILED })
}

/// What the run that was named shows of how long Azure takes.
async fn learnt(session: &mut Session, args: &Rehearse, file: &PlanFile) -> Result<TimingChanges, Failure> {
    let Some(run) = &args.learn_from else { return Ok(TimingChanges::default()) };
    let journal = session.journal(run, &args.journal).await?;
    let records = session.signals.or_leave(journal.records()).await?;
    Ok(TimingChanges::learnt(&records, &file.inventory, &TimingModel::default()))
}

/// The scenario, if that is what is named: a YAML file, or one of the lab's where there is no file of that name.
fn scenario(path: &Path) -> Option<ScenarioName> {
    let name = path.to_str().and_then(|text| text.parse().ok())?;
    match name {
        ScenarioName::Known(_) if path.exists() => None,
        name => Some(name),
    }
}

/// Does the file hold an inventory and no plan? Whatever is wrong with it is said by whoever reads it next.
fn is_snapshot(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    json.get("inventory").is_some() && json.get("plan").is_none()
}

/// Plans from a snapshot, with the policy of a configuration that was named, else with the default one.
fn planned(session: &Session, inventory: Inventory, to: VersionRequest) -> Result<PlanFile, Failure> {
    let policy = match &session.common.config {
        Some(config) => Fleet::from_file(config)?.policy(&inventory.identity.name)?,
        None => Policy::default(),
    };
    planned_by(session, &policy, inventory, to)
}

fn planned_by(
    session: &Session,
    policy: &Policy,
    inventory: Inventory,
    to: VersionRequest,
) -> Result<PlanFile, Failure> {
    match upgrade_core::plan(&inventory, policy, to) {
        Ok(plan) => Ok(PlanFile::new(plan, inventory)),
        Err(PlanError::Blocked(findings)) => {
            check::show(&session.console, &inventory.identity, to, &findings);
            Err(Error::Blocked { findings }.into())
        }
        Err(error) => Err(Error::NoPlan(error).into()),
    }
}

/// Rehearses a plan on a thread of its own, so that Ctrl-C is heard: in worlds of the scenario, if there is one, else in copies of
/// the cluster. `None` if there is nothing to rehearse.
pub(super) async fn forecast(
    session: &mut Session,
    file: &PlanFile,
    scenario: Option<Scenario>,
    options: RehearseOptions,
) -> Result<Option<Forecast>, Failure> {
    if options.runs == 0 || file.plan.is_empty() {
        return Ok(None);
    }
    session.console.note(format!("rehearsing {} times", options.runs));
    let (plan, inventory) = (file.plan.clone(), file.inventory.clone());
    let work = tokio::task::spawn_blocking(move || match &scenario {
        Some(scenario) => cluster_lab::rehearse_scenario(scenario, &plan, &options),
        None => cluster_lab::rehearse(&inventory, &plan, &options),
    });
    tokio::select! {
        forecast = work => forecast.map(Some).map_err(|error| Failure::Ground {
            message: "the rehearsal ended unexpectedly".to_owned(),
            source: std::io::Error::other(error),
        }),
        () = session.signals.next() => Err(Failure::Interrupted),
    }
}

fn show(console: &Console, file: &PlanFile, forecast: &Forecast) {
    match console.output() {
        Output::Text => console.page(&text::forecast(forecast)),
        Output::Json => console.data(&json::forecast(forecast)),
        Output::Markdown => console.data(&markdown::forecast(&file.plan, forecast)),
        Output::Junit => console.data(&junit::forecast(&file.plan, forecast)),
    }
}

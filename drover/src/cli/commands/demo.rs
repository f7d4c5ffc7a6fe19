//! `demo`: an upgrade from end to end on an embedded lab, over real HTTP through the real clients, with the proof.

use std::time::Duration;

use cluster_lab::RehearseOptions;
use tokio::time::Instant;
use upgrade_core::event::Report;
use upgrade_core::span;

use super::{Session, apply, plan, rehearse};
use crate::cli::args::{Demo, Output};
use crate::cli::embedded::{Embedded, Wish};
use crate::cli::failure::Failure;
use crate::cli::scenario::{DEMO_TARGET, ScenarioName};
use crate::error::exit_code;
use crate::fleet::Fleet;
use crate::report::Page;

/// How many times the demo rehearses its plan: enough for a forecast with a spread, little enough not to wait for.
const REHEARSALS: u32 = 2;

pub(super) async fn demo(session: &mut Session, args: &Demo) -> Result<u8, Failure> {
    let begun = Instant::now();
    let story = ScenarioName::Known("demo".to_owned()).story()?;
    let wish = Wish { story: &story, seed: args.seed, port: 0, time_scale: args.time_scale, dir: None };
    let lab = Embedded::serve(&wish)?;
    session.console.note(format!(
        "a simulated Rancher, Kubernetes and Azure at http://{}, {} times real time",
        lab.server.address(),
        args.time_scale
    ));
    let fleet = Fleet::from_file(&lab.config)?.with_clock(lab.lab.clock());
    let cluster = session.read(format!("connecting to {}", lab.cluster), fleet.connect(&lab.cluster)).await?;
    let target = DEMO_TARGET;
    let file = session.read(format!("reading {}", lab.cluster), cluster.plan(target)).await?;
    let options = RehearseOptions { runs: REHEARSALS, seed: args.seed, ..RehearseOptions::default() };
    let forecast = rehearse::forecast(session, &file, None, options).await?;
    if session.console.output() == Output::Text {
        plan::show(&session.console, &file, forecast.as_ref());
        session.console.data("\n");
    }
    let run = cluster.apply(file).journal(lab.dir.join("journal"));
    let (report, _) = apply::execute(session, &cluster, run).await?;
    // No hint about `resume`: the cluster and the journal are gone with the demo.
    apply::show(&session.console, &report);
    session.console.say(&farewell(&report, begun.elapsed()));
    Ok(exit_code(&report))
}

fn farewell(report: &Report, here: Duration) -> Page {
    let mut page = Page::default();
    let there = span::show(Duration::from_millis(report.duration_ms));
    page.line(0).plain(format!("{there} of the cluster's time, {} on this machine", span::show(here)));
    page
}

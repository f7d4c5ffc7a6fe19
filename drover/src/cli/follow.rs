//! Following a run to its end: events to stdout or stderr, signals to the run.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};
use upgrade_core::event::{Event, EventKind, Report};

use super::args::Output;
use super::console::Console;
use super::signals::Signals;
use super::view::{Scene, View};
use crate::error::Error;
use crate::report::{Page, Tone, json, text};
use crate::run::Run;

/// A log is quiet for so long at most while the run goes on: build agents end jobs that say nothing for long.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// How often the elapsed time is drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// How much an event matters to somebody who reads along.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Not told by itself.
    Nothing,
    /// One of many.
    Step,
    /// A part of the plan.
    Stage,
    /// Whoever reads nothing else reads this.
    Alarm,
}

fn weight(kind: &EventKind) -> Weight {
    match kind {
        EventKind::GapOpened { .. }
        | EventKind::GapClosed { .. }
        | EventKind::Warning { .. }
        | EventKind::ProbeAnswered { green: false, .. }
        | EventKind::Asked { .. } => Weight::Alarm,
        EventKind::RunStarted { .. } | EventKind::StageFinished { .. } => Weight::Stage,
        EventKind::StageStarted { .. }
        | EventKind::StepStarted { .. }
        | EventKind::StepFinished { .. }
        | EventKind::ImagePulled { .. }
        | EventKind::ProbeAnswered { green: true, .. }
        | EventKind::WriteAnswered { ok: false, .. } => Weight::Step,
        EventKind::IdentityProven { .. }
        | EventKind::WriteStarted { .. }
        | EventKind::WriteAnswered { ok: true, .. }
        | EventKind::Progress { .. }
        | EventKind::RunEnded { .. }
        | EventKind::Unknown => Weight::Nothing,
    }
}

/// Follows a run to its end. The first signal asks it to stop at a safe point, the next at once.
pub(super) async fn follow(
    console: &Console,
    signals: &mut Signals,
    now: impl Fn() -> Timestamp,
    mut run: Run,
) -> Result<Report, Error> {
    let told = if console.is_quiet() {
        Weight::Alarm
    } else if console.is_live() {
        Weight::Stage
    } else {
        Weight::Step
    };
    if console.output() == Output::Json {
        console.data(&json::stream_version());
    }
    let stop = run.stop_handle();
    let view = console.is_live().then(|| View::new(console.view()));
    let (mut scene, mut asked_to_stop, mut last_line) = (Scene::default(), false, Instant::now());
    loop {
        let wake = if view.is_some() { Instant::now() + TICK } else { last_line + HEARTBEAT };
        tokio::select! {
            event = run.next() => {
                let Some(event) = event else { break };
                scene.take_in(&event);
                if tell(console, &event, scene.stages(), told) {
                    last_line = Instant::now();
                }
            }
            () = signals.next() => {
                stop.stop();
                say_stopping(console, asked_to_stop);
                asked_to_stop = true;
            }
            () = sleep_until(wake) => {
                if view.is_none() {
                    last_line = Instant::now();
                    scene.heartbeat().into_iter().for_each(|line| console.note(line));
                }
            }
        }
        if let Some(view) = &view {
            view.draw(&scene, now());
        }
    }
    drop(view);
    run.finish().await
}

/// Tells of an event what the reader wants to know. Was anything said on stderr?
fn tell(console: &Console, event: &Event, stages: u32, told: Weight) -> bool {
    if console.output() == Output::Json {
        console.data(&json::event(event));
    }
    let weight = weight(&event.kind);
    let says = weight != Weight::Nothing && weight >= told;
    if says {
        console.say(&text::event(event, stages));
    }
    says
}

fn say_stopping(console: &Console, again: bool) {
    let mut page = Page::default();
    let text = if again {
        "stopping at once; what is open is in the journal"
    } else {
        "stopping at a safe point; once more (Ctrl-C or SIGTERM) stops at once"
    };
    page.line(0).put(Tone::Warn, text);
    console.say(&page);
}

//! One event as lines of a log.

use jiff::tz::TimeZone;
use upgrade_core::event::{Event, EventKind, StepOutcome};
use upgrade_core::ledger::Gap;

use super::{Page, Tone};
use crate::report::{count, exact, took};

/// What a log says of an event; nothing for progress, which would drown the rest, for single writes, which are in the journal,
/// and for the end, which has a report of its own. `stages` is how many stages the plan has.
pub fn event(event: &Event, stages: u32) -> Page {
    let mut page = Page::default();
    let time = event.at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string();
    let mut say = |indent: usize, tone: Tone, text: String| {
        let lead = format!("{time}  {}", " ".repeat(indent));
        page.paragraph(0, &lead, tone, text);
    };
    match &event.kind {
        EventKind::RunStarted { cluster, target, stages, resumed, .. } => {
            let how = if *resumed { "taken up again" } else { "started" };
            let stages = count(*stages as usize, "stage", "stages");
            say(0, Tone::Strong, format!("run {} {how}: {cluster} to {target}, {stages}", event.run));
        }
        EventKind::StageStarted { stage, title } => {
            say(0, Tone::Strong, format!("stage {}: {title}", numbered(*stage, stages)));
        }
        EventKind::StageFinished { stage, duration_ms } => {
            say(
                0,
                Tone::Good,
                format!("stage {} finished in {}", numbered(*stage, stages), took(*duration_ms)),
            );
        }
        EventKind::StepStarted { step, title } => say(2, Tone::Plain, format!("{step} {title}")),
        EventKind::StepFinished { step, outcome } => match outcome {
            StepOutcome::Done { message } => say(2, Tone::Plain, format!("{step} done: {message}")),
            StepOutcome::AlreadySo { message } => {
                say(2, Tone::Plain, format!("{step} already so: {message}"));
            }
        },
        EventKind::WriteAnswered { step, what, answer, ok: false } => {
            say(2, Tone::Warn, format!("{step} {what}: {answer}"));
        }
        EventKind::ImagePulled { step, node, image, bytes, duration_ms } => {
            let size = bytes.map(|bytes| format!(" ({} MiB)", bytes >> 20)).unwrap_or_default();
            let text = format!("{step} pulled {image}{size} onto {node} in {}", exact(*duration_ms));
            say(2, Tone::Plain, text);
        }
        EventKind::GapOpened { gap } => {
            let accepted = if gap.accepted { " (accepted)" } else { "" };
            let text = format!("gap: {} has no ready endpoint{accepted}, during {}", gap.service, gap.cause);
            say(0, tone(gap), text);
        }
        EventKind::GapClosed { gap } => {
            let lasted = exact(gap.millis(event.at));
            say(
                0,
                tone(gap),
                format!("gap closed: {} has a ready endpoint again after {lasted}", gap.service),
            );
        }
        EventKind::Warning { message } => say(0, Tone::Warn, format!("warning: {message}")),
        EventKind::Asked { question } => say(0, Tone::Warn, format!("question: {}", question.text)),
        EventKind::IdentityProven { .. }
        | EventKind::WriteStarted { .. }
        | EventKind::WriteAnswered { ok: true, .. }
        | EventKind::Progress { .. }
        | EventKind::RunEnded { .. }
        | EventKind::Unknown => {}
    }
    page
}

fn tone(gap: &Gap) -> Tone {
    if gap.accepted { Tone::Warn } else { Tone::Bad }
}

/// A stage's number; those of the way back come after the plan's.
fn numbered(stage: u32, stages: u32) -> String {
    if stage > stages { stage.to_string() } else { format!("{stage} of {stages}") }
}

//! The live view: four lines at the bottom of a terminal that say where a run stands.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;
use upgrade_core::event::{Event, EventKind};
use upgrade_core::model::StepId;

use crate::report::{clean, took};

/// How many characters the bar has between its brackets.
const BAR: usize = 24;

/// Where a run stands, as its events tell.
#[derive(Debug, Default)]
pub(super) struct Scene {
    stages: u32,
    stage: Option<(u32, String)>,
    /// Steps under way, the oldest first.
    steps: Vec<(StepId, String)>,
    progress: Option<(u32, u32, String)>,
    waiting_for: Vec<String>,
    began: Option<Timestamp>,
}

impl Scene {
    pub(super) fn take_in(&mut self, event: &Event) {
        if self.began.is_none() {
            let elapsed = std::time::Duration::from_millis(event.elapsed_ms);
            self.began = event.at.checked_sub(elapsed).ok();
        }
        match &event.kind {
            EventKind::RunStarted { stages, .. } => self.stages = *stages,
            EventKind::StageStarted { stage, title } => {
                self.stage = Some((*stage, title.clone()));
                self.steps.clear();
                self.progress = None;
                self.waiting_for.clear();
            }
            EventKind::StepStarted { step, title } => {
                self.steps.retain(|(id, _)| id != step);
                self.steps.push((step.clone(), title.clone()));
            }
            EventKind::StepFinished { step, .. } => self.steps.retain(|(id, _)| id != step),
            EventKind::Progress { done, total, unit, waiting_for, .. } => {
                self.progress = Some((*done, *total, unit.clone()));
                self.waiting_for.clone_from(waiting_for);
            }
            EventKind::IdentityProven { .. }
            | EventKind::StageFinished { .. }
            | EventKind::WriteStarted { .. }
            | EventKind::WriteAnswered { .. }
            | EventKind::ImagePulled { .. }
            | EventKind::GapOpened { .. }
            | EventKind::GapClosed { .. }
            | EventKind::Warning { .. }
            | EventKind::Asked { .. }
            | EventKind::RunEnded { .. }
            | EventKind::Unknown => {}
        }
    }

    /// How many stages the plan has.
    pub(super) fn stages(&self) -> u32 {
        self.stages
    }

    /// What a line in a log says while nothing else happens.
    pub(super) fn heartbeat(&self) -> Option<String> {
        let (stage, title) = self.stage.as_ref()?;
        let progress =
            self.progress.as_ref().map(|(done, total, unit)| format!(", {done} of {total} {unit}"));
        let waits = self.waiting_for.first().map(|what| format!("; waits for {what}"));
        Some(format!(
            "still at stage {stage} of {}: {title}{}{}",
            self.stages,
            progress.unwrap_or_default(),
            waits.unwrap_or_default()
        ))
    }

    /// The view's four lines.
    pub(super) fn lines(&self, now: Timestamp) -> [String; 4] {
        let elapsed =
            self.began.map_or(0, |began| u64::try_from(now.duration_since(began).as_millis()).unwrap_or(0));
        let stage = match &self.stage {
            Some((number, title)) if *number > self.stages => format!("stage {number}  {title}"),
            Some((number, title)) => format!("stage {number} of {}  {title}", self.stages),
            None => "before the first stage".to_owned(),
        };
        let bar = match &self.progress {
            Some((done, total, unit)) => format!("{}  {done} of {total} {unit}", bar(*done, *total)),
            None => bar(0, 0),
        };
        let step = match &self.steps[..] {
            [] => String::new(),
            [(id, title)] => format!("step  {id} {title}"),
            [(id, title), others @ ..] => format!("step  {id} {title}, and {} more", others.len()),
        };
        let waits = match &self.waiting_for[..] {
            [] => String::new(),
            [what] => format!("waits for {what}"),
            [what, others @ ..] => format!("waits for {what}, and {} more", others.len()),
        };
        [stage, format!("{bar}  elapsed {}", took(elapsed)), step, waits]
            .map(|line| clean(&line).into_owned())
    }
}

fn bar(done: u32, total: u32) -> String {
    let share = |n: usize| n * done.min(total) as usize / total.max(1) as usize;
    let full = share(BAR);
    format!("[{}{}]", "=".repeat(full), ".".repeat(BAR - full))
}

/// The scene on a terminal.
pub(super) struct View {
    lines: [ProgressBar; 4],
}

impl View {
    pub(super) fn new(on: &MultiProgress) -> Self {
        // `wide_msg` cuts a line at the edge of the terminal; the template is a constant.
        let style = || ProgressStyle::with_template("{wide_msg}").expect("a valid template");
        let lines = std::array::from_fn(|_| on.add(ProgressBar::new_spinner().with_style(style())));
        Self { lines }
    }

    pub(super) fn draw(&self, scene: &Scene, now: Timestamp) {
        for (line, text) in self.lines.iter().zip(scene.lines(now)) {
            line.set_message(text);
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        for line in &self.lines {
            line.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use upgrade_core::model::RunId;

    use super::*;

    fn scene(kinds: Vec<EventKind>) -> Scene {
        let mut scene = Scene::default();
        for (second, kind) in (0_u64..).zip(kinds) {
            let at = Timestamp::from_second(1000).unwrap() + std::time::Duration::from_secs(second);
            let run = RunId::new("r").unwrap();
            scene.take_in(&Event { seq: second + 1, at, elapsed_ms: second * 1000, run, kind });
        }
        scene
    }

    fn step(id: &str) -> StepId {
        StepId::new(id).unwrap()
    }

    #[test]
    fn the_view_says_where_the_run_stands_and_what_it_waits_for() {
        let started = |id: &str, title: &str| EventKind::StepStarted { step: step(id), title: title.into() };
        let outcome = upgrade_core::event::StepOutcome::Done { message: String::new() };
        let scene = scene(vec![
            EventKind::RunStarted {
                cluster: "shop".into(),
                target: "1.35.3".parse().unwrap(),
                plan: String::new(),
                stages: 17,
                resumed: false,
            },
            EventKind::StageStarted { stage: 11, title: "user: move onto userbf".into() },
            started("11.1.1", "move Deployment shop/cart off user by restart"),
            started("11.2.1", "move Deployment shop/web off user by restart"),
            started("11.3.1", "move StatefulSet data/db off user by eviction"),
            EventKind::StepFinished { step: step("11.1.1"), outcome },
            EventKind::Progress {
                stage: 11,
                done: 10,
                total: 40,
                unit: "pods".into(),
                waiting_for: vec![
                    "Deployment shop/web: 2 of 4 \u{1b}[31mpods".into(),
                    "pod data/db-0 to end".into(),
                ],
            },
        ]);
        assert_eq!(
            scene.lines(Timestamp::from_second(1090).unwrap()),
            [
                "stage 11 of 17  user: move onto userbf",
                "[======..................]  10 of 40 pods  elapsed 1m 30s",
                "step  11.2.1 move Deployment shop/web off user by restart, and 1 more",
                "waits for Deployment shop/web: 2 of 4 [31mpods, and 1 more",
            ]
        );
        assert_eq!(
            scene.heartbeat().unwrap(),
            "still at stage 11 of 17: user: move onto userbf, 10 of 40 pods; waits for Deployment shop/web: 2 of 4 \u{1b}[31mpods"
        );
    }

    #[test]
    fn nothing_known_is_shown_as_nothing_known() {
        let lines = Scene::default().lines(Timestamp::UNIX_EPOCH);
        assert_eq!(lines, ["before the first stage", "[........................]  elapsed 0s", "", ""]);
        assert_eq!(bar(9, 3), format!("[{}]", "=".repeat(BAR)), "never more than full");
    }
}

//! Where a stage stands, for people.

use jiff::Timestamp;

use super::{Machine, Memory};
use crate::event::EventKind;
use crate::plan::Stage;

/// How many of the things that are waited for are told.
const MOST_WAITING: usize = 5;

impl Machine {
    pub(super) fn progress(&mut self, now: Timestamp, stage: &Stage) {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (done, total, unit) = if self.agenda.pools().next().is_some() {
            let left = self.agenda.pools().map(|pool| self.view.pods_to_move_from(pool)).sum();
            let left = count(left);
            self.moving_total = self.moving_total.max(left);
            (self.moving_total - left, self.moving_total, "pods")
        } else {
            let (done, all) = self.agenda.steps();
            (count(done), count(all), "steps")
        };
        let waiting = self.waiting(stage);
        // Most of the time it is what was told last.
        let same = |told: &EventKind| match told {
            EventKind::Progress { stage: number, done: d, total: t, unit: u, waiting_for } => {
                (*number, *d, *t, u.as_str()) == (stage.number, done, total, unit) && *waiting_for == waiting
            }
            _ => false,
        };
        if self.last_progress.as_ref().is_some_and(same) {
            return;
        }
        let waiting_for = waiting.into_iter().map(str::to_owned).collect();
        let progress =
            EventKind::Progress { stage: stage.number, done, total, unit: unit.to_owned(), waiting_for };
        self.last_progress = Some(progress.clone());
        self.emit(now, progress);
    }

    /// What is waited for and should come soon; if nothing is, the first of what takes its time.
    fn waiting(&self, stage: &Stage) -> Vec<&str> {
        let memory = |lane| self.steps.get(&self.agenda.open(stage, lane)?.id);
        let says = |memory: &&Memory| !memory.waiting_for.is_empty();
        let memories = || self.agenda.waiting().filter_map(memory).filter(says);
        let soon = memories().filter(|memory| memory.waiting_since.is_some());
        let mut waiting: Vec<&str> =
            soon.map(|memory| memory.waiting_for.as_str()).take(MOST_WAITING).collect();
        if waiting.is_empty() {
            waiting.extend(memories().next().map(|memory| memory.waiting_for.as_str()));
        }
        waiting
    }
}

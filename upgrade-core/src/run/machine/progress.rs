//! Where a stage stands, for people.

use jiff::Timestamp;

use super::{Machine, Memory};
use crate::event::EventKind;
use crate::plan::Stage;

/// How many of the things that are waited for are told.
const MOST_WAITING: usize = 5;

impl Machine {
    pub(super) fn progress(&mut self, now: Timestamp, stage: &Stage) {
        let memory = |lane| self.steps.get(&self.agenda.open(stage, lane)?.id);
        let said = |memory: &Memory| (!memory.waiting_for.is_empty()).then(|| memory.waiting_for.clone());
        let memories = || self.agenda.waiting().filter_map(memory);
        let waiting = memories().filter(|memory| memory.waiting_since.is_some());
        let mut waiting_for: Vec<String> = waiting.filter_map(said).take(MOST_WAITING).collect();
        if waiting_for.is_empty() {
            waiting_for = memories().find_map(said).into_iter().collect();
        }
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
        let progress =
            EventKind::Progress { stage: stage.number, done, total, unit: unit.to_owned(), waiting_for };
        if self.last_progress.as_ref() != Some(&progress) {
            self.last_progress = Some(progress.clone());
            self.emit(now, progress);
        }
    }
}

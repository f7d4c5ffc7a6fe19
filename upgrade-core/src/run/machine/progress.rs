//! Where a stage stands, for people.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Machine;
use crate::event::EventKind;
use crate::plan::{Action, Stage};

impl Machine {
    pub(super) fn progress(&mut self, now: Timestamp, stage: &Stage) {
        let open = self.open_steps(stage);
        let waiting = open.iter().filter_map(|step| self.steps.get(&step.id));
        let mut waiting_for: Vec<String> = waiting
            .filter(|m| m.waiting_since.is_some())
            .map(|m| m.waiting_for.clone())
            .filter(|w| !w.is_empty())
            .collect();
        if waiting_for.is_empty() {
            let patient =
                open.iter().filter_map(|step| self.steps.get(&step.id)).map(|m| m.waiting_for.clone());
            waiting_for = patient.filter(|what| !what.is_empty()).take(1).collect();
        }
        waiting_for.truncate(5);
        let moving = stage.steps().any(|step| matches!(step.action, Action::Move { .. }));
        let (done, total, unit) = if moving {
            let off: BTreeSet<_> = stage
                .steps()
                .filter_map(|s| if let Action::Move { off, .. } = &s.action { Some(off) } else { None })
                .collect();
            let left = off
                .iter()
                .flat_map(|pool| self.view.pods_in(pool))
                .filter(|pod| !pod.leaves_with_node())
                .count();
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            self.moving_total = self.moving_total.max(left);
            (self.moving_total - left, self.moving_total, "pods")
        } else {
            let all = stage.steps().count();
            let done = stage.steps().filter(|step| self.state.outcome(&step.id).is_some()).count();
            (u32::try_from(done).unwrap_or(u32::MAX), u32::try_from(all).unwrap_or(u32::MAX), "steps")
        };
        let progress =
            EventKind::Progress { stage: stage.number, done, total, unit: unit.to_owned(), waiting_for };
        if self.last_progress.as_ref() != Some(&progress) {
            self.last_progress = Some(progress.clone());
            self.emit(now, progress);
        }
    }
}

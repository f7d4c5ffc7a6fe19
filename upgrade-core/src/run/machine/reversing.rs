//! Turning back: a run that fails, and is to reverse, goes another way from there.

use std::sync::Arc;

use jiff::Timestamp;

use super::loans::Parting;
use super::second_writer::BufferSteps;
use super::{Machine, Phase};
use crate::event::{EventKind, RunOutcome};
use crate::journal::{Entry, RunState};
use crate::moves;
use crate::plan::{Action, Plan, Stage, reverse};
use crate::run::failure::OnFailure;

/// The plan with the way back behind its own stages, if the run has turned back.
pub(super) fn with_way_back(mut plan: Plan, state: &RunState) -> Plan {
    if let Some((_, way)) = state.reversal() {
        plan.stages.extend_from_slice(way);
    }
    plan
}

impl Machine {
    /// The hash of the plan that people have seen, without a way back.
    pub(super) fn plan_hash(&self) -> String {
        self.state.plan().unwrap_or(&self.plan).hash()
    }

    /// Turns back instead of ending like this, if that is wanted and possible; true if it does. Whatever a run gives back that
    /// holds was given back before.
    pub(super) fn turns_back(&mut self, now: Timestamp, outcome: &RunOutcome) -> bool {
        let RunOutcome::Held { step, title, cause } = self.with_what_is_owed(outcome.clone()) else {
            return false;
        };
        let wanted = self.state.on_failure() == OnFailure::Reverse && self.state.reversal().is_none();
        if !wanted || self.stops > 0 {
            return false;
        }
        let way = if self.may_write() {
            reverse(&self.plan, &self.state).map_err(|why| why.to_string())
        } else {
            Err("nothing may be written any more".to_owned())
        };
        let stages = match way {
            Ok(stages) => stages,
            Err(why) => {
                let message = format!("this failure is not reversed: {why}; the run holds");
                self.emit(now, EventKind::Warning { message });
                return false;
            }
        };
        let message = format!(
            "step {step} ({title}) failed: {cause}; the workloads are brought back, in {} stages",
            stages.len()
        );
        self.emit(now, EventKind::Warning { message });
        self.record(now, Entry::Reversing { step, title, cause, stages });
        let plan = with_way_back((*self.plan).clone(), &self.state);
        self.buffer_steps = BufferSteps::of(&plan);
        self.plan = Arc::new(plan);
        self.parting = Parting::default();
        self.next_stage();
        matches!(self.phase, Phase::Proving(_))
    }

    /// How a run ends that has come to the end of its way.
    pub(super) fn at_the_end(&self) -> RunOutcome {
        let Some((failed, back)) = self.state.reversal() else { return RunOutcome::Done };
        let forward = self.plan.steps().filter(|step| self.state.writes(&step.id) > 0);
        let stays = forward.filter_map(|step| match &step.action {
            Action::UpgradeControlPlane { to } => Some(format!("the control plane runs {to}")),
            Action::UpgradePool { pool, to } => Some(format!("pool {pool} runs {to}")),
            _ => None,
        });
        let moved = back.iter().flat_map(Stage::steps).filter_map(|step| match &step.action {
            Action::Move { workload, .. } => self.view.workload(workload),
            _ => None,
        });
        let weak = moved.filter(|workload| !workload.is_settled());
        let weak = weak.map(|workload| {
            format!("{} is not at strength: {}", workload.reference, moves::strength(workload))
        });
        RunOutcome::Reversed {
            step: failed.step.clone(),
            title: failed.title.clone(),
            cause: failed.cause.clone(),
            stays: stays.chain(weak).collect(),
        }
    }
}

//! Which record may follow on what is so.

use super::RunState;
use crate::journal::{Entry, FORMAT, Record, Write};
use crate::model::StepId;
use crate::plan::{Plan, Stage};

impl RunState {
    /// The rules. Every entry is named: a new kind of record must be thought about here.
    pub(super) fn check(&self, record: &Record) -> Result<(), String> {
        if record.seq != self.last_seq + 1 {
            return Err(format!("expected number {}", self.last_seq + 1));
        }
        let begun = self.run.is_some();
        match &record.entry {
            Entry::Header { format, .. } => {
                if begun {
                    return Err("a journal has one header".into());
                }
                format.check_readable_by(FORMAT).map_err(|error| error.to_string())
            }
            _ if !begun => Err("a journal begins with its header".into()),
            Entry::Opened if self.is_over() => Err("the run is over".into()),
            Entry::Opened => Ok(()),
            _ if self.opened_at.is_none() => Err("nobody has taken up the run".into()),
            _ if self.closed.is_some() => Err("the run is closed; it must be taken up first".into()),
            Entry::Intent { id, step, write } if self.given_up => self.check_return(*id, step, write),
            Entry::AsksBefore { .. }
            | Entry::OnFailure { .. }
            | Entry::Reversing { .. }
            | Entry::AsksProbes { .. }
            | Entry::Approved { .. }
            | Entry::StageStarted { .. }
            | Entry::StepFinished { .. }
            | Entry::StageFinished { .. }
                if self.given_up =>
            {
                Err("the run is given up".into())
            }
            Entry::AsksBefore { before } if *before < self.asks_before => {
                Err("what was to be asked is not asked any more".into())
            }
            Entry::Approved { plan, .. } => match self.plan.as_ref().map(Plan::hash) {
                Some(own) if own == *plan => Ok(()),
                own => {
                    Err(format!("the approval is for plan {plan}, and this is {}", own.unwrap_or_default()))
                }
            },
            Entry::Reversing { .. } if self.reversal.is_some() => Err("the run turns back already".into()),
            Entry::Reversing { stages, .. } => match stages.iter().flat_map(Stage::steps).next() {
                Some(step) if self.stage_of.contains_key(&step.id) => {
                    Err(format!("step {} is one of the plan's", step.id))
                }
                Some(_) => Ok(()),
                None => Err("a way back has steps".into()),
            },
            Entry::StageStarted { stage } => self.check_stage(*stage),
            Entry::Intent { id, step, .. } => {
                if self.intents.contains_key(id) {
                    return Err(format!("intent {id} exists"));
                }
                self.check_step(step)
            }
            Entry::Answered { id, .. } if self.open.contains(id) => Ok(()),
            Entry::Answered { id, .. } => Err(format!("there is no open intent {id}")),
            Entry::StepFinished { step, .. } => self.check_step(step),
            Entry::StageFinished { stage } => {
                let known =
                    self.stages_started.contains_key(stage) && !self.stages_finished.contains_key(stage);
                let unfinished = self.stage_steps(*stage).find(|step| !self.finished.contains_key(*step));
                match (known, unfinished) {
                    (false, _) => Err(format!("stage {stage} is not under way")),
                    (true, Some(step)) => Err(format!("step {step} is not finished")),
                    (true, None) => Ok(()),
                }
            }
            Entry::AsksBefore { .. }
            | Entry::AsksProbes { .. }
            | Entry::OnFailure { .. }
            | Entry::GivenUp { .. }
            | Entry::Closed { .. } => Ok(()),
        }
    }

    /// A run that is given up makes only writes that give back, for whichever of its steps.
    fn check_return(&self, id: u64, step: &StepId, write: &Write) -> Result<(), String> {
        if self.intents.contains_key(&id) {
            return Err(format!("intent {id} exists"));
        }
        if !self.stage_of.contains_key(step) {
            return Err(format!("the plan has no step {step}"));
        }
        if write.cleans_up() {
            Ok(())
        } else {
            Err("the run is given up, and this gives nothing back".into())
        }
    }

    fn stage_steps(&self, stage: u32) -> impl Iterator<Item = &StepId> {
        let stages = self.stages().iter().filter(move |s| s.number == stage);
        stages.flat_map(|s| s.steps().map(|step| &step.id))
    }

    fn check_stage(&self, stage: u32) -> Result<(), String> {
        let exists = self.stages().iter().any(|s| s.number == stage);
        let mut earlier = self.stages().iter().map(|s| s.number).filter(|n| *n < stage);
        let before = earlier.find(|n| !self.stages_finished.contains_key(n));
        match (exists, before) {
            (false, _) => Err(format!("there is no stage {stage} now")),
            (true, Some(n)) => Err(format!("stage {n} is not finished")),
            (true, None) if self.stages_finished.contains_key(&stage) => {
                Err(format!("stage {stage} is finished"))
            }
            (true, None) => Ok(()),
        }
    }

    fn check_step(&self, step: &StepId) -> Result<(), String> {
        if self.finished.contains_key(step) {
            return Err(format!("step {step} is finished"));
        }
        let stage = self.stage_of.get(step);
        let running = |stage: &u32| {
            self.stages_started.contains_key(stage) && !self.stages_finished.contains_key(stage)
        };
        if stage.is_some_and(running) {
            Ok(())
        } else {
            Err(format!("step {step} is not in a running stage"))
        }
    }
}

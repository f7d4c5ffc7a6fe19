//! The state of a run, as its journal tells it: the one transition function for recording and replay.

mod rules;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::cordons::{Cordoned, Cordons};
use super::loans::{Loan, Loans};
use super::{Entry, Record, Write, WriteAnswer};
use crate::event::{RunOutcome, StepOutcome};
use crate::ledger::ServiceRecord;
use crate::model::{NodeName, ObjectName, ProbeName, RunId, StepId, Uid};
use crate::plan::{Plan, Stage};
use crate::ports::{AskBefore, OperationRef};
use crate::run::failure::OnFailure;

/// A record that cannot follow what was there before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} ({what}) cannot follow record {after}: {rule}")]
pub struct IllegalRecord {
    /// The record.
    pub seq: u64,
    /// What it says.
    pub what: &'static str,
    /// The last legal record.
    pub after: u64,
    /// The rule it breaks.
    pub rule: String,
}

/// The failure that made a run turn back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The step that failed.
    pub step: StepId,
    /// What it was to ensure.
    pub title: String,
    /// Why it failed.
    pub cause: String,
}

/// The state of a run, as its journal tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunState {
    last_seq: u64,
    run: Option<RunId>,
    plan: Option<Plan>,
    /// The stage of each of the plan's steps.
    stage_of: HashMap<StepId, u32>,
    finished: HashMap<StepId, StepOutcome>,
    stages_started: BTreeMap<u32, Timestamp>,
    stages_finished: BTreeMap<u32, Timestamp>,
    intents: BTreeMap<u64, (StepId, Write)>,
    intents_of: HashMap<StepId, Vec<u64>>,
    open: BTreeSet<u64>,
    operations: BTreeMap<StepId, OperationRef>,
    restarted: BTreeSet<StepId>,
    /// Writes that surely were not done.
    refused: BTreeSet<u64>,
    /// Since when the nodes are surely kept out of external load balancers that the run has had taken out.
    excluded: BTreeMap<Uid, Timestamp>,
    cordons: Cordons,
    loans: Loans,
    /// Pods that pull images, surely made and not surely told to go: the numbers of their intents.
    made_pods: BTreeMap<ObjectName, u64>,
    /// Pods that pulled images and were surely told to go.
    deleted_pods: BTreeSet<Uid>,
    asks_before: AskBefore,
    on_failure: OnFailure,
    reversal: Option<Box<(Failed, Vec<Stage>)>>,
    more_probes: BTreeSet<ProbeName>,
    approved: BTreeSet<String>,
    given_up: bool,
    closed: Option<RunOutcome>,
    ledger: Vec<ServiceRecord>,
    opened_at: Option<Timestamp>,
    worked_ms: u64,
    last_at: Option<Timestamp>,
}

impl RunState {
    /// Reads a whole journal.
    pub fn replay(records: impl IntoIterator<Item = Record>) -> Result<Self, IllegalRecord> {
        let mut state = Self::default();
        for record in records {
            state.apply(&record)?;
        }
        Ok(state)
    }

    /// Takes in one record, or says why it is illegal and changes nothing.
    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalRecord> {
        let illegal = |rule: String| IllegalRecord {
            seq: record.seq,
            what: record.entry.name(),
            after: self.last_seq,
            rule,
        };
        self.check(record).map_err(illegal)?;
        match &record.entry {
            Entry::Header { run, plan, .. } => {
                self.run = Some(run.clone());
                self.stage_of = stage_of(&plan.stages).collect();
                self.plan = Some((**plan).clone());
            }
            Entry::Opened => {
                self.add_worked_time();
                self.opened_at = Some(record.at);
                self.closed = None;
            }
            Entry::AsksBefore { before } => self.asks_before = *before,
            Entry::OnFailure { then } => self.on_failure = *then,
            Entry::Reversing { step, title, cause, stages } => {
                self.stage_of.extend(stage_of(stages));
                let failed = Failed { step: step.clone(), title: title.clone(), cause: cause.clone() };
                self.reversal = Some(Box::new((failed, stages.clone())));
            }
            Entry::AsksProbes { probes } => self.more_probes.extend(probes.iter().cloned()),
            Entry::Approved { question, .. } => {
                self.approved.insert(question.clone());
            }
            Entry::StageStarted { stage } => {
                self.stages_started.entry(*stage).or_insert(record.at);
            }
            Entry::Intent { id, step, write } => {
                self.intents.insert(*id, (step.clone(), write.clone()));
                self.open.insert(*id);
                self.loans.announced(*id, step, write);
                if write.is_in_azure() {
                    // What an earlier write of the step had begun says nothing about this one.
                    self.operations.remove(step);
                }
                self.cordons.announced(*id, step, write);
                self.intents_of.entry(step.clone()).or_default().push(*id);
            }
            Entry::Answered { id, answer } => {
                self.open.remove(id);
                if let Some((step, write)) = self.intents.get(id) {
                    self.loans.answered(*id, step, write, answer);
                    self.cordons.answered(*id, write, answer);
                }
                match (answer, self.intents.get(id)) {
                    (WriteAnswer::Failed { .. }, _) => {
                        self.refused.insert(*id);
                    }
                    (WriteAnswer::Accepted { operation }, Some((step, _))) => {
                        self.operations.insert(step.clone(), operation.clone());
                    }
                    (WriteAnswer::Done, Some((step, Write::Restart { .. }))) => {
                        self.restarted.insert(step.clone());
                    }
                    (WriteAnswer::Done, Some((_, Write::CreatePrewarmPod { pod }))) => {
                        self.made_pods.insert(pod.name.clone(), *id);
                    }
                    (WriteAnswer::Done, Some((_, Write::DeletePrewarmPod { pod, uid }))) => {
                        self.made_pods.remove(pod);
                        self.deleted_pods.insert(uid.clone());
                    }
                    (WriteAnswer::Done, Some((_, Write::Exclude { uid, .. }))) => {
                        self.excluded.entry(uid.clone()).or_insert(record.at);
                    }
                    (WriteAnswer::Done, Some((_, Write::Include { uid, .. }))) => {
                        self.excluded.remove(uid);
                    }
                    _ => {}
                }
            }
            Entry::StepFinished { step, outcome } => {
                self.finished.insert(step.clone(), outcome.clone());
                self.operations.remove(step);
                self.loans.end(step);
            }
            Entry::StageFinished { stage } => {
                self.stages_finished.insert(*stage, record.at);
            }
            Entry::GivenUp { .. } => self.given_up = true,
            Entry::Closed { outcome, ledger } => {
                self.closed = Some(outcome.clone());
                self.ledger.clone_from(ledger);
            }
        }
        self.last_seq = record.seq;
        self.last_at = Some(record.at);
        Ok(())
    }

    /// The stages that the run goes through now: the plan's, or the way back.
    fn stages(&self) -> &[Stage] {
        let planned = self.plan.as_ref().map(|plan| plan.stages.as_slice()).unwrap_or_default();
        self.reversal.as_ref().map_or(planned, |reversal| &reversal.1)
    }

    fn add_worked_time(&mut self) {
        if let (Some(from), Some(to)) = (self.opened_at, self.last_at) {
            self.worked_ms += u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0);
        }
    }

    /// The number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.last_seq + 1
    }

    /// The number of the next intent.
    pub fn next_intent(&self) -> u64 {
        self.intents.keys().next_back().map_or(1, |last| last + 1)
    }

    /// The run, once there is a header.
    pub fn run(&self) -> Option<&RunId> {
        self.run.as_ref()
    }

    /// The plan, once there is a header.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// How a step ended; `None` if it has not.
    pub fn outcome(&self, step: &StepId) -> Option<&StepOutcome> {
        self.finished.get(step)
    }

    /// How many writes a step has announced.
    pub fn writes(&self, step: &StepId) -> u32 {
        self.intents_of.get(step).map_or(0, |ids| u32::try_from(ids.len()).unwrap_or(u32::MAX))
    }

    /// What a step has announced last of changes in Azure.
    pub fn last_in_azure(&self, step: &StepId) -> Option<&Write> {
        let ids = self.intents_of.get(step)?.iter().rev();
        ids.filter_map(|id| self.intents.get(id)).map(|(_, write)| write).find(|write| write.is_in_azure())
    }

    /// The Azure operation that a step has begun and not yet seen to its end.
    pub fn operation(&self, step: &StepId) -> Option<&OperationRef> {
        self.operations.get(step)
    }

    /// All such operations.
    pub fn operations(&self) -> impl Iterator<Item = (&StepId, &OperationRef)> {
        self.operations.iter()
    }

    /// Did a step announce a write like this?
    pub fn has_announced(&self, step: &StepId, like: impl Fn(&Write) -> bool) -> bool {
        let ids = self.intents_of.get(step).into_iter().flatten();
        ids.filter_map(|id| self.intents.get(id)).any(|(_, write)| like(write))
    }

    /// The steps whose restart is surely in its workload's template, or was.
    pub fn restarted(&self) -> &BTreeSet<StepId> {
        &self.restarted
    }

    /// What the run has borrowed of workloads and not surely given back, in the order in which it was announced. A loan whose
    /// answer nobody knows is among them: the workload shows.
    pub fn loans(&self) -> impl DoubleEndedIterator<Item = &Loan> {
        self.loans.all()
    }

    /// What a step has borrowed, likewise.
    pub fn loan_of(&self, step: &StepId) -> Option<&Loan> {
        self.loans.of(step)
    }

    /// The cordons that the run has announced and not surely taken back.
    pub fn open_cordons(&self) -> impl Iterator<Item = &Cordoned> {
        self.cordons.all()
    }

    /// Has somebody given the run up? Then nothing of its plan is gone on with.
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Every announced write with its number and its step, in the order of its announcement.
    pub fn intents(&self) -> impl DoubleEndedIterator<Item = (u64, &StepId, &Write)> {
        self.intents.iter().map(|(id, (step, write))| (*id, step, write))
    }

    /// Has the run surely cordoned this very node, and not surely given it back?
    pub fn has_cordoned(&self, node: &NodeName, uid: &Uid) -> bool {
        self.cordons.of(node, uid).is_some_and(|cordon| cordon.made)
    }

    /// Is there an open cordon of this very node of which nobody knows whether it was made?
    pub fn may_have_cordoned(&self, node: &NodeName, uid: &Uid) -> bool {
        self.cordons.of(node, uid).is_some_and(|cordon| !cordon.made)
    }

    /// The nodes that the run has surely had taken out of external load balancers and not let back in, and since when.
    pub fn excluded(&self) -> &BTreeMap<Uid, Timestamp> {
        &self.excluded
    }

    /// The pods that pull images which were surely made and not surely told to go, each with the write that made it. Whether
    /// one is there still, only the cluster says.
    pub fn made_pods(&self) -> impl Iterator<Item = (&ObjectName, &Write)> {
        self.made_pods.iter().filter_map(|(pod, id)| Some((pod, &self.intents.get(id)?.1)))
    }

    /// Has the run surely told this pod, which pulled images, to go?
    pub fn has_deleted(&self, pod: &Uid) -> bool {
        self.deleted_pods.contains(pod)
    }

    /// Was a write like this announced and not surely refused?
    pub fn may_have_done(&self, like: impl Fn(&Write) -> bool) -> bool {
        self.intents.iter().any(|(id, (_, write))| like(write) && !self.refused.contains(id))
    }

    /// Every announced write, in the order of its announcement.
    pub fn announced(&self) -> impl Iterator<Item = &Write> {
        self.intents.values().map(|(_, write)| write)
    }

    /// The nodes that the run has announced to cordon, by uid: the same name with another uid is another node.
    pub(crate) fn cordons(&self) -> BTreeSet<(&NodeName, &Uid)> {
        let mut cordons = BTreeSet::new();
        for write in self.announced() {
            if let Write::Cordon { node, uid } = write {
                cordons.insert((node, uid));
            }
        }
        cordons
    }

    /// Announced writes without an answer: what they did must be observed.
    pub fn open_intents(&self) -> impl Iterator<Item = (u64, &StepId, &Write)> {
        self.open.iter().filter_map(|id| self.intents.get(id).map(|(step, write)| (*id, step, write)))
    }

    /// The stage that is begun and not finished, else the next one; `None` when all are finished.
    pub fn current_stage(&self) -> Option<u32> {
        let mut numbers = self.stages().iter().map(|stage| stage.number);
        numbers.find(|n| !self.stages_finished.contains_key(n))
    }

    /// When a stage was begun.
    pub fn stage_started(&self, stage: u32) -> Option<Timestamp> {
        self.stages_started.get(&stage).copied()
    }

    /// When a stage was finished.
    pub fn stage_finished(&self, stage: u32) -> Option<Timestamp> {
        self.stages_finished.get(&stage).copied()
    }

    /// Before what somebody is asked.
    pub fn asks_before(&self) -> AskBefore {
        self.asks_before
    }

    /// What the run does when it fails.
    pub fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    /// Why the run turned back, and the way that it takes; `None` if it goes forward.
    pub fn reversal(&self) -> Option<(&Failed, &[Stage])> {
        self.reversal.as_ref().map(|reversal| (&reversal.0, reversal.1.as_slice()))
    }

    /// The probes that are asked: the plan's, and those that a process wanted beside them.
    pub fn probes(&self) -> BTreeSet<&ProbeName> {
        let planned = self.plan.iter().flat_map(|plan| &plan.policy.probes);
        planned.chain(&self.more_probes).collect()
    }

    /// Was the question with this id answered with "go on"?
    pub fn is_approved(&self, question: &str) -> bool {
        self.approved.contains(question)
    }

    /// How the last process closed the run; `None` if it is being worked on, or its process died.
    pub fn closed(&self) -> Option<&RunOutcome> {
        self.closed.as_ref()
    }

    /// The whole plan is done.
    pub fn is_done(&self) -> bool {
        self.closed.as_ref().is_some_and(RunOutcome::is_done)
    }

    /// There is nothing to go on with: the plan is done, or everything was brought back.
    pub fn is_over(&self) -> bool {
        self.closed.as_ref().is_some_and(RunOutcome::is_final)
    }

    /// The ledger of the processes before, as far as they could write it down.
    pub fn ledger(&self) -> &[ServiceRecord] {
        &self.ledger
    }

    /// When the last record was written; `None` before the first.
    pub fn last_record(&self) -> Option<Timestamp> {
        self.last_at
    }

    /// Milliseconds of work at `now`, all processes together; the time between them is not work.
    pub fn worked_ms(&self, now: Timestamp) -> u64 {
        let current =
            self.opened_at.map_or(0, |from| u64::try_from(now.duration_since(from).as_millis()).unwrap_or(0));
        self.worked_ms + current
    }
}

/// The stage of each step.
fn stage_of(stages: &[Stage]) -> impl Iterator<Item = (StepId, u32)> {
    stages.iter().flat_map(|stage| stage.steps().map(|step| (step.id.clone(), stage.number)))
}

#[cfg(test)]
mod tests;

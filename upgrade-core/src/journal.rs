//! The journal: append-only records, each durable before the act it announces.
//!
//! Recording and replay go through one total function, [`RunState::apply`]: whatever it refuses can neither be written nor
//! be read. A journal is therefore always the story of a run that could have happened.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{RunOutcome, StepOutcome};
use crate::ledger::ServiceRecord;
use crate::model::{
    FormatVersion, KubeVersion, NodeName, ObjectName, PoolName, RestartId, RunId, StepId, Uid, WorkloadRef,
};
use crate::plan::Plan;
use crate::ports::{BufferSpec, EvictionAnswer, OperationRef};

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts from 1, without holes.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub enum Entry {
    /// The first line: which run, and its whole plan, so that a resume needs nothing else.
    Header {
        /// The journal's format.
        format: FormatVersion,
        /// The run.
        run: RunId,
        /// The version of the tool that wrote it.
        tool: String,
        /// The plan.
        plan: Box<Plan>,
    },
    /// A process has taken up the run.
    Opened,
    /// A stage has begun.
    StageStarted {
        /// Its number.
        stage: u32,
    },
    /// A write is about to be made.
    Intent {
        /// Numbers the write within the run.
        id: u64,
        /// The step it is for.
        step: StepId,
        /// The write.
        write: Write,
    },
    /// A write was answered.
    Answered {
        /// The intent's number.
        id: u64,
        /// The answer.
        answer: WriteAnswer,
    },
    /// A step is finished.
    StepFinished {
        /// The step.
        step: StepId,
        /// How.
        outcome: StepOutcome,
    },
    /// A stage is finished.
    StageFinished {
        /// Its number.
        stage: u32,
    },
    /// A process has ended its work on the run, on purpose.
    Closed {
        /// How.
        outcome: RunOutcome,
        /// The ledger at that time.
        ledger: Vec<ServiceRecord>,
    },
}

/// A change to the world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "write")]
pub enum Write {
    /// Begin the upgrade of the control plane.
    UpgradeControlPlane {
        /// The version.
        to: KubeVersion,
    },
    /// Begin the creation of a pool.
    CreatePool {
        /// The pool.
        name: PoolName,
        /// The pool it copies.
        like: PoolName,
        /// How many nodes.
        count: u32,
        /// Their version.
        version: KubeVersion,
    },
    /// Begin the upgrade of a pool.
    UpgradePool {
        /// The pool.
        pool: PoolName,
        /// The version.
        to: KubeVersion,
    },
    /// Begin the deletion of a pool.
    DeletePool {
        /// The pool.
        pool: PoolName,
    },
    /// Cordon a node.
    Cordon {
        /// The node.
        node: NodeName,
        /// Its uid.
        uid: Uid,
    },
    /// Uncordon a node.
    Uncordon {
        /// The node.
        node: NodeName,
        /// Its uid.
        uid: Uid,
    },
    /// Restart a workload.
    Restart {
        /// The workload.
        workload: WorkloadRef,
        /// Its uid.
        uid: Uid,
        /// The restart.
        restart: RestartId,
    },
    /// Evict a pod.
    Evict {
        /// The pod.
        pod: ObjectName,
        /// Its uid.
        uid: Uid,
    },
}

impl Write {
    /// Does it go to Azure, where Rancher may be a second writer?
    pub fn is_in_azure(&self) -> bool {
        match self {
            Self::UpgradeControlPlane { .. }
            | Self::CreatePool { .. }
            | Self::UpgradePool { .. }
            | Self::DeletePool { .. } => true,
            Self::Cordon { .. } | Self::Uncordon { .. } | Self::Restart { .. } | Self::Evict { .. } => false,
        }
    }

    /// The write that creates a buffer.
    pub fn create(buffer: &BufferSpec) -> Self {
        let BufferSpec { name, like, count, version } = buffer.clone();
        Self::CreatePool { name, like, count, version }
    }
}

impl std::fmt::Display for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UpgradeControlPlane { to } => write!(f, "upgrade control plane to {to}"),
            Self::CreatePool { name, count, .. } => write!(f, "create pool {name} with {count} nodes"),
            Self::UpgradePool { pool, to } => write!(f, "upgrade pool {pool} to {to}"),
            Self::DeletePool { pool } => write!(f, "delete pool {pool}"),
            Self::Cordon { node, .. } => write!(f, "cordon {node}"),
            Self::Uncordon { node, .. } => write!(f, "uncordon {node}"),
            Self::Restart { workload, .. } => write!(f, "restart {workload}"),
            Self::Evict { pod, .. } => write!(f, "evict {pod}"),
        }
    }
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum WriteAnswer {
    /// Done.
    Done,
    /// Azure works on it.
    Accepted {
        /// The operation.
        operation: OperationRef,
    },
    /// The Eviction API's answer.
    Eviction {
        /// The answer.
        eviction: EvictionAnswer,
    },
    /// It surely was not done.
    Failed {
        /// Why.
        message: String,
        /// The same write may succeed later.
        retryable: bool,
    },
    /// Nobody knows; what is so must be observed.
    Unknown {
        /// What went wrong.
        message: String,
    },
}

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

/// The state of a run, as its journal tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunState {
    last_seq: u64,
    run: Option<RunId>,
    plan: Option<Plan>,
    finished: BTreeMap<StepId, StepOutcome>,
    stages_started: BTreeMap<u32, Timestamp>,
    stages_finished: BTreeMap<u32, Timestamp>,
    intents: BTreeMap<u64, (StepId, Write)>,
    intents_of: BTreeMap<StepId, Vec<u64>>,
    open: BTreeSet<u64>,
    operations: BTreeMap<StepId, OperationRef>,
    closed: Option<RunOutcome>,
    ledger: Vec<ServiceRecord>,
    opened_at: Option<Timestamp>,
    worked_ms: u64,
    last_at: Option<Timestamp>,
}

impl Entry {
    fn name(&self) -> &'static str {
        match self {
            Self::Header { .. } => "header",
            Self::Opened => "opened",
            Self::StageStarted { .. } => "stage_started",
            Self::Intent { .. } => "intent",
            Self::Answered { .. } => "answered",
            Self::StepFinished { .. } => "step_finished",
            Self::StageFinished { .. } => "stage_finished",
            Self::Closed { .. } => "closed",
        }
    }
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
                self.plan = Some((**plan).clone());
            }
            Entry::Opened => {
                self.add_worked_time();
                self.opened_at = Some(record.at);
                self.closed = None;
            }
            Entry::StageStarted { stage } => {
                self.stages_started.entry(*stage).or_insert(record.at);
            }
            Entry::Intent { id, step, write } => {
                self.intents.insert(*id, (step.clone(), write.clone()));
                self.open.insert(*id);
                self.intents_of.entry(step.clone()).or_default().push(*id);
            }
            Entry::Answered { id, answer } => {
                self.open.remove(id);
                if let (WriteAnswer::Accepted { operation }, Some((step, _))) = (answer, self.intents.get(id))
                {
                    self.operations.insert(step.clone(), operation.clone());
                }
            }
            Entry::StepFinished { step, outcome } => {
                self.finished.insert(step.clone(), outcome.clone());
                self.operations.remove(step);
            }
            Entry::StageFinished { stage } => {
                self.stages_finished.insert(*stage, record.at);
            }
            Entry::Closed { outcome, ledger } => {
                self.closed = Some(outcome.clone());
                self.ledger.clone_from(ledger);
            }
        }
        self.last_seq = record.seq;
        self.last_at = Some(record.at);
        Ok(())
    }

    /// The rules. Every entry is named: a new kind of record must be thought about here.
    fn check(&self, record: &Record) -> Result<(), String> {
        if record.seq != self.last_seq + 1 {
            return Err(format!("expected number {}", self.last_seq + 1));
        }
        let begun = self.run.is_some();
        match &record.entry {
            Entry::Header { format, .. } => {
                if begun {
                    return Err("a journal has one header".into());
                }
                format.check_readable().map_err(|error| error.to_string())
            }
            _ if !begun => Err("a journal begins with its header".into()),
            Entry::Opened if self.is_done() => Err("the run is done".into()),
            Entry::Opened => Ok(()),
            _ if self.opened_at.is_none() => Err("nobody has taken up the run".into()),
            _ if self.closed.is_some() => Err("the run is closed; it must be taken up first".into()),
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
            Entry::Closed { .. } => Ok(()),
        }
    }

    fn stage_steps(&self, stage: u32) -> impl Iterator<Item = &StepId> {
        let stages = self.plan.iter().flat_map(|plan| &plan.stages);
        stages.filter(move |s| s.number == stage).flat_map(|s| s.steps().map(|step| &step.id))
    }

    fn check_stage(&self, stage: u32) -> Result<(), String> {
        let exists = self.plan.iter().flat_map(|plan| &plan.stages).any(|s| s.number == stage);
        let before = (1..stage).find(|n| !self.stages_finished.contains_key(n));
        match (exists, before) {
            (false, _) => Err(format!("the plan has no stage {stage}")),
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
        let running =
            |n: &u32| !self.stages_finished.contains_key(n) && self.stage_steps(*n).any(|s| s == step);
        if self.stages_started.keys().any(running) {
            Ok(())
        } else {
            Err(format!("step {step} is not in a running stage"))
        }
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

    /// Did any step announce a write like this?
    pub fn has_announced_any(&self, like: impl Fn(&Write) -> bool) -> bool {
        self.intents.values().any(|(_, write)| like(write))
    }

    /// Announced writes without an answer: what they did must be observed.
    pub fn open_intents(&self) -> impl Iterator<Item = (u64, &StepId, &Write)> {
        self.open.iter().filter_map(|id| self.intents.get(id).map(|(step, write)| (*id, step, write)))
    }

    /// The stage that is begun and not finished, else the next one; `None` when all are finished.
    pub fn current_stage(&self) -> Option<u32> {
        let mut numbers = self.plan.iter().flat_map(|plan| plan.stages.iter().map(|stage| stage.number));
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

    /// How the last process closed the run; `None` if it is being worked on, or its process died.
    pub fn closed(&self) -> Option<&RunOutcome> {
        self.closed.as_ref()
    }

    /// The whole plan is done.
    pub fn is_done(&self) -> bool {
        self.closed.as_ref().is_some_and(RunOutcome::is_done)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::tests_support::inventory;
    use crate::plan::plan;
    use crate::policy::Policy;

    fn sample_plan() -> Plan {
        plan(&inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap()
    }

    fn header(plan: &Plan) -> Entry {
        let run = RunId::new("r").unwrap();
        Entry::Header {
            format: FormatVersion::CURRENT,
            run,
            tool: "test".into(),
            plan: Box::new(plan.clone()),
        }
    }

    /// Every kind of entry, about any stage or step, whether it makes sense or not.
    fn entry(plan: &Plan) -> impl Strategy<Value = Entry> + use<> {
        let steps: Vec<StepId> = plan.steps().map(|step| step.id.clone()).take(6).collect();
        let step = prop::sample::select(steps);
        let finished = StepOutcome::Done { message: "m".into() };
        let write = Write::UpgradeControlPlane { to: KubeVersion::new(1, 35, 3) };
        prop_oneof![
            1 => Just(header(plan)),
            2 => Just(Entry::Opened),
            4 => (1_u32..5).prop_map(|stage| Entry::StageStarted { stage }),
            4 => (1_u64..6, step.clone()).prop_map(move |(id, step)| Entry::Intent { id, step, write: write.clone() }),
            4 => (1_u64..6).prop_map(|id| Entry::Answered { id, answer: WriteAnswer::Done }),
            4 => step.prop_map(move |step| Entry::StepFinished { step, outcome: finished.clone() }),
            4 => (1_u32..5).prop_map(|stage| Entry::StageFinished { stage }),
            1 => Just(Entry::Closed { outcome: RunOutcome::Aborted, ledger: Vec::new() }),
        ]
    }

    fn write_down(entries: Vec<Entry>) -> (RunState, Vec<Record>) {
        let (mut state, mut records) = (RunState::default(), Vec::new());
        for entry in entries {
            let record = Record { seq: state.next_seq(), at: Timestamp::UNIX_EPOCH, entry };
            let before = state.clone();
            match state.apply(&record) {
                Ok(()) => records.push(record),
                Err(_) => assert_eq!(state, before, "a refused record changed something"),
            }
        }
        (state, records)
    }

    proptest! {
        /// What was accepted replays to the same state, through its text form; so does every beginning of it, which is what a
        /// killed process leaves behind.
        #[test]
        fn a_journal_replays_to_what_was_recorded_and_so_does_every_prefix(
            entries in prop::collection::vec(entry(&sample_plan()), 0..60),
        ) {
            let plan = sample_plan();
            let (state, records) = write_down([vec![header(&plan), Entry::Opened], entries].concat());
            let lines: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
            let read: Vec<Record> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            prop_assert_eq!(&read, &records);
            prop_assert_eq!(RunState::replay(read).unwrap(), state);
            for length in 0..records.len() {
                prop_assert!(RunState::replay(records[..length].iter().cloned()).is_ok());
            }
        }
    }

    #[test]
    fn an_illegal_record_names_both_lines_and_the_rule() {
        let plan = sample_plan();
        let (state, _) = write_down(vec![header(&plan), Entry::Opened, Entry::StageStarted { stage: 1 }]);
        let refuse = |seq, entry| {
            let record = Record { seq, at: Timestamp::UNIX_EPOCH, entry };
            state.clone().apply(&record).unwrap_err().to_string()
        };
        assert_eq!(
            refuse(4, Entry::StageStarted { stage: 2 }),
            "record 4 (stage_started) cannot follow record 3: stage 1 is not finished"
        );
        assert_eq!(
            refuse(4, Entry::Answered { id: 9, answer: WriteAnswer::Done }),
            "record 4 (answered) cannot follow record 3: there is no open intent 9"
        );
        assert_eq!(refuse(6, Entry::Opened), "record 6 (opened) cannot follow record 3: expected number 4");
    }

    #[test]
    fn another_major_format_is_refused() {
        let mut entry = header(&sample_plan());
        if let Entry::Header { format, .. } = &mut entry {
            format.major = 2;
        }
        let record = Record { seq: 1, at: Timestamp::UNIX_EPOCH, entry };
        let error = RunState::replay([record]).unwrap_err();
        assert!(error.to_string().ends_with("format 2.0 cannot be read, this version reads 1.x"), "{error}");
    }
}

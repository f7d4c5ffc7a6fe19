//! Where a run stands, from its journal alone.

use jiff::Timestamp;
use serde::Serialize;
use upgrade_core::event::RunOutcome;
use upgrade_core::journal::RunState;
use upgrade_core::ledger::ServiceRecord;
use upgrade_core::model::{KubeVersion, RunId};

/// Where a run stands. Made from its journal; nothing else was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunStatus {
    /// The run.
    pub run: RunId,
    /// The cluster's name.
    pub cluster: String,
    /// The version it started from.
    pub from: KubeVersion,
    /// The version to reach.
    pub target: KubeVersion,
    /// The plan's hash.
    pub plan: String,
    /// How the last process ended the run; `None` if one is working on it, or was killed.
    pub outcome: Option<RunOutcome>,
    /// Somebody has given the run up: it cannot be gone on with.
    pub given_up: bool,
    /// When the last record was written.
    pub last_record: Timestamp,
    /// Milliseconds of work until then, all processes together.
    pub worked_ms: u64,
    /// Every stage of the plan, and of the way back if the run has turned back.
    pub stages: Vec<StageStatus>,
    /// Writes that were announced and never answered: what they did has to be observed.
    pub open_writes: Vec<String>,
    /// What was borrowed of workloads and is not surely given back, with the command that does it.
    pub loans: Vec<String>,
    /// The ledger, as the last process wrote it down when it ended.
    pub ledger: Vec<ServiceRecord>,
}

/// Where a stage stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageStatus {
    /// Its number.
    pub number: u32,
    /// Its title.
    pub title: String,
    /// Where it stands.
    #[serde(flatten)]
    pub state: StageState,
}

/// Where a stage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum StageState {
    /// Not begun.
    Waiting,
    /// Begun.
    Begun {
        /// Finished steps.
        done: usize,
        /// All steps.
        steps: usize,
    },
    /// Finished.
    Finished {
        /// Milliseconds from its beginning, pauses between processes included.
        duration_ms: u64,
    },
}

impl RunStatus {
    /// Reads the status out of a journal. `None` for one that ends before its header.
    pub fn of(state: &RunState) -> Option<Self> {
        let (run, plan, last_record) = (state.run()?, state.plan()?, state.last_record()?);
        let back = state.reversal().map(|(_, stages)| stages).unwrap_or_default();
        let stages = plan.stages.iter().chain(back).map(|stage| {
            let begun = state.stage_started(stage.number);
            let finished = state.stage_finished(stage.number);
            let state = match (begun, finished) {
                (Some(from), Some(to)) => StageState::Finished {
                    duration_ms: u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0),
                },
                (Some(_), None) => StageState::Begun {
                    done: stage.steps().filter(|step| state.outcome(&step.id).is_some()).count(),
                    steps: stage.steps().count(),
                },
                (None, _) => StageState::Waiting,
            };
            StageStatus { number: stage.number, title: stage.title.clone(), state }
        });
        Some(Self {
            run: run.clone(),
            cluster: plan.cluster.name.clone(),
            from: plan.from,
            target: plan.target,
            plan: plan.hash(),
            outcome: state.closed().cloned(),
            given_up: state.is_given_up(),
            last_record,
            worked_ms: state.worked_ms(last_record),
            stages: stages.collect(),
            open_writes: state.open_intents().map(|(_, step, write)| format!("{step}: {write}")).collect(),
            loans: state.loans().map(|loan| loan.owed(&loan.lent)).collect(),
            ledger: state.ledger().to_vec(),
        })
    }

    /// How many stages are finished.
    pub fn finished(&self) -> usize {
        self.stages.iter().filter(|stage| matches!(stage.state, StageState::Finished { .. })).count()
    }
}

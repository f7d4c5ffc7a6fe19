//! The journal: append-only records, each durable before the act it announces.
//!
//! Recording and replay go through one total function, [`RunState::apply`]: whatever it refuses can neither be written nor
//! be read. A journal is therefore always the story of a run that could have happened.
//!
//! As text a journal is one record a line (JSON), each with a checksum; see [`to_line`] and [`Reader`].

mod cordons;
mod line;
mod loans;
mod state;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{RunOutcome, StepOutcome};
use crate::ledger::ServiceRecord;
use crate::model::{
    FormatVersion, KubeVersion, NodeName, ObjectName, PoolName, ProbeName, RestartId, RunId, Settings,
    StepId, Uid, WorkloadRef,
};
use crate::plan::{Plan, Stage};
use crate::ports::{AskBefore, BufferSpec, EvictionAnswer, OperationRef, PortErrorKind};
use crate::prewarm::PrewarmPod;
use crate::run::failure::OnFailure;

pub use cordons::Cordoned;
pub use line::{BadLine, Reader, to_line, whole_lines};
pub use loans::Loan;
pub use state::{Failed, IllegalRecord, RunState};

/// The journal's format.
///
/// 1.1: each line ends with a checksum. 1.0: lines without.
pub const FORMAT: FormatVersion = FormatVersion { major: 1, minor: 1 };

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
    /// Somebody is to be asked before each of these, from now on.
    AsksBefore {
        /// Which.
        before: AskBefore,
    },
    /// What the run does when it fails, from now on.
    OnFailure {
        /// It.
        then: OnFailure,
    },
    /// The run has failed and brings back what it has in hand, instead of going on with its plan.
    Reversing {
        /// The step that failed.
        step: StepId,
        /// What it was to ensure.
        title: String,
        /// Why it failed.
        cause: String,
        /// The way back.
        stages: Vec<Stage>,
    },
    /// These probes are to be asked, too, from now on.
    AsksProbes {
        /// Which.
        probes: BTreeSet<ProbeName>,
    },
    /// A question was answered with "go on".
    Approved {
        /// The question's id.
        question: String,
        /// The hash of the plan that is gone on with.
        plan: String,
        /// Who said so.
        by: String,
    },
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
    /// Somebody has given the run up: what it holds is given back from now on, and nothing of its plan is gone on with.
    GivenUp {
        /// Who.
        by: String,
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
    /// Have a node taken out of external load balancers.
    Exclude {
        /// The node.
        node: NodeName,
        /// Its uid.
        uid: Uid,
    },
    /// Let a node that was taken out be in external load balancers again.
    Include {
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
    /// Borrow settings of a workload. What they were is durable before they are changed.
    Lend {
        /// The workload.
        workload: WorkloadRef,
        /// Its uid.
        uid: Uid,
        /// What they were.
        former: Settings,
        /// What they are meanwhile.
        lent: Settings,
    },
    /// Give back what was borrowed of a workload, as far as it still is as the run has set it.
    GiveBack {
        /// The workload.
        workload: WorkloadRef,
        /// Its uid.
        uid: Uid,
        /// What they are.
        lent: Settings,
        /// What they were.
        former: Settings,
    },
    /// Create a pod that has a node pull images.
    CreatePrewarmPod {
        /// The pod.
        pod: PrewarmPod,
    },
    /// Delete such a pod.
    DeletePrewarmPod {
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
            Self::Cordon { .. }
            | Self::Uncordon { .. }
            | Self::Exclude { .. }
            | Self::Include { .. }
            | Self::Restart { .. }
            | Self::Evict { .. }
            | Self::Lend { .. }
            | Self::GiveBack { .. }
            | Self::CreatePrewarmPod { .. }
            | Self::DeletePrewarmPod { .. } => false,
        }
    }

    /// May it be made for a run that is given up? It gives something back, or closes the nodes of a buffer that is about to go.
    pub fn cleans_up(&self) -> bool {
        match self {
            Self::DeletePool { .. }
            | Self::Cordon { .. }
            | Self::Uncordon { .. }
            | Self::Include { .. }
            | Self::GiveBack { .. }
            | Self::DeletePrewarmPod { .. } => true,
            Self::UpgradeControlPlane { .. }
            | Self::CreatePool { .. }
            | Self::UpgradePool { .. }
            | Self::Exclude { .. }
            | Self::Restart { .. }
            | Self::Evict { .. }
            | Self::Lend { .. }
            | Self::CreatePrewarmPod { .. } => false,
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
            Self::Exclude { node, .. } => write!(f, "take {node} out of external load balancers"),
            Self::Include { node, .. } => write!(f, "let {node} be in external load balancers again"),
            Self::Restart { workload, .. } => write!(f, "restart {workload}"),
            Self::Evict { pod, .. } => write!(f, "evict {pod}"),
            Self::Lend { workload, former, lent, .. } => {
                write!(f, "borrow of {workload}: {lent} instead of {former}")
            }
            Self::GiveBack { workload, former, .. } => write!(f, "give back to {workload}: {former}"),
            Self::CreatePrewarmPod { pod } => {
                write!(f, "create pod {}, to pull images onto {}", pod.name, pod.node)
            }
            Self::DeletePrewarmPod { pod, .. } => write!(f, "delete pod {pod}"),
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
        /// What kind of failure it was. Journals from before this was written down do not say.
        #[serde(default = "unsaid")]
        kind: PortErrorKind,
    },
    /// Nobody knows; what is so must be observed.
    Unknown {
        /// What went wrong.
        message: String,
    },
}

fn unsaid() -> PortErrorKind {
    PortErrorKind::Internal
}

impl Entry {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Header { .. } => "header",
            Self::Opened => "opened",
            Self::AsksBefore { .. } => "asks_before",
            Self::OnFailure { .. } => "on_failure",
            Self::Reversing { .. } => "reversing",
            Self::AsksProbes { .. } => "asks_probes",
            Self::Approved { .. } => "approved",
            Self::StageStarted { .. } => "stage_started",
            Self::Intent { .. } => "intent",
            Self::Answered { .. } => "answered",
            Self::StepFinished { .. } => "step_finished",
            Self::StageFinished { .. } => "stage_finished",
            Self::GivenUp { .. } => "given_up",
            Self::Closed { .. } => "closed",
        }
    }
}

//! What the machine is told.

use std::time::Duration;

use crate::inventory::{ClusterIdentity, RancherFacts};
use crate::journal::WriteAnswer;
use crate::model::ProbeName;
use crate::ports::{Answer, AzureView, OperationRef, OperationState, PortError, ProbeAnswer};
use crate::run::LockNews;
use crate::view::Change;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// Lists and watches said something.
    Changes(Vec<Change>),
    /// A watch lost contact and goes on to try.
    ContactLost(PortError),
    /// Azure was looked at.
    Azure(Result<Look, PortError>),
    /// The identity was read anew.
    Identity(Result<ClusterIdentity, PortError>),
    /// It was read what Rancher says of the cluster.
    Rancher(Result<RancherFacts, PortError>),
    /// It was looked what Azure lacks for the buffers of the plan.
    Room(Result<Vec<String>, PortError>),
    /// A write was answered.
    Answered {
        /// The intent's number.
        id: u64,
        /// The answer.
        answer: WriteAnswer,
        /// How long the service asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The gate has answered.
    Gate(Answer),
    /// A probe has answered.
    Probed {
        /// Which.
        probe: ProbeName,
        /// What it says.
        answer: ProbeAnswer,
    },
    /// What has become of the lock.
    Lock(LockNews),
    /// Time has passed.
    Tick,
    /// Somebody asked to stop.
    Stop,
}

impl Input {
    /// What kind of input it is, in a word.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Changes(changes) => {
                let is_list = |change: &Change| matches!(change, Change::Listed { .. });
                if changes.iter().any(is_list) { "lists" } else { "changes" }
            }
            Self::ContactLost(_) => "contact",
            Self::Azure(_) => "azure",
            Self::Identity(_) => "identity",
            Self::Rancher(_) => "rancher",
            Self::Answered { .. } => "answer",
            Self::Room(_) => "room",
            Self::Gate(_) => "gate",
            Self::Probed { .. } => "probe",
            Self::Lock(_) => "lock",
            Self::Tick => "tick",
            Self::Stop => "stop",
        }
    }

    /// How many changes it holds.
    pub(super) fn changes(&self) -> usize {
        if let Self::Changes(changes) = self { changes.len() } else { 0 }
    }
}

/// A look at Azure.
#[derive(Clone, Debug)]
pub struct Look {
    /// The cluster and its pools.
    pub view: AzureView,
    /// The operations that were asked for.
    pub operations: Vec<(OperationRef, OperationState)>,
}

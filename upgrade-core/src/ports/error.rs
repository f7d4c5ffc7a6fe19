//! A call to the world that failed: who failed, what can be done about it, and whether anything was done.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A call to the world that failed.
///
/// Its text is one line, made of the service's own words, with control characters removed by the adapter.
#[derive(Clone, Debug)]
pub struct PortError {
    /// Who failed.
    pub service: RemoteService,
    /// What kind of failure it is.
    pub kind: PortErrorKind,
    /// What happened, as a fragment that fits after "failed: ".
    pub message: String,
    /// How long the service asked to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether it is known what the call did.
    pub outcome: CallOutcome,
    /// The error underneath.
    pub source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The services behind the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteService {
    /// The Rancher server itself.
    Rancher,
    /// The cluster's API server, behind Rancher's proxy.
    Kubernetes,
    /// Azure Resource Manager.
    Azure,
    /// The run's journal.
    Journal,
}

impl fmt::Display for RemoteService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rancher => "Rancher",
            Self::Kubernetes => "Kubernetes",
            Self::Azure => "Azure",
            Self::Journal => "the journal",
        })
    }
}

/// Kinds of failure, by what can be done about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortErrorKind {
    /// The credential was not accepted.
    Unauthorized,
    /// The credential may not do this.
    Forbidden,
    /// The object is not there.
    NotFound,
    /// Somebody else changed the object or is changing it.
    Conflict,
    /// Too many calls.
    Throttled,
    /// No answer, or one from something in between.
    Unreachable,
    /// The service understood and refuses.
    Rejected,
    /// The service failed, or answered what cannot be understood.
    Internal,
}

/// Whether it is known what a failed call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The call surely changed nothing.
    NothingDone,
    /// The call may have been carried out: observe before anything else.
    Unknown,
}

impl PortError {
    /// An error without a source.
    pub fn new(
        service: RemoteService,
        kind: PortErrorKind,
        outcome: CallOutcome,
        message: impl Into<String>,
    ) -> Self {
        Self { service, kind, message: message.into(), retry_after: None, outcome, source: None }
    }

    /// Is it known what the call did?
    pub fn outcome_known(&self) -> bool {
        self.outcome == CallOutcome::NothingDone
    }

    /// Can the same call succeed later, without anybody mending anything?
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }
}

impl PortErrorKind {
    /// Can the same call succeed later, without anybody mending anything?
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Conflict | Self::Throttled | Self::Unreachable | Self::Internal => true,
            Self::Unauthorized | Self::Forbidden | Self::NotFound | Self::Rejected => false,
        }
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.service, self.message)
    }
}

impl StdError for PortError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

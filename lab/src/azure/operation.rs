//! Long-running operations: what Azure has accepted and carries out in its own time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};
use upgrade_core::model::{KubeVersion, NodeName, PoolName};

use super::error::ArmError;
use super::upgrade::Upgrade;

/// Names an operation. Shown as a GUID, as Azure does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OperationId(u128);

impl OperationId {
    pub(super) fn new(high: u64, low: u64) -> Self {
        Self((u128::from(high) << 64) | u128::from(low))
    }

    /// The id of an HTTP request, for the headers that support asks for.
    pub(crate) fn of_request(number: u64) -> Self {
        Self::new(0x7265_7175_6573_7400, number)
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        f.write_str(&parts.join("-"))
    }
}

/// A text that is not the GUID of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAnOperation;

impl FromStr for OperationId {
    type Err = NotAnOperation;

    fn from_str(text: &str) -> Result<Self, NotAnOperation> {
        let dashes = [8, 13, 18, 23].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
        let digits: String = text.split('-').collect();
        let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        if text.len() != 36 || digits.len() != 32 || !dashes || !hex {
            return Err(NotAnOperation);
        }
        u128::from_str_radix(&digits, 16).map(Self).map_err(|_| NotAnOperation)
    }
}

/// How an operation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OperationStatus {
    /// Under way.
    InProgress,
    /// Finished well.
    Succeeded,
    /// Finished badly.
    Failed(ArmError),
    /// Aborted.
    Canceled,
}

/// What an operation works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Cluster,
    Pool(PoolName),
}

/// What is being done.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// The control plane goes to a version.
    ControlPlane { to: KubeVersion, at: Timestamp },
    /// Something that touches no machine: tags, settings.
    Update { at: Timestamp },
    /// Machines boot; done when these are Ready at the version, not before `not_before` and not after `deadline`.
    Boot { machines: Vec<NodeName>, version: KubeVersion, not_before: Timestamp, deadline: Timestamp },
    /// Every machine of the pool is replaced.
    Upgrade(Box<Upgrade>),
    /// These machines are drained and removed; then, for a deletion, the pool.
    Shrink { machines: Vec<NodeName>, ignore_budgets: bool, deadline: Timestamp, delete: bool },
    /// The pool is taken out of Azure's books.
    Forget { at: Timestamp },
}

/// What a look at the work came to.
#[derive(Debug)]
pub(super) enum Progress {
    /// Look again after a while.
    After(std::time::Duration),
    /// Done.
    Done,
    /// It cannot be done.
    Failed(ArmError),
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) target: Target,
    pub(super) work: Work,
    pub(super) started: Timestamp,
    pub(super) ended: Option<Timestamp>,
    pub(super) status: OperationStatus,
    /// How it ends, where it is to fail.
    pub(super) fails: Option<ArmError>,
}

impl Operation {
    /// The body of the status answer (ARM: asynchronous operations).
    pub(super) fn shown(&self, id: OperationId) -> Value {
        let word = match &self.status {
            OperationStatus::InProgress => "InProgress",
            OperationStatus::Succeeded => "Succeeded",
            OperationStatus::Failed(_) => "Failed",
            OperationStatus::Canceled => "Canceled",
        };
        let mut body = json!({
            "name": id.to_string(),
            "status": word,
            "startTime": self.started.to_string(),
        });
        if let Some(ended) = self.ended {
            body["endTime"] = ended.to_string().into();
        }
        if let OperationStatus::Failed(error) = &self.status {
            body["error"] = error.inner();
        }
        body
    }
}

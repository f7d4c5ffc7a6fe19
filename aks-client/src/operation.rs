//! A long-running operation as a value, and what a poll of it says.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::Error;
use crate::id::ClusterId;
use crate::service_error::ServiceError;

/// The code of the error this crate reports where an operation's own status says "succeeded" and the resource shows
/// otherwise (old version, still there, gone).
pub const RESOURCE_DISAGREES: &str = "ResourceDisagrees";

/// What was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OperationKind {
    /// The control plane goes to this complete version.
    UpgradeControlPlane {
        /// The version.
        to: String,
    },
    /// A pool is created.
    CreatePool,
    /// A pool goes to this complete version.
    UpgradePool {
        /// The version.
        to: String,
    },
    /// A pool's nodes get the newest image of the version they have.
    UpgradeNodeImage,
    /// A pool is deleted.
    DeletePool,
    /// The last operation of the cluster is aborted. Undoes nothing.
    AbortCluster,
    /// The last operation of the pool is aborted. Undoes nothing.
    AbortPool,
}

/// An operation ARM accepted. It can be stored, read back by another process and polled there.
///
/// Its URLs are opaque and may hold a signature that reads the operation's status: store the value where secrets may
/// lie, and show it only through `Debug` or `Display`, which leave the query out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What was begun.
    pub kind: OperationKind,
    /// The cluster it concerns.
    pub cluster: ClusterId,
    /// The pool it concerns, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Where to ask for its status (`Azure-AsyncOperation`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_async_operation: Option<OperationUrl>,
    /// Where to ask for its result (`Location`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<OperationUrl>,
    /// How long the service asked to wait before the first poll.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// When the service accepted it, by the service's clock, where it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// The id the service gave the request, for a support case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Operation {
    /// The ARM id of the resource it concerns: the pool, or the cluster.
    pub fn resource(&self) -> String {
        match &self.pool {
            Some(pool) => format!("{}/agentPools/{pool}", self.cluster),
            None => self.cluster.resource_id(),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.cluster.name();
        let pool = self.pool.as_deref().unwrap_or("?");
        match &self.kind {
            OperationKind::UpgradeControlPlane { to } => {
                write!(f, "upgrade of the control plane of {name} to {to}")
            }
            OperationKind::CreatePool => write!(f, "creation of pool {pool} of {name}"),
            OperationKind::UpgradePool { to } => write!(f, "upgrade of pool {pool} of {name} to {to}"),
            OperationKind::UpgradeNodeImage => {
                write!(f, "upgrade of the node image of pool {pool} of {name}")
            }
            OperationKind::DeletePool => write!(f, "deletion of pool {pool} of {name}"),
            OperationKind::AbortCluster => write!(f, "abort of the operation on {name}"),
            OperationKind::AbortPool => write!(f, "abort of the operation on pool {pool} of {name}"),
        }
    }
}

/// The URL of an operation. Serialises in full; `Debug` and `Display` leave out the query, which may hold a signature.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationUrl(Url);

impl OperationUrl {
    /// Reads a URL, absolute; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        Url::parse(text).ok().map(Self)
    }

    pub(crate) fn as_url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for OperationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.0.scheme(), self.0.host_str().unwrap_or_default(), self.0.path())?;
        if self.0.query().is_some() { f.write_str("?..") } else { Ok(()) }
    }
}

impl fmt::Debug for OperationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationUrl({self})")
    }
}

/// What a poll found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationStatus {
    /// Not finished, or in a state this crate has never heard of.
    Running {
        /// How far, 0 to 100, where the service says.
        percent: Option<u8>,
        /// How long the service asks to wait before the next poll.
        retry_after: Option<Duration>,
    },
    /// Finished well, and the resource shows it: terminal state, and for an upgrade the asked version. For an abort:
    /// nothing is under way any more. Says nothing about the nodes; look at their kubelet versions.
    Succeeded,
    /// Failed. The service may still go on by itself and turn the resource to `Succeeded` later.
    Failed {
        /// Why.
        error: ServiceError,
    },
    /// Aborted, by us or by somebody else.
    Canceled {
        /// What the service said; often nothing.
        error: ServiceError,
    },
}

/// What [`AksClient::follow`](crate::AksClient::follow) tells, in order; the last one is an end.
#[derive(Debug)]
#[non_exhaustive]
pub enum OperationProgress {
    /// A poll found this. The last item where it has an [`outcome`](OperationStatus::outcome).
    Status(OperationStatus),
    /// A poll failed in passing; another follows.
    Interrupted {
        /// Why.
        error: Error,
        /// How many in a row have failed.
        failures: u32,
    },
    /// Following ended without an outcome, and the operation may go on. The last item.
    Lost {
        /// Why.
        error: Error,
    },
}

impl OperationProgress {
    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        match self {
            Self::Status(status) => status.outcome().is_some(),
            Self::Interrupted { .. } => false,
            Self::Lost { .. } => true,
        }
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// See [`OperationStatus::Succeeded`].
    Succeeded,
    /// See [`OperationStatus::Failed`].
    Failed {
        /// Why.
        error: ServiceError,
    },
    /// See [`OperationStatus::Canceled`].
    Canceled {
        /// What the service said; often nothing.
        error: ServiceError,
    },
}

impl OperationStatus {
    /// How it ended, or `None` while it runs.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Running { .. } => None,
            Self::Succeeded => Some(Outcome::Succeeded),
            Self::Failed { error } => Some(Outcome::Failed { error: error.clone() }),
            Self::Canceled { error } => Some(Outcome::Canceled { error: error.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation() -> Operation {
        Operation {
            kind: OperationKind::UpgradePool { to: "1.35.2".to_owned() },
            cluster: ClusterId::new("00000000-0000-0000-0000-000000000001".parse().unwrap(), "rg", "shop")
                .unwrap(),
            pool: Some("user1".to_owned()),
            azure_async_operation: OperationUrl::parse(
                "https://management.azure.com/op/1?t=1&s=S1GNATURE&c=C3RT&h=h",
            ),
            location: OperationUrl::parse("https://management.azure.com/loc/1?s=S1GNATURE"),
            retry_after: Some(Duration::from_secs(15)),
            started: Some("2026-11-24T08:00:00Z".parse().unwrap()),
            request_id: Some("r1".to_owned()),
        }
    }

    #[test]
    fn an_operation_survives_storing() {
        let text = serde_json::to_string(&operation()).unwrap();
        assert_eq!(serde_json::from_str::<Operation>(&text).unwrap(), operation());
    }

    #[test]
    fn an_operation_of_a_later_release_with_more_members_is_read() {
        let mut value = serde_json::to_value(operation()).unwrap();
        value["later"] = serde_json::json!({"x": 1});
        assert_eq!(serde_json::from_value::<Operation>(value).unwrap(), operation());
    }

    #[test]
    fn the_signature_in_an_operation_url_is_never_shown() {
        let operation = operation();
        let url = operation.location.clone().unwrap();
        let text = format!("{operation:?} {operation} {url}");
        assert!(!text.contains("S1GNATURE") && !text.contains("C3RT"), "{text}");
        assert!(text.contains("https://management.azure.com/op/1?.."), "{text}");
    }
}

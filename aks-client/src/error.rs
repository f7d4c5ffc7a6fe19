//! What can go wrong between a call and its answer.

use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use crate::body::BodyError;
use crate::id::ClusterId;
use crate::service_error::{MissingPermission, ServiceError};
use crate::token::TokenError;

/// Which request it was, with the ids Microsoft support asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Method and path. Never the query: that of an operation's URL holds a signature.
    pub request: String,
    /// The id this client gave the request (`x-ms-client-request-id`).
    pub client_request_id: Uuid,
    /// The id the service gave it (`x-ms-request-id`).
    pub request_id: Option<String>,
    /// The id that ties it to the Activity log (`x-ms-correlation-request-id`).
    pub correlation_id: Option<String>,
    /// Whether it could have changed something.
    pub is_write: bool,
}

/// An answer that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What the body said.
    pub error: ServiceError,
    /// The request it answered.
    pub trace: Trace,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (status {}, {})", self.error, self.status, self.trace.request)
    }
}

/// Why a call to ARM did not do what was asked.
///
/// Every error that came from the service carries its ids; see [`Error::trace`]. Text from the service is cleaned of
/// control characters and cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another operation holds the cluster or the pool. Wait until it ends, then try again.
    #[error("another operation is in progress: {answer}")]
    Conflict {
        /// What the service said.
        answer: Box<Answer>,
    },
    /// The service will not do this, now or later: a version path, a quota, a rule. Final.
    #[error("the operation is not allowed: {answer}")]
    NotAllowed {
        /// What the service said.
        answer: Box<Answer>,
    },
    /// The resource changed between reading and writing; nothing was written. Read again, decide again.
    #[error("the resource changed since it was read: {answer}")]
    EtagMismatch {
        /// What the service said.
        answer: Box<Answer>,
    },
    /// A create-only write met a resource of that name; it was left as it is.
    #[error("a resource of that name exists already: {answer}")]
    AlreadyExists {
        /// What the service said.
        answer: Box<Answer>,
    },
    /// Too many requests; this one was not processed.
    #[error("too many requests: {answer}")]
    Throttled {
        /// How long the service asks to wait, where it says so.
        retry_after: Option<Duration>,
        /// What the service said.
        answer: Box<Answer>,
    },
    /// No such resource (or, for ARM, none this caller may know of).
    #[error("not found: {answer}")]
    NotFound {
        /// What the service said.
        answer: Box<Answer>,
    },
    /// The token was refused, and a fresh one too.
    #[error("the token was refused: {answer}")]
    Unauthorized {
        /// What the service said.
        answer: Box<Answer>,
    },
    /// The caller lacks a permission.
    #[error("permission denied{}: {answer}", missing_text(.missing.as_ref()))]
    Forbidden {
        /// The action and scope, where the message names them.
        missing: Option<MissingPermission>,
        /// What the service said.
        answer: Box<Answer>,
    },
    /// Any other refusal; [`Answer`] has status, code, subcode and message.
    #[error("the request was refused: {answer}")]
    Api {
        /// What the service said.
        answer: Box<Answer>,
        /// How long the service asks to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// No answer came: no connection, a broken one, or none in time.
    #[error("no answer to {}", .trace.request)]
    Unreachable {
        /// Whether the request may have reached the service.
        sent: bool,
        /// The request.
        trace: Box<Trace>,
        /// The transport's error, without the URL.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is not what the API promises, for example the login page of a proxy.
    #[error("unexpected answer to {}: {reason}", .trace.request)]
    UnexpectedBody {
        /// What is wrong with it.
        reason: String,
        /// The request.
        trace: Box<Trace>,
    },
    /// The answer shows another cluster than was asked for. Nothing else it says is about the one that is meant.
    #[error("{asked} was asked for, {answered} came")]
    AnotherCluster {
        /// The cluster that was asked for.
        asked: Box<ClusterId>,
        /// The cluster that the answer shows.
        answered: Box<ClusterId>,
        /// The request.
        trace: Box<Trace>,
    },
    /// A redirect. ARM does not redirect; the token was not sent on by this client.
    #[error("{} was redirected{}", .trace.request, to_text(.to.as_deref()))]
    Redirected {
        /// The host pointed to, where it is readable.
        to: Option<String>,
        /// The request.
        trace: Box<Trace>,
    },
    /// An answer larger than any real one; reading stopped.
    #[error("the answer to {} is larger than {limit} bytes", .trace.request)]
    BodyTooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// The request.
        trace: Box<Trace>,
    },
    /// No token could be had; nothing was sent.
    #[error("no token for {request}")]
    Token {
        /// Method and path of the request.
        request: String,
        /// Why.
        #[source]
        source: TokenError,
    },
    /// No safe request body can be built from what the cluster shows; nothing was sent.
    #[error("no safe request can be built")]
    Body {
        /// Why.
        #[from]
        source: BodyError,
    },
    /// An argument that no Azure resource could have; nothing was sent.
    #[error("invalid argument: {reason}")]
    InvalidArgument {
        /// What is wrong with it.
        reason: String,
    },
}

fn missing_text(missing: Option<&MissingPermission>) -> String {
    missing.map(|missing| format!(", missing {missing}")).unwrap_or_default()
}

fn to_text(host: Option<&str>) -> String {
    host.map(|host| format!(" to {host}")).unwrap_or_default()
}

impl Error {
    /// The answer behind this error, where the service gave one.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Conflict { answer }
            | Self::NotAllowed { answer }
            | Self::EtagMismatch { answer }
            | Self::AlreadyExists { answer }
            | Self::Throttled { answer, .. }
            | Self::NotFound { answer }
            | Self::Unauthorized { answer }
            | Self::Forbidden { answer, .. }
            | Self::Api { answer, .. } => Some(answer),
            _ => None,
        }
    }

    /// The request behind this error, where one was sent.
    pub fn trace(&self) -> Option<&Trace> {
        match self {
            Self::Unreachable { trace, .. }
            | Self::UnexpectedBody { trace, .. }
            | Self::AnotherCluster { trace, .. }
            | Self::Redirected { trace, .. }
            | Self::BodyTooLarge { trace, .. } => Some(trace),
            other => other.answer().map(|answer| &answer.trace),
        }
    }

    /// The id the service gave the request, for a support case.
    pub fn request_id(&self) -> Option<&str> {
        self.trace()?.request_id.as_deref()
    }

    /// The id of the request in the Activity log.
    pub fn correlation_id(&self) -> Option<&str> {
        self.trace()?.correlation_id.as_deref()
    }

    /// How long the service asks to wait before the next attempt, where it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } | Self::Api { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether it is certain what the service did.
    ///
    /// For a read always. For a write: true where it was surely refused or never sent; false where it may have been
    /// accepted (a broken connection, a 5xx, a nonsense answer). Then look at the resource before doing anything.
    pub fn outcome_known(&self) -> bool {
        match self {
            Self::Unreachable { sent, trace, .. } => !sent || !trace.is_write,
            Self::UnexpectedBody { trace, .. }
            | Self::Redirected { trace, .. }
            | Self::BodyTooLarge { trace, .. } => !trace.is_write,
            Self::Api { answer, .. } => {
                !answer.trace.is_write || (answer.status < 500 && answer.status != 408)
            }
            _ => true,
        }
    }

    /// Whether the same call may succeed later with nothing changed by the caller.
    ///
    /// True for a conflict, a throttled or unreachable service, a transient status, and an eTag mismatch (every `begin_`
    /// call that reads first reads afresh; where the caller passed the eTag, the caller reads again). For a write look
    /// at [`outcome_known`](Self::outcome_known) first.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Conflict { .. }
            | Self::EtagMismatch { .. }
            | Self::Throttled { .. }
            | Self::Unreachable { .. } => true,
            Self::Api { answer, .. } => matches!(answer.status, 408 | 500 | 502 | 503 | 504),
            Self::Token { source, .. } => source.is_retryable(),
            _ => false,
        }
    }

    /// Whether a read is worth repeating at once, within the client.
    pub(crate) fn is_transient(&self) -> bool {
        self.is_retryable() && !matches!(self, Self::Conflict { .. } | Self::EtagMismatch { .. })
    }
}

/// Sorts a refusal into its class. The AKS code `OperationNotAllowed` alone says nothing: it stands for a passing
/// conflict and for a final no, so the message decides.
pub(crate) fn classify(answer: Answer, create_only: bool, retry_after: Option<Duration>) -> Error {
    let error = &answer.error;
    let busy = is_busy(error);
    let etag = error.mentions("EtagMismatch");
    let not_allowed = error.mentions("OperationNotAllowed");
    let status = answer.status;
    let missing = error.missing_permission();
    let answer = Box::new(answer);
    match status {
        401 => Error::Unauthorized { answer },
        403 => Error::Forbidden { missing, answer },
        404 | 410 => Error::NotFound { answer },
        412 if create_only => Error::AlreadyExists { answer },
        412 => Error::EtagMismatch { answer },
        400 | 409 if etag => Error::EtagMismatch { answer },
        400 | 409 | 429 if busy => Error::Conflict { answer },
        429 => Error::Throttled { retry_after, answer },
        400 | 409 if not_allowed => Error::NotAllowed { answer },
        409 if answer.error.code.as_deref() == Some("Conflict") => Error::Conflict { answer },
        _ => Error::Api { answer, retry_after },
    }
}

/// The wordings of "another operation is in progress".
fn is_busy(error: &ServiceError) -> bool {
    ["AnotherOperationInProgress", "RetryableErrorDueToAnotherOperation"]
        .into_iter()
        .any(|code| error.mentions(code))
        || ["another operation", "another agentpool operation", "since deletion was issued"]
            .into_iter()
            .any(|phrase| error.says(phrase))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(status: u16, body: &serde_json::Value, create_only: bool) -> Error {
        let trace = Trace {
            request: "PUT /x".to_owned(),
            client_request_id: Uuid::nil(),
            request_id: None,
            correlation_id: None,
            is_write: true,
        };
        let error = ServiceError::from_value(body).unwrap_or_default();
        classify(Answer { status, error, trace }, create_only, None)
    }

    fn class(error: &Error) -> &'static str {
        match error {
            Error::Conflict { .. } => "conflict",
            Error::NotAllowed { .. } => "not allowed",
            Error::EtagMismatch { .. } => "etag",
            Error::AlreadyExists { .. } => "exists",
            Error::Throttled { .. } => "throttled",
            Error::NotFound { .. } => "not found",
            Error::Forbidden { .. } => "forbidden",
            Error::Unauthorized { .. } => "unauthorized",
            Error::Api { .. } => "api",
            _ => "other",
        }
    }

    #[test]
    fn every_refusal_lands_in_its_class() {
        let not_allowed = |message: &str| json!({"code": "OperationNotAllowed", "message": message});
        let busy = [
            "Operation is not allowed: Another operation (Updating) is in progress, please wait",
            "Operation is not allowed: Another operation (nodepool1 - Updating) is in progress",
            "Another agentpool operation (x - Creating) is in progress",
            "Managed Cluster operation is not allowed: Another operation (x) is in progress on agent pool (p)",
            "Unable to perform 'Scaling' operation on 'p' since deletion was issued",
        ];
        for message in busy {
            assert_eq!(class(&refused(409, &not_allowed(message), false)), "conflict", "{message}");
        }
        let version =
            "Upgrading Kubernetes version 1.24.9 to 1.26.6 is not allowed. Available upgrades: [1.25.5]";
        let quota = "Operation results in exceeding quota limits of Core. Maximum allowed: 10";
        let etag = json!({"error": {"code": "EtagMismatch", "message": "Operation is not allowed: Another operation is \
            in progress", "details": [{"message": "rpc error: code = FailedPrecondition desc = Etag mismatched"}]}});
        let table = [
            (409, not_allowed(version), false, "not allowed"),
            (400, not_allowed(version), false, "not allowed"),
            (409, not_allowed(quota), false, "not allowed"),
            (409, etag, false, "etag"),
            (412, json!({}), false, "etag"),
            (412, json!({}), true, "exists"),
            (409, json!({"error": {"code": "Conflict", "message": "busy"}}), false, "conflict"),
            (409, json!({"error": {"code": "ScopeLocked", "message": "locked"}}), false, "api"),
            (429, json!({"code": "Throttled", "message": "slow down"}), false, "throttled"),
            (429, json!({"error": {"code": "RetryableErrorDueToAnotherOperation"}}), false, "conflict"),
            (400, json!({"code": "NotAllAgentPoolOrchestratorVersionSpecifiedAndUnchanged"}), false, "api"),
            (401, json!({}), false, "unauthorized"),
            (403, json!({"error": {"code": "AuthorizationFailed"}}), false, "forbidden"),
            (404, json!({}), false, "not found"),
            (410, json!({}), false, "not found"),
            (500, json!({}), false, "api"),
        ];
        for (status, body, create_only, expected) in table {
            assert_eq!(class(&refused(status, &body, create_only)), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_refusal_is_final_or_passing_and_its_outcome_known_or_not() {
        // status, retryable, outcome known (for a write).
        for (status, retryable, known) in [
            (400, false, true),
            (403, false, true),
            (404, false, true),
            (408, true, false),
            (412, true, true),
            (429, true, true),
            (500, true, false),
            (501, false, false),
            (503, true, false),
        ] {
            let error = refused(status, &json!({}), false);
            assert_eq!((error.is_retryable(), error.outcome_known()), (retryable, known), "{status}");
        }
    }
}

//! The failures of the Kubernetes proxy, told apart.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::answer::{self, NormanError, TokenVerdict, is_text, retry_after};
use crate::error::is_gateway_status;
use crate::text::{clean, clean_bytes};

/// The `Status` with which a Kubernetes API server says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeStatus {
    /// The HTTP status. The `code` in the body says the same, or is not to be believed.
    pub code: u16,
    /// One word for the cause, such as `Conflict`; empty where the server gives none. An open set.
    pub reason: String,
    /// A sentence for people, on one line.
    pub message: String,
    /// The causes, in the server's order.
    pub causes: Vec<StatusCause>,
    /// The pause asked for, in seconds; from the body, else from the header. `None` also where the server says 0.
    pub retry_after_seconds: Option<u64>,
}

/// One cause of a [`KubeStatus`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCause {
    /// One word, such as `DisruptionBudget`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The field it is about, if it is about one.
    pub field: String,
}

impl KubeStatus {
    /// Whether an eviction was refused by a disruption budget. This is information, not overload: a 429 without this
    /// cause is a busy API server.
    pub fn is_disruption_budget(&self) -> bool {
        self.code == 429 && self.causes.iter().any(|cause| cause.reason == "DisruptionBudget")
    }

    /// Whether an eviction was refused because several disruption budgets select the pod, which never succeeds until
    /// somebody changes them. The API server gives no reason, only this text (Kubernetes: `eviction.go`).
    pub fn is_several_budgets(&self) -> bool {
        self.code == 500 && self.message.contains("more than one PodDisruptionBudget")
    }

    /// Whether the place that a list or a watch was to go on from is gone (410). List anew.
    pub fn is_expired(&self) -> bool {
        self.code == 410 || (self.code >= 400 && self.reason == "Expired")
    }

    /// Whether the API server is behind the version that was asked for (504): the same again in a second succeeds.
    pub fn is_version_ahead(&self) -> bool {
        self.code == 504 && self.causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge")
    }

    /// Whether it was refused because the namespace is being deleted.
    pub fn is_namespace_terminating(&self) -> bool {
        self.code == 403 && self.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
    }

    fn outcome_known(&self) -> bool {
        (400..500).contains(&self.code) || self.is_several_budgets()
    }

    fn is_retryable(&self) -> bool {
        match self.code {
            429 | 503 | 504 => true,
            500 => {
                !self.is_several_budgets()
                    && (matches!(self.reason.as_str(), "InternalError" | "ServerTimeout")
                        || self.message.contains("etcdserver"))
            }
            _ => false,
        }
    }
}

/// What broke between Rancher and the cluster, by the text that Rancher passes on (as of 2.6; the text is all there
/// is).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RancherTrouble {
    /// `cluster agent disconnected`, or `failed to find Session`: the tunnel to the cluster is down.
    AgentDisconnected,
    /// `EOF`, `connection reset`, `connection refused`: the connection to the API server broke.
    ConnectionBroken,
    /// `i/o timeout`, `TLS handshake`: the API server was not reached in time.
    Timeout,
    /// `impersonator`: Rancher could not make the service account that stands for this user. Happens on a user's
    /// first request; the request itself was not passed on.
    Impersonation,
    /// Another text.
    Other,
}

impl RancherTrouble {
    fn read(text: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        // The order matters: an impersonation failure quotes the failure below it.
        if has(&["impersonator"]) {
            Self::Impersonation
        } else if has(&["cluster agent disconnected", "failed to find Session"]) {
            Self::AgentDisconnected
        } else if has(&["i/o timeout", "TLS handshake"]) {
            Self::Timeout
        } else if has(&["EOF", "connection reset", "connection refused"]) {
            Self::ConnectionBroken
        } else {
            Self::Other
        }
    }
}

/// An answer without success on the Kubernetes proxy: who said no, and what that means.
///
/// Seven parties answer here, each in a form of its own, and the content type is of no help. The status decides
/// first.
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use rancher_client::ProxyFailure;
///
/// let body = b"error trying to reach service: cluster agent disconnected";
/// let failure = ProxyFailure::classify(StatusCode::INTERNAL_SERVER_ERROR, &HeaderMap::new(), body);
/// assert!(matches!(failure, ProxyFailure::Rancher { .. }));
/// assert!(failure.is_retryable() && !failure.outcome_known());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// The cluster's own API server answered.
    #[error("HTTP {} from Kubernetes: {}", .0.code, .0.message)]
    Kubernetes(KubeStatus),
    /// Rancher does not accept the token (or it is limited to another cluster).
    #[error("Rancher rejected the token")]
    TokenRejected,
    /// Rancher accepts the token and says no: 401 or 403 from Rancher itself, also where Steve hides a cluster behind
    /// an empty 401.
    #[error("Rancher denies access to the cluster: {message}")]
    Denied {
        /// The HTTP status.
        status: StatusCode,
        /// Rancher's words; empty where it gives none.
        message: String,
    },
    /// Rancher's router: it does not know the cluster, or the cluster is not ready for requests. The request was not
    /// passed on.
    #[error("HTTP {} from Rancher's router: {message}", .status.as_u16())]
    Router {
        /// The HTTP status.
        status: StatusCode,
        /// Rancher's code, such as `NotFound` or `ClusterUnavailable`.
        code: String,
        /// Rancher's words.
        message: String,
    },
    /// Rancher could not get an answer from the cluster.
    #[error("Rancher did not reach the cluster: {message}")]
    Rancher {
        /// The HTTP status; 500 as far as known.
        status: StatusCode,
        /// What broke.
        trouble: RancherTrouble,
        /// Rancher's words.
        message: String,
    },
    /// Rancher cut the request off, because its body is larger than it lets through.
    #[error("the request is larger than Rancher lets through")]
    RequestTooLarge,
    /// 429, and not from the API server: something in between asks for a pause.
    #[error("too many requests")]
    RateLimited {
        /// The pause asked for, where one was.
        retry_after: Option<Duration>,
    },
    /// An ingress or load balancer answered in place of Rancher.
    #[error("HTTP {} from something before Rancher", .status.as_u16())]
    Gateway {
        /// The HTTP status.
        status: StatusCode,
        /// The pause asked for, where one was.
        retry_after: Option<Duration>,
    },
    /// None of the known forms.
    #[error("HTTP {} in an unknown form: {excerpt}", .status.as_u16())]
    Unrecognised {
        /// The HTTP status.
        status: StatusCode,
        /// The start of the body, on one line.
        excerpt: String,
    },
}

impl ProxyFailure {
    /// Says what an answer without success means. `body` may be cut off.
    pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        if let Some(kube) = read_status(status, headers, body) {
            return Self::Kubernetes(kube);
        }
        if let Some((code, message)) = read_router(body) {
            return if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                Self::Denied { status, message }
            } else {
                Self::Router { status, code, message }
            };
        }
        let (code, message) = match NormanError::read(body) {
            Some(error) => (Some(error.code.unwrap_or_default()), error.message),
            None => (None, clean_bytes(body)),
        };
        match (status, code) {
            (StatusCode::UNAUTHORIZED, _) => match answer::token_verdict(headers) {
                TokenVerdict::Accepted => Self::Denied { status, message },
                // Steve says 401 with an empty body to a user who may not see the cluster.
                TokenVerdict::Unsaid if message.is_empty() => Self::Denied { status, message },
                TokenVerdict::Unsaid | TokenVerdict::Refused => Self::TokenRejected,
            },
            (StatusCode::TOO_MANY_REQUESTS, _) => Self::RateLimited { retry_after: retry_after(headers) },
            (StatusCode::FORBIDDEN, Some(_)) => Self::Denied { status, message },
            (_, Some(code)) => Self::Router { status, code, message },
            (_, None) => Self::classify_text(status, headers, body, message),
        }
    }

    /// Says what an answer means that is no JSON of a known form.
    fn classify_text(status: StatusCode, headers: &HeaderMap, body: &[u8], message: String) -> Self {
        match status {
            StatusCode::FORBIDDEN if is_text(headers, body) => Self::Denied { status, message },
            _ if is_gateway_status(status) || !is_text(headers, body) => {
                Self::Gateway { status, retry_after: retry_after(headers) }
            }
            StatusCode::INTERNAL_SERVER_ERROR if message.contains("request body too large") => {
                Self::RequestTooLarge
            }
            // Half of somebody's JSON is not Rancher's plain text, whatever words are in it.
            _ if body.trim_ascii_start().starts_with(b"{") => Self::Unrecognised { status, excerpt: message },
            StatusCode::INTERNAL_SERVER_ERROR => {
                Self::Rancher { status, trouble: RancherTrouble::read(&message), message }
            }
            _ => Self::Unrecognised { status, excerpt: message },
        }
    }

    /// Whether it is certain what happened: the request was surely refused or never reached the cluster. False for a
    /// request that may have been carried out although the answer is an error. Read the object again (a pod's uid, a
    /// node's spec) before repeating it.
    pub fn outcome_known(&self) -> bool {
        match self {
            Self::Kubernetes(status) => status.outcome_known(),
            Self::Rancher { trouble, .. } => *trouble == RancherTrouble::Impersonation,
            Self::Gateway { status, .. } | Self::Unrecognised { status, .. } => status.is_client_error(),
            // An error inside Rancher says nothing about what was passed on before it.
            Self::Router { status, .. } => *status != StatusCode::INTERNAL_SERVER_ERROR,
            Self::TokenRejected | Self::Denied { .. } | Self::RequestTooLarge | Self::RateLimited { .. } => {
                true
            }
        }
    }

    /// Whether the same request may succeed later without anybody changing anything. A request that changes
    /// something may be repeated only where [`outcome_known`](Self::outcome_known) holds too.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Kubernetes(status) => status.is_retryable(),
            Self::Rancher { trouble, .. } => *trouble != RancherTrouble::Other,
            Self::Router { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
            Self::Gateway { status, .. } => is_gateway_status(*status),
            Self::RateLimited { .. } => true,
            Self::TokenRejected | Self::Denied { .. } | Self::RequestTooLarge | Self::Unrecognised { .. } => {
                false
            }
        }
    }

    /// The pause that the answer asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Kubernetes(status) => status.retry_after_seconds.map(Duration::from_secs),
            Self::RateLimited { retry_after } | Self::Gateway { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The API server's `Status`, cut down to what a caller decides by. Admission webhooks fill it in as they like, so only
/// its kind has to be right.
fn read_status(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<KubeStatus> {
    let value: Value = serde_json::from_slice(body).ok()?;
    if value.get("kind")?.as_str()? != "Status" {
        return None;
    }
    let text = |value: &Value, key: &str| clean(value.get(key).and_then(Value::as_str).unwrap_or_default());
    let causes = value.pointer("/details/causes").and_then(Value::as_array);
    let cause = |cause: &Value| StatusCause {
        reason: text(cause, "reason"),
        message: text(cause, "message"),
        field: text(cause, "field"),
    };
    let pause = value.pointer("/details/retryAfterSeconds").and_then(Value::as_u64);
    Some(KubeStatus {
        code: status.as_u16(),
        reason: text(&value, "reason"),
        message: text(&value, "message"),
        causes: causes.into_iter().flatten().map(cause).collect(),
        retry_after_seconds: pause
            .filter(|seconds| *seconds > 0)
            .or_else(|| retry_after(headers).map(|pause| pause.as_secs())),
    })
}

/// A Go struct that Rancher's router writes as it is (Rancher: `pkg/clusterrouter/router.go`).
fn read_router(body: &[u8]) -> Option<(String, String)> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let code = value.get("Code")?.get("Code")?.as_str()?;
    let message = value.get("Message").and_then(Value::as_str).unwrap_or_default();
    Some((clean(code), clean(message)))
}

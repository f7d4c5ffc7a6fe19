//! What went wrong on the way to the API server, in the core's terms.

use std::sync::Arc;
use std::time::Duration;

use rancher_client::{BodyError, KubeStatus, ProxyError, ProxyFailure, RancherTrouble};
use tower::BoxError;
use upgrade_core::ports::{CallOutcome, PortError, PortErrorKind, RemoteService};

use crate::adapters::rancher;
use crate::adapters::text::{one_line, with_causes};

/// A call that failed, before it is known what it was for.
#[derive(Debug)]
pub(super) enum Failure {
    /// An answer without success.
    Answer(ProxyFailure),
    /// Rancher's proxy could not be asked.
    Rancher(rancher_client::Error),
    /// A watch said that it cannot go on from where it was asked to.
    Expired,
    /// Nothing came for so long that the connection is taken for dead.
    Idle,
    /// An `ERROR` in a watch.
    Event(String),
    /// The answer broke off, or took too long.
    Broken(String),
    /// The answer cannot be understood.
    Unreadable(String),
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        let error = match error {
            kube::Error::Service(error) => error,
            kube::Error::Api(status) if matches!(status.code, 410) => return Self::Expired,
            kube::Error::Api(status) => return Self::Event(status.message),
            kube::Error::SerdeError(error) => return Self::Unreadable(error.to_string()),
            other if is_idle(&other) => return Self::Idle,
            other => return Self::Broken(with_causes(&other)),
        };
        Self::of_service(error)
    }
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        match error {
            ProxyError::Request(error) => Self::Rancher(error),
            ProxyError::Failure(failure) => Self::Answer(failure),
            // The type may grow.
            other => Self::Broken(with_causes(&other)),
        }
    }
}

/// Has a body gone silent?
fn is_idle(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| matches!(error.downcast_ref(), Some(BodyError::Idle { .. })))
}

impl Failure {
    /// What the service under the kube client failed with.
    pub(super) fn of_service(error: BoxError) -> Self {
        let error = match error.downcast::<ProxyFailure>() {
            Ok(failure) => return Self::Answer(*failure),
            Err(error) => error,
        };
        match error.downcast::<rancher_client::Error>() {
            Ok(error) => Self::Rancher(*error),
            Err(error) => Self::Broken(with_causes(&*error)),
        }
    }

    /// The API server's own refusal.
    pub(super) fn status(&self) -> Option<&KubeStatus> {
        match self {
            Self::Answer(ProxyFailure::Kubernetes(status)) => Some(status),
            _ => None,
        }
    }

    /// The place in a list or a watch is no longer there.
    pub(super) fn is_expired(&self) -> bool {
        matches!(self, Self::Expired) || self.status().is_some_and(|status| status.code == 410)
    }

    /// May the same read succeed in a moment?
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Answer(failure) => failure.is_retryable(),
            Self::Rancher(error) => error.is_retryable(),
            Self::Broken(_) | Self::Idle | Self::Event(_) => true,
            Self::Expired | Self::Unreadable(_) => false,
        }
    }

    /// The pause that was asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer(failure) => failure.retry_after(),
            Self::Rancher(rancher_client::Error::RateLimited { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }

    /// Of a read: whatever happened, nothing was changed.
    pub(super) fn of_read(self, what: &str) -> PortError {
        PortError { outcome: CallOutcome::NothingDone, ..self.error(what) }
    }

    /// Of a write.
    pub(super) fn of_write(self, what: &str) -> PortError {
        self.error(what)
    }

    fn error(self, what: &str) -> PortError {
        let outcome = |known| if known { CallOutcome::NothingDone } else { CallOutcome::Unknown };
        match self {
            Self::Answer(failure) => {
                let (service, kind) = kind(&failure);
                let message = format!("{what}: {}", words(&failure));
                PortError {
                    retry_after: failure.retry_after(),
                    ..PortError::new(service, kind, outcome(failure.outcome_known()), one_line(&message))
                }
            }
            Self::Rancher(error) => rancher::port_error(error, Some(what)),
            Self::Expired => internal(what, "the place to go on from is gone", PortErrorKind::Conflict),
            Self::Idle => internal(what, "the answer stopped in the middle", PortErrorKind::Unreachable),
            Self::Event(message) => internal(what, &message, PortErrorKind::Internal),
            Self::Broken(reason) => internal(what, &reason, PortErrorKind::Unreachable),
            Self::Unreadable(reason) => {
                internal(what, &format!("the answer cannot be read: {reason}"), PortErrorKind::Internal)
            }
        }
    }
}

fn internal(what: &str, reason: &str, kind: PortErrorKind) -> PortError {
    let message = one_line(&format!("{what}: {reason}"));
    PortError::new(RemoteService::Kubernetes, kind, CallOutcome::Unknown, message)
}

/// The API server's words as they are; everybody else's with who it was.
fn words(failure: &ProxyFailure) -> String {
    match failure {
        ProxyFailure::Kubernetes(status) if !status.message.is_empty() => {
            format!("{} (HTTP {})", status.message, status.code)
        }
        other => other.to_string(),
    }
}

fn kind(failure: &ProxyFailure) -> (RemoteService, PortErrorKind) {
    use PortErrorKind as Kind;
    let of_status = |code: u16| match code {
        401 => Kind::Unauthorized,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        409 | 410 => Kind::Conflict,
        429 => Kind::Throttled,
        503 | 504 => Kind::Unreachable,
        400..500 => Kind::Rejected,
        _ => Kind::Internal,
    };
    match failure {
        ProxyFailure::Kubernetes(status) => (RemoteService::Kubernetes, of_status(status.code)),
        ProxyFailure::TokenRejected => (RemoteService::Rancher, Kind::Unauthorized),
        ProxyFailure::Denied { .. } => (RemoteService::Rancher, Kind::Forbidden),
        ProxyFailure::Router { status, .. } => (RemoteService::Rancher, of_status(status.as_u16())),
        ProxyFailure::Rancher { trouble: RancherTrouble::Other, .. } => {
            (RemoteService::Rancher, Kind::Internal)
        }
        ProxyFailure::Rancher { .. } | ProxyFailure::Gateway { .. } => {
            (RemoteService::Rancher, Kind::Unreachable)
        }
        ProxyFailure::RequestTooLarge => (RemoteService::Rancher, Kind::Rejected),
        ProxyFailure::RateLimited { .. } => (RemoteService::Rancher, Kind::Throttled),
        // The type may grow; what is unknown is the service's failure.
        _ => (RemoteService::Rancher, Kind::Internal),
    }
}

/// The object that was read cannot be told: Kubernetes holds something that it would not admit.
pub(super) fn undecodable(what: &str, error: super::decode::DecodeError) -> PortError {
    let message = one_line(&format!("{what}: {error}"));
    PortError {
        source: Some(Arc::new(error)),
        ..PortError::new(
            RemoteService::Kubernetes,
            PortErrorKind::Internal,
            CallOutcome::NothingDone,
            message,
        )
    }
}

//! What can go wrong between this client and a Rancher server.

use std::time::Duration;

use http::StatusCode;

use crate::id::RancherClusterId;
use crate::text::clean;
use crate::token::TokenSourceError;
use crate::url::UrlError;

/// An operation on a Rancher server that did not give what was asked for.
///
/// `operation` fields complete the sentence "failed to ...". Text that came from a server is one short line without
/// control characters, and never holds the token that was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The token source has no token.
    #[error("no Rancher token to send")]
    TokenUnavailable(#[source] TokenSourceError),
    /// 401, and Rancher does not say that the token is good. Rancher answers a wrong, an expired, a disabled and a
    /// scoped token used outside its cluster alike; only the path tells whether the last is possible.
    #[error("Rancher rejected token `{token}`: wrong, expired or disabled{}", scope_remark(*.perhaps_scoped))]
    TokenRejected {
        /// The name of the token (the part before its `:`).
        token: String,
        /// What was tried.
        operation: String,
        /// Whether a token limited to any cluster would get this answer too, because what was tried lies outside
        /// all of them. If false, one that is limited to another cluster would.
        perhaps_scoped: bool,
    },
    /// 401 outside any cluster although Rancher accepts the token: it is limited to one cluster. Give the cluster's
    /// id instead of its name.
    #[error("token `{token}` is limited to one cluster")]
    ScopedToken {
        /// The name of the token.
        token: String,
        /// What was tried.
        operation: String,
    },
    /// Rancher knows the user and says no: 403, or 401 inside a cluster with an accepted token.
    #[error("no permission to {operation}: {message}")]
    PermissionDenied {
        /// What was tried.
        operation: String,
        /// Rancher's words.
        message: String,
    },
    /// Rancher has no such thing, or hides it from this user.
    #[error("{subject} does not exist, or is hidden from this token's user")]
    NotFound {
        /// What was looked for.
        subject: String,
    },
    /// Several clusters have the name; only an id tells them apart.
    #[error("{} clusters are named `{name}`", .ids.len())]
    AmbiguousName {
        /// The name that was looked for.
        name: String,
        /// The clusters that have it.
        ids: Vec<RancherClusterId>,
    },
    /// Rancher shows another cluster than was asked for by its id.
    #[error("cluster {asked} was asked for, and Rancher answers for {answered}")]
    AnotherCluster {
        /// The id that was asked for.
        asked: RancherClusterId,
        /// The id in the answer.
        answered: RancherClusterId,
    },
    /// 429: something between here and there asks for a pause.
    #[error("too many requests to {operation}")]
    RateLimited {
        /// What was tried.
        operation: String,
        /// The pause asked for, where one was.
        retry_after: Option<Duration>,
    },
    /// Any other error that Rancher itself reported.
    #[error("HTTP {} when trying to {operation}: {message}", .status.as_u16())]
    Api {
        /// What was tried.
        operation: String,
        /// The HTTP status.
        status: StatusCode,
        /// Rancher's code, such as `ServerError`, or a reason of Kubernetes. An open set.
        code: Option<String>,
        /// Rancher's words.
        message: String,
    },
    /// An error in a form that is not Rancher's: an ingress, a load balancer or another server answered.
    #[error("HTTP {} when trying to {operation}, and the answer is not Rancher's", .status.as_u16())]
    Gateway {
        /// What was tried.
        operation: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// No connection, so nothing was sent.
    #[error("no connection to {host}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the connection said.
        source: reqwest::Error,
    },
    /// The server's certificate is not trusted or not for this host. Nothing was sent.
    #[error("the certificate of {host} is not trusted")]
    UntrustedCertificate {
        /// Host and port.
        host: String,
        /// What the TLS library said.
        source: reqwest::Error,
    },
    /// The connection broke or timed out after the request may have been sent, or in the middle of the answer.
    #[error("the connection broke off when trying to {operation}")]
    Interrupted {
        /// What was tried.
        operation: String,
        /// What the connection said.
        source: reqwest::Error,
    },
    /// A success whose body is not what it has to be.
    #[error("the answer to {operation} cannot be read")]
    UnexpectedBody {
        /// What was tried.
        operation: String,
        /// Where in the body, and why.
        source: DecodeError,
    },
    /// The body is larger than this client reads.
    #[error("the answer to {operation} is larger than {limit} bytes")]
    BodyTooLarge {
        /// What was tried.
        operation: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A redirect. It is never followed, because the token would go along.
    #[error("{operation} was redirected to {}", .host.as_deref().unwrap_or("an unnamed place"))]
    Redirected {
        /// What was tried.
        operation: String,
        /// The host (and port) the redirect names, if it names one.
        host: Option<String>,
        /// True when the HTTP client that was handed in has followed it already. It must be built without redirects.
        followed: bool,
    },
    /// The request's body is larger than Rancher takes (1 MiB from 2.13 on). Nothing was sent.
    #[error("a request of {size} bytes is larger than Rancher takes")]
    RequestTooLarge {
        /// The size of the request's body, in bytes.
        size: usize,
    },
    /// The path of a request would not stay where it belongs. Nothing was sent.
    #[error("the path of the request is not acceptable")]
    BadPath(#[source] UrlError),
}

/// Where and why a JSON body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at `{path}`: {reason}")]
pub struct DecodeError {
    path: String,
    reason: String,
}

impl DecodeError {
    pub(crate) fn new(path: &str, reason: &str) -> Self {
        Self { path: clean(path), reason: clean(reason) }
    }

    pub(crate) fn from_serde(error: &serde_path_to_error::Error<serde_json::Error>) -> Self {
        // A body that ends in the middle of a key leaves a last step without a name.
        let path = error.path().to_string();
        let path = path.strip_suffix(".?").unwrap_or(&path);
        Self::new(path, &error.inner().to_string())
    }

    /// The same error inside `outer`, such as `data[3]`.
    pub(crate) fn below(self, outer: &str) -> Self {
        if self.path == "." {
            return Self { path: outer.to_owned(), ..self };
        }
        Self { path: format!("{outer}.{}", self.path), ..self }
    }

    /// The place in the body, such as `data[3].conditions[0].status`; `.` is the whole body.
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn scope_remark(perhaps_scoped: bool) -> &'static str {
    if perhaps_scoped {
        ", or limited to one cluster (then give the cluster's id, not its name)"
    } else {
        ", or limited to another cluster"
    }
}

impl Error {
    /// Whether it is certain what the server did: that it surely refused, or was never asked. False means that a
    /// request that changes something may or may not have been carried out: look before repeating it.
    pub fn outcome_known(&self) -> bool {
        match self {
            Self::Api { status, .. } | Self::Gateway { status, .. } => status.is_client_error(),
            Self::Redirected { followed, .. } => !followed,
            Self::Interrupted { .. }
            | Self::UnexpectedBody { .. }
            | Self::AnotherCluster { .. }
            | Self::BodyTooLarge { .. } => false,
            Self::TokenUnavailable(_)
            | Self::TokenRejected { .. }
            | Self::ScopedToken { .. }
            | Self::PermissionDenied { .. }
            | Self::NotFound { .. }
            | Self::AmbiguousName { .. }
            | Self::RateLimited { .. }
            | Self::Unreachable { .. }
            | Self::UntrustedCertificate { .. }
            | Self::RequestTooLarge { .. }
            | Self::BadPath(_) => true,
        }
    }

    /// The pause that the answer asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same request may succeed later without anybody changing anything. A request that changes
    /// something may be repeated only where [`outcome_known`](Self::outcome_known) holds too.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } | Self::RateLimited { .. } => true,
            Self::Api { status, .. } => status.is_server_error(),
            Self::Gateway { status, .. } => is_gateway_status(*status),
            _ => false,
        }
    }
}

/// The statuses with which a load balancer or ingress says that the server behind it did not answer.
pub(crate) fn is_gateway_status(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// Sorts a failure of the connection. `host` and `operation` are for the message.
pub(crate) fn transport(error: reqwest::Error, host: &str, operation: &str) -> Error {
    let source = error.without_url();
    if names_certificate(&source) {
        return Error::UntrustedCertificate { host: host.to_owned(), source };
    }
    if source.is_connect() || source.is_builder() {
        return Error::Unreachable { host: host.to_owned(), source };
    }
    Error::Interrupted { operation: operation.to_owned(), source }
}

/// rustls reports a refused certificate as `invalid peer certificate: ...`, under two layers of I/O errors. Its type
/// would tie this crate to the version of rustls that the caller's client was built with.
fn names_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |e| e.source())
        .any(|e| e.to_string().contains("invalid peer certificate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(status: u16) -> Error {
        let status = StatusCode::from_u16(status).unwrap();
        Error::Api { operation: "list clusters".into(), status, code: None, message: "x".into() }
    }

    fn gateway(status: u16) -> Error {
        let status = StatusCode::from_u16(status).unwrap();
        Error::Gateway { operation: "list clusters".into(), status }
    }

    #[test]
    fn only_an_error_that_says_no_for_sure_has_a_known_outcome() {
        let operation = || "list clusters".to_owned();
        let cases = [
            (api(422), true, false),
            (api(500), false, true),
            (api(503), false, true),
            (gateway(404), true, false),
            (gateway(500), false, false),
            (gateway(502), false, true),
            (Error::RateLimited { operation: operation(), retry_after: None }, true, true),
            (Error::NotFound { subject: "cluster c-x".into() }, true, false),
            (Error::Redirected { operation: operation(), host: None, followed: false }, true, false),
            (Error::Redirected { operation: operation(), host: None, followed: true }, false, false),
            (Error::BodyTooLarge { operation: operation(), limit: 1 }, false, false),
            (Error::TokenUnavailable(TokenSourceError::new("the file is empty")), true, false),
        ];
        for (error, known, retryable) in cases {
            assert_eq!((error.outcome_known(), error.is_retryable()), (known, retryable), "{error:?}");
        }
    }

    #[test]
    fn a_refused_certificate_is_found_below_the_layers_that_wrap_it() {
        let tls = std::io::Error::other("invalid peer certificate: UnknownIssuer");
        let wrapped = TokenSourceError::new("client error (Connect)").caused_by(tls);
        assert!(names_certificate(&wrapped));
        assert!(!names_certificate(&std::io::Error::other("connection refused")));
    }
}

//! The Kubernetes API of a cluster, through Rancher.

mod failure;
mod idle;
mod warm_up;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use url::Url;

pub use failure::{KubeStatus, ProxyFailure, RancherTrouble, StatusCause};
pub use idle::{BodyError, idle_deadline};
pub use warm_up::{KubernetesVersion, WarmUp};

use crate::answer::{self, MAX_BODY};
use crate::client::{Outgoing, RancherClient};
use crate::error::Error;
use crate::id::RancherClusterId;
use crate::url::UrlError;

/// Largest body that Rancher 2.13 and later let through (setting `public-api-body-limit`, 1 MiB).
const MAX_REQUEST_BODY: usize = 1024 * 1024;

/// Longest wait for the answer to a short read of this crate's own. Rancher waits up to 40 s for a cluster agent that
/// has lost its tunnel, and a silent agent is noticed after 60 s.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// A read through the proxy that gave no success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// There is no answer, or one that cannot be read.
    #[error(transparent)]
    Request(#[from] Error),
    /// The answer is a failure.
    #[error(transparent)]
    Failure(#[from] ProxyFailure),
}

impl ProxyError {
    /// See [`Error::outcome_known`].
    pub fn outcome_known(&self) -> bool {
        match self {
            Self::Request(error) => error.outcome_known(),
            Self::Failure(failure) => failure.outcome_known(),
        }
    }

    /// See [`Error::is_retryable`].
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Request(error) => error.is_retryable(),
            Self::Failure(failure) => failure.is_retryable(),
        }
    }

    /// The pause that the answer asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Request(error) => error.retry_after(),
            Self::Failure(failure) => failure.retry_after(),
        }
    }
}

/// The Kubernetes API of one cluster, below `/k8s/clusters/<id>` of a Rancher server.
///
/// It adds the address, the token and the User-Agent, and nothing else: which requests to send, how to read a success
/// and when to repeat a failure is the caller's matter. Clones are cheap.
#[derive(Clone, Debug)]
pub struct KubernetesProxy {
    client: RancherClient,
    cluster: RancherClusterId,
    prefix: String,
}

impl RancherClient {
    /// The Kubernetes API of a cluster. Nothing is sent yet.
    pub fn proxy(&self, cluster: &RancherClusterId) -> KubernetesProxy {
        let prefix = format!("k8s/clusters/{cluster}");
        KubernetesProxy { client: self.clone(), cluster: cluster.clone(), prefix }
    }
}

impl KubernetesProxy {
    /// The cluster behind this proxy.
    pub fn cluster(&self) -> &RancherClusterId {
        &self.cluster
    }

    /// The address of a path of the Kubernetes API, such as `/api/v1/nodes?limit=500`. It never leaves this cluster:
    /// a path that a server could resolve elsewhere is refused.
    pub fn url(&self, path: &str) -> Result<Url, UrlError> {
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.starts_with('/') {
            return Err(UrlError::AmbiguousPath);
        }
        self.client.url().join(&format!("{}/{path}", self.prefix))
    }

    /// Sends a request and gives its answer as it comes, whatever its status, with the body still unread; a watch
    /// can be followed from it. Read an answer without success with [`failure`](Self::failure).
    ///
    /// Of the request's URI only path and query count. `Authorization`, `Cookie`, `Host` and `User-Agent` are
    /// replaced. When Rancher refuses the token, the request is sent once more if the token source has another one;
    /// that is safe for every request, because Rancher checks the token before it does anything else.
    ///
    /// A redirect is an error. There is no time limit but those of the HTTP client that was handed in.
    pub async fn send(&self, request: http::Request<Vec<u8>>) -> Result<reqwest::Response, Error> {
        let (head, body) = request.into_parts();
        if body.len() > MAX_REQUEST_BODY {
            return Err(Error::RequestTooLarge { size: body.len() });
        }
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = self.url(path).map_err(Error::BadPath)?;
        let operation = format!("{} in cluster {}", head.method, self.cluster);
        let headers: HeaderMap = head.headers;
        let body = Bytes::from(body);
        let outgoing = Outgoing { method: head.method, url, headers, body, timeout: None };
        self.client.send(outgoing, &operation).await.map(|(response, _)| response)
    }

    /// GETs JSON, with a time limit. `text` completes "failed to ...".
    pub(crate) async fn get_json<T: DeserializeOwned>(
        &self,
        path: &str,
        text: &str,
    ) -> Result<T, ProxyError> {
        let url = self.url(path).map_err(Error::BadPath)?;
        let timeout = Some(READ_TIMEOUT);
        let (method, headers, body) = (Method::GET, HeaderMap::new(), Bytes::new());
        let outgoing = Outgoing { method, url, headers, body, timeout };
        let (response, token) = self.client.send(outgoing, text).await?;
        if !response.status().is_success() {
            return Err(self.failure(response).await.into());
        }
        let body = answer::read_body(response, MAX_BODY, text).await?;
        let value = answer::decode(&token.redact(body));
        Ok(value.map_err(|source| Error::UnexpectedBody { operation: text.to_owned(), source })?)
    }

    /// Reads the body of an answer without success, at most 256 KiB of it, and says what kind of failure it is. The
    /// token does not appear in the result, even if the server repeats it.
    pub async fn failure(&self, response: reqwest::Response) -> ProxyFailure {
        let status = response.status();
        let headers = response.headers().clone();
        let token = self.client.current_token().await.ok();
        let body = answer::read_error_body(response, token.as_ref()).await;
        ProxyFailure::classify(status, &headers, &body)
    }
}

#[cfg(test)]
mod tests;

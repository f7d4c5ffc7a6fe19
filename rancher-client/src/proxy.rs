//! The Kubernetes API of a cluster, through Rancher.

mod failure;

use bytes::Bytes;
use http::HeaderMap;
use url::Url;

pub use failure::{KubeStatus, ProxyFailure, RancherTrouble, StatusCause};

use crate::answer;
use crate::client::{Outgoing, RancherClient};
use crate::error::Error;
use crate::id::RancherClusterId;
use crate::url::UrlError;

/// Largest body that Rancher 2.13 and later let through (setting `public-api-body-limit`, 1 MiB).
const MAX_REQUEST_BODY: usize = 1024 * 1024;

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

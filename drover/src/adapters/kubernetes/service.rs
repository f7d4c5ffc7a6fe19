//! Rancher's proxy as the service under a kube client.

use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::client::Body;
use rancher_client::KubernetesProxy;
use tower::{BoxError, Service};

/// Sends what the kube client asks for through the proxy. An answer without success becomes an error that keeps who said no
/// (`rancher_client::ProxyFailure`); the kube client would take every one for the API server's.
#[derive(Clone, Debug)]
pub(super) struct ProxyService(pub(super) KubernetesProxy);

impl Service<http::Request<Body>> for ProxyService {
    type Response = http::Response<reqwest::Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let proxy = self.0.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let response = proxy.send(http::Request::from_parts(head, body.to_vec())).await?;
            if response.status().is_success() {
                return Ok(response.into());
            }
            Err(proxy.failure(response).await.into())
        }
        .boxed()
    }
}

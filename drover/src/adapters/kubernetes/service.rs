//! Rancher's proxy as the service under a kube client.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use kube::client::Body;
use rancher_client::{BodyError, KubernetesProxy, TokioPause, idle_deadline};
use tower::{BoxError, Service};

/// How long the body of an answer may be silent. A watch has a bookmark about once a minute; half as much again, and the
/// connection is taken for dead.
const IDLE: Duration = Duration::from_secs(90);

/// Sends what the kube client asks for through the proxy. An answer without success becomes an error that keeps who said no
/// (`rancher_client::ProxyFailure`); the kube client would take every one for the API server's. A body that goes silent breaks
/// off with [`BodyError::Idle`].
#[derive(Clone, Debug)]
pub(super) struct ProxyService(pub(super) KubernetesProxy);

impl ProxyService {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<reqwest::Response, BoxError> {
        let response = self.0.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.0.failure(response).await.into())
    }

    /// Sends, and gives the body of a success piece by piece.
    pub(super) async fn body(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + use<>, BoxError> {
        self.send(request).await.map(pieces)
    }
}

fn pieces(
    response: reqwest::Response,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + use<> {
    Box::pin(idle_deadline(response, IDLE, Arc::new(TokioPause)))
}

impl Service<http::Request<Body>> for ProxyService {
    type Response = http::Response<reqwest::Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let response = service.send(http::Request::from_parts(head, body.to_vec())).await?;
            let mut answer = http::Response::new(());
            *answer.status_mut() = response.status();
            *answer.headers_mut() = response.headers().clone();
            Ok(answer.map(|()| reqwest::Body::wrap_stream(pieces(response))))
        }
        .boxed()
    }
}

//! A deadline for bodies that have gone silent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::{Stream, unfold};

use crate::pause::Pause;

/// Why the body of an answer broke off. Neither says that what was read so far is wrong: go on from the last version
/// that was seen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Nothing arrived for so long that the connection is taken for dead.
    #[error("nothing arrived for {} s", .idle.as_secs())]
    Idle {
        /// The deadline that passed.
        idle: Duration,
    },
    /// The connection broke in the middle of the body.
    #[error("the connection broke off in the middle of the answer")]
    Broken(#[source] reqwest::Error),
}

impl BodyError {
    /// Always true: a body is only read.
    pub fn outcome_known(&self) -> bool {
        true
    }

    /// Always true: asking anew gives another connection.
    pub fn is_retryable(&self) -> bool {
        true
    }
}

/// The body of an answer, piece by piece, which fails once nothing has arrived for `idle`.
///
/// A tunnel whose node died keeps a connection open for up to a minute, and some load balancers for ever; a watch sees
/// no difference to a cluster in which nothing happens. Ask for bookmarks, which come about every 60 s, and give
/// `idle` half as much again.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use futures::StreamExt;
/// use rancher_client::{TokioPause, idle_deadline};
/// # use rancher_client::{BearerToken, RancherClient, RancherClusterId, RancherUrl, StaticToken};
/// # use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let _ = rustls::crypto::ring::default_provider().install_default();
/// # let server = MockServer::start().await;
/// # Mock::given(path("/k8s/clusters/c-x7k2p/api/v1/pods"))
/// #     .respond_with(ResponseTemplate::new(200).set_body_string("{\"type\":\"BOOKMARK\"}\n")).mount(&server).await;
/// # let token = StaticToken::new(BearerToken::parse("token-7x2kp:hunter2")?);
/// # let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// # let kubernetes = RancherClient::new(http, RancherUrl::parse(&server.uri())?, Arc::new(token))
/// #     .proxy(&RancherClusterId::parse("c-x7k2p")?);
/// let watch = http::Request::get("/api/v1/pods?watch=1&allowWatchBookmarks=true&timeoutSeconds=225");
/// let response = kubernetes.send(watch.body(Vec::new())?).await?;
/// let body = idle_deadline(response, Duration::from_secs(90), Arc::new(TokioPause));
/// let pieces: Vec<_> = body.collect().await;
/// assert_eq!(pieces[0].as_ref().map(|piece| piece.len()).ok(), Some(20));
/// # Ok(())
/// # }
/// ```
pub fn idle_deadline(
    response: reqwest::Response,
    idle: Duration,
    pause: Arc<dyn Pause>,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    unfold(Some(response), move |response| {
        let pause = Arc::clone(&pause);
        async move {
            let mut response = response?;
            let silence = pause.pause(idle);
            let piece = match select(Box::pin(response.chunk()), silence).await {
                Either::Left((piece, _)) => piece,
                Either::Right(((), _)) => return Some((Err(BodyError::Idle { idle }), None)),
            };
            match piece {
                Ok(Some(piece)) => Some((Ok(piece), Some(response))),
                Ok(None) => None,
                Err(error) => Some((Err(BodyError::Broken(error.without_url())), None)),
            }
        }
    })
}

//! The first request of a user to a cluster, which is slow and may fail.

use std::time::Duration;

use serde::Deserialize;

use super::{KubernetesProxy, ProxyError};
use crate::pause::Pause;

/// Pause before the second attempt; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// Rancher looks at its tunnels every 15 s; asking more often gives no other answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The version of a cluster's control plane, by its own word.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesVersion {
    git_version: String,
}

impl KubernetesVersion {
    /// The version, such as `v1.34.2`.
    pub fn as_str(&self) -> &str {
        &self.git_version
    }
}

/// A cluster that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmUp {
    /// The version of the control plane.
    pub version: KubernetesVersion,
    /// How many requests it took; one where the cluster was warm.
    pub attempts: u32,
}

impl KubernetesProxy {
    /// The version of the control plane, which at the same time proves that the way to the API server is open. What
    /// Rancher says about the cluster's state does not: an `unavailable` cluster may answer, and an `active` one not.
    pub async fn version(&self) -> Result<KubernetesVersion, ProxyError> {
        self.get_json("version", &format!("read the version of cluster {}", self.cluster)).await
    }

    /// Sends reads until one succeeds, for at most `limit` of pauses.
    ///
    /// On the first request of a user Rancher makes a service account and its rights in the cluster and waits for
    /// them, which takes seconds and fails now and then. Do this before anything that is timed or may not be repeated.
    /// The last failure is given when the time is up, and a failure that time does not heal at once.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use std::time::Duration;
    /// use rancher_client::TokioPause;
    /// # use rancher_client::{BearerToken, RancherClient, RancherClusterId, RancherUrl, StaticToken};
    /// # use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let _ = rustls::crypto::ring::default_provider().install_default();
    /// # let server = MockServer::start().await;
    /// # Mock::given(path("/k8s/clusters/c-x7k2p/version"))
    /// #     .respond_with(ResponseTemplate::new(200).set_body_string(r#"{"gitVersion":"v1.34.2"}"#)).mount(&server).await;
    /// # let token = StaticToken::new(BearerToken::parse("token-7x2kp:hunter2")?);
    /// # let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    /// # let rancher = RancherClient::new(http, RancherUrl::parse(&server.uri())?, Arc::new(token));
    /// let kubernetes = rancher.proxy(&RancherClusterId::parse("c-x7k2p")?);
    /// let warm = kubernetes.warm_up(&TokioPause, Duration::from_secs(120)).await?;
    /// assert_eq!((warm.version.as_str(), warm.attempts), ("v1.34.2", 1));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn warm_up(&self, pause: &dyn Pause, limit: Duration) -> Result<WarmUp, ProxyError> {
        let mut waited = Duration::ZERO;
        let mut step = FIRST_PAUSE;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.version().await {
                Ok(version) => return Ok(WarmUp { version, attempts }),
                Err(error) => error,
            };
            let next = error.retry_after().unwrap_or(step).max(FIRST_PAUSE);
            if !error.is_retryable() || waited.saturating_add(next) > limit {
                return Err(error);
            }
            tracing::info!(cluster = %self.cluster, attempts, %error, "the cluster does not answer yet");
            pause.pause(next).await;
            waited += next;
            step = (step * 2).min(LONGEST_PAUSE);
        }
    }
}

//! After a change in Azure: waiting until Rancher has adopted it.
//!
//! Where Rancher manages a cluster, a change made through ARM is safe only once Rancher has read it and made it its own.
//! Until then everything that wakes Rancher's operator (an edit, a restart, its ten-hourly look) takes the change back:
//! a pool it does not know is deleted, a pool it misses is made anew. So the rule is one change, then a wait, then the
//! next one.
//!
//! ```
//! use std::time::Duration;
//! use rancher_client::TokioPause;
//! use rancher_client::lock_step::LockStep;
//! use rancher_client::ownership::AzureState;
//! # use std::sync::Arc;
//! # use rancher_client::{BearerToken, RancherClient, RancherClusterId, RancherUrl, StaticToken};
//! # use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! # let server = MockServer::start().await;
//! # Mock::given(path("/v3/clusters/c-x7k2p")).respond_with(ResponseTemplate::new(200)
//! #     .set_body_string(r#"{"id":"c-x7k2p","driver":"imported","provider":"aks"}"#)).mount(&server).await;
//! # let token = StaticToken::new(BearerToken::parse("token-7x2kp:hunter2")?);
//! # let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
//! # let rancher = RancherClient::new(http, RancherUrl::parse(&server.uri())?, Arc::new(token));
//! # let (pools, now) = (Vec::new(), jiff::Timestamp::UNIX_EPOCH);
//! // ARM says that the change is done, and what the cluster looks like now.
//! let azure = AzureState { version: Some("1.35.1".into()), pools };
//! let cluster = rancher.reader(&RancherClusterId::parse("c-x7k2p")?);
//! let adopted = LockStep::new(azure, now)
//!     .refresh(Duration::from_secs(300))
//!     .wait(&cluster, &TokioPause, |progress| println!("{progress}"))
//!     .await?;
//! assert!(adopted.waited.is_zero(), "a generic import has nothing to adopt");
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use jiff::Timestamp;

use crate::client::RancherClient;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::id::RancherClusterId;
use crate::ownership::{AzureState, DEFAULT_AKS_REFRESH, OutOfSync, Ownership, Refusal, guard};
use crate::pause::Pause;

/// How often Rancher is asked. It looks at connections every 15 s and at Azure far less often.
const INTERVAL: Duration = Duration::from_secs(15);

/// What is added to two refreshes: Azure's own answer, the operator's turn, Rancher's cache.
const SLACK: Duration = Duration::from_secs(120);

/// A cluster that can be read again.
pub trait ClusterReader: Send + Sync {
    /// Reads the cluster now.
    fn read(&self) -> BoxFuture<'_, Result<Cluster, Error>>;
}

/// One cluster of a Rancher server, read anew each time.
#[derive(Debug, Clone)]
pub struct ClusterById {
    client: RancherClient,
    id: RancherClusterId,
}

impl ClusterReader for ClusterById {
    fn read(&self) -> BoxFuture<'_, Result<Cluster, Error>> {
        Box::pin(self.client.cluster(&self.id))
    }
}

impl RancherClient {
    /// The cluster with this id, as something that can be read again and again.
    pub fn reader(&self, id: &RancherClusterId) -> ClusterById {
        ClusterById { client: self.clone(), id: id.clone() }
    }
}

/// What Rancher has to show before the next change may be made, and how long that may take.
#[derive(Debug, Clone)]
pub struct LockStep {
    azure: AzureState,
    started: Timestamp,
    refresh: Duration,
    limit: Duration,
    before: Option<Timestamp>,
}

/// Rancher has adopted the change, or never decides about such changes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Adopted {
    /// Who owns the cluster now. It may have become managed since it was last asked.
    pub ownership: Ownership,
    /// The cluster as it was read last.
    pub cluster: Cluster,
    /// How long was waited between the reads.
    pub waited: Duration,
}

/// How it stands after one read. Its `Display` is a line for people.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Progress {
    /// How long was waited so far.
    pub waited: Duration,
    /// How long is waited at most.
    pub limit: Duration,
    /// When Rancher last read Azure, by its own clock.
    pub last_refresh: Option<Timestamp>,
    /// What is still missing.
    pub standing: Standing,
}

/// What one read of the cluster gave.
#[derive(Debug, Clone)]
pub enum Standing {
    /// Rancher does not show the change yet, for these reasons.
    Behind(Vec<OutOfSync>),
    /// The read failed in a way that may pass.
    NotRead(Arc<Error>),
}

/// Why the wait ended without Rancher having adopted the change. Make no further change in Azure.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LockStepError {
    /// The time is up. Rancher is ill, its refresh is switched off, or it fights what was done.
    #[error("Rancher has not adopted the change within {} s: {standing}", .limit.as_secs())]
    TimedOut {
        /// How long was waited at most.
        limit: Duration,
        /// How it stood at the last read.
        standing: Standing,
    },
    /// The cluster's owner can no longer be told.
    #[error("the owner of the cluster can no longer be told")]
    Refused(#[source] Refusal),
    /// A read failed in a way that waiting does not heal.
    #[error("the cluster can no longer be read")]
    NotRead(#[source] Arc<Error>),
}

impl LockStepError {
    /// Always true: nothing but reads was sent.
    pub fn outcome_known(&self) -> bool {
        true
    }

    /// Whether waiting again may succeed without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}

impl LockStep {
    /// A wait for Rancher to show what Azure shows. `started` is this machine's time now; it counts only where
    /// Rancher's answers do not carry Rancher's own.
    pub fn new(azure: AzureState, started: Timestamp) -> Self {
        Self { azure, started, refresh: DEFAULT_AKS_REFRESH, limit: Duration::ZERO, before: None }
    }

    /// How often Rancher reads Azure ([`RancherClient::aks_refresh`]); [`DEFAULT_AKS_REFRESH`] if not called.
    #[must_use]
    pub fn refresh(self, refresh: Duration) -> Self {
        Self { refresh, ..self }
    }

    /// How long to wait at most. Less than two refreshes and 120 s is not enough for a healthy Rancher and counts as
    /// that.
    #[must_use]
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Asks in addition for a refresh other than `last`: the cluster's [`last_refresh`](Cluster::last_refresh) before
    /// the change. For changes that Rancher's data does not show, and for the one last refresh at the end of a run.
    #[must_use]
    pub fn newer_than(self, last: Option<Timestamp>) -> Self {
        Self { before: last, ..self }
    }

    /// How long is waited at most.
    pub fn longest_wait(&self) -> Duration {
        self.limit.max(self.refresh.saturating_mul(2).saturating_add(SLACK))
    }

    /// Reads the cluster until Rancher shows the change, at once and then every 15 s; `progress` is called after each
    /// read that did not show it. Dropping the future ends the wait.
    pub async fn wait(
        &self,
        cluster: &dyn ClusterReader,
        pause: &dyn Pause,
        mut progress: impl FnMut(&Progress) + Send,
    ) -> Result<Adopted, LockStepError> {
        let limit = self.longest_wait();
        // One pause for the whole, because a read takes time as well.
        let mut deadline = pause.pause(limit);
        let mut waited = Duration::ZERO;
        let mut standing = Standing::Behind(Vec::new());
        loop {
            let read = match select(cluster.read(), deadline).await {
                Either::Left((read, rest)) => {
                    deadline = rest;
                    read
                }
                Either::Right(((), _)) => return Err(LockStepError::TimedOut { limit, standing }),
            };
            let mut next = INTERVAL;
            let mut last_refresh = None;
            standing = match read {
                Ok(cluster) => match self.judge(&cluster, waited) {
                    Ok(ownership) => return Ok(Adopted { ownership, cluster, waited }),
                    Err(reasons) => {
                        last_refresh = cluster.last_refresh();
                        behind(reasons)?
                    }
                },
                Err(error) if error.is_retryable() => {
                    next = error.retry_after().map_or(next, |asked| asked.max(next));
                    Standing::NotRead(Arc::new(error))
                }
                Err(error) => return Err(LockStepError::NotRead(Arc::new(error))),
            };
            let report = Progress { waited, limit, last_refresh, standing };
            progress(&report);
            standing = report.standing;
            waited = waited.saturating_add(next);
            if waited > limit {
                return Err(LockStepError::TimedOut { limit, standing });
            }
            match select(pause.pause(next), deadline).await {
                Either::Left(((), rest)) => deadline = rest,
                Either::Right(((), _)) => return Err(LockStepError::TimedOut { limit, standing }),
            }
        }
    }

    fn judge(&self, cluster: &Cluster, waited: Duration) -> Result<Ownership, Vec<OutOfSync>> {
        let now = self.started.saturating_add(waited).unwrap_or(self.started);
        let mut reasons = Vec::new();
        let ownership = match guard(cluster, &self.azure, now, self.refresh) {
            // Nobody refreshes what nobody manages.
            Ok(ownership @ (Ownership::Generic | Ownership::Unmanaged)) => return Ok(ownership),
            Ok(ownership) => Some(ownership),
            Err(found) => {
                reasons = found;
                None
            }
        };
        let last = cluster.last_refresh();
        if self.before.is_some() && last == self.before {
            reasons.push(OutOfSync::NotRefreshed { last });
        }
        match ownership {
            Some(ownership) if reasons.is_empty() => Ok(ownership),
            _ => Err(reasons),
        }
    }
}

/// A refusal does not pass with time.
fn behind(mut reasons: Vec<OutOfSync>) -> Result<Standing, LockStepError> {
    let refused = reasons.iter().position(|reason| matches!(reason, OutOfSync::Refused(_)));
    match refused.map(|at| reasons.swap_remove(at)) {
        Some(OutOfSync::Refused(refusal)) => Err(LockStepError::Refused(refusal)),
        _ => Ok(Standing::Behind(reasons)),
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind(reasons) if reasons.is_empty() => f.write_str("Rancher was not read yet"),
            Self::Behind(reasons) => {
                for (index, reason) in reasons.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}{reason}")?;
                }
                Ok(())
            }
            Self::NotRead(error) => write!(f, "Rancher does not answer: {error}"),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waited, limit) = (self.waited.as_secs(), self.limit.as_secs());
        write!(f, "{waited} s of at most {limit} s: {}", self.standing)
    }
}

#[cfg(test)]
mod tests;

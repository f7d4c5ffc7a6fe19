//! Waiting as a capability, so that a test or a scaled clock decides how long a second is.

use std::time::Duration;

use futures::future::BoxFuture;

/// Lets time pass. Everything this crate waits for (a cluster that warms up, a change that Rancher adopts, a silent
/// watch) goes through it.
pub trait Pause: Send + Sync {
    /// Completes when `duration` has passed in whatever time the implementation keeps.
    fn pause(&self, duration: Duration) -> BoxFuture<'_, ()>;
}

/// Real time, by the tokio runtime the client is used on.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioPause;

impl Pause for TokioPause {
    fn pause(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move { tokio::time::sleep(duration).await })
    }
}

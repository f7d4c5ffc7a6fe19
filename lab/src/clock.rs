//! Virtual time as the core's port.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use upgrade_core::ports::Clock;

use crate::lab::Lab;

struct VirtualClock(Lab);

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        Duration::try_from(self.now().duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default()
    }

    async fn sleep_until(&self, until: Timestamp) {
        self.0.sleep_until(until).await;
    }
}

impl Lab {
    /// The world's own clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(VirtualClock(self.clone()))
    }
}

//! Trouble that comes from outside the rules: operations that fail, and an Azure that asks to be left alone.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::Azure;
use super::error::ArmError;

/// Failures in which no machine comes into being: the region, the zone or the network has no room for one (AKS: troubleshoot
/// allocation errors).
const NOTHING_ALLOCATED: [&str; 6] = [
    "AllocationFailed",
    "ZonalAllocationFailed",
    "OverconstrainedAllocationRequest",
    "SKUNotAvailable",
    "QuotaExceeded",
    "SubnetIsFull",
];

/// What waits to go wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    /// How the next operations end, in order.
    failures: VecDeque<ArmError>,
    /// Until when every request is refused.
    throttled: Option<Timestamp>,
}

impl Trouble {
    /// How an operation that begins now is to end, where it is to fail.
    pub(super) fn take_failure(&mut self) -> Option<ArmError> {
        self.failures.pop_front()
    }

    /// Does the next operation get no machines?
    pub(super) fn starves_next(&self) -> bool {
        self.failures.front().is_some_and(|error| NOTHING_ALLOCATED.contains(&error.code.as_str()))
    }
}

impl Azure {
    /// The next operation that begins ends Failed with this error. It does everything but its last act: a control plane keeps its
    /// version, a new pool stands there with its machines (with none, where the code says that there is no room for them), an
    /// upgrade has left its last batch of nodes old, a pool that was to be deleted is drained and still there.
    pub(crate) fn fail_next_operation(&mut self, code: &str, message: &str) {
        self.trouble.failures.push_back(ArmError::aks(500, code, message));
    }

    /// Every request to Azure is answered 429 until then.
    pub(crate) fn throttle(&mut self, until: Timestamp) {
        self.trouble.throttled = Some(until);
    }

    /// 429 for any request while Azure throttles.
    pub(crate) fn check_throttled(&self, now: Timestamp) -> Result<(), ArmError> {
        match self.trouble.throttled.filter(|until| now < *until) {
            None => Ok(()),
            Some(until) => Err(ArmError::throttled(until.duration_since(now).unsigned_abs())),
        }
    }
}

impl ArmError {
    /// 429 of ARM's own, which says how long to wait.
    pub(super) fn throttled(after: Duration) -> Self {
        let after = Self::whole_seconds(after);
        let message = format!(
            "Number of requests for the subscription exceeded the limit. Please try again after '{}' seconds.",
            after.as_secs()
        );
        Self::arm(429, "SubscriptionRequestsThrottled", message).after(after)
    }

    /// Whole seconds, as `Retry-After` says them, and none too early.
    pub(super) fn whole_seconds(wait: Duration) -> Duration {
        Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

//! How fast to ask: the token buckets of the AKS provider and what ARM says is left, kept by all clones of a client.
//!
//! Only reads are paced. A write is sent when its caller means it: a plan has a handful, their buckets hold twenty, and a
//! refusal by 429 leaves nothing done.
//!
//! There is no clock in here. Time is what the service's own `Date` headers show and what this client has waited itself; both
//! only ever make the pacer too careful, never by more than one interval per read.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use crate::id::{ClusterId, SubscriptionId};
use crate::retry_after::server_time;

/// Below this many remaining reads, one second is left between two: ARM refills continuously, and a caller that is slowed
/// gets through where one that runs dry is refused.
const FEW_READS: u32 = 20;
const SLOWED: Duration = Duration::from_secs(1);

/// The longest that one refusal holds back the other readers of its bucket. The AKS buckets refill within a minute.
const LONGEST_HOLD: Duration = Duration::from_secs(90);

/// Which of the service's buckets a request drinks from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Only ARM's own limits: other providers, and writes.
    Arm,
    /// The status of operations: 200, then 2 a second per subscription.
    Status(SubscriptionId),
    /// One cluster's GET: 60, then 1 a second.
    Cluster(ClusterId),
    /// Any other read of the AKS provider: 60, then 1 a second per subscription.
    Aks(SubscriptionId),
}

impl Lane {
    /// How many at once, and the interval at which one more is allowed.
    fn bucket(&self) -> Option<(u32, Duration)> {
        match self {
            Self::Arm => None,
            Self::Status(_) => Some((200, Duration::from_millis(500))),
            Self::Cluster(_) | Self::Aks(_) => Some((60, Duration::from_secs(1))),
        }
    }
}

/// How many requests ARM said this caller has left, as last seen; `None` where it did not say.
///
/// They count for one principal, one subscription and one of ARM's instances, so that they may jump.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemainingRequests {
    /// Reads (`x-ms-ratelimit-remaining-subscription-reads`).
    pub reads: Option<u32>,
    /// Writes (`x-ms-ratelimit-remaining-subscription-writes`).
    pub writes: Option<u32>,
    /// Deletes (`x-ms-ratelimit-remaining-subscription-deletes`).
    pub deletes: Option<u32>,
}

/// Shared by the clones of a client.
#[derive(Debug, Default)]
pub(crate) struct Pacer(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The server's time at which `elapsed` was zero.
    origin: Option<Timestamp>,
    elapsed: Duration,
    /// When each bucket will be full again.
    full_at: HashMap<Lane, Duration>,
    /// Until when a refusal holds a bucket's readers back.
    held: HashMap<Lane, Duration>,
    remaining: RemainingRequests,
}

impl Pacer {
    /// Takes a place in the lane, and says how long to wait for it.
    pub(crate) fn admit(&self, lane: &Lane) -> Duration {
        let state = &mut *self.state();
        let now = state.elapsed;
        let mut at = now;
        if let Some((burst, interval)) = lane.bucket() {
            let full_at = state.full_at.entry(lane.clone()).or_default();
            *full_at = (*full_at).max(now);
            at = full_at.saturating_sub(interval * (burst - 1)).max(now);
            *full_at += interval;
        }
        if state.remaining.reads.is_some_and(|left| left < FEW_READS) {
            at = at.max(now + SLOWED);
        }
        for lane in [lane, &Lane::Arm] {
            at = at.max(state.held.get(lane).copied().unwrap_or_default());
        }
        at.saturating_sub(now)
    }

    /// Learns from an answer: the time, and what is left.
    pub(crate) fn observe(&self, headers: &HeaderMap) {
        let state = &mut *self.state();
        for (name, left) in [
            ("x-ms-ratelimit-remaining-subscription-reads", &mut state.remaining.reads),
            ("x-ms-ratelimit-remaining-subscription-writes", &mut state.remaining.writes),
            ("x-ms-ratelimit-remaining-subscription-deletes", &mut state.remaining.deletes),
        ] {
            let told = headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            *left = told.or(*left);
        }
        let Some(date) = server_time(headers) else { return };
        match state.origin {
            None => state.origin = date.checked_sub(state.elapsed).ok(),
            Some(origin) => {
                let shown = Duration::try_from(date.duration_since(origin)).unwrap_or_default();
                state.elapsed = state.elapsed.max(shown);
            }
        }
    }

    /// A request of this lane was refused for a while: ARM's limit where nothing is left, the lane's own otherwise.
    pub(crate) fn refused(&self, lane: &Lane, retry_after: Option<Duration>) {
        let state = &mut *self.state();
        if let Some(wait) = retry_after.filter(|wait| *wait <= LONGEST_HOLD) {
            let lane = if state.remaining.reads == Some(0) { Lane::Arm } else { lane.clone() };
            let until = state.elapsed + wait;
            state.held.insert(lane, until);
        }
    }

    /// When `wait` will have passed, for [`reached`](Self::reached).
    pub(crate) fn after(&self, wait: Duration) -> Duration {
        self.state().elapsed.saturating_add(wait)
    }

    /// It is at least this late.
    pub(crate) fn reached(&self, moment: Duration) {
        let state = &mut *self.state();
        state.elapsed = state.elapsed.max(moment);
    }

    pub(crate) fn remaining(&self) -> RemainingRequests {
        self.state().remaining
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers that are each valid whatever happened to the others.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{DATE, HeaderValue};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn subscription() -> SubscriptionId {
        "00000000-0000-0000-0000-000000000001".parse().unwrap()
    }

    fn date(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_str(&format!("Tue, 24 Nov 2026 {text} GMT")).unwrap());
        headers
    }

    fn drained(lane: &Lane, burst: u32) -> Pacer {
        let pacer = Pacer::default();
        for _ in 0..burst {
            assert_eq!(pacer.admit(lane), Duration::ZERO);
        }
        pacer
    }

    #[test]
    fn a_burst_is_free_and_then_each_waits_its_turn() {
        for (lane, burst, interval) in [
            (Lane::Status(subscription()), 200, SECOND / 2),
            (Lane::Aks(subscription()), 60, SECOND),
            (Lane::Cluster(ClusterId::new(subscription(), "rg", "shop").unwrap()), 60, SECOND),
        ] {
            let pacer = drained(&lane, burst);
            // Three at once, as clones would: nobody has waited yet.
            assert_eq!([1, 2, 3].map(|_| pacer.admit(&lane)), [1, 2, 3].map(|n| interval * n), "{lane:?}");
            pacer.reached(pacer.after(interval * 3));
            assert_eq!(pacer.admit(&lane), interval);
        }
        let pacer = drained(&Lane::Arm, 5_000);
        assert_eq!(pacer.admit(&Lane::Status(subscription())), Duration::ZERO);
    }

    #[test]
    fn the_servers_clock_fills_the_buckets_and_its_first_word_does_not() {
        let lane = Lane::Aks(subscription());
        let pacer = drained(&lane, 60);
        pacer.observe(&date("08:00:00"));
        assert_eq!(pacer.admit(&lane), SECOND);
        pacer.observe(&date("08:00:02"));
        assert_eq!([1, 2].map(|_| pacer.admit(&lane)), [Duration::ZERO, SECOND]);
        // A front end whose clock is behind changes nothing.
        pacer.observe(&date("07:00:00"));
        assert_eq!(pacer.admit(&lane), SECOND * 2);
    }

    #[test]
    fn a_refusal_holds_its_lane_and_an_empty_allowance_holds_all() {
        let (aks, status) = (Lane::Aks(subscription()), Lane::Status(subscription()));
        let pacer = Pacer::default();
        pacer.refused(&aks, Some(SECOND * 7));
        assert_eq!((pacer.admit(&aks), pacer.admit(&status)), (SECOND * 7, Duration::ZERO));
        pacer.reached(SECOND * 7);
        assert_eq!(pacer.admit(&aks), Duration::ZERO);

        let mut headers = HeaderMap::new();
        headers.insert("x-ms-ratelimit-remaining-subscription-reads", HeaderValue::from_static("0"));
        pacer.observe(&headers);
        pacer.refused(&aks, Some(SECOND * 5));
        assert_eq!(pacer.admit(&status), SECOND * 5);
        pacer.refused(&status, Some(SECOND * 3_600));
        assert_eq!(pacer.admit(&status), SECOND * 5, "an hour is the caller's to wait");
    }

    #[test]
    fn few_remaining_reads_slow_the_rest_and_what_is_left_is_told() {
        let pacer = Pacer::default();
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-ratelimit-remaining-subscription-reads", HeaderValue::from_static("19"));
        headers.insert("x-ms-ratelimit-remaining-subscription-writes", HeaderValue::from_static(" 7 "));
        pacer.observe(&headers);
        let left = RemainingRequests { reads: Some(19), writes: Some(7), deletes: None };
        assert_eq!((pacer.remaining(), pacer.admit(&Lane::Arm)), (left, SECOND));
        headers.insert("x-ms-ratelimit-remaining-subscription-reads", HeaderValue::from_static("3000"));
        headers.insert("x-ms-ratelimit-remaining-subscription-writes", HeaderValue::from_static("many"));
        pacer.observe(&headers);
        assert_eq!(pacer.remaining().writes, Some(7));
        assert_eq!(pacer.admit(&Lane::Arm), Duration::ZERO);
    }
}

//! How many requests Azure takes: token buckets, ARM's for a subscription and AKS's own behind them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use upgrade_core::model::PoolName;

use super::Azure;
use super::error::ArmError;

/// A bucket of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// How many requests may come at once.
    pub burst: u32,
    /// How many more may come in each minute.
    pub each_minute: u32,
}

/// How many requests Azure takes over HTTP before it answers 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestLimits {
    /// ARM: reads of a subscription.
    pub reads: Bucket,
    /// ARM: writes.
    pub writes: Bucket,
    /// ARM: deletes.
    pub deletes: Bucket,
    /// AKS: PUT of a cluster.
    pub put_cluster: Bucket,
    /// AKS: PUT of a pool, for each pool.
    pub put_pool: Bucket,
    /// AKS: GET of a cluster.
    pub get_cluster: Bucket,
    /// AKS: GET of an operation's status.
    pub operation_status: Bucket,
    /// AKS: everything else.
    pub other: Bucket,
}

impl Default for RequestLimits {
    /// Azure's own (ARM: request limits and throttling; AKS: quotas, SKUs and regions).
    fn default() -> Self {
        let bucket = |burst, each_minute| Bucket { burst, each_minute };
        Self {
            reads: bucket(250, 1_500),
            writes: bucket(200, 600),
            deletes: bucket(200, 600),
            put_cluster: bucket(20, 1),
            put_pool: bucket(20, 1),
            get_cluster: bucket(60, 60),
            operation_status: bucket(200, 120),
            other: bucket(60, 60),
        }
    }
}

/// A kind of request, to AKS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Handler {
    /// PUT of the cluster.
    PutCluster,
    /// PUT of a pool.
    PutPool(PoolName),
    /// GET of the cluster.
    GetCluster,
    /// GET of an operation's status.
    OperationStatus,
    /// Everything else that AKS answers.
    Other,
}

/// A kind of request, to ARM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Deletes.
    Delete,
}

/// Who counts a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Counter {
    Manager(Verb),
    Provider(Handler),
}

/// What is left in a bucket, in parts of a request: one for each millisecond of a minute, so that nothing is lost in rounding.
#[derive(Clone, Copy, Debug)]
struct Level {
    parts: u64,
    at: Timestamp,
}

const PARTS: u64 = 60_000;

/// The buckets that are not full.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets(BTreeMap<Counter, Level>);

impl Buckets {
    /// Takes one request out; `Ok` is how many are left, `Err` how long until there is one.
    fn take(&mut self, counter: Counter, bucket: Bucket, now: Timestamp) -> Result<u64, Duration> {
        let full = u64::from(bucket.burst) * PARTS;
        let level = self.0.entry(counter).or_insert(Level { parts: full, at: now });
        let passed = u64::try_from(now.duration_since(level.at).as_millis()).unwrap_or_default();
        let refilled = passed.saturating_mul(u64::from(bucket.each_minute));
        *level = Level { parts: level.parts.saturating_add(refilled).min(full), at: now };
        if let Some(left) = level.parts.checked_sub(PARTS) {
            level.parts = left;
            return Ok(left / PARTS);
        }
        let missing = (PARTS - level.parts).div_ceil(u64::from(bucket.each_minute).max(1));
        Err(Duration::from_millis(missing))
    }
}

impl Azure {
    /// Counts a request with ARM; says how many of its kind are left, for the header that tells it.
    pub(crate) fn count_with_manager(&mut self, verb: Verb, now: Timestamp) -> Result<u64, ArmError> {
        self.check_throttled(now)?;
        let limits = self.limits.requests;
        let bucket = match verb {
            Verb::Read => limits.reads,
            Verb::Write => limits.writes,
            Verb::Delete => limits.deletes,
        };
        self.buckets.take(Counter::Manager(verb), bucket, now).map_err(ArmError::throttled)
    }

    /// Counts a request with AKS.
    pub(crate) fn count_with_provider(&mut self, handler: Handler, now: Timestamp) -> Result<(), ArmError> {
        let limits = self.limits.requests;
        // AKS names the handler; of the names only the first is documented.
        let (bucket, name) = match &handler {
            Handler::PutCluster => (limits.put_cluster, "PutManagedClusterHandler.PUT"),
            Handler::PutPool(_) => (limits.put_pool, "PutAgentPoolHandler.PUT"),
            Handler::GetCluster => (limits.get_cluster, "GetManagedClusterHandler.GET"),
            Handler::OperationStatus => (limits.operation_status, "GetOperationStatusHandler.GET"),
            Handler::Other => (limits.other, "Subscription"),
        };
        let taken = self.buckets.take(Counter::Provider(handler), bucket, now);
        taken.map(drop).map_err(|wait| {
            let wait = ArmError::whole_seconds(wait);
            let message = format!(
                "The {name} request limit has been exceeded for SubID='{}', please retry again in {} seconds. For more information, please visit aka.ms/aks/throttling",
                self.cluster.id.subscription(),
                wait.as_secs()
            );
            let mut error = ArmError::aks(429, "Throttled", message).after(wait);
            error.subcode = Some("Throttled".to_owned());
            error
        })
    }
}

//! How long things take, in milliseconds from and to (Kubernetes 1.36's defaults; estimates where it has none).

/// From a write to the controller that watches it.
pub(super) const NOTICE: (u64, u64) = (10, 80);
/// From a pod's change to its budgets' status; there is one worker.
pub(super) const BUDGET: (u64, u64) = (30, 200);
/// From a pod's change to the EndpointSlice that says so.
pub(super) const ENDPOINTS: (u64, u64) = (100, 1_000);
/// One scheduling cycle with its bind.
pub(super) const BIND: (u64, u64) = (3, 25);
/// Sandbox and network of a pod.
pub(super) const SANDBOX: (u64, u64) = (600, 1_800);
/// One init container.
pub(super) const INIT: (u64, u64) = (800, 3_000);
/// Attaching an Azure disk.
pub(super) const ATTACH: (u64, u64) = (8_000, 25_000);
/// Detaching an Azure disk.
pub(super) const DETACH: (u64, u64) = (8_000, 25_000);
/// A disk of a node that does not answer is detached by force after so long (attach/detach controller).
pub(super) const FORCED_DETACH: (u64, u64) = (360_000, 360_000);
/// From SIGTERM to the end of a well-behaved process, and the removal of its pod.
pub(super) const STOP: (u64, u64) = (700, 6_000);
/// The garbage collector.
pub(super) const GARBAGE: (u64, u64) = (100, 500);
/// A machine from its order to the registered node.
pub(super) const BOOT: (u64, u64) = (70_000, 130_000);
/// A node whose kubelet is silent for so long is unreachable (`node-monitor-grace-period`).
pub(super) const NODE_GRACE: std::time::Duration = std::time::Duration::from_secs(50);
/// A node from registered to ready.
pub(super) const NODE_READY: (u64, u64) = (8_000, 20_000);
/// Bytes per millisecond from the registry to a node's disk, unpacked.
pub(super) const PULL_BYTES_PER_MS: (u64, u64) = (40_000, 90_000);
/// The same on Windows, where layers are unpacked much more slowly (estimate).
pub(super) const PULL_BYTES_PER_MS_WINDOWS: (u64, u64) = (12_000, 30_000);
/// The pauses of the kubelet between two pulls that fail, the first and the longest.
pub(super) const PULL_BACKOFF: (u64, u64) = (10_000, 300_000);
/// From `ErrImagePull` to `ImagePullBackOff`.
pub(super) const BACK_OFF_SHOWS: (u64, u64) = (1_000, 3_000);
/// The pauses of the kubelet before it starts a crashed container again, the first and the longest.
pub(super) const CRASH_BACKOFF: (u64, u64) = (10_000, 300_000);
/// The size of an image that nobody has told the size of, in bytes.
pub(super) const IMAGE_BYTES: (u64, u64) = (60 << 20, 450 << 20);
/// How long a Job's pod runs if nobody says.
pub(super) const JOB_RUN_SECONDS: u64 = 60;
/// The scheduler's backoff for a pod that did not fit, from and to.
pub(super) const BACKOFF: (u64, u64) = (1_000, 10_000);
/// A controller's first pause after work that has failed, and its longest (client-go's default rate limiter).
pub(super) const WORK_BACKOFF: (u64, u64) = (5, 1_000_000);
/// A Job's first backoff after a failure, and its last.
pub(super) const JOB_BACKOFF: (u64, u64) = (10_000, 600_000);
/// How long an evicted pod may take to show that it is ending before its budget forgets it, in seconds.
pub(super) const DELETION_TIMEOUT_SECONDS: i64 = 120;

/// A pause that doubles with every failure before it.
pub(super) fn backoff((first, longest): (u64, u64), failures: u32) -> std::time::Duration {
    std::time::Duration::from_millis(first.saturating_mul(1 << failures.min(20)).min(longest))
}

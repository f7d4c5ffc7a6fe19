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
/// How often the attach of a disk that another node holds is tried again.
pub(super) const ATTACH_RETRY: (u64, u64) = (5_000, 10_000);
/// From SIGTERM to the end of a well-behaved process, and the removal of its pod.
pub(super) const STOP: (u64, u64) = (700, 6_000);
/// The garbage collector.
pub(super) const GARBAGE: (u64, u64) = (100, 500);
/// A machine from its order to the registered node.
pub(super) const BOOT: (u64, u64) = (70_000, 130_000);
/// A node from registered to ready.
pub(super) const NODE_READY: (u64, u64) = (8_000, 20_000);
/// Bytes per millisecond from the registry to a node's disk, unpacked.
pub(super) const PULL_BYTES_PER_MS: (u64, u64) = (40_000, 90_000);
/// The size of an image that nobody has told the size of, in bytes.
pub(super) const IMAGE_BYTES: (u64, u64) = (60 << 20, 450 << 20);
/// How long a Job's pod runs if nobody says.
pub(super) const JOB_RUN_SECONDS: u64 = 60;
/// The scheduler's backoff for a pod that did not fit, from and to.
pub(super) const BACKOFF: (u64, u64) = (1_000, 10_000);
/// A Job's first backoff after a failure, and its last.
pub(super) const JOB_BACKOFF: (u64, u64) = (10_000, 600_000);
/// How long an evicted pod may take to show that it is ending before its budget forgets it, in seconds.
pub(super) const DELETION_TIMEOUT_SECONDS: i64 = 120;

//! What the timing model has a line for.

use std::fmt;

/// What a number counts, and so how a file writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Milliseconds: `"250ms"`, `"90s"`, `"1m 30s"`.
    Time,
    /// Bytes: `"60 MiB"`.
    Size,
    /// Bytes per millisecond: `"40 MB/s"`.
    Speed,
}

/// May the number vary?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is drawn anew each time.
    Drawn,
    /// A setting of some component: the same each time.
    Setting,
}

macro_rules! timings {
    ($($(#[$doc:meta])+ $name:ident: $kind:ident $unit:ident, $section:literal, $key:literal;)+) => {
        /// Something that takes time in the lab, or sets how long something takes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Timing { $($(#[$doc])+ $name,)+ }

        impl Timing {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The table of the file that it stands in.
            pub(super) fn section(self) -> &'static str {
                match self { $(Self::$name => $section,)+ }
            }

            /// Its key there.
            pub(super) fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)+ }
            }

            pub(super) fn unit(self) -> Unit {
                match self { $(Self::$name => Unit::$unit,)+ }
            }

            pub(super) fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)+ }
            }
        }
    };
}

timings! {
    /// From a write to the controller that watches it.
    Notice: Drawn Time, "control_plane", "notice";
    /// From a pod's change to its budgets' status.
    Budget: Drawn Time, "control_plane", "budget";
    /// From a pod's change to the EndpointSlice that says so.
    Endpoints: Drawn Time, "control_plane", "endpoints";
    /// One scheduling cycle with its bind.
    Bind: Drawn Time, "control_plane", "bind";
    /// From an owner's end to the removal of what it leaves behind.
    Garbage: Drawn Time, "control_plane", "garbage";
    /// How long an evicted pod may take to show that it is ending before its budget forgets it.
    DeletionTimeout: Setting Time, "control_plane", "deletion_timeout";
    /// The scheduler's first pause for a pod that did not fit.
    SchedulerBackoff: Setting Time, "control_plane", "scheduler_backoff";
    /// Its longest.
    SchedulerBackoffMost: Setting Time, "control_plane", "scheduler_backoff_most";
    /// A controller's first pause after work that has failed.
    WorkBackoff: Setting Time, "control_plane", "work_backoff";
    /// Its longest.
    WorkBackoffMost: Setting Time, "control_plane", "work_backoff_most";
    /// A Job's first pause after a failure.
    JobBackoff: Setting Time, "control_plane", "job_backoff";
    /// Its longest.
    JobBackoffMost: Setting Time, "control_plane", "job_backoff_most";
    /// A node whose kubelet is silent for so long is unreachable.
    NodeGrace: Setting Time, "control_plane", "node_grace";
    /// A disk of a node that does not answer is detached by force after so long.
    ForcedDetach: Setting Time, "control_plane", "forced_detach";

    /// Sandbox and network of a pod.
    Sandbox: Drawn Time, "node", "sandbox";
    /// One init container.
    Init: Drawn Time, "node", "init";
    /// From SIGTERM to the end of a well-behaved process, and the removal of its pod.
    Stop: Drawn Time, "node", "stop";
    /// How long a Job's pod runs if nobody says.
    JobRun: Drawn Time, "node", "job_run";
    /// From `ErrImagePull` to `ImagePullBackOff`.
    BackOffShows: Drawn Time, "node", "back_off_shows";
    /// The kubelet's first pause between two pulls that fail.
    PullBackoff: Setting Time, "node", "pull_backoff";
    /// Its longest.
    PullBackoffMost: Setting Time, "node", "pull_backoff_most";
    /// The kubelet's first pause before it starts a crashed container again.
    CrashBackoff: Setting Time, "node", "crash_backoff";
    /// Its longest.
    CrashBackoffMost: Setting Time, "node", "crash_backoff_most";
    /// From the registry to a Linux node's disk, unpacked.
    PullSpeed: Drawn Speed, "node", "pull_speed";
    /// The same on Windows.
    PullSpeedWindows: Drawn Speed, "node", "pull_speed_windows";
    /// The size of an image that nobody has told the size of.
    ImageSize: Drawn Size, "node", "image_size";
    /// From registered to ready.
    NodeReady: Drawn Time, "node", "ready";

    /// A Linux machine from its order to the registered node.
    Boot: Drawn Time, "azure", "boot";
    /// The same on Windows.
    BootWindows: Drawn Time, "azure", "boot_windows";
    /// What Azure takes for machines that it reimages, before it looks whether they are ready.
    Reimage: Drawn Time, "azure", "reimage";
    /// The same on Windows.
    ReimageWindows: Drawn Time, "azure", "reimage_windows";
    /// What Azure takes for machines that it adds to a pool, before it looks whether they are ready.
    AddMachines: Drawn Time, "azure", "add_machines";
    /// How long a machine may take to become Ready beyond that; then the operation fails.
    NodeLimit: Setting Time, "azure", "node_limit";
    /// An upgrade of the control plane.
    ControlPlane: Drawn Time, "azure", "control_plane";
    /// A change of the cluster that touches no machine.
    ClusterUpdate: Drawn Time, "azure", "cluster_update";
    /// A change of a pool that touches no machine.
    PoolUpdate: Drawn Time, "azure", "pool_update";
    /// The removal of a pool whose machines are gone.
    PoolRemoval: Drawn Time, "azure", "pool_removal";
    /// Azure's pause before it asks again for the eviction of a pod.
    EvictionPause: Setting Time, "azure", "eviction_pause";
    /// Azure's pause before it looks again whether a machine is ready.
    ReadyPause: Setting Time, "azure", "ready_pause";
    /// Attaching a disk.
    Attach: Drawn Time, "azure", "attach";
    /// Detaching a disk.
    Detach: Drawn Time, "azure", "detach";
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.section(), self.key())
    }
}

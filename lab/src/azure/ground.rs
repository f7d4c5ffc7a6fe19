//! What Azure stands on: time, chance, machines, and the cluster it drains.
//!
//! The World implements it; a few lines of fake do for the tests of this room.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use upgrade_core::model::{KubeVersion, NodeName, OsType, Resources};

use super::operation::OperationId;
use super::pool::PoolSpec;
use crate::timing::Timing;

/// A machine as its node shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Its node is registered and Ready.
    pub(crate) ready: bool,
    /// The version of its kubelet, once it has reported one.
    pub(crate) kubelet: Option<KubeVersion>,
}

/// What a round of evictions came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Pods that have to leave and are still there.
    pub(crate) left: usize,
    /// The refusal of a budget, in the API server's words, with the pod's name.
    pub(crate) blocked: Option<String>,
}

pub(crate) trait Ground {
    fn now(&self) -> Timestamp;
    /// A number from the World's seeded chance.
    fn draw(&mut self, range: RangeInclusive<u64>) -> u64;
    /// How long something takes, drawn anew; a setting is the same each time.
    fn takes(&mut self, timing: Timing) -> Duration;
    /// Asks to be called back about an operation.
    fn wake_azure(&mut self, after: Duration, operation: OperationId);
    /// What pods may use of a machine of a size.
    fn allocatable(&self, vm_size: &str) -> Resources;
    /// The sizes that the scenario speaks of.
    fn known_sizes(&self) -> Vec<String>;
    /// A machine begins to boot.
    fn add_machine(&mut self, pool: &PoolSpec) -> NodeName;
    /// The machine and its node go.
    fn remove_machine(&mut self, node: &NodeName);
    /// The machine starts again from the image of this version, under the same name.
    fn reimage_machine(&mut self, node: &NodeName, version: KubeVersion);
    fn machine(&self, node: &NodeName) -> Machine;
    fn set_unschedulable(&mut self, node: &NodeName, unschedulable: bool);
    /// Asks the Eviction API for every pod on the node that a drain removes, once each. `ignore_budgets` deletes instead.
    fn drain(&mut self, node: &NodeName, ignore_budgets: bool) -> Drained;
    /// A budget that no pod can ever leave (`maxUnavailable` 0), by `namespace/name`.
    fn unsatisfiable_budget(&self) -> Option<String>;
    /// The control plane runs this version from now on.
    fn control_plane_runs(&mut self, version: KubeVersion);

    /// How long machines of this system take, drawn anew.
    fn takes_on(&mut self, os: &OsType, linux: Timing, windows: Timing) -> Duration {
        self.takes(if *os == OsType::Windows { windows } else { linux })
    }

    /// Is the machine Ready at this version?
    fn is_ready_at(&self, node: &NodeName, version: KubeVersion) -> bool {
        let machine = self.machine(node);
        machine.ready && machine.kubelet == Some(version)
    }
}

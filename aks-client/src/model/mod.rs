//! Typed views over what ARM answered. Each keeps the JSON it was made from, so nothing unknown is lost.

mod cluster;
mod machine;
mod maintenance;
mod pool;
mod profile;
mod state;

pub use cluster::{ForceUpgrade, ManagedCluster};
pub use machine::Machine;
pub use maintenance::{
    ClosedSpan, MaintenanceConfiguration, MaintenancePurpose, MaintenanceSchedule, MaintenanceWindow,
    WeekSlot,
};
pub use pool::{AgentPool, UpgradeSettings};
pub use profile::{
    AvailableUpgrade, NodeImageUse, PatchVersion, PoolUpgradeProfile, PoolVersion, RegionVersion,
};
pub use state::ProvisioningState;

/// JSON that is not the resource it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: {reason}")]
pub struct ShapeError {
    /// What it should be.
    pub what: &'static str,
    /// What is missing or wrong.
    pub reason: &'static str,
}

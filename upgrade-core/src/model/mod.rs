//! The slim model: what an upgrade needs to know of nodes, pods, workloads, budgets, services and pools, and nothing else.
//!
//! A pod is what moves, not four kilobytes of JSON. The types are parsed at the edge (adapters, files); inside the core a
//! value of one of these types is known to be well formed.

mod autoscaler;
mod azure;
mod budget;
mod format;
mod ids;
mod int_or_percent;
mod loan;
mod maintenance;
mod node;
mod pod;
mod pulling;
mod quantity;
mod scheduling;
mod selector;
mod service;
mod shared;
mod surroundings;
mod version;
mod workload;

pub use autoscaler::Autoscaler;
pub use azure::{
    AvailableUpgrade, ManagedCluster, OsType, Pool, PoolMode, ProvisioningError, ProvisioningState, RUN_TAG,
    UpgradeSettings,
};
pub use budget::{Budget, BudgetLimit, BudgetStatus};
pub use format::{FormatError, FormatVersion};
pub use ids::{
    ArmId, BufferNameError, HolderId, IdError, NodeName, ObjectName, PoolName, ProbeName, RancherClusterId,
    RestartId, RunId, StepId, Uid,
};
pub use int_or_percent::IntOrPercent;
pub use loan::Settings;
pub use maintenance::{DayOfWeek, Maintenance, ShutTime, UpgradeWindow, WindowDays, offset_seconds};
pub use node::{EXCLUDE_LABEL, HOST_LABEL, Node, ZONE_LABEL};
pub use pod::{Owner, Pod, PodPhase};
pub use pulling::{
    ContainerReport, ImagePull, PREWARM_LABEL, PullAccess, PullState, Pulling, full_image_name,
};
pub use quantity::{Bytes, MilliCpu, QuantityError, Resources};
pub use scheduling::{
    AffinityTerm, NodeRequirement, NodeSelectorOperator, NodeSelectorTerm, SchedulingRules, SpreadRule,
    Taint, TaintEffect, Toleration, TolerationOperator,
};
pub use selector::{LabelExpression, LabelOperator, LabelSelector, Labels};
pub use service::{Claim, Endpoint, EndpointSlice, Service, ServiceType};
pub use shared::Shared;
pub use surroundings::{AggregatedApi, Converter, Quota, QuotaAmounts, Surroundings, Webhook};
pub use version::{KubeVersion, VersionError, VersionRequest};
pub use workload::{
    PodTemplate, RESTART_ANNOTATION, RESTARTED_AT_ANNOTATION, RUN_ANNOTATION, Strategy, Workload,
    WorkloadKind, WorkloadRef, WorkloadStatus,
};

#[cfg(test)]
pub(crate) mod tests_support;

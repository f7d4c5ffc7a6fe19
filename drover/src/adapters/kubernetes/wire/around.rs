//! What stands around workloads: budgets, Services with their endpoints, claims with their volumes, autoscalers.

use serde::Deserialize;
use serde::de::IgnoredAny;
use upgrade_core::model::Labels;

use super::{Condition, IntOrString, LabelSelector, Meta, NodeSelector};

#[derive(Clone, Deserialize)]
pub(crate) struct Budget {
    pub(crate) metadata: Meta,
    #[serde(default)]
    pub(crate) spec: BudgetSpec,
    #[serde(default)]
    pub(crate) status: BudgetStatus,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BudgetSpec {
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) min_available: Option<IntOrString>,
    pub(crate) max_unavailable: Option<IntOrString>,
    pub(crate) unhealthy_pod_eviction_policy: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BudgetStatus {
    pub(crate) observed_generation: Option<i64>,
    pub(crate) expected_pods: Option<u32>,
    pub(crate) desired_healthy: Option<u32>,
    pub(crate) current_healthy: Option<u32>,
    /// Negative values have been seen; they allow nothing.
    pub(crate) disruptions_allowed: Option<i64>,
    pub(crate) conditions: Option<Vec<Condition>>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct Service {
    pub(crate) metadata: Meta,
    #[serde(default)]
    pub(crate) spec: ServiceSpec,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceSpec {
    pub(crate) selector: Option<Labels>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) external_traffic_policy: Option<String>,
    pub(crate) publish_not_ready_addresses: Option<bool>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct EndpointSlice {
    pub(crate) metadata: Meta,
    pub(crate) endpoints: Option<Vec<Endpoint>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint {
    pub(crate) addresses: Option<Vec<String>>,
    pub(crate) conditions: Option<EndpointConditions>,
    pub(crate) target_ref: Option<TargetRef>,
    pub(crate) node_name: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct EndpointConditions {
    pub(crate) ready: Option<bool>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct TargetRef {
    pub(crate) kind: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct Claim {
    pub(crate) metadata: Meta,
    #[serde(default)]
    pub(crate) spec: ClaimSpec,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimSpec {
    pub(crate) access_modes: Option<Vec<String>>,
    pub(crate) volume_name: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct Autoscaler {
    pub(crate) metadata: Meta,
    pub(crate) spec: AutoscalerSpec,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AutoscalerSpec {
    pub(crate) scale_target_ref: ScaleTarget,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScaleTarget {
    #[serde(default)]
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

#[derive(Clone, Deserialize)]
pub(crate) struct PersistentVolume {
    pub(crate) metadata: Meta,
    #[serde(default)]
    pub(crate) spec: VolumeSpec,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeSpec {
    pub(crate) node_affinity: Option<VolumeAffinity>,
    pub(crate) csi: Option<CsiSource>,
    pub(crate) azure_disk: Option<IgnoredAny>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct CsiSource {
    pub(crate) driver: String,
}

#[derive(Clone, Deserialize)]
pub(crate) struct VolumeAffinity {
    pub(crate) required: Option<NodeSelector>,
}

//! Kubernetes objects as they are read: only the fields that the slim model is made of.
//!
//! What is not named here (environment values, managed fields, most of the status) is skipped by the parser and never held.
//! A field that is `null` and one that is missing are the same; of an `IgnoredAny` only the presence counts.

mod around;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use upgrade_core::model::Labels;

pub(super) use around::{Autoscaler, Budget, Claim, Endpoint, EndpointSlice, PersistentVolume, Service};

/// One page of a list.
#[derive(Deserialize)]
pub(super) struct List<T> {
    #[serde(default)]
    pub(super) metadata: ListMeta,
    pub(super) items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMeta {
    pub(super) resource_version: Option<String>,
    #[serde(rename = "continue")]
    pub(super) next: Option<String>,
}

/// The name, and what else every object says of itself.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) generation: Option<i64>,
    pub(super) deletion_timestamp: Option<IgnoredAny>,
    pub(super) labels: Option<Labels>,
    pub(super) owner_references: Option<Vec<OwnerReference>>,
    pub(super) annotations: Option<Annotations>,
}

/// The annotations that mean something here; all others may be large, and are skipped.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Annotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    pub(super) mirror: Option<IgnoredAny>,
    #[serde(rename = "aks-drover/restart-id")]
    pub(super) restart_id: Option<String>,
    #[serde(rename = "aks-drover/run")]
    pub(super) run: Option<String>,
    #[serde(rename = "aks-drover/abort")]
    pub(super) abort: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnerReference {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) controller: Option<bool>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) last_transition_time: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Node {
    pub(super) metadata: Meta,
    #[serde(default)]
    pub(super) spec: NodeSpec,
    #[serde(default)]
    pub(super) status: NodeStatus,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeSpec {
    #[serde(rename = "providerID")]
    pub(super) provider_id: Option<String>,
    pub(super) unschedulable: Option<bool>,
    pub(super) taints: Option<Vec<Taint>>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Taint {
    pub(super) key: String,
    pub(super) value: Option<String>,
    pub(super) effect: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeStatus {
    pub(super) conditions: Option<Vec<Condition>>,
    pub(super) node_info: Option<NodeInfo>,
    pub(super) allocatable: Option<BTreeMap<String, Amount>>,
    pub(super) images: Option<Vec<Image>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeInfo {
    pub(super) kubelet_version: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Image {
    pub(super) names: Option<Vec<String>>,
    pub(super) size_bytes: Option<u64>,
}

/// A quantity: Kubernetes writes texts, people in templates write numbers.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Amount {
    Text(String),
    Whole(u64),
    Fraction(f64),
}

#[derive(Clone, Deserialize)]
pub(super) struct Pod {
    pub(super) metadata: Meta,
    #[serde(default)]
    pub(super) spec: PodSpec,
    #[serde(default)]
    pub(super) status: PodStatus,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) node_name: Option<String>,
    pub(super) containers: Option<Vec<Container>>,
    pub(super) init_containers: Option<Vec<Container>>,
    pub(super) overhead: Option<BTreeMap<String, Amount>>,
    pub(super) resources: Option<Requirements>,
    pub(super) host_network: Option<bool>,
    #[serde(rename = "hostUsers")]
    pub(super) host_users: Option<bool>,
    pub(super) node_selector: Option<Labels>,
    pub(super) affinity: Option<Affinity>,
    pub(super) tolerations: Option<Vec<Toleration>>,
    pub(super) topology_spread_constraints: Option<Vec<Spread>>,
    pub(super) readiness_gates: Option<Vec<IgnoredAny>>,
    pub(super) volumes: Option<Vec<Volume>>,
    pub(super) priority: Option<i32>,
    pub(super) termination_grace_period_seconds: Option<i64>,
    pub(super) service_account_name: Option<String>,
    pub(super) image_pull_secrets: Option<Vec<SecretReference>>,
}

#[derive(Clone, Deserialize)]
pub(super) struct SecretReference {
    pub(super) name: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: Option<String>,
    pub(super) image: Option<String>,
    pub(super) resources: Option<Requirements>,
    pub(super) ports: Option<Vec<Port>>,
    pub(super) readiness_probe: Option<IgnoredAny>,
    pub(super) restart_policy: Option<String>,
    pub(super) restart_policy_rules: Option<Vec<RestartRule>>,
    pub(super) lifecycle: Option<Lifecycle>,
}

#[derive(Clone, Deserialize)]
pub(super) struct RestartRule {
    pub(super) action: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lifecycle {
    pub(super) pre_stop: Option<IgnoredAny>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Requirements {
    pub(super) requests: Option<BTreeMap<String, Amount>>,
    pub(super) limits: Option<BTreeMap<String, Amount>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Port {
    pub(super) container_port: Option<u16>,
    pub(super) host_port: Option<u16>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Affinity {
    #[serde(rename = "nodeAffinity")]
    pub(super) nodes: Option<NodeAffinity>,
    #[serde(rename = "podAffinity")]
    pub(super) pods: Option<PodAffinity>,
    #[serde(rename = "podAntiAffinity")]
    pub(super) not_pods: Option<PodAffinity>,
}

#[derive(Clone, Deserialize)]
pub(super) struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub(super) required: Option<NodeSelector>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeSelector {
    pub(super) node_selector_terms: Option<Vec<NodeSelectorTerm>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeSelectorTerm {
    pub(super) match_expressions: Option<Vec<Requirement>>,
    pub(super) match_fields: Option<Vec<Requirement>>,
}

/// A requirement of a selector, on nodes or on labels.
#[derive(Clone, Deserialize)]
pub(super) struct Requirement {
    pub(super) key: String,
    pub(super) operator: String,
    pub(super) values: Option<Vec<String>>,
}

#[derive(Clone, Deserialize)]
pub(super) struct PodAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub(super) required: Option<Vec<PodAffinityTerm>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodAffinityTerm {
    pub(super) label_selector: Option<LabelSelector>,
    pub(super) topology_key: String,
    pub(super) namespaces: Option<Vec<String>>,
    pub(super) match_label_keys: Option<Vec<String>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LabelSelector {
    pub(super) match_labels: Option<Labels>,
    pub(super) match_expressions: Option<Vec<Requirement>>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Toleration {
    pub(super) key: Option<String>,
    pub(super) operator: Option<String>,
    pub(super) value: Option<String>,
    pub(super) effect: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spread {
    pub(super) max_skew: u32,
    pub(super) topology_key: String,
    pub(super) when_unsatisfiable: Option<String>,
    pub(super) label_selector: Option<LabelSelector>,
    pub(super) match_label_keys: Option<Vec<String>>,
    pub(super) node_taints_policy: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume {
    pub(super) persistent_volume_claim: Option<ClaimSource>,
    pub(super) empty_dir: Option<EmptyDir>,
    pub(super) host_path: Option<IgnoredAny>,
}

#[derive(Clone, Deserialize)]
pub(super) struct EmptyDir {
    /// `Memory` is no disk: what is there is gone with any restart.
    pub(super) medium: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClaimSource {
    pub(super) claim_name: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodStatus {
    pub(super) phase: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) conditions: Option<Vec<Condition>>,
    pub(super) container_statuses: Option<Vec<ContainerStatus>>,
    pub(super) init_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Clone, Deserialize)]
pub(super) struct ContainerStatus {
    pub(super) name: Option<String>,
    #[serde(rename = "imageID")]
    pub(super) image_id: Option<String>,
    #[serde(rename = "restartCount")]
    pub(super) restart_count: Option<i32>,
    pub(super) state: Option<ContainerState>,
}

#[derive(Clone, Deserialize)]
pub(super) struct ContainerState {
    pub(super) waiting: Option<Waiting>,
    pub(super) running: Option<IgnoredAny>,
    pub(super) terminated: Option<Terminated>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Terminated {
    pub(super) reason: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Waiting {
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
}

/// A pod template.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Template {
    #[serde(default)]
    pub(super) metadata: TemplateMeta,
    #[serde(default)]
    pub(super) spec: PodSpec,
}

#[derive(Clone, Default, Deserialize)]
pub(super) struct TemplateMeta {
    pub(super) labels: Option<Labels>,
    pub(super) annotations: Option<Annotations>,
}

/// A Deployment, StatefulSet, DaemonSet, ReplicaSet or Job: their fields have the same names where they mean the same.
#[derive(Clone, Deserialize)]
pub(super) struct Workload {
    pub(super) metadata: Meta,
    #[serde(default)]
    pub(super) spec: WorkloadSpec,
    #[serde(default)]
    pub(super) status: WorkloadStatus,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadSpec {
    pub(super) replicas: Option<u32>,
    pub(super) selector: Option<LabelSelector>,
    pub(super) paused: Option<bool>,
    pub(super) min_ready_seconds: Option<u32>,
    pub(super) strategy: Option<UpdateStrategy>,
    pub(super) update_strategy: Option<UpdateStrategy>,
    pub(super) volume_claim_templates: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    pub(super) template: Template,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateStrategy {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) rolling_update: Option<RollingUpdate>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RollingUpdate {
    pub(super) max_surge: Option<IntOrString>,
    pub(super) max_unavailable: Option<IntOrString>,
    pub(super) partition: Option<u32>,
}

/// Kubernetes' `IntOrString`.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum IntOrString {
    Int(u32),
    Text(String),
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadStatus {
    pub(super) observed_generation: Option<i64>,
    pub(super) replicas: Option<u32>,
    pub(super) updated_replicas: Option<u32>,
    pub(super) ready_replicas: Option<u32>,
    pub(super) available_replicas: Option<u32>,
    pub(super) desired_number_scheduled: Option<u32>,
    pub(super) current_number_scheduled: Option<u32>,
    pub(super) updated_number_scheduled: Option<u32>,
    pub(super) number_ready: Option<u32>,
    pub(super) number_available: Option<u32>,
    pub(super) active: Option<u32>,
    pub(super) ready: Option<u32>,
    pub(super) conditions: Option<Vec<Condition>>,
}

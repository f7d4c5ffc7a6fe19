//! From what was read to the slim model.

use std::collections::BTreeMap;

use upgrade_core::model::{
    Autoscaler, Budget, BudgetLimit, BudgetStatus, Bytes, Claim, Endpoint, EndpointSlice, HOST_LABEL,
    IdError, IntOrPercent, LabelSelector, Node, NodeName, ObjectName, Owner, Pod, Resources, Service,
    ServiceType, Taint, TaintEffect, Uid, WorkloadKind, WorkloadRef, ZONE_LABEL,
};
use upgrade_core::view::Object;

use super::pods;
use super::wire;
use super::workloads;

/// Why an object that Kubernetes holds cannot be read: something in it is not what Kubernetes itself would admit.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {problem}")]
pub(super) struct DecodeError {
    object: String,
    problem: String,
}

impl DecodeError {
    pub(super) fn of(meta: &wire::Meta, problem: &impl ToString) -> Self {
        let namespace = meta.namespace.as_deref().map(|ns| format!("{ns}/")).unwrap_or_default();
        Self { object: format!("{namespace}{}", meta.name), problem: problem.to_string() }
    }
}

/// Where a volume can be used, and whether a node takes only so many of its like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// The zones; none if it can be used in any.
    pub(super) zones: Vec<String>,
    /// The nodes it is a part of, by host name; none for a volume that is no part of a node.
    pub(super) hosts: Vec<String>,
    /// It is a disk of Azure.
    pub(super) disk: bool,
}

/// Where volumes can be used, by the volume's name.
pub(super) type Reaches = BTreeMap<String, Reach>;

/// Lets neighbours hold in common what is equal: a list is in the order of names, so a workload's pods lie together.
pub(super) fn share(objects: &mut [Object]) {
    let mut last: Option<&Pod> = None;
    for object in objects {
        if let Object::Pod(pod) = object {
            if let Some(last) = last {
                pod.labels = pod.labels.clone().with(&last.labels);
                pod.rules = pod.rules.clone().with(&last.rules);
                pod.image_ids = pod.image_ids.clone().with(&last.image_ids);
                pod.pull_access = pod.pull_access.clone().with(&last.pull_access);
            }
            last = Some(pod);
        }
    }
}

/// One kind of object as it is read.
pub(super) trait Wire: serde::de::DeserializeOwned + Clone + Send + 'static {
    fn meta(&self) -> &wire::Meta;
    /// The volume behind a claim.
    fn volume(&self) -> Option<&str> {
        None
    }
    /// The object in the model; `reaches` holds what is known of volumes.
    fn object(self, kind: WorkloadKind, reaches: &Reaches) -> Result<Object, DecodeError>;
}

impl Wire for wire::Node {
    fn meta(&self) -> &wire::Meta {
        &self.metadata
    }

    fn object(self, _: WorkloadKind, _: &Reaches) -> Result<Object, DecodeError> {
        node(self).map(Object::Node)
    }
}

impl Wire for wire::Pod {
    fn meta(&self) -> &wire::Meta {
        &self.metadata
    }

    fn object(self, _: WorkloadKind, _: &Reaches) -> Result<Object, DecodeError> {
        pods::pod(self).map(Object::Pod)
    }
}

impl Wire for wire::Workload {
    fn meta(&self) -> &wire::Meta {
        &self.metadata
    }

    fn object(self, kind: WorkloadKind, _: &Reaches) -> Result<Object, DecodeError> {
        workloads::workload(kind, self).map(Object::Workload)
    }
}

impl Wire for wire::Budget {
    fn meta(&self) -> &wire::Meta {
        &self.metadata
    }

    fn object(self, _: WorkloadKind, _: &Reaches) -> Result<Object, DecodeError> {
        budget(self).map(Object::Budget)
    }
}

impl Wire for wire::Service {
    fn meta(&self) -> &wire::Meta {
        &self.metadata
    }

    fn object(self, _: WorkloadKind, _: &Reaches) -> Result<Object, DecodeError> {
        service(self).map(Object::Service)
    }
}

impl Wire for wire::EndpointSlice {
    fn meta(&self) -> &wire::Meta {
        &self.metadata
    }

    fn object(self, _: WorkloadKind, _: &Reaches) -> Result<Object, DecodeError> {
        slice(self).map(Object::Slice)
    }
}

impl Wire for wire::Claim {
    fn meta(&self) -> &wire::Meta {
        &self.metadata
    }

    fn volume(&self) -> Option<&str> {
        self.spec.volume_name.as_deref().filter(|volume| !volume.is_empty())
    }

    fn object(self, _: WorkloadKind, reaches: &Reaches) -> Result<Object, DecodeError> {
        claim(&self, reaches).map(Object::Claim)
    }
}

impl Wire for wire::Autoscaler {
    fn meta(&self) -> &wire::Meta {
        &self.metadata
    }

    fn object(self, _: WorkloadKind, _: &Reaches) -> Result<Object, DecodeError> {
        autoscaler(&self).map(Object::Autoscaler)
    }
}

/// `namespace/name`.
pub(super) fn object_name(meta: &wire::Meta) -> Result<ObjectName, DecodeError> {
    let namespace = meta.namespace.clone().unwrap_or_default();
    ObjectName::new(namespace, meta.name.clone()).map_err(|error| DecodeError::of(meta, &error))
}

pub(super) fn uid(meta: &wire::Meta) -> Result<Uid, DecodeError> {
    Uid::new(meta.uid.clone().unwrap_or_default()).map_err(|error| DecodeError::of(meta, &error))
}

/// The controller of an object.
pub(super) fn owner(meta: &wire::Meta) -> Result<Option<Owner>, DecodeError> {
    let references = meta.owner_references.iter().flatten();
    let Some(controller) = references.into_iter().find(|owner| owner.controller == Some(true)) else {
        return Ok(None);
    };
    let uid = Uid::new(controller.uid.clone()).map_err(|error| DecodeError::of(meta, &error))?;
    let kind = WorkloadKind::of(&controller.api_version, &controller.kind);
    Ok(Some(Owner { kind, name: controller.name.clone(), uid }))
}

pub(super) fn condition<'c>(
    conditions: Option<&'c Vec<wire::Condition>>,
    kind: &str,
) -> Option<&'c wire::Condition> {
    conditions?.iter().find(|condition| condition.kind == kind)
}

pub(super) fn amount_text(amount: &wire::Amount) -> String {
    match amount {
        wire::Amount::Text(text) => text.clone(),
        wire::Amount::Whole(number) => number.to_string(),
        wire::Amount::Fraction(number) => number.to_string(),
    }
}

/// CPU and memory of a list of quantities; what is not named is nothing.
pub(super) fn resources(
    meta: &wire::Meta,
    amounts: Option<&BTreeMap<String, wire::Amount>>,
) -> Result<Resources, DecodeError> {
    let text = |name: &str| amounts.and_then(|amounts| amounts.get(name)).map(amount_text);
    let cpu = text("cpu").map(|text| upgrade_core::model::MilliCpu::parse(&text)).transpose();
    let memory = text("memory").map(|text| Bytes::parse(&text)).transpose();
    match (cpu, memory) {
        (Ok(cpu), Ok(memory)) => {
            Ok(Resources { cpu: cpu.unwrap_or_default(), memory: memory.unwrap_or_default() })
        }
        (Err(error), _) | (_, Err(error)) => Err(DecodeError::of(meta, &error)),
    }
}

pub(super) fn selector(selector: wire::LabelSelector) -> LabelSelector {
    let expressions = selector.match_expressions.unwrap_or_default();
    LabelSelector {
        labels: selector.match_labels.unwrap_or_default(),
        expressions: expressions.into_iter().map(pods::label_expression).collect(),
    }
}

pub(super) fn int_or_percent(
    meta: &wire::Meta,
    value: wire::IntOrString,
) -> Result<IntOrPercent, DecodeError> {
    match value {
        wire::IntOrString::Int(count) => Ok(IntOrPercent::Int(count)),
        wire::IntOrString::Text(text) => text.parse().map_err(|error| DecodeError::of(meta, &error)),
    }
}

pub(super) fn effect(text: &str) -> TaintEffect {
    match text {
        "NoSchedule" => TaintEffect::NoSchedule,
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        other => TaintEffect::Unknown(other.to_owned()),
    }
}

pub(super) fn node_name(meta: &wire::Meta, name: String) -> Result<NodeName, DecodeError> {
    NodeName::new(name).map_err(|error: IdError| DecodeError::of(meta, &error))
}

/// The taint with which Kubernetes mirrors a cordon.
const CORDON_TAINT: &str = "node.kubernetes.io/unschedulable";

fn node(node: wire::Node) -> Result<Node, DecodeError> {
    let wire::Node { metadata: meta, spec, status } = node;
    let taints = spec.taints.unwrap_or_default().into_iter().filter(|taint| taint.key != CORDON_TAINT);
    let taints = taints.map(|taint| Taint {
        effect: effect(&taint.effect),
        key: taint.key,
        value: taint.value.unwrap_or_default(),
    });
    let ready = condition(status.conditions.as_ref(), "Ready").is_some_and(|ready| ready.status == "True");
    let kubelet = status.node_info.and_then(|info| info.kubelet_version).and_then(|text| text.parse().ok());
    let allocatable =
        |what: &str| status.allocatable.as_ref().and_then(|amounts| amounts.get(what)).map(amount_text);
    let (pods, disk) = (allocatable("pods"), allocatable("ephemeral-storage"));
    Ok(Node {
        name: node_name(&meta, meta.name.clone())?,
        uid: uid(&meta)?,
        provider_id: spec.provider_id.filter(|id| !id.is_empty()),
        taints: taints.collect(),
        unschedulable: spec.unschedulable.unwrap_or(false),
        ready,
        kubelet,
        allocatable: resources(&meta, status.allocatable.as_ref())?,
        max_pods: pods.and_then(|text| text.parse().ok()).unwrap_or(0),
        disk: disk.and_then(|text| Bytes::parse(&text).ok()).unwrap_or_default(),
        images: status.images.unwrap_or_default().into_iter().filter_map(image).collect(),
        labels: meta.labels.unwrap_or_default(),
    })
}

/// An image under the name that people use: a tag, where it has one, and not its digest.
fn image(image: wire::Image) -> Option<(String, Bytes)> {
    let names = image.names.unwrap_or_default();
    let name = names.iter().find(|name| !name.contains('@')).or(names.first())?;
    Some((name.clone(), Bytes(image.size_bytes.unwrap_or(0))))
}

fn budget(budget: wire::Budget) -> Result<Budget, DecodeError> {
    let wire::Budget { metadata: meta, spec, status } = budget;
    let limit = match (spec.min_available, spec.max_unavailable) {
        (_, Some(value)) => BudgetLimit::MaxUnavailable(int_or_percent(&meta, value)?),
        (Some(value), None) => BudgetLimit::MinAvailable(int_or_percent(&meta, value)?),
        // The disruption controller then asks for no healthy pod.
        (None, None) => BudgetLimit::MinAvailable(IntOrPercent::Int(0)),
    };
    let allowed = condition(status.conditions.as_ref(), "DisruptionAllowed");
    let failed = allowed.filter(|condition| condition.reason.as_deref() == Some("SyncFailed"));
    Ok(Budget {
        name: object_name(&meta)?,
        selector: spec.selector.map(selector),
        limit,
        always_allow_unhealthy: spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow"),
        generation: meta.generation.unwrap_or(0),
        status: BudgetStatus {
            observed_generation: status.observed_generation.unwrap_or(0),
            expected: status.expected_pods.unwrap_or(0),
            desired_healthy: status.desired_healthy.unwrap_or(0),
            current_healthy: status.current_healthy.unwrap_or(0),
            disruptions_allowed: u32::try_from(status.disruptions_allowed.unwrap_or(0)).unwrap_or(0),
            sync_failed: failed.map(|condition| condition.message.clone().unwrap_or_default()),
        },
    })
}

fn service(service: wire::Service) -> Result<Service, DecodeError> {
    let wire::Service { metadata: meta, spec } = service;
    let service_type = match spec.kind.as_deref() {
        None | Some("" | "ClusterIP") => ServiceType::ClusterIP,
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some("ExternalName") => ServiceType::ExternalName,
        Some(other) => ServiceType::Unknown(other.to_owned()),
    };
    Ok(Service {
        name: object_name(&meta)?,
        selector: spec.selector.unwrap_or_default(),
        service_type,
        local_traffic_only: spec.external_traffic_policy.as_deref() == Some("Local"),
        publishes_unready: spec.publish_not_ready_addresses.unwrap_or(false),
    })
}

fn slice(slice: wire::EndpointSlice) -> Result<EndpointSlice, DecodeError> {
    let wire::EndpointSlice { metadata: meta, endpoints } = slice;
    let name = object_name(&meta)?;
    let endpoints = endpoints.unwrap_or_default().into_iter();
    let endpoints = endpoints.filter_map(|endpoint| self::endpoint(&meta, &name, endpoint).transpose());
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?.into();
    let service = meta.labels.and_then(|mut labels| labels.remove("kubernetes.io/service-name"));
    Ok(EndpointSlice { name, service: service.filter(|name| !name.is_empty()), endpoints })
}

fn endpoint(
    meta: &wire::Meta,
    slice: &ObjectName,
    endpoint: wire::Endpoint,
) -> Result<Option<Endpoint>, DecodeError> {
    let Some(address) = endpoint.addresses.unwrap_or_default().into_iter().next() else { return Ok(None) };
    let target = endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
    let pod = target.and_then(|target| {
        let namespace = target.namespace.unwrap_or_else(|| slice.namespace().to_owned());
        Some(ObjectName::new(namespace, target.name?))
    });
    let node = endpoint.node_name.map(|name| node_name(meta, name)).transpose()?;
    Ok(Some(Endpoint {
        address,
        pod: pod.transpose().map_err(|error| DecodeError::of(meta, &error))?,
        node,
        ready: endpoint.conditions.and_then(|conditions| conditions.ready).unwrap_or(true),
    }))
}

fn claim(claim: &wire::Claim, reaches: &Reaches) -> Result<Claim, DecodeError> {
    let modes = claim.spec.access_modes.iter().flatten();
    let reach = claim.spec.volume_name.as_ref().and_then(|volume| reaches.get(volume));
    let reach = reach.cloned().unwrap_or_default();
    Ok(Claim {
        name: object_name(&claim.metadata)?,
        shared: modes.into_iter().any(|mode| mode.contains("Many")),
        disk: reach.disk,
        zones: reach.zones,
        hosts: reach.hosts,
    })
}

fn autoscaler(scaler: &wire::Autoscaler) -> Result<Autoscaler, DecodeError> {
    let (meta, target) = (&scaler.metadata, &scaler.spec.scale_target_ref);
    let name = object_name(meta)?;
    let of = ObjectName::new(name.namespace(), target.name.as_str());
    let of = of.map_err(|error| DecodeError::of(meta, &error))?;
    let kind = WorkloadKind::of(&target.api_version, &target.kind);
    Ok(Autoscaler { name, target: WorkloadRef { kind, name: of } })
}

/// The label by which Azure's disk driver names a volume's zone.
const DISK_ZONE_LABEL: &str = "topology.disk.csi.azure.com/zone";

/// The driver of Azure's disks, for which CSINode says how many a node takes.
pub(super) const DISK_DRIVER: &str = "disk.csi.azure.com";

/// Where a volume can be used, sorted.
pub(super) fn volume_reach(volume: wire::PersistentVolume) -> (String, Reach) {
    let by_csi = volume.spec.csi.is_some_and(|source| source.driver == DISK_DRIVER);
    let disk = by_csi || volume.spec.azure_disk.is_some();
    let required = volume.spec.node_affinity.and_then(|affinity| affinity.required);
    let terms = required.and_then(|required| required.node_selector_terms).unwrap_or_default();
    let requirements: Vec<_> =
        terms.into_iter().flat_map(|term| term.match_expressions.unwrap_or_default()).collect();
    let values = |keys: &[&str]| {
        let of_keys = requirements.iter().filter(|r| r.operator == "In" && keys.contains(&&*r.key));
        // A disk without a zone carries an empty one.
        let values = of_keys.flat_map(|r| r.values.iter().flatten()).filter(|value| !value.is_empty());
        let mut values: Vec<String> = values.cloned().collect();
        values.sort();
        values.dedup();
        values
    };
    let (zones, hosts) = (values(&[ZONE_LABEL, DISK_ZONE_LABEL]), values(&[HOST_LABEL]));
    let reach = Reach { zones, hosts, disk };
    (volume.metadata.name, reach)
}

#[cfg(test)]
mod tests;

//! From Kubernetes' own objects to the slim model. What cannot be read becomes the safest thing it could be.

mod pod;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use upgrade_core::model::{
    Autoscaler, Budget, BudgetLimit, BudgetStatus, Bytes, Claim, Endpoint, HOST_LABEL, IntOrPercent, Labels,
    Node, NodeName, ObjectName, Owner, PodTemplate, Resources, Service, ServiceType, Strategy, Uid, Workload,
    WorkloadKind, WorkloadRef, WorkloadStatus,
};
use upgrade_core::view::{Object, ResourceKind, View};

pub(crate) use pod::condition;
use pod::template;

use super::rules;
use crate::kube::is_disk;
use crate::store::{Store, Stored, controller};

const CORDON_TAINT: &str = "node.kubernetes.io/unschedulable";

/// A kind that the core reads.
pub(crate) trait Slim: Stored {
    /// The core's name of it.
    const RESOURCE: ResourceKind;

    /// The object as the core sees it; `None` if its names are not names.
    fn slim(&self, store: &Store) -> Option<Object>;

    /// The same for an object of which little has changed since it was `seen` (see [`Scope`](crate::store::Scope)): what was
    /// read of it before is taken from there. `None` where nothing is.
    fn renew(&self, _seen: &View) -> Option<Object> {
        None
    }
}

fn object_name(meta: &ObjectMeta) -> Option<ObjectName> {
    ObjectName::new(meta.namespace.as_deref()?, meta.name.as_deref()?).ok()
}

fn uid(meta: &ObjectMeta) -> Option<Uid> {
    Uid::new(meta.uid.as_deref()?).ok()
}

fn labels(meta: &ObjectMeta) -> Labels {
    meta.labels.clone().unwrap_or_default()
}

fn owner(meta: &ObjectMeta) -> Option<Owner> {
    let owner = controller(meta)?;
    Some(Owner {
        kind: WorkloadKind::of(&owner.api_version, &owner.kind),
        name: owner.name.clone(),
        uid: Uid::new(owner.uid.as_str()).ok()?,
    })
}

/// A count that Kubernetes keeps in a signed number.
fn count(number: Option<i32>) -> u32 {
    u32::try_from(number.unwrap_or_default()).unwrap_or_default()
}

pub(crate) fn int_or_percent(value: &IntOrString) -> Option<IntOrPercent> {
    match value {
        IntOrString::Int(number) => Some(IntOrPercent::Int(count(Some(*number)))),
        IntOrString::String(text) => text.parse().ok(),
    }
}

impl Slim for core::Node {
    const RESOURCE: ResourceKind = ResourceKind::Node;

    fn slim(&self, _: &Store) -> Option<Object> {
        let (spec, status) = (self.spec.as_ref(), self.status.as_ref());
        let allocatable = status.and_then(|s| s.allocatable.as_ref());
        let amount =
            |key: &str| allocatable.and_then(|a| a.get(key)).map_or("0", |quantity| quantity.0.as_str());
        let info = status.and_then(|s| s.node_info.as_ref());
        let taints = spec.and_then(|s| s.taints.as_ref()).into_iter().flatten();
        Some(Object::Node(Node {
            name: NodeName::new(self.metadata.name.clone()?).ok()?,
            uid: uid(&self.metadata)?,
            provider_id: spec.and_then(|s| s.provider_id.clone()),
            labels: labels(&self.metadata),
            taints: taints.filter(|taint| taint.key != CORDON_TAINT).map(rules::taint).collect(),
            unschedulable: spec.and_then(|s| s.unschedulable).unwrap_or_default(),
            ready: crate::kube::node_is_ready(self),
            kubelet: info.and_then(|info| info.kubelet_version.parse().ok()),
            allocatable: allocatable.map(rules::amounts).unwrap_or_default(),
            max_pods: amount("pods").parse().unwrap_or_default(),
            disk: Bytes::parse(amount("ephemeral-storage")).unwrap_or_default(),
            images: status.and_then(|s| s.images.as_ref()).into_iter().flatten().filter_map(image).collect(),
        }))
    }
}

/// An image by its tag where it has one: that is how pods name it.
fn image(image: &core::ContainerImage) -> Option<(String, Bytes)> {
    let names = image.names.as_ref()?;
    let name = names.iter().find(|name| !name.contains('@')).or_else(|| names.first())?;
    Some((name.clone(), Bytes(u64::try_from(image.size_bytes.unwrap_or_default()).unwrap_or_default())))
}

/// What every workload has.
fn workload(meta: &ObjectMeta, kind: WorkloadKind, template: PodTemplate) -> Option<Workload> {
    Some(Workload {
        reference: WorkloadRef { kind, name: object_name(meta)? },
        uid: uid(meta)?,
        owner: owner(meta),
        generation: meta.generation.unwrap_or_default(),
        replicas: 0,
        selector: None,
        strategy: Strategy::Never,
        paused: false,
        min_ready_seconds: 0,
        template: template.into(),
        status: WorkloadStatus::default(),
    })
}

/// A workload that was seen before, with its status of now.
fn with_status(seen: &View, kind: WorkloadKind, meta: &ObjectMeta, status: WorkloadStatus) -> Option<Object> {
    let known = seen.workload(&WorkloadRef { kind, name: object_name(meta)? })?;
    Some(Object::Workload(Workload { status, ..known.clone() }))
}

impl Slim for Deployment {
    const RESOURCE: ResourceKind = ResourceKind::Deployment;

    fn slim(&self, _: &Store) -> Option<Object> {
        let spec = &self.spec;
        let mut slim = workload(&self.metadata, WorkloadKind::Deployment, template(&spec.template))?;
        slim.replicas = spec.replicas.map_or(1, |replicas| count(Some(replicas)));
        slim.selector = Some(rules::selector(&spec.selector).into());
        slim.strategy = deployment_strategy(spec.strategy.as_ref());
        slim.paused = spec.paused.unwrap_or_default();
        slim.min_ready_seconds = count(spec.min_ready_seconds);
        slim.status = deployment_status(self);
        Some(Object::Workload(slim))
    }

    fn renew(&self, seen: &View) -> Option<Object> {
        with_status(seen, WorkloadKind::Deployment, &self.metadata, deployment_status(self))
    }
}

fn deployment_status(deployment: &Deployment) -> WorkloadStatus {
    let Some(status) = &deployment.status else { return WorkloadStatus::default() };
    let find = |kind: &str, value: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.find(|c| (c.type_.as_deref(), c.status.as_deref()) == (Some(kind), Some(value)))
    };
    let failed = find("ReplicaFailure", "True").or_else(|| find("Progressing", "False"));
    WorkloadStatus {
        observed_generation: status.observed_generation.unwrap_or_default(),
        replicas: count(status.replicas),
        updated: count(status.updated_replicas),
        ready: count(status.ready_replicas),
        available: count(status.available_replicas),
        trouble: failed.and_then(|condition| condition.reason.clone()),
    }
}

pub(crate) fn deployment_strategy(
    strategy: Option<&k8s_openapi::api::apps::v1::DeploymentStrategy>,
) -> Strategy {
    const QUARTER: IntOrPercent = IntOrPercent::Percent(25);
    if strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate") {
        return Strategy::Recreate;
    }
    let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
    let limit = |value: Option<&IntOrString>| value.and_then(int_or_percent).unwrap_or(QUARTER);
    Strategy::Rolling {
        max_surge: limit(rolling.and_then(|r| r.max_surge.as_ref())),
        max_unavailable: limit(rolling.and_then(|r| r.max_unavailable.as_ref())),
    }
}

impl Slim for ReplicaSet {
    const RESOURCE: ResourceKind = ResourceKind::ReplicaSet;

    fn slim(&self, _: &Store) -> Option<Object> {
        let spec = &self.spec;
        let made = spec.template.as_ref().map(template).unwrap_or_default();
        let mut slim = workload(&self.metadata, WorkloadKind::ReplicaSet, made)?;
        slim.replicas = spec.replicas.map_or(1, |replicas| count(Some(replicas)));
        slim.selector = Some(rules::selector(&spec.selector).into());
        slim.min_ready_seconds = count(spec.min_ready_seconds);
        slim.status = set_status(self);
        Some(Object::Workload(slim))
    }

    fn renew(&self, seen: &View) -> Option<Object> {
        with_status(seen, WorkloadKind::ReplicaSet, &self.metadata, set_status(self))
    }
}

fn set_status(set: &ReplicaSet) -> WorkloadStatus {
    let Some(status) = &set.status else { return WorkloadStatus::default() };
    let is_failure = |(kind, value)| (kind, value) == (Some("ReplicaFailure"), Some("True"));
    let mut conditions = status.conditions.iter().flatten();
    let failed = conditions.find(|c| is_failure((c.type_.as_deref(), c.status.as_deref())));
    WorkloadStatus {
        observed_generation: status.observed_generation.unwrap_or_default(),
        replicas: count(Some(status.replicas)),
        updated: 0,
        ready: count(status.ready_replicas),
        available: count(status.available_replicas),
        trouble: failed.and_then(|condition| condition.reason.clone()),
    }
}

impl Slim for StatefulSet {
    const RESOURCE: ResourceKind = ResourceKind::StatefulSet;

    fn slim(&self, _: &Store) -> Option<Object> {
        let (spec, no_status) = (&self.spec, k8s_openapi::api::apps::v1::StatefulSetStatus::default());
        let status = self.status.as_ref().unwrap_or(&no_status);
        let strategy = spec.update_strategy.as_ref();
        let mut slim = workload(&self.metadata, WorkloadKind::StatefulSet, template(&spec.template))?;
        slim.template.to_mut().claim_templates =
            spec.volume_claim_templates.as_ref().is_some_and(|t| !t.is_empty());
        slim.replicas = spec.replicas.map_or(1, |replicas| count(Some(replicas)));
        slim.selector = Some(rules::selector(&spec.selector).into());
        slim.strategy = if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
            Strategy::OnDelete
        } else {
            let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
            Strategy::Ordered { partition: count(rolling.and_then(|r| r.partition)) }
        };
        slim.min_ready_seconds = count(spec.min_ready_seconds);
        slim.status = WorkloadStatus {
            observed_generation: status.observed_generation.unwrap_or_default(),
            replicas: count(Some(status.replicas)),
            updated: count(status.updated_replicas),
            ready: count(status.ready_replicas),
            available: count(status.available_replicas),
            trouble: None,
        };
        Some(Object::Workload(slim))
    }
}

impl Slim for DaemonSet {
    const RESOURCE: ResourceKind = ResourceKind::DaemonSet;

    fn slim(&self, _: &Store) -> Option<Object> {
        let (spec, no_status) = (&self.spec, k8s_openapi::api::apps::v1::DaemonSetStatus::default());
        let status = self.status.as_ref().unwrap_or(&no_status);
        let strategy = spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let limit = |value: Option<&IntOrString>, default| value.and_then(int_or_percent).unwrap_or(default);
        let mut slim = workload(&self.metadata, WorkloadKind::DaemonSet, template(&spec.template))?;
        slim.replicas = count(Some(status.desired_number_scheduled));
        slim.selector = Some(rules::selector(&spec.selector).into());
        slim.strategy = if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
            Strategy::OnDelete
        } else {
            Strategy::Rolling {
                max_surge: limit(rolling.and_then(|r| r.max_surge.as_ref()), IntOrPercent::Int(0)),
                max_unavailable: limit(
                    rolling.and_then(|r| r.max_unavailable.as_ref()),
                    IntOrPercent::Int(1),
                ),
            }
        };
        slim.min_ready_seconds = count(spec.min_ready_seconds);
        slim.status = WorkloadStatus {
            observed_generation: status.observed_generation.unwrap_or_default(),
            replicas: count(Some(status.current_number_scheduled)),
            updated: count(status.updated_number_scheduled),
            ready: count(Some(status.number_ready)),
            available: count(status.number_available),
            trouble: None,
        };
        Some(Object::Workload(slim))
    }
}

impl Slim for Job {
    const RESOURCE: ResourceKind = ResourceKind::Job;

    fn slim(&self, _: &Store) -> Option<Object> {
        let spec = self.spec.as_ref();
        let (made, no_status) =
            (spec.map(|spec| template(&spec.template)), k8s_openapi::api::batch::v1::JobStatus::default());
        let status = self.status.as_ref().unwrap_or(&no_status);
        let failed = status.conditions.iter().flatten().find(|c| c.type_ == "Failed" && c.status == "True");
        let mut slim = workload(&self.metadata, WorkloadKind::Job, made.unwrap_or_default())?;
        slim.selector = spec.and_then(|spec| spec.selector.as_ref()).map(rules::selector).map(Into::into);
        slim.status = WorkloadStatus {
            // A Job's controller does not report a generation.
            observed_generation: 0,
            replicas: count(status.active),
            updated: count(status.active),
            ready: count(status.ready),
            available: count(status.ready),
            trouble: failed.and_then(|condition| condition.reason.clone()),
        };
        Some(Object::Workload(slim))
    }
}

impl Slim for PodDisruptionBudget {
    const RESOURCE: ResourceKind = ResourceKind::PodDisruptionBudget;

    fn slim(&self, _: &Store) -> Option<Object> {
        let no_spec = k8s_openapi::api::policy::v1::PodDisruptionBudgetSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&no_spec);
        let limit = match (&spec.max_unavailable, &spec.min_available) {
            (Some(limit), _) => BudgetLimit::MaxUnavailable(int_or_percent(limit)?),
            (None, Some(limit)) => BudgetLimit::MinAvailable(int_or_percent(limit)?),
            // The disruption controller then asks for no healthy pod.
            (None, None) => BudgetLimit::MinAvailable(IntOrPercent::Int(0)),
        };
        Some(Object::Budget(Budget {
            name: object_name(&self.metadata)?,
            selector: spec.selector.as_ref().map(rules::selector),
            limit,
            always_allow_unhealthy: spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow"),
            generation: self.metadata.generation.unwrap_or_default(),
            status: budget_status(self),
        }))
    }

    fn renew(&self, seen: &View) -> Option<Object> {
        let known = seen.budget(&object_name(&self.metadata)?)?;
        Some(Object::Budget(Budget { status: budget_status(self), ..known.clone() }))
    }
}

fn budget_status(budget: &PodDisruptionBudget) -> BudgetStatus {
    let Some(status) = &budget.status else { return BudgetStatus::default() };
    let mut conditions = status.conditions.iter().flatten();
    let failed = conditions.find(|c| c.reason == "SyncFailed" && c.status == "False");
    BudgetStatus {
        observed_generation: status.observed_generation.unwrap_or_default(),
        expected: count(status.expected_pods),
        desired_healthy: count(status.desired_healthy),
        current_healthy: count(status.current_healthy),
        disruptions_allowed: count(status.disruptions_allowed),
        sync_failed: failed.map(|condition| condition.message.clone()),
    }
}

impl Slim for core::Service {
    const RESOURCE: ResourceKind = ResourceKind::Service;

    fn slim(&self, _: &Store) -> Option<Object> {
        let no_spec = core::ServiceSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&no_spec);
        Some(Object::Service(Service {
            name: object_name(&self.metadata)?,
            selector: spec.selector.clone().unwrap_or_default(),
            service_type: match spec.type_.as_deref() {
                Some("ClusterIP") | None => ServiceType::ClusterIP,
                Some("NodePort") => ServiceType::NodePort,
                Some("LoadBalancer") => ServiceType::LoadBalancer,
                Some("ExternalName") => ServiceType::ExternalName,
                Some(other) => ServiceType::Unknown(other.to_owned()),
            },
            local_traffic_only: spec.external_traffic_policy.as_deref() == Some("Local"),
            publishes_unready: spec.publish_not_ready_addresses.unwrap_or_default(),
        }))
    }
}

impl Slim for EndpointSlice {
    const RESOURCE: ResourceKind = ResourceKind::EndpointSlice;

    fn slim(&self, _: &Store) -> Option<Object> {
        let name = object_name(&self.metadata)?;
        let endpoints = self.endpoints.iter().flatten().filter_map(|given| endpoint(&name, given));
        let service = labels(&self.metadata).remove("kubernetes.io/service-name");
        let endpoints = endpoints.collect::<Vec<_>>().into();
        Some(Object::Slice(upgrade_core::model::EndpointSlice { service, endpoints, name }))
    }

    fn renew(&self, seen: &View) -> Option<Object> {
        let known = seen.slice(&object_name(&self.metadata)?)?;
        let mut rest = known.endpoints.iter();
        let endpoints = self.endpoints.iter().flatten().filter_map(|given| {
            // Those that stay keep their order.
            let ahead = rest.clone();
            let is_same = |old: &&Endpoint| {
                let target = given.target_ref.as_ref().and_then(|target| target.name.as_deref());
                given.addresses.first() == Some(&old.address)
                    && target == old.pod.as_ref().map(ObjectName::name)
                    && given.node_name.as_deref() == old.node.as_ref().map(NodeName::as_str)
            };
            if let Some(old) = rest.find(is_same) {
                Some(Endpoint { ready: is_ready(given), ..old.clone() })
            } else {
                rest = ahead;
                endpoint(&known.name, given)
            }
        });
        let endpoints = endpoints.collect::<Vec<_>>().into();
        Some(Object::Slice(upgrade_core::model::EndpointSlice { endpoints, ..known.clone() }))
    }
}

fn endpoint(slice: &ObjectName, given: &k8s_openapi::api::discovery::v1::Endpoint) -> Option<Endpoint> {
    let pod = given.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    Some(Endpoint {
        address: given.addresses.first()?.clone(),
        pod: pod.and_then(|pod| ObjectName::new(slice.namespace(), pod.name.as_deref()?).ok()),
        node: given.node_name.as_ref().and_then(|node| NodeName::new(node.as_str()).ok()),
        ready: is_ready(given),
    })
}

/// An absent condition counts as true, as the API says.
fn is_ready(endpoint: &k8s_openapi::api::discovery::v1::Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

impl Slim for core::PersistentVolumeClaim {
    const RESOURCE: ResourceKind = ResourceKind::PersistentVolumeClaim;

    fn slim(&self, store: &Store) -> Option<Object> {
        let spec = self.spec.as_ref();
        let modes = spec.and_then(|s| s.access_modes.as_ref()).into_iter().flatten();
        let volume = spec.and_then(|s| s.volume_name.as_deref());
        let volume = volume.and_then(|name| store.get::<core::PersistentVolume>("", name));
        Some(Object::Claim(Claim {
            name: object_name(&self.metadata)?,
            shared: modes.into_iter().any(|mode| mode.contains("Many")),
            disk: volume.is_some_and(|volume| is_disk(volume)),
            zones: volume.map(|volume| reach(volume, &ZONES)).unwrap_or_default(),
            hosts: volume.map(|volume| reach(volume, &[HOST_LABEL])).unwrap_or_default(),
        }))
    }
}

impl Slim for HorizontalPodAutoscaler {
    const RESOURCE: ResourceKind = ResourceKind::HorizontalPodAutoscaler;

    fn slim(&self, _: &Store) -> Option<Object> {
        let (name, target) = (object_name(&self.metadata)?, &self.spec.scale_target_ref);
        let kind = WorkloadKind::of(target.api_version.as_deref().unwrap_or_default(), &target.kind);
        let of = ObjectName::new(name.namespace(), target.name.as_str()).ok()?;
        Some(Object::Autoscaler(Autoscaler { name, target: WorkloadRef { kind, name: of } }))
    }
}

/// The labels by which volumes name their zone.
const ZONES: [&str; 2] = ["topology.disk.csi.azure.com/zone", "topology.kubernetes.io/zone"];

/// The values of these labels that a volume's node affinity allows.
fn reach(volume: &core::PersistentVolume, keys: &[&str]) -> Vec<String> {
    let required = volume.spec.as_ref().and_then(|s| s.node_affinity.as_ref()?.required.as_ref());
    let terms = required.into_iter().flat_map(|selector| &selector.node_selector_terms);
    let expressions = terms.flat_map(|term| term.match_expressions.iter().flatten());
    let found = expressions.filter(|e| keys.contains(&e.key.as_str()) && e.operator == "In");
    let mut values: Vec<String> = found.flat_map(|e| e.values.iter().flatten().cloned()).collect();
    values.retain(|value| !value.is_empty());
    values.sort();
    values.dedup();
    values
}

/// What a container asks for.
pub(crate) fn container_requests(container: &core::Container) -> Resources {
    let requests = container.resources.as_ref().and_then(|r| r.requests.as_ref());
    requests.map(rules::amounts).unwrap_or_default()
}

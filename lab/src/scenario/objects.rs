//! From the slim model back to Kubernetes' objects. What the model does not keep is left out; what a world needs beyond it is
//! made up in the ordinary way.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec,
};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use upgrade_core::model::{
    AffinityTerm, Autoscaler, Budget, BudgetLimit, Claim, HOST_LABEL, IntOrPercent, LabelSelector, Labels,
    NodeRequirement, NodeSelectorTerm, ObjectName, Owner, Pod, PodTemplate, PullAccess, RESTART_ANNOTATION,
    Resources, SchedulingRules, Service, ServiceType, SpreadRule, Taint, Toleration, Uid, WorkloadKind,
    ZONE_LABEL,
};

use crate::kube::{DISK_DRIVER, FILE_DRIVER};
use crate::ports::rules::TEMPLATE_LABEL;

/// The API's word of one of the model's enums.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().map(str::to_owned).unwrap_or_default()
}

pub(super) fn metadata(
    name: &ObjectName,
    uid: Option<&Uid>,
    owner: Option<&Owner>,
    labels: &Labels,
) -> meta::ObjectMeta {
    meta::ObjectMeta {
        name: Some(name.name().to_owned()),
        namespace: Some(name.namespace().to_owned()),
        uid: uid.map(ToString::to_string),
        owner_references: owner.map(|owner| vec![owner_reference(owner)]),
        labels: Some(labels.clone()),
        ..meta::ObjectMeta::default()
    }
}

fn owner_reference(owner: &Owner) -> meta::OwnerReference {
    let api_version = match owner.kind {
        WorkloadKind::Deployment
        | WorkloadKind::StatefulSet
        | WorkloadKind::DaemonSet
        | WorkloadKind::ReplicaSet => "apps/v1",
        WorkloadKind::Job => "batch/v1",
        WorkloadKind::Other(_) => "unknown/v1",
    };
    meta::OwnerReference {
        api_version: api_version.to_owned(),
        block_owner_deletion: Some(true),
        controller: Some(true),
        kind: owner.kind.as_str().to_owned(),
        name: owner.name.clone(),
        uid: owner.uid.to_string(),
    }
}

pub(super) fn int_or_string(value: IntOrPercent) -> IntOrString {
    match value {
        IntOrPercent::Int(count) => IntOrString::Int(i32::try_from(count).unwrap_or(i32::MAX)),
        percent @ IntOrPercent::Percent(_) => IntOrString::String(percent.to_string()),
    }
}

pub(super) fn selector(selector: &LabelSelector) -> meta::LabelSelector {
    let expressions = selector.expressions.iter().map(|expression| meta::LabelSelectorRequirement {
        key: expression.key.clone(),
        operator: word(&expression.operator),
        values: Some(expression.values.clone()),
    });
    meta::LabelSelector {
        match_expressions: Some(expressions.collect()),
        match_labels: Some(selector.labels.clone()),
    }
}

pub(super) fn taint(taint: &Taint) -> core::Taint {
    core::Taint {
        effect: word(&taint.effect),
        key: taint.key.clone(),
        time_added: None,
        value: (!taint.value.is_empty()).then(|| taint.value.clone()),
    }
}

fn toleration(toleration: &Toleration) -> core::Toleration {
    core::Toleration {
        effect: toleration.effect.as_ref().map(word),
        key: toleration.key.clone(),
        operator: Some(word(&toleration.operator)),
        toleration_seconds: None,
        value: (!toleration.value.is_empty()).then(|| toleration.value.clone()),
    }
}

fn node_requirement(requirement: &NodeRequirement) -> core::NodeSelectorRequirement {
    core::NodeSelectorRequirement {
        key: requirement.key.clone(),
        operator: word(&requirement.operator),
        values: Some(requirement.values.clone()),
    }
}

fn node_term(term: &NodeSelectorTerm) -> core::NodeSelectorTerm {
    core::NodeSelectorTerm {
        match_expressions: Some(term.labels.iter().map(node_requirement).collect()),
        match_fields: Some(term.fields.iter().map(node_requirement).collect()),
    }
}

fn affinity_term(term: &AffinityTerm) -> core::PodAffinityTerm {
    core::PodAffinityTerm {
        label_selector: Some(selector(&term.selector)),
        namespaces: (!term.namespaces.is_empty()).then(|| term.namespaces.clone()),
        topology_key: term.topology_key.clone(),
        match_label_keys: term.same_template.then(|| vec![TEMPLATE_LABEL.to_owned()]),
        ..core::PodAffinityTerm::default()
    }
}

fn affinity(rules: &SchedulingRules) -> core::Affinity {
    let some =
        |terms: &[AffinityTerm]| (!terms.is_empty()).then(|| terms.iter().map(affinity_term).collect());
    let nodes = (!rules.node_affinity.is_empty()).then(|| core::NodeAffinity {
        required_during_scheduling_ignored_during_execution: Some(core::NodeSelector {
            node_selector_terms: rules.node_affinity.iter().map(node_term).collect(),
        }),
        ..core::NodeAffinity::default()
    });
    core::Affinity {
        node_affinity: nodes,
        pod_affinity: some(&rules.pod_affinity).map(|terms| core::PodAffinity {
            required_during_scheduling_ignored_during_execution: Some(terms),
            ..core::PodAffinity::default()
        }),
        pod_anti_affinity: some(&rules.pod_anti_affinity).map(|terms| core::PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(terms),
            ..core::PodAntiAffinity::default()
        }),
    }
}

fn spread(rule: &SpreadRule) -> core::TopologySpreadConstraint {
    core::TopologySpreadConstraint {
        label_selector: Some(selector(&rule.selector)),
        max_skew: i32::try_from(rule.max_skew).unwrap_or(i32::MAX),
        topology_key: rule.topology_key.clone(),
        match_label_keys: rule.same_template.then(|| vec![TEMPLATE_LABEL.to_owned()]),
        node_taints_policy: rule.honors_taints.then(|| "Honor".to_owned()),
        when_unsatisfiable: if rule.required { "DoNotSchedule" } else { "ScheduleAnyway" }.to_owned(),
        ..core::TopologySpreadConstraint::default()
    }
}

fn quantities(resources: Resources) -> BTreeMap<String, Quantity> {
    [("cpu", format!("{}m", resources.cpu.0)), ("memory", resources.memory.0.to_string())]
        .map(|(key, amount)| (key.to_owned(), Quantity(amount)))
        .into()
}

/// What a pod and a template have in common.
struct Common<'a> {
    requests: Resources,
    rules: &'a SchedulingRules,
    claims: &'a [String],
    images: &'a [String],
    init_images: &'a [String],
    pull_access: &'a PullAccess,
    empty_dir: bool,
    grace_seconds: u32,
    priority: i32,
    probe: Option<core::Probe>,
}

impl Common<'_> {
    fn spec(&self) -> core::PodSpec {
        let rules = self.rules;
        let claims = self.claims.iter().map(|claim| core::Volume {
            name: claim.clone(),
            persistent_volume_claim: Some(core::PersistentVolumeClaimVolumeSource {
                claim_name: claim.clone(),
                read_only: None,
            }),
            ..core::Volume::default()
        });
        let scratch = self.empty_dir.then(|| core::Volume {
            name: "scratch".to_owned(),
            empty_dir: Some(core::EmptyDirVolumeSource::default()),
            ..core::Volume::default()
        });
        core::PodSpec {
            affinity: Some(affinity(rules)),
            containers: self.containers(),
            init_containers: (!self.init_images.is_empty()).then(|| self.init_containers()),
            image_pull_secrets: self.pull_secrets(),
            service_account_name: self.pull_access.service_account.clone(),
            node_selector: Some(rules.node_selector.clone()),
            priority: Some(self.priority),
            termination_grace_period_seconds: Some(i64::from(self.grace_seconds)),
            tolerations: Some(rules.tolerations.iter().map(toleration).collect()),
            topology_spread_constraints: Some(rules.spread.iter().map(spread).collect()),
            volumes: Some(claims.chain(scratch).collect()),
            ..core::PodSpec::default()
        }
    }

    fn init_containers(&self) -> Vec<core::Container> {
        let container = |(place, image): (usize, &String)| core::Container {
            name: format!("i{place}"),
            image: Some(image.clone()),
            ..core::Container::default()
        };
        self.init_images.iter().enumerate().map(container).collect()
    }

    fn pull_secrets(&self) -> Option<Vec<core::LocalObjectReference>> {
        let secrets = self.pull_access.secrets.iter();
        let named: Vec<_> = secrets.map(|name| core::LocalObjectReference { name: name.clone() }).collect();
        (!named.is_empty()).then_some(named)
    }

    /// One container for each image; the first asks for everything and takes the ports.
    fn containers(&self) -> Vec<core::Container> {
        let unknown = ["unknown".to_owned()];
        let images = if self.images.is_empty() { &unknown } else { self.images };
        let container = |(place, image): (usize, &String)| {
            let first = place == 0;
            let ports = self.rules.host_ports.iter().map(|port| core::ContainerPort {
                container_port: i32::from(*port),
                host_port: Some(i32::from(*port)),
                ..core::ContainerPort::default()
            });
            core::Container {
                name: format!("c{place}"),
                image: Some(image.clone()),
                ports: first.then(|| ports.collect()),
                readiness_probe: self.probe.clone(),
                resources: first.then(|| core::ResourceRequirements {
                    requests: Some(quantities(self.requests)),
                    ..core::ResourceRequirements::default()
                }),
                ..core::Container::default()
            }
        };
        images.iter().enumerate().map(container).collect()
    }
}

/// A template of pods of this priority. If they say when they are ready, they are looked at first after `ready_after` seconds.
pub(super) fn template(template: &PodTemplate, priority: i32, ready_after: i32) -> core::PodTemplateSpec {
    let probe = template.readiness_probe.then(|| core::Probe {
        initial_delay_seconds: Some(ready_after),
        period_seconds: Some(5),
        ..core::Probe::default()
    });
    let restart = template.restart_id.as_ref();
    let common = Common {
        requests: template.requests,
        rules: &template.rules,
        claims: &template.claims,
        images: &template.images,
        init_images: &template.init_images,
        pull_access: &template.pull_access,
        empty_dir: template.empty_dir,
        grace_seconds: template.grace_seconds,
        priority,
        probe,
    };
    core::PodTemplateSpec {
        metadata: Some(meta::ObjectMeta {
            labels: Some(template.labels.clone()),
            annotations: restart.map(|id| [(RESTART_ANNOTATION.to_owned(), id.to_string())].into()),
            ..meta::ObjectMeta::default()
        }),
        spec: Some(common.spec()),
    }
}

/// A pod, without a status.
pub(super) fn pod(pod: &Pod) -> core::Pod {
    let common = Common {
        requests: pod.requests,
        rules: &pod.rules,
        claims: &pod.claims,
        images: &pod.images,
        init_images: &pod.init_images,
        pull_access: &pod.pull_access,
        empty_dir: pod.empty_dir,
        grace_seconds: pod.grace_seconds,
        priority: pod.priority,
        probe: None,
    };
    let mut metadata = metadata(&pod.name, Some(&pod.uid), pod.owner.as_ref(), &pod.labels);
    if pod.mirror {
        metadata.annotations = Some([("kubernetes.io/config.mirror".to_owned(), pod.uid.to_string())].into());
    }
    let node_name = pod.node.as_ref().map(ToString::to_string);
    core::Pod { metadata, spec: Some(core::PodSpec { node_name, ..common.spec() }), status: None }
}

pub(super) fn budget(budget: &Budget) -> PodDisruptionBudget {
    let (min_available, max_unavailable) = match budget.limit {
        BudgetLimit::MinAvailable(limit) => (Some(int_or_string(limit)), None),
        BudgetLimit::MaxUnavailable(limit) => (None, Some(int_or_string(limit))),
    };
    PodDisruptionBudget {
        metadata: metadata(&budget.name, None, None, &Labels::new()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable,
            min_available,
            selector: budget.selector.as_ref().map(selector),
            unhealthy_pod_eviction_policy: budget.always_allow_unhealthy.then(|| "AlwaysAllow".to_owned()),
        }),
        status: None,
    }
}

pub(super) fn service(service: &Service) -> core::Service {
    let kind = match &service.service_type {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
        ServiceType::ExternalName => "ExternalName",
        ServiceType::Unknown(kind) => kind,
    };
    core::Service {
        metadata: metadata(&service.name, None, None, &Labels::new()),
        spec: Some(core::ServiceSpec {
            external_traffic_policy: service.local_traffic_only.then(|| "Local".to_owned()),
            publish_not_ready_addresses: service.publishes_unready.then_some(true),
            selector: (!service.selector.is_empty()).then(|| service.selector.clone()),
            type_: Some(kind.to_owned()),
            ..core::ServiceSpec::default()
        }),
        status: None,
    }
}

/// A claim with the volume behind it.
pub(super) fn claim(claim: &Claim) -> (core::PersistentVolumeClaim, core::PersistentVolume) {
    let mode = if claim.shared { "ReadWriteMany" } else { "ReadWriteOnce" };
    let volume_name = format!("{}-{}", claim.name.namespace(), claim.name.name());
    let reach = [(ZONE_LABEL, &claim.zones), (HOST_LABEL, &claim.hosts)];
    let requirements = reach.iter().filter(|(_, values)| !values.is_empty()).map(|(key, values)| {
        core::NodeSelectorRequirement {
            key: (*key).to_owned(),
            operator: "In".to_owned(),
            values: Some((*values).clone()),
        }
    });
    let requirements: Vec<_> = requirements.collect();
    let affinity = (!requirements.is_empty()).then(|| {
        let term = core::NodeSelectorTerm { match_expressions: Some(requirements), match_fields: None };
        core::VolumeNodeAffinity { required: Some(core::NodeSelector { node_selector_terms: vec![term] }) }
    });
    let volume = core::PersistentVolume {
        metadata: meta::ObjectMeta { name: Some(volume_name.clone()), ..meta::ObjectMeta::default() },
        spec: Some(core::PersistentVolumeSpec {
            access_modes: Some(vec![mode.to_owned()]),
            claim_ref: Some(core::ObjectReference {
                namespace: Some(claim.name.namespace().to_owned()),
                name: Some(claim.name.name().to_owned()),
                ..core::ObjectReference::default()
            }),
            csi: Some(core::CSIPersistentVolumeSource {
                driver: if claim.shared && !claim.disk { FILE_DRIVER } else { DISK_DRIVER }.to_owned(),
                volume_handle: volume_name.clone(),
                ..core::CSIPersistentVolumeSource::default()
            }),
            node_affinity: affinity,
            ..core::PersistentVolumeSpec::default()
        }),
        status: None,
    };
    let claim = core::PersistentVolumeClaim {
        metadata: metadata(&claim.name, None, None, &Labels::new()),
        spec: Some(core::PersistentVolumeClaimSpec {
            access_modes: Some(vec![mode.to_owned()]),
            volume_name: Some(volume_name),
            ..core::PersistentVolumeClaimSpec::default()
        }),
        status: None,
    };
    (claim, volume)
}

/// An autoscaler that is content with what it finds: what it measures is not known.
pub(super) fn autoscaler(scaler: &Autoscaler) -> HorizontalPodAutoscaler {
    let target = &scaler.target;
    let api_version = match target.kind {
        WorkloadKind::Other(_) => None,
        _ => Some("apps/v1".to_owned()),
    };
    HorizontalPodAutoscaler {
        metadata: metadata(&scaler.name, None, None, &Labels::new()),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version,
                kind: target.kind.to_string(),
                name: target.name.name().to_owned(),
            },
            max_replicas: i32::MAX,
            ..HorizontalPodAutoscalerSpec::default()
        },
        status: None,
    }
}

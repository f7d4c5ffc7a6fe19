//! What an object must be by itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;
use upgrade_core::model::{Labels, MilliCpu};

use super::super::defaults::pod_spec_of;
use super::{Faults, at, dotted};
use crate::ports::rules::selector;
use crate::store::Kind;

/// What must be there when an object is created.
const REQUIRED: &[(Kind, &str)] = &[
    (Kind::Deployment, "/spec/selector"),
    (Kind::ReplicaSet, "/spec/selector"),
    (Kind::StatefulSet, "/spec/selector"),
    (Kind::DaemonSet, "/spec/selector"),
    (Kind::CronJob, "/spec/schedule"),
    (Kind::HorizontalPodAutoscaler, "/spec/maxReplicas"),
    (Kind::HorizontalPodAutoscaler, "/spec/scaleTargetRef/kind"),
    (Kind::HorizontalPodAutoscaler, "/spec/scaleTargetRef/name"),
    (Kind::PersistentVolumeClaim, "/spec/accessModes"),
    (Kind::PersistentVolumeClaim, "/spec/resources/requests/storage"),
    (Kind::PersistentVolume, "/spec/accessModes"),
    (Kind::PersistentVolume, "/spec/capacity"),
    (Kind::StorageClass, "/provisioner"),
    (Kind::RoleBinding, "/roleRef/name"),
    (Kind::ClusterRoleBinding, "/roleRef/name"),
    (Kind::VolumeAttachment, "/spec/attacher"),
    (Kind::VolumeAttachment, "/spec/nodeName"),
    (Kind::EndpointSlice, "/addressType"),
    (Kind::IngressClass, "/spec/controller"),
    (Kind::Event, "/involvedObject"),
];

/// Numbers that are not negative.
const COUNTS: &[(Kind, &str)] = &[
    (Kind::Deployment, "/spec/replicas"),
    (Kind::Deployment, "/spec/minReadySeconds"),
    (Kind::Deployment, "/spec/revisionHistoryLimit"),
    (Kind::ReplicaSet, "/spec/replicas"),
    (Kind::StatefulSet, "/spec/replicas"),
    (Kind::StatefulSet, "/spec/updateStrategy/rollingUpdate/partition"),
    (Kind::Job, "/spec/parallelism"),
    (Kind::Job, "/spec/completions"),
    (Kind::Job, "/spec/backoffLimit"),
    (Kind::PodDisruptionBudget, "/spec/minAvailable"),
    (Kind::PodDisruptionBudget, "/spec/maxUnavailable"),
    (Kind::Pod, "/spec/terminationGracePeriodSeconds"),
];

/// Numbers that are positive.
const POSITIVE: &[(Kind, &str)] = &[
    (Kind::HorizontalPodAutoscaler, "/spec/maxReplicas"),
    (Kind::HorizontalPodAutoscaler, "/spec/minReplicas"),
];

/// Words of which one is meant.
const WORDS: &[(Kind, &str, &[&str])] = &[
    (Kind::Deployment, "/spec/strategy/type", &["Recreate", "RollingUpdate"]),
    (Kind::StatefulSet, "/spec/updateStrategy/type", &["OnDelete", "RollingUpdate"]),
    (Kind::StatefulSet, "/spec/podManagementPolicy", &["OrderedReady", "Parallel"]),
    (Kind::DaemonSet, "/spec/updateStrategy/type", &["OnDelete", "RollingUpdate"]),
    (Kind::Service, "/spec/type", &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]),
    (Kind::CronJob, "/spec/concurrencyPolicy", &["Allow", "Forbid", "Replace"]),
    (Kind::PodDisruptionBudget, "/spec/unhealthyPodEvictionPolicy", &["AlwaysAllow", "IfHealthyBudget"]),
    (Kind::Pod, "/spec/restartPolicy", &["Always", "OnFailure", "Never"]),
    (Kind::Deployment, "/spec/template/spec/restartPolicy", &["Always"]),
    (Kind::ReplicaSet, "/spec/template/spec/restartPolicy", &["Always"]),
    (Kind::StatefulSet, "/spec/template/spec/restartPolicy", &["Always"]),
    (Kind::DaemonSet, "/spec/template/spec/restartPolicy", &["Always"]),
    (Kind::Job, "/spec/template/spec/restartPolicy", &["OnFailure", "Never"]),
    (Kind::CronJob, "/spec/jobTemplate/spec/template/spec/restartPolicy", &["OnFailure", "Never"]),
];

/// What holds for an object at any time.
pub(super) fn check(kind: Kind, object: &Value, faults: &mut Faults) {
    let of = |table: &'static [(Kind, &'static str)]| {
        table.iter().filter(move |(of, _)| *of == kind).map(|(_, pointer)| *pointer)
    };
    for pointer in of(COUNTS) {
        if at(object, pointer).as_i64().is_some_and(|number| number < 0) {
            faults.invalid(&dotted(pointer), at(object, pointer), "must be greater than or equal to 0");
        }
    }
    for pointer in of(POSITIVE) {
        if at(object, pointer).as_i64().is_some_and(|number| number <= 0) {
            faults.invalid(&dotted(pointer), at(object, pointer), "must be greater than 0");
        }
    }
    for (_, pointer, words) in WORDS.iter().filter(|(of, ..)| *of == kind) {
        let value = at(object, pointer);
        if !value.is_null() && !words.iter().any(|word| value == word) {
            faults.unsupported(&dotted(pointer), value, words);
        }
    }
    match kind {
        Kind::PodDisruptionBudget => {
            let both =
                ["/spec/minAvailable", "/spec/maxUnavailable"].iter().all(|p| !at(object, p).is_null());
            if both {
                faults.invalid(
                    "spec",
                    at(object, "/spec"),
                    "minAvailable and maxUnavailable cannot be both set",
                );
            }
        }
        Kind::Deployment => {
            if at(object, "/spec/strategy/type") == "Recreate"
                && !at(object, "/spec/strategy/rollingUpdate").is_null()
            {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                faults.forbidden("spec.strategy.rollingUpdate", why);
            }
            let zero = |pointer: &str| {
                matches!(at(object, pointer), Value::Number(n) if n.as_i64() == Some(0))
                    || at(object, pointer) == "0%"
            };
            if zero("/spec/strategy/rollingUpdate/maxSurge")
                && zero("/spec/strategy/rollingUpdate/maxUnavailable")
            {
                let field = "/spec/strategy/rollingUpdate/maxUnavailable";
                faults.invalid(&dotted(field), at(object, field), "may not be 0 when `maxSurge` is 0");
            }
        }
        _ => {}
    }
    if matches!(kind, Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet) {
        selects_its_pods(object, faults);
    }
}

/// A controller that does not select the pods it makes would make them for ever.
fn selects_its_pods(object: &Value, faults: &mut Faults) {
    let Ok(wanted) = serde_json::from_value::<LabelSelector>(at(object, "/spec/selector").clone()) else {
        return;
    };
    let labels = at(object, "/spec/template/metadata/labels");
    let made: Labels = serde_json::from_value(labels.clone()).unwrap_or_default();
    if !selector(&wanted).matches(&made) {
        faults.invalid(
            "spec.template.metadata.labels",
            labels,
            "`selector` does not match template `labels`",
        );
    }
}

/// What must be there when an object comes into being.
pub(super) fn check_complete(kind: Kind, object: &Value, faults: &mut Faults) {
    for (_, pointer) in REQUIRED.iter().filter(|(of, _)| *of == kind) {
        let missing = match at(object, pointer) {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if missing {
            faults.required(&dotted(pointer), "");
        }
    }
    if let Some(pointer) = pod_spec_of(kind) {
        containers(pointer, at(object, pointer), faults);
    }
    if kind == Kind::Service {
        let (spec, headless) = (at(object, "/spec"), at(object, "/spec/clusterIP") == "None");
        if spec["type"] != "ExternalName" && !headless && spec["ports"].as_array().is_none_or(Vec::is_empty) {
            faults.required("spec.ports", "");
        }
    }
}

fn containers(pointer: &str, spec: &Value, faults: &mut Faults) {
    let path = dotted(pointer);
    let list = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        faults.required(&format!("{path}.containers"), "");
    }
    let mut names: Vec<&str> = Vec::new();
    for (index, container) in list.iter().enumerate() {
        let field = |member: &str| format!("{path}.containers[{index}].{member}");
        match container["name"].as_str().filter(|name| !name.is_empty()) {
            None => faults.required(&field("name"), ""),
            Some(name) if names.contains(&name) => {
                faults.add("FieldValueDuplicate", &field("name"), format!("Duplicate value: {name:?}"));
            }
            Some(name) => names.push(name),
        }
        if container["image"].as_str().unwrap_or_default().is_empty() {
            faults.required(&field("image"), "");
        }
        let limits = &container["resources"]["limits"];
        for (resource, request) in container["resources"]["requests"].as_object().into_iter().flatten() {
            // An amount may stand there as a number, too.
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let amount = |value: &Value| MilliCpu::parse(&text(value)).ok();
            let (asked, most) = (amount(request), limits.get(resource).and_then(amount));
            if asked.zip(most).is_some_and(|(asked, most)| asked > most) {
                let limit = text(&limits[resource]);
                let why = format!("must be less than or equal to {resource} limit of {limit}");
                faults.invalid(&field("resources.requests"), request, &why);
            }
        }
    }
}

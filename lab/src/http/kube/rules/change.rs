//! What a change of an object may not change.

use serde_json::Value;

use super::{Faults, at, dotted};
use crate::store::Kind;

/// Fields that stay as they are.
const FIXED: &[(Kind, &str)] = &[
    (Kind::Deployment, "/spec/selector"),
    (Kind::ReplicaSet, "/spec/selector"),
    (Kind::DaemonSet, "/spec/selector"),
    (Kind::Job, "/spec/selector"),
    (Kind::Job, "/spec/completionMode"),
    (Kind::StorageClass, "/provisioner"),
    (Kind::StorageClass, "/parameters"),
    (Kind::StorageClass, "/reclaimPolicy"),
    (Kind::StorageClass, "/volumeBindingMode"),
    (Kind::PriorityClass, "/value"),
    (Kind::PriorityClass, "/preemptionPolicy"),
    (Kind::Secret, "/type"),
    (Kind::VolumeAttachment, "/spec"),
    (Kind::EndpointSlice, "/addressType"),
    (Kind::RoleBinding, "/roleRef"),
    (Kind::ClusterRoleBinding, "/roleRef"),
    (Kind::IngressClass, "/spec/controller"),
];

/// Specs of which only these members may change, and the API server's words for it.
const FREE: &[(Kind, &[&str], &str)] = &[
    (
        Kind::StatefulSet,
        &[
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
        ],
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    ),
    (
        Kind::PersistentVolumeClaim,
        &["resources", "volumeName", "volumeAttributesClassName"],
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
    ),
    (
        Kind::Pod,
        &["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"],
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
    ),
];

pub(super) fn check(kind: Kind, before: &Value, after: &Value, faults: &mut Faults) {
    for (_, pointer) in FIXED.iter().filter(|(of, _)| *of == kind) {
        if at(before, pointer) != at(after, pointer) {
            faults.invalid(&dotted(pointer), at(after, pointer), "field is immutable");
        }
    }
    for (_, free, words) in FREE.iter().filter(|(of, ..)| *of == kind) {
        if bound(kind, before, free) != bound(kind, after, free) {
            faults.forbidden("spec", words);
        }
    }
    match kind {
        // The template of a suspended Job may still change.
        Kind::Job => {
            let suspended = at(before, "/spec/suspend") == true;
            let template = "/spec/template";
            if !suspended && at(before, template) != at(after, template) {
                faults.invalid(&dotted(template), at(after, template), "field is immutable");
            }
        }
        Kind::ConfigMap | Kind::Secret if at(before, "/immutable") == true => {
            for member in ["data", "binaryData", "immutable"] {
                if before.get(member) != after.get(member) {
                    faults.forbidden(member, "field is immutable when `immutable` is set");
                }
            }
        }
        Kind::PersistentVolumeClaim => {
            let volume = at(before, "/spec/volumeName");
            if !volume.is_null() && volume != at(after, "/spec/volumeName") {
                faults.forbidden("spec", "a bound claim keeps its volume");
            }
        }
        Kind::Node => {
            let machine = at(before, "/spec/providerID");
            if !machine.is_null() && machine != at(after, "/spec/providerID") {
                faults.forbidden(
                    "spec.providerID",
                    "node updates may not change the provider id once it is set",
                );
            }
        }
        _ => {}
    }
}

/// The spec without what may change.
fn bound(kind: Kind, object: &Value, free: &[&str]) -> Value {
    let mut spec = at(object, "/spec").clone();
    if let Some(members) = spec.as_object_mut() {
        members.retain(|name, _| !free.contains(&name.as_str()));
        if kind == Kind::Pod {
            for list in ["containers", "initContainers"] {
                for container in members.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    container["image"].take();
                    // The default of the policy follows the image.
                    container["imagePullPolicy"].take();
                }
            }
        }
    }
    spec
}

//! The writes of a run. Each is sent once, and fenced by the object's uid where there is one already; each may be only tried.

use jiff::Timestamp;
use rancher_client::KubeStatus;
use serde::Deserialize;
use serde_json::{Value, json};
use upgrade_core::model::{
    EXCLUDE_LABEL, NodeName, ObjectName, RESTART_ANNOTATION, RESTARTED_AT_ANNOTATION, RestartId, RunId,
    Settings, Uid, WorkloadKind, WorkloadRef,
};
use upgrade_core::ports::{CallOutcome, EvictionAnswer, PortError, PortErrorKind, RemoteService, WriteMode};
use upgrade_core::prewarm::PrewarmPod;
use upgrade_core::trial::pod_to_try;
use upgrade_core::view::ResourceKind;

use super::api::{Api, FIELD_MANAGER, dry_run, list_of, object_path};
use super::failure::{Failure, undecodable};
use super::wire;
use super::workloads;

fn refused(kind: PortErrorKind, message: String) -> PortError {
    PortError::new(RemoteService::Kubernetes, kind, CallOutcome::NothingDone, message)
}

/// Another object has taken the name.
fn replaced(what: &str, found: Option<&str>, wanted: &Uid) -> PortError {
    let found = found.unwrap_or("none");
    refused(PortErrorKind::Conflict, format!("{what}: it is another one now (uid {found}, not {wanted})"))
}

/// A patch with a uid is refused as invalid when the object under the name has another one (Kubernetes: the uid is
/// immutable); in the core's terms that is a conflict.
fn of_patch(failure: Failure, what: &str) -> PortError {
    let about_uid = |status: &KubeStatus| {
        status.code == 422
            && (status.causes.iter().any(|cause| cause.field == "metadata.uid")
                || status.message.contains("metadata.uid"))
    };
    let replaced = failure.status().is_some_and(about_uid);
    let error = failure.of_write(what);
    if replaced { PortError { kind: PortErrorKind::Conflict, ..error } } else { error }
}

pub(super) async fn set_unschedulable(
    api: &Api,
    node: &NodeName,
    uid: &Uid,
    unschedulable: bool,
    mode: WriteMode,
) -> Result<(), PortError> {
    let what = format!("{} node {node}", if unschedulable { "cordoning" } else { "uncordoning" });
    let path = format!("/api/v1/nodes/{node}");
    let found: wire::Node = api.read(&path).await.map_err(|failure| failure.of_read(&what))?;
    if found.metadata.uid.as_deref() != Some(uid.as_str()) {
        return Err(replaced(&what, found.metadata.uid.as_deref(), uid));
    }
    if found.spec.unschedulable.unwrap_or(false) == unschedulable {
        return Ok(());
    }
    // The uid alone is the fence: kubelets rewrite their nodes all the time, and a resource version would refuse the cordon
    // because of a heartbeat.
    let patch = json!({"metadata": {"uid": uid}, "spec": {"unschedulable": unschedulable}});
    api.patch(&path, &patch, mode).await.map_err(|failure| of_patch(failure, &what))
}

pub(super) async fn set_excluded(
    api: &Api,
    node: &NodeName,
    uid: &Uid,
    excluded: bool,
    run: &RunId,
    mode: WriteMode,
) -> Result<(), PortError> {
    let what = if excluded {
        format!("taking node {node} out of external load balancers")
    } else {
        format!("letting node {node} back into external load balancers")
    };
    let path = format!("/api/v1/nodes/{node}");
    let found: wire::Node = api.read(&path).await.map_err(|failure| failure.of_read(&what))?;
    if found.metadata.uid.as_deref() != Some(uid.as_str()) {
        return Err(replaced(&what, found.metadata.uid.as_deref(), uid));
    }
    let by = found.metadata.labels.as_ref().and_then(|labels| labels.get(EXCLUDE_LABEL));
    let wanted = match (excluded, by) {
        (true, None) => Some(run.as_str()),
        (false, Some(by)) if by == run.as_str() => None,
        _ => return Ok(()),
    };
    let patch = json!({"metadata": {"uid": uid, "labels": {EXCLUDE_LABEL: wanted}}});
    api.patch(&path, &patch, mode).await.map_err(|failure| of_patch(failure, &what))
}

pub(super) async fn restart(
    api: &Api,
    workload: &WorkloadRef,
    uid: &Uid,
    id: &RestartId,
    at: Timestamp,
    mode: WriteMode,
) -> Result<(), PortError> {
    #[derive(Deserialize)]
    struct Found {
        metadata: wire::Meta,
        #[serde(default)]
        spec: FoundSpec,
    }
    #[derive(Default, Deserialize)]
    struct FoundSpec {
        #[serde(default)]
        template: wire::Template,
    }
    let what = format!("restarting {workload}");
    let plural = match workload.kind {
        WorkloadKind::Deployment => "deployments",
        WorkloadKind::StatefulSet => "statefulsets",
        WorkloadKind::DaemonSet | WorkloadKind::ReplicaSet | WorkloadKind::Job | WorkloadKind::Other(_) => {
            let message = format!("{what}: only Deployments and StatefulSets are restarted");
            return Err(refused(PortErrorKind::Rejected, message));
        }
    };
    let path = object_path("/apis/apps/v1", plural, &workload.name);
    let found: Found = api.read(&path).await.map_err(|failure| failure.of_read(&what))?;
    if found.metadata.uid.as_deref() != Some(uid.as_str()) {
        return Err(replaced(&what, found.metadata.uid.as_deref(), uid));
    }
    let has = found.spec.template.metadata.annotations.and_then(|annotations| annotations.restart_id);
    if has.as_deref() == Some(id.as_str()) {
        return Ok(());
    }
    // Whole seconds, as `kubectl rollout restart` writes them.
    let seconds = Timestamp::from_second(at.as_second()).unwrap_or(at);
    let annotations = json!({RESTART_ANNOTATION: id, RESTARTED_AT_ANNOTATION: seconds.to_string()});
    let patch = json!({
        "metadata": {"uid": uid},
        "spec": {"template": {"metadata": {"annotations": annotations}}},
    });
    api.patch(&path, &patch, mode).await.map_err(|failure| of_patch(failure, &what))
}

pub(super) async fn change_settings(
    api: &Api,
    workload: &WorkloadRef,
    uid: &Uid,
    from: &Settings,
    to: &Settings,
    mode: WriteMode,
) -> Result<(), PortError> {
    let what = format!("setting {to} of {workload}");
    let plural = match workload.kind {
        WorkloadKind::Deployment => "deployments",
        WorkloadKind::ReplicaSet => "replicasets",
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet | WorkloadKind::Job | WorkloadKind::Other(_) => {
            let message = format!("{what}: only Deployments and ReplicaSets lend something");
            return Err(refused(PortErrorKind::Rejected, message));
        }
    };
    let path = object_path("/apis/apps/v1", plural, &workload.name);
    let found: wire::Workload = api.read(&path).await.map_err(|failure| failure.of_read(&what))?;
    if found.metadata.uid.as_deref() != Some(uid.as_str()) {
        return Err(replaced(&what, found.metadata.uid.as_deref(), uid));
    }
    let version = found.metadata.resource_version.clone();
    let found = workloads::workload(workload.kind.clone(), found);
    let now = Settings::of(&found.map_err(|error| undecodable(&what, error))?).named_in(to);
    let missing = to.differing_from(&now);
    let gone = from.named_in(&missing).differing_from(&now);
    if !gone.is_empty() {
        return Err(refused(PortErrorKind::Conflict, format!("{what}: it has {now}, not {gone}")));
    }
    if missing.is_empty() {
        return Ok(());
    }
    // What was read is what is changed: the version is the fence.
    let mut patch = missing.merge_patch();
    patch["metadata"] = json!({"uid": uid, "resourceVersion": version});
    api.patch(&path, &patch, mode).await.map_err(|failure| of_patch(failure, &what))
}

pub(super) async fn evict(
    api: &Api,
    pod: &ObjectName,
    uid: &Uid,
    mode: WriteMode,
) -> Result<EvictionAnswer, PortError> {
    let path = format!("{}/eviction", object_path("/api/v1", "pods", pod));
    // Written here and not by the kube client, whose `delete_options` the API server does not know and would ignore,
    // precondition and all.
    let mut body = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name(), "namespace": pod.namespace()},
        "deleteOptions": {"preconditions": {"uid": uid}},
    });
    if mode == WriteMode::DryRun {
        // Said twice: something in between that loses the query must not make a trial a deed.
        body["deleteOptions"]["dryRun"] = json!(["All"]);
    }
    match api.post::<serde::de::IgnoredAny>(&path, dry_run(mode), &body).await {
        Ok(_) => Ok(EvictionAnswer::Accepted),
        Err(failure) => match failure.status().and_then(eviction_answer) {
            Some(answer) => Ok(answer),
            None => Err(failure.of_write(&format!("evicting pod {pod}"))),
        },
    }
}

pub(super) async fn create_prewarm_pod(
    api: &Api,
    pod: &PrewarmPod,
    run: &RunId,
    mode: WriteMode,
) -> Result<(), PortError> {
    let path = format!("/api/v1/namespaces/{}/pods", pod.name.namespace());
    let query = [&[("fieldManager", FIELD_MANAGER)], dry_run(mode)].concat();
    let created = api.post::<serde::de::IgnoredAny>(&path, &query, &pod.manifest(run)).await;
    created.map(|_| ()).map_err(|failure| failure.of_write(&format!("creating pod {}", pod.name)))
}

pub(super) async fn try_pod(api: &Api, workload: &WorkloadRef, uid: &Uid) -> Result<(), PortError> {
    let what = format!("creating a pod of {workload}");
    let Some(kind) = ResourceKind::of_workload(&workload.kind) else { return Ok(()) };
    let path = list_of(kind, &workload.name.to_string());
    let found: Value = api.read(&path).await.map_err(|failure| failure.of_read(&what))?;
    let found = found.pointer("/items/0");
    let found_uid = found.and_then(|found| found.pointer("/metadata/uid")).and_then(Value::as_str);
    let Some(found) = found.filter(|_| found_uid == Some(uid.as_str())) else {
        return Err(replaced(&what, found_uid, uid));
    };
    let query = [&[("fieldManager", FIELD_MANAGER)], dry_run(WriteMode::DryRun)].concat();
    let path = format!("/api/v1/namespaces/{}/pods", workload.name.namespace());
    let tried = api.post::<serde::de::IgnoredAny>(&path, &query, &pod_to_try(found)).await;
    tried.map(|_| ()).map_err(|failure| failure.of_write(&what))
}

pub(super) async fn delete_prewarm_pod(
    api: &Api,
    pod: &ObjectName,
    uid: &Uid,
    mode: WriteMode,
) -> Result<(), PortError> {
    match api.delete(&object_path("/api/v1", "pods", pod), uid, mode).await {
        Err(failure) if !failure.status().is_some_and(is_gone) => {
            Err(failure.of_write(&format!("deleting pod {pod}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The object is not there any more, or another one is under its name.
fn is_gone(status: &KubeStatus) -> bool {
    // A conflict of resource versions, the API server's own, says nothing of the kind.
    status.code == 404 || status.code == 409 && status.message.contains("UID")
}

/// The refusals of the Eviction API that are answers.
fn eviction_answer(status: &KubeStatus) -> Option<EvictionAnswer> {
    if status.is_disruption_budget() {
        let cause = status.causes.iter().find(|cause| cause.reason == "DisruptionBudget");
        let named = cause.map(|cause| &cause.message).filter(|message| !message.is_empty());
        return Some(EvictionAnswer::Refused {
            message: named.unwrap_or(&status.message).clone(),
            retry_after_seconds: status.retry_after_seconds.unwrap_or(0),
        });
    }
    if status.is_several_budgets() {
        return Some(EvictionAnswer::Misconfigured { message: status.message.clone() });
    }
    is_gone(status).then_some(EvictionAnswer::Gone)
}

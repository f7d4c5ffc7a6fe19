//! Leases: read, created, and replaced on condition.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use upgrade_core::lock::{ABORT_ANNOTATION, Lease, LeaseRecord, StopRequest};
use upgrade_core::model::{ObjectName, RUN_ANNOTATION, RunId};
use upgrade_core::ports::{CallOutcome, PortError, PortErrorKind};

use super::api::{Api, object_path};
use super::decode;
use super::failure::undecodable;
use super::wire;
use crate::adapters::text::one_line;

const GROUP: &str = "/apis/coordination.k8s.io/v1";

#[derive(Deserialize)]
struct Found {
    metadata: wire::Meta,
    #[serde(default)]
    spec: FoundSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundSpec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u32>,
    acquire_time: Option<Timestamp>,
    renew_time: Option<Timestamp>,
    lease_transitions: Option<u32>,
}

pub(super) async fn read(api: &Api, name: &ObjectName) -> Result<Option<Lease>, PortError> {
    let what = format!("reading lease {name}");
    match api.read::<Found>(&object_path(GROUP, "leases", name)).await {
        Ok(found) => lease(found, &what).map(Some),
        Err(failure) if failure.status().is_some_and(|status| status.code == 404) => Ok(None),
        Err(failure) => Err(failure.of_read(&what)),
    }
}

pub(super) async fn create(api: &Api, name: &ObjectName, record: &LeaseRecord) -> Result<Lease, PortError> {
    let what = format!("creating lease {name}");
    let path = format!("{GROUP}/namespaces/{}/leases", name.namespace());
    let written = api.post::<Found>(&path, &[], &object(name, record, None)).await;
    written.map_err(|failure| failure.of_write(&what)).and_then(|found| left(found, &what))
}

pub(super) async fn update(
    api: &Api,
    name: &ObjectName,
    over: &Lease,
    record: &LeaseRecord,
) -> Result<Lease, PortError> {
    let what = format!("writing lease {name}");
    let path = object_path(GROUP, "leases", name);
    // The version is the fence. The uid is one, too: an update of a Lease that is gone would create it (Kubernetes:
    // AllowCreateOnUpdate).
    let written = api.put::<Found>(&path, &object(name, record, Some(over))).await;
    match written {
        Ok(found) => left(found, &what),
        Err(failure) => {
            let gone = failure.status().is_some_and(|status| status.code == 404);
            let error = failure.of_write(&what);
            Err(if gone { PortError { kind: PortErrorKind::Conflict, ..error } } else { error })
        }
    }
}

/// What a write left. An answer that cannot be read says nothing about the write.
fn left(found: Found, what: &str) -> Result<Lease, PortError> {
    lease(found, what).map_err(|error| PortError { outcome: CallOutcome::Unknown, ..error })
}

fn lease(found: Found, what: &str) -> Result<Lease, PortError> {
    let Found { metadata, spec } = found;
    let uid = decode::uid(&metadata).map_err(|error| undecodable(what, error))?;
    let annotations = metadata.annotations.unwrap_or_default();
    let stop = annotations.abort.and_then(|text| StopRequest::parse(&one_line(&text)));
    Ok(Lease {
        uid,
        resource_version: metadata.resource_version.unwrap_or_default(),
        record: LeaseRecord {
            holder: one_line(&spec.holder_identity.unwrap_or_default()),
            duration_seconds: spec.lease_duration_seconds.unwrap_or(0),
            acquired_at: spec.acquire_time,
            renewed_at: spec.renew_time,
            transitions: spec.lease_transitions.unwrap_or(0),
            run: annotations.run.and_then(|run| RunId::new(run).ok()),
            stop,
        },
    })
}

fn object(name: &ObjectName, record: &LeaseRecord, over: Option<&Lease>) -> Value {
    let LeaseRecord { holder, duration_seconds, acquired_at, renewed_at, transitions, run, stop } = record;
    let mut metadata = json!({"name": name.name(), "namespace": name.namespace()});
    if let Some(run) = run {
        metadata["annotations"] = json!({RUN_ANNOTATION: run});
    }
    if let Some(stop) = stop {
        metadata["annotations"][ABORT_ANNOTATION] = json!(stop.to_string());
    }
    if let Some(over) = over {
        metadata["uid"] = json!(over.uid);
        metadata["resourceVersion"] = json!(over.resource_version);
    }
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata,
        "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": duration_seconds, "leaseTransitions": transitions,
            "acquireTime": acquired_at.map(micro_time), "renewTime": renewed_at.map(micro_time),
        },
    })
}

/// Kubernetes' `MicroTime`: always six digits.
fn micro_time(at: Timestamp) -> String {
    format!("{at:.6}")
}

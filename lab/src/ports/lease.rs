//! Leases, between Kubernetes' own object and the core's.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::coordination::v1 as k8s;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use upgrade_core::lock::{ABORT_ANNOTATION, Lease, LeaseRecord, StopRequest};
use upgrade_core::model::{ObjectName, RUN_ANNOTATION, RunId, Uid};

use crate::error::ApiError;
use crate::kube::lease_is_valid;
use crate::world::World;

/// Creates the Lease, or the API's 409.
pub(super) fn create(world: &mut World, name: &ObjectName, record: &LeaseRecord) -> Result<Lease, ApiError> {
    let lease = object(name, record);
    lease_is_valid(&lease)?;
    world.store.create(lease).map(|lease| read(&lease))
}

/// Replaces the Lease if it is still the one that was read.
pub(super) fn update(
    world: &mut World,
    name: &ObjectName,
    over: &Lease,
    record: &LeaseRecord,
) -> Result<Lease, ApiError> {
    let lease = object(name, record);
    lease_is_valid(&lease)?;
    let (namespace, name) = (name.namespace(), name.name());
    if world.store.get::<k8s::Lease>(namespace, name).is_none() {
        return Err(ApiError::wrong_uid::<k8s::Lease>(name, over.uid.as_str(), ""));
    }
    let written = world.store.try_update::<k8s::Lease>(namespace, name, |found| {
        let uid = found.metadata.uid.as_deref().unwrap_or_default();
        if uid != over.uid.as_str() {
            return Err(ApiError::wrong_uid::<k8s::Lease>(name, over.uid.as_str(), uid));
        }
        if found.metadata.resource_version.as_deref() != Some(over.resource_version.as_str()) {
            return Err(ApiError::stale::<k8s::Lease>(name));
        }
        *found = lease;
        Ok(())
    });
    written.map(|lease| read(&lease))
}

/// The Lease, if there is one.
pub(super) fn get(world: &World, name: &ObjectName) -> Option<Lease> {
    world.store.get::<k8s::Lease>(name.namespace(), name.name()).map(read)
}

fn read(lease: &Arc<k8s::Lease>) -> Lease {
    let meta = &lease.metadata;
    let spec = lease.spec.clone().unwrap_or_default();
    let number = |value: Option<i32>| u32::try_from(value.unwrap_or_default()).unwrap_or_default();
    let annotation = |key| meta.annotations.as_ref().and_then(|annotations| annotations.get(key));
    Lease {
        uid: Uid::new(meta.uid.clone().unwrap_or_default()).expect("the store gives every object a uid"),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        record: LeaseRecord {
            holder: spec.holder_identity.unwrap_or_default(),
            duration_seconds: number(spec.lease_duration_seconds),
            acquired_at: spec.acquire_time.map(|time| time.0),
            renewed_at: spec.renew_time.map(|time| time.0),
            transitions: number(spec.lease_transitions),
            run: annotation(RUN_ANNOTATION).and_then(|run| RunId::new(run.as_str()).ok()),
            stop: annotation(ABORT_ANNOTATION).and_then(|text| StopRequest::parse(text)),
        },
    }
}

fn object(name: &ObjectName, record: &LeaseRecord) -> k8s::Lease {
    let number = |value: u32| Some(i32::try_from(value).unwrap_or(i32::MAX));
    // As it is on the wire, where the rest of the second has six digits.
    let time = |at: jiff::Timestamp| jiff::Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at);
    let run = record.run.as_ref().map(|run| (RUN_ANNOTATION.to_owned(), run.to_string()));
    let stop = record.stop.as_ref().map(|stop| (ABORT_ANNOTATION.to_owned(), stop.to_string()));
    k8s::Lease {
        metadata: ObjectMeta {
            name: Some(name.name().to_owned()),
            namespace: Some(name.namespace().to_owned()),
            annotations: Some(run.into_iter().chain(stop).collect::<BTreeMap<_, _>>())
                .filter(|all| !all.is_empty()),
            ..ObjectMeta::default()
        },
        spec: Some(k8s::LeaseSpec {
            holder_identity: Some(record.holder.clone()),
            lease_duration_seconds: number(record.duration_seconds),
            acquire_time: record.acquired_at.map(|at| MicroTime(time(at))),
            renew_time: record.renewed_at.map(|at| MicroTime(time(at))),
            lease_transitions: number(record.transitions),
            ..k8s::LeaseSpec::default()
        }),
    }
}

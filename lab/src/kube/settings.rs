//! Settings of a workload that are borrowed and given back.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use upgrade_core::model::{IntOrPercent, Settings, Strategy, WorkloadKind, WorkloadRef};

use super::api::check_uid;
use crate::error::ApiError;
use crate::ports::convert::deployment_strategy;
use crate::store::{Store, Stored};

/// Changes settings of a workload from what they were. Those that are so already stay; one that is neither is a conflict.
pub(crate) fn change_settings(
    store: &mut Store,
    workload: &WorkloadRef,
    uid: &str,
    from: &Settings,
    to: &Settings,
) -> Result<(), ApiError> {
    let (namespace, name) = (workload.name.namespace(), workload.name.name());
    match workload.kind {
        WorkloadKind::Deployment => {
            let change = |object: &mut Deployment| {
                check_uid::<Deployment>(name, &object.metadata, uid)?;
                let missing = missing::<Deployment>(name, &settings_of(&object.spec), from, to)?;
                set_deployment(&mut object.spec, &missing);
                Ok(())
            };
            store.try_update(namespace, name, change).map(drop)
        }
        WorkloadKind::ReplicaSet => {
            let change = |object: &mut ReplicaSet| {
                check_uid::<ReplicaSet>(name, &object.metadata, uid)?;
                let spec = &mut object.spec;
                let now = Settings {
                    replicas: Some(count(spec.replicas.unwrap_or(1))),
                    min_ready_seconds: Some(count(spec.min_ready_seconds.unwrap_or_default())),
                    ..Settings::default()
                };
                let missing = missing::<ReplicaSet>(name, &now, from, to)?;
                set(&mut spec.replicas, missing.replicas);
                set(&mut spec.min_ready_seconds, missing.min_ready_seconds);
                Ok(())
            };
            store.try_update(namespace, name, change).map(drop)
        }
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet | WorkloadKind::Job | WorkloadKind::Other(_) => {
            Err(ApiError::bad_request(format!("a {} lends nothing", workload.kind)))
        }
    }
}

/// What is still to be set, unless somebody has set it otherwise.
fn missing<T: Stored>(
    name: &str,
    now: &Settings,
    from: &Settings,
    to: &Settings,
) -> Result<Settings, ApiError> {
    let now = now.named_in(to);
    let missing = to.differing_from(&now);
    let gone = from.named_in(&missing).differing_from(&now);
    if gone.is_empty() {
        return Ok(missing);
    }
    Err(ApiError::conflict::<T>(name, &format!("it has {now}, not {gone}")))
}

fn settings_of(spec: &DeploymentSpec) -> Settings {
    let (max_surge, max_unavailable) = match deployment_strategy(spec.strategy.as_ref()) {
        Strategy::Rolling { max_surge, max_unavailable } => (Some(max_surge), Some(max_unavailable)),
        _ => (None, None),
    };
    Settings {
        replicas: Some(count(spec.replicas.unwrap_or(1))),
        max_surge,
        max_unavailable,
        min_ready_seconds: Some(count(spec.min_ready_seconds.unwrap_or_default())),
    }
}

fn set_deployment(spec: &mut DeploymentSpec, missing: &Settings) {
    set(&mut spec.replicas, missing.replicas);
    set(&mut spec.min_ready_seconds, missing.min_ready_seconds);
    if missing.max_surge.is_some() || missing.max_unavailable.is_some() {
        let rolling = spec.strategy.get_or_insert_default().rolling_update.get_or_insert_default();
        for (limit, value) in [
            (&mut rolling.max_surge, missing.max_surge),
            (&mut rolling.max_unavailable, missing.max_unavailable),
        ] {
            if let Some(value) = value {
                *limit = Some(match value {
                    IntOrPercent::Int(count) => IntOrString::Int(i32::try_from(count).unwrap_or(i32::MAX)),
                    IntOrPercent::Percent(_) => IntOrString::String(value.to_string()),
                });
            }
        }
    }
}

fn set(field: &mut Option<i32>, value: Option<u32>) {
    if let Some(value) = value {
        *field = Some(i32::try_from(value).unwrap_or(i32::MAX));
    }
}

fn count(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

//! The HorizontalPodAutoscaler's controller, as far as it fights somebody else's change of a size (pkg/controller/podautoscaler).
//!
//! The lab has no load. What the metrics would ask for is said by an annotation on the object, else it is the size that the
//! autoscaler found when it looked first.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus,
};

use super::{Work, uid_of};
use crate::store::Key;
use crate::world::World;

/// How many replicas the metrics ask for, on the autoscaler itself; Kubernetes has no such word.
pub(crate) const WANTED: &str = "lab.aks-drover/wanted-replicas";
const SYNC: Duration = Duration::from_secs(15);
/// The default of `behavior.scaleDown.stabilizationWindowSeconds`.
const STABILIZATION_SECONDS: i32 = 300;

/// What an autoscaler has recommended lately, by its uid.
pub(super) type Recommendations = std::collections::BTreeMap<String, Vec<(Timestamp, i32)>>;

pub(super) fn reconcile(world: &mut World, key: &Key) {
    let Some(scaler) = world.store.get::<HorizontalPodAutoscaler>(&key.namespace, &key.name).cloned() else {
        return;
    };
    world.enqueue_later(SYNC, Work::Autoscaler(key.clone()));
    let target = &scaler.spec.scale_target_ref;
    let Some(current) = size(world, &key.namespace, &target.kind, &target.name) else {
        report(world, key, &scaler, None, ("False", "FailedGetScale"));
        return;
    };
    if current == 0 {
        report(world, key, &scaler, Some((0, 0)), ("False", "ScalingDisabled"));
        return;
    }
    let (least, most) = (scaler.spec.min_replicas.unwrap_or(1), scaler.spec.max_replicas);
    let said = scaler.metadata.annotations.as_ref().and_then(|a| a.get(WANTED)?.parse().ok());
    let found = scaler.status.as_ref().map(|status| status.desired_replicas).filter(|first| *first > 0);
    let recommended: i32 = said.or(found).unwrap_or(current);
    let wanted = stabilized(world, &scaler, recommended).clamp(least, most.max(least));
    if wanted != current {
        resize(world, &key.namespace, &target.kind, &target.name, wanted);
    }
    let first = found.unwrap_or(current);
    report(
        world,
        key,
        &scaler,
        Some((current, if said.is_some() { wanted } else { first })),
        ("True", "ValidMetricFound"),
    );
}

/// The highest recommendation of the last minutes: it is fewer only when it has been fewer all the time.
fn stabilized(world: &mut World, scaler: &HorizontalPodAutoscaler, recommended: i32) -> i32 {
    let behavior = scaler.spec.behavior.as_ref().and_then(|behavior| behavior.scale_down.as_ref());
    let window =
        behavior.and_then(|rules| rules.stabilization_window_seconds).unwrap_or(STABILIZATION_SECONDS);
    let now = world.now();
    let lately = world.kube.recommendations.entry(uid_of(scaler).to_owned()).or_default();
    lately.push((now, recommended));
    lately.retain(|(at, _)| *at + SignedDuration::from_secs(i64::from(window)) > now);
    lately.iter().map(|(_, count)| *count).max().unwrap_or(recommended).max(recommended)
}

fn size(world: &World, namespace: &str, kind: &str, name: &str) -> Option<i32> {
    match kind {
        "Deployment" => {
            world.store.get::<Deployment>(namespace, name).map(|found| found.spec.replicas.unwrap_or(1))
        }
        "StatefulSet" => {
            world.store.get::<StatefulSet>(namespace, name).map(|found| found.spec.replicas.unwrap_or(1))
        }
        _ => None,
    }
}

fn resize(world: &mut World, namespace: &str, kind: &str, name: &str, replicas: i32) {
    // It was there a moment ago.
    let _ = match kind {
        "Deployment" => world
            .store
            .update::<Deployment>(namespace, name, |found| found.spec.replicas = Some(replicas))
            .map(drop),
        _ => world
            .store
            .update::<StatefulSet>(namespace, name, |found| found.spec.replicas = Some(replicas))
            .map(drop),
    };
}

fn report(
    world: &mut World,
    key: &Key,
    scaler: &HorizontalPodAutoscaler,
    counts: Option<(i32, i32)>,
    (value, reason): (&str, &str),
) {
    let before = scaler.status.clone().unwrap_or_default();
    let now = world.store.time();
    let same = |condition: &&HorizontalPodAutoscalerCondition| condition.status == value;
    let since =
        before.conditions.iter().flatten().find(same).and_then(|found| found.last_transition_time.clone());
    let condition = HorizontalPodAutoscalerCondition {
        last_transition_time: since.or(Some(now)),
        reason: Some(reason.to_owned()),
        status: value.to_owned(),
        type_: "ScalingActive".to_owned(),
        ..HorizontalPodAutoscalerCondition::default()
    };
    let status = HorizontalPodAutoscalerStatus {
        conditions: Some(vec![condition]),
        current_replicas: counts.map(|(current, _)| current).or(before.current_replicas),
        desired_replicas: counts.map_or(before.desired_replicas, |(_, wanted)| wanted),
        observed_generation: scaler.metadata.generation,
        ..before
    };
    let _ = world
        .store
        .update::<HorizontalPodAutoscaler>(&key.namespace, &key.name, |found| found.status = Some(status));
}

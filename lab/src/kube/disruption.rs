//! The disruption controller: what a budget allows now (pkg/controller/disruption/disruption.go).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use upgrade_core::model::{IntOrPercent, WorkloadKind};

use super::events::Reason;
use super::{Work, pods, uid_of};
use crate::ports::convert::{condition, int_or_percent};
use crate::ports::rules::selector;
use crate::store::{Key, controller};
use crate::timing::Timing;
use crate::world::World;

pub(super) fn reconcile(world: &mut World, key: &Key) {
    let Some(budget) = world.store.get::<PodDisruptionBudget>(&key.namespace, &key.name).cloned() else {
        return;
    };
    let matched = matched(world, &budget, &key.namespace);
    let status = match expected(world, &budget, &key.namespace, &matched) {
        Ok((expected, desired)) => count(world, key, &budget, &matched, expected, desired),
        Err(why) => {
            // failSafe: nothing may be disrupted while the budget is not understood; the other numbers go stale.
            world.tell::<PodDisruptionBudget>(key, Reason::CalculateExpectedPodCountFailed, || {
                format!("Failed to calculate the number of expected pods: {why}")
            });
            let mut status = budget.status.clone().unwrap_or_default();
            status.disruptions_allowed = Some(0);
            set_condition(world, &mut status, &budget, false, "SyncFailed", &why);
            status
        }
    };
    let is_news = budget.status.as_ref() != Some(&status);
    // Nobody else holds it when it is written.
    drop(budget);
    if is_news {
        world.store.report::<PodDisruptionBudget>(&key.namespace, &key.name, |budget| {
            budget.status = Some(status);
        });
    }
}

/// All pods that the selector matches, in whatever phase.
fn matched(world: &World, budget: &PodDisruptionBudget, namespace: &str) -> Vec<Arc<Pod>> {
    let Some(wanted) = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()).map(selector) else {
        return Vec::new();
    };
    let empty = BTreeMap::new();
    // The index has answered for the labels.
    let matches = |pod: &&Arc<Pod>| {
        wanted.expressions.is_empty() || wanted.matches(pod.metadata.labels.as_ref().unwrap_or(&empty))
    };
    world.store.pods_labelled(namespace, &wanted.labels).filter(matches).cloned().collect()
}

/// `expectedPods` and `desiredHealthy`.
fn expected(
    world: &World,
    budget: &PodDisruptionBudget,
    namespace: &str,
    matched: &[Arc<Pod>],
) -> Result<(u32, u32), String> {
    let spec = budget.spec.as_ref();
    let limit = |value| int_or_percent(value).ok_or_else(|| "invalid value for IntOrString".to_owned());
    if let Some(value) = spec.and_then(|spec| spec.max_unavailable.as_ref()) {
        let scale = scale(world, namespace, matched)?;
        return Ok((scale, scale.saturating_sub(limit(value)?.ceil_of(scale))));
    }
    match spec.and_then(|spec| spec.min_available.as_ref()).map(limit).transpose()? {
        Some(percent @ IntOrPercent::Percent(_)) => {
            let scale = scale(world, namespace, matched)?;
            Ok((scale, percent.ceil_of(scale)))
        }
        Some(IntOrPercent::Int(least)) => Ok((u32::try_from(matched.len()).unwrap_or(u32::MAX), least)),
        // Neither is given: nothing is expected, and so nothing is allowed.
        None => Ok((0, 0)),
    }
}

/// The sum of the replicas of the distinct controllers of the pods. Pods without one are skipped.
fn scale(world: &World, namespace: &str, matched: &[Arc<Pod>]) -> Result<u32, String> {
    let mut scales: BTreeMap<String, u32> = BTreeMap::new();
    let mut last = None;
    for pod in matched {
        let Some(owner) = controller(&pod.metadata) else { continue };
        // Most pods have the owner of the one before.
        if last == Some(owner) {
            continue;
        }
        last = Some(owner);
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let (uid, replicas) = scale_of(world, namespace, owner, name)?;
        scales.insert(uid, replicas);
    }
    Ok(scales.values().sum())
}

fn scale_of(
    world: &World,
    namespace: &str,
    owner: &OwnerReference,
    pod: &str,
) -> Result<(String, u32), String> {
    let nobody = || format!("found no controllers for pod \"{pod}\"");
    let replicas = |replicas: Option<i32>| u32::try_from(replicas.unwrap_or(1)).unwrap_or_default();
    let no_scale = |what: String| Err(format!("{what} does not implement the scale subresource"));
    match WorkloadKind::of(&owner.api_version, &owner.kind) {
        WorkloadKind::ReplicaSet => {
            let set =
                world.store.get::<ReplicaSet>(namespace, &owner.name).filter(|s| uid_of(&***s) == owner.uid);
            let set = set.ok_or_else(nobody)?;
            match controller(&set.metadata) {
                Some(above)
                    if WorkloadKind::of(&above.api_version, &above.kind) == WorkloadKind::Deployment =>
                {
                    let found = world.store.get::<Deployment>(namespace, &above.name);
                    let found =
                        found.filter(|deployment| uid_of(&***deployment) == above.uid).ok_or_else(nobody)?;
                    Ok((above.uid.clone(), replicas(found.spec.replicas)))
                }
                _ => Ok((owner.uid.clone(), replicas(set.spec.replicas))),
            }
        }
        WorkloadKind::StatefulSet => {
            let set =
                world.store.get::<StatefulSet>(namespace, &owner.name).filter(|s| uid_of(&***s) == owner.uid);
            Ok((owner.uid.clone(), replicas(set.ok_or_else(nobody)?.spec.replicas)))
        }
        WorkloadKind::Deployment => {
            let found = world.store.get::<Deployment>(namespace, &owner.name).ok_or_else(nobody)?;
            Ok((owner.uid.clone(), replicas(found.spec.replicas)))
        }
        WorkloadKind::DaemonSet => no_scale("daemonsets.apps".to_owned()),
        WorkloadKind::Job => no_scale("jobs.batch".to_owned()),
        WorkloadKind::Other(kind) => no_scale(kind),
    }
}

fn count(
    world: &mut World,
    key: &Key,
    budget: &PodDisruptionBudget,
    matched: &[Arc<Pod>],
    expected: u32,
    desired: u32,
) -> PodDisruptionBudgetStatus {
    let disrupted = still_disrupted(world, key, budget, matched);
    let is_healthy = |pod: &&Arc<Pod>| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        !pods::is_terminating(pod) && !disrupted.contains_key(name) && pods::is_ready(pod)
    };
    let healthy = u32::try_from(matched.iter().filter(is_healthy).count()).unwrap_or(u32::MAX);
    let allowed = if expected == 0 { 0 } else { healthy.saturating_sub(desired) };
    let number = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX));
    let mut status = PodDisruptionBudgetStatus {
        current_healthy: number(healthy),
        desired_healthy: number(desired),
        expected_pods: number(expected),
        disruptions_allowed: number(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: budget.metadata.generation,
        conditions: budget.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
    set_condition(world, &mut status, budget, allowed > 0, reason, "");
    status
}

/// The evictions that have not shown in their pod yet; they are believed for two minutes.
fn still_disrupted(
    world: &mut World,
    key: &Key,
    budget: &PodDisruptionBudget,
    matched: &[Arc<Pod>],
) -> BTreeMap<String, Time> {
    let now = world.now();
    let known = budget.status.as_ref().and_then(|status| status.disrupted_pods.clone()).unwrap_or_default();
    let stale = world.timing.setting(Timing::DeletionTimeout);
    let mut disrupted = known;
    disrupted.retain(|name, since| {
        let pod = matched.iter().find(|pod| pod.metadata.name.as_ref() == Some(name));
        let expires = since.0 + stale;
        pod.is_some_and(|pod| !pods::is_terminating(pod)) && expires > now
    });
    if let Some(first) = disrupted.values().map(|since| since.0).min() {
        let expires = first + stale;
        let after = std::time::Duration::try_from(expires.duration_since(now)).unwrap_or_default();
        world.enqueue_later(after, Work::Budget(key.clone()));
    }
    disrupted
}

/// Nobody has carried out what a pod's `DisruptionTarget` announced: after two minutes it is taken back.
pub(super) fn take_back(world: &mut World, key: &Key) {
    let now = world.store.time();
    let stale = world.timing.setting(Timing::DeletionTimeout);
    let is_stale = |pod: &Pod| {
        let since = condition(pod, "DisruptionTarget").filter(|target| target.status == "True");
        let since = since.and_then(|target| target.last_transition_time.as_ref());
        since.is_some_and(|since| since.0 + stale <= now.0) && !pods::is_terminating(pod)
    };
    if world.store.get::<Pod>(&key.namespace, &key.name).is_some_and(|pod| is_stale(pod)) {
        let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
            let status = pod.status.get_or_insert_default();
            pods::set_condition(status, "DisruptionTarget", false, None, None, &now);
        });
    }
}

/// Was it announced that the pod will go, and it has not been told to?
pub(super) fn is_announced(pod: &Pod) -> bool {
    condition(pod, "DisruptionTarget").is_some_and(|target| target.status == "True")
        && !pods::is_terminating(pod)
}

/// Looks again at a pod that has just been announced to go.
pub(super) fn look_again(world: &mut World, key: &Key) {
    let after = world.timing.setting(Timing::DeletionTimeout);
    world.enqueue_later(after, Work::Disruption(key.clone()));
}

fn set_condition(
    world: &World,
    status: &mut PodDisruptionBudgetStatus,
    budget: &PodDisruptionBudget,
    value: bool,
    reason: &str,
    message: &str,
) {
    let conditions = status.conditions.get_or_insert_default();
    let text = if value { "True" } else { "False" };
    let before =
        conditions.iter().position(|c| c.type_ == "DisruptionAllowed").map(|place| conditions.remove(place));
    let since =
        before.filter(|condition| condition.status == text).map(|condition| condition.last_transition_time);
    conditions.push(Condition {
        last_transition_time: since.unwrap_or_else(|| world.store.time()),
        message: message.to_owned(),
        observed_generation: budget.metadata.generation,
        reason: reason.to_owned(),
        status: text.to_owned(),
        type_: "DisruptionAllowed".to_owned(),
    });
}

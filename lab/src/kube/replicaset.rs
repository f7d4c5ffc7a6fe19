//! The ReplicaSet controller: the wanted number of pods, and which ones go first.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::events::Reason;
use super::{Seen, Work, controlled_by, pods, uid_of};
use crate::error::ApiError;
use crate::store::{Key, controller};
use crate::world::World;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

pub(super) fn reconcile(world: &mut World, key: &Key) {
    let work = Work::ReplicaSet(key.clone());
    let Some(set) = world.store.get::<ReplicaSet>(&key.namespace, &key.name).cloned() else {
        return world.settle_work(work, None, None);
    };
    let uid = uid_of(&*set).to_owned();
    let seen = Seen::now::<ReplicaSet>(world, key, &uid);
    if world.rests(&work, seen) {
        return;
    }
    let failure = keep_number(world, key, &set);
    match &failure {
        Some(_) => world.retry_later(work.clone()),
        None => drop(world.kube.failures.remove(&work)),
    }
    let next = report(world, key, set, failure.as_ref());
    // With the number that is wanted and a status that says so, there is nothing to do until a pod changes.
    let seen = Seen::now::<ReplicaSet>(world, key, &uid).filter(|_| failure.is_none());
    world.settle_work(work, seen, next);
}

/// Makes the pods that are missing, or deletes those that are too many. An error is why one could not be made.
fn keep_number(world: &mut World, key: &Key, set: &Arc<ReplicaSet>) -> Option<ApiError> {
    let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or_default();
    let count = active_pods(world, uid_of(&**set)).count();
    if count < wanted {
        let template = set.spec.template.clone().unwrap_or_default();
        for _ in count..wanted {
            let mut pod = pods::of_template(&template, &key.namespace, controlled_by(&**set));
            pod.metadata.generate_name = Some(format!("{}-", key.name));
            match world.create_pod(pod) {
                Ok(pod) => pods::tell_created::<ReplicaSet>(world, key, &pod),
                Err(error) => {
                    world
                        .tell::<ReplicaSet>(key, Reason::FailedCreate, || format!("Error creating: {error}"));
                    return Some(error);
                }
            }
        }
    } else if count > wanted {
        for name in victims(world, set, wanted) {
            world.delete_pod(&key.namespace, &name, None).expect("it was just listed");
            world.tell::<ReplicaSet>(key, Reason::SuccessfulDelete, || format!("Deleted pod: {name}"));
        }
    }
    None
}

/// The condition that tells why pods could not be made.
fn failed(world: &World, set: &ReplicaSet, error: &ApiError) -> ReplicaSetCondition {
    let before = set.status.as_ref().and_then(|status| status.conditions.as_ref()?.first());
    let since = before.and_then(|condition| condition.last_transition_time.clone());
    ReplicaSetCondition {
        last_transition_time: since.or_else(|| Some(world.store.time())),
        message: Some(error.message.clone()),
        reason: Some("FailedCreate".to_owned()),
        status: Some("True".to_owned()),
        type_: Some("ReplicaFailure".to_owned()),
    }
}

fn active_pods<'w>(world: &'w World, uid: &str) -> impl Iterator<Item = &'w Arc<Pod>> + use<'w> {
    world.store.owned_by::<Pod>(uid).filter(|pod| pods::is_active(pod))
}

/// Writes the status; returns when the next pod counts as available.
fn report(
    world: &mut World,
    key: &Key,
    set: Arc<ReplicaSet>,
    failure: Option<&ApiError>,
) -> Option<Timestamp> {
    let now = world.now();
    let min_ready = set.spec.min_ready_seconds.unwrap_or_default();
    let (mut replicas, mut ready, mut available, mut terminating) = (0, 0, 0, 0);
    let mut soon: Option<Timestamp> = None;
    for pod in world.store.owned_by::<Pod>(uid_of(&*set)).filter(|pod| !pods::is_finished(pod)) {
        if pods::is_terminating(pod) {
            terminating += 1;
            continue;
        }
        replicas += 1;
        ready += i32::from(pods::is_ready(pod));
        match pods::ready_since(pod).map(|since| pods::available_at(since, min_ready)) {
            Some(at) if at > now => soon = Some(soon.map_or(at, |soon| soon.min(at))),
            Some(_) => available += 1,
            None => {}
        }
    }
    let status = ReplicaSetStatus {
        replicas,
        fully_labeled_replicas: Some(replicas),
        ready_replicas: Some(ready),
        available_replicas: Some(available),
        observed_generation: set.metadata.generation,
        terminating_replicas: Some(terminating),
        conditions: failure.map(|error| vec![failed(world, &set, error)]),
    };
    let is_news = set.status.as_ref() != Some(&status);
    // Nobody else holds it when it is written.
    drop(set);
    if is_news {
        world.store.report::<ReplicaSet>(&key.namespace, &key.name, |set| set.status = Some(status));
    }
    if let Some(at) = soon {
        world.enqueue_at(at, Work::ReplicaSet(key.clone()));
    }
    soon
}

/// Those of the pods that go, by the ReplicaSet controller's order (controller_utils.go, ActivePodsWithRanks).
fn victims(world: &World, set: &ReplicaSet, wanted: usize) -> Vec<String> {
    let mut active: Vec<&Arc<Pod>> = active_pods(world, uid_of(set)).collect();
    let crowd = crowds(world, set);
    let rank = |pod: &Pod| pods::node_of(pod).and_then(|node| crowd.get(node)).copied().unwrap_or_default();
    let now = world.now();
    active.sort_by(|a, b| before(a, b, rank(a), rank(b), now));
    let surplus = active.len() - wanted;
    active.truncate(surplus);
    active.into_iter().map(|pod| pod.metadata.name.clone().unwrap_or_default()).collect()
}

/// How many active pods of the same Deployment (else of the set) each node has.
fn crowds<'w>(world: &'w World, set: &ReplicaSet) -> BTreeMap<&'w str, usize> {
    let family: Vec<String> = match controller(&set.metadata) {
        Some(owner) => {
            world.store.owned_by::<ReplicaSet>(&owner.uid).map(|set| uid_of(&**set).to_owned()).collect()
        }
        None => vec![uid_of(set).to_owned()],
    };
    let mut crowds = BTreeMap::new();
    for pod in
        family.iter().flat_map(|uid| world.store.owned_by::<Pod>(uid)).filter(|pod| pods::is_active(pod))
    {
        if let Some(node) = pods::node_of(pod) {
            *crowds.entry(node).or_default() += 1;
        }
    }
    crowds
}

/// `Less` means: goes first. A cordon is not considered.
fn before(a: &Pod, b: &Pod, rank_a: usize, rank_b: usize, now: Timestamp) -> Ordering {
    let assigned = |pod: &Pod| pods::node_of(pod).is_some();
    let phase = |pod: &Pod| match pods::phase(pod) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let cost = |pod: &Pod| -> i32 {
        let annotations = pod.metadata.annotations.as_ref();
        annotations.and_then(|a| a.get(DELETION_COST)?.parse().ok()).unwrap_or_default()
    };
    let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    // Younger first. Ages are compared by their order of magnitude (powers of two); within one, the uid decides.
    let younger = |x: Option<Timestamp>, y: Option<Timestamp>| {
        let age = |at: Timestamp| u64::try_from(now.duration_since(at).as_secs()).unwrap_or_default();
        let magnitude = |at: Timestamp| 64 - age(at).leading_zeros();
        if x == y {
            Ordering::Equal
        } else {
            x.map(magnitude).cmp(&y.map(magnitude)).then(uid_of(a).cmp(uid_of(b)))
        }
    };
    assigned(a)
        .cmp(&assigned(b))
        .then(phase(a).cmp(&phase(b)))
        .then(pods::is_ready(a).cmp(&pods::is_ready(b)))
        .then(cost(a).cmp(&cost(b)))
        .then(rank_b.cmp(&rank_a))
        .then(younger(pods::ready_since(a), pods::ready_since(b)))
        .then(pods::restarts(b).cmp(&pods::restarts(a)))
        .then(younger(created(a), created(b)))
        .then_with(|| uid_of(a).cmp(uid_of(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ContainerStatus, PodSpec, PodStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

    fn pod(
        uid: &str,
        node: Option<&str>,
        phase: &str,
        ready_seconds_ago: Option<i64>,
        now: Timestamp,
    ) -> Pod {
        let mut status = PodStatus { phase: Some(phase.to_owned()), ..PodStatus::default() };
        let at = |ago| Time(now - jiff::SignedDuration::from_secs(ago));
        if let Some(ago) = ready_seconds_ago {
            pods::set_condition(&mut status, "Ready", true, None, None, &at(ago));
        }
        Pod {
            metadata: ObjectMeta {
                uid: Some(uid.to_owned()),
                creation_timestamp: Some(at(10_000)),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec { node_name: node.map(str::to_owned), ..PodSpec::default() }),
            status: Some(status),
        }
    }

    #[test]
    fn the_least_useful_pod_goes_first() {
        let now: Timestamp = "2026-01-15T01:00:00Z".parse().unwrap();
        let order: Vec<(Pod, usize)> = [
            // Not on a node; not running; not ready.
            ("z", None, "Pending", None, 0, 0, 0),
            ("y", Some("n1"), "Pending", None, 0, 0, 1),
            ("x", Some("n1"), "Running", None, 0, 0, 1),
            // Cheap to delete, whatever else.
            ("t", Some("n1"), "Running", Some(900), -5, 0, 1),
            // Among many of its kind on the node.
            ("w", Some("n2"), "Running", Some(900), 0, 0, 2),
            // Ready since a short while, then by more restarts.
            ("v", Some("n1"), "Running", Some(10), 0, 0, 1),
            ("s", Some("n1"), "Running", Some(700), 0, 3, 1),
            ("r", Some("n1"), "Running", Some(700), 0, 1, 1),
            // Within a power of two of seconds (512 to 1023) the uid decides.
            ("u", Some("n1"), "Running", Some(900), 0, 0, 1),
            // Dear to delete, though it is not even ready for long.
            ("q", Some("n1"), "Running", Some(10), 9, 0, 1),
        ]
        .into_iter()
        .map(|(uid, node, phase, ready, cost, restarts, rank)| {
            let mut pod = pod(uid, node, phase, ready, now);
            pod.metadata.annotations = Some([(DELETION_COST.to_owned(), cost.to_string())].into());
            let status = ContainerStatus { restart_count: restarts, ..ContainerStatus::default() };
            pod.status.as_mut().unwrap().container_statuses = Some(vec![status]);
            (pod, rank)
        })
        .collect();
        for pair in order.windows(2) {
            let ((a, rank_a), (b, rank_b)) = (&pair[0], &pair[1]);
            assert_eq!(
                before(a, b, *rank_a, *rank_b, now),
                Ordering::Less,
                "{} before {}",
                uid_of(a),
                uid_of(b)
            );
        }
    }
}

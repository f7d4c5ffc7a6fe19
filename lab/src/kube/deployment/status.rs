//! What a Deployment's status says (deployment: progress.go, sync.go): the numbers, and the conditions that follow from them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Case, REVISION, Sets, annotation, available, spec_replicas, sum};
use crate::kube::Work;
use crate::world::World;

/// `progressDeadlineSeconds` without one: there is no deadline.
const NO_DEADLINE: i32 = i32::MAX;

/// What the sets have, added up.
pub(super) struct Counts {
    pub(super) replicas: i32,
    pub(super) updated: i32,
    ready: i32,
    pub(super) available: i32,
    /// Pods that were told to go and are not gone.
    terminating: i32,
}

pub(super) fn count(sets: &Sets) -> Counts {
    let of = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
    let ready =
        |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
    Counts {
        replicas: sum(sets.all(), of),
        updated: sum(&sets.new, of),
        ready: sum(sets.all(), ready),
        available: sum(sets.all(), available),
        terminating: sum(sets.all(), |set| {
            set.status.as_ref().and_then(|status| status.terminating_replicas).unwrap_or_default()
        }),
    }
}

/// Writes the status; returns when the Deployment is looked at again for a missed deadline.
pub(super) fn report(world: &mut World, case: Case, sets: &Sets) -> Option<Timestamp> {
    let counts = count(sets);
    let no_status = DeploymentStatus::default();
    let before = case.deployment.status.as_ref().unwrap_or(&no_status);
    let mut conditions = before.conditions.clone().unwrap_or_default();
    let now = world.store.time();
    let enough = counts.available >= case.replicas - case.unavailable;
    let (reason, message) = if enough {
        ("MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set_condition(
        &mut conditions,
        "Available",
        if enough { "True" } else { "False" },
        reason,
        message,
        &now,
        false,
    );
    replica_failure(sets, &mut conditions, &now);
    let deadline = progress(world, &case, &counts, before, &mut conditions, sets.new.as_deref(), &now);
    let status = DeploymentStatus {
        observed_generation: case.deployment.metadata.generation,
        replicas: Some(counts.replicas),
        updated_replicas: Some(counts.updated),
        ready_replicas: Some(counts.ready),
        available_replicas: Some(counts.available),
        terminating_replicas: Some(counts.terminating),
        unavailable_replicas: Some((sum(sets.all(), spec_replicas) - counts.available).max(0)),
        conditions: Some(conditions),
        collision_count: before.collision_count,
    };
    let revision = sets.new.as_ref().and_then(|set| annotation(set, REVISION)).map(|own| own.to_string());
    let annotations = case.deployment.metadata.annotations.as_ref();
    let is_noted = revision.is_none() || annotations.and_then(|own| own.get(REVISION)) == revision.as_ref();
    let is_news = !is_noted || case.deployment.status.as_ref() != Some(&status);
    let Case { key, deployment, .. } = case;
    // Nobody else holds it when it is written.
    drop(deployment);
    if is_news {
        world.store.report::<Deployment>(&key.namespace, &key.name, |deployment| {
            deployment.status = Some(status);
            if let Some(revision) = revision {
                let annotations = deployment.metadata.annotations.get_or_insert_default();
                annotations.insert(REVISION.to_owned(), revision);
            }
        });
    }
    if let Some(at) = deadline {
        world.enqueue_at(at, Work::Deployment(key));
    }
    deadline
}

/// The condition `ReplicaFailure`: what the sets say, the new one first.
fn replica_failure(sets: &Sets, conditions: &mut Vec<DeploymentCondition>, now: &Time) {
    let of = |set: &Arc<ReplicaSet>| set.status.as_ref()?.conditions.as_ref()?.first().cloned();
    match sets.new.iter().chain(&sets.old).find_map(of) {
        Some(failure) => {
            let (reason, message) = (failure.reason.unwrap_or_default(), failure.message.unwrap_or_default());
            set_condition(conditions, "ReplicaFailure", "True", &reason, &message, now, false);
        }
        None => conditions.retain(|condition| condition.type_.as_deref() != Some("ReplicaFailure")),
    }
}

/// The condition `Progressing`; returns when to look again for a missed deadline.
fn progress(
    world: &World,
    case: &Case,
    counts: &Counts,
    before: &DeploymentStatus,
    conditions: &mut Vec<DeploymentCondition>,
    new: Option<&ReplicaSet>,
    now: &Time,
) -> Option<Timestamp> {
    let limit = case.deployment.spec.progress_deadline_seconds.unwrap_or(600);
    if limit == NO_DEADLINE {
        conditions.retain(|condition| condition.type_.as_deref() != Some("Progressing"));
        return None;
    }
    if case.deployment.spec.paused == Some(true) {
        set_condition(
            conditions,
            "Progressing",
            "Unknown",
            "DeploymentPaused",
            "Deployment is paused",
            now,
            false,
        );
        return None;
    }
    let name = new.and_then(|set| set.metadata.name.as_deref()).unwrap_or_default();
    let complete = counts.updated == case.replicas
        && counts.replicas == case.replicas
        && counts.available == case.replicas;
    let last = conditions.iter().find(|c| c.type_.as_deref() == Some("Progressing")).cloned();
    if complete {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        set_condition(conditions, "Progressing", "True", "NewReplicaSetAvailable", &message, now, false);
        return None;
    }
    let number = |value: Option<i32>| value.unwrap_or_default();
    let old_before = number(before.replicas) - number(before.updated_replicas);
    let went_on = counts.updated > number(before.updated_replicas)
        || counts.replicas - counts.updated < old_before
        || counts.ready > number(before.ready_replicas)
        || counts.available > number(before.available_replicas);
    let finished_before =
        last.as_ref().is_some_and(|c| c.reason.as_deref() == Some("NewReplicaSetAvailable"));
    if went_on
        || last.is_none()
        || finished_before && before.observed_generation < case.deployment.metadata.generation
    {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        set_condition(conditions, "Progressing", "True", "ReplicaSetUpdated", &message, now, true);
    } else if finished_before {
        // A rollout that once completed is not judged again when pods fail later.
        return None;
    }
    let updated = conditions
        .iter()
        .find(|c| c.type_.as_deref() == Some("Progressing"))
        .and_then(|condition| condition.last_update_time.as_ref())
        .map_or(now.0, |time| time.0);
    let deadline = updated + SignedDuration::from_secs(i64::from(limit));
    if deadline <= world.now() {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        set_condition(conditions, "Progressing", "False", "ProgressDeadlineExceeded", &message, now, false);
        return None;
    }
    Some(deadline)
}

/// Sets a condition. `touch` renews the time of its last update even if nothing else changes.
fn set_condition(
    conditions: &mut Vec<DeploymentCondition>,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: &Time,
    touch: bool,
) {
    let place = conditions.iter().position(|condition| condition.type_.as_deref() == Some(kind));
    let is_so = |c: &DeploymentCondition| {
        (c.status.as_deref(), c.reason.as_deref(), c.message.as_deref())
            == (Some(value), Some(reason), Some(message))
            && c.last_transition_time.is_some()
            && c.last_update_time.is_some()
    };
    if !touch && place.is_some_and(|place| is_so(&conditions[place])) {
        return;
    }
    let before = place.map(|place| conditions.remove(place));
    let same_status = before.as_ref().filter(|b| b.status.as_deref() == Some(value));
    let same = same_status.filter(|b| b.reason.as_deref() == Some(reason) && !touch);
    let condition = DeploymentCondition {
        last_transition_time: same_status
            .and_then(|b| b.last_transition_time.clone())
            .or_else(|| Some(now.clone())),
        last_update_time: same.and_then(|b| b.last_update_time.clone()).or_else(|| Some(now.clone())),
        message: Some(message.to_owned()),
        reason: Some(reason.to_owned()),
        status: Some(value.to_owned()),
        type_: Some(kind.to_owned()),
    };
    conditions.insert(place.unwrap_or(conditions.len()), condition);
}

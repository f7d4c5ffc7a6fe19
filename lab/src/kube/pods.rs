//! What several controllers ask about pods, and how they make them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::Serialize;

use super::events::Reason;
use crate::ports::convert::condition;
use crate::store::{Key, Stored};
use crate::world::World;

/// The node it is bound to.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

pub(super) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Ended, well or badly.
pub(super) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub(super) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Counted by the controllers: not finished, not told to go.
pub(super) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_terminating(pod)
}

/// Since when condition `Ready` is `True`.
pub(super) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// How often its containers have been started again.
pub(super) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).max().unwrap_or_default()
}

/// Ready for at least `min_ready` seconds.
pub(super) fn is_available(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    ready_since(pod).is_some_and(|since| available_at(since, min_ready) <= now)
}

/// When a pod that is ready since then counts as available.
pub(super) fn available_at(since: Timestamp, min_ready: i32) -> Timestamp {
    since + SignedDuration::from_secs(i64::from(min_ready))
}

/// Sets a condition; the time of transition moves only with the status.
pub(super) fn set_condition(
    status: &mut PodStatus,
    kind: &str,
    value: bool,
    reason: Option<&str>,
    message: Option<&str>,
    now: &Time,
) {
    let conditions = status.conditions.get_or_insert_default();
    let text = if value { "True" } else { "False" };
    let next = PodCondition {
        last_transition_time: Some(now.clone()),
        message: message.map(str::to_owned),
        reason: reason.map(str::to_owned),
        status: text.to_owned(),
        type_: kind.to_owned(),
        ..PodCondition::default()
    };
    match conditions.iter_mut().find(|condition| condition.type_ == kind) {
        Some(condition) => {
            let since = condition.last_transition_time.take().filter(|_| condition.status == text);
            *condition =
                PodCondition { last_transition_time: since.or(next.last_transition_time.clone()), ..next };
        }
        None => conditions.push(next),
    }
}

/// Notes on a pod why it is about to be taken away.
pub(super) fn disrupt(world: &mut World, key: &Key, reason: &str, message: &str) {
    let time = world.store.time();
    // Somebody may have deleted it in this very moment.
    let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        set_condition(status, "DisruptionTarget", true, Some(reason), Some(message), &time);
    });
}

/// A pod of a template, to be [created](World::create_pod).
pub(super) fn of_template(template: &PodTemplateSpec, namespace: &str, owner: OwnerReference) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    let spec = template.spec.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: Some(PodStatus { phase: Some("Pending".to_owned()), ..PodStatus::default() }),
    }
}

/// A controller tells that it has made a pod.
pub(super) fn tell_created<T: Stored>(world: &mut World, owner: &Key, pod: &Pod) {
    world.tell::<T>(owner, Reason::SuccessfulCreate, || {
        format!("Created pod: {}", pod.metadata.name.as_deref().unwrap_or_default())
    });
}

/// Ten characters that depend on the content and nothing else, in Kubernetes' alphabet for hashes in names.
pub(super) fn hash<T: Serialize>(content: &T) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let bytes = serde_json::to_vec(content).expect("Kubernetes objects are plain data");
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (0..10)
        .map(|place| {
            let index = usize::try_from((hash >> (place * 6)) & 0x3f).unwrap_or_default() % LETTERS.len();
            char::from(LETTERS[index])
        })
        .collect()
}

/// Adds labels to an object's.
pub(super) fn add_labels<const N: usize>(
    labels: &mut Option<BTreeMap<String, String>>,
    more: [(&str, &str); N],
) {
    let own = labels.get_or_insert_default();
    own.extend(more.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

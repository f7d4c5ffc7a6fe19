//! Taints that take pods away (`NoExecute`): the taint eviction controller. It asks no budget.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};

use super::events::Reason;
use super::{Work, key_of, pods};
use crate::store::Key;
use crate::world::World;

/// The node's pods that do not tolerate its taints, or tolerate them no longer, go.
pub(super) fn reconcile(world: &mut World, name: &str) {
    let Some(node) = world.store.get::<Node>("", name) else {
        world.kube.tainted.retain(|(node, _), _| node != name);
        return;
    };
    let taints: Vec<Taint> = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten())
        .filter(|taint| taint.effect == "NoExecute")
        .cloned()
        .collect();
    let now = world.now();
    world.kube.tainted.retain(|(node, key), _| node != name || taints.iter().any(|taint| taint.key == *key));
    for taint in &taints {
        world.kube.tainted.entry((name.to_owned(), taint.key.clone())).or_insert(now);
    }
    let mut next: Option<Timestamp> = None;
    let mut going: Vec<Key> = Vec::new();
    for pod in world.store.pods_on(name).filter(|pod| pods::is_active(pod)) {
        let ends = taints.iter().filter_map(|taint| {
            let since = world.kube.tainted[&(name.to_owned(), taint.key.clone())];
            ends_at(pod, taint, since)
        });
        match ends.min() {
            Some(at) if at <= now => going.push(key_of(&**pod)),
            Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
            None => {}
        }
    }
    for key in going {
        let why = "Taint manager: deleting due to NoExecute taint";
        pods::disrupt(world, &key, "DeletionByTaintManager", why);
        world.tell::<Pod>(&key, Reason::TaintManagerEviction, || {
            format!("Marking for deletion Pod {}/{}", key.namespace, key.name)
        });
        // Somebody else may have been faster.
        let _ = world.delete_pod(&key.namespace, &key.name, None);
    }
    if let Some(at) = next {
        let after = Duration::try_from(at.duration_since(now)).unwrap_or_default();
        world.enqueue_later(after, Work::Taints(name.to_owned()));
    }
}

/// When the pod has to go for a taint that has been there since then; `None` for never.
fn ends_at(pod: &Pod, taint: &Taint, since: Timestamp) -> Option<Timestamp> {
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let mut matching = tolerations.filter(|toleration| tolerates(toleration, taint)).peekable();
    if matching.peek().is_none() {
        return Some(since);
    }
    // The shortest patience counts; a toleration without one has no end.
    let seconds = matching.filter_map(|toleration| toleration.toleration_seconds).min()?;
    Some(since + SignedDuration::from_secs(seconds.max(0)))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let effect = filled(&toleration.effect).is_none_or(|effect| effect == taint.effect);
    let key = filled(&toleration.key);
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value = toleration.value.clone().unwrap_or_default() == taint.value.clone().unwrap_or_default();
    effect && key.as_ref().map_or(exists, |key| *key == taint.key) && (exists || value)
}

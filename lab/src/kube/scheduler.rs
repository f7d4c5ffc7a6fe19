//! The scheduler: one pod a cycle, by Kubernetes' filters and a subset of its scores.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim,
    PersistentVolumeSpec, PersistentVolumeStatus, Pod, VolumeNodeAffinity,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use upgrade_core::model::ObjectName;

use super::{Task, Work, pods, timing};
use crate::store::Key;
use crate::world::World;

mod fit;

/// The pods that wait for a node.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pods: BTreeMap<Key, Candidate>,
    /// Those to be tried now: by priority, then by age.
    active: BTreeSet<(i64, u64, Key)>,
    enqueued: u64,
}

#[derive(Debug)]
struct Candidate {
    priority: i32,
    order: u64,
    attempts: u32,
    /// When it did not fit last; it is tried again when something has changed and its backoff is over.
    failed: Option<Timestamp>,
    /// A retry is on the queue.
    retrying: bool,
}

impl Waiting {
    fn activate(&mut self, key: &Key) {
        if let Some(candidate) = self.pods.get_mut(key) {
            candidate.failed = None;
            candidate.retrying = false;
            self.active.insert((-i64::from(candidate.priority), candidate.order, key.clone()));
        }
    }
}

/// A pod without a node has been seen.
pub(super) fn wants_a_node(world: &mut World, key: &Key) {
    if world.kube.waiting.pods.contains_key(key) {
        return;
    }
    let pod = world.store.get::<Pod>(&key.namespace, &key.name);
    let priority = pod.and_then(|pod| pod.spec.as_ref()?.priority).unwrap_or_default();
    let waiting = &mut world.kube.waiting;
    waiting.enqueued += 1;
    let order = waiting.enqueued;
    waiting
        .pods
        .insert(key.clone(), Candidate { priority, order, attempts: 0, failed: None, retrying: false });
    waiting.activate(key);
    world.enqueue(Work::Scheduler);
}

/// A pod has a node, or is gone.
pub(super) fn forget(world: &mut World, key: &Key) {
    if let Some(candidate) = world.kube.waiting.pods.remove(key) {
        world.kube.waiting.active.remove(&(-i64::from(candidate.priority), candidate.order, key.clone()));
    }
}

/// Something has changed that may make a pod fit: those that did not are tried again after their backoff.
pub(super) fn something_changed(world: &mut World) {
    let now = world.now();
    let mut retries = Vec::new();
    for (key, candidate) in &mut world.kube.waiting.pods {
        if let Some(failed) = candidate.failed.filter(|_| !candidate.retrying) {
            candidate.retrying = true;
            let backoff = timing::BACKOFF.0 << candidate.attempts.saturating_sub(1).min(10);
            let ready = failed + std::time::Duration::from_millis(backoff.min(timing::BACKOFF.1));
            retries.push((key.clone(), ready));
        }
    }
    for (key, ready) in retries {
        let after = std::time::Duration::try_from(ready.duration_since(now)).unwrap_or_default();
        world.soon(after, Task::Retry(key));
    }
}

/// The backoff of a pod is over.
pub(super) fn retry(world: &mut World, key: &Key) {
    world.kube.waiting.activate(key);
    world.enqueue(Work::Scheduler);
}

/// Tries the first pod in the queue.
pub(super) fn cycle(world: &mut World) {
    let Some((_, _, key)) = world.kube.waiting.active.pop_first() else { return };
    if !world.kube.waiting.active.is_empty() {
        world.enqueue(Work::Scheduler);
    }
    let name = ObjectName::new(key.namespace.as_str(), key.name.as_str());
    let Some(pod) = name.ok().and_then(|name| world.kube.view.pod(&name)).filter(|pod| pod.node.is_none())
    else {
        return;
    };
    match fit::choose(&world.kube.view, pod, &mut world.rng) {
        Ok(node) => {
            let zone = node.zone().map(str::to_owned);
            let node = node.name.clone();
            provision(world, &key, zone.as_deref());
            // Somebody may have deleted the pod in this very moment.
            let _ = world.bind(&key.namespace, &key.name, node.as_str());
        }
        Err(why) => {
            let now = world.now();
            if let Some(candidate) = world.kube.waiting.pods.get_mut(&key) {
                candidate.attempts += 1;
                candidate.failed = Some(now);
            }
            let time = world.store.time();
            let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
                let status = pod.status.get_or_insert_default();
                pods::set_condition(status, "PodScheduled", false, Some("Unschedulable"), Some(&why), &time);
            });
        }
    }
}

/// Makes disks for the pod's claims that wait for their first consumer, in the zone of its node.
fn provision(world: &mut World, key: &Key, zone: Option<&str>) {
    let Some(pod) = world.store.get::<Pod>(&key.namespace, &key.name) else { return };
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claims =
        volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()));
    let claims: Vec<String> = claims.collect();
    for claim in claims {
        let Some(found) = world.store.get::<PersistentVolumeClaim>(&key.namespace, &claim) else { continue };
        let spec = found.spec.clone().unwrap_or_default();
        if spec.volume_name.is_some() {
            continue;
        }
        let name = format!("pvc-{}", super::uid_of(&**found));
        let volume = PersistentVolume {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            spec: Some(PersistentVolumeSpec {
                access_modes: spec.access_modes.clone(),
                capacity: spec.resources.and_then(|resources| resources.requests),
                node_affinity: zone.filter(|zone| *zone != "0").map(zonal),
                storage_class_name: spec.storage_class_name.clone(),
                ..PersistentVolumeSpec::default()
            }),
            status: Some(PersistentVolumeStatus {
                phase: Some("Bound".to_owned()),
                ..PersistentVolumeStatus::default()
            }),
        };
        world.store.create(volume).expect("a uid is used once");
        let _ = world.store.update::<PersistentVolumeClaim>(&key.namespace, &claim, |claim| {
            claim.spec.get_or_insert_default().volume_name = Some(name);
            claim.status.get_or_insert_default().phase = Some("Bound".to_owned());
        });
    }
}

/// A disk's node affinity: its zone.
pub(crate) fn zonal(zone: &str) -> VolumeNodeAffinity {
    let requirement = NodeSelectorRequirement {
        key: "topology.disk.csi.azure.com/zone".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![zone.to_owned()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![requirement]), match_fields: None };
    VolumeNodeAffinity { required: Some(NodeSelector { node_selector_terms: vec![term] }) }
}

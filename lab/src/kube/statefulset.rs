//! The StatefulSet controller (statefulset/stateful_set_control.go): ordinals, one after another, the old pod first.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, Volume};

use super::events::Reason;
use super::{Work, controlled_by, pods, revisions, uid_of};
use crate::store::Key;
use crate::world::World;

/// One pass over a StatefulSet.
struct Case {
    key: Key,
    set: Arc<StatefulSet>,
    first: i32,
    replicas: i32,
    partition: i32,
    on_delete: bool,
    ordered: bool,
    min_ready: i32,
    current: String,
    update: String,
}

impl Case {
    fn of(key: &Key, set: Arc<StatefulSet>) -> Self {
        let spec = &set.spec;
        let strategy = spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let update = revision(&set);
        let current = set.status.as_ref().and_then(|s| s.current_revision.clone());
        Self {
            key: key.clone(),
            first: spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or_default(),
            replicas: spec.replicas.unwrap_or(1).max(0),
            partition: rolling.and_then(|r| r.partition).unwrap_or_default(),
            on_delete: strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete"),
            ordered: spec.pod_management_policy.as_deref() != Some("Parallel"),
            min_ready: spec.min_ready_seconds.unwrap_or_default(),
            current: current.unwrap_or_else(|| update.clone()),
            update,
            set,
        }
    }

    fn pod_name(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.key.name)
    }

    /// The number at the end of a pod's name.
    fn ordinal(&self, pod: &Pod) -> Option<i32> {
        pod.metadata.name.as_deref()?.strip_prefix(&self.key.name)?.strip_prefix('-')?.parse().ok()
    }

    fn is_healthy(&self, pod: &Pod, now: Timestamp) -> bool {
        !pods::is_terminating(pod) && pods::is_available(pod, self.min_ready, now)
    }
}

/// The revision of a set's template.
pub(crate) fn revision(set: &StatefulSet) -> String {
    format!("{}-{}", set.metadata.name.as_deref().unwrap_or_default(), pods::hash(&set.spec.template))
}

fn revision_of(pod: &Pod) -> Option<&str> {
    revisions::hash_of(&pod.metadata)
}

pub(super) fn reconcile(world: &mut World, key: &Key) {
    let Some(set) = world.store.get::<StatefulSet>(&key.namespace, &key.name).cloned() else { return };
    let case = Case::of(key, set);
    let history = revisions::Owner {
        key,
        set: &*case.set,
        template: &case.set.spec.template,
        name: case.update.clone(),
        hash: case.update.clone(),
        limit: case.set.spec.revision_history_limit,
    };
    history.note(world);
    let owned: BTreeMap<i32, Arc<Pod>> = world
        .store
        .owned_by::<Pod>(uid_of(&*case.set))
        .filter_map(|pod| Some((case.ordinal(pod)?, Arc::clone(pod))))
        .collect();
    if keep_number(world, &case, &owned) {
        update_one(world, &case, &owned);
    }
    report(world, &case);
}

/// Makes what is missing and removes what is too much. Says whether nothing stands in the way of an update.
fn keep_number(world: &mut World, case: &Case, owned: &BTreeMap<i32, Arc<Pod>>) -> bool {
    let now = world.now();
    let wanted = case.first..case.first + case.replicas;
    for ordinal in wanted.clone() {
        match owned.get(&ordinal) {
            None => {
                create(world, case, ordinal);
                if case.ordered {
                    return false;
                }
            }
            Some(pod) if pods::is_finished(pod) && !pods::is_terminating(pod) => {
                // Its place is taken again when it is gone.
                delete(world, case, ordinal);
                return false;
            }
            // One pod that is not healthy stops an ordered set, its update included.
            Some(pod) if case.ordered && !case.is_healthy(pod, now) => return false,
            Some(_) => {}
        }
    }
    for (ordinal, pod) in owned.iter().rev().filter(|(ordinal, _)| !wanted.contains(ordinal)) {
        if !pods::is_terminating(pod) {
            delete(world, case, *ordinal);
        }
        if case.ordered {
            return false;
        }
    }
    true
}

/// Deletes one pod of an old revision, from the highest ordinal down, and waits for its successor.
fn update_one(world: &mut World, case: &Case, owned: &BTreeMap<i32, Arc<Pod>>) {
    if case.on_delete {
        return;
    }
    let now = world.now();
    for ordinal in (case.first + case.partition..case.first + case.replicas).rev() {
        let Some(pod) = owned.get(&ordinal) else { return };
        if revision_of(pod) != Some(case.update.as_str()) && !pods::is_terminating(pod) {
            delete(world, case, ordinal);
            return;
        }
        if !case.is_healthy(pod, now) {
            return;
        }
    }
}

fn create(world: &mut World, case: &Case, ordinal: i32) {
    let revision = if ordinal < case.first + case.partition { &case.current } else { &case.update };
    let known = revisions::template(world, &case.key, uid_of(&*case.set), revision);
    let template = known.unwrap_or_else(|| case.set.spec.template.clone());
    let name = case.pod_name(ordinal);
    let mut pod = pods::of_template(&template, &case.key.namespace, controlled_by(&*case.set));
    let number = ordinal.to_string();
    pods::add_labels(
        &mut pod.metadata.labels,
        [
            (revisions::HASH, revision.as_str()),
            ("statefulset.kubernetes.io/pod-name", name.as_str()),
            ("apps.kubernetes.io/pod-index", number.as_str()),
        ],
    );
    for claim in case.set.spec.volume_claim_templates.iter().flatten() {
        let volume = claim.metadata.name.clone().unwrap_or_default();
        let claim_name = format!("{volume}-{name}");
        ensure_claim(world, case, claim, &claim_name);
        let source = PersistentVolumeClaimVolumeSource { claim_name, read_only: None };
        let volumes = pod.spec.get_or_insert_default().volumes.get_or_insert_default();
        volumes.retain(|other| other.name != volume);
        volumes.push(Volume { name: volume, persistent_volume_claim: Some(source), ..Volume::default() });
    }
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name.clone());
    spec.subdomain.clone_from(&case.set.spec.service_name);
    pod.metadata.name = Some(name);
    let work = Work::StatefulSet(case.key.clone());
    match world.create_pod(pod) {
        Ok(pod) => {
            tell(world, case, Reason::SuccessfulCreate, "create", pod.metadata.name.as_deref());
            world.kube.failures.remove(&work);
        }
        // The pod before it is still ending under the name; its end brings the next pass.
        Err(error) if error.code == 409 => {}
        Err(_) => world.retry_later(work),
    }
}

/// Deletes a pod of the set.
fn delete(world: &mut World, case: &Case, ordinal: i32) {
    let name = case.pod_name(ordinal);
    // Somebody else may have been faster.
    if world.delete_pod(&case.key.namespace, &name, None).is_ok() {
        tell(world, case, Reason::SuccessfulDelete, "delete", Some(&name));
    }
}

fn tell(world: &mut World, case: &Case, reason: Reason, verb: &str, pod: Option<&str>) {
    world.tell::<StatefulSet>(&case.key, reason, || {
        let pod = pod.unwrap_or_default();
        format!("{verb} Pod {pod} in StatefulSet {} successful", case.key.name)
    });
}

/// A claim that outlives its pods.
fn ensure_claim(world: &mut World, case: &Case, template: &PersistentVolumeClaim, name: &str) {
    if world.store.get::<PersistentVolumeClaim>(&case.key.namespace, name).is_some() {
        return;
    }
    let mut claim = template.clone();
    claim.metadata.name = Some(name.to_owned());
    claim.metadata.namespace = Some(case.key.namespace.clone());
    claim.metadata.labels.clone_from(&case.set.spec.selector.match_labels);
    claim.status.get_or_insert_default().phase = Some("Pending".to_owned());
    world.store.create(claim).expect("the name is free");
}

fn report(world: &mut World, case: &Case) {
    let now = world.now();
    let all: Vec<Arc<Pod>> = world.store.owned_by::<Pod>(uid_of(&*case.set)).cloned().collect();
    let count = |meant: &dyn Fn(&Pod) -> bool| {
        i32::try_from(all.iter().filter(|pod| meant(pod)).count()).unwrap_or(i32::MAX)
    };
    // Terminating pods count as replicas and as ready until they are gone, but to no revision: so does Kubernetes.
    let ready = count(&pods::is_ready);
    let updated = count(&|pod| !pods::is_terminating(pod) && revision_of(pod) == Some(case.update.as_str()));
    let current = count(&|pod| !pods::is_terminating(pod) && revision_of(pod) == Some(case.current.as_str()));
    let complete = !case.on_delete && updated == case.replicas && ready == case.replicas;
    let status = StatefulSetStatus {
        observed_generation: case.set.metadata.generation,
        replicas: count(&|_| true),
        ready_replicas: Some(ready),
        available_replicas: Some(count(&|pod| pods::is_available(pod, case.min_ready, now))),
        current_replicas: Some(if complete { updated } else { current }),
        updated_replicas: Some(updated),
        current_revision: Some(if complete { &case.update } else { &case.current }.clone()),
        update_revision: Some(case.update.clone()),
        ..StatefulSetStatus::default()
    };
    let _ = world
        .store
        .update::<StatefulSet>(&case.key.namespace, &case.key.name, |set| set.status = Some(status));
    let soon = all
        .iter()
        .filter_map(|pod| pods::ready_since(pod))
        .map(|since| pods::available_at(since, case.min_ready));
    if let Some(at) = soon.filter(|at| *at > now).min() {
        let after = std::time::Duration::try_from(at.duration_since(now)).unwrap_or_default();
        world.enqueue_later(after, Work::StatefulSet(case.key.clone()));
    }
}

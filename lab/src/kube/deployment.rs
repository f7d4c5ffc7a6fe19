//! The Deployment controller, with Kubernetes' arithmetic (pkg/controller/deployment: rolling.go, recreate.go, sync.go,
//! progress.go). One pass ends after the first write that scales something; the write brings the next pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetSpec,
};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use upgrade_core::model::Strategy;

use super::{Work, controlled_by, pods, proportion, uid_of};
use crate::ports::convert::deployment_strategy;
use crate::store::Key;
use crate::world::World;

const HASH: &str = "pod-template-hash";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const REVISION: &str = "deployment.kubernetes.io/revision";
/// `progressDeadlineSeconds` without one: there is no deadline.
const NO_DEADLINE: i32 = i32::MAX;

/// A Deployment at work: what one pass looks at.
pub(super) struct Case {
    pub(super) key: Key,
    pub(super) deployment: Arc<Deployment>,
    pub(super) replicas: i32,
    pub(super) surge: i32,
    pub(super) unavailable: i32,
    rolling: bool,
}

impl Case {
    fn of(key: &Key, deployment: Arc<Deployment>) -> Self {
        let replicas = deployment.spec.replicas.unwrap_or(1).max(0);
        let total = u32::try_from(replicas).unwrap_or_default();
        let signed = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        let (surge, unavailable, rolling) = match deployment_strategy(deployment.spec.strategy.as_ref()) {
            Strategy::Rolling { max_surge, max_unavailable } => {
                let surge = max_surge.ceil_of(total);
                let unavailable = max_unavailable.floor_of(total);
                let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
                (signed(surge), signed(unavailable.min(total)), true)
            }
            _ => (0, 0, false),
        };
        Self { key: key.clone(), deployment, replicas, surge, unavailable, rolling }
    }

    /// The most pods there may be.
    pub(super) fn most(&self) -> i32 {
        if self.replicas == 0 { 0 } else { self.replicas + self.surge }
    }

    fn min_ready(&self) -> Option<i32> {
        self.deployment.spec.min_ready_seconds
    }
}

pub(super) fn spec_replicas(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default()
}

fn sum<'a>(sets: impl IntoIterator<Item = &'a Arc<ReplicaSet>>, of: impl Fn(&ReplicaSet) -> i32) -> i32 {
    sets.into_iter().map(|set| of(set)).sum()
}

/// The sets of a Deployment: the one with the current template, and the others from the oldest on.
pub(super) struct Sets {
    pub(super) new: Option<Arc<ReplicaSet>>,
    pub(super) old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    fn of(world: &World, deployment: &Deployment) -> Self {
        let mut sets: Vec<Arc<ReplicaSet>> =
            world.store.owned_by::<ReplicaSet>(uid_of(deployment)).cloned().collect();
        sets.sort_by(|a, b| age(a).cmp(&age(b)));
        let place = sets.iter().position(|set| {
            set.spec.template.as_ref().is_some_and(|t| is_same(t, &deployment.spec.template))
        });
        Self { new: place.map(|place| sets.remove(place)), old: sets }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }
}

pub(super) fn age(set: &ReplicaSet) -> (Option<Timestamp>, &str) {
    (set.metadata.creation_timestamp.as_ref().map(|time| time.0), uid_of(set))
}

/// Equal but for the hash that the controller itself puts in.
fn is_same(ours: &PodTemplateSpec, wanted: &PodTemplateSpec) -> bool {
    let mut ours = ours.clone();
    if let Some(labels) = ours.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(HASH);
    }
    ours == *wanted
}

pub(super) fn reconcile(world: &mut World, key: &Key) {
    let Some(deployment) = world.store.get::<Deployment>(&key.namespace, &key.name).cloned() else { return };
    let case = Case::of(key, deployment);
    let sets = Sets::of(world, &case.deployment);
    let was_scaled =
        sets.all().any(|set| spec_replicas(set) > 0 && annotation(set, DESIRED) != Some(case.replicas));
    if case.deployment.spec.paused == Some(true) || was_scaled {
        proportion::scale(world, &case, &sets);
    } else if case.rolling {
        roll(world, &case, &sets);
    } else {
        recreate(world, &case, &sets);
    }
    report(world, &case);
}

/// What a Deployment notes on its sets: its own size, and the most pods there may be.
pub(crate) fn set_annotations(desired: i32, most: i32) -> BTreeMap<String, String> {
    [(DESIRED, desired), (MAX, most)].map(|(key, count)| (key.to_owned(), count.to_string())).into()
}

pub(super) fn annotation(set: &ReplicaSet, key: &str) -> Option<i32> {
    set.metadata.annotations.as_ref()?.get(key)?.parse().ok()
}

/// Sets a set's size and notes the Deployment's on it; says whether the size changed.
pub(super) fn scale_set(world: &mut World, case: &Case, set: &ReplicaSet, to: i32) -> bool {
    let changed = spec_replicas(set) != to;
    let (desired, most) = (case.replicas.to_string(), case.most().to_string());
    let name = set.metadata.name.clone().unwrap_or_default();
    let _ = world.store.update::<ReplicaSet>(&case.key.namespace, &name, |set| {
        set.spec.replicas = Some(to);
        let annotations = set.metadata.annotations.get_or_insert_default();
        annotations.insert(DESIRED.to_owned(), desired);
        annotations.insert(MAX.to_owned(), most);
    });
    changed
}

/// The set of the current template, made if there is none yet; `true` if it was. `None` while another's set has its name.
fn ensure_new(world: &mut World, case: &Case, sets: &Sets) -> Option<(Arc<ReplicaSet>, bool)> {
    let newest = sets.old.iter().filter_map(|set| annotation(set, REVISION)).max().unwrap_or_default();
    if let Some(set) = &sets.new {
        let revision =
            annotation(set, REVISION).filter(|own| *own > newest).unwrap_or(newest + 1).to_string();
        let name = set.metadata.name.clone().unwrap_or_default();
        let set = world.store.update::<ReplicaSet>(&case.key.namespace, &name, |set| {
            set.spec.min_ready_seconds = case.min_ready();
            set.metadata.annotations.get_or_insert_default().insert(REVISION.to_owned(), revision);
        });
        return Some((set.expect("it was just listed"), false));
    }
    let replicas = if case.rolling {
        let room = case.replicas + case.surge - sum(&sets.old, spec_replicas);
        case.replicas.min(room.max(0))
    } else {
        case.replicas
    };
    let wanted = new_set(case, replicas, newest + 1);
    let name = wanted.metadata.name.clone().unwrap_or_default();
    match world.store.create(wanted) {
        Ok(set) => Some((set, true)),
        Err(_) => adopt(world, case, &name).map(|set| (set, true)),
    }
}

/// Takes a set that nobody controls. One that another Deployment of this name has left behind is waited out: the garbage
/// collector is on its way (Kubernetes takes another hash).
fn adopt(world: &mut World, case: &Case, name: &str) -> Option<Arc<ReplicaSet>> {
    let set = world.store.get::<ReplicaSet>(&case.key.namespace, name)?;
    if crate::store::controller(&set.metadata).is_some() {
        world.enqueue_later(std::time::Duration::from_secs(1), Work::Deployment(case.key.clone()));
        return None;
    }
    let owner = controlled_by(&*case.deployment);
    let adopted = world.store.update::<ReplicaSet>(&case.key.namespace, name, |set| {
        set.metadata.owner_references.get_or_insert_default().push(owner);
    });
    adopted.ok()
}

fn new_set(case: &Case, replicas: i32, revision: i32) -> ReplicaSet {
    let spec = &case.deployment.spec;
    let hash = pods::hash(&spec.template);
    let mut template = spec.template.clone();
    pods::add_labels(&mut template.metadata.get_or_insert_default().labels, [(HASH, hash.as_str())]);
    let mut selector = spec.selector.clone();
    pods::add_labels(&mut selector.match_labels, [(HASH, hash.as_str())]);
    let annotations = [
        (DESIRED, case.replicas.to_string()),
        (MAX, case.most().to_string()),
        (REVISION, revision.to_string()),
    ];
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", case.key.name)),
            namespace: Some(case.key.namespace.clone()),
            labels: template.metadata.as_ref().and_then(|meta| meta.labels.clone()),
            annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value)).into()),
            owner_references: Some(vec![controlled_by(&*case.deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            min_ready_seconds: case.min_ready(),
            replicas: Some(replicas),
            selector,
            template: Some(template),
        },
        status: None,
    }
}

fn roll(world: &mut World, case: &Case, sets: &Sets) {
    let Some((new, made)) = ensure_new(world, case, sets) else { return };
    if made || scale_new(world, case, &new, sets) {
        return;
    }
    if scale_old(world, case, &new, sets) {
        return;
    }
    if is_complete(world, case) {
        clean_up(world, case, sets);
    }
}

fn scale_new(world: &mut World, case: &Case, new: &ReplicaSet, sets: &Sets) -> bool {
    let current = spec_replicas(new);
    if current >= case.replicas {
        return scale_set(world, case, new, case.replicas);
    }
    let room = case.replicas + case.surge - sum(&sets.old, spec_replicas) - current;
    scale_set(world, case, new, current + room.max(0).min(case.replicas - current))
}

/// Takes as many old pods away as the budget of unavailable ones allows, those that do not work first.
fn scale_old(world: &mut World, case: &Case, new: &ReplicaSet, sets: &Sets) -> bool {
    let old = sum(&sets.old, spec_replicas);
    if old == 0 {
        return false;
    }
    let least = case.replicas - case.unavailable;
    let mut budget = old + spec_replicas(new) - least - (spec_replicas(new) - available(new));
    if budget <= 0 {
        return false;
    }
    let mut sizes: BTreeMap<&str, i32> =
        sets.old.iter().map(|set| (uid_of(&**set), spec_replicas(set))).collect();
    for set in &sets.old {
        let size = sizes.entry(uid_of(&**set)).or_default();
        let broken = (*size - available(set)).clamp(0, budget.max(0));
        *size -= broken;
        budget -= broken;
    }
    let mut surplus = sum(&sets.old, available) + available(new) - least;
    for set in &sets.old {
        let size = sizes.entry(uid_of(&**set)).or_default();
        let going = (*size).min(surplus.max(0));
        *size -= going;
        surplus -= going;
    }
    let mut changed = false;
    for set in &sets.old {
        let to = sizes[uid_of(&**set)];
        if to != spec_replicas(set) {
            changed |= scale_set(world, case, set, to);
        }
    }
    changed
}

fn recreate(world: &mut World, case: &Case, sets: &Sets) {
    let mut scaled = false;
    for set in sets.old.iter().filter(|set| spec_replicas(set) > 0) {
        scaled |= scale_set(world, case, set, 0);
    }
    let runs = |set: &Arc<ReplicaSet>| {
        world.store.owned_by::<Pod>(uid_of(&**set)).any(|pod| !pods::is_finished(pod))
    };
    if scaled || sets.old.iter().any(runs) {
        return;
    }
    let Some((new, made)) = ensure_new(world, case, sets) else { return };
    if made || scale_set(world, case, &new, case.replicas) {
        return;
    }
    if is_complete(world, case) {
        clean_up(world, case, sets);
    }
}

/// By the controller's own test, on the status as it would be written now.
fn is_complete(world: &World, case: &Case) -> bool {
    let status = count(&Sets::of(world, &case.deployment));
    status.updated == case.replicas && status.replicas == case.replicas && status.available == case.replicas
}

/// Old sets beyond the history limit are deleted, from the oldest on.
fn clean_up(world: &mut World, case: &Case, sets: &Sets) {
    let limit =
        usize::try_from(case.deployment.spec.revision_history_limit.unwrap_or(10)).unwrap_or_default();
    let empty = |set: &&Arc<ReplicaSet>| {
        spec_replicas(set) == 0 && set.status.as_ref().is_none_or(|status| status.replicas == 0)
    };
    let old: Vec<String> =
        sets.old.iter().filter(empty).map(|set| set.metadata.name.clone().unwrap_or_default()).collect();
    for name in old.iter().take(old.len().saturating_sub(limit)) {
        world.store.delete::<ReplicaSet>(&case.key.namespace, name).expect("it was just listed");
    }
}

struct Counts {
    replicas: i32,
    updated: i32,
    ready: i32,
    available: i32,
    /// Pods that were told to go and are not gone.
    terminating: i32,
}

fn count(sets: &Sets) -> Counts {
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

/// Writes the status.
fn report(world: &mut World, case: &Case) {
    let sets = Sets::of(world, &case.deployment);
    let counts = count(&sets);
    let before = case.deployment.status.clone().unwrap_or_default();
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
    replica_failure(&sets, &mut conditions, &now);
    let deadline = progress(world, case, &counts, &before, &mut conditions, sets.new.as_deref(), &now);
    let status = DeploymentStatus {
        observed_generation: case.deployment.metadata.generation,
        replicas: Some(counts.replicas),
        updated_replicas: Some(counts.updated),
        ready_replicas: Some(counts.ready),
        available_replicas: Some(counts.available),
        terminating_replicas: Some(counts.terminating),
        unavailable_replicas: Some((sum(sets.all(), spec_replicas) - counts.available).max(0)),
        conditions: Some(conditions),
        ..before
    };
    let revision = sets.new.as_ref().and_then(|set| annotation(set, REVISION));
    let _ = world.store.update::<Deployment>(&case.key.namespace, &case.key.name, |deployment| {
        deployment.status = Some(status);
        if let Some(revision) = revision {
            let annotations = deployment.metadata.annotations.get_or_insert_default();
            annotations.insert(REVISION.to_owned(), revision.to_string());
        }
    });
    if let Some(at) = deadline {
        let after = std::time::Duration::try_from(at.duration_since(world.now())).unwrap_or_default();
        world.enqueue_later(after, Work::Deployment(case.key.clone()));
    }
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

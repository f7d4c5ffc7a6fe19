//! The Deployment controller, with Kubernetes' arithmetic (pkg/controller/deployment: rolling.go, recreate.go, sync.go,
//! progress.go). One pass ends after the first write that scales something; the write brings the next pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use upgrade_core::model::Strategy;

use super::events::Reason;
use super::{Seen, Work, controlled_by, pods, proportion, uid_of};
use crate::ports::convert::deployment_strategy;
use crate::store::Key;
use crate::world::World;

mod status;

const HASH: &str = "pod-template-hash";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const REVISION: &str = "deployment.kubernetes.io/revision";

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
    pub(super) fn of(key: &Key, deployment: Arc<Deployment>) -> Self {
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
    fn labels(template: &PodTemplateSpec) -> impl Iterator<Item = (&String, &String)> {
        let labels = template.metadata.iter().flat_map(|meta| meta.labels.iter().flatten());
        labels.filter(|(label, _)| *label != HASH)
    }
    fn annotations(template: &PodTemplateSpec) -> impl Iterator<Item = (&String, &String)> {
        template.metadata.iter().flat_map(|meta| meta.annotations.iter().flatten())
    }
    labels(ours).eq(labels(wanted)) && annotations(ours).eq(annotations(wanted)) && ours.spec == wanted.spec
}

pub(super) fn reconcile(world: &mut World, key: &Key) {
    let work = Work::Deployment(key.clone());
    let Some(deployment) = world.store.get::<Deployment>(&key.namespace, &key.name).cloned() else {
        return world.settle_work(work, None, None);
    };
    let uid = uid_of(&*deployment).to_owned();
    let seen = Seen::now::<Deployment>(world, key, &uid);
    if world.rests(&work, seen) {
        return;
    }
    let case = Case::of(key, deployment);
    let mut sets = Sets::of(world, &case.deployment);
    let was_scaled =
        sets.all().any(|set| spec_replicas(set) > 0 && annotation(set, DESIRED) != Some(case.replicas));
    let done = if case.deployment.spec.paused == Some(true) || was_scaled {
        proportion::scale(world, &case, &sets);
        true
    } else if case.rolling {
        roll(world, &case, &sets)
    } else {
        recreate(world, &case, &sets);
        // It looks at pods.
        false
    };
    let untouched = seen.is_some_and(|seen| seen.controlled == world.store.touched(&uid));
    if !untouched {
        sets = Sets::of(world, &case.deployment);
    }
    let deadline = status::report(world, case, &sets);
    // Sets as they should be and a status that says so: there is nothing to do until one of them changes.
    let seen = Seen::now::<Deployment>(world, key, &uid).filter(|_| done && untouched);
    world.settle_work(work, seen, deadline);
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
    let noted = [(DESIRED, case.replicas), (MAX, case.most())];
    if !changed
        && set.spec.replicas.is_some()
        && noted.iter().all(|(key, count)| annotation(set, key) == Some(*count))
    {
        return false;
    }
    let (desired, most) = (case.replicas.to_string(), case.most().to_string());
    let name = set.metadata.name.clone().unwrap_or_default();
    let _ = world.store.update::<ReplicaSet>(&case.key.namespace, &name, |set| {
        set.spec.replicas = Some(to);
        let annotations = set.metadata.annotations.get_or_insert_default();
        annotations.insert(DESIRED.to_owned(), desired);
        annotations.insert(MAX.to_owned(), most);
    });
    if changed {
        tell_scaled(world, case, set, spec_replicas(set), to);
    }
    changed
}

fn tell_scaled(world: &mut World, case: &Case, set: &ReplicaSet, from: i32, to: i32) {
    world.tell::<Deployment>(&case.key, Reason::ScalingReplicaSet, || {
        let (word, name) =
            (if to > from { "up" } else { "down" }, set.metadata.name.as_deref().unwrap_or_default());
        format!("Scaled {word} replica set {name} from {from} to {to}")
    });
}

/// The set of the current template, made if there is none yet; `true` if it was. `None` while another's set has its name.
fn ensure_new(world: &mut World, case: &Case, sets: &Sets) -> Option<(Arc<ReplicaSet>, bool)> {
    let newest = sets.old.iter().filter_map(|set| annotation(set, REVISION)).max().unwrap_or_default();
    if let Some(set) = &sets.new {
        let noted = annotation(set, REVISION);
        let revision = noted.filter(|own| *own > newest).unwrap_or(newest + 1);
        if noted == Some(revision) && set.spec.min_ready_seconds == case.min_ready() {
            return Some((Arc::clone(set), false));
        }
        let revision = revision.to_string();
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
        Ok(set) => {
            if replicas > 0 {
                tell_scaled(world, case, &set, 0, replicas);
            }
            Some((set, true))
        }
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

/// One pass of a rolling update; false while something else than a set's change is waited for.
fn roll(world: &mut World, case: &Case, sets: &Sets) -> bool {
    let Some((new, made)) = ensure_new(world, case, sets) else { return false };
    let goes_on = made || scale_new(world, case, &new, sets) || scale_old(world, case, &new, sets);
    if !goes_on && is_complete(world, case) {
        clean_up(world, case, sets);
    }
    true
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
    let status = status::count(&Sets::of(world, &case.deployment));
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

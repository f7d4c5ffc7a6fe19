//! The scheduler: one pod a cycle, by Kubernetes' queue, filters, scores and preemption (pkg/scheduler, default profile).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::events::Reason;
use super::{Task, Work, key_of, pods, uid_of};
use crate::store::{Key, Store};
use crate::timing::Timing;
use crate::world::World;

mod cache;
mod class;
mod filter;
mod needs;
mod preempt;
mod score;
#[cfg(test)]
mod tests;
mod topology;
pub(super) mod volumes;

use cache::{Cache, Spot};
use class::Class;
use filter::{Asking, Refusal};
use needs::{Needs, Wants};

/// The scheduler: what it remembers of nodes and pods, and its queue.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    cache: Cache,
    /// The node with which the search for enough of them begins next.
    next_start: String,
    pods: BTreeMap<Key, Candidate>,
    /// Those to be tried now: by priority, then by age.
    active: BTreeSet<(i64, u64, Key)>,
    /// Those that did not fit, until something changes.
    failed: BTreeSet<Key>,
    /// Those that a preemption makes room for, and where.
    nominated: BTreeMap<Key, Arc<Needs>>,
    /// The pod, by its uid, that is bound in this moment, and what it asks for.
    binding: Option<(String, Arc<Wants>)>,
    enqueued: u64,
}

#[derive(Debug)]
struct Candidate {
    priority: i32,
    order: u64,
    attempts: u32,
    /// When it did not fit last.
    tried: Option<Timestamp>,
}

impl Scheduler {
    fn activate(&mut self, key: &Key) {
        if let Some(candidate) = self.pods.get(key) {
            self.failed.remove(key);
            self.active.insert((-i64::from(candidate.priority), candidate.order, key.clone()));
        }
    }

    /// A node is as it is now.
    pub(super) fn saw_node(&mut self, node: &Node, store: &Store) {
        self.cache.set_node(node, store);
    }

    /// A node is gone.
    pub(super) fn lost_node(&mut self, name: &str) {
        self.cache.remove_node(name);
    }

    /// A pod is as it is now. `same`: what it asks for has not changed.
    pub(super) fn saw_pod(&mut self, key: &Key, pod: &Pod, same: bool) {
        let binding = self.binding.take().filter(|(uid, _)| uid == uid_of(pod));
        self.cache.set_pod(key, pod, same, binding.map(|(_, wants)| wants));
    }

    /// A pod is gone.
    pub(super) fn lost_pod(&mut self, key: &Key) {
        self.cache.remove_pod(key);
    }

    /// A volume of a driver is attached to a node, or no more.
    pub(super) fn saw_attachment(&mut self, node: &str, volume: (String, String), attached: bool) {
        self.cache.set_attached(node, volume, attached);
    }

    /// More has happened than it was told.
    pub(super) fn reads_anew(&mut self, store: &Store) {
        self.cache = Cache::rebuild(store);
    }
}

/// A pod without a node has been seen. One with scheduling gates is not looked at until they are gone.
pub(super) fn wants_a_node(world: &mut World, key: &Key) {
    let Some(pod) = world.store.get::<Pod>(&key.namespace, &key.name) else { return };
    let spec = pod.spec.as_ref();
    let gated = spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty());
    if gated || world.kube.scheduler.pods.contains_key(key) {
        return;
    }
    let priority = spec.and_then(|spec| spec.priority).unwrap_or_default();
    let scheduler = &mut world.kube.scheduler;
    scheduler.enqueued += 1;
    let order = scheduler.enqueued;
    scheduler.pods.insert(key.clone(), Candidate { priority, order, attempts: 0, tried: None });
    scheduler.activate(key);
    world.enqueue(Work::Scheduler);
}

/// A pod has a node, or is gone.
pub(super) fn forget(world: &mut World, key: &Key) {
    let scheduler = &mut world.kube.scheduler;
    scheduler.nominated.remove(key);
    scheduler.failed.remove(key);
    if let Some(candidate) = scheduler.pods.remove(key) {
        scheduler.active.remove(&(-i64::from(candidate.priority), candidate.order, key.clone()));
    }
}

/// Something has changed that may make a pod fit: those that did not are tried again after their backoff.
pub(super) fn something_changed(world: &mut World) {
    let now = world.now();
    for key in std::mem::take(&mut world.kube.scheduler.failed) {
        let Some(candidate) = world.kube.scheduler.pods.get(&key) else { continue };
        let before = candidate.attempts.saturating_sub(1);
        let backoff = world.timing.backoff(Timing::SchedulerBackoff, Timing::SchedulerBackoffMost, before);
        let ready = candidate.tried.unwrap_or(now) + backoff;
        let after = Duration::try_from(ready.duration_since(now)).unwrap_or_default();
        world.soon(after, Task::Retry(key));
    }
}

/// The backoff of a pod is over.
pub(super) fn retry(world: &mut World, key: &Key) {
    world.kube.scheduler.activate(key);
    world.enqueue(Work::Scheduler);
}

/// Tries the first pod in the queue.
pub(super) fn cycle(world: &mut World) {
    let Some((_, _, key)) = world.kube.scheduler.active.pop_first() else { return };
    if !world.kube.scheduler.active.is_empty() {
        world.enqueue(Work::Scheduler);
    }
    let found = world.store.get::<Pod>(&key.namespace, &key.name);
    let Some(pod) = found.filter(|pod| pods::node_of(pod).is_none() && pods::is_active(pod)) else { return };
    let needs = world.kube.scheduler.cache.share(Needs::of(pod));
    match choose(world, &needs) {
        Ok(node) => {
            let place = world.kube.scheduler.cache.place(&node);
            let zone = place.and_then(|place| place.node.zone()).map(str::to_owned);
            volumes::provision(world, &key, zone.as_deref());
            world.kube.scheduler.binding = Some((needs.uid.clone(), Arc::clone(&needs.wants)));
            // Somebody may have deleted the pod in this very moment.
            if world.bind(&key.namespace, &key.name, &node).is_ok() {
                world.tell::<Pod>(&key, Reason::Scheduled, || {
                    format!("Successfully assigned {}/{} to {node}", key.namespace, key.name)
                });
            }
        }
        Err(refused) => fail(world, &needs, refused),
    }
}

/// A node for the pod.
fn choose(world: &mut World, pod: &Needs) -> Result<String, Refused> {
    let version = world.kube.version;
    let World { kube, store, rng, .. } = world;
    let scheduler = &mut kube.scheduler;
    // Room that is being made for a pod is not given to a less important one.
    let rivals =
        scheduler.nominated.iter().filter(|(key, rival)| **key != pod.key && rival.priority >= pod.priority);
    let rivals: Vec<Arc<Needs>> = rivals.map(|(_, rival)| Arc::clone(rival)).collect();
    for rival in &rivals {
        scheduler.cache.insert(Arc::clone(rival));
    }
    let ground = (scheduler.cache.fleet(), version);
    let mut class = scheduler.cache.classes.0.take(&pod.wants, ground);
    let looked = look(scheduler, pod, &mut class, store);
    for rival in &rivals {
        scheduler.cache.remove_pod(&rival.key);
    }
    let chosen = looked.map(|feasible| best(pod, &feasible, &mut class, &mut scheduler.cache, store, rng));
    scheduler.cache.classes.0.give_back(class);
    let place = scheduler.cache.at(chosen?).expect("it was just looked at");
    Ok(place.node.name.to_string())
}

/// The one with the best score; chance decides between equals.
fn best(
    pod: &Needs,
    feasible: &[Spot],
    class: &mut Class,
    cache: &mut Cache,
    store: &Store,
    rng: &mut fastrand::Rng,
) -> Spot {
    if let [only] = feasible {
        return *only;
    }
    let scores = score::totals(pod, feasible, class, cache, store);
    let best = scores.iter().max();
    let ties: Vec<Spot> = feasible
        .iter()
        .zip(&scores)
        .filter(|(_, score)| Some(*score) == best)
        .map(|(spot, _)| *spot)
        .collect();
    ties[rng.usize(..ties.len())]
}

/// Why a pod fits nowhere.
struct Refused {
    message: String,
    /// The nodes that refused it for now.
    for_now: Vec<String>,
    nodes: usize,
}

/// The nodes that a pod fits on. In a large cluster the search stops when there are enough, and goes on there next time.
fn look(
    scheduler: &mut Scheduler,
    pod: &Needs,
    class: &mut Class,
    store: &Store,
) -> Result<Vec<Spot>, Refused> {
    let nodes = scheduler.cache.count_places();
    let asking = match Asking::of(pod, &mut scheduler.cache, store) {
        Ok(asking) => asking,
        Err(Refusal { why, .. }) => {
            let message = format!("0/{nodes} nodes are available: {why}.");
            return Err(Refused { message, for_now: Vec::new(), nodes });
        }
    };
    let cache = &scheduler.cache;
    let start = scheduler.next_start.as_str();
    // A pod that no cordon stops asks them all; the others are not even shown the cordoned ones.
    let (mut shown, mut cordoned) = (nodes, 0);
    let spots: Box<dyn Iterator<Item = Spot>> = match pod.named_nodes() {
        Some(names) => {
            let spots: Vec<Spot> = names.iter().filter_map(|name| cache.spot(name)).collect();
            shown = spots.len();
            Box::new(spots.into_iter())
        }
        None if pod.rules.ignores(&filter::cordon()) => Box::new(cache.places_from(start)),
        None => {
            cordoned = cache.cordoned();
            Box::new(cache.open_from(start))
        }
    };
    let mut refusals: BTreeMap<Cow<'static, str>, usize> = BTreeMap::new();
    if cordoned > 0 {
        refusals.insert(filter::CORDONED.into(), cordoned);
    }
    let enough = enough_nodes(shown);
    let (mut feasible, mut for_now) = (Vec::new(), Vec::new());
    let is_plain = asking.is_plain();
    let mut spots = spots.peekable();
    for spot in spots.by_ref() {
        let alone = class.answer(pod, spot, cache);
        let refusal = match alone {
            Err(refusal) => Some(refusal.clone()),
            Ok(_) if is_plain => None,
            Ok(_) => cache.at(spot).and_then(|place| asking.others(place, store)),
        };
        match refusal {
            None => feasible.push(spot),
            Some(refusal) => {
                *refusals.entry(refusal.why).or_default() += 1;
                if refusal.resolvable {
                    for_now.push(spot);
                }
            }
        }
        if feasible.len() == enough {
            break;
        }
    }
    let name = |spot: Spot| cache.at(spot).map(|place| place.node.name.to_string());
    let next = spots.peek().copied().and_then(name);
    let for_now =
        if feasible.is_empty() { for_now.into_iter().filter_map(name).collect() } else { Vec::new() };
    drop(spots);
    let unnamed = nodes - shown;
    if let Some(next) = next {
        scheduler.next_start = next;
    }
    if !feasible.is_empty() {
        return Ok(feasible);
    }
    if unnamed > 0 {
        let why = "node(s) didn't satisfy plugin(s) [NodeAffinity]";
        *refusals.entry(why.into()).or_default() += unnamed;
    }
    let mut reasons: Vec<String> = refusals.iter().map(|(why, nodes)| format!("{nodes} {why}")).collect();
    reasons.sort();
    let message = format!("0/{nodes} nodes are available: {}.", reasons.join(", "));
    Err(Refused { message, for_now, nodes })
}

/// How many feasible nodes are enough: all up to 100 nodes, then a share that falls from 50 % to 5 % (schedule_one.go,
/// `numFeasibleNodesToFind`).
fn enough_nodes(nodes: usize) -> usize {
    const LEAST: usize = 100;
    if nodes < LEAST {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(LEAST)
}

/// The pod stays where it is, or others make room for it.
fn fail(world: &mut World, pod: &Needs, refused: Refused) {
    let now = world.now();
    let World { kube, store, rng, .. } = world;
    let scheduler = &mut kube.scheduler;
    if let Some(candidate) = scheduler.pods.get_mut(&pod.key) {
        candidate.attempts += 1;
        candidate.tried = Some(now);
        scheduler.failed.insert(pod.key.clone());
    }
    let made = preempt::find(pod, &refused.for_now, &mut scheduler.cache, store, rng);
    let message = match made {
        Some(_) => refused.message,
        None => format!("{} preemption: {}", refused.message, helpless(pod, &refused)),
    };
    let nominated = made.as_ref().map(|made| made.node.clone());
    if let Some(node) = &nominated
        && let Some(found) = world.store.get::<Pod>(&pod.key.namespace, &pod.key.name)
    {
        let needs = Needs { node: Some(node.clone()), ..Needs::of(found) };
        world.kube.scheduler.nominated.insert(pod.key.clone(), Arc::new(needs));
    }
    world.tell::<Pod>(&pod.key, Reason::FailedScheduling, || message.clone());
    let time = world.store.time();
    let _ = world.store.update::<Pod>(&pod.key.namespace, &pod.key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        pods::set_condition(status, "PodScheduled", false, Some("Unschedulable"), Some(&message), &time);
        if nominated.is_some() {
            status.nominated_node_name = nominated;
        }
    });
    for victim in made.into_iter().flat_map(|made| made.victims) {
        let why = "default-scheduler: preempting to accommodate a higher priority pod";
        pods::disrupt(world, &victim.key, "PreemptionByScheduler", why);
        world.tell::<Pod>(&victim.key, Reason::Preempted, || {
            format!("Preempted by pod {} in the namespace {}", pod.key.name, pod.key.namespace)
        });
        // Somebody else may have been faster.
        let _ = world.delete_pod(&victim.key.namespace, &victim.key.name, None);
    }
}

/// Why nobody made room, in the scheduler's words.
fn helpless(pod: &Needs, refused: &Refused) -> String {
    if !pod.preempts {
        return "not eligible due to preemptionPolicy=Never.".to_owned();
    }
    let (none_found, useless) = (refused.for_now.len(), refused.nodes - refused.for_now.len());
    let mut why = Vec::new();
    if none_found > 0 {
        why.push(format!("{none_found} No preemption victims found for incoming pod"));
    }
    if useless > 0 {
        why.push(format!("{useless} Preemption is not helpful for scheduling"));
    }
    why.sort();
    format!("0/{} nodes are available: {}.", refused.nodes, why.join(", "))
}

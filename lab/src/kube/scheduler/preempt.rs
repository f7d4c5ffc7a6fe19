//! Preemption: less important pods make room for one that fits nowhere (plugins/defaultpreemption).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use upgrade_core::model::{LabelSelector, Labels};

use super::cache::Cache;
use super::filter::Asking;
use super::needs::Needs;
use crate::ports::rules;
use crate::store::{Key, Store};

/// At least so many nodes are looked at, and at least a tenth.
const CANDIDATES: usize = 100;

/// A node on which the pod fits when some pods are gone.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) node: String,
    /// Those that go, the most important first.
    pub(super) victims: Vec<Arc<Needs>>,
    /// How many of them go against a budget.
    violations: usize,
}

/// The node where it costs least, out of those that refused the pod for now.
pub(super) fn find(
    pod: &Needs,
    nodes: &[String],
    cache: &mut Cache,
    store: &Store,
    rng: &mut fastrand::Rng,
) -> Option<Candidate> {
    if !pod.preempts || nodes.is_empty() || is_making_room(pod, cache) {
        return None;
    }
    let wanted = (cache.count_places() / 10).max(CANDIDATES).min(nodes.len());
    let offset = rng.usize(..nodes.len());
    let mut best: Option<Candidate> = None;
    let mut found = 0;
    for node in nodes.iter().cycle().skip(offset).take(nodes.len()) {
        let Some(candidate) = on_node(pod, node, cache, store) else { continue };
        found += 1;
        // The first of equals stays.
        if best.as_ref().is_none_or(|best| cost(&candidate) < cost(best)) {
            best = Some(candidate);
        }
        if found == wanted {
            break;
        }
    }
    best
}

/// Pods of an earlier preemption are still going.
fn is_making_room(pod: &Needs, cache: &Cache) -> bool {
    let place = pod.nominated.as_deref().and_then(|node| cache.place(node));
    place.is_some_and(|place| {
        place.pods.values().any(|other| other.terminating && other.priority < pod.priority)
    })
}

/// Kubernetes' order: fewest violated budgets, the least important most important victim, the smallest sum of priorities, the
/// fewest victims, and the youngest of the most important ones.
fn cost(candidate: &Candidate) -> (usize, i64, i64, usize, std::cmp::Reverse<Option<Timestamp>>) {
    let victims = &candidate.victims;
    let highest = victims.iter().map(|victim| i64::from(victim.priority)).max().unwrap_or(i64::MIN);
    // Shifted, so that of many victims with a negative priority the sum is not smaller than of few.
    let sum = victims.iter().map(|victim| i64::from(victim.priority) + i64::from(i32::MAX) + 1).sum();
    let first =
        victims.iter().filter(|victim| i64::from(victim.priority) == highest).filter_map(|v| v.started).min();
    (candidate.violations, highest, sum, victims.len(), std::cmp::Reverse(first))
}

/// More important: of higher priority, else longer there.
fn by_importance(pods: &mut [Arc<Needs>]) {
    pods.sort_by(|a, b| {
        b.priority.cmp(&a.priority).then(a.started.cmp(&b.started)).then_with(|| a.key.cmp(&b.key))
    });
}

/// Takes every less important pod away, and gives back as many as can stay, those that a budget protects first.
fn on_node(pod: &Needs, node: &str, cache: &mut Cache, store: &Store) -> Option<Candidate> {
    let place = cache.place(node)?;
    let mut lesser: Vec<Arc<Needs>> =
        place.pods.values().filter(|other| other.priority < pod.priority).cloned().collect();
    if lesser.is_empty() {
        return None;
    }
    by_importance(&mut lesser);
    for victim in &lesser {
        cache.remove_pod(&victim.key);
    }
    let mut victims = Vec::new();
    let mut violations = 0;
    let possible = fits(pod, node, cache, store);
    if possible {
        let (protected, others) = by_budget(&lesser, store);
        let protected_ones = protected.len();
        for (index, candidate) in protected.into_iter().chain(others).enumerate() {
            cache.insert(Arc::clone(&candidate));
            if !fits(pod, node, cache, store) {
                cache.remove_pod(&candidate.key);
                violations += usize::from(index < protected_ones);
                victims.push(candidate);
            }
        }
    }
    let gone: Vec<&Arc<Needs>> = if possible { victims.iter().collect() } else { lesser.iter().collect() };
    for pod in gone {
        cache.insert(Arc::clone(pod));
    }
    if !possible || victims.is_empty() {
        return None;
    }
    by_importance(&mut victims);
    Some(Candidate { node: node.to_owned(), victims, violations })
}

fn fits(pod: &Needs, node: &str, cache: &mut Cache, store: &Store) -> bool {
    let Ok(asking) = Asking::of(pod, cache, store) else { return false };
    cache.place(node).is_some_and(|place| asking.refusal(place, store).is_none())
}

/// Those whose loss a budget does not allow, and the others. An empty selector protects nobody here, unlike in the Eviction API.
fn by_budget(pods: &[Arc<Needs>], store: &Store) -> (Vec<Arc<Needs>>, Vec<Arc<Needs>>) {
    let mut allowed: BTreeMap<Key, i32> = BTreeMap::new();
    let protected = |pod: &Arc<Needs>| {
        let mut violates = false;
        for budget in store.list_in::<PodDisruptionBudget>(&pod.key.namespace) {
            let status = budget.status.as_ref();
            let disrupted = status.and_then(|status| status.disrupted_pods.as_ref());
            if !selects(budget, &pod.labels) || disrupted.is_some_and(|pods| pods.contains_key(&pod.key.name))
            {
                continue;
            }
            let left = allowed
                .entry(super::key_of(&**budget))
                .or_insert_with(|| status.and_then(|status| status.disruptions_allowed).unwrap_or_default());
            *left -= 1;
            violates |= *left < 0;
        }
        violates
    };
    pods.iter().cloned().partition(protected)
}

fn selects(budget: &PodDisruptionBudget, labels: &Labels) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()).map(rules::selector);
    selector.is_some_and(|selector| selector != LabelSelector::default() && selector.matches(labels))
}

//! The scheduler's scores: Kubernetes' default plugins with their weights, each from 0 to 100, in whole numbers as it counts.

use std::collections::{BTreeMap, BTreeSet};

use upgrade_core::model::{KubeVersion, Node, Resources, TaintEffect};

use super::cache::{Cache, Count, Place};
use super::needs::{Constraint, Needs};
use super::topology::{self, Eligible};
use crate::store::Store;

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
const MEBIBYTE: u64 = 1 << 20;

/// Weights of the default profile (apis/config/v1/default_plugins.go).
const TAINT_TOLERATION: i64 = 3;
const NODE_AFFINITY: i64 = 2;
const TOPOLOGY_SPREAD: i64 = 2;
const INTER_POD_AFFINITY: i64 = 2;

/// The total score of each node that passed the filters.
pub(super) fn totals(
    pod: &Needs,
    nodes: &[String],
    cache: &mut Cache,
    store: &Store,
    version: KubeVersion,
) -> Vec<i64> {
    let spread = spread(pod, nodes, cache);
    let neighbours = neighbours(pod, nodes, cache, store);
    let places: Vec<&Place> = nodes.iter().filter_map(|node| cache.place(node)).collect();
    let taints = reversed(&places.iter().map(|place| disliked_taints(pod, place)).collect::<Vec<_>>());
    let preferred = normal(&places.iter().map(|place| preferred_node(pod, &place.node)).collect::<Vec<_>>());
    let each = places.iter().enumerate().map(|(index, place)| {
        TAINT_TOLERATION * taints[index]
            + NODE_AFFINITY * preferred[index]
            + TOPOLOGY_SPREAD * spread[index]
            + INTER_POD_AFFINITY * neighbours[index]
            + least_allocated(pod, place)
            + balanced(pod, place, version)
            + image_locality(pod, place, cache)
    });
    each.collect()
}

/// 100 for the most, in proportion for the others; all 0 stays 0.
fn normal(raw: &[i64]) -> Vec<i64> {
    let most = raw.iter().copied().max().unwrap_or_default();
    raw.iter().map(|score| if most == 0 { *score } else { 100 * score / most }).collect()
}

/// 0 for the most, 100 for nothing.
fn reversed(raw: &[i64]) -> Vec<i64> {
    normal(raw).into_iter().map(|score| 100 - score).collect()
}

fn disliked_taints(pod: &Needs, place: &Place) -> i64 {
    let soft = place.node.taints.iter().filter(|taint| taint.effect == TaintEffect::PreferNoSchedule);
    let disliked = soft.filter(|taint| !pod.rules.tolerations.iter().any(|own| own.tolerates(taint)));
    signed(disliked.count() as u64)
}

fn preferred_node(pod: &Needs, node: &Node) -> i64 {
    let wanted = pod.preferred_nodes.iter().filter(|(_, term)| term.matches(node));
    wanted.map(|(weight, _)| weight).sum()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// NodeResourcesFit with LeastAllocated: the mean of what is left of CPU and of memory, in percent.
pub(super) fn least_allocated(pod: &Needs, place: &Place) -> i64 {
    let would_be = place.assumed + pod.assumed;
    let all = place.node.allocatable;
    let left = [(all.cpu.0, would_be.cpu.0), (all.memory.0, would_be.memory.0)];
    let known: Vec<u64> = left
        .into_iter()
        .filter(|(all, _)| *all > 0)
        .map(|(all, used)| all.saturating_sub(used) * 100 / all)
        .collect();
    if known.is_empty() { 0 } else { signed(known.iter().sum::<u64>() / known.len() as u64) }
}

/// How evenly CPU and memory are used, from 0 to 100.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "fractions of 1, as Kubernetes counts"
)]
fn evenness(all: Resources, used: Resources) -> i64 {
    let fraction = |all: u64, used: u64| (used as f64 / all as f64).min(1.0);
    if all.cpu.0 == 0 || all.memory.0 == 0 {
        return 100;
    }
    let deviation = (fraction(all.cpu.0, used.cpu.0) - fraction(all.memory.0, used.memory.0)).abs() / 2.0;
    ((1.0 - deviation) * 100.0) as i64
}

/// NodeResourcesBalancedAllocation. From 1.36 on it is the pod's own effect that counts; pods that ask for nothing have none.
pub(super) fn balanced(pod: &Needs, place: &Place, version: KubeVersion) -> i64 {
    if pod.requests == Resources::default() {
        return 0;
    }
    let all = place.node.allocatable;
    let with = evenness(all, place.used + pod.requests);
    if version.release() < (1, 36) {
        return with;
    }
    50 + (50 + with - evenness(all, place.used)) / 2
}

/// ImageLocality: how much of the pod's images is there, less for images that few nodes have. Below 23 MiB it does not count,
/// above 1000 MiB for each container it counts no more.
pub(super) fn image_locality(pod: &Needs, place: &Place, cache: &Cache) -> i64 {
    const LEAST: u64 = 23 * MEBIBYTE;
    let nodes = cache.places().len().max(1) as u64;
    let there = pod.images.iter().filter_map(|image| {
        let bytes = place.images.get(image)?;
        Some(u128::from(*bytes) * cache.nodes_with(image) as u128 / u128::from(nodes))
    });
    let sum = u64::try_from(there.sum::<u128>()).unwrap_or(u64::MAX);
    let most = 1000 * MEBIBYTE * pod.images.len() as u64;
    if most <= LEAST {
        return 0;
    }
    signed(100 * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST))
}

/// InterPodAffinity: the pod's own preferences, and those of the pods that are there.
pub(super) fn neighbours(pod: &Needs, nodes: &[String], cache: &mut Cache, store: &Store) -> Vec<i64> {
    let mut weights: BTreeMap<(String, String), i64> = BTreeMap::new();
    for (weight, term) in &pod.preferred {
        for namespace in &topology::namespaces(term, cache, store) {
            let counts: Vec<(String, i64)> = cache
                .tally(namespace, &term.selector)
                .iter()
                .map(|(node, count)| (node.clone(), count.all))
                .collect();
            for (node, count) in counts {
                if let Some(here) = cache.place(&node).and_then(|place| place.domain(&term.topology_key)) {
                    *weights.entry((term.topology_key.clone(), here.to_owned())).or_default() +=
                        weight * count;
                }
            }
        }
    }
    for carried in cache.pulling(store, pod) {
        let key = &carried.term.topology_key;
        for (node, weight) in &carried.nodes {
            if let Some(here) = cache.place(node).and_then(|place| place.domain(key)) {
                *weights.entry((key.clone(), here.to_owned())).or_default() += weight;
            }
        }
    }
    let raw: Vec<i64> = nodes
        .iter()
        .filter_map(|node| cache.place(node))
        .map(|place| {
            let here = weights.iter().filter(|((key, value), _)| place.domain(key) == Some(value));
            here.map(|(_, weight)| weight).sum()
        })
        .collect();
    let (least, most) = (raw.iter().min().copied(), raw.iter().max().copied());
    let (least, range) = (least.unwrap_or_default(), most.unwrap_or_default() - least.unwrap_or_default());
    raw.iter().map(|score| if range == 0 { 0 } else { 100 * (score - least) / range }).collect()
}

/// A preference to spread, with the pods of each node.
struct Preference {
    topology_key: String,
    max_skew: i64,
    honors_affinity: bool,
    honors_taints: bool,
    counts: BTreeMap<String, Count>,
}

impl Preference {
    fn of(pod: &Needs, constraint: &Constraint, cache: &mut Cache) -> Self {
        Self {
            topology_key: constraint.topology_key.clone(),
            max_skew: constraint.max_skew,
            honors_affinity: constraint.honors_affinity,
            honors_taints: constraint.honors_taints,
            counts: cache.tally(&pod.key.namespace, &constraint.selector).clone(),
        }
    }

    /// Kubernetes' own for pods without any constraint: hosts with a skew of 3 and zones with one of 5, among the pods of the
    /// same owner.
    fn default_of(pod: &Needs, cache: &Cache) -> Vec<Self> {
        let Some(owner) = &pod.owner else { return Vec::new() };
        let counts = cache.siblings(owner).cloned().unwrap_or_default();
        let of = |key: &str, max_skew| Self {
            topology_key: key.to_owned(),
            max_skew,
            honors_affinity: true,
            honors_taints: false,
            counts: counts.clone(),
        };
        vec![of(HOST, 3), of(ZONE, 5)]
    }

    /// The raw score of each node, and of those without the label nothing.
    fn raw(
        &self,
        eligible: &Eligible<'_>,
        places: &[&Place],
        ignored: &BTreeSet<usize>,
        cache: &Cache,
    ) -> Vec<f64> {
        let key = self.topology_key.as_str();
        let in_question =
            || places.iter().enumerate().filter(|(index, _)| !ignored.contains(index)).map(|(_, p)| p);
        let mut domains: BTreeMap<&str, i64> =
            in_question().filter_map(|place| Some((place.domain(key)?, 0))).collect();
        let size = if key == HOST { places.len() - ignored.len() } else { domains.len() };
        let own = |place: &Place| self.counts.get(place.node.name.as_str()).map_or(0, |count| count.staying);
        if key != HOST {
            // Nodes without such a pod add nothing.
            let counted = self.counts.iter().filter(|(_, count)| count.staying != 0);
            for (place, count) in counted.filter_map(|(node, count)| Some((cache.place(node)?, count))) {
                if eligible.counts(place, self.honors_affinity, self.honors_taints)
                    && let Some(total) = place.domain(key).and_then(|here| domains.get_mut(here))
                {
                    *total += count.staying;
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "thousands of nodes, thousands of pods")]
        let score = |place: &&Place| {
            let here = place.domain(key)?;
            let count = if key == HOST { own(place) } else { domains.get(here).copied().unwrap_or_default() };
            Some(count as f64 * ((size + 2) as f64).ln() + (self.max_skew - 1) as f64)
        };
        places.iter().map(|place| score(place).unwrap_or_default()).collect()
    }
}

/// PodTopologySpread.
pub(super) fn spread(pod: &Needs, nodes: &[String], cache: &mut Cache) -> Vec<i64> {
    let soft: Vec<&Constraint> = pod.spread.iter().filter(|constraint| !constraint.required).collect();
    let by_default = pod.spread.is_empty();
    let preferences: Vec<Preference> = if by_default {
        Preference::default_of(pod, cache)
    } else {
        soft.iter().map(|constraint| Preference::of(pod, constraint, cache)).collect()
    };
    let places: Vec<&Place> = nodes.iter().filter_map(|node| cache.place(node)).collect();
    if preferences.is_empty() {
        return vec![0; places.len()];
    }
    // A node without the label of a constraint is left out; Kubernetes' own constraints do not ask for the labels.
    let keys: Vec<&str> =
        if by_default { Vec::new() } else { soft.iter().map(|c| c.topology_key.as_str()).collect() };
    let lacks = |place: &Place| keys.iter().any(|key| place.domain(key).is_none());
    let ignored: BTreeSet<usize> =
        places.iter().enumerate().filter(|(_, place)| lacks(place)).map(|(index, _)| index).collect();
    let eligible = Eligible::of(pod, keys.clone());
    let mut total = vec![0.0; places.len()];
    for preference in &preferences {
        for (sum, raw) in total.iter_mut().zip(preference.raw(&eligible, &places, &ignored, cache)) {
            *sum += raw;
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "small numbers, as Kubernetes rounds them")]
    let rounded: Vec<i64> = total.iter().map(|raw: &f64| raw.round() as i64).collect();
    let in_question =
        || rounded.iter().enumerate().filter(|(index, _)| !ignored.contains(index)).map(|(_, raw)| *raw);
    let (least, most) = (in_question().min().unwrap_or_default(), in_question().max().unwrap_or_default());
    let normal = |(index, raw): (usize, &i64)| match most {
        _ if ignored.contains(&index) => 0,
        0 => 100,
        most => 100 * (most + least - raw) / most,
    };
    rounded.iter().enumerate().map(normal).collect()
}

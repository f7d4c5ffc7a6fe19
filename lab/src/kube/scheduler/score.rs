//! The scheduler's scores: Kubernetes' default plugins with their weights, each from 0 to 100, in whole numbers as it counts.

use std::collections::{BTreeMap, BTreeSet};

use upgrade_core::model::{KubeVersion, Node, Resources, TaintEffect};

use super::cache::{Cache, Count, Place, Spot};
use super::class::Class;
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

/// How well a node suits a pod, as far as it decides alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suit {
    disliked_taints: i64,
    preferred: i64,
    /// What is not measured against other nodes.
    own: i64,
}

pub(super) fn suit(pod: &Needs, place: &Place, cache: &Cache, version: KubeVersion) -> Suit {
    Suit {
        disliked_taints: disliked_taints(pod, place),
        preferred: preferred_node(pod, &place.node),
        own: least_allocated(pod, place) + balanced(pod, place, version) + image_locality(pod, place, cache),
    }
}

/// The total score of each node that passed the filters.
pub(super) fn totals(
    pod: &Needs,
    nodes: &[Spot],
    class: &mut Class,
    cache: &mut Cache,
    store: &Store,
) -> Vec<i64> {
    let spread = spread(pod, nodes, cache);
    let neighbours = neighbours(pod, nodes, cache, store);
    let suits: Vec<Suit> = nodes
        .iter()
        .map(|spot| class.answer(pod, *spot, cache).as_ref().copied().unwrap_or_default())
        .collect();
    let most = |of: fn(&Suit) -> i64| suits.iter().map(of).max().unwrap_or_default();
    let (most_disliked, most_preferred) = (most(|suit| suit.disliked_taints), most(|suit| suit.preferred));
    let each = suits.iter().zip(spread).zip(neighbours).map(|((suit, spread), neighbours)| {
        TAINT_TOLERATION * (100 - normal(suit.disliked_taints, most_disliked))
            + NODE_AFFINITY * normal(suit.preferred, most_preferred)
            + TOPOLOGY_SPREAD * spread
            + INTER_POD_AFFINITY * neighbours
            + suit.own
    });
    each.collect()
}

/// 100 for the most, in proportion for the others; all 0 stays 0.
fn normal(raw: i64, most: i64) -> i64 {
    if most == 0 { raw } else { 100 * raw / most }
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
    let known = left.into_iter().filter(|(all, _)| *all > 0);
    let known = known.map(|(all, used)| all.saturating_sub(used) * 100 / all);
    let (sum, count) = known.fold((0, 0), |(sum, count), left| (sum + left, count + 1));
    sum.checked_div(count).map_or(0, signed)
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
    let nodes = cache.count_places().max(1) as u64;
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
pub(super) fn neighbours(pod: &Needs, nodes: &[Spot], cache: &mut Cache, store: &Store) -> Vec<i64> {
    if pod.preferred.is_empty() && !cache.pulls() {
        return vec![0; nodes.len()];
    }
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
        .filter_map(|spot| cache.at(*spot))
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
pub(super) fn spread(pod: &Needs, nodes: &[Spot], cache: &mut Cache) -> Vec<i64> {
    if pod.spread.is_empty() {
        return spread_by_default(pod, nodes, cache);
    }
    let soft: Vec<&Constraint> = pod.spread.iter().filter(|constraint| !constraint.required).collect();
    let preferences: Vec<Preference> =
        soft.iter().map(|constraint| Preference::of(pod, constraint, cache)).collect();
    let places: Vec<&Place> = nodes.iter().filter_map(|spot| cache.at(*spot)).collect();
    if preferences.is_empty() {
        return vec![0; places.len()];
    }
    // A node without the label of a constraint is left out.
    let keys: Vec<&str> = soft.iter().map(|c| c.topology_key.as_str()).collect();
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
    let rounded: Vec<i64> = total.iter().map(|raw| rounded(*raw)).collect();
    let in_question =
        || rounded.iter().enumerate().filter(|(index, _)| !ignored.contains(index)).map(|(_, raw)| *raw);
    let (least, most) = (in_question().min().unwrap_or_default(), in_question().max().unwrap_or_default());
    let normal = |(index, raw): (usize, &i64)| {
        if ignored.contains(&index) { 0 } else { evened(*raw, least, most) }
    };
    rounded.iter().enumerate().map(normal).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "small numbers, as Kubernetes rounds them")]
fn rounded(raw: f64) -> i64 {
    raw.round() as i64
}

/// 100 where the fewest are.
fn evened(raw: i64, least: i64, most: i64) -> i64 {
    if most == 0 { 100 } else { 100 * (most + least - raw) / most }
}

/// Kubernetes' own for pods without any constraint: hosts with a skew of 3 and zones with one of 5, among the pods of the same
/// owner. A node does not need the labels. Most nodes have none of the owner's pods: they are weighed by their zone.
fn spread_by_default(pod: &Needs, nodes: &[Spot], cache: &Cache) -> Vec<i64> {
    let Some(owner) = &pod.owner else { return vec![0; nodes.len()] };
    let eligible = Eligible::of(pod, Vec::new());
    let mut own = vec![0; cache.spots()];
    let mut zones: BTreeMap<&str, i64> = BTreeMap::new();
    for (node, count) in cache.siblings(owner).into_iter().flatten().filter(|(_, count)| count.staying != 0) {
        let Some(place) = cache.place(node) else { continue };
        own[place.spot()] = count.staying;
        if let Some(zone) = place.domain(ZONE).filter(|_| eligible.counts(place, true, false)) {
            *zones.entry(zone).or_default() += count.staying;
        }
    }
    let here = zones_of(nodes, cache);
    #[expect(clippy::cast_precision_loss, reason = "thousands of nodes, thousands of pods")]
    let weigh =
        |count: i64, size: usize, skew: i64| count as f64 * ((size + 2) as f64).ln() + (skew - 1) as f64;
    let of_zone = |zone: Option<&str>| {
        let zone = zone?;
        Some(weigh(zones.get(zone).copied().unwrap_or_default(), here.named, 5))
    };
    let of_zones: Vec<f64> = here.names.iter().map(|zone| of_zone(*zone).unwrap_or_default()).collect();
    let of_host = weigh(0, nodes.len(), 3);
    let bare: Vec<i64> = of_zones.iter().map(|zone| rounded(of_host + zone)).collect();
    let raw: Vec<i64> = nodes
        .iter()
        .zip(&here.each)
        .map(|(spot, zone)| match own[*spot] {
            _ if !here.hosts && cache.at(*spot).is_none_or(|place| place.domain(HOST).is_none()) => {
                rounded(of_zones[*zone])
            }
            0 => bare[*zone],
            count => rounded(weigh(count, nodes.len(), 3) + of_zones[*zone]),
        })
        .collect();
    let (least, most) = (raw.iter().min().copied(), raw.iter().max().copied());
    let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
    raw.into_iter().map(|raw| evened(raw, least, most)).collect()
}

/// The zones of some nodes.
struct Zones<'a> {
    names: Vec<Option<&'a str>>,
    /// How many of them have a name.
    named: usize,
    /// Each node's, by its place among the names.
    each: Vec<usize>,
    /// Every node says its host.
    hosts: bool,
}

fn zones_of<'a>(nodes: &[Spot], cache: &'a Cache) -> Zones<'a> {
    let mut zones = Zones { names: Vec::new(), named: 0, each: Vec::with_capacity(nodes.len()), hosts: true };
    let mut met = vec![None; cache.zones().len()];
    for spot in nodes {
        let location = cache.location(*spot);
        zones.hosts &= location.has_host;
        zones.each.push(*met[location.zone].get_or_insert_with(|| {
            let name = cache.zones()[location.zone].as_deref();
            zones.names.push(name);
            zones.named += usize::from(name.is_some());
            zones.names.len() - 1
        }));
    }
    zones
}

//! The filters that look at more than one node: topology spread, and affinity and anti-affinity between pods.

use std::collections::{BTreeMap, BTreeSet};

use super::cache::{Cache, Count, Place};
use super::filter::{Refusal, cordon};
use super::needs::{Constraint, Needs, Term};
use crate::store::Store;

/// What is counted once for a pod, for all nodes.
pub(super) struct Topology {
    spread: Vec<Spread>,
    /// Domains that the pod's own anti-affinity forbids, by topology key.
    apart: BTreeSet<(String, String)>,
    /// Domains that pods which are there forbid it.
    repelled: BTreeSet<(String, String)>,
    near: Vec<Near>,
    /// No pod matches any of its terms and it matches them all itself: the first of a group goes anywhere.
    first: bool,
}

/// A `DoNotSchedule` constraint with the pods counted by domain.
struct Spread {
    constraint: Constraint,
    domains: BTreeMap<String, i64>,
    own: i64,
}

/// A required affinity term with the domains where somebody is that it means.
struct Near {
    key: String,
    domains: BTreeSet<String>,
}

impl Topology {
    pub(super) fn of(pod: &Needs, cache: &mut Cache, store: &Store) -> Self {
        let required = pod.spread.iter().filter(|constraint| constraint.required);
        let spread = required.map(|constraint| Spread::of(pod, constraint, cache)).collect();
        let mut apart = BTreeSet::new();
        for term in &pod.apart {
            apart.extend(
                occupied(term, cache, store).into_iter().map(|domain| (term.topology_key.clone(), domain)),
            );
        }
        let near: Vec<Near> = pod
            .near
            .iter()
            .map(|term| Near { key: term.topology_key.clone(), domains: occupied(term, cache, store) })
            .collect();
        let repelled = cache
            .repelling(store, pod)
            .flat_map(|carried| {
                let key = &carried.term.topology_key;
                let places = carried.nodes.keys().filter_map(|node| cache.place(node));
                places.filter_map(|place| Some((key.clone(), place.domain(key)?.to_owned())))
            })
            .collect();
        let first = near.iter().all(|near| near.domains.is_empty())
            && pod.near.iter().all(|term| term.means(store, pod));
        Self { spread, apart, repelled, near, first }
    }

    /// No pod is asked about.
    pub(super) fn is_nothing(&self) -> bool {
        self.spread.is_empty() && self.near.is_empty() && self.apart.is_empty() && self.repelled.is_empty()
    }

    /// PodTopologySpread, then InterPodAffinity.
    pub(super) fn refusal(&self, place: &Place) -> Option<Refusal> {
        self.spread.iter().find_map(|spread| spread.refusal(place)).or_else(|| self.neighbours(place))
    }

    fn neighbours(&self, place: &Place) -> Option<Refusal> {
        let near = |near: &Near| {
            place.domain(&near.key).is_some_and(|here| self.first || near.domains.contains(here))
        };
        if !self.near.iter().all(near) {
            return Some(Refusal::for_good("node(s) didn't match pod affinity rules"));
        }
        let forbids = |domains: &BTreeSet<(String, String)>| {
            domains.iter().any(|(key, value)| place.domain(key) == Some(value))
        };
        if forbids(&self.apart) {
            return Some(Refusal::for_now("node(s) didn't match pod anti-affinity rules"));
        }
        forbids(&self.repelled)
            .then(|| Refusal::for_now("node(s) didn't satisfy existing pods anti-affinity rules"))
    }
}

/// The domains with a pod that the term means. Terminating pods are there until they are gone.
fn occupied(term: &Term, cache: &mut Cache, store: &Store) -> BTreeSet<String> {
    let namespaces = namespaces(term, cache, store);
    let mut domains = BTreeSet::new();
    for namespace in namespaces {
        let nodes: Vec<String> = cache.tally(&namespace, &term.selector).keys().cloned().collect();
        let places = nodes.iter().filter_map(|node| cache.place(node));
        domains.extend(places.filter_map(|place| place.domain(&term.topology_key).map(str::to_owned)));
    }
    domains
}

/// The namespaces that the term looks at.
pub(super) fn namespaces(term: &Term, cache: &Cache, store: &Store) -> Vec<String> {
    if term.by_label.is_none() {
        return term.namespaces.clone();
    }
    let all = cache.namespaces().into_iter();
    all.filter(|namespace| term.covers(store, namespace)).collect()
}

/// Which nodes a constraint counts as domains: by its policies, and only those with the label of every constraint of its kind.
pub(super) struct Eligible<'a> {
    pod: &'a Needs,
    keys: Vec<&'a str>,
}

impl<'a> Eligible<'a> {
    pub(super) fn of(pod: &'a Needs, keys: Vec<&'a str>) -> Self {
        Self { pod, keys }
    }

    pub(super) fn counts(&self, place: &Place, honors_affinity: bool, honors_taints: bool) -> bool {
        let node = &place.node;
        let taints = || {
            node.taints.iter().all(|taint| self.pod.rules.ignores(taint))
                && (!node.unschedulable || self.pod.rules.ignores(&cordon()))
        };
        self.keys.iter().all(|key| place.domain(key).is_some())
            && (!honors_affinity || self.pod.rules.chooses(node))
            && (!honors_taints || taints())
    }
}

impl Spread {
    fn of(pod: &Needs, constraint: &Constraint, cache: &mut Cache) -> Self {
        let required = pod.spread.iter().filter(|constraint| constraint.required);
        let eligible = Eligible::of(pod, required.map(|c| c.topology_key.as_str()).collect());
        let counts: BTreeMap<String, Count> = cache.tally(&pod.key.namespace, &constraint.selector).clone();
        let mut domains: BTreeMap<String, i64> = BTreeMap::new();
        for place in cache.places() {
            if !eligible.counts(place, constraint.honors_affinity, constraint.honors_taints) {
                continue;
            }
            let Some(here) = place.domain(&constraint.topology_key) else { continue };
            let staying = counts.get(place.node.name.as_str()).map_or(0, |count| count.staying);
            match domains.get_mut(here) {
                Some(count) => *count += staying,
                None => drop(domains.insert(here.to_owned(), staying)),
            }
        }
        let own = i64::from(constraint.selector.matches(&pod.labels));
        Self { constraint: constraint.clone(), domains, own }
    }

    fn refusal(&self, place: &Place) -> Option<Refusal> {
        let Some(here) = place.domain(&self.constraint.topology_key) else {
            let why = "node(s) didn't match pod topology spread constraints (missing required label)";
            return Some(Refusal::for_good(why));
        };
        let enough = self.domains.len() >= self.constraint.min_domains;
        let least = if enough { self.domains.values().min().copied().unwrap_or_default() } else { 0 };
        let would_be = self.domains.get(here).copied().unwrap_or_default() + self.own;
        (would_be - least > self.constraint.max_skew)
            .then(|| Refusal::for_now("node(s) didn't match pod topology spread constraints"))
    }
}

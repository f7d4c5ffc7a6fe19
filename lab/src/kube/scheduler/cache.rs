//! The scheduler's memory: nodes with what is on them, and pods counted by the selectors that somebody asks about. Always as
//! fresh as the last dispatch, and changed one pod at a time, so that a decision costs the size of its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use upgrade_core::model::{LabelSelector, Node, Resources, ZONE_LABEL};
use upgrade_core::view::Object;

use super::super::pods;
use super::needs::{Needs, Term, extended_amounts, tagged};
use super::volumes::Handle;
use crate::ports::convert::Slim;
use crate::store::{Key, Store};

/// The label with a node's own name.
const HOST_LABEL: &str = "kubernetes.io/hostname";

/// A node with what is on it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) node: Node,
    /// The two labels that every pod is spread by.
    zone: Option<String>,
    host: Option<String>,
    /// What it has beside CPU, memory and places for pods.
    pub(super) extended: BTreeMap<String, u64>,
    pub(super) images: BTreeMap<String, u64>,
    /// Volumes that are attached to it.
    pub(super) attached: BTreeSet<Handle>,
    pub(super) pods: BTreeMap<Key, Arc<Needs>>,
    pub(super) used: Resources,
    /// As `used`, with the scores' assumptions.
    pub(super) assumed: Resources,
    pub(super) used_extended: BTreeMap<String, u64>,
}

impl Place {
    fn of(node: Node, extended: BTreeMap<String, u64>) -> Self {
        let images = node.images.iter().map(|(image, bytes)| (tagged(image), bytes.0)).collect();
        let (attached, pods, used, assumed) = Default::default();
        let label = |key| node.labels.get(key).cloned();
        let (zone, host) = (label(ZONE_LABEL), label(HOST_LABEL));
        let used_extended = BTreeMap::new();
        Self { node, zone, host, extended, images, attached, pods, used, assumed, used_extended }
    }

    fn add(&mut self, pod: &Arc<Needs>) {
        self.used += pod.requests;
        self.assumed += pod.assumed;
        for (key, amount) in &pod.extended {
            *self.used_extended.entry(key.clone()).or_default() += amount;
        }
        self.pods.insert(pod.key.clone(), Arc::clone(pod));
    }

    fn remove(&mut self, pod: &Needs) {
        if self.pods.remove(&pod.key).is_none() {
            return;
        }
        self.used = self.used - pod.requests;
        self.assumed = self.assumed - pod.assumed;
        for (key, amount) in &pod.extended {
            let used = self.used_extended.entry(key.clone()).or_default();
            *used = used.saturating_sub(*amount);
        }
    }

    /// The value of a node label: which domain of a topology the node is in.
    pub(super) fn domain(&self, key: &str) -> Option<&str> {
        match key {
            HOST_LABEL => self.host.as_deref(),
            ZONE_LABEL => self.zone.as_deref(),
            _ => self.node.labels.get(key).map(String::as_str),
        }
    }
}

/// How many pods of a selector a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// All of them.
    pub(super) all: i64,
    /// Those that are not terminating: only they count for spread.
    pub(super) staying: i64,
}

/// The pods of one namespace that a selector matches, by node.
#[derive(Debug)]
struct Tally {
    selector: LabelSelector,
    nodes: BTreeMap<String, Count>,
}

/// A term that pods on nodes carry, with its weight by node.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) term: Term,
    pub(super) nodes: BTreeMap<String, i64>,
}

/// Terms by the namespaces they look at; those that choose namespaces by label are under the empty name.
type Terms = BTreeMap<String, BTreeMap<String, Carried>>;

/// Existing pods pull a newcomer that their required affinity means with this weight (`hardPodAffinityWeight`).
const HARD_AFFINITY_WEIGHT: i64 = 1;

#[derive(Debug, Default)]
pub(crate) struct Cache {
    nodes: BTreeMap<String, Place>,
    /// Those that are not cordoned.
    open: BTreeSet<String>,
    pods: BTreeMap<Key, Arc<Needs>>,
    tallies: BTreeMap<String, BTreeMap<String, Tally>>,
    by_owner: BTreeMap<String, BTreeMap<String, Count>>,
    /// Required anti-affinity of pods on nodes.
    repelling: Terms,
    /// Preferences and required affinity of pods on nodes.
    pulling: Terms,
    images: BTreeMap<String, BTreeSet<String>>,
    /// Pods on nodes that are not registered (any more).
    homeless: BTreeMap<String, BTreeSet<Key>>,
}

impl Cache {
    pub(super) fn places(&self) -> impl ExactSizeIterator<Item = &Place> {
        self.nodes.values()
    }

    /// The nodes that are not cordoned, once around from a name on.
    pub(super) fn open_from<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a Place> {
        let names = around(&self.open, start);
        names.filter_map(|name| self.nodes.get(name))
    }

    /// All nodes, once around from a name on.
    pub(super) fn places_from<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a Place> {
        let (first, last) =
            ((Bound::Included(start), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(start)));
        let places = self.nodes.range::<str, _>(first).chain(self.nodes.range::<str, _>(last));
        places.map(|(_, place)| place)
    }

    /// How many nodes are cordoned.
    pub(super) fn cordoned(&self) -> usize {
        self.nodes.len() - self.open.len()
    }

    pub(super) fn place(&self, node: &str) -> Option<&Place> {
        self.nodes.get(node)
    }

    /// How many nodes have the image.
    pub(super) fn nodes_with(&self, image: &str) -> usize {
        self.images.get(image).map_or(0, BTreeSet::len)
    }

    /// The node is as it is now.
    pub(super) fn set_node(&mut self, node: &core::Node, store: &Store) {
        let Some(Object::Node(slim)) = node.slim(store) else { return };
        let name = slim.name.to_string();
        let amounts = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        let mut place = Place::of(slim, amounts.map(extended_amounts).unwrap_or_default());
        let before = self.nodes.remove(&name);
        for image in before.iter().flat_map(|place| place.images.keys()) {
            if !place.images.contains_key(image) {
                self.forget_image(image, &name);
            }
        }
        for image in place.images.keys() {
            self.images.entry(image.clone()).or_default().insert(name.clone());
        }
        let (pods, attached) = before.map(|place| (place.pods, place.attached)).unwrap_or_default();
        place.attached = attached;
        let returning = self.homeless.remove(&name).unwrap_or_default();
        for pod in pods.values().chain(returning.iter().filter_map(|key| self.pods.get(key))) {
            place.add(pod);
        }
        if place.node.unschedulable {
            self.open.remove(&name);
        } else {
            self.open.insert(name.clone());
        }
        self.nodes.insert(name, place);
    }

    pub(super) fn remove_node(&mut self, name: &str) {
        let Some(place) = self.nodes.remove(name) else { return };
        self.open.remove(name);
        for image in place.images.keys() {
            self.forget_image(image, name);
        }
        if !place.pods.is_empty() {
            self.homeless.insert(name.to_owned(), place.pods.into_keys().collect());
        }
    }

    fn forget_image(&mut self, image: &str, node: &str) {
        if let Some(nodes) = self.images.get_mut(image) {
            nodes.remove(node);
            if nodes.is_empty() {
                self.images.remove(image);
            }
        }
    }

    /// A volume is attached to a node, or no more.
    pub(super) fn set_attached(&mut self, node: &str, volume: Handle, attached: bool) {
        let Some(place) = self.nodes.get_mut(node) else { return };
        if attached {
            place.attached.insert(volume);
        } else {
            place.attached.remove(&volume);
        }
    }

    /// The pod is as it is now: on a node and not finished, or nothing that holds anything.
    pub(super) fn set_pod(&mut self, pod: &core::Pod) {
        let key = super::super::key_of(pod);
        if pods::node_of(pod).is_none() || pods::is_finished(pod) {
            self.remove_pod(&key);
            return;
        }
        let needs = Arc::new(Needs::of(pod));
        if self.pods.get(&key) != Some(&needs) {
            self.remove_pod(&key);
            self.insert(needs);
        }
    }

    /// Puts a pod on the node that it names.
    pub(super) fn insert(&mut self, pod: Arc<Needs>) {
        let Some(node) = pod.node.clone() else { return };
        match self.nodes.get_mut(&node) {
            Some(place) => place.add(&pod),
            None => drop(self.homeless.entry(node.clone()).or_default().insert(pod.key.clone())),
        }
        self.count(&pod, &node, 1);
        self.pods.insert(pod.key.clone(), pod);
    }

    pub(super) fn remove_pod(&mut self, key: &Key) -> Option<Arc<Needs>> {
        let pod = self.pods.remove(key)?;
        let node = pod.node.clone()?;
        match self.nodes.get_mut(&node) {
            Some(place) => place.remove(&pod),
            None => {
                if let Some(keys) = self.homeless.get_mut(&node) {
                    keys.remove(key);
                }
            }
        }
        self.count(&pod, &node, -1);
        Some(pod)
    }

    fn count(&mut self, pod: &Needs, node: &str, change: i64) {
        for tally in self.tallies.get_mut(&pod.key.namespace).into_iter().flat_map(BTreeMap::values_mut) {
            if tally.selector.matches(&pod.labels) {
                adjust(&mut tally.nodes, node, pod, change);
            }
        }
        if let Some(owner) = &pod.owner {
            let nodes = self.by_owner.entry(owner.clone()).or_default();
            adjust(nodes, node, pod, change);
            if nodes.is_empty() {
                self.by_owner.remove(owner);
            }
        }
        for term in &pod.apart {
            carry(&mut self.repelling, term, node, change);
        }
        for term in &pod.near {
            carry(&mut self.pulling, term, node, change * HARD_AFFINITY_WEIGHT);
        }
        for (weight, term) in &pod.preferred {
            carry(&mut self.pulling, term, node, change * weight);
        }
    }

    /// The pods of a namespace that a selector matches, by node. The first question about a selector costs a look at the
    /// namespace; after that it is counted along.
    pub(super) fn tally(&mut self, namespace: &str, selector: &LabelSelector) -> &BTreeMap<String, Count> {
        let id = format!("{selector:?}");
        let known = self.tallies.get(namespace).is_some_and(|tallies| tallies.contains_key(&id));
        if !known {
            let mut nodes = BTreeMap::new();
            let from = Key::new(namespace, "");
            let inside = self.pods.range(from..).map(|(_, pod)| pod);
            for pod in inside.take_while(|pod| pod.key.namespace == namespace) {
                if let Some(node) = pod.node.as_deref().filter(|_| selector.matches(&pod.labels)) {
                    adjust(&mut nodes, node, pod, 1);
                }
            }
            let tallies = self.tallies.entry(namespace.to_owned()).or_default();
            // Selectors that nothing matches any more are of old revisions.
            tallies.retain(|_, tally| !tally.nodes.is_empty());
            tallies.insert(id.clone(), Tally { selector: selector.clone(), nodes });
        }
        &self.tallies[namespace][&id].nodes
    }

    /// The namespaces that have pods on nodes.
    pub(super) fn namespaces(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut from = Key::new("", "");
        while let Some((key, _)) = self.pods.range(from..).next() {
            names.push(key.namespace.clone());
            from = Key::new(format!("{}\0", key.namespace), "");
        }
        names
    }

    /// The pods of an owner, by node.
    pub(super) fn siblings(&self, owner: &str) -> Option<&BTreeMap<String, Count>> {
        self.by_owner.get(owner)
    }

    /// The terms of pods on nodes that mean `pod` and forbid it their domain.
    pub(super) fn repelling<'a>(
        &'a self,
        store: &'a Store,
        pod: &'a Needs,
    ) -> impl Iterator<Item = &'a Carried> {
        meant(&self.repelling, store, pod)
    }

    /// The terms of pods on nodes that mean `pod` and would rather have it, or not have it, in their domain.
    pub(super) fn pulling<'a>(
        &'a self,
        store: &'a Store,
        pod: &'a Needs,
    ) -> impl Iterator<Item = &'a Carried> {
        meant(&self.pulling, store, pod)
    }

    /// Forgets everything and reads it anew.
    pub(super) fn rebuild(store: &Store) -> Self {
        let mut cache = Self::default();
        for node in store.list::<core::Node>() {
            cache.set_node(node, store);
        }
        for pod in store.list::<core::Pod>() {
            cache.set_pod(pod);
        }
        cache
    }
}

/// The names of a set, once around.
fn around<'a>(names: &'a BTreeSet<String>, start: &'a str) -> impl Iterator<Item = &'a String> {
    let (first, last) =
        ((Bound::Included(start), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(start)));
    names.range::<str, _>(first).chain(names.range::<str, _>(last))
}

fn adjust(nodes: &mut BTreeMap<String, Count>, node: &str, pod: &Needs, change: i64) {
    let count = nodes.entry(node.to_owned()).or_default();
    count.all += change;
    if !pod.terminating {
        count.staying += change;
    }
    if *count == Count::default() {
        nodes.remove(node);
    }
}

fn carry(terms: &mut Terms, term: &Term, node: &str, weight: i64) {
    let wide = term.by_label.is_some().then(String::new);
    for namespace in term.namespaces.iter().cloned().chain(wide) {
        let (terms, id) = (terms.entry(namespace).or_default(), term.id());
        let carried =
            terms.entry(id.clone()).or_insert_with(|| Carried { term: term.clone(), nodes: BTreeMap::new() });
        let total = carried.nodes.entry(node.to_owned()).or_default();
        *total += weight;
        if *total == 0 {
            carried.nodes.remove(node);
        }
        if carried.nodes.is_empty() {
            terms.remove(&id);
        }
    }
}

fn meant<'a>(terms: &'a Terms, store: &'a Store, pod: &'a Needs) -> impl Iterator<Item = &'a Carried> {
    let own = terms.get(&pod.key.namespace).into_iter().flat_map(BTreeMap::values);
    let wide = terms.get("").into_iter().flat_map(BTreeMap::values);
    // A term that names the namespace and also chooses by label counts once.
    let wide = wide.filter(move |carried| !carried.term.namespaces.contains(&pod.key.namespace));
    own.chain(wide).filter(move |carried| carried.term.means(store, pod))
}

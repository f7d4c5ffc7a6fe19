//! The scheduler's memory: nodes with what is on them, and pods counted by the selectors that somebody asks about. Always as
//! fresh as the last dispatch, and changed one pod at a time, so that a decision costs the size of its answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use upgrade_core::model::{LabelSelector, Node, Resources, ZONE_LABEL};
use upgrade_core::view::Object;

use super::super::{pods, uid_of};
use super::class::Classes;
use super::needs::{Needs, Term, Wants, extended_amounts, tagged};
use super::volumes::Handle;
use crate::ports::convert::Slim;
use crate::store::{Key, Store};

/// Where a node stands in the cache, for as long as it is registered.
pub(super) type Spot = usize;

/// Two states of a node with the same number are the same. 0: none.
pub(super) type Version = u64;

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
    spot: Spot,
}

impl Place {
    fn of(node: Node, extended: BTreeMap<String, u64>) -> Self {
        let images = node.images.iter().map(|(image, bytes)| (tagged(image), bytes.0)).collect();
        let (attached, pods, used, assumed) = Default::default();
        let label = |key| node.labels.get(key).cloned();
        let (zone, host) = (label(ZONE_LABEL), label(HOST_LABEL));
        let used_extended = BTreeMap::new();
        let spot = Spot::MAX;
        Self { node, zone, host, extended, images, attached, pods, used, assumed, used_extended, spot }
    }

    fn add(&mut self, pod: &Arc<Needs>) {
        self.used += pod.requests;
        self.assumed += pod.assumed;
        for (key, amount) in &pod.extended {
            *self.used_extended.entry(key.clone()).or_default() += amount;
        }
        self.pods.insert(pod.key.clone(), Arc::clone(pod));
    }

    /// Where it stands.
    pub(super) fn spot(&self) -> Spot {
        self.spot
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

/// Where a node is, by its labels.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Location {
    /// The number of its zone; no zone has a number, too.
    pub(super) zone: usize,
    /// It says which host it is.
    pub(super) has_host: bool,
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
    places: Vec<Option<Place>>,
    /// The version of each place; of an empty one 0.
    versions: Unseen<Vec<Version>>,
    /// Where each place is.
    locations: Unseen<Vec<Location>>,
    /// The zones there have been, each with a number: scores compare them for hundreds of nodes a pod.
    zones: Unseen<Vec<Option<String>>>,
    free: Vec<Spot>,
    nodes: BTreeMap<String, Spot>,
    /// The same, hashed: most questions are for one of thousands of names that differ at their end.
    spots: Unseen<HashMap<String, Spot>>,
    /// Those that are not cordoned.
    open: BTreeMap<String, Spot>,
    /// By namespace and name.
    pods: HashMap<String, HashMap<String, Arc<Needs>>>,
    tallies: BTreeMap<String, BTreeMap<String, Tally>>,
    by_owner: HashMap<String, Siblings>,
    /// Required anti-affinity of pods on nodes.
    repelling: Terms,
    /// Preferences and required affinity of pods on nodes.
    pulling: Terms,
    images: BTreeMap<String, BTreeSet<String>>,
    /// Counts the changes of what the nodes have together: their number, and which of them has which image.
    fleet: Version,
    /// Pods on nodes that are not registered (any more).
    homeless: BTreeMap<String, BTreeSet<Key>>,
    /// Counts the changes of places.
    changes: Unseen,
    pub(super) classes: Unseen<Classes>,
}

/// Something that is no part of what the cache says.
#[derive(Default)]
pub(super) struct Unseen<T = Version>(pub(super) T);

impl<T> std::fmt::Debug for Unseen<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

/// The pods of an owner that are on nodes.
#[derive(Debug)]
struct Siblings {
    nodes: BTreeMap<String, Count>,
    /// What one of them asks for, and likely the others, too.
    wants: Arc<Wants>,
}

impl Cache {
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.nodes.values().filter_map(|spot| self.at(*spot))
    }

    /// How many nodes there are.
    pub(super) fn count_places(&self) -> usize {
        self.nodes.len()
    }

    /// No node stands further back.
    pub(super) fn spots(&self) -> usize {
        self.places.len()
    }

    pub(super) fn at(&self, spot: Spot) -> Option<&Place> {
        self.places.get(spot)?.as_ref()
    }

    pub(super) fn version_at(&self, spot: Spot) -> Version {
        self.versions.0.get(spot).copied().unwrap_or_default()
    }

    /// Where the place of a spot is.
    pub(super) fn location(&self, spot: Spot) -> Location {
        self.locations.0.get(spot).copied().unwrap_or_default()
    }

    /// The zones by their numbers.
    pub(super) fn zones(&self) -> &[Option<String>] {
        &self.zones.0
    }

    fn zone_number(&mut self, zone: Option<&String>) -> usize {
        let known = self.zones.0.iter().position(|known| known.as_ref() == zone);
        known.unwrap_or_else(|| {
            self.zones.0.push(zone.cloned());
            self.zones.0.len() - 1
        })
    }

    /// Which number of nodes there is, and which of them has which image.
    pub(super) fn fleet(&self) -> Version {
        self.fleet
    }

    /// The nodes that are not cordoned, once around from a name on.
    pub(super) fn open_from<'a>(&'a self, start: &'a str) -> impl Iterator<Item = Spot> + use<'a> {
        around(&self.open, start)
    }

    /// All nodes, once around from a name on.
    pub(super) fn places_from<'a>(&'a self, start: &'a str) -> impl Iterator<Item = Spot> + use<'a> {
        around(&self.nodes, start)
    }

    /// How many nodes are cordoned.
    pub(super) fn cordoned(&self) -> usize {
        self.nodes.len() - self.open.len()
    }

    pub(super) fn spot(&self, node: &str) -> Option<Spot> {
        self.spots.0.get(node).copied()
    }

    pub(super) fn place(&self, node: &str) -> Option<&Place> {
        self.at(self.spot(node)?)
    }

    /// The place of a node, to change it.
    fn place_mut(&mut self, node: &str) -> Option<&mut Place> {
        let spot = self.spot(node)?;
        self.changes.0 += 1;
        *self.versions.0.get_mut(spot)? = self.changes.0;
        self.places.get_mut(spot)?.as_mut()
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
        let known = self.spot(&name);
        let before = known.and_then(|spot| self.places[spot].take());
        for image in before.iter().flat_map(|place| place.images.keys()) {
            if !place.images.contains_key(image) {
                self.forget_image(image, &name);
            }
        }
        for image in place.images.keys() {
            if self.images.entry(image.clone()).or_default().insert(name.clone()) {
                self.fleet += 1;
            }
        }
        let (pods, attached) = before.map(|place| (place.pods, place.attached)).unwrap_or_default();
        place.attached = attached;
        let returning = self.homeless.remove(&name).unwrap_or_default();
        for pod in pods.values().chain(returning.iter().filter_map(|key| self.pod(key))) {
            place.add(pod);
        }
        let spot = known.unwrap_or_else(|| self.new_spot());
        place.spot = spot;
        if place.node.unschedulable {
            self.open.remove(&name);
        } else {
            self.open.insert(name.clone(), spot);
        }
        self.locations.0[spot] =
            Location { zone: self.zone_number(place.zone.as_ref()), has_host: place.host.is_some() };
        self.places[spot] = Some(place);
        self.changes.0 += 1;
        self.versions.0[spot] = self.changes.0;
        if known.is_none() {
            self.fleet += 1;
            self.spots.0.insert(name.clone(), spot);
            self.nodes.insert(name, spot);
        }
    }

    fn new_spot(&mut self) -> Spot {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.versions.0.push(0);
            self.locations.0.push(Location::default());
            self.places.len() - 1
        })
    }

    pub(super) fn remove_node(&mut self, name: &str) {
        let Some(spot) = self.nodes.remove(name) else { return };
        self.spots.0.remove(name);
        self.open.remove(name);
        self.free.push(spot);
        self.versions.0[spot] = 0;
        self.fleet += 1;
        let Some(place) = self.places[spot].take() else { return };
        for image in place.images.keys() {
            self.forget_image(image, name);
        }
        if !place.pods.is_empty() {
            self.homeless.insert(name.to_owned(), place.pods.into_keys().collect());
        }
    }

    fn forget_image(&mut self, image: &str, node: &str) {
        if let Some(nodes) = self.images.get_mut(image) {
            self.fleet += 1;
            nodes.remove(node);
            if nodes.is_empty() {
                self.images.remove(image);
            }
        }
    }

    /// A volume is attached to a node, or no more.
    pub(super) fn set_attached(&mut self, node: &str, volume: Handle, attached: bool) {
        let Some(place) = self.place_mut(node) else { return };
        if attached {
            place.attached.insert(volume);
        } else {
            place.attached.remove(&volume);
        }
    }

    fn pod(&self, key: &Key) -> Option<&Arc<Needs>> {
        self.pods.get(&key.namespace)?.get(&key.name)
    }

    /// The pod is as it is now: on a node and not finished, or nothing that holds anything. `same`: it asks for what it has
    /// asked for. `wants`: that, where it is known.
    pub(super) fn set_pod(&mut self, key: &Key, pod: &core::Pod, same: bool, wants: Option<Arc<Wants>>) {
        if pods::node_of(pod).is_none() || pods::is_finished(pod) {
            self.remove_pod(key);
            return;
        }
        let known = self.pod(key);
        if let Some(known) = known.filter(|known| same && known.uid == uid_of(pod)) {
            if !known.is_still(pod) {
                let needs = Needs::with(pod, Arc::clone(&known.wants));
                self.remove_pod(key);
                self.insert(Arc::new(needs));
            }
            return;
        }
        let needs = wants.map_or_else(|| Needs::of(pod), |wants| Needs::with(pod, wants));
        let needs = self.share(needs);
        if self.pod(key).is_none_or(|known| **known != needs) {
            self.remove_pod(key);
            self.insert(Arc::new(needs));
        }
    }

    /// A pod that asks for what the others of its owner ask for holds it together with them.
    pub(super) fn share(&self, needs: Needs) -> Needs {
        let siblings = needs.owner.as_ref().and_then(|owner| self.by_owner.get(owner));
        match siblings.filter(|siblings| siblings.wants == needs.wants) {
            Some(siblings) => Needs { wants: Arc::clone(&siblings.wants), ..needs },
            None => needs,
        }
    }

    /// Puts a pod on the node that it names.
    pub(super) fn insert(&mut self, pod: Arc<Needs>) {
        let Some(node) = pod.node.clone() else { return };
        match self.place_mut(&node) {
            Some(place) => place.add(&pod),
            None => drop(self.homeless.entry(node.clone()).or_default().insert(pod.key.clone())),
        }
        self.count(&pod, &node, 1);
        let Key { namespace, name } = pod.key.clone();
        self.pods.entry(namespace).or_default().insert(name, pod);
    }

    pub(super) fn remove_pod(&mut self, key: &Key) -> Option<Arc<Needs>> {
        let names = self.pods.get_mut(&key.namespace)?;
        let pod = names.remove(&key.name)?;
        if names.is_empty() {
            self.pods.remove(&key.namespace);
        }
        let node = pod.node.clone()?;
        match self.place_mut(&node) {
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
            let fresh = || Siblings { nodes: BTreeMap::new(), wants: Arc::clone(&pod.wants) };
            let siblings = match self.by_owner.get_mut(owner) {
                Some(siblings) => siblings,
                None => self.by_owner.entry(owner.clone()).or_insert_with(fresh),
            };
            adjust(&mut siblings.nodes, node, pod, change);
            if siblings.nodes.is_empty() {
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
            for pod in self.pods.get(namespace).into_iter().flat_map(HashMap::values) {
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

    /// The namespaces that have pods on nodes, by name.
    pub(super) fn namespaces(&self) -> Vec<String> {
        let mut names: Vec<String> = self.pods.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// The pods of an owner, by node.
    pub(super) fn siblings(&self, owner: &str) -> Option<&BTreeMap<String, Count>> {
        self.by_owner.get(owner).map(|siblings| &siblings.nodes)
    }

    /// Is there a term of a pod on a node that pulls others?
    pub(super) fn pulls(&self) -> bool {
        !self.pulling.is_empty()
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
            cache.set_pod(&super::super::key_of(&**pod), pod, false, None);
        }
        cache
    }
}

/// The spots of names, once around.
fn around<'a>(names: &'a BTreeMap<String, Spot>, start: &'a str) -> impl Iterator<Item = Spot> + use<'a> {
    let (first, last) =
        ((Bound::Included(start), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(start)));
    names.range::<str, _>(first).chain(names.range::<str, _>(last)).map(|(_, spot)| *spot)
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
    if weight < 0 {
        terms.retain(|_, terms| !terms.is_empty());
    }
}

fn meant<'a>(terms: &'a Terms, store: &'a Store, pod: &'a Needs) -> impl Iterator<Item = &'a Carried> {
    let own = terms.get(&pod.key.namespace).into_iter().flat_map(BTreeMap::values);
    let wide = terms.get("").into_iter().flat_map(BTreeMap::values);
    // A term that names the namespace and also chooses by label counts once.
    let wide = wide.filter(move |carried| !carried.term.namespaces.contains(&pod.key.namespace));
    own.chain(wide).filter(move |carried| carried.term.means(store, pod))
}

//! The indexes that keep the cost of a decision at the size of its answer: pods by node, and anything by its controller or
//! another owner.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::table::Place;
use super::{Key, Kind, Store, Stored};

/// The indexes, always as fresh as the tables. What is looked up by uid or node is hashed: nobody walks through all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    controllers: HashMap<String, Owned>,
    /// Under owners that are not controllers, which are rare.
    other_owners: HashMap<String, Owned>,
    nodes: HashMap<String, BTreeMap<Key, Place>>,
    labels: BTreeMap<String, Labelled>,
}

/// What an owner has.
#[derive(Clone, Debug, Default)]
struct Owned {
    things: BTreeMap<(Kind, Key), Place>,
    /// The revision of the last write of any of them.
    touched: u64,
}

/// The pods of a namespace: names by label and value.
type Labelled = BTreeMap<String, BTreeMap<String, BTreeMap<String, Place>>>;

/// Enters a pod under its labels, or takes it out.
fn label(
    index: &mut BTreeMap<String, Labelled>,
    (key, place): (&Key, Place),
    labels: &BTreeMap<String, String>,
    is: bool,
) {
    if is {
        let namespace = index.entry(key.namespace.clone()).or_default();
        for (label, value) in labels {
            let values = namespace.entry(label.clone()).or_default();
            values.entry(value.clone()).or_default().insert(key.name.clone(), place);
        }
        return;
    }
    let Some(namespace) = index.get_mut(&key.namespace) else { return };
    for (label, value) in labels {
        let Some(values) = namespace.get_mut(label) else { continue };
        let Some(names) = values.get_mut(value) else { continue };
        names.remove(&key.name);
        if names.is_empty() {
            values.remove(value);
        }
    }
}

/// The controller of an object.
pub(crate) fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Takes something away from an owner.
fn unlink(index: &mut HashMap<String, Owned>, owner: &str, item: &(Kind, Key), revision: u64) {
    if let Some(owned) = index.get_mut(owner) {
        owned.things.remove(item);
        owned.touched = revision;
        if owned.things.is_empty() {
            index.remove(owner);
        }
    }
}

/// Gives something to an owner.
fn link(index: &mut HashMap<String, Owned>, owner: &str, item: (Kind, Key), place: Place, revision: u64) {
    let owned = index.entry(owner.to_owned()).or_default();
    owned.things.insert(item, place);
    owned.touched = revision;
}

impl Index {
    /// An object was written: its place, and what it was and is.
    pub(super) fn note<T: Stored>(
        &mut self,
        (key, place): (&Key, Place),
        before: Option<&T>,
        after: Option<&T>,
        revision: u64,
    ) {
        let same_owners = before
            .zip(after)
            .is_some_and(|(old, new)| old.metadata().owner_references == new.metadata().owner_references);
        if same_owners {
            self.touch(before, revision);
        } else {
            self.note_owners((key, place), before, after, revision);
        }
        let (old, new) = (before.and_then(T::node_name), after.and_then(T::node_name));
        if old != new {
            if let Some(pods) = old.and_then(|node| self.nodes.get_mut(node)) {
                pods.remove(key);
            }
            if let Some(node) = new {
                self.nodes.entry(node.to_owned()).or_default().insert(key.clone(), place);
            }
        }
        if T::KIND_OF == Kind::Pod {
            let old = before.and_then(|object| object.metadata().labels.as_ref());
            let new = after.and_then(|object| object.metadata().labels.as_ref());
            if old != new {
                for (labels, is) in [(old, false), (new, true)] {
                    if let Some(labels) = labels {
                        label(&mut self.labels, (key, place), labels, is);
                    }
                }
            }
        }
    }

    /// A pod has got its node.
    pub(super) fn place<T: Stored>(&mut self, key: &Key, place: Place, object: &T) {
        if let Some(node) = object.node_name() {
            self.nodes.entry(node.to_owned()).or_default().insert(key.clone(), place);
        }
    }

    /// An object was written and has the owners that it had.
    pub(super) fn touch<T: Stored>(&mut self, object: Option<&T>, revision: u64) {
        let owner = object.and_then(|object| controller(object.metadata()));
        if let Some(owned) = owner.and_then(|owner| self.controllers.get_mut(&owner.uid)) {
            owned.touched = revision;
        }
    }

    fn note_owners<T: Stored>(
        &mut self,
        (key, place): (&Key, Place),
        before: Option<&T>,
        after: Option<&T>,
        revision: u64,
    ) {
        let item = || (T::KIND_OF, key.clone());
        let owner = |object: Option<&T>| object.and_then(|o| controller(o.metadata())).map(|o| o.uid.clone());
        if let Some(old) = owner(before) {
            unlink(&mut self.controllers, &old, &item(), revision);
        }
        if let Some(new) = owner(after) {
            link(&mut self.controllers, &new, item(), place, revision);
        }
        let others = |object: Option<&T>| -> BTreeSet<String> {
            let owners = object.into_iter().flat_map(|o| o.metadata().owner_references.iter().flatten());
            owners.filter(|owner| owner.controller != Some(true)).map(|owner| owner.uid.clone()).collect()
        };
        for uid in others(before) {
            unlink(&mut self.other_owners, &uid, &item(), revision);
        }
        for uid in others(after) {
            link(&mut self.other_owners, &uid, item(), place, revision);
        }
    }
}

impl Store {
    /// The objects of a kind whose controller has this uid, by namespace and name.
    pub fn owned_by<'a, T: Stored>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let owned = self.index.controllers.get(uid).into_iter().flat_map(|owned| &owned.things);
        let table = T::table(self);
        owned.filter(|((kind, _), _)| *kind == T::KIND_OF).filter_map(|(_, place)| table.at(*place))
    }

    /// The revision of the last write of anything whose controller has this uid; 0 if nothing has.
    pub(crate) fn touched(&self, uid: &str) -> u64 {
        self.index.controllers.get(uid).map_or(0, |owned| owned.touched)
    }

    /// Everything that names this uid among its owners.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<(Kind, Key)> {
        let (controllers, others) = (&self.index.controllers, &self.index.other_owners);
        let owned = controllers.get(uid).into_iter().chain(others.get(uid));
        owned.flat_map(|owned| owned.things.keys()).cloned().collect()
    }

    /// The pods bound to a node, finished and terminating ones included, by namespace and name.
    pub fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
        let places = self.index.nodes.get(node).into_iter().flat_map(BTreeMap::values);
        let table = Pod::table(self);
        places.filter_map(|place| table.at(*place))
    }

    /// The pods of a namespace that have all of these labels, by name; with no label, all of them.
    pub fn pods_labelled<'a>(
        &'a self,
        namespace: &'a str,
        labels: &BTreeMap<String, String>,
    ) -> Box<dyn Iterator<Item = &'a Arc<Pod>> + 'a> {
        let index = self.index.labels.get(namespace);
        let with = |(label, value): (&String, &String)| index?.get(label)?.get(value);
        // A label that nobody has decides, too.
        let Some(fewest) = labels.iter().map(with).min_by_key(|names| names.map_or(0, BTreeMap::len)) else {
            return Box::new(self.list_in::<Pod>(namespace));
        };
        let table = Pod::table(self);
        let pods = fewest.into_iter().flat_map(BTreeMap::values).filter_map(|place| table.at(*place));
        if labels.len() == 1 {
            return Box::new(pods);
        }
        let labels = labels.clone();
        let has_all = move |pod: &&Arc<Pod>| {
            let own = pod.metadata.labels.as_ref();
            labels.iter().all(|(label, value)| own.and_then(|own| own.get(label)) == Some(value))
        };
        Box::new(pods.filter(has_all))
    }
}

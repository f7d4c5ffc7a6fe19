//! The indexes that keep the cost of a decision at the size of its answer: pods by node, and anything by its controller or
//! another owner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{Key, Kind, Store, Stored};

/// The indexes, always as fresh as the tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    controllers: BTreeMap<String, BTreeSet<(Kind, Key)>>,
    /// Under owners that are not controllers, which are rare.
    other_owners: BTreeMap<String, BTreeSet<(Kind, Key)>>,
    nodes: BTreeMap<String, BTreeSet<Key>>,
    labels: BTreeMap<String, Labelled>,
}

/// The pods of a namespace: names by label and value.
type Labelled = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Enters a pod under its labels, or takes it out.
fn label(index: &mut BTreeMap<String, Labelled>, key: &Key, labels: &BTreeMap<String, String>, is: bool) {
    if is {
        let namespace = index.entry(key.namespace.clone()).or_default();
        for (label, value) in labels {
            let values = namespace.entry(label.clone()).or_default();
            values.entry(value.clone()).or_default().insert(key.name.clone());
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

/// Moves `item` from one entry of an index to another.
fn relink<V: Ord>(
    index: &mut BTreeMap<String, BTreeSet<V>>,
    before: Option<&str>,
    after: Option<&str>,
    item: V,
) {
    if before == after {
        return;
    }
    if let Some(old) = before
        && let Some(set) = index.get_mut(old)
    {
        set.remove(&item);
        if set.is_empty() {
            index.remove(old);
        }
    }
    if let Some(new) = after {
        index.entry(new.to_owned()).or_default().insert(item);
    }
}

impl Index {
    pub(super) fn note<T: Stored>(&mut self, key: &Key, before: Option<&T>, after: Option<&T>) {
        let same_owners = before
            .zip(after)
            .is_some_and(|(old, new)| old.metadata().owner_references == new.metadata().owner_references);
        if !same_owners {
            self.note_owners(key, before, after);
        }
        let (old, new) = (before.and_then(T::node_name), after.and_then(T::node_name));
        if old != new {
            relink(&mut self.nodes, old, new, key.clone());
        }
        if T::KIND_OF == Kind::Pod {
            let old = before.and_then(|object| object.metadata().labels.as_ref());
            let new = after.and_then(|object| object.metadata().labels.as_ref());
            if old != new {
                for (labels, is) in [(old, false), (new, true)] {
                    if let Some(labels) = labels {
                        label(&mut self.labels, key, labels, is);
                    }
                }
            }
        }
    }

    fn note_owners<T: Stored>(&mut self, key: &Key, before: Option<&T>, after: Option<&T>) {
        let owner = |object: Option<&T>| object.and_then(|o| controller(o.metadata())).map(|o| o.uid.clone());
        let (old, new) = (owner(before), owner(after));
        relink(&mut self.controllers, old.as_deref(), new.as_deref(), (T::KIND_OF, key.clone()));
        let others = |object: Option<&T>| -> BTreeSet<String> {
            let owners = object.into_iter().flat_map(|o| o.metadata().owner_references.iter().flatten());
            owners.filter(|owner| owner.controller != Some(true)).map(|owner| owner.uid.clone()).collect()
        };
        let (old, new) = (others(before), others(after));
        for uid in old.symmetric_difference(&new) {
            let entry = (T::KIND_OF, key.clone());
            let (was, is) =
                (old.contains(uid).then_some(uid.as_str()), new.contains(uid).then_some(uid.as_str()));
            relink(&mut self.other_owners, was, is, entry);
        }
    }
}

impl Store {
    /// The objects of a kind whose controller has this uid, by namespace and name.
    pub fn owned_by<'a, T: Stored>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let keys = self.index.controllers.get(uid).into_iter().flatten();
        keys.filter(|(kind, _)| *kind == T::KIND_OF)
            .filter_map(|(_, key)| self.get::<T>(&key.namespace, &key.name))
    }

    /// Everything that names this uid among its owners.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<(Kind, Key)> {
        let controlled = self.index.controllers.get(uid).into_iter().flatten();
        controlled.chain(self.index.other_owners.get(uid).into_iter().flatten()).cloned().collect()
    }

    /// The pods bound to a node, finished and terminating ones included, by namespace and name.
    pub fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
        let keys = self.index.nodes.get(node).into_iter().flatten();
        keys.filter_map(|key| self.get::<Pod>(&key.namespace, &key.name))
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
        let Some(fewest) = labels.iter().map(with).min_by_key(|names| names.map_or(0, BTreeSet::len)) else {
            return Box::new(self.list_in::<Pod>(namespace));
        };
        let labels = labels.clone();
        let has_all = move |pod: &&Arc<Pod>| {
            let own = pod.metadata.labels.as_ref();
            labels.iter().all(|(label, value)| own.and_then(|own| own.get(label)) == Some(value))
        };
        let pods = fewest.into_iter().flatten().filter_map(move |name| self.get::<Pod>(namespace, name));
        Box::new(pods.filter(has_all))
    }
}

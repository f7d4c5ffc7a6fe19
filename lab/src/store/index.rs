//! The two indexes that keep the cost of a decision at the size of its answer: pods by node, and anything by its controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{Key, Kind, Store, Stored};

/// The indexes, always as fresh as the tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_owner: BTreeMap<String, BTreeSet<(Kind, Key)>>,
    by_node: BTreeMap<String, BTreeSet<Key>>,
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
        let owner = |object: Option<&T>| object.and_then(|o| controller(o.metadata())).map(|o| o.uid.clone());
        let (old, new) = (owner(before), owner(after));
        relink(&mut self.by_owner, old.as_deref(), new.as_deref(), (T::KIND_OF, key.clone()));
        let (old, new) = (before.and_then(T::node_name), after.and_then(T::node_name));
        relink(&mut self.by_node, old, new, key.clone());
    }
}

impl Store {
    /// The objects of a kind whose controller has this uid, by namespace and name.
    pub fn owned_by<'a, T: Stored>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let keys = self.index.by_owner.get(uid).into_iter().flatten();
        keys.filter(|(kind, _)| *kind == T::KIND_OF)
            .filter_map(|(_, key)| self.get::<T>(&key.namespace, &key.name))
    }

    /// Everything whose controller has this uid.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<(Kind, Key)> {
        self.index.by_owner.get(uid).into_iter().flatten().cloned().collect()
    }

    /// The pods bound to a node, finished and terminating ones included, by namespace and name.
    pub fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
        let keys = self.index.by_node.get(node).into_iter().flatten();
        keys.filter_map(|key| self.get::<Pod>(&key.namespace, &key.name))
    }
}

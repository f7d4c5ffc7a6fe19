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
        let (old, new) = (before.and_then(T::node_name), after.and_then(T::node_name));
        relink(&mut self.nodes, old, new, key.clone());
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
}

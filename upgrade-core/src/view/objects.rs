//! Objects by name.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::RangeFrom;

/// The objects of one kind: found by a hash of their name, and walked through in the order of names. A cluster's changes look
/// up some object thousands of times for each time that all are listed, and names that differ only at their end are slow to
/// search for by order.
#[derive(Clone, Debug)]
pub(super) struct Objects<K, V> {
    by_name: HashMap<K, V>,
    names: BTreeSet<K>,
}

impl<K, V> Default for Objects<K, V> {
    fn default() -> Self {
        Self { by_name: HashMap::new(), names: BTreeSet::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord, V> Objects<K, V> {
    pub(super) fn get(&self, name: &K) -> Option<&V> {
        self.by_name.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &K) -> Option<&mut V> {
        self.by_name.get_mut(name)
    }

    /// Puts an object in the place of the one with its name.
    pub(super) fn insert(&mut self, name: K, object: V) {
        if let Some(known) = self.by_name.get_mut(&name) {
            *known = object;
            return;
        }
        self.names.insert(name.clone());
        self.by_name.insert(name, object);
    }

    pub(super) fn remove(&mut self, name: &K) -> Option<V> {
        let removed = self.by_name.remove(name)?;
        self.names.remove(name);
        Some(removed)
    }

    /// All names, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.names.iter()
    }

    /// All objects, in the order of their names.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.names.iter().filter_map(|name| self.by_name.get(name))
    }

    /// The objects from a name on.
    pub(super) fn range(&self, from: RangeFrom<K>) -> impl Iterator<Item = (&K, &V)> + use<'_, K, V> {
        self.names.range(from).filter_map(|name| Some((name, self.by_name.get(name)?)))
    }
}

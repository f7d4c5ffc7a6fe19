//! One kind's objects and the log of what happened to them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// How many changes of a kind are remembered. A reader further behind lists anew, as with etcd after a compaction.
const REMEMBERED: usize = 4_096;

/// Namespace (empty for kinds without) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace, or empty.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// From its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeType {
    /// The object is new.
    Added,
    /// It changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change, as the log keeps it.
#[derive(Clone, Debug)]
pub struct Logged<T> {
    /// The revision of the write.
    pub revision: u64,
    /// What it did.
    pub change: ChangeType,
    /// The object after it; of a deletion, the last state.
    pub object: Arc<T>,
    /// The object before it.
    pub before: Option<Arc<T>>,
}

/// The log does not reach back so far: list anew (the API's 410).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Expired {
    /// What was asked for.
    pub asked: u64,
    /// From where on the log is whole.
    pub oldest: u64,
}

/// The objects of one kind.
#[derive(Clone, Debug)]
pub struct Table<T> {
    objects: BTreeMap<String, BTreeMap<String, Arc<T>>>,
    count: usize,
    changes: VecDeque<Logged<T>>,
    forgotten: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), count: 0, changes: VecDeque::new(), forgotten: 0 }
    }
}

impl<T> Table<T> {
    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The revision of the last change; 0 if there was none.
    pub fn last_change(&self) -> u64 {
        self.changes.back().map_or(self.forgotten, |last| last.revision)
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.objects.get(namespace)?.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.objects.values().flat_map(BTreeMap::values)
    }

    /// The objects that come after a place in the order of namespaces and names.
    pub(crate) fn iter_after(&self, place: Option<(&str, &str)>) -> impl Iterator<Item = &Arc<T>> {
        let (namespace, name) = place.unwrap_or_default();
        let beyond = (Bound::Excluded(name), Bound::Unbounded);
        let rest =
            self.objects.get(namespace).into_iter().flat_map(move |names| names.range::<str, _>(beyond));
        let others = self.objects.range::<str, _>((Bound::Excluded(namespace), Bound::Unbounded));
        let others = others.flat_map(|(_, names)| names);
        rest.chain(others).map(|(_, object)| object)
    }

    pub(crate) fn iter_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> + use<'_, T> {
        self.objects.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn changes_since(&self, revision: u64) -> Result<impl Iterator<Item = &Logged<T>>, Expired> {
        if revision < self.forgotten {
            return Err(Expired { asked: revision, oldest: self.forgotten });
        }
        let from = self.changes.partition_point(|logged| logged.revision <= revision);
        Ok(self.changes.range(from..))
    }

    pub(super) fn insert(&mut self, key: Key, object: Arc<T>) {
        if self.objects.entry(key.namespace).or_default().insert(key.name, object).is_none() {
            self.count += 1;
        }
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<T>> {
        let names = self.objects.get_mut(namespace)?;
        let removed = names.remove(name)?;
        if names.is_empty() {
            self.objects.remove(namespace);
        }
        self.count -= 1;
        Some(removed)
    }

    pub(super) fn log(&mut self, logged: Logged<T>) {
        self.changes.push_back(logged);
        while self.changes.len() > REMEMBERED {
            if let Some(oldest) = self.changes.pop_front() {
                self.forgotten = oldest.revision;
            }
        }
    }
}

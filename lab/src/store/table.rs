//! One kind's objects and the log of what happened to them.

use std::collections::{BTreeMap, HashMap, VecDeque};
#[cfg(feature = "http")]
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

/// How much of an object a write has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Anything.
    Whole,
    /// What it reports of itself: a status, endpoints, a note that nobody selects by. Also of an object that is gone: nothing
    /// else.
    Report,
    /// A pod has got its node.
    Placed,
    /// A pod was told to go.
    Going,
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
    /// The object before it. In a world that nobody watches over HTTP there is one only where everything may have changed.
    pub before: Option<Arc<T>>,
    /// How much of it has changed.
    pub scope: Scope,
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

/// Where an object stands in its table, for as long as it is there.
pub(super) type Place = usize;

/// The objects of one kind.
#[derive(Clone, Debug)]
pub struct Table<T> {
    /// The places by namespace and name, in order.
    names: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Place>>,
    /// The same, hashed: most questions are for one of thousands of long names that differ at their end.
    places: HashMap<Arc<str>, HashMap<Arc<str>, Place>>,
    /// The objects with the revision of their last write, by place.
    objects: Vec<Option<(Arc<T>, u64)>>,
    /// Places that are free again.
    free: Vec<Place>,
    changes: VecDeque<Logged<T>>,
    forgotten: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        let (objects, free) = (Vec::new(), Vec::new());
        let (names, places) = (BTreeMap::new(), HashMap::new());
        Self { names, places, objects, free, changes: VecDeque::new(), forgotten: 0 }
    }
}

impl<T> Table<T> {
    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len() - self.free.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The revision of the last change; 0 if there was none.
    pub fn last_change(&self) -> u64 {
        self.changes.back().map_or(self.forgotten, |last| last.revision)
    }

    pub(super) fn place(&self, namespace: &str, name: &str) -> Option<Place> {
        self.places.get(namespace)?.get(name).copied()
    }

    pub(super) fn at(&self, place: Place) -> Option<&Arc<T>> {
        self.objects.get(place)?.as_ref().map(|(object, _)| object)
    }

    /// The object in a place, for a write with this revision.
    pub(super) fn at_mut(&mut self, place: Place, revision: u64) -> Option<&mut Arc<T>> {
        let (object, written) = self.objects.get_mut(place)?.as_mut()?;
        *written = revision;
        Some(object)
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.at(self.place(namespace, name)?)
    }

    /// The revision of the last write of an object.
    pub(crate) fn revision_of(&self, namespace: &str, name: &str) -> Option<u64> {
        self.objects.get(self.place(namespace, name)?)?.as_ref().map(|(_, revision)| *revision)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.names.values().flat_map(BTreeMap::values).filter_map(|place| self.at(*place))
    }

    #[cfg(feature = "http")]
    /// The objects that come after a place in the order of namespaces and names.
    pub(crate) fn iter_after(&self, place: Option<(&str, &str)>) -> impl Iterator<Item = &Arc<T>> {
        let (namespace, name) = place.unwrap_or_default();
        let beyond = (Bound::Excluded(name), Bound::Unbounded);
        let rest = self.names.get(namespace).into_iter().flat_map(move |names| names.range::<str, _>(beyond));
        let others = self.names.range::<str, _>((Bound::Excluded(namespace), Bound::Unbounded));
        let others = others.flat_map(|(_, names)| names);
        rest.chain(others).filter_map(|(_, place)| self.at(*place))
    }

    pub(crate) fn iter_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> + use<'_, T> {
        let places = self.names.get(namespace).into_iter().flat_map(BTreeMap::values);
        places.filter_map(|place| self.at(*place))
    }

    pub(crate) fn changes_since(&self, revision: u64) -> Result<impl Iterator<Item = &Logged<T>>, Expired> {
        if revision < self.forgotten {
            return Err(Expired { asked: revision, oldest: self.forgotten });
        }
        let from = self.changes.partition_point(|logged| logged.revision <= revision);
        Ok(self.changes.range(from..))
    }

    /// Puts an object in; it keeps its place as long as it is there.
    pub(super) fn insert(&mut self, key: &Key, object: Arc<T>, revision: u64) -> Place {
        if let Some(place) = self.place(&key.namespace, &key.name) {
            self.objects[place] = Some((object, revision));
            return place;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.objects.push(None);
            self.objects.len() - 1
        });
        self.objects[place] = Some((object, revision));
        let (namespace, name) = match self.names.get_key_value(key.namespace.as_str()) {
            Some((namespace, _)) => (Arc::clone(namespace), Arc::<str>::from(key.name.as_str())),
            None => (key.namespace.as_str().into(), key.name.as_str().into()),
        };
        self.places.entry(Arc::clone(&namespace)).or_default().insert(Arc::clone(&name), place);
        self.names.entry(namespace).or_default().insert(name, place);
        place
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> Option<(Place, Arc<T>)> {
        let places = self.places.get_mut(namespace)?;
        let place = places.remove(name)?;
        let names = self.names.get_mut(namespace)?;
        names.remove(name);
        if names.is_empty() {
            self.names.remove(namespace);
            self.places.remove(namespace);
        }
        let (object, _) = self.objects.get_mut(place)?.take()?;
        self.free.push(place);
        Some((place, object))
    }

    pub(super) fn log(&mut self, logged: Logged<T>) {
        self.changes.push_back(logged);
        while self.changes.len() > REMEMBERED {
            if let Some(oldest) = self.changes.pop_front() {
                self.forgotten = oldest.revision;
            }
        }
    }

    /// The last change was a report of the object in this place: a newer one tells it, too.
    pub(super) fn unsay_report(&mut self, place: Place) {
        let is_last = |last: &Logged<T>| {
            last.scope == Scope::Report
                && self.at(place).is_some_and(|object| Arc::ptr_eq(object, &last.object))
        };
        if self.changes.back().is_some_and(is_last) {
            self.changes.pop_back();
        }
    }

    /// Forgets what has happened so far: who asks for it lists anew.
    pub(super) fn forget_changes(&mut self) {
        self.forgotten = self.last_change();
        self.changes.clear();
    }
}

//! The API server's memory: one table per kind, each write stamped and told.
//!
//! Objects are k8s-openapi's own types, so that they can be served as they are and fields nobody models survive.

mod index;
mod kinds;
mod table;

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

pub(crate) use index::controller;
pub use kinds::{Kind, KindNames, KindVisitor, Store, Stored, with_kind};
pub use table::{ChangeType, Expired, Key, Logged, Scope, Table};

use crate::error::{ApiError, Cause};

impl Store {
    /// The revision of the last write: the highest `resourceVersion` there is.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The time as objects carry it, in whole seconds.
    pub fn time(&self) -> Time {
        Time(whole_second(self.now))
    }

    /// One object. Kinds without a namespace take an empty one.
    pub fn get<T: Stored>(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        T::table(self).get(namespace, name)
    }

    /// One object, or the API's 404.
    pub fn find<T: Stored>(&self, namespace: &str, name: &str) -> Result<&Arc<T>, ApiError> {
        self.get(namespace, name).ok_or_else(|| ApiError::not_found::<T>(name))
    }

    /// All objects of a kind, by namespace and name.
    pub fn list<T: Stored>(&self) -> impl Iterator<Item = &Arc<T>> {
        T::table(self).iter()
    }

    /// How many objects of a kind there are. Costs nothing.
    pub fn count<T: Stored>(&self) -> usize {
        T::table(self).len()
    }

    /// All objects of a kind in one namespace, by name.
    pub fn list_in<T: Stored>(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> + use<'_, T> {
        T::table(self).iter_in(namespace)
    }

    /// What happened to a kind after a revision, in order.
    pub fn changes_since<T: Stored>(
        &self,
        revision: u64,
    ) -> Result<impl Iterator<Item = &Logged<T>>, Expired> {
        T::table(self).changes_since(revision)
    }

    /// Lets `write` write without an effect: each of its writes is checked and answered as ever, and nothing is kept or told of
    /// it. A write does not see the ones before it. Costs what the writes themselves cost.
    pub(crate) fn trial<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        let names = self.names.clone();
        self.is_trial = true;
        let answer = write(self);
        self.is_trial = false;
        self.names = names;
        answer
    }

    /// Is nothing kept of what is written now?
    pub(crate) fn is_trial(&self) -> bool {
        self.is_trial
    }

    /// Creates an object. A missing name is made from `generateName`; a uid that is there is kept (the object is adopted from
    /// another cluster), everything else the server stamps is stamped.
    pub fn create<T: Stored>(&mut self, mut object: T) -> Result<Arc<T>, ApiError> {
        let namespace = object.metadata().namespace.clone().unwrap_or_default();
        if !namespace.is_empty() && Kind::Namespace != T::KIND_OF {
            self.find::<k8s_openapi::api::core::v1::Namespace>("", &namespace)?;
        }
        if object.metadata().name.is_none() {
            let stem = object.metadata().generate_name.clone();
            let stem = stem.ok_or_else(|| {
                let message = "Required value: name or generateName is required".to_owned();
                let field = Some("metadata.name".to_owned());
                let fault = Cause { reason: "FieldValueRequired".to_owned(), message, field };
                ApiError::invalid(KindNames::of::<T>(), "", vec![fault])
            })?;
            let name = loop {
                let name = format!("{stem}{}", self.suffix());
                if self.get::<T>(&namespace, &name).is_none() {
                    break name;
                }
            };
            object.metadata_mut().name = Some(name);
        }
        let name = object.metadata().name.clone().unwrap_or_default();
        if self.get::<T>(&namespace, &name).is_some() {
            return Err(ApiError::already_exists::<T>(&name));
        }
        let generation = T::counts_generations().then_some(1);
        let (uid, time) = (self.uid(), self.time());
        let meta = object.metadata_mut();
        meta.uid.get_or_insert(uid);
        meta.creation_timestamp.get_or_insert(time);
        meta.generation = meta.generation.or(generation);
        meta.deletion_timestamp = None;
        Ok(self.write(&Key::new(namespace, name), None, object))
    }

    /// Puts in an object that the cluster itself brings along, with a uid of its own. It takes no chance away: the names of
    /// everything that is created later do not depend on it.
    pub(crate) fn found<T: Stored>(&mut self, object: T) -> Result<Arc<T>, ApiError> {
        let names = self.names.clone();
        let found = self.create(object);
        self.names = names;
        found
    }

    /// Changes an object. A change that changes nothing writes nothing and tells nobody.
    pub fn update<T: Stored>(
        &mut self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut T),
    ) -> Result<Arc<T>, ApiError> {
        self.try_update(namespace, name, |object| {
            change(object);
            Ok(())
        })
    }

    /// As [`update`](Self::update), by somebody who may refuse after a look at the object.
    pub fn try_update<T: Stored>(
        &mut self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut T) -> Result<(), ApiError>,
    ) -> Result<Arc<T>, ApiError> {
        let before = Arc::clone(self.find::<T>(namespace, name)?);
        let mut object = T::clone(&before);
        change(&mut object)?;
        keep_server_fields(object.metadata_mut(), before.metadata());
        if object == *before {
            return Ok(before);
        }
        if T::counts_generations() && object.spec_differs(&before) {
            let meta = object.metadata_mut();
            meta.generation = Some(meta.generation.unwrap_or_default() + 1);
        }
        Ok(self.write(&Key::new(namespace, name), Some(before), object))
    }

    /// Removes an object at once. Verbs with manners (grace, preconditions) are the world's.
    pub fn delete<T: Stored>(&mut self, namespace: &str, name: &str) -> Result<Arc<T>, ApiError> {
        if self.is_trial {
            return self.find::<T>(namespace, name).cloned();
        }
        let (place, mut object) =
            T::table_mut(self).remove(namespace, name).ok_or_else(|| ApiError::not_found::<T>(name))?;
        let revision = self.revision + 1;
        self.index.note((&Key::new(namespace, name), place), Some(&*object), None, revision);
        let before = (!self.forgets).then(|| Arc::clone(&object));
        let scope = if before.is_some() { Scope::Whole } else { Scope::Report };
        set_version(Arc::make_mut(&mut object), revision);
        self.revision = revision;
        self.written |= T::KIND_OF.bit();
        let change = ChangeType::Deleted;
        T::table_mut(self).log(Logged { revision, change, object: Arc::clone(&object), before, scope });
        Ok(object)
    }

    fn write<T: Stored>(&mut self, key: &Key, before: Option<Arc<T>>, mut object: T) -> Arc<T> {
        if self.is_trial {
            // An update shows the version that it was tried on, a creation none (apiserver: DryRunnableStorage).
            return Arc::new(object);
        }
        self.revision += 1;
        object.metadata_mut().resource_version = Some(self.revision.to_string());
        let (revision, object) = (self.revision, Arc::new(object));
        let change = if before.is_some() { ChangeType::Modified } else { ChangeType::Added };
        self.written |= T::KIND_OF.bit();
        let place = T::table_mut(self).insert(key, Arc::clone(&object), revision);
        self.index.note((key, place), before.as_deref(), Some(&*object), revision);
        let scope = Scope::Whole;
        let told = Logged { revision, change, object: Arc::clone(&object), before, scope };
        T::table_mut(self).log(told);
        object
    }

    /// Changes what an object reports of itself: a status, endpoints, a note that nobody selects by. For those who have looked
    /// and have something new to say, which happens most of the time something happens: nothing is copied where nobody holds
    /// the object, and nothing compared. Names, owners, labels, node, deletion and spec stay as they are.
    pub(crate) fn report<T: Stored>(&mut self, namespace: &str, name: &str, change: impl FnOnce(&mut T)) {
        self.amend(namespace, name, Scope::Report, change);
    }

    /// The same for a change of which it is said how far it goes.
    pub(crate) fn amend<T: Stored>(
        &mut self,
        namespace: &str,
        name: &str,
        scope: Scope,
        change: impl FnOnce(&mut T),
    ) {
        let Some(place) = T::table(self).place(namespace, name).filter(|_| !self.is_trial) else { return };
        let (revision, remembers) = (self.revision + 1, !self.forgets);
        if self.forgets && scope == Scope::Report {
            // What nobody has seen yet is told once.
            T::table_mut(self).unsay_report(place);
        }
        let Some(held) = T::table_mut(self).at_mut(place, revision) else { return };
        let before = remembers.then(|| Arc::clone(held));
        let object = Arc::make_mut(held);
        change(object);
        if scope == Scope::Placed {
            // The spec has changed.
            let meta = object.metadata_mut();
            meta.generation = Some(meta.generation.unwrap_or_default() + 1);
        }
        set_version(object, revision);
        let object = Arc::clone(held);
        self.revision = revision;
        self.written |= T::KIND_OF.bit();
        self.index.touch(Some(&*object), revision);
        if scope == Scope::Placed {
            self.index.place(&Key::new(namespace, name), place, &*object);
        }
        let change = ChangeType::Modified;
        T::table_mut(self).log(Logged { revision, change, object, before, scope });
    }

    /// From now on what has happened is forgotten as soon as the controllers have seen it: who watches from further back lists
    /// anew. A world that nobody watches over HTTP saves its copies.
    pub(crate) fn forget(&mut self) {
        self.forgets = true;
    }

    /// From now on changes are remembered.
    #[cfg(any(test, feature = "http"))]
    pub(crate) fn remember(&mut self) {
        self.forgets = false;
    }

    /// The kinds that were written since this was asked last.
    pub(crate) fn take_written(&mut self) -> Kinds {
        Kinds(std::mem::take(&mut self.written))
    }

    /// Is what has happened forgotten as soon as it was seen?
    pub(crate) fn forgets(&self) -> bool {
        self.forgets
    }

    /// The controllers have seen what has happened to a kind, which is forgotten.
    pub(crate) fn has_seen<T: Stored>(&mut self) {
        T::table_mut(self).forget_changes();
    }

    /// A new uid, in the form of a random UUID.
    pub fn uid(&mut self) -> String {
        let bits = self.names.u128(..);
        let variant = (bits >> 48) & 0x3fff | 0x8000;
        format!(
            "{:08x}-{:04x}-4{:03x}-{variant:04x}-{:012x}",
            bits >> 96,
            (bits >> 80) & 0xffff,
            (bits >> 64) & 0xfff,
            bits & 0xffff_ffff_ffff
        )
    }

    /// Five characters as Kubernetes puts them behind a generated name.
    pub fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..5).map(|_| char::from(LETTERS[self.names.usize(..LETTERS.len())])).collect()
    }
}

/// Some of the kinds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kinds(u64);

impl Kinds {
    /// Each of them, in the order of [`Kind::ALL`].
    pub(crate) fn each(self) -> impl Iterator<Item = Kind> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let kind = Kind::ALL.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(*kind)
        })
    }

    /// Is this one of them?
    #[inline]
    pub(crate) const fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }
}

fn set_version<T: Stored>(object: &mut T, revision: u64) {
    let version = object.metadata_mut().resource_version.get_or_insert_default();
    version.clear();
    // Writing to a text cannot fail.
    let _ = write!(version, "{revision}");
}

/// What no client can change.
fn keep_server_fields(meta: &mut ObjectMeta, before: &ObjectMeta) {
    meta.name.clone_from(&before.name);
    meta.namespace.clone_from(&before.namespace);
    meta.uid.clone_from(&before.uid);
    meta.creation_timestamp.clone_from(&before.creation_timestamp);
    meta.resource_version.clone_from(&before.resource_version);
    meta.generation = before.generation;
}

/// Kubernetes writes times in whole seconds.
pub(crate) fn whole_second(at: Timestamp) -> Timestamp {
    let floor = jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc);
    at.round(floor).unwrap_or(at)
}

#[cfg(test)]
mod tests;

//! The garbage collector: what an owner that is gone has left behind goes too, or is let go where it shall stay.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, OwnerReference};

use super::removal::{FOREGROUND, ORPHAN, is_held};
use super::{Task, uid_of};
use crate::store::{ChangeType, Key, Kind, KindVisitor, Logged, Store, Stored, with_kind};
use crate::timing::Timing;
use crate::world::World;

/// Looks out for owners that are gone.
pub(super) fn on_change<T: Stored>(world: &mut World, logged: &Logged<T>) {
    if logged.change == ChangeType::Deleted {
        let after = world.draw(Timing::Garbage);
        world.soon(after, Task::Garbage(uid_of(&*logged.object).to_owned()));
        on_gone(world, logged.object.metadata());
    }
}

/// The same for a kind that seldom owns anything.
pub(super) fn on_leaf_change<T: Stored>(world: &mut World, logged: &Logged<T>) {
    if logged.change == ChangeType::Deleted {
        if world.store.dependents(uid_of(&*logged.object)).is_empty() {
            on_gone(world, logged.object.metadata());
        } else {
            on_change(world, logged);
        }
    }
}

/// Wakes whoever waits for an object to be gone: an owner that is deleted in the foreground, a namespace.
fn on_gone(world: &mut World, meta: &ObjectMeta) {
    let namespace = meta.namespace.clone().unwrap_or_default();
    for owner in meta.owner_references.iter().flatten() {
        let Some((kind, key)) = place_of(&namespace, owner) else { continue };
        let waits = with_kind(kind, Look(&world.store, &key))
            .is_some_and(|meta| meta.uid.as_ref() == Some(&owner.uid) && has_finalizer(&meta, FOREGROUND));
        if waits {
            world.cascade_later(kind, key, owner.uid.clone());
        }
    }
    let terminating = world
        .store
        .get::<Namespace>("", &namespace)
        .is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some());
    if terminating {
        let after = world.draw(Timing::Garbage);
        world.soon(after, Task::EmptyNamespace(namespace));
    }
}

/// Where an owner is; `None` for a kind that the lab does not know.
fn place_of(namespace: &str, owner: &OwnerReference) -> Option<(Kind, Key)> {
    let kind = Kind::of(&owner.api_version, &owner.kind)?;
    let namespace = if kind.is_namespaced() { namespace } else { "" };
    Some((kind, Key::new(namespace, owner.name.as_str())))
}

fn has_finalizer(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|own| own == finalizer)
}

struct Look<'a>(&'a Store, &'a Key);

impl KindVisitor for Look<'_> {
    type Output = Option<ObjectMeta>;

    fn visit<T: Stored>(self) -> Self::Output {
        self.0.get::<T>(&self.1.namespace, &self.1.name).map(|object| object.metadata().clone())
    }
}

struct Remove<'a>(&'a mut World, &'a Key, &'static str);

impl KindVisitor for Remove<'_> {
    type Output = ();

    fn visit<T: Stored>(self) {
        let options =
            DeleteOptions { propagation_policy: Some(self.2.to_owned()), ..DeleteOptions::default() };
        // Somebody else may have been faster.
        let _ = self.0.remove::<T>(&self.1.namespace, &self.1.name, Some(&options));
    }
}

/// Takes an owner off an object.
struct LetGo<'a>(&'a mut Store, &'a Key, &'a str);

impl KindVisitor for LetGo<'_> {
    type Output = ();

    fn visit<T: Stored>(self) {
        let _ = self.0.update::<T>(&self.1.namespace, &self.1.name, |object| {
            let meta = object.metadata_mut();
            if let Some(owners) = &mut meta.owner_references {
                owners.retain(|owner| owner.uid != self.2);
            }
            if meta.owner_references.as_ref().is_some_and(Vec::is_empty) {
                meta.owner_references = None;
            }
        });
    }
}

/// Removes the dependents of an owner that is gone: pods with their grace, anything else at once. One that has another owner
/// stays with that one.
pub(super) fn collect(world: &mut World, owner: &str) {
    for (kind, key) in world.store.dependents(owner) {
        let meta = with_kind(kind, Look(&world.store, &key)).expect("the index names what is stored");
        let mut others = meta.owner_references.iter().flatten().filter(|other| other.uid != owner);
        let kept = others.any(|other| {
            let place = place_of(&key.namespace, other);
            let found = place.and_then(|(kind, key)| with_kind(kind, Look(&world.store, &key)));
            found.is_some_and(|found| found.uid.as_ref() == Some(&other.uid))
        });
        if kept {
            with_kind(kind, LetGo(&mut world.store, &key, owner));
        } else {
            with_kind(kind, Remove(world, &key, "Background"));
        }
    }
}

/// Goes on with the deletion of an object that has dependents: lets them go, or waits until they are gone.
pub(super) fn cascade(world: &mut World, kind: Kind, key: &Key, uid: &str) {
    let Some(meta) = with_kind(kind, Look(&world.store, key)) else { return };
    if meta.uid.as_deref() != Some(uid) {
        return;
    }
    let dependents = world.store.dependents(uid);
    if has_finalizer(&meta, ORPHAN) {
        for (kind, key) in &dependents {
            with_kind(*kind, LetGo(&mut world.store, key, uid));
        }
        with_kind(kind, Release(world, key, ORPHAN));
    } else if has_finalizer(&meta, FOREGROUND) {
        let mut waiting = false;
        for (kind, key) in &dependents {
            let meta = with_kind(*kind, Look(&world.store, key)).expect("the index names what is stored");
            let blocks =
                |owner: &OwnerReference| owner.uid == uid && owner.block_owner_deletion == Some(true);
            waiting |= meta.owner_references.iter().flatten().any(blocks);
            if meta.deletion_timestamp.is_none() {
                let own = meta.uid.as_deref().unwrap_or_default();
                let policy = if world.store.dependents(own).is_empty() { "Background" } else { "Foreground" };
                with_kind(*kind, Remove(world, key, policy));
            }
        }
        // The deletion of the last of them comes back here.
        if !waiting {
            with_kind(kind, Release(world, key, FOREGROUND));
        }
    }
}

/// Takes a finalizer off an object that is being deleted, which may be the last thing that kept it.
struct Release<'a>(&'a mut World, &'a Key, &'static str);

impl KindVisitor for Release<'_> {
    type Output = ();

    fn visit<T: Stored>(self) {
        let (world, Key { namespace, name }) = (self.0, self.1);
        let freed = world.store.update::<T>(namespace, name, |object| {
            let meta = object.metadata_mut();
            if let Some(finalizers) = &mut meta.finalizers {
                finalizers.retain(|own| own != self.2);
            }
            if meta.finalizers.as_ref().is_some_and(Vec::is_empty) {
                meta.finalizers = None;
            }
        });
        if freed.is_ok_and(|object| !is_held(object.metadata())) {
            // It was just written.
            let _ = world.store.delete::<T>(namespace, name);
        }
    }
}

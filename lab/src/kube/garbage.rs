//! The garbage collector: what an owner that is gone has left behind goes too.

use super::{Task, timing, uid_of};
use crate::store::{ChangeType, Key, Kind, KindVisitor, Logged, Store, Stored, with_kind};
use crate::world::World;

/// Looks out for owners that are gone.
pub(super) fn on_change<T: Stored>(world: &mut World, logged: &Logged<T>) {
    if logged.change == ChangeType::Deleted {
        let after = world.draw(timing::GARBAGE);
        world.soon(after, Task::Garbage(uid_of(&*logged.object).to_owned()));
    }
}

struct Delete<'a>(&'a mut Store, &'a Key);

impl KindVisitor for Delete<'_> {
    type Output = ();

    fn visit<T: Stored>(self) {
        // Somebody else may have been faster.
        let _ = self.0.delete::<T>(&self.1.namespace, &self.1.name);
    }
}

/// Removes the dependents of an owner: pods with their grace, anything else at once.
pub(super) fn collect(world: &mut World, owner: &str) {
    for (kind, key) in world.store.dependents(owner) {
        if kind == Kind::Pod {
            // Somebody else may have been faster.
            let _ = world.delete_pod(&key.namespace, &key.name, None);
        } else {
            with_kind(kind, Delete(&mut world.store, &key));
        }
    }
}

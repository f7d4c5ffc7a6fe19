//! Deletion of anything: finalizers, propagation to dependents, and namespaces with what is in them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta};

use super::api::{check_preconditions, is_dry_run};
use super::{Task, uid_of};
use crate::error::ApiError;
use crate::store::{Key, Kind, KindVisitor, Stored, with_kind};
use crate::timing::Timing;
use crate::world::World;

/// The finalizer of an object that waits for its dependents to go.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependents are being let go.
pub(super) const ORPHAN: &str = "orphan";

/// What has become of an object that was to be deleted.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "http"), expect(dead_code, reason = "the http face shows what was deleted"))]
pub(crate) enum Removal<T> {
    /// It is gone; this was its last state.
    Gone(Arc<T>),
    /// It has been told to go, and stays until its grace is over, its finalizers are removed, or its dependents are gone.
    Going(Arc<T>),
}

#[cfg(feature = "http")]
impl<T> Removal<T> {
    pub(crate) fn object(&self) -> &Arc<T> {
        match self {
            Self::Gone(object) | Self::Going(object) => object,
        }
    }
}

/// What happens to the dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    Background,
    Foreground,
    Orphan,
}

impl Propagation {
    fn of(kind: Kind, options: Option<&DeleteOptions>) -> Result<Self, ApiError> {
        let policy = options.and_then(|options| options.propagation_policy.as_deref());
        let orphans = options.and_then(|options| options.orphan_dependents);
        match (policy, orphans) {
            (Some(_), Some(_)) => Err(ApiError::bad_request(
                "DeletionPropagation: orphanDependents and deletionPropagation cannot be both set",
            )),
            (Some("Background"), None) | (None, Some(false)) => Ok(Self::Background),
            (Some("Foreground"), None) => Ok(Self::Foreground),
            (Some("Orphan"), None) | (None, Some(true)) => Ok(Self::Orphan),
            (Some(other), None) => Err(ApiError::bad_request(format!(
                "propagationPolicy: Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""
            ))),
            // A Job's pods are left where nobody says otherwise (Kubernetes: jobStrategy.DefaultGarbageCollectionPolicy).
            (None, None) if kind == Kind::Job => Ok(Self::Orphan),
            (None, None) => Ok(Self::Background),
        }
    }

    const fn finalizer(self) -> Option<&'static str> {
        match self {
            Self::Background => None,
            Self::Foreground => Some(FOREGROUND),
            Self::Orphan => Some(ORPHAN),
        }
    }
}

/// Has the object finalizers that keep it?
pub(crate) fn is_held(meta: &ObjectMeta) -> bool {
    meta.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
}

impl World {
    /// Deletes an object as `DELETE` does: pods with their grace, namespaces with what is in them, everything else by the
    /// propagation policy. `dryRun` changes nothing.
    pub(crate) fn remove<T: Stored>(
        &mut self,
        namespace: &str,
        name: &str,
        options: Option<&DeleteOptions>,
    ) -> Result<Removal<T>, ApiError> {
        let object = Arc::clone(self.store.find::<T>(namespace, name)?);
        check_preconditions::<T>(name, object.metadata(), options)?;
        let propagation = Propagation::of(T::KIND_OF, options)?;
        if is_dry_run(options) {
            return Ok(Removal::Going(object));
        }
        match T::KIND_OF {
            Kind::Pod => {
                self.delete_pod(namespace, name, options)?;
            }
            Kind::Namespace => self.terminate_namespace(name)?,
            _ => self.mark_or_delete::<T>(namespace, name, propagation)?,
        }
        Ok(match self.store.get::<T>(namespace, name) {
            Some(left) => Removal::Going(Arc::clone(left)),
            None => Removal::Gone(object),
        })
    }

    fn mark_or_delete<T: Stored>(
        &mut self,
        namespace: &str,
        name: &str,
        propagation: Propagation,
    ) -> Result<(), ApiError> {
        let finalizer = propagation.finalizer();
        let object = self.store.find::<T>(namespace, name)?;
        if finalizer.is_none() && !is_held(object.metadata()) {
            self.store.delete::<T>(namespace, name)?;
            return Ok(());
        }
        let uid = uid_of(&**object).to_owned();
        let time = self.store.time();
        self.store.update::<T>(namespace, name, |object| {
            let meta = object.metadata_mut();
            meta.deletion_timestamp.get_or_insert(time);
            meta.deletion_grace_period_seconds.get_or_insert(0);
            if let Some(finalizer) = finalizer {
                let finalizers = meta.finalizers.get_or_insert_default();
                if !finalizers.iter().any(|own| own == finalizer) {
                    finalizers.push(finalizer.to_owned());
                }
            }
        })?;
        if finalizer.is_some() {
            self.cascade_later(T::KIND_OF, Key::new(namespace, name), uid);
        }
        Ok(())
    }

    /// The garbage collector will look at an object that is being deleted.
    pub(super) fn cascade_later(&mut self, kind: Kind, key: Key, uid: String) {
        let after = self.draw(Timing::Garbage);
        self.soon(after, Task::Cascade(kind, key, uid));
    }

    fn terminate_namespace(&mut self, name: &str) -> Result<(), ApiError> {
        if matches!(name, "default" | "kube-system" | "kube-public" | "kube-node-lease") {
            let names = Kind::Namespace.names();
            return Err(ApiError::forbidden(names, name, "this namespace may not be deleted"));
        }
        let time = self.store.time();
        self.store.update::<Namespace>("", name, |namespace| {
            namespace.metadata.deletion_timestamp.get_or_insert(time);
            namespace.metadata.deletion_grace_period_seconds.get_or_insert(0);
            namespace.status.get_or_insert_default().phase = Some("Terminating".to_owned());
        })?;
        let after = self.draw(Timing::Garbage);
        self.soon(after, Task::EmptyNamespace(name.to_owned()));
        Ok(())
    }
}

/// Deletes what is left in a namespace that is being deleted, and the namespace when nothing is left.
pub(super) fn empty_namespace(world: &mut World, name: &str) {
    let terminating = |namespace: &Arc<Namespace>| namespace.metadata.deletion_timestamp.is_some();
    if !world.store.get::<Namespace>("", name).is_some_and(terminating) {
        return;
    }
    // Controllers go before what they would replace.
    let kinds = Kind::ALL.iter().filter(|kind| kind.is_namespaced() && **kind != Kind::Pod);
    let mut left = 0;
    for kind in kinds.chain(&[Kind::Pod]) {
        left += with_kind(*kind, Empty { world, namespace: name });
    }
    let held = world.store.get::<Namespace>("", name).is_some_and(|namespace| is_held(&namespace.metadata));
    if left == 0 && !held {
        world.store.delete::<Namespace>("", name).expect("it was just found");
    }
}

/// Deletes everything of a kind in a namespace; says how much stays for now.
struct Empty<'a> {
    world: &'a mut World,
    namespace: &'a str,
}

impl KindVisitor for Empty<'_> {
    type Output = usize;

    fn visit<T: Stored>(self) -> usize {
        let names: Vec<(String, bool)> = self
            .world
            .store
            .list_in::<T>(self.namespace)
            .map(|object| {
                let meta = object.metadata();
                (meta.name.clone().unwrap_or_default(), meta.deletion_timestamp.is_some())
            })
            .collect();
        for (name, going) in names {
            if !going {
                let options = DeleteOptions {
                    propagation_policy: Some("Background".to_owned()),
                    ..DeleteOptions::default()
                };
                // Its grace is its own; whatever else stands in the way, the object stays and is counted.
                let _ = self.world.remove::<T>(self.namespace, &name, Some(&options));
            }
        }
        self.world.store.list_in::<T>(self.namespace).count()
    }
}

/// A pod's processes have ended: it is gone, unless somebody still holds it.
pub(super) fn finish_pod(world: &mut World, key: &Key) {
    let held = world.store.get::<Pod>(&key.namespace, &key.name).is_some_and(|pod| is_held(&pod.metadata));
    let _ = if held {
        world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
            pod.metadata.deletion_grace_period_seconds = Some(0);
        })
    } else {
        world.store.delete::<Pod>(&key.namespace, &key.name)
    };
}

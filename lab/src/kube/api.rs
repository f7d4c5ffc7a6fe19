//! The API's verbs that are more than a write: deletion with grace, binding, cordon and restart. Both faces use them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Node, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Time};
use serde_json::Value;
use upgrade_core::model::{
    EXCLUDE_LABEL, Labels, RESTART_ANNOTATION, RESTARTED_AT_ANNOTATION, RestartId, RunId, WorkloadKind,
    WorkloadRef,
};

use super::pods;
use super::removal::is_held;
use crate::error::ApiError;
use crate::store::{Kind, KindVisitor, Scope, Store, Stored, whole_second, with_kind};
use crate::world::World;

/// Do the preconditions hold?
pub(crate) fn check_preconditions<T: Stored>(
    name: &str,
    meta: &ObjectMeta,
    options: Option<&DeleteOptions>,
) -> Result<(), ApiError> {
    let Some(wanted) = options.and_then(|options| options.preconditions.as_ref()) else { return Ok(()) };
    let actual = meta.uid.as_deref().unwrap_or_default();
    match (&wanted.uid, &wanted.resource_version) {
        (Some(uid), _) if uid != actual => Err(ApiError::wrong_uid::<T>(name, uid, actual)),
        (_, Some(version)) if Some(version) != meta.resource_version.as_ref() => {
            let actual = meta.resource_version.as_deref().unwrap_or_default();
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {actual}"
            );
            Err(ApiError::conflict::<T>(name, &why))
        }
        _ => Ok(()),
    }
}

impl World {
    /// Deletes a pod as `DELETE .../pods/{name}` does: it is told to go and given its grace; one that has no node or has ended
    /// is removed at once. Asking again may shorten the grace and never extends it. `dryRun` changes nothing.
    pub fn delete_pod(
        &mut self,
        namespace: &str,
        name: &str,
        options: Option<&DeleteOptions>,
    ) -> Result<Arc<Pod>, ApiError> {
        let pod = Arc::clone(self.store.find::<Pod>(namespace, name)?);
        check_preconditions::<Pod>(name, &pod.metadata, options)?;
        if is_dry_run(options) {
            return Ok(pod);
        }
        let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        let asked = options.and_then(|options| options.grace_period_seconds).unwrap_or(own);
        let grace = match asked {
            _ if pods::node_of(&pod).is_none() || pods::is_finished(&pod) => 0,
            negative if negative < 0 => 1,
            asked => asked,
        };
        if grace == 0 && !is_held(&pod.metadata) {
            return self.store.delete::<Pod>(namespace, name);
        }
        let deadline = whole_second(self.now()) + SignedDuration::from_secs(grace);
        if !pods::is_terminating(&pod) && !self.store.is_trial() {
            // Nobody else holds it when it is written.
            drop(pod);
            self.store.amend::<Pod>(namespace, name, Scope::Going, |pod| {
                pod.metadata.deletion_timestamp = Some(Time(deadline));
                pod.metadata.deletion_grace_period_seconds = Some(grace);
            });
            return self.store.find::<Pod>(namespace, name).cloned();
        }
        self.store.update::<Pod>(namespace, name, |pod| {
            let meta = &mut pod.metadata;
            if meta.deletion_timestamp.as_ref().is_none_or(|before| deadline < before.0) {
                meta.deletion_timestamp = Some(Time(deadline));
                meta.deletion_grace_period_seconds = Some(grace);
            }
        })
    }

    /// Binds a pod to a node, once.
    pub fn bind(&mut self, namespace: &str, name: &str, node: &str) -> Result<Arc<Pod>, ApiError> {
        self.store.find::<Node>("", node)?;
        let time = self.store.time();
        if let Some(bound) = pods::node_of(self.store.find::<Pod>(namespace, name)?) {
            let why = format!("pod {name} is already assigned to node \"{bound}\"");
            return Err(ApiError::conflict::<Pod>(name, &why));
        }
        self.store.amend::<Pod>(namespace, name, Scope::Placed, |pod| {
            pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
            let status = pod.status.get_or_insert_default();
            pods::set_condition(status, "PodScheduled", true, None, None, &time);
        });
        self.store.find::<Pod>(namespace, name).cloned()
    }

    /// Sets or clears `spec.unschedulable`; already so changes nothing. A uid that is given must be the node's.
    pub fn set_unschedulable(
        &mut self,
        name: &str,
        uid: Option<&str>,
        unschedulable: bool,
    ) -> Result<Arc<Node>, ApiError> {
        set_unschedulable(&mut self.store, name, uid, unschedulable)
    }

    /// Writes the restart annotations into a workload's pod template. The same restart again changes nothing. Kinds that have
    /// no rollout are refused.
    pub fn restart(
        &mut self,
        workload: &WorkloadRef,
        uid: &str,
        id: &RestartId,
        at: Timestamp,
    ) -> Result<(), ApiError> {
        restart(&mut self.store, workload, uid, id, at)
    }
}

/// Writes to the store, or only tries.
pub(crate) fn on_store<T>(world: &mut World, dry_run: bool, write: impl FnOnce(&mut Store) -> T) -> T {
    if dry_run { world.store.trial(write) } else { write(&mut world.store) }
}

struct LabelsOf<'a>(&'a Store, &'a str, &'a str);

impl KindVisitor for LabelsOf<'_> {
    type Output = Labels;

    fn visit<T: Stored>(self) -> Labels {
        let found = self.0.get::<T>(self.1, self.2);
        found.and_then(|object| object.metadata().labels.clone()).unwrap_or_default()
    }
}

/// The labels of an object; none of one that is not there.
pub(crate) fn labels_of(store: &Store, kind: Kind, namespace: &str, name: &str) -> Labels {
    with_kind(kind, LabelsOf(store, namespace, name))
}

struct Written<'a>(&'a Store, &'a str, &'a str);

impl KindVisitor for Written<'_> {
    type Output = Option<Value>;

    fn visit<T: Stored>(self) -> Option<Value> {
        let found = self.0.get::<T>(self.1, self.2)?;
        Some(serde_json::to_value(&**found).expect("Kubernetes objects are plain data"))
    }
}

/// An object as the API writes it.
pub(crate) fn written(store: &Store, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
    with_kind(kind, Written(store, namespace, name))
}

/// See [`World::set_unschedulable`].
pub(crate) fn set_unschedulable(
    store: &mut Store,
    name: &str,
    uid: Option<&str>,
    unschedulable: bool,
) -> Result<Arc<Node>, ApiError> {
    store.try_update::<Node>("", name, |node| {
        let actual = node.metadata.uid.as_deref().unwrap_or_default();
        if let Some(wanted) = uid.filter(|wanted| *wanted != actual) {
            return Err(ApiError::wrong_uid::<Node>(name, wanted, actual));
        }
        let spec = node.spec.get_or_insert_default();
        if spec.unschedulable.unwrap_or_default() != unschedulable {
            spec.unschedulable = unschedulable.then_some(true);
        }
        Ok(())
    })
}

/// Sets or clears the label that keeps a node out of external load balancers; one that somebody else has set stays.
pub(crate) fn set_excluded(
    store: &mut Store,
    name: &str,
    uid: &str,
    excluded: bool,
    run: &RunId,
) -> Result<Arc<Node>, ApiError> {
    store.try_update::<Node>("", name, |node| {
        let actual = node.metadata.uid.as_deref().unwrap_or_default();
        if uid != actual {
            return Err(ApiError::wrong_uid::<Node>(name, uid, actual));
        }
        let labels = node.metadata.labels.get_or_insert_default();
        match (excluded, labels.get(EXCLUDE_LABEL)) {
            (true, None) => drop(labels.insert(EXCLUDE_LABEL.to_owned(), run.to_string())),
            (false, Some(by)) if by == run.as_str() => drop(labels.remove(EXCLUDE_LABEL)),
            _ => {}
        }
        Ok(())
    })
}

/// See [`World::restart`].
pub(crate) fn restart(
    store: &mut Store,
    workload: &WorkloadRef,
    uid: &str,
    id: &RestartId,
    at: Timestamp,
) -> Result<(), ApiError> {
    let (namespace, name) = (workload.name.namespace(), workload.name.name());
    match workload.kind {
        WorkloadKind::Deployment => store
            .try_update::<Deployment>(namespace, name, |object| {
                check_uid::<Deployment>(name, &object.metadata, uid)?;
                annotate(&mut object.spec.template, id, at);
                Ok(())
            })
            .map(drop),
        WorkloadKind::StatefulSet => store
            .try_update::<StatefulSet>(namespace, name, |object| {
                check_uid::<StatefulSet>(name, &object.metadata, uid)?;
                annotate(&mut object.spec.template, id, at);
                Ok(())
            })
            .map(drop),
        WorkloadKind::DaemonSet | WorkloadKind::ReplicaSet | WorkloadKind::Job | WorkloadKind::Other(_) => {
            Err(ApiError::bad_request(format!("a {} cannot be restarted", workload.kind)))
        }
    }
}

pub(crate) fn is_dry_run(options: Option<&DeleteOptions>) -> bool {
    options
        .and_then(|options| options.dry_run.as_ref())
        .is_some_and(|stages| stages.iter().any(|stage| stage == "All"))
}

pub(super) fn check_uid<T: Stored>(name: &str, meta: &ObjectMeta, uid: &str) -> Result<(), ApiError> {
    let actual = meta.uid.as_deref().unwrap_or_default();
    if actual == uid { Ok(()) } else { Err(ApiError::wrong_uid::<T>(name, uid, actual)) }
}

fn annotate(template: &mut PodTemplateSpec, id: &RestartId, at: Timestamp) {
    let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
    if annotations.get(RESTART_ANNOTATION).is_some_and(|last| last == id.as_str()) {
        return;
    }
    annotations.insert(RESTART_ANNOTATION.to_owned(), id.to_string());
    annotations.insert(RESTARTED_AT_ANNOTATION.to_owned(), whole_second(at).to_string());
}

//! The history of templates: a ControllerRevision for each that a StatefulSet or a DaemonSet has had
//! (pkg/controller/history). By it a set makes pods of an earlier revision again, and people roll back.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};

use super::{controlled_by, uid_of};
use crate::store::{Key, Stored};
use crate::world::World;

/// The label by which pods and revisions find each other.
pub(super) const HASH: &str = "controller-revision-hash";

/// How many revisions are kept that no pod is of, unless the set says.
const KEPT: i32 = 10;

/// A set with a history.
pub(super) struct Owner<'a, T> {
    pub(super) key: &'a Key,
    pub(super) set: &'a T,
    pub(super) template: &'a PodTemplateSpec,
    /// The name of the current template's revision.
    pub(super) name: String,
    /// The same as the pods' label has it.
    pub(super) hash: String,
    pub(super) limit: Option<i32>,
}

impl<T: Stored> Owner<'_, T> {
    /// Notes the current template as the newest revision, and forgets old ones that no pod is of.
    pub(super) fn note(&self, world: &mut World) {
        let all: Vec<Arc<ControllerRevision>> =
            world.store.owned_by::<ControllerRevision>(uid_of(self.set)).cloned().collect();
        let is_current =
            |revision: &&Arc<ControllerRevision>| revision.metadata.name.as_ref() == Some(&self.name);
        let newest = all.iter().filter_map(|revision| revision.revision).max().unwrap_or_default();
        match all.iter().find(is_current) {
            // The usual case: nothing has changed.
            Some(current) if current.revision == Some(newest) => return,
            // A template of old is back: its revision is the newest now.
            Some(_) => {
                let next = |revision: &mut ControllerRevision| revision.revision = Some(newest + 1);
                let _ = world.store.update::<ControllerRevision>(&self.key.namespace, &self.name, next);
            }
            None => {
                // A set of this name that is gone may have left it; the garbage collector is on its way.
                let _ = world.store.found(self.revision(newest + 1));
            }
        }
        self.forget_old(world, all);
    }

    fn revision(&self, number: i64) -> ControllerRevision {
        let mut template = serde_json::to_value(self.template).expect("Kubernetes objects are plain data");
        template["$patch"] = "replace".into();
        let meta = self.template.metadata.as_ref();
        let mut labels = meta.and_then(|meta| meta.labels.clone()).unwrap_or_default();
        labels.insert(HASH.to_owned(), self.hash.clone());
        ControllerRevision {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.key.namespace.clone()),
                labels: Some(labels),
                uid: Some(super::events::uid_from(&[uid_of(self.set), &self.name])),
                owner_references: Some(vec![controlled_by(self.set)]),
                ..ObjectMeta::default()
            },
            data: RawExtension(json!({ "spec": { "template": template } })),
            revision: Some(number),
        }
    }

    fn forget_old(&self, world: &mut World, mut all: Vec<Arc<ControllerRevision>>) {
        let hashes = world.store.owned_by::<Pod>(uid_of(self.set)).filter_map(|pod| hash_of(&pod.metadata));
        let live: BTreeSet<String> = hashes.map(str::to_owned).collect();
        let is_old = |revision: &Arc<ControllerRevision>| {
            revision.metadata.name.as_ref() != Some(&self.name)
                && hash_of(&revision.metadata).is_none_or(|hash| !live.contains(hash))
        };
        all.retain(is_old);
        all.sort_by_key(|revision| revision.revision);
        let limit = usize::try_from(self.limit.unwrap_or(KEPT)).unwrap_or_default();
        for old in all.iter().take(all.len().saturating_sub(limit)) {
            let name = old.metadata.name.as_deref().unwrap_or_default();
            world.store.delete::<ControllerRevision>(&self.key.namespace, name).expect("it was just listed");
        }
    }
}

/// The revision of a pod or of a revision, by its label.
pub(super) fn hash_of(meta: &ObjectMeta) -> Option<&str> {
    meta.labels.as_ref()?.get(HASH).map(String::as_str)
}

/// The template of an earlier revision of a set, if it is remembered.
pub(super) fn template(world: &World, key: &Key, set_uid: &str, name: &str) -> Option<PodTemplateSpec> {
    let revision = world.store.get::<ControllerRevision>(&key.namespace, name)?;
    let owner = crate::store::controller(&revision.metadata)?;
    if owner.uid != set_uid {
        return None;
    }
    let mut template: Value = revision.data.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

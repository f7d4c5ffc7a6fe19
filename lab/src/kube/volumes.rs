//! Disks: which node has them. The attach/detach controller with Azure's disk driver, and the drivers that kubelets register.
//!
//! A disk is attached when a pod that wants it has a node, and detached when the last such pod is gone from there; one that only
//! one node can have waits for the other node to let go ("Multi-Attach error"). File shares are not attached.

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{
    CSINode, CSINodeDriver, CSINodeSpec, StorageClass, VolumeAttachment, VolumeAttachmentSource,
    VolumeAttachmentSpec, VolumeAttachmentStatus, VolumeNodeResources,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use upgrade_core::model::NodeName;

use super::kubelet::Step;
use super::scheduler::volumes::{DISK_DRIVER, FILE_DRIVER, bind, volume_of};
use super::{Task, Work, key_of, node, pods, uid_of};
use crate::site::Site;
use crate::store::{ChangeType, Key, Logged, Store};
use crate::timing::Timing;
use crate::world::World;

/// A node's kubelet has registered the drivers for disks and for file shares, with the limits of the machine.
pub(super) fn register_drivers(world: &mut World, name: &NodeName) {
    let Some(machine) = world.kube.machines.get(name) else { return };
    let most = Site::most_disks(&machine.spec.vm_size);
    let driver = |name: &str, count: Option<i32>| CSINodeDriver {
        name: name.to_owned(),
        allocatable: count.map(|count| VolumeNodeResources { count: Some(count) }),
        ..CSINodeDriver::default()
    };
    let mut disks = driver(DISK_DRIVER, Some(most));
    disks.topology_keys = Some(vec!["topology.disk.csi.azure.com/zone".to_owned()]);
    let csi = CSINode {
        metadata: ObjectMeta { name: Some(name.to_string()), ..ObjectMeta::default() },
        spec: CSINodeSpec { drivers: vec![disks, driver(FILE_DRIVER, None)] },
        status: None,
    };
    // A node that becomes ready again has registered them before.
    let _ = world.store.create(csi);
}

/// The node is gone, or comes back as another.
pub(super) fn forget_drivers(world: &mut World, name: &NodeName) {
    let _ = world.store.delete::<CSINode>("", name.as_str());
}

/// The pod's volumes that are attached to a node: those of the disk driver.
fn disks_of(store: &Store, pod: &Pod) -> Vec<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    let bound = claims.filter_map(|source| {
        let claim = store.get::<PersistentVolumeClaim>(namespace, &source.claim_name)?;
        volume_of(store, claim).filter(|volume| is_disk(volume))?.metadata.name.clone()
    });
    bound.collect()
}

/// Is it a disk of Azure?
pub(crate) fn is_disk(volume: &PersistentVolume) -> bool {
    let source = volume.spec.as_ref().and_then(|spec| spec.csi.as_ref());
    source.is_some_and(|source| source.driver == DISK_DRIVER)
}

/// Is every disk of the pod attached to its node?
pub(super) fn are_attached(world: &World, pod: &Pod) -> bool {
    let Some(node) = pods::node_of(pod) else { return false };
    let there = |disk: &String| {
        attachment(&world.store, disk, node).is_some_and(|found| is_attached(found) && !is_going(found))
    };
    disks_of(&world.store, pod).iter().all(there)
}

fn is_attached(attachment: &VolumeAttachment) -> bool {
    attachment.status.as_ref().is_some_and(|status| status.attached)
}

fn is_going(attachment: &VolumeAttachment) -> bool {
    attachment.metadata.deletion_timestamp.is_some()
}

/// The name of the attachment of a volume to a node.
fn name_of(volume: &str, node: &str) -> String {
    format!("csi-{}", pods::hash(&(volume, node)))
}

fn attachment<'s>(store: &'s Store, volume: &str, node: &str) -> Option<&'s VolumeAttachment> {
    store.get::<VolumeAttachment>("", &name_of(volume, node)).map(|found| &**found)
}

/// A claim of a class that does not wait for a pod gets its volume.
pub(super) fn on_claim(world: &mut World, claim: &PersistentVolumeClaim) {
    let spec = claim.spec.as_ref();
    let class = spec.and_then(|spec| spec.storage_class_name.as_deref());
    let class = class.and_then(|name| world.store.get::<StorageClass>("", name));
    let waits = |class: &StorageClass| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
    if class.is_some_and(|class| !waits(class)) && spec.is_some_and(|spec| spec.volume_name.is_none()) {
        world.enqueue(Work::Claim(key_of(claim)));
    }
}

/// Makes the volume of a claim that waits for nobody.
pub(super) fn provision(world: &mut World, key: &Key) {
    bind(world, key, None);
}

/// A pod has come to a node, or is gone from it.
pub(super) fn on_pod(world: &mut World, change: ChangeType, pod: &Pod, held: bool) {
    let holds = change != ChangeType::Deleted && pods::node_of(pod).is_some() && !pods::is_finished(pod);
    if holds != held || change == ChangeType::Deleted {
        for volume in disks_of(&world.store, pod) {
            world.enqueue(Work::Volume(volume));
        }
    }
}

/// An attachment has changed: the pods on its node go on, and whoever waits for the disk may have it.
pub(super) fn on_attachment(world: &mut World, logged: &Logged<VolumeAttachment>) {
    let attachment = &logged.object;
    let Some(volume) = attachment.spec.source.persistent_volume_name.clone() else { return };
    let node = attachment.spec.node_name.clone();
    let there = logged.change != ChangeType::Deleted;
    let handle = world.store.get::<PersistentVolume>("", &volume).and_then(|found| {
        let source = found.spec.as_ref()?.csi.as_ref()?;
        Some((source.driver.clone(), source.volume_handle.clone()))
    });
    if let Some(handle) = handle {
        world.kube.scheduler.saw_attachment(&node, handle, there);
    }
    let nodes = world.kube.attachments.entry(volume.clone()).or_default();
    if there {
        nodes.insert(node);
    } else {
        nodes.remove(&node);
    }
    if !there {
        world.enqueue(Work::Volume(volume));
        return;
    }
    if !is_attached(attachment) {
        return;
    }
    let waiting: Vec<(Key, String)> = world
        .store
        .pods_on(&attachment.spec.node_name)
        .filter(|pod| pods::phase(pod) == "Pending" && disks_of(&world.store, pod).contains(&volume))
        .map(|pod| (key_of(&**pod), uid_of(&**pod).to_owned()))
        .collect();
    for (key, uid) in waiting {
        let after = world.draw(Timing::Notice);
        world.soon(after, Task::Pod(Step::Arrives, key, uid));
    }
}

/// Compares where a volume is attached with where its pods are.
pub(super) fn reconcile(world: &mut World, volume: &str) {
    let users = users(world, volume);
    let nodes = world.kube.attachments.get(volume).into_iter().flatten();
    let there: Vec<(String, bool)> = nodes
        .filter_map(|node| Some((node.clone(), is_going(attachment(&world.store, volume, node)?))))
        .collect();
    for (node, _) in there.iter().filter(|(node, going)| !going && !users.iter().any(|(n, _)| n == node)) {
        begin_detach(world, volume, node);
    }
    let shared = is_shared(&world.store, volume);
    let mut taken = !there.is_empty();
    for (node, running) in users {
        if there.iter().any(|(attached, _)| *attached == node) || (taken && !shared) {
            continue;
        }
        attach(world, volume, &node, running);
        taken = true;
    }
}

/// The nodes with pods that use the volume, and whether one of them runs already.
fn users(world: &World, volume: &str) -> Vec<(String, bool)> {
    let claim =
        world.store.get::<PersistentVolume>("", volume).and_then(|found| claim_of(&world.store, found));
    let Some(claim) = claim else { return Vec::new() };
    let mut nodes: Vec<(String, bool)> = Vec::new();
    for pod in world.store.list_in::<Pod>(&claim.namespace).filter(|pod| !pods::is_finished(pod)) {
        let Some(node) = pods::node_of(pod) else { continue };
        let spec = pod.spec.as_ref();
        let mut volumes = spec.into_iter().flat_map(|spec| spec.volumes.iter().flatten());
        let uses = volumes.any(|volume| {
            volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == claim.name)
        });
        if uses && !nodes.iter().any(|(known, _)| known == node) {
            nodes.push((node.to_owned(), pods::phase(pod) == "Running"));
        }
    }
    nodes
}

/// The claim that a volume is bound to.
fn claim_of(store: &Store, volume: &PersistentVolume) -> Option<Key> {
    let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
    let key = Key::new(claim.namespace.clone()?, claim.name.clone()?);
    store.get::<PersistentVolumeClaim>(&key.namespace, &key.name).map(|_| key)
}

fn is_shared(store: &Store, volume: &str) -> bool {
    let modes = store.get::<PersistentVolume>("", volume).and_then(|v| v.spec.as_ref()?.access_modes.clone());
    modes.into_iter().flatten().any(|mode| mode.contains("Many"))
}

fn attach(world: &mut World, volume: &str, node: &str, running: bool) {
    let name = name_of(volume, node);
    let made = VolumeAttachment {
        metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        spec: VolumeAttachmentSpec {
            attacher: DISK_DRIVER.to_owned(),
            node_name: node.to_owned(),
            source: VolumeAttachmentSource {
                persistent_volume_name: Some(volume.to_owned()),
                ..VolumeAttachmentSource::default()
            },
        },
        // A pod that has been running since before the world began has its disk.
        status: Some(VolumeAttachmentStatus { attached: running, ..VolumeAttachmentStatus::default() }),
    };
    // Somebody may have made it by hand.
    let Ok(made) = world.store.create(made) else { return };
    if !running {
        let after = world.draw(Timing::Attach);
        world.soon(after, Task::Attached(name, uid_of(&*made).to_owned()));
    }
}

/// The kubelet has unmounted it with its last pod. A node that is there and does not answer is given six minutes.
fn begin_detach(world: &mut World, volume: &str, name: &str) {
    let silent = world.store.get::<Node>("", name).is_some_and(|found| !node::is_ready(found));
    let (attachment, time) = (name_of(volume, name), world.store.time());
    let marked = world.store.update::<VolumeAttachment>("", &attachment, |attachment| {
        attachment.metadata.deletion_timestamp = Some(time);
    });
    let Ok(marked) = marked else { return };
    let forced = if silent { world.timing.setting(Timing::ForcedDetach) } else { std::time::Duration::ZERO };
    let after = forced + world.draw(Timing::Detach);
    world.soon(after, Task::Detached(attachment, uid_of(&*marked).to_owned()));
}

/// Azure has attached a disk.
pub(super) fn attached(world: &mut World, name: &str, uid: &str) {
    if is_the_same(world, name, uid) {
        let _ = world.store.update::<VolumeAttachment>("", name, |attachment| {
            attachment.status.get_or_insert_default().attached = true;
        });
    }
}

/// Azure has detached a disk.
pub(super) fn detached(world: &mut World, name: &str, uid: &str) {
    if is_the_same(world, name, uid) {
        let _ = world.store.delete::<VolumeAttachment>("", name);
    }
}

/// It may have been detached and attached again meanwhile.
fn is_the_same(world: &World, name: &str, uid: &str) -> bool {
    world.store.get::<VolumeAttachment>("", name).is_some_and(|found| uid_of(&**found) == uid)
}

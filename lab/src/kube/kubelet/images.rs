//! Pulling images: one after another on each machine, slower on Windows, and again after a pause where the registry has none.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use sha2::{Digest, Sha256};
use upgrade_core::model::NodeName;

use super::{Step, ahead, next, show_creating, spec, until, waiting};
use crate::kube::events::Reason;
use crate::kube::{Task, key_of, node, pods, uid_of};
use crate::meter::PullCause;
use crate::store::{Key, controller};
use crate::timing::Timing;
use crate::world::World;

/// The size of an image; one that nobody has told the size of gets one that lasts.
pub(super) fn size(world: &mut World, image: &str) -> u64 {
    if let Some(bytes) = world.kube.registry.get(image) {
        return *bytes;
    }
    let bytes = world.draw_number(Timing::ImageSize);
    world.kube.registry.insert(image.to_owned(), bytes);
    bytes
}

/// When every image of the pod will be on the machine's disk. `None`: the registry has one of them no more; it is tried again.
pub(super) fn pull_all(world: &mut World, key: &Key, node: &NodeName, pod: &Pod) -> Option<Timestamp> {
    let containers = spec(pod).init_containers.iter().flatten().chain(&spec(pod).containers);
    let mut there = world.now();
    for container in containers {
        let Some(image) = container.image.as_deref() else { continue };
        let machine = world.kube.machines.get(node)?;
        let is_here = machine.images.contains_key(image) && !always_pulls(container, image);
        if is_here {
            world.tell::<Pod>(key, Reason::Pulled, || {
                format!("Container image \"{image}\" already present on machine")
            });
        } else {
            world.tell::<Pod>(key, Reason::Pulling, || format!("Pulling image \"{image}\""));
        }
        if !is_here && is_withheld(world, image) {
            fail(world, key, pod, image, |_| true);
            return None;
        }
        there = there.max(pull(world, node, image, pod));
    }
    world.kube.pull_failures.remove(uid_of(pod));
    Some(there)
}

/// The registry is asked even for an image that is there: by policy, or because the tag may mean another image today.
fn always_pulls(container: &Container, image: &str) -> bool {
    let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    match container.image_pull_policy.as_deref() {
        Some(policy) => policy == "Always",
        None => !image.contains('@') && matches!(tag, None | Some("latest")),
    }
}

/// What an image is by content, as the runtime reports it: the repository, and a digest that changes with each push of the name.
pub(super) fn content(image: &str, pushes: u32) -> String {
    let name = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(image, |(name, _)| name);
    let digest = Sha256::digest(format!("{image} {pushes}"));
    format!("{name}@sha256:{digest:x}")
}

/// What the image on a machine's disk is.
pub(super) fn content_on(world: &World, node: &NodeName, image: &str) -> String {
    let machine = world.kube.machines.get(node);
    let pushes = machine.and_then(|machine| machine.pushes.get(image)).copied().unwrap_or_default();
    content(image, pushes)
}

/// The registry has it no more or does not give it out, and the machine has never had it.
pub(super) fn cannot_be_had(world: &World, node: &NodeName, image: &str) -> bool {
    let here = world.kube.machines.get(node).is_some_and(|machine| machine.images.contains_key(image));
    !here && is_withheld(world, image)
}

fn is_withheld(world: &World, image: &str) -> bool {
    world.kube.gone_images.contains(image) || world.kube.locked_images.contains(image)
}

/// The image cannot be pulled: these containers show it, and it is tried again after a pause.
pub(super) fn fail(
    world: &mut World,
    key: &Key,
    pod: &Pod,
    image: &str,
    concerns: impl Fn(&ContainerStatus) -> bool,
) {
    let failures = world.kube.pull_failures.entry(uid_of(pod).to_owned()).or_default();
    let pause = world.timing.backoff(Timing::PullBackoff, Timing::PullBackoffMost, *failures);
    *failures += 1;
    show_creating(world, key, pod);
    let why = if world.kube.gone_images.contains(image) {
        format!("{image}: not found")
    } else {
        format!("failed to resolve reference \"{image}\": failed to authorize: 401 Unauthorized")
    };
    let message = format!("failed to pull and unpack image \"{image}\": {why}");
    world.tell::<Pod>(key, Reason::Failed, || format!("Failed to pull image \"{image}\": {message}"));
    world.tell::<Pod>(key, Reason::Failed, || "Error: ErrImagePull".to_owned());
    let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        for container in status.container_statuses.iter_mut().flatten().filter(|own| concerns(own)) {
            container.state = Some(waiting("ErrImagePull", Some(message.clone())));
        }
    });
    let shown = world.draw(Timing::BackOffShows);
    next(world, shown, Step::BacksOff, pod);
    next(world, pause, Step::Arrives, pod);
}

/// The kubelet says that it waits.
pub(super) fn back_off(world: &mut World, key: &Key) {
    world.tell::<Pod>(key, Reason::BackOff, || "Back-off pulling image".to_owned());
    let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        for container in status.container_statuses.iter_mut().flatten() {
            let reason = container.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref());
            if reason == Some("ErrImagePull") {
                container.state =
                    Some(waiting("ImagePullBackOff", Some("Back-off pulling image".to_owned())));
            }
        }
    });
}

/// When the image will be on the machine's disk. A machine pulls one image after another, each once.
pub(super) fn pull(world: &mut World, node: &NodeName, image: &str, for_pod: &Pod) -> Timestamp {
    let now = world.now();
    let bytes = size(world, image);
    let windows = world.kube.machines.get(node).is_some_and(|machine| machine.spec.is_windows());
    let speed = world.draw_number(if windows { Timing::PullSpeedWindows } else { Timing::PullSpeed });
    let Some(machine) = world.kube.machines.get_mut(node) else { return now };
    if machine.images.contains_key(image) {
        return now;
    }
    if let Some(at) = machine.pulling.get(image) {
        return *at;
    }
    let free = machine.pulling.values().max().copied().unwrap_or(now).max(now);
    let there = free + Duration::from_millis(bytes / speed + 300);
    machine.pulling.insert(image.to_owned(), there);
    let boot = machine.boot;
    world.meter.pull_begun(bytes, cause(for_pod));
    let after = until(world, there);
    world.soon(after, Task::Pulled(node.clone(), boot, image.to_owned()));
    there
}

fn cause(pod: &Pod) -> PullCause {
    let kind = controller(&pod.metadata).map(|owner| owner.kind.as_str());
    match kind {
        _ if ahead::never_starts(pod) => PullCause::Ahead,
        Some("DaemonSet") => PullCause::Node,
        _ => PullCause::Landing,
    }
}

/// An image is on the machine's disk.
pub(crate) fn pulled(world: &mut World, name: &NodeName, boot: u32, image: &str) {
    let bytes = size(world, image);
    let Some(machine) = world.kube.machines.get_mut(name).filter(|machine| machine.boot == boot) else {
        return;
    };
    machine.pulling.remove(image);
    machine.images.insert(image.to_owned(), bytes);
    if let Some(pushes) = world.kube.pushes.get(image) {
        machine.pushes.insert(image.to_owned(), *pushes);
    }
    node::report_images(world, name);
    tell_pulled(world, name, image, bytes);
    let asks = |pod: &&Arc<Pod>| {
        let mut images = spec(pod).containers.iter().map(|container| container.image.as_deref());
        ahead::never_starts(pod) && images.any(|own| own == Some(image))
    };
    let asking: Vec<Arc<Pod>> = world.store.pods_on(name.as_str()).filter(asks).cloned().collect();
    for pod in asking {
        next(world, Duration::ZERO, Step::ImageIsThere, &pod);
    }
}

/// The pods that have waited for an image can go on.
fn tell_pulled(world: &mut World, node: &NodeName, image: &str, bytes: u64) {
    let waits = |pod: &&Arc<Pod>| {
        let wanted = spec(pod).init_containers.iter().flatten().chain(&spec(pod).containers);
        pods::phase(pod) == "Pending"
            && wanted.into_iter().any(|container| container.image.as_deref() == Some(image))
    };
    let waiting: Vec<Key> = if world.tells_events() {
        world.store.pods_on(node.as_str()).filter(waits).map(|pod| key_of(&**pod)).collect()
    } else {
        Vec::new()
    };
    for key in waiting {
        world.tell::<Pod>(&key, Reason::Pulled, || {
            format!("Successfully pulled image \"{image}\". Image size: {bytes} bytes.")
        });
    }
}

impl World {
    /// Somebody has deleted an image from the registry. Machines that have it keep it.
    pub fn delete_image(&mut self, image: &str) {
        self.kube.gone_images.insert(image.to_owned());
        self.touch();
    }

    /// The secret with which the image is pulled has expired. Machines that have the image keep it.
    pub fn expire_pull_secret(&mut self, image: &str) {
        self.kube.locked_images.insert(image.to_owned());
        self.touch();
    }

    /// Somebody has given the image's name to another one. Machines that have the old one keep it.
    pub fn push_over_image(&mut self, image: &str) {
        *self.kube.pushes.entry(image.to_owned()).or_default() += 1;
        self.touch();
    }

    /// Somebody has pushed the image again.
    pub fn push_image(&mut self, image: &str) {
        self.kube.gone_images.remove(image);
        self.touch();
    }
}

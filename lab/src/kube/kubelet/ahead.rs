//! Pods of which nothing can start: their command is in no image. The kubelet pulls the image of each container before it finds
//! that out, and a container that could not be started has ended (containerd: `StartError`, exit code 128).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use upgrade_core::model::NodeName;
use upgrade_core::prewarm::PREWARM_COMMAND;

use super::{images, machine_name, spec};
use crate::kube::pods;
use crate::store::Key;
use crate::world::World;

/// Is the command of each container one that no image has?
pub(super) fn never_starts(pod: &Pod) -> bool {
    let missing = |command: &Option<Vec<String>>| {
        command.as_ref().and_then(|words| words.first()).is_some_and(|word| word == PREWARM_COMMAND)
    };
    spec(pod).containers.iter().all(|container| missing(&container.command))
}

/// Asks for the images that are missing, each for itself; those that cannot be had are asked for again after a pause.
pub(super) fn pull_each(world: &mut World, key: &Key, node: &NodeName, pod: &Arc<Pod>) {
    let mut failed = Vec::new();
    for container in &spec(pod).containers {
        let Some(image) = container.image.as_deref() else { continue };
        if images::cannot_be_had(world, node, image) {
            failed.push(image);
        } else {
            images::pull(world, node, image, pod);
        }
    }
    if let Some(image) = failed.first() {
        images::fail(world, key, pod, image, |status| failed.contains(&status.image.as_str()));
    }
    show(world, key, pod);
}

/// Containers whose image is there have been made, and could not start.
pub(super) fn show(world: &mut World, key: &Key, pod: &Arc<Pod>) {
    let Some(node) = machine_name(world, pod) else { return };
    let now = world.store.time();
    let there = |world: &World, status: &ContainerStatus| {
        world.kube.machines[&node].images.contains_key(&status.image)
    };
    let found = world.store.get::<Pod>(&key.namespace, &key.name);
    let statuses =
        found.and_then(|pod| pod.status.as_ref()).and_then(|status| status.container_statuses.clone());
    let ended: BTreeMap<String, String> = statuses
        .into_iter()
        .flatten()
        .filter(|status| there(world, status))
        .map(|status| (status.name, images::content_on(world, &node, &status.image)))
        .collect();
    let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        for container in status.container_statuses.iter_mut().flatten() {
            if let Some(id) = ended.get(&container.name).filter(|_| container.image_id.is_empty()) {
                container.image_id.clone_from(id);
                container.state = Some(could_not_start(&now));
            }
        }
        let mut all = status.container_statuses.iter().flatten();
        if all.all(|container| container.state.as_ref().is_some_and(|state| state.terminated.is_some())) {
            status.phase = Some("Failed".to_owned());
        }
        pods::set_condition(status, "PodReadyToStartContainers", true, None, None, &now);
    });
}

fn could_not_start(now: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time) -> ContainerState {
    let message = format!(
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: exec: \"{PREWARM_COMMAND}\": stat {PREWARM_COMMAND}: no such file or directory"
    );
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 128,
            reason: Some("StartError".to_owned()),
            message: Some(message),
            finished_at: Some(now.clone()),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

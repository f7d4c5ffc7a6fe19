//! The kubelets: pods arrive, their disks attach, images are pulled one after another, containers start, become ready, end.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    Node, PersistentVolumeClaim, Pod, PodIP, PodSpec, PodStatus,
};
use upgrade_core::model::NodeName;

use super::{Task, key_of, node, pods, removal, timing, uid_of};
use crate::store::{Key, controller};
use crate::world::World;

/// The pod template annotation that says how many seconds a Job's pod runs; Kubernetes has no such word.
pub(crate) const RUN_SECONDS: &str = "lab.aks-drover/run-seconds";

/// What happens to a pod on its node next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The kubelet learns of it.
    Arrives,
    /// Its containers start.
    Starts,
    /// Its readiness probes succeed.
    BecomesReady,
    /// Its work is done (a Job's pod).
    Finishes,
    /// Its processes have ended after they were told to.
    Ends,
}

/// A pod takes a step, if it is still the pod that the step was meant for.
pub(super) fn step(world: &mut World, step: Step, key: &Key, uid: &str) {
    let Some(pod) = world.store.get::<Pod>(&key.namespace, &key.name) else { return };
    if uid_of(&**pod) != uid || (step != Step::Ends && !pods::is_active(pod)) {
        return;
    }
    let pod = Arc::clone(pod);
    match step {
        Step::Arrives => arrive(world, key, &pod),
        Step::Starts => start(world, key, &pod),
        Step::BecomesReady => become_ready(world, key),
        Step::Finishes => finish(world, key),
        Step::Ends => removal::finish_pod(world, key),
    }
}

fn next(world: &mut World, after: Duration, step: Step, pod: &Pod) {
    world.soon(after, Task::Pod(step, key_of(pod), uid_of(pod).to_owned()));
}

fn spec(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().expect("a pod on a node has a spec")
}

/// The node a pod is on, if its machine is there.
fn machine_name(world: &World, pod: &Pod) -> Option<NodeName> {
    let name = NodeName::new(pods::node_of(pod)?).ok()?;
    world.kube.machines.contains_key(&name).then_some(name)
}

fn arrive(world: &mut World, key: &Key, pod: &Arc<Pod>) {
    let Some(node) = machine_name(world, pod) else { return };
    if pods::phase(pod) != "Pending" {
        // It has been running since before the world began.
        return;
    }
    if is_disk_elsewhere(world, key, pod) {
        // Multi-Attach: the disk stays with the other pod's node until that pod is gone.
        let after = world.draw(timing::ATTACH_RETRY);
        return next(world, after, Step::Arrives, pod);
    }
    let now = world.store.time();
    let waiting = |name: &str| ContainerStatus {
        name: name.to_owned(),
        state: Some(ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some("ContainerCreating".to_owned()),
                message: None,
            }),
            ..ContainerState::default()
        }),
        ..ContainerStatus::default()
    };
    let statuses = |pod: &Pod| {
        let status = |c: &k8s_openapi::api::core::v1::Container| ContainerStatus {
            image: c.image.clone().unwrap_or_default(),
            ..waiting(&c.name)
        };
        spec(pod).containers.iter().map(status).collect()
    };
    let containers: Vec<ContainerStatus> = statuses(pod);
    let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        status.start_time.get_or_insert(now.clone());
        status.container_statuses.get_or_insert(containers);
        pods::set_condition(status, "Ready", false, Some("ContainersNotReady"), None, &now);
    });
    let disks = disks(world, key, pod).len();
    let attached = (0..disks).map(|_| world.draw(timing::ATTACH)).max().unwrap_or_default();
    let images: Vec<String> = {
        let spec = spec(pod);
        let all = spec.init_containers.iter().flatten().chain(&spec.containers);
        all.filter_map(|container| container.image.clone()).collect()
    };
    let mut here = world.now() + attached;
    for image in images {
        here = here.max(pull(world, &node, &image));
    }
    let sandbox = world.draw(timing::SANDBOX);
    let inits = spec(pod).init_containers.as_ref().map_or(0, Vec::len);
    let init: Duration = (0..inits).map(|_| world.draw(timing::INIT)).sum();
    let after = until(world, here) + sandbox + init;
    next(world, after, Step::Starts, pod);
}

fn until(world: &World, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(world.now())).unwrap_or_default()
}

/// The pod's claims that only one node can have at a time.
fn disks(world: &World, key: &Key, pod: &Pod) -> Vec<String> {
    let volumes = spec(pod).volumes.iter().flatten();
    let claims =
        volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()));
    let exclusive = |claim: &String| {
        let claim = world.store.get::<PersistentVolumeClaim>(&key.namespace, claim);
        let modes = claim.and_then(|claim| claim.spec.as_ref()?.access_modes.as_ref());
        modes.is_some_and(|modes| !modes.iter().any(|mode| mode.contains("Many")))
    };
    claims.filter(exclusive).collect()
}

/// Does a pod on another node still hold one of the pod's disks?
fn is_disk_elsewhere(world: &World, key: &Key, pod: &Pod) -> bool {
    let disks = disks(world, key, pod);
    if disks.is_empty() {
        return false;
    }
    let holds = |other: &Pod| {
        let volumes = other.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let mut claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
        claims.any(|claim| disks.contains(&claim.claim_name))
    };
    world.store.list_in::<Pod>(&key.namespace).any(|other| {
        let elsewhere = pods::node_of(other).is_some_and(|node| Some(node) != pods::node_of(pod));
        elsewhere && !pods::is_finished(other) && holds(other)
    })
}

/// The size of an image; one that nobody has told the size of gets one that lasts.
fn size(world: &mut World, image: &str) -> u64 {
    if let Some(bytes) = world.kube.registry.get(image) {
        return *bytes;
    }
    let bytes = world.rng.u64(timing::IMAGE_BYTES.0..=timing::IMAGE_BYTES.1);
    world.kube.registry.insert(image.to_owned(), bytes);
    bytes
}

/// When the image will be on the machine's disk. A machine pulls one image after another, each once.
fn pull(world: &mut World, node: &NodeName, image: &str) -> Timestamp {
    let now = world.now();
    let bytes = size(world, image);
    let speed = world.rng.u64(timing::PULL_BYTES_PER_MS.0..=timing::PULL_BYTES_PER_MS.1);
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
    let after = until(world, there);
    world.soon(after, Task::Pulled(node.clone(), boot, image.to_owned()));
    there
}

/// An image is on the machine's disk.
pub(super) fn pulled(world: &mut World, name: &NodeName, boot: u32, image: String) {
    let bytes = size(world, &image);
    let Some(machine) = world.kube.machines.get_mut(name).filter(|machine| machine.boot == boot) else {
        return;
    };
    machine.pulling.remove(&image);
    machine.images.insert(image, bytes);
    node::report_images(world, name);
}

fn address(world: &mut World) -> String {
    world.kube.next_address += 1;
    let number = world.kube.next_address;
    format!("10.{}.{}.{}", 244 + number / 64_516 % 8, number / 254 % 254, number % 254 + 1)
}

fn start(world: &mut World, key: &Key, pod: &Arc<Pod>) {
    let (now, ip) = (world.store.time(), address(world));
    let running = ContainerState {
        running: Some(ContainerStateRunning { started_at: Some(now.clone()) }),
        ..ContainerState::default()
    };
    let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        status.phase = Some("Running".to_owned());
        status.pod_ip = Some(ip.clone());
        status.pod_ips = Some(vec![PodIP { ip }]);
        for container in status.container_statuses.iter_mut().flatten() {
            container.state = Some(running.clone());
            container.started = Some(true);
        }
        pods::set_condition(status, "Initialized", true, None, None, &now);
    });
    let probes = spec(pod).containers.iter().filter_map(|container| container.readiness_probe.as_ref());
    let probes: Vec<(u64, u64)> = probes
        .map(|probe| {
            let seconds =
                |value: Option<i32>, default| u64::try_from(value.unwrap_or(default)).unwrap_or_default();
            (seconds(probe.initial_delay_seconds, 0), seconds(probe.period_seconds, 10).max(1))
        })
        .collect();
    let ready = probes
        .into_iter()
        .map(|(delay, period)| Duration::from_secs(delay) + world.between(0, period * 1000))
        .max();
    match ready {
        Some(after) => next(world, after, Step::BecomesReady, pod),
        None => become_ready(world, key),
    }
    if let Some(run) = run_time(pod) {
        next(world, run, Step::Finishes, pod);
    }
}

/// How long the pod runs before it ends by itself; `None` for a pod that does not.
fn run_time(pod: &Pod) -> Option<Duration> {
    let owner = controller(&pod.metadata).is_some_and(|owner| owner.kind == "Job");
    let said = pod.metadata.annotations.as_ref().and_then(|a| a.get(RUN_SECONDS)?.parse().ok());
    owner.then(|| Duration::from_secs(said.unwrap_or(timing::JOB_RUN_SECONDS)))
}

fn become_ready(world: &mut World, key: &Key) {
    let now = world.store.time();
    let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        for container in status.container_statuses.iter_mut().flatten() {
            container.ready = true;
        }
        pods::set_condition(status, "ContainersReady", true, None, None, &now);
        pods::set_condition(status, "Ready", true, None, None, &now);
    });
}

fn finish(world: &mut World, key: &Key) {
    let now = world.store.time();
    let done = ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 0,
            reason: Some("Completed".to_owned()),
            finished_at: Some(now.clone()),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    };
    let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        status.phase = Some("Succeeded".to_owned());
        for container in status.container_statuses.iter_mut().flatten() {
            container.ready = false;
            container.state = Some(done.clone());
        }
        pods::set_condition(status, "ContainersReady", false, Some("PodCompleted"), None, &now);
        pods::set_condition(status, "Ready", false, Some("PodCompleted"), None, &now);
    });
}

/// The kubelet learns that the pod is to go: its processes end by themselves, or are killed when the grace is over.
pub(super) fn told_to_stop(world: &mut World, pod: &Pod) {
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
    let notice = world.draw(timing::NOTICE);
    let stop = if machine_name(world, pod).is_none() {
        if pods::node_of(pod).is_some_and(|node| world.store.get::<Node>("", node).is_some()) {
            // A node object that somebody has made, and no kubelet to say that the pod has ended.
            return;
        }
        // No machine, no process.
        Duration::ZERO
    } else {
        world.draw(timing::STOP).min(grace)
    };
    next(world, notice + stop, Step::Ends, pod);
}

/// What a pod that runs now would show, for worlds that begin with running pods.
pub(crate) fn running_status(pod: &Pod, ready: bool, since: Timestamp, ip: String) -> PodStatus {
    let since = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(since);
    let mut status = PodStatus {
        phase: Some("Running".to_owned()),
        start_time: Some(since.clone()),
        pod_ip: Some(ip.clone()),
        pod_ips: Some(vec![PodIP { ip }]),
        ..PodStatus::default()
    };
    let containers = spec(pod).containers.iter().map(|container| ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        ready,
        started: Some(true),
        state: Some(ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(since.clone()) }),
            ..ContainerState::default()
        }),
        ..ContainerStatus::default()
    });
    status.container_statuses = Some(containers.collect());
    for kind in ["PodScheduled", "Initialized"] {
        pods::set_condition(&mut status, kind, true, None, None, &since);
    }
    for kind in ["ContainersReady", "Ready"] {
        pods::set_condition(&mut status, kind, ready, None, None, &since);
    }
    status
}

impl World {
    /// An image of a known size that is on a machine's disk from the beginning.
    pub(crate) fn found_image(&mut self, node: &NodeName, image: &str, bytes: u64) {
        self.kube.registry.insert(image.to_owned(), bytes);
        self.has_image(node, image);
    }

    /// An image that is on a machine's disk from the beginning.
    pub(crate) fn has_image(&mut self, node: &NodeName, image: &str) {
        let bytes = size(self, image);
        if let Some(machine) = self.kube.machines.get_mut(node) {
            machine.images.insert(image.to_owned(), bytes);
        }
    }

    /// An address for a pod that runs from the beginning.
    pub(crate) fn new_address(&mut self) -> String {
        address(self)
    }

    /// A Job's pod that runs from the beginning ends after a while.
    pub(crate) fn finishes_after(&mut self, pod: &Pod, left: Duration) {
        next(self, left, Step::Finishes, pod);
    }
}

//! The kubelets: pods arrive, their disks attach, images are pulled one after another, containers start, become ready, crash,
//! and end.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, PodIP, PodSpec, PodStatus, Probe,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use upgrade_core::model::NodeName;

use super::events::Reason;
use super::{Task, job, key_of, pods, removal, uid_of, volumes};
use crate::ports::convert::condition;
use crate::store::{Key, controller};
use crate::timing::Timing;
use crate::world::World;

mod ahead;
mod images;
mod stop;

pub(super) use images::pulled;
pub(super) use stop::told_to_stop;

/// What a pod's template says about its processes; Kubernetes has no such words. How many seconds a Job's pod runs.
pub(crate) const RUN_SECONDS: &str = "lab.aks-drover/run-seconds";
/// After how many seconds the containers crash, each time.
pub(crate) const CRASH_SECONDS: &str = "lab.aks-drover/crash-seconds";
/// How many seconds the processes take to end after SIGTERM.
pub(crate) const STOP_SECONDS: &str = "lab.aks-drover/stop-seconds";
/// `true`: the readiness probe never succeeds.
pub(crate) const NEVER_READY: &str = "lab.aks-drover/never-ready";

/// What happens to a pod on its node next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The kubelet learns of it, or looks at it again: its disks, its images.
    Arrives,
    /// The kubelet waits before it pulls again.
    BacksOff,
    /// One of its images is on the disk, and nothing of it can start.
    ImageIsThere,
    /// Its containers start.
    Starts,
    /// Its readiness probes succeed.
    BecomesReady,
    /// Its containers crash.
    Crashes,
    /// Its work is done (a Job's pod).
    Finishes,
    /// Its processes have ended after they were told to.
    Ends,
}

/// A pod takes a step, if it is still the pod that the step was meant for and its kubelet works.
pub(super) fn step(world: &mut World, step: Step, key: &Key, uid: &str) {
    let Some(pod) = world.store.get::<Pod>(&key.namespace, &key.name) else { return };
    if uid_of(&**pod) != uid || (step != Step::Ends && !pods::is_active(pod)) {
        return;
    }
    let pod = Arc::clone(pod);
    let machine = machine_name(world, &pod);
    if machine.as_ref().is_some_and(|name| world.kube.machines[name].silent) {
        return;
    }
    match step {
        Step::Arrives => arrive(world, key, pod),
        Step::BacksOff => images::back_off(world, key),
        Step::ImageIsThere => ahead::show(world, key, &pod),
        Step::Starts => start(world, key, pod),
        Step::BecomesReady => {
            let life = Life::of(&pod);
            drop(pod);
            become_ready(world, key, life);
        }
        Step::Crashes => crash(world, key, &pod),
        Step::Finishes => finish(world, key),
        Step::Ends => {
            // Nobody else holds it when it is written.
            drop(pod);
            world.kube.pull_failures.remove(uid);
            removal::finish_pod(world, key);
        }
    }
}

fn next(world: &mut World, after: Duration, step: Step, pod: &Pod) {
    world.soon(after, Task::Pod(step, key_of(pod), uid_of(pod).to_owned()));
}

/// Which of its lives a pod is in: a probe of an earlier start says nothing of this one.
#[derive(Clone, Copy)]
struct Life {
    restarts: i32,
    crashes: bool,
}

impl Life {
    fn of(pod: &Pod) -> Self {
        Self { restarts: pods::restarts(pod), crashes: said(pod, CRASH_SECONDS).is_some() }
    }
}

fn spec(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().expect("a pod on a node has a spec")
}

/// What the pod's template says about its processes.
fn said<'p>(pod: &'p Pod, annotation: &str) -> Option<&'p str> {
    pod.metadata.annotations.as_ref()?.get(annotation).map(String::as_str)
}

fn said_seconds(pod: &Pod, annotation: &str) -> Option<Duration> {
    said(pod, annotation)?.parse().ok().map(Duration::from_secs)
}

/// The node a pod is on, if its machine is there.
fn machine_name(world: &World, pod: &Pod) -> Option<NodeName> {
    let (name, _) = world.kube.machines.get_key_value(pods::node_of(pod)?)?;
    Some(name.clone())
}

fn arrive(world: &mut World, key: &Key, pod: Arc<Pod>) {
    let Some(node) = machine_name(world, &pod) else { return };
    let never_starts = ahead::never_starts(&pod);
    if pods::phase(&pod) != "Pending" || has_begun(&pod) && !never_starts {
        // It has been running since before the world began, or another step has seen to it.
        return;
    }
    if !volumes::are_attached(world, &pod) {
        // The attachment will say.
        return show_creating(world, key, &pod);
    }
    if never_starts {
        show_creating(world, key, &pod);
        return ahead::pull_each(world, key, &node, &pod);
    }
    let sandbox = world.draw(Timing::Sandbox);
    let Some(here) = images::pull_all(world, key, &node, &pod) else { return };
    let inits = spec(&pod).init_containers.as_ref().map_or(0, Vec::len);
    let init: Duration = (0..inits).map(|_| world.draw(Timing::Init)).sum();
    let after = until(world, here) + sandbox + init;
    next(world, after, Step::Starts, &pod);
    begin(world, key, pod);
}

/// Nothing is in the way of its containers any more.
fn has_begun(pod: &Pod) -> bool {
    condition(pod, "PodReadyToStartContainers").is_some_and(|c| c.status == "True")
}

fn begin(world: &mut World, key: &Key, pod: Arc<Pod>) {
    let now = world.store.time();
    let containers = creating(&pod);
    // Nobody else holds it when it is written.
    drop(pod);
    world.store.report::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        create(status, containers, &now);
        wait(status, "ContainerCreating", None);
        pods::set_condition(status, "PodReadyToStartContainers", true, None, None, &now);
    });
}

/// The containers of a pod that has just come.
fn creating(pod: &Pod) -> Vec<ContainerStatus> {
    let status = |container: &Container| ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        state: Some(waiting("ContainerCreating", None)),
        ..ContainerStatus::default()
    };
    spec(pod).containers.iter().map(status).collect()
}

fn create(status: &mut PodStatus, containers: Vec<ContainerStatus>, now: &Time) {
    status.start_time.get_or_insert(now.clone());
    status.container_statuses.get_or_insert(containers);
    pods::set_condition(status, "Ready", false, Some("ContainersNotReady"), None, now);
}

fn show_creating(world: &mut World, key: &Key, pod: &Pod) {
    let now = world.store.time();
    let containers = creating(pod);
    let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
        create(pod.status.get_or_insert_default(), containers, &now);
    });
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

/// Every container waits, for the same reason.
fn wait(status: &mut PodStatus, reason: &str, message: Option<&str>) {
    for container in status.container_statuses.iter_mut().flatten() {
        container.state = Some(waiting(reason, message.map(str::to_owned)));
    }
}

fn until(world: &World, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(world.now())).unwrap_or_default()
}

fn address(world: &mut World) -> String {
    world.kube.next_address += 1;
    let number = world.kube.next_address;
    format!("10.{}.{}.{}", 244 + number / 64_516 % 8, number / 254 % 254, number % 254 + 1)
}

fn start(world: &mut World, key: &Key, pod: Arc<Pod>) {
    let now = world.store.time();
    let ip = match pod.status.as_ref().and_then(|status| status.pod_ip.clone()) {
        Some(ip) => ip,
        None => address(world),
    };
    let containers: Vec<String> = if world.tells_events() {
        spec(&pod).containers.iter().map(|container| container.name.clone()).collect()
    } else {
        Vec::new()
    };
    let crash = said_seconds(&pod, CRASH_SECONDS);
    if let Some(after) = crash {
        next(world, after, Step::Crashes, &pod);
    }
    let mut is_ready = false;
    match probed(world, &pod) {
        _ if said(&pod, NEVER_READY) == Some("true") => {}
        // It does not live to see its first good probe.
        Some(after) if crash.is_some_and(|crash| crash <= after) => {}
        Some(after) => next(world, after, Step::BecomesReady, &pod),
        None => is_ready = true,
    }
    if let Some(run) = run_time(world, &pod) {
        next(world, run, Step::Finishes, &pod);
    }
    let life = Life::of(&pod);
    let node = machine_name(world, &pod);
    let content = |image: &str| node.as_ref().map(|node| images::content_on(world, node, image));
    let contents: Vec<Option<String>> =
        spec(&pod).containers.iter().map(|container| content(container.image.as_deref()?)).collect();
    // Nobody else holds it when it is written.
    drop(pod);
    run(world, key, ip, contents, &now);
    for container in containers {
        world.tell::<Pod>(key, Reason::Created, || format!("Created container: {container}"));
        world.tell::<Pod>(key, Reason::Started, || format!("Started container {container}"));
    }
    if is_ready {
        become_ready(world, key, life);
    }
}

/// The containers run; `contents` is what their images are.
fn run(world: &mut World, key: &Key, ip: String, contents: Vec<Option<String>>, now: &Time) {
    let running = ContainerState {
        running: Some(ContainerStateRunning { started_at: Some(now.clone()) }),
        ..ContainerState::default()
    };
    world.store.report::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        status.phase = Some("Running".to_owned());
        status.pod_ip = Some(ip.clone());
        status.pod_ips = Some(vec![PodIP { ip }]);
        for (container, id) in status.container_statuses.iter_mut().flatten().zip(contents) {
            container.state = Some(running.clone());
            container.started = Some(true);
            container.image_id = id.unwrap_or_default();
        }
        pods::set_condition(status, "Initialized", true, None, None, now);
    });
}

/// When the containers' probes have succeeded: the startup probe first, then readiness as often as it has to. `None` for a pod
/// without any.
fn probed(world: &mut World, pod: &Pod) -> Option<Duration> {
    let seconds = |value: Option<i32>, default| u64::try_from(value.unwrap_or(default)).unwrap_or_default();
    let mut good = |probe: &Probe| {
        let period = seconds(probe.period_seconds, 10).max(1);
        let first =
            Duration::from_secs(seconds(probe.initial_delay_seconds, 0)) + world.between(0, period * 1000);
        first
            + Duration::from_secs(period)
                * u32::try_from(seconds(probe.success_threshold, 1).max(1) - 1).unwrap_or_default()
    };
    let mut last = None;
    for container in &spec(pod).containers {
        let started = container.startup_probe.as_ref().map(&mut good);
        let ready = container.readiness_probe.as_ref().map(&mut good);
        if started.is_some() || ready.is_some() {
            let after = started.unwrap_or_default() + ready.unwrap_or_default();
            last = last.max(Some(after));
        }
    }
    last
}

/// How long the pod runs before it ends by itself; `None` for a pod that does not.
fn run_time(world: &mut World, pod: &Pod) -> Option<Duration> {
    let owner = controller(&pod.metadata).is_some_and(|owner| owner.kind == "Job");
    owner.then(|| said_seconds(pod, RUN_SECONDS).unwrap_or_else(|| world.draw(Timing::JobRun)))
}

fn become_ready(world: &mut World, key: &Key, life: Life) {
    let Some(found) = world.store.get::<Pod>(&key.namespace, &key.name) else { return };
    if life.crashes && pods::restarts(found) != life.restarts {
        return;
    }
    let runs = |status: &ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
    let statuses = || found.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let says = |kind| condition(found, kind).is_some_and(|condition| condition.status == "True");
    let is_so = says("ContainersReady") && says("Ready") && statuses().all(|status| status.ready);
    if is_so || !statuses().all(runs) {
        return;
    }
    let now = world.store.time();
    world.store.report::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        for container in status.container_statuses.iter_mut().flatten() {
            container.ready = true;
        }
        pods::set_condition(status, "ContainersReady", true, None, None, &now);
        pods::set_condition(status, "Ready", true, None, None, &now);
    });
}

/// The containers have crashed. They start again after a pause that doubles each time (CrashLoopBackOff), unless the pod shall
/// not be restarted.
fn crash(world: &mut World, key: &Key, pod: &Pod) {
    let now = world.store.time();
    let terminated = ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 1,
            reason: Some("Error".to_owned()),
            finished_at: Some(now.clone()),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    };
    let restarts = u32::try_from(pods::restarts(pod)).unwrap_or_default();
    let pause = world.timing.backoff(Timing::CrashBackoff, Timing::CrashBackoffMost, restarts);
    let stays = spec(pod).restart_policy.as_deref() == Some("Never");
    let message = format!("back-off {}s restarting failed container", pause.as_secs());
    let crashed = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
        let status = pod.status.get_or_insert_default();
        for container in status.container_statuses.iter_mut().flatten() {
            container.ready = false;
            container.started = Some(false);
            container.last_state = Some(terminated.clone());
            if stays {
                container.state = Some(terminated.clone());
            } else {
                container.restart_count += 1;
                container.state = Some(waiting("CrashLoopBackOff", Some(message.clone())));
            }
        }
        if stays {
            status.phase = Some("Failed".to_owned());
        }
        let reason = Some("ContainersNotReady");
        pods::set_condition(status, "ContainersReady", false, reason, None, &now);
        pods::set_condition(status, "Ready", false, reason, None, &now);
    });
    if let Ok(pod) = crashed.as_ref().map(Arc::clone)
        && stays
    {
        job::broke(world, &pod);
    }
    if !stays {
        for container in &spec(pod).containers {
            world.tell::<Pod>(key, Reason::BackOff, || {
                let (name, pod) =
                    (&container.name, format!("{}_{}({})", key.name, key.namespace, uid_of(pod)));
                format!("Back-off restarting failed container {name} in pod {pod}")
            });
        }
        next(world, pause, Step::Starts, pod);
    }
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

/// The kubelet of a machine answers again: it finds out about its pods.
pub(super) fn comes_back(world: &mut World, name: &NodeName) {
    let pods: Vec<Arc<Pod>> = world.store.pods_on(name.as_str()).cloned().collect();
    for pod in pods {
        if pods::is_terminating(&pod) {
            told_to_stop(world, &pod);
        } else if pods::phase(&pod) == "Running" {
            next(world, Duration::ZERO, Step::BecomesReady, &pod);
        } else if !pods::is_finished(&pod) {
            next(world, Duration::ZERO, Step::Arrives, &pod);
        }
    }
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
        image_id: container.image.as_deref().map(|image| images::content(image, 0)).unwrap_or_default(),
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
        let bytes = images::size(self, image);
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

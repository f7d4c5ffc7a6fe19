//! Pods, and the templates that they are made from.

use k8s_openapi::api::core::v1 as core;
use upgrade_core::model::{
    ContainerReport, ImagePull, NodeName, PREWARM_LABEL, Pod, PodPhase, PodTemplate, PullAccess, PullState,
    Pulling, RESTART_ANNOTATION, RUN_ANNOTATION, RestartId, RunId, Shared,
};
use upgrade_core::prewarm::PREWARM_CONTAINER;
use upgrade_core::view::{Object, ResourceKind, View};

use super::{Slim, labels, object_name, owner, uid};
use crate::ports::rules;
use crate::store::Store;

const MIRROR: &str = "kubernetes.io/config.mirror";

/// A condition of a pod.
pub(crate) fn condition<'a>(pod: &'a core::Pod, kind: &str) -> Option<&'a core::PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

impl Slim for core::Pod {
    const RESOURCE: ResourceKind = ResourceKind::Pod;

    fn slim(&self, _: &Store) -> Option<Object> {
        let no_spec = core::PodSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&no_spec);
        let ready = ready(self);
        Some(Object::Pod(Pod {
            name: object_name(&self.metadata)?,
            uid: uid(&self.metadata)?,
            labels: labels(&self.metadata).into(),
            node: spec.node_name.as_ref().and_then(|name| NodeName::new(name.as_str()).ok()),
            owner: owner(&self.metadata),
            phase: phase(self),
            ready: ready.is_some(),
            ready_since: ready.and_then(|r| r.last_transition_time.as_ref()).map(|time| time.0),
            terminating: self.metadata.deletion_timestamp.is_some(),
            mirror: self.metadata.annotations.iter().flatten().any(|(key, _)| key == MIRROR),
            requests: rules::requests(spec),
            rules: rules::of_pod(spec).into(),
            priority: spec.priority.unwrap_or_default(),
            claims: claims(spec),
            empty_dir: rules::has_empty_dir(spec),
            images: images(&spec.containers),
            init_images: images(spec.init_containers.as_deref().unwrap_or_default()),
            image_ids: image_ids(self).into(),
            pull_access: pull_access(spec).into(),
            pulling: pulling(self),
            grace_seconds: grace(spec),
            restarts: restarts(self),
            trouble: trouble(self),
        }))
    }

    // Each field by its name: one that is new here has to be decided on.
    fn renew(&self, seen: &View) -> Option<Object> {
        let ready = ready(self);
        let known = seen.pod(&object_name(&self.metadata)?)?.clone();
        let node = self.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        Some(Object::Pod(Pod {
            name: known.name,
            uid: known.uid,
            labels: known.labels,
            node: match known.node {
                Some(known) if node == Some(known.as_str()) => Some(known),
                _ => node.and_then(|name| NodeName::new(name).ok()),
            },
            owner: known.owner,
            phase: phase(self),
            ready: ready.is_some(),
            ready_since: ready.and_then(|r| r.last_transition_time.as_ref()).map(|time| time.0),
            terminating: self.metadata.deletion_timestamp.is_some(),
            mirror: known.mirror,
            requests: known.requests,
            rules: known.rules,
            priority: known.priority,
            claims: known.claims,
            empty_dir: known.empty_dir,
            images: known.images,
            init_images: known.init_images,
            image_ids: Shared::from(image_ids(self)).with(&known.image_ids),
            pull_access: known.pull_access,
            pulling: pulling(self),
            grace_seconds: known.grace_seconds,
            restarts: restarts(self),
            trouble: trouble(self),
        }))
    }
}

fn ready(pod: &core::Pod) -> Option<&core::PodCondition> {
    condition(pod, "Ready").filter(|ready| ready.status == "True")
}

fn phase(pod: &core::Pod) -> PodPhase {
    match pod.status.as_ref().and_then(|s| s.phase.as_deref()) {
        Some("Pending") | None => PodPhase::Pending,
        Some("Running") => PodPhase::Running,
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        Some(other) => PodPhase::Unknown(other.to_owned()),
    }
}

fn claims(spec: &core::PodSpec) -> Vec<String> {
    let volumes = spec.volumes.iter().flatten();
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone())).collect()
}

fn images(containers: &[core::Container]) -> Vec<String> {
    containers.iter().filter_map(|container| container.image.clone()).collect()
}

/// What the images of the containers are, as far as they are there; nothing while none is.
fn image_ids(pod: &core::Pod) -> Vec<String> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers = containers.filter(|container| container.image.is_some());
    let id = |name: &str| reported(pod, name).map(|status| status.image_id.clone()).unwrap_or_default();
    let ids: Vec<String> = containers.map(|container| id(&container.name)).collect();
    if ids.iter().all(String::is_empty) { Vec::new() } else { ids }
}

fn reported<'p>(pod: &'p core::Pod, name: &str) -> Option<&'p core::ContainerStatus> {
    let mut statuses = pod.status.as_ref()?.container_statuses.iter().flatten();
    statuses.find(|status| status.name == name)
}

/// Restarts of all its containers, those that only prepare among them.
fn restarts(pod: &core::Pod) -> u32 {
    let Some(status) = &pod.status else { return 0 };
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let counts = containers.filter_map(|container| u32::try_from(container.restart_count).ok());
    counts.fold(0, u32::saturating_add)
}

fn pull_access(spec: &core::PodSpec) -> PullAccess {
    let secrets = spec.image_pull_secrets.iter().flatten();
    PullAccess {
        service_account: spec.service_account_name.clone().filter(|name| !name.is_empty()),
        secrets: secrets.map(|secret| secret.name.clone()).filter(|name| !name.is_empty()).collect(),
    }
}

/// How far a pod is that a run has made to have images pulled.
fn pulling(pod: &core::Pod) -> Option<Box<Pulling>> {
    pod.metadata.labels.as_ref()?.get(PREWARM_LABEL)?;
    let run = RunId::new(pod.metadata.annotations.as_ref()?.get(RUN_ANNOTATION)?.as_str()).ok()?;
    let status = pod.status.as_ref();
    let containers = &pod.spec.as_ref()?.containers;
    let ours = containers.iter().filter(|container| container.name.starts_with(PREWARM_CONTAINER));
    let images = ours.map(|container| ImagePull {
        image: container.image.clone().unwrap_or_default(),
        state: reported(pod, &container.name).map_or(PullState::Waiting, pull_state),
    });
    let failed = status.filter(|status| status.phase.as_deref() == Some("Failed"));
    let refused = failed.and_then(|status| {
        let reason = status.reason.as_ref()?;
        Some(match &status.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason.clone(),
        })
    });
    Some(Box::new(Pulling { run, images: images.collect(), refused }))
}

fn pull_state(status: &core::ContainerStatus) -> PullState {
    let state = status.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref());
    PullState::of(ContainerReport {
        image_id: &status.image_id,
        has_run: state.is_some_and(|state| state.running.is_some())
            || ended.is_some_and(|ended| ended.reason.as_deref() != Some("ContainerStatusUnknown")),
        reason: waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default(),
        message: waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default(),
    })
}

fn grace(spec: &core::PodSpec) -> u32 {
    spec.termination_grace_period_seconds.map_or(30, |seconds| u32::try_from(seconds).unwrap_or_default())
}

/// Why a pod does not run: the scheduler's reason, else that of the first container that waits for something bad.
fn trouble(pod: &core::Pod) -> Option<String> {
    const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
    let scheduled = condition(pod, "PodScheduled").filter(|scheduled| scheduled.status == "False");
    if let Some(reason) = scheduled.and_then(|scheduled| scheduled.reason.clone()) {
        return Some(reason);
    }
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let mut reasons = containers.filter_map(|c| c.state.as_ref()?.waiting.as_ref()?.reason.clone());
    reasons.find(|reason| !STARTING.contains(&reason.as_str()))
}

pub(super) fn template(template: &core::PodTemplateSpec) -> PodTemplate {
    let no_spec = core::PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&no_spec);
    let meta = template.metadata.as_ref();
    let restart = meta.and_then(|meta| meta.annotations.as_ref()?.get(RESTART_ANNOTATION));
    let gated = spec.readiness_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    let probed = spec.containers.iter().filter(|c| c.readiness_probe.is_some()).count();
    PodTemplate {
        labels: meta.map(labels).unwrap_or_default(),
        restart_id: restart.and_then(|id| RestartId::new(id.as_str()).ok()),
        requests: rules::requests(spec),
        rules: rules::of_pod(spec),
        readiness_probe: gated || probed > 0 && probed == spec.containers.len(),
        unprobed: !gated && probed == 0,
        claims: claims(spec),
        claim_templates: false,
        limits: rules::limits(spec),
        empty_dir: rules::has_empty_dir(spec),
        host_path: spec.volumes.iter().flatten().any(|volume| volume.host_path.is_some()),
        pre_stop: spec.containers.iter().any(|c| c.lifecycle.as_ref().is_some_and(|l| l.pre_stop.is_some())),
        kubelet_features: rules::kubelet_features(spec),
        images: images(&spec.containers),
        init_images: images(spec.init_containers.as_deref().unwrap_or_default()),
        pull_access: pull_access(spec),
        grace_seconds: grace(spec),
        priority: spec.priority.unwrap_or_default(),
    }
}

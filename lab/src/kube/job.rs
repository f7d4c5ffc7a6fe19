//! The Job controller: pods until the work is done; one that is lost is replaced after a backoff.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{
    Job, JobCondition, JobSpec, JobStatus, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use upgrade_core::model::WorkloadKind;

use super::events::Reason;
use super::{Work, controlled_by, pods, uid_of};
use crate::store::{Key, controller};
use crate::timing::Timing;
use crate::world::World;

pub(super) fn reconcile(world: &mut World, key: &Key) {
    let Some(job) = world.store.get::<Job>(&key.namespace, &key.name).cloned() else { return };
    if ended(&job) {
        return;
    }
    let uid = uid_of(&*job).to_owned();
    let lost = world.kube.job_losses.remove(&uid).unwrap_or_default();
    let spec = job.spec.clone().unwrap_or_default();
    let all: Vec<Arc<Pod>> = world.store.owned_by::<Pod>(&uid).cloned().collect();
    let count = |meant: &dyn Fn(&Pod) -> bool| {
        i32::try_from(all.iter().filter(|pod| meant(pod)).count()).unwrap_or(i32::MAX)
    };
    let before = job.status.clone().unwrap_or_default();
    let succeeded = count(&|pod| pods::phase(pod) == "Succeeded");
    let failed = before.failed.unwrap_or_default() + lost.counted;
    let mut active = count(&pods::is_active);
    let parallelism = spec.parallelism.unwrap_or(1);
    let completions = spec.completions.unwrap_or(1);
    let mut conditions = before.conditions.clone().unwrap_or_default();
    let now = world.store.time();
    let mut completion_time = before.completion_time.clone();
    if succeeded >= completions {
        conditions.push(condition("Complete", "CompletionsReached", &now));
        completion_time = Some(now.clone());
    } else if lost.is_final || failed > spec.backoff_limit.unwrap_or(6) {
        let reason = if lost.is_final { "PodFailurePolicy" } else { "BackoffLimitExceeded" };
        conditions.push(condition("Failed", reason, &now));
        for pod in all.iter().filter(|pod| pods::is_active(pod)) {
            let _ = world.delete_pod(&key.namespace, pod.metadata.name.as_deref().unwrap_or_default(), None);
        }
    } else if lost.counted > 0 {
        let before = u32::try_from(failed - 1).unwrap_or_default();
        let backoff = world.timing.backoff(Timing::JobBackoff, Timing::JobBackoffMost, before);
        world.kube.job_backoffs.insert(uid.clone(), world.store.now + backoff);
        world.enqueue_later(backoff, Work::Job(key.clone()));
    } else if spec.suspend != Some(true)
        && world.kube.job_backoffs.get(&uid).is_none_or(|until| *until <= world.now())
    {
        let wanted = parallelism.min(completions - succeeded);
        // Whether one that is on its way out is replaced at once or when it is gone.
        let waited_for = if replaces_late(&spec) { count(&pods::is_terminating) } else { 0 };
        for _ in active + waited_for..wanted {
            create(world, key, &job);
        }
        active = active.max(wanted - waited_for);
    }
    let status = JobStatus {
        active: Some(active),
        ready: Some(count(&pods::is_ready)),
        succeeded: Some(succeeded),
        failed: Some(failed),
        terminating: Some(count(&pods::is_terminating)),
        start_time: before.start_time.clone().or(Some(now)),
        completion_time,
        conditions: (!conditions.is_empty()).then_some(conditions),
        ..before
    };
    let _ = world.store.update::<Job>(&key.namespace, &key.name, |job| job.status = Some(status));
}

/// With a policy for failures a pod is judged, and replaced, when it has ended.
fn replaces_late(spec: &JobSpec) -> bool {
    spec.pod_failure_policy.is_some() || spec.pod_replacement_policy.as_deref() == Some("Failed")
}

/// What a Job has lost since its controller looked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Pods whose loss counts.
    counted: i32,
    /// One of them ends the whole Job.
    is_final: bool,
}

/// A pod is lost before its work is done: a Job counts it from the moment when it is told to go.
pub(super) fn lost(world: &mut World, pod: &Pod) {
    if !pods::is_finished(pod) {
        broke(world, pod);
    }
}

/// A pod has ended without its work: its Job judges that by its policy (job: `pod_failure_policy.go`).
pub(super) fn broke(world: &mut World, pod: &Pod) {
    let is_job =
        |owner: &&OwnerReference| WorkloadKind::of(&owner.api_version, &owner.kind) == WorkloadKind::Job;
    let Some(owner) = controller(&pod.metadata).filter(is_job) else { return };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let job = world.store.get::<Job>(namespace, &owner.name);
    let rules = job.and_then(|job| Some(&job.spec.as_ref()?.pod_failure_policy.as_ref()?.rules));
    let known = |rule: &&PodFailurePolicyRule| matches!(&*rule.action, "Count" | "FailJob" | "Ignore");
    let rule = rules.into_iter().flatten().filter(known).find(|rule| fits(rule, pod));
    let action = rule.map_or("Count", |rule| rule.action.as_str());
    if action == "Ignore" {
        return;
    }
    let is_final = action == "FailJob";
    let losses = world.kube.job_losses.entry(owner.uid.clone()).or_default();
    losses.counted += 1;
    losses.is_final |= is_final;
}

fn fits(rule: &PodFailurePolicyRule, pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let has = |wanted: &PodFailurePolicyOnPodConditionsPattern| {
        let mut conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let value = wanted.status.as_deref().unwrap_or("True");
        conditions.any(|condition| condition.type_ == wanted.type_ && condition.status == value)
    };
    if let Some(patterns) = &rule.on_pod_conditions {
        return patterns.iter().any(has);
    }
    let Some(codes) = &rule.on_exit_codes else { return false };
    let containers = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let meant = containers.filter(|c| codes.container_name.as_ref().is_none_or(|name| *name == c.name));
    let mut ended = meant.filter_map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.exit_code));
    ended.any(|code| code != 0 && codes.values.contains(&code) == (codes.operator == "In"))
}

/// It has ended, well or badly.
pub(super) fn ended(job: &Job) -> bool {
    has_condition(job, "Complete") || has_condition(job, "Failed")
}

pub(super) fn has_condition(job: &Job, kind: &str) -> bool {
    let mut conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == kind && condition.status == "True")
}

fn condition(
    kind: &str,
    reason: &str,
    now: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
) -> JobCondition {
    JobCondition {
        last_transition_time: Some(now.clone()),
        reason: Some(reason.to_owned()),
        status: "True".to_owned(),
        type_: kind.to_owned(),
        ..JobCondition::default()
    }
}

fn create(world: &mut World, key: &Key, job: &Job) {
    let template = job.spec.clone().unwrap_or_default().template;
    let mut pod = pods::of_template(&template, &key.namespace, controlled_by(job));
    pods::add_labels(
        &mut pod.metadata.labels,
        [
            ("batch.kubernetes.io/job-name", key.name.as_str()),
            ("batch.kubernetes.io/controller-uid", uid_of(job)),
        ],
    );
    pod.metadata.generate_name = Some(format!("{}-", key.name));
    match world.create_pod(pod) {
        Ok(pod) => {
            pods::tell_created::<Job>(world, key, &pod);
            world.kube.failures.remove(&Work::Job(key.clone()));
        }
        Err(error) => {
            world.tell::<Job>(key, Reason::FailedCreate, || format!("Error creating: {error}"));
            world.retry_later(Work::Job(key.clone()));
        }
    }
}

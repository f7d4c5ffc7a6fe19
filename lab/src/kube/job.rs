//! The Job controller: pods until the work is done; one that is lost is replaced after a backoff.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use super::events::Reason;
use super::{Work, controlled_by, pods, uid_of};
use crate::store::Key;
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
    let failed = before.failed.unwrap_or_default() + lost;
    let mut active = count(&pods::is_active);
    let parallelism = spec.parallelism.unwrap_or(1);
    let completions = spec.completions.unwrap_or(1);
    let mut conditions = before.conditions.clone().unwrap_or_default();
    let now = world.store.time();
    let mut completion_time = before.completion_time.clone();
    if succeeded >= completions {
        conditions.push(condition("Complete", "CompletionsReached", &now));
        completion_time = Some(now.clone());
    } else if failed > spec.backoff_limit.unwrap_or(6) {
        conditions.push(condition("Failed", "BackoffLimitExceeded", &now));
        for pod in all.iter().filter(|pod| pods::is_active(pod)) {
            let _ = world.delete_pod(&key.namespace, pod.metadata.name.as_deref().unwrap_or_default(), None);
        }
    } else if lost > 0 {
        let before = u32::try_from(failed - 1).unwrap_or_default();
        let backoff = world.timing.backoff(Timing::JobBackoff, Timing::JobBackoffMost, before);
        world.kube.job_backoffs.insert(uid.clone(), world.store.now + backoff);
        world.enqueue_later(backoff, Work::Job(key.clone()));
    } else if spec.suspend != Some(true)
        && world.kube.job_backoffs.get(&uid).is_none_or(|until| *until <= world.now())
    {
        let wanted = parallelism.min(completions - succeeded);
        for _ in active..wanted {
            create(world, key, &job);
        }
        active = active.max(wanted);
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

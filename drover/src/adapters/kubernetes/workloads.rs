//! Deployments, StatefulSets, DaemonSets, ReplicaSets and Jobs.

use upgrade_core::model::{IntOrPercent, Strategy, Workload, WorkloadKind, WorkloadRef, WorkloadStatus};

use super::decode::{DecodeError, condition, int_or_percent, object_name, owner, selector, uid};
use super::pods;
use super::wire;

/// What a Deployment that says nothing may have above and below its size (apps/v1 defaults).
const DEPLOYMENT_LIMIT: IntOrPercent = IntOrPercent::Percent(25);

pub(super) fn workload(kind: WorkloadKind, workload: wire::Workload) -> Result<Workload, DecodeError> {
    let wire::Workload { metadata: meta, spec, status } = workload;
    let claim_templates = spec.volume_claim_templates.as_ref().is_some_and(|claims| !claims.is_empty());
    let strategy = strategy(&meta, &kind, spec.strategy.or(spec.update_strategy))?;
    let replicas = match kind {
        // One is the API's default.
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::ReplicaSet => {
            spec.replicas.unwrap_or(1)
        }
        WorkloadKind::DaemonSet => status.desired_number_scheduled.unwrap_or(0),
        WorkloadKind::Job | WorkloadKind::Other(_) => 0,
    };
    Ok(Workload {
        uid: uid(&meta)?,
        owner: owner(&meta)?,
        generation: meta.generation.unwrap_or(0),
        replicas,
        selector: spec.selector.map(|wanted| selector(wanted).into()),
        strategy,
        paused: spec.paused.unwrap_or(false),
        min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        template: pods::template(&meta, spec.template, claim_templates)?.into(),
        status: self::status(&kind, &status),
        reference: WorkloadRef { kind, name: object_name(&meta)? },
    })
}

fn strategy(
    meta: &wire::Meta,
    kind: &WorkloadKind,
    given: Option<wire::UpdateStrategy>,
) -> Result<Strategy, DecodeError> {
    let (word, rolling) = match given {
        Some(given) => (given.kind.unwrap_or_default(), given.rolling_update.unwrap_or_default()),
        None => (String::new(), wire::RollingUpdate::default()),
    };
    let limit = |value: Option<wire::IntOrString>, default| {
        value.map_or(Ok(default), |value| int_or_percent(meta, value))
    };
    Ok(match (kind, word.as_str()) {
        (WorkloadKind::Deployment, "Recreate") => Strategy::Recreate,
        (WorkloadKind::Deployment, _) => Strategy::Rolling {
            max_surge: limit(rolling.max_surge, DEPLOYMENT_LIMIT)?,
            max_unavailable: limit(rolling.max_unavailable, DEPLOYMENT_LIMIT)?,
        },
        (WorkloadKind::StatefulSet | WorkloadKind::DaemonSet, "OnDelete") => Strategy::OnDelete,
        (WorkloadKind::StatefulSet, _) => Strategy::Ordered { partition: rolling.partition.unwrap_or(0) },
        (WorkloadKind::DaemonSet, _) => Strategy::Rolling {
            max_surge: limit(rolling.max_surge, IntOrPercent::Int(0))?,
            max_unavailable: limit(rolling.max_unavailable, IntOrPercent::Int(1))?,
        },
        (WorkloadKind::ReplicaSet | WorkloadKind::Job | WorkloadKind::Other(_), _) => Strategy::Never,
    })
}

fn status(kind: &WorkloadKind, status: &wire::WorkloadStatus) -> WorkloadStatus {
    let count = |value: Option<u32>| value.unwrap_or(0);
    // The controller of Jobs does not say.
    let observed_generation = status.observed_generation.unwrap_or(0);
    let (replicas, updated, ready, available) = match kind {
        WorkloadKind::DaemonSet => (
            status.current_number_scheduled,
            status.updated_number_scheduled,
            status.number_ready,
            status.number_available,
        ),
        WorkloadKind::Job => (status.active, status.active, status.ready, status.ready),
        _ => (status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas),
    };
    WorkloadStatus {
        observed_generation,
        replicas: count(replicas),
        updated: count(updated),
        ready: count(ready),
        available: count(available),
        trouble: trouble(status),
    }
}

/// The failure of a rollout or of a Job, in the controller's word.
fn trouble(status: &wire::WorkloadStatus) -> Option<String> {
    let conditions = status.conditions.as_ref();
    let failed = condition(conditions, "ReplicaFailure").filter(|c| c.status == "True");
    let stuck = condition(conditions, "Progressing").filter(|c| c.status == "False");
    let over = condition(conditions, "Failed").filter(|c| c.status == "True");
    failed.or(stuck).or(over).and_then(|condition| condition.reason.clone())
}

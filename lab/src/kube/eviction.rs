//! The Eviction API, with exactly the API server's order of decisions (registry/core/pod/storage/eviction.go).

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Time};

use super::{api, namespace_takes, pods};
use crate::error::{ApiError, Cause};
use crate::ports::rules::selector;
use crate::store::{Key, Kind, whole_second};
use crate::world::World;

/// The API server refuses to track more evictions of one budget than this.
const MAX_DISRUPTED: usize = 2_000;

impl World {
    /// `POST .../pods/{name}/eviction`. An error is the API's refusal: 404, 409 (uid), 429 (budget), 403 (a namespace that is
    /// going, among others), 500 (two budgets), or that of a webhook.
    pub fn evict(
        &mut self,
        namespace: &str,
        name: &str,
        options: Option<&DeleteOptions>,
    ) -> Result<(), ApiError> {
        namespace_takes(&self.store, Kind::Pod.names(), namespace, name)?;
        self.refuse_eviction(namespace, name, options)?;
        let pod = Arc::clone(self.store.find::<Pod>(namespace, name)?);
        if matches!(pods::phase(&pod), "Succeeded" | "Failed" | "Pending") || pods::is_terminating(&pod) {
            return self.delete_pod(namespace, name, options).map(drop);
        }
        let budgets = self.budgets_of(namespace, &pod);
        let Some(budget) = budgets.first() else {
            return self.delete_disrupted(namespace, name, options);
        };
        if budgets.len() > 1 {
            let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(ApiError::new(500, "", why));
        }
        if !pods::is_ready(&pod) && may_go_unhealthy(budget) {
            return self.delete_disrupted(namespace, name, options);
        }
        let key = super::key_of(&**budget);
        self.decrement(&key, name, api::is_dry_run(options))?;
        self.delete_disrupted(namespace, name, options)
    }

    /// The budgets whose selector matches: an empty one matches every pod, an absent one none.
    fn budgets_of(&self, namespace: &str, pod: &Pod) -> Vec<Arc<PodDisruptionBudget>> {
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let protects = |budget: &&Arc<PodDisruptionBudget>| {
            let wanted = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            wanted.is_some_and(|wanted| selector(wanted).matches(&labels))
        };
        self.store.list_in::<PodDisruptionBudget>(namespace).filter(protects).cloned().collect()
    }

    /// Takes one disruption from the budget, before the pod is deleted: if the delete then fails, it stays taken until the
    /// controller counts again.
    fn decrement(&mut self, key: &Key, pod: &str, dry_run: bool) -> Result<(), ApiError> {
        let budget = self.store.find::<PodDisruptionBudget>(&key.namespace, &key.name)?;
        allow(budget)?;
        if dry_run {
            return Ok(());
        }
        let now = whole_second(self.now());
        self.store
            .update::<PodDisruptionBudget>(&key.namespace, &key.name, |budget| take_one(budget, pod, now))?;
        Ok(())
    }

    fn delete_disrupted(
        &mut self,
        namespace: &str,
        name: &str,
        options: Option<&DeleteOptions>,
    ) -> Result<(), ApiError> {
        let pod = self.store.find::<Pod>(namespace, name)?;
        api::check_preconditions::<Pod>(name, &pod.metadata, options)?;
        if !api::is_dry_run(options) {
            let key = Key::new(namespace, name);
            pods::disrupt(self, &key, "EvictionByEvictionAPI", "Eviction API: evicting");
        }
        self.delete_pod(namespace, name, options).map(drop)
    }
}

/// A pod that is not ready may go without asking: always, or while the healthy ones suffice.
fn may_go_unhealthy(budget: &PodDisruptionBudget) -> bool {
    let policy = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    let status = budget.status.as_ref();
    let healthy = status.and_then(|s| s.current_healthy).unwrap_or_default();
    let desired = status.and_then(|s| s.desired_healthy).unwrap_or_default();
    match policy {
        Some("AlwaysAllow") => true,
        // A policy of a newer Kubernetes protects.
        Some("IfHealthyBudget") | None => healthy >= desired && desired > 0,
        Some(_) => false,
    }
}

fn refusal(cause: String, retry_after_seconds: i32) -> ApiError {
    ApiError {
        causes: vec![Cause { reason: "DisruptionBudget".to_owned(), message: cause, field: None }],
        retry_after_seconds,
        ..ApiError::new(
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
        )
    }
}

/// Does the budget allow one more disruption?
fn allow(budget: &PodDisruptionBudget) -> Result<(), ApiError> {
    let name = budget.metadata.name.as_deref().unwrap_or_default();
    let no_status = k8s_openapi::api::policy::v1::PodDisruptionBudgetStatus::default();
    let status = budget.status.as_ref().unwrap_or(&no_status);
    let number = |value: Option<i32>| value.unwrap_or_default();
    if status.observed_generation.unwrap_or_default() < budget.metadata.generation.unwrap_or_default() {
        return Err(refusal(
            format!("The disruption budget {name} is still being processed by the server."),
            10,
        ));
    }
    let forbidden = |why: &str| {
        ApiError::new(403, "Forbidden", format!("poddisruptionbudgets.policy \"{name}\" is forbidden: {why}"))
    };
    if number(status.disruptions_allowed) < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    if status.disrupted_pods.as_ref().map_or(0, std::collections::BTreeMap::len) > MAX_DISRUPTED {
        return Err(forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if number(status.disruptions_allowed) == 0 {
        let failed =
            status.conditions.iter().flatten().find(|c| c.status == "False" && c.reason == "SyncFailed");
        let cause = match failed {
            Some(condition) => {
                format!(
                    "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
                    condition.message
                )
            }
            None => format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                number(status.desired_healthy),
                number(status.current_healthy)
            ),
        };
        return Err(refusal(cause, 0));
    }
    Ok(())
}

fn take_one(budget: &mut PodDisruptionBudget, pod: &str, now: Timestamp) {
    let status = budget.status.get_or_insert_default();
    let left = status.disruptions_allowed.unwrap_or_default() - 1;
    status.disruptions_allowed = Some(left);
    status.disrupted_pods.get_or_insert_default().insert(pod.to_owned(), Time(now));
    if left == 0 {
        for condition in status.conditions.iter_mut().flatten().filter(|c| c.type_ == "DisruptionAllowed") {
            "False".clone_into(&mut condition.status);
            "InsufficientPods".clone_into(&mut condition.reason);
            condition.last_transition_time = Time(now);
        }
    }
}

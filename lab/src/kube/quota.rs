//! ResourceQuota: pods and their requests, counted at admission and told in the status (pkg/quota/v1).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, PodSpec, ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use upgrade_core::model::{MilliCpu, Resources};

use super::admission::Amounts;
use super::{Work, pods};
use crate::error::ApiError;
use crate::ports::rules;
use crate::store::Key;
use crate::world::World;

/// Would the pod exceed a quota of its namespace?
pub(super) fn admit(world: &World, namespace: &str, name: &str, pod: &Pod) -> Result<(), ApiError> {
    for quota in world.store.list_in::<ResourceQuota>(namespace).filter(|quota| is_counted(quota, pod)) {
        let hard = hard(quota);
        let asked = usage(pod.spec.as_ref());
        let forbidden = |why: String| {
            Err(ApiError::new(403, "Forbidden", format!("pods \"{name}\" is forbidden: {why}")))
        };
        let title = quota.metadata.name.as_deref().unwrap_or_default();
        let missing: BTreeSet<&str> = hard
            .keys()
            .filter(|key| must_be_given(key) && !asked.contains_key(*key))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            let missing: Vec<&str> = missing.into_iter().collect();
            return forbidden(format!("failed quota: {title}: must specify {}", missing.join(",")));
        }
        let used = used(world, namespace, quota);
        let of = |amounts: &Amounts, key: &str| amounts.get(key).copied().unwrap_or_default();
        let over: Vec<&String> = hard
            .iter()
            .filter(|(key, most)| of(&asked, key) > 0 && of(&used, key) + of(&asked, key) > **most)
            .map(|(key, _)| key)
            .collect();
        if !over.is_empty() {
            let list = |amounts: &Amounts| {
                let shown = over.iter().map(|key| format!("{key}={}", written(key, of(amounts, key)).0));
                shown.collect::<Vec<_>>().join(",")
            };
            let (asked, used, hard) = (list(&asked), list(&used), list(&hard));
            return forbidden(format!(
                "exceeded quota: {title}, requested: {asked}, used: {used}, limited: {hard}"
            ));
        }
    }
    Ok(())
}

/// Writes what is used into the status.
pub(super) fn reconcile(world: &mut World, key: &Key) {
    let Some(quota) = world.store.get::<ResourceQuota>(&key.namespace, &key.name).cloned() else { return };
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
    let used = used(world, &key.namespace, &quota);
    let known =
        hard.keys().map(|key| (key.clone(), written(key, used.get(key).copied().unwrap_or_default())));
    let status = ResourceQuotaStatus { used: Some(known.collect()), hard: Some(hard) };
    let _ =
        world.store.update::<ResourceQuota>(&key.namespace, &key.name, |quota| quota.status = Some(status));
}

/// A pod has come, changed or gone.
pub(super) fn on_pod(world: &mut World, namespace: &str) {
    let quotas: Vec<Key> =
        world.store.list_in::<ResourceQuota>(namespace).map(|quota| super::key_of(&**quota)).collect();
    for key in quotas {
        world.enqueue(Work::Quota(key));
    }
}

/// What the quota's pods use now. One that was told to go counts until its grace is over, whatever becomes of it then.
fn used(world: &World, namespace: &str, quota: &ResourceQuota) -> Amounts {
    let now = world.now();
    let overdue =
        |pod: &Pod| pod.metadata.deletion_timestamp.as_ref().is_some_and(|deadline| deadline.0 < now);
    let mut total = Amounts::new();
    let counted = world.store.list_in::<Pod>(namespace).filter(|pod| is_counted(quota, pod));
    for pod in counted.filter(|pod| !pods::is_finished(pod) && !overdue(pod)) {
        for (key, amount) in usage(pod.spec.as_ref()) {
            *total.entry(key).or_default() += amount;
        }
    }
    total
}

/// Do the quota's scopes mean the pod? Scopes that are not known here mean nobody.
fn is_counted(quota: &ResourceQuota, pod: &Pod) -> bool {
    let spec = quota.spec.as_ref();
    let classes = spec.and_then(|spec| spec.scope_selector.as_ref()?.match_expressions.as_ref());
    let class = pod.spec.as_ref().and_then(|spec| spec.priority_class_name.as_deref());
    let in_class = classes.into_iter().flatten().all(|expression| {
        let listed =
            class.is_some_and(|class| expression.values.iter().flatten().any(|value| value == class));
        match (expression.scope_name.as_str(), expression.operator.as_str()) {
            ("PriorityClass", "In") => listed,
            ("PriorityClass", "NotIn") => !listed,
            ("PriorityClass", "Exists") => class.is_some(),
            ("PriorityClass", "DoesNotExist") => class.is_none(),
            _ => false,
        }
    });
    let ends = pod.spec.as_ref().is_some_and(|spec| spec.active_deadline_seconds.is_some());
    let best_effort = usage(pod.spec.as_ref()).len() == PODS.len();
    let scopes = spec.and_then(|spec| spec.scopes.as_ref()).into_iter().flatten();
    let in_scope = |scope: &String| match scope.as_str() {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        _ => false,
    };
    in_class && scopes.into_iter().all(in_scope)
}

/// The two names under which pods themselves are counted.
const PODS: [&str; 2] = ["pods", "count/pods"];

/// What a pod takes of a quota, by the quota's names for it. CPU in thousandths.
fn usage(spec: Option<&PodSpec>) -> Amounts {
    let mut usage: Amounts = PODS.map(|key| (key.to_owned(), 1)).into();
    let Some(spec) = spec else { return usage };
    let mut add = |resources: Resources, names: [&[&str]; 2]| {
        for (names, amount) in names.into_iter().zip([resources.cpu.0, resources.memory.0]) {
            for name in names.iter().filter(|_| amount > 0) {
                usage.insert((*name).to_owned(), amount);
            }
        }
    };
    add(rules::requests(spec), [&["cpu", "requests.cpu"], &["memory", "requests.memory"]]);
    add(rules::requests(&limits_as_requests(spec)), [&["limits.cpu"], &["limits.memory"]]);
    usage
}

/// The spec with its limits where its requests are, to be added up by the same rule.
fn limits_as_requests(spec: &PodSpec) -> PodSpec {
    let mut spec = spec.clone();
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        if let Some(resources) = &mut container.resources {
            resources.requests.clone_from(&resources.limits);
        }
    }
    spec
}

/// CPU and memory that a quota limits have to be given by each pod.
fn must_be_given(key: &str) -> bool {
    key.ends_with("cpu") || key.ends_with("memory")
}

fn hard(quota: &ResourceQuota) -> Amounts {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()).into_iter().flatten();
    let known = hard.filter(|(key, _)| PODS.contains(&key.as_str()) || must_be_given(key));
    known.map(|(key, amount)| (key.clone(), read(key, amount))).collect()
}

fn read(key: &str, amount: &Quantity) -> u64 {
    let milli = MilliCpu::parse(&amount.0).unwrap_or_default().0;
    if key.ends_with("cpu") { milli } else { milli / 1000 }
}

fn written(key: &str, amount: u64) -> Quantity {
    Quantity(match amount {
        whole if key.ends_with("cpu") && whole % 1000 == 0 => (whole / 1000).to_string(),
        milli if key.ends_with("cpu") => format!("{milli}m"),
        gibi if key.ends_with("memory") && gibi > 0 && gibi % (1 << 30) == 0 => format!("{}Gi", gibi >> 30),
        mebi if key.ends_with("memory") && mebi > 0 && mebi % (1 << 20) == 0 => format!("{}Mi", mebi >> 20),
        other => other.to_string(),
    })
}

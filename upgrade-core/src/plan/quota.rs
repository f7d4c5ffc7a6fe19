//! Quotas that hold back the pods which moves make before others go.

use std::collections::BTreeSet;

use super::Route;
use super::order::Mover;
use crate::model::{PodTemplate, Quota, Workload};
use crate::view::View;

/// The namespaces with a quota that has no room for all their moves at the same time. A pod that a quota refuses is tried again by
/// its controller after ever longer pauses, so these moves go one after another.
pub(super) fn crowded(quotas: &[Quota], movers: &[&Mover], view: &View) -> BTreeSet<String> {
    let is_short = |quota: &&Quota| {
        let here = movers.iter().filter(|(owner, _)| owner.name.namespace() == quota.name.namespace());
        let known = here.filter_map(|(owner, choice)| Some((view.workload(owner)?, choice.route)));
        let all = known.map(|(workload, route)| (&*workload.template, u64::from(surge(workload, route))));
        over(quota, all).is_some()
    };
    quotas.iter().filter(is_short).map(|quota| quota.name.namespace().to_owned()).collect()
}

/// How many pods above the wanted number a move makes, at most.
pub(crate) fn surge(workload: &Workload, route: Route) -> u32 {
    match route {
        Route::Restart | Route::RestartWithLoan => {
            workload.rolling_limits().map_or(1, |(surge, _)| surge.max(1))
        }
        Route::ScaleThenEvict => 1,
        Route::Evict | Route::WaitThenEvict | Route::Gap => 0,
    }
}

/// What of the quota is not enough for so many more pods of these templates; `None` if all is.
pub(crate) fn over<'a>(
    quota: &Quota,
    more: impl IntoIterator<Item = (&'a PodTemplate, u64)>,
) -> Option<String> {
    let mut asked = [0_u64; 5];
    for (template, pods) in more {
        let (requests, limits) = (template.requests, template.limits);
        let one = [1, requests.cpu.0, requests.memory.0, limits.cpu.0, limits.memory.0];
        for (sum, one) in asked.iter_mut().zip(one) {
            *sum = sum.saturating_add(one.saturating_mul(pods));
        }
    }
    let (hard, used) = (&quota.hard, &quota.used);
    let cpu = |amount: Option<crate::model::MilliCpu>| amount.map(|amount| amount.0);
    let bytes = |amount: Option<crate::model::Bytes>| amount.map(|amount| amount.0);
    let counted = [
        ("pods", hard.pods, used.pods),
        ("requests.cpu", cpu(hard.requests_cpu), cpu(used.requests_cpu)),
        ("requests.memory", bytes(hard.requests_memory), bytes(used.requests_memory)),
        ("limits.cpu", cpu(hard.limits_cpu), cpu(used.limits_cpu)),
        ("limits.memory", bytes(hard.limits_memory), bytes(used.limits_memory)),
    ];
    let short = counted.into_iter().zip(asked).filter_map(|((name, hard, used), asked)| {
        let left = hard?.saturating_sub(used.unwrap_or(0));
        (asked > left)
            .then(|| format!("{name}: {} left, {} needed", written(name, left), written(name, asked)))
    });
    let short: Vec<String> = short.collect();
    (!short.is_empty()).then(|| short.join("; "))
}

/// An amount as Kubernetes would write it.
fn written(name: &str, amount: u64) -> String {
    match name.rsplit('.').next() {
        Some("cpu") => format!("{amount}m"),
        Some("memory") => format!("{}Mi", amount >> 20),
        _ => amount.to_string(),
    }
}

//! What may be taken away now: budgets and last endpoints, with what is already on its way out counted in.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Budget, ObjectName, Pod, Uid};
use crate::view::View;

/// Why a pod may not be evicted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It may be allowed later.
    NotNow(String),
    /// It can never be allowed as things are set up.
    Never(String),
}

/// One ledger for all moves: each eviction that is granted lowers what is left for the others.
pub(super) struct Allowances<'a> {
    view: &'a View,
    /// Pods whose eviction was sent or accepted, and which the view may still show as healthy.
    leaving: &'a BTreeSet<Uid>,
    granted: BTreeSet<Uid>,
    budgets: BTreeMap<&'a ObjectName, u32>,
}

impl<'a> Allowances<'a> {
    pub(super) fn new(view: &'a View, leaving: &'a BTreeSet<Uid>) -> Self {
        Self { view, leaving, granted: BTreeSet::new(), budgets: BTreeMap::new() }
    }

    /// May `pod` be evicted now? If so, it counts as leaving from here on.
    pub(super) fn grant(&mut self, pod: &'a Pod, gap_accepted: bool) -> Result<(), Refusal> {
        if !gap_accepted {
            self.keeps_an_endpoint(pod)?;
        }
        let budgets: Vec<&Budget> = self.view.budgets_of(pod).collect();
        match budgets[..] {
            [] => {}
            [budget] => self.take(budget, pod)?,
            [first, second, ..] => {
                let message = format!(
                    "pod {} is protected by two budgets ({} and {})",
                    pod.name, first.name, second.name
                );
                return Err(Refusal::Never(format!("{message}; Kubernetes evicts no such pod")));
            }
        }
        self.granted.insert(pod.uid.clone());
        Ok(())
    }

    fn take(&mut self, budget: &'a Budget, pod: &Pod) -> Result<(), Refusal> {
        let left = match self.budgets.get(&budget.name) {
            Some(left) => *left,
            None => self.allowed_by(budget),
        };
        // A pod that is not ready takes nothing from a budget that lets unhealthy pods go, or that has what it needs without
        // it (Kubernetes: `unhealthyPodEvictionPolicy`).
        let (now, needed) = (budget.status.current_healthy, budget.status.desired_healthy);
        let spares = budget.always_allow_unhealthy || budget.is_synced() && needed > 0 && now >= needed;
        if !pod.ready && spares {
            return Ok(());
        }
        if left == 0 {
            let message = format!(
                "budget {}, which allows no eviction now ({now} healthy, {needed} needed)",
                budget.name
            );
            return Err(Refusal::NotNow(message));
        }
        self.budgets.insert(&budget.name, left - 1);
        Ok(())
    }

    /// What the budget allows: its own word, less what is on its way out and not counted there yet, and never more than the
    /// healthy pods that are really there.
    fn allowed_by(&self, budget: &Budget) -> u32 {
        if !budget.is_synced() {
            return 0;
        }
        let healthy: Vec<&Pod> = self.view.pods_under(budget).filter(|pod| pod.is_healthy()).collect();
        let leaving = healthy.iter().filter(|pod| self.leaving.contains(&pod.uid)).count();
        let (healthy, leaving) =
            (u32::try_from(healthy.len()).unwrap_or(0), u32::try_from(leaving).unwrap_or(u32::MAX));
        let staying = healthy.saturating_sub(leaving);
        let spare = staying.saturating_sub(budget.status.desired_healthy);
        budget.status.disruptions_allowed.saturating_sub(leaving).min(spare)
    }

    /// Every Service in front of the pod keeps another ready endpoint.
    fn keeps_an_endpoint(&self, pod: &Pod) -> Result<(), Refusal> {
        if !pod.is_healthy() {
            return Ok(());
        }
        for service in self.view.services_for(pod.name.namespace(), &pod.labels) {
            let stays = |other: &Pod| {
                let going = self.leaving.contains(&other.uid) || self.granted.contains(&other.uid);
                other.uid != pod.uid && other.is_healthy() && !going
            };
            let alone = !self.view.ready_pods_behind(&service.name).any(stays);
            if alone && self.view.ready_endpoints(&service.name) > 0 {
                return Err(Refusal::NotNow(format!(
                    "Service {}, of which pod {} is the last ready endpoint",
                    service.name, pod.name
                )));
            }
        }
        Ok(())
    }
}

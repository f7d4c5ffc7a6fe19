//! An onlooker: sees the cluster at every moment of the night, also while nobody works on the run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cluster_lab::{Lab, World};
use jiff::Timestamp;
use upgrade_core::model::{ObjectName, Pod, WorkloadRef};
use upgrade_core::plan::{Action, Plan};
use upgrade_core::view::View;

/// What is counted of a Service or a budget.
#[derive(Clone, Copy, Debug)]
struct Count {
    /// Healthy when it was seen first.
    first: u32,
    fewest: u32,
    /// Since when it was fewest first.
    since: Timestamp,
    /// It must not have fewer: 1 of a Service, what a budget wanted at first.
    least: u32,
    /// A rollout is behind it.
    rolls: bool,
}

#[derive(Default)]
struct Counts {
    services: BTreeMap<ObjectName, Count>,
    budgets: BTreeMap<ObjectName, Count>,
}

/// The onlooker.
pub(crate) struct Eye {
    /// Names for which a gap was accepted.
    accepted: BTreeSet<ObjectName>,
    /// Workloads that leave by a rollout. It does not ask budgets (Kubernetes: deployment controller), and as it adds up what its
    /// ReplicaSets said last, it goes below its own limit for a moment when two pods become ready at the same time.
    rolling: BTreeSet<WorkloadRef>,
    counts: Mutex<Counts>,
}

impl Eye {
    pub(crate) fn new(plan: &Plan) -> Self {
        let rolling = plan.steps().filter_map(|step| match &step.action {
            Action::Move { workload, route, .. } if route.restarts() => Some(workload.clone()),
            _ => None,
        });
        let accepted = plan.accepted_gaps.iter().cloned().collect();
        Self { accepted, rolling: rolling.collect(), counts: Mutex::default() }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at every change, for ever.
    pub(crate) async fn look_on(&self, lab: &Lab) {
        let mut seen = lab.with(|world| self.look(world));
        loop {
            lab.changed_since(seen).await;
            seen = lab.with(|world| self.look(world));
        }
    }

    fn look(&self, world: &World) -> u64 {
        let (view, now) = (world.view(), world.now());
        let mut counts = self.counts();
        for service in view.services() {
            let rolls = || view.ready_pods_behind(&service.name).any(|pod| self.rolls(view, pod));
            note(&mut counts.services, &service.name, view.ready_endpoints(&service.name), 1, now, rolls);
        }
        for budget in view.budgets() {
            let status = &budget.status;
            let (healthy, least) = (status.current_healthy, status.desired_healthy);
            let rolls = || view.pods_under(budget).any(|pod| self.rolls(view, pod));
            note(&mut counts.budgets, &budget.name, healthy, least, now, rolls);
        }
        world.revision()
    }

    fn rolls(&self, view: &View, pod: &Pod) -> bool {
        view.workload_of(pod).is_some_and(|workload| self.rolling.contains(&workload))
    }

    /// The fewest ready endpoints of each Service that had one.
    pub(crate) fn fewest(&self) -> Vec<(String, u32)> {
        self.counts().services.iter().map(|(name, count)| (name.to_string(), count.fewest)).collect()
    }

    /// The fewest that each of them may have had in another night over the same cluster: as many as here, and one less where a
    /// rollout is behind it, whose sums may come late.
    pub(crate) fn bounds(&self) -> Vec<(String, u32)> {
        let bound =
            |count: &Count| count.fewest.saturating_sub(u32::from(count.rolls)).max(count.fewest.min(1));
        self.counts().services.iter().map(|(name, count)| (name.to_string(), bound(count))).collect()
    }

    /// What must not have been.
    pub(crate) fn broken(&self) -> Vec<String> {
        let counts = self.counts();
        let low = |(name, count): &(&ObjectName, &Count)| {
            count.first >= count.least && count.fewest < count.least && !self.accepted.contains(*name)
        };
        let services = counts.services.iter().filter(low);
        let services =
            services.map(|(name, count)| format!("Service {name} had no endpoint at {}", count.since));
        // A rollout asks no budget, and may be one below for a moment; what is evicted beside it may not.
        let lower = |count: &Count| count.fewest < count.least.saturating_sub(u32::from(count.rolls));
        let budgets =
            counts.budgets.iter().filter(low).filter(|(_, count)| lower(count)).map(|(name, count)| {
                let Count { fewest, since, least, .. } = count;
                format!("budget {name} wants {least} healthy pods and had {fewest} at {since}")
            });
        services.chain(budgets).collect()
    }
}

/// A Service counts from the moment it first had an endpoint.
fn note(
    counts: &mut BTreeMap<ObjectName, Count>,
    name: &ObjectName,
    healthy: u32,
    least: u32,
    now: Timestamp,
    rolls: impl FnOnce() -> bool,
) {
    match counts.get_mut(name) {
        Some(count) if healthy < count.fewest => (count.fewest, count.since) = (healthy, now),
        Some(_) => {}
        None if healthy == 0 => {}
        None => {
            counts.insert(
                name.clone(),
                Count { first: healthy, fewest: healthy, since: now, least, rolls: rolls() },
            );
        }
    }
}

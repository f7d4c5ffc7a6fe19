//! Rehearsal: the plan is carried out in worlds that stand in for the cluster, before anybody touches the cluster.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use upgrade_core::access;
use upgrade_core::event::{Event, EventKind, Report, RunOutcome};
use upgrade_core::inventory::Inventory;
use upgrade_core::journal::Record;
use upgrade_core::model::{HolderId, ProbeName, RunId, StepId};
use upgrade_core::plan::Plan;
use upgrade_core::ports::{Answer, EventSink, Gate, Journal, PortError, Ports, ProbeAnswer, Question};
use upgrade_core::run::{Start, drive, stop_signal};

use crate::forecast::{Forecast, Rehearsed};
use crate::lab::Lab;
use crate::scenario::Scenario;
use crate::timing::TimingModel;
use crate::world::World;

/// How a plan is rehearsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RehearseOptions {
    /// How often.
    pub runs: u32,
    /// The first run's seed; each further run takes the next number.
    pub seed: u64,
    /// How long things take there.
    pub timing: TimingModel,
}

impl Default for RehearseOptions {
    fn default() -> Self {
        Self { runs: 10, seed: 1, timing: TimingModel::default() }
    }
}

/// Carries the plan out in `options.runs` worlds made from the inventory, in virtual time, with the very code that executes it
/// on a cluster; as many at a time as rayon's pool has threads. Pure: the same arguments give the same forecast, on any number. Questions are answered with "go on" and
/// probes with "green", so that a forecast covers the whole plan; gaps show in its Services.
pub fn rehearse(inventory: &Inventory, plan: &Plan, options: &RehearseOptions) -> Forecast {
    in_worlds(plan, options, |seed| Lab::from_inventory(inventory, &options.timing, seed))
}

/// The same in worlds of a scenario, with those who fight back there and what goes wrong. Nobody is killed: a rehearsal is not
/// taken up again.
pub fn rehearse_scenario(scenario: &Scenario, plan: &Plan, options: &RehearseOptions) -> Forecast {
    let scenario = Scenario { timing: options.timing.clone(), ..scenario.clone() };
    in_worlds(plan, options, |seed| Lab::new(&scenario, seed))
}

fn in_worlds(plan: &Plan, options: &RehearseOptions, world: impl Fn(u64) -> Lab + Sync) -> Forecast {
    let seeds = (0..options.runs).into_par_iter().map(|run| options.seed.wrapping_add(u64::from(run)));
    let runs: Vec<Rehearsed> = seeds.map(|seed| rehearse_once(&world(seed), plan, seed)).collect();
    let stages = plan.stages.iter().map(|stage| (stage.number, stage.title.clone())).collect();
    let probes = plan.policy.probes.iter().map(ToString::to_string).collect();
    Forecast { probes, ..Forecast::of(options.seed, &runs, stages) }
}

fn rehearse_once(lab: &Lab, plan: &Plan, seed: u64) -> Rehearsed {
    let last = Arc::new(LastStep::default());
    lab.with(World::set_meter);
    let run = RunId::new(format!("rehearsal-{seed}")).expect("digits are plain");
    let start = Start::Fresh { plan: plan.clone(), run: run.clone(), tool: "rehearsal".to_owned() };
    let holder = HolderId::new(run.as_str()).expect("digits are plain");
    let (_stop, signal) = stop_signal();
    let result = lab.block_on(drive(start, lab.ports_with(Arc::clone(&last), holder), signal));
    let report = match result {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => last.report(plan, run, &error.to_string()),
        Err(stuck) => last.report(plan, run, &stuck.to_string()),
    };
    Rehearsed { seed, report, usage: lab.with(|world| world.usage()), ended: lab.now() }
}

/// Where a run stood last. Keeps no journal: a rehearsal is not taken up again.
#[derive(Default)]
struct LastStep(Mutex<Option<(StepId, String)>>);

impl EventSink for LastStep {
    fn emit(&self, event: &Event) {
        if let EventKind::StepStarted { step, title } = &event.kind {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((step.clone(), title.clone()));
        }
    }
}

#[async_trait]
impl Journal for LastStep {
    async fn append(&self, _: &Record) -> Result<(), PortError> {
        Ok(())
    }
}

#[async_trait]
impl Gate for LastStep {
    async fn ask(&self, _: &Question) -> Answer {
        Answer::Continue
    }

    async fn probe(&self, _: &ProbeName) -> ProbeAnswer {
        ProbeAnswer::Green { words: "counts as green in a rehearsal".to_owned() }
    }
}

impl LastStep {
    /// The report of a run that came to no end of its own.
    fn report(&self, plan: &Plan, run: RunId, cause: &str) -> Report {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let first = || plan.steps().next().map(|step| step.id.clone());
        let (step, title) = match last {
            Some(last) => last,
            None => (first().unwrap_or_else(|| StepId::new("1.1.1").expect("a literal")), String::new()),
        };
        Report {
            run,
            cluster: plan.cluster.name.clone(),
            from: plan.from,
            target: plan.target,
            outcome: RunOutcome::Held { step, title, cause: cause.to_owned() },
            stages: Vec::new(),
            ledger: Vec::new(),
            holding: Vec::new(),
            duration_ms: 0,
        }
    }
}

impl Lab {
    /// The world's ports for one process, with one thing for all that is not the world's.
    pub(crate) fn ports_with<T: Journal + Gate + EventSink + 'static>(
        &self,
        rest: Arc<T>,
        holder: HolderId,
    ) -> Ports {
        Ports {
            kubernetes: self.kubernetes(),
            azure: self.azure(),
            rancher: self.rancher(),
            clock: self.clock(),
            journal: Arc::<T>::clone(&rest),
            gate: Arc::<T>::clone(&rest),
            events: rest,
            holder,
        }
    }

    /// The cluster as its ports show it now, in fair weather.
    pub fn inventory(&self) -> Inventory {
        let weather = self.with(|world| std::mem::take(&mut world.weather));
        let inventory = self.seen();
        self.with(|world| world.weather = weather);
        inventory
    }

    fn seen(&self) -> Inventory {
        let kubernetes = self.kubernetes();
        let snapshot = self.block_on(kubernetes.snapshot()).expect("the lab's own ports answer at once");
        let snapshot = snapshot.expect("nothing in the lab forbids a read");
        let (azure, identity, facts) = self.with(|world| {
            (
                crate::ports::azure::view(world),
                crate::ports::rancher::identity(world),
                crate::rancher::facts(world),
            )
        });
        let identity = identity.expect("nothing in the lab forbids a read");
        let mut inventory = Inventory::of(self.now(), identity, facts, azure, snapshot);
        let access = self.block_on(access::review(&*kubernetes, &inventory));
        inventory.access = access.expect("the lab answers at once");
        inventory
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::SignedDuration;
    use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    use upgrade_core::model::Workload;
    use upgrade_core::view::Object;

    use super::*;
    use crate::Scenario;
    use crate::ports::convert::Slim;
    use crate::store::{Kind, KindVisitor, Store, Stored, with_kind};
    use upgrade_core::{Policy, plan};

    #[test]
    fn a_world_made_from_an_inventory_shows_that_inventory_and_is_at_rest() {
        let original = Lab::new(&Scenario::demo(), 1).inventory();
        let copy = Lab::from_inventory(&original, &TimingModel::default(), 9).inventory();
        assert!(original.identity.is_same_cluster(&copy.identity));
        assert_eq!(original.nodes, copy.nodes);
        assert_eq!(original.pools, copy.pools);
        let places = |inventory: &Inventory| -> Vec<_> {
            inventory
                .pods
                .iter()
                .map(|pod| (pod.name.clone(), pod.uid.clone(), pod.node.clone(), pod.ready, pod.requests))
                .collect()
        };
        assert_eq!(places(&original), places(&copy));
        let budgets = |inventory: &Inventory| -> Vec<_> {
            inventory
                .budgets
                .iter()
                .map(|b| (b.name.clone(), b.limit, b.status.disruptions_allowed))
                .collect()
        };
        assert_eq!(budgets(&original), budgets(&copy));
        let endpoints = |inventory: &Inventory| -> Vec<_> {
            let view = inventory.view();
            view.services().map(|s| (s.name.clone(), view.ready_endpoints(&s.name))).collect()
        };
        assert_eq!(endpoints(&original), endpoints(&copy));
        let view = copy.view();
        let unsettled: Vec<_> = view
            .workloads()
            .filter(|w| !w.is_settled() && w.owner.is_none())
            .map(|w| w.reference.to_string())
            .collect();
        assert_eq!(unsettled, ["Job data/report"], "a Job is never settled before its end");
    }

    /// A plan's inventory does not say when it was taken: the lab's own beginning of time is long before a real cluster's pods.
    #[test]
    fn a_world_made_from_a_cluster_of_any_day_is_at_rest_though_the_inventory_is_not_dated() {
        let mut original = Lab::new(&Scenario::demo(), 1).inventory();
        for pod in &mut original.pods {
            pod.ready_since = pod.ready_since.map(|since| since + SignedDuration::from_hours(7_700));
        }
        let late = original.pods.iter().filter_map(|pod| pod.ready_since).max();
        for inventory in [original.clone(), original.timeless()] {
            let lab = Lab::from_inventory(&inventory, &TimingModel::default(), 1);
            assert!(lab.clock().now() >= late.expect("pods are ready"));
            let view = lab.inventory().view();
            let unsettled = view.workloads().filter(|w| !w.is_settled() && w.owner.is_none());
            assert_eq!(unsettled.map(|w| w.reference.to_string()).collect::<Vec<_>>(), ["Job data/report"]);
        }
    }

    /// Only the pods have the number: a template names the class, which an inventory does not hold.
    #[test]
    fn pods_that_are_made_again_are_as_important_as_those_before_them() {
        let original = Lab::new(&Scenario::demo(), 1).inventory();
        let copy = Lab::from_inventory(&original, &TimingModel::default(), 1).inventory();
        let priority = |inventory: &Inventory| {
            let coredns = |w: &&Workload| w.reference.to_string() == "Deployment kube-system/coredns";
            inventory.workloads.iter().find(coredns).map(|workload| workload.template.priority)
        };
        assert_eq!((priority(&original), priority(&copy)), (Some(0), Some(2_000_000_000)));
    }

    struct Uids<'a>(&'a Store);

    impl KindVisitor for Uids<'_> {
        type Output = Vec<String>;

        fn visit<T: Stored>(self) -> Vec<String> {
            self.0.list::<T>().filter_map(|object| object.metadata().uid.clone()).collect()
        }
    }

    #[test]
    fn a_world_made_from_an_inventory_of_a_lab_with_its_own_seed_gives_no_uid_twice() {
        let mut lab = Lab::new(&Scenario::demo(), 1);
        for generation in 0..3 {
            lab = Lab::from_inventory(&lab.inventory(), &TimingModel::default(), 1);
            let uids = lab.with(|world| -> Vec<String> {
                Kind::ALL.iter().flat_map(|kind| with_kind(*kind, Uids(&world.store))).collect()
            });
            let distinct: BTreeSet<&String> = uids.iter().collect();
            assert_eq!(distinct.len(), uids.len(), "generation {generation}");
        }
    }

    /// What was renewed change by change is what is read anew.
    fn is_seen_as_it_is(world: &World) {
        let (store, view) = (&world.store, &world.kube.view);
        for pod in store.list::<Pod>() {
            let Some(Object::Pod(slim)) = pod.slim(store) else { panic!("a pod has a name") };
            assert_eq!(view.pod(&slim.name), Some(&slim));
        }
        let deployments = store.list::<Deployment>().map(|object| object.slim(store));
        for workload in deployments.chain(store.list::<ReplicaSet>().map(|object| object.slim(store))) {
            let Some(Object::Workload(slim)) = workload else { panic!("a workload has a name") };
            assert_eq!(view.workload(&slim.reference), Some(&slim));
        }
        for budget in store.list::<PodDisruptionBudget>() {
            let Some(Object::Budget(slim)) = budget.slim(store) else { panic!("a budget has a name") };
            assert_eq!(view.budget(&slim.name), Some(&slim));
        }
        for slice in store.list::<EndpointSlice>() {
            let Some(Object::Slice(slim)) = slice.slim(store) else { panic!("a slice has a name") };
            assert_eq!(view.slice(&slim.name), Some(&slim));
        }
    }

    #[test]
    fn a_world_that_forgets_what_was_seen_goes_through_the_same_night_as_one_that_remembers() {
        let inventory = Lab::new(&Scenario::demo(), 1).inventory();
        let plan = plan(&inventory, &Policy::default(), "1.35".parse().unwrap()).unwrap();
        let night = |remembers: bool| {
            let lab = Lab::from_inventory(&inventory, &TimingModel::default(), 1);
            if remembers {
                lab.with(|world| world.store.remember());
            }
            let night = rehearse_once(&lab, &plan, 1);
            lab.with(|world| is_seen_as_it_is(world));
            (night.report, night.usage, night.ended, lab.inventory())
        };
        assert_eq!(night(false), night(true));
    }

    #[test]
    fn a_rehearsal_foretells_the_same_again_and_other_luck_shows_in_the_spread() {
        let inventory = Lab::new(&Scenario::demo(), 1).inventory();
        let plan = plan(&inventory, &Policy::default(), "1.35".parse().unwrap()).unwrap();
        let options = RehearseOptions { runs: 3, seed: 5, ..RehearseOptions::default() };
        let forecast = rehearse(&inventory, &plan, &options);
        assert_eq!(forecast.failures, []);
        assert_eq!((forecast.runs, forecast.completed), (3, 3));
        assert!(forecast.duration_ms.min < forecast.duration_ms.max, "{:?}", forecast.duration_ms);
        assert_eq!(forecast.stages.len(), plan.stages.len());
        let gaps: Vec<_> = forecast.services.iter().filter(|service| service.runs_with_gap > 0).collect();
        assert!(gaps.is_empty(), "{gaps:?}");
        let usage = &forecast.usage;
        assert!(usage.most_nodes.min > inventory.nodes.len() as u64, "{usage:?}");
        assert_eq!(usage.families.len(), 1, "{usage:?}");
        assert_eq!(usage.families[0].most_vcpus, usage.most_vcpus);
        assert!(usage.most_vcpus.min > 60 && usage.most_addresses.min > usage.most_nodes.min, "{usage:?}");
        assert!(usage.pulls.min > 0 && usage.buffer_node_minutes.min > 0, "{usage:?}");
        assert_eq!(rehearse(&inventory, &plan, &options), forecast);
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(alone.install(|| rehearse(&inventory, &plan, &options)), forecast);
    }
}

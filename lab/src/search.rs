//! Searches: small upgrades in weather that is drawn from a seed, and what must hold whatever the weather.
//!
//! A seed decides everything: the cluster's luck, the faults, and when the process of the run is killed. A seed that breaks a
//! rule is a story that can be told again, as often as it takes to understand it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::pending;
use futures::{FutureExt, select_biased};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use upgrade_core::event::{Event, Report, RunOutcome};
use upgrade_core::inventory::Inventory;
use upgrade_core::journal::{Entry, Record, RunState, Write, WriteAnswer};
use upgrade_core::model::{HolderId, PoolName, RunId, Settings, StepId, Workload, WorkloadKind};
use upgrade_core::plan::Plan;
use upgrade_core::ports::{Answer, EventSink, Gate, Journal, PortError, Question};
use upgrade_core::run::{Start, drive, stop_signal};
use upgrade_core::{Policy, plan};

use crate::faults::Fault;
use crate::lab::Lab;
use crate::scenario::{Manifest, Scenario};
use crate::store::Stored;

/// How often a run that holds is gone on with, half an hour later each time.
const TRIES: usize = 3;
const LATER: Duration = Duration::from_secs(30 * 60);

/// One night of a search.
#[derive(Clone, Debug)]
pub struct Searched {
    /// The seed that tells it again.
    pub seed: u64,
    /// What befell the cluster and the run.
    pub faults: Vec<Fault>,
    /// How the run ended.
    pub outcome: RunOutcome,
    /// How many processes worked on it.
    pub processes: usize,
    /// What happened in the world by itself.
    pub events: u64,
    /// The rules that were broken, in words; empty if all is well.
    pub broken: Vec<String>,
}

impl fmt::Display for Searched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(|fault| format!("{fault:?}")).collect();
        write!(f, "seed {}: {:?}; faults: {}", self.seed, self.outcome, faults.join(", "))?;
        self.broken.iter().try_for_each(|rule| write!(f, "\n  broken: {rule}"))
    }
}

/// One small upgrade in the weather of a seed. What holds is gone on with a few times, as a person would do it.
///
/// Looks whether: every run comes to an end of its own; its journal replays; no Service loses its last endpoint; a workload
/// restarts at most once a move; nothing is deleted that the run did not make; and what is called done is done.
pub fn search(seed: u64) -> Searched {
    let mut scenario = small();
    let faults = Fault::draw(seed, &scenario);
    scenario.faults.clone_from(&faults);
    let lab = Lab::new(&scenario, seed);
    let before = lab.inventory();
    let plan = plan(&before, &Policy::default(), "1.35".parse().expect("a literal"));
    let plan = plan.expect("nothing of the small cluster blocks an upgrade");
    let night = Night { lab, kept: Arc::default() };
    let (outcome, processes, mut broken) = night.through(&plan, &faults);
    broken.extend(night.rules(&plan, &before, &outcome));
    let events = night.lab.with(|world| world.events());
    Searched { seed, faults, outcome, processes, events, broken }
}

/// Two nodes and one for the system, two Deployments with a Service each, one of them with a budget.
fn small() -> Scenario {
    let mut scenario = Scenario::demo();
    for (pool, count) in scenario.pools.iter_mut().zip([1, 2]) {
        pool.count = count;
    }
    scenario.images = [("registry.example.com/web:1".to_owned(), 80 << 20)].into();
    let mut objects = Vec::new();
    for (name, replicas) in [("web", 2), ("api", 1)] {
        let (meta, labels) = (json!({ "name": name, "namespace": "shop" }), json!({ "app": name }));
        let probe = json!({ "httpGet": { "port": 80 }, "periodSeconds": 5 });
        let container =
            json!({ "name": name, "image": "registry.example.com/web:1", "readinessProbe": probe });
        objects.push(object::<Deployment>(json!({ "metadata": meta, "spec": {
            "replicas": replicas, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        } })));
        objects.push(object::<Service>(
            json!({ "metadata": meta, "spec": { "selector": labels, "ports": [{ "port": 80 }] } }),
        ));
    }
    objects.push(object::<PodDisruptionBudget>(json!({
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": "web" } } },
    })));
    scenario.objects = objects;
    scenario
}

fn object<T: DeserializeOwned + Stored>(value: Value) -> Manifest {
    Manifest::from(serde_json::from_value::<T>(value).expect("written above"))
}

/// What outlives a process: its journal. It can kill it, too: the record is durable, the call never returns.
#[derive(Default)]
struct Kept {
    records: Mutex<Vec<Record>>,
    kill_at: Mutex<Option<usize>>,
    killed: Mutex<Option<futures::channel::oneshot::Sender<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Journal for Kept {
    async fn append(&self, record: &Record) -> Result<(), PortError> {
        let length = {
            let mut records = lock(&self.records);
            records.push(record.clone());
            records.len()
        };
        if lock(&self.kill_at).take_if(|at| *at == length).is_some() {
            let killed = lock(&self.killed).take();
            if let Some(killed) = killed {
                // Nobody listens any more if the process has just ended.
                let _ = killed.send(());
            }
            pending::<()>().await;
        }
        Ok(())
    }
}

#[async_trait]
impl Gate for Kept {
    async fn ask(&self, _: &Question) -> Answer {
        Answer::Pause
    }
}

impl EventSink for Kept {
    fn emit(&self, _: &Event) {}
}

struct Night {
    lab: Lab,
    kept: Arc<Kept>,
}

/// How a process ended.
enum Ended {
    Reported(Box<Report>),
    Killed,
    Broken(String),
}

impl Night {
    /// One process works on the run, and is killed when its record of this number is durable.
    fn process(&self, number: usize, start: Start, kill_at: Option<usize>) -> Ended {
        let (sender, killed) = futures::channel::oneshot::channel();
        *lock(&self.kept.kill_at) = kill_at;
        *lock(&self.kept.killed) = Some(sender);
        let (_stop, signal) = stop_signal();
        let holder = HolderId::new(format!("process-{number}")).expect("plain");
        let run = drive(start, self.lab.ports_with(Arc::clone(&self.kept), holder), signal);
        let end = self.lab.block_on(async {
            let (mut run, mut killed) = (Box::pin(run.fuse()), killed.fuse());
            select_biased! {
                report = run => Some(report),
                _ = killed => None,
            }
        });
        match end {
            Ok(Some(Ok(report))) => Ended::Reported(Box::new(report)),
            Ok(Some(Err(error))) => Ended::Broken(format!("a run ended with {error:?}")),
            Ok(None) => Ended::Killed,
            Err(stuck) => Ended::Broken(format!("a run waits for ever: {stuck}")),
        }
    }

    fn state(&self) -> Result<RunState, String> {
        let state = RunState::replay(lock(&self.kept.records).clone());
        state.map_err(|illegal| format!("the journal does not replay: {illegal}"))
    }

    /// Runs the plan through the kills among the faults; gives how it ended, and how many processes it took.
    fn through(&self, plan: &Plan, faults: &[Fault]) -> (RunOutcome, usize, Vec<String>) {
        let run = RunId::new("search").expect("plain");
        let mut start = Start::Fresh { plan: plan.clone(), run, tool: "search".to_owned() };
        let mut kills: BTreeSet<usize> = faults.iter().filter_map(Fault::crash).collect();
        let (mut outcome, mut processes, mut holds) = (RunOutcome::Aborted, 0, 0);
        loop {
            let length = lock(&self.kept.records).len();
            kills.retain(|record| *record > length);
            processes += 1;
            match self.process(processes, start, kills.first().copied()) {
                Ended::Broken(rule) => return (outcome, processes, vec![rule]),
                Ended::Reported(report) if report.outcome.is_done() || holds == TRIES => {
                    return (report.outcome.clone(), processes, gaps(&report));
                }
                Ended::Reported(report) => {
                    let gaps = gaps(&report);
                    if !gaps.is_empty() {
                        return (report.outcome.clone(), processes, gaps);
                    }
                    outcome = report.outcome.clone();
                    holds += 1;
                    let later = self.lab.now() + LATER;
                    if let Err(stuck) = self.lab.block_on(self.lab.sleep_until(later)) {
                        return (outcome, processes, vec![stuck.to_string()]);
                    }
                }
                Ended::Killed => {}
            }
            start = match self.state() {
                // Killed with its last record.
                Ok(state) if state.is_done() => return (RunOutcome::Done, processes, Vec::new()),
                Ok(state) => Start::Resumed(state),
                Err(rule) => return (outcome, processes, vec![rule]),
            };
        }
    }

    /// The rules about what is left.
    fn rules(&self, plan: &Plan, before: &Inventory, outcome: &RunOutcome) -> Vec<String> {
        let mut broken = restarts(&lock(&self.kept.records));
        let after = self.lab.inventory();
        let names = |inventory: &Inventory| -> BTreeSet<PoolName> {
            inventory.pools.iter().map(|pool| pool.name.clone()).collect()
        };
        for lost in names(before).difference(&names(&after)) {
            broken.push(format!("pool {lost} is gone, and the run did not make it"));
        }
        if !outcome.is_done() {
            return broken;
        }
        for extra in names(&after).difference(&names(before)) {
            broken.push(format!("pool {extra} is left, and the run is done"));
        }
        for node in &after.nodes {
            if node.kubelet != Some(plan.target) || node.unschedulable || !node.ready {
                broken.push(format!("the run is done, and node {} is not as it should be", node.name));
            }
        }
        let has_size = |was: &&Workload| was.owner.is_none() && was.reference.kind != WorkloadKind::DaemonSet;
        for was in before.workloads.iter().filter(has_size) {
            let is = after.workloads.iter().find(|is| is.uid == was.uid);
            if is.is_some_and(|is| Settings::of(is) != Settings::of(was)) {
                broken.push(format!("the run is done, and {} has not got back what it lent", was.reference));
            }
        }
        let view = after.view();
        let unsettled =
            view.workloads().filter(|workload| workload.owner.is_none() && !workload.is_settled());
        broken.extend(unsettled.map(|w| format!("the run is done, and {} is not at strength", w.reference)));
        broken
    }
}

fn gaps(report: &Report) -> Vec<String> {
    let of = |record: &upgrade_core::ledger::ServiceRecord| {
        let gap = record.gaps.first()?;
        Some(format!("Service {} had no endpoint since {} ({})", record.service, gap.begin, gap.cause))
    };
    report.ledger.iter().filter_map(of).collect()
}

/// A workload restarts at most once a move: no step has two restarts that were made.
fn restarts(records: &[Record]) -> Vec<String> {
    let mut intents: BTreeMap<u64, &StepId> = BTreeMap::new();
    let mut made: BTreeMap<&StepId, u32> = BTreeMap::new();
    for record in records {
        match &record.entry {
            Entry::Intent { id, step, write: Write::Restart { .. } } => {
                intents.insert(*id, step);
            }
            Entry::Answered { id, answer: WriteAnswer::Done } => {
                if let Some(step) = intents.get(id) {
                    *made.entry(step).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    let twice = made.into_iter().filter(|(_, times)| *times > 1);
    twice.map(|(step, times)| format!("step {step} restarted its workload {times} times")).collect()
}

#[cfg(test)]
mod tests {
    use rayon::iter::{IntoParallelIterator, ParallelIterator};
    use upgrade_core::model::{RestartId, Uid};

    use super::*;

    #[test]
    fn whatever_the_weather_no_rule_is_broken() {
        let told: Vec<Searched> = (0..100_u64).into_par_iter().map(search).collect();
        let broken: Vec<String> =
            told.iter().filter(|night| !night.broken.is_empty()).map(ToString::to_string).collect();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
        let done = told.iter().filter(|night| night.outcome.is_done()).count();
        assert!((50..100).contains(&done), "{done} of 100 are done: is the weather too good, or too bad?");
        let killed =
            |night: &&Searched| night.processes > 1 && night.faults.iter().any(|f| f.crash().is_some());
        let revived = told.iter().filter(killed).filter(|night| night.outcome.is_done()).count();
        assert!(revived > 0, "nobody was killed and went on to the end");
    }

    #[test]
    fn a_seed_tells_the_same_again() {
        let (one, again) = (search(7), search(7));
        assert_eq!((one.to_string(), one.events), (again.to_string(), again.events));
    }

    #[test]
    fn a_second_restart_of_a_step_is_seen() {
        let restart = || Write::Restart {
            workload: "shop/web".parse().map(deployment).expect("a name"),
            uid: Uid::new("u").expect("plain"),
            restart: RestartId::new("r.1.1.1").expect("plain"),
        };
        let step = || StepId::new("1.1.1").expect("three numbers");
        let entries = [
            Entry::Intent { id: 1, step: step(), write: restart() },
            Entry::Answered { id: 1, answer: WriteAnswer::Unknown { message: String::new() } },
            Entry::Intent { id: 2, step: step(), write: restart() },
            Entry::Answered { id: 2, answer: WriteAnswer::Done },
            Entry::Intent { id: 3, step: step(), write: restart() },
            Entry::Answered { id: 3, answer: WriteAnswer::Done },
        ];
        let at = jiff::Timestamp::UNIX_EPOCH;
        let records: Vec<Record> = (1..).zip(entries).map(|(seq, entry)| Record { seq, at, entry }).collect();
        assert_eq!(restarts(&records[..4]), Vec::<String>::new());
        assert_eq!(restarts(&records), ["step 1.1.1 restarted its workload 2 times"]);
    }

    fn deployment(name: upgrade_core::model::ObjectName) -> upgrade_core::model::WorkloadRef {
        upgrade_core::model::WorkloadRef { kind: upgrade_core::model::WorkloadKind::Deployment, name }
    }
}

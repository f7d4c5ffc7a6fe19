//! Moving by eviction beside `kubectl drain`, in the same world: how many requests, how many refusals, how long.
//!
//! Many Deployments that cannot surge, each with a budget of two pods. kubectl evicts every pod of a node at once and asks again
//! every five seconds where a budget refuses; Drover keeps one ledger of all budgets and evicts what it allows, when it allows it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cluster_lab::{Lab, Manifest, Scenario, Stored, TimingChanges};
use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use upgrade_core::journal::{Entry, Write, WriteAnswer};
use upgrade_core::model::{ObjectName, PoolName, Resources, RunId, Uid};
use upgrade_core::plan::Action;
use upgrade_core::ports::{EvictionAnswer, WriteMode};
use upgrade_core::run::Start;
use upgrade_core::{Policy, plan};

use crate::support::Night;

const NODES: u32 = 50;
const DEPLOYMENTS: u32 = 100;
const REPLICAS: u32 = 10;
/// kubectl's pause after a refusal, and between two looks at a pod that ends (kubectl: `pkg/drain/drain.go`).
const KUBECTL_RETRY: Duration = Duration::from_secs(5);
const KUBECTL_LOOK: Duration = Duration::from_secs(1);
/// Nodes that need no time, as a simulated kubelet (kwok) is one.
const INSTANT: &str = r#"
[control_plane]
bind = { from = "1ms", to = "5ms" }
[node]
sandbox = { from = "100ms", to = "300ms" }
stop = { from = "100ms", to = "300ms" }
image_size = { from = "1 MiB", to = "2 MiB" }
"#;

fn object<T: DeserializeOwned + Stored>(value: Value) -> Manifest {
    Manifest::from(serde_json::from_value::<T>(value).unwrap())
}

/// Deployments of ten pods on instant nodes, each with a Service and a budget of two.
fn crowd() -> Scenario {
    let mut scenario = Scenario::demo();
    scenario.timing = scenario.timing.with(&TimingChanges::read(INSTANT).unwrap());
    for (pool, count) in scenario.pools.iter_mut().zip([1, NODES]) {
        pool.count = count;
    }
    scenario.sizes = [("Standard_D4s_v5", 4000), ("Standard_D8s_v5", 8000)]
        .map(|(size, cpu)| (size.to_owned(), Resources::new(cpu, 16_000)))
        .into();
    scenario.objects = (0..DEPLOYMENTS)
        .flat_map(|number| {
            let name = format!("app-{number}");
            let (meta, labels) = (json!({ "name": name, "namespace": "shop" }), json!({ "app": name }));
            let selector = json!({ "matchLabels": labels });
            let container = json!({ "name": "app", "image": "registry.example.com/app:1" });
            let rolling = json!({ "maxSurge": 0, "maxUnavailable": 2 });
            [
                object::<Deployment>(json!({ "metadata": meta, "spec": {
                    "replicas": REPLICAS, "selector": selector, "strategy": { "rollingUpdate": rolling },
                    "template": { "metadata": { "labels": labels }, "spec": {
                        "containers": [container],
                        "nodeSelector": { "kubernetes.azure.com/mode": "user" },
                    } },
                } })),
                object::<Service>(json!({ "metadata": meta, "spec": {
                    "selector": labels, "ports": [{ "port": 80 }],
                } })),
                object::<PodDisruptionBudget>(json!({ "metadata": meta, "spec": {
                    "maxUnavailable": 2, "selector": selector,
                } })),
            ]
        })
        .collect();
    scenario
}

/// What emptying the nodes took.
#[derive(Debug)]
struct Taken {
    seconds: u64,
    evictions: u32,
    refused: u32,
    /// All requests but watches.
    requests: u32,
}

impl Taken {
    fn line(&self, who: &str) -> String {
        let Self { seconds, evictions, refused, requests } = self;
        format!(
            "{who:<28} {seconds:>5} s {evictions:>6} evictions {refused:>6} refused {requests:>6} requests\n"
        )
    }
}

/// The crowd's world with a second pool of the same size, and the first one's nodes cordoned.
fn cordoned() -> (Lab, Vec<String>) {
    let scenario = crowd();
    let lab = Lab::new(&scenario, 1);
    let user = scenario.pools.iter().find(|pool| pool.name.as_str() == "user").unwrap();
    let spec = scenario.pool_spec(user);
    let names: Vec<String> = scenario.machine_names(&user.name).iter().map(ToString::to_string).collect();
    let second = cluster_lab::PoolSpec { name: PoolName::new("second").unwrap(), ..spec };
    lab.with(|world| (0..NODES).for_each(|_| drop(world.add_machine(&second))));
    let ready = lab.now() + Duration::from_secs(600);
    lab.block_on(lab.clock().sleep_until(ready)).unwrap();
    lab.with(|world| {
        for name in &names {
            world
                .store
                .update::<Node>("", name, |node| {
                    node.spec.get_or_insert_default().unschedulable = Some(true);
                })
                .unwrap();
        }
    });
    (lab, names)
}

/// kubectl drains nodes, so many at a time.
fn kubectl(at_once: usize) -> Taken {
    let (lab, names) = cordoned();
    let counters = [const { AtomicU32::new(0) }; 3];
    let [evictions, refused, requests] = &counters;
    let began = lab.now();
    let count = |counter: &AtomicU32| counter.fetch_add(1, Ordering::Relaxed);
    let (world, kubernetes, clock) = (&lab, &lab.kubernetes(), &lab.clock());
    let evict = |name: ObjectName, uid: Uid| async move {
        loop {
            count(evictions);
            count(requests);
            match kubernetes.evict(&name, &uid, WriteMode::Commit).await.unwrap() {
                EvictionAnswer::Accepted | EvictionAnswer::Gone => break,
                EvictionAnswer::Refused { .. } => {
                    count(refused);
                    clock.sleep_until(clock.now() + KUBECTL_RETRY).await;
                }
                EvictionAnswer::Misconfigured { message } => panic!("{message}"),
            }
        }
        loop {
            count(requests);
            let there = world.with(|world| world.store.get::<Pod>(name.namespace(), name.name()).is_some());
            if !there {
                break;
            }
            clock.sleep_until(clock.now() + KUBECTL_LOOK).await;
        }
    };
    let evict = &evict;
    let drain = |node: String| async move {
        count(requests);
        let pods: Vec<(ObjectName, Uid)> = world.with(|world| {
            let pods =
                world.store.pods_on(&node).filter(|pod| pod.metadata.namespace.as_deref() == Some("shop"));
            pods.map(|pod| {
                let name = pod.metadata.name.clone().unwrap();
                (ObjectName::new("shop", name).unwrap(), Uid::new(pod.metadata.uid.clone().unwrap()).unwrap())
            })
            .collect()
        });
        join_all(pods.into_iter().map(|(name, uid)| evict(name, uid))).await;
    };
    let all = async {
        for nodes in names.chunks(at_once) {
            join_all(nodes.iter().cloned().map(drain)).await;
        }
    };
    lab.block_on(all).unwrap();
    let seconds = lab.now().duration_since(began).as_secs();
    let [evictions, refused, requests] = counters.map(AtomicU32::into_inner);
    Taken { seconds: seconds.try_into().unwrap(), evictions, refused, requests }
}

/// Drover's move off the pool, in the middle of an upgrade.
fn drover() -> Taken {
    let night = Night::of(Lab::new(&crowd(), 1));
    let policy = Policy { max_concurrent_moves: DEPLOYMENTS, ..Policy::default() };
    let plan = plan(&night.inventory(), &policy, "1.35".parse().unwrap()).unwrap();
    let user = PoolName::new("user").unwrap();
    let moves = |action: &Action| matches!(action, Action::Move { off, .. } if *off == user);
    let stage = plan.stages.iter().find(|stage| stage.steps().any(|step| moves(&step.action))).unwrap();
    let (number, next) = (stage.number, plan.stage(stage.number + 1).unwrap().title.clone());
    let start = Start::Fresh { plan: plan.clone(), run: RunId::new("drain").unwrap(), tool: "test".into() };
    let report = night.run_and_stop_at(start, &next).unwrap();
    let millis = report.stages.iter().find(|record| record.number == number).unwrap().duration_ms.unwrap();
    assert!(report.ledger.iter().all(|record| record.gaps.is_empty() && record.fewest >= REPLICAS - 2));
    let (mut evictions, mut refused) = (0, 0);
    for record in night.records() {
        match record.entry {
            Entry::Intent { write: Write::Evict { .. }, .. } => evictions += 1,
            Entry::Answered {
                answer: WriteAnswer::Eviction { eviction: EvictionAnswer::Refused { .. } },
                ..
            } => refused += 1,
            _ => {}
        }
    }
    Taken { seconds: millis.div_ceil(1000), evictions, refused, requests: evictions }
}

#[test]
fn one_ledger_of_all_budgets_is_faster_than_asking_again() {
    let (one, all, ours) = (kubectl(1), kubectl(NODES as usize), drover());
    let pods = DEPLOYMENTS * REPLICAS;
    let told = one.line("kubectl, node after node")
        + &all.line("kubectl, every node at once")
        + &ours.line("Drover, by eviction");
    assert!(ours.seconds <= 15 && ours.seconds * 2 <= one.seconds.min(all.seconds), "\n{told}");
    assert!(f64::from(ours.refused) < 0.05 * f64::from(ours.evictions), "\n{told}");
    assert!(f64::from(ours.requests) <= 1.3 * f64::from(pods), "\n{told}");
    insta::assert_snapshot!(told);
}

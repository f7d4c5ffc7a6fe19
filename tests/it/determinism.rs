//! The same seed tells the same story to the byte, whoever else is told one at the same time.
//!
//! A forecast, a scenario's transcript and the report of a failed seed are worth something only because of that: a hash map that
//! is iterated, a clock that is read or a counter that two worlds share would show here.

use std::fmt::Write as _;

use cluster_lab::{KindVisitor, Lab, Manifest, Scenario, Store, Stored, with_kind};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use upgrade_core::event::RunOutcome;
use upgrade_core::model::RunId;
use upgrade_core::run::Start;
use upgrade_core::{Policy, plan};

use crate::support::Night;

/// How many different stories are told.
const SEEDS: u64 = 100;

fn object<T: DeserializeOwned + Stored>(value: Value) -> Manifest {
    Manifest::from(serde_json::from_value::<T>(value).unwrap())
}

/// As little as an upgrade can be about: a node for the system, two for a Deployment with its Service and its budget.
fn smallest() -> Scenario {
    let mut scenario = Scenario::demo();
    for (pool, count) in scenario.pools.iter_mut().zip([1, 2]) {
        pool.count = count;
    }
    let (meta, labels) = (json!({ "name": "web", "namespace": "shop" }), json!({ "app": "web" }));
    let probe = json!({ "httpGet": { "port": 80 }, "periodSeconds": 5 });
    let container = json!({ "name": "web", "image": "registry.example.com/web:1", "readinessProbe": probe });
    scenario.objects = vec![
        object::<Deployment>(json!({ "metadata": meta, "spec": {
            "replicas": 2, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        } })),
        object::<Service>(
            json!({ "metadata": meta, "spec": { "selector": labels, "ports": [{ "port": 80 }] } }),
        ),
        object::<PodDisruptionBudget>(
            json!({ "metadata": meta, "spec": { "maxUnavailable": 1, "selector": { "matchLabels": labels } } }),
        ),
    ];
    scenario
}

/// Every write to the API server's memory, in the order of its kinds.
fn log(store: &Store) -> String {
    struct Told<'a>(&'a Store, &'a mut String);

    impl KindVisitor for Told<'_> {
        type Output = ();

        fn visit<T: Stored>(self) {
            for logged in self.0.changes_since::<T>(0).expect("the story is short") {
                let object = serde_json::to_string(&*logged.object).unwrap();
                writeln!(self.1, "{} {:?} {object}", logged.revision, logged.change).unwrap();
            }
        }
    }

    let mut told = String::new();
    for kind in cluster_lab::Kind::ALL {
        with_kind(*kind, Told(store, &mut told));
    }
    told
}

/// One whole upgrade: what the lab has written, and what Drover has told and kept.
fn story(scenario: &Scenario, seed: u64) -> String {
    let night = Night::of(Lab::new(scenario, seed));
    let plan = plan(&night.inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap();
    let run = RunId::new(format!("night-{seed}")).unwrap();
    let report = night.run(Start::Fresh { plan, run, tool: "test".into() }).unwrap();
    assert_eq!(report.outcome, RunOutcome::Done, "seed {seed}");
    let mut told = night.lab.with(|world| log(&world.store));
    for event in night.events() {
        writeln!(told, "{}", serde_json::to_string(&event).unwrap()).unwrap();
    }
    for record in night.records() {
        writeln!(told, "{}", serde_json::to_string(&record).unwrap()).unwrap();
    }
    told
}

#[test]
fn a_hundred_seeds_tell_the_same_twice_on_one_thread_and_on_many() {
    let scenario = smallest();
    let alone: Vec<String> = (0..SEEDS).map(|seed| story(&scenario, seed)).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let together: Vec<String> =
        pool.install(|| (0..SEEDS).into_par_iter().map(|seed| story(&scenario, seed)).collect());
    for (seed, (one, other)) in alone.iter().zip(&together).enumerate() {
        let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        assert!(one == other, "seed {seed}: {differs:?}");
    }
    // They are stories, and not all the same one.
    let mut different = alone.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), alone.len());
    let pods = |told: &String| told.matches("\"kind\":\"Pod\"").count();
    assert!(alone.iter().all(|told| pods(told) > 20), "{}", pods(&alone[0]));
}

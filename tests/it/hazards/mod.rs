//! One story for each hazard of moving workloads off their nodes, under the numbers of `docs/hazards.md`: what the plan says, what
//! the run does, and what the ledger has seen of it.

mod admission;
mod balancers;
mod data;
mod losses;
mod page;
mod places;
mod strategies;
mod traffic;

use cluster_lab::{Lab, Manifest, Scenario, Stored};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Service;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use upgrade_core::event::{Report, RunOutcome};
use upgrade_core::finding::Finding;
use upgrade_core::journal::{Entry, Write};
use upgrade_core::ledger::Gap;
use upgrade_core::model::{ObjectName, PodPhase, RunId, VersionRequest};
use upgrade_core::plan::{Action, Plan, PlanError};
use upgrade_core::policy::Acceptance;
use upgrade_core::run::Start;
use upgrade_core::{Inventory, Policy, check, plan};

use crate::support::Night;

/// A small cluster with one hazard in it.
struct Town {
    scenario: Scenario,
    policy: Policy,
    to: VersionRequest,
}

/// An object as a manifest has it.
fn object<T: DeserializeOwned + Stored>(value: Value) -> Manifest {
    Manifest::from(serde_json::from_value::<T>(value).unwrap())
}

/// Puts the members of one object into another.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// A Deployment `shop/NAME` with a Service: each pod takes 200m, says after five seconds that it is ready, and waits 15 s before it
/// ends. `more` goes into its spec, `pod` into that of its pods.
fn app_with(name: &str, replicas: u32, more: Value, pod: Value) -> Vec<Manifest> {
    vec![deployment("shop", name, replicas, more, pod), service("shop", name, json!({}))]
}

fn app(name: &str, replicas: u32, pod: Value) -> Vec<Manifest> {
    app_with(name, replicas, json!({}), pod)
}

/// A StatefulSet `shop/NAME` with a Service; each pod has so many disks.
fn stateful_set(name: &str, replicas: u32, claims: usize, pod: Value) -> Vec<Manifest> {
    let claim = |number: usize| {
        json!({
            "metadata": { "name": format!("d{number}") },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "managed-csi",
                "resources": { "requests": { "storage": "8Gi" } },
            },
        })
    };
    let labels = json!({ "app": name });
    let mut spec = pod_spec(name);
    merge(&mut spec, pod);
    let set = object::<StatefulSet>(json!({
        "metadata": { "name": name, "namespace": "shop" },
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
            "volumeClaimTemplates": (0..claims).map(claim).collect::<Vec<_>>(),
        },
    }));
    vec![set, service("shop", name, json!({ "clusterIP": "None" }))]
}

fn deployment(namespace: &str, name: &str, replicas: u32, more: Value, pod: Value) -> Manifest {
    let labels = json!({ "app": name });
    let mut spec = json!({
        "replicas": replicas,
        "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": pod_spec(name) },
    });
    merge(&mut spec["template"]["spec"], pod);
    merge(&mut spec, more);
    object::<Deployment>(json!({ "metadata": { "name": name, "namespace": namespace }, "spec": spec }))
}

fn pod_spec(name: &str) -> Value {
    json!({ "containers": [container(name, json!({}))] })
}

/// The container of an app, with more in it.
fn container(name: &str, more: Value) -> Value {
    let mut container = json!({
        "name": "app",
        "image": format!("registry.example.com/shop/{name}:1.0"),
        "resources": { "requests": { "cpu": "200m", "memory": "64Mi" } },
        "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "initialDelaySeconds": 5, "periodSeconds": 5 },
        "lifecycle": { "preStop": { "sleep": { "seconds": 15 } } },
    });
    merge(&mut container, more);
    container
}

fn service(namespace: &str, name: &str, more: Value) -> Manifest {
    let mut spec = json!({ "selector": { "app": name }, "ports": [{ "port": 8080 }] });
    merge(&mut spec, more);
    object::<Service>(json!({ "metadata": { "name": name, "namespace": namespace }, "spec": spec }))
}

impl Town {
    /// One system node, three user nodes, one in each of three zones, and these objects.
    fn of(objects: impl IntoIterator<Item = Vec<Manifest>>) -> Self {
        let mut scenario = Scenario::demo();
        for (pool, count) in scenario.pools.iter_mut().zip([1, 3]) {
            pool.count = count;
        }
        scenario.objects = objects.into_iter().flatten().collect();
        Self { scenario, policy: Policy::default(), to: "1.35".parse().unwrap() }
    }

    /// A change of its scenario.
    fn but(mut self, change: impl FnOnce(&mut Scenario)) -> Self {
        change(&mut self.scenario);
        self
    }

    /// The gap of a workload is accepted.
    fn accepting_the_gap_of(mut self, name: &str) -> Self {
        self.policy.allow_gap.insert(name.parse().unwrap());
        self
    }

    /// A finding is accepted.
    fn accepting(mut self, code: &str, object: &str) -> Self {
        let (code, object, reason) = (code.to_owned(), object.to_owned(), "let us see".to_owned());
        self.policy.accept.push(Acceptance { code, object, reason, until: None });
        self
    }

    fn inventory(&self) -> Inventory {
        Lab::new(&self.scenario, 1).inventory()
    }

    /// What the checks say with this code, a line for each: how much it matters, about what, and what.
    fn says(&self, code: &str) -> Vec<String> {
        let findings = check(&self.inventory(), &self.policy, self.to);
        let of_code = |finding: &&Finding| finding.code == code;
        findings
            .iter()
            .filter(of_code)
            .map(|f| format!("{} {}: {}", f.severity, f.object, f.message))
            .collect()
    }

    /// The findings for which there is no plan.
    fn blocked(&self) -> Vec<String> {
        match plan(&self.inventory(), &self.policy, self.to) {
            Err(PlanError::Blocked(findings)) => {
                findings.iter().filter(|f| f.blocks()).map(|f| format!("{} {}", f.code, f.object)).collect()
            }
            other => panic!("not blocked: {other:?}"),
        }
    }

    fn plan(&self) -> Plan {
        plan(&self.inventory(), &self.policy, self.to).unwrap_or_else(|error| panic!("no plan: {error:?}"))
    }

    /// Carries the plan out, whatever comes of it.
    fn run(&self) -> Told {
        let plan = self.plan();
        let night = Night::of(Lab::new(&self.scenario, 1));
        let start =
            Start::Fresh { plan: plan.clone(), run: RunId::new("hazard-1").unwrap(), tool: "test".into() };
        let report = night.run(start).unwrap();
        Told { plan, night, report }
    }

    /// Carries the plan out: it is done, every loan is returned, and every pod runs on a node of the new version.
    fn upgraded(&self) -> Told {
        let told = self.run();
        assert_eq!(told.report.outcome, RunOutcome::Done);
        assert_eq!(told.report.holding, Vec::<String>::new(), "a loan was not returned");
        let after = told.night.inventory();
        assert!(after.nodes.iter().all(|node| node.kubelet == Some(told.plan.target) && node.takes_pods()));
        assert!(after.pods.iter().all(|pod| pod.phase == PodPhase::Running && pod.ready && !pod.terminating));
        told
    }
}

/// A night that is over.
struct Told {
    plan: Plan,
    night: Night,
    report: Report,
}

impl Told {
    /// The way by which a workload leaves, and why.
    fn way(&self, name: &str) -> String {
        way(&self.plan, name)
    }

    /// How many ready endpoints a Service had at the start, and the fewest it had.
    fn endpoints(&self, service: &str) -> (u32, u32) {
        let name: ObjectName = service.parse().unwrap();
        let record = self.report.ledger.iter().find(|record| record.service == name);
        record
            .map_or_else(|| panic!("{service} is not in the ledger"), |record| (record.start, record.fewest))
    }

    /// The gaps of all Services.
    fn gaps(&self) -> Vec<&Gap> {
        self.report.ledger.iter().flat_map(|record| &record.gaps).collect()
    }

    /// The gaps are those that were accepted, one for each way, and of this Service.
    fn assert_gaps_only_of(&self, service: &str) {
        let gaps = self.gaps();
        assert_eq!(gaps.len(), 2, "there and back: {gaps:?}");
        assert!(
            gaps.iter().all(|gap| gap.accepted && gap.service.to_string() == service && gap.end.is_some())
        );
    }

    /// The names of the workloads whose restart was written, and of the pods whose eviction was, in order.
    fn written(&self) -> Vec<String> {
        let intents = self.night.records().into_iter().filter_map(|record| match record.entry {
            Entry::Intent { write, .. } => Some(write),
            _ => None,
        });
        intents
            .filter_map(|write| match write {
                Write::Restart { workload, .. } => Some(workload.name.to_string()),
                Write::Evict { pod, .. } => Some(pod.to_string()),
                _ => None,
            })
            .collect()
    }
}

/// The way by which a workload leaves in a plan, and why.
fn way(plan: &Plan, name: &str) -> String {
    let ways = plan.steps().filter_map(|step| match &step.action {
        Action::Move { workload, route, reason, .. } if workload.name.to_string() == name => {
            Some(format!("{route}: {reason}"))
        }
        _ => None,
    });
    let mut ways: Vec<String> = ways.collect();
    ways.dedup();
    assert_eq!(ways.len(), 1, "{name} leaves by {ways:?}");
    ways.remove(0)
}

/// The titles of the stages in which workloads leave the user pool, with their names.
fn moves_off_user(plan: &Plan) -> Vec<String> {
    let stages = plan.stages.iter().filter_map(|stage| {
        let names: Vec<String> = stage
            .steps()
            .filter_map(|step| match &step.action {
                Action::Move { workload, off, .. } if off.as_str() == "user" => {
                    Some(workload.name.to_string())
                }
                _ => None,
            })
            .collect();
        (!names.is_empty()).then(|| format!("{} ({})", stage.title, names.join(", ")))
    });
    stages.collect()
}

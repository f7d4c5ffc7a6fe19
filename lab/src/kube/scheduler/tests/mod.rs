//! The scheduler in tables: which nodes a pod may go to, and what each of them scores, with the numbers computed by hand.

#![expect(clippy::needless_pass_by_value, reason = "manifests are written where they are used")]

mod filters;
mod preemption;
mod scores;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::needs::Needs;
use super::{Scheduler, look};
use crate::World;
use crate::kube::tests::{apply, field};

/// A node `name` with 4 CPUs, 8 GiB and 10 pods, and what `more` says: `labels`, `taints`, `unschedulable`, `allocatable`, `images`.
fn node(world: &mut World, name: &str, more: &Value) {
    let mut allocatable = json!({ "cpu": "4", "memory": "8Gi", "pods": "10" });
    let mut labels = json!({ "kubernetes.io/hostname": name });
    for (into, member) in [(&mut allocatable, "allocatable"), (&mut labels, "labels")] {
        if let Some(given) = more[member].as_object() {
            into.as_object_mut().unwrap().extend(given.clone());
        }
    }
    apply::<Node>(
        world,
        json!({
            "metadata": { "name": name, "labels": labels },
            "spec": { "unschedulable": more["unschedulable"], "taints": more["taints"] },
            "status": { "allocatable": allocatable, "images": more["images"] },
        }),
    );
}

/// A pod's manifest: its labels and spec, with one container that asks for what `asks` says.
fn manifest(name: &str, labels: &Value, asks: &Value, spec: &Value) -> Value {
    let mut all = json!({ "containers": [{ "name": "c", "resources": { "requests": asks } }] });
    if let Some(given) = spec.as_object() {
        all.as_object_mut().unwrap().extend(given.clone());
    }
    json!({ "metadata": { "name": name, "labels": labels }, "spec": all })
}

/// The pod is on the node, and runs there.
fn on(node: &str, mut pod: Value) -> Value {
    pod["spec"]["nodeName"] = node.into();
    pod["status"] = json!({ "phase": "Running" });
    pod
}

/// A world of nodes and pods as the scheduler sees it, with one more pod that asks.
fn seen(nodes: &[(&str, Value)], pods: &[Value], pod: &Value) -> (World, Needs) {
    let mut world = field();
    for (name, more) in nodes {
        node(&mut world, name, more);
    }
    for pod in pods {
        apply::<Pod>(&mut world, pod.clone());
    }
    world.dispatch();
    let key = apply::<Pod>(&mut world, pod.clone());
    let needs = Needs::of(world.store.get::<Pod>(&key.namespace, &key.name).unwrap());
    (world, needs)
}

/// The nodes that the pod may go to, or the words of the refusal.
fn feasible(world: &mut World, pod: &Needs) -> Result<Vec<String>, String> {
    let World { kube, store, .. } = world;
    let scheduler: &mut Scheduler = &mut kube.scheduler;
    let ground = (scheduler.cache.fleet(), kube.version);
    let mut class = scheduler.cache.classes.0.take(&pod.wants, ground);
    let spots = look(scheduler, pod, &mut class, store).map_err(|refused| refused.message)?;
    let places = spots.iter().filter_map(|spot| scheduler.cache.at(*spot));
    let mut nodes: Vec<String> = places.map(|place| place.node.name.to_string()).collect();
    nodes.sort();
    Ok(nodes)
}

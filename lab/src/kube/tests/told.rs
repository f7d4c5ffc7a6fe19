//! What people are told with Events, and that nothing depends on whether they are.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::json;
use upgrade_core::model::NodeName;

use super::{apply, settle};
use crate::{Scenario, World};

/// The demo's machines with one Deployment on them, and whether events are told from the beginning.
fn world(told: bool) -> World {
    let mut scenario = Scenario::demo();
    scenario.objects.clear();
    let mut world = World::new(&scenario, 1);
    if told {
        world.tell_events();
    }
    apply::<k8s_openapi::api::core::v1::Namespace>(&mut world, json!({ "metadata": { "name": "shop" } }));
    let labels = json!({ "app": "web" });
    let container = json!({ "name": "web", "image": "registry.example/web:1" });
    apply::<Deployment>(
        &mut world,
        json!({ "metadata": { "name": "web" }, "spec": {
            "replicas": 2, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        } }),
    );
    settle(&mut world, 300);
    world
}

/// The reasons told of objects of a kind, each with the number of times that it was told of one of them, at most.
fn told(world: &World, kind: &str) -> BTreeMap<String, i32> {
    let mut told = BTreeMap::new();
    let about = |event: &&std::sync::Arc<Event>| event.involved_object.kind.as_deref() == Some(kind);
    for event in world.store.list::<Event>().filter(about) {
        let most: &mut i32 = told.entry(event.reason.clone().unwrap()).or_default();
        *most = event.count.unwrap().max(*most);
    }
    told
}

fn reasons(world: &World, kind: &str) -> Vec<String> {
    told(world, kind).into_keys().collect()
}

#[test]
fn an_operator_can_read_what_happened_to_a_pod_and_to_its_owners() {
    let mut world = world(true);
    assert_eq!(reasons(&world, "Pod"), ["Created", "Pulled", "Pulling", "Scheduled", "Started"]);
    assert_eq!(reasons(&world, "ReplicaSet"), ["SuccessfulCreate"]);
    assert_eq!(reasons(&world, "Deployment"), ["ScalingReplicaSet"]);
    let scaled = |world: &World| -> Vec<String> {
        let about = |event: &&std::sync::Arc<Event>| event.reason.as_deref() == Some("ScalingReplicaSet");
        let all = world.store.list_in::<Event>("shop").filter(about);
        let mut words: Vec<String> =
            all.map(|e| e.message.clone().unwrap().split(" set ").last().unwrap()[15..].to_owned()).collect();
        words.sort();
        words
    };
    assert_eq!(scaled(&world), ["from 0 to 2"]);
    // An image that is gone, a pod that fits nowhere, and a node that is cordoned and falls silent.
    world.delete_image("registry.example/web:2");
    let change = |deployment: &mut Deployment| {
        let spec = deployment.spec.template.spec.as_mut().unwrap();
        spec.containers[0].image = Some("registry.example/web:2".into());
    };
    world.store.update::<Deployment>("shop", "web", change).unwrap();
    let large = json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": "99" } } }] });
    apply::<Pod>(&mut world, json!({ "metadata": { "name": "large" }, "spec": large }));
    let pod = world.store.list_in::<Pod>("shop").find(|pod| pod.spec.as_ref().unwrap().node_name.is_some());
    let node = NodeName::new(pod.unwrap().spec.as_ref().unwrap().node_name.as_deref().unwrap()).unwrap();
    world.set_unschedulable(node.as_str(), None, true).unwrap();
    settle(&mut world, 120);
    world.silence_machine(&node);
    settle(&mut world, 1_200);
    let of_pods = told(&world, "Pod");
    for (reason, least) in
        [("FailedScheduling", 1), ("Failed", 3), ("BackOff", 3), ("TaintManagerEviction", 1)]
    {
        assert!(of_pods[reason] >= least, "{reason}: {of_pods:?}");
    }
    assert_eq!(reasons(&world, "Node"), ["NodeNotReady", "NodeNotSchedulable"]);
}

#[test]
fn events_are_forgotten_an_hour_after_they_were_told_last_and_never_many() {
    let mut world = world(true);
    assert!(world.store.count::<Event>() > 10);
    settle(&mut world, 3_900);
    assert_eq!(world.store.count::<Event>(), 0);
    for n in 0..12_000 {
        let name = format!("p{n}");
        let spec = json!({ "schedulingGates": [{ "name": "wait" }], "containers": [] });
        let key = apply::<Pod>(&mut world, json!({ "metadata": { "name": name }, "spec": spec }));
        world.tell::<Pod>(&key, crate::kube::events::Reason::Created, String::new);
    }
    assert_eq!(world.store.count::<Event>(), 10_000);
    assert!(world.store.get::<Event>("shop", "p1").is_none());
}

#[test]
fn a_world_that_tells_events_and_one_that_does_not_have_the_same_story() {
    let pods = |told: bool| -> Vec<(String, Option<String>)> {
        let mut world = world(told);
        world.store.update::<Deployment>("shop", "web", |d| d.spec.replicas = Some(5)).unwrap();
        settle(&mut world, 600);
        let all = world.store.list_in::<Pod>("shop").map(|pod| {
            let mut pod = (**pod).clone();
            pod.metadata.resource_version = None;
            (serde_json::to_string(&pod).unwrap(), pod.metadata.uid)
        });
        all.collect()
    };
    let (silent, telling) = (pods(false), pods(true));
    assert_eq!(silent.len(), 5);
    assert_eq!(silent, telling);
    assert_eq!(world(false).store.count::<Event>(), 0);
}

//! Who is looked at, and how far the search goes.

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::super::{feasible, node, seen};
use super::{nodes, plain};

#[test]
fn a_gated_pod_is_not_looked_at_until_its_gates_are_gone() {
    let gated = plain(json!({ "schedulingGates": [{ "name": "wait" }] }));
    let (mut world, pod) = seen(&nodes(&["a"]), &[], &gated);
    crate::kube::tests::settle(&mut world, 60);
    let bound = |world: &crate::World| {
        world
            .store
            .get::<Pod>(&pod.key.namespace, &pod.key.name)
            .unwrap()
            .spec
            .as_ref()
            .unwrap()
            .node_name
            .clone()
    };
    assert_eq!(bound(&world), None);
    world
        .store
        .update::<Pod>("shop", "asking", |pod| pod.spec.as_mut().unwrap().scheduling_gates = None)
        .unwrap();
    crate::kube::tests::settle(&mut world, 5);
    assert_eq!(bound(&world).as_deref(), Some("a"));
}

#[test]
fn in_a_large_cluster_the_search_ends_when_there_are_enough_and_goes_on_there() {
    // max(5, 50 - n / 125) percent, 100 at least.
    for (nodes, enough) in
        [(20, 20), (99, 99), (100, 100), (150, 100), (1_000, 420), (5_000, 500), (15_000, 750)]
    {
        assert_eq!(crate::kube::scheduler::enough_nodes(nodes), enough, "{nodes}");
    }
    let (mut world, pod) = seen(&[], &[], &plain(json!({})));
    for n in 0..150 {
        node(&mut world, &format!("n{n:03}"), &json!({}));
    }
    world.dispatch();
    let first = feasible(&mut world, &pod).unwrap();
    let second = feasible(&mut world, &pod).unwrap();
    assert_eq!((first[0].as_str(), first[99].as_str(), first.len()), ("n000", "n099", 100));
    assert!(
        second.contains(&"n100".to_owned())
            && second.contains(&"n049".to_owned())
            && !second.contains(&"n050".to_owned())
    );
}

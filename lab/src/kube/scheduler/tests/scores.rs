//! The scores, plugin by plugin.

use serde_json::{Value, json};
use upgrade_core::model::KubeVersion;

use super::super::cache::{Cache, Spot};
use super::super::score;
use super::{manifest, on, seen};

const MIB: u64 = 1 << 20;

fn asks(asks: Value) -> Value {
    manifest("asking", &json!({ "app": "web" }), &asks, &json!({}))
}

#[test]
fn least_allocated_is_the_mean_of_what_is_left() {
    // 4000m and 8192 Mi. (asked on the node, asked by the pod): floor(100 left / all) of CPU and of memory, and their mean.
    for (there, asked, wanted) in [
        // 3000/4000 = 75, 6144/8192 = 75.
        (json!({}), json!({ "cpu": "1", "memory": "2Gi" }), 75),
        // 2000/4000 = 50, 4096/8192 = 50.
        (json!({ "cpu": "1", "memory": "2Gi" }), json!({ "cpu": "1", "memory": "2Gi" }), 50),
        // Nothing asked for counts as 100m and 200Mi: floor(97.5) = 97, floor(97.55) = 97.
        (json!({}), json!({}), 97),
        // Full of CPU, floor(100 7168/8192) = 87 of memory: floor(87 / 2).
        (json!({ "cpu": "3" }), json!({ "cpu": "1", "memory": "824Mi" }), 43),
    ] {
        let there = if there == json!({}) {
            vec![]
        } else {
            vec![on("a", manifest("x", &json!({}), &there, &json!({})))]
        };
        let (world, pod) = seen(&[("a", json!({}))], &there, &asks(asked.clone()));
        let place = world.kube.scheduler.cache.place("a").unwrap();
        assert_eq!(score::least_allocated(&pod, place), wanted, "{asked}");
    }
}

#[test]
fn balance_is_how_even_cpu_and_memory_are_used_and_from_1_36_on_the_pods_own_effect() {
    let old = KubeVersion::new(1, 35, 0);
    let new = KubeVersion::new(1, 36, 0);
    for (there, asked, before_136, from_136) in [
        // 1/4 and 1/4: no deviation. 50 + (50 + 100 - 100) / 2.
        (json!({}), json!({ "cpu": "1", "memory": "2Gi" }), 100, 75),
        // 2/4 and 0: a deviation of 0.25. 50 + (50 + 75 - 100) / 2 = 62.5.
        (json!({}), json!({ "cpu": "2" }), 75, 62),
        // From 2/4 and 0 (75) to 2/4 and 2/4 (100): 50 + (50 + 100 - 75) / 2 = 87.5.
        (json!({ "cpu": "2" }), json!({ "memory": "4Gi" }), 100, 87),
        // A pod that asks for nothing has no effect.
        (json!({}), json!({}), 0, 0),
    ] {
        let there = if there == json!({}) {
            vec![]
        } else {
            vec![on("a", manifest("x", &json!({}), &there, &json!({})))]
        };
        let (world, pod) = seen(&[("a", json!({}))], &there, &asks(asked.clone()));
        let place = world.kube.scheduler.cache.place("a").unwrap();
        assert_eq!(
            (score::balanced(&pod, place, old), score::balanced(&pod, place, new)),
            (before_136, from_136),
            "{asked}"
        );
    }
}

#[test]
fn an_image_counts_by_its_size_and_by_how_many_nodes_have_it() {
    let has = |bytes: u64| json!({ "images": [{ "names": ["web:1"], "sizeBytes": bytes }] });
    // One container: 100 (x - 23) / (1000 - 23) with x = size * nodes with it / nodes.
    for (bytes, others, wanted) in [
        (523 * MIB, true, 51),  // 500/977 = 51.2
        (523 * MIB, false, 24), // x = 261.5: 238.5/977 = 24.4
        (20 * MIB, true, 0),
        (5_000 * MIB, true, 100),
    ] {
        let nodes = [("a", has(bytes)), ("b", if others { has(bytes) } else { json!({}) })];
        let pod = manifest(
            "asking",
            &json!({}),
            &json!({}),
            &json!({ "containers": [{ "name": "c", "image": "web:1" }] }),
        );
        let (world, pod) = seen(&nodes, &[], &pod);
        let cache = &world.kube.scheduler.cache;
        assert_eq!(score::image_locality(&pod, cache.place("a").unwrap(), cache), wanted, "{bytes} {others}");
    }
}

#[test]
fn the_images_of_all_containers_count_together_and_a_tag_that_is_missing_is_latest() {
    let image = |name: &str, mebibytes: u64| json!({ "names": [name], "sizeBytes": mebibytes * MIB });
    let has = json!({ "images": [image("web:latest", 523), image("log:1", 500)] });
    let container = |name: &str| json!({ "name": name.replace(':', "-"), "image": name });
    for (containers, wanted) in [
        // Two containers: 100 (523 + 500 - 23) / (2 1000 - 23) = 50.6.
        (vec![container("web"), container("log:1")], 50),
        // One that the node does not have adds nothing but its place: 100 (523 - 23) / (2 1000 - 23) = 25.3.
        (vec![container("web"), container("other:1")], 25),
        (vec![container("web:2")], 0),
    ] {
        let pod = manifest("asking", &json!({}), &json!({}), &json!({ "containers": containers }));
        let (world, pod) = seen(&[("a", has.clone())], &[], &pod);
        let cache = &world.kube.scheduler.cache;
        assert_eq!(score::image_locality(&pod, cache.place("a").unwrap(), cache), wanted, "{containers:?}");
    }
}

fn spots(cache: &Cache, nodes: &[&str]) -> Vec<Spot> {
    nodes.iter().filter_map(|node| cache.spot(node)).collect()
}

/// The total of each node, in the order of their names.
fn totals(nodes: &[(&str, Value)], pods: &[Value], pod: &Value) -> Vec<i64> {
    let (mut world, pod) = seen(nodes, pods, pod);
    let names: Vec<&str> = nodes.iter().map(|(name, _)| *name).collect();
    let crate::World { kube, store, .. } = &mut world;
    let cache = &mut kube.scheduler.cache;
    let mut class = cache.classes.0.take(&pod.wants, (cache.fleet(), KubeVersion::new(1, 35, 0)));
    score::totals(&pod, &spots(cache, &names), &mut class, cache, store)
}

#[test]
fn the_weights_of_the_plugins_add_up() {
    let pod = |spec: Value| {
        manifest("asking", &json!({ "app": "web" }), &json!({ "cpu": "1", "memory": "2Gi" }), &spec)
    };
    let two = |more: Value| vec![("a", more), ("b", json!({}))];
    // Each node: least allocated 75, balanced 100, taints 3 x 100. The pod has no owner and no constraint: no spread.
    assert_eq!(totals(&two(json!({})), &[], &pod(json!({}))), [475, 475]);
    // A taint that says "rather not": 3 x 0.
    let soft = json!({ "taints": [{ "key": "soft", "effect": "PreferNoSchedule" }] });
    assert_eq!(totals(&two(soft.clone()), &[], &pod(json!({}))), [175, 475]);
    // Two of them are the most: 3 (100 - 100 2/2), 3 (100 - 100 1/2), 3 100.
    let taint = |key: &str| json!({ "key": key, "effect": "PreferNoSchedule" });
    let graded = [
        ("a", json!({ "taints": [taint("soft"), taint("softer")] })),
        ("b", json!({ "taints": [taint("soft")] })),
        ("c", json!({})),
    ];
    assert_eq!(totals(&graded, &[], &pod(json!({}))), [175, 325, 475]);
    let tolerant = pod(json!({ "tolerations": [{ "key": "soft", "operator": "Exists" }] }));
    assert_eq!(totals(&two(soft), &[], &tolerant), [475, 475]);
    // Preferred node affinity, normalised: weights 30 and 10 make 100 and 33; twice.
    let prefers = |weight: i32, value: &str| json!({ "weight": weight, "preference": { "matchExpressions": [{ "key": "disk", "operator": "In", "values": [value] }] } });
    let affine = pod(
        json!({ "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [prefers(30, "ssd"), prefers(10, "hdd")] } } }),
    );
    let disks = [
        ("a", json!({ "labels": { "disk": "ssd" } })),
        ("b", json!({ "labels": { "disk": "hdd" } })),
        ("c", json!({})),
    ];
    assert_eq!(totals(&disks, &[], &affine), [475 + 200, 475 + 66, 475]);
}

#[test]
fn preferred_neighbours_are_weighed_and_normalised() {
    let zone = |zone: &str| json!({ "labels": { "zone": zone } });
    let nodes = [("a", zone("1")), ("b", zone("2")), ("c", zone("3"))];
    let term = |weight: i32| json!([{ "weight": weight, "podAffinityTerm": { "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "db" } } } }]);
    let spec = |kind: &str, weight| json!({ "affinity": { kind: { "preferredDuringSchedulingIgnoredDuringExecution": term(weight) } } });
    let db = |name: &str, node: &str, spec: &Value| {
        on(node, manifest(name, &json!({ "app": "db" }), &json!({}), spec))
    };
    let scored = |pods: &[Value], pod: &Value| {
        let (mut world, pod) = seen(&nodes, pods, pod);
        let crate::World { kube, store, .. } = &mut world;
        let cache = &mut kube.scheduler.cache;
        score::neighbours(&pod, &spots(cache, &["a", "b", "c"]), cache, store)
    };
    let plain = json!({});
    let three = [db("x", "a", &plain), db("y", "a", &plain), db("z", "b", &plain)];
    let asking = |spec: &Value| manifest("asking", &json!({ "app": "web" }), &json!({}), spec);
    // Two friends, one, none: 20, 10, 0.
    assert_eq!(scored(&three, &asking(&spec("podAffinity", 10))), [100, 50, 0]);
    assert_eq!(scored(&three, &asking(&spec("podAntiAffinity", 10))), [0, 50, 100]);
    assert_eq!(scored(&three, &asking(&plain)), [0, 0, 0]);
    // Pods that are there pull, too: a required affinity with weight 1, a preference with its own.
    let wants_web = |kind: &str| {
        json!({ "affinity": { "podAffinity": { kind: match kind {
        "requiredDuringSchedulingIgnoredDuringExecution" => json!([{ "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "web" } } }]),
        _ => json!([{ "weight": 4, "podAffinityTerm": { "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "web" } } } }]),
    } } } })
    };
    let pulling = [
        db("x", "a", &wants_web("requiredDuringSchedulingIgnoredDuringExecution")),
        db("y", "b", &wants_web("preferredDuringSchedulingIgnoredDuringExecution")),
    ];
    // 1, 4, 0.
    assert_eq!(scored(&pulling, &asking(&plain)), [25, 100, 0]);
}

#[test]
fn soft_spread_prefers_domains_with_fewer_pods() {
    let zone = |zone: &str| json!({ "labels": { "zone": zone } });
    let nodes = [("a", zone("1")), ("b", zone("2")), ("c", json!({}))];
    let pod = manifest(
        "asking",
        &json!({ "app": "web" }),
        &json!({}),
        &json!({ "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { "app": "web" } },
        }] }),
    );
    let web =
        |name: &str, node: &str| on(node, manifest(name, &json!({ "app": "web" }), &json!({}), &json!({})));
    let (mut world, pod) = seen(&nodes, &[web("x", "a"), web("y", "a"), web("z", "a"), web("w", "b")], &pod);
    let cache = &mut world.kube.scheduler.cache;
    let nodes = spots(cache, &["a", "b", "c"]);
    // Two domains: ln 4 = 1.386. 3 pods: 4.16, rounded 4; 1 pod: 1.39, rounded 1. 100 (4 + 1 - 4) / 4 = 25, 100 (4 + 1 - 1) / 4 = 100.
    // Node c is in no zone.
    assert_eq!(score::spread(&pod, &nodes, cache), [25, 100, 0]);
}

#[test]
fn without_constraints_the_pods_of_an_owner_are_spread_over_hosts_and_zones() {
    let zone = |zone: &str| json!({ "labels": { "topology.kubernetes.io/zone": zone } });
    let nodes = [("a", zone("1")), ("b", zone("1")), ("c", zone("2"))];
    let owned = |name: &str| {
        let mut pod = manifest(name, &json!({ "app": "web" }), &json!({}), &json!({}));
        pod["metadata"]["ownerReferences"] =
            crate::kube::tests::owner("apps/v1", "ReplicaSet", "web", "uid-web");
        pod
    };
    let (mut world, pod) = seen(&nodes, &[on("a", owned("x"))], &owned("asking"));
    let cache = &mut world.kube.scheduler.cache;
    let nodes = spots(cache, &["a", "b", "c"]);
    // Hosts: ln(3 + 2) = 1.609, skew 3. Zones: ln(2 + 2) = 1.386, skew 5.
    // a: 1.609 + 2 + 1.386 + 4 = 8.995 -> 9; b: 2 + 1.386 + 4 = 7.386 -> 7; c: 2 + 4 = 6.
    // 100 (9 + 6 - x) / 9: 66, 88, 100.
    assert_eq!(score::spread(&pod, &nodes, cache), [66, 88, 100]);
}

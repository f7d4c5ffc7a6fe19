//! The filters, one after another.

use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};
use serde_json::{Value, json};

use super::{feasible, manifest, node, on, seen};
use crate::kube::tests::apply;

/// One row: nodes, pods on them, the pod that asks, and where it may go; or why nowhere.
struct Row {
    story: &'static str,
    nodes: Vec<(&'static str, Value)>,
    pods: Vec<Value>,
    pod: Value,
    wanted: Result<&'static [&'static str], &'static str>,
}

fn check(rows: Vec<Row>) {
    for row in rows {
        let (mut world, pod) = seen(&row.nodes, &row.pods, &row.pod);
        let found = feasible(&mut world, &pod);
        let wanted = row.wanted.map(|nodes| nodes.iter().map(ToString::to_string).collect());
        assert_eq!(found, wanted.map_err(str::to_owned), "{}", row.story);
    }
}

fn plain(spec: Value) -> Value {
    manifest("asking", &json!({ "app": "web" }), &json!({}), &spec)
}

fn nodes(names: &[&'static str]) -> Vec<(&'static str, Value)> {
    names.iter().map(|name| (*name, json!({}))).collect()
}

#[test]
fn cordons_taints_selectors_and_affinity() {
    let taint = |key: &str, value: &str, effect: &str| json!({ "taints": [{ "key": key, "value": value, "effect": effect }] });
    let three = || {
        vec![
            ("a", json!({ "unschedulable": true, "labels": { "disk": "ssd", "cpus": "8" } })),
            ("b", taint("spot", "yes", "NoSchedule")),
            ("c", json!({ "labels": { "disk": "hdd", "cpus": "4" } })),
        ]
    };
    let tolerate = |toleration: Value| plain(json!({ "tolerations": [toleration] }));
    let affinity = |terms: Value| {
        plain(
            json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } } }),
        )
    };
    let wants = |key: &str, operator: &str, values: Value| json!([{ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] }]);
    let row = |story, pod, wanted| Row { story, nodes: three(), pods: vec![], pod, wanted };
    check(vec![
        row("no toleration", plain(json!({})), Ok(&["c"])),
        row(
            "the cordon's taint",
            tolerate(
                json!({ "key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule" }),
            ),
            Ok(&["a", "c"]),
        ),
        row("every taint", tolerate(json!({ "operator": "Exists" })), Ok(&["a", "b", "c"])),
        row("equal value", tolerate(json!({ "key": "spot", "value": "yes" })), Ok(&["b", "c"])),
        row("another value", tolerate(json!({ "key": "spot", "value": "no" })), Ok(&["c"])),
        row(
            "another effect",
            tolerate(json!({ "key": "spot", "operator": "Exists", "effect": "NoExecute" })),
            Ok(&["c"]),
        ),
        row(
            "a selector that nobody has",
            plain(json!({ "nodeSelector": { "disk": "nvme" } })),
            Err(
                "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.",
            ),
        ),
        row("In", affinity(wants("disk", "In", json!(["ssd", "hdd"]))), Ok(&["c"])),
        row(
            "NotIn holds for an absent label, but there the taint is",
            affinity(wants("disk", "NotIn", json!(["hdd"]))),
            Err(
                "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.",
            ),
        ),
        row("Gt", affinity(wants("cpus", "Gt", json!(["3"]))), Ok(&["c"])),
        row("Lt", affinity(wants("cpus", "Lt", json!(["5"]))), Ok(&["c"])),
        row(
            "terms are alternatives",
            affinity(json!([
                wants("disk", "In", json!(["nvme"]))[0],
                wants("disk", "Exists", Value::Null)[0]
            ])),
            Ok(&["c"]),
        ),
        row(
            "an empty term matches nothing",
            affinity(json!([{}])),
            Err(
                "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.",
            ),
        ),
        row(
            "by name, as a DaemonSet does",
            affinity(
                json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["c"] }] }]),
            ),
            Ok(&["c"]),
        ),
        Row {
            nodes: vec![("a", taint("soft", "", "PreferNoSchedule"))],
            ..row("a preference does not refuse", plain(json!({})), Ok(&["a"]))
        },
        Row {
            nodes: vec![("a", taint("node.kubernetes.io/not-ready", "", "NoExecute"))],
            ..row(
                "NoExecute refuses",
                plain(json!({})),
                Err("0/1 nodes are available: 1 node(s) had untolerated taint(s)."),
            )
        },
    ]);
}

#[test]
fn room_for_requests_pods_and_ports() {
    let asks = |asks: Value| manifest("asking", &json!({}), &asks, &json!({}));
    let there = |name: &str, what: Value| on("a", manifest(name, &json!({}), &what, &json!({})));
    let port = |name: &str, port: Value| {
        manifest(name, &json!({}), &json!({}), &json!({ "containers": [{ "name": "c", "ports": [port] }] }))
    };
    let row = |story, pods, pod, wanted| Row { story, nodes: nodes(&["a"]), pods, pod, wanted };
    let terminating = |mut pod: Value| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-15T01:00:00Z");
        pod
    };
    let finished = |mut pod: Value| {
        pod["status"]["phase"] = "Succeeded".into();
        pod
    };
    check(vec![
        row("4 of 4 CPUs", vec![there("x", json!({ "cpu": "3" }))], asks(json!({ "cpu": "1" })), Ok(&["a"])),
        row(
            "4.001 of 4",
            vec![there("x", json!({ "cpu": "3" }))],
            asks(json!({ "cpu": "1001m" })),
            Err("0/1 nodes are available: 1 Insufficient cpu."),
        ),
        row(
            "nothing asked for fits always",
            vec![there("x", json!({ "cpu": "5" }))],
            asks(json!({})),
            Ok(&["a"]),
        ),
        row(
            "memory",
            vec![there("x", json!({ "memory": "7Gi" }))],
            asks(json!({ "memory": "1025Mi" })),
            Err("0/1 nodes are available: 1 Insufficient memory."),
        ),
        row(
            "a finished pod holds nothing",
            vec![finished(there("x", json!({ "cpu": "4" })))],
            asks(json!({ "cpu": "4" })),
            Ok(&["a"]),
        ),
        row(
            "a device that the node does not have",
            vec![],
            asks(json!({ "nvidia.com/gpu": "1" })),
            Err("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
        ),
        row(
            "ten pods are the most",
            (0..10).map(|n| there(&format!("p{n}"), json!({}))).collect(),
            asks(json!({})),
            Err("0/1 nodes are available: 1 Too many pods."),
        ),
        row(
            "the same port of the host",
            vec![on("a", port("x", json!({ "containerPort": 80, "hostPort": 80 })))],
            port("asking", json!({ "containerPort": 81, "hostPort": 80 })),
            Err("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."),
        ),
        row(
            "another protocol",
            vec![on("a", port("x", json!({ "containerPort": 80, "hostPort": 80 })))],
            port("asking", json!({ "containerPort": 80, "hostPort": 80, "protocol": "UDP" })),
            Ok(&["a"]),
        ),
        row(
            "other addresses",
            vec![on("a", port("x", json!({ "containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1" })))],
            port("asking", json!({ "containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.2" })),
            Ok(&["a"]),
        ),
        row(
            "every address",
            vec![on("a", port("x", json!({ "containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1" })))],
            port("asking", json!({ "containerPort": 80, "hostPort": 80, "hostIP": "0.0.0.0" })),
            Err("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."),
        ),
        // Init containers: max(sum of containers and sidecars, the largest moment of the start).
        row(
            "an init container larger than the rest: max(1, 4.5)",
            vec![],
            manifest(
                "asking",
                &json!({}),
                &json!({ "cpu": "1" }),
                &json!({ "initContainers": [{ "name": "i", "resources": { "requests": { "cpu": "4500m" } } }] }),
            ),
            Err("0/1 nodes are available: 1 Insufficient cpu."),
        ),
        row(
            "a sidecar adds up: 2 + 2.5",
            vec![],
            manifest(
                "asking",
                &json!({}),
                &json!({ "cpu": "2" }),
                &json!({ "initContainers": [{ "name": "i", "restartPolicy": "Always", "resources": { "requests": { "cpu": "2500m" } } }] }),
            ),
            Err("0/1 nodes are available: 1 Insufficient cpu."),
        ),
        row(
            "overhead: 3.5 + 0.6",
            vec![],
            manifest(
                "asking",
                &json!({}),
                &json!({ "cpu": "3500m" }),
                &json!({ "overhead": { "cpu": "600m" } }),
            ),
            Err("0/1 nodes are available: 1 Insufficient cpu."),
        ),
    ]);
    // A terminating pod holds what it has until it is gone.
    let (mut world, pod) =
        seen(&nodes(&["a"]), &[there("x", json!({ "cpu": "4" }))], &asks(json!({ "cpu": "1" })));
    let _ = terminating;
    world.delete_pod("shop", "x", None).unwrap();
    world.dispatch();
    assert_eq!(feasible(&mut world, &pod).unwrap_err(), "0/1 nodes are available: 1 Insufficient cpu.");
    world.store.delete::<Pod>("shop", "x").unwrap();
    world.dispatch();
    assert_eq!(feasible(&mut world, &pod), Ok(vec!["a".to_owned()]));
}

fn zoned() -> Vec<(&'static str, Value)> {
    let zone = |zone: &str| json!({ "labels": { "zone": zone } });
    vec![("a1", zone("1")), ("a2", zone("1")), ("b1", zone("2")), ("c1", zone("3"))]
}

fn web(name: &str, node: &str) -> Value {
    on(node, manifest(name, &json!({ "app": "web", "hash": "old" }), &json!({}), &json!({})))
}

/// What a pod is told whose domains are all full.
const REFUSED: &str = "0/4 nodes are available: 4 node(s) didn't match pod topology spread constraints.";

#[test]
fn pods_are_spread_over_domains() {
    let constraint = |more: Value| {
        let mut all = json!({
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": "web" } },
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        manifest(
            "asking",
            &json!({ "app": "web", "hash": "new" }),
            &json!({}),
            &json!({ "topologySpreadConstraints": [all] }),
        )
    };
    let row = |story, pods: &[(&str, &str)], pod, wanted| Row {
        story,
        nodes: zoned(),
        pods: pods.iter().map(|(name, node)| web(name, node)).collect(),
        pod,
        wanted,
    };
    let cordoned = |name: &'static str| {
        let mut nodes = zoned();
        nodes.iter_mut().find(|(node, _)| *node == name).unwrap().1["unschedulable"] = true.into();
        nodes
    };
    check(vec![
        row("0 0 0: anywhere", &[], constraint(json!({})), Ok(&["a1", "a2", "b1", "c1"])),
        row("1 0 0: 2 - 0 > 1 in zone 1", &[("x", "a1")], constraint(json!({})), Ok(&["b1", "c1"])),
        row("1 1 0: only zone 3", &[("x", "a1"), ("y", "b1")], constraint(json!({})), Ok(&["c1"])),
        row(
            "1 1 1: anywhere",
            &[("x", "a1"), ("y", "b1"), ("z", "c1")],
            constraint(json!({})),
            Ok(&["a1", "a2", "b1", "c1"]),
        ),
        row(
            "2 1 0 with a skew of 2: zone 1 would have 3",
            &[("x", "a1"), ("y", "a2"), ("z", "b1")],
            constraint(json!({ "maxSkew": 2 })),
            Ok(&["b1", "c1"]),
        ),
        row(
            "the pods of the old revision do not count",
            &[("x", "a1")],
            constraint(json!({ "matchLabelKeys": ["hash"] })),
            Ok(&["a1", "a2", "b1", "c1"]),
        ),
        row(
            "by host: a1 would have 2",
            &[("x", "a1")],
            constraint(json!({ "topologyKey": "kubernetes.io/hostname" })),
            Ok(&["a2", "b1", "c1"]),
        ),
        row(
            "five domains are wanted and three are there: the least counts as 0",
            &[("x", "a1"), ("y", "b1"), ("z", "c1")],
            constraint(json!({ "minDomains": 5 })),
            Err(REFUSED),
        ),
        Row {
            nodes: cordoned("c1"),
            ..row(
                "1 1 0, zone 3 cordoned: it is still a domain, and nobody may go there",
                &[("x", "a1"), ("y", "b1")],
                constraint(json!({})),
                Err(
                    "0/4 nodes are available: 1 node(s) were unschedulable, 3 node(s) didn't match pod topology spread constraints.",
                ),
            )
        },
        Row {
            nodes: cordoned("c1"),
            ..row(
                "the same with nodeTaintsPolicy Honor",
                &[("x", "a1"), ("y", "b1")],
                constraint(json!({ "nodeTaintsPolicy": "Honor" })),
                Ok(&["a1", "a2", "b1"]),
            )
        },
        Row {
            nodes: [zoned(), vec![("d", json!({}))]].concat(),
            ..row(
                "a node without the label is no domain",
                &[("x", "a1"), ("y", "b1")],
                constraint(json!({})),
                Ok(&["c1"]),
            )
        },
        Row {
            pod: {
                let mut pod = constraint(json!({}));
                pod["spec"]["nodeSelector"] = json!({ "zone": "1" });
                pod
            },
            ..row(
                "zones that the selector excludes are no domains",
                &[("x", "a1")],
                Value::Null,
                Ok(&["a1", "a2"]),
            )
        },
    ]);
    // A terminating pod does not count.
    let (mut world, pod) = seen(&zoned(), &[web("x", "a1")], &constraint(json!({})));
    assert_eq!(feasible(&mut world, &pod).unwrap().len(), 2);
    world.delete_pod("shop", "x", None).unwrap();
    world.dispatch();
    assert_eq!(feasible(&mut world, &pod).unwrap().len(), 4);
}

/// Affinity of a kind with one term over `app: web`.
fn with_affinity(name: &str, app: &str, kind: &str, more: Value) -> Value {
    let mut term = json!({ "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "web" } } });
    term.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let spec = json!({ "affinity": { kind: { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } });
    manifest(name, &json!({ "app": app, "hash": "new" }), &json!({}), &spec)
}

#[test]
fn pods_go_to_their_friends_and_keep_away_from_others() {
    let row = |story, pods, pod, wanted| Row { story, nodes: zoned(), pods, pod, wanted };
    let near = |app, more| with_affinity("asking", app, "podAffinity", more);
    let apart = |app, more| with_affinity("asking", app, "podAntiAffinity", more);
    check(vec![
        row("to the zone where a friend is", vec![web("x", "b1")], near("other", json!({})), Ok(&["b1"])),
        row(
            "no friend anywhere",
            vec![],
            near("other", json!({})),
            Err("0/4 nodes are available: 4 node(s) didn't match pod affinity rules."),
        ),
        row(
            "the first of its own group goes anywhere",
            vec![],
            near("web", json!({})),
            Ok(&["a1", "a2", "b1", "c1"]),
        ),
        row(
            "friends in another namespace do not count",
            vec![web("x", "b1")],
            near("other", json!({ "namespaces": ["pay"] })),
            Err("0/4 nodes are available: 4 node(s) didn't match pod affinity rules."),
        ),
        row("away from the zone", vec![web("x", "a1")], apart("other", json!({})), Ok(&["b1", "c1"])),
        row(
            "away from the host",
            vec![web("x", "a1")],
            apart("other", json!({ "topologyKey": "kubernetes.io/hostname" })),
            Ok(&["a2", "b1", "c1"]),
        ),
        row(
            "the old revision does not count",
            vec![web("x", "a1")],
            apart("web", json!({ "matchLabelKeys": ["hash"] })),
            Ok(&["a1", "a2", "b1", "c1"]),
        ),
        row(
            "only the old revision counts",
            vec![web("x", "a1")],
            apart("web", json!({ "mismatchLabelKeys": ["hash"] })),
            Ok(&["b1", "c1"]),
        ),
        row(
            "who is there may refuse, too",
            vec![on("a1", with_affinity("x", "guard", "podAntiAffinity", json!({})))],
            plain(json!({})),
            Ok(&["b1", "c1"]),
        ),
        row(
            "every zone is taken",
            vec![web("x", "a1"), web("y", "b1"), web("z", "c1")],
            apart("other", json!({})),
            Err("0/4 nodes are available: 4 node(s) didn't match pod anti-affinity rules."),
        ),
        row(
            "every zone refuses",
            ["a1", "b1", "c1"].map(|n| on(n, with_affinity(n, "guard", "podAntiAffinity", json!({})))).into(),
            plain(json!({})),
            Err("0/4 nodes are available: 4 node(s) didn't satisfy existing pods anti-affinity rules."),
        ),
    ]);
    // Terminating pods still keep others away; and namespaces can be chosen by their labels.
    let (mut world, pod) = seen(&zoned(), &[web("x", "a1")], &apart("other", json!({})));
    world.delete_pod("shop", "x", None).unwrap();
    world.dispatch();
    assert_eq!(feasible(&mut world, &pod).unwrap(), ["b1", "c1"]);
    let (mut world, pod) = seen(
        &zoned(),
        &[],
        &apart("other", json!({ "namespaceSelector": { "matchLabels": { "team": "pay" } } })),
    );
    apply::<Namespace>(&mut world, json!({ "metadata": { "name": "pay", "labels": { "team": "pay" } } }));
    let mut theirs = web("x", "b1");
    theirs["metadata"]["namespace"] = "pay".into();
    apply::<Pod>(&mut world, theirs);
    world.dispatch();
    assert_eq!(feasible(&mut world, &pod).unwrap(), ["a1", "a2", "c1"]);
}

#[test]
fn volumes_tie_a_pod_to_their_zone_their_nodes_limits_and_to_each_other() {
    let claim = |name: &str| {
        plain(json!({ "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": name } }] }))
    };
    let zone = |zone: &str| json!({ "labels": { "topology.disk.csi.azure.com/zone": zone, "topology.kubernetes.io/zone": zone } });
    let nodes = vec![("a", zone("west-1")), ("b", zone("west-2"))];
    let found = |name: &str, more: &dyn Fn(&mut crate::World)| {
        let (mut world, pod) = seen(&nodes, &[], &claim(name));
        let volume = |name: &str, extra: Value| {
            let mut spec = json!({ "csi": { "driver": "disk.csi.azure.com", "volumeHandle": name } });
            spec.as_object_mut().unwrap().extend(extra["spec"].as_object().cloned().unwrap_or_default());
            json!({ "metadata": { "name": name, "labels": extra["labels"] }, "spec": spec })
        };
        let only = json!({ "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": [
            { "matchExpressions": [{ "key": "topology.disk.csi.azure.com/zone", "operator": "In", "values": ["west-1"] }] }] } } } });
        apply::<PersistentVolume>(&mut world, volume("zonal", only));
        apply::<PersistentVolume>(
            &mut world,
            volume("labelled", json!({ "labels": { "topology.kubernetes.io/zone": "west-2__west-3" } })),
        );
        for (name, mode, volume, class) in [
            ("zonal", "ReadWriteOnce", Some("zonal"), None),
            ("labelled", "ReadWriteOnce", Some("labelled"), None),
            ("once", "ReadWriteOncePod", Some("zonal"), None),
            ("waiting", "ReadWriteOnce", None, Some("late")),
            ("picky", "ReadWriteOnce", None, Some("picky")),
            ("early", "ReadWriteOnce", None, Some("early")),
        ] {
            let spec = json!({ "accessModes": [mode], "volumeName": volume, "storageClassName": class });
            apply::<PersistentVolumeClaim>(&mut world, json!({ "metadata": { "name": name }, "spec": spec }));
        }
        for (name, mode, allowed) in [
            ("late", "WaitForFirstConsumer", Value::Null),
            (
                "picky",
                "WaitForFirstConsumer",
                json!([{ "matchLabelExpressions": [{ "key": "topology.kubernetes.io/zone", "values": ["west-2"] }] }]),
            ),
            ("early", "Immediate", Value::Null),
        ] {
            let class = json!({ "metadata": { "name": name }, "provisioner": "disk.csi.azure.com", "volumeBindingMode": mode, "allowedTopologies": allowed });
            apply::<StorageClass>(&mut world, class);
        }
        more(&mut world);
        world.dispatch();
        feasible(&mut world, &pod).map(|nodes| nodes.join(" "))
    };
    let ok = |nodes: &str| Ok(nodes.to_owned());
    let no = |why: &str| Err(format!("0/2 nodes are available: {why}."));
    assert_eq!(found("zonal", &|_| ()), ok("a"));
    assert_eq!(found("labelled", &|_| ()), ok("b"));
    assert_eq!(found("waiting", &|_| ()), ok("a b"));
    assert_eq!(found("picky", &|_| ()), ok("b"));
    assert_eq!(found("early", &|_| ()), no("pod has unbound immediate PersistentVolumeClaims"));
    assert_eq!(found("nowhere", &|_| ()), no("persistentvolumeclaim \"nowhere\" not found"));
    assert_eq!(found("once", &|_| ()), ok("a"));
    let used = |world: &mut crate::World| {
        let mut other = on("a", claim("once"));
        other["metadata"]["name"] = "other".into();
        apply::<Pod>(world, other);
    };
    assert_eq!(
        found("once", &used),
        no("2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode")
    );
    // The driver of node a takes one disk: there is one already, so only a pod of the same disk may come.
    let full = |world: &mut crate::World| {
        let csi = json!({ "metadata": { "name": "a" }, "spec": { "drivers": [{ "name": "disk.csi.azure.com", "nodeID": "a", "allocatable": { "count": 1 } }] } });
        apply::<CSINode>(world, csi);
        let mut other = on("a", claim("zonal"));
        other["metadata"]["name"] = "other".into();
        apply::<Pod>(world, other);
    };
    assert_eq!(found("waiting", &full), ok("b"));
    assert_eq!(found("zonal", &full), ok("a"));
}

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
        assert_eq!(super::super::enough_nodes(nodes), enough, "{nodes}");
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

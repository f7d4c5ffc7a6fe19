//! Topology spread that must hold.

use serde_json::{Value, json};

use super::super::{feasible, manifest, seen};
use super::{Row, check, web, zoned};

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
        row(
            "one that its own selector does not mean adds nothing: 1 + 0 - 0",
            &[("x", "a1")],
            constraint(json!({ "labelSelector": { "matchLabels": { "hash": "old" } } })),
            Ok(&["a1", "a2", "b1", "c1"]),
        ),
        row(
            "a constraint that may be broken refuses nobody",
            &[("x", "a1")],
            constraint(json!({ "whenUnsatisfiable": "ScheduleAnyway" })),
            Ok(&["a1", "a2", "b1", "c1"]),
        ),
        Row {
            pod: {
                let mut pod = constraint(json!({ "nodeAffinityPolicy": "Ignore" }));
                pod["spec"]["nodeSelector"] = json!({ "zone": "1" });
                pod
            },
            ..row(
                "with nodeAffinityPolicy Ignore they are: 1 0 0",
                &[("x", "a1")],
                Value::Null,
                Err(
                    "0/4 nodes are available: 2 node(s) didn't match Pod's node affinity/selector, 2 node(s) didn't match pod topology spread constraints.",
                ),
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

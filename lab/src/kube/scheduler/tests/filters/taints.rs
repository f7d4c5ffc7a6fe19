//! Cordons, taints, selectors and affinity to nodes.

use serde_json::{Value, json};

use super::{Row, check, plain};

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
        row(
            "every taint of one effect",
            tolerate(json!({ "operator": "Exists", "effect": "NoSchedule" })),
            Ok(&["a", "b", "c"]),
        ),
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
        row(
            "all expressions of a term",
            affinity(json!([{ "matchExpressions": [
                { "key": "disk", "operator": "Exists" },
                { "key": "cpus", "operator": "Gt", "values": ["4"] },
            ] }])),
            Err(
                "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.",
            ),
        ),
        row(
            "the selector and a term",
            {
                let mut both = affinity(wants("disk", "In", json!(["ssd", "hdd"])));
                both["spec"]["nodeSelector"] = json!({ "cpus": "4" });
                both
            },
            Ok(&["c"]),
        ),
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

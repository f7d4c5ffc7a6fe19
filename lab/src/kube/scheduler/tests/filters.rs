//! The filters, one after another.

mod neighbours;
mod queue;
mod room;
mod spread;
mod taints;
mod volumes;

use serde_json::{Value, json};

use super::{feasible, manifest, on, seen};

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

/// Two nodes in a zone and one in each of two others.
fn zoned() -> Vec<(&'static str, Value)> {
    let zone = |zone: &str| json!({ "labels": { "zone": zone } });
    vec![("a1", zone("1")), ("a2", zone("1")), ("b1", zone("2")), ("c1", zone("3"))]
}

/// A pod of the old revision of `web`.
fn web(name: &str, node: &str) -> Value {
    on(node, manifest(name, &json!({ "app": "web", "hash": "old" }), &json!({}), &json!({})))
}

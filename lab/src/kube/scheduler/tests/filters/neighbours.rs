//! Affinity and anti-affinity between pods.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use serde_json::{Value, json};

use super::super::{feasible, manifest, on, seen};
use super::{Row, check, plain, web, zoned};
use crate::kube::tests::apply;

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

use serde_json::json;

use super::*;

fn patched(kind: Kind, content_type: &str, before: &Value, patch: &Value) -> Result<Value, ApiError> {
    Patch::of(content_type, patch.to_string().as_bytes())?.apply(kind, before.clone())
}

fn strategic(kind: Kind, before: &Value, patch: &Value) -> Value {
    patched(kind, "application/strategic-merge-patch+json", before, patch).unwrap()
}

#[test]
fn a_merge_patch_merges_objects_removes_by_null_and_replaces_lists() {
    let before = json!({ "a": { "b": 1, "c": 2 }, "l": [1, 2], "x": 1 });
    let patch = json!({ "a": { "b": null, "d": { "e": null, "f": 3 } }, "l": [9], "x": { "y": 1 } });
    let after = patched(Kind::ConfigMap, "application/merge-patch+json", &before, &patch).unwrap();
    assert_eq!(after, json!({ "a": { "c": 2, "d": { "f": 3 } }, "l": [9], "x": { "y": 1 } }));
}

#[test]
fn a_strategic_patch_merges_known_lists_by_their_key_and_replaces_the_others() {
    let before = json!({ "spec": {
        "containers": [{ "name": "a", "image": "1", "args": ["x"], "ports": [{ "containerPort": 1, "name": "one" }] }, { "name": "b" }],
        "tolerations": [{ "key": "t" }],
    }, "metadata": { "finalizers": ["one"] } });
    let patch = json!({ "spec": {
        "containers": [
            { "name": "a", "image": "2", "ports": [{ "containerPort": 2 }] }, { "name": "b", "$patch": "delete" }, { "name": "c" },
        ],
        "tolerations": [{ "key": "u" }],
    }, "metadata": { "finalizers": ["two"], "$deleteFromPrimitiveList/finalizers": ["one"] } });
    let after = strategic(Kind::Pod, &before, &patch);
    assert_eq!(
        after["spec"]["containers"],
        json!([
            { "name": "a", "image": "2", "args": ["x"], "ports": [{ "containerPort": 1, "name": "one" }, { "containerPort": 2 }] },
            { "name": "c" },
        ])
    );
    assert_eq!(after["spec"]["tolerations"], json!([{ "key": "u" }]));
    assert_eq!(after["metadata"]["finalizers"], json!(["two"]));
}

/// `kubectl taint` sends all taints that shall be left: a node's taints have no merge key.
#[test]
fn a_nodes_taints_are_replaced() {
    let before = json!({ "spec": { "taints": [{ "key": "k", "effect": "NoSchedule" }] } });
    let patch = json!({ "spec": { "taints": [{ "key": "n", "effect": "NoExecute" }] } });
    assert_eq!(strategic(Kind::Node, &before, &patch), patch);
}

#[test]
fn the_ports_of_a_service_have_a_key_of_their_own_and_those_of_a_slice_have_none() {
    let before = json!({ "spec": { "ports": [{ "port": 80, "name": "http" }] }, "ports": [{ "port": 80 }] });
    let patch = json!({ "spec": { "ports": [{ "port": 80, "targetPort": 8080 }, { "port": 443 }] } });
    let after = strategic(Kind::Service, &before, &patch);
    assert_eq!(
        after["spec"]["ports"],
        json!([{ "port": 80, "name": "http", "targetPort": 8080 }, { "port": 443 }])
    );
    let after = strategic(Kind::EndpointSlice, &before, &json!({ "ports": [{ "port": 443 }] }));
    assert_eq!(after["ports"], json!([{ "port": 443 }]));
}

#[test]
fn the_selector_of_a_budget_is_replaced() {
    let before = json!({ "spec": { "selector": { "matchLabels": { "a": "1" } }, "minAvailable": 1 } });
    let patch = json!({ "spec": { "selector": { "$patch": "replace", "matchLabels": { "b": "2" } } } });
    let after = strategic(Kind::PodDisruptionBudget, &before, &patch);
    assert_eq!(after["spec"], json!({ "selector": { "matchLabels": { "b": "2" } }, "minAvailable": 1 }));
}

#[test]
fn the_directives_are_followed() {
    let before = json!({
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } }, "n": { "a": 1 }, "gone": { "a": 1 },
        "env": [{ "name": "a" }, { "name": "kept" }, { "name": "b" }],
    });
    let patch = json!({
        "strategy": { "$retainKeys": ["type"], "type": "Recreate" }, "n": { "$patch": "replace", "b": 2 },
        "gone": { "$patch": "delete" }, "$setElementOrder/env": [{ "name": "c" }, { "name": "b" }, { "name": "a" }],
        "env": [{ "name": "c" }],
    });
    let after = strategic(Kind::Deployment, &before, &patch);
    assert_eq!((&after["strategy"], &after["n"]), (&json!({ "type": "Recreate" }), &json!({ "b": 2 })));
    assert_eq!(after["gone"], json!({}));
    let names: Vec<_> =
        after["env"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c", "kept", "b", "a"]);
}

/// The examples of RFC 6902, appendix A, and how each fails.
#[test]
fn a_json_patch_takes_its_steps_or_none() {
    let table = [
        (
            json!({ "a": 1 }),
            json!([{ "op": "add", "path": "/b", "value": 2 }]),
            Some(json!({ "a": 1, "b": 2 })),
        ),
        (
            json!({ "l": [1, 3] }),
            json!([{ "op": "add", "path": "/l/1", "value": 2 }]),
            Some(json!({ "l": [1, 2, 3] })),
        ),
        (
            json!({ "l": [1] }),
            json!([{ "op": "add", "path": "/l/-", "value": [2] }]),
            Some(json!({ "l": [1, [2]] })),
        ),
        (json!({ "a": 1, "b": 2 }), json!([{ "op": "remove", "path": "/b" }]), Some(json!({ "a": 1 }))),
        (
            json!({ "l": [1, 2, 3] }),
            json!([{ "op": "remove", "path": "/l/1" }]),
            Some(json!({ "l": [1, 3] })),
        ),
        (
            json!({ "a": 1 }),
            json!([{ "op": "replace", "path": "/a", "value": { "x": 1 } }]),
            Some(json!({ "a": { "x": 1 } })),
        ),
        (
            json!({ "a": { "x": 1 }, "b": {} }),
            json!([{ "op": "move", "from": "/a/x", "path": "/b/y" }]),
            Some(json!({ "a": {}, "b": { "y": 1 } })),
        ),
        (
            json!({ "a": [1] }),
            json!([{ "op": "copy", "from": "/a", "path": "/b" }]),
            Some(json!({ "a": [1], "b": [1] })),
        ),
        (
            json!({ "a/b": 1, "m~n": 2 }),
            json!([{ "op": "test", "path": "/a~1b", "value": 1 }, { "op": "remove", "path": "/m~0n" }]),
            Some(json!({ "a/b": 1 })),
        ),
        (
            json!({ "a": 1 }),
            json!([{ "op": "add", "path": "", "value": { "b": 1 } }]),
            Some(json!({ "b": 1 })),
        ),
        (json!({ "a": 1 }), json!([{ "op": "test", "path": "/a", "value": 2 }]), None),
        (json!({ "a": 1 }), json!([{ "op": "replace", "path": "/b", "value": 2 }]), None),
        (json!({ "a": 1 }), json!([{ "op": "remove", "path": "/b" }]), None),
        (json!({ "a": 1 }), json!([{ "op": "add", "path": "/b/c", "value": 2 }]), None),
        (json!({ "l": [1] }), json!([{ "op": "add", "path": "/l/2", "value": 2 }]), None),
        (json!({ "l": [1] }), json!([{ "op": "remove", "path": "/l/00" }]), None),
        (json!({ "a": {} }), json!([{ "op": "move", "from": "/a", "path": "/a/b" }]), None),
    ];
    for (before, patch, expected) in table {
        match (patched(Kind::ConfigMap, "application/json-patch+json", &before, &patch), expected) {
            (Ok(after), Some(expected)) => assert_eq!(after, expected, "{patch}"),
            (Err(error), None) => assert_eq!((error.code, error.reason), (422, "Invalid"), "{patch}"),
            (result, _) => panic!("{patch}: {result:?}"),
        }
    }
    for unreadable in [json!({}), json!([{ "op": "wish", "path": "/a" }]), json!([{ "op": "add" }])] {
        let error =
            patched(Kind::ConfigMap, "application/json-patch+json", &json!({}), &unreadable).unwrap_err();
        assert_eq!(error.code, 400, "{unreadable}");
    }
}

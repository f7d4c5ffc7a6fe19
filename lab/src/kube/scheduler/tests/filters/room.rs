//! Room for requests, pods and ports.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::super::{feasible, manifest, on, seen};
use super::{Row, check, nodes};

#[test]
fn room_for_requests_pods_and_ports() {
    let asks = |asks: Value| manifest("asking", &json!({}), &asks, &json!({}));
    let there = |name: &str, what: Value| on("a", manifest(name, &json!({}), &what, &json!({})));
    let port = |name: &str, port: Value| {
        manifest(name, &json!({}), &json!({}), &json!({ "containers": [{ "name": "c", "ports": [port] }] }))
    };
    let row = |story, pods, pod, wanted| Row { story, nodes: nodes(&["a"]), pods, pod, wanted };
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
            "an init container beside an earlier sidecar: max(1 + 2, 2 + 2.5)",
            vec![],
            manifest(
                "asking",
                &json!({}),
                &json!({ "cpu": "1" }),
                &json!({ "initContainers": [
                    { "name": "s", "restartPolicy": "Always", "resources": { "requests": { "cpu": "2" } } },
                    { "name": "i", "resources": { "requests": { "cpu": "2500m" } } },
                ] }),
            ),
            Err("0/1 nodes are available: 1 Insufficient cpu."),
        ),
        row(
            "an init container before the sidecar is alone: max(1 + 2, 2.5)",
            vec![],
            manifest(
                "asking",
                &json!({}),
                &json!({ "cpu": "1" }),
                &json!({ "initContainers": [
                    { "name": "i", "resources": { "requests": { "cpu": "2500m" } } },
                    { "name": "s", "restartPolicy": "Always", "resources": { "requests": { "cpu": "2" } } },
                ] }),
            ),
            Ok(&["a"]),
        ),
        row(
            "what the whole pod asks for counts instead: 1 of 4, not 5",
            vec![],
            manifest(
                "asking",
                &json!({}),
                &json!({ "cpu": "5" }),
                &json!({ "resources": { "requests": { "cpu": "1" } } }),
            ),
            Ok(&["a"]),
        ),
        row(
            "limits do not matter",
            vec![],
            manifest(
                "asking",
                &json!({}),
                &json!({}),
                &json!({ "containers": [{ "name": "c", "resources": { "limits": { "cpu": "9" }, "requests": { "cpu": "1" } } }] }),
            ),
            Ok(&["a"]),
        ),
        row(
            "nine pods and one that has ended",
            (0..9)
                .map(|n| there(&format!("p{n}"), json!({})))
                .chain([finished(there("done", json!({})))])
                .collect(),
            asks(json!({})),
            Ok(&["a"]),
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
    world.delete_pod("shop", "x", None).unwrap();
    world.dispatch();
    assert_eq!(feasible(&mut world, &pod).unwrap_err(), "0/1 nodes are available: 1 Insufficient cpu.");
    world.store.delete::<Pod>("shop", "x").unwrap();
    world.dispatch();
    assert_eq!(feasible(&mut world, &pod), Ok(vec!["a".to_owned()]));
}

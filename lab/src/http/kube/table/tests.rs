use serde_json::json;

use super::*;

fn row(kind: Kind, object: Value) -> Vec<(String, Value)> {
    let now = "2026-01-15T02:00:00Z".parse().unwrap();
    let table = of(kind, &json!({}), vec![object], Include::Metadata, now);
    let names = table["columnDefinitions"].as_array().unwrap().iter();
    let names = names.map(|column| column["name"].as_str().unwrap().to_owned());
    names.zip(table["rows"][0]["cells"].as_array().unwrap().clone()).collect()
}

fn cell(kind: Kind, object: &Value, name: &str) -> Value {
    let row = row(kind, object.clone());
    row.into_iter().find(|(column, _)| column == name).map(|(_, value)| value).unwrap()
}

/// From apimachinery's own table of human durations.
#[test]
fn a_duration_has_two_units_where_the_first_is_small() {
    const H: i64 = 3600;
    for (seconds, expected) in [
        (-2, "<invalid>"),
        (0, "0s"),
        (70, "70s"),
        (120, "2m"),
        (190, "3m10s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * H, "3h"),
        (7 * H + 120, "7h2m"),
        (8 * H, "8h"),
        (47 * H + 3599, "47h"),
        (49 * H, "2d1h"),
        (48 * H, "2d"),
        (8 * 24 * H, "8d"),
        (400 * 24 * H, "400d"),
        (2 * 365 * 24 * H, "2y"),
        (2 * 365 * 24 * H + 25 * H, "2y1d"),
        (9 * 365 * 24 * H, "9y"),
    ] {
        assert_eq!(cells::human(seconds), expected, "{seconds}");
    }
}

#[test]
fn a_pods_state_is_one_word() {
    let pod = |status: Value| {
        json!({
            "metadata": { "name": "p" }, "status": status,
            "spec": { "containers": [{ "name": "a" }, { "name": "b" }], "initContainers": [{ "name": "i" }] },
        })
    };
    let running = json!({ "name": "a", "ready": true, "state": { "running": {} } });
    for (status, word, ready) in [
        (json!({ "phase": "Pending" }), "Pending", "0/2"),
        (
            json!({ "phase": "Pending", "initContainerStatuses": [{ "name": "i", "state": { "running": {} } }] }),
            "Init:0/1",
            "0/2",
        ),
        (
            json!({ "phase": "Pending", "initContainerStatuses": [{ "name": "i", "state": { "terminated": { "exitCode": 2 } } }] }),
            "Init:ExitCode:2",
            "0/2",
        ),
        (
            json!({ "phase": "Pending", "containerStatuses": [{ "state": { "waiting": { "reason": "ImagePullBackOff" } } }] }),
            "ImagePullBackOff",
            "0/2",
        ),
        (
            json!({ "phase": "Running", "containerStatuses": [running, { "state": { "waiting": { "reason": "CrashLoopBackOff" } } }] }),
            "CrashLoopBackOff",
            "1/2",
        ),
        (json!({ "phase": "Running", "containerStatuses": [running, running] }), "Running", "2/2"),
        (
            json!({ "phase": "Running", "containerStatuses": [{ "state": { "terminated": { "reason": "Completed" } } }, running] }),
            "NotReady",
            "1/2",
        ),
        (
            json!({ "phase": "Succeeded", "containerStatuses": [{ "state": { "terminated": { "reason": "Completed" } } }] }),
            "Completed",
            "0/2",
        ),
        (json!({ "phase": "Failed", "reason": "Evicted" }), "Evicted", "0/2"),
    ] {
        let pod = pod(status.clone());
        assert_eq!(cell(Kind::Pod, &pod, "Status"), word, "{status}");
        assert_eq!(cell(Kind::Pod, &pod, "Ready"), ready, "{status}");
    }
    let mut going = pod(json!({ "phase": "Running" }));
    going["metadata"]["deletionTimestamp"] = "2026-01-15T02:00:00Z".into();
    assert_eq!(cell(Kind::Pod, &going, "Status"), "Terminating");
    let restarted = pod(json!({ "containerStatuses": [
        { "restartCount": 2, "lastState": { "terminated": { "finishedAt": "2026-01-15T01:55:00Z" } } }, { "restartCount": 1 },
    ] }));
    assert_eq!(cell(Kind::Pod, &restarted, "Restarts"), "3 (5m ago)");
}

#[test]
fn every_kind_has_a_table_that_says_its_name() {
    for kind in Kind::ALL {
        let object = json!({ "metadata": { "name": "x", "creationTimestamp": "2026-01-14T02:00:00Z" } });
        let row = row(*kind, object);
        assert!(row.iter().any(|(_, value)| value == "x"), "{kind:?}: {row:?}");
    }
}

#[test]
fn rows_read_as_kubectl_shows_them() {
    let node = json!({
        "metadata": { "name": "n", "creationTimestamp": "2026-01-14T02:00:00Z", "labels": { "node-role.kubernetes.io/worker": "" } },
        "spec": { "unschedulable": true },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }], "nodeInfo": { "kubeletVersion": "v1.34.2" }, "addresses": [{ "type": "InternalIP", "address": "10.0.0.4" }] },
    });
    let cells: Vec<Value> = row(Kind::Node, node).into_iter().map(|(_, value)| value).collect();
    assert_eq!(
        cells[..7],
        ["n", "Ready,SchedulingDisabled", "worker", "24h", "v1.34.2", "10.0.0.4", "<none>"]
    );
    let service = json!({
        "metadata": { "name": "s" }, "spec": { "type": "LoadBalancer", "clusterIP": "10.0.0.1", "ports": [{ "port": 80, "protocol": "TCP", "nodePort": 30001 }, { "port": 53, "protocol": "UDP" }] },
    });
    assert_eq!(cell(Kind::Service, &service, "External-IP"), "<pending>");
    assert_eq!(cell(Kind::Service, &service, "Port(s)"), "80:30001/TCP,53/UDP");
    let autoscaler = json!({ "metadata": { "name": "h" }, "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "web" }, "maxReplicas": 5,
        "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": { "averageUtilization": 80 } } }] } });
    assert_eq!(cell(Kind::HorizontalPodAutoscaler, &autoscaler, "Reference"), "Deployment/web");
    assert_eq!(cell(Kind::HorizontalPodAutoscaler, &autoscaler, "Targets"), "cpu: <unknown>/80%");
    let budget = json!({ "metadata": { "name": "b" }, "spec": { "maxUnavailable": "25%" } });
    assert_eq!(cell(Kind::PodDisruptionBudget, &budget, "Min Available"), "N/A");
    assert_eq!(cell(Kind::PodDisruptionBudget, &budget, "Max Unavailable"), "25%");
}

//! Hazards of what pods keep, of what they are, and of the cluster's own parts.

use std::time::Duration;

use cluster_lab::{Fault, What, When};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;
use upgrade_core::model::{AvailableUpgrade, KubeVersion, OsType};

use super::*;

#[test]
fn hazard_23_what_pods_keep_on_their_node_is_told_once_for_all() {
    let cache = json!({ "volumes": [{ "name": "cache", "emptyDir": {} }, { "name": "tmp", "emptyDir": { "medium": "Memory" } }] });
    let host = json!({ "volumes": [{ "name": "logs", "hostPath": { "path": "/var/log" } }] });
    let memory = json!({ "volumes": [{ "name": "tmp", "emptyDir": { "medium": "Memory" } }] });
    let town = Town::of([
        app("api", 2, cache.clone()),
        app("logs", 2, host),
        app("mem", 2, memory),
        app("web", 2, cache),
    ]);
    assert_eq!(
        town.says("DAT-001"),
        ["info demo: 2 workload(s) keep data in an emptyDir, which goes with each pod (shop/api, shop/web)"]
    );
    assert_eq!(
        town.says("DAT-002"),
        [
            "advisory demo: 1 workload(s) use a directory of their node (hostPath), which is another one after the move (shop/logs)"
        ]
    );
    assert!(town.upgraded().gaps().is_empty());
}

#[test]
fn hazard_24_what_asks_for_a_newer_kubelet_is_told_before_the_control_plane_begins_to_look() {
    let (from, to) = (KubeVersion::new(1, 35, 1), KubeVersion::new(1, 36, 0));
    let users = json!({ "hostUsers": false, "hostNetwork": true });
    let mut town = Town::of([app("vm", 2, users)]).but(|scenario| {
        scenario.cluster.version = from;
        scenario.pools.iter_mut().for_each(|pool| pool.version = from);
        scenario.cluster.upgrades = vec![AvailableUpgrade { version: to, preview: false }];
    });
    town.to = "1.36".parse().unwrap();
    assert_eq!(
        town.says("VER-006"),
        [
            "advisory shop/vm: Deployment shop/vm asks for user namespaces on the host's network; once the control plane is upgraded, \
          its new pods find no node until the buffer is there"
        ]
    );
    assert!(town.upgraded().gaps().is_empty());
}

#[test]
fn hazard_25_a_singleton_runs_twice_for_a_moment_and_nobody_is_without_it() {
    let singleton = deployment("shop", "scheduler", 1, json!({}), json!({}));
    let town = Town::of([vec![singleton], app("web", 1, json!({}))]);
    assert_eq!(
        town.says("MOV-006"),
        [
            "info demo: 1 workload(s) with one replica and no Service run twice for a moment, the new pod beside the old \
          (shop/scheduler)"
        ]
    );
    let told = town.upgraded();
    assert_eq!(told.way("shop/scheduler"), "restart: rolling update with a surge of 1");
    assert_eq!(told.endpoints("shop/web"), (1, 1));
}

#[test]
fn hazard_26_a_windows_pool_is_told_with_the_build_of_its_nodes() {
    let on_windows = json!({ "nodeSelector": { "kubernetes.io/os": "windows" } });
    let town = Town::of([app("desk", 2, on_windows)]).but(|scenario| scenario.pools[1].os = OsType::Windows);
    let said = town.says("WIN-001");
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("advisory user: runs Windows ("), "{}", said[0]);
    let told = town.upgraded();
    assert_eq!((told.endpoints("shop/desk"), told.gaps().len()), ((2, 2), 0));
}

/// An add-on of AKS with its Service and budget, on the system pool.
fn add_on(name: &str, replicas: u32, served: bool) -> Vec<Manifest> {
    let system = json!({
        "nodeSelector": { "kubernetes.azure.com/mode": "system" },
        "tolerations": [{ "key": "CriticalAddonsOnly", "operator": "Exists" }],
    });
    let mut all = vec![deployment("kube-system", name, replicas, json!({}), system)];
    if served {
        all.push(service("kube-system", name, json!({})));
        all.push(object::<PodDisruptionBudget>(json!({
            "metadata": { "name": name, "namespace": "kube-system" },
            "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": name } } },
        })));
    }
    all
}

#[test]
fn hazard_27_the_clusters_own_parts_leave_one_by_one_and_a_lone_tunnel_is_told() {
    let town = Town::of([
        add_on("coredns", 2, true),
        add_on("metrics-server", 2, true),
        add_on("konnectivity-agent", 1, false),
    ])
    .but(|scenario| scenario.pools[0].count = 2);
    assert_eq!(
        town.says("ADD-001"),
        [
            "advisory kube-system/konnectivity-agent: has one replica: while it moves, the API server reaches no webhook, no aggregated \
          API and no pod"
        ]
    );
    let told = town.upgraded();
    assert_eq!(
        told.way("kube-system/coredns"),
        "eviction: AKS manages its template; 2 replicas, one leaves at a time"
    );
    let least = |name: &str| told.endpoints(name);
    assert_eq!((least("kube-system/coredns"), least("kube-system/metrics-server")), ((2, 1), (2, 1)));
    assert!(told.gaps().is_empty());
}

#[test]
fn hazard_22_an_image_that_is_gone_is_found_before_anything_is_cordoned() {
    let image = "registry.example.com/shop/legacy:1.0";
    let town = Town::of([app("legacy", 2, json!({})), app("web", 2, json!({}))]).but(|scenario| {
        scenario.faults =
            vec![Fault::new(When::After(Duration::ZERO), What::ImageDeleted(image.into())).unwrap()];
    });
    let told = town.run();
    let RunOutcome::Held { cause, .. } = &told.report.outcome else { panic!("{:?}", told.report.outcome) };
    assert!(cause.starts_with(&format!("image {image}, which Deployment shop/legacy needs")), "{cause}");
    assert!(cause.ends_with("nothing of user is cordoned yet"), "{cause}");
    assert_eq!(told.endpoints("shop/legacy"), (2, 2));
    assert!(told.gaps().is_empty());
}

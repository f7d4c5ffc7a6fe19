//! Hazards of how a workload replaces its pods.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;

use super::*;

#[test]
fn hazard_01_recreate_is_lent_a_stand_in_alone_and_is_evicted_pod_by_pod_with_others() {
    let recreate = json!({ "strategy": { "type": "Recreate", "rollingUpdate": null } });
    let alone = || Town::of([app_with("report", 1, recreate.clone(), json!({}))]);
    let told = alone().upgraded();
    assert_eq!(
        told.way("shop/report"),
        "eviction with one more replica: its strategy Recreate would stop every pod first, and it has one replica; replicas 2 is \
         lent until the last pod has moved, and then given back"
    );
    assert_eq!((told.endpoints("shop/report"), told.gaps().len()), ((1, 1), 0));
    // What must never run twice has its gap accepted instead.
    alone().accepting_the_gap_of("shop/report").upgraded().assert_gaps_only_of("shop/report");

    let told = Town::of([app_with("web", 3, recreate.clone(), json!({}))]).upgraded();
    assert_eq!(
        told.way("shop/web"),
        "eviction: its strategy Recreate would stop every pod first; 3 replicas, one leaves at a time"
    );
    assert_eq!((told.endpoints("shop/web"), told.gaps().len()), ((3, 2), 0));
}

#[test]
fn hazard_04_a_disk_for_one_node_cannot_have_two_pods_so_the_old_one_goes_first() {
    let claim = object::<PersistentVolumeClaim>(json!({
        "metadata": { "name": "data", "namespace": "shop" },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "managed-csi",
            "resources": { "requests": { "storage": "8Gi" } },
        },
    }));
    let disk = json!({ "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }] });
    let town = Town::of([vec![claim], app("wiki", 1, disk)]);
    assert_eq!(
        town.says("MOV-001"),
        [
            "blocking shop/wiki: Deployment shop/wiki cannot move without a gap: its disk can be attached to one node at a time"
        ]
    );
    let told = town.accepting_the_gap_of("shop/wiki").upgraded();
    told.assert_gaps_only_of("shop/wiki");
    // A disk is detached and attached again within minutes; a rollout would have waited for ever.
    let longest = told.gaps().iter().map(|gap| gap.millis(gap.begin)).max().unwrap();
    assert!(longest < 5 * 60_000, "{longest} ms");
}

fn rolling(surge: u32, unavailable: u32) -> Value {
    json!({ "strategy": { "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } } })
}

#[test]
fn hazard_02_without_a_surge_the_old_pod_would_go_first_so_one_is_lent() {
    let told = Town::of([app_with("web", 3, rolling(0, 1), json!({}))]).upgraded();
    assert_eq!(
        told.way("shop/web"),
        "restart with a loan: maxSurge comes to 0; maxSurge 1 is lent for the restart and given back after it"
    );
    assert!(told.endpoints("shop/web").1 >= 2 && told.gaps().is_empty());
}

#[test]
fn hazard_03_a_rollout_that_may_take_every_pod_is_lent_one_that_may_take_none() {
    let told = Town::of([app_with("web", 2, rolling(1, 2), json!({}))]).upgraded();
    assert_eq!(
        told.way("shop/web"),
        "restart with a loan: maxUnavailable covers every replica; maxUnavailable 0 is lent for the restart and given back after it"
    );
    assert_eq!((told.endpoints("shop/web"), told.gaps().len()), ((2, 2), 0));
}

fn budget(name: &str, limit: Value) -> Manifest {
    let mut spec = json!({ "selector": { "matchLabels": { "app": "web" } } });
    merge(&mut spec, limit);
    object::<PodDisruptionBudget>(json!({ "metadata": { "name": name, "namespace": "shop" }, "spec": spec }))
}

#[test]
fn hazard_16_a_budget_that_allows_nothing_is_no_matter_for_a_restart_and_blocks_an_eviction() {
    let town = Town::of([app("web", 1, json!({})), vec![budget("web", json!({ "minAvailable": 1 }))]]);
    assert_eq!(
        town.says("PDB-004"),
        [
            "info shop/web: would never allow an eviction of Deployment shop/web; it is restarted instead, the new pod first"
        ]
    );
    let told = town.upgraded();
    assert_eq!((told.endpoints("shop/web"), told.gaps().len()), ((1, 1), 0));

    let frozen = Town::of([app("web", 2, json!({})), vec![budget("web", json!({ "maxUnavailable": 0 }))]]);
    assert_eq!(frozen.blocked(), ["PDB-003 shop/web"]);
    let quorum = || stateful_set("web", 2, 0, json!({}));
    let strict = Town::of([quorum(), vec![budget("web", json!({ "minAvailable": 2 }))]]);
    assert_eq!(strict.blocked(), ["PDB-002 shop/web"]);
    let one = |name: &str| budget(name, json!({ "minAvailable": 1 }));
    let twice = Town::of([quorum(), vec![one("one"), one("two")]]);
    assert_eq!(twice.blocked(), ["PDB-001 shop/web"]);
}

#[test]
fn hazard_17_without_a_readiness_probe_ready_means_started_and_the_plan_says_so() {
    let unprobed = json!({ "containers": [container("web", json!({ "readinessProbe": null }))] });
    let town = Town::of([app("web", 2, unprobed)]);
    assert_eq!(
        town.says("MOV-004"),
        [
            "advisory shop/web: Deployment shop/web has no readiness probe: a new pod counts as ready when it has only started"
        ]
    );
    let told = town.upgraded();
    assert_eq!(
        told.way("shop/web"),
        "restart with a loan: nothing says when a new pod is ready; minReadySeconds 10 is lent for the restart and given back \
         after it"
    );
    assert_eq!((told.endpoints("shop/web"), told.gaps().len()), ((2, 2), 0));
}

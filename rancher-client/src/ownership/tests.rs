use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_795_500_000;

/// A managed cluster at rest, as Rancher 2.9 shows it.
fn at_rest_json() -> Value {
    let config = json!({
        "type": "/v3/schemas/aksClusterConfigSpec", "imported": true, "clusterName": "shop-acc",
        "resourceGroup": "rg-demo", "kubernetesVersion": "1.34.2", "tags": {"type": "shop"}, "dnsPrefix": null,
        "nodePools": [
            {"name": "system", "count": 3, "mode": "System", "orchestratorVersion": "1.34.2",
             "enableAutoScaling": false, "minCount": null, "maxCount": null},
            {"name": "user", "count": 4, "mode": "User", "orchestratorVersion": "1.34.2",
             "enableAutoScaling": true, "minCount": 2, "maxCount": 9},
        ],
    });
    let mut applied = config.clone();
    applied.as_object_mut().unwrap().remove("type");
    applied.as_object_mut().unwrap().remove("dnsPrefix");
    let mut upstream = config.clone();
    upstream["nodePools"][1]["count"] = json!(7);
    json!({
        "id": "c-x7k2p", "driver": "AKS", "provider": "aks", "state": "active", "transitioning": "no",
        "conditions": [{"type": "Provisioned", "status": "True"}, {"type": "Updated", "status": "True"}],
        "aksConfig": config, "appliedSpec": {"aksConfig": applied}, "aksStatus": {"upstreamSpec": upstream},
        "annotations": {"clusters.management.cattle.io/ke-last-refresh": (NOW - 299).to_string()},
    })
}

/// The cluster at rest with one place set to another value; `null` takes it away.
fn with(place: &str, value: Value) -> Cluster {
    let mut raw = at_rest_json();
    *raw.pointer_mut(place).unwrap() = value;
    Cluster::from_json(raw).unwrap()
}

fn sync(cluster: &Cluster) -> Vec<OutOfSync> {
    let now = Timestamp::from_second(NOW).unwrap();
    in_sync(cluster, now, DEFAULT_AKS_REFRESH).err().unwrap_or_default()
}

fn azure_pools() -> Vec<PoolView> {
    let pool = |name: &str, count, autoscaling, mode: &str| PoolView {
        name: name.into(),
        version: Some("1.34.2".into()),
        count: Some(count),
        autoscaling,
        mode: mode.into(),
    };
    vec![pool("user", 5, Some((2, 9)), "User"), pool("system", 3, None, "System")]
}

#[test]
fn who_owns_the_pools_is_told_by_driver_provider_and_configuration() {
    let cases = [
        (json!({"driver": "imported", "provider": "aks"}), "Generic"),
        (json!({"driver": "imported"}), "Generic"),
        (json!({"driver": "imported", "aksConfig": null, "aksStatus": {"upstreamSpec": null}}), "Generic"),
        (json!({"driver": "AKS", "aksConfig": {"imported": true}}), "Unmanaged"),
        (json!({"driver": "AKS", "aksConfig": {"nodePools": null, "kubernetesVersion": null}}), "Unmanaged"),
        (json!({"driver": "AKS", "aksConfig": {"kubernetesVersion": "1.34.2"}}), "Managed"),
        (json!({"driver": "AKS", "aksConfig": {"nodePools": []}}), "Managed"),
        (json!({"driver": "imported", "aksConfig": {"nodePools": []}}), "Managed"),
        (json!({"driver": "AKS"}), "Refused(NoConfig)"),
        (json!({"provider": "aks"}), "Refused(Driver"),
        (json!({"driver": "rke2", "provider": "aks"}), "Refused(Driver"),
        (json!({"driver": "imported", "provider": "gke"}), "Refused(Provider"),
        (
            json!({"driver": "AKS", "aksConfig": {"nodePools": [{"name": "a"}, {"name": 7}]}}),
            "Refused(Unreadable { place: \"aksConfig.nodePools[1].name\" })",
        ),
    ];
    for (mut raw, expected) in cases {
        raw["id"] = json!("c-x7k2p");
        let ownership = classify(&Cluster::from_json(raw.clone()).unwrap());
        assert!(format!("{ownership:?}").starts_with(expected), "{raw}: {ownership:?}");
    }
}

#[test]
fn a_managed_cluster_at_rest_is_in_sync() {
    let cluster = Cluster::from_json(at_rest_json()).unwrap();
    assert_eq!(sync(&cluster), []);
    let Ownership::Managed(managed) = classify(&cluster) else { panic!("managed") };
    assert_eq!(managed.kubernetes_version.as_deref(), Some("1.34.2"));
    assert_eq!(managed.pools.unwrap()[1].autoscaling, Some((2, 9)));
    assert!(managed.imported);
}

#[test]
fn each_sign_of_unrest_is_named() {
    let upstream = |field: &str| format!("/aksStatus/upstreamSpec/{field}");
    let cases = [
        ("/state", json!("updating"), "State { state: \"updating\" }"),
        ("/transitioning", json!("yes"), "Transitioning { transitioning: Yes"),
        ("/transitioning", json!("error"), "Transitioning { transitioning: Error"),
        ("/transitioning", json!(null), "Transitioning { transitioning: Unknown"),
        (
            "/conditions/0/status",
            json!("Unknown"),
            "Condition { kind: \"Provisioned\", status: Some(Unknown)",
        ),
        ("/conditions/1/status", json!("False"), "Condition { kind: \"Updated\", status: Some(False)"),
        ("/conditions/1/type", json!("Else"), "Condition { kind: \"Updated\", status: None"),
        (
            "/conditions/1",
            json!({"type": "Updated", "status": "True", "message": "[Syncing error: 403] x"}),
            "SyncError",
        ),
        (
            "/appliedSpec/aksConfig/kubernetesVersion",
            json!("1.33.0"),
            "NotApplied { fields: [\"kubernetesVersion\"] }",
        ),
        ("/appliedSpec/aksConfig/tags/type", json!("x"), "NotApplied { fields: [\"tags.type\"] }"),
        (
            "/appliedSpec/aksConfig/nodePools/0/count",
            json!(2),
            "NotApplied { fields: [\"nodePools[0].count\"] }",
        ),
        ("/appliedSpec/aksConfig/nodePools", json!([]), "NotApplied { fields: [\"nodePools\"] }"),
        ("/appliedSpec", json!(null), "NotApplied { fields: [\"aksConfig\"] }"),
        ("/aksStatus/upstreamSpec", json!(null), "NoUpstream"),
        (
            &upstream("nodePools/0/count"),
            json!("3"),
            "Unreadable { place: \"aksStatus.upstreamSpec.nodePools[0].count\" }",
        ),
        (
            &upstream("kubernetesVersion"),
            json!("1.35.0"),
            "Version { wanted: \"1.34.2\", found: Some(\"1.35.0\"), other: Upstream }",
        ),
        (
            &upstream("nodePools/0/count"),
            json!(4),
            "PoolDiffers { name: \"system\", field: \"count\", other: Upstream }",
        ),
        (&upstream("nodePools/1/maxCount"), json!(8), "PoolDiffers { name: \"user\", field: \"autoscaling\""),
        (&upstream("nodePools/1/mode"), json!("System"), "PoolDiffers { name: \"user\", field: \"mode\""),
        (
            &upstream("nodePools/1/orchestratorVersion"),
            json!(null),
            "PoolDiffers { name: \"user\", field: \"orchestratorVersion\"",
        ),
        ("/annotations", json!({}), "Stale { age_seconds: None }"),
        (
            "/annotations",
            json!({"clusters.management.cattle.io/ke-last-refresh": (NOW - 601).to_string()}),
            "Stale { age_seconds: Some(601) }",
        ),
        (
            "/annotations",
            json!({"clusters.management.cattle.io/ke-last-refresh": (NOW + 601).to_string()}),
            "Stale { age_seconds: Some(-601) }",
        ),
    ];
    for (place, value, expected) in cases {
        let reasons = sync(&with(place, value.clone()));
        assert_eq!(reasons.len(), 1, "{place} = {value}: {reasons:?}");
        assert!(format!("{:?}", reasons[0]).starts_with(expected), "{place} = {value}: {reasons:?}");
        assert!(!reasons[0].to_string().is_empty());
    }
}

#[test]
fn all_reasons_are_given_at_once() {
    let mut raw = at_rest_json();
    raw["state"] = json!("updating");
    raw["transitioning"] = json!("error");
    raw["annotations"] = json!(null);
    assert_eq!(sync(&Cluster::from_json(raw).unwrap()).len(), 3);
}

#[test]
fn there_is_nothing_to_wait_for_where_rancher_wants_nothing() {
    let generic =
        Cluster::from_json(json!({"id": "c-x", "driver": "imported", "state": "unavailable"})).unwrap();
    assert_eq!(sync(&generic), []);
    assert_eq!(agrees_with_azure(&generic, Some("1.35.0"), &azure_pools()), Ok(()));
    let refused = Cluster::from_json(json!({"id": "c-x", "driver": "rke2"})).unwrap();
    assert!(matches!(sync(&refused)[..], [OutOfSync::Refused(Refusal::Driver { .. })]));
}

#[test]
fn a_buffer_pool_that_rancher_does_not_know_yet_is_one_that_it_would_delete() {
    let cluster = Cluster::from_json(at_rest_json()).unwrap();
    assert_eq!(agrees_with_azure(&cluster, Some("1.34.2"), &azure_pools()), Ok(()));

    let mut pools = azure_pools();
    pools.push(PoolView { name: "buffer".into(), ..pools[0].clone() });
    let unknown = agrees_with_azure(&cluster, Some("1.34.2"), &pools).unwrap_err();
    assert_eq!(unknown, [OutOfSync::PoolUnknown { name: "buffer".into(), other: Side::Azure }]);
    assert!(unknown[0].to_string().ends_with("it would delete it"));

    let missing = agrees_with_azure(&cluster, Some("1.35.0"), &azure_pools()[..1]).unwrap_err();
    assert!(matches!(
        &missing[..],
        [OutOfSync::Version { other: Side::Azure, .. }, OutOfSync::PoolMissing { name, .. }] if name == "system"
    ));
}

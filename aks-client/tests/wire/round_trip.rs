//! What becomes of every property of a pool that is read, mirrored and sent, and of a cluster that is read and sent back.
//!
//! The tables are those of the facts. A kept property that is lost puts workloads on nodes they do not fit; a dropped one that
//! is sent is refused, rolls an image back or makes a stopped pool.

use std::collections::BTreeMap;

use aks_client::{MirrorSpec, mirror_body};
use serde_json::{Value, json};

use crate::support::{Arm, answer, cluster_path, id, ok, pool_path, to};

/// What a mirror does with a property.
#[derive(Debug, PartialEq)]
pub(crate) enum Fate {
    Copy,
    /// Sent as this, whatever was read.
    Set(Value),
    Drop,
}

use Fate::{Copy, Drop, Set};

/// §3.1, property by property: its path under `properties`, a value the service shows, and its fate.
pub(crate) fn pool_properties() -> Vec<(&'static str, Value, Fate)> {
    vec![
        ("vmSize", json!("Standard_D8ds_v5"), Copy),
        ("osDiskSizeGB", json!(128), Copy),
        ("osDiskType", json!("Ephemeral"), Copy),
        ("kubeletDiskType", json!("OS"), Copy),
        ("osType", json!("Linux"), Copy),
        ("osSKU", json!("Ubuntu"), Copy),
        ("orchestratorVersion", json!("1.34"), Set(json!("1.35.2"))),
        ("nodeImageVersion", json!("AKSUbuntu-2204gen2containerd-2026.10"), Drop),
        ("count", json!(9), Set(json!(4))),
        ("enableAutoScaling", json!(true), Set(json!(false))),
        ("minCount", json!(3), Drop),
        ("maxCount", json!(12), Drop),
        ("scaleDownMode", json!("Deallocate"), Copy),
        ("type", json!("VirtualMachineScaleSets"), Copy),
        ("mode", json!("System"), Copy),
        ("vnetSubnetID", json!("/subnets/nodes"), Copy),
        ("podSubnetID", json!("/subnets/pods"), Copy),
        ("podIPAllocationMode", json!("StaticBlock"), Copy),
        ("maxPods", json!(110), Copy),
        ("availabilityZones", json!(["3", "1"]), Copy),
        (
            "nodeLabels",
            json!({"team": "shop", "kubernetes.azure.com/mode": "user", "kubernetes.io/os": "linux"}),
            Set(json!({"team": "shop"})),
        ),
        (
            "nodeTaints",
            json!(["CriticalAddonsOnly=true:NoSchedule"]),
            Set(json!(["CriticalAddonsOnly=true:NoSchedule", "drover=buffer:NoSchedule"])),
        ),
        ("tags", json!({"cost": "42"}), Set(json!({"cost": "42", "drover-run": "r1"}))),
        ("scaleSetPriority", json!("Regular"), Copy),
        ("scaleSetEvictionPolicy", json!("Delete"), Copy),
        ("spotMaxPrice", json!(-1), Copy),
        ("enableNodePublicIP", json!(true), Copy),
        ("nodePublicIPPrefixID", json!("/prefix"), Copy),
        (
            "networkProfile.nodePublicIPTags",
            json!([{"ipTagType": "RoutingPreference", "tag": "Internet"}]),
            Copy,
        ),
        (
            "networkProfile.allowedHostPorts",
            json!([{"portStart": 80, "portEnd": 80, "protocol": "TCP"}]),
            Copy,
        ),
        ("networkProfile.applicationSecurityGroups", json!(["/asg"]), Copy),
        ("networkProfile.dranet", json!({"mode": "x"}), Copy),
        ("proximityPlacementGroupID", json!("/ppg"), Copy),
        ("hostGroupID", json!("/hosts"), Copy),
        ("capacityReservationGroupID", json!("/crg"), Copy),
        ("enableEncryptionAtHost", json!(true), Copy),
        ("enableUltraSSD", json!(false), Copy),
        ("enableFIPS", json!(true), Copy),
        ("kubeletConfig", json!({"cpuManagerPolicy": "static", "failSwapOn": false}), Copy),
        ("linuxOSConfig", json!({"sysctls": {"netIpv4TcpkeepaliveIntvl": 10}}), Copy),
        ("messageOfTheDay", json!("aGk="), Copy),
        ("localDNSProfile.mode", json!("Required"), Copy),
        ("localDNSProfile.vnetDNSOverrides", json!({".": {"queryLogging": "Error"}}), Copy),
        ("localDNSProfile.state", json!("Enabled"), Drop),
        ("artifactStreamingProfile", json!({"enabled": true}), Copy),
        ("workloadRuntime", json!("OCIContainer"), Copy),
        ("gpuInstanceProfile", json!("MIG1g"), Copy),
        ("gpuProfile.driver", json!("Install"), Copy),
        ("gpuProfile.nvidia", json!({"migStrategy": "Single"}), Copy),
        ("securityProfile.enableVTPM", json!(true), Copy),
        ("securityProfile.enableSecureBoot", json!(false), Copy),
        ("securityProfile.sshAccess", json!("LocalUser"), Copy),
        ("windowsProfile.disableOutboundNat", json!(true), Copy),
        (
            "upgradeSettings",
            json!({"maxSurge": "33%", "drainTimeoutInMinutes": 30, "undrainableNodeBehavior": "Cordon"}),
            Copy,
        ),
        ("creationData", json!({"sourceResourceId": "/snapshots/s"}), Drop),
        ("powerState", json!({"code": "Running"}), Drop),
        ("virtualMachineNodesStatus", json!([]), Drop),
        ("gatewayProfile", json!({"publicIPPrefixSize": 31}), Copy),
        ("eTag", json!("etag-pool"), Drop),
        ("currentOrchestratorVersion", json!("1.34.6"), Drop),
        ("provisioningState", json!("Succeeded"), Drop),
        ("status", json!({"provisioningError": null}), Drop),
        ("nodeInitializationTaints", json!(["a=b:NoSchedule"]), Drop),
        ("somethingNew.deep", json!([{"unknown": {"x": null, "y": [1, 2.5, true]}}]), Copy),
    ]
}

fn put(value: &mut Value, path: &str, new: Value) {
    let mut place = value;
    for key in path.split('.') {
        place = &mut place[key];
    }
    *place = new;
}

fn get<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

fn spec() -> MirrorSpec {
    MirrorSpec {
        count: 4,
        version: to("1.35.2"),
        tags: BTreeMap::from([("drover-run".to_owned(), "r1".to_owned())]),
        extra_taints: vec!["drover=buffer:NoSchedule".to_owned()],
    }
}

#[tokio::test]
async fn a_pool_read_mirrored_and_sent_keeps_and_drops_what_the_table_says() {
    let arm = Arm::start().await;
    let mut resource = json!({"id": pool_path("user1"), "name": "user1", "systemData": {"createdBy": "x"},
        "type": "Microsoft.ContainerService/managedClusters/agentPools", "properties": {}});
    for (path, value, _) in pool_properties() {
        put(&mut resource["properties"], path, value);
    }
    arm.once("GET", &pool_path("user1"), ok(&resource)).await;
    arm.once("PUT", &pool_path("user1b"), answer(201, &json!({"name": "user1b"}))).await;
    let pool = arm.client.pool(&id(), "user1").await.unwrap().unwrap();
    arm.client.begin_create_pool(&id(), "user1b", &mirror_body(&pool, &spec())).await.unwrap();

    let sent: Value = arm.last("PUT").await.body_json().unwrap();
    assert_eq!(sent.as_object().unwrap().keys().collect::<Vec<_>>(), ["properties"], "§3.1 top level");
    let mut expected = json!({});
    for (path, value, fate) in pool_properties() {
        let found = get(&sent["properties"], path);
        match fate {
            Copy => {
                assert_eq!(found, Some(&value), "§3.1 {path}");
                put(&mut expected, path, value);
            }
            Set(other) => {
                assert_eq!(found, Some(&other), "§3.1 {path}");
                put(&mut expected, path, other);
            }
            Drop => assert_eq!(found, None, "§3.1 {path}"),
        }
    }
    assert_eq!(sent["properties"], expected, "§3.1 and nothing else");
}

/// §1.3: what a control-plane write must not send.
const READ_ONLY: &[&str] = &[
    "id",
    "name",
    "type",
    "systemData",
    "eTag",
    "identity.principalId",
    "identity.tenantId",
    "properties.provisioningState",
    "properties.powerState",
    "properties.maxAgentPools",
    "properties.currentKubernetesVersion",
    "properties.fqdn",
    "properties.privateFQDN",
    "properties.azurePortalFQDN",
    "properties.resourceUID",
    "properties.status.provisioningError",
    "properties.oidcIssuerProfile.issuerURL",
    "properties.networkProfile.loadBalancerProfile.effectiveOutboundIPs",
    "properties.networkProfile.natGatewayProfile.effectiveOutboundIPs",
    "properties.addonProfiles.omsagent.identity",
    "properties.ingressProfile.webAppRouting.identity",
    "properties.servicePrincipalProfile",
];

/// §1.3, the same for each echoed pool.
const READ_ONLY_IN_POOLS: &[&str] = &[
    "eTag",
    "currentOrchestratorVersion",
    "provisioningState",
    "status",
    "localDNSProfile.state",
    "nodeImageVersion",
];

/// What must come back as it came, at every depth.
const UNKNOWN: &[&str] = &[
    "somethingNew",
    "identity.somethingNew",
    "properties.somethingNew",
    "properties.networkProfile.somethingNew",
    "properties.networkProfile.loadBalancerProfile.somethingNew",
    "properties.addonProfiles.omsagent.somethingNew",
    "properties.oidcIssuerProfile.somethingNew",
    "properties.autoScalerProfile.scan-interval",
    "properties.upgradeSettings.overrideSettings",
    "tags.team",
    "sku.tier",
];

#[tokio::test]
async fn a_cluster_read_and_sent_back_loses_what_is_read_only_and_nothing_else() {
    let arm = Arm::start().await;
    let strange = || json!({"deep": [{"unknown": {"x": null, "y": [1, 2.5, true]}}]});
    let mut cluster = json!({"location": "westeurope"});
    for path in READ_ONLY {
        put(&mut cluster, path, json!("read-only"));
    }
    for path in UNKNOWN {
        put(&mut cluster, path, strange());
    }
    for (path, value) in [
        ("id", json!(cluster_path())),
        ("eTag", json!("etag-cluster")),
        ("properties.maxAgentPools", json!(100)),
        ("properties.provisioningState", json!("Succeeded")),
        ("properties.kubernetesVersion", json!("1.34")),
        ("properties.somethingNew", strange()),
    ] {
        put(&mut cluster, path, value);
    }
    let mut pool = json!({"name": "system", "mode": "System", "orchestratorVersion": "1.34.6", "somethingNew": strange()});
    for path in READ_ONLY_IN_POOLS {
        put(&mut pool, path, json!("read-only"));
    }
    cluster["properties"]["agentPoolProfiles"] = json!([pool, pool]);
    arm.once("GET", &cluster_path(), ok(&cluster)).await;
    arm.once("PUT", &cluster_path(), ok(&cluster)).await;
    arm.client.begin_control_plane_upgrade(&id(), "1.35.2").await.unwrap();

    let put = arm.last("PUT").await;
    assert_eq!(put.headers["if-match"], "etag-cluster", "§1.3");
    let sent: Value = put.body_json().unwrap();
    for path in READ_ONLY {
        assert_eq!(get(&sent, path), None, "§1.3 {path}");
    }
    for path in UNKNOWN {
        assert_eq!(get(&sent, path), Some(&strange()), "§1.3 {path}");
    }
    assert_eq!(get(&sent, "properties.kubernetesVersion"), Some(&json!("1.35.2")), "§1.3");
    let pools = sent["properties"]["agentPoolProfiles"].as_array().unwrap();
    assert_eq!(pools.len(), 2, "§1.3 every pool is echoed");
    for pool in pools {
        assert_eq!(pool["orchestratorVersion"], "1.34.6", "§1.3 present and unchanged");
        assert_eq!((&pool["mode"], &pool["somethingNew"]), (&json!("System"), &strange()), "§1.3");
        for path in READ_ONLY_IN_POOLS {
            assert_eq!(get(pool, path), None, "§1.3 agentPoolProfiles[].{path}");
        }
    }
}

#[tokio::test]
async fn a_pool_upgraded_in_place_keeps_its_size_and_loses_its_old_image() {
    let arm = Arm::start().await;
    let mut resource = json!({"id": pool_path("user1"), "name": "user1", "properties": {}});
    for (path, value, _) in pool_properties() {
        put(&mut resource["properties"], path, value);
    }
    arm.once("GET", &pool_path("user1"), ok(&resource)).await;
    arm.once("PUT", &pool_path("user1"), ok(&resource)).await;
    arm.client.begin_upgrade_pool(&id(), "user1", "1.35.2").await.unwrap();
    let put = arm.last("PUT").await;
    assert_eq!(put.headers["if-match"], "etag-pool", "§3.5");
    let sent: Value = put.body_json().unwrap();
    let gone = [
        "nodeImageVersion",
        "creationData",
        "eTag",
        "currentOrchestratorVersion",
        "provisioningState",
        "status",
        "localDNSProfile.state",
    ];
    for (path, value, _) in pool_properties() {
        let found = get(&sent["properties"], path);
        match path {
            "orchestratorVersion" => assert_eq!(found, Some(&json!("1.35.2")), "§3.5"),
            path if gone.contains(&path) => assert_eq!(found, None, "§3.5 {path}"),
            path => assert_eq!(found, Some(&value), "§3.5 {path}"),
        }
    }
}

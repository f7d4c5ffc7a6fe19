//! The table of which property a mirror keeps. A kept one that is lost puts workloads on nodes they do not fit; a dropped
//! one that is sent is refused by AKS, rolls an image back or creates a stopped pool.

use super::*;

const VERSION: &str = "1.35.2";

fn spec() -> MirrorSpec {
    MirrorSpec { count: 4, version: VERSION.to_owned(), ..MirrorSpec::default() }
}

fn pool(properties: Value) -> AgentPool {
    let mut raw =
        json!({"id": "/x", "name": "user1", "type": "Microsoft.ContainerService/x", "systemData": {}});
    raw["properties"] = properties;
    AgentPool::from_value(raw).unwrap()
}

fn mirrored(properties: Value) -> Value {
    mirror_body(&pool(properties), &spec())["properties"].clone()
}

/// Copied verbatim, name and a value AKS shows.
fn copied_properties() -> Vec<(&'static str, Value)> {
    vec![
        ("vmSize", json!("Standard_D8ds_v5")),
        ("osDiskSizeGB", json!(128)),
        ("osDiskType", json!("Ephemeral")),
        ("kubeletDiskType", json!("OS")),
        ("osType", json!("Linux")),
        ("osSKU", json!("Ubuntu")),
        ("scaleDownMode", json!("Delete")),
        ("type", json!("VirtualMachineScaleSets")),
        ("mode", json!("System")),
        ("vnetSubnetID", json!("/subnets/nodes")),
        ("podSubnetID", json!("/subnets/pods")),
        ("podIPAllocationMode", json!("DynamicIndividual")),
        ("maxPods", json!(110)),
        ("availabilityZones", json!(["3", "1"])),
        ("nodeLabels", json!({"team": "shop"})),
        ("nodeTaints", json!(["CriticalAddonsOnly=true:NoSchedule"])),
        ("tags", json!({"cost": "42"})),
        ("scaleSetPriority", json!("Spot")),
        ("scaleSetEvictionPolicy", json!("Delete")),
        ("spotMaxPrice", json!(-1)),
        ("enableNodePublicIP", json!(true)),
        ("nodePublicIPPrefixID", json!("/prefix")),
        ("networkProfile", json!({"allowedHostPorts": [{"portStart": 80}], "dranet": {"x": 1}})),
        ("proximityPlacementGroupID", json!("/ppg")),
        ("hostGroupID", json!("/hosts")),
        ("capacityReservationGroupID", json!("/crg")),
        ("enableEncryptionAtHost", json!(true)),
        ("enableUltraSSD", json!(false)),
        ("enableFIPS", json!(true)),
        ("kubeletConfig", json!({"cpuManagerPolicy": "static"})),
        ("linuxOSConfig", json!({"sysctls": {"vmMaxMapCount": 262_144, "netIpv4TcpkeepaliveIntvl": 10}})),
        ("messageOfTheDay", json!("aGk=")),
        ("artifactStreamingProfile", json!({"enabled": true})),
        ("workloadRuntime", json!("OCIContainer")),
        ("gpuInstanceProfile", json!("MIG1g")),
        ("gpuProfile", json!({"driver": "Install", "nvidia": {"x": 1}})),
        ("securityProfile", json!({"enableVTPM": true, "enableSecureBoot": false, "sshAccess": "LocalUser"})),
        ("windowsProfile", json!({"disableOutboundNat": true})),
        ("upgradeSettings", json!({"maxSurge": "33%", "drainTimeoutInMinutes": 30})),
        ("gatewayProfile", json!({"publicIPPrefixSize": 31})),
        ("somethingNew", json!({"deep": [{"unknown": {"x": null}}]})),
    ]
}

#[test]
fn every_copied_property_arrives_verbatim() {
    for (name, value) in copied_properties() {
        let mut properties = json!({"orchestratorVersion": "1.34.6"});
        properties[name] = value.clone();
        assert_eq!(mirrored(properties)[name], value, "{name}");
    }
}

#[test]
fn every_property_of_the_original_alone_is_dropped() {
    let dropped = [
        ("eTag", json!("e")),
        ("currentOrchestratorVersion", json!("1.34.6")),
        ("provisioningState", json!("Succeeded")),
        ("status", json!({"provisioningError": {}})),
        ("nodeImageVersion", json!("AKSUbuntu-2204gen2containerd-2026.10")),
        ("creationData", json!({"sourceResourceId": "/snapshots/s"})),
        ("powerState", json!({"code": "Stopped"})),
        ("minCount", json!(1)),
        ("maxCount", json!(9)),
        ("virtualMachineNodesStatus", json!([])),
        ("nodeInitializationTaints", json!(["a=b:NoSchedule"])),
    ];
    for (name, value) in dropped {
        let mut properties = json!({"vmSize": "s"});
        properties[name] = value;
        let body = mirrored(properties);
        assert!(body.get(name).is_none() && body["vmSize"] == "s", "{name}: {body}");
    }
}

#[test]
fn size_version_and_a_switched_off_autoscaler_are_set() {
    let body = mirrored(json!({"count": 9, "enableAutoScaling": true, "minCount": 3, "maxCount": 12,
        "orchestratorVersion": "1.34.6"}));
    assert_eq!(body, json!({"count": 4, "enableAutoScaling": false, "orchestratorVersion": VERSION}));
}

#[test]
fn only_properties_are_sent() {
    let body = mirror_body(&pool(json!({"vmSize": "s"})), &spec());
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["properties"]);
}

#[test]
fn a_pool_as_listed_inside_its_cluster_mirrors_the_same() {
    let flat =
        AgentPool::from_value(json!({"name": "user1", "vmSize": "s", "type": "VirtualMachineScaleSets",
        "eTag": "e"}))
        .unwrap();
    assert_eq!(
        mirror_body(&flat, &spec()),
        mirror_body(&pool(json!({"vmSize": "s", "type": "VirtualMachineScaleSets", "eTag": "f"})), &spec())
    );
}

#[test]
fn the_local_dns_state_goes_and_its_settings_stay() {
    let body = mirrored(
        json!({"localDNSProfile": {"mode": "Required", "state": "Enabled", "vnetDNSOverrides": {}}}),
    );
    assert_eq!(body["localDNSProfile"], json!({"mode": "Required", "vnetDNSOverrides": {}}));
}

#[test]
fn reserved_labels_are_dropped_and_their_lookalikes_kept() {
    let labels = json!({"team": "shop", "kubernetes.azure.com/mode": "user", "kubernetes.io/os": "linux",
        "node.example.com/kubernetes.io": "x", "kubernetes.azure.com/scalesetpriority": "spot"});
    let body = mirrored(json!({"nodeLabels": labels}));
    assert_eq!(body["nodeLabels"], json!({"team": "shop", "node.example.com/kubernetes.io": "x"}));
    let body = mirrored(json!({"nodeLabels": labels, "scaleSetPriority": "Spot"}));
    assert_eq!(body["nodeLabels"]["kubernetes.azure.com/scalesetpriority"], "spot");
}

#[test]
fn marker_tags_and_taints_join_those_of_the_original() {
    let spec = MirrorSpec {
        tags: BTreeMap::from([("drover-run".to_owned(), "r1".to_owned())]),
        extra_taints: vec!["drover=buffer:NoSchedule".to_owned(), "a=b:NoExecute".to_owned()],
        ..spec()
    };
    let body = mirror_body(
        &pool(json!({"tags": {"cost": "42", "drover-run": "old"}, "nodeTaints": ["a=b:NoExecute"]})),
        &spec,
    );
    assert_eq!(body["properties"]["tags"], json!({"cost": "42", "drover-run": "r1"}));
    assert_eq!(body["properties"]["nodeTaints"], json!(["a=b:NoExecute", "drover=buffer:NoSchedule"]));

    let body = mirror_body(&pool(json!({"tags": null})), &spec);
    assert_eq!(body["properties"]["tags"], json!({"drover-run": "r1"}));
    assert_eq!(body["properties"]["nodeTaints"], json!(["drover=buffer:NoSchedule", "a=b:NoExecute"]));
}

#[test]
fn a_pool_of_single_machines_keeps_its_profile_and_no_scale_set_fields() {
    let profile = json!({"scale": {"manual": [{"size": "Standard_D4s_v5", "count": 2}]}});
    let body = mirrored(json!({"type": "VirtualMachines", "virtualMachinesProfile": profile, "count": 2,
        "virtualMachineNodesStatus": [{"size": "x"}]}));
    let expected =
        json!({"type": "VirtualMachines", "virtualMachinesProfile": profile, "orchestratorVersion": VERSION});
    assert_eq!(body, expected);
}

#[test]
fn an_upgrade_changes_the_version_and_pins_no_old_image() {
    let original =
        pool(json!({"vmSize": "s", "count": 9, "enableAutoScaling": true, "minCount": 3, "maxCount": 12,
        "orchestratorVersion": "1.34.6", "currentOrchestratorVersion": "1.34.6", "nodeImageVersion": "old",
        "creationData": {"sourceResourceId": "/s"}, "eTag": "e", "provisioningState": "Succeeded",
        "powerState": {"code": "Running"}, "localDNSProfile": {"mode": "M", "state": "S"},
        "newThing": {"deep": [1, {"x": null}]}}));
    let expected = json!({"properties": {"vmSize": "s", "count": 9, "enableAutoScaling": true, "minCount": 3,
        "maxCount": 12, "orchestratorVersion": VERSION, "powerState": {"code": "Running"},
        "localDNSProfile": {"mode": "M"}, "newThing": {"deep": [1, {"x": null}]}}});
    assert_eq!(upgrade_pool_body(&original, VERSION).unwrap(), expected);
    assert!(matches!(upgrade_pool_body(&original, "1.35"), Err(BodyError::IncompleteVersion { .. })));
}

//! Every operation of the client, one request each: where it asks, in which version of which provider, and what it reads.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions marked as tests")]

use aks_client::{AksClient, Error, Lock, NetworkMode, ResourceId, Usage, quota_shortages};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::support::{Arm, SUBSCRIPTION, answer, cluster, cluster_path, describe, id, ok, pool, pool_path};

type Call = fn(AksClient) -> BoxFuture<'static, String>;

pub(crate) struct Case {
    /// The section of the facts it pins.
    pub(crate) pins: &'static str,
    verb: &'static str,
    path: String,
    version: &'static str,
    answer: ResponseTemplate,
    call: Call,
    /// What the caller sees, as the call renders it.
    expected: &'static str,
}

fn shown<T>(result: Result<T, Error>, show: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => show(value),
        Err(error) => describe(&error),
    }
}

const AKS: &str = "2026-08-01";
const COMPUTE_USAGES: &str = "2024-07-01";
const COMPUTE_SKUS: &str = "2021-07-01";
const NETWORK: &str = "2024-05-01";
const LOCKS: &str = "2020-05-01";
const PERMISSIONS: &str = "2022-04-01";

fn subscription() -> String {
    format!("/subscriptions/{SUBSCRIPTION}")
}

fn network() -> String {
    format!("{}/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/hub", subscription())
}

fn scope(text: &str) -> ResourceId {
    text.parse().unwrap()
}

macro_rules! case {
    ($pins:literal, $verb:literal $path:expr, $version:expr, $answer:expr, |$client:ident| $call:expr, $expected:literal) => {
        Case {
            pins: $pins,
            verb: $verb,
            path: $path,
            version: $version,
            answer: $answer,
            call: |$client| Box::pin(async move { $call }),
            expected: $expected,
        }
    };
}

fn cluster_reads() -> Vec<Case> {
    let below = |tail: &str| format!("{}/{tail}", cluster_path());
    let mut shouting = cluster("Succeeded", "1.34.6");
    shouting["id"] = json!(cluster_path().to_uppercase());
    let mut other = cluster("Succeeded", "1.34.6");
    other["id"] = json!(cluster_path().replace("shop", "shop2"));
    let mut busy = cluster("Migrating", "1.34.6");
    busy["properties"]["agentPoolProfiles"][0]["provisioningState"] = json!("SomethingNew");
    vec![
        case!("§1.2 cluster get", "GET" cluster_path(), AKS, ok(&cluster("Succeeded", "1.34.6")),
            |client| shown(client.cluster(&id()).await, |c| format!("{} {:?} {}", c.provisioning_state(), c.etag(), c.pools().len())),
            "Succeeded Some(\"etag-cluster\") 1"),
        case!("§1.2 ids in other case", "GET" cluster_path(), AKS, ok(&shouting),
            |client| shown(client.cluster(&id()).await, |c| (c.id() == &id()).to_string()), "true"),
        case!("§1.2 another cluster's answer", "GET" cluster_path(), AKS, ok(&other),
            |client| shown(client.cluster(&id()).await, |c| c.id().to_string()), "another cluster, final, known"),
        case!("§2.2 unknown states are busy", "GET" cluster_path(), AKS, ok(&busy),
            |client| shown(client.cluster(&id()).await, |c| format!("{:?} {:?}", c.provisioning_state(),
                c.pools()[0].provisioning_state())),
            "Busy(\"Migrating\") Busy(\"SomethingNew\")"),
        case!("§1.2 cluster upgrade profile", "GET" below("upgradeProfiles/default"), AKS,
            ok(&json!({"properties": {"controlPlaneProfile": {"kubernetesVersion": "1.34.6", "upgrades":
                [{"kubernetesVersion": "1.35.2"}, {"kubernetesVersion": "1.36.0", "isPreview": true}]}}})),
            |client| shown(client.upgrade_profile(&id()).await, |list| format!("{:?}",
                list.iter().map(|u| (u.version.as_str(), u.preview)).collect::<Vec<_>>())),
            "[(\"1.35.2\", false), (\"1.36.0\", true)]"),
        case!("§5 null upgrades: newest, or out of support", "GET" below("upgradeProfiles/default"), AKS,
            ok(&json!({"properties": {"controlPlaneProfile": {"upgrades": null}}})),
            |client| shown(client.upgrade_profile(&id()).await, |list| list.len().to_string()), "0"),
        case!("§1.2 versions a new pool may use", "GET" below("availableAgentPoolVersions"), AKS,
            ok(&json!({"properties": {"agentPoolVersions": [{"kubernetesVersion": "1.35.2", "default": true}]}})),
            |client| shown(client.available_pool_versions(&id()).await, |list| format!("{} {}", list[0].version, list[0].default)),
            "1.35.2 true"),
        case!("§1.2 region versions stand under `values`", "GET" format!(
                "{}/providers/Microsoft.ContainerService/locations/westeurope/kubernetesVersions", subscription()), AKS,
            ok(&json!({"values": [{"version": "1.35", "patchVersions": {"1.35.2": {"upgrades": []}}}]})),
            |client| shown(client.region_versions(id().subscription(), "West Europe").await,
                |list| format!("{} {}", list[0].version, list[0].patches[0].version)),
            "1.35 1.35.2"),
        case!("§1.2 maintenance list", "GET" below("maintenanceConfigurations"), AKS,
            ok(&json!({"value": [{"name": "aksManagedNodeOSUpgradeSchedule", "properties": {"maintenanceWindow":
                {"durationHours": 4, "startTime": "22:30", "utcOffset": "+02:00",
                 "schedule": {"weekly": {"intervalWeeks": 1, "dayOfWeek": "Sunday"}}}}}]})),
            |client| shown(client.maintenance_configurations(&id()).await, |list| format!("{:?} {:?}", list[0].purpose(),
                list[0].window().unwrap().schedule)),
            "NodeOs Weekly { interval_weeks: 1, day_of_week: \"Sunday\" }"),
        case!("§1.2 maintenance get", "GET" below("maintenanceConfigurations/default"), AKS,
            ok(&json!({"name": "default", "properties": {"timeInWeek": [{"day": "Monday", "hourSlots": [1, 2]}],
                "notAllowedTime": [{"start": "2026-12-24T00:00:00Z", "end": "2026-12-27T00:00:00Z"}]}})),
            |client| shown(client.maintenance_configuration(&id(), "default").await, |found| {
                let found = found.unwrap();
                format!("{:?} {:?} {}", found.purpose(), found.week_slots()[0].hours, found.not_allowed()[0].end)
            }),
            "Default [1, 2] 2026-12-27T00:00:00Z"),
        case!("§1.2 maintenance not set", "GET" below("maintenanceConfigurations/default"), AKS,
            answer(404, &json!({"code": "NotFound"})),
            |client| shown(client.maintenance_configuration(&id(), "default").await, |found| found.is_none().to_string()), "true"),
        case!("§1.2 cluster abort, too late", "POST" below("abort"), AKS,
            answer(409, &json!({"code": "OperationNotAllowed", "message": "there is no operation to abort"})),
            |client| shown(client.abort_cluster(&id()).await, |found| found.is_none().to_string()), "true"),
        case!("§1.2 kubeconfig with nothing in it", "POST" below("listClusterUserCredential"), AKS,
            ok(&json!({"kubeconfigs": []})),
            |client| shown(client.cluster_ca(&id()).await, |ca| ca.is_none().to_string()), "unexpected, final, known"),
    ]
}

fn pool_reads() -> Vec<Case> {
    let below = |tail: &str| format!("{}/{tail}", pool_path("user1"));
    let machine = json!({"name": "aks-user1-12345678-vmss000001", "zones": ["2"], "properties": {
        "resourceId": "/subscriptions/s/vm/1", "network": {"ipAddresses": [{"family": "IPv4", "ip": "10.0.0.4"}]}}});
    vec![
        case!("§1.2 pools list", "GET" format!("{}/agentPools", cluster_path()), AKS,
            ok(&json!({"value": [pool("user1", "Failed", "1.34.6")]})),
            |client| shown(client.pools(&id()).await, |list| format!("{} {}", list[0].name(), list[0].provisioning_state())),
            "user1 Failed"),
        case!("§1.2 a list that is none", "GET" format!("{}/agentPools", cluster_path()), AKS, ok(&json!({"values": []})),
            |client| shown(client.pools(&id()).await, |list| list.len().to_string()), "unexpected, final, known"),
        case!("§1.2 pool get, eTag inside properties", "GET" pool_path("user1"), AKS, ok(&pool("user1", "Succeeded", "1.34.6")),
            |client| shown(client.pool(&id(), "user1").await, |found| found.unwrap().etag().unwrap().to_owned()), "etag-pool"),
        case!("§1.2 pool absent", "GET" pool_path("user1"), AKS, answer(404, &json!({"code": "NotFound"})),
            |client| shown(client.pool(&id(), "user1").await, |found| found.is_none().to_string()), "true"),
        case!("§1.2 another pool's answer", "GET" pool_path("user1"), AKS, ok(&pool("user2", "Succeeded", "1.34.6")),
            |client| shown(client.pool(&id(), "user1").await, |found| found.is_none().to_string()), "unexpected, final, known"),
        case!("§4.5 pool upgrade profile: images and history", "GET" below("upgradeProfiles/default"), AKS,
            ok(&json!({"properties": {"latestNodeImageVersion": "img-2", "recentlyUsedVersions":
                [{"orchestratorVersion": "1.33.7", "nodeImageVersion": "img-1", "timestamp": "t"}]}})),
            |client| shown(client.pool_upgrade_profile(&id(), "user1").await, |profile| format!("{} {}",
                profile.latest_node_image.unwrap(), profile.recently_used[0].node_image)),
            "img-2 img-1"),
        case!("§1.2 machines", "GET" below("machines"), AKS, ok(&json!({"value": [machine.clone()]})),
            |client| shown(client.machines(&id(), "user1").await, |list| format!("{} {:?} {:?}", list[0].name(),
                list[0].zones(), list[0].addresses())),
            "aks-user1-12345678-vmss000001 [\"2\"] [\"10.0.0.4\"]"),
        case!("§1.2 one machine", "GET" below("machines/aks-user1-12345678-vmss000001"), AKS, ok(&machine),
            |client| shown(client.machine(&id(), "user1", "aks-user1-12345678-vmss000001").await,
                |found| found.unwrap().vm_id().unwrap().to_owned()),
            "/subscriptions/s/vm/1"),
        case!("§1.2 machine gone", "GET" below("machines/m"), AKS, answer(404, &json!({})),
            |client| shown(client.machine(&id(), "user1", "m").await, |found| found.is_none().to_string()), "true"),
        case!("§1.2 node image: the newest already", "POST" below("upgradeNodeImageVersion"), AKS, ok(&pool("user1", "Succeeded", "1.34.6")),
            |client| shown(client.begin_node_image_upgrade(&id(), "user1").await, |found| found.is_none().to_string()), "true"),
        case!("§1.2 node image: begun", "POST" below("upgradeNodeImageVersion"), AKS,
            answer(202, &pool("user1", "UpgradingNodeImageVersion", "1.34.6"))
                .insert_header("Azure-AsyncOperation", "https://management.azure.com/op/1"),
            |client| shown(client.begin_node_image_upgrade(&id(), "user1").await, |found| found.unwrap().to_string()),
            "upgrade of the node image of pool user1 of shop"),
        case!("§1.2 node image: busy", "POST" below("upgradeNodeImageVersion"), AKS,
            answer(409, &json!({"code": "OperationNotAllowed", "message": "Another operation (Updating) is in progress"})),
            |client| shown(client.begin_node_image_upgrade(&id(), "user1").await, |found| found.is_none().to_string()),
            "conflict, retry, known"),
        case!("§1.2 pool abort, nothing to say", "POST" below("abort"), AKS, ResponseTemplate::new(204),
            |client| shown(client.abort_pool(&id(), "user1").await, |found| found.is_some().to_string()), "true"),
        case!("§3.4 delete of an absent pool", "DELETE" pool_path("user1"), AKS, ResponseTemplate::new(204),
            |client| shown(client.begin_delete_pool(&id(), "user1", None, false).await, |op| op.to_string()),
            "deletion of pool user1 of shop"),
        case!("§3.3 a created pool is not a ready one", "PUT" pool_path("user1"), AKS, answer(201, &pool("user1", "Creating", "1.35.2")),
            |client| shown(client.begin_create_pool(&id(), "user1", &json!({"properties": {}})).await, |op| op.to_string()),
            "creation of pool user1 of shop"),
    ]
}

fn capacity() -> Vec<Case> {
    let region = |tail: &str| format!("{}/providers/Microsoft.Compute/{tail}", subscription());
    let subnet = format!("{}/subnets/nodes", network());
    let quota = |name: &str, used: u32, limit: u32| json!({"unit": "Count", "currentValue": used, "limit": limit, "name": {"value": name, "localizedValue": name}});
    vec![
        case!("§6.1 quotas", "GET" region("locations/westeurope/usages"), COMPUTE_USAGES,
            ok(&json!({"value": [quota("cores", 90, 100), quota("standardDSv5Family", 10, 350)]})),
            |client| shown(client.compute_usages(id().subscription(), "westeurope").await,
                |list| format!("{:?}", list.iter().map(Usage::free).collect::<Vec<_>>())),
            "[10, 340]"),
        case!("§6.1 a quota without numbers", "GET" region("locations/westeurope/usages"), COMPUTE_USAGES,
            ok(&json!({"value": [{"name": {"value": "cores"}}]})),
            |client| shown(client.compute_usages(id().subscription(), "westeurope").await, |list| list.len().to_string()),
            "unexpected, final, known"),
        case!("§6.2 sizes, disks left out", "GET" region("skus"), COMPUTE_SKUS,
            ok(&json!({"value": [{"resourceType": "disks", "name": "Premium_LRS"},
                {"resourceType": "virtualMachines", "name": "Standard_D4s_v5", "family": "standardDSv5Family",
                 "capabilities": [{"name": "vCPUs", "value": "4"}],
                 "locationInfo": [{"location": "westeurope", "zones": ["1", "2"]}],
                 "restrictions": [{"type": "Zone", "reasonCode": "NotAvailableForSubscription",
                    "restrictionInfo": {"locations": ["westeurope"], "zones": ["2"]}}]}]})),
            |client| shown(client.vm_sizes(id().subscription(), "West Europe").await, |list| format!("{} {:?} {:?} {:?}",
                list.len(), list[0].vcpus(), list[0].restriction("westeurope", &["1"]), list[0].restriction("westeurope", &["1", "2"]))),
            "1 Some(4) None Some(Zones { reason: \"NotAvailableForSubscription\", zones: [\"2\"] })"),
        case!("§6.3 subnet", "GET" subnet.clone(), NETWORK,
            ok(&json!({"id": subnet.to_uppercase().replace("/SUBSCRIPTIONS/", "/subscriptions/"), "properties":
                {"addressPrefix": "10.0.0.0/24", "delegations": [], "provisioningState": "Succeeded"}})),
            |client| shown(client.subnet(&scope(&format!("{}/subnets/nodes", network()))).await,
                |found| format!("{:?}", found.unwrap().free(None))),
            "Some(251)"),
        case!("§6.3 another subnet's answer", "GET" subnet.clone(), NETWORK,
            ok(&json!({"id": format!("{}/subnets/pods", network()), "properties": {}})),
            |client| shown(client.subnet(&scope(&format!("{}/subnets/nodes", network()))).await, |found| found.is_some().to_string()),
            "unexpected, final, known"),
        case!("§6.3 subnet absent", "GET" subnet.clone(), NETWORK, answer(404, &json!({})),
            |client| shown(client.subnet(&scope(&format!("{}/subnets/nodes", network()))).await, |found| found.is_none().to_string()), "true"),
        case!("§6.3 usages of a network", "GET" format!("{}/usages", network()), NETWORK,
            ok(&json!({"value": [{"id": subnet, "currentValue": 37.0, "limit": 251.0, "unit": "Count",
                "name": {"value": "SubnetSpace"}}]})),
            |client| shown(client.subnet_usages(&scope(&network())).await,
                |list| format!("{} {}/{}", list[0].subnet.name(), list[0].used, list[0].limit)),
            "nodes 37/251"),
        case!("§6.6 locks of a group", "GET" format!("{}/resourceGroups/MC_rg/providers/Microsoft.Authorization/locks", subscription()), LOCKS,
            ok(&json!({"value": [{"id": format!("{}/resourceGroups/MC_rg/providers/Microsoft.Authorization/locks/keep",
                subscription()), "name": "keep", "properties": {"level": "CanNotDelete"}}]})),
            |client| shown(client.locks(&ResourceId::of_group(id().subscription(), "MC_rg").unwrap()).await,
                |list| list.iter().map(Lock::to_string).collect()),
            "lock keep on /subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/MC_rg forbids deleting"),
        case!("§6.6 no locks", "GET" format!("{}/providers/Microsoft.Authorization/locks", cluster_path()), LOCKS,
            ok(&json!({"value": []})),
            |client| shown(client.locks(&(&id()).into()).await, |list| list.len().to_string()), "0"),
        case!("§9 permissions", "GET" format!("{}/providers/Microsoft.Authorization/permissions", cluster_path()), PERMISSIONS,
            ok(&json!({"value": [{"actions": ["Microsoft.ContainerService/managedClusters/*"], "notActions":
                ["Microsoft.ContainerService/managedClusters/delete"]}]})),
            |client| shown(client.permissions(&(&id()).into()).await, |granted| format!("{:?}", granted.missing(&[
                "Microsoft.ContainerService/managedClusters/agentPools/write",
                "Microsoft.ContainerService/managedClusters/delete",
                "Microsoft.Network/virtualNetworks/subnets/join/action"]))),
            "[\"Microsoft.ContainerService/managedClusters/delete\", \"Microsoft.Network/virtualNetworks/subnets/join/action\"]"),
        case!("§9 permissions that are none", "GET" format!("{}/providers/Microsoft.Authorization/permissions", cluster_path()), PERMISSIONS,
            ok(&json!({"value": [{"actions": "*"}]})),
            |client| shown(client.permissions(&(&id()).into()).await, |granted| granted.allows("x").to_string()), "unexpected, final, known"),
        case!("§9 permissions may not be read", "GET" format!("{}/providers/Microsoft.Authorization/permissions", cluster_path()), PERMISSIONS,
            answer(403, &json!({"error": {"code": "AuthorizationFailed", "message": "no"}})),
            |client| shown(client.permissions(&(&id()).into()).await, |granted| granted.allows("x").to_string()), "forbidden, final, known"),
    ]
}

pub(crate) fn all() -> Vec<Case> {
    [cluster_reads(), pool_reads(), capacity()].into_iter().flatten().collect()
}

#[tokio::test]
async fn every_operation_asks_where_it_should_and_reads_what_came() {
    for case in all() {
        let arm = Arm::start().await;
        arm.version(case.version, case.verb, &case.path, case.answer).await;
        let found = (case.call)(arm.client.clone()).await;
        assert_eq!(found, case.expected, "{}: {} {}", case.pins, case.verb, case.path);
    }
}

#[tokio::test]
async fn sizes_are_asked_for_one_region() {
    let arm = Arm::start().await;
    let path = format!("{}/providers/Microsoft.Compute/skus", subscription());
    arm.version(COMPUTE_SKUS, "GET", &path, ok(&json!({"value": []}))).await;
    arm.client.vm_sizes(id().subscription(), "West Europe").await.unwrap();
    let request = arm.last("GET").await;
    let filter = request.url.query_pairs().find(|(name, _)| name == "$filter").unwrap().1.into_owned();
    assert_eq!(filter, "location eq 'westeurope'", "§6.2");
}

#[tokio::test]
async fn lists_of_other_providers_are_read_over_all_pages() {
    let arm = Arm::start().await;
    let path = format!("{}/providers/Microsoft.Compute/locations/westeurope/usages", subscription());
    let row = |name: &str| json!({"currentValue": 0, "limit": 100, "name": {"value": name}});
    let next = format!("https://westeurope.management.azure.com{path}?api-version=2024-07-01&page=2");
    arm.version(COMPUTE_USAGES, "GET", &path, ok(&json!({"value": [row("cores")], "nextLink": next}))).await;
    arm.version(COMPUTE_USAGES, "GET", &path, ok(&json!({"value": [row("f")], "nextLink": ""}))).await;
    let usages = arm.client.compute_usages(id().subscription(), "westeurope").await.unwrap();
    let size = json!({"resourceType": "virtualMachines", "name": "s", "family": "F",
        "capabilities": [{"name": "vCPUs", "value": "8"}]});
    let size = aks_client::VmSize::from_value(size).unwrap();
    assert_eq!(quota_shortages(&usages, &size, 12, false), Some(vec![]), "§6.1");
    assert_eq!(quota_shortages(&usages, &size, 13, false).unwrap().len(), 2, "§6.1");
}

#[tokio::test]
async fn a_list_whose_next_page_is_gone_or_no_page_is_no_list() {
    let list = format!("{}/agentPools", cluster_path());
    let table = [
        ("§1.2 a marker that vanished", answer(404, &json!({"code": "NotFound"})), "not found, final, known"),
        (
            "§1.2 a marker that is refused",
            answer(400, &json!({"code": "InvalidSkipToken"})),
            "api, final, known",
        ),
        ("§1.2 a page without a list", ok(&json!({})), "unexpected, final, known"),
        ("§1.2 a pool without a name", ok(&json!({"value": [{}]})), "unexpected, final, known"),
        (
            "§1.2 a link that is none",
            ok(&json!({"value": [], "nextLink": "https://[x"})),
            "unexpected, final, known",
        ),
    ];
    for (pins, second, expected) in table {
        let arm = Arm::start().await;
        let next = format!("{list}?api-version=2026-08-01&page=2");
        let first = json!({"value": [pool("user1", "Succeeded", "1.34.6")], "nextLink": next});
        arm.once("GET", &list, ok(&first)).await;
        arm.once("GET", &list, second).await;
        let found = shown(arm.client.pools(&id()).await, |pools| format!("{} pools", pools.len()));
        assert_eq!(found, expected, "{pins}");
    }
}

#[tokio::test]
async fn what_cannot_be_a_name_or_a_place_is_never_sent() {
    let arm = Arm::start().await;
    let subnet = scope(&format!("{}/subnets/nodes", network()));
    let refused = [
        arm.client.machine(&id(), "user1", "../x").await.err(),
        arm.client.machine(&id(), "user1", "..").await.err(),
        arm.client.maintenance_configuration(&id(), "a/b").await.err(),
        arm.client.maintenance_configuration(&id(), "").await.err(),
        arm.client.subnet(&scope(&network())).await.err(),
        arm.client.subnet_usages(&subnet).await.err(),
        arm.client.vm_sizes(id().subscription(), "x' or 1 eq 1").await.err(),
        arm.client.compute_usages(id().subscription(), "").await.err(),
    ];
    for (number, error) in refused.into_iter().enumerate() {
        assert!(matches!(error, Some(Error::InvalidArgument { .. })), "{number}: {error:?}");
    }
    assert!(arm.requests().await.is_empty());
}

#[tokio::test]
async fn what_a_pool_needs_is_told_from_what_was_read() {
    let arm = Arm::start().await;
    let mut body = cluster("Succeeded", "1.34.6");
    body["properties"]["networkProfile"] = json!({"networkPlugin": "azure"});
    body["properties"]["agentPoolProfiles"][0]["maxPods"] = json!(30);
    arm.once("GET", &cluster_path(), ok(&body)).await;
    let cluster = arm.client.cluster(&id()).await.unwrap();
    let mode = NetworkMode::of(&cluster, &cluster.pools()[0]).unwrap();
    assert_eq!(mode.addresses_needed(4).node_subnet, 4 * 31, "§6.3 pods in the nodes' subnet");
}

/// Rendered so that the tables stay readable; the JSON itself is kept.
#[tokio::test]
async fn what_was_read_keeps_its_json() {
    let arm = Arm::start().await;
    let path = format!("{}/machines", pool_path("user1"));
    let body: Value = json!({"name": "m", "somethingNew": {"deep": [1, null]}});
    arm.once("GET", &path, ok(&json!({"value": [body]}))).await;
    assert_eq!(arm.client.machines(&id(), "user1").await.unwrap()[0].raw(), &body);
}

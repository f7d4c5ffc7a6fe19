//! The reads of capacity, machines, windows, locks and permissions against the lab, which answers from its world.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions marked as tests")]

use std::sync::Arc;

use aks_client::{AksClient, ApiVersion, ClusterId, Error, ResourceId, Restriction, StaticToken};
use cluster_lab::{Lab, Scenario, Server, ServerOptions};
use serde_json::json;

const ID: &str = "/subscriptions/00000000-0000-4000-8000-00000000de30/resourceGroups/rg-demo\
    /providers/Microsoft.ContainerService/managedClusters/demo";

struct Stage {
    client: AksClient,
    id: ClusterId,
    _server: Server,
    _folder: tempfile::TempDir,
}

fn stage(scenario: &Scenario) -> Stage {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let options = ServerOptions { port: 0, time_scale: 1.0, token_dir: folder.path().to_owned() };
    let server = Server::start(Lab::new(scenario, 1), &options).unwrap();
    let token = std::fs::read_to_string(folder.path().join("azure-token")).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let endpoint = format!("http://{}", server.address()).parse().unwrap();
    let token = Arc::new(StaticToken::new(token.into()).unwrap());
    let client = AksClient::new(http, endpoint, ApiVersion::default(), token);
    Stage { client, id: ID.parse().unwrap(), _server: server, _folder: folder }
}

#[tokio::test]
async fn usages_and_sizes_are_those_of_the_pools_and_the_scenario() {
    let mut scenario = Scenario::demo();
    scenario.limits.vcpus = 100;
    scenario.limits.restricted_sizes.insert("Standard_D8s_v5".into(), vec!["2".into()]);
    scenario.limits.restricted_sizes.insert("Standard_E4s_v5".into(), Vec::new());
    let Stage { client, id, .. } = &stage(&scenario);
    let region = scenario.cluster.location.as_str();

    let usages = client.compute_usages(id.subscription(), region).await.unwrap();
    let of = |name: &str| usages.iter().find(|row| row.name == name).map(|row| (row.used, row.limit));
    assert_eq!(of("cores"), Some((3 * 4 + 6 * 8, 100)));
    assert_eq!(of("standardDSv5Family"), Some((60, 100)));
    assert_eq!(of("standardESv5Family"), Some((0, 100)));
    let elsewhere = client.compute_usages(id.subscription(), "mars").await;
    assert!(matches!(elsewhere, Err(Error::Api { .. } | Error::NotFound { .. })), "{elsewhere:?}");

    let sizes = client.vm_sizes(id.subscription(), region).await.unwrap();
    let size = |name: &str| sizes.iter().find(|size| size.name() == name).unwrap();
    assert_eq!(size("Standard_D4s_v5").vcpus(), Some(4));
    assert_eq!(size("Standard_D4s_v5").restriction(region, &["1", "2", "3"]), None);
    let reason = || "NotAvailableForSubscription".to_owned();
    assert_eq!(
        size("Standard_D8s_v5").restriction(region, &["1", "2"]),
        Some(Restriction::Zones { reason: reason(), zones: vec!["2".into()] })
    );
    assert_eq!(
        size("Standard_E4s_v5").restriction(region, &[]),
        Some(Restriction::Location { reason: reason() })
    );
    assert!(client.vm_sizes(id.subscription(), "mars").await.unwrap().is_empty());
}

#[tokio::test]
async fn the_subnet_has_the_scenarios_size_and_one_address_taken_by_each_node() {
    let mut scenario = Scenario::demo();
    scenario.limits.subnet_prefix = "10.224.0.0/28".into();
    let Stage { client, id, .. } = &stage(&scenario);
    let group = &scenario.cluster.node_resource_group;
    let network: ResourceId = format!(
        "/subscriptions/{}/resourceGroups/{group}/providers/Microsoft.Network/virtualNetworks/aks-vnet",
        id.subscription()
    )
    .parse()
    .unwrap();
    let subnet_id = format!("{network}/subnets/aks-subnet").parse().unwrap();
    let subnet = client.subnet(&subnet_id).await.unwrap().unwrap();
    let usages = client.subnet_usages(&network).await.unwrap();
    assert_eq!((usages[0].used, subnet.size(), subnet.free(usages.first())), (9, Some(11), Some(2)));
    let other = format!("{network}/subnets/none").parse().unwrap();
    assert_eq!(client.subnet(&other).await.unwrap(), None);
}

#[tokio::test]
async fn machines_are_the_pools_nodes() {
    let scenario = Scenario::demo();
    let Stage { client, id, .. } = &stage(&scenario);
    let machines = client.machines(id, "user").await.unwrap();
    let pool = scenario.pools.iter().find(|pool| pool.name.as_str() == "user").unwrap();
    let names: Vec<_> = scenario.machine_names(&pool.name).iter().map(ToString::to_string).collect();
    assert_eq!(machines.iter().map(|machine| machine.name().to_owned()).collect::<Vec<_>>(), names);
    let one = client.machine(id, "user", &names[1]).await.unwrap().unwrap();
    assert_eq!(one, machines[1]);
    assert!(one.vm_id().unwrap().ends_with("/virtualMachines/1"), "{:?}", one.vm_id());
    assert_eq!((one.zones().len(), one.addresses().len()), (usize::from(!pool.zones.is_empty()), 1));
    assert_eq!(client.machine(id, "user", "aks-none").await.unwrap(), None);
    assert!(matches!(client.machines(id, "none").await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn windows_are_the_scenarios() {
    let mut scenario = Scenario::demo();
    let hours = json!({ "timeInWeek": [{ "day": "Monday", "hourSlots": [1, 2] }] });
    scenario.limits.maintenance.insert("default".into(), hours);
    let Stage { client, id, .. } = &stage(&scenario);
    let all = client.maintenance_configurations(id).await.unwrap();
    assert_eq!(all[0].week_slots()[0].hours, [1, 2]);
    assert_eq!(client.maintenance_configuration(id, "default").await.unwrap().as_ref(), all.first());
    assert_eq!(client.maintenance_configuration(id, "aksManagedAutoUpgradeSchedule").await.unwrap(), None);
}

#[tokio::test]
async fn nothing_is_locked_and_everything_is_allowed_where_there_is_something() {
    let Stage { client, id, .. } = &stage(&Scenario::demo());
    let subscription = format!("/subscriptions/{}", id.subscription());
    for scope in [subscription.clone(), format!("{subscription}/resourceGroups/rg-demo"), id.to_string()] {
        let scope = scope.parse().unwrap();
        assert_eq!(client.locks(&scope).await.unwrap(), []);
        let granted = client.permissions(&scope).await.unwrap();
        assert!(granted.allows("Microsoft.ContainerService/managedClusters/write"));
    }
    let nowhere = format!("{subscription}/resourceGroups/none").parse().unwrap();
    assert!(matches!(client.locks(&nowhere).await, Err(Error::NotFound { .. })));
}

//! Against an ARM made of prepared answers.

use aks_client::{ApiVersion, StaticToken};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::clock::SystemClock;

const ID: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/shop";

fn azure(server: &MockServer) -> HttpAzure {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let token = StaticToken::new("hunter2".into()).unwrap();
    let client = AksClient::new(http, server.uri().parse().unwrap(), ApiVersion::default(), Arc::new(token));
    HttpAzure::new(client, ID.parse().unwrap(), Arc::new(SystemClock))
}

fn pool(name: &str, tag: Option<&str>) -> Value {
    json!({
        "id": format!("{ID}/agentPools/{name}"), "name": name,
        "properties": {
            "eTag": "e1", "mode": "User", "osType": "Linux", "orchestratorVersion": "1.34", "currentOrchestratorVersion": "1.34.2",
            "count": 3, "vmSize": "D4", "maxPods": 110, "availabilityZones": ["2", "1"], "type": "VirtualMachineScaleSets",
            "provisioningState": "Succeeded", "powerState": {"code": "Running"}, "enableAutoScaling": true, "minCount": 2,
            "maxCount": 5, "nodeTaints": ["gpu=yes:NoSchedule", "odd:Never"], "nodeLabels": {"a": "b"},
            "tags": tag.map(|tag| json!({"drover-run": tag})), "upgradeSettings": {"maxSurge": "33%"}
        }
    })
}

async fn answer(server: &MockServer, verb: &str, below: &str, answer: ResponseTemplate) {
    Mock::given(method(verb)).and(path(format!("{ID}{below}"))).respond_with(answer).mount(server).await;
}

fn ok(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn run() -> RunId {
    RunId::new("shop-1").unwrap()
}

fn name(text: &str) -> PoolName {
    PoolName::new(text).unwrap()
}

#[tokio::test]
async fn a_cluster_is_observed_with_its_pools_by_name_and_what_is_on_offer() {
    let server = MockServer::start().await;
    let cluster = json!({"id": ID, "name": "shop", "location": "westeurope", "properties": {
        "provisioningState": "Upgrading", "kubernetesVersion": "1.34", "currentKubernetesVersion": "1.34.2",
        "nodeResourceGroup": "MC_rg", "fqdn": "shop.example", "autoUpgradeProfile": {"upgradeChannel": "none"},
        "agentPoolProfiles": [{"name": "user"}]}});
    let offers = json!({"properties": {"controlPlaneProfile": {"kubernetesVersion": "1.34.2", "upgrades": [
        {"kubernetesVersion": "1.36.0", "isPreview": true}, {"kubernetesVersion": "1.35.3"}]}}});
    answer(&server, "GET", "", ok(cluster)).await;
    answer(&server, "GET", "/agentPools", ok(json!({"value": [pool("user", None), pool("system", None)]})))
        .await;
    answer(&server, "GET", "/upgradeProfiles/default", ok(offers)).await;
    let view = azure(&server).observe().await.unwrap();
    let cluster = view.cluster;
    assert_eq!((cluster.version.to_string().as_str(), cluster.max_pools), ("1.34.2", 100));
    assert_eq!(cluster.state, upgrade_core::model::ProvisioningState::Busy("Upgrading".into()));
    assert_eq!((cluster.auto_upgrade_channel, cluster.force_upgrade), (None, false));
    let offered: Vec<_> = cluster.upgrades.iter().map(|u| (u.version.to_string(), u.preview)).collect();
    assert_eq!(offered, [("1.35.3".to_owned(), false), ("1.36.0".to_owned(), true)]);
    let names: Vec<_> = view.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["system", "user"]);
    let user = &view.pools[1];
    assert_eq!(
        (user.version.to_string().as_str(), &user.zones[..]),
        ("1.34.2", &["1".to_owned(), "2".to_owned()][..])
    );
    assert_eq!(
        (user.autoscaling, user.scale_set, user.stopped, user.spot),
        (Some((2, 5)), true, false, false)
    );
    let taints: Vec<_> =
        user.taints.iter().map(|t| format!("{}={}:{:?}", t.key, t.value, t.effect)).collect();
    assert_eq!(taints, ["gpu=yes:NoSchedule", "odd=:Unknown(\"Never\")"]);
    assert_eq!(view.look_again, LOOK_AGAIN);
}

/// What was begun in one process is asked for in another, and Azure's wish about when to look is kept.
#[tokio::test]
async fn a_buffer_is_created_like_its_pool_and_followed_to_its_end() {
    let server = MockServer::start().await;
    let status = format!("{}/op/1?s=signature", server.uri());
    answer(&server, "GET", "/agentPools/user", ok(pool("user", None))).await;
    let accepted = ResponseTemplate::new(201)
        .set_body_json(pool("userbf", Some("shop-1")))
        .insert_header("azure-asyncoperation", status.as_str())
        .insert_header("retry-after", "3");
    answer(&server, "PUT", "/agentPools/userbf", accepted).await;
    let running = ok(json!({"status": "InProgress"})).insert_header("retry-after", "5");
    Mock::given(path("/op/1")).respond_with(running).up_to_n_times(1).mount(&server).await;
    Mock::given(path("/op/1")).respond_with(ok(json!({"status": "Succeeded"}))).mount(&server).await;
    answer(&server, "GET", "/agentPools/userbf", ok(pool("userbf", Some("shop-1")))).await;

    let first = azure(&server);
    let buffer = BufferSpec {
        name: name("userbf"),
        like: name("user"),
        count: 2,
        version: KubeVersion::new(1, 34, 2),
    };
    let operation = first.create_pool(&buffer, &run()).await.unwrap();
    assert_eq!(first.look_again(), Duration::from_secs(3));
    let requests = server.received_requests().await.unwrap();
    let put = requests.iter().find(|request| request.method == http::Method::PUT).unwrap();
    let body: Value = put.body_json().unwrap();
    let properties = &body["properties"];
    assert_eq!((&properties["tags"]["drover-run"], &properties["count"]), (&json!("shop-1"), &json!(2)));
    assert_eq!(
        (&properties["vmSize"], &put.headers["if-none-match"].to_str().unwrap()),
        (&json!("D4"), &"*")
    );

    let second = azure(&server);
    assert_eq!(second.operation(&operation).await.unwrap(), OperationState::Running);
    assert_eq!(second.look_again(), Duration::from_secs(5));
    assert_eq!(second.operation(&operation).await.unwrap(), OperationState::Succeeded);
    let unreadable = second.operation(&OperationRef("{}".into())).await.unwrap_err();
    assert_eq!((unreadable.kind, unreadable.outcome_known()), (PortErrorKind::Rejected, true));
}

#[tokio::test]
async fn only_a_pool_of_this_run_is_deleted_and_only_as_it_was_seen() {
    let server = MockServer::start().await;
    answer(&server, "GET", "/agentPools/ours", ok(pool("ours", Some("shop-1")))).await;
    answer(&server, "GET", "/agentPools/theirs", ok(pool("theirs", Some("shop-2")))).await;
    answer(&server, "GET", "/agentPools/user", ok(pool("user", None))).await;
    answer(&server, "DELETE", "/agentPools/ours", ResponseTemplate::new(202)).await;
    let azure = azure(&server);
    for (pool, why) in [
        ("theirs", "pool theirs carries the tag of run shop-2, and not that of run shop-1"),
        ("user", "pool user carries no run's tag, and not that of run shop-1"),
    ] {
        let error = azure.delete_pool(&name(pool), &run()).await.unwrap_err();
        assert_eq!(
            (error.kind, error.outcome_known(), error.message.as_str()),
            (PortErrorKind::Rejected, true, why)
        );
    }
    azure.delete_pool(&name("ours"), &run()).await.unwrap();
    // One that is gone needs no request, and counts as deleted.
    let gone = azure.delete_pool(&name("gone"), &run()).await.unwrap();
    assert_eq!(azure.operation(&gone).await.unwrap(), OperationState::Succeeded);
    let requests = server.received_requests().await.unwrap();
    let deletes: Vec<_> = requests.iter().filter(|request| request.method == http::Method::DELETE).collect();
    assert_eq!(deletes.len(), 1);
    assert_eq!(deletes[0].headers["if-match"].to_str().unwrap(), "e1");
}

#[tokio::test]
async fn refusals_of_azure_keep_their_meaning() {
    let busy =
        json!({"code": "OperationNotAllowed", "message": "Another operation (Updating) is in progress"});
    let path_refused =
        json!({"code": "OperationNotAllowed", "message": "Upgrading 1.34.2 to 1.99.0 is not allowed."});
    let forbidden = json!({"error": {"code": "AuthorizationFailed", "message": "no\r\nway"}});
    for (status, body, kind, known) in [
        (409, busy, PortErrorKind::Conflict, true),
        (400, path_refused, PortErrorKind::Rejected, true),
        (412, json!({}), PortErrorKind::Conflict, true),
        (403, forbidden, PortErrorKind::Forbidden, true),
        (500, json!({}), PortErrorKind::Internal, false),
        (503, json!({}), PortErrorKind::Unreachable, false),
    ] {
        let server = MockServer::start().await;
        answer(&server, "GET", "/agentPools/user", ok(pool("user", None))).await;
        answer(&server, "PUT", "/agentPools/user", ResponseTemplate::new(status).set_body_json(body)).await;
        let error = azure(&server).upgrade_pool(&name("user"), KubeVersion::new(1, 35, 3)).await.unwrap_err();
        assert_eq!((error.kind, error.outcome_known()), (kind, known), "{status}: {error}");
        assert!(!error.message.contains(['\r', '\n']), "{error:?}");
    }
}

/// A cluster whose maintenance answers so, seen through the port.
async fn maintained(
    channel: &str,
    found: ResponseTemplate,
) -> Result<upgrade_core::model::Maintenance, PortError> {
    let server = MockServer::start().await;
    let cluster = json!({"id": ID, "name": "shop", "location": "westeurope", "properties": {
        "provisioningState": "Succeeded", "kubernetesVersion": "1.34", "currentKubernetesVersion": "1.34.2",
        "nodeResourceGroup": "MC_rg", "autoUpgradeProfile": {"upgradeChannel": "none", "nodeOSUpgradeChannel": channel}}});
    answer(&server, "GET", "", ok(cluster)).await;
    answer(&server, "GET", "/agentPools", ok(json!({"value": []}))).await;
    answer(
        &server,
        "GET",
        "/upgradeProfiles/default",
        ok(json!({"properties": {"controlPlaneProfile": {}}})),
    )
    .await;
    answer(&server, "GET", "/maintenanceConfigurations", found).await;
    let azure = azure(&server);
    let seen = azure.observe().await.map(|view| view.cluster.maintenance);
    // Once for both: it changes seldom.
    assert_eq!(azure.observe().await.ok().map(|view| view.cluster.maintenance), seen.as_ref().ok().cloned());
    seen
}

fn schedule(window: &Value) -> ResponseTemplate {
    let name = "aksManagedNodeOSUpgradeSchedule";
    ok(json!({"value": [{"name": name, "properties": {"maintenanceWindow": window}}]}))
}

#[tokio::test]
async fn a_schedule_counts_if_a_channel_uses_it_and_what_is_not_understood_is_named() {
    let weekly = json!({"schedule": {"weekly": {"intervalWeeks": 2, "dayOfWeek": "Sunday"}}, "startTime": "22:00",
        "startDate": "2026-04-12", "durationHours": 4, "utcOffset": "+01:00", "notAllowedDates": [{"start": "2026-12-24", "end": "2026-12-26"}]});
    let seen = maintained("NodeImage", schedule(&weekly)).await.unwrap();
    let shown = seen.windows.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        shown,
        ["aksManagedNodeOSUpgradeSchedule (Sunday, every 2 weeks from 2026-04-12, at 22:00 UTC+01, 4 h)"]
    );
    assert_eq!((seen.shut[0].to.to_string().as_str(), seen.unclear.len()), ("2026-12-26T23:00:00Z", 0));
    let unused = maintained("Unmanaged", schedule(&weekly)).await.unwrap();
    assert_eq!((unused.windows.len(), unused.shut.len()), (0, 1));
    for (key, value, problem) in [
        ("schedule", json!({"lunar": {}}), "its schedule is not known"),
        ("schedule", json!({"daily": {"intervalDays": 0}}), "its schedule is not known"),
        ("startTime", json!("late"), "it does not say when it opens"),
        ("durationHours", Value::Null, "it does not say how long it stays open"),
        ("utcOffset", json!("CET"), "its offset is not known"),
        ("notAllowedDates", json!([{"start": "2026-12-24"}]), "a time that it does not allow is not known"),
    ] {
        let mut odd = weekly.clone();
        odd[key] = value;
        let seen = maintained("NodeImage", schedule(&odd)).await.unwrap();
        let named = format!("maintenance configuration aksManagedNodeOSUpgradeSchedule: {problem}");
        assert_eq!(seen.unclear, [named]);
    }
}

#[tokio::test]
async fn maintenance_that_may_not_be_read_is_unclear() {
    let denied = ResponseTemplate::new(403)
        .set_body_json(json!({"error": {"code": "AuthorizationFailed", "message": "no"}}));
    let seen = maintained("NodeImage", denied).await.unwrap();
    assert!(seen.unclear[0].starts_with("the maintenance configurations cannot be read ("), "{seen:?}");
}

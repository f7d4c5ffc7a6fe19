//! Every read: where it asks, what it understands, and what it refuses to take for an answer.

use aks_client::{AvailableUpgrade, Error, NodeImageUse, PoolVersion};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::support::{Arm, SUBSCRIPTION, answer, cluster, cluster_path, id, ok, pool, pool_path};

#[tokio::test]
async fn a_request_carries_token_ids_and_a_fixed_agent() {
    let arm = Arm::start().await;
    arm.once("GET", &cluster_path(), ok(&cluster("Succeeded", "1.34.6"))).await;
    let found = arm.client.cluster(&id()).await.unwrap();
    assert_eq!((found.id(), found.etag()), (&id(), Some("etag-cluster")));

    let request = arm.last("GET").await;
    let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("authorization"), "Bearer tok-S3CRET-1");
    assert_eq!(header("user-agent"), "aks-drover/0.1.0");
    assert_eq!(header("x-ms-client-request-id").len(), 36);
    assert!(!request.headers.contains_key("if-match") && !request.headers.contains_key("if-none-match"));
    assert_eq!(*arm.tokens.scopes.lock().unwrap(), [format!("{}/.default", arm.server.uri())]);
}

#[tokio::test]
async fn pools_are_read_over_all_pages_on_the_own_host() {
    let arm = Arm::start().await;
    let list = format!("{}/agentPools", cluster_path());
    let second = format!("https://management.azure.com{list}?api-version=2026-08-01&%24skiptoken=p2");
    let first = json!({"value": [pool("a1", "Succeeded", "1.34.6")], "nextLink": second});
    let last = json!({"value": [pool("a2", "Failed", "1.34.6")], "nextLink": null});
    arm.once("GET", &list, ok(&first)).await;
    arm.once("GET", &list, ok(&last)).await;
    let pools = arm.client.pools(&id()).await.unwrap();
    assert_eq!(pools.iter().map(aks_client::AgentPool::name).collect::<Vec<_>>(), ["a1", "a2"]);
    assert!(arm.last("GET").await.url.query().unwrap().contains("skiptoken=p2"));
}

#[tokio::test]
async fn pages_that_lead_in_a_circle_end_in_an_error() {
    let arm = Arm::start().await;
    let list = format!("{}/agentPools", cluster_path());
    let link = format!("{list}?api-version=2026-08-01");
    arm.once("GET", &list, ok(&json!({"value": [], "nextLink": link}))).await;
    assert!(matches!(arm.client.pools(&id()).await, Err(Error::UnexpectedBody { .. })));
}

#[tokio::test]
async fn an_absent_pool_is_none_and_other_refusals_are_errors() {
    let arm = Arm::start().await;
    arm.once("GET", &pool_path("gone"), answer(404, &json!({"error": {"code": "NotFound", "message": "x"}})))
        .await;
    assert_eq!(arm.client.pool(&id(), "gone").await.unwrap(), None);
    arm.once("GET", &pool_path("user1"), ok(&pool("user1", "Succeeded", "1.34.6"))).await;
    assert_eq!(arm.client.pool(&id(), "user1").await.unwrap().unwrap().etag(), Some("etag-pool"));
    arm.once("GET", &pool_path("user2"), answer(403, &json!({"error": {"code": "AuthorizationFailed"}})))
        .await;
    assert!(matches!(arm.client.pool(&id(), "user2").await, Err(Error::Forbidden { .. })));
}

#[tokio::test]
async fn a_name_no_pool_can_have_is_never_sent() {
    let arm = Arm::start().await;
    for name in ["", "..", "Upper", "a/b", "a?x=1", "way-too-long-a-name"] {
        let error = arm.client.pool(&id(), name).await.unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }) && error.outcome_known(), "{name}");
    }
    assert!(arm.requests().await.is_empty());
}

#[tokio::test]
async fn a_cluster_that_is_none_is_not_taken_for_one() {
    let arm = Arm::start().await;
    for body in [json!({"id": "/x", "properties": {}}), json!({"id": cluster_path()}), json!([])] {
        arm.once("GET", &cluster_path(), ok(&body)).await;
        assert!(matches!(arm.client.cluster(&id()).await, Err(Error::UnexpectedBody { .. })), "{body}");
    }
}

#[tokio::test]
async fn the_upgrade_profile_reads_offers_previews_and_null() {
    let arm = Arm::start().await;
    let path = format!("{}/upgradeProfiles/default", cluster_path());
    let offers = json!([{"kubernetesVersion": "1.35.2"}, {"kubernetesVersion": "1.36.0", "isPreview": true}]);
    for (upgrades, expected) in [(offers, vec![("1.35.2", false), ("1.36.0", true)]), (json!(null), vec![])] {
        let body =
            json!({"properties": {"controlPlaneProfile": {"upgrades": upgrades}, "agentPoolProfiles": []}});
        arm.once("GET", &path, ok(&body)).await;
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(v, preview)| AvailableUpgrade { version: v.to_owned(), preview })
            .collect();
        assert_eq!(arm.client.upgrade_profile(&id()).await.unwrap(), expected);
    }
    arm.once("GET", &path, ok(&json!({"properties": {}}))).await;
    assert!(matches!(arm.client.upgrade_profile(&id()).await, Err(Error::UnexpectedBody { .. })));
}

#[tokio::test]
async fn the_profile_of_a_pool_reads_image_and_history() {
    let arm = Arm::start().await;
    let path = format!("{}/upgradeProfiles/default", pool_path("user1"));
    let body = json!({"properties": {"kubernetesVersion": "1.34.6", "osType": "Linux",
        "upgrades": [{"kubernetesVersion": "1.35.2"}], "latestNodeImageVersion": "img-2",
        "recentlyUsedVersions": [{"orchestratorVersion": "1.33.7", "nodeImageVersion": "img-1", "timestamp": "t"}]}});
    arm.once("GET", &path, ok(&body)).await;
    let profile = arm.client.pool_upgrade_profile(&id(), "user1").await.unwrap();
    assert_eq!(profile.version.as_deref(), Some("1.34.6"));
    assert_eq!(profile.upgrades, [AvailableUpgrade { version: "1.35.2".to_owned(), preview: false }]);
    assert_eq!(profile.latest_node_image.as_deref(), Some("img-2"));
    let used = NodeImageUse {
        version: "1.33.7".to_owned(),
        node_image: "img-1".to_owned(),
        timestamp: Some("t".to_owned()),
    };
    assert_eq!(profile.recently_used, [used]);
}

#[tokio::test]
async fn versions_for_new_pools_are_read() {
    let arm = Arm::start().await;
    let path = format!("{}/availableAgentPoolVersions", cluster_path());
    let body = json!({"properties": {"agentPoolVersions": [
        {"kubernetesVersion": "1.35.2", "default": true}, {"kubernetesVersion": "1.36.0", "isPreview": true}]}});
    arm.once("GET", &path, ok(&body)).await;
    let expected = [
        PoolVersion { version: "1.35.2".to_owned(), default: true, preview: false },
        PoolVersion { version: "1.36.0".to_owned(), default: false, preview: true },
    ];
    assert_eq!(arm.client.available_pool_versions(&id()).await.unwrap(), expected);
}

#[tokio::test]
async fn the_versions_of_a_region_stand_under_values() {
    let arm = Arm::start().await;
    let path = format!(
        "/subscriptions/{SUBSCRIPTION}/providers/Microsoft.ContainerService/locations/westeurope/kubernetesVersions"
    );
    let body = json!({"values": [{"version": "1.35", "isDefault": true,
        "capabilities": {"supportPlan": ["KubernetesOfficial"]},
        "patchVersions": {"1.35.1": {"upgrades": ["1.35.2"]}, "1.35.2": {"upgrades": []}}}]});
    arm.once("GET", &path, ok(&body)).await;
    let versions = arm.client.region_versions(id().subscription(), "West Europe").await.unwrap();
    assert_eq!((versions[0].version.as_str(), versions[0].default), ("1.35", true));
    assert_eq!(versions[0].support_plans, ["KubernetesOfficial"]);
    assert_eq!(
        (versions[0].patches.len(), versions[0].patches[0].upgrades.as_slice()),
        (2, &["1.35.2".to_owned()][..])
    );

    arm.once("GET", &path, ok(&json!({"value": []}))).await;
    let wrong = arm.client.region_versions(id().subscription(), "westeurope").await;
    assert!(matches!(wrong, Err(Error::UnexpectedBody { .. })));
    let wrong = arm.client.region_versions(id().subscription(), "../x").await;
    assert!(matches!(wrong, Err(Error::InvalidArgument { .. })));
}

#[tokio::test]
async fn the_authority_of_a_cluster_is_taken_from_its_kubeconfig() {
    let arm = Arm::start().await;
    let path = format!("{}/listClusterUserCredential", cluster_path());
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let yaml = format!(
        "clusters:\n- name: shop\n  cluster:\n    certificate-authority-data: {}\nusers:\n- name: u\n  user: {{token: x}}\n",
        STANDARD.encode(pem)
    );
    let body = json!({"kubeconfigs": [{"name": "clusterUser", "value": STANDARD.encode(yaml)}]});
    // A POST, yet it changes nothing, so a passing failure is waited out.
    arm.once("POST", &path, answer(503, &json!({}))).await;
    arm.once("POST", &path, ok(&body)).await;
    assert_eq!(arm.client.cluster_ca(&id()).await.unwrap().as_deref(), Some(pem));
}

#[tokio::test]
async fn a_kubeconfig_that_may_not_be_read_is_an_error_and_not_an_absent_authority() {
    let arm = Arm::start().await;
    let path = format!("{}/listClusterUserCredential", cluster_path());
    let message = "The client 'c' with object id 'o' does not have authorization to perform action \
        'Microsoft.ContainerService/managedClusters/listClusterUserCredential/action' over scope '/subscriptions/s' or \
        the scope is invalid.";
    arm.once(
        "POST",
        &path,
        answer(403, &json!({"error": {"code": "AuthorizationFailed", "message": message}})),
    )
    .await;
    let error = arm.client.cluster_ca(&id()).await.unwrap_err();
    let Error::Forbidden { missing: Some(missing), .. } = &error else { panic!("{error:?}") };
    assert_eq!(missing.action, "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action");
    assert_eq!(missing.scope.as_deref(), Some("/subscriptions/s"));

    arm.once("POST", &path, ok(&json!({"kubeconfigs": [{"value": "%%%"}]}))).await;
    assert!(matches!(arm.client.cluster_ca(&id()).await, Err(Error::UnexpectedBody { .. })));
}

#[tokio::test]
async fn an_endpoint_with_a_path_keeps_it() {
    let arm = Arm::start().await;
    let endpoint = format!("{}/arm/", arm.server.uri()).parse().unwrap();
    let client = aks_client::AksClient::new(
        crate::support::http(reqwest::redirect::Policy::none()),
        endpoint,
        aks_client::ApiVersion::default(),
        arm.tokens.clone(),
    );
    let list = format!("/arm{}/agentPools", cluster_path());
    arm.once("GET", &list, ResponseTemplate::new(200).set_body_json(json!({"value": []}))).await;
    assert!(client.pools(&id()).await.unwrap().is_empty());
}

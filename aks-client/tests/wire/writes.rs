//! Every write: what exactly is sent, under which condition, and that it is sent once.

use std::time::Duration;

use aks_client::{AgentPool, BodyError, Error, MirrorSpec, OperationKind, mirror_body};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::support::{Arm, answer, cluster, cluster_path, id, ok, pool, pool_path, to};

fn accepted(arm: &Arm, status: u16, body: &Value) -> ResponseTemplate {
    answer(status, body)
        .insert_header("Azure-AsyncOperation", format!("{}/op/1?t=9&s=SIG", arm.server.uri()))
        .insert_header("Retry-After", "12")
        .insert_header("x-ms-request-id", "req-1")
        .insert_header("Date", "Tue, 24 Nov 2026 08:00:00 GMT")
}

#[tokio::test]
async fn a_control_plane_upgrade_echoes_the_cluster_under_its_etag() {
    let arm = Arm::start().await;
    arm.once("GET", &cluster_path(), ok(&cluster("Succeeded", "1.34.6"))).await;
    arm.once("PUT", &cluster_path(), accepted(&arm, 200, &cluster("Updating", "1.35.2"))).await;
    let operation = arm.client.begin_control_plane_upgrade(&id(), "1.35.2").await.unwrap();
    assert_eq!(operation.kind, OperationKind::UpgradeControlPlane { to: to("1.35.2") });
    assert_eq!(operation.resource(), cluster_path());
    assert_eq!(operation.azure_async_operation, Some(arm.url("/op/1?t=9&s=SIG")));
    assert_eq!(operation.retry_after, Some(Duration::from_secs(12)));
    assert_eq!(operation.started, Some("2026-11-24T08:00:00Z".parse().unwrap()));
    assert_eq!(operation.request_id.as_deref(), Some("req-1"));

    let put = arm.last("PUT").await;
    assert_eq!(put.headers["if-match"], "etag-cluster");
    let expected = json!({"location": "westeurope", "properties": {
        "kubernetesVersion": "1.35.2", "unknown": {"nested": [1, null]},
        "agentPoolProfiles": [{"name": "system", "orchestratorVersion": "1.34.6"}]}});
    assert_eq!(put.body_json::<Value>().unwrap(), expected);
}

#[tokio::test]
async fn an_unsafe_control_plane_upgrade_is_not_sent() {
    let arm = Arm::start().await;
    let mut without_version = cluster("Succeeded", "1.34.6");
    without_version["properties"]["agentPoolProfiles"][0]["orchestratorVersion"] = json!(null);
    let mut without_etag = cluster("Succeeded", "1.34.6");
    without_etag["eTag"] = json!(null);
    for (cluster, expected) in [
        (without_version, BodyError::PoolWithoutVersion { pool: "system".to_owned() }),
        (without_etag, BodyError::NoEtag { resource: cluster_path() }),
    ] {
        arm.once("GET", &cluster_path(), ok(&cluster)).await;
        let error = arm.client.begin_control_plane_upgrade(&id(), "1.35.2").await.unwrap_err();
        assert!(matches!(&error, Error::Body { source } if *source == expected), "{error:?}");
        assert!(error.outcome_known() && !error.is_retryable());
    }
}

#[tokio::test]
async fn a_stale_etag_is_reported_and_nothing_repeated() {
    let arm = Arm::start().await;
    arm.once("GET", &cluster_path(), ok(&cluster("Succeeded", "1.34.6"))).await;
    arm.once("PUT", &cluster_path(), answer(412, &json!({"error": {"code": "PreconditionFailed"}}))).await;
    let error = arm.client.begin_control_plane_upgrade(&id(), "1.35.2").await.unwrap_err();
    assert!(matches!(error, Error::EtagMismatch { .. }) && error.is_retryable() && error.outcome_known());
}

#[tokio::test]
async fn a_pool_is_created_only_where_there_is_none() {
    let arm = Arm::start().await;
    let original = AgentPool::from_value(pool("user1", "Succeeded", "1.34.6")).unwrap();
    let spec = MirrorSpec { count: 5, version: to("1.35.2"), ..MirrorSpec::default() };
    let body = mirror_body(&original, &spec);
    arm.once("PUT", &pool_path("user1b"), accepted(&arm, 201, &pool("user1b", "Creating", "1.35.2"))).await;
    let operation = arm.client.begin_create_pool(&id(), "user1b", &body).await.unwrap();
    assert_eq!((operation.kind, operation.pool.as_deref()), (OperationKind::CreatePool, Some("user1b")));
    let put = arm.last("PUT").await;
    assert_eq!((&put.headers["if-none-match"], put.headers.get("if-match")), (&"*".parse().unwrap(), None));
    assert_eq!(put.body_json::<Value>().unwrap(), body);

    arm.once("PUT", &pool_path("user1b"), answer(412, &json!({"error": {"code": "PreconditionFailed"}})))
        .await;
    let error = arm.client.begin_create_pool(&id(), "user1b", &body).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }) && !error.is_retryable() && error.outcome_known());
}

#[tokio::test]
async fn a_pool_is_upgraded_as_it_was_read_under_its_etag() {
    let arm = Arm::start().await;
    arm.once("GET", &pool_path("user1"), ok(&pool("user1", "Succeeded", "1.34.6"))).await;
    arm.once("PUT", &pool_path("user1"), accepted(&arm, 200, &pool("user1", "Upgrading", "1.35.2"))).await;
    let operation = arm.client.begin_upgrade_pool(&id(), "user1", "1.35.2").await.unwrap();
    assert_eq!(operation.kind, OperationKind::UpgradePool { to: to("1.35.2") });
    let put = arm.last("PUT").await;
    assert_eq!(put.headers["if-match"], "etag-pool");
    let expected = json!({"properties": {"orchestratorVersion": "1.35.2", "count": 3, "unknown": {"nested": [1, null]}}});
    assert_eq!(put.body_json::<Value>().unwrap(), expected);
}

#[tokio::test]
async fn a_pool_that_is_gone_or_a_version_that_is_none_is_not_upgraded() {
    let arm = Arm::start().await;
    arm.once("GET", &pool_path("user1"), answer(404, &json!({"code": "NotFound", "message": "m"}))).await;
    let error = arm.client.begin_upgrade_pool(&id(), "user1", "1.35.2").await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }));
    let error = arm.client.begin_upgrade_pool(&id(), "user1", "1.35").await.unwrap_err();
    assert!(matches!(error, Error::Body { source: BodyError::IncompleteVersion { .. } }));
}

#[tokio::test]
async fn a_deletion_respects_budgets_unless_told_otherwise() {
    let arm = Arm::start().await;
    let location = format!("{}/results/1?api-version=2017-08-31", arm.server.uri());
    let gone = ResponseTemplate::new(202).insert_header("Location", location.as_str());
    arm.once("DELETE", &pool_path("user1b"), gone).await;
    let operation = arm.client.begin_delete_pool(&id(), "user1b", Some("etag-9"), false).await.unwrap();
    assert_eq!(operation.location, Some(arm.url("/results/1?api-version=2017-08-31")));
    let delete = arm.last("DELETE").await;
    assert_eq!(delete.headers["if-match"], "etag-9");
    assert!(!delete.url.query().unwrap().contains("ignore-pod-disruption-budget"));

    arm.once("DELETE", &pool_path("user1b"), ResponseTemplate::new(204)).await;
    let operation = arm.client.begin_delete_pool(&id(), "user1b", None, true).await.unwrap();
    assert_eq!((operation.location, operation.azure_async_operation), (None, None));
    let delete = arm.last("DELETE").await;
    assert!(!delete.headers.contains_key("if-match"));
    assert!(delete.url.query().unwrap().contains("ignore-pod-disruption-budget=true"));
}

#[tokio::test]
async fn an_abort_that_comes_too_late_is_no_error() {
    let arm = Arm::start().await;
    let (pool_abort, cluster_abort) = (pool_path("user1") + "/abort", cluster_path() + "/abort");
    arm.once("POST", &pool_abort, ResponseTemplate::new(202)).await;
    let operation = arm.client.abort_pool(&id(), "user1").await.unwrap().unwrap();
    assert_eq!(operation.kind, OperationKind::AbortPool);
    let late = json!({"code": "OperationNotAllowed", "message": "there is no operation to abort"});
    arm.once("POST", &pool_abort, answer(409, &late)).await;
    assert_eq!(arm.client.abort_pool(&id(), "user1").await.unwrap(), None);
    arm.once("POST", &cluster_abort, ResponseTemplate::new(204)).await;
    assert!(arm.client.abort_cluster(&id()).await.unwrap().is_some());
    let busy = json!({"code": "OperationNotAllowed", "message": "Another operation (x) is in progress"});
    arm.once("POST", &cluster_abort, answer(409, &busy)).await;
    assert!(matches!(arm.client.abort_cluster(&id()).await, Err(Error::Conflict { .. })));
}

#[tokio::test]
async fn a_refused_write_is_sent_once_and_its_class_and_outcome_are_right() {
    let flat = |message: &str| json!({"code": "OperationNotAllowed", "message": message, "details": null});
    let table = [
        (409, flat("Another operation (Updating) is in progress"), true, true),
        (409, flat("Upgrading Kubernetes version 1.34.6 to 1.36.0 is not allowed"), false, true),
        (429, json!({"code": "Throttled", "message": "retry again in 7 seconds"}), true, true),
        (500, json!({"error": {"code": "InternalServerError"}}), true, false),
        (503, json!({"error": {"code": "ServerBusy"}}), true, false),
    ];
    for (status, body, retryable, known) in table {
        let arm = Arm::start().await;
        arm.once("PUT", &pool_path("user1"), answer(status, &body).insert_header("Retry-After", "7")).await;
        let error =
            arm.client.begin_create_pool(&id(), "user1", &json!({"properties": {}})).await.unwrap_err();
        assert_eq!((error.is_retryable(), error.outcome_known()), (retryable, known), "{status} {error:?}");
        assert!(arm.waited().is_empty());
        if status == 429 {
            assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        }
    }
}

#[tokio::test]
async fn a_login_page_is_not_taken_for_an_accepted_write() {
    let page = || ResponseTemplate::new(200).set_body_raw("<html>sign in</html>", "text/html");
    let arm = Arm::start().await;
    arm.once("PUT", &pool_path("user1"), page()).await;
    let error = arm.client.begin_create_pool(&id(), "user1", &json!({})).await.unwrap_err();
    assert!(matches!(error, Error::UnexpectedBody { .. }) && !error.outcome_known(), "{error:?}");
    arm.once("DELETE", &pool_path("user1"), page()).await;
    let error = arm.client.begin_delete_pool(&id(), "user1", None, false).await.unwrap_err();
    assert!(matches!(error, Error::UnexpectedBody { .. }) && !error.outcome_known(), "{error:?}");
}

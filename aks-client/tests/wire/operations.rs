//! Operations: three protocols, both spellings of the end, and a resource that has the last word.

use std::time::Duration;

use aks_client::{
    Error, Operation, OperationKind, OperationStatus, OperationUrl, Outcome, RESOURCE_DISAGREES, ServiceError,
};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::support::{Arm, answer, cluster, cluster_path, id, ok, operation, pool, pool_path, to};

fn upgrade(arm: &Arm) -> Operation {
    let kind = OperationKind::UpgradePool { to: to("1.35.2") };
    Operation { azure_async_operation: Some(arm.url("/op/1?t=9&s=SIG")), ..operation(kind) }
}

fn code(error: &ServiceError) -> Option<&str> {
    error.code.as_deref()
}

#[tokio::test]
async fn the_status_url_is_asked_as_it_is_and_anything_unknown_is_running() {
    for (status, percent) in
        [("InProgress", json!(41.9)), ("Upgrading", json!(null)), ("SomethingNew", json!(250))]
    {
        let arm = Arm::start().await;
        let body = json!({"name": "g", "status": status, "percentComplete": percent});
        arm.status("/op/1", ok(&body).insert_header("Retry-After", "10")).await;
        let found = arm.client.poll(&upgrade(&arm)).await.unwrap();
        let expected = match status {
            "InProgress" => Some(41),
            "Upgrading" => None,
            _ => Some(100),
        };
        let wait = Some(Duration::from_secs(10));
        assert_eq!(found, OperationStatus::Running { percent: expected, retry_after: wait });
        let request = arm.last("GET").await;
        assert_eq!(request.url.query(), Some("t=9&s=SIG"));
        assert_eq!(request.headers["authorization"], "Bearer tok-S3CRET-1");
    }
}

#[tokio::test]
async fn the_end_is_read_in_any_case_and_spelling() {
    let refused = json!({"code": "SubnetIsFull", "message": "full"});
    for (status, ended) in
        [("failed", "failed"), ("FAILED", "failed"), ("Canceled", "canceled"), ("cancelled", "canceled")]
    {
        let arm = Arm::start().await;
        arm.status("/op/1", ok(&json!({"status": status, "error": refused}))).await;
        match (arm.client.poll(&upgrade(&arm)).await.unwrap(), ended) {
            (OperationStatus::Failed { error }, "failed")
            | (OperationStatus::Canceled { error }, "canceled") => {
                assert_eq!(code(&error), Some("SubnetIsFull"));
            }
            (other, _) => panic!("{status}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn success_counts_only_when_the_resource_shows_it() {
    let succeeded = OperationStatus::Succeeded;
    let table: [(&str, &str, Option<OperationStatus>); 5] = [
        ("Succeeded", "1.35.2", Some(succeeded)),
        // Microsoft's service has reported this with nodes still old.
        ("Succeeded", "1.34.6", None),
        ("Upgrading", "1.35.2", Some(OperationStatus::Running { percent: None, retry_after: None })),
        ("Failed", "1.35.2", Some(OperationStatus::Failed { error: ServiceError::default() })),
        ("Canceled", "1.35.2", Some(OperationStatus::Canceled { error: ServiceError::default() })),
    ];
    for (state, version, expected) in table {
        let arm = Arm::start().await;
        arm.status("/op/1", ok(&json!({"status": "Succeeded"}))).await;
        arm.once("GET", &pool_path("user1"), ok(&pool("user1", state, version))).await;
        let found = arm.client.poll(&upgrade(&arm)).await.unwrap();
        match (expected, found) {
            (Some(expected), found) => assert_eq!(found, expected),
            (None, OperationStatus::Failed { error }) => assert_eq!(code(&error), Some(RESOURCE_DISAGREES)),
            (None, found) => panic!("{found:?}"),
        }
    }
}

#[tokio::test]
async fn a_control_plane_is_done_when_the_cluster_shows_the_version() {
    let kind = OperationKind::UpgradeControlPlane { to: to("1.35.2") };
    for (version, done) in [("1.35.2", true), ("1.34.6", false)] {
        let arm = Arm::start().await;
        arm.once("GET", &cluster_path(), ok(&cluster("Succeeded", version))).await;
        let found = arm.client.poll(&operation(kind.clone())).await.unwrap();
        assert_eq!(found == OperationStatus::Succeeded, done, "{found:?}");
    }
}

#[tokio::test]
async fn a_failure_without_a_reason_gets_the_one_the_resource_keeps() {
    let arm = Arm::start().await;
    let mut failed = pool("user1", "Failed", "1.35.2");
    failed["properties"]["status"] =
        json!({"provisioningError": {"code": "SubnetIsFull", "message": "full"}});
    arm.status("/op/1", ok(&json!({"status": "Failed"}))).await;
    arm.once("GET", &pool_path("user1"), ok(&failed)).await;
    let OperationStatus::Failed { error } = arm.client.poll(&upgrade(&arm)).await.unwrap() else {
        panic!("not failed")
    };
    assert_eq!(error.to_string(), "SubnetIsFull: full");
}

#[tokio::test]
async fn a_status_url_that_is_gone_leaves_the_resource_to_decide() {
    for status in [404, 410] {
        let arm = Arm::start().await;
        arm.status("/op/1", answer(status, &json!({"error": {"code": "NotFound", "message": "m"}}))).await;
        arm.once("GET", &pool_path("user1"), ok(&pool("user1", "Upgrading", "1.35.2"))).await;
        let found = arm.client.poll(&upgrade(&arm)).await.unwrap();
        assert!(matches!(found, OperationStatus::Running { .. }), "{found:?}");
    }
}

#[tokio::test]
async fn the_location_protocol_runs_on_202_and_ends_on_200_or_204() {
    let arm = Arm::start().await;
    let operation = Operation { location: Some(arm.url("/loc/1")), ..operation(OperationKind::DeletePool) };
    arm.status("/loc/1", ResponseTemplate::new(202).insert_header("Retry-After", "20")).await;
    let running = OperationStatus::Running { percent: None, retry_after: Some(Duration::from_secs(20)) };
    assert_eq!(arm.client.poll(&operation).await.unwrap(), running);
    for status in [200, 204] {
        arm.status("/loc/1", ResponseTemplate::new(status)).await;
        arm.once("GET", &pool_path("user1"), answer(404, &json!({}))).await;
        assert_eq!(arm.client.poll(&operation).await.unwrap(), OperationStatus::Succeeded);
    }
}

#[tokio::test]
async fn the_location_protocol_fails_by_the_status_of_the_result() {
    let arm = Arm::start().await;
    let operation = Operation { location: Some(arm.url("/loc/1")), ..operation(OperationKind::DeletePool) };
    arm.status("/loc/1", answer(409, &json!({"code": "PodDrainFailure", "message": "blocked"}))).await;
    let OperationStatus::Failed { error } = arm.client.poll(&operation).await.unwrap() else {
        panic!("not failed")
    };
    assert_eq!(code(&error), Some("PodDrainFailure"));
}

#[tokio::test]
async fn swapped_headers_are_read_by_what_they_answer() {
    // A result URL under the name of the status URL, and a status document under Location.
    let arm = Arm::start().await;
    arm.status("/op/1", ResponseTemplate::new(202)).await;
    assert!(matches!(arm.client.poll(&upgrade(&arm)).await.unwrap(), OperationStatus::Running { .. }));
    let by_location =
        Operation { location: Some(arm.url("/loc/1")), azure_async_operation: None, ..upgrade(&arm) };
    arm.status("/loc/1", ok(&json!({"status": "InProgress"}))).await;
    assert!(matches!(arm.client.poll(&by_location).await.unwrap(), OperationStatus::Running { .. }));
}

#[tokio::test]
async fn the_status_url_is_preferred_to_the_location() {
    let arm = Arm::start().await;
    let both = Operation { location: Some(arm.url("/loc/1")), ..upgrade(&arm) };
    arm.status("/op/1", ok(&json!({"status": "InProgress"}))).await;
    assert!(matches!(arm.client.poll(&both).await.unwrap(), OperationStatus::Running { .. }));
}

#[tokio::test]
async fn a_deletion_is_done_when_the_pool_is_gone_and_not_before() {
    let table = [
        (ok(&pool("user1", "Deleting", "1.34.6")), "running"),
        (ok(&pool("user1", "Failed", "1.34.6")), "failed"),
        (ok(&pool("user1", "Succeeded", "1.34.6")), "failed"),
        (answer(404, &json!({})), "succeeded"),
    ];
    for (shown, expected) in table {
        let arm = Arm::start().await;
        arm.once("GET", &pool_path("user1"), shown).await;
        let found = match arm.client.poll(&operation(OperationKind::DeletePool)).await.unwrap() {
            OperationStatus::Running { .. } => "running",
            OperationStatus::Failed { .. } => "failed",
            OperationStatus::Succeeded => "succeeded",
            OperationStatus::Canceled { .. } => "canceled",
        };
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_created_pool_that_is_gone_has_failed() {
    let arm = Arm::start().await;
    arm.once("GET", &pool_path("user1"), answer(404, &json!({}))).await;
    let OperationStatus::Failed { error } =
        arm.client.poll(&operation(OperationKind::CreatePool)).await.unwrap()
    else {
        panic!("not failed")
    };
    assert_eq!(code(&error), Some(RESOURCE_DISAGREES));
}

#[tokio::test]
async fn an_abort_is_done_when_nothing_runs_any_more() {
    for (state, done) in [("Canceling", false), ("Canceled", true), ("Succeeded", true), ("Failed", true)] {
        let arm = Arm::start().await;
        arm.once("GET", &pool_path("user1"), ok(&pool("user1", state, "1.34.6"))).await;
        let found = arm.client.poll(&operation(OperationKind::AbortPool)).await.unwrap();
        assert_eq!(found == OperationStatus::Succeeded, done, "{state}: {found:?}");
    }
}

#[tokio::test]
async fn the_token_never_goes_to_a_foreign_host_and_the_resource_decides() {
    let arm = Arm::start().await;
    let foreign = wiremock::MockServer::start().await;
    let url = OperationUrl::parse(&format!("{}/op/1?s=SIG", foreign.uri()));
    let operation = Operation { azure_async_operation: url.clone(), location: url, ..upgrade(&arm) };
    arm.once("GET", &pool_path("user1"), ok(&pool("user1", "Succeeded", "1.35.2"))).await;
    assert_eq!(arm.client.poll(&operation).await.unwrap(), OperationStatus::Succeeded);
    assert!(foreign.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn waiting_follows_the_pace_the_service_asks_for() {
    let arm = Arm::start().await;
    let running = |body: &Value| ok(body);
    arm.status("/op/1", running(&json!({"status": "InProgress"})).insert_header("Retry-After", "7")).await;
    arm.status("/op/1", running(&json!({"status": "InProgress", "percentComplete": 50}))).await;
    arm.status("/op/1", running(&json!({"status": "InProgress"})).insert_header("Retry-After", "0")).await;
    arm.status("/op/1", running(&json!({"status": "InProgress"})).insert_header("Retry-After", "3600")).await;
    arm.status("/op/1", ok(&json!({"status": "Succeeded"}))).await;
    arm.once("GET", &pool_path("user1"), ok(&pool("user1", "Succeeded", "1.35.2"))).await;
    let mut seen = Vec::new();
    let outcome = arm.client.wait(&upgrade(&arm), |status| seen.push(status.clone())).await.unwrap();
    assert_eq!(outcome, Outcome::Succeeded);
    // Asked for; nothing asked: 15; never a busy loop: 1; never longer than a minute.
    assert_eq!(arm.waited(), [7, 15, 1, 60]);
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[1], OperationStatus::Running { percent: Some(50), retry_after: None });
    assert_eq!(seen[4].outcome(), Some(Outcome::Succeeded));
}

#[tokio::test]
async fn waiting_survives_a_passing_outage() {
    let arm = Arm::start().await;
    for _ in 0..6 {
        arm.status("/op/1", answer(503, &json!({}))).await;
    }
    arm.status("/op/1", ok(&json!({"status": "Failed", "error": {"code": "X", "message": "m"}}))).await;
    let outcome = arm.client.wait(&upgrade(&arm), |_| {}).await.unwrap();
    assert!(matches!(outcome, Outcome::Failed { error } if error.mentions("X")));
    // Five tries within one poll, the pause between polls, and one more repeat in the next.
    assert_eq!(arm.waited(), [1, 2, 4, 8, 15, 1]);
}

#[tokio::test]
async fn an_outage_that_passed_does_not_count_against_the_next() {
    let arm = Arm::start().await;
    for _ in 0..2 {
        for _ in 0..(20 * 5) {
            arm.status("/op/1", answer(503, &json!({}))).await;
        }
        arm.status("/op/1", ok(&json!({"status": "InProgress"}))).await;
    }
    arm.status("/op/1", ok(&json!({"status": "Canceled"}))).await;
    arm.once("GET", &pool_path("user1"), ok(&pool("user1", "Canceled", "1.34.6"))).await;
    let outcome = arm.client.wait(&upgrade(&arm), |_| {}).await.unwrap();
    assert_eq!(outcome, Outcome::Canceled { error: ServiceError::default() });
}

#[tokio::test]
async fn waiting_ends_on_a_lasting_refusal_and_on_a_lasting_outage() {
    let arm = Arm::start().await;
    arm.status("/op/1", answer(403, &json!({"error": {"code": "AuthorizationFailed"}}))).await;
    assert!(matches!(arm.client.wait(&upgrade(&arm), |_| {}).await, Err(Error::Forbidden { .. })));

    let arm = Arm::start().await;
    for _ in 0..(21 * 5) {
        arm.status("/op/1", answer(503, &json!({}))).await;
    }
    let error = arm.client.wait(&upgrade(&arm), |_| {}).await.unwrap_err();
    assert!(error.is_retryable() && error.outcome_known());
    assert_eq!(arm.waited().iter().filter(|seconds| **seconds == 15).count(), 20);
}

#[tokio::test]
async fn an_operation_read_back_from_a_journal_is_followed_to_its_end() {
    let arm = Arm::start().await;
    let stored = serde_json::to_string(&upgrade(&arm)).unwrap();
    let operation: Operation = serde_json::from_str(&stored).unwrap();
    arm.status("/op/1", ok(&json!({"status": "Succeeded"}))).await;
    arm.once("GET", &pool_path("user1"), ok(&pool("user1", "Succeeded", "1.35.2"))).await;
    assert_eq!(arm.client.wait(&operation, |_| {}).await.unwrap(), Outcome::Succeeded);
    assert_eq!(operation.cluster, id());
}

//! The life of an operation: followed item by item, stored, restored, looked at again after its end.

use std::time::Duration;

use aks_client::{Error, Operation, OperationProgress, Outcome};
use futures::StreamExt;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::polls::{failed, rendered, upgrade};
use crate::support::{Arm, answer, describe, id, ok, operation, pool, pool_path};

fn upgrading(arm: &Arm) -> Operation {
    Operation { azure_async_operation: Some(arm.url("/op/1?t=9&s=SIG")), ..operation(upgrade()) }
}

fn told(progress: &OperationProgress) -> String {
    match progress {
        OperationProgress::Status(status) => rendered(status),
        OperationProgress::Interrupted { error, failures } => {
            format!("interrupted {failures}: {}", describe(error))
        }
        OperationProgress::Lost { error } => format!("lost: {}", describe(error)),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn an_operation_is_followed_item_by_item_to_its_one_end() {
    let arm = Arm::start().await;
    arm.status("/op/1", ok(&json!({"status": "InProgress"})).insert_header("Retry-After", "7")).await;
    for _ in 0..5 {
        arm.status("/op/1", answer(503, &json!({}))).await;
    }
    arm.status("/op/1", ok(&json!({"status": "InProgress", "percentComplete": 90}))).await;
    arm.status("/op/1", ok(&json!({"status": "Succeeded"}))).await;
    arm.once("GET", &pool_path("user1"), ok(&pool("user1", "Succeeded", "1.35.2"))).await;
    let items: Vec<_> = arm.client.follow(&upgrading(&arm)).collect().await;
    let expected = ["running in 7 s", "interrupted 1: api, retry, known", "running 90%", "succeeded"];
    assert_eq!(items.iter().map(told).collect::<Vec<_>>(), expected, "§2.1");
    assert_eq!(items.iter().map(OperationProgress::is_last).collect::<Vec<_>>(), [false, false, false, true]);
    // The pause asked for, four repeats within the failed poll, the pause between polls twice.
    assert_eq!(arm.waited(), [7, 1, 2, 4, 8, 15, 15]);
}

#[tokio::test]
async fn nothing_is_asked_before_the_stream_is_and_nothing_after_it_is_dropped() {
    let arm = Arm::start().await;
    let mut stream = arm.client.follow(&upgrading(&arm));
    assert!(arm.requests().await.is_empty());
    arm.status("/op/1", ok(&json!({"status": "InProgress"}))).await;
    assert_eq!(told(&stream.next().await.unwrap()), "running");
    drop(stream);
    assert_eq!(arm.requests().await.len(), 1);
}

#[tokio::test]
async fn a_stream_that_is_refused_says_so_and_ends() {
    let arm = Arm::start().await;
    arm.status("/op/1", answer(403, &json!({"error": {"code": "AuthorizationFailed"}}))).await;
    let items: Vec<_> = arm.client.follow(&upgrading(&arm)).collect().await;
    assert_eq!(items.iter().map(told).collect::<Vec<_>>(), ["lost: forbidden, final, known"], "§9");
    assert!(items[0].is_last());
}

#[tokio::test]
async fn an_operation_that_failed_may_have_succeeded_a_while_later() {
    let arm = Arm::start().await;
    let operation = upgrading(&arm);
    arm.status("/op/1", ok(&failed("VMExtensionProvisioningTimeout"))).await;
    let outcome = arm.client.wait(&operation, |_| {}).await.unwrap();
    assert!(matches!(outcome, Outcome::Failed { .. }), "§2.7");
    for (state, version, expected) in [
        ("Failed", "1.35.2", "failed without a reason"),
        ("Updating", "1.35.2", "running"),
        ("Succeeded", "1.34.6", "failed ResourceDisagrees"),
        ("Succeeded", "1.35.2", "succeeded"),
    ] {
        arm.once("GET", &pool_path("user1"), ok(&pool("user1", state, version))).await;
        let found = arm.client.recheck(&operation).await.unwrap();
        assert_eq!(rendered(&found), expected, "§2.7 failed, and later {state}");
    }
}

#[tokio::test]
async fn an_operation_stored_by_one_process_is_followed_by_another() {
    let arm = Arm::start().await;
    let begun = answer(201, &pool("user1", "Creating", "1.35.2"))
        .insert_header("Azure-AsyncOperation", format!("{}/op/1?t=9&s=SIG", arm.server.uri()))
        .insert_header("Location", format!("{}/loc/1?s=SIG", arm.server.uri()))
        .insert_header("Retry-After", "12");
    arm.once("PUT", &pool_path("user1"), begun).await;
    let operation = arm.client.begin_create_pool(&id(), "user1", &json!({})).await.unwrap();
    let stored = serde_json::to_vec(&operation).unwrap();

    let restored: Operation = serde_json::from_slice(&stored).unwrap();
    assert_eq!(restored, operation, "§2.7");
    assert_eq!(restored.retry_after, Some(Duration::from_secs(12)));
    arm.status("/op/1", ok(&json!({"status": "Succeeded"}))).await;
    arm.once("GET", &pool_path("user1"), ok(&pool("user1", "Succeeded", "1.35.2"))).await;
    assert_eq!(arm.client.wait(&restored, |_| {}).await.unwrap(), Outcome::Succeeded, "§2.7");
}

#[tokio::test]
async fn a_status_that_is_not_readable_is_no_end() {
    for (pins, told) in [
        ("§2.1 a login page for a status", ResponseTemplate::new(200).set_body_raw("<html>", "text/html")),
        (
            "§2.1 a status cut short",
            ResponseTemplate::new(200).set_body_raw("{\"status\": \"Succ", "application/json"),
        ),
    ] {
        let arm = Arm::start().await;
        arm.status("/op/1", told).await;
        let error = arm.client.poll(&upgrading(&arm)).await.unwrap_err();
        assert!(matches!(error, Error::UnexpectedBody { .. }) && error.outcome_known(), "{pins}: {error:?}");
    }
}

//! One poll, every way an operation and its resource can stand to each other.

use aks_client::{OperationKind, OperationStatus, ServiceError};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::support::{Arm, answer, cluster, cluster_path, ok, operation, pool, pool_path, to};

/// Which header the operation came with.
#[derive(Clone, Copy)]
enum Url {
    Status,
    Location,
    Neither,
}

pub(crate) struct Poll {
    /// The section of the facts it pins.
    pub(crate) pins: &'static str,
    kind: OperationKind,
    url: Url,
    /// What the URL answers.
    told: Option<ResponseTemplate>,
    /// What the resource shows, where it is asked.
    shown: Option<ResponseTemplate>,
    expected: &'static str,
}

pub(crate) fn rendered(status: &OperationStatus) -> String {
    let code = |error: &ServiceError| error.code.clone().unwrap_or_else(|| "without a reason".to_owned());
    match status {
        OperationStatus::Running { percent, retry_after } => {
            let percent = percent.map(|percent| format!(" {percent}%")).unwrap_or_default();
            let wait = retry_after.map(|wait| format!(" in {} s", wait.as_secs())).unwrap_or_default();
            format!("running{percent}{wait}")
        }
        OperationStatus::Succeeded => "succeeded".to_owned(),
        OperationStatus::Failed { error } => format!("failed {}", code(error)),
        OperationStatus::Canceled { error } => format!("canceled {}", code(error)),
    }
}

pub(crate) fn upgrade() -> OperationKind {
    OperationKind::UpgradePool { to: to("1.35.2") }
}

fn status(
    pins: &'static str,
    told: ResponseTemplate,
    shown: Option<ResponseTemplate>,
    expected: &'static str,
) -> Poll {
    Poll { pins, kind: upgrade(), url: Url::Status, told: Some(told), shown, expected }
}

fn location(
    pins: &'static str,
    told: ResponseTemplate,
    shown: Option<ResponseTemplate>,
    expected: &'static str,
) -> Poll {
    Poll { pins, kind: OperationKind::DeletePool, url: Url::Location, told: Some(told), shown, expected }
}

fn resource(
    pins: &'static str,
    kind: OperationKind,
    shown: ResponseTemplate,
    expected: &'static str,
) -> Poll {
    Poll { pins, kind, url: Url::Neither, told: None, shown: Some(shown), expected }
}

pub(crate) fn failed(code: &str) -> Value {
    json!({"status": "Failed", "error": {"code": code, "message": "m"}})
}

fn at(state: &str, version: &str) -> ResponseTemplate {
    ok(&pool("user1", state, version))
}

fn keeping(error: &Value) -> ResponseTemplate {
    let mut body = pool("user1", "Failed", "1.35.2");
    body["properties"]["status"] = json!({"provisioningError": error});
    ok(&body)
}

fn status_urls() -> Vec<Poll> {
    let says = |body: &Value| ok(body);
    let progress = json!({"name": "g", "status": "InProgress", "startTime": "2026-11-24T08:00:00Z", "percentComplete": 41.9});
    vec![
        status(
            "§2.1 status in progress",
            says(&progress).insert_header("Retry-After", "10"),
            None,
            "running 41% in 10 s",
        ),
        status(
            "§2.1 Retry-After as a date",
            says(&json!({"status": "InProgress"}))
                .insert_header("Retry-After", "Tue, 24 Nov 2026 08:00:25 GMT")
                .insert_header("Date", "Tue, 24 Nov 2026 08:00:00 GMT"),
            None,
            "running in 25 s",
        ),
        status(
            "§2.1 Retry-After as a date, the server's clock five minutes off",
            says(&json!({"status": "InProgress"}))
                .insert_header("Retry-After", "Tue, 24 Nov 2026 07:55:25 GMT")
                .insert_header("Date", "Tue, 24 Nov 2026 07:55:00 GMT"),
            None,
            "running in 25 s",
        ),
        status(
            "§2.1 Retry-After that is nonsense",
            says(&json!({"status": "InProgress"})).insert_header("Retry-After", "soon"),
            None,
            "running",
        ),
        status("§2.1 unknown status", says(&json!({"status": "Validating"})), None, "running"),
        status(
            "§2.1 status in other case",
            says(&json!({"status": "inprogress", "percentComplete": 100})),
            None,
            "running 100%",
        ),
        status(
            "§2.1 percentage out of range",
            says(&json!({"status": "InProgress", "percentComplete": -3})),
            None,
            "running 0%",
        ),
        status(
            "§2.1 percentage that is text",
            says(&json!({"status": "InProgress", "percentComplete": "50"})),
            None,
            "running",
        ),
        status(
            "§2.1 provisioningState instead of status",
            says(&json!({"properties": {"provisioningState": "Upgrading"}})),
            None,
            "running",
        ),
        status("§2.1 202 without a body", ResponseTemplate::new(202), None, "running"),
        status("§2.1 Failed", says(&failed("SubnetIsFull")), None, "failed SubnetIsFull"),
        status("§2.1 FAILED", says(&json!({"status": "FAILED", "error": {"code": "X"}})), None, "failed X"),
        status(
            "§2.1 Canceled",
            says(&json!({"status": "Canceled", "error": {"code": "X"}})),
            None,
            "canceled X",
        ),
        status(
            "§2.1 Cancelled",
            says(&json!({"status": "Cancelled", "error": {"code": "X"}})),
            None,
            "canceled X",
        ),
        status(
            "§2.1 Failed without a reason, the resource keeps one",
            says(&json!({"status": "Failed"})),
            Some(keeping(&json!({"code": "ZonalAllocationFailed"}))),
            "failed ZonalAllocationFailed",
        ),
        status(
            "§2.1 Failed without a reason, nor the resource",
            says(&json!({"status": "Failed", "error": null})),
            Some(at("Failed", "1.35.2")),
            "failed without a reason",
        ),
        status(
            "§2.1 Failed without a reason, the resource unreadable",
            says(&json!({"status": "Failed"})),
            Some(answer(403, &json!({}))),
            "failed without a reason",
        ),
        status(
            "§2.1 Succeeded, and the resource agrees",
            says(&json!({"status": "Succeeded"})),
            Some(at("Succeeded", "1.35.2")),
            "succeeded",
        ),
        status(
            "§2.7 Succeeded, the pool on the old version",
            says(&json!({"status": "Succeeded"})),
            Some(at("Succeeded", "1.34.6")),
            "failed ResourceDisagrees",
        ),
        status(
            "§2.7 Succeeded, the pool still busy",
            says(&json!({"status": "Succeeded"})),
            Some(at("Upgrading", "1.35.2")),
            "running",
        ),
        status(
            "§2.7 Succeeded, the pool Failed",
            says(&json!({"status": "Succeeded"})),
            Some(keeping(&json!({"code": "X"}))),
            "failed X",
        ),
        status(
            "§2.7 Succeeded, the pool gone",
            says(&json!({"status": "Succeeded"})),
            Some(answer(404, &json!({}))),
            "failed ResourceDisagrees",
        ),
        status(
            "§2.1 URL vanished, the resource runs",
            answer(404, &json!({"code": "NotFound"})),
            Some(at("Upgrading", "1.35.2")),
            "running",
        ),
        status(
            "§2.1 URL vanished, the resource is done",
            answer(404, &json!({})),
            Some(at("Succeeded", "1.35.2")),
            "succeeded",
        ),
        status(
            "§2.1 URL vanished, the resource failed",
            answer(404, &json!({})),
            Some(keeping(&json!({"error": {"code": "X"}}))),
            "failed X",
        ),
        status(
            "§2.1 URL gone for good",
            answer(410, &json!({})),
            Some(at("Canceled", "1.34.6")),
            "canceled without a reason",
        ),
        status(
            "§1.2 headers named the other way round",
            ResponseTemplate::new(200),
            Some(at("Succeeded", "1.35.2")),
            "succeeded",
        ),
        status(
            "§2.4 preempted by another actor",
            says(&failed("AKSOperationPreempted")),
            None,
            "failed AKSOperationPreempted",
        ),
    ]
}

/// The codes of a failed operation: all of them arrive with their code, however they are wrapped.
fn failures() -> Vec<Poll> {
    [
        ("§10 drain blocked by a budget", "UpgradeFailed", "failed UpgradeFailed"),
        ("§10 drain, the older name", "PodDrainFailure", "failed PodDrainFailure"),
        ("§6.3 subnet full", "SubnetIsFull", "failed SubnetIsFull"),
        ("§6.1 quota during the operation", "QuotaExceeded", "failed QuotaExceeded"),
        ("§10 capacity of a zone", "ZonalAllocationFailed", "failed ZonalAllocationFailed"),
        ("§10 capacity", "AllocationFailed", "failed AllocationFailed"),
        ("§10 constraints", "OverconstrainedAllocationRequest", "failed OverconstrainedAllocationRequest"),
        ("§10 no way out", "VMExtensionError_OutboundConnFail", "failed VMExtensionError_OutboundConnFail"),
        ("§10 nodes not ready", "NodesNotReady", "failed NodesNotReady"),
        ("§10 add-ons not ready", "ControlPlaneAddOnsNotReady", "failed ControlPlaneAddOnsNotReady"),
        ("§4.3 uncordon failed", "UncordonNodeFailure", "failed UncordonNodeFailure"),
        ("§10 preempted", "OperationPreempted", "failed OperationPreempted"),
        (
            "§2.5 compute throttled inside",
            "SubscriptionRequestsThrottled",
            "failed SubscriptionRequestsThrottled",
        ),
    ]
    .into_iter()
    .map(|(pins, code, expected)| status(pins, ok(&failed(code)), None, expected))
    .collect()
}

fn locations() -> Vec<Poll> {
    vec![
        location(
            "§2.1 Location, 202",
            ResponseTemplate::new(202).insert_header("Retry-After", "20"),
            None,
            "running in 20 s",
        ),
        location(
            "§2.1 Location, 204",
            ResponseTemplate::new(204),
            Some(answer(404, &json!({}))),
            "succeeded",
        ),
        location(
            "§2.1 Location, 200",
            ResponseTemplate::new(200),
            Some(answer(404, &json!({}))),
            "succeeded",
        ),
        location(
            "§2.1 Location, done and the pool still there",
            ResponseTemplate::new(204),
            Some(at("Succeeded", "1.34.6")),
            "failed ResourceDisagrees",
        ),
        location(
            "§2.1 Location, the result is a refusal",
            answer(409, &json!({"code": "PodDrainFailure"})),
            None,
            "failed PodDrainFailure",
        ),
        location(
            "§2.1 Location, a flat refusal",
            answer(400, &json!({"code": "X", "subcode": "Y", "message": "m"})),
            None,
            "failed X",
        ),
        location(
            "§2.1 Location with a status document",
            ok(&json!({"status": "InProgress"})),
            None,
            "running",
        ),
        location("§2.1 Location gone", answer(404, &json!({})), Some(at("Deleting", "1.34.6")), "running"),
    ]
}

fn resources() -> Vec<Poll> {
    let control_plane = || OperationKind::UpgradeControlPlane { to: to("1.35.2") };
    vec![
        resource(
            "§1.3 control plane there",
            control_plane(),
            ok(&cluster("Succeeded", "1.35.2")),
            "succeeded",
        ),
        resource(
            "§1.3 control plane on the old version",
            control_plane(),
            ok(&cluster("Succeeded", "1.34.6")),
            "failed ResourceDisagrees",
        ),
        resource(
            "§2.2 control plane in an unknown state",
            control_plane(),
            ok(&cluster("Migrating", "1.35.2")),
            "running",
        ),
        resource(
            "§2.2 state in other case",
            upgrade(),
            ok(&pool("user1", "succeeded", "1.35.2")),
            "succeeded",
        ),
        resource(
            "§2.1 no state at all is finished",
            upgrade(),
            ok(&json!({"name": "user1", "properties":
            {"currentOrchestratorVersion": "1.35.2"}})),
            "succeeded",
        ),
        resource(
            "§3.3 created",
            OperationKind::CreatePool,
            ok(&pool("user1", "Succeeded", "1.35.2")),
            "succeeded",
        ),
        resource(
            "§3.3 201 was not ready: Failed, no machines",
            OperationKind::CreatePool,
            ok(&pool("user1", "Failed", "1.35.2")),
            "failed without a reason",
        ),
        resource(
            "§3.3 created and gone",
            OperationKind::CreatePool,
            answer(404, &json!({})),
            "failed ResourceDisagrees",
        ),
        resource(
            "§3.4 deleting",
            OperationKind::DeletePool,
            ok(&pool("user1", "Deleting", "1.34.6")),
            "running",
        ),
        resource(
            "§3.4 deletion failed",
            OperationKind::DeletePool,
            ok(&pool("user1", "Failed", "1.34.6")),
            "failed without a reason",
        ),
        resource("§3.4 deleted", OperationKind::DeletePool, answer(404, &json!({})), "succeeded"),
        resource(
            "§2.2 node image under way",
            OperationKind::UpgradeNodeImage,
            ok(&pool("user1", "UpgradingNodeImageVersion", "1.34.6")),
            "running",
        ),
        resource(
            "§1.2 node image done",
            OperationKind::UpgradeNodeImage,
            ok(&pool("user1", "Succeeded", "1.34.6")),
            "succeeded",
        ),
        resource(
            "§1.2 abort under way",
            OperationKind::AbortPool,
            ok(&pool("user1", "Canceling", "1.34.6")),
            "running",
        ),
        resource(
            "§1.2 aborted",
            OperationKind::AbortPool,
            ok(&pool("user1", "Canceled", "1.34.6")),
            "succeeded",
        ),
        resource(
            "§1.2 aborted on a cluster",
            OperationKind::AbortCluster,
            ok(&cluster("Canceled", "1.34.6")),
            "succeeded",
        ),
    ]
}

pub(crate) fn all() -> Vec<Poll> {
    [status_urls(), failures(), locations(), resources()].into_iter().flatten().collect()
}

#[tokio::test]
async fn every_poll_finds_what_operation_and_resource_say_together() {
    for case in all() {
        let arm = Arm::start().await;
        let on_cluster =
            matches!(case.kind, OperationKind::UpgradeControlPlane { .. } | OperationKind::AbortCluster);
        let mut operation = operation(case.kind);
        match case.url {
            Url::Status => operation.azure_async_operation = Some(arm.url("/op/1?t=9&s=SIG")),
            Url::Location => operation.location = Some(arm.url("/op/1?t=9&s=SIG")),
            Url::Neither => {}
        }
        if let Some(told) = case.told {
            arm.status("/op/1", told).await;
        }
        if let Some(shown) = case.shown {
            let path = if on_cluster { cluster_path() } else { pool_path("user1") };
            arm.once("GET", &path, shown).await;
        }
        let found = rendered(&arm.client.poll(&operation).await.unwrap());
        assert_eq!(found, case.expected, "{}", case.pins);
    }
}

//! Every way the service says no, over the wire: what the caller is told, and whether it may try again.

use std::time::Duration;

use aks_client::Error;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::support::{Arm, answer, cluster_path, describe, id, pool_path};

/// One refusal of a write.
pub(crate) struct Refusal {
    /// The section of the facts it pins.
    pub(crate) pins: &'static str,
    status: u16,
    body: Value,
    /// As [`describe`] tells it.
    expected: &'static str,
}

fn refusal(pins: &'static str, status: u16, body: Value, expected: &'static str) -> Refusal {
    Refusal { pins, status, body, expected }
}

fn arm(code: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message}})
}

fn flat(code: &str, message: &str) -> Value {
    json!({"code": code, "details": null, "message": message, "subcode": ""})
}

const CONFLICT: &str = "conflict, retry, known";
const FINAL: &str = "api, final, known";
const NOT_ALLOWED: &str = "not allowed, final, known";
const THROTTLED: &str = "throttled, retry, known";
const FORBIDDEN: &str = "forbidden, final, known";

fn linked(action: &str) -> String {
    format!(
        "The client 'c' with object id 'o' has permission to perform action \
         'Microsoft.ContainerService/managedClusters/agentPools/write' on scope '/subscriptions/s/pool'; however, it \
         does not have permission to perform action(s) '{action}' on the linked scope(s) '/subscriptions/s/subnet' \
         (respectively) or the linked scope(s) are invalid."
    )
}

fn envelopes() -> Vec<Refusal> {
    vec![
        refusal("§2.3 ARM envelope", 400, arm("BadRequest", "no"), FINAL),
        refusal("§2.3 flat envelope", 400, flat("BadRequest", "no"), FINAL),
        refusal(
            "§2.3 subcode",
            400,
            json!({"code": "ValidationError", "subcode": "UpgradeBlockedOnDeprecatedAPIUsage", "message": "m"}),
            FINAL,
        ),
        refusal(
            "§2.3 nested details",
            409,
            json!({"error": {"code": "BadRequest", "message": "m", "details": [
                {"code": "x", "details": [{"code": "OperationNotAllowed",
                    "message": "Another operation (Updating) is in progress"}]}]}}),
            CONFLICT,
        ),
        refusal(
            "§2.3 code in the message",
            400,
            arm(
                "BadRequest",
                "failed: Code=\"OperationNotAllowed\" Message=\"Another operation is in progress\"",
            ),
            CONFLICT,
        ),
        refusal(
            "§2.3 SubCode in the message",
            409,
            flat("ReconcileFailed", "SubCode: EtagMismatch. Etag mismatched"),
            "etag, retry, known",
        ),
        refusal("§2.3 capital members", 400, json!({"Code": "BadRequest", "Message": "no"}), FINAL),
        refusal("§2.3 no envelope", 400, json!("no"), FINAL),
        refusal("§2.3 an error that is text", 400, json!({"error": "no", "message": "m"}), FINAL),
    ]
}

fn conflicts() -> Vec<Refusal> {
    let busy = |message: &str| flat("OperationNotAllowed", message);
    vec![
        refusal(
            "§2.4 another operation",
            409,
            busy("Operation is not allowed: Another operation (Updating) is in progress, please wait"),
            CONFLICT,
        ),
        refusal(
            "§2.4 another operation on a pool",
            409,
            busy("Operation is not allowed: Another operation (nodepool1 - Updating) is in progress"),
            CONFLICT,
        ),
        refusal(
            "§2.4 another agentpool operation",
            409,
            busy("Another agentpool operation (x - Creating) is in progress"),
            CONFLICT,
        ),
        refusal(
            "§2.4 cluster blocked by a pool",
            409,
            busy(
                "Managed Cluster operation is not allowed: Another operation (x) is in progress on agent pool (p)",
            ),
            CONFLICT,
        ),
        refusal(
            "§2.4 deletion under way",
            409,
            busy("Unable to perform 'Scaling' operation on 'p' since deletion was issued"),
            CONFLICT,
        ),
        refusal(
            "§2.4 the network's name for it",
            409,
            arm(
                "AnotherOperationInProgress",
                "Another operation on this or dependent resource is in progress.",
            ),
            CONFLICT,
        ),
        refusal("§2.4 plain conflict", 409, arm("Conflict", "busy"), CONFLICT),
        refusal(
            "§2.4 EtagMismatch by the service itself",
            409,
            json!({"error": {"code": "EtagMismatch", "message": "Operation is not allowed: Another operation is in \
                progress", "details": [{"message": "rpc error: code = FailedPrecondition desc = Etag mismatched"}]}}),
            "etag, retry, known",
        ),
        refusal(
            "§2.4 version not allowed",
            409,
            busy(
                "Upgrading Kubernetes version 1.24.9 to 1.26.6 is not allowed. Available upgrades: [1.25.5]",
            ),
            NOT_ALLOWED,
        ),
        refusal(
            "§2.4 quota under OperationNotAllowed",
            409,
            busy(
                "Operation results in exceeding quota limits of Core. Maximum allowed: 10, Current in use: 8",
            ),
            NOT_ALLOWED,
        ),
        refusal(
            "§2.4 version and count in one PUT",
            400,
            busy("Updating Kubernetes version and agent node scaling are mutually exclusive operations"),
            NOT_ALLOWED,
        ),
        refusal(
            "§2.4 create-only PUT on a pool that is there",
            412,
            arm("PreconditionFailed", "m"),
            "exists, final, known",
        ),
        refusal("§2.4 both conditions at once", 400, arm("BadRequest", "If-Match and If-None-Match"), FINAL),
        refusal(
            "§2.5 429 that is a lock",
            429,
            arm("RetryableErrorDueToAnotherOperation", "locked"),
            CONFLICT,
        ),
    ]
}

fn throttles() -> Vec<Refusal> {
    [
        "Throttled",
        "TooManyRequests",
        "SubscriptionRequestsThrottled",
        "TooManyRequestsReceived",
        "AKSRequestsThrottled",
    ]
    .into_iter()
    .map(|code| {
        refusal(
            "§2.5 429",
            429,
            flat(
                code,
                "The PutAgentPoolHandler.PUT request limit has been exceeded, retry again in 7 seconds",
            ),
            THROTTLED,
        )
    })
    .collect()
}

fn authorization() -> Vec<Refusal> {
    let direct = "The client 'c' with object id 'o' does not have authorization to perform action \
        'Microsoft.ContainerService/managedClusters/agentPools/write' over scope '/subscriptions/s/pool' or the scope \
        is invalid. If access was recently granted, please refresh your credentials.";
    vec![
        refusal(
            "§9 AuthorizationFailed",
            403,
            arm("AuthorizationFailed", direct),
            "forbidden, final, known, missing Microsoft.ContainerService/managedClusters/agentPools/write on \
             /subscriptions/s/pool",
        ),
        refusal(
            "§9 LinkedAuthorizationFailed, subnet",
            403,
            flat(
                "LinkedAuthorizationFailed",
                &linked("Microsoft.Network/virtualNetworks/subnets/join/action"),
            ),
            "forbidden, final, known, missing Microsoft.Network/virtualNetworks/subnets/join/action on \
             /subscriptions/s/subnet",
        ),
        refusal(
            "§9 LinkedAuthorizationFailed, identity",
            403,
            arm(
                "LinkedAuthorizationFailed",
                &linked("Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"),
            ),
            "forbidden, final, known, missing Microsoft.ManagedIdentity/userAssignedIdentities/assign/action on \
             /subscriptions/s/subnet",
        ),
        refusal(
            "§9 missing action in a detail",
            403,
            json!({"error": {"code": "Forbidden", "message": "see details", "details": [{"message": direct}]}}),
            "forbidden, final, known, missing Microsoft.ContainerService/managedClusters/agentPools/write on \
             /subscriptions/s/pool",
        ),
        refusal("§9 a refusal that names nothing", 403, arm("AuthorizationFailed", "no"), FORBIDDEN),
        refusal(
            "§10 RequestDisallowedByPolicy",
            403,
            arm("RequestDisallowedByPolicy", "policy 'tags'"),
            FORBIDDEN,
        ),
        refusal(
            "§10 CustomRouteTableMissingPermission",
            400,
            flat("CustomRouteTableMissingPermission", "m"),
            FINAL,
        ),
    ]
}

fn final_codes() -> Vec<Refusal> {
    [
        ("§1.3 pools not all specified", 400, "NotAllAgentPoolOrchestratorVersionSpecifiedAndUnchanged"),
        ("§4.3 budget that allows nothing", 400, "UnsatisfiablePDB"),
        ("§5 unsupported version", 400, "K8sVersionNotSupported"),
        ("§5 unsupported version of a pool", 400, "AgentPoolK8sVersionNotSupported"),
        ("§5 skew", 400, "NodePoolMcVersionIncompatible"),
        ("§5 pool version path", 400, "AgentPoolUpgradeVersionNotAllowed"),
        ("§3.1 spot pool in a full upgrade", 400, "SpotPoolUpgradeNotAllowedDuringClusterUpgradeAll"),
        ("§3.1 image pinned", 400, "InvalidParameter"),
        ("§3.1 last system pool", 400, "MustDefineAtLeastOneSystemPool"),
        ("§3.1 system pool's taint", 400, "SystemPoolHasRestrictedTaint"),
        ("§3.1 OS no longer offered", 400, "InvalidOSSKU"),
        ("§3.2 too many pools", 400, "MaxAgentPoolCountReached"),
        ("§3.2 Windows name", 400, "WindowsAgentPoolNameTooLong"),
        ("§6.1 quota", 400, "QuotaExceeded"),
        ("§6.2 size not available", 400, "SKUNotAvailable"),
        ("§6.3 subnet too small", 400, "InsufficientSubnetSize"),
        ("§6.3 pod range too small", 400, "InsufficientPodCidr"),
        ("§6.3 delegated subnet", 400, "SubnetIsDelegated"),
        ("§6.4 outbound ports", 400, "InvalidLoadBalancerProfileAllocatedOutboundPorts"),
        ("§6.6 lock on the group", 409, "ScopeLocked"),
        ("§6.6 lock on the node group", 409, "ResourceGroupLocked"),
        ("§10 network not ready", 400, "VirtualNetworkNotInSucceededState"),
        ("§10 secret expired", 400, "InvalidClientSecret"),
        ("§10 principal gone", 400, "ServicePrincipalNotFound"),
    ]
    .into_iter()
    .map(|(pins, status, code)| refusal(pins, status, flat(code, "as the service words it"), FINAL))
    .collect()
}

fn outages() -> Vec<Refusal> {
    vec![
        refusal("§2.1 500", 500, arm("InternalServerError", "m"), "api, retry, unknown"),
        refusal("§2.1 502 of a front end", 502, json!("<html>bad gateway</html>"), "api, retry, unknown"),
        refusal("§2.1 503", 503, arm("ServerBusy", "m"), "api, retry, unknown"),
        refusal("§2.1 504", 504, arm("GatewayTimeout", "m"), "api, retry, unknown"),
        refusal("§2.1 408", 408, arm("RequestTimeout", "m"), "api, retry, unknown"),
        refusal("§2.1 501", 501, arm("NotImplemented", "m"), "api, final, unknown"),
        refusal("§1.2 no such cluster", 404, arm("ResourceNotFound", "m"), "not found, final, known"),
        refusal("§1.2 gone", 410, arm("Gone", "m"), "not found, final, known"),
    ]
}

pub(crate) fn all() -> Vec<Refusal> {
    [envelopes(), conflicts(), throttles(), authorization(), final_codes(), outages()]
        .into_iter()
        .flatten()
        .collect()
}

#[tokio::test]
async fn every_refusal_of_a_write_is_told_for_what_it_is_and_sent_once() {
    for case in all() {
        let arm = Arm::start().await;
        let refused = answer(case.status, &case.body).insert_header("Retry-After", "7");
        arm.once("PUT", &pool_path("p"), refused).await;
        let error = arm.client.begin_create_pool(&id(), "p", &json!({})).await.unwrap_err();
        let told = describe(&error);
        assert_eq!(told, case.expected, "{}: {} {}", case.pins, case.status, case.body);
        if matches!(error, Error::Throttled { .. }) {
            assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        }
        let code = case.body.pointer("/error/code").or_else(|| case.body.pointer("/code"));
        if let Some(code) = code.and_then(Value::as_str) {
            assert!(error.answer().unwrap().error.mentions(code), "{}", case.pins);
            assert!(error.to_string().contains(code), "{}: {error}", case.pins);
        }
        if let Some(subcode) = case.body["subcode"].as_str().filter(|subcode| !subcode.is_empty()) {
            assert!(error.answer().unwrap().error.mentions(subcode), "{}", case.pins);
        }
        assert!(arm.waited().is_empty(), "{}: a write waits for nobody", case.pins);
    }
}

#[tokio::test]
async fn a_refused_read_is_repeated_exactly_when_that_may_help() {
    // Status, body, how many requests are made in all.
    let table = [
        ("§2.5 429 without a hint", 429, flat("Throttled", "m"), 5),
        ("§2.1 500", 500, arm("InternalServerError", "m"), 5),
        ("§2.1 502", 502, json!("<html>"), 5),
        ("§2.1 503", 503, arm("ServerBusy", "m"), 5),
        ("§2.1 504", 504, arm("GatewayTimeout", "m"), 5),
        ("§2.1 408", 408, arm("RequestTimeout", "m"), 5),
        ("§2.1 501", 501, arm("NotImplemented", "m"), 1),
        ("§2.3 400", 400, arm("BadRequest", "m"), 1),
        ("§9 403", 403, arm("AuthorizationFailed", "m"), 1),
        ("§1.2 404", 404, arm("ResourceNotFound", "m"), 1),
        ("§2.4 409", 409, arm("Conflict", "m"), 1),
        ("§8.2 401, and again with a fresh token", 401, arm("ExpiredAuthenticationToken", "m"), 2),
    ];
    for (pins, status, body, requests) in table {
        let arm = Arm::start().await;
        arm.times(requests, "GET", &cluster_path(), answer(status, &body)).await;
        let error = arm.client.cluster(&id()).await.unwrap_err();
        assert!(error.outcome_known(), "{pins}: a read changes nothing");
        assert_eq!(arm.requests().await.len() as u64, requests, "{pins}");
        let waits: &[u64] = if requests == 5 { &[1, 2, 4, 8] } else { &[] };
        assert_eq!(arm.waited(), waits, "{pins}");
    }
}

#[tokio::test]
async fn the_ids_of_the_service_are_in_every_refusal() {
    for status in [400, 401, 403, 404, 409, 412, 429, 500] {
        let arm = Arm::start().await;
        let refused = answer(status, &json!({"code": "X", "message": "m"}))
            .insert_header("x-ms-request-id", "req-7")
            .insert_header("x-ms-correlation-request-id", "cor-7");
        arm.times(if status == 401 { 2 } else { 1 }, "PUT", &pool_path("p"), refused).await;
        let error = arm.client.begin_create_pool(&id(), "p", &json!({})).await.unwrap_err();
        assert_eq!(
            (error.request_id(), error.correlation_id()),
            (Some("req-7"), Some("cor-7")),
            "§2.6 {status}"
        );
    }
}

#[tokio::test]
async fn an_empty_refusal_is_still_a_refusal() {
    let arm = Arm::start().await;
    arm.once("PUT", &pool_path("p"), ResponseTemplate::new(400)).await;
    let error = arm.client.begin_create_pool(&id(), "p", &json!({})).await.unwrap_err();
    assert_eq!(describe(&error), FINAL);
    assert!(error.to_string().contains("no explanation given"), "{error}");
}

//! Answers without success: of Rancher's own API, and on the Kubernetes proxy.

use http::StatusCode;
use rancher_client::ProxyFailure;
use wiremock::ResponseTemplate;

use crate::support::{CLUSTER, Case, LIST, Rancher, VERSION, case, id};

const MUST: &str = r#"{"type":"error","status":"401","message":"Unauthorized 401: must authenticate"}"#;
const MUST_NUMBER: &str = r#"{"type":"error","status":401,"message":"Unauthorized 401: must authenticate"}"#;

type Header = (&'static str, &'static str);
const GOOD: Header = ("x-api-cattle-auth", "true");
const BAD: Header = ("x-api-cattle-auth", "false");
const JSON: Header = ("content-type", "application/json");
const TEXT: Header = ("content-type", "text/plain; charset=utf-8");
const HTML: Header = ("content-type", "text/html");

fn answer(status: u16, headers: &[Header], body: &str) -> ResponseTemplate {
    let kind = headers.iter().find(|(name, _)| *name == "content-type").map_or("", |(_, kind)| kind);
    let answer = ResponseTemplate::new(status).set_body_raw(body.to_owned(), kind);
    let others = headers.iter().filter(|(name, _)| *name != "content-type");
    others.fold(answer, |answer, (name, value)| answer.insert_header(*name, *value))
}

fn norman(status: u16, code: &str, message: &str) -> String {
    serde_json::json!({"type": "error", "baseType": "error", "status": status, "code": code, "message": message})
        .to_string()
}

/// Section, what it is, status, headers, body, whether a list was asked for (else one cluster), how it is read,
/// whether the outcome is known, whether the same may succeed later.
type ApiRow = (&'static str, &'static str, u16, Vec<Header>, String, bool, &'static str, bool, bool);

fn api_rows() -> Vec<ApiRow> {
    let rejected = "TokenRejected { token: \"token-7x2kp\"";
    vec![
        ("§1.5", "a bad token", 401, vec![JSON, BAD], MUST.into(), false, rejected, true, false),
        (
            "§1.5",
            "a bad token, status as a number",
            401,
            vec![JSON, BAD],
            MUST_NUMBER.into(),
            false,
            rejected,
            true,
            false,
        ),
        ("§1.5", "a bad token, no verdict", 401, vec![JSON], MUST.into(), true, rejected, true, false),
        (
            "§1.5",
            "a bad token, an unknown verdict",
            401,
            vec![("x-api-cattle-auth", "maybe")],
            MUST.into(),
            true,
            rejected,
            true,
            false,
        ),
        ("§1.5", "a bad token, no body", 401, vec![BAD], String::new(), false, rejected, true, false),
        (
            "§1.2",
            "a scoped token on the list",
            401,
            vec![JSON, GOOD],
            MUST.into(),
            true,
            "ScopedToken",
            true,
            false,
        ),
        (
            "§1.5",
            "no permission in the cluster, as 401",
            401,
            vec![JSON, GOOD],
            MUST.into(),
            false,
            "PermissionDenied",
            true,
            false,
        ),
        (
            "§1.5",
            "the impersonation filter",
            403,
            vec![TEXT, GOOD],
            "not allowed to impersonate user".into(),
            false,
            "PermissionDenied",
            true,
            false,
        ),
        (
            "§1.5",
            "norman denies, Kubernetes' reason",
            403,
            vec![JSON, GOOD],
            norman(403, "Forbidden", "clusters is forbidden"),
            false,
            "PermissionDenied",
            true,
            false,
        ),
        (
            "§1.6",
            "norman denies",
            403,
            vec![JSON],
            norman(403, "PermissionDenied", "no"),
            true,
            "PermissionDenied",
            true,
            false,
        ),
        (
            "§1.6",
            "not found, or hidden",
            404,
            vec![JSON],
            norman(404, "NotFound", "gone"),
            false,
            "NotFound { subject: \"cluster c-x7k2p\" }",
            true,
            false,
        ),
        (
            "§1.6",
            "an action that is not there",
            404,
            vec![JSON],
            norman(404, "ActionNotAvailable", "x"),
            false,
            "NotFound",
            true,
            false,
        ),
        (
            "§1.6",
            "a method that is not allowed",
            405,
            vec![JSON],
            norman(405, "MethodNotAllow", "x"),
            false,
            "Api",
            true,
            false,
        ),
        ("§1.6", "a conflict", 409, vec![JSON], norman(409, "Conflict", "x"), false, "Api", true, false),
        (
            "§1.6",
            "invalid",
            422,
            vec![JSON],
            norman(422, "InvalidBodyContent", "x"),
            false,
            "Api",
            true,
            false,
        ),
        (
            "§1.7",
            "taken for a browser",
            422,
            vec![JSON],
            norman(422, "InvalidCSRFToken", "x"),
            false,
            "Api { operation: \"read cluster c-x7k2p\", status: 422, code: Some(\"InvalidCSRFToken\")",
            true,
            false,
        ),
        (
            "§1.6",
            "a code nobody has heard of",
            422,
            vec![JSON],
            norman(422, "BrandNew", "x"),
            false,
            "Api { operation: \"read cluster c-x7k2p\", status: 422, code: Some(\"BrandNew\")",
            true,
            false,
        ),
        (
            "§1.6",
            "no code at all",
            422,
            vec![JSON],
            r#"{"type":"error","status":"422","message":"x"}"#.into(),
            false,
            "Api { operation: \"read cluster c-x7k2p\", status: 422, code: None",
            true,
            false,
        ),
        (
            "§1.6",
            "broken",
            500,
            vec![JSON],
            norman(500, "ServerError", "etcdserver: leader changed"),
            false,
            "Api",
            false,
            true,
        ),
        (
            "§1.6",
            "not available",
            503,
            vec![JSON],
            norman(503, "ClusterUnavailable", "x"),
            false,
            "Api",
            false,
            true,
        ),
        (
            "§1.5",
            "expired, should the filter ever let it through",
            410,
            vec![JSON],
            norman(410, "Gone", "expired"),
            false,
            "Api",
            true,
            false,
        ),
        (
            "§8",
            "Steve's own error",
            404,
            vec![JSON],
            r#"{"type":"error","status":404,"code":"NotFound","message":"x"}"#.into(),
            false,
            "NotFound",
            true,
            false,
        ),
        (
            "§3.5 g",
            "an ingress says 404",
            404,
            vec![HTML],
            "<h1>404 Not Found</h1>".into(),
            false,
            "Gateway",
            true,
            false,
        ),
        (
            "§3.5 g",
            "an ingress says 404 in plain text",
            404,
            vec![TEXT],
            "default backend - 404".into(),
            false,
            "Gateway",
            true,
            false,
        ),
        (
            "§3.5 g",
            "an ingress says 502",
            502,
            vec![HTML],
            "<h1>502</h1>".into(),
            true,
            "Gateway",
            false,
            true,
        ),
        (
            "§3.5 g",
            "an ingress says 503",
            503,
            vec![TEXT],
            "no healthy upstream".into(),
            true,
            "Gateway",
            false,
            true,
        ),
        (
            "§3.5 g",
            "an ingress says 504",
            504,
            vec![HTML],
            "<h1>504</h1>".into(),
            true,
            "Gateway",
            false,
            true,
        ),
        (
            "§3.6",
            "somebody asks for a pause",
            429,
            vec![TEXT, ("retry-after", "7")],
            "slow down".into(),
            true,
            "RateLimited { operation: \"list clusters\", retry_after: Some(7s) }",
            true,
            true,
        ),
    ]
}

async fn api(row: ApiRow) {
    let (_, _, status, headers, body, list, reading, known, retryable) = row;
    let at = if list { LIST } else { CLUSTER };
    let rancher = Rancher::with(at, answer(status, &headers, &body)).await;
    let client = rancher.client();
    let result =
        if list { client.clusters().await.map(|_| ()) } else { client.cluster(&id()).await.map(|_| ()) };
    let error = result.unwrap_err();
    assert!(format!("{error:?}").starts_with(reading), "{error:?}");
    assert_eq!((error.outcome_known(), error.is_retryable()), (known, retryable), "{error:?}");
}

fn router(status: u16, code: &str, message: &str) -> String {
    serde_json::json!({"Code": {"Code": code, "Status": status}, "Message": message, "Cause": null, "FieldName": ""})
        .to_string()
}

fn kube(code: u16, reason: &str, message: &str, details: &serde_json::Value) -> String {
    serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message, "details": details})
    .to_string()
}

/// As [`ApiRow`], without the list.
type ProxyRow = (&'static str, &'static str, u16, Vec<Header>, String, &'static str, bool, bool);

fn proxy_rows() -> Vec<ProxyRow> {
    let reach = |what: &str| format!("error trying to reach service: {what}");
    let none = serde_json::Value::Null;
    let causes = |reason: &str| serde_json::json!({"causes": [{"reason": reason, "message": "x"}]});
    vec![
        (
            "§3.5 a",
            "Kubernetes: not found",
            404,
            vec![JSON],
            kube(404, "NotFound", "pods \"x\" not found", &none),
            "Kubernetes(KubeStatus { code: 404, reason: \"NotFound\"",
            true,
            false,
        ),
        (
            "§3.5 a",
            "Kubernetes: forbidden",
            403,
            vec![JSON],
            kube(403, "Forbidden", "x", &none),
            "Kubernetes",
            true,
            false,
        ),
        (
            "§3.5 a",
            "Kubernetes: conflict",
            409,
            vec![JSON],
            kube(409, "Conflict", "uid", &none),
            "Kubernetes",
            true,
            false,
        ),
        (
            "§3.5 a",
            "Kubernetes: a disruption budget",
            429,
            vec![JSON],
            kube(429, "TooManyRequests", "Cannot evict", &causes("DisruptionBudget")),
            "Kubernetes",
            true,
            true,
        ),
        (
            "§3.5 a",
            "Kubernetes: too busy",
            429,
            vec![JSON, ("retry-after", "1")],
            kube(429, "TooManyRequests", "x", &none),
            "Kubernetes",
            true,
            true,
        ),
        (
            "§3.5 a",
            "Kubernetes: expired",
            410,
            vec![JSON],
            kube(410, "Expired", "too old resource version", &none),
            "Kubernetes",
            true,
            false,
        ),
        (
            "§3.5 a",
            "Kubernetes: internal",
            500,
            vec![JSON],
            kube(500, "InternalError", "x", &none),
            "Kubernetes",
            false,
            true,
        ),
        (
            "§3.5 a",
            "Kubernetes: etcd",
            500,
            vec![JSON],
            kube(500, "", "etcdserver: request timed out", &none),
            "Kubernetes",
            false,
            true,
        ),
        (
            "§3.5 a",
            "Kubernetes: several budgets",
            500,
            vec![JSON],
            kube(500, "", "This pod has more than one PodDisruptionBudget", &none),
            "Kubernetes",
            true,
            false,
        ),
        (
            "§3.5 a",
            "Kubernetes: a webhook's odd details",
            400,
            vec![JSON],
            kube(400, "Invalid", "no", &serde_json::json!({"causes": "x", "retryAfterSeconds": "soon"})),
            "Kubernetes(KubeStatus { code: 400",
            true,
            false,
        ),
        (
            "§3.5 a",
            "Kubernetes: timeout",
            504,
            vec![JSON],
            kube(504, "Timeout", "x", &causes("ResourceVersionTooLarge")),
            "Kubernetes",
            false,
            true,
        ),
        ("§3.5 b", "a bad token", 401, vec![JSON, BAD], MUST.into(), "TokenRejected", true, false),
        (
            "§3.5 b",
            "a bad token, status as a number",
            401,
            vec![JSON, BAD],
            MUST_NUMBER.into(),
            "TokenRejected",
            true,
            false,
        ),
        ("§3.5 b", "a good token", 401, vec![JSON, GOOD], MUST.into(), "Denied", true, false),
        (
            "§3.5 c",
            "no such cluster",
            404,
            vec![TEXT],
            router(404, "NotFound", "No cluster available"),
            "Router { status: 404, code: \"NotFound\", message: \"No cluster available\" }",
            true,
            false,
        ),
        (
            "§3.5 c",
            "not provisioned",
            503,
            vec![TEXT],
            router(503, "ClusterUnavailable", "cluster not provisioned"),
            "Router { status: 503",
            true,
            true,
        ),
        (
            "§3.5 c",
            "no access",
            403,
            vec![TEXT],
            router(403, "Forbidden", "clusters is forbidden"),
            "Denied",
            true,
            false,
        ),
        (
            "§3.5 c",
            "the router broke",
            500,
            vec![TEXT],
            router(500, "ServerError", "x"),
            "Router { status: 500",
            false,
            false,
        ),
        (
            "§3.5 d",
            "the agent is gone",
            500,
            vec![TEXT],
            reach("cluster agent disconnected"),
            "Rancher { status: 500, trouble: AgentDisconnected",
            false,
            true,
        ),
        (
            "§3.4",
            "no session",
            500,
            vec![TEXT],
            "lost connection to cluster: failed to find Session for client stv-cluster-c-x7k2p".into(),
            "Rancher { status: 500, trouble: AgentDisconnected",
            false,
            true,
        ),
        (
            "§3.5 d",
            "a timeout",
            500,
            vec![TEXT],
            reach("dial tcp 10.0.0.1:443: i/o timeout"),
            "Rancher { status: 500, trouble: Timeout",
            false,
            true,
        ),
        (
            "§3.5 d",
            "a TLS handshake",
            500,
            vec![],
            reach("net/http: TLS handshake timeout"),
            "Rancher { status: 500, trouble: Timeout",
            false,
            true,
        ),
        (
            "§3.5 d",
            "an end",
            500,
            vec![],
            reach("EOF"),
            "Rancher { status: 500, trouble: ConnectionBroken",
            false,
            true,
        ),
        (
            "§3.5 d",
            "a reset",
            500,
            vec![TEXT],
            reach("read tcp: connection reset by peer"),
            "Rancher { status: 500, trouble: ConnectionBroken",
            false,
            true,
        ),
        (
            "§3.1",
            "no impersonator yet",
            500,
            vec![TEXT],
            "unable to create impersonator account: ClusterUnavailable 503: EOF".into(),
            "Rancher { status: 500, trouble: Impersonation",
            true,
            true,
        ),
        (
            "§3.5 d",
            "words nobody has heard of",
            500,
            vec![TEXT],
            "something new".into(),
            "Rancher { status: 500, trouble: Other",
            false,
            false,
        ),
        (
            "§3.5 e",
            "the body is too large",
            500,
            vec![TEXT],
            reach("http: request body too large"),
            "RequestTooLarge",
            true,
            false,
        ),
        ("§3.5 f", "Steve hides the cluster", 401, vec![], String::new(), "Denied", true, false),
        (
            "§3.5 f",
            "Steve hides the cluster, a good token",
            401,
            vec![GOOD],
            String::new(),
            "Denied",
            true,
            false,
        ),
        (
            "§3.1",
            "impersonation refused",
            403,
            vec![TEXT],
            "not allowed to impersonate user".into(),
            "Denied",
            true,
            false,
        ),
        ("§3.3", "exec switched off", 403, vec![TEXT], "pod-shell is disabled".into(), "Denied", true, false),
        (
            "§3.5 g",
            "a bad gateway",
            502,
            vec![HTML],
            "<h1>Bad Gateway</h1>".into(),
            "Gateway { status: 502",
            false,
            true,
        ),
        (
            "§3.5 g",
            "not available, with a pause",
            503,
            vec![HTML, ("retry-after", "3")],
            "<h1>x</h1>".into(),
            "Gateway { status: 503, retry_after: Some(3s) }",
            false,
            true,
        ),
        ("§3.5 g", "a gateway's timeout", 504, vec![], String::new(), "Gateway { status: 504", false, true),
        (
            "§3.5 g",
            "a page about 404 is not a pod that is gone",
            404,
            vec![HTML],
            "<h1>404</h1>".into(),
            "Gateway { status: 404",
            true,
            false,
        ),
        (
            "§3.5 g",
            "a page about 500",
            500,
            vec![HTML],
            "<h1>500</h1>".into(),
            "Gateway { status: 500",
            false,
            false,
        ),
        (
            "§3.6",
            "a pause before Kubernetes",
            429,
            vec![TEXT, ("retry-after", "7")],
            "slow down".into(),
            "RateLimited { retry_after: Some(7s) }",
            true,
            true,
        ),
        (
            "§3.5 a",
            "half of a Status",
            404,
            vec![JSON],
            r#"{"kind":"Status","code":404,"reason":"NotF"#.into(),
            "Unrecognised { status: 404",
            true,
            false,
        ),
        (
            "§3.5 d",
            "half of a JSON with EOF in it",
            500,
            vec![JSON],
            r#"{"message":"EOF"#.into(),
            "Unrecognised { status: 500",
            false,
            false,
        ),
        (
            "§3.5 a",
            "a Status that contradicts its own status",
            500,
            vec![JSON],
            kube(404, "NotFound", "x", &none),
            "Kubernetes(KubeStatus { code: 500",
            false,
            false,
        ),
    ]
}

async fn proxy(row: ProxyRow) {
    let (_, _, status, headers, body, reading, known, retryable) = row;
    let rancher = Rancher::with(VERSION, answer(status, &headers, &body)).await;
    let proxy = rancher.client().proxy(&id());
    let response = proxy.send(http::Request::get("/version").body(Vec::new()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::from_u16(status).unwrap());
    let failure: ProxyFailure = proxy.failure(response).await;
    assert!(format!("{failure:?}").starts_with(reading), "{failure:?}");
    assert_eq!((failure.outcome_known(), failure.is_retryable()), (known, retryable), "{failure:?}");
}

pub(crate) fn cases() -> Vec<Case> {
    let api_cases = api_rows().into_iter().map(|row| case(row.0, format!("api: {}", row.1), api(row)));
    let proxy_cases =
        proxy_rows().into_iter().map(|row| case(row.0, format!("proxy: {}", row.1), proxy(row)));
    api_cases.chain(proxy_cases).collect()
}

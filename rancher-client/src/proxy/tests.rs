use http::StatusCode;
use wiremock::matchers::{body_string, header, header_exists, method, path, query_param};
use wiremock::{Mock, ResponseTemplate};

use super::*;
use crate::testing::{Rancher, Rotating, SECRET, TOKEN, json, text};

const PODS: &str = "/k8s/clusters/c-x7k2p/api/v1/pods";

fn proxy(client: &RancherClient) -> KubernetesProxy {
    client.proxy(&RancherClusterId::parse("c-x7k2p").unwrap())
}

fn get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).unwrap()
}

fn classify(status: u16, pairs: &[(&'static str, &'static str)], body: &str) -> ProxyFailure {
    let headers = pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
    ProxyFailure::classify(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
}

#[tokio::test]
async fn a_request_reaches_its_cluster_with_our_token_and_name_and_its_own_body() {
    let rancher = Rancher::start().await;
    let mock = Mock::given(method("POST"))
        .and(path("/k8s/clusters/c-x7k2p/api/v1/namespaces/pay/pods/ledger-0/eviction"))
        .and(query_param("dryRun", "All"))
        .and(header("authorization", format!("Bearer {TOKEN}").as_str()))
        .and(header("user-agent", crate::USER_AGENT_TEXT))
        .and(header("content-type", "application/json"))
        .and(body_string("{}"))
        .respond_with(json(201, "{}"));
    rancher.mount(mock).await;
    let request =
        http::Request::post("http://ignored.invalid/api/v1/namespaces/pay/pods/ledger-0/eviction?dryRun=All")
            .header("authorization", "Bearer of-somebody-else")
            .header("user-agent", "Mozilla/5.0")
            .header("content-type", "application/json")
            .body(b"{}".to_vec())
            .unwrap();
    let response = proxy(&rancher.client()).send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_path_that_leads_out_of_the_cluster_is_not_sent() {
    let rancher = Rancher::start().await;
    let proxy = proxy(&rancher.client());
    for bad in ["/../local/api", "/%2e%2e/local", "//evil", "/api/v1/namespaces/a%2Fb"] {
        let error = proxy.send(get(bad)).await.unwrap_err();
        assert!(matches!(error, Error::BadPath(UrlError::AmbiguousPath)), "{bad}: {error:?}");
        assert!(error.outcome_known());
    }
    let url = proxy.url("/version").unwrap();
    assert_eq!(url.path(), "/k8s/clusters/c-x7k2p/version");
}

#[tokio::test]
async fn a_body_that_rancher_would_cut_off_is_not_sent() {
    let rancher = Rancher::start().await;
    let request = http::Request::put("/api/v1/x").body(vec![b' '; MAX_REQUEST_BODY + 1]).unwrap();
    let error = proxy(&rancher.client()).send(request).await.unwrap_err();
    assert!(matches!(error, Error::RequestTooLarge { size } if size == MAX_REQUEST_BODY + 1));
    assert!(error.outcome_known() && !error.is_retryable());
}

#[tokio::test]
async fn a_renewed_token_is_picked_up_after_a_401_and_kept() {
    let rancher = Rancher::start().await;
    let old = Mock::given(path(PODS)).and(header("authorization", "Bearer token-old:one"));
    rancher.mount(old.respond_with(text(401, "").insert_header("X-API-Cattle-Auth", "false"))).await;
    let new = Mock::given(path(PODS)).and(header("authorization", "Bearer token-new:two"));
    rancher.mount(new.respond_with(json(200, "{}"))).await;

    let client = rancher.client_with(Rotating::new(vec!["token-old:one", "token-new:two"]));
    let proxy = proxy(&client);
    let request = http::Request::patch("/api/v1/pods").body(b"{}".to_vec()).unwrap();
    assert_eq!(proxy.send(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(proxy.send(get("/api/v1/pods")).await.unwrap().status(), StatusCode::OK);
    assert_eq!(rancher.authorizations(PODS).await.len(), 3, "the second request uses the new token at once");
}

#[tokio::test]
async fn a_401_is_not_answered_with_the_same_token_again_nor_with_a_third_one() {
    let rancher = Rancher::start().await;
    let refused = text(401, "").insert_header("X-API-Cattle-Auth", "false");
    rancher.answer(PODS, refused).await;
    let same = rancher.client_with(Rotating::new(vec!["token-old:one"]));
    assert_eq!(proxy(&same).send(get("/api/v1/pods")).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(rancher.authorizations(PODS).await.len(), 1);
    let many = rancher.client_with(Rotating::new(vec!["token-a:one", "token-b:two", "token-c:three"]));
    assert_eq!(proxy(&many).send(get("/api/v1/pods")).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(rancher.authorizations(PODS).await.len(), 3);
}

#[tokio::test]
async fn a_401_with_an_accepted_token_is_not_a_reason_for_another_one() {
    let rancher = Rancher::start().await;
    rancher.answer(PODS, text(401, "").insert_header("X-API-Cattle-Auth", "true")).await;
    let client = rancher.client_with(Rotating::new(vec!["token-a:one", "token-b:two"]));
    let proxy = proxy(&client);
    let response = proxy.send(get("/api/v1/pods")).await.unwrap();
    assert!(matches!(proxy.failure(response).await, ProxyFailure::Denied { .. }));
    assert_eq!(rancher.authorizations(PODS).await, [Some("Bearer token-a:one".to_owned())]);
}

#[tokio::test]
async fn a_source_without_a_token_stops_the_request_and_later_does_not_hide_a_401() {
    let rancher = Rancher::start().await;
    let client = rancher.client_with(Rotating::new(vec![]));
    let error = proxy(&client).send(get("/api/v1/pods")).await.unwrap_err();
    assert!(matches!(error, Error::TokenUnavailable(_)), "{error:?}");
    assert_eq!(error.to_string(), "no Rancher token to send");
}

#[tokio::test]
async fn a_redirect_is_named_and_never_followed_with_the_token() {
    let elsewhere = Rancher::start().await;
    let place = format!("{}/api/v1/pods", elsewhere.server.uri());
    for (location, host) in [
        (place.as_str(), Some(elsewhere.url().authority().to_owned())),
        ("https://user:pass@evil.invalid/x?token=1", Some("evil.invalid".to_owned())),
        ("http://", None),
    ] {
        let rancher = Rancher::with(PODS, text(307, "").insert_header("location", location)).await;
        let error = proxy(&rancher.client()).send(get("/api/v1/pods")).await.unwrap_err();
        let Error::Redirected { host: found, followed: false, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*found, host, "{location}");
        assert!(error.outcome_known() && !error.is_retryable());
    }
}

#[tokio::test]
async fn an_http_client_that_follows_redirects_is_caught() {
    let rancher = Rancher::start().await;
    rancher.answer(PODS, text(302, "").insert_header("location", "/login")).await;
    rancher.answer("/login", json(200, "{}")).await;
    let _ = crate::testing::http_client();
    let follows = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = crate::StaticToken::new(crate::BearerToken::parse(TOKEN).unwrap());
    let client = RancherClient::new(follows, rancher.url(), std::sync::Arc::new(token));
    let error = proxy(&client).send(get("/api/v1/pods")).await.unwrap_err();
    assert!(matches!(error, Error::Redirected { followed: true, .. }), "{error:?}");
    assert!(!error.outcome_known());
}

#[tokio::test]
async fn a_server_that_is_not_there_was_surely_not_asked_and_one_that_hangs_up_may_have_acted() {
    let rancher = Rancher::start().await;
    let client = rancher.client();
    let cluster = RancherClusterId::parse("c-x7k2p").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let token = std::sync::Arc::new(crate::StaticToken::new(crate::BearerToken::parse(TOKEN).unwrap()));
    let lost = RancherClient::new(crate::testing::http_client(), address.parse().unwrap(), token);
    let hang_up = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 16];
        let read = loop {
            socket.readable().await.unwrap();
            match socket.try_read(&mut request) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                read => break read.unwrap(),
            }
        };
        assert!(read > 0, "the request was on its way");
        drop((socket, listener));
    };
    let (broken, ()) = futures::join!(lost.cluster(&cluster), hang_up);
    let broken = broken.unwrap_err();
    assert!(matches!(broken, Error::Interrupted { .. }), "{broken:?}");
    assert!(!broken.outcome_known() && broken.is_retryable());

    let refused = lost.cluster(&cluster).await.unwrap_err();
    assert!(matches!(refused, Error::Unreachable { .. }), "{refused:?}");
    assert!(refused.outcome_known() && refused.is_retryable());
    assert!(!format!("{refused:?} {broken:?} {lost:?} {client:?}").contains(SECRET));
}

#[tokio::test]
async fn a_failure_never_shows_the_token_even_if_the_server_repeats_it() {
    for status in [401, 403, 404, 418, 500, 503] {
        for body in [format!("Bearer {TOKEN}"), format!(r#"{{"kind":"Status","message":"{TOKEN}"}}"#)] {
            let rancher = Rancher::with(PODS, ResponseTemplate::new(status).set_body_string(body)).await;
            let proxy = proxy(&rancher.client());
            let response = proxy.send(get("/api/v1/pods")).await.unwrap();
            let failure = proxy.failure(response).await;
            assert!(!format!("{failure} {failure:?} {proxy:?}").contains(SECRET), "{failure:?}");
        }
    }
}

#[tokio::test]
async fn a_watch_is_handed_on_unread_and_without_a_time_limit_of_ours() {
    let rancher = Rancher::start().await;
    let mock = Mock::given(path(PODS)).and(query_param("watch", "1")).and(header_exists("authorization"));
    rancher.mount(mock.respond_with(text(200, "{\"type\":\"ADDED\"}\n"))).await;
    let mut response = proxy(&rancher.client()).send(get("/api/v1/pods?watch=1")).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "{\"type\":\"ADDED\"}\n");
}

/// Who answers, in which form, and what a caller may do then. The seven forms are those of Rancher 2.6 to 2.16
/// (`pkg/auth/util`, `pkg/clusterrouter`, `pkg/api/steve/proxy`, apimachinery's `transport.go`).
#[test]
fn the_seven_forms_of_failure_are_told_apart() {
    let must = r#"{"type":"error","status":"401","message":"Unauthorized 401: must authenticate"}"#;
    let number = r#"{"type":"error","status":401,"code":"Unauthorized","message":"must authenticate"}"#;
    let no_cluster = r#"{"Code":{"Code":"NotFound","Status":404},"Message":"No cluster available","Cause":null,"FieldName":""}"#;
    let unready = r#"{"Code":{"Code":"ClusterUnavailable","Status":503},"Message":"cluster not provisioned","Cause":null}"#;
    let forbidden =
        r#"{"Code":{"Code":"Forbidden","Status":403},"Message":"clusters is forbidden","Cause":null}"#;
    let service = "error trying to reach service: ";
    let good = ("x-api-cattle-auth", "true");
    let bad = ("x-api-cattle-auth", "false");
    let html = ("content-type", "text/html; charset=utf-8");
    let cases = vec![
        // status, headers, body, reading, outcome known, retryable
        (
            404,
            vec![],
            r#"{"kind":"Status","code":404,"reason":"NotFound"}"#.into(),
            "Kubernetes",
            true,
            false,
        ),
        (401, vec![bad], must.into(), "TokenRejected", true, false),
        (401, vec![], must.into(), "TokenRejected", true, false),
        (401, vec![bad], number.into(), "TokenRejected", true, false),
        (401, vec![good], must.into(), "Denied", true, false),
        (404, vec![], no_cluster.into(), "Router { status: 404, code: \"NotFound\"", true, false),
        (503, vec![], unready.into(), "Router { status: 503, code: \"ClusterUnavailable\"", true, true),
        (
            403,
            vec![],
            forbidden.into(),
            "Denied { status: 403, message: \"clusters is forbidden\" }",
            true,
            false,
        ),
        (
            500,
            vec![],
            format!("{service}cluster agent disconnected"),
            "Rancher { status: 500, trouble: AgentDisconnected",
            false,
            true,
        ),
        (
            500,
            vec![],
            "lost connection to cluster: failed to find Session for client stv-cluster-c-x".into(),
            "Rancher { status: 500, trouble: AgentDisconnected",
            false,
            true,
        ),
        (
            500,
            vec![],
            format!("{service}dial tcp 10.0.0.1:443: i/o timeout"),
            "Rancher { status: 500, trouble: Timeout",
            false,
            true,
        ),
        (
            500,
            vec![],
            format!("{service}net/http: TLS handshake timeout"),
            "Rancher { status: 500, trouble: Timeout",
            false,
            true,
        ),
        (
            500,
            vec![],
            format!("{service}EOF"),
            "Rancher { status: 500, trouble: ConnectionBroken",
            false,
            true,
        ),
        (
            500,
            vec![],
            format!("{service}read: connection reset by peer"),
            "Rancher { status: 500, trouble: ConnectionBroken",
            false,
            true,
        ),
        (
            500,
            vec![],
            "unable to create impersonator account: ClusterUnavailable 503: EOF".into(),
            "Rancher { status: 500, trouble: Impersonation",
            true,
            true,
        ),
        (500, vec![], "something new".into(), "Rancher { status: 500, trouble: Other", false, false),
        (500, vec![], format!("{service}http: request body too large"), "RequestTooLarge", true, false),
        (401, vec![], String::new(), "Denied { status: 401, message: \"\" }", true, false),
        (401, vec![good], String::new(), "Denied", true, false),
        (401, vec![bad], String::new(), "TokenRejected", true, false),
        (502, vec![html], "<html>Bad Gateway</html>".into(), "Gateway { status: 502", false, true),
        (503, vec![], "no healthy upstream".into(), "Gateway { status: 503", false, true),
        (504, vec![], String::new(), "Gateway { status: 504", false, true),
        // A page about 404 must never pass for "the pod is gone".
        (404, vec![html], "<h1>404 Not Found</h1>".into(), "Gateway { status: 404", true, false),
        (404, vec![], "404 page not found".into(), "Unrecognised { status: 404", true, false),
        (500, vec![html], "<html>".into(), "Gateway { status: 500", false, false),
        (403, vec![], "not allowed to impersonate user".into(), "Denied { status: 403", true, false),
        (403, vec![html], "<html>blocked</html>".into(), "Gateway { status: 403", true, false),
        (
            429,
            vec![("retry-after", "7")],
            "slow down".into(),
            "RateLimited { retry_after: Some(7s) }",
            true,
            true,
        ),
        (418, vec![], "teapot".into(), "Unrecognised", true, false),
    ];
    for (status, headers, body, reading, known, retryable) in cases {
        let failure = classify(status, &headers, &body);
        assert!(format!("{failure:?}").starts_with(reading), "{status} {body}: {failure:?}");
        assert_eq!((failure.outcome_known(), failure.is_retryable()), (known, retryable), "{failure:?}");
    }
}

#[test]
fn what_kubernetes_says_keeps_its_causes_and_its_pause() {
    let budget = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","code":429,
        "message":"Cannot evict pod as it would violate the pod's disruption budget.",
        "details":{"causes":[{"reason":"DisruptionBudget","message":"The disruption budget x needs 1"}],"retryAfterSeconds":10}}"#;
    let ProxyFailure::Kubernetes(status) = classify(429, &[], budget) else { panic!("kubernetes") };
    assert!(status.is_disruption_budget());
    assert_eq!((status.retry_after_seconds, status.causes.len(), status.code), (Some(10), 1, 429));

    let lying = classify(500, &[], r#"{"kind":"Status","code":404,"reason":"NotFound"}"#);
    assert!(!lying.outcome_known(), "a 404 in the body of a 500 does not mean that the pod is gone");

    let busy = r#"{"kind":"Status","reason":"TooManyRequests","code":429,"details":{"retryAfterSeconds":0}}"#;
    let failure = classify(429, &[("retry-after", "3")], busy);
    assert_eq!(failure.retry_after(), Some(std::time::Duration::from_secs(3)));
    let ProxyFailure::Kubernetes(status) = &failure else { panic!("kubernetes") };
    assert!(!status.is_disruption_budget() && failure.is_retryable());
}

#[test]
fn which_answers_of_kubernetes_may_be_repeated() {
    let several =
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    let cases = [
        (409, "Conflict", "x", true, false),
        (403, "Forbidden", "x", true, false),
        (410, "Expired", "too old resource version", true, false),
        (500, "InternalError", "x", false, true),
        (500, "", "etcdserver: leader changed", false, true),
        (500, "", several, true, false),
        (500, "", "x", false, false),
        (503, "ServiceUnavailable", "x", false, true),
        (504, "Timeout", "x", false, true),
    ];
    for (code, reason, message, known, retryable) in cases {
        let body = serde_json::json!({"kind": "Status", "code": code, "reason": reason, "message": message});
        let failure = classify(code, &[], &body.to_string());
        assert!(matches!(failure, ProxyFailure::Kubernetes(_)));
        assert_eq!((failure.outcome_known(), failure.is_retryable()), (known, retryable), "{failure:?}");
    }
}

/// What a caller goes by, and what looks like it (Kubernetes: `eviction.go`, apimachinery's `errors.go`).
#[test]
fn what_a_status_means_is_told_by_its_cause_and_not_by_its_number() {
    let status = |code: u16, reason: &str, cause: &str| {
        let body = serde_json::json!({"kind": "Status", "reason": reason, "details": {"causes": [{"reason": cause}]}});
        match classify(code, &[], &body.to_string()) {
            ProxyFailure::Kubernetes(status) => status,
            other => panic!("{other:?}"),
        }
    };
    assert!(status(410, "Gone", "").is_expired() && status(410, "Expired", "").is_expired());
    assert!(!status(404, "NotFound", "").is_expired());
    assert!(status(504, "Timeout", "ResourceVersionTooLarge").is_version_ahead());
    assert!(!status(504, "Timeout", "").is_version_ahead());
    assert!(status(403, "Forbidden", "NamespaceTerminating").is_namespace_terminating());
    assert!(!status(403, "Forbidden", "").is_namespace_terminating());
    assert!(!status(429, "TooManyRequests", "").is_disruption_budget(), "a busy server is no budget");
}

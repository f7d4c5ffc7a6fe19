//! What is not an answer: refused tokens, redirects, torn connections, pages of proxies, endless bodies.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aks_client::{AccessToken, AksClient, ApiVersion, Error, TokenError, TokenSource};
use futures::future::BoxFuture;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::support::{Arm, answer, cluster, cluster_path, http, id, ok, pool_path};

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_request_repeated_once() {
    let arm = Arm::start().await;
    arm.once("GET", &cluster_path(), answer(401, &json!({"error": {"code": "ExpiredAuthenticationToken"}})))
        .await;
    arm.once("GET", &cluster_path(), ok(&cluster("Succeeded", "1.34.6"))).await;
    assert!(arm.client.cluster(&id()).await.is_ok());
    assert_eq!(arm.tokens.invalidated.load(Ordering::SeqCst), 1);
    assert_eq!(arm.last("GET").await.headers["authorization"], "Bearer tok-S3CRET-2");
}

#[tokio::test]
async fn a_write_refused_for_its_token_is_repeated_once_too() {
    let arm = Arm::start().await;
    arm.once("PUT", &pool_path("p"), answer(401, &json!({}))).await;
    arm.once("PUT", &pool_path("p"), answer(201, &json!({"name": "p"}))).await;
    assert!(arm.client.begin_create_pool(&id(), "p", &json!({})).await.is_ok());
}

#[tokio::test]
async fn a_token_refused_twice_is_the_answer() {
    let arm = Arm::start().await;
    arm.times(
        2,
        "GET",
        &cluster_path(),
        answer(401, &json!({"error": {"code": "InvalidAuthenticationToken"}})),
    )
    .await;
    let error = arm.client.cluster(&id()).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }) && !error.is_retryable());
}

struct Broken(fn() -> Result<AccessToken, TokenError>);

impl TokenSource for Broken {
    fn token(&self, _scope: &str) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(async { (self.0)() })
    }

    fn kind(&self) -> &'static str {
        "broken"
    }
}

#[tokio::test]
async fn without_a_usable_token_nothing_is_sent() {
    let arm = Arm::start().await;
    let malformed = || Ok(AccessToken { secret: "S3CRET\n".into(), expires_at: None });
    let refused = || Err(TokenError::Refused { reason: "AADSTS7000222: expired".to_owned(), source: None });
    for tokens in [Broken(malformed), Broken(refused)] {
        let endpoint = arm.server.uri().parse().unwrap();
        let http = http(reqwest::redirect::Policy::none());
        let client = AksClient::new(http, endpoint, ApiVersion::default(), Arc::new(tokens));
        let error = client.begin_create_pool(&id(), "p", &json!({})).await.unwrap_err();
        assert!(matches!(error, Error::Token { .. }) && error.outcome_known() && !error.is_retryable());
        assert!(!format!("{error:?}").contains("S3CRET"));
    }
    assert!(arm.requests().await.is_empty());
}

#[tokio::test]
async fn a_read_outlasts_transient_refusals_at_the_pace_asked_for() {
    let arm = Arm::start().await;
    arm.once(
        "GET",
        &cluster_path(),
        answer(429, &json!({"code": "Throttled"})).insert_header("Retry-After", "9"),
    )
    .await;
    arm.once("GET", &cluster_path(), answer(503, &json!({}))).await;
    arm.once("GET", &cluster_path(), answer(408, &json!({}))).await;
    arm.once("GET", &cluster_path(), ok(&cluster("Succeeded", "1.34.6"))).await;
    assert!(arm.client.cluster(&id()).await.is_ok());
    assert_eq!(arm.waited(), [9, 2, 4]);
}

#[tokio::test]
async fn a_read_gives_up_after_five_tries_or_when_asked_to_wait_too_long() {
    let arm = Arm::start().await;
    arm.times(5, "GET", &cluster_path(), answer(502, &json!({}))).await;
    assert!(
        matches!(arm.client.cluster(&id()).await, Err(Error::Api { answer, .. }) if answer.status == 502)
    );
    assert_eq!(arm.waited(), [1, 2, 4, 8]);

    let arm = Arm::start().await;
    arm.once("GET", &cluster_path(), answer(429, &json!({})).insert_header("Retry-After", "3600")).await;
    assert!(matches!(arm.client.cluster(&id()).await, Err(Error::Throttled { .. })));
    assert!(arm.waited().is_empty());
}

#[tokio::test]
async fn a_final_refusal_of_a_read_is_not_repeated() {
    for status in [400, 403, 404, 409, 501] {
        let arm = Arm::start().await;
        arm.once("GET", &cluster_path(), answer(status, &json!({"error": {"code": "X", "message": "m"}})))
            .await;
        let error = arm.client.cluster(&id()).await.unwrap_err();
        assert_eq!(error.answer().map(|answer| answer.status), Some(status));
    }
}

#[tokio::test]
async fn an_error_carries_the_ids_of_the_service() {
    let arm = Arm::start().await;
    let refused = answer(400, &json!({"error": {"code": "BadRequest", "message": "line\nbreak \u{1b}[31m"}}))
        .insert_header("x-ms-request-id", "req-7")
        .insert_header("x-ms-correlation-request-id", "cor-7");
    arm.once("GET", &cluster_path(), refused).await;
    let error = arm.client.cluster(&id()).await.unwrap_err();
    assert_eq!((error.request_id(), error.correlation_id()), (Some("req-7"), Some("cor-7")));
    let trace = error.trace().unwrap();
    assert_eq!(trace.request, format!("GET {}", cluster_path()));
    let sent = arm.last("GET").await.headers["x-ms-client-request-id"].to_str().unwrap().to_owned();
    assert_eq!(trace.client_request_id.to_string(), sent);
    assert!(error.to_string().contains("BadRequest: line break [31m"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_refused_whether_or_not_the_http_client_follows_it() {
    for policy in [reqwest::redirect::Policy::none(), reqwest::redirect::Policy::limited(5)] {
        let arm = Arm::start().await;
        let other = wiremock::MockServer::start().await;
        let page = ResponseTemplate::new(200).set_body_json(cluster("Succeeded", "1.34.6"));
        wiremock::Mock::given(wiremock::matchers::any()).respond_with(page).mount(&other).await;
        let client = AksClient::new(
            http(policy),
            arm.server.uri().parse().unwrap(),
            ApiVersion::default(),
            arm.tokens.clone(),
        );
        let target = format!("{}/login", other.uri());
        arm.once(
            "GET",
            &cluster_path(),
            ResponseTemplate::new(302).insert_header("Location", target.as_str()),
        )
        .await;
        let error = client.cluster(&id()).await.unwrap_err();
        assert!(matches!(&error, Error::Redirected { to: Some(to), .. } if to == "127.0.0.1"), "{error:?}");
        let leaked = other.received_requests().await.unwrap();
        assert!(leaked.iter().all(|request| !request.headers.contains_key("authorization")));
    }
}

#[tokio::test]
async fn what_is_not_json_is_said_to_be_so() {
    for (body, kind) in
        [("<html>sign in</html>", "text/html"), ("{\"id\": \"/subs", "application/json"), ("", "text/plain")]
    {
        let arm = Arm::start().await;
        arm.once("GET", &cluster_path(), ResponseTemplate::new(200).set_body_raw(body, kind)).await;
        let error = arm.client.cluster(&id()).await.unwrap_err();
        assert!(matches!(&error, Error::UnexpectedBody { reason, .. } if reason.contains(kind)), "{error:?}");
        assert!(error.outcome_known() && !error.is_retryable());
    }
}

#[tokio::test]
async fn json_under_a_wrong_content_type_is_still_json() {
    let arm = Arm::start().await;
    let body = cluster("Succeeded", "1.34.6").to_string();
    arm.once("GET", &cluster_path(), ResponseTemplate::new(200).set_body_raw(body, "text/plain")).await;
    assert!(arm.client.cluster(&id()).await.is_ok());
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    let arm = Arm::start().await;
    let body = vec![b' '; 8 * 1024 * 1024 + 1];
    arm.once("GET", &cluster_path(), ResponseTemplate::new(200).set_body_bytes(body)).await;
    assert!(matches!(arm.client.cluster(&id()).await, Err(Error::BodyTooLarge { .. })));
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_nothing_was_sent() {
    let arm = Arm::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let http = http(reqwest::redirect::Policy::none());
    let client = AksClient::new(http, endpoint, ApiVersion::default(), arm.tokens.clone())
        .with_pause(arm.waits.clone());
    let error = client.begin_create_pool(&id(), "p", &json!({})).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { sent: false, .. }), "{error:?}");
    assert!(error.outcome_known() && error.is_retryable() && arm.waited().is_empty());
    assert!(client.cluster(&id()).await.is_err());
    assert_eq!(arm.waited(), [1, 2, 4, 8]);
}

#[tokio::test]
async fn a_connection_torn_after_a_write_leaves_the_outcome_unknown() {
    let arm = Arm::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let torn = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.readable().await.unwrap();
        drop(stream);
    });
    let client = AksClient::new(
        http(reqwest::redirect::Policy::none()),
        endpoint,
        ApiVersion::default(),
        arm.tokens.clone(),
    );
    let error = client.begin_create_pool(&id(), "p", &json!({})).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { sent: true, .. }) && !error.outcome_known(), "{error:?}");
    torn.await.unwrap();
}

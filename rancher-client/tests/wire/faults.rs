//! What a broken, a foreign or a hostile server can send.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rancher_client::ownership::{DEFAULT_AKS_REFRESH, in_sync};
use rancher_client::{
    BearerToken, BodyError, Cluster, Error, ProxyFailure, RancherClient, TokenFormatError, TokenSource,
    TokenSourceError, idle_deadline,
};
use wiremock::matchers::{header, path};
use wiremock::{Mock, ResponseTemplate};

use crate::support::{
    CLUSTER, Case, LIST, Leaps, Rancher, SECRET, TOKEN, VERSION, case, client_of, html, id, json, place,
    raw_server, static_token, text,
};

/// A success whose body is not one, and the place that is named.
async fn body(answer: ResponseTemplate, at: &'static str) {
    let rancher = Rancher::with(CLUSTER, answer).await;
    let error = rancher.client().cluster(&id()).await.unwrap_err();
    assert_eq!(place(&error), at, "{error:?}");
    assert!(!error.outcome_known() && !error.is_retryable());
}

/// A redirect, and the host that it names.
async fn redirect(status: u16, location: &'static str, host: Option<&'static str>) {
    let rancher = Rancher::with(CLUSTER, text(status, "").insert_header("location", location)).await;
    let error = rancher.client().cluster(&id()).await.unwrap_err();
    let Error::Redirected { host: found, followed: false, .. } = &error else { panic!("{error:?}") };
    assert_eq!(found.as_deref(), host);
    assert!(!error.to_string().contains("hunter"));
}

/// A source whose file holds this text.
struct FileOf(&'static str);

impl TokenSource for FileOf {
    fn token(&self) -> futures::future::BoxFuture<'_, Result<BearerToken, TokenSourceError>> {
        let token = BearerToken::parse(self.0);
        Box::pin(std::future::ready(
            token.map_err(|error| TokenSourceError::new("the token file").caused_by(error)),
        ))
    }
}

async fn token_text(text: &'static str, expected: TokenFormatError) {
    let rancher = Rancher::start().await;
    let error = rancher.client_with(FileOf(text)).cluster(&id()).await.unwrap_err();
    assert!(matches!(error, Error::TokenUnavailable(_)) && error.outcome_known(), "{error:?}");
    assert_eq!(BearerToken::parse(text).unwrap_err(), expected);
    assert!(!format!("{error:?}").contains("ter2"), "{error:?}");
    assert!(rancher.server.received_requests().await.unwrap().is_empty(), "nothing was sent");
}

fn body_cases() -> Vec<Case> {
    let row = |name: &'static str, answer, at| case("§3.5", format!("success: {name}"), body(answer, at));
    vec![
        row("a page from a proxy", html(200, "<!DOCTYPE html><title>Log in</title>"), "."),
        row("a page that claims to be JSON", json(200, "\n <html>"), "."),
        row("nothing", json(200, ""), "."),
        row(
            "half of a JSON",
            json(200, r#"{"id":"c-x7k2p","conditions":[{"type":"Re"#),
            "conditions[0].type",
        ),
        row("two JSONs", json(200, r#"{"id":"c-x7k2p"}{"id":"c-x7k2p"}"#), "."),
        row("a list", json(200, "[]"), "."),
        row(
            "an error with success",
            json(200, r#"{"type":"error","status":"401","message":"must authenticate"}"#),
            ".",
        ),
        row("an id that is a path", json(200, r#"{"id":"../local"}"#), "id"),
        row(
            "a condition of another form",
            json(200, r#"{"id":"c-x7k2p","conditions":[{"type":"Ready","status":true}]}"#),
            "conditions[0].status",
        ),
        case("§3.5", "success: JSON of a wrong content type is read all the same", async {
            for answer in [text(200, r#"{"id":"c-x7k2p"}"#), html(200, r#"{"id":"c-x7k2p"}"#)] {
                let rancher = Rancher::with(CLUSTER, answer).await;
                rancher.client().cluster(&id()).await.unwrap();
            }
        }),
        case("§3.5", "success: a page is called one", async {
            let rancher = Rancher::with(LIST, html(200, "<html>log in</html>")).await;
            let error = rancher.client().clusters().await.unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("is this the address of Rancher?"), "{source}");
        }),
        case("§2.1", "success: a list that is none", async {
            for (body, at) in [
                (r#"{"data":null}"#, "data"),
                (r#"{"data":[{"id":7}]}"#, "data[0].id"),
                (r#"{"data":["x"]}"#, "data[0].id"),
            ] {
                let rancher = Rancher::with(LIST, json(200, body)).await;
                assert_eq!(place(&rancher.client().clusters().await.unwrap_err()), at, "{body}");
            }
        }),
    ]
}

fn connection_cases() -> Vec<Case> {
    vec![
        case("§3.4", "a body that breaks off", async {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"id\":";
            let error = client_of(&raw_server(head.into()).await).cluster(&id()).await.unwrap_err();
            assert!(matches!(error, Error::Interrupted { .. }), "{error:?}");
            assert!(!error.outcome_known() && error.is_retryable());
        }),
        case("§3.4", "a watch that breaks off", async {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe";
            let proxy = client_of(&raw_server(head.into()).await).proxy(&id());
            let request = http::Request::get("/api/v1/pods?watch=1").body(Vec::new()).unwrap();
            let response = proxy.send(request).await.unwrap();
            let body = idle_deadline(response, Duration::from_secs(300), Arc::new(Leaps::default()));
            let pieces: Vec<_> = body.collect().await;
            assert!(matches!(pieces.last(), Some(Err(BodyError::Broken(_)))), "{pieces:?}");
        }),
        case("§3.4", "an error whose body breaks off still has its status", async {
            let head = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 100\r\n\r\n<htm";
            let error = client_of(&raw_server(head.into()).await).cluster(&id()).await.unwrap_err();
            assert!(matches!(error, Error::Gateway { .. }), "{error:?}");
        }),
        case("§3.4", "a server that hangs up without a word", async {
            let error = client_of(&raw_server(Vec::new()).await).cluster(&id()).await.unwrap_err();
            assert!(!error.outcome_known() && error.is_retryable(), "{error:?}");
        }),
        case("§3.4", "a server that does not speak HTTP", async {
            let error = client_of(&raw_server(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()).await)
                .cluster(&id())
                .await
                .unwrap_err();
            assert!(!error.outcome_known(), "{error:?}");
        }),
        case("§3.4", "nobody is there", async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
            drop(listener);
            let error = client_of(&url).cluster(&id()).await.unwrap_err();
            assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
            assert!(error.outcome_known() && error.is_retryable());
        }),
        case("§3.6", "a body that is announced as larger than can be held is not read", async {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n{";
            let error = client_of(&raw_server(head.into()).await).cluster(&id()).await.unwrap_err();
            assert!(matches!(error, Error::BodyTooLarge { .. }), "{error:?}");
        }),
        case("§3.6", "an error's body without an end is cut", async {
            let mut answer = b"HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\n\r\nerror trying to reach service: EOF".to_vec();
            answer.resize(answer.len() + 2 * 1024 * 1024, b' ');
            let proxy = client_of(&raw_server(answer).await).proxy(&id());
            let response =
                proxy.send(http::Request::get("/version").body(Vec::new()).unwrap()).await.unwrap();
            let failure = proxy.failure(response).await;
            assert!(matches!(failure, ProxyFailure::Rancher { .. }), "{failure:?}");
        }),
        case("§3.4", "a time limit of the HTTP client", async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
            crate::support::provider();
            let impatient = reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .read_timeout(Duration::from_millis(20))
                .build()
                .unwrap();
            let client = RancherClient::new(impatient, url, Arc::new(static_token(TOKEN)));
            let error = client.cluster(&id()).await.unwrap_err();
            assert!(matches!(error, Error::Interrupted { .. }) && error.is_retryable(), "{error:?}");
        }),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = body_cases();
    cases.extend(connection_cases());
    let to = |name: &'static str, status, location, host| {
        case("§6", format!("redirect: {name}"), redirect(status, location, host))
    };
    cases.extend([
        to(
            "from http to https",
            302,
            "https://rancher.example.com/v3/clusters/c-x7k2p",
            Some("rancher.example.com"),
        ),
        to(
            "to another host, with credentials",
            307,
            "https://user:hunter3@evil.invalid:81/x?token=1",
            Some("evil.invalid:81"),
        ),
        to("to nowhere", 308, "http://", None),
    ]);
    let token = |name: &'static str, text, expected| {
        case("§1.1", format!("token: {name}"), token_text(text, expected))
    };
    cases.extend([
        token("with a line break inside", "token-7x2kp:hun\nter2", TokenFormatError::BadCharacter),
        token("with a header behind it", "token-7x2kp:hunter2\r\nX-Evil: 1", TokenFormatError::ManyColons),
        token("only the access key", "token-7x2kp", TokenFormatError::NoColon),
        token("with the word Bearer", "Bearer token-7x2kp:hunter2", TokenFormatError::BadName),
        token("an empty file", " \n", TokenFormatError::Empty),
        token("a name that is a path", "ext/../x:hunter2", TokenFormatError::BadName),
    ]);
    cases.extend([
        case("§6", "redirect: a client that follows it is caught", async {
            let rancher = Rancher::with(CLUSTER, text(302, "").insert_header("location", "/login")).await;
            let rancher = rancher.and("/login", json(200, r#"{"id":"c-x7k2p"}"#)).await;
            crate::support::provider();
            let follows = reqwest::Client::builder().no_proxy().build().unwrap();
            let client = RancherClient::new(follows, rancher.url(), Arc::new(static_token(TOKEN)));
            let error = client.cluster(&id()).await.unwrap_err();
            assert!(matches!(error, Error::Redirected { followed: true, .. }) && !error.outcome_known(), "{error:?}");
        }),
        case("§2.1", "a page's link to another host does not take the token there", async {
            let elsewhere = Rancher::start().await;
            let body = format!(r#"{{"data":[],"pagination":{{"next":"{}/v3/clusters?marker=c-2"}}}}"#, elsewhere.server.uri());
            let rancher = Rancher::with(LIST, json(200, &body)).await;
            rancher.client().clusters().await.unwrap();
            assert!(elsewhere.server.received_requests().await.unwrap().is_empty());
            assert_eq!(rancher.authorizations(LIST).await.len(), 2);
        }),
        case("§7.4", "a clock that is five minutes off, or years", async {
            let refreshed = "2026-12-01T07:59:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
            let config = serde_json::json!({"kubernetesVersion": "1.29.7"});
            let raw = serde_json::json!({
                "id": "c-x7k2p", "driver": "AKS", "state": "active", "transitioning": "no",
                "conditions": [{"type": "Provisioned", "status": "True"}, {"type": "Updated", "status": "True"}],
                "aksConfig": config, "appliedSpec": {"aksConfig": config}, "aksStatus": {"upstreamSpec": config},
                "annotations": {"clusters.management.cattle.io/ke-last-refresh": refreshed.to_string()},
            });
            let answer = json(200, &raw.to_string()).insert_header("date", "Tue, 01 Dec 2026 08:00:00 GMT");
            let rancher = Rancher::with(CLUSTER, answer).await;
            let cluster = rancher.client().cluster(&id()).await.unwrap();
            for clock in ["2026-12-01T07:55:00Z", "2026-12-01T08:05:00Z", "1970-01-01T00:00:00Z"] {
                assert_eq!(in_sync(&cluster, clock.parse().unwrap(), DEFAULT_AKS_REFRESH), Ok(()), "{clock}");
            }
            let undated = Cluster::from_json(raw).unwrap();
            assert_eq!(in_sync(&undated, "2026-12-01T08:04:00Z".parse().unwrap(), DEFAULT_AKS_REFRESH), Ok(()));
            assert!(in_sync(&undated, "2026-12-01T08:10:00Z".parse().unwrap(), DEFAULT_AKS_REFRESH).is_err());
        }),
        case("§7.4", "an answer that a cache kept is not asked for, and its date is not Rancher's clock", async {
            let rancher = Rancher::start().await;
            let kept = json(200, r#"{"id":"c-x7k2p"}"#)
                .insert_header("date", "Tue, 01 Dec 2026 08:00:00 GMT")
                .insert_header("age", "3600");
            let mock = Mock::given(path(CLUSTER)).and(header("cache-control", "no-cache"));
            rancher.mount(mock.respond_with(kept)).await;
            assert_eq!(rancher.client().cluster(&id()).await.unwrap().server_time(), None);
        }),
        case("§1.5", "a server that repeats the token in whatever it says", async {
            for status in [200, 400, 401, 403, 404, 409, 422, 429, 500, 502, 503] {
                let echo = serde_json::json!({"type": "error", "code": TOKEN, "message": TOKEN, "id": TOKEN, "data": TOKEN});
                for answer in [json(status, &echo.to_string()), text(status, TOKEN), html(status, TOKEN)] {
                    let rancher = Rancher::with(CLUSTER, answer).await;
                    let error = rancher.client().cluster(&id()).await.unwrap_err();
                    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
                }
            }
        }),
        case("§3.5", "a server that moves the cursor", async {
            let rancher = Rancher::with(VERSION, text(500, "\u{1b}[2J\r\n##vso[x]\u{202e}evil")).await;
            let proxy = rancher.client().proxy(&id());
            let response = proxy.send(http::Request::get("/version").body(Vec::new()).unwrap()).await.unwrap();
            let shown = proxy.failure(response).await.to_string();
            assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
        }),
        case("§2.1", "a server that makes up links without end", async {
            let rancher = Rancher::start().await;
            let pages = std::sync::atomic::AtomicUsize::new(0);
            let mock = Mock::given(path(LIST)).respond_with(move |_: &wiremock::Request| {
                let page = pages.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                json(200, &format!(r#"{{"data":[],"pagination":{{"next":"/v3/clusters?marker=m-{page}"}}}}"#))
            });
            rancher.mount(mock).await;
            assert_eq!(place(&rancher.client().clusters().await.unwrap_err()), "pagination.next");
        }),
    ]);
    cases
}

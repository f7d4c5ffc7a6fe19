//! The way to the Kubernetes API, and the wait after a change in Azure.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rancher_client::lock_step::LockStep;
use rancher_client::ownership::{AzureState, Ownership, PoolView};
use rancher_client::{BodyError, Error, ProxyError, ProxyFailure, idle_deadline};
use serde_json::{Value, json as value};
use wiremock::matchers::{body_string, header, method, path, query_param};
use wiremock::{Mock, ResponseTemplate};

use crate::support::{CLUSTER, Case, DATE, Leaps, MUST, Rancher, VERSION, case, html, id, json, text};

fn proxy_cases() -> Vec<Case> {
    const EVICTION: &str = "/k8s/clusters/c-x7k2p/api/v1/namespaces/pay/pods/ledger-0/eviction";
    const OPERATOR: &str =
        "/k8s/clusters/local/apis/aks.cattle.io/v1/namespaces/cattle-global-data/aksclusterconfigs/c-x7k2p";
    vec![
        case("§3.1", "a request keeps its query, its body and its content type", async {
            let rancher = Rancher::start().await;
            let mock = Mock::given(method("POST"))
                .and(path(EVICTION))
                .and(query_param("dryRun", "All"))
                .and(header("content-type", "application/json"))
                .and(header("user-agent", rancher_client::USER_AGENT_TEXT))
                .and(body_string("{}"));
            rancher.mount(mock.respond_with(json(201, "{}"))).await;
            let uri = "http://ignored.invalid/api/v1/namespaces/pay/pods/ledger-0/eviction?dryRun=All";
            let request = http::Request::post(uri)
                .header("content-type", "application/json")
                .header("user-agent", "Mozilla/5.0")
                .header("authorization", "Bearer somebody:else");
            let proxy = rancher.client().proxy(&id());
            assert_eq!(proxy.send(request.body(b"{}".to_vec()).unwrap()).await.unwrap().status(), 201);
        }),
        case("§3.6", "1 MiB is sent, and one byte more is not", async {
            let rancher = Rancher::with(EVICTION, json(201, "{}")).await;
            let proxy = rancher.client().proxy(&id());
            let send = |size| {
                let request = http::Request::post("/api/v1/namespaces/pay/pods/ledger-0/eviction");
                proxy.send(request.body(vec![b' '; size]).unwrap())
            };
            send(1024 * 1024).await.unwrap();
            let error = send(1024 * 1024 + 1).await.unwrap_err();
            assert!(matches!(error, Error::RequestTooLarge { .. }) && error.outcome_known(), "{error:?}");
            assert_eq!(rancher.authorizations(EVICTION).await.len(), 1);
        }),
        case("§9 2.15", "a path that Rancher would clean, or that leaves the cluster, is not sent", async {
            let rancher = Rancher::start().await;
            let proxy = rancher.client().proxy(&id());
            for bad in
                ["/api//v1", "//api/v1", "/api/../../local/api", "/a%2F..%2fb", "/%2e%2e/local", "/a\\b"]
            {
                let request = http::Request::get(bad).body(Vec::new());
                let Ok(request) = request else { continue };
                let error = proxy.send(request).await.unwrap_err();
                assert!(matches!(error, Error::BadPath(_)) && error.outcome_known(), "{bad}: {error:?}");
            }
        }),
        case("§3.1", "a cluster warms up", async {
            let rancher = Rancher::start().await;
            let cold = text(500, "unable to create impersonator account: ClusterUnavailable 503: EOF");
            let mock = Mock::given(path(VERSION)).respond_with(cold).up_to_n_times(2).with_priority(1);
            mock.mount(&rancher.server).await;
            let rancher = rancher.and(VERSION, json(200, r#"{"gitVersion":"v1.34.2","major":"1"}"#)).await;
            let leaps = Leaps::default();
            let warm = rancher.client().proxy(&id()).warm_up(&leaps, Duration::from_secs(60)).await.unwrap();
            assert_eq!((warm.version.as_str(), warm.attempts), ("v1.34.2", 3));
            assert_eq!(*leaps.0.lock().unwrap(), [Duration::from_secs(2), Duration::from_secs(4)]);
        }),
        case("§3.1", "a cluster that stays cold is given up in time", async {
            let rancher = Rancher::with(VERSION, text(500, "error trying to reach service: EOF")).await;
            let leaps = Leaps::default();
            let error =
                rancher.client().proxy(&id()).warm_up(&leaps, Duration::from_secs(60)).await.unwrap_err();
            assert!(matches!(error, ProxyError::Failure(ProxyFailure::Rancher { .. })), "{error:?}");
            assert!(leaps.0.lock().unwrap().iter().sum::<Duration>() <= Duration::from_secs(60));
            assert_eq!(rancher.authorizations(VERSION).await.len(), 7, "2, 4, 8, 15, 15, 15 s");
        }),
        case("§3.1", "a denial is no cold cluster", async {
            let denied = text(403, "not allowed to impersonate user");
            let rancher = Rancher::with(VERSION, denied).await;
            let leaps = Leaps::default();
            let error =
                rancher.client().proxy(&id()).warm_up(&leaps, Duration::from_secs(60)).await.unwrap_err();
            assert!(matches!(error, ProxyError::Failure(ProxyFailure::Denied { .. })), "{error:?}");
            assert!(leaps.0.lock().unwrap().is_empty());
        }),
        case("§8", "unavailable in Rancher, and its version is read all the same", async {
            let rancher = Rancher::with(VERSION, json(200, r#"{"gitVersion":"v1.34.2"}"#)).await;
            assert_eq!(rancher.client().proxy(&id()).version().await.unwrap().as_str(), "v1.34.2");
        }),
        case("§8", "a version that is none", async {
            for body in ["{}", "<html>", r#"{"gitVersion":null}"#] {
                let rancher = Rancher::with(VERSION, json(200, body)).await;
                let error = rancher.client().proxy(&id()).version().await.unwrap_err();
                assert!(matches!(error, ProxyError::Request(Error::UnexpectedBody { .. })), "{error:?}");
            }
        }),
        case("§3.3", "a watch is followed to its end", async {
            let at = "/k8s/clusters/c-x7k2p/api/v1/pods";
            let rancher = Rancher::with(at, text(200, "{\"type\":\"BOOKMARK\"}\n")).await;
            let request = http::Request::get("/api/v1/pods?watch=1").body(Vec::new()).unwrap();
            let response = rancher.client().proxy(&id()).send(request).await.unwrap();
            let never = Arc::new(Leaps::default());
            let body = idle_deadline(response, Duration::from_secs(300), never);
            let pieces: Vec<_> = body.map(|piece| piece.unwrap()).collect().await;
            assert_eq!(pieces.concat(), b"{\"type\":\"BOOKMARK\"}\n");
        }),
        case("§7.1", "the operator's state, from Rancher's own cluster", async {
            let body = r#"{"metadata":{"name":"c-x7k2p"},"status":{"phase":"updating","failureMessage":"Downgrading\nis not allowed"}}"#;
            let rancher = Rancher::with(OPERATOR, json(200, body)).await;
            let state = rancher.client().operator_state(&id()).await.unwrap();
            assert_eq!(state.phase, "updating");
            assert_eq!(state.failure.as_deref(), Some("Downgrading is not allowed"));
        }),
        case("§7.1", "the operator's state is closed to most users, and never another cluster's", async {
            let forbidden = r#"{"kind":"Status","code":403,"reason":"Forbidden","message":"x"}"#;
            let rancher = Rancher::with(OPERATOR, json(403, forbidden)).await;
            let error = rancher.client().operator_state(&id()).await.unwrap_err();
            assert!(matches!(error, ProxyError::Failure(ProxyFailure::Kubernetes(_))), "{error:?}");
            let rancher = Rancher::with(OPERATOR, json(200, r#"{"metadata":{"name":"c-other"}}"#)).await;
            let error = rancher.client().operator_state(&id()).await.unwrap_err();
            assert!(matches!(error, ProxyError::Request(Error::UnexpectedBody { .. })), "{error:?}");
        }),
    ]
}

/// A watch whose connection is open and silent.
async fn silent_watch() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        // Open until the client hangs up.
        let _ = socket.read(&mut request).await;
    });
    let request = http::Request::get("/api/v1/pods?watch=1").body(Vec::new()).unwrap();
    let response = crate::support::client_of(&url).proxy(&id()).send(request).await.unwrap();
    let body = idle_deadline(response, Duration::from_secs(90), Arc::new(Leaps::default()));
    let pieces: Vec<_> = body.collect().await;
    assert!(matches!(pieces.last(), Some(Err(BodyError::Idle { .. }))), "{pieces:?}");
    let error = pieces.last().unwrap().as_ref().unwrap_err();
    assert!(error.outcome_known() && error.is_retryable());
    server.await.unwrap();
}

fn managed(pools: &[&str]) -> ResponseTemplate {
    let pools: Vec<Value> = pools
        .iter()
        .map(|name| value!({"name": name, "mode": "User", "count": 3, "orchestratorVersion": "1.34.2"}))
        .collect();
    let config = value!({"kubernetesVersion": "1.34.2", "nodePools": pools});
    // A minute before Rancher's own clock; this machine's is of no account.
    let refreshed = "2026-12-01T07:59:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
    let body = value!({
        "id": "c-x7k2p", "driver": "AKS", "provider": "aks", "state": "active", "transitioning": "no",
        "conditions": [{"type": "Provisioned", "status": "True"}, {"type": "Updated", "status": "True"}],
        "aksConfig": config, "appliedSpec": {"aksConfig": config}, "aksStatus": {"upstreamSpec": config},
        "annotations": {"clusters.management.cattle.io/ke-last-refresh": refreshed.to_string()},
    });
    json(200, &body.to_string()).insert_header("date", DATE)
}

fn with_buffer() -> LockStep {
    let pool = |name: &str| PoolView {
        name: name.into(),
        version: Some("1.34.2".into()),
        count: Some(3),
        autoscaling: None,
        mode: "User".into(),
    };
    let pools = vec![pool("user"), pool("buffer")];
    // A clock that is years off.
    LockStep::new(AzureState { version: Some("1.34.2".into()), pools }, jiff::Timestamp::UNIX_EPOCH)
}

fn lock_step_cases() -> Vec<Case> {
    vec![
        case("§7.4", "lock-step: a new pool is adopted after a refresh, a bad gateway in between", async {
            let rancher = Rancher::start().await;
            let once = |answer, priority| {
                Mock::given(path(CLUSTER)).respond_with(answer).up_to_n_times(1).with_priority(priority)
            };
            once(managed(&["user"]), 1).mount(&rancher.server).await;
            once(html(502, "<h1>502</h1>"), 2).mount(&rancher.server).await;
            let rancher = rancher.and(CLUSTER, managed(&["user", "buffer"])).await;
            let (mut lines, leaps) = (Vec::new(), Leaps::default());
            let reader = rancher.client().reader(&id());
            let adopted = with_buffer().wait(&reader, &leaps, |p| lines.push(p.to_string())).await.unwrap();
            assert!(matches!(adopted.ownership, Ownership::Managed(_)));
            assert_eq!((adopted.waited, lines.len()), (Duration::from_secs(30), 2));
            assert!(lines[1].contains("HTTP 502"), "{lines:?}");
        }),
        case(
            "§7.4",
            "lock-step: a pool that Rancher keeps wanting otherwise is reported in the end",
            async {
                let rancher = Rancher::with(CLUSTER, managed(&["user"])).await;
                let reader = rancher.client().reader(&id());
                let step = with_buffer().refresh(Duration::from_secs(30));
                let error = step.wait(&reader, &Leaps::default(), |_| {}).await.unwrap_err();
                assert!(
                    error.to_string().ends_with("which Rancher does not want; it would delete it"),
                    "{error}"
                );
                assert_eq!(rancher.authorizations(CLUSTER).await.len(), 13, "180 s, every 15 s");
            },
        ),
        case("§7.4", "lock-step: a token that is no good any more ends the wait", async {
            let rancher = Rancher::with(CLUSTER, json(401, MUST)).await;
            let reader = rancher.client().reader(&id());
            let error = with_buffer().wait(&reader, &Leaps::default(), |_| {}).await.unwrap_err();
            assert!(!error.is_retryable(), "{error:?}");
            assert_eq!(rancher.authorizations(CLUSTER).await.len(), 1);
        }),
        case("§7.3", "lock-step: a generic import adopts nothing", async {
            let rancher = Rancher::with(CLUSTER, json(200, r#"{"id":"c-x7k2p","driver":"imported"}"#)).await;
            let reader = rancher.client().reader(&id());
            let adopted = with_buffer().wait(&reader, &Leaps::default(), |_| {}).await.unwrap();
            assert_eq!(adopted.ownership, Ownership::Generic);
        }),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = proxy_cases();
    cases.push(case("§3.3", "a watch that is silent on an open connection", silent_watch()));
    cases.extend(lock_step_cases());
    cases
}

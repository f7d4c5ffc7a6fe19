//! The token appears nowhere, whatever a server repeats and however a value is shown.
//!
//! A process of its own, because what is traced is a matter of the process.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions marked as tests")]

use std::fmt::{Debug, Display};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use rancher_client::ca::fetch_ca_by_checksum;
use rancher_client::lock_step::LockStep;
use rancher_client::ownership::{AzureState, classify, guard, in_sync};
use rancher_client::projects::SystemNamespaces;
use rancher_client::{BearerToken, RancherClient, StaticToken, TokenSource, TokenSourceError, idle_deadline};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::support::{Leaps, SECRET, TOKEN, http_client, id, static_token};

#[expect(dead_code, reason = "shared with the wire tests, which use all of it")]
#[path = "wire/support.rs"]
mod support;

/// Everything that was shown in any way.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shown {
    fn debug(&self, value: &impl Debug) {
        let text = format!("{value:?} {value:#?}");
        let json = serde_json::json!({ "shown": &text }).to_string();
        tracing::error!(?value, json, "shown");
        self.0.lock().unwrap().extend_from_slice(format!("{text}\n{json}\n").as_bytes());
    }

    fn display(&self, value: &(impl Debug + Display)) {
        self.debug(value);
        let text = value.to_string();
        tracing::error!(%value, "shown");
        self.0.lock().unwrap().extend_from_slice(text.as_bytes());
    }

    /// An error with its causes, or a value.
    fn result<T: Debug, E: std::error::Error>(&self, result: &Result<T, E>) {
        match result {
            Ok(value) => self.debug(value),
            Err(error) => {
                self.display(error);
                let mut cause = error.source();
                while let Some(error) = cause {
                    self.debug(&format!("{error} {error:?}"));
                    cause = error.source();
                }
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// Repeats the token in every place of an answer that fits the path as well as it can.
fn echo(status: u16, request: &Request) -> ResponseTemplate {
    // Whoever fetches the certificates has no token yet, and can hide none.
    let unsent = if request.url.path().ends_with("/cacerts") { "nothing" } else { TOKEN };
    let token = request.headers.get("authorization").map_or(unsent, |value| value.to_str().unwrap());
    let name = request.url.path().rsplit('/').next().unwrap_or_default().to_owned();
    let cluster = serde_json::json!({"id": "c-x7k2p", "name": token, "state": token, "driver": "AKS",
        "transitioning": token, "transitioningMessage": token, "conditions": [{"type": token, "status": token}],
        "annotations": {"a": token}, "labels": {"b": token}, "apiEndpoint": token,
        "aksConfig": {"kubernetesVersion": token, "nodePools": [{"name": token, "mode": token}]}});
    let found = match name.as_str() {
        "clusters" => serde_json::json!({"data": [cluster]}),
        "users" => {
            serde_json::json!({"data": [{"id": "u-1", "me": true, "username": token, "principalIds": [token]}]})
        }
        "projects" => {
            serde_json::json!({"data": [{"id": "c-x7k2p:p-1", "name": token, "labels": {"a": token}}]})
        }
        "nodes" => {
            serde_json::json!({"data": [{"id": token, "nodeName": token, "providerId": token, "state": token}]})
        }
        "version" => serde_json::json!({"gitVersion": token}),
        "c-x7k2p" if request.url.path().starts_with("/v3") => cluster,
        "c-x7k2p" => {
            serde_json::json!({"metadata": {"name": "c-x7k2p"}, "status": {"phase": token, "failureMessage": token}})
        }
        _ => {
            serde_json::json!({"name": name, "value": token, "default": token, "expiresAt": "", "userId": token})
        }
    };
    let failed = serde_json::json!({"type": "error", "kind": "Status", "code": token, "reason": token, "message": token,
        "Code": {"Code": token}, "Message": token, "details": {"causes": [{"reason": token, "message": token, "field": token}]}});
    let body = if status < 300 { found } else { failed };
    let host = if token.contains(SECRET) { SECRET } else { "elsewhere" };
    ResponseTemplate::new(status)
        .set_body_raw(body.to_string(), "application/json")
        .insert_header("x-echo", token)
        .insert_header("location", format!("https://{host}.invalid/{token}").as_str())
}

async fn server(answer: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

/// Every operation of a client, and every type that comes out of it.
async fn drive(shown: &Shown, client: &RancherClient) {
    let pause = Leaps::default();
    let proxy = client.proxy(&id());
    let reader = client.reader(&id());
    shown.debug(client);
    shown.debug(&proxy);
    shown.debug(&reader);
    shown.display(client.url());
    shown.result(&client.clusters().await);
    shown.result(&client.cluster_by_name("shop").await);
    shown.result(&client.token_info().await);
    shown.result(&client.token_reach(&id()).await);
    shown.result(&client.user().await);
    shown.result(&client.user_id().await);
    shown.result(&client.setting("aks-refresh").await);
    shown.result(&client.aks_refresh().await);
    shown.result(&client.server_version().await);
    shown.result(&client.ping().await);
    shown.result(&client.healthz().await);
    shown.result(&client.projects(&id()).await);
    shown.result(&client.system_namespaces().await);
    shown.result(&client.cached_nodes(&id()).await);
    shown.result(&client.operator_state(&id()).await);
    shown.result(&proxy.version().await);
    shown.result(&proxy.warm_up(&pause, Duration::from_secs(4)).await);
    shown.result(&fetch_ca_by_checksum(&http_client(), client.url(), &"a".repeat(64)).await);
    let azure = AzureState { version: None, pools: Vec::new() };
    let cluster = client.cluster(&id()).await;
    shown.result(&cluster);
    if let Ok(cluster) = cluster {
        let now = jiff::Timestamp::UNIX_EPOCH;
        shown.debug(cluster.raw());
        shown.debug(&classify(&cluster));
        shown.debug(&in_sync(&cluster, now, Duration::from_secs(300)));
        for reason in guard(&cluster, &azure, now, Duration::from_secs(300)).err().into_iter().flatten() {
            shown.debug(&reason);
            shown.debug(&reason.to_string());
        }
        shown.result(&client.credential_subscription(&cluster).await);
    }
    let step = LockStep::new(azure, jiff::Timestamp::UNIX_EPOCH).refresh(Duration::from_secs(15));
    let waited = step.wait(&reader, &pause, |progress| {
        shown.debug(progress);
        shown.debug(&progress.to_string());
    });
    shown.result(&waited.await);
    let response = proxy.send(http::Request::get("/version").body(Vec::new()).unwrap()).await;
    match response {
        Ok(response) if response.status().is_success() => {
            let pause = Arc::new(Leaps::default());
            let pieces: Vec<_> = idle_deadline(response, Duration::from_secs(300), pause).collect().await;
            assert!(pieces.iter().all(Result::is_ok), "a body is handed on as it is; it is not shown here");
        }
        Ok(response) => shown.display(&proxy.failure(response).await),
        Err(error) => shown.display(&error),
    }
}

#[tokio::test]
async fn the_token_is_shown_nowhere() {
    let shown = Shown::default();
    let writer = shown.clone();
    // For the whole process, so that connections' own tasks are heard as well.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let token = BearerToken::parse(TOKEN).unwrap();
    shown.debug(&token);
    shown.debug(&token.authorization());
    shown.debug(&StaticToken::new(token.clone()));
    shown.result(&StaticToken::new(token.clone()).token().await);
    shown.display(&TokenSourceError::new("the file").caused_by(std::io::Error::other("gone")));
    for damaged in
        [format!("{TOKEN}:x"), format!("Bearer {TOKEN}"), format!("{TOKEN}\u{7f}"), SECRET.to_owned()]
    {
        shown.result(&BearerToken::parse(&damaged));
    }
    shown.result(&rancher_client::RancherUrl::parse(&format!("https://{TOKEN}@rancher.example.com")));
    shown.debug(&SystemNamespaces::default());

    for status in [200, 302, 400, 401, 403, 404, 409, 410, 422, 429, 500, 502, 503] {
        let server = server(move |request| echo(status, request)).await;
        let url = server.uri().parse().unwrap();
        drive(&shown, &RancherClient::new(http_client(), url, Arc::new(static_token(TOKEN)))).await;
    }
    let plain = server(|request| match request.headers.get("authorization") {
        Some(sent) => ResponseTemplate::new(500).set_body_string(format!("EOF {}", sent.to_str().unwrap())),
        None => ResponseTemplate::new(500).set_body_string("EOF"),
    })
    .await;
    let url = plain.uri().parse().unwrap();
    drive(&shown, &RancherClient::new(http_client(), url, Arc::new(static_token(TOKEN)))).await;
    // Nobody listens.
    let url = "http://127.0.0.1:1".parse().unwrap();
    drive(&shown, &RancherClient::new(http_client(), url, Arc::new(static_token(TOKEN)))).await;

    let text = shown.text();
    assert!(text.contains("token-7x2kp") && text.contains("[redacted]"), "the name and the gap are shown");
    assert!(text.contains("read cluster c-x7k2p"), "the log was heard");
    let found = text.match_indices(SECRET).next().map(|(at, _)| {
        text[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect::<String>()
    });
    assert_eq!(found, None, "the token, after this");
}

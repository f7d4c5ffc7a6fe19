//! A Rancher made of prepared answers, and the form of a case.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rancher_client::{
    BearerToken, Error, Pause, RancherClient, RancherClusterId, RancherUrl, StaticToken, TokenSource,
    TokenSourceError,
};
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// The token of the tests. No output may ever show what follows the colon.
pub(crate) const TOKEN: &str = "token-7x2kp:hunter2hunter2";
pub(crate) const SECRET: &str = "hunter2hunter2";
pub(crate) const CLUSTER: &str = "/v3/clusters/c-x7k2p";
pub(crate) const LIST: &str = "/v3/clusters";
pub(crate) const VERSION: &str = "/k8s/clusters/c-x7k2p/version";

pub(crate) const MUST: &str =
    r#"{"type":"error","status":"401","message":"Unauthorized 401: must authenticate"}"#;
pub(crate) const MISSING: &str = r#"{"type":"error","status":404,"code":"NotFound","message":"x"}"#;
pub(crate) const DATE: &str = "Tue, 01 Dec 2026 08:00:00 GMT";

/// One thing that is said over the wire, and the section of the fact sheet on Rancher that says so.
pub(crate) struct Case {
    pub(crate) section: &'static str,
    pub(crate) name: String,
    run: BoxFuture<'static, ()>,
}

pub(crate) fn case(
    section: &'static str,
    name: impl Into<String>,
    run: impl Future<Output = ()> + Send + 'static,
) -> Case {
    Case { section, name: name.into(), run: run.boxed() }
}

/// Runs all cases, and fails with the names of those that failed.
pub(crate) async fn run(cases: Vec<Case>) {
    let mut failed = Vec::new();
    for Case { section, name, run } in cases {
        if AssertUnwindSafe(run).catch_unwind().await.is_err() {
            failed.push(format!("{section} {name}"));
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}

/// A server that fails the test when it meets a request that no answer was prepared for.
pub(crate) struct Rancher {
    pub(crate) server: MockServer,
}

impl Rancher {
    pub(crate) async fn start() -> Self {
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(599).set_body_string("unexpected request"))
            .with_priority(255)
            .expect(0)
            .named("catch-all: no answer was prepared for a request")
            .mount(&server)
            .await;
        Self { server }
    }

    /// A server with one answer, to a path with any query.
    pub(crate) async fn with(at: &str, answer: ResponseTemplate) -> Self {
        Self::start().await.and(at, answer).await
    }

    /// The same server with one answer more.
    pub(crate) async fn and(self, at: &str, answer: ResponseTemplate) -> Self {
        self.mount(Mock::given(path(at)).respond_with(answer)).await;
        self
    }

    /// Prepares an answer that must be asked for.
    pub(crate) async fn mount(&self, mock: Mock) {
        mock.expect(1..).mount(&self.server).await;
    }

    pub(crate) fn client(&self) -> RancherClient {
        self.client_with(StaticToken::new(BearerToken::parse(TOKEN).unwrap()))
    }

    pub(crate) fn client_with(&self, tokens: impl TokenSource + 'static) -> RancherClient {
        RancherClient::new(http_client(), self.url(), Arc::new(tokens))
    }

    pub(crate) fn url(&self) -> RancherUrl {
        RancherUrl::parse(&self.server.uri()).unwrap()
    }

    /// The `Authorization` headers of the requests to a path, in order.
    pub(crate) async fn authorizations(&self, at: &str) -> Vec<Option<String>> {
        let requests = self.server.received_requests().await.unwrap();
        let of =
            |r: &wiremock::Request| r.headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
        requests.iter().filter(|r| r.url.path() == at).map(of).collect()
    }
}

pub(crate) fn provider() {
    // An error means that another test was quicker.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub(crate) fn http_client() -> reqwest::Client {
    provider();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

pub(crate) fn id() -> RancherClusterId {
    RancherClusterId::parse("c-x7k2p").unwrap()
}

/// One page of a norman collection.
pub(crate) fn collection(
    data: &serde_json::Value,
    filters: &serde_json::Value,
    next: Option<&str>,
) -> ResponseTemplate {
    let body = serde_json::json!({"type": "collection", "data": data, "filters": filters, "sort": {}, "createTypes": {},
        "pagination": {"limit": 1000, "total": 9, "next": next}});
    json(200, &body.to_string())
}

/// How norman echoes a filter that it applied.
pub(crate) fn equals(wanted: &str) -> serde_json::Value {
    serde_json::json!([{"modifier": "eq", "value": wanted}])
}

pub(crate) fn static_token(text: &str) -> StaticToken {
    StaticToken::new(BearerToken::parse(text).unwrap())
}

pub(crate) fn json(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.to_owned(), "application/json")
}

pub(crate) fn text(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.to_owned(), "text/plain")
}

pub(crate) fn html(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.to_owned(), "text/html; charset=utf-8")
}

/// The place in the body at which reading stopped.
pub(crate) fn place(error: &Error) -> String {
    let Error::UnexpectedBody { source, .. } = error else { panic!("{error:?}") };
    source.path().to_owned()
}

/// A source that gives its tokens one after the other, and the last one for ever.
pub(crate) struct Rotating(pub(crate) Mutex<Vec<&'static str>>);

impl Rotating {
    pub(crate) fn new(tokens: &[&'static str]) -> Self {
        Self(Mutex::new(tokens.iter().rev().copied().collect()))
    }
}

impl TokenSource for Rotating {
    fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenSourceError>> {
        let mut tokens = self.0.lock().unwrap();
        let next = if tokens.len() > 1 { tokens.pop() } else { tokens.last().copied() };
        let token = next.ok_or_else(|| TokenSourceError::new("no token is left"));
        Box::pin(std::future::ready(token.map(|t| BearerToken::parse(t).unwrap())))
    }
}

/// Pauses that are over at once, and counted. A deadline of minutes never comes.
#[derive(Default)]
pub(crate) struct Leaps(pub(crate) Mutex<Vec<Duration>>);

impl Pause for Leaps {
    fn pause(&self, duration: Duration) -> BoxFuture<'_, ()> {
        if duration > Duration::from_secs(120) {
            return Box::pin(std::future::pending());
        }
        self.0.lock().unwrap().push(duration);
        Box::pin(std::future::ready(()))
    }
}

/// A server that says exactly these bytes to whatever it is asked, once per connection, and hangs up.
pub(crate) async fn raw_server(answer: Vec<u8>) -> RancherUrl {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = RancherUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(&answer).await;
            let _ = socket.shutdown().await;
        }
    });
    url
}

pub(crate) fn client_of(url: &RancherUrl) -> RancherClient {
    RancherClient::new(http_client(), url.clone(), Arc::new(static_token(TOKEN)))
}

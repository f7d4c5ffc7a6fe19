//! A small ARM, a clock that only counts, and a source of numbered tokens.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions marked as tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use aks_client::{
    AccessToken, AksClient, ApiVersion, ClusterId, Error, Operation, OperationKind, OperationUrl, Pause,
    TokenError, TokenSource,
};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use wiremock::matchers::{any, method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

pub(crate) const SECRET: &str = "tok-S3CRET";
pub(crate) const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

/// Lets no time pass, and remembers how much was asked for.
#[derive(Default)]
pub(crate) struct Waits(Mutex<Vec<u64>>);

impl Pause for Waits {
    fn pause(&self, duration: Duration) -> BoxFuture<'_, ()> {
        self.0.lock().unwrap().push(duration.as_secs());
        Box::pin(futures::future::ready(()))
    }
}

/// Hands out `tok-S3CRET-1`, and the next number after each invalidation.
#[derive(Default)]
pub(crate) struct Tokens {
    pub(crate) invalidated: AtomicUsize,
    pub(crate) scopes: Mutex<Vec<String>>,
}

impl TokenSource for Tokens {
    fn token(&self, scope: &str) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        self.scopes.lock().unwrap().push(scope.to_owned());
        let number = self.invalidated.load(Ordering::SeqCst) + 1;
        let secret = format!("{SECRET}-{number}").into();
        Box::pin(async move { Ok(AccessToken { secret, expires_at: None }) })
    }

    fn kind(&self) -> &'static str {
        "numbered"
    }

    fn invalidate(&self) {
        self.invalidated.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) struct Arm {
    pub(crate) server: MockServer,
    pub(crate) client: AksClient,
    pub(crate) waits: Arc<Waits>,
    pub(crate) tokens: Arc<Tokens>,
}

pub(crate) fn http(redirect: reqwest::redirect::Policy) -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().redirect(redirect).no_proxy().build().unwrap()
}

impl Arm {
    pub(crate) async fn start() -> Self {
        let server = MockServer::start().await;
        // Whatever no other mock expects is answered as nothing else is, and fails the test when the server is dropped.
        Mock::given(any())
            .respond_with(ResponseTemplate::new(418).set_body_string("no mock expects this request"))
            .with_priority(u8::MAX)
            .expect(0)
            .named("catch-all: a request no test expects")
            .mount(&server)
            .await;
        let (waits, tokens) = (Arc::new(Waits::default()), Arc::new(Tokens::default()));
        let endpoint = server.uri().parse().unwrap();
        let http = http(reqwest::redirect::Policy::none());
        let client =
            AksClient::new(http, endpoint, ApiVersion::default(), tokens.clone()).with_pause(waits.clone());
        Self { server, client, waits, tokens }
    }

    /// Expects exactly one request.
    pub(crate) async fn once(&self, verb: &str, at: &str, answer: ResponseTemplate) {
        self.times(1, verb, at, answer).await;
    }

    /// Expects exactly `times` requests in total; the answer is used up after them, so that answers queue.
    pub(crate) async fn times(&self, times: u64, verb: &str, at: &str, answer: ResponseTemplate) {
        self.mount(times, "2026-08-01", verb, at, answer).await;
    }

    /// Expects exactly one request in this API version.
    pub(crate) async fn version(&self, version: &str, verb: &str, at: &str, answer: ResponseTemplate) {
        self.mount(1, version, verb, at, answer).await;
    }

    async fn mount(&self, times: u64, version: &str, verb: &str, at: &str, answer: ResponseTemplate) {
        Mock::given(method(verb))
            .and(path(at))
            .and(query_param("api-version", version))
            .respond_with(answer)
            .up_to_n_times(times)
            .expect(times)
            .named(format!("{verb} {at} {version}"))
            .mount(&self.server)
            .await;
    }

    /// Expects one GET of an operation's URL, whatever its query.
    pub(crate) async fn status(&self, at: &str, answer: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path(at))
            .respond_with(answer)
            .up_to_n_times(1)
            .expect(1)
            .named(format!("status {at}"))
            .mount(&self.server)
            .await;
    }

    pub(crate) async fn requests(&self) -> Vec<Request> {
        self.server.received_requests().await.unwrap()
    }

    /// The last request of this method.
    pub(crate) async fn last(&self, verb: &str) -> Request {
        self.requests().await.into_iter().rfind(|request| request.method.as_str() == verb).unwrap()
    }

    pub(crate) fn waited(&self) -> Vec<u64> {
        self.waits.0.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path_and_query: &str) -> OperationUrl {
        OperationUrl::parse(&format!("{}{path_and_query}", self.server.uri())).unwrap()
    }
}

pub(crate) fn id() -> ClusterId {
    ClusterId::new(SUBSCRIPTION.parse().unwrap(), "rg-demo", "shop").unwrap()
}

pub(crate) fn cluster_path() -> String {
    id().resource_id()
}

pub(crate) fn pool_path(name: &str) -> String {
    format!("{}/agentPools/{name}", cluster_path())
}

pub(crate) fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

pub(crate) fn answer(status: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

pub(crate) fn cluster(state: &str, version: &str) -> Value {
    json!({
        "id": cluster_path(), "name": "shop", "location": "westeurope", "eTag": "etag-cluster",
        "properties": {
            "provisioningState": state, "kubernetesVersion": version, "currentKubernetesVersion": version,
            "servicePrincipalProfile": {"clientId": "msi"}, "unknown": {"nested": [1, null]},
            "agentPoolProfiles": [
                {"name": "system", "orchestratorVersion": "1.34.6", "eTag": "x", "nodeImageVersion": "i"}]
        }
    })
}

pub(crate) fn pool(name: &str, state: &str, version: &str) -> Value {
    json!({
        "id": pool_path(name), "name": name,
        "properties": {
            "provisioningState": state, "orchestratorVersion": version, "currentOrchestratorVersion": version,
            "eTag": "etag-pool", "count": 3, "nodeImageVersion": "i", "unknown": {"nested": [1, null]}
        }
    })
}

pub(crate) fn operation(kind: OperationKind) -> Operation {
    let on_cluster = matches!(kind, OperationKind::UpgradeControlPlane { .. } | OperationKind::AbortCluster);
    Operation {
        kind,
        cluster: id(),
        pool: (!on_cluster).then(|| "user1".to_owned()),
        azure_async_operation: None,
        location: None,
        retry_after: None,
        started: None,
        request_id: None,
    }
}

pub(crate) fn to(version: &str) -> String {
    version.to_owned()
}

/// An error in a few words: its class, whether to try again, whether it is known what happened, and what was missing.
pub(crate) fn describe(error: &Error) -> String {
    let class = match error {
        Error::Conflict { .. } => "conflict",
        Error::NotAllowed { .. } => "not allowed",
        Error::EtagMismatch { .. } => "etag",
        Error::AlreadyExists { .. } => "exists",
        Error::Throttled { .. } => "throttled",
        Error::NotFound { .. } => "not found",
        Error::Unauthorized { .. } => "unauthorized",
        Error::Forbidden { .. } => "forbidden",
        Error::Api { .. } => "api",
        Error::Unreachable { .. } => "unreachable",
        Error::UnexpectedBody { .. } => "unexpected",
        Error::AnotherCluster { .. } => "another cluster",
        Error::Redirected { .. } => "redirected",
        Error::BodyTooLarge { .. } => "too large",
        Error::Token { .. } => "token",
        Error::Body { .. } => "body",
        Error::InvalidArgument { .. } => "argument",
        _ => "other",
    };
    let retry = if error.is_retryable() { "retry" } else { "final" };
    let known = if error.outcome_known() { "known" } else { "unknown" };
    let missing = match error {
        Error::Forbidden { missing: Some(missing), .. } => format!(", missing {missing}"),
        _ => String::new(),
    };
    format!("{class}, {retry}, {known}{missing}")
}

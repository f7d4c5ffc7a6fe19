//! A Rancher made of prepared answers, for the wire tests of this crate.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::{BearerToken, RancherClient, RancherUrl, StaticToken, TokenSource, TokenSourceError};

/// The token of the tests. No output may ever show what follows the colon.
pub(crate) const TOKEN: &str = "token-7x2kp:hunter2hunter2";
pub(crate) const SECRET: &str = "hunter2hunter2";

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
        let rancher = Self::start().await;
        rancher.answer(at, answer).await;
        rancher
    }

    /// Prepares the answer to a path, with any query. It must be asked for.
    pub(crate) async fn answer(&self, at: &str, answer: ResponseTemplate) {
        self.mount(Mock::given(path(at)).respond_with(answer)).await;
    }

    /// Prepares an answer that must be asked for. There is one server per answer to a request, because wiremock
    /// mixes up mocks that come and go with mocks that have a priority, such as the catch-all.
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

pub(crate) fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

pub(crate) fn json(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.to_owned(), "application/json")
}

pub(crate) fn text(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.to_owned(), "text/plain")
}

/// A source that gives its tokens one after the other, and the last one for ever.
pub(crate) struct Rotating(Mutex<Vec<&'static str>>);

impl Rotating {
    pub(crate) fn new(mut tokens: Vec<&'static str>) -> Self {
        tokens.reverse();
        Self(Mutex::new(tokens))
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

#[tokio::test]
#[should_panic(expected = "catch-all")]
async fn a_request_that_nobody_prepared_for_fails_the_test() {
    let rancher = Rancher::start().await;
    let answer = rancher.client().ping().await;
    assert!(answer.is_err());
}

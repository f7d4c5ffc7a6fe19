//! The client: one server, one token source, and the rules every request obeys.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, LOCATION, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use url::Url;

use crate::answer::{self, MAX_BODY, Operation, TokenVerdict};
use crate::error::{Error, transport};
use crate::token::{BearerToken, TokenSource};
use crate::url::RancherUrl;

/// What every request calls itself. It must not contain "mozilla": Rancher would take the client for a browser and
/// ask for CSRF headers (norman: `api/validate.go`).
pub const USER_AGENT_TEXT: &str = concat!("aks-drover/", env!("CARGO_PKG_VERSION"));

/// Longest wait for a whole answer of Rancher's own API, which needs no downstream cluster. Lists of a thousand
/// clusters take a few seconds; a Rancher that needs a minute is not going to answer. The proxy has no such limit,
/// because watches are meant to last.
const API_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one Rancher server. Clones share the connection pool and the token.
///
/// It retries nothing, but for one case: after a 401 it asks the token source again, and repeats the request once if
/// the token is another one. That is safe for requests that change something, because Rancher checks the token
/// before it does anything else.
#[derive(Clone)]
pub struct RancherClient {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    url: RancherUrl,
    tokens: Arc<dyn TokenSource>,
    /// The token in use; `None` before the first request.
    current: Mutex<Option<BearerToken>>,
}

/// One request, so that it can be sent twice.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) timeout: Option<Duration>,
}

impl Outgoing {
    fn get(url: Url) -> Self {
        // What a cache kept would look fresh: the age of Rancher's last look at Azure is judged by the answer's date.
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ]);
        Self { method: Method::GET, url, headers, body: Bytes::new(), timeout: Some(API_TIMEOUT) }
    }

    fn into_request(self, authorization: Option<HeaderValue>) -> reqwest::Request {
        let mut request = reqwest::Request::new(self.method, self.url);
        let mut headers = self.headers;
        // Only this client says who is calling, and the HTTP library says where to and how much.
        for name in [AUTHORIZATION, COOKIE, HOST, CONTENT_LENGTH] {
            headers.remove(name);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_TEXT));
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value);
        }
        *request.headers_mut() = headers;
        if !self.body.is_empty() {
            *request.body_mut() = Some(self.body.into());
        }
        *request.timeout_mut() = self.timeout;
        request
    }
}

impl RancherClient {
    /// A client for the server at `url`. Nothing is sent yet.
    ///
    /// `http` decides about TLS, proxies and timeouts. It must be built with redirects off
    /// (`reqwest::redirect::Policy::none()`), must verify certificates, and should allow 60 s for connecting and for the
    /// first byte: a cluster agent that has lost its tunnel is waited for up to 40 s.
    pub fn new(http: reqwest::Client, url: RancherUrl, tokens: Arc<dyn TokenSource>) -> Self {
        Self { inner: Arc::new(Inner { http, url, tokens, current: Mutex::new(None) }) }
    }

    /// The server's address.
    pub fn url(&self) -> &RancherUrl {
        &self.inner.url
    }

    /// GETs JSON below the server's URL. `path` holds an encoded query, if any.
    pub(crate) async fn get_json<T: DeserializeOwned>(
        &self,
        path: &str,
        operation: &Operation,
    ) -> Result<T, Error> {
        self.get_dated(path, operation).await.map(|(value, _)| value)
    }

    /// GETs JSON, and the server's own clock when it answered.
    pub(crate) async fn get_dated<T: DeserializeOwned>(
        &self,
        path: &str,
        operation: &Operation,
    ) -> Result<(T, Option<Timestamp>), Error> {
        let url = self.url().join(path).map_err(Error::BadPath)?;
        self.request_json(Outgoing::get(url), operation).await
    }

    /// POSTs JSON and reads the JSON that comes back.
    pub(crate) async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &'static str,
        operation: &Operation,
    ) -> Result<T, Error> {
        let mut outgoing = Outgoing::get(self.url().join(path).map_err(Error::BadPath)?);
        outgoing.method = Method::POST;
        outgoing.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        outgoing.body = Bytes::from_static(body.as_bytes());
        self.request_json(outgoing, operation).await.map(|(value, _)| value)
    }

    async fn request_json<T: DeserializeOwned>(
        &self,
        outgoing: Outgoing,
        operation: &Operation,
    ) -> Result<(T, Option<Timestamp>), Error> {
        let (response, token) = self.send(outgoing, &operation.text).await?;
        let status = response.status();
        let headers = response.headers().clone();
        if !status.is_success() {
            let body = answer::read_error_body(response, Some(&token)).await;
            return Err(answer::api_error(operation, status, &headers, &body, Some(token.name())));
        }
        let body = answer::read_body(response, MAX_BODY, &operation.text).await?;
        // A server that repeats its request would otherwise put the token into the error that quotes its answer.
        let value = answer::decode(&token.redact(body)).map_err(|e| operation.unexpected(e))?;
        Ok((value, answer::server_time(&headers)))
    }

    /// Sends with the token, and once more after a 401 if the source has another token. Gives the token that was
    /// sent last, too.
    pub(crate) async fn send(
        &self,
        outgoing: Outgoing,
        operation: &str,
    ) -> Result<(reqwest::Response, BearerToken), Error> {
        let token = self.current_token().await?;
        let response = self.exchange_with(&token, outgoing.clone(), operation).await?;
        // With an accepted token a 401 is about permission or scope, which a fresh token of the same user shares.
        let refused = response.status() == StatusCode::UNAUTHORIZED
            && answer::token_verdict(response.headers()) != TokenVerdict::Accepted;
        if !refused {
            return Ok((response, token));
        }
        let Some(fresh) = self.replace_token(&token).await else { return Ok((response, token)) };
        tracing::info!(token = fresh.name(), "Rancher refused the token; trying the one the source has now");
        let response = self.exchange_with(&fresh, outgoing, operation).await?;
        Ok((response, fresh))
    }

    async fn exchange_with(
        &self,
        token: &BearerToken,
        outgoing: Outgoing,
        operation: &str,
    ) -> Result<reqwest::Response, Error> {
        let authorization = Some(token.authorization());
        exchange(&self.inner.http, outgoing, authorization, operation)
            .await
            .map_err(|error| without_token(error, Some(token)))
    }

    /// The token in use, read from the source the first time.
    pub(crate) async fn current_token(&self) -> Result<BearerToken, Error> {
        if let Some(token) = self.lock().clone() {
            return Ok(token);
        }
        let token = self.inner.tokens.token().await.map_err(Error::TokenUnavailable)?;
        Ok(self.lock().get_or_insert(token).clone())
    }

    /// A token other than `refused`: one that a concurrent request has found already, or the source's of now. A
    /// source that fails here does not hide the 401 that led here.
    async fn replace_token(&self, refused: &BearerToken) -> Option<BearerToken> {
        if let Some(token) = self.lock().clone().filter(|token| !token.is_same(refused)) {
            return Some(token);
        }
        let fresh = match self.inner.tokens.token().await {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::warn!(%error, "the token source has nothing after Rancher refused its token");
                return None;
            }
        };
        if fresh.is_same(refused) {
            return None;
        }
        *self.lock() = Some(fresh.clone());
        Some(fresh)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<BearerToken>> {
        // The guarded value is replaced as a whole, so a panic elsewhere cannot leave half of one.
        self.inner.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// GETs without the token, for the few paths that need none.
    pub(crate) async fn get_anonymous(&self, path: &str, operation: &Operation) -> Result<Vec<u8>, Error> {
        let token = self.lock().clone();
        get_anonymous(&self.inner.http, self.url(), path, operation, token.as_ref()).await
    }
}

/// GETs a path without any token, and reads the body of a success. `known` is a token that the server was sent before
/// and may repeat.
pub(crate) async fn get_anonymous(
    http: &reqwest::Client,
    base: &RancherUrl,
    path: &str,
    operation: &Operation,
    known: Option<&BearerToken>,
) -> Result<Vec<u8>, Error> {
    let url = base.join(path).map_err(Error::BadPath)?;
    let response = exchange(http, Outgoing::get(url), None, &operation.text).await;
    let response = response.map_err(|error| without_token(error, known))?;
    let status = response.status();
    if !status.is_success() {
        let headers = response.headers().clone();
        let body = answer::read_error_body(response, known).await;
        return Err(answer::api_error(operation, status, &headers, &body, None));
    }
    let body = answer::read_body(response, MAX_BODY, &operation.text).await?;
    Ok(match known {
        Some(token) => token.redact(body),
        None => body,
    })
}

/// One request and the head of its answer; a redirect is an error.
async fn exchange(
    http: &reqwest::Client,
    outgoing: Outgoing,
    authorization: Option<HeaderValue>,
    operation: &str,
) -> Result<reqwest::Response, Error> {
    let sent_to = outgoing.url.clone();
    let method = outgoing.method.clone();
    let request = outgoing.into_request(authorization);
    let response =
        http.execute(request).await.map_err(|error| transport(error, sent_to.authority(), operation))?;
    let status = response.status();
    tracing::debug!(service = "rancher", %method, operation, status = status.as_u16(), "answer");
    if *response.url() != sent_to {
        let host = Some(response.url().authority().to_owned());
        return Err(Error::Redirected { operation: operation.to_owned(), host, followed: true });
    }
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        let host = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|place| sent_to.join(place).ok())
            .and_then(|place| place.host_str().map(|_| host_and_port(&place)));
        return Err(Error::Redirected { operation: operation.to_owned(), host, followed: false });
    }
    Ok(response)
}

/// A hostile server may redirect to a host that is named after what it was sent.
fn without_token(error: Error, token: Option<&BearerToken>) -> Error {
    match (error, token) {
        (Error::Redirected { operation, host: Some(host), followed }, Some(token)) => {
            let host = String::from_utf8_lossy(&token.redact(host.into_bytes())).into_owned();
            Error::Redirected { operation, host: Some(host), followed }
        }
        (error, _) => error,
    }
}

/// Without the credentials that a hostile `Location` may hold.
fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl fmt::Debug for RancherClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RancherClient").field("url", &self.inner.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rancher, Rotating};
    use crate::{RancherClient, RancherClusterId};

    #[tokio::test]
    async fn of_many_requests_refused_at_once_only_the_first_asks_the_source() {
        let rancher = Rancher::start().await;
        let client = rancher.client_with(Rotating::new(vec!["token-a:one", "token-b:two", "token-c:three"]));
        let refused = client.current_token().await.unwrap();
        for _ in 0..3 {
            assert_eq!(client.replace_token(&refused).await.unwrap().name(), "token-b");
        }
        assert_eq!(client.current_token().await.unwrap().name(), "token-b");
    }

    #[test]
    fn every_call_can_run_on_a_runtime_with_many_threads() {
        fn is_send<T: Send>(_: impl FnOnce(RancherClient, RancherClusterId) -> T) {}
        is_send(|client, id| async move { client.cluster(&id).await });
        is_send(|client, _| async move { client.clusters().await });
        is_send(|client, _| async move { client.token_info().await });
        is_send(|client, _| async move { client.server_version().await });
        is_send(|client, id| async move {
            let proxy = client.proxy(&id);
            let response = proxy.send(http::Request::new(Vec::new())).await.ok()?;
            Some(proxy.failure(response).await)
        });
    }
}

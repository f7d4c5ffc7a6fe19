//! One request: token, ids, conditions, bounded retries of reads, a bounded body, and a classified answer.

use std::borrow::Cow;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH, LOCATION, USER_AGENT,
};
use reqwest::{Method, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use crate::client::AksClient;
use crate::error::{Answer, Error, Trace, classify};
use crate::pace::Lane;
use crate::retry_after::retry_after;
use crate::service_error::ServiceError;
use crate::text;

const AGENT: &str = concat!("aks-drover/", env!("CARGO_PKG_VERSION"));

/// The largest body read. A cluster with a hundred pools is below 1 MiB; a proxy's endless stream is cut here.
const LARGEST_BODY: usize = 8 * 1024 * 1024;

/// How often one read is tried. With [`FIRST_BACKOFF`] doubling, four repeats wait 1 + 2 + 4 + 8 = 15 s: longer than a
/// restart of a front end, short enough that a caller still hears of an outage soon.
const ATTEMPTS: u32 = 5;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// The longest `Retry-After` waited for within a call. The AKS buckets refill within a minute; a longer wait is the
/// caller's to decide and reaches it as the error.
const LONGEST_WAIT: Duration = Duration::from_secs(90);

/// ARM itself gives up on a provider after 60 s and answers; a request without any answer by then is lost.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(100);

/// What a write demands of the resource.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    None,
    /// Still as it was read: `If-Match`.
    Unchanged(String),
    /// Not there yet: `If-None-Match: *`.
    Absent,
}

/// One request to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) condition: Condition,
    pub(crate) body: Option<Value>,
    /// Changes nothing, so it may be repeated. Not a matter of the method: some reads are POSTs.
    pub(crate) is_read: bool,
    /// Whose pace it keeps.
    pub(crate) lane: Lane,
}

impl Request {
    pub(crate) fn get(url: Url, lane: Lane) -> Self {
        Self { method: Method::GET, url, condition: Condition::None, body: None, is_read: true, lane }
    }

    pub(crate) fn write(method: Method, url: Url) -> Self {
        Self { method, url, condition: Condition::None, body: None, is_read: false, lane: Lane::Arm }
    }

    fn trace(&self, client_request_id: Uuid) -> Trace {
        Trace {
            request: format!("{} {}", self.method, text::shorten(self.url.path(), 300)),
            client_request_id,
            request_id: None,
            correlation_id: None,
            is_write: !self.is_read,
        }
    }
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trace: Trace,
}

impl Reply {
    /// The body as JSON; anything else is an error that says what came instead.
    pub(crate) fn json(&self) -> Result<Value, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let kind =
                self.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("no content type");
            // Not the parser's own text alone: what arrived instead of JSON is what the reader needs to know.
            self.unexpected(format!(
                "{} bytes of {}, not JSON (line {}, column {})",
                self.body.len(),
                text::shorten(kind, 60),
                error.line(),
                error.column()
            ))
        })
    }

    pub(crate) fn unexpected(&self, reason: impl Into<String>) -> Error {
        Error::UnexpectedBody { reason: reason.into(), trace: Box::new(self.trace.clone()) }
    }
}

impl AksClient {
    /// Sends a request; a read is repeated on transient failures, a write never.
    pub(crate) async fn send(&self, request: &Request) -> Result<Reply, Error> {
        let mut attempt = 1;
        let mut backoff = FIRST_BACKOFF;
        loop {
            let error = match self.send_authorized(request).await {
                Err(error) if request.is_read && error.is_transient() && attempt < ATTEMPTS => error,
                other => return other,
            };
            let wait = error.retry_after().unwrap_or(backoff);
            if wait > LONGEST_WAIT {
                return Err(error);
            }
            tracing::debug!(%error, attempt, ?wait, "read failed, trying again");
            self.let_pass(wait).await;
            attempt += 1;
            backoff *= 2;
        }
    }

    /// Waits, and lets the pacer know.
    pub(crate) async fn let_pass(&self, wait: Duration) {
        let until = self.pacer.after(wait);
        self.pause.pause(wait).await;
        self.pacer.reached(until);
    }

    /// Waits for a place among this client's reads.
    async fn keep_pace(&self, request: &Request) {
        if !request.is_read {
            return;
        }
        let wait = self.pacer.admit(&request.lane);
        if !wait.is_zero() {
            tracing::debug!(lane = ?request.lane, ?wait, "keeping the pace the service allows");
            self.let_pass(wait).await;
        }
    }

    /// A 401 means the request was not processed, so even a write may be repeated once with a fresh token.
    async fn send_authorized(&self, request: &Request) -> Result<Reply, Error> {
        match self.send_once(request).await {
            Err(Error::Unauthorized { .. }) => {
                tracing::debug!(source = self.tokens.kind(), "token refused, asking for another");
                self.tokens.invalidate();
                self.send_once(request).await
            }
            other => other,
        }
    }

    async fn send_once(&self, request: &Request) -> Result<Reply, Error> {
        let mut trace = request.trace(Uuid::new_v4());
        self.keep_pace(request).await;
        let token = self.token(&trace).await?;
        let headers = headers(request, &trace, &token)?;
        let mut builder = self
            .http
            .request(request.method.clone(), request.url.clone())
            .timeout(REQUEST_TIMEOUT)
            .headers(headers);
        if let Some(body) = &request.body {
            builder = builder.json(body);
        } else if request.method == Method::POST {
            // Some front ends answer 411 to a POST without a length.
            builder = builder.header("content-length", 0);
        }
        let response = match builder.send().await {
            Ok(response) => response,
            Err(source) => return Err(unreachable(source, trace)),
        };
        trace.request_id = header_text(response.headers(), "x-ms-request-id");
        trace.correlation_id = header_text(response.headers(), "x-ms-correlation-request-id");
        let status = response.status().as_u16();
        self.pacer.observe(response.headers());
        tracing::debug!(request = %trace.request, status, request_id = trace.request_id, "arm answered");
        if let Some(error) = redirect(&response, &request.url, &trace) {
            return Err(error);
        }
        let headers = response.headers().clone();
        let body = read_body(response, &trace).await?;
        if (200..300).contains(&status) {
            return Ok(Reply { status, headers, body, trace });
        }
        let asked = retry_after(&headers);
        if status == 429 && request.is_read {
            self.pacer.refused(&request.lane, asked);
        }
        let answer = Answer { status, error: ServiceError::from_body(&without(&body, &token)), trace };
        let create_only = matches!(request.condition, Condition::Absent);
        Err(classify(answer, create_only, asked))
    }

    /// The token of this request, fit for a header.
    async fn token(&self, trace: &Trace) -> Result<SecretString, Error> {
        let no_token = |source| Error::Token { request: trace.request.clone(), source };
        let token = self.tokens.token(&self.endpoint.scope()).await.map_err(no_token)?;
        token.check().map_err(no_token)?;
        Ok(token.secret)
    }
}

fn headers(request: &Request, trace: &Trace, token: &SecretString) -> Result<HeaderMap, Error> {
    let bearer = format!("Bearer {}", token.expose_secret());
    let mut bearer = HeaderValue::from_str(&bearer).expect("a checked token is visible ASCII");
    bearer.set_sensitive(true);

    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert("x-ms-return-client-request-id", HeaderValue::from_static("true"));
    let id = HeaderValue::from_str(&trace.client_request_id.to_string()).expect("a GUID is visible ASCII");
    headers.insert("x-ms-client-request-id", id);
    match &request.condition {
        Condition::None => {}
        Condition::Absent => {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        Condition::Unchanged(etag) => {
            let etag = HeaderValue::from_str(etag).map_err(|_| Error::InvalidArgument {
                reason: "the eTag is not a header value".to_owned(),
            })?;
            headers.insert(IF_MATCH, etag);
        }
    }
    Ok(headers)
}

/// An error body without the token: some proxies' error pages repeat the request's headers.
fn without<'b>(body: &'b [u8], token: &SecretString) -> Cow<'b, [u8]> {
    let token = token.expose_secret().as_bytes();
    if !body.windows(token.len()).any(|window| window == token) {
        return Cow::Borrowed(body);
    }
    let mut clean = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.windows(token.len()).position(|window| window == token) {
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(b"[token]");
        rest = &rest[at + token.len()..];
    }
    clean.extend_from_slice(rest);
    Cow::Owned(clean)
}

/// A redirect, whether the handed-in HTTP client stopped at it or followed it.
fn redirect(response: &Response, asked: &Url, trace: &Trace) -> Option<Error> {
    let followed = response.url() != asked;
    if !followed && !response.status().is_redirection() {
        return None;
    }
    let to = if followed {
        Some(response.url().clone())
    } else {
        header_text(response.headers(), LOCATION.as_str()).and_then(|location| asked.join(&location).ok())
    };
    let to = to.as_ref().and_then(Url::host_str).map(str::to_owned);
    Some(Error::Redirected { to, trace: Box::new(trace.clone()) })
}

async fn read_body(mut response: Response, trace: &Trace) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > LARGEST_BODY => {
                return Err(Error::BodyTooLarge { limit: LARGEST_BODY, trace: Box::new(trace.clone()) });
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(source) => return Err(unreachable(source, trace.clone())),
        }
    }
}

fn unreachable(source: reqwest::Error, trace: Trace) -> Error {
    let sent = !(source.is_connect() || source.is_builder());
    // The URL would show an operation's signature.
    Error::Unreachable { sent, trace: Box::new(trace), source: source.without_url() }
}

pub(crate) fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

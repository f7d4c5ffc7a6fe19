//! One request, taken apart, and the forms of an answer.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::Value;

/// The largest body let through, Rancher's own limit (setting `public-api-body-limit`, 2.13).
pub(super) const MOST_BODY: usize = 1024 * 1024;

/// A request without its body.
pub(super) struct Call {
    pub(super) method: Method,
    /// The path's segments, percent-decoded. An empty one (`//`) stays, and fits no route.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
}

impl Call {
    /// `None` for a path that is not UTF-8 once decoded.
    pub(super) fn of(method: Method, uri: &Uri, headers: HeaderMap) -> Option<Self> {
        let path = uri.path().trim_start_matches('/').split('/').map(decoded).collect::<Option<_>>()?;
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        Some(Self { method, path, query: query.into_owned().collect(), headers })
    }

    /// The path, for patterns.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// The value of a query parameter, where it is not empty.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// A query parameter that is on: `1`, `t` or `true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.parameter(name).is_some_and(|value| matches!(value, "1" | "t" | "T" | "true" | "True"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// The bearer token, the scheme's name in any case.
    pub(super) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.authorization()?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    }

    /// The name and password of basic authentication, `name:password`. Rancher decodes them with the alphabet of URLs.
    pub(super) fn basic(&self) -> Option<String> {
        let (scheme, token) = self.authorization()?;
        let bytes = scheme.eq_ignore_ascii_case("basic").then(|| URL_SAFE.decode(token))?.ok()?;
        String::from_utf8(bytes).ok()
    }

    fn authorization(&self) -> Option<(&str, &str)> {
        let (scheme, token) = self.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        Some((scheme, token.trim()))
    }

    /// The type of the body, without its parameters.
    pub(super) fn content_type(&self) -> &str {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        kind.split(';').next().unwrap_or_default().trim()
    }
}

fn decoded(segment: &str) -> Option<String> {
    if !segment.contains('%') {
        return Some(segment.to_owned());
    }
    let mut bytes = segment.bytes();
    let mut out = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
            out.push(u8::try_from(value).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// The whole body; `None` where it is larger than [`MOST_BODY`] or breaks off.
pub(super) async fn read(body: Body) -> Option<Bytes> {
    to_bytes(body, MOST_BODY).await.ok()
}

/// An answer with a JSON body.
pub(super) fn json(status: u16, body: &Value) -> Response<Body> {
    typed(status, "application/json", body.to_string())
}

/// An answer with a body that is JSON already.
pub(super) fn json_bytes(status: u16, body: Vec<u8>) -> Response<Body> {
    typed(status, "application/json", body)
}

/// An answer with a text.
pub(super) fn text(status: u16, body: impl Into<String>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", body.into())
}

/// An answer without a body.
pub(super) fn empty(status: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code(status);
    response
}

fn typed(status: u16, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = code(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Adds a header whose value the lab has made itself.
pub(super) fn set_header(response: &mut Response<Body>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Tells the client's user something that changes nothing (RFC 7234, code 299).
pub(super) fn add_warning(response: &mut Response<Body>, text: &str) {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
        response.headers_mut().append("warning", value);
    }
}

/// Asks the client to wait.
pub(super) fn set_retry_after(response: &mut Response<Body>, seconds: u64) {
    set_header(response, RETRY_AFTER.as_str(), &seconds.to_string());
}

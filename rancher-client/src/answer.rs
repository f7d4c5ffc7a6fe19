//! Reading answers: capped bodies, JSON with a place for each error, and Rancher's own error shapes.

use std::time::Duration;

use http::header::{AGE, DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{DecodeError, Error, is_gateway_status, transport};
use crate::text::{clean, clean_bytes};
use crate::token::BearerToken;

/// Largest body read for a success. A Rancher with 1000 clusters per page sends about 30 MB; beyond twice that the
/// other side is not a Rancher, or this machine's memory is at stake.
pub(crate) const MAX_BODY: usize = 64 * 1024 * 1024;

/// Largest part read of an error's body. A Kubernetes `Status` is a few kB at most.
const MAX_ERROR_BODY: usize = 256 * 1024;

/// Whether Rancher accepted the token, by the header it sets on every reply of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenVerdict {
    Accepted,
    Refused,
    /// No such header: not Rancher's own reply, or something in between dropped it.
    Unsaid,
}

pub(crate) fn token_verdict(headers: &HeaderMap) -> TokenVerdict {
    match headers.get("x-api-cattle-auth") {
        Some(value) if value == "true" => TokenVerdict::Accepted,
        Some(value) if value == "false" => TokenVerdict::Refused,
        _ => TokenVerdict::Unsaid,
    }
}

/// What is being tried, for messages and for the reading of a 401.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Completes "failed to ...".
    pub(crate) text: String,
    /// What a 404 says does not exist.
    pub(crate) subject: String,
    /// Whether the path lies inside one cluster, where a token limited to that cluster works.
    pub(crate) in_cluster: bool,
}

impl Operation {
    /// The error of an answer to this that cannot be read.
    pub(crate) fn unexpected(&self, source: DecodeError) -> Error {
        Error::UnexpectedBody { operation: self.text.clone(), source }
    }
}

/// The server's own clock when it answered. It is what times of the same server are held against, so that this
/// machine's clock does not matter. The date of an answer that a cache kept (`Age`) is not that clock.
pub(crate) fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    if headers.get(AGE).is_some_and(|age| age != "0") {
        return None;
    }
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// The whole body of a success, or an error if it is larger than `limit`.
pub(crate) async fn read_body(
    mut response: reqwest::Response,
    limit: usize,
    operation: &str,
) -> Result<Vec<u8>, Error> {
    let host = response.url().authority().to_owned();
    let too_large = || Error::BodyTooLarge { operation: operation.to_owned(), limit };
    if response.content_length().is_some_and(|length| usize::try_from(length).is_ok_and(|n| n > limit)) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| transport(e, &host, operation))? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// As much of an error's body as arrives, up to a limit, without the token that was sent: some proxies answer with
/// the request they got. The status alone says enough when the body breaks off.
pub(crate) async fn read_error_body(mut response: reqwest::Response, token: Option<&BearerToken>) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ERROR_BODY {
            body.truncate(MAX_ERROR_BODY);
            break;
        }
    }
    match token {
        Some(token) => token.redact(body),
        None => body,
    }
}

/// Decodes JSON; an error names the place. The content type is not looked at: Rancher and the proxies before it set
/// it wrongly in both directions.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let start = body.trim_ascii_start();
    if start.is_empty() {
        return Err(DecodeError::new(".", "JSON expected, and the body is empty"));
    }
    if start.starts_with(b"<") {
        return Err(DecodeError::new(
            ".",
            "JSON expected, and a page (HTML) came: is this the address of Rancher?",
        ));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|e| DecodeError::from_serde(&e))?;
    json.end().map_err(|e| DecodeError::new(".", &e.to_string()))?;
    Ok(value)
}

/// An error as norman, Rancher's API layer, writes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NormanError {
    pub(crate) code: Option<String>,
    pub(crate) message: String,
}

impl NormanError {
    /// Reads `{"type":"error",...}`. The `status` in it is a number or a string, or contradicts the HTTP status, so
    /// it is not looked at.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        (value.get("type")?.as_str()? == "error").then(|| Self::with_code(&value, "code"))
    }

    /// Reads the `Status` with which Rancher's extension API says no.
    fn read_status(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        (value.get("kind")?.as_str()? == "Status").then(|| Self::with_code(&value, "reason"))
    }

    fn with_code(value: &Value, code: &str) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(clean);
        Self { code: text(code), message: text("message").unwrap_or_default() }
    }
}

/// The error that an answer without success stands for. `token` is the name of the token that was sent, if any.
pub(crate) fn api_error(
    operation: &Operation,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    token: Option<&str>,
) -> Error {
    let norman = NormanError::read(body).or_else(|| NormanError::read_status(body));
    let message = || norman.as_ref().map_or_else(|| clean_bytes(body), |e| e.message.clone());
    let text = operation.text.clone();
    if let (StatusCode::UNAUTHORIZED, Some(token)) = (status, token) {
        return unauthorized(operation, headers, token, message());
    }
    match status {
        StatusCode::FORBIDDEN => Error::PermissionDenied { operation: text, message: message() },
        StatusCode::TOO_MANY_REQUESTS => {
            Error::RateLimited { operation: text, retry_after: retry_after(headers) }
        }
        StatusCode::NOT_FOUND if norman.is_some() => Error::NotFound { subject: operation.subject.clone() },
        _ => match norman {
            Some(NormanError { code, message }) => Error::Api { operation: text, status, code, message },
            None if is_text(headers, body) && !is_gateway_status(status) && status.is_server_error() => {
                Error::Api { operation: text, status, code: None, message: clean_bytes(body) }
            }
            None => Error::Gateway { operation: text, status },
        },
    }
}

/// The three kinds of 401 (Rancher: `pkg/auth/requests`): a token that is no good, one that is good elsewhere, and
/// a permission that is missing. A scoped token outside its cluster fails authentication as such, so Rancher does
/// not always say that it accepts it.
fn unauthorized(operation: &Operation, headers: &HeaderMap, token: &str, message: String) -> Error {
    let text = operation.text.clone();
    match (token_verdict(headers), operation.in_cluster) {
        (TokenVerdict::Accepted, false) => Error::ScopedToken { token: token.to_owned(), operation: text },
        (TokenVerdict::Accepted, true) => Error::PermissionDenied { operation: text, message },
        (TokenVerdict::Refused | TokenVerdict::Unsaid, in_cluster) => {
            Error::TokenRejected { token: token.to_owned(), operation: text, perhaps_scoped: !in_cluster }
        }
    }
}

/// Whether the body is a text that a program wrote for a program: neither empty nor a page.
pub(crate) fn is_text(headers: &HeaderMap, body: &[u8]) -> bool {
    let html = headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/html"));
    let body = body.trim_ascii_start();
    !html && !body.is_empty() && !body.starts_with(b"<")
}

/// The pause a `Retry-After` asks for. A date is measured from the reply's own `Date`, so this machine's clock does
/// not matter; without that date it says nothing.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(value)?;
    let sent = server_time(headers)?;
    Some(Duration::try_from(until.duration_since(sent)).unwrap_or(Duration::ZERO))
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    fn operation(in_cluster: bool) -> Operation {
        Operation { text: "list clusters".into(), subject: "cluster c-x".into(), in_cluster }
    }

    #[test]
    fn a_pause_is_read_as_seconds_or_as_a_date_against_the_servers_own_clock() {
        let date = "Tue, 24 Nov 2026 08:00:00 GMT";
        let later = "Tue, 24 Nov 2026 08:01:30 GMT";
        let cases = [
            (vec![("retry-after", "10")], Some(10)),
            (vec![("retry-after", later), ("date", date)], Some(90)),
            (vec![("retry-after", date), ("date", later)], Some(0)),
            (vec![("retry-after", later)], None),
            (vec![("retry-after", later), ("date", date), ("age", "60")], None),
            (vec![("retry-after", "soon"), ("date", date)], None),
            (vec![], None),
        ];
        for (pairs, seconds) in cases {
            assert_eq!(retry_after(&headers(&pairs)), seconds.map(Duration::from_secs), "{pairs:?}");
        }
    }

    /// Statuses and bodies of Rancher's own API (Rancher: `pkg/auth/util`, norman `httperror`), with what they mean.
    #[test]
    fn each_error_shape_of_the_api_has_one_reading() {
        let must = r#"{"type":"error","status":"401","message":"Unauthorized 401: must authenticate"}"#;
        let denied = r#"{"type":"error","status":403,"code":"PermissionDenied","message":"no"}"#;
        let missing = r#"{"type":"error","status":404,"code":"NotFound","message":"gone"}"#;
        let broken = r#"{"type":"error","status":500,"code":"ServerError","message":"etcd"}"#;
        let full = r#"{"type":"error","status":503,"code":"ClusterUnavailable","message":"wait"}"#;
        let good = ("x-api-cattle-auth", "true");
        let bad = ("x-api-cattle-auth", "false");
        let html = ("content-type", "text/html");
        let cases = [
            (
                401,
                vec![bad],
                must,
                false,
                "TokenRejected { token: \"token-x\", operation: \"list clusters\", perhaps_scoped: true }",
            ),
            (
                401,
                vec![bad],
                must,
                true,
                "TokenRejected { token: \"token-x\", operation: \"list clusters\", perhaps_scoped: false }",
            ),
            (401, vec![], must, false, "TokenRejected"),
            (401, vec![good], must, false, "ScopedToken"),
            (401, vec![good], "", true, "PermissionDenied"),
            (
                403,
                vec![good],
                denied,
                false,
                "PermissionDenied { operation: \"list clusters\", message: \"no\" }",
            ),
            (
                403,
                vec![],
                "not allowed to impersonate user",
                false,
                "PermissionDenied { operation: \"list clusters\", message: \"not allowed to impersonate user\" }",
            ),
            (404, vec![], missing, false, "NotFound { subject: \"cluster c-x\" }"),
            (404, vec![html], "<h1>404</h1>", false, "Gateway"),
            (404, vec![], "default backend - 404", false, "Gateway"),
            (429, vec![], "slow down", false, "RateLimited"),
            (
                500,
                vec![],
                broken,
                false,
                "Api { operation: \"list clusters\", status: 500, code: Some(\"ServerError\")",
            ),
            (
                500,
                vec![],
                "boom",
                false,
                "Api { operation: \"list clusters\", status: 500, code: None, message: \"boom\"",
            ),
            (
                503,
                vec![],
                full,
                false,
                "Api { operation: \"list clusters\", status: 503, code: Some(\"ClusterUnavailable\")",
            ),
            (503, vec![], "no healthy upstream", false, "Gateway"),
            (502, vec![html], "<html>", false, "Gateway"),
            (418, vec![], "", false, "Gateway"),
        ];
        for (status, pairs, body, in_cluster, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            let error =
                api_error(&operation(in_cluster), status, &headers(&pairs), body.as_bytes(), Some("token-x"));
            assert!(format!("{error:?}").starts_with(expected), "{status} {body}: {error:?}");
        }
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_not_kept_in_memory() {
        let answer = || reqwest::Response::from(http::Response::new(vec![b'x'; 11]));
        assert_eq!(read_body(answer(), 11, "list clusters").await.unwrap().len(), 11);
        let error = read_body(answer(), 10, "list clusters").await.unwrap_err();
        assert_eq!(error.to_string(), "the answer to list clusters is larger than 10 bytes");
    }

    #[test]
    fn an_unreadable_body_names_the_place_and_quotes_little() {
        #[derive(Debug, serde::Deserialize)]
        struct Page {
            #[expect(dead_code, reason = "only its decoding matters")]
            data: Vec<u32>,
        }
        let long = format!(r#"{{"data":[1,"{}"]}}"#, "x".repeat(5000));
        let error = decode::<Page>(long.as_bytes()).unwrap_err();
        assert_eq!(error.path(), "data[1]");
        assert!(error.to_string().len() < 400);
        for bad in ["", "<html>", r#"{"data":[1]}x"#, r#"{"data":[1"#] {
            assert!(decode::<Page>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

//! Our HTTP client as `azure_identity` wants it.

use async_trait::async_trait;
use azure_core::http::headers::AUTHORIZATION;
use azure_core::http::headers::{CONTENT_TYPE, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, RawResponse, Request};
use serde_json::json;
use url::form_urlencoded;

use crate::adapters::text::one_line;

/// Passes requests on, and answers that are fit to be read.
///
/// `azure_identity` takes every failed answer for Entra's JSON: of a proxy's page it would keep neither the status nor the
/// meaning. And its errors repeat what an answer says, so an answer that repeats the request's secret must not reach it.
#[derive(Debug)]
pub(super) struct Wire(reqwest::Client);

impl Wire {
    pub(super) fn new(http: reqwest::Client) -> Self {
        Self(http)
    }
}

#[async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.0.execute_request(request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let answer = answer.try_into_raw_response().await?;
        let status = answer.status();
        let (headers, body) = match unfit(request, &answer) {
            None => {
                let (_, headers, body) = answer.deconstruct();
                (headers, body.into())
            }
            Some(why) => {
                let said = json!({ "error_description": format!("status {}, {why}", u16::from(status)) });
                (Headers::default(), bytes::Bytes::from(said.to_string()))
            }
        };
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

/// Why a failed answer cannot be passed on as it is.
fn unfit(request: &Request, answer: &RawResponse) -> Option<String> {
    let body: &[u8] = answer.body();
    if secrets(request).iter().any(|secret| contains(body, secret.as_bytes())) {
        return Some("with an answer that repeats the request".to_owned());
    }
    if serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).is_ok() {
        return None;
    }
    let kind = answer.headers().get_optional_str(&CONTENT_TYPE).unwrap_or("no content type");
    Some(format!(
        "with {} bytes of {}, which is not an identity service's answer",
        body.len(),
        one_line(kind).chars().take(60).collect::<String>()
    ))
}

/// What a request holds that must not be repeated, as it was before and as it is after form encoding.
fn secrets(request: &Request) -> Vec<String> {
    let mut secrets = Vec::new();
    if let Body::Bytes(body) = request.body() {
        for (key, value) in form_urlencoded::parse(body) {
            if matches!(&*key, "client_secret" | "client_assertion") {
                secrets.push(form_urlencoded::byte_serialize(value.as_bytes()).collect());
                secrets.push(value.into_owned());
            }
        }
    }
    let bearer =
        request.headers().get_optional_str(&AUTHORIZATION).and_then(|text| text.strip_prefix("Bearer "));
    secrets.extend(bearer.map(str::to_owned));
    secrets.retain(|secret| !secret.is_empty());
    secrets
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

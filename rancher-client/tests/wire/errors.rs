//! Answers without success: of Rancher's own API, and on the Kubernetes proxy.

mod api;
mod proxy;

use wiremock::ResponseTemplate;

use crate::support::Case;

const MUST_NUMBER: &str = r#"{"type":"error","status":401,"message":"Unauthorized 401: must authenticate"}"#;

type Header = (&'static str, &'static str);
const GOOD: Header = ("x-api-cattle-auth", "true");
const BAD: Header = ("x-api-cattle-auth", "false");
const JSON: Header = ("content-type", "application/json");
const TEXT: Header = ("content-type", "text/plain; charset=utf-8");
const HTML: Header = ("content-type", "text/html");

fn answer(status: u16, headers: &[Header], body: &str) -> ResponseTemplate {
    let kind = headers.iter().find(|(name, _)| *name == "content-type").map_or("", |(_, kind)| kind);
    let answer = ResponseTemplate::new(status).set_body_raw(body.to_owned(), kind);
    let others = headers.iter().filter(|(name, _)| *name != "content-type");
    others.fold(answer, |answer, (name, value)| answer.insert_header(*name, *value))
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = api::cases();
    cases.extend(proxy::cases());
    cases
}

//! Doors for the fuzz targets in `/fuzz` and for the corpus test: each decoder of text from outside, on bytes. Each
//! checks what must hold whatever comes in; none may panic. Not part of the API.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::answer::{self, Operation};
use crate::cluster::Cluster;
use crate::ownership::{self, AzureState};
use crate::proxy::ProxyFailure;
use crate::settings::{ServerVersion, Setting};
use crate::token::BearerToken;
use crate::url::RancherUrl;

fn operation(in_cluster: bool) -> Operation {
    Operation { text: "fuzz".into(), subject: "it".into(), in_cluster }
}

/// A bearer token: what is accepted fits into a header and is never shown.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(token) = BearerToken::parse(text) else { return };
    let header = token.authorization();
    assert!(header.is_sensitive() && !header.as_bytes().contains(&b'\n'));
    let secret = text.trim().split_once(':').map_or(text.trim(), |(_, secret)| secret);
    let echo = token.redact([b"a ", secret.as_bytes(), b" b"].concat());
    let hidden = echo == b"a [redacted] b";
    // A secret that is part of what stands around it, or of what stands in for it, is none.
    assert!(hidden || secret.len() < 10, "{secret}");
    assert!(!format!("{token:?}").contains(&format!(":{secret}")));
}

/// An answer without success: two bytes of status, a byte of headers, the body.
pub fn errors(data: &[u8]) {
    let [high, low, flags, body @ ..] = data else { return };
    let status = StatusCode::from_u16(400 + u16::from_be_bytes([*high, *low]) % 200);
    let Ok(status) = status else { return };
    let mut headers = HeaderMap::new();
    if flags & 1 != 0 {
        let verdict = if flags & 2 != 0 { "true" } else { "false" };
        headers.insert("x-api-cattle-auth", HeaderValue::from_static(verdict));
    }
    if flags & 4 != 0 {
        headers.insert("content-type", HeaderValue::from_static("text/html"));
    }
    if let (true, Ok(value)) = (flags & 8 != 0, HeaderValue::from_bytes(&body[..body.len().min(40)])) {
        headers.insert("retry-after", value.clone());
        headers.insert("date", value);
    }
    let failure = ProxyFailure::classify(status, &headers, body);
    shown(&failure.to_string());
    if status.is_server_error() && failure.outcome_known() {
        // Only those that say for sure that nothing was passed on.
        assert!(!matches!(failure, ProxyFailure::Gateway { .. } | ProxyFailure::Unrecognised { .. }));
    }
    let _ = (failure.is_retryable(), failure.retry_after());
    let error = answer::api_error(&operation(flags & 16 != 0), status, &headers, body, Some("token-x"));
    shown(&error.to_string());
    assert!(!(error.outcome_known() && status.is_server_error()), "{error:?}");
}

/// Text that people see: one line, not long, nothing that moves a cursor.
fn shown(text: &str) {
    assert!(text.chars().count() < 1000 && !text.chars().any(char::is_control), "{text:?}");
}

/// A cluster: reading keeps what came.
pub fn cluster(data: &[u8]) {
    let Ok(raw) = answer::decode::<Value>(data) else { return };
    let Ok(cluster) = Cluster::from_json(raw.clone()) else { return };
    assert_eq!(*cluster.raw(), raw);
    let _ = (cluster.ca_cert(), cluster.last_refresh(), cluster.connection(), cluster.kubernetes_version());
    let _ = (cluster.azure_credential(), cluster.node_count(), cluster.labels(), cluster.condition("Ready"));
}

/// A description of a token, legacy or extension.
pub fn token_info(data: &[u8]) {
    if let Some(info) = crate::token_info::read_any(data, &operation(false)) {
        let _ = info.remaining(Timestamp::UNIX_EPOCH).covers(Duration::from_secs(1));
    }
}

/// The guard before a write: a cluster that differs from Azure in a pool is never let through as managed.
pub fn ownership(data: &[u8]) {
    let Ok(raw) = answer::decode::<Value>(data) else { return };
    let Ok(cluster) = Cluster::from_json(raw) else { return };
    let azure = AzureState { version: None, pools: Vec::new() };
    let now = Timestamp::UNIX_EPOCH;
    match ownership::guard(&cluster, &azure, now, Duration::from_secs(300)) {
        Ok(ownership::Ownership::Managed(managed)) => {
            assert!(
                managed.pools.is_none_or(|pools| pools.is_empty()) && managed.kubernetes_version.is_none()
            );
        }
        Ok(ownership::Ownership::Refused(refusal)) => panic!("a refusal is not a permission: {refusal}"),
        Ok(ownership::Ownership::Generic | ownership::Ownership::Unmanaged) => {}
        Err(reasons) => {
            assert!(!reasons.is_empty());
            assert!(reasons.iter().all(|reason| !reason.to_string().is_empty()));
        }
    }
}

/// A setting, and a version.
pub fn settings(data: &[u8]) {
    if let Ok(setting) = answer::decode::<Setting>(data) {
        let _ = crate::projects::SystemNamespaces::from_setting(&setting).names().len();
        let _ = ServerVersion::new(setting.effective()).major_minor();
    }
    let _ = ServerVersion::new(String::from_utf8_lossy(data)).major_minor();
}

/// A server's address and a path below it, parted by a line break: a joined path stays below its base.
pub fn urls(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (base, path) = text.split_once('\n').unwrap_or(("https://rancher.example.com/x", text));
    let Ok(url) = RancherUrl::parse(base) else { return };
    let Ok(joined) = url.join(path) else { return };
    let below = format!("{url}/");
    assert!(joined.as_str().starts_with(&below), "{joined} is not below {below}");
    assert_eq!(joined.authority(), url.authority());
    assert!(joined.fragment().is_none() && !joined.path().contains("//"), "{joined}");
}

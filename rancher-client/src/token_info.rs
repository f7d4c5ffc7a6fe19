//! What Rancher says about the token that is in use.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::answer::{self, Operation};
use crate::client::RancherClient;
use crate::error::{DecodeError, Error};
use crate::id::RancherClusterId;
use crate::token::TokenKind;

/// What Rancher says about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenInfo {
    /// The token's name, the part before its `:`.
    pub name: String,
    /// The id of the user it belongs to, such as `u-abcde`.
    pub user_id: Option<String>,
    /// When it stops working. `None` means never, or not known yet: Rancher fills this in shortly after a token was
    /// made.
    pub expires_at: Option<Timestamp>,
    /// The one cluster it is limited to. For extension tokens (2.12 and later) Rancher may not enforce this: do not
    /// take it for a safety boundary.
    pub scope: Option<RancherClusterId>,
    /// False when an administrator has switched it off.
    pub enabled: bool,
    /// Whether Rancher takes it for expired.
    pub expired: bool,
    /// Rancher's own clock when it answered, where the answer carried it.
    pub server_time: Option<Timestamp>,
}

/// How long a token still works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remaining {
    /// No end is known.
    Unlimited,
    /// This long.
    For(Duration),
    /// It has expired, or it was switched off.
    Over,
}

impl Remaining {
    /// Whether the token outlives something that takes `needed`, such as a plan.
    pub fn covers(self, needed: Duration) -> bool {
        match self {
            Self::Unlimited => true,
            Self::For(left) => left > needed,
            Self::Over => false,
        }
    }
}

impl TokenInfo {
    /// How long the token still works at `now`.
    ///
    /// A clock that runs behind Rancher's does not make the token live longer: the later of `now` and
    /// [`server_time`](Self::server_time) counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rancher_client::{Remaining, TokenReading};
    /// # use rancher_client::{BearerToken, RancherClient, RancherUrl, StaticToken};
    /// # use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let _ = rustls::crypto::ring::default_provider().install_default();
    /// # let server = MockServer::start().await;
    /// # let body = r#"{"name":"token-7x2kp","expiresAt":"2026-12-01T10:00:00Z"}"#;
    /// # Mock::given(path("/v3/tokens/token-7x2kp")).respond_with(ResponseTemplate::new(200).set_body_string(body)
    /// #     .insert_header("date", "Tue, 01 Dec 2026 08:00:00 GMT")).mount(&server).await;
    /// # let token = StaticToken::new(BearerToken::parse("token-7x2kp:hunter2")?);
    /// # let url = RancherUrl::parse(&server.uri())?;
    /// # let rancher = RancherClient::new(reqwest::Client::new(), url, std::sync::Arc::new(token));
    /// let TokenReading::Known(token) = rancher.token_info().await? else { return Err("not described".into()) };
    /// let life = token.remaining("2026-12-01T08:30:00Z".parse()?);
    /// assert_eq!(life, Remaining::For(Duration::from_secs(90 * 60)));
    /// assert!(!life.covers(Duration::from_secs(2 * 60 * 60)), "a run of two hours would lose its token");
    /// # Ok(())
    /// # }
    /// ```
    pub fn remaining(&self, now: Timestamp) -> Remaining {
        if self.expired || !self.enabled {
            return Remaining::Over;
        }
        let Some(end) = self.expires_at else { return Remaining::Unlimited };
        let now = self.server_time.map_or(now, |server| server.max(now));
        match Duration::try_from(end.duration_since(now)) {
            Ok(left) if !left.is_zero() => Remaining::For(left),
            _ => Remaining::Over,
        }
    }
}

/// The answer to "what do you know about this token?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenReading {
    /// Rancher described the token.
    Known(TokenInfo),
    /// Rancher does not describe it to us. That says nothing about whether the token works or how long.
    Unreadable(Unreadable),
}

/// Why a token cannot be described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// 401: the token is limited to one cluster, or it is no good. A read of the cluster tells which.
    ScopedOrRejected,
    /// 403: the user may not read tokens.
    Forbidden,
    /// 404: it belongs to somebody else, or this Rancher keeps it in a place this client does not know.
    NotListed,
    /// A JSON web token, which is no object on the Rancher server.
    Jwt,
}

/// `GET /v3/tokens/<name>`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Legacy {
    id: Option<String>,
    name: Option<String>,
    user_id: Option<String>,
    enabled: Option<bool>,
    expired: Option<bool>,
    expires_at: Option<String>,
    cluster_id: Option<String>,
}

/// `GET /v1/ext.cattle.io.tokens/<name>`.
#[derive(Deserialize)]
struct Ext {
    metadata: ExtMetadata,
    spec: ExtSpec,
    status: Option<ExtStatus>,
}

#[derive(Deserialize)]
struct ExtMetadata {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtSpec {
    #[serde(rename = "userID")]
    user_id: Option<String>,
    enabled: Option<bool>,
    cluster_name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ExtStatus {
    expired: Option<bool>,
    expires_at: Option<String>,
}

impl RancherClient {
    /// What Rancher knows about the token in use, among it when it expires.
    ///
    /// Ask for the cluster first: a token that is limited to one cluster cannot be read this way and looks like one
    /// that is no good ([`Unreadable::ScopedOrRejected`]).
    pub async fn token_info(&self) -> Result<TokenReading, Error> {
        let token = self.current_token().await?;
        let name = token.name();
        let subject = format!("token {name}");
        let operation = Operation { text: format!("read {subject}"), subject, in_cluster: false };
        let found = match (token.kind(), name.strip_prefix("ext/")) {
            (TokenKind::Jwt, _) => return Ok(TokenReading::Unreadable(Unreadable::Jwt)),
            (_, Some(object)) => self.ext_token(name, object, &operation).await,
            (_, None) => match self.get_dated(&format!("v3/tokens/{name}"), &operation).await {
                Ok((legacy, server_time)) => Legacy::info(legacy, name, server_time, &operation),
                Err(error) => Err(error),
            },
        };
        match found {
            Ok(info) => Ok(TokenReading::Known(info)),
            Err(Error::TokenRejected { .. } | Error::ScopedToken { .. }) => {
                Ok(TokenReading::Unreadable(Unreadable::ScopedOrRejected))
            }
            Err(Error::PermissionDenied { .. }) => Ok(TokenReading::Unreadable(Unreadable::Forbidden)),
            Err(Error::NotFound { .. }) => Ok(TokenReading::Unreadable(Unreadable::NotListed)),
            Err(error) => Err(error),
        }
    }
}

impl RancherClient {
    /// Through Steve, and where that does not know extension tokens, through the extension API itself.
    async fn ext_token(&self, name: &str, object: &str, operation: &Operation) -> Result<TokenInfo, Error> {
        let steve = self.get_dated(&format!("v1/ext.cattle.io.tokens/{object}"), operation).await;
        let (ext, server_time): (Ext, _) = match steve {
            Err(Error::NotFound { .. }) => {
                self.get_dated(&format!("apis/ext.cattle.io/v1/tokens/{object}"), operation).await?
            }
            other => other?,
        };
        ext.info(name, object, server_time, operation)
    }
}

impl Legacy {
    fn info(
        self,
        name: &str,
        server_time: Option<Timestamp>,
        operation: &Operation,
    ) -> Result<TokenInfo, Error> {
        is_about(name, self.name.or(self.id).as_deref(), "name", operation)?;
        Ok(TokenInfo {
            name: name.to_owned(),
            user_id: self.user_id.filter(|id| !id.is_empty()),
            expires_at: timestamp(self.expires_at, "expiresAt", operation)?,
            scope: cluster(self.cluster_id, "clusterId", operation)?,
            enabled: self.enabled.unwrap_or(true),
            expired: self.expired.unwrap_or(false),
            server_time,
        })
    }
}

impl Ext {
    fn info(
        self,
        name: &str,
        object: &str,
        server_time: Option<Timestamp>,
        operation: &Operation,
    ) -> Result<TokenInfo, Error> {
        is_about(object, self.metadata.name.as_deref(), "metadata.name", operation)?;
        let status = self.status.unwrap_or_default();
        Ok(TokenInfo {
            name: name.to_owned(),
            user_id: self.spec.user_id.filter(|id| !id.is_empty()),
            expires_at: timestamp(status.expires_at, "status.expiresAt", operation)?,
            scope: cluster(self.spec.cluster_name, "spec.clusterName", operation)?,
            enabled: self.spec.enabled.unwrap_or(true),
            expired: status.expired.unwrap_or(false),
            server_time,
        })
    }
}

/// For the fuzz targets: reads a token of either sort, whatever its name.
pub(crate) fn read_any(body: &[u8], operation: &Operation) -> Option<TokenInfo> {
    if let Ok(ext) = answer::decode::<Ext>(body) {
        let object = ext.metadata.name.clone()?;
        return ext.info(&format!("ext/{object}"), &object, None, operation).ok();
    }
    let legacy = answer::decode::<Legacy>(body).ok()?;
    let name = legacy.name.clone().or_else(|| legacy.id.clone())?;
    legacy.info(&name, None, operation).ok()
}

/// Every field of a token may be missing, so any JSON object would pass for a token that never expires.
fn is_about(wanted: &str, found: Option<&str>, place: &str, operation: &Operation) -> Result<(), Error> {
    if found == Some(wanted) {
        return Ok(());
    }
    let reason = format!("`{wanted}` expected, found `{}`", found.unwrap_or_default());
    Err(unexpected(place, &reason, operation))
}

/// An empty text means "never". One that cannot be read must not come to mean the same.
fn timestamp(text: Option<String>, place: &str, operation: &Operation) -> Result<Option<Timestamp>, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| unexpected(place, "not a time in RFC 3339", operation))
}

fn cluster(
    text: Option<String>,
    place: &str,
    operation: &Operation,
) -> Result<Option<RancherClusterId>, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    RancherClusterId::parse(&text).map(Some).map_err(|_| unexpected(place, "not a cluster id", operation))
}

fn unexpected(place: &str, reason: &str, operation: &Operation) -> Error {
    operation.unexpected(DecodeError::new(place, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rancher, Rotating, json, text};

    const LEGACY: &str = "/v3/tokens/token-7x2kp";

    async fn read(rancher: &Rancher) -> TokenInfo {
        match rancher.client().token_info().await.unwrap() {
            TokenReading::Known(info) => info,
            TokenReading::Unreadable(why) => panic!("{why:?}"),
        }
    }

    #[tokio::test]
    async fn a_legacy_token_tells_its_end_and_its_cluster() {
        {
            let body = r#"{"id":"token-7x2kp","enabled":true,"expired":false,"expiresAt":"2026-12-01T10:00:00Z",
                           "clusterId":"c-x7k2p","ttl":7776000000,"userPrincipal":"map[a:b]"}"#;
            let info = read(&Rancher::with(LEGACY, json(200, body)).await).await;
            assert_eq!(info.expires_at, Some("2026-12-01T10:00:00Z".parse().unwrap()));
            assert_eq!(info.scope.unwrap().as_str(), "c-x7k2p");
            assert_eq!((info.name.as_str(), info.enabled, info.expired), ("token-7x2kp", true, false));
        }
        let body = r#"{"name":"token-7x2kp","enabled":false,"expired":true,"expiresAt":"","clusterId":null}"#;
        let info = read(&Rancher::with(LEGACY, json(200, body)).await).await;
        assert_eq!((info.expires_at, info.scope, info.enabled, info.expired), (None, None, false, true));
    }

    #[tokio::test]
    async fn an_extension_token_is_read_where_extension_tokens_live() {
        let rancher = Rancher::start().await;
        let body = r#"{"metadata":{"name":"token-9mm4z"},"spec":{"enabled":true,"clusterName":"","ttl":1},
                       "status":{"expired":false,"expiresAt":"2026-12-01T10:00:00Z","current":true}}"#;
        rancher.answer("/v1/ext.cattle.io.tokens/token-9mm4z", json(200, body)).await;
        let client = rancher.client_with(Rotating::new(vec!["ext/token-9mm4z:hunter2"]));
        let TokenReading::Known(info) = client.token_info().await.unwrap() else { panic!("unreadable") };
        assert_eq!(
            (info.name.as_str(), info.scope, info.expires_at.is_some()),
            ("ext/token-9mm4z", None, true)
        );
    }

    #[tokio::test]
    async fn a_token_that_rancher_does_not_describe_is_unreadable_and_not_called_good_or_bad() {
        let cases = [
            (401, "", Unreadable::ScopedOrRejected),
            (403, r#"{"type":"error","code":"Forbidden","message":"no"}"#, Unreadable::Forbidden),
            (404, r#"{"type":"error","code":"NotFound","message":"no"}"#, Unreadable::NotListed),
        ];
        for (status, body, why) in cases {
            let rancher = Rancher::with(LEGACY, text(status, body)).await;
            assert_eq!(rancher.client().token_info().await.unwrap(), TokenReading::Unreadable(why));
        }
        let jwt = Rancher::start().await.client_with(Rotating::new(vec!["eyJh.eyJz.c2ln"]));
        assert_eq!(jwt.token_info().await.unwrap(), TokenReading::Unreadable(Unreadable::Jwt));
    }

    #[tokio::test]
    async fn an_end_that_cannot_be_read_is_an_error_and_not_never() {
        for (body, place) in [
            (r#"{"name":"token-7x2kp","expiresAt":"tomorrow"}"#, "expiresAt"),
            (r#"{"name":"token-7x2kp","expiresAt":17}"#, "expiresAt"),
            (r#"{"name":"token-7x2kp","clusterId":"C/x"}"#, "clusterId"),
            (r#"{"name":"token-other"}"#, "name"),
            ("{}", "name"),
        ] {
            let rancher = Rancher::with(LEGACY, json(200, body)).await;
            let error = rancher.client().token_info().await.unwrap_err();
            let Error::UnexpectedBody { source, .. } = &error else { panic!("{error:?}") };
            assert_eq!(source.path(), place);
        }
    }

    #[test]
    fn a_clock_that_runs_behind_does_not_make_a_token_live_longer() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let info = |expires: Option<&str>, server: Option<&str>| TokenInfo {
            name: "token-7x2kp".into(),
            user_id: None,
            expires_at: expires.map(at),
            scope: None,
            enabled: true,
            expired: false,
            server_time: server.map(at),
        };
        let end = Some("2026-12-01T10:00:00Z");
        let minutes = |n: u64| Remaining::For(Duration::from_secs(n * 60));
        let cases = [
            (info(None, None), "2026-12-01T09:00:00Z", Remaining::Unlimited),
            (info(end, None), "2026-12-01T09:00:00Z", minutes(60)),
            // Five minutes off, in both directions.
            (info(end, Some("2026-12-01T09:05:00Z")), "2026-12-01T09:00:00Z", minutes(55)),
            (info(end, Some("2026-12-01T08:55:00Z")), "2026-12-01T09:00:00Z", minutes(60)),
            (info(end, None), "2026-12-01T10:00:00Z", Remaining::Over),
            (info(end, None), "2026-12-02T10:00:00Z", Remaining::Over),
            (TokenInfo { enabled: false, ..info(None, None) }, "2026-12-01T09:00:00Z", Remaining::Over),
            (TokenInfo { expired: true, ..info(end, None) }, "2026-12-01T09:00:00Z", Remaining::Over),
        ];
        for (info, now, expected) in cases {
            assert_eq!(info.remaining(at(now)), expected, "{info:?} at {now}");
        }
        let hour = Duration::from_secs(3600);
        assert!(Remaining::Unlimited.covers(hour) && minutes(61).covers(hour));
        assert!(!minutes(60).covers(hour) && !Remaining::Over.covers(Duration::ZERO));
    }
}

//! What Rancher says about the token that is in use.

use jiff::Timestamp;
use serde::Deserialize;

use crate::answer::Operation;
use crate::client::RancherClient;
use crate::error::{DecodeError, Error};
use crate::id::RancherClusterId;
use crate::token::TokenKind;

/// What Rancher says about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The token's name, the part before its `:`.
    pub name: String,
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
    enabled: Option<bool>,
    expired: Option<bool>,
    expires_at: Option<String>,
    cluster_id: Option<String>,
}

/// `GET /v1/ext.cattle.io.tokens/<name>`.
#[derive(Deserialize)]
struct Ext {
    spec: ExtSpec,
    status: Option<ExtStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtSpec {
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
            (_, Some(object)) => {
                let path = format!("v1/ext.cattle.io.tokens/{object}");
                self.get_json(&path, &operation).await.and_then(|ext: Ext| ext.info(name, &operation))
            }
            (_, None) => {
                let path = format!("v3/tokens/{name}");
                self.get_json(&path, &operation)
                    .await
                    .and_then(|legacy: Legacy| legacy.info(name, &operation))
            }
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

impl Legacy {
    fn info(self, name: &str, operation: &Operation) -> Result<TokenInfo, Error> {
        Ok(TokenInfo {
            name: name.to_owned(),
            expires_at: timestamp(self.expires_at, "expiresAt", operation)?,
            scope: cluster(self.cluster_id, "clusterId", operation)?,
            enabled: self.enabled.unwrap_or(true),
            expired: self.expired.unwrap_or(false),
        })
    }
}

impl Ext {
    fn info(self, name: &str, operation: &Operation) -> Result<TokenInfo, Error> {
        let status = self.status.unwrap_or_default();
        Ok(TokenInfo {
            name: name.to_owned(),
            expires_at: timestamp(status.expires_at, "status.expiresAt", operation)?,
            scope: cluster(self.spec.cluster_name, "spec.clusterName", operation)?,
            enabled: self.spec.enabled.unwrap_or(true),
            expired: status.expired.unwrap_or(false),
        })
    }
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
    Error::UnexpectedBody { operation: operation.text.clone(), source: DecodeError::new(place, reason) }
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
        let body = r#"{"enabled":false,"expired":true,"expiresAt":"","clusterId":null}"#;
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
            (r#"{"expiresAt":"tomorrow"}"#, "expiresAt"),
            (r#"{"expiresAt":17}"#, "expiresAt"),
            (r#"{"clusterId":"C/x"}"#, "clusterId"),
        ] {
            let rancher = Rancher::with(LEGACY, json(200, body)).await;
            let error = rancher.client().token_info().await.unwrap_err();
            let Error::UnexpectedBody { source, .. } = &error else { panic!("{error:?}") };
            assert_eq!(source.path(), place);
        }
    }
}

//! Tokens for ARM: one kept until shortly before its end, whatever it comes from.

use std::sync::Arc;
use std::time::Duration;

use aks_client::{AccessToken, TokenError, TokenSource};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use upgrade_core::ports::Clock;

use super::SignIn;
use crate::config::{Credential, CredentialKind, Secret};
use crate::error::ConfigError;

/// How long before its end a token is replaced: a request may be repeated for a minute, and clocks differ.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

/// How long before its end a token still serves while the identity service cannot be reached.
const LATE: SignedDuration = SignedDuration::from_secs(30);

/// The longest wait for a token. The metadata service of a machine is asked again for 72 s, as its makers advise.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where tokens come from when the one that is kept will not do.
#[async_trait]
pub(super) trait Origin: Send + Sync {
    /// A token that was just obtained.
    async fn fresh(&self, scope: &str) -> Result<AccessToken, TokenError>;
}

/// Tokens for one environment's Azure.
pub(crate) struct AzureTokens {
    kind: &'static str,
    origin: Box<dyn Origin>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Option<Kept>>,
    /// Raised by a refusal; the kept token is dropped when the next one is asked for.
    refused: std::sync::atomic::AtomicBool,
}

struct Kept {
    scope: String,
    token: AccessToken,
}

impl AzureTokens {
    /// The source that the configuration asks for. What it needs from this machine (variables, files) is looked at now.
    pub(crate) async fn new<'a>(
        sign_in: impl Into<SignIn<'a>>,
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        let sign_in = sign_in.into();
        let Credential { kind, place } = sign_in.credential;
        let origin: Box<dyn Origin> = match kind {
            CredentialKind::Token(secret) => {
                secret.fetch_at_start().await?;
                Box::new(Ready(secret.clone()))
            }
            #[cfg(feature = "azure-identity")]
            CredentialKind::ManagedIdentity { .. } => {
                let http = crate::transport::metadata()
                    .map_err(|error| place.error(error.to_string(), "use another kind of credential"))?;
                Box::new(super::identity::Identity::new(&sign_in, http, super::identity::patience()).await?)
            }
            #[cfg(feature = "azure-identity")]
            _ => Box::new(super::identity::Identity::new(&sign_in, http, super::identity::patience()).await?),
            #[cfg(not(feature = "azure-identity"))]
            _ => {
                drop(http);
                return Err(place.error(
                    format!("credential kind `{}` is not part of this build", kind.name()),
                    "use kind `token`, or a build with the feature `azure-identity`",
                ));
            }
        };
        #[cfg(not(feature = "azure-identity"))]
        let _ = place;
        Ok(Self::of(kind, origin, clock))
    }

    /// Tokens from this origin.
    pub(super) fn of(kind: &CredentialKind, origin: Box<dyn Origin>, clock: Arc<dyn Clock>) -> Self {
        let name = kind.name();
        tracing::info!(
            credential = name,
            client_id = kind.client_id(),
            tenant_id = kind.tenant_id(),
            "the credential for Azure"
        );
        Self { kind: name, origin, clock, kept: Mutex::new(None), refused: false.into() }
    }
}

impl TokenSource for AzureTokens {
    fn token(&self, scope: &str) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        let scope = scope.to_owned();
        async move {
            // Held while asking: of many requests at once, one asks.
            let mut kept = self.kept.lock().await;
            if self.refused.swap(false, std::sync::atomic::Ordering::AcqRel) {
                *kept = None;
            }
            let now = self.clock.now();
            let old = kept.as_ref().filter(|kept| kept.scope == scope).map(|kept| &kept.token);
            if let Some(old) = old.filter(|old| lasts(old, now, EARLY)) {
                return Ok(old.clone());
            }
            let token = match (self.fresh(&scope).await, old) {
                (Ok(token), _) => token,
                (Err(error), Some(old)) if error.is_retryable() && lasts(old, now, LATE) => {
                    tracing::warn!(%error, "the token for Azure cannot be renewed yet; it still works");
                    return Ok(old.clone());
                }
                (Err(error), _) => return Err(error),
            };
            *kept = Some(Kept { scope, token: token.clone() });
            Ok(token)
        }
        .boxed()
    }

    fn kind(&self) -> &str {
        self.kind
    }

    fn invalidate(&self) {
        self.refused.store(true, std::sync::atomic::Ordering::Release);
    }
}

impl AzureTokens {
    async fn fresh(&self, scope: &str) -> Result<AccessToken, TokenError> {
        tokio::time::timeout(PATIENCE, self.origin.fresh(scope)).await.unwrap_or_else(|_| {
            let reason = format!("no answer within {} s", PATIENCE.as_secs());
            Err(TokenError::Unavailable { reason, source: None })
        })
    }
}

fn lasts(token: &AccessToken, now: Timestamp, margin: SignedDuration) -> bool {
    token.expires_at.is_none_or(|end| end.duration_since(now) > margin)
}

/// A ready bearer token that somebody else renews in its place.
struct Ready(Secret);

#[async_trait]
impl Origin for Ready {
    async fn fresh(&self, _scope: &str) -> Result<AccessToken, TokenError> {
        let secret = self
            .0
            .fetch()
            .await
            .map_err(|error| TokenError::Refused { reason: error.to_string(), source: None })?;
        Ok(AccessToken { expires_at: end_of(&secret), secret })
    }
}

/// When a JSON web token ends, by its own word; `None` for any other token. Nothing is decided by it but when to read anew.
fn end_of(token: &SecretString) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let payload = token.expose_secret().split('.').nth(1)?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Timestamp::from_second(claims.exp).ok()
}

#[cfg(test)]
mod tests;

//! Tokens for ARM: one kept until shortly before its end, whatever it comes from.

use std::sync::Arc;

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

use crate::config::{AzureConfig, Credential, CredentialKind, Secret};
use crate::error::ConfigError;

/// How long before its end a token is replaced: a request may be repeated for a minute, and clocks differ.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

/// Where tokens come from when the one that is kept will not do.
#[async_trait]
pub(super) trait Origin: Send + Sync {
    /// A token that was just obtained.
    async fn fresh(&self, scope: &str) -> Result<AccessToken, TokenError>;

    /// Forget whatever is kept inside.
    fn forget(&self);
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
    pub(crate) async fn new(
        config: &AzureConfig,
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        let Credential { kind, place } = &config.credential;
        let name = kind.name();
        let origin: Box<dyn Origin> = match kind {
            CredentialKind::Token(secret) => {
                secret.fetch_at_start().await?;
                Box::new(Ready(secret.clone()))
            }
            #[cfg(feature = "azure-identity")]
            kind => Box::new(super::identity::Identity::new(kind, place, config.subscription, http).await?),
            #[cfg(not(feature = "azure-identity"))]
            _ => {
                drop(http);
                return Err(place.error(
                    format!("credential kind `{name}` is not part of this build"),
                    "use kind `token`, or a build with the feature `azure-identity`",
                ));
            }
        };
        #[cfg(feature = "azure-identity")]
        let _ = place;
        tracing::info!(credential = name, "the credential for Azure");
        Ok(Self { kind: name, origin, clock, kept: Mutex::new(None), refused: false.into() })
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
                self.origin.forget();
            }
            let now = self.clock.now();
            let good = |kept: &&Kept| kept.scope == scope && lasts(&kept.token, now);
            if let Some(kept) = kept.as_ref().filter(good) {
                return Ok(kept.token.clone());
            }
            let token = self.origin.fresh(&scope).await?;
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

fn lasts(token: &AccessToken, now: Timestamp) -> bool {
    token.expires_at.is_none_or(|end| end.duration_since(now) > EARLY)
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

    fn forget(&self) {}
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

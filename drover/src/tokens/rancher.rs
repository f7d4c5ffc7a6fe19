//! Tokens for Rancher.

use futures::FutureExt;
use futures::future::BoxFuture;
use rancher_client::{BearerToken, TokenSource, TokenSourceError};
use secrecy::ExposeSecret;

use crate::config::Secret;
use crate::error::ConfigError;

/// A token that is read anew each time it is asked for: the client asks once, and again when Rancher refuses it.
pub(crate) struct RancherTokens(Secret);

impl RancherTokens {
    /// Makes sure that there is a token before anything is contacted.
    pub(crate) async fn new(secret: Secret) -> Result<Self, ConfigError> {
        let text = secret.fetch_at_start().await?;
        BearerToken::parse(text.expose_secret()).map_err(|error| {
            secret.place.error(error.to_string(), "copy the whole bearer token from Rancher")
        })?;
        Ok(Self(secret))
    }
}

impl TokenSource for RancherTokens {
    fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenSourceError>> {
        async {
            let text = self.0.fetch().await.map_err(|error| TokenSourceError::new(error.to_string()))?;
            BearerToken::parse(text.expose_secret())
                .map_err(|error| TokenSourceError::new(format!("{}: {error}", self.0.place.path())))
        }
        .boxed()
    }
}

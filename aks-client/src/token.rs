//! Where bearer tokens come from.

use std::fmt;

use futures::future::BoxFuture;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

/// A bearer token for ARM. `Debug` never shows the secret.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The token itself, without the word `Bearer`.
    pub secret: SecretString,
    /// When it ends, where the source knows.
    pub expires_at: Option<Timestamp>,
}

impl AccessToken {
    /// Whether it can travel in a header: not empty, visible ASCII only.
    pub(crate) fn check(&self) -> Result<(), TokenError> {
        check(self.secret.expose_secret())
    }
}

/// Hands out bearer tokens.
///
/// The client asks before every request; caching, and refreshing a token a few minutes before its end, is the
/// source's business. After a 401 the client calls [`invalidate`](Self::invalidate), asks once more and repeats the
/// request once.
pub trait TokenSource: Send + Sync {
    /// A token for `scope`, for example `https://management.azure.com/.default`.
    fn token(&self, scope: &str) -> BoxFuture<'_, Result<AccessToken, TokenError>>;

    /// What kind of source this is, for logs: `azure-cli`, `token`. Never a secret.
    fn kind(&self) -> &str;

    /// The last token was refused: forget it.
    fn invalidate(&self) {}
}

/// Why no token could be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The identity service could not be reached or is overloaded; asking again may help.
    #[error("no token from the identity service for now: {reason}")]
    Unavailable {
        /// What happened, without secrets.
        reason: String,
        /// The underlying error, where there is one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The identity service refused the credential; a person must act.
    #[error("the identity service refused the credential: {reason}")]
    Refused {
        /// What was said, without secrets; for Entra it begins with the AADSTS code.
        reason: String,
        /// The underlying error, where there is one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The token cannot be sent: it is empty, or holds a blank, a line break or another unprintable character.
    #[error("the token is not usable: {reason}")]
    Malformed {
        /// What is wrong, never the token.
        reason: &'static str,
    },
}

impl TokenError {
    /// Whether asking again, with nothing changed, may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// One ready token that never changes; for short tasks and tests.
#[derive(Clone)]
pub struct StaticToken {
    token: AccessToken,
}

impl StaticToken {
    /// A source that always answers `secret`.
    ///
    /// Fails with [`TokenError::Malformed`] where it cannot be a bearer token, for example because it was read from a
    /// file together with its line break.
    pub fn new(secret: SecretString) -> Result<Self, TokenError> {
        check(secret.expose_secret())?;
        Ok(Self { token: AccessToken { secret, expires_at: None } })
    }
}

impl fmt::Debug for StaticToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticToken(..)")
    }
}

impl TokenSource for StaticToken {
    fn token(&self, _scope: &str) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(futures::future::ready(Ok(self.token.clone())))
    }

    fn kind(&self) -> &'static str {
        "token"
    }
}

fn check(secret: &str) -> Result<(), TokenError> {
    if secret.is_empty() {
        return Err(TokenError::Malformed { reason: "it is empty" });
    }
    if secret.ends_with(['\r', '\n']) {
        return Err(TokenError::Malformed { reason: "it ends with a line break" });
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Malformed { reason: "it holds a blank or an unprintable character" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_cannot_be_a_header_is_refused_and_never_shown() {
        for (secret, reason) in
            [("", "empty"), ("s3cret\n", "line break"), ("s3 cret", "blank"), ("s3crét", "unprintable")]
        {
            let error = StaticToken::new(secret.into()).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(reason), "{text}");
            assert!(secret.is_empty() || !text.contains(secret.trim()), "{text}");
        }
    }

    #[test]
    fn debug_of_a_token_hides_it() {
        let source = StaticToken::new("tok-s3cret".into()).unwrap();
        assert!(!format!("{source:?} {:?}", source.token).contains("s3cret"));
    }
}

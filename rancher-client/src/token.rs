//! Bearer tokens and where they come from.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// Secrets shorter than this are not looked for in answers: they would be found in the middle of words, and what a
/// server said would be lost. Rancher's own have 54 characters.
const SHORTEST_SECRET: usize = 6;

/// The sort of a bearer token, told by its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// `token-xxxxx:...`: an API key or a login session.
    Legacy,
    /// `kubeconfig-...:...`: made for a downloaded kubeconfig.
    Kubeconfig,
    /// `ext/...:...`: an extension token, Rancher 2.12 and later.
    Ext,
    /// A JSON web token: Rancher's own OIDC provider (2.14), or a service account of the cluster (2.9, proxy only).
    Jwt,
    /// `name:secret` with a name of another form.
    Other,
}

/// A bearer token for Rancher, checked for its shape only: whether Rancher accepts it, only Rancher knows.
///
/// ```
/// use rancher_client::{BearerToken, TokenKind};
///
/// let token = BearerToken::parse("token-7x2kp:hunter2\n")?;
/// assert_eq!((token.name(), token.kind()), ("token-7x2kp", TokenKind::Legacy));
/// assert_eq!(format!("{token:?}"), "BearerToken(token-7x2kp)");
/// # Ok::<(), rancher_client::TokenFormatError>(())
/// ```
#[derive(Clone)]
pub struct BearerToken {
    name: String,
    kind: TokenKind,
    bearer: SecretString,
}

/// A text that cannot be a Rancher bearer token. The text itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFormatError {
    /// Nothing but white space.
    #[error("the token is empty")]
    Empty,
    /// No `:`. Usually only the access key or only the secret key was copied.
    #[error("the token has no `:`; a Rancher bearer token is the access key, a colon and the secret key")]
    NoColon,
    /// More than one `:`.
    #[error("the token has more than one `:`")]
    ManyColons,
    /// Nothing before or nothing after the `:`.
    #[error("the token lacks the part before or the part after its `:`")]
    MissingPart,
    /// The name, before the `:`, has characters no Rancher token name has. `Bearer ` in front is such a case.
    #[error("the part before the `:` is not the name of a Rancher token")]
    BadName,
    /// White space, control characters or anything else outside visible ASCII in the secret.
    #[error("the token has characters that cannot be part of a bearer token")]
    BadCharacter,
}

impl BearerToken {
    /// Reads a token; white space and line breaks around it are dropped.
    pub fn parse(text: &str) -> Result<Self, TokenFormatError> {
        let bearer = text.trim();
        if bearer.is_empty() {
            return Err(TokenFormatError::Empty);
        }
        if is_jwt(bearer) {
            return Ok(Self { name: "jwt".to_owned(), kind: TokenKind::Jwt, bearer: bearer.into() });
        }
        let Some((name, secret)) = bearer.split_once(':') else { return Err(TokenFormatError::NoColon) };
        if secret.contains(':') {
            return Err(TokenFormatError::ManyColons);
        }
        if name.is_empty() || secret.is_empty() {
            return Err(TokenFormatError::MissingPart);
        }
        let (kind, object) = match name.strip_prefix("ext/") {
            Some(object) => (TokenKind::Ext, object),
            None if name.starts_with("token-") => (TokenKind::Legacy, name),
            None if name.starts_with("kubeconfig-") => (TokenKind::Kubeconfig, name),
            None => (TokenKind::Other, name),
        };
        if !is_object_name(object) {
            return Err(TokenFormatError::BadName);
        }
        if !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenFormatError::BadCharacter);
        }
        Ok(Self { name: name.to_owned(), kind, bearer: bearer.into() })
    }

    /// The part before the `:`, which names the token without giving access; `jwt` for a JSON web token.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sort of token.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The value of the `Authorization` header, marked sensitive: its `Debug` does not show it, and HTTP/2 does not
    /// index it. The only way to get the secret out.
    pub fn authorization(&self) -> HeaderValue {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.bearer.expose_secret()))
            .expect("parse admits visible ASCII only");
        value.set_sensitive(true);
        value
    }

    /// Whether both are the same token, secret included.
    pub fn is_same(&self, other: &Self) -> bool {
        self.bearer.expose_secret() == other.bearer.expose_secret()
    }

    /// `text` without this token's secret, for answers of servers that repeat what they were sent.
    pub(crate) fn redact(&self, text: Vec<u8>) -> Vec<u8> {
        let bearer = self.bearer.expose_secret();
        let secret = bearer.split_once(':').map_or(bearer, |(_, secret)| secret).as_bytes();
        if secret.len() < SHORTEST_SECRET {
            return text;
        }
        let find = |text: &[u8]| text.windows(secret.len()).position(|window| window == secret);
        let Some(mut at) = find(&text) else { return text };
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.as_slice();
        loop {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(b"[redacted]");
            rest = &rest[at + secret.len()..];
            let Some(next) = find(rest) else { break };
            at = next;
        }
        out.extend_from_slice(rest);
        out
    }
}

/// Three base64url parts. Rancher itself tells a JWT by the absence of a single `:`.
fn is_jwt(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let base64url = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    parts.len() == 3 && text.starts_with("eyJ") && parts.iter().all(base64url)
}

/// Tokens are Kubernetes objects of the management cluster, so their names can stand in a URL path.
fn is_object_name(text: &str) -> bool {
    !text.starts_with('.')
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_')
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerToken({})", self.name)
    }
}

/// Why a [`TokenSource`] has no token to give.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct TokenSourceError {
    message: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl TokenSourceError {
    /// An error that says where the token was looked for, such as ``the variable `RANCHER_TOKEN` is not set``. The
    /// message is shown to people: it must not hold the token.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// The same error with the cause under it.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }
}

/// Where a token comes from: a file, a variable, a command.
///
/// The client asks before its first request and again when Rancher answers 401, and keeps the token in between. So
/// each call should read the place anew: that is how a token renewed during a long run is picked up.
pub trait TokenSource: Send + Sync {
    /// Reads the token now.
    fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenSourceError>>;
}

/// A token that stays the same.
#[derive(Clone, Debug)]
pub struct StaticToken(BearerToken);

impl StaticToken {
    /// Always gives `token`.
    pub fn new(token: BearerToken) -> Self {
        Self(token)
    }
}

impl TokenSource for StaticToken {
    fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenSourceError>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bearer_format_rancher_has_given_out_is_known() {
        let cases = [
            ("token-7x2kp:bcdfgh24", "token-7x2kp", TokenKind::Legacy),
            ("  token-7x2kp:bcdfgh24\r\n", "token-7x2kp", TokenKind::Legacy),
            ("kubeconfig-u-abc.c-m-xyz12:bcdf", "kubeconfig-u-abc.c-m-xyz12", TokenKind::Kubeconfig),
            ("ext/token-9mm4z:bcdf", "ext/token-9mm4z", TokenKind::Ext),
            ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln-_", "jwt", TokenKind::Jwt),
            ("agent-x:bcdf", "agent-x", TokenKind::Other),
        ];
        for (text, name, kind) in cases {
            let token = BearerToken::parse(text).unwrap();
            assert_eq!((token.name(), token.kind()), (name, kind));
            assert_eq!(token.authorization().to_str().unwrap(), format!("Bearer {}", text.trim()));
        }
    }

    #[test]
    fn a_damaged_token_is_refused_here_instead_of_as_a_401_later() {
        let cases = [
            (" \n", TokenFormatError::Empty),
            ("token-7x2kp", TokenFormatError::NoColon),
            ("eyJhbGci.eyJz", TokenFormatError::NoColon),
            ("token-7x2kp:hunter2:x", TokenFormatError::ManyColons),
            (":hunter2", TokenFormatError::MissingPart),
            ("token-7x2kp:", TokenFormatError::MissingPart),
            ("Bearer token-7x2kp:hunter2", TokenFormatError::BadName),
            ("https://x:hunter2", TokenFormatError::ManyColons),
            ("ext/../users/x:hunter2", TokenFormatError::BadName),
            ("token-7x2kp:hun ter2", TokenFormatError::BadCharacter),
            ("token-7x2kp:hun\nter2", TokenFormatError::BadCharacter),
            ("token-7x2kp:hünter2", TokenFormatError::BadCharacter),
        ];
        for (text, expected) in cases {
            let error = BearerToken::parse(text).unwrap_err();
            assert_eq!(error, expected, "{text:?}");
            assert!(!format!("{error} {error:?}").contains("ter2"));
        }
    }

    #[test]
    fn neither_the_token_nor_its_header_nor_its_source_shows_the_secret() {
        let token = BearerToken::parse("ext/token-7x2kp:hunter2").unwrap();
        let shown = format!("{token:?} {:?} {:?}", token.authorization(), StaticToken::new(token.clone()));
        assert!(shown.contains("ext/token-7x2kp"));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(token.redact(b"a hunter2 b hunter2".to_vec()), b"a [redacted] b [redacted]");
        assert_eq!(token.redact(b"short".to_vec()), b"short");
        assert!(!token.is_same(&BearerToken::parse("ext/token-7x2kp:hunter3").unwrap()));
    }
}

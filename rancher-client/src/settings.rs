//! Settings, version and health of a Rancher server.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::answer::{self, Operation};
use crate::client::RancherClient;
use crate::error::{DecodeError, Error};
use crate::text::clean_bytes;

/// One of Rancher's global settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Setting {
    /// The setting's name, such as `aks-refresh`.
    #[serde(default, deserialize_with = "null_is_absent")]
    name: String,
    #[serde(default, deserialize_with = "null_is_absent")]
    value: String,
    #[serde(default, deserialize_with = "null_is_absent")]
    default: String,
}

fn null_is_absent<'de, D: serde::Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(value)?.unwrap_or_default())
}

impl Setting {
    /// The setting's name, such as `aks-refresh`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value in force: the one that was set, or the default where none was. It may be empty.
    pub fn effective(&self) -> &str {
        if self.value.is_empty() { &self.default } else { &self.value }
    }
}

/// The version a Rancher server gives for itself. Development builds call themselves `dev` or `...-head`.
///
/// ```
/// use rancher_client::ServerVersion;
///
/// assert_eq!(ServerVersion::new("v2.13.1").major_minor(), Some((2, 13)));
/// assert_eq!(ServerVersion::new("dev").major_minor(), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersion(String);

impl ServerVersion {
    /// Wraps a version as the server writes it. Every text is one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The version as the server writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Major and minor number where the text has them (`v2.9.3`, `2.9`, `v2.16-head`), else `None`.
    pub fn major_minor(&self) -> Option<(u32, u32)> {
        let mut parts = self.0.trim().trim_start_matches('v').split(['.', '-', '+']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn operation(text: &str, subject: &str) -> Operation {
    Operation { text: text.to_owned(), subject: subject.to_owned(), in_cluster: false }
}

impl RancherClient {
    /// Reads a setting, such as `aks-refresh` or `system-namespaces`.
    ///
    /// `name` must be letters, digits and `-`; anything else is [`Error::NotFound`] without a request.
    pub async fn setting(&self, name: &str) -> Result<Setting, Error> {
        let subject = format!("setting {}", crate::text::clean(name));
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Error::NotFound { subject });
        }
        let operation = operation(&format!("read {subject}"), &subject);
        let setting: Setting = self.get_json(&format!("v3/settings/{name}"), &operation).await?;
        if setting.name == name {
            return Ok(setting);
        }
        let reason = format!("`{name}` expected, found `{}`", setting.name);
        Err(Error::UnexpectedBody { operation: operation.text, source: DecodeError::new("name", &reason) })
    }

    /// [`setting`](Self::setting), or `None` where this token may not read settings or the server has no such one.
    pub(crate) async fn setting_if_allowed(&self, name: &str) -> Result<Option<Setting>, Error> {
        match self.setting(name).await {
            Ok(setting) => Ok(Some(setting)),
            Err(error) if is_refusal(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How often Rancher reads Azure (setting `aks-refresh`); [`DEFAULT_AKS_REFRESH`](crate::ownership::DEFAULT_AKS_REFRESH)
    /// where this token may not read settings. If an administrator has made it longer, the default only makes the
    /// judgement of [`ownership`](crate::ownership) stricter.
    pub async fn aks_refresh(&self) -> Result<Duration, Error> {
        let Some(setting) = self.setting_if_allowed("aks-refresh").await? else {
            return Ok(crate::ownership::DEFAULT_AKS_REFRESH);
        };
        let seconds = setting.effective().trim().parse().map_err(|_| {
            let operation = operation("read setting aks-refresh", "setting aks-refresh");
            operation.unexpected(DecodeError::new("value", "a number of seconds expected"))
        })?;
        Ok(Duration::from_secs(seconds))
    }

    /// The server's version: from its settings or, where the token may not read those, from the page that is open to
    /// everyone (2.7 and later). When both fail, the error is that of the settings.
    pub async fn server_version(&self) -> Result<ServerVersion, Error> {
        match self.setting("server-version").await {
            Ok(setting) if !setting.effective().is_empty() => Ok(ServerVersion::new(setting.effective())),
            Ok(_) => self.public_version().await,
            Err(error) if is_refusal(&error) => self.public_version().await.or(Err(error)),
            Err(error) => Err(error),
        }
    }

    async fn public_version(&self) -> Result<ServerVersion, Error> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(rename = "Version")]
            version: String,
        }
        let operation = operation("read the server's version", "/rancherversion");
        let body = self.get_anonymous("rancherversion", &operation).await?;
        let page: Page = answer::decode(&body)
            .map_err(|source| Error::UnexpectedBody { operation: operation.text.clone(), source })?;
        Ok(ServerVersion::new(crate::text::clean(&page.version)))
    }

    /// Asks whether a Rancher answers, without sending the token. Any other answer than Rancher's `pong` is
    /// [`Error::UnexpectedBody`]: some other server stands at this address.
    pub async fn ping(&self) -> Result<(), Error> {
        self.expect_word("ping", "pong").await
    }

    /// Asks whether Rancher takes itself for healthy, without sending the token.
    pub async fn healthz(&self) -> Result<(), Error> {
        self.expect_word("healthz", "ok").await
    }

    async fn expect_word(&self, path: &str, word: &str) -> Result<(), Error> {
        let operation = operation(&format!("read /{path} of the server"), &format!("/{path}"));
        let body = self.get_anonymous(path, &operation).await?;
        if body.trim_ascii() == word.as_bytes() {
            return Ok(());
        }
        let reason = format!("`{word}` expected, found `{}`", clean_bytes(&body));
        Err(operation.unexpected(DecodeError::new(".", &reason)))
    }
}

/// An answer after which the open page is worth a try: this token may not read settings.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::TokenRejected { .. }
            | Error::ScopedToken { .. }
            | Error::PermissionDenied { .. }
            | Error::NotFound { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rancher, json, text};

    #[tokio::test]
    async fn an_empty_value_means_the_default_and_another_setting_means_nothing() {
        let cases = [("", "300", "300"), ("60", "300", "60")];
        for (value, default, effective) in cases {
            let body = format!(r#"{{"name":"aks-refresh","value":"{value}","default":"{default}","x":1}}"#);
            let rancher = Rancher::with("/v3/settings/aks-refresh", json(200, &body)).await;
            assert_eq!(rancher.client().setting("aks-refresh").await.unwrap().effective(), effective);
        }
        for other in ["{}", r#"{"name":"server-url","value":"x"}"#] {
            let rancher = Rancher::with("/v3/settings/aks-refresh", json(200, other)).await;
            let error = rancher.client().setting("aks-refresh").await.unwrap_err();
            assert!(matches!(error, Error::UnexpectedBody { .. }), "{other}: {error:?}");
        }
        let error = Rancher::start().await.client().setting("../users").await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "and nothing was sent");
    }

    #[tokio::test]
    async fn a_scoped_token_learns_the_version_from_the_open_page_without_being_sent_there() {
        let rancher = Rancher::start().await;
        rancher.answer("/v3/settings/server-version", text(401, "")).await;
        let page = r#"{"Version":"v2.9.3","GitCommit":"abc","RancherPrime":"false"}"#;
        rancher.answer("/rancherversion", json(200, page)).await;
        let version = rancher.client().server_version().await.unwrap();
        assert_eq!((version.as_str(), version.major_minor()), ("v2.9.3", Some((2, 9))));
        assert_eq!(rancher.authorizations("/rancherversion").await, [None]);
    }

    #[tokio::test]
    async fn when_the_open_page_is_missing_the_first_error_is_the_one_told() {
        let rancher = Rancher::start().await;
        rancher.answer("/v3/settings/server-version", text(401, "")).await;
        rancher.answer("/rancherversion", text(200, "<html>dashboard</html>")).await;
        let error = rancher.client().server_version().await.unwrap_err();
        assert!(matches!(error, Error::TokenRejected { perhaps_scoped: true, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_ping_without_a_token_tells_rancher_from_another_server() {
        let rancher = Rancher::with("/ping", text(200, "pong\n")).await;
        rancher.client().ping().await.unwrap();
        assert_eq!(rancher.authorizations("/ping").await, [None]);
        let other = Rancher::with("/ping", text(200, "<html>It works</html>")).await;
        let error = other.client().ping().await.unwrap_err();
        assert!(matches!(error, Error::UnexpectedBody { .. }), "{error:?}");
    }

    #[test]
    fn versions_of_development_builds_are_no_numbers() {
        let cases = [("v2.16-head", Some((2, 16))), ("2.9.3", Some((2, 9))), ("dev", None), ("", None)];
        for (text, expected) in cases {
            assert_eq!(ServerVersion::new(text).major_minor(), expected, "{text}");
        }
    }
}

//! The address of a Rancher server.

use std::fmt;
use std::str::FromStr;

use ::url::{Host, Url};

/// The base URL of a Rancher server: `https://rancher.example.com`, optionally with a path prefix.
///
/// Plain `http` is accepted for loopback addresses only, because a bearer token travels with every request.
///
/// ```
/// use rancher_client::RancherUrl;
///
/// let url = RancherUrl::parse("https://tools.example.com/rancher/")?;
/// assert_eq!(url.join("/v3/clusters?name=shop")?.as_str(), "https://tools.example.com/rancher/v3/clusters?name=shop");
/// assert!(RancherUrl::parse("http://rancher.example.com").is_err());
/// # Ok::<(), rancher_client::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RancherUrl(Url);

/// An address that is not, or does not stay, the address of a Rancher server. It never repeats the whole text,
/// because people paste URLs that carry credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The text is no absolute URL with a host.
    #[error("not a URL such as https://rancher.example.com")]
    Malformed,
    /// Neither `https`, nor `http` to a loopback address.
    #[error("the scheme `{scheme}` is not accepted: https is required, http is for loopback addresses only")]
    Insecure {
        /// The scheme that was given.
        scheme: String,
    },
    /// A user name or a password stands before the host.
    #[error("credentials do not belong into the URL")]
    Credentials,
    /// A query (`?...`) or a fragment (`#...`) follows the path.
    #[error("the URL of a Rancher server has neither a query nor a fragment")]
    QueryOrFragment,
    /// A path with `.`, `..`, `//`, `%2F` or the like, which a server could resolve to another place than meant.
    #[error("the path could be resolved to another place than meant")]
    AmbiguousPath,
}

impl RancherUrl {
    /// Reads a base URL. White space around it and slashes at its end are dropped.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim().trim_end_matches('/');
        let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
        let Some(host) = url.host() else { return Err(UrlError::Malformed) };
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&host) => {}
            other => return Err(UrlError::Insecure { scheme: crate::text::clean(other) }),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(UrlError::QueryOrFragment);
        }
        if url.path().contains("//") {
            return Err(UrlError::AmbiguousPath);
        }
        Ok(Self(url))
    }

    /// The address of a path (with an optional query) below this server. It is guaranteed to stay on this host and
    /// below this prefix: a path that a server could resolve elsewhere is refused. `//` is refused too, because
    /// Rancher 2.15 answers it with a redirect.
    pub fn join(&self, path: &str) -> Result<Url, UrlError> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (only_path, _) = path.split_once('?').unwrap_or((path, ""));
        if only_path.starts_with('/') || path.contains('#') || only_path.contains("//") {
            return Err(UrlError::AmbiguousPath);
        }
        // The URL parser drops tabs and line breaks, so `.<tab>.` would become `..` after this check.
        if path.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(UrlError::AmbiguousPath);
        }
        if only_path.contains('\\') || only_path.split('/').any(is_misleading_segment) {
            return Err(UrlError::AmbiguousPath);
        }
        Url::parse(&format!("{self}/{path}")).map_err(|_| UrlError::Malformed)
    }

    /// `host` or `host:port`, for messages.
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// Whether requests travel through TLS. False only for loopback addresses.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

/// A segment that names a parent, or that hides a slash or a dot behind an encoding.
fn is_misleading_segment(segment: &str) -> bool {
    let decoded = segment.to_ascii_lowercase().replace("%2e", ".");
    decoded == "." || decoded == ".." || decoded.contains("%2f") || decoded.contains("%5c")
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

/// Without a slash at its end.
impl fmt::Display for RancherUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for RancherUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RancherUrl({self})")
    }
}

impl FromStr for RancherUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_promised_to_a_plain_connection_beyond_this_machine() {
        for good in
            ["https://rancher.example.com", "http://127.0.0.1:8900/", "http://[::1]:1", "http://localhost:80"]
        {
            assert!(RancherUrl::parse(good).is_ok(), "{good}");
        }
        let refused = [
            ("http://rancher.example.com", "http"),
            ("http://10.0.0.1", "http"),
            ("http://localhost.example.com", "http"),
            ("ftp://rancher.example.com", "ftp"),
        ];
        for (bad, scheme) in refused {
            assert_eq!(
                RancherUrl::parse(bad),
                Err(UrlError::Insecure { scheme: scheme.to_owned() }),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_does_not_belong_into_a_base_url_is_named_without_repeating_it() {
        let cases = [
            ("", UrlError::Malformed),
            ("rancher.example.com", UrlError::Malformed),
            ("https://", UrlError::Malformed),
            ("https://token-abc:hunter2@rancher.example.com", UrlError::Credentials),
            ("https://rancher.example.com?x=hunter2", UrlError::QueryOrFragment),
            ("https://rancher.example.com#x", UrlError::QueryOrFragment),
            ("https://rancher.example.com/a//b", UrlError::AmbiguousPath),
        ];
        for (text, expected) in cases {
            let error = RancherUrl::parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_joined_path_stays_below_the_prefix() {
        let url = RancherUrl::parse(" https://tools.example.com/rancher/ \n").unwrap();
        assert_eq!(url.to_string(), "https://tools.example.com/rancher");
        assert_eq!(url.join("ping").unwrap().as_str(), "https://tools.example.com/rancher/ping");
        for bad in [
            "..",
            "a/../../b",
            "%2e%2E/x",
            "a/./b",
            "//evil",
            "a//b",
            "a%2Fb",
            "a\\b",
            "a#b",
            "a%5cb",
            ".\t./x",
        ] {
            assert_eq!(url.join(bad), Err(UrlError::AmbiguousPath), "{bad}");
        }
        let query = url.join("/api/v1/pods?fieldSelector=a/../b").unwrap();
        assert_eq!(query.query(), Some("fieldSelector=a/../b"), "dots in a query are only text");
    }
}

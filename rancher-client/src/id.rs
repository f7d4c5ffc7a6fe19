//! Names of things on a Rancher server.

use std::fmt;
use std::str::FromStr;

/// The id of a cluster on one Rancher server: `c-x7k2p`, `c-m-abcd1234` or `local`.
///
/// It is a lower-case DNS label, so it can stand in a URL path as it is. It identifies a cluster only on the server
/// that gave it out, and a cluster that is registered anew gets a new one.
///
/// ```
/// use rancher_client::RancherClusterId;
///
/// assert_eq!(RancherClusterId::parse("c-m-abcd1234")?.as_str(), "c-m-abcd1234");
/// assert!(RancherClusterId::parse("../local").is_err());
/// # Ok::<(), rancher_client::ClusterIdError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RancherClusterId(String);

/// A text that cannot be the id of a Rancher cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a Rancher cluster id (such as c-x7k2p or c-m-abcd1234)")]
pub struct ClusterIdError {
    text: String,
}

impl RancherClusterId {
    /// Reads an id: 1 to 63 characters of `a-z`, `0-9` and `-`, neither first nor last a `-`.
    pub fn parse(text: &str) -> Result<Self, ClusterIdError> {
        let label = (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if label { Ok(Self(text.to_owned())) } else { Err(ClusterIdError { text: crate::text::clean(text) }) }
    }

    /// The cluster that Rancher itself runs on.
    pub fn local() -> Self {
        Self("local".to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RancherClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RancherClusterId {
    type Err = ClusterIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_would_leave_its_place_in_a_url_is_refused() {
        for good in ["c-x7k2p", "c-m-abcd1234", "local"] {
            assert_eq!(good.parse::<RancherClusterId>().unwrap().to_string(), good);
        }
        let long = "c".repeat(64);
        for bad in ["", ".", "..", "c/x", "c-x?limit=1", "C-X", "c x", "-c", "c-", "c%2fx", "c:p", &long] {
            assert!(RancherClusterId::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Kubernetes versions, in every spelling that Azure, Rancher, kubelets and people use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A full Kubernetes version `major.minor.patch`.
///
/// Parses `1.34.2`, `v1.34.2`, and versions with a vendor suffix (`v1.29.7+rke2r1`, `v1.33.2-hotfix.1`); the suffix is
/// dropped, because Azure, kubelet and Rancher disagree on it for the same release. Compares numerically.
///
/// ```
/// use upgrade_core::model::KubeVersion;
/// let kubelet: KubeVersion = "v1.34.10+aks1".parse()?;
/// assert!(kubelet > "1.34.9".parse()?);
/// assert_eq!(kubelet.to_string(), "1.34.10");
/// # Ok::<(), upgrade_core::model::VersionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KubeVersion {
    major: u16,
    minor: u16,
    patch: u16,
}

impl KubeVersion {
    /// A version from its three numbers.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// The minor release as `(major, minor)`.
    pub const fn release(self) -> (u16, u16) {
        (self.major, self.minor)
    }

    /// How many minor releases `later` is ahead of `self`: negative if it is behind, `None` across majors.
    pub fn minors_until(self, later: Self) -> Option<i32> {
        (self.major == later.major).then(|| i32::from(later.minor) - i32::from(self.minor))
    }
}

impl fmt::Display for KubeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for KubeVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        match text.parse()? {
            VersionRequest::Exact(version) => Ok(version),
            VersionRequest::Minor { .. } => Err(VersionError::PatchMissing(text.to_owned())),
        }
    }
}

impl TryFrom<String> for KubeVersion {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<KubeVersion> for String {
    fn from(version: KubeVersion) -> Self {
        version.to_string()
    }
}

/// A version as a person asks for it: `1.35` (the newest patch that Azure offers) or `1.35.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRequest {
    /// The newest patch of a minor release.
    Minor {
        /// Always 1 today.
        major: u16,
        /// The minor release.
        minor: u16,
    },
    /// Exactly this version.
    Exact(KubeVersion),
}

impl VersionRequest {
    /// Does `version` satisfy the request?
    pub fn admits(self, version: KubeVersion) -> bool {
        match self {
            Self::Minor { major, minor } => version.release() == (major, minor),
            Self::Exact(exact) => version == exact,
        }
    }

    /// The minor release asked for, as `(major, minor)`.
    pub const fn release(self) -> (u16, u16) {
        match self {
            Self::Minor { major, minor } => (major, minor),
            Self::Exact(version) => version.release(),
        }
    }
}

impl fmt::Display for VersionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minor { major, minor } => write!(f, "{major}.{minor}"),
            Self::Exact(version) => version.fmt(f),
        }
    }
}

impl FromStr for VersionRequest {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let bad = || VersionError::NotAVersion(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed.strip_prefix('v').unwrap_or(trimmed);
        let core = digits.split(['+', '-']).next().unwrap_or_default();
        let mut numbers = core.split('.').map(|part| {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| part.parse::<u16>().ok()).flatten().ok_or_else(bad)
        });
        let (Some(major), Some(minor)) = (numbers.next().transpose()?, numbers.next().transpose()?) else {
            return Err(bad());
        };
        let patch = numbers.next().transpose()?;
        if numbers.next().is_some() {
            return Err(bad());
        }
        Ok(match patch {
            Some(patch) => Self::Exact(KubeVersion { major, minor, patch }),
            None => Self::Minor { major, minor },
        })
    }
}

/// Why a text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Not of the form `1.35` or `1.35.2`.
    #[error("`{0}` is not a Kubernetes version; write `1.35` or `1.35.2`")]
    NotAVersion(String),
    /// A full version is needed here.
    #[error("`{0}` names a minor release, a full version such as `{0}.0` is needed here")]
    PatchMissing(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_seen_in_the_field_parses() {
        for (text, want) in [
            ("1.34.2", "1.34.2"),
            ("v1.34.2", "1.34.2"),
            (" v1.33.2\n", "1.33.2"),
            ("v1.29.7+rke2r1", "1.29.7"),
            ("v1.33.2-hotfix.20250101", "1.33.2"),
            ("1.36", "1.36"),
            ("v1.36", "1.36"),
        ] {
            assert_eq!(text.parse::<VersionRequest>().unwrap().to_string(), want, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_quoted() {
        for text in ["", "1", "latest", "1.x", "1.34.2.1", "1..2", "-1.2", "1.34.99999999", "one.two.three"] {
            let error = text.parse::<VersionRequest>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{text}: {error}");
        }
        assert!(matches!("1.34".parse::<KubeVersion>(), Err(VersionError::PatchMissing(_))));
    }

    #[test]
    fn comparison_is_numeric_and_across_minors_counts_releases() {
        let v = |t: &str| t.parse::<KubeVersion>().unwrap();
        assert!(v("1.9.9") < v("1.10.0"));
        assert_eq!(v("1.34.2").minors_until(v("1.35.0")), Some(1));
        assert_eq!(v("1.35.2").minors_until(v("1.34.0")), Some(-1));
        assert_eq!(v("1.35.2").minors_until(v("2.0.0")), None);
    }
}

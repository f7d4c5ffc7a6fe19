//! The `MAJOR.MINOR` format version that every file and stream of Drover begins with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A format version. A reader ignores unknown fields of its own major and refuses another major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FormatVersion {
    /// Raised when a reader of the old format would misread the new one.
    pub major: u16,
    /// Raised when something was added that an old reader may ignore.
    pub minor: u16,
}

impl FormatVersion {
    /// What this version of Drover writes.
    pub const CURRENT: Self = Self { major: 1, minor: 0 };

    /// Refuses a file of another major.
    pub fn check_readable(self) -> Result<(), FormatError> {
        if self.major == Self::CURRENT.major {
            Ok(())
        } else {
            Err(FormatError::OtherMajor { found: self, readable: Self::CURRENT })
        }
    }
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The file was written by a Drover of another major format.
    #[error("format {found} cannot be read, this version reads {}.x", readable.major)]
    OtherMajor {
        /// What the file says.
        found: FormatVersion,
        /// What this version writes.
        readable: FormatVersion,
    },
    /// Not `MAJOR.MINOR`.
    #[error("`{0}` is not a format version such as `1.0`")]
    NotAFormat(String),
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl TryFrom<String> for FormatVersion {
    type Error = FormatError;

    fn try_from(text: String) -> Result<Self, FormatError> {
        let parsed = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        parsed.map(|(major, minor)| Self { major, minor }).ok_or(FormatError::NotAFormat(text))
    }
}

impl From<FormatVersion> for String {
    fn from(version: FormatVersion) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_minor_is_read_and_another_major_is_refused() {
        let parse = |t: &str| FormatVersion::try_from(t.to_owned());
        assert!(parse("1.7").unwrap().check_readable().is_ok());
        let error = parse("2.0").unwrap().check_readable().unwrap_err();
        assert_eq!(error.to_string(), "format 2.0 cannot be read, this version reads 1.x");
        assert!(parse("1").is_err());
    }
}

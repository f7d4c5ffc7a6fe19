//! The `MAJOR.MINOR` format version that every file and stream of Drover begins with.

use std::cmp::Ordering;
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
    /// What this version of Drover writes, but for the journal (see [`journal::FORMAT`](crate::journal::FORMAT)).
    pub const CURRENT: Self = Self { major: 1, minor: 0 };

    /// Can this be read by whoever writes `reader`? Every minor of the same major can, older or newer.
    pub fn check_readable_by(self, reader: Self) -> Result<(), FormatError> {
        match self.major.cmp(&reader.major) {
            Ordering::Equal => Ok(()),
            Ordering::Less => Err(FormatError::TooOld { found: self, reader }),
            Ordering::Greater => Err(FormatError::TooNew { found: self, reader }),
        }
    }
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It was written by a Drover of an earlier major format.
    #[error("format {found} cannot be read, this version reads {}.x; an older Drover can", reader.major)]
    TooOld {
        /// What the file says.
        found: FormatVersion,
        /// What the reader writes.
        reader: FormatVersion,
    },
    /// It was written by a Drover of a later major format.
    #[error("format {found} cannot be read, this version reads {}.x; a newer Drover can", reader.major)]
    TooNew {
        /// What the file says.
        found: FormatVersion,
        /// What the reader writes.
        reader: FormatVersion,
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
    fn any_minor_is_read_and_another_major_is_refused_by_what_can_read_it() {
        let parse = |t: &str| FormatVersion::try_from(t.to_owned());
        let read =
            |found: &str, reader: &str| parse(found).unwrap().check_readable_by(parse(reader).unwrap());
        assert!(read("1.7", "1.0").is_ok() && read("1.0", "1.7").is_ok());
        let error = read("2.0", "1.1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "format 2.0 cannot be read, this version reads 1.x; a newer Drover can"
        );
        let error = read("1.9", "2.0").unwrap_err();
        assert_eq!(
            error.to_string(),
            "format 1.9 cannot be read, this version reads 2.x; an older Drover can"
        );
        assert!(parse("1").is_err());
    }
}

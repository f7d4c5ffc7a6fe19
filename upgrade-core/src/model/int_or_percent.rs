//! Kubernetes' `IntOrString` where the string is a percentage.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A count, or a percentage of another count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum IntOrPercent {
    /// So many.
    Int(u32),
    /// So many percent; over 100 is legal where Kubernetes allows it.
    Percent(u32),
}

impl IntOrPercent {
    /// The count for `total`, percentages rounded up.
    pub fn ceil_of(self, total: u32) -> u32 {
        self.of(total, |product| product.div_ceil(100))
    }

    /// The count for `total`, percentages rounded down.
    pub fn floor_of(self, total: u32) -> u32 {
        self.of(total, |product| product / 100)
    }

    fn of(self, total: u32, round: impl Fn(u64) -> u64) -> u32 {
        match self {
            Self::Int(count) => count,
            Self::Percent(percent) => {
                u32::try_from(round(u64::from(percent) * u64::from(total))).unwrap_or(u32::MAX)
            }
        }
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for IntOrPercent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.strip_suffix('%') {
            Some(percent) => percent.parse().map(Self::Percent),
            None => text.parse().map(Self::Int),
        };
        parsed.map_err(|_| format!("`{text}` is neither a count nor a percentage"))
    }
}

impl TryFrom<String> for IntOrPercent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<IntOrPercent> for String {
    fn from(value: IntOrPercent) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_the_way_the_caller_asks() {
        let quarter: IntOrPercent = "25%".parse().unwrap();
        assert_eq!((quarter.ceil_of(5), quarter.floor_of(5)), (2, 1));
        assert_eq!((quarter.ceil_of(0), quarter.floor_of(3)), (0, 0));
        assert_eq!("3".parse::<IntOrPercent>().unwrap().ceil_of(1), 3);
        assert!("three".parse::<IntOrPercent>().is_err());
        assert!("-1".parse::<IntOrPercent>().is_err());
    }
}

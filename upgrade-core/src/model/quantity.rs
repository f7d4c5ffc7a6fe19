//! CPU and memory, as Kubernetes writes them.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Kubernetes quantity such as `250m`, `2` or `1.5Gi`")]
pub struct QuantityError(pub String);

/// Thousandths of a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MilliCpu(pub u64);

/// Bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// What a pod asks for, or what a node has to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// CPU.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
}

/// The value of a quantity in thousandths, rounded up as the API server does.
fn parse_milli(text: &str) -> Result<u64, QuantityError> {
    let bad = || QuantityError(text.to_owned());
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || fraction.len() > 9 {
        return Err(bad());
    }
    let digits: u128 = format!("0{whole}{fraction}").parse().map_err(|_| bad())?;
    let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| bad())?);
    let (numerator, denominator) = suffix_factor(suffix).ok_or_else(bad)?;
    let milli = digits
        .checked_mul(numerator)
        .and_then(|v| v.checked_mul(1000))
        .ok_or_else(bad)?
        .div_ceil(scale * denominator);
    u64::try_from(milli).map_err(|_| bad())
}

/// A suffix as a fraction: `m` is 1/1000, `Ki` is 1024/1, `e3` is 1000/1.
fn suffix_factor(suffix: &str) -> Option<(u128, u128)> {
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']).filter(|e| !e.is_empty()) {
        let exponent: i32 = exponent.parse().ok().filter(|e| (-9..=18).contains(e))?;
        let power = 10u128.pow(exponent.unsigned_abs());
        return Some(if exponent < 0 { (1, power) } else { (power, 1) });
    }
    Some(match suffix {
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "" => (1, 1),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => return None,
    })
}

impl MilliCpu {
    /// Parses a CPU quantity; a fraction of a thousandth counts as a whole one.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        parse_milli(text).map(Self)
    }
}

impl Bytes {
    /// Parses a memory quantity; a fraction of a byte counts as a whole one.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        parse_milli(text).map(|milli| Self(milli.div_ceil(1000)))
    }
}

impl Resources {
    /// From thousandths of a CPU and mebibytes, the usual way to write a request.
    pub const fn new(milli_cpu: u64, mebibytes: u64) -> Self {
        Self { cpu: MilliCpu(milli_cpu), memory: Bytes(mebibytes << 20) }
    }

    /// Does `self` fit into `room`?
    pub fn fits(self, room: Self) -> bool {
        self.cpu <= room.cpu && self.memory <= room.memory
    }

    /// The larger of the two, resource by resource.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }
}

impl Add for Resources {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { cpu: MilliCpu(self.cpu.0 + other.cpu.0), memory: Bytes(self.memory.0 + other.memory.0) }
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Stops at zero: an overcommitted node has no room, not negative room.
impl Sub for Resources {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            cpu: MilliCpu(self.cpu.0.saturating_sub(other.cpu.0)),
            memory: Bytes(self.memory.0.saturating_sub(other.memory.0)),
        }
    }
}

impl Sum for Resources {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m CPU, {} MiB", self.cpu.0, self.memory.0 >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_as_kubernetes_writes_them() {
        for (text, milli) in [
            ("250m", 250),
            ("2", 2000),
            ("1.5", 1500),
            (".5", 500),
            ("1e3", 1_000_000),
            ("100u", 1),
            ("1n", 1),
            ("0", 0),
        ] {
            assert_eq!(MilliCpu::parse(text).unwrap().0, milli, "{text}");
        }
        for (text, bytes) in [
            ("128974848", 128_974_848),
            ("129e6", 129_000_000),
            ("129M", 129_000_000),
            ("123Mi", 128_974_848),
            ("1.5Gi", 1_610_612_736),
            ("500m", 1),
        ] {
            assert_eq!(Bytes::parse(text).unwrap().0, bytes, "{text}");
        }
        for bad in ["", "m", "1.2.3", "1Q", "-1", "1 Gi", "1e", "1e99", "NaN"] {
            assert!(MilliCpu::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn room_never_turns_negative() {
        let room = Resources::new(100, 100) - Resources::new(200, 50);
        assert_eq!(room, Resources::new(0, 50));
        assert!(!Resources::new(1, 1).fits(room));
    }
}

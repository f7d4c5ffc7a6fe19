//! Durations in scenario files: `90s`, `30m`, `1h 30m`.

use std::time::Duration;

use jiff::SignedDuration;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};
use upgrade_core::span;

pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let exact = SignedDuration::try_from(*duration).unwrap_or(SignedDuration::MAX);
    serializer.collect_str(&format_args!("{exact:#}"))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    span::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

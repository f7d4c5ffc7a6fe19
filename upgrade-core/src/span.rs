//! Durations as people write them: `90s`, `30m`, `1h 30m`.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Parses `90s`, `30m` or `1h 30m`. Negative durations are refused.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration such as `90s`, `30m` or `1h 30m`");
    let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

/// Shows a duration as people read it, in whole seconds: `2h 4m`, `90s` is `1m 30s`, under a second `0s`.
pub fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes, rest) {
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, m, s) if s == 0 || m > 0 => format!("{h}h {m}m"),
        (h, _, s) => format!("{h}h {s}s"),
    }
}

pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let (secs, millis) = (duration.as_secs(), duration.subsec_millis());
    serializer.collect_str(&if millis == 0 { format!("{secs}s") } else { format!("{secs}s {millis}ms") })
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// The same for a duration that may be left out.
pub(crate) mod maybe {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde hands it over like this")]
    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown_as_people_write_them() {
        assert_eq!(parse("30m").unwrap(), Duration::from_secs(1800));
        assert_eq!(parse("1h 30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse("0s").unwrap(), Duration::ZERO);
        for bad in ["", "30", "soon", "-5m", "30 minuets"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for (secs, text) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (90, "1m 30s"), (3600, "1h 0m"), (7_470, "2h 4m")]
        {
            assert_eq!(show(Duration::from_secs(secs)), text);
        }
    }
}

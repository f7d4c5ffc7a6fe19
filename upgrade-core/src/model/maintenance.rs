//! When Azure upgrades a cluster by itself, and when it is told not to.

use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

/// What the maintenance configurations of a cluster mean for a run. They concern only what Azure begins by itself; an upgrade that
/// somebody asks for begins at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// When Azure may begin an upgrade by itself, as far as a channel of the cluster wants one.
    pub windows: Vec<UpgradeWindow>,
    /// When somebody wants nothing to happen to the cluster.
    pub shut: Vec<ShutTime>,
    /// What could not be read or understood, in words: it may mean anything.
    pub unclear: Vec<String>,
}

/// Hours that come again, in which Azure may begin an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeWindow {
    /// The maintenance configuration.
    pub name: String,
    /// On which days it opens.
    pub days: WindowDays,
    /// At what time of these days, at `offset`.
    pub opens: Time,
    /// For how many hours. What has begun by then goes on.
    pub hours: u32,
    /// The offset from UTC, in seconds.
    pub offset: i32,
    /// The first day on which it may open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Date>,
}

/// The days on which a window opens. Every so many weeks or months counts as every one: from which Azure counts is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowDays {
    /// Every day.
    Daily,
    /// A day of the week.
    Weekly(DayOfWeek),
    /// A day of the month; the last one of a shorter month.
    Monthly(u32),
    /// A day of the week, the first, second, .. of a month; the fifth means the last.
    NthOfMonth(u32, DayOfWeek),
}

/// A day of the week, as Azure writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum DayOfWeek {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// A time in which nothing is to happen to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutTime {
    /// The maintenance configuration.
    pub name: String,
    /// Its begin.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

/// The weeks of a month, as Azure counts them.
const NTHS: [&str; 5] = ["First", "Second", "Third", "Fourth", "Last"];
/// A month is the longest that a window is away.
const LOOK_AHEAD: i64 = 32;

impl Maintenance {
    /// Nothing is configured.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Does the channel of node images let Azure begin operations? Without a word it does (AKS: `NodeImage` by default);
    /// `Unmanaged` leaves updates to the operating system.
    pub fn wants_node_images(channel: Option<&str>) -> bool {
        let word = channel.unwrap_or("NodeImage");
        !word.eq_ignore_ascii_case("None") && !word.eq_ignore_ascii_case("Unmanaged")
    }

    /// The window that is open at `now`, or opens before `until`, whichever begins first, with that moment.
    pub fn next_window(&self, now: Timestamp, until: Timestamp) -> Option<(&UpgradeWindow, Timestamp)> {
        let next = self.windows.iter().filter_map(|window| Some((window, window.next(now)?)));
        next.filter(|(_, opens)| *opens < until).min_by_key(|(_, opens)| *opens)
    }

    /// The time in which nothing is to happen, if `now` is in one.
    pub fn shut_at(&self, now: Timestamp) -> Option<&ShutTime> {
        self.shut.iter().find(|shut| (shut.from..shut.to).contains(&now))
    }
}

impl UpgradeWindow {
    /// When it has opened, if it is open, else when it opens next.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let zone = zone(self.offset)?;
        let today = now.to_zoned(zone.clone()).date();
        // One that opened yesterday may still be open.
        let days = (-2..=LOOK_AHEAD).filter_map(|days| today.checked_add(days.days()).ok());
        let mut opens = days.filter(|day| self.opens_on(*day)).filter_map(|day| {
            let opens = day.to_datetime(self.opens).to_zoned(zone.clone()).ok()?.timestamp();
            let closes = opens.checked_add(i64::from(self.hours).hours()).ok()?;
            (closes > now).then_some(opens)
        });
        opens.next()
    }

    fn opens_on(&self, day: Date) -> bool {
        let last = u32::try_from(day.days_in_month()).unwrap_or(31);
        let number = u32::try_from(day.day()).unwrap_or(1);
        let right = match self.days {
            WindowDays::Daily => true,
            WindowDays::Weekly(weekday) => weekday.is(day),
            WindowDays::Monthly(wanted) => number == wanted.min(last),
            WindowDays::NthOfMonth(5, weekday) => weekday.is(day) && number + 7 > last,
            WindowDays::NthOfMonth(nth, weekday) => weekday.is(day) && number.div_ceil(7) == nth,
        };
        right && self.since.is_none_or(|since| day >= since)
    }
}

impl fmt::Display for UpgradeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, hours, opens, days, offset, .. } = self;
        let offset = Offset::from_seconds(*offset).unwrap_or(Offset::UTC);
        let days = match days {
            WindowDays::Daily => "each day".to_owned(),
            WindowDays::Weekly(day) => format!("{day:?}"),
            WindowDays::Monthly(day) => format!("day {day} of the month"),
            WindowDays::NthOfMonth(nth, day) => {
                let nth = usize::try_from(*nth).ok().and_then(|nth| NTHS.get(nth.checked_sub(1)?));
                format!("the {} {day:?} of the month", nth.unwrap_or(&"?").to_lowercase())
            }
        };
        write!(f, "{name} ({days} at {} UTC{offset}, {hours} h)", opens.strftime("%H:%M"))
    }
}

impl WindowDays {
    /// From Azure's words: `Weekly` on `Monday`.
    pub fn weekly(day: &str) -> Option<Self> {
        DayOfWeek::parse(day).map(Self::Weekly)
    }

    /// From Azure's words: the `Last` `Friday` of a month.
    pub fn nth_of_month(nth: &str, day: &str) -> Option<Self> {
        let nth = NTHS.iter().position(|word| word.eq_ignore_ascii_case(nth))?;
        Some(Self::NthOfMonth(u32::try_from(nth).ok()? + 1, DayOfWeek::parse(day)?))
    }
}

impl DayOfWeek {
    const ALL: [(&str, Self, Weekday); 7] = [
        ("Monday", Self::Monday, Weekday::Monday),
        ("Tuesday", Self::Tuesday, Weekday::Tuesday),
        ("Wednesday", Self::Wednesday, Weekday::Wednesday),
        ("Thursday", Self::Thursday, Weekday::Thursday),
        ("Friday", Self::Friday, Weekday::Friday),
        ("Saturday", Self::Saturday, Weekday::Saturday),
        ("Sunday", Self::Sunday, Weekday::Sunday),
    ];

    fn parse(text: &str) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|(name, ..)| name.eq_ignore_ascii_case(text))?;
        Some(found.1)
    }

    fn is(self, day: Date) -> bool {
        Self::ALL.into_iter().any(|(_, own, weekday)| own == self && weekday == day.weekday())
    }
}

impl ShutTime {
    /// From Azure's words: moments (RFC 3339), or whole days at an offset, the last one included.
    pub fn parse(name: &str, start: &str, end: &str, offset: i32) -> Option<Self> {
        let name = name.to_owned();
        if let (Ok(from), Ok(to)) = (start.parse(), end.parse()) {
            return Some(Self { name, from, to });
        }
        let zone = zone(offset)?;
        let moment = |day: Date| Some(day.to_zoned(zone.clone()).ok()?.timestamp());
        let (first, last): (Date, Date) = (start.parse().ok()?, end.parse().ok()?);
        Some(Self { name, from: moment(first)?, to: moment(last.tomorrow().ok()?)? })
    }
}

/// The seconds of an offset as Azure writes it: `+02:00`; nothing means UTC.
pub fn offset_seconds(text: Option<&str>) -> Option<i32> {
    let Some(text) = text else { return Some(0) };
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let seconds = hours.parse::<u16>().ok()? * 3600 + minutes.parse::<u16>().ok()? * 60;
    Some(sign * i32::from(seconds))
}

fn zone(offset: i32) -> Option<TimeZone> {
    Offset::from_seconds(offset).ok().map(TimeZone::fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: WindowDays, opens: &str, offset: &str) -> UpgradeWindow {
        UpgradeWindow {
            name: "aksManagedNodeOSUpgradeSchedule".into(),
            days,
            opens: opens.parse().unwrap(),
            hours: 4,
            offset: offset_seconds(Some(offset)).unwrap(),
            since: None,
        }
    }

    fn next(window: &UpgradeWindow, now: &str) -> String {
        window.next(now.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn a_window_is_open_or_opens_next_by_its_own_clock() {
        let sunday = window(WindowDays::weekly("sunday").unwrap(), "22:00", "+01:00");
        assert_eq!(next(&sunday, "2026-11-28T12:00:00Z"), "2026-11-29T21:00:00Z");
        assert_eq!(next(&sunday, "2026-11-30T00:59:00Z"), "2026-11-29T21:00:00Z", "it is open");
        assert_eq!(next(&sunday, "2026-11-30T01:00:00Z"), "2026-12-06T21:00:00Z");
        let daily = window(WindowDays::Daily, "00:30", "-05:30");
        assert_eq!(next(&daily, "2026-11-28T12:00:00Z"), "2026-11-29T06:00:00Z");
        let later = UpgradeWindow { since: Some("2026-12-07".parse().unwrap()), ..sunday };
        assert_eq!(next(&later, "2026-11-28T12:00:00Z"), "2026-12-13T21:00:00Z");
    }

    #[test]
    fn days_of_a_month_are_counted_as_people_count_them() {
        let of = |days| window(days, "00:00", "+00:00");
        let now = "2026-11-28T12:00:00Z";
        assert_eq!(next(&of(WindowDays::Monthly(31)), now), "2026-11-30T00:00:00Z", "November has no 31st");
        let nth = |nth, day| next(&of(WindowDays::nth_of_month(nth, day).unwrap()), now);
        assert_eq!(nth("First", "Tuesday"), "2026-12-01T00:00:00Z");
        assert_eq!(nth("Second", "Tuesday"), "2026-12-08T00:00:00Z");
        assert_eq!(nth("Last", "Monday"), "2026-11-30T00:00:00Z");
        assert_eq!(WindowDays::nth_of_month("Fifth", "Monday"), None);
        assert_eq!(WindowDays::weekly("Moonday"), None);
    }

    #[test]
    fn the_first_window_within_reach_is_told_and_a_shut_time_has_its_last_day() {
        let windows = vec![
            window(WindowDays::weekly("Sunday").unwrap(), "22:00", "+01:00"),
            window(WindowDays::Daily, "03:00", "+00:00"),
        ];
        let shut = ShutTime::parse("default", "2026-12-24", "2026-12-26", 3600).unwrap();
        let exact = ShutTime::parse("default", "2026-11-28T10:00:00Z", "2026-11-28T12:00:00Z", 0).unwrap();
        let maintenance = Maintenance { windows, shut: vec![shut, exact], unclear: Vec::new() };
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let next =
            |until| maintenance.next_window(at("2026-11-29T12:00:00Z"), at(until)).map(|(_, opens)| opens);
        assert_eq!(next("2026-11-29T20:00:00Z"), None);
        assert_eq!(next("2026-12-01T20:00:00Z"), Some(at("2026-11-29T21:00:00Z")));
        assert!(maintenance.shut_at(at("2026-12-26T22:59:00Z")).is_some());
        assert!(maintenance.shut_at(at("2026-12-26T23:00:00Z")).is_none());
        assert!(maintenance.shut_at(at("2026-11-28T11:00:00Z")).is_some());
        assert!(ShutTime::parse("default", "soon", "later", 0).is_none());
        assert_eq!(offset_seconds(Some("0100")), None);
    }
}

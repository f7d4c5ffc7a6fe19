//! When Azure upgrades a cluster by itself, and when it is told not to.

use std::fmt;
use std::num::NonZeroU32;

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
    /// Every so many days, weeks or months; one is each. Without a first day, too, each counts.
    #[serde(default = "each")]
    pub every: NonZeroU32,
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

fn each() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// The days on which a window opens.
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
/// How many days are looked through: from one first Monday of a month to the next are five weeks. No run takes longer.
const LOOK_AHEAD: i64 = 35;
/// A Sunday, with which Azure's weeks begin (Azure/AKS#5720).
const WEEKS_FROM: Date = Date::constant(2000, 1, 2);

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
        self.days.have(day) && self.since.is_none_or(|since| day >= since && self.has_its_turn(since, day))
    }

    /// Is it the turn of this day's week or month, where only every so many have one? From which one Azure counts is not
    /// documented. It was seen to count from the week of the first day, even where the window opens before that day in the
    /// week (Azure/AKS#5720), so that it first opened a week later than by a count from the first opening. Both count.
    fn has_its_turn(&self, since: Date, day: Date) -> bool {
        let mut days = (0..=LOOK_AHEAD).filter_map(|days| since.checked_add(days.days()).ok());
        let first = days.find(|day| self.days.have(*day));
        let turns =
            |from| (self.days.number(day) - self.days.number(from)) % i64::from(self.every.get()) == 0;
        turns(since) || first.is_some_and(turns)
    }

    /// Every how many, in words.
    fn rhythm(&self) -> String {
        let unit = match self.days {
            WindowDays::Daily => "days",
            WindowDays::Weekly(_) => "weeks",
            WindowDays::Monthly(_) | WindowDays::NthOfMonth(..) => "months",
        };
        match (self.every.get(), self.since) {
            (1, _) => String::new(),
            (every, Some(since)) => format!(", every {every} {unit} from {since},"),
            (every, None) => format!(", every {every} {unit} (from when is not said: each one counts)"),
        }
    }
}

impl WindowDays {
    /// Is this one of the days?
    fn have(self, day: Date) -> bool {
        let last = u32::try_from(day.days_in_month()).unwrap_or(31);
        let number = u32::try_from(day.day()).unwrap_or(1);
        match self {
            Self::Daily => true,
            Self::Weekly(weekday) => weekday.is(day),
            Self::Monthly(wanted) => number == wanted.min(last),
            Self::NthOfMonth(5, weekday) => weekday.is(day) && number + 7 > last,
            Self::NthOfMonth(nth, weekday) => weekday.is(day) && number.div_ceil(7) == nth,
        }
    }

    /// The number of this day, of its week or of its month, whichever is counted.
    fn number(self, day: Date) -> i64 {
        let days = day.duration_since(WEEKS_FROM).as_hours() / 24;
        match self {
            Self::Daily => days,
            Self::Weekly(_) => days.div_euclid(7),
            Self::Monthly(_) | Self::NthOfMonth(..) => i64::from(day.year()) * 12 + i64::from(day.month()),
        }
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
        let (rhythm, opens) = (self.rhythm(), opens.strftime("%H:%M"));
        write!(f, "{name} ({days}{rhythm} at {opens} UTC{offset}, {hours} h)")
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
            every: each(),
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

    /// The days in half a year on which a window opens that has this rhythm.
    fn openings(days: WindowDays, every: u32, since: Option<&str>) -> Vec<String> {
        let every = NonZeroU32::new(every).unwrap();
        let since = since.map(|since| since.parse().unwrap());
        let window = UpgradeWindow { every, since, ..window(days, "22:00", "+00:00") };
        let year: Date = "2026-04-01".parse().unwrap();
        let all = (0..180).map(|days| year.checked_add(days.days()).unwrap());
        all.filter(|day| window.opens_on(*day)).map(|day| day.strftime("%m-%d").to_string()).collect()
    }

    #[test]
    fn every_so_many_weeks_are_counted_from_the_first_day_in_each_way_that_azure_may_count() {
        let sunday = WindowDays::weekly("Sunday").unwrap();
        // A Sunday, from which every count is the same.
        assert_eq!(openings(sunday, 4, Some("2026-04-12"))[..3], ["04-12", "05-10", "06-07"]);
        // A Tuesday: Azure opened on the 26th (Azure/AKS#5720), and by another reading it is the 19th.
        assert_eq!(openings(sunday, 4, Some("2026-04-14"))[..4], ["04-19", "05-10", "05-17", "06-07"]);
        assert_eq!(openings(sunday, 2, Some("2026-04-14"))[..3], ["04-19", "04-26", "05-03"]);
        assert_eq!(openings(sunday, 4, None)[..3], ["04-05", "04-12", "04-19"], "nobody knows from when");
        assert_eq!(openings(WindowDays::Daily, 3, Some("2026-04-14"))[..3], ["04-14", "04-17", "04-20"]);
        let first = WindowDays::nth_of_month("First", "Monday").unwrap();
        assert_eq!(openings(first, 3, Some("2026-04-01")), ["04-06", "07-06"]);
        assert_eq!(openings(WindowDays::Monthly(31), 2, Some("2026-04-01"))[..2], ["04-30", "06-30"]);
        assert_eq!(openings(WindowDays::Monthly(1), 3, Some("2026-04-14")), ["05-01", "07-01", "08-01"]);
    }

    #[test]
    fn a_window_says_how_often_it_opens_and_what_is_not_known_of_that() {
        let plain = window(WindowDays::weekly("Sunday").unwrap(), "22:00", "+01:00");
        let name = "aksManagedNodeOSUpgradeSchedule";
        let two = UpgradeWindow { every: NonZeroU32::new(2).unwrap(), ..plain.clone() };
        let since = UpgradeWindow { since: Some("2026-04-14".parse().unwrap()), ..two.clone() };
        for (window, said) in [
            (plain, "Sunday at"),
            (since, "Sunday, every 2 weeks from 2026-04-14, at"),
            (two, "Sunday, every 2 weeks (from when is not said: each one counts) at"),
        ] {
            assert_eq!(window.to_string(), format!("{name} ({said} 22:00 UTC+01, 4 h)"));
        }
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

//! When the service may act by itself.

use jiff::civil::{Date, Time};
use serde_json::Value;

use super::ShapeError;
use crate::value::{at, list_at, number_at, text_at};

/// What a maintenance configuration is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaintenancePurpose {
    /// `default`: the service's own weekly releases.
    Default,
    /// `aksManagedAutoUpgradeSchedule`: upgrades by the automatic channel.
    AutoUpgrade,
    /// `aksManagedNodeOSUpgradeSchedule`: node images by the node OS channel.
    NodeOs,
    /// A name this crate does not know.
    Other(String),
}

/// A maintenance configuration: the JSON of the GET, with typed views. It limits what the service does by itself; it neither
/// stops nor delays what a caller begins.
///
/// ```
/// use aks_client::{MaintenanceConfiguration, MaintenancePurpose, MaintenanceSchedule};
/// use serde_json::json;
///
/// let found = MaintenanceConfiguration::from_value(json!({"name": "aksManagedNodeOSUpgradeSchedule",
///     "properties": {"maintenanceWindow": {"durationHours": 4, "startTime": "22:00", "utcOffset": "+01:00",
///         "schedule": {"weekly": {"intervalWeeks": 1, "dayOfWeek": "Sunday"}}}}}))?;
/// assert_eq!(found.purpose(), MaintenancePurpose::NodeOs);
/// let window = found.window().expect("a schedule has one");
/// assert!(matches!(window.schedule, MaintenanceSchedule::Weekly { interval_weeks: 1, .. }));
/// # Ok::<(), aks_client::ShapeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MaintenanceConfiguration {
    raw: Value,
    name: String,
}

/// Hours of one day of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeekSlot {
    /// The day, as the service names it: `Monday`.
    pub day: String,
    /// Hours in UTC, each the first of sixty minutes: `1` is 01:00 to 02:00.
    pub hours: Vec<u32>,
}

/// A span of time, as the service wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSpan {
    /// Its begin: a moment, or a date.
    pub start: String,
    /// Its end.
    pub end: String,
}

/// How often a window opens.
#[derive(Debug, Clone, PartialEq)]
pub enum MaintenanceSchedule {
    /// Every so many days.
    Daily {
        /// Days from one window to the next.
        interval_days: u32,
    },
    /// Every so many weeks, on a day of the week.
    Weekly {
        /// Weeks from one window to the next.
        interval_weeks: u32,
        /// `Monday` and so on.
        day_of_week: String,
    },
    /// Every so many months, on a day of the month.
    AbsoluteMonthly {
        /// Months from one window to the next.
        interval_months: u32,
        /// 1 to 31.
        day_of_month: u32,
    },
    /// Every so many months, on the first, second, .. day of a kind.
    RelativeMonthly {
        /// Months from one window to the next.
        interval_months: u32,
        /// `First` to `Fourth`, `Last`.
        week_index: String,
        /// `Monday` and so on.
        day_of_week: String,
    },
    /// A form this crate does not know, as it came.
    Unknown(Value),
}

/// The window of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct MaintenanceWindow {
    /// How often it opens.
    pub schedule: MaintenanceSchedule,
    /// How long it stays open, in hours. What has begun by then goes on.
    pub duration_hours: Option<u32>,
    /// The offset of its times from UTC, `+02:00`; absent means UTC.
    pub utc_offset: Option<String>,
    /// The first day it holds; absent means at once.
    pub start_date: Option<Date>,
    /// The time of day it opens.
    pub start_time: Option<Time>,
    /// Dates on which it stays shut.
    pub not_allowed: Vec<ClosedSpan>,
}

impl MaintenanceConfiguration {
    /// A configuration from its JSON, which must have a name.
    pub fn from_value(raw: Value) -> Result<Self, ShapeError> {
        let name = text_at(&raw, &["name"])
            .ok_or(ShapeError { what: "a maintenance configuration", reason: "it has no name" })?
            .to_owned();
        Ok(Self { raw, name })
    }

    /// The JSON it came as.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for, which its name decides.
    pub fn purpose(&self) -> MaintenancePurpose {
        let is = |name: &str| self.name.eq_ignore_ascii_case(name);
        match () {
            () if is("default") => MaintenancePurpose::Default,
            () if is("aksManagedAutoUpgradeSchedule") => MaintenancePurpose::AutoUpgrade,
            () if is("aksManagedNodeOSUpgradeSchedule") => MaintenancePurpose::NodeOs,
            () => MaintenancePurpose::Other(self.name.clone()),
        }
    }

    /// The weekly hours of the `default` configuration.
    pub fn week_slots(&self) -> Vec<WeekSlot> {
        let slots = list_at(&self.raw, &["properties", "timeInWeek"]).iter();
        let hour = |hour: &Value| hour.as_u64()?.try_into().ok();
        slots
            .filter_map(|slot| {
                Some(WeekSlot {
                    day: text_at(slot, &["day"])?.to_owned(),
                    hours: list_at(slot, &["hourSlots"]).iter().filter_map(hour).collect(),
                })
            })
            .collect()
    }

    /// Spans in which the `default` configuration allows nothing.
    pub fn not_allowed(&self) -> Vec<ClosedSpan> {
        spans(list_at(&self.raw, &["properties", "notAllowedTime"]))
    }

    /// The window of the two schedules.
    pub fn window(&self) -> Option<MaintenanceWindow> {
        let window = at(&self.raw, &["properties", "maintenanceWindow"])?;
        let text = |name| text_at(window, &[name]);
        Some(MaintenanceWindow {
            schedule: schedule(at(window, &["schedule"]).unwrap_or(&Value::Null)),
            duration_hours: number_at(window, &["durationHours"]),
            utc_offset: text("utcOffset").map(str::to_owned),
            start_date: text("startDate").and_then(|date| date.parse().ok()),
            start_time: text("startTime").and_then(|time| time.parse().ok()),
            not_allowed: spans(list_at(window, &["notAllowedDates"])),
        })
    }
}

fn spans(list: &[Value]) -> Vec<ClosedSpan> {
    let text = |span: &Value, name| text_at(span, &[name]).map(str::to_owned);
    list.iter()
        .filter_map(|span| Some(ClosedSpan { start: text(span, "start")?, end: text(span, "end")? }))
        .collect()
}

fn schedule(value: &Value) -> MaintenanceSchedule {
    known_schedule(value).unwrap_or_else(|| MaintenanceSchedule::Unknown(value.clone()))
}

fn known_schedule(value: &Value) -> Option<MaintenanceSchedule> {
    let number = |form, name| number_at(value, &[form, name]);
    let text = |form, name| text_at(value, &[form, name]).map(str::to_owned);
    let has = |form| at(value, &[form]).is_some();
    if has("daily") {
        return Some(MaintenanceSchedule::Daily { interval_days: number("daily", "intervalDays")? });
    }
    if has("weekly") {
        return Some(MaintenanceSchedule::Weekly {
            interval_weeks: number("weekly", "intervalWeeks")?,
            day_of_week: text("weekly", "dayOfWeek")?,
        });
    }
    if has("absoluteMonthly") {
        return Some(MaintenanceSchedule::AbsoluteMonthly {
            interval_months: number("absoluteMonthly", "intervalMonths")?,
            day_of_month: number("absoluteMonthly", "dayOfMonth")?,
        });
    }
    Some(MaintenanceSchedule::RelativeMonthly {
        interval_months: number("relativeMonthly", "intervalMonths")?,
        week_index: text("relativeMonthly", "weekIndex")?,
        day_of_week: text("relativeMonthly", "dayOfWeek")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_schedule_is_read_and_a_new_one_is_kept() {
        let table = [
            (json!({"daily": {"intervalDays": 3}}), MaintenanceSchedule::Daily { interval_days: 3 }),
            (
                json!({"weekly": {"intervalWeeks": 2, "dayOfWeek": "Friday"}}),
                MaintenanceSchedule::Weekly { interval_weeks: 2, day_of_week: "Friday".to_owned() },
            ),
            (
                json!({"daily": null, "absoluteMonthly": {"intervalMonths": 1, "dayOfMonth": 15}}),
                MaintenanceSchedule::AbsoluteMonthly { interval_months: 1, day_of_month: 15 },
            ),
            (
                json!({"relativeMonthly": {"intervalMonths": 1, "weekIndex": "Last", "dayOfWeek": "Monday"}}),
                MaintenanceSchedule::RelativeMonthly {
                    interval_months: 1,
                    week_index: "Last".to_owned(),
                    day_of_week: "Monday".to_owned(),
                },
            ),
            (json!({"lunar": {"x": 1}}), MaintenanceSchedule::Unknown(json!({"lunar": {"x": 1}}))),
            (
                json!({"weekly": {"dayOfWeek": "Friday"}}),
                MaintenanceSchedule::Unknown(json!({"weekly": {"dayOfWeek": "Friday"}})),
            ),
        ];
        for (given, expected) in table {
            let raw = json!({"name": "aksManagedAutoUpgradeSchedule", "properties": {"maintenanceWindow":
                {"schedule": given, "startDate": "2026-11-24", "startTime": "22:30", "durationHours": 8,
                 "utcOffset": "+05:30", "notAllowedDates": [{"start": "2026-12-24", "end": "2026-12-26"}]}}});
            let window = MaintenanceConfiguration::from_value(raw).unwrap().window().unwrap();
            assert_eq!(window.schedule, expected);
            assert_eq!((window.duration_hours, window.utc_offset.as_deref()), (Some(8), Some("+05:30")));
            assert_eq!(window.start_date, Some("2026-11-24".parse().unwrap()));
            assert_eq!(window.start_time, Some("22:30".parse().unwrap()));
            assert_eq!(window.not_allowed[0].end, "2026-12-26");
        }
    }

    #[test]
    fn the_name_decides_what_it_is_for() {
        let purpose =
            |name: &str| MaintenanceConfiguration::from_value(json!({"name": name})).unwrap().purpose();
        assert_eq!(purpose("Default"), MaintenancePurpose::Default);
        assert_eq!(purpose("aksManagedAutoUpgradeSchedule"), MaintenancePurpose::AutoUpgrade);
        assert_eq!(purpose("ours"), MaintenancePurpose::Other("ours".to_owned()));
        assert!(MaintenanceConfiguration::from_value(json!({"name": ""})).is_err());
    }
}

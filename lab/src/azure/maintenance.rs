//! When AKS acts by itself, as the core sees it.

use std::num::NonZeroU32;

use serde_json::Value;
use upgrade_core::model::{Maintenance, ShutTime, UpgradeWindow, WindowDays, offset_seconds};

use super::Azure;

/// The maintenance configuration for node images.
pub(super) const NODE_IMAGES: &str = "aksManagedNodeOSUpgradeSchedule";

impl Azure {
    /// The maintenance configurations in the core's model. Whatever is not understood is named.
    pub(super) fn maintenance_model(&self) -> Maintenance {
        let mut all = Maintenance::default();
        for (name, properties) in &self.limits.maintenance {
            if let Err(problem) = self.take_in(&mut all, name, properties) {
                all.unclear.push(format!("maintenance configuration {name}: {problem}"));
            }
        }
        all
    }

    fn take_in(&self, all: &mut Maintenance, name: &str, properties: &Value) -> Result<(), &'static str> {
        let is = |own: &str| name.eq_ignore_ascii_case(own);
        let wanted = match () {
            // The service's own releases are no upgrades of nodes.
            () if is("default") => return shut(all, name, &properties["notAllowedTime"], 0),
            () if is("aksManagedAutoUpgradeSchedule") => self.cluster.channel().is_some(),
            () if is(NODE_IMAGES) => {
                // One that is not `None`; the cluster's own JSON always names one.
                Maintenance::wants_node_images(Some(self.cluster.node_os_channel().unwrap_or("None")))
            }
            () => return Err("what it is for is not known"),
        };
        let window = &properties["maintenanceWindow"];
        if !window.is_object() {
            return Err("it has no window");
        }
        let offset = offset_seconds(window["utcOffset"].as_str()).ok_or("its offset is not known")?;
        if wanted {
            let text = |key: &str| window[key].as_str();
            let hours = window["durationHours"].as_u64().and_then(|hours| u32::try_from(hours).ok());
            let (days, every) = days(&window["schedule"]).ok_or("its schedule is not known")?;
            all.windows.push(UpgradeWindow {
                name: name.to_owned(),
                days,
                every,
                opens: text("startTime")
                    .and_then(|time| time.parse().ok())
                    .ok_or("it does not say when it opens")?,
                hours: hours.ok_or("it does not say how long it stays open")?,
                offset,
                since: text("startDate").and_then(|date| date.parse().ok()),
            });
        }
        shut(all, name, &window["notAllowedDates"], offset)
    }
}

fn shut(all: &mut Maintenance, name: &str, spans: &Value, offset: i32) -> Result<(), &'static str> {
    let read = spans.as_array().into_iter().flatten().map(|span| {
        let (start, end) = (span["start"].as_str()?, span["end"].as_str()?);
        ShutTime::parse(name, start, end, offset)
    });
    let read: Option<Vec<ShutTime>> = read.collect();
    all.shut.extend(read.ok_or("a time that it does not allow is not known")?);
    Ok(())
}

fn days(schedule: &Value) -> Option<(WindowDays, NonZeroU32)> {
    let (kind, rule) = schedule.as_object()?.iter().find(|(_, rule)| rule.is_object())?;
    let text = |key: &str| rule[key].as_str();
    let number = |key: &str| u32::try_from(rule[key].as_u64()?).ok();
    let (days, every) = match kind.as_str() {
        "daily" => (WindowDays::Daily, "intervalDays"),
        "weekly" => (WindowDays::weekly(text("dayOfWeek")?)?, "intervalWeeks"),
        "absoluteMonthly" => (WindowDays::Monthly(number("dayOfMonth")?), "intervalMonths"),
        "relativeMonthly" => {
            (WindowDays::nth_of_month(text("weekIndex")?, text("dayOfWeek")?)?, "intervalMonths")
        }
        _ => return None,
    };
    Some((days, NonZeroU32::new(number(every)?)?))
}

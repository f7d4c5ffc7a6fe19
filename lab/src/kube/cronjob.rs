//! The CronJob controller: Jobs by the clock (pkg/controller/cronjob). Schedules are in UTC; names of months and days, and other
//! time zones, are not read, and such a CronJob never runs.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{Work, controlled_by, uid_of};
use crate::store::Key;
use crate::world::World;

/// A schedule in five fields: minute, hour, day of the month, month, day of the week.
#[derive(Debug, PartialEq, Eq)]
struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// One of the two kinds of days is `*`: then both must hold, else one is enough.
    any_day: bool,
}

/// How far the search for the next moment looks: the 29th of February may be eight years away.
const HORIZON_DAYS: i64 = 366 * 9;

impl Schedule {
    fn parse(text: &str) -> Option<Self> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let [minutes, hours, days, months, weekdays] =
            text.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
        let sundays = field(weekdays, 0, 7)?;
        Some(Self {
            minutes: field(minutes, 0, 59)?,
            hours: field(hours, 0, 23)?,
            days: field(days, 1, 31)?,
            months: field(months, 1, 12)?,
            // 7 is another name of Sunday.
            weekdays: sundays | (sundays >> 7 & 1),
            any_day: days.starts_with(['*', '?']) || weekdays.starts_with(['*', '?']),
        })
    }

    /// The first moment after `after`.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let has = |set: u64, number: i8| u32::try_from(number).is_ok_and(|number| set >> number & 1 == 1);
        let start = TimeZone::UTC.to_datetime(after + SignedDuration::from_mins(1));
        let first = start.date();
        for days in 0..HORIZON_DAYS {
            let date = first.checked_add(SignedDuration::from_hours(24 * days)).ok()?;
            let weekday = date.weekday().to_sunday_zero_offset();
            let (by_month, by_week) = (has(self.days, date.day()), has(self.weekdays, weekday));
            let day = if self.any_day { by_month && by_week } else { by_month || by_week };
            if !has(self.months, date.month()) || !day {
                continue;
            }
            for hour in (0..24).filter(|hour| has(self.hours, *hour)) {
                for minute in (0..60).filter(|minute| has(self.minutes, *minute)) {
                    let at: DateTime = date.at(hour, minute, 0, 0);
                    if days > 0 || (hour, minute) >= (start.hour(), start.minute()) {
                        return at.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
                    }
                }
            }
        }
        None
    }
}

/// One field as a set of bits: `*`, `*/n`, `a`, `a-b`, `a-b/n`, and lists of them.
fn field(text: &str, least: u32, most: u32) -> Option<u64> {
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (least, most),
            Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
            None => {
                let from = range.parse().ok()?;
                (from, if step > 1 { most } else { from })
            }
        };
        if from < least || to > most || from > to {
            return None;
        }
        set |= (from..=to).step_by(step).fold(0_u64, |set, number| set | 1 << number);
    }
    Some(set)
}

pub(super) fn reconcile(world: &mut World, key: &Key) {
    let Some(cron) = world.store.get::<CronJob>(&key.namespace, &key.name).cloned() else { return };
    let spec = cron.spec.clone();
    let zone_known = spec.time_zone.as_deref().is_none_or(|zone| matches!(zone, "UTC" | "Etc/UTC"));
    let Some(schedule) = Schedule::parse(&spec.schedule).filter(|_| zone_known) else { return };
    let now = world.now();
    let status = cron.status.clone().unwrap_or_default();
    let created = cron.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let last = status.last_schedule_time.as_ref().map_or(created, |time| time.0);
    let due = missed(&schedule, last, now);
    let in_time = |at: &Timestamp| {
        let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        deadline.is_none_or(|deadline| *at + deadline >= now)
    };
    let mut scheduled = None;
    if let Some(at) = due.filter(in_time).filter(|_| spec.suspend != Some(true))
        && may_start(world, &cron, spec.concurrency_policy.as_deref())
    {
        start(world, key, &cron, at);
        scheduled = Some(at);
    }
    clean_up(
        world,
        &cron,
        spec.successful_jobs_history_limit.unwrap_or(3),
        spec.failed_jobs_history_limit.unwrap_or(1),
    );
    report(world, key, &cron, scheduled);
    if let Some(next) = schedule.next(now) {
        let after = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        world.enqueue_later(after, Work::CronJob(key.clone()));
    }
}

/// The last of the moments after `last` that have come; only one Job is made for several.
fn missed(schedule: &Schedule, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
    /// Kubernetes gives up when there are more.
    const MOST: usize = 100;
    let next = |at: &Timestamp| schedule.next(*at).filter(|at| *at <= now);
    std::iter::successors(next(&last), next).take(MOST).last()
}

fn jobs(world: &World, cron: &CronJob) -> Vec<std::sync::Arc<Job>> {
    world.store.owned_by::<Job>(uid_of(cron)).cloned().collect()
}

fn may_start(world: &mut World, cron: &CronJob, policy: Option<&str>) -> bool {
    let active: Vec<_> = jobs(world, cron).into_iter().filter(|job| !super::job::ended(job)).collect();
    match policy {
        Some("Forbid") => active.is_empty(),
        Some("Replace") => {
            for job in active {
                let Key { namespace, name } = super::key_of(&*job);
                let _ = world.store.delete::<Job>(&namespace, &name);
            }
            true
        }
        _ => true,
    }
}

fn start(world: &mut World, key: &Key, cron: &CronJob, at: Timestamp) {
    let template = cron.spec.job_template.clone();
    let meta = template.metadata.unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.insert("batch.kubernetes.io/cronjob-scheduled-timestamp".to_owned(), at.to_string());
    let job = Job {
        metadata: ObjectMeta {
            // Minutes since the epoch: a moment has one Job.
            name: Some(format!("{}-{}", key.name, at.as_second() / 60)),
            namespace: Some(key.namespace.clone()),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controlled_by(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    };
    // It has been made already.
    let _ = world.store.create(job);
}

/// Of the Jobs that have ended only the last few are kept.
fn clean_up(world: &mut World, cron: &CronJob, good: i32, bad: i32) {
    for (kind, kept) in [("Complete", good), ("Failed", bad)] {
        let is = |job: &std::sync::Arc<Job>| super::job::has_condition(job, kind);
        let mut ended: Vec<_> = jobs(world, cron).into_iter().filter(is).collect();
        ended.sort_by_key(|job| job.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let surplus = ended.len().saturating_sub(usize::try_from(kept).unwrap_or_default());
        for job in ended.into_iter().take(surplus) {
            let Key { namespace, name } = super::key_of(&*job);
            let _ = world.store.delete::<Job>(&namespace, &name);
        }
    }
}

fn report(world: &mut World, key: &Key, cron: &CronJob, scheduled: Option<Timestamp>) {
    let active = jobs(world, cron).into_iter().filter(|job| !super::job::ended(job)).map(|job| {
        k8s_openapi::api::core::v1::ObjectReference {
            api_version: Some("batch/v1".to_owned()),
            kind: Some("Job".to_owned()),
            namespace: job.metadata.namespace.clone(),
            name: job.metadata.name.clone(),
            uid: job.metadata.uid.clone(),
            ..Default::default()
        }
    });
    let active: Vec<_> = active.collect();
    let before = cron.status.clone().unwrap_or_default();
    let status = CronJobStatus {
        active: (!active.is_empty()).then_some(active),
        last_schedule_time: scheduled.map(Time).or(before.last_schedule_time),
        last_successful_time: before.last_successful_time,
    };
    let _ = world.store.update::<CronJob>(&key.namespace, &key.name, |cron| cron.status = Some(status));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_says_when_it_is_time() {
        let after: Timestamp = "2026-01-15T01:07:30Z".parse().unwrap();
        for (schedule, wanted) in [
            ("*/5 * * * *", "2026-01-15T01:10:00Z"),
            ("8 * * * *", "2026-01-15T01:08:00Z"),
            ("7 * * * *", "2026-01-15T02:07:00Z"),
            ("0 3 * * *", "2026-01-15T03:00:00Z"),
            ("0 0 1 * *", "2026-02-01T00:00:00Z"),
            ("@daily", "2026-01-16T00:00:00Z"),
            // The 15th is a Thursday.
            ("0 0 * * 7", "2026-01-18T00:00:00Z"),
            ("30 22 * * 1-5", "2026-01-15T22:30:00Z"),
            // Of two kinds of days one is enough: Friday the 16th comes before the 20th.
            ("0 0 20 * 5", "2026-01-16T00:00:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            ("1-10/4 1 * * *", "2026-01-15T01:09:00Z"),
        ] {
            let next = Schedule::parse(schedule).unwrap().next(after).unwrap();
            assert_eq!(next.to_string(), wanted, "{schedule}");
        }
        for bad in ["", "* * * *", "60 * * * *", "* 24 * * *", "*/0 * * * *", "5-1 * * * *", "JAN * * * *"] {
            assert_eq!(Schedule::parse(bad), None, "{bad}");
        }
        assert_eq!(Schedule::parse("0 0 31 2 *").unwrap().next(after), None);
    }

    #[test]
    fn of_several_missed_moments_only_the_last_counts() {
        let schedule = Schedule::parse("0 * * * *").unwrap();
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let due = missed(&schedule, at("2026-01-15T01:00:00Z"), at("2026-01-15T05:30:00Z"));
        assert_eq!(due, Some(at("2026-01-15T05:00:00Z")));
        assert_eq!(missed(&schedule, at("2026-01-15T05:00:00Z"), at("2026-01-15T05:30:00Z")), None);
    }
}

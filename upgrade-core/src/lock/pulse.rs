//! Is the holder of a Lease alive? Seen by somebody who does not want the lock.

use std::time::Duration;

use jiff::Timestamp;

use super::{Lease, LeaseRecord, LockTimes};
use crate::model::Uid;

/// What a look at the Lease says of its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Nobody holds it.
    Free,
    /// He has renewed it since it was seen first.
    Alive(LeaseRecord),
    /// He has not renewed it for as long as it lasts: his process has died, or cannot reach the cluster and may not write.
    Silent(LeaseRecord),
    /// Neither is known yet.
    Unclear {
        /// What the Lease says.
        record: LeaseRecord,
        /// When to look again.
        look: Duration,
    },
}

/// What a renewal changes. Somebody who asks the holder to stop changes the Lease, too, and is no sign of life.
type Beat = (Uid, String, u32, Option<Timestamp>);

/// Watches the Lease for signs of life. All `now` are one clock's monotonic time; what others wrote as their time is compared for
/// equality only.
#[derive(Clone, Debug)]
pub struct Pulse {
    times: LockTimes,
    beat: Option<(Beat, Duration)>,
    beats: u32,
}

impl Pulse {
    /// Begins to watch.
    pub fn new(times: LockTimes) -> Self {
        Self { times, beat: None, beats: 0 }
    }

    /// How often the holder that was seen last has renewed it meanwhile.
    pub(super) fn beats(&self) -> u32 {
        self.beats
    }

    /// The Lease was read.
    pub fn on(&mut self, now: Duration, observed: Option<&Lease>) -> Sign {
        let Some(Lease { uid, record, .. }) = observed.filter(|lease| !lease.record.holder.is_empty()) else {
            self.beat = None;
            return Sign::Free;
        };
        let beat = (uid.clone(), record.holder.clone(), record.transitions, record.renewed_at);
        let since = match self.beat.take() {
            Some((last, since)) if last == beat => since,
            last => {
                let same_holder = last.is_some_and(|((_, holder, ..), _)| holder == beat.1);
                self.beats = if same_holder { self.beats + 1 } else { 0 };
                now
            }
        };
        self.beat = Some((beat, since));
        let silent_at = since + self.lasts(record);
        let record = record.clone();
        if now >= silent_at {
            Sign::Silent(record)
        } else if self.beats > 0 {
            Sign::Alive(record)
        } else {
            Sign::Unclear { record, look: silent_at.min(now + self.times.retry) }
        }
    }

    fn lasts(&self, record: &LeaseRecord) -> Duration {
        match record.duration_seconds {
            0 => self.times.lease,
            seconds => Duration::from_secs(seconds.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lease(holder: &str, version: u32, renewed: i64) -> Lease {
        let record = LeaseRecord {
            holder: holder.to_owned(),
            duration_seconds: 60,
            acquired_at: None,
            renewed_at: Some(Timestamp::from_second(renewed).unwrap()),
            transitions: 0,
            run: None,
            stop: None,
        };
        Lease { uid: Uid::new("u").unwrap(), resource_version: version.to_string(), record }
    }

    #[test]
    fn a_renewal_is_a_sign_of_life_and_somebody_elses_writing_is_none() {
        let mut pulse = Pulse::new(LockTimes::default());
        let unclear = |sign| matches!(sign, Sign::Unclear { .. });
        assert_eq!(pulse.on(at(0), None), Sign::Free);
        assert!(unclear(pulse.on(at(0), Some(&lease("a", 1, 100)))));
        assert!(unclear(pulse.on(at(5), Some(&lease("a", 2, 100)))), "a request to stop, say");
        assert!(matches!(pulse.on(at(6), Some(&lease("a", 3, 105))), Sign::Alive(_)));
        assert!(matches!(pulse.on(at(65), Some(&lease("a", 4, 105))), Sign::Alive(_)));
        assert!(matches!(pulse.on(at(66), Some(&lease("a", 4, 105))), Sign::Silent(_)));
        assert!(unclear(pulse.on(at(70), Some(&lease("b", 5, 170)))), "another holder is another life");
        assert_eq!(pulse.on(at(71), Some(&lease("", 6, 171))), Sign::Free);
    }

    #[test]
    fn who_was_killed_is_known_to_be_when_his_time_is_over_and_not_before() {
        let mut pulse = Pulse::new(LockTimes::default());
        let Sign::Unclear { look, .. } = pulse.on(at(1), Some(&lease("a", 1, 0))) else { panic!() };
        assert_eq!(look, at(6));
        let Sign::Unclear { look, .. } = pulse.on(at(59), Some(&lease("a", 1, 0))) else { panic!() };
        assert_eq!(look, at(61));
        assert!(matches!(pulse.on(at(61), Some(&lease("a", 1, 0))), Sign::Silent(_)));
    }
}

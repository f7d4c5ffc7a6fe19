//! Asking the run that holds the lock to stop, from wherever the cluster can be reached.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Lease, LeaseRecord, LockHolder, LockTimes, Pulse, Sign, StopRequest};

/// What to do next. One thing at a time: each is answered by [`Asking::on`], [`Asking::unread`] or [`Asking::answered`] before
/// the next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "nobody is asked by this alone"]
#[expect(clippy::large_enum_variant, reason = "one at a time, and each is moved once")]
pub enum AskAction {
    /// Read the Lease at this moment, in the caller's monotonic time.
    Look {
        /// When.
        at: Duration,
    },
    /// Write the Lease over what was read, on condition of its uid and version.
    Update {
        /// What was read.
        over: Lease,
        /// What it shall say.
        record: LeaseRecord,
    },
    /// Nothing more: this is what came of it.
    End(AskEnd),
}

/// What came of a request to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result", content = "holder")]
pub enum AskEnd {
    /// Nobody holds the lock: no run is at work on the cluster. Nothing was written.
    NobodyWorks,
    /// Another run holds it. Nothing was written.
    AnotherRun(LockHolder),
    /// The run's process has not renewed the lock for as long as that lasts. There is nobody to ask, and nothing was written.
    Dead(LockHolder),
    /// The run's process goes on and does not know such requests: it is of an older version.
    Deaf(LockHolder),
    /// The run was asked and has let go of the lock.
    LetGo,
    /// The run was asked and ceased to renew the lock without giving it back: it stopped at once, or its process died.
    FellSilent(LockHolder),
    /// The run was asked and is still at work when the time is over.
    StillAtWork(LockHolder),
}

/// How far a request to stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskStage {
    /// It is looked whether the run is alive. Writing to one that is dead would look like a sign of life to whoever waits for
    /// its lock.
    Looking,
    /// The request stands in the Lease.
    Asked,
    /// The run has read it.
    Heard,
}

/// One request to stop. All `now` are the asker's own monotonic time.
#[derive(Clone, Debug)]
pub struct Asking {
    request: StopRequest,
    times: LockTimes,
    /// For how long is waited once it is asked.
    wait: Duration,
    /// When that is over.
    until: Option<Duration>,
    pulse: Pulse,
    stage: AskStage,
    /// Who was asked. A process that has taken the run up since is another one.
    asked: Option<String>,
    /// How many renewals were seen when the request was written.
    asked_at_beat: u32,
}

impl Asking {
    /// A request that is not written yet, for a run whose lock has these times; `wait` counts from when it is written. Begin with
    /// a look at the Lease.
    pub fn new(request: StopRequest, times: LockTimes, wait: Duration) -> Self {
        let stage = AskStage::Looking;
        Self {
            request,
            times,
            wait,
            until: None,
            pulse: Pulse::new(times),
            stage,
            asked: None,
            asked_at_beat: 0,
        }
    }

    /// How far it is.
    pub fn stage(&self) -> AskStage {
        self.stage
    }

    /// The Lease was read: `observed` is what it says, `None` if there is none.
    pub fn on(&mut self, now: Duration, observed: Option<Lease>) -> AskAction {
        let sign = self.pulse.on(now, observed.as_ref());
        let Some(lease) = observed else { return self.gone(None) };
        let holder = LockHolder::from(&lease.record);
        let another_process = self.asked.as_ref().is_some_and(|asked| *asked != holder.holder);
        let another_run = lease.record.run.as_ref() != Some(&self.request.run);
        match sign {
            Sign::Free => self.gone(None),
            _ if another_run || another_process => self.gone(Some(holder)),
            Sign::Silent(_) if self.stage == AskStage::Looking => AskAction::End(AskEnd::Dead(holder)),
            Sign::Silent(_) => AskAction::End(AskEnd::FellSilent(holder)),
            Sign::Unclear { look, .. } => AskAction::Look { at: look },
            Sign::Alive(record) => self.alive(now, lease, &record),
        }
    }

    /// The Lease could not be read.
    pub fn unread(&self, now: Duration) -> AskAction {
        AskAction::Look { at: now + self.times.retry }
    }

    /// The write was answered: with the Lease as it is now, or (`None`) with an error, or not at all.
    pub fn answered(&mut self, now: Duration, answer: Option<Lease>) -> AskAction {
        if let Some(lease) = answer {
            self.is_asked(now, &lease.record);
            return AskAction::Look { at: now + self.times.retry };
        }
        // The holder was quicker with a renewal, or nobody knows: the Lease says.
        AskAction::Look { at: now }
    }

    fn is_asked(&mut self, now: Duration, record: &LeaseRecord) {
        self.until = Some(now + self.wait);
        self.stage = AskStage::Asked;
        self.asked = Some(record.holder.clone());
        self.asked_at_beat = self.pulse.beats();
    }

    /// The run does not hold the Lease, or not any more.
    fn gone(&self, other: Option<LockHolder>) -> AskAction {
        AskAction::End(match (self.stage, other) {
            (AskStage::Looking, None) => AskEnd::NobodyWorks,
            (AskStage::Looking, Some(holder)) => AskEnd::AnotherRun(holder),
            (AskStage::Asked | AskStage::Heard, _) => AskEnd::LetGo,
        })
    }

    fn alive(&mut self, now: Duration, lease: Lease, record: &LeaseRecord) -> AskAction {
        let stands = record.stop.as_ref().is_some_and(|stop| self.request.is_within(stop));
        if self.stage == AskStage::Looking {
            if !stands {
                let record = LeaseRecord { stop: Some(self.request.clone()), ..record.clone() };
                return AskAction::Update { over: lease, record };
            }
            // A write whose answer was lost, or somebody else has asked.
            self.is_asked(now, record);
        } else if self.pulse.beats() > self.asked_at_beat {
            if !stands {
                return AskAction::End(AskEnd::Deaf(record.into()));
            }
            self.stage = AskStage::Heard;
        }
        let soon = now + self.times.retry;
        match self.until {
            Some(until) if now >= until => AskAction::End(AskEnd::StillAtWork(record.into())),
            until => AskAction::Look { at: until.map_or(soon, |until| until.min(soon)) },
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{RunId, Uid};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn request(at_once: bool) -> StopRequest {
        StopRequest { run: RunId::new("night-1").unwrap(), at_once, by: "ann".into() }
    }

    fn asking() -> Asking {
        Asking::new(request(false), LockTimes::default(), at(300))
    }

    fn lease(holder: &str, renewed: i64, stop: Option<StopRequest>) -> Lease {
        let record = LeaseRecord {
            holder: holder.to_owned(),
            duration_seconds: 60,
            acquired_at: None,
            renewed_at: Some(Timestamp::from_second(renewed).unwrap()),
            transitions: 0,
            run: RunId::new("night-1").ok(),
            stop,
        };
        Lease { uid: Uid::new("u").unwrap(), resource_version: renewed.to_string(), record }
    }

    /// A request that stands in the Lease of a living run since 10 s.
    fn asked() -> Asking {
        let mut asking = asking();
        assert_eq!(asking.on(at(0), Some(lease("a", 100, None))), AskAction::Look { at: at(5) });
        let AskAction::Update { over, record } = asking.on(at(5), Some(lease("a", 105, None))) else {
            panic!()
        };
        assert_eq!((over, record.stop.as_ref()), (lease("a", 105, None), Some(&request(false))));
        assert_eq!(asking.stage(), AskStage::Looking);
        assert_eq!(
            asking.answered(at(10), Some(Lease { record, ..over_of("106") })),
            AskAction::Look { at: at(15) }
        );
        assert_eq!(asking.stage(), AskStage::Asked);
        asking
    }

    fn over_of(version: &str) -> Lease {
        Lease { resource_version: version.into(), ..lease("a", 105, None) }
    }

    #[test]
    fn a_run_is_asked_once_it_has_shown_that_it_lives_and_waited_for_until_it_lets_go() {
        let mut asking = asked();
        assert_eq!(
            asking.on(at(15), Some(lease("a", 105, Some(request(false))))),
            AskAction::Look { at: at(20) }
        );
        assert_eq!(asking.stage(), AskStage::Asked, "nothing was renewed since");
        assert_eq!(
            asking.on(at(20), Some(lease("a", 110, Some(request(false))))),
            AskAction::Look { at: at(25) }
        );
        assert_eq!(asking.stage(), AskStage::Heard);
        let mut resumed = asking.clone();
        assert_eq!(resumed.on(at(25), Some(lease("b", 115, None))), AskAction::End(AskEnd::LetGo));
        assert_eq!(asking.on(at(25), Some(lease("", 115, None))), AskAction::End(AskEnd::LetGo));
    }

    #[test]
    fn who_is_not_at_work_is_not_asked() {
        assert_eq!(asking().on(at(0), None), AskAction::End(AskEnd::NobodyWorks));
        assert_eq!(asking().on(at(0), Some(lease("", 1, None))), AskAction::End(AskEnd::NobodyWorks));
        let mut other = lease("b", 1, None);
        other.record.run = RunId::new("night-2").ok();
        let AskAction::End(AskEnd::AnotherRun(holder)) = asking().on(at(0), Some(other)) else { panic!() };
        assert_eq!(holder.to_string(), "b for run night-2");
        let mut dead = asking();
        for second in [0, 5, 59] {
            assert!(matches!(dead.on(at(second), Some(lease("a", 100, None))), AskAction::Look { .. }));
        }
        let end = dead.on(at(60), Some(lease("a", 100, None)));
        assert!(matches!(end, AskAction::End(AskEnd::Dead(_))), "{end:?}");
    }

    #[test]
    fn a_run_that_does_not_know_requests_wipes_them_out_and_that_is_said() {
        let end = asked().on(at(15), Some(lease("a", 110, None)));
        assert!(matches!(end, AskAction::End(AskEnd::Deaf(_))), "{end:?}");
    }

    #[test]
    fn a_renewal_that_was_quicker_is_written_over_and_a_lost_answer_is_looked_at() {
        let mut asking = asking();
        let _ = asking.on(at(0), Some(lease("a", 100, None)));
        let _ = asking.on(at(5), Some(lease("a", 105, None)));
        assert_eq!(asking.answered(at(6), None), AskAction::Look { at: at(6) });
        let mut quicker = asking.clone();
        let again = quicker.on(at(6), Some(lease("a", 106, None)));
        assert!(matches!(again, AskAction::Update { .. }), "{again:?}");
        let _ = asking.on(at(6), Some(lease("a", 105, Some(request(false)))));
        assert_eq!(asking.stage(), AskStage::Asked);
    }

    #[test]
    fn asking_a_second_time_asks_for_more_and_never_for_less() {
        let now = Asking::new(request(true), LockTimes::default(), at(300));
        for (mut asking, stands, writes) in
            [(now, request(false), true), (asking(), request(true), false), (asking(), request(false), false)]
        {
            let _ = asking.on(at(0), Some(lease("a", 100, Some(stands.clone()))));
            let action = asking.on(at(5), Some(lease("a", 105, Some(stands))));
            assert_eq!(matches!(action, AskAction::Update { .. }), writes, "{action:?}");
        }
    }

    #[test]
    fn the_wait_has_an_end_and_a_process_that_falls_silent_is_not_waited_for_longer() {
        let (mut slow, mut dead) = (asked(), asked());
        for second in (15..310).step_by(5) {
            let renewed = i64::try_from(100 + second).unwrap();
            let _ = slow.on(at(second), Some(lease("a", renewed, Some(request(false)))));
        }
        let end = slow.on(at(310), Some(lease("a", 410, Some(request(false)))));
        assert!(matches!(end, AskAction::End(AskEnd::StillAtWork(_))), "{end:?}");
        let _ = dead.on(at(15), Some(lease("a", 105, Some(request(false)))));
        let end = dead.on(at(65), Some(lease("a", 105, Some(request(false)))));
        assert!(matches!(end, AskAction::End(AskEnd::FellSilent(_))), "{end:?}");
    }
}

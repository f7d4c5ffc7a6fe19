//! The lock of a cluster: one Lease that one process at a time holds, so that no two runs work on the same cluster.
//!
//! The algorithm is client-go's leader election, as a state machine that sends nothing: it is told what the Lease says and what
//! became of a write, and answers with what to do next. What makes it safe:
//!
//! - Every write is conditional on the version (and uid) that was read, so that of two writers one loses.
//! - The holder counts its time from *before* its last successful write was sent; everybody else counts from when they first
//!   saw its result, on their own clock. The times that others wrote into the Lease are for people and are never compared.
//! - [`Lock::may_write`] ends well before the Lease does: clocks may differ by any offset, and run at different rates up to
//!   the ratio of the two durations.
//!
//! What it cannot do (nobody can, without the written service's help): hold back a process that was stopped between the check
//! and the write. Check right before each write, and let each write carry its own precondition.
//!
//! A Lease that somebody deletes is a lock that somebody broke: the next comer takes it at once.

mod asking;
mod pulse;
mod request;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{HolderId, ObjectName, RunId, Uid};

pub use asking::{AskAction, AskEnd, AskStage, Asking};
pub use pulse::{Pulse, Sign};
pub use request::{ABORT_ANNOTATION, StopRequest};

/// What a Lease says (`coordination.k8s.io/v1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Who holds it; empty if nobody does.
    pub holder: String,
    /// How long it lasts without a renewal, in seconds; 0 if the Lease does not say.
    pub duration_seconds: u32,
    /// When the holder took it, by the holder's clock. For people.
    pub acquired_at: Option<Timestamp>,
    /// When the holder renewed it, by the holder's clock. For people.
    pub renewed_at: Option<Timestamp>,
    /// How often it has changed hands.
    pub transitions: u32,
    /// The run it is held for (annotation `aks-drover/run`).
    pub run: Option<RunId>,
    /// Somebody asks the holder to stop (annotation `aks-drover/abort`).
    pub stop: Option<StopRequest>,
}

/// A Lease as it was read, or as a write left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its uid: a Lease that was deleted and made again has another one.
    pub uid: Uid,
    /// Its version; opaque, compared for equality only.
    pub resource_version: String,
    /// What it says.
    pub record: LeaseRecord,
}

/// Who has the lock of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// The process, and with it where it runs.
    pub holder: String,
    /// Since when, by its own clock.
    pub since: Option<Timestamp>,
    /// The run it is held for.
    pub run: Option<RunId>,
}

impl From<&LeaseRecord> for LockHolder {
    fn from(record: &LeaseRecord) -> Self {
        Self { holder: record.holder.clone(), since: record.acquired_at, run: record.run.clone() }
    }
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.holder)?;
        if let Some(since) = self.since {
            write!(f, " since {since:.0}")?;
        }
        self.run.as_ref().map_or(Ok(()), |run| write!(f, " for run {run}"))
    }
}

/// The Lease that runs lock: `drover-upgrade` in `kube-system`.
pub fn lock_name() -> ObjectName {
    ObjectName::new("kube-system", "drover-upgrade").expect("a literal")
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockTimes {
    lease: Duration,
    deadline: Duration,
    retry: Duration,
}

/// Times that do not work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a lease of {} s needs a shorter deadline, and the deadline ({} s) more than 1.2 times the retry ({} s), all in whole seconds",
    lease.as_secs(), deadline.as_secs(), retry.as_secs()
)]
pub struct LockTimesError {
    lease: Duration,
    deadline: Duration,
    retry: Duration,
}

impl LockTimes {
    /// `lease`: how long others leave a silent holder alone; `deadline`: how long after its last renewal the holder may write;
    /// `retry`: how often it is renewed, and looked at by those who wait.
    ///
    /// # Errors
    /// Unless lease > deadline > 1.2 × retry > 0 (client-go's rule), and the lease is in whole seconds, as the Lease is.
    pub fn new(lease: Duration, deadline: Duration, retry: Duration) -> Result<Self, LockTimesError> {
        let whole = lease.subsec_nanos() == 0 && u32::try_from(lease.as_secs()).is_ok();
        if whole && lease > deadline && deadline * 5 > retry * 6 && !retry.is_zero() {
            Ok(Self { lease, deadline, retry })
        } else {
            Err(LockTimesError { lease, deadline, retry })
        }
    }

    /// How long others leave a silent holder alone.
    pub fn lease(&self) -> Duration {
        self.lease
    }
}

impl Default for LockTimes {
    /// 60, 40 and 5 seconds: longer than client-go's, because the Lease lives in the cluster whose control plane is upgraded
    /// and is out of reach for moments.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lease: seconds(60), deadline: seconds(40), retry: seconds(5) }
    }
}

/// What to do next. One thing at a time: each is answered by [`Lock::on`], [`Lock::unread`] or [`Lock::answered`] before the
/// next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the lock does nothing by itself"]
pub enum LockAction {
    /// Read the Lease at this moment, in the caller's monotonic time; then [`Lock::on`] or [`Lock::unread`].
    Look {
        /// When.
        at: Duration,
    },
    /// Create the Lease, then [`Lock::answered`].
    Create(LeaseRecord),
    /// Write the Lease over what was read, on condition of its uid and version; then [`Lock::answered`].
    Update {
        /// What was read.
        over: Lease,
        /// What it shall say.
        record: LeaseRecord,
    },
    /// Nothing: the lock is given back, or lost.
    Rest,
}

/// Where the lock stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Seeking,
    Held { until: Duration, transitions: u32 },
    GivingBack,
    GivenBack,
    Lost,
}

/// The last Lease that was seen, and since when, on this process's clock.
#[derive(Clone, Debug)]
struct Seen {
    lease: Lease,
    since: Duration,
}

/// One process's side of the lock. See the [module](self) for what it guarantees.
///
/// All `now` are the process's own monotonic time since a moment of its choice. They never go back.
#[derive(Clone, Debug)]
pub struct Lock {
    me: HolderId,
    run: RunId,
    times: LockTimes,
    seen: Option<Seen>,
    /// Somebody else has written the Lease while it was looked at.
    rival: bool,
    standing: Standing,
}

impl Lock {
    /// A lock that is not held yet. Begin with a look at the Lease.
    ///
    /// `me` must be this process's alone, for ever: a second process under the same name, also a later one, would take the
    /// Lease for its own.
    pub fn new(me: HolderId, run: RunId, times: LockTimes) -> Self {
        Self { me, run, times, seen: None, rival: false, standing: Standing::Seeking }
    }

    /// May this process write to the cluster now? Ask right before each write.
    pub fn may_write(&self, now: Duration) -> bool {
        !self.remaining(now).is_zero()
    }

    /// For how long it may write. A call that may take longer than this had better not be begun.
    pub fn remaining(&self, now: Duration) -> Duration {
        match self.standing {
            Standing::Held { until, .. } => until.saturating_sub(now),
            Standing::Seeking | Standing::GivingBack | Standing::GivenBack | Standing::Lost => Duration::ZERO,
        }
    }

    /// Somebody else has, or had, the Lease that was held: for good, because what they did meanwhile is not known.
    pub fn is_lost(&self) -> bool {
        self.standing == Standing::Lost
    }

    /// How often the Lease has changed hands up to this holder; larger than for every holder before. `None` while not held.
    pub fn transitions(&self) -> Option<u32> {
        match self.standing {
            Standing::Held { transitions, .. } => Some(transitions),
            _ => None,
        }
    }

    /// Who has the Lease, if somebody else does, as it was seen last.
    pub fn held_by(&self) -> Option<&LeaseRecord> {
        let record = self.seen.as_ref().map(|seen| &seen.lease.record)?;
        (!record.holder.is_empty() && record.holder != self.me.as_str()).then_some(record)
    }

    /// Who has the Lease and is alive, as a write of theirs has shown since this lock is sought. A Lease that nobody renews may
    /// be of a process that was killed: whether it was, only its time can tell.
    pub fn refused_by(&self) -> Option<&LeaseRecord> {
        self.held_by().filter(|_| self.rival && self.standing == Standing::Seeking)
    }

    /// Somebody has written into the Lease that this run shall stop.
    pub fn asked_to_stop(&self) -> Option<&StopRequest> {
        let record = self.seen.as_ref().map(|seen| &seen.lease.record)?;
        let stop = record.stop.as_ref().filter(|stop| stop.run == self.run)?;
        (record.holder == self.me.as_str()).then_some(stop)
    }

    /// The Lease was read: `observed` is what it says, `None` if there is none. `wall` is the time of day, which goes into the
    /// Lease for people.
    pub fn on(&mut self, now: Duration, wall: Timestamp, observed: Option<Lease>) -> LockAction {
        let since = self.note(now, observed.as_ref());
        let mine = observed.as_ref().is_some_and(|lease| lease.record.holder == self.me.as_str());
        match (&self.standing, observed) {
            (Standing::GivenBack | Standing::Lost, _) => LockAction::Rest,
            (Standing::Held { .. }, Some(lease)) if mine => self.renew(wall, lease),
            (Standing::Held { .. }, _) => {
                self.standing = Standing::Lost;
                LockAction::Rest
            }
            (Standing::GivingBack, Some(lease)) if mine => {
                let record = LeaseRecord {
                    holder: String::new(),
                    // The API refuses 0.
                    duration_seconds: 1,
                    renewed_at: Some(wall),
                    run: None,
                    stop: None,
                    ..lease.record.clone()
                };
                LockAction::Update { over: lease, record }
            }
            (Standing::GivingBack, _) => {
                self.standing = Standing::GivenBack;
                LockAction::Rest
            }
            (Standing::Seeking, None) => LockAction::Create(self.record(wall, 0)),
            // A write of this process whose answer was lost has taken it after all. It counts once it is confirmed.
            (Standing::Seeking, Some(lease)) if mine => self.renew(wall, lease),
            (Standing::Seeking, Some(lease)) => {
                let free = since + self.lasts(&lease.record);
                if !lease.record.holder.is_empty() && now < free {
                    return LockAction::Look { at: free.min(now + self.times.retry) };
                }
                let record = self.record(wall, lease.record.transitions.saturating_add(1));
                LockAction::Update { over: lease, record }
            }
        }
    }

    /// The Lease could not be read. Nothing is known that was not known before; whether writing is allowed is a matter of time.
    pub fn unread(&self, now: Duration) -> LockAction {
        match self.standing {
            Standing::GivenBack | Standing::Lost => LockAction::Rest,
            Standing::Seeking | Standing::Held { .. } | Standing::GivingBack => self.again(now),
        }
    }

    /// A create or update was answered: with the Lease as it is now, or (`None`) with an error, or not at all. `sent` is when it
    /// was sent, or before.
    pub fn answered(&mut self, sent: Duration, now: Duration, answer: Option<Lease>) -> LockAction {
        // Whatever an error means (somebody was quicker, no answer, a refusal): the Lease itself says where things stand.
        let Some(lease) = answer else { return self.unread(now) };
        self.note(now, Some(&lease));
        let mine = lease.record.holder == self.me.as_str();
        match self.standing {
            Standing::Seeking | Standing::Held { .. } if mine => {
                let transitions = lease.record.transitions;
                self.standing = Standing::Held { until: sent + self.times.deadline, transitions };
                self.again(now)
            }
            // A renewal that was under way when the lock was given back.
            Standing::GivingBack if mine => LockAction::Look { at: now },
            Standing::GivingBack => {
                self.standing = Standing::GivenBack;
                LockAction::Rest
            }
            Standing::Seeking | Standing::Held { .. } => self.again(now),
            Standing::GivenBack | Standing::Lost => LockAction::Rest,
        }
    }

    /// Gives the lock back, or gives up trying to get it. From now on nothing may be written. If a write of the lock itself is
    /// under way, hand in its answer first.
    pub fn give_back(&mut self, now: Duration) -> LockAction {
        match self.standing {
            Standing::Seeking | Standing::Held { .. } | Standing::GivingBack => {
                self.standing = Standing::GivingBack;
                LockAction::Look { at: now }
            }
            Standing::GivenBack | Standing::Lost => LockAction::Rest,
        }
    }

    fn again(&self, now: Duration) -> LockAction {
        LockAction::Look { at: now + self.times.retry }
    }

    /// Remembers what was seen; says since when it is so.
    fn note(&mut self, now: Duration, observed: Option<&Lease>) -> Duration {
        let before = self.seen.take();
        self.seen = observed.map(|lease| {
            let written = before.is_some();
            let same = before.filter(|seen| {
                (&seen.lease.uid, &seen.lease.resource_version) == (&lease.uid, &lease.resource_version)
            });
            self.rival = written && (same.is_none() || self.rival);
            same.unwrap_or_else(|| Seen { lease: lease.clone(), since: now })
        });
        self.seen.as_ref().map_or(now, |seen| seen.since)
    }

    /// How long a holder is left alone after the last change. One that does not say gets what this process would ask for.
    fn lasts(&self, record: &LeaseRecord) -> Duration {
        match record.duration_seconds {
            0 => self.times.lease,
            seconds => Duration::from_secs(seconds.into()),
        }
    }

    fn record(&self, wall: Timestamp, transitions: u32) -> LeaseRecord {
        LeaseRecord {
            holder: self.me.to_string(),
            duration_seconds: u32::try_from(self.times.lease.as_secs()).unwrap_or(u32::MAX),
            acquired_at: Some(wall),
            renewed_at: Some(wall),
            transitions,
            run: Some(self.run.clone()),
            stop: None,
        }
    }

    /// A request to stop stays until the Lease is given back, so that whoever asked sees that it was read.
    fn renew(&self, wall: Timestamp, lease: Lease) -> LockAction {
        let LeaseRecord { acquired_at, transitions, ref stop, .. } = lease.record;
        let stop = stop.clone().filter(|stop| stop.run == self.run);
        let record = LeaseRecord { acquired_at, stop, ..self.record(wall, transitions) };
        LockAction::Update { over: lease, record }
    }
}

#[cfg(test)]
mod tests;

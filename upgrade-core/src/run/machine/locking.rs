//! The lock of the cluster: taken once the cluster is proven to be the right one, before the first stage begins.

use jiff::Timestamp;

use super::{Effect, Machine, Phase, signed};
use crate::event::{EventKind, RunOutcome};
use crate::lock::{LockHolder, StopRequest, lock_name};
use crate::run::LockNews;
use crate::run::failure::Failure;

/// What is known of the lock.
#[derive(Debug, Default)]
pub(super) struct LockState {
    held: bool,
    /// Why it is not held yet.
    obstacle: String,
}

impl Machine {
    /// May something be written at all? Then the cluster is proven, and nobody else works on it.
    pub(super) fn may_write(&self) -> bool {
        self.lock.held && !self.stopped
    }

    /// Begins a stage; before the first of this process the lock is taken.
    pub(super) fn lock_and_start(&mut self, now: Timestamp, stage: u32) {
        if self.lock.held {
            return self.start_stage(now, stage);
        }
        self.phase = Phase::Locking { stage, since: now };
        self.out.push(Effect::TakeLock);
    }

    pub(super) fn lock_says(&mut self, now: Timestamp, news: LockNews) {
        let seeking = match &self.phase {
            Phase::Locking { stage, .. } => Some(*stage),
            _ => None,
        };
        match (news, seeking) {
            (LockNews::Held, Some(stage)) => {
                self.lock.held = true;
                self.take_up(now);
                self.start_stage(now, stage);
            }
            (LockNews::Occupied(holder), Some(_)) => {
                let message = format!(
                    "the lock of the cluster is held by {holder}; looking whether it is still at work"
                );
                self.emit(now, EventKind::Warning { message });
                self.lock.obstacle = format!("it is held by {holder}");
            }
            (LockNews::Refused(by), Some(_)) => {
                self.ends(Failure::LockTaken, RunOutcome::Locked { by });
            }
            (LockNews::Failed(error), Some(_)) => {
                self.lock.obstacle = error.to_string();
                if !error.is_retryable() {
                    self.fails(now, None, Failure::LockNotTaken, self.not_locked());
                }
            }
            (LockNews::Lost(to), _) => {
                self.lock.held = false;
                self.fails(now, None, Failure::LockLost, lost(to.as_ref()));
            }
            (LockNews::StopAsked(StopRequest { at_once, by, .. }), _) => {
                let who = if by.is_empty() { "somebody".to_owned() } else { by };
                let how = if at_once { "at once" } else { "at a safe point" };
                let message = format!("{who} asks the run to stop {how} (`abort`)");
                self.emit(now, EventKind::Warning { message });
                self.stop(now, if at_once { 2 } else { 1 });
            }
            // The run ends; the lock is given back.
            (LockNews::Held | LockNews::Occupied(_) | LockNews::Refused(_) | LockNews::Failed(_), None) => {}
        }
    }

    /// Holds if the lock could not be taken in time; true if it does.
    pub(super) fn lock_is_overdue(&mut self, now: Timestamp, since: Timestamp) -> bool {
        if now.duration_since(since) <= signed(self.beginning()) {
            return false;
        }
        self.fails(now, None, Failure::LockNotTaken, self.not_locked());
        matches!(self.phase, Phase::Ending(_))
    }

    fn not_locked(&self) -> String {
        format!("the lock of the cluster (Lease {}) could not be taken: {}", lock_name(), self.lock.obstacle)
    }
}

fn lost(to: Option<&LockHolder>) -> String {
    let who = match to {
        Some(holder) => format!("it is held by {holder}"),
        None => "its Lease was deleted or emptied".to_owned(),
    };
    format!("the lock of the cluster was lost: {who}; nothing was written after that was seen")
}

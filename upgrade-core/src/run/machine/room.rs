//! Room in Azure for the buffers: looked for right before the first change that Azure never takes back.
//!
//! What was read when the plan was made may be hours old. A control plane that is upgraded and a buffer that finds no room leave the
//! cluster between two versions.

use jiff::Timestamp;

use super::{Effect, Machine, TICK};
use crate::journal::Write;
use crate::plan::{Action, Step};
use crate::ports::PortError;
use crate::run::Verdict;
use crate::run::failure::{Failure, Next};

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct RoomInAzure {
    asked: bool,
    ask_at: Option<Timestamp>,
    short: Option<Vec<String>>,
}

impl Machine {
    /// May the first change be made that cannot be taken back? Not while it is known that a buffer after it finds no room.
    pub(super) fn has_room_in_azure(
        &mut self,
        now: Timestamp,
        step: &Step,
        writes: &[Write],
    ) -> Result<(), Verdict> {
        let upgrades = |write: &Write| matches!(write, Write::UpgradeControlPlane { .. });
        if !writes.iter().any(upgrades) || self.state.writes(&step.id) > 0 {
            return Ok(());
        }
        match &self.room.short {
            Some(short) if short.is_empty() => return Ok(()),
            Some(short) => {
                let why = format!("Azure has no room; nothing was changed: {}", short.join("; "));
                return Err(Verdict::Fail(Failure::NoRoom, why));
            }
            None => {}
        }
        if !self.room.asked && self.room.ask_at.is_none_or(|at| at <= now) {
            self.room.asked = true;
            let buffers = self.plan.steps().filter_map(|step| match &step.action {
                Action::CreateBuffer { buffer } => Some(buffer.clone()),
                _ => None,
            });
            self.out.push(Effect::LookForRoom(buffers.collect()));
        }
        Err(Verdict::Patience("Azure's word on room for the buffers".to_owned()))
    }

    pub(super) fn room_says(&mut self, now: Timestamp, short: Result<Vec<String>, PortError>) {
        self.room.asked = false;
        let error = match short {
            Ok(short) => {
                self.room.short = Some(short);
                return;
            }
            Err(error) => error,
        };
        let failure = match Failure::of_look(&error) {
            Failure::LookDenied => Failure::RoomUnseen,
            passing => passing,
        };
        let step = self.in_hand().map(|step| step.id.clone());
        if self.next_after(step.as_ref(), failure) == Next::GoOn {
            self.room.short = Some(Vec::new());
        }
        self.room.ask_at = Some(now + error.retry_after.unwrap_or(TICK).max(TICK));
        let cause = format!("whether Azure has room for the buffers could not be read: {error}");
        self.fails(now, step.as_ref(), failure, cause);
    }
}

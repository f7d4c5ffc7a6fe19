//! One execution of a plan.
//!
//! [`Machine`] decides and [`drive`] performs: the machine is a pure function from what happened to what is to be done, the
//! driver carries effects out through the ports and feeds the answers back. The same machine runs against a real cluster and
//! in the lab's virtual time.
//!
//! Every step is an *ensure*, decided anew after each observation: if what it wants is so, it is finished; if something is
//! missing, the intent is made durable, the write is sent once, and the world is observed again. Nothing depends on what a
//! process remembers, so a run that was killed goes on from its journal and the world as it is.

mod azure;
mod driver;
mod evidence;
pub mod failure;
mod keeper;
mod lost;
mod machine;
mod nodes;
mod outcome;
mod stop;
mod truth;

pub(crate) use driver::send_if;
pub use driver::{DriveError, Start, drive};
pub(crate) use keeper::Keeper;
pub use keeper::LockNews;
pub use machine::{Effect, Input, Look, Machine};
pub use stop::{StopHandle, StopSignal, stop_signal};

use crate::journal::Write;

/// What an observation means for a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What the step wants is so.
    Done(String),
    /// These writes bring it closer.
    Write(Vec<Write>),
    /// It waits for something that should come soon; the policy's time limit counts.
    Wait(String),
    /// As `Wait`, for a budget, or for another endpoint of a Service in its namespace.
    Blocked(String),
    /// As `Wait`, for room on the nodes that take pods.
    NoRoom(String),
    /// It waits for something that takes its time (Azure, a Job, a free slot); the limit does not count.
    Patience(String),
    /// It went wrong, and the table of failures says what comes of that.
    Fail(failure::Failure, String),
}

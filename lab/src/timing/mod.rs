//! How long things take in the lab: one table, in `timing.toml` beside this crate, with a source for each line.
//!
//! A world draws its durations from a [`TimingModel`]. The one that comes with the lab can be [changed](TimingModel::with) line by
//! line, by a file ([`TimingChanges::read`]) or by what a
//! finished run has shown ([`TimingChanges::learnt`]) or by what a finished run has shown ([`TimingChanges::learnt`]).

mod distribution;
mod file;
mod key;
mod learn;
mod model;

pub use distribution::Distribution;
pub use file::{TimingError, TimingProblem};
pub use key::Timing;
pub use model::{TimingChanges, TimingModel};

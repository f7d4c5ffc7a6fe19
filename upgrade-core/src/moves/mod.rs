//! The move engine: which workload may take its next step off doomed nodes, now.
//!
//! A pure function over the cluster as observed. It keeps one ledger of what budgets still allow across all moves, so that
//! two evictions never race each other for the same slot, and it never takes the last ready endpoint of a Service unless
//! that gap is accepted. Nothing leaves before there is room for it elsewhere.

mod allowance;
mod balancers;
mod blocker;
mod engine;
mod loan;
mod room;
#[cfg(test)]
mod tests;

pub(crate) use balancers::{back_in, stays_on_its_node};
pub(crate) use blocker::{blocker, blocker_on};
pub(crate) use engine::{MoveCase, OpenMove, Round, leftovers, restart_id, strength};
pub(crate) use loan::give_back;

//! Nights by the thousand: whole upgrades in the lab, in virtual time, and what must hold of each of them.
//!
//! `cargo xtask` builds the program of this package and runs it; its own unit tests tell a handful of each.

pub mod casts;
pub mod crash;
mod ends;
mod eye;
mod hands;
mod kept;
pub mod likeness;
mod night;
pub mod search;

pub use kept::Kill;
pub use night::{Night, Told};

//! The pure heart of Drover: facts in, decisions out.
//!
//! Nothing here reads a file, a clock, the environment or the network. Whatever the core needs from the world is a trait in
//! [`ports`]; the same decisions run against a real cluster and against the lab in virtual time.
//!
//! The way of an upgrade through this crate: an [`Inventory`] and a [`Policy`] go into [`check()`] and [`plan()`]; the
//! [`plan::Plan`] goes into a [`run::Machine`], which says what to do next; [`run::drive`] does it through the ports, and
//! tells what happened as [`event::Event`]s.

pub mod access;
pub mod check;
pub mod event;
pub mod finding;
pub mod inventory;
pub mod journal;
pub mod ledger;
pub mod leftovers;
pub mod lock;
pub mod model;
mod moves;
pub mod plan;
pub mod policy;
pub mod ports;
pub mod prewarm;
pub mod run;
pub mod span;
pub mod trial;
pub mod view;

pub use check::check;
pub use inventory::Inventory;
pub use plan::plan;
pub use policy::Policy;

//! Bad weather: what goes wrong in a world, as data, and when.
//!
//! A [`Fault`] says when and what. Those of a scenario are armed when the world is handed over. Every call through a face of the
//! lab asks the [`Weather`] first, in one place for both faces: the ports make a `PortError` of what it says, the http face the
//! very statuses and bodies. What happens away from calls (machines, images, operations of Azure) asks it, too. Nothing here is
//! drawn by chance: the same faults meet the same run at the same moments.

mod draw;
mod fault;
pub(crate) mod span;
mod weather;

pub use fault::{Effect, Fault, Issuer, Misfit, Service, Throttling, What, When, WriteKind};
pub(crate) use weather::{Call, FaultWake, Sky, Symptom, WatchMarks, Weather, on_wake};

#[cfg(test)]
mod tests;

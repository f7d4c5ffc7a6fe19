//! The core's ports onto a world, direct and deterministic.

pub(crate) mod azure;
pub(crate) mod convert;
mod kubernetes;
mod lease;
pub(crate) mod rancher;
pub(crate) mod rules;
mod surroundings;
mod weather;

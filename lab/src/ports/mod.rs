//! The core's ports onto a world, direct and deterministic.

mod azure;
pub(crate) mod convert;
mod kubernetes;
mod lease;
mod rancher;
pub(crate) mod rules;
mod weather;

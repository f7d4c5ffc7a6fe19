//! The core's ports onto a world, direct and deterministic.

pub(crate) mod convert;
mod kubernetes;
pub(crate) mod rules;

//! The core's ports onto a world, direct and deterministic.

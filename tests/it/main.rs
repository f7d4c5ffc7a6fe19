//! One integration binary: the house's walls, the ports' conformance, whole upgrades as stories.
#![expect(clippy::unwrap_used, reason = "a test that panics has said what it has to say")]

mod abort;
mod architecture;
mod azurite;
mod changed;
mod cli;
mod conformance;
mod determinism;
mod drain;
mod faces;
mod failures;
mod faults;
mod gates;
mod hazards;
mod journals;
mod kubectl;
mod leftovers;
mod live;
mod loans;
mod lock;
mod naive;
mod prewarm;
mod readme;
mod reversal;
mod scenarios;
mod second_writer;
mod security;
mod stories;
mod support;
mod tamper;
mod token;
mod truth;

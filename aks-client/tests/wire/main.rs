//! The client on the wire, against a server that answers only what a test expects and fails the test on anything else.
//!
//! Tables name with each case the section of the facts about ARM that it pins (`§2.3 flat envelope`); [`coverage`] counts them.

mod answers;
mod calls;
mod corpus;
mod coverage;
mod faults;
mod follow;
mod on_the_lab;
mod operations;
mod polls;
mod reads;
mod refusals;
mod round_trip;
mod support;
mod writes;

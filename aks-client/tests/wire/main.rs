//! The client on the wire, against a server that answers only what a test expects and fails the test on anything else.

mod faults;
mod operations;
mod reads;
mod secrets;
mod support;
mod writes;

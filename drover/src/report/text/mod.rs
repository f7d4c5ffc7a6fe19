//! Text for people, on a terminal or in a log. Every function gives a [`Page`]; its `Display` is the text without colours.

mod abort;
mod event;
mod findings;
mod forecast;
mod leftovers;
mod plan;
mod run;
mod snapshot;
mod status;

pub use abort::abort;
pub use event::event;
pub use findings::{evidence, findings, identity};
pub use forecast::{forecast, learnt};
pub use leftovers::{leftovers, written};
pub use plan::plan;
pub(crate) use plan::reverses;
pub use run::{ledger, report};
pub use snapshot::inventory;
pub use status::status;

use super::page::{Page, Tone};

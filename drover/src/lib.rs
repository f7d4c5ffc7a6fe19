//! Upgrades AKS clusters with zero downtime, through Rancher and ARM.
//!
//! The facade: it reads `drover.toml`, proves which cluster it speaks to, and brings the pure core
//! ([`upgrade_core`]) together with the two clients. Everything that the command `aks-drover` and the Python package can
//! do is here, without a line of terminal or Python in it.
//!
//! ```no_run
//! # async fn upgrade() -> Result<(), aks_drover::Error> {
//! let fleet = aks_drover::Fleet::from_file("drover.toml")?;
//! let cluster = fleet.connect("shop-acc").await?;
//! let plan = cluster.plan("1.36".parse().expect("a version")).await?;
//! let mut run = cluster.apply(plan).journal("journal").start().await?;
//! while let Some(event) = run.next().await {
//!     println!("{event:?}");
//! }
//! let report = run.finish().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing ambient is read: no kubeconfig, no current context, no default of `az`. What the file names is read when it is
//! needed and never before.

mod adapters;
mod apply;
#[cfg(feature = "cli")]
pub mod cli;
mod clock;
mod cluster;
mod config;
mod env;
mod error;
mod files;
mod fleet;
mod gate;
pub mod journal;
pub mod report;
mod run;
mod run_id;
mod secrets;
#[cfg(test)]
mod test_support;
mod tokens;
mod transport;

pub use apply::{Apply, RunSelector};
pub use clock::SystemClock;
pub use cluster::{Cluster, Services};
pub use error::{ConfigError, Error, exit_code};
pub use files::{PlanFile, SnapshotFile, write_atomically};
pub use fleet::Fleet;
pub use gate::{ContinueAlways, PauseAlways};
pub use journal::FileJournal;
pub use run::Run;

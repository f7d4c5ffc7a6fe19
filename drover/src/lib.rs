//! Upgrades AKS clusters with zero downtime, through Rancher and ARM.
//!
//! The facade: it reads `drover.toml`, proves which cluster it speaks to, and brings the pure core
//! ([`upgrade_core`]) together with the two clients. Everything that the command `aks-drover` and the Python package can
//! do is here, without a line of terminal or Python in it.
//!
//! ```
//! # use cluster_lab::{Lab, Scenario, Server, ServerOptions};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temporary = tempfile::tempdir()?;
//! # let folder = temporary.path();
//! # let options = ServerOptions { port: 0, time_scale: 1200.0, token_dir: folder.to_owned() };
//! # let lab = Server::start(Lab::new(&Scenario::demo(), 1), &options)?;
//! # std::fs::write(folder.join("drover.toml"), lab.drover_toml())?;
//! let fleet = aks_drover::Fleet::from_file(folder.join("drover.toml"))?;
//! let cluster = fleet.connect("demo").await?;
//! let plan = cluster.plan("1.35".parse()?).await?;
//! let mut run = cluster.apply(plan).journal(folder.join("journal")).start().await?;
//! while let Some(event) = run.next().await {
//!     println!("{event:?}");
//! }
//! let report = run.finish().await?;
//! assert_eq!(report.outcome, upgrade_core::event::RunOutcome::Done);
//! # Ok(())
//! # }
//! ```
//!
//! Nothing ambient is read: no kubeconfig, no current context, no default of `az`. What the file names is read when it is
//! needed and never before. What remains of the environment belongs to others: proxies (`HTTPS_PROXY`, `NO_PROXY`) and, for
//! the credential kinds of these names only, Azure Pipelines' `SYSTEM_OIDCREQUESTURI` and `SYSTEM_ACCESSTOKEN`, the
//! `IDENTITY_ENDPOINT` and its siblings by which a platform says where its managed identity is, and the variables of `az`.

mod abort;
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
mod holder;
pub mod journal;
mod leftovers;
mod probes;
pub mod report;
mod run;
mod run_id;
mod secrets;
#[cfg(test)]
mod test_support;
mod timing;
mod tokens;
mod transport;

pub use abort::{Abort, AbortProgress, AbortReport};
pub use apply::Apply;
pub use clock::SystemClock;
pub use cluster::{Cluster, Services};
pub use error::{ConfigError, Error, exit_code};
pub use files::{PlanFile, SnapshotFile, write_atomically};
pub use fleet::Fleet;
pub use gate::{ContinueAlways, PauseAlways};
pub use journal::{JournalPlace, Journals, RunJournal, RunPlace, RunSelector};
pub use leftovers::{CleanReport, Leftovers, Tell};
pub use run::Run;
pub use timing::timing_file;

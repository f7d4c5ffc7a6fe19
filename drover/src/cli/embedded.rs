//! A lab served on loopback, and the configuration that points at it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_lab::{Lab, Scenario, Server, ServerOptions};
use tempfile::TempDir;

use super::args;
use super::failure::Failure;
use crate::files::write_atomically;

/// How often the lab's Rancher reads Azure, where it does: the default of its setting `aks-refresh`.
const RANCHER_REFRESH: Duration = Duration::from_secs(300);

/// A lab that is being served, with its drover.toml and the tokens that it names.
pub(super) struct Embedded {
    pub(super) lab: Lab,
    pub(super) server: Server,
    pub(super) dir: PathBuf,
    pub(super) config: PathBuf,
    /// The cluster's name in the configuration.
    pub(super) cluster: String,
    /// Removed with this value, if nobody named a directory.
    _temporary: Option<TempDir>,
}

/// What to serve.
pub(super) struct Wish<'a> {
    pub(super) scenario: args::Scenario,
    pub(super) seed: u64,
    pub(super) port: u16,
    pub(super) time_scale: u32,
    pub(super) dir: Option<&'a Path>,
}

impl Embedded {
    pub(super) fn serve(wish: &Wish<'_>) -> Result<Self, Failure> {
        let scenario = match wish.scenario {
            args::Scenario::Demo => Scenario::demo(),
            args::Scenario::Unmanaged => Scenario::demo().unmanaged(),
            args::Scenario::Managed => Scenario::demo().managed(RANCHER_REFRESH),
            args::Scenario::ManagedStale => Scenario::demo().managed_stale(),
        };
        let (dir, temporary) = directory(wish.dir)?;
        let lab = Lab::new(&scenario, wish.seed);
        let options =
            ServerOptions { port: wish.port, time_scale: f64::from(wish.time_scale), token_dir: dir.clone() };
        let server = Server::start(lab.clone(), &options).map_err(|source| Failure::Ground {
            message: match wish.port {
                0 => "the lab cannot be served on 127.0.0.1".to_owned(),
                port => format!("the lab cannot be served on 127.0.0.1:{port}"),
            },
            source,
        })?;
        let config = dir.join("drover.toml");
        write_atomically(&config, server.drover_toml().as_bytes())?;
        Ok(Self { lab, server, dir, config, cluster: scenario.identity.name, _temporary: temporary })
    }
}

/// The directory that was named, made if it is missing, or a new one. Its path is absolute: the configuration may be copied.
fn directory(named: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), Failure> {
    let ground =
        |source| Failure::Ground { message: "no directory for drover.toml can be made".to_owned(), source };
    if let Some(dir) = named {
        fs::create_dir_all(dir).map_err(ground)?;
        return Ok((std::path::absolute(dir).map_err(ground)?, None));
    }
    let made = tempfile::Builder::new().prefix("aks-drover-lab-").tempdir().map_err(ground)?;
    Ok((made.path().to_owned(), Some(made)))
}

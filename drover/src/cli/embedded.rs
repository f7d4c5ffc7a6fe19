//! A lab served on loopback, and the configuration that points at it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cluster_lab::{Lab, Server, ServerOptions, Story};
use tempfile::TempDir;
use upgrade_core::Policy;

use super::failure::Failure;
use crate::files::write_atomically;

/// A lab that is being served, with its drover.toml and the tokens that it names.
pub(super) struct Embedded {
    pub(super) lab: Lab,
    pub(super) server: Server,
    pub(super) dir: PathBuf,
    pub(super) config: PathBuf,
    /// What stands in it.
    pub(super) text: String,
    /// The cluster's name in the configuration.
    pub(super) cluster: String,
    /// Removed with this value, if nobody named a directory.
    _temporary: Option<TempDir>,
}

/// What to serve.
pub(super) struct Wish<'a> {
    pub(super) story: &'a Story,
    pub(super) seed: u64,
    pub(super) port: u16,
    pub(super) time_scale: u32,
    pub(super) dir: Option<&'a Path>,
}

impl Embedded {
    pub(super) fn serve(wish: &Wish<'_>) -> Result<Self, Failure> {
        let (dir, temporary) = directory(wish.dir)?;
        let lab = Lab::new(&wish.story.scenario, wish.seed);
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
        let text = server.drover_toml() + &policy(wish.story);
        write_atomically(&config, text.as_bytes())?;
        let cluster = wish.story.scenario.identity.name.clone();
        Ok(Self { lab, server, dir, config, text, cluster, _temporary: temporary })
    }
}

/// The table `[policy]`, where the story wants another than the default one.
fn policy(story: &Story) -> String {
    if story.policy == Policy::default() {
        return String::new();
    }
    let table = BTreeMap::from([("policy", &story.policy)]);
    let text = toml::to_string(&table).expect("a policy has the keys of its table");
    format!("\n{text}")
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

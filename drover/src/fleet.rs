//! The clusters of one `drover.toml`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use upgrade_core::Policy;
use upgrade_core::model::RunId;
use upgrade_core::ports::Clock;

use crate::clock::SystemClock;
use crate::cluster::Cluster;
use crate::config::{ClusterConfig, Config};
use crate::error::Error;
use crate::journal::{JournalAccess, JournalPlace, Journals, RunJournal, RunPlace};
use crate::{adapters, env, run_id};

/// The variable that names the configuration file.
const CONFIG_VARIABLE: &str = "AKS_DROVER_CONFIG";

/// The clusters of one `drover.toml`, read and checked as a whole. Nothing is contacted before
/// [`connect`](Self::connect).
#[derive(Clone)]
pub struct Fleet {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
}

impl Fleet {
    /// Reads a `drover.toml`. Everything in it is checked now, also what concerns other clusters.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let config = Config::load(path.as_ref()).map_err(Box::new)?;
        Ok(Self { config: Arc::new(config), clock: Arc::new(SystemClock) })
    }

    /// Which file to read: the one given, else the one that the variable `AKS_DROVER_CONFIG` names, else `./drover.toml`.
    pub fn locate(explicit: Option<&Path>) -> PathBuf {
        let named = || env::path(CONFIG_VARIABLE).map(PathBuf::from);
        explicit.map(Path::to_owned).or_else(named).unwrap_or_else(|| PathBuf::from("drover.toml"))
    }

    /// The clusters' names, sorted.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        self.config.clusters.keys().map(String::as_str)
    }

    /// The clusters that a run of this id can be on: a run is named after its cluster.
    pub fn clusters_of(&self, run: &RunId) -> impl Iterator<Item = &str> {
        self.clusters().filter(move |cluster| run_id::is_of(run, cluster))
    }

    /// What the file wants for a cluster: its own policy over the one for all.
    pub fn policy(&self, cluster: &str) -> Result<Policy, Error> {
        self.cluster(cluster).map(|cluster| cluster.policy.clone())
    }

    /// The same clusters by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Connects to a cluster and proves that Rancher, Azure and Kubernetes mean the same one. Reads only.
    ///
    /// # Errors
    /// [`Error::NoSuchCluster`] and [`Error::Config`] before anything is contacted, [`Error::Identity`] if the proof fails,
    /// [`Error::Remote`] if a service does not answer.
    pub async fn connect(&self, name: &str) -> Result<Cluster, Error> {
        let cluster = self.cluster(name)?;
        let environment = self.config.environment_of(cluster);
        let services = adapters::connect(name, cluster, environment, &self.clock).await?;
        Cluster::proven(cluster.policy.clone(), services, self.journal_access()).await
    }

    /// Opens a place for journals: a directory, or a container by the table `[journal]`. Nothing is contacted yet.
    ///
    /// # Errors
    /// [`Error::Config`] for a container that the file does not say how to reach.
    pub async fn journals(&self, place: &JournalPlace) -> Result<Journals, Error> {
        self.journal_access().journals(place).await
    }

    /// Opens the journal of one run; as [`journals`](Self::journals).
    pub async fn journal(&self, place: &RunPlace) -> Result<RunJournal, Error> {
        self.journal_access().journal(place).await
    }

    fn journal_access(&self) -> JournalAccess {
        JournalAccess::by(&self.config, &self.clock)
    }

    fn cluster(&self, name: &str) -> Result<&ClusterConfig, Error> {
        let known = &self.config.clusters;
        known.get(name).ok_or_else(|| Error::NoSuchCluster {
            name: name.to_owned(),
            file: self.config.file.clone(),
            nearest: crate::config::nearest(name, known.keys().map(String::as_str)).map(str::to_owned),
            known: known.keys().cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[environments.e]
rancher = { url = "http://127.0.0.1:1", token = { env = "AKS_DROVER_TEST_NOT_SET" } }
azure = { subscription = "00000000-0000-0000-0000-000000000001", credential = { kind = "token", env = "X" } }
[clusters]
shop-acc = { environment = "e", rancher_id = "c-abcde", resource_group = "rg" }
pay-acc = { environment = "e", rancher_id = "c-fghij", resource_group = "rg" }
"#;

    fn fleet() -> (tempfile::TempDir, Fleet) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drover.toml");
        std::fs::write(&path, FILE).unwrap();
        let fleet = Fleet::from_file(&path).unwrap();
        (folder, fleet)
    }

    #[test]
    fn clusters_are_named_and_an_unknown_name_is_answered_with_the_nearest() {
        let (_folder, fleet) = fleet();
        assert_eq!(fleet.clusters().collect::<Vec<_>>(), ["pay-acc", "shop-acc"]);
        let error = fleet.policy("shop-prd").unwrap_err();
        assert_eq!((error.exit_code(), error.hint().unwrap().as_str()), (2, "it names pay-acc, shop-acc"));
        assert_eq!(fleet.policy("shopacc").unwrap_err().hint().unwrap(), "did you mean `shop-acc`?");
        assert!(fleet.policy("shop-acc").is_ok());
    }

    /// Nothing listens on port 1: had anything been contacted, the error would be another one.
    #[tokio::test]
    async fn a_token_that_is_not_there_is_told_with_where_it_is_configured_before_anything_is_contacted() {
        let (_folder, fleet) = fleet();
        let Err(error) = fleet.connect("shop-acc").await else { panic!("connected to nothing") };
        let text = error.to_string();
        let end =
            "drover.toml:3: environments.e.rancher.token: the variable `AKS_DROVER_TEST_NOT_SET` is not set";
        assert!(text.ends_with(end), "{text}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_file_given_by_hand_comes_before_every_other() {
        assert_eq!(Fleet::locate(Some(Path::new("/a/b.toml"))), Path::new("/a/b.toml"));
    }
}

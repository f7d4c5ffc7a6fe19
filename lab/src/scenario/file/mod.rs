//! Scenarios as files: a cluster, what lives on it, who fights back and what goes wrong, with the story that it tells.
//!
//! A file is YAML; [`format`] says what may stand in it. Those in `lab/scenarios` are part of the library and are found by their
//! names. A key that is not known is an error that names it, its place and the nearest one that is.

mod build;
mod error;
mod format;
mod workload;

use upgrade_core::Policy;
use upgrade_core::model::VersionRequest;

pub use error::StoryError;

use super::Scenario;
use format::File;

/// A scenario with its story and the upgrade that it is about.
#[derive(Clone, Debug)]
pub struct Story {
    /// Its name: that of its file.
    pub name: String,
    /// What happened to somebody once, and what to look for.
    pub text: String,
    /// The world that it begins with.
    pub scenario: Scenario,
    /// The version to reach.
    pub to: VersionRequest,
    /// What the user wants.
    pub policy: Policy,
}

/// The files that are part of the library, by name.
macro_rules! embedded {
    ($($name:literal)*) => {
        const EMBEDDED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../scenarios/", $name, ".yaml")))),*];
    };
}

embedded! {
    "agent-lost"
    "autoscaled-pool"
    "context-switch"
    "deleted-image"
    "deprecated-api"
    "eviction-webhook"
    "frozen-budget"
    "gitops-reverts"
    "half-an-upgrade"
    "killed-and-resumed"
    "never-ready"
    "no-quota"
    "other-person"
    "rancher-deletes-the-buffer"
    "single-replica"
    "slow-machines"
    "stale-rancher"
    "token-expires"
    "unready-webhook"
    "windows-images"
    "zonal-disks"
}

impl Story {
    /// The names of the stories that come with the library, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        EMBEDDED.iter().map(|(name, _)| *name)
    }

    /// One of them.
    pub fn named(name: &str) -> Option<Self> {
        let (name, text) = EMBEDDED.iter().find(|(own, _)| *own == name)?;
        Some(Self::read(name, text).expect("the library's own files are read by its tests"))
    }

    /// Reads a file's text; errors call it by this name. The cluster is called `demo`, whatever the file.
    pub fn read(name: &str, text: &str) -> Result<Self, StoryError> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| StoryError::of_yaml(name, &error))?;
        build::story(name, file)
    }
}

#[cfg(test)]
mod tests;

//! Opening the places that journals are in.

use std::fmt;
use std::sync::Arc;

use upgrade_core::ports::Clock;

use super::blobs::Blobs;
use super::{At, BlobFolder, JournalPlace, Journals, Place, RunJournal, RunPlace, unusable, wire};
use crate::config::Config;
use crate::error::{ConfigError, Error};

/// What is needed to reach a container, if anything is.
#[derive(Clone, Default)]
pub(crate) struct JournalAccess(Option<Configured>);

#[derive(Clone)]
struct Configured {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
}

impl JournalAccess {
    /// By the table `[journal]` of a configuration.
    pub(crate) fn by(config: &Arc<Config>, clock: &Arc<dyn Clock>) -> Self {
        Self(Some(Configured { config: Arc::clone(config), clock: Arc::clone(clock) }))
    }

    /// Opens a place. Of a container nothing is asked yet; what its credential needs of this machine is looked at now.
    pub(crate) async fn journals(&self, place: &JournalPlace) -> Result<Journals, Error> {
        Ok(Journals(match place {
            JournalPlace::Directory(dir) => Place::Directory(dir.clone()),
            JournalPlace::Container(folder) => Place::Container(self.blobs(folder).await?),
        }))
    }

    /// Opens one run's journal; as [`journals`](Self::journals).
    pub(crate) async fn journal(&self, place: &RunPlace) -> Result<RunJournal, Error> {
        Ok(RunJournal(match place {
            RunPlace::File(path) => At::File(path.clone()),
            RunPlace::Blobs { folder, run } => At::Blobs(self.blobs(folder).await?, run.clone()),
        }))
    }

    async fn blobs(&self, folder: &BlobFolder) -> Result<Blobs, Error> {
        let Some(Configured { config, clock }) = &self.0 else {
            let problem = "a journal in a container needs a configuration that says how to reach it";
            return Err(unusable(folder, problem, Some("connect by a drover.toml with a table `[journal]`")));
        };
        let account = config.journal.as_ref().ok_or_else(|| {
            Box::new(ConfigError {
                file: config.file.clone(),
                line: None,
                place: "journal".to_owned(),
                problem: format!("the table is missing; it is needed for {folder}"),
                remedy: Some("name the storage account: `account`, and the `credential` for it".to_owned()),
            })
        })?;
        // Boxed: the many kinds of credentials make it large, and it is seldom needed.
        let store = Box::pin(wire::store(account, folder, clock)).await?;
        Ok(Blobs::new(store, folder.clone()))
    }
}

impl fmt::Debug for JournalAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0.as_ref().map(|configured| &configured.config.file);
        f.debug_tuple("JournalAccess").field(&config).finish()
    }
}

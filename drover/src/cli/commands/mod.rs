//! The commands, one file each.

mod abort;
mod apply;
mod check;
mod demo;
mod lab;
mod leftovers;
mod plan;
mod rehearse;
mod snapshot;
mod status;

use std::future::Future;
use std::path::Path;

use super::args::{self, Command, Common};
use super::console::Console;
use super::failure::Failure;
use super::signals::Signals;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::fleet::Fleet;
use crate::journal::{RunJournal, RunPlace, RunSelector};

/// What every command works with.
pub(super) struct Session {
    pub(super) console: Console,
    pub(super) common: Common,
    pub(super) signals: Signals,
}

/// Performs a command and returns the exit code of one that came to its end.
pub(super) async fn perform(mut session: Session, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Demo(args) => demo::demo(&mut session, &args).await,
        Command::Check(args) => check::check(&mut session, &args).await,
        Command::Plan(args) => plan::plan(&mut session, &args).await,
        Command::Rehearse(args) => rehearse::rehearse(&mut session, &args).await,
        Command::Apply(args) => apply::apply(&mut session, &args).await,
        Command::Resume(args) => apply::resume(&mut session, &args).await,
        Command::Status(args) => status::status(&mut session, &args).await,
        Command::Snapshot(args) => snapshot::snapshot(&mut session, &args).await,
        Command::Lab(args) => lab::lab(&mut session, &args).await,
        Command::Abort(args) => abort::abort(&mut session, &args).await,
        Command::Leftovers(args) => leftovers::leftovers(&mut session, &args).await,
    }
}

impl Session {
    /// The configuration, read and checked.
    fn fleet(&self) -> Result<Fleet, Failure> {
        Ok(Fleet::from_file(Fleet::locate(self.common.config.as_deref()))?)
    }

    /// A cluster of the configuration, its identity proven. Ctrl-C leaves.
    async fn connect(&mut self, name: &str) -> Result<Cluster, Failure> {
        let fleet = self.fleet()?;
        self.read(format!("connecting to {name}"), fleet.connect(name)).await
    }

    /// Work that only reads, announced on stderr. Ctrl-C leaves.
    async fn read<T>(
        &mut self,
        what: String,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        self.console.note(what);
        self.signals.or_leave(work).await
    }

    /// The journal of a run. Only one that is not a file needs the configuration.
    async fn journal(&self, run: &RunSelector, journals: &args::Journal) -> Result<RunJournal, Failure> {
        match run.place(&journals.journal) {
            RunPlace::File(path) => Ok(RunJournal::in_file(path)),
            place @ RunPlace::Blobs { .. } => Ok(self.fleet()?.journal(&place).await?),
        }
    }

    /// The command that goes on with a run.
    fn resume_command(&self, journal: &RunPlace) -> String {
        let config = self.common.config.as_ref().map(|file| format!(" --config {}", quoted(file)));
        format!("aks-drover resume {}{}", word(journal.to_string()), config.unwrap_or_default())
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    word(path.display().to_string())
}

/// A word as a shell takes it.
fn word(text: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '\\');
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_the_shell() {
        assert_eq!(quoted(Path::new("journal/r-1.jsonl")), "journal/r-1.jsonl");
        assert_eq!(word("az://journals/r-1".into()), "az://journals/r-1");
        assert_eq!(quoted(Path::new("my runs/it's.jsonl")), r"'my runs/it'\''s.jsonl'");
    }
}

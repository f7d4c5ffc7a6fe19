//! The journal as files: `DIR/RUN.jsonl`, one record a line, each on the disk before the act it announces.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use upgrade_core::journal::{Reader, Record, RunState, to_line, whole_lines};
use upgrade_core::model::RunId;
use upgrade_core::ports::{CallOutcome, Journal, PortError, PortErrorKind, RemoteService};

use super::address::ENDING;
use super::{damaged, told};
use crate::error::Error;
use crate::files::sync_folder;

/// The file of a run in a journal directory.
pub(super) fn file_of(dir: &Path, run: &RunId) -> PathBuf {
    dir.join(format!("{run}.{ENDING}"))
}

/// The runs that a directory holds. A directory that is not there holds none.
pub(super) fn runs(dir: &Path) -> Result<Vec<RunId>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unusable(dir, "the directory cannot be read", error)),
    };
    let mut runs = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unusable(dir, "the directory cannot be read", error))?;
        let path = entry.path();
        let is_journal = path.extension().is_some_and(|ending| ending == ENDING);
        let name = path.file_stem().and_then(|name| name.to_str()).filter(|_| is_journal);
        runs.extend(name.and_then(|name| RunId::new(name).ok()));
    }
    Ok(runs)
}

/// Reads a journal without taking the run up; another process may be writing it.
pub(super) fn read(path: &Path, keep: impl FnMut(Record)) -> Result<RunState, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|error| cannot_open(path, error))?;
    replay(path, whole_lines(&bytes), keep)
}

fn replay(path: &Path, bytes: &[u8], mut keep: impl FnMut(Record)) -> Result<RunState, Error> {
    let mut reader = Reader::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let record = reader.take(line).map_err(|bad| damaged(path.display(), reader.line(), &bad))?;
        record.into_iter().for_each(&mut keep);
    }
    told(path.display(), reader)
}

fn unusable(path: &Path, problem: &str, source: io::Error) -> Error {
    Error::Journal {
        place: path.display().to_string(),
        line: None,
        problem: problem.to_owned(),
        remedy: None,
        source: Some(Box::new(source)),
    }
}

fn cannot_open(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => unusable(path, "there is no such run", error),
        io::ErrorKind::AlreadyExists => unusable(path, "there is a run of this name already", error),
        _ => unusable(path, &error.to_string(), error),
    }
}

/// The journal of one run that this process works on. Nobody else can take the run up while it lives.
#[derive(Debug)]
pub(super) struct FileJournal {
    path: PathBuf,
    file: Arc<Mutex<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// A line may be half written: nothing can follow it.
    torn: bool,
}

impl FileJournal {
    /// The journal of a new run. The directory is made if it is missing.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let dir = folder_of(path);
        make_durably(dir).map_err(|error| unusable(dir, "the directory cannot be made", error))?;
        let file =
            private().append(true).create_new(true).open(path).map_err(|error| cannot_open(path, error))?;
        let open = Open::locked(path, file)?;
        sync_folder(dir).map_err(|error| unusable(dir, "the directory cannot be flushed", error))?;
        Ok(Self::over(path.to_owned(), open))
    }

    /// The journal of a run that is taken up again, and the state it tells. A torn last line is cut off.
    pub(super) fn resume(path: &Path) -> Result<(Self, RunState), Error> {
        let opened = OpenOptions::new().read(true).append(true).open(path);
        let mut open = Open::locked(path, opened.map_err(|error| cannot_open(path, error))?)?;
        let mut bytes = Vec::new();
        open.file.read_to_end(&mut bytes).map_err(|error| cannot_open(path, error))?;
        let lines = whole_lines(&bytes);
        let state = replay(path, lines, |_| ())?;
        if lines.len() < bytes.len() {
            let length = u64::try_from(lines.len()).unwrap_or(u64::MAX);
            let cut = open.file.set_len(length).and_then(|()| open.file.sync_all());
            cut.map_err(|error| unusable(path, "its torn last line cannot be cut off", error))?;
        }
        Ok((Self::over(path.to_owned(), open), state))
    }

    fn over(path: PathBuf, open: Open) -> Self {
        Self { path, file: Arc::new(Mutex::new(open)) }
    }
}

/// The folder that a file or a folder is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a directory, with those above it, so that their names outlive a loss of power too.
fn make_durably(dir: &Path) -> io::Result<()> {
    let missing = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
    let missing: Vec<&Path> = missing.collect();
    fs::create_dir_all(dir)?;
    missing.into_iter().map(folder_of).try_for_each(sync_folder)
}

/// Options for a file that only its owner reads: an operation's address, which Azure signs, stands in a journal.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

impl Open {
    /// Takes the file for this process alone.
    fn locked(path: &Path, file: File) -> Result<Self, Error> {
        match file.try_lock() {
            Ok(()) => Ok(Self { file, torn: false }),
            Err(TryLockError::WouldBlock) => {
                Err(super::unusable(path.display(), "another process is working on this run", None))
            }
            Err(TryLockError::Error(error)) => Err(unusable(path, "the file cannot be locked", error)),
        }
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            return Err(io::Error::other("an earlier record could not be written"));
        }
        self.torn = true;
        self.file.write_all(line)?;
        self.file.sync_data()?;
        self.torn = false;
        Ok(())
    }
}

impl Drop for Open {
    /// Closing is not enough: a program that is being started at this moment holds the file open until it runs.
    fn drop(&mut self) {
        // Nothing can be done about a failure, and the end of the process unlocks, too.
        let _ = self.file.unlock();
    }
}

#[async_trait]
impl Journal for FileJournal {
    async fn append(&self, record: &Record) -> Result<(), PortError> {
        let line = to_line(record);
        let file = Arc::clone(&self.file);
        // A flush takes milliseconds on a good day: on a thread that may wait.
        let written = tokio::task::spawn_blocking(move || {
            // `Open::torn` tells whether a panic has left half a line behind.
            file.lock().unwrap_or_else(PoisonError::into_inner).append(line.as_bytes())
        });
        let written = written.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| PortError {
            source: Some(Arc::new(error)),
            ..PortError::new(
                RemoteService::Journal,
                PortErrorKind::Internal,
                CallOutcome::Unknown,
                format!("{} cannot be written", self.path.display()),
            )
        })
    }
}

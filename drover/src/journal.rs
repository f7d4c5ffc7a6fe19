//! The journal as files: `DIR/RUN.jsonl`, one record a line, each on the disk before the act it announces.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use upgrade_core::journal::{Record, RunState};
use upgrade_core::model::RunId;
use upgrade_core::ports::{CallOutcome, Journal, PortError, PortErrorKind, RemoteService};

use crate::error::Error;
use crate::files::sync_folder;

/// The ending of a journal's file name.
const ENDING: &str = "jsonl";

/// The file of a run in a journal directory.
pub fn file_of(dir: &Path, run: &RunId) -> PathBuf {
    dir.join(format!("{run}.{ENDING}"))
}

/// The runs that a journal directory holds, by id, which is by cluster and time. A directory that is not there holds none.
pub fn runs(dir: &Path) -> Result<Vec<RunId>, Error> {
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
    runs.sort();
    Ok(runs)
}

/// Reads a journal without taking the run up; another process may be writing it.
///
/// A last line without its end is what a killed process leaves behind: its record was never acknowledged, and is skipped.
pub fn load(path: &Path) -> Result<RunState, Error> {
    replay(path, whole_lines(&read(path)?), |_| ())
}

/// The records of a journal, in order; read as [`load`] reads it.
pub fn records(path: &Path) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    replay(path, whole_lines(&read(path)?), |record| records.push(record))?;
    Ok(records)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|error| cannot_open(path, error))?;
    Ok(bytes)
}

/// Everything up to the last line break.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    &bytes[..end]
}

fn replay(path: &Path, bytes: &[u8], mut keep: impl FnMut(Record)) -> Result<RunState, Error> {
    let wrong =
        |line, problem| Error::Journal { path: path.to_owned(), line: Some(line), problem, source: None };
    let mut state = RunState::default();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let number = index + 1;
        let record: Record = serde_json::from_slice(line)
            .map_err(|error| wrong(number, format!("this line is not a record ({error})")))?;
        state.apply(&record).map_err(|error| wrong(number, error.to_string()))?;
        keep(record);
    }
    if state.run().is_none() {
        return Err(wrong(1, "it holds no run: the header is missing".to_owned()));
    }
    Ok(state)
}

fn unusable(path: &Path, problem: &str, source: io::Error) -> Error {
    Error::Journal { path: path.to_owned(), line: None, problem: problem.to_owned(), source: Some(source) }
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
pub struct FileJournal {
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
    pub fn create(dir: &Path, run: &RunId) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|error| unusable(dir, "the directory cannot be made", error))?;
        let path = file_of(dir, run);
        let file =
            private().append(true).create_new(true).open(&path).map_err(|error| cannot_open(&path, error))?;
        let open = Open::locked(&path, file)?;
        sync_folder(dir).map_err(|error| unusable(dir, "the directory cannot be flushed", error))?;
        Ok(Self::over(path, open))
    }

    /// The journal of a run that is taken up again, and the state it tells. A torn last line is cut off.
    pub fn resume(path: &Path) -> Result<(Self, RunState), Error> {
        let opened = OpenOptions::new().read(true).append(true).open(path);
        let mut open = Open::locked(path, opened.map_err(|error| cannot_open(path, error))?)?;
        let mut bytes = Vec::new();
        open.file.read_to_end(&mut bytes).map_err(|error| cannot_open(path, error))?;
        let whole = whole_lines(&bytes);
        let state = replay(path, whole, |_| ())?;
        if whole.len() < bytes.len() {
            let length = u64::try_from(whole.len()).unwrap_or(u64::MAX);
            let cut = open.file.set_len(length).and_then(|()| open.file.sync_all());
            cut.map_err(|error| unusable(path, "its torn last line cannot be cut off", error))?;
        }
        Ok((Self::over(path.to_owned(), open), state))
    }

    fn over(path: PathBuf, open: Open) -> Self {
        Self { path, file: Arc::new(Mutex::new(open)) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
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
                let problem = "another process is working on this run".to_owned();
                Err(Error::Journal { path: path.to_owned(), line: None, problem, source: None })
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
        let mut line = serde_json::to_vec(record).expect("a record is plain data");
        line.push(b'\n');
        let file = Arc::clone(&self.file);
        // A flush takes milliseconds on a good day: on a thread that may wait.
        let written = tokio::task::spawn_blocking(move || {
            // `Open::torn` tells whether a panic has left half a line behind.
            file.lock().unwrap_or_else(PoisonError::into_inner).append(&line)
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

#[cfg(test)]
mod tests;

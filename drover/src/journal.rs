//! Journals: each run's own story, in a directory or in a container of Azure Blob Storage.
//!
//! A directory holds each run as a file `RUN.jsonl`; what is written is on the disk before it counts, and a lock of the file
//! keeps other processes of the machine out. A container holds each run as a folder `RUN` of small blobs; each is created and
//! never changed, so that of two writers one is refused.

mod access;
mod address;
mod blobs;
mod file;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::memory::InMemory;
use upgrade_core::journal::{BadLine, Reader, Record, RunState};
use upgrade_core::model::RunId;
use upgrade_core::ports::Journal;

pub(crate) use access::JournalAccess;
pub use address::{AddressError, BlobFolder, JournalPlace, RunPlace, RunSelector};
use blobs::Blobs;
use file::FileJournal;

use crate::error::Error;

/// A place for journals, ready to be used. Made by [`Fleet::journals`](crate::Fleet::journals).
#[derive(Clone, Debug)]
pub struct Journals(Place);

#[derive(Clone, Debug)]
enum Place {
    Directory(PathBuf),
    Container(Blobs),
}

/// The journal of one run, ready to be used. Made by [`Fleet::journal`](crate::Fleet::journal).
#[derive(Clone, Debug)]
pub struct RunJournal(At);

#[derive(Clone, Debug)]
enum At {
    File(PathBuf),
    Blobs(Blobs, RunId),
}

impl Journals {
    /// Journals as files of a directory, which is made when the first run is written.
    pub fn in_directory(dir: impl Into<PathBuf>) -> Self {
        Self(Place::Directory(dir.into()))
    }

    /// Journals that end with the process, kept as a container keeps them: for whoever tries things out.
    pub fn in_memory(folder: BlobFolder) -> Self {
        Self(Place::Container(Blobs::new(Arc::new(InMemory::new()), folder)))
    }

    /// The runs it holds, by id, which is by cluster and time. A directory that is not there holds none.
    pub async fn runs(&self) -> Result<Vec<RunId>, Error> {
        let mut runs = match &self.0 {
            Place::Directory(dir) => file::runs(dir)?,
            Place::Container(blobs) => blobs.runs().await?,
        };
        runs.sort();
        Ok(runs)
    }

    /// The journal of one run, whether or not there is one.
    pub fn run(&self, run: &RunId) -> RunJournal {
        RunJournal(match &self.0 {
            Place::Directory(dir) => At::File(file::file_of(dir, run)),
            Place::Container(blobs) => At::Blobs(blobs.clone(), run.clone()),
        })
    }
}

impl RunJournal {
    /// A journal in a file.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self(At::File(path.into()))
    }

    /// Where it is.
    pub fn place(&self) -> RunPlace {
        match &self.0 {
            At::File(path) => RunPlace::File(path.clone()),
            At::Blobs(blobs, run) => RunPlace::Blobs { folder: blobs.folder().clone(), run: run.clone() },
        }
    }

    /// Reads it without taking the run up; another process may be writing it. What was never acknowledged to its writer (the
    /// torn last line of a killed process) is not part of it.
    pub async fn load(&self) -> Result<RunState, Error> {
        self.read(|_| ()).await
    }

    /// Its records, in order; read as [`load`](Self::load) reads it.
    pub async fn records(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        self.read(|record| records.push(record)).await?;
        Ok(records)
    }

    async fn read(&self, keep: impl FnMut(Record) + Send) -> Result<RunState, Error> {
        match &self.0 {
            At::File(path) => file::read(path, keep),
            At::Blobs(blobs, run) => blobs.read(run, keep).await,
        }
    }

    /// Begins the journal of a new run. A run of this name that is there already is an error.
    pub async fn create(&self) -> Result<Arc<dyn Journal>, Error> {
        Ok(match &self.0 {
            At::File(path) => Arc::new(FileJournal::create(path)?),
            At::Blobs(blobs, run) => Arc::new(blobs.create(run).await?),
        })
    }

    /// Takes the run up, with the state it is in. In a directory nobody else can do so while the journal lives; in a container
    /// whoever appends first goes on, and the other is refused.
    pub async fn resume(&self) -> Result<(Arc<dyn Journal>, RunState), Error> {
        Ok(match &self.0 {
            At::File(path) => {
                let (journal, state) = FileJournal::resume(path)?;
                (Arc::new(journal), state)
            }
            At::Blobs(blobs, run) => {
                let (journal, state) = blobs.resume(run).await?;
                (Arc::new(journal), state)
            }
        })
    }
}

/// The journal at this place holds a line that cannot be.
fn damaged(place: impl fmt::Display, line: usize, bad: &BadLine) -> Error {
    Error::Journal {
        place: place.to_string(),
        line: Some(line),
        problem: bad.to_string(),
        remedy: Some(bad.remedy().to_owned()),
        source: None,
    }
}

/// The journal at this place cannot be used.
pub(crate) fn unusable(place: impl fmt::Display, problem: &str, remedy: Option<&str>) -> Error {
    Error::Journal {
        place: place.to_string(),
        line: None,
        problem: problem.to_owned(),
        remedy: remedy.map(str::to_owned),
        source: None,
    }
}

/// What a journal tells that was read to its end.
fn told(place: impl fmt::Display, reader: Reader) -> Result<RunState, Error> {
    let state = reader.into_state();
    match state.run() {
        Some(_) => Ok(state),
        None => Err(unusable(place, "it holds no run: the header is missing", None)),
    }
}

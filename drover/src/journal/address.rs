//! Where journals are, as people write it: a directory, or a container of Azure Blob Storage.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use upgrade_core::model::RunId;

/// What an address of a container begins with.
const SCHEME: &str = "az://";

/// The ending of a journal's file name.
pub(super) const ENDING: &str = "jsonl";

/// A place that holds the journals of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalPlace {
    /// A directory, in which each run is a file `RUN.jsonl`.
    Directory(PathBuf),
    /// A folder of a container, in which each run is a folder `RUN`.
    Container(BlobFolder),
}

/// A folder of a container: `az://CONTAINER/PREFIX`. Which account it is in says the table `[journal]` of `drover.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobFolder {
    container: String,
    /// The folders below the container, outermost first.
    prefix: Vec<String>,
}

/// The place of one run's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunPlace {
    /// A file.
    File(PathBuf),
    /// A folder `RUN` in a folder of a container.
    Blobs {
        /// The folder of all runs.
        folder: BlobFolder,
        /// The run.
        run: RunId,
    },
}

/// Which run: by its id, looked up where journals are, or by the place of its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunSelector {
    /// A run of the place where journals are.
    Id(RunId),
    /// Its journal.
    Place(RunPlace),
}

/// A text that looks like an address and is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {problem}; write a directory, or az://CONTAINER/FOLDER for Azure Blob Storage")]
pub struct AddressError {
    text: String,
    problem: String,
}

impl JournalPlace {
    /// From what a person writes: an address, or else a directory.
    ///
    /// # Errors
    /// For an address of anything else (`https://...`), and one that breaks Azure's rules for names.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Self, AddressError> {
        match address(text.as_ref())? {
            Some(folder) => Ok(Self::Container(folder)),
            None => Ok(Self::Directory(text.as_ref().into())),
        }
    }

    /// The place of one run's journal here.
    pub fn run(&self, run: &RunId) -> RunPlace {
        match self {
            Self::Directory(dir) => RunPlace::File(super::file::file_of(dir, run)),
            Self::Container(folder) => RunPlace::Blobs { folder: folder.clone(), run: run.clone() },
        }
    }
}

impl From<PathBuf> for JournalPlace {
    fn from(dir: PathBuf) -> Self {
        Self::Directory(dir)
    }
}

impl From<&Path> for JournalPlace {
    fn from(dir: &Path) -> Self {
        Self::Directory(dir.into())
    }
}

impl From<&PathBuf> for JournalPlace {
    fn from(dir: &PathBuf) -> Self {
        Self::Directory(dir.clone())
    }
}

impl RunSelector {
    /// From what a person writes. A run id has neither dots nor slashes, so everything else is a place; write `./name` for a
    /// file whose name looks like an id.
    ///
    /// # Errors
    /// For an address that is none, and one whose last part is no run's id.
    pub fn parse(text: impl Into<OsString>) -> Result<Self, AddressError> {
        let text = text.into();
        if let Some(Ok(id)) = text.to_str().map(RunId::new) {
            return Ok(Self::Id(id));
        }
        let Some(BlobFolder { container, mut prefix }) = address(&text)? else {
            return Ok(Self::Place(RunPlace::File(text.into())));
        };
        let run = prefix.pop().and_then(|last| RunId::new(last).ok());
        let run = run.ok_or_else(|| AddressError::new(&text, "does not end with the id of a run"))?;
        Ok(Self::Place(RunPlace::Blobs { folder: BlobFolder { container, prefix }, run }))
    }

    /// The place of its journal; `journals` counts for an id.
    pub fn place(&self, journals: &JournalPlace) -> RunPlace {
        match self {
            Self::Id(run) => journals.run(run),
            Self::Place(place) => place.clone(),
        }
    }
}

impl AddressError {
    fn new(text: &OsStr, problem: impl Into<String>) -> Self {
        let text = text.to_string_lossy().chars().filter(|c| !c.is_control()).take(200).collect();
        Self { text, problem: problem.into() }
    }
}

impl BlobFolder {
    /// The container.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The name of a blob, or of a folder, below this one.
    pub(super) fn below(&self, names: &[&str]) -> String {
        let prefix = self.prefix.iter().map(String::as_str);
        prefix.chain(names.iter().copied()).collect::<Vec<_>>().join("/")
    }
}

/// The folder, if the text is an address; `None` for a path.
fn address(text: &OsStr) -> Result<Option<BlobFolder>, AddressError> {
    let wrong = |problem: &str| AddressError::new(text, problem);
    let Some(address) = text.to_str().filter(|text| text.contains("://")) else { return Ok(None) };
    let Some(names) = address.strip_prefix(SCHEME) else {
        return Err(wrong("is an address that journals cannot have"));
    };
    let names = names.strip_suffix('/').unwrap_or(names);
    let mut names = names.split('/').map(str::to_owned);
    let container = names.next().unwrap_or_default();
    if !is_container(&container) {
        return Err(wrong(
            "names no container: 3 to 63 lower-case letters, digits and single hyphens, a letter or digit first and last",
        ));
    }
    let prefix: Vec<String> = names.collect();
    match prefix.iter().find(|name| !is_folder(name)) {
        Some(_) => Err(wrong("has a folder that is not letters, digits, `-`, `_` and `.`")),
        None => Ok(Some(BlobFolder { container, prefix })),
    }
}

/// Azure's rules (Microsoft: Naming and referencing containers, blobs, and metadata).
fn is_container(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(plain) && name.bytes().next_back().is_some_and(plain);
    let all = name.bytes().all(|byte| plain(byte) || byte == b'-');
    (3..=63).contains(&name.len()) && ends && all && !name.contains("--")
}

/// Narrower than Azure's: what needs no escaping anywhere, and ends in no dot, which Azure takes away.
fn is_folder(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.bytes().all(plain) && !name.ends_with('.')
}

impl fmt::Display for BlobFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.container)?;
        self.prefix.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

impl fmt::Display for JournalPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => dir.display().fmt(f),
            Self::Container(folder) => folder.fmt(f),
        }
    }
}

impl fmt::Display for RunPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Blobs { folder, run } => write!(f, "{folder}/{run}"),
        }
    }
}

impl RunPlace {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Blobs { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_selected_by_id_or_by_the_place_of_its_journal() {
        let dir = JournalPlace::from(Path::new("j"));
        let container = JournalPlace::parse("az://journals/team/a/").unwrap();
        for (text, in_dir, in_container) in [
            ("shop-1", "j/shop-1.jsonl", "az://journals/team/a/shop-1"),
            ("./shop-1", "./shop-1", "./shop-1"),
            ("old/shop-1.jsonl", "old/shop-1.jsonl", "old/shop-1.jsonl"),
            ("az://other/shop-1", "az://other/shop-1", "az://other/shop-1"),
        ] {
            let run = RunSelector::parse(text).unwrap();
            assert_eq!(run.place(&dir).to_string(), in_dir, "{text}");
            assert_eq!(run.place(&container).to_string(), in_container, "{text}");
        }
    }

    #[test]
    fn what_looks_like_an_address_and_is_none_is_refused_with_what_to_write() {
        for (text, problem) in [
            ("https://x/y", "is an address that journals cannot have"),
            ("s3://bucket", "is an address that journals cannot have"),
            ("az://", "names no container"),
            ("az://Journals/x", "names no container"),
            ("az://a--b", "names no container"),
            ("az://-ab", "names no container"),
            ("az://journals//x", "has a folder that is not"),
            ("az://journals/a b", "has a folder that is not"),
            ("az://journals/..", "has a folder that is not"),
        ] {
            let error = JournalPlace::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` {problem}")), "{error}");
            assert!(error.ends_with("write a directory, or az://CONTAINER/FOLDER for Azure Blob Storage"));
        }
        let error = RunSelector::parse("az://journals").unwrap_err().to_string();
        assert!(error.contains("does not end with the id of a run"), "{error}");
    }
}

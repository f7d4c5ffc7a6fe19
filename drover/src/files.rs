//! Plans and snapshots as files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use upgrade_core::Inventory;
use upgrade_core::model::FormatVersion;
use upgrade_core::plan::Plan;

use crate::error::Error;

/// A plan with the inventory it was made from: everything that a rehearsal or an apply needs.
///
/// The inventory is without what differs from look to look, so that equal clusters give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFile {
    /// The file format.
    pub format: FormatVersion,
    /// The plan.
    pub plan: Plan,
    /// What it was made from.
    pub inventory: Inventory,
}

/// An inventory as a file. Holds no secret and no environment value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotFile {
    /// The file format.
    pub format: FormatVersion,
    /// The inventory.
    pub inventory: Inventory,
}

impl PlanFile {
    /// A plan with the inventory it was made from.
    pub fn new(plan: Plan, inventory: Inventory) -> Self {
        let inventory = inventory.timeless();
        Self { format: FormatVersion::CURRENT, plan, inventory }
    }

    /// Reads a plan file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        load("plan", path.as_ref())
    }

    /// Writes the file; what was there before stays until the new one is whole.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        write_atomically(path.as_ref(), self.to_json().as_bytes())
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

impl SnapshotFile {
    /// An inventory as a file.
    pub fn new(inventory: Inventory) -> Self {
        Self { format: FormatVersion::CURRENT, inventory }
    }

    /// Reads a snapshot file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        load("snapshot", path.as_ref())
    }

    /// Writes the file; what was there before stays until the new one is whole.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        write_atomically(path.as_ref(), self.to_json().as_bytes())
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

fn to_json(file: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(file).expect("plans and inventories are plain data");
    text.push('\n');
    text
}

/// The one thing that is read first: the rest of another major may mean anything.
#[derive(Deserialize)]
struct Head {
    format: FormatVersion,
}

fn load<T: DeserializeOwned>(what: &'static str, path: &Path) -> Result<T, Error> {
    let unreadable = |problem: String, source: Option<Box<dyn std::error::Error + Send + Sync>>| {
        Error::Unreadable { what, path: path.to_owned(), problem, source }
    };
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string(), Some(error.into())))?;
    let head: Head = serde_json::from_str(&text)
        .map_err(|error| unreadable(format!("it is not a {what} of Drover ({error})"), None))?;
    head.format
        .check_readable_by(FormatVersion::CURRENT)
        .map_err(|error| unreadable(error.to_string(), None))?;
    let mut json = serde_json::Deserializer::from_str(&text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (place, inner) = (error.path().to_string(), error.into_inner());
        unreadable(format!("at `{place}`: {inner}"), None)
    })
}

/// Writes a file so that at every moment either the old or the new one is there, whole: to a temporary name beside it,
/// flushed to the disk, then renamed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write(path, bytes).map_err(|source| Error::Unwritable { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".aks-drover-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Makes the names in a folder durable, where the system can.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests;

//! Journals in object storage: a folder of blobs for each run, `RUN/00000001.jsonl` and so on.
//!
//! Each append creates one blob, named by the number of its first record, on condition that there is none (`If-None-Match: *`).
//! So whoever appends after record 41 creates blob 42, and of two who do so one is refused, and has written nothing. The other
//! ways cost more or promise less: a single blob rewritten under its ETag costs the square of its length; a block list or an
//! append blob that grows is conditional too, but belongs to Azure alone, and a process that was cut off could not tell its own
//! write from another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Attribute, AttributeValue, Attributes, GetOptions, ObjectStore, PutMode, PutOptions};
use upgrade_core::journal::{Reader, Record, RunState, to_line};
use upgrade_core::model::RunId;
use upgrade_core::ports::{CallOutcome, Journal, PortError, PortErrorKind, RemoteService};
use uuid::Uuid;

use super::address::ENDING;
use super::{BlobFolder, damaged, told, unusable};
use crate::adapters::text::{one_line, with_causes};
use crate::error::Error;

/// How many blobs are fetched at once.
const AT_ONCE: usize = 16;

/// The metadata of a blob that says which process has written it.
const WRITER: &str = "writer";

/// A folder of a container, and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Blobs {
    store: Arc<dyn ObjectStore>,
    folder: BlobFolder,
}

impl Blobs {
    /// Asks nothing yet.
    pub(super) fn new(store: Arc<dyn ObjectStore>, folder: BlobFolder) -> Self {
        Self { store, folder }
    }

    pub(super) fn folder(&self) -> &BlobFolder {
        &self.folder
    }

    /// The runs in the folder: the folders in it that hold a first record.
    pub(super) async fn runs(&self) -> Result<Vec<RunId>, Error> {
        let folder = Path::from(self.folder.below(&[]));
        let listed = self.store.list_with_delimiter(Some(&folder)).await;
        let listed = listed.map_err(|error| self.unreadable(&error))?;
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        let names: Vec<RunId> = names.filter_map(|name| RunId::new(name).ok()).collect();
        let begun = |run: RunId| async move {
            let first = self.blob(&run, &name_of(1));
            match self.store.get_opts(&first, GetOptions::new().with_head(true)).await {
                Ok(_) => Ok(Some(run)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(self.unreadable(&error)),
            }
        };
        stream::iter(names)
            .map(begun)
            .buffered(AT_ONCE)
            .try_filter_map(|run| async { Ok(run) })
            .try_collect()
            .await
    }

    fn blob(&self, run: &RunId, name: &str) -> Path {
        Path::from(self.folder.below(&[run.as_str(), name]))
    }

    /// The blobs of a run, in the order of their records.
    async fn list(&self, run: &RunId) -> Result<Vec<Path>, Error> {
        let folder = Path::from(self.folder.below(&[run.as_str()]));
        let listed: Result<Vec<_>, _> = self.store.list(Some(&folder)).try_collect().await;
        let listed = listed.map_err(|error| self.unreadable(&error))?;
        let mut blobs: Vec<Path> = listed.into_iter().map(|meta| meta.location).collect();
        blobs.retain(|blob| blob.extension() == Some(ENDING));
        blobs.sort();
        Ok(blobs)
    }

    pub(super) async fn read(
        &self,
        run: &RunId,
        mut keep: impl FnMut(Record) + Send,
    ) -> Result<RunState, Error> {
        let place = format!("{}/{run}", self.folder);
        let blobs = self.list(run).await?;
        if blobs.is_empty() {
            return Err(unusable(place, "there is no such run", None));
        }
        let fetch = |blob: Path| async move {
            let content = self.store.get_opts(&blob, GetOptions::default()).await?.bytes().await?;
            Ok::<_, object_store::Error>((blob, content))
        };
        let mut contents = stream::iter(blobs).map(fetch).buffered(AT_ONCE);
        let mut reader = Reader::default();
        while let Some(content) = contents.next().await {
            let (blob, content) = content.map_err(|error| self.unreadable(&error))?;
            let lines = content.strip_suffix(b"\n").unwrap_or(&content);
            for (number, line) in (1..).zip(lines.split(|byte| *byte == b'\n')) {
                let record = reader.take(line).map_err(|bad| {
                    let blob = blob.filename().unwrap_or_default();
                    damaged(format!("{place}/{blob}"), number, &bad)
                })?;
                record.into_iter().for_each(&mut keep);
            }
        }
        told(place, reader)
    }

    pub(super) async fn create(&self, run: &RunId) -> Result<BlobJournal, Error> {
        if self.list(run).await?.is_empty() {
            return Ok(BlobJournal::new(self.clone(), run.clone()));
        }
        Err(unusable(format!("{}/{run}", self.folder), "there is a run of this name already", None))
    }

    pub(super) async fn resume(&self, run: &RunId) -> Result<(BlobJournal, RunState), Error> {
        let state = self.read(run, |_| ()).await?;
        Ok((BlobJournal::new(self.clone(), run.clone()), state))
    }

    /// A container that is not there is an address that is wrong; everything else is a failure of the service.
    fn unreadable(&self, error: &object_store::Error) -> Error {
        let failure = Failure::of(error);
        if failure.kind == PortErrorKind::NotFound {
            let remedy = "create the container, or correct the address";
            return unusable(&self.folder, "there is no such container in the account", Some(remedy));
        }
        Error::Remote(failure.told(&format!("{} cannot be read", self.folder), CallOutcome::NothingDone))
    }
}

/// The name of the blob whose first record has this number.
fn name_of(first: u64) -> String {
    format!("{first:08}.{ENDING}")
}

/// A failure of the storage, in the core's terms.
struct Failure {
    kind: PortErrorKind,
    message: String,
}

impl Failure {
    fn of(error: &object_store::Error) -> Self {
        let text = with_causes(error);
        // What Azure says of it, of all that is known of the request (Microsoft: Blob service error codes).
        let said = |tag: &str| {
            let (_, rest) = text.split_once(&format!("<{tag}>"))?;
            rest.split(['<', '\n']).next().map(str::to_owned)
        };
        let code = said("Code");
        let kind = match (code.as_deref(), error) {
            (Some("ContainerNotFound" | "ResourceNotFound"), _)
            | (None, object_store::Error::NotFound { .. }) => PortErrorKind::NotFound,
            (
                Some("AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation"),
                _,
            )
            | (_, object_store::Error::Unauthenticated { .. }) => PortErrorKind::Unauthorized,
            (_, object_store::Error::PermissionDenied { .. }) => PortErrorKind::Forbidden,
            (Some(code), _) if code.starts_with("Authorization") => PortErrorKind::Forbidden,
            (Some("ServerBusy" | "OperationTimedOut"), _) => PortErrorKind::Throttled,
            (Some(_), _) => PortErrorKind::Rejected,
            (None, _) => PortErrorKind::Unreachable,
        };
        let message = match (code, said("Message")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => text,
        };
        Self { kind, message: one_line(&message) }
    }

    fn told(self, what: &str, outcome: CallOutcome) -> PortError {
        PortError::new(RemoteService::Journal, self.kind, outcome, format!("{what}: {}", self.message))
    }
}

/// The journal of one run that this process works on.
#[derive(Debug)]
pub(super) struct BlobJournal {
    blobs: Blobs,
    run: RunId,
    /// Nobody else's name: a process that was cut off knows by it what it has written itself.
    writer: String,
    /// A record may be written or not: nothing can follow it.
    broken: AtomicBool,
}

impl BlobJournal {
    fn new(blobs: Blobs, run: RunId) -> Self {
        Self { blobs, run, writer: Uuid::new_v4().to_string(), broken: AtomicBool::new(false) }
    }

    async fn create(&self, first: u64, content: Bytes) -> Result<(), PortError> {
        let name = name_of(first);
        let blob = self.blobs.blob(&self.run, &name);
        let place = format!("{}/{}/{name}", self.blobs.folder, self.run);
        let writer = Attribute::Metadata(WRITER.into());
        let options = PutOptions {
            mode: PutMode::Create,
            attributes: Attributes::from_iter([(writer, AttributeValue::from(self.writer.clone()))]),
            ..PutOptions::default()
        };
        match self.blobs.store.put_opts(&blob, content.clone().into(), options).await {
            Ok(_) => Ok(()),
            // Refused, or written by a request whose answer was lost and which was sent again.
            Err(object_store::Error::AlreadyExists { .. }) => self.is_ours(&blob, &place, &content).await,
            Err(error) => {
                let what = format!("{place} cannot be written");
                Err(Failure::of(&error).told(&what, CallOutcome::Unknown))
            }
        }
    }

    async fn is_ours(&self, blob: &Path, place: &str, content: &Bytes) -> Result<(), PortError> {
        let found = async {
            let found = self.blobs.store.get_opts(blob, GetOptions::default()).await?;
            let writer = found.attributes.get(&Attribute::Metadata(WRITER.into())).cloned();
            Ok::<_, object_store::Error>((writer, found.bytes().await?))
        };
        let (writer, found) = found.await.map_err(|error| {
            let what = format!("{place} is there and cannot be read");
            Failure::of(&error).told(&what, CallOutcome::Unknown)
        })?;
        if writer.is_some_and(|writer| writer.as_ref() == self.writer) && found == *content {
            return Ok(());
        }
        Err(PortError::new(
            RemoteService::Journal,
            PortErrorKind::Conflict,
            CallOutcome::NothingDone,
            format!(
                "{place} was written by another process, which works on the run now; this one has stopped"
            ),
        ))
    }
}

#[async_trait]
impl Journal for BlobJournal {
    async fn append(&self, record: &Record) -> Result<(), PortError> {
        if self.broken.swap(true, Ordering::AcqRel) {
            return Err(PortError::new(
                RemoteService::Journal,
                PortErrorKind::Conflict,
                CallOutcome::NothingDone,
                format!("{}/{}: an earlier record could not be written", self.blobs.folder, self.run),
            ));
        }
        self.create(record.seq, to_line(record).into()).await?;
        self.broken.store(false, Ordering::Release);
        Ok(())
    }
}

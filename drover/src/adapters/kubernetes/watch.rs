//! Following everything: per kind a list, then a watch, then the next watch, for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::core::WatchEvent;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use upgrade_core::ports::PortError;
use upgrade_core::view::{Change, ResourceKind};

use super::LISTS_IN_FLIGHT;
use super::api::{Api, PATIENCE, collection, get, silence, with_query, with_wire, workload_kind};
use super::decode::{DecodeError, Reaches, Wire};
use super::failure::{Failure, undecodable};
use super::wire;

/// How long one watch lasts: shorter than the 4 minutes after which an Azure load balancer forgets a quiet connection.
const WATCH_SECONDS: u32 = 225;

/// The pause after a failure, and its bound; it doubles in between.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How many changes may wait for the reader before the watches wait for it too.
const WAITING: usize = 4096;

type Item = Result<Change, PortError>;

/// Everything, merged into one stream that does not end. Dropping it ends the watches.
pub(super) struct Everything {
    changes: Receiver<Item>,
    _tasks: JoinSet<()>,
}

impl Everything {
    pub(super) fn follow(api: &Api) -> Self {
        let (sender, changes) = channel(WAITING);
        let lists = Arc::new(Semaphore::new(LISTS_IN_FLIGHT));
        let mut tasks = JoinSet::new();
        for kind in ResourceKind::ALL {
            let follower =
                Follower { api: api.clone(), kind, lists: Arc::clone(&lists), sender: sender.clone() };
            tasks.spawn(async move { with_wire!(kind, T => follower.run::<T>().await) });
        }
        Self { changes, _tasks: tasks }
    }
}

impl Stream for Everything {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.changes.poll_recv(context)
    }
}

/// One kind.
struct Follower {
    api: Api,
    kind: ResourceKind,
    lists: Arc<Semaphore>,
    sender: Sender<Item>,
}

/// Nobody listens any more.
struct Unheard;

/// Why a watch is over.
enum End {
    /// Its time was up, or the connection ended: go on from the last version.
    Over,
    /// The version is too old to go on from.
    Expired,
}

impl Follower {
    async fn run<T: Wire>(self) {
        // Nobody listens: the stream was dropped, and this task is about to be.
        let Err(Unheard) = self.follow::<T>().await else { return };
    }

    async fn follow<T: Wire>(&self) -> Result<(), Unheard> {
        let mut wait = FIRST_WAIT;
        loop {
            let (mut version, mut reaches) = match self.list().await {
                Ok((objects, version, reaches)) => {
                    wait = FIRST_WAIT;
                    self.tell(Ok(Change::Listed { kind: self.kind, objects })).await?;
                    (version, reaches)
                }
                Err(error) => {
                    self.lose_contact(error, &mut wait).await?;
                    continue;
                }
            };
            // Until the version is too old: then everything is listed anew.
            loop {
                match self.watch::<T>(&mut version, &mut reaches).await? {
                    Ok((End::Over, heard)) if heard => wait = FIRST_WAIT,
                    // Not a busy loop with a server that ends every watch at once.
                    Ok((End::Over, _)) => tokio::time::sleep(FIRST_WAIT).await,
                    Ok((End::Expired, _)) => break,
                    Err(error) => self.lose_contact(error, &mut wait).await?,
                }
            }
        }
    }

    async fn tell(&self, item: Item) -> Result<(), Unheard> {
        self.sender.send(item).await.map_err(|_| Unheard)
    }

    async fn lose_contact(&self, error: PortError, wait: &mut Duration) -> Result<(), Unheard> {
        let pause = error.retry_after.unwrap_or(*wait).clamp(FIRST_WAIT, LONGEST_WAIT);
        *wait = (*wait * 2).min(LONGEST_WAIT);
        self.tell(Err(error)).await?;
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn list(&self) -> Result<(Vec<upgrade_core::view::Object>, String, Reaches), PortError> {
        // The semaphore is never closed; without a permit the list is merely one more in flight.
        let _permit = self.lists.acquire().await;
        let reaches = match self.kind {
            ResourceKind::PersistentVolumeClaim => self.api.reaches_if_allowed().await?,
            _ => Reaches::new(),
        };
        let reaches = Arc::new(reaches);
        let listing = self.api.list_with(self.kind, &reaches).await?;
        Ok((listing.objects, listing.version, Arc::unwrap_or_clone(reaches)))
    }

    /// One watch. Says why it is over, and whether anything was heard.
    async fn watch<T: Wire>(
        &self,
        version: &mut String,
        reaches: &mut Reaches,
    ) -> Result<Result<(End, bool), PortError>, Unheard> {
        let what = format!("watching {}", self.kind.plural());
        let timeout = WATCH_SECONDS.to_string();
        let query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", timeout.as_str()),
            ("resourceVersion", version.as_str()),
        ];
        let request = get(&with_query(collection(self.kind), &query));
        let opened = tokio::time::timeout(PATIENCE, self.api.client.request_events::<T>(request)).await;
        let opened = opened.map_err(|_| silence()).and_then(|opened| opened.map_err(Failure::from));
        let events = match opened {
            Ok(events) => events,
            Err(failure) if failure.is_expired() => return Ok(Ok((End::Expired, false))),
            Err(failure) => return Ok(Err(failure.of_read(&what))),
        };
        tokio::pin!(events);
        let mut heard = false;
        loop {
            let event = match events.next().await {
                None => return Ok(Ok((End::Over, heard))),
                Some(Err(error)) => match Failure::from(error) {
                    // A dead connection, or a quiet cluster without bookmarks: the next watch will tell.
                    Failure::Idle => return Ok(Ok((End::Over, heard))),
                    failure if failure.is_expired() => return Ok(Ok((End::Expired, heard))),
                    failure => return Ok(Err(failure.of_read(&what))),
                },
                Some(Ok(WatchEvent::Error(status))) if status.code == 410 => {
                    return Ok(Ok((End::Expired, heard)));
                }
                Some(Ok(WatchEvent::Error(status))) => {
                    return Ok(Err(Failure::Event(status.message).of_read(&what)));
                }
                Some(Ok(event)) => event,
            };
            heard = true;
            match self.change(event, version, reaches).await {
                Ok(Some(change)) => self.tell(Ok(change)).await?,
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// What an event says; nothing for a bookmark. Moves the version on.
    async fn change<T: Wire>(
        &self,
        event: WatchEvent<T>,
        version: &mut String,
        reaches: &mut Reaches,
    ) -> Result<Option<Change>, PortError> {
        let what = format!("watching {}", self.kind.plural());
        let (object, deleted) = match event {
            WatchEvent::Bookmark(bookmark) => {
                *version = bookmark.metadata.resource_version;
                return Ok(None);
            }
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
            WatchEvent::Deleted(object) => (object, true),
            // Handled where the stream is read.
            WatchEvent::Error(_) => return Ok(None),
        };
        let seen = object.meta().resource_version.clone();
        let change = if deleted {
            Change::Deleted { kind: self.kind, name: name_of(object.meta()) }
        } else {
            if let Some(volume) = object.volume().filter(|volume| !reaches.contains_key(*volume)) {
                let found = self.api.reach_of(volume).await.map_err(|failure| failure.of_read(&what))?;
                reaches.insert(volume.to_owned(), found);
            }
            let decoded = object.object(workload_kind(self.kind), reaches);
            Change::Applied(decoded.map_err(|error: DecodeError| undecodable(&what, error))?)
        };
        // Only what was told is passed.
        if let Some(seen) = seen {
            *version = seen;
        }
        Ok(Some(change))
    }
}

/// `namespace/name`, or the bare name of a node.
fn name_of(meta: &wire::Meta) -> String {
    match meta.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{namespace}/{}", meta.name),
        None => meta.name.clone(),
    }
}

//! Watches: an endless answer, one JSON object in a line for each change.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header::CONTENT_TYPE};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::super::app::App;
use super::super::call::Call;
use super::super::weather::cut;
use super::forms::Form;
use super::list::expired_error;
use super::objects::{Shared, shown};
use super::options::Options;
use super::path::{Place, Target};
use super::select::Selection;
use crate::error::ApiError;
use crate::faults::WatchMarks;
use crate::lab::Lab;
use crate::store::{ChangeType, Expired, Kind, KindVisitor, Logged, Store, Stored, with_kind};

/// The API server sends a bookmark about once a minute.
const BOOKMARK: Duration = Duration::from_secs(60);

/// Without `timeoutSeconds` the API server ends a watch after 30 to 60 minutes.
const LONGEST: u64 = 1800;

/// The annotation on the bookmark that ends a streamed list.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// A watch under way.
struct Watcher {
    lab: Lab,
    kind: Kind,
    selection: Selection,
    form: Form,
    /// Has a table told its columns? It does so once.
    headed: bool,
    /// Told up to here.
    revision: u64,
    begin: Begin,
    bookmarks: bool,
    bookmark_every: Duration,
    next_bookmark: Instant,
    end: Instant,
    closing: watch::Receiver<bool>,
    /// The ends of watches by the weather that it has seen.
    marks: WatchMarks,
    over: bool,
}

/// How a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// With what comes after the revision.
    Changes,
    /// With everything there is.
    State,
    /// With everything there is, and a bookmark that says so (a streamed list).
    StateAndBookmark,
}

pub(super) fn answer(app: &App, call: &Call, target: &Target) -> Result<Response<Body>, ApiError> {
    let namespace = match &target.place {
        Place::Namespace(namespace) => Some(namespace.as_str()),
        Place::Everywhere | Place::Object { .. } => None,
    };
    let selection = Selection::of(call, target.kind, namespace)?;
    let form = Form::of(call)?;
    let options = Options::of(call, true)?;
    app.lab.with(|world| options.check_reached(world.store.revision()))?;
    let revision = options.version.unwrap_or(0);
    let begin = match (options.initial_events, revision) {
        (true, _) => Begin::StateAndBookmark,
        (false, 0) => Begin::State,
        (false, _) => Begin::Changes,
    };
    let seconds = options.timeout_seconds.unwrap_or(LONGEST);
    // A bookmark's minute is a virtual one, but nobody wants more than one in a real second.
    let bookmark_every = app.pace.real(BOOKMARK).max(Duration::from_secs(1));
    let watcher = Watcher {
        lab: app.lab.clone(),
        kind: target.kind,
        selection,
        form,
        headed: false,
        revision,
        begin,
        bookmarks: call.flag("allowWatchBookmarks"),
        bookmark_every,
        next_bookmark: Instant::now() + bookmark_every,
        // The client's own clock measures this one.
        end: Instant::now() + Duration::from_secs(seconds),
        closing: app.closing.clone(),
        marks: app.lab.with(|world| world.weather.watch_marks()),
        over: false,
    };
    let lines = stream::unfold(watcher, |mut watcher| async move {
        let lines = watcher.next().await?;
        Some((lines, watcher))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

impl Watcher {
    /// The next lines; `None` when the watch is over.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        while !self.over {
            if let Some(end) = self.ended() {
                self.over = true;
                return Some(end);
            }
            let (seen, lines) = self.look();
            if !lines.is_empty() {
                return Some(Ok(lines.into()));
            }
            let bookmark = if self.bookmarks { self.next_bookmark } else { self.end };
            let changed = self.lab.changed_since(seen);
            let on_time = tokio::select! {
                _ = changed => false,
                () = sleep_until(bookmark.min(self.end)) => true,
                _ = self.closing.wait_for(|closing| *closing) => return None,
            };
            if on_time {
                return self.on_time().map(Ok);
            }
        }
        None
    }

    /// Has the weather ended it? Then with a break, or with words.
    fn ended(&self) -> Option<io::Result<Bytes>> {
        let marks = self.lab.with(|world| world.weather.watch_marks());
        if marks.cuts != self.marks.cuts {
            return Some(Err(cut()));
        }
        let expired = marks.expiries != self.marks.expiries;
        expired.then(|| Ok(expiry("The resourceVersion for the provided watch is too old.").into()))
    }

    /// A bookmark is due, or the end, which a bookmark comes before.
    fn on_time(&mut self) -> Option<Bytes> {
        let now = Instant::now();
        self.over = now >= self.end;
        self.next_bookmark = now + self.bookmark_every;
        if !self.bookmarks {
            return None;
        }
        Some(self.bookmark(false).into())
    }

    /// What there is to tell now, and the world's revision of that moment.
    fn look(&mut self) -> (u64, String) {
        let begin = std::mem::replace(&mut self.begin, Begin::Changes);
        let (kind, selection, revision) = (self.kind, &self.selection, self.revision);
        let (seen, last, now, told) = self.lab.with(|world| {
            let (seen, last) = (world.revision(), world.store.revision());
            let store = &world.store;
            let told = match begin {
                Begin::Changes => with_kind(kind, Changes { store, selection, revision }),
                Begin::State | Begin::StateAndBookmark => {
                    Ok(with_kind(kind, Everything { store, selection }))
                }
            };
            (seen, last, world.now(), told)
        });
        match told {
            Ok(events) => {
                self.revision = last;
                let mut lines = String::new();
                for (change, object) in events {
                    let object = self.shape(shown(kind, &*object), now);
                    lines.push_str(&line(change, &object));
                }
                if begin == Begin::StateAndBookmark {
                    lines.push_str(&self.bookmark(true));
                }
                (seen, lines)
            }
            Err(expired) => {
                self.over = true;
                let message = format!("too old resource version: {} ({})", expired.asked, expired.oldest);
                (seen, expiry(&message))
            }
        }
    }

    /// An object in the form that the client wants.
    fn shape(&mut self, object: Value, now: jiff::Timestamp) -> Value {
        let mut shaped = self.form.object(self.kind, object, now);
        if matches!(self.form, Form::Table { .. }) && std::mem::replace(&mut self.headed, true) {
            shaped["columnDefinitions"] = Value::Null;
        }
        shaped
    }

    /// Nothing but how far the watch has come.
    fn bookmark(&self, initial_end: bool) -> String {
        let names = self.kind.names();
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if initial_end {
            metadata["annotations"] = json!({ INITIAL_END: "true" });
        }
        let object = match self.form {
            Form::Object => {
                json!({ "kind": names.kind, "apiVersion": names.api_version, "metadata": metadata })
            }
            Form::Metadata => {
                json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata })
            }
            Form::Table { .. } => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": null,
                "rows": [],
            }),
        };
        line("BOOKMARK", &object)
    }
}

/// The last line of a watch that is too far behind.
fn expiry(message: &str) -> String {
    let status = serde_json::to_value(expired_error(message).status()).expect("a Status is plain data");
    line("ERROR", &status)
}

fn line(kind: &str, object: &Value) -> String {
    let mut line = json!({ "type": kind, "object": object }).to_string();
    line.push('\n');
    line
}

/// What a watch tells of one object.
type Event = (&'static str, Shared);

/// Everything there is, as additions.
struct Everything<'a> {
    store: &'a Store,
    selection: &'a Selection,
}

impl KindVisitor for Everything<'_> {
    type Output = Vec<Event>;

    fn visit<T: Stored>(self) -> Vec<Event> {
        let chosen = self.store.list::<T>().filter(|object| self.selection.admits(T::KIND_OF, &***object));
        chosen
            .map(|object| {
                let object: Arc<T> = Arc::clone(object);
                ("ADDED", object as Shared)
            })
            .collect()
    }
}

/// What happened after a revision.
struct Changes<'a> {
    store: &'a Store,
    selection: &'a Selection,
    revision: u64,
}

impl KindVisitor for Changes<'_> {
    type Output = Result<Vec<Event>, Expired>;

    fn visit<T: Stored>(self) -> Self::Output {
        let changes = self.store.changes_since::<T>(self.revision)?;
        Ok(changes.filter_map(|logged| told(logged, self.selection)).collect())
    }
}

/// What a change is to somebody who watches a selection. An object that comes into it is added to it, one that leaves it is
/// deleted from it.
fn told<T: Stored>(logged: &Logged<T>, selection: &Selection) -> Option<Event> {
    let admits = |object: &T| selection.admits(T::KIND_OF, object);
    let was = logged.before.as_ref().is_some_and(|before| admits(before));
    let is = logged.change != ChangeType::Deleted && admits(&logged.object);
    let change = match (was, is) {
        (false, true) => "ADDED",
        (true, true) => "MODIFIED",
        (true, false) => "DELETED",
        (false, false) => return None,
    };
    let object: Arc<T> = Arc::clone(&logged.object);
    Some((change, object))
}

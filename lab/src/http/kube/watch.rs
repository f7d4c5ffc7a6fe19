//! Watches: an endless answer, one JSON object in a line for each change.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header::CONTENT_TYPE};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::super::app::App;
use super::super::call::Call;
use super::list::expired_error;
use super::path::{Place, Target};
use super::select::Selection;
use crate::error::ApiError;
use crate::lab::Lab;
use crate::store::{ChangeType, Kind, KindVisitor, Logged, Store, Stored, with_kind};

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
    /// Told up to here.
    revision: u64,
    begin: Begin,
    bookmarks: bool,
    bookmark_every: Duration,
    next_bookmark: Instant,
    end: Instant,
    closing: watch::Receiver<bool>,
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
    let number = |name: &str| {
        let given = call.parameter(name).map(str::parse::<u64>).transpose();
        given.map_err(|_| ApiError::bad_request(format!("{name} is not a number")))
    };
    let revision = number("resourceVersion")?.unwrap_or(0);
    let begin = match (call.flag("sendInitialEvents"), revision) {
        (true, _) => Begin::StateAndBookmark,
        (false, 0) => Begin::State,
        (false, _) => Begin::Changes,
    };
    let seconds = number("timeoutSeconds")?.filter(|seconds| *seconds > 0).unwrap_or(LONGEST);
    // A bookmark's minute is a virtual one, but nobody wants more than one in a real second.
    let bookmark_every = app.pace.real(BOOKMARK).max(Duration::from_secs(1));
    let watcher = Watcher {
        lab: app.lab.clone(),
        kind: target.kind,
        selection,
        revision,
        begin,
        bookmarks: call.flag("allowWatchBookmarks"),
        bookmark_every,
        next_bookmark: Instant::now() + bookmark_every,
        // The client's own clock measures this one.
        end: Instant::now() + Duration::from_secs(seconds),
        closing: app.closing.clone(),
        over: false,
    };
    let lines = stream::unfold(watcher, |mut watcher| async move {
        let lines = watcher.next().await?;
        Some((Ok::<_, Infallible>(lines), watcher))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

impl Watcher {
    /// The next lines; `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.over {
            let (seen, lines) = self.look();
            if !lines.is_empty() {
                return Some(lines.into());
            }
            let bookmark = if self.bookmarks { self.next_bookmark } else { self.end };
            let changed = self.lab.changed_since(seen);
            let on_time = tokio::select! {
                _ = changed => false,
                () = sleep_until(bookmark.min(self.end)) => true,
                _ = self.closing.wait_for(|closing| *closing) => return None,
            };
            if on_time {
                return self.on_time();
            }
        }
        None
    }

    /// A bookmark is due, or the end, which a bookmark comes before.
    fn on_time(&mut self) -> Option<Bytes> {
        let now = Instant::now();
        self.over = now >= self.end;
        self.next_bookmark = now + self.bookmark_every;
        if !self.bookmarks {
            return None;
        }
        Some(
            line("BOOKMARK", &with_kind(self.kind, Bookmark { revision: self.revision, initial_end: false }))
                .into(),
        )
    }

    /// What there is to tell now, and the world's revision of that moment.
    fn look(&mut self) -> (u64, String) {
        let begin = std::mem::replace(&mut self.begin, Begin::Changes);
        let (kind, selection, revision) = (self.kind, &self.selection, self.revision);
        let (seen, last, told) = self.lab.with(|world| {
            let (seen, last) = (world.revision(), world.store.revision());
            let store = &world.store;
            let told = match begin {
                Begin::Changes => with_kind(kind, Changes { store, selection, revision }),
                Begin::State | Begin::StateAndBookmark => {
                    Ok(with_kind(kind, Everything { store, selection }))
                }
            };
            (seen, last, told)
        });
        match told {
            Ok(mut lines) => {
                self.revision = last;
                if begin == Begin::StateAndBookmark {
                    lines.push_str(&line(
                        "BOOKMARK",
                        &with_kind(kind, Bookmark { revision: last, initial_end: true }),
                    ));
                }
                (seen, lines)
            }
            Err(error) => {
                self.over = true;
                let status = serde_json::to_value(error.status()).expect("a Status is plain data");
                (seen, line("ERROR", &status))
            }
        }
    }
}

fn line(kind: &str, object: &Value) -> String {
    let mut line = json!({ "type": kind, "object": object }).to_string();
    line.push('\n');
    line
}

/// Everything there is, as additions.
struct Everything<'a> {
    store: &'a Store,
    selection: &'a Selection,
}

impl KindVisitor for Everything<'_> {
    type Output = String;

    fn visit<T: Stored>(self) -> String {
        let chosen = self.store.list::<T>().filter(|object| self.selection.admits(&***object));
        chosen.map(|object| line("ADDED", &value(&**object))).collect()
    }
}

/// What happened after a revision.
struct Changes<'a> {
    store: &'a Store,
    selection: &'a Selection,
    revision: u64,
}

impl KindVisitor for Changes<'_> {
    type Output = Result<String, ApiError>;

    fn visit<T: Stored>(self) -> Self::Output {
        let changes = self.store.changes_since::<T>(self.revision).map_err(|expired| {
            expired_error(&format!("too old resource version: {} ({})", expired.asked, expired.oldest))
        })?;
        Ok(changes.filter_map(|logged| told(logged, self.selection)).collect())
    }
}

/// The line for a change. An object that comes into a selection is added to it, one that leaves it is deleted from it.
fn told<T: Stored>(logged: &Logged<T>, selection: &Selection) -> Option<String> {
    let was = logged.before.as_ref().is_some_and(|before| selection.admits(&**before));
    let is = logged.change != ChangeType::Deleted && selection.admits(&*logged.object);
    let kind = match (was, is) {
        (false, true) => "ADDED",
        (true, true) => "MODIFIED",
        (true, false) => "DELETED",
        (false, false) => return None,
    };
    Some(line(kind, &value(&*logged.object)))
}

fn value<T: Stored>(object: &T) -> Value {
    serde_json::to_value(object).expect("a Kubernetes object is plain data")
}

/// The object of a bookmark: nothing but how far the watch has come.
struct Bookmark {
    revision: u64,
    initial_end: bool,
}

impl KindVisitor for Bookmark {
    type Output = Value;

    fn visit<T: Stored>(self) -> Value {
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if self.initial_end {
            metadata["annotations"] = json!({ INITIAL_END: "true" });
        }
        json!({ "kind": T::KIND, "apiVersion": T::API_VERSION, "metadata": metadata })
    }
}

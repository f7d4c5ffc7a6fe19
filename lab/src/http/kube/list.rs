//! Lists, in pages where asked for.
//!
//! All pages of a list show the moment of the first. What has changed since is taken back by the log, so a page token is good
//! for as long as the log reaches; after that it is the API's 410, with a token that goes on without that promise.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::app::App;
use super::super::call::{self, Call};
use super::forms::Form;
use super::objects::Shared;
use super::options::{Match, Options};
use super::path::{Place, Target};
use super::select::Selection;
use crate::error::ApiError;
use crate::store::{Expired, Key, KindVisitor, Store, Stored, with_kind};

/// A page token: the moment, and the last object shown. Opaque to clients.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    /// 0 for whatever the moment is then.
    revision: u64,
    namespace: String,
    name: String,
}

impl Continue {
    fn read(token: &str) -> Result<Self, ApiError> {
        let invalid = || ApiError::bad_request("continue key is not valid");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        serde_json::from_slice(&bytes).map_err(|_| invalid())
    }

    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a token is plain data"))
    }
}

/// What a list asks for.
struct Lister<'a> {
    store: &'a Store,
    selection: &'a Selection,
    limit: Option<usize>,
    after: Option<Key>,
    revision: u64,
}

/// What a list shows at once.
struct Page {
    objects: Vec<Shared>,
    /// The last one shown, if there are more.
    last: Option<Key>,
    /// How many more there are, where that is known without looking at them.
    remaining: Option<usize>,
}

pub(super) fn answer(app: &App, call: &Call, target: &Target) -> Result<Response<Body>, ApiError> {
    let kind = target.kind;
    let namespace = match &target.place {
        Place::Namespace(namespace) => Some(namespace.as_str()),
        Place::Everywhere | Place::Object { .. } => None,
    };
    let selection = Selection::of(call, kind, namespace)?;
    let form = Form::of(call)?;
    let options = Options::of(call, false)?;
    let after = call.parameter("continue").map(Continue::read).transpose()?;
    // With resource version 0 the limit is not looked at (Kubernetes: watch cache).
    let limit = options.limit.filter(|_| options.version != Some(0));
    let exact = match options.version_match {
        Some(Match::Exact) => options.version,
        Some(Match::NotOlderThan) => None,
        // As it was before there was a match: a limited list at a version shows that version.
        None => options.version.filter(|version| *version > 0 && limit.is_some()),
    };
    let moment = after.as_ref().map(|after| after.revision).or(exact).filter(|revision| *revision > 0);
    let (page, revision, now) = app.lab.with(|world| {
        let store = &world.store;
        options.check_reached(store.revision())?;
        let revision = moment.unwrap_or_else(|| store.revision());
        let after = after.as_ref().map(|after| Key::new(after.namespace.as_str(), after.name.as_str()));
        let page = with_kind(kind, Lister { store, selection: &selection, limit, after, revision });
        Ok((page, revision, world.now()))
    })?;
    let page = match (page, after) {
        (Ok(page), _) => page,
        (Err(_), Some(after)) => return Ok(token_expired(after)),
        (Err(expired), None) => return Err(expired_error(&expired.to_string())),
    };
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    if let Some(Key { namespace, name }) = page.last {
        metadata["continue"] = Continue { revision, namespace, name }.text().into();
        if let Some(remaining) = page.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    Ok(call::json_bytes(200, form.list(kind, &metadata, &page.objects, now)))
}

fn key<T: Stored>(object: &T) -> Key {
    let meta = object.metadata();
    Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

impl KindVisitor for Lister<'_> {
    type Output = Result<Page, Expired>;

    fn visit<T: Stored>(self) -> Self::Output {
        // What is different now was different then; what is gone stood where it stood.
        let mut past: BTreeMap<Key, Option<Arc<T>>> = BTreeMap::new();
        for logged in self.store.changes_since::<T>(self.revision)? {
            past.entry(key(&*logged.object)).or_insert_with(|| logged.before.clone());
        }
        let start = self.after.clone().or_else(|| self.selection.namespace().map(|n| Key::new(n, "")));
        let place = start.as_ref().map(|start| (start.namespace.as_str(), start.name.as_str()));
        let here = |key: &Key| self.selection.namespace().is_none_or(|namespace| key.namespace == namespace);
        let now = T::table(self.store).iter_after(place).map(|object| (key(&**object), object));
        let now = now.take_while(|(key, _)| here(key)).filter(|(key, _)| !past.contains_key(key));
        let behind = |key: &Key| start.as_ref().is_none_or(|start| key > start);
        let then = past.iter().filter(|(key, _)| behind(key) && here(key));
        let mut then = then.filter_map(|(key, object)| Some((key.clone(), object.as_ref()?))).peekable();
        let mut now = now.peekable();
        let mut all = std::iter::from_fn(|| {
            let past_first = match (now.peek(), then.peek()) {
                (Some((a, _)), Some((b, _))) => b < a,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if past_first { then.next() } else { now.next() }
        })
        .filter(|(_, object)| self.selection.admits(T::KIND_OF, &***object));
        let mut objects: Vec<Shared> = Vec::new();
        let mut last = None;
        let limit = self.limit.unwrap_or(usize::MAX);
        while objects.len() < limit {
            let Some((key, object)) = all.next() else {
                return Ok(Page { objects, last: None, remaining: None });
            };
            let object: Arc<T> = Arc::clone(object);
            objects.push(object);
            last = Some(key);
        }
        if all.next().is_none() {
            return Ok(Page { objects, last: None, remaining: None });
        }
        let remaining = self.selection.is_everything().then(|| all.count() + 1);
        Ok(Page { objects, last, remaining })
    }
}

pub(super) fn expired_error(message: &str) -> ApiError {
    ApiError::new(410, "Expired", message)
}

/// The moment of the first page is forgotten. The list can go on from the same place with what there is now.
fn token_expired(after: Continue) -> Response<Body> {
    let error = expired_error(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let mut status = serde_json::to_value(error.status()).expect("a Status is plain data");
    status["metadata"] = json!({ "continue": Continue { revision: 0, ..after }.text() });
    call::json(error.code, &status)
}

//! Lists, in pages where asked for.
//!
//! All pages of a list show the moment of the first. What has changed since is taken back by the log, so a page token is good
//! for as long as the log reaches; after that it is the API's 410.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::app::App;
use super::super::call::{self, Call};
use super::path::{Place, Target};
use super::select::Selection;
use crate::error::ApiError;
use crate::store::{Expired, Key, KindVisitor, Store, Stored, with_kind};

/// A page token: the moment, and the last object shown. Opaque to clients.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
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
    selection: Selection,
    limit: Option<usize>,
    after: Option<Continue>,
    exact: Option<u64>,
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
    let version = number("resourceVersion")?;
    // With resource version 0 the limit is not looked at (Kubernetes: watch cache).
    let limit = number("limit")?.filter(|limit| *limit > 0 && version != Some(0));
    let after = call.parameter("continue").map(Continue::read).transpose()?;
    let exact = version.filter(|_| call.parameter("resourceVersionMatch") == Some("Exact"));
    let body = app.lab.with(|world| {
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        with_kind(target.kind, Lister { store: &world.store, selection, limit, after, exact })
    })?;
    Ok(call::json_bytes(200, body))
}

impl KindVisitor for Lister<'_> {
    type Output = Result<Vec<u8>, ApiError>;

    fn visit<T: Stored>(self) -> Self::Output {
        let revision = self.after.as_ref().map(|after| after.revision).or(self.exact);
        let revision = revision.unwrap_or_else(|| self.store.revision());
        let place = self.after.as_ref().map(|after| (after.namespace.as_str(), after.name.as_str()));
        let mut rest = at_revision::<T>(self.store, revision, place).map_err(|expired| {
            expired_error(&format!(
                "The provided continue parameter is too old to display a consistent list result ({expired:?})"
            ))
        })?;
        rest.retain(|object| self.selection.admits(&**object));
        let page = self.limit.map_or(rest.len(), |limit| limit.min(rest.len()));
        let mut metadata = json!({ "resourceVersion": revision.to_string() });
        if let Some(last) = page.checked_sub(1).map(|last| key(&*rest[last])).filter(|_| page < rest.len()) {
            let next = Continue { revision, namespace: last.namespace, name: last.name };
            metadata["continue"] = next.text().into();
            if self.selection.is_everything() {
                metadata["remainingItemCount"] = (rest.len() - page).into();
            }
        }
        Ok(body(&metadata, &rest[..page]))
    }
}

fn key<T: Stored>(object: &T) -> Key {
    let meta = object.metadata();
    Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The objects of a kind as they were at a revision, those that come after a place, in order.
fn at_revision<T: Stored>(
    store: &Store,
    revision: u64,
    place: Option<(&str, &str)>,
) -> Result<Vec<Arc<T>>, Expired> {
    let table = T::table(store);
    let now = table.iter_after(place).cloned();
    let mut changes = table.changes_since(revision)?.peekable();
    if changes.peek().is_none() {
        return Ok(now.collect());
    }
    let mut objects: BTreeMap<Key, Arc<T>> = now.map(|object| (key(&*object), object)).collect();
    let changes: Vec<_> = changes.collect();
    for logged in changes.into_iter().rev() {
        let key = key(&*logged.object);
        match &logged.before {
            Some(before) => objects.insert(key, Arc::clone(before)),
            None => objects.remove(&key),
        };
    }
    let is_after = |key: &Key| place.is_none_or(|place| (key.namespace.as_str(), key.name.as_str()) > place);
    Ok(objects.into_iter().filter(|(key, _)| is_after(key)).map(|(_, object)| object).collect())
}

/// The list as the API server writes it: what it says of itself first, then the objects, whose kind and version are said
/// once, by the list. Written directly: a large cluster's pages would spend most of their time as trees.
fn body<T: Stored>(metadata: &Value, objects: &[Arc<T>]) -> Vec<u8> {
    const PLAIN: &str = "Kubernetes objects are plain data";
    let (kind, version) = (T::KIND, T::API_VERSION);
    let mut body =
        format!(r#"{{"kind":"{kind}List","apiVersion":"{version}","metadata":{metadata},"items":["#)
            .into_bytes();
    let typed = format!(r#"{{"apiVersion":"{version}","kind":"{kind}","#);
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        let begin = body.len();
        serde_json::to_writer(&mut body, &**object).expect(PLAIN);
        debug_assert!(
            body[begin..].starts_with(typed.as_bytes()),
            "k8s-openapi writes version and kind first"
        );
        if body[begin..].starts_with(typed.as_bytes()) {
            body.splice(begin..begin + typed.len(), *b"{");
        }
    }
    body.extend_from_slice(b"]}");
    body
}

pub(super) fn expired_error(message: &str) -> ApiError {
    ApiError::new(410, "Expired", message)
}

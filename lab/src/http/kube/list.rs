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
    Ok(call::json(200, &body))
}

impl KindVisitor for Lister<'_> {
    type Output = Result<Value, ApiError>;

    fn visit<T: Stored>(self) -> Self::Output {
        let revision = self.after.as_ref().map(|after| after.revision).or(self.exact);
        let revision = revision.unwrap_or_else(|| self.store.revision());
        let objects = at_revision::<T>(self.store, revision).map_err(|expired| {
            expired_error(&format!(
                "The provided continue parameter is too old to display a consistent list result ({expired:?})"
            ))
        })?;
        let shown_before = |key: &Key| {
            let after = self.after.as_ref();
            after.is_some_and(|after| (&key.namespace, &key.name) <= (&after.namespace, &after.name))
        };
        let all: Vec<_> = objects
            .into_iter()
            .filter(|(key, object)| !shown_before(key) && self.selection.admits(&**object))
            .collect();
        let page = self.limit.map_or(all.len(), |limit| limit.min(all.len()));
        let mut metadata = json!({ "resourceVersion": revision.to_string() });
        if let Some((last, _)) = page.checked_sub(1).map(|last| &all[last]).filter(|_| page < all.len()) {
            let next = Continue { revision, namespace: last.namespace.clone(), name: last.name.clone() };
            metadata["continue"] = next.text().into();
            if self.selection.is_everything() {
                metadata["remainingItemCount"] = (all.len() - page).into();
            }
        }
        let items: Vec<Value> = all[..page].iter().map(|(_, object)| item(&**object)).collect();
        Ok(json!({
            "kind": format!("{}List", T::KIND), "apiVersion": T::API_VERSION, "metadata": metadata, "items": items,
        }))
    }
}

/// The objects of a kind as they were at a revision.
fn at_revision<T: Stored>(store: &Store, revision: u64) -> Result<BTreeMap<Key, Arc<T>>, Expired> {
    let key = |object: &T| {
        let meta = object.metadata();
        Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    };
    let mut objects: BTreeMap<Key, Arc<T>> =
        store.list::<T>().map(|object| (key(object), Arc::clone(object))).collect();
    let changes: Vec<_> = store.changes_since::<T>(revision)?.collect();
    for logged in changes.into_iter().rev() {
        let key = key(&logged.object);
        match &logged.before {
            Some(before) => objects.insert(key, Arc::clone(before)),
            None => objects.remove(&key),
        };
    }
    Ok(objects)
}

/// An object inside a list: kind and version are said once, by the list.
fn item<T: Stored>(object: &T) -> Value {
    let mut value = serde_json::to_value(object).expect("a Kubernetes object is plain data");
    if let Some(members) = value.as_object_mut() {
        members.remove("apiVersion");
        members.remove("kind");
    }
    value
}

pub(super) fn expired_error(message: &str) -> ApiError {
    ApiError::new(410, "Expired", message)
}

//! Deletion, of one object and of many.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::json;
use upgrade_core::access::Right;

use super::super::app::App;
use super::super::call::{self, Call};
use super::forms::Form;
use super::objects::{Shared, shown};
use super::path::{Place, Target};
use super::select::Selection;
use super::verbs::{Outcome, json_body};
use super::write::At;
use super::{method_not_allowed, unreadable};
use crate::error::ApiError;
use crate::kube::api::{is_dry_run, labels_of};
use crate::kube::removal::Removal;
use crate::store::{Kind, KindVisitor, Stored, with_kind};
use crate::world::World;

/// The options of a deletion: the body's, and over them the query's.
pub(super) fn options(call: &Call, body: &[u8], dry_run: bool) -> Result<DeleteOptions, ApiError> {
    let mut options = if body.is_empty() {
        DeleteOptions::default()
    } else {
        serde_json::from_slice(json_body(call, body)?).map_err(|error| unreadable(&error))?
    };
    if let Some(seconds) = call.parameter("gracePeriodSeconds") {
        let seconds =
            seconds.parse().map_err(|_| ApiError::bad_request("gracePeriodSeconds is not a number"))?;
        options.grace_period_seconds = Some(seconds);
    }
    if options.propagation_policy.is_none() {
        options.propagation_policy = call.parameter("propagationPolicy").map(str::to_owned);
    }
    if options.orphan_dependents.is_none() && call.parameter("orphanDependents").is_some() {
        options.orphan_dependents = Some(call.flag("orphanDependents"));
    }
    if dry_run {
        options.dry_run = Some(vec!["All".to_owned()]);
    }
    Ok(options)
}

/// An object that was deleted or told to go, as it was last.
struct Removed {
    gone: bool,
    object: Shared,
}

struct Remove<'a> {
    world: &'a mut World,
    namespace: &'a str,
    name: &'a str,
    options: &'a DeleteOptions,
}

impl KindVisitor for Remove<'_> {
    type Output = Result<Removed, ApiError>;

    fn visit<T: Stored>(self) -> Self::Output {
        let removal = self.world.remove::<T>(self.namespace, self.name, Some(self.options))?;
        let gone = matches!(removal, Removal::Gone(_));
        let object: Arc<T> = Arc::clone(removal.object());
        Ok(Removed { gone, object })
    }
}

/// Deletes one object. What stays for a while is shown, and so is a pod; of what is gone the answer says that it was there.
pub(super) fn one(world: &mut World, at: &At<'_>, options: &DeleteOptions) -> Result<Outcome, ApiError> {
    let At { kind, namespace, name, .. } = *at;
    let Removed { gone, object } = with_kind(kind, Remove { world, namespace, name, options })?;
    let object = shown(kind, &*object);
    if !gone || kind == Kind::Pod {
        return Ok(Outcome { status: 200, body: object, warnings: Vec::new(), is_object: true });
    }
    let names = kind.names();
    let details = json!({
        "name": name, "kind": names.plural, "group": names.group, "uid": object["metadata"]["uid"],
    });
    Ok(Outcome::other(
        200,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
        }),
    ))
}

/// Which objects of a collection are meant, by name.
struct Chosen<'a>(&'a World, &'a Selection);

impl KindVisitor for Chosen<'_> {
    type Output = Vec<(String, String)>;

    fn visit<T: Stored>(self) -> Self::Output {
        let chosen = self.0.store.list::<T>().filter(|object| self.1.admits(T::KIND_OF, &***object));
        chosen
            .map(|object| {
                let meta = object.metadata();
                (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
            })
            .collect()
    }
}

/// Deletes every object that a list would show.
pub(super) fn all(
    app: &App,
    call: &Call,
    target: &Target,
    right: &Right,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let kind = target.kind;
    let namespace = match &target.place {
        Place::Namespace(namespace) => Some(namespace.as_str()),
        Place::Everywhere if !kind.is_namespaced() && kind != Kind::Namespace => None,
        Place::Everywhere | Place::Object { .. } => return Err(method_not_allowed()),
    };
    let selection = Selection::of(call, kind, namespace)?;
    let form = Form::of(call)?;
    let options = options(call, body, call.parameter("dryRun") == Some("All"))?;
    app.lab.with(|world| {
        let mut items = Vec::new();
        for (namespace, name) in with_kind(kind, Chosen(world, &selection)) {
            let labels = labels_of(&world.store, kind, &namespace, &name);
            world.admit(right, &labels, is_dry_run(Some(&options)))?;
            match with_kind(kind, Remove { world, namespace: &namespace, name: &name, options: &options }) {
                Ok(removal) => items.push(removal.object),
                // The deletion of another object may have taken it along.
                Err(error) if error.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let metadata = json!({ "resourceVersion": world.store.revision().to_string() });
        Ok(call::json_bytes(200, form.list(kind, &metadata, &items, world.now())))
    })
}

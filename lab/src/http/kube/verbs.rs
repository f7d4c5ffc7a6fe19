//! The verbs on one object, and creation.

use std::any::Any;
use std::sync::Arc;

use axum::http::Method;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Time};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::call::Call;
use super::discovery::has_status;
use super::path::{Part, Place, Target};
use super::{method_not_allowed, patch, unreadable};
use crate::error::ApiError;
use crate::kube::api::{check_preconditions, is_dry_run, on_store};
use crate::kube::lease_is_valid;
use crate::store::{Kind, KindVisitor, Store, Stored};
use crate::world::World;

/// What is to be done, with its body read.
pub(super) enum Verb {
    Get,
    Create { object: Value, dry_run: bool },
    Update { object: Value, dry_run: bool },
    Patch { patch: Value, strategic: bool, dry_run: bool },
    Delete(DeleteOptions),
    Evict(DeleteOptions),
}

impl Verb {
    pub(super) fn of(call: &Call, target: &Target, body: &[u8]) -> Result<Self, ApiError> {
        let part = match &target.place {
            Place::Object { part, .. } => Some(*part),
            Place::Everywhere | Place::Namespace(_) => None,
        };
        let dry_run = match call.parameter("dryRun") {
            None => false,
            Some("All") => true,
            Some(other) => return Err(ApiError::bad_request(format!("Invalid dryRun: {other}"))),
        };
        let object = || serde_json::from_slice::<Value>(body).map_err(|error| unreadable(&error));
        match (&call.method, part) {
            (&Method::GET, Some(Part::Whole | Part::Status)) => Ok(Self::Get),
            (&Method::POST, None) if target.kind.is_namespaced() == (target.place != Place::Everywhere) => {
                Ok(Self::Create { object: object()?, dry_run })
            }
            (&Method::POST, Some(Part::Eviction)) => Ok(Self::Evict(eviction(body, target, dry_run)?)),
            (&Method::PUT, Some(Part::Whole | Part::Status)) => {
                Ok(Self::Update { object: object()?, dry_run })
            }
            (&Method::PATCH, Some(Part::Whole | Part::Status)) => {
                let strategic = match call.content_type() {
                    "application/merge-patch+json" => false,
                    "application/strategic-merge-patch+json" => true,
                    other => {
                        let message = format!(
                            "the body of the request was in an unknown format - accepted media types include: application/merge-patch+json, application/strategic-merge-patch+json (got {other})"
                        );
                        return Err(ApiError::new(415, "UnsupportedMediaType", message));
                    }
                };
                Ok(Self::Patch { patch: object()?, strategic, dry_run })
            }
            (&Method::DELETE, Some(Part::Whole)) => Ok(Self::Delete(delete_options(call, body, dry_run)?)),
            _ => Err(method_not_allowed()),
        }
    }
}

fn delete_options(call: &Call, body: &[u8], dry_run: bool) -> Result<DeleteOptions, ApiError> {
    let mut options = if body.is_empty() {
        DeleteOptions::default()
    } else {
        serde_json::from_slice(body).map_err(|error| unreadable(&error))?
    };
    if let Some(seconds) = call.parameter("gracePeriodSeconds") {
        let seconds =
            seconds.parse().map_err(|_| ApiError::bad_request("gracePeriodSeconds is not a number"))?;
        options.grace_period_seconds = Some(seconds);
    }
    if options.propagation_policy.is_none() {
        options.propagation_policy = call.parameter("propagationPolicy").map(str::to_owned);
    }
    if options.propagation_policy.as_deref() == Some("Orphan") || options.orphan_dependents == Some(true) {
        return Err(ApiError::new(501, "NotImplemented", "the lab does not model orphaning"));
    }
    if dry_run {
        options.dry_run = Some(vec!["All".to_owned()]);
    }
    Ok(options)
}

/// The body of an eviction; both versions of the kind are accepted (Kubernetes: `AcceptsGroupVersion`).
fn eviction(body: &[u8], target: &Target, dry_run: bool) -> Result<DeleteOptions, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Eviction {
        api_version: String,
        kind: String,
        #[serde(default)]
        metadata: Name,
        delete_options: Option<DeleteOptions>,
    }
    #[derive(Default, Deserialize)]
    struct Name {
        name: Option<String>,
    }
    let eviction: Eviction = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let known = matches!(eviction.api_version.as_str(), "policy/v1" | "policy/v1beta1");
    if !known || eviction.kind != "Eviction" {
        return Err(ApiError::bad_request("the object provided is not an Eviction"));
    }
    let Place::Object { name, .. } = &target.place else { return Err(method_not_allowed()) };
    if eviction.metadata.name.is_some_and(|given| given != *name) {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut options = eviction.delete_options.unwrap_or_default();
    if dry_run {
        options.dry_run = Some(vec!["All".to_owned()]);
    }
    Ok(options)
}

impl Verb {
    /// Does it change anything?
    pub(super) fn writes(&self) -> bool {
        !matches!(self, Self::Get)
    }

    /// Is it only tried?
    pub(super) fn is_dry_run(&self) -> bool {
        match self {
            Self::Get => false,
            Self::Create { dry_run, .. } | Self::Update { dry_run, .. } | Self::Patch { dry_run, .. } => {
                *dry_run
            }
            Self::Delete(options) | Self::Evict(options) => is_dry_run(Some(options)),
        }
    }
}

/// A verb on its way to a kind.
pub(super) struct Act<'a> {
    pub(super) world: &'a mut World,
    pub(super) target: &'a Target,
    pub(super) verb: Verb,
}

impl KindVisitor for Act<'_> {
    type Output = Result<(u16, Value), ApiError>;

    fn visit<T: Stored>(self) -> Self::Output {
        let Self { world, target, verb } = self;
        let (namespace, name, part) = match &target.place {
            Place::Everywhere => ("", "", Part::Whole),
            Place::Namespace(namespace) => (namespace.as_str(), "", Part::Whole),
            Place::Object { namespace, name, part } => (namespace.as_str(), name.as_str(), *part),
        };
        let at = At { namespace, name, part };
        match verb {
            Verb::Get => Ok((200, shown(&**world.store.find::<T>(namespace, name)?))),
            Verb::Create { object, dry_run } => {
                let created = on_store(world, dry_run, |store| create::<T>(store, namespace, object))?;
                Ok((201, shown(&*created)))
            }
            Verb::Update { object, dry_run } => {
                // A lease may come into being by an update (Kubernetes: AllowCreateOnUpdate).
                if T::KIND_OF == Kind::Lease && world.store.get::<T>(namespace, name).is_none() {
                    // A uid asks for one that is there.
                    if let Some(uid) = object.pointer("/metadata/uid").and_then(Value::as_str) {
                        return Err(ApiError::wrong_uid::<T>(name, uid, ""));
                    }
                    let created = on_store(world, dry_run, |store| create::<T>(store, namespace, object))?;
                    return Ok((201, shown(&*created)));
                }
                let updated = on_store(world, dry_run, |store| update::<T>(store, &at, object))?;
                Ok((200, shown(&*updated)))
            }
            Verb::Patch { patch, strategic, dry_run } => {
                let patched =
                    on_store(world, dry_run, |store| apply_patch::<T>(store, &at, patch, strategic))?;
                Ok((200, shown(&*patched)))
            }
            Verb::Delete(options) if T::KIND_OF == Kind::Pod => {
                let pod = world.delete_pod(namespace, name, Some(&options))?;
                Ok((200, shown(&*pod)))
            }
            Verb::Delete(options) => delete::<T>(world, namespace, name, &options),
            Verb::Evict(options) => {
                world.evict(namespace, name, Some(&options))?;
                Ok((
                    201,
                    json!({
                        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
                    }),
                ))
            }
        }
    }
}

/// One object, and which part of it.
struct At<'a> {
    namespace: &'a str,
    name: &'a str,
    part: Part,
}

fn shown<T: Stored>(object: &T) -> Value {
    serde_json::to_value(object).expect("a Kubernetes object is plain data")
}

fn read<T: Stored>(value: Value) -> Result<T, ApiError> {
    serde_json::from_value(value).map_err(|error| unreadable(&error))
}

/// An object that somebody wants written, if the API server would take it.
fn admissible<T: Stored>(value: Value) -> Result<T, ApiError> {
    let object: T = read(value)?;
    if let Some(lease) = (&object as &dyn Any).downcast_ref::<Lease>() {
        lease_is_valid(lease)?;
    }
    Ok(object)
}

/// DNS names, the rule of all kinds' names.
fn is_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.len() <= 253 && name.bytes().all(inside) && edge(name.bytes().next()) && edge(name.bytes().last())
}

fn create<T: Stored>(store: &mut Store, namespace: &str, mut object: Value) -> Result<Arc<T>, ApiError> {
    if let Some(members) = object.as_object_mut()
        && has_status(T::KIND_OF)
    {
        // The status is its controllers' to write.
        members.remove("status");
    }
    let mut object: T = admissible(object)?;
    let meta = object.metadata_mut();
    if T::KIND_OF.is_namespaced() {
        let given = meta.namespace.get_or_insert_with(|| namespace.to_owned());
        if given != namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    } else {
        meta.namespace = None;
    }
    if meta.resource_version.as_ref().is_some_and(|version| !version.is_empty()) {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let name = meta.name.clone().filter(|name| !name.is_empty());
    meta.name.clone_from(&name);
    // A name from another cluster's object is adopted by scenarios only.
    meta.uid = None;
    meta.creation_timestamp = None;
    meta.generation = None;
    let checked = name.or_else(|| meta.generate_name.as_ref().map(|stem| format!("{stem}x")));
    if let Some(name) = checked.filter(|name| !is_name(name)) {
        let why = format!(
            "metadata.name: Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
        );
        return Err(ApiError::invalid::<T>(&name, &why));
    }
    store.create(object)
}

fn update<T: Stored>(store: &mut Store, at: &At<'_>, object: Value) -> Result<Arc<T>, ApiError> {
    let given = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if given != at.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            at.name
        )));
    }
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    if version.is_empty() && T::KIND_OF == Kind::Lease {
        let why = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update";
        return Err(ApiError::invalid::<T>(at.name, why));
    }
    let before = shown(&**store.find::<T>(at.namespace, at.name)?);
    write(store, at, &before, object)
}

fn apply_patch<T: Stored>(
    store: &mut Store,
    at: &At<'_>,
    given: Value,
    strategic: bool,
) -> Result<Arc<T>, ApiError> {
    if !given.is_object() {
        return Err(ApiError::bad_request("the patch is not an object"));
    }
    let before = shown(&**store.find::<T>(at.namespace, at.name)?);
    let mut after = before.clone();
    if strategic {
        patch::strategic(&mut after, given);
    } else {
        patch::merge(&mut after, given);
    }
    write(store, at, &before, after)
}

/// Writes what an object shall be. A version or uid in it that is not the object's is a conflict; the status is written only
/// through its own path, and nothing else is written there.
fn write<T: Stored>(
    store: &mut Store,
    at: &At<'_>,
    before: &Value,
    mut after: Value,
) -> Result<Arc<T>, ApiError> {
    let text = |value: &Value, member: &str| {
        value.pointer(&format!("/metadata/{member}")).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (uid, own) = (text(&after, "uid"), text(before, "uid"));
    if !uid.is_empty() && uid != own {
        return Err(ApiError::wrong_uid::<T>(at.name, &uid, &own));
    }
    let version = text(&after, "resourceVersion");
    if !version.is_empty() && version != text(before, "resourceVersion") {
        return Err(ApiError::stale::<T>(at.name));
    }
    if has_status(T::KIND_OF) {
        let (base, other) = match at.part {
            Part::Status => (before.clone(), after["status"].take()),
            Part::Whole | Part::Eviction => {
                let status = before.get("status").cloned().unwrap_or(Value::Null);
                (after, status)
            }
        };
        after = base;
        match (after.as_object_mut(), other) {
            (Some(members), Value::Null) => drop(members.remove("status")),
            (Some(members), status) => drop(members.insert("status".to_owned(), status)),
            (None, _) => {}
        }
    } else if at.part == Part::Status {
        return Err(method_not_allowed());
    }
    let mut after: T = admissible(after)?;
    let deletion = read::<T>(before.clone())?.metadata().deletion_timestamp.clone();
    after.metadata_mut().deletion_timestamp.clone_from(&deletion);
    let written = store.try_update::<T>(at.namespace, at.name, |object| {
        *object = after;
        Ok(())
    })?;
    let finalized = written.metadata().finalizers.as_ref().is_none_or(Vec::is_empty);
    if deletion.is_some() && finalized && T::KIND_OF != Kind::Pod {
        return store.delete(at.namespace, at.name);
    }
    Ok(written)
}

fn delete<T: Stored>(
    world: &mut World,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<(u16, Value), ApiError> {
    if T::KIND_OF == Kind::Namespace {
        return Err(ApiError::new(
            501,
            "NotImplemented",
            "the lab does not model the deletion of a namespace",
        ));
    }
    let object = Arc::clone(world.store.find::<T>(namespace, name)?);
    let meta = object.metadata();
    check_preconditions::<T>(name, meta, Some(options))?;
    let dry_run = is_dry_run(Some(options));
    if meta.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty()) {
        let time: Time = world.store.time();
        let marked = on_store(world, dry_run, |store| {
            store.update::<T>(namespace, name, |object| {
                object.metadata_mut().deletion_timestamp.get_or_insert(time);
            })
        })?;
        return Ok((200, shown(&*marked)));
    }
    on_store(world, dry_run, |store| store.delete::<T>(namespace, name))?;
    let details = json!({ "name": name, "kind": T::URL_PATH_SEGMENT, "group": T::GROUP, "uid": meta.uid });
    Ok((
        200,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
        }),
    ))
}

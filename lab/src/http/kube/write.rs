//! Creation and change of objects of any kind, as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::objects::{Shared, erase, fetch, insert, replace, with_defaults};
use super::patch::Patch;
use super::path::Part;
use super::strict::FieldValidation;
use super::{defaults, rules};
use crate::error::{ApiError, Cause};
use crate::kube::namespace_takes;
use crate::store::{Kind, Store};

/// One object, and which part of it.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) kind: Kind,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) part: Part,
}

fn meta<'a>(object: &'a Value, member: &str) -> &'a str {
    object.get("metadata").and_then(|meta| meta.get(member)).and_then(Value::as_str).unwrap_or_default()
}

/// Creates an object in the namespace of `at`.
pub(super) fn create(store: &mut Store, at: &At<'_>, object: Value) -> Result<Shared, ApiError> {
    let object = prepare(store, at, object)?;
    insert(store, at.kind, object)
}

/// An object that may be created in the namespace of `at`, with its defaults.
pub(super) fn prepare(store: &Store, at: &At<'_>, mut object: Value) -> Result<Value, ApiError> {
    let kind = at.kind;
    if !meta(&object, "resourceVersion").is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let given = meta(&object, "namespace").to_owned();
    if kind.is_namespaced() && !given.is_empty() && given != at.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let members = object.as_object_mut().expect("its fields were checked");
    if kind.has_status() {
        // The status is its controllers' to write.
        members.remove("status");
    }
    let metadata = members.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        // The server's own. A uid is kept only where a scenario brings it.
        for own in
            ["uid", "creationTimestamp", "deletionTimestamp", "generation", "managedFields", "selfLink"]
        {
            metadata.remove(own);
        }
        if kind.is_namespaced() {
            metadata.insert("namespace".to_owned(), at.namespace.into());
        } else {
            metadata.remove("namespace");
        }
        if metadata.get("name").is_some_and(|name| name == "") {
            metadata.remove("name");
        }
    }
    take_in_texts(kind, &mut object);
    object = with_defaults(kind, object);
    rules::check_new(kind, &object)?;
    if kind == Kind::Namespace {
        // What keeps a namespace until it is empty.
        object["spec"]["finalizers"] = ["kubernetes"].into_iter().collect();
    }
    if kind.is_namespaced() {
        namespace_takes(store, kind.names(), at.namespace, meta(&object, "name"))?;
    }
    Ok(object)
}

/// A Secret's `stringData` is for writing only: it becomes data.
fn take_in_texts(kind: Kind, object: &mut Value) {
    let texts = if kind == Kind::Secret { object["stringData"].take() } else { Value::Null };
    for (name, text) in texts.as_object().into_iter().flatten() {
        object["data"][name] = STANDARD.encode(text.as_str().unwrap_or_default()).into();
    }
}

/// Replaces an object.
pub(super) fn update(store: &mut Store, at: &At<'_>, object: Value) -> Result<Shared, ApiError> {
    let given = meta(&object, "name");
    if given != at.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            at.name
        )));
    }
    if meta(&object, "resourceVersion").is_empty() && at.kind == Kind::Lease {
        let fault = Cause {
            reason: "FieldValueInvalid".to_owned(),
            message: "Invalid value: 0x0: must be specified for an update".to_owned(),
            field: Some("metadata.resourceVersion".to_owned()),
        };
        return Err(ApiError::invalid(at.kind.names(), at.name, vec![fault]));
    }
    let before = fetch(store, at.kind, at.namespace, at.name)?.json();
    write(store, at, &before, object)
}

/// Changes a part of an object; gives what is to be said about fields that nobody knows, too.
pub(super) fn patch(
    store: &mut Store,
    at: &At<'_>,
    patch: Patch,
    fields: FieldValidation,
) -> Result<(Vec<String>, Shared), ApiError> {
    let before = fetch(store, at.kind, at.namespace, at.name)?.json();
    let after = patch.apply(at.kind, with_defaults(at.kind, before.clone()))?;
    let warnings = fields.check(at.kind, &after)?;
    // A uid in a patch is no precondition, but a change that nobody may make.
    if meta(&after, "uid") != meta(&before, "uid") {
        let message = format!("Invalid value: {}: field is immutable", after["metadata"]["uid"]);
        let field = Some("metadata.uid".to_owned());
        let fault = Cause { reason: "FieldValueInvalid".to_owned(), message, field };
        return Err(ApiError::invalid(at.kind.names(), at.name, vec![fault]));
    }
    Ok((warnings, write(store, at, &before, after)?))
}

/// Writes what an object shall be. A version or uid in it that is not the object's is a conflict; the status is written only
/// through its own path, and nothing else is written there.
fn write(store: &mut Store, at: &At<'_>, before: &Value, mut after: Value) -> Result<Shared, ApiError> {
    let kind = at.kind;
    check_same(at, before, &after)?;
    let seen = with_defaults(kind, before.clone());
    if kind.has_status() {
        let (mut base, status) = match at.part {
            Part::Status => (seen.clone(), after["status"].take()),
            _ => (after, seen.get("status").cloned().unwrap_or(Value::Null)),
        };
        base["status"] = status;
        after = base;
    }
    // A client that does not say when the object was told to go does not take it back.
    for own in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        after["metadata"][own] = before["metadata"].get(own).cloned().unwrap_or(Value::Null);
    }
    take_in_texts(kind, &mut after);
    let after = with_defaults(kind, after);
    if at.part != Part::Status {
        rules::check_change(kind, &seen, &after)?;
    }
    let kept = defaults::take_back(Some(before), &seen, after).expect("the object is stored");
    let written = replace(store, kind, at.namespace, at.name, kept)?;
    let meta = written.meta();
    let going = meta.deletion_timestamp.is_some() && meta.finalizers.as_ref().is_none_or(Vec::is_empty);
    // A pod's own grace keeps it, too.
    let ends = going && meta.deletion_grace_period_seconds.unwrap_or_default() == 0;
    if ends && kind != Kind::Namespace && !store.is_trial() {
        return erase(store, kind, at.namespace, at.name);
    }
    Ok(written)
}

/// Is it the object that the client has read?
fn check_same(at: &At<'_>, before: &Value, after: &Value) -> Result<(), ApiError> {
    let names = at.kind.names();
    let (uid, own) = (meta(after, "uid"), meta(before, "uid"));
    if !uid.is_empty() && uid != own {
        return Err(ApiError::wrong_uid_of(names, at.name, uid, own));
    }
    let version = meta(after, "resourceVersion");
    if !version.is_empty() && version != meta(before, "resourceVersion") {
        return Err(ApiError::stale_of(names, at.name));
    }
    Ok(())
}

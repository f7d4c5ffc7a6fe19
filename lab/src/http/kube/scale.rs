//! The subresource `scale`: the size of a workload, without knowing what kind it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};

use super::objects::{AnyObject, Shared, fetch, shown};
use super::patch::Patch;
use super::path::Part;
use super::strict::FieldValidation;
use super::verbs::{Outcome, Verb};
use super::write::{self, At};
use super::{method_not_allowed, unreadable};
use crate::error::{ApiError, Cause};
use crate::kube::api::on_store;
use crate::store::Store;
use crate::world::World;

/// What a scale shall be.
enum Wanted {
    This(Value),
    Patched(Patch),
}

pub(super) fn carry_out(verb: Verb, world: &mut World, at: &At<'_>) -> Result<Outcome, ApiError> {
    let (dry_run, wanted) = match verb {
        Verb::Get => {
            return Ok(Outcome::other(200, of(at, &*fetch(&world.store, at.kind, at.namespace, at.name)?)?));
        }
        Verb::Update { object, dry_run, .. } => (dry_run, Wanted::This(object)),
        Verb::Patch { patch, dry_run, .. } => (dry_run, Wanted::Patched(patch)),
        Verb::Create { .. } | Verb::Delete(_) | Verb::Evict(_) | Verb::Bind { .. } => {
            return Err(method_not_allowed());
        }
    };
    on_store(world, dry_run, |store| {
        let scale = match wanted {
            Wanted::This(scale) => scale,
            // A scale has no lists, so that every kind's rules are the same for it.
            Wanted::Patched(patch) => {
                let now = of(at, &*fetch(store, at.kind, at.namespace, at.name)?)?;
                patch.apply(at.kind, now)?
            }
        };
        let written = set(store, at, &scale)?;
        Ok(Outcome::other(200, of(at, &*written)?))
    })
}

/// The scale of an object.
fn of(at: &At<'_>, object: &dyn AnyObject) -> Result<Value, ApiError> {
    let object = shown(at.kind, object);
    let mut metadata = json!({});
    for member in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata[member] = object["metadata"][member].clone();
    }
    let selector: LabelSelector =
        serde_json::from_value(object["spec"]["selector"].clone()).map_err(|error| unreadable(&error))?;
    Ok(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": { "replicas": object["spec"]["replicas"] },
        "status": {
            "replicas": object.pointer("/status/replicas").cloned().unwrap_or_else(|| 0.into()),
            "selector": selector_text(&selector),
        },
    }))
}

fn set(store: &mut Store, at: &At<'_>, scale: &Value) -> Result<Shared, ApiError> {
    let text = |member: &str| scale["metadata"][member].as_str().unwrap_or_default();
    if scale["kind"] != "Scale" || text("name") != at.name {
        return Err(ApiError::bad_request("the object provided is not the Scale of the object on the URL"));
    }
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or_default();
    if replicas < 0 {
        let message = format!("Invalid value: {replicas}: must be greater than or equal to 0");
        let field = Some("spec.replicas".to_owned());
        let fault = Cause { reason: "FieldValueInvalid".to_owned(), message, field };
        return Err(ApiError::invalid(at.kind.names(), at.name, vec![fault]));
    }
    let mut patch = json!({ "spec": { "replicas": replicas }, "metadata": {} });
    for member in ["uid", "resourceVersion"] {
        if !text(member).is_empty() {
            patch["metadata"][member] = text(member).into();
        }
    }
    let whole = At { part: Part::Whole, ..*at };
    let (_, written) = write::patch(store, &whole, Patch::Merge(patch), FieldValidation::Ignore)?;
    Ok(written)
}

/// A selector as a query has it: `app=web,tier in (a,b)`.
pub(super) fn selector_text(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let values = expression.values.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(",");
        let key = &expression.key;
        match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

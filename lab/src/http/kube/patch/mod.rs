//! The three ways to change a part of an object: JSON merge patch, strategic merge patch, JSON patch.

mod operations;
mod strategic;

use serde_json::{Map, Value};

use super::objects::parse;
use crate::error::{ApiError, Cause};
use crate::store::Kind;

/// A patch with its body read.
#[derive(Debug)]
pub(super) enum Patch {
    /// RFC 7396.
    Merge(Value),
    /// Kubernetes' own.
    Strategic(Value),
    /// RFC 6902.
    Operations(Vec<operations::Operation>),
}

impl Patch {
    /// From a body of this type.
    pub(super) fn of(content_type: &str, body: &[u8]) -> Result<Self, ApiError> {
        let object = || {
            let patch = parse(body)?;
            let whole = patch.is_object();
            whole.then_some(patch).ok_or_else(|| ApiError::bad_request("the patch is not an object"))
        };
        match content_type {
            "application/merge-patch+json" => Ok(Self::Merge(object()?)),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic(object()?)),
            "application/json-patch+json" => operations::read(body).map(Self::Operations),
            other => {
                // Server-side apply (`application/apply-patch+yaml`) is among the others.
                let message = format!(
                    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json (got {other})"
                );
                Err(ApiError::new(415, "UnsupportedMediaType", message))
            }
        }
    }

    /// What an object of the kind becomes.
    pub(super) fn apply(self, kind: Kind, mut object: Value) -> Result<Value, ApiError> {
        match self {
            Self::Merge(patch) => merge(&mut object, patch),
            Self::Strategic(patch) => strategic::apply(kind, &mut object, patch),
            Self::Operations(operations) => {
                operations::apply(&mut object, operations).map_err(|message| {
                    let cause = Cause { reason: "UnexpectedServerResponse".to_owned(), message, field: None };
                    let words = "the server rejected our request due to an error in our request";
                    ApiError { causes: vec![cause], ..ApiError::new(422, "Invalid", words) }
                })?;
            }
        }
        Ok(object)
    }
}

/// Applies a merge patch: objects merge, `null` removes, everything else replaces.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    let object = as_object(target);
    for (name, value) in patch {
        if value.is_null() {
            object.remove(&name);
        } else {
            merge(object.entry(name).or_insert(Value::Null), value);
        }
    }
}

fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made one")
}

#[cfg(test)]
mod tests;

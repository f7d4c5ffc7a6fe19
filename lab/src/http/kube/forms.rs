//! In which form a client wants its answer: the object, its metadata alone, or a table for people (`Accept: ...;as=Table`).

use serde_json::{Value, json};

use super::super::call::Call;
use super::objects::{Shared, shown};
use super::table;
use crate::error::ApiError;
use crate::store::Kind;
use jiff::Timestamp;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Object,
    /// `PartialObjectMetadata`.
    Metadata,
    Table {
        /// How much of an object stands beside its row.
        include: Include,
    },
}

/// The query parameter `includeObject` of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Form {
    /// The first form the client accepts that there is.
    pub(super) fn of(call: &Call) -> Result<Self, ApiError> {
        let accepted = call.header("accept").unwrap_or_default();
        if accepted.is_empty() {
            return Ok(Self::Object);
        }
        let include = match call.parameter("includeObject") {
            None | Some("Metadata") => Include::Metadata,
            Some("None") => Include::Nothing,
            Some("Object") => Include::Object,
            Some(other) => {
                return Err(ApiError::bad_request(format!("unrecognized includeObject value: {other:?}")));
            }
        };
        let form = accepted.split(',').find_map(|media| {
            let mut parts = media.split(';').map(str::trim);
            if !matches!(parts.next()?, "application/json" | "application/*" | "*/*") {
                return None;
            }
            let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
            let find = |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            match (find("as"), find("g"), find("v")) {
                (None, _, _) => Some(Self::Object),
                (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Some(Self::Table { include }),
                (
                    Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                    Some("meta.k8s.io"),
                    Some("v1"),
                ) => Some(Self::Metadata),
                _ => None,
            }
        });
        form.ok_or_else(|| {
            let message = "only the following media types are accepted: application/json";
            ApiError::new(406, "NotAcceptable", message)
        })
    }

    /// One object in this form.
    pub(super) fn object(self, kind: Kind, object: Value, now: Timestamp) -> Value {
        match self {
            Self::Object => object,
            Self::Metadata => metadata_of(object),
            Self::Table { include } => {
                let list = json!({ "resourceVersion": object.pointer("/metadata/resourceVersion") });
                table::of(kind, &list, vec![object], include, now)
            }
        }
    }

    /// A list in this form, as JSON. One object after another: a large cluster's pages would spend most of their time as trees.
    pub(super) fn list(self, kind: Kind, metadata: &Value, objects: &[Shared], now: Timestamp) -> Vec<u8> {
        let names = kind.names();
        let shown = objects.iter().map(|object| shown(kind, &**object));
        match self {
            Self::Object => {
                items(&format!("{}List", names.kind), names.api_version, metadata, shown.map(item))
            }
            Self::Metadata => {
                items("PartialObjectMetadataList", "meta.k8s.io/v1", metadata, shown.map(metadata_of))
            }
            Self::Table { include } => {
                table::of(kind, metadata, shown.collect(), include, now).to_string().into_bytes()
            }
        }
    }
}

fn items(kind: &str, version: &str, metadata: &Value, objects: impl Iterator<Item = Value>) -> Vec<u8> {
    let mut body =
        format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":{metadata},"items":["#).into_bytes();
    for (place, object) in objects.enumerate() {
        if place > 0 {
            body.push(b',');
        }
        serde_json::to_writer(&mut body, &object).expect("a Kubernetes object is plain data");
    }
    body.extend_from_slice(b"]}");
    body
}

/// What a client that knows no kinds needs.
pub(super) fn metadata_of(mut object: Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"].take(),
    })
}

/// An object inside a list: kind and version are said once, by the list.
fn item(mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.remove("apiVersion");
        members.remove("kind");
    }
    object
}

//! The verbs on one object, and creation.

use axum::http::Method;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde::Deserialize;
use serde_json::{Value, json};
use upgrade_core::model::Labels;

use super::super::call::Call;
use super::objects::{self, AnyObject, parse, shown};
use super::patch::Patch;
use super::path::{Part, Place, Target};
use super::strict::FieldValidation;
use super::{method_not_allowed, remove, scale, unreadable, write};
use crate::error::ApiError;
use crate::kube::api::{is_dry_run, labels_of, on_store};
use crate::store::{Kind, Store};
use crate::world::World;

/// What is to be done, with its body read.
pub(super) enum Verb {
    Get,
    Create { object: Value, fields: FieldValidation, dry_run: bool },
    Update { object: Value, fields: FieldValidation, dry_run: bool },
    Patch { patch: Patch, fields: FieldValidation, dry_run: bool },
    Delete(DeleteOptions),
    Evict(DeleteOptions),
    Bind { node: String },
}

/// What has come of a verb.
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) body: Value,
    /// Words for the client's user, which change nothing.
    pub(super) warnings: Vec<String>,
    /// Is the body an object of the target's kind?
    pub(super) is_object: bool,
}

impl Outcome {
    fn object(status: u16, kind: Kind, object: &dyn objects::AnyObject) -> Self {
        Self { status, body: shown(kind, object), warnings: Vec::new(), is_object: true }
    }

    pub(super) fn other(status: u16, body: Value) -> Self {
        Self { status, body, warnings: Vec::new(), is_object: false }
    }
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
        let fields = FieldValidation::of(call)?;
        let object =
            || Ok::<_, ApiError>(named(json_body(call, body).and_then(parse)?, target.kind_of_body()));
        match (&call.method, part) {
            (&Method::GET, Some(Part::Whole | Part::Status | Part::Scale)) => Ok(Self::Get),
            (&Method::POST, None) if target.kind.is_namespaced() == (target.place != Place::Everywhere) => {
                Ok(Self::Create { object: object()?, fields, dry_run })
            }
            (&Method::POST, Some(Part::Eviction)) => {
                Ok(Self::Evict(eviction(json_body(call, body)?, target, dry_run)?))
            }
            (&Method::POST, Some(Part::Binding)) => binding(&object()?),
            (&Method::PUT, Some(Part::Whole | Part::Status | Part::Scale)) => {
                Ok(Self::Update { object: object()?, fields, dry_run })
            }
            (&Method::PATCH, Some(Part::Whole | Part::Status | Part::Scale)) => {
                Ok(Self::Patch { patch: Patch::of(call.content_type(), body)?, fields, dry_run })
            }
            (&Method::DELETE, Some(Part::Whole)) => Ok(Self::Delete(remove::options(call, body, dry_run)?)),
            _ => Err(method_not_allowed()),
        }
    }

    /// Does it change anything?
    pub(super) fn writes(&self) -> bool {
        !matches!(self, Self::Get)
    }

    /// Is it only tried?
    pub(super) fn is_dry_run(&self) -> bool {
        match self {
            Self::Get | Self::Bind { .. } => false,
            Self::Create { dry_run, .. } | Self::Update { dry_run, .. } | Self::Patch { dry_run, .. } => {
                *dry_run
            }
            Self::Delete(options) | Self::Evict(options) => is_dry_run(Some(options)),
        }
    }

    /// The labels of what it is about, as webhooks select by them.
    pub(super) fn labels(&self, store: &Store, target: &Target) -> Labels {
        match (self, &target.place) {
            (Self::Create { object, .. } | Self::Update { object, .. }, _) => {
                serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default()
            }
            (Self::Patch { .. } | Self::Delete(_), Place::Object { namespace, name, .. }) => {
                labels_of(store, target.kind, namespace, name)
            }
            // An Eviction and a Binding have none.
            _ => Labels::new(),
        }
    }

    /// Does it.
    pub(super) fn carry_out(self, world: &mut World, target: &Target) -> Result<Outcome, ApiError> {
        let kind = target.kind;
        let (namespace, name, part) = match &target.place {
            Place::Everywhere => ("", "", Part::Whole),
            Place::Namespace(namespace) => (namespace.as_str(), "", Part::Whole),
            Place::Object { namespace, name, part } => (namespace.as_str(), name.as_str(), *part),
        };
        let at = write::At { kind, namespace, name, part };
        if part == Part::Scale {
            return scale::carry_out(self, world, &at);
        }
        match self {
            Self::Get => {
                Ok(Outcome::object(200, kind, &*objects::fetch(&world.store, kind, namespace, name)?))
            }
            Self::Create { object, fields, dry_run } => {
                let warnings = fields.check(kind, &object)?;
                let object = write::prepare(&world.store, &at, object)?;
                let object = if kind == Kind::Pod { admitted(world, object)? } else { object };
                let made = on_store(world, dry_run, |store| objects::insert(store, kind, object))?;
                Ok(Outcome { warnings, ..Outcome::object(201, kind, &*made) })
            }
            Self::Update { object, fields, dry_run } => {
                let warnings = fields.check(kind, &object)?;
                // A lease may come into being by an update (Kubernetes: AllowCreateOnUpdate).
                let missing = objects::fetch(&world.store, kind, namespace, name).is_err();
                // A uid asks for one that is there.
                if let Some(uid) = object.pointer("/metadata/uid").and_then(Value::as_str).filter(|_| missing)
                {
                    return Err(ApiError::wrong_uid_of(kind.names(), name, uid, ""));
                }
                let (status, written) = on_store(world, dry_run, |store| {
                    if missing && kind == Kind::Lease {
                        Ok((201, write::create(store, &at, object)?))
                    } else {
                        Ok((200, write::update(store, &at, object)?))
                    }
                })?;
                Ok(Outcome { warnings, ..Outcome::object(status, kind, &*written) })
            }
            Self::Patch { patch, fields, dry_run } => {
                let (warnings, written) =
                    on_store(world, dry_run, |store| write::patch(store, &at, patch, fields))?;
                Ok(Outcome { warnings, ..Outcome::object(200, kind, &*written) })
            }
            Self::Delete(options) => remove::one(world, &at, &options),
            Self::Evict(options) => {
                world.evict(namespace, name, Some(&options))?;
                Ok(Outcome::other(201, success()))
            }
            Self::Bind { node } => {
                world.bind(namespace, name, &node)?;
                Ok(Outcome::other(201, success()))
            }
        }
    }
}

/// A new pod as the API server's plugins leave it.
fn admitted(world: &World, object: Value) -> Result<Value, ApiError> {
    let mut pod: Pod = objects::read(object)?;
    world.admit_pod(&mut pod)?;
    Ok(pod.json())
}

fn success() -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 })
}

/// A body in the one language that the lab reads. The others (YAML, protobuf, CBOR) are refused as the API server refuses what
/// it does not read, and clients fall back to JSON.
pub(super) fn json_body<'a>(call: &Call, body: &'a [u8]) -> Result<&'a [u8], ApiError> {
    match call.content_type() {
        "" | "application/json" => Ok(body),
        other => {
            let message = format!(
                "the body of the request was in an unknown format - accepted media types include: application/json (got {other})"
            );
            Err(ApiError::new(415, "UnsupportedMediaType", message))
        }
    }
}

/// An object with its kind and version, which a body may leave out: the path names them (apimachinery: `gvkWithDefaults`).
pub(super) fn named(mut object: Value, (api_version, kind): (&str, &str)) -> Value {
    if let Some(members) = object.as_object_mut() {
        for (member, word) in [("apiVersion", api_version), ("kind", kind)] {
            let given = members.entry(member).or_insert(Value::Null);
            if given.is_null() || given == "" {
                *given = word.into();
            }
        }
    }
    object
}

/// The body of an eviction; both versions of the kind are accepted (Kubernetes: `AcceptsGroupVersion`).
fn eviction(body: &[u8], target: &Target, dry_run: bool) -> Result<DeleteOptions, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Eviction {
        #[serde(default)]
        api_version: Option<String>,
        #[serde(default)]
        kind: Option<String>,
        #[serde(default)]
        metadata: Name,
        delete_options: Option<DeleteOptions>,
    }
    #[derive(Default, Deserialize)]
    struct Name {
        name: Option<String>,
    }
    let eviction: Eviction = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let known = matches!(eviction.api_version.as_deref(), None | Some("policy/v1" | "policy/v1beta1"));
    if !known || eviction.kind.is_some_and(|kind| kind != "Eviction") {
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

fn binding(object: &Value) -> Result<Verb, ApiError> {
    let node = object.pointer("/target/name").and_then(Value::as_str).filter(|node| !node.is_empty());
    if object["kind"] != "Binding" {
        return Err(ApiError::bad_request("the object provided is not a Binding"));
    }
    let node = node.ok_or_else(|| ApiError::bad_request("the Binding names no target"))?;
    Ok(Verb::Bind { node: node.to_owned() })
}

//! Objects as JSON, whatever their type: all that the face does with a kind's Rust type is here.
//!
//! An object is read with Kubernetes' defaults filled in, as the API server does when it decodes one from etcd. What a client
//! creates is stored with them; what a scenario or a controller has made is stored as it is.

use std::any::Any;
use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{defaults, unreadable};
use crate::error::ApiError;
use crate::kube::lease_is_valid;
use crate::store::{Kind, KindVisitor, Store, Stored, with_kind};

/// A stored object of any kind.
pub(super) trait AnyObject: Send + Sync {
    fn meta(&self) -> &ObjectMeta;
    /// The node of a pod.
    fn node(&self) -> Option<&str>;
    /// As it is stored.
    fn json(&self) -> Value;
}

impl<T: Stored> AnyObject for T {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }

    fn node(&self) -> Option<&str> {
        self.node_name()
    }

    fn json(&self) -> Value {
        serde_json::to_value(self).expect("a Kubernetes object is plain data")
    }
}

/// A stored object of any kind, shared with the store.
pub(super) type Shared = Arc<dyn AnyObject>;

/// An object as clients see it.
pub(super) fn shown(kind: Kind, object: &dyn AnyObject) -> Value {
    with_defaults(kind, object.json())
}

/// An object as clients would see it.
pub(super) fn with_defaults(kind: Kind, mut object: Value) -> Value {
    defaults::fill(kind, &mut object);
    object
}

struct Fetch<'a>(&'a Store, &'a str, &'a str);

impl KindVisitor for Fetch<'_> {
    type Output = Result<Shared, ApiError>;

    fn visit<T: Stored>(self) -> Self::Output {
        let found: Arc<T> = Arc::clone(self.0.find::<T>(self.1, self.2)?);
        Ok(found)
    }
}

/// One object, or the API's 404.
pub(super) fn fetch(store: &Store, kind: Kind, namespace: &str, name: &str) -> Result<Shared, ApiError> {
    with_kind(kind, Fetch(store, namespace, name))
}

/// An object as its type.
pub(super) fn read<T: Stored>(object: Value) -> Result<T, ApiError> {
    let names = T::KIND_OF.names();
    serde_json::from_value(object).map_err(|error| {
        let (version, kind) = (names.version, names.kind);
        ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {error}"
        ))
    })
}

/// An object that somebody wants written, if the API server would take it.
fn admissible<T: Stored>(object: Value) -> Result<T, ApiError> {
    let object: T = read(object)?;
    if let Some(lease) = (&object as &dyn Any).downcast_ref::<Lease>() {
        lease_is_valid(lease)?;
    }
    Ok(object)
}

struct Insert<'a>(&'a mut Store, Value);

impl KindVisitor for Insert<'_> {
    type Output = Result<Shared, ApiError>;

    fn visit<T: Stored>(self) -> Self::Output {
        let made = self.0.create::<T>(admissible(self.1)?)?;
        Ok(made)
    }
}

/// Creates an object.
pub(super) fn insert(store: &mut Store, kind: Kind, object: Value) -> Result<Shared, ApiError> {
    with_kind(kind, Insert(store, object))
}

struct Replace<'a>(&'a mut Store, &'a str, &'a str, Value);

impl KindVisitor for Replace<'_> {
    type Output = Result<Shared, ApiError>;

    fn visit<T: Stored>(self) -> Self::Output {
        let object: T = admissible(self.3)?;
        let written = self.0.update::<T>(self.1, self.2, |stored| *stored = object)?;
        Ok(written)
    }
}

/// Writes what an object shall be.
pub(super) fn replace(
    store: &mut Store,
    kind: Kind,
    namespace: &str,
    name: &str,
    object: Value,
) -> Result<Shared, ApiError> {
    with_kind(kind, Replace(store, namespace, name, object))
}

struct Erase<'a>(&'a mut Store, &'a str, &'a str);

impl KindVisitor for Erase<'_> {
    type Output = Result<Shared, ApiError>;

    fn visit<T: Stored>(self) -> Self::Output {
        let last = self.0.delete::<T>(self.1, self.2)?;
        Ok(last)
    }
}

/// Removes an object at once.
pub(super) fn erase(store: &mut Store, kind: Kind, namespace: &str, name: &str) -> Result<Shared, ApiError> {
    with_kind(kind, Erase(store, namespace, name))
}

struct ReadBack(Value);

impl KindVisitor for ReadBack {
    type Output = Result<Value, ApiError>;

    fn visit<T: Stored>(self) -> Self::Output {
        Ok(read::<T>(self.0)?.json())
    }
}

/// What the kind makes of an object: fields that it does not know are gone.
pub(super) fn read_back(kind: Kind, object: Value) -> Result<Value, ApiError> {
    with_kind(kind, ReadBack(object))
}

/// A body as JSON.
pub(super) fn parse(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| unreadable(&error))
}

//! Which right a request needs.

use axum::http::Method;
use upgrade_core::access::{Right, Verb};

use super::super::call::Call;
use super::method_not_allowed;
use super::path::{Part, Place, Target};
use crate::error::ApiError;
use crate::store::{KindVisitor, Stored, with_kind};

/// A kind's group and plural.
struct Named;

impl KindVisitor for Named {
    type Output = (&'static str, &'static str);

    fn visit<T: Stored>(self) -> Self::Output {
        (T::GROUP, T::URL_PATH_SEGMENT)
    }
}

/// The right that the user must have.
pub(super) fn needed(call: &Call, target: &Target) -> Result<Right, ApiError> {
    let collection = target.place.is_collection();
    let verb = match call.method {
        Method::GET if collection && call.flag("watch") => Verb::Watch,
        Method::GET if collection => Verb::List,
        Method::GET => Verb::Get,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE if collection => Verb::DeleteCollection,
        Method::DELETE => Verb::Delete,
        _ => return Err(method_not_allowed()),
    };
    let (group, plural) = with_kind(target.kind, Named);
    let (namespace, part) = match &target.place {
        Place::Everywhere => ("", Part::Whole),
        Place::Namespace(namespace) => (namespace.as_str(), Part::Whole),
        Place::Object { namespace, part, .. } => (namespace.as_str(), *part),
    };
    let resource = match part {
        Part::Whole => plural.to_owned(),
        Part::Status => format!("{plural}/status"),
        Part::Eviction => format!("{plural}/eviction"),
    };
    let everywhere = Right::new(verb, group, resource);
    Ok(if namespace.is_empty() { everywhere } else { everywhere.within(namespace) })
}

//! `SelfSubjectAccessReview`: may I do this?

use serde::Deserialize;
use serde_json::{Value, json};
use upgrade_core::access::{AccessAnswer, Right, Verb};

use super::super::call::Call;
use super::objects::parse;
use super::verbs::{json_body, named};
use super::{protobuf, unreadable};
use crate::error::ApiError;
use crate::world::World;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    resource_attributes: Option<Attributes>,
    non_resource_attributes: Option<PathAttributes>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributes {
    namespace: String,
    verb: String,
    group: String,
    resource: String,
    subresource: String,
}

#[derive(Deserialize)]
struct PathAttributes {
    path: String,
    verb: String,
}

/// Reads a review in either of its forms.
pub(super) fn read(call: &Call, body: &[u8]) -> Result<Value, ApiError> {
    if call.content_type() == protobuf::MEDIA_TYPE {
        let unreadable = || ApiError::bad_request("the object provided is not a SelfSubjectAccessReview");
        return protobuf::access_review(body).ok_or_else(unreadable);
    }
    let review = json_body(call, body).and_then(parse)?;
    Ok(named(review, ("authorization.k8s.io/v1", "SelfSubjectAccessReview")))
}

/// Answers a review.
pub(super) fn answer(world: &World, mut review: Value) -> Result<Value, ApiError> {
    if review["kind"] != "SelfSubjectAccessReview" {
        return Err(ApiError::bad_request("the object provided is not a SelfSubjectAccessReview"));
    }
    let spec: Spec = serde_json::from_value(review["spec"].clone()).map_err(|error| unreadable(&error))?;
    let asked = match (spec.resource_attributes, spec.non_resource_attributes) {
        (Some(asked), None) => right(&asked),
        (None, Some(asked)) => verb(&asked.verb).map(|verb| Right::new(verb, "", asked.path)),
        _ => {
            let why = "spec.resourceAttributes: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Err(ApiError::new(
                422,
                "Invalid",
                format!("SelfSubjectAccessReview \"\" is invalid: {why}"),
            ));
        }
    };
    // A verb that the lab does not know is one that nobody was granted by name.
    let answer = asked.map_or(AccessAnswer::Denied { reason: String::new() }, |right| world.review(&right));
    review["status"] = match answer {
        AccessAnswer::Allowed => json!({ "allowed": true, "reason": "RBAC: allowed by ClusterRoleBinding" }),
        AccessAnswer::Denied { reason } => json!({ "allowed": false, "reason": reason }),
        AccessAnswer::Unanswered { why } => json!({ "allowed": false, "evaluationError": why }),
    };
    Ok(review)
}

fn right(asked: &Attributes) -> Option<Right> {
    let Attributes { namespace, group, resource, subresource, .. } = asked;
    let resource =
        if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
    let everywhere = Right::new(verb(&asked.verb)?, group, resource);
    Some(if namespace.is_empty() { everywhere } else { everywhere.within(namespace) })
}

fn verb(word: &str) -> Option<Verb> {
    serde_json::from_value(word.into()).ok()
}

//! May the token's user do this? `SelfSubjectAccessReview`, which every user may create (Kubernetes: `system:basic-user`).

use futures::StreamExt;
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use upgrade_core::access::{AccessAnswer, Right};

use super::api::Api;
use crate::adapters::text::one_line;

/// How many reviews are under way at the same time. Each is a few hundred bytes.
const IN_FLIGHT: usize = 8;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// The answers, in the order of the rights.
pub(super) async fn review(api: &Api, rights: &[Right]) -> Vec<AccessAnswer> {
    stream::iter(rights.to_vec()).map(|right| one(api, right)).buffered(IN_FLIGHT).collect().await
}

async fn one(api: &Api, right: Right) -> AccessAnswer {
    #[derive(Deserialize)]
    struct Review {
        status: Status,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        allowed: bool,
        #[serde(default)]
        reason: String,
        #[serde(default)]
        evaluation_error: String,
    }
    let body = question(&right);
    // A review is created and changes nothing, so it may be repeated as a read is.
    match api.ask::<Review>(REVIEWS, &body).await {
        Ok(Review { status }) if status.allowed => AccessAnswer::Allowed,
        // "No" by an authorizer that could not look at everything is not a no.
        Ok(Review { status }) if !status.evaluation_error.is_empty() => {
            AccessAnswer::Unanswered { why: one_line(&status.evaluation_error) }
        }
        Ok(Review { status }) => AccessAnswer::Denied { reason: one_line(&status.reason) },
        Err(failure) => AccessAnswer::Unanswered {
            why: failure.of_read(&format!("asking for the right to {right}")).message,
        },
    }
}

fn question(right: &Right) -> Value {
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": right.verb, "group": right.group, "resource": resource, "subresource": subresource,
            "namespace": right.namespace.as_deref().unwrap_or_default(),
        }},
    })
}

//! What stands before every request at an API server: who may do what. Both faces ask here. The world's own controllers do not.

use std::collections::BTreeSet;

use upgrade_core::access::{AccessAnswer, Right, Verb};

use crate::error::ApiError;
use crate::world::World;

/// The user behind Rancher's token, as the API server calls it.
const USER: &str = "system:serviceaccount:cattle-impersonation-system:cattle-impersonation-user-lab01";

/// What the token's user may do in the cluster, and what the webhooks refuse. An administrator, and nothing, unless set.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What the user may do; `None` for everything.
    pub granted: Option<Vec<Right>>,
    /// What he may not do nevertheless. RBAC itself has no such rules; for trying out what one missing right does.
    pub denied: Vec<Right>,
    /// What the servers behind the admission webhooks refuse. Which writes they are asked about is said by the webhooks'
    /// configurations, which are objects of the cluster.
    pub refusals: Vec<Refusal>,
    /// The rights that were needed so far, without what everybody may do.
    used: BTreeSet<Right>,
}

/// What the server behind an admission webhook refuses.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The webhook's name in its configuration.
    pub webhook: String,
    /// The writes that it refuses when it is asked about them.
    pub refuses: Right,
    /// What it says to them.
    pub message: String,
}

impl Access {
    /// May the user do this? A wildcard in the question asks for everything that it stands for.
    pub fn allows(&self, right: &Right) -> bool {
        let granted = self.granted.as_ref().is_none_or(|granted| granted.iter().any(|g| g.covers(right)));
        granted && !self.denied.iter().any(|denied| overlaps(denied, right))
    }

    /// The rights that requests have needed so far.
    pub fn used(&self) -> impl Iterator<Item = &Right> {
        self.used.iter()
    }
}

/// Is there anything that both rights are about?
fn overlaps(a: &Right, b: &Right) -> bool {
    let any = |a: &str, b: &str| a == "*" || b == "*" || a == b;
    let verbs = a.verb == Verb::Any || b.verb == Verb::Any || a.verb == b.verb;
    let places = a.namespace.is_none() || b.namespace.is_none() || a.namespace == b.namespace;
    verbs && any(&a.group, &b.group) && any(&a.resource, &b.resource) && places
}

impl World {
    /// The API server's 403 unless the user may do this. `name` is the object's, where there is one.
    pub(crate) fn authorize(&mut self, right: &Right, name: &str) -> Result<(), ApiError> {
        self.access.used.insert(right.clone());
        if self.access.allows(right) {
            return Ok(());
        }
        if let Some(path) = right.resource.strip_prefix('/') {
            let message = format!("forbidden: User \"{USER}\" cannot {} path \"/{path}\"", right.verb);
            return Err(ApiError::new(403, "Forbidden", message));
        }
        let about = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let place = match &right.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let message = format!(
            "{}{about} is forbidden: User \"{USER}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
            right.qualified(),
            right.verb,
            right.resource,
            right.group,
        );
        Err(ApiError::new(403, "Forbidden", message))
    }

    /// The answer to a `SelfSubjectAccessReview`.
    pub(crate) fn review(&self, right: &Right) -> AccessAnswer {
        if self.access.allows(right) {
            AccessAnswer::Allowed
        } else {
            // RBAC gives no reason where no rule matches.
            AccessAnswer::Denied { reason: String::new() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_allowed_unless_denied_and_a_wildcard_asks_for_all_of_it() {
        let patch = |resource| Right::new(Verb::Patch, "apps", resource);
        let mut access = Access::default();
        assert!(access.allows(&Right::everything()) && access.allows(&patch("deployments").within("shop")));
        access.denied.push(patch("deployments").within("shop"));
        assert!(!access.allows(&Right::everything()), "not everything");
        assert!(!access.allows(&patch("deployments")), "not everywhere");
        assert!(!access.allows(&patch("deployments").within("shop")));
        assert!(access.allows(&patch("deployments").within("pay")) && access.allows(&patch("statefulsets")));
        let granted = Some(vec![patch("deployments")]);
        let access = Access { granted, ..Access::default() };
        assert!(access.allows(&patch("deployments").within("pay")) && !access.allows(&Right::everything()));
    }
}

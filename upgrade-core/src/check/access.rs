//! What the token's user may not do in the cluster, and a run would.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, finding, target};
use crate::access::{AccessAnswer, Known, Right, Verb, namespaces, needs};
use crate::finding::{Finding, Severity};
use crate::model::{ObjectName, WorkloadRef};
use crate::plan::{RouteChoice, movers};

/// A right that is missing. Nobody can accept it: the run would stop in the middle.
pub(super) const DENIED: &str = "PER-001";

/// A right that the API server did not speak about.
const UNANSWERED: &str = "PER-002";

/// How many namespaces a message names.
const NAMED: usize = 5;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let Some(moves) = target(case.inventory, case.request)
        .and_then(|target| movers(case.inventory, case.view, case.policy, target))
    else {
        return Vec::new();
    };
    if case.inventory.access.is_empty() {
        let message = "what the token's user may do in the cluster was not asked";
        let remedy = "take the inventory anew with this version";
        let name = &case.inventory.identity.name;
        return vec![finding(Severity::Unknown, UNANSWERED, name, message, remedy)];
    }
    let known = Known::of(&case.inventory.access);
    let mut denied: BTreeMap<Right, Missing> = BTreeMap::new();
    let mut unanswered: BTreeMap<Right, Missing> = BTreeMap::new();
    for need in needed(&moves, case.policy.prewarm) {
        let (list, why) = match known.verdict(&need) {
            AccessAnswer::Allowed => continue,
            AccessAnswer::Denied { reason } => (&mut denied, reason),
            AccessAnswer::Unanswered { why } => (&mut unanswered, why),
        };
        let namespace = need.namespace.clone();
        let missing = list.entry(Right { namespace: None, ..need }).or_default();
        missing.namespaces.extend(namespace);
        missing.why = why;
    }
    let denied = denied.into_iter().map(|(right, missing)| {
        let message = format!("the token's user may not {right}{}{}", missing.places(), missing.because());
        finding(Severity::Blocking, DENIED, &right, message, remedy(&right, &missing))
    });
    let unanswered = unanswered.into_iter().map(|(right, missing)| {
        let message = format!(
            "whether the token's user may {right}{} is not known{}",
            missing.places(),
            missing.because()
        );
        let remedy =
            "let the token's user create selfsubjectaccessreviews.authorization.k8s.io, or try again";
        finding(Severity::Unknown, UNANSWERED, &right, message, remedy)
    });
    denied.chain(unanswered).collect()
}

/// What this upgrade needs: changes of workloads where it restarts them or borrows of them, evictions wherever a pod could be left
/// for the drain, and the pods that have images pulled, unless the policy does without.
fn needed(moves: &[(WorkloadRef, RouteChoice)], prewarm: bool) -> BTreeSet<Right> {
    let changed = moves.iter().filter(|(_, choice)| choice.route.writes()).map(|(owner, _)| owner);
    let moved: BTreeSet<&WorkloadRef> = moves.iter().map(|(owner, _)| owner).collect();
    let evicted = namespaces(moved.iter().map(|owner: &&WorkloadRef| -> &ObjectName { &owner.name }));
    needs(changed, evicted.iter().copied(), evicted.iter().copied().filter(|_| prewarm))
}

/// Where a right is missing, and the server's last word on it.
#[derive(Default)]
struct Missing {
    namespaces: BTreeSet<String>,
    why: String,
}

impl Missing {
    fn places(&self) -> String {
        let named: Vec<&str> = self.namespaces.iter().take(NAMED).map(String::as_str).collect();
        match (named.len(), self.namespaces.len().saturating_sub(NAMED)) {
            (0, _) => String::new(),
            (1, _) => format!(" in namespace {}", named[0]),
            (_, 0) => format!(" in namespaces {}", named.join(", ")),
            (_, more) => format!(" in namespaces {} and {more} more", named.join(", ")),
        }
    }

    fn because(&self) -> String {
        if self.why.is_empty() { String::new() } else { format!(": {}", self.why) }
    }
}

/// The rule that is missing, as RBAC wants it.
fn remedy(right: &Right, missing: &Missing) -> String {
    let kind =
        if missing.namespaces.is_empty() { "a ClusterRole" } else { "a Role in each, or a ClusterRole" };
    let pulls = right.resource == "pods" && matches!(right.verb, Verb::Create | Verb::Delete);
    let or =
        if pulls { "; or set `prewarm = false`, and each pod pulls its image where it lands" } else { "" };
    format!(
        "grant it by {kind}: apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [\"{}\"]{or}",
        right.group, right.resource, right.verb
    )
}

#[cfg(test)]
mod tests {
    use crate::access::{AccessAnswer, Reviewed, Right, Verb};
    use crate::finding::{Finding, Severity};
    use crate::inventory::Inventory;
    use crate::model::tests_support::inventory;
    use crate::policy::{Acceptance, Policy};

    fn about_rights(inventory: &Inventory, policy: &Policy, to: &str) -> Vec<Finding> {
        let findings = crate::check(inventory, policy, to.parse().unwrap());
        findings.into_iter().filter(|finding| finding.code.starts_with("PER-")).collect()
    }

    /// Every right that the upgrade needs was asked for one by one, and answered by `answer`.
    fn answered(mut inventory: Inventory, answer: impl Fn(&Right) -> AccessAnswer) -> Inventory {
        let view = inventory.view();
        let restarted = [&inventory.workloads[0].reference];
        let namespaces = || view.pods().map(|pod| pod.name.namespace());
        let rights = crate::access::needs(restarted, namespaces(), namespaces());
        inventory.access =
            rights.into_iter().map(|right| Reviewed { answer: answer(&right), right }).collect();
        inventory
    }

    #[test]
    fn a_right_that_is_missing_blocks_names_the_rule_and_cannot_be_accepted() {
        let denied = |right: &Right| match right.resource.as_str() {
            "pods/eviction" => AccessAnswer::Denied { reason: "no binding".into() },
            _ => AccessAnswer::Allowed,
        };
        let case = answered(inventory(), denied);
        let acceptance = Acceptance {
            code: "PER-001".into(),
            object: "create pods/eviction".into(),
            reason: "we shall see".into(),
            until: None,
        };
        let policy = Policy { accept: vec![acceptance], ..Policy::default() };
        let findings = about_rights(&case, &policy, "1.35");
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert!(finding.blocks() && finding.severity == Severity::Blocking);
        assert_eq!(
            (finding.object.as_str(), finding.message.as_str(), finding.remedy.as_str()),
            (
                "create pods/eviction",
                "the token's user may not create pods/eviction in namespace shop: no binding",
                "grant it by a Role in each, or a ClusterRole: apiGroups: [\"\"], resources: [\"pods/eviction\"], \
                 verbs: [\"create\"]",
            )
        );
    }

    #[test]
    fn what_was_not_answered_is_unknown_and_what_was_not_asked_too() {
        let silent = answered(inventory(), |right| match right.resource.as_str() {
            "nodes" => AccessAnswer::Unanswered { why: "HTTP 503".into() },
            _ => AccessAnswer::Allowed,
        });
        let findings = about_rights(&silent, &Policy::default(), "1.35");
        let objects: Vec<&str> = findings.iter().map(|finding| finding.object.as_str()).collect();
        assert_eq!(objects, ["get nodes", "patch nodes", "watch nodes"]);
        assert!(findings.iter().all(|finding| finding.blocks() && finding.severity == Severity::Unknown));

        let mut old = inventory();
        old.access.clear();
        let findings = about_rights(&old, &Policy::default(), "1.35");
        assert_eq!((findings.len(), findings[0].object.as_str()), (1, "shop"));
        assert!(findings[0].blocks());
    }

    #[test]
    fn a_right_that_this_upgrade_does_not_need_is_not_asked_of_anybody() {
        let deployments_denied = |right: &Right| match right.resource.as_str() {
            "deployments" if right.verb == Verb::Patch => AccessAnswer::Denied { reason: String::new() },
            _ => AccessAnswer::Allowed,
        };
        let mut case = answered(inventory(), deployments_denied);
        assert_eq!(about_rights(&case, &Policy::default(), "1.35").len(), 1);
        case.workloads[0].paused = true;
        assert_eq!(about_rights(&case, &Policy::default(), "1.35"), [], "it is evicted, not restarted");
    }

    #[test]
    fn many_namespaces_are_counted_and_not_all_named() {
        let mut missing = super::Missing::default();
        missing.namespaces.extend((0..7).map(|n| format!("n{n}")));
        assert_eq!(missing.places(), " in namespaces n0, n1, n2, n3, n4 and 2 more");
    }
}

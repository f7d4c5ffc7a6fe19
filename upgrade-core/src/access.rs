//! What the token's user must be allowed to do in the cluster, and the API server's word on it.
//!
//! Which rights are needed follows from the cluster and from what will be done. The API server is asked for them
//! (`SelfSubjectAccessReview`) when the inventory is taken, the broadest question first: an administrator costs one question, a
//! user whose rights are per namespace some hundred. The checks compare the answers with what a plan needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::inventory::Inventory;
use crate::lock::lock_name;
use crate::model::{ObjectName, Workload, WorkloadKind, WorkloadRef};
use crate::plan::RouteChoice;
use crate::policy::Policy;
use crate::ports::Kubernetes;
use crate::view::ResourceKind;

/// What may be done to a resource: RBAC's verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Every verb.
    #[serde(rename = "*")]
    Any,
    /// Read one object.
    Get,
    /// Read all.
    List,
    /// Follow all.
    Watch,
    /// Create, also a subresource such as `pods/eviction`.
    Create,
    /// Replace.
    Update,
    /// Change parts.
    Patch,
    /// Delete one object.
    Delete,
    /// Delete all.
    DeleteCollection,
}

impl Verb {
    /// The verb as RBAC writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "*",
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A right: one verb on one resource, in one namespace or everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Right {
    /// The API group; empty for core, `*` for all.
    pub group: String,
    /// The resource as RBAC writes it, with its subresource (`pods/eviction`); `*` for all.
    pub resource: String,
    /// What is done to it.
    pub verb: Verb,
    /// The namespace; `None` for all of them, and for resources without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl Right {
    /// A right everywhere.
    pub fn new(verb: Verb, group: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { group: group.into(), resource: resource.into(), verb, namespace: None }
    }

    /// The right to do everything to everything.
    pub fn everything() -> Self {
        Self::new(Verb::Any, "*", "*")
    }

    /// The same in one namespace.
    #[must_use]
    pub fn within(self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..self }
    }

    /// Whoever has `self`, has he `other` too?
    pub fn covers(&self, other: &Self) -> bool {
        (self.verb == Verb::Any || self.verb == other.verb)
            && (self.group == "*" || self.group == other.group)
            && (self.resource == "*" || self.resource == other.resource)
            && (self.namespace.is_none() || self.namespace == other.namespace)
    }

    /// The resource with its group, as `kubectl` writes it: `deployments.apps`, `pods/eviction`.
    pub fn qualified(&self) -> String {
        match (self.group.as_str(), self.resource.split_once('/')) {
            ("", _) => self.resource.clone(),
            (group, None) => format!("{}.{group}", self.resource),
            (group, Some((resource, part))) => format!("{resource}.{group}/{part}"),
        }
    }

    /// The questions that can settle it, the broadest first.
    fn questions(&self) -> impl Iterator<Item = Self> {
        let everywhere = Self { namespace: None, ..self.clone() };
        let exact = self.namespace.is_some().then(|| self.clone());
        [Self::everything(), everywhere].into_iter().chain(exact)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.qualified())?;
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

/// The API server's word on a right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum AccessAnswer {
    /// The token's user has it.
    Allowed,
    /// He has not.
    Denied {
        /// The server's words; often empty.
        reason: String,
    },
    /// The server did not say.
    Unanswered {
        /// Why.
        why: String,
    },
}

/// A right that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reviewed {
    /// The right.
    pub right: Right,
    /// The answer.
    pub answer: AccessAnswer,
}

/// Where the API keeps a kind: its group.
pub const fn group(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Node
        | ResourceKind::Pod
        | ResourceKind::Service
        | ResourceKind::PersistentVolumeClaim => "",
        ResourceKind::Deployment
        | ResourceKind::StatefulSet
        | ResourceKind::DaemonSet
        | ResourceKind::ReplicaSet => "apps",
        ResourceKind::Job => "batch",
        ResourceKind::HorizontalPodAutoscaler => "autoscaling",
        ResourceKind::PodDisruptionBudget => "policy",
        ResourceKind::EndpointSlice => "discovery.k8s.io",
    }
}

/// What a run needs beside the lists that the inventory has shown to be allowed: to follow every kind, to hold the lock, to
/// cordon nodes, to write to these workloads, to evict in these namespaces, and to have images pulled for those.
pub(crate) fn needs<'a>(
    changed: impl IntoIterator<Item = &'a WorkloadRef>,
    evicted_in: impl IntoIterator<Item = &'a str>,
    pulled_for: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<Right> {
    let watched = ResourceKind::ALL.map(|kind| Right::new(Verb::Watch, group(kind), kind.plural()));
    // Each write reads its object first.
    let written = [Verb::Get, Verb::Patch];
    let cordon = written.map(|verb| Right::new(verb, "", "nodes"));
    let change = changed.into_iter().filter_map(|workload| {
        let kind = match workload.kind {
            WorkloadKind::Deployment => ResourceKind::Deployment,
            WorkloadKind::StatefulSet => ResourceKind::StatefulSet,
            WorkloadKind::ReplicaSet => ResourceKind::ReplicaSet,
            WorkloadKind::DaemonSet | WorkloadKind::Job | WorkloadKind::Other(_) => return None,
        };
        let right = |verb| Right::new(verb, group(kind), kind.plural()).within(workload.name.namespace());
        Some(written.map(right))
    });
    let evict = evicted_in
        .into_iter()
        .map(|namespace| Right::new(Verb::Create, "", "pods/eviction").within(namespace));
    let pull = pulled_for.into_iter().flat_map(|namespace| {
        [Verb::Create, Verb::Delete].map(|verb| Right::new(verb, "", "pods").within(namespace))
    });
    let lock = [Verb::Get, Verb::Create, Verb::Update]
        .map(|verb| Right::new(verb, "coordination.k8s.io", "leases").within(lock_name().namespace()));
    watched.into_iter().chain(cordon).chain(lock).chain(change.flatten()).chain(evict).chain(pull).collect()
}

/// What any upgrade of this cluster could need. A plan needs a part of it.
fn needs_of_cluster(inventory: &Inventory) -> BTreeSet<Right> {
    let view = inventory.view_of_workloads();
    let policy = Policy::default();
    let is_changed =
        |w: &&Workload| RouteChoice::of(w, &view, &policy).is_some_and(|choice| choice.route.writes());
    let changed = view.workloads().filter(|w| w.owner.is_none()).filter(is_changed).map(|w| &w.reference);
    let moved = inventory.pods.iter().filter(|pod| !pod.leaves_with_node()).map(|pod| pod.name.namespace());
    needs(changed, moved.clone(), moved)
}

/// Asks the API server for every right that an upgrade of this cluster could need. What it does not answer is in the result as
/// such.
pub async fn review(kubernetes: &dyn Kubernetes, inventory: &Inventory) -> Vec<Reviewed> {
    let needs = needs_of_cluster(inventory);
    let mut known = Vec::new();
    loop {
        let questions = questions(&needs, &known);
        if questions.is_empty() {
            return known;
        }
        let answers = kubernetes.access(&questions).await;
        let unsaid = AccessAnswer::Unanswered { why: "no answer".to_owned() };
        let answers = answers.into_iter().chain(std::iter::repeat(unsaid));
        known.extend(questions.into_iter().zip(answers).map(|(right, answer)| Reviewed { right, answer }));
    }
}

/// What to ask next: for each need that is not settled, the broadest question that was not asked yet.
fn questions(needs: &BTreeSet<Right>, known: &[Reviewed]) -> Vec<Right> {
    let known = Known::of(known);
    let next = needs.iter().filter(|need| !known.allows(need)).filter_map(|need| {
        let mut open = need.questions().filter(|question| !known.answers.contains_key(question));
        open.next()
    });
    next.collect::<BTreeSet<_>>().into_iter().collect()
}

/// What the API server has said, by right.
pub(crate) struct Known<'a> {
    answers: BTreeMap<&'a Right, &'a AccessAnswer>,
}

impl<'a> Known<'a> {
    pub(crate) fn of(reviewed: &'a [Reviewed]) -> Self {
        Self { answers: reviewed.iter().map(|reviewed| (&reviewed.right, &reviewed.answer)).collect() }
    }

    fn allows(&self, need: &Right) -> bool {
        need.questions().any(|question| self.answers.get(&question) == Some(&&AccessAnswer::Allowed))
    }

    /// The API server's word on one right, from the most exact question that was asked. A broader one that was denied says
    /// nothing about the narrower.
    pub(crate) fn verdict(&self, need: &Right) -> AccessAnswer {
        if self.allows(need) {
            return AccessAnswer::Allowed;
        }
        match self.answers.get(need) {
            Some(answer) => (*answer).clone(),
            None => AccessAnswer::Unanswered { why: "it was not asked".to_owned() },
        }
    }
}

/// The namespaces that these objects lie in.
pub(crate) fn namespaces<'a>(names: impl Iterator<Item = &'a ObjectName>) -> BTreeSet<&'a str> {
    names.map(ObjectName::namespace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::inventory;

    fn reviewed(right: Right, answer: AccessAnswer) -> Reviewed {
        Reviewed { right, answer }
    }

    fn denied() -> AccessAnswer {
        AccessAnswer::Denied { reason: String::new() }
    }

    fn evict() -> Right {
        Right::new(Verb::Create, "", "pods/eviction")
    }

    #[test]
    fn an_upgrade_follows_locks_cordons_restarts_evicts_and_pulls() {
        let needs: Vec<String> = needs_of_cluster(&inventory()).iter().map(ToString::to_string).collect();
        let beyond_watching: Vec<&str> =
            needs.iter().map(String::as_str).filter(|need| !need.starts_with("watch ")).collect();
        assert_eq!(needs.len() - beyond_watching.len(), ResourceKind::ALL.len());
        assert_eq!(
            beyond_watching,
            [
                "get nodes",
                "patch nodes",
                "create pods in shop",
                "delete pods in shop",
                "create pods/eviction in shop",
                "get deployments.apps in shop",
                "patch deployments.apps in shop",
                "get leases.coordination.k8s.io in kube-system",
                "create leases.coordination.k8s.io in kube-system",
                "update leases.coordination.k8s.io in kube-system",
            ]
        );
    }

    #[test]
    fn an_administrator_is_asked_once_and_everybody_else_from_the_broad_to_the_narrow() {
        let needs = BTreeSet::from([
            evict().within("shop"),
            evict().within("pay"),
            Right::new(Verb::Patch, "", "nodes"),
        ]);
        let everything = reviewed(Right::everything(), AccessAnswer::Allowed);
        assert_eq!(questions(&needs, &[]), [Right::everything()]);
        assert_eq!(questions(&needs, &[everything]), []);

        let mut known = vec![reviewed(Right::everything(), denied())];
        let nodes = Right::new(Verb::Patch, "", "nodes");
        assert_eq!(questions(&needs, &known), [nodes.clone(), evict()]);
        known.push(reviewed(nodes.clone(), denied()));
        known.push(reviewed(evict(), denied()));
        assert_eq!(questions(&needs, &known), [evict().within("pay"), evict().within("shop")]);
        known.push(reviewed(evict().within("pay"), AccessAnswer::Allowed));
        known.push(reviewed(evict().within("shop"), denied()));
        assert_eq!(questions(&needs, &known), []);
        let verdict = |need: &Right| Known::of(&known).verdict(need);
        assert_eq!(verdict(&evict().within("pay")), AccessAnswer::Allowed);
        assert_eq!((verdict(&evict().within("shop")), verdict(&nodes)), (denied(), denied()));
        let never_asked = verdict(&evict().within("new"));
        assert!(matches!(never_asked, AccessAnswer::Unanswered { .. }), "{never_asked:?}");
    }

    #[test]
    fn a_question_that_is_not_answered_goes_on_to_the_next_and_is_never_a_yes() {
        let silent = |right| reviewed(right, AccessAnswer::Unanswered { why: "503".into() });
        let needs = BTreeSet::from([evict().within("shop")]);
        let known = [silent(Right::everything()), silent(evict())];
        assert_eq!(questions(&needs, &known), [evict().within("shop")]);
        let known = [silent(Right::everything()), silent(evict()), silent(evict().within("shop"))];
        assert_eq!(questions(&needs, &known), []);
        assert!(matches!(
            Known::of(&known).verdict(&evict().within("shop")),
            AccessAnswer::Unanswered { .. }
        ));
    }

    #[test]
    fn rights_cover_what_is_narrower_and_are_written_as_kubectl_does() {
        let all = Right::everything();
        assert!(all.covers(&evict().within("shop")) && evict().covers(&evict().within("shop")));
        assert!(
            !evict().within("shop").covers(&evict())
                && !evict().covers(&Right::new(Verb::Create, "", "pods"))
        );
        assert_eq!(
            Right::new(Verb::Patch, "apps", "deployments/scale").qualified(),
            "deployments.apps/scale"
        );
        let file = serde_json::to_value(reviewed(evict().within("shop"), denied())).unwrap();
        assert_eq!(file["right"]["verb"], "create");
        assert_eq!(serde_json::to_value(Verb::Any).unwrap(), "*");
    }
}

//! What the scheduler knows of a pod: what it asks for, and what it wants of its neighbours.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use upgrade_core::model::{
    Bytes, LabelExpression, LabelOperator, LabelSelector, Labels, NodeSelectorTerm, Resources,
    SchedulingRules,
};

use super::super::{key_of, pods, uid_of};
use crate::ports::rules;
use crate::store::{Key, Store, controller};

/// What the scores assume of a container that does not say (Kubernetes: non-zero requests).
const ASSUMED: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "200Mi")];

/// A pod as the scheduler sees it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Needs {
    pub(super) key: Key,
    pub(super) uid: String,
    /// The node it is bound to.
    pub(super) node: Option<String>,
    /// The node that a preemption makes room on for it.
    pub(super) nominated: Option<String>,
    pub(super) terminating: bool,
    pub(super) started: Option<Timestamp>,
    /// What it asks for, which the pods of a template have in common.
    pub(super) wants: Arc<Wants>,
}

impl Deref for Needs {
    type Target = Wants;

    fn deref(&self) -> &Wants {
        &self.wants
    }
}

/// What a pod asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Wants {
    pub(super) labels: Labels,
    pub(super) owner: Option<String>,
    pub(super) requests: Resources,
    /// CPU and memory for the scores: with Kubernetes' assumptions for containers that do not say.
    pub(super) assumed: Resources,
    /// What it asks for beside CPU and memory.
    pub(super) extended: BTreeMap<String, u64>,
    pub(super) rules: SchedulingRules,
    pub(super) preferred_nodes: Vec<(i64, NodeSelectorTerm)>,
    pub(super) near: Vec<Term>,
    pub(super) apart: Vec<Term>,
    /// Preferred neighbours; a negative weight keeps away.
    pub(super) preferred: Vec<(i64, Term)>,
    pub(super) spread: Vec<Constraint>,
    pub(super) ports: Vec<Port>,
    pub(super) claims: Vec<String>,
    pub(super) images: Vec<String>,
    pub(super) priority: i32,
    /// May it take the place of less important pods?
    pub(super) preempts: bool,
}

/// A port on the node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    protocol: String,
    /// Empty: every address.
    ip: String,
    number: i32,
}

impl Port {
    /// Two pods cannot have both.
    pub(super) fn conflicts(&self, other: &Self) -> bool {
        (&self.protocol, self.number) == (&other.protocol, other.number)
            && (self.ip.is_empty() || other.ip.is_empty() || self.ip == other.ip)
    }
}

/// An affinity term: which pods, in which namespaces, within which domain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) selector: LabelSelector,
    pub(super) topology_key: String,
    pub(super) namespaces: Vec<String>,
    /// Namespaces by their labels, beside the named ones.
    pub(super) by_label: Option<LabelSelector>,
}

impl Term {
    fn of(term: &core::PodAffinityTerm, pod: &core::Pod) -> Option<Self> {
        let mut selector = rules::selector(term.label_selector.as_ref()?);
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        // The API server merges these into the selector at admission.
        for (keys, operator) in
            [(&term.match_label_keys, LabelOperator::In), (&term.mismatch_label_keys, LabelOperator::NotIn)]
        {
            add_keys(&mut selector, keys.iter().flatten(), &labels, &operator);
        }
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        let by_label = term.namespace_selector.as_ref().map(rules::selector);
        if namespaces.is_empty() && by_label.is_none() {
            namespaces.push(key_of(pod).namespace);
        }
        Some(Self { selector, topology_key: term.topology_key.clone(), namespaces, by_label })
    }

    /// Does it look at pods of this namespace?
    pub(super) fn covers(&self, store: &Store, namespace: &str) -> bool {
        self.namespaces.iter().any(|name| name == namespace)
            || self.by_label.as_ref().is_some_and(|wanted| {
                let found = store.get::<core::Namespace>("", namespace);
                found.is_some_and(|found| wanted.matches(&found.metadata.labels.clone().unwrap_or_default()))
            })
    }

    /// Is `pod` among those it means?
    pub(super) fn means(&self, store: &Store, pod: &Needs) -> bool {
        self.selector.matches(&pod.labels) && self.covers(store, &pod.key.namespace)
    }

    /// The same text for the same term.
    pub(super) fn id(&self) -> String {
        let namespaces = &self.namespaces;
        format!("{} {:?} {namespaces:?} {:?}", self.topology_key, self.selector, self.by_label)
    }
}

/// A topology spread constraint.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constraint {
    pub(super) max_skew: i64,
    pub(super) topology_key: String,
    pub(super) selector: LabelSelector,
    /// `DoNotSchedule`; else it is a preference.
    pub(super) required: bool,
    pub(super) min_domains: usize,
    /// `nodeAffinityPolicy: Honor`: nodes that the pod's affinity excludes are no domains.
    pub(super) honors_affinity: bool,
    /// `nodeTaintsPolicy: Honor`: nodes with taints that the pod does not tolerate are no domains. A cordon is such a taint.
    pub(super) honors_taints: bool,
}

impl Constraint {
    /// A constraint without a selector counts no pod, and asks nothing.
    fn of(constraint: &core::TopologySpreadConstraint, labels: &Labels) -> Option<Self> {
        let mut selector = rules::selector(constraint.label_selector.as_ref()?);
        add_keys(&mut selector, constraint.match_label_keys.iter().flatten(), labels, &LabelOperator::In);
        let honors = |policy: &Option<String>, default: bool| match policy.as_deref() {
            Some("Honor") => true,
            Some("Ignore") => false,
            _ => default,
        };
        Some(Self {
            max_skew: i64::from(constraint.max_skew),
            topology_key: constraint.topology_key.clone(),
            selector,
            required: constraint.when_unsatisfiable == "DoNotSchedule",
            min_domains: constraint.min_domains.and_then(|least| usize::try_from(least).ok()).unwrap_or(1),
            honors_affinity: honors(&constraint.node_affinity_policy, true),
            honors_taints: honors(&constraint.node_taints_policy, false),
        })
    }
}

/// Narrows a selector to the pod's own values of some labels; a label that the pod does not have is not asked for.
fn add_keys<'k>(
    selector: &mut LabelSelector,
    keys: impl Iterator<Item = &'k String>,
    labels: &Labels,
    operator: &LabelOperator,
) {
    for key in keys {
        if let Some(value) = labels.get(key) {
            let (operator, values) = (operator.clone(), vec![value.clone()]);
            selector.expressions.push(LabelExpression { key: key.clone(), operator, values });
        }
    }
}

impl Needs {
    pub(super) fn of(pod: &core::Pod) -> Self {
        Self::with(pod, Arc::new(Wants::of(pod)))
    }

    /// A pod of which it is known what it asks for.
    pub(super) fn with(pod: &core::Pod, wants: Arc<Wants>) -> Self {
        let status = pod.status.as_ref();
        Self {
            key: key_of(pod),
            uid: uid_of(pod).to_owned(),
            node: pods::node_of(pod).map(str::to_owned),
            nominated: status.and_then(|status| status.nominated_node_name.clone()),
            terminating: pods::is_terminating(pod),
            started: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            wants,
        }
    }

    /// Is the pod still as it was, but for what it asks for?
    pub(super) fn is_still(&self, pod: &core::Pod) -> bool {
        let status = pod.status.as_ref();
        self.uid == uid_of(pod)
            && self.node.as_deref() == pods::node_of(pod)
            && self.nominated.as_ref() == status.and_then(|status| status.nominated_node_name.as_ref())
            && self.terminating == pods::is_terminating(pod)
            && self.started == status.and_then(|status| status.start_time.as_ref()).map(|time| time.0)
    }
}

impl Wants {
    fn of(pod: &core::Pod) -> Self {
        let no_spec = core::PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&no_spec);
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let terms = Affinities::of(pod, spec);
        let constraints = spec.topology_spread_constraints.iter().flatten();
        let mut rules = rules::of_pod(spec);
        // Kept in richer forms of their own.
        (rules.pod_affinity, rules.pod_anti_affinity, rules.spread) = Default::default();
        Self {
            owner: controller(&pod.metadata).map(|owner| owner.uid.clone()),
            requests: rules::requests(spec),
            assumed: rules::requests(&with_assumptions(spec)),
            extended: extended(spec),
            preferred_nodes: preferred_nodes(spec),
            near: terms.near,
            apart: terms.apart,
            preferred: terms.preferred,
            spread: constraints.filter_map(|constraint| Constraint::of(constraint, &labels)).collect(),
            ports: ports(spec),
            claims: spec
                .volumes
                .iter()
                .flatten()
                .filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()))
                .collect(),
            images: spec
                .init_containers
                .iter()
                .flatten()
                .chain(&spec.containers)
                .filter_map(|container| container.image.as_deref().map(tagged))
                .collect(),
            priority: spec.priority.unwrap_or_default(),
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            rules,
            labels,
        }
    }

    /// Does a node that suits one of them suit the other as well, and as far as the node itself decides?
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.requests == other.requests
            && self.assumed == other.assumed
            && self.extended == other.extended
            && self.images == other.images
            && self.ports == other.ports
            && self.rules == other.rules
            && self.preferred_nodes == other.preferred_nodes
    }

    /// The nodes that its required affinity names, if it names them: the pods of a DaemonSet do.
    pub(super) fn named_nodes(&self) -> Option<Vec<&str>> {
        let named = |term: &'_ NodeSelectorTerm| -> Option<Vec<String>> {
            let field = term.fields.iter().find(|field| field.key == "metadata.name")?;
            Some(field.values.clone())
        };
        let terms = &self.rules.node_affinity;
        if terms.is_empty() || !terms.iter().all(|term| named(term).is_some()) {
            return None;
        }
        let fields = terms.iter().flat_map(|term| &term.fields);
        let mut names: Vec<&str> = fields
            .filter(|field| field.key == "metadata.name")
            .flat_map(|field| field.values.iter().map(String::as_str))
            .collect();
        names.sort_unstable();
        names.dedup();
        Some(names)
    }
}

/// The neighbours that a pod asks for.
#[derive(Default)]
struct Affinities {
    near: Vec<Term>,
    apart: Vec<Term>,
    preferred: Vec<(i64, Term)>,
}

impl Affinities {
    fn of(pod: &core::Pod, spec: &core::PodSpec) -> Self {
        let Some(affinity) = &spec.affinity else { return Self::default() };
        let (near, apart) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
        let all = |terms: Option<&Vec<core::PodAffinityTerm>>| -> Vec<Term> {
            terms.into_iter().flatten().filter_map(|term| Term::of(term, pod)).collect()
        };
        let weighed = |terms: Option<&Vec<core::WeightedPodAffinityTerm>>, sign: i64| -> Vec<(i64, Term)> {
            let terms = terms.into_iter().flatten();
            let weigh = |term: &core::WeightedPodAffinityTerm| {
                Some((sign * i64::from(term.weight), Term::of(&term.pod_affinity_term, pod)?))
            };
            terms.filter_map(weigh).collect()
        };
        let soft_near = near.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
        let soft_apart = apart.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
        let mut preferred = weighed(soft_near, 1);
        preferred.extend(weighed(soft_apart, -1));
        Self {
            near: all(near.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())),
            apart: all(apart.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())),
            preferred,
        }
    }
}

fn preferred_nodes(spec: &core::PodSpec) -> Vec<(i64, NodeSelectorTerm)> {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let terms = affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
    let terms = terms.into_iter().flatten();
    terms.map(|term| (i64::from(term.weight), rules::node_term(&term.preference))).collect()
}

fn ports(spec: &core::PodSpec) -> Vec<Port> {
    let on_host = spec.host_network.unwrap_or_default();
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| {
        let number = port.host_port.or_else(|| on_host.then_some(port.container_port))?;
        let ip = port.host_ip.clone().filter(|ip| ip != "0.0.0.0").unwrap_or_default();
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        (number != 0).then_some(Port { protocol, ip, number })
    });
    taken.collect()
}

/// The spec with a request in each container that has none.
fn with_assumptions(spec: &core::PodSpec) -> core::PodSpec {
    let fill = |container: &core::Container| {
        let mut resources = container.resources.clone().unwrap_or_default();
        let requests = resources.requests.get_or_insert_default();
        for (key, amount) in ASSUMED {
            requests.entry(key.to_owned()).or_insert_with(|| Quantity(amount.to_owned()));
        }
        core::Container {
            resources: Some(resources),
            restart_policy: container.restart_policy.clone(),
            ..Default::default()
        }
    };
    core::PodSpec {
        containers: spec.containers.iter().map(fill).collect(),
        init_containers: spec.init_containers.as_ref().map(|all| all.iter().map(fill).collect()),
        resources: spec.resources.clone(),
        overhead: spec.overhead.clone(),
        ..core::PodSpec::default()
    }
}

/// Extended resources and ephemeral storage: the containers together, or the largest init container.
fn extended(spec: &core::PodSpec) -> BTreeMap<String, u64> {
    let of = |container: &core::Container| -> BTreeMap<String, u64> {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        requests.map(extended_amounts).unwrap_or_default()
    };
    let mut total: BTreeMap<String, u64> = BTreeMap::new();
    for (key, amount) in spec.containers.iter().flat_map(of) {
        *total.entry(key).or_default() += amount;
    }
    for (key, amount) in spec.init_containers.iter().flatten().flat_map(of) {
        let most = total.entry(key).or_default();
        *most = amount.max(*most);
    }
    total
}

/// An image with the tag that is meant where none is given.
pub(super) fn tagged(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or_default();
    if name.contains(':') { image.to_owned() } else { format!("{image}:latest") }
}

/// The amounts of everything that is not CPU, memory or a number of pods.
pub(super) fn extended_amounts(amounts: &BTreeMap<String, Quantity>) -> BTreeMap<String, u64> {
    let other = amounts.iter().filter(|(key, _)| !matches!(key.as_str(), "cpu" | "memory" | "pods"));
    other.map(|(key, amount)| (key.clone(), Bytes::parse(&amount.0).unwrap_or_default().0)).collect()
}

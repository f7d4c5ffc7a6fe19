//! Where a pod may run: taints, tolerations, node selectors, affinity, spread.
//!
//! The rules are Kubernetes' own (scheduler filters TaintToleration, NodeAffinity and NodeUnschedulable). The planner asks
//! them whether a buffer can take a workload; the lab's scheduler decides by the same functions.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LabelSelector, Labels, Node};

/// A node's taint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Taint {
    /// The key.
    pub key: String,
    /// The value, empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// What it does to pods that do not tolerate it.
    pub effect: TaintEffect,
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.value.is_empty() { String::new() } else { format!("={}", self.value) };
        write!(f, "{}{value}:{}", self.key, self.effect)
    }
}

/// A taint's effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TaintEffect {
    /// No new pod.
    NoSchedule,
    /// Preferably no new pod.
    PreferNoSchedule,
    /// No new pod, and running ones are removed.
    NoExecute,
    /// An effect of a newer Kubernetes, taken as `NoSchedule` when placing pods.
    #[serde(untagged)]
    Unknown(String),
}

impl fmt::Display for TaintEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
            Self::Unknown(effect) => effect,
        })
    }
}

/// A pod's toleration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toleration {
    /// The taint's key; `None` with `Exists` tolerates every key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How the value is compared.
    pub operator: TolerationOperator,
    /// The value for `Equal`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// The effect; `None` tolerates all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

/// How a toleration compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TolerationOperator {
    /// Key and value are equal.
    Equal,
    /// The key is equal, or no key is given.
    Exists,
    /// An operator of a newer Kubernetes; tolerates nothing.
    #[serde(untagged)]
    Unknown(String),
}

impl Toleration {
    /// Does it tolerate `taint`?
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.as_ref().is_none_or(|effect| *effect == taint.effect)
            && match (&self.operator, &self.key) {
                (TolerationOperator::Exists, None) => true,
                (TolerationOperator::Exists, Some(key)) => *key == taint.key,
                (TolerationOperator::Equal, Some(key)) => *key == taint.key && self.value == taint.value,
                (TolerationOperator::Equal, None) | (TolerationOperator::Unknown(_), _) => false,
            }
    }
}

/// Everything that limits where a pod may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulingRules {
    /// Labels the node must carry.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub node_selector: Labels,
    /// Required node affinity: one of the terms must match; an empty list asks nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_affinity: Vec<NodeSelectorTerm>,
    /// Tolerated taints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Required pod affinity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_affinity: Vec<AffinityTerm>,
    /// Required pod anti-affinity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_anti_affinity: Vec<AffinityTerm>,
    /// Topology spread constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<SpreadRule>,
    /// Ports taken on the node itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<u16>,
}

/// A node selector term: all requirements must hold; a term without any matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSelectorTerm {
    /// Requirements on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<NodeRequirement>,
    /// Requirements on fields; Kubernetes knows `metadata.name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<NodeRequirement>,
}

/// One requirement of a node selector term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRequirement {
    /// The label or field.
    pub key: String,
    /// What must hold.
    pub operator: NodeSelectorOperator,
    /// The values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// The operators of a node selector term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeSelectorOperator {
    /// One of the values.
    In,
    /// None of the values, or absent.
    NotIn,
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
    /// An integer greater than the value.
    Gt,
    /// An integer less than the value.
    Lt,
    /// An operator of a newer Kubernetes; matches nothing.
    #[serde(untagged)]
    Unknown(String),
}

impl NodeRequirement {
    fn matches(&self, actual: Option<&str>) -> bool {
        let number = |text: Option<&str>| text.and_then(|t| t.parse::<i64>().ok());
        let bound = number(self.values.first().map(String::as_str));
        let listed = actual.is_some_and(|v| self.values.iter().any(|value| value == v));
        match &self.operator {
            NodeSelectorOperator::In => listed,
            NodeSelectorOperator::NotIn => !listed,
            NodeSelectorOperator::Exists => actual.is_some(),
            NodeSelectorOperator::DoesNotExist => actual.is_none(),
            NodeSelectorOperator::Gt => number(actual).zip(bound).is_some_and(|(a, b)| a > b),
            NodeSelectorOperator::Lt => number(actual).zip(bound).is_some_and(|(a, b)| a < b),
            NodeSelectorOperator::Unknown(_) => false,
        }
    }
}

impl NodeSelectorTerm {
    /// Do all its requirements hold for `node`?
    pub fn matches(&self, node: &Node) -> bool {
        let field = |key: &str| (key == "metadata.name").then(|| node.name.as_str());
        !(self.labels.is_empty() && self.fields.is_empty())
            && self.labels.iter().all(|r| r.matches(node.labels.get(&r.key).map(String::as_str)))
            && self.fields.iter().all(|r| r.matches(field(&r.key)))
    }
}

/// A required pod affinity or anti-affinity term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffinityTerm {
    /// The pods meant, in the pod's own namespace unless `namespaces` names others.
    pub selector: LabelSelector,
    /// The node label whose equal values make one domain.
    pub topology_key: String,
    /// Other namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Only pods of the same template are meant (`matchLabelKeys: [pod-template-hash]`): a rollout's old pods are not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_template: bool,
}

/// A topology spread constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpreadRule {
    /// The greatest difference between domains.
    pub max_skew: u32,
    /// The node label whose equal values make one domain.
    pub topology_key: String,
    /// The pods counted.
    pub selector: LabelSelector,
    /// `DoNotSchedule` (true) or only a preference.
    pub required: bool,
    /// Nodes with a taint that the pod does not tolerate are no domains (`nodeTaintsPolicy: Honor`). A cordon is such a
    /// taint; by default a cordoned node counts, empty as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub honors_taints: bool,
    /// Only pods of the same template are counted (`matchLabelKeys: [pod-template-hash]`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_template: bool,
}

impl SchedulingRules {
    /// May a pod with these rules run on `node`, as far as labels and taints decide? Cordons are not considered.
    pub fn admits(&self, node: &Node) -> bool {
        self.chooses(node) && node.taints.iter().all(|taint| self.ignores(taint))
    }

    /// Is `node` one that the rules ask for, by its labels and its name, whatever its taints say?
    pub fn chooses(&self, node: &Node) -> bool {
        self.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
            && (self.node_affinity.is_empty() || self.node_affinity.iter().any(|term| term.matches(node)))
    }

    /// Does `taint` leave a pod with these rules alone?
    pub fn ignores(&self, taint: &Taint) -> bool {
        taint.effect == TaintEffect::PreferNoSchedule || self.tolerations.iter().any(|t| t.tolerates(taint))
    }
}

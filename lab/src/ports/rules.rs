//! Where a pod may run and what it asks for, from Kubernetes' types to the slim model.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use serde::de::DeserializeOwned;
use upgrade_core::model::{
    AffinityTerm, Bytes, LabelExpression, LabelSelector, MilliCpu, NodeRequirement, NodeSelectorTerm,
    Resources, SchedulingRules, SpreadRule, Taint, Toleration, TolerationOperator,
};

use super::convert::container_requests;

/// CPU and memory of a list of quantities; what cannot be read counts as nothing.
pub(crate) fn amounts(amounts: &BTreeMap<String, Quantity>) -> Resources {
    let text = |key: &str| amounts.get(key).map_or("0", |quantity| quantity.0.as_str());
    Resources {
        cpu: MilliCpu::parse(text("cpu")).unwrap_or_default(),
        memory: Bytes::parse(text("memory")).unwrap_or_default(),
    }
}

/// What a pod asks for (Kubernetes: component-helpers/resource): the containers together with the sidecars, or the largest
/// moment of its start, whichever is more; a request for the whole pod stands above them; overhead comes on top.
pub(crate) fn requests(spec: &core::PodSpec) -> Resources {
    let mut sidecars = Resources::default();
    let mut start = Resources::default();
    for init in spec.init_containers.iter().flatten() {
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars += container_requests(init);
            start = start.max(sidecars);
        } else {
            start = start.max(sidecars + container_requests(init));
        }
    }
    let running: Resources = spec.containers.iter().map(container_requests).sum();
    let mut total = (running + sidecars).max(start);
    let whole = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    if let Some(whole) = whole {
        let (asked, has) = (amounts(whole), |key| whole.contains_key(key));
        total.cpu = if has("cpu") { asked.cpu } else { total.cpu };
        total.memory = if has("memory") { asked.memory } else { total.memory };
    }
    total + spec.overhead.as_ref().map(amounts).unwrap_or_default()
}

/// Does it keep data on the node's disk that goes with it?
pub(crate) fn has_empty_dir(spec: &core::PodSpec) -> bool {
    let dirs = spec.volumes.iter().flatten().filter_map(|volume| volume.empty_dir.as_ref());
    dirs.into_iter().any(|dir| dir.medium.as_deref() != Some("Memory"))
}

/// The limits of the containers together, as a quota counts them.
pub(crate) fn limits(spec: &core::PodSpec) -> Resources {
    let of = |container: &core::Container| container.resources.as_ref()?.limits.as_ref().map(amounts);
    spec.containers.iter().filter_map(of).sum()
}

/// What only kubelets of 1.36 or newer can do.
pub(crate) fn kubelet_features(spec: &core::PodSpec) -> Vec<String> {
    let rules = spec.containers.iter().flat_map(|container| container.restart_policy_rules.iter().flatten());
    let restarts_all = rules.into_iter().any(|rule| rule.action == "RestartAllContainers");
    let users_on_host = spec.host_users == Some(false) && spec.host_network == Some(true);
    let asked = restarts_all.then_some("restarting all containers by rule");
    let asked = asked.into_iter().chain(users_on_host.then_some("user namespaces on the host's network"));
    asked.map(str::to_owned).collect()
}

/// A word of the API as the model's enum, which keeps words it does not know.
fn word<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(text.into()).expect("an untagged variant takes every word")
}

pub(crate) fn taint(taint: &core::Taint) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: taint.value.clone().unwrap_or_default(),
        effect: word(&taint.effect),
    }
}

fn toleration(toleration: &core::Toleration) -> Toleration {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Toleration {
        key: filled(&toleration.key),
        operator: filled(&toleration.operator).map_or(TolerationOperator::Equal, |operator| word(&operator)),
        value: toleration.value.clone().unwrap_or_default(),
        effect: filled(&toleration.effect).map(|effect| word(&effect)),
    }
}

pub(crate) fn selector(selector: &meta::LabelSelector) -> LabelSelector {
    let expressions = selector.match_expressions.iter().flatten().map(|expression| LabelExpression {
        key: expression.key.clone(),
        operator: word(&expression.operator),
        values: expression.values.clone().unwrap_or_default(),
    });
    LabelSelector {
        labels: selector.match_labels.clone().unwrap_or_default(),
        expressions: expressions.collect(),
    }
}

fn requirement(requirement: &core::NodeSelectorRequirement) -> NodeRequirement {
    NodeRequirement {
        key: requirement.key.clone(),
        operator: word(&requirement.operator),
        values: requirement.values.clone().unwrap_or_default(),
    }
}

pub(crate) fn node_term(term: &core::NodeSelectorTerm) -> NodeSelectorTerm {
    NodeSelectorTerm {
        labels: term.match_expressions.iter().flatten().map(requirement).collect(),
        fields: term.match_fields.iter().flatten().map(requirement).collect(),
    }
}

/// A term without a selector means no pod, and asks nothing.
fn affinity_term(term: &core::PodAffinityTerm) -> Option<AffinityTerm> {
    Some(AffinityTerm {
        selector: selector(term.label_selector.as_ref()?),
        topology_key: term.topology_key.clone(),
        namespaces: term.namespaces.clone().unwrap_or_default(),
        same_template: same_template(term.match_label_keys.as_ref()),
    })
}

/// A constraint without a selector counts no pod, and asks nothing.
fn spread(constraint: &core::TopologySpreadConstraint) -> Option<SpreadRule> {
    Some(SpreadRule {
        max_skew: u32::try_from(constraint.max_skew).unwrap_or(1),
        topology_key: constraint.topology_key.clone(),
        selector: selector(constraint.label_selector.as_ref()?),
        required: constraint.when_unsatisfiable == "DoNotSchedule",
        honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        same_template: same_template(constraint.match_label_keys.as_ref()),
    })
}

/// The label by which a Deployment tells the pods of one template from those of another.
pub(crate) const TEMPLATE_LABEL: &str = "pod-template-hash";

fn same_template(keys: Option<&Vec<String>>) -> bool {
    keys.into_iter().flatten().any(|key| key == TEMPLATE_LABEL)
}

fn host_ports(spec: &core::PodSpec) -> Vec<u16> {
    let on_host = spec.host_network.unwrap_or_default();
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| port.host_port.or_else(|| on_host.then_some(port.container_port)));
    taken.filter_map(|port| u16::try_from(port).ok().filter(|port| *port != 0)).collect()
}

/// Everything that limits where a pod may run.
pub(crate) fn of_pod(spec: &core::PodSpec) -> SchedulingRules {
    let affinity = spec.affinity.as_ref();
    let node_affinity = affinity
        .and_then(|a| a.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref());
    let near = affinity
        .and_then(|a| a.pod_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref());
    let apart = affinity.and_then(|a| {
        a.pod_anti_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()
    });
    SchedulingRules {
        node_selector: spec.node_selector.clone().unwrap_or_default(),
        node_affinity: node_affinity
            .into_iter()
            .flat_map(|n| n.node_selector_terms.iter().map(node_term))
            .collect(),
        tolerations: spec.tolerations.iter().flatten().map(toleration).collect(),
        pod_affinity: near.into_iter().flatten().filter_map(affinity_term).collect(),
        pod_anti_affinity: apart.into_iter().flatten().filter_map(affinity_term).collect(),
        spread: spec.topology_spread_constraints.iter().flatten().filter_map(spread).collect(),
        host_ports: host_ports(spec),
    }
}

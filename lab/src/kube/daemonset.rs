//! The DaemonSet controller: one pod on every node that the template admits, cordoned ones included.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodTemplateSpec, Toleration,
};
use upgrade_core::model::{IntOrPercent, NodeName, SchedulingRules, Taint, TaintEffect, TolerationOperator};

use super::events::Reason;
use super::{Work, controlled_by, pods, revisions, uid_of};
use crate::ports::convert::int_or_percent;
use crate::ports::rules;
use crate::store::Key;
use crate::world::World;

pub(super) fn reconcile(world: &mut World, key: &Key) {
    let Some(set) = world.store.get::<DaemonSet>(&key.namespace, &key.name).cloned() else { return };
    let template = with_tolerations(&set.spec.template);
    let rules = Rules::of(&template);
    let hash = revision(&set);
    let history = revisions::Owner {
        key,
        set: &*set,
        template: &set.spec.template,
        name: format!("{}-{hash}", key.name),
        hash,
        limit: set.spec.revision_history_limit,
    };
    history.note(world);
    let nodes: Vec<Arc<Node>> = world.store.list::<Node>().cloned().collect();
    let mut pods_by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in world.store.owned_by::<Pod>(uid_of(&*set)) {
        if let Some(node) = meant_for(pod) {
            pods_by_node.entry(node).or_default().push(Arc::clone(pod));
        }
    }
    for node in &nodes {
        let name = node.metadata.name.clone().unwrap_or_default();
        let there = pods_by_node.get(&name).map(Vec::as_slice).unwrap_or_default();
        keep_one(world, &set, &template, &rules, &name, there);
    }
    for (node, orphans) in &pods_by_node {
        if !nodes.iter().any(|n| n.metadata.name.as_deref() == Some(node)) {
            for pod in orphans.iter().filter(|pod| !pods::is_terminating(pod)) {
                let _ =
                    world.delete_pod(&key.namespace, pod.metadata.name.as_deref().unwrap_or_default(), None);
            }
        }
    }
    roll(world, key, &set, &rules);
    report(world, key, &set, &rules);
}

/// The revision of a set's template.
pub(crate) fn revision(set: &DaemonSet) -> String {
    pods::hash(&set.spec.template)
}

/// The node a pod is on, or was made for.
fn meant_for(pod: &Pod) -> Option<String> {
    if let Some(node) = pods::node_of(pod) {
        return Some(node.to_owned());
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().find_map(|term| term.match_fields.as_ref())?;
    fields.first()?.values.as_ref()?.first().cloned()
}

/// The tolerations that the controller adds to every pod.
fn with_tolerations(template: &PodTemplateSpec) -> PodTemplateSpec {
    let own = [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ];
    let mut template = template.clone();
    let tolerations = template.spec.get_or_insert_default().tolerations.get_or_insert_default();
    tolerations.extend(own.map(|(key, effect)| Toleration {
        key: Some(format!("node.kubernetes.io/{key}")),
        operator: Some("Exists".to_owned()),
        effect: Some(effect.to_owned()),
        ..Toleration::default()
    }));
    template
}

/// Where the set's pods may run, with their taints in mind and without.
struct Rules {
    own: SchedulingRules,
    any_taint: SchedulingRules,
}

impl Rules {
    fn of(template: &PodTemplateSpec) -> Self {
        let own = template.spec.as_ref().map(rules::of_pod).unwrap_or_default();
        let everything = upgrade_core::model::Toleration {
            key: None,
            operator: TolerationOperator::Exists,
            value: String::new(),
            effect: None,
        };
        Self { any_taint: SchedulingRules { tolerations: vec![everything], ..own.clone() }, own }
    }
}

/// May a pod be made for the node, and may one that is there stay?
fn verdict(world: &World, rules: &Rules, name: &str) -> (bool, bool) {
    let node = NodeName::new(name).ok().and_then(|name| world.kube.view.node(&name));
    let Some(node) = node else { return (false, false) };
    let ignored = |taint: &Taint| rules.own.ignores(taint);
    let suits = rules.any_taint.admits(node);
    let may_stay = suits && node.taints.iter().filter(|t| t.effect == TaintEffect::NoExecute).all(ignored);
    // The controller waits for a node that is not ready no longer than the scheduler does: not-ready is tolerated for
    // NoExecute only, so the first pods come when the taint for NoSchedule goes.
    (may_stay && node.taints.iter().all(ignored), may_stay)
}

fn keep_one(
    world: &mut World,
    set: &DaemonSet,
    template: &PodTemplateSpec,
    rules: &Rules,
    node: &str,
    there: &[Arc<Pod>],
) {
    let (may_come, may_stay) = verdict(world, rules, node);
    let namespace = set.metadata.namespace.clone().unwrap_or_default();
    let alive: Vec<&Arc<Pod>> = there.iter().filter(|pod| !pods::is_terminating(pod)).collect();
    for pod in alive.iter().filter(|pod| !may_stay || pods::is_finished(pod)) {
        let _ = world.delete_pod(&namespace, pod.metadata.name.as_deref().unwrap_or_default(), None);
    }
    if may_come && there.is_empty() {
        create(world, set, template, node);
    }
}

fn create(world: &mut World, set: &DaemonSet, template: &PodTemplateSpec, node: &str) {
    let namespace = set.metadata.namespace.clone().unwrap_or_default();
    let mut pod = pods::of_template(template, &namespace, controlled_by(set));
    pods::add_labels(&mut pod.metadata.labels, [(revisions::HASH, revision(set).as_str())]);
    pod.metadata.generate_name = Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default()));
    let requirement = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity = pod
        .spec
        .get_or_insert_default()
        .affinity
        .get_or_insert_default()
        .node_affinity
        .get_or_insert_default();
    let required = affinity.required_during_scheduling_ignored_during_execution.take();
    let mut terms: Vec<NodeSelectorTerm> =
        required.map(|required| required.node_selector_terms).unwrap_or_default();
    if terms.is_empty() {
        terms.push(NodeSelectorTerm::default());
    }
    for term in &mut terms {
        term.match_fields = Some(vec![requirement.clone()]);
    }
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: terms });
    let key = Key::new(namespace, set.metadata.name.clone().unwrap_or_default());
    match world.create_pod(pod) {
        Ok(pod) => {
            pods::tell_created::<DaemonSet>(world, &key, &pod);
            world.kube.failures.remove(&Work::DaemonSet(key));
        }
        Err(error) => {
            world.tell::<DaemonSet>(&key, Reason::FailedCreate, || format!("Error creating: {error}"));
            world.retry_later(Work::DaemonSet(key));
        }
    }
}

/// Replaces pods of an old template: those that are not available at once, the others within `maxUnavailable`.
fn roll(world: &mut World, key: &Key, set: &DaemonSet, rules: &Rules) {
    let strategy = set.spec.update_strategy.as_ref();
    if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
        return;
    }
    let hash = revision(set);
    let (now, min_ready) = (world.now(), set.spec.min_ready_seconds.unwrap_or_default());
    let alive: Vec<Arc<Pod>> =
        world.store.owned_by::<Pod>(uid_of(set)).filter(|pod| pods::is_active(pod)).cloned().collect();
    let is_old = |pod: &&Arc<Pod>| revisions::hash_of(&pod.metadata) != Some(hash.as_str());
    if !alive.iter().any(|pod| is_old(&pod)) {
        return;
    }
    let wanted = desired(world, rules);
    let limit = strategy.and_then(|s| s.rolling_update.as_ref()?.max_unavailable.as_ref());
    let limit = limit.and_then(int_or_percent).unwrap_or(IntOrPercent::Int(1)).ceil_of(wanted);
    let available = |pod: &&Arc<Pod>| pods::is_available(pod, min_ready, now);
    let working = u32::try_from(alive.iter().filter(available).count()).unwrap_or_default();
    let mut budget = limit.saturating_sub(wanted.saturating_sub(working));
    for pod in alive.iter().filter(is_old) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if !available(&pod) {
            let _ = world.delete_pod(&key.namespace, name, None);
        } else if budget > 0 {
            budget -= 1;
            let _ = world.delete_pod(&key.namespace, name, None);
        }
    }
}

/// How many nodes should have a pod.
fn desired(world: &World, rules: &Rules) -> u32 {
    let nodes = world.store.list::<Node>().filter_map(|node| node.metadata.name.as_deref());
    u32::try_from(nodes.filter(|name| verdict(world, rules, name).0).count()).unwrap_or(u32::MAX)
}

fn report(world: &mut World, key: &Key, set: &DaemonSet, rules: &Rules) {
    let (now, min_ready) = (world.now(), set.spec.min_ready_seconds.unwrap_or_default());
    let hash = revision(set);
    let wanted = i32::try_from(desired(world, rules)).unwrap_or(i32::MAX);
    let alive: Vec<Arc<Pod>> =
        world.store.owned_by::<Pod>(uid_of(set)).filter(|pod| pods::is_active(pod)).cloned().collect();
    let count = |meant: &dyn Fn(&Pod) -> bool| {
        i32::try_from(alive.iter().filter(|pod| meant(pod)).count()).unwrap_or(i32::MAX)
    };
    let available = count(&|pod| pods::is_available(pod, min_ready, now));
    let status = DaemonSetStatus {
        current_number_scheduled: count(&|_| true),
        desired_number_scheduled: wanted,
        number_available: Some(available),
        number_misscheduled: 0,
        number_ready: count(&pods::is_ready),
        number_unavailable: Some((wanted - available).max(0)),
        observed_generation: set.metadata.generation,
        updated_number_scheduled: Some(count(&|pod| {
            revisions::hash_of(&pod.metadata) == Some(hash.as_str())
        })),
        ..DaemonSetStatus::default()
    };
    let _ = world.store.update::<DaemonSet>(&key.namespace, &key.name, |set| set.status = Some(status));
    let soon = alive
        .iter()
        .filter_map(|pod| pods::ready_since(pod))
        .map(|since| pods::available_at(since, min_ready));
    if let Some(at) = soon.filter(|at| *at > now).min() {
        let after = std::time::Duration::try_from(at.duration_since(now)).unwrap_or_default();
        world.enqueue_later(after, Work::DaemonSet(key.clone()));
    }
}

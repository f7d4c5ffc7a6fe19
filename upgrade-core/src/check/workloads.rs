//! Workloads that cannot move without harm, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, finding, target};
use crate::finding::{Finding, Severity};
use crate::model::{KubeVersion, Node, NodeName, Pod, Pool, PoolName, Workload, WorkloadRef};
use crate::plan::{Route, RouteChoice, owners_on};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let doomed = doomed_pools(case);
    for pool in &doomed {
        let nodes: Vec<&Node> = case.view.nodes_of(&pool.name).collect();
        findings.extend(nodes.iter().filter_map(|node| node_trouble(node)));
        findings.extend(bare_pods(case, pool));
        findings.extend(pinned(case, pool, &nodes));
    }
    let mut owners: BTreeMap<WorkloadRef, usize> = BTreeMap::new();
    for pool in &doomed {
        for (owner, pods) in owners_on(case.view, &pool.name) {
            *owners.entry(owner).or_default() += pods;
        }
    }
    for (owner, pods) in &owners {
        if let Some(choice) = RouteChoice::of_owner(owner, *pods, case.view, case.policy) {
            findings.extend(check_mover(case, owner, &choice));
        }
    }
    findings
}

/// A workload with pods on nodes that will be upgraded, and the way by which it leaves them.
pub(super) struct Moving<'a> {
    pub(super) workload: &'a Workload,
    pub(super) choice: RouteChoice,
}

/// The workloads that have pods on nodes that will be upgraded; those of owners that Drover does not read are not among them.
pub(super) fn moving<'a>(case: &Case<'a>) -> Vec<Moving<'a>> {
    let owners: BTreeSet<WorkloadRef> = doomed_pools(case)
        .into_iter()
        .flat_map(|pool| owners_on(case.view, &pool.name).into_keys())
        .collect();
    let known = owners.iter().filter_map(|owner| case.view.workload(owner));
    let moving = known.filter_map(|workload| {
        Some(Moving { workload, choice: RouteChoice::of(workload, case.view, case.policy)? })
    });
    moving.collect()
}

/// The pools whose nodes will be upgraded.
pub(super) fn doomed_pools<'a>(case: &Case<'a>) -> Vec<&'a Pool> {
    let target: Option<KubeVersion> = target(case.inventory, case.request);
    case.inventory.pools.iter().filter(|pool| target.is_some_and(|target| pool.version != target)).collect()
}

fn check_mover(case: &Case<'_>, owner: &WorkloadRef, choice: &RouteChoice) -> Vec<Finding> {
    let name = &owner.name;
    let mut findings = Vec::new();
    if choice.route == Route::Gap && !case.policy.allow_gap.contains(name) {
        findings.push(finding(
            Severity::Blocking,
            "MOV-001",
            name,
            format!("{owner} cannot move without a gap: {}", choice.reason),
            format!("give it a second replica, or accept the gap with `allow_gap = [\"{name}\"]`"),
        ));
    }
    let Some(workload) = case.view.workload(owner) else { return findings };
    if choice.route.restarts() && !workload.template.readiness_probe {
        let message =
            format!("{owner} has no readiness probe: a new pod counts as ready when it has only started");
        findings.push(finding(Severity::Advisory, "MOV-004", name, message, "add a readiness probe"));
    }
    if !workload.is_settled() && choice.route != Route::WaitThenEvict {
        let (available, wanted) = (workload.status.available, workload.replicas);
        let message = format!(
            "{owner} has {available} of {wanted} pods available; its move waits until it is at strength"
        );
        findings.push(finding(Severity::Advisory, "MOV-005", name, message, "repair it first"));
    }
    findings
}

fn node_trouble(node: &Node) -> Option<Finding> {
    let (severity, message, remedy) = match (node.ready, node.unschedulable) {
        (false, _) => (Severity::Blocking, "is not Ready", "repair or remove the node first"),
        (true, true) => (
            Severity::Advisory,
            "is cordoned by somebody else; after its upgrade it takes pods again",
            "uncordon it, or know why",
        ),
        (true, false) => return None,
    };
    Some(finding(severity, "NOD-001", &node.name, message, remedy))
}

fn bare_pods(case: &Case<'_>, pool: &Pool) -> Vec<Finding> {
    let bare = case.view.pods_in(&pool.name).filter(|pod| pod.owner.is_none() && !pod.leaves_with_node());
    let report = |pod: &Pod| {
        let message = "is a bare pod: nothing makes it again once it is gone";
        finding(Severity::Blocking, "MOV-002", &pod.name, message, "give it an owner, or delete it")
    };
    bare.map(report).collect()
}

/// Workloads on the pool that would fit neither its buffer nor any other node, because they ask for the pool by name.
fn pinned(case: &Case<'_>, pool: &Pool, nodes: &[&Node]) -> Vec<Finding> {
    let Ok(buffer) = pool.name.buffer(pool.is_windows(), &[]) else { return Vec::new() };
    let elsewhere: Vec<Node> = nodes
        .iter()
        .map(|node| as_buffer(node, &buffer))
        .chain(case.view.nodes().filter(|node| node.pool().as_ref() != Some(&pool.name)).cloned())
        .collect();
    let pods = case.view.pods_in(&pool.name).filter(|pod| !pod.leaves_with_node() && pod.owner.is_some());
    let stuck: BTreeSet<WorkloadRef> = pods
        .filter(|pod| !elsewhere.iter().any(|node| pod.rules.admits(node)))
        .filter_map(|pod| case.view.workload_of(pod))
        .collect();
    let report = |workload: WorkloadRef| {
        finding(
            Severity::Blocking,
            "MOV-003",
            &workload.name,
            format!("{workload} asks for nodes that only pool {} has; it fits no buffer", pool.name),
            "select nodes by a label of your own that the pool gives to its nodes, not by the pool's or a node's name",
        )
    };
    stuck.into_iter().map(report).collect()
}

/// The node of a buffer that mirrors this one.
fn as_buffer(node: &Node, buffer: &PoolName) -> Node {
    let mut mirror = node.clone();
    for key in ["agentpool", "kubernetes.azure.com/agentpool"] {
        if let Some(value) = mirror.labels.get_mut(key) {
            *value = buffer.to_string();
        }
    }
    mirror.labels.remove("kubernetes.io/hostname");
    mirror.name = NodeName::new(format!("aks-{buffer}-mirror")).expect("a plain name");
    mirror
}

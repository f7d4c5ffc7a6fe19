//! The last word: do Azure, the kubelets and Kubernetes agree that everything is as it should be?
//!
//! Each of them has been wrong alone: Azure reports the version that a failed upgrade was for, a kubelet is new on a node that
//! carries another taint, a node is ready and still cordoned.

use std::collections::BTreeSet;

use super::Verdict;
use crate::journal::RunState;
use crate::model::{
    EXCLUDE_LABEL, KubeVersion, Node, Pool, PoolName, ProvisioningState, RunId, Taint, WorkloadKind,
    WorkloadRef,
};
use crate::moves;
use crate::plan::{Action, Plan, PoolBefore};
use crate::ports::AzureView;
use crate::view::View;

/// How many of the things that are not so are named.
const NAMED: usize = 3;

/// What is looked at.
pub(super) struct Truth<'a> {
    pub(super) plan: &'a Plan,
    pub(super) run: &'a RunId,
    pub(super) state: &'a RunState,
    pub(super) view: &'a View,
    /// Azure as it was looked at for this step; `None` before that.
    pub(super) azure: Option<&'a AzureView>,
}

impl Truth<'_> {
    /// Everything is so, or what is not yet.
    pub(super) fn verdict(&self, version: KubeVersion, pools: &[PoolBefore]) -> Verdict {
        let Some(azure) = self.azure else { return Verdict::Patience("Azure's answer".into()) };
        let mut untrue = in_azure(azure, version, pools);
        untrue.extend(pools.iter().flat_map(|before| self.of_nodes(azure, version, before)));
        untrue.extend(self.of_buffers(azure));
        untrue.extend(self.of_workloads());
        if untrue.is_empty() {
            let nodes: usize = pools.iter().map(|before| self.view.nodes_of(&before.pool).count()).sum();
            return Verdict::Done(format!("Azure, {nodes} kubelets and Kubernetes agree on {version}"));
        }
        let more = untrue.len().saturating_sub(NAMED);
        untrue.truncate(NAMED);
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        Verdict::Wait(format!("{}{more}", untrue.join("; ")))
    }

    fn of_nodes(&self, azure: &AzureView, version: KubeVersion, before: &PoolBefore) -> Vec<String> {
        let wanted = azure.pools.iter().find(|pool| pool.name == before.pool).map_or(0, |pool| pool.count);
        let nodes: Vec<&Node> = self.view.nodes_of(&before.pool).collect();
        let mut untrue = Vec::new();
        if u32::try_from(nodes.len()).unwrap_or(u32::MAX) < wanted {
            untrue.push(unequal(&format!("pool {}", before.pool), "nodes", wanted, nodes.len()));
        }
        untrue.extend(nodes.into_iter().flat_map(|node| self.of_node(node, version, before)));
        untrue
    }

    fn of_node(&self, node: &Node, version: KubeVersion, before: &PoolBefore) -> Vec<String> {
        let place = format!("node {}", node.name);
        let mut untrue = Vec::new();
        if node.kubelet != Some(version) {
            let found = node.kubelet.map_or_else(|| "none".to_owned(), |found| found.to_string());
            untrue.push(unequal(&place, "kubelet version", version, found));
        }
        if !node.ready {
            untrue.push(unequal(&place, "ready", "true", "false"));
        }
        if node.unschedulable && self.state.cordons().contains(&(&node.name, &node.uid)) {
            untrue.push(unequal(&place, "cordon of this run", "none", "one"));
        }
        if node.excluded_by() == Some(self.run.as_str()) {
            untrue.push(unequal(&place, EXCLUDE_LABEL, "none", "one of this run"));
        }
        for (key, value) in &before.labels {
            let found = node.labels.get(key);
            if found != Some(value) {
                let found = found.map_or("none", String::as_str);
                untrue.push(unequal(&place, &format!("label {key}"), value, found));
            }
        }
        if let Some(taints) = &before.taints {
            let found = lasting(node);
            let taints: BTreeSet<&Taint> = taints.iter().collect();
            if found != taints {
                untrue.push(unequal(&place, "taints", named(&taints), named(&found)));
            }
        }
        untrue
    }

    fn of_buffers(&self, azure: &AzureView) -> Vec<String> {
        let buffers = self.plan.steps().filter_map(|step| match &step.action {
            Action::CreateBuffer { buffer } => Some(&buffer.name),
            _ => None,
        });
        let stands = |name: &&PoolName| {
            azure.pools.iter().any(|pool| pool.name == **name) || self.view.nodes_of(name).next().is_some()
        };
        buffers.filter(stands).map(|name| unequal(&format!("buffer {name}"), "it", "gone", "there")).collect()
    }

    /// Each workload that moved is at strength: none of its pods is missing or waits for a node.
    fn of_workloads(&self) -> Vec<String> {
        let moved: BTreeSet<&WorkloadRef> = self
            .plan
            .steps()
            .filter_map(|step| match &step.action {
                Action::Move { workload, .. } if workload.kind != WorkloadKind::Job => Some(workload),
                _ => None,
            })
            .collect();
        let found = moved.into_iter().filter_map(|workload| self.view.workload(workload));
        let weak = found.filter(|workload| !workload.is_settled());
        weak.map(|workload| {
            unequal(&workload.reference.to_string(), "strength", "all pods", moves::strength(workload))
        })
        .collect()
    }
}

/// What Azure says of the cluster and of the pools that were upgraded.
fn in_azure(azure: &AzureView, version: KubeVersion, pools: &[PoolBefore]) -> Vec<String> {
    let mut untrue =
        of_resource("the control plane, in Azure", version, azure.cluster.version, &azure.cluster.state);
    for before in pools {
        let place = format!("pool {}, in Azure", before.pool);
        match azure.pools.iter().find(|pool| pool.name == before.pool) {
            None => untrue.push(unequal(&place, "it", "there", "gone")),
            Some(Pool { version: found, state, .. }) => {
                untrue.extend(of_resource(&place, version, *found, state));
            }
        }
    }
    untrue
}

fn of_resource(
    place: &str,
    version: KubeVersion,
    found: KubeVersion,
    state: &ProvisioningState,
) -> Vec<String> {
    let mut untrue = Vec::new();
    if found != version {
        untrue.push(unequal(place, "version", version, found));
    }
    if *state != ProvisioningState::Succeeded {
        untrue.push(unequal(place, "state", ProvisioningState::Succeeded, state));
    }
    untrue
}

fn unequal(
    place: &str,
    field: &str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> String {
    format!("{place}: {field}: expected {expected}, found {found}")
}

/// The taints of a node that do not come and go with its health.
fn lasting(node: &Node) -> BTreeSet<&Taint> {
    node.taints.iter().filter(|taint| PoolBefore::lasts(taint)).collect()
}

fn named(taints: &BTreeSet<&Taint>) -> String {
    let words: Vec<String> = taints.iter().map(ToString::to_string).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests;

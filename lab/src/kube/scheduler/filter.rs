//! The scheduler's filters, in the order and with the words of Kubernetes' default profile.

use std::borrow::Cow;

use upgrade_core::model::{Taint, TaintEffect};

use super::cache::{Cache, Place};
use super::needs::Needs;
use super::topology::Topology;
use super::volumes::Volumes;
use crate::store::Store;

/// Why a node is not for a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refusal {
    /// In the scheduler's words.
    pub(super) why: Cow<'static, str>,
    /// Might it change if less important pods went? Kubernetes: `Unschedulable`, else `UnschedulableAndUnresolvable`.
    pub(super) resolvable: bool,
}

impl Refusal {
    /// It might change if pods went.
    pub(super) fn for_now(why: impl Into<Cow<'static, str>>) -> Self {
        Self { why: why.into(), resolvable: true }
    }

    /// No pod that went would change it.
    pub(super) fn for_good(why: impl Into<Cow<'static, str>>) -> Self {
        Self { why: why.into(), resolvable: false }
    }
}

/// What a cordoned node says.
pub(super) const CORDONED: &str = "node(s) were unschedulable";

/// A pod on its way through the filters, with what is counted once for all nodes.
pub(super) struct Asking<'a> {
    pub(super) pod: &'a Needs,
    volumes: Volumes,
    pub(super) topology: Topology,
}

impl<'a> Asking<'a> {
    /// An error is a reason that holds for every node.
    pub(super) fn of(pod: &'a Needs, cache: &mut Cache, store: &Store) -> Result<Self, Refusal> {
        let volumes = Volumes::of(pod, store)?;
        Ok(Self { pod, volumes, topology: Topology::of(pod, cache, store) })
    }

    /// The first filter that refuses the node.
    pub(super) fn refusal(&self, place: &Place, store: &Store) -> Option<Refusal> {
        itself(self.pod, place).or_else(|| self.others(place, store))
    }

    /// The first filter that looks at more than the node.
    pub(super) fn others(&self, place: &Place, store: &Store) -> Option<Refusal> {
        self.volumes.refusal(place, store).or_else(|| self.topology.refusal(place))
    }

    /// Is there nothing more to ask than the node itself?
    pub(super) fn is_plain(&self) -> bool {
        self.volumes.is_nothing() && self.topology.is_nothing()
    }
}

/// The first filter that refuses the node for what it is and has.
pub(super) fn itself(pod: &Needs, place: &Place) -> Option<Refusal> {
    node_itself(pod, place).or_else(|| room(pod, place))
}

/// NodeUnschedulable, TaintToleration, NodeAffinity.
fn node_itself(pod: &Needs, place: &Place) -> Option<Refusal> {
    let node = &place.node;
    if node.unschedulable && !pod.rules.ignores(&cordon()) {
        return Some(Refusal::for_good(CORDONED));
    }
    if !node.taints.iter().all(|taint| pod.rules.ignores(taint)) {
        return Some(Refusal::for_good("node(s) had untolerated taint(s)"));
    }
    // Taints have been looked at: what is left are selector and affinity.
    (!pod.rules.admits(node)).then(|| Refusal::for_good("node(s) didn't match Pod's node affinity/selector"))
}

/// A cordon as the taint that it stands for.
pub(super) fn cordon() -> Taint {
    Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        value: String::new(),
        effect: TaintEffect::NoSchedule,
    }
}

/// NodePorts, NodeResourcesFit.
fn room(pod: &Needs, place: &Place) -> Option<Refusal> {
    if !pod.ports.is_empty() {
        let mut taken = place.pods.values().flat_map(|other| &other.ports);
        if taken.any(|port| pod.ports.iter().any(|own| own.conflicts(port))) {
            return Some(Refusal::for_now("node(s) didn't have free ports for the requested pod ports"));
        }
    }
    if place.pods.len() >= place.node.max_pods as usize {
        return Some(Refusal::for_now("Too many pods"));
    }
    let short = |name: &str, all: u64, used: u64, asked: u64| {
        let refusal = |resolvable| Refusal { why: format!("Insufficient {name}").into(), resolvable };
        // More than the whole node has: nobody who goes can help.
        (asked > 0 && used + asked > all).then(|| refusal(asked <= all))
    };
    let (all, used, asked) = (place.node.allocatable, place.used, pod.requests);
    short("cpu", all.cpu.0, used.cpu.0, asked.cpu.0)
        .or_else(|| short("memory", all.memory.0, used.memory.0, asked.memory.0))
        .or_else(|| {
            pod.extended.iter().find_map(|(key, asked)| {
                let of = |amounts: &std::collections::BTreeMap<String, u64>| {
                    amounts.get(key).copied().unwrap_or_default()
                };
                // Nodes of inventories do not say how much storage they have.
                let unknown = key == "ephemeral-storage" && !place.extended.contains_key(key);
                if unknown { None } else { short(key, of(&place.extended), of(&place.used_extended), *asked) }
            })
        })
}

//! The cluster autoscaler (kubernetes/autoscaler), with the profile that AKS gives it: a node is added for pods that nobody has
//! room for, and one that is little used and whose pods fit elsewhere goes after ten minutes. A cordoned node that a run has
//! emptied is just that.
//!
//! Left out: expanders (the first pool that helps is taken), soft taints, nodes that never get ready.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node as KubeNode, Pod as KubePod, Taint};
use upgrade_core::model::{Node, NodeName, Pod, Resources};
use upgrade_core::view::View;

use crate::azure::{Autoscaled, Ground};
use crate::world::World;

/// AKS: `scan-interval`.
pub(super) const SCAN: Duration = Duration::from_secs(10);
/// AKS: `scale-down-unneeded-time`.
const UNNEEDED: SignedDuration = SignedDuration::from_mins(10);
/// AKS: `scale-down-delay-after-add`.
const AFTER_ADD: SignedDuration = SignedDuration::from_mins(10);
/// A node whose pods are not gone by then stays (`max-pod-eviction-time`).
const EVICTION: SignedDuration = SignedDuration::from_mins(2);
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// What it remembers from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Since when nodes have not been needed.
    unneeded: BTreeMap<NodeName, Timestamp>,
    /// Nodes that are being emptied, and until when that may take.
    going: BTreeMap<NodeName, Timestamp>,
    /// When it added nodes last.
    grown: Option<Timestamp>,
}

pub(super) fn turn(world: &mut World) {
    finish(world);
    for pool in world.azure.autoscaled() {
        if grow(world, &pool) {
            world.actors.scaler.grown = Some(world.now());
            return;
        }
    }
    shrink(world);
}

/// Adds nodes to the pool if there are pods that only they would have room for. Says whether it did.
fn grow(world: &mut World, pool: &Autoscaled) -> bool {
    // What boots will be counted when it is there.
    if pool.machines.iter().any(|machine| !world.node_is_ready(machine)) {
        return false;
    }
    let view = &world.kube.view;
    let Some(template) = pool.machines.iter().find_map(|machine| view.node(machine)) else { return false };
    let overhead: Resources =
        view.pods_on(&template.name).filter(|pod| pod.leaves_with_node()).map(|pod| pod.requests).sum();
    let room = template.allocatable - overhead;
    let waits = |pod: &&Pod| {
        pod.node.is_none() && !pod.terminating && pod.trouble.as_deref() == Some("Unschedulable")
    };
    let helped =
        view.pods().filter(waits).filter(|pod| pod.rules.admits(template) && pod.requests.fits(room));
    let mut nodes: Vec<Resources> = Vec::new();
    for pod in helped {
        match nodes.iter_mut().find(|left| pod.requests.fits(**left)) {
            Some(left) => *left = *left - pod.requests,
            None => nodes.push(room - pod.requests),
        }
    }
    let more = nodes.len().min(pool.max.saturating_sub(pool.machines.len()));
    // Without quota it tries again later.
    more > 0 && world.with_azure(|azure, ground| azure.autoscale_up(ground, &pool.pool, more)).is_ok()
}

/// Looks for nodes that nobody needs, and begins to empty those that nobody has needed for long enough.
fn shrink(world: &mut World) {
    let now = world.now();
    let mut since = std::mem::take(&mut world.actors.scaler.unneeded);
    let mut still = BTreeMap::new();
    let mut chosen: Vec<NodeName> = Vec::new();
    let waits = world.actors.scaler.grown.is_some_and(|grown| grown + AFTER_ADD > now);
    for pool in world.azure.autoscaled() {
        let mut spare = pool.machines.len().saturating_sub(pool.min);
        for node in pool.machines {
            if world.actors.scaler.going.contains_key(&node) {
                spare = spare.saturating_sub(1);
                continue;
            }
            if !is_unneeded(world, &node) {
                continue;
            }
            let since = since.remove(&node).unwrap_or(now);
            if since + UNNEEDED <= now && spare > 0 && !waits && may_go_with(world, &chosen, &node) {
                spare -= 1;
                chosen.push(node);
            } else {
                still.insert(node, since);
            }
        }
    }
    world.actors.scaler.unneeded = still;
    for node in chosen {
        set_taint(world, &node, true);
        world.actors.scaler.going.insert(node, now + EVICTION);
    }
}

/// Empty nodes go together, others one at a time.
fn may_go_with(world: &World, chosen: &[NodeName], node: &NodeName) -> bool {
    let is_empty = |node: &NodeName| leaving(&world.kube.view, node).next().is_none();
    let going = world.actors.scaler.going.keys().chain(chosen);
    is_empty(node) || going.clone().all(is_empty) && going.clone().next().is_none()
}

/// Removes the nodes that are empty by now, and lets those stay that cannot be emptied.
fn finish(world: &mut World) {
    let now = world.now();
    let pools = world.azure.autoscaled();
    for (node, deadline) in world.actors.scaler.going.clone() {
        let left = Ground::drain(world, &node, false).left;
        let pool = pools.iter().find(|pool| pool.machines.contains(&node));
        match pool {
            Some(pool) if left == 0 => {
                let removed = world.with_azure(|azure, ground| {
                    azure.autoscale_down(ground, &pool.pool, &node);
                    Ok::<_, std::convert::Infallible>(())
                });
                let Ok(()) = removed;
            }
            _ if now < deadline => continue,
            _ => set_taint(world, &node, false),
        }
        world.actors.scaler.going.remove(&node);
    }
}

/// The pods that a node's removal moves.
fn leaving<'a>(view: &'a View, node: &NodeName) -> impl Iterator<Item = &'a Pod> {
    view.pods_on(node).filter(|pod| !pod.leaves_with_node() && !pod.terminating)
}

/// Less than half of it is asked for, and every pod on it may go and has room elsewhere.
fn is_unneeded(world: &World, name: &NodeName) -> bool {
    let view = &world.kube.view;
    let Some(node) = view.node(name).filter(|node| node.ready) else { return false };
    let asked: Resources = view.pods_on(name).filter(|pod| !pod.is_finished()).map(|pod| pod.requests).sum();
    let twice = asked + asked;
    if !twice.fits(node.allocatable) {
        return false;
    }
    leaving(view, name).all(|pod| may_go(world, name, pod)) && fit_elsewhere(world, name)
}

fn may_go(world: &World, node: &NodeName, pod: &Pod) -> bool {
    let view = &world.kube.view;
    let annotations = world.store.get::<KubePod>(pod.name.namespace(), pod.name.name());
    let annotations = annotations.and_then(|pod| pod.metadata.annotations.as_ref());
    let said = annotations.and_then(|all| all.get(SAFE_TO_EVICT)).map(String::as_str);
    let mut budgets = view.budgets_of(pod).peekable();
    let blocked = match said {
        Some("false") => true,
        Some("true") => false,
        // Nobody would make it again; a part of the system that nobody has thought of moving.
        _ => pod.owner.is_none() || (pod.name.namespace() == "kube-system" && budgets.peek().is_none()),
    };
    let allowed = budgets.all(|budget| {
        let here = leaving(view, node).filter(|pod| budget.protects(pod)).count();
        budget.status.disruptions_allowed as usize >= here
    });
    !blocked && allowed
}

/// Is there room for each of the node's pods on the others?
fn fit_elsewhere(world: &World, name: &NodeName) -> bool {
    let view = &world.kube.view;
    let others = view.nodes().filter(|node| {
        node.name != *name && node.takes_pods() && !world.actors.scaler.going.contains_key(&node.name)
    });
    let mut free: Vec<(&Node, Resources)> = others
        .map(|node| {
            let taken: Resources =
                view.pods_on(&node.name).filter(|pod| !pod.is_finished()).map(|pod| pod.requests).sum();
            (node, node.allocatable - taken)
        })
        .collect();
    leaving(view, name).all(|pod| {
        let place = free.iter_mut().find(|(node, left)| pod.rules.admits(node) && pod.requests.fits(*left));
        place.map(|(_, left)| *left = *left - pod.requests).is_some()
    })
}

fn set_taint(world: &mut World, node: &NodeName, tainted: bool) {
    let now = world.now();
    // The node may be gone.
    let _ = world.store.update::<KubeNode>("", node.as_str(), |node| {
        let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
        taints.retain(|taint| taint.key != TO_BE_DELETED);
        if tainted {
            taints.push(Taint {
                effect: "NoSchedule".to_owned(),
                key: TO_BE_DELETED.to_owned(),
                value: Some(now.as_second().to_string()),
                time_added: None,
            });
        }
    });
}

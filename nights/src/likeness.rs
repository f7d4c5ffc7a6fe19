//! What two worlds must have in common to be called the same after a night: all that an upgrade is about, and nothing that chance
//! or the hour decides.

use std::collections::BTreeMap;

use cluster_lab::Lab;
use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use upgrade_core::inventory::{Inventory, Ownership};
use upgrade_core::lock::lock_name;
use upgrade_core::model::{Node, Settings, WorkloadKind};

/// A line for each thing, sorted by place.
///
/// Of the cluster and its pools the version, size, state, settings and tags; of each node what it is and whether it takes pods; of
/// each workload its settings, its restart, and where how many of its pods are ready; who holds the lock; whether Rancher and Azure
/// agree. Left out: names and uids of pods, times, and on which node of a pool a pod is.
pub fn of(lab: &Lab) -> Vec<String> {
    let now = lab.inventory();
    let mut lines = vec![format!("control plane {} {}", now.cluster.version, now.cluster.state)];
    for pool in &now.pools {
        lines.push(format!(
            "pool {}: {} at {} {}, autoscaling {:?}, upgrade {:?}, tags {:?}, labels {:?}, taints {:?}",
            pool.name,
            pool.count,
            pool.version,
            pool.state,
            pool.autoscaling,
            pool.upgrade,
            pool.tags,
            pool.labels,
            pool.taints
        ));
    }
    for node in &now.nodes {
        let kubelet = node.kubelet.map_or("unknown".to_owned(), |version| version.to_string());
        let (ready, cordoned) = (node.ready, node.unschedulable);
        lines.push(format!(
            "node {}: {kubelet}, ready {ready}, cordoned {cordoned}, labels {:?}, taints {:?}",
            node.name, node.labels, node.taints
        ));
    }
    lines.extend(workloads(&now));
    lines.push(format!("lock held by {:?}", holder(lab)));
    if let Ownership::Managed(writer) = &now.rancher.ownership {
        lines.push(format!("Rancher differs in {:?}", writer.out_of_sync));
    }
    lines.sort();
    lines
}

/// Who holds the lock. A Lease that has ended holds nothing.
fn holder(lab: &Lab) -> Option<String> {
    let name = lock_name();
    lab.with(|world| {
        let spec = world.store.get::<Lease>(name.namespace(), name.name())?.spec.clone()?;
        let lasts = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into());
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        holder.filter(|_| spec.renew_time.is_some_and(|renewed| renewed.0 + lasts > world.now()))
    })
}

fn workloads(now: &Inventory) -> Vec<String> {
    let view = now.view();
    let own = now.workloads.iter().filter(|workload| workload.owner.is_none());
    let lines = own.map(|workload| {
        let mut places: BTreeMap<String, u32> = BTreeMap::new();
        for pod in view.pods_of(workload).filter(|pod| pod.ready && !pod.terminating) {
            let pool = pod.node.as_ref().and_then(|node| view.node(node)).and_then(Node::pool);
            *places.entry(pool.map_or("nowhere".to_owned(), |pool| pool.to_string())).or_default() += 1;
        }
        // A Job ends when it ends.
        if workload.reference.kind == WorkloadKind::Job {
            places.clear();
        }
        let settings = Settings::of(workload);
        // The restart is named after the run and the step; which run it was does not matter.
        let restart = workload.template.restart_id.as_ref().map(ToString::to_string);
        let step = restart.map(|restart| restart.rsplitn(4, '.').take(3).collect::<Vec<_>>().join("."));
        format!("{}: {settings}, restarted by {step:?}, on {places:?}", workload.reference)
    });
    let pulling = now.pods.iter().filter(|pod| pod.pulling.is_some() && !pod.terminating);
    let left = pulling.map(|pod| format!("left over: pod {}", pod.name));
    lines.chain(left).collect()
}

/// What only one of the two has.
pub fn differences(one: &[String], other: &[String]) -> Vec<String> {
    let missing = one.iter().filter(|line| !other.contains(line)).map(|line| format!("- {line}"));
    let extra = other.iter().filter(|line| !one.contains(line)).map(|line| format!("+ {line}"));
    missing.chain(extra).collect()
}

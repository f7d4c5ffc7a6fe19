//! Whether all is well: what a soak looks for.
//!
//! Workloads that the run has moved are at strength, no container of theirs or of a DaemonSet was started again, the nodes that
//! take pods are there and ready, and no Service has a gap. Each is compared with how it was when the looking began: what was
//! broken before by itself does not get better by waiting, and what grows meanwhile is not weaker for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use crate::ledger::Ledger;
use crate::model::{NodeName, Pod, Uid, Workload, WorkloadKind, WorkloadRef};
use crate::view::View;

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Objection {
    /// What.
    pub(super) object: String,
    /// In which way.
    pub(super) words: String,
}

/// How things were when the looking began.
#[derive(Clone, Debug, Default)]
pub(super) struct Baseline {
    at: Timestamp,
    /// The workloads that are looked at, with the replicas they wanted.
    workloads: BTreeMap<WorkloadRef, u32>,
    /// How often the containers of each pod had been started again.
    restarts: HashMap<Uid, u32>,
    /// The nodes that take pods.
    nodes: BTreeMap<NodeName, Uid>,
}

impl Baseline {
    /// Begins to look at these workloads, at every DaemonSet, and at the nodes.
    pub(super) fn of(view: &View, moved: &BTreeSet<&WorkloadRef>, now: Timestamp) -> Self {
        let moved = moved.iter().filter_map(|reference| view.workload(reference));
        let workloads = moved.map(|workload| (workload.reference.clone(), workload.replicas)).collect();
        let mut baseline = Self { at: now, workloads, ..Self::default() };
        let nodes = view.nodes().filter(|node| !node.unschedulable);
        baseline.nodes = nodes.map(|node| (node.name.clone(), node.uid.clone())).collect();
        let pods = baseline.pods(view).map(|(_, pod)| (pod.uid.clone(), pod.restarts)).collect();
        baseline.restarts = pods;
        baseline
    }

    /// What is not well, the most telling first.
    pub(super) fn objections(&self, view: &View, ledger: &Ledger) -> Vec<Objection> {
        let mut objections: Vec<Objection> =
            self.pods(view).filter_map(|(owner, pod)| self.restarted(owner, pod)).collect();
        let known = self.workloads.iter();
        objections.extend(known.filter_map(|(reference, replicas)| is_short(view, reference, *replicas)));
        objections.extend(self.nodes.iter().filter_map(|(name, uid)| is_unstable(view, name, uid)));
        objections.extend(ledger.gap_since(self.at).map(|gap| Objection {
            object: format!("Service {}", gap.service),
            words: match gap.end {
                None => "has no ready endpoint".to_owned(),
                Some(end) => format!("had no ready endpoint until {end:.0}"),
            },
        }));
        objections
    }

    fn pods<'v>(&'v self, view: &'v View) -> impl Iterator<Item = (&'v Workload, &'v Pod)> {
        let own = self.workloads.keys().filter_map(|reference| view.workload(reference));
        let daemons = view.workloads().filter(|workload| workload.reference.kind == WorkloadKind::DaemonSet);
        own.chain(daemons).flat_map(|workload| view.pods_of(workload).map(move |pod| (workload, pod)))
    }

    fn restarted(&self, owner: &Workload, pod: &Pod) -> Option<Objection> {
        let before = self.restarts.get(&pod.uid).copied().unwrap_or_default();
        let times = pod.restarts.checked_sub(before).filter(|times| *times > 0)?;
        let trouble = pod.trouble.as_ref().map(|trouble| format!(" ({trouble})")).unwrap_or_default();
        Some(Objection {
            object: format!("pod {} of {}", pod.name, owner.reference),
            words: format!("was started again, {times} more of its containers{trouble}"),
        })
    }
}

/// Has it fewer available pods than it wanted when the looking began, or wants now if that is less?
fn is_short(view: &View, reference: &WorkloadRef, replicas: u32) -> Option<Objection> {
    let workload = view.workload(reference)?;
    match &reference.kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::ReplicaSet => {}
        // A Job ends, what a DaemonSet wants follows the nodes, and what an operator counts is its own.
        WorkloadKind::DaemonSet | WorkloadKind::Job | WorkloadKind::Other(_) => return None,
    }
    let (wanted, status) = (replicas.min(workload.replicas), &workload.status);
    if status.available >= wanted && status.observed_generation >= workload.generation {
        return None;
    }
    let ill = view.pods_of(workload).find(|pod| !pod.is_finished() && !pod.is_healthy());
    let ill = ill.map(|pod| match &pod.trouble {
        Some(trouble) => format!("; pod {}: {trouble}", pod.name),
        None => format!("; pod {} is not ready", pod.name),
    });
    Some(Objection {
        object: reference.to_string(),
        words: format!("has {} of {wanted} pods available{}", status.available, ill.unwrap_or_default()),
    })
}

fn is_unstable(view: &View, name: &NodeName, uid: &Uid) -> Option<Objection> {
    let words = match view.node(name) {
        Some(node) if node.uid == *uid && node.ready => return None,
        Some(node) if node.uid == *uid => "is not ready",
        Some(_) => "is another one now",
        None => "is gone",
    };
    Some(Objection { object: format!("node {name}"), words: words.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::{inventory, pod};
    use crate::view::{Change, Object, ResourceKind};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// What is not well after these changes.
    fn told(changes: Vec<Change>) -> Vec<String> {
        let mut view = inventory().view();
        let web = inventory().workloads[0].reference.clone();
        let baseline = Baseline::of(&view, &BTreeSet::from([&web]), at(0));
        assert_eq!(baseline.objections(&view, &Ledger::default()), []);
        for change in changes {
            view.apply(change);
        }
        let objections = baseline.objections(&view, &Ledger::default());
        objections.into_iter().map(|objection| format!("{} {}", objection.object, objection.words)).collect()
    }

    fn first_pod() -> Pod {
        inventory().pods[0].clone()
    }

    #[test]
    fn a_container_that_was_started_again_is_told_with_its_pod_and_workload() {
        let mut restarted = first_pod();
        (restarted.restarts, restarted.trouble) = (2, Some("CrashLoopBackOff".into()));
        let fresh = Pod { restarts: 1, ..pod("shop/web-1-new", "u0") };
        let changes = [restarted.clone(), fresh].map(|pod| Change::Applied(Object::Pod(pod)));
        assert_eq!(
            told(changes.into()),
            [
                format!(
                    "pod {} of Deployment shop/web was started again, 2 more of its containers (CrashLoopBackOff)",
                    restarted.name
                ),
                "pod shop/web-1-new of Deployment shop/web was started again, 1 more of its containers"
                    .to_owned(),
            ]
        );
    }

    #[test]
    fn a_workload_below_its_strength_is_told_and_one_that_grows_is_not() {
        let mut web = inventory().workloads[0].clone();
        web.replicas += 2;
        web.status.replicas += 2;
        assert_eq!(told(vec![Change::Applied(Object::Workload(web.clone()))]), [""; 0]);
        web.status.available -= 1;
        let mut ill = first_pod();
        (ill.ready, ill.trouble) = (false, Some("ImagePullBackOff".into()));
        let name = ill.name.clone();
        let changes = vec![Change::Applied(Object::Workload(web.clone())), Change::Applied(Object::Pod(ill))];
        let wanted = web.replicas - 2;
        assert_eq!(
            told(changes),
            [format!(
                "Deployment shop/web has {} of {wanted} pods available; pod {name}: ImagePullBackOff",
                wanted - 1
            )]
        );
    }

    #[test]
    fn a_node_that_is_lost_or_not_ready_is_told_and_a_cordoned_one_is_nobodys_loss() {
        let nodes = inventory().nodes;
        let gone = Change::Deleted { kind: ResourceKind::Node, name: nodes[0].name.to_string() };
        let mut silent = nodes[1].clone();
        silent.ready = false;
        assert_eq!(
            told(vec![gone, Change::Applied(Object::Node(silent))]),
            [format!("node {} is gone", nodes[0].name), format!("node {} is not ready", nodes[1].name)]
        );
    }
}

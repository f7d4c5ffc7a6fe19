//! Where the pods of a move find room.
//!
//! A move begins only if its pods fit onto the nodes that take pods now, beside those of the moves under way: what would only
//! wait there as `Pending` preempts others, or leaves a rollout half done. The rules are the scheduler's own as far as they are
//! sums and labels (NodeResourcesFit, NodeAffinity, TaintToleration, NodePorts, NodeVolumeLimits, the zones of volumes); what
//! depends on the neighbours (affinity between pods, spread) is left to the scheduler.
//!
//! How many disks a node can have, CSINode says; the plan has read it. A disk counts on the node where a pod uses it: the
//! scheduler waits besides for those that are still being detached.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::MoveCase;
use crate::journal::Write;
use crate::model::{
    Node, NodeName, ObjectName, Pod, PoolName, Resources, SchedulingRules, Settings, Workload, WorkloadRef,
};
use crate::plan::Route;
use crate::run::Verdict;
use crate::view::View;

/// What a pod needs of a node.
#[derive(Clone, Copy)]
struct Needs<'a> {
    requests: Resources,
    rules: &'a SchedulingRules,
    namespace: &'a str,
    claims: &'a [String],
    /// How many disks it brings along.
    disks: u32,
}

impl<'a> Needs<'a> {
    fn of_pod(pod: &'a Pod, view: &View) -> Self {
        let namespace = pod.name.namespace();
        let disks = count(disks_of(pod, view));
        Self { requests: pod.requests, rules: &pod.rules, namespace, claims: &pod.claims, disks }
    }

    /// Of the disks that a StatefulSet makes for each of its pods only the pods know.
    fn of_new_pod(workload: &'a Workload, view: &View) -> Self {
        let (template, namespace) = (&workload.template, workload.reference.name.namespace());
        let disks = view.pods_of(workload).map(|pod| count(disks_of(pod, view))).max().unwrap_or_default();
        Self {
            requests: template.requests,
            rules: &template.rules,
            namespace,
            claims: &template.claims,
            disks,
        }
    }

    /// Does whatever has no room for `self` have none for `other`, either?
    fn is_no_more_than(&self, other: &Needs<'_>) -> bool {
        let alike = self.claims.is_empty() && other.claims.is_empty() && self.rules == other.rules;
        alike && self.disks <= other.disks && self.requests.fits(other.requests)
    }
}

/// The disks that a pod takes to its node.
fn disks_of<'a>(pod: &Pod, view: &'a View) -> impl Iterator<Item = &'a ObjectName> {
    let namespace = pod.name.namespace();
    let names = pod.claims.iter().filter_map(move |claim| ObjectName::new(namespace, claim.as_str()).ok());
    names.filter_map(|name| view.claim(&name)).filter(|claim| claim.disk).map(|claim| &claim.name)
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

/// What is spoken for on a node, or used.
#[derive(Clone, Copy, Default)]
struct Spoken {
    requests: Resources,
    pods: u32,
    disks: u32,
}

/// What a node has left.
struct Left {
    resources: Resources,
    pods: u32,
    /// `None`: nobody says how many disks it can have, or nobody has asked.
    disks: Option<u32>,
}

impl Left {
    /// For how many such pods it is enough, but for host ports.
    fn is_enough_for(&self, needs: &Needs<'_>) -> u32 {
        let times = |free: u64, asked: u64| {
            free.checked_div(asked).map_or(u32::MAX, |times| u32::try_from(times).unwrap_or(u32::MAX))
        };
        let by_cpu = times(self.resources.cpu.0, needs.requests.cpu.0);
        let by_memory = times(self.resources.memory.0, needs.requests.memory.0);
        let by_disks = self.disks.map_or(u32::MAX, |disks| times(disks.into(), needs.disks.into()));
        self.pods.min(by_cpu).min(by_memory).min(by_disks)
    }
}

/// The room on the nodes that take pods, in one round: what one move is given is gone for the next.
pub(super) struct Room<'a> {
    view: &'a View,
    disks_per_node: &'a BTreeMap<PoolName, u32>,
    /// What is spoken for beyond what is there already. `None` until somebody asks: most rounds begin nothing.
    promised: Option<BTreeMap<&'a NodeName, Spoken>>,
    refused: Vec<Needs<'a>>,
}

impl<'a> Room<'a> {
    pub(super) fn new(case: &MoveCase<'a>) -> Self {
        let (view, disks_per_node) = (case.view, case.disks_per_node);
        Self { view, disks_per_node, promised: None, refused: Vec::new() }
    }

    /// What is left of the writes that a move wants: those whose pods find room. A restart is all or nothing; where nothing else
    /// is under way it is asked for anyhow: the old pods stay until the new ones work, and the scheduler has the last word. So
    /// is an eviction where an autoscaler adds nodes, which it does for pods that wait.
    pub(super) fn only_what_fits(
        &mut self,
        case: &MoveCase<'a>,
        mover: &WorkloadRef,
        verdict: Verdict,
    ) -> Verdict {
        let Verdict::Write(mut writes) = verdict else { return verdict };
        let alone = case.under_way.iter().all(|(workload, _)| *workload == mover);
        let has_begun = case.under_way.iter().any(|(workload, _)| *workload == mover);
        let fits = |write: &Write| match write {
            // Sent again: its room is kept already.
            Write::Restart { .. } | Write::Lend { .. } if has_begun => true,
            Write::Lend { workload, former, lent: Settings { replicas: Some(lent), .. }, .. } => {
                let Some(workload) = case.view.workload(workload) else { return true };
                let more = lent.saturating_sub(former.replicas.unwrap_or(workload.replicas));
                self.take(case, &Needs::of_new_pod(workload, self.view), more) || alone && case.may_grow
            }
            // What is borrowed for a restart is borrowed when the restart may follow.
            Write::Restart { workload, .. } | Write::Lend { workload, .. } => {
                let Some(workload) = case.view.workload(workload) else { return true };
                let (needs, count) = (Needs::of_new_pod(workload, self.view), workload.replicas);
                let coming = count.saturating_sub(self.placed(workload, case, Node::takes_pods));
                self.take(case, &needs, coming) || alone
            }
            Write::Evict { pod, .. } => {
                let Some(pod) = case.view.pod(pod).filter(|pod| pod.owner.is_some()) else { return true };
                self.take(case, &Needs::of_pod(pod, self.view), 1) || alone && case.may_grow
            }
            // None of them brings a pod that has to find a place.
            Write::Cordon { .. }
            | Write::Uncordon { .. }
            | Write::Exclude { .. }
            | Write::Include { .. }
            | Write::GiveBack { .. }
            | Write::CreatePrewarmPod { .. }
            | Write::DeletePrewarmPod { .. }
            | Write::UpgradeControlPlane { .. }
            | Write::CreatePool { .. }
            | Write::UpgradePool { .. }
            | Write::DeletePool { .. } => true,
        };
        let (all, which) = (writes.len(), writes.first().cloned());
        let fitting = writes.iter().map(fits).take_while(|fits| *fits).count();
        writes.truncate(fitting);
        match (fitting, which) {
            (0, Some(write)) if all > 0 => Verdict::NoRoom(self.why_not(&write, mover)),
            _ => Verdict::Write(writes),
        }
    }

    /// Promises room for so many pods; if there is none for all of them, nothing is promised.
    fn take(&mut self, case: &MoveCase<'a>, needs: &Needs<'a>, count: u32) -> bool {
        if self.refused.iter().any(|refused| refused.is_no_more_than(needs)) {
            return false;
        }
        let mut promised = self.promised.take().unwrap_or_else(|| self.under_way(case));
        let places = self.places(&promised, needs, count);
        let fits = places.iter().map(|(_, pods)| pods).sum::<u32>() == count;
        if fits {
            promise(&mut promised, &places, needs);
        } else {
            self.refused.push(*needs);
        }
        self.promised = Some(promised);
        fits
    }

    /// The pods of moves under way that are still to come. One that finds no room here is left to the scheduler.
    fn under_way(&self, case: &MoveCase<'a>) -> BTreeMap<&'a NodeName, Spoken> {
        let mut promised = BTreeMap::new();
        for (workload, route) in &case.under_way {
            let Some(workload) = self.view.workload(workload) else { continue };
            let placed = match route {
                // Whatever is on nodes that take no pods any more comes again.
                Route::Restart | Route::RestartWithLoan => self.placed(workload, case, Node::takes_pods),
                Route::Evict | Route::ScaleThenEvict | Route::WaitThenEvict | Route::Gap => {
                    self.placed(workload, case, |_| true)
                }
            };
            let needs = Needs::of_new_pod(workload, self.view);
            let places = self.places(&promised, &needs, workload.replicas.saturating_sub(placed));
            promise(&mut promised, &places, &needs);
        }
        promised
    }

    /// How many of its pods are on such nodes, and stay there.
    fn placed(&self, workload: &Workload, case: &MoveCase<'_>, on: fn(&Node) -> bool) -> u32 {
        let stays = |pod: &&Pod| {
            let node = pod.node.as_ref().and_then(|name| self.view.node(name));
            let going = pod.terminating || pod.is_finished() || case.leaving.contains(&pod.uid);
            !going && node.is_some_and(on)
        };
        count(self.view.pods_of(workload).filter(stays))
    }

    /// Nodes for so many pods, or for as many as find room. Looks at each node once.
    fn places(
        &self,
        promised: &BTreeMap<&'a NodeName, Spoken>,
        needs: &Needs<'_>,
        count: u32,
    ) -> Vec<(&'a NodeName, u32)> {
        let zones = self.zones(needs);
        let mut places = Vec::new();
        let mut missing = count;
        for node in self.view.nodes_that_take_pods() {
            if missing == 0 {
                break;
            }
            let in_zone = zones.as_ref().is_none_or(|zones| node.zone().is_some_and(|z| zones.contains(z)));
            if !in_zone || !needs.rules.admits(node) {
                continue;
            }
            let spoken = promised.get(&node.name).copied().unwrap_or_default();
            let fitting = self.how_many(node, spoken, needs).min(missing);
            if fitting > 0 {
                places.push((&node.name, fitting));
                missing -= fitting;
            }
        }
        places
    }

    /// How many such pods a node has room for.
    fn how_many(&self, node: &Node, spoken: Spoken, needs: &Needs<'_>) -> u32 {
        let by_ports = match needs.rules.host_ports[..] {
            [] => u32::MAX,
            _ => u32::from(self.ports_are_free(node, needs.rules)),
        };
        self.left(node, spoken, needs).is_enough_for(needs).min(by_ports)
    }

    /// What a node has left; of disks only if somebody needs one.
    fn left(&self, node: &Node, spoken: Spoken, needs: &Needs<'_>) -> Left {
        let used = self.view.usage_of(&node.name);
        let resources = node.allocatable - used.requests - spoken.requests;
        let pods = node.max_pods.saturating_sub(used.pods).saturating_sub(spoken.pods);
        let limit = node.pool().filter(|_| needs.disks > 0);
        let limit = limit.and_then(|pool| self.disks_per_node.get(&pool));
        let disks = limit.map(|limit| limit.saturating_sub(self.disks_on(node)).saturating_sub(spoken.disks));
        Left { resources, pods, disks }
    }

    /// How many disks the pods on a node use.
    fn disks_on(&self, node: &Node) -> u32 {
        let pods = self.view.pods_on(&node.name).filter(|pod| !pod.is_finished());
        let disks: BTreeSet<&ObjectName> = pods.flat_map(|pod| disks_of(pod, self.view)).collect();
        count(disks.into_iter())
    }

    /// The zones that all of a pod's volumes share; `None` if none of them is bound to a zone.
    fn zones(&self, needs: &Needs<'_>) -> Option<BTreeSet<&'a str>> {
        let claims =
            needs.claims.iter().filter_map(|claim| ObjectName::new(needs.namespace, claim.as_str()).ok());
        let zoned = claims.filter_map(|name| self.view.claim(&name)).filter(|claim| !claim.zones.is_empty());
        let sets = zoned.map(|claim| claim.zones.iter().map(String::as_str).collect::<BTreeSet<_>>());
        sets.reduce(|all, zones| &all & &zones)
    }

    fn ports_are_free(&self, node: &Node, rules: &SchedulingRules) -> bool {
        let taken = |port: &u16| {
            let holds = |pod: &Pod| !pod.is_finished() && pod.rules.host_ports.contains(port);
            self.view.pods_on(&node.name).any(holds)
        };
        !rules.host_ports.iter().any(taken)
    }

    /// Names what is missing: the pod, what it asks for, and the most that a node it may run on has left.
    fn why_not(&self, write: &Write, mover: &WorkloadRef) -> String {
        let pod = if let Write::Evict { pod, .. } = write { self.view.pod(pod) } else { None };
        let needs = match pod {
            Some(pod) => Some(Needs::of_pod(pod, self.view)),
            None => self.view.workload(mover).map(|workload| Needs::of_new_pod(workload, self.view)),
        };
        let Some(needs) = needs else { return format!("{mover}: room") };
        let admitting = self.view.nodes_that_take_pods().filter(|node| needs.rules.admits(node));
        let left = |node: &Node| {
            let promised = self.promised.as_ref().and_then(|promised| promised.get(&node.name));
            self.left(node, promised.copied().unwrap_or_default(), &needs)
        };
        let most = admitting.map(|node| (left(node), node)).max_by_key(|(left, node)| {
            let has_disks = left.disks.is_none_or(|disks| disks >= needs.disks);
            (left.pods > 0, has_disks, left.resources.cpu, left.resources.memory, &node.name)
        });
        let disks = |disks: u32| format!(", {disks} disk(s)");
        let left = match most {
            None => "no node that it may run on takes pods".to_owned(),
            Some((left, node)) => format!(
                "node {} has the most left: {}, {} pod(s){}",
                node.name,
                left.resources,
                left.pods,
                left.disks.map(disks).unwrap_or_default()
            ),
        };
        let own = if needs.disks > 0 { disks(needs.disks) } else { String::new() };
        format!("room for the pods of {mover} ({}{own} each); {left}", needs.requests)
    }
}

fn promise<'a>(
    promised: &mut BTreeMap<&'a NodeName, Spoken>,
    places: &[(&'a NodeName, u32)],
    needs: &Needs<'_>,
) {
    for (node, pods) in places {
        let spoken = promised.entry(node).or_default();
        spoken.pods += pods;
        spoken.disks += pods * needs.disks;
        (0..*pods).for_each(|_| spoken.requests += needs.requests);
    }
}

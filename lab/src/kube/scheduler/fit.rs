//! Which node a pod goes to: Kubernetes' filters, then its scores. By the model's own rules, which the planner uses too.

use std::collections::BTreeMap;

use upgrade_core::model::{
    AffinityTerm, Node, ObjectName, Pod, Resources, SchedulingRules, SpreadRule, Taint, TaintEffect,
    Toleration, TolerationOperator,
};
use upgrade_core::view::View;

/// Requests that the scores assume where a pod has none (Kubernetes: non-zero requests).
const ASSUMED: Resources = Resources::new(100, 200);

/// A node with what is on it.
struct Place<'a> {
    node: &'a Node,
    /// Pods that hold resources: all but finished ones.
    pods: Vec<&'a Pod>,
    used: Resources,
}

/// The node for a pod, or why there is none, in the scheduler's words.
pub(super) fn choose<'a>(view: &'a View, pod: &Pod, rng: &mut fastrand::Rng) -> Result<&'a Node, String> {
    let places: Vec<Place<'a>> = view.nodes().map(|node| Place::of(view, node)).collect();
    let mut refusals: BTreeMap<&'static str, usize> = BTreeMap::new();
    let apart = Apart::of(pod, &places);
    let spread = Spread::required(pod, &places);
    let mut feasible = Vec::new();
    for place in &places {
        match place
            .refuses(view, pod)
            .or_else(|| apart.refuses(place.node))
            .or_else(|| spread.refuses(pod, place.node))
        {
            Some(why) => *refusals.entry(why).or_default() += 1,
            None => feasible.push(place),
        }
    }
    let scores = score(pod, &feasible);
    let best = scores.iter().max().copied();
    let ties: Vec<&Node> = feasible
        .iter()
        .zip(&scores)
        .filter(|(_, score)| Some(**score) == best)
        .map(|(place, _)| place.node)
        .collect();
    if ties.is_empty() {
        let reasons: Vec<String> = refusals.iter().map(|(why, nodes)| format!("{nodes} {why}")).collect();
        return Err(format!("0/{} nodes are available: {}.", places.len(), reasons.join(", ")));
    }
    Ok(ties[rng.usize(..ties.len())])
}

impl<'a> Place<'a> {
    fn of(view: &'a View, node: &'a Node) -> Self {
        let pods: Vec<&Pod> = view.pods_on(&node.name).filter(|pod| !pod.is_finished()).collect();
        let used = pods.iter().map(|pod| pod.requests).sum();
        Self { node, pods, used }
    }

    /// The filters that look at one node alone.
    fn refuses(&self, view: &View, pod: &Pod) -> Option<&'static str> {
        let node = self.node;
        let cordon = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            value: String::new(),
            effect: TaintEffect::NoSchedule,
        };
        if node.unschedulable && !pod.rules.ignores(&cordon) {
            return Some("node(s) were unschedulable");
        }
        if !node.taints.iter().all(|taint| pod.rules.ignores(taint)) {
            return Some("node(s) had untolerated taint(s)");
        }
        if !pod.rules.admits(node) {
            return Some("node(s) didn't match Pod's node affinity/selector");
        }
        if self.pods.len() >= node.max_pods as usize {
            return Some("Too many pods");
        }
        let room = node.allocatable - self.used;
        let overbooked = |used: u64, all: u64, asked: u64| asked > 0 && used + asked > all;
        if overbooked(self.used.cpu.0, node.allocatable.cpu.0, pod.requests.cpu.0) {
            return Some("Insufficient cpu");
        }
        if pod.requests.memory.0 > 0 && pod.requests.memory > room.memory {
            return Some("Insufficient memory");
        }
        let taken = |port: &u16| self.pods.iter().any(|other| other.rules.host_ports.contains(port));
        if pod.rules.host_ports.iter().any(taken) {
            return Some("node(s) didn't have free ports for the requested pod ports");
        }
        self.refuses_volumes(view, pod)
    }

    fn refuses_volumes(&self, view: &View, pod: &Pod) -> Option<&'static str> {
        for claim in &pod.claims {
            let name = ObjectName::new(pod.name.namespace(), claim.as_str()).ok();
            let Some(claim) = name.and_then(|name| view.claim(&name)) else {
                return Some("persistentvolumeclaim(s) not found");
            };
            let here = self.node.zone();
            if !claim.zones.is_empty() && !claim.zones.iter().any(|zone| Some(zone.as_str()) == here) {
                return Some("node(s) had volume node affinity conflict");
            }
        }
        None
    }
}

/// Is `other` among the pods a term means, for a pod of `namespace`?
fn means(term: &AffinityTerm, namespace: &str, other: &Pod) -> bool {
    let there = other.name.namespace();
    let meant = if term.namespaces.is_empty() {
        there == namespace
    } else {
        term.namespaces.iter().any(|n| n == there)
    };
    meant && term.selector.matches(&other.labels)
}

fn domain<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.labels.get(key).map(String::as_str)
}

/// Required affinity and anti-affinity, with the symmetry of the latter: pods that are there may refuse the new one.
struct Apart {
    forbidden: Vec<(String, String)>,
    wanted: Vec<Wanted>,
}

struct Wanted {
    key: String,
    domains: Vec<String>,
    /// The first pod of a group that wants to be together may go anywhere.
    first: bool,
}

impl Apart {
    fn of(pod: &Pod, places: &[Place<'_>]) -> Self {
        let namespace = pod.name.namespace();
        let mut forbidden = Vec::new();
        let mut forbid = |node: &Node, key: &str| {
            if let Some(value) = domain(node, key) {
                forbidden.push((key.to_owned(), value.to_owned()));
            }
        };
        let everybody =
            || places.iter().flat_map(|place| place.pods.iter().map(move |other| (place.node, *other)));
        for (node, other) in everybody() {
            for term in pod.rules.pod_anti_affinity.iter().filter(|term| means(term, namespace, other)) {
                forbid(node, &term.topology_key);
            }
            let theirs = other.rules.pod_anti_affinity.iter();
            for term in theirs.filter(|term| means(term, other.name.namespace(), pod)) {
                forbid(node, &term.topology_key);
            }
        }
        let wanted = pod.rules.pod_affinity.iter().map(|term| {
            let near = everybody().filter(|(_, other)| means(term, namespace, other));
            let domains: Vec<String> =
                near.filter_map(|(node, _)| domain(node, &term.topology_key).map(str::to_owned)).collect();
            let first = domains.is_empty() && means(term, namespace, pod);
            Wanted { key: term.topology_key.clone(), domains, first }
        });
        Self { wanted: wanted.collect(), forbidden }
    }

    fn refuses(&self, node: &Node) -> Option<&'static str> {
        if self.forbidden.iter().any(|(key, value)| domain(node, key) == Some(value)) {
            return Some("node(s) didn't match pod anti-affinity rules");
        }
        let near = |wanted: &Wanted| {
            domain(node, &wanted.key)
                .is_some_and(|here| wanted.first || wanted.domains.iter().any(|d| d == here))
        };
        (!self.wanted.iter().all(near)).then_some("node(s) didn't match pod affinity rules")
    }
}

/// The `DoNotSchedule` spread constraints with the pods counted by domain.
struct Spread<'r> {
    rules: Vec<(&'r SpreadRule, BTreeMap<String, u32>)>,
}

impl<'r> Spread<'r> {
    fn required(pod: &'r Pod, places: &[Place<'_>]) -> Self {
        // Nodes that the pod's affinity excludes are no domains; tainted and cordoned ones are (nodeTaintsPolicy Ignore).
        let everything = Toleration {
            key: None,
            operator: TolerationOperator::Exists,
            value: String::new(),
            effect: None,
        };
        let rules = SchedulingRules { tolerations: vec![everything], ..(*pod.rules).clone() };
        let required = pod.rules.spread.iter().filter(|rule| rule.required);
        let counted = required.map(|rule| {
            let mut counts = BTreeMap::new();
            for place in places.iter().filter(|place| rules.admits(place.node)) {
                let Some(here) = domain(place.node, &rule.topology_key) else { continue };
                *counts.entry(here.to_owned()).or_default() +=
                    count(pod, &place.pods, |other| rule.selector.matches(&other.labels));
            }
            (rule, counts)
        });
        Self { rules: counted.collect() }
    }

    fn refuses(&self, pod: &Pod, node: &Node) -> Option<&'static str> {
        for (rule, counts) in &self.rules {
            let Some(here) = domain(node, &rule.topology_key) else {
                return Some("node(s) didn't match pod topology spread constraints (missing required label)");
            };
            let least = counts.values().min().copied().unwrap_or_default();
            let own = u32::from(rule.selector.matches(&pod.labels));
            let would_be = counts.get(here).copied().unwrap_or_default() + own;
            if would_be > least + rule.max_skew {
                return Some("node(s) didn't match pod topology spread constraints");
            }
        }
        None
    }
}

/// Pods in the pod's namespace that are meant; terminating ones do not count for spread.
fn count(pod: &Pod, there: &[&Pod], meant: impl Fn(&Pod) -> bool) -> u32 {
    let namespace = pod.name.namespace();
    let counted = there.iter().filter(|p| p.name.namespace() == namespace && !p.terminating && meant(p));
    u32::try_from(counted.count()).unwrap_or(u32::MAX)
}

/// `LeastAllocated` with weight 1 and `PodTopologySpread` with weight 2, each 0 to 100.
fn score(pod: &Pod, places: &[&Place<'_>]) -> Vec<i64> {
    let spread = spread_scores(pod, places);
    places.iter().zip(spread).map(|(place, spread)| least_allocated(pod, place) + 2 * spread).collect()
}

fn least_allocated(pod: &Pod, place: &Place<'_>) -> i64 {
    let assumed = |asked: u64, default: u64| if asked == 0 { default } else { asked };
    let pods = || place.pods.iter().copied().chain([pod]);
    let cpu: u64 = pods().map(|p| assumed(p.requests.cpu.0, ASSUMED.cpu.0)).sum();
    let memory: u64 = pods().map(|p| assumed(p.requests.memory.0, ASSUMED.memory.0)).sum();
    let free = |all: u64, used: u64| {
        let percent = all.saturating_sub(used) * 100 / all.max(1);
        i64::try_from(percent).unwrap_or_default()
    };
    i64::midpoint(free(place.node.allocatable.cpu.0, cpu), free(place.node.allocatable.memory.0, memory))
}

/// The constraints that only prefer; without any, Kubernetes' defaults: hosts with a skew of 3 and zones with one of 5, among
/// the pods of the same owner.
fn spread_scores(pod: &Pod, places: &[&Place<'_>]) -> Vec<i64> {
    const HOST: &str = "kubernetes.io/hostname";
    const ZONE: &str = "topology.kubernetes.io/zone";
    let soft: Vec<&SpreadRule> = pod.rules.spread.iter().filter(|rule| !rule.required).collect();
    let owner = pod.owner.as_ref().map(|owner| &owner.uid);
    let raw: Vec<f64> = if soft.is_empty() && pod.rules.spread.is_empty() && owner.is_some() {
        let sibling = |other: &Pod| other.owner.as_ref().map(|o| &o.uid) == owner;
        let of = |key, skew| raw_scores(pod, places, key, skew, &sibling);
        sum(&of(HOST, 3), &of(ZONE, 5))
    } else {
        let none = vec![0.0; places.len()];
        soft.iter().fold(none, |total, rule| {
            let meant = |other: &Pod| rule.selector.matches(&other.labels);
            sum(&total, &raw_scores(pod, places, &rule.topology_key, rule.max_skew, &meant))
        })
    };
    let most = raw.iter().copied().fold(0.0, f64::max);
    let least = raw.iter().copied().fold(most, f64::min);
    let normal = |raw: &f64| if most == 0.0 { 100.0 } else { 100.0 * (most + least - raw) / most };
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and 100")]
    raw.iter().map(|raw| normal(raw) as i64).collect()
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn raw_scores(
    pod: &Pod,
    places: &[&Place<'_>],
    key: &str,
    skew: u32,
    meant: &dyn Fn(&Pod) -> bool,
) -> Vec<f64> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for place in places {
        if let Some(here) = domain(place.node, key) {
            *counts.entry(here).or_default() += count(pod, &place.pods, meant);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful of zones, a few thousand nodes")]
    let weight = ((counts.len() + 2) as f64).ln();
    let of = |place: &&Place<'_>| {
        let here = domain(place.node, key).and_then(|here| counts.get(here)).copied();
        here.map_or(0.0, |count| (f64::from(count) * weight + f64::from(skew) - 1.0).round())
    };
    places.iter().map(of).collect()
}

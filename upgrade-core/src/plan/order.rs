//! In which order workloads leave a pool.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Labels, ObjectName, ServiceType, Workload, WorkloadKind, WorkloadRef};
use crate::plan::route::RouteChoice;
use crate::view::View;

/// A turn: what of it has left before anything of the next one begins.
///
/// Rancher's agent goes first, and alone. It may be our own connection to the cluster, and while it moves, calls end without an
/// answer: nothing else must be in flight then. And if Rancher cannot be reached from the new nodes, that shows before any other
/// workload has left its place, while a person can still mend it at leisure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// Rancher's agent.
    Agent,
    /// What the API server asks (webhooks that block) or passes requests on to (aggregated APIs): no pod is made without it.
    Asked,
    /// What takes traffic from outside and hands it on.
    Entry,
    /// Everything else, by priority.
    Rest,
}

impl Turn {
    /// What the plan says of a turn; `None` where there is nothing special.
    pub(super) fn words(self) -> Option<&'static str> {
        match self {
            Self::Agent => Some("first and alone, the Rancher agent"),
            Self::Asked => Some("first, what the API server asks"),
            Self::Entry => Some("before the rest, what takes traffic from outside"),
            Self::Rest => None,
        }
    }
}

/// A workload that moves.
pub(super) type Mover = (WorkloadRef, RouteChoice);

/// The workloads that move, turn by turn; within a turn those that others wait for first, then the more important ones, so that
/// nobody who is there already is pushed out by a latecomer, then the large ones, so that the long moves do not begin last.
pub(super) fn in_turns(
    movers: Vec<(u32, WorkloadRef, RouteChoice)>,
    asked: &BTreeSet<&ObjectName>,
    view: &View,
) -> Vec<(Turn, Vec<Mover>)> {
    let depths = depths(movers.iter().map(|(_, owner, _)| owner), view);
    let mut turns: BTreeMap<Turn, Vec<_>> = BTreeMap::new();
    for (size, owner, choice) in movers {
        let (labels, priority) = seen(&owner, view);
        let depth = depths.get(&owner).copied().unwrap_or(0);
        let place = (depth, Reverse(priority), Reverse(size), owner.clone());
        turns.entry(turn(&owner, &labels, asked, view)).or_default().push((place, (owner, choice)));
    }
    let sorted = turns.into_iter().map(|(turn, mut movers)| {
        movers.sort_by(|(a, _), (b, _)| a.cmp(b));
        (turn, movers.into_iter().map(|(_, mover)| mover).collect())
    });
    sorted.collect()
}

fn turn(owner: &WorkloadRef, labels: &Labels, asked: &BTreeSet<&ObjectName>, view: &View) -> Turn {
    let namespace = owner.name.namespace();
    if is_agent(owner) {
        Turn::Agent
    } else if view.services_for(namespace, labels).any(|service| asked.contains(&service.name)) {
        Turn::Asked
    } else if is_entry(namespace, labels, view) {
        Turn::Entry
    } else {
        Turn::Rest
    }
}

/// Rancher's agent in the cluster (Rancher: `cattle-cluster-agent` in `cattle-system`).
fn is_agent(owner: &WorkloadRef) -> bool {
    owner.kind == WorkloadKind::Deployment
        && (owner.name.namespace(), owner.name.name()) == ("cattle-system", "cattle-cluster-agent")
}

/// Does it take traffic from outside: by a load balancer in front of it, or as the controller of Azure's Application Gateway,
/// which no Service is in front of (AGIC: label `app: ingress-appgw`)?
pub(crate) fn is_entry(namespace: &str, labels: &Labels, view: &View) -> bool {
    labels.get("app").is_some_and(|app| app == "ingress-appgw")
        || view
            .services_for(namespace, labels)
            .any(|service| service.service_type == ServiceType::LoadBalancer)
}

/// The labels of a workload's pods, and their priority: a template says it by a class, a pod by its value.
fn seen(owner: &WorkloadRef, view: &View) -> (Labels, i32) {
    let Some(workload) = view.workload(owner) else {
        let mut pods = view.pods_in_namespace(owner.name.namespace());
        let pod = pods.find(|pod| view.workload_of(pod).as_ref() == Some(owner));
        return pod.map_or_else(Default::default, |pod| ((*pod.labels).clone(), pod.priority));
    };
    let priority = view.pods_of(workload).map(|pod| pod.priority).max();
    (workload.template.labels.clone(), priority.unwrap_or(0).max(workload.template.priority))
}

/// How many others each workload waits for, one behind the other: a pod that must run beside another's pod (required affinity)
/// finds a place only where that one is already.
fn depths<'a>(owners: impl Iterator<Item = &'a WorkloadRef>, view: &View) -> BTreeMap<WorkloadRef, usize> {
    let known: Vec<(&WorkloadRef, &Workload)> =
        owners.filter_map(|owner| Some((owner, view.workload(owner)?))).collect();
    let needs = |of: &Workload, other: &Workload| {
        let namespace = of.reference.name.namespace();
        of.reference != other.reference
            && of.template.rules.pod_affinity.iter().any(|term| {
                let there = other.reference.name.namespace();
                let named = term.namespaces.iter().any(|name| name == there);
                (named || term.namespaces.is_empty() && namespace == there)
                    && term.selector.matches(&other.template.labels)
            })
    };
    let mut depths: BTreeMap<WorkloadRef, usize> = BTreeMap::new();
    let dependent = known.iter().filter(|(_, workload)| !workload.template.rules.pod_affinity.is_empty());
    let waits: Vec<(&WorkloadRef, Vec<&WorkloadRef>)> = dependent
        .map(|(owner, workload)| {
            let others = known.iter().filter(|(_, other)| needs(workload, other));
            (*owner, others.map(|(other, _)| *other).collect())
        })
        .collect();
    // Each round carries a depth one step on; two that wait for each other stop growing with the last round.
    for _ in 0..waits.len() {
        for (owner, others) in &waits {
            let deepest = others.iter().map(|other| depths.get(*other).map_or(1, |depth| depth + 1)).max();
            let depth = deepest.unwrap_or(0).min(waits.len());
            depths.insert((*owner).clone(), depth);
        }
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::{deployment, pod, replica_set, service};
    use crate::model::{AffinityTerm, LabelSelector, Owner, Uid};
    use crate::plan::Route;
    use crate::view::{Change, Object};

    /// A cluster of Deployments by `namespace/name`, each with its label, its size and the priority of its pods.
    fn view(workloads: &[(&str, u32, i32)]) -> View {
        let mut view = View::default();
        for (name, replicas, priority) in workloads {
            let name: ObjectName = name.parse().unwrap();
            let uid = format!("{}-uid", name.name());
            let labels = Labels::from([("app".to_owned(), name.name().to_owned())]);
            let mut made = deployment(*replicas, "1", "0");
            made.reference.name = name.clone();
            made.uid = Uid::new(uid.clone()).unwrap();
            made.template.to_mut().labels = labels.clone();
            let mut set = replica_set(*replicas);
            let set_name = format!("{}-1", name.name());
            set.reference.name = ObjectName::new(name.namespace(), set_name.clone()).unwrap();
            set.uid = Uid::new(format!("{uid}-set")).unwrap();
            set.owner = Some(Owner {
                kind: WorkloadKind::Deployment,
                name: name.name().to_owned(),
                uid: made.uid.clone(),
            });
            let mut one = pod(&format!("{name}-1-a"), "n0");
            one.labels = labels.into();
            one.priority = *priority;
            one.owner = Some(Owner { kind: WorkloadKind::ReplicaSet, name: set_name, uid: set.uid.clone() });
            for object in [Object::Workload(made), Object::Workload(set), Object::Pod(one)] {
                view.apply(Change::Applied(object));
            }
        }
        view
    }

    fn front(view: &mut View, name: &str, app: &str, kind: ServiceType) -> ObjectName {
        let mut made = service(name);
        made.selector = Labels::from([("app".to_owned(), app.to_owned())]);
        made.service_type = kind;
        let name = made.name.clone();
        view.apply(Change::Applied(Object::Service(made)));
        name
    }

    fn told(view: &View, asked: &[&ObjectName]) -> Vec<String> {
        let movers = view.workloads().filter(|w| w.owner.is_none()).map(|w| {
            let choice = RouteChoice { route: Route::Restart, reason: String::new() };
            (w.replicas, w.reference.clone(), choice)
        });
        let turns = in_turns(movers.collect(), &asked.iter().copied().collect(), view);
        let names = |movers: &[Mover]| {
            movers.iter().map(|(owner, _)| owner.name.name().to_owned()).collect::<Vec<_>>().join(" ")
        };
        turns.iter().map(|(turn, movers)| format!("{turn:?}: {}", names(movers))).collect()
    }

    #[test]
    fn the_agent_then_what_the_api_server_asks_then_the_entry_then_the_rest_by_priority_and_size() {
        let mut view = view(&[
            ("cattle-system/cattle-cluster-agent", 2, 0),
            ("ingress/nginx", 3, 0),
            ("policy/webhook", 2, 0),
            ("shop/api", 2, 0),
            ("shop/pay", 1, 1000),
            ("shop/web", 9, 0),
        ]);
        let asked = front(&mut view, "policy/webhook", "webhook", ServiceType::ClusterIP);
        front(&mut view, "ingress/nginx", "nginx", ServiceType::LoadBalancer);
        assert_eq!(
            told(&view, &[&asked]),
            ["Agent: cattle-cluster-agent", "Asked: webhook", "Entry: nginx", "Rest: pay web api"]
        );
        assert_eq!(told(&view, &[])[1], "Entry: nginx", "nobody asks it");
    }

    #[test]
    fn whoever_must_run_beside_another_comes_after_it_whatever_its_priority() {
        let mut view = view(&[("shop/cache", 1, 0), ("shop/late", 5, 2000), ("shop/web", 9, 1000)]);
        let beside = |view: &mut View, name: &str, app: &str| {
            let reference = WorkloadRef { kind: WorkloadKind::Deployment, name: name.parse().unwrap() };
            let mut workload = view.workload(&reference).unwrap().clone();
            workload.template.to_mut().rules.pod_affinity.push(AffinityTerm {
                selector: LabelSelector::of_labels(Labels::from([("app".to_owned(), app.to_owned())])),
                topology_key: "kubernetes.io/hostname".to_owned(),
                namespaces: Vec::new(),
                same_template: false,
            });
            view.apply(Change::Applied(Object::Workload(workload)));
        };
        beside(&mut view, "shop/web", "cache");
        beside(&mut view, "shop/late", "web");
        assert_eq!(told(&view, &[]), ["Rest: cache web late"]);
        // Two that wait for each other are in some order, and nobody waits for ever.
        beside(&mut view, "shop/cache", "late");
        assert_eq!(told(&view, &[]).len(), 1);
    }
}

//! What holds for every plan, over random clusters.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::plan;
use crate::inventory::Inventory;
use crate::model::tests_support::{deployment, inventory, node, pod, pool, service, slice};
use crate::model::{
    KubeVersion, Labels, ObjectName, PoolMode, PoolName, ServiceType, StepId, Uid, Webhook, Workload,
    WorkloadKind, WorkloadRef,
};
use crate::plan::{Action, Plan, Reversal};
use crate::policy::Policy;

/// A user pool: how many nodes it has, and whether it is at the target already.
type Shape = (u32, bool);

/// A cluster with these user pools, and one Deployment for each number of replicas, spread over all nodes.
fn cluster(pools: &[Shape], deployments: &[u32]) -> Inventory {
    let target = KubeVersion::new(1, 35, 3);
    let mut made = inventory();
    made.pools = vec![pool("system", PoolMode::System, 1)];
    made.nodes.truncate(1);
    (made.pods, made.workloads, made.slices, made.services) = Default::default();
    for (index, (count, done)) in pools.iter().enumerate() {
        let name = format!("pool{index}");
        let mut user = pool(&name, PoolMode::User, *count);
        if *done {
            user.version = target;
        }
        for number in 0..*count {
            let mut node = node(&format!("{name}-{number}"), &name);
            node.kubelet = Some(user.version);
            made.nodes.push(node);
        }
        made.pools.push(user);
    }
    let homes: Vec<String> = made.nodes.iter().skip(1).map(|node| node.name.to_string()).collect();
    for (index, replicas) in deployments.iter().enumerate() {
        let (workload, set) = named(index, *replicas);
        for number in 0..*replicas {
            let Some(home) = homes.get((index + number as usize) % homes.len().max(1)) else { continue };
            let mut pod = pod(&format!("shop/web{index}-1-{number}"), home);
            let owner = pod.owner.as_mut().unwrap();
            (owner.name, owner.uid) = (set.reference.name.name().to_owned(), set.uid.clone());
            made.pods.push(pod);
        }
        made.workloads.extend([workload, set]);
    }
    made
}

/// A Deployment with its ReplicaSet.
fn named(index: usize, replicas: u32) -> (Workload, Workload) {
    let mut workload = deployment(replicas, "1", "0");
    workload.reference.name = format!("shop/web{index}").parse().unwrap();
    workload.uid = Uid::new(format!("web{index}-uid")).unwrap();
    let mut set = crate::model::tests_support::replica_set(replicas);
    set.reference =
        WorkloadRef { kind: WorkloadKind::ReplicaSet, name: format!("shop/web{index}-1").parse().unwrap() };
    set.uid = Uid::new(format!("set{index}-uid")).unwrap();
    let owner = set.owner.as_mut().unwrap();
    (owner.name, owner.uid) = (format!("web{index}"), workload.uid.clone());
    (workload, set)
}

/// Walks through a plan as the executor does and holds every stage to the order that makes it safe.
fn assert_safe_order(plan: &Plan, inventory: &Inventory) {
    let mut versions: BTreeMap<PoolName, KubeVersion> =
        inventory.pools.iter().map(|pool| (pool.name.clone(), pool.version)).collect();
    let mut control_plane = plan.from;
    let mut cordoned: BTreeSet<&PoolName> = BTreeSet::new();
    let mut drained: BTreeSet<&PoolName> = BTreeSet::new();
    let mut buffers: BTreeSet<&PoolName> = BTreeSet::new();
    for step in plan.steps() {
        match &step.action {
            Action::UpgradeControlPlane { to } => control_plane = *to,
            Action::CreateBuffer { buffer } => {
                assert!(buffer.version <= control_plane, "a node is never newer than the control plane");
                assert!(buffers.is_empty(), "one buffer at a time");
                assert!(!versions.contains_key(&buffer.name), "a buffer under a name that is taken");
                let original =
                    inventory.nodes.iter().filter(|node| node.pool().as_ref() == Some(&buffer.like));
                assert!(buffer.count as usize >= original.count(), "capacity first");
                buffers.insert(&buffer.name);
            }
            Action::Cordon { pool } => {
                assert!(!buffers.is_empty(), "nothing is cordoned before there is other capacity");
                cordoned.insert(pool);
            }
            Action::Move { off, .. } => assert!(cordoned.contains(off), "moved off a pool that takes pods"),
            Action::Drain { pool } => {
                assert!(cordoned.contains(pool), "drained before it was cordoned");
                drained.insert(pool);
            }
            Action::UpgradePool { pool, to } => {
                let nodes = inventory.nodes.iter().any(|node| node.pool().as_ref() == Some(pool));
                assert!(!nodes || drained.contains(pool), "{pool} is touched by Azure before it is empty");
                assert!(*to <= control_plane);
                cordoned.remove(pool);
                versions.insert(pool.clone(), *to);
            }
            Action::DeleteBuffer { pool } => {
                assert!(drained.contains(pool), "a buffer is deleted when it is empty");
                assert!(buffers.remove(pool), "only what the plan made is deleted");
                cordoned.remove(pool);
            }
            Action::Prewarm { on, for_pods_of } => {
                assert!(!cordoned.contains(on), "images are pulled where pods may land");
                assert!(
                    !cordoned.contains(for_pods_of),
                    "images are pulled before anything is cordoned for them"
                );
                assert!(!drained.contains(for_pods_of) || buffers.contains(for_pods_of));
            }
            Action::Uncordon { pool } => panic!("{pool} is uncordoned on the way back alone"),
            Action::Verify { version, .. } => assert_eq!(*version, plan.target),
            Action::Soak { .. } | Action::AwaitRancher { .. } => {}
        }
    }
    assert!(buffers.is_empty(), "a buffer is left over");
    assert!(cordoned.is_empty(), "a cordon is left over: {cordoned:?}");
    assert_eq!(control_plane, plan.target);
    assert!(versions.values().all(|version| *version == plan.target), "a pool is left behind");
}

/// What a workload is for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Agent,
    Asked,
    Entry,
    Plain,
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Asked), Just(Role::Entry), Just(Role::Plain), Just(Role::Plain)]
}

/// Makes one of the Deployments of [`cluster`] what its role says; its pods get labels of their own, and this priority.
fn cast(case: &mut Inventory, index: usize, role: Role, priority: i32) {
    let (name, labels) = (format!("web{index}"), Labels::from([("app".to_owned(), format!("web{index}"))]));
    let (namespace, new) = match role {
        Role::Agent => ("cattle-system", "cattle-cluster-agent".to_owned()),
        Role::Asked | Role::Entry | Role::Plain => ("shop", name.clone()),
    };
    let renamed = |old: &ObjectName| ObjectName::new(namespace, old.name().replacen(&name, &new, 1)).unwrap();
    let is_own = |old: &str| old == name || old.starts_with(&format!("{name}-"));
    for workload in case.workloads.iter_mut().filter(|w| is_own(w.reference.name.name())) {
        workload.reference.name = renamed(&workload.reference.name);
        workload.template.to_mut().labels = labels.clone();
        if let Some(owner) = &mut workload.owner {
            owner.name = owner.name.replacen(&name, &new, 1);
        }
    }
    let mut pods = Vec::new();
    for pod in case.pods.iter_mut().filter(|pod| is_own(pod.name.name())) {
        pod.name = renamed(&pod.name);
        let owner = pod.owner.as_mut().unwrap();
        owner.name = owner.name.replacen(&name, &new, 1);
        (pod.labels, pod.priority) = (labels.clone().into(), priority);
        pods.push(pod.name.to_string());
    }
    if matches!(role, Role::Asked | Role::Entry) {
        let mut front = service(&format!("{namespace}/{new}"));
        front.selector = labels;
        if role == Role::Entry {
            front.service_type = ServiceType::LoadBalancer;
        } else {
            case.surroundings.webhooks.push(Webhook {
                configuration: "policy".into(),
                name: format!("{new}.example"),
                service: Some(front.name.clone()),
                blocks: true,
                about_pods: true,
                namespaces: None,
                objects: None,
            });
        }
        let ready: Vec<&str> = pods.iter().map(String::as_str).collect();
        case.slices.push(slice(&front.name.to_string(), &ready));
        case.services.push(front);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Every plan is safe from top to bottom, numbers its steps once, says what becomes of each loan, does not depend on the
    /// order in which the world was read, and once carried out leaves nothing to plan.
    #[test]
    fn every_plan_is_safe_complete_and_deterministic(
        pools in prop::collection::vec((0_u32..4, prop::bool::weighted(0.2)), 1..5),
        deployments in prop::collection::vec(1_u32..6, 0..8),
    ) {
        let case = cluster(&pools, &deployments);
        let request = "1.35".parse().unwrap();
        let made = plan(&case, &Policy::default(), request).unwrap();
        assert_safe_order(&made, &case);

        let ids: BTreeSet<&StepId> = made.steps().map(|step| &step.id).collect();
        prop_assert_eq!(ids.len(), made.steps().count());
        for step in made.steps() {
            let borrowed = matches!(step.action, Action::CreateBuffer { .. } | Action::Cordon { .. });
            prop_assert_eq!(borrowed, matches!(step.reversal, Reversal::Loan { .. }));
        }

        let mut shuffled = case.clone();
        shuffled.pods.reverse();
        shuffled.nodes.reverse();
        shuffled.workloads.reverse();
        let again = plan(&shuffled, &Policy::default(), request).unwrap();
        prop_assert_eq!(serde_json::to_vec(&again).unwrap(), serde_json::to_vec(&made).unwrap());

        let mut done = case;
        done.cluster.version = made.target;
        for pool in &mut done.pools {
            pool.version = made.target;
        }
        for node in &mut done.nodes {
            node.kubelet = Some(made.target);
        }
        prop_assert!(plan(&done, &Policy::default(), request).unwrap().is_empty());
    }

    /// Whatever role and priority workloads have: the agent leaves alone before everybody else, then what the API server asks, then
    /// what takes traffic from outside, then the rest, the important before the less important and the large before the small.
    #[test]
    fn workloads_leave_in_their_turn(
        parts in prop::collection::vec((role(), 1_u32..6, 0_i32..3), 1..8),
        has_agent in prop::bool::ANY,
    ) {
        let sizes: Vec<u32> = parts.iter().map(|(_, replicas, _)| *replicas).collect();
        let mut case = cluster(&[(3, false)], &sizes);
        let mut roles = BTreeMap::new();
        for (index, (role, replicas, priority)) in parts.iter().enumerate() {
            let role = if has_agent && index == 0 { Role::Agent } else { *role };
            cast(&mut case, index, role, *priority);
            let name = if role == Role::Agent { "cattle-cluster-agent".into() } else { format!("web{index}") };
            roles.insert(name, (role, -priority, -i64::from(*replicas)));
        }
        let made = plan(&case, &Policy::default(), "1.35".parse().unwrap()).unwrap();
        for pool in ["pool0", "pool0bf"] {
            let mut left = Vec::new();
            for stage in &made.stages {
                let movers: Vec<_> = stage.steps().filter_map(|step| match &step.action {
                    Action::Move { workload, off, .. } if off.as_str() == pool => Some(roles[workload.name.name()]),
                    _ => None,
                }).collect();
                let alone: BTreeSet<Role> = movers.iter().map(|(role, ..)| *role).collect();
                prop_assert!(alone.len() <= 1, "a stage has one turn: {:?}", stage.title);
                prop_assert!(!alone.contains(&Role::Agent) || movers.len() == 1, "the agent is alone");
                left.extend(movers);
            }
            prop_assert_eq!(left.len(), parts.len());
            prop_assert!(left.is_sorted(), "{:?}", left);
        }
    }

    /// Whoever owns pods on a pool that is emptied has a move off it, out and back.
    #[test]
    fn nobody_is_left_behind(deployments in prop::collection::vec(1_u32..6, 1..8)) {
        let case = cluster(&[(3, false)], &deployments);
        let made = plan(&case, &Policy::default(), "1.35".parse().unwrap()).unwrap();
        for index in 0..deployments.len() {
            let name = format!("shop/web{index}");
            let offs: Vec<&str> = made.steps().filter_map(|step| match &step.action {
                Action::Move { workload, off, .. } if workload.name.to_string() == name => Some(off.as_str()),
                _ => None,
            }).collect();
            prop_assert_eq!(offs, ["pool0", "pool0bf"]);
        }
    }
}

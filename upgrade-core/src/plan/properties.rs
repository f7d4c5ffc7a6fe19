//! What holds for every plan, over random clusters.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::plan;
use crate::inventory::Inventory;
use crate::model::tests_support::{deployment, inventory, node, pod, pool};
use crate::model::{KubeVersion, PoolMode, PoolName, StepId, Uid, Workload, WorkloadKind, WorkloadRef};
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
                assert_eq!(buffer.count as usize, original.count(), "capacity first");
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
            Action::Soak { .. } | Action::AwaitRancher { .. } => {}
        }
    }
    assert!(buffers.is_empty(), "a buffer is left over");
    assert!(cordoned.is_empty(), "a cordon is left over: {cordoned:?}");
    assert_eq!(control_plane, plan.target);
    assert!(versions.values().all(|version| *version == plan.target), "a pool is left behind");
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

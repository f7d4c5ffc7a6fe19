//! From inventory, policy and target to a plan.

use std::collections::BTreeMap;

use crate::check;
use crate::finding::Finding;
use crate::inventory::Inventory;
use crate::model::{BufferNameError, FormatVersion, ObjectName, PoolName, VersionRequest};
use crate::plan::stages::{assemble, follows_rancher, work};
use crate::plan::{Action, Basis, Plan, Stage};
use crate::policy::{Policy, UpgradeStrategy};
use crate::view::View;

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Findings stand in the way.
    #[error("{} finding(s) block the upgrade", .0.iter().filter(|f| f.blocks()).count())]
    Blocked(Vec<Finding>),
    /// The policy asks for something that this version cannot do.
    #[error("policy `{key} = {value}` is not supported by this version; use `{instead}`")]
    Unsupported {
        /// The policy's key.
        key: &'static str,
        /// Its value.
        value: &'static str,
        /// What works.
        instead: &'static str,
    },
    /// No free name for a buffer.
    #[error(transparent)]
    BufferName(#[from] BufferNameError),
}

/// Makes the plan, or says what stands in its way. Pure and deterministic: equal arguments give equal plans, byte for byte.
///
/// The plan is empty if the control plane and every pool are at the target already.
pub fn plan(inventory: &Inventory, policy: &Policy, request: VersionRequest) -> Result<Plan, PlanError> {
    check_supported(policy)?;
    let view = inventory.view();
    let findings = check::with_view(inventory, &view, policy, request);
    if findings.iter().any(Finding::blocks) {
        return Err(PlanError::Blocked(findings));
    }
    let Some(target) = check::target(inventory, request) else {
        // Unreachable while `check` reports a target that is not offered as blocking; refusing again costs nothing.
        return Err(PlanError::Blocked(findings));
    };
    let work = work(inventory, &view, policy, target)?;
    let stages = assemble(&work, policy, follows_rancher(inventory, policy));
    Ok(Plan {
        format: FormatVersion::CURRENT,
        cluster: inventory.identity.clone(),
        from: inventory.cluster.version,
        target,
        policy: policy.clone(),
        findings,
        accepted_gaps: accepted_gaps(policy, &view),
        disks_per_node: disks_per_node(inventory, &view, &stages),
        stages,
        basis: Basis::with_view(inventory, policy, &view),
    })
}

fn check_supported(policy: &Policy) -> Result<(), PlanError> {
    let value = match policy.strategy {
        UpgradeStrategy::Buffer => return Ok(()),
        UpgradeStrategy::BlueGreen => "blue-green",
        UpgradeStrategy::InPlace => "in-place",
    };
    Err(PlanError::Unsupported { key: "strategy", value, instead: "buffer" })
}

/// The Services in front of workloads whose gap is accepted.
fn accepted_gaps(policy: &Policy, view: &View) -> Vec<ObjectName> {
    let accepted = view.workloads().filter(|w| policy.allow_gap.contains(&w.reference.name));
    let mut services: Vec<ObjectName> = accepted
        .flat_map(|w| view.services_for(w.reference.name.namespace(), &w.template.labels))
        .map(|service| service.name.clone())
        .collect();
    services.sort();
    services.dedup();
    services
}

/// How many disks a node of each pool can have. A buffer's node can have what one of the pool can that it copies.
fn disks_per_node(inventory: &Inventory, view: &View, stages: &[Stage]) -> BTreeMap<PoolName, u32> {
    let limits = &inventory.surroundings.attach_limits;
    let of_pool =
        |pool: &PoolName| view.nodes_of(pool).filter_map(|node| limits.get(&node.name)).min().copied();
    let pools = inventory.pools.iter().map(|pool| (&pool.name, &pool.name));
    let buffers = stages.iter().flat_map(Stage::steps).filter_map(|step| match &step.action {
        Action::CreateBuffer { buffer } => Some((&buffer.name, &buffer.like)),
        _ => None,
    });
    pools.chain(buffers).filter_map(|(name, like)| Some((name.clone(), of_pool(like)?))).collect()
}

#[cfg(test)]
#[path = "properties.rs"]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::{inventory, managed, pod};
    use crate::model::{BudgetLimit, IntOrPercent, KubeVersion, PoolMode};
    use crate::plan::{Action, Basis, Route};
    use crate::policy::Policy;

    fn titles(plan: &Plan) -> Vec<String> {
        plan.stages.iter().map(|stage| stage.title.clone()).collect()
    }

    fn request(text: &str) -> VersionRequest {
        text.parse().unwrap()
    }

    fn blocking(inventory: &Inventory, policy: &Policy, to: &str) -> Vec<String> {
        match plan(inventory, policy, request(to)) {
            Err(PlanError::Blocked(findings)) => {
                findings.iter().filter(|f| f.blocks()).map(|f| format!("{} {}", f.code, f.object)).collect()
            }
            other => panic!("not blocked: {other:?}"),
        }
    }

    #[test]
    fn the_ten_steps_come_in_order_for_each_pool_and_the_system_pool_goes_first() {
        let plan = plan(&inventory(), &Policy::default(), request("1.35")).unwrap();
        assert_eq!(plan.target, KubeVersion::new(1, 35, 3));
        assert_eq!(
            titles(&plan),
            [
                "upgrade the control plane",
                "system: add buffer systembf",
                "system: move onto systembf: cordon system",
                "system: move onto systembf: drain system",
                "system: upgrade its nodes",
                "system: move back from systembf: cordon systembf",
                "system: move back from systembf: drain systembf",
                "system: delete buffer systembf",
                "user: add buffer userbf",
                "user: pull images onto userbf",
                "user: move onto userbf: cordon user",
                "user: move onto userbf",
                "user: move onto userbf: drain user",
                "user: upgrade its nodes",
                "user: pull images onto user",
                "user: move back from userbf: cordon userbf",
                "user: move back from userbf",
                "user: move back from userbf: drain userbf",
                "user: delete buffer userbf",
                "verify",
            ]
        );
        let moves: Vec<_> =
            plan.steps().filter(|s| matches!(s.action, Action::Move { route: Route::Restart, .. })).collect();
        assert_eq!(moves.len(), 2, "out and back, one restart each");
    }

    #[test]
    fn in_lock_step_every_change_in_azure_waits_for_rancher_and_the_last_one_for_one_more_look() {
        let lock_step =
            Policy { rancher_managed: crate::policy::RancherManaged::LockStep, ..Policy::default() };
        let mut case = inventory();
        assert!(!plan(&case, &lock_step, request("1.35")).unwrap().is_in_lock_step(), "nobody to wait for");
        case.rancher.ownership = managed(&[]);
        let plan = plan(&case, &lock_step, request("1.35")).unwrap();
        let mut waits = Vec::new();
        for stage in &plan.stages {
            let actions: Vec<&Action> = stage.steps().map(|step| &step.action).collect();
            let in_azure = matches!(
                actions[0],
                Action::UpgradeControlPlane { .. }
                    | Action::CreateBuffer { .. }
                    | Action::UpgradePool { .. }
                    | Action::DeleteBuffer { .. }
            );
            match actions[..] {
                [_, Action::AwaitRancher { once_more }] if in_azure => waits.push(*once_more),
                _ => assert!(!in_azure, "{}", stage.title),
            }
        }
        assert_eq!(waits, [false, false, false, false, false, false, true]);
    }

    #[test]
    fn equal_arguments_give_equal_bytes_and_any_difference_another_hash() {
        let make = |policy: &Policy| plan(&inventory(), policy, request("1.35")).unwrap();
        let (a, b) = (make(&Policy::default()), make(&Policy::default()));
        assert_eq!(serde_json::to_vec(&a).unwrap(), serde_json::to_vec(&b).unwrap());
        assert_ne!(a.hash(), make(&Policy { max_concurrent_moves: 3, ..Policy::default() }).hash());
        let back: Plan = serde_json::from_slice(&serde_json::to_vec(&a).unwrap()).unwrap();
        assert_eq!(back, a, "a plan survives its file");
    }

    #[test]
    fn a_cluster_at_its_target_needs_nothing_and_a_lagging_pool_only_its_own_round() {
        let mut inventory = inventory();
        inventory.cluster.version = KubeVersion::new(1, 35, 3);
        for pool in &mut inventory.pools {
            pool.version = KubeVersion::new(1, 35, 3);
        }
        for node in &mut inventory.nodes {
            node.kubelet = Some(KubeVersion::new(1, 35, 3));
        }
        assert!(plan(&inventory, &Policy::default(), request("1.35")).unwrap().is_empty());
        inventory.pools[1].version = KubeVersion::new(1, 34, 2);
        for node in inventory.nodes.iter_mut().filter(|node| node.name.as_str() != "s0") {
            node.kubelet = Some(KubeVersion::new(1, 34, 2));
        }
        let plan = plan(&inventory, &Policy::default(), request("1.35")).unwrap();
        assert_eq!(titles(&plan)[0], "user: add buffer userbf");
    }

    #[test]
    fn what_azure_does_not_offer_is_refused_with_the_offers() {
        for (to, code) in
            [("1.35.2", "VER-001"), ("1.37", "VER-001"), ("1.33", "VER-001"), ("1.36", "VER-001")]
        {
            assert_eq!(blocking(&inventory(), &Policy::default(), to), [format!("{code} shop")], "{to}");
        }
        // A preview is taken only when it is asked for by its full version, and two minors at once are refused.
        assert_eq!(blocking(&inventory(), &Policy::default(), "1.36.0"), ["VER-002 shop"]);
    }

    #[test]
    fn a_pool_without_nodes_is_upgraded_in_place() {
        let mut inventory = inventory();
        inventory.nodes.retain(|node| node.name.as_str() == "s0");
        inventory.pods.clear();
        inventory.pools[1].count = 0;
        let plan = plan(&inventory, &Policy::default(), request("1.35")).unwrap();
        assert_eq!(titles(&plan)[titles(&plan).len() - 2..], ["user: upgrade its nodes", "verify"]);
    }

    #[test]
    fn a_gap_must_be_accepted_by_name() {
        let mut inventory = inventory();
        let web = &mut inventory.workloads[0];
        web.reference.kind = crate::model::WorkloadKind::StatefulSet;
        web.replicas = 1;
        inventory.pods.truncate(1);
        assert_eq!(blocking(&inventory, &Policy::default(), "1.35"), ["MOV-001 shop/web"]);
        let policy = Policy { allow_gap: ["shop/web".parse().unwrap()].into(), ..Policy::default() };
        let plan = plan(&inventory, &policy, request("1.35")).unwrap();
        assert_eq!(plan.accepted_gaps, ["shop/web".parse().unwrap()]);
    }

    #[test]
    fn bare_pods_pinned_pods_and_two_writers_block() {
        let mut case = inventory();
        case.pods[0].owner = None;
        assert_eq!(blocking(&case, &Policy::default(), "1.35"), ["MOV-002 shop/web-1-a"]);
        let mut case = inventory();
        for pod in &mut case.pods {
            pod.rules.to_mut().node_selector.insert("agentpool".into(), "user".into());
        }
        assert_eq!(blocking(&case, &Policy::default(), "1.35"), ["MOV-003 shop/web"]);
        let mut case = inventory();
        case.rancher.ownership = managed(&[]);
        assert_eq!(blocking(&case, &Policy::default(), "1.35"), ["RAN-001 shop"]);
        let mut case = inventory();
        case.pools[1].mode = PoolMode::Other("Gateway".into());
        assert_eq!(blocking(&case, &Policy::default(), "1.35"), ["AZR-014 user"]);
    }

    #[test]
    fn budgets_that_can_never_be_satisfied_are_named() {
        use crate::model::tests_support::budget;
        let one = |limit| {
            let mut case = inventory();
            case.budgets = vec![budget("shop/web", limit, 2, 2)];
            case
        };
        // A restart does not ask the budget: information, not a block.
        let strict = one(BudgetLimit::MinAvailable(IntOrPercent::Int(2)));
        let made = plan(&strict, &Policy::default(), request("1.35")).unwrap();
        assert!(made.findings.iter().any(|f| f.code == "PDB-004"));
        // Evictions do.
        let mut paused = strict;
        paused.workloads[0].paused = true;
        // One more replica makes room, where a number can.
        let made = plan(&paused, &Policy::default(), request("1.35")).unwrap();
        assert!(!made.findings.iter().any(|f| f.code.starts_with("PDB-")));
        paused.budgets[0].limit = BudgetLimit::MinAvailable(IntOrPercent::Percent(100));
        assert_eq!(blocking(&paused, &Policy::default(), "1.35"), ["PDB-002 shop/web"]);
        let zero = one(BudgetLimit::MaxUnavailable(IntOrPercent::Int(0)));
        assert_eq!(blocking(&zero, &Policy::default(), "1.35"), ["PDB-003 shop/web"]);
        let mut two = one(BudgetLimit::MinAvailable(IntOrPercent::Int(1)));
        two.budgets.push(budget("shop/other", BudgetLimit::MinAvailable(IntOrPercent::Int(1)), 2, 1));
        two.workloads[0].paused = true;
        assert_eq!(blocking(&two, &Policy::default(), "1.35"), ["PDB-001 shop/web"]);
    }

    #[test]
    fn an_acceptance_counts_until_its_last_day_and_only_for_its_object() {
        let mut case = inventory();
        case.budgets = vec![crate::model::tests_support::budget(
            "shop/web",
            BudgetLimit::MaxUnavailable(IntOrPercent::Int(0)),
            2,
            2,
        )];
        let accepting = |object: &str, until: Option<&str>| Policy {
            accept: vec![crate::policy::Acceptance {
                code: "PDB-003".into(),
                object: object.into(),
                reason: "agreed".into(),
                until: until.map(|day| day.parse().unwrap()),
            }],
            ..Policy::default()
        };
        assert!(plan(&case, &accepting("shop/web", None), request("1.35")).is_ok());
        assert!(plan(&case, &accepting("shop/web", Some("2026-11-24")), request("1.35")).is_ok());
        assert!(plan(&case, &accepting("shop/web", Some("2026-11-23")), request("1.35")).is_err());
        assert!(plan(&case, &accepting("shop/api", None), request("1.35")).is_err());
    }

    #[test]
    fn what_was_not_seen_is_never_a_pass_and_what_a_run_watches_cannot_be_done_without() {
        for (what, code, can_be_accepted) in
            [("poddisruptionbudgets", "INV-001", false), ("persistentvolumes", "INV-002", true)]
        {
            let mut case = inventory();
            case.unseen.push(crate::inventory::Unseen { what: what.into(), why: "forbidden".into() });
            assert_eq!(blocking(&case, &Policy::default(), "1.35"), [format!("{code} {what}")]);
            let acceptance = crate::policy::Acceptance {
                code: code.into(),
                object: what.into(),
                reason: "agreed".into(),
                until: None,
            };
            let accepting = Policy { accept: vec![acceptance], ..Policy::default() };
            assert_eq!(plan(&case, &accepting, request("1.35")).is_ok(), can_be_accepted, "{what}");
        }
    }

    #[test]
    fn a_changed_cluster_is_named_fact_by_fact_and_a_new_pod_is_no_change() {
        let policy = Policy::default();
        let before = Basis::of(&inventory(), &policy);
        let mut now = inventory();
        now.pods.push(pod("shop/web-1-c", "u0"));
        assert_eq!(before.drift(&Basis::of(&now, &policy)), []);
        now.pools[1].count = 7;
        now.workloads[0].paused = true;
        let drift: Vec<String> =
            before.drift(&Basis::of(&now, &policy)).iter().map(ToString::to_string).collect();
        assert_eq!(
            drift,
            [
                "Deployment shop/web: was moves by restart, is moves by eviction",
                "pool user: was User, 2 nodes, Standard_D4s_v5 at 1.34.2, is User, 7 nodes, Standard_D4s_v5 at 1.34.2",
            ]
        );
    }

    #[test]
    fn a_pool_whose_nodes_are_older_than_azure_says_is_repaired_first() {
        let mut case = inventory();
        case.nodes[1].kubelet = Some(KubeVersion::new(1, 33, 9));
        assert_eq!(blocking(&case, &Policy::default(), "1.35"), ["VER-005 user"]);
    }

    #[test]
    fn strategies_that_are_not_built_are_refused_by_name() {
        let policy = Policy { strategy: UpgradeStrategy::InPlace, ..Policy::default() };
        let error = plan(&inventory(), &policy, request("1.35")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "policy `strategy = in-place` is not supported by this version; use `buffer`"
        );
    }
}

//! How long a plan may take, by rule of thumb.

use std::collections::BTreeMap;
use std::time::Duration;

use super::stages::{assemble, follows_rancher, work};
use super::{Action, Stage};
use crate::inventory::{Inventory, Ownership};
use crate::model::{KubeVersion, Pool, PoolName};
use crate::policy::Policy;
use crate::view::View;

/// A rehearsal foretells better, and takes a while. These are on the long side of what is seen, because they are used to tell
/// whether a token lives long enough. Azure's own figures: control planes 5 to 10 minutes, pools of new machines 3 to 6.
const CONTROL_PLANE: Duration = minutes(15);
const NEW_POOL: Duration = minutes(8);
const POOL_GONE: Duration = minutes(6);
/// One batch of machines of a pool that is upgraded: drained, made anew, ready.
const BATCH: Duration = minutes(6);
/// As many workloads as may move at a time, from the restart to the end of the last old pod.
const ROUND_OF_MOVES: Duration = minutes(5);
/// Images, one after another on each node. Windows images take longer; a rehearsal knows their sizes.
const PREWARM: Duration = minutes(5);
const DRAIN: Duration = minutes(3);
const CORDON: Duration = minutes(1);
/// What follows a read of Azure until Rancher shows it.
const RANCHER: Duration = minutes(1);

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// How long the upgrade that would be planned may take; `None` if there is no plan to be made.
pub(crate) fn expected_duration(
    inventory: &Inventory,
    view: &View,
    policy: &Policy,
    target: KubeVersion,
) -> Option<Duration> {
    let work = work(inventory, view, policy, target).ok()?;
    let stages = assemble(&work, policy, follows_rancher(inventory, policy));
    let refresh = match &inventory.rancher.ownership {
        Ownership::Managed(writer) => Duration::from_secs(writer.refresh_seconds),
        Ownership::Generic | Ownership::Unmanaged | Ownership::Unclear { .. } => Duration::ZERO,
    };
    Some(duration_of(stages.iter(), &inventory.pools, refresh, policy))
}

/// How long these stages may take, with these pools.
pub(crate) fn duration_of<'s>(
    stages: impl Iterator<Item = &'s Stage>,
    pools: &[Pool],
    refresh: Duration,
    policy: &Policy,
) -> Duration {
    let nodes: BTreeMap<&PoolName, u32> = pools.iter().map(|pool| (&pool.name, pool.count)).collect();
    let of_step = |action: &Action| match action {
        Action::UpgradeControlPlane { .. } => CONTROL_PLANE,
        Action::CreateBuffer { .. } => NEW_POOL,
        Action::Cordon { .. } | Action::Uncordon { .. } => CORDON,
        Action::Prewarm { .. } => PREWARM,
        Action::Drain { .. } => DRAIN,
        // A tenth of the machines at a time, which is Azure's default.
        Action::UpgradePool { pool, .. } => {
            let nodes = nodes.get(pool).copied().unwrap_or(0);
            BATCH * nodes.div_ceil(nodes.div_ceil(10).max(1)).max(1)
        }
        Action::DeleteBuffer { .. } => POOL_GONE,
        Action::Soak { seconds } => Duration::from_secs(*seconds),
        Action::AwaitRancher { .. } => refresh + RANCHER,
        // One look; moves are counted by the round, below.
        Action::Verify { .. } | Action::Move { .. } => Duration::ZERO,
    };
    let of_stage = |stage: &Stage| {
        let moves = stage.steps().filter(|step| matches!(step.action, Action::Move { .. })).count();
        let rounds = u32::try_from(moves).unwrap_or(u32::MAX).div_ceil(policy.max_concurrent_moves.max(1));
        let steps: Duration = stage.steps().map(|step| of_step(&step.action)).sum();
        steps + ROUND_OF_MOVES * rounds
    };
    stages.map(of_stage).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::{inventory, managed};
    use crate::policy::RancherManaged;

    #[test]
    fn each_stage_has_its_time_and_each_change_in_azure_the_wait_for_rancher() {
        let target = KubeVersion::new(1, 35, 3);
        let of = |inventory: &Inventory, policy: &Policy| {
            expected_duration(inventory, &inventory.view(), policy, target).unwrap().as_secs() / 60
        };
        let mut case = inventory();
        // Control plane 15; twice: buffer 8, cordon 1 and drain 3 there and back, buffer gone 6; the upgrades of 1 and of 2
        // nodes, one at a time, 6 and 12; one round of moves there and back in one of the two, 10, with its images pulled ahead.
        let moves = 15 + 2 * (8 + 2 * (1 + 3) + 6) + 6 + 12 + 10;
        assert_eq!(of(&case, &Policy::default()), moves + 2 * 5);
        assert_eq!(of(&case, &Policy { prewarm: false, ..Policy::default() }), moves);
        let lock_step = Policy { rancher_managed: RancherManaged::LockStep, ..Policy::default() };
        let alone = of(&case, &lock_step);
        case.rancher.ownership = managed(&[]);
        // Seven changes in Azure: the control plane, and three for each pool.
        assert_eq!(of(&case, &lock_step), alone + 7 * 6);
    }
}

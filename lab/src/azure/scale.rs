//! What the cluster autoscaler does to pools: it changes the scale set, past the agent pool's own operations.

use upgrade_core::model::{NodeName, PoolName, ProvisioningState};

use super::error::ArmError;
use super::ground::Ground;
use super::pool::AgentPool;
use super::{Azure, invalid};

/// A pool that the cluster autoscaler looks after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Autoscaled {
    pub(crate) pool: PoolName,
    pub(crate) min: usize,
    pub(crate) max: usize,
    /// Its machines now.
    pub(crate) machines: Vec<NodeName>,
}

impl Azure {
    /// The pools with the autoscaler on. Those that are not at rest are left out: an upgrade and a change of size exclude each
    /// other (AKS issue 1245).
    pub(crate) fn autoscaled(&self) -> Vec<Autoscaled> {
        let at_rest = !self.cluster.is_busy();
        let pools =
            self.pools.iter().filter(|(_, pool)| at_rest && pool.state == ProvisioningState::Succeeded);
        let scaled = pools.filter_map(|(name, pool)| {
            let (min, max) = pool.wanted.autoscaling?;
            let machines = pool.machines.clone();
            Some(Autoscaled { pool: name.clone(), min: min as usize, max: max as usize, machines })
        });
        scaled.collect()
    }

    /// The pool gets so many machines more.
    pub(crate) fn autoscale_up(
        &mut self,
        ground: &mut dyn Ground,
        name: &PoolName,
        by: usize,
    ) -> Result<(), ArmError> {
        let pool = self.pools.get(name).ok_or_else(|| invalid(format!("there is no pool {name}")))?;
        self.check_quota(ground, &pool.wanted, by)?;
        let spec = Self::spec_at(name, pool, pool.version, ground);
        let machines: Vec<_> = (0..by).map(|_| ground.add_machine(&spec)).collect();
        self.resize(name, |pool| pool.machines.extend(machines));
        Ok(())
    }

    /// A machine of the pool, which is empty, goes.
    pub(crate) fn autoscale_down(&mut self, ground: &mut dyn Ground, name: &PoolName, machine: &NodeName) {
        ground.remove_machine(machine);
        self.resize(name, |pool| pool.machines.retain(|kept| kept != machine));
    }

    /// The count follows the machines.
    fn resize(&mut self, name: &PoolName, change: impl FnOnce(&mut AgentPool)) {
        let Some(pool) = self.pools.get_mut(name) else { return };
        change(pool);
        let count = u32::try_from(pool.machines.len()).unwrap_or(u32::MAX);
        pool.wanted.count = count;
        pool.properties.insert("count".to_owned(), count.into());
        self.stamp(Some(name));
    }
}

//! What a world uses while something is done in it: machines, pods, pulled images.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use upgrade_core::model::PoolName;

use crate::azure::PoolSpec;
use crate::world::World;

/// What was used since a [`Meter`] was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The most machines there were at one time.
    pub(crate) most_nodes: u64,
    /// The most pods there were at one time, finished ones that nobody has deleted among them.
    pub(crate) most_pods: u64,
    /// The most vCPUs there were at one time.
    pub(crate) most_vcpus: u64,
    /// The most vCPUs of each family of sizes.
    pub(crate) most_family_vcpus: BTreeMap<String, u64>,
    /// The most addresses that the machines would have in a subnet that pods take theirs from.
    pub(crate) most_addresses: u64,
    /// Images that began to be pulled, once per machine.
    pub(crate) pulls: u64,
    /// Their sizes, in bytes.
    pub(crate) pulled_bytes: u64,
    /// Those of the pulls that a run has made ahead.
    pub(crate) pulls_ahead: u64,
    /// Those that a pod waited for which landed there; what comes with every node does not count.
    pub(crate) cold_pulls: u64,
    /// How long the machines of pools that were not there at first have existed, in milliseconds: Azure's bill for them begins
    /// with the order and ends with the machine.
    pub(crate) extra_machine_ms: u64,
}

/// For whom an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullCause {
    /// For a pod that is there for nothing else.
    Ahead,
    /// For a pod that comes with the node (a DaemonSet).
    Node,
    /// For a pod that has landed and waits for it.
    Landing,
}

/// Counts what a world uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    /// The pools that were there when it was set.
    pools: BTreeSet<PoolName>,
    /// The machines of other pools, since `changed`.
    extra: u64,
    /// vCPUs by family, now.
    vcpus: BTreeMap<String, u64>,
    /// Addresses, now.
    addresses: u64,
    changed: Timestamp,
    used: Usage,
}

impl Meter {
    fn advance(&mut self, now: Timestamp) {
        let passed = u64::try_from(now.duration_since(self.changed).as_millis()).unwrap_or_default();
        self.used.extra_machine_ms += passed * self.extra;
        self.changed = now;
    }

    /// A machine is ordered; there are `machines` now.
    pub(crate) fn machine_ordered(&mut self, spec: &PoolSpec, machines: usize, now: Timestamp) {
        self.advance(now);
        self.extra += u64::from(!self.pools.contains(&spec.name));
        self.used.most_nodes = self.used.most_nodes.max(machines as u64);
        self.counts(spec);
    }

    /// Counts the machine's vCPUs and addresses.
    fn counts(&mut self, spec: &PoolSpec) {
        let family = spec.family();
        let vcpus = self.vcpus.entry(family.clone()).or_default();
        *vcpus += spec.vcpus();
        let most = self.used.most_family_vcpus.entry(family).or_default();
        *most = (*most).max(*vcpus);
        self.addresses += addresses(spec);
        self.used.most_vcpus = self.used.most_vcpus.max(self.vcpus.values().sum());
        self.used.most_addresses = self.used.most_addresses.max(self.addresses);
    }

    /// A machine is gone.
    pub(crate) fn machine_gone(&mut self, spec: &PoolSpec, now: Timestamp) {
        self.advance(now);
        self.extra = self.extra.saturating_sub(u64::from(!self.pools.contains(&spec.name)));
        if let Some(vcpus) = self.vcpus.get_mut(&spec.family()) {
            *vcpus = vcpus.saturating_sub(spec.vcpus());
        }
        self.addresses = self.addresses.saturating_sub(addresses(spec));
    }

    /// A machine begins to pull an image.
    pub(crate) fn pull_begun(&mut self, bytes: u64, cause: PullCause) {
        self.used.pulls += 1;
        self.used.pulled_bytes += bytes;
        match cause {
            PullCause::Ahead => self.used.pulls_ahead += 1,
            PullCause::Landing => self.used.cold_pulls += 1,
            PullCause::Node => {}
        }
    }

    /// There are that many pods.
    pub(crate) fn pods(&mut self, pods: usize) {
        self.used.most_pods = self.used.most_pods.max(pods as u64);
    }
}

/// What a machine takes of a subnet that pods take their addresses from, too: its own, and one for each pod it may run.
fn addresses(spec: &PoolSpec) -> u64 {
    1 + u64::from(spec.max_pods)
}

impl World {
    /// Begins to count anew, from what is there now.
    pub(crate) fn set_meter(&mut self) {
        self.meter = Meter {
            pools: self.azure.pool_models().into_iter().map(|pool| pool.name).collect(),
            changed: self.now(),
            used: Usage {
                most_nodes: self.kube.machine_count() as u64,
                most_pods: self.store.count::<Pod>() as u64,
                ..Usage::default()
            },
            ..Meter::default()
        };
        for spec in self.kube.machine_specs() {
            self.meter.counts(spec);
        }
    }

    /// How many images were pulled ahead by a run, and how many a pod has waited for that had landed where they were missing.
    /// What comes with every node does not count.
    pub fn pulls(&self) -> (u64, u64) {
        (self.meter.used.pulls_ahead, self.meter.used.cold_pulls)
    }

    /// What has been used since then.
    pub(crate) fn usage(&self) -> Usage {
        let mut meter = self.meter.clone();
        meter.advance(self.now());
        meter.used
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Lab, Scenario};

    #[test]
    fn the_bill_of_a_pool_that_is_lent_runs_from_its_order_to_its_end() {
        let lab = Lab::new(&Scenario::demo(), 3);
        let pass = |minutes: u64| {
            let until = lab.now() + Duration::from_secs(60 * minutes);
            lab.block_on(async { lab.sleep_until(until).await }).unwrap();
        };
        lab.with(World::set_meter);
        let before = lab.with(|world| world.usage());
        let own = Scenario::demo().pools[1].clone();
        let own = Scenario::demo().pool_spec(&own);
        let lent = crate::PoolSpec { name: "lent".to_owned().try_into().unwrap(), ..own.clone() };
        let machines = lab.with(|world| [world.add_machine(&lent), world.add_machine(&lent)]);
        pass(10);
        lab.with(|world| world.remove_machine(&machines[0]));
        lab.with(|world| world.add_machine(&own));
        pass(5);
        lab.with(|world| world.remove_machine(&machines[1]));
        pass(60);
        let usage = lab.with(|world| world.usage());
        assert_eq!(usage.extra_machine_ms, (10 + 10 + 5) * 60_000);
        assert_eq!(usage.most_nodes, before.most_nodes + 2);
        // Three machines of four vCPUs, six of eight, and two more of eight at most.
        assert_eq!((before.most_vcpus, usage.most_vcpus), (60, 76));
        assert_eq!(usage.most_family_vcpus, [("standardDSv5Family".to_owned(), 76)].into());
        let each = 1 + u64::from(own.max_pods);
        assert_eq!(usage.most_addresses - before.most_addresses, 2 * each);
        assert!(usage.most_pods > before.most_pods, "the new nodes have pods of DaemonSets");
        assert!(usage.pulls > 0 && usage.pulled_bytes > usage.pulls, "{usage:?}");
    }
}

//! Where the cluster stands: the names that everything else is made of.

use std::collections::BTreeMap;

use upgrade_core::model::{NodeName, Resources};

use crate::azure::PoolSpec;
use crate::scenario::Scenario;

/// Where the cluster stands, and how large its machines are.
#[derive(Clone, Debug)]
pub struct Site {
    /// The Azure subscription.
    pub subscription: String,
    /// The resource group of the nodes.
    pub node_resource_group: String,
    /// The Azure region.
    pub location: String,
    /// What pods may use on a machine of a size.
    pub sizes: BTreeMap<String, Resources>,
    /// The eight digits in the names of this cluster's scale sets.
    pub scale_set_hash: String,
}

impl Site {
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let cluster = &scenario.cluster;
        Self {
            subscription: cluster.id.subscription().to_owned(),
            node_resource_group: cluster.node_resource_group.clone(),
            location: cluster.location.clone(),
            sizes: scenario.sizes.clone(),
            scale_set_hash: digits(cluster.id.as_str()),
        }
    }

    /// What pods may use on a machine of this size: as seen in the scenario, else by the number of CPUs in Azure's name of
    /// the size (four GiB per CPU), less what AKS keeps for the system.
    pub fn allocatable(&self, vm_size: &str) -> Resources {
        if let Some(seen) = self.sizes.get(vm_size) {
            return *seen;
        }
        let cpus = Self::cpus(vm_size);
        Resources::new(cpus * 1000 - 140, cpus * 4096 - 1024 - cpus * 256)
    }

    /// How many disks a machine of this size takes (Azure's general purpose sizes: two for each CPU, 32 at most).
    pub fn most_disks(vm_size: &str) -> i32 {
        i32::try_from(Self::cpus(vm_size) * 2).unwrap_or(i32::MAX).min(32)
    }

    /// The CPUs of a size, by Azure's name of it.
    fn cpus(vm_size: &str) -> u64 {
        let number: String = vm_size
            .split('_')
            .nth(1)
            .unwrap_or_default()
            .chars()
            .skip_while(char::is_ascii_alphabetic)
            .take_while(char::is_ascii_digit)
            .collect();
        number.parse().unwrap_or(2).max(1)
    }

    /// The scale set of a pool.
    pub fn scale_set(&self, pool: &PoolSpec) -> String {
        if pool.is_windows() {
            format!("aks{}", pool.name)
        } else {
            format!("aks-{}-{}-vmss", pool.name, self.scale_set_hash)
        }
    }

    /// The name of a pool's machine with this instance number.
    pub fn node_name(&self, pool: &PoolSpec, instance: u32) -> NodeName {
        let name = format!("{}{}", self.scale_set(pool), base36(instance));
        NodeName::new(name).expect("a pool's name is plain")
    }

    /// The Azure id of the machine, as the Node carries it.
    pub fn provider_id(&self, pool: &PoolSpec, instance: u32) -> String {
        format!(
            "azure:///subscriptions/{}/resourceGroups/{}/providers/Microsoft.Compute/virtualMachineScaleSets/{}/virtualMachines/{instance}",
            self.subscription,
            self.node_resource_group,
            self.scale_set(pool),
        )
    }
}

/// Six digits of base 36, as scale sets number their machines.
fn base36(mut number: u32) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 6];
    for place in text.iter_mut().rev() {
        *place = DIGITS[(number % 36) as usize];
        number /= 36;
    }
    text.iter().map(|digit| char::from(*digit)).collect()
}

/// Eight digits that depend on a text and nothing else.
fn digits(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:08}", hash % 100_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_numbers_are_written_as_scale_sets_do() {
        assert_eq!(
            (base36(0).as_str(), base36(34).as_str(), base36(36).as_str()),
            ("000000", "00000y", "000010")
        );
        assert_eq!(digits("a").len(), 8);
    }
}

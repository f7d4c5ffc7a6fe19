//! What there is room for: addresses that AKS counts before it says yes, and machines that the region then gives or does not.

use serde_json::{Map, Value};
use upgrade_core::model::PoolName;

use super::Azure;
use super::error::ArmError;
use super::region::size_of;
use super::wanted::Wanted;

/// How many of the machines that were asked for come into being, and why not all.
pub(super) struct Allocation {
    pub(super) machines: usize,
    pub(super) refusal: Option<ArmError>,
}

impl Azure {
    /// 400 where the subnet could not hold every machine that the pools may come to have, and so many machines of an upgrade
    /// besides. AKS counts an autoscaled pool at its maximum.
    pub(super) fn check_subnet(
        &self,
        name: &PoolName,
        wanted: &Wanted,
        properties: &Map<String, Value>,
        surge: u32,
    ) -> Result<(), ArmError> {
        let most =
            |wanted: &Wanted| wanted.autoscaling.map_or(wanted.count, |(_, max)| max.max(wanted.count));
        let others = self.pools.iter().filter(|(other, _)| *other != name);
        let others = others.map(|(_, pool)| {
            u64::from(most(&pool.wanted)) * self.addresses_of(&pool.wanted, &pool.properties)
        });
        let own = u64::from(most(wanted) + surge) * self.addresses_of(wanted, properties);
        let (need, prefix) = (others.sum::<u64>() + own, &self.limits.subnet_prefix);
        let room = size_of(prefix);
        if own == 0 || need <= room {
            return Ok(());
        }
        Err(ArmError::aks(
            400,
            "InsufficientSubnetSize",
            format!(
                "Pre-allocated IPs {need} exceeds IPs available {room} in Subnet Cidr {prefix}, Subnet Name aks-subnet. If Autoscaler is enabled, the max-count from each nodepool is counted towards this total. http://aka.ms/aks/insufficientsubnetsize"
            ),
        ))
    }

    /// What becomes of an order of `more` machines of a pool. What AKS could not know beforehand fails the operation later:
    /// a size that the region has no more of, or that the subscription may not have; addresses that others have taken.
    pub(super) fn allocate(
        &self,
        wanted: &Wanted,
        properties: &Map<String, Value>,
        more: usize,
        wrapper: &str,
    ) -> Allocation {
        if more > 0 && self.trouble.starves_next() {
            // The operation takes its error from there.
            return Allocation { machines: 0, refusal: None };
        }
        let refused = [
            self.restricted(wanted),
            self.exhausted(wanted, more),
            self.subnet_full(wanted, properties, more, wrapper),
        ];
        let least = refused.into_iter().flatten().min_by_key(|(room, _)| *room);
        match least.filter(|(room, _)| *room < more) {
            None => Allocation { machines: more, refusal: None },
            Some((room, error)) => Allocation { machines: room, refusal: Some(error) },
        }
    }

    /// The subscription may not use the size in the region, or in one of the pool's zones.
    fn restricted(&self, wanted: &Wanted) -> Option<(usize, ArmError)> {
        let zones = self.limits.restricted_sizes.get(&wanted.vm_size)?;
        if !zones.is_empty() && !wanted.zones.iter().any(|zone| zones.contains(zone)) {
            return None;
        }
        let message = format!(
            "The requested size for resource '{}' is currently not available in location '{}' zones '{}' for subscription '{}'. Please try another size or deploy to a different location or zones. See https://aka.ms/azureskunotavailable for details.",
            wanted.vm_size,
            self.cluster.location,
            wanted.zones.join(","),
            self.cluster.id.subscription()
        );
        Some((0, ArmError::aks(409, "SKUNotAvailable", message)))
    }

    /// The region has no more machines of the size.
    fn exhausted(&self, wanted: &Wanted, more: usize) -> Option<(usize, ArmError)> {
        let most = *self.limits.capacity.get(&wanted.vm_size)?;
        let pools = self.pools.values().filter(|pool| pool.wanted.vm_size == wanted.vm_size);
        let have: usize = pools.map(|pool| pool.all_machines().count()).sum();
        let room = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(have);
        let (code, place) = if wanted.zones.is_empty() {
            ("AllocationFailed", "region")
        } else {
            ("ZonalAllocationFailed", "zone")
        };
        let message = format!(
            "Allocation failed. We do not have sufficient capacity for the requested VM size in this {place}. Read more about improving likelihood of allocation success at http://aka.ms/allocation-guidance"
        );
        (room < more).then(|| (room, ArmError::aks(409, code, message)))
    }

    /// The subnet has no more addresses; AKS wraps the network's error in its own.
    fn subnet_full(
        &self,
        wanted: &Wanted,
        properties: &Map<String, Value>,
        more: usize,
        wrapper: &str,
    ) -> Option<(usize, ArmError)> {
        let each = self.addresses_of(wanted, properties);
        let prefix = &self.limits.subnet_prefix;
        let free = size_of(prefix).saturating_sub(self.addresses_taken());
        let room = usize::try_from(free.checked_div(each)?).unwrap_or(usize::MAX);
        let missing = (more.saturating_sub(room)) as u64 * each;
        let message = format!(
            "VMSSAgentPoolReconciler retry failed: Category: ClientError; SubCode: SubnetIsFull; Code=\"SubnetIsFull\" Message=\"Subnet aks-subnet with address prefix {prefix} does not have enough capacity for {missing} IP addresses.\""
        );
        let mut error = ArmError::aks(400, wrapper, message);
        error.subcode = Some("SubnetIsFull".to_owned());
        (room < more).then_some((room, error))
    }
}

//! What the region and the network leave room for: the one place for both the reads and the rules.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use upgrade_core::model::{PoolName, Resources};

use super::Azure;
use super::error::ArmError;
use super::ground::Ground;
use super::pool::AgentPool;
use super::throttle::RequestLimits;
use super::wanted::Wanted;

/// The zones of the lab's region.
pub(super) const ZONES: [&str; 3] = ["1", "2", "3"];

/// What the subscription may use in its region, the network, and when AKS may act by itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AzureLimits {
    /// vCPUs of regular machines of all sizes together (`cores`).
    pub vcpus: u64,
    /// vCPUs of one family (`standardDSv5Family`), where it is another number than `vcpus`.
    pub family_vcpus: BTreeMap<String, u64>,
    /// vCPUs of spot machines (`lowPriorityCores`).
    pub spot_vcpus: u64,
    /// Sizes that the subscription may not use in these zones; no zones: nowhere in the region.
    pub restricted_sizes: BTreeMap<String, Vec<String>>,
    /// How many machines of a size the region gives the cluster, those that it has among them; of other sizes any number.
    pub capacity: BTreeMap<String, u64>,
    /// The IPv4 prefix of the subnet that AKS makes for the nodes.
    pub subnet_prefix: String,
    /// Addresses of the subnet that others have taken.
    pub subnet_taken: u64,
    /// Where pods get their addresses from.
    pub pod_network: PodNetwork,
    /// How many requests Azure takes.
    pub requests: RequestLimits,
    /// Maintenance configurations: the properties by name.
    pub maintenance: BTreeMap<String, Value>,
}

/// Where pods get their addresses from (AKS: Azure CNI).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodNetwork {
    /// A network of their own.
    Overlay,
    /// The nodes' subnet: each node takes as many as it may run pods, at once.
    NodeSubnet,
}

impl Default for AzureLimits {
    /// Room for any cluster that AKS can have: 5000 machines (AKS: quotas) of 64 vCPUs. AKS's own subnet is a /16.
    fn default() -> Self {
        Self {
            vcpus: 320_000,
            family_vcpus: BTreeMap::new(),
            spot_vcpus: 320_000,
            restricted_sizes: BTreeMap::new(),
            capacity: BTreeMap::new(),
            subnet_prefix: "10.224.0.0/16".to_owned(),
            subnet_taken: 0,
            pod_network: PodNetwork::Overlay,
            requests: RequestLimits::default(),
            maintenance: BTreeMap::new(),
        }
    }
}

/// One row of the region's usages.
struct Row {
    name: String,
    used: u64,
    limit: u64,
}

impl Azure {
    /// vCPUs of the machines that exist and count against a quota.
    fn used(&self, ground: &dyn Ground, counts: impl Fn(&Wanted) -> bool) -> u64 {
        let pools = self.pools.values().filter(|pool| counts(&pool.wanted));
        pools.map(|pool| machines(pool) * vcpus(ground, &pool.wanted.vm_size)).sum()
    }

    fn row(&self, ground: &dyn Ground, name: &str) -> Row {
        let (used, limit) = match name {
            "cores" => (self.used(ground, |wanted| !wanted.spot), self.limits.vcpus),
            "lowPriorityCores" => (self.used(ground, |wanted| wanted.spot), self.limits.spot_vcpus),
            family => {
                let own = |wanted: &Wanted| !wanted.spot && family_of(&wanted.vm_size) == family;
                let limit = self.limits.family_vcpus.get(family).copied().unwrap_or(self.limits.vcpus);
                (self.used(ground, own), limit)
            }
        };
        Row { name: name.to_owned(), used, limit }
    }

    /// Are there vCPUs for so many more machines of the pool?
    pub(super) fn check_quota(
        &self,
        ground: &dyn Ground,
        wanted: &Wanted,
        more: usize,
    ) -> Result<(), ArmError> {
        let asked = more as u64 * vcpus(ground, &wanted.vm_size);
        let family = family_of(&wanted.vm_size);
        let rows = if wanted.spot { vec!["lowPriorityCores"] } else { vec!["cores", &family] };
        let mut rows = rows.into_iter().map(|name| self.row(ground, name));
        match rows.find(|row| asked > 0 && row.used + asked > row.limit) {
            None => Ok(()),
            Some(Row { name, used, limit }) => Err(ArmError::aks(
                400,
                "QuotaExceeded",
                format!(
                    "Operation results in exceeding quota limits of Core ({name}). Maximum allowed: {limit}, Current in use: {used}, Additional requested: {asked}."
                ),
            )),
        }
    }

    /// What is not enough for so many more machines like those of a pool: what a client works out of the region's usages and SKUs.
    pub(crate) fn shortages(
        &self,
        ground: &dyn Ground,
        like: &PoolName,
        more: u32,
    ) -> Result<Vec<String>, ArmError> {
        let missing = || ArmError::aks(404, "NotFound", format!("There is no pool {like}."));
        let wanted = &self.pools.get(like).ok_or_else(missing)?.wanted;
        let asked = u64::from(more) * vcpus(ground, &wanted.vm_size);
        let family = family_of(&wanted.vm_size);
        let rows = if wanted.spot { vec!["lowPriorityCores"] } else { vec!["cores", &family] };
        let rows = rows.into_iter().map(|name| self.row(ground, name));
        let short = rows.filter(|row| row.limit.saturating_sub(row.used) < asked).map(|row| {
            let free = row.limit.saturating_sub(row.used);
            format!("{}: {asked} needed, {free} left", localized(&row.name))
        });
        let closed = self.limits.restricted_sizes.get(&wanted.vm_size);
        let closed =
            closed.filter(|zones| zones.is_empty() || wanted.zones.iter().any(|zone| zones.contains(zone)));
        Ok(short.chain(closed.map(|_| format!("size {} is not offered here", wanted.vm_size))).collect())
    }

    /// The compute usages of the region.
    pub(crate) fn compute_usages(&self, ground: &dyn Ground) -> Value {
        let families: BTreeSet<_> = self.sizes(ground).iter().map(|size| family_of(size)).collect();
        let names = ["cores", "lowPriorityCores"].map(str::to_owned).into_iter().chain(families);
        let shown = names.map(|name| {
            let row = self.row(ground, &name);
            json!({ "unit": "Count", "currentValue": row.used, "limit": row.limit,
                "name": { "value": row.name, "localizedValue": localized(&row.name) } })
        });
        json!({ "value": shown.collect::<Value>() })
    }

    /// The sizes that occur: those of the scenario, of the pools and of the restrictions.
    fn sizes(&self, ground: &dyn Ground) -> BTreeSet<String> {
        let pools = self.pools.values().map(|pool| pool.wanted.vm_size.clone());
        ground
            .known_sizes()
            .into_iter()
            .chain(pools)
            .chain(self.limits.restricted_sizes.keys().cloned())
            .collect()
    }

    /// The SKUs of the region. Memory and disks of a size are not among its capabilities: the lab does not know them.
    pub(crate) fn skus(&self, ground: &dyn Ground) -> Value {
        let location = &self.cluster.location;
        let shown = self.sizes(ground).into_iter().map(|size| {
            let vcpus = vcpus(ground, &size).to_string();
            let restrictions = self.limits.restricted_sizes.get(&size).map(|zones| {
                let kind = if zones.is_empty() { "Location" } else { "Zone" };
                let mut info = json!({ "locations": [location] });
                if !zones.is_empty() {
                    info["zones"] = json!(zones);
                }
                json!({ "type": kind, "values": [location], "restrictionInfo": info,
                    "reasonCode": "NotAvailableForSubscription" })
            });
            json!({ "resourceType": "virtualMachines", "name": size, "tier": "Standard",
                "size": size.strip_prefix("Standard_").unwrap_or(&size), "family": family_of(&size),
                "locations": [location],
                "locationInfo": [{ "location": location, "zones": ZONES, "zoneDetails": [] }],
                "capabilities": [{ "name": "vCPUs", "value": vcpus }],
                "restrictions": restrictions.into_iter().collect::<Value>() })
        });
        json!({ "value": shown.collect::<Value>() })
    }

    /// The id of the virtual network that AKS made for the cluster.
    pub(crate) fn network_id(&self) -> String {
        let (subscription, group) = (self.cluster.id.subscription(), &self.cluster.node_resource_group);
        format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/virtualNetworks/aks-vnet"
        )
    }

    /// The id of the nodes' subnet.
    pub(crate) fn subnet_id(&self) -> String {
        format!("{}/subnets/aks-subnet", self.network_id())
    }

    /// The subnet of the nodes. Pools that name a subnet of their own are not in it.
    pub(crate) fn subnet(&self) -> Value {
        json!({ "id": self.subnet_id(), "name": "aks-subnet",
            "type": "Microsoft.Network/virtualNetworks/subnets",
            "properties": { "addressPrefix": self.limits.subnet_prefix, "delegations": [],
                "provisioningState": "Succeeded" } })
    }

    /// How much of the network's subnet is taken, by the cluster's network mode.
    pub(crate) fn subnet_usages(&self) -> Value {
        let taken = self.addresses_taken();
        json!({ "value": [{ "id": self.subnet_id(), "currentValue": taken, "limit": size_of(&self.limits.subnet_prefix),
            "unit": "Count", "name": { "value": "SubnetSpace", "localizedValue": "Subnet size and usage" } }] })
    }

    /// The addresses of AKS's subnet that a machine of the pool takes, pods' included.
    pub(super) fn addresses_of(&self, wanted: &Wanted, properties: &Map<String, Value>) -> u64 {
        let named = |member: &str| properties.get(member).and_then(Value::as_str).is_some();
        if named("vnetSubnetID") {
            return 0;
        }
        let pods = u64::from(wanted.max_pods);
        if self.cluster.pods_in_network() && !named("podSubnetID") { 1 + pods } else { 1 }
    }

    /// The addresses of AKS's subnet that somebody has.
    pub(super) fn addresses_taken(&self) -> u64 {
        let of_pool = |pool: &AgentPool| machines(pool) * self.addresses_of(&pool.wanted, &pool.properties);
        self.pools.values().map(of_pool).sum::<u64>() + self.limits.subnet_taken
    }

    /// The maintenance configurations of the cluster.
    pub(crate) fn maintenance_configurations(&self) -> Value {
        let names = self.limits.maintenance.keys();
        json!({ "value": names.filter_map(|name| self.maintenance_configuration(name).ok()).collect::<Value>() })
    }

    /// One of them.
    pub(crate) fn maintenance_configuration(&self, name: &str) -> Result<Value, ArmError> {
        let found = self.limits.maintenance.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        let (name, properties) = found
            .ok_or_else(|| ArmError::aks(404, "NotFound", "Could not find the maintenance configuration."))?;
        Ok(json!({ "id": format!("{}/maintenanceConfigurations/{name}", self.cluster.id), "name": name,
            "type": "Microsoft.ContainerService/managedClusters/maintenanceConfigurations",
            "properties": properties }))
    }
}

/// The machines of a pool, those of an upgrade included.
fn machines(pool: &AgentPool) -> u64 {
    pool.all_machines().count() as u64
}

/// A quota's name for people.
fn localized(name: &str) -> &str {
    match name {
        "cores" => "Total Regional vCPUs",
        "lowPriorityCores" => "Total Regional Low-priority vCPUs",
        family => family,
    }
}

/// vCPUs of a machine of a size.
fn vcpus(ground: &dyn Ground, vm_size: &str) -> u64 {
    vcpus_of(ground.allocatable(vm_size))
}

/// vCPUs of a machine: what pods may use, and the part of a CPU that AKS keeps for the system (AKS: node reservations).
pub(super) fn vcpus_of(allocatable: Resources) -> u64 {
    allocatable.cpu.0.div_ceil(1000)
}

/// The quota family, by Azure's name of the size: `Standard_D4s_v5` is of `standardDSv5Family`.
pub(super) fn family_of(vm_size: &str) -> String {
    let name = vm_size.strip_prefix("Standard_").unwrap_or(vm_size);
    let (series, version) = name.split_once('_').unwrap_or((name, ""));
    let letters: String = series.chars().filter(char::is_ascii_alphabetic).collect();
    format!("standard{}{version}Family", letters.to_ascii_uppercase())
}

/// The addresses of an IPv4 prefix that machines may have; Azure keeps five. 0 for what is no prefix.
pub(super) fn size_of(prefix: &str) -> u64 {
    let length = prefix.split_once('/').and_then(|(_, length)| length.parse::<u32>().ok());
    let size = length.filter(|length| *length <= 32).map_or(0, |length| 1_u64 << (32 - length));
    size.saturating_sub(5)
}

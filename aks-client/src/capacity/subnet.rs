//! Subnets and the addresses left in them.

use std::net::Ipv4Addr;

use serde_json::Value;

use super::usage::count;
use crate::model::ShapeError;
use crate::resource_id::ResourceId;
use crate::value::{at, list_at, text_at, texts_at};

/// Addresses of every IPv4 prefix that Azure keeps to itself.
const RESERVED: u64 = 5;

/// A subnet: the JSON of the GET, with typed views.
#[derive(Debug, Clone, PartialEq)]
pub struct Subnet {
    raw: Value,
    id: ResourceId,
}

/// How many addresses of a subnet are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetUsage {
    /// The subnet.
    pub subnet: ResourceId,
    /// How many are taken.
    pub used: u64,
    /// How many there are; whether without the reserved ones the service does not say.
    pub limit: u64,
}

impl SubnetUsage {
    pub(crate) fn read(value: &Value) -> Option<Self> {
        Some(Self {
            subnet: text_at(value, &["id"])?.parse().ok()?,
            used: count(value, "currentValue")?,
            limit: count(value, "limit")?,
        })
    }
}

impl Subnet {
    /// A subnet from the JSON of a GET, which must hold a readable `id` and `properties`.
    pub fn from_value(raw: Value) -> Result<Self, ShapeError> {
        let wrong = |reason| ShapeError { what: "a subnet", reason };
        if !raw.get("properties").is_some_and(Value::is_object) {
            return Err(wrong("it has no properties"));
        }
        let id = text_at(&raw, &["id"])
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| wrong("its id is not readable"))?;
        Ok(Self { raw, id })
    }

    /// The JSON it came as.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// Its id.
    pub fn id(&self) -> &ResourceId {
        &self.id
    }

    /// Its prefixes, of both families.
    pub fn prefixes(&self) -> Vec<&str> {
        let one = text_at(&self.raw, &["properties", "addressPrefix"]).into_iter();
        let mut prefixes: Vec<_> =
            one.chain(texts_at(&self.raw, &["properties", "addressPrefixes"])).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes
    }

    /// What it is delegated to. AKS puts no nodes into a delegated subnet.
    pub fn delegations(&self) -> Vec<&str> {
        let delegations = list_at(&self.raw, &["properties", "delegations"]).iter();
        delegations.filter_map(|delegation| text_at(delegation, &["properties", "serviceName"])).collect()
    }

    /// How many IP configurations it lists. The list of a large subnet may be cut: prefer [`SubnetUsage`].
    pub fn listed_configurations(&self) -> u64 {
        list_at(&self.raw, &["properties", "ipConfigurations"]).len() as u64
    }

    /// Where the last change of it stands: `Succeeded`, `Updating`, `Failed`.
    pub fn provisioning_state(&self) -> Option<&str> {
        text_at(&self.raw, &["properties", "provisioningState"])
    }

    /// IPv4 addresses that machines may have: those of its prefixes, without Azure's five of each. `None` where it shows no
    /// readable IPv4 prefix.
    pub fn size(&self) -> Option<u64> {
        let sizes: Vec<u64> = self.prefixes().into_iter().filter_map(ipv4_size).collect();
        (!sizes.is_empty()).then(|| sizes.iter().map(|size| size.saturating_sub(RESERVED)).sum())
    }

    /// IPv4 addresses left, on the careful side: never more than its size allows, nor than the network's own count.
    pub fn free(&self, usage: Option<&SubnetUsage>) -> Option<u64> {
        let size = self.size()?;
        let usage = usage.filter(|usage| usage.subnet == self.id);
        Some(match usage {
            Some(usage) => size.min(usage.limit).saturating_sub(usage.used),
            None => size.saturating_sub(self.listed_configurations()),
        })
    }

    /// Whether its JSON shows a route table, which kubenet writes to.
    pub fn has_route_table(&self) -> bool {
        at(&self.raw, &["properties", "routeTable"]).is_some()
    }
}

/// How many addresses an IPv4 prefix has; `None` for IPv6 and for what is no prefix.
pub(super) fn ipv4_size(prefix: &str) -> Option<u64> {
    let (address, length) = prefix.trim().split_once('/')?;
    address.parse::<Ipv4Addr>().ok()?;
    let length: u32 = length.parse().ok().filter(|length| *length <= 32)?;
    Some(1 << (32 - length))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NETWORK: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net/providers\
        /Microsoft.Network/virtualNetworks/hub";

    fn subnet(properties: &Value) -> Subnet {
        Subnet::from_value(json!({"id": format!("{NETWORK}/subnets/nodes"), "properties": properties}))
            .unwrap()
    }

    fn usage(name: &str, used: u64, limit: u64) -> SubnetUsage {
        SubnetUsage { subnet: format!("{NETWORK}/SUBNETS/{name}").parse().unwrap(), used, limit }
    }

    #[test]
    fn five_addresses_of_each_prefix_are_azures() {
        let table = [
            (json!({"addressPrefix": "10.0.0.0/24"}), Some(251)),
            (json!({"addressPrefixes": ["10.0.0.0/24", "10.0.1.0/28", "fd00::/64"]}), Some(251 + 11)),
            (json!({"addressPrefix": "10.0.0.0/24", "addressPrefixes": ["10.0.0.0/24"]}), Some(251)),
            (json!({"addressPrefix": "10.0.0.0/30"}), Some(0)),
            (json!({"addressPrefix": "0.0.0.0/0"}), Some((1 << 32) - 5)),
            (json!({"addressPrefix": "10.0.0.0/33"}), None),
            (json!({"addressPrefixes": ["fd00::/64"]}), None),
            (json!({}), None),
        ];
        for (properties, expected) in table {
            assert_eq!(subnet(&properties).size(), expected, "{properties}");
        }
    }

    #[test]
    fn what_is_left_is_never_more_than_either_count_allows() {
        let listed =
            subnet(&json!({"addressPrefix": "10.0.0.0/28", "ipConfigurations": [{"id": "a"}, {"id": "b"}]}));
        let table = [
            (None, 9),
            (Some(usage("nodes", 3, 16)), 8),
            (Some(usage("NODES", 3, 11)), 8),
            (Some(usage("nodes", 3, 8)), 5),
            (Some(usage("nodes", 99, 16)), 0),
            // Another subnet's count is not this one's.
            (Some(usage("pods", 0, 16)), 9),
        ];
        for (usage, expected) in table {
            assert_eq!(listed.free(usage.as_ref()), Some(expected), "{usage:?}");
        }
    }

    #[test]
    fn what_is_not_a_subnet_is_refused() {
        for value in [json!({}), json!({"properties": {}}), json!({"id": "nodes", "properties": {}})] {
            assert!(Subnet::from_value(value.clone()).is_err(), "{value}");
        }
        let delegated = subnet(&json!({"provisioningState": "Updating", "routeTable": {"id": "/r"},
            "delegations": [{"properties": {"serviceName": "Microsoft.Web/serverFarms"}}]}));
        assert_eq!(delegated.delegations(), ["Microsoft.Web/serverFarms"]);
        assert_eq!((delegated.provisioning_state(), delegated.has_route_table()), (Some("Updating"), true));
        assert_eq!(delegated.free(None), None);
    }
}

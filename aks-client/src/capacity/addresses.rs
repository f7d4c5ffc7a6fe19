//! How many addresses more nodes need, by the cluster's network mode.

use super::subnet::ipv4_size;
use crate::model::{AgentPool, ManagedCluster};

/// Azure reaches a kubenet node's pods by one entry of a route table, which has 400.
pub const KUBENET_MOST_NODES: u32 = 400;

/// An overlay gives each node a /24 of the cluster's pod range.
const OVERLAY_NODE_ADDRESSES: u64 = 256;

/// Addresses of a pod subnet are given to nodes in blocks of this many.
const BLOCK: u64 = 16;

/// Where nodes and pods get their addresses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkMode {
    /// Pods have addresses that the virtual network does not see: Azure CNI Overlay, and clusters that bring their own CNI.
    Overlay,
    /// As `Overlay`, with a route table entry for each node.
    Kubenet,
    /// Azure CNI, pods in the nodes' subnet: addresses of all pods a node may have are taken with the node.
    NodeSubnet {
        /// Pods per node.
        max_pods: u32,
    },
    /// Azure CNI, pods in a subnet of their own, addresses given as pods come.
    PodSubnetDynamic {
        /// Pods per node.
        max_pods: u32,
    },
    /// Azure CNI, pods in a subnet of their own, addresses given to nodes in blocks.
    PodSubnetStatic {
        /// Pods per node.
        max_pods: u32,
    },
}

/// How many addresses are needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AddressNeed {
    /// Of the nodes' subnet.
    pub node_subnet: u64,
    /// Of the pods' subnet; the most that may be needed.
    pub pod_subnet: u64,
}

impl NetworkMode {
    /// The mode of a pool; `None` where it cannot be told, for example where pods take addresses and the pool shows no
    /// number of pods.
    pub fn of(cluster: &ManagedCluster, pool: &AgentPool) -> Option<Self> {
        let is = |text: Option<&str>, name: &str| text.is_some_and(|text| text.eq_ignore_ascii_case(name));
        match cluster.network_plugin()? {
            plugin if plugin.eq_ignore_ascii_case("kubenet") => return Some(Self::Kubenet),
            plugin if plugin.eq_ignore_ascii_case("none") => return Some(Self::Overlay),
            plugin if !plugin.eq_ignore_ascii_case("azure") => return None,
            _ if is(cluster.network_plugin_mode(), "overlay") => return Some(Self::Overlay),
            _ => {}
        }
        let max_pods = pool.max_pods()?;
        Some(match (pool.pod_subnet_id(), pool.pod_ip_allocation_mode()) {
            (None, _) => Self::NodeSubnet { max_pods },
            (Some(_), mode) if is(mode, "StaticBlock") => Self::PodSubnetStatic { max_pods },
            (Some(_), _) => Self::PodSubnetDynamic { max_pods },
        })
    }

    /// The addresses that `nodes` more nodes need.
    ///
    /// ```
    /// use aks_client::NetworkMode;
    ///
    /// let need = NetworkMode::NodeSubnet { max_pods: 30 }.addresses_needed(3);
    /// assert_eq!((need.node_subnet, need.pod_subnet), (3 * 31, 0));
    /// assert_eq!(NetworkMode::Overlay.addresses_needed(3).node_subnet, 3);
    /// ```
    pub fn addresses_needed(self, nodes: u32) -> AddressNeed {
        let nodes = u64::from(nodes);
        let blocks = |max_pods: u32| u64::from(max_pods).div_ceil(BLOCK) * BLOCK;
        match self {
            Self::Overlay | Self::Kubenet => AddressNeed { node_subnet: nodes, pod_subnet: 0 },
            Self::NodeSubnet { max_pods } => {
                AddressNeed { node_subnet: nodes * (1 + u64::from(max_pods)), pod_subnet: 0 }
            }
            Self::PodSubnetDynamic { max_pods } | Self::PodSubnetStatic { max_pods } => {
                AddressNeed { node_subnet: nodes, pod_subnet: nodes * blocks(max_pods) }
            }
        }
    }
}

/// How many nodes an overlay can have with this pod range; `None` where it is not an IPv4 prefix.
///
/// ```
/// assert_eq!(aks_client::overlay_most_nodes("10.244.0.0/16"), Some(256));
/// ```
pub fn overlay_most_nodes(pod_cidr: &str) -> Option<u64> {
    ipv4_size(pod_cidr).map(|size| size / OVERLAY_NODE_ADDRESSES)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_mode_is_told_from_cluster_and_pool() {
        let (node, dynamic, fixed) = (
            NetworkMode::NodeSubnet { max_pods: 30 },
            NetworkMode::PodSubnetDynamic { max_pods: 30 },
            NetworkMode::PodSubnetStatic { max_pods: 30 },
        );
        let pods =
            |mode| json!({"name": "p", "maxPods": 30, "podSubnetID": "/pods", "podIPAllocationMode": mode});
        let plain = json!({"name": "p", "maxPods": 30, "vnetSubnetID": "/nodes"});
        let table = [
            (
                json!({"networkPlugin": "azure", "networkPluginMode": "overlay"}),
                pods("StaticBlock"),
                Some(NetworkMode::Overlay),
            ),
            (json!({"networkPlugin": "kubenet"}), plain.clone(), Some(NetworkMode::Kubenet)),
            (json!({"networkPlugin": "none"}), json!({"name": "p"}), Some(NetworkMode::Overlay)),
            (json!({"networkPlugin": "azure"}), plain.clone(), Some(node)),
            (json!({"networkPlugin": "Azure"}), pods("DynamicIndividual"), Some(dynamic)),
            (json!({"networkPlugin": "azure"}), pods("staticblock"), Some(fixed)),
            (json!({"networkPlugin": "azure"}), json!({"name": "p"}), None),
            (json!({"networkPlugin": "cilium-next"}), plain.clone(), None),
            (json!({}), plain, None),
        ];
        for (profile, pool, expected) in table {
            let id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers\
                /Microsoft.ContainerService/managedClusters/shop";
            let cluster = json!({"id": id, "properties": {"networkProfile": profile}});
            let cluster = ManagedCluster::from_value(cluster).unwrap();
            let pool = AgentPool::from_value(pool).unwrap();
            assert_eq!(NetworkMode::of(&cluster, &pool), expected, "{:?} {:?}", cluster.raw(), pool.raw());
        }
    }

    #[test]
    fn each_mode_needs_what_azure_takes() {
        let table = [
            (NetworkMode::Overlay, 5, 0),
            (NetworkMode::Kubenet, 5, 0),
            (NetworkMode::NodeSubnet { max_pods: 110 }, 5 * 111, 0),
            (NetworkMode::PodSubnetDynamic { max_pods: 30 }, 5, 5 * 32),
            (NetworkMode::PodSubnetStatic { max_pods: 110 }, 5, 5 * 7 * 16),
        ];
        for (mode, node_subnet, pod_subnet) in table {
            assert_eq!(mode.addresses_needed(5), AddressNeed { node_subnet, pod_subnet }, "{mode:?}");
            assert_eq!(mode.addresses_needed(0), AddressNeed::default());
        }
        // The largest of everything does not overflow.
        NetworkMode::NodeSubnet { max_pods: u32::MAX }.addresses_needed(u32::MAX);
    }

    #[test]
    fn an_overlay_has_a_24_for_each_node() {
        for (cidr, nodes) in
            [("10.244.0.0/16", Some(256)), ("10.0.0.0/24", Some(1)), ("10.0.0.0/25", Some(0)), ("x", None)]
        {
            assert_eq!(overlay_most_nodes(cidr), nodes, "{cidr}");
        }
    }
}

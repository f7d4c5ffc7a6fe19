//! An agent pool as ARM shows it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ProvisioningState, ShapeError};
use crate::service_error::ServiceError;
use crate::value::{at, bool_at, etag_of, number_at, pairs_at, text_at, texts_at};

/// An agent pool: the JSON it came as, with typed views. Absent and `null` are both `None`.
///
/// ARM shows a pool in two forms, as a resource (with `properties`) and flat inside its cluster; the views read both.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentPool {
    raw: Value,
    name: String,
}

/// How AKS replaces the nodes of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpgradeSettings {
    /// Nodes added while upgrading: a number or a percentage such as `33%`.
    pub max_surge: Option<String>,
    /// Nodes that may be down at once: a number or a percentage.
    pub max_unavailable: Option<String>,
    /// Minutes one node's drain may take before the upgrade stops.
    pub drain_timeout_minutes: Option<u32>,
    /// Minutes waited after a drain.
    pub node_soak_minutes: Option<u32>,
    /// What becomes of a node that cannot be drained: `Schedule` or `Cordon`.
    pub undrainable_node_behavior: Option<String>,
}

impl AgentPool {
    /// A pool from either of its two forms; it must be an object with a `name`.
    pub fn from_value(raw: Value) -> Result<Self, ShapeError> {
        let name = text_at(&raw, &["name"])
            .ok_or(ShapeError { what: "an agent pool", reason: "it has no name" })?
            .to_owned();
        Ok(Self { raw, name })
    }

    /// The JSON it came as.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The properties, wherever this form keeps them.
    pub fn properties(&self) -> &Value {
        self.raw.get("properties").filter(|properties| properties.is_object()).unwrap_or(&self.raw)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The eTag; a write to the pool or to its cluster changes it.
    pub fn etag(&self) -> Option<&str> {
        etag_of(self.properties()).or_else(|| etag_of(&self.raw))
    }

    /// `System`, `User` or `Gateway`.
    pub fn mode(&self) -> Option<&str> {
        self.text("mode")
    }

    /// `Linux` or `Windows`.
    pub fn os_type(&self) -> Option<&str> {
        self.text("osType")
    }

    /// `Ubuntu`, `AzureLinux`, `Windows2022` and others.
    pub fn os_sku(&self) -> Option<&str> {
        self.text("osSKU")
    }

    /// The version asked for; may be an alias. After a failed upgrade this is the target though the nodes are old.
    pub fn orchestrator_version(&self) -> Option<&str> {
        self.text("orchestratorVersion")
    }

    /// The complete version the pool is set to. After a failed upgrade this may be ahead of the nodes.
    pub fn current_orchestrator_version(&self) -> Option<&str> {
        self.text("currentOrchestratorVersion")
    }

    /// The node image new nodes get.
    pub fn node_image_version(&self) -> Option<&str> {
        self.text("nodeImageVersion")
    }

    /// How many nodes; under an autoscaler the number of a moment ago.
    pub fn count(&self) -> Option<u32> {
        number_at(self.properties(), &["count"])
    }

    /// The VM size.
    pub fn vm_size(&self) -> Option<&str> {
        self.text("vmSize")
    }

    /// The zones, without an order that means anything.
    pub fn availability_zones(&self) -> Vec<&str> {
        texts_at(self.properties(), &["availabilityZones"])
    }

    /// Pods per node.
    pub fn max_pods(&self) -> Option<u32> {
        number_at(self.properties(), &["maxPods"])
    }

    /// Whether the cluster autoscaler sizes it.
    pub fn enable_auto_scaling(&self) -> bool {
        bool_at(self.properties(), &["enableAutoScaling"]).unwrap_or(false)
    }

    /// The autoscaler's lower bound.
    pub fn min_count(&self) -> Option<u32> {
        number_at(self.properties(), &["minCount"])
    }

    /// The autoscaler's upper bound.
    pub fn max_count(&self) -> Option<u32> {
        number_at(self.properties(), &["maxCount"])
    }

    /// Labels given through AKS.
    pub fn node_labels(&self) -> BTreeMap<&str, &str> {
        pairs_at(self.properties(), &["nodeLabels"])
    }

    /// Taints given through AKS, each `key=value:Effect`.
    pub fn node_taints(&self) -> Vec<&str> {
        texts_at(self.properties(), &["nodeTaints"])
    }

    /// Azure tags.
    pub fn tags(&self) -> BTreeMap<&str, &str> {
        pairs_at(self.properties(), &["tags"])
    }

    /// Where the pool stands. A pool without a state is a finished one (ARM: asynchronous operations).
    pub fn provisioning_state(&self) -> ProvisioningState {
        self.text("provisioningState").map_or(ProvisioningState::Succeeded, ProvisioningState::parse)
    }

    /// Why the last operation failed, where the service kept it.
    pub fn provisioning_error(&self) -> Option<ServiceError> {
        at(self.properties(), &["status", "provisioningError"]).and_then(ServiceError::from_value)
    }

    /// `Running` or `Stopped`.
    pub fn power_state(&self) -> Option<&str> {
        text_at(self.properties(), &["powerState", "code"])
    }

    /// `VirtualMachineScaleSets`, `VirtualMachines` or `AvailabilitySet`. (`type`, a reserved word.)
    pub fn kind(&self) -> Option<&str> {
        self.text("type")
    }

    /// `Regular` or `Spot`.
    pub fn priority(&self) -> Option<&str> {
        self.text("scaleSetPriority")
    }

    /// The subnet of the nodes; absent where AKS manages the network.
    pub fn vnet_subnet_id(&self) -> Option<&str> {
        self.text("vnetSubnetID")
    }

    /// The subnet of the pods, where they have one of their own.
    pub fn pod_subnet_id(&self) -> Option<&str> {
        self.text("podSubnetID")
    }

    /// How pods of a subnet of their own get addresses: `DynamicIndividual` or `StaticBlock`.
    pub fn pod_ip_allocation_mode(&self) -> Option<&str> {
        self.text("podIPAllocationMode")
    }

    /// How AKS replaces the nodes; absent members leave it to the service's default.
    pub fn upgrade_settings(&self) -> UpgradeSettings {
        let Some(settings) = at(self.properties(), &["upgradeSettings"]) else {
            return UpgradeSettings::default();
        };
        // Documented as text; a bare number is read too, so that a missing quote does not look like a default.
        let amount = |name| match at(settings, &[name]) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        UpgradeSettings {
            max_surge: amount("maxSurge"),
            max_unavailable: amount("maxUnavailable"),
            drain_timeout_minutes: number_at(settings, &["drainTimeoutInMinutes"]),
            node_soak_minutes: number_at(settings, &["nodeSoakDurationInMinutes"]),
            undrainable_node_behavior: text_at(settings, &["undrainableNodeBehavior"]).map(str::to_owned),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        text_at(self.properties(), &[name])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn properties() -> Value {
        json!({
            "eTag": "e", "mode": "User", "osType": "Linux", "osSKU": "Ubuntu", "orchestratorVersion": "1.34",
            "currentOrchestratorVersion": "1.34.6", "nodeImageVersion": "img", "count": 6, "vmSize": "D4",
            "availabilityZones": ["1", "2"], "maxPods": 110, "enableAutoScaling": true, "minCount": 3, "maxCount": 9,
            "nodeLabels": {"a": "b"}, "nodeTaints": ["k=v:NoSchedule"], "tags": {"t": "u"},
            "provisioningState": "Failed", "status": {"provisioningError": {"error": {"code": "SubnetIsFull"}}},
            "powerState": {"code": "Running"}, "type": "VirtualMachineScaleSets", "scaleSetPriority": "Regular",
            "vnetSubnetID": "/n", "podSubnetID": "/p",
            "upgradeSettings": {"maxSurge": "33%", "maxUnavailable": 0, "drainTimeoutInMinutes": 30,
                "nodeSoakDurationInMinutes": 5, "undrainableNodeBehavior": "Cordon"}
        })
    }

    #[test]
    fn both_forms_of_a_pool_read_the_same() {
        let mut flat = properties();
        flat["name"] = json!("user1");
        let resource = json!({"id": "/x", "name": "user1", "type": "Microsoft.ContainerService/managedClusters/agentPools",
            "properties": properties()});
        for raw in [flat, resource] {
            let pool = AgentPool::from_value(raw).unwrap();
            let texts = [
                (Some(pool.name()), "user1"),
                (pool.etag(), "e"),
                (pool.mode(), "User"),
                (pool.os_type(), "Linux"),
                (pool.os_sku(), "Ubuntu"),
                (pool.orchestrator_version(), "1.34"),
                (pool.current_orchestrator_version(), "1.34.6"),
                (pool.node_image_version(), "img"),
                (pool.vm_size(), "D4"),
                (pool.power_state(), "Running"),
                (pool.kind(), "VirtualMachineScaleSets"),
                (pool.priority(), "Regular"),
                (pool.vnet_subnet_id(), "/n"),
                (pool.pod_subnet_id(), "/p"),
            ];
            for (found, expected) in texts {
                assert_eq!(found, Some(expected));
            }
            assert_eq!((pool.count(), pool.min_count(), pool.max_count()), (Some(6), Some(3), Some(9)));
            assert_eq!((pool.max_pods(), pool.enable_auto_scaling()), (Some(110), true));
            assert_eq!(pool.availability_zones(), ["1", "2"]);
            assert_eq!(pool.node_taints(), ["k=v:NoSchedule"]);
            assert_eq!(pool.node_labels(), BTreeMap::from([("a", "b")]));
            assert_eq!(pool.tags(), BTreeMap::from([("t", "u")]));
            assert_eq!(pool.provisioning_state(), ProvisioningState::Failed);
            assert_eq!(pool.provisioning_error().unwrap().code.as_deref(), Some("SubnetIsFull"));
            let expected = UpgradeSettings {
                max_surge: Some("33%".to_owned()),
                max_unavailable: Some("0".to_owned()),
                drain_timeout_minutes: Some(30),
                node_soak_minutes: Some(5),
                undrainable_node_behavior: Some("Cordon".to_owned()),
            };
            assert_eq!(pool.upgrade_settings(), expected);
        }
    }

    #[test]
    fn absent_and_null_members_are_none() {
        let pool =
            AgentPool::from_value(json!({"name": "p", "properties": {"count": null, "tags": null}})).unwrap();
        assert_eq!((pool.count(), pool.etag(), pool.mode()), (None, None, None));
        assert!(pool.tags().is_empty() && !pool.enable_auto_scaling());
        assert_eq!(pool.upgrade_settings(), UpgradeSettings::default());
        assert!(AgentPool::from_value(json!({"properties": {}})).is_err());
    }
}

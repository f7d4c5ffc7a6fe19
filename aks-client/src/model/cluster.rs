//! A managed cluster as ARM shows it.

use jiff::Timestamp;
use serde_json::Value;

use super::{AgentPool, ProvisioningState, ShapeError};
use crate::id::ClusterId;
use crate::service_error::ServiceError;
use crate::value::{at, bool_at, etag_of, list_at, number_at, text_at};

/// A managed cluster: the JSON of the GET, with typed views. Absent and `null` are both `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct ManagedCluster {
    raw: Value,
    id: ClusterId,
    pools: Vec<AgentPool>,
}

/// An order to the service to upgrade whatever its own checks say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForceUpgrade {
    /// Whether it is switched on.
    pub force: bool,
    /// Until when, as the service wrote it; without an end it is not in effect.
    pub until: Option<String>,
}

impl ForceUpgrade {
    /// Whether it holds at `now`. An end that cannot be read counts as not yet reached: while this holds, drains by AKS
    /// do not respect budgets.
    pub fn in_effect(&self, now: Timestamp) -> bool {
        self.force
            && self
                .until
                .as_deref()
                .is_some_and(|until| until.parse::<Timestamp>().map_or(true, |until| until > now))
    }
}

impl ManagedCluster {
    /// A cluster from the JSON of a GET, which must hold a readable `id` and `properties`.
    pub fn from_value(raw: Value) -> Result<Self, ShapeError> {
        let wrong = |reason| ShapeError { what: "a managed cluster", reason };
        if !raw.get("properties").is_some_and(Value::is_object) {
            return Err(wrong("it has no properties"));
        }
        let id = text_at(&raw, &["id"])
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| wrong("its id is not readable"))?;
        let pools = list_at(&raw, &["properties", "agentPoolProfiles"])
            .iter()
            .cloned()
            .map(AgentPool::from_value)
            .collect::<Result<_, _>>()?;
        Ok(Self { raw, id, pools })
    }

    /// The whole answer.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The cluster's id.
    pub fn id(&self) -> &ClusterId {
        &self.id
    }

    /// The ARM id as the service wrote it.
    pub fn resource_id(&self) -> &str {
        text_at(&self.raw, &["id"]).unwrap_or_default()
    }

    /// The region, for example `westeurope`.
    pub fn location(&self) -> Option<&str> {
        text_at(&self.raw, &["location"])
    }

    /// The eTag; every write to the cluster changes it.
    pub fn etag(&self) -> Option<&str> {
        etag_of(&self.raw)
    }

    /// Where the cluster stands; pools have their own state. A resource without a state is a finished one (ARM:
    /// asynchronous operations).
    pub fn provisioning_state(&self) -> ProvisioningState {
        self.text("provisioningState").map_or(ProvisioningState::Succeeded, ProvisioningState::parse)
    }

    /// Why the last operation failed, where the service kept it.
    pub fn provisioning_error(&self) -> Option<ServiceError> {
        at(&self.raw, &["properties", "status", "provisioningError"]).and_then(ServiceError::from_value)
    }

    /// The version asked for; may be an alias such as `1.34`.
    pub fn kubernetes_version(&self) -> Option<&str> {
        self.text("kubernetesVersion")
    }

    /// The complete version the control plane runs.
    pub fn current_kubernetes_version(&self) -> Option<&str> {
        self.text("currentKubernetesVersion")
    }

    /// The resource group of the nodes.
    pub fn node_resource_group(&self) -> Option<&str> {
        self.text("nodeResourceGroup")
    }

    /// The public name of the API server.
    pub fn fqdn(&self) -> Option<&str> {
        self.text("fqdn")
    }

    /// The private name of the API server.
    pub fn private_fqdn(&self) -> Option<&str> {
        self.text("privateFQDN")
    }

    /// The automatic upgrade channel: `none`, `patch`, `stable`, `rapid`, `node-image`.
    pub fn auto_upgrade_channel(&self) -> Option<&str> {
        text_at(&self.raw, &["properties", "autoUpgradeProfile", "upgradeChannel"])
    }

    /// The channel of node OS updates: `None`, `Unmanaged`, `NodeImage`, `SecurityPatch`.
    pub fn node_os_channel(&self) -> Option<&str> {
        text_at(&self.raw, &["properties", "autoUpgradeProfile", "nodeOSUpgradeChannel"])
    }

    /// `Base` or `Automatic`.
    pub fn sku_name(&self) -> Option<&str> {
        text_at(&self.raw, &["sku", "name"])
    }

    /// `Free`, `Standard` or `Premium`.
    pub fn sku_tier(&self) -> Option<&str> {
        text_at(&self.raw, &["sku", "tier"])
    }

    /// `KubernetesOfficial` or `AKSLongTermSupport`.
    pub fn support_plan(&self) -> Option<&str> {
        self.text("supportPlan")
    }

    /// How many pools the cluster may have.
    pub fn max_agent_pools(&self) -> Option<u32> {
        number_at(&self.raw, &["properties", "maxAgentPools"])
    }

    /// `azure`, `kubenet` or `none`.
    pub fn network_plugin(&self) -> Option<&str> {
        text_at(&self.raw, &["properties", "networkProfile", "networkPlugin"])
    }

    /// `overlay`, or absent.
    pub fn network_plugin_mode(&self) -> Option<&str> {
        text_at(&self.raw, &["properties", "networkProfile", "networkPluginMode"])
    }

    /// `Running` or `Stopped`.
    pub fn power_state(&self) -> Option<&str> {
        text_at(&self.raw, &["properties", "powerState", "code"])
    }

    /// `Manual`, or `Auto` where nodes outside any pool come and go (node auto-provisioning).
    pub fn node_provisioning_mode(&self) -> Option<&str> {
        text_at(&self.raw, &["properties", "nodeProvisioningProfile", "mode"])
    }

    /// The override of the service's upgrade checks, where one is set. It stays set until somebody removes it.
    pub fn force_upgrade(&self) -> Option<ForceUpgrade> {
        let settings = at(&self.raw, &["properties", "upgradeSettings", "overrideSettings"])?;
        Some(ForceUpgrade {
            force: bool_at(settings, &["forceUpgrade"]).unwrap_or(false),
            until: text_at(settings, &["until"]).map(str::to_owned),
        })
    }

    /// The pools as the cluster lists them, in its order.
    pub fn pools(&self) -> &[AgentPool] {
        &self.pools
    }

    fn text(&self, name: &str) -> Option<&str> {
        text_at(&self.raw, &["properties", name])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id() -> String {
        "/subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/rg/providers\
            /Microsoft.ContainerService/managedClusters/shop"
            .to_owned()
    }

    #[test]
    fn every_view_reads_its_member() {
        let cluster = ManagedCluster::from_value(json!({
            "id": id(), "location": "westeurope", "eTag": "e1", "sku": {"name": "Base", "tier": "Premium"},
            "properties": {
                "provisioningState": "Upgrading", "kubernetesVersion": "1.34", "currentKubernetesVersion": "1.34.6",
                "nodeResourceGroup": "MC_rg", "fqdn": "f", "privateFQDN": "p", "maxAgentPools": 100,
                "autoUpgradeProfile": {"upgradeChannel": "none", "nodeOSUpgradeChannel": "NodeImage"},
                "networkProfile": {"networkPlugin": "azure", "networkPluginMode": "overlay"},
                "powerState": {"code": "Running"}, "supportPlan": "KubernetesOfficial",
                "nodeProvisioningProfile": {"mode": "Manual"},
                "status": {"provisioningError": {"code": "SubnetIsFull", "message": "m"}},
                "upgradeSettings": {"overrideSettings": {"forceUpgrade": true, "until": "2026-12-01T00:00:00Z"}},
                "agentPoolProfiles": [{"name": "system", "count": 3, "eTag": "e2"}]
            }
        }))
        .unwrap();
        assert_eq!(cluster.id(), &id().parse().unwrap());
        assert_eq!(cluster.provisioning_state(), ProvisioningState::Busy("Upgrading".to_owned()));
        let texts = [
            (cluster.location(), "westeurope"),
            (cluster.etag(), "e1"),
            (cluster.kubernetes_version(), "1.34"),
            (cluster.current_kubernetes_version(), "1.34.6"),
            (cluster.node_resource_group(), "MC_rg"),
            (cluster.fqdn(), "f"),
            (cluster.private_fqdn(), "p"),
            (cluster.auto_upgrade_channel(), "none"),
            (cluster.node_os_channel(), "NodeImage"),
            (cluster.sku_name(), "Base"),
            (cluster.sku_tier(), "Premium"),
            (cluster.network_plugin(), "azure"),
            (cluster.network_plugin_mode(), "overlay"),
            (cluster.power_state(), "Running"),
            (cluster.support_plan(), "KubernetesOfficial"),
            (cluster.node_provisioning_mode(), "Manual"),
        ];
        for (found, expected) in texts {
            assert_eq!(found, Some(expected));
        }
        assert_eq!(cluster.max_agent_pools(), Some(100));
        assert_eq!(cluster.provisioning_error().unwrap().code.as_deref(), Some("SubnetIsFull"));
        assert_eq!((cluster.pools()[0].name(), cluster.pools()[0].etag()), ("system", Some("e2")));
    }

    #[test]
    fn a_forced_upgrade_holds_until_its_end_and_an_unreadable_end_holds() {
        let now: Timestamp = "2026-11-24T08:00:00Z".parse().unwrap();
        let table = [
            (true, Some("2026-12-01T00:00:00Z"), true),
            (true, Some("2026-11-01T00:00:00Z"), false),
            (true, Some("sometime"), true),
            (true, None, false),
            (false, Some("2026-12-01T00:00:00Z"), false),
        ];
        for (force, until, expected) in table {
            let setting = ForceUpgrade { force, until: until.map(str::to_owned) };
            assert_eq!(setting.in_effect(now), expected, "{setting:?}");
        }
    }

    #[test]
    fn what_is_not_a_cluster_is_refused() {
        for value in [json!({}), json!({"id": id()}), json!({"id": "/x", "properties": {}}), json!([])] {
            assert!(ManagedCluster::from_value(value.clone()).is_err(), "{value}");
        }
        let bare = ManagedCluster::from_value(json!({"id": id(), "properties": {}})).unwrap();
        assert_eq!(bare.provisioning_state(), ProvisioningState::Succeeded);
        assert!(bare.pools().is_empty() && bare.force_upgrade().is_none() && bare.etag().is_none());
    }
}

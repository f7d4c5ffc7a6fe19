//! The managed cluster itself: its JSON, and what a PUT on it may change.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use upgrade_core::model::{ArmId, KubeVersion, ManagedCluster, ProvisioningState, VersionRequest};

use super::error::ArmError;
use super::pool::AgentPool;
use super::region::PodNetwork;
use super::wanted::invalid;

/// Read-only members: accepted in a PUT, and ignored (Azure REST API, managedClusters 2026-08-01).
const READ_ONLY: [&str; 4] = ["id", "name", "type", "systemData"];
const READ_ONLY_PROPERTIES: [&str; 9] = [
    "provisioningState",
    "powerState",
    "maxAgentPools",
    "currentKubernetesVersion",
    "fqdn",
    "privateFQDN",
    "azurePortalFQDN",
    "resourceUID",
    "status",
];

/// The cluster as Azure keeps it.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub(super) id: ArmId,
    pub(super) location: String,
    pub(super) node_resource_group: String,
    fqdn: String,
    pub(super) max_pools: u32,
    /// Members beside `properties` that a caller may write.
    top: Map<String, Value>,
    /// Writable properties, without the pools.
    properties: Map<String, Value>,
    pub(super) etag: String,
    pub(super) state: ProvisioningState,
    pub(super) error: Option<ArmError>,
    /// `currentKubernetesVersion`.
    pub(super) version: KubeVersion,
}

/// What a PUT on the cluster asks for.
#[derive(Debug)]
pub(super) struct Change {
    top: Map<String, Value>,
    properties: Map<String, Value>,
    /// The version, where another one than the current is asked for.
    pub(super) version: Option<KubeVersion>,
    /// Something is otherwise than it is.
    pub(super) differs: bool,
}

impl Cluster {
    pub(super) fn new(model: &ManagedCluster, network: PodNetwork, etag: String) -> Self {
        let name = model.id.name().to_owned();
        let fqdn = model.fqdn.clone().unwrap_or_else(|| format!("{name}.hcp.{}.azmk8s.io", model.location));
        let channel = model.auto_upgrade_channel.clone().unwrap_or_else(|| "none".to_owned());
        let top = json!({
            "location": model.location,
            "tags": {},
            "sku": { "name": "Base", "tier": "Standard" },
            "identity": { "type": "SystemAssigned" },
        });
        let mut properties = json!({
            "kubernetesVersion": model.version.to_string(),
            "dnsPrefix": name,
            "nodeResourceGroup": model.node_resource_group,
            "enableRBAC": true,
            "supportPlan": "KubernetesOfficial",
            "autoUpgradeProfile": { "upgradeChannel": channel, "nodeOSUpgradeChannel": "None" },
            "networkProfile": {
                "networkPlugin": "azure", "networkPluginMode": "overlay", "podCidr": "10.244.0.0/16",
                "serviceCidr": "10.0.0.0/16", "dnsServiceIP": "10.0.0.10", "loadBalancerSku": "standard",
            },
        });
        if network == PodNetwork::NodeSubnet {
            properties["networkProfile"]["networkPluginMode"] = Value::Null;
        }
        if model.force_upgrade {
            properties["upgradeSettings"] =
                json!({ "overrideSettings": { "forceUpgrade": true, "until": "2100-01-01T00:00:00Z" } });
        }
        Self {
            id: model.id.clone(),
            location: model.location.clone(),
            node_resource_group: model.node_resource_group.clone(),
            fqdn,
            max_pools: model.max_pools,
            top: object(top),
            properties: object(properties),
            etag,
            state: model.state.clone(),
            error: model.error.as_ref().map(|e| ArmError::aks(500, &e.code, e.message.as_str())),
            version: model.version,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(self.state, ProvisioningState::Busy(_))
    }

    pub(super) fn fqdn(&self) -> &str {
        &self.fqdn
    }

    /// Do pods have addresses that the virtual network sees (Azure CNI without overlay)?
    pub(super) fn pods_in_network(&self) -> bool {
        let network = |member: &str| self.properties.get("networkProfile")?.get(member)?.as_str();
        let is =
            |member: &str, word: &str| network(member).is_some_and(|text| text.eq_ignore_ascii_case(word));
        is("networkPlugin", "azure") && !is("networkPluginMode", "overlay")
    }

    /// The automatic upgrade channel, where one is set.
    pub(super) fn channel(&self) -> Option<&str> {
        let channel = self.properties.get("autoUpgradeProfile")?.get("upgradeChannel")?.as_str()?;
        (!channel.eq_ignore_ascii_case("none")).then_some(channel)
    }

    /// The channel of node images is AKS's own default.
    pub(super) fn want_node_images(&mut self) {
        self.properties["autoUpgradeProfile"]["nodeOSUpgradeChannel"] = "NodeImage".into();
    }

    /// The automatic channel of node images, where one is set. AKS's own default is `NodeImage`.
    pub(super) fn node_os_channel(&self) -> Option<&str> {
        let channel = self.properties.get("autoUpgradeProfile")?.get("nodeOSUpgradeChannel")?.as_str()?;
        (!channel.eq_ignore_ascii_case("none")).then_some(channel)
    }

    /// Do drains ignore budgets now (`upgradeSettings.overrideSettings`)?
    pub(super) fn forces_upgrades(&self, now: Timestamp) -> bool {
        let Some(settings) = self.properties.get("upgradeSettings").and_then(|s| s.get("overrideSettings"))
        else {
            return false;
        };
        let until =
            settings.get("until").and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok());
        settings.get("forceUpgrade").and_then(Value::as_bool).unwrap_or(false)
            && until.is_some_and(|until| until > now)
    }

    /// The cluster as a GET shows it, with its pools in the flat form.
    pub(super) fn shown<'p>(&self, pools: impl Iterator<Item = (&'p str, &'p AgentPool)>) -> Value {
        let mut properties = self.properties.clone();
        let mut put = |name: &str, value: Value| properties.insert(name.to_owned(), value);
        let pools = pools.map(|(name, pool)| {
            let mut flat = pool.shown();
            flat.insert("name".to_owned(), name.into());
            Value::Object(flat)
        });
        put("agentPoolProfiles", pools.collect());
        put("provisioningState", self.state.to_string().into());
        put("powerState", json!({ "code": "Running" }));
        put("currentKubernetesVersion", self.version.to_string().into());
        put("maxAgentPools", self.max_pools.into());
        put("fqdn", self.fqdn.as_str().into());
        put("azurePortalFQDN", format!("portal-{}", self.fqdn).into());
        // Shown without its secret, which is why it must not be sent back (azure-cli: `aks upgrade`).
        put("servicePrincipalProfile", json!({ "clientId": "msi" }));
        if let Some(error) = &self.error {
            put("status", json!({ "provisioningError": error.inner() }));
        }
        let mut shown = self.top.clone();
        shown.insert("id".to_owned(), self.id.as_str().into());
        shown.insert("name".to_owned(), self.id.name().into());
        shown.insert("type".to_owned(), "Microsoft.ContainerService/ManagedClusters".into());
        shown.insert("eTag".to_owned(), self.etag.as_str().into());
        shown.insert("properties".to_owned(), Value::Object(properties));
        Value::Object(shown)
    }

    /// Reads the body of a PUT against what is there. Nothing is changed yet.
    pub(super) fn read_put(&self, body: &Value, pools: &[(&str, &AgentPool)]) -> Result<Change, ArmError> {
        let bad = |what: &str| ArmError::aks(400, "BadRequest", format!("the request body {what}"));
        let body = body.as_object().ok_or_else(|| bad("is not an object"))?;
        let asked =
            body.get("properties").and_then(Value::as_object).ok_or_else(|| bad("has no properties"))?;
        if asked.contains_key("servicePrincipalProfile") {
            return Err(invalid("servicePrincipalProfile.secret is missing"));
        }
        let location = body.get("location").and_then(Value::as_str);
        if !location.is_some_and(|location| location.eq_ignore_ascii_case(&self.location)) {
            return Err(ArmError::arm(
                400,
                "LocationRequired",
                "The location property is required and cannot be changed.",
            ));
        }
        let version = match asked.get("kubernetesVersion").and_then(Value::as_str) {
            None => self.version,
            Some(text) => self.asked_version(text)?,
        };
        self.check_profiles(asked.get("agentPoolProfiles"), pools, version)?;
        let keep =
            |name: &String| !READ_ONLY_PROPERTIES.contains(&name.as_str()) && name != "agentPoolProfiles";
        let mut properties = self.properties.clone();
        properties.extend(asked.iter().filter(|(name, _)| keep(name)).map(|(n, v)| (n.clone(), v.clone())));
        let beside =
            |name: &String| !READ_ONLY.contains(&name.as_str()) && name != "properties" && name != "eTag";
        let mut top = self.top.clone();
        top.extend(body.iter().filter(|(name, _)| beside(name)).map(|(n, v)| (n.clone(), v.clone())));
        let differs = properties != self.properties || top != self.top;
        Ok(Change { top, properties, version: (version != self.version).then_some(version), differs })
    }

    /// An alias of the minor release that runs already upgrades nothing.
    fn asked_version(&self, text: &str) -> Result<KubeVersion, ArmError> {
        let unknown = || {
            ArmError::aks(
                400,
                "K8sVersionNotSupported",
                format!("Version {text} is not supported in this region."),
            )
        };
        match text.parse::<VersionRequest>().map_err(|_| unknown())? {
            VersionRequest::Exact(version) => Ok(version),
            request @ VersionRequest::Minor { .. } if request.admits(self.version) => Ok(self.version),
            VersionRequest::Minor { .. } => {
                Err(ArmError::not_modelled("an alias as the version of a control plane upgrade"))
            }
        }
    }

    /// The pools in a cluster-level request: all or none with a version, each unchanged.
    fn check_profiles(
        &self,
        profiles: Option<&Value>,
        pools: &[(&str, &AgentPool)],
        version: KubeVersion,
    ) -> Result<(), ArmError> {
        if let Some(channel) = self.channel().filter(|_| version != self.version) {
            tracing::debug!(channel, "a control plane upgrade beside an automatic channel");
            return Err(not_unchanged());
        }
        let Some(profiles) = profiles.filter(|profiles| !profiles.is_null()) else { return Ok(()) };
        let profiles = profiles.as_array().ok_or_else(|| invalid("agentPoolProfiles is not a list"))?;
        let text =
            |profile: &Value, member: &str| profile.get(member).and_then(Value::as_str).map(str::to_owned);
        let mut named = 0;
        for profile in profiles {
            let name = text(profile, "name").unwrap_or_default();
            let Some((_, pool)) = pools.iter().find(|(pool, _)| *pool == name) else {
                return Err(ArmError::not_modelled("making a pool by a request on the cluster"));
            };
            if let Some(asked) = text(profile, "orchestratorVersion").filter(|asked| !asked.is_empty()) {
                named += 1;
                let asked: VersionRequest = asked.parse().map_err(|_| not_unchanged())?;
                let unchanged = asked.admits(pool.version) || Some(asked) == pool.wanted.version;
                if !unchanged && asked.admits(version) {
                    return Err(ArmError::not_modelled("upgrading control plane and pools in one request"));
                }
                if !unchanged {
                    return Err(not_unchanged());
                }
            }
            for (member, value) in profile.as_object().into_iter().flatten() {
                let here = pool.properties.get(member);
                let modelled = ["count", "vmSize", "mode", "osType", "maxPods", "upgradeSettings"];
                if modelled.contains(&member.as_str()) && here.is_some_and(|here| here != value) {
                    return Err(ArmError::not_modelled("changing a pool by a request on the cluster"));
                }
            }
        }
        if profiles.len() != pools.len() {
            return Err(ArmError::not_modelled("removing a pool by a request on the cluster"));
        }
        if named != 0 && named != profiles.len() {
            return Err(not_unchanged());
        }
        Ok(())
    }

    /// Takes an accepted change over.
    pub(super) fn take(&mut self, change: Change) {
        self.top = change.top;
        self.properties = change.properties;
    }
}

fn not_unchanged() -> ArmError {
    ArmError::aks(
        400,
        "NotAllAgentPoolOrchestratorVersionSpecifiedAndUnchanged",
        "Using managed cluster api, all Agent pools' OrchestratorVersion must be all specified or all unspecified. If all specified, they must be stay unchanged or the same with control plane. For agent pool specific change, please use per agent pool operations: https://aka.ms/agent-pool-rest-api",
    )
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

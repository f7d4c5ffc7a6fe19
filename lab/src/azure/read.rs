//! Reads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use upgrade_core::model::{
    AvailableUpgrade, ManagedCluster, NodeName, OsType, Pool, PoolName, ProvisioningError, UpgradeSettings,
};

use super::Azure;
use super::error::ArmError;
use super::operation::{OperationId, OperationStatus};
use super::pool::{AgentPool, node_image};
use super::wanted::SCALE_SET;

impl Azure {
    /// The cluster as a GET shows it.
    pub(crate) fn cluster(&self) -> Value {
        self.cluster.shown(self.pools.iter().map(|(name, pool)| (name.as_str(), pool)))
    }

    /// One pool as a GET shows it.
    pub(crate) fn pool(&self, name: &str) -> Result<Value, ArmError> {
        let name = PoolName::new(name).ok().filter(|name| self.pools.contains_key(name));
        name.and_then(|name| self.pool_shown(&name))
            .ok_or_else(|| ArmError::aks(404, "NotFound", "Could not find the agent pool."))
    }

    pub(super) fn pool_shown(&self, name: &PoolName) -> Option<Value> {
        let pool = self.pools.get(name)?;
        Some(json!({
            "id": format!("{}/agentPools/{name}", self.cluster.id),
            "name": name.as_str(),
            "type": "Microsoft.ContainerService/managedClusters/agentPools",
            "properties": pool.shown(),
        }))
    }

    /// The names of a pool's machines, those of an upgrade included.
    pub(super) fn machine_names(&self, pool: &str) -> Result<Vec<NodeName>, ArmError> {
        self.pool(pool)?;
        let pool = PoolName::new(pool).ok().and_then(|name| self.pools.get(&name));
        Ok(pool.into_iter().flat_map(AgentPool::all_machines).cloned().collect())
    }

    /// Every pool, by name.
    pub(crate) fn pools(&self) -> Vec<Value> {
        self.pools.keys().filter_map(|name| self.pool_shown(name)).collect()
    }

    /// `upgradeProfiles/default` of the cluster.
    pub(crate) fn upgrade_profile(&self) -> Value {
        let pools = self.pools.iter().map(|(name, pool)| {
            let mut profile = self.pool_profile(pool);
            profile["name"] = name.as_str().into();
            profile
        });
        json!({
            "id": format!("{}/upgradeprofiles/default", self.cluster.id),
            "name": "default",
            "type": "Microsoft.ContainerService/managedClusters/upgradeprofiles",
            "properties": {
                "controlPlaneProfile": {
                    "kubernetesVersion": self.cluster.version.to_string(),
                    "osType": "Linux",
                    "upgrades": upgrades(&self.catalogue.upgrades(self.cluster.version)),
                },
                "agentPoolProfiles": pools.collect::<Value>(),
            },
        })
    }

    fn pool_profile(&self, pool: &AgentPool) -> Value {
        let newer = self.catalogue.for_pools(self.cluster.version);
        let newer: Vec<_> = newer.into_iter().filter(|offer| offer.version > pool.version).collect();
        json!({
            "kubernetesVersion": pool.version.to_string(),
            "osType": if pool.wanted.os == OsType::Windows { "Windows" } else { "Linux" },
            "upgrades": upgrades(&newer),
        })
    }

    /// `upgradeProfiles/default` of one pool.
    pub(crate) fn pool_upgrade_profile(&self, name: &str, now: jiff::Timestamp) -> Result<Value, ArmError> {
        let shown = self.pool(name)?;
        let pool = PoolName::new(name).ok().and_then(|name| self.pools.get(&name));
        let pool = pool.ok_or_else(|| ArmError::aks(404, "NotFound", "Could not find the agent pool."))?;
        let mut properties = self.pool_profile(pool);
        properties["latestNodeImageVersion"] = node_image(&pool.wanted.os, pool.version).into();
        properties["recentlyUsedVersions"] = pool.recently_used(now);
        Ok(json!({
            "id": format!("{}/upgradeProfiles/default", shown["id"].as_str().unwrap_or_default()),
            "name": "default",
            "type": "Microsoft.ContainerService/managedClusters/agentPools/upgradeProfiles",
            "properties": properties,
        }))
    }

    /// `availableAgentPoolVersions`: what a new pool may have.
    pub(crate) fn available_pool_versions(&self) -> Value {
        let offers = self.catalogue.for_pools(self.cluster.version);
        let versions = offers.iter().map(|offer| {
            let mut version = json!({ "kubernetesVersion": offer.version.to_string() });
            if offer.version == self.cluster.version {
                version["default"] = true.into();
            }
            if offer.preview {
                version["isPreview"] = true.into();
            }
            version
        });
        json!({
            "id": format!("{}/availableAgentpoolVersions", self.cluster.id),
            "name": "default",
            "type": "Microsoft.ContainerService/managedClusters/availableAgentpoolVersions",
            "properties": { "agentPoolVersions": versions.collect::<Value>() },
        })
    }

    /// `kubernetesVersions` of the region, by minor release.
    pub(crate) fn region_versions(&self) -> Value {
        let all = self.catalogue.all();
        let mut releases: Vec<(u16, u16)> = all.iter().map(|offer| offer.version.release()).collect();
        releases.dedup();
        let releases = releases.into_iter().map(|(major, minor)| {
            let patches = all.iter().filter(|offer| offer.version.release() == (major, minor));
            let patches = patches.map(|offer| {
                let upgrades = self.catalogue.upgrades(offer.version);
                let upgrades: Vec<_> = upgrades.iter().map(|upgrade| upgrade.version.to_string()).collect();
                (offer.version.to_string(), json!({ "upgrades": upgrades }))
            });
            json!({
                "version": format!("{major}.{minor}"),
                "capabilities": { "supportPlan": ["KubernetesOfficial"] },
                "patchVersions": patches.collect::<serde_json::Map<_, _>>(),
            })
        });
        json!({ "values": releases.collect::<Value>() })
    }

    /// `listClusterUserCredential`: a kubeconfig with the API server's certificate authority. Its token opens nothing.
    pub(crate) fn user_credential(&self) -> Value {
        let name = self.cluster.id.name();
        let authority = STANDARD.encode(&self.authority);
        let fqdn = self.cluster.fqdn();
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {name}\n  cluster:\n    server: https://{fqdn}:443\n    \
             certificate-authority-data: {authority}\nusers:\n- name: clusterUser\n  user:\n    token: none\ncontexts:\n\
             - name: {name}\n  context:\n    cluster: {name}\n    user: clusterUser\ncurrent-context: {name}\n"
        );
        json!({ "kubeconfigs": [{ "name": "clusterUser", "value": STANDARD.encode(kubeconfig) }] })
    }

    /// The status of an operation, as the `Azure-AsyncOperation` address shows it; `None` for one that never was.
    pub(crate) fn operation(&self, id: OperationId) -> Option<Value> {
        self.operations.get(&id).map(|operation| operation.shown(id))
    }

    /// How an operation stands; `None` for one that never was.
    pub(crate) fn operation_status(&self, id: OperationId) -> Option<&OperationStatus> {
        self.operations.get(&id).map(|operation| &operation.status)
    }

    /// The cluster in the core's model.
    pub(crate) fn cluster_model(&self, now: jiff::Timestamp) -> ManagedCluster {
        let cluster = &self.cluster;
        ManagedCluster {
            id: cluster.id.clone(),
            location: cluster.location.clone(),
            version: cluster.version,
            state: cluster.state.clone(),
            error: cluster.error.as_ref().map(provisioning_error),
            upgrades: self.catalogue.upgrades(cluster.version),
            auto_upgrade_channel: cluster.channel().map(str::to_owned),
            node_resource_group: cluster.node_resource_group.clone(),
            fqdn: Some(cluster.fqdn().to_owned()),
            max_pools: cluster.max_pools,
            force_upgrade: cluster.forces_upgrades(now),
            maintenance: self.maintenance_model(),
        }
    }

    /// The pools in the core's model, by name.
    pub(crate) fn pool_models(&self) -> Vec<Pool> {
        self.pools.iter().map(|(name, pool)| pool_model(name, pool)).collect()
    }
}

fn pool_model(name: &PoolName, pool: &AgentPool) -> Pool {
    let wanted = &pool.wanted;
    let mut zones = wanted.zones.clone();
    zones.sort();
    let setting = |member: &str| {
        let settings = pool.properties.get("upgradeSettings")?;
        settings.get(member)?.as_str().map(str::to_owned)
    };
    let power = pool.properties.get("powerState").and_then(|power| power.get("code"));
    Pool {
        name: name.clone(),
        mode: wanted.mode.clone(),
        os: wanted.os.clone(),
        version: pool.version,
        count: wanted.count,
        autoscaling: wanted.autoscaling,
        vm_size: wanted.vm_size.clone(),
        zones,
        max_pods: wanted.max_pods,
        labels: wanted.labels.clone(),
        taints: wanted.taints.clone(),
        tags: wanted.tags.clone(),
        spot: wanted.spot,
        stopped: power.and_then(Value::as_str) == Some("Stopped"),
        scale_set: wanted.kind == SCALE_SET,
        upgrade: UpgradeSettings {
            max_surge: setting("maxSurge"),
            max_unavailable: setting("maxUnavailable"),
        },
        state: pool.state.clone(),
        error: pool.error.as_ref().map(provisioning_error),
    }
}

fn provisioning_error(error: &ArmError) -> ProvisioningError {
    ProvisioningError { code: error.code.clone(), message: error.message.clone() }
}

fn upgrades(offers: &[AvailableUpgrade]) -> Value {
    let shown = offers.iter().map(|offer| {
        let mut upgrade = json!({ "kubernetesVersion": offer.version.to_string() });
        if offer.preview {
            upgrade["isPreview"] = true.into();
        }
        upgrade
    });
    shown.collect()
}

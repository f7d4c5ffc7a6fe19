//! Rancher's record of an AKS cluster: what it wants, what it applied last, and what it saw in Azure.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use upgrade_core::inventory::{Ownership, SecondWriter};

/// A configuration, as far as the lab's Rancher compares and repairs it. `null` and an absent field are alike: unmanaged.
pub(super) type Config = Map<String, Value>;

/// The fields of a configuration that Rancher takes over from Azure, and repairs there.
pub(super) const FIELDS: [&str; 3] = ["kubernetesVersion", "nodePools", "tags"];

/// What the operator is at (aks-operator: `status.phase`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Active,
    Updating,
}

/// The record of one cluster.
#[derive(Clone, Debug)]
pub(super) struct AksRecord {
    /// `spec.aksConfig`: what Rancher wants.
    pub(super) config: Config,
    /// `status.appliedSpec.aksConfig`: what it applied last.
    pub(super) applied: Config,
    /// `status.aksStatus.upstreamSpec`: Azure, as it was seen last.
    pub(super) upstream: Config,
    /// When that was.
    pub(super) refreshed: Timestamp,
    pub(super) phase: Phase,
    /// Why the operator's last attempt failed.
    pub(super) failure: Option<String>,
    /// When the operator looks next, if it is to look.
    pub(super) due: Option<Timestamp>,
    /// An edit form that somebody has open, with what it showed when it was opened.
    pub(super) form: Option<Config>,
}

impl AksRecord {
    /// The record of a cluster that Azure shows like this, at a scenario's first moment; none of a generic import.
    pub(super) fn of(ownership: &Ownership, shown: &Value, now: Timestamp) -> Option<Self> {
        let upstream = upstream(shown, &Config::new());
        let mut record = Self {
            config: Config::new(),
            applied: Config::new(),
            upstream: upstream.clone(),
            refreshed: now,
            phase: Phase::Active,
            failure: None,
            due: None,
            form: None,
        };
        match ownership {
            Ownership::Generic | Ownership::Unclear { .. } => None,
            Ownership::Unmanaged => Some(record),
            Ownership::Managed(SecondWriter { out_of_sync, .. }) => {
                record.config = upstream;
                if !out_of_sync.is_empty() {
                    record.make_stale();
                }
                record.applied.extend(record.config.clone());
                if !out_of_sync.is_empty() {
                    // An edit that never got through: from then on Rancher adopts nothing (rancher/dashboard issue 17948).
                    record.applied.insert("tags".to_owned(), json!({ "before": "the edit" }));
                }
                Some(record)
            }
        }
    }

    /// The versions are those of long ago.
    fn make_stale(&mut self) {
        const LONG_AGO: &str = "1.30.9";
        self.config.insert("kubernetesVersion".to_owned(), LONG_AGO.into());
        for pool in self.config.get_mut("nodePools").and_then(Value::as_array_mut).into_iter().flatten() {
            pool["orchestratorVersion"] = LONG_AGO.into();
        }
    }

    /// What the form to edit the cluster shows: what Rancher wants, and Azure's where it wants nothing. Saved, all of it is
    /// wanted.
    pub(super) fn form(&self) -> Config {
        let mut form = self.upstream.clone();
        form.extend(
            self.config.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())),
        );
        form
    }

    /// Takes over what was seen in Azure: only where nothing is waiting to be applied, and only what is wanted at all. Says
    /// whether anything was otherwise.
    pub(super) fn adopt(&mut self) -> bool {
        if self.config != self.applied {
            return false;
        }
        let mut changed = false;
        for field in FIELDS {
            let (Some(wanted), Some(seen)) = (self.config.get_mut(field), self.upstream.get(field)) else {
                continue;
            };
            if !wanted.is_null() && wanted != seen {
                wanted.clone_from(seen);
                changed = true;
            }
        }
        changed
    }

    /// Does it decide about the version or about pools?
    pub(super) fn is_managed(&self) -> bool {
        ["kubernetesVersion", "nodePools"]
            .iter()
            .any(|field| self.config.get(*field).is_some_and(|v| !v.is_null()))
    }

    /// The cluster's state, whether it is transitioning, the status of the condition `Updated`, and the message of both.
    pub(super) fn standing(&self) -> (&'static str, &'static str, &'static str, String) {
        match (&self.failure, self.phase) {
            (Some(failure), _) => ("updating", "error", "False", failure.clone()),
            (None, Phase::Updating) => {
                ("updating", "yes", "Unknown", "Waiting for the update of the cluster".to_owned())
            }
            (None, Phase::Active) => ("active", "no", "True", String::new()),
        }
    }
}

/// Azure as Rancher describes it (aks-operator: `buildUpstreamClusterState`). The number of nodes of a pool that is at work, or
/// scales itself, is the one that is wanted.
pub(super) fn upstream(shown: &Value, config: &Config) -> Config {
    let properties = &shown["properties"];
    let pools = properties["agentPoolProfiles"].as_array().into_iter().flatten();
    let pools: Value = pools.map(|pool| upstream_pool(pool, config)).collect();
    let tags = shown.get("tags").filter(|tags| tags.is_object()).cloned().unwrap_or_else(|| json!({}));
    Config::from_iter([
        ("kubernetesVersion".to_owned(), properties["kubernetesVersion"].clone()),
        ("nodePools".to_owned(), pools),
        ("tags".to_owned(), tags),
    ])
}

fn upstream_pool(pool: &Value, config: &Config) -> Value {
    let at_work = pool["provisioningState"] != "Succeeded" || pool["enableAutoScaling"] == true;
    let wanted = pools(config).find(|wanted| wanted["name"] == pool["name"]).map(|wanted| &wanted["count"]);
    let count = wanted.filter(|_| at_work).unwrap_or(&pool["count"]);
    let labels = pool.get("nodeLabels").filter(|labels| labels.is_object()).cloned();
    json!({
        "name": pool["name"], "count": count, "maxPods": pool["maxPods"], "vmSize": pool["vmSize"],
        "osDiskSizeGB": pool["osDiskSizeGB"], "osDiskType": pool["osDiskType"], "mode": pool["mode"],
        "osType": pool["osType"], "orchestratorVersion": pool["orchestratorVersion"],
        "availabilityZones": pool["availabilityZones"], "enableAutoScaling": pool["enableAutoScaling"],
        "minCount": pool["minCount"], "maxCount": pool["maxCount"], "vnetSubnetID": pool["vnetSubnetID"],
        "nodeLabels": labels.unwrap_or_else(|| json!({})), "nodeTaints": pool["nodeTaints"],
        "maxSurge": pool["upgradeSettings"]["maxSurge"],
    })
}

/// The pools that a configuration wants.
pub(super) fn pools(config: &Config) -> impl Iterator<Item = &Value> {
    config.get("nodePools").and_then(Value::as_array).into_iter().flatten()
}

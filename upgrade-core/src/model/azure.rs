//! The Azure side: the managed cluster and its agent pools.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ArmId, KubeVersion, Labels, Maintenance, PoolName, RunId, Taint};

/// The Azure tag that names the run that made a pool.
pub const RUN_TAG: &str = "drover-run";

/// An AKS cluster as Azure sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedCluster {
    /// The resource id.
    pub id: ArmId,
    /// The Azure region.
    pub location: String,
    /// The version the control plane runs (`currentKubernetesVersion`), never an alias.
    pub version: KubeVersion,
    /// What Azure is doing with it.
    pub state: ProvisioningState,
    /// Why the last operation failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ProvisioningError>,
    /// The versions Azure offers for the control plane now.
    pub upgrades: Vec<AvailableUpgrade>,
    /// The automatic upgrade channel; `None` for `none` or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_upgrade_channel: Option<String>,
    /// The resource group of the nodes.
    pub node_resource_group: String,
    /// The API server's public name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<String>,
    /// How many pools the cluster may have.
    pub max_pools: u32,
    /// Drains ignore budgets until the time Azure states (`upgradeSettings.overrideSettings`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_upgrade: bool,
    /// When Azure upgrades it by itself.
    #[serde(default, skip_serializing_if = "Maintenance::is_nothing")]
    pub maintenance: Maintenance,
}

/// A version Azure offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AvailableUpgrade {
    /// The version.
    pub version: KubeVersion,
    /// Only a preview; never chosen by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preview: bool,
}

/// What Azure is doing with a resource. Only the first three accept a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProvisioningState {
    /// The last operation succeeded.
    Succeeded,
    /// The last operation failed.
    Failed,
    /// The last operation was canceled.
    Canceled,
    /// Anything else: busy, with Azure's word for it.
    #[serde(untagged)]
    Busy(String),
}

impl ProvisioningState {
    /// From Azure's word, in any case.
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "succeeded" => Self::Succeeded,
            "failed" => Self::Failed,
            "canceled" | "cancelled" => Self::Canceled,
            _ => Self::Busy(text.to_owned()),
        }
    }
}

impl fmt::Display for ProvisioningState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::Busy(word) => word,
        })
    }
}

/// Azure's reason for a failed operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisioningError {
    /// Azure's code.
    pub code: String,
    /// Azure's message.
    pub message: String,
}

impl fmt::Display for ProvisioningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// An agent pool as Azure sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The name.
    pub name: PoolName,
    /// System, user or something newer.
    pub mode: PoolMode,
    /// The operating system.
    pub os: OsType,
    /// The version of the pool (`currentOrchestratorVersion`); Azure may report the target while nodes are old.
    pub version: KubeVersion,
    /// Nodes wanted.
    pub count: u32,
    /// The bounds of the cluster autoscaler, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<(u32, u32)>,
    /// The machine size.
    pub vm_size: String,
    /// Zones, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// How many pods a node takes.
    pub max_pods: u32,
    /// Labels that Azure gives to its nodes.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Taints that Azure gives to its nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub tags: Labels,
    /// Spot machines, which Azure can take back at any time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spot: bool,
    /// Stopped: no machines run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// Made of a scale set; other types are refused.
    pub scale_set: bool,
    /// How Azure upgrades it.
    #[serde(default)]
    pub upgrade: UpgradeSettings,
    /// What Azure is doing with it.
    pub state: ProvisioningState,
    /// Why the last operation failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ProvisioningError>,
}

/// The part of a pool's `upgradeSettings` that Drover looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeSettings {
    /// `maxSurge`, as Azure spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<String>,
    /// `maxUnavailable`, as Azure spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<String>,
}

/// A pool's mode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PoolMode {
    /// Hosts the cluster's own add-ons; there is always at least one.
    System,
    /// Hosts workloads.
    User,
    /// A mode such as `Gateway`, which Drover leaves alone.
    #[serde(untagged)]
    Other(String),
}

/// A pool's operating system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OsType {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
    /// Something newer.
    #[serde(untagged)]
    Other(String),
}

impl Pool {
    /// Was the pool made by `run`?
    pub fn is_made_by(&self, run: &RunId) -> bool {
        self.tags.get(RUN_TAG).is_some_and(|tag| tag == run.as_str())
    }

    /// The run that made it, if its tag names one.
    pub fn made_by(&self) -> Option<&str> {
        self.tags.get(RUN_TAG).map(String::as_str)
    }

    /// Does it run Windows?
    pub fn is_windows(&self) -> bool {
        self.os == OsType::Windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_state_is_busy_and_keeps_its_word() {
        assert_eq!(ProvisioningState::parse("succeeded"), ProvisioningState::Succeeded);
        assert_eq!(ProvisioningState::parse("Cancelled"), ProvisioningState::Canceled);
        let odd = ProvisioningState::parse("UpgradingNodeImageVersion");
        assert_eq!(odd.to_string(), "UpgradingNodeImageVersion");
        assert_eq!(
            serde_json::from_str::<ProvisioningState>("\"Migrating\"").unwrap(),
            ProvisioningState::Busy("Migrating".into())
        );
    }
}

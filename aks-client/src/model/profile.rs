//! Which versions can be had: for a cluster, for a pool, for a new pool, in a region.

use serde_json::Value;

use crate::value::{bool_at, list_at, text_at, texts_at};

/// A version the service offers to upgrade to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailableUpgrade {
    /// The complete version.
    pub version: String,
    /// Whether it is a preview.
    pub preview: bool,
}

impl AvailableUpgrade {
    /// The `upgrades` of a profile; absent and `null` mean none, as the service uses them.
    pub(crate) fn list(profile: &Value) -> Vec<Self> {
        list_at(profile, &["upgrades"])
            .iter()
            .filter_map(|upgrade| {
                Some(Self {
                    version: text_at(upgrade, &["kubernetesVersion"])?.to_owned(),
                    preview: bool_at(upgrade, &["isPreview"]).unwrap_or(false),
                })
            })
            .collect()
    }
}

/// A version and node image a pool ran before, to which it may be rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeImageUse {
    /// The version.
    pub version: String,
    /// The node image.
    pub node_image: String,
    /// When it was in use, as the service wrote it.
    pub timestamp: Option<String>,
}

/// What one pool can be upgraded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUpgradeProfile {
    /// The version the pool has.
    pub version: Option<String>,
    /// Versions offered.
    pub upgrades: Vec<AvailableUpgrade>,
    /// The newest node image for the pool's version.
    pub latest_node_image: Option<String>,
    /// What it ran before.
    pub recently_used: Vec<NodeImageUse>,
}

impl PoolUpgradeProfile {
    pub(crate) fn read(properties: &Value) -> Self {
        let text = |name| text_at(properties, &[name]).map(str::to_owned);
        let recently_used = list_at(properties, &["recentlyUsedVersions"])
            .iter()
            .filter_map(|used| {
                Some(NodeImageUse {
                    version: text_at(used, &["orchestratorVersion"])?.to_owned(),
                    node_image: text_at(used, &["nodeImageVersion"])?.to_owned(),
                    timestamp: text_at(used, &["timestamp"]).map(str::to_owned),
                })
            })
            .collect();
        Self {
            version: text("kubernetesVersion"),
            upgrades: AvailableUpgrade::list(properties),
            latest_node_image: text("latestNodeImageVersion"),
            recently_used,
        }
    }
}

/// A version a new pool of the cluster may be created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolVersion {
    /// The complete version.
    pub version: String,
    /// Whether the service would choose it.
    pub default: bool,
    /// Whether it is a preview.
    pub preview: bool,
}

impl PoolVersion {
    pub(crate) fn list(properties: &Value) -> Vec<Self> {
        list_at(properties, &["agentPoolVersions"])
            .iter()
            .filter_map(|version| {
                Some(Self {
                    version: text_at(version, &["kubernetesVersion"])?.to_owned(),
                    default: bool_at(version, &["default"]).unwrap_or(false),
                    preview: bool_at(version, &["isPreview"]).unwrap_or(false),
                })
            })
            .collect()
    }
}

/// A minor version that a region has. What one cluster may go to is a narrower list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionVersion {
    /// The minor version, `1.35`.
    pub version: String,
    /// Whether it is the region's default.
    pub default: bool,
    /// Whether it is a preview.
    pub preview: bool,
    /// Support plans it comes with: `KubernetesOfficial`, `AKSLongTermSupport`.
    pub support_plans: Vec<String>,
    /// Its patches, by name.
    pub patches: Vec<PatchVersion>,
}

/// A complete version in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchVersion {
    /// The complete version.
    pub version: String,
    /// Versions it can be upgraded to.
    pub upgrades: Vec<String>,
}

impl RegionVersion {
    /// The answer's list is called `values`, unlike every other list of ARM.
    pub(crate) fn list(answer: &Value) -> Vec<Self> {
        list_at(answer, &["values"]).iter().filter_map(Self::read).collect()
    }

    fn read(value: &Value) -> Option<Self> {
        let patches = value.get("patchVersions").and_then(Value::as_object).into_iter().flatten();
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        Some(Self {
            version: text_at(value, &["version"])?.to_owned(),
            default: bool_at(value, &["isDefault"]).unwrap_or(false),
            preview: bool_at(value, &["isPreview"]).unwrap_or(false),
            support_plans: owned(texts_at(value, &["capabilities", "supportPlan"])),
            patches: patches
                .map(|(version, patch)| PatchVersion {
                    version: version.clone(),
                    upgrades: owned(texts_at(patch, &["upgrades"])),
                })
                .collect(),
        })
    }
}

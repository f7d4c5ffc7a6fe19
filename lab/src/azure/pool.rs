//! What a pool's machines are like.

use upgrade_core::model::{KubeVersion, Labels, OsType, PoolMode, PoolName, Resources, Taint};

/// What Kubernetes must know to make a machine of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// The pool's name.
    pub name: PoolName,
    /// The machine size.
    pub vm_size: String,
    /// What pods may use.
    pub allocatable: Resources,
    /// How many pods a machine takes.
    pub max_pods: u32,
    /// Zones (`1`, `2`, `3`), taken in turn; empty for a pool without.
    pub zones: Vec<String>,
    /// Labels that Azure gives to its nodes, beside AKS' own.
    pub labels: Labels,
    /// Taints that Azure gives to its nodes.
    pub taints: Vec<Taint>,
    /// The operating system.
    pub os: OsType,
    /// The pool's mode.
    pub mode: PoolMode,
    /// The version of new machines.
    pub version: KubeVersion,
    /// The node image of new machines (label `kubernetes.azure.com/node-image-version`).
    pub node_image: String,
}

impl PoolSpec {
    /// Do its machines run Windows?
    pub fn is_windows(&self) -> bool {
        self.os == OsType::Windows
    }
}

/// The node image that goes with a version.
pub(crate) fn node_image(os: &OsType, version: KubeVersion) -> String {
    match os {
        OsType::Windows => format!("AKSWindows-2022-gen2-{version}"),
        OsType::Linux | OsType::Other(_) => format!("AKSUbuntu-2204gen2containerd-{version}"),
    }
}

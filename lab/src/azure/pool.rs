//! What a machine of a pool is made of, and the pool itself as Azure keeps it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use upgrade_core::model::{
    KubeVersion, Labels, NodeName, OsType, PoolMode, PoolName, ProvisioningState, Resources, Taint,
};

use super::error::ArmError;
use super::region::{family_of, vcpus_of};
use super::wanted::Wanted;

/// Everything the World needs to know to make a machine of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// The pool's name.
    pub name: PoolName,
    /// System or user.
    pub mode: PoolMode,
    /// The operating system.
    pub os: OsType,
    /// The machine size, such as `Standard_D4s_v5`.
    pub vm_size: String,
    /// What pods may use of a machine of that size.
    pub allocatable: Resources,
    /// How many pods a node takes.
    pub max_pods: u32,
    /// Availability zones by number (`1`, `2`, `3`); machines are spread over them. Empty for a pool without zones.
    pub zones: Vec<String>,
    /// Labels of the pool's own; the World adds those that AKS gives to every node.
    pub labels: Labels,
    /// Taints of the pool's own.
    pub taints: Vec<Taint>,
    /// The Kubernetes version of new machines.
    pub version: KubeVersion,
    /// The node image of new machines (label `kubernetes.azure.com/node-image-version`).
    pub node_image: String,
}

impl PoolSpec {
    /// Do its machines run Windows?
    pub fn is_windows(&self) -> bool {
        self.os == OsType::Windows
    }

    /// The vCPUs of a machine.
    pub(crate) fn vcpus(&self) -> u64 {
        vcpus_of(self.allocatable)
    }

    /// The quota family of its size.
    pub(crate) fn family(&self) -> String {
        family_of(&self.vm_size)
    }
}

/// An agent pool as Azure keeps it.
#[derive(Clone, Debug)]
pub(crate) struct AgentPool {
    /// The members a caller may write, as they came; unknown ones are kept.
    pub(super) properties: Map<String, Value>,
    /// The same, read.
    pub(super) wanted: Wanted,
    pub(super) etag: String,
    pub(super) state: ProvisioningState,
    pub(super) error: Option<ArmError>,
    /// `currentOrchestratorVersion`. Set when an upgrade is accepted, as AKS does it: after a failed upgrade it is ahead
    /// of the nodes (AKS issue 3558).
    pub(super) version: KubeVersion,
    /// The version before, and when it left it.
    pub(super) left: Option<Left>,
    /// The pool's machines, in the order in which they were made.
    pub(super) machines: Vec<NodeName>,
    /// Machines added for an upgrade, to be removed at its end; a failed upgrade leaves them (AKS issue 4674).
    pub(super) surge: Vec<NodeName>,
}

/// A version that a pool has left.
#[derive(Clone, Debug)]
pub(super) struct Left {
    version: KubeVersion,
    image: String,
    at: Timestamp,
}

/// How long AKS lets a pool go back to the version before.
const ROLLBACK: SignedDuration = SignedDuration::from_hours(7 * 24);

impl AgentPool {
    /// A pool without machines.
    pub(super) fn new(wanted: Wanted, properties: Map<String, Value>, version: KubeVersion) -> Self {
        Self {
            properties,
            wanted,
            etag: String::new(),
            state: ProvisioningState::Succeeded,
            error: None,
            version,
            left: None,
            machines: Vec::new(),
            surge: Vec::new(),
        }
    }

    /// Remembers the version that it is about to leave.
    pub(super) fn leaves_version(&mut self, now: Timestamp) {
        let image = node_image(&self.wanted.os, self.version);
        self.left = Some(Left { version: self.version, image, at: now });
    }

    /// The version to which a PUT asks the pool to go back: the one before, named with its image, within a week.
    pub(super) fn rollback(&self, asked: &Map<String, Value>, now: Timestamp) -> Option<KubeVersion> {
        let text = |name: &str| asked.get(name).and_then(Value::as_str);
        let left = self.recently_left(now)?;
        let image = text("nodeImageVersion") == Some(left.image.as_str());
        let version = text("orchestratorVersion") == Some(left.version.to_string().as_str());
        (image && version && left.version < self.version).then_some(left.version)
    }

    fn recently_left(&self, now: Timestamp) -> Option<&Left> {
        self.left.as_ref().filter(|left| now.duration_since(left.at) <= ROLLBACK)
    }

    /// `recentlyUsedVersions` of its upgrade profile.
    pub(super) fn recently_used(&self, now: Timestamp) -> Value {
        let shown = self.recently_left(now).map(|left| {
            json!({ "orchestratorVersion": left.version.to_string(), "nodeImageVersion": left.image,
                "timestamp": left.at.to_string() })
        });
        shown.into_iter().collect()
    }

    /// The properties as a GET shows them.
    pub(super) fn shown(&self) -> Map<String, Value> {
        let mut shown = self.properties.clone();
        let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        put("eTag", self.etag.as_str().into());
        put("provisioningState", self.state.to_string().into());
        put("currentOrchestratorVersion", self.version.to_string().into());
        put("nodeImageVersion", node_image(&self.wanted.os, self.version).into());
        if let Some(error) = &self.error {
            put("status", json!({ "provisioningError": error.inner() }));
        }
        shown
    }

    /// Its machines, those of an upgrade included.
    pub(super) fn all_machines(&self) -> impl Iterator<Item = &NodeName> {
        self.machines.iter().chain(&self.surge)
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(self.state, ProvisioningState::Busy(_))
    }
}

/// The node image that goes with a version. AKS publishes images weekly; the lab has one for each version.
pub(crate) fn node_image(os: &OsType, version: KubeVersion) -> String {
    // Ubuntu 24.04 comes with 1.35 (AKS: node images).
    let (major, minor) = version.release();
    match os {
        OsType::Windows => format!("AKSWindows-2022-gen2-{version}"),
        OsType::Linux | OsType::Other(_) if (major, minor) >= (1, 35) => {
            format!("AKSUbuntu-2404gen2containerd-{version}")
        }
        OsType::Linux | OsType::Other(_) => format!("AKSUbuntu-2204gen2containerd-{version}"),
    }
}

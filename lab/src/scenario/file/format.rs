//! What may stand in a scenario file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use upgrade_core::Policy;
use upgrade_core::model::{
    KubeVersion, Labels, ObjectName, OsType, PoolMode, PoolName, Taint, VersionRequest,
};
use upgrade_core::policy::{Acceptance, Freeze, RancherManaged, UpgradeStrategy};

use super::workload::Workload;
use crate::actors::Actor;
use crate::azure::AzureLimits;
use crate::faults::{Fault, span};
use crate::timing::TimingChanges;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The story, for people.
    pub(super) story: String,
    /// The version of the cluster and of pools that say no other.
    #[serde(deserialize_with = "parsed")]
    pub(super) version: KubeVersion,
    /// The versions that Azure offers.
    pub(super) offers: Vec<KubeVersion>,
    /// The version to reach.
    #[serde(deserialize_with = "parsed")]
    pub(super) to: VersionRequest,
    /// The keys of `[policy]` in `drover.toml`.
    #[serde(default)]
    pub(super) policy: PolicyKeys,
    /// What Rancher has to do with it.
    #[serde(default)]
    pub(super) rancher: Rancher,
    /// The pools.
    pub(super) pools: Vec<FilePool>,
    /// What the subscription and the region leave room for.
    #[serde(default)]
    pub(super) azure: AzureLimits,
    /// How long things take, where it is not what the lab's own table says: the same keys.
    #[serde(default)]
    pub(super) timing: TimingChanges,
    /// The sizes of images where they matter, as Kubernetes writes quantities: `6Gi`.
    #[serde(default)]
    pub(super) images: BTreeMap<String, String>,
    /// AKS' own add-ons and Rancher's agent.
    #[serde(default = "yes")]
    pub(super) add_ons: bool,
    /// Workloads in a few words.
    #[serde(default)]
    pub(super) workloads: Vec<Workload>,
    /// Everything else, as one would apply it.
    #[serde(default)]
    pub(super) manifests: Vec<Value>,
    /// Deprecated APIs that somebody requests.
    #[serde(default)]
    pub(super) deprecated_apis: Vec<Deprecated>,
    /// Who works on the cluster beside Drover.
    #[serde(default)]
    pub(super) actors: Vec<Actor>,
    /// What goes wrong.
    #[serde(default)]
    pub(super) faults: Vec<Fault>,
}

fn yes() -> bool {
    true
}

/// A deprecated API in use.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deprecated {
    #[serde(default)]
    pub(super) group: String,
    pub(super) version: String,
    pub(super) resource: String,
    /// The release that does not serve it any more: `1.35`.
    pub(super) removed_release: String,
}

/// Rancher's part.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rancher {
    pub(super) ownership: Owned,
    /// How often it reads Azure.
    #[serde(with = "span")]
    pub(super) refresh: Duration,
}

impl Default for Rancher {
    fn default() -> Self {
        Self { ownership: Owned::Generic, refresh: Duration::from_secs(300) }
    }
}

/// What Rancher holds of the cluster.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Owned {
    Generic,
    Unmanaged,
    Managed,
    ManagedStale,
}

/// A pool.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilePool {
    pub(super) name: PoolName,
    pub(super) count: u32,
    pub(super) size: String,
    #[serde(default)]
    pub(super) mode: Mode,
    #[serde(default)]
    pub(super) os: Os,
    /// Where it is not the cluster's.
    #[serde(default)]
    pub(super) version: Option<KubeVersion>,
    #[serde(default)]
    pub(super) zones: Vec<u8>,
    /// The bounds of the cluster autoscaler.
    #[serde(default)]
    pub(super) autoscaling: Option<Bounds>,
    #[serde(default)]
    pub(super) labels: Labels,
    #[serde(default)]
    pub(super) taints: Vec<Taint>,
    #[serde(default)]
    pub(super) spot: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bounds {
    pub(super) min: u32,
    pub(super) max: u32,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    System,
    #[default]
    User,
}

impl From<Mode> for PoolMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::System => Self::System,
            Mode::User => Self::User,
        }
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Os {
    #[default]
    Linux,
    Windows,
}

impl From<Os> for OsType {
    fn from(os: Os) -> Self {
        match os {
            Os::Linux => Self::Linux,
            Os::Windows => Self::Windows,
        }
    }
}

/// The keys of a policy that are not as by default.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PolicyKeys {
    strategy: Option<UpgradeStrategy>,
    max_concurrent_moves: Option<u32>,
    move_timeout: Option<Span>,
    job_wait: Option<Span>,
    allow_gap: Option<BTreeSet<ObjectName>>,
    accept: Option<Vec<Acceptance>>,
    freeze: Option<Vec<Freeze>>,
    rancher_managed: Option<RancherManaged>,
    prewarm: Option<bool>,
    soak: Option<Span>,
    soak_limit: Option<Span>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Span(#[serde(with = "span")] Duration);

impl PolicyKeys {
    pub(super) fn over(self, defaults: Policy) -> Policy {
        let span = |given: Option<Span>, default| given.map_or(default, |span| span.0);
        Policy {
            strategy: self.strategy.unwrap_or(defaults.strategy),
            max_concurrent_moves: self.max_concurrent_moves.unwrap_or(defaults.max_concurrent_moves),
            move_timeout: span(self.move_timeout, defaults.move_timeout),
            job_wait: span(self.job_wait, defaults.job_wait),
            allow_gap: self.allow_gap.unwrap_or(defaults.allow_gap),
            accept: self.accept.unwrap_or(defaults.accept),
            freeze: self.freeze.unwrap_or(defaults.freeze),
            rancher_managed: self.rancher_managed.unwrap_or(defaults.rancher_managed),
            prewarm: self.prewarm.unwrap_or(defaults.prewarm),
            soak: span(self.soak, defaults.soak),
            soak_limit: self.soak_limit.map(|span| span.0).or(defaults.soak_limit),
            // A scenario has nobody to ask.
            probes: defaults.probes,
        }
    }
}

/// A text that is read by its type.
fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

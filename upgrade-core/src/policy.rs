//! What the user wants.

mod hours;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{ObjectName, ProbeName};
use crate::span;

pub use hours::{Hours, HoursError, ZoneName};

/// What the user wants of an upgrade. Part of the plan: two plans with different policies are different plans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How capacity is provided while nodes are upgraded.
    pub strategy: UpgradeStrategy,
    /// How many workloads may be moving at the same time; at least 1.
    pub max_concurrent_moves: u32,
    /// How long one workload may take to move before the run holds and names what blocks it.
    #[serde(with = "span")]
    pub move_timeout: Duration,
    /// How long a Job may take to end by itself before it is evicted.
    #[serde(with = "span")]
    pub job_wait: Duration,
    /// Workloads (`namespace/name`) that may be without a ready pod for a moment.
    pub allow_gap: BTreeSet<ObjectName>,
    /// Findings that somebody has accepted.
    pub accept: Vec<Acceptance>,
    /// When no stage is begun without somebody's word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<Freeze>,
    /// The user's own signs that all is well: each must be green before a stage begins. How they are asked is no part of the
    /// plan.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub probes: BTreeSet<ProbeName>,
    /// What to do with a cluster whose pools Rancher manages.
    pub rancher_managed: RancherManaged,
    /// Pull images onto new nodes before workloads move there.
    pub prewarm: bool,
    /// For how long all must be well after each move, without a break, before nodes are touched.
    #[serde(with = "span")]
    pub soak: Duration,
    /// How long to wait for that before somebody is asked; three times [`soak`](Self::soak) unless said.
    #[serde(default, with = "span::maybe", skip_serializing_if = "Option::is_none")]
    pub soak_limit: Option<Duration>,
}

/// How capacity is provided while nodes are upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeStrategy {
    /// A temporary pool takes the workloads, the original is upgraded, the workloads return.
    Buffer,
    /// A new pool takes the workloads for good.
    BlueGreen,
    /// Azure replaces node after node.
    InPlace,
}

/// What to do with a cluster whose pools Rancher manages (it may revert or delete what others do).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RancherManaged {
    /// Do not touch it.
    Refuse,
    /// One change at a time, each adopted by Rancher before the next.
    LockStep,
}

/// A finding that somebody has accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The finding's code.
    pub code: String,
    /// The object it is about, as the finding writes it.
    pub object: String,
    /// Why it is accepted.
    pub reason: String,
    /// The last day on which it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::civil::Date>,
}

/// A time in which no stage is begun without somebody's word. What is under way goes on: half a stage is no state to rest in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// When.
    #[serde(flatten)]
    pub when: FreezeTime,
    /// Why.
    pub reason: String,
}

/// When a freeze is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FreezeTime {
    /// Once.
    Once {
        /// When it begins.
        from: jiff::Timestamp,
        /// When it is over.
        to: jiff::Timestamp,
    },
    /// Again and again.
    Every {
        /// Between which hours, of which days.
        every: Hours,
        /// By whose clock.
        zone: ZoneName,
    },
}

impl Freeze {
    /// When it is over, if it is in force.
    pub fn ends(&self, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
        match &self.when {
            FreezeTime::Once { from, to } => (*from..*to).contains(&now).then_some(*to),
            FreezeTime::Every { every, zone } => every.end(now, &zone.zone()),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            strategy: UpgradeStrategy::Buffer,
            // Ten restarts at once keep a control plane of the smallest tier responsive; each may surge by a quarter.
            max_concurrent_moves: 10,
            move_timeout: Duration::from_secs(30 * 60),
            job_wait: Duration::from_secs(30 * 60),
            allow_gap: BTreeSet::new(),
            accept: Vec::new(),
            freeze: Vec::new(),
            probes: BTreeSet::new(),
            rancher_managed: RancherManaged::Refuse,
            prewarm: true,
            soak: Duration::ZERO,
            soak_limit: None,
        }
    }
}

impl Policy {
    /// How long to wait for a soak before somebody is asked.
    pub fn soak_limit(&self) -> Duration {
        self.soak_limit.unwrap_or(self.soak * 3)
    }
}

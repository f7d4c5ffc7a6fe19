//! The plan: what will be done, as data.
//!
//! Stages are strictly ordered, lanes within a stage may run side by side, steps within a lane are ordered again. There is no
//! graph: the order is the safety argument, and a reviewer must be able to read it from top to bottom. The same inventory,
//! policy and target always give the same bytes.

mod basis;
mod before;
mod estimate;
mod loan;
mod order;
mod places;
mod planner;
pub(crate) mod quota;
mod reverse;
mod route;
mod stages;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use basis::{Basis, Drift, Fact};
pub(crate) use estimate::{duration_of, expected_duration};
pub(crate) use loan::lent_by;
pub(crate) use order::is_entry;
pub(crate) use places::{Keeping, keeps_apart, nodes_needed};
pub use planner::{PlanError, plan};
pub(crate) use reverse::reverse;
pub(crate) use route::counted;
pub use route::{Route, RouteChoice};
pub(crate) use stages::{movers, owners_on};

use crate::finding::Finding;
use crate::inventory::ClusterIdentity;
use crate::model::{FormatVersion, KubeVersion, Labels, ObjectName, PoolName, StepId, Taint, WorkloadRef};
use crate::policy::Policy;
use crate::ports::BufferSpec;

/// An upgrade, decided. Immutable; executing it leaves nothing to choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The file format.
    pub format: FormatVersion,
    /// The cluster it is for. Applying it to another is impossible.
    pub cluster: ClusterIdentity,
    /// The control plane's version when the plan was made.
    pub from: KubeVersion,
    /// The version to reach.
    pub target: KubeVersion,
    /// What the user wanted.
    pub policy: Policy,
    /// What the checks said; none of it blocks.
    pub findings: Vec<Finding>,
    /// Services whose gaps are accepted, because a workload behind them is in `allow_gap`.
    pub accepted_gaps: Vec<ObjectName>,
    /// What will be done. Empty if there is nothing to do.
    pub stages: Vec<Stage>,
    /// How many disks of Azure a node of each pool can have, buffers among them, as far as the CSI driver says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disks_per_node: BTreeMap<PoolName, u32>,
    /// The facts the plan rests on; a cluster that differs makes it stale.
    pub basis: Basis,
}

/// A part of the plan that is finished before the next begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Counted from 1.
    pub number: u32,
    /// What it does, for people.
    pub title: String,
    /// Steps that may run side by side.
    pub lanes: Vec<Lane>,
}

/// Steps that follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step: an *ensure*. Executing it twice is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// What it ensures.
    pub action: Action,
    /// What becomes of it when the run ends.
    pub reversal: Reversal,
}

/// What a step ensures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Action {
    /// The control plane runs this version; no pool changed its own.
    UpgradeControlPlane {
        /// The version.
        to: KubeVersion,
    },
    /// The buffer exists and all its nodes take pods.
    CreateBuffer {
        /// The pool to create.
        buffer: BufferSpec,
    },
    /// The nodes of a pool have the images on their disks that run on another pool's nodes, as far as they can.
    Prewarm {
        /// The pool whose nodes pull.
        on: PoolName,
        /// The pool whose pods will land there.
        for_pods_of: PoolName,
    },
    /// Every node of the pool is cordoned.
    Cordon {
        /// The pool.
        pool: PoolName,
    },
    /// Every node of the pool that this run cordoned takes pods again. Only the way back has it.
    Uncordon {
        /// The pool.
        pool: PoolName,
    },
    /// No pod of the workload is on a node of the pool, and the workload is at strength elsewhere.
    Move {
        /// The workload.
        workload: WorkloadRef,
        /// The pool whose nodes are doomed.
        off: PoolName,
        /// The way.
        route: Route,
        /// Why this way.
        reason: String,
    },
    /// All was well for the time that the policy asks for after a move, without a break.
    Soak {
        /// For how many seconds.
        seconds: u64,
    },
    /// Nothing is left on the pool's nodes but what goes with them.
    Drain {
        /// The pool.
        pool: PoolName,
    },
    /// Every node of the pool runs this version, is ready and takes pods.
    UpgradePool {
        /// The pool.
        pool: PoolName,
        /// The version.
        to: KubeVersion,
    },
    /// The buffer is gone from Azure and from Kubernetes.
    DeleteBuffer {
        /// The buffer.
        pool: PoolName,
    },
    /// Rancher, the second writer, wants what Azure has: it takes nothing back.
    AwaitRancher {
        /// It has read Azure once more since, so that nothing older is left to be acted on.
        once_more: bool,
    },
    /// Azure, the kubelets and Kubernetes agree that everything is as it should be at the end.
    Verify {
        /// The version of the control plane and of each of these pools.
        version: KubeVersion,
        /// The pools that were upgraded, and what their nodes had before.
        pools: Vec<PoolBefore>,
    },
}

/// What the nodes of a pool had before their upgrade and are to have after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolBefore {
    /// The pool.
    pub pool: PoolName,
    /// The labels that Azure gives to its nodes, as far as each node had them.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Their taints; `None` where they differed from node to node. Those that come and go with a node's health do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taints: Option<Vec<Taint>>,
}

/// What becomes of a step's effect when the run ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Reversal {
    /// It is borrowed, and another step of the plan gives it back.
    Loan {
        /// How.
        returned_by: String,
    },
    /// It stays; going back is impossible or makes no sense.
    Forward {
        /// Why.
        why: String,
    },
}

impl Plan {
    /// Every step, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flat_map(Stage::steps)
    }

    /// The stage of this number.
    pub fn stage(&self, number: u32) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.number == number)
    }

    /// There is nothing to do: the cluster is at its target.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Does each change in Azure wait until Rancher, the second writer, has adopted it?
    pub fn is_in_lock_step(&self) -> bool {
        self.steps().any(|step| matches!(step.action, Action::AwaitRancher { .. }))
    }

    /// A fingerprint of the whole plan, for approvals and for people to compare: 16 hexadecimal digits of its SHA-256.
    pub fn hash(&self) -> String {
        let bytes = serde_json::to_vec(self).expect("a plan is plain data");
        let digest = Sha256::digest(bytes);
        let (first, _) = digest.split_first_chunk::<8>().expect("a SHA-256 has 32 bytes");
        format!("{:016x}", u64::from_be_bytes(*first))
    }
}

impl Stage {
    /// Its steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.lanes.iter().flat_map(|lane| &lane.steps)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpgradeControlPlane { to } => write!(f, "upgrade the control plane to {to}"),
            Self::CreateBuffer { buffer } => {
                write!(
                    f,
                    "create buffer {} with {} nodes like {}, at {}",
                    buffer.name, buffer.count, buffer.like, buffer.version
                )
            }
            Self::Prewarm { on, for_pods_of } => {
                write!(f, "pull the images of the pods on {for_pods_of} onto every node of {on}")
            }
            Self::Cordon { pool } => write!(f, "cordon every node of {pool}"),
            Self::Uncordon { pool } => write!(f, "uncordon the nodes of {pool} that this run cordoned"),
            Self::Move { workload, off, route, .. } => write!(f, "move {workload} off {off} by {route}"),
            Self::Soak { seconds } => {
                write!(f, "see all well for {}", crate::span::show(std::time::Duration::from_secs(*seconds)))
            }
            Self::Drain { pool } => write!(f, "drain what is left on {pool}"),
            Self::UpgradePool { pool, to } => write!(f, "upgrade the nodes of {pool} to {to}"),
            Self::DeleteBuffer { pool } => write!(f, "delete buffer {pool}"),
            Self::AwaitRancher { once_more: false } => {
                f.write_str("wait until Rancher has adopted the change")
            }
            Self::Verify { version, .. } => {
                write!(f, "see that Azure, the kubelets and Kubernetes agree on {version}")
            }
            Self::AwaitRancher { once_more: true } => {
                f.write_str("wait until Rancher has adopted the change and read Azure once more")
            }
        }
    }
}

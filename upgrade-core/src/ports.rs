//! What the core needs from the world, as traits.
//!
//! The facade implements them over HTTP, the lab over its World. One conformance suite holds both to the same behaviour.

mod error;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::access::{AccessAnswer, Right};
use crate::event::Event;
use crate::inventory::{ClusterIdentity, DeprecatedApi, RancherFacts, Unseen};
use crate::journal::Record;
use crate::lock::{Lease, LeaseRecord};
use crate::model::{
    HolderId, KubeVersion, ManagedCluster, NodeName, ObjectName, Pool, PoolName, ProbeName, RestartId, RunId,
    Settings, Surroundings, Uid, WorkloadRef,
};
use crate::prewarm::PrewarmPod;
use crate::run::failure::OnFailure;
use crate::view::{Change, Object, ResourceKind};

pub use error::{CallOutcome, PortError, PortErrorKind, RemoteService};

/// Everything that was read of Kubernetes at one time.
#[derive(Clone, Debug)]
pub struct KubeSnapshot {
    /// The API server's version.
    pub version: KubeVersion,
    /// The uid of the namespace `kube-system`.
    pub kube_system: Uid,
    /// One [`Change::Listed`] per kind that could be read.
    pub lists: Vec<Change>,
    /// The APIs in use that a later release does not serve, as far as this API server has counted.
    pub deprecated_apis: Vec<DeprecatedApi>,
    /// What else decides about pods, as far as it could be read.
    pub surroundings: Surroundings,
    /// The kinds that could not be read, and [`METRICS`] if the API server's metrics could not.
    pub unseen: Vec<Unseen>,
}

/// What [`KubeSnapshot::unseen`] calls the API server's metrics.
pub const METRICS: &str = "/metrics";

/// Is a write meant, or only tried?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// It is carried out.
    Commit,
    /// The API server says what it would do (`dryRun=All`): authorization, admission and validation as for the write itself,
    /// and nothing is changed.
    DryRun,
}

/// The cluster's API server.
///
/// Reads are repeated by the implementation within reason; writes never: a failed write comes back at once, and the caller
/// observes before it decides.
#[async_trait]
pub trait Kubernetes: Send + Sync {
    /// Reads everything once. A kind that may not be read is named in `unseen`, any other failure is an error. The metrics are
    /// named there whatever the failure is: they are large, and the first to be closed off.
    async fn snapshot(&self) -> Result<KubeSnapshot, PortError>;

    /// Follows everything: first a [`Change::Listed`] per kind, then each change in order. Never ends by itself. An error
    /// in the stream means "contact lost, going on to try"; after it, kinds may be listed anew.
    fn watch(&self) -> BoxStream<'static, Result<Change, PortError>>;

    /// Reads one object by `namespace/name`, or a node by its bare name, as it is now: a consistent read, which sees every write
    /// that was carried out before it. `None` if there is none. What became of a write whose answer was lost shows here.
    async fn read(&self, kind: ResourceKind, name: &str) -> Result<Option<Object>, PortError>;

    /// Sets or clears `spec.unschedulable` of the node with this uid. Another uid under the name is a
    /// [`PortErrorKind::Conflict`]; already so is a success.
    async fn set_unschedulable(
        &self,
        node: &NodeName,
        uid: &Uid,
        unschedulable: bool,
        mode: WriteMode,
    ) -> Result<(), PortError>;

    /// Has the node with this uid taken out of external load balancers, or lets it back in, by the label
    /// `node.kubernetes.io/exclude-from-external-load-balancers`, whose value is the run. Another uid under the name is a
    /// [`PortErrorKind::Conflict`]; already so is a success, and a label that somebody else has set stays as it is.
    async fn set_excluded(
        &self,
        node: &NodeName,
        uid: &Uid,
        excluded: bool,
        run: &RunId,
        mode: WriteMode,
    ) -> Result<(), PortError>;

    /// Restarts a Deployment or StatefulSet by writing the restart id (and `at`) into its pod template. The same id again
    /// changes nothing.
    async fn restart(
        &self,
        workload: &WorkloadRef,
        uid: &Uid,
        id: &RestartId,
        at: Timestamp,
        mode: WriteMode,
    ) -> Result<(), PortError>;

    /// Changes settings of a Deployment or a ReplicaSet from what they were. Those that are so already stay; if one of them is
    /// neither what it was nor what it shall be, or the name has another uid, it is a [`PortErrorKind::Conflict`] and nothing is
    /// changed.
    async fn change_settings(
        &self,
        workload: &WorkloadRef,
        uid: &Uid,
        from: &Settings,
        to: &Settings,
        mode: WriteMode,
    ) -> Result<(), PortError>;

    /// Asks the Eviction API to remove the pod with this uid, with the pod's own grace period. Sent once.
    async fn evict(&self, pod: &ObjectName, uid: &Uid, mode: WriteMode) -> Result<EvictionAnswer, PortError>;

    /// Creates a pod that has its node pull images, marked as the run's. One of the name that is there already is a
    /// [`PortErrorKind::Conflict`]. Sent once.
    async fn create_prewarm_pod(
        &self,
        pod: &PrewarmPod,
        run: &RunId,
        mode: WriteMode,
    ) -> Result<(), PortError>;

    /// Asks the API server what it would say to a pod of the workload's template: authorization, admission with quotas and
    /// webhooks, and validation, for the token's user. Nothing is created. Another uid under the name is a
    /// [`PortErrorKind::Conflict`]; an owner that is not read is a success.
    async fn try_pod(&self, workload: &WorkloadRef, uid: &Uid) -> Result<(), PortError>;

    /// Deletes the pod with this uid, which a run has made to have images pulled. One that is gone, or another under its name,
    /// is a success. Sent once.
    async fn delete_prewarm_pod(&self, pod: &ObjectName, uid: &Uid, mode: WriteMode)
    -> Result<(), PortError>;

    /// Asks whether the token's user has these rights; the answers in the order of the rights. What could not be asked is an
    /// answer, too.
    async fn access(&self, rights: &[Right]) -> Vec<AccessAnswer>;

    /// Reads a Lease; `None` if there is none.
    async fn lease(&self, name: &ObjectName) -> Result<Option<Lease>, PortError>;

    /// Creates a Lease, once. One that is there already is a [`PortErrorKind::Conflict`].
    async fn create_lease(&self, name: &ObjectName, record: &LeaseRecord) -> Result<Lease, PortError>;

    /// Writes a Lease, once, on condition that it is still the one that was read, by uid and version; else it is a
    /// [`PortErrorKind::Conflict`].
    async fn update_lease(
        &self,
        name: &ObjectName,
        over: &Lease,
        record: &LeaseRecord,
    ) -> Result<Lease, PortError>;
}

/// The Eviction API's five answers (Kubernetes: API-initiated eviction). Everything else is a [`PortError`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum EvictionAnswer {
    /// Accepted: the pod is ending.
    Accepted,
    /// The pod with this uid is not there any more.
    Gone,
    /// A budget does not allow it now.
    Refused {
        /// The server's words, which name the budget.
        message: String,
        /// How many seconds the server asked to wait; 0 if it did not.
        retry_after_seconds: u64,
    },
    /// The budgets are set up so that it can never be allowed (two budgets on one pod).
    Misconfigured {
        /// The server's words.
        message: String,
    },
}

/// An accepted long-running operation of Azure, as an opaque text that survives a restart. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationRef(pub String);

/// Where an operation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationState {
    /// Under way.
    Running,
    /// Azure says it succeeded; the resource must agree before anybody believes it.
    Succeeded,
    /// Azure says it failed.
    Failed {
        /// Azure's words.
        message: String,
    },
}

/// A pool to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferSpec {
    /// Its name.
    pub name: PoolName,
    /// The pool whose properties it copies.
    pub like: PoolName,
    /// How many nodes.
    pub count: u32,
    /// Their version.
    pub version: KubeVersion,
}

/// The Azure side at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureView {
    /// The cluster.
    pub cluster: ManagedCluster,
    /// Its pools, by name.
    pub pools: Vec<Pool>,
    /// How long to wait before looking again, as Azure asked.
    pub look_again: Duration,
}

/// Azure Resource Manager, for one cluster.
///
/// Writes begin an operation and return when Azure has accepted it. They are conditional (ETag, create-only), so that a
/// concurrent writer is a [`PortErrorKind::Conflict`] and not lost.
#[async_trait]
pub trait Azure: Send + Sync {
    /// Reads the cluster and its pools.
    async fn observe(&self) -> Result<AzureView, PortError>;

    /// Where an operation stands. An operation that Azure has forgotten counts as succeeded: the resource decides.
    async fn operation(&self, operation: &OperationRef) -> Result<OperationState, PortError>;

    /// What is not enough for a buffer, in words: quotas, the region's offer of its size, addresses of its subnets. Empty where
    /// nothing is known to be missing; whether Azure has machines left is known only by asking for them.
    async fn shortages(&self, buffer: &BufferSpec) -> Result<Vec<String>, PortError>;

    /// Upgrades the control plane alone; no pool changes its version.
    async fn upgrade_control_plane(&self, to: KubeVersion) -> Result<OperationRef, PortError>;

    /// Creates a pool, tagged with the run. An existing pool of the name is a [`PortErrorKind::Conflict`].
    async fn create_pool(&self, buffer: &BufferSpec, run: &RunId) -> Result<OperationRef, PortError>;

    /// Upgrades a pool's nodes.
    async fn upgrade_pool(&self, pool: &PoolName, to: KubeVersion) -> Result<OperationRef, PortError>;

    /// Deletes a pool that carries this run's tag; any other is a [`PortErrorKind::Rejected`]. The caller has verified that
    /// it is empty.
    async fn delete_pool(&self, pool: &PoolName, run: &RunId) -> Result<OperationRef, PortError>;
}

/// The Rancher server, and the proof that its cluster is Azure's.
#[async_trait]
pub trait Rancher: Send + Sync {
    /// Reads everything that binds Rancher's id, Azure's id and the cluster together, anew. Evidence that contradicts is in
    /// the result, not an error.
    async fn identity(&self) -> Result<ClusterIdentity, PortError>;

    /// What Rancher says of the cluster.
    async fn facts(&self) -> Result<RancherFacts, PortError>;
}

/// The run's journal.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends a record. Returns when it is durable.
    async fn append(&self, record: &Record) -> Result<(), PortError>;
}

/// Time. A port, so that the lab can run hours in a moment.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// The time since a moment of the clock's choice. It never goes back, whoever sets the time of day, and goes on while the
    /// machine sleeps.
    fn elapsed(&self) -> Duration;

    /// Returns at or after `until`.
    async fn sleep_until(&self, until: Timestamp);
}

/// A question that only a person or a policy outside the plan can answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Names the question within the run.
    pub id: String,
    /// The question.
    pub text: String,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Go on.
    Continue,
    /// Stop here and wait for a person: the run ends as paused and can be resumed.
    Pause,
}

/// Before what somebody is asked, beside what is asked in any case. Each asks for all that those before it ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskBefore {
    /// Nothing.
    #[default]
    None,
    /// Each stage.
    Stage,
    /// Each step that has something to write.
    Step,
}

/// What a user's probe says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// All is well.
    Green {
        /// Its words: one line, cleaned.
        words: String,
    },
    /// All is not well.
    Red {
        /// Its last words, likewise.
        words: String,
    },
    /// It could not be asked, which is no pass.
    Unknown {
        /// Why.
        words: String,
    },
}

impl ProbeAnswer {
    /// All is well.
    pub fn is_green(&self) -> bool {
        matches!(self, Self::Green { .. })
    }
}

impl fmt::Display for ProbeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Green { words } => write!(f, "green: {words}"),
            Self::Red { words } => write!(f, "red: {words}"),
            Self::Unknown { words } => write!(f, "not known: {words}"),
        }
    }
}

/// Approvals, and the user's own probes.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Asks. A gate that cannot answer pauses.
    async fn ask(&self, question: &Question) -> Answer;

    /// Before what it wants to be asked. A run that was begun so goes on so, whatever the gate of a later process wants.
    fn asks_before(&self) -> AskBefore {
        AskBefore::None
    }

    /// What is to happen when the run fails, said beforehand. `None`: what was said when it began, or that it holds.
    fn on_failure(&self) -> Option<OnFailure> {
        None
    }

    /// In whose name it answers, for the journal.
    fn answers_for(&self) -> String {
        "the gate of a program".to_owned()
    }

    /// Asks a probe, which ends by itself within a few minutes. A gate that does not know it says so.
    async fn probe(&self, _probe: &ProbeName) -> ProbeAnswer {
        ProbeAnswer::Unknown { words: "nobody here knows how to ask it".to_owned() }
    }

    /// The probes that it wants to be asked beside the plan's. A run that was begun so goes on so, as with
    /// [`asks_before`](Self::asks_before).
    fn more_probes(&self) -> Vec<ProbeName> {
        Vec::new()
    }
}

/// Whoever wants to see what happens. Cannot influence the run.
pub trait EventSink: Send + Sync {
    /// Takes one event. Must not block.
    fn emit(&self, event: &Event);
}

/// All ports of one run.
#[derive(Clone)]
pub struct Ports {
    /// The API server.
    pub kubernetes: Arc<dyn Kubernetes>,
    /// Azure.
    pub azure: Arc<dyn Azure>,
    /// Rancher.
    pub rancher: Arc<dyn Rancher>,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Approvals and probes.
    pub gate: Arc<dyn Gate>,
    /// Events.
    pub events: Arc<dyn EventSink>,
    /// Under which name this process holds the lock of the cluster: its own, for ever (see [`Lock::new`](crate::lock::Lock::new)).
    pub holder: HolderId,
}

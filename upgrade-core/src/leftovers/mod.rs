//! What runs have left behind: found by looking at the cluster, at Azure and into journals together, and given back.
//!
//! [`LeftBehind::of`] decides what is a leftover, pure; [`clean`] gives back what one run has left, under the lock of the cluster.
//! Nothing is guessed: what no journal accounts for is named and left alone.

mod clean;
mod decide;

use serde::{Deserialize, Serialize};

use crate::inventory::{ClusterIdentity, Ownership, Unseen};
use crate::journal::RunState;
use crate::lock::{LockHolder, Sign, lock_name};
use crate::model::{ManagedCluster, Pool, RunId};
use crate::ports::{Azure, Kubernetes, PortError, Rancher};
use crate::view::View;

pub use clean::{CleanError, Cleaned, clean, free_lock};

/// What was seen of a cluster at one time.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Kubernetes.
    pub view: View,
    /// The cluster in Azure.
    pub cluster: ManagedCluster,
    /// Its pools.
    pub pools: Vec<Pool>,
    /// Who decides about Azure.
    pub ownership: Ownership,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

impl Seen {
    /// Looks at the cluster, at Azure and at Rancher. Never writes.
    ///
    /// # Errors
    /// If one of them cannot be read; parts of the cluster that cannot are in [`Seen::unseen`].
    pub async fn look(
        kubernetes: &dyn Kubernetes,
        azure: &dyn Azure,
        rancher: &dyn Rancher,
    ) -> Result<Self, PortError> {
        let snapshot = kubernetes.snapshot().await?;
        let in_azure = azure.observe().await?;
        let ownership = rancher.facts().await?.ownership;
        let mut view = View::default();
        for list in snapshot.lists {
            view.apply(list);
        }
        let unseen = snapshot.unseen;
        Ok(Self { view, cluster: in_azure.cluster, pools: in_azure.pools, ownership, unseen })
    }
}

/// Kinds of things that a run leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftoverKind {
    /// A temporary pool.
    Buffer,
    /// A cordon of a node.
    Cordon,
    /// A node that is kept out of external load balancers.
    OutOfBalancers,
    /// Settings of a workload that were borrowed.
    Settings,
    /// A pod that has images pulled.
    PrewarmPod,
    /// The lock of the cluster, held by a process that has died.
    Lock,
}

/// One thing that a run has left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// The run, if it is known.
    pub run: Option<RunId>,
    /// What kind of thing it is.
    pub kind: LeftoverKind,
    /// Its name.
    pub object: String,
    /// What is so about it.
    pub detail: String,
    /// Why it cannot be given back now, if it cannot.
    pub obstacle: Option<String>,
    /// The command by which a person gives it back.
    pub by_hand: String,
}

/// Everything that runs have left on a cluster, as far as it could be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    /// The cluster's name.
    pub cluster: String,
    /// The run that is at work there: what it holds is no leftover.
    pub at_work: Option<LockHolder>,
    /// What is left, newest run first, and of each run what was taken last first.
    pub left: Vec<Leftover>,
    /// What somebody has changed since, and which stays as it is.
    pub changed_since: Vec<String>,
    /// What could not be seen, or belongs to nobody that is known here.
    pub unknown: Vec<String>,
}

impl LeftBehind {
    /// Puts together what the lock, the cluster, Azure and the journals say. `journals` are of this cluster, newest run first;
    /// `unread` names those that could not be read, and why.
    pub fn of(
        identity: &ClusterIdentity,
        lock: &Sign,
        seen: &Seen,
        journals: &[RunState],
        unread: Vec<String>,
    ) -> Self {
        let at_work = match lock {
            Sign::Alive(record) => Some(LockHolder::from(record)),
            Sign::Free | Sign::Silent(_) | Sign::Unclear { .. } => None,
        };
        let working = at_work.as_ref().and_then(|holder| holder.run.as_ref());
        let (mut left, mut changed_since) = (Vec::new(), Vec::new());
        left.extend(orphaned(lock));
        for state in journals.iter().filter(|state| state.run() != working) {
            left.extend(decide::tasks(state, seen, identity).into_iter().map(|task| task.leftover));
            changed_since.extend(decide::changed_since(state, seen));
        }
        left.extend(decide::without_journal(seen, identity, journals, working));
        let mut unknown = unread;
        unknown.extend(decide::unaccounted_cordons(seen, journals));
        unknown.extend(seen.unseen.iter().map(|unseen| format!("{}: {}", unseen.what, unseen.why)));
        Self { cluster: identity.name.clone(), at_work, left, changed_since, unknown }
    }
}

/// The lock of a process that has died. It stands in nobody's way for long: the next run takes it.
fn orphaned(lock: &Sign) -> Option<Leftover> {
    let (Sign::Silent(record) | Sign::Unclear { record, .. }) = lock else { return None };
    let lock = lock_name();
    Some(Leftover {
        run: record.run.clone(),
        kind: LeftoverKind::Lock,
        object: lock.to_string(),
        detail: format!("held by {}, and not renewed for as long as it lasts", LockHolder::from(record)),
        obstacle: None,
        by_hand: format!("kubectl -n {} delete lease {}", lock.namespace(), lock.name()),
    })
}

#[cfg(test)]
mod tests;

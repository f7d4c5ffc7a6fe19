//! Steps that Azure carries out: what the cluster's and its pools' state means for them.
//!
//! Azure's word alone is never believed: an operation that succeeded must show in the resource, and a pool that reports the
//! new version must have nodes that run it (Azure reports the target of a failed upgrade too).

use super::Verdict;
use super::failure::{Failure, StepKind};
use super::nodes;
use crate::journal::Write;
use crate::model::{KubeVersion, Node, NodeName, Pod, Pool, PoolName, ProvisioningState, RunId};
use crate::moves::back_in;
use crate::plan::Action;
use crate::ports::{AzureView, BufferSpec, OperationState};
use crate::view::View;

/// Is it Azure that carries it out?
pub(super) fn carries_out(action: &Action) -> bool {
    StepKind::of(action).is_in_azure()
}

/// Has Azure to be looked at for it?
pub(super) fn concerns(action: &Action) -> bool {
    carries_out(action) || matches!(action, Action::Verify { .. })
}

/// What is known about an Azure step.
pub(super) struct AzureCase<'a> {
    /// Azure as last observed; `None` before the first look.
    pub(super) azure: Option<&'a AzureView>,
    /// Kubernetes.
    pub(super) view: &'a View,
    /// The run.
    pub(super) run: &'a RunId,
    /// The operation that the step has begun, as last seen.
    pub(super) operation: Option<&'a OperationState>,
    /// The step has begun an operation whose state is not known yet.
    pub(super) operation_unseen: bool,
    /// Changes in Azure announced by the process at work. A failed operation of an earlier process may be tried again once.
    pub(super) fresh_writes: u32,
    /// What the step has announced last of them, whichever process it was.
    pub(super) last: Option<&'a Write>,
}

impl AzureCase<'_> {
    /// Is the step's own operation decisive by itself?
    fn operation_verdict(&self, what: &str) -> Option<Verdict> {
        match self.operation {
            _ if self.operation_unseen => Some(Verdict::Patience(format!("Azure: {what}"))),
            Some(OperationState::Running) => Some(Verdict::Patience(format!("Azure: {what}"))),
            Some(OperationState::Failed { message }) if self.fresh_writes > 0 => {
                Some(Verdict::Fail(Failure::OperationFailed, format!("Azure could not {what}: {message}")))
            }
            Some(OperationState::Failed { .. } | OperationState::Succeeded) | None => None,
        }
    }

    /// The write that begins the operation; after an operation of this process succeeded, the resource only lags.
    fn begin(&self, write: Write, lag: String) -> Verdict {
        let began = matches!(self.operation, Some(OperationState::Succeeded)) && self.fresh_writes > 0;
        if began { Verdict::Wait(lag) } else { Verdict::Write(vec![write]) }
    }

    fn pool(&self, name: &PoolName) -> Option<&Pool> {
        self.azure?.pools.iter().find(|pool| pool.name == *name)
    }

    /// A pod on the pool that does not go with its node.
    fn pod_left<'p>(&'p self, pool: &'p PoolName) -> Option<&'p Pod> {
        let any = self.view.pods_to_move_from(pool) > 0;
        any.then(|| self.view.pods_in(pool).find(|pod| !pod.leaves_with_node())).flatten()
    }

    /// The cluster or another pool is busy: Azure would refuse, so do not ask.
    fn busy_elsewhere(&self, own: &PoolName) -> Option<Verdict> {
        let azure = self.azure?;
        if let ProvisioningState::Busy(word) = &azure.cluster.state {
            return Some(Verdict::Patience(format!("Azure: the cluster is {word}")));
        }
        let busy =
            azure.pools.iter().find(|p| p.name != *own && matches!(p.state, ProvisioningState::Busy(_)))?;
        Some(Verdict::Patience(format!("Azure: pool {} is {}", busy.name, busy.state)))
    }

    pub(super) fn control_plane(&self, to: KubeVersion) -> Verdict {
        let Some(azure) = self.azure else { return Verdict::Patience("Azure's answer".into()) };
        if let Some(verdict) = self.operation_verdict(&format!("upgrade the control plane to {to}")) {
            return verdict;
        }
        let cluster = &azure.cluster;
        match &cluster.state {
            ProvisioningState::Busy(word) => Verdict::Patience(format!("Azure: the cluster is {word}")),
            ProvisioningState::Succeeded if cluster.version == to => {
                Verdict::Done(format!("the control plane runs {to}"))
            }
            ProvisioningState::Failed if self.fresh_writes > 0 && self.operation.is_some() => Verdict::Fail(
                Failure::OperationFailed,
                format!("Azure could not upgrade the control plane: {}", reason(cluster.error.as_ref())),
            ),
            ProvisioningState::Succeeded | ProvisioningState::Failed | ProvisioningState::Canceled => {
                let lag = format!("Azure still reports {} for the control plane", cluster.version);
                self.begin(Write::UpgradeControlPlane { to }, lag)
            }
        }
    }

    pub(super) fn create_buffer(&self, buffer: &BufferSpec) -> Verdict {
        if self.azure.is_none() {
            return Verdict::Patience("Azure's answer".into());
        }
        let name = &buffer.name;
        let clears = matches!(self.last, Some(Write::DeletePool { .. }));
        let what = if clears { "delete what there is of" } else { "create" };
        if let Some(verdict) = self.operation_verdict(&format!("{what} pool {name}")) {
            return verdict;
        }
        let Some(pool) = self.pool(name) else {
            let create = || {
                let (write, lag) = (Write::create(buffer), format!("Azure does not list pool {name} yet"));
                if clears { Verdict::Write(vec![write]) } else { self.begin(write, lag) }
            };
            return self.busy_elsewhere(name).unwrap_or_else(create);
        };
        if !pool.is_made_by(self.run) {
            return Verdict::Fail(
                Failure::PoolForeign,
                format!("pool {name} exists and was not made by this run"),
            );
        }
        match &pool.state {
            ProvisioningState::Busy(word) if word == "Deleting" && !clears => Verdict::Fail(
                Failure::PoolForeign,
                format!("pool {name} is being deleted, and not by this run"),
            ),
            ProvisioningState::Busy(word) => Verdict::Patience(format!("Azure: pool {name} is {word}")),
            ProvisioningState::Failed | ProvisioningState::Canceled if clears && self.fresh_writes > 0 => {
                Verdict::Wait(format!("Azure still lists pool {name}"))
            }
            ProvisioningState::Failed | ProvisioningState::Canceled => self.make_anew(pool),
            ProvisioningState::Succeeded => {
                let fit = |node: &Node| node.takes_pods() && node.kubelet == Some(buffer.version);
                self.nodes_fit(name, buffer.count, fit, "ready for pods")
            }
        }
    }

    /// A buffer that did not come up. Azure does not mend one by itself, so a later process, which somebody has told to go on,
    /// deletes it and makes it anew: it carries the run's tag, the journal has announced it, and no pod is on it.
    fn make_anew(&self, pool: &Pool) -> Verdict {
        let name = &pool.name;
        let failed = format!("pool {name} is {}: {}", pool.state, reason(pool.error.as_ref()));
        if self.fresh_writes > 0 || self.last.is_none() {
            return Verdict::Fail(Failure::BufferFailed, failed);
        }
        // Nothing may come to nodes that go.
        let cordons = nodes::missing_cordons(self.view, name);
        if !cordons.is_empty() {
            return Verdict::Write(cordons);
        }
        if let Some(pod) = self.pod_left(name) {
            let why = format!("{failed}; it is not deleted while pod {} is on it", pod.name);
            return Verdict::Fail(Failure::BufferFailed, why);
        }
        let delete = Write::DeletePool { pool: name.clone() };
        self.busy_elsewhere(name).unwrap_or_else(|| Verdict::Write(vec![delete]))
    }

    pub(super) fn upgrade_pool(&self, name: &PoolName, to: KubeVersion, first_time: bool) -> Verdict {
        if self.azure.is_none() {
            return Verdict::Patience("Azure's answer".into());
        }
        if let Some(verdict) = self.operation_verdict(&format!("upgrade pool {name} to {to}")) {
            return verdict;
        }
        let Some(pool) = self.pool(name) else {
            return Verdict::Fail(Failure::PoolForeign, format!("pool {name} is gone from Azure"));
        };
        if let ProvisioningState::Busy(word) = &pool.state {
            return Verdict::Patience(format!("Azure: pool {name} is {word}"));
        }
        if pool.state == ProvisioningState::Succeeded && pool.version == to {
            return self.after_upgrade(pool, to);
        }
        if pool.state == ProvisioningState::Failed && self.fresh_writes > 0 && self.operation.is_some() {
            return Verdict::Fail(
                Failure::OperationFailed,
                format!("Azure could not upgrade pool {name}: {}", reason(pool.error.as_ref())),
            );
        }
        if let Some(pod) = self.pod_left(name).filter(|_| first_time) {
            return Verdict::Wait(format!("pod {} to leave {name} before Azure touches it", pod.name));
        }
        let lag = format!("Azure still reports {} for pool {name}", pool.version);
        let write = Write::UpgradePool { pool: name.clone(), to };
        self.busy_elsewhere(name).unwrap_or_else(|| self.begin(write, lag))
    }

    /// Azure says that the pool is upgraded; the nodes must agree, and take pods again.
    fn after_upgrade(&self, pool: &Pool, to: KubeVersion) -> Verdict {
        let cordoned =
            self.view.nodes_of(&pool.name).filter(|n| n.ready && n.kubelet == Some(to) && n.unschedulable);
        let uncordon: Vec<Write> =
            cordoned.map(|n| Write::Uncordon { node: n.name.clone(), uid: n.uid.clone() }).collect();
        if !uncordon.is_empty() {
            return Verdict::Write(uncordon);
        }
        let upgraded = self.view.nodes_of(&pool.name).filter(|n| n.takes_pods() && n.kubelet == Some(to));
        let back_in = back_in(self.run, upgraded);
        if !back_in.is_empty() {
            return Verdict::Write(back_in);
        }
        self.nodes_fit(
            &pool.name,
            pool.count,
            |node| node.takes_pods() && node.kubelet == Some(to),
            &format!("ready at {to}"),
        )
    }

    fn nodes_fit(&self, pool: &PoolName, wanted: u32, fit: impl Fn(&Node) -> bool, how: &str) -> Verdict {
        let nodes: Vec<&Node> = self.view.nodes_of(pool).collect();
        let misfits: Vec<&NodeName> = nodes.iter().filter(|node| !fit(node)).map(|node| &node.name).collect();
        let good = u32::try_from(nodes.len() - misfits.len()).unwrap_or(u32::MAX);
        match misfits.first() {
            None if good >= wanted => Verdict::Done(format!("{good} nodes of {pool} are {how}")),
            Some(node) => {
                Verdict::Wait(format!("{good} of {wanted} nodes of {pool} are {how}; waiting for {node}"))
            }
            None => Verdict::Wait(format!("{good} of {wanted} nodes of {pool} are {how}")),
        }
    }

    pub(super) fn delete_buffer(&self, name: &PoolName) -> Verdict {
        if self.azure.is_none() {
            return Verdict::Patience("Azure's answer".into());
        }
        if let Some(verdict) = self.operation_verdict(&format!("delete pool {name}")) {
            return verdict;
        }
        let Some(pool) = self.pool(name) else {
            let nodes = self.view.nodes_of(name).count();
            return if nodes == 0 {
                Verdict::Done(format!("pool {name} is gone"))
            } else {
                Verdict::Wait(format!("Kubernetes still lists {nodes} nodes of {name}"))
            };
        };
        if !pool.is_made_by(self.run) {
            return Verdict::Fail(
                Failure::PoolForeign,
                format!("pool {name} does not carry this run's tag; it is not deleted"),
            );
        }
        if let ProvisioningState::Busy(word) = &pool.state {
            return Verdict::Patience(format!("Azure: pool {name} is {word}"));
        }
        if let Some(pod) = self.pod_left(name) {
            return Verdict::Wait(format!("pod {} to leave {name} before it is deleted", pod.name));
        }
        let lag = format!("Azure still lists pool {name}");
        self.busy_elsewhere(name).unwrap_or_else(|| self.begin(Write::DeletePool { pool: name.clone() }, lag))
    }
}

fn reason(error: Option<&crate::model::ProvisioningError>) -> String {
    error.map_or_else(|| "Azure gives no reason".to_owned(), ToString::to_string)
}

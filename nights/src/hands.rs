//! The hands of a run: its ports onto the lab, watched. Each write is looked at before it is sent; at each a process can be killed,
//! and each can be sent twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cluster_lab::Lab;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as KubeLease;
use serde_json::Value;
use upgrade_core::access::{AccessAnswer, Right};
use upgrade_core::inventory::{ClusterIdentity, RancherFacts};
use upgrade_core::lock::{Lease, LeaseRecord, lock_name};
use upgrade_core::model::{
    HolderId, KubeVersion, NodeName, ObjectName, PoolName, RestartId, RunId, Settings, Uid, WorkloadRef,
};
use upgrade_core::ports::{
    Azure, AzureView, BufferSpec, EvictionAnswer, KubeSnapshot, Kubernetes, OperationRef, OperationState,
    PortError, Rancher, WriteMode,
};
use upgrade_core::prewarm::PrewarmPod;
use upgrade_core::view::{Change, Object, ResourceKind};

use crate::kept::{Kept, Kill};

/// Makes the ports.
#[derive(Clone)]
pub(crate) struct Hands {
    lab: Lab,
    kept: Arc<Kept>,
}

type Call<'a, T> = &'a (dyn Fn() -> BoxFuture<'a, Result<T, PortError>> + Sync);

impl Hands {
    pub(crate) fn new(lab: Lab, kept: Arc<Kept>) -> Self {
        Self { lab, kept }
    }

    pub(crate) fn kubernetes(&self) -> WatchedKubernetes {
        WatchedKubernetes { inner: self.lab.kubernetes(), hands: self.clone() }
    }

    pub(crate) fn azure(&self) -> WatchedAzure {
        WatchedAzure { inner: self.lab.azure(), hands: self.clone() }
    }

    pub(crate) fn rancher(&self) -> WatchedRancher {
        WatchedRancher { inner: self.lab.rancher(), hands: self.clone() }
    }

    /// A write, unless it is only a trial.
    async fn unless_tried<T: Send>(
        &self,
        mode: WriteMode,
        what: String,
        call: Call<'_, T>,
    ) -> Result<T, PortError> {
        match mode {
            WriteMode::DryRun => call().await,
            WriteMode::Commit => self.write(what, call).await,
        }
    }

    /// A write to the cluster or to Azure.
    async fn write<T: Send>(&self, what: String, call: Call<'_, T>) -> Result<T, PortError> {
        self.kept.lives().await;
        self.may_write(&what);
        self.send(what, call).await
    }

    /// A write; a process can be killed on either side of its effect.
    async fn send<T: Send>(&self, what: String, call: Call<'_, T>) -> Result<T, PortError> {
        self.kept.lives().await;
        let number = {
            let mut story = self.kept.story();
            story.writes.push(what.clone());
            story.writes.len()
        };
        self.kept.perhaps_dies(Kill::Before(number)).await;
        let answer = call().await;
        if self.kept.is_sent_twice() {
            self.again(&what, call).await;
        }
        self.kept.perhaps_dies(Kill::After(number)).await;
        answer
    }

    /// The same once more, which must change nothing.
    async fn again<T: Send>(&self, what: &str, call: Call<'_, T>) {
        let before = self.fingerprint();
        let answer = call().await.err();
        if self.fingerprint() != before {
            let answer = answer.map_or("done".to_owned(), |error| error.to_string());
            self.broke(format!("{what}: the second time changed something ({answer})"));
        }
    }

    /// The version of every object in the cluster, and Azure with its eTags.
    fn fingerprint(&self) -> (u64, Value) {
        self.lab.with(|world| (world.store.revision(), world.shown_by_azure()))
    }

    fn broke(&self, rule: String) {
        self.kept.story().broken.push(rule);
    }

    /// Nothing is written without the lock and the proof.
    fn may_write(&self, what: &str) {
        let (holder, proven) = {
            let story = self.kept.story();
            (story.holder.clone(), story.proven)
        };
        if !proven {
            self.broke(format!("{what}: the cluster was not proven to be the right one for this stage"));
        }
        let name = lock_name();
        let held = self.lab.with(|world| {
            let lease = world.store.get::<KubeLease>(name.namespace(), name.name())?;
            let spec = lease.spec.clone().unwrap_or_default();
            let lasts = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
            let ends = spec.renew_time?.0 + Duration::from_secs(lasts);
            (ends > world.now()).then_some(spec.holder_identity.unwrap_or_default())
        });
        if held.as_deref() != holder.as_ref().map(HolderId::as_str) {
            self.broke(format!("{what}: written without the lock, which is held by {held:?}"));
        }
    }

    /// Only a node that the run has cordoned is emptied.
    fn may_evict(&self, pod: &ObjectName) {
        let node = self.lab.with(|world| {
            let node = world.view().pod(pod)?.node.clone()?;
            world.view().node(&node).cloned()
        });
        let Some(node) = node else { return };
        if !node.unschedulable || !self.kept.story().cordoned.contains(&node.uid) {
            self.broke(format!("pod {pod} is evicted from node {}, which is not to go", node.name));
        }
    }

    /// Only a pod that a run has made to pull images is deleted.
    fn may_delete(&self, pod: &ObjectName, uid: &Uid) {
        let made = self.lab.with(|world| {
            let found = world.view().pod(pod).filter(|found| found.uid == *uid)?;
            Some(found.pulling.is_some())
        });
        if made == Some(false) {
            self.broke(format!("pod {pod} is deleted, and the run did not make it"));
        }
    }
}

/// The cluster's API server.
pub(crate) struct WatchedKubernetes {
    inner: Arc<dyn Kubernetes>,
    hands: Hands,
}

#[async_trait]
impl Kubernetes for WatchedKubernetes {
    async fn snapshot(&self) -> Result<KubeSnapshot, PortError> {
        self.inner.snapshot().await
    }

    fn watch(&self) -> BoxStream<'static, Result<Change, PortError>> {
        self.inner.watch()
    }

    async fn read(&self, kind: ResourceKind, name: &str) -> Result<Option<Object>, PortError> {
        self.inner.read(kind, name).await
    }

    async fn set_unschedulable(
        &self,
        node: &NodeName,
        uid: &Uid,
        unschedulable: bool,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        if unschedulable && mode == WriteMode::Commit {
            self.hands.kept.story().cordoned.insert(uid.clone());
        }
        let what = format!("{} {node}", if unschedulable { "cordon" } else { "uncordon" });
        let call = || self.inner.set_unschedulable(node, uid, unschedulable, mode);
        self.hands.unless_tried(mode, what, &call).await
    }

    async fn set_excluded(
        &self,
        node: &NodeName,
        uid: &Uid,
        excluded: bool,
        run: &RunId,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        let what = if excluded { format!("exclude {node}") } else { format!("include {node}") };
        let call = || self.inner.set_excluded(node, uid, excluded, run, mode);
        self.hands.unless_tried(mode, what, &call).await
    }

    async fn restart(
        &self,
        workload: &WorkloadRef,
        uid: &Uid,
        id: &RestartId,
        at: Timestamp,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        let call = || self.inner.restart(workload, uid, id, at, mode);
        self.hands.unless_tried(mode, format!("restart {workload} as {id}"), &call).await
    }

    async fn change_settings(
        &self,
        workload: &WorkloadRef,
        uid: &Uid,
        from: &Settings,
        to: &Settings,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        let call = || self.inner.change_settings(workload, uid, from, to, mode);
        self.hands.unless_tried(mode, format!("set {to} of {workload}"), &call).await
    }

    async fn evict(&self, pod: &ObjectName, uid: &Uid, mode: WriteMode) -> Result<EvictionAnswer, PortError> {
        if mode == WriteMode::Commit {
            self.hands.may_evict(pod);
        }
        let call = || self.inner.evict(pod, uid, mode);
        self.hands.unless_tried(mode, format!("evict {pod}"), &call).await
    }

    async fn create_prewarm_pod(
        &self,
        pod: &PrewarmPod,
        run: &RunId,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        let call = || self.inner.create_prewarm_pod(pod, run, mode);
        self.hands.unless_tried(mode, format!("create pod {}", pod.name), &call).await
    }

    async fn try_pod(&self, workload: &WorkloadRef, uid: &Uid) -> Result<(), PortError> {
        self.inner.try_pod(workload, uid).await
    }

    async fn delete_prewarm_pod(
        &self,
        pod: &ObjectName,
        uid: &Uid,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        self.hands.may_delete(pod, uid);
        let call = || self.inner.delete_prewarm_pod(pod, uid, mode);
        self.hands.unless_tried(mode, format!("delete pod {pod}"), &call).await
    }

    async fn access(&self, rights: &[Right]) -> Vec<AccessAnswer> {
        self.inner.access(rights).await
    }

    async fn lease(&self, name: &ObjectName) -> Result<Option<Lease>, PortError> {
        self.inner.lease(name).await
    }

    async fn create_lease(&self, name: &ObjectName, record: &LeaseRecord) -> Result<Lease, PortError> {
        let call = || self.inner.create_lease(name, record);
        self.hands.send("create the lock".to_owned(), &call).await
    }

    async fn update_lease(
        &self,
        name: &ObjectName,
        over: &Lease,
        record: &LeaseRecord,
    ) -> Result<Lease, PortError> {
        if over.record.holder == record.holder {
            // A renewal, every few seconds: to be killed in it is to be killed at any time.
            self.hands.kept.lives().await;
            return self.inner.update_lease(name, over, record).await;
        }
        let call = || self.inner.update_lease(name, over, record);
        let what = if record.holder.is_empty() { "give the lock back" } else { "take the lock over" };
        self.hands.send(what.to_owned(), &call).await
    }
}

/// Azure.
pub(crate) struct WatchedAzure {
    inner: Arc<dyn Azure>,
    hands: Hands,
}

#[async_trait]
impl Azure for WatchedAzure {
    async fn observe(&self) -> Result<AzureView, PortError> {
        self.inner.observe().await
    }

    async fn operation(&self, operation: &OperationRef) -> Result<OperationState, PortError> {
        self.inner.operation(operation).await
    }

    async fn shortages(&self, buffer: &BufferSpec) -> Result<Vec<String>, PortError> {
        self.inner.shortages(buffer).await
    }

    async fn upgrade_control_plane(&self, to: KubeVersion) -> Result<OperationRef, PortError> {
        let call = || self.inner.upgrade_control_plane(to);
        self.hands.write(format!("upgrade control plane to {to}"), &call).await
    }

    async fn create_pool(&self, buffer: &BufferSpec, run: &RunId) -> Result<OperationRef, PortError> {
        self.hands.kept.story().pools.insert(buffer.name.clone());
        let call = || self.inner.create_pool(buffer, run);
        self.hands.write(format!("create pool {}", buffer.name), &call).await
    }

    async fn upgrade_pool(&self, pool: &PoolName, to: KubeVersion) -> Result<OperationRef, PortError> {
        let call = || self.inner.upgrade_pool(pool, to);
        self.hands.write(format!("upgrade pool {pool} to {to}"), &call).await
    }

    async fn delete_pool(&self, pool: &PoolName, run: &RunId) -> Result<OperationRef, PortError> {
        if !self.hands.kept.story().pools.contains(pool) {
            self.hands.broke(format!("pool {pool} is deleted, and the run did not make it"));
        }
        let call = || self.inner.delete_pool(pool, run);
        self.hands.write(format!("delete pool {pool}"), &call).await
    }
}

/// Rancher.
pub(crate) struct WatchedRancher {
    inner: Arc<dyn Rancher>,
    hands: Hands,
}

#[async_trait]
impl Rancher for WatchedRancher {
    async fn identity(&self) -> Result<ClusterIdentity, PortError> {
        let identity = self.inner.identity().await;
        if let Ok(identity) = &identity {
            self.hands.kept.has_read(identity);
        }
        identity
    }

    async fn facts(&self) -> Result<RancherFacts, PortError> {
        self.inner.facts().await
    }
}

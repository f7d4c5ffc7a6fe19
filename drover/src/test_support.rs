//! What the unit tests of several rooms need.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde_json::json;
use upgrade_core::Inventory;
use upgrade_core::access::{AccessAnswer, Right};
use upgrade_core::inventory::{ClusterIdentity, RancherFacts};
use upgrade_core::lock::{Lease, LeaseRecord};
use upgrade_core::model::{
    KubeVersion, NodeName, ObjectName, PoolName, RestartId, RunId, Settings, Uid, WorkloadRef,
};
use upgrade_core::ports::{
    Azure, AzureView, BufferSpec, Clock, EvictionAnswer, KubeSnapshot, Kubernetes, OperationRef,
    OperationState, PortError, Rancher, WriteMode,
};
use upgrade_core::prewarm::PrewarmPod;
use upgrade_core::view::{Change, Object, ResourceKind};

use crate::cluster::Services;

/// A small cluster at rest: two pools with a node each and nothing on them, 1.35.3 on offer.
pub(crate) fn inventory() -> Inventory {
    let pool = |name: &str, mode: &str| {
        json!({
            "name": name, "mode": mode, "os": "Linux", "version": "1.34.2", "count": 1, "vm_size": "Standard_D4s_v5",
            "max_pods": 110, "scale_set": true, "state": "Succeeded",
        })
    };
    let node = |name: &str, pool: &str| {
        json!({
            "name": name, "uid": format!("{name}-uid"), "provider_id": null, "labels": {"agentpool": pool},
            "unschedulable": false, "ready": true, "kubelet": "1.34.2",
            "allocatable": {"cpu": 4000, "memory": 8_589_934_592_u64}, "max_pods": 110,
        })
    };
    let inventory = json!({
        "format": "1.0",
        "identity": {
            "name": "shop",
            "rancher_id": "c-m-abcd1234",
            "arm_id": "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/\
                Microsoft.ContainerService/managedClusters/shop",
            "kube_system": "5f1a-uid",
            "evidence": [
                {"what": "API server CA", "verdict": "agrees", "detail": "the same"},
                {"what": "node provider ids", "verdict": "agrees", "detail": "both"},
            ],
        },
        "rancher": {"state": "active", "ownership": {"kind": "generic"}},
        "cluster": {
            "id": "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/\
                Microsoft.ContainerService/managedClusters/shop",
            "location": "westeurope", "version": "1.34.2", "state": "Succeeded",
            "upgrades": [{"version": "1.35.3"}], "node_resource_group": "MC_rg", "max_pools": 100,
        },
        "pools": [pool("system", "System"), pool("user", "User")],
        "nodes": [node("s0", "system"), node("u0", "user")],
        "pods": [], "workloads": [], "budgets": [], "services": [], "slices": [], "claims": [], "unseen": [],
        "access": [{"right": {"verb": "*", "group": "*", "resource": "*"}, "answer": {"answer": "allowed"}}],
    });
    serde_json::from_value(inventory).unwrap()
}

/// Services that show an inventory and accept no write.
#[derive(Clone)]
pub(crate) struct Shown(pub(crate) Inventory);

impl Shown {
    pub(crate) fn services(self) -> Services {
        let all = Arc::new(self);
        Services { kubernetes: all.clone(), azure: all.clone(), rancher: all.clone(), clock: all }
    }

    fn lists(&self) -> Vec<Change> {
        let nodes = self.0.nodes.iter().cloned().map(Object::Node).collect();
        let list = |kind| Change::Listed { kind, objects: Vec::new() };
        let mut lists: Vec<Change> = ResourceKind::ALL.into_iter().map(list).collect();
        lists[0] = Change::Listed { kind: ResourceKind::Node, objects: nodes };
        lists
    }
}

fn no_write() -> ! {
    panic!("nothing is written in this test")
}

fn only_tried(mode: WriteMode) {
    if mode == WriteMode::Commit {
        no_write()
    }
}

#[async_trait]
impl Kubernetes for Shown {
    async fn snapshot(&self) -> Result<KubeSnapshot, PortError> {
        Ok(KubeSnapshot {
            version: self.0.cluster.version,
            kube_system: self.0.identity.kube_system.clone(),
            lists: self.lists(),
            deprecated_apis: self.0.deprecated_apis.clone(),
            surroundings: self.0.surroundings.clone(),
            unseen: self.0.unseen.clone(),
        })
    }

    fn watch(&self) -> BoxStream<'static, Result<Change, PortError>> {
        futures::stream::iter(self.lists()).map(Ok).chain(futures::stream::pending()).boxed()
    }

    async fn read(&self, kind: ResourceKind, name: &str) -> Result<Option<Object>, PortError> {
        let snapshot = self.snapshot().await?;
        let listed = snapshot.lists.into_iter().find_map(|change| match change {
            Change::Listed { kind: listed, objects } if listed == kind => Some(objects),
            _ => None,
        });
        Ok(listed.unwrap_or_default().into_iter().find(|object| object.name() == name))
    }

    async fn set_unschedulable(
        &self,
        _: &NodeName,
        _: &Uid,
        _: bool,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        only_tried(mode);
        Ok(())
    }

    async fn set_excluded(
        &self,
        _: &NodeName,
        _: &Uid,
        _: bool,
        _: &RunId,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        only_tried(mode);
        Ok(())
    }

    async fn restart(
        &self,
        _: &WorkloadRef,
        _: &Uid,
        _: &RestartId,
        _: Timestamp,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        only_tried(mode);
        Ok(())
    }

    async fn change_settings(
        &self,
        _: &WorkloadRef,
        _: &Uid,
        _: &Settings,
        _: &Settings,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        only_tried(mode);
        Ok(())
    }

    async fn evict(&self, _: &ObjectName, _: &Uid, mode: WriteMode) -> Result<EvictionAnswer, PortError> {
        only_tried(mode);
        Ok(EvictionAnswer::Accepted)
    }

    async fn create_prewarm_pod(&self, _: &PrewarmPod, _: &RunId, mode: WriteMode) -> Result<(), PortError> {
        only_tried(mode);
        Ok(())
    }

    async fn try_pod(&self, _: &WorkloadRef, _: &Uid) -> Result<(), PortError> {
        Ok(())
    }

    async fn delete_prewarm_pod(&self, _: &ObjectName, _: &Uid, mode: WriteMode) -> Result<(), PortError> {
        only_tried(mode);
        Ok(())
    }

    async fn access(&self, rights: &[Right]) -> Vec<AccessAnswer> {
        rights.iter().map(|_| AccessAnswer::Allowed).collect()
    }

    async fn lease(&self, _: &ObjectName) -> Result<Option<Lease>, PortError> {
        Ok(None)
    }

    async fn create_lease(&self, _: &ObjectName, _: &LeaseRecord) -> Result<Lease, PortError> {
        no_write()
    }

    async fn update_lease(&self, _: &ObjectName, _: &Lease, _: &LeaseRecord) -> Result<Lease, PortError> {
        no_write()
    }
}

#[async_trait]
impl Azure for Shown {
    async fn observe(&self) -> Result<AzureView, PortError> {
        let look_again = Duration::from_secs(1);
        Ok(AzureView { cluster: self.0.cluster.clone(), pools: self.0.pools.clone(), look_again })
    }

    async fn operation(&self, _: &OperationRef) -> Result<OperationState, PortError> {
        no_write()
    }

    async fn shortages(&self, _: &BufferSpec) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }

    async fn upgrade_control_plane(&self, _: KubeVersion) -> Result<OperationRef, PortError> {
        no_write()
    }

    async fn create_pool(&self, _: &BufferSpec, _: &RunId) -> Result<OperationRef, PortError> {
        no_write()
    }

    async fn upgrade_pool(&self, _: &PoolName, _: KubeVersion) -> Result<OperationRef, PortError> {
        no_write()
    }

    async fn delete_pool(&self, _: &PoolName, _: &RunId) -> Result<OperationRef, PortError> {
        no_write()
    }
}

#[async_trait]
impl Rancher for Shown {
    async fn identity(&self) -> Result<ClusterIdentity, PortError> {
        Ok(self.0.identity.clone())
    }

    async fn facts(&self) -> Result<RancherFacts, PortError> {
        Ok(self.0.rancher.clone())
    }
}

#[async_trait]
impl Clock for Shown {
    fn now(&self) -> Timestamp {
        "2026-11-24T23:05:09Z".parse().unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::try_from(self.now().duration_since(Timestamp::UNIX_EPOCH)).unwrap()
    }

    async fn sleep_until(&self, _: Timestamp) {
        std::future::pending::<()>().await;
    }
}

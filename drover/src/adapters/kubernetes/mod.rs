//! The API server behind Rancher's proxy, as the core's `Kubernetes`.

mod access;
mod api;
mod decode;
mod failure;
mod leases;
mod metrics;
mod pods;
mod service;
mod surroundings;
mod watch;
mod wire;
mod workloads;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream, try_join};
use jiff::Timestamp;
use rancher_client::{KubernetesProxy, Pause};
use serde::Deserialize;
use upgrade_core::access::{AccessAnswer, Right};
use upgrade_core::inventory::{DeprecatedApi, Unseen};
use upgrade_core::lock::{Lease, LeaseRecord};
use upgrade_core::model::{KubeVersion, NodeName, ObjectName, RestartId, RunId, Settings, Uid, WorkloadRef};
use upgrade_core::ports::{
    CallOutcome, EvictionAnswer, KubeSnapshot, Kubernetes, METRICS, PortError, PortErrorKind, RemoteService,
    WriteMode,
};
use upgrade_core::prewarm::PrewarmPod;
use upgrade_core::view::{Change, Object, ResourceKind};

use api::Api;
use decode::Reaches;
use failure::Failure;

/// How many lists are read at the same time: the API server counts a large list as heavily as several requests.
const LISTS_IN_FLIGHT: usize = 3;

/// How long a cluster may take to answer for the first time. A tunnel that has just been lost is back within a minute.
const WARM_UP: Duration = Duration::from_secs(60);

/// The `Kubernetes` port over HTTP.
#[derive(Clone)]
pub(crate) struct HttpKubernetes {
    api: Api,
}

impl HttpKubernetes {
    /// Must be called within a tokio runtime: the kube client has a task of its own. Nothing is sent yet.
    fn new(proxy: KubernetesProxy) -> Self {
        Self { api: Api::new(proxy) }
    }

    /// The same, once the cluster answers: on a user's first request Rancher makes a service account in the cluster, which is
    /// slow and fails now and then.
    pub(crate) async fn connect(proxy: KubernetesProxy, pause: &dyn Pause) -> Result<Self, PortError> {
        let warm = proxy.warm_up(pause, WARM_UP).await;
        let warm = warm.map_err(|error| Failure::from(error).of_read("reading the API server's version"))?;
        tracing::debug!(version = warm.version.as_str(), attempts = warm.attempts, "the cluster answers");
        Ok(Self::new(proxy))
    }

    /// The uid of the namespace `kube-system`, which lives as long as the cluster.
    pub(crate) async fn kube_system(&self) -> Result<Uid, PortError> {
        #[derive(Deserialize)]
        struct Namespace {
            metadata: wire::Meta,
        }
        const WHAT: &str = "reading namespace kube-system";
        let namespace = self.api.read::<Namespace>("/api/v1/namespaces/kube-system").await;
        let namespace = namespace.map_err(|failure| failure.of_read(WHAT))?;
        decode::uid(&namespace.metadata).map_err(|error| failure::undecodable(WHAT, error))
    }

    /// The API server's version.
    pub(crate) async fn version(&self) -> Result<KubeVersion, PortError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        const WHAT: &str = "reading the API server's version";
        let version: Version = self.api.read("/version").await.map_err(|failure| failure.of_read(WHAT))?;
        version.git_version.parse().map_err(|error| {
            PortError::new(
                RemoteService::Kubernetes,
                PortErrorKind::Internal,
                CallOutcome::NothingDone,
                super::text::one_line(&format!("{WHAT}: {error}")),
            )
        })
    }

    /// The authority by which the cluster's own pods know the API server, PEM; empty if there is none in the ConfigMap.
    pub(crate) async fn root_ca(&self) -> Result<String, PortError> {
        #[derive(Deserialize)]
        struct ConfigMap {
            data: Option<BTreeMap<String, String>>,
        }
        let map =
            self.api.read::<ConfigMap>("/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt").await;
        let map = map.map_err(|failure| failure.of_read("reading kube-root-ca.crt"))?;
        Ok(map.data.and_then(|mut data| data.remove("ca.crt")).unwrap_or_default())
    }

    /// Every node.
    pub(crate) async fn nodes(&self) -> Result<Vec<upgrade_core::model::Node>, PortError> {
        let listing = self.api.list(ResourceKind::Node).await?;
        let node = |object| if let Object::Node(node) = object { Some(node) } else { None };
        Ok(listing.objects.into_iter().filter_map(node).collect())
    }

    /// The deprecated APIs in use, or why they are not known.
    async fn deprecated_apis(&self) -> (Vec<DeprecatedApi>, Option<Unseen>) {
        match metrics::deprecated_apis(&self.api).await {
            Ok(found) => (found, None),
            Err(failure) => {
                let why = failure.of_read("reading the API server's metrics").message;
                (Vec::new(), Some(Unseen { what: METRICS.to_owned(), why }))
            }
        }
    }

    /// All kinds; those that may not be read are named.
    async fn lists(&self) -> Result<(Vec<Change>, Vec<Unseen>), PortError> {
        let mut unseen = Vec::new();
        let reaches = match self.api.reaches().await {
            Err(error) if is_forbidden_kind(&error) => {
                unseen.push(Unseen { what: "persistentvolumes".to_owned(), why: error.message });
                Reaches::new()
            }
            reaches => reaches?,
        };
        let reaches = &Arc::new(reaches);
        let lists = stream::iter(ResourceKind::ALL).map(|kind| async move {
            match self.api.list_with(kind, reaches).await {
                Ok(listing) => Ok(Ok(Change::Listed { kind, objects: listing.objects })),
                Err(error) if is_forbidden_kind(&error) => {
                    Ok(Err(Unseen { what: kind.plural().to_owned(), why: error.message }))
                }
                Err(error) => Err(error),
            }
        });
        let lists: Vec<Result<Change, Unseen>> = lists.buffered(LISTS_IN_FLIGHT).try_collect().await?;
        let mut seen = Vec::new();
        for list in lists {
            match list {
                Ok(list) => seen.push(list),
                Err(kind) => unseen.push(kind),
            }
        }
        Ok((seen, unseen))
    }
}

/// The API server itself says that this kind may not be read. Rancher's own "no" is about the whole cluster.
fn is_forbidden_kind(error: &PortError) -> bool {
    error.service == RemoteService::Kubernetes && error.kind == PortErrorKind::Forbidden
}

#[async_trait]
impl Kubernetes for HttpKubernetes {
    async fn snapshot(&self) -> Result<KubeSnapshot, PortError> {
        let (version, kube_system) = try_join!(self.version(), self.kube_system())?;
        let metrics = async { Ok(self.deprecated_apis().await) };
        let ((lists, mut unseen), (deprecated_apis, blind)) = try_join!(self.lists(), metrics)?;
        let (surroundings, blinds) = surroundings::read(&self.api).await?;
        unseen.extend(blinds.into_iter().chain(blind));
        Ok(KubeSnapshot { version, kube_system, lists, deprecated_apis, surroundings, unseen })
    }

    fn watch(&self) -> BoxStream<'static, Result<Change, PortError>> {
        watch::Everything::follow(&self.api).boxed()
    }

    async fn read(&self, kind: ResourceKind, name: &str) -> Result<Option<Object>, PortError> {
        self.api.find(kind, name).await
    }

    async fn set_unschedulable(
        &self,
        node: &NodeName,
        uid: &Uid,
        unschedulable: bool,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        writes::set_unschedulable(&self.api, node, uid, unschedulable, mode).await
    }

    async fn set_excluded(
        &self,
        node: &NodeName,
        uid: &Uid,
        excluded: bool,
        run: &RunId,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        writes::set_excluded(&self.api, node, uid, excluded, run, mode).await
    }

    async fn restart(
        &self,
        workload: &WorkloadRef,
        uid: &Uid,
        id: &RestartId,
        at: Timestamp,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        writes::restart(&self.api, workload, uid, id, at, mode).await
    }

    async fn change_settings(
        &self,
        workload: &WorkloadRef,
        uid: &Uid,
        from: &Settings,
        to: &Settings,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        writes::change_settings(&self.api, workload, uid, from, to, mode).await
    }

    async fn evict(&self, pod: &ObjectName, uid: &Uid, mode: WriteMode) -> Result<EvictionAnswer, PortError> {
        writes::evict(&self.api, pod, uid, mode).await
    }

    async fn create_prewarm_pod(
        &self,
        pod: &PrewarmPod,
        run: &RunId,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        writes::create_prewarm_pod(&self.api, pod, run, mode).await
    }

    async fn try_pod(&self, workload: &WorkloadRef, uid: &Uid) -> Result<(), PortError> {
        writes::try_pod(&self.api, workload, uid).await
    }

    async fn delete_prewarm_pod(
        &self,
        pod: &ObjectName,
        uid: &Uid,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        writes::delete_prewarm_pod(&self.api, pod, uid, mode).await
    }

    async fn access(&self, rights: &[Right]) -> Vec<AccessAnswer> {
        access::review(&self.api, rights).await
    }

    async fn lease(&self, name: &ObjectName) -> Result<Option<Lease>, PortError> {
        leases::read(&self.api, name).await
    }

    async fn create_lease(&self, name: &ObjectName, record: &LeaseRecord) -> Result<Lease, PortError> {
        leases::create(&self.api, name, record).await
    }

    async fn update_lease(
        &self,
        name: &ObjectName,
        over: &Lease,
        record: &LeaseRecord,
    ) -> Result<Lease, PortError> {
        leases::update(&self.api, name, over, record).await
    }
}

#[cfg(test)]
mod tests;

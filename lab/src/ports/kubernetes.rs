//! The core's `Kubernetes` port onto a world.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use upgrade_core::model::{NodeName, ObjectName, RestartId, Uid, WorkloadRef};
use upgrade_core::ports::{
    CallOutcome, EvictionAnswer, KubeSnapshot, Kubernetes, PortError, PortErrorKind, RemoteService,
};
use upgrade_core::view::{Change, Object, ResourceKind, View};

use crate::error::ApiError;
use crate::lab::Lab;
use crate::world::World;

struct DirectKubernetes(Lab);

impl Lab {
    /// The cluster's API server, directly.
    pub fn kubernetes(&self) -> Arc<dyn Kubernetes> {
        Arc::new(DirectKubernetes(self.clone()))
    }
}

#[async_trait]
impl Kubernetes for DirectKubernetes {
    async fn snapshot(&self) -> Result<KubeSnapshot, PortError> {
        self.0.with(|world| {
            let found = world.store.find::<Namespace>("", "kube-system").map_err(port_error)?;
            let kube_system = Uid::new(found.metadata.uid.clone().unwrap_or_default());
            let kube_system = kube_system.map_err(|error| internal(error.to_string()))?;
            Ok(KubeSnapshot {
                version: world.version(),
                kube_system,
                lists: lists(world),
                unseen: Vec::new(),
            })
        })
    }

    fn watch(&self) -> BoxStream<'static, Result<Change, PortError>> {
        let watch = Watch { lab: self.0.clone(), next: None, ready: VecDeque::new() };
        stream::unfold(watch, |mut watch| async move {
            let change = watch.next().await;
            Some((Ok(change), watch))
        })
        .boxed()
    }

    async fn set_unschedulable(
        &self,
        node: &NodeName,
        uid: &Uid,
        unschedulable: bool,
    ) -> Result<(), PortError> {
        let done =
            self.0.with(|world| world.set_unschedulable(node.as_str(), Some(uid.as_str()), unschedulable));
        done.map(drop).map_err(port_error)
    }

    async fn restart(
        &self,
        workload: &WorkloadRef,
        uid: &Uid,
        id: &RestartId,
        at: Timestamp,
    ) -> Result<(), PortError> {
        self.0.with(|world| world.restart(workload, uid.as_str(), id, at)).map_err(port_error)
    }

    async fn evict(&self, pod: &ObjectName, uid: &Uid) -> Result<EvictionAnswer, PortError> {
        let options = DeleteOptions {
            preconditions: Some(Preconditions { uid: Some(uid.to_string()), resource_version: None }),
            ..DeleteOptions::default()
        };
        match self.0.with(|world| world.evict(pod.namespace(), pod.name(), Some(&options))) {
            Ok(()) => Ok(EvictionAnswer::Accepted),
            Err(error) => refused(error),
        }
    }
}

/// The Eviction API's answers that are no failures.
fn refused(error: ApiError) -> Result<EvictionAnswer, PortError> {
    let budget = error.causes.iter().find(|cause| cause.reason == "DisruptionBudget");
    match (error.code, budget) {
        (404 | 409, _) => Ok(EvictionAnswer::Gone),
        (429, Some(cause)) => Ok(EvictionAnswer::Refused {
            message: cause.message.clone(),
            retry_after_seconds: u64::try_from(error.retry_after_seconds).unwrap_or_default(),
        }),
        (500, _) if error.message.contains("more than one PodDisruptionBudget") => {
            Ok(EvictionAnswer::Misconfigured { message: error.message })
        }
        _ => Err(port_error(error)),
    }
}

fn port_error(error: ApiError) -> PortError {
    let (kind, outcome) = match error.code {
        401 => (PortErrorKind::Unauthorized, CallOutcome::NothingDone),
        403 => (PortErrorKind::Forbidden, CallOutcome::NothingDone),
        404 => (PortErrorKind::NotFound, CallOutcome::NothingDone),
        409 => (PortErrorKind::Conflict, CallOutcome::NothingDone),
        429 => (PortErrorKind::Throttled, CallOutcome::NothingDone),
        400..=499 => (PortErrorKind::Rejected, CallOutcome::NothingDone),
        _ => (PortErrorKind::Internal, CallOutcome::Unknown),
    };
    let wait = u64::try_from(error.retry_after_seconds).unwrap_or_default();
    PortError {
        retry_after: (wait > 0).then(|| Duration::from_secs(wait)),
        source: Some(Arc::new(error.clone())),
        ..PortError::new(RemoteService::Kubernetes, kind, outcome, error.message)
    }
}

fn internal(message: String) -> PortError {
    PortError::new(RemoteService::Kubernetes, PortErrorKind::Internal, CallOutcome::NothingDone, message)
}

/// Everything there is, kind by kind.
pub(crate) fn lists(world: &World) -> Vec<Change> {
    let view = &world.kube.view;
    ResourceKind::ALL.map(|kind| Change::Listed { kind, objects: objects(view, kind) }).into()
}

fn objects(view: &View, kind: ResourceKind) -> Vec<Object> {
    match kind {
        ResourceKind::Node => view.nodes().cloned().map(Object::Node).collect(),
        ResourceKind::Pod => view.pods().cloned().map(Object::Pod).collect(),
        ResourceKind::PodDisruptionBudget => view.budgets().cloned().map(Object::Budget).collect(),
        ResourceKind::Service => view.services().cloned().map(Object::Service).collect(),
        ResourceKind::EndpointSlice => view.slices().cloned().map(Object::Slice).collect(),
        ResourceKind::PersistentVolumeClaim => view.claims().cloned().map(Object::Claim).collect(),
        ResourceKind::Deployment
        | ResourceKind::StatefulSet
        | ResourceKind::DaemonSet
        | ResourceKind::ReplicaSet
        | ResourceKind::Job => {
            let all = view.workloads().cloned().map(Object::Workload);
            all.filter(|workload| workload.kind() == Some(kind)).collect()
        }
    }
}

/// A watch of everything: where it stands, and what it has not told yet.
struct Watch {
    lab: Lab,
    next: Option<u64>,
    ready: VecDeque<Change>,
}

impl Watch {
    async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return change;
            }
            let seen = self.read();
            if self.ready.is_empty() {
                self.lab.changed_since(seen).await;
            }
        }
    }

    /// Reads what is new, or everything anew; returns the world's revision.
    fn read(&mut self) -> u64 {
        let (next, ready) = (self.next, &mut self.ready);
        let (end, revision) = self.lab.with(|world| {
            match next.and_then(|next| world.kube.changes.since(next)) {
                Some(changes) => ready.extend(changes.cloned()),
                None => ready.extend(lists(world)),
            }
            (world.kube.changes.end(), world.revision())
        });
        self.next = Some(end);
        revision
    }
}

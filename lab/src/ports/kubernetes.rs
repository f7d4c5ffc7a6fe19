//! The core's `Kubernetes` port onto a world.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use serde_json::Value;
use upgrade_core::access::{AccessAnswer, Right, Verb, group};
use upgrade_core::inventory::Unseen;
use upgrade_core::lock::{Lease, LeaseRecord};
use upgrade_core::model::{
    Labels, NodeName, ObjectName, RestartId, RunId, Settings, Uid, WorkloadKind, WorkloadRef,
};
use upgrade_core::ports::{
    CallOutcome, EvictionAnswer, KubeSnapshot, Kubernetes, METRICS, PortError, PortErrorKind, RemoteService,
    WriteMode,
};
use upgrade_core::prewarm::PrewarmPod;
use upgrade_core::trial::pod_to_try;
use upgrade_core::view::{Change, Object, ResourceKind, View};

use super::lease;
use super::surroundings;
use super::weather;
use crate::error::ApiError;
use crate::faults::{Call, Service, Sky, Symptom, WatchMarks, WriteKind};
use crate::kube::{api, settings};
use crate::lab::Lab;
use crate::store::{Kind, Store};
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
        self.0.through(READ, |world| {
            world.authorize(&Right::new(Verb::Get, "", "namespaces"), "kube-system").map_err(port_error)?;
            let found = world.store.find::<Namespace>("", "kube-system").map_err(port_error)?;
            let kube_system = Uid::new(found.metadata.uid.clone().unwrap_or_default());
            let kube_system = kube_system.map_err(|error| internal(error.to_string()))?;
            let (lists, mut unseen) = readable(world);
            let surroundings = surroundings::read(world, &mut unseen);
            let mut deprecated_apis = Vec::new();
            match world.authorize(&Right::new(Verb::Get, "", METRICS), "") {
                Ok(()) => deprecated_apis.clone_from(&world.deprecated_apis),
                Err(error) => unseen.push(Unseen { what: METRICS.to_owned(), why: error.message }),
            }
            deprecated_apis.sort();
            let version = world.version();
            Ok(KubeSnapshot { version, kube_system, lists, deprecated_apis, surroundings, unseen })
        })
    }

    fn watch(&self) -> BoxStream<'static, Result<Change, PortError>> {
        stream::unfold(Watch::new(self.0.clone()), |mut watch| async move {
            let item = watch.next().await;
            Some((item, watch))
        })
        .boxed()
    }

    async fn read(&self, kind: ResourceKind, name: &str) -> Result<Option<Object>, PortError> {
        self.0.through(READ, |world| {
            world.authorize(&Right::new(Verb::List, group(kind), kind.plural()), "").map_err(port_error)?;
            Ok(object(&world.kube.view, kind, name))
        })
    }

    async fn set_unschedulable(
        &self,
        node: &NodeName,
        uid: &Uid,
        unschedulable: bool,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        let (name, uid) = (node.as_str(), uid.as_str());
        let right = Right::new(Verb::Patch, group(ResourceKind::Node), "nodes");
        self.patched(call(WriteKind::Cordon, mode), &right, Kind::Node, name, mode, |store| {
            api::set_unschedulable(store, name, Some(uid), unschedulable).map(drop)
        })
    }

    async fn set_excluded(
        &self,
        node: &NodeName,
        uid: &Uid,
        excluded: bool,
        run: &RunId,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        let (name, uid) = (node.as_str(), uid.as_str());
        let right = Right::new(Verb::Patch, group(ResourceKind::Node), "nodes");
        self.patched(call(WriteKind::Cordon, mode), &right, Kind::Node, name, mode, |store| {
            api::set_excluded(store, name, uid, excluded, run).map(drop)
        })
    }

    async fn restart(
        &self,
        workload: &WorkloadRef,
        uid: &Uid,
        id: &RestartId,
        at: Timestamp,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        let name = &workload.name;
        let kind = match workload.kind {
            WorkloadKind::StatefulSet => Kind::StatefulSet,
            _ => Kind::Deployment,
        };
        let plural = kind.names().plural;
        let right = Right::new(Verb::Patch, group(ResourceKind::Deployment), plural).within(name.namespace());
        self.patched(call(WriteKind::Restart, mode), &right, kind, name.name(), mode, |store| {
            api::restart(store, workload, uid.as_str(), id, at)
        })
    }

    async fn change_settings(
        &self,
        workload: &WorkloadRef,
        uid: &Uid,
        from: &Settings,
        to: &Settings,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        let name = &workload.name;
        let kind = match workload.kind {
            WorkloadKind::ReplicaSet => Kind::ReplicaSet,
            _ => Kind::Deployment,
        };
        let plural = kind.names().plural;
        let right = Right::new(Verb::Patch, group(ResourceKind::Deployment), plural).within(name.namespace());
        self.patched(call(WriteKind::Loan, mode), &right, kind, name.name(), mode, |store| {
            settings::change_settings(store, workload, uid.as_str(), from, to)
        })
    }

    async fn evict(&self, pod: &ObjectName, uid: &Uid, mode: WriteMode) -> Result<EvictionAnswer, PortError> {
        let right = Right::new(Verb::Create, "", "pods/eviction").within(pod.namespace());
        let options = fenced(uid, mode);
        self.0.through(call(WriteKind::Evict, mode), |world| {
            world.authorize(&right, pod.name()).map_err(port_error)?;
            // An Eviction has no labels.
            world.admit(&right, &Labels::new(), is_trial(mode)).map_err(port_error)?;
            match world.evict(pod.namespace(), pod.name(), Some(&options)) {
                Ok(()) => Ok(EvictionAnswer::Accepted),
                Err(error) => refused(error),
            }
        })
    }

    async fn create_prewarm_pod(
        &self,
        pod: &PrewarmPod,
        run: &RunId,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        let right = Right::new(Verb::Create, "", "pods").within(pod.name.namespace());
        let mut made: Pod = serde_json::from_value(pod.manifest(run)).expect("the manifest of a pod is one");
        self.0.through(call(WriteKind::Prewarm, mode), |world| {
            world.authorize(&right, pod.name.name()).map_err(port_error)?;
            let labels = made.metadata.labels.clone().unwrap_or_default();
            world.admit(&right, &labels, is_trial(mode)).map_err(port_error)?;
            world.admit_pod(&mut made).map_err(port_error)?;
            made.status.get_or_insert_default().phase = Some("Pending".to_owned());
            api::on_store(world, is_trial(mode), |store| store.create(made)).map(drop).map_err(port_error)
        })
    }

    async fn try_pod(&self, workload: &WorkloadRef, uid: &Uid) -> Result<(), PortError> {
        let Some(kind) = ResourceKind::of_workload(&workload.kind) else { return Ok(()) };
        let stored = Kind::find(group(kind), "v1", kind.plural()).expect("every kind that is read is stored");
        let (namespace, name) = (workload.name.namespace(), workload.name.name());
        let list = Right::new(Verb::List, group(kind), kind.plural()).within(namespace);
        let right = Right::new(Verb::Create, "", "pods").within(namespace);
        self.0.through(call(WriteKind::Prewarm, WriteMode::DryRun), |world| {
            world.authorize(&list, "").map_err(port_error)?;
            let found = api::written(&world.store, stored, namespace, name);
            let ours =
                |found: &Value| found.pointer("/metadata/uid").and_then(Value::as_str) == Some(uid.as_str());
            let found = found
                .filter(ours)
                .ok_or_else(|| port_error(ApiError::wrong_uid_of(stored.names(), name, uid.as_str(), "")))?;
            let mut made: Pod = serde_json::from_value(pod_to_try(&found)).expect("a template makes a pod");
            world.authorize(&right, name).map_err(port_error)?;
            let labels = made.metadata.labels.clone().unwrap_or_default();
            world.admit(&right, &labels, true).map_err(port_error)?;
            world.admit_pod(&mut made).map_err(port_error)
        })
    }

    async fn delete_prewarm_pod(
        &self,
        pod: &ObjectName,
        uid: &Uid,
        mode: WriteMode,
    ) -> Result<(), PortError> {
        let right = Right::new(Verb::Delete, "", "pods").within(pod.namespace());
        let options = fenced(uid, mode);
        self.0.through(call(WriteKind::Prewarm, mode), |world| {
            world.authorize(&right, pod.name()).map_err(port_error)?;
            let labels = api::labels_of(&world.store, Kind::Pod, pod.namespace(), pod.name());
            world.admit(&right, &labels, is_trial(mode)).map_err(port_error)?;
            match world.remove::<Pod>(pod.namespace(), pod.name(), Some(&options)) {
                Err(error) if !matches!(error.code, 404 | 409) => Err(port_error(error)),
                Ok(_) | Err(_) => Ok(()),
            }
        })
    }

    async fn access(&self, rights: &[Right]) -> Vec<AccessAnswer> {
        let ask = |right| {
            let answer = self.0.through(READ, |world| Ok(world.review(right)));
            answer.unwrap_or_else(|error| AccessAnswer::Unanswered { why: error.message })
        };
        rights.iter().map(ask).collect()
    }

    async fn lease(&self, name: &ObjectName) -> Result<Option<Lease>, PortError> {
        self.leases(READ, Verb::Get, name, |world| Ok(lease::get(world, name)))
    }

    async fn create_lease(&self, name: &ObjectName, record: &LeaseRecord) -> Result<Lease, PortError> {
        self.leases(LEASE, Verb::Create, name, |world| lease::create(world, name, record))
    }

    async fn update_lease(
        &self,
        name: &ObjectName,
        over: &Lease,
        record: &LeaseRecord,
    ) -> Result<Lease, PortError> {
        self.leases(LEASE, Verb::Update, name, |world| lease::update(world, name, over, record))
    }
}

impl DirectKubernetes {
    /// A patch as the adapter does it: the object is read, then written.
    fn patched(
        &self,
        call: Call,
        right: &Right,
        kind: Kind,
        name: &str,
        mode: WriteMode,
        write: impl FnOnce(&mut Store) -> Result<(), ApiError>,
    ) -> Result<(), PortError> {
        self.0.through(call, |world| {
            world.authorize(&Right { verb: Verb::Get, ..right.clone() }, name).map_err(port_error)?;
            world.authorize(right, name).map_err(port_error)?;
            let namespace = right.namespace.as_deref().unwrap_or_default();
            let labels = api::labels_of(&world.store, kind, namespace, name);
            world.admit(right, &labels, is_trial(mode)).map_err(port_error)?;
            api::on_store(world, is_trial(mode), write).map_err(port_error)
        })
    }

    fn leases<T>(
        &self,
        call: Call,
        verb: Verb,
        name: &ObjectName,
        f: impl FnOnce(&mut World) -> Result<T, ApiError>,
    ) -> Result<T, PortError> {
        let right = Right::new(verb, "coordination.k8s.io", "leases").within(name.namespace());
        self.0.through(call, |world| {
            world.authorize(&right, name.name()).map_err(port_error)?;
            f(world).map_err(port_error)
        })
    }
}

const READ: Call = Call::Other(Service::Kubernetes);
const LEASE: Call = Call::Write(WriteKind::Lease);

fn call(write: WriteKind, mode: WriteMode) -> Call {
    if is_trial(mode) { READ } else { Call::Write(write) }
}

/// The options of a deletion of the object with this uid alone.
fn fenced(uid: &Uid, mode: WriteMode) -> DeleteOptions {
    DeleteOptions {
        dry_run: is_trial(mode).then(|| vec!["All".to_owned()]),
        preconditions: Some(Preconditions { uid: Some(uid.to_string()), resource_version: None }),
        ..DeleteOptions::default()
    }
}

fn is_trial(mode: WriteMode) -> bool {
    match mode {
        WriteMode::Commit => false,
        WriteMode::DryRun => true,
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

/// What the user may read, kind by kind, and what he may not.
fn readable(world: &mut World) -> (Vec<Change>, Vec<Unseen>) {
    let mut unseen = Vec::new();
    let volumes = may_list(world, &mut unseen, "", "persistentvolumes");
    let mut lists = lists(world);
    lists.retain_mut(|change| {
        let Change::Listed { kind, objects } = change else { return true };
        for object in objects {
            // What a claim's volume is, and where it can be used, is written on the volume.
            if let Object::Claim(claim) = object
                && !volumes
            {
                (claim.disk, claim.zones, claim.hosts) = Default::default();
            }
        }
        may_list(world, &mut unseen, group(*kind), kind.plural())
    });
    (lists, unseen)
}

/// May the user list this kind? If not, it is named.
pub(super) fn may_list(world: &mut World, unseen: &mut Vec<Unseen>, group: &str, plural: &str) -> bool {
    let denied = world.authorize(&Right::new(Verb::List, group, plural), "").err();
    let is_allowed = denied.is_none();
    unseen.extend(denied.map(|error| Unseen { what: plural.to_owned(), why: error.message }));
    is_allowed
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
        ResourceKind::HorizontalPodAutoscaler => {
            view.autoscalers().cloned().map(Object::Autoscaler).collect()
        }
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

fn object(view: &View, kind: ResourceKind, name: &str) -> Option<Object> {
    let pod = || view.pod(&name.parse().ok()?).cloned().map(Object::Pod);
    match kind {
        ResourceKind::Node => view.node(&NodeName::new(name).ok()?).cloned().map(Object::Node),
        ResourceKind::Pod => pod(),
        _ => objects(view, kind).into_iter().find(|object| object.name() == name),
    }
}

/// The pause after contact was lost, and its bound; it doubles in between.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A watch of everything: where it stands, and what it has not told yet.
struct Watch {
    lab: Lab,
    next: Option<u64>,
    ready: VecDeque<Change>,
    /// The ends of watches that it has seen; none while it is not open.
    open: Option<WatchMarks>,
    /// How long it waits when contact is lost again.
    wait: Duration,
    /// When it opens again.
    opens: Option<Timestamp>,
}

impl Watch {
    fn new(lab: Lab) -> Self {
        Self { lab, next: None, ready: VecDeque::new(), open: None, wait: FIRST_WAIT, opens: None }
    }

    async fn next(&mut self) -> Result<Change, PortError> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            if let Some(until) = self.opens.take() {
                self.lab.sleep_until(until).await;
            }
            match self.read() {
                Ok(seen) if self.ready.is_empty() => {
                    self.lab.changed_since(seen).await;
                }
                Ok(_) => self.wait = FIRST_WAIT,
                Err(symptom) => return Err(self.lose_contact(symptom)),
            }
        }
    }

    fn lose_contact(&mut self, symptom: Symptom) -> PortError {
        let error = weather::port_error(symptom, READ);
        let pause = error.retry_after.unwrap_or(self.wait).clamp(FIRST_WAIT, LONGEST_WAIT);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.open = None;
        self.opens = Some(self.lab.now() + pause);
        error
    }

    /// Reads what is new, or everything anew; returns the world's revision.
    fn read(&mut self) -> Result<u64, Symptom> {
        let (open, next, ready) = (self.open, self.next, &mut self.ready);
        let (marks, end, revision) = self.lab.with(|world| {
            let next = if can_go_on(world, open)? { next } else { None };
            match next.and_then(|next| world.kube.changes.since(next)) {
                Some(changes) => ready.extend(changes.cloned()),
                None => ready.extend(lists(world)),
            }
            Ok((world.weather.watch_marks(), world.kube.changes.end(), world.revision()))
        })?;
        self.open = Some(marks);
        self.next = Some(end);
        Ok(revision)
    }
}

/// Can the watch go on from where it stands? One that is not open, or not any more, opens from there. That it broke is nothing
/// to tell: every watch ends after a while, and the next one goes on.
fn can_go_on(world: &mut World, open: Option<WatchMarks>) -> Result<bool, Symptom> {
    let marks = world.weather.watch_marks();
    match open {
        Some(seen) if seen.cuts == marks.cuts => Ok(seen.expiries == marks.expiries),
        None | Some(_) => match world.meet(READ) {
            Sky::Clear => Ok(true),
            Sky::Before(symptom) | Sky::After(symptom) => Err(symptom),
        },
    }
}

//! Shows writes to whoever acts on them.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, ResourceQuota, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::{CSINode, VolumeAttachment};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use upgrade_core::model::{Labels, ObjectName, WorkloadKind, ZONE_LABEL};
use upgrade_core::view::{Change, Object};

use super::kubelet::Step;
use super::{
    Task, Work, aggregation, disruption, garbage, job, key_of, kubelet, pods, quota, scheduler, uid_of,
    volumes,
};
use crate::ports::convert::Slim;
use crate::store::{ChangeType, Key, Kind, KindVisitor, Logged, Scope, Store, Stored, controller, with_kind};
use crate::timing::Timing;
use crate::world::World;

/// Shows the writes since the last time to the controllers, which put what they have to do on the queue. Writes nothing.
pub(crate) fn dispatch(world: &mut World) {
    let since = world.kube.dispatched;
    if world.store.revision() == since {
        return;
    }
    world.kube.dispatched = world.store.revision();
    let written = world.store.take_written();
    for logged in take_in::<Node>(world, since) {
        on_node(world, &logged);
    }
    for logged in take_in::<PersistentVolumeClaim>(world, since) {
        garbage::on_leaf_change(world, &logged);
        if logged.change != ChangeType::Deleted {
            volumes::on_claim(world, &logged.object);
            scheduler::something_changed(world);
        }
    }
    for logged in changes::<VolumeAttachment>(world, since) {
        volumes::on_attachment(world, &logged);
        scheduler::something_changed(world);
    }
    if !changes::<CSINode>(world, since).is_empty() {
        scheduler::something_changed(world);
    }
    for logged in take_in::<Deployment>(world, since) {
        world.enqueue(Work::Deployment(key_of(&*logged.object)));
        garbage::on_change(world, &logged);
    }
    for logged in take_in::<ReplicaSet>(world, since) {
        world.enqueue(Work::ReplicaSet(key_of(&*logged.object)));
        enqueue_owner(world, &logged);
        garbage::on_change(world, &logged);
    }
    for logged in take_in::<StatefulSet>(world, since) {
        world.enqueue(Work::StatefulSet(key_of(&*logged.object)));
        garbage::on_change(world, &logged);
    }
    for logged in take_in::<DaemonSet>(world, since) {
        world.enqueue(Work::DaemonSet(key_of(&*logged.object)));
        garbage::on_change(world, &logged);
    }
    for logged in take_in::<Job>(world, since) {
        world.enqueue(Work::Job(key_of(&*logged.object)));
        garbage::on_change(world, &logged);
    }
    for logged in changes::<CronJob>(world, since) {
        // What its controller itself writes is no news to it.
        if logged.before.as_ref().is_none_or(|before| before.spec != logged.object.spec) {
            world.enqueue(Work::CronJob(key_of(&*logged.object)));
        }
        garbage::on_change(world, &logged);
    }
    for logged in take_in::<HorizontalPodAutoscaler>(world, since) {
        if logged.change == ChangeType::Added {
            world.enqueue(Work::Autoscaler(key_of(&*logged.object)));
        }
    }
    for logged in changes::<ResourceQuota>(world, since) {
        world.enqueue(Work::Quota(key_of(&*logged.object)));
    }
    for logged in changes::<APIService>(world, since) {
        // What its controller itself writes is no news to it.
        if logged.before.as_ref().is_none_or(|before| before.spec != logged.object.spec) {
            world.enqueue(Work::AggregatedApi(key_of(&*logged.object).name));
        }
    }
    for logged in take_in::<Service>(world, since) {
        world.enqueue(Work::Endpoints(key_of(&*logged.object)));
        garbage::on_change(world, &logged);
    }
    for logged in take_in::<PodDisruptionBudget>(world, since) {
        world.enqueue(Work::Budget(key_of(&*logged.object)));
        garbage::on_leaf_change(world, &logged);
    }
    for logged in take_in::<EndpointSlice>(world, since) {
        garbage::on_leaf_change(world, &logged);
        // Somebody else than the controller may have touched it.
        if let Some(service) =
            logged.object.metadata.labels.as_ref().and_then(|l| l.get("kubernetes.io/service-name"))
        {
            let key = Key::new(key_of(&*logged.object).namespace, service.clone());
            aggregation::on_endpoints(world, &key.namespace, &key.name);
            world.enqueue(Work::Endpoints(key));
        }
    }
    for logged in take_in::<Pod>(world, since) {
        on_pod(world, &logged);
        garbage::on_leaf_change(world, &logged);
    }
    for kind in PLAIN.iter().filter(|kind| written.has(**kind)) {
        with_kind(*kind, Plain { world, since });
    }
    if world.store.forgets() {
        for kind in written.each() {
            with_kind(kind, HasSeen(&mut world.store));
        }
    }
}

struct HasSeen<'a>(&'a mut Store);

impl KindVisitor for HasSeen<'_> {
    type Output = ();

    fn visit<T: Stored>(self) {
        self.0.has_seen::<T>();
    }
}

/// Kinds of which only a deletion means something, to those who own or are owned.
const PLAIN: &[Kind] = &[
    Kind::Node,
    Kind::PersistentVolume,
    Kind::Namespace,
    Kind::Lease,
    Kind::ConfigMap,
    Kind::ServiceAccount,
    Kind::CronJob,
    Kind::HorizontalPodAutoscaler,
    Kind::PriorityClass,
    Kind::ResourceQuota,
    Kind::StorageClass,
    Kind::CSINode,
    Kind::VolumeAttachment,
    Kind::ValidatingWebhookConfiguration,
    Kind::MutatingWebhookConfiguration,
    Kind::Secret,
    Kind::Event,
    Kind::LimitRange,
    Kind::ControllerRevision,
    Kind::Ingress,
    Kind::IngressClass,
    Kind::NetworkPolicy,
    Kind::Role,
    Kind::RoleBinding,
    Kind::ClusterRole,
    Kind::ClusterRoleBinding,
    Kind::CSIDriver,
    Kind::CustomResourceDefinition,
];

struct Plain<'a> {
    world: &'a mut World,
    since: u64,
}

impl KindVisitor for Plain<'_> {
    type Output = ();

    fn visit<T: Stored>(self) {
        if T::table(&self.world.store).last_change() <= self.since {
            return;
        }
        // What is forgotten already was written by a scenario, at once; nobody deleted it.
        let Ok(changes) = self.world.store.changes_since::<T>(self.since) else { return };
        let gone: Vec<Logged<T>> =
            changes.filter(|logged| logged.change == ChangeType::Deleted).cloned().collect();
        for logged in gone {
            garbage::on_leaf_change(self.world, &logged);
        }
    }
}

/// What has been written so far is shown to nobody.
#[cfg(feature = "http")]
pub(crate) fn nobody_looks(world: &mut World) {
    world.kube.dispatched = world.store.revision();
}

/// The changes of a kind since a revision, taken into the slim view and its log on the way.
fn take_in<T: Slim>(world: &mut World, since: u64) -> Vec<Logged<T>> {
    if T::table(&world.store).last_change() <= since {
        return Vec::new();
    }
    let Ok(changes) = world.store.changes_since::<T>(since) else {
        return list_anew(world);
    };
    let changes: Vec<Logged<T>> = changes.cloned().collect();
    for logged in &changes {
        let change = match logged.change {
            ChangeType::Modified if logged.scope != Scope::Whole => {
                let renewed = logged.object.renew(&world.kube.view);
                renewed.or_else(|| logged.object.slim(&world.store)).map(Change::Applied)
            }
            ChangeType::Added | ChangeType::Modified => logged.object.slim(&world.store).map(Change::Applied),
            ChangeType::Deleted => {
                Some(Change::Deleted { kind: T::RESOURCE, name: name_of(&*logged.object) })
            }
        };
        if let Some(change) = change {
            world.kube.view.apply(change.clone());
            world.kube.changes.push(change);
        }
    }
    changes
}

/// The changes of a kind that the core does not read.
fn changes<T: Stored>(world: &World, since: u64) -> Vec<Logged<T>> {
    if T::table(&world.store).last_change() <= since {
        return Vec::new();
    }
    match world.store.changes_since::<T>(since) {
        Ok(changes) => changes.cloned().collect(),
        Err(_) => added(&world.store),
    }
}

/// Everything of a kind, as if it had just come.
fn added<T: Stored>(store: &Store) -> Vec<Logged<T>> {
    let (revision, change) = (store.revision(), ChangeType::Added);
    store
        .list::<T>()
        .map(|object| Logged {
            revision,
            change,
            object: Arc::clone(object),
            before: None,
            scope: Scope::Whole,
        })
        .collect()
}

/// More has happened at once than the store remembers.
fn list_anew<T: Slim>(world: &mut World) -> Vec<Logged<T>> {
    let slim: Vec<Object> = world.store.list::<T>().filter_map(|object| object.slim(&world.store)).collect();
    let change = Change::Listed { kind: T::RESOURCE, objects: slim };
    world.kube.view.apply(change.clone());
    world.kube.changes.push(change);
    world.kube.scheduler.reads_anew(&world.store);
    added(&world.store)
}

fn name_of<T: Stored>(object: &T) -> String {
    let Key { namespace, name } = key_of(object);
    if namespace.is_empty() { name } else { format!("{namespace}/{name}") }
}

/// Wakes the controller of an object.
fn enqueue_owner<T: Stored>(world: &mut World, logged: &Logged<T>) {
    let namespace = key_of(&*logged.object).namespace;
    if let Some(work) = controller(logged.object.metadata()).and_then(|owner| work_of(&namespace, owner)) {
        world.enqueue(work);
    }
}

fn work_of(namespace: &str, owner: &OwnerReference) -> Option<Work> {
    let key = Key::new(namespace, owner.name.as_str());
    Some(match WorkloadKind::of(&owner.api_version, &owner.kind) {
        WorkloadKind::Deployment => Work::Deployment(key),
        WorkloadKind::StatefulSet => Work::StatefulSet(key),
        WorkloadKind::DaemonSet => Work::DaemonSet(key),
        WorkloadKind::ReplicaSet => Work::ReplicaSet(key),
        WorkloadKind::Job => Work::Job(key),
        WorkloadKind::Other(_) => return None,
    })
}

fn on_node(world: &mut World, logged: &Logged<Node>) {
    let name = key_of(&*logged.object).name;
    if logged.change == ChangeType::Deleted {
        world.kube.scheduler.lost_node(&name);
        world.kube.zones.remove(&name);
    } else {
        world.kube.scheduler.saw_node(&logged.object, &world.store);
        match logged.object.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE_LABEL)) {
            Some(zone) => drop(world.kube.zones.insert(name, zone.clone())),
            None => drop(world.kube.zones.remove(&name)),
        }
    }
    let spec = |node: &Arc<Node>| node.spec.clone();
    let labels = |node: &Arc<Node>| node.metadata.labels.clone();
    let lasting = logged.change == ChangeType::Modified;
    let same_spec = lasting && logged.before.as_ref().map(spec) == Some(spec(&logged.object));
    let same_labels = lasting && logged.before.as_ref().map(labels) == Some(labels(&logged.object));
    if !same_spec {
        world.enqueue(Work::Node(key_of(&*logged.object).name));
        world.enqueue(Work::Taints(key_of(&*logged.object).name));
    }
    if same_spec && same_labels {
        // Only the kubelet's report: images.
        return;
    }
    let daemon_sets: Vec<Key> = world.store.list::<DaemonSet>().map(|set| key_of(&**set)).collect();
    for key in daemon_sets {
        world.enqueue(Work::DaemonSet(key));
    }
    scheduler::something_changed(world);
}

/// What a pod was before it changed, as far as somebody looks at that.
#[derive(Clone, Copy, Default)]
struct Past {
    placed: bool,
    finished: bool,
    terminating: bool,
    /// It was to be gone at the same time.
    same_deadline: bool,
    /// It was told that it would be disrupted.
    announced: bool,
    /// What the scheduler reads of it was the same.
    same_wants: bool,
}

impl Past {
    fn of(logged: &Logged<Pod>) -> Self {
        let pod = &*logged.object;
        let seen = |of: &Pod| Self {
            placed: pods::node_of(of).is_some(),
            finished: pods::is_finished(of),
            terminating: pods::is_terminating(of),
            same_deadline: of.metadata.deletion_timestamp == pod.metadata.deletion_timestamp,
            announced: disruption::is_announced(of),
            same_wants: true,
        };
        match logged.scope {
            Scope::Whole => match logged.before.as_deref() {
                Some(before) => Self { same_wants: asks_for_the_same(before, pod), ..seen(before) },
                None => Self::default(),
            },
            Scope::Report => seen(pod),
            Scope::Placed => Self { placed: false, same_wants: false, ..seen(pod) },
            Scope::Going => Self { terminating: false, same_deadline: false, ..seen(pod) },
        }
    }
}

fn on_pod(world: &mut World, logged: &Logged<Pod>) {
    let (pod, past) = (&logged.object, Past::of(logged));
    let key = key_of(&**pod);
    enqueue_owner(world, logged);
    // Only a write of the whole may have changed the labels.
    enqueue_selected(world, &key, pod, logged.before.as_deref().filter(|_| logged.scope == Scope::Whole));
    volumes::on_pod(world, logged.change, pod, past.placed && !past.finished);
    quota::on_pod(world, &key.namespace);
    if logged.change == ChangeType::Deleted {
        world.kube.scheduler.lost_pod(&key);
        scheduler::forget(world, &key);
        scheduler::something_changed(world);
        on_pod_gone(world, pod);
        if !past.terminating {
            job::lost(world, pod);
        }
        return;
    }
    world.kube.scheduler.saw_pod(&key, pod, past.same_wants);
    if !past.announced && disruption::is_announced(pod) {
        disruption::look_again(world, &key);
    }
    let terminating = pods::is_terminating(pod);
    if terminating && !past.terminating {
        job::lost(world, pod);
    }
    if pods::node_of(pod).is_none() {
        if !terminating && !pods::is_finished(pod) {
            scheduler::wants_a_node(world, &key);
        }
        return;
    }
    if pods::is_finished(pod) && !past.finished {
        scheduler::something_changed(world);
    }
    if !past.placed && !pods::is_finished(pod) {
        scheduler::forget(world, &key);
        let after = world.draw(Timing::Notice);
        world.soon(after, Task::Pod(Step::Arrives, key.clone(), uid_of(&**pod).to_owned()));
    }
    if terminating && !past.same_deadline {
        kubelet::told_to_stop(world, pod);
    }
}

/// Does the scheduler see the same pod, but for its state?
fn asks_for_the_same(before: &Pod, pod: &Pod) -> bool {
    let (old, new) = (&before.metadata, &pod.metadata);
    old.labels == new.labels && old.owner_references == new.owner_references && before.spec == pod.spec
}

/// The Deployment of a Recreate rollout waits for pods, not for ReplicaSets.
fn on_pod_gone(world: &mut World, pod: &Pod) {
    let Some(owner) = controller(&pod.metadata) else { return };
    let namespace = key_of(pod).namespace;
    let set = world.store.get::<ReplicaSet>(&namespace, &owner.name);
    let above = set.and_then(|set| controller(&set.metadata)).and_then(|above| work_of(&namespace, above));
    if let Some(work) = above {
        world.enqueue(work);
    }
}

/// The budgets and Services that select the pod, or did.
fn enqueue_selected(world: &mut World, key: &Key, pod: &Pod, before: Option<&Pod>) {
    let no_labels = Labels::new();
    // The same labels select the same.
    let before = before.filter(|before| before.metadata.labels != pod.metadata.labels);
    let view = &world.kube.view;
    let key_from = |name: &ObjectName| Key::new(name.namespace(), name.name());
    let mut work = Vec::new();
    for pod in [Some(pod), before].into_iter().flatten() {
        let labels = pod.metadata.labels.as_ref().unwrap_or(&no_labels);
        let budgets = view.budgets_for(&key.namespace, labels);
        work.extend(budgets.map(|budget| Work::Budget(key_from(&budget.name))));
        let services = view.services_for(&key.namespace, labels);
        work.extend(services.map(|service| Work::Endpoints(key_from(&service.name))));
    }
    for work in work {
        world.enqueue(work);
    }
}

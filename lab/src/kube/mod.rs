//! Kubernetes: what the control plane and the kubelets do by themselves.
//!
//! Controllers are event-driven. A write is shown to them by [`dispatch`], which puts the keys of what is concerned on the
//! queue, each once; the work is done a small, seeded delay later, on what the store then says.

mod access;
mod admission;
mod aggregation;
pub(crate) mod api;
mod autoscaler;
mod cronjob;
mod daemonset;
mod deployment;
mod dispatch;
mod disruption;
mod endpoints;
mod events;
mod eviction;
mod garbage;
mod job;
mod kubelet;
mod lease;
mod machines;
mod node;
mod pods;
mod proportion;
mod quota;
#[cfg(feature = "http")]
mod registry;
pub(crate) mod removal;
mod replicaset;
mod revisions;
mod scheduler;
pub(crate) mod settings;
mod statefulset;
mod taints;
#[cfg(test)]
pub(crate) mod tests;
mod volumes;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Taint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use upgrade_core::model::{KubeVersion, NodeName, PoolName};
use upgrade_core::view::{Change, View};

use crate::store::{Key, Kind, Stored};
use crate::timing::Timing;
use crate::world::{Wake, World};
use machines::Machine;

pub use access::{Access, Refusal};
pub(crate) use admission::namespace_takes;
pub(crate) use daemonset::revision as daemon_revision;
pub(crate) use deployment::set_annotations;
pub(crate) use dispatch::dispatch;
#[cfg(feature = "http")]
pub(crate) use dispatch::nobody_looks;
pub(crate) use kubelet::{RUN_SECONDS, running_status};
pub(crate) use lease::valid as lease_is_valid;
pub(crate) use machines::controlled_by;
pub(crate) use node::is_ready as node_is_ready;
#[cfg(feature = "http")]
pub(crate) use registry::KnownImage;
pub(crate) use scheduler::volumes::{DISK_DRIVER, FILE_DRIVER};
pub(crate) use statefulset::revision as stateful_revision;
pub(crate) use volumes::is_disk;

/// What the controllers and kubelets remember beside the store.
pub(crate) struct Kube {
    /// The version of the API server.
    pub(crate) version: KubeVersion,
    /// Everything in the slim model, as of the last dispatch.
    pub(crate) view: View,
    /// What has changed in the slim model, for those who watch it.
    pub(crate) changes: ChangeLog,
    /// Sizes of images in bytes, as far as known.
    pub(crate) registry: BTreeMap<String, u64>,
    /// Images that somebody has deleted from the registry.
    gone_images: BTreeSet<String>,
    /// How often a name was given to another image.
    pushes: BTreeMap<String, u32>,
    /// Images that the registry gives to nobody who asks with the secrets of this cluster.
    locked_images: BTreeSet<String>,
    /// Pulls of a pod's images that have failed in a row, by the pod's uid.
    pull_failures: BTreeMap<String, u32>,
    /// After how long the containers of an image crash, where they do.
    crashing: BTreeMap<String, Duration>,
    machines: BTreeMap<NodeName, Machine>,
    /// The zones of the nodes, by their labels.
    zones: HashMap<String, String>,
    /// Where volumes are attached, or about to be: nodes by volume.
    attachments: BTreeMap<String, BTreeSet<String>>,
    /// Since when a node has a taint that takes pods away, by node and key.
    tainted: BTreeMap<(String, String), Timestamp>,
    /// Pools whose machines boot so many times slower.
    slow_boots: BTreeMap<PoolName, u32>,
    /// A taint that machines of a pool have from now on when they register.
    tainted_boots: BTreeMap<PoolName, Taint>,
    /// How many of the machines that boot next in a pool never register.
    never_joining: BTreeMap<PoolName, u32>,
    /// The next free instance number of each pool's scale set.
    next_instance: BTreeMap<PoolName, u32>,
    /// The store's revision up to which the writes have been shown to the controllers.
    dispatched: u64,
    /// Work that is on the queue already.
    queued: HashSet<Work>,
    /// Work that will be put there, and when.
    later: HashMap<Work, Timestamp>,
    /// Work that has nothing to do as long as what it was done on is as it was then.
    settled: HashMap<Work, Rest>,
    scheduler: scheduler::Scheduler,
    events: events::Events,
    /// Pods that left a Job unfinished since its controller looked last, by the Job's uid.
    job_losses: BTreeMap<String, job::Losses>,
    /// Work that has failed in a row, and how often.
    failures: HashMap<Work, u32>,
    /// What autoscalers have recommended lately.
    recommendations: autoscaler::Recommendations,
    /// Until when a Job that has lost a pod waits, by its uid.
    job_backoffs: BTreeMap<String, Timestamp>,
    next_address: u32,
}

/// Changes in the slim model, numbered; bounded.
#[derive(Default)]
pub(crate) struct ChangeLog {
    changes: VecDeque<Change>,
    /// The number of the first change in the log.
    first: u64,
}

impl ChangeLog {
    const REMEMBERED: usize = 4_096;

    fn push(&mut self, change: Change) {
        self.changes.push_back(change);
        if self.changes.len() > Self::REMEMBERED {
            self.changes.pop_front();
            self.first += 1;
        }
    }

    /// The number that the next change will get.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    /// The changes from this number on; `None` if some of them are forgotten.
    pub(crate) fn since(&self, number: u64) -> Option<impl Iterator<Item = &Change>> {
        let skip = usize::try_from(number.checked_sub(self.first)?).ok()?;
        Some(self.changes.range(skip.min(self.changes.len())..))
    }
}

/// Something that will happen in Kubernetes.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// A controller looks at something.
    Work(Work),
    /// Something is put on the controllers' queue at a later time.
    Later(Work),
    /// A machine has booted and its kubelet registers the node.
    Registers(NodeName, u32),
    /// The kubelet of a registered node reports ready.
    BecomesReady(NodeName, u32),
    /// Nothing has been heard of a kubelet for too long.
    Missed(NodeName, u32),
    /// An image is on a machine's disk.
    Pulled(NodeName, u32, String),
    /// A pod on a node takes its next step.
    Pod(kubelet::Step, Key, String),
    /// A pod that did not fit may be tried again.
    Retry(Key),
    /// Azure has attached a disk, by the name and uid of its VolumeAttachment.
    Attached(String, String),
    /// Azure has detached a disk.
    Detached(String, String),
    /// What an owner that is gone has left behind is removed.
    Garbage(String),
    /// The deletion of an object that has dependents goes on.
    Cascade(Kind, Key, String),
    /// What is left in a namespace that is being deleted is looked at.
    EmptyNamespace(String),
    /// Events that were told too long ago are removed.
    ForgetEvents,
}

/// Something a controller has to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// An APIService by name.
    AggregatedApi(String),
    /// A HorizontalPodAutoscaler.
    Autoscaler(Key),
    Budget(Key),
    /// A claim that gets its volume before there is a pod.
    Claim(Key),
    CronJob(Key),
    DaemonSet(Key),
    Deployment(Key),
    /// A pod whose disruption was announced and may not have happened.
    Disruption(Key),
    Endpoints(Key),
    Job(Key),
    Node(String),
    /// A ResourceQuota.
    Quota(Key),
    ReplicaSet(Key),
    Scheduler,
    StatefulSet(Key),
    /// A node with taints that take pods away.
    Taints(String),
    /// A volume by name: where it is attached and where it should be.
    Volume(String),
}

/// What a controller's pass over an object rests on: the revisions of the last writes of the object and of what it controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    object: u64,
    controlled: u64,
}

impl Seen {
    /// As it is now. `None`: the object is not there.
    fn now<T: Stored>(world: &World, key: &Key, uid: &str) -> Option<Self> {
        let object = T::table(&world.store).revision_of(&key.namespace, &key.name)?;
        Some(Self { object, controlled: world.store.touched(uid) })
    }
}

/// Work that has nothing to do.
#[derive(Clone, Copy, Debug)]
struct Rest {
    seen: Seen,
    /// When there is something to do even if nothing changes.
    until: Option<Timestamp>,
}

impl Kube {
    pub(crate) fn new(version: KubeVersion) -> Self {
        Self {
            version,
            view: View::default(),
            changes: ChangeLog::default(),
            registry: BTreeMap::new(),
            gone_images: BTreeSet::new(),
            locked_images: BTreeSet::new(),
            pushes: BTreeMap::new(),
            pull_failures: BTreeMap::new(),
            crashing: BTreeMap::new(),
            machines: BTreeMap::new(),
            zones: HashMap::new(),
            attachments: BTreeMap::new(),
            tainted: BTreeMap::new(),
            slow_boots: BTreeMap::new(),
            tainted_boots: BTreeMap::new(),
            never_joining: BTreeMap::new(),
            next_instance: BTreeMap::new(),
            dispatched: 0,
            queued: HashSet::new(),
            later: HashMap::new(),
            settled: HashMap::new(),
            scheduler: scheduler::Scheduler::default(),
            events: events::Events::default(),
            failures: HashMap::new(),
            recommendations: BTreeMap::new(),
            job_losses: BTreeMap::new(),
            job_backoffs: BTreeMap::new(),
            next_address: 0,
        }
    }
}

impl World {
    fn soon(&mut self, after: Duration, task: Task) {
        self.schedule(after, Wake::Kube(task));
    }

    /// Puts work on the controllers' queue, unless it is there.
    fn enqueue(&mut self, work: Work) {
        if self.kube.queued.contains(&work) {
            return;
        }
        self.kube.queued.insert(work.clone());
        let delay = self.draw(match work {
            Work::Budget(_) => Timing::Budget,
            Work::Endpoints(_) => Timing::Endpoints,
            Work::Scheduler => Timing::Bind,
            _ => Timing::Notice,
        });
        self.soon(delay, Task::Work(work));
    }

    /// Work that has failed is done again after a pause that grows with every failure in a row.
    fn retry_later(&mut self, work: Work) {
        let failures = self.kube.failures.entry(work.clone()).or_default();
        let after = self.timing.backoff(Timing::WorkBackoff, Timing::WorkBackoffMost, *failures);
        *failures += 1;
        self.enqueue_later(after, work);
    }

    /// Puts work on the controllers' queue at a later time; what is to come earlier anyhow, comes once (client-go's delaying
    /// queue).
    fn enqueue_later(&mut self, after: Duration, work: Work) {
        let at = self.now() + after;
        if self.kube.later.get(&work).is_none_or(|earlier| at < *earlier) {
            self.kube.later.insert(work.clone(), at);
            self.soon(after, Task::Later(work));
        }
    }

    /// The time of later work has come, unless it came earlier.
    fn later(&mut self, work: Work) {
        if self.kube.later.get(&work).is_some_and(|at| *at <= self.now()) {
            self.kube.later.remove(&work);
            self.enqueue(work);
        }
    }

    /// Is all still as it was when this work had nothing left to do? Then its pass would do nothing, and is saved.
    fn rests(&mut self, work: &Work, seen: Option<Seen>) -> bool {
        let Some(rest) = self.kube.settled.get(work).copied() else { return false };
        if seen != Some(rest.seen) || rest.until.is_some_and(|at| at <= self.now()) {
            return false;
        }
        if let Some(at) = rest.until {
            self.enqueue_at(at, work.clone());
        }
        true
    }

    /// This work is done, as far as can be known from what it has seen; `None`: it is not.
    fn settle_work(&mut self, work: Work, seen: Option<Seen>, until: Option<Timestamp>) {
        match seen {
            Some(seen) => drop(self.kube.settled.insert(work, Rest { seen, until })),
            None => drop(self.kube.settled.remove(&work)),
        }
    }

    /// As [`enqueue_later`](Self::enqueue_later), at a time that is to come.
    fn enqueue_at(&mut self, at: Timestamp, work: Work) {
        let after = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
        self.enqueue_later(after, work);
    }

    /// The control plane runs this version from now on.
    pub(crate) fn control_plane_runs(&mut self, version: KubeVersion) {
        self.kube.version = version;
        self.touch();
    }

    /// The API server's version.
    pub fn version(&self) -> KubeVersion {
        self.kube.version
    }
}

/// Namespace and name of an object.
pub(crate) fn key_of<T: Metadata<Ty = ObjectMeta>>(object: &T) -> Key {
    let meta = object.metadata();
    Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The uid of an object; every stored object has one.
pub(crate) fn uid_of<T: Metadata<Ty = ObjectMeta>>(object: &T) -> &str {
    object.metadata().uid.as_deref().unwrap_or_default()
}

/// Carries out what is due.
pub(crate) fn on_task(world: &mut World, task: Task) {
    match task {
        Task::Work(work) => {
            world.kube.queued.remove(&work);
            reconcile(world, &work);
        }
        Task::Later(work) => world.later(work),
        Task::Registers(node, boot) => machines::register(world, &node, boot),
        Task::BecomesReady(node, boot) => machines::become_ready(world, &node, boot),
        Task::Missed(node, boot) => machines::missed(world, &node, boot),
        Task::Pulled(node, boot, image) => kubelet::pulled(world, &node, boot, &image),
        Task::Pod(step, key, uid) => kubelet::step(world, step, &key, &uid),
        Task::Retry(key) => scheduler::retry(world, &key),
        Task::Attached(name, uid) => volumes::attached(world, &name, &uid),
        Task::Detached(name, uid) => volumes::detached(world, &name, &uid),
        Task::Garbage(uid) => garbage::collect(world, &uid),
        Task::Cascade(kind, key, uid) => garbage::cascade(world, kind, &key, &uid),
        Task::EmptyNamespace(name) => removal::empty_namespace(world, &name),
        Task::ForgetEvents => events::forget(world),
    }
}

/// Nothing is made any more for an object that is being deleted.
fn is_going(world: &World, work: &Work) -> bool {
    fn going<T: Stored>(world: &World, key: &Key) -> bool {
        let object = world.store.get::<T>(&key.namespace, &key.name);
        object.is_some_and(|object| object.metadata().deletion_timestamp.is_some())
    }
    match work {
        Work::DaemonSet(key) => going::<DaemonSet>(world, key),
        Work::Deployment(key) => going::<Deployment>(world, key),
        Work::Job(key) => going::<Job>(world, key),
        Work::ReplicaSet(key) => going::<ReplicaSet>(world, key),
        Work::StatefulSet(key) => going::<StatefulSet>(world, key),
        // Everything else is not made anything for.
        _ => false,
    }
}

fn reconcile(world: &mut World, work: &Work) {
    if is_going(world, work) {
        return;
    }
    match work {
        Work::AggregatedApi(name) => aggregation::reconcile(world, name),
        Work::Autoscaler(key) => autoscaler::reconcile(world, key),
        Work::Budget(key) => disruption::reconcile(world, key),
        Work::Claim(key) => volumes::provision(world, key),
        Work::CronJob(key) => cronjob::reconcile(world, key),
        Work::DaemonSet(key) => daemonset::reconcile(world, key),
        Work::Deployment(key) => deployment::reconcile(world, key),
        Work::Disruption(key) => disruption::take_back(world, key),
        Work::Endpoints(key) => endpoints::reconcile(world, key),
        Work::Job(key) => job::reconcile(world, key),
        Work::Node(name) => node::mirror_cordon(world, name),
        Work::Quota(key) => quota::reconcile(world, key),
        Work::ReplicaSet(key) => replicaset::reconcile(world, key),
        Work::Scheduler => scheduler::cycle(world),
        Work::StatefulSet(key) => statefulset::reconcile(world, key),
        Work::Taints(node) => taints::reconcile(world, node),
        Work::Volume(name) => volumes::reconcile(world, name),
    }
}

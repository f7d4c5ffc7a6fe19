//! What the control plane and the kubelets tell people about their work: Events.
//!
//! Nothing in the world depends on them, so they are told only where somebody can read them
//! ([`World::tell_events`]); a rehearsal has none and pays for none. A world with them and one without tell the same story.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Task, namespace_takes};
use crate::store::{Key, Kind, Stored};
use crate::world::World;

/// How long an event is kept after it was told last (kube-apiserver: `--event-ttl`).
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// The most events that are kept. A large cluster tells more in an hour than anybody reads, and the memory is the lab's.
const MOST: usize = 10_000;

/// The events that there are, from the one that was told longest ago.
#[derive(Default)]
pub(super) struct Events {
    are_told: bool,
    /// One that was told again stands at its first place until it is looked at there.
    order: VecDeque<Key>,
}

/// Why an event is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    BackOff,
    CalculateExpectedPodCountFailed,
    Created,
    Failed,
    FailedCreate,
    FailedScheduling,
    Killing,
    NodeNotReady,
    NodeNotSchedulable,
    NodeReady,
    NodeSchedulable,
    Preempted,
    Pulled,
    Pulling,
    RegisteredNode,
    ScalingReplicaSet,
    Scheduled,
    Started,
    SuccessfulCreate,
    SuccessfulDelete,
    TaintManagerEviction,
}

impl Reason {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::BackOff => "BackOff",
            Self::CalculateExpectedPodCountFailed => "CalculateExpectedPodCountFailed",
            Self::Created => "Created",
            Self::Failed => "Failed",
            Self::FailedCreate => "FailedCreate",
            Self::FailedScheduling => "FailedScheduling",
            Self::Killing => "Killing",
            Self::NodeNotReady => "NodeNotReady",
            Self::NodeNotSchedulable => "NodeNotSchedulable",
            Self::NodeReady => "NodeReady",
            Self::NodeSchedulable => "NodeSchedulable",
            Self::Preempted => "Preempted",
            Self::Pulled => "Pulled",
            Self::Pulling => "Pulling",
            Self::RegisteredNode => "RegisteredNode",
            Self::ScalingReplicaSet => "ScalingReplicaSet",
            Self::Scheduled => "Scheduled",
            Self::Started => "Started",
            Self::SuccessfulCreate => "SuccessfulCreate",
            Self::SuccessfulDelete => "SuccessfulDelete",
            Self::TaintManagerEviction => "TaintManagerEviction",
        }
    }

    const fn is_warning(self) -> bool {
        match self {
            Self::BackOff
            | Self::CalculateExpectedPodCountFailed
            | Self::Failed
            | Self::FailedCreate
            | Self::FailedScheduling => true,
            Self::Created
            | Self::Killing
            | Self::NodeNotReady
            | Self::NodeNotSchedulable
            | Self::NodeReady
            | Self::NodeSchedulable
            | Self::Preempted
            | Self::Pulled
            | Self::Pulling
            | Self::RegisteredNode
            | Self::ScalingReplicaSet
            | Self::Scheduled
            | Self::Started
            | Self::SuccessfulCreate
            | Self::SuccessfulDelete
            | Self::TaintManagerEviction => false,
        }
    }

    /// Who tells it of an object of a kind.
    const fn teller(self, about: Kind) -> &'static str {
        match self {
            Self::FailedScheduling | Self::Preempted | Self::Scheduled => "default-scheduler",
            Self::NodeNotReady | Self::RegisteredNode => "node-controller",
            Self::TaintManagerEviction => "taint-eviction-controller",
            Self::CalculateExpectedPodCountFailed => "controllermanager",
            Self::ScalingReplicaSet => "deployment-controller",
            Self::FailedCreate | Self::SuccessfulCreate | Self::SuccessfulDelete => match about {
                Kind::StatefulSet => "statefulset-controller",
                Kind::DaemonSet => "daemonset-controller",
                Kind::Job => "job-controller",
                _ => "replicaset-controller",
            },
            Self::BackOff
            | Self::Created
            | Self::Failed
            | Self::Killing
            | Self::NodeNotSchedulable
            | Self::NodeReady
            | Self::NodeSchedulable
            | Self::Pulled
            | Self::Pulling
            | Self::Started => KUBELET,
        }
    }
}

const KUBELET: &str = "kubelet";

impl World {
    /// From now on events are told: somebody may read them.
    #[cfg(any(feature = "http", test))]
    pub(crate) fn tell_events(&mut self) {
        self.kube.events.are_told = true;
    }

    /// Are events told? For those who would have to look for whom they are about.
    pub(super) fn tells_events(&self) -> bool {
        self.kube.events.are_told
    }

    /// Tells something about an object that is there. The same thing told again counts up (client-go: `EventCorrelator`).
    pub(super) fn tell<T: Stored>(&mut self, about: &Key, reason: Reason, message: impl FnOnce() -> String) {
        if self.kube.events.are_told
            && let Some(object) = self.store.get::<T>(&about.namespace, &about.name)
        {
            let event = event(&**object, reason, message());
            self.keep(event);
        }
    }

    fn keep(&mut self, event: Event) {
        let key = super::key_of(&event);
        let now = self.store.time();
        let again = self.store.update::<Event>(&key.namespace, &key.name, |event| {
            event.count = event.count.map(|count| count + 1);
            event.last_timestamp = Some(now.clone());
        });
        if again.is_ok() {
            return;
        }
        let first = Some(now.clone());
        let event = Event { first_timestamp: first, last_timestamp: Some(now), count: Some(1), ..event };
        // A namespace that is not there, or is going, takes none.
        let taken = namespace_takes(&self.store, Kind::Event.names(), &key.namespace, &key.name);
        if taken.is_ok() && self.store.found(event).is_ok() {
            if self.kube.events.order.is_empty() {
                self.soon(KEPT.unsigned_abs(), Task::ForgetEvents);
            }
            self.kube.events.order.push_back(key);
            if self.kube.events.order.len() > MOST
                && let Some(oldest) = self.kube.events.order.pop_front()
            {
                // Its namespace may have taken it along.
                let _ = self.store.delete::<Event>(&oldest.namespace, &oldest.name);
            }
        }
    }
}

/// Forgets what was told too long ago, and comes back for the rest.
pub(super) fn forget(world: &mut World) {
    let last_told = |world: &World, key: &Key| -> Option<Timestamp> {
        let event = world.store.get::<Event>(&key.namespace, &key.name)?;
        event.last_timestamp.as_ref().map(|time| time.0)
    };
    while let Some(key) = world.kube.events.order.pop_front() {
        let Some(told) = last_told(world, &key) else { continue };
        if told + KEPT <= world.now() {
            let _ = world.store.delete::<Event>(&key.namespace, &key.name);
        } else if world.kube.events.order.front().is_some_and(|next| last_told(world, next) < Some(told)) {
            // Told again since: its place is behind the others.
            world.kube.events.order.push_back(key);
        } else {
            let after = Duration::try_from((told + KEPT).duration_since(world.now())).unwrap_or_default();
            world.kube.events.order.push_front(key);
            // Whole seconds: what is looked at then has been told long enough ago.
            world.soon(after + Duration::from_secs(1), Task::ForgetEvents);
            return;
        }
    }
}

fn event<T: Stored>(about: &T, reason: Reason, message: String) -> Event {
    let meta = about.metadata();
    let (name, uid) = (meta.name.clone().unwrap_or_default(), meta.uid.clone().unwrap_or_default());
    let teller = reason.teller(T::KIND_OF);
    let host = (teller == KUBELET).then(|| about.node_name().unwrap_or(&name).to_owned());
    // The same words about the same object are the same event.
    let number = digest(&[&uid, reason.word(), &message]);
    let namespace = meta.namespace.clone().unwrap_or_else(|| "default".to_owned());
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:016x}", number >> 64)),
            namespace: Some(namespace),
            uid: Some(uuid(number)),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(T::API_VERSION.to_owned()),
            kind: Some(T::KIND.to_owned()),
            name: Some(name),
            namespace: meta.namespace.clone(),
            uid: Some(uid),
            resource_version: meta.resource_version.clone(),
            field_path: None,
        },
        reason: Some(reason.word().to_owned()),
        type_: Some(if reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        message: Some(message),
        reporting_component: Some(teller.to_owned()),
        reporting_instance: host.clone(),
        source: Some(EventSource { component: Some(teller.to_owned()), host }),
        ..Event::default()
    }
}

/// A number that stands for these words (FNV-1a).
fn digest(words: &[&str]) -> u128 {
    let mut number = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for byte in words.iter().flat_map(|word| word.bytes().chain([0])) {
        number = (number ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    number
}

/// A uid that depends on these words alone, for what must not take a chance away from the world's names.
pub(super) fn uid_from(words: &[&str]) -> String {
    uuid(digest(words))
}

fn uuid(bits: u128) -> String {
    let text = format!("{bits:032x}");
    format!("{}-{}-4{}-8{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
}

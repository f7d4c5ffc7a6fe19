//! The kinds there are.

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ResourceQuota, Service,
    ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::{CSINode, StorageClass, VolumeAttachment};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::index::Index;
use super::table::Table;

/// A kind that the store keeps.
pub trait Stored:
    Resource
    + Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + Clone
    + PartialEq
    + Debug
    + Send
    + Sync
    + 'static
{
    /// Which one it is.
    const KIND_OF: Kind;

    /// Its table.
    fn table(store: &Store) -> &Table<Self>;

    /// Its table, to change it.
    fn table_mut(store: &mut Store) -> &mut Table<Self>;

    /// Does the API server count changes of its spec in `metadata.generation`?
    fn counts_generations() -> bool;

    /// Is there a difference that `metadata.generation` counts?
    fn spec_differs(&self, other: &Self) -> bool;

    /// The node a pod is bound to; no other kind has one.
    fn node_name(&self) -> Option<&str> {
        None
    }
}

/// Somebody who does the same for every kind.
pub trait KindVisitor {
    /// What comes of it.
    type Output;

    /// Does it for one kind.
    fn visit<T: Stored>(self) -> Self::Output;
}

/// Does `$differs` compare specs? The API server counts generations only of some kinds.
macro_rules! generations {
    (pod) => {
        generations!(counted);

        fn node_name(&self) -> Option<&str> {
            self.spec.as_ref()?.node_name.as_deref()
        }
    };
    (counted) => {
        fn counts_generations() -> bool {
            true
        }

        fn spec_differs(&self, other: &Self) -> bool {
            self.spec != other.spec
        }
    };
    (uncounted) => {
        fn counts_generations() -> bool {
            false
        }

        fn spec_differs(&self, _: &Self) -> bool {
            false
        }
    };
}

macro_rules! kinds {
    ($($kind:ident $field:ident $scope:ident $generations:ident;)*) => {
        /// The kinds that the store keeps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = concat!("`", stringify!($kind), "`.")] $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The kind with this group (empty for core), version and plural.
            pub fn find(group: &str, version: &str, plural: &str) -> Option<Self> {
                $(if (<$kind as Resource>::GROUP, <$kind as Resource>::VERSION, <$kind as Resource>::URL_PATH_SEGMENT)
                    == (group, version, plural)
                {
                    return Some(Self::$kind);
                })*
                None
            }

            /// Do its objects live in a namespace?
            pub const fn is_namespaced(self) -> bool {
                match self {
                    $(Self::$kind => kinds!(@ $scope),)*
                }
            }
        }

        /// All objects of a cluster.
        #[derive(Clone, Debug)]
        pub struct Store {
            pub(crate) now: Timestamp,
            pub(super) revision: u64,
            pub(super) names: fastrand::Rng,
            pub(super) index: Index,
            $(pub(super) $field: Table<$kind>,)*
        }

        impl Store {
            pub(crate) fn new(now: Timestamp, seed: u64) -> Self {
                Self { now, revision: 0, names: fastrand::Rng::with_seed(seed), index: Index::default(), $($field: Table::default(),)* }
            }
        }

        $(impl Stored for $kind {
            const KIND_OF: Kind = Kind::$kind;

            fn table(store: &Store) -> &Table<Self> {
                &store.$field
            }

            fn table_mut(store: &mut Store) -> &mut Table<Self> {
                &mut store.$field
            }

            generations!($generations);
        })*

        /// Lets `visitor` do its work for a kind that is known only at run time.
        pub fn with_kind<V: KindVisitor>(kind: Kind, visitor: V) -> V::Output {
            match kind {
                $(Kind::$kind => visitor.visit::<$kind>(),)*
            }
        }
    };
    (@ namespaced) => { true };
    (@ cluster) => { false };
}

kinds! {
    Node nodes cluster uncounted;
    Pod pods namespaced pod;
    Deployment deployments namespaced counted;
    ReplicaSet replica_sets namespaced counted;
    StatefulSet stateful_sets namespaced counted;
    DaemonSet daemon_sets namespaced counted;
    Job jobs namespaced counted;
    PodDisruptionBudget budgets namespaced counted;
    Service services namespaced uncounted;
    EndpointSlice slices namespaced uncounted;
    PersistentVolumeClaim claims namespaced uncounted;
    PersistentVolume volumes cluster uncounted;
    Namespace namespaces cluster uncounted;
    Lease leases namespaced uncounted;
    ConfigMap config_maps namespaced uncounted;
    ServiceAccount service_accounts namespaced uncounted;
    CronJob cron_jobs namespaced counted;
    HorizontalPodAutoscaler autoscalers namespaced uncounted;
    PriorityClass priority_classes cluster uncounted;
    ResourceQuota quotas namespaced uncounted;
    StorageClass storage_classes cluster uncounted;
    CSINode csi_nodes cluster uncounted;
    VolumeAttachment attachments cluster uncounted;
    ValidatingWebhookConfiguration validating_webhooks cluster uncounted;
    MutatingWebhookConfiguration mutating_webhooks cluster uncounted;
}

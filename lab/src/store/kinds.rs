//! The kinds there are.

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, StorageClass, VolumeAttachment};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
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

/// What Kubernetes calls a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindNames {
    /// The API group; empty for core.
    pub group: &'static str,
    /// The version within the group.
    pub version: &'static str,
    /// Group and version, as `apiVersion` has them.
    pub api_version: &'static str,
    /// `Deployment`.
    pub kind: &'static str,
    /// `deployments`.
    pub plural: &'static str,
}

impl KindNames {
    /// Of a type.
    pub const fn of<T: Resource>() -> Self {
        Self {
            group: T::GROUP,
            version: T::VERSION,
            api_version: T::API_VERSION,
            kind: T::KIND,
            plural: T::URL_PATH_SEGMENT,
        }
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
    ($($kind:ident $field:ident $scope:ident $generations:ident $status:ident;)*) => {
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

            /// The kind that an owner reference or a manifest names.
            pub fn of(api_version: &str, kind: &str) -> Option<Self> {
                $(if (<$kind as Resource>::API_VERSION, <$kind as Resource>::KIND) == (api_version, kind) {
                    return Some(Self::$kind);
                })*
                None
            }

            /// What Kubernetes calls it.
            pub const fn names(self) -> KindNames {
                match self {
                    $(Self::$kind => KindNames::of::<$kind>(),)*
                }
            }

            /// Its place among all of them, as one bit.
            pub(super) const fn bit(self) -> u64 {
                1 << self as u32
            }

            /// Do its objects have a status, which their controllers write?
            pub const fn has_status(self) -> bool {
                match self {
                    $(Self::$kind => kinds!(@ $status),)*
                }
            }

            /// Do its objects live in a namespace?
            pub const fn is_namespaced(self) -> bool {
                match self {
                    $(Self::$kind => kinds!(@ $scope),)*
                }
            }
        }

        /// All objects of a cluster.
        #[derive(Debug)]
        pub struct Store {
            pub(crate) now: Timestamp,
            pub(super) revision: u64,
            pub(super) names: fastrand::Rng,
            pub(super) index: Index,
            pub(super) is_trial: bool,
            pub(super) forgets: bool,
            /// The kinds that were written since somebody asked last.
            pub(super) written: u64,
            $(pub(super) $field: Table<$kind>,)*
        }

        impl Store {
            pub(crate) fn new(now: Timestamp, seed: u64) -> Self {
                Self { now, revision: 0, names: fastrand::Rng::with_seed(seed), index: Index::default(), is_trial: false, forgets: false, written: 0, $($field: Table::default(),)* }
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
    (@ status) => { true };
    (@ plain) => { false };
}

kinds! {
    Node nodes cluster uncounted status;
    Pod pods namespaced pod status;
    Deployment deployments namespaced counted status;
    ReplicaSet replica_sets namespaced counted status;
    StatefulSet stateful_sets namespaced counted status;
    DaemonSet daemon_sets namespaced counted status;
    Job jobs namespaced counted status;
    PodDisruptionBudget budgets namespaced counted status;
    Service services namespaced uncounted status;
    EndpointSlice slices namespaced uncounted plain;
    PersistentVolumeClaim claims namespaced uncounted status;
    PersistentVolume volumes cluster uncounted status;
    Namespace namespaces cluster uncounted status;
    Lease leases namespaced uncounted plain;
    ConfigMap config_maps namespaced uncounted plain;
    ServiceAccount service_accounts namespaced uncounted plain;
    CronJob cron_jobs namespaced counted status;
    HorizontalPodAutoscaler autoscalers namespaced uncounted status;
    PriorityClass priority_classes cluster uncounted plain;
    ResourceQuota quotas namespaced uncounted status;
    StorageClass storage_classes cluster uncounted plain;
    CSINode csi_nodes cluster uncounted plain;
    VolumeAttachment attachments cluster uncounted status;
    ValidatingWebhookConfiguration validating_webhooks cluster uncounted plain;
    MutatingWebhookConfiguration mutating_webhooks cluster uncounted plain;
    Secret secrets namespaced uncounted plain;
    Event events namespaced uncounted plain;
    LimitRange limit_ranges namespaced uncounted plain;
    ControllerRevision controller_revisions namespaced uncounted plain;
    Ingress ingresses namespaced counted status;
    IngressClass ingress_classes cluster counted plain;
    NetworkPolicy network_policies namespaced counted plain;
    Role roles namespaced uncounted plain;
    RoleBinding role_bindings namespaced uncounted plain;
    ClusterRole cluster_roles cluster uncounted plain;
    ClusterRoleBinding cluster_role_bindings cluster uncounted plain;
    CSIDriver csi_drivers cluster uncounted plain;
    APIService api_services cluster uncounted status;
    CustomResourceDefinition definitions cluster counted status;
}

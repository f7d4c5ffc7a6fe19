//! What lists and watches say.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{
    Autoscaler, Budget, Claim, EndpointSlice, Node, ObjectName, Pod, Service, Workload, WorkloadKind,
    WorkloadRef,
};

/// The Kubernetes resources that Drover reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResourceKind {
    /// core/v1 nodes.
    Node,
    /// core/v1 pods.
    Pod,
    /// apps/v1 deployments.
    Deployment,
    /// apps/v1 statefulsets.
    StatefulSet,
    /// apps/v1 daemonsets.
    DaemonSet,
    /// apps/v1 replicasets.
    ReplicaSet,
    /// batch/v1 jobs.
    Job,
    /// policy/v1 poddisruptionbudgets.
    PodDisruptionBudget,
    /// core/v1 services.
    Service,
    /// discovery.k8s.io/v1 endpointslices.
    EndpointSlice,
    /// core/v1 persistentvolumeclaims.
    PersistentVolumeClaim,
    /// autoscaling/v2 horizontalpodautoscalers.
    HorizontalPodAutoscaler,
}

impl ResourceKind {
    /// All of them, in the order in which they are read.
    pub const ALL: [Self; 12] = [
        Self::Node,
        Self::Pod,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::Job,
        Self::PodDisruptionBudget,
        Self::Service,
        Self::EndpointSlice,
        Self::PersistentVolumeClaim,
        Self::HorizontalPodAutoscaler,
    ];

    /// The plural in the API's path, for messages and access reviews.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Node => "nodes",
            Self::Pod => "pods",
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
            Self::ReplicaSet => "replicasets",
            Self::Job => "jobs",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::PersistentVolumeClaim => "persistentvolumeclaims",
            Self::HorizontalPodAutoscaler => "horizontalpodautoscalers",
        }
    }

    /// The kind under which a workload is read; `None` for owners that are not read (custom resources).
    pub fn of_workload(kind: &WorkloadKind) -> Option<Self> {
        Some(match kind {
            WorkloadKind::Deployment => Self::Deployment,
            WorkloadKind::StatefulSet => Self::StatefulSet,
            WorkloadKind::DaemonSet => Self::DaemonSet,
            WorkloadKind::ReplicaSet => Self::ReplicaSet,
            WorkloadKind::Job => Self::Job,
            WorkloadKind::Other(_) => return None,
        })
    }

    pub(super) fn workload_kind(self) -> Option<WorkloadKind> {
        Some(match self {
            Self::Deployment => WorkloadKind::Deployment,
            Self::StatefulSet => WorkloadKind::StatefulSet,
            Self::DaemonSet => WorkloadKind::DaemonSet,
            Self::ReplicaSet => WorkloadKind::ReplicaSet,
            Self::Job => WorkloadKind::Job,
            _ => return None,
        })
    }
}

/// One object of the slim model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A node.
    Node(Node),
    /// A pod.
    Pod(Pod),
    /// A Deployment, StatefulSet, DaemonSet, ReplicaSet or Job.
    Workload(Workload),
    /// A PodDisruptionBudget.
    Budget(Budget),
    /// A Service.
    Service(Service),
    /// An EndpointSlice.
    Slice(EndpointSlice),
    /// A PersistentVolumeClaim.
    Claim(Claim),
    /// A HorizontalPodAutoscaler.
    Autoscaler(Autoscaler),
}

impl Object {
    /// `namespace/name`, or the bare name of a node.
    pub fn name(&self) -> String {
        match self {
            Self::Node(node) => node.name.to_string(),
            Self::Pod(pod) => pod.name.to_string(),
            Self::Workload(workload) => workload.reference.name.to_string(),
            Self::Budget(budget) => budget.name.to_string(),
            Self::Service(service) => service.name.to_string(),
            Self::Slice(slice) => slice.name.to_string(),
            Self::Claim(claim) => claim.name.to_string(),
            Self::Autoscaler(autoscaler) => autoscaler.name.to_string(),
        }
    }

    /// What kind of resource it is; `None` for a workload of a kind that is not read.
    pub fn kind(&self) -> Option<ResourceKind> {
        Some(match self {
            Self::Node(_) => ResourceKind::Node,
            Self::Pod(_) => ResourceKind::Pod,
            Self::Workload(workload) => return ResourceKind::of_workload(&workload.reference.kind),
            Self::Budget(_) => ResourceKind::PodDisruptionBudget,
            Self::Service(_) => ResourceKind::Service,
            Self::Slice(_) => ResourceKind::EndpointSlice,
            Self::Claim(_) => ResourceKind::PersistentVolumeClaim,
            Self::Autoscaler(_) => ResourceKind::HorizontalPodAutoscaler,
        })
    }
}

/// Something that a list or a watch says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "changes are moved once, from the decoder into the view")]
pub enum Change {
    /// Everything there is of one kind; what is not in it is gone.
    Listed {
        /// The kind.
        kind: ResourceKind,
        /// All its objects.
        objects: Vec<Object>,
    },
    /// An object is new or changed.
    Applied(Object),
    /// An object is gone.
    Deleted {
        /// Its kind.
        kind: ResourceKind,
        /// `namespace/name`, or the bare name of a node.
        name: String,
    },
}

/// What a change may have made different for those who decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Services whose endpoints may have changed.
    pub services: BTreeSet<ObjectName>,
    /// Workloads that have changed, or one of their pods.
    pub workloads: BTreeSet<WorkloadRef>,
    /// Namespaces in which a budget, a Service or its endpoints have changed.
    pub namespaces: BTreeSet<String>,
    /// A node came, went, changed its pool, or was cordoned or uncordoned.
    pub nodes: bool,
    /// There may be room for a pod that had none: a pod has left a node or asks for less, a node takes pods again.
    pub room: bool,
}

impl Touched {
    /// The endpoints of a Service may have changed.
    pub(super) fn endpoints(&mut self, service: ObjectName) {
        self.namespaces.insert(service.namespace().to_owned());
        self.services.insert(service);
    }
}

//! The columns of each kind.

use super::Cell::{Age, Flag, Made, Name, Number, Since, Text, Timed};
use super::{Cell, Column, cells, pod};
use crate::store::Kind;

const fn col(name: &'static str, cell: Cell) -> Column {
    Column { name, wide: false, cell }
}

const fn wide(name: &'static str, cell: Cell) -> Column {
    Column { name, wide: true, cell }
}

const NONE: &str = "<none>";
const UNSET: &str = "<unset>";

const POD: &[Column] = &[
    col("Name", Name),
    col("Ready", Made(pod::ready)),
    col("Status", Made(pod::status)),
    col("Restarts", Timed(pod::restarts)),
    col("Age", Age),
    wide("IP", Text("/status/podIP", NONE)),
    wide("Node", Text("/spec/nodeName", NONE)),
    wide("Nominated Node", Text("/status/nominatedNodeName", NONE)),
    wide("Readiness Gates", Made(pod::gates)),
];

const NODE: &[Column] = &[
    col("Name", Name),
    col("Status", Made(cells::node_status)),
    col("Roles", Made(cells::node_roles)),
    col("Age", Age),
    col("Version", Text("/status/nodeInfo/kubeletVersion", "<unknown>")),
    wide("Internal-IP", Made(|node| cells::node_address(node, "InternalIP"))),
    wide("External-IP", Made(|node| cells::node_address(node, "ExternalIP"))),
    wide("OS-Image", Text("/status/nodeInfo/osImage", "<unknown>")),
    wide("Kernel-Version", Text("/status/nodeInfo/kernelVersion", "<unknown>")),
    wide("Container-Runtime", Text("/status/nodeInfo/containerRuntimeVersion", "<unknown>")),
];

const DEPLOYMENT: &[Column] = &[
    col("Name", Name),
    col("Ready", Made(cells::ready_of_replicas)),
    col("Up-to-date", Number("/status/updatedReplicas")),
    col("Available", Number("/status/availableReplicas")),
    col("Age", Age),
    wide("Containers", Made(cells::container_names)),
    wide("Images", Made(cells::container_images)),
    wide("Selector", Made(cells::selector)),
];

const REPLICA_SET: &[Column] = &[
    col("Name", Name),
    col("Desired", Number("/spec/replicas")),
    col("Current", Number("/status/replicas")),
    col("Ready", Number("/status/readyReplicas")),
    col("Age", Age),
    wide("Containers", Made(cells::container_names)),
    wide("Images", Made(cells::container_images)),
    wide("Selector", Made(cells::selector)),
];

const STATEFUL_SET: &[Column] = &[
    col("Name", Name),
    col("Ready", Made(cells::ready_of_replicas)),
    col("Age", Age),
    wide("Containers", Made(cells::container_names)),
    wide("Images", Made(cells::container_images)),
];

const DAEMON_SET: &[Column] = &[
    col("Name", Name),
    col("Desired", Number("/status/desiredNumberScheduled")),
    col("Current", Number("/status/currentNumberScheduled")),
    col("Ready", Number("/status/numberReady")),
    col("Up-to-date", Number("/status/updatedNumberScheduled")),
    col("Available", Number("/status/numberAvailable")),
    col("Node Selector", Made(|set| cells::labels(set.pointer("/spec/template/spec/nodeSelector")))),
    col("Age", Age),
    wide("Containers", Made(cells::container_names)),
    wide("Images", Made(cells::container_images)),
    wide("Selector", Made(cells::selector)),
];

const JOB: &[Column] = &[
    col("Name", Name),
    col("Status", Made(cells::job_status)),
    col("Completions", Made(cells::job_completions)),
    col("Duration", Timed(cells::job_duration)),
    col("Age", Age),
    wide("Containers", Made(cells::container_names)),
    wide("Images", Made(cells::container_images)),
    wide("Selector", Made(cells::selector)),
];

const CRON_JOB: &[Column] = &[
    col("Name", Name),
    col("Schedule", Text("/spec/schedule", "")),
    col("Timezone", Text("/spec/timeZone", NONE)),
    col("Suspend", Flag("/spec/suspend")),
    col("Active", Made(|job| cells::count(job.pointer("/status/active")))),
    col("Last Schedule", Timed(cells::last_schedule)),
    col("Age", Age),
    wide("Containers", Made(cells::container_names)),
    wide("Images", Made(cells::container_images)),
    wide("Selector", Made(|job| cells::labels(job.pointer("/spec/jobTemplate/spec/selector/matchLabels")))),
];

const SERVICE: &[Column] = &[
    col("Name", Name),
    col("Type", Text("/spec/type", "")),
    col("Cluster-IP", Text("/spec/clusterIP", NONE)),
    col("External-IP", Made(cells::external_ip)),
    col("Port(s)", Made(cells::service_ports)),
    col("Age", Age),
    wide("Selector", Made(|service| cells::labels(service.pointer("/spec/selector")))),
];

const INGRESS: &[Column] = &[
    col("Name", Name),
    col("Class", Text("/spec/ingressClassName", NONE)),
    col("Hosts", Made(cells::ingress_hosts)),
    col("Address", Made(cells::load_balancer)),
    col(
        "Ports",
        Made(|ingress| if ingress.pointer("/spec/tls").is_some() { "80, 443" } else { "80" }.into()),
    ),
    col("Age", Age),
];

const BUDGET: &[Column] = &[
    col("Name", Name),
    col("Min Available", Text("/spec/minAvailable", "N/A")),
    col("Max Unavailable", Text("/spec/maxUnavailable", "N/A")),
    col("Allowed Disruptions", Number("/status/disruptionsAllowed")),
    col("Age", Age),
];

const ENDPOINT_SLICE: &[Column] = &[
    col("Name", Name),
    col("AddressType", Text("/addressType", "")),
    col("Ports", Made(|slice| cells::joined(slice.pointer("/ports"), "/port", UNSET))),
    col("Endpoints", Made(|slice| cells::joined(slice.pointer("/endpoints"), "/addresses/0", UNSET))),
    col("Age", Age),
];

const CLAIM: &[Column] = &[
    col("Name", Name),
    col("Status", Made(cells::phase)),
    col("Volume", Text("/spec/volumeName", "")),
    col("Capacity", Text("/status/capacity/storage", "")),
    col("Access Modes", Made(cells::access_modes)),
    col("StorageClass", Text("/spec/storageClassName", "")),
    col("VolumeAttributesClass", Text("/spec/volumeAttributesClassName", UNSET)),
    col("Age", Age),
    wide("VolumeMode", Text("/spec/volumeMode", UNSET)),
];

const VOLUME: &[Column] = &[
    col("Name", Name),
    col("Capacity", Text("/spec/capacity/storage", "")),
    col("Access Modes", Made(cells::access_modes)),
    col("Reclaim Policy", Text("/spec/persistentVolumeReclaimPolicy", "")),
    col("Status", Made(cells::phase)),
    col("Claim", Made(cells::claim)),
    col("StorageClass", Text("/spec/storageClassName", "")),
    col("VolumeAttributesClass", Text("/spec/volumeAttributesClassName", UNSET)),
    col("Reason", Text("/status/reason", "")),
    col("Age", Age),
    wide("VolumeMode", Text("/spec/volumeMode", UNSET)),
];

const EVENT: &[Column] = &[
    col("Last Seen", Since("/lastTimestamp")),
    col("Type", Text("/type", "")),
    col("Reason", Text("/reason", "")),
    col("Object", Made(cells::involved)),
    wide("Subobject", Text("/involvedObject/fieldPath", "")),
    wide("Source", Text("/source/component", "")),
    col("Message", Text("/message", "")),
    wide("First Seen", Since("/firstTimestamp")),
    wide("Count", Number("/count")),
    wide("Name", Name),
];

const AUTOSCALER: &[Column] = &[
    col("Name", Name),
    col("Reference", Made(cells::scale_target)),
    col("Targets", Made(cells::targets)),
    col("MinPods", Text("/spec/minReplicas", UNSET)),
    col("MaxPods", Number("/spec/maxReplicas")),
    col("Replicas", Number("/status/currentReplicas")),
    col("Age", Age),
];

const STORAGE_CLASS: &[Column] = &[
    col("Name", Made(cells::storage_class_name)),
    col("Provisioner", Text("/provisioner", "")),
    col("ReclaimPolicy", Text("/reclaimPolicy", "Delete")),
    col("VolumeBindingMode", Text("/volumeBindingMode", UNSET)),
    col("AllowVolumeExpansion", Flag("/allowVolumeExpansion")),
    col("Age", Age),
];

const NAMESPACE: &[Column] = &[col("Name", Name), col("Status", Text("/status/phase", "")), col("Age", Age)];

const CONFIG_MAP: &[Column] = &[col("Name", Name), col("Data", Made(cells::config_size)), col("Age", Age)];

const SECRET: &[Column] = &[
    col("Name", Name),
    col("Type", Text("/type", "")),
    col("Data", Made(|secret| cells::count(secret.get("data")))),
    col("Age", Age),
];

const SERVICE_ACCOUNT: &[Column] = &[
    col("Name", Name),
    col("Secrets", Made(|account| cells::count(account.get("secrets")))),
    col("Age", Age),
];

const LEASE: &[Column] =
    &[col("Name", Name), col("Holder", Text("/spec/holderIdentity", "")), col("Age", Age)];

const PRIORITY_CLASS: &[Column] = &[
    col("Name", Name),
    col("Value", Number("/value")),
    col("Global-Default", Flag("/globalDefault")),
    col("Age", Age),
    col("PreemptionPolicy", Text("/preemptionPolicy", "")),
];

const QUOTA: &[Column] = &[
    col("Name", Name),
    col("Request", Made(|quota| cells::quota(quota, false))),
    col("Limit", Made(|quota| cells::quota(quota, true))),
    col("Age", Age),
];

const CREATED: &[Column] = &[col("Name", Name), col("Created At", Text("/metadata/creationTimestamp", ""))];

const BINDING: &[Column] = &[col("Name", Name), col("Role", Made(cells::role)), col("Age", Age)];

const ATTACHMENT: &[Column] = &[
    col("Name", Name),
    col("Attacher", Text("/spec/attacher", "")),
    col("PV", Text("/spec/source/persistentVolumeName", "")),
    col("Node", Text("/spec/nodeName", "")),
    col("Attached", Flag("/status/attached")),
    col("Age", Age),
];

const CSI_NODE: &[Column] = &[
    col("Name", Name),
    col("Drivers", Made(|node| cells::count(node.pointer("/spec/drivers")))),
    col("Age", Age),
];

const CSI_DRIVER: &[Column] = &[
    col("Name", Name),
    col("AttachRequired", Flag("/spec/attachRequired")),
    col("PodInfoOnMount", Flag("/spec/podInfoOnMount")),
    col("StorageCapacity", Flag("/spec/storageCapacity")),
    col("Age", Age),
];

/// What the aggregator prints.
const API_SERVICE: &[Column] = &[
    col("Name", Name),
    col("Service", Made(cells::api_service)),
    col("Available", Made(cells::api_available)),
    col("Age", Age),
];

const DEFINITION: &[Column] =
    &[col("Name", Name), col("Created At", Text("/metadata/creationTimestamp", "<unknown>"))];

const INGRESS_CLASS: &[Column] = &[
    col("Name", Name),
    col("Controller", Text("/spec/controller", "")),
    col("Parameters", Text("/spec/parameters/name", NONE)),
    col("Age", Age),
];

const NETWORK_POLICY: &[Column] = &[
    col("Name", Name),
    col("Pod-Selector", Made(|policy| cells::labels(policy.pointer("/spec/podSelector/matchLabels")))),
    col("Age", Age),
];

const REVISION: &[Column] = &[
    col("Name", Name),
    col("Controller", Made(cells::controller)),
    col("Revision", Number("/revision")),
    col("Age", Age),
];

const WEBHOOKS: &[Column] = &[
    col("Name", Name),
    col("Webhooks", Made(|configuration| cells::count(configuration.get("webhooks")))),
    col("Age", Age),
];

/// The columns of a kind.
pub(super) fn of(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Pod => POD,
        Kind::Node => NODE,
        Kind::Deployment => DEPLOYMENT,
        Kind::ReplicaSet => REPLICA_SET,
        Kind::StatefulSet => STATEFUL_SET,
        Kind::DaemonSet => DAEMON_SET,
        Kind::Job => JOB,
        Kind::CronJob => CRON_JOB,
        Kind::Service => SERVICE,
        Kind::Ingress => INGRESS,
        Kind::PodDisruptionBudget => BUDGET,
        Kind::EndpointSlice => ENDPOINT_SLICE,
        Kind::PersistentVolumeClaim => CLAIM,
        Kind::PersistentVolume => VOLUME,
        Kind::Event => EVENT,
        Kind::HorizontalPodAutoscaler => AUTOSCALER,
        Kind::StorageClass => STORAGE_CLASS,
        Kind::Namespace => NAMESPACE,
        Kind::ConfigMap => CONFIG_MAP,
        Kind::Secret => SECRET,
        Kind::ServiceAccount => SERVICE_ACCOUNT,
        Kind::Lease => LEASE,
        Kind::PriorityClass => PRIORITY_CLASS,
        Kind::ResourceQuota => QUOTA,
        Kind::LimitRange | Kind::Role | Kind::ClusterRole => CREATED,
        Kind::RoleBinding | Kind::ClusterRoleBinding => BINDING,
        Kind::VolumeAttachment => ATTACHMENT,
        Kind::CSINode => CSI_NODE,
        Kind::CSIDriver => CSI_DRIVER,
        Kind::APIService => API_SERVICE,
        Kind::CustomResourceDefinition => DEFINITION,
        Kind::IngressClass => INGRESS_CLASS,
        Kind::NetworkPolicy => NETWORK_POLICY,
        Kind::ControllerRevision => REVISION,
        Kind::ValidatingWebhookConfiguration | Kind::MutatingWebhookConfiguration => WEBHOOKS,
    }
}

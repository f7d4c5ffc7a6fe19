//! The Node object: how the kubelet registers it, and what the node lifecycle controller keeps true about it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use upgrade_core::model::{Bytes, MilliCpu, NodeName, PoolMode, Resources};

use super::events::Reason;
use super::machines::Machine;
use crate::azure::PoolSpec;
use crate::site::Site;
use crate::store::{Key, whole_second};
use crate::world::World;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// The kubelet reports no more images than this.
const REPORTED_IMAGES: usize = 50;

/// A taint, as Kubernetes writes it.
pub(super) fn taint(taint: &upgrade_core::model::Taint) -> Taint {
    Taint {
        effect: taint.effect.to_string(),
        key: taint.key.clone(),
        time_added: None,
        value: (!taint.value.is_empty()).then(|| taint.value.clone()),
    }
}

/// The node of a machine, as its kubelet registers it.
pub(super) fn of_machine(name: &NodeName, machine: &Machine, site: &Site, now: Timestamp) -> Node {
    let spec = &machine.spec;
    let taints = spec.taints.iter().map(taint);
    let version = format!("v{}", spec.version);
    let disk = disk_of(spec);
    Node {
        metadata: ObjectMeta {
            name: Some(name.to_string()),
            labels: Some(labels(name, machine, site)),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            provider_id: Some(site.provider_id(spec, machine.instance)),
            taints: Some(taints.chain([not_ready("NoSchedule"), not_ready("NoExecute")]).collect()),
            ..NodeSpec::default()
        }),
        status: Some(NodeStatus {
            addresses: Some(addresses(name, machine)),
            allocatable: Some(amounts(spec.allocatable, disk / 10 * 9, spec.max_pods)),
            capacity: Some(amounts(
                Resources {
                    cpu: MilliCpu(spec.allocatable.cpu.0 + 140),
                    memory: Bytes(spec.allocatable.memory.0 + (1 << 30)),
                },
                disk,
                spec.max_pods,
            )),
            conditions: Some(vec![ready_condition(false, now, "container runtime network not ready")]),
            node_info: Some(NodeSystemInfo {
                architecture: "amd64".to_owned(),
                boot_id: format!("{name}-boot-{}", machine.boot),
                container_runtime_version: "containerd://2.1.4".to_owned(),
                kernel_version: "6.8.0-1034-azure".to_owned(),
                kubelet_version: version,
                operating_system: if spec.is_windows() { "windows" } else { "linux" }.to_owned(),
                os_image: spec.node_image.clone(),
                ..NodeSystemInfo::default()
            }),
            ..NodeStatus::default()
        }),
    }
}

/// A node as it was seen in a real cluster.
pub(super) fn seen(seen: &upgrade_core::model::Node, taints: Vec<Taint>, now: Timestamp) -> Node {
    let images = seen.images.iter().map(|(image, bytes)| ContainerImage {
        names: Some(vec![image.clone()]),
        size_bytes: i64::try_from(bytes.0).ok(),
    });
    let allocatable = amounts(seen.allocatable, seen.disk.0, seen.max_pods);
    Node {
        metadata: ObjectMeta {
            name: Some(seen.name.to_string()),
            uid: Some(seen.uid.to_string()),
            labels: Some(seen.labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            provider_id: seen.provider_id.clone(),
            taints: Some(taints),
            unschedulable: seen.unschedulable.then_some(true),
            ..NodeSpec::default()
        }),
        status: Some(NodeStatus {
            allocatable: Some(allocatable),
            conditions: Some(vec![ready_condition(seen.ready, now, "as it was seen")]),
            images: Some(images.collect()),
            node_info: seen.kubelet.map(|version| NodeSystemInfo {
                boot_id: format!("{}-boot-1", seen.name),
                kubelet_version: format!("v{version}"),
                operating_system: if seen.is_windows() { "windows" } else { "linux" }.to_owned(),
                ..NodeSystemInfo::default()
            }),
            ..NodeStatus::default()
        }),
    }
}

fn labels(name: &NodeName, machine: &Machine, site: &Site) -> BTreeMap<String, String> {
    let spec = &machine.spec;
    let mode = match &spec.mode {
        PoolMode::System => "system",
        PoolMode::User => "user",
        PoolMode::Other(mode) => mode,
    };
    let os = if spec.is_windows() { "windows" } else { "linux" };
    let own = [
        ("agentpool", spec.name.as_str()),
        ("kubernetes.azure.com/agentpool", spec.name.as_str()),
        ("kubernetes.azure.com/cluster", site.node_resource_group.as_str()),
        ("kubernetes.azure.com/mode", mode),
        ("kubernetes.azure.com/node-image-version", spec.node_image.as_str()),
        ("kubernetes.azure.com/role", "agent"),
        ("kubernetes.io/arch", "amd64"),
        ("kubernetes.io/hostname", name.as_str()),
        ("kubernetes.io/os", os),
        ("node.kubernetes.io/instance-type", spec.vm_size.as_str()),
        ("topology.kubernetes.io/region", site.location.as_str()),
        ("topology.kubernetes.io/zone", machine.zone.as_str()),
    ];
    let mut labels = spec.labels.clone();
    labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    if !spec.zones.is_empty() {
        labels.insert("topology.disk.csi.azure.com/zone".to_owned(), machine.zone.clone());
    }
    labels
}

/// The address of a machine. One /16 per cluster; a pool takes the part that its name falls into, a machine its number.
pub(super) fn internal_address(machine: &Machine) -> String {
    let part = machine.spec.name.as_str().bytes().fold(7_u8, |sum, b| sum.wrapping_mul(31).wrapping_add(b));
    format!("10.224.{part}.{}", machine.instance % 250 + 4)
}

fn addresses(name: &NodeName, machine: &Machine) -> Vec<NodeAddress> {
    let address = |kind: &str, address: String| NodeAddress { address, type_: kind.to_owned() };
    vec![address("InternalIP", internal_address(machine)), address("Hostname", name.to_string())]
}

fn amounts(resources: Resources, disk: u64, pods: u32) -> BTreeMap<String, Quantity> {
    let disk = (disk > 0).then(|| ("ephemeral-storage", disk.to_string()));
    [
        ("cpu", format!("{}m", resources.cpu.0)),
        ("memory", format!("{}Ki", resources.memory.0 >> 10)),
        ("pods", pods.to_string()),
    ]
    .into_iter()
    .chain(disk)
    .map(|(key, value)| (key.to_owned(), Quantity(value)))
    .collect()
}

/// The disk that Azure gives a machine where nobody says (AKS: default OS disk sizing, by vCPUs).
fn disk_of(spec: &PoolSpec) -> u64 {
    let gibibytes = match spec.vcpus() {
        0..=7 => 128,
        8..=15 => 256,
        16..=63 => 512,
        _ => 1024,
    };
    gibibytes << 30
}

fn not_ready(effect: &str) -> Taint {
    Taint { effect: effect.to_owned(), key: NOT_READY.to_owned(), time_added: None, value: None }
}

fn ready_condition(ready: bool, now: Timestamp, message: &str) -> NodeCondition {
    let at = Some(Time(whole_second(now)));
    NodeCondition {
        last_heartbeat_time: at.clone(),
        last_transition_time: at,
        message: Some(message.to_owned()),
        reason: Some(if ready { "KubeletReady" } else { "KubeletNotReady" }.to_owned()),
        status: if ready { "True" } else { "False" }.to_owned(),
        type_: "Ready".to_owned(),
    }
}

/// Is condition `Ready` `True`?
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Is it cordoned?
pub(crate) fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

/// The kubelet's report, and the taints that follow from it.
pub(super) fn set_ready(world: &mut World, name: &str, ready: bool, message: &str) {
    let (now, key) = (world.now(), Key::new("", name));
    let was_ready = world.store.get::<Node>("", name).is_some_and(|node| is_ready(node));
    // A node that is not there has nothing to report.
    let _ = world.store.update::<Node>("", name, |node| {
        if is_ready(node) != ready {
            let status = node.status.get_or_insert_default();
            status.conditions = Some(vec![ready_condition(ready, now, message)]);
        }
        let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
        taints.retain(|taint| taint.key != NOT_READY && taint.key != UNREACHABLE);
        if !ready {
            taints.extend([not_ready("NoSchedule"), not_ready("NoExecute")]);
        }
    });
    if was_ready != ready {
        let reason = if ready { Reason::NodeReady } else { Reason::NodeNotReady };
        tell_status(world, &key, reason);
    }
}

fn tell_status(world: &mut World, key: &Key, reason: Reason) {
    world.tell::<Node>(key, reason, || format!("Node {} status is now: {}", key.name, reason.word()));
}

/// The node lifecycle controller's verdict on a node whose kubelet is silent.
pub(super) fn set_unreachable(world: &mut World, name: &str) {
    let now = world.now();
    let _ = world.store.update::<Node>("", name, |node| {
        let unknown = NodeCondition {
            reason: Some("NodeStatusUnknown".to_owned()),
            status: "Unknown".to_owned(),
            ..ready_condition(false, now, "Kubelet stopped posting node status.")
        };
        node.status.get_or_insert_default().conditions = Some(vec![unknown]);
        let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
        taints.retain(|taint| taint.key != NOT_READY && taint.key != UNREACHABLE);
        let unreachable = |effect| Taint { key: UNREACHABLE.to_owned(), ..not_ready(effect) };
        taints.extend([unreachable("NoSchedule"), unreachable("NoExecute")]);
    });
    tell_status(world, &Key::new("", name), Reason::NodeNotReady);
}

/// The node lifecycle controller mirrors `spec.unschedulable` into a taint.
pub(super) fn mirror_cordon(world: &mut World, name: &str) {
    let time = world.store.time();
    let mut told = None;
    let _ = world.store.update::<Node>("", name, |node| {
        let cordoned = is_cordoned(node);
        let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
        let tainted = taints.iter().any(|taint| taint.key == UNSCHEDULABLE);
        told = (cordoned != tainted).then_some(cordoned);
        if cordoned && !tainted {
            taints.push(Taint {
                effect: "NoSchedule".to_owned(),
                key: UNSCHEDULABLE.to_owned(),
                time_added: Some(time),
                value: None,
            });
        } else if !cordoned {
            taints.retain(|taint| taint.key != UNSCHEDULABLE);
        }
    });
    if let Some(cordoned) = told {
        let reason = if cordoned { Reason::NodeNotSchedulable } else { Reason::NodeSchedulable };
        tell_status(world, &Key::new("", name), reason);
    }
}

/// The kubelet reports the images on its disk, the largest first.
pub(super) fn report_images(world: &mut World, name: &NodeName) {
    let Some(machine) = world.kube.machines.get(name) else { return };
    let mut images: Vec<(&String, &u64)> = machine.images.iter().collect();
    images.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let images: Vec<ContainerImage> = images
        .into_iter()
        .take(REPORTED_IMAGES)
        .map(|(image, bytes)| ContainerImage {
            names: Some(vec![image.clone()]),
            size_bytes: i64::try_from(*bytes).ok(),
        })
        .collect();
    let _ = world.store.update::<Node>("", name.as_str(), |node| {
        node.status.get_or_insert_default().images = Some(images);
    });
}

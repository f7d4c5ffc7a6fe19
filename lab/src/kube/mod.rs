//! Kubernetes: what the control plane and the kubelets do by themselves.

mod machines;
mod node;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use upgrade_core::model::{KubeVersion, NodeName, PoolName};

use crate::world::{Wake, World};
use machines::Machine;

/// What the controllers and kubelets remember beside the store.
#[derive(Debug)]
pub(crate) struct Kube {
    /// The version of the API server.
    pub(crate) version: KubeVersion,
    machines: BTreeMap<NodeName, Machine>,
    /// The next free instance number of each pool's scale set.
    next_instance: BTreeMap<PoolName, u32>,
    /// The store's revision up to which the writes have been shown to the controllers.
    dispatched: u64,
}

/// Something that will happen in Kubernetes.
#[derive(Clone, Debug)]
pub enum Task {
    /// A machine has booted and its kubelet registers the node.
    Registers(NodeName, u32),
    /// The kubelet of a registered node reports ready.
    BecomesReady(NodeName, u32),
}

impl Kube {
    pub(crate) fn new(version: KubeVersion) -> Self {
        Self { version, machines: BTreeMap::new(), next_instance: BTreeMap::new(), dispatched: 0 }
    }
}

impl World {
    pub(crate) fn soon(&mut self, after: Duration, task: Task) {
        self.schedule(after, Wake::Kube(task));
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
pub(crate) fn key_of<T: Metadata<Ty = ObjectMeta>>(object: &T) -> (String, String) {
    let meta = object.metadata();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// Carries out what is due.
pub(crate) fn on_task(world: &mut World, task: Task) {
    match task {
        Task::Registers(node, boot) => machines::register(world, &node, boot),
        Task::BecomesReady(node, boot) => machines::become_ready(world, &node, boot),
    }
}

/// Shows the writes since the last time to the controllers, which put what they have to do on the queue.
pub(crate) fn dispatch(world: &mut World) {
    world.kube.dispatched = world.store.revision();
}

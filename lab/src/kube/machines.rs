//! Machines: they boot, register their node, become ready, are reimaged and go.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use upgrade_core::model::{KubeVersion, Node as SlimNode, NodeName, PoolName};

use super::events::Reason;
use super::{Kube, Task, key_of, kubelet, node, pods, volumes};
use crate::azure::{PoolSpec, node_image};
use crate::store::Key;
use crate::timing::Timing;
use crate::world::World;

/// A machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// What it is made of. `version` is the machine's own.
    pub(super) spec: PoolSpec,
    /// Its number in the scale set.
    pub(super) instance: u32,
    /// Its zone, as in `westeurope-1`; `0` for a machine without.
    pub(super) zone: String,
    /// Counts its boots; what was scheduled for an earlier one is void.
    pub(super) boot: u32,
    /// Its kubelet does not answer and does nothing.
    pub(super) silent: bool,
    /// Images on its disk, with their sizes in bytes.
    pub(super) images: BTreeMap<String, u64>,
    /// Those of the images that are not what their names meant first: how often the name had been pushed again when they came.
    pub(super) pushes: BTreeMap<String, u32>,
    /// Images on their way, with the moment when they will be there.
    pub(super) pulling: BTreeMap<String, Timestamp>,
}

impl Kube {
    /// How many machines there are, booting ones among them.
    pub(crate) fn machine_count(&self) -> usize {
        self.machines.len()
    }

    /// What they are made of.
    pub(crate) fn machine_specs(&self) -> impl Iterator<Item = &PoolSpec> {
        self.machines.values().map(|machine| &machine.spec)
    }
}

impl World {
    /// The virtual machine behind a node: its Azure id, its zone's number where it has one, its address.
    pub(crate) fn virtual_machine(&self, name: &NodeName) -> Option<(String, Option<String>, String)> {
        let machine = self.kube.machines.get(name)?;
        let id = self.site.provider_id(&machine.spec, machine.instance);
        let id = id.strip_prefix("azure://").unwrap_or(&id).to_owned();
        let zone = machine.zone.rsplit_once('-').map(|(_, number)| number.to_owned());
        Some((id, zone, super::node::internal_address(machine)))
    }

    /// A machine of the pool begins to boot. Its node registers, not ready, and then becomes ready.
    pub fn add_machine(&mut self, pool: &PoolSpec) -> NodeName {
        let taken = self.kube.machines.values().filter(|m| m.spec.name == pool.name).map(|m| m.instance + 1);
        let next = self.kube.next_instance.entry(pool.name.clone()).or_default();
        let instance = taken.max().unwrap_or(0).max(*next);
        *next = instance + 1;
        let name = self.site.node_name(pool, instance);
        self.place_machine(name.clone(), pool.clone(), instance);
        self.boot(&name, 1);
        name
    }

    /// A machine that has always been there: its node is registered and ready at once.
    pub(crate) fn found_machine(&mut self, name: &NodeName, pool: &PoolSpec, instance: u32) {
        self.place_machine(name.clone(), pool.clone(), instance);
        register(self, name, 1);
        become_ready(self, name, 1);
    }

    /// A node that was seen in a real cluster, as it was seen; with the machine behind it, if its pool is known.
    pub(crate) fn adopt_machine(&mut self, seen: &SlimNode, spec: Option<PoolSpec>, taints: Vec<Taint>) {
        if let Some(spec) = spec {
            let instance = seen.provider_id.as_deref().and_then(|id| id.rsplit('/').next()?.parse().ok());
            let known = self.machines_of(&spec.name).count();
            let instance = instance.unwrap_or(u32::try_from(known).unwrap_or_default());
            self.place_machine(seen.name.clone(), spec, instance);
            if let (Some(machine), Some(zone)) = (self.kube.machines.get_mut(&seen.name), seen.zone()) {
                zone.clone_into(&mut machine.zone);
            }
        }
        let node = node::seen(seen, taints, self.now());
        self.store.create(node).expect("an inventory has a node once");
        volumes::register_drivers(self, &seen.name);
    }

    fn place_machine(&mut self, name: NodeName, spec: PoolSpec, instance: u32) {
        let zone = match spec.zones.len() {
            0 => "0".to_owned(),
            zones => format!("{}-{}", self.site.location, spec.zones[instance as usize % zones]),
        };
        let ordered = spec.clone();
        self.kube.machines.insert(
            name,
            Machine {
                spec,
                instance,
                zone,
                boot: 1,
                silent: false,
                images: BTreeMap::new(),
                pushes: BTreeMap::new(),
                pulling: BTreeMap::new(),
            },
        );
        self.meter.machine_ordered(&ordered, self.kube.machines.len(), self.now());
        self.touch();
    }

    /// The machine goes, with its node and every pod on it.
    pub fn remove_machine(&mut self, name: &NodeName) {
        if let Some(machine) = self.kube.machines.remove(name) {
            self.meter.machine_gone(&machine.spec, self.now());
        }
        self.kill_pods_on(name);
        // A machine that is removed before it has registered has no node.
        let _ = self.store.delete::<Node>("", name.as_str());
        volumes::forget_drivers(self, name);
        self.touch();
    }

    /// The machine starts again from the image of `version`: its pods die, its disk is empty, and the node comes back under
    /// its name with a new uid.
    pub fn reimage_machine(&mut self, name: &NodeName, version: KubeVersion) {
        let Some(machine) = self.kube.machines.get_mut(name) else { return };
        machine.spec.version = version;
        machine.spec.node_image = node_image(&machine.spec.os, version);
        machine.images.clear();
        machine.pushes.clear();
        machine.pulling.clear();
        machine.silent = false;
        machine.boot += 1;
        let boot = machine.boot;
        self.kill_pods_on(name);
        node::set_ready(self, name.as_str(), false, "the kubelet has stopped posting node status");
        self.boot(name, boot);
    }

    /// The machine's kubelet stops answering: nothing on it changes any more, and soon its node counts as unreachable.
    pub fn silence_machine(&mut self, name: &NodeName) {
        let Some(machine) = self.kube.machines.get_mut(name) else { return };
        machine.silent = true;
        let boot = machine.boot;
        let grace = self.timing.setting(Timing::NodeGrace);
        self.soon(grace, Task::Missed(name.clone(), boot));
        self.touch();
    }

    /// A silent machine's kubelet answers again.
    pub fn wake_machine(&mut self, name: &NodeName) {
        let Some(machine) = self.kube.machines.get_mut(name).filter(|machine| machine.silent) else { return };
        machine.silent = false;
        node::set_ready(self, name.as_str(), true, "kubelet is posting ready status");
        kubelet::comes_back(self, name);
        self.touch();
    }

    /// Is the machine's node registered and ready?
    pub fn node_is_ready(&self, name: &NodeName) -> bool {
        self.store.get::<Node>("", name.as_str()).is_some_and(|node| node::is_ready(node))
    }

    /// The machines of a pool, by name.
    pub fn machines_of<'a>(&'a self, pool: &'a PoolName) -> impl Iterator<Item = &'a NodeName> {
        self.kube.machines.iter().filter(move |(_, machine)| machine.spec.name == *pool).map(|(name, _)| name)
    }

    /// The next `machines` that boot in the pool, new ones and reimaged ones, never register a node.
    pub fn never_join(&mut self, pool: &PoolName, machines: u32) {
        *self.kube.never_joining.entry(pool.clone()).or_default() += machines;
    }

    /// From now on the pool's machines take `factor` times as long to boot.
    pub fn slow_boot(&mut self, pool: &PoolName, factor: u32) {
        self.kube.slow_boots.insert(pool.clone(), factor);
    }

    /// From now on the pool's machines that boot register with one more taint.
    pub fn taint_boots(&mut self, pool: &PoolName, taint: &upgrade_core::model::Taint) {
        self.kube.tainted_boots.insert(pool.clone(), node::taint(taint));
    }

    /// From the order, or the reimage, to the registered node.
    fn boot(&mut self, name: &NodeName, boot: u32) {
        let Some(spec) = self.kube.machines.get(name).map(|machine| &machine.spec) else { return };
        let (pool, windows) = (spec.name.clone(), spec.is_windows());
        let after = self.draw(if windows { Timing::BootWindows } else { Timing::Boot });
        if let Some(left) = self.kube.never_joining.get_mut(&pool).filter(|left| **left > 0) {
            *left -= 1;
            return;
        }
        let factor = self.kube.slow_boots.get(&pool).copied().unwrap_or(1);
        self.soon(after * factor, Task::Registers(name.clone(), boot));
    }

    fn kill_pods_on(&mut self, name: &NodeName) {
        let pods: Vec<Key> = self.store.pods_on(name.as_str()).map(|pod| key_of(&**pod)).collect();
        for key in pods {
            self.store.delete::<Pod>(&key.namespace, &key.name).expect("it was just listed");
        }
    }
}

/// The kubelet registers the node, not ready yet.
pub(super) fn register(world: &mut World, name: &NodeName, boot: u32) {
    let Some(machine) = world.kube.machines.get(name).filter(|machine| machine.boot == boot) else { return };
    let mut node = node::of_machine(name, machine, &world.site, world.now());
    if let Some(taint) = world.kube.tainted_boots.get(&machine.spec.name) {
        let spec = node.spec.get_or_insert_default();
        spec.taints.get_or_insert_default().push(taint.clone());
    }
    // The old node of a reimaged machine.
    let _ = world.store.delete::<Node>("", name.as_str());
    volumes::forget_drivers(world, name);
    world.store.create(node).expect("the name is free");
    world.tell::<Node>(&Key::new("", name.as_str()), Reason::RegisteredNode, || {
        format!("Node {name} event: Registered Node {name} in Controller")
    });
    let after = world.draw(Timing::NodeReady);
    world.soon(after, Task::BecomesReady(name.clone(), boot));
}

/// The kubelet reports ready.
pub(super) fn become_ready(world: &mut World, name: &NodeName, boot: u32) {
    if world.kube.machines.get(name).is_some_and(|machine| machine.boot == boot) {
        node::set_ready(world, name.as_str(), true, "kubelet is posting ready status");
        volumes::register_drivers(world, name);
    }
}

/// Nothing has been heard of a kubelet for too long: the node lifecycle controller marks its node, and its pods as not ready.
pub(super) fn missed(world: &mut World, name: &NodeName, boot: u32) {
    if world.kube.machines.get(name).is_none_or(|machine| !machine.silent || machine.boot != boot) {
        return;
    }
    node::set_unreachable(world, name.as_str());
    let pods: Vec<Key> = world.store.pods_on(name.as_str()).map(|pod| key_of(&**pod)).collect();
    let now = world.store.time();
    for key in pods {
        let _ = world.store.update::<Pod>(&key.namespace, &key.name, |pod| {
            let status = pod.status.get_or_insert_default();
            pods::set_condition(status, "Ready", false, Some("NodeNotReady"), None, &now);
        });
    }
}

/// The owner reference by which an object is controlled.
pub(crate) fn controlled_by<T: crate::store::Stored>(owner: &T) -> OwnerReference {
    let meta = owner.metadata();
    OwnerReference {
        api_version: T::API_VERSION.to_owned(),
        block_owner_deletion: Some(true),
        controller: Some(true),
        kind: T::KIND.to_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    }
}

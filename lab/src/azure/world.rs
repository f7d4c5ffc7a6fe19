//! The World as the ground Azure stands on.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};
use upgrade_core::model::{KubeVersion, NodeName, PoolName, Resources};

use super::error::ArmError;
use super::ground::{Drained, Ground, Machine};
use super::operation::OperationId;
use super::{Azure, AzureWake, Conditions, PoolSpec};
use crate::error::ApiError;
use crate::store::controller;
use crate::timing::Timing;
use crate::world::{Wake, World};

impl World {
    /// Lets Azure act on this world. A write that Azure refuses leaves no trace: it works on a copy of its books, which is
    /// taken over when it says yes.
    pub(crate) fn with_azure<T, E>(
        &mut self,
        act: impl FnOnce(&mut Azure, &mut dyn Ground) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut azure = self.azure.clone();
        let result = act(&mut azure, self)?;
        self.azure = azure;
        self.touch();
        Ok(result)
    }
}

impl World {
    /// The next operation that begins in Azure ends Failed with this error, having done everything but its last act: a pool that
    /// was to be upgraded reports the new version and has old nodes, a new one is there and Failed.
    pub fn fail_next_operation(&mut self, code: &str, message: &str) {
        self.azure.fail_next_operation(code, message);
        self.touch();
    }

    /// Somebody scales a pool in Azure. Gives Azure's refusal in its own words.
    pub fn scale_pool(&mut self, pool: &PoolName, count: u32) -> Result<(), String> {
        let name = pool.as_str();
        let scaled = self.azure.pool(name).and_then(|mut body| {
            body["properties"]["count"] = count.into();
            let any = Conditions::default();
            self.with_azure(|azure, ground| azure.put_pool(ground, name, &any, &body))
        });
        scaled.map(drop).map_err(|error| error.to_string())
    }

    /// Azure answers 429 to every request until then.
    pub fn throttle_azure(&mut self, until: Timestamp) {
        self.azure.throttle(until);
        self.touch();
    }

    /// The machines of a pool, as ARM lists them.
    pub(crate) fn machines_shown(&self, pool: &str) -> Result<Value, ArmError> {
        let names = self.azure.machine_names(pool)?;
        let shown = names.iter().filter_map(|name| self.shown_as_machine(pool, name));
        Ok(json!({ "value": shown.collect::<Value>() }))
    }

    /// One machine of a pool.
    pub(crate) fn machine_shown(&self, pool: &str, machine: &str) -> Result<Value, ArmError> {
        let names = self.azure.machine_names(pool)?;
        let name = names.iter().find(|name| name.as_str() == machine);
        name.and_then(|name| self.shown_as_machine(pool, name))
            .ok_or_else(|| ArmError::aks(404, "NotFound", "Could not find the machine."))
    }

    fn shown_as_machine(&self, pool: &str, name: &NodeName) -> Option<Value> {
        let (vm, zone, address) = self.virtual_machine(name)?;
        let id = format!("{}/agentPools/{pool}/machines/{name}", self.azure.id());
        let mut shown = json!({ "id": id, "name": name.as_str(),
            "type": "Microsoft.ContainerService/managedClusters/agentPools/machines",
            "properties": { "resourceId": vm,
                "network": { "ipAddresses": [{ "family": "IPv4", "ip": address }] } } });
        if let Some(zone) = zone {
            shown["zones"] = json!([zone]);
        }
        Some(shown)
    }
}

/// Carries out what is due.
pub(crate) fn on_wake(world: &mut World, wake: AzureWake) {
    let mut azure = world.azure.clone();
    azure.on_wake(world, wake.0);
    world.azure = azure;
    world.touch();
}

impl Ground for World {
    fn now(&self) -> Timestamp {
        World::now(self)
    }

    fn draw(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.rng.u64(range)
    }

    fn takes(&mut self, timing: Timing) -> Duration {
        World::draw(self, timing)
    }

    fn wake_azure(&mut self, after: Duration, operation: OperationId) {
        self.schedule(after, Wake::Azure(AzureWake(operation)));
    }

    fn allocatable(&self, vm_size: &str) -> Resources {
        self.site.allocatable(vm_size)
    }

    fn known_sizes(&self) -> Vec<String> {
        self.site.sizes.keys().cloned().collect()
    }

    fn add_machine(&mut self, pool: &PoolSpec) -> NodeName {
        World::add_machine(self, pool)
    }

    fn remove_machine(&mut self, node: &NodeName) {
        World::remove_machine(self, node);
    }

    fn reimage_machine(&mut self, node: &NodeName, version: KubeVersion) {
        World::reimage_machine(self, node, version);
    }

    fn machine(&self, name: &NodeName) -> Machine {
        let Some(node) = self.store.get::<Node>("", name.as_str()) else { return Machine::default() };
        let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
        let kubelet = info.and_then(|info| info.kubelet_version.parse().ok());
        Machine { ready: self.node_is_ready(name), kubelet }
    }

    fn set_unschedulable(&mut self, node: &NodeName, unschedulable: bool) {
        // A machine that has not registered yet has nothing to cordon.
        let _ = World::set_unschedulable(self, node.as_str(), None, unschedulable);
    }

    fn drain(&mut self, node: &NodeName, ignore_budgets: bool) -> Drained {
        let pods: Vec<_> =
            self.store.pods_on(node.as_str()).filter(|pod| leaves_by_drain(pod)).cloned().collect();
        let mut drained = Drained::default();
        for pod in pods {
            let meta = &pod.metadata;
            let (namespace, name) =
                (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
            if meta.deletion_timestamp.is_none() {
                let answer = if ignore_budgets {
                    self.delete_pod(namespace, name, None).map(drop)
                } else {
                    self.evict(namespace, name, None)
                };
                if let Err(error) = answer {
                    // The first refusal is the one that is told.
                    drained.blocked.get_or_insert_with(|| format!("{namespace}/{name}: {}", refusal(&error)));
                }
            }
            let uid = meta.uid.as_deref();
            let there =
                self.store.get::<Pod>(namespace, name).is_some_and(|now| now.metadata.uid.as_deref() == uid);
            drained.left += usize::from(there);
        }
        drained
    }

    fn unsatisfiable_budget(&self) -> Option<String> {
        let never = |budget: &&std::sync::Arc<PodDisruptionBudget>| {
            let most = budget.spec.as_ref().and_then(|spec| spec.max_unavailable.as_ref());
            most.is_some_and(|most| match most {
                IntOrString::Int(count) => *count == 0,
                IntOrString::String(percent) => percent == "0%",
            })
        };
        let budget = self.store.list::<PodDisruptionBudget>().find(never)?;
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        Some(format!("{}/{}", part(&budget.metadata.namespace), part(&budget.metadata.name)))
    }

    fn control_plane_runs(&mut self, version: KubeVersion) {
        World::control_plane_runs(self, version);
    }
}

/// A refusal with the budget's own words, as AKS shows it.
fn refusal(error: &ApiError) -> String {
    let causes: Vec<_> = error.causes.iter().map(|cause| cause.message.as_str()).collect();
    format!("{} {}", error.message, causes.join(" ")).trim().to_owned()
}

/// Does a drain remove the pod? It leaves those of DaemonSets, static pods, and those that have ended.
fn leaves_by_drain(pod: &Pod) -> bool {
    let daemon = controller(&pod.metadata).is_some_and(|owner| owner.kind == "DaemonSet");
    let annotations = pod.metadata.annotations.as_ref();
    let mirror = annotations.is_some_and(|all| all.contains_key("kubernetes.io/config.mirror"));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !daemon && !mirror && !matches!(phase, Some("Succeeded" | "Failed"))
}

//! What Kubernetes does in the lab: tables with the numbers computed by hand, and stories told on the demo cluster.
//!
//! The tables run one controller at a time on a world without machines, so that nothing happens but what a row says.

#![expect(clippy::needless_pass_by_value, reason = "manifests are written where they are used")]

mod admission;
mod budgets;
mod eviction;
mod jobs;
mod kubelet;
mod rollouts;
mod stories;
mod told;

use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use upgrade_core::model::NodeName;

use super::{key_of, pods};
use crate::store::{Key, Stored};
use crate::{Scenario, World};

/// A world with a control plane and nothing else.
pub(super) fn field() -> World {
    let mut scenario = Scenario::demo();
    scenario.objects.clear();
    scenario.pools.clear();
    let mut world = World::empty(&scenario, 1);
    world
        .store
        .create(object::<k8s_openapi::api::core::v1::Namespace>(json!({ "metadata": { "name": "shop" } })))
        .unwrap();
    world
}

pub(super) fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Creates an object in `shop`, as a client would write it.
pub(super) fn apply<T: Stored>(world: &mut World, mut value: Value) -> Key {
    if T::KIND_OF.is_namespaced() && value["metadata"]["namespace"].is_null() {
        value["metadata"]["namespace"] = "shop".into();
    }
    key_of(&*world.store.create(object::<T>(value)).unwrap())
}

/// Lets the controllers act for a while.
pub(super) fn settle(world: &mut World, seconds: i64) {
    world.dispatch();
    let until = world.now() + SignedDuration::from_secs(seconds);
    world.advance_to(until);
}

/// A machine whose kubelet does nothing: what happens to its pods, the test says.
pub(super) fn silent_machine(world: &mut World, name: &str) {
    let scenario = Scenario::demo();
    let name = NodeName::new(name).unwrap();
    world.found_machine(&name, &scenario.pool_spec(&scenario.pools[1]), 0);
    world.kube.machines.get_mut(&name).unwrap().silent = true;
}

/// What a pod's status says of its readiness.
pub(super) fn status(phase: &str, ready: bool) -> Value {
    json!({ "phase": phase, "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] })
}

/// An owner reference as a controller writes it.
pub(super) fn owner(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!([{ "apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true }])
}

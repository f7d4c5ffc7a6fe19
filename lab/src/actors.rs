//! Things that fight back: other people and programs that work on the same cluster, each with a mind of its own.
//!
//! A scenario names its [`Actor`]s; they begin when the world is handed over, and act at their own times. What they do depends on
//! the world and the seed and nothing else.

mod autoscaler;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde::{Deserialize, Serialize};
use upgrade_core::model::{NodeName, ObjectName, WorkloadKind, WorkloadRef};

use crate::error::ApiError;
use crate::faults::span;
use crate::store::Key;
use crate::world::{Wake, World};

/// Somebody who works on the cluster beside Drover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Actor {
    /// A GitOps controller: what is not in its repository is taken out again. It knows the pod annotations of the namespace's
    /// Deployments and StatefulSets as they were when it began, and puts those back; so it undoes a restart, which is a second
    /// rollout.
    #[serde(rename = "gitops")]
    GitOps {
        /// The namespace that it keeps.
        namespace: String,
        /// How often it compares.
        #[serde(with = "span")]
        every: Duration,
    },
    /// An operator that owns a workload and writes its number of replicas back.
    ReplicaKeeper {
        /// The workload: a Deployment or a StatefulSet.
        workload: WorkloadRef,
        /// The number that it wants.
        replicas: i32,
        /// How often it looks.
        #[serde(with = "span")]
        every: Duration,
    },
    /// A webhook on evictions that refuses them and moves the pod itself a while later, past every budget (KubeVirt, Strimzi).
    EvictionRefuser {
        /// The namespace of its pods.
        namespace: String,
        /// The label `app` of its pods.
        app: String,
        /// The HTTP status of its refusal.
        code: u16,
        /// How long it takes until it deletes the pod.
        #[serde(with = "span")]
        moves_after: Duration,
    },
    /// The cluster autoscaler: it looks after the pools that have it on.
    ClusterAutoscaler,
    /// A script that takes away every cordon that it finds: another tool that thinks it owns the nodes.
    Uncordoner {
        /// How often it looks.
        #[serde(with = "span")]
        every: Duration,
    },
    /// Another person cordons a node, or takes a cordon away that is not hers.
    Cordoner {
        /// The node.
        node: NodeName,
        /// When, from the beginning.
        #[serde(with = "span")]
        after: Duration,
        /// To cordon, or to uncordon.
        unschedulable: bool,
    },
}

/// What the actors do next.
#[derive(Clone, Debug)]
pub(crate) enum ActorWake {
    /// The actor of this number has its turn.
    Turn(usize),
    /// The pod of a refused eviction is moved, if it is still the one with this uid.
    Move(Key, String),
}

/// Pod annotations of a workload.
type Annotations = Option<BTreeMap<String, String>>;

/// The actors of a world, and what they remember.
#[derive(Debug, Default)]
pub(crate) struct Actors {
    all: Vec<Actor>,
    /// The pod annotations in the repository of each GitOps controller.
    repositories: BTreeMap<usize, BTreeMap<(bool, Key), Annotations>>,
    /// Pods whose move is under way, by uid.
    moving: std::collections::BTreeSet<String>,
    scaler: autoscaler::Memory,
}

impl World {
    /// The actors begin.
    pub(crate) fn begin_actors(&mut self, actors: &[Actor]) {
        for actor in actors {
            self.add_actor(actor.clone());
        }
    }

    /// Somebody else begins to work on the cluster.
    pub fn add_actor(&mut self, actor: Actor) {
        let number = self.actors.all.len();
        let first = match &actor {
            Actor::GitOps { namespace, every } => {
                let seen = templates(self, namespace);
                self.actors.repositories.insert(number, seen);
                Some(*every)
            }
            Actor::ReplicaKeeper { every, .. } | Actor::Uncordoner { every } => Some(*every),
            Actor::ClusterAutoscaler => Some(autoscaler::SCAN),
            Actor::Cordoner { after, .. } => Some(*after),
            // It acts when it is asked.
            Actor::EvictionRefuser { .. } => None,
        };
        self.actors.all.push(actor);
        if let Some(after) = first {
            self.schedule(after, Wake::Actor(ActorWake::Turn(number)));
        }
    }

    /// Does somebody refuse the eviction? Asked before the API server looks at the budgets.
    pub(crate) fn refuse_eviction(
        &mut self,
        namespace: &str,
        name: &str,
        options: Option<&DeleteOptions>,
    ) -> Result<(), ApiError> {
        let Some(pod) = self.store.get::<Pod>(namespace, name) else { return Ok(()) };
        let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get("app"));
        let refuser = self.actors.all.iter().find_map(|actor| match actor {
            Actor::EvictionRefuser { namespace: own, app, code, moves_after }
                if own == namespace && Some(app) == label =>
            {
                Some((*code, *moves_after))
            }
            _ => None,
        });
        let Some((code, moves_after)) = refuser.filter(|_| pod.metadata.deletion_timestamp.is_none()) else {
            return Ok(());
        };
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let dry_run = options.and_then(|options| options.dry_run.as_ref()).is_some();
        // Asked again, it is on its way already.
        if !dry_run && self.actors.moving.insert(uid.clone()) {
            let key = Key::new(namespace, name);
            self.schedule(moves_after, Wake::Actor(ActorWake::Move(key, uid)));
        }
        let reason = if code == 429 { "TooManyRequests" } else { "Forbidden" };
        let why = format!(
            "admission webhook \"evictions.example.com\" denied the request: eviction of {namespace}/{name} triggered its move by the operator"
        );
        Err(ApiError::new(code, reason, why))
    }
}

/// Carries out what is due.
pub(crate) fn on_wake(world: &mut World, wake: ActorWake) {
    match wake {
        ActorWake::Turn(number) => turn(world, number),
        ActorWake::Move(key, uid) => {
            world.actors.moving.remove(&uid);
            let pod = world.store.get::<Pod>(&key.namespace, &key.name);
            if pod.is_some_and(|pod| pod.metadata.uid.as_ref() == Some(&uid)) {
                let _ = world.delete_pod(&key.namespace, &key.name, None);
            }
        }
    }
}

fn turn(world: &mut World, number: usize) {
    let Some(actor) = world.actors.all.get(number).cloned() else { return };
    let again = match actor {
        Actor::GitOps { every, .. } => {
            revert(world, number);
            Some(every)
        }
        Actor::ReplicaKeeper { workload, replicas, every } => {
            keep(world, &workload, replicas);
            Some(every)
        }
        Actor::Cordoner { node, unschedulable, .. } => {
            // The node may be gone.
            let _ = world.set_unschedulable(node.as_str(), None, unschedulable);
            None
        }
        Actor::ClusterAutoscaler => {
            autoscaler::turn(world);
            Some(autoscaler::SCAN)
        }
        Actor::Uncordoner { every } => {
            uncordon(world);
            Some(every)
        }
        Actor::EvictionRefuser { .. } => None,
    };
    if let Some(after) = again {
        world.schedule(after, Wake::Actor(ActorWake::Turn(number)));
    }
}

/// The pod annotations of a namespace's Deployments (`true`) and StatefulSets.
fn templates(world: &World, namespace: &str) -> BTreeMap<(bool, Key), Annotations> {
    let annotations = |template: &k8s_openapi::api::core::v1::PodTemplateSpec| {
        template.metadata.as_ref().and_then(|meta| meta.annotations.clone())
    };
    let deployments = world.store.list_in::<Deployment>(namespace);
    let deployments =
        deployments.map(|found| ((true, crate::kube::key_of(&**found)), annotations(&found.spec.template)));
    let sets = world.store.list_in::<StatefulSet>(namespace);
    let sets = sets.map(|found| ((false, crate::kube::key_of(&**found)), annotations(&found.spec.template)));
    deployments.chain(sets).collect()
}

fn revert(world: &mut World, number: usize) {
    let repository = world.actors.repositories.get(&number).cloned().unwrap_or_default();
    for ((is_deployment, key), wanted) in repository {
        let put_back = |template: &mut k8s_openapi::api::core::v1::PodTemplateSpec| {
            template.metadata.get_or_insert_default().annotations = wanted;
        };
        // What is gone from the cluster it would make again; that is not what it is here for.
        let _ = if is_deployment {
            let change = |found: &mut Deployment| put_back(&mut found.spec.template);
            world.store.update::<Deployment>(&key.namespace, &key.name, change).map(drop)
        } else {
            let change = |found: &mut StatefulSet| put_back(&mut found.spec.template);
            world.store.update::<StatefulSet>(&key.namespace, &key.name, change).map(drop)
        };
    }
}

fn uncordon(world: &mut World) {
    let cordoned: Vec<NodeName> =
        world.kube.view.nodes().filter(|node| node.unschedulable).map(|node| node.name.clone()).collect();
    for node in cordoned {
        // It was there a moment ago.
        let _ = world.set_unschedulable(node.as_str(), None, false);
    }
}

fn keep(world: &mut World, workload: &WorkloadRef, replicas: i32) {
    let name: &ObjectName = &workload.name;
    let _ = match workload.kind {
        WorkloadKind::Deployment => {
            let change = |found: &mut Deployment| found.spec.replicas = Some(replicas);
            world.store.update::<Deployment>(name.namespace(), name.name(), change).map(drop)
        }
        WorkloadKind::StatefulSet => {
            let change = |found: &mut StatefulSet| found.spec.replicas = Some(replicas);
            world.store.update::<StatefulSet>(name.namespace(), name.name(), change).map(drop)
        }
        // Nothing else has a number that somebody could keep.
        WorkloadKind::DaemonSet | WorkloadKind::ReplicaSet | WorkloadKind::Job | WorkloadKind::Other(_) => {
            Ok(())
        }
    };
}

#[cfg(test)]
mod tests;

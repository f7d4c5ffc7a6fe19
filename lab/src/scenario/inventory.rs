//! A world that stands in for a real cluster: the same nodes, pods, budgets and pools, in the same places.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use upgrade_core::inventory::Inventory;
use upgrade_core::model::{
    Labels, NodeName, ObjectName, Pod, PodPhase, Pool, PoolName, Resources, Strategy, Uid, Workload,
    WorkloadKind,
};
use upgrade_core::view::View;

use super::{Scenario, ensure_namespace, objects};
use crate::kube::{self, RUN_SECONDS};
use crate::lab::Lab;
use crate::store::Stored;
use crate::timing::TimingModel;
use crate::world::World;

/// Where time begins at the earliest for an inventory that does not say when it was taken, as a plan's.
const EPOCH: &str = "2026-01-15T01:00:00Z";
/// How long what a world stands in for has been running when it begins.
const HAS_RUN: SignedDuration = SignedDuration::from_hours(24);
/// How long a running Job's pod has still to run, in seconds, from and to: nobody can know.
const JOB_RUNS: (u64, u64) = (600, 3_600);
/// When a readiness probe looks first, in seconds, from and to: the model does not keep it.
const READY_AFTER: (i32, i32) = (3, 20);

impl Lab {
    /// A world that stands in for the cluster of an inventory: placement, budgets, pools and Services as they were seen, at
    /// rest. Differs from the cluster where the inventory does not say: sizes of images that no node has, start-up times,
    /// the rest of a Job. Those are drawn from the seed.
    ///
    /// Pods that were ending when they were seen are left out. The pods of an owner that Drover does not read (custom
    /// resources) are there, but nobody makes them again when they go.
    pub fn from_inventory(inventory: &Inventory, timing: &TimingModel, seed: u64) -> Self {
        let view = inventory.view();
        let scenario = scenario(inventory, &view, timing);
        let mut world = World::empty_beside(&scenario, seed, taken(inventory));
        world.store.forget();
        Replica::of(inventory, &view, &scenario, &mut world, seed).build();
        world.dispatch();
        world.settle(SignedDuration::from_mins(2));
        Self::of_world(world)
    }
}

/// The uids that the inventory's objects keep, as one number. An inventory can come from a lab of the same seed, whose uids would
/// be drawn again, and one that has been replicated before keeps uids that were drawn for the replica.
fn taken(inventory: &Inventory) -> u64 {
    let pods = inventory.pods.iter().map(|pod| &pod.uid);
    let workloads = inventory.workloads.iter().map(|workload| &workload.uid);
    let uids = inventory.nodes.iter().map(|node| &node.uid).chain(pods).chain(workloads);
    uids.flat_map(|uid| uid.as_str().bytes()).fold(0, mix)
}

/// One step of a hash that is the same on every machine.
fn mix(hash: u64, byte: u8) -> u64 {
    hash.wrapping_mul(31).wrapping_add(u64::from(byte))
}

/// When the world begins: not before what was seen in it. A pod that was ready in times to come would not be available.
fn start(inventory: &Inventory) -> Timestamp {
    let taken = inventory.taken_at.unwrap_or_else(|| EPOCH.parse().expect("a literal"));
    inventory.pods.iter().filter_map(|pod| pod.ready_since).fold(taken, Timestamp::max)
}

fn scenario(inventory: &Inventory, view: &View, timing: &TimingModel) -> Scenario {
    let mut names: BTreeMap<PoolName, Vec<NodeName>> = BTreeMap::new();
    let mut sizes: BTreeMap<String, Resources> = BTreeMap::new();
    let mut images = BTreeMap::new();
    for pool in &inventory.pools {
        let nodes: Vec<_> = view.nodes_of(&pool.name).collect();
        names.insert(pool.name.clone(), nodes.iter().map(|node| node.name.clone()).collect());
        if let Some(node) = nodes.iter().min_by_key(|node| (node.allocatable.cpu, node.allocatable.memory)) {
            sizes.insert(pool.vm_size.clone(), node.allocatable);
        }
    }
    for (image, bytes) in inventory.nodes.iter().flat_map(|node| &node.images) {
        images.insert(image.clone(), bytes.0);
    }
    Scenario {
        start: start(inventory),
        identity: inventory.identity.clone(),
        rancher: inventory.rancher.clone(),
        deeds: Vec::new(),
        limits: crate::azure::AzureLimits::default(),
        cluster: inventory.cluster.clone(),
        pools: inventory.pools.clone(),
        sizes,
        timing: timing.clone(),
        images,
        objects: Vec::new(),
        deprecated_apis: inventory.deprecated_apis.clone(),
        actors: Vec::new(),
        faults: Vec::new(),
        names,
    }
}

struct Replica<'a> {
    inventory: &'a Inventory,
    view: &'a View,
    scenario: &'a Scenario,
    deployments: BTreeMap<&'a Uid, &'a Workload>,
    world: &'a mut World,
    seed: u64,
}

impl<'a> Replica<'a> {
    fn of(
        inventory: &'a Inventory,
        view: &'a View,
        scenario: &'a Scenario,
        world: &'a mut World,
        seed: u64,
    ) -> Self {
        let deployments = inventory.workloads.iter().filter(|w| w.reference.kind == WorkloadKind::Deployment);
        let deployments = deployments.map(|workload| (&workload.uid, workload)).collect();
        Self { inventory, view, scenario, deployments, world, seed }
    }

    fn build(mut self) {
        let inventory = self.inventory;
        for node in &inventory.nodes {
            self.node(node);
        }
        for claim in &inventory.claims {
            let (claim, volume) = objects::claim(claim);
            self.create(volume);
            self.create(claim);
        }
        for workload in &inventory.workloads {
            self.workload(workload);
        }
        for pod in inventory.pods.iter().filter(|pod| !pod.terminating) {
            self.pod(pod);
        }
        for budget in &inventory.budgets {
            self.create(objects::budget(budget));
        }
        for scaler in &inventory.autoscalers {
            self.create(objects::autoscaler(scaler));
        }
        let without_selector: BTreeSet<_> = inventory
            .services
            .iter()
            .filter(|service| service.selector.is_empty())
            .map(|s| &s.name)
            .collect();
        for service in &inventory.services {
            self.create(objects::service(service));
        }
        for slice in &inventory.slices {
            let service = slice.service.as_deref().unwrap_or_default();
            let service = ObjectName::new(slice.name.namespace(), service);
            if service.is_ok_and(|service| without_selector.contains(&service)) {
                self.slice(slice);
            }
        }
    }

    fn create<T: Stored>(&mut self, object: T) {
        ensure_namespace(self.world, object.metadata().namespace.as_deref());
        // A name that the inventory has twice counts once.
        let _ = self.world.store.create(object);
    }

    fn start(&self) -> Timestamp {
        self.world.now()
    }

    fn node(&mut self, node: &upgrade_core::model::Node) {
        let pool = node.pool().and_then(|name| self.inventory.pools.iter().find(|pool| pool.name == name));
        let spec = pool.map(|pool| Pool { version: node.kubelet.unwrap_or(pool.version), ..pool.clone() });
        let spec = spec.map(|pool| self.scenario.pool_spec(&pool));
        self.world.adopt_machine(node, spec, node.taints.iter().map(objects::taint).collect());
        for (image, bytes) in &node.images {
            self.world.found_image(&node.name, image, bytes.0);
        }
    }

    /// When the pods' probes look first, and how important the pods are, which only pods say where it comes from a class: the same
    /// for a ReplicaSet as for its Deployment, which would roll otherwise.
    fn template(&self, workload: &Workload) -> core::PodTemplateSpec {
        let uid = workload.owner.as_ref().map_or(&workload.uid, |owner| &owner.uid);
        let whole = self.deployments.get(uid).copied().unwrap_or(workload);
        let priorities = self.view.pods_of(whole).map(|pod| pod.priority);
        let priority = priorities.fold(workload.template.priority, i32::max);
        let hash = uid.as_str().bytes().fold(self.seed, mix);
        let ready_after = fastrand::Rng::with_seed(hash).i32(READY_AFTER.0..=READY_AFTER.1);
        objects::template(&workload.template, priority, ready_after)
    }

    fn workload(&mut self, workload: &Workload) {
        match workload.reference.kind {
            WorkloadKind::Deployment => self.deployment(workload),
            WorkloadKind::ReplicaSet if workload.replicas > 0 => self.replica_set(workload),
            // Old sets without pods are history.
            WorkloadKind::ReplicaSet | WorkloadKind::Other(_) => {}
            WorkloadKind::StatefulSet => self.stateful_set(workload),
            WorkloadKind::DaemonSet => self.daemon_set(workload),
            WorkloadKind::Job => self.job(workload),
        }
    }

    fn meta(workload: &Workload) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        objects::metadata(
            &workload.reference.name,
            Some(&workload.uid),
            workload.owner.as_ref(),
            &Labels::new(),
        )
    }

    fn selector(workload: &Workload) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
        workload.selector.as_deref().map(objects::selector).unwrap_or_default()
    }

    fn deployment(&mut self, workload: &Workload) {
        let strategy = match workload.strategy {
            Strategy::Recreate => {
                apps::DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }
            }
            Strategy::Rolling { max_surge, max_unavailable } => apps::DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(apps::RollingUpdateDeployment {
                    max_surge: Some(objects::int_or_string(max_surge)),
                    max_unavailable: Some(objects::int_or_string(max_unavailable)),
                }),
            },
            Strategy::Ordered { .. } | Strategy::OnDelete | Strategy::Never => {
                apps::DeploymentStrategy::default()
            }
        };
        self.create(apps::Deployment {
            metadata: Self::meta(workload),
            spec: apps::DeploymentSpec {
                min_ready_seconds: i32::try_from(workload.min_ready_seconds).ok(),
                paused: workload.paused.then_some(true),
                replicas: i32::try_from(workload.replicas).ok(),
                selector: Self::selector(workload),
                strategy: Some(strategy),
                template: self.template(workload),
                ..apps::DeploymentSpec::default()
            },
            status: None,
        });
    }

    fn replica_set(&mut self, workload: &Workload) {
        let replicas = |workload: &Workload| i32::try_from(workload.replicas).unwrap_or(i32::MAX);
        let mut metadata = Self::meta(workload);
        let above = workload.owner.as_ref().filter(|owner| owner.kind == WorkloadKind::Deployment);
        let above = above.and_then(|owner| self.deployments.get(&owner.uid));
        if let Some(deployment) = above {
            let (surge, _) = deployment.rolling_limits().unwrap_or_default();
            let most = replicas(deployment) + i32::try_from(surge).unwrap_or_default();
            metadata.annotations = Some(kube::set_annotations(replicas(deployment), most));
        }
        self.create(apps::ReplicaSet {
            metadata,
            spec: apps::ReplicaSetSpec {
                min_ready_seconds: i32::try_from(workload.min_ready_seconds).ok(),
                replicas: Some(replicas(workload)),
                selector: Self::selector(workload),
                template: Some(self.template(workload)),
            },
            status: None,
        });
    }

    fn stateful_set(&mut self, workload: &Workload) {
        let strategy = match workload.strategy {
            Strategy::OnDelete => {
                apps::StatefulSetUpdateStrategy { type_: Some("OnDelete".to_owned()), rolling_update: None }
            }
            Strategy::Ordered { partition } => apps::StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(apps::RollingUpdateStatefulSetStrategy {
                    partition: i32::try_from(partition).ok(),
                    ..apps::RollingUpdateStatefulSetStrategy::default()
                }),
            },
            Strategy::Rolling { .. } | Strategy::Recreate | Strategy::Never => {
                apps::StatefulSetUpdateStrategy::default()
            }
        };
        let set = apps::StatefulSet {
            metadata: Self::meta(workload),
            spec: apps::StatefulSetSpec {
                min_ready_seconds: i32::try_from(workload.min_ready_seconds).ok(),
                replicas: i32::try_from(workload.replicas).ok(),
                selector: Self::selector(workload),
                template: self.template(workload),
                update_strategy: Some(strategy),
                volume_claim_templates: Some(self.claim_templates(workload)),
                ..apps::StatefulSetSpec::default()
            },
            status: None,
        };
        self.create(set);
    }

    /// The claims that the set makes, read off the claims of its pods: `<template>-<pod>`.
    fn claim_templates(&self, workload: &Workload) -> Vec<core::PersistentVolumeClaim> {
        let mut names = BTreeSet::new();
        for pod in self.view.pods_of(workload) {
            let suffix = format!("-{}", pod.name.name());
            names.extend(pod.claims.iter().filter_map(|claim| claim.strip_suffix(suffix.as_str())));
        }
        let claim = |name: &str| core::PersistentVolumeClaim {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                name: Some(name.to_owned()),
                ..Default::default()
            },
            spec: Some(core::PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                ..core::PersistentVolumeClaimSpec::default()
            }),
            status: None,
        };
        names.into_iter().map(claim).collect()
    }

    fn daemon_set(&mut self, workload: &Workload) {
        let rolling = match workload.strategy {
            Strategy::Rolling { max_surge, max_unavailable } => Some(apps::RollingUpdateDaemonSet {
                max_surge: Some(objects::int_or_string(max_surge)),
                max_unavailable: Some(objects::int_or_string(max_unavailable)),
            }),
            _ => None,
        };
        let kind = if rolling.is_some() { "RollingUpdate" } else { "OnDelete" };
        self.create(apps::DaemonSet {
            metadata: Self::meta(workload),
            spec: apps::DaemonSetSpec {
                min_ready_seconds: i32::try_from(workload.min_ready_seconds).ok(),
                selector: Self::selector(workload),
                template: self.template(workload),
                update_strategy: Some(apps::DaemonSetUpdateStrategy {
                    type_: Some(kind.to_owned()),
                    rolling_update: rolling,
                }),
                ..apps::DaemonSetSpec::default()
            },
            status: None,
        });
    }

    fn job(&mut self, workload: &Workload) {
        let parallelism = self.view.pods_of(workload).filter(|pod| !pod.is_finished()).count();
        let mut template = self.template(workload);
        let run = self.world.rng.u64(JOB_RUNS.0..=JOB_RUNS.1).to_string();
        let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
        annotations.insert(RUN_SECONDS.to_owned(), run);
        let done = JobCondition {
            type_: "Complete".to_owned(),
            status: "True".to_owned(),
            ..JobCondition::default()
        };
        let parallelism = i32::try_from(parallelism).unwrap_or(i32::MAX);
        self.create(Job {
            metadata: Self::meta(workload),
            spec: Some(JobSpec {
                completions: Some(parallelism),
                parallelism: Some(parallelism),
                selector: workload.selector.as_deref().map(objects::selector),
                template,
                ..JobSpec::default()
            }),
            status: (parallelism == 0)
                .then(|| JobStatus { conditions: Some(vec![done]), ..JobStatus::default() }),
        });
    }

    fn pod(&mut self, pod: &Pod) {
        let mut object = objects::pod(pod);
        let since = pod.ready_since.unwrap_or(self.start() - HAS_RUN);
        let phase = match &pod.phase {
            PodPhase::Pending => None,
            PodPhase::Running => Some("Running"),
            PodPhase::Succeeded => Some("Succeeded"),
            PodPhase::Failed => Some("Failed"),
            PodPhase::Unknown(phase) => Some(phase.as_str()),
        };
        if let Some(phase) = phase {
            let address = self.world.new_address();
            let mut status = kube::running_status(&object, pod.ready, since, address);
            status.phase = Some(phase.to_owned());
            object.status = Some(status);
        }
        if let Some(node) = &pod.node {
            for image in pod.all_images() {
                self.world.has_image(node, image);
            }
        }
        self.revision(pod, &mut object);
        let runs = pod.owner.as_ref().is_some_and(|owner| owner.kind == WorkloadKind::Job)
            && phase == Some("Running");
        self.create(object.clone());
        if runs {
            let left = self.world.rng.u64(JOB_RUNS.0..=JOB_RUNS.1);
            self.world.finishes_after(&object, std::time::Duration::from_secs(left));
        }
    }

    /// Pods of StatefulSets and DaemonSets are taken for pods of the current template: their controllers would replace them
    /// otherwise, because the lab's hashes are not Kubernetes'.
    fn revision(&self, pod: &Pod, object: &mut core::Pod) {
        let Some(owner) = &pod.owner else { return };
        let namespace = pod.name.namespace();
        let revision = match owner.kind {
            WorkloadKind::StatefulSet => {
                let set = self.world.store.get::<apps::StatefulSet>(namespace, &owner.name);
                set.map(|set| kube::stateful_revision(set))
            }
            WorkloadKind::DaemonSet => {
                let set = self.world.store.get::<apps::DaemonSet>(namespace, &owner.name);
                set.map(|set| kube::daemon_revision(set))
            }
            _ => None,
        };
        if let Some(revision) = revision {
            object
                .metadata
                .labels
                .get_or_insert_default()
                .insert("controller-revision-hash".to_owned(), revision);
        }
    }

    /// Endpoints that somebody writes who is not in Kubernetes.
    fn slice(&mut self, slice: &upgrade_core::model::EndpointSlice) {
        let service = slice.service.clone().unwrap_or_default();
        let labels = [("kubernetes.io/service-name".to_owned(), service)].into();
        let endpoints = slice.endpoints.iter().map(|endpoint| Endpoint {
            addresses: vec![endpoint.address.clone()],
            conditions: Some(EndpointConditions {
                ready: Some(endpoint.ready),
                ..EndpointConditions::default()
            }),
            node_name: endpoint.node.as_ref().map(ToString::to_string),
            ..Endpoint::default()
        });
        self.create(EndpointSlice {
            address_type: "IPv4".to_owned(),
            endpoints: Some(endpoints.collect()),
            metadata: objects::metadata(&slice.name, None, None, &labels),
            ports: None,
        });
    }
}

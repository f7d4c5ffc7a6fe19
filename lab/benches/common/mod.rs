//! What the benchmarks of whole upgrades share: clusters of any size, and nobody who listens.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cluster_lab::{Lab, Scenario, TimingModel};
use upgrade_core::event::{Event, Report, RunOutcome};
use upgrade_core::journal::Record;
use upgrade_core::model::{
    Endpoint, HolderId, KubeVersion, NodeName, ObjectName, PoolMode, PoolName, Resources, RunId, Uid,
    WorkloadKind, WorkloadRef, ZONE_LABEL,
};
use upgrade_core::ports::{Answer, EventSink, Gate, Journal, PortError, Ports, Question};
use upgrade_core::run::{Start, drive, stop_signal};
use upgrade_core::{Inventory, Policy, plan};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// The nodes of one pool: Azure takes a thousand at most, those that it surges with among them.
const NODES_A_POOL: u32 = 500;
/// The pods of one Deployment.
const REPLICAS: u32 = 10;
/// The Deployments of one namespace.
const DEPLOYMENTS: u32 = 20;
const TARGET: KubeVersion = KubeVersion::new(1, 35, 1);

/// A benchmark: the `head` of its table, and a line for each size that is said, or else for `sizes`. Each is measured by `one` in
/// a process of its own, so that its memory is its own.
pub(crate) fn table(head: &str, sizes: &[&str], one: fn(&str) -> Result<(), Error>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["one", size] => one(size),
        [] => compare(head, sizes),
        _ => compare(head, &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(head: &str, sizes: &[&str]) -> Result<(), Error> {
    println!("{head}");
    for size in sizes {
        let status =
            Command::new(std::env::current_exe()?).args(["one", size]).stdin(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("{size} failed").into());
        }
    }
    Ok(())
}

/// A round trip that is over.
pub(crate) struct Rehearsed {
    /// How long the cluster and its plan took to make.
    pub(crate) built: Duration,
    /// How long the rehearsal took.
    pub(crate) took: Duration,
    /// What happened in the lab.
    pub(crate) events: u64,
    pub(crate) report: Report,
}

/// Every pod of a cluster of this size (`NODESxPODS_A_NODE`) onto a buffer, and back. An error is a size that is none, or a run
/// that was not as it should be.
pub(crate) fn rehearse(size: &str) -> Result<Rehearsed, Error> {
    let (nodes, pods) = size.split_once('x').ok_or("a size is NODESxPODS_A_NODE")?;
    let began = cpu_time();
    let inventory = uniform(nodes.parse()?, pods.parse()?);
    let plan = plan(&inventory, &Policy::default(), "1.35".parse()?)?;
    let planned = cpu_time();
    let lab = Lab::from_inventory(&inventory, &TimingModel::default(), 1);
    let events = lab.with(|world| world.events());
    let start = Start::Fresh { plan, run: RunId::new("bench")?, tool: "bench".to_owned() };
    let nobody = Arc::new(Nobody);
    let ports = Ports {
        kubernetes: lab.kubernetes(),
        azure: lab.azure(),
        rancher: lab.rancher(),
        clock: lab.clock(),
        journal: Arc::<Nobody>::clone(&nobody),
        gate: Arc::<Nobody>::clone(&nobody),
        events: nobody,
        holder: HolderId::new("bench")?,
    };
    let (_stop, signal) = stop_signal();
    let report = lab.block_on(drive(start, ports, signal))??;
    let took = cpu_time().saturating_sub(planned);
    let events = lab.with(|world| world.events()) - events;
    if report.outcome != RunOutcome::Done {
        return Err(format!("{:?}", report.outcome).into());
    }
    if let Some(record) = report.ledger.iter().find(|record| !record.gaps.is_empty()) {
        return Err(format!("a gap: {record:?}").into());
    }
    let built = planned.saturating_sub(began);
    Ok(Rehearsed { built, took, events, report })
}

/// The CPU time of this thread: others who use the machine do not count.
pub(crate) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}

/// Keeps no journal, listens to nothing, and is asked nothing.
struct Nobody;

#[async_trait]
impl Journal for Nobody {
    async fn append(&self, _: &Record) -> Result<(), PortError> {
        Ok(())
    }
}

#[async_trait]
impl Gate for Nobody {
    async fn ask(&self, _: &Question) -> Answer {
        Answer::Pause
    }
}

impl EventSink for Nobody {
    fn emit(&self, _: &Event) {}
}

/// The demo cluster with user pools of so many nodes, each with so many pods of Deployments like the demo's `shop/api`, with a
/// Service and a budget each.
fn uniform(nodes: u32, pods_a_node: u32) -> Inventory {
    let mut inventory = Lab::new(&Scenario::demo(), 1).inventory();
    let like = inventory.clone();
    let pool = like.pools.iter().find(|pool| pool.mode == PoolMode::User).expect("the demo has a user pool");
    let node = like.nodes.iter().find(|node| node.is_in(&pool.name)).expect("it has nodes");
    let system: Vec<_> = like
        .pools
        .iter()
        .filter(|pool| pool.mode == PoolMode::System)
        .map(|pool| pool.name.clone())
        .collect();
    let stays = |name: &NodeName| {
        like.nodes.iter().any(|node| node.name == *name && system.iter().any(|pool| node.is_in(pool)))
    };
    inventory.pools.retain(|pool| pool.mode == PoolMode::System);
    inventory.nodes.retain(|node| stays(&node.name));
    for pool in &mut inventory.pools {
        pool.version = TARGET;
    }
    inventory.cluster.version = TARGET;
    for node in &mut inventory.nodes {
        node.kubelet = Some(TARGET);
    }
    // What runs in the demo is left out: this is about numbers.
    inventory.workloads.clear();
    inventory.pods.clear();
    inventory.budgets.clear();
    inventory.services.clear();
    inventory.slices.clear();
    inventory.claims.clear();
    let mut names = Vec::new();
    for first in (0..nodes).step_by(NODES_A_POOL as usize) {
        let number = first / NODES_A_POOL;
        let mut own = pool.clone();
        own.name = PoolName::new(format!("user{number}")).expect("letters and digits");
        own.count = NODES_A_POOL.min(nodes - first);
        own.max_pods = 110;
        for instance in 0..own.count {
            let mut node = node.clone();
            node.name =
                NodeName::new(format!("aks-{}-10000000-vmss{instance:06}", own.name)).expect("a node's name");
            node.uid = Uid::new(format!("node-{}", names.len())).expect("plain");
            let set = format!("aks-{}-10000000-vmss", own.name);
            node.provider_id = node.provider_id.as_deref().map(|id| provider_id(id, &set, instance));
            node.images.clear();
            node.max_pods = 110;
            for label in ["agentpool", "kubernetes.azure.com/agentpool"] {
                node.labels.insert(label.to_owned(), own.name.to_string());
            }
            node.labels.insert("kubernetes.io/hostname".to_owned(), node.name.to_string());
            node.labels.insert(ZONE_LABEL.to_owned(), format!("westeurope-{}", instance % 3 + 1));
            names.push(node.name.clone());
            inventory.nodes.push(node);
        }
        inventory.pools.push(own);
    }
    let deployments = nodes * pods_a_node / REPLICAS;
    for number in 0..deployments {
        deployment(&like, &mut inventory, number, &names);
    }
    inventory
}

/// The same machine's id with another scale set and number.
fn provider_id(like: &str, set: &str, instance: u32) -> String {
    let marker = "/virtualMachineScaleSets/";
    let (before, _) = like.split_once(marker).expect("the lab's machines are in scale sets");
    format!("{before}{marker}{set}/virtualMachines/{instance}")
}

/// What a pod asks for: thirty of them fill four fifths of a node.
fn asks() -> Resources {
    Resources::new(200, 512)
}

/// One more Deployment like `shop/api`, spread over the nodes.
fn deployment(like: &Inventory, inventory: &mut Inventory, number: u32, nodes: &[NodeName]) {
    let name = |name: &str| ObjectName::new(format!("team-{}", number / DEPLOYMENTS), name).expect("a name");
    let app = format!("app-{number}");
    let api = |kind: &WorkloadKind, owner: Option<&Uid>| {
        let of = |w: &&upgrade_core::model::Workload| match owner {
            Some(owner) => w.owner.as_ref().is_some_and(|o| o.uid == *owner) && w.replicas > 0,
            None => w.reference.name.to_string() == "shop/api",
        };
        like.workloads.iter().filter(|w| w.reference.kind == *kind).find(of).expect("shop/api").clone()
    };
    let label = |labels: &mut std::collections::BTreeMap<String, String>| {
        labels.clear();
        labels.insert("app".to_owned(), app.clone());
    };
    let mut deployment = api(&WorkloadKind::Deployment, None);
    let mut set = api(&WorkloadKind::ReplicaSet, Some(&deployment.uid));
    let pod = like.pods.iter().find(|p| p.owner.as_ref().is_some_and(|o| o.uid == set.uid)).expect("it runs");
    let uid = |what: &str| Uid::new(format!("{what}-{number}")).expect("plain");
    (deployment.uid, set.uid) = (uid("deployment"), uid("set"));
    deployment.reference = WorkloadRef { kind: WorkloadKind::Deployment, name: name(&app) };
    set.reference = WorkloadRef { kind: WorkloadKind::ReplicaSet, name: name(&format!("{app}-1")) };
    for workload in [&mut deployment, &mut set] {
        let template = workload.template.to_mut();
        label(&mut template.labels);
        template.claims.clear();
        template.requests = asks();
        if let Some(selector) = &mut workload.selector {
            label(&mut selector.to_mut().labels);
        }
        workload.replicas = REPLICAS;
        let status = &mut workload.status;
        (status.replicas, status.updated, status.ready, status.available) =
            (REPLICAS, REPLICAS, REPLICAS, REPLICAS);
    }
    if let Some(owner) = &mut set.owner {
        (owner.name, owner.uid) = (app.clone(), deployment.uid.clone());
    }
    let mut slice =
        like.slices.iter().find(|s| s.service.as_deref() == Some("api")).expect("a slice").clone();
    (slice.name, slice.service) = (name(&format!("{app}-1")), Some(app.clone()));
    slice.endpoints.to_mut().clear();
    for replica in 0..REPLICAS {
        let index = number * REPLICAS + replica;
        let mut pod = pod.clone();
        pod.name = name(&format!("{app}-1-{replica}"));
        pod.uid = Uid::new(format!("pod-{index}")).expect("plain");
        pod.node = Some(nodes[index as usize % nodes.len()].clone());
        pod.requests = asks();
        label(pod.labels.to_mut());
        if let Some(owner) = &mut pod.owner {
            (owner.name, owner.uid) = (set.reference.name.name().to_owned(), set.uid.clone());
        }
        slice.endpoints.to_mut().push(Endpoint {
            address: format!("10.{}.{}.{}", index >> 16, index >> 8 & 255, index & 255),
            pod: Some(pod.name.clone()),
            node: pod.node.clone(),
            ready: true,
        });
        inventory.pods.push(pod);
    }
    let mut service =
        like.services.iter().find(|s| s.name.to_string() == "shop/api").expect("a Service").clone();
    service.name = name(&app);
    label(&mut service.selector);
    let mut budget = like.budgets.iter().find(|b| b.name.namespace() == "shop").expect("a budget").clone();
    budget.name = name(&app);
    if let Some(selector) = &mut budget.selector {
        selector.expressions.clear();
        label(&mut selector.labels);
    }
    budget.status.current_healthy = REPLICAS;
    budget.status.expected = REPLICAS;
    inventory.workloads.extend([deployment, set]);
    inventory.slices.push(slice);
    inventory.services.push(service);
    inventory.budgets.push(budget);
}

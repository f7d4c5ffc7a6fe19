//! One suite for every face of the ports: what holds for the lab's ports must hold for the real adapters over HTTP.
//!
//! Each case takes ports onto a fresh demo cluster. `faces.rs` runs every case on every face.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use upgrade_core::model::{
    KubeVersion, Node, PoolName, ProvisioningState, RestartId, RunId, Uid, WorkloadKind,
};
use upgrade_core::ports::{BufferSpec, EvictionAnswer, OperationState, PortErrorKind, Ports};
use upgrade_core::view::{Change, Object, ResourceKind, View};

fn user_pool() -> PoolName {
    PoolName::new("user").unwrap()
}

fn system_pool() -> PoolName {
    PoolName::new("system").unwrap()
}

fn run() -> RunId {
    RunId::new("conformance").unwrap()
}

/// Follows the watch until `found` says so, as a run does.
async fn until<T>(ports: &Ports, mut found: impl FnMut(&View) -> Option<T>) -> T {
    let mut watch = ports.kubernetes.watch();
    let mut view = View::default();
    let mut listed = BTreeSet::new();
    while let Some(item) = watch.next().await {
        let change = item.expect("the lab loses no contact here");
        if let Change::Listed { kind, .. } = &change {
            listed.insert(*kind);
        }
        view.apply(change);
        if listed.len() == ResourceKind::ALL.len()
            && let Some(result) = found(&view)
        {
            return result;
        }
    }
    unreachable!("a watch never ends");
}

async fn view(ports: &Ports) -> View {
    until(ports, |view| Some(view.clone())).await
}

fn first_user_node(view: &View) -> Node {
    let pool = user_pool();
    view.nodes_of(&pool).next().expect("the demo has user nodes").clone()
}

/// A watch lists every kind before it tells changes, and shows what a snapshot shows.
pub(crate) async fn a_watch_begins_with_everything_and_agrees_with_a_snapshot(ports: Ports) {
    let snapshot = ports.kubernetes.snapshot().await.unwrap();
    assert!(snapshot.unseen.is_empty(), "{:?}", snapshot.unseen);
    let mut listed = View::default();
    for list in snapshot.lists {
        listed.apply(list);
    }
    let watched = view(&ports).await;
    let nodes = |view: &View| view.nodes().cloned().collect::<Vec<_>>();
    assert_eq!(nodes(&listed), nodes(&watched));
    let workloads =
        |view: &View| view.workloads().map(|w| (w.reference.clone(), w.template.clone())).collect::<Vec<_>>();
    assert_eq!(workloads(&listed), workloads(&watched));
    assert!(listed.pods().count() >= 30 && listed.budgets().count() >= 3 && listed.slices().count() >= 10);
}

/// A cordon shows in the watch, is harmless twice, and is refused for another node under the same name.
pub(crate) async fn a_cordon_shows_is_idempotent_and_checks_the_uid(ports: Ports) {
    let node = first_user_node(&view(&ports).await);
    for _ in 0..2 {
        ports.kubernetes.set_unschedulable(&node.name, &node.uid, true).await.unwrap();
    }
    until(&ports, |view| view.node(&node.name).filter(|n| n.unschedulable).map(|_| ())).await;
    let other = Uid::new("00000000-0000-0000-0000-000000000000").unwrap();
    let error = ports.kubernetes.set_unschedulable(&node.name, &other, false).await.unwrap_err();
    assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Conflict, true), "{error}");
    until(&ports, |view| view.node(&node.name).filter(|n| n.unschedulable).map(|_| ())).await;
    ports.kubernetes.set_unschedulable(&node.name, &node.uid, false).await.unwrap();
    until(&ports, |view| view.node(&node.name).filter(|n| !n.unschedulable).map(|_| ())).await;
}

/// A restart replaces every pod, the new one first, and asking for the same restart again changes nothing.
pub(crate) async fn a_restart_replaces_every_pod_once(ports: Ports) {
    let before = view(&ports).await;
    let web = before
        .workloads()
        .find(|w| {
            w.reference.kind == WorkloadKind::Deployment
                && w.replicas == 2
                && w.reference.name.namespace() == "shop"
        })
        .expect("the demo has a Deployment with two replicas in shop")
        .clone();
    let old: BTreeSet<Uid> = before.pods_of(&web).map(|pod| pod.uid.clone()).collect();
    assert_eq!(old.len(), 2);
    let id = RestartId::new("conformance.1.1.1").unwrap();
    ports.kubernetes.restart(&web.reference, &web.uid, &id, ports.clock.now()).await.unwrap();
    let after = until(&ports, |view| {
        let workload = view.workload(&web.reference)?;
        let old_left = view.pods_of(workload).any(|pod| old.contains(&pod.uid));
        let ours = workload.template.restart_id.as_ref() == Some(&id);
        (ours && workload.is_settled() && !old_left).then(|| workload.clone())
    })
    .await;
    ports.kubernetes.restart(&web.reference, &web.uid, &id, ports.clock.now()).await.unwrap();
    let again = view(&ports).await;
    assert_eq!(
        again.workload(&web.reference).unwrap().generation,
        after.generation,
        "the second request changed something"
    );
}

/// The Eviction API's answers: accepted, gone, refused by a budget; another pod under the same name is not touched.
pub(crate) async fn an_eviction_has_the_apis_answers(ports: Ports) {
    let before = view(&ports).await;
    let alone = before
        .pods()
        .find(|pod| {
            let budgets: Vec<_> = before.budgets_of(pod).collect();
            matches!(budgets[..], [budget] if budget.status.disruptions_allowed == 0) && pod.is_healthy()
        })
        .expect("the demo has a single replica behind a budget")
        .clone();
    let answer = ports.kubernetes.evict(&alone.name, &alone.uid).await.unwrap();
    let EvictionAnswer::Refused { message, .. } = answer else { panic!("{answer:?}") };
    assert!(message.contains("disruption budget"), "{message}");
    let free = before.pods().find(|pod| {
        let owner = pod.owner.as_ref().is_some_and(|owner| owner.kind == WorkloadKind::ReplicaSet);
        owner && pod.is_healthy() && before.budgets_of(pod).next().is_none()
    });
    let free = free.expect("the demo has pods without a budget").clone();
    let other = Uid::new("00000000-0000-0000-0000-000000000000").unwrap();
    assert_eq!(ports.kubernetes.evict(&free.name, &other).await.unwrap(), EvictionAnswer::Gone);
    assert!(view(&ports).await.pod(&free.name).is_some_and(|pod| pod.uid == free.uid && !pod.terminating));
    assert_eq!(ports.kubernetes.evict(&free.name, &free.uid).await.unwrap(), EvictionAnswer::Accepted);
    until(&ports, |view| view.pod(&free.name).is_none().then_some(())).await;
    assert_eq!(ports.kubernetes.evict(&free.name, &free.uid).await.unwrap(), EvictionAnswer::Gone);
}

/// Waits until Azure has finished an operation, as a run does.
async fn finished(ports: &Ports, operation: &upgrade_core::ports::OperationRef) {
    loop {
        match ports.azure.operation(operation).await.unwrap() {
            OperationState::Succeeded => return,
            OperationState::Failed { message } => panic!("{message}"),
            OperationState::Running => {
                let look_again = ports.azure.observe().await.unwrap().look_again;
                ports.clock.sleep_until(ports.clock.now() + look_again.max(Duration::from_millis(10))).await;
            }
        }
    }
}

/// A buffer is made once, carries the run's tag, brings nodes that take pods, and is deleted only by its own run.
pub(crate) async fn a_buffer_belongs_to_its_run(ports: Ports) {
    let azure = ports.azure.observe().await.unwrap();
    let version = azure.cluster.version;
    let name = PoolName::new("userbf").unwrap();
    let buffer = BufferSpec { name: name.clone(), like: user_pool(), count: 2, version };
    let operation = ports.azure.create_pool(&buffer, &run()).await.unwrap();
    finished(&ports, &operation).await;
    let error = ports.azure.create_pool(&buffer, &run()).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Conflict, "{error}");
    until(&ports, |view| (view.nodes_of(&name).filter(|node| node.takes_pods()).count() == 2).then_some(()))
        .await;
    let pool = ports.azure.observe().await.unwrap().pools.into_iter().find(|pool| pool.name == name).unwrap();
    assert!(pool.is_made_by(&run()) && pool.state == ProvisioningState::Succeeded && pool.count == 2);
    let original = azure.pools.iter().find(|pool| pool.name == user_pool()).unwrap();
    assert_eq!(
        (&pool.vm_size, &pool.zones, &pool.mode),
        (&original.vm_size, &original.zones, &original.mode)
    );
    let stranger = RunId::new("somebody-else").unwrap();
    let error = ports.azure.delete_pool(&name, &stranger).await.unwrap_err();
    assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Rejected, true), "{error}");
    let error = ports.azure.delete_pool(&user_pool(), &run()).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Rejected, "{error}");
    let operation = ports.azure.delete_pool(&name, &run()).await.unwrap();
    finished(&ports, &operation).await;
    until(&ports, |view| (view.nodes_of(&name).count() == 0).then_some(())).await;
}

/// The control plane moves alone; a pool's nodes follow only when asked, keep their names, and take pods again. The system
/// pool, because Azure's own drain gives up on the user pool, where a single replica stands behind a budget.
pub(crate) async fn versions_move_one_after_the_other(ports: Ports) {
    let before = ports.azure.observe().await.unwrap();
    let to = before.cluster.upgrades.iter().filter(|u| !u.preview).map(|u| u.version).max().unwrap();
    let too_far = KubeVersion::new(1, 99, 0);
    let error = ports.azure.upgrade_control_plane(too_far).await.unwrap_err();
    assert!(error.outcome_known() && !error.is_retryable(), "{error}");
    let operation = ports.azure.upgrade_control_plane(to).await.unwrap();
    let busy = ports.azure.upgrade_pool(&system_pool(), to).await.unwrap_err();
    assert_eq!((busy.kind, busy.is_retryable()), (PortErrorKind::Conflict, true), "{busy}");
    finished(&ports, &operation).await;
    let after = ports.azure.observe().await.unwrap();
    assert_eq!(after.cluster.version, to);
    assert!(after.pools.iter().zip(&before.pools).all(|(now, was)| now.version == was.version));
    let nodes: BTreeSet<_> =
        view(&ports).await.nodes_of(&system_pool()).map(|node| node.name.clone()).collect();
    let operation = ports.azure.upgrade_pool(&system_pool(), to).await.unwrap();
    finished(&ports, &operation).await;
    let upgraded = |node: &Node| node.kubelet == Some(to) && node.takes_pods();
    let names = until(&ports, |view| {
        let pool = system_pool();
        let all: Vec<&Node> = view.nodes_of(&pool).collect();
        let names: BTreeSet<_> = all.iter().map(|node| node.name.clone()).collect();
        (all.iter().all(|node| upgraded(node)) && names.len() == nodes.len()).then_some(names)
    })
    .await;
    assert_eq!(names, nodes, "a reimage keeps the names");
}

/// The identity is read anew each time, agrees with itself, and is proven.
pub(crate) async fn the_identity_is_proven_twice_the_same(ports: Ports) {
    let first = ports.rancher.identity().await.unwrap();
    let second = ports.rancher.identity().await.unwrap();
    assert!(first.is_same_cluster(&second));
    assert_eq!((first.proof(), second.proof()), (Ok(()), Ok(())));
    let snapshot = ports.kubernetes.snapshot().await.unwrap();
    assert_eq!(first.kube_system, snapshot.kube_system);
    assert_eq!(ports.azure.observe().await.unwrap().cluster.id, first.arm_id);
}

/// An object deleted between two looks is told as deleted, not forgotten.
pub(crate) async fn a_deletion_is_told(ports: Ports) {
    let mut watch = ports.kubernetes.watch();
    let mut view = View::default();
    let mut victim = None;
    while let Some(item) = watch.next().await {
        let change = item.unwrap();
        if let (Some(name), Change::Deleted { kind: ResourceKind::Pod, name: gone }) = (&victim, &change)
            && *gone == format!("{name}")
        {
            return;
        }
        if let Change::Applied(Object::Pod(_)) | Change::Listed { .. } = &change {
            view.apply(change);
        }
        if victim.is_none()
            && view.pods().count() > 0
            && view.workloads().count() > 0
            && view.services().count() > 0
        {
            let pod = view.pods().find(|pod| {
                pod.is_healthy()
                    && pod.owner.as_ref().is_some_and(|o| o.kind == WorkloadKind::ReplicaSet)
                    && view.budgets_of(pod).next().is_none()
            });
            if let Some(pod) = pod {
                ports.kubernetes.evict(&pod.name, &pod.uid).await.unwrap();
                victim = Some(pod.name.clone());
            }
        }
    }
}

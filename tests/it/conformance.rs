//! One suite for every face of the ports: what holds for the lab's ports must hold for the real adapters over HTTP.
//!
//! Each case takes ports onto a fresh demo cluster. `faces.rs` runs every case on every face.

mod azure;
mod locks;
mod rights;

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_lab::{Lab, Refusal};
use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use serde_json::json;
use upgrade_core::Inventory;
use upgrade_core::access::{self, AccessAnswer, Right, Verb};
use upgrade_core::inventory::{DeprecatedApi, Ownership};
use upgrade_core::lock::{Lease, LeaseRecord, Lock, LockAction, LockTimes, StopRequest, lock_name};
use upgrade_core::model::{
    HolderId, IntOrPercent, KubeVersion, Node, Pod, PoolName, ProvisioningState, PullAccess, PullState,
    RestartId, RunId, Settings, Uid, WorkloadKind,
};
use upgrade_core::ports::{
    BufferSpec, EvictionAnswer, OperationState, PortError, PortErrorKind, Ports, WriteMode,
};
use upgrade_core::prewarm::PrewarmPod;
use upgrade_core::view::{Change, Object, ResourceKind, View};

pub(crate) use azure::{
    a_buffer_belongs_to_its_run, a_generic_import_has_one_writer, a_second_writer_adopts_what_it_finds,
    versions_move_one_after_the_other, what_a_buffer_lacks_is_told_and_what_fits_lacks_nothing,
};
pub(crate) use locks::{
    a_lease_has_one_writer_at_a_time, the_lock_of_a_cluster_passes_from_one_process_to_the_next,
};
pub(crate) use rights::{
    a_missing_right_is_refused_said_and_named, a_webhook_refuses_a_trial_as_it_refuses_the_write, restricted,
};

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

/// An object that is read alone is the one that the lists show, and one that is not there is none. An unhurried cluster changes while
/// it is read, so that what is compared is who it is.
pub(crate) async fn an_object_read_alone_is_the_one_of_the_lists(ports: Ports) {
    let snapshot = ports.kubernetes.snapshot().await.unwrap();
    let mut read = 0;
    for list in snapshot.lists {
        let Change::Listed { kind, objects } = list else { panic!("a snapshot has lists") };
        // Not the first one, which any list without a selector begins with.
        if let Some(object) = objects.last() {
            let found = ports.kubernetes.read(kind, &object.name()).await.unwrap();
            assert_eq!(found.map(|found| (found.kind(), found.name())), Some((Some(kind), object.name())));
            read += 1;
        }
        let nowhere = if kind == ResourceKind::Node { "nowhere" } else { "shop/nowhere" };
        assert_eq!(ports.kubernetes.read(kind, nowhere).await.unwrap(), None, "{kind:?}");
    }
    assert!(read >= 9, "{read} kinds were read");
    let node = first_user_node(&view(&ports).await);
    ports.kubernetes.set_unschedulable(&node.name, &node.uid, true, WriteMode::Commit).await.unwrap();
    let Some(Object::Node(now)) =
        ports.kubernetes.read(ResourceKind::Node, node.name.as_str()).await.unwrap()
    else {
        panic!("the node is there")
    };
    assert!(now.unschedulable && now.uid == node.uid, "a read sees every write before it");
}

/// A cordon shows in the watch, is harmless twice, and is refused for another node under the same name.
pub(crate) async fn a_cordon_shows_is_idempotent_and_checks_the_uid(ports: Ports) {
    let node = first_user_node(&view(&ports).await);
    for _ in 0..2 {
        ports.kubernetes.set_unschedulable(&node.name, &node.uid, true, WriteMode::Commit).await.unwrap();
    }
    until(&ports, |view| view.node(&node.name).filter(|n| n.unschedulable).map(|_| ())).await;
    let other = Uid::new("00000000-0000-0000-0000-000000000000").unwrap();
    let error =
        ports.kubernetes.set_unschedulable(&node.name, &other, false, WriteMode::Commit).await.unwrap_err();
    assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Conflict, true), "{error}");
    until(&ports, |view| view.node(&node.name).filter(|n| n.unschedulable).map(|_| ())).await;
    ports.kubernetes.set_unschedulable(&node.name, &node.uid, false, WriteMode::Commit).await.unwrap();
    until(&ports, |view| view.node(&node.name).filter(|n| !n.unschedulable).map(|_| ())).await;
}

/// A node is taken out of load balancers and let back in by the run that did it; what somebody else has set stays.
pub(crate) async fn a_node_out_of_load_balancers_belongs_to_the_run_that_took_it_out(ports: Ports) {
    let node = first_user_node(&view(&ports).await);
    let (run, another) = (RunId::new("run-1").unwrap(), RunId::new("run-2").unwrap());
    let set = |excluded, run, mode| ports.kubernetes.set_excluded(&node.name, &node.uid, excluded, run, mode);
    let by = |view: &View| view.node(&node.name).and_then(|node| node.excluded_by().map(str::to_owned));
    set(true, &run, WriteMode::DryRun).await.unwrap();
    assert_eq!(by(&view(&ports).await), None, "only tried");
    for excluding in [&run, &run, &another] {
        set(true, excluding, WriteMode::Commit).await.unwrap();
        until(&ports, |view| (by(view).as_deref() == Some("run-1")).then_some(())).await;
    }
    set(false, &another, WriteMode::Commit).await.unwrap();
    assert_eq!(by(&view(&ports).await).as_deref(), Some("run-1"));
    let other = Uid::new("00000000-0000-0000-0000-000000000000").unwrap();
    let wrong = ports.kubernetes.set_excluded(&node.name, &other, false, &run, WriteMode::Commit).await;
    assert_eq!(wrong.unwrap_err().kind, PortErrorKind::Conflict);
    for _ in 0..2 {
        set(false, &run, WriteMode::Commit).await.unwrap();
        until(&ports, |view| by(view).is_none().then_some(())).await;
    }
}

/// The API server is asked about a pod of a workload, and none is made.
pub(crate) async fn a_pod_of_a_workload_is_tried_and_none_is_made(ports: Ports) {
    let before = view(&ports).await;
    let kinds = [WorkloadKind::Deployment, WorkloadKind::StatefulSet];
    for workload in before.workloads().filter(|workload| kinds.contains(&workload.reference.kind)) {
        let tried = ports.kubernetes.try_pod(&workload.reference, &workload.uid).await;
        assert!(tried.is_ok(), "{}: {tried:?}", workload.reference);
    }
    let web = before.workloads().find(|workload| kinds.contains(&workload.reference.kind)).unwrap();
    let other = Uid::new("00000000-0000-0000-0000-000000000000").unwrap();
    let error = ports.kubernetes.try_pod(&web.reference, &other).await.unwrap_err();
    assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Conflict, true), "{error}");
    let after = view(&ports).await;
    let names = |view: &View| view.pods().map(|pod| pod.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
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
    ports
        .kubernetes
        .restart(&web.reference, &web.uid, &id, ports.clock.now(), WriteMode::Commit)
        .await
        .unwrap();
    let after = until(&ports, |view| {
        let workload = view.workload(&web.reference)?;
        let old_left = view.pods_of(workload).any(|pod| old.contains(&pod.uid));
        let ours = workload.template.restart_id.as_ref() == Some(&id);
        (ours && workload.is_settled() && !old_left).then(|| workload.clone())
    })
    .await;
    ports
        .kubernetes
        .restart(&web.reference, &web.uid, &id, ports.clock.now(), WriteMode::Commit)
        .await
        .unwrap();
    let again = view(&ports).await;
    assert_eq!(
        again.workload(&web.reference).unwrap().generation,
        after.generation,
        "the second request changed something"
    );
}

/// Settings change only from what they were said to be, one by one or together; the same again changes nothing, and neither
/// begins a rollout.
pub(crate) async fn settings_are_changed_only_from_what_they_were(ports: Ports) {
    let kubernetes = &ports.kubernetes;
    let before = view(&ports).await;
    let web = before.workloads().find(|w| {
        w.reference.kind == WorkloadKind::Deployment
            && w.replicas == 2
            && w.reference.name.namespace() == "shop"
    });
    let web = web.expect("the demo has a Deployment with two replicas in shop");
    let lent = Settings {
        replicas: Some(3),
        max_surge: Some(IntOrPercent::Int(2)),
        max_unavailable: Some(IntOrPercent::Int(0)),
        min_ready_seconds: Some(10),
    };
    let former = Settings::of(web).named_in(&lent);
    let change = async |uid: &Uid, from: &Settings, to: &Settings, mode| {
        kubernetes.change_settings(&web.reference, uid, from, to, mode).await
    };
    let conflict = |result: Result<(), PortError>| {
        let error = result.unwrap_err();
        assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Conflict, true), "{error}");
    };
    change(&web.uid, &former, &lent, WriteMode::DryRun).await.unwrap();
    assert_eq!(view(&ports).await.workload(&web.reference).unwrap().generation, web.generation);
    conflict(
        change(&Uid::new("00000000-0000-0000-0000-000000000000").unwrap(), &former, &lent, WriteMode::Commit)
            .await,
    );
    conflict(change(&web.uid, &Settings { replicas: Some(7), ..former }, &lent, WriteMode::Commit).await);
    for _ in 0..2 {
        change(&web.uid, &former, &lent, WriteMode::Commit).await.unwrap();
    }
    let shown = |wanted: Settings| {
        until(&ports, move |view| {
            let found = view.workload(&web.reference)?;
            let is_so = wanted.differing_from(&Settings::of(found)).is_empty();
            (is_so && found.is_settled()).then(|| found.clone())
        })
    };
    let between = shown(lent).await;
    assert_eq!((between.generation, between.template == web.template), (web.generation + 1, true));
    // Somebody else changes one of them: nothing is given back over it, and the others are.
    let theirs = Settings { max_surge: Some(IntOrPercent::Int(5)), ..Settings::default() };
    change(&web.uid, &lent.named_in(&theirs), &theirs, WriteMode::Commit).await.unwrap();
    conflict(change(&web.uid, &lent, &former, WriteMode::Commit).await);
    let ours = Settings { max_surge: None, ..lent };
    change(&web.uid, &ours, &former.named_in(&ours), WriteMode::Commit).await.unwrap();
    shown(Settings { max_surge: theirs.max_surge, ..former }).await;
    let database = before.workloads().find(|w| w.reference.kind == WorkloadKind::StatefulSet).unwrap();
    let more = Settings { replicas: Some(9), ..Settings::default() };
    let from = Settings::of(database).named_in(&more);
    let result =
        kubernetes.change_settings(&database.reference, &database.uid, &from, &more, WriteMode::Commit);
    assert_eq!(result.await.unwrap_err().kind, PortErrorKind::Rejected);
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
    let answer = ports.kubernetes.evict(&alone.name, &alone.uid, WriteMode::Commit).await.unwrap();
    let EvictionAnswer::Refused { message, .. } = answer else { panic!("{answer:?}") };
    assert!(message.contains("disruption budget"), "{message}");
    let free = before.pods().find(|pod| {
        let owner = pod.owner.as_ref().is_some_and(|owner| owner.kind == WorkloadKind::ReplicaSet);
        owner && pod.is_healthy() && before.budgets_of(pod).next().is_none()
    });
    let free = free.expect("the demo has pods without a budget").clone();
    let other = Uid::new("00000000-0000-0000-0000-000000000000").unwrap();
    assert_eq!(
        ports.kubernetes.evict(&free.name, &other, WriteMode::Commit).await.unwrap(),
        EvictionAnswer::Gone
    );
    assert!(view(&ports).await.pod(&free.name).is_some_and(|pod| pod.uid == free.uid && !pod.terminating));
    assert_eq!(
        ports.kubernetes.evict(&free.name, &free.uid, WriteMode::Commit).await.unwrap(),
        EvictionAnswer::Accepted
    );
    until(&ports, |view| view.pod(&free.name).is_none().then_some(())).await;
    assert_eq!(
        ports.kubernetes.evict(&free.name, &free.uid, WriteMode::Commit).await.unwrap(),
        EvictionAnswer::Gone
    );
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
                ports.kubernetes.evict(&pod.name, &pod.uid, WriteMode::Commit).await.unwrap();
                victim = Some(pod.name.clone());
            }
        }
    }
}

/// A pod that has its node pull images is made once, shows that the image is there, though nothing of it can start, and goes when
/// it is told to, by its uid alone. A trial of either changes nothing.
pub(crate) async fn a_pod_that_pulls_shows_when_the_image_is_there_and_goes(ports: Ports) {
    let (kubernetes, run) = (&ports.kubernetes, run());
    let node = first_user_node(&view(&ports).await);
    let image = "registry.example.com/shop/new:1".to_owned();
    let pod = PrewarmPod {
        name: "shop/aks-drover-pull-1".parse().unwrap(),
        node: node.name.clone(),
        windows: false,
        images: vec![image.clone()],
        access: PullAccess::default(),
    };
    kubernetes.create_prewarm_pod(&pod, &run, WriteMode::DryRun).await.unwrap();
    assert_eq!(view(&ports).await.pulling_pods().count(), 0);
    kubernetes.create_prewarm_pod(&pod, &run, WriteMode::Commit).await.unwrap();
    let error = kubernetes.create_prewarm_pod(&pod, &run, WriteMode::Commit).await.unwrap_err();
    assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Conflict, true), "{error}");
    let pulled = until(&ports, |view| {
        let shown = view.pod(&pod.name)?;
        let pulling = shown.pulling.as_ref()?;
        (pulling.images[0].state == PullState::Pulled).then(|| shown.clone())
    })
    .await;
    let pulling = pulled.pulling.as_ref().unwrap();
    assert_eq!(
        (&pulling.run, &pulling.images[0].image, &pulled.node),
        (&run, &image, &Some(node.name.clone()))
    );
    assert!(pulled.leaves_with_node() && !pulled.ready && pulled.owner.is_none());

    let other = Uid::new("00000000-0000-0000-0000-000000000000").unwrap();
    kubernetes.delete_prewarm_pod(&pod.name, &other, WriteMode::Commit).await.unwrap();
    kubernetes.delete_prewarm_pod(&pod.name, &pulled.uid, WriteMode::DryRun).await.unwrap();
    assert!(view(&ports).await.pod(&pod.name).is_some_and(|shown| !shown.terminating));
    kubernetes.delete_prewarm_pod(&pod.name, &pulled.uid, WriteMode::Commit).await.unwrap();
    until(&ports, |view| view.pod(&pod.name).is_none().then_some(())).await;
    kubernetes.delete_prewarm_pod(&pod.name, &pulled.uid, WriteMode::Commit).await.unwrap();
    let has = |node: &Node| node.images.iter().any(|(own, _)| *own == image);
    until(&ports, |view| view.node(&node.name).filter(|node| has(node)).map(|_| ())).await;
}

/// A trial is answered like the write, and nothing is changed by it.
pub(crate) async fn a_trial_is_answered_like_the_write_and_changes_nothing(ports: Ports) {
    let before = view(&ports).await;
    let kubernetes = &ports.kubernetes;
    let node = first_user_node(&before);
    kubernetes.set_unschedulable(&node.name, &node.uid, true, WriteMode::DryRun).await.unwrap();
    let other = Uid::new("00000000-0000-0000-0000-000000000000").unwrap();
    let error = kubernetes.set_unschedulable(&node.name, &other, true, WriteMode::DryRun).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Conflict, "{error}");

    let web = before
        .workloads()
        .find(|w| w.reference.kind == WorkloadKind::Deployment && w.reference.name.namespace() == "shop");
    let web = web.expect("the demo has a Deployment in shop");
    let id = RestartId::new("conformance.2.1.1").unwrap();
    kubernetes.restart(&web.reference, &web.uid, &id, ports.clock.now(), WriteMode::DryRun).await.unwrap();

    let budgeted = |pod: &&Pod, allowed: bool| {
        let budgets: Vec<_> = before.budgets_of(pod).collect();
        pod.is_healthy() && matches!(budgets[..], [b] if (b.status.disruptions_allowed > 0) == allowed)
    };
    let free = before.pods().find(|pod| budgeted(pod, true)).expect("the demo has a budget with room");
    let alone = before.pods().find(|pod| budgeted(pod, false)).expect("the demo has a budget without");
    let budgets = |view: &View| view.budgets().map(|b| b.status.clone()).collect::<Vec<_>>();
    for _ in 0..3 {
        assert_eq!(
            kubernetes.evict(&free.name, &free.uid, WriteMode::DryRun).await.unwrap(),
            EvictionAnswer::Accepted
        );
    }
    let answer = kubernetes.evict(&alone.name, &alone.uid, WriteMode::DryRun).await.unwrap();
    assert!(matches!(answer, EvictionAnswer::Refused { .. }), "{answer:?}");

    let after = view(&ports).await;
    assert!(!after.node(&node.name).unwrap().unschedulable);
    assert_eq!(after.workload(&web.reference).unwrap().generation, web.generation);
    assert!(after.pod(&free.name).is_some_and(|pod| pod.uid == free.uid && !pod.terminating));
    assert_eq!(budgets(&after), budgets(&before));
}

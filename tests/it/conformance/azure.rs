//! What holds of Azure, and of a Rancher that writes to it, too.

use super::*;

/// The quotas of the region are looked at for a buffer, in words that name them.
pub(crate) async fn what_a_buffer_lacks_is_told_and_what_fits_lacks_nothing(ports: Ports) {
    let azure = ports.azure.observe().await.unwrap();
    let (name, version) = (PoolName::new("userbf").unwrap(), azure.cluster.version);
    let like = |count| BufferSpec { name: name.clone(), like: user_pool(), count, version };
    assert_eq!(ports.azure.shortages(&like(3)).await.unwrap(), Vec::<String>::new());
    let short = ports.azure.shortages(&like(1_000_000)).await.unwrap();
    let [region, family] = &short[..] else { panic!("{short:?}") };
    assert!(region.starts_with("Total Regional vCPUs: ") && region.ends_with(" left"), "{region}");
    assert!(family.starts_with("standard") && family.contains("Family: "), "{family}");
    let nowhere = BufferSpec { like: PoolName::new("none").unwrap(), ..like(1) };
    let error = ports.azure.shortages(&nowhere).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::NotFound, "{error}");
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

/// What Rancher says of a cluster that it knows as a generic import: it writes nothing.
pub(crate) async fn a_generic_import_has_one_writer(ports: Ports) {
    let facts = ports.rancher.facts().await.unwrap();
    assert_eq!((facts.ownership, facts.state.as_str()), (Ownership::Generic, "active"));
    assert!(facts.version.is_some() && facts.clock_ahead_seconds.is_some());
    assert_eq!(
        (facts.token_expires, facts.token_unread),
        (None, None),
        "the lab's token has no end, and says so"
    );
}

/// A Rancher that manages the cluster is in sync; a new pool makes it disagree, by name; it reads Azure, and agrees again.
pub(crate) async fn a_second_writer_adopts_what_it_finds(ports: Ports) {
    let writer = async || match ports.rancher.facts().await.unwrap().ownership {
        Ownership::Managed(writer) => writer,
        other => panic!("{other:?}"),
    };
    let before = writer().await;
    assert_eq!((before.out_of_sync.len(), before.refresh_seconds), (0, 300), "{before:?}");
    let azure = ports.azure.observe().await.unwrap();
    let name = PoolName::new("userbf").unwrap();
    let buffer = BufferSpec { name, like: user_pool(), count: 1, version: azure.cluster.version };
    let operation = ports.azure.create_pool(&buffer, &run()).await.unwrap();
    let told = writer().await;
    let disagrees = told.out_of_sync.join("; ");
    // On a busy machine Rancher may have read Azure before we have read Rancher.
    let named =
        disagrees.contains("Azure has pool `userbf`, which Rancher does not want; it would delete it");
    assert!(named || told.last_refresh > before.last_refresh, "{disagrees}");
    finished(&ports, &operation).await;
    loop {
        let now = writer().await;
        if now.out_of_sync.is_empty() {
            assert!(now.last_refresh > before.last_refresh, "{now:?}");
            return;
        }
        ports.clock.sleep_until(ports.clock.now() + Duration::from_millis(20)).await;
    }
}

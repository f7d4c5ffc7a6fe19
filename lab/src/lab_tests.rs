use super::*;

fn lab() -> Lab {
    Lab::new(&Scenario::demo(), 7)
}

#[test]
fn time_passes_only_while_somebody_waits_and_jumps_to_what_is_next() {
    let lab = lab();
    let start = lab.now();
    let hour = Duration::from_secs(3600);
    lab.block_on(async { lab.sleep_until(start + hour).await }).unwrap();
    assert_eq!(lab.now(), start + hour);
}

#[test]
fn a_future_that_nothing_can_wake_is_stuck_and_not_hung() {
    let lab = lab();
    assert!(lab.block_on(std::future::pending::<()>()).is_err());
}

#[test]
fn a_watcher_sees_what_the_world_does_by_itself() {
    let lab = lab();
    let pool = Scenario::demo().pools[1].clone();
    let spec = Scenario::demo().pool_spec(&pool);
    let name = lab.with(|world| world.add_machine(&spec));
    assert_eq!(name.as_str().rsplit_once("vmss").unwrap().1, "000006");
    let ready = async {
        let mut seen = 0;
        while !lab.with(|world| world.node_is_ready(&name)) {
            seen = lab.changed_since(seen).await;
        }
    };
    let ordered = lab.now();
    lab.block_on(ready).unwrap();
    let took = lab.now().duration_since(ordered).as_secs();
    assert!((78..=150).contains(&took), "{took}");
}

#[test]
fn a_reimaged_machine_keeps_its_name_and_is_another_node() {
    let lab = lab();
    let node = |world: &World| {
        let name = Scenario::demo().machine_names(&"user".to_owned().try_into().unwrap()).remove(0);
        (
            name.clone(),
            world.store.get::<k8s_openapi::api::core::v1::Node>("", name.as_str()).cloned().unwrap(),
        )
    };
    let (name, before) = lab.with(|world| node(world));
    let to = "1.35.1".parse().unwrap();
    lab.with(|world| world.reimage_machine(&name, to));
    assert!(!lab.with(|world| world.node_is_ready(&name)));
    lab.block_on(async {
        let mut seen = 0;
        while !lab.with(|world| world.node_is_ready(&name)) {
            seen = lab.changed_since(seen).await;
        }
    })
    .unwrap();
    let (_, after) = lab.with(|world| node(world));
    assert_ne!(before.metadata.uid, after.metadata.uid);
    assert_eq!(after.status.as_ref().unwrap().node_info.as_ref().unwrap().kubelet_version, "v1.35.1");
}

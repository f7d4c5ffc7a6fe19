use upgrade_core::model::{PoolName, ProvisioningState};

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

#[test]
fn a_machine_that_never_joins_fails_its_pool_at_azure_s_limit_and_a_slow_one_only_takes_its_time() {
    let story = |trouble: fn(&mut World, &PoolName)| {
        let lab = Lab::new(&Scenario::demo(), 7);
        let name = PoolName::new("userbf").unwrap();
        let begun = lab.now();
        lab.with(|world| {
            trouble(world, &name);
            let mut properties = world.azure.pool("user").unwrap()["properties"].take();
            properties.as_object_mut().unwrap().remove("nodeImageVersion");
            properties["count"] = 2.into();
            let body = serde_json::json!({ "properties": properties });
            let made = world.with_azure(|azure, ground| {
                azure.put_pool(ground, "userbf", &crate::azure::Conditions::default(), &body)
            });
            assert_eq!(made.unwrap().status, 201);
        });
        let state = || {
            let pools = lab.with(|world| world.azure.pool_models());
            pools.into_iter().find(|pool| pool.name == name).unwrap()
        };
        lab.block_on(async {
            while matches!(state().state, ProvisioningState::Busy(_)) {
                lab.sleep_until(lab.now() + Duration::from_secs(5)).await;
            }
        })
        .unwrap();
        let ready = lab.with(|world| {
            let machines: Vec<_> = world.machines_of(&name).cloned().collect();
            machines.iter().filter(|machine| world.node_is_ready(machine)).count()
        });
        (state(), ready, lab.now().duration_since(begun).as_secs() / 60)
    };
    let (pool, ready, minutes) = story(|world, pool| world.never_join(pool, 1));
    assert_eq!((pool.state, ready), (ProvisioningState::Failed, 1));
    assert_eq!(pool.error.unwrap().code, "NodesNotReady");
    assert!((22..=24).contains(&minutes), "{minutes}");
    let (pool, ready, minutes) = story(|world, pool| world.slow_boot(pool, 6));
    assert_eq!((pool.state, ready), (ProvisioningState::Succeeded, 2));
    assert!((7..=14).contains(&minutes), "{minutes}");
}

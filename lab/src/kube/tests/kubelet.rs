//! Kubelets, disks and taints, on machines of their own with one pod at a time.

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Taint};
use k8s_openapi::api::storage::v1::{CSINode, VolumeAttachment};
use serde_json::{Value, json};
use upgrade_core::model::NodeName;

use super::super::pods;
use super::{apply, field, settle};
use crate::store::Key;
use crate::{Scenario, World};

/// A field with this many machines, all ready.
fn machines(count: u32) -> (World, Vec<NodeName>) {
    let mut world = field();
    let scenario = Scenario::demo();
    let mut pool = scenario.pool_spec(&scenario.pools[1]);
    pool.zones = Vec::new();
    let names: Vec<NodeName> = (0..count).map(|instance| world.site.node_name(&pool, instance)).collect();
    for (instance, name) in (0..).zip(&names) {
        world.found_machine(name, &pool, instance);
    }
    (world, names)
}

fn pod(world: &mut World, name: &str, annotations: Value, spec: Value) -> Key {
    let mut all = json!({ "containers": [{ "name": "web", "image": "registry/web:1" }], "terminationGracePeriodSeconds": 30 });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    apply::<Pod>(
        world,
        json!({ "metadata": { "name": name, "labels": { "app": name }, "annotations": annotations }, "spec": all }),
    )
}

fn get<'w>(world: &'w World, key: &Key) -> Option<&'w Pod> {
    world.store.get::<Pod>(&key.namespace, &key.name).map(|pod| &**pod)
}

fn waits_for(world: &World, key: &Key) -> Option<String> {
    let status = get(world, key)?.status.as_ref()?;
    status.container_statuses.as_ref()?.first()?.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

/// The moments, in whole seconds from now, at which something new is so; looked at every second.
fn moments(world: &mut World, seconds: i64, mut what: impl FnMut(&World) -> i32) -> Vec<i64> {
    let mut last = what(world);
    let mut found = Vec::new();
    for second in 1..=seconds {
        settle(world, 1);
        let now = what(world);
        if now != last {
            found.push(second);
        }
        last = now;
    }
    found
}

#[test]
fn a_container_that_crashes_is_started_after_ten_seconds_and_then_twice_as_late_each_time_up_to_five_minutes()
{
    let (mut world, _) = machines(1);
    let key = pod(&mut world, "web", json!({ "lab.aks-drover/crash-seconds": "1" }), json!({}));
    let restarts = |world: &World| get(world, &key).map(pods::restarts).unwrap_or_default();
    let crashes = moments(&mut world, 2_000, restarts);
    let pauses: Vec<i64> = crashes.windows(2).map(|pair| pair[1] - pair[0] - 1).collect();
    // Looked at in whole seconds: one more or less.
    for (pause, wanted) in pauses.iter().zip([10, 20, 40, 80, 160, 300, 300, 300]) {
        assert!((pause - wanted).abs() <= 1, "{pauses:?}");
    }
    assert!(pauses.len() >= 8, "{pauses:?}");
    assert_eq!(waits_for(&world, &key).as_deref(), Some("CrashLoopBackOff"));
    assert!(!pods::is_ready(get(&world, &key).unwrap()));
}

#[test]
fn an_image_that_is_gone_is_asked_for_again_and_again_until_somebody_pushes_it() {
    let (mut world, names) = machines(1);
    world.delete_image("registry/web:1");
    let key = pod(&mut world, "web", json!({}), json!({}));
    let failed = |world: &World| i32::from(waits_for(world, &key).as_deref() == Some("ErrImagePull"));
    let seen = moments(&mut world, 1_500, failed);
    let tries: Vec<i64> = seen.iter().step_by(2).copied().collect();
    let pauses: Vec<i64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, wanted) in pauses.iter().zip([10, 20, 40, 80, 160, 300, 300]) {
        assert!((pause - wanted).abs() <= 2, "{pauses:?}");
    }
    assert_eq!(waits_for(&world, &key).as_deref(), Some("ImagePullBackOff"));
    world.push_image("registry/web:1");
    settle(&mut world, 400);
    assert!(pods::is_ready(get(&world, &key).unwrap()));
    // It is on the disk now: gone from the registry, it still starts here.
    world.delete_image("registry/web:1");
    let again = pod(&mut world, "again", json!({}), json!({}));
    settle(&mut world, 60);
    assert!(pods::is_ready(get(&world, &again).unwrap()));
    // A policy that asks the registry each time does not.
    let always = json!([{ "name": "web", "image": "registry/web:1", "imagePullPolicy": "Always" }]);
    let always = pod(&mut world, "always", json!({}), json!({ "containers": always }));
    settle(&mut world, 60);
    assert_eq!(waits_for(&world, &always).as_deref(), Some("ImagePullBackOff"));
    assert_eq!(names.len(), 1);
}

#[test]
fn a_pod_is_ready_when_its_startup_and_readiness_probes_have_succeeded_often_enough() {
    let (mut world, names) = machines(1);
    world.has_image(&names[0], "registry/web:1");
    let probes = json!([{
        "name": "web", "image": "registry/web:1",
        "startupProbe": { "initialDelaySeconds": 20, "periodSeconds": 1 },
        "readinessProbe": { "initialDelaySeconds": 5, "periodSeconds": 10, "successThreshold": 3 },
    }]);
    let key = pod(&mut world, "web", json!({}), json!({ "containers": probes }));
    let running =
        |world: &World| i32::from(get(world, &key).is_some_and(|pod| pods::phase(pod) == "Running"));
    let started = moments(&mut world, 10, running)[0];
    let ready = |world: &World| i32::from(get(world, &key).is_some_and(pods::is_ready));
    let after = 10 - started + moments(&mut world, 90, ready)[0];
    // 20 s and up to one period of 1 s; then 5 s, up to one period of 10 s, and two periods more.
    assert!((45..=57).contains(&after), "{after}");
}

#[test]
fn a_pod_that_never_becomes_ready_runs_all_the_same() {
    let (mut world, _) = machines(1);
    let key = pod(&mut world, "web", json!({ "lab.aks-drover/never-ready": "true" }), json!({}));
    settle(&mut world, 600);
    let pod = get(&world, &key).unwrap();
    assert_eq!((pods::phase(pod), pods::is_ready(pod)), ("Running", false));
}

#[test]
fn a_pod_ends_when_its_hook_and_its_process_have_ended_or_when_its_grace_is_over() {
    let hook = |seconds: i64| {
        json!([{ "name": "web", "image": "registry/web:1",
            "lifecycle": { "preStop": { "sleep": { "seconds": seconds } } } }])
    };
    // (seconds after SIGTERM, preStop, grace) and how long the pod is there.
    for (own, pre_stop, grace, whole) in
        [("3", 0, 30, 3), ("3", 15, 30, 18), ("100", 15, 30, 30), ("100", 60, 30, 32)]
    {
        let (mut world, names) = machines(1);
        world.has_image(&names[0], "registry/web:1");
        let spec = json!({ "containers": hook(pre_stop), "terminationGracePeriodSeconds": grace });
        let key = pod(&mut world, "web", json!({ "lab.aks-drover/stop-seconds": own }), spec);
        settle(&mut world, 30);
        world.delete_pod("shop", "web", None).unwrap();
        let there = |world: &World| i32::from(get(world, &key).is_some());
        let gone = moments(&mut world, 120, there)[0];
        assert!((whole..=whole + 1).contains(&gone), "{own} {pre_stop}: {gone}");
    }
}

#[test]
fn a_container_that_can_never_start_has_its_image_pulled_first_and_one_that_is_gone_holds_up_no_other() {
    let (mut world, names) = machines(1);
    world.delete_image("registry/gone:1");
    let container = |name: &str, image: &str| json!({ "name": name, "image": image, "command": [upgrade_core::prewarm::PREWARM_COMMAND] });
    let spec = json!({
        "nodeName": names[0].as_str(), "restartPolicy": "Never",
        "containers": [container("a", "registry/web:1"), container("b", "registry/gone:1"), container("c", "registry/api:1")],
    });
    let key = pod(&mut world, "pull", json!({}), spec);
    settle(&mut world, 120);
    let states = |world: &World| -> Vec<String> {
        let status = get(world, &key).unwrap().status.clone().unwrap();
        let state = |status: k8s_openapi::api::core::v1::ContainerStatus| {
            let state = status.state.unwrap();
            let ended =
                state.terminated.map(|ended| format!("{} {}", ended.reason.unwrap(), ended.exit_code));
            ended.or_else(|| state.waiting.unwrap().reason).unwrap()
        };
        status.container_statuses.unwrap().into_iter().map(state).collect()
    };
    assert_eq!(states(&world), ["StartError 128", "ImagePullBackOff", "StartError 128"]);
    assert_eq!(pods::phase(get(&world, &key).unwrap()), "Pending");
    assert_eq!(world.pulls(), (2, 0));
    world.push_image("registry/gone:1");
    settle(&mut world, 300);
    assert_eq!(states(&world), ["StartError 128"; 3]);
    assert_eq!(pods::phase(get(&world, &key).unwrap()), "Failed");
    world.delete_pod("shop", "pull", None).unwrap();
    settle(&mut world, 10);
    assert!(get(&world, &key).is_none());
}

fn taint(world: &mut World, node: &NodeName, effect: &str) {
    let taint = Taint { key: "maintenance".into(), effect: effect.into(), ..Taint::default() };
    world
        .store
        .update::<Node>("", node.as_str(), |node| {
            node.spec.get_or_insert_default().taints.get_or_insert_default().push(taint);
        })
        .unwrap();
}

#[test]
fn a_taint_that_takes_pods_away_asks_no_budget_and_waits_as_long_as_it_is_tolerated() {
    let (mut world, names) = machines(1);
    world.has_image(&names[0], "registry/web:1");
    let tolerates = |seconds: Value| json!({ "tolerations": [{ "key": "maintenance", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds }] });
    let keys = [
        pod(&mut world, "a", json!({}), json!({})),
        pod(&mut world, "b", json!({}), tolerates(json!(60))),
        pod(&mut world, "c", json!({}), tolerates(Value::Null)),
    ];
    let frozen = json!({ "metadata": { "name": "frozen" }, "spec": { "maxUnavailable": 0, "selector": {} } });
    apply::<k8s_openapi::api::policy::v1::PodDisruptionBudget>(&mut world, frozen);
    settle(&mut world, 30);
    taint(&mut world, &names[0], "NoSchedule");
    settle(&mut world, 600);
    let there = |world: &World| keys.each_ref().map(|key| get(world, key).is_some_and(pods::is_active));
    assert_eq!(there(&world), [true; 3], "it only keeps new ones away");
    taint(&mut world, &names[0], "NoExecute");
    settle(&mut world, 2);
    assert_eq!(there(&world), [false, true, true]);
    settle(&mut world, 55);
    assert_eq!(there(&world), [false, true, true]);
    settle(&mut world, 10);
    assert_eq!(there(&world), [false, false, true]);
}

#[test]
fn a_machine_that_falls_silent_loses_its_pods_after_five_minutes_and_they_end_when_it_answers_again() {
    let (mut world, names) = machines(1);
    let mut template = pods::of_template(
        &super::object(json!({ "spec": { "containers": [{ "name": "web", "image": "registry/web:1" }] } })),
        "shop",
        super::object(super::owner("v1", "Nobody", "x", "x")[0].clone()),
    );
    template.metadata.name = Some("web".into());
    let key = super::key_of(&*world.create_pod(template).unwrap());
    settle(&mut world, 60);
    assert!(pods::is_ready(get(&world, &key).unwrap()));
    world.silence_machine(&names[0]);
    settle(&mut world, 45);
    assert!(pods::is_ready(get(&world, &key).unwrap()), "nobody knows yet");
    settle(&mut world, 10);
    assert!(!pods::is_ready(get(&world, &key).unwrap()));
    settle(&mut world, 290);
    assert!(pods::is_active(get(&world, &key).unwrap()));
    settle(&mut world, 10);
    assert!(pods::is_terminating(get(&world, &key).unwrap()));
    settle(&mut world, 3_600);
    assert!(get(&world, &key).is_some(), "only its kubelet can tell that it has ended");
    world.wake_machine(&names[0]);
    settle(&mut world, 10);
    assert!(get(&world, &key).is_none());
    assert!(world.node_is_ready(&names[0]));
}

fn claim(world: &mut World, name: &str, mode: &str) {
    let spec = json!({ "accessModes": [mode], "storageClassName": "managed-csi" });
    apply::<PersistentVolumeClaim>(world, json!({ "metadata": { "name": name }, "spec": spec }));
}

fn on_disk(claim: &str, node: &NodeName) -> Value {
    json!({
        "nodeSelector": { "kubernetes.io/hostname": node.as_str() },
        "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": claim } }],
    })
}

#[test]
fn a_disk_follows_its_pod_only_when_the_other_node_has_let_go_of_it() {
    let (mut world, names) = machines(2);
    claim(&mut world, "data", "ReadWriteOnce");
    let first = pod(&mut world, "first", json!({}), on_disk("data", &names[0]));
    settle(&mut world, 120);
    assert!(pods::is_ready(get(&world, &first).unwrap()));
    let attached = |world: &World| -> Vec<String> {
        world.store.list::<VolumeAttachment>().map(|found| found.spec.node_name.clone()).collect()
    };
    assert_eq!(attached(&world), [names[0].to_string()]);
    let second = pod(&mut world, "second", json!({}), on_disk("data", &names[1]));
    settle(&mut world, 600);
    assert_eq!(waits_for(&world, &second).as_deref(), Some("ContainerCreating"), "Multi-Attach");
    world.delete_pod("shop", "first", None).unwrap();
    settle(&mut world, 10);
    assert!(get(&world, &first).is_none());
    assert!(!pods::is_ready(get(&world, &second).unwrap()));
    settle(&mut world, 120);
    assert!(pods::is_ready(get(&world, &second).unwrap()));
    assert_eq!(attached(&world), [names[1].to_string()]);
}

#[test]
fn a_file_share_is_everywhere_at_once_and_made_before_there_is_a_pod() {
    let (mut world, names) = machines(2);
    let spec = json!({ "accessModes": ["ReadWriteMany"], "storageClassName": "azurefile-csi" });
    apply::<PersistentVolumeClaim>(&mut world, json!({ "metadata": { "name": "share" }, "spec": spec }));
    settle(&mut world, 5);
    let bound = world.store.get::<PersistentVolumeClaim>("shop", "share").unwrap();
    assert!(bound.spec.as_ref().unwrap().volume_name.is_some());
    let keys = [0, 1].map(|n| pod(&mut world, &format!("p{n}"), json!({}), on_disk("share", &names[n])));
    settle(&mut world, 60);
    assert!(keys.iter().all(|key| pods::is_ready(get(&world, key).unwrap())));
    assert_eq!(world.store.list::<VolumeAttachment>().count(), 0);
}

#[test]
fn a_node_takes_no_more_disks_than_its_machine_has_places_for() {
    let (mut world, names) = machines(1);
    let csi = world.store.get::<CSINode>("", names[0].as_str()).unwrap();
    // Standard_D8s_v5.
    assert_eq!(csi.spec.drivers[0].allocatable.as_ref().unwrap().count, Some(16));
    let keys: Vec<Key> = (0..17)
        .map(|n| {
            claim(&mut world, &format!("d{n:02}"), "ReadWriteOnce");
            pod(&mut world, &format!("p{n:02}"), json!({}), on_disk(&format!("d{n:02}"), &names[0]))
        })
        .collect();
    settle(&mut world, 300);
    let ready = keys.iter().filter(|key| pods::is_ready(get(&world, key).unwrap())).count();
    assert_eq!(ready, 16);
    let waiting = keys.iter().find(|key| pods::node_of(get(&world, key).unwrap()).is_none()).unwrap();
    let scheduled = crate::ports::convert::condition(get(&world, waiting).unwrap(), "PodScheduled").unwrap();
    assert!(
        scheduled
            .message
            .as_ref()
            .unwrap()
            .starts_with("0/1 nodes are available: 1 node(s) exceed max volume count.")
    );
    world.delete_pod("shop", &keys[0].name, None).unwrap();
    settle(&mut world, 120);
    assert!(pods::node_of(get(&world, waiting).unwrap()).is_some());
}

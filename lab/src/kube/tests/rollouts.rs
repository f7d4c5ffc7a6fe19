//! Rollouts in numbers (deployment: rolling.go, recreate.go, progress.go; statefulset: stateful_set_control.go). The pods have no
//! kubelet: the table says when they become ready and when they are gone.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::super::deployment::Case;
use super::super::{key_of, pods};
use super::{apply, settle, silent_machine};
use crate::World;
use crate::store::Key;

fn field() -> World {
    let mut world = super::field();
    silent_machine(&mut world, "n1");
    world
}

fn template(version: &str) -> Value {
    json!({ "metadata": { "labels": { "app": "web", "version": version } }, "spec": { "containers": [{ "name": "web", "image": "web" }] } })
}

fn deployment(world: &mut World, replicas: i32, strategy: Value) -> Key {
    apply::<Deployment>(
        world,
        json!({
            "metadata": { "name": "web" },
            "spec": {
                "replicas": replicas, "strategy": strategy, "template": template("old"),
                "selector": { "matchLabels": { "app": "web" } },
            },
        }),
    )
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } })
}

fn version(pod: &Pod) -> &str {
    &pod.metadata.labels.as_ref().unwrap()["version"]
}

fn make_ready(world: &mut World, meant: impl Fn(&Pod) -> bool) -> usize {
    let waiting = |pod: &&std::sync::Arc<Pod>| pods::is_active(pod) && !pods::is_ready(pod) && meant(pod);
    let keys: Vec<Key> =
        world.store.list_in::<Pod>("shop").filter(waiting).map(|pod| key_of(&**pod)).collect();
    let now = world.store.time();
    for key in &keys {
        world
            .store
            .update::<Pod>(&key.namespace, &key.name, |pod| {
                let status = pod.status.get_or_insert_default();
                status.phase = Some("Running".into());
                pods::set_condition(status, "Ready", true, None, None, &now);
            })
            .unwrap();
    }
    keys.len()
}

/// The processes of the pods that were told to go have ended.
fn bury(world: &mut World) {
    let gone = |pod: &&std::sync::Arc<Pod>| pods::is_terminating(pod);
    let keys: Vec<Key> = world.store.list_in::<Pod>("shop").filter(gone).map(|pod| key_of(&**pod)).collect();
    for key in keys {
        world.store.delete::<Pod>(&key.namespace, &key.name).unwrap();
    }
}

/// The pods of both versions that are not told to go, and how many of the whole are ready.
type Counts = (usize, usize, usize);

fn counts(world: &World) -> Counts {
    let active = || world.store.list_in::<Pod>("shop").filter(|pod| pods::is_active(pod));
    let of = |wanted: &str| active().filter(|pod| version(pod) == wanted).count();
    (of("old"), of("new"), active().filter(|pod| pods::is_ready(pod)).count())
}

#[test]
fn a_rolling_update_goes_in_the_steps_of_the_arithmetic() {
    // R, maxSurge, maxUnavailable; then (old, new, ready) after each time that all new pods have become ready, from the moment
    // when the template has changed. surge = ceil(s R), unavailable = floor(u R).
    let quarter = || json!("25%");
    let rows: Vec<(i32, Value, Value, Vec<Counts>)> = vec![
        // surge 1, unavailable 0.
        (1, quarter(), quarter(), vec![(1, 1, 1), (0, 1, 1)]),
        (2, quarter(), quarter(), vec![(2, 1, 2), (1, 2, 2), (0, 2, 2)]),
        (3, quarter(), quarter(), vec![(3, 1, 3), (2, 2, 3), (1, 3, 3), (0, 3, 3)]),
        // surge 1, unavailable 1: one goes at once, and its place is taken by a new one.
        (4, quarter(), quarter(), vec![(3, 2, 3), (1, 4, 3), (0, 4, 4)]),
        // surge ceil(1.25) = 2, unavailable floor(1.25) = 1.
        (5, quarter(), quarter(), vec![(4, 3, 4), (1, 5, 4), (0, 5, 5)]),
        // 1 replica and maxUnavailable 1: the old one goes before the new one is ready.
        (1, json!(1), json!(1), vec![(0, 1, 0), (0, 1, 1)]),
        // Neither: Kubernetes makes one unavailable.
        (2, json!(0), json!(0), vec![(1, 1, 1), (0, 2, 1), (0, 2, 2)]),
        // No surge: kills first.
        (3, json!(0), json!(1), vec![(2, 1, 2), (1, 2, 2), (0, 3, 2), (0, 3, 3)]),
        (4, json!("100%"), json!(0), vec![(4, 4, 4), (0, 4, 4)]),
    ];
    for (replicas, surge, unavailable, steps) in rows {
        let story = format!("{replicas} {surge} {unavailable}");
        let mut world = field();
        deployment(&mut world, replicas, rolling(surge, unavailable));
        settle(&mut world, 5);
        make_ready(&mut world, |_| true);
        settle(&mut world, 5);
        let change = |deployment: &mut Deployment| deployment.spec.template = super::object(template("new"));
        world.store.update::<Deployment>("shop", "web", change).unwrap();
        let mut seen = Vec::new();
        for _ in 0..20 {
            settle(&mut world, 5);
            bury(&mut world);
            settle(&mut world, 5);
            seen.push(counts(&world));
            if make_ready(&mut world, |_| true) == 0 {
                break;
            }
        }
        assert_eq!(seen, steps, "{story}");
    }
}

#[test]
fn surge_is_rounded_up_and_unavailable_down_and_never_both_nothing() {
    // R, maxSurge, maxUnavailable; then the surge, how many may be unavailable, and the least and the most of pods.
    for (replicas, surge, unavailable, wanted) in [
        (0, json!("25%"), json!("25%"), (0, 0, 0, 0)),
        (1, json!("25%"), json!("25%"), (1, 0, 1, 2)), // 0.25, 0.25
        (2, json!("25%"), json!("25%"), (1, 0, 2, 3)), // 0.5, 0.5
        (3, json!("25%"), json!("25%"), (1, 0, 3, 4)), // 0.75, 0.75
        (4, json!("25%"), json!("25%"), (1, 1, 3, 5)), // 1, 1
        (5, json!("25%"), json!("25%"), (2, 1, 4, 7)), // 1.25, 1.25
        (8, json!("25%"), json!("25%"), (2, 2, 6, 10)), // 2, 2
        (10, json!("25%"), json!("25%"), (3, 2, 8, 13)), // 2.5, 2.5
        (3, json!("34%"), json!("34%"), (2, 1, 2, 5)), // 1.02, 1.02
        (3, json!("33%"), json!("33%"), (1, 0, 3, 4)), // 0.99, 0.99
        (7, json!("100%"), json!("0%"), (7, 0, 7, 14)),
        (2, json!(0), json!(0), (0, 1, 1, 2)),
        (2, json!("0%"), json!("49%"), (0, 1, 1, 2)), // 0.98 is rounded to nothing, and so one
        (3, json!(0), json!(9), (0, 3, 0, 3)),        // never more than there are
    ] {
        let mut world = field();
        let key = deployment(&mut world, replicas, rolling(surge.clone(), unavailable.clone()));
        let made = world.store.get::<Deployment>(&key.namespace, &key.name).unwrap().clone();
        let case = Case::of(&key, made);
        let found = (case.surge, case.unavailable, replicas - case.unavailable, case.most());
        assert_eq!(found, wanted, "{replicas} {surge} {unavailable}");
    }
}

fn reason(world: &World, kind: &str) -> Option<(String, String)> {
    let deployment = world.store.get::<Deployment>("shop", "web").unwrap();
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_.as_deref() == Some(kind))?;
    Some((found.status.clone()?, found.reason.clone()?))
}

fn said(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn a_rollout_that_makes_no_progress_is_told_after_its_deadline_and_one_without_a_deadline_never() {
    for (deadline, after, wanted) in [
        (600, 590, Some(said("True", "ReplicaSetUpdated"))),
        (600, 615, Some(said("False", "ProgressDeadlineExceeded"))),
        (60, 75, Some(said("False", "ProgressDeadlineExceeded"))),
        (i32::MAX, 100_000, None),
    ] {
        let mut world = field();
        deployment(&mut world, 2, rolling(json!(1), json!(0)));
        let with_deadline = |d: &mut Deployment| d.spec.progress_deadline_seconds = Some(deadline);
        world.store.update::<Deployment>("shop", "web", with_deadline).unwrap();
        settle(&mut world, after);
        assert_eq!(reason(&world, "Progressing"), wanted, "{deadline} {after}");
        assert_eq!(reason(&world, "Available"), Some(said("False", "MinimumReplicasUnavailable")));
        make_ready(&mut world, |_| true);
        settle(&mut world, 5);
        let done = (deadline != i32::MAX).then(|| said("True", "NewReplicaSetAvailable"));
        assert_eq!(reason(&world, "Progressing"), done, "it goes on all the same");
    }
}

#[test]
fn a_pod_is_available_only_after_its_minimum_and_the_old_one_stays_so_long() {
    let mut world = field();
    deployment(&mut world, 1, rolling(json!(1), json!(0)));
    settle(&mut world, 5);
    make_ready(&mut world, |_| true);
    settle(&mut world, 5);
    let change = |deployment: &mut Deployment| {
        deployment.spec.min_ready_seconds = Some(60);
        deployment.spec.template = super::object(template("new"));
    };
    world.store.update::<Deployment>("shop", "web", change).unwrap();
    settle(&mut world, 5);
    make_ready(&mut world, |_| true);
    settle(&mut world, 58);
    assert_eq!(counts(&world), (1, 1, 2));
    settle(&mut world, 5);
    assert_eq!(counts(&world), (0, 1, 1));
}

#[test]
fn recreate_waits_for_the_last_old_pod_even_one_that_is_terminating() {
    let mut world = field();
    deployment(&mut world, 2, json!({ "type": "Recreate" }));
    settle(&mut world, 5);
    make_ready(&mut world, |_| true);
    settle(&mut world, 5);
    let change = |deployment: &mut Deployment| deployment.spec.template = super::object(template("new"));
    world.store.update::<Deployment>("shop", "web", change).unwrap();
    settle(&mut world, 3_000);
    assert_eq!(counts(&world), (0, 0, 0));
    let status = world.store.get::<Deployment>("shop", "web").unwrap().status.clone().unwrap();
    assert_eq!(status.terminating_replicas, Some(2));
    bury(&mut world);
    settle(&mut world, 5);
    assert_eq!(counts(&world), (0, 2, 0));
}

#[test]
fn a_paused_deployment_scales_and_does_not_roll() {
    let mut world = field();
    deployment(&mut world, 2, rolling(json!(1), json!(0)));
    settle(&mut world, 5);
    let change = |deployment: &mut Deployment| {
        deployment.spec.paused = Some(true);
        deployment.spec.replicas = Some(3);
        deployment.spec.template = super::object(template("new"));
    };
    world.store.update::<Deployment>("shop", "web", change).unwrap();
    settle(&mut world, 60);
    assert_eq!(counts(&world), (3, 0, 0));
    assert_eq!(reason(&world, "Progressing"), Some(said("Unknown", "DeploymentPaused")));
    world.store.update::<Deployment>("shop", "web", |d| d.spec.paused = None).unwrap();
    settle(&mut world, 5);
    // Room for one more than three. It is not ready, so 3 + 1 - 3 - 1 = 0 old ones may go, although none of them works.
    assert_eq!(counts(&world), (3, 1, 0));
}

#[test]
fn a_change_of_size_in_the_middle_of_a_rollout_is_shared() {
    let mut world = field();
    deployment(&mut world, 10, rolling(json!(3), json!(2)));
    settle(&mut world, 5);
    make_ready(&mut world, |_| true);
    settle(&mut world, 5);
    let change = |deployment: &mut Deployment| deployment.spec.template = super::object(template("new"));
    world.store.update::<Deployment>("shop", "web", change).unwrap();
    settle(&mut world, 5);
    // 8 old and 5 new: 13 = 10 + 3.
    assert_eq!(counts(&world), (8, 5, 8));
    world.store.update::<Deployment>("shop", "web", |d| d.spec.replicas = Some(15)).unwrap();
    settle(&mut world, 5);
    // Five more by size: 8/13 and 5/13 of 18 are 11.08 and 6.92.
    assert_eq!(counts(&world), (11, 7, 8));
}

fn stateful(world: &mut World, spec: &Value) {
    let mut all = json!({
        "replicas": 3, "serviceName": "db", "selector": { "matchLabels": { "app": "web" } }, "template": template("old"),
    });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    apply::<StatefulSet>(world, json!({ "metadata": { "name": "db" }, "spec": all }));
}

/// The version of each pod by its ordinal; `-` for one that is told to go.
fn ordinals(world: &World) -> BTreeMap<String, String> {
    let all = world.store.list_in::<Pod>("shop").map(|pod| {
        let mut shown = if pods::is_terminating(pod) { "-" } else { version(pod) }.to_owned();
        if pods::is_ready(pod) && !pods::is_terminating(pod) {
            shown += "!";
        }
        (pod.metadata.name.clone().unwrap().replace("db-", ""), shown)
    });
    all.collect()
}

fn shown(world: &World) -> String {
    ordinals(world).into_values().collect::<Vec<_>>().join(" ")
}

fn change_stateful(world: &mut World) {
    let change = |set: &mut StatefulSet| set.spec.template = super::object(template("new"));
    world.store.update::<StatefulSet>("shop", "db", change).unwrap();
}

/// Lets the set go on until nothing changes: pods that were told to go are gone, new ones become ready.
fn run_stateful(world: &mut World) -> Vec<String> {
    let mut seen = vec![shown(world)];
    for _ in 0..30 {
        settle(world, 5);
        if seen.last() != Some(&shown(world)) {
            seen.push(shown(world));
        } else if ordinals(world).values().any(|pod| pod == "-") {
            bury(world);
        } else if make_ready(world, |_| true) == 0 {
            break;
        }
    }
    seen
}

#[test]
fn a_stateful_set_makes_and_replaces_its_pods_as_its_policies_say() {
    let mut ordered = field();
    stateful(&mut ordered, &json!({}));
    assert_eq!(run_stateful(&mut ordered), ["", "old", "old! old", "old! old! old", "old! old! old!"]);
    change_stateful(&mut ordered);
    assert_eq!(
        run_stateful(&mut ordered),
        [
            "old! old! old!",
            "old! old! -",
            "old! old! new",
            "old! - new!",
            "old! new new!",
            "- new! new!",
            "new new! new!",
            "new! new! new!"
        ]
    );

    let mut parallel = field();
    stateful(&mut parallel, &json!({ "podManagementPolicy": "Parallel" }));
    assert_eq!(run_stateful(&mut parallel), ["", "old old old", "old! old! old!"]);

    let mut partitioned = field();
    stateful(
        &mut partitioned,
        &json!({ "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 2 } } }),
    );
    run_stateful(&mut partitioned);
    change_stateful(&mut partitioned);
    assert_eq!(run_stateful(&mut partitioned).last().unwrap(), "old! old! new!");
    // Below the partition a pod comes back as it was.
    partitioned.delete_pod("shop", "db-0", None).unwrap();
    assert_eq!(run_stateful(&mut partitioned).last().unwrap(), "old! old! new!");
    // Both templates are remembered, and the one that comes back is the newest again.
    let revisions = |world: &World| -> Vec<(i64, String)> {
        let all = world.store.list_in::<ControllerRevision>("shop").map(|revision| {
            let version = &revision.data.0["spec"]["template"]["metadata"]["labels"]["version"];
            (revision.revision.unwrap(), version.as_str().unwrap().to_owned())
        });
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    };
    let named =
        |all: &[(i64, &str)]| all.iter().map(|(n, name)| (*n, (*name).to_owned())).collect::<Vec<_>>();
    assert_eq!(revisions(&partitioned), named(&[(1, "old"), (2, "new")]));
    let back = |set: &mut StatefulSet| set.spec.template = super::object(template("old"));
    partitioned.store.update::<StatefulSet>("shop", "db", back).unwrap();
    assert_eq!(run_stateful(&mut partitioned).last().unwrap(), "old! old! old!");
    assert_eq!(revisions(&partitioned), named(&[(2, "new"), (3, "old")]));

    let mut by_hand = field();
    stateful(&mut by_hand, &json!({ "updateStrategy": { "type": "OnDelete" } }));
    run_stateful(&mut by_hand);
    change_stateful(&mut by_hand);
    assert_eq!(run_stateful(&mut by_hand), ["old! old! old!"]);
    by_hand.delete_pod("shop", "db-1", None).unwrap();
    assert_eq!(run_stateful(&mut by_hand).last().unwrap(), "old! new! old!");
}

#[test]
fn an_ordered_set_with_a_pod_that_is_not_ready_is_stuck() {
    let mut world = field();
    stateful(&mut world, &json!({}));
    run_stateful(&mut world);
    let now = world.store.time();
    world
        .store
        .update::<Pod>("shop", "db-0", |pod| {
            pods::set_condition(pod.status.as_mut().unwrap(), "Ready", false, None, None, &now);
        })
        .unwrap();
    change_stateful(&mut world);
    settle(&mut world, 600);
    assert_eq!(shown(&world), "old old! old!");
}

#[test]
fn history_beyond_the_limit_is_deleted() {
    let mut world = field();
    deployment(&mut world, 1, rolling(json!(1), json!(0)));
    world.store.update::<Deployment>("shop", "web", |d| d.spec.revision_history_limit = Some(2)).unwrap();
    for round in 0..5 {
        let change = |deployment: &mut Deployment| {
            deployment.spec.template = super::object(template(&round.to_string()));
        };
        world.store.update::<Deployment>("shop", "web", change).unwrap();
        for _ in 0..3 {
            settle(&mut world, 5);
            make_ready(&mut world, |_| true);
            bury(&mut world);
        }
        settle(&mut world, 5);
    }
    assert_eq!(world.store.list_in::<ReplicaSet>("shop").count(), 3, "two old ones and the current one");
}

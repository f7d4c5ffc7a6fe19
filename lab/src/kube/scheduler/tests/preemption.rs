//! Preemption: who goes, and from where.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::super::preempt;
use super::{manifest, on, seen};
use crate::World;
use crate::kube::pods;
use crate::kube::tests::{apply, field, settle, silent_machine};

fn prioritised(name: &str, cpu: &str, priority: i32) -> Value {
    manifest(name, &json!({ "app": name }), &json!({ "cpu": cpu }), &json!({ "priority": priority }))
}

/// On a node since a moment of one hour, in minutes.
fn since(node: &str, minute: u32, pod: Value) -> Value {
    let mut pod = on(node, pod);
    pod["status"]["startTime"] = format!("2026-01-15T00:{minute:02}:00Z").into();
    pod
}

fn frozen(world: &mut World, app: &str) {
    let budget = json!({
        "metadata": { "name": app },
        "spec": { "maxUnavailable": 0, "selector": { "matchLabels": { "app": app } } },
        "status": { "disruptionsAllowed": 0, "observedGeneration": 1 },
    });
    apply::<PodDisruptionBudget>(world, budget);
}

/// The node and the victims, for a pod of priority 100 that asks for `cpu`; nodes have 4 CPUs each.
fn victims(nodes: &[&str], there: &[Value], cpu: &str, budgets: &[&str]) -> Option<(String, Vec<String>)> {
    let nodes: Vec<(&str, Value)> = nodes.iter().map(|name| (*name, json!({}))).collect();
    let (mut world, pod) = seen(&nodes, there, &prioritised("asking", cpu, 100));
    for app in budgets {
        frozen(&mut world, app);
    }
    let names: Vec<String> = nodes.iter().map(|(name, _)| (*name).to_owned()).collect();
    let World { kube, store, rng, .. } = &mut world;
    let before = format!("{:?}", kube.scheduler.cache);
    let found = preempt::find(&pod, &names, &mut kube.scheduler.cache, store, rng);
    assert_eq!(format!("{:?}", kube.scheduler.cache).len(), before.len(), "what was tried is undone");
    found.map(|found| (found.node, found.victims.iter().map(|victim| victim.key.name.clone()).collect()))
}

fn loss(node: &str, victims: &[&str]) -> (String, Vec<String>) {
    (node.to_owned(), victims.iter().map(ToString::to_string).collect())
}

#[test]
fn as_few_and_as_unimportant_pods_as_possible_go() {
    let pod = prioritised;
    // Both are in the way; giving one back is enough, the more important one.
    assert_eq!(
        victims(&["a"], &[on("a", pod("low", "2", 1)), on("a", pod("high", "2", 50))], "2", &[]),
        Some(loss("a", &["low"]))
    );
    // Equals: the one that has been there longer stays.
    let equals = [since("a", 10, pod("old", "2", 1)), since("a", 20, pod("young", "2", 1))];
    assert_eq!(victims(&["a"], &equals, "2", &[]), Some(loss("a", &["young"])));
    // Nobody less important, or not enough of them.
    assert_eq!(victims(&["a"], &[on("a", pod("equal", "4", 100))], "2", &[]), None);
    assert_eq!(
        victims(&["a"], &[on("a", pod("equal", "3", 100)), on("a", pod("low", "1", 1))], "2", &[]),
        None
    );
    // A budget is honoured where there is a choice, within a node and between nodes, and not otherwise.
    let guarded = [on("a", pod("guarded", "2", 1)), on("a", pod("other", "2", 1))];
    assert_eq!(victims(&["a"], &guarded, "2", &["guarded"]), Some(loss("a", &["other"])));
    let apart = [on("a", pod("guarded", "4", 1)), on("b", pod("other", "4", 90))];
    assert_eq!(victims(&["a", "b"], &apart, "2", &["guarded"]), Some(loss("b", &["other"])));
    assert_eq!(victims(&["a"], &apart[..1], "2", &["guarded"]), Some(loss("a", &["guarded"])));
}

#[test]
fn of_several_nodes_the_one_that_loses_least() {
    let pod = prioritised;
    // The most important victim is less important on b.
    let one_each = [on("a", pod("x", "4", 20)), on("b", pod("y", "4", 10))];
    assert_eq!(victims(&["a", "b"], &one_each, "4", &[]), Some(loss("b", &["y"])));
    // The same highest, a smaller sum on a.
    let sums = [on("a", pod("x", "4", 10)), on("b", pod("y", "2", 10)), on("b", pod("z", "2", 5))];
    assert_eq!(victims(&["a", "b"], &sums, "4", &[]), Some(loss("a", &["x"])));
    // All alike: where the most important one has started last.
    let ages = [since("a", 10, pod("x", "4", 10)), since("b", 20, pod("y", "4", 10))];
    assert_eq!(victims(&["a", "b"], &ages, "4", &[]), Some(loss("b", &["y"])));
}

#[test]
fn the_victims_are_given_their_grace_and_the_room_is_kept_for_the_one_they_made_it_for() {
    let mut world = field();
    // 7820m.
    silent_machine(&mut world, "a");
    apply::<Pod>(&mut world, on("a", prioritised("low", "7", 1)));
    apply::<Pod>(&mut world, prioritised("asking", "7", 100));
    settle(&mut world, 5);
    let get = |world: &World, name: &str| world.store.get::<Pod>("shop", name).cloned();
    let low = get(&world, "low").unwrap();
    assert!(pods::is_terminating(&low));
    assert_eq!(low.metadata.deletion_grace_period_seconds, Some(30));
    let target = crate::ports::convert::condition(&low, "DisruptionTarget").unwrap();
    assert_eq!(target.reason.as_deref(), Some("PreemptionByScheduler"));
    let asking = get(&world, "asking").unwrap();
    assert_eq!(asking.status.as_ref().unwrap().nominated_node_name.as_deref(), Some("a"));
    // A less important pod that comes now, small enough for what the victim leaves, does not get in between.
    apply::<Pod>(&mut world, prioritised("late", "1", 50));
    settle(&mut world, 5);
    world.store.delete::<Pod>("shop", "low").unwrap();
    settle(&mut world, 60);
    let node =
        |world: &World, name: &str| get(world, name).and_then(|pod| pods::node_of(&pod).map(str::to_owned));
    assert_eq!((node(&world, "asking").as_deref(), node(&world, "late")), (Some("a"), None));
}

#[test]
fn who_must_not_preempt_waits_and_says_so() {
    let mut polite = prioritised("asking", "4", 100);
    polite["spec"]["preemptionPolicy"] = "Never".into();
    let (mut world, _) = seen(&[("a", json!({}))], &[on("a", prioritised("low", "4", 1))], &polite);
    settle(&mut world, 5);
    let low = world.store.get::<Pod>("shop", "low").unwrap();
    assert!(!pods::is_terminating(low));
    let asking = world.store.get::<Pod>("shop", "asking").unwrap();
    let scheduled = crate::ports::convert::condition(asking, "PodScheduled").unwrap();
    assert_eq!(
        scheduled.message.as_deref(),
        Some(
            "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
        )
    );
}

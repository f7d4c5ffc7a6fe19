//! What a budget allows (disruption.go): the table of its numbers, and the owners that cannot be counted.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use serde_json::{Value, json};

use super::super::{Key, disruption};
use super::{apply, field, owner, settle, status};
use crate::World;

/// Who stands behind the pods that a row counts.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Deployment(i32),
    StatefulSet(i32),
    /// A set without a Deployment above it.
    ReplicaSet(i32),
    /// A set that something else than a Deployment owns (Argo Rollouts).
    OfRollout(i32),
    DaemonSet,
    Job,
    Custom,
    Nobody,
    /// The owner named is not there.
    Lost,
}

/// Puts pods of an owner into the world: so many that are healthy, and so many that are not ready.
fn pods(world: &mut World, name: &str, from: Owner, healthy: usize, unready: usize) {
    let meta =
        |owners: Value| json!({ "name": name, "uid": format!("uid-{name}"), "ownerReferences": owners });
    let spec =
        |replicas: i32| json!({ "replicas": replicas, "selector": {}, "serviceName": "", "template": {} });
    let own = |api: &str, kind: &str| owner(api, kind, name, &format!("uid-{name}"));
    let owners = match from {
        Owner::Deployment(replicas) => {
            apply::<Deployment>(
                world,
                json!({ "metadata": { "name": name, "uid": format!("uid-d-{name}") }, "spec": spec(replicas) }),
            );
            let above = owner("apps/v1", "Deployment", name, &format!("uid-d-{name}"));
            // The set has more pods than the Deployment asks for: a surge.
            apply::<ReplicaSet>(world, json!({ "metadata": meta(above), "spec": spec(replicas + 1) }));
            own("apps/v1", "ReplicaSet")
        }
        Owner::ReplicaSet(replicas) => {
            apply::<ReplicaSet>(world, json!({ "metadata": meta(Value::Null), "spec": spec(replicas) }));
            own("apps/v1", "ReplicaSet")
        }
        Owner::OfRollout(replicas) => {
            let above = owner("argoproj.io/v1alpha1", "Rollout", name, "uid-rollout");
            apply::<ReplicaSet>(world, json!({ "metadata": meta(above), "spec": spec(replicas) }));
            own("apps/v1", "ReplicaSet")
        }
        Owner::StatefulSet(replicas) => {
            apply::<StatefulSet>(world, json!({ "metadata": meta(Value::Null), "spec": spec(replicas) }));
            own("apps/v1", "StatefulSet")
        }
        Owner::DaemonSet => own("apps/v1", "DaemonSet"),
        Owner::Job => own("batch/v1", "Job"),
        Owner::Custom => own("kafka.example.com/v1", "Kafka"),
        Owner::Lost => own("apps/v1", "ReplicaSet"),
        Owner::Nobody => Value::Null,
    };
    for n in 0..healthy + unready {
        apply::<Pod>(
            world,
            json!({
                "metadata": { "name": format!("{name}-{n}"), "labels": { "app": "web" }, "ownerReferences": owners },
                "spec": { "containers": [], "nodeName": "n1" }, "status": status("Running", n < healthy),
            }),
        );
    }
}

fn counted(world: &mut World, limit: Value) -> PodDisruptionBudgetStatus {
    let mut spec = limit;
    spec["selector"] = json!({ "matchLabels": { "app": "web" } });
    apply::<PodDisruptionBudget>(world, json!({ "metadata": { "name": "b" }, "spec": spec }));
    disruption::reconcile(world, &Key::new("shop", "b"));
    world.store.get::<PodDisruptionBudget>("shop", "b").unwrap().status.clone().unwrap()
}

/// expectedPods, desiredHealthy, currentHealthy, disruptionsAllowed.
fn numbers(status: &PodDisruptionBudgetStatus) -> [i32; 4] {
    [status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed]
        .map(Option::unwrap_or_default)
}

/// What it is about, the budget's limit, who owns the pods and how many are healthy and how many not; and the numbers.
type Row = (&'static str, Value, Vec<(Owner, usize, usize)>, [i32; 4]);

#[test]
fn a_budget_allows_what_the_table_says() {
    use Owner::{Deployment as D, Nobody, ReplicaSet as R, StatefulSet as S};
    // N: pods that the selector matches; R: replicas that the owners ask for. Percentages are rounded up.
    let rows: Vec<Row> = vec![
        // minAvailable m: N expected, m desired.
        ("minAvailable 2 of 3", json!({ "minAvailable": 2 }), vec![(D(3), 3, 0)], [3, 2, 3, 1]),
        ("one of them is not ready", json!({ "minAvailable": 2 }), vec![(D(3), 2, 1)], [3, 2, 2, 0]),
        (
            "fewer than desired is not negative",
            json!({ "minAvailable": 2 }),
            vec![(D(3), 1, 2)],
            [3, 2, 1, 0],
        ),
        ("a surge pod gives one more", json!({ "minAvailable": 1 }), vec![(D(1), 2, 0)], [2, 1, 2, 1]),
        ("minAvailable counts bare pods", json!({ "minAvailable": 1 }), vec![(Nobody, 2, 0)], [2, 1, 2, 1]),
        ("nobody there", json!({ "minAvailable": 0 }), vec![], [0, 0, 0, 0]),
        ("minAvailable 0", json!({ "minAvailable": 0 }), vec![(D(2), 2, 0)], [2, 0, 2, 2]),
        // minAvailable p %: R expected, ceil(p R / 100) desired.
        ("50 % of 3 = ceil 1.5", json!({ "minAvailable": "50%" }), vec![(D(3), 3, 0)], [3, 2, 3, 1]),
        ("34 % of 3 = ceil 1.02", json!({ "minAvailable": "34%" }), vec![(D(3), 3, 0)], [3, 2, 3, 1]),
        ("33 % of 3 = ceil 0.99", json!({ "minAvailable": "33%" }), vec![(D(3), 3, 0)], [3, 1, 3, 2]),
        ("1 % of 1 = ceil 0.01", json!({ "minAvailable": "1%" }), vec![(D(1), 1, 0)], [1, 1, 1, 0]),
        (
            "100 % while a surge pod is there",
            json!({ "minAvailable": "100%" }),
            vec![(D(3), 4, 0)],
            [3, 3, 4, 1],
        ),
        // maxUnavailable u: R expected, R - u desired.
        ("maxUnavailable 1 of 3", json!({ "maxUnavailable": 1 }), vec![(S(3), 3, 0)], [3, 2, 3, 1]),
        ("maxUnavailable 0", json!({ "maxUnavailable": 0 }), vec![(S(3), 3, 0)], [3, 3, 3, 0]),
        ("more than there are", json!({ "maxUnavailable": 5 }), vec![(S(3), 3, 0)], [3, 0, 3, 3]),
        (
            "of bare pods: nothing is expected, nothing allowed",
            json!({ "maxUnavailable": 1 }),
            vec![(Nobody, 2, 0)],
            [0, 0, 2, 0],
        ),
        (
            "asked for more than there are yet",
            json!({ "maxUnavailable": 1 }),
            vec![(R(5), 3, 0)],
            [5, 4, 3, 0],
        ),
        // maxUnavailable p %: R - ceil(p R / 100) desired.
        ("30 % of 4 = ceil 1.2", json!({ "maxUnavailable": "30%" }), vec![(D(4), 4, 0)], [4, 2, 4, 2]),
        (
            "1 % of 1 = ceil 0.01: false comfort",
            json!({ "maxUnavailable": "1%" }),
            vec![(D(1), 1, 0)],
            [1, 0, 1, 1],
        ),
        ("34 % of 3 = ceil 1.02", json!({ "maxUnavailable": "34%" }), vec![(D(3), 3, 0)], [3, 1, 3, 2]),
        // R is the sum over the owners, each once.
        ("two owners: 3 + 2", json!({ "maxUnavailable": 1 }), vec![(D(3), 3, 0), (S(2), 2, 0)], [5, 4, 5, 1]),
        (
            "two sets of one Rollout, each counted by itself: 3 + 1",
            json!({ "maxUnavailable": 1 }),
            vec![(Owner::OfRollout(3), 3, 0), (Owner::OfRollout(1), 0, 1)],
            [4, 3, 3, 0],
        ),
        (
            "an owner and bare pods",
            json!({ "maxUnavailable": 1 }),
            vec![(D(3), 3, 0), (Nobody, 1, 0)],
            [3, 2, 4, 2],
        ),
    ];
    for (story, limit, owners, wanted) in rows {
        let mut world = field();
        for (index, (owner, healthy, unready)) in owners.into_iter().enumerate() {
            pods(&mut world, &format!("w{index}"), owner, healthy, unready);
        }
        let status = counted(&mut world, limit);
        assert_eq!(numbers(&status), wanted, "{story}");
        let condition = &status.conditions.as_ref().unwrap()[0];
        let allowed = wanted[3] > 0;
        assert_eq!(
            (condition.status.as_str(), condition.reason.as_str()),
            if allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") },
            "{story}"
        );
    }
}

#[test]
fn an_owner_that_cannot_be_scaled_makes_the_whole_budget_fail_but_a_number_of_pods_is_immune() {
    for (other, words) in [
        (Owner::DaemonSet, "daemonsets.apps does not implement the scale subresource"),
        (Owner::Job, "jobs.batch does not implement the scale subresource"),
        (Owner::Custom, "Kafka does not implement the scale subresource"),
        (Owner::Lost, "found no controllers for pod \"other-0\""),
    ] {
        for (limit, fails) in [
            (json!({ "maxUnavailable": 1 }), true),
            (json!({ "maxUnavailable": "50%" }), true),
            (json!({ "minAvailable": "50%" }), true),
            (json!({ "minAvailable": 1 }), false),
        ] {
            let mut world = field();
            pods(&mut world, "web", Owner::Deployment(3), 3, 0);
            pods(&mut world, "other", other, 1, 0);
            let status = counted(&mut world, limit.clone());
            let condition = &status.conditions.as_ref().unwrap()[0];
            assert_eq!(condition.reason == "SyncFailed", fails, "{other:?} {limit}");
            assert_eq!(status.disruptions_allowed, Some(if fails { 0 } else { 3 }), "{other:?} {limit}");
            if fails {
                assert_eq!(condition.message, words);
            }
        }
    }
}

#[test]
fn pods_that_have_ended_are_expected_and_not_healthy() {
    for (limit, wanted) in [
        // N counts them: 4. R does not: it is what the set asks for.
        (json!({ "minAvailable": 2 }), [4, 2, 2, 0]),
        (json!({ "maxUnavailable": 2 }), [4, 2, 2, 0]),
        (json!({ "minAvailable": "25%" }), [4, 1, 2, 1]),
    ] {
        let mut world = field();
        pods(&mut world, "web", Owner::StatefulSet(4), 4, 0);
        for (name, phase) in [("web-2", "Succeeded"), ("web-3", "Failed")] {
            let end = |pod: &mut Pod| pod.status = super::object(status(phase, false));
            world.store.update::<Pod>("shop", name, end).unwrap();
        }
        assert_eq!(numbers(&counted(&mut world, limit.clone())), wanted, "{limit}");
    }
}

#[test]
fn terminating_and_disrupted_pods_are_expected_and_not_healthy() {
    let mut world = field();
    pods(&mut world, "web", Owner::StatefulSet(4), 4, 0);
    world.delete_pod("shop", "web-3", None).unwrap();
    let status = counted(&mut world, json!({ "maxUnavailable": 2 }));
    assert_eq!(numbers(&status), [4, 2, 3, 1]);
    // An eviction whose delete failed is believed for two minutes.
    let wrong: k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions =
        super::object(json!({ "preconditions": { "uid": "another" } }));
    assert_eq!(world.evict("shop", "web-0", Some(&wrong)).unwrap_err().code, 409);
    let now = |world: &mut World| {
        disruption::reconcile(world, &Key::new("shop", "b"));
        let budget = world.store.get::<PodDisruptionBudget>("shop", "b").unwrap();
        numbers(budget.status.as_ref().unwrap())
    };
    assert_eq!(now(&mut world), [4, 2, 2, 0]);
    world.store.now += jiff::SignedDuration::from_secs(119);
    assert_eq!(now(&mut world), [4, 2, 2, 0]);
    world.store.now += jiff::SignedDuration::from_secs(1);
    assert_eq!(now(&mut world), [4, 2, 3, 1]);
}

#[test]
fn a_disruption_that_nobody_carried_out_is_taken_back_after_two_minutes() {
    let mut world = field();
    pods(&mut world, "bare", Owner::Nobody, 1, 0);
    super::super::pods::disrupt(&mut world, &Key::new("shop", "bare-0"), "EvictionByEvictionAPI", "");
    let target = |world: &World| {
        let pod = world.store.get::<Pod>("shop", "bare-0").unwrap();
        crate::ports::convert::condition(pod, "DisruptionTarget").unwrap().status.clone()
    };
    settle(&mut world, 119);
    assert_eq!(target(&world), "True");
    settle(&mut world, 5);
    assert_eq!(target(&world), "False");
}

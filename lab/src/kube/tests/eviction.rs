//! The Eviction API's order of decisions (registry/core/pod/storage/eviction.go), one row for each way through it.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Time};
use serde_json::{Value, json};

use super::{apply, field, object, status};
use crate::World;
use crate::error::ApiError;

/// What the API answers: 201, or the refusal's status, its `retryAfterSeconds` and a part of its text.
#[derive(Debug, PartialEq)]
enum Answer {
    Evicted,
    Refused(u16, i32, &'static str),
}
use Answer::{Evicted, Refused};

struct Row {
    story: &'static str,
    pod: Value,
    budgets: Vec<Value>,
    options: Value,
    answer: Answer,
    /// `disruptionsAllowed` of the first budget afterwards.
    left: Option<i32>,
}

/// A budget over `app: web` as the controller has counted it.
fn budget(name: &str, allowed: i32, healthy: i32, desired: i32) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": { "minAvailable": desired, "selector": { "matchLabels": { "app": "web" } } },
        "status": {
            "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy,
            "desiredHealthy": desired, "expectedPods": 3,
        },
    })
}

fn with(mut value: Value, path: &str, member: &str, new: Value) -> Value {
    value.pointer_mut(path).unwrap()[member] = new;
    value
}

fn ready() -> Value {
    status("Running", true)
}

fn unready() -> Value {
    status("Running", false)
}

const NEEDS_3_HAS_3: &str = "The disruption budget b needs 3 healthy pods and has 3 currently";

fn rows() -> Vec<Row> {
    let row =
        |story, pod, budgets, answer, left| Row { story, pod, budgets, options: json!({}), answer, left };
    let policy = |policy: &str, budget| with(budget, "/spec", "unhealthyPodEvictionPolicy", policy.into());
    let blocked = || budget("b", 0, 3, 3);
    let generous = || budget("b", 2, 3, 1);
    let stale = || with(generous(), "/status", "observedGeneration", json!(0));
    let crowd: Value = (0..2_001).map(|n| (format!("p{n}"), json!("2026-01-15T01:00:00Z"))).collect();
    let failed = json!([{ "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed",
        "message": "found no controllers", "lastTransitionTime": "2026-01-15T01:00:00Z" }]);
    vec![
        row("nobody protects it", ready(), vec![], Evicted, None),
        row("the budget has room", ready(), vec![generous()], Evicted, Some(1)),
        row("the budget has none", ready(), vec![blocked()], Refused(429, 0, NEEDS_3_HAS_3), Some(0)),
        // Pods that are ending or never began bypass the budget.
        row("succeeded", status("Succeeded", false), vec![blocked()], Evicted, Some(0)),
        row("failed", status("Failed", false), vec![blocked()], Evicted, Some(0)),
        row("pending", status("Pending", false), vec![blocked()], Evicted, Some(0)),
        row(
            "pending, two budgets",
            status("Pending", false),
            vec![blocked(), budget("c", 0, 3, 3)],
            Evicted,
            Some(0),
        ),
        // Two budgets are never decided, whatever they allow.
        row(
            "two budgets",
            ready(),
            vec![generous(), budget("c", 2, 3, 1)],
            Refused(500, 0, "This pod has more than one PodDisruptionBudget"),
            Some(2),
        ),
        row(
            "an empty selector protects all",
            ready(),
            vec![with(blocked(), "/spec", "selector", json!({}))],
            Refused(429, 0, NEEDS_3_HAS_3),
            Some(0),
        ),
        row(
            "no selector protects nobody",
            ready(),
            vec![with(blocked(), "/spec", "selector", Value::Null)],
            Evicted,
            Some(0),
        ),
        // An unready pod: while enough others are healthy it costs nothing, without a policy too.
        row("unready, 3 of 3 healthy", unready(), vec![blocked()], Evicted, Some(0)),
        row(
            "unready, IfHealthyBudget",
            unready(),
            vec![policy("IfHealthyBudget", blocked())],
            Evicted,
            Some(0),
        ),
        row(
            "unready, 2 of 3 healthy",
            unready(),
            vec![budget("b", 0, 2, 3)],
            Refused(429, 0, "The disruption budget b needs 3 healthy pods and has 2 currently"),
            Some(0),
        ),
        row(
            "unready, 2 of 3 healthy, AlwaysAllow",
            unready(),
            vec![policy("AlwaysAllow", budget("b", 0, 2, 3))],
            Evicted,
            Some(0),
        ),
        row(
            "unready, none desired: no free pass",
            unready(),
            vec![budget("b", 0, 0, 0)],
            Refused(429, 0, "The disruption budget b needs 0 healthy pods and has 0 currently"),
            Some(0),
        ),
        row(
            "unready, a policy of a newer Kubernetes",
            unready(),
            vec![policy("Sometimes", blocked())],
            Refused(429, 0, NEEDS_3_HAS_3),
            Some(0),
        ),
        row(
            "ready, AlwaysAllow is about unready ones",
            ready(),
            vec![policy("AlwaysAllow", blocked())],
            Refused(429, 0, NEEDS_3_HAS_3),
            Some(0),
        ),
        // checkAndDecrement, in its order.
        row(
            "not counted since it was changed",
            ready(),
            vec![stale()],
            Refused(429, 10, "The disruption budget b is still being processed by the server."),
            Some(2),
        ),
        row(
            "not counted comes before negative",
            ready(),
            vec![with(stale(), "/status", "disruptionsAllowed", json!(-1))],
            Refused(429, 10, "still being processed"),
            Some(-1),
        ),
        row(
            "negative",
            ready(),
            vec![budget("b", -1, 3, 3)],
            Refused(403, 0, "pdb disruptions allowed is negative"),
            Some(-1),
        ),
        row(
            "too many evictions that do not show",
            ready(),
            vec![with(generous(), "/status", "disruptedPods", crowd)],
            Refused(403, 0, "DisruptedPods map too big"),
            Some(2),
        ),
        row(
            "it could not be counted",
            ready(),
            vec![with(blocked(), "/status", "conditions", failed)],
            Refused(429, 0, "because it failed sync: found no controllers"),
            Some(0),
        ),
        Row {
            options: json!({ "preconditions": { "uid": "another" } }),
            ..row(
                "another uid: the slot is spent all the same",
                ready(),
                vec![generous()],
                Refused(409, 0, "UID in precondition: another"),
                Some(1),
            )
        },
        Row {
            options: json!({ "preconditions": { "resourceVersion": "1" } }),
            ..row(
                "another version: the slot is spent, too",
                ready(),
                vec![generous()],
                Refused(409, 0, "ResourceVersion in precondition: 1"),
                Some(1),
            )
        },
        Row {
            options: json!({ "preconditions": { "uid": "another" } }),
            ..row(
                "another uid, an unready pod: nothing is spent",
                unready(),
                vec![blocked()],
                Refused(409, 0, "UID in precondition: another"),
                Some(0),
            )
        },
        Row {
            options: json!({ "dryRun": ["All"] }),
            ..row("dry run", ready(), vec![generous()], Evicted, Some(2))
        },
        Row {
            options: json!({ "dryRun": ["All"] }),
            ..row("dry run, refused", ready(), vec![blocked()], Refused(429, 0, NEEDS_3_HAS_3), Some(0))
        },
    ]
}

fn message_of(error: &ApiError) -> String {
    let causes: Vec<&str> = error.causes.iter().map(|cause| cause.message.as_str()).collect();
    format!("{} {}", error.message, causes.join(" "))
}

fn allowed(world: &World) -> Option<i32> {
    world.store.get::<PodDisruptionBudget>("shop", "b")?.status.as_ref()?.disruptions_allowed
}

#[test]
fn an_eviction_is_decided_in_the_servers_order() {
    for row in rows() {
        let mut world = field();
        apply::<Pod>(
            &mut world,
            json!({
                "metadata": { "name": "web-0", "labels": { "app": "web" } },
                "spec": { "containers": [], "nodeName": "n1" }, "status": row.pod,
            }),
        );
        for budget in row.budgets {
            apply::<PodDisruptionBudget>(&mut world, budget);
        }
        let options: DeleteOptions = object(row.options.clone());
        let dry_run = options.dry_run.is_some();
        let answer = world.evict("shop", "web-0", Some(&options));
        let text = answer.as_ref().err().map(message_of).unwrap_or_default();
        let answered = match (&answer, &row.answer) {
            (Ok(()), _) => Evicted,
            (Err(error), Refused(_, _, part)) if text.contains(part) => {
                Refused(error.code, error.retry_after_seconds, part)
            }
            (Err(error), _) => Refused(error.code, error.retry_after_seconds, "another text"),
        };
        assert_eq!(answered, row.answer, "{}: {text}", row.story);
        assert_eq!(allowed(&world), row.left, "{}", row.story);
        let pod = world.store.get::<Pod>("shop", "web-0");
        let going = pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
        assert_eq!(going, answer.is_ok() && !dry_run, "{}", row.story);
    }
}

#[test]
fn an_eviction_that_is_repeated_needs_no_budget_and_may_only_shorten_the_grace() {
    let mut world = field();
    apply::<Pod>(
        &mut world,
        json!({
            "metadata": { "name": "web-0", "labels": { "app": "web" } },
            "spec": { "containers": [], "nodeName": "n1" }, "status": ready(),
        }),
    );
    apply::<PodDisruptionBudget>(&mut world, budget("b", 1, 3, 2));
    let grace = |world: &World| {
        let pod = world.store.get::<Pod>("shop", "web-0").unwrap();
        pod.metadata.deletion_grace_period_seconds.unwrap()
    };
    let with_grace =
        |seconds: i64| DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() };
    world.evict("shop", "web-0", None).unwrap();
    assert_eq!((allowed(&world), grace(&world)), (Some(0), 30));
    world.evict("shop", "web-0", Some(&with_grace(90))).unwrap();
    assert_eq!(grace(&world), 30);
    world.evict("shop", "web-0", Some(&with_grace(5))).unwrap();
    assert_eq!(grace(&world), 5);
    let pod = world.store.get::<Pod>("shop", "web-0").unwrap();
    let target = crate::ports::convert::condition(pod, "DisruptionTarget").unwrap();
    assert_eq!(target.reason.as_deref(), Some("EvictionByEvictionAPI"));
}

#[test]
fn nothing_is_evicted_from_a_namespace_that_is_going() {
    let mut world = field();
    world
        .store
        .update::<Namespace>("", "shop", |namespace| {
            namespace.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        })
        .unwrap();
    let refused = world.evict("shop", "web-0", None).unwrap_err();
    assert_eq!((refused.code, refused.causes[0].reason.as_str()), (403, "NamespaceTerminating"));
}

#[test]
fn the_grace_is_the_pods_own_unless_somebody_says_and_none_for_one_that_does_not_run() {
    // (node, phase, the pod's own grace, what the eviction says) and the seconds until the deadline; `None` for gone at once.
    for (node, phase, own, asked, wanted) in [
        (Some("n1"), "Running", None, None, Some(30)),
        (Some("n1"), "Running", Some(90), None, Some(90)),
        (Some("n1"), "Running", Some(90), Some(5), Some(5)),
        (Some("n1"), "Running", Some(5), Some(90), Some(90)),
        (Some("n1"), "Running", None, Some(-1), Some(1)),
        (Some("n1"), "Running", None, Some(0), None),
        (Some("n1"), "Pending", None, None, Some(30)),
        (None, "Pending", Some(90), Some(60), None),
        (Some("n1"), "Succeeded", None, None, None),
        (Some("n1"), "Failed", Some(90), None, None),
    ] {
        let mut world = field();
        let spec = json!({ "containers": [], "nodeName": node, "terminationGracePeriodSeconds": own });
        apply::<Pod>(
            &mut world,
            json!({ "metadata": { "name": "web-0" }, "spec": spec, "status": { "phase": phase } }),
        );
        let options = DeleteOptions { grace_period_seconds: asked, ..DeleteOptions::default() };
        world.evict("shop", "web-0", Some(&options)).unwrap();
        let now = world.store.time().0;
        let left = world.store.get::<Pod>("shop", "web-0").map(|pod| {
            let deadline = pod.metadata.deletion_timestamp.as_ref().unwrap().0;
            let seconds = deadline.duration_since(now).as_secs();
            assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(seconds));
            seconds
        });
        assert_eq!(left, wanted, "{node:?} {phase} {own:?} {asked:?}");
    }
}

#[test]
fn a_pod_that_is_not_there_cannot_be_evicted() {
    assert_eq!(field().evict("shop", "web-0", None).unwrap_err().code, 404);
}

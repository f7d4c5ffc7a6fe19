//! What a Job makes of the pods that it loses (job_controller.go, pod_failure_policy.go).

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use serde_json::{Value, json};

use super::super::pods;
use super::{apply, object, settle, silent_machine, status};
use crate::{Scenario, World};

/// A Job of one pod, with what `more` says and the pod's annotations.
fn job(world: &mut World, more: Value, annotations: Value) {
    let container = json!({ "name": "work", "image": "work:1" });
    let mut spec = json!({ "template": {
        "metadata": { "annotations": annotations }, "spec": { "restartPolicy": "Never", "containers": [container] },
    } });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    apply::<Job>(world, json!({ "metadata": { "name": "work" }, "spec": spec }));
}

fn rule(action: &str, more: Value) -> Value {
    let mut rule = json!({ "action": action });
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

fn policy(rules: &[Value]) -> Value {
    json!({ "podFailurePolicy": { "rules": rules } })
}

fn disrupted() -> Value {
    json!({ "onPodConditions": [{ "type": "DisruptionTarget" }] })
}

fn report(world: &World) -> JobStatus {
    world.store.get::<Job>("shop", "work").unwrap().status.clone().unwrap()
}

fn verdict(status: &JobStatus) -> Option<String> {
    let ended = status.conditions.iter().flatten().find(|condition| condition.type_ == "Failed")?;
    ended.reason.clone()
}

/// The Job's pods that are not told to go.
fn active(world: &World) -> usize {
    world.store.list_in::<Pod>("shop").filter(|pod| pods::is_active(pod)).count()
}

#[test]
fn an_evicted_pod_counts_unless_the_jobs_policy_ignores_disruptions() {
    // The policy; then failures and active pods while the evicted pod ends, and when it is gone; and the verdict.
    for (story, more, ending, gone, wanted) in [
        ("no policy: it counts, and comes back after 10 s", json!({}), (1, 1), (1, 1), None),
        (
            "ignored: it comes back when it is gone",
            policy(&[rule("Ignore", disrupted())]),
            (0, 0),
            (0, 1),
            None,
        ),
        ("counted by name", policy(&[rule("Count", disrupted())]), (1, 0), (1, 1), None),
        (
            "the first rule that fits decides",
            policy(&[rule("Count", disrupted()), rule("Ignore", disrupted())]),
            (1, 0),
            (1, 1),
            None,
        ),
        (
            "a rule about something else",
            policy(&[rule("Ignore", json!({ "onPodConditions": [{ "type": "ConfigIssue" }] }))]),
            (1, 0),
            (1, 1),
            None,
        ),
        (
            "the end of the Job",
            policy(&[rule("FailJob", disrupted())]),
            (1, 0),
            (1, 0),
            Some("PodFailurePolicy"),
        ),
        ("no patience", json!({ "backoffLimit": 0 }), (1, 0), (1, 0), Some("BackoffLimitExceeded")),
        ("replaced when it is gone", json!({ "podReplacementPolicy": "Failed" }), (1, 0), (1, 1), None),
    ] {
        let mut world = super::field();
        silent_machine(&mut world, "n1");
        job(&mut world, more, json!({}));
        settle(&mut world, 5);
        let name = world.store.list_in::<Pod>("shop").next().unwrap().metadata.name.clone().unwrap();
        let run = |pod: &mut Pod| pod.status = object(status("Running", true));
        world.store.update::<Pod>("shop", &name, run).unwrap();
        settle(&mut world, 5);
        world.evict("shop", &name, None).unwrap();
        settle(&mut world, 25);
        let seen = |world: &World| (report(world).failed.unwrap_or_default(), active(world));
        assert_eq!(seen(&world), ending, "{story}: on its way out");
        world.store.delete::<Pod>("shop", &name).unwrap();
        settle(&mut world, 25);
        assert_eq!(seen(&world), gone, "{story}: gone");
        assert_eq!(verdict(&report(&world)).as_deref(), wanted, "{story}");
    }
}

#[test]
fn a_pod_that_crashes_is_judged_by_its_exit_code_and_the_jobs_patience() {
    let codes =
        |operator: &str, values: &[i32]| json!({ "onExitCodes": { "operator": operator, "values": values } });
    for (story, more, failed, wanted) in [
        ("two may fail, the third is the end", json!({ "backoffLimit": 2 }), 3, Some("BackoffLimitExceeded")),
        (
            "its code ends the Job",
            policy(&[rule("FailJob", codes("In", &[1, 2]))]),
            1,
            Some("PodFailurePolicy"),
        ),
        (
            "another code would",
            policy(&[rule("FailJob", codes("NotIn", &[1]))]),
            7,
            Some("BackoffLimitExceeded"),
        ),
        ("its code is nobody's failure", policy(&[rule("Ignore", codes("NotIn", &[2]))]), 0, None),
    ] {
        let mut scenario = Scenario::demo();
        scenario.objects.clear();
        let mut world = World::new(&scenario, 1);
        apply::<Namespace>(&mut world, json!({ "metadata": { "name": "shop" } }));
        job(&mut world, more, json!({ "lab.aks-drover/crash-seconds": "1" }));
        settle(&mut world, 3_600);
        let status = report(&world);
        assert_eq!(
            (status.failed.unwrap_or_default(), verdict(&status).as_deref()),
            (failed, wanted),
            "{story}"
        );
        assert_eq!(status.active == Some(1), wanted.is_none(), "{story}");
    }
}

//! Admission, quota, autoscalers, CronJobs, and the endpoints of Services.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::{Value, json};
use upgrade_core::access::{Right, Verb};
use upgrade_core::model::Labels;

use super::{apply, field, object, settle, silent_machine, status};
use crate::World;

fn pod(spec: &Value) -> Pod {
    let mut all = json!({ "containers": [{ "name": "web", "image": "web" }] });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object(
        json!({ "metadata": { "name": "web", "namespace": "shop", "labels": { "app": "web" } }, "spec": all }),
    )
}

#[test]
fn a_pod_gets_the_priority_of_its_class() {
    let classes = |world: &mut World| {
        apply::<PriorityClass>(
            world,
            json!({ "metadata": { "name": "gold" }, "value": 1000, "preemptionPolicy": "Never" }),
        );
        apply::<PriorityClass>(
            world,
            json!({ "metadata": { "name": "usual" }, "value": 10, "globalDefault": true }),
        );
    };
    for (class, wanted) in [
        (json!({ "priorityClassName": "gold" }), Ok((1000, Some("Never")))),
        (json!({}), Ok((10, None))),
        (json!({ "priorityClassName": "system-node-critical" }), Ok((2_000_001_000, None))),
        (
            json!({ "priorityClassName": "silver" }),
            Err("pods \"web\" is forbidden: no PriorityClass with name silver was found"),
        ),
    ] {
        let mut world = field();
        classes(&mut world);
        let made = world.create_pod(pod(&class));
        let found = made.as_ref().map(|pod| {
            let spec = pod.spec.as_ref().unwrap();
            (spec.priority.unwrap(), spec.preemption_policy.as_deref())
        });
        assert_eq!(found.map_err(|error| error.message.as_str()), wanted, "{class}");
    }
}

fn web(world: &mut World, replicas: i32) {
    let container = json!({ "name": "web", "image": "web", "resources": { "requests": { "cpu": "500m" } } });
    apply::<Deployment>(
        world,
        json!({
            "metadata": { "name": "web" },
            "spec": {
                "replicas": replicas, "selector": { "matchLabels": { "app": "web" } },
                "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [container] } },
            },
        }),
    );
}

fn failure(world: &World) -> Option<String> {
    let found = world.store.get::<Deployment>("shop", "web").unwrap();
    let conditions = found.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_.as_deref() == Some("ReplicaFailure"))?.message.clone()
}

#[test]
fn a_quota_stops_a_deployment_and_lets_it_go_on_when_there_is_room() {
    let mut world = field();
    silent_machine(&mut world, "n1");
    apply::<ResourceQuota>(
        &mut world,
        json!({ "metadata": { "name": "team" }, "spec": { "hard": { "requests.cpu": "1200m", "pods": "10" } } }),
    );
    web(&mut world, 3);
    settle(&mut world, 60);
    assert_eq!(world.store.list_in::<Pod>("shop").count(), 2);
    let why = failure(&world).unwrap();
    assert!(
        why.ends_with("is forbidden: exceeded quota: team, requested: requests.cpu=500m, used: requests.cpu=1, limited: requests.cpu=1200m"),
        "{why}"
    );
    let used = |world: &World| {
        let quota = world.store.get::<ResourceQuota>("shop", "team").unwrap();
        let used = quota.status.as_ref().unwrap().used.clone().unwrap();
        (used["requests.cpu"].0.clone(), used["pods"].0.clone())
    };
    assert_eq!(used(&world), ("1".to_owned(), "2".to_owned()));
    let raise = |quota: &mut ResourceQuota| {
        quota.spec.as_mut().unwrap().hard.as_mut().unwrap().get_mut("requests.cpu").unwrap().0 = "2".into();
    };
    world.store.update::<ResourceQuota>("shop", "team", raise).unwrap();
    settle(&mut world, 120);
    assert_eq!((failure(&world), used(&world).1.as_str()), (None, "3"));
    // A pod that was told to go counts until its grace is over, even if it stays longer.
    let name = world.store.list_in::<Pod>("shop").next().unwrap().metadata.name.clone().unwrap();
    world.store.update::<Deployment>("shop", "web", |d| d.spec.replicas = Some(2)).unwrap();
    settle(&mut world, 20);
    assert_eq!(used(&world).1, "3", "{name} and the others");
    // A pod that does not say what it needs is not let in.
    let refused = world.create_pod(pod(&json!({}))).unwrap_err();
    assert_eq!(refused.message, "pods \"web\" is forbidden: failed quota: team: must specify requests.cpu");
}

fn guard(world: &mut World, policy: &str, resources: &[&str]) {
    let hook = json!({
        "name": "guard.example.com", "failurePolicy": policy, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": { "service": { "namespace": "shop", "name": "guard", "path": "/check" } },
        "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": resources }],
        "namespaceSelector": { "matchExpressions": [{ "key": "unguarded", "operator": "DoesNotExist" }] },
    });
    apply::<ValidatingWebhookConfiguration>(
        world,
        json!({ "metadata": { "name": "guard" }, "webhooks": [hook] }),
    );
    apply::<Service>(
        world,
        json!({ "metadata": { "name": "guard" }, "spec": { "selector": { "app": "guard" } } }),
    );
}

fn backend(world: &mut World) {
    let mut up = status("Running", true);
    up["podIP"] = "10.0.0.1".into();
    apply::<Pod>(
        world,
        json!({ "metadata": { "name": "guard", "labels": { "app": "guard" } }, "spec": { "containers": [], "nodeName": "n1" }, "status": up }),
    );
    settle(world, 5);
}

#[test]
fn a_webhook_that_nobody_serves_blocks_what_it_watches_unless_it_may_be_ignored() {
    const DEAD: &str = "Internal error occurred: failed calling webhook \"guard.example.com\": failed to call webhook: Post \"https://guard.shop.svc:443/check?timeout=10s\": no endpoints available for service \"guard\"";
    for (policy, resources, served, wanted) in [
        ("Fail", vec!["pods"], false, Err(DEAD)),
        ("Fail", vec!["*"], false, Err(DEAD)),
        ("Fail", vec!["*/*"], false, Err(DEAD)),
        ("Fail", vec!["pods"], true, Ok(())),
        ("Ignore", vec!["pods"], false, Ok(())),
        ("Fail", vec!["pods/eviction"], false, Ok(())),
        ("Fail", vec!["services"], false, Ok(())),
    ] {
        let mut world = field();
        silent_machine(&mut world, "n1");
        guard(&mut world, policy, &resources);
        if served {
            backend(&mut world);
        }
        let made = world.create_pod(pod(&json!({}))).map(drop);
        assert_eq!(
            made.map_err(|error| error.message),
            wanted.map_err(str::to_owned),
            "{policy} {resources:?} {served}"
        );
    }
}

#[test]
fn a_deployment_behind_a_dead_webhook_waits_and_goes_on_when_it_is_served_again() {
    let mut world = field();
    silent_machine(&mut world, "n1");
    guard(&mut world, "Fail", &["pods", "pods/eviction"]);
    web(&mut world, 1);
    settle(&mut world, 30);
    assert!(failure(&world).unwrap().contains("no endpoints available for service \"guard\""));
    backend(&mut world);
    settle(&mut world, 120);
    assert_eq!(failure(&world), None);
    assert_eq!(pods_of_web(&world).len(), 1);
    let eviction = Right::new(Verb::Create, "", "pods/eviction").within("shop");
    world.admit(&eviction, &Labels::new(), false).unwrap();
    // The last backend goes, and with it the way to evict anybody.
    world.store.delete::<Pod>("shop", "guard").unwrap();
    settle(&mut world, 5);
    let refused = world.admit(&eviction, &Labels::new(), false).unwrap_err();
    assert_eq!((refused.code, refused.reason), (500, "InternalError"));
}

fn pods_of_web(world: &World) -> Vec<std::sync::Arc<Pod>> {
    let of_web = |pod: &&std::sync::Arc<Pod>| {
        pod.metadata.labels.as_ref().is_some_and(|labels| labels["app"] == "web")
    };
    world.store.list_in::<Pod>("shop").filter(of_web).cloned().collect()
}

#[test]
fn an_autoscaler_undoes_a_change_of_size_and_never_goes_below_its_minimum() {
    // (minimum, what the metrics ask for, what somebody sets) and the size a minute later.
    for (least, asks, set, wanted) in
        [(1, None, 3, 2), (2, None, 1, 2), (1, Some(5), 2, 5), (3, Some(1), 2, 3), (1, None, 0, 0)]
    {
        let mut world = field();
        silent_machine(&mut world, "n1");
        web(&mut world, 2);
        let annotations =
            asks.map_or(json!({}), |asks: i32| json!({ "lab.aks-drover/wanted-replicas": asks.to_string() }));
        apply::<HorizontalPodAutoscaler>(
            &mut world,
            json!({
                "metadata": { "name": "web", "annotations": annotations },
                "spec": { "minReplicas": least, "maxReplicas": 9, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } },
            }),
        );
        settle(&mut world, 20);
        world.store.update::<Deployment>("shop", "web", |d| d.spec.replicas = Some(set)).unwrap();
        settle(&mut world, 60);
        let size = world.store.get::<Deployment>("shop", "web").unwrap().spec.replicas;
        assert_eq!(size, Some(wanted), "{least} {asks:?} {set}");
    }
}

#[test]
fn an_autoscaler_goes_down_only_when_it_has_asked_for_less_for_five_minutes() {
    let mut world = field();
    silent_machine(&mut world, "n1");
    web(&mut world, 5);
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    apply::<HorizontalPodAutoscaler>(
        &mut world,
        json!({ "metadata": { "name": "web", "annotations": { "lab.aks-drover/wanted-replicas": "5" } },
            "spec": { "minReplicas": 1, "maxReplicas": 9, "scaleTargetRef": target } }),
    );
    settle(&mut world, 60);
    world
        .store
        .update::<HorizontalPodAutoscaler>("shop", "web", |scaler| {
            scaler
                .metadata
                .annotations
                .as_mut()
                .unwrap()
                .insert("lab.aks-drover/wanted-replicas".into(), "2".into());
        })
        .unwrap();
    let size = |world: &World| world.store.get::<Deployment>("shop", "web").unwrap().spec.replicas;
    settle(&mut world, 270);
    assert_eq!(size(&world), Some(5));
    settle(&mut world, 60);
    assert_eq!(size(&world), Some(2));
}

#[test]
fn a_cron_job_makes_jobs_by_the_clock_and_none_while_it_is_suspended() {
    let mut world = field();
    silent_machine(&mut world, "n1");
    let template =
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": "c" }] } } } });
    for (name, policy) in [("allow", "Allow"), ("forbid", "Forbid"), ("replace", "Replace")] {
        apply::<CronJob>(
            &mut world,
            json!({ "metadata": { "name": name }, "spec": { "schedule": "*/10 * * * *", "concurrencyPolicy": policy, "jobTemplate": template } }),
        );
    }
    let jobs = |world: &World, name: &str| -> Vec<String> {
        let all = world.store.list_in::<Job>("shop").map(|job| job.metadata.name.clone().unwrap());
        all.filter(|job| job.starts_with(name)).collect()
    };
    // It is 01:00; the Jobs of 01:10 and 01:20 never end.
    settle(&mut world, 25 * 60);
    let minute = |at: &str| at.parse::<jiff::Timestamp>().unwrap().as_second() / 60;
    let (ten, twenty) = (minute("2026-01-15T01:10:00Z"), minute("2026-01-15T01:20:00Z"));
    assert_eq!(jobs(&world, "allow"), [format!("allow-{ten}"), format!("allow-{twenty}")]);
    assert_eq!(jobs(&world, "forbid"), [format!("forbid-{ten}")]);
    assert_eq!(jobs(&world, "replace"), [format!("replace-{twenty}")]);
    world.store.update::<CronJob>("shop", "allow", |cron| cron.spec.suspend = Some(true)).unwrap();
    settle(&mut world, 3_600);
    assert_eq!(jobs(&world, "allow").len(), 2);
}

#[test]
fn an_endpoint_is_ready_while_it_serves_and_is_not_told_to_go() {
    // (ready, told to go, publishNotReadyAddresses) and (ready, serving, terminating).
    for (is_ready, going, publish, wanted) in [
        (true, false, false, [true, true, false]),
        (false, false, false, [false, false, false]),
        (true, true, false, [false, true, true]),
        (false, true, false, [false, false, true]),
        (false, false, true, [true, false, false]),
        (true, true, true, [true, true, true]),
    ] {
        let mut world = field();
        silent_machine(&mut world, "n1");
        let spec = json!({ "selector": { "app": "web" }, "publishNotReadyAddresses": publish });
        apply::<Service>(&mut world, json!({ "metadata": { "name": "web" }, "spec": spec }));
        let mut up = status("Running", is_ready);
        up["podIP"] = "10.0.0.1".into();
        apply::<Pod>(
            &mut world,
            json!({ "metadata": { "name": "web", "labels": { "app": "web" } }, "spec": { "containers": [], "nodeName": "n1" }, "status": up }),
        );
        if going {
            world.delete_pod("shop", "web", None).unwrap();
        }
        settle(&mut world, 5);
        let slice = world.store.list_in::<EndpointSlice>("shop").next().unwrap().clone();
        let found = slice.endpoints.as_ref().unwrap()[0].conditions.clone().unwrap();
        assert_eq!(
            [found.ready, found.serving, found.terminating].map(Option::unwrap),
            wanted,
            "{is_ready} {going} {publish}"
        );
        // A pod that has ended is no endpoint.
        world
            .store
            .update::<Pod>("shop", "web", |pod| pod.status.as_mut().unwrap().phase = Some("Failed".into()))
            .unwrap();
        settle(&mut world, 5);
        let slice = world.store.list_in::<EndpointSlice>("shop").next().unwrap().clone();
        assert!(slice.endpoints.as_ref().is_none_or(Vec::is_empty));
    }
}

#[test]
fn a_controller_that_is_refused_asks_again_ever_more_rarely() {
    let mut world = field();
    silent_machine(&mut world, "n1");
    apply::<ResourceQuota>(
        &mut world,
        json!({ "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } } }),
    );
    web(&mut world, 1);
    settle(&mut world, 3_600);
    let set = world.store.list_in::<ReplicaSet>("shop").next().unwrap().clone();
    let failures = world.kube.failures[&super::super::Work::ReplicaSet(super::key_of(&*set))];
    // 5 ms doubled eighteen times is 22 minutes, but a pause is 1000 s at most: 5 (2^18 - 1) ms = 1311 s, then 1000 s each.
    assert!((18..=22).contains(&failures), "{failures}");
    assert!(pods_of_web(&world).is_empty());
}

//! Rights, webhooks, metrics and Leases on the wire.

use serde_json::{Value, json};
use upgrade_core::access::{Right, Verb};
use upgrade_core::inventory::DeprecatedApi;

use super::{Bench, MERGE, config_map};
use crate::kube::Refusal;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

fn lease(meta: &Value, seconds: i32) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta,
        "spec": { "holderIdentity": "a", "leaseDurationSeconds": seconds, "renewTime": "2026-11-24T01:02:03.000004Z" },
    })
}

#[tokio::test]
async fn a_lease_comes_into_being_by_an_update_unless_the_update_is_about_another_one() {
    let bench = Bench::new();
    let one = format!("{LEASES}/l");
    let about_another = lease(&json!({ "name": "l", "uid": "u" }), 60);
    assert_eq!(bench.kube("PUT", &one, &about_another).await.status, 409);
    let endless = bench.kube("POST", LEASES, &lease(&json!({ "name": "l" }), 0)).await;
    assert!(endless.status == 422 && endless.text.contains("must be greater than 0"), "{}", endless.text);
    let mut rough = lease(&json!({ "name": "l" }), 60);
    rough["spec"]["renewTime"] = "2026-11-24T01:02:03Z".into();
    let refused = bench.kube("POST", LEASES, &rough).await;
    assert!(refused.status == 400 && refused.text.contains("15:04:05.000000"), "{}", refused.text);
    let made = bench.kube("PUT", &one, &lease(&json!({ "name": "l" }), 60)).await;
    assert_eq!(
        (made.status, &made.json()["spec"]["renewTime"]),
        (201, &json!("2026-11-24T01:02:03.000004Z"))
    );
    let unconditional = bench.kube("PUT", &one, &lease(&json!({ "name": "l" }), 60)).await;
    assert!(unconditional.text.contains("must be specified for an update"), "{}", unconditional.text);
    let missing = bench.kube("GET", &format!("{LEASES}/none"), &Value::Null).await.json();
    assert_eq!(
        missing["details"],
        json!({ "group": "coordination.k8s.io", "kind": "leases", "name": "none" })
    );
}

#[tokio::test]
async fn what_is_denied_is_refused_with_the_apis_words_and_a_review_says_so() {
    let bench = Bench::new();
    bench.lab.with(|world| {
        world.access.denied = vec![
            Right::new(Verb::List, "apps", "deployments").within("web"),
            Right::new(Verb::Get, "", "/metrics"),
        ];
    });
    let refused = bench.kube("GET", "/apis/apps/v1/namespaces/web/deployments", &Value::Null).await;
    assert_eq!(refused.status, 403);
    let words = "cannot list resource \"deployments\" in API group \"apps\" in the namespace \"web\"";
    assert!(refused.json()["message"].as_str().unwrap().contains(words), "{}", refused.text);
    assert_eq!(bench.kube("GET", "/metrics", &Value::Null).await.status, 403);
    for (asked, allowed) in [
        (json!({ "resourceAttributes": { "verb": "*", "group": "*", "resource": "*" } }), false),
        (
            json!({ "resourceAttributes": { "verb": "list", "group": "apps", "resource": "deployments", "namespace": "web" } }),
            false,
        ),
        (
            json!({ "resourceAttributes": { "verb": "create", "resource": "pods", "subresource": "eviction" } }),
            true,
        ),
        (json!({ "nonResourceAttributes": { "verb": "get", "path": "/metrics" } }), false),
    ] {
        let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": asked });
        let answer =
            bench.kube("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await;
        assert_eq!((answer.status, &answer.json()["status"]["allowed"]), (201, &json!(allowed)), "{review}");
    }
}

#[tokio::test]
async fn a_webhook_is_asked_for_writes_alone() {
    let bench = Bench::new();
    let hook = json!({
        "name": "policy.example", "clientConfig": { "url": "https://policy.example" },
        "admissionReviewVersions": ["v1"], "sideEffects": "Some",
        "objectSelector": { "matchExpressions": [{ "key": "free", "operator": "DoesNotExist" }] },
        "rules": [{ "operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"] }],
    });
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "policy" }, "webhooks": [hook],
    });
    let hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    assert_eq!(bench.kube("POST", hooks, &configuration).await.status, 201);
    let refusal = Refusal {
        webhook: "policy.example".into(),
        refuses: Right::new(Verb::Any, "", "configmaps"),
        message: "no".into(),
    };
    bench.lab.with(|world| world.access.refusals.push(refusal));
    let all = "/api/v1/namespaces/default/configmaps";
    let refused = bench.kube("POST", all, &config_map("a")).await;
    assert_eq!(
        (refused.status, refused.json()["message"].as_str()),
        (403, Some("admission webhook \"policy.example\" denied the request: no"))
    );
    let trial = bench.kube("POST", &format!("{all}?dryRun=All"), &config_map("a")).await;
    assert!(trial.status == 400 && trial.text.contains("does not support dry run"), "{}", trial.text);
    assert_eq!(bench.get(all).await["items"], json!([]));
    // One that it is not asked about, by the label; the label is what counts for a deletion, too.
    let mut free = config_map("b");
    free["metadata"]["labels"]["free"] = "yes".into();
    assert_eq!(bench.kube("POST", all, &free).await.status, 201);
    assert_eq!(bench.kube("DELETE", all, &Value::Null).await.status, 200);
    assert_eq!(bench.get(all).await["items"], json!([]));
}

#[tokio::test]
async fn a_pod_that_a_client_makes_passes_the_whole_admission() {
    let bench = Bench::new();
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": "high" }, "value": 7,
    });
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "one" }, "spec": { "hard": { "pods": "1" } },
    });
    bench.kube("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", &class).await;
    bench.kube("POST", "/api/v1/namespaces/default/resourcequotas", &quota).await;
    let all = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, class: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": { "priorityClassName": class, "containers": [{ "name": "a", "image": "a:1" }] },
        })
    };
    let unknown = bench.kube("POST", all, &pod("a", "low")).await;
    assert_eq!(unknown.status, 403);
    assert!(unknown.text.contains("no PriorityClass with name low was found"), "{}", unknown.text);
    for (path, name, status) in [
        (format!("{all}?dryRun=All"), "a", 201),
        (all.to_owned(), "a", 201),
        (format!("{all}?dryRun=All"), "b", 403),
        (all.to_owned(), "b", 403),
    ] {
        let answer = bench.kube("POST", &path, &pod(name, "high")).await;
        assert_eq!(answer.status, status, "{path} {name}: {}", answer.text);
        if status == 403 {
            let words = "exceeded quota: one, requested: pods=1, used: pods=1, limited: pods=1";
            assert!(answer.text.contains(words), "{}", answer.text);
            continue;
        }
        let spec = &answer.json()["spec"];
        assert_eq!((&spec["priority"], &spec["terminationGracePeriodSeconds"]), (&json!(7), &json!(30)));
        let keys: Vec<_> = spec["tolerations"].as_array().unwrap().iter().map(|t| t["key"].clone()).collect();
        assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
    }
}

#[tokio::test]
async fn a_trial_shows_what_would_be_and_keeps_nothing() {
    let bench = Bench::new();
    bench.run_web(2, 1).await;
    let one = "/apis/apps/v1/namespaces/web/deployments/web";
    let before = bench.get(one).await;
    let three = json!({ "spec": { "replicas": 3 } });
    let scale = bench.kube_typed("PATCH", &format!("{one}/scale?dryRun=All"), MERGE, &three).await;
    assert_eq!((scale.status, &scale.json()["spec"]["replicas"]), (200, &json!(3)));
    let tried = bench.kube_typed("PATCH", &format!("{one}?dryRun=All"), MERGE, &three).await.json();
    let meta = &tried["metadata"];
    assert_eq!((&tried["spec"]["replicas"], &meta["generation"]), (&json!(3), &json!(2)));
    assert_eq!(meta["resourceVersion"], before["metadata"]["resourceVersion"]);
    let bad = json!({ "spec": { "replicas": -3 } });
    assert_eq!(bench.kube_typed("PATCH", &format!("{one}?dryRun=All"), MERGE, &bad).await.status, 422);
    let held = json!({ "metadata": { "finalizers": ["example.com/hold"] } });
    bench.kube_typed("PATCH", one, MERGE, &held).await;
    bench.kube("DELETE", one, &Value::Null).await;
    let free = json!({ "metadata": { "finalizers": null } });
    let freed = bench.kube_typed("PATCH", &format!("{one}?dryRun=All"), MERGE, &free).await.json();
    assert_eq!(freed["metadata"]["finalizers"], Value::Null);
    let after = bench.get(one).await;
    assert_eq!(
        (&after["spec"]["replicas"], &after["metadata"]["finalizers"]),
        (&json!(2), &json!(["example.com/hold"]))
    );
}

#[tokio::test]
async fn the_metrics_count_the_deprecated_apis() {
    let bench = Bench::new();
    bench.lab.with(|world| {
        world.deprecated_apis.push(DeprecatedApi {
            group: "policy".into(),
            version: "v1beta1".into(),
            resource: "poddisruptionbudgets/status".into(),
            removed_release: "1.25".into(),
        });
    });
    let metrics = bench.kube("GET", "/metrics", &Value::Null).await;
    let line = "apiserver_requested_deprecated_apis{group=\"policy\",removed_release=\"1.25\",\
                resource=\"poddisruptionbudgets\",subresource=\"status\",version=\"v1beta1\"} 1";
    assert!(metrics.text.lines().any(|found| found == line), "{}", metrics.text);
}

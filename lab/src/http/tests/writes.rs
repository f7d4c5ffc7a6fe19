//! Creation, change and deletion by the rules of each kind.

use super::*;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/web/deployments";

fn secret(name: &str, owner: Option<&Value>) -> Value {
    let owners: Vec<Value> = owner
        .map(|owner| {
            json!({
                "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
            })
        })
        .into_iter()
        .collect();
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "ownerReferences": owners }, "data": { "a": "YQ==" } })
}

#[tokio::test]
async fn a_field_that_nobody_knows_is_refused_told_or_dropped() {
    let bench = Bench::new();
    let all = "/api/v1/namespaces/default/configmaps";
    let mut odd = config_map("odd");
    odd["spec"] = json!({ "replicas": 1 });
    let strict = bench.kube("POST", &format!("{all}?fieldValidation=Strict"), &odd).await;
    assert_eq!(strict.status, 400);
    assert!(strict.text.contains("strict decoding error: unknown field \\\"spec\\\""), "{}", strict.text);
    let warned = bench.kube("POST", all, &odd).await;
    assert_eq!(
        (warned.status, warned.header("warning")),
        (201, Some("299 - \"unknown field \\\"spec\\\"\""))
    );
    odd["metadata"]["name"] = "even".into();
    let ignored = bench.kube("POST", &format!("{all}?fieldValidation=Ignore"), &odd).await;
    assert_eq!((ignored.status, ignored.header("warning")), (201, None));
    let other = bench.kube("POST", all, &json!({ "apiVersion": "v1", "kind": "Secret" })).await;
    assert!(
        other.status == 400 && other.text.contains("does not match the expected object"),
        "{}",
        other.text
    );
    let asks = json!({ "name": "a", "image": "a", "resources": { "requests": { "cpu": "two" } } });
    let odd = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": { "containers": [asks] } });
    let amount = bench.kube("POST", "/api/v1/namespaces/default/pods", &odd).await;
    assert!(amount.status == 400 && amount.text.contains("quantities must match"), "{}", amount.text);
    let yaml = bench.kube_typed("POST", all, "application/yaml", &config_map("yaml")).await;
    assert_eq!((yaml.status, yaml.json()["reason"].as_str()), (415, Some("UnsupportedMediaType")));
}

#[tokio::test]
async fn a_secrets_texts_become_data() {
    let bench = Bench::new();
    let mut key = secret("key", None);
    key["stringData"] = json!({ "b": "text" });
    let made = bench.kube("POST", "/api/v1/namespaces/default/secrets", &key).await.json();
    assert_eq!((&made["data"], made.get("stringData")), (&json!({ "a": "YQ==", "b": "dGV4dA==" }), None));
    let patch = json!({ "stringData": { "a": "b" } });
    let path = "/api/v1/namespaces/default/secrets/key";
    let changed = bench.kube_typed("PATCH", path, MERGE, &patch).await.json();
    assert_eq!(changed["data"], json!({ "a": "Yg==", "b": "dGV4dA==" }));
}

#[tokio::test]
async fn the_spec_counts_generations_and_defaults_do_not() {
    let bench = Bench::new();
    bench.run_web(1, 0).await;
    let one = format!("{DEPLOYMENTS}/web");
    let before = bench.get(&one).await;
    assert_eq!(before["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%", "filled in");
    assert_eq!(bench.kube("PUT", &one, &before).await.json()["metadata"]["generation"], 1);
    let mut status = before.clone();
    status["status"]["replicas"] = 9.into();
    status["spec"]["replicas"] = 9.into();
    let written = bench.kube("PUT", &format!("{one}/status"), &status).await.json();
    assert_eq!((&written["metadata"]["generation"], &written["spec"]["replicas"]), (&json!(1), &json!(1)));
    assert_eq!(written["status"]["replicas"], 9);
    let scaled = bench
        .kube_typed("PATCH", &format!("{one}/scale"), MERGE, &json!({ "spec": { "replicas": 3 } }))
        .await;
    assert_eq!((scaled.status, &scaled.json()["kind"]), (200, &json!("Scale")));
    assert_eq!(scaled.json()["status"]["selector"], "app=web");
    assert_eq!(bench.get(&one).await["metadata"]["generation"], 2);
    bench.pass(300);
    assert_eq!(bench.pods().await.len(), 3);
    assert_eq!(bench.get(&format!("{DEPLOYMENTS}?limit=1")).await["items"][0]["status"]["readyReplicas"], 3);
    let mut scale = bench.get(&format!("{one}/scale")).await;
    scale["spec"]["replicas"] = (-1).into();
    assert_eq!(bench.kube("PUT", &format!("{one}/scale"), &scale).await.status, 422);
    scale["metadata"]["resourceVersion"] = "1".into();
    scale["spec"]["replicas"] = 1.into();
    assert_eq!(bench.kube("PUT", &format!("{one}/scale"), &scale).await.status, 409);
}

#[tokio::test]
async fn a_rollout_is_undone_by_writing_the_old_template_back() {
    let bench = Bench::new();
    bench.run_web(1, 0).await;
    let one = format!("{DEPLOYMENTS}/web");
    let old = bench.get(&one).await["spec"]["template"].clone();
    let image = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": "registry.example/web:2" }] } } } });
    assert_eq!(bench.kube_typed("PATCH", &one, STRATEGIC, &image).await.status, 200);
    bench.pass(300);
    let undo = json!([{ "op": "replace", "path": "/spec/template", "value": old }]);
    assert_eq!(bench.kube_typed("PATCH", &one, JSON_PATCH, &undo).await.status, 200);
    bench.pass(300);
    let sets = bench.get("/apis/apps/v1/namespaces/web/replicasets").await;
    assert_eq!(sets["items"].as_array().unwrap().len(), 2, "the old set has come back to life");
    let revision = |set: &Value| set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone();
    let alive = sets["items"].as_array().unwrap().iter().find(|set| set["spec"]["replicas"] == 1).unwrap();
    assert_eq!(revision(alive), "3");
}

#[tokio::test]
async fn dependents_follow_wait_or_stay() {
    let bench = Bench::new();
    let (maps, secrets) = ("/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/secrets");
    for policy in ["Background", "Foreground", "Orphan"] {
        let owner = bench.kube("POST", maps, &config_map("owner")).await.json();
        bench.kube("POST", secrets, &secret("child", Some(&owner))).await;
        let grandchild = bench.get(&format!("{secrets}/child")).await;
        bench.kube("POST", secrets, &secret("grandchild", Some(&grandchild))).await;
        let deleted =
            bench.kube("DELETE", &format!("{maps}/owner?propagationPolicy={policy}"), &Value::Null).await;
        assert_eq!(deleted.status, 200, "{policy}");
        let waits = policy != "Background";
        assert_eq!(deleted.json()["metadata"]["deletionTimestamp"].is_string(), waits, "{policy}");
        bench.pass(60);
        assert_eq!(bench.kube("GET", &format!("{maps}/owner"), &Value::Null).await.status, 404, "{policy}");
        let left = bench.get(secrets).await["items"].as_array().unwrap().len();
        assert_eq!(left, if policy == "Orphan" { 2 } else { 0 }, "{policy}");
    }
    assert_eq!(bench.get(&format!("{secrets}/child")).await["metadata"].get("ownerReferences"), None);
    let odd =
        bench.kube("DELETE", &format!("{secrets}/child?propagationPolicy=Sideways"), &Value::Null).await;
    assert_eq!(odd.status, 400);
}

#[tokio::test]
async fn an_orphaned_deployment_leaves_its_pods_and_takes_them_back() {
    let bench = Bench::new();
    bench.run_web(2, 0).await;
    let one = format!("{DEPLOYMENTS}/web");
    let mut again = bench.get(&one).await;
    let before = bench.pods().await;
    bench.kube("DELETE", &one, &json!({ "propagationPolicy": "Orphan" })).await;
    bench.pass(60);
    let names = |pods: &[Value]| pods.iter().map(|pod| name_of(pod).to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&bench.pods().await), names(&before));
    again["metadata"] = json!({ "name": "web" });
    assert_eq!(bench.kube("POST", DEPLOYMENTS, &again).await.status, 201);
    bench.pass(120);
    assert_eq!(names(&bench.pods().await), names(&before), "adopted, not made anew");
    bench.kube("DELETE", &one, &json!({ "propagationPolicy": "Foreground" })).await;
    assert_eq!(bench.get(&one).await["metadata"]["finalizers"][0], "foregroundDeletion");
    bench.pass(300);
    assert_eq!((bench.kube("GET", &one, &Value::Null).await.status, bench.pods().await.len()), (404, 0));
}

#[tokio::test]
async fn a_finalizer_keeps_an_object_until_it_is_taken_off() {
    let bench = Bench::new();
    let one = "/api/v1/namespaces/default/configmaps/held";
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/wait"]);
    bench.kube("POST", "/api/v1/namespaces/default/configmaps", &held).await;
    let going = bench.kube("DELETE", one, &Value::Null).await.json();
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    let free = json!([{ "op": "remove", "path": "/metadata/finalizers/0" }]);
    assert_eq!(bench.kube_typed("PATCH", one, JSON_PATCH, &free).await.status, 200);
    assert_eq!(bench.kube("GET", one, &Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_namespace_goes_with_what_is_in_it() {
    let bench = Bench::new();
    bench.run_web(2, 0).await;
    bench.kube("POST", "/api/v1/namespaces/web/configmaps", &config_map("a")).await;
    let going = bench.kube("DELETE", "/api/v1/namespaces/web", &Value::Null).await.json();
    assert_eq!(going["status"]["phase"], "Terminating");
    let late = bench.kube("POST", "/api/v1/namespaces/web/configmaps", &config_map("b")).await;
    assert_eq!(
        (late.status, &late.json()["details"]["causes"][0]["reason"]),
        (403, &json!("NamespaceTerminating"))
    );
    bench.pass(120);
    assert_eq!(bench.kube("GET", "/api/v1/namespaces/web", &Value::Null).await.status, 404);
    assert_eq!(bench.kube("DELETE", "/api/v1/namespaces/kube-system", &Value::Null).await.status, 403);
}

#[tokio::test]
async fn a_selection_is_deleted_at_once() {
    let bench = Bench::new();
    let all = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b", "c"] {
        bench.kube("POST", all, &config_map(name)).await;
    }
    let gone = bench.kube("DELETE", &format!("{all}?labelSelector=n%20in%20(a,b)"), &Value::Null).await;
    assert_eq!((gone.status, gone.json()["items"].as_array().unwrap().len()), (200, 2));
    let left = bench.get(all).await;
    assert_eq!(left["items"].as_array().unwrap().iter().map(name_of).collect::<Vec<_>>(), ["c"]);
    assert_eq!(bench.kube("DELETE", "/api/v1/namespaces", &Value::Null).await.status, 405);
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let bench = Bench::new();
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
        "spec": { "schedulerName": "nobody", "nodeSelector": { "no": "where" }, "containers": [{ "name": "a", "image": "a:1" }] } });
    bench.kube("POST", "/api/v1/namespaces/default/pods", &pod).await;
    let node = name_of(&bench.get("/api/v1/nodes?limit=1").await["items"][0]).to_owned();
    let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "p" }, "target": { "kind": "Node", "name": node } });
    let path = "/api/v1/namespaces/default/pods/p/binding";
    assert_eq!(bench.kube("POST", path, &binding).await.status, 201);
    assert_eq!(bench.kube("POST", path, &binding).await.status, 409);
    assert_eq!(bench.get("/api/v1/namespaces/default/pods/p").await["spec"]["nodeName"], *node);
}

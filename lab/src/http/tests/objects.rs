//! Kubernetes objects, read and written.

use super::*;

#[tokio::test]
async fn discovery_names_every_kind_and_the_eviction() {
    let bench = Bench::new();
    let core = bench.get("/api/v1").await;
    let find = |list: &Value, name: &str| {
        list["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).cloned()
    };
    assert_eq!(find(&core, "pods/eviction").unwrap()["group"], "policy");
    assert_eq!(find(&core, "nodes").unwrap()["namespaced"], false);
    let groups = bench.get("/apis").await;
    for group in groups["groups"].as_array().unwrap() {
        let list = bench
            .get(&format!("/apis/{}", group["preferredVersion"]["groupVersion"].as_str().unwrap()))
            .await;
        assert!(!list["resources"].as_array().unwrap().is_empty());
    }
    assert_eq!(groups["groups"].as_array().unwrap().len(), 14);
    assert_eq!(bench.get("/api").await["versions"][0], "v1");
    for path in ["/api/v2", "/apis/nonsense", "/api/v1/nonsense", "/nonsense", "/api/v1//pods"] {
        let answer = bench.kube("GET", path, &Value::Null).await;
        assert_eq!((answer.status, answer.json()["kind"].as_str()), (404, Some("Status")), "{path}");
    }
    let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": { "verb": "list", "resource": "pods" } } });
    let answer = bench.kube("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await;
    assert_eq!((answer.status, &answer.json()["status"]["allowed"]), (201, &json!(true)));
}

#[tokio::test]
async fn an_object_is_made_read_changed_and_deleted_under_its_preconditions() {
    let bench = Bench::new();
    let (all, one) = ("/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/configmaps/a");
    let dry = bench.kube("POST", &format!("{all}?dryRun=All"), &config_map("a")).await;
    assert_eq!((dry.status, bench.kube("GET", one, &Value::Null).await.status), (201, 404));
    let made = bench.kube("POST", all, &config_map("a")).await.json();
    assert_eq!((&made["kind"], &made["metadata"]["namespace"]), (&json!("ConfigMap"), &json!("default")));
    let again = bench.kube("POST", all, &config_map("a")).await;
    assert_eq!((again.status, again.json()["reason"].as_str()), (409, Some("AlreadyExists")));
    let mut changed = made.clone();
    changed["data"]["a"] = "2".into();
    let put = bench.kube("PUT", one, &changed).await;
    assert_eq!((put.status, put.json()["data"]["a"].as_str()), (200, Some("2")));
    let stale = bench.kube("PUT", one, &changed).await;
    assert_eq!((stale.status, stale.json()["reason"].as_str()), (409, Some("Conflict")));
    let merge = "application/merge-patch+json";
    let patched =
        bench.kube_typed("PATCH", one, merge, &json!({ "data": { "a": null, "b": "3" } })).await.json();
    assert_eq!(patched["data"], json!({ "b": "3" }));
    let wrong = json!({ "metadata": { "uid": "other" }, "data": { "b": "4" } });
    let wrong = bench.kube_typed("PATCH", one, merge, &wrong).await;
    assert!(wrong.status == 422 && wrong.text.contains("metadata.uid: Invalid value"), "{}", wrong.text);
    let old = json!({ "metadata": { "resourceVersion": "1" }, "data": { "b": "4" } });
    assert_eq!(bench.kube_typed("PATCH", one, merge, &old).await.status, 409);
    for kind in ["application/apply-patch+yaml", "application/json"] {
        assert_eq!(bench.kube_typed("PATCH", one, kind, &json!([])).await.status, 415, "{kind}");
    }
    assert_eq!(bench.kube_typed("PATCH", one, merge, &json!({ "data": 7 })).await.status, 400);
    let options = json!({ "preconditions": { "uid": "other" } });
    assert_eq!(bench.kube("DELETE", one, &options).await.status, 409);
    assert_eq!(bench.kube("DELETE", &format!("{one}?dryRun=All"), &Value::Null).await.status, 200);
    assert_eq!(bench.kube("DELETE", one, &Value::Null).await.json()["status"], "Success");
    assert_eq!(bench.kube("DELETE", one, &Value::Null).await.status, 404);
    let mut odd = config_map("Not_A_Name");
    assert_eq!(bench.kube("POST", all, &odd).await.status, 422);
    odd["metadata"] = json!({ "name": "a", "namespace": "kube-system" });
    assert_eq!(bench.kube("POST", all, &odd).await.status, 400);
    assert_eq!(
        bench.kube("POST", "/api/v1/namespaces/nowhere/configmaps", &config_map("a")).await.status,
        404
    );
    assert_eq!(bench.kube("POST", "/api/v1/configmaps", &config_map("a")).await.status, 405);
    assert_eq!(bench.kube("POST", all, &json!({ "kind": "Secret", "apiVersion": "v1" })).await.status, 400);
}

#[tokio::test]
async fn a_lease_is_taken_by_one_and_only_with_its_version() {
    let bench = Bench::new();
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/drover-upgrade";
    let mut lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "drover-upgrade" }, "spec": { "holderIdentity": "a" } });
    let first = bench.kube("PUT", path, &lease).await;
    assert_eq!(first.status, 201, "an update may make a lease");
    assert_eq!(bench.kube("PUT", path, &lease).await.status, 422, "afterwards it must name the version");
    lease["metadata"]["resourceVersion"] = first.json()["metadata"]["resourceVersion"].clone();
    assert_eq!(bench.kube("PUT", path, &lease).await.status, 200);
    lease["spec"]["holderIdentity"] = "b".into();
    lease["metadata"]["resourceVersion"] = "1".into();
    assert_eq!(bench.kube("PUT", path, &lease).await.status, 409);
}

#[tokio::test]
async fn a_node_is_cordoned_by_either_patch_and_its_status_is_not_touched() {
    let bench = Bench::new();
    let nodes = bench.get("/api/v1/nodes").await;
    let path = format!("/api/v1/nodes/{}", name_of(&nodes["items"][0]));
    for (kind, on) in
        [("application/merge-patch+json", true), ("application/strategic-merge-patch+json", false)]
    {
        let patch = json!({ "spec": { "unschedulable": on }, "status": { "phase": "Odd" } });
        let node = bench.kube_typed("PATCH", &path, kind, &patch).await.json();
        assert_eq!(node["spec"]["unschedulable"].as_bool().unwrap_or_default(), on);
        assert_eq!(node["status"]["phase"], Value::Null);
    }
    let patch = json!({ "status": { "phase": "Running" }, "spec": { "unschedulable": true } });
    let node = bench
        .kube_typed("PATCH", &format!("{path}/status"), "application/merge-patch+json", &patch)
        .await
        .json();
    assert_eq!(
        (&node["status"]["phase"], node["spec"]["unschedulable"].as_bool()),
        (&json!("Running"), Some(false))
    );
}

#[tokio::test]
async fn pages_show_one_moment_whatever_changes_meanwhile() {
    let bench = Bench::new();
    let all = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b", "c", "d", "e"] {
        bench.kube("POST", all, &config_map(name)).await;
    }
    let first = bench.get(&format!("{all}?limit=2")).await;
    let names = |list: &Value| {
        list["items"].as_array().unwrap().iter().map(|i| name_of(i).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["a".into(), "b".into()], &json!(3))
    );
    assert_eq!((&first["kind"], &first["items"][0]["kind"]), (&json!("ConfigMapList"), &Value::Null));
    bench.kube("DELETE", &format!("{all}/c"), &Value::Null).await;
    bench.kube("POST", all, &config_map("bb")).await;
    bench
        .kube_typed(
            "PATCH",
            &format!("{all}/d"),
            "application/merge-patch+json",
            &json!({ "data": { "a": "9" } }),
        )
        .await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = bench.get(&format!("{all}?limit=2&continue={token}")).await;
    assert_eq!(names(&second), ["c", "d"], "as it was when the first page was read");
    assert_eq!(second["items"][1]["data"]["a"], "1");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = bench.get(&format!("{all}?limit=2&continue={token}")).await;
    assert_eq!((names(&third), &third["metadata"]["continue"]), (vec!["e".into()], &Value::Null));
    assert_eq!(
        bench.kube("GET", &format!("{all}?limit=2&continue=nonsense"), &Value::Null).await.status,
        400
    );
    assert_eq!(names(&bench.get(&format!("{all}?labelSelector=n%20in%20(a,e)")).await), ["a", "e"]);
    let unclear = bench.kube("GET", &format!("{all}?labelSelector=n%3D%3Da%21"), &Value::Null).await;
    assert_eq!((unclear.status, unclear.json()["reason"].as_str()), (400, Some("BadRequest")));
    assert_eq!(names(&bench.get(&format!("{all}?fieldSelector=metadata.name%3Dd")).await), ["d"]);
    assert_eq!(bench.kube("GET", &format!("{all}?fieldSelector=data.a%3D1"), &Value::Null).await.status, 400);
    // After that the log reaches back no further.
    forget(&bench);
    let late = bench.kube("GET", &format!("{all}?limit=2&continue={token}"), &Value::Null).await;
    assert_eq!((late.status, late.json()["reason"].as_str()), (410, Some("Expired")));
}

#[tokio::test]
async fn the_eviction_api_gives_each_of_its_answers() {
    let bench = Bench::new();
    bench.run_web(2, 1).await;
    let pods = bench.pods().await;
    assert_eq!(pods.len(), 2);
    let (first, second) = (name_of(&pods[0]).to_owned(), name_of(&pods[1]).to_owned());
    let eviction = |name: &str, options: Value| json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name, "namespace": "web" }, "deleteOptions": options });
    let path = |name: &str| format!("/api/v1/namespaces/web/pods/{name}/eviction");
    let wrong = bench.kube("POST", &path(&first), &eviction("other", Value::Null)).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    let other = json!({ "preconditions": { "uid": "other" } });
    assert_eq!(bench.kube("POST", &path(&first), &eviction(&first, other)).await.status, 409);
    // The failed attempt has taken the disruption; the budget's controller counts again.
    bench.pass(180);
    let dry =
        bench.kube("POST", &format!("{}?dryRun=All", path(&first)), &eviction(&first, Value::Null)).await;
    assert_eq!((dry.status, bench.pods().await.len()), (201, 2));
    let uid = json!({ "preconditions": { "uid": pods[0]["metadata"]["uid"] } });
    let accepted = bench.kube("POST", &path(&first), &eviction(&first, uid)).await;
    assert_eq!((accepted.status, accepted.json()["status"].as_str()), (201, Some("Success")));
    let refused = bench.kube("POST", &path(&second), &eviction(&second, Value::Null)).await;
    let body = refused.json();
    assert_eq!(
        (refused.status, &body["details"]["causes"][0]["reason"]),
        (429, &json!("DisruptionBudget")),
        "{body}"
    );
    assert_eq!(body["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    bench.pass(120);
    assert_eq!(bench.kube("POST", &path(&first), &eviction(&first, Value::Null)).await.status, 404);
    let second_budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "web2" },
        "spec": { "minAvailable": 0, "selector": { "matchLabels": { "app": "web" } } } });
    bench.kube("POST", "/apis/policy/v1/namespaces/web/poddisruptionbudgets", &second_budget).await;
    let broken = bench.kube("POST", &path(&second), &eviction(&second, Value::Null)).await;
    assert!(
        broken.status == 500 && broken.text.contains("more than one PodDisruptionBudget"),
        "{}",
        broken.text
    );
}

#[tokio::test]
async fn a_deleted_pod_is_given_its_grace() {
    let bench = Bench::new();
    bench.run_web(1, 0).await;
    let pods = bench.pods().await;
    let path = format!("/api/v1/namespaces/web/pods/{}", name_of(&pods[0]));
    let going = bench.kube("DELETE", &format!("{path}?gracePeriodSeconds=20"), &Value::Null).await.json();
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 20);
    bench.pass(120);
    assert_eq!(bench.kube("GET", &path, &Value::Null).await.status, 404);
    let on_nodes = bench.get("/api/v1/pods?fieldSelector=status.phase%3DRunning,spec.nodeName!%3D").await;
    assert!(!on_nodes["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_beyond_ranchers_limit_is_cut_off() {
    let bench = Bench::new();
    let mut large = config_map("large");
    large["data"]["a"] = "x".repeat(crate::http::call::MOST_BODY).into();
    let answer = bench.kube("POST", "/api/v1/namespaces/default/configmaps", &large).await;
    assert!(answer.status == 500 && answer.text.contains("request body too large"), "{}", answer.text);
}

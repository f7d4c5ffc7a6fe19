//! Azure.

use super::*;

#[tokio::test]
async fn arm_checks_from_the_outside_in() {
    let bench = Bench::new();
    let bearer = format!("Bearer {AZURE}");
    let id = bench.lab.with(|world| world.azure.id().clone());
    let (sub, cluster) = (id.subscription().to_owned(), id.as_str().to_owned());
    let elsewhere = cluster.replace("rg-demo", "rg-other");
    let table = [
        (cluster.clone(), 400, "MissingApiVersionParameter"),
        (format!("{cluster}?api-version=today"), 400, "InvalidApiVersionParameter"),
        (format!("/subscriptions/00000000-0000-0000-0000-000000000999/x?{API}"), 404, "SubscriptionNotFound"),
        (format!("{elsewhere}?{API}"), 404, "ResourceGroupNotFound"),
        (format!("{cluster}x?{API}"), 404, "ResourceNotFound"),
        (format!("{cluster}/nonsense?{API}"), 404, "ResourceNotFound"),
        (
            format!(
                "/subscriptions/{sub}/providers/Microsoft.ContainerService/locations/moon/kubernetesVersions?{API}"
            ),
            404,
            "ResourceNotFound",
        ),
        (
            format!(
                "/subscriptions/{sub}/providers/Microsoft.ContainerService/locations/westeurope/operations/x?{API}"
            ),
            404,
            "OperationNotFound",
        ),
    ];
    for (path, status, code) in table {
        let answer = bench.send("GET", &path, &[("authorization", &bearer)], "").await;
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (status, Some(code)), "{path}");
        assert_eq!(answer.header("x-ms-error-code"), Some(code));
    }
    // Ids come in any case.
    let shouted = format!("{}?{API}", cluster.to_ascii_uppercase());
    assert_eq!(bench.send("GET", &shouted, &[("authorization", &bearer)], "").await.status, 200);
    let missing = bench.arm("GET", "/agentPools/ghost", &[], &Value::Null).await;
    assert_eq!(
        (missing.status, missing.json()["code"].as_str()),
        (404, Some("NotFound")),
        "AKS' own flat form"
    );
    assert_eq!(bench.arm("PUT", "", &[], &json!("x")).await.status, 400);
    assert_eq!(bench.arm("DELETE", "", &[], &Value::Null).await.status, 501);
    assert_eq!(bench.arm("POST", "/abort", &[], &Value::Null).await.status, 409);
}

#[tokio::test]
async fn an_operation_is_followed_from_its_headers_to_its_end() {
    let bench = Bench::new();
    let mut cluster = bench.arm("GET", "", &[], &Value::Null).await.json();
    let etag = cluster["eTag"].as_str().unwrap().to_owned();
    cluster["properties"]["kubernetesVersion"] = "1.35.1".into();
    cluster["properties"].as_object_mut().unwrap().remove("servicePrincipalProfile");
    let stale = bench.arm("PUT", "", &[("if-match", "other")], &cluster).await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    let begun = bench.arm("PUT", "", &[("if-match", &etag)], &cluster).await;
    assert_eq!((begun.status, begun.header("retry-after")), (200, Some("10")), "{}", begun.text);
    assert_eq!(begun.json()["properties"]["provisioningState"], "Upgrading");
    let address = begun.header("azure-asyncoperation").unwrap().to_owned();
    let running = bench.follow(&address).await;
    assert_eq!(
        (running.json()["status"].as_str(), running.header("retry-after")),
        (Some("InProgress"), Some("10"))
    );
    let busy = bench.arm("PUT", "/agentPools/user", &[], &json!({ "properties": { "tags": {} } })).await;
    assert_eq!((busy.status, busy.json()["code"].as_str()), (409, Some("OperationNotAllowed")));
    bench.pass(600);
    let done = bench.follow(&address).await;
    assert_eq!(done.json()["status"], "Succeeded");
    let date = |answer: &super::Answer| {
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        parser.parse_timestamp(answer.header("date").unwrap()).unwrap()
    };
    assert_eq!(date(&done).duration_since(date(&running)).as_secs(), 600, "the date is the lab's own");
    assert_eq!(
        bench.arm("GET", "", &[], &Value::Null).await.json()["properties"]["currentKubernetesVersion"],
        "1.35.1"
    );
    assert_eq!(bench.get("/version").await["gitVersion"], "v1.35.1");
    assert_eq!(bench.rancher("/v3/clusters/c-m-demo0001").await.json()["version"]["gitVersion"], "v1.35.1");
}

#[tokio::test]
async fn a_pool_comes_and_goes_with_its_nodes() {
    let bench = Bench::new();
    let mut pool = bench.arm("GET", "/agentPools/user", &[], &Value::Null).await.json();
    let properties = pool["properties"].as_object_mut().unwrap();
    properties.remove("nodeImageVersion");
    properties.insert("count".into(), 2.into());
    properties.insert("tags".into(), json!({ "drover-run": "r1" }));
    let body = json!({ "properties": properties });
    let made = bench.arm("PUT", "/agentPools/userbf", &[("if-none-match", "*")], &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let again = bench.arm("PUT", "/agentPools/userbf", &[("if-none-match", "*")], &body).await;
    assert_eq!(again.status, 412);
    bench.pass(300);
    let nodes = bench.get("/api/v1/nodes?labelSelector=agentpool%3Duserbf").await;
    assert_eq!(nodes["items"].as_array().unwrap().len(), 2);
    let pools = bench.arm("GET", "/agentPools", &[], &Value::Null).await.json();
    assert_eq!(pools["value"].as_array().unwrap().len(), 3);
    let delete =
        bench.arm("DELETE", "/agentPools/userbf?ignore-pod-disruption-budget=true", &[], &Value::Null).await;
    assert_eq!(delete.status, 202);
    let result = delete.header("location").unwrap().to_owned();
    assert_eq!(bench.follow(&result).await.status, 202);
    bench.pass(300);
    assert_eq!(bench.follow(&result).await.status, 204);
    assert_eq!(bench.arm("DELETE", "/agentPools/userbf", &[], &Value::Null).await.status, 204);
    let nodes = bench.get("/api/v1/nodes?labelSelector=agentpool%3Duserbf").await;
    assert_eq!(nodes["items"], json!([]));
}

#[tokio::test]
async fn an_upgraded_pool_keeps_its_names_and_forgets_every_cordon() {
    let bench = Bench::new();
    let mut cluster = bench.arm("GET", "", &[], &Value::Null).await.json();
    cluster["properties"]["kubernetesVersion"] = "1.35.1".into();
    cluster["properties"].as_object_mut().unwrap().remove("servicePrincipalProfile");
    bench.arm("PUT", "", &[], &cluster).await;
    bench.pass(600);
    let before = bench.get("/api/v1/nodes?labelSelector=agentpool%3Duser").await;
    let node = name_of(&before["items"][0]).to_owned();
    let cordon = json!({ "spec": { "unschedulable": true } });
    let path = format!("/api/v1/nodes/{node}");
    bench.kube_typed("PATCH", &path, "application/merge-patch+json", &cordon).await;
    let body = json!({ "properties": { "orchestratorVersion": "1.35.1" } });
    let begun = bench.arm("PUT", "/agentPools/user", &[], &body).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    bench.pass(2 * 3600);
    let after = bench.get("/api/v1/nodes?labelSelector=agentpool%3Duser").await;
    let pick = |list: &Value| -> Vec<(String, String)> {
        let nodes = list["items"].as_array().unwrap().iter();
        nodes.map(|n| (name_of(n).to_owned(), n["metadata"]["uid"].as_str().unwrap().to_owned())).collect()
    };
    let (before, now) = (pick(&before), pick(&after));
    assert_eq!(before.len(), 6);
    for ((name, uid), (name_now, uid_now)) in before.iter().zip(&now) {
        assert_eq!(name, name_now);
        assert_ne!(uid, uid_now, "a reimaged machine registers anew");
    }
    for node in after["items"].as_array().unwrap() {
        assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.35.1");
        assert_ne!(node["spec"]["unschedulable"], true, "{}", name_of(node));
    }
}

/// What made people leave `az aks upgrade`: a single replica behind a budget that wants one.
#[tokio::test]
async fn aks_alone_fails_at_a_budget_that_no_drain_can_meet_and_says_which() {
    let bench = Bench::of(&Scenario::demo());
    let mut cluster = bench.arm("GET", "", &[], &Value::Null).await.json();
    cluster["properties"]["kubernetesVersion"] = "1.35.1".into();
    cluster["properties"].as_object_mut().unwrap().remove("servicePrincipalProfile");
    bench.arm("PUT", "", &[], &cluster).await;
    bench.pass(600);
    let body = json!({ "properties": { "orchestratorVersion": "1.35.1" } });
    let begun = bench.arm("PUT", "/agentPools/user", &[], &body).await;
    let address = begun.header("azure-asyncoperation").unwrap().to_owned();
    bench.pass(4 * 3600);
    let ended = bench.follow(&address).await.json();
    assert_eq!(
        (&ended["status"], &ended["error"]["code"]),
        (&json!("Failed"), &json!("UpgradeFailed")),
        "{ended}"
    );
    let message = ended["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("violate the pod's disruption budget") && message.contains("needs 1 healthy pods"),
        "{message}"
    );
    let pool = bench.arm("GET", "/agentPools/user", &[], &Value::Null).await.json();
    assert_eq!(pool["properties"]["provisioningState"], "Failed");
    assert_eq!(
        pool["properties"]["currentOrchestratorVersion"], "1.35.1",
        "the target, though nodes are old"
    );
}

#[test]
fn a_wait_in_virtual_time_is_a_shorter_one_for_the_client_and_never_none() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    let at = |scale| Pace::new(Scenario::demo().start, scale).retry_after(Duration::from_secs(15));
    assert_eq!((at(1.0), at(4.0), at(600.0)), (15, 4, 1));
}

#[tokio::test]
async fn a_burst_is_throttled_with_the_wait_and_what_is_left_is_told() {
    let bench = Bench::new();
    let first = bench.arm("GET", "", &[], &Value::Null).await;
    let left =
        |answer: &Answer| answer.header("x-ms-ratelimit-remaining-subscription-reads").map(str::to_owned);
    assert_eq!((first.status, left(&first).as_deref()), (200, Some("249")));
    let body = json!({ "properties": { "tags": { "a": "b" } } });
    let mut last = first;
    for _ in 0..21 {
        last = bench.arm("PUT", "/agentPools/user", &[], &body).await;
    }
    assert_eq!(last.status, 429, "{}", last.text);
    assert_eq!(last.json()["code"], "Throttled");
    assert_eq!(last.header("x-ms-error-code"), Some("Throttled"));
    let wait: u64 = last.header("retry-after").unwrap().parse().unwrap();
    assert!((58..=60).contains(&wait), "{wait}");
    assert!(
        last.text.contains("The PutAgentPoolHandler.PUT request limit has been exceeded"),
        "{}",
        last.text
    );
    assert_eq!(bench.arm("PUT", "/agentPools/system", &[], &body).await.status, 200, "each pool has its own");
    bench.pass(60);
    assert_ne!(bench.arm("PUT", "/agentPools/user", &[], &body).await.status, 429);
    let until = bench.lab.now() + Duration::from_secs(30);
    bench.lab.with(|world| world.throttle_azure(until));
    let any = bench.arm("GET", "", &[], &Value::Null).await;
    assert_eq!((any.status, any.header("retry-after")), (429, Some("30")));
    assert_eq!(any.json()["error"]["code"], "SubscriptionRequestsThrottled");
}

//! The wire forms, in process: requests go in where the listener would put them.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::app::{App, Shared, answer};
use super::pace::Pace;
use crate::lab::Lab;
use crate::scenario::Scenario;

const RANCHER: &str = "token-lab01:s3cret";
const AZURE: &str = "arm-s3cret";
const K8S: &str = "/k8s/clusters/c-m-demo0001";
const API: &str = "api-version=2026-08-01";

struct Bench {
    app: App,
    lab: Lab,
    closing: watch::Sender<bool>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Bench {
    /// The demo's machines, and nothing that runs on them.
    fn new() -> Self {
        let mut scenario = Scenario::demo();
        scenario.objects.clear();
        Self::of(&scenario)
    }

    fn of(scenario: &Scenario) -> Self {
        let lab = Lab::new(scenario, 1);
        lab.with(|world| world.rancher.issue("token-lab01", "s3cret", None));
        let (closing, closed) = watch::channel(false);
        let app = App::new(Shared {
            lab: lab.clone(),
            pace: Pace::new(lab.now(), 1.0),
            address: "127.0.0.1:8900".parse().unwrap(),
            azure_token: AZURE.to_owned(),
            closing: closed,
        });
        Self { app, lab, closing }
    }

    async fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8900");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(State(self.app.clone()), request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let response = self.open(method, path, headers, body).await;
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn rancher(&self, path: &str) -> Answer {
        self.send("GET", path, &[("authorization", &format!("Bearer {RANCHER}"))], "").await
    }

    async fn kube(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.kube_typed(method, path, "application/json", body).await
    }

    async fn kube_typed(&self, method: &str, path: &str, kind: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = format!("Bearer {RANCHER}");
        self.send(
            method,
            &format!("{K8S}{path}"),
            &[("authorization", &bearer), ("content-type", kind)],
            &body,
        )
        .await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.kube("GET", path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    async fn arm(&self, method: &str, path: &str, extra: &[(&str, &str)], body: &Value) -> Answer {
        let id = self.lab.with(|world| world.azure.id().as_str().to_owned());
        let bearer = format!("Bearer {AZURE}");
        let headers = [&[("authorization", bearer.as_str())], extra].concat();
        let separator = if path.contains('?') { "&" } else { "?" };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, &format!("{id}{path}{separator}{API}"), &headers, &body).await
    }

    /// Follows an address that Azure gave out.
    async fn follow(&self, address: &str) -> Answer {
        let path = address.strip_prefix("http://127.0.0.1:8900").expect("the address names the server");
        self.send("GET", path, &[("authorization", &format!("Bearer {AZURE}"))], "").await
    }

    fn pass(&self, seconds: u64) {
        self.lab.advance_to(self.lab.now() + Duration::from_secs(seconds));
    }

    /// A Deployment of so many pods in namespace `web`, with a budget, all of it running.
    async fn run_web(&self, replicas: u32, min_available: u32) {
        let labels = json!({ "app": "web" });
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "web" } });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "web", "image": "registry.example/web:1" }] },
            } },
        });
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "web" },
            "spec": { "minAvailable": min_available, "selector": { "matchLabels": labels } },
        });
        for (path, object) in [
            ("/api/v1/namespaces", namespace),
            ("/apis/apps/v1/namespaces/web/deployments", deployment),
            ("/apis/policy/v1/namespaces/web/poddisruptionbudgets", budget),
        ] {
            let answer = self.kube("POST", path, &object).await;
            assert_eq!(answer.status, 201, "{}", answer.text);
        }
        self.pass(300);
    }

    async fn pods(&self) -> Vec<Value> {
        self.get("/api/v1/namespaces/web/pods").await["items"].as_array().unwrap().clone()
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

fn config_map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "n": name } }, "data": { "a": "1" } })
}

#[tokio::test]
async fn without_the_right_token_every_door_says_so_in_its_own_way() {
    let bench = Bench::new();
    for bearer in ["Bearer token-lab01:wrong", "Bearer arm-s3cret", "Basic x", ""] {
        for path in ["/v3/clusters", &format!("{K8S}/version")] {
            let answer = bench.send("GET", path, &[("authorization", bearer)], "").await;
            assert_eq!(
                (answer.status, answer.header("x-api-cattle-auth")),
                (401, Some("false")),
                "{bearer} {path}"
            );
            assert_eq!(answer.json()["status"], "401", "a text, as Rancher writes it");
        }
        let id = bench.lab.with(|world| world.azure.id().to_string());
        let answer = bench.send("GET", &format!("{id}?{API}"), &[("authorization", bearer)], "").await;
        let allowed = bearer == "Bearer arm-s3cret";
        assert_eq!(answer.status, if allowed { 200 } else { 401 }, "{bearer}");
        assert!(allowed || answer.json()["error"]["code"].is_string(), "{}", answer.text);
    }
    for (path, body) in [("/ping", "pong"), ("/healthz", "ok")] {
        assert_eq!(bench.send("GET", path, &[], "").await.text, body);
    }
    assert_eq!(bench.send("GET", "/v3/settings/cacerts", &[], "").await.status, 200);
    assert_eq!(bench.send("GET", "/v3/settings/server-version", &[], "").await.status, 401);
    assert_eq!(bench.send("GET", "/rancherversion", &[], "").await.json()["Version"], "v2.12.2");
}

#[tokio::test]
async fn rancher_shows_clusters_tokens_and_settings() {
    let bench = Bench::new();
    let page = bench.rancher("/v3/clusters?limit=1&internal=false").await;
    assert_eq!(page.header("x-api-cattle-auth"), Some("true"));
    assert_eq!(page.json()["data"][0]["id"], "c-m-demo0001");
    assert_eq!(bench.rancher("/v3/clusters/c-m-demo0001").await.json()["driver"], "imported");
    let missing = bench.rancher("/v3/clusters/c-x").await;
    assert_eq!((missing.status, missing.json()["code"].as_str()), (404, Some("NotFound")));
    assert_eq!(missing.json()["status"], 404, "a number, as norman writes it");
    assert_eq!(bench.rancher("/v3/tokens/token-lab01").await.json()["expiresAt"], "");
    assert_eq!(bench.rancher("/v3/settings/aks-refresh").await.json()["default"], "300");
    assert_eq!(bench.rancher("/v3/nonsense").await.status, 404);
    let write = bench
        .send("DELETE", "/v3/clusters/c-m-demo0001", &[("authorization", &format!("Bearer {RANCHER}"))], "")
        .await;
    assert_eq!((write.status, write.json()["code"].as_str()), (405, Some("MethodNotAllow")));
    let unknown = bench.rancher("/k8s/clusters/c-x/version").await;
    assert_eq!((unknown.status, unknown.json()["Code"]["Code"].as_str()), (404, Some("NotFound")));
    let steve = bench.rancher(&format!("{K8S}/v1/pods")).await;
    assert!(steve.status == 500 && steve.text.contains("failed to find Session"), "{}", steve.text);
}

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
    assert_eq!(bench.follow(&address).await.json()["status"], "Succeeded");
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
    assert_eq!(groups["groups"].as_array().unwrap().len(), 6);
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
    assert!(wrong.status == 409 && wrong.text.contains("UID in precondition: other"), "{}", wrong.text);
    let old = json!({ "metadata": { "resourceVersion": "1" }, "data": { "b": "4" } });
    assert_eq!(bench.kube_typed("PATCH", one, merge, &old).await.status, 409);
    for kind in ["application/json-patch+json", "application/apply-patch+yaml", "application/json"] {
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
    assert_eq!(names(&bench.get(&format!("{all}?fieldSelector=metadata.name%3Dd")).await), ["d"]);
    assert_eq!(bench.kube("GET", &format!("{all}?fieldSelector=data.a%3D1"), &Value::Null).await.status, 400);
    // After that the log reaches back no further.
    forget(&bench);
    let late = bench.kube("GET", &format!("{all}?limit=2&continue={token}"), &Value::Null).await;
    assert_eq!((late.status, late.json()["reason"].as_str()), (410, Some("Expired")));
}

/// Changes so many ConfigMaps that everything before is forgotten.
fn forget(bench: &Bench) {
    bench.lab.with(|world| {
        for round in 0..17_000 {
            let data = Some([("n".to_owned(), format!("{round}"))].into());
            world
                .store
                .update::<k8s_openapi::api::core::v1::ConfigMap>("default", "a", |map| map.data = data)
                .unwrap();
        }
    });
}

/// Reads the lines of a watch as they come.
struct Lines {
    stream: axum::body::BodyDataStream,
    rest: String,
}

impl Lines {
    async fn of(bench: &Bench, path: &str) -> Self {
        let bearer = format!("Bearer {RANCHER}");
        let response = bench.open("GET", &format!("{K8S}{path}"), &[("authorization", &bearer)], "").await;
        assert_eq!(response.status().as_u16(), 200);
        Self { stream: response.into_body().into_data_stream(), rest: String::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.rest.split_once('\n') {
                let value = serde_json::from_str(line).unwrap();
                self.rest = rest.to_owned();
                return Some(value);
            }
            let chunk = self.stream.next().await?.unwrap();
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn kinds(&mut self, count: usize) -> Vec<(String, String)> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            let event = self.next().await.unwrap();
            kinds.push((event["type"].as_str().unwrap().to_owned(), name_of(&event["object"]).to_owned()));
        }
        kinds
    }
}

fn events(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect()
}

#[tokio::test]
async fn a_watch_goes_on_where_the_list_ended_and_tells_every_change_in_order() {
    let bench = Bench::new();
    let all = "/api/v1/namespaces/default/configmaps";
    bench.kube("POST", all, &config_map("a")).await;
    let list = bench.get(all).await;
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = Lines::of(&bench, &format!("{all}?watch=1&resourceVersion={from}")).await;
    bench.kube("POST", all, &config_map("b")).await;
    bench.kube("POST", "/api/v1/namespaces/kube-system/configmaps", &config_map("elsewhere")).await;
    bench
        .kube_typed(
            "PATCH",
            &format!("{all}/a"),
            "application/merge-patch+json",
            &json!({ "data": { "a": "2" } }),
        )
        .await;
    bench.kube("DELETE", &format!("{all}/b"), &Value::Null).await;
    assert_eq!(watch.kinds(3).await, events(&[("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]));
    // A second one resumes from the middle.
    let mut state = Lines::of(&bench, &format!("{all}?watch=true")).await;
    let seen = state.next().await.unwrap();
    assert_eq!((seen["type"].as_str(), name_of(&seen["object"])), (Some("ADDED"), "a"));
    let resumed = seen["object"]["metadata"]["resourceVersion"].as_str().unwrap();
    let mut later = Lines::of(&bench, &format!("{all}?watch=1&resourceVersion={resumed}")).await;
    assert_eq!(later.kinds(1).await, events(&[("DELETED", "b")]));
    bench.closing.send(true).unwrap();
    assert_eq!(later.next().await, None, "the server closes");
}

#[tokio::test]
async fn an_object_enters_and_leaves_a_selection() {
    let bench = Bench::new();
    let all = "/api/v1/namespaces/default/configmaps";
    bench.kube("POST", all, &config_map("a")).await;
    let mut watch =
        Lines::of(&bench, &format!("{all}?watch=1&resourceVersion=1&labelSelector=on%3Dyes")).await;
    let merge = "application/merge-patch+json";
    for label in [json!("yes"), json!("yes"), json!("no")] {
        let patch = json!({ "metadata": { "labels": { "on": label } }, "data": { "x": label, "y": bench.lab.now().to_string() } });
        bench.kube_typed("PATCH", &format!("{all}/a"), merge, &patch).await;
        bench.pass(1);
    }
    assert_eq!(watch.kinds(3).await, events(&[("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]));
}

#[tokio::test]
async fn a_watch_that_comes_too_late_is_told_so_and_ends() {
    let bench = Bench::new();
    let all = "/api/v1/namespaces/default/configmaps";
    bench.kube("POST", all, &config_map("a")).await;
    forget(&bench);
    let mut watch = Lines::of(&bench, &format!("{all}?watch=1&resourceVersion=1")).await;
    let event = watch.next().await.unwrap();
    assert_eq!((event["type"].as_str(), &event["object"]["code"]), (Some("ERROR"), &json!(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_sends_bookmarks_and_ends_in_time() {
    let bench = Bench::new();
    let path = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=5&allowWatchBookmarks=true&timeoutSeconds=90";
    let mut watch = Lines::of(&bench, path).await;
    let begin = tokio::time::Instant::now();
    let mut kinds = Vec::new();
    while let Some(event) = watch.next().await {
        assert!(
            event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() >= 5
        );
        kinds.push((event["type"].as_str().unwrap().to_owned(), begin.elapsed().as_secs()));
    }
    assert_eq!(kinds, [("BOOKMARK".to_owned(), 60), ("BOOKMARK".to_owned(), 90)]);
}

#[tokio::test]
async fn a_streamed_list_ends_in_its_bookmark() {
    let bench = Bench::new();
    let mut watch = Lines::of(&bench, "/api/v1/nodes?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true").await;
    for _ in 0..9 {
        assert_eq!(watch.next().await.unwrap()["type"], "ADDED");
    }
    let end = watch.next().await.unwrap();
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
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
    large["data"]["a"] = "x".repeat(super::call::MOST_BODY).into();
    let answer = bench.kube("POST", "/api/v1/namespaces/default/configmaps", &large).await;
    assert!(answer.status == 500 && answer.text.contains("request body too large"), "{}", answer.text);
}

#[test]
fn a_wait_in_virtual_time_is_a_shorter_one_for_the_client_and_never_none() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    let at = |scale| Pace::new(Scenario::demo().start, scale).retry_after(Duration::from_secs(15));
    assert_eq!((at(1.0), at(4.0), at(600.0)), (15, 4, 1));
}

mod server {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::http::{Server, ServerOptions};

    fn ask(server: &Server, request: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn options(name: &str) -> ServerOptions {
        let token_dir = std::env::temp_dir().join(format!("cluster-lab-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&token_dir).unwrap();
        ServerOptions { port: 0, time_scale: 10_000.0, token_dir }
    }

    #[test]
    fn a_server_serves_lets_time_pass_and_says_how_to_reach_it() {
        let lab = Lab::new(&Scenario::demo(), 1);
        let options = options("serves");
        let server = Server::start(lab.clone(), &options).unwrap();
        assert!(ask(&server, "GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ends_with("pong"));
        let config = server.drover_toml();
        let file = options.token_dir.join("rancher-token");
        let token = std::fs::read_to_string(&file).unwrap();
        for expected in [
            format!("url = \"http://{}\"", server.address()),
            "rancher_id = \"c-m-demo0001\"".into(),
            file.display().to_string(),
        ] {
            assert!(config.contains(&expected), "{config}");
        }
        let request = format!(
            "GET {K8S}/version HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        assert!(ask(&server, &request).contains("v1.34.2"));
        assert!(!config.contains(&token), "tokens are in files only");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        // The lab's own events happen without any request: a machine that was asked for becomes a node.
        let spec = Scenario::demo().pool_spec(&Scenario::demo().pools[1]);
        let machine = lab.with(|world| world.add_machine(&spec));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut seen = 0;
            while !lab.with(|world| world.node_is_ready(&machine)) {
                seen = lab.changed_since(seen).await;
            }
        });
        server.shutdown();
        std::fs::remove_dir_all(&options.token_dir).unwrap();
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        let lab = Lab::new(&Scenario::demo(), 1);
        let mut options = options("refused");
        options.time_scale = 0.0;
        assert!(Server::start(lab.clone(), &options).is_err());
        options.time_scale = 1.0;
        let first = Server::start(lab.clone(), &options).unwrap();
        options.port = first.address().port();
        assert!(Server::start(lab.clone(), &options).is_err(), "the port is taken");
        options.port = 0;
        std::fs::remove_dir_all(&options.token_dir).unwrap();
        assert!(Server::start(lab, &options).is_err(), "no place for the tokens");
    }
}

//! The third face: what any Kubernetes API must answer for Drover to be right about it, asked with plain requests.
//!
//! Every case runs on the lab. With `AKS_DROVER_LIVE_URL` and `AKS_DROVER_LIVE_TOKEN` it runs on that API as well: the address
//! of an API server, or of a cluster behind Rancher (`https://rancher.example.com/k8s/clusters/c-m-abcd1234`).
//! `AKS_DROVER_LIVE_CA` names a PEM file with the certificate to trust where the system does not trust the server's. There a case
//! works in a namespace of its own, on a node object of its own behind which there is no machine, and removes both, also where it
//! fails. It needs no kubelet: what a kubelet would report, it writes itself.
//!
//! What only a cluster with kubelets can show (pods that start and end, a rollout that comes to its end, Azure and Rancher)
//! is the other faces' and is not asked here.
#![expect(clippy::print_stderr, reason = "a story that is skipped says so")]

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_lab::{Lab, Scenario, Server, ServerOptions};
use futures::FutureExt;
use reqwest::{Certificate, Client, Method, Response};
use serde_json::{Value, json};

/// An API, with the names that a case may use in it.
struct Api {
    client: Client,
    base: String,
    token: String,
    /// A namespace and a node, made for one case.
    name: String,
}

struct Answer {
    status: u16,
    retry_after: Option<String>,
    body: Value,
}

/// What kinds of patch there are.
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

impl Api {
    async fn send(&self, method: Method, path: &str, kind: &str, body: &Value) -> Response {
        let mut request =
            self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if !body.is_null() {
            request = request.header("content-type", kind).body(body.to_string());
        }
        request.send().await.unwrap()
    }

    async fn ask(&self, method: Method, path: &str, kind: &str, body: &Value) -> Answer {
        let response = self.send(method, path, kind, body).await;
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {status}: {text}"));
        Answer { status, retry_after, body }
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, "application/json", body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, "", &Value::Null).await
    }

    async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        self.ask(Method::PATCH, path, kind, body).await
    }

    async fn delete(&self, path: &str, options: &Value) -> Answer {
        self.ask(Method::DELETE, path, "application/json", options).await
    }

    /// A path in the case's own namespace.
    fn here(&self, api: &str, rest: &str) -> String {
        format!("/{api}/namespaces/{}/{rest}", self.name)
    }

    fn node(&self) -> String {
        format!("/api/v1/nodes/{}", self.name)
    }

    async fn made(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.body);
        answer.body
    }

    /// A node without a machine, which takes no pods by itself.
    async fn make_node(&self) -> Value {
        let taint = json!({ "key": "aks-drover/conformance", "value": "none", "effect": "NoSchedule" });
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": self.name }, "spec": { "taints": [taint] } });
        let made = self.made("/api/v1/nodes", &node).await;
        // A node that was never ready is removed at once where a cloud knows no machine for it; one that was has a minute.
        let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
        assert_eq!(self.patch(&format!("{}/status", self.node()), STRATEGIC, &status).await.status, 200);
        made
    }

    /// A pod on the case's node that its kubelet, which is this case, reports as ready.
    async fn make_running_pod(&self, name: &str) -> Value {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": "live" } },
            "spec": {
                "nodeName": self.name, "terminationGracePeriodSeconds": 60,
                "automountServiceAccountToken": false, "tolerations": [{ "operator": "Exists" }],
                "containers": [{ "name": "a", "image": "registry.example/a:1" }],
            },
        });
        self.made(&self.here("api/v1", "pods"), &pod).await;
        let path = self.here("api/v1", &format!("pods/{name}/status"));
        let status = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
        let answer = self.patch(&path, STRATEGIC, &status).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    async fn evict(&self, name: &str, options: &Value) -> Answer {
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name, "namespace": self.name },
            "deleteOptions": options,
        });
        self.post(&self.here("api/v1", &format!("pods/{name}/eviction")), &eviction).await
    }

    /// Reads a watch until `found` says so. The server ends it in time.
    async fn watch(&self, path: &str, mut found: impl FnMut(&Value) -> bool) -> Vec<Value> {
        let mut response = self.send(Method::GET, path, "", &Value::Null).await;
        assert_eq!(response.status().as_u16(), 200, "{path}");
        let (mut rest, mut events) = (String::new(), Vec::new());
        while let Some(bytes) = response.chunk().await.unwrap() {
            rest.push_str(std::str::from_utf8(&bytes).unwrap());
            while let Some((line, after)) = rest.split_once('\n') {
                let event: Value = serde_json::from_str(line).unwrap();
                rest = after.to_owned();
                let last = found(&event);
                events.push(event);
                if last {
                    return events;
                }
            }
        }
        panic!("{path}: the watch ended after {events:?}");
    }

    async fn begin(&self) {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.name } });
        self.made("/api/v1/namespaces", &namespace).await;
        // Pods are refused until the account that they run under is there; a controller makes it, or this case does.
        let account =
            json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" } });
        let answer = self.post(&self.here("api/v1", "serviceaccounts"), &account).await;
        assert!(matches!(answer.status, 201 | 409), "{}", answer.body);
    }

    /// Removes what the case has made, and waits for nothing: the namespace goes by itself.
    async fn end(&self) {
        let at_once = json!({ "gracePeriodSeconds": 0 });
        self.delete(&self.here("api/v1", "pods"), &at_once).await;
        self.delete(&self.node(), &Value::Null).await;
        let gone = self.delete(&format!("/api/v1/namespaces/{}", self.name), &Value::Null).await;
        assert!(matches!(gone.status, 200 | 202), "{}", gone.body);
    }
}

/// A cordon is a patch; the uid in it is a fence; the other one's taints stay.
async fn a_node_is_cordoned_and_only_that_node(api: &Api) {
    let node = api.make_node().await;
    let cordon =
        |uid: &Value, on: bool| json!({ "metadata": { "uid": uid }, "spec": { "unschedulable": on } });
    let wrong = json!("00000000-0000-0000-0000-000000000000");
    let refused = api.patch(&api.node(), MERGE, &cordon(&wrong, true)).await;
    assert_eq!((refused.status, &refused.body["reason"]), (422, &json!("Invalid")), "{}", refused.body);
    let done = api.patch(&api.node(), MERGE, &cordon(&node["metadata"]["uid"], true)).await;
    assert_eq!((done.status, &done.body["spec"]["unschedulable"]), (200, &json!(true)));
    let taints = done.body["spec"]["taints"].as_array().unwrap();
    assert!(taints.iter().any(|taint| taint["key"] == "aks-drover/conformance"), "{taints:?}");
    let back = api.patch(&api.node(), STRATEGIC, &cordon(&node["metadata"]["uid"], false)).await;
    assert_eq!((back.status, back.body["spec"]["unschedulable"].as_bool().unwrap_or(false)), (200, false));
    let options = json!({ "preconditions": { "uid": wrong } });
    let kept = api.delete(&api.node(), &options).await;
    assert_eq!((kept.status, &kept.body["reason"]), (409, &json!("Conflict")));
}

/// A restart is an annotation in the pod template; it counts as a change once.
async fn a_restart_changes_the_template_once(api: &Api) {
    let labels = json!({ "app": "live" });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "live" },
        "spec": { "replicas": 0, "selector": { "matchLabels": labels }, "template": {
            "metadata": { "labels": labels },
            "spec": { "containers": [{ "name": "a", "image": "registry.example/a:1" }] },
        } },
    });
    let all = api.here("apis/apps/v1", "deployments");
    let made = api.made(&all, &deployment).await;
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(
        made["spec"]["strategy"]["rollingUpdate"],
        json!({ "maxSurge": "25%", "maxUnavailable": "25%" })
    );
    let one = format!("{all}/live");
    let restart = |at: &str| {
        json!({
            "metadata": { "uid": made["metadata"]["uid"] },
            "spec": { "template": { "metadata": { "annotations": { "aks-drover/restart": at } } } },
        })
    };
    for (at, generation) in [("first", 2), ("first", 2), ("second", 3)] {
        let answer = api.patch(&one, MERGE, &restart(at)).await;
        assert_eq!(
            (answer.status, &answer.body["metadata"]["generation"]),
            (200, &json!(generation)),
            "{}",
            answer.body
        );
    }
    let stale = json!({ "metadata": { "resourceVersion": made["metadata"]["resourceVersion"] }, "spec": { "replicas": 1 } });
    let refused = api.patch(&one, MERGE, &stale).await;
    assert_eq!((refused.status, &refused.body["reason"]), (409, &json!("Conflict")), "{}", refused.body);
    let selector = json!({ "spec": { "selector": { "matchLabels": { "app": "other" } } } });
    assert_eq!(api.patch(&one, MERGE, &selector).await.status, 422);
    let scale = api.patch(&format!("{one}/scale"), MERGE, &json!({ "spec": { "replicas": 0 } })).await;
    assert_eq!((scale.status, &scale.body["kind"]), (200, &json!("Scale")));
    let apply = api.patch(&one, "application/unheard-of+json", &json!({})).await;
    assert_eq!((apply.status, &apply.body["reason"]), (415, &json!("UnsupportedMediaType")));
}

/// A pod without a budget goes; the uid says which one is meant; asking again is harmless.
async fn an_eviction_names_its_pod(api: &Api) {
    api.make_node().await;
    let pod = api.make_running_pod("live-0").await;
    let other = api
        .evict("live-0", &json!({ "preconditions": { "uid": "00000000-0000-0000-0000-000000000000" } }))
        .await;
    assert_eq!((other.status, &other.body["reason"]), (409, &json!("Conflict")), "{}", other.body);
    let dry = api.evict("live-0", &json!({ "dryRun": ["All"] })).await;
    assert_eq!(dry.status, 201, "{}", dry.body);
    let options = json!({ "preconditions": { "uid": pod["metadata"]["uid"] } });
    for _ in 0..2 {
        let accepted = api.evict("live-0", &options).await;
        assert_eq!(accepted.status, 201, "{}", accepted.body);
    }
    let path = api.here("api/v1", "pods/live-0");
    let going = api.get(&path).await;
    assert_eq!(going.body["metadata"]["deletionGracePeriodSeconds"], 60, "{}", going.body);
    // What the kubelet does when the processes have ended.
    api.delete(
        &path,
        &json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": pod["metadata"]["uid"] } }),
    )
    .await;
    assert_eq!(api.evict("live-0", &options).await.status, 404);
}

/// A budget that allows nothing is a 429 with its cause and without a time to wait; two budgets are a 500 for ever.
async fn a_budget_refuses_and_two_break_the_eviction(api: &Api) {
    api.make_node().await;
    api.make_running_pod("live-0").await;
    let budget = |name: &str| {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": name },
            "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "live" } } },
        })
    };
    let all = api.here("apis/policy/v1", "poddisruptionbudgets");
    let version =
        api.made(&all, &budget("one")).await["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    // Until its controller has counted, the budget is "still being processed".
    let counted = |event: &Value| {
        let object = &event["object"];
        object["status"]["observedGeneration"] == object["metadata"]["generation"]
            && object["status"]["currentHealthy"] == 1
    };
    api.watch(&format!("{all}?watch=1&resourceVersion={version}&timeoutSeconds=60"), counted).await;
    let refused = api.evict("live-0", &Value::Null).await;
    assert_eq!((refused.status, refused.retry_after), (429, None), "{}", refused.body);
    assert_eq!(refused.body["reason"], "TooManyRequests");
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "DisruptionBudget");
    assert_eq!(refused.body["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    api.made(&all, &budget("two")).await;
    let broken = api.evict("live-0", &Value::Null).await;
    assert_eq!(broken.status, 500, "{}", broken.body);
    assert!(
        broken.body["message"].as_str().unwrap().contains("more than one PodDisruptionBudget"),
        "{}",
        broken.body
    );
}

/// A list in pages shows one moment; a watch goes on from there, in order; a selection is entered and left.
async fn a_watch_goes_on_from_the_list(api: &Api) {
    let all = api.here("api/v1", "configmaps");
    let map = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "live": "yes" } }, "data": { "a": "1" },
        })
    };
    for name in ["a", "b", "c"] {
        api.made(&all, &map(name)).await;
    }
    let first = api.get(&format!("{all}?limit=2&labelSelector=live%3Dyes")).await.body;
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let version = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    api.delete(&format!("{all}/c"), &Value::Null).await;
    let rest = api.get(&format!("{all}?limit=2&labelSelector=live%3Dyes&continue={token}")).await.body;
    assert_eq!(rest["items"][0]["metadata"]["name"], "c", "as it was when the first page was read: {rest}");
    let leave = json!({ "metadata": { "labels": { "live": "no" } } });
    api.patch(&format!("{all}/b"), MERGE, &leave).await;
    let path = format!("{all}?watch=1&resourceVersion={version}&labelSelector=live%3Dyes&timeoutSeconds=60");
    let mut told = String::new();
    let mut tell = |event: &Value| {
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        writeln!(told, "{} {name}", event["type"].as_str().unwrap()).unwrap();
        name == "b"
    };
    api.watch(&path, &mut tell).await;
    assert_eq!(told, "DELETED c\nDELETED b\n");
    let again = api.post(&all, &map("a")).await;
    assert_eq!((again.status, &again.body["reason"]), (409, &json!("AlreadyExists")));
    let lost = api.get(&format!("{all}/c")).await;
    assert_eq!(
        (lost.status, &lost.body["reason"], &lost.body["details"]["name"]),
        (404, &json!("NotFound"), &json!("c"))
    );
}

/// Some letters that no other run has.
fn unique() -> String {
    format!("{:x}", std::process::id())
}

/// A client that trusts what the system trusts, or the certificates of a PEM file and nothing else.
fn client(ca: Option<&Path>) -> Client {
    // An error means that another test was quicker.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder().no_proxy().timeout(Duration::from_secs(120));
    if let Some(file) = ca {
        let pem = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(&pem).unwrap());
    }
    builder.build().unwrap()
}

/// What a case needs to find an API.
struct Address {
    base: String,
    token: String,
    ca: Option<PathBuf>,
}

async fn on(address: Address, case: &str, run: impl AsyncFnOnce(&Api)) {
    let short: String = case.split('_').filter_map(|word| word.chars().next()).collect();
    let name = format!("aks-drover-live-{short}-{}", unique());
    let Address { base, token, ca } = address;
    let api = Api { client: client(ca.as_deref()), base, token, name };
    api.begin().await;
    let ended = AssertUnwindSafe(run(&api)).catch_unwind().await;
    api.end().await;
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

async fn on_the_lab(case: &str, run: impl AsyncFnOnce(&Api)) {
    let folder = tempfile::tempdir().unwrap();
    let options = ServerOptions { port: 0, time_scale: 20.0, token_dir: folder.path().to_owned() };
    let server = Server::start(Lab::new(&Scenario::demo(), 1), &options).unwrap();
    let token = std::fs::read_to_string(folder.path().join("rancher-token")).unwrap();
    let base = format!("http://{}/k8s/clusters/c-m-demo0001", server.address());
    on(Address { base, token, ca: None }, case, run).await;
    server.shutdown();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests' only question to the environment: is there an API to ask, too?"
)]
fn from_the_environment() -> Option<Address> {
    let find = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let base = find("AKS_DROVER_LIVE_URL")?.trim_end_matches('/').to_owned();
    Some(Address {
        base,
        token: find("AKS_DROVER_LIVE_TOKEN")?,
        ca: find("AKS_DROVER_LIVE_CA").map(PathBuf::from),
    })
}

async fn on_a_live_api(case: &str, run: impl AsyncFnOnce(&Api)) {
    match from_the_environment() {
        Some(address) => on(address, case, run).await,
        None => eprintln!("skipped: AKS_DROVER_LIVE_URL and AKS_DROVER_LIVE_TOKEN name no API"),
    }
}

/// One test for each case on each face.
macro_rules! every_case {
    ($($case:ident)*) => {
        mod lab_face {
            $(#[tokio::test]
            async fn $case() {
                super::on_the_lab(stringify!($case), super::$case).await;
            })*
        }

        mod live_face {
            $(#[tokio::test]
            async fn $case() {
                super::on_a_live_api(stringify!($case), super::$case).await;
            })*
        }
    };
}

every_case! {
    a_node_is_cordoned_and_only_that_node
    a_restart_changes_the_template_once
    an_eviction_names_its_pod
    a_budget_refuses_and_two_break_the_eviction
    a_watch_goes_on_from_the_list
}

//! The wire forms, in process: requests go in where the listener would put them.

mod access;
mod arm;
mod forms;
mod kinds;
mod objects;
mod rancher;
mod registry;
mod server;
mod watch;
mod writes;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use serde_json::{Value, json};
use tokio::sync::watch as signal;

use crate::http::app::{App, Shared, answer};
use crate::http::pace::Pace;
use crate::lab::Lab;
use crate::scenario::Scenario;

const RANCHER: &str = "token-lab01:s3cret";
const AZURE: &str = "arm-s3cret";
const K8S: &str = "/k8s/clusters/c-m-demo0001";
/// The kinds of patch.
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const API: &str = "api-version=2026-08-01";

struct Bench {
    app: App,
    lab: Lab,
    closing: signal::Sender<bool>,
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
        Self::paced(scenario, 1.0)
    }

    /// So many virtual seconds in a real one.
    fn paced(scenario: &Scenario, scale: f64) -> Self {
        let lab = Lab::new(scenario, 1);
        lab.with(|world| world.rancher.issue("token-lab01", "s3cret", None));
        let (closing, closed) = signal::channel(false);
        let app = App::new(Shared {
            lab: lab.clone(),
            pace: Pace::new(lab.now(), scale),
            address: "127.0.0.1:8900".parse().unwrap(),
            azure_token: AZURE.to_owned(),
            closing: closed,
            requests: AtomicU64::new(0),
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

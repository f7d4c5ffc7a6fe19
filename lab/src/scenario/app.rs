//! Workloads in a few words: what a team would write in its manifests.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Manifest;
use crate::kube::RUN_SECONDS;

/// A workload with its Service and budget.
pub(super) struct App {
    namespace: String,
    name: String,
    replicas: u32,
    image: String,
    cpu: String,
    memory: String,
    ready_after: Option<u32>,
    port: Option<u16>,
    headless: bool,
    load_balancer: bool,
    budget: Option<Value>,
    strategy: Value,
    spec: Value,
    annotations: Value,
    claim: bool,
    parallel: bool,
}

impl App {
    pub(super) fn new(namespace: &str, name: &str, replicas: u32) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            replicas,
            image: format!("registry.example.com/{namespace}/{name}:1.0"),
            cpu: "100m".to_owned(),
            memory: "128Mi".to_owned(),
            ready_after: Some(5),
            port: Some(8080),
            headless: false,
            load_balancer: false,
            budget: None,
            strategy: json!({ "type": "RollingUpdate" }),
            spec: json!({}),
            annotations: json!({}),
            claim: false,
            parallel: false,
        }
    }

    /// What each pod asks for.
    pub(super) fn asks(mut self, cpu: &str, memory: &str) -> Self {
        (self.cpu, self.memory) = (cpu.to_owned(), memory.to_owned());
        self
    }

    /// The image that its pods run.
    pub(super) fn image(mut self, image: &str) -> Self {
        image.clone_into(&mut self.image);
        self
    }

    /// An annotation of its pods.
    pub(super) fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations[name] = value.into();
        self
    }

    /// Its readiness probe looks first after so many seconds.
    pub(super) fn ready_after(mut self, seconds: u32) -> Self {
        self.ready_after = Some(seconds);
        self
    }

    /// It has no readiness probe.
    pub(super) fn unprobed(mut self) -> Self {
        self.ready_after = None;
        self
    }

    /// No Service stands in front of it.
    pub(super) fn unserved(mut self) -> Self {
        self.port = None;
        self
    }

    /// Its Service is an Azure load balancer.
    pub(super) fn public(mut self) -> Self {
        self.load_balancer = true;
        self
    }

    /// Its budget: `minAvailable` or `maxUnavailable` with a number or a percentage.
    pub(super) fn budget(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.budget = Some(json!({ key: value.into() }));
        self
    }

    /// A Deployment's strategy.
    pub(super) fn strategy(mut self, strategy: Value) -> Self {
        self.strategy = strategy;
        self
    }

    /// More of the pod's spec.
    pub(super) fn spec(mut self, more: Value) -> Self {
        merge(&mut self.spec, more);
        self
    }

    /// It runs on the system pool, as AKS' own add-ons do.
    pub(super) fn on_system_pool(self) -> Self {
        self.spec(json!({
            "nodeSelector": { "kubernetes.azure.com/mode": "system" },
            "priorityClassName": "system-cluster-critical",
            "tolerations": [{ "key": "CriticalAddonsOnly", "operator": "Exists" }],
        }))
    }

    /// A part of the node itself, more important than everything else.
    pub(super) fn on_every_node(self) -> Self {
        self.spec(json!({ "priorityClassName": "system-node-critical" }))
    }

    /// Two of its pods never share a node.
    pub(super) fn apart(self) -> Self {
        let term = json!({
            "labelSelector": { "matchLabels": { "app": self.name } },
            "topologyKey": "kubernetes.io/hostname",
        });
        self.spec(json!({
            "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } },
        }))
    }

    /// Its pods are spread over the zones, one more in one of them at most.
    pub(super) fn spread(self) -> Self {
        let constraint = json!({
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": self.name } },
        });
        self.spec(json!({ "topologySpreadConstraints": [constraint] }))
    }

    /// Each pod of the StatefulSet has a disk of its own.
    pub(super) fn with_disks(mut self) -> Self {
        self.claim = true;
        self
    }

    /// The StatefulSet makes its pods all at once.
    pub(super) fn parallel(mut self) -> Self {
        self.parallel = true;
        self
    }

    fn meta(&self) -> Value {
        json!({ "name": self.name, "namespace": self.namespace, "labels": { "app": self.name } })
    }

    fn template(&self) -> Value {
        let mut container = json!({
            "name": self.name,
            "image": self.image,
            "resources": { "requests": { "cpu": self.cpu, "memory": self.memory } },
        });
        if let Some(delay) = self.ready_after {
            let path = json!({ "path": "/ready", "port": 8080 });
            merge(
                &mut container,
                json!({ "readinessProbe": { "httpGet": path, "initialDelaySeconds": delay, "periodSeconds": 5 } }),
            );
        }
        let mut spec = json!({ "containers": [container], "terminationGracePeriodSeconds": 30 });
        merge(&mut spec, self.spec.clone());
        json!({ "metadata": { "labels": { "app": self.name }, "annotations": self.annotations }, "spec": spec })
    }

    /// As a Deployment.
    pub(super) fn deployment(self) -> Vec<Manifest> {
        let object: Deployment = read(json!({
            "metadata": self.meta(),
            "spec": {
                "replicas": self.replicas,
                "selector": { "matchLabels": { "app": self.name } },
                "strategy": self.strategy,
                "template": self.template(),
            },
        }));
        self.around(object.into())
    }

    /// As a StatefulSet.
    pub(super) fn stateful_set(mut self) -> Vec<Manifest> {
        self.headless = true;
        let claim = json!({
            "metadata": { "name": "data" },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": "16Gi" } },
                "storageClassName": "managed-csi",
            },
        });
        let claims = if self.claim { vec![claim] } else { Vec::new() };
        let object: StatefulSet = read(json!({
            "metadata": self.meta(),
            "spec": {
                "replicas": self.replicas,
                "podManagementPolicy": if self.parallel { "Parallel" } else { "OrderedReady" },
                "selector": { "matchLabels": { "app": self.name } },
                "serviceName": self.name,
                "template": self.template(),
                "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
                "volumeClaimTemplates": claims,
            },
        }));
        self.around(object.into())
    }

    /// As a DaemonSet on every node.
    pub(super) fn daemon_set(self) -> Vec<Manifest> {
        let this = self.unserved().spec(json!({ "tolerations": [{ "operator": "Exists" }] }));
        let object: DaemonSet = read(json!({
            "metadata": this.meta(),
            "spec": {
                "selector": { "matchLabels": { "app": this.name } },
                "template": this.template(),
                "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
            },
        }));
        this.around(object.into())
    }

    /// As a Job whose pod runs for so many seconds.
    pub(super) fn job(self, seconds: u32) -> Vec<Manifest> {
        let this = self.unserved().unprobed().spec(json!({ "restartPolicy": "Never" }));
        let this = this.annotation(RUN_SECONDS, &seconds.to_string());
        let object: Job = read(json!({
            "metadata": this.meta(),
            "spec": {
                "completions": 1,
                "parallelism": 1,
                "template": this.template(),
            },
        }));
        this.around(object.into())
    }

    /// The workload with its Service and budget.
    fn around(self, workload: Manifest) -> Vec<Manifest> {
        let mut all = vec![workload];
        let selector = json!({ "app": self.name });
        if let Some(port) = self.port {
            let mut spec = json!({ "selector": selector, "ports": [{ "name": "http", "port": port, "targetPort": port }] });
            if self.headless {
                merge(&mut spec, json!({ "clusterIP": "None" }));
            }
            if self.load_balancer {
                merge(&mut spec, json!({ "type": "LoadBalancer" }));
            }
            let service: Service = read(json!({ "metadata": self.meta(), "spec": spec }));
            all.push(service.into());
        }
        if let Some(limit) = &self.budget {
            let mut spec = json!({ "selector": { "matchLabels": selector } });
            merge(&mut spec, limit.clone());
            let budget: PodDisruptionBudget = read(json!({ "metadata": self.meta(), "spec": spec }));
            all.push(budget.into());
        }
        all
    }
}

/// Puts the members of one object into another.
fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

fn read<T: DeserializeOwned + k8s_openapi::Resource>(mut object: Value) -> T {
    merge(&mut object, json!({ "apiVersion": T::API_VERSION, "kind": T::KIND }));
    serde_json::from_value(object).expect("a scenario's manifests are valid")
}

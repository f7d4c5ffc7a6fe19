//! A cluster of any size at rest, to measure readers with.

use jiff::Timestamp;
use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use upgrade_core::model::{NodeName, PoolMode, PoolName};

use super::{Scenario, ensure_namespace};
use crate::kube::{controlled_by, nobody_looks};
use crate::lab::Lab;
use crate::store::Stored;
use crate::world::World;

/// Azure's most for one pool.
const NODES_A_POOL: u32 = 1000;
/// Pods of one Deployment.
const REPLICAS: u32 = 50;
/// Deployments of one namespace.
const DEPLOYMENTS: u32 = 25;
/// What runs on every node.
const AGENTS: [&str; 5] =
    ["azure-cns", "azure-ip-masq-agent", "csi-azuredisk-node", "kube-proxy", "node-exporter"];
/// Images that a kubelet reports, its most.
const IMAGES: usize = 50;

impl Lab {
    /// A cluster of so many nodes and pods, each as large as AKS has them (environment, volumes, status, managed fields), with
    /// the Deployments, DaemonSets, Services and slices behind them. Everything is at rest and stays so: the pods are put in
    /// their places, no controller looks at them, and only the HTTP face shows them. It is there to measure readers with.
    pub fn at_rest(nodes: u32, pods: u32) -> Self {
        let scenario = scenario(nodes);
        let mut world = World::empty(&scenario, 1);
        let names: Vec<NodeName> =
            scenario.pools.iter().flat_map(|pool| scenario.machine_names(&pool.name)).collect();
        for pool in &scenario.pools {
            let spec = scenario.pool_spec(pool);
            for (instance, name) in (0..).zip(scenario.machine_names(&pool.name)) {
                world.found_machine(&name, &spec, instance);
                decorate(&mut world, &name);
            }
        }
        let mut rest = Rest { world: &mut world, nodes: &names, template: template(), left: pods, placed: 0 };
        rest.agents();
        rest.deployments();
        nobody_looks(&mut world);
        Self::of_world(world)
    }
}

/// The demo cluster's Azure and Rancher, with pools for so many nodes.
fn scenario(nodes: u32) -> Scenario {
    let mut scenario = Scenario::demo();
    let user = scenario.pools.iter().find(|pool| pool.mode == PoolMode::User).cloned();
    let user = user.expect("the demo has a user pool");
    scenario.pools.clear();
    for first in (0..nodes).step_by(NODES_A_POOL as usize) {
        let mut pool = user.clone();
        pool.name = PoolName::new(format!("user{}", first / NODES_A_POOL)).expect("letters and digits");
        pool.count = NODES_A_POOL.min(nodes - first);
        pool.max_pods = 250;
        scenario.pools.push(pool);
    }
    scenario
}

/// Gives a node what its kubelet and its controllers have written over time.
fn decorate(world: &mut World, name: &NodeName) {
    let images: Vec<Value> = (0..IMAGES)
        .map(|image| {
            let path = format!("mcr.microsoft.com/oss/v2/kubernetes/component-{image}");
            let digest = format!("{:064x}", image + 1);
            json!({ "names": [format!("{path}@sha256:{digest}"), format!("{path}:v1.34.{image}")], "sizeBytes": 40_000_000 + image })
        })
        .collect();
    let conditions =
        ["MemoryPressure", "DiskPressure", "PIDPressure", "KernelDeadlock", "FilesystemCorruptionProblem"];
    let now = world.store.time();
    let updated = world.store.update::<Node>("", name.as_str(), |node| {
        node.metadata.managed_fields =
            read(json!([fields("kubelet", "Update"), fields("cloud-node-manager", "Update")]));
        if let Some(status) = &mut node.status {
            status.images = read(images.clone().into());
            for kind in conditions {
                let condition = json!({
                    "type": kind, "status": "False", "reason": format!("No{kind}"), "lastTransitionTime": now,
                    "lastHeartbeatTime": now, "message": "kubelet has no such trouble to report",
                });
                status.conditions.get_or_insert_default().push(read(condition));
            }
        }
    });
    updated.expect("the node was just registered");
}

struct Rest<'a> {
    world: &'a mut World,
    nodes: &'a [NodeName],
    template: Pod,
    left: u32,
    placed: usize,
}

impl Rest<'_> {
    fn agents(&mut self) {
        for name in AGENTS {
            let set: DaemonSet = self.create(json!({
                "metadata": meta("kube-system", name),
                "spec": { "selector": selector(name), "template": workload_template(&self.template, name) },
            }));
            let owner = controlled_by(&set);
            for index in 0..self.nodes.len() {
                let mut pod = self.pod("kube-system", name, &suffix(index));
                pod.metadata.owner_references = Some(vec![owner.clone()]);
                self.place(pod, index);
            }
        }
    }

    fn deployments(&mut self) {
        for number in 0.. {
            if self.left == 0 {
                return;
            }
            let (namespace, name) = (format!("team-{}", number / DEPLOYMENTS), format!("service-{number}"));
            ensure_namespace(self.world, Some(&namespace));
            self.deployment(&namespace, &name, REPLICAS.min(self.left));
        }
    }

    fn deployment(&mut self, namespace: &str, name: &str, replicas: u32) {
        let spec = json!({
            "replicas": replicas, "selector": selector(name), "template": workload_template(&self.template, name),
        });
        let deployment: Deployment = self.create(json!({ "metadata": meta(namespace, name), "spec": spec }));
        let mut set = json!({ "metadata": meta(namespace, &format!("{name}-7d9c5b8f6d")), "spec": spec });
        set["metadata"]["ownerReferences"] = json!([controlled_by(&deployment)]);
        let owner = controlled_by(&self.create::<ReplicaSet>(set));
        let ports = json!([{ "name": "http", "port": 80, "targetPort": 8080 }]);
        let service = json!({ "metadata": meta(namespace, name), "spec": { "selector": { "app": name }, "ports": ports } });
        self.create::<Service>(service);
        let mut endpoints = Vec::new();
        for index in 0..replicas {
            let mut pod = self.pod(namespace, &format!("{name}-7d9c5b8f6d"), &suffix(index as usize));
            pod.metadata.labels.get_or_insert_default().insert("app".to_owned(), name.to_owned());
            pod.metadata.owner_references = Some(vec![owner.clone()]);
            let node = self.placed % self.nodes.len().max(1);
            endpoints.push(json!({
                "addresses": [pod.status.as_ref().and_then(|status| status.pod_ip.clone())],
                "conditions": { "ready": true, "serving": true, "terminating": false },
                "nodeName": self.nodes[node].as_str(), "zone": "westeurope-1",
                "targetRef": { "kind": "Pod", "namespace": namespace, "name": pod.metadata.name },
            }));
            self.place(pod, node);
        }
        let mut slice = meta(namespace, &format!("{name}-x7k2p"));
        slice["labels"]["kubernetes.io/service-name"] = name.into();
        let ports = json!([{ "name": "http", "port": 8080, "protocol": "TCP" }]);
        self.create::<EndpointSlice>(
            json!({ "metadata": slice, "addressType": "IPv4", "endpoints": endpoints, "ports": ports }),
        );
    }

    /// A pod with a name and an address of its own.
    fn pod(&self, namespace: &str, stem: &str, suffix: &str) -> Pod {
        let mut pod = self.template.clone();
        pod.metadata.namespace = Some(namespace.to_owned());
        pod.metadata.name = Some(format!("{stem}-{suffix}"));
        pod.metadata.labels.get_or_insert_default().insert("app".to_owned(), stem.to_owned());
        let (high, low) = (self.placed / 250, self.placed % 250);
        let address = format!("10.{}.{}.{low}", 240 + high / 250, high % 250);
        if let Some(status) = &mut pod.status {
            status.pod_ip = Some(address);
        }
        pod
    }

    fn place(&mut self, mut pod: Pod, node: usize) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        self.placed += 1;
        if let Some(spec) = &mut pod.spec {
            spec.node_name = Some(self.nodes[node].to_string());
        }
        self.world.store.create(pod).expect("each place has a name of its own");
    }

    fn create<T: Stored + DeserializeOwned + Resource>(&mut self, mut object: Value) -> T {
        object["apiVersion"] = T::API_VERSION.into();
        object["kind"] = T::KIND.into();
        let made = self.world.store.create(read::<T>(object)).expect("each name is made once");
        T::clone(&made)
    }
}

/// Five letters, another for each number.
fn suffix(mut number: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut text = String::new();
    for _ in 0..5 {
        text.push(char::from(LETTERS[number % LETTERS.len()]));
        number /= LETTERS.len();
    }
    text
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the objects here are Kubernetes' own")
}

fn meta(namespace: &str, name: &str) -> Value {
    json!({
        "namespace": namespace, "name": name,
        "labels": { "app": name, "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "service-4.11.0" },
        "managedFields": [fields("helm", "Update")],
    })
}

fn selector(name: &str) -> Value {
    json!({ "matchLabels": { "app": name } })
}

fn workload_template(pod: &Pod, name: &str) -> Value {
    json!({ "metadata": { "labels": { "app": name } }, "spec": pod.spec })
}

/// Which fields a manager has set, as the API server keeps it.
fn fields(manager: &str, operation: &str) -> Value {
    let condition = |kind: &str| {
        (
            format!("k:{{\"type\":\"{kind}\"}}"),
            json!({ ".": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {} }),
        )
    };
    let conditions = ["PodReadyToStartContainers", "ContainersReady", "Initialized", "Ready"].map(condition);
    let conditions: serde_json::Map<String, Value> = conditions.into_iter().collect();
    json!({
        "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": "2026-01-14T22:11:07Z", "subresource": "status",
        "fieldsV1": { "f:status": {
            "f:conditions": conditions, "f:containerStatuses": {}, "f:hostIP": {}, "f:hostIPs": {}, "f:phase": {},
            "f:podIP": {}, "f:podIPs": { ".": {}, "k:{\"ip\":\"10.240.0.17\"}": { ".": {}, "f:ip": {} } }, "f:startTime": {},
        } },
    })
}

/// A running pod of a team that uses a service mesh's sidecar, workload identity and a few dozen settings.
fn template() -> Pod {
    let since = Time("2026-01-14T22:11:03Z".parse::<Timestamp>().expect("a literal"));
    let settings = (0..24).map(|number| json!({ "name": format!("SERVICE_SETTING_{number}"), "value": format!("https://dependency-{number}.internal.example.com/api/v2") }));
    let identity = [
        json!({ "name": "AZURE_CLIENT_ID", "value": "5e1d7c1a-0c4e-4d0e-9c6e-1d1a3e0b7a11" }),
        json!({ "name": "AZURE_FEDERATED_TOKEN_FILE", "value": "/var/run/secrets/azure/tokens/azure-identity-token" }),
        json!({ "name": "POD_NAME", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } }),
        json!({ "name": "DB_PASSWORD", "valueFrom": { "secretKeyRef": { "name": "service-db", "key": "password" } } }),
    ];
    let environment: Vec<Value> = settings.chain(identity).collect();
    let mounts = json!([
        { "name": "config", "mountPath": "/etc/service", "readOnly": true },
        { "name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true },
        { "name": "azure-identity-token", "mountPath": "/var/run/secrets/azure/tokens", "readOnly": true },
    ]);
    let probe = json!({
        "httpGet": { "path": "/ready", "port": 8080, "scheme": "HTTP" }, "initialDelaySeconds": 5, "periodSeconds": 10,
        "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3,
    });
    let container = |name: &str, cpu: &str, environment: &[Value]| {
        json!({
            "name": name, "image": format!("registry.example.com/platform/{name}:4.11.0"), "imagePullPolicy": "IfNotPresent",
            "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }], "env": environment,
            "resources": { "requests": { "cpu": cpu, "memory": "256Mi" }, "limits": { "memory": "512Mi" } },
            "volumeMounts": mounts, "readinessProbe": probe, "livenessProbe": probe,
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } },
        })
    };
    let not_ready = |kind: &str| json!({ "key": format!("node.kubernetes.io/{kind}"), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": since });
    let status = |name: &str| {
        json!({
            "name": name, "ready": true, "started": true, "restartCount": 0, "state": { "running": { "startedAt": since } },
            "lastState": {}, "image": format!("registry.example.com/platform/{name}:4.11.0"),
            "imageID": format!("registry.example.com/platform/{name}@sha256:{:064x}", 0x00c0_ffee),
            "containerID": format!("containerd://{:064x}", 0x0bad_cafe),
        })
    };
    let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .map(condition);
    read(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "service-7d9c5b8f6d-",
            "labels": {
                "app.kubernetes.io/name": "service", "app.kubernetes.io/instance": "service", "pod-template-hash": "7d9c5b8f6d",
                "azure.workload.identity/use": "true", "app.kubernetes.io/version": "4.11.0",
            },
            "annotations": { "checksum/config": format!("{:064x}", 0xfeed), "prometheus.io/scrape": "true", "prometheus.io/port": "8080" },
            "managedFields": [fields("kube-controller-manager", "Update"), fields("kubelet", "Update")],
        },
        "spec": {
            "containers": [container("service", "250m", &environment), container("mesh-proxy", "50m", &environment[20..])],
            "volumes": [
                { "name": "config", "configMap": { "name": "service-config", "defaultMode": 420 } },
                { "name": "cache", "emptyDir": {} },
                { "name": "kube-api-access-x7k2p", "projected": { "defaultMode": 420, "sources": [
                    { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                    { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                ] } },
                { "name": "azure-identity-token", "projected": { "defaultMode": 420, "sources": [
                    { "serviceAccountToken": { "audience": "api://AzureADTokenExchange", "expirationSeconds": 3600, "path": "azure-identity-token" } },
                ] } },
            ],
            "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 100, "podAffinityTerm": {
                "labelSelector": { "matchLabels": { "app.kubernetes.io/name": "service" } }, "topologyKey": "kubernetes.io/hostname" } }] } },
            "tolerations": [not_ready("not-ready"), not_ready("unreachable")],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 60, "dnsPolicy": "ClusterFirst", "serviceAccountName": "service",
            "securityContext": { "runAsNonRoot": true, "fsGroup": 2000 }, "schedulerName": "default-scheduler",
            "priority": 0, "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {
            "phase": "Running", "conditions": conditions, "hostIP": "10.224.0.4", "podIP": "10.240.0.17", "startTime": since,
            "containerStatuses": [status("service"), status("mesh-proxy")], "qosClass": "Burstable",
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_asked_for_and_a_pod_is_as_large_as_in_aks() {
        let lab = Lab::at_rest(12, 200);
        lab.with(|world| {
            let pods: Vec<_> = world.store.list::<Pod>().collect();
            assert_eq!((world.store.list::<Node>().count(), pods.len()), (12, 200));
            let sizes: Vec<usize> =
                pods.iter().map(|pod| serde_json::to_vec(&***pod).unwrap().len()).collect();
            assert!(sizes.iter().all(|size| (8_000..12_000).contains(size)), "{sizes:?}");
            assert!(pods.iter().all(|pod| pod.spec.as_ref().unwrap().node_name.is_some()));
            assert_eq!(world.store.list::<Deployment>().count(), 140_usize.div_ceil(50));
        });
        let before = lab.with(|world| world.store.revision());
        lab.advance_to(lab.now() + jiff::SignedDuration::from_hours(1));
        assert_eq!(lab.with(|world| world.store.list::<Pod>().count()), 200, "nobody adds or removes one");
        assert!(lab.with(|world| world.store.revision()) - before < 100);
    }
}

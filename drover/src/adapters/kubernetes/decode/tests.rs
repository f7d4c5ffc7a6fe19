use serde_json::{Value, json};
use upgrade_core::model::{
    AffinityTerm, LabelExpression, LabelOperator, MilliCpu, NodeSelectorOperator, Pod, PodPhase, PullState,
    Strategy, TolerationOperator, Workload,
};

use super::*;

fn reaches() -> Reaches {
    let reach = |zones: &[&str], hosts: &[&str]| Reach {
        zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        disk: hosts.is_empty(),
    };
    Reaches::from([
        ("pv-1".to_owned(), reach(&["westeurope-1"], &[])),
        ("pv-local".to_owned(), reach(&[], &["n1"])),
    ])
}

fn read<T: Wire>(kind: WorkloadKind, value: Value) -> Object {
    let wire: T = serde_json::from_value(value).unwrap();
    wire.object(kind, &reaches()).unwrap()
}

fn pod(value: Value) -> Pod {
    let Object::Pod(pod) = read::<wire::Pod>(WorkloadKind::Job, value) else { panic!() };
    pod
}

fn workload(kind: WorkloadKind, value: Value) -> Workload {
    let Object::Workload(workload) = read::<wire::Workload>(kind, value) else { panic!() };
    workload
}

fn meta(name: &str) -> Value {
    json!({"name": name, "namespace": "shop", "uid": format!("{name}-uid")})
}

#[test]
fn a_node_is_read_without_the_taint_of_its_cordon() {
    let value = json!({
        "metadata": {"name": "aks-user-0", "uid": "n1", "labels": {"agentpool": "user"}, "managedFields": [{"x": 1}]},
        "spec": {
            "providerID": "azure:///subscriptions/s/x", "unschedulable": true,
            "taints": [
                {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": "2026-11-24T01:02:03Z"},
                {"key": "gpu", "value": "yes", "effect": "NoExecute"},
                {"key": "odd", "effect": "Sometimes"}
            ]
        },
        "status": {
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.34.2"},
            "allocatable": {"cpu": "3860m", "memory": "12Gi", "pods": "110", "ephemeral-storage": "119703055367"},
            "images": [
                {"names": ["reg/a@sha256:1", "reg/a:1"], "sizeBytes": 10},
                {"names": ["reg/b@sha256:2"], "sizeBytes": 20},
                {"names": null}
            ]
        }
    });
    let Object::Node(node) = read::<wire::Node>(WorkloadKind::Job, value) else { panic!() };
    assert!(node.unschedulable && node.ready);
    let taints: Vec<_> = node.taints.iter().map(|t| (t.key.as_str(), t.value.as_str(), &t.effect)).collect();
    assert_eq!(
        taints,
        [("gpu", "yes", &TaintEffect::NoExecute), ("odd", "", &TaintEffect::Unknown("Sometimes".into()))]
    );
    assert_eq!(node.allocatable, Resources { cpu: MilliCpu(3860), memory: Bytes(12 << 30) });
    assert_eq!((node.max_pods, node.kubelet.unwrap().to_string().as_str()), (110, "1.34.2"));
    assert_eq!(node.images, [("reg/a:1".to_owned(), Bytes(10)), ("reg/b@sha256:2".to_owned(), Bytes(20))]);
    // Before its kubelet has said anything.
    let Object::Node(new) =
        read::<wire::Node>(WorkloadKind::Job, json!({"metadata": {"name": "x", "uid": "u"}}))
    else {
        panic!()
    };
    assert!(!new.ready && !new.unschedulable && new.kubelet.is_none() && new.provider_id.is_none());
}

#[test]
fn a_pod_asks_for_what_the_scheduler_reserves() {
    let cpu = |value: &str| json!({"resources": {"requests": {"cpu": value}}});
    let asks = |spec: Value| pod(json!({"metadata": meta("a"), "spec": spec})).requests.cpu.0;
    let sidecar = |value: &str| json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": value}}});
    // Containers add up; a hungry init container counts alone; sidecars count in both; overhead comes on top.
    assert_eq!(asks(json!({"containers": [cpu("100m"), cpu("0.2"), {}]})), 300);
    assert_eq!(asks(json!({"containers": [cpu("100m")], "initContainers": [cpu("1")]})), 1000);
    assert_eq!(asks(json!({"containers": [cpu("100m")], "initContainers": [sidecar("50m")]})), 150);
    assert_eq!(
        asks(json!({"containers": [cpu("100m")], "initContainers": [sidecar("50m"), cpu("200m")]})),
        250
    );
    assert_eq!(
        asks(json!({"containers": [cpu("100m")], "initContainers": [cpu("200m"), sidecar("50m")]})),
        200
    );
    assert_eq!(asks(json!({"containers": [cpu("100m")], "overhead": {"cpu": "10m"}})), 110);
    // Requests of the whole pod, where given.
    let whole = json!({"containers": [cpu("100m")], "resources": {"requests": {"cpu": "700m"}}, "overhead": {"cpu": 1}});
    assert_eq!(asks(whole), 1700);
}

#[test]
fn a_pod_that_pulls_is_read_image_by_image_and_only_if_a_run_has_made_it() {
    let container =
        |place: u32, image: &str| json!({"name": format!("aks-drover-image-{place}"), "image": image});
    let containers = [
        container(0, "reg/a:1"),
        container(1, "reg/b:1"),
        container(2, "reg/c:1"),
        json!({"name": "proxy", "image": "mesh:1"}),
    ];
    let states = json!([
        {"name": "proxy", "state": {"running": {}}},
        {"name": "aks-drover-image-0", "imageID": "reg/a@sha256:1", "state": {"terminated": {"reason": "StartError", "exitCode": 128}}},
        {"name": "aks-drover-image-1", "imageID": "", "state": {"waiting": {"reason": "ErrImagePull", "message": "reg/b:1: not found"}}},
        {"name": "aks-drover-image-2", "imageID": "", "state": {"waiting": {"reason": "ContainerCreating"}}}
    ]);
    let mut value = json!({
        "metadata": {
            "name": "p", "namespace": "shop", "uid": "p1",
            "labels": {"aks-drover/prewarm": "images"}, "annotations": {"aks-drover/run": "r-1"}
        },
        "spec": {
            "containers": containers, "initContainers": [{"name": "i", "image": "reg/init:1"}],
            "serviceAccountName": "web", "imagePullSecrets": [{"name": "registry"}, {}]
        },
        "status": {"phase": "Pending", "containerStatuses": states}
    });
    let read = pod(value.clone());
    assert_eq!((read.init_images.len(), read.pull_access.service_account.as_deref()), (1, Some("web")));
    assert_eq!(read.pull_access.secrets, ["registry"]);
    let pulling = read.pulling.unwrap();
    assert_eq!((pulling.run.as_str(), pulling.refused), ("r-1", None));
    let states: Vec<_> = pulling.images.into_iter().map(|pull| (pull.image, pull.state)).collect();
    let failed = PullState::Failed { reason: "ErrImagePull".into(), message: "reg/b:1: not found".into() };
    assert_eq!(
        states,
        [
            ("reg/a:1".to_owned(), PullState::Pulled),
            ("reg/b:1".to_owned(), failed),
            ("reg/c:1".to_owned(), PullState::Waiting),
        ]
    );
    value["status"] = json!({"phase": "Failed", "reason": "OutOfpods", "message": "Node has no room"});
    assert_eq!(pod(value.clone()).pulling.unwrap().refused.as_deref(), Some("OutOfpods: Node has no room"));
    value["metadata"]["labels"] = json!({});
    assert_eq!(pod(value).pulling, None);
}

#[test]
fn a_pod_is_read_with_all_that_ties_it_to_a_place() {
    let value = json!({
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": "p1", "labels": {"app": "web"},
            "deletionTimestamp": "2026-11-24T01:02:03Z", "annotations": {"kubernetes.io/config.mirror": "", "big": "x"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "n1"},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc", "uid": "rs1", "controller": true}
            ]
        },
        "spec": {
            "nodeName": "aks-user-0", "hostNetwork": true, "priority": 7, "terminationGracePeriodSeconds": 60,
            "containers": [{
                "name": "c", "image": "reg/web:1", "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 8081}],
                "env": [{"name": "PASSWORD", "value": "hunter2"}]
            }],
            "volumes": [
                {"name": "a", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "b", "emptyDir": {}},
                {"name": "c", "configMap": {"name": "x"}}
            ],
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"operator": "Exists"}, {"key": "gpu", "value": "yes", "effect": "NoSchedule"}],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["1"]}]},
                        {"matchFields": [{"key": "metadata.name", "operator": "Near", "values": ["n"]}]}
                    ]},
                    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}]
                },
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "host", "labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}},
                    {"topologyKey": "host"}
                ]}
            },
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}
            ]
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-24T01:00:00Z"}],
            "containerStatuses": [{"name": "c", "state": {"running": {}}}]
        }
    });
    let pod = pod(value);
    assert_eq!((pod.node.as_ref().unwrap().as_str(), pod.phase.clone()), ("aks-user-0", PodPhase::Running));
    assert!(pod.ready && pod.terminating && pod.mirror && pod.empty_dir);
    assert_eq!(pod.ready_since.unwrap().to_string(), "2026-11-24T01:00:00Z");
    let owner = pod.owner.unwrap();
    assert_eq!((owner.kind, owner.name.as_str()), (WorkloadKind::ReplicaSet, "web-abc"));
    assert_eq!((pod.priority, pod.grace_seconds, pod.trouble), (7, 60, None));
    assert_eq!((pod.claims, pod.images), (vec!["data".to_owned()], vec!["reg/web:1".to_owned()]));
    let rules = pod.rules;
    assert_eq!(rules.host_ports, [80, 8081]);
    assert_eq!(rules.node_affinity.len(), 2);
    assert_eq!(rules.node_affinity[1].fields[0].operator, NodeSelectorOperator::Unknown("Near".into()));
    assert_eq!(
        (&rules.tolerations[0].key, &rules.tolerations[0].operator),
        (&None, &TolerationOperator::Exists)
    );
    assert_eq!(rules.tolerations[1].operator, TolerationOperator::Equal);
    let expressions =
        vec![LabelExpression { key: "app".into(), operator: LabelOperator::Exists, values: Vec::new() }];
    let selector = LabelSelector { expressions, ..LabelSelector::default() };
    let term =
        AffinityTerm { selector, topology_key: "host".into(), namespaces: Vec::new(), same_template: false };
    assert_eq!(rules.pod_anti_affinity, [term], "a term without a selector means no pod");
    assert!(rules.spread[0].required && rules.spread[0].max_skew == 1);
}

#[test]
fn a_pod_that_does_not_run_says_why_in_one_word() {
    let trouble = |status: Value| pod(json!({"metadata": meta("a"), "status": status})).trouble;
    let waiting = |reason: &str| json!({"containerStatuses": [{"state": {"waiting": {"reason": reason}}}]});
    assert_eq!(trouble(waiting("ImagePullBackOff")).as_deref(), Some("ImagePullBackOff"));
    assert_eq!(trouble(waiting("ContainerCreating")), None);
    let unscheduled =
        json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
    assert_eq!(trouble(unscheduled).as_deref(), Some("Unschedulable"));
    let init = json!({
        "initContainerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
        "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}]
    });
    assert_eq!(trouble(init).as_deref(), Some("CrashLoopBackOff"));
}

#[test]
fn the_restarts_of_a_pod_are_those_of_all_its_containers() {
    let status = json!({
        "initContainerStatuses": [{"restartCount": 1}],
        "containerStatuses": [{"restartCount": 2}, {"restartCount": 0}, {"state": {"running": {}}}]
    });
    assert_eq!(pod(json!({"metadata": meta("a"), "status": status})).restarts, 3);
    assert_eq!(pod(json!({"metadata": meta("a")})).restarts, 0);
}

#[test]
fn each_kind_of_workload_replaces_pods_in_its_own_way() {
    let limits = |strategy: Strategy| match strategy {
        Strategy::Rolling { max_surge, max_unavailable } => format!("{max_surge}/{max_unavailable}"),
        other => format!("{other:?}"),
    };
    let spec = |kind, spec: Value| workload(kind, json!({"metadata": meta("w"), "spec": spec}));
    let given = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "0%"}}});
    for (kind, value, expected) in [
        (WorkloadKind::Deployment, json!({}), "25%/25%"),
        (WorkloadKind::Deployment, given, "1/0%"),
        (WorkloadKind::Deployment, json!({"strategy": {"type": "Recreate"}}), "Recreate"),
        (WorkloadKind::StatefulSet, json!({}), "Ordered { partition: 0 }"),
        (
            WorkloadKind::StatefulSet,
            json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}}),
            "Ordered { partition: 2 }",
        ),
        (WorkloadKind::StatefulSet, json!({"updateStrategy": {"type": "OnDelete"}}), "OnDelete"),
        (WorkloadKind::DaemonSet, json!({}), "0/1"),
        (WorkloadKind::ReplicaSet, json!({}), "Never"),
        (WorkloadKind::Job, json!({}), "Never"),
    ] {
        assert_eq!(limits(spec(kind.clone(), value.clone()).strategy), expected, "{kind} {value}");
    }
    assert_eq!(spec(WorkloadKind::Deployment, json!({})).replicas, 1);
    assert_eq!(spec(WorkloadKind::Deployment, json!({"replicas": 0})).replicas, 0);
    assert_eq!(spec(WorkloadKind::Job, json!({})).replicas, 0);
}

#[test]
fn a_template_is_ready_only_if_every_container_can_say_so() {
    let ready = |spec: Value| {
        let value = json!({"metadata": meta("w"), "spec": {"template": {"spec": spec}}});
        workload(WorkloadKind::Deployment, value).template.readiness_probe
    };
    let probe = json!({"readinessProbe": {"httpGet": {"port": 80}}});
    assert!(ready(json!({"containers": [probe]})));
    assert!(!ready(json!({"containers": [probe, {}]})));
    assert!(!ready(json!({"containers": []})));
    assert!(ready(json!({"containers": [{}], "readinessGates": [{"conditionType": "x"}]})));
}

#[test]
fn the_status_of_a_workload_is_read_from_the_names_its_kind_has() {
    let daemons = workload(
        WorkloadKind::DaemonSet,
        json!({"metadata": meta("d"), "status": {
            "desiredNumberScheduled": 9, "currentNumberScheduled": 8, "updatedNumberScheduled": 7, "numberReady": 6,
            "numberAvailable": 5, "observedGeneration": 3}}),
    );
    let status = &daemons.status;
    assert_eq!(
        (
            daemons.replicas,
            status.replicas,
            status.updated,
            status.ready,
            status.available,
            status.observed_generation
        ),
        (9, 8, 7, 6, 5, 3)
    );
    let stuck = workload(
        WorkloadKind::Deployment,
        json!({
            "metadata": {"name": "w", "namespace": "shop", "uid": "u", "generation": 4},
            "spec": {"template": {"metadata": {"annotations": {"aks-drover/restart-id": "r-1.2.3.4", "x": "y"}}}},
            "status": {"conditions": [
                {"type": "Available", "status": "True"},
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
            ]}
        }),
    );
    assert_eq!(stuck.status.trouble.as_deref(), Some("ProgressDeadlineExceeded"));
    assert_eq!((stuck.generation, stuck.template.restart_id.as_ref().unwrap().as_str()), (4, "r-1.2.3.4"));
    let sets = workload(
        WorkloadKind::StatefulSet,
        json!({"metadata": meta("s"), "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}}),
    );
    assert!(sets.template.claim_templates);
}

#[test]
fn a_budget_that_could_not_be_computed_says_so() {
    let value = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "b", "generation": 2},
        "spec": {"maxUnavailable": "25%", "selector": {}, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
        "status": {
            "observedGeneration": 2, "expectedPods": 4, "desiredHealthy": 3, "currentHealthy": 4, "disruptionsAllowed": -1,
            "conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "found no controllers"}]
        }
    });
    let Object::Budget(budget) = read::<wire::Budget>(WorkloadKind::Job, value) else { panic!() };
    assert_eq!(budget.limit, BudgetLimit::MaxUnavailable(IntOrPercent::Percent(25)));
    assert_eq!(budget.selector, Some(LabelSelector::default()), "an empty selector matches everything");
    assert!(budget.always_allow_unhealthy && budget.status.disruptions_allowed == 0);
    assert_eq!(budget.status.sync_failed.as_deref(), Some("found no controllers"));
    let none = json!({"metadata": meta("x"), "spec": {"minAvailable": 1}});
    let Object::Budget(budget) = read::<wire::Budget>(WorkloadKind::Job, none) else { panic!() };
    assert_eq!((budget.selector, budget.limit), (None, BudgetLimit::MinAvailable(IntOrPercent::Int(1))));
}

#[test]
fn services_slices_and_claims() {
    let service = json!({"metadata": meta("web"), "spec": {
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "publishNotReadyAddresses": true, "selector": {"app": "web"}}});
    let Object::Service(service) = read::<wire::Service>(WorkloadKind::Job, service) else { panic!() };
    assert_eq!(service.service_type, ServiceType::LoadBalancer);
    assert!(service.local_traffic_only && service.publishes_unready && service.selector.len() == 1);

    let slice = json!({
        "metadata": {"name": "web-x", "namespace": "shop", "uid": "s", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [
            {"addresses": ["10.0.0.1", "10.0.0.9"], "conditions": {"ready": null}, "nodeName": "n0",
             "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1"}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true}},
            {"addresses": []}
        ]
    });
    let Object::Slice(slice) = read::<wire::EndpointSlice>(WorkloadKind::Job, slice) else { panic!() };
    assert_eq!(slice.service.as_deref(), Some("web"));
    let ready: Vec<_> = slice.endpoints.iter().map(|e| (e.address.as_str(), e.ready)).collect();
    assert_eq!(ready, [("10.0.0.1", true), ("10.0.0.2", false)], "an absent condition is true");
    assert_eq!(slice.endpoints[0].pod.as_ref().unwrap().to_string(), "shop/web-1");

    let claim =
        json!({"metadata": meta("data"), "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "pv-1"}});
    let Object::Claim(claim) = read::<wire::Claim>(WorkloadKind::Job, claim) else { panic!() };
    assert_eq!((claim.shared, claim.disk, claim.zones), (false, true, vec!["westeurope-1".to_owned()]));
    let shared = json!({"metadata": meta("files"), "spec": {"accessModes": ["ReadWriteMany"]}});
    let Object::Claim(shared) = read::<wire::Claim>(WorkloadKind::Job, shared) else { panic!() };
    assert!(shared.shared && shared.zones.is_empty());
    let local = json!({"metadata": meta("scratch"), "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "pv-local"}});
    let Object::Claim(local) = read::<wire::Claim>(WorkloadKind::Job, local) else { panic!() };
    assert_eq!(local.hosts, ["n1"]);
}

#[test]
fn a_volume_reaches_the_zones_and_hosts_that_its_affinity_names() {
    let volume = |values: Value| {
        let volume = json!({"metadata": {"name": "pv"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "topology.disk.csi.azure.com/zone", "operator": "In", "values": values}]},
            {"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["b"]}]},
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]},
            {"matchExpressions": [{"key": "other", "operator": "In", "values": ["z"]}]}
        ]}}}});
        volume_reach(serde_json::from_value(volume).unwrap()).1
    };
    assert_eq!(volume(json!(["b", "a"])).zones, ["a", "b"]);
    assert_eq!(volume(json!([""])).hosts, ["n1"]);
    let is_disk = |source: Value| {
        let mut spec = json!({ "capacity": { "storage": "8Gi" } });
        spec.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        let volume = json!({ "metadata": { "name": "pv" }, "spec": spec });
        volume_reach(serde_json::from_value(volume).unwrap()).1.disk
    };
    assert!(is_disk(json!({ "csi": { "driver": "disk.csi.azure.com", "volumeHandle": "/x" } })));
    assert!(
        is_disk(json!({ "azureDisk": { "diskName": "x", "diskURI": "/x" } })),
        "as it was before the driver"
    );
    assert!(!is_disk(json!({ "csi": { "driver": "file.csi.azure.com", "volumeHandle": "x" } })));
    assert!(!is_disk(json!({ "nfs": { "server": "x", "path": "/" } })));
    assert_eq!(volume(json!([""])).zones, ["b"], "a disk without a zone carries an empty one");
}

#[test]
fn an_object_that_kubernetes_would_not_admit_is_told_by_its_name() {
    let wire: wire::Pod = serde_json::from_value(json!({
        "metadata": meta("a"), "spec": {"containers": [{"resources": {"requests": {"cpu": "many"}}}]}
    }))
    .unwrap();
    let error = wire.object(WorkloadKind::Job, &Reaches::new()).unwrap_err();
    assert!(error.to_string().starts_with("shop/a: `many` is not a Kubernetes quantity"), "{error}");
}

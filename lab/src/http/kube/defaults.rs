//! What an object is that does not say otherwise (k8s.io/kubernetes/pkg/apis/*/v1/defaults.go).
//!
//! Only what somebody reads who lists, describes or compares objects: a default that nobody has written is a default nobody can
//! see.

use serde_json::{Map, Value};

use crate::store::Kind;

/// A default.
enum Default {
    Text(&'static str),
    Number(i64),
    Flag(bool),
    /// An object without members.
    Object,
}

impl Default {
    fn value(&self) -> Value {
        match self {
            Self::Text(text) => (*text).into(),
            Self::Number(number) => (*number).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::Object => Value::Object(Map::new()),
        }
    }
}

use Default::{Flag, Number, Object, Text};

/// Where to and what. `*` stands for every element of a list.
type Rules = &'static [(&'static [&'static str], Default)];

const DEPLOYMENT: Rules = &[
    (&["spec", "replicas"], Number(1)),
    (&["spec", "strategy"], Object),
    (&["spec", "strategy", "type"], Text("RollingUpdate")),
    (&["spec", "revisionHistoryLimit"], Number(10)),
    (&["spec", "progressDeadlineSeconds"], Number(600)),
];

const STATEFUL_SET: Rules = &[
    (&["spec", "replicas"], Number(1)),
    (&["spec", "podManagementPolicy"], Text("OrderedReady")),
    (&["spec", "updateStrategy"], Object),
    (&["spec", "updateStrategy", "type"], Text("RollingUpdate")),
    (&["spec", "revisionHistoryLimit"], Number(10)),
    (&["spec", "persistentVolumeClaimRetentionPolicy"], Object),
    (&["spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"], Text("Retain")),
    (&["spec", "persistentVolumeClaimRetentionPolicy", "whenScaled"], Text("Retain")),
    (&["spec", "volumeClaimTemplates", "*", "spec", "volumeMode"], Text("Filesystem")),
];

const DAEMON_SET: Rules = &[
    (&["spec", "updateStrategy"], Object),
    (&["spec", "updateStrategy", "type"], Text("RollingUpdate")),
    (&["spec", "revisionHistoryLimit"], Number(10)),
];

const JOB: Rules = &[
    (&["parallelism"], Number(1)),
    (&["completions"], Number(1)),
    (&["backoffLimit"], Number(6)),
    (&["completionMode"], Text("NonIndexed")),
    (&["suspend"], Flag(false)),
    (&["podReplacementPolicy"], Text("TerminatingOrFailed")),
];

const SERVICE: Rules = &[
    (&["spec", "type"], Text("ClusterIP")),
    (&["spec", "sessionAffinity"], Text("None")),
    (&["spec", "internalTrafficPolicy"], Text("Cluster")),
    (&["spec", "ports", "*", "protocol"], Text("TCP")),
];

const POD_SPEC: Rules = &[
    (&["restartPolicy"], Text("Always")),
    (&["terminationGracePeriodSeconds"], Number(30)),
    (&["dnsPolicy"], Text("ClusterFirst")),
    (&["schedulerName"], Text("default-scheduler")),
    (&["securityContext"], Object),
    (&["volumes", "*", "configMap", "defaultMode"], Number(0o644)),
    (&["volumes", "*", "secret", "defaultMode"], Number(0o644)),
    (&["volumes", "*", "projected", "defaultMode"], Number(0o644)),
    (&["volumes", "*", "hostPath", "type"], Text("")),
];

const CONTAINER: Rules = &[
    (&["terminationMessagePath"], Text("/dev/termination-log")),
    (&["terminationMessagePolicy"], Text("File")),
    (&["resources"], Object),
    (&["ports", "*", "protocol"], Text("TCP")),
    (&["env", "*", "valueFrom", "fieldRef", "apiVersion"], Text("v1")),
];

const PROBE: Rules = &[
    (&["timeoutSeconds"], Number(1)),
    (&["periodSeconds"], Number(10)),
    (&["successThreshold"], Number(1)),
    (&["failureThreshold"], Number(3)),
    (&["httpGet", "scheme"], Text("HTTP")),
];

fn of_kind(kind: Kind) -> Rules {
    match kind {
        Kind::Deployment => DEPLOYMENT,
        Kind::StatefulSet => STATEFUL_SET,
        Kind::DaemonSet => DAEMON_SET,
        Kind::Service => SERVICE,
        Kind::ReplicaSet => &[(&["spec", "replicas"], Number(1))],
        Kind::CronJob => &[
            (&["spec", "concurrencyPolicy"], Text("Allow")),
            (&["spec", "suspend"], Flag(false)),
            (&["spec", "successfulJobsHistoryLimit"], Number(3)),
            (&["spec", "failedJobsHistoryLimit"], Number(1)),
        ],
        Kind::Pod => &[(&["status"], Object), (&["status", "phase"], Text("Pending"))],
        Kind::Namespace => &[(&["status"], Object), (&["status", "phase"], Text("Active"))],
        Kind::PersistentVolume => &[
            (&["status"], Object),
            (&["status", "phase"], Text("Pending")),
            (&["spec", "persistentVolumeReclaimPolicy"], Text("Retain")),
            (&["spec", "volumeMode"], Text("Filesystem")),
        ],
        Kind::PersistentVolumeClaim => &[
            (&["status"], Object),
            (&["status", "phase"], Text("Pending")),
            (&["spec", "volumeMode"], Text("Filesystem")),
        ],
        Kind::Secret => &[(&["type"], Text("Opaque"))],
        Kind::StorageClass => {
            &[(&["reclaimPolicy"], Text("Delete")), (&["volumeBindingMode"], Text("Immediate"))]
        }
        Kind::PriorityClass => &[(&["preemptionPolicy"], Text("PreemptLowerPriority"))],
        Kind::HorizontalPodAutoscaler => &[(&["spec", "minReplicas"], Number(1))],
        Kind::ValidatingWebhookConfiguration | Kind::MutatingWebhookConfiguration => &[
            (&["webhooks", "*", "failurePolicy"], Text("Fail")),
            (&["webhooks", "*", "matchPolicy"], Text("Equivalent")),
            (&["webhooks", "*", "timeoutSeconds"], Number(10)),
            (&["webhooks", "*", "namespaceSelector"], Object),
            (&["webhooks", "*", "objectSelector"], Object),
        ],
        Kind::Node
        | Kind::Job
        | Kind::PodDisruptionBudget
        | Kind::EndpointSlice
        | Kind::Lease
        | Kind::ConfigMap
        | Kind::ServiceAccount
        | Kind::ResourceQuota
        | Kind::CSINode
        | Kind::VolumeAttachment
        | Kind::Event
        | Kind::LimitRange
        | Kind::ControllerRevision
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy
        | Kind::Role
        | Kind::RoleBinding
        | Kind::ClusterRole
        | Kind::ClusterRoleBinding
        | Kind::CSIDriver
        | Kind::APIService
        | Kind::CustomResourceDefinition => &[],
    }
}

/// Where a kind has the spec of pods.
pub(super) const fn pod_spec_of(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Pod => Some("/spec"),
        Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet | Kind::Job => {
            Some("/spec/template/spec")
        }
        Kind::CronJob => Some("/spec/jobTemplate/spec/template/spec"),
        _ => None,
    }
}

/// Fills in what the object does not say.
pub(super) fn fill(kind: Kind, object: &mut Value) {
    all(object, of_kind(kind));
    match kind {
        Kind::Deployment => rolling(
            object.pointer_mut("/spec/strategy"),
            &[("maxSurge", "25%".into()), ("maxUnavailable", "25%".into())],
        ),
        Kind::DaemonSet => rolling(
            object.pointer_mut("/spec/updateStrategy"),
            &[("maxSurge", 0.into()), ("maxUnavailable", 1.into())],
        ),
        Kind::StatefulSet => rolling(object.pointer_mut("/spec/updateStrategy"), &[("partition", 0.into())]),
        Kind::Service => target_ports(object),
        Kind::Job => job(object.pointer_mut("/spec")),
        Kind::CronJob => job(object.pointer_mut("/spec/jobTemplate/spec")),
        _ => {}
    }
    if let Some(spec) =
        pod_spec_of(kind).and_then(|path| object.pointer_mut(path)).filter(|spec| spec.is_object())
    {
        pod_spec(spec);
    }
}

fn all(object: &mut Value, rules: Rules) {
    for (path, default) in rules {
        one(object, path, default);
    }
}

fn one(object: &mut Value, path: &[&str], default: &Default) {
    match (path, object) {
        ([last], Value::Object(members)) => {
            let entry = members.entry(*last).or_insert(Value::Null);
            if entry.is_null() {
                *entry = default.value();
            }
        }
        (["*", rest @ ..], Value::Array(elements)) => {
            for element in elements {
                one(element, rest, default);
            }
        }
        ([next, rest @ ..], Value::Object(members)) => {
            if let Some(member) = members.get_mut(*next) {
                one(member, rest, default);
            }
        }
        _ => {}
    }
}

/// The limits of a rolling update; other strategies have none.
fn rolling(strategy: Option<&mut Value>, limits: &[(&str, Value)]) {
    let Some(strategy) = strategy.filter(|strategy| strategy["type"] == "RollingUpdate") else { return };
    one(strategy, &["rollingUpdate"], &Object);
    if let Some(update) = strategy["rollingUpdate"].as_object_mut() {
        for (name, limit) in limits {
            let entry = update.entry(*name).or_insert(Value::Null);
            if entry.is_null() {
                *entry = limit.clone();
            }
        }
    }
}

/// A Job without either number runs one pod; with a parallelism alone it is a work queue without completions.
fn job(spec: Option<&mut Value>) {
    let Some(spec) = spec.filter(|spec| spec.is_object()) else { return };
    let queue = spec["completions"].is_null() && !spec["parallelism"].is_null();
    all(spec, JOB);
    if let Some(members) = spec.as_object_mut().filter(|_| queue) {
        members.remove("completions");
    }
}

fn target_ports(service: &mut Value) {
    for port in service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if port["targetPort"].is_null() && port.is_object() {
            port["targetPort"] = port["port"].clone();
        }
    }
}

fn pod_spec(spec: &mut Value) {
    all(spec, POD_SPEC);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            fill_container(container);
        }
    }
}

fn fill_container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    all(container, CONTAINER);
    if container["imagePullPolicy"].is_null() {
        let image = container["image"].as_str().unwrap_or_default();
        let name = image.rsplit('/').next().unwrap_or_default();
        let latest = !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
        container["imagePullPolicy"] = if latest { "Always" } else { "IfNotPresent" }.into();
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            all(probe, PROBE);
        }
    }
    // Who limits what it takes requests it.
    let limits =
        container.pointer("/resources/limits").and_then(Value::as_object).cloned().unwrap_or_default();
    if !limits.is_empty() {
        one(container, &["resources", "requests"], &Object);
        if let Some(requests) = container.pointer_mut("/resources/requests").and_then(Value::as_object_mut) {
            for (name, limit) in limits {
                requests.entry(name).or_insert(limit);
            }
        }
    }
}

/// Takes back what [`fill`] has filled in, where nobody has changed it: the object `after` is made from what was `shown`, which
/// is what is `stored` with its defaults. `None` if it is not stored at all.
pub(super) fn take_back(stored: Option<&Value>, shown: &Value, after: Value) -> Option<Value> {
    if after == *shown {
        return stored.cloned();
    }
    match (after, shown) {
        (Value::Object(after), Value::Object(shown)) => {
            let members = after.into_iter().filter_map(|(name, value)| match shown.get(&name) {
                Some(shown) => {
                    Some((name.clone(), take_back(stored.and_then(|s| s.get(&name)), shown, value)?))
                }
                None => Some((name, value)),
            });
            Some(Value::Object(members.collect()))
        }
        (Value::Array(after), Value::Array(shown)) if after.len() == shown.len() => {
            let elements =
                after.into_iter().zip(shown).enumerate().filter_map(|(at, (value, shown))| {
                    take_back(stored.and_then(|s| s.get(at)), shown, value)
                });
            Some(Value::Array(elements.collect()))
        }
        (after, _) => Some(after),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_said_is_filled_in_and_what_is_said_stays() {
        let mut web = json!({ "spec": { "replicas": 3, "template": { "spec": { "containers": [
            { "name": "a", "image": "r.example/a:1", "ports": [{ "containerPort": 80 }], "readinessProbe": { "periodSeconds": 5 } },
            { "name": "b", "image": "r.example:5000/b", "resources": { "limits": { "cpu": "1" } } },
        ] } } } });
        fill(Kind::Deployment, &mut web);
        let spec = &web["spec"];
        assert_eq!((&spec["replicas"], &spec["revisionHistoryLimit"]), (&json!(3), &json!(10)));
        assert_eq!(
            spec["strategy"],
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } })
        );
        let pods = &spec["template"]["spec"];
        assert_eq!(
            (&pods["restartPolicy"], &pods["terminationGracePeriodSeconds"]),
            (&json!("Always"), &json!(30))
        );
        let (a, b) = (&pods["containers"][0], &pods["containers"][1]);
        assert_eq!(
            (&a["imagePullPolicy"], &b["imagePullPolicy"]),
            (&json!("IfNotPresent"), &json!("Always"))
        );
        assert_eq!(a["ports"][0]["protocol"], "TCP");
        assert_eq!(
            (&a["readinessProbe"]["periodSeconds"], &a["readinessProbe"]["failureThreshold"]),
            (&json!(5), &json!(3))
        );
        assert_eq!(b["resources"]["requests"], json!({ "cpu": "1" }));
        let mut recreate = json!({ "spec": { "strategy": { "type": "Recreate" } } });
        fill(Kind::Deployment, &mut recreate);
        assert_eq!(recreate["spec"]["strategy"], json!({ "type": "Recreate" }));
        let mut queue = json!({ "spec": { "parallelism": 3 } });
        fill(Kind::Job, &mut queue);
        assert_eq!(queue["spec"].get("completions"), None);
    }

    #[test]
    fn a_client_that_writes_back_what_it_read_has_changed_only_its_own() {
        let stored = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "a", "image": "a:1" }] } } } });
        let mut shown = stored.clone();
        fill(Kind::Deployment, &mut shown);
        assert_eq!(take_back(Some(&stored), &shown, shown.clone()), Some(stored.clone()));
        let mut after = shown.clone();
        after["spec"]["replicas"] = 2.into();
        after["spec"]["template"]["spec"]["containers"][0]["image"] = "a:2".into();
        let kept = take_back(Some(&stored), &shown, after).unwrap();
        assert_eq!(
            kept,
            json!({ "spec": { "replicas": 2, "template": { "spec": { "containers": [{ "name": "a", "image": "a:2" }] } } } })
        );
    }

    proptest! {
        /// Whatever is written, reading it gives what was written, defaults and all.
        #[test]
        fn what_is_taken_back_is_filled_in_again(replicas in proptest::option::of(0..9_i64), surge in proptest::option::of(0..9_i64), image in "[a-c]:[1-3]", changed in "[a-c]:[1-3]", grace in proptest::option::of(0..60_i64)) {
            let mut stored = json!({ "spec": { "strategy": {}, "template": { "spec": { "containers": [{ "name": "x", "image": image }] } } } });
            if let Some(replicas) = replicas { stored["spec"]["replicas"] = replicas.into(); }
            if let Some(surge) = surge { stored["spec"]["strategy"]["rollingUpdate"] = json!({ "maxSurge": surge }); }
            let mut shown = stored.clone();
            fill(Kind::Deployment, &mut shown);
            let mut after = shown.clone();
            after["spec"]["template"]["spec"]["containers"][0]["image"] = changed.into();
            if let Some(grace) = grace { after["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = grace.into(); }
            let mut written = take_back(Some(&stored), &shown, after.clone()).unwrap();
            fill(Kind::Deployment, &mut written);
            prop_assert_eq!(written, after);
        }
    }
}

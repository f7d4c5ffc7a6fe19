//! Every kind there is, through its whole life: what holds for one holds for all of them.

use super::watch::Lines;
use super::*;
use crate::store::Kind;

/// The least that a manifest of the kind must say, beside its name.
fn manifest(kind: Kind) -> Value {
    let container = json!({ "name": "a", "image": "registry.example/a:1" });
    let labels = json!({ "app": "a" });
    let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": [container] } });
    let once = json!({ "spec": { "restartPolicy": "Never", "containers": [container] } });
    let owner = json!({ "replicas": 0, "selector": { "matchLabels": labels }, "template": template });
    let hook = json!({
        "name": "hook.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": { "url": "https://hook.example.com" },
    });
    let role = |kind: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "r" });
    match kind {
        Kind::Namespace
        | Kind::Node
        | Kind::ServiceAccount
        | Kind::Role
        | Kind::ClusterRole
        | Kind::CSIDriver
        | Kind::APIService => json!({}),
        Kind::CustomResourceDefinition => json!({ "spec": {
            "group": "example.com", "scope": "Namespaced", "names": { "kind": "A", "plural": "as" }, "versions": [],
        } }),
        Kind::Pod => {
            json!({ "spec": { "schedulingGates": [{ "name": "wait" }], "containers": [container] } })
        }
        Kind::Deployment | Kind::ReplicaSet => json!({ "spec": owner }),
        Kind::StatefulSet => {
            let mut set = json!({ "spec": owner });
            set["spec"]["serviceName"] = "a".into();
            set
        }
        Kind::DaemonSet => json!({ "spec": { "selector": { "matchLabels": labels }, "template": template } }),
        Kind::Job => json!({ "spec": { "template": once } }),
        Kind::CronJob => json!({ "spec": {
            "schedule": "0 3 1 1 *", "suspend": true, "jobTemplate": { "spec": { "template": once } },
        } }),
        Kind::PodDisruptionBudget => json!({ "spec": { "minAvailable": 1 } }),
        Kind::Service => json!({ "spec": { "ports": [{ "port": 80 }] } }),
        Kind::EndpointSlice => json!({ "addressType": "IPv4", "endpoints": [] }),
        Kind::PersistentVolumeClaim => json!({ "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
        } }),
        Kind::PersistentVolume => {
            json!({ "spec": { "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" } } })
        }
        Kind::Lease => json!({ "spec": { "holderIdentity": "a" } }),
        Kind::ConfigMap => json!({ "data": { "a": "1" } }),
        Kind::Secret => json!({ "data": { "a": "YQ==" } }),
        Kind::HorizontalPodAutoscaler => json!({ "spec": {
            "maxReplicas": 3, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        } }),
        Kind::PriorityClass => json!({ "value": 7 }),
        Kind::ResourceQuota => json!({ "spec": { "hard": { "pods": "5" } } }),
        Kind::LimitRange => json!({ "spec": { "limits": [] } }),
        Kind::StorageClass => json!({ "provisioner": "disk.csi.azure.com" }),
        Kind::CSINode => json!({ "spec": { "drivers": [] } }),
        Kind::VolumeAttachment => json!({ "spec": {
            "attacher": "disk.csi.azure.com", "nodeName": "n", "source": { "persistentVolumeName": "v" },
        } }),
        Kind::ValidatingWebhookConfiguration | Kind::MutatingWebhookConfiguration => {
            json!({ "webhooks": [hook] })
        }
        Kind::Event => json!({ "involvedObject": { "kind": "Pod", "name": "p" }, "reason": "Seen" }),
        Kind::ControllerRevision => json!({ "revision": 1, "data": { "a": 1 } }),
        Kind::Ingress => json!({ "spec": {
            "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } },
        } }),
        Kind::IngressClass => json!({ "spec": { "controller": "example.com/ingress" } }),
        Kind::NetworkPolicy => json!({ "spec": { "podSelector": {} } }),
        Kind::RoleBinding => json!({ "roleRef": role("Role") }),
        Kind::ClusterRoleBinding => json!({ "roleRef": role("ClusterRole") }),
    }
}

/// Where the objects of a kind are.
fn collection(kind: Kind) -> String {
    let names = kind.names();
    let api = if names.group.is_empty() { "/api" } else { "/apis" };
    let place = if kind.is_namespaced() { "/namespaces/default" } else { "" };
    format!("{api}/{}{place}/{}", names.api_version, names.plural)
}

/// A manifest with a generated name and a label by which it is found again.
fn made(kind: Kind, label: &str) -> Value {
    let names = kind.names();
    let mut object = manifest(kind);
    object["apiVersion"] = names.api_version.into();
    object["kind"] = names.kind.into();
    object["metadata"] = json!({ "generateName": "made-", "labels": { "life": label } });
    object
}

/// A bench whose clock stands: nobody but the test changes anything.
fn standing() -> Bench {
    let mut scenario = Scenario::demo();
    scenario.objects.clear();
    scenario.pools.clear();
    Bench::paced(&scenario, 1e-9)
}

async fn count(bench: &Bench, all: &str, label: &str) -> usize {
    let list = bench.get(&format!("{all}?labelSelector=life%3D{label}")).await;
    list["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn every_kind_is_made_read_listed_watched_changed_and_deleted() {
    let bench = standing();
    for kind in Kind::ALL {
        let all = collection(*kind);
        let object = made(*kind, "whole");
        let dry = bench.kube("POST", &format!("{all}?dryRun=All"), &object).await;
        assert_eq!(dry.status, 201, "{all}: {}", dry.text);
        let list = bench.get(&format!("{all}?labelSelector=life%3Dwhole")).await;
        assert_eq!(list["items"], json!([]), "{all}: only tried");
        let from = list["metadata"]["resourceVersion"].as_str().unwrap();
        let mut watch =
            Lines::of(&bench, &format!("{all}?watch=1&resourceVersion={from}&labelSelector=life%3Dwhole"))
                .await;

        let answer = bench.kube("POST", &format!("{all}?fieldValidation=Strict"), &object).await;
        assert_eq!(answer.status, 201, "{all}: {}", answer.text);
        let first = answer.json();
        assert_eq!((&first["kind"], &first["apiVersion"]), (&object["kind"], &object["apiVersion"]));
        let name = name_of(&first).to_owned();
        assert!(name.starts_with("made-") && name.len() == 10, "{all}: {name}");
        let one = format!("{all}/{name}");
        assert_eq!(bench.get(&one).await, first, "{all}");
        assert_eq!(bench.kube("POST", &all, &first).await.status, 400, "{all}: it has a version already");
        let mut again = object.clone();
        again["metadata"]["name"] = name.as_str().into();
        let twice = bench.kube("POST", &all, &again).await;
        assert_eq!((twice.status, &twice.json()["reason"]), (409, &json!("AlreadyExists")), "{all}");

        change(&bench, &one, &first).await;
        let stays = *kind == Kind::Namespace;
        remove(&bench, &one, stays).await;
        // It was made, changed four times and deleted; a namespace is told to go and emptied first.
        let mut told = vec!["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "MODIFIED"];
        told.push(if stays { "MODIFIED" } else { "DELETED" });
        let told: Vec<_> = told.into_iter().map(|word| (word.to_owned(), name.clone())).collect();
        assert_eq!(watch.kinds(6).await, told, "{all}");
    }
}

/// The three kinds of patch and an update, each with what it does not let pass.
async fn change(bench: &Bench, one: &str, first: &Value) {
    let note = |key: &str| json!({ "metadata": { "annotations": { key: "yes" } } });
    for (kind, key) in [(MERGE, "merge"), (STRATEGIC, "strategic")] {
        let tried = bench.kube_typed("PATCH", &format!("{one}?dryRun=All"), kind, &note(key)).await;
        assert_eq!(
            (tried.status, &tried.json()["metadata"]["annotations"][key]),
            (200, &json!("yes")),
            "{one}"
        );
        assert_eq!(bench.get(one).await["metadata"]["annotations"][key], Value::Null, "{one}: only tried");
        let patched = bench.kube_typed("PATCH", one, kind, &note(key)).await;
        assert_eq!((patched.status, patched.header("warning")), (200, None), "{one}: {}", patched.text);
    }
    let add = json!([
        { "op": "test", "path": "/metadata/annotations/merge", "value": "yes" },
        { "op": "replace", "path": "/metadata/annotations/strategic", "value": "no" },
    ]);
    let patched = bench.kube_typed("PATCH", one, JSON_PATCH, &add).await.json();
    let notes = &patched["metadata"]["annotations"];
    assert_eq!((&notes["merge"], &notes["strategic"]), (&json!("yes"), &json!("no")), "{one}");

    let stale = bench.kube("PUT", one, first).await;
    assert_eq!((stale.status, &stale.json()["reason"]), (409, &json!("Conflict")), "{one}");
    let uid = json!({ "metadata": { "uid": "other" } });
    let refused = bench.kube_typed("PATCH", one, MERGE, &uid).await;
    let cause = &refused.json()["details"]["causes"][0]["field"];
    assert_eq!((refused.status, cause), (422, &json!("metadata.uid")), "{one}");
    let mut current = bench.get(one).await;
    let mut stranger = current.clone();
    stranger["metadata"]["uid"] = "other".into();
    assert_eq!(bench.kube("PUT", one, &stranger).await.status, 409, "{one}: it is another object");
    current["metadata"]["annotations"] = Value::Null;
    let put = bench.kube("PUT", one, &current).await;
    assert_eq!(
        (put.status, &put.json()["metadata"]["annotations"]),
        (200, &Value::Null),
        "{one}: {}",
        put.text
    );
}

/// A deletion that is refused, one that is only tried, and the real one.
async fn remove(bench: &Bench, one: &str, stays: bool) {
    let other = json!({ "preconditions": { "uid": "other" } });
    let refused = bench.kube("DELETE", one, &other).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("Conflict")), "{one}");
    let one_gone = format!("{one}?propagationPolicy=Background");
    assert_eq!(bench.kube("DELETE", &format!("{one_gone}&dryRun=All"), &Value::Null).await.status, 200);
    assert_eq!(bench.get(one).await["metadata"]["deletionTimestamp"], Value::Null, "{one}: only tried");
    let gone = bench.kube("DELETE", &one_gone, &Value::Null).await;
    assert_eq!(gone.status, 200, "{one}: {}", gone.text);
    let after = bench.kube("GET", one, &Value::Null).await;
    if stays {
        assert!(after.json()["metadata"]["deletionTimestamp"].is_string(), "{one}");
    } else {
        assert_eq!((after.status, &after.json()["reason"]), (404, &json!("NotFound")), "{one}");
        assert_eq!(bench.kube("DELETE", &one_gone, &Value::Null).await.status, 404, "{one}");
        assert_eq!(bench.kube_typed("PATCH", one, MERGE, &json!({})).await.status, 404, "{one}");
    }
}

#[tokio::test]
async fn every_kind_is_listed_in_pages_and_deleted_by_a_selection() {
    let bench = standing();
    for kind in Kind::ALL {
        let all = collection(*kind);
        for _ in 0..3 {
            assert_eq!(bench.kube("POST", &all, &made(*kind, "paged")).await.status, 201, "{all}");
        }
        let page = format!("{all}?labelSelector=life%3Dpaged&limit=2");
        let first = bench.get(&page).await;
        let token = first["metadata"]["continue"].as_str().unwrap();
        let rest = bench.get(&format!("{page}&continue={token}")).await;
        let names = |list: &Value| -> Vec<String> {
            list["items"].as_array().unwrap().iter().map(|item| name_of(item).to_owned()).collect()
        };
        let mut seen = [names(&first), names(&rest)].concat();
        assert_eq!((seen.len(), &rest["metadata"]["continue"]), (3, &Value::Null), "{all}");
        seen.dedup();
        assert_eq!(seen.len(), 3, "{all}: nothing twice");
        let selected = format!("{all}?labelSelector=life%3Dpaged&propagationPolicy=Background");
        let gone = bench.kube("DELETE", &selected, &Value::Null).await;
        if *kind == Kind::Namespace {
            assert_eq!(gone.status, 405, "{all}: one by one");
        } else {
            assert_eq!((gone.status, count(&bench, &all, "paged").await), (200, 0), "{all}: {}", gone.text);
        }
    }
}

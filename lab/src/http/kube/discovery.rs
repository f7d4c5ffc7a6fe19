//! Which groups, versions and resources the API server has.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::store::{Kind, KindVisitor, Stored, with_kind};
use crate::world::World;

/// A kind as discovery describes it.
struct Described {
    group: &'static str,
    version: &'static str,
    api_version: &'static str,
    resource: Value,
    has_status: bool,
}

struct Describe;

impl KindVisitor for Describe {
    type Output = Described;

    fn visit<T: Stored>(self) -> Described {
        let resource = json!({
            "name": T::URL_PATH_SEGMENT, "singularName": T::KIND.to_ascii_lowercase(), "kind": T::KIND,
            "namespaced": T::KIND_OF.is_namespaced(),
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        });
        let (group, version, api_version) = (T::GROUP, T::VERSION, T::API_VERSION);
        Described { group, version, api_version, resource, has_status: has_status(T::KIND_OF) }
    }
}

/// Does the kind have a status that its controllers write?
pub(super) fn has_status(kind: Kind) -> bool {
    match kind {
        Kind::Node
        | Kind::Pod
        | Kind::Deployment
        | Kind::ReplicaSet
        | Kind::StatefulSet
        | Kind::DaemonSet
        | Kind::Job
        | Kind::PodDisruptionBudget
        | Kind::Service
        | Kind::PersistentVolumeClaim
        | Kind::PersistentVolume
        | Kind::Namespace
        | Kind::CronJob
        | Kind::HorizontalPodAutoscaler
        | Kind::ResourceQuota
        | Kind::VolumeAttachment => true,
        Kind::EndpointSlice
        | Kind::Lease
        | Kind::ConfigMap
        | Kind::ServiceAccount
        | Kind::PriorityClass
        | Kind::StorageClass
        | Kind::CSINode
        | Kind::ValidatingWebhookConfiguration
        | Kind::MutatingWebhookConfiguration => false,
    }
}

fn all() -> Vec<Described> {
    Kind::ALL.iter().map(|kind| with_kind(*kind, Describe)).collect()
}

/// The document at a path; `None` where discovery has none.
pub(super) fn answer(world: &World, path: &[&str]) -> Option<Value> {
    match path {
        ["version"] => Some(version(world)),
        ["api"] => {
            Some(json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }))
        }
        ["apis"] => {
            let names: BTreeSet<_> =
                all().iter().map(|kind| kind.group).filter(|group| !group.is_empty()).collect();
            let groups: Value = names.into_iter().chain(["authorization.k8s.io"]).filter_map(group).collect();
            Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
        }
        ["apis", name] => {
            let mut group = group(name)?;
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            Some(group)
        }
        ["api", version] => resources("", version),
        ["apis", group, version] => resources(group, version),
        _ => None,
    }
}

fn version(world: &World) -> Value {
    let version = world.version();
    let (major, minor) = version.release();
    json!({
        "major": major.to_string(), "minor": minor.to_string(), "gitVersion": format!("v{version}"),
        "gitTreeState": "clean", "gitCommit": "", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.25",
        "compiler": "gc", "platform": "linux/amd64",
    })
}

fn group(name: &str) -> Option<Value> {
    let mut versions: Vec<&str> =
        all().iter().filter(|kind| kind.group == name).map(|kind| kind.version).collect();
    if name == "authorization.k8s.io" {
        versions.push("v1");
    }
    versions.dedup();
    let version = versions.first().filter(|_| !name.is_empty())?;
    let of = |version: &str| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    Some(json!({
        "name": name, "versions": versions.iter().map(|version| of(version)).collect::<Value>(),
        "preferredVersion": of(version),
    }))
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    let mut group_version = format!("{group}/{version}");
    for kind in all().into_iter().filter(|kind| kind.group == group && kind.version == version) {
        kind.api_version.clone_into(&mut group_version);
        let part = |name: &str, verbs: Value| {
            let mut part = kind.resource.clone();
            part["name"] = format!("{}/{name}", kind.resource["name"].as_str().unwrap_or_default()).into();
            part["singularName"] = "".into();
            part["verbs"] = verbs;
            part
        };
        if kind.has_status {
            resources.push(part("status", json!(["get", "patch", "update"])));
        }
        if kind.resource["kind"] == "Pod" {
            // By this entry kubectl finds out whether it can evict.
            let mut eviction = part("eviction", json!(["create"]));
            eviction["kind"] = "Eviction".into();
            eviction["group"] = "policy".into();
            eviction["version"] = "v1".into();
            resources.push(eviction);
        }
        resources.push(kind.resource);
    }
    if (group, version) == ("authorization.k8s.io", "v1") {
        resources.push(json!({
            "name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview",
            "kind": "SelfSubjectAccessReview", "namespaced": false, "verbs": ["create"],
        }));
    }
    if resources.is_empty() {
        return None;
    }
    Some(
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources }),
    )
}

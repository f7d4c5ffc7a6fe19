//! Which groups, versions and resources the API server has, and the part of its OpenAPI document that clients ask for before
//! they write.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::names::{categories, short_names};
use super::path::has_scale;
use crate::store::Kind;
use crate::world::World;

const REVIEWS: &str = "authorization.k8s.io";

/// The document at a path; `None` where discovery has none.
pub(super) fn answer(world: &World, path: &[&str]) -> Option<Value> {
    match path {
        ["version"] => Some(version(world)),
        ["api"] => {
            Some(json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }))
        }
        ["apis"] => {
            let groups: Value = group_names().into_iter().filter_map(group).collect();
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
        ["openapi", "v3"] => Some(openapi_index()),
        ["openapi", "v3", "api", version] => openapi(world, "", version),
        ["openapi", "v3", "apis", group, version] => openapi(world, group, version),
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

fn group_names() -> BTreeSet<&'static str> {
    let named = Kind::ALL.iter().map(|kind| kind.names().group).filter(|group| !group.is_empty());
    named.chain([REVIEWS]).collect()
}

fn group(name: &str) -> Option<Value> {
    let kinds = Kind::ALL.iter().map(|kind| kind.names());
    let mut versions: Vec<&str> =
        kinds.filter(|names| names.group == name).map(|names| names.version).collect();
    if name == REVIEWS {
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

fn kinds_of<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = Kind> + use<'a> {
    let here = move |kind: &Kind| {
        let names = kind.names();
        (names.group, names.version) == (group, version)
    };
    Kind::ALL.iter().copied().filter(here)
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let mut resources: Vec<Value> = kinds_of(group, version).flat_map(of_kind).collect();
    if (group, version) == (REVIEWS, "v1") {
        resources.push(json!({
            "name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview",
            "kind": "SelfSubjectAccessReview", "namespaced": false, "verbs": ["create"],
        }));
    }
    if resources.is_empty() {
        return None;
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources }),
    )
}

/// A kind and its subresources.
fn of_kind(kind: Kind) -> Vec<Value> {
    let names = kind.names();
    let part = |name: &str, verbs: Value| {
        json!({
            "name": format!("{}/{name}", names.plural), "singularName": "", "kind": names.kind,
            "namespaced": kind.is_namespaced(), "verbs": verbs,
        })
    };
    // What the subresource takes and gives is a kind of another group.
    let foreign = |name: &str, verbs: Value, (group, version, kind): (&str, &str, &str)| {
        let mut part = part(name, verbs);
        part["kind"] = kind.into();
        part["group"] = group.into();
        part["version"] = version.into();
        part
    };
    let mut verbs = vec!["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    if kind == Kind::Namespace {
        verbs.retain(|verb| *verb != "deletecollection");
    }
    let mut whole = json!({
        "name": names.plural, "singularName": names.kind.to_ascii_lowercase(), "kind": names.kind,
        "namespaced": kind.is_namespaced(), "verbs": verbs,
    });
    for (member, words) in [("shortNames", short_names(kind)), ("categories", categories(kind))] {
        if !words.is_empty() {
            whole[member] = words.into();
        }
    }
    let mut resources = vec![whole];
    let writes = || json!(["get", "patch", "update"]);
    if kind.has_status() {
        resources.push(part("status", writes()));
    }
    if has_scale(kind) {
        resources.push(foreign("scale", writes(), ("autoscaling", "v1", "Scale")));
    }
    if kind == Kind::Pod {
        // By this entry kubectl finds out whether it can evict.
        resources.push(foreign("eviction", json!(["create"]), ("policy", "v1", "Eviction")));
        resources.push(part("binding", json!(["create"])));
    }
    resources
}

/// Where the OpenAPI document of each group and version is. The hash is part of the address, so that clients may keep it.
fn openapi_index() -> Value {
    let paths = Kind::ALL.iter().map(|kind| {
        let names = kind.names();
        let path = if names.group.is_empty() {
            format!("api/{}", names.version)
        } else {
            format!("apis/{}", names.api_version)
        };
        let address = format!("/openapi/v3/{path}?hash=1");
        (path, json!({ "serverRelativeURL": address }))
    });
    json!({ "paths": paths.collect::<serde_json::Map<_, _>>() })
}

/// The parameters that each kind's PATCH takes. That is what clients look for: whether the server checks fields and can run dry.
/// Schemas are not served.
fn openapi(world: &World, group: &str, version: &str) -> Option<Value> {
    let base = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    let parameter = |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
    let parameters: Value =
        ["dryRun", "fieldManager", "fieldValidation"].map(parameter).into_iter().collect();
    let paths: serde_json::Map<_, _> = kinds_of(group, version)
        .map(|kind| {
            let names = kind.names();
            let place = if kind.is_namespaced() { "/namespaces/{namespace}" } else { "" };
            let patch = json!({
                "parameters": parameters, "responses": { "200": { "description": "OK" } },
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": { "group": group, "version": version, "kind": names.kind },
            });
            (format!("{base}{place}/{}/{{name}}", names.plural), json!({ "patch": patch }))
        })
        .collect();
    if paths.is_empty() {
        return None;
    }
    let info = json!({ "title": "Kubernetes", "version": format!("v{}", world.version()) });
    Some(json!({ "openapi": "3.0.0", "info": info, "paths": paths }))
}

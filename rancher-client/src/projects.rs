//! Projects, and which namespaces belong to the system.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::answer::Operation;
use crate::client::RancherClient;
use crate::error::{DecodeError, Error};
use crate::id::RancherClusterId;
use crate::settings::Setting;

/// A Rancher project: a set of namespaces of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Project {
    /// The id, `<cluster>:p-xxxxx`.
    pub id: String,
    /// The display name. It can be changed; use [`system`](Self::system) to find the system project.
    pub name: String,
    /// Whether this is the cluster's system project.
    pub system: bool,
    /// Whether new namespaces of users go here.
    pub default: bool,
}

#[derive(Deserialize)]
struct Wire {
    id: String,
    name: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
}

impl Project {
    fn read(value: Value) -> Result<Self, DecodeError> {
        let wire: Wire = serde_path_to_error::deserialize(value).map_err(|e| DecodeError::from_serde(&e))?;
        let labels = wire.labels.unwrap_or_default();
        let is = |label: &str| labels.get(label).is_some_and(|value| value.as_deref() == Some("true"));
        Ok(Self {
            system: is("authz.management.cattle.io/system-project"),
            default: is("authz.management.cattle.io/default-project"),
            id: wire.id,
            name: wire.name.unwrap_or_default(),
        })
    }

    /// The id without the cluster: `p-xxxxx`, as in a namespace's label.
    pub fn short_id(&self) -> &str {
        self.id.split_once(':').map_or(self.id.as_str(), |(_, short)| short)
    }
}

/// The annotation and the label with which a Namespace names its project.
const PROJECT: &str = "field.cattle.io/projectId";

/// The project that a Kubernetes Namespace belongs to, as `p-xxxxx`, by its own annotations and labels. `None`: it is
/// in no project.
///
/// ```
/// use std::collections::BTreeMap;
/// use rancher_client::projects::project_of;
///
/// let annotations = BTreeMap::from([("field.cattle.io/projectId".to_owned(), "c-x7k2p:p-abcde".to_owned())]);
/// assert_eq!(project_of(&annotations, &BTreeMap::new()), Some("p-abcde"));
/// ```
pub fn project_of<'a>(
    annotations: &'a BTreeMap<String, String>,
    labels: &'a BTreeMap<String, String>,
) -> Option<&'a str> {
    let annotated = annotations.get(PROJECT).map(String::as_str).filter(|id| !id.is_empty());
    let id = annotated.or_else(|| labels.get(PROJECT).map(String::as_str).filter(|id| !id.is_empty()))?;
    Some(id.split_once(':').map_or(id, |(_, short)| short))
}

/// Rancher's defaults for the setting `system-namespaces`, those of 2.6 to 2.15 together.
const DEFAULTS: &[&str] = &[
    "kube-system",
    "kube-public",
    "cattle-system",
    "cattle-alerting",
    "cattle-logging",
    "cattle-prometheus",
    "ingress-nginx",
    "cattle-global-data",
    "cattle-istio",
    "kube-node-lease",
    "cert-manager",
    "cattle-global-nt",
    "security-scan",
    "cattle-fleet-system",
    "cattle-fleet-local-system",
    "calico-system",
    "tigera-operator",
    "cattle-impersonation-system",
    "rancher-operator-system",
    "cattle-csp-adapter-system",
    "calico-apiserver",
    "cattle-elemental-system",
    "cattle-scc-system",
    "cattle-telemetry-system",
    "cattle-local-user-passwords",
    "cattle-tokens",
    "cattle-oidc-codes",
    "cattle-oidc-client-secrets",
    "cattle-turtles-system",
    "cattle-capi-system",
];

/// What Rancher's dashboard adds to them (`shell/config/system-namespaces.js`).
const DASHBOARD: &[&str] = &[
    "cattle-dashboards",
    "cattle-global-data",
    "cattle-system",
    "gatekeeper-system",
    "ingress-nginx",
    "kube-node-lease",
    "kube-public",
    "kube-system",
    "linkerd",
    "security-scan",
    "tekton-pipelines",
    "compliance-operator-system",
    "istio-system",
    "k3k-system",
    "longhorn-system",
];

/// Which namespaces Rancher takes for the system's.
///
/// "System" says who owns a namespace, not whether it matters: `ingress-nginx` and `istio-system` are the system's and
/// carry the traffic of users. Leave such namespaces alone, and watch their availability all the same.
///
/// ```
/// use std::collections::BTreeMap;
/// use rancher_client::projects::SystemNamespaces;
///
/// let system = SystemNamespaces::default();
/// let none = BTreeMap::new();
/// assert!(system.is_system("cattle-fleet-system", &none, &none, &[]));
/// assert!(!system.is_system("shop", &none, &none, &[]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemNamespaces {
    names: BTreeSet<String>,
}

impl Default for SystemNamespaces {
    /// The names that Rancher and its dashboard know without anybody setting them.
    fn default() -> Self {
        Self { names: DEFAULTS.iter().chain(DASHBOARD).map(|name| (*name).to_owned()).collect() }
    }
}

impl SystemNamespaces {
    /// The names in the setting `system-namespaces`, and those of Rancher's dashboard, which no setting takes away.
    pub fn from_setting(setting: &Setting) -> Self {
        let listed = setting.effective().split(',').map(str::trim).filter(|name| !name.is_empty());
        Self { names: listed.chain(DASHBOARD.iter().copied()).map(str::to_owned).collect() }
    }

    /// The names, without the rules for annotations, patterns and projects.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Whether a Namespace is the system's: by its name, by the annotation `management.cattle.io/system-namespace`, or
    /// because its project is a system project of `projects`.
    pub fn is_system(
        &self,
        name: &str,
        annotations: &BTreeMap<String, String>,
        labels: &BTreeMap<String, String>,
        projects: &[Project],
    ) -> bool {
        let annotated = annotations.get("management.cattle.io/system-namespace");
        let patterned = name.starts_with("cattle-") && name.ends_with("-system");
        let project = project_of(annotations, labels);
        self.names.contains(name)
            || annotated.is_some_and(|value| value == "true")
            || patterned
            || projects.iter().any(|p| p.system && Some(p.short_id()) == project)
    }
}

impl RancherClient {
    /// The projects of a cluster. A token that is limited to one cluster may not ask; namespaces name their project
    /// themselves ([`project_of`]).
    pub async fn projects(&self, cluster: &RancherClusterId) -> Result<Vec<Project>, Error> {
        let subject = format!("the list of projects of cluster {cluster}");
        let text = format!("list the projects of cluster {cluster}");
        let operation = Operation { text, subject, in_cluster: false };
        let query = format!("clusterId={cluster}");
        let found = self.collect("v3/projects", &query, Some("clusterId"), &operation).await?;
        let prefix = format!("{cluster}:");
        let projects = found.items.into_iter().map(|item| item.read(&operation, Project::read));
        // A filter that Rancher ignored would bring in the projects of other clusters.
        projects
            .filter(|project| project.as_ref().map_or(true, |project| project.id.starts_with(&prefix)))
            .collect()
    }

    /// Which namespaces Rancher takes for the system's: by its setting or, where the token may not read it, by the
    /// defaults.
    pub async fn system_namespaces(&self) -> Result<SystemNamespaces, Error> {
        let setting = self.setting_if_allowed("system-namespaces").await?;
        Ok(setting.map_or_else(SystemNamespaces::default, |setting| SystemNamespaces::from_setting(&setting)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_namespace_names_its_project_by_annotation_or_else_by_label() {
        let long = map(&[(PROJECT, "c-x7k2p:p-abcde")]);
        let short = map(&[(PROJECT, "p-fghij")]);
        let none = map(&[]);
        assert_eq!(project_of(&long, &short), Some("p-abcde"));
        assert_eq!(project_of(&none, &short), Some("p-fghij"));
        assert_eq!(project_of(&map(&[(PROJECT, "")]), &none), None);
    }

    #[test]
    fn a_namespace_is_the_systems_for_any_one_of_the_reasons() {
        let system = SystemNamespaces::default();
        let none = map(&[]);
        let project = |id: &str, system| Project { id: id.into(), name: "x".into(), system, default: false };
        let projects = [project("c-x:p-sys", true), project("c-x:p-app", false)];
        let marked = map(&[("management.cattle.io/system-namespace", "true")]);
        let unmarked = map(&[("management.cattle.io/system-namespace", "false")]);
        let in_system = map(&[(PROJECT, "c-x:p-sys")]);
        let in_app = map(&[(PROJECT, "c-x:p-app")]);
        let cases = [
            ("kube-system", &none, true),
            ("longhorn-system", &none, true),
            ("cattle-new-system", &none, true),
            ("cattle-shop", &none, false),
            ("shop", &marked, true),
            ("shop", &unmarked, false),
            ("shop", &in_system, true),
            ("shop", &in_app, false),
        ];
        for (name, annotations, expected) in cases {
            assert_eq!(system.is_system(name, annotations, &none, &projects), expected, "{name}");
        }
    }
}

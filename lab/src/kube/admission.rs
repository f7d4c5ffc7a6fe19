//! Admission: what the API server does to a request before it writes anything. Priority, defaults, webhooks and quota.
//!
//! A webhook is an object of the cluster, which says what it is asked about. It is served by pods: it answers as long as its
//! Service has a ready endpoint, and lets everything pass but what [`Access::refusals`](super::Access::refusals) names. One that
//! nobody serves lets pass or blocks, by its failure policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::{Namespace, Pod, PodSpec, Toleration};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use upgrade_core::access::{Right, Verb};
use upgrade_core::model::{Labels, ObjectName};

use super::quota;
use crate::error::{ApiError, Cause};
use crate::ports::rules::selector;
use crate::store::{Kind, KindNames, Store};
use crate::world::World;

/// For how long a pod stays on a node that is not ready or does not answer, if it does not say (DefaultTolerationSeconds).
const PATIENCE_SECONDS: i64 = 300;

impl World {
    /// Creates a pod as the API server does: with its defaults and its priority, past the webhooks and within the quota.
    pub(crate) fn create_pod(&mut self, mut pod: Pod) -> Result<Arc<Pod>, ApiError> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        self.admit(&Right::new(Verb::Create, "", "pods").within(namespace), &labels, false)?;
        self.admit_pod(&mut pod)?;
        self.store.create(pod)
    }

    /// What the API server's own plugins do to a new pod: its defaults, its priority, and the quota's verdict.
    pub(crate) fn admit_pod(&self, pod: &mut Pod) -> Result<(), ApiError> {
        let meta = &pod.metadata;
        let name = meta.name.clone().or_else(|| meta.generate_name.clone()).unwrap_or_default();
        let namespace = meta.namespace.clone().unwrap_or_default();
        namespace_takes(&self.store, Kind::Pod.names(), &namespace, &name)?;
        let spec = pod.spec.get_or_insert_default();
        spec.termination_grace_period_seconds.get_or_insert(30);
        add_default_tolerations(spec);
        resolve_priority(&self.store, &name, spec)?;
        quota::admit(self, &namespace, &name, pod)
    }

    /// Asks the webhooks about a write of an object with these labels, after authorization and before anything is written.
    pub(crate) fn admit(&self, write: &Right, labels: &Labels, dry_run: bool) -> Result<(), ApiError> {
        for hook in hooks(&self.store).filter(|hook| hook.concerns(&self.store, write, labels)) {
            if dry_run && !hook.may_be_tried {
                let name = hook.name;
                let why = format!("admission webhook \"{name}\" does not support dry run");
                return Err(ApiError::bad_request(why));
            }
            if self.is_served(hook.client) {
                self.ask(hook.name, write)?;
            } else if hook.blocks {
                return Err(unserved(&hook));
            }
        }
        Ok(())
    }

    /// The answer of a webhook's server.
    fn ask(&self, name: &str, write: &Right) -> Result<(), ApiError> {
        let mut refusals = self.access.refusals.iter().filter(|refusal| refusal.webhook == name);
        match refusals.find(|refusal| refusal.refuses.covers(write)) {
            None => Ok(()),
            Some(refusal) => {
                let message = format!("admission webhook \"{name}\" denied the request: {}", refusal.message);
                Err(ApiError::new(403, "Forbidden", message))
            }
        }
    }

    /// Does anybody answer there? What is outside of the cluster does.
    fn is_served(&self, client: &WebhookClientConfig) -> bool {
        let Some(service) = &client.service else { return true };
        let name = ObjectName::new(service.namespace.as_str(), service.name.as_str());
        name.is_ok_and(|name| self.kube.view.ready_endpoints(&name) > 0)
    }
}

/// Nothing comes into a namespace that is going (plugin `NamespaceLifecycle`), not even an eviction.
pub(crate) fn namespace_takes(
    store: &Store,
    what: KindNames,
    namespace: &str,
    name: &str,
) -> Result<(), ApiError> {
    let found = store.get::<Namespace>("", namespace);
    if found.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_none()) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: Some("metadata.namespace".to_owned()),
    };
    Err(ApiError { causes: vec![cause], ..ApiError::forbidden(what, name, &why) })
}

/// A webhook, validating or mutating.
struct Hook<'a> {
    name: &'a str,
    client: &'a WebhookClientConfig,
    rules: &'a [RuleWithOperations],
    namespaces: Option<&'a LabelSelector>,
    objects: Option<&'a LabelSelector>,
    /// `failurePolicy: Fail`, which is the default.
    blocks: bool,
    /// It has no side effects where nothing is to be kept.
    may_be_tried: bool,
    timeout_seconds: i32,
}

fn hooks(store: &Store) -> impl Iterator<Item = Hook<'_>> {
    let mutating = store.list::<MutatingWebhookConfiguration>().flat_map(|all| all.webhooks.iter().flatten());
    let mutating = mutating.map(|hook| Hook {
        name: &hook.name,
        client: &hook.client_config,
        rules: hook.rules.as_deref().unwrap_or_default(),
        namespaces: hook.namespace_selector.as_ref(),
        objects: hook.object_selector.as_ref(),
        blocks: hook.failure_policy.as_deref() != Some("Ignore"),
        may_be_tried: matches!(hook.side_effects.as_str(), "None" | "NoneOnDryRun"),
        timeout_seconds: hook.timeout_seconds.unwrap_or(10),
    });
    let validating =
        store.list::<ValidatingWebhookConfiguration>().flat_map(|all| all.webhooks.iter().flatten());
    let validating = validating.map(|hook| Hook {
        name: &hook.name,
        client: &hook.client_config,
        rules: hook.rules.as_deref().unwrap_or_default(),
        namespaces: hook.namespace_selector.as_ref(),
        objects: hook.object_selector.as_ref(),
        blocks: hook.failure_policy.as_deref() != Some("Ignore"),
        may_be_tried: matches!(hook.side_effects.as_str(), "None" | "NoneOnDryRun"),
        timeout_seconds: hook.timeout_seconds.unwrap_or(10),
    });
    mutating.chain(validating)
}

impl Hook<'_> {
    fn concerns(&self, store: &Store, write: &Right, labels: &Labels) -> bool {
        let selects = |wanted: Option<&LabelSelector>, labels: &Labels| {
            wanted.is_none_or(|wanted| selector(wanted).matches(labels))
        };
        let namespace = store.get::<Namespace>("", write.namespace.as_deref().unwrap_or_default());
        let namespace = namespace.and_then(|found| found.metadata.labels.clone()).unwrap_or_default();
        self.rules.iter().any(|rule| covers(rule, write))
            && selects(self.namespaces, &namespace)
            && selects(self.objects, labels)
    }
}

fn covers(rule: &RuleWithOperations, write: &Right) -> bool {
    let operation = match write.verb {
        Verb::Create => "CREATE",
        Verb::Update | Verb::Patch => "UPDATE",
        Verb::Delete | Verb::DeleteCollection => "DELETE",
        // Nobody is asked about a read.
        Verb::Get | Verb::List | Verb::Watch | Verb::Any => return false,
    };
    let names = |given: &Option<Vec<String>>, wanted: &str| {
        given.iter().flatten().any(|name| name == "*" || name == wanted)
    };
    let resource =
        rule.resources.iter().flatten().any(|given| match (given.as_str(), write.resource.split_once('/')) {
            ("*/*", _) | ("*", None) => true,
            (given, Some((plural, part))) => {
                given == write.resource || given == format!("{plural}/*") || given == format!("*/{part}")
            }
            (given, None) => given == write.resource,
        });
    resource && names(&rule.operations, operation) && names(&rule.api_groups, &write.group)
}

fn unserved(hook: &Hook<'_>) -> ApiError {
    let service = hook.client.service.as_ref();
    let (name, namespace) =
        service.map_or(("", ""), |service| (service.name.as_str(), service.namespace.as_str()));
    let path = service.and_then(|service| service.path.as_deref()).unwrap_or("/");
    let why = format!(
        "Internal error occurred: failed calling webhook \"{}\": failed to call webhook: Post \"https://{name}.{namespace}.svc:443{path}?timeout={}s\": no endpoints available for service \"{name}\"",
        hook.name, hook.timeout_seconds
    );
    ApiError::new(500, "InternalError", why)
}

/// The number behind a priority class. Kubernetes brings two along.
fn resolve_priority(store: &Store, pod: &str, spec: &mut PodSpec) -> Result<(), ApiError> {
    let classes = || store.list::<PriorityClass>();
    let class = match spec.priority_class_name.as_deref().filter(|name| !name.is_empty()) {
        None => classes().filter(|class| class.global_default == Some(true)).max_by_key(|class| class.value),
        Some(name) => match (store.get::<PriorityClass>("", name), name) {
            (Some(class), _) => Some(class),
            (None, "system-cluster-critical") => {
                spec.priority = Some(2_000_000_000);
                return Ok(());
            }
            (None, "system-node-critical") => {
                spec.priority = Some(2_000_001_000);
                return Ok(());
            }
            (None, _) => {
                let why = format!("pods \"{pod}\" is forbidden: no PriorityClass with name {name} was found");
                return Err(ApiError::new(403, "Forbidden", why));
            }
        },
    };
    if let Some(class) = class {
        if spec.preemption_policy.is_none() {
            spec.preemption_policy.clone_from(&class.preemption_policy);
        }
        spec.priority_class_name.clone_from(&class.metadata.name);
        spec.priority = Some(class.value.unwrap_or_default());
    }
    // A pod of another cluster keeps the number that its class gave it there.
    spec.priority.get_or_insert(0);
    Ok(())
}

fn add_default_tolerations(spec: &mut PodSpec) {
    let tolerations = spec.tolerations.get_or_insert_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covers = |toleration: &Toleration| {
            toleration.key.as_deref().is_none_or(|own| own.is_empty() || own == key)
                && toleration
                    .effect
                    .as_deref()
                    .is_none_or(|effect| effect.is_empty() || effect == "NoExecute")
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(PATIENCE_SECONDS),
                value: None,
            });
        }
    }
}

/// Amounts by name.
pub(super) type Amounts = BTreeMap<String, u64>;

//! What else decides about pods: webhooks, aggregated APIs, quotas and attach limits, each read once.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use upgrade_core::inventory::Unseen;
use upgrade_core::model::{
    AggregatedApi, Converter, NodeName, ObjectName, Quota, QuotaAmounts, Surroundings, Webhook,
};
use upgrade_core::ports::PortError;

use super::api::Api;
use super::decode::{DISK_DRIVER, DecodeError, amount_text, condition, object_name, selector};
use super::wire;

/// A ValidatingWebhookConfiguration or a MutatingWebhookConfiguration.
#[derive(Deserialize)]
struct Configuration {
    metadata: wire::Meta,
    webhooks: Option<Vec<WebhookWire>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebhookWire {
    name: String,
    client_config: ClientConfig,
    failure_policy: Option<String>,
    rules: Option<Vec<Rule>>,
    namespace_selector: Option<wire::LabelSelector>,
    object_selector: Option<wire::LabelSelector>,
}

#[derive(Deserialize)]
struct ClientConfig {
    service: Option<ServiceReference>,
}

#[derive(Clone, Deserialize)]
struct ServiceReference {
    namespace: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    operations: Option<Vec<String>>,
    api_groups: Option<Vec<String>>,
    resources: Option<Vec<String>>,
}

impl Rule {
    /// Is it about the creation of pods?
    fn is_about_pods(&self) -> bool {
        let names = |list: &Option<Vec<String>>, words: &[&str]| {
            list.iter().flatten().any(|name| words.contains(&name.as_str()))
        };
        names(&self.operations, &["CREATE", "*"])
            && names(&self.api_groups, &["", "*"])
            && names(&self.resources, &["pods", "*", "*/*"])
    }
}

#[derive(Deserialize)]
struct ApiService {
    metadata: wire::Meta,
    #[serde(default)]
    spec: ApiServiceSpec,
    #[serde(default)]
    status: ApiServiceStatus,
}

#[derive(Default, Deserialize)]
struct ApiServiceSpec {
    service: Option<ServiceReference>,
}

#[derive(Default, Deserialize)]
struct ApiServiceStatus {
    conditions: Option<Vec<wire::Condition>>,
}

#[derive(Deserialize)]
struct Definition {
    metadata: wire::Meta,
    #[serde(default)]
    spec: DefinitionSpec,
}

#[derive(Default, Deserialize)]
struct DefinitionSpec {
    conversion: Option<Conversion>,
}

#[derive(Deserialize)]
struct Conversion {
    webhook: Option<ConversionWebhook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConversionWebhook {
    client_config: Option<ClientConfig>,
}

#[derive(Deserialize)]
struct ResourceQuota {
    metadata: wire::Meta,
    #[serde(default)]
    spec: QuotaSpec,
    #[serde(default)]
    status: QuotaStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct QuotaSpec {
    scopes: Option<Vec<String>>,
    scope_selector: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct QuotaStatus {
    hard: Option<BTreeMap<String, wire::Amount>>,
    used: Option<BTreeMap<String, wire::Amount>>,
}

#[derive(Deserialize)]
struct CsiNode {
    metadata: wire::Meta,
    #[serde(default)]
    spec: CsiNodeSpec,
}

#[derive(Default, Deserialize)]
struct CsiNodeSpec {
    drivers: Option<Vec<Driver>>,
}

#[derive(Deserialize)]
struct Driver {
    name: String,
    allocatable: Option<Allocatable>,
}

#[derive(Deserialize)]
struct Allocatable {
    count: Option<u32>,
}

/// Reads all of it. What may not be read is named.
pub(super) async fn read(api: &Api) -> Result<(Surroundings, Vec<Unseen>), PortError> {
    let mut found = Surroundings::default();
    let mut unseen = Vec::new();
    for kind in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}");
        let read = |all: Vec<Configuration>| Ok(all.into_iter().flat_map(webhooks).collect());
        found.webhooks.extend(list(api, &path, &mut unseen, read).await?);
    }
    let read = |all: Vec<ApiService>| Ok(all.into_iter().filter_map(aggregated_api).collect());
    found.aggregated_apis =
        list(api, "/apis/apiregistration.k8s.io/v1/apiservices", &mut unseen, read).await?;
    let read = |all: Vec<Definition>| Ok(all.into_iter().filter_map(converter).collect());
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    found.converters = list(api, path, &mut unseen, read).await?;
    let read = |all: Vec<ResourceQuota>| all.into_iter().map(quota).collect();
    found.quotas = list(api, "/api/v1/resourcequotas", &mut unseen, read).await?;
    let read = |all: Vec<CsiNode>| Ok(all.into_iter().filter_map(attach_limit).collect());
    found.attach_limits =
        list(api, "/apis/storage.k8s.io/v1/csinodes", &mut unseen, read).await?.into_iter().collect();
    Ok((found, unseen))
}

/// One list; nothing, and that it is so, where the token's user may not read it.
async fn list<T: DeserializeOwned, O: Send + 'static>(
    api: &Api,
    path: &str,
    unseen: &mut Vec<Unseen>,
    read: impl Fn(Vec<T>) -> Result<Vec<O>, DecodeError> + Send + Sync + 'static,
) -> Result<Vec<O>, PortError> {
    let what = path.rsplit_once('/').map_or(path, |(_, kind)| kind);
    let listed = api.pages(path, read).await.map_err(|failure| failure.of_read(&format!("listing {what}")));
    match listed {
        Ok((objects, _)) => Ok(objects),
        Err(error) if super::is_forbidden_kind(&error) => {
            unseen.push(Unseen { what: what.to_owned(), why: error.message });
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn service(reference: Option<ServiceReference>) -> Option<ObjectName> {
    let reference = reference?;
    ObjectName::new(reference.namespace?, reference.name?).ok()
}

fn webhooks(configuration: Configuration) -> impl Iterator<Item = Webhook> {
    let name = configuration.metadata.name;
    configuration.webhooks.unwrap_or_default().into_iter().map(move |webhook| Webhook {
        configuration: name.clone(),
        service: service(webhook.client_config.service),
        // The default of v1.
        blocks: webhook.failure_policy.as_deref() != Some("Ignore"),
        about_pods: webhook.rules.iter().flatten().any(Rule::is_about_pods),
        namespaces: webhook.namespace_selector.map(selector),
        objects: webhook.object_selector.map(selector),
        name: webhook.name,
    })
}

/// An API that the API server answers itself has no Service.
fn aggregated_api(api: ApiService) -> Option<AggregatedApi> {
    let available = condition(api.status.conditions.as_ref(), "Available");
    Some(AggregatedApi {
        name: api.metadata.name,
        service: service(api.spec.service)?,
        available: available.is_some_and(|available| available.status == "True"),
    })
}

/// Most definitions have one version, or versions that differ in nothing but their names: nobody is asked about these.
fn converter(definition: Definition) -> Option<Converter> {
    let service = definition.spec.conversion?.webhook?.client_config?.service;
    Some(Converter { definition: definition.metadata.name, service: self::service(service)? })
}

fn quota(quota: ResourceQuota) -> Result<Quota, DecodeError> {
    let amounts = |amounts: Option<BTreeMap<String, wire::Amount>>| {
        let texts: BTreeMap<String, String> = amounts
            .unwrap_or_default()
            .iter()
            .map(|(key, amount)| (key.clone(), amount_text(amount)))
            .collect();
        QuotaAmounts::read(|key| texts.get(key).map(String::as_str))
    };
    Ok(Quota {
        name: object_name(&quota.metadata)?,
        scoped: quota.spec.scopes.is_some_and(|scopes| !scopes.is_empty())
            || quota.spec.scope_selector.is_some(),
        hard: amounts(quota.status.hard),
        used: amounts(quota.status.used),
    })
}

fn attach_limit(node: CsiNode) -> Option<(NodeName, u32)> {
    let drivers = node.spec.drivers.unwrap_or_default();
    let disks = drivers.into_iter().find(|driver| driver.name == DISK_DRIVER)?;
    Some((NodeName::new(node.metadata.name).ok()?, disks.allocatable?.count?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};
    use upgrade_core::model::{Labels, MilliCpu};

    use super::*;

    fn webhook(value: &Value) -> Webhook {
        let configuration = json!({"metadata": {"name": "policy"}, "webhooks": [value]});
        webhooks(from_value(configuration).unwrap()).next().unwrap()
    }

    #[test]
    fn a_webhook_blocks_unless_it_says_otherwise_and_is_about_pods_by_name_or_by_star() {
        let rule = |resources: Value| {
            json!({"name": "a.example", "clientConfig": {"service": {"namespace": "p", "name": "s"}},
                "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources}]})
        };
        let pods = webhook(&rule(json!(["pods"])));
        assert!(pods.blocks && pods.about_pods && pods.may_ask_about("shop", &Labels::new()));
        assert_eq!(pods.service.unwrap().to_string(), "p/s");
        assert!(webhook(&rule(json!(["*/*"]))).about_pods && !webhook(&rule(json!(["secrets"]))).about_pods);
        let outside =
            webhook(&json!({"name": "b", "clientConfig": {"url": "https://x"}, "failurePolicy": "Ignore"}));
        assert_eq!((outside.blocks, outside.service), (false, None));
    }

    #[test]
    fn an_api_of_the_api_server_itself_is_not_passed_on() {
        let api = |spec: Value, conditions: Value| {
            let api = json!({"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": spec,
                "status": {"conditions": conditions}});
            aggregated_api(from_value(api).unwrap())
        };
        let service = json!({"service": {"namespace": "kube-system", "name": "metrics-server"}});
        let up = json!([{"type": "Available", "status": "True"}]);
        assert_eq!(api(json!({}), up.clone()), None);
        assert!(api(service.clone(), up).unwrap().available);
        assert!(!api(service, json!([])).unwrap().available);
    }

    #[test]
    fn a_definition_has_a_converter_where_a_service_of_the_cluster_is_asked() {
        let definition = |conversion: Value| {
            let made = json!({"metadata": {"name": "issuers.cert.example"}, "spec": {"conversion": conversion, "versions": [{}]}});
            converter(from_value(made).unwrap())
        };
        let asked = |client: Value| json!({"strategy": "Webhook", "webhook": {"clientConfig": client}});
        let service = json!({"service": {"namespace": "cert", "name": "webhook", "path": "/convert"}});
        let found = definition(asked(service)).unwrap();
        assert_eq!(
            (&*found.definition, found.service.to_string()),
            ("issuers.cert.example", "cert/webhook".into())
        );
        assert_eq!(definition(asked(json!({"url": "https://elsewhere"}))), None);
        assert_eq!(definition(json!({"strategy": "None"})), None);
        assert_eq!(definition(Value::Null), None);
    }

    #[test]
    fn quotas_and_attach_limits_are_read() {
        let made = json!({"metadata": {"name": "q", "namespace": "shop"}, "spec": {"scopes": ["NotTerminating"]},
            "status": {"hard": {"requests.cpu": "2", "pods": 10}, "used": {"requests.cpu": "1500m", "pods": "9"}}});
        let read = quota(from_value(made).unwrap()).unwrap();
        assert_eq!((read.hard.pods, read.used.pods, read.scoped), (Some(10), Some(9), true));
        assert_eq!(read.used.requests_cpu, Some(MilliCpu(1500)));
        let node = json!({"metadata": {"name": "n1"}, "spec": {"drivers": [
            {"name": "file.csi.azure.com"}, {"name": "disk.csi.azure.com", "allocatable": {"count": 8}}]}});
        assert_eq!(attach_limit(from_value(node).unwrap()), Some((NodeName::new("n1").unwrap(), 8)));
    }
}

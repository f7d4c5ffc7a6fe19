//! What else decides about pods, as the core sees it.

use k8s_openapi::Resource;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::storage::v1::CSINode;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use upgrade_core::inventory::Unseen;
use upgrade_core::model::{
    AggregatedApi, Converter, NodeName, ObjectName, Quota, QuotaAmounts, Surroundings, Webhook,
};

use super::kubernetes::may_list;
use super::rules::selector;
use crate::kube::DISK_DRIVER;
use crate::store::Stored;
use crate::world::World;

/// What the user may read of it; the rest is named.
pub(super) fn read(world: &mut World, unseen: &mut Vec<Unseen>) -> Surroundings {
    let mut webhooks: Vec<Webhook> = listed::<ValidatingWebhookConfiguration>(world, unseen)
        .into_iter()
        .flat_map(|configuration| {
            let name = configuration.metadata.name.unwrap_or_default();
            configuration.webhooks.into_iter().flatten().map(move |webhook| {
                let selectors = (webhook.namespace_selector, webhook.object_selector);
                let policy = webhook.failure_policy.as_deref();
                hook(&name, webhook.name, &webhook.client_config, policy, webhook.rules.as_deref(), selectors)
            })
        })
        .collect();
    webhooks.extend(listed::<MutatingWebhookConfiguration>(world, unseen).into_iter().flat_map(
        |configuration| {
            let name = configuration.metadata.name.unwrap_or_default();
            configuration.webhooks.into_iter().flatten().map(move |webhook| {
                let selectors = (webhook.namespace_selector, webhook.object_selector);
                let policy = webhook.failure_policy.as_deref();
                hook(&name, webhook.name, &webhook.client_config, policy, webhook.rules.as_deref(), selectors)
            })
        },
    ));
    let aggregated_apis = listed::<APIService>(world, unseen);
    let definitions = listed::<CustomResourceDefinition>(world, unseen);
    let quotas = listed::<ResourceQuota>(world, unseen);
    let limits = listed::<CSINode>(world, unseen);
    Surroundings {
        webhooks,
        aggregated_apis: aggregated_apis.into_iter().filter_map(aggregated).collect(),
        converters: definitions.into_iter().filter_map(converter).collect(),
        quotas: quotas.iter().filter_map(quota).collect(),
        attach_limits: limits.into_iter().filter_map(attach_limit).collect(),
    }
}

fn listed<T: Stored + Resource>(world: &mut World, unseen: &mut Vec<Unseen>) -> Vec<T> {
    if may_list(world, unseen, T::GROUP, T::URL_PATH_SEGMENT) {
        world.store.list::<T>().map(|object| T::clone(object)).collect()
    } else {
        Vec::new()
    }
}

fn hook(
    configuration: &str,
    name: String,
    client: &WebhookClientConfig,
    policy: Option<&str>,
    rules: Option<&[RuleWithOperations]>,
    (namespaces, objects): (Option<LabelSelector>, Option<LabelSelector>),
) -> Webhook {
    let service = client.service.as_ref();
    Webhook {
        configuration: configuration.to_owned(),
        name,
        service: service.and_then(|s| ObjectName::new(s.namespace.as_str(), s.name.as_str()).ok()),
        blocks: policy != Some("Ignore"),
        about_pods: rules.into_iter().flatten().any(is_about_pods),
        namespaces: namespaces.as_ref().map(selector),
        objects: objects.as_ref().map(selector),
    }
}

fn is_about_pods(rule: &RuleWithOperations) -> bool {
    let names = |list: &Option<Vec<String>>, words: &[&str]| {
        list.iter().flatten().any(|name| words.contains(&name.as_str()))
    };
    names(&rule.operations, &["CREATE", "*"])
        && names(&rule.api_groups, &["", "*"])
        && names(&rule.resources, &["pods", "*", "*/*"])
}

/// An API that the API server answers itself has no Service.
fn aggregated(api: APIService) -> Option<AggregatedApi> {
    let service = api.spec?.service?;
    let service = ObjectName::new(service.namespace?, service.name?).ok()?;
    let conditions = api.status.into_iter().flat_map(|status| status.conditions.unwrap_or_default());
    let available = conditions.into_iter().any(|c| c.type_ == "Available" && c.status == "True");
    Some(AggregatedApi { name: api.metadata.name?, service, available })
}

/// A definition whose versions a Service converts.
fn converter(definition: CustomResourceDefinition) -> Option<Converter> {
    let service = definition.spec.conversion?.webhook?.client_config?.service?;
    let service = ObjectName::new(service.namespace, service.name).ok()?;
    Some(Converter { definition: definition.metadata.name?, service })
}

fn quota(quota: &ResourceQuota) -> Option<Quota> {
    let spec = quota.spec.as_ref();
    let amounts = |amounts: Option<&std::collections::BTreeMap<String, Quantity>>| {
        QuotaAmounts::read(|key| amounts?.get(key).map(|quantity| quantity.0.as_str()))
    };
    let status = quota.status.as_ref();
    let scopes = spec.and_then(|spec| spec.scopes.as_ref()).is_some_and(|scopes| !scopes.is_empty());
    Some(Quota {
        name: ObjectName::new(quota.metadata.namespace.clone()?, quota.metadata.name.clone()?).ok()?,
        scoped: scopes || spec.is_some_and(|spec| spec.scope_selector.is_some()),
        hard: amounts(status.and_then(|status| status.hard.as_ref())),
        used: amounts(status.and_then(|status| status.used.as_ref())),
    })
}

fn attach_limit(node: CSINode) -> Option<(NodeName, u32)> {
    let disks = node.spec.drivers.into_iter().find(|driver| driver.name == DISK_DRIVER)?;
    let count = u32::try_from(disks.allocatable?.count?).ok()?;
    Some((NodeName::new(node.metadata.name?).ok()?, count))
}

//! What else decides about pods: what the API server asks, passes on and counts, and what nodes can take.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bytes, LabelSelector, Labels, MilliCpu, NodeName, ObjectName};

/// What else decides about pods. It is read once, for the checks and for the order of the moves, and nobody follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Surroundings {
    /// The webhooks that the API server asks, by configuration and name.
    pub webhooks: Vec<Webhook>,
    /// The APIs that the API server passes on to a Service of the cluster, by name.
    pub aggregated_apis: Vec<AggregatedApi>,
    /// The custom resources whose versions a Service of the cluster converts into each other, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub converters: Vec<Converter>,
    /// The quotas, by name.
    pub quotas: Vec<Quota>,
    /// How many disks a node can have, as its CSI driver says.
    pub attach_limits: BTreeMap<NodeName, u32>,
}

/// A validating or mutating webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// The name of the configuration it is in.
    pub configuration: String,
    /// Its own name.
    pub name: String,
    /// The Service that answers; `None` for a server outside of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ObjectName>,
    /// What cannot be asked is refused (`failurePolicy: Fail`, the default).
    pub blocks: bool,
    /// It is asked about every new pod that its selectors mean.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub about_pods: bool,
    /// The namespaces it is asked about, by their labels; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<LabelSelector>,
    /// The objects it is asked about, by their labels; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<LabelSelector>,
}

/// The label with a namespace's own name, which the API server keeps.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

impl Webhook {
    /// Could it be asked about a new pod with these labels in this namespace? Of the namespace only its name is known, so a
    /// selector on another of its labels counts as one that means it.
    pub fn may_ask_about(&self, namespace: &str, labels: &Labels) -> bool {
        let by_name = |selector: &LabelSelector| {
            let name = Labels::from([(NAMESPACE_LABEL.to_owned(), namespace.to_owned())]);
            let labels = selector.labels.iter().filter(|(key, _)| *key == NAMESPACE_LABEL);
            let expressions = selector.expressions.iter().filter(|e| e.key == NAMESPACE_LABEL);
            LabelSelector {
                labels: labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
                expressions: expressions.cloned().collect(),
            }
            .matches(&name)
        };
        self.about_pods
            && self.namespaces.as_ref().is_none_or(by_name)
            && self.objects.as_ref().is_none_or(|selector| selector.matches(labels))
    }
}

/// An API that the API server passes on to a Service of the cluster (an APIService).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregatedApi {
    /// Version and group: `v1beta1.metrics.k8s.io`.
    pub name: String,
    /// The Service that answers.
    pub service: ObjectName,
    /// It answers (condition `Available`).
    pub available: bool,
}

/// A custom resource (CustomResourceDefinition) whose versions a Service of the cluster converts into each other: what is stored in
/// one version cannot be read in another without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Converter {
    /// The definition's name: plural and group.
    pub definition: String,
    /// The Service that answers.
    pub service: ObjectName,
}

/// A ResourceQuota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Namespace and name.
    pub name: ObjectName,
    /// It counts only some of the namespace's pods.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scoped: bool,
    /// The most there may be.
    pub hard: QuotaAmounts,
    /// What there is.
    pub used: QuotaAmounts,
}

/// What a quota counts of pods; what it does not limit is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuotaAmounts {
    /// `pods`, or `count/pods`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<u64>,
    /// `requests.cpu`, or `cpu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_cpu: Option<MilliCpu>,
    /// `requests.memory`, or `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_memory: Option<Bytes>,
    /// `limits.cpu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits_cpu: Option<MilliCpu>,
    /// `limits.memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits_memory: Option<Bytes>,
}

impl QuotaAmounts {
    /// Of a quota's amounts, read one by one; what is no amount counts as absent.
    pub fn read<'a>(of: impl Fn(&str) -> Option<&'a str>) -> Self {
        let either = |long: &str, short: &str| of(long).or_else(|| of(short));
        let cpu = |text: Option<&str>| text.and_then(|text| MilliCpu::parse(text).ok());
        let bytes = |text: Option<&str>| text.and_then(|text| Bytes::parse(text).ok());
        Self {
            // A count is a quantity, too: `10`, or `1k`.
            pods: bytes(either("pods", "count/pods")).map(|count| count.0),
            requests_cpu: cpu(either("requests.cpu", "cpu")),
            requests_memory: bytes(either("requests.memory", "memory")),
            limits_cpu: cpu(of("limits.cpu")),
            limits_memory: bytes(of("limits.memory")),
        }
    }
}

impl Surroundings {
    /// Nothing was read, or there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Puts it in order, so that equal clusters give equal bytes.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.webhooks.sort_by(|a, b| (&a.configuration, &a.name).cmp(&(&b.configuration, &b.name)));
        self.aggregated_apis.sort_by(|a, b| a.name.cmp(&b.name));
        self.converters.sort_by(|a, b| a.definition.cmp(&b.definition));
        self.quotas.sort_by(|a, b| a.name.cmp(&b.name));
        self
    }

    /// The Services without which the API server refuses or cannot answer: those behind webhooks that block, behind the APIs it
    /// passes on, and those that convert custom resources.
    pub fn asked_services(&self) -> impl Iterator<Item = &ObjectName> {
        let blocking = self.webhooks.iter().filter(|webhook| webhook.blocks);
        let webhooks = blocking.filter_map(|webhook| webhook.service.as_ref());
        let converters = self.converters.iter().map(|converter| &converter.service);
        webhooks.chain(self.aggregated_apis.iter().map(|api| &api.service)).chain(converters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LabelExpression, LabelOperator};

    fn webhook(namespaces: Option<LabelSelector>) -> Webhook {
        Webhook {
            configuration: "policy".into(),
            name: "pods.policy.example".into(),
            service: Some("policy/webhook".parse().unwrap()),
            blocks: true,
            about_pods: true,
            namespaces,
            objects: None,
        }
    }

    #[test]
    fn a_webhook_that_excludes_a_namespace_by_name_is_not_asked_there_and_other_labels_are_not_known() {
        let but = |key: &str| {
            let expression = LabelExpression {
                key: key.into(),
                operator: LabelOperator::NotIn,
                values: vec!["policy".into()],
            };
            webhook(Some(LabelSelector { labels: Labels::new(), expressions: vec![expression] }))
        };
        let asks = |hook: &Webhook, namespace: &str| hook.may_ask_about(namespace, &Labels::new());
        assert!(!asks(&but("kubernetes.io/metadata.name"), "policy"));
        assert!(asks(&but("kubernetes.io/metadata.name"), "shop"));
        assert!(asks(&but("team"), "policy"), "nobody has looked at that label");
        assert!(asks(&webhook(None), "policy"));
    }

    #[test]
    fn a_quota_is_read_under_both_names_of_an_amount() {
        let of = |wanted: &str| {
            [("cpu", "2"), ("limits.memory", "1Gi"), ("pods", "10"), ("secrets", "3")]
                .into_iter()
                .find(|(key, _)| *key == wanted)
                .map(|(_, amount)| amount)
        };
        let read = QuotaAmounts::read(of);
        assert_eq!((read.pods, read.requests_cpu), (Some(10), Some(MilliCpu(2000))));
        assert_eq!((read.limits_memory, read.requests_memory), (Some(Bytes(1 << 30)), None));
    }
}

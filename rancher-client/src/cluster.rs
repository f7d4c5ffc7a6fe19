//! A cluster as Rancher sees it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::error::DecodeError;
use crate::id::RancherClusterId;

/// A cluster of a Rancher server: a typed view over the JSON that came, which is kept whole.
///
/// A field that is `null` and one that is missing mean the same.
///
/// ```
/// use rancher_client::{Cluster, Transitioning};
///
/// let cluster = Cluster::from_json(serde_json::json!({
///     "id": "c-x7k2p", "name": "shop-acc", "state": "active", "transitioning": "no",
///     "version": { "gitVersion": "v1.34.2" }, "aksConfig": null, "brandNew": 1,
/// }))?;
/// assert_eq!(cluster.kubernetes_version(), Some("v1.34.2"));
/// assert_eq!(*cluster.transitioning(), Transitioning::No);
/// assert!(cluster.aks_config().is_none());
/// assert_eq!(cluster.raw()["brandNew"], 1);
/// # Ok::<(), rancher_client::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    raw: Value,
    id: RancherClusterId,
    transitioning: Transitioning,
    conditions: Vec<Condition>,
    annotations: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    server_time: Option<Timestamp>,
}

/// How Rancher reaches a cluster's API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Rancher dials the API server. Draining nodes does not touch the connection.
    Direct,
    /// Through the tunnel of `cattle-cluster-agent`, a pod of the cluster itself: a drain that moves this pod breaks
    /// the connections that are open, its own among them.
    Tunnel,
}

/// Whether Rancher is working on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transitioning {
    /// Nothing is under way.
    No,
    /// Something is under way; the message says what.
    Yes,
    /// Something failed; the message says what.
    Error,
    /// A word this client does not know, or none at all (an empty text).
    Unknown(String),
}

impl Transitioning {
    fn read(text: Option<&str>) -> Self {
        match text.unwrap_or_default() {
            "no" => Self::No,
            "yes" => Self::Yes,
            "error" => Self::Error,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// One condition of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What it is about, such as `Ready`, `Connected`, `Provisioned` or `Updated`.
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One word for the cause, where there is one.
    pub reason: Option<String>,
    /// A sentence for people, where there is one.
    pub message: Option<String>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Rancher cannot tell, or is working on it.
    Unknown,
    /// A word this client does not know.
    Other(String),
}

/// Why the certificate authority of a cluster cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cluster's caCert is not a certificate in base64")]
pub struct CaCertError;

/// The part of the JSON whose form is checked when a cluster is read.
#[derive(Deserialize)]
struct Wire {
    id: String,
    transitioning: Option<String>,
    conditions: Option<Vec<WireCondition>>,
    annotations: Option<BTreeMap<String, Option<String>>>,
    labels: Option<BTreeMap<String, Option<String>>>,
    // Only the form of these is checked here; the accessors read them from the JSON that is kept.
    #[serde(rename = "name")]
    _name: Option<String>,
    #[serde(rename = "state")]
    _state: Option<String>,
    #[serde(rename = "provider")]
    _provider: Option<String>,
    #[serde(rename = "driver")]
    _driver: Option<String>,
    #[serde(rename = "internal")]
    _internal: Option<bool>,
    #[serde(rename = "apiEndpoint")]
    _api_endpoint: Option<String>,
    #[serde(rename = "caCert")]
    _ca_cert: Option<String>,
    #[serde(rename = "aksConfig")]
    _aks_config: Option<serde_json::Map<String, Value>>,
}

#[derive(Deserialize)]
struct WireCondition {
    #[serde(rename = "type")]
    kind: String,
    status: Option<String>,
    reason: Option<String>,
    message: Option<String>,
}

impl From<WireCondition> for Condition {
    fn from(wire: WireCondition) -> Self {
        let status = match wire.status.as_deref().unwrap_or_default() {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            "Unknown" => ConditionStatus::Unknown,
            other => ConditionStatus::Other(other.to_owned()),
        };
        Self { kind: wire.kind, status, reason: wire.reason, message: wire.message }
    }
}

impl Cluster {
    /// Reads a cluster from Rancher's JSON. An error names the field whose form is wrong.
    pub fn from_json(raw: Value) -> Result<Self, DecodeError> {
        let wire: Wire = serde_path_to_error::deserialize(&raw).map_err(|e| DecodeError::from_serde(&e))?;
        let id = RancherClusterId::parse(&wire.id).map_err(|e| DecodeError::new("id", &e.to_string()))?;
        let texts = |map: Option<BTreeMap<String, Option<String>>>| {
            map.unwrap_or_default().into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
        };
        Ok(Self {
            id,
            transitioning: Transitioning::read(wire.transitioning.as_deref()),
            conditions: wire.conditions.unwrap_or_default().into_iter().map(Condition::from).collect(),
            annotations: texts(wire.annotations),
            labels: texts(wire.labels),
            server_time: None,
            raw,
        })
    }

    /// The same cluster, with the server's clock when it answered.
    pub(crate) fn read_at(self, server_time: Option<Timestamp>) -> Self {
        Self { server_time, ..self }
    }

    /// Rancher's own clock when it gave this answer, to the second. `None` where the answer carried none, and for
    /// [`from_json`](Self::from_json). Times in the cluster are Rancher's too, so compare them with this one rather
    /// than with this machine's clock.
    pub fn server_time(&self) -> Option<Timestamp> {
        self.server_time
    }

    /// The JSON as it came, with every field this client does not know.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The id on this Rancher server.
    pub fn id(&self) -> &RancherClusterId {
        &self.id
    }

    /// The display name. Not an identity: it can be changed and given to another cluster.
    pub fn name(&self) -> &str {
        self.text("name").unwrap_or_default()
    }

    /// Rancher's word for the state, lower-case, an open set: `active`, `updating`, `unavailable`, ...
    /// `unavailable` does not mean that the proxy fails. Empty if Rancher gives none.
    pub fn state(&self) -> &str {
        self.text("state").unwrap_or_default()
    }

    /// Whether Rancher is working on the cluster.
    pub fn transitioning(&self) -> &Transitioning {
        &self.transitioning
    }

    /// What Rancher is working on, or what failed.
    pub fn transitioning_message(&self) -> Option<&str> {
        self.text("transitioningMessage")
    }

    /// The provider that Rancher detected from the nodes: `aks` for every AKS cluster, imported or not. `None`
    /// before the first contact.
    pub fn provider(&self) -> Option<&str> {
        self.text("provider")
    }

    /// How the cluster came to Rancher: `AKS` (with an AKS configuration), `imported` (generic), `rke2`, ...
    pub fn driver(&self) -> Option<&str> {
        self.text("driver")
    }

    /// Whether this is the cluster that Rancher itself runs on.
    pub fn internal(&self) -> bool {
        self.raw.get("internal").and_then(Value::as_bool).unwrap_or(false)
    }

    /// All conditions, in Rancher's order.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The condition of a type, such as `Connected`.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// The version of the control plane as last seen, such as `v1.34.2`.
    pub fn kubernetes_version(&self) -> Option<&str> {
        self.at("/version/gitVersion").and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The API server as Rancher knows it. For generic imports it is a service address inside the cluster, the same
    /// for many clusters, and proves nothing.
    pub fn api_endpoint(&self) -> Option<&str> {
        self.text("apiEndpoint")
    }

    /// The cluster's certificate authority, PEM. It may hold more certificates than the cluster's own, because
    /// Rancher appends its additional CA.
    pub fn ca_cert(&self) -> Result<Option<String>, CaCertError> {
        let Some(encoded) = self.text("caCert") else { return Ok(None) };
        let compact: String = encoded.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(compact).map_err(|_| CaCertError)?;
        let pem = String::from_utf8(bytes).map_err(|_| CaCertError)?;
        if pem.contains("-----BEGIN CERTIFICATE-----") { Ok(Some(pem)) } else { Err(CaCertError) }
    }

    /// The AKS configuration that Rancher wants (`aksConfig`). `None` for generic imports.
    pub fn aks_config(&self) -> Option<&Value> {
        self.at("/aksConfig")
    }

    /// The AKS configuration that was applied last (`appliedSpec.aksConfig`).
    pub fn applied_aks_config(&self) -> Option<&Value> {
        self.at("/appliedSpec/aksConfig")
    }

    /// Azure as Rancher saw it at its last refresh (`aksStatus.upstreamSpec`). `aksStatus` itself is present on
    /// clusters of every kind.
    pub fn upstream_spec(&self) -> Option<&Value> {
        self.at("/aksStatus/upstreamSpec")
    }

    /// The name of the AKS cluster in Azure (`aksConfig.clusterName`). Together with the resource group it proves
    /// nothing: Rancher's configuration has no subscription.
    pub fn azure_name(&self) -> Option<&str> {
        self.at("/aksConfig/clusterName").and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The resource group of the AKS cluster (`aksConfig.resourceGroup`).
    pub fn azure_resource_group(&self) -> Option<&str> {
        self.at("/aksConfig/resourceGroup").and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The cloud credential with which Rancher reads and writes Azure, such as `cattle-global-data:cc-abcde`.
    pub fn azure_credential(&self) -> Option<&str> {
        self.at("/aksConfig/azureCredentialSecret").and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// How Rancher reaches the API server, by driver and `aksStatus.privateRequiresTunnel`. `None` for drivers other
    /// than `AKS` and `imported`.
    pub fn connection(&self) -> Option<Connection> {
        let tunnel = self.at("/aksStatus/privateRequiresTunnel").and_then(Value::as_bool).unwrap_or(false);
        match self.driver()? {
            "AKS" if !tunnel => Some(Connection::Direct),
            "AKS" | "imported" => Some(Connection::Tunnel),
            _ => None,
        }
    }

    /// The number of nodes that Rancher's cache knows. It lags behind the cluster.
    pub fn node_count(&self) -> Option<u64> {
        self.at("/nodeCount").and_then(Value::as_u64)
    }

    /// The labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// The annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// When Rancher last read Azure, to the second (annotation `clusters.management.cattle.io/ke-last-refresh`).
    /// `None` if it never did or the annotation is unreadable.
    pub fn last_refresh(&self) -> Option<Timestamp> {
        let seconds =
            self.annotations.get("clusters.management.cattle.io/ke-last-refresh")?.trim().parse().ok()?;
        Timestamp::from_second(seconds).ok()
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.raw.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn at(&self, pointer: &str) -> Option<&Value> {
        self.raw.pointer(pointer).filter(|value| !value.is_null())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_and_absent_read_alike() {
        let absent = Cluster::from_json(json!({"id": "c-x7k2p"})).unwrap();
        let null = Cluster::from_json(json!({
            "id": "c-x7k2p", "name": null, "state": null, "transitioning": null, "transitioningMessage": null,
            "provider": "", "driver": null, "internal": null, "conditions": null, "version": null,
            "apiEndpoint": null, "caCert": null, "aksConfig": null, "appliedSpec": {"aksConfig": null},
            "aksStatus": {"upstreamSpec": null, "rbacEnabled": null}, "annotations": null,
        }))
        .unwrap();
        for cluster in [absent, null] {
            assert_eq!((cluster.name(), cluster.state(), cluster.internal()), ("", "", false));
            assert_eq!(*cluster.transitioning(), Transitioning::Unknown(String::new()));
            assert_eq!(
                (cluster.provider(), cluster.driver(), cluster.transitioning_message()),
                (None, None, None)
            );
            assert_eq!((cluster.kubernetes_version(), cluster.api_endpoint()), (None, None));
            assert_eq!(cluster.ca_cert(), Ok(None));
            assert_eq!(
                (cluster.aks_config(), cluster.applied_aks_config(), cluster.upstream_spec()),
                (None, None, None)
            );
            assert_eq!((cluster.conditions().len(), cluster.last_refresh()), (0, None));
        }
    }

    #[test]
    fn words_this_client_does_not_know_are_kept() {
        let raw = json!({
            "id": "c-m-abcd1234", "name": "shop", "transitioning": "maybe", "state": "somersaulting",
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "Disconnected", "message": "gone", "new": {"a": 1}},
                {"type": "Updated", "status": "Perhaps"},
                {"type": "Waiting"},
            ],
            "annotations": {"clusters.management.cattle.io/ke-last-refresh": "1795500000", "x": null},
            "future": {"nested": [1, 2]},
        });
        let cluster = Cluster::from_json(raw.clone()).unwrap();
        assert_eq!(*cluster.raw(), raw);
        assert_eq!(*cluster.transitioning(), Transitioning::Unknown("maybe".into()));
        assert_eq!(cluster.state(), "somersaulting");
        let ready = cluster.condition("Ready").unwrap();
        assert_eq!((&ready.status, ready.reason.as_deref()), (&ConditionStatus::False, Some("Disconnected")));
        assert_eq!(cluster.condition("Updated").unwrap().status, ConditionStatus::Other("Perhaps".into()));
        assert_eq!(cluster.condition("Waiting").unwrap().status, ConditionStatus::Other(String::new()));
        assert_eq!(cluster.last_refresh().unwrap().as_second(), 1_795_500_000);
    }

    #[test]
    fn the_certificate_authority_is_decoded_and_nothing_else_passes_for_one() {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let with = |text: &str| Cluster::from_json(json!({"id": "c-x", "caCert": text})).unwrap().ca_cert();
        let encoded = STANDARD.encode(pem);
        assert_eq!(with(&encoded), Ok(Some(pem.to_owned())));
        assert_eq!(with(&format!("{}\n{}\n", &encoded[..8], &encoded[8..])), Ok(Some(pem.to_owned())));
        for bad in ["%%%", &STANDARD.encode("hello"), &STANDARD.encode([0xff, 0xfe]), pem] {
            assert_eq!(with(bad), Err(CaCertError), "{bad}");
        }
    }

    #[test]
    fn a_field_of_another_form_is_named() {
        let cases = [
            (json!({"name": "x"}), "."),
            (json!({"id": "../local"}), "id"),
            (json!({"id": "c-x", "conditions": [{"type": "Ready", "status": true}]}), "conditions[0].status"),
            (json!({"id": "c-x", "aksConfig": "yes"}), "aksConfig"),
            (json!({"id": "c-x", "internal": "true"}), "internal"),
            (json!([]), "."),
        ];
        for (raw, place) in cases {
            assert_eq!(Cluster::from_json(raw.clone()).unwrap_err().path(), place, "{raw}");
        }
    }
}

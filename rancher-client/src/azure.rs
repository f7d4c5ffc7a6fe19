//! What Rancher knows about the Azure behind a cluster: its credential's subscription, its nodes, its operator's state.

use serde::Deserialize;
use serde_json::Value;

use crate::answer::Operation;
use crate::client::RancherClient;
use crate::cluster::Cluster;
use crate::error::{DecodeError, Error};
use crate::id::RancherClusterId;
use crate::proxy::ProxyError;

/// A node as Rancher's cache has it. The cache lags, and stands still while Rancher's controllers for the cluster are
/// down: it is evidence of what belongs to the cluster, and not of the state that a node is in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedNode {
    /// The id in Rancher, `<cluster>:m-xxxxx`.
    pub id: String,
    /// The name of the Kubernetes Node; empty before it is known.
    pub node_name: String,
    /// The Kubernetes Node's `spec.providerID`, which names subscription, resource group and scale set.
    pub provider_id: Option<String>,
    /// Rancher's word for the state, such as `active`, `cordoned`, `drained`. An open set.
    pub state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireNode {
    id: String,
    cluster_id: Option<String>,
    node_name: Option<String>,
    provider_id: Option<String>,
    state: Option<String>,
}

/// The state of Rancher's AKS operator for one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperatorState {
    /// `creating`, `importing`, `active` or `updating`; empty before the operator has looked. An open set.
    pub phase: String,
    /// What the operator failed at; it tries again for ever.
    pub failure: Option<String>,
}

impl RancherClient {
    /// The subscription of the credential with which Rancher manages the cluster, as one piece of evidence that Rancher's
    /// cluster is the one in Azure that is meant. `None` for clusters without an AKS configuration.
    ///
    /// Only the credential's owner and administrators see it: anybody else gets [`Error::NotFound`] or
    /// [`Error::PermissionDenied`]. Nothing but the subscription is taken from the answer.
    pub async fn credential_subscription(&self, cluster: &Cluster) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Credential {
            id: String,
            #[serde(rename = "azurecredentialConfig")]
            azure: Azure,
        }
        #[derive(Deserialize)]
        struct Azure {
            #[serde(rename = "subscriptionId")]
            subscription: String,
        }
        let Some(id) = cluster.azure_credential() else { return Ok(None) };
        let subject = format!("cloud credential {}", crate::text::clean(id));
        let operation = Operation { text: format!("read {subject}"), subject, in_cluster: false };
        let label = |text: &str| RancherClusterId::parse(text).is_ok();
        if !id.split_once(':').is_some_and(|(namespace, name)| label(namespace) && label(name)) {
            return Err(Error::NotFound { subject: operation.subject });
        }
        let found: Credential = self.get_json(&format!("v3/cloudcredentials/{id}"), &operation).await?;
        if found.id != id {
            let reason = format!("`{id}` expected, found `{}`", found.id);
            return Err(operation.unexpected(DecodeError::new("id", &reason)));
        }
        Ok(Some(found.azure.subscription))
    }

    /// The nodes of a cluster as Rancher's cache has them. Works with a token that is limited to this cluster.
    pub async fn cached_nodes(&self, cluster: &RancherClusterId) -> Result<Vec<CachedNode>, Error> {
        let text = format!("list the nodes of cluster {cluster}");
        let operation = Operation { text, subject: format!("cluster {cluster}"), in_cluster: true };
        let found = self.collect(&format!("v3/clusters/{cluster}/nodes"), "", None, &operation).await?;
        let read = |value: Value| {
            let wire: WireNode =
                serde_path_to_error::deserialize(value).map_err(|e| DecodeError::from_serde(&e))?;
            if wire.cluster_id.as_deref().is_some_and(|id| id != cluster.as_str()) {
                return Err(DecodeError::new("clusterId", "a node of another cluster"));
            }
            Ok(CachedNode {
                id: wire.id,
                node_name: wire.node_name.unwrap_or_default(),
                provider_id: wire.provider_id.filter(|id| !id.is_empty()),
                state: wire.state.unwrap_or_default(),
            })
        };
        found.items.into_iter().map(|item| item.read(&operation, read)).collect()
    }

    /// The state of Rancher's AKS operator for a cluster, which says more than the cluster itself when Rancher fights
    /// Azure. It lies in Rancher's own cluster (`local`), which few users may read.
    pub async fn operator_state(&self, cluster: &RancherClusterId) -> Result<OperatorState, ProxyError> {
        #[derive(Deserialize)]
        struct Object {
            metadata: Metadata,
            status: Option<Status>,
        }
        #[derive(Deserialize)]
        struct Metadata {
            name: String,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            phase: Option<String>,
            failure_message: Option<String>,
        }
        let local = RancherClusterId::local();
        let path = format!("apis/aks.cattle.io/v1/namespaces/cattle-global-data/aksclusterconfigs/{cluster}");
        let text = format!("read the state of Rancher's operator for cluster {cluster}");
        let object: Object = self.proxy(&local).get_json(&path, &text).await?;
        if object.metadata.name != cluster.as_str() {
            let reason = format!("`{cluster}` expected, found `{}`", object.metadata.name);
            let source = DecodeError::new("metadata.name", &reason);
            return Err(ProxyError::Request(Error::UnexpectedBody { operation: text, source }));
        }
        let status = object.status.unwrap_or_default();
        Ok(OperatorState {
            phase: crate::text::clean(&status.phase.unwrap_or_default()),
            failure: status
                .failure_message
                .map(|text| crate::text::clean(&text))
                .filter(|text| !text.is_empty()),
        })
    }
}

//! What the three services show of a cluster's identity, as far as it can be read. What follows from it is the core's to say.

use aks_client::{AksClient, ClusterId, ManagedCluster};
use rancher_client::Cluster;
use upgrade_core::inventory::Evidence;
use upgrade_core::inventory::evidence::{AksConfig, AzureSide, Shown, another_record, another_resource};
use upgrade_core::model::ArmId;
use upgrade_core::ports::{PortError, PortErrorKind};

use super::azure;
use super::text::one_line;

/// What somebody may not see, or what is not there, is missing from the evidence. Every other failure is one of the reading.
pub(super) fn shown<T>(read: Result<T, PortError>) -> Result<Shown<T>, PortError> {
    match read {
        Ok(shown) => Ok(Ok(shown)),
        Err(error) => match error.kind {
            PortErrorKind::Forbidden | PortErrorKind::NotFound | PortErrorKind::Rejected => {
                Ok(Err(error.message))
            }
            PortErrorKind::Unauthorized
            | PortErrorKind::Conflict
            | PortErrorKind::Throttled
            | PortErrorKind::Unreachable
            | PortErrorKind::Internal => Err(error),
        },
    }
}

/// The cluster, or the evidence that Azure answers for another one.
pub(super) async fn cluster(
    client: &AksClient,
    id: &ClusterId,
) -> Result<Result<ManagedCluster, Evidence>, PortError> {
    match client.cluster(id).await {
        Ok(cluster) => Ok(Ok(cluster)),
        Err(aks_client::Error::AnotherCluster { asked, answered, .. }) => {
            Ok(Err(another_resource(&asked.to_string(), &answered.to_string())))
        }
        Err(error) => Err(azure::port_error(error)),
    }
}

/// The cluster, or the evidence that Rancher answers for another one.
pub(super) fn record(found: Result<Cluster, PortError>) -> Result<Result<Cluster, Evidence>, PortError> {
    use rancher_client::Error::AnotherCluster;
    found.map(Ok).or_else(|error| {
        let source = error.source.as_deref().and_then(|source| source.downcast_ref());
        match source {
            Some(AnotherCluster { asked, answered }) => {
                Ok(Err(another_record(asked.as_str(), answered.as_str())))
            }
            _ => Err(error),
        }
    })
}

/// The API server's authority as Azure shows it.
pub(super) async fn authority(client: &AksClient, id: &ClusterId) -> Result<Shown<String>, PortError> {
    use aks_client::Error;
    match client.cluster_ca(id).await {
        Ok(Some(pem)) => Ok(Ok(pem)),
        Ok(None) => Ok(Err("its credential names none".to_owned())),
        Err(Error::Forbidden { missing: Some(missing), .. }) => {
            Ok(Err(format!("the caller may not take the action {missing}")))
        }
        // It will not become readable by being asked again.
        Err(error @ Error::UnexpectedBody { .. }) => Ok(Err(error.to_string())),
        Err(error) => shown(Err(azure::port_error(error))),
    }
}

/// What Azure shows of the cluster.
pub(super) fn azure_side(id: ArmId, cluster: &ManagedCluster, authority: Shown<String>) -> AzureSide {
    AzureSide {
        id,
        node_resource_group: cluster.node_resource_group().map(str::to_owned),
        authority,
        endpoints: [cluster.fqdn(), cluster.private_fqdn()]
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect(),
        version: cluster.current_kubernetes_version().and_then(|version| version.parse().ok()),
        pools: cluster.pools().iter().map(|pool| (pool.name().to_owned(), pool.count())).collect(),
    }
}

/// The API server's authority as Rancher has it.
pub(super) fn rancher_authority(cluster: &Cluster) -> Shown<String> {
    match cluster.ca_cert() {
        Ok(Some(pem)) => Ok(pem),
        Ok(None) => Err("the cluster has no caCert".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Rancher's AKS configuration; `None` where it has none.
pub(super) fn aks_config(cluster: &Cluster, subscription: Shown<String>) -> Option<AksConfig> {
    cluster.aks_config()?;
    Some(AksConfig {
        name: cluster.azure_name().map(str::to_owned),
        resource_group: cluster.azure_resource_group().map(str::to_owned),
        endpoint: cluster.api_endpoint().map(str::to_owned),
        subscription,
    })
}

/// Evidence ends in terminals and logs.
pub(super) fn printable(evidence: Vec<Evidence>) -> Vec<Evidence> {
    let clean = |evidence: Evidence| Evidence { detail: one_line(&evidence.detail), ..evidence };
    evidence.into_iter().map(clean).collect()
}

#[cfg(test)]
mod tests;

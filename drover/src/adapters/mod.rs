//! The core's ports over HTTP: newtypes around the two clients, and the only place where errors and models are translated.

mod azure;
mod azure_model;
mod evidence;
mod kubernetes;
mod rancher;
pub(crate) mod text;

use std::sync::Arc;

use aks_client::AksClient;
use rancher_client::{RancherClient, TokioPause};
use upgrade_core::ports::{Clock, PortError};

use crate::cluster::Services;
use crate::config::{ClusterConfig, Environment};
use crate::error::Error;
use crate::tokens::{AzureTokens, RancherTokens};
use crate::transport;
use azure::HttpAzure;
use kubernetes::HttpKubernetes;
use rancher::{ClusterKey, HttpRancher};

/// A failure of Rancher's in the core's terms.
pub(crate) fn rancher_error(error: rancher_client::Error) -> PortError {
    rancher::port_error(error, None)
}

/// The services of one cluster over HTTP. Everything that the configuration names (tokens, certificates) is read before
/// anything is contacted; then the cluster is looked for on the Rancher server.
pub(crate) async fn connect(
    name: &str,
    cluster: &ClusterConfig,
    environment: &Environment,
    clock: &Arc<dyn Clock>,
) -> Result<Services, Error> {
    let Environment { rancher, azure } = environment;
    let tokens = RancherTokens::new(rancher.token.clone()).await.map_err(Box::new)?;
    let azure_http = transport::azure(name, azure.endpoint.as_url(), azure.ca.as_ref())?;
    let azure_tokens =
        AzureTokens::new(azure, azure_http.clone(), Arc::clone(clock)).await.map_err(Box::new)?;
    let rancher_http = transport::rancher(name, rancher).await?;

    let arm =
        AksClient::new(azure_http, azure.endpoint.clone(), azure.api_version.clone(), Arc::new(azure_tokens));
    let client = RancherClient::new(rancher_http, rancher.url.clone(), Arc::new(tokens));
    let key = ClusterKey::from(&cluster.rancher);
    let id = match &key {
        ClusterKey::Id(id) => id.clone(),
        ClusterKey::Name(_) => key.find(&client).await?.id().clone(),
    };
    let kubernetes = HttpKubernetes::connect(client.proxy(&id), &TokioPause).await?;
    let rancher = HttpRancher {
        name: name.to_owned(),
        rancher: client,
        cluster: key,
        proxied: id,
        azure: arm.clone(),
        arm: cluster.arm.clone(),
        kubernetes: kubernetes.clone(),
        clock: Arc::clone(clock),
    };
    Ok(Services {
        kubernetes: Arc::new(kubernetes),
        azure: Arc::new(HttpAzure::new(arm, cluster.arm.clone(), Arc::clone(clock))),
        rancher: Arc::new(rancher),
        clock: Arc::clone(clock),
    })
}

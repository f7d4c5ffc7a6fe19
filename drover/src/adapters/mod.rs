//! The core's ports over HTTP: newtypes around the two clients, and the only place where errors and models are translated.

use std::sync::Arc;

use upgrade_core::ports::{CallOutcome, Clock, PortError, PortErrorKind, RemoteService};

use crate::cluster::Services;
use crate::config::{ClusterConfig, Config};
use crate::error::Error;

/// Evidence: the machines behind the nodes are those of the Azure cluster.
pub(crate) const NODE_PROVIDER_IDS: &str = "node provider ids";
/// Evidence: the API server's certificate authority is the Azure cluster's.
pub(crate) const API_SERVER_CA: &str = "API server CA";

pub(crate) async fn connect(
    config: &Config,
    name: &str,
    cluster: &ClusterConfig,
    _clock: &Arc<dyn Clock>,
) -> Result<Services, Error> {
    let place = &cluster.place;
    let _ = (config, name, place);
    Err(PortError::new(
        RemoteService::Rancher,
        PortErrorKind::Unreachable,
        CallOutcome::NothingDone,
        "the connection over HTTP is being built",
    )
    .into())
}

//! The Rancher server, as the core's `Rancher`.

use std::sync::Arc;

use aks_client::{AgentPool, AksClient, ClusterId, ManagedCluster};
use async_trait::async_trait;
use futures::try_join;
use jiff::Timestamp;
use rancher_client::ownership::{self, AzureState, Ownership as Owner, PoolView};
use rancher_client::{Cluster, RancherClient, RancherClusterId as ClientId, TokenReading, Unreadable};
use upgrade_core::inventory::evidence::{KubernetesSide, RancherSide, Shown, Sides, compare};
use upgrade_core::inventory::{ClusterIdentity, Ownership, RancherFacts, SecondWriter};
use upgrade_core::model::{ArmId, RancherClusterId};
use upgrade_core::ports::{CallOutcome, Clock, PortError, PortErrorKind, Rancher, RemoteService};

use super::kubernetes::HttpKubernetes;
use super::text::{one_line, with_causes};
use super::{azure, evidence};
use crate::config::RancherName;

/// The `Rancher` port over HTTP, for one cluster: with everything that its identity is proven by.
pub(crate) struct HttpRancher {
    pub(crate) name: String,
    pub(crate) rancher: RancherClient,
    pub(crate) cluster: ClusterKey,
    /// The id through which the API server is reached.
    pub(crate) proxied: ClientId,
    pub(crate) azure: AksClient,
    pub(crate) arm: ClusterId,
    pub(crate) kubernetes: HttpKubernetes,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How the cluster is found on the Rancher server, each time anew.
pub(crate) enum ClusterKey {
    Id(ClientId),
    Name(String),
}

impl From<&RancherName> for ClusterKey {
    fn from(name: &RancherName) -> Self {
        match name {
            RancherName::Id(id) => Self::Id(id.clone()),
            RancherName::Name(name) => Self::Name(name.clone()),
        }
    }
}

impl ClusterKey {
    /// The cluster as Rancher shows it now.
    pub(crate) async fn find(&self, rancher: &RancherClient) -> Result<Cluster, PortError> {
        use rancher_client::Error;
        match self {
            Self::Id(id) => rancher.cluster(id).await.map_err(|error| port_error(error, None)),
            Self::Name(name) => rancher.cluster_by_name(name).await.map_err(|error| match error {
                Error::ScopedToken { .. } | Error::TokenRejected { perhaps_scoped: true, .. } => {
                    let what = format!(
                        "cluster `{}` cannot be looked for by its name (a token that is limited to one cluster needs `rancher_id`)",
                        one_line(name)
                    );
                    port_error(error, Some(&what))
                }
                error => port_error(error, None),
            }),
        }
    }
}

#[async_trait]
impl Rancher for HttpRancher {
    async fn identity(&self) -> Result<ClusterIdentity, PortError> {
        let rancher = async { evidence::record(self.cluster.find(&self.rancher).await) };
        let nodes = async { evidence::shown(self.kubernetes.nodes().await) };
        let (rancher, azure, kube_system, version, nodes, authority) = try_join!(
            rancher,
            evidence::cluster(&self.azure, &self.arm),
            self.kubernetes.kube_system(),
            self.kubernetes.version(),
            nodes,
            evidence::authority(&self.azure, &self.arm)
        )?;
        let name = self.name.clone();
        let (rancher, azure) = match (rancher, azure) {
            (Ok(rancher), Ok(azure)) => (rancher, azure),
            (rancher, azure) => {
                // Nothing else that such an answer says is about the cluster that is meant.
                let evidence = evidence::printable(rancher.err().into_iter().chain(azure.err()).collect());
                let (rancher_id, arm_id) =
                    (rancher_id(self.proxied.as_str())?, arm_id(&self.arm.to_string())?);
                return Ok(ClusterIdentity { name, rancher_id, arm_id, kube_system, evidence });
            }
        };
        let (rancher_id, arm_id) = (rancher_id(rancher.id().as_str())?, arm_id(azure.resource_id())?);
        let (own, subscription) =
            try_join!(self.own_authority(authority.is_err()), self.subscription(&rancher))?;
        let evidence = compare(&Sides {
            azure: evidence::azure_side(arm_id.clone(), &azure, authority),
            kubernetes: KubernetesSide { version, nodes, authority: own },
            rancher: RancherSide {
                authority: evidence::rancher_authority(&rancher),
                aks: evidence::aks_config(&rancher, subscription),
            },
        });
        let evidence = evidence::printable(evidence);
        Ok(ClusterIdentity { name, rancher_id, arm_id, kube_system, evidence })
    }

    async fn facts(&self) -> Result<RancherFacts, PortError> {
        // The version and the end of the token are worth knowing, and not worth failing for.
        let (cluster, version, token) = futures::join!(
            async { (self.cluster.find(&self.rancher).await, self.clock.now()) },
            self.rancher.server_version(),
            self.rancher.token_info()
        );
        let (cluster, read_at) = cluster;
        let cluster = cluster?;
        let version =
            version.inspect_err(|error| tracing::warn!(%error, "Rancher does not tell its version"));
        let (token_expires, token_unread) = match token {
            Ok(TokenReading::Known(info)) => (info.expires_at, None),
            Ok(TokenReading::Unreadable(why)) => (None, Some(untold(why).to_owned())),
            Err(error) => (None, Some(one_line(&with_causes(&error)))),
        };
        Ok(RancherFacts {
            version: version.ok().map(|version| one_line(version.as_str())),
            state: one_line(cluster.state()),
            ownership: self.ownership(&cluster, read_at).await?,
            token_expires,
            token_unread,
            clock_ahead_seconds: cluster.server_time().map(|there| there.as_second() - read_at.as_second()),
        })
    }
}

impl HttpRancher {
    /// The authority that the cluster gives to its own pods, where it is wanted.
    async fn own_authority(&self, wanted: bool) -> Result<Option<Shown<String>>, PortError> {
        if wanted { evidence::shown(self.kubernetes.root_ca().await).map(Some) } else { Ok(None) }
    }

    /// The subscription of the credential with which Rancher manages the cluster. Few may see it, and a token that is limited
    /// to a cluster is refused like a bad one: as it has just read the cluster, it is not bad.
    async fn subscription(&self, cluster: &Cluster) -> Result<Shown<String>, PortError> {
        match self.rancher.credential_subscription(cluster).await {
            Ok(Some(subscription)) => Ok(Ok(subscription)),
            Ok(None) => Ok(Err("the AKS configuration names none".to_owned())),
            Err(error) => match port_error(error, None) {
                error if error.kind == PortErrorKind::Unauthorized => Ok(Err(error.message)),
                error => evidence::shown(Err(error)),
            },
        }
    }

    /// Who writes to Azure, and if Rancher does, whether it wants what Azure has now.
    async fn ownership(&self, cluster: &Cluster, read_at: Timestamp) -> Result<Ownership, PortError> {
        match ownership::classify(cluster) {
            Owner::Generic => Ok(Ownership::Generic),
            Owner::Unmanaged => Ok(Ownership::Unmanaged),
            Owner::Refused(refusal) => Ok(Ownership::Unclear { reason: one_line(&refusal.to_string()) }),
            Owner::Managed(_) => {
                let azure = async {
                    try_join!(self.azure.cluster(&self.arm), self.azure.pools(&self.arm))
                        .map_err(azure::port_error)
                };
                let refresh =
                    async { self.rancher.aks_refresh().await.map_err(|error| port_error(error, None)) };
                let ((arm, pools), refresh) = try_join!(azure, refresh)?;
                let judged = ownership::guard(cluster, &azure_state(&arm, &pools), read_at, refresh);
                let reasons = judged.err().unwrap_or_default();
                Ok(Ownership::Managed(SecondWriter {
                    out_of_sync: reasons.iter().map(|reason| one_line(&reason.to_string())).collect(),
                    refresh_seconds: refresh.as_secs(),
                    last_refresh: cluster.last_refresh(),
                }))
            }
        }
    }
}

/// Azure's side as Rancher describes it: by the versions that were asked for, which can be aliases, not by those that run.
fn azure_state(cluster: &ManagedCluster, pools: &[AgentPool]) -> AzureState {
    let pool = |pool: &AgentPool| {
        let bounds = || (pool.min_count().unwrap_or_default(), pool.max_count().unwrap_or_default());
        PoolView {
            name: pool.name().to_owned(),
            version: pool.orchestrator_version().map(str::to_owned),
            count: pool.count(),
            autoscaling: pool.enable_auto_scaling().then(bounds),
            mode: pool.mode().unwrap_or_default().to_owned(),
        }
    };
    AzureState {
        version: cluster.kubernetes_version().map(str::to_owned),
        pools: pools.iter().map(pool).collect(),
    }
}

/// Why it is not known how long a token lives.
fn untold(why: Unreadable) -> &'static str {
    match why {
        Unreadable::ScopedOrRejected => "a token that is limited to one cluster may not read about itself",
        Unreadable::Forbidden => "its user may not read tokens",
        Unreadable::NotListed => "Rancher does not list it among its user's tokens",
        Unreadable::Jwt => "it is a JSON web token, which Rancher keeps no record of",
        _ => "Rancher does not say",
    }
}

fn rancher_id(id: &str) -> Result<RancherClusterId, PortError> {
    RancherClusterId::new(id).map_err(|error| unreadable(&error))
}

fn arm_id(id: &str) -> Result<ArmId, PortError> {
    ArmId::new(id).map_err(|error| unreadable(&error))
}

fn unreadable(error: &impl std::fmt::Display) -> PortError {
    PortError::new(
        RemoteService::Rancher,
        PortErrorKind::Internal,
        CallOutcome::NothingDone,
        one_line(&error.to_string()),
    )
}

/// Rancher's failure in the core's terms; `what` was tried, where the error itself does not say.
pub(crate) fn port_error(error: rancher_client::Error, what: Option<&str>) -> PortError {
    use rancher_client::Error;
    let retry_after = match &error {
        Error::RateLimited { retry_after, .. } => *retry_after,
        _ => None,
    };
    let outcome = if error.outcome_known() { CallOutcome::NothingDone } else { CallOutcome::Unknown };
    let causes = with_causes(&error);
    let message = what.map_or_else(|| causes.clone(), |what| format!("{what}: {causes}"));
    let translated = PortError::new(RemoteService::Rancher, kind(&error), outcome, one_line(&message));
    PortError { retry_after, source: Some(Arc::new(error)), ..translated }
}

fn kind(error: &rancher_client::Error) -> PortErrorKind {
    use rancher_client::Error;
    match error {
        Error::TokenUnavailable(_) | Error::TokenRejected { .. } | Error::ScopedToken { .. } => {
            PortErrorKind::Unauthorized
        }
        Error::PermissionDenied { .. } => PortErrorKind::Forbidden,
        Error::NotFound { .. } => PortErrorKind::NotFound,
        Error::RateLimited { .. } => PortErrorKind::Throttled,
        Error::Api { status, .. } if status.as_u16() == 409 => PortErrorKind::Conflict,
        Error::Api { status, .. } if status.is_client_error() => PortErrorKind::Rejected,
        Error::Unreachable { .. } | Error::Interrupted { .. } | Error::Gateway { .. } => {
            PortErrorKind::Unreachable
        }
        Error::AmbiguousName { .. }
        | Error::UntrustedCertificate { .. }
        | Error::Redirected { .. }
        | Error::RequestTooLarge { .. }
        | Error::BadPath(_) => PortErrorKind::Rejected,
        // An answer that cannot be understood, and whatever the client learns to tell apart later.
        _ => PortErrorKind::Internal,
    }
}

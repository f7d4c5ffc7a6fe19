//! ARM, as the core's `Azure`.

mod room;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aks_client::{
    AgentPool, AksClient, ClusterId, MirrorSpec, Operation, OperationKind, OperationStatus,
    RESOURCE_DISAGREES, ServiceError, TokenError, mirror_body,
};
use async_trait::async_trait;
use futures::try_join;
use upgrade_core::model::{KubeVersion, PoolName, RUN_TAG, RunId};
use upgrade_core::ports::{
    Azure, AzureView, BufferSpec, CallOutcome, Clock, OperationRef, OperationState, PortError, PortErrorKind,
    RemoteService,
};

use super::azure_model;
use super::text::one_line;

/// How long to wait before looking again where Azure does not say: its status reads allow two a second for a whole
/// subscription, and nothing that happens to nodes is quicker.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Bounds for what Azure asks.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The `Azure` port over HTTP, for one cluster.
pub(crate) struct HttpAzure {
    client: AksClient,
    cluster: ClusterId,
    clock: Arc<dyn Clock>,
    /// What Azure asked for last.
    asked: Mutex<Option<Duration>>,
}

impl HttpAzure {
    /// Nothing is sent yet.
    pub(crate) fn new(client: AksClient, cluster: ClusterId, clock: Arc<dyn Clock>) -> Self {
        Self { client, cluster, clock, asked: Mutex::new(None) }
    }

    fn remember(&self, asked: Option<Duration>) {
        // Replaced as a whole, so a panic elsewhere cannot leave half of it.
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    fn look_again(&self) -> Duration {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.unwrap_or(LOOK_AGAIN).clamp(SHORTEST, LONGEST)
    }

    fn began(&self, operation: &Operation) -> OperationRef {
        self.remember(operation.retry_after);
        OperationRef(serde_json::to_string(operation).expect("an operation is plain data"))
    }

    /// One pool, which has to be there.
    async fn pool(&self, name: &PoolName) -> Result<AgentPool, PortError> {
        let pool = self.client.pool(&self.cluster, name.as_str()).await.map_err(port_error)?;
        pool.ok_or_else(|| refused(PortErrorKind::NotFound, &format!("there is no pool {name}")))
    }
}

#[async_trait]
impl Azure for HttpAzure {
    async fn observe(&self) -> Result<AzureView, PortError> {
        let (client, id) = (&self.client, &self.cluster);
        let read = async { try_join!(client.cluster(id), client.pools(id), client.upgrade_profile(id)) };
        let (cluster, pools, upgrades) = read.await.map_err(port_error)?;
        let cluster = azure_model::cluster(&cluster, &upgrades, self.clock.now())
            .map_err(|problem| unreadable(&problem))?;
        let pools = pools.iter().map(azure_model::pool).collect::<Result<Vec<_>, _>>();
        let mut pools = pools.map_err(|problem| unreadable(&problem))?;
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(AzureView { cluster, pools, look_again: self.look_again() })
    }

    async fn operation(&self, operation: &OperationRef) -> Result<OperationState, PortError> {
        let operation: Operation = serde_json::from_str(&operation.0).map_err(|error| {
            refused(
                PortErrorKind::Rejected,
                &format!("the operation in the journal cannot be read ({error})"),
            )
        })?;
        match self.client.poll(&operation).await {
            Ok(OperationStatus::Running { retry_after, .. }) => {
                self.remember(retry_after.or(operation.retry_after));
                Ok(OperationState::Running)
            }
            // An operation that is forgotten has ended long ago.
            Ok(OperationStatus::Succeeded) | Err(aks_client::Error::NotFound { .. }) => {
                Ok(OperationState::Succeeded)
            }
            // The service says that it is done; what the resource shows is the caller's to judge.
            Ok(OperationStatus::Failed { error }) if error.code.as_deref() == Some(RESOURCE_DISAGREES) => {
                Ok(OperationState::Succeeded)
            }
            Ok(OperationStatus::Failed { error }) => Ok(OperationState::Failed { message: said(&error) }),
            Ok(OperationStatus::Canceled { error }) => {
                Ok(OperationState::Failed { message: one_line(&format!("canceled; {}", said(&error))) })
            }
            Err(error) => Err(port_error(error)),
        }
    }

    async fn shortages(&self, buffer: &BufferSpec) -> Result<Vec<String>, PortError> {
        let pool = self.pool(&buffer.like).await?;
        let cluster = self.client.cluster(&self.cluster).await.map_err(port_error)?;
        room::shortages(&self.client, &self.cluster, &cluster, &pool, buffer.count).await.map_err(port_error)
    }

    async fn upgrade_control_plane(&self, to: KubeVersion) -> Result<OperationRef, PortError> {
        let begun = self.client.begin_control_plane_upgrade(&self.cluster, &to.to_string()).await;
        begun.map(|operation| self.began(&operation)).map_err(port_error)
    }

    async fn create_pool(&self, buffer: &BufferSpec, run: &RunId) -> Result<OperationRef, PortError> {
        let original = self.pool(&buffer.like).await?;
        let spec = MirrorSpec {
            count: buffer.count,
            version: buffer.version.to_string(),
            tags: BTreeMap::from([(RUN_TAG.to_owned(), run.to_string())]),
            extra_taints: Vec::new(),
        };
        let body = mirror_body(&original, &spec);
        let begun = self.client.begin_create_pool(&self.cluster, buffer.name.as_str(), &body).await;
        begun.map(|operation| self.began(&operation)).map_err(port_error)
    }

    async fn upgrade_pool(&self, pool: &PoolName, to: KubeVersion) -> Result<OperationRef, PortError> {
        let begun = self.client.begin_upgrade_pool(&self.cluster, pool.as_str(), &to.to_string()).await;
        begun.map(|operation| self.began(&operation)).map_err(port_error)
    }

    async fn delete_pool(&self, pool: &PoolName, run: &RunId) -> Result<OperationRef, PortError> {
        let found = self.client.pool(&self.cluster, pool.as_str()).await.map_err(port_error)?;
        let Some(found) = found else {
            // Gone already. Nothing is sent, so that nothing else that takes the name can be met.
            return Ok(self.began(&Operation {
                kind: OperationKind::DeletePool,
                cluster: self.cluster.clone(),
                pool: Some(pool.to_string()),
                azure_async_operation: None,
                location: None,
                retry_after: None,
                started: None,
                request_id: None,
            }));
        };
        let tag = found.tags().get(RUN_TAG).copied();
        if tag != Some(run.as_str()) {
            let whose =
                tag.map_or("carries no run's tag".to_owned(), |tag| format!("carries the tag of run {tag}"));
            return Err(refused(
                PortErrorKind::Rejected,
                &format!("pool {pool} {whose}, and not that of run {run}"),
            ));
        }
        let Some(etag) = found.etag() else {
            return Err(refused(
                PortErrorKind::Rejected,
                &format!("pool {pool} shows no eTag to fence its deletion by"),
            ));
        };
        let begun = self.client.begin_delete_pool(&self.cluster, pool.as_str(), Some(etag), false).await;
        begun.map(|operation| self.began(&operation)).map_err(port_error)
    }
}

fn said(error: &ServiceError) -> String {
    one_line(&error.to_string())
}

fn refused(kind: PortErrorKind, message: &str) -> PortError {
    PortError::new(RemoteService::Azure, kind, CallOutcome::NothingDone, one_line(message))
}

/// A resource that does not show what it has to.
fn unreadable(problem: &azure_model::Unreadable) -> PortError {
    refused(PortErrorKind::Internal, &problem.to_string())
}

/// ARM's failure in the core's terms.
pub(crate) fn port_error(error: aks_client::Error) -> PortError {
    let outcome = if error.outcome_known() { CallOutcome::NothingDone } else { CallOutcome::Unknown };
    let message = one_line(&super::text::with_causes(&error));
    let translated = PortError {
        retry_after: error.retry_after(),
        ..PortError::new(RemoteService::Azure, kind(&error), outcome, message)
    };
    PortError { source: Some(Arc::new(error)), ..translated }
}

fn kind(error: &aks_client::Error) -> PortErrorKind {
    use aks_client::Error;
    match error {
        Error::Conflict { .. } | Error::EtagMismatch { .. } | Error::AlreadyExists { .. } => {
            PortErrorKind::Conflict
        }
        Error::Throttled { .. } => PortErrorKind::Throttled,
        Error::NotFound { .. } => PortErrorKind::NotFound,
        Error::Forbidden { .. } => PortErrorKind::Forbidden,
        Error::Api { answer, .. } => match answer.status {
            408 | 502..=504 => PortErrorKind::Unreachable,
            400..500 => PortErrorKind::Rejected,
            _ => PortErrorKind::Internal,
        },
        Error::Unreachable { .. } | Error::Token { source: TokenError::Unavailable { .. }, .. } => {
            PortErrorKind::Unreachable
        }
        // After the passing failures of an identity service.
        Error::Unauthorized { .. } | Error::Token { .. } => PortErrorKind::Unauthorized,
        Error::NotAllowed { .. }
        | Error::Redirected { .. }
        | Error::Body { .. }
        | Error::InvalidArgument { .. } => PortErrorKind::Rejected,
        // An answer that cannot be understood, and whatever the client learns to tell apart later.
        _ => PortErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests;

//! Following an operation to its end, by whichever protocol the service offered.

use std::time::Duration;

use futures::{Stream, StreamExt};
use serde_json::Value;

use crate::client::AksClient;
use crate::error::Error;
use crate::model::ProvisioningState;
use crate::operation::{
    Operation, OperationKind, OperationProgress, OperationStatus, OperationUrl, Outcome, RESOURCE_DISAGREES,
};
use crate::pace::Lane;
use crate::retry_after::retry_after;
use crate::service_error::ServiceError;
use crate::transport::{Reply, Request};

/// The wait between polls where the service names none. AKS allows 2 status reads a second per subscription; at 15 s
/// thirty operations may be followed at once, and no operation on nodes is quicker than that.
const INTERVAL: Duration = Duration::from_secs(15);

/// Bounds for what the service asks: never a busy loop, and never so long that an ended operation goes unnoticed.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// How many polls in a row may fail in passing before waiting ends. A poll itself tries for 15 s, so with the interval
/// this outlives an outage of about ten minutes.
const MOST_FAILURES: u32 = 20;

/// An operation on its way to its end.
struct Following {
    client: AksClient,
    operation: Operation,
    /// Failed polls in a row.
    failures: u32,
    /// How long to wait before the next poll; none comes after an end.
    next_in: Option<Duration>,
}

impl Following {
    async fn next(&mut self) -> Option<OperationProgress> {
        let wait = self.next_in?;
        if !wait.is_zero() {
            self.client.let_pass(wait).await;
        }
        let (progress, asked) = match self.client.poll(&self.operation).await {
            Ok(status) => {
                self.failures = 0;
                let asked = match &status {
                    OperationStatus::Running { retry_after, .. } => *retry_after,
                    _ => None,
                };
                (OperationProgress::Status(status), asked)
            }
            Err(error) if error.is_retryable() && self.failures < MOST_FAILURES => {
                self.failures += 1;
                let asked = error.retry_after();
                (OperationProgress::Interrupted { error, failures: self.failures }, asked)
            }
            Err(error) => (OperationProgress::Lost { error }, None),
        };
        let interval = asked.or(self.operation.retry_after).unwrap_or(INTERVAL).clamp(SHORTEST, LONGEST);
        self.next_in = (!progress.is_last()).then_some(interval);
        Some(progress)
    }
}

/// What the operation's own URL said.
enum Told {
    Running {
        percent: Option<u8>,
        retry_after: Option<Duration>,
    },
    Succeeded,
    Failed(Option<ServiceError>),
    Canceled(Option<ServiceError>),
    /// No URL may be asked, or it is gone.
    Nothing,
}

/// What the resource itself shows.
struct Shown {
    state: ProvisioningState,
    error: Option<ServiceError>,
    version: Option<String>,
}

impl AksClient {
    /// Asks once how an operation stands.
    ///
    /// Asks the `Azure-AsyncOperation` URL, else the `Location`, else the resource. A URL is asked only where the token
    /// may go: on the endpoint's host or another host of the same ARM; any other is passed over with a warning and the
    /// resource decides. So it does where the URL is gone (404). "Succeeded" is reported only when the resource agrees.
    pub async fn poll(&self, operation: &Operation) -> Result<OperationStatus, Error> {
        match self.ask(operation).await? {
            Told::Running { percent, retry_after } => Ok(OperationStatus::Running { percent, retry_after }),
            Told::Succeeded | Told::Nothing => self.confirm(operation).await,
            Told::Failed(error) => {
                Ok(OperationStatus::Failed { error: self.explained(operation, error).await })
            }
            Told::Canceled(error) => {
                Ok(OperationStatus::Canceled { error: self.explained(operation, error).await })
            }
        }
    }

    /// Polls until the operation has ended, as often as the service asks (1 to 60 s, 15 s where it does not say), and
    /// hands every status to `on_progress`.
    ///
    /// Passing failures are waited out, about ten minutes of them; then, and on any other error, the error is returned
    /// and the operation may go on: the value is still good for another `wait`. There is no deadline; drop the future to
    /// stop waiting, which does not stop the operation.
    pub async fn wait(
        &self,
        operation: &Operation,
        mut on_progress: impl FnMut(&OperationStatus) + Send,
    ) -> Result<Outcome, Error> {
        let mut progress = self.follow(operation);
        loop {
            match progress.next().await.expect("an end comes before the end of the stream") {
                OperationProgress::Status(status) => {
                    on_progress(&status);
                    if let Some(outcome) = status.outcome() {
                        return Ok(outcome);
                    }
                }
                OperationProgress::Interrupted { error, failures } => {
                    tracing::warn!(%operation, %error, failures, "operation status not readable, trying again");
                }
                OperationProgress::Lost { error } => return Err(error),
            }
        }
    }

    /// [`wait`](Self::wait) as a stream: every poll's finding, at the same pace. Exactly one item is an end
    /// ([`OperationProgress::is_last`]), and it is the last. Nothing is asked before the stream is.
    pub fn follow(
        &self,
        operation: &Operation,
    ) -> impl Stream<Item = OperationProgress> + Send + Unpin + use<> {
        let following = Following {
            client: self.clone(),
            operation: operation.clone(),
            failures: 0,
            next_in: Some(Duration::ZERO),
        };
        Box::pin(futures::stream::unfold(following, |mut following| async {
            let progress = following.next().await?;
            Some((progress, following))
        }))
    }

    /// What the resource alone shows of the operation, whatever its own status said.
    ///
    /// For after a failure: AKS goes on trying what it once accepted, so an operation may report `Failed` and its
    /// resource turn `Succeeded` a while later.
    pub async fn recheck(&self, operation: &Operation) -> Result<OperationStatus, Error> {
        self.confirm(operation).await
    }

    /// Asks the operation's own URL.
    async fn ask(&self, operation: &Operation) -> Result<Told, Error> {
        let urls = [(&operation.azure_async_operation, false), (&operation.location, true)];
        let url =
            urls.into_iter().find_map(|(url, is_location)| Some((self.trusted(url.as_ref()?)?, is_location)));
        let Some((url, is_location)) = url else { return Ok(Told::Nothing) };
        let lane = Lane::Status(operation.cluster.subscription());
        match self.send(&Request::get(url.as_url().clone(), lane)).await {
            Ok(reply) => read_status(&reply),
            Err(Error::NotFound { .. }) => Ok(Told::Nothing),
            // By the Location protocol the failure of the operation is the status of its result.
            Err(
                Error::Api { answer, .. }
                | Error::NotAllowed { answer }
                | Error::Conflict { answer }
                | Error::EtagMismatch { answer },
            ) if is_location && answer.status < 500 => Ok(Told::Failed(Some(answer.error))),
            Err(error) => Err(error),
        }
    }

    fn trusted<'u>(&self, url: &'u OperationUrl) -> Option<&'u OperationUrl> {
        let trusted = self.endpoint.trusts(url.as_url());
        if !trusted {
            tracing::warn!(%url, endpoint = %self.endpoint, "the operation's URL is not on ARM's host, not asked");
        }
        trusted.then_some(url)
    }

    /// What the resource shows decides.
    async fn confirm(&self, operation: &Operation) -> Result<OperationStatus, Error> {
        let shown = self.shown(operation).await?;
        Ok(judge(operation, shown))
    }

    async fn shown(&self, operation: &Operation) -> Result<Option<Shown>, Error> {
        let shown = match &operation.pool {
            Some(name) => self.pool(&operation.cluster, name).await?.map(|pool| Shown {
                state: pool.provisioning_state(),
                error: pool.provisioning_error(),
                version: pool.current_orchestrator_version().map(str::to_owned),
            }),
            None => match self.cluster(&operation.cluster).await {
                Ok(cluster) => Some(Shown {
                    state: cluster.provisioning_state(),
                    error: cluster.provisioning_error(),
                    version: cluster.current_kubernetes_version().map(str::to_owned),
                }),
                Err(Error::NotFound { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        Ok(shown)
    }

    /// The reason of a failure; where the operation gave none, the one the resource keeps. A reason is worth one read, not
    /// an error of its own.
    async fn explained(&self, operation: &Operation, error: Option<ServiceError>) -> ServiceError {
        if let Some(error) = error {
            return error;
        }
        let shown = self.shown(operation).await.ok().flatten();
        shown.and_then(|shown| shown.error).unwrap_or_default()
    }
}

/// Reads the answer of a status URL. Microsoft's own examples swap the two headers, so both kinds of answer are read from
/// either: a `status` member decides; without one it is 202 while running, any other 2xx when done.
fn read_status(reply: &Reply) -> Result<Told, Error> {
    let body = if reply.body.is_empty() { Value::Null } else { reply.json()? };
    let running = || Told::Running { percent: percent(&body), retry_after: retry_after(&reply.headers) };
    let error = || body.get("error").and_then(ServiceError::from_value);
    let state = body
        .get("status")
        .and_then(Value::as_str)
        .or_else(|| body.pointer("/properties/provisioningState").and_then(Value::as_str));
    Ok(match state.map(ProvisioningState::parse) {
        Some(ProvisioningState::Failed) => Told::Failed(error()),
        Some(ProvisioningState::Canceled) => Told::Canceled(error()),
        Some(ProvisioningState::Busy(_)) => running(),
        None if reply.status == 202 => running(),
        Some(ProvisioningState::Succeeded) | None => Told::Succeeded,
    })
}

fn percent(body: &Value) -> Option<u8> {
    let percent = body.get("percentComplete")?.as_f64()?;
    // Cut, not rounded: 99.7 is not done.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100 first")]
    let whole = percent.clamp(0.0, 100.0) as u8;
    Some(whole)
}

/// Whether the resource agrees that the operation is done.
fn judge(operation: &Operation, shown: Option<Shown>) -> OperationStatus {
    let disagrees =
        |message: String| OperationStatus::Failed { error: ServiceError::own(RESOURCE_DISAGREES, message) };
    let is_delete = operation.kind == OperationKind::DeletePool;
    let Some(shown) = shown else {
        return if is_delete {
            OperationStatus::Succeeded
        } else {
            disagrees("the resource does not exist".to_owned())
        };
    };
    let is_abort = matches!(operation.kind, OperationKind::AbortCluster | OperationKind::AbortPool);
    match shown.state {
        ProvisioningState::Busy(_) => {
            OperationStatus::Running { percent: None, retry_after: operation.retry_after }
        }
        // Whatever the aborted operation came to, it is over.
        _ if is_abort => OperationStatus::Succeeded,
        ProvisioningState::Failed => OperationStatus::Failed { error: shown.error.unwrap_or_default() },
        ProvisioningState::Canceled => OperationStatus::Canceled { error: shown.error.unwrap_or_default() },
        ProvisioningState::Succeeded if is_delete => disagrees("the resource still exists".to_owned()),
        ProvisioningState::Succeeded => match (&operation.kind, shown.version) {
            (OperationKind::UpgradeControlPlane { to } | OperationKind::UpgradePool { to }, version)
                if version.as_deref() != Some(to) =>
            {
                let version = version.as_deref().unwrap_or("no version");
                disagrees(format!("the resource shows {version}, not {to}"))
            }
            _ => OperationStatus::Succeeded,
        },
    }
}

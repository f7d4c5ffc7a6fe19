//! Azure, as the core sees it.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use upgrade_core::model::{KubeVersion, PoolName, RUN_TAG, RunId};
use upgrade_core::ports::{
    Azure, AzureView, BufferSpec, CallOutcome, OperationRef, OperationState, PortError, PortErrorKind,
    RemoteService,
};

use crate::azure::{Accepted, ArmError, Conditions, OperationId, OperationStatus};
use crate::faults::{Call, Service, WriteKind};
use crate::lab::Lab;
use crate::world::World;

/// It sends what a real client sends, so that the same rules are met.
struct DirectAzure(Lab);

impl Lab {
    /// Azure, directly.
    pub fn azure(&self) -> Arc<dyn Azure> {
        Arc::new(DirectAzure(self.clone()))
    }
}

impl Lab {
    /// Lets a request to Azure in, unless it throttles.
    pub(super) fn admitted<T>(
        &self,
        call: Call,
        ask: impl FnOnce(&mut World) -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        self.through(call, |world| {
            world.azure.check_throttled(world.now()).map_err(|error| port_error(&error))?;
            ask(world)
        })
    }
}

#[async_trait]
impl Azure for DirectAzure {
    async fn observe(&self) -> Result<AzureView, PortError> {
        self.0.admitted(Call::Other(Service::Azure), |world| Ok(view(world)))
    }

    async fn operation(&self, operation: &OperationRef) -> Result<OperationState, PortError> {
        let id: Option<OperationId> = operation.0.parse().ok();
        self.0.admitted(Call::Other(Service::Azure), |world| {
            Ok(match id.and_then(|id| world.azure.operation_status(id)) {
                Some(OperationStatus::InProgress) => OperationState::Running,
                Some(OperationStatus::Failed(error)) => OperationState::Failed { message: error.to_string() },
                Some(OperationStatus::Canceled) => {
                    OperationState::Failed { message: "it was canceled".to_owned() }
                }
                Some(OperationStatus::Succeeded) | None => OperationState::Succeeded,
            })
        })
    }

    async fn shortages(&self, buffer: &BufferSpec) -> Result<Vec<String>, PortError> {
        self.0.admitted(Call::Other(Service::Azure), |world| {
            let short = world.azure.shortages(&*world, &buffer.like, buffer.count);
            short.map_err(|error| port_error(&error))
        })
    }

    async fn upgrade_control_plane(&self, to: KubeVersion) -> Result<OperationRef, PortError> {
        self.0.admitted(Call::Write(WriteKind::UpgradeControlPlane), |world| {
            let mut body = world.azure.cluster();
            let conditions = unchanged(&body["eTag"]);
            let properties = &mut body["properties"];
            properties["kubernetesVersion"] = to.to_string().into();
            drop_members(properties, &["servicePrincipalProfile"]);
            for pool in properties["agentPoolProfiles"].as_array_mut().into_iter().flatten() {
                drop_members(pool, &["nodeImageVersion"]);
            }
            accepted(world.with_azure(|azure, ground| azure.put_cluster(ground, &conditions, &body)))
        })
    }

    async fn create_pool(&self, buffer: &BufferSpec, run: &RunId) -> Result<OperationRef, PortError> {
        self.0.admitted(Call::Write(WriteKind::CreatePool), |world| {
            let mut properties = properties_of(world, &buffer.like)?;
            drop_members(&mut properties, &["minCount", "maxCount", "powerState", "creationData"]);
            properties["enableAutoScaling"] = false.into();
            properties["count"] = buffer.count.into();
            properties["orchestratorVersion"] = buffer.version.to_string().into();
            if !properties["tags"].is_object() {
                properties["tags"] = json!({});
            }
            properties["tags"][RUN_TAG] = run.as_str().into();
            let body = json!({ "properties": properties });
            let conditions = Conditions { if_match: None, if_none_match: Some("*".to_owned()) };
            let name = buffer.name.as_str();
            accepted(world.with_azure(|azure, ground| azure.put_pool(ground, name, &conditions, &body)))
        })
    }

    async fn upgrade_pool(&self, pool: &PoolName, to: KubeVersion) -> Result<OperationRef, PortError> {
        self.0.admitted(Call::Write(WriteKind::UpgradePool), |world| {
            let mut properties = properties_of(world, pool)?;
            let conditions = unchanged(&properties["eTag"]);
            properties["orchestratorVersion"] = to.to_string().into();
            let body = json!({ "properties": properties });
            accepted(
                world.with_azure(|azure, ground| azure.put_pool(ground, pool.as_str(), &conditions, &body)),
            )
        })
    }

    async fn delete_pool(&self, pool: &PoolName, run: &RunId) -> Result<OperationRef, PortError> {
        self.0.admitted(Call::Write(WriteKind::DeletePool), |world| {
            let properties = properties_of(world, pool)?;
            if properties["tags"][RUN_TAG].as_str() != Some(run.as_str()) {
                let message = format!("pool {pool} does not carry the tag of run {run}; it is not deleted");
                return Err(refusal(PortErrorKind::Rejected, message));
            }
            let conditions = unchanged(&properties["eTag"]);
            accepted(
                world.with_azure(|azure, ground| azure.delete_pool(ground, pool.as_str(), &conditions, true)),
            )
        })
    }
}

/// The cluster and its pools as they are.
pub(crate) fn view(world: &World) -> AzureView {
    AzureView {
        cluster: world.azure.cluster_model(world.now()),
        pools: world.azure.pool_models(),
        look_again: world.azure.look_again(),
    }
}

fn properties_of(world: &World, pool: &PoolName) -> Result<Value, PortError> {
    let mut shown = world.azure.pool(pool.as_str()).map_err(|error| port_error(&error))?;
    let mut properties = shown["properties"].take();
    drop_members(&mut properties, &["nodeImageVersion"]);
    Ok(properties)
}

fn drop_members(value: &mut Value, names: &[&str]) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|name, _| !names.contains(&name.as_str()));
    }
}

fn unchanged(etag: &Value) -> Conditions {
    Conditions { if_match: etag.as_str().map(str::to_owned), if_none_match: None }
}

/// The operation as text. A write that had nothing to do has none, and an unknown one counts as done.
fn accepted(result: Result<Accepted, ArmError>) -> Result<OperationRef, PortError> {
    let accepted = result.map_err(|error| port_error(&error))?;
    Ok(OperationRef(accepted.operation.map(|id| id.to_string()).unwrap_or_default()))
}

/// A refusal changes nothing: what it did is always known.
fn port_error(error: &ArmError) -> PortError {
    let kind = match error.status {
        401 => PortErrorKind::Unauthorized,
        403 => PortErrorKind::Forbidden,
        404 => PortErrorKind::NotFound,
        409 | 412 => PortErrorKind::Conflict,
        429 => PortErrorKind::Throttled,
        _ => PortErrorKind::Rejected,
    };
    PortError { retry_after: error.retry_after, ..refusal(kind, error.to_string()) }
}

fn refusal(kind: PortErrorKind, message: String) -> PortError {
    PortError::new(RemoteService::Azure, kind, CallOutcome::NothingDone, message)
}

//! Rancher, as the core sees it, and the proof that its cluster is Azure's.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, Node};
use upgrade_core::inventory::evidence::{AksConfig, AzureSide, KubernetesSide, RancherSide, Sides, compare};
use upgrade_core::inventory::{ClusterIdentity, RancherFacts};
use upgrade_core::model::Uid;
use upgrade_core::ports::{CallOutcome, PortError, PortErrorKind, Rancher, RemoteService};
use upgrade_core::view::Object;

use super::convert::Slim;
use crate::faults::{Call, Service};
use crate::lab::Lab;
use crate::rancher::api_endpoint;
use crate::world::World;

struct DirectRancher(Lab);

impl Lab {
    /// The Rancher server, directly.
    pub fn rancher(&self) -> Arc<dyn Rancher> {
        Arc::new(DirectRancher(self.clone()))
    }
}

#[async_trait]
impl Rancher for DirectRancher {
    async fn identity(&self) -> Result<ClusterIdentity, PortError> {
        // It is read from all three.
        self.0.admitted(Call::Other(Service::Azure), |_| Ok(()))?;
        self.0.through(Call::Other(Service::Kubernetes), |_| Ok(()))?;
        self.0.through(Call::Other(Service::Rancher), |world| identity(world))
    }

    async fn facts(&self) -> Result<RancherFacts, PortError> {
        self.0.through(Call::Other(Service::Rancher), |world| Ok(crate::rancher::facts(world)))
    }
}

/// The proof, as the three services show it.
pub(crate) fn identity(world: &World) -> Result<ClusterIdentity, PortError> {
    let unreadable = |message: &str| {
        PortError::new(RemoteService::Kubernetes, PortErrorKind::NotFound, CallOutcome::NothingDone, message)
    };
    let namespace = world.store.get::<Namespace>("", "kube-system");
    let namespace = namespace.ok_or_else(|| unreadable("there is no namespace kube-system"))?;
    let uid = namespace.metadata.uid.clone().unwrap_or_default();
    Ok(ClusterIdentity {
        name: world.rancher.name().to_owned(),
        rancher_id: world.rancher.id().clone(),
        arm_id: world.azure.id().clone(),
        kube_system: Uid::new(uid).map_err(|error| unreadable(&error.to_string()))?,
        evidence: compare(&sides(world)),
    })
}

/// What Rancher, Azure and the API server of this world show of themselves.
fn sides(world: &World) -> Sides {
    let (rancher, azure) = (&world.rancher, &world.azure);
    let nodes = world.store.list::<Node>().filter_map(|node| match node.slim(&world.store) {
        Some(Object::Node(node)) => Some(node),
        _ => None,
    });
    let pools = azure.pool_models().into_iter().map(|pool| (pool.name.to_string(), Some(pool.count)));
    Sides {
        rancher: RancherSide { authority: Ok(rancher.authority().to_owned()), aks: aks_config(world) },
        azure: AzureSide {
            id: azure.id().clone(),
            node_resource_group: Some(azure.node_resource_group().to_owned()),
            authority: Ok(azure.authority().to_owned()),
            endpoints: vec![azure.fqdn().to_owned()],
            version: Some(azure.version()),
            pools: pools.collect(),
        },
        kubernetes: KubernetesSide { version: world.version(), nodes: Ok(nodes.collect()), authority: None },
    }
}

fn aks_config(world: &World) -> Option<AksConfig> {
    let id = world.azure.id();
    world.rancher.has_aks_config().then(|| AksConfig {
        name: Some(id.name().to_owned()),
        resource_group: Some(id.resource_group().to_owned()),
        endpoint: Some(api_endpoint(world)),
        subscription: Ok(id.subscription().to_owned()),
    })
}

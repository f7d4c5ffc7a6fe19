//! Rancher, as the core sees it, and the proof that its cluster is Azure's.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, Node};
use upgrade_core::inventory::{ClusterIdentity, Evidence, EvidenceVerdict, RancherFacts};
use upgrade_core::model::Uid;
use upgrade_core::ports::{CallOutcome, PortError, PortErrorKind, Rancher, RemoteService};

use crate::lab::Lab;
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
        self.0.with(|world| identity(world))
    }

    async fn facts(&self) -> Result<RancherFacts, PortError> {
        Ok(self.0.with(|world| world.rancher.facts().clone()))
    }
}

fn identity(world: &World) -> Result<ClusterIdentity, PortError> {
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
        evidence: vec![provider_ids(world), authority(world), version(world)],
    })
}

/// Every node is a machine of the cluster's node resource group in the cluster's subscription.
fn provider_ids(world: &World) -> Evidence {
    let place = format!(
        "azure:///subscriptions/{}/resourceGroups/{}/",
        world.azure.id().subscription(),
        world.azure.node_resource_group()
    )
    .to_ascii_lowercase();
    let ids: Vec<_> = world
        .store
        .list::<Node>()
        .map(|node| node.spec.as_ref().and_then(|s| s.provider_id.clone()))
        .collect();
    let here =
        |id: &&Option<String>| id.as_ref().is_some_and(|id| id.to_ascii_lowercase().starts_with(&place));
    let agreeing = ids.iter().filter(here).count();
    let verdict = match ids.len() {
        0 => EvidenceVerdict::Unavailable,
        all if all == agreeing => EvidenceVerdict::Agrees,
        _ => EvidenceVerdict::Contradicts,
    };
    let detail =
        format!("{agreeing} of {} nodes are machines of {}", ids.len(), world.azure.node_resource_group());
    Evidence { what: "node provider ids".to_owned(), verdict, detail }
}

fn authority(world: &World) -> Evidence {
    let same = world.rancher.authority() == world.azure.authority();
    let (verdict, detail) = if same {
        (EvidenceVerdict::Agrees, "Rancher and Azure show the same certificate")
    } else {
        (EvidenceVerdict::Contradicts, "Rancher and Azure show different certificates")
    };
    Evidence { what: "API server CA".to_owned(), verdict, detail: detail.to_owned() }
}

/// Consistency only: two clusters can have the same version, and one side can lag.
fn version(world: &World) -> Evidence {
    let (here, azure) = (world.version(), world.azure.version());
    let verdict = if here == azure { EvidenceVerdict::Agrees } else { EvidenceVerdict::Unavailable };
    let detail = format!("the API server says {here}, Azure {azure}");
    Evidence { what: "Kubernetes version".to_owned(), verdict, detail }
}

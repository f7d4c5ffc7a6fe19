//! Typed ARM client for AKS clusters, agent pools and their long-running operations.
//!
//! The calls an upgrade of an AKS cluster needs, and nothing else of Azure. An HTTP client and a [`TokenSource`] are
//! handed in; nothing is read from the environment.
//!
//! - **Read**: [`AksClient::cluster`], [`pools`](AksClient::pools), [`pool`](AksClient::pool), the four lists of
//!   versions, [`cluster_ca`](AksClient::cluster_ca). Clusters and pools keep their JSON; typed accessors look into it.
//! - **Write**: [`begin_control_plane_upgrade`](AksClient::begin_control_plane_upgrade),
//!   [`begin_create_pool`](AksClient::begin_create_pool), [`begin_upgrade_pool`](AksClient::begin_upgrade_pool),
//!   [`begin_delete_pool`](AksClient::begin_delete_pool), the aborts. Bodies come from pure functions
//!   ([`control_plane_body`], [`mirror_body`], [`upgrade_pool_body`]) that edit what was read, so a property unknown to
//!   this crate survives. Writes are fenced by eTags and sent once.
//! - **Wait**: an [`Operation`] is a value that can be stored; [`poll`](AksClient::poll) or [`wait`](AksClient::wait) on
//!   it, in this process or a later one.
//! - **Errors**: [`Error`] tells a passing conflict from a final no, says whether the outcome is known and whether
//!   trying again makes sense, and carries the ids for a support case.
//!
//! What it does not promise: that nodes run the version their pool shows. AKS reports success and failure of operations,
//! not of nodes; look at the kubelets.
//!
//! # Example
//!
//! Against any server that speaks ARM; here one that knows a single cluster.
//!
//! ```
//! use std::sync::Arc;
//! use aks_client::{AksClient, ApiVersion, ClusterId, StaticToken};
//! # use wiremock::{Mock, MockServer, ResponseTemplate, matchers::{method, path}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # rustls::crypto::ring::default_provider().install_default().expect("first in this process");
//! let id: ClusterId = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo\
//!     /providers/Microsoft.ContainerService/managedClusters/shop".parse()?;
//! # let server = MockServer::start().await;
//! # let cluster = serde_json::json!({"id": id.resource_id(), "name": "shop", "location": "westeurope", "eTag": "1",
//! #     "properties": {"provisioningState": "Succeeded", "currentKubernetesVersion": "1.34.6"}});
//! # Mock::given(method("GET")).and(path(id.resource_id()))
//! #     .respond_with(ResponseTemplate::new(200).set_body_json(cluster)).mount(&server).await;
//! # let endpoint = server.uri();
//! let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
//! let token = StaticToken::new("a-ready-bearer-token".into())?;
//! let client = AksClient::new(http, endpoint.parse()?, ApiVersion::default(), Arc::new(token));
//!
//! let cluster = client.cluster(&id).await?;
//! assert_eq!(cluster.current_kubernetes_version(), Some("1.34.6"));
//! assert!(cluster.provisioning_state().is_terminal());
//! # Ok(())
//! # }
//! ```

// A whole cluster in one `json!` literal.
#![cfg_attr(test, recursion_limit = "256")]

mod access;
mod body;
mod capacity;
mod client;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod kubeconfig;
mod model;
mod operation;
mod pace;
mod pause;
mod poll;
mod resource_id;
mod retry_after;
mod service_error;
mod text;
mod token;
mod transport;
mod value;
mod write;

pub use access::{Lock, LockLevel, Permissions};
pub use body::{BodyError, MirrorSpec, control_plane_body, mirror_body, upgrade_pool_body};
pub use capacity::{
    AddressNeed, KUBENET_MOST_NODES, NetworkMode, QuotaShortage, Restriction, Subnet, SubnetUsage, Usage,
    VmSize, overlay_most_nodes, quota_shortages,
};
pub use client::AksClient;
pub use error::{Answer, Error, Trace};
pub use id::{ApiVersion, ClusterId, Endpoint, ParseError, SubscriptionId};
pub use model::{
    AgentPool, AvailableUpgrade, ClosedSpan, ForceUpgrade, Machine, MaintenanceConfiguration,
    MaintenancePurpose, MaintenanceSchedule, MaintenanceWindow, ManagedCluster, NodeImageUse, PatchVersion,
    PoolUpgradeProfile, PoolVersion, ProvisioningState, RegionVersion, ShapeError, UpgradeSettings, WeekSlot,
};
pub use operation::{
    Operation, OperationKind, OperationProgress, OperationStatus, OperationUrl, Outcome, RESOURCE_DISAGREES,
};
pub use pace::RemainingRequests;
pub use pause::{Pause, TokioPause};
pub use resource_id::ResourceId;
pub use service_error::{MissingPermission, ServiceError};
pub use token::{AccessToken, StaticToken, TokenError, TokenSource};

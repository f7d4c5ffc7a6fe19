//! Typed ARM client for AKS clusters, agent pools and their long-running operations.
//!
//! The calls an upgrade of an AKS cluster needs, and nothing else of Azure. An HTTP client and a [`TokenSource`] are
//! handed in; nothing is read from the environment.
//!
//! - **Read**: [`AksClient::cluster`], [`pools`](AksClient::pools), [`pool`](AksClient::pool),
//!   [`machines`](AksClient::machines), the four lists of versions,
//!   [`maintenance_configurations`](AksClient::maintenance_configurations), [`cluster_ca`](AksClient::cluster_ca).
//!   Resources keep their JSON; typed accessors look into it. An answer that shows another resource than the one asked
//!   for is an error.
//! - **Write**: [`begin_control_plane_upgrade`](AksClient::begin_control_plane_upgrade),
//!   [`begin_create_pool`](AksClient::begin_create_pool), [`begin_upgrade_pool`](AksClient::begin_upgrade_pool),
//!   [`begin_node_image_upgrade`](AksClient::begin_node_image_upgrade),
//!   [`begin_delete_pool`](AksClient::begin_delete_pool), the aborts. Bodies come from pure functions
//!   ([`control_plane_body`], [`mirror_body`], [`upgrade_pool_body`]) that edit what was read, so a property unknown to
//!   this crate survives. Writes are fenced by eTags and sent once.
//! - **Wait**: an [`Operation`] is a value that can be stored; [`poll`](AksClient::poll), [`wait`](AksClient::wait) or
//!   [`follow`](AksClient::follow) it, in this process or a later one, and [`recheck`](AksClient::recheck) it after a
//!   failure.
//! - **Fit**: [`compute_usages`](AksClient::compute_usages), [`vm_sizes`](AksClient::vm_sizes),
//!   [`subnet`](AksClient::subnet) and [`subnet_usages`](AksClient::subnet_usages) are read; [`quota_shortages`],
//!   [`VmSize::restriction`], [`NetworkMode`] and [`Subnet::free`] say whether more nodes would fit.
//! - **Leave**: [`permissions`](AksClient::permissions) and [`locks`](AksClient::locks) say before a write what would
//!   refuse it.
//! - **Errors**: [`Error`] tells a passing conflict from a final no, says whether the outcome is known and whether
//!   trying again makes sense, and carries the ids for a support case and the missing action and scope.
//! - **Pace**: reads keep to what the AKS provider allows a subscription and slow down where ARM says that few are left;
//!   clones of a client do so together. See [`AksClient::remaining_requests`].
//!
//! What it does not promise: that nodes run the version their pool shows. AKS reports success and failure of operations,
//! not of nodes; look at the kubelets. Nor that Azure has machines left: quota is not capacity.
//!
//! Secrets: the token and the signatures in operations' URLs are in no `Debug`, `Display` or trace, nor in an error, even
//! where the service repeats the token. A stored [`Operation`] holds its URL in full.
//!
//! The examples run against the lab, an ARM with one AKS cluster on this machine.
//!
//! # Reading a cluster
//!
//! ```
//! use std::sync::Arc;
//! use aks_client::{AksClient, ApiVersion, ClusterId, StaticToken};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! # let folder = tempfile::tempdir()?;
//! # let options = cluster_lab::ServerOptions { port: 0, time_scale: 1.0, token_dir: folder.path().to_owned() };
//! # let lab = cluster_lab::Server::start(cluster_lab::Lab::new(&cluster_lab::Scenario::demo(), 1), &options)?;
//! # let (endpoint, token_file) = (format!("http://{}", lab.address()), folder.path().join("azure-token"));
//! let id: ClusterId = "/subscriptions/00000000-0000-4000-8000-00000000de30/resourceGroups/rg-demo\
//!     /providers/Microsoft.ContainerService/managedClusters/demo".parse()?;
//! let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
//! let token = StaticToken::new(std::fs::read_to_string(token_file)?.into())?;
//! let client = AksClient::new(http, endpoint.parse()?, ApiVersion::default(), Arc::new(token));
//!
//! let cluster = client.cluster(&id).await?;
//! assert_eq!(cluster.current_kubernetes_version(), Some("1.34.2"));
//! assert!(cluster.provisioning_state().is_terminal());
//!
//! let pools = client.pools(&id).await?;
//! assert_eq!(pools.iter().map(|pool| (pool.name(), pool.count())).collect::<Vec<_>>(),
//!     [("system", Some(3)), ("user", Some(6))]);
//! assert!(client.upgrade_profile(&id).await?.iter().any(|offer| offer.version == "1.35.1"));
//! # Ok(())
//! # }
//! ```
//!
//! # Making a pool like another one, and following the operation
//!
//! A mirror is a copy of what a read showed, without what cannot be sent. What was begun is stored before it is waited
//! for, so that a later process can go on with it.
//!
//! ```
//! use aks_client::{Error, MirrorSpec, Operation, OperationProgress, OperationStatus, mirror_body};
//! use futures::StreamExt;
//! # use std::{sync::Arc, time::Duration};
//! # use aks_client::{AksClient, ApiVersion, ClusterId, Pause, StaticToken};
//! # use futures::future::BoxFuture;
//! # /// The lab's time runs fast, and so does this client's.
//! # struct Fast;
//! # impl Pause for Fast {
//! #     fn pause(&self, duration: Duration) -> BoxFuture<'_, ()> { Box::pin(tokio::time::sleep(duration / 600)) }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! # let folder = tempfile::tempdir()?;
//! # let options = cluster_lab::ServerOptions { port: 0, time_scale: 600.0, token_dir: folder.path().to_owned() };
//! # let lab = cluster_lab::Server::start(cluster_lab::Lab::new(&cluster_lab::Scenario::demo(), 1), &options)?;
//! # let (endpoint, token_file) = (format!("http://{}", lab.address()), folder.path().join("azure-token"));
//! # let id: ClusterId = "/subscriptions/00000000-0000-4000-8000-00000000de30/resourceGroups/rg-demo\
//! #     /providers/Microsoft.ContainerService/managedClusters/demo".parse()?;
//! # let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
//! # let token = Arc::new(StaticToken::new(std::fs::read_to_string(token_file)?.into())?);
//! # let client = AksClient::new(http, endpoint.parse()?, ApiVersion::default(), token).with_pause(Arc::new(Fast));
//! let pool = client.pool(&id, "user").await?.ok_or("there is no pool `user`")?;
//! let spec = MirrorSpec { count: 1, version: "1.34.2".into(), ..MirrorSpec::default() };
//! let begun = match client.begin_create_pool(&id, "buffer", &mirror_body(&pool, &spec)).await {
//!     Ok(operation) => operation,
//!     Err(error) if !error.outcome_known() => return Err(format!("look for the pool first: {error}").into()),
//!     Err(error @ Error::Conflict { .. }) => return Err(format!("try again later: {error}").into()),
//!     Err(error) => return Err(error.into()),
//! };
//! let stored = serde_json::to_string(&begun)?;
//!
//! let operation: Operation = serde_json::from_str(&stored)?;
//! let mut progress = client.follow(&operation);
//! let mut last = None;
//! while let Some(item) = progress.next().await {
//!     match item {
//!         OperationProgress::Status(status) => last = Some(status),
//!         OperationProgress::Interrupted { error, failures } => println!("not readable, {failures} times: {error}"),
//!         OperationProgress::Lost { error } => return Err(error.into()),
//!         other => println!("{other:?}"),
//!     }
//! }
//! assert_eq!(last, Some(OperationStatus::Succeeded));
//! let buffer = client.pool(&id, "buffer").await?.ok_or("it is gone again")?;
//! assert_eq!((buffer.vm_size(), buffer.count()), (pool.vm_size(), Some(1)));
//! # Ok(())
//! # }
//! ```
//!
//! # Whether four more nodes would fit
//!
//! Quota, size and addresses are read once; what they mean for more nodes is told by pure functions, which serve a rehearsal
//! as well.
//!
//! ```
//! use aks_client::{NetworkMode, ResourceId, quota_shortages};
//! # use std::sync::Arc;
//! # use aks_client::{AksClient, ApiVersion, ClusterId, StaticToken};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! # let folder = tempfile::tempdir()?;
//! # let options = cluster_lab::ServerOptions { port: 0, time_scale: 1.0, token_dir: folder.path().to_owned() };
//! # let mut scenario = cluster_lab::Scenario::demo();
//! # scenario.limits.vcpus = 80;
//! # let lab = cluster_lab::Server::start(cluster_lab::Lab::new(&scenario, 1), &options)?;
//! # let (endpoint, token_file) = (format!("http://{}", lab.address()), folder.path().join("azure-token"));
//! # let id: ClusterId = "/subscriptions/00000000-0000-4000-8000-00000000de30/resourceGroups/rg-demo\
//! #     /providers/Microsoft.ContainerService/managedClusters/demo".parse()?;
//! # let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
//! # let token = Arc::new(StaticToken::new(std::fs::read_to_string(token_file)?.into())?);
//! # let client = AksClient::new(http, endpoint.parse()?, ApiVersion::default(), token);
//! let cluster = client.cluster(&id).await?;
//! let location = cluster.location().ok_or("a cluster is somewhere")?;
//! let pool = client.pool(&id, "user").await?.ok_or("there is no pool `user`")?;
//!
//! let sizes = client.vm_sizes(id.subscription(), location).await?;
//! let size = sizes.iter().find(|size| Some(size.name()) == pool.vm_size()).ok_or("a size of another region")?;
//! assert_eq!((size.vcpus(), size.restriction(location, &["1", "2"])), (Some(8), None));
//! let usages = client.compute_usages(id.subscription(), location).await?;
//! let short = quota_shortages(&usages, size, 4, false).ok_or("the quota is not known")?;
//! assert_eq!(short[0].to_string(), "Total Regional vCPUs: 32 needed, 20 left");
//!
//! let group = cluster.node_resource_group().ok_or("nodes are in a group")?;
//! let network: ResourceId = format!("/subscriptions/{}/resourceGroups/{group}/providers\
//!     /Microsoft.Network/virtualNetworks/aks-vnet", id.subscription()).parse()?;
//! let subnet = client.subnet(&format!("{network}/subnets/aks-subnet").parse()?).await?.ok_or("it is gone")?;
//! let taken = client.subnet_usages(&network).await?;
//! let need = NetworkMode::of(&cluster, &pool).ok_or("an unknown network")?.addresses_needed(4);
//! assert!(subnet.free(taken.first()) >= Some(need.node_subnet));
//! # Ok(())
//! # }
//! ```
//!
//! # The machines of a pool, and when the service acts by itself
//!
//! ```
//! use aks_client::{MaintenancePurpose, MaintenanceSchedule};
//! # use std::sync::Arc;
//! # use aks_client::{AksClient, ApiVersion, ClusterId, StaticToken};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! # let folder = tempfile::tempdir()?;
//! # let options = cluster_lab::ServerOptions { port: 0, time_scale: 1.0, token_dir: folder.path().to_owned() };
//! # let mut scenario = cluster_lab::Scenario::demo();
//! # scenario.limits.maintenance.insert("aksManagedNodeOSUpgradeSchedule".into(), serde_json::json!({
//! #     "maintenanceWindow": { "durationHours": 4, "startTime": "22:00", "utcOffset": "+01:00",
//! #         "schedule": { "weekly": { "intervalWeeks": 1, "dayOfWeek": "Sunday" } } } }));
//! # let lab = cluster_lab::Server::start(cluster_lab::Lab::new(&scenario, 1), &options)?;
//! # let (endpoint, token_file) = (format!("http://{}", lab.address()), folder.path().join("azure-token"));
//! # let id: ClusterId = "/subscriptions/00000000-0000-4000-8000-00000000de30/resourceGroups/rg-demo\
//! #     /providers/Microsoft.ContainerService/managedClusters/demo".parse()?;
//! # let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
//! # let token = Arc::new(StaticToken::new(std::fs::read_to_string(token_file)?.into())?);
//! # let client = AksClient::new(http, endpoint.parse()?, ApiVersion::default(), token);
//! let machines = client.machines(&id, "user").await?;
//! assert_eq!(machines.len(), 6);
//! assert!(machines.iter().all(|machine| machine.name().starts_with("aks-user-") && machine.vm_id().is_some()));
//!
//! let found = client.maintenance_configurations(&id).await?;
//! assert_eq!(found[0].purpose(), MaintenancePurpose::NodeOs);
//! let window = found[0].window().ok_or("a schedule has a window")?;
//! assert!(matches!(window.schedule, MaintenanceSchedule::Weekly { interval_weeks: 1, .. }));
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
pub use id::{ApiVersion, Cloud, ClusterId, Endpoint, ParseError, SubscriptionId};
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

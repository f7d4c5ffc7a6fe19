//! Typed client for the parts of the Rancher API an upgrade needs: clusters, tokens, settings, and the Kubernetes API
//! of each cluster behind the server.
//!
//! It knows HTTP and nothing else. The HTTP client is handed in, so that TLS, proxies and timeouts are decided in one
//! place; no file, variable or kubeconfig is ever read. It repeats nothing on its own, except once after a 401 when
//! the [`TokenSource`] has another token by then.
//!
//! The examples run against the lab, a Rancher with one AKS cluster on this machine.
//!
//! # Reading a cluster
//!
//! ```
//! use std::sync::Arc;
//! use rancher_client::{BearerToken, RancherClient, RancherUrl, StaticToken};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! # let folder = tempfile::tempdir()?;
//! # let options = cluster_lab::ServerOptions { port: 0, time_scale: 1.0, token_dir: folder.path().to_owned() };
//! # let lab = cluster_lab::Server::start(cluster_lab::Lab::new(&cluster_lab::Scenario::demo(), 1), &options)?;
//! # let (address, token_file) = (format!("http://{}", lab.address()), folder.path().join("rancher-token"));
//! let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
//! let token = BearerToken::parse(&std::fs::read_to_string(token_file)?)?;
//! let rancher = RancherClient::new(http, RancherUrl::parse(&address)?, Arc::new(StaticToken::new(token)));
//!
//! let cluster = rancher.cluster_by_name("demo").await?;
//! assert_eq!((cluster.provider(), cluster.state()), (Some("aks"), "active"));
//! assert_eq!(rancher.cluster(cluster.id()).await?.name(), "demo");
//! # Ok(())
//! # }
//! ```
//!
//! A name may stand for several clusters, an id never does; all that Rancher says of a cluster stays in
//! [`Cluster::raw`], whatever this crate knows of it.
//!
//! # When something fails
//!
//! [`Error`] and [`ProxyFailure`] are named after what was met. Each answers two questions: `is_retryable()`, may the
//! same succeed later; and `outcome_known()`, is it certain what the server did. A request that changes something is
//! repeated only where both hold; else look first.
//!
//! # Tokens
//!
//! [`BearerToken`] checks a token's shape before anything is sent, and [`TokenSource`] says where tokens come from. What
//! is worth knowing before a long run:
//!
//! ```
//! use std::time::Duration;
//! use rancher_client::{TokenReach, TokenReading};
//! # use std::sync::Arc;
//! # use rancher_client::{BearerToken, RancherClient, RancherUrl, StaticToken};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! # let folder = tempfile::tempdir()?;
//! # let options = cluster_lab::ServerOptions { port: 0, time_scale: 1.0, token_dir: folder.path().to_owned() };
//! # let lab = cluster_lab::Server::start(cluster_lab::Lab::new(&cluster_lab::Scenario::demo(), 1), &options)?;
//! # let (address, token_file) = (format!("http://{}", lab.address()), folder.path().join("rancher-token"));
//! # let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
//! # let token = BearerToken::parse(&std::fs::read_to_string(token_file)?)?;
//! # let rancher = RancherClient::new(http, RancherUrl::parse(&address)?, Arc::new(StaticToken::new(token)));
//! // How long it still works, by Rancher's clock.
//! let TokenReading::Known(token) = rancher.token_info().await? else { return Err("not described".into()) };
//! let now = token.server_time.unwrap_or_default();
//! assert!(token.remaining(now).covers(Duration::from_secs(8 * 3600)));
//!
//! // How far it reaches. A token that is limited to one cluster gets 401 on every list, as one that is no good.
//! let id = rancher.cluster_by_name("demo").await?.id().clone();
//! assert_eq!(rancher.token_reach(&id).await?, TokenReach::Unlimited);
//! # Ok(())
//! # }
//! ```
//!
//! # The way to the Kubernetes API
//!
//! [`RancherClient::proxy`] sends requests of any kind and adds the address and the token, no more. After a pause the
//! first request of a user may be refused for some seconds, so [`warm_up`](KubernetesProxy::warm_up) comes first; a watch
//! whose connection died says nothing, so [`idle_deadline`] listens for silence.
//!
//! ```
//! use std::time::Duration;
//! use futures::StreamExt;
//! use rancher_client::{TokioPause, idle_deadline};
//! # use std::sync::Arc;
//! # use rancher_client::{BearerToken, RancherClient, RancherUrl, StaticToken};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! # let folder = tempfile::tempdir()?;
//! # let options = cluster_lab::ServerOptions { port: 0, time_scale: 1.0, token_dir: folder.path().to_owned() };
//! # let lab = cluster_lab::Server::start(cluster_lab::Lab::new(&cluster_lab::Scenario::demo(), 1), &options)?;
//! # let (address, token_file) = (format!("http://{}", lab.address()), folder.path().join("rancher-token"));
//! # let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
//! # let token = BearerToken::parse(&std::fs::read_to_string(token_file)?)?;
//! # let rancher = RancherClient::new(http, RancherUrl::parse(&address)?, Arc::new(StaticToken::new(token)));
//! # let id = rancher.cluster_by_name("demo").await?.id().clone();
//! let kubernetes = rancher.proxy(&id);
//! kubernetes.warm_up(&TokioPause, Duration::from_secs(120)).await?;
//!
//! let nodes = http::Request::get("/api/v1/nodes?limit=500").body(Vec::new())?;
//! let response = kubernetes.send(nodes).await?;
//! if !response.status().is_success() {
//!     return Err(kubernetes.failure(response).await.into());
//! }
//! let nodes: serde_json::Value = response.json().await?;
//! assert_eq!(nodes["items"].as_array().map(Vec::len), Some(9));
//!
//! // Without a version a watch begins with what there is, one event a line.
//! let watch = http::Request::get("/api/v1/nodes?watch=true&timeoutSeconds=225").body(Vec::new())?;
//! let response = kubernetes.send(watch).await?;
//! let mut pieces = Box::pin(idle_deadline(response, Duration::from_secs(60), Arc::new(TokioPause)));
//! let first = pieces.next().await.ok_or("the watch ended")??;
//! assert!(first.starts_with(br#"{"type":"ADDED""#) || first.starts_with(br#"{"object":"#));
//! # Ok(())
//! # }
//! ```
//!
//! # Who writes to Azure
//!
//! [`ownership`] says whether Rancher itself changes the AKS cluster, and whether it is at rest; [`lock_step`] waits
//! after a change in Azure until Rancher has adopted it.
//!
//! ```
//! use rancher_client::lock_step::LockStep;
//! use rancher_client::ownership::{AzureState, Ownership, guard};
//! use rancher_client::TokioPause;
//! # use std::sync::Arc;
//! # use rancher_client::{BearerToken, RancherClient, RancherUrl, StaticToken};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! # let folder = tempfile::tempdir()?;
//! # let options = cluster_lab::ServerOptions { port: 0, time_scale: 1.0, token_dir: folder.path().to_owned() };
//! # let lab = cluster_lab::Server::start(cluster_lab::Lab::new(&cluster_lab::Scenario::demo(), 1), &options)?;
//! # let (address, token_file) = (format!("http://{}", lab.address()), folder.path().join("rancher-token"));
//! # let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
//! # let token = BearerToken::parse(&std::fs::read_to_string(token_file)?)?;
//! # let rancher = RancherClient::new(http, RancherUrl::parse(&address)?, Arc::new(StaticToken::new(token)));
//! let cluster = rancher.cluster_by_name("demo").await?;
//! let refresh = rancher.aks_refresh().await?;
//! let now = cluster.server_time().unwrap_or_default();
//!
//! // Before a write to Azure: what Azure has now, and whether Rancher wants the same and is at rest.
//! let azure = AzureState { version: Some("1.34.2".into()), pools: Vec::new() };
//! let owner = guard(&cluster, &azure, now, refresh).map_err(|reasons| reasons[0].to_string())?;
//! assert_eq!(owner, Ownership::Generic, "an imported cluster is nobody's but Azure's");
//!
//! // After it: until Rancher shows what Azure shows. Of a cluster that Rancher does not manage that is at once.
//! let wait = LockStep::new(azure, now).refresh(refresh);
//! let adopted = wait.wait(&rancher.reader(cluster.id()), &TokioPause, |progress| println!("{progress}")).await?;
//! assert!(adopted.waited.is_zero());
//! # Ok(())
//! # }
//! ```
//!
//! # Certificates
//!
//! The HTTP client that is handed in decides whom to trust. [`ca`] fetches a private certificate authority that was
//! pinned by its checksum.
//!
//! # Namespaces
//!
//! [`projects`] says which namespaces Rancher takes for the system's.

mod answer;
mod azure;
pub mod ca;
mod client;
mod cluster;
mod clusters;
mod collection;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod id;
pub mod lock_step;
pub mod ownership;
mod pause;
pub mod projects;
mod proxy;
mod settings;
#[cfg(test)]
mod testing;
mod text;
mod token;
mod token_info;
mod url;
mod user;

pub use crate::azure::{CachedNode, OperatorState};
pub use crate::client::{RancherClient, USER_AGENT_TEXT};
pub use crate::cluster::{CaCertError, Cluster, Condition, ConditionStatus, Connection, Transitioning};
pub use crate::clusters::TokenReach;
pub use crate::error::{DecodeError, Error};
pub use crate::id::{ClusterIdError, RancherClusterId};
pub use crate::pause::{Pause, TokioPause};
pub use crate::proxy::{
    BodyError, KubeStatus, KubernetesProxy, KubernetesVersion, ProxyError, ProxyFailure, RancherTrouble,
    StatusCause, WarmUp, idle_deadline,
};
pub use crate::settings::{ServerVersion, Setting};
pub use crate::token::{
    BearerToken, StaticToken, TokenFormatError, TokenKind, TokenSource, TokenSourceError,
};
pub use crate::token_info::{Remaining, TokenInfo, TokenReading, Unreadable};
pub use crate::url::{RancherUrl, UrlError};
pub use crate::user::User;

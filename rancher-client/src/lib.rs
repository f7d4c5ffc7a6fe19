//! Typed client for the parts of the Rancher API an upgrade needs: clusters, tokens, settings, and the Kubernetes API
//! of each cluster behind the server.
//!
//! It knows HTTP and nothing else. The HTTP client is handed in, so that TLS, proxies and timeouts are decided in one
//! place; no file, variable or kubeconfig is ever read. It repeats nothing on its own, except once after a 401 when
//! the [`TokenSource`] has another token by then.
//!
//! # Reading a cluster
//!
//! ```
//! use std::sync::Arc;
//! use rancher_client::{BearerToken, RancherClient, RancherUrl, StaticToken};
//! # use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # rustls::crypto::ring::default_provider().install_default().unwrap();
//! # let server = MockServer::start().await;
//! # let list = r#"{"data":[{"id":"c-x7k2p","name":"shop-acc","driver":"imported","provider":"aks"}]}"#;
//! # Mock::given(path("/v3/clusters"))
//! #     .respond_with(ResponseTemplate::new(200).set_body_raw(list, "application/json")).mount(&server).await;
//! # Mock::given(path("/k8s/clusters/c-x7k2p/version"))
//! #     .respond_with(ResponseTemplate::new(200).set_body_string("{}")).mount(&server).await;
//! # let address = server.uri();
//! let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
//! let token = BearerToken::parse("token-7x2kp:hunter2")?;
//! let rancher = RancherClient::new(http, RancherUrl::parse(&address)?, Arc::new(StaticToken::new(token)));
//!
//! let cluster = rancher.cluster_by_name("shop-acc").await?;
//! assert_eq!(cluster.id().as_str(), "c-x7k2p");
//!
//! let kubernetes = rancher.proxy(cluster.id());
//! let response = kubernetes.send(http::Request::get("/version").body(Vec::new())?).await?;
//! assert!(response.status().is_success());
//! # Ok(())
//! # }
//! ```
//!
//! # When something fails
//!
//! [`Error`] and [`ProxyFailure`] are named after what was met. Each answers two questions: `is_retryable()`, may the
//! same succeed later; and `outcome_known()`, is it certain what the server did. A request that changes something is
//! repeated only where both hold; else look first.
//!
//! # Tokens
//!
//! [`BearerToken`] checks a token's shape before anything is sent, [`TokenSource`] says where tokens come from, and
//! [`RancherClient::token_info`] how long the one in use still works ([`TokenInfo::remaining`]). A token that is limited
//! to one cluster gets 401 on every list; [`RancherClient::token_reach`] tells it from one that is no good.
//!
//! # The way to the Kubernetes API
//!
//! [`RancherClient::proxy`] sends requests of any kind. [`KubernetesProxy::warm_up`] comes first, [`idle_deadline`]
//! notices a watch whose connection died.
//!
//! # Who writes to Azure
//!
//! [`ownership`] says whether Rancher itself changes the AKS cluster, and whether it is at rest; [`lock_step`] waits
//! after a change in Azure until Rancher has adopted it.
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

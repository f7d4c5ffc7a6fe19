//! The lab: a simulated AKS cluster with its Kubernetes, Azure and Rancher, seeded and in virtual time.
//!
//! A [`Lab`] is a handle to one [`World`]. The world acts by itself: its controllers, kubelets and Azure operations are events
//! on one queue, carried out in the order of virtual time. The same [`Scenario`] and seed tell the same story to the byte.
//!
//! ```
//! use cluster_lab::{Lab, Scenario};
//! let lab = Lab::new(&Scenario::demo(), 1);
//! let before = lab.now();
//! lab.block_on(async { lab.clock().sleep_until(before + std::time::Duration::from_secs(60)).await })?;
//! assert_eq!(lab.now().duration_since(before).as_secs(), 60);
//! # Ok::<(), cluster_lab::Stuck>(())
//! ```

mod actors;
#[cfg_attr(not(feature = "http"), expect(dead_code, reason = "some verbs are the http face's alone"))]
mod azure;
mod clock;
mod error;
mod faults;
mod forecast;
#[cfg(feature = "http")]
mod http;
mod kube;
mod lab;
mod meter;
mod ports;
#[cfg_attr(
    not(feature = "http"),
    expect(dead_code, unused_imports, reason = "its API is the http face's alone")
)]
mod rancher;
mod rehearse;
mod scenario;
mod site;
mod store;
mod timing;
mod world;

pub use actors::Actor;
pub use azure::{AzureLimits, Bucket, PodNetwork, PoolSpec, RequestLimits};
pub use error::{ApiError, Cause};
pub use faults::{Effect, Fault, Issuer, Misfit, Service, Throttling, What, When, WriteKind};
pub use forecast::{
    FailureForecast, FamilyForecast, Forecast, ServiceForecast, Spread, StageForecast, UsageForecast,
};
#[cfg(feature = "http")]
pub use http::{Server, ServerOptions};
pub use kube::{Access, Refusal};
pub use lab::{Lab, Stuck};
pub use rancher::RancherDeed;
pub use rehearse::{RehearseOptions, rehearse, rehearse_scenario};
pub use scenario::{Manifest, Scenario, Story, StoryError};
pub use site::Site;
pub use store::{
    ChangeType, Expired, Key, Kind, KindNames, KindVisitor, Logged, Scope, Store, Stored, Table, with_kind,
};
pub use timing::{Distribution, Timing, TimingChanges, TimingError, TimingModel, TimingProblem};
pub use world::World;

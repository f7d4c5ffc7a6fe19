//! Request bodies, built by pure functions from what a GET showed.
//!
//! All of them edit the JSON that was read and drop a known list of members; a property this crate has never heard of
//! is sent back as it came, because how a pool fits its workloads may depend on it.

mod control_plane;
mod pool;

pub use control_plane::control_plane_body;
pub use pool::{MirrorSpec, mirror_body, upgrade_pool_body};

/// Why no safe body can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not a resource as ARM shows it.
    #[error("not a resource with properties")]
    NotAResource,
    /// A version must be complete; an alias such as `1.35` does not upgrade.
    #[error("`{given}` is not a complete version; expected a form like 1.35.2")]
    IncompleteVersion {
        /// What was given.
        given: String,
    },
    /// The answer lists no pools. Sent without them, the service would decide what becomes of them.
    #[error("the cluster shows no agent pools")]
    NoPools,
    /// A pool shows no version. Echoed like this it would be reimaged or the request refused.
    #[error("pool `{pool}` shows no orchestratorVersion")]
    PoolWithoutVersion {
        /// The pool's name, as far as it shows one.
        pool: String,
    },
    /// With an automatic upgrade channel AKS does not upgrade the control plane alone.
    #[error(
        "the automatic upgrade channel is `{channel}`; the control plane can be upgraded alone only without one"
    )]
    AutoUpgradeChannel {
        /// The channel.
        channel: String,
    },
    /// AKS upgrades the pools of such a cluster together with the control plane.
    #[error(
        "the cluster is of the legacy kind ({sign}) whose pools are upgraded together with the control plane"
    )]
    LegacyCluster {
        /// What shows it.
        sign: String,
    },
    /// Without an eTag the write could not be fenced against another writer.
    #[error("`{resource}` shows no eTag")]
    NoEtag {
        /// The resource.
        resource: String,
    },
}

//! Is Rancher a second writer to this AKS cluster, and if so, is it at rest?
//!
//! A Rancher that holds an AKS configuration makes Azure match it whenever it reconciles: it scales back, downgrades,
//! deletes pools that it does not know and makes pools anew that are gone. So whoever changes the cluster through
//! Azure has to know first who owns what. Everything here is a pure function over what was fetched.

mod config;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::{Cluster, ConditionStatus, Transitioning};
use config::{AksConfig, differences};

/// How often Rancher reads Azure where the setting `aks-refresh` does not say otherwise.
pub const DEFAULT_AKS_REFRESH: Duration = Duration::from_secs(300);

/// Who decides about versions and node pools of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// A generic import: Rancher never touches Azure.
    Generic,
    /// Rancher has an AKS configuration that says nothing about version and pools. It becomes managed for ever after
    /// one edit in Rancher, so ask again before each write.
    Unmanaged,
    /// Rancher makes Azure match its configuration.
    Managed(Managed),
    /// The cluster is of a kind that this cannot tell for. Do not touch it.
    Refused(Refusal),
}

/// What Rancher decides about in a managed cluster. If it decides about one of the two it has to be treated as the
/// second writer, even if the other is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// The version that Rancher wants, if it wants one.
    pub kubernetes_version: Option<String>,
    /// The node pools that Rancher wants, if it wants some.
    pub pools: Option<Vec<PoolView>>,
    /// Whether the cluster was made outside Rancher. If not, deleting it in Rancher deletes it in Azure.
    pub imported: bool,
}

/// Why the owner of a cluster cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Neither a generic import nor an AKS cluster of Rancher's.
    #[error("Rancher manages the cluster with driver `{driver}`, which is neither `AKS` nor `imported`")]
    Driver {
        /// The driver; empty where Rancher names none.
        driver: String,
    },
    /// Rancher found another provider than AKS on the nodes.
    #[error("Rancher sees a cluster of provider `{provider}`, not `aks`")]
    Provider {
        /// The provider.
        provider: String,
    },
    /// The driver says AKS, and there is no AKS configuration: half of an answer, or a cluster being set up.
    #[error("Rancher says driver `AKS` but shows no AKS configuration")]
    NoConfig,
    /// The AKS configuration has another form than any Rancher known.
    #[error("Rancher's AKS configuration cannot be read at `{place}`")]
    Unreadable {
        /// Where.
        place: String,
    },
}

/// A node pool, as far as two descriptions of it are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// The pool's name.
    pub name: String,
    /// The Kubernetes version, without a leading `v`; `None` where it is not given.
    pub version: Option<String>,
    /// The number of nodes. It is not compared where a pool scales itself.
    pub count: Option<u32>,
    /// Smallest and largest number of nodes where the pool scales itself, else `None`.
    pub autoscaling: Option<(u32, u32)>,
    /// `System`, `User` or a mode of the future, as Azure writes it.
    pub mode: String,
}

/// One reason why Rancher is not at rest, or does not agree with Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutOfSync {
    /// The cluster's owner cannot be told.
    Refused(Refusal),
    /// The state is not `active`.
    State {
        /// Rancher's word for it.
        state: String,
    },
    /// Rancher is working on the cluster, or failed to.
    Transitioning {
        /// `Yes`, `Error` or `Unknown`.
        transitioning: Transitioning,
        /// Rancher's words.
        message: String,
    },
    /// A condition that has to be `True` is not, or is missing (`status` is `None`).
    Condition {
        /// The condition's type.
        kind: &'static str,
        /// Its status.
        status: Option<ConditionStatus>,
        /// Rancher's words.
        message: String,
    },
    /// Rancher could not read Azure.
    SyncError {
        /// Rancher's words.
        message: String,
    },
    /// What Rancher wants is not what it applied last, so it no longer adopts changes made in Azure.
    NotApplied {
        /// The fields that differ, such as `nodePools[0].count`.
        fields: Vec<String>,
    },
    /// Rancher has not shown Azure's state yet.
    NoUpstream,
    /// A description of the cluster has another form than any Rancher known.
    Unreadable {
        /// Where.
        place: String,
    },
    /// Rancher wants another version than the other side has.
    Version {
        /// What Rancher wants.
        wanted: String,
        /// What the other side has.
        found: Option<String>,
        /// The other side.
        other: Side,
    },
    /// Rancher wants a pool that the other side lacks: it would make it anew.
    PoolMissing {
        /// The pool.
        name: String,
        /// The other side.
        other: Side,
    },
    /// The other side has a pool that Rancher does not want: it would delete it.
    PoolUnknown {
        /// The pool.
        name: String,
        /// The other side.
        other: Side,
    },
    /// Rancher wants a pool otherwise than the other side has it.
    PoolDiffers {
        /// The pool.
        name: String,
        /// What differs, such as `count`.
        field: &'static str,
        /// The other side.
        other: Side,
    },
    /// Rancher has not read Azure anew since it last did so before the change.
    NotRefreshed {
        /// When it last did, by its own clock.
        last: Option<Timestamp>,
    },
    /// Rancher has not read Azure lately, or never (`age` is `None`).
    Stale {
        /// How long ago, in seconds; negative if it lies in the future.
        age_seconds: Option<i64>,
    },
}

/// Whose description is held against what Rancher wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Azure as Rancher saw it at its last refresh.
    Upstream,
    /// Azure as it answers now.
    Azure,
}

/// Azure's side of a cluster, as ARM answers now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureState {
    /// The version of the control plane; `None` where ARM gives none.
    pub version: Option<String>,
    /// All node pools.
    pub pools: Vec<PoolView>,
}

/// Whether a write to Azure may begin now: who owns the cluster, or every reason against it.
///
/// Ask before the first write, before each later one, and after each (see [`lock_step`](crate::lock_step)). For
/// [`Ownership::Managed`] it holds that Rancher is at rest and wants exactly what Azure has. That somebody has to agree
/// to writing behind Rancher's back is the caller's matter.
///
/// ```
/// use std::time::Duration;
/// use rancher_client::Cluster;
/// use rancher_client::ownership::{AzureState, OutOfSync, PoolView, Side, guard};
///
/// let config = serde_json::json!({"kubernetesVersion": "1.34.2", "nodePools": [
///     {"name": "user", "mode": "User", "count": 3, "orchestratorVersion": "1.34.2"}]});
/// let cluster = Cluster::from_json(serde_json::json!({
///     "id": "c-x7k2p", "driver": "AKS", "provider": "aks", "state": "active", "transitioning": "no",
///     "conditions": [{"type": "Provisioned", "status": "True"}, {"type": "Updated", "status": "True"}],
///     "aksConfig": config, "appliedSpec": {"aksConfig": config}, "aksStatus": {"upstreamSpec": config},
///     "annotations": {"clusters.management.cattle.io/ke-last-refresh": "1795500000"},
/// }))?;
/// let user = PoolView {
///     name: "user".into(), version: Some("1.34.2".into()), count: Some(3), autoscaling: None, mode: "User".into(),
/// };
/// let buffer = PoolView { name: "buffer".into(), ..user.clone() };
/// let azure = AzureState { version: Some("1.34.2".into()), pools: vec![user, buffer] };
///
/// let now = jiff::Timestamp::from_second(1_795_500_060)?;
/// let reasons = guard(&cluster, &azure, now, Duration::from_secs(300)).unwrap_err();
/// assert_eq!(reasons, [OutOfSync::PoolUnknown { name: "buffer".into(), other: Side::Azure }]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn guard(
    cluster: &Cluster,
    azure: &AzureState,
    now: Timestamp,
    refresh: Duration,
) -> Result<Ownership, Vec<OutOfSync>> {
    let ownership = classify(cluster);
    if let Ownership::Refused(refusal) = ownership {
        return Err(vec![OutOfSync::Refused(refusal)]);
    }
    let mut reasons = in_sync(cluster, now, refresh).err().unwrap_or_default();
    let azure = agrees_with_azure(cluster, azure.version.as_deref(), &azure.pools);
    reasons.extend(azure.err().unwrap_or_default());
    if reasons.is_empty() { Ok(ownership) } else { Err(reasons) }
}

/// Says who decides about versions and node pools.
///
/// ```
/// use rancher_client::Cluster;
/// use rancher_client::ownership::{Ownership, classify};
///
/// let cluster = Cluster::from_json(serde_json::json!({"id": "c-x7k2p", "driver": "imported", "provider": "aks"}))?;
/// assert_eq!(classify(&cluster), Ownership::Generic);
/// # Ok::<(), rancher_client::DecodeError>(())
/// ```
///
/// Terraform cannot be seen from here: if `rancher2_cluster` manages the pools, its next apply brings its list back.
pub fn classify(cluster: &Cluster) -> Ownership {
    match read(cluster) {
        Err(refusal) => Ownership::Refused(refusal),
        Ok(None) => Ownership::Generic,
        Ok(Some(AksConfig { kubernetes_version: None, pools: None, .. })) => Ownership::Unmanaged,
        Ok(Some(AksConfig { kubernetes_version, pools, imported })) => {
            Ownership::Managed(Managed { kubernetes_version, pools, imported })
        }
    }
}

fn read(cluster: &Cluster) -> Result<Option<AksConfig>, Refusal> {
    if let Some(provider) = cluster.provider().filter(|provider| *provider != "aks") {
        return Err(Refusal::Provider { provider: provider.to_owned() });
    }
    let driver = cluster.driver().unwrap_or_default();
    if driver != "AKS" && driver != "imported" {
        return Err(Refusal::Driver { driver: driver.to_owned() });
    }
    let Some(config) = cluster.aks_config() else {
        return if driver == "AKS" { Err(Refusal::NoConfig) } else { Ok(None) };
    };
    AksConfig::read(config)
        .map(Some)
        .map_err(|place| Refusal::Unreadable { place: below("aksConfig", &place) })
}

/// Whether a managed cluster is at rest, by Rancher's own data: active, nothing under way, everything applied, and
/// Azure read lately (at most twice `refresh` ago) and found as wanted. All reasons against it are given.
///
/// Generic and unmanaged clusters are always in sync: there is nothing that Rancher would repair. `refresh` is the
/// setting `aks-refresh` ([`DEFAULT_AKS_REFRESH`]). Whether Azure is *still* as wanted is [`agrees_with_azure`].
///
/// The age of the last refresh is measured by Rancher's own clock where the cluster carries it
/// ([`Cluster::server_time`]), so that it does not matter how wrong this machine's is; else by `now`.
pub fn in_sync(cluster: &Cluster, now: Timestamp, refresh: Duration) -> Result<(), Vec<OutOfSync>> {
    let config = match read(cluster) {
        Err(refusal) => return Err(vec![OutOfSync::Refused(refusal)]),
        Ok(None | Some(AksConfig { kubernetes_version: None, pools: None, .. })) => return Ok(()),
        Ok(Some(config)) => config,
    };
    let mut reasons = at_rest(cluster);
    let fields = differences(cluster.aks_config(), cluster.applied_aks_config());
    if !fields.is_empty() {
        reasons.push(OutOfSync::NotApplied { fields });
    }
    match cluster.upstream_spec().map(AksConfig::read) {
        None => reasons.push(OutOfSync::NoUpstream),
        Some(Err(place)) => {
            reasons.push(OutOfSync::Unreadable { place: below("aksStatus.upstreamSpec", &place) });
        }
        Some(Ok(upstream)) => {
            let pools = upstream.pools.unwrap_or_default();
            compare(&config, upstream.kubernetes_version.as_deref(), &pools, Side::Upstream, &mut reasons);
        }
    }
    reasons.extend(stale(cluster, now, refresh));
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// Whether what Rancher wants is what Azure has now: `version` of the control plane, and all `pools`. All differences
/// are given. What Rancher does not want anything about is not compared.
pub fn agrees_with_azure(
    cluster: &Cluster,
    version: Option<&str>,
    pools: &[PoolView],
) -> Result<(), Vec<OutOfSync>> {
    let mut reasons = Vec::new();
    match read(cluster) {
        Err(refusal) => reasons.push(OutOfSync::Refused(refusal)),
        Ok(None) => {}
        Ok(Some(config)) => compare(&config, version, pools, Side::Azure, &mut reasons),
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

fn at_rest(cluster: &Cluster) -> Vec<OutOfSync> {
    let mut reasons = Vec::new();
    if cluster.state() != "active" {
        reasons.push(OutOfSync::State { state: cluster.state().to_owned() });
    }
    if *cluster.transitioning() != Transitioning::No {
        let message = cluster.transitioning_message().unwrap_or_default().to_owned();
        reasons.push(OutOfSync::Transitioning { transitioning: cluster.transitioning().clone(), message });
    }
    for kind in ["Provisioned", "Updated"] {
        let condition = cluster.condition(kind);
        let status = condition.map(|condition| condition.status.clone());
        let message = condition.and_then(|condition| condition.message.clone()).unwrap_or_default();
        if status != Some(ConditionStatus::True) {
            reasons.push(OutOfSync::Condition { kind, status, message });
        } else if kind == "Updated" && message.contains("[Syncing error") {
            reasons.push(OutOfSync::SyncError { message });
        }
    }
    reasons
}

/// A refresh in the future is as little proof as an old one; clocks that differ by less than the limit do no harm.
fn stale(cluster: &Cluster, now: Timestamp, refresh: Duration) -> Option<OutOfSync> {
    let limit = refresh.saturating_mul(2).as_secs();
    let now = cluster.server_time().unwrap_or(now);
    let age_seconds = cluster.last_refresh().map(|last| now.as_second() - last.as_second());
    match age_seconds {
        Some(age) if age.unsigned_abs() <= limit => None,
        age_seconds => Some(OutOfSync::Stale { age_seconds }),
    }
}

fn compare(
    wanted: &AksConfig,
    version: Option<&str>,
    pools: &[PoolView],
    other: Side,
    reasons: &mut Vec<OutOfSync>,
) {
    if let Some(wanted) = &wanted.kubernetes_version
        && Some(wanted.as_str()) != version
    {
        let found = version.map(str::to_owned);
        reasons.push(OutOfSync::Version { wanted: wanted.clone(), found, other });
    }
    let Some(wanted) = &wanted.pools else { return };
    for pool in wanted {
        match pools.iter().find(|found| found.name == pool.name) {
            None => reasons.push(OutOfSync::PoolMissing { name: pool.name.clone(), other }),
            Some(found) => {
                let fields = pool_differences(pool, found).into_iter();
                reasons.extend(fields.map(|field| OutOfSync::PoolDiffers {
                    name: pool.name.clone(),
                    field,
                    other,
                }));
            }
        }
    }
    let unknown = pools.iter().filter(|found| wanted.iter().all(|pool| pool.name != found.name));
    reasons.extend(unknown.map(|found| OutOfSync::PoolUnknown { name: found.name.clone(), other }));
}

fn pool_differences(wanted: &PoolView, found: &PoolView) -> Vec<&'static str> {
    let scales_itself = wanted.autoscaling.is_some() && found.autoscaling.is_some();
    let differs = [
        ("orchestratorVersion", wanted.version != found.version),
        ("count", !scales_itself && wanted.count != found.count),
        ("autoscaling", wanted.autoscaling != found.autoscaling),
        ("mode", wanted.mode != found.mode),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
}

fn below(outer: &str, place: &str) -> String {
    if place == "." { outer.to_owned() } else { format!("{outer}.{place}") }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upstream => "Azure as Rancher saw it last",
            Self::Azure => "Azure",
        })
    }
}

/// One sentence without a full stop. Rancher's own words stand in it on one line.
impl fmt::Display for OutOfSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = crate::text::clean;
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::State { state } => write!(f, "the cluster is `{}` in Rancher, not `active`", clean(state)),
            Self::Transitioning { transitioning: Transitioning::Error, message } => {
                write!(f, "Rancher reports an error: {}", clean(message))
            }
            Self::Transitioning { message, .. } => write!(f, "Rancher is at work: {}", clean(message)),
            Self::Condition { kind, message, .. } => {
                write!(f, "condition {kind} does not hold in Rancher: {}", clean(message))
            }
            Self::SyncError { message } => write!(f, "Rancher cannot read Azure: {}", clean(message)),
            Self::NotApplied { fields } => {
                write!(f, "Rancher has not applied what it wants: {}", clean(&fields.join(", ")))
            }
            Self::NoUpstream => f.write_str("Rancher has not read the cluster from Azure yet"),
            Self::Unreadable { place } => write!(f, "`{place}` cannot be read"),
            Self::Version { wanted, found, other } => {
                let found = clean(found.as_deref().unwrap_or("no version"));
                write!(f, "Rancher wants version {}, {other} has {found}", clean(wanted))
            }
            Self::PoolMissing { name, other } => {
                write!(f, "Rancher wants pool `{}`, which {other} lacks; it would create it", clean(name))
            }
            Self::PoolUnknown { name, other } => {
                write!(
                    f,
                    "{other} has pool `{}`, which Rancher does not want; it would delete it",
                    clean(name)
                )
            }
            Self::PoolDiffers { name, field, other } => {
                write!(f, "Rancher wants another {field} of pool `{}` than {other} has", clean(name))
            }
            Self::NotRefreshed { .. } => f.write_str("Rancher has not read Azure since the change"),
            Self::Stale { age_seconds: None } => f.write_str("Rancher does not say when it last read Azure"),
            Self::Stale { age_seconds: Some(age) } => write!(f, "Rancher last read Azure {age} s ago"),
        }
    }
}

#[cfg(test)]
mod tests;

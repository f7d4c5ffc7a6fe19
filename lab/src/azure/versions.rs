//! Which versions there are, and which way leads from one to another.

use upgrade_core::model::{AvailableUpgrade, KubeVersion, VersionRequest};

use super::error::ArmError;
use super::wanted::unsupported;

/// How many minor releases a pool may be behind the control plane (AKS, from 1.28 on).
const MAX_SKEW: i32 = 3;

/// The versions Azure has on offer in the region, sorted.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalogue(Vec<AvailableUpgrade>);

impl Catalogue {
    pub(super) fn new(versions: impl IntoIterator<Item = AvailableUpgrade>) -> Self {
        let mut versions: Vec<_> = versions.into_iter().collect();
        versions.sort();
        // The same version as a preview and as a release is a release (`false` sorts first).
        versions.dedup_by_key(|offer| offer.version);
        Self(versions)
    }

    pub(super) fn all(&self) -> &[AvailableUpgrade] {
        &self.0
    }

    pub(super) fn has(&self, version: KubeVersion) -> bool {
        self.0.iter().any(|offer| offer.version == version)
    }

    /// What a control plane at `current` may go to: newer patches, and the next minor release.
    pub(super) fn upgrades(&self, current: KubeVersion) -> Vec<AvailableUpgrade> {
        let next = |to: KubeVersion| to > current && matches!(current.minors_until(to), Some(0 | 1));
        self.0.iter().copied().filter(|offer| next(offer.version)).collect()
    }

    /// What a new pool may have under a control plane at `current`.
    pub(super) fn for_pools(&self, current: KubeVersion) -> Vec<AvailableUpgrade> {
        let fits = |version: KubeVersion| {
            version <= current && version.minors_until(current).is_some_and(|behind| behind <= MAX_SKEW)
        };
        self.0.iter().copied().filter(|offer| fits(offer.version)).collect()
    }

    /// The full version that a pool's request means: an alias is its newest patch that the control plane allows.
    pub(super) fn resolve(
        &self,
        request: VersionRequest,
        control_plane: KubeVersion,
    ) -> Result<KubeVersion, ArmError> {
        let version = match request {
            VersionRequest::Exact(version) => version,
            VersionRequest::Minor { .. } => {
                let fits = |v: &KubeVersion| request.admits(*v) && *v <= control_plane;
                let newest = self.0.iter().map(|offer| offer.version).filter(fits).max();
                newest.ok_or_else(|| unsupported(&request.to_string()))?
            }
        };
        Ok(version)
    }

    /// May the control plane go from `from` to `to`, with pools at `pools`?
    pub(super) fn check_control_plane(
        &self,
        from: KubeVersion,
        to: KubeVersion,
        pools: &[(String, KubeVersion)],
    ) -> Result<(), ArmError> {
        if !self.has(to) && to != from {
            return Err(ArmError::aks(
                400,
                "K8sVersionNotSupported",
                format!(
                    "Managed cluster is on version {from}, which cannot go to {to}: version {to} is not supported in this region."
                ),
            ));
        }
        if to < from {
            return Err(ArmError::aks(
                400,
                "OperationNotAllowed",
                format!("Downgrading Kubernetes version {from} to {to} is not allowed."),
            ));
        }
        let offers = self.upgrades(from);
        if to != from && !offers.iter().any(|offer| offer.version == to) {
            let offers: Vec<_> = offers.iter().map(|offer| offer.version.to_string()).collect();
            return Err(ArmError::aks(
                400,
                "OperationNotAllowed",
                format!(
                    "Upgrading Kubernetes version {from} to {to} is not allowed. Available upgrades: [{}]. Please see https://aka.ms/aks-supported-k8s-ver for version details.",
                    offers.join(" ")
                ),
            ));
        }
        pools.iter().try_for_each(|(pool, version)| skew(pool, *version, to))
    }

    /// May a pool have `to`? `from` is what it has; a new pool has nothing.
    pub(super) fn check_pool(
        &self,
        pool: &str,
        from: Option<KubeVersion>,
        to: KubeVersion,
        control_plane: KubeVersion,
    ) -> Result<(), ArmError> {
        // A version that is no longer offered can stay, but not come anew.
        if from == Some(to) {
            return Ok(());
        }
        if let Some(from) = from.filter(|from| to < *from) {
            return Err(ArmError::aks(
                400,
                "AgentPoolUpgradeVersionNotAllowed",
                format!("Downgrading agent pool {pool} from {from} to {to} is not allowed."),
            ));
        }
        if to > control_plane {
            return Err(ArmError::aks(
                400,
                "NodePoolMcVersionIncompatible",
                format!(
                    "Node pool version {to} and control plane version {control_plane} are incompatible. Node pool version must not be greater than control plane's version."
                ),
            ));
        }
        if !self.has(to) {
            return Err(unsupported(&to.to_string()));
        }
        skew(pool, to, control_plane)
    }
}

fn skew(pool: &str, version: KubeVersion, control_plane: KubeVersion) -> Result<(), ArmError> {
    match version.minors_until(control_plane) {
        Some(behind) if behind <= MAX_SKEW => Ok(()),
        _ => Err(ArmError::aks(
            400,
            "NodePoolMcVersionIncompatible",
            format!(
                "Node pool {pool} version {version} and control plane version {control_plane} are incompatible. Minor version of node pool cannot be more than {MAX_SKEW} versions less than control plane's version."
            ),
        )),
    }
}

//! From ARM's clusters and pools to the core's.

use aks_client::{AgentPool, AvailableUpgrade as Offered, ManagedCluster as ArmCluster, ServiceError};
use jiff::Timestamp;
use upgrade_core::model::{
    ArmId, AvailableUpgrade, KubeVersion, Labels, ManagedCluster, OsType, Pool, PoolMode, PoolName,
    ProvisioningError, ProvisioningState, Taint, TaintEffect, UpgradeSettings,
};

use super::text::one_line;

/// Something that every cluster or pool has is missing, or is not what it has to be.
#[derive(Debug, thiserror::Error)]
#[error("{resource} cannot be read: {problem}")]
pub(super) struct Unreadable {
    resource: String,
    problem: String,
}

/// How many pools a cluster may have where it does not say (AKS: quotas and limits).
const MOST_POOLS: u32 = 100;

pub(super) fn cluster(
    cluster: &ArmCluster,
    offered: &[Offered],
    now: Timestamp,
) -> Result<ManagedCluster, Unreadable> {
    let wrong =
        |problem: String| Unreadable { resource: format!("cluster {}", cluster.id().name()), problem };
    let version = cluster.current_kubernetes_version().or(cluster.kubernetes_version());
    let version = version.ok_or_else(|| wrong("it shows no version".to_owned()))?;
    let group = cluster.node_resource_group();
    // A version that cannot be read cannot be asked for, either.
    let readable = |offer: &Offered| {
        Some(AvailableUpgrade { version: offer.version.parse().ok()?, preview: offer.preview })
    };
    let mut upgrades: Vec<AvailableUpgrade> = offered.iter().filter_map(readable).collect();
    upgrades.sort();
    Ok(ManagedCluster {
        id: ArmId::new(cluster.resource_id()).map_err(|error| wrong(error.to_string()))?,
        location: cluster.location().unwrap_or_default().to_owned(),
        version: version.parse::<KubeVersion>().map_err(|error| wrong(error.to_string()))?,
        state: ProvisioningState::parse(cluster.provisioning_state().as_str()),
        error: cluster.provisioning_error().as_ref().map(error),
        upgrades,
        auto_upgrade_channel: cluster
            .auto_upgrade_channel()
            .filter(|channel| !channel.eq_ignore_ascii_case("none"))
            .map(str::to_owned),
        node_resource_group: group
            .ok_or_else(|| wrong("it shows no node resource group".to_owned()))?
            .to_owned(),
        fqdn: cluster.fqdn().or(cluster.private_fqdn()).map(str::to_owned),
        max_pools: cluster.max_agent_pools().unwrap_or(MOST_POOLS),
        force_upgrade: cluster.force_upgrade().is_some_and(|force| force.in_effect(now)),
    })
}

pub(super) fn pool(pool: &AgentPool) -> Result<Pool, Unreadable> {
    let wrong = |problem: String| Unreadable { resource: format!("pool {}", one_line(pool.name())), problem };
    let version = pool.current_orchestrator_version().or(pool.orchestrator_version());
    let version = version.ok_or_else(|| wrong("it shows no version".to_owned()))?;
    let settings = pool.upgrade_settings();
    let mut zones: Vec<String> = pool.availability_zones().into_iter().map(str::to_owned).collect();
    zones.sort();
    let bounds = || (pool.min_count().unwrap_or(0), pool.max_count().unwrap_or(0));
    Ok(Pool {
        name: PoolName::new(pool.name()).map_err(|error| wrong(error.to_string()))?,
        mode: match pool.mode().unwrap_or_default() {
            "System" => PoolMode::System,
            "User" => PoolMode::User,
            other => PoolMode::Other(other.to_owned()),
        },
        os: match pool.os_type().unwrap_or("Linux") {
            "Linux" => OsType::Linux,
            "Windows" => OsType::Windows,
            other => OsType::Other(other.to_owned()),
        },
        version: version.parse::<KubeVersion>().map_err(|error| wrong(error.to_string()))?,
        count: pool.count().unwrap_or(0),
        autoscaling: pool.enable_auto_scaling().then(bounds),
        vm_size: pool.vm_size().unwrap_or_default().to_owned(),
        zones,
        max_pods: pool.max_pods().unwrap_or(0),
        labels: labels(pool.node_labels()),
        taints: pool.node_taints().into_iter().map(taint).collect(),
        tags: labels(pool.tags()),
        spot: pool.priority() == Some("Spot"),
        stopped: pool.power_state() == Some("Stopped"),
        scale_set: pool.kind() == Some("VirtualMachineScaleSets"),
        upgrade: UpgradeSettings { max_surge: settings.max_surge, max_unavailable: settings.max_unavailable },
        state: ProvisioningState::parse(pool.provisioning_state().as_str()),
        error: pool.provisioning_error().as_ref().map(error),
    })
}

fn labels(pairs: std::collections::BTreeMap<&str, &str>) -> Labels {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// `key=value:Effect` or `key:Effect`.
fn taint(text: &str) -> Taint {
    let (pair, effect) = text.rsplit_once(':').unwrap_or((text, ""));
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let effect = match effect {
        "NoSchedule" => TaintEffect::NoSchedule,
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        other => TaintEffect::Unknown(other.to_owned()),
    };
    Taint { key: key.to_owned(), value: value.to_owned(), effect }
}

fn error(error: &ServiceError) -> ProvisioningError {
    ProvisioningError {
        code: one_line(error.code.as_deref().unwrap_or_default()),
        message: one_line(&error.message),
    }
}

//! From ARM's clusters and pools to the core's.

use std::num::NonZeroU32;

use aks_client::{
    AgentPool, AvailableUpgrade as Offered, ClosedSpan, MaintenanceConfiguration, MaintenancePurpose,
    MaintenanceSchedule, ManagedCluster as ArmCluster, ServiceError,
};
use jiff::Timestamp;
use upgrade_core::model::{
    ArmId, AvailableUpgrade, KubeVersion, Labels, Maintenance, ManagedCluster, OsType, Pool, PoolMode,
    PoolName, ProvisioningError, ProvisioningState, ShutTime, Taint, TaintEffect, UpgradeSettings,
    UpgradeWindow, WindowDays, offset_seconds,
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
        // Read apart, and more seldom.
        maintenance: Maintenance::default(),
    })
}

/// What the maintenance configurations mean for the cluster. Whatever is not understood is named.
pub(super) fn maintenance(found: &[MaintenanceConfiguration], cluster: &ArmCluster) -> Maintenance {
    let mut all = Maintenance::default();
    for configuration in found {
        let name = one_line(configuration.name());
        if let Err(problem) = take_in(&mut all, &name, configuration, cluster) {
            all.unclear.push(format!("maintenance configuration {name}: {problem}"));
        }
    }
    all
}

fn take_in(
    all: &mut Maintenance,
    name: &str,
    configuration: &MaintenanceConfiguration,
    cluster: &ArmCluster,
) -> Result<(), &'static str> {
    let wanted = match configuration.purpose() {
        // The service's own releases are no upgrades of nodes.
        MaintenancePurpose::Default => {
            let times = configuration.raw().pointer("/properties/notAllowedTime");
            return shut(all, name, &configuration.not_allowed(), times, 0);
        }
        MaintenancePurpose::AutoUpgrade => {
            cluster.auto_upgrade_channel().is_some_and(|channel| !channel.eq_ignore_ascii_case("none"))
        }
        MaintenancePurpose::NodeOs => Maintenance::wants_node_images(cluster.node_os_channel()),
        MaintenancePurpose::Other(_) => return Err("what it is for is not known"),
    };
    let window = configuration.window().ok_or("it has no window")?;
    let offset = offset_seconds(window.utc_offset.as_deref()).ok_or("its offset is not known")?;
    if wanted {
        let (days, every) = days(&window.schedule).ok_or("its schedule is not known")?;
        all.windows.push(UpgradeWindow {
            name: name.to_owned(),
            days,
            every,
            opens: window.start_time.ok_or("it does not say when it opens")?,
            hours: window.duration_hours.ok_or("it does not say how long it stays open")?,
            offset,
            since: window.start_date,
        });
    }
    let dates = configuration.raw().pointer("/properties/maintenanceWindow/notAllowedDates");
    shut(all, name, &window.not_allowed, dates, offset)
}

/// Takes in times in which nothing is to happen; `raw` is the list they come from.
fn shut(
    all: &mut Maintenance,
    name: &str,
    spans: &[ClosedSpan],
    raw: Option<&serde_json::Value>,
    offset: i32,
) -> Result<(), &'static str> {
    let count = raw.and_then(serde_json::Value::as_array).map_or(0, Vec::len);
    let read = spans.iter().map(|span| ShutTime::parse(name, &span.start, &span.end, offset));
    let read: Option<Vec<ShutTime>> = read.collect();
    let read = read.filter(|read| read.len() == count).ok_or("a time that it does not allow is not known")?;
    all.shut.extend(read);
    Ok(())
}

/// On which days it opens, and every how many of them.
fn days(schedule: &MaintenanceSchedule) -> Option<(WindowDays, NonZeroU32)> {
    let (days, every) = match schedule {
        MaintenanceSchedule::Daily { interval_days } => (WindowDays::Daily, interval_days),
        MaintenanceSchedule::Weekly { interval_weeks, day_of_week } => {
            (WindowDays::weekly(day_of_week)?, interval_weeks)
        }
        MaintenanceSchedule::AbsoluteMonthly { interval_months, day_of_month } => {
            (WindowDays::Monthly(*day_of_month), interval_months)
        }
        MaintenanceSchedule::RelativeMonthly { interval_months, week_index, day_of_week } => {
            (WindowDays::nth_of_month(week_index, day_of_week)?, interval_months)
        }
        MaintenanceSchedule::Unknown(_) => return None,
    };
    Some((days, NonZeroU32::new(*every)?))
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

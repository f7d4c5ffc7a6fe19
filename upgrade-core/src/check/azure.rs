//! The Azure side: states, channels, pools that cannot be mirrored.

use super::{Case, finding};
use crate::finding::{Finding, Severity};
use crate::model::{Pool, PoolMode, ProvisioningState};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = cluster(case);
    for pool in &case.inventory.pools {
        findings.extend(check_pool(pool));
    }
    findings
}

fn cluster(case: &Case<'_>) -> Vec<Finding> {
    let cluster = &case.inventory.cluster;
    let name = &case.inventory.identity.name;
    let mut findings = Vec::new();
    if cluster.state != ProvisioningState::Succeeded {
        let why = cluster.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        let message = format!("its provisioning state in Azure is {}{why}", cluster.state);
        findings.push(finding(
            Severity::Blocking,
            "AZR-001",
            name,
            message,
            "wait for it to end, or repair it first",
        ));
    }
    if let Some(channel) = &cluster.auto_upgrade_channel {
        let message = format!(
            "the automatic upgrade channel is {channel}; Azure refuses control-plane-only upgrades then"
        );
        findings.push(finding(
            Severity::Blocking,
            "AZR-002",
            name,
            message,
            "set the channel to none for the upgrade",
        ));
    }
    if cluster.force_upgrade {
        let message = "forced upgrades are switched on: Azure's own drains ignore budgets";
        findings.push(finding(
            Severity::Blocking,
            "AZR-003",
            name,
            message,
            "clear upgradeSettings.overrideSettings",
        ));
    }
    findings.extend(maintenance(case));
    let pools = u32::try_from(case.inventory.pools.len()).unwrap_or(u32::MAX);
    if pools >= cluster.max_pools {
        let message = format!("has {pools} of {} pools; there is no room for a buffer", cluster.max_pools);
        findings.push(finding(
            Severity::Blocking,
            "AZR-004",
            name,
            message,
            "delete a pool that is not needed",
        ));
    }
    findings
}

/// Azure may begin an upgrade in the middle of ours. Before what is begun it is looked at again.
fn maintenance(case: &Case<'_>) -> Vec<Finding> {
    let (name, maintenance) = (&case.inventory.identity.name, &case.inventory.cluster.maintenance);
    let window = maintenance.windows.iter().map(|window| {
        finding(
            Severity::Advisory,
            "AZR-005",
            name,
            format!(
                "Azure begins upgrades by itself in the hours of {window}; the run asks when one is near"
            ),
            "run at another time, or set nodeOSUpgradeChannel to None for the night",
        )
    });
    let unclear = maintenance.unclear.iter().map(|what| {
        finding(
            Severity::Advisory,
            "AZR-006",
            name,
            format!("whether Azure begins an upgrade by itself is not known ({what}); the run asks before it begins"),
            "let the credential read the maintenance configurations, or look at them",
        )
    });
    window.chain(unclear).collect()
}

fn check_pool(pool: &Pool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut block = |code: &str, message: String, remedy: &str| {
        findings.push(finding(Severity::Blocking, code, &pool.name, message, remedy));
    };
    if let Some(run) = pool.made_by() {
        let remedy = "resume that run, or delete the pool if the run is known to be over";
        block("AZR-010", format!("is the buffer of run {run}, left over or still in use"), remedy);
    }
    if pool.stopped {
        block("AZR-011", "is stopped; Azure cannot upgrade it".into(), "start it, or delete it");
    } else if pool.state != ProvisioningState::Succeeded {
        let why = pool.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        block(
            "AZR-012",
            format!("its provisioning state is {}{why}", pool.state),
            "wait for it to end, or repair it first",
        );
    }
    if !pool.scale_set {
        block(
            "AZR-013",
            "is not made of a scale set; its nodes cannot be mirrored".into(),
            "move its workloads to another pool",
        );
    }
    if let PoolMode::Other(mode) = &pool.mode {
        block(
            "AZR-014",
            format!("has mode {mode}, which this version does not upgrade"),
            "upgrade it by hand first",
        );
    }
    if pool.autoscaling.is_some() {
        let message = "is scaled by the cluster autoscaler, which may add nodes or remove empty ones during the upgrade";
        let remedy = "switch autoscaling of this pool off for the night, or watch the run";
        findings.push(finding(Severity::Advisory, "AZR-015", &pool.name, message, remedy));
    }
    if pool.spot {
        let message = "runs on spot machines, and so will its buffer: Azure may take them back at any time";
        findings.push(finding(
            Severity::Advisory,
            "AZR-016",
            &pool.name,
            message,
            "expect moves that Drover did not start",
        ));
    }
    findings
}

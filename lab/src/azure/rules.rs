//! What a pool may be (AKS: agent pools).

use upgrade_core::model::{IntOrPercent, OsType, PoolMode, PoolName, TaintEffect};

use super::Azure;
use super::error::ArmError;
use super::pools::no_system_pool;
use super::region::ZONES;
use super::wanted::{Wanted, invalid};

/// Machines of a pool, those of an upgrade included.
pub(super) const MOST_NODES: u32 = 1000;
const MOST_TAGS: usize = 50;

/// Label prefixes that AKS keeps to itself; on spot pools it accepts its own label back.
const RESERVED_LABELS: [&str; 2] = ["kubernetes.azure.com/", "kubernetes.io/"];
const SPOT_LABEL: &str = "kubernetes.azure.com/scalesetpriority";

impl Azure {
    /// The rules on a pool's own properties.
    pub(super) fn check_rules(&self, name: &PoolName, wanted: &Wanted) -> Result<(), ArmError> {
        let text = name.as_str();
        if text == "aksmanagedap" {
            return Err(invalid(format!("The agent pool name `{text}` is reserved.")));
        }
        check_words(wanted)?;
        let windows = wanted.os == OsType::Windows;
        if windows && text.len() > 6 {
            let message = format!("The Windows agent pool name `{text}` is longer than 6 characters.");
            return Err(ArmError::aks(400, "WindowsAgentPoolNameTooLong", message));
        }
        if wanted.count > MOST_NODES {
            return Err(invalid(format!("count must be 0 to {MOST_NODES}")));
        }
        if wanted.tags.len() > MOST_TAGS {
            return Err(ArmError::arm(400, "InvalidTags", format!("more than {MOST_TAGS} tags")));
        }
        if wanted.mode == PoolMode::System {
            check_system(wanted)?;
        } else if let Some((other, _)) = self.pools.get_key_value(name)
            && self.is_last_system(other)
        {
            return Err(no_system_pool());
        }
        if wanted.settings.max_unavailable != IntOrPercent::Int(0) && wanted.mode == PoolMode::System {
            return Err(invalid("upgradeSettings.maxUnavailable is not allowed on system pools"));
        }
        let reserved = |label: &&String| {
            RESERVED_LABELS.iter().any(|prefix| label.starts_with(prefix))
                && !(wanted.spot && *label == SPOT_LABEL)
        };
        if let Some(zone) = wanted.zones.iter().find(|zone| !ZONES.contains(&zone.as_str())) {
            return Err(invalid(format!("availability zone `{zone}` is not one of {}", ZONES.join(", "))));
        }
        match wanted.labels.keys().find(reserved) {
            Some(label) => Err(invalid(format!("node label `{label}` has a reserved prefix"))),
            None => Ok(()),
        }
    }
}

/// Words that AKS has. Their case counts (since 2025, AKS release notes).
fn check_words(wanted: &Wanted) -> Result<(), ArmError> {
    match &wanted.mode {
        PoolMode::System | PoolMode::User => {}
        PoolMode::Other(gateway) if gateway == "Gateway" => {}
        PoolMode::Other(other) => {
            return Err(invalid(format!("mode `{other}` is not one of System, User, Gateway")));
        }
    }
    if let OsType::Other(other) = &wanted.os {
        return Err(invalid(format!("osType `{other}` is not one of Linux, Windows")));
    }
    let odd = wanted.taints.iter().find(|taint| matches!(taint.effect, TaintEffect::Unknown(_)));
    if let Some(taint) = odd {
        return Err(invalid(format!("the taint {} has an effect that is not known", taint.key)));
    }
    match wanted.autoscaling {
        Some((min, max)) if !(min..=max).contains(&wanted.count) => {
            Err(invalid("enableAutoScaling needs minCount <= count <= maxCount"))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_system(wanted: &Wanted) -> Result<(), ArmError> {
    if wanted.os == OsType::Windows || wanted.spot {
        return Err(invalid("a system pool must be Linux and of regular priority"));
    }
    if wanted.count == 0 {
        return Err(invalid("a system pool must have at least one node"));
    }
    let allowed = |key: &str| key == "CriticalAddonsOnly";
    match wanted.taints.iter().find(|t| !allowed(&t.key) && t.effect != TaintEffect::PreferNoSchedule) {
        None => Ok(()),
        Some(taint) => Err(ArmError::aks(
            400,
            "SystemPoolHasRestrictedTaint",
            format!("A system pool may not have the taint {}.", taint.key),
        )),
    }
}

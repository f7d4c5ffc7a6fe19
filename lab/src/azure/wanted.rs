//! The properties of a pool, read from JSON.

use serde::Deserialize;
use serde_json::{Map, Value};
use upgrade_core::model::{IntOrPercent, Labels, OsType, Pool, PoolMode, Taint, TaintEffect, VersionRequest};

use super::error::ArmError;

/// The type of pools that can be upgraded on their own.
pub(super) const SCALE_SET: &str = "VirtualMachineScaleSets";

/// What a caller wants of a pool, as far as the lab acts on it. Everything else stays in the JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) count: u32,
    pub(super) vm_size: String,
    pub(super) mode: PoolMode,
    pub(super) os: OsType,
    pub(super) version: Option<VersionRequest>,
    pub(super) max_pods: u32,
    pub(super) zones: Vec<String>,
    pub(super) labels: Labels,
    pub(super) taints: Vec<Taint>,
    pub(super) tags: Labels,
    pub(super) autoscaling: Option<(u32, u32)>,
    pub(super) spot: bool,
    pub(super) kind: String,
    pub(super) settings: Settings,
}

/// `upgradeSettings`, with AKS's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) max_surge: IntOrPercent,
    pub(super) max_unavailable: IntOrPercent,
    pub(super) drain_minutes: u32,
    pub(super) soak_minutes: u32,
}

impl Default for Settings {
    /// 10 % is the default of pools at 1.32 and later (AKS: upgrade options); the lab has no older ones.
    fn default() -> Self {
        Self {
            max_surge: IntOrPercent::Percent(10),
            max_unavailable: IntOrPercent::Int(0),
            drain_minutes: 30,
            soak_minutes: 0,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    count: Option<u32>,
    vm_size: Option<String>,
    mode: Option<String>,
    os_type: Option<String>,
    orchestrator_version: Option<String>,
    max_pods: Option<u32>,
    availability_zones: Option<Vec<String>>,
    node_labels: Option<Labels>,
    node_taints: Option<Vec<String>>,
    tags: Option<Labels>,
    enable_auto_scaling: Option<bool>,
    min_count: Option<u32>,
    max_count: Option<u32>,
    scale_set_priority: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    upgrade_settings: Option<WireSettings>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSettings {
    max_surge: Option<String>,
    max_unavailable: Option<String>,
    drain_timeout_in_minutes: Option<u32>,
    node_soak_duration_in_minutes: Option<u32>,
    undrainable_node_behavior: Option<String>,
}

pub(super) fn invalid(message: impl Into<String>) -> ArmError {
    ArmError::aks(400, "InvalidParameter", message)
}

impl Wanted {
    /// What a pool of the core's model wants. Nothing is refused: the pool is there already, whatever it is like.
    pub(super) fn of(pool: &Pool) -> Self {
        let amount = |given: &Option<String>| given.as_ref().and_then(|text| text.parse().ok());
        let defaults = Settings::default();
        Self {
            count: pool.count,
            vm_size: pool.vm_size.clone(),
            mode: pool.mode.clone(),
            os: pool.os.clone(),
            version: Some(VersionRequest::Exact(pool.version)),
            max_pods: pool.max_pods,
            zones: pool.zones.clone(),
            labels: pool.labels.clone(),
            taints: pool.taints.clone(),
            tags: pool.tags.clone(),
            autoscaling: pool.autoscaling,
            spot: pool.spot,
            kind: if pool.scale_set { SCALE_SET } else { "AvailabilitySet" }.to_owned(),
            settings: Settings {
                max_surge: amount(&pool.upgrade.max_surge).unwrap_or(defaults.max_surge),
                max_unavailable: amount(&pool.upgrade.max_unavailable).unwrap_or(defaults.max_unavailable),
                ..defaults
            },
        }
    }

    /// Reads the properties of a pool. Words that AKS does not have are kept; whether they may be written is a matter of
    /// the rules.
    pub(super) fn read(properties: &Map<String, Value>) -> Result<Self, ArmError> {
        let wire: Wire = serde_json::from_value(Value::Object(properties.clone())).map_err(|error| {
            ArmError::aks(400, "BadRequest", format!("the agent pool's properties cannot be read: {error}"))
        })?;
        let mode = match wire.mode.as_deref() {
            None | Some("User") => PoolMode::User,
            Some("System") => PoolMode::System,
            Some(other) => PoolMode::Other(other.to_owned()),
        };
        let os = match wire.os_type.as_deref() {
            None | Some("Linux") => OsType::Linux,
            Some("Windows") => OsType::Windows,
            Some(other) => OsType::Other(other.to_owned()),
        };
        let version = match wire.orchestrator_version.as_deref() {
            None | Some("") => None,
            Some(text) => Some(text.parse().map_err(|_| unsupported(text))?),
        };
        let count = wire.count.unwrap_or(1);
        let autoscaling = match (wire.enable_auto_scaling.unwrap_or(false), wire.min_count, wire.max_count) {
            (false, None, None) => None,
            (false, ..) => return Err(invalid("minCount and maxCount need enableAutoScaling")),
            (true, Some(min), Some(max)) => Some((min, max)),
            (true, ..) => return Err(invalid("enableAutoScaling needs minCount and maxCount")),
        };
        let taints = wire.node_taints.unwrap_or_default();
        Ok(Self {
            count,
            vm_size: wire.vm_size.ok_or_else(|| invalid("vmSize is missing"))?,
            mode,
            os,
            version,
            max_pods: wire.max_pods.unwrap_or(110),
            zones: wire.availability_zones.unwrap_or_default(),
            labels: wire.node_labels.unwrap_or_default(),
            taints: taints.iter().map(|text| taint(text)).collect::<Result<_, _>>()?,
            tags: wire.tags.unwrap_or_default(),
            autoscaling,
            spot: wire.scale_set_priority.as_deref() == Some("Spot"),
            kind: wire.kind.unwrap_or_else(|| SCALE_SET.to_owned()),
            settings: Settings::read(&wire.upgrade_settings.unwrap_or_default())?,
        })
    }
}

pub(super) fn unsupported(text: &str) -> ArmError {
    ArmError::aks(
        400,
        "AgentPoolK8sVersionNotSupported",
        format!(
            "Version {text} is not supported in this region. Please use availableAgentPoolVersions to get the supported versions."
        ),
    )
}

impl Settings {
    fn read(wire: &WireSettings) -> Result<Self, ArmError> {
        let amount = |name: &str, given: &Option<String>, default: IntOrPercent| match given {
            None => Ok(default),
            Some(text) => text.parse().map_err(|error| invalid(format!("upgradeSettings.{name}: {error}"))),
        };
        let defaults = Self::default();
        let settings = Self {
            max_surge: amount("maxSurge", &wire.max_surge, defaults.max_surge)?,
            max_unavailable: amount("maxUnavailable", &wire.max_unavailable, defaults.max_unavailable)?,
            drain_minutes: wire.drain_timeout_in_minutes.unwrap_or(defaults.drain_minutes),
            soak_minutes: wire.node_soak_duration_in_minutes.unwrap_or(defaults.soak_minutes),
        };
        if !(5..=1440).contains(&settings.drain_minutes) {
            return Err(invalid("upgradeSettings.drainTimeoutInMinutes must be 5 to 1440"));
        }
        if settings.soak_minutes > 30 {
            return Err(invalid("upgradeSettings.nodeSoakDurationInMinutes must be 0 to 30"));
        }
        match wire.undrainable_node_behavior.as_deref() {
            None | Some("Schedule") => Ok(settings),
            Some("Cordon") => Err(ArmError::not_modelled("undrainableNodeBehavior Cordon")),
            Some(other) => {
                Err(invalid(format!("undrainableNodeBehavior `{other}` is not one of Schedule, Cordon")))
            }
        }
    }
}

/// `key=value:Effect` or `key:Effect`.
fn taint(text: &str) -> Result<Taint, ArmError> {
    let bad = || invalid(format!("`{text}` is not a taint of the form key=value:Effect"));
    let (pair, effect) = text.rsplit_once(':').ok_or_else(bad)?;
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let effect = match effect {
        "NoSchedule" => TaintEffect::NoSchedule,
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        other => TaintEffect::Unknown(other.to_owned()),
    };
    if key.is_empty() {
        return Err(bad());
    }
    Ok(Taint { key: key.to_owned(), value: value.to_owned(), effect })
}

/// The text of a taint, as ARM writes it.
pub(super) fn taint_text(taint: &Taint) -> String {
    let effect = match &taint.effect {
        TaintEffect::NoSchedule => "NoSchedule",
        TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        TaintEffect::NoExecute => "NoExecute",
        TaintEffect::Unknown(word) => word,
    };
    if taint.value.is_empty() {
        format!("{}:{effect}", taint.key)
    } else {
        format!("{}={}:{effect}", taint.key, taint.value)
    }
}

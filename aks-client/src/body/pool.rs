//! The PUTs that create a pool like another one, and that upgrade a pool.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::BodyError;
use crate::id::is_full_version;
use crate::model::AgentPool;
use crate::value::remove;

/// Read-only members of a pool (`name` stands among them in the flat form inside a cluster), and `nodeImageVersion`,
/// which is writable and means a rollback.
const READ_ONLY: &[&str] = &[
    "name",
    "eTag",
    "etag",
    "currentOrchestratorVersion",
    "provisioningState",
    "status",
    "localDNSProfile.state",
    "nodeImageVersion",
];

/// Members that belong to the original alone: the snapshot it was made from, whether it is stopped, its autoscaler
/// bounds (a buffer has a fixed size), its machines' state, and taints that may not appear in a pool-level request.
const ORIGINAL_ONLY: &[&str] = &[
    "creationData",
    "powerState",
    "minCount",
    "maxCount",
    "virtualMachineNodesStatus",
    "nodeInitializationTaints",
];

/// Label prefixes that AKS keeps to itself and refuses in a request.
const RESERVED_LABELS: [&str; 2] = ["kubernetes.azure.com/", "kubernetes.io/"];

/// The one reserved label AKS shows on a spot pool and accepts back.
const SPOT_LABEL: &str = "kubernetes.azure.com/scalesetpriority";

/// What a mirror has of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirrorSpec {
    /// How many nodes. Not applied to a pool of type `VirtualMachines`, whose profile is copied with its sizes.
    pub count: u32,
    /// The complete version, `1.35.2`; not above the control plane's.
    pub version: String,
    /// Tags added to the original's; on the same key these win.
    pub tags: BTreeMap<String, String>,
    /// Taints added to the original's, each `key=value:Effect`.
    pub extra_taints: Vec<String>,
}

/// The body that creates a pool like `pool`.
///
/// A copy by default: only what must not or cannot be sent is dropped (read-only members, the node image, the source
/// snapshot, power state, autoscaler bounds, reserved labels), and the autoscaler is off so that the size is exact. Zones,
/// subnets, labels, taints, priority, kubelet and OS settings, and properties unknown to this crate stay as they are.
///
/// ```
/// use aks_client::{AgentPool, MirrorSpec, mirror_body};
/// use serde_json::json;
///
/// let pool = AgentPool::from_value(json!({"name": "user1", "properties": {"vmSize": "Standard_D4s_v5", "count": 6,
///     "enableAutoScaling": true, "minCount": 3, "maxCount": 9, "orchestratorVersion": "1.34.6"}}))?;
/// let spec = MirrorSpec { count: 4, version: "1.35.2".into(), ..MirrorSpec::default() };
/// assert_eq!(mirror_body(&pool, &spec), json!({"properties": {"vmSize": "Standard_D4s_v5", "count": 4,
///     "enableAutoScaling": false, "orchestratorVersion": "1.35.2"}}));
/// # Ok::<(), aks_client::ShapeError>(())
/// ```
pub fn mirror_body(pool: &AgentPool, spec: &MirrorSpec) -> Value {
    let mut properties = copied(pool, &[READ_ONLY, ORIGINAL_ONLY]);
    if pool.kind() == Some("VirtualMachines") {
        // These pools are sized by `virtualMachinesProfile`; the fields of scale sets are not theirs to send.
        for foreign in ["count", "vmSize", "enableAutoScaling"] {
            properties.remove(foreign);
        }
    } else {
        properties.insert("count".to_owned(), spec.count.into());
        properties.insert("enableAutoScaling".to_owned(), false.into());
    }
    properties.insert("orchestratorVersion".to_owned(), spec.version.as_str().into());
    drop_reserved_labels(&mut properties, pool.priority() == Some("Spot"));
    add_tags(&mut properties, &spec.tags);
    add_taints(&mut properties, &spec.extra_taints);
    json!({ "properties": properties })
}

/// The body that upgrades `pool` in place to `version`: everything as read, the version set, the source snapshot and the
/// node image dropped so that neither pins the old one.
pub fn upgrade_pool_body(pool: &AgentPool, version: &str) -> Result<Value, BodyError> {
    if !is_full_version(version) {
        return Err(BodyError::IncompleteVersion { given: version.to_owned() });
    }
    let mut properties = copied(pool, &[READ_ONLY, &["creationData"]]);
    properties.insert("orchestratorVersion".to_owned(), version.into());
    Ok(json!({ "properties": properties }))
}

fn copied(pool: &AgentPool, dropped: &[&[&str]]) -> Map<String, Value> {
    let mut properties = pool.properties().clone();
    for path in dropped.iter().copied().flatten() {
        remove(&mut properties, path);
    }
    match properties {
        Value::Object(properties) => properties,
        _ => Map::new(),
    }
}

fn drop_reserved_labels(properties: &mut Map<String, Value>, is_spot: bool) {
    if let Some(Value::Object(labels)) = properties.get_mut("nodeLabels") {
        labels.retain(|label, _| {
            (is_spot && label == SPOT_LABEL)
                || !RESERVED_LABELS.iter().any(|prefix| label.starts_with(prefix))
        });
    }
}

fn add_tags(properties: &mut Map<String, Value>, tags: &BTreeMap<String, String>) {
    if tags.is_empty() {
        return;
    }
    let present = properties.entry("tags").or_insert_with(|| json!({}));
    if !present.is_object() {
        *present = json!({});
    }
    if let Value::Object(present) = present {
        present.extend(tags.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
    }
}

fn add_taints(properties: &mut Map<String, Value>, taints: &[String]) {
    if taints.is_empty() {
        return;
    }
    let present = properties.entry("nodeTaints").or_insert_with(|| json!([]));
    if !present.is_array() {
        *present = json!([]);
    }
    if let Value::Array(present) = present {
        for taint in taints {
            if !present.iter().any(|have| have == taint.as_str()) {
                present.push(taint.as_str().into());
            }
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;

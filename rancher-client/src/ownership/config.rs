//! Reading and comparing AKS configurations.

use serde::Deserialize;
use serde_json::Value;

use super::PoolView;

/// What matters here of an `aksConfig` or an `upstreamSpec`; both have the same form.
pub(super) struct AksConfig {
    pub(super) kubernetes_version: Option<String>,
    pub(super) pools: Option<Vec<PoolView>>,
    pub(super) imported: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    imported: Option<bool>,
    kubernetes_version: Option<String>,
    node_pools: Option<Vec<WirePool>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePool {
    name: String,
    orchestrator_version: Option<String>,
    count: Option<u32>,
    enable_auto_scaling: Option<bool>,
    min_count: Option<u32>,
    max_count: Option<u32>,
    mode: Option<String>,
}

impl AksConfig {
    /// Reads a configuration; an error is the place whose form is unknown.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let wire: Wire = serde_path_to_error::deserialize(value).map_err(|e| e.path().to_string())?;
        let pools = wire.node_pools.map(|pools| pools.into_iter().map(PoolView::from).collect());
        Ok(Self {
            kubernetes_version: wire.kubernetes_version,
            pools,
            imported: wire.imported.unwrap_or(false),
        })
    }
}

impl From<WirePool> for PoolView {
    fn from(wire: WirePool) -> Self {
        let scales_itself = wire.enable_auto_scaling.unwrap_or(false);
        Self {
            name: wire.name,
            version: wire.orchestrator_version,
            count: wire.count,
            autoscaling: scales_itself
                .then(|| (wire.min_count.unwrap_or_default(), wire.max_count.unwrap_or_default())),
            mode: wire.mode.unwrap_or_default(),
        }
    }
}

/// The fields in which two configurations differ, sorted; `null` and absent are alike, and so is the `type` that
/// norman puts into nested objects. An empty list and none at all are not alike: the one wants no pools, the other
/// wants nothing.
pub(super) fn differences(left: Option<&Value>, right: Option<&Value>) -> Vec<String> {
    let mut found = Vec::new();
    differ(left.unwrap_or(&Value::Null), right.unwrap_or(&Value::Null), "", &mut found);
    found.sort();
    found
}

fn differ(left: &Value, right: &Value, path: &str, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> =
                a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).collect();
            keys.sort();
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                if key == "type" && is_schema_link(a) && is_schema_link(b) {
                    continue;
                }
                let separator = if path.is_empty() { "" } else { "." };
                differ(a, b, &format!("{path}{separator}{key}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(a, b, &format!("{path}[{index}]"), found);
            }
        }
        _ if left == right => {}
        _ if path.is_empty() => found.push("aksConfig".to_owned()),
        _ => found.push(path.to_owned()),
    }
}

/// norman's `"type": "/v3/schemas/..."`, or its absence. A tag or a label of the name `type` is not that.
fn is_schema_link(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.starts_with("/v3/schemas/"))
}

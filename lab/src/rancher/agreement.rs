//! Does Rancher want what Azure has, and is it at rest? What a client finds out over HTTP, found directly.

use serde_json::Value;

use super::record::{AksRecord, Config, FIELDS, pools};
use crate::world::World;

/// Every reason against it.
pub(super) fn reasons(world: &World, record: &AksRecord) -> Vec<String> {
    let mut reasons = Vec::new();
    let (state, transitioning, updated, message) = record.standing();
    if state != "active" {
        reasons.push(format!("the cluster is `{state}` in Rancher, not `active`"));
    }
    match transitioning {
        "no" => {}
        "error" => reasons.push(format!("Rancher reports an error: {message}")),
        _ => reasons.push(format!("Rancher is at work: {message}")),
    }
    if updated != "True" {
        reasons.push(format!("condition Updated does not hold in Rancher: {message}"));
    }
    let open: Vec<&str> =
        FIELDS.into_iter().filter(|f| record.config.get(*f) != record.applied.get(*f)).collect();
    if !open.is_empty() {
        reasons.push(format!("Rancher has not applied what it wants: {}", open.join(", ")));
    }
    let seen = pools(&record.upstream).collect::<Vec<_>>();
    compare(
        &record.config,
        &record.upstream["kubernetesVersion"],
        &seen,
        "Azure as Rancher saw it last",
        &mut reasons,
    );
    let age = world.now().duration_since(record.refreshed).as_secs();
    if age > 2 * i64::try_from(world.rancher.refresh().as_secs()).unwrap_or(i64::MAX) {
        reasons.push(format!("Rancher last read Azure {age} s ago"));
    }
    let shown = world.azure.cluster();
    let now = shown["properties"]["agentPoolProfiles"].as_array().into_iter().flatten().collect::<Vec<_>>();
    compare(&record.config, &shown["properties"]["kubernetesVersion"], &now, "Azure", &mut reasons);
    reasons
}

fn compare(config: &Config, version: &Value, found: &[&Value], other: &str, reasons: &mut Vec<String>) {
    let text = |value: &Value| value.as_str().unwrap_or("no version").to_owned();
    if let Some(wanted) =
        config.get("kubernetesVersion").filter(|wanted| !wanted.is_null() && *wanted != version)
    {
        reasons.push(format!("Rancher wants version {}, {other} has {}", text(wanted), text(version)));
    }
    if config.get("nodePools").is_none_or(Value::is_null) {
        return;
    }
    for wanted in pools(config) {
        let name = text(&wanted["name"]);
        match found.iter().find(|pool| pool["name"] == wanted["name"]) {
            None => {
                reasons.push(format!("Rancher wants pool `{name}`, which {other} lacks; it would create it"));
            }
            Some(pool) => reasons.extend(
                differences(wanted, pool)
                    .into_iter()
                    .map(|field| format!("Rancher wants another {field} of pool `{name}` than {other} has")),
            ),
        }
    }
    for pool in found.iter().filter(|pool| pools(config).all(|wanted| wanted["name"] != pool["name"])) {
        let name = text(&pool["name"]);
        reasons.push(format!("{other} has pool `{name}`, which Rancher does not want; it would delete it"));
    }
}

fn differences(wanted: &Value, found: &Value) -> Vec<&'static str> {
    let scale = |pool: &Value| {
        (pool["enableAutoScaling"] == true).then(|| (pool["minCount"].as_u64(), pool["maxCount"].as_u64()))
    };
    let scales_itself = scale(wanted).is_some() && scale(found).is_some();
    let differs = [
        ("orchestratorVersion", wanted["orchestratorVersion"] != found["orchestratorVersion"]),
        ("count", !scales_itself && wanted["count"] != found["count"]),
        ("autoscaling", scale(wanted) != scale(found)),
        ("mode", wanted["mode"] != found["mode"]),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
}

//! The PUT that upgrades the control plane and nothing else.

use serde_json::Value;

use super::BodyError;
use crate::id::is_full_version;
use crate::value::{list_at, number_at, remove, text_at};

/// Clusters older than multiple pools allow fewer than this many.
const FEWEST_MAX_POOLS: u32 = 8;

/// Read-only members of a managed cluster, by the API reference of 2026-08-01, and two that must not be echoed:
/// `servicePrincipalProfile` (shown without its secret, refused without it) and the pools' `nodeImageVersion`
/// (writable, and means a rollback).
const DROPPED: &[&str] = &[
    "id",
    "name",
    "type",
    "systemData",
    "eTag",
    "etag",
    "identity.principalId",
    "identity.tenantId",
    "identity.userAssignedIdentities.*.principalId",
    "identity.userAssignedIdentities.*.clientId",
    "properties.provisioningState",
    "properties.powerState",
    "properties.maxAgentPools",
    "properties.currentKubernetesVersion",
    "properties.fqdn",
    "properties.privateFQDN",
    "properties.azurePortalFQDN",
    "properties.resourceUID",
    "properties.status.provisioningError",
    "properties.oidcIssuerProfile.issuerURL",
    "properties.networkProfile.loadBalancerProfile.effectiveOutboundIPs",
    "properties.networkProfile.natGatewayProfile.effectiveOutboundIPs",
    "properties.addonProfiles.*.identity",
    "properties.ingressProfile.webAppRouting.identity",
    "properties.podIdentityProfile.userAssignedIdentities.*.provisioningState",
    "properties.podIdentityProfile.userAssignedIdentities.*.provisioningInfo",
    "properties.privateLinkResources.*.privateLinkServiceID",
    "properties.servicePrincipalProfile",
    "properties.agentPoolProfiles.*.eTag",
    "properties.agentPoolProfiles.*.etag",
    "properties.agentPoolProfiles.*.currentOrchestratorVersion",
    "properties.agentPoolProfiles.*.provisioningState",
    "properties.agentPoolProfiles.*.status",
    "properties.agentPoolProfiles.*.localDNSProfile.state",
    "properties.agentPoolProfiles.*.nodeImageVersion",
];

/// The body that takes the control plane of `cluster` (a GET answer) to `version`.
///
/// Everything else stays as read: pools are echoed each with its own `orchestratorVersion`, as the service demands for
/// a cluster-level write. Refuses where such a write would touch pools or be refused: a pool without a version, no
/// pools, an automatic upgrade channel, a legacy cluster, an incomplete version.
///
/// The service may still reimage nodes where an earlier configuration change left that pending.
///
/// ```
/// use aks_client::control_plane_body;
/// use serde_json::json;
///
/// let cluster = json!({"name": "shop", "location": "westeurope", "eTag": "1", "properties": {
///     "kubernetesVersion": "1.34.6", "currentKubernetesVersion": "1.34.6",
///     "agentPoolProfiles": [{"name": "system", "orchestratorVersion": "1.34.6", "eTag": "2"}]}});
/// assert_eq!(control_plane_body(&cluster, "1.35.2")?, json!({"location": "westeurope", "properties": {
///     "kubernetesVersion": "1.35.2",
///     "agentPoolProfiles": [{"name": "system", "orchestratorVersion": "1.34.6"}]}}));
/// # Ok::<(), aks_client::BodyError>(())
/// ```
pub fn control_plane_body(cluster: &Value, version: &str) -> Result<Value, BodyError> {
    if !is_full_version(version) {
        return Err(BodyError::IncompleteVersion { given: version.to_owned() });
    }
    refuse_unsafe(cluster)?;
    let mut body = cluster.clone();
    for path in DROPPED {
        remove(&mut body, path);
    }
    let properties =
        body.get_mut("properties").and_then(Value::as_object_mut).ok_or(BodyError::NotAResource)?;
    let status_is_empty =
        properties.get("status").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty);
    if status_is_empty {
        properties.remove("status");
    }
    properties.insert("kubernetesVersion".to_owned(), version.into());
    Ok(body)
}

fn refuse_unsafe(cluster: &Value) -> Result<(), BodyError> {
    if !cluster.get("properties").is_some_and(Value::is_object) {
        return Err(BodyError::NotAResource);
    }
    if let Some(channel) = text_at(cluster, &["properties", "autoUpgradeProfile", "upgradeChannel"])
        && !channel.eq_ignore_ascii_case("none")
    {
        return Err(BodyError::AutoUpgradeChannel { channel: channel.to_owned() });
    }
    if let Some(most) = number_at(cluster, &["properties", "maxAgentPools"])
        && most < FEWEST_MAX_POOLS
    {
        return Err(BodyError::LegacyCluster { sign: format!("maxAgentPools is {most}") });
    }
    let pools = list_at(cluster, &["properties", "agentPoolProfiles"]);
    if pools.is_empty() {
        return Err(BodyError::NoPools);
    }
    for pool in pools {
        let name = text_at(pool, &["name"]).unwrap_or("?");
        if text_at(pool, &["type"]) == Some("AvailabilitySet") {
            return Err(BodyError::LegacyCluster { sign: format!("pool `{name}` is an availability set") });
        }
        if text_at(pool, &["orchestratorVersion"]).is_none() {
            return Err(BodyError::PoolWithoutVersion { pool: name.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster() -> Value {
        json!({
            "id": "/x", "name": "shop", "type": "t", "location": "westeurope", "systemData": {}, "eTag": "e1",
            "tags": {"team": "shop"}, "sku": {"name": "Base", "tier": "Standard"}, "kind": "Base",
            "identity": {
                "type": "UserAssigned", "principalId": "p", "tenantId": "t",
                "userAssignedIdentities": {"/id/a": {"principalId": "p", "clientId": "c"}, "/id/b": {}}
            },
            "properties": {
                "provisioningState": "Succeeded", "powerState": {"code": "Running"}, "maxAgentPools": 100,
                "kubernetesVersion": "1.34", "currentKubernetesVersion": "1.34.6", "fqdn": "f", "privateFQDN": "p",
                "azurePortalFQDN": "a", "resourceUID": "u", "status": {"provisioningError": {"code": "X"}},
                "servicePrincipalProfile": {"clientId": "msi"},
                "oidcIssuerProfile": {"enabled": true, "issuerURL": "https://issuer"},
                "networkProfile": {
                    "networkPlugin": "azure", "podCidr": "10.244.0.0/16",
                    "loadBalancerProfile": {"managedOutboundIPs": {"count": 1}, "effectiveOutboundIPs": [{"id": "i"}]},
                    "natGatewayProfile": {"idleTimeoutInMinutes": 4, "effectiveOutboundIPs": []}
                },
                "addonProfiles": {"omsagent": {"enabled": true, "config": {"a": "b"}, "identity": {"clientId": "c"}}},
                "ingressProfile": {"webAppRouting": {"enabled": true, "identity": {"clientId": "c"}}},
                "podIdentityProfile": {"userAssignedIdentities": [
                    {"name": "n", "provisioningState": "Assigned", "provisioningInfo": {}}]},
                "privateLinkResources": [{"name": "management", "privateLinkServiceID": "s"}],
                "autoScalerProfile": {"scan-interval": "20s"},
                "newThing": {"deep": [{"unknown": {"x": null}}]},
                "agentPoolProfiles": [{
                    "name": "system", "mode": "System", "count": 3, "type": "VirtualMachineScaleSets",
                    "orchestratorVersion": "1.34", "currentOrchestratorVersion": "1.34.6", "eTag": "e2",
                    "provisioningState": "Succeeded", "status": {"x": 1}, "nodeImageVersion": "AKSUbuntu-2026.10",
                    "localDNSProfile": {"mode": "Preferred", "state": "Enabled"}, "powerState": {"code": "Running"},
                    "futureKnob": {"inner": [1, {"two": 2}]}
                }]
            }
        })
    }

    #[test]
    fn exactly_the_read_only_members_go_and_only_the_version_changes() {
        let expected = json!({
            "location": "westeurope", "tags": {"team": "shop"}, "sku": {"name": "Base", "tier": "Standard"},
            "kind": "Base",
            "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/id/a": {}, "/id/b": {}}},
            "properties": {
                "kubernetesVersion": "1.35.2",
                "oidcIssuerProfile": {"enabled": true},
                "networkProfile": {
                    "networkPlugin": "azure", "podCidr": "10.244.0.0/16",
                    "loadBalancerProfile": {"managedOutboundIPs": {"count": 1}},
                    "natGatewayProfile": {"idleTimeoutInMinutes": 4}
                },
                "addonProfiles": {"omsagent": {"enabled": true, "config": {"a": "b"}}},
                "ingressProfile": {"webAppRouting": {"enabled": true}},
                "podIdentityProfile": {"userAssignedIdentities": [{"name": "n"}]},
                "privateLinkResources": [{"name": "management"}],
                "autoScalerProfile": {"scan-interval": "20s"},
                "newThing": {"deep": [{"unknown": {"x": null}}]},
                "agentPoolProfiles": [{
                    "name": "system", "mode": "System", "count": 3, "type": "VirtualMachineScaleSets",
                    "orchestratorVersion": "1.34", "localDNSProfile": {"mode": "Preferred"},
                    "powerState": {"code": "Running"}, "futureKnob": {"inner": [1, {"two": 2}]}
                }]
            }
        });
        assert_eq!(control_plane_body(&cluster(), "1.35.2").unwrap(), expected);
    }

    #[test]
    fn a_pool_without_a_version_is_never_echoed() {
        for version in [json!(null), json!("")] {
            let mut cluster = cluster();
            cluster["properties"]["agentPoolProfiles"][0]["orchestratorVersion"] = version;
            let error = control_plane_body(&cluster, "1.35.2").unwrap_err();
            assert_eq!(error, BodyError::PoolWithoutVersion { pool: "system".to_owned() });
        }
    }

    #[test]
    fn a_body_that_would_reach_the_pools_is_refused() {
        let refused = |path: &str, value: Value| {
            let mut cluster = cluster();
            *cluster.pointer_mut("/properties").unwrap().pointer_mut(path).unwrap() = value;
            control_plane_body(&cluster, "1.35.2").unwrap_err()
        };
        assert_eq!(refused("/agentPoolProfiles", json!([])), BodyError::NoPools);
        assert_eq!(refused("/agentPoolProfiles", json!(null)), BodyError::NoPools);
        assert!(matches!(refused("/maxAgentPools", json!(1)), BodyError::LegacyCluster { .. }));
        assert!(matches!(
            refused("/agentPoolProfiles/0/type", json!("AvailabilitySet")),
            BodyError::LegacyCluster { .. }
        ));
        let mut cluster = cluster();
        cluster["properties"]["autoUpgradeProfile"] = json!({"upgradeChannel": "stable"});
        assert!(matches!(control_plane_body(&cluster, "1.35.2"), Err(BodyError::AutoUpgradeChannel { .. })));
        cluster["properties"]["autoUpgradeProfile"] =
            json!({"upgradeChannel": "none", "nodeOSUpgradeChannel": "NodeImage"});
        assert!(control_plane_body(&cluster, "1.35.2").is_ok());
    }

    #[test]
    fn an_alias_is_no_target_and_a_bare_value_no_cluster() {
        assert!(matches!(control_plane_body(&cluster(), "1.35"), Err(BodyError::IncompleteVersion { .. })));
        assert_eq!(control_plane_body(&json!({"name": "x"}), "1.35.2"), Err(BodyError::NotAResource));
    }
}

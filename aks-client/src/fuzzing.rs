//! What a fuzzer and the corpus test feed: bytes in, every decoder of this crate and what it promises about the result.
//!
//! Not part of the API. Each function panics where a promise is broken; none may panic on any input.

use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::Value;

use crate::access::{Lock, Permissions};
use crate::body::{MirrorSpec, control_plane_body, mirror_body, upgrade_pool_body};
use crate::capacity::{NetworkMode, Subnet, SubnetUsage, Usage, VmSize, overlay_most_nodes, quota_shortages};
use crate::id::{ApiVersion, ClusterId, Endpoint, SubscriptionId};
use crate::model::{
    AgentPool, Machine, MaintenanceConfiguration, ManagedCluster, PoolUpgradeProfile, PoolVersion,
    RegionVersion,
};
use crate::operation::{Operation, OperationUrl};
use crate::resource_id::ResourceId;
use crate::service_error::{MissingPermission, ServiceError};
use crate::{kubeconfig as decode_kubeconfig, retry_after as decode_retry_after};

const VERSION: &str = "1.35.2";

/// An error body: what is kept is clean, bounded, and can be stored and read back.
pub fn errors(data: &[u8]) {
    let error = ServiceError::from_body(data);
    let shown = format!("{error}");
    assert!(!shown.chars().any(char::is_control), "a control character is shown: {shown:?}");
    assert!(error.message.chars().count() <= 4_001, "a message is not cut");
    let stored = serde_json::to_string(&error).expect("plain data");
    assert_eq!(serde_json::from_str::<ServiceError>(&stored).expect("what was stored is readable"), error);
    error.missing_permission();
    error.mentions("OperationNotAllowed");
    MissingPermission::from_message(&String::from_utf8_lossy(data));
}

/// The stored text of an operation: what is read survives storing, and is shown without a query.
pub fn operation(data: &[u8]) {
    let Ok(operation) = serde_json::from_slice::<Operation>(data) else { return };
    let stored = serde_json::to_string(&operation).expect("plain data");
    assert_eq!(serde_json::from_str::<Operation>(&stored).expect("what was stored is readable"), operation);
    for url in [&operation.azure_async_operation, &operation.location].into_iter().flatten() {
        operation_url(url.as_url().as_str().as_bytes());
    }
    let _ = format!("{operation} {}", operation.resource());
}

/// A URL a service names for an operation: its query is never shown, and only ARM's own hosts are trusted.
pub fn operation_url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(url) = OperationUrl::parse(&text) else { return };
    for shown in [url.to_string(), format!("{url:?}")] {
        assert!(!shown.contains('?') || shown.contains("?.."), "a query is shown: {shown}");
    }
    let endpoint = Endpoint::default();
    if endpoint.trusts(url.as_url()) {
        let host = url.as_url().host_str().expect("a trusted URL has a host");
        assert!(
            host == "management.azure.com" || host.ends_with(".management.azure.com"),
            "{host} is trusted"
        );
        assert_eq!(url.as_url().scheme(), "https");
    }
    let rebased = endpoint.rebase(url.as_url());
    assert_eq!(rebased.host_str(), endpoint.as_url().host_str(), "a page on a foreign host is followed");
}

/// `Retry-After` and its kin: the first line is the value, the second the server's date.
pub fn retry_after(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let value = lines.next().and_then(|line| HeaderValue::from_bytes(line).ok());
    let date = lines.next().and_then(|line| HeaderValue::from_bytes(line).ok());
    let milliseconds =
        [HeaderName::from_static("retry-after-ms"), HeaderName::from_static("x-ms-retry-after-ms")];
    for name in [RETRY_AFTER].into_iter().chain(milliseconds) {
        let mut headers = HeaderMap::new();
        headers.extend(value.clone().map(|value| (name, value)));
        headers.extend(date.clone().map(|date| (DATE, date)));
        decode_retry_after::retry_after(&headers);
    }
}

/// A `listClusterUserCredential` answer, or the text of one kubeconfig.
pub fn kubeconfig(data: &[u8]) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    if let Ok(answer) = serde_json::from_slice::<Value>(data) {
        // The error is a fixed text: it can quote nothing.
        let _ = decode_kubeconfig::authority(&answer);
    }
    let answer = serde_json::json!({"kubeconfigs": [{"value": STANDARD.encode(data)}]});
    if let Ok(Some(pem)) = decode_kubeconfig::authority(&answer) {
        assert!(pem.contains("-----BEGIN CERTIFICATE-----"), "not a certificate: {pem:?}");
    }
}

/// A cluster and the body of its control plane's upgrade.
pub fn cluster(data: &[u8]) {
    let Ok(raw) = serde_json::from_slice::<Value>(data) else { return };
    if let Ok(body) = control_plane_body(&raw, VERSION) {
        assert_eq!(body.pointer("/properties/kubernetesVersion"), Some(&VERSION.into()));
        for gone in ["/id", "/eTag", "/properties/provisioningState", "/properties/servicePrincipalProfile"] {
            assert_eq!(body.pointer(gone), None, "{gone} is sent");
        }
    }
    let Ok(cluster) = ManagedCluster::from_value(raw.clone()) else { return };
    assert_eq!(*cluster.raw(), raw);
    assert_eq!(cluster.id().resource_id().parse::<ClusterId>().as_ref(), Ok(cluster.id()));
    cluster.provisioning_state();
    cluster.provisioning_error();
    cluster.force_upgrade();
}

/// A pool in either form, and the bodies made from it.
pub fn pool(data: &[u8]) {
    let Ok(raw) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(pool) = AgentPool::from_value(raw) else { return };
    pool.upgrade_settings();
    pool.provisioning_error();
    let spec = MirrorSpec { count: 3, version: VERSION.to_owned(), ..MirrorSpec::default() };
    let upgrade = upgrade_pool_body(&pool, VERSION).expect("the version is complete");
    for body in [mirror_body(&pool, &spec), upgrade] {
        assert_eq!(body.pointer("/properties/orchestratorVersion"), Some(&VERSION.into()));
        for gone in ["eTag", "provisioningState", "status", "nodeImageVersion", "currentOrchestratorVersion"]
        {
            assert_eq!(body["properties"].get(gone), None, "{gone} is sent");
        }
    }
}

/// The names a user writes: ids, endpoints, versions.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(id) = text.parse::<ClusterId>() {
        assert_eq!(id.resource_id().parse::<ClusterId>(), Ok(id));
    }
    if let Ok(id) = text.parse::<ResourceId>() {
        assert_eq!(id.to_string().parse::<ResourceId>().as_ref(), Ok(&id));
        assert!(id.covers(&id) && id.parent().is_none_or(|parent| parent.covers(&id)), "{id}");
        let _ = (id.kind(), id.name());
    }
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
    }
    if let Ok(version) = text.parse::<ApiVersion>() {
        assert_eq!(version.as_str(), text);
    }
    if let Ok(subscription) = text.parse::<SubscriptionId>() {
        assert_eq!(subscription.to_string(), text.to_ascii_lowercase());
    }
}

/// Quotas, sizes, subnets and the sums over them.
pub fn capacity(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(nodes) = overlay_most_nodes(&text) {
        assert!(nodes <= 1 << 24, "{nodes} nodes in {text}");
    }
    let Ok(raw) = serde_json::from_slice::<Value>(data) else { return };
    let usage = SubnetUsage::read(&raw);
    if let Ok(subnet) = Subnet::from_value(raw.clone()) {
        let (size, free) = (subnet.size(), subnet.free(usage.as_ref()));
        assert_eq!(size.is_some(), free.is_some());
        assert!(free <= size, "{free:?} of {size:?} are left");
    }
    if let Some(size) = VmSize::from_value(raw.clone()) {
        let zones = size.zones("westeurope");
        size.restriction("westeurope", &zones);
        size.memory_gib();
        if let Some(usage) = Usage::read(&raw) {
            let shortages = quota_shortages(&[usage], &size, u32::MAX, true).unwrap_or_default();
            assert!(shortages.iter().all(|shortage| shortage.free < shortage.needed));
        }
    }
    let nodes = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let max_pods = data.first_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes));
    for mode in [
        NetworkMode::NodeSubnet { max_pods },
        NetworkMode::PodSubnetDynamic { max_pods },
        NetworkMode::PodSubnetStatic { max_pods },
    ] {
        assert!(mode.addresses_needed(nodes).node_subnet >= u64::from(nodes));
    }
}

/// Maintenance windows, machines, locks, permissions, and lists of versions.
pub fn lists(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(raw) = serde_json::from_slice::<Value>(data) else { return };
    if let Ok(found) = MaintenanceConfiguration::from_value(raw.clone()) {
        found.purpose();
        found.week_slots();
        found.not_allowed();
        found.window();
    }
    if let Ok(machine) = Machine::from_value(raw.clone()) {
        assert_eq!(*machine.raw(), raw);
        machine.addresses();
        machine.zones();
    }
    if let Some(lock) = Lock::read(&raw) {
        assert!(lock.covers(&lock.scope), "a lock does not hold for what it was put on");
    }
    let granted = Permissions::from_values(std::slice::from_ref(&raw));
    assert_eq!(granted.missing(&[&text]).is_empty(), granted.allows(&text));
    RegionVersion::list(&raw);
    let properties = raw.get("properties").unwrap_or(&raw);
    PoolUpgradeProfile::read(properties);
    PoolVersion::list(properties);
}

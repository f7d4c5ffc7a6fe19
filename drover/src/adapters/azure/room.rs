//! Whether more nodes like those of a pool would fit, as far as Azure says.

use aks_client::{
    AgentPool, AksClient, ClusterId, Error, ManagedCluster, NetworkMode, ResourceId, quota_shortages,
};

/// What is not enough, in words. What cannot be told (a size without a number of vCPUs, the network that AKS made itself, which is
/// large) counts as enough.
pub(super) async fn shortages(
    client: &AksClient,
    id: &ClusterId,
    cluster: &ManagedCluster,
    pool: &AgentPool,
    nodes: u32,
) -> Result<Vec<String>, Error> {
    let mut short = Vec::new();
    if let (Some(location), Some(name)) = (cluster.location(), pool.vm_size()) {
        let subscription = id.subscription();
        let sizes = client.vm_sizes(subscription, location).await?;
        if let Some(size) = sizes.iter().find(|size| size.name().eq_ignore_ascii_case(name)) {
            let spot = pool.priority().is_some_and(|priority| priority.eq_ignore_ascii_case("Spot"));
            let usages = client.compute_usages(subscription, location).await?;
            let quotas = quota_shortages(&usages, size, nodes, spot).unwrap_or_default();
            short.extend(quotas.iter().map(ToString::to_string));
            if size.restriction(location, &pool.availability_zones()).is_some() {
                short.push(format!("size {name} is not offered here"));
            }
        }
    }
    if let Some(mode) = NetworkMode::of(cluster, pool) {
        let need = mode.addresses_needed(nodes);
        for (subnet, need) in
            [(pool.vnet_subnet_id(), need.node_subnet), (pool.pod_subnet_id(), need.pod_subnet)]
        {
            let Some(subnet) = subnet.and_then(|id| id.parse::<ResourceId>().ok()) else { continue };
            short.extend(addresses(client, &subnet, need).await?);
        }
    }
    Ok(short)
}

/// What a subnet lacks.
async fn addresses(client: &AksClient, id: &ResourceId, need: u64) -> Result<Option<String>, Error> {
    let Some(subnet) = client.subnet(id).await? else { return Ok(None) };
    let usages = match id.parent() {
        Some(network) => client.subnet_usages(&network).await?,
        None => Vec::new(),
    };
    let free = subnet.free(usages.iter().find(|usage| usage.subnet == *id));
    let short = free.filter(|free| *free < need);
    Ok(short.map(|free| format!("addresses of subnet {}: {need} needed, {free} left", id.name())))
}

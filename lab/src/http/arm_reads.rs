//! What ARM answers beside the cluster: compute, network, and what the caller may do.

use axum::http::Method;
use serde_json::{Value, json};

use super::arm::{is, method_not_allowed, not_found};
use super::call::Call;
use crate::azure::{ArmError, Azure};
use crate::world::World;

/// Answers what lies below a subscription at `path` and is neither a cluster nor an operation; `None` for anything else.
pub(super) fn beside(world: &World, call: &Call, path: &[&str]) -> Option<Result<Value, ArmError>> {
    let answer = match *path {
        [.., providers, provider, what]
            if is(providers, "providers")
                && is(provider, "Microsoft.Authorization")
                && (is(what, "locks") || is(what, "permissions")) =>
        {
            let scope = &path[..path.len() - 3];
            known_scope(&world.azure, scope).map(|()| authorization(what))
        }
        [providers, provider, ref rest @ ..]
            if is(providers, "providers") && is(provider, "Microsoft.Compute") =>
        {
            compute(world, call, rest)
        }
        [groups, group, providers, provider, networks, ref rest @ ..]
            if is(groups, "resourceGroups")
                && is(group, world.azure.node_resource_group())
                && is(providers, "providers")
                && is(provider, "Microsoft.Network")
                && is(networks, "virtualNetworks") =>
        {
            network(&world.azure, rest)
        }
        _ => return None,
    };
    Some(if call.method == Method::GET { answer } else { Err(method_not_allowed(call)) })
}

/// Nobody has locked anything in the lab, and its one token may do everything in Azure.
fn authorization(what: &str) -> Value {
    if is(what, "locks") {
        return json!({ "value": [] });
    }
    json!({ "value": [{ "actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": [] }] })
}

/// The subscription, its two groups, the cluster and what is in them.
fn known_scope(azure: &Azure, scope: &[&str]) -> Result<(), ArmError> {
    let id = azure.id();
    match *scope {
        [] => Ok(()),
        [groups, group] if is(groups, "resourceGroups") => {
            if is(group, id.resource_group()) || is(group, azure.node_resource_group()) {
                Ok(())
            } else {
                Err(not_found("group", group))
            }
        }
        _ => {
            let text = format!("/subscriptions/{}/{}", id.subscription(), scope.join("/"));
            let known = [id.as_str().to_owned(), azure.network_id(), azure.subnet_id()];
            let pool = text.get(id.as_str().len()..).and_then(|rest| rest.strip_prefix("/agentPools/"));
            let is_pool = text.to_ascii_lowercase().starts_with(&id.as_str().to_ascii_lowercase())
                && pool.is_some_and(|pool| azure.pool(pool).is_ok());
            if is_pool || known.iter().any(|known| is(known, &text)) {
                Ok(())
            } else {
                Err(not_found("resource", &scope.join("/")))
            }
        }
    }
}

fn compute(world: &World, call: &Call, rest: &[&str]) -> Result<Value, ArmError> {
    let azure = &world.azure;
    match *rest {
        [locations, location, usages] if is(locations, "locations") && is(usages, "usages") => {
            if is(location, azure.location()) {
                Ok(azure.compute_usages(world))
            } else {
                Err(ArmError::arm(
                    400,
                    "NoRegisteredProviderFound",
                    format!("The lab has one region, {}, and not '{location}'.", azure.location()),
                ))
            }
        }
        [skus] if is(skus, "skus") => match call.parameter("$filter").map(str::trim) {
            Some(filter) => {
                let region = filter.strip_prefix("location eq '").and_then(|rest| rest.strip_suffix('\''));
                let region = region.ok_or_else(|| {
                    ArmError::arm(
                        400,
                        "InvalidFilter",
                        format!("The filter \"{filter}\" is not location eq '..'."),
                    )
                })?;
                if is(region, azure.location()) { Ok(azure.skus(world)) } else { Ok(json!({ "value": [] })) }
            }
            None => Ok(azure.skus(world)),
        },
        _ => Err(not_found("resource", &rest.join("/"))),
    }
}

fn network(azure: &Azure, rest: &[&str]) -> Result<Value, ArmError> {
    let own = |network: &str| azure.network_id().rsplit('/').next().is_some_and(|name| is(network, name));
    match *rest {
        [network, usages] if own(network) && is(usages, "usages") => Ok(azure.subnet_usages()),
        [network, subnets, subnet]
            if own(network)
                && is(subnets, "subnets")
                && azure.subnet_id().rsplit('/').next().is_some_and(|name| is(subnet, name)) =>
        {
            Ok(azure.subnet())
        }
        _ => Err(not_found("resource", &format!("Microsoft.Network/virtualNetworks/{}", rest.join("/")))),
    }
}

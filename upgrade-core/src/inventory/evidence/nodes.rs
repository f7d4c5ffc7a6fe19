//! What the nodes say.

use std::collections::BTreeMap;

use super::{AzureSide, Shown};
use crate::inventory::{Evidence, EvidenceKind};
use crate::model::Node;

/// The label in which AKS writes the node resource group (AKS: node labels).
const CLUSTER_LABEL: &str = "kubernetes.azure.com/cluster";
/// On nodes that Karpenter (node auto-provisioning) makes. They belong to no pool of Azure's.
const KARPENTER_LABEL: &str = "karpenter.sh/nodepool";
/// On a node that the cloud's controller has not met yet, and so has given no provider id (Kubernetes: cloud controller
/// manager). The controller takes it off in the same step.
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// What a node says of the cluster it belongs to.
enum Says {
    /// It is a machine of the cluster.
    Ours,
    /// Nothing yet, as every node for a moment.
    NothingYet,
    /// Too little.
    TooLittle(String),
    /// It carries the name of a pool that Azure does not show.
    UnknownPool(String),
    /// It belongs to another cluster.
    Elsewhere(String),
}

/// The machines behind the nodes lie in the cluster's node resource group, and AKS's labels say so. Such a group belongs to
/// one cluster alone, so this binds Kubernetes to Azure.
pub(super) fn machines(nodes: &Shown<Vec<Node>>, azure: &AzureSide) -> Evidence {
    let kind = EvidenceKind::Nodes;
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(why) => return kind.unavailable(why.as_str()),
    };
    let Some(group) = &azure.node_resource_group else {
        return kind.unavailable("Azure shows no node resource group");
    };
    let subscription = azure.id.subscription();
    let (mut ours, mut fresh, mut strangers) = (0, 0, 0);
    let mut doubt = None;
    for node in nodes {
        match look_at(node, subscription, group, azure) {
            Says::Ours => ours += 1,
            Says::NothingYet => fresh += 1,
            Says::Elsewhere(why) => return kind.contradicts(why),
            Says::TooLittle(why) => doubt = doubt.or(Some(why)),
            Says::UnknownPool(why) => {
                strangers += 1;
                doubt = doubt.or(Some(why));
            }
        }
    }
    match doubt {
        // One such node may be of a pool that Azure has just deleted. If all are, the pools are another cluster's.
        Some(why) if strangers == nodes.len() => {
            kind.contradicts(format!("{why}, and no other node is of a pool that Azure shows"))
        }
        Some(why) => kind.unavailable(why),
        None if nodes.is_empty() => kind.unavailable("the cluster shows no nodes"),
        None if ours == 0 => kind.unavailable("no node has a provider id yet"),
        None => {
            let rest = if fresh == 0 { String::new() } else { format!("; {fresh} more are too new to tell") };
            kind.agrees(format!(
                "all {ours} are machines of resource group {group} in subscription {subscription}{rest}"
            ))
        }
    }
}

fn look_at(node: &Node, subscription: &str, group: &str, azure: &AzureSide) -> Says {
    let name = &node.name;
    let wanted = label_of(group);
    match node.labels.get(CLUSTER_LABEL) {
        Some(label) if !label.eq_ignore_ascii_case(&wanted) => {
            return Says::Elsewhere(format!(
                "node {name} has the label {CLUSTER_LABEL}={label}, not {wanted}"
            ));
        }
        _ => {}
    }
    let Some(id) = node.provider_id.as_deref() else {
        let new = node.taints.iter().any(|taint| taint.key == UNINITIALIZED);
        return if new {
            Says::NothingYet
        } else {
            Says::TooLittle(format!("node {name} has no provider id"))
        };
    };
    let Some(machine) = Machine::parse(id).filter(|machine| machine.lies_in(subscription, group)) else {
        return Says::Elsewhere(format!(
            "node {name} is {id}, not a machine of resource group {group} in subscription {subscription}"
        ));
    };
    if !node.labels.contains_key(CLUSTER_LABEL) {
        return Says::TooLittle(format!("node {name} has no label {CLUSTER_LABEL}"));
    }
    let Some(pool) = node.pool_label() else {
        return if node.labels.contains_key(KARPENTER_LABEL) {
            Says::Ours
        } else {
            Says::TooLittle(format!("node {name} names no pool"))
        };
    };
    if !azure.pools.iter().any(|(name, _)| name.eq_ignore_ascii_case(pool)) {
        let why = format!("node {name} is of pool {pool}, which Azure does not show");
        return if node.labels.contains_key(KARPENTER_LABEL) { Says::Ours } else { Says::UnknownPool(why) };
    }
    match machine.scale_set {
        Some(set) if !set.to_ascii_lowercase().contains(&pool.to_ascii_lowercase()) => {
            Says::TooLittle(format!("node {name} is of pool {pool} and a machine of scale set {set}"))
        }
        _ => Says::Ours,
    }
}

/// The machine behind a node, by its provider id:
/// `azure:///subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.Compute/` and then
/// `virtualMachineScaleSets/<set>/virtualMachines/<number>` or, in pools of type `VirtualMachines`, `virtualMachines/<name>`.
struct Machine<'a> {
    subscription: &'a str,
    group: &'a str,
    scale_set: Option<&'a str>,
}

impl<'a> Machine<'a> {
    /// Azure changes the case of its ids; words and names are compared without.
    fn parse(id: &'a str) -> Option<Self> {
        let is = |word: &str, expected: &str| word.eq_ignore_ascii_case(expected);
        let parts: Vec<&str> = id.split('/').collect();
        let [scheme, "", "", words @ ..] = &parts[..] else { return None };
        let [subscriptions, subscription, groups, group, providers, provider, machine @ ..] = words else {
            return None;
        };
        let fits = is(scheme, "azure:")
            && is(subscriptions, "subscriptions")
            && is(groups, "resourceGroups")
            && is(providers, "providers")
            && is(provider, "Microsoft.Compute");
        let scale_set = match machine {
            [sets, set, machines, number]
                if is(sets, "virtualMachineScaleSets")
                    && is(machines, "virtualMachines")
                    && !number.is_empty() =>
            {
                Some(*set)
            }
            [machines, name] if is(machines, "virtualMachines") && !name.is_empty() => None,
            _ => return None,
        };
        fits.then_some(Self { subscription, group, scale_set })
    }

    fn lies_in(&self, subscription: &str, group: &str) -> bool {
        self.subscription.eq_ignore_ascii_case(subscription) && self.group.eq_ignore_ascii_case(group)
    }
}

/// A resource group as AKS writes it into a label: a label has at most 63 characters, no parentheses, and ends with a letter
/// or a digit (AKS: `AgentBaker`, `normalizeResourceGroupNameForLabel`).
fn label_of(group: &str) -> String {
    let mut label: String =
        group.chars().map(|c| if matches!(c, '(' | ')') { '-' } else { c }).take(63).collect();
    if label.ends_with(['-', '_', '.']) {
        if label.chars().count() == 63 {
            label.pop();
        }
        label.push('z');
    }
    label
}

/// Numbers that differ do not contradict: nodes come and go, and Azure tells of it before or after.
pub(super) fn sizes(nodes: &Shown<Vec<Node>>, azure: &AzureSide) -> Evidence {
    let kind = EvidenceKind::Pools;
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(why) => return kind.unavailable(why.as_str()),
    };
    let mut counted: BTreeMap<String, u32> = BTreeMap::new();
    for pool in nodes.iter().filter_map(Node::pool_label) {
        *counted.entry(pool.to_ascii_lowercase()).or_default() += 1;
    }
    let known = azure.pools.iter().filter_map(|(name, count)| Some((name, (*count)?)));
    let mut total = 0;
    let mut pools = 0;
    for (name, wanted) in known {
        let found = counted.get(&name.to_ascii_lowercase()).copied().unwrap_or(0);
        if found != wanted {
            return kind.unavailable(format!(
                "Azure counts {wanted} nodes in pool {name}, the cluster shows {found}; one of them is behind"
            ));
        }
        total += found;
        pools += 1;
    }
    if pools == 0 {
        return kind.unavailable("Azure counts no nodes");
    }
    kind.agrees(format!("both count {total} nodes in {pools} pools"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_odd_resource_group_is_in_the_label_as_aks_writes_it() {
        let long = format!("MC_{}", "a".repeat(77));
        let cut = format!("MC_{}_{}", "a".repeat(59), "b".repeat(17));
        for (group, label) in [
            ("MC_rg_shop_westeurope", "MC_rg_shop_westeurope"),
            ("rg(nodes)", "rg-nodes-z"),
            ("rg-", "rg-z"),
            (&long, &long[..63]),
            (&cut, &format!("MC_{}z", "a".repeat(59))),
        ] {
            assert_eq!(label_of(group), label, "{group}");
            assert!(label_of(group).len() <= 63);
        }
    }

    #[test]
    fn a_provider_id_is_read_in_any_case_and_nothing_else_passes_for_one() {
        let good = [
            "azure:///subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/x/virtualMachines/0",
            "AZURE:///SUBSCRIPTIONS/s/resourcegroups/g/providers/microsoft.compute/virtualmachinescalesets/x/virtualmachines/0",
            "azure:///subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/aks-np-1-vms2",
        ];
        for id in good {
            assert!(Machine::parse(id).is_some_and(|machine| machine.lies_in("S", "G")), "{id}");
        }
        let bad = [
            "",
            "aws:///eu-west-1/i-0",
            "azure:///subscriptions/s/resourceGroups/g",
            "azure:///subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/x",
            "azure:///subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/",
            "azure:///subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualMachines/x",
            "azure:///subscriptions/s/resourceGroups/g/x/providers/Microsoft.Compute/virtualMachines/x",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/x",
        ];
        for id in bad {
            assert!(Machine::parse(id).is_none(), "{id}");
        }
    }
}

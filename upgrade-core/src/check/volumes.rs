//! Disks: those that lie on a node, those that wait in a zone, and how many a node can have.

use std::collections::{BTreeMap, BTreeSet};

use super::workloads::doomed_pools;
use super::{Case, finding, named};
use crate::finding::{Finding, Severity};
use crate::model::{Claim, Node, ObjectName, Pod, Pool};
use crate::plan::nodes_needed;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pool in doomed_pools(case) {
        findings.extend(on_the_node(case, pool));
        let nodes: Vec<&Node> = case.view.nodes_of(&pool.name).collect();
        if !nodes.is_empty() {
            let buffer = nodes_needed(pool, &nodes, case.view);
            findings.extend(wider_buffer(pool, &nodes, buffer));
            findings.extend(too_many_disks(case, pool, &nodes, buffer));
        }
    }
    findings
}

/// The claims of the pods that have to leave a pool.
fn claims<'a>(case: &Case<'a>, pool: &'a Pool) -> impl Iterator<Item = (&'a Pod, &'a Claim)> {
    let view = case.view;
    let pods = view.pods_in(&pool.name).filter(|pod| !pod.leaves_with_node());
    pods.flat_map(move |pod| {
        let names =
            pod.claims.iter().filter_map(|claim| ObjectName::new(pod.name.namespace(), claim.as_str()).ok());
        names.filter_map(move |name| view.claim(&name)).map(move |claim| (pod, claim))
    })
}

/// A volume that is part of a node is gone when the node is made anew.
fn on_the_node(case: &Case<'_>, pool: &Pool) -> Vec<Finding> {
    let bound = claims(case, pool).filter(|(_, claim)| !claim.hosts.is_empty());
    let report = |(pod, claim): (&Pod, &Claim)| {
        let who = case.view.workload_of(pod).map_or_else(|| pod.name.to_string(), |owner| owner.to_string());
        finding(
            Severity::Blocking,
            "VOL-001",
            &claim.name,
            format!(
                "lies on node {} itself; {who} cannot take it along, and the upgrade makes the node anew",
                claim.hosts.join(", ")
            ),
            "move the data to a disk of Azure, or accept this finding if the application can lose it",
        )
    };
    bound.map(report).collect()
}

fn wider_buffer(pool: &Pool, nodes: &[&Node], buffer: u32) -> Option<Finding> {
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    (buffer > count).then(|| {
        finding(
            Severity::Info,
            "VOL-002",
            &pool.name,
            format!(
                "has {count} node(s) in {} zones, and disks that only one zone can use; its buffer gets {buffer} nodes, one in \
                 each zone",
                pool.zones.len()
            ),
            "nothing to do",
        )
    })
}

/// A zone of the buffer has the fewest nodes that an even spread can give it.
fn too_many_disks(case: &Case<'_>, pool: &Pool, nodes: &[&Node], buffer: u32) -> Vec<Finding> {
    let limits = &case.inventory.surroundings.attach_limits;
    let Some(limit) = nodes.iter().filter_map(|node| limits.get(&node.name)).min() else { return Vec::new() };
    let mut disks: BTreeMap<Option<&str>, BTreeSet<&ObjectName>> = BTreeMap::new();
    for (_, claim) in claims(case, pool).filter(|(_, claim)| claim.disk) {
        let zone = claim.zones.first().filter(|_| claim.zones.len() == 1).map(String::as_str);
        disks.entry(zone).or_default().insert(&claim.name);
    }
    let zones = u32::try_from(pool.zones.len()).unwrap_or(u32::MAX).max(1);
    let over = disks.into_iter().filter_map(|(zone, disks)| {
        let nodes = if zone.is_some() { buffer / zones } else { buffer };
        let slots = u64::from(nodes) * u64::from(*limit);
        let place = zone.map_or_else(String::new, |zone| format!(" of zone {zone}"));
        (disks.len() as u64 > slots).then(|| {
            finding(
                Severity::Advisory,
                "VOL-003",
                &pool.name,
                format!(
                    "its pods have {} disks{place} ({}), and {nodes} node(s) of its buffer take {limit} each: some may wait",
                    disks.len(),
                    named(&disks)
                ),
                "give the pool more nodes before the night, or expect moves that wait for a disk",
            )
        })
    });
    over.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Inventory;
    use crate::model::NodeName;
    use crate::model::tests_support::{exclusive_claim, inventory};
    use crate::policy::Policy;

    fn told(case: &Inventory) -> Vec<String> {
        let findings = crate::check(case, &Policy::default(), "1.35".parse().unwrap());
        let about = findings.iter().filter(|finding| finding.code.starts_with("VOL-"));
        about.map(|f| format!("{} {} {}: {}", f.severity, f.code, f.object, f.message)).collect()
    }

    fn with_disk(change: impl Fn(&mut Claim)) -> Inventory {
        let mut case = inventory();
        case.pods[0].claims = vec!["data".into()];
        let mut claim = exclusive_claim("shop/data");
        change(&mut claim);
        case.claims = vec![claim];
        case
    }

    #[test]
    fn a_volume_that_is_part_of_a_node_cannot_move() {
        let case = with_disk(|claim| claim.hosts = vec!["u0".into()]);
        assert_eq!(
            told(&case),
            [
                "blocking VOL-001 shop/data: lies on node u0 itself; Deployment shop/web cannot take it along, and the upgrade makes \
              the node anew"
            ]
        );
    }

    #[test]
    fn a_disk_in_a_zone_widens_the_buffer_and_more_disks_than_slots_are_told() {
        let mut case = with_disk(|claim| claim.zones = vec!["2".into()]);
        case.pools[1].zones = ["1", "2", "3"].map(str::to_owned).into();
        assert!(
            told(&case)[0].starts_with("info VOL-002 user: has 2 node(s) in 3 zones"),
            "{:?}",
            told(&case)
        );
        case.surroundings.attach_limits = [(NodeName::new("u0").unwrap(), 1)].into();
        assert_eq!(told(&case).len(), 1, "one disk, one slot");
        case.pods[1].claims = vec!["more".into()];
        let mut more = case.claims[0].clone();
        more.name = "shop/more".parse().unwrap();
        case.claims.push(more);
        assert_eq!(
            told(&case)[0],
            "advisory VOL-003 user: its pods have 2 disks of zone 2 (shop/data, shop/more), and 1 node(s) of its buffer take 1 \
             each: some may wait"
        );
    }
}

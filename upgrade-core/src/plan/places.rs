//! Where a workload's pods find a place of their own beside each other.

use std::collections::BTreeSet;

use crate::model::{AffinityTerm, HOST_LABEL, Node, ObjectName, Workload};
use crate::view::View;

/// Why no two pods of a workload share a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keeping<'a> {
    /// They take a port of their node.
    Port(u16),
    /// They ask for it by required anti-affinity, over the values of this node label. `same_template` says that the old pods of
    /// a rollout do not count.
    Apart {
        /// The node label.
        key: &'a str,
        /// Only pods of the same template are meant.
        same_template: bool,
    },
}

/// Every reason why no two pods of a workload share a place.
pub(crate) fn keeps_apart(workload: &Workload) -> Vec<Keeping<'_>> {
    let rules = &workload.template.rules;
    let own = |term: &&AffinityTerm| {
        let namespace = workload.reference.name.namespace();
        let here = term.namespaces.is_empty() || term.namespaces.iter().any(|name| name == namespace);
        here && term.selector.matches(&workload.template.labels)
    };
    let apart = rules.pod_anti_affinity.iter().filter(own);
    let apart =
        apart.map(|term| Keeping::Apart { key: &term.topology_key, same_template: term.same_template });
    rules.host_ports.first().map(|port| Keeping::Port(*port)).into_iter().chain(apart).collect()
}

/// Is there no place for one pod more, so that a rolling restart would wait for ever? The pods that are there hold theirs,
/// cordoned or not, until they are gone (Kubernetes: anti-affinity is symmetric). New nodes are new hosts, but bring no new
/// zone.
pub(super) fn no_room_beside_itself(workload: &Workload, view: &View) -> Option<String> {
    keeps_apart(workload).into_iter().find_map(|keeping| match keeping {
        Keeping::Apart { key, same_template: false } if key != HOST_LABEL => {
            let places: BTreeSet<&str> = view
                .nodes()
                .filter(|node| workload.template.rules.admits(node))
                .filter_map(|node| node.labels.get(key).map(String::as_str))
                .collect();
            let full =
                !places.is_empty() && u32::try_from(places.len()).unwrap_or(u32::MAX) <= workload.replicas;
            full.then(|| {
                format!("its pods keep apart, and each of the {} values of {key} has one", places.len())
            })
        }
        Keeping::Port(_) | Keeping::Apart { .. } => None,
    })
}

/// How many nodes a buffer of this pool needs: as many as the pool has, and one in each of its zones if a disk waits in one.
/// Azure spreads a pool's nodes over its zones as evenly as it can, so fewer nodes than zones may miss the one that counts.
pub(crate) fn nodes_needed(pool: &crate::model::Pool, nodes: &[&Node], view: &View) -> u32 {
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let zones = u32::try_from(pool.zones.len()).unwrap_or(u32::MAX);
    let bound = zones > count && view.pods_in(&pool.name).any(|pod| has_zonal_claim(pod, view));
    if bound { zones } else { count }
}

/// Does the pod have a disk that only some zones can use?
fn has_zonal_claim(pod: &crate::model::Pod, view: &View) -> bool {
    let name = |claim: &String| ObjectName::new(pod.name.namespace(), claim.as_str()).ok();
    pod.claims
        .iter()
        .filter_map(name)
        .filter_map(|name| view.claim(&name))
        .any(|claim| !claim.zones.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::{deployment, inventory, node, pod, pool};
    use crate::model::{Claim, LabelSelector, PoolMode, ZONE_LABEL};
    use crate::plan::{Route, RouteChoice};
    use crate::view::{Change, Object};

    fn zones(names: &[&str]) -> View {
        let mut view = View::default();
        for (number, zone) in names.iter().enumerate() {
            let mut node = node(&format!("n{number}"), "user");
            node.labels.insert(ZONE_LABEL.to_owned(), (*zone).to_owned());
            view.apply(Change::Applied(Object::Node(node)));
        }
        view
    }

    fn apart(replicas: u32, key: &str, same_template: bool) -> Workload {
        let mut web = deployment(replicas, "1", "0");
        let template = web.template.to_mut();
        template.rules.pod_anti_affinity.push(AffinityTerm {
            selector: LabelSelector::of_labels(template.labels.clone()),
            topology_key: key.to_owned(),
            namespaces: Vec::new(),
            same_template,
        });
        web
    }

    #[test]
    fn with_a_pod_in_each_zone_there_is_no_room_for_one_more_so_one_leaves_first() {
        let view = zones(&["a", "b", "b"]);
        let route = |web: &Workload| RouteChoice::of(web, &view, &crate::policy::Policy::default()).unwrap();
        let choice = route(&apart(2, ZONE_LABEL, false));
        assert_eq!(choice.route, Route::Evict);
        assert!(
            choice.reason.starts_with("its pods keep apart, and each of the 2 values of"),
            "{}",
            choice.reason
        );
        assert_eq!(route(&apart(1, ZONE_LABEL, false)).route, Route::Restart, "one zone is free");
        assert_eq!(route(&apart(2, ZONE_LABEL, true)).route, Route::Restart, "old pods do not count");
        assert_eq!(
            route(&apart(3, HOST_LABEL, false)).route,
            Route::Restart,
            "the buffer is made of new hosts"
        );
    }

    #[test]
    fn a_buffer_reaches_every_zone_if_a_disk_waits_in_one() {
        let mut case = inventory();
        case.pools[1] = crate::model::Pool {
            zones: ["1", "2", "3"].map(str::to_owned).into(),
            ..pool("user", PoolMode::User, 2)
        };
        let needed = |case: &crate::Inventory| {
            let view = case.view();
            let nodes: Vec<&Node> = view.nodes_of(&case.pools[1].name).collect();
            nodes_needed(&case.pools[1], &nodes, &view)
        };
        assert_eq!(needed(&case), 2);
        let mut disk = pod("shop/db-0", "u0");
        disk.claims = vec!["data".into()];
        case.pods.push(disk);
        let claim = |zones: &[&str]| Claim {
            name: "shop/data".parse().unwrap(),
            shared: false,
            disk: true,
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            hosts: Vec::new(),
        };
        case.claims = vec![claim(&[])];
        assert_eq!(needed(&case), 2);
        case.claims = vec![claim(&["3"])];
        assert_eq!(needed(&case), 3);
    }
}

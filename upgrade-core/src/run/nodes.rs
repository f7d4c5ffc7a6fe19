//! Steps on a pool's nodes: cordon and drain.

use std::collections::BTreeSet;

use super::Verdict;
use crate::journal::Write;
use crate::model::{NodeName, PoolName, RunId, Uid};
use crate::moves::back_in;
use crate::view::View;

/// The cordons that are missing on a pool's nodes.
pub(super) fn missing_cordons(view: &View, pool: &PoolName) -> Vec<Write> {
    let open = view.uncordoned_nodes_of(pool);
    open.map(|node| Write::Cordon { node: node.name.clone(), uid: node.uid.clone() }).collect()
}

/// Every node of the pool is cordoned.
pub(super) fn cordon(view: &View, pool: &PoolName) -> Verdict {
    let missing = missing_cordons(view, pool);
    if missing.is_empty() {
        Verdict::Done(format!("{} nodes of {pool} are cordoned", view.nodes_of(pool).count()))
    } else {
        Verdict::Write(missing)
    }
}

/// Every node of the pool takes pods again, and is in load balancers, that this run has cordoned or taken out. What somebody else
/// has cordoned stays so.
pub(super) fn uncordon(
    view: &View,
    run: &RunId,
    pool: &PoolName,
    ours: &BTreeSet<(&NodeName, &Uid)>,
) -> Verdict {
    let cordoned =
        view.nodes_of(pool).filter(|node| node.unschedulable && ours.contains(&(&node.name, &node.uid)));
    let mut writes: Vec<Write> =
        cordoned.map(|node| Write::Uncordon { node: node.name.clone(), uid: node.uid.clone() }).collect();
    writes.extend(back_in(run, view.nodes_of(pool)));
    if writes.is_empty() {
        Verdict::Done(format!("no node of {pool} is cordoned by this run"))
    } else {
        Verdict::Write(writes)
    }
}

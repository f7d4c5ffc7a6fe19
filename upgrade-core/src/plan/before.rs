//! What the nodes of a pool have before their upgrade, to be compared with what they have after it.

use std::collections::BTreeSet;

use super::PoolBefore;
use crate::model::{Node, Pool, Taint};

impl PoolBefore {
    /// As it is now.
    pub(crate) fn of(pool: &Pool, nodes: &[&Node]) -> Self {
        let everywhere =
            |key: &String, value: &String| nodes.iter().all(|node| node.labels.get(key) == Some(value));
        let labels = pool.labels.iter().filter(|(key, value)| everywhere(key, value));
        let mut taints = nodes.iter().map(|node| {
            let lasting = node.taints.iter().filter(|taint| Self::lasts(taint));
            lasting.cloned().collect::<BTreeSet<Taint>>()
        });
        let first = taints.next();
        let same = first.filter(|first| taints.all(|other| other == *first));
        Self {
            pool: pool.name.clone(),
            labels: labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
            taints: same.map(|taints| taints.into_iter().collect()),
        }
    }

    /// Is it none of those that Kubernetes and the cloud set and take away by the node's health (well-known taints)?
    pub(crate) fn lasts(taint: &Taint) -> bool {
        let passing = ["node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"];
        !passing.iter().any(|prefix| taint.key.starts_with(prefix))
    }
}

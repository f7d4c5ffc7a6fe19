//! Objects that the unit tests of several rooms need.

use super::{
    Claim, LabelSelector, Labels, PodTemplate, Strategy, Uid, Workload, WorkloadKind, WorkloadRef,
    WorkloadStatus,
};

/// A settled Deployment `shop/web` with a readiness probe.
pub(crate) fn deployment(replicas: u32, surge: &str, unavailable: &str) -> Workload {
    let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
    Workload {
        reference: WorkloadRef { kind: WorkloadKind::Deployment, name: "shop/web".parse().unwrap() },
        uid: Uid::new("web-uid").unwrap(),
        owner: None,
        generation: 1,
        replicas,
        selector: Some(LabelSelector::of_labels(labels.clone())),
        strategy: Strategy::Rolling {
            max_surge: surge.parse().unwrap(),
            max_unavailable: unavailable.parse().unwrap(),
        },
        paused: false,
        min_ready_seconds: 0,
        template: PodTemplate { labels, readiness_probe: true, ..PodTemplate::default() },
        status: WorkloadStatus {
            observed_generation: 1,
            replicas,
            updated: replicas,
            ready: replicas,
            available: replicas,
            trouble: None,
        },
    }
}

/// A claim that one node at a time can mount.
pub(crate) fn exclusive_claim(name: &str) -> Claim {
    Claim { name: name.parse().unwrap(), shared: false, zones: Vec::new() }
}

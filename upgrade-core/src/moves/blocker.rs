//! Who stands in the way of a move that waits too long, and what helps.

use std::collections::BTreeSet;

use super::engine::{is_doomed, pods_of_unread};
use crate::model::{ObjectName, Pod, PoolName, Workload, WorkloadRef};
use crate::view::View;

/// The pod that a move waits for most likely, with why and what helps; `None` if every pod of the workload is well.
///
/// Looks first for pods that do not work, those with a reason of Kubernetes before those without, then for pods that do not end.
pub(crate) fn blocker(view: &View, workload: &WorkloadRef, off: &PoolName) -> Option<String> {
    let known = view.workload(workload);
    let pods: Vec<&Pod> = match known {
        Some(known) => view.pods_of(known).collect(),
        None => pods_of_unread(view, workload).collect(),
    };
    let failing = |pod: &&&Pod| !pod.ready && !pod.terminating && !pod.is_finished();
    let troubled = pods.iter().filter(failing).min_by_key(|pod| (pod.trouble.is_none(), &pod.name));
    let lingers = |pod: &&&Pod| pod.terminating && is_doomed(view, pod, off);
    let ending = || pods.iter().filter(lingers).min_by_key(|pod| &pod.name);
    troubled.map(|pod| not_ready(pod, known)).or_else(|| ending().map(|pod| does_not_end(pod)))
}

/// The same for whatever is left on a pool.
pub(crate) fn blocker_on(view: &View, pool: &PoolName) -> Option<String> {
    let left = view.pods_in(pool).filter(|pod| !pod.leaves_with_node());
    let owners: BTreeSet<WorkloadRef> = left.filter_map(|pod| view.workload_of(pod)).collect();
    owners.iter().find_map(|owner| blocker(view, owner, pool))
}

fn not_ready(pod: &Pod, workload: Option<&Workload>) -> String {
    let reason = pod.trouble.as_deref();
    let place = pod.node.as_ref().map_or_else(|| "no node".to_owned(), |node| format!("node {node}"));
    let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("pod {} on {place} is not ready{why}; {}", pod.name, remedy(pod, reason, workload))
}

fn does_not_end(pod: &Pod) -> String {
    format!(
        "pod {} has been told to end and is still there; its grace is {} s: look for finalizers, and whether its node answers (kubectl {} describe pod {})",
        pod.name,
        pod.grace_seconds,
        in_namespace(&pod.name),
        pod.name.name(),
    )
}

/// What helps, by Kubernetes' reason (scheduler and kubelet: `PodScheduled`, container states).
fn remedy(pod: &Pod, reason: Option<&str>, workload: Option<&Workload>) -> String {
    let (scope, name) = (in_namespace(&pod.name), pod.name.name());
    match reason {
        Some("ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull") => {
            let images = pod.images.join(", ");
            format!("see that {images} can be pulled there, with the pull secrets that it has")
        }
        Some("Unschedulable") => {
            format!("make room, or mend what it asks of a node (kubectl {scope} describe pod {name})")
        }
        Some("SchedulingGated") => "whoever set its scheduling gates has to take them away".to_owned(),
        Some("CreateContainerConfigError") => {
            format!("a ConfigMap or Secret that it names is missing (kubectl {scope} describe pod {name})")
        }
        Some("CrashLoopBackOff" | "RunContainerError" | "CreateContainerError") => {
            format!("see why it does not start (kubectl {scope} logs {name} --previous)")
        }
        None if workload.is_some_and(|workload| workload.template.readiness_probe) => {
            format!("its readiness probe does not succeed (kubectl {scope} describe pod {name})")
        }
        Some(_) | None => format!("see kubectl {scope} describe pod {name}"),
    }
}

fn in_namespace(name: &ObjectName) -> String {
    format!("-n {}", name.namespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::{deployment, node, pod, replica_set};
    use crate::view::{Change, Object};

    fn named(change: impl FnOnce(&mut Pod)) -> Option<String> {
        let mut view = View::default();
        let mut changed = pod("shop/web-1-b", "old");
        change(&mut changed);
        let objects = [
            Object::Node(node("old", "user")),
            Object::Workload(deployment(2, "1", "0")),
            Object::Workload(replica_set(2)),
            Object::Pod(pod("shop/web-1-a", "old")),
            Object::Pod(changed),
        ];
        for object in objects {
            view.apply(Change::Applied(object));
        }
        blocker(&view, &deployment(2, "1", "0").reference, &PoolName::new("user").unwrap())
    }

    #[test]
    fn a_pod_that_does_not_work_is_named_with_its_reason_and_what_helps() {
        let with = |reason: Option<&str>| {
            named(|pod| {
                pod.ready = false;
                pod.images = vec!["registry.example.com/web:1".into()];
                pod.trouble = reason.map(str::to_owned);
            })
        };
        assert_eq!(
            with(Some("ImagePullBackOff")).unwrap(),
            "pod shop/web-1-b on node old is not ready: ImagePullBackOff; see that registry.example.com/web:1 can be pulled there, with the pull secrets that it has"
        );
        assert_eq!(
            with(Some("CrashLoopBackOff")).unwrap(),
            "pod shop/web-1-b on node old is not ready: CrashLoopBackOff; see why it does not start (kubectl -n shop logs web-1-b --previous)"
        );
        assert!(with(None).unwrap().contains("its readiness probe does not succeed"));
    }

    #[test]
    fn a_pod_that_does_not_end_is_named_and_healthy_ones_are_not() {
        assert!(named(|pod| pod.terminating = true).unwrap().contains("shop/web-1-b has been told to end"));
        assert_eq!(named(|_| {}), None);
    }
}

//! Answers that were lost: what became of the write is read, never guessed, and the write is never blindly repeated.

use std::time::Duration;

use crate::journal::{Write, WriteAnswer};
use crate::model::{ObjectName, Settings, Uid, WorkloadRef};
use crate::ports::{EvictionAnswer, PortErrorKind, Ports};
use crate::view::{Object, ResourceKind};

/// The pauses between tries to read. Who cannot read for so long cannot write either, and waits for contact.
const PAUSES: [u64; 6] = [1, 2, 4, 8, 15, 30];

/// What became of a write to the cluster whose answer was lost, as `lost`; `lost` itself if it cannot be read for a minute, or if
/// the write was to Azure, which is looked at anyhow.
pub(super) async fn look_for(ports: &Ports, write: &Write, lost: WriteAnswer) -> WriteAnswer {
    let Some((kind, name)) = place(write) else { return lost };
    for pause in PAUSES {
        match ports.kubernetes.read(kind, &name).await {
            Ok(found) => return came_to(write, found.as_ref()),
            Err(error) if !error.is_retryable() => return lost,
            Err(error) => {
                let pause = error.retry_after.unwrap_or_default().max(Duration::from_secs(pause));
                ports.clock.sleep_until(ports.clock.now() + pause).await;
            }
        }
    }
    lost
}

/// Where the write shows.
pub(super) fn place(write: &Write) -> Option<(ResourceKind, String)> {
    let of = |workload: &WorkloadRef| {
        Some((ResourceKind::of_workload(&workload.kind)?, workload.name.to_string()))
    };
    match write {
        Write::Cordon { node, .. }
        | Write::Uncordon { node, .. }
        | Write::Exclude { node, .. }
        | Write::Include { node, .. } => Some((ResourceKind::Node, node.to_string())),
        Write::Restart { workload, .. } | Write::Lend { workload, .. } | Write::GiveBack { workload, .. } => {
            of(workload)
        }
        Write::Evict { pod, .. } | Write::DeletePrewarmPod { pod, .. } => Some(pod_at(pod)),
        Write::CreatePrewarmPod { pod } => Some(pod_at(&pod.name)),
        Write::UpgradeControlPlane { .. }
        | Write::CreatePool { .. }
        | Write::UpgradePool { .. }
        | Write::DeletePool { .. } => None,
    }
}

fn pod_at(pod: &ObjectName) -> (ResourceKind, String) {
    (ResourceKind::Pod, pod.to_string())
}

/// What the object says of the write.
pub(super) fn came_to(write: &Write, found: Option<&Object>) -> WriteAnswer {
    let is_so = match (write, found) {
        (Write::Cordon { uid, .. }, Some(Object::Node(node))) => node.uid == *uid && node.unschedulable,
        (Write::Uncordon { uid, .. }, Some(Object::Node(node))) => node.uid == *uid && !node.unschedulable,
        (Write::Exclude { uid, .. }, Some(Object::Node(node))) => {
            node.uid == *uid && node.excluded_by().is_some()
        }
        (Write::Include { uid, .. }, Some(Object::Node(node))) => {
            node.uid == *uid && node.excluded_by().is_none()
        }
        (Write::Restart { uid, restart, .. }, Some(Object::Workload(workload))) => {
            workload.uid == *uid && workload.template.restart_id.as_ref() == Some(restart)
        }
        (
            Write::Lend { uid, lent: wanted, .. } | Write::GiveBack { uid, former: wanted, .. },
            Some(Object::Workload(workload)),
        ) => workload.uid == *uid && wanted.differing_from(&Settings::of(workload)).is_empty(),
        (Write::Evict { uid, .. }, found) => {
            return match goes(uid, found) {
                Some(false) => not_done(),
                Some(true) => WriteAnswer::Eviction { eviction: EvictionAnswer::Accepted },
                None => WriteAnswer::Eviction { eviction: EvictionAnswer::Gone },
            };
        }
        (Write::DeletePrewarmPod { uid, .. }, found) => goes(uid, found) != Some(false),
        (Write::CreatePrewarmPod { .. }, found) => found.is_some(),
        _ => false,
    };
    if is_so { WriteAnswer::Done } else { not_done() }
}

/// Is the pod on its way out? `None` if it is gone.
fn goes(uid: &Uid, found: Option<&Object>) -> Option<bool> {
    match found {
        Some(Object::Pod(pod)) if pod.uid == *uid => Some(pod.terminating),
        _ => None,
    }
}

fn not_done() -> WriteAnswer {
    let message = "the answer was lost; it was looked, and nothing had been done".to_owned();
    WriteAnswer::Failed { message, kind: PortErrorKind::Unreachable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RestartId;
    use crate::model::tests_support::{deployment, node, pod};

    #[test]
    fn what_became_of_a_write_is_read_from_its_object() {
        let old = node("old", "user");
        let cordon = Write::Cordon { node: old.name.clone(), uid: old.uid.clone() };
        let mut cordoned = old.clone();
        cordoned.unschedulable = true;
        let mut other = cordoned.clone();
        other.uid = Uid::new("another").unwrap();
        for (found, is_so) in
            [(Some(old), false), (Some(cordoned), true), (Some(other), false), (None, false)]
        {
            let found = found.map(Object::Node);
            assert_eq!(came_to(&cordon, found.as_ref()) == WriteAnswer::Done, is_so, "{found:?}");
        }
        let web = deployment(2, "1", "0");
        let id = RestartId::new("r.1.1.1").unwrap();
        let (workload, uid) = (web.reference.clone(), web.uid.clone());
        let restart = Write::Restart { workload, uid, restart: id.clone() };
        assert_eq!(came_to(&restart, Some(&Object::Workload(web.clone()))), not_done());
        let mut restarted = web;
        restarted.template.to_mut().restart_id = Some(id);
        assert_eq!(came_to(&restart, Some(&Object::Workload(restarted))), WriteAnswer::Done);
    }

    #[test]
    fn an_evicted_pod_ends_is_gone_or_is_another_one() {
        let stays = pod("shop/web-1-a", "old");
        let evict = Write::Evict { pod: stays.name.clone(), uid: stays.uid.clone() };
        let mut ends = stays.clone();
        ends.terminating = true;
        let mut another = stays.clone();
        another.uid = Uid::new("another").unwrap();
        let answered = |eviction| WriteAnswer::Eviction { eviction };
        assert_eq!(came_to(&evict, Some(&Object::Pod(stays))), not_done());
        assert_eq!(came_to(&evict, Some(&Object::Pod(ends))), answered(EvictionAnswer::Accepted));
        assert_eq!(came_to(&evict, Some(&Object::Pod(another))), answered(EvictionAnswer::Gone));
        assert_eq!(came_to(&evict, None), answered(EvictionAnswer::Gone));
    }
}

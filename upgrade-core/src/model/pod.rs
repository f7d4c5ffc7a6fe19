//! Pods.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Labels, NodeName, ObjectName, PullAccess, Pulling, Resources, SchedulingRules, Shared, Uid, WorkloadKind,
};

/// A pod, as far as moving it is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Namespace and name. A StatefulSet gives the same name to the next pod: compare [`uid`](Self::uid) as well.
    pub name: ObjectName,
    /// The uid.
    pub uid: Uid,
    /// Labels.
    pub labels: Shared<Labels>,
    /// Where it runs; `None` while it waits for a node.
    pub node: Option<NodeName>,
    /// Its controller.
    pub owner: Option<Owner>,
    /// The phase.
    pub phase: PodPhase,
    /// Condition `Ready` is `True`.
    pub ready: bool,
    /// When it became ready, for `minReadySeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Timestamp>,
    /// It has been told to go (`metadata.deletionTimestamp` is set).
    pub terminating: bool,
    /// A static pod of the kubelet; nobody moves it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mirror: bool,
    /// What it asks for, init containers and overhead included.
    pub requests: Resources,
    /// Where it may run.
    #[serde(default)]
    pub rules: Shared<SchedulingRules>,
    /// Its priority.
    #[serde(default)]
    pub priority: i32,
    /// Names of its PersistentVolumeClaims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
    /// It keeps data in an `emptyDir`, which goes with the pod.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_dir: bool,
    /// Images of its containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Images of its init containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_images: Vec<String>,
    /// What the images of its containers are by content, in their order (`imageID`); an empty text where the kubelet has not said,
    /// and nothing at all where it has said of none.
    #[serde(default, skip_serializing_if = "says_nothing")]
    pub image_ids: Shared<Vec<String>>,
    /// With whose credentials they are pulled.
    #[serde(default, skip_serializing_if = "has_no_access")]
    pub pull_access: Shared<PullAccess>,
    /// A run made it to have images pulled: how far that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulling: Option<Box<Pulling>>,
    /// Seconds it is given to end.
    pub grace_seconds: u32,
    /// How often its containers were started again, all together.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// Why it is not running, in the kubelet's or the scheduler's word (`ImagePullBackOff`, `Unschedulable`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

fn says_nothing(ids: &Shared<Vec<String>>) -> bool {
    ids.is_empty()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn has_no_access(access: &Shared<PullAccess>) -> bool {
    access.is_empty()
}

/// The controller of an object (`ownerReferences` with `controller: true`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name, in the same namespace.
    pub name: String,
    /// Its uid.
    pub uid: Uid,
}

/// A pod's phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    /// Not all containers have started.
    Pending,
    /// Running.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Kubernetes' own `Unknown`, or a phase of a newer Kubernetes.
    #[serde(untagged)]
    Unknown(String),
}

impl Pod {
    /// It has ended and only its record is left.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, PodPhase::Succeeded | PodPhase::Failed)
    }

    /// Healthy in the sense of the Eviction API: ready and not going.
    pub fn is_healthy(&self) -> bool {
        self.ready && !self.terminating
    }

    /// What an image of its containers is by content: the part behind `@`. `None` where that is not known.
    pub fn content_of(&self, image: &str) -> Option<&str> {
        let place = self.images.iter().position(|own| own == image)?;
        Some(self.image_ids.get(place)?.split_once('@')?.1)
    }

    /// Every image that a new pod like it needs, those of its init containers first.
    pub fn all_images(&self) -> impl Iterator<Item = &String> {
        self.init_images.iter().chain(&self.images)
    }

    /// Stays with its node whatever happens: DaemonSet pods, mirror pods, records of finished pods, and pods that only have
    /// images pulled.
    pub fn leaves_with_node(&self) -> bool {
        self.mirror
            || self.pulling.is_some()
            || self.is_finished()
            || self.owner.as_ref().is_some_and(|o| o.kind == WorkloadKind::DaemonSet)
    }
}

//! Workloads: whatever owns pods and makes new ones.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    IntOrPercent, LabelSelector, Labels, ObjectName, Owner, PullAccess, Resources, RestartId,
    SchedulingRules, Shared, Uid,
};

/// The annotation on everything a run creates in Kubernetes.
pub const RUN_ANNOTATION: &str = "aks-drover/run";

/// The pod template annotation by which Drover restarts a workload; its value is a [`RestartId`], so that asking for the
/// same restart twice changes nothing.
pub const RESTART_ANNOTATION: &str = "aks-drover/restart-id";

/// The annotation that `kubectl rollout restart` writes; written too, because people and tools look for it.
pub const RESTARTED_AT_ANNOTATION: &str = "kubectl.kubernetes.io/restartedAt";

/// The kinds of owners that Drover knows by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// apps/v1.
    Deployment,
    /// apps/v1.
    StatefulSet,
    /// apps/v1.
    DaemonSet,
    /// apps/v1.
    ReplicaSet,
    /// batch/v1.
    Job,
    /// Any other owner, by its kind.
    #[serde(untagged)]
    Other(String),
}

impl WorkloadKind {
    /// From an `ownerReference`; the group decides, because other groups reuse the names.
    pub fn of(api_version: &str, kind: &str) -> Self {
        match (api_version.split('/').next().unwrap_or_default(), kind) {
            ("apps", "Deployment") => Self::Deployment,
            ("apps", "StatefulSet") => Self::StatefulSet,
            ("apps", "DaemonSet") => Self::DaemonSet,
            ("apps", "ReplicaSet") => Self::ReplicaSet,
            ("batch", "Job") => Self::Job,
            _ => Self::Other(kind.to_owned()),
        }
    }

    /// Kubernetes' name of the kind.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
            Self::Other(kind) => kind,
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A workload by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkloadRef {
    /// The kind.
    pub kind: WorkloadKind,
    /// Namespace and name.
    pub name: ObjectName,
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// A workload, as far as moving its pods is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Kind and name.
    pub reference: WorkloadRef,
    /// The uid.
    pub uid: Uid,
    /// Its own controller: the Deployment of a ReplicaSet, an operator's object, a CronJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// `metadata.generation`: counts changes of the spec.
    pub generation: i64,
    /// The pods wanted (`spec.replicas`; a DaemonSet's `desiredNumberScheduled`; 0 where the kind has none).
    pub replicas: u32,
    /// Which pods are its own; `None` matches none.
    pub selector: Option<Shared<LabelSelector>>,
    /// How it replaces pods.
    pub strategy: Strategy,
    /// A Deployment that does not roll until it is resumed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Seconds a pod must be ready to count as available.
    #[serde(default)]
    pub min_ready_seconds: u32,
    /// The pods it makes.
    pub template: Shared<PodTemplate>,
    /// What its controller reports.
    pub status: WorkloadStatus,
}

/// How a workload replaces its pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Deployment and DaemonSet `RollingUpdate`.
    Rolling {
        /// Pods above the wanted number.
        max_surge: IntOrPercent,
        /// Pods that may be missing.
        max_unavailable: IntOrPercent,
    },
    /// Deployment `Recreate`: all old pods go before the first new one comes.
    Recreate,
    /// StatefulSet `RollingUpdate`: one ordinal after another, the old pod first.
    Ordered {
        /// Ordinals below it keep the old revision.
        partition: u32,
    },
    /// `OnDelete`: pods are replaced when somebody deletes them.
    OnDelete,
    /// The kind never replaces running pods (ReplicaSet, Job).
    Never,
}

/// The pod template, as far as moving is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodTemplate {
    /// Labels of the pods.
    pub labels: Labels,
    /// The restart that a run of Drover asked for last (annotation `aks-drover/restart-id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_id: Option<RestartId>,
    /// What a pod asks for.
    pub requests: Resources,
    /// What a pod may use at most, as far as its containers say; a quota may count it.
    #[serde(default)]
    pub limits: Resources,
    /// Where a pod may run.
    #[serde(default)]
    pub rules: SchedulingRules,
    /// Every container has a readiness probe, or the pod a readiness gate: "ready" means something.
    pub readiness_probe: bool,
    /// No container has one, and the pod no gate: "ready" means no more than "started".
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unprobed: bool,
    /// Names of PersistentVolumeClaims in the template; those a StatefulSet makes are on its pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
    /// The StatefulSet makes claims of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claim_templates: bool,
    /// A pod keeps data in an `emptyDir` on disk, which goes with the pod.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_dir: bool,
    /// A pod uses a directory of its node (`hostPath`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_path: bool,
    /// A container waits before it ends (`lifecycle.preStop`), so that nobody is sent to it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pre_stop: bool,
    /// What it asks of a kubelet that an older one does not have, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kubelet_features: Vec<String>,
    /// Images of its containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Images of its init containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_images: Vec<String>,
    /// With whose credentials they are pulled.
    #[serde(default, skip_serializing_if = "PullAccess::is_empty")]
    pub pull_access: PullAccess,
    /// Seconds a pod is given to end.
    pub grace_seconds: u32,
    /// A pod's priority.
    #[serde(default)]
    pub priority: i32,
}

/// What a workload's controller reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadStatus {
    /// The generation the report is about; older than `generation` means stale.
    pub observed_generation: i64,
    /// Pods that exist, terminating ones excluded.
    pub replicas: u32,
    /// Pods of the newest template.
    pub updated: u32,
    /// Ready pods.
    pub ready: u32,
    /// Pods ready for long enough.
    pub available: u32,
    /// A rollout's failure in the controller's words (`ProgressDeadlineExceeded`, `FailedCreate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Workload {
    /// `(surge, unavailable)` of a rolling Deployment after Kubernetes' rounding: surge up, unavailable down, and one
    /// unavailable if both come to nothing. `None` if it does not roll.
    pub fn rolling_limits(&self) -> Option<(u32, u32)> {
        let Strategy::Rolling { max_surge, max_unavailable } = self.strategy else { return None };
        let surge = max_surge.ceil_of(self.replicas);
        let mut unavailable = max_unavailable.floor_of(self.replicas);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Some((surge, unavailable.min(self.replicas)))
    }

    /// How many of its pods may leave at a time, as far as its budget lets them: as many as its own rollouts let be missing, and
    /// a quarter where it has none, at least one. One of a StatefulSet, whose members are not alike, and of what keeps the
    /// cluster going (`kube-system`).
    pub fn most_leaving(&self) -> u32 {
        let one = self.reference.kind == WorkloadKind::StatefulSet
            || self.reference.name.namespace() == "kube-system";
        let most = self.rolling_limits().map_or(self.replicas / 4, |(_, unavailable)| unavailable);
        if one { 1 } else { most.max(1) }
    }

    /// Is the rollout of the current generation complete, by the strict test: observed, every wanted pod updated and
    /// available, and none besides? Old pods that are still ending do not show here; look at the pods.
    pub fn is_settled(&self) -> bool {
        let status = &self.status;
        let whole = status.replicas == self.replicas && status.available == self.replicas;
        let newest = match self.strategy {
            Strategy::Rolling { .. } | Strategy::Recreate => status.updated == self.replicas,
            Strategy::Ordered { partition } => status.updated + partition.min(self.replicas) >= self.replicas,
            Strategy::OnDelete | Strategy::Never => true,
        };
        status.observed_generation >= self.generation && whole && newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::deployment;

    #[test]
    fn rolling_limits_match_the_table_of_the_deployment_controller() {
        // Replicas, surge and unavailable of the default 25 % / 25 %.
        for (replicas, surge, unavailable) in
            [(1, 1, 0), (2, 1, 0), (3, 1, 0), (4, 1, 1), (5, 2, 1), (8, 2, 2), (10, 3, 2)]
        {
            assert_eq!(
                deployment(replicas, "25%", "25%").rolling_limits(),
                Some((surge, unavailable)),
                "{replicas}"
            );
        }
        assert_eq!(deployment(3, "0", "0").rolling_limits(), Some((0, 1)));
        assert_eq!(deployment(0, "25%", "25%").rolling_limits(), Some((0, 0)));
        assert_eq!(deployment(1, "1", "5").rolling_limits(), Some((1, 1)));
    }

    #[test]
    fn a_stale_status_is_never_settled() {
        let mut web = deployment(3, "1", "0");
        assert!(web.is_settled());
        web.generation = 2;
        assert!(!web.is_settled());
        web.status.observed_generation = 2;
        web.status.updated = 2;
        assert!(!web.is_settled());
    }

    #[test]
    fn an_owner_of_another_group_is_not_mistaken_for_kubernetes_own() {
        assert_eq!(WorkloadKind::of("apps/v1", "StatefulSet"), WorkloadKind::StatefulSet);
        assert_eq!(
            WorkloadKind::of("apps.kruise.io/v1beta1", "StatefulSet"),
            WorkloadKind::Other("StatefulSet".into())
        );
    }
}

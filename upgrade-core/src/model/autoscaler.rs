//! HorizontalPodAutoscalers.

use serde::{Deserialize, Serialize};

use super::{ObjectName, WorkloadRef};

/// A HorizontalPodAutoscaler: its target's size is its own to set, and it does so every few seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autoscaler {
    /// Namespace and name.
    pub name: ObjectName,
    /// Whose size it sets.
    pub target: WorkloadRef,
}

//! What a move may borrow of a workload.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{IntOrPercent, Strategy, Workload};

/// Settings of a workload that a move may borrow; only those that are there are meant. None of them is a part of the pod
/// template: to change one begins no rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Settings {
    /// `spec.replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// `spec.strategy.rollingUpdate.maxSurge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<IntOrPercent>,
    /// `spec.strategy.rollingUpdate.maxUnavailable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrPercent>,
    /// `spec.minReadySeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready_seconds: Option<u32>,
}

impl Settings {
    /// All of a workload's.
    pub fn of(workload: &Workload) -> Self {
        let (max_surge, max_unavailable) = match workload.strategy {
            Strategy::Rolling { max_surge, max_unavailable } => (Some(max_surge), Some(max_unavailable)),
            Strategy::Recreate | Strategy::Ordered { .. } | Strategy::OnDelete | Strategy::Never => {
                (None, None)
            }
        };
        let min_ready_seconds = Some(workload.min_ready_seconds);
        Self { replicas: Some(workload.replicas), max_surge, max_unavailable, min_ready_seconds }
    }

    /// None is there.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Those that `others` has, too, whatever the values.
    #[must_use]
    pub fn named_in(&self, others: &Self) -> Self {
        self.filter(others, |_, other| other)
    }

    /// Those that `others` does not have.
    #[must_use]
    pub fn not_named_in(&self, others: &Self) -> Self {
        self.filter(others, |_, other| !other)
    }

    /// Those that have the same value in `others`.
    #[must_use]
    pub fn equal_in(&self, others: &Self) -> Self {
        self.filter(others, |same, _| same)
    }

    /// Those that have another value in `others`, or none.
    #[must_use]
    pub fn differing_from(&self, others: &Self) -> Self {
        self.filter(others, |same, _| !same)
    }

    /// Keeps what `keep` says, which learns whether the value is the same in `others` and whether there is one at all.
    fn filter(&self, others: &Self, keep: impl Fn(bool, bool) -> bool) -> Self {
        fn kept<T: Copy + PartialEq>(
            own: Option<T>,
            other: Option<T>,
            keep: impl Fn(bool, bool) -> bool,
        ) -> Option<T> {
            own.filter(|_| keep(own == other, other.is_some()))
        }
        Self {
            replicas: kept(self.replicas, others.replicas, &keep),
            max_surge: kept(self.max_surge, others.max_surge, &keep),
            max_unavailable: kept(self.max_unavailable, others.max_unavailable, &keep),
            min_ready_seconds: kept(self.min_ready_seconds, others.min_ready_seconds, &keep),
        }
    }

    /// The JSON merge patch that writes them into a workload.
    pub fn merge_patch(&self) -> Value {
        let limit = |value: IntOrPercent| match value {
            IntOrPercent::Int(count) => json!(count),
            IntOrPercent::Percent(_) => json!(value.to_string()),
        };
        let mut spec = Map::new();
        spec.extend(self.replicas.map(|value| ("replicas".to_owned(), json!(value))));
        spec.extend(self.min_ready_seconds.map(|value| ("minReadySeconds".to_owned(), json!(value))));
        let mut rolling = Map::new();
        rolling.extend(self.max_surge.map(|value| ("maxSurge".to_owned(), limit(value))));
        rolling.extend(self.max_unavailable.map(|value| ("maxUnavailable".to_owned(), limit(value))));
        if !rolling.is_empty() {
            spec.insert("strategy".to_owned(), json!({ "rollingUpdate": rolling }));
        }
        json!({ "spec": spec })
    }

    /// Each with its name in Kubernetes.
    fn named(&self) -> impl Iterator<Item = (&'static str, String)> {
        let all = [
            ("replicas", self.replicas.map(|value| value.to_string())),
            ("maxSurge", self.max_surge.map(|value| value.to_string())),
            ("maxUnavailable", self.max_unavailable.map(|value| value.to_string())),
            ("minReadySeconds", self.min_ready_seconds.map(|value| value.to_string())),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, value)) in self.named().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::deployment;

    fn settings(replicas: Option<u32>, surge: Option<&str>) -> Settings {
        let max_surge = surge.map(|text| text.parse().unwrap());
        Settings { replicas, max_surge, ..Settings::default() }
    }

    #[test]
    fn settings_are_compared_one_by_one() {
        let all = Settings::of(&deployment(3, "0", "25%"));
        assert_eq!(all.to_string(), "replicas 3, maxSurge 0, maxUnavailable 25%, minReadySeconds 0");
        let lent = settings(Some(4), Some("1"));
        assert_eq!(all.named_in(&lent), settings(Some(3), Some("0")));
        let half = settings(Some(4), Some("2"));
        assert_eq!(
            (lent.equal_in(&half), lent.differing_from(&half)),
            (settings(Some(4), None), settings(None, Some("1")))
        );
        assert!(lent.differing_from(&lent).is_empty() && !lent.is_empty());
    }

    #[test]
    fn a_patch_writes_what_is_there_and_nothing_else() {
        let patch = settings(Some(3), None).merge_patch();
        assert_eq!(patch, json!({ "spec": { "replicas": 3 } }));
        let patch = settings(None, Some("25%")).merge_patch();
        assert_eq!(patch, json!({ "spec": { "strategy": { "rollingUpdate": { "maxSurge": "25%" } } } }));
    }
}

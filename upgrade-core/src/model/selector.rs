//! Label selectors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A Kubernetes `LabelSelector`. An empty selector matches everything; an absent one (an `Option` here) matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelSelector {
    /// Labels that must be there with this value.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Further requirements; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expressions: Vec<LabelExpression>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelExpression {
    /// The label's key.
    pub key: String,
    /// What must hold.
    pub operator: LabelOperator,
    /// The values for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// The operators of a label selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabelOperator {
    /// The value is one of the listed.
    In,
    /// The label is absent or its value is none of the listed.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// An operator of a newer Kubernetes. Matches nothing, so that nobody is disturbed on a guess.
    #[serde(untagged)]
    Unknown(String),
}

impl LabelSelector {
    /// A selector that asks for these labels.
    pub fn of_labels(labels: Labels) -> Self {
        Self { labels, expressions: Vec::new() }
    }

    /// Does the selector match an object with these labels?
    pub fn matches(&self, labels: &Labels) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|expression| expression.matches(labels))
    }
}

impl LabelExpression {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|v| self.values.contains(v));
        match &self.operator {
            LabelOperator::In => listed,
            LabelOperator::NotIn => !listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
            LabelOperator::Unknown(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn an_empty_selector_matches_everything_and_an_unknown_operator_nothing() {
        assert!(LabelSelector::default().matches(&labels(&[])));
        let expression = |operator| LabelSelector {
            labels: Labels::new(),
            expressions: vec![LabelExpression { key: "app".into(), operator, values: vec!["web".into()] }],
        };
        let web = labels(&[("app", "web")]);
        assert!(expression(LabelOperator::In).matches(&web));
        assert!(!expression(LabelOperator::NotIn).matches(&web));
        assert!(expression(LabelOperator::NotIn).matches(&labels(&[])));
        assert!(!expression(LabelOperator::Unknown("Like".into())).matches(&web));
    }

    #[test]
    fn operators_survive_a_round_trip_known_or_not() {
        for text in ["\"In\"", "\"DoesNotExist\"", "\"Like\""] {
            let operator: LabelOperator = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&operator).unwrap(), text);
        }
    }
}

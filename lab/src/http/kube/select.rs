//! Label selectors and field selectors, as they stand in a query.

use serde_json::Value;
use upgrade_core::model::{LabelExpression, LabelOperator, LabelSelector, Labels};

use super::super::call::Call;
use super::objects::{AnyObject, shown};
use crate::error::ApiError;
use crate::store::Kind;

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    namespace: Option<String>,
    labels: LabelSelector,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    equal: bool,
    value: String,
}

impl Selection {
    pub(super) fn of(call: &Call, kind: Kind, namespace: Option<&str>) -> Result<Self, ApiError> {
        let labels = call.parameter("labelSelector").map(labels).transpose()?.unwrap_or_default();
        let fields =
            call.parameter("fieldSelector").map(|text| fields(text, kind)).transpose()?.unwrap_or_default();
        Ok(Self { namespace: namespace.map(str::to_owned), labels, fields })
    }

    /// Is anything but the namespace selected by?
    pub(super) fn is_everything(&self) -> bool {
        self.labels == LabelSelector::default() && self.fields.is_empty()
    }

    /// The namespace it is about, if it is about one.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(super) fn admits(&self, kind: Kind, object: &dyn AnyObject) -> bool {
        let meta = object.meta();
        let here = self.namespace.as_ref().is_none_or(|namespace| meta.namespace.as_ref() == Some(namespace));
        let none = Labels::new();
        here && self.labels.matches(meta.labels.as_ref().unwrap_or(&none))
            && self
                .fields
                .iter()
                .all(|field| (value_of(kind, object, &field.name) == field.value) == field.equal)
    }
}

/// The fields that a kind can be selected by beside its name and namespace (Kubernetes: field selectors).
const FIELDS: &[(Kind, &[&str])] = &[
    (
        Kind::Pod,
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    (Kind::Node, &["spec.unschedulable"]),
    (Kind::Namespace, &["status.phase"]),
    (Kind::Job, &["status.successful"]),
    (Kind::ReplicaSet, &["status.replicas"]),
    (Kind::Secret, &["type"]),
    (Kind::Service, &["spec.clusterIP", "spec.type"]),
    (
        Kind::Event,
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
];

fn supported(kind: Kind, name: &str) -> bool {
    let own = || FIELDS.iter().find(|(of, _)| *of == kind).is_some_and(|(_, names)| names.contains(&name));
    name == "metadata.name" || name == "metadata.namespace" && kind.is_namespaced() || own()
}

fn value_of(kind: Kind, object: &dyn AnyObject, name: &str) -> String {
    let meta = object.meta();
    let pointer = match name {
        "metadata.name" => return meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => return meta.namespace.clone().unwrap_or_default(),
        "spec.nodeName" => return object.node().unwrap_or_default().to_owned(),
        // Two fields are called otherwise in the object.
        "status.successful" => "/status/succeeded".to_owned(),
        "source" => "/source/component".to_owned(),
        other => format!("/{}", other.replace('.', "/")),
    };
    match shown(kind, object).pointer(&pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
        // An absent switch is off, an absent count nothing.
        _ if matches!(name, "spec.unschedulable" | "spec.hostNetwork") => "false".to_owned(),
        _ if matches!(name, "status.successful" | "status.replicas") => "0".to_owned(),
        _ => String::new(),
    }
}

fn fields(text: &str, kind: Kind) -> Result<Vec<Field>, ApiError> {
    let parse = |part: &str| {
        let invalid = || ApiError::bad_request(format!("invalid field selector: '{part}'"));
        let (name, equal, value) = if let Some((name, value)) = part.split_once("!=") {
            (name, false, value)
        } else if let Some((name, value)) = part.split_once("==") {
            (name, true, value)
        } else {
            let (name, value) = part.split_once('=').ok_or_else(invalid)?;
            (name, true, value)
        };
        if !supported(kind, name.trim()) {
            return Err(ApiError::bad_request(format!("field label not supported: {}", name.trim())));
        }
        Ok(Field { name: name.trim().to_owned(), equal, value: value.trim().to_owned() })
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(parse).collect()
}

/// `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
fn labels(text: &str) -> Result<LabelSelector, ApiError> {
    let mut selector = LabelSelector::default();
    for part in requirements(text) {
        let part = part.trim();
        let bad = || ApiError::bad_request(format!("unable to parse requirement: '{part}'"));
        if part.is_empty() {
            continue;
        }
        let (key, operator, values) = if let Some((head, list)) = part.split_once('(') {
            let list = list.strip_suffix(')').ok_or_else(bad)?;
            let (key, word) = head.trim().rsplit_once(char::is_whitespace).ok_or_else(bad)?;
            let operator = match word {
                "in" => LabelOperator::In,
                "notin" => LabelOperator::NotIn,
                _ => return Err(bad()),
            };
            (key, operator, list.split(',').map(|value| value.trim().to_owned()).collect())
        } else if let Some((key, value)) = part.split_once("!=") {
            (key, LabelOperator::NotIn, vec![value.trim().to_owned()])
        } else if let Some((key, value)) = part.split_once('=') {
            (key, LabelOperator::In, vec![value.trim_start_matches('=').trim().to_owned()])
        } else if let Some(key) = part.strip_prefix('!') {
            (key, LabelOperator::DoesNotExist, Vec::new())
        } else {
            (part, LabelOperator::Exists, Vec::new())
        };
        let key = key.trim().to_owned();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        let in_value = |byte: u8| byte != b'/' && plain(byte);
        let key_is_bad = key.is_empty() || !key.bytes().all(plain);
        if key_is_bad || !values.iter().all(|value: &String| value.bytes().all(in_value)) {
            return Err(bad());
        }
        selector.expressions.push(LabelExpression { key, operator, values });
    }
    Ok(selector)
}

/// Splits at the commas that are not inside parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_u32);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors_in_every_form() {
        let pod =
            Labels::from([("app", "web"), ("tier", "front")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        for (text, matches) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app!=web", false),
            ("absent!=x", true),
            ("app in (web, api),tier", true),
            ("app notin (web)", false),
            ("!absent", true),
            ("!app", false),
            ("kubernetes.io/name", false),
        ] {
            assert_eq!(labels(text).unwrap().matches(&pod), matches, "{text}");
        }
        for bad in ["app in web", "app in (web", "=x", "a b", "app like (x)"] {
            assert!(labels(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn field_selectors_are_only_those_the_kind_has() {
        let parsed = fields("spec.nodeName=n1,status.phase!=Failed", Kind::Pod).unwrap();
        assert_eq!(parsed.iter().map(|field| field.equal).collect::<Vec<_>>(), [true, false]);
        let error = fields("spec.replicas=1", Kind::Deployment).unwrap_err();
        assert!(error.message.contains("field label not supported: spec.replicas"), "{error}");
        assert!(fields("nonsense", Kind::Pod).is_err());
    }
}

//! The rules of names and labels.

use serde_json::Value;

use super::{Faults, at};
use crate::store::Kind;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// How a kind's names are made.
enum Form {
    Subdomain,
    Label,
    /// Anything that can stand in a path.
    PathSegment,
}

fn form_of(kind: Kind) -> Form {
    match kind {
        Kind::Namespace | Kind::Service => Form::Label,
        Kind::Role | Kind::RoleBinding | Kind::ClusterRole | Kind::ClusterRoleBinding => Form::PathSegment,
        _ => Form::Subdomain,
    }
}

pub(super) fn check(kind: Kind, object: &Value, faults: &mut Faults) {
    let given =
        |member: &str| at(object, &format!("/metadata/{member}")).as_str().filter(|name| !name.is_empty());
    // What is generated ends in letters.
    let (field, name) = match (given("name"), given("generateName")) {
        (Some(name), _) => ("metadata.name", name.to_owned()),
        (None, Some(stem)) => ("metadata.generateName", format!("{stem}x")),
        (None, None) => return faults.required("metadata.name", "name or generateName is required"),
    };
    let (good, rule) = match form_of(kind) {
        Form::Subdomain => (name.len() <= 253 && name.split('.').all(is_label), SUBDOMAIN),
        Form::Label => (name.len() <= 63 && is_label(&name), LABEL),
        Form::PathSegment => {
            let bad = name == "." || name == ".." || name.contains(['/', '%']);
            (!bad, "may not be '.' or '..' or contain '/' or '%'")
        }
    };
    if !good {
        faults.invalid(field, &Value::from(name), rule);
    }
    check_labels(object, faults);
}

pub(super) fn check_labels(object: &Value, faults: &mut Faults) {
    for (key, value) in at(object, "/metadata/labels").as_object().into_iter().flatten() {
        let name = key.rsplit_once('/').map_or(key.as_str(), |(_, name)| name);
        if name.is_empty() || !is_label_value(name) {
            faults.invalid("metadata.labels", &Value::from(key.as_str()), "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character");
        }
        if !value.as_str().is_some_and(is_label_value) {
            faults.invalid("metadata.labels", value, LABEL_VALUE);
        }
    }
}

fn is_label(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inside) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_label_value(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let edge = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63 && text.bytes().all(inside) && edge(text.bytes().next()) && edge(text.bytes().last())
}

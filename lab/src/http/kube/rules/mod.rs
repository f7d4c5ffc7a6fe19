//! What the API server does not accept (422): the rules of each kind that a client of an upgrade can run into, with Kubernetes'
//! own words (k8s.io/kubernetes/pkg/apis/*/validation).

mod change;
mod names;
mod object;

use serde_json::Value;

use crate::error::{ApiError, Cause};
use crate::store::Kind;

/// What is wrong with an object.
#[derive(Default)]
struct Faults(Vec<Cause>);

impl Faults {
    fn add(&mut self, reason: &str, field: &str, message: String) {
        self.0.push(Cause { reason: reason.to_owned(), message, field: Some(field.to_owned()) });
    }

    fn required(&mut self, field: &str, detail: &str) {
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        self.add("FieldValueRequired", field, format!("Required value{detail}"));
    }

    fn invalid(&mut self, field: &str, value: &Value, detail: &str) {
        self.add("FieldValueInvalid", field, format!("Invalid value: {value}: {detail}"));
    }

    fn unsupported(&mut self, field: &str, value: &Value, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", supported.join(", "));
        self.add("FieldValueNotSupported", field, message);
    }

    fn forbidden(&mut self, field: &str, detail: &str) {
        self.add("FieldValueForbidden", field, format!("Forbidden: {detail}"));
    }

    fn verdict(self, kind: Kind, object: &Value) -> Result<(), ApiError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        Err(ApiError::invalid(kind.names(), name, self.0))
    }
}

/// May this object be created? Its defaults are filled in.
pub(super) fn check_new(kind: Kind, object: &Value) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    names::check(kind, object, &mut faults);
    object::check(kind, object, &mut faults);
    object::check_complete(kind, object, &mut faults);
    faults.verdict(kind, object)
}

/// May the object `before` become `after`? The defaults of both are filled in.
pub(super) fn check_change(kind: Kind, before: &Value, after: &Value) -> Result<(), ApiError> {
    let of_itself = |object: &Value| {
        let mut faults = Faults::default();
        names::check_labels(object, &mut faults);
        object::check(kind, object, &mut faults);
        faults
    };
    // What was wrong before is not this client's fault: a world from a scenario was never checked.
    let (old, mut faults) = (of_itself(before), of_itself(after));
    faults.0.retain(|fault| !old.0.contains(fault));
    change::check(kind, before, after, &mut faults);
    faults.verdict(kind, after)
}

/// The element at a pointer, or null.
fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

/// A pointer as messages write it.
fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

#[cfg(test)]
mod tests;

//! How Rancher says no, in three of its shapes.

use serde_json::{Value, json};

/// A refusal by Rancher's API layer (norman).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RancherError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl RancherError {
    pub(crate) fn not_found(kind: &str, name: &str) -> Self {
        let message = format!("{kind}s.management.cattle.io \"{name}\" not found");
        Self { status: 404, code: "NotFound", message }
    }

    pub(crate) fn method_not_allowed() -> Self {
        // The code is spelled like this (norman: httperror).
        Self { status: 405, code: "MethodNotAllow", message: "Method not supported".to_owned() }
    }

    /// The body; `status` is a number here.
    pub(crate) fn body(&self) -> Value {
        json!({ "type": "error", "baseType": "error", "status": self.status, "code": self.code, "message": self.message })
    }
}

/// The body of every 401 of Rancher's own (Rancher: `pkg/auth/util`): `status` is a text, there is no code, and the cause is
/// not said.
pub(crate) fn must_authenticate() -> Value {
    json!({ "type": "error", "status": "401", "message": "Unauthorized 401: must authenticate" })
}

/// What Rancher's router says where it knows no such cluster: a Go struct as it is (Rancher: `pkg/clusterrouter/router.go`).
pub(crate) fn router_error(status: u16, code: &str, message: &str) -> Value {
    json!({ "Code": { "Code": code, "Status": status }, "Message": message, "Cause": Value::Null, "FieldName": "" })
}

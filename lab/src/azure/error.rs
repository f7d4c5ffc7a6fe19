//! How Azure says no.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// A refusal, by ARM or by the AKS resource provider behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArmError {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The code. AKS uses one code for several things; the message tells them apart.
    pub(crate) code: String,
    /// The finer code that only AKS gives.
    pub(crate) subcode: Option<String>,
    /// The message.
    pub(crate) message: String,
    /// How long to wait before the next try, where Azure says it.
    pub(crate) retry_after: Option<Duration>,
    origin: Origin,
}

/// Who refuses; the two write their errors in different forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Azure Resource Manager: `{"error":{..}}`.
    Manager,
    /// The AKS resource provider: the same members without an envelope.
    Provider,
}

impl ArmError {
    /// A refusal by AKS.
    pub(crate) fn aks(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            subcode: None,
            message: message.into(),
            retry_after: None,
            origin: Origin::Provider,
        }
    }

    /// A refusal by ARM, before AKS saw the request.
    pub(crate) fn arm(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { origin: Origin::Manager, ..Self::aks(status, code, message) }
    }

    /// 409: another operation holds the cluster or a pool.
    pub(crate) fn busy(why: &str) -> Self {
        let message = format!(
            "Operation is not allowed: {why}, please wait for it to finish before starting a new operation."
        );
        Self::aks(409, "OperationNotAllowed", message)
    }

    /// The same, with the wait that Azure asks for.
    pub(super) fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// 412: a condition on the eTag does not hold.
    pub(crate) fn precondition(message: impl Into<String>) -> Self {
        Self::aks(412, "PreconditionFailed", message)
    }

    /// 501: real Azure does this, the lab does not. Refused, so that nobody takes silence for consent.
    pub(crate) fn not_modelled(what: &str) -> Self {
        Self::aks(501, "NotModelledByTheLab", format!("the lab does not model {what}"))
    }

    /// The error without an envelope, as `status.provisioningError` and operations hold it.
    pub(crate) fn inner(&self) -> Value {
        let mut inner = json!({ "code": self.code, "message": self.message });
        if let Some(subcode) = &self.subcode {
            inner["subcode"] = subcode.as_str().into();
        }
        inner
    }

    /// The body of an answer.
    pub(crate) fn body(&self) -> Value {
        match self.origin {
            Origin::Manager => json!({ "error": self.inner() }),
            Origin::Provider => {
                let mut body = self.inner();
                body["details"] = Value::Null;
                if body.get("subcode").is_none() {
                    body["subcode"] = "".into();
                }
                body
            }
        }
    }
}

impl fmt::Display for ArmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ArmError {}

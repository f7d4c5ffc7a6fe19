//! The two error envelopes of ARM and of the AKS resource provider, read into one type.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::text;

/// Nested details deeper than this, or more of them than this on one level, are not kept: no real answer has them.
const DEEPEST: usize = 5;
const MOST_DETAILS: usize = 20;

/// What the service said went wrong. Text is cleaned of control characters and cut to 4,000 characters.
///
/// Read from ARM's `{"error":{..}}` and from the flat form of AKS, which alone carries a `subcode`.
///
/// ```
/// use aks_client::ServiceError;
///
/// let body = serde_json::json!({"code": "ValidationError", "subcode": "UpgradeBlockedOnDeprecatedAPIUsage",
///     "message": "Control Plane upgrade is blocked", "details": null});
/// let error = ServiceError::from_value(&body).expect("a flat envelope");
/// assert!(error.mentions("UpgradeBlockedOnDeprecatedAPIUsage"));
/// assert_eq!(error.to_string(), "ValidationError/UpgradeBlockedOnDeprecatedAPIUsage: Control Plane upgrade is blocked");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct ServiceError {
    /// The code, for example `OperationNotAllowed`; absent where the answer was no envelope at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The finer code only AKS gives, for example `UpgradeBlockedOnDeprecatedAPIUsage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subcode: Option<String>,
    /// The message; empty where the service gave none.
    #[serde(default)]
    pub message: String,
    /// What the error is about, where the service says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Nested errors; the one that explains is often here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<ServiceError>,
}

impl ServiceError {
    /// The error in either envelope, or `None` where the value holds neither a code nor a message.
    pub fn from_value(value: &Value) -> Option<Self> {
        Self::read(value, 0)
    }

    /// The error of an HTTP answer; a body that is no envelope (an HTML page of a proxy) is kept as a short message.
    pub(crate) fn from_body(body: &[u8]) -> Self {
        let parsed = serde_json::from_slice::<Value>(body).ok();
        parsed.as_ref().and_then(Self::from_value).unwrap_or_else(|| Self {
            message: text::shorten(&String::from_utf8_lossy(&body[..body.len().min(2_000)]), 300),
            ..Self::default()
        })
    }

    /// An error that this crate states itself, beside those the service gives.
    pub(crate) fn own(code: &str, message: String) -> Self {
        Self { code: Some(code.to_owned()), message, ..Self::default() }
    }

    fn read(value: &Value, depth: usize) -> Option<Self> {
        let object = match value.get("error") {
            Some(inner) if inner.is_object() => inner,
            _ => value,
        };
        let member = |names: [&str; 2]| {
            names
                .into_iter()
                .find_map(|name| object.get(name)?.as_str())
                .map(text::clean)
                .filter(|t| !t.is_empty())
        };
        let details = match object.get("details").and_then(Value::as_array) {
            Some(details) if depth < DEEPEST => {
                details.iter().take(MOST_DETAILS).filter_map(|detail| Self::read(detail, depth + 1)).collect()
            }
            _ => Vec::new(),
        };
        let error = Self {
            code: member(["code", "Code"]),
            subcode: member(["subcode", "subCode"]),
            message: member(["message", "Message"]).unwrap_or_default(),
            target: member(["target", "Target"]),
            details,
        };
        (error.code.is_some() || !error.message.is_empty() || !error.details.is_empty()).then_some(error)
    }

    /// Whether `code` appears as a code or subcode, here or nested, or inside a message in one of the forms AKS wraps
    /// other services' codes in (`Code="SubnetIsFull"`, `SubCode: LinkedAuthorizationFailed`). Without regard to case.
    pub fn mentions(&self, code: &str) -> bool {
        let is =
            |found: &Option<String>| found.as_deref().is_some_and(|found| found.eq_ignore_ascii_case(code));
        is(&self.code)
            || is(&self.subcode)
            || embedded_codes(&self.message).any(|found| found.eq_ignore_ascii_case(code))
            || self.details.iter().any(|detail| detail.mentions(code))
    }

    /// Whether `phrase` (ASCII) stands in a message, here or nested, without regard to case.
    pub fn says(&self, phrase: &str) -> bool {
        text::contains_ignoring_case(&self.message, phrase)
            || self.details.iter().any(|detail| detail.says(phrase))
    }

    /// The missing permission that an authorization error names, here or nested.
    pub fn missing_permission(&self) -> Option<MissingPermission> {
        MissingPermission::from_message(&self.message)
            .or_else(|| self.details.iter().find_map(Self::missing_permission))
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, &self.subcode) {
            (Some(code), Some(subcode)) => write!(f, "{code}/{subcode}")?,
            (Some(code), None) | (None, Some(code)) => write!(f, "{code}")?,
            (None, None) if self.message.is_empty() => return f.write_str("no explanation given"),
            (None, None) => return f.write_str(&self.message),
        }
        match (self.message.as_str(), self.details.first()) {
            ("", Some(detail)) => write!(f, ": {detail}"),
            ("", None) => Ok(()),
            (message, _) => write!(f, ": {message}"),
        }
    }
}

/// Codes written inside a message: `Code="X"`, `Code: X`, `SubCode: X`.
fn embedded_codes(message: &str) -> impl Iterator<Item = &str> {
    let mut rest = message;
    std::iter::from_fn(move || {
        loop {
            let start = text::find_ignoring_case(rest, "code")?;
            rest = &rest[start + 4..];
            let value = rest.trim_start().strip_prefix(['=', ':']);
            if let Some(value) = value {
                let value = value.trim_start().trim_start_matches(['"', '\'']);
                let end =
                    value.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(value.len());
                if end > 0 {
                    return Some(&value[..end]);
                }
            }
        }
    })
}

/// A permission the caller lacks, as an authorization error names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingPermission {
    /// The action, for example `Microsoft.Network/virtualNetworks/subnets/join/action`.
    pub action: String,
    /// The scope it is missing on, where the message names it.
    pub scope: Option<String>,
}

impl MissingPermission {
    /// Reads the two wordings of ARM: a direct refusal, and a refused linked resource (there the message first names an
    /// action the caller does have).
    ///
    /// ```
    /// use aks_client::MissingPermission;
    ///
    /// let missing = MissingPermission::from_message("The client 'x' with object id 'y' does not have authorization to \
    ///     perform action 'Microsoft.ContainerService/managedClusters/write' over scope '/subscriptions/s' or the scope \
    ///     is invalid.").expect("names an action");
    /// assert_eq!(missing.action, "Microsoft.ContainerService/managedClusters/write");
    /// assert_eq!(missing.scope.as_deref(), Some("/subscriptions/s"));
    /// ```
    pub fn from_message(message: &str) -> Option<Self> {
        let marker =
            ["does not have authorization to perform action", "does not have permission to perform action"]
                .into_iter()
                .find(|marker| text::contains_ignoring_case(message, marker))?;
        let (action, rest) = text::quoted_after(message, marker)?;
        let scope = text::quoted_after(rest, "scope").map(|(scope, _)| scope.to_owned());
        Some(Self { action: action.to_owned(), scope })
    }
}

impl fmt::Display for MissingPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Some(scope) => write!(f, "{} on {scope}", self.action),
            None => f.write_str(&self.action),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_envelopes_and_nested_details_are_read() {
        let arm = json!({"error": {"code": "LinkedAuthorizationFailed", "message": "no", "target": "subnet",
            "details": [{"code": "Inner", "message": "deep", "details": [{"code": "Deepest"}]}]}});
        let error = ServiceError::from_value(&arm).unwrap();
        assert_eq!(error.code.as_deref(), Some("LinkedAuthorizationFailed"));
        assert_eq!(error.target.as_deref(), Some("subnet"));
        assert!(error.mentions("inner") && error.mentions("Deepest") && error.says("DEEP"));

        let flat =
            json!({"code": "OperationNotAllowed", "details": null, "message": "busy", "subcode": "Sub"});
        let error = ServiceError::from_value(&flat).unwrap();
        assert_eq!(
            (error.subcode.as_deref(), error.to_string().as_str()),
            (Some("Sub"), "OperationNotAllowed/Sub: busy")
        );
    }

    #[test]
    fn a_code_wrapped_in_a_message_is_found_and_a_word_is_not_a_code() {
        let wrapped = |message: &str| ServiceError { message: message.to_owned(), ..ServiceError::default() };
        let error = wrapped(
            "VMSS failed. Code=\"SubnetIsFull\" Message=\"Subnet x\" SubCode: LinkedAuthorizationFailed.",
        );
        assert!(error.mentions("SubnetIsFull") && error.mentions("linkedauthorizationfailed"));
        assert!(!error.mentions("Subnet"));
        assert!(wrapped("ExitCode=50, Code: \"X\"").mentions("x"));
        assert!(!wrapped("the code SubnetIsFull").mentions("SubnetIsFull"));
    }

    #[test]
    fn a_page_of_html_is_a_short_message_without_a_code() {
        let page = format!("<html>\n<title>Proxy</title>{}</html>", "x".repeat(5_000));
        let error = ServiceError::from_body(page.as_bytes());
        assert_eq!(error.code, None);
        assert!(error.message.starts_with("<html> <title>Proxy") && error.message.chars().count() <= 301);
        assert_eq!(ServiceError::from_body(b"").to_string(), "no explanation given");
    }

    #[test]
    fn depth_and_number_of_details_are_bounded() {
        let mut body = json!({"code": "end"});
        for _ in 0..60 {
            body = json!({"code": "level", "details": [body]});
        }
        assert!(!ServiceError::from_value(&body).unwrap().mentions("end"));
        let wide = json!({"code": "wide", "details": vec![json!({"code": "d"}); 1_000]});
        assert_eq!(ServiceError::from_value(&wide).unwrap().details.len(), MOST_DETAILS);
    }

    #[test]
    fn the_missing_action_of_a_linked_resource_is_the_second_one_named() {
        let message = "The client 'c' with object id 'o' has permission to perform action \
            'Microsoft.ContainerService/managedClusters/agentPools/write' on scope '/subscriptions/s/pool'; however, it \
            does not have permission to perform action(s) 'Microsoft.Network/virtualNetworks/subnets/join/action' on the \
            linked scope(s) '/subscriptions/s/subnets/nodes' (respectively) or the linked scope(s) are invalid.";
        let missing = MissingPermission::from_message(message).unwrap();
        assert_eq!(missing.action, "Microsoft.Network/virtualNetworks/subnets/join/action");
        assert_eq!(missing.scope.as_deref(), Some("/subscriptions/s/subnets/nodes"));
        assert_eq!(MissingPermission::from_message("does not have authorization to perform action"), None);
    }

    #[test]
    fn an_error_can_be_stored_and_read_back() {
        let error =
            ServiceError::from_value(&json!({"code": "A", "message": "m", "details": [{"code": "B"}]}))
                .unwrap();
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<ServiceError>(&text).unwrap(), error);
    }
}

//! Errors on their way to Python. The exceptions are written there; here their class is chosen and their parts handed over.

use aks_drover::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::Serialize;
use serde_json::{Value, json};
use upgrade_core::ports::PortError;

/// The exception for an error of the facade.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let (class, parts) = match error {
        Error::Config(_)
        | Error::NoSuchCluster { .. }
        | Error::Unreadable { .. }
        | Error::NoPlan(_)
        | Error::Journal { .. } => ("ConfigError", json!({})),
        Error::Identity { evidence, .. } => ("IdentityError", json!({ "evidence": evidence })),
        Error::Blocked { findings } => ("Blocked", json!({ "findings": findings })),
        Error::Stale { drift, .. } => ("StalePlan", json!({ "drift": drift })),
        Error::Locked { by } => ("Locked", json!({ "by": by })),
        Error::Remote(error) => ("RemoteError", remote(error)),
        Error::RunFailed { journal, .. } | Error::RunLost { journal, .. } => {
            ("RunNotDone", json!({ "journal": journal }))
        }
        // The enum grows with the facade; its exit code still says what kind of error it is.
        _ => ("DroverError", json!({})),
    };
    make(py, class, &chain(error), error.hint(), error.exit_code(), &parts)
}

/// The exception for a value that cannot be read.
pub(crate) fn refuse(py: Python<'_>, message: &str, hint: Option<String>) -> PyErr {
    make(py, "ConfigError", message, hint, 2, &json!({}))
}

/// What was made of data as JSON.
pub(crate) fn json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

fn remote(error: &PortError) -> Value {
    json!({ "service": error.service.to_string(), "outcome_known": error.outcome_known() })
}

/// An error's text with those of its sources, as far as they say more.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

fn make(
    py: Python<'_>,
    class: &str,
    text: &str,
    hint: Option<String>,
    exit_code: u8,
    parts: &Value,
) -> PyErr {
    let exception = || {
        let keywords = PyDict::new(py);
        keywords.set_item("hint", hint)?;
        keywords.set_item("exit_code", exit_code)?;
        let from_native = py.import("aks_drover.errors")?.getattr("from_native")?;
        from_native.call((class, text, parts.to_string()), Some(&keywords))
    };
    // Should that fail, the failure is what Python hears: no error is lost.
    exception().map_or_else(|failure| failure, PyErr::from_value)
}

//! The environment: read here, and only what somebody has named.

use std::ffi::OsString;

/// The variable's value; `None` if it is not set or not text.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn text(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The variable's value as a path may be; `None` if it is not set or empty.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn path(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

//! Tests that need the process for themselves: its environment, or its log.

use std::process::Command;

use crate::env;

const MARK: &str = "AKS_DROVER_TEST_ALONE";

/// Runs the test of this name again in a process of its own with these variables, and is true in that process.
pub(super) fn alone(name: &str, variables: &[(&str, &str)]) -> bool {
    let test = format!("tokens::identity::tests::{name}");
    if env::text(MARK).as_deref() == Some(name) {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&test, "--exact", "--nocapture"])
        .env(MARK, name)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

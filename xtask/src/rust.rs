//! The Rust parts. One profile and one set of features (the workspace's) everywhere, so that nothing is compiled twice.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::counts;
use crate::parts::Tally;

/// What the outer `cargo run` sets for this crate. Build scripts of others (ring's) look at these, and would run again each time
/// that `cargo` and `cargo xtask` take turns.
const OWN: [&str; 9] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
    "CARGO_PKG_RUST_VERSION",
];

/// A command as if it were typed in `folder`.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    for name in OWN {
        command.env_remove(name);
    }
    command
}

/// Cargo with these arguments.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = command("cargo", root);
    command.args(arguments);
    command
}

/// Formatting and clippy.
pub(crate) fn lint(root: &Path, tally: &mut Tally) {
    tally.part("format", vec![cargo(root, &["fmt", "--all", "--check"])]);
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    tally.part("clippy", vec![cargo(root, &clippy)]);
}

/// Everything that the tests need, and the program of [`crate::nights`] with the features that it has there.
pub(crate) fn build(root: &Path, tally: &mut Tally) -> bool {
    let build = ["build", "--locked", "--workspace", "--tests", "--bin", "nights"];
    tally.part("build", vec![cargo(root, &build)])
}

/// Unit tests and the integration tests: what cargo runs if nothing is said, but for the examples in the manuals. Twice as many at a
/// time as there are processors: many wait for another process most of their time.
pub(crate) fn test(root: &Path, tally: &mut Tally) {
    let mut test = cargo(root, &["test", "--locked", "--workspace", "--tests", "--no-fail-fast"]);
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    test.env("RUST_TEST_THREADS", (2 * processors).to_string());
    tally.told_tests("cargo test", test, counts::cargo, counts::slowest);
}

/// The examples in the manuals. One of them is a whole upgrade at the pace of a real process, which waits for minutes.
pub(crate) fn examples(root: &Path, tally: &mut Tally) {
    let test = ["test", "--locked", "--workspace", "--doc", "--no-fail-fast"];
    tally.told_tests("doc tests", cargo(root, &test), counts::cargo, counts::slowest);
}

//! How long a rehearsed round trip takes, by the size of the cluster: every pod onto a buffer, and back.
//!
//! `cargo bench -p aks-drover-lab --bench rehearse [-- NODESxPODS_A_NODE ...]`; `100x30 1000x30` if nothing is said. Each cluster
//! is rehearsed in a process of its own, so that its memory is its own. Seconds are of CPU time: a rehearsal is one thread.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's output is its result")]

mod common;

use std::process::ExitCode;

use common::{Error, Rehearsed, rehearse, table};

fn main() -> ExitCode {
    let head = format!(
        "{:>10} {:>9} {:>9} {:>9} {:>10} {:>9} {:>9}",
        "cluster", "build s", "run s", "events", "us/event", "MB", "hours"
    );
    table(&head, &["100x30", "1000x30"], one)
}

fn one(size: &str) -> Result<(), Error> {
    let Rehearsed { built, took, events, report } = rehearse(size)?;
    #[expect(clippy::cast_precision_loss, reason = "numbers for people")]
    let (each, hours) = (took.as_secs_f64() * 1e6 / events as f64, report.duration_ms as f64 / 3_600_000.0);
    println!(
        "{size:>10} {:9.2} {:9.2} {events:9} {each:10.2} {:9.0} {hours:9.1}",
        built.as_secs_f64(),
        took.as_secs_f64(),
        resident()
    );
    Ok(())
}

/// The most memory that this process has had, in megabytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or_default() / 1000.0
}

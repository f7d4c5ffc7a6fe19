//! Plans, findings, events and reports in the forms people and programs read them.
//!
//! [`text`] is what the command line shows and what `str(plan)` gives in Python; [`markdown`] is for pull requests and pipeline
//! summaries; [`json`] for programs; [`junit`] for the "Tests" tab of a pipeline. Renderers only read: whoever embeds Drover can
//! use them on the data it has.
//!
//! Text, markdown and JUnit renderers clean what comes from a cluster ([`clean`]); JSON escapes it.

mod clean;
pub mod json;
#[cfg(feature = "cli")]
pub mod junit;
pub mod markdown;
mod page;
mod status;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
pub mod text;

pub use clean::{clean, clean_line};
pub use page::{Column, Line, Page, Tone, WIDTH};
pub use status::{RunStatus, StageState, StageStatus};

use std::time::Duration;

use cluster_lab::{FamilyForecast, UsageForecast};
use upgrade_core::event::{Report, RunOutcome};
use upgrade_core::finding::{Finding, Severity};
use upgrade_core::leftovers::LeftoverKind;
use upgrade_core::lock::AskEnd;
use upgrade_core::span;

/// Milliseconds as people read them.
pub(crate) fn took(milliseconds: u64) -> String {
    span::show(Duration::from_millis(milliseconds))
}

/// What a plan takes at most, over its rehearsals: nodes, quota, addresses, the cost of its buffers, pulls.
pub(crate) fn usage_words(usage: &UsageForecast) -> String {
    let UsageForecast {
        most_nodes,
        most_pods,
        most_vcpus,
        families,
        most_addresses,
        pulls,
        pulled_bytes,
        pulls_ahead,
        cold_pulls,
        buffer_node_minutes,
    } = usage;
    // A lone family has them all.
    let families: Vec<_> = families.iter().filter(|_| families.len() > 1).map(of_family).collect();
    let families = if families.is_empty() { String::new() } else { format!(" ({})", families.join(", ")) };
    format!(
        "at most {} nodes, {} pods and {} vCPUs{families}; {} addresses in a subnet that pods share, {} with overlay; \
         {} node-hours of buffer; {} image pulls ({} GB), {} of them ahead and {} while a pod waits",
        most_nodes.max,
        most_pods.max,
        most_vcpus.max,
        most_addresses.max,
        most_nodes.max,
        tenths(buffer_node_minutes.max, 60),
        pulls.max,
        tenths(pulled_bytes.max, 1_000_000_000),
        pulls_ahead.max,
        cold_pulls.max,
    )
}

fn of_family(family: &FamilyForecast) -> String {
    format!("{} {}", family.family, family.most_vcpus.max)
}

/// A quotient with one digit behind the point, rounded up.
fn tenths(number: u64, by: u64) -> String {
    let tenths = (number * 10).div_ceil(by);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `1 pod`, `2 pods`.
pub(crate) fn count(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// How many findings there are of each severity: `1 blocking, 2 advisory, 1 accepted`.
pub(crate) fn tally(findings: &[Finding]) -> String {
    let open = |severity| findings.iter().filter(|f| f.severity == severity && f.accepted.is_none()).count();
    let severities = [Severity::Blocking, Severity::Unknown, Severity::Advisory, Severity::Info];
    let accepted = findings.iter().filter(|finding| finding.accepted.is_some()).count();
    let counted = severities.map(|severity| (open(severity), severity.to_string()));
    let parts = counted.into_iter().chain([(accepted, "accepted".to_owned())]).filter(|(n, _)| *n > 0);
    let parts: Vec<String> = parts.map(|(n, what)| format!("{n} {what}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// Milliseconds without a ready endpoint, over all Services and gaps that have ended, and how many gaps there were.
pub(crate) fn downtime(report: &Report) -> (u64, usize) {
    let gaps = report.ledger.iter().flat_map(|record| &record.gaps);
    gaps.fold((0, 0), |(sum, n), gap| (sum + gap.end.map_or(0, |end| gap.millis(end)), n + 1))
}

/// What kind of thing is left, as people call it.
pub(crate) fn leftover_kind(kind: LeftoverKind) -> &'static str {
    match kind {
        LeftoverKind::Buffer => "buffer",
        LeftoverKind::Cordon => "cordon",
        LeftoverKind::OutOfBalancers => "load balancers",
        LeftoverKind::Settings => "settings",
        LeftoverKind::PrewarmPod => "prewarm pod",
        LeftoverKind::Lock => "lock",
    }
}

/// What came of a request to stop a run, in one line.
pub(crate) fn ask_words(end: &AskEnd) -> String {
    match end {
        AskEnd::NobodyWorks => {
            "not at work: nobody holds the lock of the cluster; nothing was asked".to_owned()
        }
        AskEnd::AnotherRun(holder) => {
            format!("not at work: the cluster is locked by {holder}; nothing was asked")
        }
        AskEnd::Dead(holder) => format!(
            "there is nobody to stop: the process that holds the lock ({holder}) has not renewed it for as long as it lasts"
        ),
        AskEnd::Deaf(holder) => {
            format!("at work ({holder}), and does not read requests: its process is of an older version")
        }
        AskEnd::LetGo => "stopped, and has given back the lock of the cluster".to_owned(),
        AskEnd::FellSilent(holder) => format!(
            "asked to stop; its process ({holder}) does not renew the lock any more and has not given it back: it stopped at once, or died"
        ),
        AskEnd::StillAtWork(holder) => format!("asked to stop, and still at work ({holder})"),
    }
}

/// How a run ended, in one line.
pub(crate) fn outcome_words(outcome: &RunOutcome) -> String {
    match outcome {
        RunOutcome::Done => "done".to_owned(),
        RunOutcome::Aborted => "stopped at a safe point".to_owned(),
        RunOutcome::Held { step, title, cause } => format!("held at step {step} ({title}): {cause}"),
        RunOutcome::Reversed { step, title, cause, .. } => {
            format!("failed at step {step} ({title}) and brought everything back: {cause}")
        }
        RunOutcome::Paused { question } => format!("paused: {}", question.text),
        RunOutcome::IdentityLost { why } => format!("stopped, not the cluster the plan is for: {why}"),
        RunOutcome::Locked { by } => format!("refused, the cluster is locked by {by}"),
    }
}

/// The sentence that a run is for.
pub(crate) fn proof(report: &Report) -> String {
    let services = report.ledger.len();
    match downtime(report) {
        _ if services == 0 => "no Service had a ready endpoint to watch".to_owned(),
        (_, 0) if services == 1 => "0 s without ready endpoints for the one Service".to_owned(),
        (_, 0) => format!("0 s without ready endpoints for every one of {services} Services"),
        (milliseconds, gaps) => format!(
            "{} without ready endpoints in {}, over {}",
            exact(milliseconds),
            count(gaps, "gap", "gaps"),
            count(services, "Service", "Services")
        ),
    }
}

/// Seconds to the tenth: a gap of 400 ms is not "0s".
pub(crate) fn exact(milliseconds: u64) -> String {
    if milliseconds < 60_000 {
        let tenths = milliseconds.div_ceil(100);
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        took(milliseconds)
    }
}

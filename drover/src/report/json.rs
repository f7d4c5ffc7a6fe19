//! JSON for programs. Every document and stream says its format; a reader ignores what it does not know of the same major.
//!
//! The text is safe in a build log: what a build agent or a terminal would obey is written as an escape, which reads as the
//! same data.

use cluster_lab::Forecast;
use serde::Serialize;
use upgrade_core::event::{Event, Report};
use upgrade_core::finding::Finding;
use upgrade_core::inventory::ClusterIdentity;
use upgrade_core::model::FormatVersion;
use upgrade_core::plan::Plan;

use super::clean::clean_json;
use super::status::RunStatus;
use crate::abort::AbortReport;
use crate::files::SnapshotFile;

#[derive(Serialize)]
struct Document<T> {
    format: FormatVersion,
    #[serde(flatten)]
    content: T,
}

fn document(content: impl Serialize) -> String {
    let document = Document { format: FormatVersion::CURRENT, content };
    let text = serde_json::to_string_pretty(&document).expect("plain data with string keys");
    clean_json(text + "\n")
}

fn line(content: impl Serialize) -> String {
    clean_json(serde_json::to_string(&content).expect("plain data with string keys")) + "\n"
}

/// What the checks say of a cluster.
pub fn findings(identity: &ClusterIdentity, to: &str, findings: &[Finding]) -> String {
    #[derive(Serialize)]
    struct Checked<'a> {
        cluster: &'a ClusterIdentity,
        to: &'a str,
        blocked: bool,
        findings: &'a [Finding],
    }
    let blocked = findings.iter().any(Finding::blocks);
    document(Checked { cluster: identity, to, blocked, findings })
}

/// A plan, its hash, and what its rehearsals say if there were any.
pub fn plan(plan: &Plan, forecast: Option<&Forecast>) -> String {
    #[derive(Serialize)]
    struct Planned<'a> {
        hash: String,
        plan: &'a Plan,
        #[serde(skip_serializing_if = "Option::is_none")]
        forecast: Option<&'a Forecast>,
    }
    document(Planned { hash: plan.hash(), plan, forecast })
}

/// What rehearsals say of a plan.
pub fn forecast(forecast: &Forecast) -> String {
    // It carries its own format.
    let text = serde_json::to_string_pretty(forecast).expect("plain data with string keys");
    clean_json(text + "\n")
}

/// The first line of an event stream.
pub fn stream_version() -> String {
    #[derive(Serialize)]
    struct Version {
        r#type: &'static str,
        format: FormatVersion,
        tool: &'static str,
    }
    line(Version {
        r#type: "version",
        format: FormatVersion::CURRENT,
        tool: concat!("aks-drover ", env!("CARGO_PKG_VERSION")),
    })
}

/// One line of an event stream.
pub fn event(event: &Event) -> String {
    line(event)
}

/// How a run ended.
pub fn report(report: &Report) -> String {
    document(report)
}

/// Where a run stands.
pub fn status(status: &RunStatus) -> String {
    document(status)
}

/// What came of a request to stop a run.
pub fn abort(report: &AbortReport) -> String {
    document(report)
}

/// What runs have left on a cluster, or what is left of it after it was given back.
pub fn leftovers(left_behind: &impl Serialize) -> String {
    document(left_behind)
}

/// A snapshot file's content.
pub fn snapshot(snapshot: &SnapshotFile) -> String {
    clean_json(snapshot.to_json())
}

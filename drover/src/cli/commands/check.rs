//! `check`: findings only.

use upgrade_core::finding::Finding;
use upgrade_core::inventory::ClusterIdentity;
use upgrade_core::model::VersionRequest;

use super::Session;
use crate::cli::args::{Check, Output};
use crate::cli::console::Console;
use crate::cli::failure::{Failure, exit};
use crate::report::{json, junit, markdown, text};

pub(super) async fn check(session: &mut Session, args: &Check) -> Result<u8, Failure> {
    let cluster = session.connect(&args.cluster).await?;
    let findings = session.read(format!("reading {}", args.cluster), cluster.check(args.to.to)).await?;
    if session.console.output() == Output::Text {
        session.console.page(&text::identity(cluster.identity()));
        session.console.data("\n");
    }
    show(&session.console, cluster.identity(), args.to.to, &findings);
    Ok(if findings.iter().any(Finding::blocks) { exit::BLOCKED } else { exit::DONE })
}

/// Findings in the form that was asked for.
pub(super) fn show(console: &Console, identity: &ClusterIdentity, to: VersionRequest, findings: &[Finding]) {
    match console.output() {
        Output::Text => console.page(&text::findings(findings)),
        Output::Json => console.data(&json::findings(identity, &to.to_string(), findings)),
        Output::Markdown => console.data(&markdown::findings(&identity.name, findings)),
        Output::Junit => console.data(&junit::findings(&identity.name, findings)),
    }
}

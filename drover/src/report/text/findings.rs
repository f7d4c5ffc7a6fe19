//! What the checks say.

use upgrade_core::finding::{Finding, Severity};
use upgrade_core::inventory::{ClusterIdentity, EvidenceVerdict};

use super::{Page, Tone};
use crate::report::{count, tally};

/// Every finding, those that block first, each with what to do about it.
pub fn findings(findings: &[Finding]) -> Page {
    let mut page = Page::default();
    page.line(0).put(Tone::Strong, "Findings").plain(": ").plain(tally(findings));
    if !findings.is_empty() {
        page.blank();
    }
    // Codes are aligned over all findings, so that the eye runs down one column.
    let width = findings.iter().map(|finding| finding.code.chars().count()).max().unwrap_or(0);
    for finding in findings {
        let (word, tone) = match (&finding.accepted, finding.severity) {
            (Some(_), _) => ("accepted", Tone::Faint),
            (None, Severity::Blocking) => ("blocking", Tone::Bad),
            (None, Severity::Unknown) => ("unknown", Tone::Bad),
            (None, Severity::Advisory) => ("advisory", Tone::Warn),
            (None, Severity::Info) => ("info", Tone::Faint),
        };
        let line = page.line(2);
        line.put(tone, format!("{word:8}  {:width$}", finding.code))
            .plain("  ")
            .put(Tone::Strong, &finding.object);
        page.paragraph(12, "", Tone::Plain, &finding.message);
        match &finding.accepted {
            Some(reason) => page.paragraph(12, "accepted: ", Tone::Faint, reason),
            None => page.paragraph(12, "remedy: ", Tone::Faint, &finding.remedy),
        }
    }
    page
}

/// Which cluster it is, and what proves it.
pub fn identity(identity: &ClusterIdentity) -> Page {
    let mut page = Page::default();
    page.line(0).put(Tone::Strong, &identity.name);
    page.line(2).plain("Rancher     ").plain(&identity.rancher_id);
    page.line(2).plain("Azure       ").plain(&identity.arm_id);
    page.line(2).plain("kube-system ").plain(&identity.kube_system);
    let of = |verdict| identity.evidence.iter().filter(move |evidence| evidence.verdict == verdict);
    let agree = of(EvidenceVerdict::Agrees).count();
    page.line(2).plain("proven by   ").plain(count(agree, "piece of evidence", "pieces of evidence"));
    for evidence in of(EvidenceVerdict::Contradicts) {
        page.paragraph(2, "contradicts ", Tone::Bad, format!("{}: {}", evidence.what, evidence.detail));
    }
    for evidence in of(EvidenceVerdict::Unavailable) {
        page.paragraph(2, "not seen    ", Tone::Warn, format!("{}: {}", evidence.what, evidence.detail));
    }
    page
}

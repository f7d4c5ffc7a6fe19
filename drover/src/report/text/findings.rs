//! What the checks say.

use upgrade_core::finding::{Finding, Severity};
use upgrade_core::inventory::{ClusterIdentity, Evidence, EvidenceVerdict};

use super::{Page, Tone};
use crate::report::tally;

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
    let agree: Vec<String> = of(EvidenceVerdict::Agrees).map(|evidence| evidence.what.to_string()).collect();
    page.paragraph(
        2,
        "agree       ",
        Tone::Plain,
        if agree.is_empty() { "-".into() } else { agree.join(", ") },
    );
    for evidence in of(EvidenceVerdict::Contradicts) {
        page.paragraph(2, "contradicts ", Tone::Bad, evidence);
    }
    for evidence in of(EvidenceVerdict::Unavailable) {
        page.paragraph(2, "unclear     ", Tone::Warn, evidence);
    }
    page
}

/// Every piece of evidence with what it shows, those that contradict first.
pub fn evidence(evidence: &[Evidence]) -> Page {
    let mut page = Page::default();
    for (verdict, lead, tone) in [
        (EvidenceVerdict::Contradicts, "contradicts ", Tone::Bad),
        (EvidenceVerdict::Unavailable, "unclear     ", Tone::Warn),
        (EvidenceVerdict::Agrees, "agrees      ", Tone::Plain),
    ] {
        for evidence in evidence.iter().filter(|evidence| evidence.verdict == verdict) {
            page.paragraph(2, lead, tone, evidence);
        }
    }
    page
}

//! The checks: what stands in the way of an upgrade, found before anything is touched.
//!
//! Every finding has a code that is never reused, names its object, and says what to do. A check that could not see what it
//! needs reports [`Severity::Unknown`](crate::finding::Severity::Unknown), which blocks: unknown is not a pass.

mod access;
mod admission;
mod apis;
mod asked;
mod azure;
mod budgets;
mod notices;
mod places;
mod quotas;
mod rancher;
mod traffic;
mod versions;
mod volumes;
mod workloads;

use jiff::Timestamp;

pub use rancher::token_outlived;

use crate::finding::{Finding, Severity};
use crate::inventory::Inventory;
use crate::model::{KubeVersion, VersionRequest};
use crate::policy::Policy;
use crate::view::{ResourceKind, View};

/// A kind that a run cannot follow.
const UNWATCHABLE: &str = "INV-001";

/// Findings that nobody can accept: a run would stop at its first write, or see nothing. What makes Rancher a second writer is
/// agreed to by the policy `rancher_managed`, and held against what is so before each change in Azure.
const UNACCEPTABLE: [&str; 5] =
    [UNWATCHABLE, access::DENIED, rancher::MANAGED, rancher::OUT_OF_SYNC, rancher::UNCLEAR];

/// Runs every check. Findings come sorted: blocking first, then by code and object.
pub fn check(inventory: &Inventory, policy: &Policy, request: VersionRequest) -> Vec<Finding> {
    with_view(inventory, &inventory.view(), policy, request)
}

/// What the checks look at.
pub(crate) struct Case<'a> {
    inventory: &'a Inventory,
    view: &'a View,
    policy: &'a Policy,
    request: VersionRequest,
}

pub(crate) fn with_view(
    inventory: &Inventory,
    view: &View,
    policy: &Policy,
    request: VersionRequest,
) -> Vec<Finding> {
    let case = Case { inventory, view, policy, request };
    let mut findings = Vec::new();
    findings.extend(unseen(&case));
    findings.extend(versions::check(&case));
    findings.extend(azure::check(&case));
    findings.extend(rancher::check(&case));
    findings.extend(budgets::check(&case));
    findings.extend(workloads::check(&case));
    let moving = workloads::moving(&case);
    findings.extend(places::check(&case, &moving));
    findings.extend(volumes::check(&case));
    findings.extend(quotas::check(&case, &moving));
    findings.extend(asked::check(&case, &moving));
    findings.extend(traffic::check(&case, &moving));
    findings.extend(notices::check(&case, &moving));
    findings.extend(access::check(&case));
    findings.extend(apis::check(&case));
    findings.extend(admission::check(&case));
    for finding in &mut findings {
        accept(finding, policy, inventory.taken_at);
    }
    findings.sort();
    findings
}

/// The version to reach: the one asked for, or the newest of the release that Azure offers and does not call a preview. The
/// version the control plane runs counts as offered, for pools that lag behind.
pub(crate) fn target(inventory: &Inventory, request: VersionRequest) -> Option<KubeVersion> {
    let current = inventory.cluster.version;
    let offered = inventory
        .cluster
        .upgrades
        .iter()
        .filter(|u| !u.preview || request == VersionRequest::Exact(u.version));
    offered.map(|u| u.version).chain([current]).filter(|v| request.admits(*v)).max()
}

fn finding(
    severity: Severity,
    code: &str,
    object: &(impl ToString + ?Sized),
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    Finding {
        severity,
        code: code.to_owned(),
        object: object.to_string(),
        message: message.into(),
        remedy: remedy.into(),
        accepted: None,
    }
}

/// How many names a message gives.
const NAMED: usize = 5;

/// Names for a message: the first few, and how many more there are.
fn named<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    let shown = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What could not be seen is said, once for each. A run watches every kind that it reads, so one that may not be read stops
/// every run; the rest can be done without by somebody who says so.
fn unseen(case: &Case<'_>) -> Vec<Finding> {
    let unseen = case.inventory.unseen.iter();
    unseen
        .map(|u| {
            let watched = ResourceKind::ALL.iter().any(|kind| kind.plural() == u.what);
            let (code, remedy) = if watched {
                (UNWATCHABLE, "let the token's user list and watch it; a run cannot do without")
            } else {
                ("INV-002", "let the token's user read it, or accept this finding by code and object")
            };
            finding(Severity::Unknown, code, &u.what, format!("could not be seen: {}", u.why), remedy)
        })
        .collect()
}

/// Marks a finding that the policy accepts; an acceptance ends after its last day.
fn accept(finding: &mut Finding, policy: &Policy, now: Option<Timestamp>) {
    let today = now.map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date());
    if UNACCEPTABLE.contains(&finding.code.as_str()) {
        return;
    }
    let valid = |until: Option<jiff::civil::Date>| match (until, today) {
        (None, _) => true,
        (Some(until), Some(today)) => today <= until,
        (Some(_), None) => false,
    };
    let accepted = policy.accept.iter();
    let acceptance =
        accepted.filter(|a| a.code == finding.code && a.object == finding.object).find(|a| valid(a.until));
    finding.accepted = acceptance.map(|a| a.reason.clone());
}

//! Rancher: a second writer to Azure, the token's end, and its clock.

use std::time::Duration;

use jiff::Timestamp;

use super::{Case, finding};
use crate::finding::{Finding, Severity};
use crate::inventory::{Inventory, Ownership, SecondWriter};
use crate::plan::expected_duration;
use crate::policy::{Policy, RancherManaged};
use crate::span;

pub(super) const MANAGED: &str = "RAN-001";
pub(super) const OUT_OF_SYNC: &str = "RAN-002";
pub(super) const UNCLEAR: &str = "RAN-003";

/// How far two clocks may be apart before it is said, and before it matters: a token ends and a journal tells its times by the
/// one or the other.
const SKEW_SAID: u64 = 60;
const SKEW_MATTERS: u64 = 5 * 60;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let findings = [second_writer(case), token(case), clock(case)];
    findings.into_iter().flatten().collect()
}

fn second_writer(case: &Case<'_>) -> Option<Finding> {
    let name = &case.inventory.identity.name;
    match (&case.inventory.rancher.ownership, case.policy.rancher_managed) {
        (Ownership::Generic | Ownership::Unmanaged, _) => None,
        (Ownership::Managed(_), RancherManaged::Refuse) => Some(finding(
            Severity::Blocking,
            MANAGED,
            name,
            "Rancher manages this cluster's version and pools, and may revert or delete what others change",
            "agree to it with `rancher_managed = \"lock-step\"` (each change then waits until Rancher has adopted it), or make Rancher passive: import the cluster as generic",
        )),
        (Ownership::Managed(writer), RancherManaged::LockStep) => Some(lock_step(name, writer)),
        (Ownership::Unclear { reason }, _) => Some(finding(
            Severity::Unknown,
            UNCLEAR,
            name,
            format!("it is not clear whether Rancher writes to Azure too: {reason}"),
            "look at the cluster in Rancher; do not go on before it is known",
        )),
    }
}

fn lock_step(name: &str, writer: &SecondWriter) -> Finding {
    if !writer.out_of_sync.is_empty() {
        let message = format!(
            "Rancher does not want what Azure has, or is not at rest; a change made now would be taken back: {}",
            writer.out_of_sync.join("; ")
        );
        let remedy = "bring Rancher and Azure to agree first: in Rancher the cluster has to be active, with the versions and pools that Azure has";
        return finding(Severity::Blocking, OUT_OF_SYNC, name, message, remedy);
    }
    let longest = span::show(writer.longest_wait());
    let message = format!("each change in Azure waits until Rancher has adopted it, at most {longest} each");
    let remedy = "let nobody edit the cluster in Rancher or apply Terraform to it during the run: both bring their own list of pools back";
    finding(Severity::Advisory, "RAN-004", name, message, remedy)
}

fn token(case: &Case<'_>) -> Option<Finding> {
    let inventory = case.inventory;
    let (facts, name) = (&inventory.rancher, &inventory.identity.name);
    if let Some(why) = &facts.token_unread {
        let message = format!("it could not be read when the Rancher token ends: {why}");
        let remedy =
            "make sure that it outlives the run; a run whose token ends holds, and goes on with a new one";
        return Some(finding(Severity::Advisory, "RAN-006", name, message, remedy));
    }
    // Without both ends there is nothing to compare, and without a version to go to there is no run.
    let now = inventory.taken_at.filter(|_| facts.token_expires.is_some())?;
    let target = super::target(inventory, case.request)?;
    let needed = expected_duration(inventory, case.view, case.policy, target)?;
    token_outlived(inventory, case.policy, now, needed)
}

/// The finding about a token that ends before a run that begins at `now` and takes `needed`; `None` if it lives longer, or no
/// end is known. `now` is this machine's time; where Rancher's clock is ahead of it, Rancher's counts. For whoever knows more
/// exactly how long the run takes, by a rehearsal.
pub fn token_outlived(
    inventory: &Inventory,
    policy: &Policy,
    now: Timestamp,
    needed: Duration,
) -> Option<Finding> {
    let (facts, cluster) = (&inventory.rancher, &inventory.identity.name);
    let ends = facts.token_expires?;
    let ahead = jiff::SignedDuration::from_secs(facts.clock_ahead_seconds.unwrap_or(0).max(0));
    let left = Duration::try_from(ends.duration_since(now).saturating_sub(ahead)).unwrap_or_default();
    if needed.is_zero() || left > needed {
        return None;
    }
    let needed = span::show(needed);
    // The end and not what is left of it: the same finding reads the same a moment later.
    let message =
        format!("the Rancher token ends at {ends}, before the upgrade would, which may take {needed}");
    let remedy =
        "use a token that lives longer; Rancher limits new ones by its setting `auth-token-max-ttl-minutes`";
    let mut finding = finding(Severity::Blocking, "RAN-005", cluster, message, remedy);
    super::accept(&mut finding, policy, Some(now));
    Some(finding)
}

/// Said without the exact difference, which is another one at every look.
fn clock(case: &Case<'_>) -> Option<Finding> {
    let ahead = case.inventory.rancher.clock_ahead_seconds?;
    let (severity, by) = match ahead.unsigned_abs() {
        SKEW_MATTERS.. => (Severity::Advisory, "five minutes"),
        SKEW_SAID.. => (Severity::Info, "a minute"),
        _ => return None,
    };
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    let message = format!("Rancher's clock is more than {by} {way} this machine's");
    let remedy = "set the clock that is wrong: tokens end by Rancher's, the journal tells this machine's";
    Some(finding(severity, "RAN-007", &case.inventory.identity.name, message, remedy))
}

#[cfg(test)]
mod tests;

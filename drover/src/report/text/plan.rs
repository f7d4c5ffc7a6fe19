//! What will be done, and why this way.

use upgrade_core::model::WorkloadRef;
use upgrade_core::plan::{Action, Plan, Reversal, Route, Stage};
use upgrade_core::policy::{Policy, RancherManaged, UpgradeStrategy};
use upgrade_core::span;

use super::{Page, Tone};
use crate::report::count;

/// The whole plan: head, findings, stages with routes and reasons.
pub fn plan(plan: &Plan) -> Page {
    let mut page = Page::default();
    head(&mut page, plan);
    page.blank();
    page.append(super::findings(&plan.findings));
    if plan.is_empty() {
        page.blank();
        page.line(0)
            .put(Tone::Good, "Nothing to do")
            .plain(format!(": the control plane and every pool run {}", plan.target));
        return page;
    }
    page.heading("Stages");
    for (index, stage) in plan.stages.iter().enumerate() {
        self::stage(&mut page, stage, &plan.stages[..index]);
    }
    page
}

fn head(page: &mut Page, plan: &Plan) {
    page.line(0).put(Tone::Strong, format!("Plan {}", plan.hash())).plain(format!(
        ": {} from {} to {}, {}, {}",
        plan.cluster.name,
        plan.from,
        plan.target,
        count(plan.stages.len(), "stage", "stages"),
        count(plan.steps().count(), "step", "steps")
    ));
    page.line(2).plain("Rancher  ").plain(&plan.cluster.rancher_id);
    page.line(2).plain("Azure    ").plain(&plan.cluster.arm_id);
    page.paragraph(2, "policy   ", Tone::Plain, policy(&plan.policy));
    if let Some(words) = reverses(plan) {
        page.paragraph(2, "reverses ", Tone::Plain, words);
    }
    let gaps: Vec<String> = plan.accepted_gaps.iter().map(ToString::to_string).collect();
    if !gaps.is_empty() {
        page.paragraph(2, "accepted gaps of Services: ", Tone::Warn, gaps.join(", "));
    }
}

/// Until where a failure can be reversed, if anywhere.
pub(crate) fn reverses(plan: &Plan) -> Option<String> {
    let points: Vec<String> =
        plan.points_of_no_return().map(|(pool, step)| format!("{pool} until step {step}")).collect();
    let control_plane = plan.steps().any(|step| matches!(step.action, Action::UpgradeControlPlane { .. }));
    let never = if control_plane { "; the control plane never" } else { "" };
    (!points.is_empty()).then(|| format!("with `--on-failure reverse`: {}{never}", points.join(", ")))
}

fn policy(policy: &Policy) -> String {
    let strategy = match policy.strategy {
        UpgradeStrategy::Buffer => "buffer",
        UpgradeStrategy::BlueGreen => "blue-green",
        UpgradeStrategy::InPlace => "in-place",
    };
    let mut parts = vec![
        strategy.to_owned(),
        format!("{} at a time", count(policy.max_concurrent_moves as usize, "move", "moves")),
        format!("each within {}", span::show(policy.move_timeout)),
        format!("Jobs get {} to end", span::show(policy.job_wait)),
    ];
    if !policy.soak.is_zero() {
        let (soak, limit) = (span::show(policy.soak), span::show(policy.soak_limit()));
        parts.push(format!("all must be well for {soak} after each move (asks after {limit})"));
    }
    if !policy.probes.is_empty() {
        let names: Vec<String> = policy.probes.iter().map(ToString::to_string).collect();
        parts.push(format!("before each stage green: {}", names.join(", ")));
    }
    if policy.rancher_managed == RancherManaged::LockStep {
        parts.push("in lock-step with Rancher".to_owned());
    }
    parts.join(", ")
}

fn stage(page: &mut Page, stage: &Stage, before: &[Stage]) {
    page.line(1).put(Tone::Faint, format!("{:>3}", stage.number)).plain("  ").put(Tone::Strong, &stage.title);
    let groups = groups(stage);
    let same = before.iter().rev().find(|earlier| !groups.is_empty() && self::groups(earlier) == groups);
    if let Some(earlier) = same {
        let moved = count(stage.lanes.len(), "workload", "workloads");
        page.line(6).plain(format!("the {moved} of stage {}, by the same routes", earlier.number));
    } else {
        for group in groups {
            self::group(page, &group);
        }
    }
    for step in stage.steps().filter(|step| !matches!(step.action, Action::Move { .. })) {
        page.paragraph(6, "", Tone::Plain, &step.action);
        match &step.reversal {
            Reversal::Loan { returned_by } => {
                page.paragraph(6, "borrowed, given back by ", Tone::Faint, returned_by);
            }
            Reversal::Forward { why } => page.paragraph(6, "stays: ", Tone::Faint, why),
        }
    }
}

/// Workloads that move the same way for the same reason.
#[derive(PartialEq)]
struct Group<'a> {
    route: Route,
    reason: &'a str,
    workloads: Vec<&'a WorkloadRef>,
}

/// The moves of a stage, grouped by how and why, in the order of the plan.
fn groups(stage: &Stage) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for step in stage.steps() {
        let Action::Move { workload, route, reason, .. } = &step.action else { continue };
        match groups.iter_mut().find(|group| group.route == *route && group.reason == reason) {
            Some(group) => group.workloads.push(workload),
            None => groups.push(Group { route: *route, reason, workloads: vec![workload] }),
        }
    }
    groups
}

fn group(page: &mut Page, group: &Group<'_>) {
    let tone = if group.route == Route::Gap { Tone::Warn } else { Tone::Plain };
    let many = count(group.workloads.len(), "workload", "workloads");
    page.paragraph(6, "", tone, format!("{many} by {}: {}", group.route, group.reason));
    // A list reads `Deployment a/x, a/y; StatefulSet b/z`: the kind once for all that follow.
    let mut names: Vec<String> = Vec::new();
    for same_kind in group.workloads.chunk_by(|a, b| a.kind == b.kind) {
        let list: Vec<String> = same_kind.iter().map(|workload| workload.name.to_string()).collect();
        let kind = same_kind.first().map(|workload| workload.kind.to_string()).unwrap_or_default();
        names.push(format!("{kind} {}", list.join(", ")));
    }
    page.paragraph(8, "", Tone::Faint, names.join("; "));
}

//! Budgets that can never be satisfied.

use super::{Case, finding};
use crate::finding::{Finding, Severity};
use crate::model::{Budget, BudgetLimit, IntOrPercent, Pod, Workload};
use crate::plan::{Route, RouteChoice, counted};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = case.view.budgets().filter_map(forbids_everything).collect();
    let lasting = case.view.workloads().filter(|w| w.owner.is_none());
    for workload in lasting {
        let Some(choice) = RouteChoice::of(workload, case.view, case.policy) else { continue };
        let pods: Vec<&Pod> = case.view.pods_of(workload).filter(|pod| !pod.is_finished()).collect();
        let Some(pod) = pods.first() else { continue };
        let budgets: Vec<&Budget> = case.view.budgets_of(pod).collect();
        match (&budgets[..], choice.route) {
            ([], _) => {}
            ([_, _, ..], route) => findings.push(overlapping(workload, &budgets, route)),
            ([budget], route) if route.restarts() => findings.extend(restarted_past(workload, budget)),
            ([budget], Route::ScaleThenEvict) => findings.extend(never_allows(case, workload, budget, 1)),
            ([budget], _) => findings.extend(never_allows(case, workload, budget, 0)),
        }
    }
    findings
}

/// Azure looks at every budget of the cluster before it accepts an upgrade (error `UnsatisfiablePDB`).
fn forbids_everything(budget: &Budget) -> Option<Finding> {
    let BudgetLimit::MaxUnavailable(IntOrPercent::Int(0) | IntOrPercent::Percent(0)) = budget.limit else {
        return None;
    };
    Some(finding(
        Severity::Blocking,
        "PDB-003",
        &budget.name,
        "has maxUnavailable 0; Azure refuses to upgrade any pool while such a budget exists",
        "write minAvailable instead, or raise maxUnavailable to 1 for the upgrade",
    ))
}

fn overlapping(workload: &Workload, budgets: &[&Budget], route: Route) -> Finding {
    let names: Vec<String> = budgets.iter().map(|budget| budget.name.to_string()).collect();
    let severity = if route.restarts() { Severity::Advisory } else { Severity::Blocking };
    finding(
        severity,
        "PDB-001",
        &workload.reference.name,
        format!(
            "its pods are protected by several budgets ({}); Kubernetes evicts no such pod",
            names.join(", ")
        ),
        "leave one budget for each pod",
    )
}

/// A restart does not ask the budget, so a single replica behind `minAvailable: 1` moves without harm. Worth saying, because
/// every other tool gets stuck on it.
fn restarted_past(workload: &Workload, budget: &Budget) -> Option<Finding> {
    if budget.limit.allows_any(workload.replicas) {
        return None;
    }
    Some(finding(
        Severity::Info,
        "PDB-004",
        &budget.name,
        format!(
            "would never allow an eviction of {}; it is restarted instead, the new pod first",
            workload.reference
        ),
        "nothing to do",
    ))
}

/// Lets the budget no pod of the workload go, even if `lent` more are there? A budget over several workloads counts all their
/// pods; what one workload has to spare is decided over all of them.
fn never_allows(case: &Case<'_>, workload: &Workload, budget: &Budget, lent: u32) -> Option<Finding> {
    let total = counted(workload, budget, case.view).saturating_add(lent);
    if let Some(message) = &budget.status.sync_failed {
        let text = format!(
            "Kubernetes cannot compute it ({message}), so it allows no eviction of {}",
            workload.reference
        );
        return Some(finding(
            Severity::Blocking,
            "PDB-005",
            &budget.name,
            text,
            "use minAvailable with a number",
        ));
    }
    (!budget.limit.allows_any(total)).then(|| {
        finding(
            Severity::Blocking,
            "PDB-002",
            &budget.name,
            format!(
                "can never allow an eviction of {}, which has {} replica(s)",
                workload.reference, workload.replicas
            ),
            "add a replica, or relax the budget for the upgrade",
        )
    })
}

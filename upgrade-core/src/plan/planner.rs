//! From inventory, policy and target to a plan.

use crate::check;
use crate::finding::Finding;
use crate::inventory::Inventory;
use crate::model::{BufferNameError, FormatVersion, ObjectName, VersionRequest};
use crate::plan::stages::{assemble, work};
use crate::plan::{Basis, Plan};
use crate::policy::{Policy, UpgradeStrategy};
use crate::view::View;

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Findings stand in the way.
    #[error("{} finding(s) block the upgrade", .0.iter().filter(|f| f.blocks()).count())]
    Blocked(Vec<Finding>),
    /// The policy asks for something that this version cannot do.
    #[error("policy `{key} = {value}` is not supported by this version; use `{instead}`")]
    Unsupported {
        /// The policy's key.
        key: &'static str,
        /// Its value.
        value: &'static str,
        /// What works.
        instead: &'static str,
    },
    /// No free name for a buffer.
    #[error(transparent)]
    BufferName(#[from] BufferNameError),
}

/// Makes the plan, or says what stands in its way. Pure and deterministic: equal arguments give equal plans, byte for byte.
///
/// The plan is empty if the control plane and every pool are at the target already.
pub fn plan(inventory: &Inventory, policy: &Policy, request: VersionRequest) -> Result<Plan, PlanError> {
    check_supported(policy)?;
    let view = inventory.view();
    let findings = check::with_view(inventory, &view, policy, request);
    if findings.iter().any(Finding::blocks) {
        return Err(PlanError::Blocked(findings));
    }
    let Some(target) = check::target(inventory, request) else {
        // Unreachable while `check` reports a target that is not offered as blocking; refusing again costs nothing.
        return Err(PlanError::Blocked(findings));
    };
    let work = work(inventory, &view, target)?;
    Ok(Plan {
        format: FormatVersion::CURRENT,
        cluster: inventory.identity.clone(),
        from: inventory.cluster.version,
        target,
        policy: policy.clone(),
        findings,
        accepted_gaps: accepted_gaps(policy, &view),
        stages: assemble(&work, policy),
        basis: Basis::with_view(inventory, policy, &view),
    })
}

fn check_supported(policy: &Policy) -> Result<(), PlanError> {
    let value = match policy.strategy {
        UpgradeStrategy::Buffer => return Ok(()),
        UpgradeStrategy::BlueGreen => "blue-green",
        UpgradeStrategy::InPlace => "in-place",
    };
    Err(PlanError::Unsupported { key: "strategy", value, instead: "buffer" })
}

/// The Services in front of workloads whose gap is accepted.
fn accepted_gaps(policy: &Policy, view: &View) -> Vec<ObjectName> {
    let accepted = view.workloads().filter(|w| policy.allow_gap.contains(&w.reference.name));
    let mut services: Vec<ObjectName> = accepted
        .flat_map(|w| view.services_for(w.reference.name.namespace(), &w.template.labels))
        .map(|service| service.name.clone())
        .collect();
    services.sort();
    services.dedup();
    services
}

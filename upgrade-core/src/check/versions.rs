//! The version path: what Azure offers, one minor at a time, and the skew between control plane and nodes.

use super::{Case, finding, target};
use crate::finding::{Finding, Severity};
use crate::model::{Node, Pool};

/// How many minor releases a kubelet may be behind the control plane (Kubernetes version skew policy, from 1.28 on).
const MAX_SKEW: i32 = 3;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let cluster = &case.inventory.cluster;
    let name = &case.inventory.identity.name;
    let Some(target) = target(case.inventory, case.request) else {
        return vec![not_offered(case)];
    };
    let mut findings = Vec::new();
    match cluster.version.minors_until(target) {
        Some(0 | 1) => {}
        Some(minors) if minors > 1 => findings.push(finding(
            Severity::Blocking,
            "VER-002",
            name,
            format!(
                "{target} is {minors} minor releases ahead of {}; a control plane moves one at a time",
                cluster.version
            ),
            format!(
                "upgrade to the release after {} first; several at once are not supported by this version",
                cluster.version
            ),
        )),
        _ => findings.push(not_offered(case)),
    }
    for pool in &case.inventory.pools {
        let behind = pool.version.minors_until(target).unwrap_or(i32::MAX);
        if behind > MAX_SKEW {
            findings.push(finding(
                Severity::Blocking,
                "VER-003",
                &pool.name,
                format!(
                    "runs {}, {behind} minor releases behind {target}; at most {MAX_SKEW} are allowed",
                    pool.version
                ),
                format!("upgrade this pool to {} first", cluster.version),
            ));
        } else if pool.version > target {
            findings.push(finding(
                Severity::Blocking,
                "VER-004",
                &pool.name,
                format!("runs {}, which is newer than {target}; nodes do not go back", pool.version),
                format!("choose {} or newer", pool.version),
            ));
        }
        findings.extend(mixed(case, pool));
    }
    findings
}

/// Azure reports the target of an upgrade that failed half way, while nodes still run the old version; asking for the same
/// version again changes nothing then.
fn mixed(case: &Case<'_>, pool: &Pool) -> Option<Finding> {
    let other = |node: &&Node| node.kubelet.is_some_and(|kubelet| kubelet != pool.version);
    let odd: Vec<&Node> = case.view.nodes_of(&pool.name).filter(other).collect();
    let (first, kubelet) = odd.first().and_then(|node| Some((node, node.kubelet?)))?;
    Some(finding(
        Severity::Blocking,
        "VER-005",
        &pool.name,
        format!(
            "Azure says that it runs {}, but {} of its nodes do not ({} runs {kubelet})",
            pool.version,
            odd.len(),
            first.name
        ),
        "repair the pool in Azure first, until every node runs what Azure reports",
    ))
}

fn not_offered(case: &Case<'_>) -> Finding {
    let cluster = &case.inventory.cluster;
    let mut offers: Vec<String> = cluster.upgrades.iter().map(|u| u.version.to_string()).collect();
    offers.sort();
    let offers = if offers.is_empty() { "nothing".to_owned() } else { offers.join(", ") };
    let ((major, minor), (wanted_major, wanted_minor)) = (cluster.version.release(), case.request.release());
    let remedy = if wanted_major == major && wanted_minor > minor + 1 {
        let next = minor + 1;
        format!(
            "a control plane moves one minor release at a time, and several at once are not supported by this version: \
             upgrade to {major}.{next} first"
        )
    } else {
        "choose one of the offered versions".to_owned()
    };
    finding(
        Severity::Blocking,
        "VER-001",
        &case.inventory.identity.name,
        format!(
            "Azure does not offer {} to this cluster, which runs {}; it offers {offers}",
            case.request, cluster.version
        ),
        remedy,
    )
}

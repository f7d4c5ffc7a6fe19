//! Quotas that leave no room for the pods of a rollout.

use super::workloads::Moving;
use super::{Case, finding};
use crate::finding::{Finding, Severity};
use crate::model::Quota;
use crate::plan::quota::{over, surge};

pub(super) fn check(case: &Case<'_>, moving: &[Moving<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for quota in &case.inventory.surroundings.quotas {
        let surging: Vec<(&Moving<'_>, u64)> = moving
            .iter()
            .filter(|moving| moving.workload.reference.name.namespace() == quota.name.namespace())
            .map(|moving| (moving, u64::from(surge(moving.workload, moving.choice.route))))
            .filter(|(_, surge)| *surge > 0)
            .collect();
        let none: Vec<_> = surging
            .iter()
            .filter_map(|(moving, _)| Some((*moving, over(quota, [(&*moving.workload.template, 1)])?)))
            .collect();
        let all = surging.iter().map(|(moving, surge)| (&*moving.workload.template, *surge));
        if quota.scoped {
            // Which pods it counts is not looked at, so that it has no room is no proof.
            findings
                .extend(over(quota, all).map(|short| together(quota, &short, "; it counts some pods only")));
        } else if none.is_empty() {
            findings.extend(over(quota, all).map(|short| together(quota, &short, "")));
        } else {
            findings.extend(none.iter().map(|(moving, short)| no_room(quota, moving, short)));
        }
    }
    findings
}

fn no_room(quota: &Quota, moving: &Moving<'_>, short: &str) -> Finding {
    let what = &moving.workload.reference;
    finding(
        Severity::Blocking,
        "QUO-001",
        &what.name,
        format!(
            "quota {} has no room for one more pod of {what} ({short}), and its move makes one before another goes",
            quota.name
        ),
        "raise the quota for the night",
    )
}

fn together(quota: &Quota, short: &str, but: &str) -> Finding {
    finding(
        Severity::Advisory,
        "QUO-002",
        &quota.name,
        format!(
            "does not have room for all rollouts of its namespace at the same time ({short}){but}; they move one after another"
        ),
        "raise the quota for the night, or expect moves that take longer",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Inventory;
    use crate::model::tests_support::inventory;
    use crate::model::{MilliCpu, QuotaAmounts, Resources};
    use crate::policy::Policy;

    fn told(case: &Inventory) -> Vec<String> {
        let findings = crate::check(case, &Policy::default(), "1.35".parse().unwrap());
        let about = findings.iter().filter(|finding| finding.code.starts_with("QUO-"));
        about.map(|f| format!("{} {} {}: {}", f.severity, f.code, f.object, f.message)).collect()
    }

    #[test]
    fn a_quota_without_room_for_one_more_pod_blocks_a_restart_and_a_tight_one_is_told() {
        let mut case = inventory();
        case.workloads[0].template.to_mut().requests = Resources::new(500, 100);
        let quota = |hard: u64| Quota {
            name: "shop/all".parse().unwrap(),
            scoped: false,
            hard: QuotaAmounts { requests_cpu: Some(MilliCpu(hard)), ..QuotaAmounts::default() },
            used: QuotaAmounts { requests_cpu: Some(MilliCpu(1000)), ..QuotaAmounts::default() },
        };
        case.surroundings.quotas = vec![quota(1400)];
        assert_eq!(
            told(&case),
            [
                "blocking QUO-001 shop/web: quota shop/all has no room for one more pod of Deployment shop/web \
              (requests.cpu: 400m left, 500m needed), and its move makes one before another goes"
            ]
        );
        case.surroundings.quotas = vec![quota(1500)];
        assert_eq!(told(&case), [""; 0]);
        case.workloads[0].strategy = crate::model::Strategy::Rolling {
            max_surge: "2".parse().unwrap(),
            max_unavailable: "0".parse().unwrap(),
        };
        assert!(told(&case)[0].starts_with("advisory QUO-002 shop/all"), "{:?}", told(&case));
        case.surroundings.quotas = vec![Quota { scoped: true, ..quota(1400) }];
        assert!(told(&case)[0].contains("it counts some pods only"), "{:?}", told(&case));
        case.workloads[0].paused = true;
        case.surroundings.quotas = vec![quota(1000)];
        assert_eq!(told(&case), [""; 0], "evicted pods make their own room");
    }
}

//! What the API server said to the trials of a plan's writes.

use std::collections::BTreeMap;

use super::{Case, finding};
use crate::finding::{Finding, Severity};
use crate::trial::TrialAnswer;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut untried: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for tried in &case.inventory.trials {
        match &tried.answer {
            TrialAnswer::Accepted => {}
            TrialAnswer::Refused { message: why } | TrialAnswer::Untried { why } if tried.optional => {
                let message = format!(
                    "images are not pulled ahead here: the API server would not, or may not, {}: {why}",
                    tried.write
                );
                findings.push(finding(
                    Severity::Advisory,
                    "ADM-003",
                    &tried.object,
                    message,
                    "let the pod in (label `aks-drover/prewarm`), or allow for the pulls while pods move",
                ));
            }
            TrialAnswer::Refused { message } => findings.push(finding(
                Severity::Blocking,
                "ADM-001",
                &tried.object,
                format!("the API server would refuse to {}: {message}", tried.write),
                "make the object admissible, or let the webhook or policy that is named exempt it",
            )),
            TrialAnswer::Untried { why } => untried.entry(cause(why)).or_default().push(&tried.write),
        }
    }
    // Once for each cause, not once for each object: one webhook is in the way of all.
    findings.extend(untried.into_iter().map(|(cause, writes)| {
        let others = writes.len() - 1;
        let more = if others == 0 { String::new() } else { format!(", and {others} more") };
        finding(
            Severity::Unknown,
            "ADM-002",
            cause,
            format!("it is not known whether the API server would {}{more}", writes[0]),
            "try again; a webhook that does not support dry run must declare `sideEffects: None` or `NoneOnDryRun`",
        )
    }));
    findings
}

/// What stood in the way, without what was tried: the message after its first colon, which the port puts there.
fn cause(why: &str) -> &str {
    why.split_once(": ").map_or(why, |(_, cause)| cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::inventory;
    use crate::policy::Policy;
    use crate::trial::Tried;

    #[test]
    fn a_refused_trial_blocks_for_its_object_and_a_webhook_that_cannot_be_tried_is_named_once() {
        let tried = |name: &str, answer| Tried {
            write: format!("restart Deployment shop/{name}"),
            object: format!("shop/{name}"),
            answer,
            optional: false,
        };
        let untried = |name: &str| {
            let why = format!(
                "restarting Deployment shop/{name}: admission webhook \"audit.example\" does not support dry run (HTTP 400)"
            );
            tried(name, TrialAnswer::Untried { why })
        };
        let mut case = inventory();
        let message = "admission webhook \"policy.example\" denied the request".to_owned();
        case.trials = vec![
            tried("fine", TrialAnswer::Accepted),
            tried("web", TrialAnswer::Refused { message }),
            untried("a"),
            untried("b"),
            Tried {
                write: "create a pod that pulls images in namespace pay".into(),
                object: "pay".into(),
                answer: TrialAnswer::Refused { message: "exceeded quota".into() },
                optional: true,
            },
        ];
        let findings = crate::check(&case, &Policy::default(), "1.35".parse().unwrap());
        let about: Vec<_> = findings
            .iter()
            .filter(|finding| finding.code.starts_with("ADM-"))
            .map(|f| format!("{} {} {}: {}", f.severity, f.code, f.object, f.message))
            .collect();
        assert_eq!(
            about,
            [
                "blocking ADM-001 shop/web: the API server would refuse to restart Deployment shop/web: \
                 admission webhook \"policy.example\" denied the request",
                "unknown ADM-002 admission webhook \"audit.example\" does not support dry run (HTTP 400): \
                 it is not known whether the API server would restart Deployment shop/a, and 1 more",
                "advisory ADM-003 pay: images are not pulled ahead here: the API server would not, or may not, \
                 create a pod that pulls images in namespace pay: exceeded quota",
            ]
        );
    }
}

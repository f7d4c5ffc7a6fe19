//! What the API server asks (webhooks) and passes requests on to (aggregated APIs), where it runs on nodes that go.

use std::collections::{BTreeMap, BTreeSet};

use super::workloads::Moving;
use super::{Case, finding, named};
use crate::finding::{Finding, Severity};
use crate::model::{ObjectName, Webhook};
use crate::plan::Route;

pub(super) fn check(case: &Case<'_>, moving: &[Moving<'_>]) -> Vec<Finding> {
    let mut findings = webhooks(case, moving);
    findings.extend(apis(case, moving));
    findings.extend(converters(case, moving));
    findings
}

/// The workloads on doomed nodes behind a Service.
fn behind<'a, 'm>(case: &Case<'_>, service: &ObjectName, moving: &'m [Moving<'a>]) -> Vec<&'m Moving<'a>> {
    let Some(service) = case.view.service(service) else { return Vec::new() };
    let selected = moving.iter().filter(|moving| {
        let workload = moving.workload;
        service.selects(workload.reference.name.namespace(), &workload.template.labels)
    });
    selected.collect()
}

fn webhooks(case: &Case<'_>, moving: &[Moving<'_>]) -> Vec<Finding> {
    // One server often answers for many webhooks, and is told of once.
    let mut servers: BTreeMap<&ObjectName, Vec<&Webhook>> = BTreeMap::new();
    for webhook in case.inventory.surroundings.webhooks.iter().filter(|webhook| webhook.blocks) {
        if let Some(service) = &webhook.service {
            servers.entry(service).or_default().push(webhook);
        }
    }
    servers.into_iter().flat_map(|(service, hooks)| server(case, service, &hooks, moving)).collect()
}

fn server(case: &Case<'_>, service: &ObjectName, hooks: &[&Webhook], moving: &[Moving<'_>]) -> Vec<Finding> {
    let about_pods = hooks.iter().any(|hook| hook.about_pods);
    let configurations: BTreeSet<&str> = hooks.iter().map(|hook| hook.configuration.as_str()).collect();
    let whose = format!("webhook(s) of {}", named(&configurations));
    if case.view.ready_endpoints(service) == 0 {
        let severity = if about_pods { Severity::Blocking } else { Severity::Advisory };
        let what = if about_pods { "new pods are" } else { "what they are asked about is" };
        return vec![finding(
            severity,
            "WHK-003",
            service,
            format!("nobody answers there for the {whose}, which fail closed: {what} refused"),
            "repair its server first, or set `failurePolicy: Ignore`",
        )];
    }
    let told = behind(case, service, moving).into_iter().map(|server| {
        let (workload, name) = (&server.workload.reference, &server.workload.reference.name);
        if server.choice.route != Route::Gap {
            let message = format!("answers for the {whose}, which fail closed; {workload} moves before the others");
            return finding(Severity::Info, "WHK-001", service, message, "nothing to do");
        }
        let labels = &server.workload.template.labels;
        let own = hooks.iter().any(|hook| hook.may_ask_about(name.namespace(), labels));
        let (severity, what) = match (about_pods, own) {
            (true, true) => (Severity::Blocking, "no new pod is admitted, not even its own"),
            (true, false) => (Severity::Blocking, "no new pod is admitted"),
            (false, _) => (Severity::Advisory, "what they are asked about is refused"),
        };
        finding(
            severity,
            "WHK-002",
            service,
            format!("{workload} alone answers for the {whose}, which fail closed, and moves with a gap: meanwhile {what}"),
            "give it a second replica, or set `failurePolicy: Ignore` for the night",
        )
    });
    told.collect()
}

fn apis(case: &Case<'_>, moving: &[Moving<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for api in &case.inventory.surroundings.aggregated_apis {
        if !api.available {
            findings.push(finding(
                Severity::Advisory,
                "AGG-003",
                &api.name,
                format!("does not answer (Service {}): what needs this API stands still", api.service),
                "repair its server, or delete the APIService if nobody needs it",
            ));
        }
        for server in behind(case, &api.service, moving) {
            let workload = &server.workload.reference;
            findings.push(if server.choice.route == Route::Gap {
                let message = format!("{workload} alone answers for it and moves with a gap: meanwhile what needs this API stands still");
                finding(Severity::Advisory, "AGG-002", &api.name, message, "give it a second replica")
            } else {
                let message = format!("is answered by {workload}, which moves before the others");
                finding(Severity::Info, "AGG-001", &api.name, message, "nothing to do")
            });
        }
    }
    findings
}

/// What converts the versions of custom resources into each other, told once for each server.
fn converters(case: &Case<'_>, moving: &[Moving<'_>]) -> Vec<Finding> {
    let mut servers: BTreeMap<&ObjectName, BTreeSet<&str>> = BTreeMap::new();
    for converter in &case.inventory.surroundings.converters {
        servers.entry(&converter.service).or_default().insert(&converter.definition);
    }
    let mut findings = Vec::new();
    for (service, definitions) in servers {
        let whose = named(&definitions);
        if case.view.ready_endpoints(service) == 0 {
            let message = format!(
                "nobody answers there, and it converts {whose}: they cannot be read in every version"
            );
            findings.push(finding(
                Severity::Advisory,
                "CNV-003",
                service,
                message,
                "repair its server first",
            ));
        }
        for server in behind(case, service, moving) {
            let workload = &server.workload.reference;
            findings.push(if server.choice.route == Route::Gap {
                let message = format!(
                    "{workload} alone converts {whose} and moves with a gap: meanwhile they cannot be read in every version, and what \
                     watches them stands still"
                );
                finding(Severity::Advisory, "CNV-002", service, message, "give it a second replica")
            } else {
                let message = format!("converts {whose}; {workload} moves before the others");
                finding(Severity::Info, "CNV-001", service, message, "nothing to do")
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::Inventory;
    use crate::model::tests_support::inventory;
    use crate::model::{AggregatedApi, Converter};
    use crate::model::{Strategy, Webhook};
    use crate::policy::Policy;

    fn told(case: &Inventory) -> Vec<String> {
        let findings = crate::check(case, &Policy::default(), "1.35".parse().unwrap());
        let about =
            findings.iter().filter(|f| ["WHK", "AGG", "CNV"].iter().any(|family| f.code.starts_with(family)));
        about.map(|f| format!("{} {} {}: {}", f.severity, f.code, f.object, f.message)).collect()
    }

    fn webhook(name: &str) -> Webhook {
        Webhook {
            configuration: "policy".into(),
            name: name.into(),
            service: Some("shop/web".parse().unwrap()),
            blocks: true,
            about_pods: true,
            namespaces: None,
            objects: None,
        }
    }

    fn alone(case: &mut Inventory) {
        case.workloads[0].replicas = 1;
        case.workloads[0].strategy = Strategy::Recreate;
        // Nothing can stand in for what has a disk of its own.
        case.workloads[0].template.to_mut().claims = vec!["disk".into()];
        case.pods.truncate(1);
    }

    #[test]
    fn a_server_that_moves_safely_is_told_once_and_one_that_leaves_a_gap_blocks() {
        let mut case = inventory();
        case.surroundings.webhooks = vec![webhook("a"), webhook("b")];
        assert_eq!(
            told(&case),
            [
                "info WHK-001 shop/web: answers for the webhook(s) of policy, which fail closed; Deployment shop/web moves before \
              the others"
            ]
        );
        alone(&mut case);
        assert!(told(&case)[0].starts_with("blocking WHK-002 shop/web: Deployment shop/web alone answers"));
        assert!(told(&case)[0].ends_with("no new pod is admitted, not even its own"));
        case.surroundings.webhooks.iter_mut().for_each(|hook| hook.about_pods = false);
        assert!(told(&case)[0].starts_with("advisory WHK-002"));
        case.slices.clear();
        assert!(told(&case)[0].starts_with("advisory WHK-003"));
        case.surroundings.webhooks.iter_mut().for_each(|hook| hook.about_pods = true);
        assert!(told(&case)[0].starts_with("blocking WHK-003"));
        case.surroundings.webhooks.iter_mut().for_each(|hook| hook.blocks = false);
        assert_eq!(told(&case), [""; 0]);
    }

    #[test]
    fn a_server_that_converts_custom_resources_is_told_once_by_how_it_moves() {
        let mut case = inventory();
        let converts = |definition: &str| Converter {
            definition: definition.into(),
            service: "shop/web".parse().unwrap(),
        };
        case.surroundings.converters =
            vec![converts("issuers.cert.example"), converts("certificates.cert.example")];
        assert_eq!(
            told(&case),
            [
                "info CNV-001 shop/web: converts certificates.cert.example, issuers.cert.example; Deployment shop/web moves before the \
              others"
            ]
        );
        alone(&mut case);
        assert!(told(&case)[0].starts_with("advisory CNV-002 shop/web: Deployment shop/web alone converts"));
        case.slices.clear();
        assert!(
            told(&case)[1].starts_with("advisory CNV-003 shop/web: nobody answers there"),
            "{:?}",
            told(&case)
        );
    }

    #[test]
    fn an_aggregated_api_is_told_of_and_is_no_reason_to_stop() {
        let mut case = inventory();
        let api = AggregatedApi {
            name: "v1beta1.metrics.k8s.io".into(),
            service: "shop/web".parse().unwrap(),
            available: true,
        };
        case.surroundings.aggregated_apis = vec![api];
        assert_eq!(
            told(&case),
            [
                "info AGG-001 v1beta1.metrics.k8s.io: is answered by Deployment shop/web, which moves before the others"
            ]
        );
        alone(&mut case);
        case.surroundings.aggregated_apis[0].available = false;
        let codes: Vec<String> =
            told(&case).iter().map(|t| t.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(codes, ["advisory AGG-002", "advisory AGG-003"]);
    }
}

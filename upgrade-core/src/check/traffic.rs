//! Traffic: how pods end, and what stands in front of them.

use super::workloads::Moving;
use super::{Case, finding, named};
use crate::finding::{Finding, Severity};
use crate::model::{ObjectName, Service, ServiceType};
use crate::moves::stays_on_its_node;
use crate::plan::is_entry;

pub(super) fn check(case: &Case<'_>, moving: &[Moving<'_>]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = moving.iter().filter_map(|moving| never_ends(case, moving)).collect();
    findings.extend(ends_at_once(case, moving));
    for service in case.view.services() {
        let behind = || {
            moving.iter().filter(|moving| {
                let workload = moving.workload;
                service.selects(workload.reference.name.namespace(), &workload.template.labels)
            })
        };
        if behind().next().is_none() {
            continue;
        }
        let ends = behind().filter(|moving| !moving.workload.template.pre_stop);
        let node_by_node =
            |moving: &Moving<'_>| stays_on_its_node(service) && !moving.choice.route.restarts();
        findings.extend(local_traffic(service, Ending::of(ends.map(node_by_node))));
        findings.extend(unready_is_published(service));
    }
    findings.extend(entries(case, moving));
    findings
}

fn never_ends(case: &Case<'_>, moving: &Moving<'_>) -> Option<Finding> {
    let (what, grace) = (&moving.workload.reference, moving.workload.template.grace_seconds);
    let limit = case.policy.move_timeout.as_secs();
    (u64::from(grace) >= limit).then(|| {
        finding(
            Severity::Blocking,
            "END-001",
            &what.name,
            format!("a pod of {what} may take {grace} s to end, and a move may take {limit} s in all"),
            "raise `move_timeout` well above it, or lower terminationGracePeriodSeconds",
        )
    })
}

/// A pod is told to end while others still hear that it is there (Kubernetes: endpoints are removed beside `SIGTERM`).
fn ends_at_once(case: &Case<'_>, moving: &[Moving<'_>]) -> Option<Finding> {
    let served = |moving: &&Moving<'_>| {
        let workload = moving.workload;
        let namespace = workload.reference.name.namespace();
        !workload.template.pre_stop
            && namespace != "kube-system"
            && case.view.services_for(namespace, &workload.template.labels).next().is_some()
    };
    let names: Vec<&ObjectName> =
        moving.iter().filter(served).map(|moving| &moving.workload.reference.name).collect();
    (!names.is_empty()).then(|| {
        finding(
            Severity::Advisory,
            "END-002",
            &case.inventory.identity.name,
            format!(
                "{} workload(s) behind a Service have no preStop hook ({}): requests that are on their way when a pod is told to \
                 end may fail, unless it goes on answering for some seconds by itself",
                names.len(),
                named(&names)
            ),
            "add `preStop: { sleep: { seconds: 15 } }`",
        )
    })
}

/// How the pods behind a Service end, as its load balancer sees it.
#[derive(Clone, Copy)]
enum Ending {
    /// They go on answering for a while.
    Waits,
    /// They do not, but their node is taken out before.
    NodeByNode,
    /// They do not.
    AtOnce,
}

impl Ending {
    /// By those of its workloads whose pods do not wait: does each go node by node?
    fn of(ends: impl Iterator<Item = bool>) -> Self {
        ends.fold(Self::Waits, |ending, node_by_node| match (ending, node_by_node) {
            (Self::Waits | Self::NodeByNode, true) => Self::NodeByNode,
            (Self::AtOnce, _) | (_, false) => Self::AtOnce,
        })
    }
}

/// A load balancer learns by its probe that a node has no pod of the Service any more; two failures five seconds apart, on
/// Azure.
fn local_traffic(service: &Service, ending: Ending) -> Option<Finding> {
    let from_outside = matches!(service.service_type, ServiceType::LoadBalancer | ServiceType::NodePort);
    if !service.local_traffic_only || !from_outside {
        return None;
    }
    let (severity, message, remedy) = match ending {
        Ending::Waits => (
            Severity::Info,
            "its pods wait before they end, for as long as their preStop hook says",
            "let it be 20 s or more",
        ),
        Ending::NodeByNode => (
            Severity::Info,
            "its pods end at once, so each node is taken out of the load balancer before the last one there goes",
            "nothing to do; with `preStop: { sleep: { seconds: 20 } }` they could be restarted, which is faster",
        ),
        Ending::AtOnce => (
            Severity::Advisory,
            "and its pods end at once: what it sends in between is lost",
            "add `preStop: { sleep: { seconds: 20 } }` to its pods",
        ),
    };
    Some(finding(
        severity,
        "SVC-001",
        &service.name,
        format!(
            "has externalTrafficPolicy Local: the load balancer goes on sending to a node for some 10 s after its last pod there \
             has begun to end; {message}"
        ),
        remedy,
    ))
}

fn unready_is_published(service: &Service) -> Option<Finding> {
    service.publishes_unready.then(|| {
        finding(
            Severity::Info,
            "SVC-002",
            &service.name,
            "publishes the addresses of pods that are not ready (publishNotReadyAddresses): its endpoints say nothing about \
             availability, and its gaps are not measured",
            "watch it by other means, if users depend on it",
        )
    })
}

fn entries(case: &Case<'_>, moving: &[Moving<'_>]) -> Vec<Finding> {
    let entry = |moving: &&Moving<'_>| {
        let workload = moving.workload;
        is_entry(workload.reference.name.namespace(), &workload.template.labels, case.view)
    };
    let names: Vec<&ObjectName> =
        moving.iter().filter(entry).map(|moving| &moving.workload.reference.name).collect();
    let mut findings = Vec::new();
    if !names.is_empty() {
        findings.push(finding(
            Severity::Info,
            "ING-001",
            &case.inventory.identity.name,
            format!(
                "{} workload(s) take traffic from outside ({}); they move before those behind them",
                names.len(),
                named(&names)
            ),
            "nothing to do",
        ));
    }
    let gateway = moving
        .iter()
        .find(|moving| moving.workload.template.labels.get("app").is_some_and(|app| app == "ingress-appgw"));
    findings.extend(gateway.map(|moving| {
        finding(
            Severity::Advisory,
            "ING-002",
            &moving.workload.reference.name,
            "writes the addresses of pods into an Application Gateway, which takes seconds to minutes: the gateway goes on sending \
             to a pod that has ended",
            "let pods behind the gateway wait in a preStop hook for longer than that, and set minReadySeconds likewise",
        )
    }));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Inventory;
    use crate::model::tests_support::inventory;
    use crate::policy::Policy;

    fn told(case: &Inventory, prefix: &str) -> Vec<String> {
        let findings = crate::check(case, &Policy::default(), "1.35".parse().unwrap());
        let about = findings.iter().filter(|finding| finding.code.starts_with(prefix));
        about.map(|f| format!("{} {} {}", f.severity, f.code, f.object)).collect()
    }

    #[test]
    fn pods_that_take_too_long_to_end_block_and_those_that_end_at_once_are_told_together() {
        let mut case = inventory();
        assert_eq!(told(&case, "END"), ["advisory END-002 shop"]);
        case.workloads[0].template.to_mut().pre_stop = true;
        assert_eq!(told(&case, "END"), [""; 0]);
        case.workloads[0].template.to_mut().grace_seconds = 1800;
        assert_eq!(told(&case, "END"), ["blocking END-001 shop/web"]);
    }

    #[test]
    fn a_service_from_outside_that_stays_on_its_node_is_told_by_how_its_pods_end() {
        let mut case = inventory();
        case.services[0].local_traffic_only = true;
        assert_eq!(told(&case, "SVC"), [""; 0], "a Service of the cluster has no load balancer");
        case.services[0].service_type = ServiceType::LoadBalancer;
        assert_eq!(told(&case, "SVC"), ["info SVC-001 shop/web"], "node by node");
        case.services[0].service_type = ServiceType::NodePort;
        assert_eq!(told(&case, "SVC"), ["advisory SVC-001 shop/web"], "a load balancer of somebody else");
        case.workloads[0].template.to_mut().pre_stop = true;
        case.services[0].publishes_unready = true;
        assert_eq!(told(&case, "SVC"), ["info SVC-001 shop/web", "info SVC-002 shop/web"]);
    }

    #[test]
    fn what_takes_traffic_from_outside_is_told_and_the_gateway_controller_has_a_lag() {
        let mut case = inventory();
        assert_eq!(told(&case, "ING"), [""; 0]);
        case.services[0].service_type = ServiceType::LoadBalancer;
        assert_eq!(told(&case, "ING"), ["info ING-001 shop"]);
        case.services[0].service_type = ServiceType::ClusterIP;
        case.workloads[0].template.to_mut().labels.insert("app".into(), "ingress-appgw".into());
        assert_eq!(told(&case, "ING"), ["advisory ING-002 shop/web", "info ING-001 shop"]);
    }
}

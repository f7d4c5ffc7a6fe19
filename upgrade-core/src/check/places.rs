//! Where the pods of a workload find room on the new nodes: a node of their own, a spread, enough of everything.

use super::workloads::{Moving, doomed_pools};
use super::{Case, finding, named};
use crate::finding::{Finding, Severity};
use crate::model::{HOST_LABEL, Pool, Resources, Workload};
use crate::plan::{Keeping, keeps_apart};

/// From how much of its capacity on a pool counts as tight, in percent. A rollout that surges by a quarter needs a quarter of one
/// workload; what is left below this is scattered over the nodes in pieces.
const TIGHT: u64 = 85;

pub(super) fn check(case: &Case<'_>, moving: &[Moving<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut alone = Vec::new();
    for Moving { workload, .. } in moving {
        let keeping = keeps_apart(workload).into_iter().find(|keeping| by_node(keeping));
        if let Some(keeping) = keeping {
            let nodes = admitting(case, workload);
            if nodes < workload.replicas {
                findings.push(too_few(workload, &keeping, nodes));
            } else {
                alone.push(*workload);
            }
        }
        findings.extend(cordoned_counts(case, workload));
    }
    findings.extend(each_its_own(case, &alone));
    findings.extend(doomed_pools(case).into_iter().filter_map(|pool| tight(case, pool)));
    findings
}

fn by_node(keeping: &Keeping<'_>) -> bool {
    match keeping {
        Keeping::Port(_) => true,
        Keeping::Apart { key, .. } => *key == HOST_LABEL,
    }
}

/// How many nodes a workload's pods may run on. During a move there are as many: the buffer's stand in for the pool's.
fn admitting(case: &Case<'_>, workload: &Workload) -> u32 {
    let nodes = case.view.nodes().filter(|node| workload.template.rules.admits(node)).count();
    u32::try_from(nodes).unwrap_or(u32::MAX)
}

fn too_few(workload: &Workload, keeping: &Keeping<'_>, nodes: u32) -> Finding {
    let why = match keeping {
        Keeping::Port(port) => format!("each takes port {port} of its node"),
        Keeping::Apart { .. } => "they keep apart".to_owned(),
    };
    let (replicas, what) = (workload.replicas, &workload.reference);
    finding(
        Severity::Blocking,
        "PLC-002",
        &what.name,
        format!("{what} wants {replicas} pods on nodes of their own ({why}), and {nodes} nodes admit it"),
        "lower its replicas, or give its pool more nodes",
    )
}

fn each_its_own(case: &Case<'_>, alone: &[&Workload]) -> Option<Finding> {
    (!alone.is_empty()).then(|| {
        let (count, names) = (alone.len(), named(alone.iter().map(|workload| &workload.reference.name)));
        finding(
            Severity::Info,
            "PLC-001",
            &case.inventory.identity.name,
            format!(
                "{count} workload(s) have a node for each pod, by a port of the node or by anti-affinity ({names}); a buffer has \
                 as many nodes as its pool, so each finds its own"
            ),
            "nothing to do",
        )
    })
}

/// By default a cordoned node counts when pods are spread over nodes, and it is empty in the end: then no node may have more
/// than `maxSkew` pods (Kubernetes: PodTopologySpread, `nodeTaintsPolicy: Ignore`).
fn cordoned_counts(case: &Case<'_>, workload: &Workload) -> Option<Finding> {
    let template = &workload.template;
    let mut rules = template.rules.spread.iter().filter(|rule| {
        rule.required
            && rule.topology_key == HOST_LABEL
            && !rule.honors_taints
            && rule.selector.matches(&template.labels)
    });
    let rule =
        rules.find(|rule| admitting(case, workload).saturating_mul(rule.max_skew) < workload.replicas)?;
    let (what, nodes, skew) = (&workload.reference, admitting(case, workload), rule.max_skew);
    Some(finding(
        Severity::Blocking,
        "PLC-003",
        &what.name,
        format!(
            "{what} spreads {} pods over nodes with maxSkew {skew}, and emptied nodes that are cordoned count as well: then \
             {nodes} nodes take {skew} each, and the rest waits",
            workload.replicas
        ),
        "set `nodeTaintsPolicy: Honor` in its topologySpreadConstraints, or raise maxSkew",
    ))
}

/// Little room is left for pods above the wanted number: they wait, or push out others.
fn tight(case: &Case<'_>, pool: &Pool) -> Option<Finding> {
    let offered: Resources = case.view.nodes_of(&pool.name).map(|node| node.allocatable).sum();
    let asked: Resources =
        case.view.pods_in(&pool.name).filter(|pod| !pod.is_finished()).map(|pod| pod.requests).sum();
    let percent = |part: u64, whole: u64| part.saturating_mul(100).checked_div(whole).unwrap_or(0);
    let (cpu, memory) = (percent(asked.cpu.0, offered.cpu.0), percent(asked.memory.0, offered.memory.0));
    if cpu.max(memory) < TIGHT {
        return None;
    }
    let mut movers =
        case.view.pods_in(&pool.name).filter(|pod| !pod.leaves_with_node()).map(|pod| pod.priority);
    let first = movers.next();
    let push = if movers.any(|priority| Some(priority) != first) {
        "; the important ones move first, because they push out less important ones where there is no room (preemption)"
    } else {
        ""
    };
    Some(finding(
        Severity::Advisory,
        "PLC-004",
        &pool.name,
        format!(
            "its pods ask for {cpu} % of its CPU and {memory} % of its memory, and so they will of its buffer's: moves wait for \
             room{push}"
        ),
        "give the pool one node more before the night",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Inventory;
    use crate::model::tests_support::inventory;
    use crate::model::{AffinityTerm, LabelSelector, SpreadRule};
    use crate::policy::Policy;

    fn told(case: &Inventory, code: &str) -> Vec<String> {
        let findings = crate::check(case, &Policy::default(), "1.35".parse().unwrap());
        let about = findings.iter().filter(|finding| finding.code == code);
        about.map(|f| format!("{} {}: {}", f.severity, f.object, f.message)).collect()
    }

    #[test]
    fn a_pod_for_each_node_is_told_once_for_all_and_blocks_where_there_are_too_few_nodes() {
        let mut case = inventory();
        case.workloads[0].template.to_mut().rules.host_ports = vec![9100];
        assert!(told(&case, "PLC-001")[0].starts_with("info shop: 1 workload(s) have a node for each pod"));
        case.workloads[0].replicas = 3;
        assert_eq!(
            told(&case, "PLC-002"),
            [
                "blocking shop/web: Deployment shop/web wants 3 pods on nodes of their own (each takes port 9100 of its node), and 2 \
              nodes admit it"
            ]
        );
        let web = case.workloads[0].template.to_mut();
        web.rules.host_ports.clear();
        web.rules.pod_anti_affinity = vec![AffinityTerm {
            selector: LabelSelector::of_labels(web.labels.clone()),
            topology_key: HOST_LABEL.into(),
            namespaces: Vec::new(),
            same_template: false,
        }];
        assert!(told(&case, "PLC-002")[0].contains("(they keep apart)"));
    }

    #[test]
    fn a_spread_over_nodes_that_counts_cordoned_ones_blocks_where_it_cannot_be_met() {
        let mut case = inventory();
        let web = &mut case.workloads[0];
        web.replicas = 4;
        web.template.to_mut().rules.spread = vec![SpreadRule {
            max_skew: 1,
            topology_key: HOST_LABEL.into(),
            selector: LabelSelector::of_labels(web.template.labels.clone()),
            required: true,
            honors_taints: false,
            same_template: false,
        }];
        assert_eq!(told(&case, "PLC-003").len(), 1);
        case.workloads[0].template.to_mut().rules.spread[0].max_skew = 2;
        assert_eq!(told(&case, "PLC-003"), [""; 0], "two nodes with two each");
        case.workloads[0].template.to_mut().rules.spread[0].max_skew = 1;
        case.workloads[0].template.to_mut().rules.spread[0].honors_taints = true;
        assert_eq!(told(&case, "PLC-003"), [""; 0]);
    }

    #[test]
    fn a_pool_that_is_nearly_full_is_told_and_so_is_who_pushes_out_whom() {
        let mut case = inventory();
        assert_eq!(told(&case, "PLC-004"), [""; 0]);
        for pod in &mut case.pods {
            pod.requests = Resources::new(3600, 1000);
        }
        let [told_of] = &told(&case, "PLC-004")[..] else { panic!() };
        assert!(
            told_of.starts_with("advisory user: its pods ask for 90 % of its CPU and 6 % of its memory"),
            "{told_of}"
        );
        assert!(!told_of.contains("preemption"));
        case.pods[0].priority = 1000;
        assert!(told(&case, "PLC-004")[0].contains("preemption"));
    }
}

//! What is worth knowing of the workloads that move, told once for all of a kind.

use super::workloads::{Moving, doomed_pools};
use super::{Case, finding, named, target};
use crate::finding::{Finding, Severity};
use crate::model::{KubeVersion, Pool, WorkloadKind};

pub(super) fn check(case: &Case<'_>, moving: &[Moving<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(data_left_behind(case, moving));
    findings.extend(data_on_the_node(case, moving));
    findings.extend(two_for_a_moment(case, moving));
    findings.extend(newer_kubelets(case, moving));
    findings.extend(last_tunnel(moving));
    findings.extend(doomed_pools(case).into_iter().filter_map(|pool| windows(case, pool)));
    findings
}

/// The names of those that something holds for, for a message; `None` if there are none.
fn those(moving: &[Moving<'_>], holds: impl Fn(&Moving<'_>) -> bool) -> Option<(usize, String)> {
    let names: Vec<_> =
        moving.iter().filter(|moving| holds(moving)).map(|moving| &moving.workload.reference.name).collect();
    (!names.is_empty()).then(|| (names.len(), named(&names)))
}

fn data_left_behind(case: &Case<'_>, moving: &[Moving<'_>]) -> Option<Finding> {
    let (count, names) = those(moving, |moving| moving.workload.template.empty_dir)?;
    Some(finding(
        Severity::Info,
        "DAT-001",
        &case.inventory.identity.name,
        format!("{count} workload(s) keep data in an emptyDir, which goes with each pod ({names})"),
        "know that caches start cold; what must not be lost belongs on a disk",
    ))
}

fn data_on_the_node(case: &Case<'_>, moving: &[Moving<'_>]) -> Option<Finding> {
    let (count, names) = those(moving, |moving| moving.workload.template.host_path)?;
    Some(finding(
        Severity::Advisory,
        "DAT-002",
        &case.inventory.identity.name,
        format!(
            "{count} workload(s) use a directory of their node (hostPath), which is another one after the move ({names})"
        ),
        "know what they keep there; it does not move, and the upgrade makes the nodes anew",
    ))
}

/// A restart starts the new pod beside the old one, and so does one more replica that is lent. That is right for whatever serves, and for a singleton that takes a lock.
fn two_for_a_moment(case: &Case<'_>, moving: &[Moving<'_>]) -> Option<Finding> {
    let alone = |moving: &Moving<'_>| {
        let workload = moving.workload;
        let served = case.view.services_for(workload.reference.name.namespace(), &workload.template.labels);
        moving.choice.route.writes() && workload.replicas == 1 && served.count() == 0
    };
    let (count, names) = those(moving, alone)?;
    Some(finding(
        Severity::Info,
        "MOV-006",
        &case.inventory.identity.name,
        format!(
            "{count} workload(s) with one replica and no Service run twice for a moment, the new pod beside the old ({names})"
        ),
        "fine if they elect a leader; one that must never run twice wants strategy Recreate, and its gap accepted",
    ))
}

/// From 1.36 on the scheduler asks whether a kubelet can do what a pod wants (plugin NodeDeclaredFeatures).
fn newer_kubelets(case: &Case<'_>, moving: &[Moving<'_>]) -> Vec<Finding> {
    const ASKED_SINCE: KubeVersion = KubeVersion::new(1, 36, 0);
    let reached = target(case.inventory, case.request).is_some_and(|target| target >= ASKED_SINCE);
    if !reached || case.inventory.cluster.version >= ASKED_SINCE {
        return Vec::new();
    }
    let wanting = moving.iter().filter(|moving| !moving.workload.template.kubelet_features.is_empty());
    let report = |moving: &Moving<'_>| {
        let (what, features) = (&moving.workload.reference, &moving.workload.template.kubelet_features);
        finding(
            Severity::Advisory,
            "VER-006",
            &what.name,
            format!(
                "{what} asks for {}; once the control plane is upgraded, its new pods find no node until the buffer is there",
                features.join(" and ")
            ),
            "do not deploy it between the two, or expect its pods to wait",
        )
    };
    wanting.map(report).collect()
}

/// The API server reaches webhooks, aggregated APIs, logs and `exec` through these agents.
fn last_tunnel(moving: &[Moving<'_>]) -> Option<Finding> {
    let tunnel = moving.iter().find(|moving| {
        let reference = &moving.workload.reference;
        reference.kind == WorkloadKind::Deployment
            && (reference.name.namespace(), reference.name.name()) == ("kube-system", "konnectivity-agent")
    })?;
    (tunnel.workload.replicas < 2).then(|| {
        finding(
            Severity::Advisory,
            "ADD-001",
            &tunnel.workload.reference.name,
            "has one replica: while it moves, the API server reaches no webhook, no aggregated API and no pod",
            "let the system pool have two nodes or more, and AKS runs two of it",
        )
    })
}

/// Windows images run on the build of Windows that they were made for.
fn windows(case: &Case<'_>, pool: &Pool) -> Option<Finding> {
    const BUILD: &str = "node.kubernetes.io/windows-build";
    if !pool.is_windows() {
        return None;
    }
    let builds: std::collections::BTreeSet<&str> = case
        .view
        .nodes_of(&pool.name)
        .filter_map(|node| node.labels.get(BUILD).map(String::as_str))
        .collect();
    let builds = if builds.is_empty() {
        "its nodes do not say which build".to_owned()
    } else {
        format!("now build {}", named(&builds))
    };
    Some(finding(
        Severity::Advisory,
        "WIN-001",
        &pool.name,
        format!("runs Windows ({builds}), and its images must match the build of the new nodes"),
        "check that the target version keeps the pool's edition of Windows; images of several builds are safe",
    ))
}

#[cfg(test)]
mod tests {
    use crate::Inventory;
    use crate::model::tests_support::inventory;
    use crate::model::{KubeVersion, OsType};
    use crate::policy::Policy;

    fn told(case: &Inventory, to: &str) -> Vec<String> {
        let findings = crate::check(case, &Policy::default(), to.parse().unwrap());
        let of =
            |code: &str| ["DAT-001", "DAT-002", "MOV-006", "VER-006", "ADD-001", "WIN-001"].contains(&code);
        let about = findings.iter().filter(|finding| of(&finding.code));
        about.map(|f| format!("{} {} {}", f.severity, f.code, f.object)).collect()
    }

    #[test]
    fn data_that_stays_behind_is_told_once_for_all() {
        let mut case = inventory();
        assert_eq!(told(&case, "1.35"), [""; 0]);
        case.workloads[0].template.to_mut().empty_dir = true;
        case.workloads[0].template.to_mut().host_path = true;
        assert_eq!(told(&case, "1.35"), ["advisory DAT-002 shop", "info DAT-001 shop"]);
    }

    #[test]
    fn a_singleton_that_nobody_calls_runs_twice_for_a_moment() {
        let mut case = inventory();
        case.workloads[0].replicas = 1;
        case.pods.truncate(1);
        assert_eq!(told(&case, "1.35"), [""; 0], "a Service is in front of it");
        case.services.clear();
        assert_eq!(told(&case, "1.35"), ["info MOV-006 shop"]);
    }

    #[test]
    fn what_asks_for_a_newer_kubelet_is_told_only_when_the_control_plane_begins_to_look() {
        let mut case = inventory();
        case.workloads[0].template.to_mut().kubelet_features =
            vec!["restarting all containers by rule".into()];
        assert_eq!(told(&case, "1.35"), [""; 0]);
        case.cluster.version = KubeVersion::new(1, 35, 1);
        case.cluster.upgrades[3].preview = false;
        assert_eq!(told(&case, "1.36"), ["advisory VER-006 shop/web"]);
    }

    #[test]
    fn the_last_tunnel_of_the_api_server_and_a_pool_of_windows_are_told() {
        let mut case = inventory();
        for workload in &mut case.workloads {
            let name = workload.reference.name.name().replace("web", "konnectivity-agent");
            workload.reference.name = crate::model::ObjectName::new("kube-system", name).unwrap();
            if let Some(owner) = &mut workload.owner {
                owner.name = "konnectivity-agent".into();
            }
            workload.replicas = 1;
        }
        case.pods.truncate(1);
        case.pods[0].name = "kube-system/konnectivity-agent-1-a".parse().unwrap();
        case.pods[0].owner.as_mut().unwrap().name = "konnectivity-agent-1".into();
        case.pools[1].os = OsType::Windows;
        assert_eq!(
            told(&case, "1.35"),
            ["advisory ADD-001 kube-system/konnectivity-agent", "advisory WIN-001 user"]
        );
    }
}

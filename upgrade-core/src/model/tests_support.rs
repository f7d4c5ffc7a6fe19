//! Objects that the unit tests of several rooms need.

use super::{
    ArmId, AvailableUpgrade, Budget, BudgetLimit, BudgetStatus, Bytes, Claim, Endpoint, EndpointSlice,
    FormatVersion, KubeVersion, LabelSelector, Labels, Maintenance, ManagedCluster, Node, NodeName,
    ObjectName, OsType, Owner, Pod, PodPhase, PodTemplate, Pool, PoolMode, PoolName, ProvisioningState,
    PullAccess, RancherClusterId, Resources, SchedulingRules, Service, ServiceType, Strategy, Surroundings,
    Taint, TaintEffect, Uid, UpgradeSettings, Workload, WorkloadKind, WorkloadRef, WorkloadStatus,
};
use crate::access::{AccessAnswer, Reviewed, Right};
use crate::inventory::{ClusterIdentity, Inventory, Ownership, RancherFacts, SecondWriter};

/// A settled Deployment `shop/web` with a readiness probe.
pub(crate) fn deployment(replicas: u32, surge: &str, unavailable: &str) -> Workload {
    let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
    Workload {
        reference: WorkloadRef { kind: WorkloadKind::Deployment, name: "shop/web".parse().unwrap() },
        uid: Uid::new("web-uid").unwrap(),
        owner: None,
        generation: 1,
        replicas,
        selector: Some(LabelSelector::of_labels(labels.clone()).into()),
        strategy: Strategy::Rolling {
            max_surge: surge.parse().unwrap(),
            max_unavailable: unavailable.parse().unwrap(),
        },
        paused: false,
        min_ready_seconds: 0,
        template: PodTemplate { labels, readiness_probe: true, ..PodTemplate::default() }.into(),
        status: WorkloadStatus {
            observed_generation: 1,
            replicas,
            updated: replicas,
            ready: replicas,
            available: replicas,
            trouble: None,
        },
    }
}

/// A claim that one node at a time can mount.
pub(crate) fn exclusive_claim(name: &str) -> Claim {
    Claim { name: name.parse().unwrap(), shared: false, disk: true, zones: Vec::new(), hosts: Vec::new() }
}

/// A healthy pod of the Deployment [`deployment`], on `node`.
pub(crate) fn pod(name: &str, node: &str) -> Pod {
    Pod {
        name: name.parse().unwrap(),
        uid: Uid::new(format!("uid-{}", name.replace('/', "-"))).unwrap(),
        labels: Labels::from([("app".to_owned(), "web".to_owned())]).into(),
        node: Some(NodeName::new(node).unwrap()),
        owner: Some(Owner {
            kind: WorkloadKind::ReplicaSet,
            name: "web-1".into(),
            uid: Uid::new("set-uid").unwrap(),
        }),
        phase: PodPhase::Running,
        ready: true,
        ready_since: None,
        terminating: false,
        mirror: false,
        requests: Resources::new(100, 100),
        rules: SchedulingRules::default().into(),
        priority: 0,
        claims: Vec::new(),
        empty_dir: false,
        images: Vec::new(),
        init_images: Vec::new(),
        image_ids: Vec::new().into(),
        pull_access: PullAccess::default().into(),
        pulling: None,
        grace_seconds: 30,
        trouble: None,
        restarts: 0,
    }
}

/// The ReplicaSet between [`deployment`] and its [`pod`]s.
pub(crate) fn replica_set(replicas: u32) -> Workload {
    let mut set = deployment(replicas, "0", "0");
    set.reference = WorkloadRef { kind: WorkloadKind::ReplicaSet, name: "shop/web-1".parse().unwrap() };
    set.uid = Uid::new("set-uid").unwrap();
    set.owner =
        Some(Owner { kind: WorkloadKind::Deployment, name: "web".into(), uid: Uid::new("web-uid").unwrap() });
    set.strategy = Strategy::Never;
    set
}

/// A ready node of a pool.
pub(crate) fn node(name: &str, pool: &str) -> Node {
    Node {
        name: NodeName::new(name).unwrap(),
        uid: Uid::new(format!("uid-{name}")).unwrap(),
        provider_id: None,
        labels: Labels::from([("agentpool".to_owned(), pool.to_owned())]),
        taints: Vec::new(),
        unschedulable: false,
        ready: true,
        kubelet: Some(KubeVersion::new(1, 34, 2)),
        allocatable: Resources::new(4000, 16_000),
        max_pods: 110,
        disk: Bytes(0),
        images: Vec::new(),
    }
}

/// A pool at 1.34.2.
pub(crate) fn pool(name: &str, mode: PoolMode, count: u32) -> Pool {
    Pool {
        name: PoolName::new(name).unwrap(),
        mode,
        os: OsType::Linux,
        version: KubeVersion::new(1, 34, 2),
        count,
        autoscaling: None,
        vm_size: "Standard_D4s_v5".into(),
        zones: Vec::new(),
        max_pods: 110,
        labels: Labels::new(),
        taints: Vec::new(),
        tags: Labels::new(),
        spot: false,
        stopped: false,
        scale_set: true,
        upgrade: UpgradeSettings::default(),
        state: ProvisioningState::Succeeded,
        error: None,
    }
}

/// A cluster at 1.34.2 that is offered 1.34.5, 1.35.1, 1.35.3 and a preview of 1.36.0, with one system and one user pool and
/// the Deployment `shop/web` behind a Service.
pub(crate) fn inventory() -> Inventory {
    let id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/\
              Microsoft.ContainerService/managedClusters/shop";
    let mut inventory = Inventory {
        format: FormatVersion::CURRENT,
        taken_at: Some("2026-11-24T20:00:00Z".parse().unwrap()),
        identity: ClusterIdentity {
            name: "shop".into(),
            rancher_id: RancherClusterId::new("c-m-abcd1234").unwrap(),
            arm_id: ArmId::new(id).unwrap(),
            kube_system: Uid::new("ks").unwrap(),
            evidence: Vec::new(),
        },
        rancher: RancherFacts {
            version: Some("v2.12.0".into()),
            state: "active".into(),
            ownership: Ownership::Generic,
            token_expires: None,
            token_unread: None,
            clock_ahead_seconds: None,
        },
        cluster: ManagedCluster {
            id: ArmId::new(id).unwrap(),
            location: "westeurope".into(),
            version: KubeVersion::new(1, 34, 2),
            state: ProvisioningState::Succeeded,
            error: None,
            upgrades: [(34, 5, false), (35, 1, false), (35, 3, false), (36, 0, true)]
                .map(|(minor, patch, preview)| AvailableUpgrade {
                    version: KubeVersion::new(1, minor, patch),
                    preview,
                })
                .into(),
            auto_upgrade_channel: None,
            node_resource_group: "MC_rg_shop".into(),
            fqdn: None,
            max_pools: 100,
            force_upgrade: false,
            maintenance: Maintenance::default(),
        },
        pools: vec![pool("system", PoolMode::System, 1), pool("user", PoolMode::User, 2)],
        nodes: Vec::new(),
        pods: Vec::new(),
        workloads: Vec::new(),
        budgets: Vec::new(),
        services: Vec::new(),
        slices: Vec::new(),
        claims: Vec::new(),
        autoscalers: Vec::new(),
        deprecated_apis: Vec::new(),
        surroundings: Surroundings::default(),
        access: vec![Reviewed { right: Right::everything(), answer: AccessAnswer::Allowed }],
        trials: Vec::new(),
        unseen: Vec::new(),
    };
    inventory.nodes = vec![node("s0", "system"), node("u0", "user"), node("u1", "user")];
    inventory.nodes[0].taints.push(Taint {
        key: "CriticalAddonsOnly".into(),
        value: "true".into(),
        effect: TaintEffect::NoSchedule,
    });
    inventory.workloads = vec![deployment(2, "25%", "25%"), replica_set(2)];
    inventory.pods = vec![pod("shop/web-1-a", "u0"), pod("shop/web-1-b", "u1")];
    inventory.services = vec![service("shop/web")];
    inventory.slices = vec![slice("shop/web", &["shop/web-1-a", "shop/web-1-b"])];
    inventory
}

/// A Service in front of [`pod`]s.
pub(crate) fn service(name: &str) -> Service {
    Service {
        name: name.parse().unwrap(),
        selector: Labels::from([("app".to_owned(), "web".to_owned())]),
        service_type: ServiceType::ClusterIP,
        local_traffic_only: false,
        publishes_unready: false,
    }
}

/// The slice of a Service with these pods ready behind it.
pub(crate) fn slice(service: &str, pods: &[&str]) -> EndpointSlice {
    let name: ObjectName = service.parse().unwrap();
    let endpoint = |(index, pod): (usize, &&str)| Endpoint {
        address: format!("10.0.0.{index}"),
        pod: Some(pod.parse().unwrap()),
        node: None,
        ready: true,
    };
    EndpointSlice {
        name: ObjectName::new(name.namespace(), format!("{}-x", name.name())).unwrap(),
        service: Some(name.name().to_owned()),
        endpoints: pods.iter().enumerate().map(endpoint).collect::<Vec<_>>().into(),
    }
}

/// A synced budget over [`pod`]s that allows `allowed` evictions now.
pub(crate) fn budget(name: &str, limit: BudgetLimit, healthy: u32, desired: u32) -> Budget {
    Budget {
        name: name.parse().unwrap(),
        selector: Some(LabelSelector::of_labels(Labels::from([("app".to_owned(), "web".to_owned())]))),
        limit,
        always_allow_unhealthy: false,
        generation: 1,
        status: BudgetStatus {
            observed_generation: 1,
            expected: healthy,
            desired_healthy: desired,
            current_healthy: healthy,
            disruptions_allowed: healthy.saturating_sub(desired),
            sync_failed: None,
        },
    }
}

/// A cluster that Rancher manages, out of sync for these reasons, or in sync.
pub(crate) fn managed(reasons: &[&str]) -> Ownership {
    Ownership::Managed(SecondWriter {
        out_of_sync: reasons.iter().map(|&reason| reason.to_owned()).collect(),
        refresh_seconds: 300,
        last_refresh: None,
    })
}

//! The demo cluster: small, and with one of everything that makes upgrades hard.

use std::collections::BTreeMap;

use upgrade_core::inventory::{ClusterIdentity, Ownership, RancherFacts};
use upgrade_core::model::{
    ArmId, AvailableUpgrade, KubeVersion, Labels, ManagedCluster, OsType, Pool, PoolMode, PoolName,
    ProvisioningState, RancherClusterId, Resources, Taint, TaintEffect, Uid, UpgradeSettings,
};

use serde_json::json;

use super::app::App;
use super::{Manifest, Scenario};

const VERSION: KubeVersion = KubeVersion::new(1, 34, 2);

impl Scenario {
    /// A cluster `demo` at 1.34 with 1.35 offered: 3 system and 6 user nodes in 3 zones, and a shop that runs on them. Every
    /// Service can be upgraded without a gap.
    pub fn demo() -> Self {
        Self {
            start: "2026-01-15T01:00:00Z".parse().expect("a literal"),
            identity: ClusterIdentity {
                name: "demo".to_owned(),
                rancher_id: RancherClusterId::new("c-m-demo0001").expect("a literal"),
                arm_id: arm_id(),
                kube_system: Uid::new("6f1c2a52-5d0e-4b7a-9c55-0d1f7e1b3a77").expect("a literal"),
                evidence: Vec::new(),
            },
            rancher: RancherFacts {
                version: Some("v2.12.2".to_owned()),
                state: "active".to_owned(),
                ownership: Ownership::Generic,
                token_expires: None,
                token_unread: None,
                clock_ahead_seconds: None,
            },
            deeds: Vec::new(),
            cluster: cluster(),
            pools: vec![
                pool("system", PoolMode::System, 3, "Standard_D4s_v5"),
                pool("user", PoolMode::User, 6, "Standard_D8s_v5"),
            ],
            sizes: BTreeMap::from([
                ("Standard_D4s_v5".to_owned(), Resources::new(3860, 13_000)),
                ("Standard_D8s_v5".to_owned(), Resources::new(7820, 27_800)),
            ]),
            limits: crate::azure::AzureLimits::default(),
            timing: crate::timing::TimingModel::default(),
            images: images(),
            objects: [add_ons(), edge(), shop(), pay(), data(), watch(), teams()]
                .into_iter()
                .flatten()
                .flatten()
                .collect(),
            deprecated_apis: Vec::new(),
            actors: Vec::new(),
            faults: Vec::new(),
            names: BTreeMap::new(),
        }
    }

    /// The demo cluster with something in it that cannot move without a gap: `pay/vault`, one StatefulSet pod with a disk.
    pub fn with_gap() -> Self {
        let mut scenario = Self::demo();
        scenario.objects.extend(App::new("pay", "vault", 1).with_disks().stateful_set());
        scenario
    }
}

/// The sizes of the images that are not of ordinary size.
fn images() -> BTreeMap<String, u64> {
    let mebibytes = |size: u64| size << 20;
    [
        ("registry.example.com/kube-system/kube-proxy:1.0", mebibytes(40)),
        ("registry.example.com/kube-system/coredns:1.0", mebibytes(25)),
        ("registry.example.com/shop/search:1.0", mebibytes(2_200)),
        ("registry.example.com/data/report:1.0", mebibytes(3_100)),
        ("registry.example.com/pay/fraud:1.0", mebibytes(1_700)),
    ]
    .map(|(image, size)| (image.to_owned(), size))
    .into()
}

/// What AKS brings along.
pub(super) fn add_ons() -> Vec<Vec<Manifest>> {
    const NAMESPACE: &str = "kube-system";
    vec![
        App::new(NAMESPACE, "coredns", 3).budget("minAvailable", 1).on_system_pool().spread().deployment(),
        App::new(NAMESPACE, "coredns-autoscaler", 1).unserved().on_system_pool().deployment(),
        App::new(NAMESPACE, "metrics-server", 2).budget("minAvailable", 1).on_system_pool().deployment(),
        App::new(NAMESPACE, "konnectivity-agent", 2)
            .budget("maxUnavailable", 1)
            .unserved()
            .on_system_pool()
            .deployment(),
        App::new(NAMESPACE, "kube-proxy", 0).on_every_node().unprobed().daemon_set(),
        App::new(NAMESPACE, "azure-cns", 0).on_every_node().asks("40m", "250Mi").daemon_set(),
        App::new(NAMESPACE, "csi-azuredisk-node", 0)
            .on_every_node()
            .asks("30m", "60Mi")
            .unprobed()
            .daemon_set(),
    ]
}

/// Rancher's own agent.
pub(super) fn agent() -> Vec<Manifest> {
    App::new("cattle-system", "cattle-cluster-agent", 2).asks("200m", "512Mi").deployment()
}

/// What stands between the world and the workloads.
fn edge() -> Vec<Vec<Manifest>> {
    vec![
        agent(),
        App::new("ingress", "ingress-nginx", 3)
            .asks("250m", "256Mi")
            .budget("minAvailable", 2)
            .public()
            .apart()
            .strategy(
                json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } }),
            )
            .deployment(),
        App::new("cert-manager", "cert-manager", 1).unserved().deployment(),
        App::new("cert-manager", "cert-manager-webhook", 2).budget("minAvailable", 1).deployment(),
    ]
}

fn shop() -> Vec<Vec<Manifest>> {
    const NAMESPACE: &str = "shop";
    vec![
        App::new(NAMESPACE, "web", 4).asks("500m", "512Mi").budget("maxUnavailable", 1).spread().deployment(),
        App::new(NAMESPACE, "api", 3).asks("500m", "768Mi").budget("minAvailable", 2).deployment(),
        // No budget: the two replicas are all that protects it.
        App::new(NAMESPACE, "cart", 2).asks("250m", "256Mi").deployment(),
        App::new(NAMESPACE, "checkout", 1).budget("minAvailable", 1).ready_after(15).deployment(),
        App::new(NAMESPACE, "search", 1)
            .asks("1", "2Gi")
            .budget("minAvailable", "100%")
            .ready_after(30)
            .deployment(),
        App::new(NAMESPACE, "images", 3).budget("maxUnavailable", "34%").deployment(),
        App::new(NAMESPACE, "recommend", 1).asks("500m", "1Gi").deployment(),
    ]
}

fn pay() -> Vec<Vec<Manifest>> {
    const NAMESPACE: &str = "pay";
    vec![
        App::new(NAMESPACE, "ledger", 3)
            .asks("500m", "1Gi")
            .budget("maxUnavailable", 1)
            .with_disks()
            .spread()
            .stateful_set(),
        App::new(NAMESPACE, "gateway", 2).budget("minAvailable", 1).ready_after(10).deployment(),
        App::new(NAMESPACE, "fraud", 1).asks("1", "3Gi").budget("minAvailable", 1).deployment(),
        App::new(NAMESPACE, "worker", 2).unserved().unprobed().deployment(),
    ]
}

fn data() -> Vec<Vec<Manifest>> {
    const NAMESPACE: &str = "data";
    vec![
        App::new(NAMESPACE, "kafka", 3)
            .asks("1", "4Gi")
            .budget("maxUnavailable", 1)
            .ready_after(20)
            .with_disks()
            .apart()
            .parallel()
            .stateful_set(),
        App::new(NAMESPACE, "redis", 3).budget("minAvailable", 2).with_disks().stateful_set(),
        App::new(NAMESPACE, "report", 1).asks("2", "4Gi").job(75 * 60),
    ]
}

fn watch() -> Vec<Vec<Manifest>> {
    const NAMESPACE: &str = "monitoring";
    vec![
        App::new(NAMESPACE, "prometheus", 2)
            .asks("500m", "2Gi")
            .budget("maxUnavailable", 1)
            .ready_after(20)
            .with_disks()
            .stateful_set(),
        App::new(NAMESPACE, "alertmanager", 3).budget("minAvailable", 2).stateful_set(),
        App::new(NAMESPACE, "grafana", 1).budget("minAvailable", 1).deployment(),
        App::new(NAMESPACE, "node-exporter", 0).asks("20m", "32Mi").daemon_set(),
        App::new(NAMESPACE, "log-agent", 0).asks("50m", "128Mi").unprobed().daemon_set(),
    ]
}

/// Small things that many teams run.
fn teams() -> Vec<Vec<Manifest>> {
    vec![
        App::new("docs", "handbook", 2).budget("minAvailable", "50%").deployment(),
        App::new("docs", "blog", 1).budget("minAvailable", 1).deployment(),
        App::new("booking", "calendar", 2).budget("minAvailable", 1).deployment(),
        App::new("booking", "mailer", 1).unserved().unprobed().deployment(),
    ]
}

fn arm_id() -> ArmId {
    ArmId::new(
        "/subscriptions/00000000-0000-4000-8000-00000000de30/resourceGroups/rg-demo/providers/Microsoft.ContainerService/managedClusters/demo",
    )
    .expect("a literal")
}

fn cluster() -> ManagedCluster {
    ManagedCluster {
        id: arm_id(),
        location: "westeurope".to_owned(),
        version: VERSION,
        state: ProvisioningState::Succeeded,
        error: None,
        upgrades: vec![
            AvailableUpgrade { version: KubeVersion::new(1, 34, 3), preview: false },
            AvailableUpgrade { version: KubeVersion::new(1, 35, 1), preview: false },
        ],
        auto_upgrade_channel: None,
        node_resource_group: "MC_rg-demo_demo_westeurope".to_owned(),
        fqdn: Some("demo-dns-1a2b3c4d.hcp.westeurope.azmk8s.io".to_owned()),
        max_pools: 100,
        force_upgrade: false,
        maintenance: upgrade_core::model::Maintenance::default(),
    }
}

/// What keeps other people's pods off a system pool.
pub(super) fn system_taints() -> Vec<Taint> {
    vec![Taint {
        key: "CriticalAddonsOnly".to_owned(),
        value: "true".to_owned(),
        effect: TaintEffect::NoSchedule,
    }]
}

fn pool(name: &str, mode: PoolMode, count: u32, vm_size: &str) -> Pool {
    let taints = match mode {
        PoolMode::System => system_taints(),
        PoolMode::User | PoolMode::Other(_) => Vec::new(),
    };
    Pool {
        name: PoolName::new(name).expect("a literal"),
        mode,
        os: OsType::Linux,
        version: VERSION,
        count,
        autoscaling: None,
        vm_size: vm_size.to_owned(),
        zones: ["1", "2", "3"].map(str::to_owned).to_vec(),
        max_pods: 110,
        labels: Labels::new(),
        taints,
        tags: Labels::new(),
        spot: false,
        stopped: false,
        scale_set: true,
        upgrade: UpgradeSettings { max_surge: Some("10%".to_owned()), max_unavailable: Some("0".to_owned()) },
        state: ProvisioningState::Succeeded,
        error: None,
    }
}

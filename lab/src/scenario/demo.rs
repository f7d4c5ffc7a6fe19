//! The demo cluster: small, and with one of everything that makes upgrades hard.

use std::collections::BTreeMap;

use upgrade_core::inventory::{ClusterIdentity, Ownership, RancherFacts};
use upgrade_core::model::{
    ArmId, AvailableUpgrade, KubeVersion, Labels, ManagedCluster, OsType, Pool, PoolMode, PoolName,
    ProvisioningState, RancherClusterId, Resources, Taint, TaintEffect, Uid, UpgradeSettings,
};

use super::Scenario;

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
            },
            cluster: cluster(),
            pools: vec![
                pool("system", PoolMode::System, 3, "Standard_D4s_v5"),
                pool("user", PoolMode::User, 6, "Standard_D8s_v5"),
            ],
            sizes: BTreeMap::from([
                ("Standard_D4s_v5".to_owned(), Resources::new(3860, 13_000)),
                ("Standard_D8s_v5".to_owned(), Resources::new(7820, 27_800)),
            ]),
            objects: Vec::new(),
        }
    }
}

fn arm_id() -> ArmId {
    ArmId::new(
        "/subscriptions/00000000-0000-0000-0000-00000000demo/resourceGroups/rg-demo/providers/Microsoft.ContainerService/managedClusters/demo",
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
    }
}

fn pool(name: &str, mode: PoolMode, count: u32, vm_size: &str) -> Pool {
    let taints = match mode {
        PoolMode::System => vec![Taint {
            key: "CriticalAddonsOnly".to_owned(),
            value: "true".to_owned(),
            effect: TaintEffect::NoSchedule,
        }],
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

//! Fixed data for the renderers' transcripts: one small cluster with every kind of move, and a run on it.

use cluster_lab::{
    FailureForecast, FamilyForecast, Forecast, ServiceForecast, Spread, StageForecast, UsageForecast,
};
use upgrade_core::access::{AccessAnswer, Reviewed, Right};
use upgrade_core::event::{Event, EventKind, Report, RunOutcome, StageRecord, StepOutcome};
use upgrade_core::finding::{Finding, Severity};
use upgrade_core::inventory::{
    ClusterIdentity, Evidence, EvidenceKind, EvidenceVerdict, Inventory, Ownership, RancherFacts, Unseen,
};
use upgrade_core::ledger::{Gap, ServiceRecord};
use upgrade_core::model::{
    ArmId, AvailableUpgrade, Bytes, FormatVersion, KubeVersion, LabelSelector, Labels, ManagedCluster, Node,
    NodeName, OsType, PodTemplate, Pool, PoolMode, PoolName, ProvisioningState, RancherClusterId, Resources,
    RunId, StepId, Strategy, Taint, TaintEffect, Uid, UpgradeSettings, Workload, WorkloadKind, WorkloadRef,
    WorkloadStatus,
};
use upgrade_core::plan::Plan;
use upgrade_core::policy::Policy;
use upgrade_core::ports::Question;

const ARM_ID: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo/providers/\
                      Microsoft.ContainerService/managedClusters/shop-acc";

/// What somebody who may write to the cluster would like a terminal and a build agent to do.
pub(crate) const NASTY: &str = "denied: \u{1b}[2J##vso[task.setvariable variable=x]y\n::error::no | <b>";

fn workload(kind: WorkloadKind, name: &str, replicas: u32) -> Workload {
    let labels = Labels::from([("app".to_owned(), name.replace('/', "-"))]);
    let strategy = match kind {
        WorkloadKind::Deployment => {
            Strategy::Rolling { max_surge: "25%".parse().unwrap(), max_unavailable: "25%".parse().unwrap() }
        }
        _ => Strategy::Never,
    };
    Workload {
        reference: WorkloadRef { kind, name: name.parse().unwrap() },
        uid: Uid::new(format!("uid-{}", name.replace('/', "-"))).unwrap(),
        owner: None,
        generation: 1,
        replicas,
        selector: Some(LabelSelector::of_labels(labels.clone()).into()),
        strategy,
        paused: false,
        min_ready_seconds: 0,
        template: PodTemplate { labels, readiness_probe: !name.ends_with("blind"), ..PodTemplate::default() }
            .into(),
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

fn pool(name: &str, mode: PoolMode, count: u32) -> Pool {
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

fn node(name: &str, pool: &str) -> Node {
    let reserved =
        Taint { key: "CriticalAddonsOnly".into(), value: "true".into(), effect: TaintEffect::NoSchedule };
    Node {
        name: NodeName::new(name).unwrap(),
        uid: Uid::new(format!("uid-{name}")).unwrap(),
        provider_id: None,
        labels: Labels::from([("agentpool".to_owned(), pool.to_owned())]),
        taints: if pool == "system" { vec![reserved] } else { Vec::new() },
        unschedulable: false,
        ready: true,
        kubelet: Some(KubeVersion::new(1, 34, 2)),
        allocatable: Resources::new(4000, 16_000),
        max_pods: 110,
        disk: Bytes(0),
        images: Vec::new(),
    }
}

pub(crate) fn identity() -> ClusterIdentity {
    let evidence = |what, verdict, detail: &str| Evidence { what, verdict, detail: detail.into() };
    ClusterIdentity {
        name: "shop-acc".into(),
        rancher_id: RancherClusterId::new("c-m-abcd1234").unwrap(),
        arm_id: ArmId::new(ARM_ID).unwrap(),
        kube_system: Uid::new("5f1c2e5e-9f0a-4b52-a1f4-2f6f4f3c8c11").unwrap(),
        evidence: vec![
            evidence(EvidenceKind::Nodes, EvidenceVerdict::Agrees, "3 of 3 nodes are in MC_rg-demo"),
            evidence(
                EvidenceKind::ApiServerCa,
                EvidenceVerdict::Unavailable,
                "listClusterUserCredential is forbidden",
            ),
        ],
    }
}

pub(crate) fn inventory() -> Inventory {
    Inventory {
        format: FormatVersion::CURRENT,
        taken_at: Some("2026-11-24T20:00:00Z".parse().unwrap()),
        identity: identity(),
        rancher: RancherFacts {
            version: Some("v2.12.0".into()),
            state: "active".into(),
            ownership: Ownership::Generic,
            token_expires: None,
            token_unread: None,
            clock_ahead_seconds: None,
        },
        cluster: ManagedCluster {
            id: ArmId::new(ARM_ID).unwrap(),
            location: "westeurope".into(),
            version: KubeVersion::new(1, 34, 2),
            state: ProvisioningState::Succeeded,
            error: None,
            upgrades: vec![AvailableUpgrade { version: KubeVersion::new(1, 35, 3), preview: false }],
            auto_upgrade_channel: None,
            node_resource_group: "MC_rg-demo".into(),
            fqdn: None,
            max_pools: 100,
            force_upgrade: false,
            maintenance: upgrade_core::model::Maintenance::default(),
        },
        pools: vec![pool("system", PoolMode::System, 1), pool("user", PoolMode::User, 2)],
        nodes: vec![node("s0", "system"), node("u0", "user"), node("u1", "user")],
        pods: Vec::new(),
        workloads: vec![
            workload(WorkloadKind::Deployment, "shop/cart", 3),
            workload(WorkloadKind::Deployment, "shop/web", 4),
            workload(WorkloadKind::Deployment, "shop/blind", 2),
            workload(WorkloadKind::StatefulSet, "data/db", 3),
            workload(WorkloadKind::StatefulSet, "pay/ledger", 1),
        ],
        budgets: Vec::new(),
        services: Vec::new(),
        slices: Vec::new(),
        claims: Vec::new(),
        autoscalers: Vec::new(),
        deprecated_apis: Vec::new(),
        surroundings: upgrade_core::model::Surroundings::default(),
        access: vec![Reviewed { right: Right::everything(), answer: AccessAnswer::Allowed }],
        trials: Vec::new(),
        unseen: Vec::new(),
    }
}

pub(crate) fn policy() -> Policy {
    Policy { allow_gap: ["pay/ledger".parse().unwrap()].into(), ..Policy::default() }
}

pub(crate) fn plan() -> Plan {
    upgrade_core::plan(&inventory(), &policy(), "1.35".parse().unwrap()).unwrap()
}

/// The plan for a cluster that is at its target.
pub(crate) fn empty_plan() -> Plan {
    upgrade_core::plan(&inventory(), &policy(), "1.34.2".parse().unwrap()).unwrap()
}

pub(crate) fn snapshot() -> Inventory {
    let unseen = vec![Unseen { what: "persistentvolumeclaims".into(), why: NASTY.into() }];
    Inventory { unseen, ..inventory() }
}

pub(crate) fn findings() -> Vec<Finding> {
    let finding =
        |severity, code: &str, object: &str, message: &str, remedy: &str, accepted: Option<&str>| Finding {
            severity,
            code: code.into(),
            object: object.into(),
            message: message.into(),
            remedy: remedy.into(),
            accepted: accepted.map(Into::into),
        };
    vec![
        finding(
            Severity::Blocking,
            "MOV-001",
            "pay/ledger",
            "StatefulSet pay/ledger cannot move without a gap: a StatefulSet never starts the new pod before the old one is \
             gone, and has one replica",
            "give it a second replica, or accept the gap with `allow_gap = [\"pay/ledger\"]`",
            None,
        ),
        finding(
            Severity::Blocking,
            "PDB-002",
            "pay/frozen",
            "allows no eviction, ever",
            "mend it",
            Some("owner agreed"),
        ),
        finding(
            Severity::Unknown,
            "INV-001",
            "persistentvolumeclaims",
            &format!("could not be seen: {NASTY}"),
            "let the token's user read it, or accept this finding by code and object",
            None,
        ),
        finding(
            Severity::Advisory,
            "MOV-004",
            "shop/blind",
            "has no readiness probe",
            "add a readiness probe",
            None,
        ),
    ]
}

fn step(id: &str) -> StepId {
    StepId::new(id).unwrap()
}

fn gap(accepted: bool) -> Gap {
    Gap {
        service: "pay/ledger".parse().unwrap(),
        begin: "2026-11-24T21:10:00Z".parse().unwrap(),
        end: Some("2026-11-24T21:10:12.4Z".parse().unwrap()),
        cause: "stage 11, user: move onto userbf: StatefulSet pay/ledger".into(),
        accepted,
    }
}

fn record(service: &str, fewest: u32, gaps: Vec<Gap>) -> ServiceRecord {
    ServiceRecord { service: service.parse().unwrap(), start: 3, fewest, now: 3, gaps }
}

pub(crate) fn done() -> Report {
    let stage = |number, title: &str, duration_ms| StageRecord { number, title: title.into(), duration_ms };
    Report {
        run: RunId::new("shop-acc-20261124-200000-0a1f").unwrap(),
        cluster: "shop-acc".into(),
        from: KubeVersion::new(1, 34, 2),
        target: KubeVersion::new(1, 35, 3),
        outcome: RunOutcome::Done,
        stages: vec![
            stage(1, "upgrade the control plane", Some(372_000)),
            stage(2, "system: add buffer systembf", Some(184_000)),
        ],
        ledger: vec![record("shop/cart", 3, Vec::new()), record("shop/web", 2, Vec::new())],
        holding: Vec::new(),
        duration_ms: 556_000,
    }
}

pub(crate) fn held() -> Report {
    let mut report = done();
    report.outcome = RunOutcome::Held {
        step: step("2.1.1"),
        title: "create buffer systembf with 1 nodes like system, at 1.35.3".into(),
        cause: format!("Azure: {NASTY}"),
    };
    report.stages[1].duration_ms = None;
    report.ledger.push(record("pay/ledger", 0, vec![gap(false)]));
    report.holding = vec!["buffer systembf with 1 nodes".into(), "cordon of node s0".into()];
    report
}

pub(crate) fn paused() -> Report {
    let mut report = done();
    let question =
        Question { id: "gap-pay/ledger".into(), text: "pay/ledger has no ready endpoint. Go on?".into() };
    report.outcome = RunOutcome::Paused { question };
    report.ledger.push(record("pay/ledger", 0, vec![gap(true)]));
    report
}

/// One event of each kind, in the order of a run.
pub(crate) fn events() -> Vec<Event> {
    let text = |text: &str| text.to_owned();
    let kinds = vec![
        EventKind::RunStarted {
            cluster: text("shop-acc"),
            target: KubeVersion::new(1, 35, 3),
            plan: text("0123456789abcdef"),
            stages: 17,
            resumed: false,
        },
        EventKind::IdentityProven { stage: 1 },
        EventKind::StageStarted { stage: 1, title: text("upgrade the control plane") },
        EventKind::StepStarted { step: step("1.1.1"), title: text("upgrade the control plane to 1.35.3") },
        EventKind::WriteStarted { step: step("1.1.1"), what: text("upgrade the control plane to 1.35.3") },
        EventKind::WriteAnswered {
            step: step("1.1.1"),
            what: text("upgrade the control plane to 1.35.3"),
            answer: NASTY.to_owned(),
            ok: false,
        },
        EventKind::ImagePulled {
            step: step("1.1.1"),
            node: NodeName::new("u0").unwrap(),
            image: text("registry.example.com/shop/web:1"),
            bytes: Some(6_815_744_000),
            duration_ms: 412_300,
        },
        EventKind::Progress {
            stage: 1,
            done: 0,
            total: 1,
            unit: text("steps"),
            waiting_for: vec![text("Azure")],
        },
        EventKind::Warning { message: text("contact with Kubernetes lost; trying again") },
        EventKind::StepFinished {
            step: step("1.1.1"),
            outcome: StepOutcome::Done { message: text("the control plane runs 1.35.3") },
        },
        EventKind::StageFinished { stage: 1, duration_ms: 372_000 },
        EventKind::StepFinished {
            step: step("2.1.1"),
            outcome: StepOutcome::AlreadySo { message: text("buffer systembf is there") },
        },
        EventKind::GapOpened { gap: Gap { end: None, ..gap(false) } },
        EventKind::Asked {
            question: Question { id: text("gap"), text: text("pay/ledger has no ready endpoint. Go on?") },
        },
        EventKind::GapClosed { gap: gap(true) },
        EventKind::RunEnded { report: done() },
    ];
    let event = |(index, kind): (usize, EventKind)| Event {
        seq: index as u64 + 1,
        at: "2026-11-24T21:10:12.4Z".parse().unwrap(),
        elapsed_ms: 1000 * index as u64,
        run: RunId::new("shop-acc-20261124-200000-0a1f").unwrap(),
        kind,
    };
    kinds.into_iter().enumerate().map(event).collect()
}

/// Three rehearsals: in the last one a Service lost its endpoints, and the run paused.
pub(crate) fn forecast() -> Forecast {
    let spread = |min, median, max| Spread { min, median, p95: max - (max - median) / 10, max };
    let service = |name: &str, fewest, runs_with_gap, longest_gap_ms| ServiceForecast {
        service: name.parse().unwrap(),
        start: 3,
        fewest,
        runs_with_gap,
        longest_gap_ms,
    };
    let stage = |number, title: &str, duration_ms| StageForecast { number, title: title.into(), duration_ms };
    Forecast {
        format: FormatVersion::CURRENT,
        seed: 7,
        runs: 3,
        completed: 2,
        duration_ms: spread(5_400_000, 5_700_000, 6_300_000),
        stages: vec![
            stage(1, "upgrade the control plane", spread(360_000, 372_000, 401_000)),
            stage(2, "system: add buffer systembf", spread(181_000, 184_000, 190_000)),
        ],
        usage: UsageForecast {
            most_nodes: spread(9, 9, 9),
            most_pods: spread(120, 122, 127),
            most_vcpus: spread(52, 52, 52),
            families: [("standardDSv5Family", 36), ("standardESv5Family", 16)]
                .map(|(name, vcpus)| FamilyForecast {
                    family: name.into(),
                    most_vcpus: spread(vcpus, vcpus, vcpus),
                })
                .to_vec(),
            most_addresses: spread(279, 279, 279),
            pulls: spread(80, 83, 90),
            pulled_bytes: spread(31_000_000_000, 32_000_000_000, 40_250_000_000),
            pulls_ahead: spread(60, 62, 64),
            cold_pulls: spread(0, 1, 2),
            buffer_node_minutes: spread(150, 160, 171),
        },
        services: vec![service("shop/web", 2, 0, 0), service("pay/ledger", 0, 1, 12_400)],
        failures: vec![FailureForecast { seed: 9, outcome: paused().outcome }],
        probes: vec!["checkout".into(), "errors".into()],
    }
}

/// Three rehearsals without a gap.
pub(crate) fn good_forecast() -> Forecast {
    let mut forecast = forecast();
    forecast.completed = 3;
    forecast.services.pop();
    forecast.failures.clear();
    forecast.probes.clear();
    forecast
}

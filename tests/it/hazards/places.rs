//! Hazards of where the new pods find room.

use std::future::pending;
use std::time::Duration;

use futures::future::{Either, select};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::json;
use upgrade_core::model::{Node, PoolName, Taint, TaintEffect};
use upgrade_core::ports::WriteMode;
use upgrade_core::run::{drive, stop_signal};

use super::*;

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

fn port(name: &str) -> Value {
    json!({ "containers": [container(name, json!({ "ports": [{ "containerPort": 9100, "hostPort": 9100 }] }))] })
}

#[test]
fn hazard_05_host_ports_need_a_node_for_each_pod_and_the_buffer_has_as_many() {
    let told = Town::of([app("edge", 3, port("edge"))]);
    assert_eq!(
        told.says("PLC-001"),
        [
            "info demo: 1 workload(s) have a node for each pod, by a port of the node or by anti-affinity (shop/edge); a buffer has \
          as many nodes as its pool, so each finds its own"
        ]
    );
    let told = told.upgraded();
    assert_eq!(told.way("shop/edge"), "restart: rolling update with a surge of 1");
    assert_eq!((told.endpoints("shop/edge"), told.gaps().len()), ((3, 3), 0));

    let crowded = Town::of([app("edge", 4, port("edge"))]);
    assert_eq!(
        crowded.says("PLC-002"),
        [
            "blocking shop/edge: Deployment shop/edge wants 4 pods on nodes of their own (each takes port 9100 of its node), and 3 \
          nodes admit it"
        ]
    );
}

fn apart(name: &str, key: &str) -> Value {
    let term = json!({ "labelSelector": { "matchLabels": { "app": name } }, "topologyKey": key });
    json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } })
}

#[test]
fn hazard_06_pods_that_keep_apart_by_zone_leave_one_by_one_and_by_node_they_are_restarted() {
    let told =
        Town::of([app("quorum", 3, apart("quorum", ZONE)), app("web", 3, apart("web", HOST))]).upgraded();
    assert_eq!(
        told.way("shop/quorum"),
        "eviction: its pods keep apart, and each of the 3 values of topology.kubernetes.io/zone has one; 3 replicas, one leaves at \
         a time"
    );
    assert_eq!(told.way("shop/web"), "restart: rolling update with a surge of 1");
    assert_eq!((told.endpoints("shop/quorum"), told.endpoints("shop/web")), ((3, 2), (3, 3)));
    assert!(told.gaps().is_empty());
}

#[test]
fn hazard_07_whoever_selects_the_pool_by_name_fits_no_buffer_and_a_label_of_the_pools_own_does() {
    let by_name =
        Town::of([app("web", 2, json!({ "nodeSelector": { "kubernetes.azure.com/agentpool": "user" } }))]);
    assert_eq!(
        by_name.says("MOV-003"),
        ["blocking shop/web: Deployment shop/web asks for nodes that only pool user has; it fits no buffer"]
    );
    assert_eq!(by_name.blocked(), ["MOV-003 shop/web"]);

    let by_label = Town::of([app("web", 2, json!({ "nodeSelector": { "team": "shop" } }))])
        .but(|scenario| drop(scenario.pools[1].labels.insert("team".into(), "shop".into())));
    let told = by_label.upgraded();
    assert_eq!((told.endpoints("shop/web"), told.gaps().len()), ((2, 2), 0));
}

#[test]
fn hazard_08_the_buffer_has_its_pools_taints_so_who_tolerates_them_moves_and_nobody_else_comes() {
    let tolerates = json!({ "tolerations": [{ "key": "team", "operator": "Equal", "value": "shop", "effect": "NoSchedule" }] });
    let taint = Taint { key: "team".into(), value: "shop".into(), effect: TaintEffect::NoSchedule };
    let town =
        Town::of([app("web", 2, tolerates)]).but(|scenario| scenario.pools[1].taints.push(taint.clone()));
    assert_eq!(town.says("MOV-003"), [""; 0]);
    let told = town.upgraded();
    assert_eq!((told.endpoints("shop/web"), told.gaps().len()), ((2, 2), 0));

    // A pool that has a taint which its own pods do not tolerate any more would take none of them back.
    let gone_since =
        Town::of([app("web", 2, json!({}))]).but(|scenario| scenario.pools[1].taints.push(taint));
    let inventory = gone_since.inventory();
    assert!(inventory.pods.iter().filter(|pod| pod.name.namespace() == "shop").all(|pod| pod.node.is_none()));
    assert_eq!(gone_since.says("MOV-005").len(), 0, "it has no pod on a node that goes");
}

fn spread(name: &str, taints: &str) -> Value {
    let constraint = json!({
        "maxSkew": 1,
        "topologyKey": HOST,
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": taints,
        "labelSelector": { "matchLabels": { "app": name } },
    });
    json!({
        "topologySpreadConstraints": [constraint],
        "nodeSelector": { "kubernetes.azure.com/mode": "user" },
    })
}

#[test]
fn hazard_09_a_spread_that_counts_cordoned_nodes_could_not_be_met_and_is_refused_before_it_hangs() {
    let town = Town::of([app("web", 6, spread("web", "Ignore"))]);
    assert_eq!(
        town.says("PLC-003"),
        [
            "blocking shop/web: Deployment shop/web spreads 6 pods over nodes with maxSkew 1, and emptied nodes that are cordoned \
          count as well: then 3 nodes take 1 each, and the rest waits"
        ]
    );
    assert_eq!(town.blocked(), ["PLC-003 shop/web"]);
    // Who accepts it sees what it means: the move waits for a place that there is not, and the Service stays.
    let mut stubborn = town.accepting("PLC-003", "shop/web");
    stubborn.policy.move_timeout = Duration::from_secs(15 * 60);
    let told = stubborn.run();
    assert!(matches!(told.report.outcome, RunOutcome::Held { .. }), "{:?}", told.report.outcome);
    assert!(told.gaps().is_empty());

    let told = Town::of([app("web", 6, spread("web", "Honor"))]).upgraded();
    assert_eq!(told.endpoints("shop/web").0, 6);
    assert!(told.endpoints("shop/web").1 >= 5 && told.gaps().is_empty());
}

#[test]
fn hazard_10_a_disk_waits_in_its_zone_so_the_buffer_reaches_each_zone_and_one_on_a_node_stays() {
    let town = Town::of([stateful_set("db", 1, 1, json!({}))]).but(|scenario| scenario.pools[1].count = 1);
    assert_eq!(
        town.says("VOL-002"),
        [
            "info user: has 1 node(s) in 3 zones, and disks that only one zone can use; its buffer gets 3 nodes, one in each zone"
        ]
    );
    town.accepting_the_gap_of("shop/db").upgraded().assert_gaps_only_of("shop/db");

    let node = Town::of([])
        .inventory()
        .nodes
        .iter()
        .find(|n| n.pool().unwrap().as_str() == "user")
        .unwrap()
        .name
        .to_string();
    let affinity = json!({ "required": { "nodeSelectorTerms": [
        { "matchExpressions": [{ "key": HOST, "operator": "In", "values": [node] }] },
    ] } });
    let local = [
        object::<PersistentVolume>(json!({ "metadata": { "name": "scratch" }, "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "8Gi" }, "local": { "path": "/mnt/scratch" },
            "nodeAffinity": affinity, "claimRef": { "namespace": "shop", "name": "scratch" },
        } })),
        object::<PersistentVolumeClaim>(
            json!({ "metadata": { "name": "scratch", "namespace": "shop" }, "spec": {
            "accessModes": ["ReadWriteOnce"], "volumeName": "scratch", "storageClassName": "",
            "resources": { "requests": { "storage": "8Gi" } },
        } }),
        ),
    ];
    let volume =
        json!({ "volumes": [{ "name": "scratch", "persistentVolumeClaim": { "claimName": "scratch" } }] });
    let town = Town::of([local.into(), app("index", 1, volume)]).accepting_the_gap_of("shop/index");
    assert_eq!(
        town.says("VOL-001"),
        [format!(
            "blocking shop/scratch: lies on node {node} itself; Deployment shop/index cannot take it along, and the upgrade makes \
             the node anew"
        )]
    );
    assert_eq!(town.blocked(), ["VOL-001 shop/scratch"]);
}

#[test]
fn hazard_11_more_disks_in_a_zone_than_the_buffer_surely_takes_there_are_told() {
    let mut pod = apart("many", HOST);
    merge(&mut pod, json!({ "nodeSelector": { ZONE: "westeurope-1" } }));
    // Four nodes in three zones: two of them in the first.
    let town = Town::of([stateful_set("many", 2, 10, pod)]).but(|scenario| scenario.pools[1].count = 4);
    assert_eq!(
        town.says("VOL-003"),
        [
            "advisory user: its pods have 20 disks of zone westeurope-1 (shop/d0-many-0, shop/d0-many-1, shop/d1-many-0, \
          shop/d1-many-1, shop/d2-many-0 and 15 more), and 1 node(s) of its buffer take 16 each: some may wait"
        ]
    );
    let told = town.upgraded();
    assert_eq!((told.endpoints("shop/many"), told.gaps().len()), ((2, 1), 0));
}

/// While a plan is carried out somebody cordons the first node of the buffer in the zone, as soon as the pool's own are cordoned.
fn run_beside_a_cordon(night: &Night, plan: &Plan, zone: &str) -> Report {
    let (lab, ports) = (night.lab.clone(), night.ports());
    let somebody = Box::pin(async move {
        let node = loop {
            ports.clock.sleep_until(ports.clock.now() + Duration::from_secs(1)).await;
            let seen = lab.inventory();
            let of_pool = |node: &Node, pool: &str| node.pool().is_some_and(|own| own.as_str() == pool);
            if seen.nodes.iter().any(|node| of_pool(node, "user") && node.unschedulable) {
                let is_it = |node: &Node| of_pool(node, "userbf") && node.zone() == Some(zone);
                break seen.nodes.into_iter().find(is_it).expect("the buffer has one in each zone");
            }
        };
        let done = ports.kubernetes.set_unschedulable(&node.name, &node.uid, true, WriteMode::Commit).await;
        done.unwrap();
        pending::<()>().await;
    });
    let (_handle, stop) = stop_signal();
    let start =
        Start::Fresh { plan: plan.clone(), run: RunId::new("hazard-1").unwrap(), tool: "test".into() };
    let run = Box::pin(drive(start, night.ports(), stop));
    match night.lab.block_on(select(run, somebody)).expect("somebody goes on") {
        Either::Left((report, _)) => report.unwrap(),
        Either::Right(_) => panic!("somebody never ends"),
    }
}

#[test]
fn hazard_11_a_pod_whose_disks_no_node_takes_stays_where_it_is() {
    let pod = json!({ "nodeSelector": { ZONE: "westeurope-1" } });
    let town = Town::of([stateful_set("many", 2, 10, pod)]).but(|scenario| scenario.pools[1].count = 4);
    let (plan, night) = (town.plan(), Night::of(Lab::new(&town.scenario, 1)));
    let of_user = |(pool, disks): (&PoolName, &u32)| format!("{pool}: {disks}");
    let limits: Vec<String> = plan.disks_per_node.iter().map(of_user).collect();
    assert_eq!(limits, ["system: 8", "systembf: 8", "user: 16", "userbf: 16"]);
    // Of the buffer's two nodes in the zone one is left: it takes one pod with its ten disks.
    let report = run_beside_a_cordon(&night, &plan, "westeurope-1");
    let RunOutcome::Held { cause, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(cause.contains("10 disk(s) each); node"), "{cause}");
    assert!(cause.contains(" has the most left: ") && cause.contains(" pod(s), 6 disk(s)"), "{cause}");
    let seen = night.inventory();
    let pods: Vec<_> =
        seen.pods.iter().filter(|pod| pod.labels.get("app").is_some_and(|app| app == "many")).collect();
    assert!(pods.len() == 2 && pods.iter().all(|pod| pod.ready && !pod.terminating), "{pods:?}");
    assert!(report.ledger.iter().all(|record| record.gaps.is_empty()));
}

#[test]
fn hazard_14_in_a_pool_that_is_nearly_full_the_important_move_first_and_push_nobody_out() {
    let class = |name: &str, value: i32| {
        object::<PriorityClass>(json!({ "metadata": { "name": name }, "value": value }))
    };
    let sized = |name: &str, cpu: &str, class: &str| {
        let more = json!({ "resources": { "requests": { "cpu": cpu } } });
        json!({ "priorityClassName": class, "containers": [container(name, more)] })
    };
    let town = Town::of([
        vec![class("gold", 1000), class("iron", 1)],
        app("batch", 3, sized("batch", "3700m", "iron")),
        app("pay", 3, sized("pay", "3000m", "gold")),
    ]);
    assert_eq!(
        town.says("PLC-004"),
        [
            "advisory user: its pods ask for 85 % of its CPU and 0 % of its memory, and so they will of its buffer's: moves wait for \
          room; the important ones move first, because they push out less important ones where there is no room (preemption)"
        ]
    );
    let told = town.upgraded();
    assert_eq!(moves_off_user(&told.plan), ["user: move onto userbf (shop/pay, shop/batch)"]);
    assert_eq!(
        (told.endpoints("shop/pay"), told.endpoints("shop/batch")),
        ((3, 3), (3, 3)),
        "nobody was pushed out"
    );
}

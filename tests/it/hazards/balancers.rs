//! What an external load balancer makes of a night: it sends to nodes, and hears late that nothing answers there any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::future::{Either, select};
use jiff::Timestamp;
use upgrade_core::model::{NodeName, ObjectName, Pod, PodPhase};
use upgrade_core::run::{drive, stop_signal};
use upgrade_core::view::View;

use super::*;

/// How long a load balancer goes on sending to a node whose probe fails: two probes, five seconds apart.
const PROBES: i64 = 10;

/// How long it takes until a node with the label gets nothing any more; more than the probes need.
const LABEL: i64 = 20;

/// What is on a node of a Service with `externalTrafficPolicy: Local`.
#[derive(Clone, Copy, Default)]
struct OnNode {
    /// The label keeps the node out.
    out: bool,
    /// The probe finds a ready endpoint.
    ready: bool,
    /// Something answers, even if it is about to end.
    answers: bool,
}

type Timeline = Vec<(Timestamp, BTreeMap<NodeName, OnNode>)>;

fn nodes(view: &View, service: &ObjectName) -> BTreeMap<NodeName, OnNode> {
    let Some(service) = view.service(service) else { return BTreeMap::new() };
    let ready: Vec<&Pod> = view.ready_pods_behind(&service.name).collect();
    let answers =
        |pod: &&Pod| service.selects(pod.name.namespace(), &pod.labels) && pod.phase == PodPhase::Running;
    let of = |name: &NodeName| OnNode {
        out: view.node(name).is_some_and(|node| node.excluded_by().is_some()),
        ready: ready.iter().any(|pod| pod.node.as_ref() == Some(name)),
        answers: view.pods_on(name).filter(answers).any(|pod| pod.ready || pod.terminating),
    };
    view.nodes().map(|node| (node.name.clone(), of(&node.name))).collect()
}

/// The seconds in which the load balancer sends to a node where nothing answers, all nodes together.
fn lost_seconds(timeline: &Timeline) -> u32 {
    let mut changes = timeline.iter().peekable();
    let Some((first, mut now)) = changes.next().map(|(at, nodes)| (at.as_second(), nodes.clone())) else {
        return 0;
    };
    let last = timeline.last().map_or(first, |(at, _)| at.as_second());
    let (mut lost, mut ready_at, mut out_at) = (0, BTreeMap::new(), BTreeMap::<NodeName, i64>::new());
    for second in first..=last {
        while let Some((_, nodes)) = changes.next_if(|(at, _)| at.as_second() <= second) {
            now.clone_from(nodes);
        }
        for (name, node) in &now {
            if node.ready {
                ready_at.insert(name.clone(), second);
            }
            if node.out {
                out_at.entry(name.clone()).or_insert(second);
            } else {
                out_at.remove(name);
            }
            let probed = ready_at.get(name).is_some_and(|at| second - at <= PROBES);
            let out = out_at.get(name).is_some_and(|at| second - at >= LABEL);
            lost += u32::from(probed && !out && !node.answers);
        }
    }
    lost
}

/// Carries a plan out beside a load balancer; says for how many seconds it sent to nodes where nothing answered.
fn seconds_lost_at(town: &Town, service: &str) -> u32 {
    let night = Night::of(Lab::new(&town.scenario, 1));
    let start = Start::Fresh { plan: town.plan(), run: RunId::new("hazard-1").unwrap(), tool: "test".into() };
    let timeline = Arc::new(Mutex::new(Timeline::new()));
    let (ports, seen) = (night.ports(), Arc::clone(&timeline));
    let service: ObjectName = service.parse().unwrap();
    let watch = Box::pin(async move {
        let (mut view, mut changes) = (View::default(), ports.kubernetes.watch());
        while let Some(change) = changes.next().await {
            view.apply(change.unwrap());
            seen.lock().unwrap().push((ports.clock.now(), nodes(&view, &service)));
        }
    });
    let (_handle, stop) = stop_signal();
    let run = Box::pin(drive(start, night.ports(), stop));
    let Either::Left((report, _)) = night.lab.block_on(select(run, watch)).expect("somebody goes on") else {
        panic!("a watch never ends")
    };
    let report = report.unwrap();
    assert_eq!((report.outcome, report.holding), (RunOutcome::Done, Vec::<String>::new()));
    let labelled = night.inventory().nodes.into_iter().find(|node| node.excluded_by().is_some());
    assert_eq!(labelled.map(|node| node.name), None, "every node is in load balancers again");
    let timeline = timeline.lock().unwrap();
    lost_seconds(&timeline)
}

/// A Deployment behind a load balancer that sends only to nodes of its pods, which may end at once.
fn front(replicas: u32, waits: bool) -> Vec<Manifest> {
    let more = if waits { json!({ "preStop": { "sleep": { "seconds": 20 } } }) } else { Value::Null };
    let pod = json!({ "containers": [container("web", json!({ "lifecycle": more }))] });
    let service = json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local" });
    vec![deployment("shop", "web", replicas, json!({}), pod), self::service("shop", "web", service)]
}

#[test]
fn hazard_19_a_load_balancer_sends_nothing_to_nodes_where_nothing_answers() {
    let sudden = Town::of([front(3, false)]);
    assert_eq!(
        sudden.says("SVC-001"),
        [
            "info shop/web: has externalTrafficPolicy Local: the load balancer goes on sending to a node for some 10 s after its last pod \
          there has begun to end; its pods end at once, so each node is taken out of the load balancer before the last one there goes"
        ]
    );
    assert_eq!(
        way(&sudden.plan(), "shop/web"),
        "eviction with one more replica: its load balancer sends to nodes and its pods end at once: each node is taken out before its last \
         pod goes; replicas 4 is lent until the last pod has moved, and then given back"
    );
    assert_eq!(seconds_lost_at(&sudden, "shop/web"), 0);

    let patient = Town::of([front(3, true)]);
    assert_eq!(
        patient.says("SVC-001"),
        [
            "info shop/web: has externalTrafficPolicy Local: the load balancer goes on sending to a node for some 10 s after its last pod \
          there has begun to end; its pods wait before they end, for as long as their preStop hook says"
        ]
    );
    assert_eq!(way(&patient.plan(), "shop/web"), "restart: rolling update with a surge of 1");
    assert_eq!(seconds_lost_at(&patient, "shop/web"), 0, "they answer until the load balancer has heard");
}

/// Where nothing can be done about it the plan says so before, and this is what it means.
#[test]
fn hazard_19_one_pod_that_may_not_become_two_is_told_before_what_it_will_lose() {
    let scaler = json!({
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": {
            "minReplicas": 1,
            "maxReplicas": 3,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        },
    });
    let mut objects = front(1, false);
    objects.push(object::<k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler>(scaler));
    let town = Town::of([objects]);
    assert_eq!(
        town.says("SVC-001"),
        [
            "advisory shop/web: has externalTrafficPolicy Local: the load balancer goes on sending to a node for some 10 s after its last \
          pod there has begun to end; and its pods end at once: what it sends in between is lost"
        ]
    );
    assert!(seconds_lost_at(&town, "shop/web") > 0);
}

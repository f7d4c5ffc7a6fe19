//! Bad weather, on both faces: the same fault at the same call is the same failure for the run, over the lab's ports and over HTTP.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use cluster_lab::{Effect, Fault, Issuer, Lab, Scenario, Throttling, What, When, WriteKind};
use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Node as KubeNode;
use upgrade_core::model::{KubeVersion, Node, ProvisioningState};
use upgrade_core::ports::{PortError, PortErrorKind, Ports, RemoteService, WriteMode};
use upgrade_core::view::{Change, Object, ResourceKind};

use crate::faces::{FAST, Nobody, over_http, ports_of};

/// Longer than any of these tests.
const LONG: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a run sees of a failed write, and what an onlooker sees of its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    by: RemoteService,
    kind: PortErrorKind,
    known: bool,
    asks_to_wait: bool,
    done: bool,
}

fn seen(error: &PortError, done: bool) -> Seen {
    Seen {
        by: error.service,
        kind: error.kind,
        known: error.outcome_known(),
        asks_to_wait: error.retry_after.is_some(),
        done,
    }
}

/// The faults of single calls and of services, with what the first write of its service meets.
fn faults() -> Vec<What> {
    vec![
        What::Error(Effect::NotDone),
        What::Error(Effect::Done),
        What::Cut(Effect::NotDone),
        What::Cut(Effect::Done),
        What::Throttled { by: Throttling::Kubernetes, lasts: LONG },
        What::AgentLost(LONG),
        What::TokenExpired { of: Issuer::Rancher, lasts: LONG },
        What::Throttled { by: Throttling::Azure, lasts: LONG },
        What::TokenExpired { of: Issuer::Azure, lasts: LONG },
    ]
}

fn in_the_weather(what: &What, write: WriteKind, nth: u32) -> Lab {
    let lab = Lab::new(&Scenario::demo(), 1);
    let fault = Fault::new(When::Call { write, nth }, what.clone()).unwrap();
    lab.with(|world| world.add_fault(&fault));
    lab
}

fn a_node(lab: &Lab) -> Node {
    lab.inventory().nodes.into_iter().next().unwrap()
}

fn is_cordoned(lab: &Lab, node: &Node) -> bool {
    let spec = lab.with(|world| world.store.get::<KubeNode>("", node.name.as_str()).unwrap().spec.clone());
    spec.unwrap_or_default().unschedulable == Some(true)
}

async fn cordon(ports: &Ports, node: &Node) -> Result<(), PortError> {
    ports.kubernetes.set_unschedulable(&node.name, &node.uid, true, WriteMode::Commit).await
}

const TARGET: KubeVersion = KubeVersion::new(1, 35, 1);

/// The first write of the service that the fault concerns.
async fn first_write(lab: &Lab, ports: &Ports, what: &What) -> Option<Seen> {
    if occasion(what) == WriteKind::UpgradeControlPlane {
        let error = ports.azure.upgrade_control_plane(TARGET).await.err()?;
        return Some(seen(&error, lab.inventory().cluster.state != ProvisioningState::Succeeded));
    }
    let node = a_node(lab);
    let error = cordon(ports, &node).await.err()?;
    Some(seen(&error, is_cordoned(lab, &node)))
}

/// The write at which the fault befalls: the first one that it concerns.
fn occasion(what: &What) -> WriteKind {
    match what {
        What::Throttled { by: Throttling::Azure, .. } | What::TokenExpired { of: Issuer::Azure, .. } => {
            WriteKind::UpgradeControlPlane
        }
        _ => WriteKind::Cordon,
    }
}

async fn over_there(what: What) -> Option<Seen> {
    let folder = tempfile::tempdir().unwrap();
    let lab = in_the_weather(&what, occasion(&what), 1);
    let (server, cluster) = over_http(lab.clone(), folder.path(), FAST).await;
    let ports = cluster.ports(Arc::new(Nobody), Arc::new(Nobody), Arc::new(Nobody));
    let seen = first_write(&lab, &ports, &what).await;
    server.shutdown();
    seen
}

#[tokio::test]
async fn a_fault_at_a_call_is_the_same_failure_on_both_faces() {
    // Side by side, because some clients are patient.
    let there = join_all(faults().into_iter().map(over_there)).await;
    let mut story = String::new();
    for (what, there) in faults().iter().zip(there) {
        let lab = in_the_weather(what, occasion(what), 1);
        let here = lab.block_on(first_write(&lab, &ports_of(&lab), what)).unwrap();
        assert_eq!(here, there, "{what}");
        let here = here.expect("the first write fails");
        let outcome = if here.known { "nothing was done" } else { "unknown what was done" };
        let truth = if here.done { "done" } else { "not done" };
        let wait = if here.asks_to_wait { ", asks to wait" } else { "" };
        writeln!(story, "{what}\n  {:?} by {}, {outcome}{wait}; in truth {truth}", here.kind, here.by)
            .unwrap();
    }
    insta::assert_snapshot!(story);
}

/// The node as the change tells it, if it is told as cordoned.
fn tells_of_cordon(change: &Change, node: &Node) -> bool {
    let cordoned = |object: &Object| matches!(object, Object::Node(found) if found.name == node.name && found.unschedulable);
    match change {
        Change::Listed { objects, .. } => objects.iter().any(cordoned),
        Change::Applied(object) => cordoned(object),
        Change::Deleted { .. } => false,
    }
}

/// The watch of a run ends at the second cordon, and goes on. Counts the contacts lost and the lists until it is told.
async fn across_the_end(lab: &Lab, ports: &Ports) -> (usize, usize) {
    let nodes = lab.inventory().nodes;
    let mut watch = ports.kubernetes.watch();
    let mut lists = 0;
    while lists < ResourceKind::ALL.len() {
        lists += usize::from(matches!(watch.next().await.unwrap().unwrap(), Change::Listed { .. }));
    }
    // What it tells of this shows that it is open.
    cordon(ports, &nodes[0]).await.unwrap();
    while !tells_of_cordon(&watch.next().await.unwrap().unwrap(), &nodes[0]) {}
    // The agent may be lost at this one.
    let _ = cordon(ports, &nodes[1]).await;
    lab.with(|world| world.set_unschedulable(nodes[1].name.as_str(), None, true)).unwrap();
    let (mut lost, mut listed) = (0, 0);
    loop {
        match watch.next().await.unwrap() {
            Err(error) => {
                assert_eq!(
                    (error.kind, error.outcome_known()),
                    (PortErrorKind::Unreachable, true),
                    "{error}"
                );
                lost += 1;
            }
            Ok(change) => {
                listed += usize::from(matches!(change, Change::Listed { .. }));
                if tells_of_cordon(&change, &nodes[1]) {
                    return (lost, listed);
                }
            }
        }
    }
}

/// One that breaks goes on from where it was, and only what keeps it from that is a lost contact; one that is too far behind
/// lists anew.
#[tokio::test]
async fn a_watch_that_ends_goes_on_on_both_faces() {
    let ends = [
        (What::WatchesCut, (false, false)),
        (What::WatchesExpired, (false, true)),
        (What::AgentLost(Duration::from_secs(600)), (true, false)),
    ];
    for (what, expected) in ends {
        let near = in_the_weather(&what, WriteKind::Cordon, 2);
        let here = near.block_on(across_the_end(&near, &ports_of(&near))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let far = in_the_weather(&what, WriteKind::Cordon, 2);
        let (server, cluster) = over_http(far.clone(), folder.path(), FAST).await;
        let ports = cluster.ports(Arc::new(Nobody), Arc::new(Nobody), Arc::new(Nobody));
        let there = across_the_end(&far, &ports).await;
        server.shutdown();
        for (lost, listed) in [here, there] {
            assert_eq!((lost > 0, listed > 0), expected, "{what}: {here:?} {there:?}");
        }
    }
}

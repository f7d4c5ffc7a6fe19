//! Bad weather, on both faces: the same fault at the same call is the same failure for the run, over the lab's ports and over HTTP.

use std::sync::Arc;
use std::time::Duration;

use cluster_lab::{Effect, Fault, Issuer, Lab, Scenario, Throttling, What, When, WriteKind};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node as KubeNode;
use upgrade_core::model::{KubeVersion, Node};
use upgrade_core::ports::{PortError, PortErrorKind, Ports, RemoteService, WriteMode};
use upgrade_core::view::{Change, ResourceKind};

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
    let retry_after = Duration::from_secs(30);
    vec![
        What::Error(Effect::NotDone),
        What::Error(Effect::Done),
        What::Cut(Effect::NotDone),
        What::Cut(Effect::Done),
        What::Throttled { by: Throttling::Kubernetes, lasts: LONG, retry_after },
        What::AgentLost(LONG),
        What::TokenExpired { of: Issuer::Rancher, lasts: LONG },
        What::Throttled { by: Throttling::Azure, lasts: LONG, retry_after },
        What::TokenExpired { of: Issuer::Azure, lasts: LONG },
    ]
}

fn in_the_weather(what: &What, write: WriteKind) -> Lab {
    let lab = Lab::new(&Scenario::demo(), 1);
    let fault = Fault::new(When::Call { write, nth: 1 }, what.clone()).unwrap();
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
async fn first_writes(lab: &Lab, ports: &Ports, what: &What) -> Option<Seen> {
    let concerns_azure = matches!(
        what,
        What::Throttled { by: Throttling::Azure, .. } | What::TokenExpired { of: Issuer::Azure, .. }
    );
    if concerns_azure {
        let error = ports.azure.upgrade_control_plane(TARGET).await.err()?;
        return Some(seen(&error, false));
    }
    let node = a_node(lab);
    let error = cordon(ports, &node).await.err()?;
    Some(seen(&error, is_cordoned(lab, &node)))
}

#[tokio::test]
async fn a_fault_at_a_call_is_the_same_failure_on_both_faces() {
    let mut story = String::new();
    for what in faults() {
        let write = match &what {
            What::Throttled { by: Throttling::Azure, .. } | What::TokenExpired { of: Issuer::Azure, .. } => {
                WriteKind::UpgradeControlPlane
            }
            _ => WriteKind::Cordon,
        };
        let near = in_the_weather(&what, write);
        let ports = ports_of(&near);
        let here = near.block_on(first_writes(&near, &ports, &what)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let far = in_the_weather(&what, write);
        let (server, cluster) = over_http(far.clone(), folder.path(), FAST).await;
        let ports = cluster.ports(Arc::new(Nobody), Arc::new(Nobody), Arc::new(Nobody));
        let there = first_writes(&far, &ports, &what).await;
        server.shutdown();
        assert_eq!(here, there, "{what}");
        let here = here.expect("the first write fails");
        let outcome = if here.known { "nothing was done" } else { "unknown what was done" };
        let truth = if here.done { "done" } else { "not done" };
        let wait = if here.asks_to_wait { ", asks to wait" } else { "" };
        story += &format!("{what}\n  {:?} by {}, {outcome}{wait}; in truth {truth}\n", here.kind, here.by);
    }
    insta::assert_snapshot!(story);
}

/// The watch of a run breaks and goes on, or has to list anew, and in either case tells the truth afterwards.
async fn follows_through(lab: &Lab, ports: &Ports) {
    let node = a_node(lab);
    let mut watch = ports.kubernetes.watch();
    let mut lists = 0;
    while lists < ResourceKind::ALL.len() {
        lists += usize::from(matches!(watch.next().await.unwrap().unwrap(), Change::Listed { .. }));
    }
    cordon(ports, &node).await.unwrap();
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
            Ok(Change::Listed { objects, .. }) => {
                listed += 1;
                let told = |object: &upgrade_core::view::Object| match object {
                    upgrade_core::view::Object::Node(found) => found.name == node.name && found.unschedulable,
                    _ => false,
                };
                if objects.iter().any(told) {
                    break;
                }
            }
            Ok(Change::Applied(upgrade_core::view::Object::Node(found)))
                if found.name == node.name && found.unschedulable =>
            {
                break;
            }
            Ok(_) => {}
        }
    }
    let expired = lab.with(|world| world.befallen().iter().any(|(_, what)| *what == What::WatchesExpired));
    if expired {
        assert_eq!((lost, listed > 0), (0, true), "it lists anew and has lost nothing");
    } else {
        assert_eq!((lost > 0, listed), (true, 0), "it says that it broke, and goes on from where it was");
    }
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_on_both_faces() {
    for what in [What::WatchesCut, What::WatchesExpired] {
        let near = in_the_weather(&what, WriteKind::Cordon);
        near.block_on(follows_through(&near, &ports_of(&near))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let far = in_the_weather(&what, WriteKind::Cordon);
        let (server, cluster) = over_http(far.clone(), folder.path(), FAST).await;
        follows_through(&far, &cluster.ports(Arc::new(Nobody), Arc::new(Nobody), Arc::new(Nobody))).await;
        server.shutdown();
    }
}

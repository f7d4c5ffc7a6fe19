//! What Kubernetes does in the lab, told on the demo cluster.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use upgrade_core::model::{RestartId, WorkloadKind, WorkloadRef};

use super::pods;
use crate::{Lab, Scenario, World};

fn demo() -> Lab {
    Lab::new(&Scenario::demo(), 1)
}

/// Lets the world go on until something is so; every change on the way is looked at.
fn until(lab: &Lab, mut so: impl FnMut(&World) -> bool) {
    lab.block_on(async {
        let mut seen = 0;
        while !lab.with(|world| so(world)) {
            seen = lab.changed_since(seen).await;
        }
    })
    .expect("it comes to be so");
}

fn restart(lab: &Lab, namespace: &str, name: &str) {
    let reference =
        WorkloadRef { kind: WorkloadKind::Deployment, name: format!("{namespace}/{name}").parse().unwrap() };
    lab.with(|world| {
        let uid = world.store.get::<Deployment>(namespace, name).unwrap().metadata.uid.clone().unwrap();
        let now = world.now();
        world.restart(&reference, &uid, &RestartId::new("r.1.1.1").unwrap(), now).unwrap();
    });
}

fn settled(world: &World, kind: WorkloadKind, name: &str) -> bool {
    let reference = WorkloadRef { kind, name: name.parse().unwrap() };
    world.kube.view.workload(&reference).is_some_and(upgrade_core::model::Workload::is_settled)
}

fn pods_of<'a>(
    world: &'a World,
    namespace: &str,
    app: &'a str,
) -> impl Iterator<Item = &'a std::sync::Arc<Pod>> {
    let of_app = move |pod: &&std::sync::Arc<Pod>| {
        pod.metadata.labels.as_ref().and_then(|l| l.get("app")).is_some_and(|label| label == app)
    };
    world.store.list_in::<Pod>(namespace).filter(of_app)
}

#[test]
fn the_demo_cluster_is_handed_over_at_rest() {
    let lab = demo();
    lab.with(|world| {
        let view = &world.kube.view;
        let unready: Vec<_> = view
            .pods()
            .filter(|pod| !pod.is_healthy())
            .map(|pod| (pod.name.to_string(), pod.trouble.clone()))
            .collect();
        assert_eq!(unready, []);
        let unsettled: Vec<_> = view
            .workloads()
            .filter(|w| w.reference.kind != WorkloadKind::Job && !w.is_settled())
            .map(|w| w.reference.to_string())
            .collect();
        assert_eq!(unsettled, Vec::<String>::new());
        assert!(view.budgets().all(upgrade_core::model::Budget::is_synced));
        let empty: Vec<_> = view
            .services()
            .filter(|s| view.ready_endpoints(&s.name) == 0)
            .map(|s| s.name.to_string())
            .collect();
        assert_eq!(empty, Vec::<String>::new());
        let lasting = view.workloads().filter(|w| w.owner.is_none());
        assert!(lasting.count() >= 25, "a demo with something in it");
        assert_eq!(view.nodes().count(), 9);
        let zones: BTreeSet<_> = view.nodes().filter_map(|node| node.zone()).collect();
        assert_eq!(zones.len(), 3);
    });
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_seed_another() {
    let tell = |seed| {
        let lab = Lab::new(&Scenario::demo(), seed);
        restart(&lab, "shop", "web");
        lab.advance_to(lab.now() + std::time::Duration::from_secs(600));
        lab.with(|world| {
            let pods: Vec<_> =
                world.store.list::<Pod>().map(|pod| serde_json::to_string(&**pod).unwrap()).collect();
            (world.store.revision(), pods)
        })
    };
    assert_eq!(tell(3), tell(3));
    assert_ne!(tell(3), tell(4));
}

#[test]
fn a_rolling_restart_never_dips_below_its_budget_of_unavailable_pods_and_surges_by_one() {
    let lab = demo();
    restart(&lab, "shop", "web");
    let (mut least, mut most) = (i32::MAX, 0);
    until(&lab, |world| {
        let ready =
            pods_of(world, "shop", "web").filter(|pod| pods::is_ready(pod) && pods::is_active(pod)).count();
        // What the rollout asks for; of pods there can be one more for a moment, because the sets follow one after the other.
        let sets = world.store.list_in::<ReplicaSet>("shop");
        let of_web = sets.filter(|set| set.metadata.name.as_ref().unwrap().starts_with("web-"));
        let asked: i32 = of_web.filter_map(|set| set.spec.replicas).sum();
        least = least.min(i32::try_from(ready).unwrap());
        most = most.max(asked);
        settled(world, WorkloadKind::Deployment, "shop/web")
    });
    // 25 % of 4 both ways: one may be missing, one may be too many.
    assert_eq!((least, most), (3, 5));
    let revisions: BTreeSet<_> = lab.with(|world| {
        let sets = world.store.list_in::<ReplicaSet>("shop");
        sets.filter(|set| set.metadata.name.as_ref().unwrap().starts_with("web-"))
            .map(|set| set.metadata.annotations.clone().unwrap()["deployment.kubernetes.io/revision"].clone())
            .collect()
    });
    assert_eq!(revisions, ["1", "2"].map(str::to_owned).into());
}

#[test]
fn a_single_replica_behind_a_budget_is_never_evicted_but_can_be_restarted() {
    let lab = demo();
    let name =
        lab.with(|world| pods_of(world, "shop", "checkout").next().unwrap().metadata.name.clone().unwrap());
    let refusal = lab.with(|world| world.evict("shop", &name, None)).unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after_seconds), (429, 0));
    assert_eq!(
        refusal.causes[0].message,
        "The disruption budget checkout needs 1 healthy pods and has 1 currently"
    );
    restart(&lab, "shop", "checkout");
    let mut least = usize::MAX;
    until(&lab, |world| {
        let service = "shop/checkout".parse().unwrap();
        least = least.min(world.kube.view.ready_endpoints(&service) as usize);
        pods_of(world, "shop", "checkout").all(|pod| pod.metadata.name.as_ref() != Some(&name))
    });
    assert_eq!(least, 1, "somebody always answered");
}

#[test]
fn two_evictions_at_once_share_one_budget() {
    let lab = demo();
    let names: Vec<String> = lab
        .with(|world| pods_of(world, "shop", "api").map(|pod| pod.metadata.name.clone().unwrap()).collect());
    lab.with(|world| {
        world.evict("shop", &names[0], None).unwrap();
        let second = world.evict("shop", &names[1], None).unwrap_err();
        assert_eq!(second.code, 429);
        world.evict("shop", &names[0], None).expect("a pod that is going may be evicted again");
    });
    until(&lab, |world| {
        let budget = world.store.get::<PodDisruptionBudget>("shop", "api").unwrap();
        budget.status.as_ref().unwrap().disruptions_allowed == Some(1)
    });
}

#[test]
fn a_budget_that_was_just_changed_is_still_being_processed() {
    let lab = demo();
    let name = lab.with(|world| pods_of(world, "shop", "api").next().unwrap().metadata.name.clone().unwrap());
    let refusal = lab.with(|world| {
        let change = |budget: &mut PodDisruptionBudget| {
            budget.spec.as_mut().unwrap().min_available =
                Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(1));
        };
        world.store.update::<PodDisruptionBudget>("shop", "api", change).unwrap();
        world.evict("shop", &name, None).unwrap_err()
    });
    assert_eq!((refusal.code, refusal.retry_after_seconds), (429, 10));
}

#[test]
fn two_budgets_on_one_pod_are_a_misconfiguration() {
    let lab = demo();
    let name = lab.with(|world| {
        let mut second = PodDisruptionBudget::clone(world.store.get("shop", "api").unwrap());
        second.metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            name: Some("api-too".into()),
            namespace: Some("shop".into()),
            ..Default::default()
        };
        world.store.create(second).unwrap();
        pods_of(world, "shop", "api").next().unwrap().metadata.name.clone().unwrap()
    });
    let refusal = lab.with(|world| world.evict("shop", &name, None)).unwrap_err();
    assert_eq!((refusal.code, refusal.reason), (500, ""));
}

#[test]
fn a_cordoned_node_gets_no_new_pod_but_keeps_its_daemon_sets() {
    let lab = demo();
    let nodes: Vec<String> = lab.with(|world| {
        let names = world.store.list::<Node>().filter_map(|node| node.metadata.name.clone());
        names.filter(|name| name.contains("user")).collect()
    });
    let cordoned: BTreeSet<&String> = nodes.iter().take(5).collect();
    for name in &cordoned {
        lab.with(|world| world.set_unschedulable(name, None, true)).unwrap();
    }
    restart(&lab, "pay", "worker");
    let old: BTreeSet<String> = lab
        .with(|world| pods_of(world, "pay", "worker").map(|pod| pod.metadata.uid.clone().unwrap()).collect());
    until(&lab, |world| {
        pods_of(world, "pay", "worker").all(|pod| !old.contains(pod.metadata.uid.as_ref().unwrap()))
    });
    lab.with(|world| {
        for pod in pods_of(world, "pay", "worker") {
            assert!(!cordoned.contains(&pods::node_of(pod).unwrap().to_owned()));
        }
        let agents =
            pods_of(world, "monitoring", "log-agent").map(|pod| pods::node_of(pod).unwrap().to_owned());
        assert_eq!(agents.collect::<BTreeSet<_>>().len(), 9);
        let node = world.store.get::<Node>("", &nodes[0]).unwrap();
        let taints = node.spec.as_ref().unwrap().taints.clone().unwrap_or_default();
        assert!(taints.iter().any(|taint| taint.key == "node.kubernetes.io/unschedulable"));
    });
}

#[test]
fn a_stateful_pod_comes_back_under_its_name_with_its_disk_in_the_same_zone() {
    let lab = demo();
    let zone = |world: &World| {
        let pod = world.store.get::<Pod>("pay", "ledger-1")?;
        let node = world.store.get::<Node>("", pods::node_of(pod)?)?;
        Some((
            pod.metadata.uid.clone()?,
            node.metadata.labels.as_ref()?["topology.kubernetes.io/zone"].clone(),
            pods::is_ready(pod),
        ))
    };
    let (uid, before, _) = lab.with(|world| zone(world)).unwrap();
    lab.with(|world| world.evict("pay", "ledger-1", None)).unwrap();
    until(&lab, |world| zone(world).is_some_and(|(new, _, ready)| new != uid && ready));
    assert_eq!(lab.with(|world| zone(world)).unwrap().1, before);
}

#[test]
fn a_lost_pod_of_a_job_is_replaced_after_a_while() {
    let lab = demo();
    let first =
        lab.with(|world| pods_of(world, "data", "report").next().unwrap().metadata.name.clone().unwrap());
    let evicted = lab.now();
    lab.with(|world| world.evict("data", &first, None)).unwrap();
    until(&lab, |world| {
        pods_of(world, "data", "report").any(|pod| pod.metadata.name.as_ref() != Some(&first))
    });
    assert!(lab.now().duration_since(evicted).as_secs() >= 10, "the Job's backoff");
}

#[test]
fn a_machine_that_goes_takes_its_pods_along_and_they_come_back_elsewhere() {
    let lab = demo();
    let name = lab.with(|world| {
        pods_of(world, "shop", "cart").next().and_then(|pod| pods::node_of(pod)).unwrap().to_owned()
    });
    lab.with(|world| world.remove_machine(&upgrade_core::model::NodeName::new(name.as_str()).unwrap()));
    assert!(lab.with(
        |world| world.store.get::<Node>("", &name).is_none() && world.store.pods_on(&name).count() == 0
    ));
    until(&lab, |world| {
        let ready = pods_of(world, "shop", "cart").filter(|pod| pods::is_ready(pod)).count();
        ready == 2 && pods_of(world, "monitoring", "log-agent").count() == 8
    });
}

#[test]
fn what_a_deployment_leaves_behind_is_collected() {
    let lab = demo();
    lab.with(|world| world.store.delete::<Deployment>("shop", "cart")).unwrap();
    until(&lab, |world| pods_of(world, "shop", "cart").next().is_none());
    assert!(lab.with(|world| {
        world
            .store
            .list_in::<ReplicaSet>("shop")
            .all(|set| !set.metadata.name.as_ref().unwrap().starts_with("cart-"))
    }));
}

#[test]
fn a_stateful_set_is_replaced_one_by_one_from_the_highest_ordinal_down() {
    let lab = demo();
    lab.with(|world| {
        let reference = WorkloadRef { kind: WorkloadKind::StatefulSet, name: "data/redis".parse().unwrap() };
        let uid = world.store.get::<StatefulSet>("data", "redis").unwrap().metadata.uid.clone().unwrap();
        let now = world.now();
        world.restart(&reference, &uid, &RestartId::new("r.1.1.1").unwrap(), now).unwrap();
    });
    let mut order: Vec<String> = Vec::new();
    until(&lab, |world| {
        let going: Vec<String> = pods_of(world, "data", "redis")
            .filter(|pod| pods::is_terminating(pod))
            .map(|pod| pod.metadata.name.clone().unwrap())
            .collect();
        assert!(going.len() <= 1, "one at a time: {going:?}");
        order.extend(going.into_iter().filter(|name| order.last() != Some(name)).collect::<Vec<_>>());
        settled(world, WorkloadKind::StatefulSet, "data/redis")
    });
    assert_eq!(order, ["redis-2", "redis-1", "redis-0"]);
}

#[test]
fn recreate_stops_every_old_pod_before_the_first_new_one_comes() {
    let lab = demo();
    lab.with(|world| {
        let recreate = |deployment: &mut Deployment| {
            deployment.spec.strategy.as_mut().unwrap().type_ = Some("Recreate".into());
        };
        world.store.update::<Deployment>("shop", "images", recreate).unwrap();
    });
    restart(&lab, "shop", "images");
    let old: BTreeSet<String> = lab.with(|world| {
        pods_of(world, "shop", "images").map(|pod| pod.metadata.uid.clone().unwrap()).collect()
    });
    let is_old = |pod: &Pod| old.contains(pod.metadata.uid.as_ref().unwrap());
    until(&lab, |world| {
        let (before, after): (Vec<_>, Vec<_>) = pods_of(world, "shop", "images").partition(|pod| is_old(pod));
        assert!(before.is_empty() || after.is_empty(), "an old pod and a new one at once");
        after.iter().filter(|pod| pods::is_ready(pod)).count() == 3
    });
}

#[test]
fn a_paused_deployment_does_not_roll_until_it_is_resumed() {
    let lab = demo();
    let pause = |paused| {
        lab.with(|world| {
            world.store.update::<Deployment>("shop", "cart", |d| d.spec.paused = Some(paused)).unwrap();
        });
    };
    let sets = || {
        lab.with(|world| {
            let sets = world.store.list_in::<ReplicaSet>("shop");
            sets.filter(|set| set.metadata.name.as_ref().unwrap().starts_with("cart-")).count()
        })
    };
    pause(true);
    restart(&lab, "shop", "cart");
    lab.advance_to(lab.now() + std::time::Duration::from_secs(300));
    assert_eq!(sets(), 1);
    pause(false);
    until(&lab, |world| settled(world, WorkloadKind::Deployment, "shop/cart"));
    assert_eq!(sets(), 2);
}

#[test]
fn a_pod_counts_as_available_only_after_its_minimum() {
    let lab = demo();
    lab.with(|world| {
        world.store.update::<Deployment>("shop", "cart", |d| d.spec.min_ready_seconds = Some(120)).unwrap();
    });
    restart(&lab, "shop", "cart");
    let begun = lab.now();
    until(&lab, |world| settled(world, WorkloadKind::Deployment, "shop/cart"));
    // Two pods, one after the other, each watched for two minutes.
    assert!(lab.now().duration_since(begun).as_secs() >= 240);
}

#[test]
fn a_rollout_without_room_is_reported_and_goes_on_when_there_is_room() {
    let lab = demo();
    let names: Vec<String> = lab.with(|world| {
        let names = world.store.list::<Node>().filter_map(|node| node.metadata.name.clone());
        names.filter(|name| name.contains("user")).collect()
    });
    for name in &names {
        lab.with(|world| world.set_unschedulable(name, None, true)).unwrap();
    }
    restart(&lab, "shop", "cart");
    let trouble = |world: &World| {
        let reference = WorkloadRef { kind: WorkloadKind::Deployment, name: "shop/cart".parse().unwrap() };
        world.kube.view.workload(&reference).unwrap().status.trouble.clone()
    };
    until(&lab, |world| trouble(world).as_deref() == Some("ProgressDeadlineExceeded"));
    lab.with(|world| {
        let waiting = world.kube.view.pods().find(|pod| pod.node.is_none()).unwrap();
        assert_eq!(waiting.trouble.as_deref(), Some("Unschedulable"));
        world.set_unschedulable(&names[0], None, false).unwrap();
    });
    until(&lab, |world| trouble(world).is_none());
}

#[test]
fn a_budget_over_a_daemon_set_cannot_be_counted() {
    let lab = demo();
    lab.with(|world| {
        let budget = serde_json::from_value::<PodDisruptionBudget>(serde_json::json!({
            "metadata": { "name": "log-agent", "namespace": "monitoring" },
            "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": "log-agent" } } },
        }));
        world.store.create(budget.unwrap()).unwrap();
    });
    let budget = |world: &World| {
        world.kube.view.budgets().find(|budget| budget.name.name() == "log-agent").unwrap().status.clone()
    };
    until(&lab, |world| budget(world).sync_failed.is_some());
    let status = lab.with(|world| budget(world));
    assert_eq!(
        status.sync_failed.as_deref(),
        Some("daemonsets.apps does not implement the scale subresource")
    );
    assert_eq!(status.disruptions_allowed, 0);
}

#[test]
fn a_daemon_set_is_replaced_within_its_maximum_unavailable() {
    let lab = demo();
    let begin = |world: &mut World| {
        let change = |set: &mut DaemonSet| {
            let template = set.spec.template.metadata.get_or_insert_default();
            template.annotations.get_or_insert_default().insert("config".into(), "new".into());
        };
        world.store.update::<DaemonSet>("monitoring", "node-exporter", change).unwrap();
    };
    lab.with(begin);
    let mut least = usize::MAX;
    until(&lab, |world| {
        let ready = pods_of(world, "monitoring", "node-exporter")
            .filter(|pod| pods::is_ready(pod) && pods::is_active(pod));
        least = least.min(ready.count());
        settled(world, WorkloadKind::DaemonSet, "monitoring/node-exporter")
    });
    assert_eq!(least, 8);
}

#[test]
fn pods_that_must_be_apart_and_pods_that_must_be_spread_are() {
    let lab = demo();
    lab.with(|world| {
        let nodes: Vec<&str> = pods_of(world, "data", "kafka").filter_map(|pod| pods::node_of(pod)).collect();
        assert_eq!(nodes.iter().collect::<BTreeSet<_>>().len(), 3, "{nodes:?}");
        let zone = |name: &str| {
            let node = world.store.get::<Node>("", name).unwrap();
            node.metadata.labels.clone().unwrap()["topology.kubernetes.io/zone"].clone()
        };
        let mut zones: Vec<String> =
            pods_of(world, "shop", "web").filter_map(|pod| pods::node_of(pod)).map(zone).collect();
        zones.sort();
        zones.dedup();
        assert_eq!(zones.len(), 3, "four pods, three zones, a skew of one");
        let system = pods_of(world, "shop", "web")
            .filter_map(|pod| pods::node_of(pod))
            .any(|node| node.contains("system"));
        assert!(!system, "the system pool's taint is not tolerated");
    });
}

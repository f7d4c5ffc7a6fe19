//! Each of those who fight back, against a step that a tool of little care would take.

use k8s_openapi::api::apps::v1::ReplicaSet;
use upgrade_core::model::RestartId;

use super::*;
use crate::{Lab, Scenario};

fn demo(actor: Actor) -> Lab {
    let mut scenario = Scenario::demo();
    scenario.actors.push(actor);
    Lab::new(&scenario, 1)
}

fn pass(lab: &Lab, seconds: u64) {
    lab.advance_to(lab.now() + Duration::from_secs(seconds));
}

fn cart() -> WorkloadRef {
    WorkloadRef { kind: WorkloadKind::Deployment, name: "shop/cart".parse().unwrap() }
}

fn revisions(lab: &Lab, app: &str) -> Vec<String> {
    lab.with(|world| {
        let sets = world.store.list_in::<ReplicaSet>("shop").filter(|set| {
            set.metadata.name.as_ref().unwrap().starts_with(app) && set.spec.replicas != Some(0)
        });
        sets.map(|set| {
            set.metadata.annotations.as_ref().unwrap()["deployment.kubernetes.io/revision"].clone()
        })
        .collect()
    })
}

#[test]
fn gitops_takes_a_restart_back_which_is_a_second_rollout() {
    let lab = demo(Actor::GitOps { namespace: "shop".into(), every: Duration::from_secs(180) });
    lab.with(|world| {
        let uid = world.store.get::<Deployment>("shop", "cart").unwrap().metadata.uid.clone().unwrap();
        let now = world.now();
        world.restart(&cart(), &uid, &RestartId::new("r.1.1.1").unwrap(), now).unwrap();
    });
    pass(&lab, 150);
    assert_eq!(revisions(&lab, "cart-"), ["2"]);
    pass(&lab, 240);
    // The old template again, under a new number.
    assert_eq!(revisions(&lab, "cart-"), ["3"]);
    let before = lab.with(|world| world.store.revision());
    pass(&lab, 1_800);
    assert_eq!(lab.with(|world| world.store.revision()), before, "then it finds nothing to do");
}

#[test]
fn an_operator_writes_its_number_back() {
    let lab = demo(Actor::ReplicaKeeper { workload: cart(), replicas: 2, every: Duration::from_secs(30) });
    let replicas =
        |lab: &Lab| lab.with(|world| world.store.get::<Deployment>("shop", "cart").unwrap().spec.replicas);
    lab.with(|world| world.store.update::<Deployment>("shop", "cart", |d| d.spec.replicas = Some(3)))
        .unwrap();
    assert_eq!(replicas(&lab), Some(3));
    pass(&lab, 31);
    assert_eq!(replicas(&lab), Some(2));
}

#[test]
fn a_webhook_refuses_an_eviction_once_and_again_and_moves_the_pod_itself_later() {
    for code in [429, 403] {
        let lab = demo(Actor::EvictionRefuser {
            namespace: "pay".into(),
            app: "ledger".into(),
            code,
            moves_after: Duration::from_secs(60),
        });
        let uid = |lab: &Lab| {
            lab.with(|world| world.store.get::<Pod>("pay", "ledger-0").map(|pod| pod.metadata.uid.clone()))
        };
        let before = uid(&lab);
        for _ in 0..2 {
            let refusal = lab.with(|world| world.evict("pay", "ledger-0", None)).unwrap_err();
            assert_eq!((refusal.code, refusal.causes.len()), (code, 0), "no budget is to blame");
        }
        pass(&lab, 50);
        assert_eq!(uid(&lab), before);
        pass(&lab, 60);
        assert_ne!(uid(&lab), before);
        // Others are evicted as ever.
        lab.with(|world| world.evict("data", "redis-0", None)).unwrap();
    }
}

#[test]
fn another_person_cordons_and_uncordons() {
    let node = Scenario::demo().machine_names(&"user".to_owned().try_into().unwrap()).remove(2);
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let mut scenario = Scenario::demo();
    for (after, unschedulable) in [(5, true), (9, false)] {
        scenario.actors.push(Actor::Cordoner { node: node.clone(), after: minutes(after), unschedulable });
    }
    let lab = Lab::new(&scenario, 1);
    let cordoned = |lab: &Lab| lab.with(|world| world.kube.view.node(&node).unwrap().unschedulable);
    let seen: Vec<bool> = (0..10)
        .map(|_| {
            pass(&lab, 60);
            cordoned(&lab)
        })
        .collect();
    assert_eq!(seen, [false, false, false, false, true, true, true, true, false, false]);
}

fn user_machines(lab: &Lab) -> Vec<NodeName> {
    lab.with(|world| world.azure.autoscaled().into_iter().flat_map(|pool| pool.machines).collect())
}

fn resize_cart(lab: &Lab, replicas: i32, safe: bool) {
    lab.with(|world| {
        let change = |found: &mut Deployment| {
            found.spec.replicas = Some(replicas);
            let meta = found.spec.template.metadata.get_or_insert_default();
            let safe_to_evict = "cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned();
            meta.annotations.get_or_insert_default().insert(safe_to_evict, safe.to_string());
        };
        world.store.update::<Deployment>("shop", "cart", change).unwrap();
    });
}

fn autoscaled() -> Lab {
    let mut scenario = Scenario::demo();
    scenario.pools[1].autoscaling = Some((3, 8));
    scenario.actors.push(Actor::ClusterAutoscaler);
    Lab::new(&scenario, 1)
}

#[test]
fn the_autoscaler_adds_nodes_for_pods_without_room_and_takes_away_what_is_little_used() {
    let lab = autoscaled();
    let web = |lab: &Lab| lab.with(|world| world.kube.view.ready_endpoints(&"shop/web".parse().unwrap()));
    assert_eq!(user_machines(&lab).len(), 6);
    resize_cart(&lab, 250, true);
    pass(&lab, 600);
    assert_eq!(user_machines(&lab).len(), 8, "no more than it may");
    resize_cart(&lab, 2, true);
    for _ in 0..60 {
        pass(&lab, 60);
        assert!(web(&lab) >= 3, "its budget lets one go at a time");
    }
    let left = user_machines(&lab).len();
    assert!((3..6).contains(&left), "{left}");
    let nodes = lab.with(|world| world.kube.view.nodes().count());
    assert_eq!(nodes, left + 3, "their nodes are gone, too");
}

#[test]
fn the_autoscaler_leaves_a_node_whose_pod_is_not_safe_to_evict_and_takes_one_that_is_cordoned_and_empty() {
    let lab = autoscaled();
    resize_cart(&lab, 2, false);
    pass(&lab, 300);
    let kept: Vec<NodeName> = lab.with(|world| {
        let carts = world.store.list_in::<Pod>("shop").filter(|pod| {
            pod.metadata
                .labels
                .as_ref()
                .is_some_and(|labels| labels.get("app").is_some_and(|app| app == "cart"))
        });
        carts.filter_map(|pod| NodeName::new(pod.spec.as_ref()?.node_name.clone()?).ok()).collect()
    });
    let victim = user_machines(&lab).into_iter().find(|node| !kept.contains(node)).unwrap();
    lab.with(|world| {
        world.set_unschedulable(victim.as_str(), None, true).unwrap();
        crate::azure::Ground::drain(world, &victim, true);
    });
    pass(&lab, 60 * 60);
    let left = user_machines(&lab);
    assert!(!left.contains(&victim), "what a run has emptied looks as if nobody needed it");
    assert!(kept.iter().all(|node| left.contains(node)), "{kept:?} {left:?}");
}

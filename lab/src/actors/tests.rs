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

//! The indexes of a view say what a look at everything says, whatever came in what order.

use proptest::prelude::*;

use super::{Change, Object, ResourceKind, Usage, View};
use crate::model::tests_support::{budget, deployment, node, pod, replica_set};
use crate::model::{BudgetLimit, IntOrPercent, NodeName, ObjectName, PoolName, WorkloadRef};

/// One thing that a watch may say.
#[derive(Clone, Debug)]
enum Said {
    Node { number: usize, pool: &'static str, cordoned: bool },
    NodeGone(usize),
    Pod { number: usize, node: usize, app: &'static str, finished: bool },
    PodGone(usize),
    Budget { number: usize, app: &'static str },
    BudgetGone(usize),
}

fn said() -> impl Strategy<Value = Said> {
    let app = prop::sample::select(vec!["web", "api"]);
    let pool = prop::sample::select(vec!["blue", "green"]);
    prop_oneof![
        (0..4_usize, pool, any::<bool>()).prop_map(|(number, pool, cordoned)| Said::Node {
            number,
            pool,
            cordoned
        }),
        (0..4_usize).prop_map(Said::NodeGone),
        (0..6_usize, 0..4_usize, app.clone(), any::<bool>())
            .prop_map(|(number, node, app, finished)| Said::Pod { number, node, app, finished }),
        (0..6_usize).prop_map(Said::PodGone),
        (0..3_usize, app).prop_map(|(number, app)| Said::Budget { number, app }),
        (0..3_usize).prop_map(Said::BudgetGone),
    ]
}

fn node_name(number: usize) -> String {
    format!("n{number}")
}

fn change(said: &Said) -> Change {
    let gone = |kind, name: String| Change::Deleted { kind, name };
    match said {
        Said::Node { number, pool, cordoned } => {
            let mut node = node(&node_name(*number), pool);
            node.unschedulable = *cordoned;
            Change::Applied(Object::Node(node))
        }
        Said::NodeGone(number) => gone(ResourceKind::Node, node_name(*number)),
        Said::Pod { number, node, app, finished } => {
            let mut pod = pod(&format!("shop/p{number}"), &node_name(*node));
            pod.labels.to_mut().insert("app".into(), (*app).to_owned());
            if *finished {
                pod.phase = crate::model::PodPhase::Succeeded;
            }
            Change::Applied(Object::Pod(pod))
        }
        Said::PodGone(number) => gone(ResourceKind::Pod, format!("shop/p{number}")),
        Said::Budget { number, app } => {
            let limit = BudgetLimit::MinAvailable(IntOrPercent::Int(1));
            let mut budget = budget(&format!("shop/b{number}"), limit, 1, 1);
            let selector = budget.selector.get_or_insert_default();
            selector.labels.insert("app".into(), (*app).to_owned());
            Change::Applied(Object::Budget(budget))
        }
        Said::BudgetGone(number) => gone(ResourceKind::PodDisruptionBudget, format!("shop/b{number}")),
    }
}

proptest! {
    #[test]
    fn an_index_never_disagrees_with_the_objects(story in prop::collection::vec(said(), 0..40)) {
        let mut view = View::default();
        for workload in [deployment(2, "1", "0"), replica_set(2)] {
            view.apply(Change::Applied(Object::Workload(workload)));
        }
        for said in &story {
            view.apply(change(said));
        }
        for pool in ["blue", "green"].map(|name| PoolName::new(name).unwrap()) {
            let nodes: Vec<&NodeName> = view.nodes().filter(|n| n.is_in(&pool)).map(|n| &n.name).collect();
            let indexed: Vec<&NodeName> = view.nodes_of(&pool).map(|n| &n.name).collect();
            prop_assert_eq!(&indexed, &nodes);
            let open = view.nodes_of(&pool).filter(|n| !n.unschedulable).count();
            prop_assert_eq!(view.uncordoned_nodes_of(&pool).count(), open);
            let movers = view.pods_in(&pool).filter(|p| !p.leaves_with_node()).count();
            prop_assert_eq!(view.pods_to_move_from(&pool), movers);
            for workload in view.workloads() {
                let there = view.pods_of(workload).filter(|pod| !pod.is_finished());
                let there = there.filter_map(|pod| view.node(pod.node.as_ref()?)).any(|node| node.is_in(&pool));
                prop_assert_eq!(view.has_pods_in(workload, &pool), there);
            }
        }
        let taking: Vec<&NodeName> = view.nodes().filter(|n| n.takes_pods()).map(|n| &n.name).collect();
        let indexed: Vec<&NodeName> = view.nodes_that_take_pods().map(|n| &n.name).collect();
        prop_assert_eq!(indexed, taking);
        for node in view.nodes() {
            let there: Vec<_> = view.pods_on(&node.name).filter(|p| !p.is_finished()).collect();
            let usage = Usage {
                requests: there.iter().map(|pod| pod.requests).sum(),
                pods: u32::try_from(there.len()).unwrap(),
            };
            prop_assert_eq!(view.usage_of(&node.name), usage);
        }
        for budget in view.budgets() {
            let pods: Vec<&ObjectName> = view.pods().filter(|p| budget.protects(p)).map(|p| &p.name).collect();
            let indexed: Vec<&ObjectName> = view.pods_under(budget).map(|p| &p.name).collect();
            prop_assert_eq!(indexed, pods);
        }
    }
}

#[test]
fn a_change_names_the_workload_that_a_person_would_name() {
    let mut view = View::default();
    let wanted: WorkloadRef = deployment(2, "1", "0").reference;
    view.apply(Change::Applied(Object::Workload(deployment(2, "1", "0"))));
    view.apply(Change::Applied(Object::Workload(replica_set(2))));
    let touched = view.apply(Change::Applied(Object::Pod(pod("shop/web-1-a", "old"))));
    assert_eq!(touched.workloads, [wanted.clone()].into());
    let touched = view.apply(Change::Deleted { kind: ResourceKind::Pod, name: "shop/web-1-a".into() });
    assert_eq!(touched.workloads, [wanted].into());
}

#[test]
fn a_heartbeat_touches_no_node_and_a_cordon_does() {
    let mut view = View::default();
    let mut node = node("old", "user");
    assert!(view.apply(Change::Applied(Object::Node(node.clone()))).nodes);
    node.ready = false;
    assert!(!view.apply(Change::Applied(Object::Node(node.clone()))).nodes);
    node.unschedulable = true;
    assert!(view.apply(Change::Applied(Object::Node(node))).nodes);
}

//! Whatever one of the three witnesses says otherwise is named, with what was expected and what was found.

use super::*;
use crate::model::TaintEffect;
use crate::model::tests_support::inventory;
use crate::plan::{PoolBefore, plan};
use crate::policy::Policy;

/// What is not so, of the sample cluster at the end of its upgrade, after this change.
fn untrue(change: impl FnOnce(&mut crate::inventory::Inventory)) -> String {
    let before = inventory();
    let plan = plan(&before, &Policy::default(), "1.35".parse().unwrap()).unwrap();
    let Some(Action::Verify { version, pools }) = plan.steps().last().map(|step| &step.action) else {
        panic!("a plan ends with the last word")
    };
    let mut after = before;
    after.cluster.version = *version;
    for pool in &mut after.pools {
        pool.version = *version;
    }
    for node in &mut after.nodes {
        node.kubelet = Some(*version);
    }
    change(&mut after);
    let (view, state) = (after.view(), RunState::default());
    let look_again = std::time::Duration::from_secs(10);
    let azure = AzureView { cluster: after.cluster, pools: after.pools, look_again };
    let run = RunId::new("r").unwrap();
    let truth = Truth { plan: &plan, run: &run, state: &state, view: &view, azure: Some(&azure) };
    match truth.verdict(*version, pools) {
        Verdict::Done(_) => String::new(),
        Verdict::Wait(what) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_as_it_should_be_is_done() {
    assert_eq!(untrue(|_| {}), "");
}

#[test]
fn each_witness_is_heard() {
    let old = KubeVersion::new(1, 34, 2);
    let dedicated =
        Taint { key: "dedicated".into(), value: "batch".into(), effect: TaintEffect::PreferNoSchedule };
    assert_eq!(
        untrue(|case| case.nodes[1].kubelet = Some(old)),
        "node u0: kubelet version: expected 1.35.3, found 1.34.2"
    );
    assert_eq!(untrue(|case| case.nodes[1].ready = false), "node u0: ready: expected true, found false");
    assert_eq!(
        untrue(|case| case.nodes[1].taints.push(dedicated)),
        "node u0: taints: expected none, found dedicated=batch:PreferNoSchedule"
    );
    assert_eq!(
        untrue(|case| case.pools[1].state = ProvisioningState::Failed),
        "pool user, in Azure: state: expected Succeeded, found Failed"
    );
    assert_eq!(
        untrue(|case| case.cluster.version = old),
        "the control plane, in Azure: version: expected 1.35.3, found 1.34.2"
    );
    assert_eq!(
        untrue(|case| case.workloads[0].status.available = 1),
        "Deployment shop/web: strength: expected all pods, found 1 of 2 pods available"
    );
    let gone = untrue(|case| {
        case.nodes.remove(1);
    });
    assert_eq!(gone, "pool user: nodes: expected 2, found 1");
}

#[test]
fn labels_and_taints_are_compared_where_every_node_had_them() {
    let mut case = inventory();
    let (tier, zone) = (("tier".to_owned(), "gold".to_owned()), ("rack".to_owned(), "7".to_owned()));
    case.pools[1].labels.extend([tier.clone(), zone.clone()]);
    for node in &mut case.nodes[1..] {
        node.labels.extend([tier.clone()]);
    }
    case.nodes[1].labels.extend([zone]);
    let nodes: Vec<&Node> = case.nodes[1..].iter().collect();
    let before = PoolBefore::of(&case.pools[1], &nodes);
    assert_eq!((before.labels, before.taints), ([tier].into(), Some(Vec::new())));
    let mut other = case.nodes[2].clone();
    let sick = Taint {
        key: "node.kubernetes.io/disk-pressure".into(),
        value: String::new(),
        effect: TaintEffect::NoSchedule,
    };
    other.taints = vec![sick];
    assert_eq!(PoolBefore::of(&case.pools[1], &[&case.nodes[1], &other]).taints, Some(Vec::new()));
    other.taints.push(Taint { key: "odd".into(), value: String::new(), effect: TaintEffect::NoSchedule });
    assert_eq!(PoolBefore::of(&case.pools[1], &[&case.nodes[1], &other]).taints, None);
}

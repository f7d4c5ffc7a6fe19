//! What a careless tool goes through beside a Rancher that manages the cluster.

use std::time::Duration;

use serde_json::Value;
use upgrade_core::inventory::{Ownership, RancherFacts};
use upgrade_core::model::{KubeVersion, PoolName, RunId};
use upgrade_core::ports::BufferSpec;

use super::{RancherDeed, find_cluster};
use crate::lab::Lab;
use crate::scenario::Scenario;

const VERSION: KubeVersion = KubeVersion::new(1, 34, 2);
/// A refresh so seldom that a test decides what happens before it.
const SELDOM: Duration = Duration::from_secs(3600);

/// The demo's machines under a Rancher; nothing runs on them.
fn lab(scenario: Scenario) -> Lab {
    let mut scenario = scenario;
    scenario.objects.clear();
    Lab::new(&scenario, 1)
}

fn managed(refresh: Duration) -> Lab {
    lab(Scenario::demo().managed(refresh))
}

fn pass(lab: &Lab, minutes: u64) {
    let until = lab.now() + Duration::from_secs(minutes * 60);
    lab.block_on(lab.clock().sleep_until(until)).unwrap();
}

fn run() -> RunId {
    RunId::new("careless").unwrap()
}

/// A careless tool makes a buffer of two nodes and waits for Azure alone.
fn make_buffer(lab: &Lab) {
    let name = PoolName::new("userbf").unwrap();
    let buffer = BufferSpec { name, like: PoolName::new("user").unwrap(), count: 2, version: VERSION };
    lab.block_on(lab.azure().create_pool(&buffer, &run())).unwrap().unwrap();
    while pools(lab).get("userbf").map(String::as_str) != Some("Succeeded") {
        pass(lab, 1);
    }
}

/// The pools with their states, as Azure has them.
fn pools(lab: &Lab) -> std::collections::BTreeMap<String, String> {
    let view = lab.block_on(lab.azure().observe()).unwrap().unwrap();
    view.pools.iter().map(|pool| (pool.name.to_string(), pool.state.to_string())).collect()
}

fn facts(lab: &Lab) -> RancherFacts {
    lab.with(|world| super::facts(world))
}

/// Why Rancher and Azure do not agree, as the ports tell it.
fn reasons(lab: &Lab) -> Vec<String> {
    match facts(lab).ownership {
        Ownership::Managed(writer) => writer.out_of_sync,
        other => panic!("{other:?}"),
    }
}

fn shown(lab: &Lab) -> Value {
    lab.with(|world| find_cluster(world, "c-m-demo0001")).unwrap()
}

fn wanted_pools(lab: &Lab) -> Vec<String> {
    let cluster = shown(lab);
    let pools = cluster["aksConfig"]["nodePools"].as_array().unwrap();
    pools.iter().map(|pool| pool["name"].as_str().unwrap().to_owned()).collect()
}

/// The operator is restarted after Azure has made the buffer and before Rancher has read Azure: it deletes what it does not
/// know.
#[test]
fn a_careless_tool_loses_its_buffer() {
    let lab = managed(SELDOM);
    assert_eq!(reasons(&lab), Vec::<String>::new(), "at rest before");
    make_buffer(&lab);
    let why = reasons(&lab);
    assert_eq!(why, ["Azure has pool `userbf`, which Rancher does not want; it would delete it"]);
    lab.with(|world| world.in_rancher(RancherDeed::RestartOperator));
    pass(&lab, 1);
    assert_eq!(pools(&lab)["userbf"], "Deleting");
    assert_eq!(shown(&lab)["transitioning"], "yes");
    pass(&lab, 10);
    assert!(!pools(&lab).contains_key("userbf"));
    assert_eq!(reasons(&lab), Vec::<String>::new(), "and is content");
}

/// One refresh later the same restart finds nothing to repair.
#[test]
fn a_buffer_that_rancher_has_adopted_stays() {
    let lab = managed(Duration::from_secs(300));
    make_buffer(&lab);
    pass(&lab, 6);
    assert_eq!(wanted_pools(&lab), ["system", "user", "userbf"]);
    assert_eq!(shown(&lab)["aksConfig"], shown(&lab)["appliedSpec"]["aksConfig"]);
    assert_eq!(reasons(&lab), Vec::<String>::new());
    lab.with(|world| world.in_rancher(RancherDeed::RestartOperator));
    pass(&lab, 10);
    assert_eq!(pools(&lab)["userbf"], "Succeeded");
}

/// The operator lets a pool in transition alone, and so does a refresh not: it adopts a pool that is still being made.
#[test]
fn pools_in_transition_are_adopted_and_waited_for() {
    let lab = managed(Duration::from_secs(60));
    let name = PoolName::new("userbf").unwrap();
    let buffer = BufferSpec { name, like: PoolName::new("user").unwrap(), count: 2, version: VERSION };
    lab.block_on(lab.azure().create_pool(&buffer, &run())).unwrap().unwrap();
    lab.with(|world| world.in_rancher(RancherDeed::RestartOperator));
    pass(&lab, 2);
    assert_eq!(pools(&lab)["userbf"], "Creating");
    assert_eq!(wanted_pools(&lab), ["system", "user", "userbf"]);
    pass(&lab, 10);
    assert_eq!(pools(&lab)["userbf"], "Succeeded");
}

/// A pool is deleted in Azure and the operator restarted before Rancher has seen that: it makes the pool anew.
#[test]
fn a_deleted_pool_comes_back() {
    let lab = managed(SELDOM);
    make_buffer(&lab);
    pass(&lab, 61);
    assert_eq!(wanted_pools(&lab), ["system", "user", "userbf"]);
    lab.block_on(lab.azure().delete_pool(&PoolName::new("userbf").unwrap(), &run())).unwrap().unwrap();
    pass(&lab, 10);
    assert!(!pools(&lab).contains_key("userbf"));
    lab.with(|world| world.in_rancher(RancherDeed::RestartOperator));
    pass(&lab, 10);
    assert_eq!(pools(&lab)["userbf"], "Succeeded", "without a tag, and nobody's");
}

/// Somebody has opened the form before the upgrade and saves it afterwards: Rancher wants the old version back, cannot have it,
/// and adopts nothing from then on.
#[test]
fn a_stale_form_asks_for_a_downgrade_for_ever() {
    let lab = managed(Duration::from_secs(300));
    lab.with(|world| world.in_rancher(RancherDeed::OpenForm));
    let to = KubeVersion::new(1, 35, 1);
    lab.block_on(lab.azure().upgrade_control_plane(to)).unwrap().unwrap();
    pass(&lab, 20);
    assert_eq!(shown(&lab)["aksConfig"]["kubernetesVersion"], "1.35.1");
    lab.with(|world| world.in_rancher(RancherDeed::SaveForm));
    pass(&lab, 20);
    let cluster = shown(&lab);
    assert_eq!((&cluster["transitioning"], &cluster["state"]), (&"error".into(), &"updating".into()));
    let message = cluster["transitioningMessage"].as_str().unwrap();
    assert!(message.contains("Downgrading Kubernetes version 1.35.1 to 1.34.2 is not allowed"), "{message}");
    assert_eq!(cluster["aksConfig"]["kubernetesVersion"], "1.34.2");
    assert_eq!(cluster["aksStatus"]["upstreamSpec"]["kubernetesVersion"], "1.35.1");
    make_buffer(&lab);
    pass(&lab, 20);
    assert_eq!(wanted_pools(&lab), ["system", "user"], "nothing is adopted any more");
    assert!(reasons(&lab).len() > 3, "{:?}", reasons(&lab));
    // What saves the buffer is only that the operator fails before it comes to it.
    assert_eq!(pools(&lab)["userbf"], "Succeeded");
}

#[test]
fn a_stale_record_is_never_in_sync() {
    let lab = lab(Scenario::demo().managed_stale());
    pass(&lab, 30);
    let why = reasons(&lab).join("; ");
    for part in ["not `active`", "has not applied what it wants", "wants version 1.30.9, Azure has 1.34.2"] {
        assert!(why.contains(part), "{why}");
    }
}

/// An unmanaged cluster is left alone, until one edit in Rancher makes it managed for ever.
#[test]
fn an_unmanaged_cluster_becomes_managed_by_one_edit() {
    let mut scenario = Scenario::demo().unmanaged();
    scenario.deeds = vec![
        (Duration::from_secs(3 * 3600), RancherDeed::OpenForm),
        (Duration::from_secs(3 * 3600 + 60), RancherDeed::SaveForm),
    ];
    let lab = lab(scenario);
    make_buffer(&lab);
    lab.with(|world| world.in_rancher(RancherDeed::RestartOperator));
    pass(&lab, 60);
    assert_eq!(pools(&lab)["userbf"], "Succeeded");
    assert_eq!(facts(&lab).ownership, Ownership::Unmanaged);
    pass(&lab, 180);
    assert_eq!(reasons(&lab), Vec::<String>::new(), "managed, and content with what it found");
    assert_eq!(wanted_pools(&lab), ["system", "user", "userbf"]);
}

/// Nobody touches anything, and the operator looks again after ten hours.
#[test]
fn the_ten_hourly_look_takes_back_what_no_refresh_has_seen() {
    let lab = managed(Duration::from_secs(24 * 3600));
    make_buffer(&lab);
    pass(&lab, 8 * 60);
    assert_eq!(pools(&lab)["userbf"], "Succeeded");
    pass(&lab, 3 * 60);
    assert!(!pools(&lab).contains_key("userbf"));
}

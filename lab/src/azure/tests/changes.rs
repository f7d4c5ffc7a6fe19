//! Changes of pools that there are: upgrades, scaling, and operations that are aborted.

use super::*;

#[test]
fn an_upgrade_with_surge_adds_a_machine_reimages_one_by_one_and_removes_it() {
    let (mut azure, mut yard) = at_1_35();
    let body = pool_body(&azure, "user", &[("orchestratorVersion", "1.35.1".into())]);
    azure.put_pool(&mut yard, "user", &FREE, &body).unwrap();
    assert_eq!(state_of(&azure, "user"), "Upgrading");
    let names: Vec<NodeName> = yard.machines.keys().cloned().collect();
    let took = settle(&mut azure, &mut yard);
    // 10 % of six is one at a time, each 4 to 6 minutes.
    assert!((24..=37).contains(&(took.as_secs() / 60)), "{took:?}");
    let story: Vec<&str> = yard.story.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(story, [&["add"][..], &["reimage"; 6], &["remove"]].concat());
    assert_eq!(yard.machines.len(), 9, "every machine has its name again, and the surge is gone");
    assert!(yard.machines.keys().all(|name| names.contains(name)));
    assert!(yard.cordoned.is_empty());
    let pool = azure.pool("user").unwrap();
    assert_eq!(pool["properties"]["provisioningState"], "Succeeded");
    assert_eq!(pool["properties"]["currentOrchestratorVersion"], "1.35.1");
    // The same version again has nothing to do.
    let body = pool_body(&azure, "user", &[]);
    assert_eq!(azure.put_pool(&mut yard, "user", &FREE, &body).unwrap().operation, None);
}

#[test]
fn without_surge_so_many_are_reimaged_in_place_at_once() {
    let (mut azure, mut yard) = at_1_35();
    let settings = json!({ "maxSurge": "0", "maxUnavailable": "50%" });
    let body =
        pool_body(&azure, "user", &[("orchestratorVersion", "1.35.1".into()), ("upgradeSettings", settings)]);
    azure.put_pool(&mut yard, "user", &FREE, &body).unwrap();
    let took = settle(&mut azure, &mut yard);
    assert!((8..=13).contains(&(took.as_secs() / 60)), "two batches of three: {took:?}");
    assert_eq!(yard.story.len(), 6);
}

#[test]
fn a_drain_that_a_budget_blocks_fails_the_upgrade_and_the_next_try_goes_on() {
    let (mut azure, mut yard) = at_1_35();
    let third =
        NodeName::new(Scenario::demo().machine_names(&PoolName::new("user").unwrap())[2].as_str()).unwrap();
    yard.stuck.insert(third.clone());
    let body = pool_body(&azure, "user", &[("orchestratorVersion", "1.35.1".into())]);
    let operation = azure.put_pool(&mut yard, "user", &FREE, &body).unwrap().operation.unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(azure.operation(operation).unwrap()["error"]["code"], "UpgradeFailed");
    let pool = azure.pool("user").unwrap();
    assert_eq!(pool["properties"]["provisioningState"], "Failed");
    assert_eq!(pool["properties"]["currentOrchestratorVersion"], "1.35.1", "ahead of its nodes");
    let error = pool["properties"]["status"]["provisioningError"]["message"].as_str().unwrap();
    assert!(error.contains("disruption budget") && error.contains(third.as_str()), "{error}");
    assert!(!yard.cordoned.contains(&third), "what could not be drained takes pods again");
    assert_eq!(yard.machines.len(), 10, "the surge machine is left behind");
    yard.stuck.clear();
    yard.story.clear();
    let body = pool_body(&azure, "user", &[("orchestratorVersion", "1.35.1".into())]);
    azure.put_pool(&mut yard, "user", &FREE, &body).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!((state_of(&azure, "user").as_str(), yard.machines.len()), ("Succeeded", 9));
    assert_eq!(yard.story.iter().filter(|line| line.starts_with("reimage")).count(), 4, "only the old ones");
}

#[test]
fn each_refusal_of_a_change_to_a_pool_has_its_code() {
    let new = ("orchestratorVersion", Value::from("1.35.1"));
    let table = [
        ("user", vec![("orchestratorVersion", "1.36.0".into())], "NodePoolMcVersionIncompatible"),
        ("user", vec![("orchestratorVersion", "1.33.5".into())], "AgentPoolUpgradeVersionNotAllowed"),
        ("user", vec![("orchestratorVersion", "1.35.9".into())], "NodePoolMcVersionIncompatible"),
        ("user", vec![new.clone(), ("count", 7.into())], "OperationNotAllowed"),
        ("user", vec![new.clone(), ("upgradeSettings", json!({ "maxSurge": "0" }))], "InvalidParameter"),
        (
            "user",
            vec![new, ("upgradeSettings", json!({ "maxSurge": "1", "maxUnavailable": "1" }))],
            "InvalidParameter",
        ),
        ("user", vec![("vmSize", "Standard_D2s_v5".into())], "PropertyChangeNotAllowed"),
        ("user", vec![("nodeImageVersion", "old".into())], "InvalidParameter"),
        ("system", vec![("count", 0.into())], "InvalidParameter"),
    ];
    for (pool, change, code) in table {
        let (mut azure, mut yard) = at_1_35();
        let mut body = pool_body(&azure, pool, &[]);
        for (member, value) in &change {
            body["properties"][*member] = value.clone();
        }
        let error = azure.put_pool(&mut yard, pool, &FREE, &body).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (400, code), "{change:?} {error}");
    }
    let (mut azure, mut yard) = at_1_35();
    yard.frozen = Some("pay/frozen".into());
    let body = pool_body(&azure, "user", &[("orchestratorVersion", "1.35.1".into())]);
    let error = azure.put_pool(&mut yard, "user", &FREE, &body).unwrap_err();
    assert!(error.code == "UnsatisfiablePDB" && error.message.contains("pay/frozen"), "{error}");
    let error = azure.delete_pool(&mut yard, "system", &FREE, true).unwrap_err();
    assert_eq!(error.code, "MustDefineAtLeastOneSystemPool");
    let body = pool_body(&azure, "user", &[("mode", "System".into())]);
    assert_eq!(azure.put_pool(&mut yard, "user", &FREE, &body).unwrap_err().status, 501);
}

#[test]
fn one_operation_at_a_time_and_pools_side_by_side() {
    let (mut azure, mut yard) = begin();
    azure.put_pool(&mut yard, "a", &only_new(), &new_pool(&[])).unwrap();
    azure.put_pool(&mut yard, "b", &only_new(), &new_pool(&[])).unwrap();
    let body = pool_body(&azure, "a", &[("tags", json!({}))]);
    let error = azure.put_pool(&mut yard, "a", &FREE, &body).unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (409, "OperationNotAllowed"));
    assert!(error.message.contains("Another operation (a - Creating) is in progress"), "{error}");
    let body = control_plane_to(&azure, "1.35.1");
    assert_eq!(azure.put_cluster(&mut yard, &FREE, &body).unwrap_err().status, 409);
    settle(&mut azure, &mut yard);
    azure.put_cluster(&mut yard, &FREE, &control_plane_to(&azure.clone(), "1.35.1")).unwrap();
    let body = pool_body(&azure, "a", &[("tags", json!({}))]);
    assert_eq!(azure.put_pool(&mut yard, "a", &FREE, &body).unwrap_err().status, 409);
    assert_eq!(azure.delete_pool(&mut yard, "a", &FREE, false).unwrap_err().status, 409);
}

#[test]
fn a_pool_is_scaled_both_ways() {
    let (mut azure, mut yard) = begin();
    for (count, machines) in [(8, 11), (5, 8)] {
        let body = pool_body(&azure, "user", &[("count", count.into())]);
        azure.put_pool(&mut yard, "user", &FREE, &body).unwrap();
        assert_eq!(state_of(&azure, "user"), "Scaling");
        settle(&mut azure, &mut yard);
        assert_eq!((state_of(&azure, "user").as_str(), yard.machines.len()), ("Succeeded", machines));
    }
}

#[test]
fn an_aborted_operation_is_canceled_and_done_again_by_the_next_put() {
    let (mut azure, mut yard) = begin();
    assert_eq!(azure.abort(&mut yard, None).unwrap_err().status, 409);
    let body = control_plane_to(&azure, "1.35.1");
    let operation = azure.put_cluster(&mut yard, &FREE, &body).unwrap().operation.unwrap();
    azure.abort(&mut yard, None).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(azure.operation(operation).unwrap()["status"], "Canceled");
    assert_eq!(
        (azure.version(), azure.cluster()["properties"]["provisioningState"].as_str()),
        (version("1.34.2"), Some("Canceled"))
    );
    azure.put_cluster(&mut yard, &FREE, &control_plane_to(&azure.clone(), "1.35.1")).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(azure.version(), version("1.35.1"));
}

//! Trouble from outside the rules.

use super::*;

/// The pool's machines that are at a version.
fn machines_at(azure: &Azure, yard: &Yard, pool: &str, at: &str) -> usize {
    let names = azure.machine_names(pool).unwrap();
    names.iter().filter(|name| yard.machine(name).kubelet == Some(version(at))).count()
}

#[test]
fn a_control_plane_that_fails_keeps_its_version_and_the_next_try_succeeds() {
    let (mut azure, mut yard) = begin();
    azure.fail_next_operation("ControlPlaneNotReady", "it does not answer");
    let body = control_plane_to(&azure, "1.35.1");
    let operation = azure.put_cluster(&mut yard, &FREE, &body).unwrap().operation.unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(azure.version(), version("1.34.2"));
    assert_eq!(azure.operation(operation).unwrap()["error"]["code"], "ControlPlaneNotReady");
    let shown = azure.cluster();
    assert_eq!(shown["properties"]["provisioningState"], "Failed");
    assert_eq!(shown["properties"]["status"]["provisioningError"]["code"], "ControlPlaneNotReady");
    azure.put_cluster(&mut yard, &FREE, &body).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(azure.version(), version("1.35.1"));
}

#[test]
fn a_failed_creation_leaves_the_pool_with_its_machines_or_with_none_where_there_was_no_room() {
    for (code, machines) in [("VMExtensionProvisioningTimeout", 2), ("ZonalAllocationFailed", 0)] {
        let (mut azure, mut yard) = begin();
        azure.fail_next_operation(code, "no");
        let accepted = azure.put_pool(&mut yard, "userbf", &only_new(), &new_pool(&[])).unwrap();
        assert_eq!(accepted.status, 201, "accepted is not done");
        settle(&mut azure, &mut yard);
        assert_eq!(state_of(&azure, "userbf"), "Failed");
        assert_eq!(azure.machine_names("userbf").unwrap().len(), machines, "{code}");
    }
}

#[test]
fn an_upgrade_that_fails_reports_the_new_version_over_old_nodes_and_goes_on_when_asked_again() {
    let (mut azure, mut yard) = begin();
    azure.put_cluster(&mut yard, &FREE, &control_plane_to(&azure.clone(), "1.35.1")).unwrap();
    settle(&mut azure, &mut yard);
    azure.fail_next_operation("NodesNotReady", "one of them");
    let surge = json!({ "maxSurge": "2" });
    let body =
        pool_body(&azure, "user", &[("orchestratorVersion", "1.35.1".into()), ("upgradeSettings", surge)]);
    azure.put_pool(&mut yard, "user", &FREE, &body).unwrap();
    settle(&mut azure, &mut yard);
    let shown = azure.pool("user").unwrap();
    assert_eq!(shown["properties"]["currentOrchestratorVersion"], "1.35.1");
    assert_eq!(shown["properties"]["provisioningState"], "Failed");
    assert_eq!(machines_at(&azure, &yard, "user", "1.34.2"), 2, "the last batch");
    assert!(yard.cordoned.is_empty(), "they take pods again");
    azure.put_pool(&mut yard, "user", &FREE, &body).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(state_of(&azure, "user"), "Succeeded");
    assert_eq!(machines_at(&azure, &yard, "user", "1.34.2"), 0);
}

#[test]
fn a_deletion_that_fails_leaves_the_pool_cordoned_and_there() {
    let (mut azure, mut yard) = begin();
    azure.put_pool(&mut yard, "userbf", &only_new(), &new_pool(&[])).unwrap();
    settle(&mut azure, &mut yard);
    azure.fail_next_operation("ScopeLocked", "somebody holds it");
    azure.delete_pool(&mut yard, "userbf", &FREE, true).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(state_of(&azure, "userbf"), "Failed");
    assert_eq!(yard.cordoned.len(), 2);
    azure.delete_pool(&mut yard, "userbf", &FREE, true).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(azure.pool("userbf").unwrap_err().status, 404);
}

#[test]
fn while_azure_throttles_it_says_how_long_and_then_it_is_over() {
    let (mut azure, yard) = begin();
    let until = yard.now + Duration::from_millis(29_500);
    azure.throttle(until);
    let error = azure.check_throttled(yard.now).unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (429, "SubscriptionRequestsThrottled"));
    assert_eq!(error.retry_after, Some(Duration::from_secs(30)));
    assert_eq!(azure.check_throttled(until), Ok(()));
}

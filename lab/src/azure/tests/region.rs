//! Quotas and addresses.

use super::*;

/// What the usages say of a quota: used, limit.
fn quota(azure: &Azure, yard: &Yard, name: &str) -> (u64, u64) {
    let usages = azure.compute_usages(yard);
    let row = usages["value"].as_array().unwrap().iter().find(|row| row["name"]["value"] == name).unwrap();
    (row["currentValue"].as_u64().unwrap(), row["limit"].as_u64().unwrap())
}

#[test]
fn what_the_quota_does_not_cover_is_refused_and_the_usages_say_the_same() {
    // Machines of the yard have four vCPUs; there are nine.
    let (mut azure, mut yard) = begin();
    azure.limits.vcpus = 44;
    assert_eq!(quota(&azure, &yard, "cores"), (36, 44));
    let scale = |count: u32| json!({ "properties": { "count": count } });
    let refused = azure.put_pool(&mut yard, "user", &Conditions::default(), &scale(9)).unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (400, "QuotaExceeded"));
    assert!(refused.message.contains("Maximum allowed: 44, Current in use: 36, Additional requested: 12."));
    azure.put_pool(&mut yard, "user", &Conditions::default(), &scale(8)).unwrap();
    assert_eq!(quota(&azure, &yard, "cores"), (44, 44));
    settle(&mut azure, &mut yard);
    let one = json!({ "properties": { "count": 1, "vmSize": "Standard_D4s_v5" } });
    let refused = azure.put_pool(&mut yard, "buffer", &Conditions::default(), &one).unwrap_err();
    assert_eq!(refused.code, "QuotaExceeded");
    let mut spot = one.clone();
    spot["properties"]["scaleSetPriority"] = "Spot".into();
    azure.put_pool(&mut yard, "buffer", &Conditions::default(), &spot).unwrap();
    assert_eq!(quota(&azure, &yard, "lowPriorityCores").0, 4);
    // A smaller pool asks for nothing.
    azure.put_pool(&mut yard, "user", &Conditions::default(), &scale(7)).unwrap();
}

#[test]
fn a_family_has_a_quota_of_its_own() {
    let (mut azure, mut yard) = begin();
    azure.limits.family_vcpus.insert("standardDSv5Family".to_owned(), 36);
    assert_eq!(quota(&azure, &yard, "standardDSv5Family"), (36, 36));
    let pool = |size: &str| json!({ "properties": { "count": 1, "vmSize": size } });
    let refused = azure.put_pool(&mut yard, "one", &Conditions::default(), &pool("Standard_D4s_v5"));
    assert!(refused.unwrap_err().message.contains("standardDSv5Family"));
    azure.put_pool(&mut yard, "one", &Conditions::default(), &pool("Standard_E4s_v5")).unwrap();
}

#[test]
fn pods_take_addresses_of_the_subnet_only_without_overlay() {
    let (azure, _) = begin();
    let taken = |azure: &Azure| azure.subnet_usages()["value"][0]["currentValue"].as_u64().unwrap();
    assert_eq!(taken(&azure), 9);
    let each: u64 =
        azure.pools.values().map(|p| p.machines.len() as u64 * (1 + u64::from(p.wanted.max_pods))).sum();
    let mut scenario = Scenario::demo();
    scenario.limits.pod_network = PodNetwork::NodeSubnet;
    scenario.limits.subnet_taken = 7;
    assert_eq!(taken(&Azure::new(&scenario)), each + 7);
}

/// The demo with pods in the nodes' subnet (31 addresses a machine), a control plane that is ahead of the pools, and a change.
fn crowded(change: impl FnOnce(&mut crate::AzureLimits)) -> (Azure, Yard) {
    let mut scenario = Scenario::demo();
    scenario.cluster.version = version("1.35.1");
    for pool in &mut scenario.pools {
        pool.max_pods = 30;
        pool.version = version("1.34.2");
    }
    scenario.limits.pod_network = PodNetwork::NodeSubnet;
    change(&mut scenario.limits);
    let azure = Azure::new(&scenario);
    let (_, mut yard) = begin();
    for machine in yard.machines.values_mut() {
        machine.0 = version("1.34.2");
    }
    (azure, yard)
}

fn upgrade(to: &str, surge: &str) -> Value {
    json!({ "properties": { "orchestratorVersion": to, "upgradeSettings": { "maxSurge": surge } } })
}

fn error_of(azure: &Azure, pool: &str) -> (String, String) {
    let shown = azure.pool(pool).unwrap();
    let error = &shown["properties"]["status"]["provisioningError"];
    let text = |member: &str| error[member].as_str().unwrap_or_default().to_owned();
    (text("code"), text("message"))
}

#[test]
fn an_upgrade_whose_surge_the_quota_or_the_subnet_does_not_cover_is_refused() {
    // Nine machines of four vCPUs; a surge of three.
    let (mut azure, mut yard) = crowded(|limits| limits.vcpus = 44);
    let refused = azure.put_pool(&mut yard, "user", &FREE, &upgrade("1.35.1", "50%")).unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (400, "QuotaExceeded"), "{refused}");
    assert!(refused.message.contains("Additional requested: 12."), "{refused}");
    azure.put_pool(&mut yard, "user", &FREE, &upgrade("1.35.1", "2")).unwrap();
    // Twelve machines of 31 addresses.
    let (mut azure, mut yard) = crowded(|limits| limits.subnet_prefix = "10.0.0.0/24".to_owned());
    let refused = azure.put_pool(&mut yard, "user", &FREE, &upgrade("1.35.1", "50%")).unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (400, "InsufficientSubnetSize"), "{refused}");
    assert!(
        refused
            .message
            .starts_with("Pre-allocated IPs 372 exceeds IPs available 251 in Subnet Cidr 10.0.0.0/24")
    );
    assert_eq!(state_of(&azure, "user"), "Succeeded", "nothing was begun");
    let in_place = json!({ "properties": { "orchestratorVersion": "1.35.1",
        "upgradeSettings": { "maxSurge": "0", "maxUnavailable": "2" } } });
    azure.put_pool(&mut yard, "user", &FREE, &in_place).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(state_of(&azure, "user"), "Succeeded", "in place needs no address");
}

#[test]
fn a_subnet_that_others_have_filled_fails_the_operation_with_as_many_machines_as_fitted() {
    // 279 of 507 are the machines', 100 somebody else's: four machines fit.
    let (mut azure, mut yard) = crowded(|limits| {
        limits.subnet_prefix = "10.0.0.0/23".to_owned();
        limits.subnet_taken = 100;
    });
    let six = json!({ "properties": { "count": 6, "vmSize": "Standard_D8s_v5", "maxPods": 30 } });
    azure.put_pool(&mut yard, "userbf", &only_new(), &six).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(
        (state_of(&azure, "userbf").as_str(), azure.machine_names("userbf").unwrap().len()),
        ("Failed", 4)
    );
    let (code, message) = error_of(&azure, "userbf");
    assert_eq!(code, "CreateVMSSAgentPoolFailed");
    assert!(
        message.contains("Code=\"SubnetIsFull\"") && message.contains("capacity for 62 IP addresses"),
        "{message}"
    );
    azure.limits.subnet_taken = 0;
    azure.put_pool(&mut yard, "userbf", &FREE, &six).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(
        (state_of(&azure, "userbf").as_str(), azure.machine_names("userbf").unwrap().len()),
        ("Succeeded", 6)
    );
}

#[test]
fn an_autoscaled_pool_counts_at_its_maximum_before_a_pool_is_made() {
    let (mut azure, mut yard) = crowded(|limits| limits.subnet_prefix = "10.0.0.0/23".to_owned());
    let pool = |max: u32| {
        json!({ "properties": { "count": 1, "vmSize": "Standard_D8s_v5", "maxPods": 30,
            "enableAutoScaling": true, "minCount": 1, "maxCount": max } })
    };
    let refused = azure.put_pool(&mut yard, "one", &only_new(), &pool(8)).unwrap_err();
    assert_eq!(refused.code, "InsufficientSubnetSize");
    azure.put_pool(&mut yard, "one", &only_new(), &pool(7)).unwrap();
}

#[test]
fn a_region_without_machines_fails_an_upgrade_to_an_old_version_and_slows_one_to_a_new_one() {
    let run = |to: &str, capacity: u64| {
        let (mut azure, mut yard) = crowded(|limits| {
            limits.capacity.insert("Standard_D8s_v5".to_owned(), capacity);
        });
        if to == "1.34.3" {
            azure.catalogue = Catalogue::new(
                ["1.34.2", "1.34.3", "1.35.1"]
                    .map(|v| AvailableUpgrade { version: version(v), preview: false }),
            );
        }
        azure.put_pool(&mut yard, "user", &FREE, &upgrade(to, "3")).unwrap();
        settle(&mut azure, &mut yard);
        let reimaged = yard.story.iter().filter(|line| line.starts_with("reimage")).count();
        let added = yard.story.iter().filter(|line| line.starts_with("add")).count();
        (state_of(&azure, "user"), error_of(&azure, "user").0, added, reimaged)
    };
    let failed = |added| ("Failed".to_owned(), "ZonalAllocationFailed".to_owned(), added, 0);
    assert_eq!(run("1.34.3", 7), failed(1), "one of three came; no node was touched");
    assert_eq!(run("1.35.1", 7), ("Succeeded".to_owned(), String::new(), 1, 6));
    assert_eq!(run("1.35.1", 6), failed(0));
}

#[test]
fn a_size_that_the_subscription_may_not_have_in_a_zone_fails_the_pool_that_wants_it_there() {
    let (mut azure, mut yard) = crowded(|limits| {
        limits.restricted_sizes.insert("Standard_D8s_v5".to_owned(), vec!["2".to_owned()]);
    });
    let pool = |zones: Value| json!({ "properties": { "count": 1, "vmSize": "Standard_D8s_v5", "availabilityZones": zones } });
    azure.put_pool(&mut yard, "one", &only_new(), &pool(json!(["1", "3"]))).unwrap();
    azure.put_pool(&mut yard, "two", &only_new(), &pool(json!(["1", "2"]))).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!((state_of(&azure, "one"), state_of(&azure, "two")), ("Succeeded".into(), "Failed".into()));
    assert_eq!(error_of(&azure, "two").0, "SKUNotAvailable");
    let refused = azure.put_pool(&mut yard, "three", &only_new(), &pool(json!(["4"]))).unwrap_err();
    assert_eq!(refused.status, 400, "{refused}");
}

#[test]
fn a_pool_goes_back_to_the_version_before_for_a_week_and_only_by_its_image() {
    let (mut azure, mut yard) = crowded(|_| ());
    azure.put_pool(&mut yard, "user", &FREE, &upgrade("1.35.1", "0")).unwrap_err();
    azure.put_pool(&mut yard, "user", &FREE, &upgrade("1.35.1", "1")).unwrap();
    settle(&mut azure, &mut yard);
    let used = |azure: &Azure, yard: &Yard| {
        let mut profile = azure.pool_upgrade_profile("user", yard.now).unwrap();
        profile["properties"]["recentlyUsedVersions"].take()
    };
    let recent = used(&azure, &yard);
    assert_eq!(recent[0]["orchestratorVersion"], "1.34.2");
    let back = json!({ "properties": { "orchestratorVersion": "1.34.2",
        "nodeImageVersion": recent[0]["nodeImageVersion"] } });
    let refused = azure.put_pool(&mut yard, "user", &FREE, &upgrade("1.34.2", "1")).unwrap_err();
    assert_eq!(refused.code, "AgentPoolUpgradeVersionNotAllowed");
    let (mut late, mut later) = (azure.clone(), crowded(|_| ()).1);
    later.now = yard.now + Duration::from_secs(8 * 24 * 3600);
    assert_eq!(used(&late, &later), json!([]));
    assert_eq!(late.put_pool(&mut later, "user", &FREE, &back).unwrap_err().code, "InvalidParameter");
    azure.put_pool(&mut yard, "user", &FREE, &back).unwrap();
    settle(&mut azure, &mut yard);
    assert_eq!(azure.pool("user").unwrap()["properties"]["currentOrchestratorVersion"], "1.34.2");
    let at = |name: &NodeName| yard.machine(name).kubelet;
    let names = azure.machine_names("user").unwrap();
    assert!(names.iter().all(|name| at(name) == Some(version("1.34.2"))));
}

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
    let (mut azure, _) = begin();
    let taken = |azure: &Azure| azure.subnet_usages()["value"][0]["currentValue"].as_u64().unwrap();
    assert_eq!(taken(&azure), 9);
    let each: u64 =
        azure.pools.values().map(|p| p.machines.len() as u64 * (1 + u64::from(p.wanted.max_pods))).sum();
    azure.cluster.without_overlay();
    assert_eq!(taken(&azure), each);
}

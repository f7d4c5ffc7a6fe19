use std::collections::HashSet;

use super::*;

const SUBSCRIPTION: &str = "00000000-0000-0000-0000-00000000000a";

#[test]
fn an_endpoint_is_https_or_loopback_and_nothing_else() {
    for good in [
        "https://management.azure.com",
        "https://management.azure.com/",
        "https://arm.example.com:8443/base",
        "http://127.0.0.1:8900",
        "http://localhost:8900",
        "http://[::1]:8900",
    ] {
        assert!(good.parse::<Endpoint>().is_ok(), "{good}");
    }
    for bad in [
        "http://management.azure.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "ftp://management.azure.com",
        "https://user:hunter2@management.azure.com",
        "https://management.azure.com?x=1",
        "management.azure.com",
        "",
    ] {
        let error = bad.parse::<Endpoint>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn the_scope_is_the_clouds_and_has_one_slash() {
    let scope = |text: &str| text.parse::<Endpoint>().unwrap().scope();
    assert_eq!(scope("https://westeurope.management.azure.com"), "https://management.azure.com/.default");
    assert_eq!(scope("https://management.chinacloudapi.cn"), "https://management.chinacloudapi.cn/.default");
    assert_eq!(scope("https://management.azure.com/"), "https://management.azure.com/.default");
    assert_eq!(scope("http://127.0.0.1:8900/arm/"), "http://127.0.0.1:8900/arm/.default");
}

#[test]
fn an_endpoint_knows_its_cloud() {
    let cloud = |text: &str| text.parse::<Endpoint>().unwrap().cloud();
    for (endpoint, wanted) in [
        ("https://management.azure.com", Some(Cloud::Public)),
        ("https://westeurope.management.azure.com/", Some(Cloud::Public)),
        ("https://management.usgovcloudapi.net", Some(Cloud::UsGovernment)),
        ("https://management.chinacloudapi.cn", Some(Cloud::China)),
        ("https://management.azure.com.evil.example", None),
        ("https://evilmanagement.azure.com", None),
        ("http://127.0.0.1:8900", None),
    ] {
        assert_eq!(cloud(endpoint), wanted, "{endpoint}");
    }
}

#[test]
fn a_token_goes_only_to_the_endpoint_and_its_regional_siblings() {
    let table = [
        ("https://management.azure.com", "https://management.azure.com/x?t=1", true),
        ("https://management.azure.com", "https://westeurope.management.azure.com/x", true),
        ("https://westeurope.management.azure.com", "https://management.azure.com/x", true),
        ("https://management.azure.com", "https://MANAGEMENT.azure.com:443/x", true),
        ("https://management.azure.com", "https://evilmanagement.azure.com/x", false),
        ("https://management.azure.com", "https://management.azure.com.evil.example/x", false),
        ("https://management.azure.com", "https://management.usgovcloudapi.net/x", false),
        ("https://management.azure.com", "http://management.azure.com/x", false),
        ("https://management.azure.com", "https://management.azure.com:8443/x", false),
        ("https://management.azure.com", "https://a:b@management.azure.com/x", false),
        ("https://arm.corp.example", "https://eu.arm.corp.example/x", true),
        ("https://arm.corp.example", "https://corp.example/x", false),
        ("http://127.0.0.1:8900", "http://127.0.0.1:8900/x", true),
        ("http://127.0.0.1:8900", "http://127.0.0.1:8901/x", false),
        ("http://127.0.0.1:8900", "http://127.0.0.2:8900/x", false),
    ];
    for (endpoint, url, trusted) in table {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        assert_eq!(endpoint.trusts(&Url::parse(url).unwrap()), trusted, "{endpoint} {url}");
    }
}

#[test]
fn a_paging_link_is_followed_on_the_own_host() {
    let link = Url::parse("https://other.example/subscriptions/s/agentPools?$skiptoken=a%2Fb").unwrap();
    let rebase = |endpoint: &str| endpoint.parse::<Endpoint>().unwrap().rebase(&link).to_string();
    assert_eq!(
        rebase("http://127.0.0.1:1"),
        "http://127.0.0.1:1/subscriptions/s/agentPools?$skiptoken=a%2Fb"
    );
    assert_eq!(
        rebase("http://127.0.0.1:1/arm"),
        "http://127.0.0.1:1/arm/subscriptions/s/agentPools?$skiptoken=a%2Fb"
    );
}

#[test]
fn an_api_version_is_a_date_not_older_than_the_floor() {
    for good in ["2025-10-01", "2026-08-01", "2026-08-02-preview"] {
        assert_eq!(good.parse::<ApiVersion>().unwrap().as_str(), good);
    }
    for bad in ["2026-8-1", "2026-13-01", "2026-08-01-beta", "latest", "", "2026-08-01&x=y"] {
        assert!(matches!(bad.parse::<ApiVersion>(), Err(ParseError::ApiVersion { .. })), "{bad}");
    }
    for old in ["2025-09-30", "2025-09-02-preview", "2023-01-01"] {
        assert!(matches!(old.parse::<ApiVersion>(), Err(ParseError::ApiVersionTooOld { .. })), "{old}");
    }
    assert_eq!(ApiVersion::default().as_str(), "2026-08-01");
}

#[test]
fn a_cluster_id_reads_any_case_and_equals_in_any_case() {
    let id = |text: String| text.parse::<ClusterId>().unwrap();
    let plain = id(format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-demo/providers/Microsoft.ContainerService/managedClusters/shop"
    ));
    let shouted = id(format!(
        "/SUBSCRIPTIONS/{}/resourcegroups/RG-DEMO/Providers/MICROSOFT.containerservice/managedclusters/SHOP/",
        SUBSCRIPTION.to_uppercase()
    ));
    assert_eq!(plain, shouted);
    assert_eq!(HashSet::from([plain.clone(), shouted]).len(), 1);
    assert_eq!(
        plain.resource_id(),
        format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-demo/providers/Microsoft.ContainerService/managedClusters/shop"
        )
    );
}

#[test]
fn what_is_not_a_cluster_id_is_refused() {
    let base = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers");
    for bad in [
        format!("{base}/Microsoft.ContainerService/managedClusters"),
        format!("{base}/Microsoft.ContainerService/managedClusters/a/agentPools/b"),
        format!("{base}/Microsoft.Compute/managedClusters/a"),
        format!("{base}/Microsoft.ContainerService/managedClusters/a?x=1"),
        format!("{base}/Microsoft.ContainerService/managedClusters/.."),
        "/subscriptions/nope/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/a"
            .to_owned(),
        String::new(),
    ] {
        assert!(bad.parse::<ClusterId>().is_err(), "{bad}");
    }
    assert!(ClusterId::new(SUBSCRIPTION.parse().unwrap(), "..", "a").is_err());
}

#[test]
fn a_subscription_is_a_hyphenated_guid() {
    assert_eq!(SUBSCRIPTION.to_uppercase().parse::<SubscriptionId>().unwrap().to_string(), SUBSCRIPTION);
    for bad in ["", "shop", "0000000000000000000000000000000a", "{00000000-0000-0000-0000-00000000000a}"] {
        assert!(bad.parse::<SubscriptionId>().is_err(), "{bad}");
    }
}

#[test]
fn pool_names_and_full_versions_are_told_from_lookalikes() {
    assert!(["a", "system1", "abcdefghijkl"].into_iter().all(is_pool_name));
    assert!(!["", "1a", "A", "a-b", "abcdefghijklm", "..", "a/b"].into_iter().any(is_pool_name));
    assert!(is_full_version("1.35.12"));
    assert!(!["1.35", "v1.35.1", "1.35.1-rc1", "1..1", "1.35.1.0", ""].into_iter().any(is_full_version));
}

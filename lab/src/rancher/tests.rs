use super::*;
use crate::lab::Lab;

fn query(pairs: &[(&str, &str)]) -> Query {
    Query(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

/// The demo's machines, and nothing that runs on them: Rancher does not look further.
fn empty() -> Scenario {
    let mut scenario = Scenario::demo();
    scenario.objects.clear();
    scenario
}

fn list(pairs: &[(&str, &str)]) -> Value {
    let lab = Lab::new(&empty(), 1);
    let clusters = lab.with(|world| clusters(world));
    collection("cluster", clusters, &query(pairs), "http://r/v3/clusters")
}

fn ids(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[test]
fn pages_follow_each_other_by_the_marker_of_the_next_first_element() {
    let first = list(&[("limit", "1")]);
    assert_eq!(ids(&first), ["c-m-demo0001"]);
    assert_eq!(first["pagination"]["next"], "http://r/v3/clusters?limit=1&marker=local");
    assert_eq!((&first["pagination"]["total"], &first["pagination"]["partial"]), (&json!(2), &json!(true)));
    let second = list(&[("limit", "1"), ("marker", "local")]);
    assert_eq!(ids(&second), ["local"]);
    assert_eq!(second["pagination"]["next"], Value::Null);
    // The object of the marker has vanished: Rancher begins again without a word.
    assert_eq!(ids(&list(&[("limit", "1"), ("marker", "c-gone")])), ["c-m-demo0001"]);
}

#[test]
fn known_filters_are_applied_and_echoed_and_unknown_ones_ignored() {
    let page = list(&[("name", "demo"), ("colour", "blue")]);
    assert_eq!(ids(&page), ["c-m-demo0001"]);
    assert_eq!(page["filters"]["name"][0], json!({ "modifier": "eq", "value": "demo" }));
    assert_eq!((&page["filters"]["state"], &page["filters"]["colour"]), (&Value::Null, &Value::Null));
    assert_eq!(ids(&list(&[("internal", "true")])), ["local"]);
    assert_eq!(ids(&list(&[("id_ne", "local")])), ["c-m-demo0001"]);
    assert_eq!(ids(&list(&[("id_in", "local,x")])), ["local"]);
    assert_eq!(ids(&list(&[("id_notin", "local,x")])), ["c-m-demo0001"]);
    assert!(ids(&list(&[("name", "nobody")])).is_empty());
}

#[test]
fn an_odd_name_survives_in_the_link_to_the_next_page() {
    let page = collection(
        "cluster",
        vec![json!({ "id": "a", "name": "x&y" }), json!({ "id": "b", "name": "x&y" })],
        &query(&[("name", "x&y"), ("limit", "1")]),
        "/l",
    );
    assert_eq!(page["pagination"]["next"], "/l?name=x%26y&limit=1&marker=b");
}

#[test]
fn the_owner_shows_in_driver_and_configuration() {
    let shown = |ownership: Ownership| {
        let mut scenario = empty();
        scenario.rancher.ownership = ownership;
        let lab = Lab::new(&scenario, 1);
        lab.with(|world| find_cluster(world, "c-m-demo0001")).unwrap()
    };
    let generic = shown(Ownership::Generic);
    assert_eq!((&generic["driver"], &generic["aksConfig"]), (&json!("imported"), &Value::Null));
    let unmanaged = shown(Ownership::Unmanaged);
    assert_eq!((&unmanaged["driver"], &unmanaged["aksConfig"]["nodePools"]), (&json!("AKS"), &Value::Null));
    let refresh_seconds = 300;
    let managed = shown(Ownership::Managed(SecondWriter {
        out_of_sync: Vec::new(),
        refresh_seconds,
        last_refresh: None,
    }));
    assert_eq!(managed["aksConfig"]["kubernetesVersion"], "1.34.2");
    assert_eq!(managed["aksConfig"]["nodePools"].as_array().unwrap().len(), 2);
    assert_eq!(managed["aksConfig"], managed["appliedSpec"]["aksConfig"]);
    let odd = shown(Ownership::Unclear { reason: "x".into() });
    assert_eq!((&odd["driver"], &odd["aksConfig"]), (&json!("AKS"), &Value::Null));
}

#[test]
fn a_scoped_token_opens_its_cluster_and_nothing_else() {
    let lab = Lab::new(&empty(), 1);
    let bearer = lab.with(|world| world.issue_scoped_token("token-scoped", "s3cret"));
    let opens =
        |path: &[&str]| lab.with(|world| world.rancher.authenticate(&bearer, path, world.now()).is_some());
    assert!(opens(&["v3", "clusters", "c-m-demo0001"]));
    assert!(opens(&["k8s", "clusters", "c-m-demo0001", "api", "v1", "nodes"]));
    for closed in
        [&["v3", "clusters"][..], &["v3", "clusters", "local"], &["v3", "tokens", "token-scoped"], &[]]
    {
        assert!(!opens(closed), "{closed:?}");
    }
}

#[test]
fn a_token_opens_until_it_expires_and_only_with_its_secret() {
    let scenario = Scenario::demo();
    let mut rancher = Rancher::new(&scenario);
    let (start, later) = (scenario.start, scenario.start + std::time::Duration::from_secs(3600));
    let bearer = rancher.issue("token-lab01", "s3cret", Some(later));
    let anywhere = ["v3", "clusters"];
    assert_eq!(rancher.authenticate(&bearer, &anywhere, start), Some("token-lab01"));
    for (bad, now) in
        [(bearer.as_str(), later), ("token-lab01:other", start), ("token-x:s3cret", start), ("", start)]
    {
        assert_eq!(rancher.authenticate(bad, &anywhere, now), None, "{bad}");
    }
    let shown = rancher.token("token-lab01", start).unwrap();
    assert_eq!((&shown["expiresAt"], &shown["expired"]), (&json!(later.to_string()), &json!(false)));
    assert!(!format!("{rancher:?}").contains("s3cret"));
    assert_eq!(rancher.token("token-x", start).unwrap_err().status, 404);
    assert_eq!(rancher.setting("server-version").unwrap()["value"], "v2.12.2");
    assert_eq!(rancher.setting("nonsense").unwrap_err().body()["code"], "NotFound");
}

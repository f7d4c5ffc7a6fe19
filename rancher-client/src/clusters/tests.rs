use wiremock::matchers::{header, path, query_param, query_param_is_missing};
use wiremock::{Mock, ResponseTemplate};

use super::*;
use crate::testing::{Rancher, SECRET, TOKEN, json, text};

fn collection(ids: &[&str], next: Option<&str>) -> String {
    let data: Vec<Value> =
        ids.iter().map(|id| serde_json::json!({"id": id, "name": format!("name-{id}")})).collect();
    serde_json::json!({
        "type": "collection", "data": data, "pagination": {"limit": 2, "next": next}, "filters": {"name": null},
    })
    .to_string()
}

async fn page(rancher: &Rancher, marker: Option<&str>, ids: &[&str], next: Option<&str>) {
    let mock = Mock::given(path("/v3/clusters"));
    let mock = match marker {
        Some(marker) => mock.and(query_param("marker", marker)),
        None => mock.and(query_param_is_missing("marker")),
    };
    rancher.mount(mock.respond_with(json(200, &collection(ids, next)))).await;
}

fn ids(clusters: &[Cluster]) -> Vec<&str> {
    clusters.iter().map(|cluster| cluster.id().as_str()).collect()
}

#[tokio::test]
async fn a_cluster_is_read_by_its_id_with_the_token_and_a_plain_user_agent() {
    let rancher = Rancher::start().await;
    let mock = Mock::given(path("/v3/clusters/c-x7k2p"))
        .and(header("authorization", format!("Bearer {TOKEN}").as_str()))
        .and(header("user-agent", crate::USER_AGENT_TEXT))
        .and(header("accept", "application/json"))
        .respond_with(json(200, r#"{"id":"c-x7k2p","name":"shop"}"#));
    rancher.mount(mock).await;
    let id = RancherClusterId::parse("c-x7k2p").unwrap();
    assert_eq!(rancher.client().cluster(&id).await.unwrap().name(), "shop");
    assert!(!crate::USER_AGENT_TEXT.to_lowercase().contains("mozilla"));
}

#[tokio::test]
async fn an_answer_about_another_cluster_than_asked_for_is_not_believed() {
    let rancher = Rancher::start().await;
    rancher.answer("/v3/clusters/c-x7k2p", json(200, r#"{"id":"c-other","name":"shop"}"#)).await;
    let error = rancher.client().cluster(&RancherClusterId::parse("c-x7k2p").unwrap()).await.unwrap_err();
    let Error::AnotherCluster { asked, answered } = error else { panic!("{error:?}") };
    assert_eq!((asked.as_str(), answered.as_str()), ("c-x7k2p", "c-other"));
}

#[tokio::test]
async fn pages_are_followed_on_our_own_host_whatever_host_the_link_names() {
    let rancher = Rancher::start().await;
    let own = rancher.server.uri();
    let elsewhere = "http://evil.invalid:81/other/path?limit=2&marker=c-3";
    page(&rancher, None, &["c-1", "c-2"], Some(elsewhere)).await;
    page(&rancher, Some("c-3"), &["c-3", "c-4"], Some(&format!("{own}/v3/clusters?marker=c-5"))).await;
    page(&rancher, Some("c-5"), &["c-5"], None).await;
    let clusters = rancher.client().clusters().await.unwrap();
    assert_eq!(ids(&clusters), ["c-1", "c-2", "c-3", "c-4", "c-5"]);
}

#[tokio::test]
async fn a_marker_that_vanished_between_two_pages_costs_no_cluster_and_doubles_none() {
    // Before c-3 could be asked for it was deleted, so Rancher answers with its first page again.
    let rancher = Rancher::start().await;
    page(&rancher, None, &["c-1", "c-2"], Some("/v3/clusters?marker=c-3")).await;
    page(&rancher, Some("c-3"), &["c-1", "c-2"], Some("/v3/clusters?marker=c-4")).await;
    page(&rancher, Some("c-4"), &["c-4"], None).await;
    let clusters = rancher.client().clusters().await.unwrap();
    assert_eq!(ids(&clusters), ["c-1", "c-2", "c-4"]);
}

#[tokio::test]
async fn a_marker_that_comes_back_ends_the_walk() {
    let rancher = Rancher::start().await;
    page(&rancher, None, &["c-1"], Some("/v3/clusters?marker=c-2")).await;
    page(&rancher, Some("c-2"), &["c-2"], Some("/v3/clusters?marker=c-2&limit=9")).await;
    assert_eq!(ids(&rancher.client().clusters().await.unwrap()), ["c-1", "c-2"]);
    assert_eq!(rancher.authorizations("/v3/clusters").await.len(), 2);
}

#[tokio::test]
async fn a_name_is_found_by_the_filter_and_compared_again() {
    let rancher = Rancher::start().await;
    let body = r#"{"data":[{"id":"c-1","name":"Shop Acc&x"},{"id":"c-2","name":"shop acc&x"}],
                   "filters":{"name":[{"modifier":"eq","value":"shop acc&x"}]}}"#;
    let mock = Mock::given(path("/v3/clusters"))
        .and(query_param("name", "shop acc&x"))
        .respond_with(json(200, body));
    rancher.mount(mock).await;
    let cluster = rancher.client().cluster_by_name("shop acc&x").await.unwrap();
    assert_eq!(cluster.id().as_str(), "c-2");
}

#[tokio::test]
async fn a_filter_that_rancher_ignored_neither_picks_a_stranger_nor_misses_a_later_page() {
    let rancher = Rancher::start().await;
    page(&rancher, None, &["c-1", "c-2"], Some("/v3/clusters?marker=c-3&name=name-c-3")).await;
    page(&rancher, Some("c-3"), &["c-3"], None).await;
    let found = rancher.client().cluster_by_name("name-c-3").await.unwrap();
    assert_eq!(found.id().as_str(), "c-3");
    let error = rancher.client().cluster_by_name("nobody").await.unwrap_err();
    assert_eq!(error.to_string(), "cluster `nobody` does not exist, or is hidden from this token's user");
}

#[tokio::test]
async fn two_clusters_of_one_name_are_never_guessed_between() {
    let rancher = Rancher::start().await;
    let body = r#"{"data":[{"id":"c-1","name":"shop"},{"id":"c-2","name":"shop"}],"filters":{"name":[]}}"#;
    rancher.answer("/v3/clusters", json(200, body)).await;
    let error = rancher.client().cluster_by_name("shop").await.unwrap_err();
    let Error::AmbiguousName { ids, .. } = &error else { panic!("{error:?}") };
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn a_scoped_token_on_the_list_is_told_from_a_bad_one_where_rancher_tells() {
    let must = r#"{"type":"error","status":"401","message":"Unauthorized 401: must authenticate"}"#;
    let accepted = json(401, must).insert_header("X-API-Cattle-Auth", "true");
    let rancher = Rancher::with("/v3/clusters", accepted).await;
    let error = rancher.client().cluster_by_name("shop").await.unwrap_err();
    assert!(matches!(error, Error::ScopedToken { .. }), "{error:?}");
    let refused = json(401, must).insert_header("X-API-Cattle-Auth", "false");
    let rancher = Rancher::with("/v3/clusters", refused).await;
    let error = rancher.client().cluster_by_name("shop").await.unwrap_err();
    assert!(matches!(error, Error::TokenRejected { perhaps_scoped: true, .. }), "{error:?}");
    assert!(error.to_string().contains("give the cluster's id"));
}

#[tokio::test]
async fn a_page_that_is_no_page_is_named_by_its_place() {
    let cases = [
        (r#"{"data":[{"id":"c-1"},{"id":7}]}"#, "data[1].id"),
        (r#"{"data":null}"#, "data"),
        (r#"{"items":[]}"#, "."),
        (r#"{"data":[{"id":"c-1""#, "data[0]"),
        ("<html>log in</html>", "."),
        (r#"{"data":[],"pagination":{"next":"mailto:x"}}"#, "pagination.next"),
    ];
    for (body, place) in cases {
        let rancher = Rancher::with("/v3/clusters", text(200, body)).await;
        let error = rancher.client().clusters().await.unwrap_err();
        let Error::UnexpectedBody { source, .. } = &error else { panic!("{body}: {error:?}") };
        assert_eq!(source.path(), place, "{body}");
        assert!(!error.outcome_known() && !error.is_retryable());
    }
}

#[tokio::test]
async fn a_server_that_repeats_what_it_was_sent_does_not_bring_the_token_into_an_error() {
    let success = serde_json::json!({"data": format!("Bearer {TOKEN}")}).to_string();
    let rancher = Rancher::with("/v3/clusters", json(200, &success)).await;
    let error = rancher.client().clusters().await.unwrap_err();
    assert!(format!("{error:?}").contains("[redacted]"), "{error:?}");
    for status in [401, 403, 404, 429, 500, 503] {
        let echo = format!("you sent Authorization: Bearer {TOKEN}");
        let norman = serde_json::json!({"type": "error", "code": echo, "message": echo}).to_string();
        for answer in [ResponseTemplate::new(status).set_body_string(&echo), json(status, &norman)] {
            let rancher = Rancher::with("/v3/clusters", answer).await;
            let error = rancher.client().clusters().await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains(SECRET), "{status}: {error:?}");
        }
    }
}

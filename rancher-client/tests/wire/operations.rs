//! Clusters, settings and projects.

use std::collections::BTreeMap;
use std::time::Duration;

use rancher_client::ca::{CaError, fetch_ca_by_checksum, pem_checksum};
use rancher_client::projects::SystemNamespaces;
use rancher_client::{Cluster, Error};
use serde_json::{Value, json as value};
use wiremock::Mock;
use wiremock::matchers::{header, method, path, query_param, query_param_is_missing};

use crate::support::{
    CLUSTER, Case, DATE, LIST, MISSING, MUST, Rancher, case, collection, equals, html, http_client, id, json,
    place, text,
};

/// One page of clusters, asked for with this marker.
async fn page(rancher: &Rancher, marker: Option<&str>, ids: &[&str], next: Option<&str>) {
    let mock = Mock::given(method("GET")).and(path(LIST));
    let mock = match marker {
        Some(marker) => mock.and(query_param("marker", marker)),
        None => mock.and(query_param_is_missing("marker")),
    };
    let data: Vec<Value> = ids.iter().map(|id| value!({"id": id, "name": "x"})).collect();
    rancher.mount(mock.respond_with(collection(&value!(data), &value!({}), next))).await;
}

/// Walks pages given as (marker, ids, next marker) and expects these clusters, after this many requests.
async fn walk(pages: &[(Option<&str>, &[&str], Option<&str>)], expected: &[&str], requests: usize) {
    let rancher = Rancher::start().await;
    for (marker, ids, next) in pages {
        page(&rancher, *marker, ids, *next).await;
    }
    let found = rancher.client().clusters().await.unwrap();
    assert_eq!(found.iter().map(|cluster| cluster.id().as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(rancher.authorizations(LIST).await.len(), requests);
}

fn cluster_cases() -> Vec<Case> {
    vec![
        case("§2.1", "pages are followed, on our own host only", async {
            let elsewhere = "http://evil.invalid:81/v3/clusters?limit=2&marker=c-3";
            walk(
                &[(None, &["c-1", "c-2"], Some(elsewhere)), (Some("c-3"), &["c-3"], None)],
                &["c-1", "c-2", "c-3"],
                2,
            )
            .await;
        }),
        case("§2.1", "a marker that vanished starts again, and doubles nothing", async {
            walk(
                &[
                    (None, &["c-1", "c-2"], Some("/v3/clusters?marker=c-3")),
                    (Some("c-3"), &["c-1", "c-2"], Some("/v3/clusters?marker=c-4")),
                    (Some("c-4"), &["c-4"], Some("")),
                ],
                &["c-1", "c-2", "c-4"],
                3,
            )
            .await;
        }),
        case("§2.1", "a marker that comes back ends the walk", async {
            let again = "/v3/clusters?marker=c-2&limit=7";
            walk(
                &[(None, &["c-1"], Some("/v3/clusters?marker=c-2")), (Some("c-2"), &["c-2"], Some(again))],
                &["c-1", "c-2"],
                2,
            )
            .await;
        }),
        case("§2.1", "a user without rights sees an empty list", async {
            walk(&[(None, &[], None)], &[], 1).await;
        }),
        case("§2.1", "a link that is no link", async {
            let rancher = Rancher::start().await;
            page(&rancher, None, &["c-1"], Some("mailto:x")).await;
            assert_eq!(place(&rancher.client().clusters().await.unwrap_err()), "pagination.next");
        }),
        case("§2.1", "a name is asked for by filter and compared again", async {
            let rancher = Rancher::start().await;
            let data = value!([{"id": "c-1", "name": "Shop acc&x"}, {"id": "c-2", "name": "shop acc&x"}]);
            let answer = collection(&data, &value!({"name": equals("shop acc&x")}), None);
            let mock = Mock::given(path(LIST)).and(query_param("name", "shop acc&x"));
            rancher.mount(mock.respond_with(answer)).await;
            let cluster = rancher.client().cluster_by_name("shop acc&x").await.unwrap();
            assert_eq!(cluster.id().as_str(), "c-2");
        }),
        case("§2.1", "a filter that was ignored picks no stranger", async {
            let data = value!([{"id": "c-1", "name": "other"}]);
            let rancher = Rancher::with(LIST, collection(&data, &value!({"name": null}), None)).await;
            let error = rancher.client().cluster_by_name("shop").await.unwrap_err();
            assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        }),
        case("§2.1", "two clusters of one name", async {
            let data = value!([{"id": "c-1", "name": "shop"}, {"id": "c-2", "name": "shop"}]);
            let rancher = Rancher::with(LIST, collection(&data, &value!({"name": []}), None)).await;
            let error = rancher.client().cluster_by_name("shop").await.unwrap_err();
            assert!(matches!(&error, Error::AmbiguousName { ids, .. } if ids.len() == 2), "{error:?}");
        }),
        case("§2.2", "one cluster, with our name and Rancher's clock", async {
            let rancher = Rancher::start().await;
            let mock = Mock::given(method("GET"))
                .and(path(CLUSTER))
                .and(header("user-agent", rancher_client::USER_AGENT_TEXT))
                .and(header("accept", "application/json"));
            let answer = json(200, r#"{"id":"c-x7k2p","new":{"a":[1]}}"#).insert_header("date", DATE);
            rancher.mount(mock.respond_with(answer)).await;
            let cluster = rancher.client().cluster(&id()).await.unwrap();
            assert_eq!(cluster.server_time(), Some("2026-12-01T08:00:00Z".parse().unwrap()));
            assert_eq!(cluster.raw()["new"]["a"][0], 1);
            assert!(!rancher_client::USER_AGENT_TEXT.to_lowercase().contains("mozilla"));
        }),
        case("§2.2", "an answer about another cluster", async {
            let rancher = Rancher::with(CLUSTER, json(200, r#"{"id":"c-other"}"#)).await;
            let error = rancher.client().cluster(&id()).await.unwrap_err();
            assert!(matches!(error, Error::AnotherCluster { .. }), "{error:?}");
        }),
        case("§4.1", "nodes, by the way that is open to scoped tokens", async {
            let data = value!([
                {"id": "c-x7k2p:m-1", "clusterId": "c-x7k2p", "nodeName": "aks-user-1", "state": "cordoned",
                 "providerId": "azure:///subscriptions/s/resourceGroups/rg/x"},
                {"id": "c-x7k2p:m-2", "nodeName": null, "providerId": ""},
            ]);
            let rancher =
                Rancher::with("/v3/clusters/c-x7k2p/nodes", collection(&data, &value!({}), None)).await;
            let nodes = rancher.client().cached_nodes(&id()).await.unwrap();
            assert_eq!((nodes[0].node_name.as_str(), nodes[0].state.as_str()), ("aks-user-1", "cordoned"));
            assert!(nodes[0].provider_id.as_deref().unwrap().starts_with("azure:///"));
            assert_eq!((nodes[1].node_name.as_str(), nodes[1].provider_id.as_deref()), ("", None));
        }),
        case("§4.1", "a node of another cluster", async {
            let data = value!([{"id": "c-other:m-1", "clusterId": "c-other"}]);
            let rancher =
                Rancher::with("/v3/clusters/c-x7k2p/nodes", collection(&data, &value!({}), None)).await;
            assert_eq!(place(&rancher.client().cached_nodes(&id()).await.unwrap_err()), "data[0].clusterId");
        }),
        case("§2.3 D", "the subscription of the credential", async {
            let at = "/v3/cloudcredentials/cattle-global-data:cc-abcde";
            let body =
                r#"{"id":"cattle-global-data:cc-abcde","azurecredentialConfig":{"subscriptionId":"sub-1"}}"#;
            let rancher = Rancher::with(at, json(200, body)).await;
            let found = rancher
                .client()
                .credential_subscription(&with_credential("cattle-global-data:cc-abcde"))
                .await;
            assert_eq!(found.unwrap().as_deref(), Some("sub-1"));
        }),
        case("§2.3 D", "another credential, a hidden one, none, one that leads elsewhere", async {
            let at = "/v3/cloudcredentials/cattle-global-data:cc-abcde";
            let cluster = with_credential("cattle-global-data:cc-abcde");
            let other = r#"{"id":"x:y","azurecredentialConfig":{"subscriptionId":"sub-1"}}"#;
            let rancher = Rancher::with(at, json(200, other)).await;
            assert_eq!(place(&rancher.client().credential_subscription(&cluster).await.unwrap_err()), "id");
            let rancher = Rancher::with(at, json(404, MISSING)).await;
            let error = rancher.client().credential_subscription(&cluster).await.unwrap_err();
            assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
            let nobody = Rancher::start().await;
            let generic = Cluster::from_json(value!({"id": "c-x7k2p"})).unwrap();
            assert_eq!(nobody.client().credential_subscription(&generic).await.unwrap(), None);
            let astray = with_credential("cattle-global-data:../users");
            assert!(nobody.client().credential_subscription(&astray).await.is_err(), "and nothing was sent");
        }),
    ]
}

fn with_credential(id: &str) -> Cluster {
    Cluster::from_json(value!({"id": "c-x7k2p", "aksConfig": {"azureCredentialSecret": id}})).unwrap()
}
async fn setting(name: &'static str, body: &'static str, expected: Result<&'static str, &'static str>) {
    let rancher = Rancher::with(&format!("/v3/settings/{name}"), json(200, body)).await;
    match (rancher.client().setting(name).await, expected) {
        (Ok(setting), Ok(value)) => assert_eq!(setting.effective(), value),
        (Err(error), Err(at)) => assert_eq!(place(&error), at),
        (found, expected) => panic!("{found:?}, {expected:?} expected"),
    }
}

fn settings_cases() -> Vec<Case> {
    const REFRESH: &str = "/v3/settings/aks-refresh";
    let row =
        |name, body, expected| case("§6", format!("setting: {name}"), setting("aks-refresh", body, expected));
    vec![
        row("set", r#"{"name":"aks-refresh","value":"60","default":"300","source":"db"}"#, Ok("60")),
        row("not set", r#"{"name":"aks-refresh","value":"","default":"300","customized":false}"#, Ok("300")),
        row("null", r#"{"name":"aks-refresh","value":null,"default":null}"#, Ok("")),
        row("another one", r#"{"name":"server-url","value":"x"}"#, Err("name")),
        row("a number", r#"{"name":"aks-refresh","value":60}"#, Err("value")),
        case("§7.2", "the refresh as a time, and the default where it may not be read", async {
            let answers = [
                (json(200, r#"{"name":"aks-refresh","value":"","default":"300"}"#), 300),
                (json(200, r#"{"name":"aks-refresh","value":"60"}"#), 60),
                (json(401, MUST), 300),
                (json(403, r#"{"type":"error","code":"Forbidden","message":"x"}"#), 300),
                (json(404, MISSING), 300),
            ];
            for (answer, seconds) in answers {
                let rancher = Rancher::with(REFRESH, answer).await;
                assert_eq!(rancher.client().aks_refresh().await.unwrap(), Duration::from_secs(seconds));
            }
            let rancher = Rancher::with(REFRESH, json(200, r#"{"name":"aks-refresh","value":"5m"}"#)).await;
            assert_eq!(place(&rancher.client().aks_refresh().await.unwrap_err()), "value");
            let broken = Rancher::with(REFRESH, text(500, "etcd")).await;
            assert!(broken.client().aks_refresh().await.is_err(), "a failure is not the default");
        }),
        case("§6", "the version, from the setting", async {
            let body = r#"{"name":"server-version","value":"v2.13.1"}"#;
            let rancher = Rancher::with("/v3/settings/server-version", json(200, body)).await;
            assert_eq!(rancher.client().server_version().await.unwrap().major_minor(), Some((2, 13)));
        }),
        case("§6", "the version, from the open page and without the token", async {
            let rancher = Rancher::with("/v3/settings/server-version", json(401, MUST)).await;
            let page = r#"{"Version":"v2.9.3","GitCommit":"x","RancherPrime":"false"}"#;
            let rancher = rancher.and("/rancherversion", json(200, page)).await;
            assert_eq!(rancher.client().server_version().await.unwrap().as_str(), "v2.9.3");
            assert_eq!(rancher.authorizations("/rancherversion").await, [None]);
        }),
        case("§6", "no version: the dashboard answers on the open page of 2.6", async {
            let rancher = Rancher::with("/v3/settings/server-version", json(401, MUST)).await;
            let rancher =
                rancher.and("/rancherversion", html(200, "<!DOCTYPE html><title>Rancher</title>")).await;
            let error = rancher.client().server_version().await.unwrap_err();
            assert!(
                matches!(error, Error::TokenRejected { .. }),
                "the first error is the one told: {error:?}"
            );
        }),
        case("§6", "health, without the token", async {
            let rancher =
                Rancher::with("/ping", text(200, "pong")).await.and("/healthz", text(200, "ok")).await;
            rancher.client().ping().await.unwrap();
            rancher.client().healthz().await.unwrap();
            assert_eq!(rancher.authorizations("/ping").await, [None]);
            assert_eq!(rancher.authorizations("/healthz").await, [None]);
        }),
        case("§6", "another server answers the ping", async {
            let rancher = Rancher::with("/ping", html(200, "<h1>It works</h1>")).await;
            assert_eq!(place(&rancher.client().ping().await.unwrap_err()), ".");
        }),
        case("§6", "not healthy", async {
            let rancher = Rancher::with("/healthz", text(500, "[-]etcd failed")).await;
            assert!(rancher.client().healthz().await.unwrap_err().is_retryable());
        }),
        case("§6", "the private CA by its checksum, without the token", async {
            let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
            let body = value!({"name": "cacerts", "value": pem}).to_string();
            let rancher = Rancher::with("/v3/settings/cacerts", json(200, &body)).await;
            let fetch = |checksum: String| {
                let url = rancher.url();
                async move { fetch_ca_by_checksum(&http_client(), &url, &checksum).await }
            };
            assert_eq!(fetch(pem_checksum(&format!("{pem}\n"))).await.unwrap(), pem);
            let error = fetch(pem_checksum("other")).await.unwrap_err();
            assert!(
                matches!(&error, CaError::Mismatch { found } if *found == pem_checksum(pem)),
                "{error:?}"
            );
            assert_eq!(rancher.authorizations("/v3/settings/cacerts").await, [None, None]);
        }),
    ]
}

fn project_cases() -> Vec<Case> {
    const PROJECTS: &str = "/v3/projects";
    let data = value!([
        {"id": "c-x7k2p:p-sys", "name": "Renamed", "labels": {"authz.management.cattle.io/system-project": "true"}},
        {"id": "c-x7k2p:p-def", "name": "Default", "labels": {"authz.management.cattle.io/default-project": "true"}},
        {"id": "c-other:p-1", "name": "of another cluster", "labels": null},
    ]);
    vec![
        case("§5", "projects, by label and only of this cluster", async move {
            let rancher = Rancher::start().await;
            let mock = Mock::given(path(PROJECTS)).and(query_param("clusterId", "c-x7k2p"));
            rancher.mount(mock.respond_with(collection(&data, &value!({"clusterId": null}), None))).await;
            let projects = rancher.client().projects(&id()).await.unwrap();
            let shown: Vec<_> = projects.iter().map(|p| (p.short_id(), p.system, p.default)).collect();
            assert_eq!(shown, [("p-sys", true, false), ("p-def", false, true)]);
            let annotations = BTreeMap::from([("field.cattle.io/projectId".into(), "c-x7k2p:p-sys".into())]);
            let none = BTreeMap::new();
            assert!(SystemNamespaces::default().is_system("anything", &annotations, &none, &projects));
        }),
        case("§5", "projects are closed to scoped tokens", async {
            let rancher = Rancher::with(PROJECTS, json(401, MUST)).await;
            let error = rancher.client().projects(&id()).await.unwrap_err();
            assert!(matches!(error, Error::TokenRejected { perhaps_scoped: true, .. }), "{error:?}");
        }),
        case("§5", "system namespaces from the setting", async {
            let body = r#"{"name":"system-namespaces","value":"kube-system, our-platform,","default":"x"}"#;
            let rancher = Rancher::with("/v3/settings/system-namespaces", json(200, body)).await;
            let system = rancher.client().system_namespaces().await.unwrap();
            let none = BTreeMap::new();
            let is = |name| system.is_system(name, &none, &none, &[]);
            assert!(is("our-platform") && is("longhorn-system") && is("cattle-fleet-system"));
            assert!(!is("cert-manager") && !is("") && !is("shop"), "the administrator's list counts");
        }),
        case("§5", "system namespaces where the setting may not be read", async {
            let rancher = Rancher::with("/v3/settings/system-namespaces", json(401, MUST)).await;
            assert_eq!(rancher.client().system_namespaces().await.unwrap(), SystemNamespaces::default());
        }),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = cluster_cases();
    cases.extend(settings_cases());
    cases.extend(project_cases());
    cases
}

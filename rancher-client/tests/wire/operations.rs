//! Every operation, as it looks on the wire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rancher_client::ca::{CaError, fetch_ca_by_checksum, pem_checksum};
use rancher_client::lock_step::LockStep;
use rancher_client::ownership::{AzureState, Ownership, PoolView};
use rancher_client::projects::SystemNamespaces;
use rancher_client::{
    BodyError, Cluster, Error, ProxyError, ProxyFailure, Remaining, TokenInfo, TokenReach, TokenReading,
    Unreadable, idle_deadline,
};
use serde_json::{Value, json as value};
use wiremock::matchers::{body_string, header, method, path, query_param, query_param_is_missing};
use wiremock::{Mock, ResponseTemplate};

use crate::support::{
    CLUSTER, Case, LIST, Leaps, Rancher, Rotating, VERSION, case, html, http_client, id, json, place,
    static_token, text,
};

const MUST: &str = r#"{"type":"error","status":"401","message":"Unauthorized 401: must authenticate"}"#;
const MISSING: &str = r#"{"type":"error","status":404,"code":"NotFound","message":"x"}"#;
const DATE: &str = "Tue, 01 Dec 2026 08:00:00 GMT";

fn collection(data: &Value, filters: &Value, next: Option<&str>) -> ResponseTemplate {
    let body = value!({"type": "collection", "data": data, "filters": filters, "sort": {}, "createTypes": {},
        "pagination": {"limit": 1000, "total": 9, "next": next}});
    json(200, &body.to_string())
}

fn equals(wanted: &str) -> Value {
    value!([{"modifier": "eq", "value": wanted}])
}

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
            assert_eq!(place(&rancher.client().cluster(&id()).await.unwrap_err()), "id");
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

async fn known(rancher: &Rancher, token: &str) -> TokenInfo {
    match rancher.client_with(static_token(token)).token_info().await.unwrap() {
        TokenReading::Known(info) => info,
        TokenReading::Unreadable(why) => panic!("{why:?}"),
    }
}

/// How a token is described: section, name, bearer, path, status, body, reading.
async fn unreadable(bearer: &'static str, at: &'static str, answer: ResponseTemplate, why: Unreadable) {
    let rancher = Rancher::with(at, answer).await;
    let reading = rancher.client_with(static_token(bearer)).token_info().await.unwrap();
    assert_eq!(reading, TokenReading::Unreadable(why));
}

/// Each bearer format reaches the server as it is.
fn bearer_cases() -> Vec<Case> {
    let bearers = [
        ("an API key", "token-7x2kp:bcdfgh24"),
        ("with a line break at its end, as files have it", "token-7x2kp:bcdfgh24\r\n"),
        ("of a kubeconfig", "kubeconfig-u-abc.c-m-xyz12:bcdf"),
        ("an extension token", "ext/token-9mm4z:bcdf"),
        ("a JSON web token", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln-_"),
    ];
    let send = |bearer: &'static str| async move {
        let rancher = Rancher::with(CLUSTER, json(200, r#"{"id":"c-x7k2p"}"#)).await;
        rancher.client_with(static_token(bearer)).cluster(&id()).await.unwrap();
        assert_eq!(rancher.authorizations(CLUSTER).await, [Some(format!("Bearer {}", bearer.trim()))]);
    };
    bearers.into_iter().map(|(name, bearer)| case("§1.1", format!("bearer: {name}"), send(bearer))).collect()
}

fn token_cases() -> Vec<Case> {
    const LEGACY: &str = "/v3/tokens/token-7x2kp";
    const STEVE: &str = "/v1/ext.cattle.io.tokens/token-9mm4z";
    const EXT: &str = "/apis/ext.cattle.io/v1/tokens/token-9mm4z";
    const TOKEN: &str = "token-7x2kp:hunter2hunter2";
    const EXT_TOKEN: &str = "ext/token-9mm4z:hunter2hunter2";
    let ext = |expires: &str| {
        let body = value!({"metadata": {"name": "token-9mm4z"},
            "spec": {"userID": "u-1", "enabled": true, "clusterName": "c-x7k2p", "ttl": 1},
            "status": {"expired": false, "expiresAt": expires, "hash": "$1:x"}});
        json(200, &body.to_string())
    };
    let (ext_soon, ext_again, ext_never) =
        (ext("2026-12-01T10:00:00Z"), ext("2026-12-01T10:00:00Z"), ext(""));
    vec![
        case("§1.3", "a legacy token's end, against Rancher's own clock", async {
            let body = r#"{"id":"token-7x2kp","name":"token-7x2kp","userId":"u-1","enabled":true,"expired":false,"ttl":7776000000,
                           "expiresAt":"2026-12-01T10:00:00Z","clusterId":"","userPrincipal":"map[loginName:x]","current":false}"#;
            let rancher = Rancher::with(LEGACY, json(200, body).insert_header("date", DATE)).await;
            let info = known(&rancher, TOKEN).await;
            assert_eq!((info.user_id.as_deref(), &info.scope), (Some("u-1"), &None));
            // This machine's clock is five minutes behind.
            let life = info.remaining("2026-12-01T07:55:00Z".parse().unwrap());
            assert_eq!(life, Remaining::For(Duration::from_secs(2 * 60 * 60)));
            assert!(!life.covers(Duration::from_secs(2 * 60 * 60)));
        }),
        case("§1.3", "a legacy token without an end", async {
            let body =
                r#"{"name":"token-7x2kp","expiresAt":"","clusterId":null,"enabled":null,"expired":null}"#;
            let info = known(&Rancher::with(LEGACY, json(200, body)).await, TOKEN).await;
            assert_eq!(info.remaining("2026-12-01T08:00:00Z".parse().unwrap()), Remaining::Unlimited);
        }),
        case("§1.3", "a token that was switched off, or has expired", async {
            for field in [r#""enabled":false"#, r#""expired":true"#] {
                let body = format!(r#"{{"name":"token-7x2kp",{field}}}"#);
                let info = known(&Rancher::with(LEGACY, json(200, &body)).await, TOKEN).await;
                assert_eq!(
                    info.remaining("2026-12-01T08:00:00Z".parse().unwrap()),
                    Remaining::Over,
                    "{field}"
                );
            }
        }),
        case("§1.2", "a legacy token that is limited to a cluster", async {
            let body = r#"{"name":"token-7x2kp","clusterId":"c-x7k2p"}"#;
            let info = known(&Rancher::with(LEGACY, json(200, body)).await, TOKEN).await;
            assert_eq!(info.scope, Some(id()));
        }),
        case("§1.4", "an extension token, through Steve", async {
            let info = known(&Rancher::with(STEVE, ext_soon).await, EXT_TOKEN).await;
            assert_eq!((info.name.as_str(), info.user_id.as_deref()), ("ext/token-9mm4z", Some("u-1")));
            assert_eq!(info.expires_at, Some("2026-12-01T10:00:00Z".parse().unwrap()));
            assert_eq!(info.scope, Some(id()));
        }),
        case("§1.4", "an extension token without an end", async {
            assert_eq!(known(&Rancher::with(STEVE, ext_never).await, EXT_TOKEN).await.expires_at, None);
        }),
        case("§1.4", "an extension token, where Steve does not know it", async {
            let rancher = Rancher::with(STEVE, json(404, MISSING)).await.and(EXT, ext_again).await;
            assert!(known(&rancher, EXT_TOKEN).await.expires_at.is_some());
        }),
        case("§1.4", "an extension token that is nowhere: the extension API's Status", async {
            let status =
                r#"{"kind":"Status","status":"Failure","reason":"NotFound","code":404,"message":"x"}"#;
            let rancher = Rancher::with(STEVE, json(404, MISSING)).await.and(EXT, json(404, status)).await;
            let reading = rancher.client_with(static_token(EXT_TOKEN)).token_info().await.unwrap();
            assert_eq!(reading, TokenReading::Unreadable(Unreadable::NotListed));
        }),
        case(
            "§1.4",
            "somebody else's token",
            unreadable(TOKEN, LEGACY, json(404, MISSING), Unreadable::NotListed),
        ),
        case(
            "§1.4",
            "tokens may not be read",
            unreadable(TOKEN, LEGACY, json(403, MISSING), Unreadable::Forbidden),
        ),
        case(
            "§1.2",
            "a scoped token cannot be read",
            unreadable(TOKEN, LEGACY, json(401, MUST), Unreadable::ScopedOrRejected),
        ),
        case("§1.4", "the description of another token, or of nothing", async {
            for body in [r#"{"name":"token-other"}"#, "{}", r#"{"type":"collection","data":[]}"#] {
                let rancher = Rancher::with(LEGACY, json(200, body)).await;
                assert_eq!(place(&rancher.client().token_info().await.unwrap_err()), "name", "{body}");
            }
        }),
        case("§1.3", "an end that cannot be read is not never", async {
            let rancher =
                Rancher::with(LEGACY, json(200, r#"{"name":"token-7x2kp","expiresAt":"soon"}"#)).await;
            assert_eq!(place(&rancher.client().token_info().await.unwrap_err()), "expiresAt");
        }),
        case("§1.2", "reach: a token that may list", async {
            let rancher = Rancher::with(LIST, collection(&value!([]), &value!({}), None)).await;
            assert_eq!(rancher.client().token_reach(&id()).await.unwrap(), TokenReach::Unlimited);
        }),
        case("§1.2", "reach: a scoped token, told by its cluster", async {
            for verdict in ["true", "false"] {
                let refused = json(401, MUST).insert_header("x-api-cattle-auth", verdict);
                let rancher =
                    Rancher::with(LIST, refused).await.and(CLUSTER, json(200, r#"{"id":"c-x7k2p"}"#)).await;
                assert_eq!(
                    rancher.client().token_reach(&id()).await.unwrap(),
                    TokenReach::OneCluster,
                    "{verdict}"
                );
            }
        }),
        case("§1.2", "reach: a token that is no good anywhere", async {
            let rancher = Rancher::with(LIST, json(401, MUST)).await.and(CLUSTER, json(401, MUST)).await;
            let error = rancher.client().token_reach(&id()).await.unwrap_err();
            assert!(matches!(error, Error::TokenRejected { perhaps_scoped: false, .. }), "{error:?}");
            assert!(error.to_string().ends_with("or limited to another cluster"), "{error}");
        }),
        case("§1.5", "a renewed token is picked up after a 401", async {
            let rancher = Rancher::start().await;
            let with = |bearer: &str| Mock::given(path(CLUSTER)).and(header("authorization", bearer));
            let refused = json(401, MUST).insert_header("x-api-cattle-auth", "false");
            rancher.mount(with("Bearer token-old:one").respond_with(refused)).await;
            rancher.mount(with("Bearer token-new:two").respond_with(json(200, r#"{"id":"c-x7k2p"}"#))).await;
            let client = rancher.client_with(Rotating::new(&["token-old:one", "token-new:two"]));
            client.cluster(&id()).await.unwrap();
            client.cluster(&id()).await.unwrap();
            assert_eq!(rancher.authorizations(CLUSTER).await.len(), 3);
        }),
    ]
}

/// What `/v3/users?me=true` answers, and whose id is believed.
async fn user(data: Value, filters: Value, expected: Result<&'static str, &'static str>) {
    let rancher = Rancher::with("/v3/users", collection(&data, &filters, None)).await;
    match (rancher.client().user().await, expected) {
        (Ok(user), Ok(id)) => assert_eq!(user.id, id),
        (Err(error), Err(at)) => assert_eq!(place(&error), at),
        (found, expected) => panic!("{found:?}, {expected:?} expected"),
    }
}

fn user_cases() -> Vec<Case> {
    let filtered = || value!({"me": equals("true")});
    let row =
        |name, data, filters, expected| case("§1.4", format!("user: {name}"), user(data, filters, expected));
    vec![
        row("me as a boolean", value!([{"id": "u-1", "me": true}]), filtered(), Ok("u-1")),
        row("me as a text", value!([{"id": "u-1", "me": "true"}]), filtered(), Ok("u-1")),
        row("me left out, and the filter applied", value!([{"id": "u-1"}]), filtered(), Ok("u-1")),
        row("me left out, and the filter ignored", value!([{"id": "u-1"}]), value!({}), Err("data")),
        row(
            "the filter ignored, and one marked",
            value!([{"id": "u-1", "me": false}, {"id": "u-2", "me": "true"}]),
            value!({}),
            Ok("u-2"),
        ),
        row(
            "two marked",
            value!([{"id": "u-1", "me": true}, {"id": "u-2", "me": true}]),
            filtered(),
            Err("data"),
        ),
        row("nobody", value!([]), filtered(), Err("data")),
        row("me false", value!([{"id": "u-1", "me": "false"}]), filtered(), Err("data")),
        case("§1.4", "user: all that is known", async {
            let rancher = Rancher::start().await;
            let data = value!([{"id": "u-1", "username": "admin", "name": null, "enabled": true, "me": true,
                "principalIds": ["local://u-1"]}]);
            let mock = Mock::given(path("/v3/users")).and(query_param("me", "true"));
            rancher.mount(mock.respond_with(collection(&data, &value!({"me": equals("true")}), None))).await;
            let user = rancher.client().user().await.unwrap();
            assert_eq!((user.username.as_str(), user.name.as_str(), user.enabled), ("admin", "", true));
            assert_eq!(user.principal_ids, ["local://u-1"]);
        }),
        case("§1.4", "user: the extension API, where the list is gone", async {
            let rancher = Rancher::with("/v3/users", json(404, MISSING)).await;
            let mock = Mock::given(method("POST"))
                .and(path("/v1/ext.cattle.io.selfusers"))
                .and(header("content-type", "application/json"))
                .and(body_string("{}"));
            rancher.mount(mock.respond_with(json(201, r#"{"status":{"userID":"u-9"}}"#))).await;
            assert_eq!(rancher.client().user_id().await.unwrap(), "u-9");
        }),
        case("§1.2", "user: a scoped token may not ask", async {
            let rancher = Rancher::with("/v3/users", json(401, MUST)).await;
            let error = rancher.client().user_id().await.unwrap_err();
            assert!(matches!(error, Error::TokenRejected { perhaps_scoped: true, .. }), "{error:?}");
        }),
    ]
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

fn proxy_cases() -> Vec<Case> {
    const EVICTION: &str = "/k8s/clusters/c-x7k2p/api/v1/namespaces/pay/pods/ledger-0/eviction";
    const OPERATOR: &str =
        "/k8s/clusters/local/apis/aks.cattle.io/v1/namespaces/cattle-global-data/aksclusterconfigs/c-x7k2p";
    vec![
        case("§3.1", "a request keeps its query, its body and its content type", async {
            let rancher = Rancher::start().await;
            let mock = Mock::given(method("POST"))
                .and(path(EVICTION))
                .and(query_param("dryRun", "All"))
                .and(header("content-type", "application/json"))
                .and(header("user-agent", rancher_client::USER_AGENT_TEXT))
                .and(body_string("{}"));
            rancher.mount(mock.respond_with(json(201, "{}"))).await;
            let uri = "http://ignored.invalid/api/v1/namespaces/pay/pods/ledger-0/eviction?dryRun=All";
            let request = http::Request::post(uri)
                .header("content-type", "application/json")
                .header("user-agent", "Mozilla/5.0")
                .header("authorization", "Bearer somebody:else");
            let proxy = rancher.client().proxy(&id());
            assert_eq!(proxy.send(request.body(b"{}".to_vec()).unwrap()).await.unwrap().status(), 201);
        }),
        case("§3.6", "1 MiB is sent, and one byte more is not", async {
            let rancher = Rancher::with(EVICTION, json(201, "{}")).await;
            let proxy = rancher.client().proxy(&id());
            let send = |size| {
                let request = http::Request::post("/api/v1/namespaces/pay/pods/ledger-0/eviction");
                proxy.send(request.body(vec![b' '; size]).unwrap())
            };
            send(1024 * 1024).await.unwrap();
            let error = send(1024 * 1024 + 1).await.unwrap_err();
            assert!(matches!(error, Error::RequestTooLarge { .. }) && error.outcome_known(), "{error:?}");
            assert_eq!(rancher.authorizations(EVICTION).await.len(), 1);
        }),
        case("§9 2.15", "a path that Rancher would clean, or that leaves the cluster, is not sent", async {
            let rancher = Rancher::start().await;
            let proxy = rancher.client().proxy(&id());
            for bad in
                ["/api//v1", "//api/v1", "/api/../../local/api", "/a%2F..%2fb", "/%2e%2e/local", "/a\\b"]
            {
                let request = http::Request::get(bad).body(Vec::new());
                let Ok(request) = request else { continue };
                let error = proxy.send(request).await.unwrap_err();
                assert!(matches!(error, Error::BadPath(_)) && error.outcome_known(), "{bad}: {error:?}");
            }
        }),
        case("§3.1", "a cluster warms up", async {
            let rancher = Rancher::start().await;
            let cold = text(500, "unable to create impersonator account: ClusterUnavailable 503: EOF");
            let mock = Mock::given(path(VERSION)).respond_with(cold).up_to_n_times(2).with_priority(1);
            mock.mount(&rancher.server).await;
            let rancher = rancher.and(VERSION, json(200, r#"{"gitVersion":"v1.34.2","major":"1"}"#)).await;
            let leaps = Leaps::default();
            let warm = rancher.client().proxy(&id()).warm_up(&leaps, Duration::from_secs(60)).await.unwrap();
            assert_eq!((warm.version.as_str(), warm.attempts), ("v1.34.2", 3));
            assert_eq!(*leaps.0.lock().unwrap(), [Duration::from_secs(2), Duration::from_secs(4)]);
        }),
        case("§3.1", "a cluster that stays cold is given up in time", async {
            let rancher = Rancher::with(VERSION, text(500, "error trying to reach service: EOF")).await;
            let leaps = Leaps::default();
            let error =
                rancher.client().proxy(&id()).warm_up(&leaps, Duration::from_secs(60)).await.unwrap_err();
            assert!(matches!(error, ProxyError::Failure(ProxyFailure::Rancher { .. })), "{error:?}");
            assert!(leaps.0.lock().unwrap().iter().sum::<Duration>() <= Duration::from_secs(60));
            assert_eq!(rancher.authorizations(VERSION).await.len(), 7, "2, 4, 8, 15, 15, 15 s");
        }),
        case("§3.1", "a denial is no cold cluster", async {
            let denied = text(403, "not allowed to impersonate user");
            let rancher = Rancher::with(VERSION, denied).await;
            let leaps = Leaps::default();
            let error =
                rancher.client().proxy(&id()).warm_up(&leaps, Duration::from_secs(60)).await.unwrap_err();
            assert!(matches!(error, ProxyError::Failure(ProxyFailure::Denied { .. })), "{error:?}");
            assert!(leaps.0.lock().unwrap().is_empty());
        }),
        case("§8", "unavailable in Rancher, and its version is read all the same", async {
            let rancher = Rancher::with(VERSION, json(200, r#"{"gitVersion":"v1.34.2"}"#)).await;
            assert_eq!(rancher.client().proxy(&id()).version().await.unwrap().as_str(), "v1.34.2");
        }),
        case("§8", "a version that is none", async {
            for body in ["{}", "<html>", r#"{"gitVersion":null}"#] {
                let rancher = Rancher::with(VERSION, json(200, body)).await;
                let error = rancher.client().proxy(&id()).version().await.unwrap_err();
                assert!(matches!(error, ProxyError::Request(Error::UnexpectedBody { .. })), "{error:?}");
            }
        }),
        case("§3.3", "a watch is followed to its end", async {
            let at = "/k8s/clusters/c-x7k2p/api/v1/pods";
            let rancher = Rancher::with(at, text(200, "{\"type\":\"BOOKMARK\"}\n")).await;
            let request = http::Request::get("/api/v1/pods?watch=1").body(Vec::new()).unwrap();
            let response = rancher.client().proxy(&id()).send(request).await.unwrap();
            let never = Arc::new(Leaps::default());
            let body = idle_deadline(response, Duration::from_secs(300), never);
            let pieces: Vec<_> = body.map(|piece| piece.unwrap()).collect().await;
            assert_eq!(pieces.concat(), b"{\"type\":\"BOOKMARK\"}\n");
        }),
        case("§7.1", "the operator's state, from Rancher's own cluster", async {
            let body = r#"{"metadata":{"name":"c-x7k2p"},"status":{"phase":"updating","failureMessage":"Downgrading\nis not allowed"}}"#;
            let rancher = Rancher::with(OPERATOR, json(200, body)).await;
            let state = rancher.client().operator_state(&id()).await.unwrap();
            assert_eq!(state.phase, "updating");
            assert_eq!(state.failure.as_deref(), Some("Downgrading is not allowed"));
        }),
        case("§7.1", "the operator's state is closed to most users, and never another cluster's", async {
            let forbidden = r#"{"kind":"Status","code":403,"reason":"Forbidden","message":"x"}"#;
            let rancher = Rancher::with(OPERATOR, json(403, forbidden)).await;
            let error = rancher.client().operator_state(&id()).await.unwrap_err();
            assert!(matches!(error, ProxyError::Failure(ProxyFailure::Kubernetes(_))), "{error:?}");
            let rancher = Rancher::with(OPERATOR, json(200, r#"{"metadata":{"name":"c-other"}}"#)).await;
            let error = rancher.client().operator_state(&id()).await.unwrap_err();
            assert!(matches!(error, ProxyError::Request(Error::UnexpectedBody { .. })), "{error:?}");
        }),
    ]
}

/// A watch whose connection is open and silent.
async fn silent_watch() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        // Open until the client hangs up.
        let _ = socket.read(&mut request).await;
    });
    let request = http::Request::get("/api/v1/pods?watch=1").body(Vec::new()).unwrap();
    let response = crate::support::client_of(&url).proxy(&id()).send(request).await.unwrap();
    let body = idle_deadline(response, Duration::from_secs(90), Arc::new(Leaps::default()));
    let pieces: Vec<_> = body.collect().await;
    assert!(matches!(pieces.last(), Some(Err(BodyError::Idle { .. }))), "{pieces:?}");
    let error = pieces.last().unwrap().as_ref().unwrap_err();
    assert!(error.outcome_known() && error.is_retryable());
    server.await.unwrap();
}

fn managed(pools: &[&str]) -> ResponseTemplate {
    let pools: Vec<Value> = pools
        .iter()
        .map(|name| value!({"name": name, "mode": "User", "count": 3, "orchestratorVersion": "1.34.2"}))
        .collect();
    let config = value!({"kubernetesVersion": "1.34.2", "nodePools": pools});
    // A minute before Rancher's own clock; this machine's is of no account.
    let refreshed = "2026-12-01T07:59:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
    let body = value!({
        "id": "c-x7k2p", "driver": "AKS", "provider": "aks", "state": "active", "transitioning": "no",
        "conditions": [{"type": "Provisioned", "status": "True"}, {"type": "Updated", "status": "True"}],
        "aksConfig": config, "appliedSpec": {"aksConfig": config}, "aksStatus": {"upstreamSpec": config},
        "annotations": {"clusters.management.cattle.io/ke-last-refresh": refreshed.to_string()},
    });
    json(200, &body.to_string()).insert_header("date", DATE)
}

fn with_buffer() -> LockStep {
    let pool = |name: &str| PoolView {
        name: name.into(),
        version: Some("1.34.2".into()),
        count: Some(3),
        autoscaling: None,
        mode: "User".into(),
    };
    let pools = vec![pool("user"), pool("buffer")];
    // A clock that is years off.
    LockStep::new(AzureState { version: Some("1.34.2".into()), pools }, jiff::Timestamp::UNIX_EPOCH)
}

fn lock_step_cases() -> Vec<Case> {
    vec![
        case("§7.4", "lock-step: a new pool is adopted after a refresh, a bad gateway in between", async {
            let rancher = Rancher::start().await;
            let once = |answer, priority| {
                Mock::given(path(CLUSTER)).respond_with(answer).up_to_n_times(1).with_priority(priority)
            };
            once(managed(&["user"]), 1).mount(&rancher.server).await;
            once(html(502, "<h1>502</h1>"), 2).mount(&rancher.server).await;
            let rancher = rancher.and(CLUSTER, managed(&["user", "buffer"])).await;
            let (mut lines, leaps) = (Vec::new(), Leaps::default());
            let reader = rancher.client().reader(&id());
            let adopted = with_buffer().wait(&reader, &leaps, |p| lines.push(p.to_string())).await.unwrap();
            assert!(matches!(adopted.ownership, Ownership::Managed(_)));
            assert_eq!((adopted.waited, lines.len()), (Duration::from_secs(30), 2));
            assert!(lines[1].contains("HTTP 502"), "{lines:?}");
        }),
        case(
            "§7.4",
            "lock-step: a pool that Rancher keeps wanting otherwise is reported in the end",
            async {
                let rancher = Rancher::with(CLUSTER, managed(&["user"])).await;
                let reader = rancher.client().reader(&id());
                let step = with_buffer().refresh(Duration::from_secs(30));
                let error = step.wait(&reader, &Leaps::default(), |_| {}).await.unwrap_err();
                assert!(
                    error.to_string().ends_with("which Rancher does not want; it would delete it"),
                    "{error}"
                );
                assert_eq!(rancher.authorizations(CLUSTER).await.len(), 13, "180 s, every 15 s");
            },
        ),
        case("§7.4", "lock-step: a token that is no good any more ends the wait", async {
            let rancher = Rancher::with(CLUSTER, json(401, MUST)).await;
            let reader = rancher.client().reader(&id());
            let error = with_buffer().wait(&reader, &Leaps::default(), |_| {}).await.unwrap_err();
            assert!(!error.is_retryable(), "{error:?}");
            assert_eq!(rancher.authorizations(CLUSTER).await.len(), 1);
        }),
        case("§7.3", "lock-step: a generic import adopts nothing", async {
            let rancher = Rancher::with(CLUSTER, json(200, r#"{"id":"c-x7k2p","driver":"imported"}"#)).await;
            let reader = rancher.client().reader(&id());
            let adopted = with_buffer().wait(&reader, &Leaps::default(), |_| {}).await.unwrap();
            assert_eq!(adopted.ownership, Ownership::Generic);
        }),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = cluster_cases();
    cases.extend(bearer_cases());
    cases.extend(token_cases());
    cases.extend(user_cases());
    cases.extend(settings_cases());
    cases.extend(project_cases());
    cases.extend(proxy_cases());
    cases.push(case("§3.3", "a watch that is silent on an open connection", silent_watch()));
    cases.extend(lock_step_cases());
    cases
}

//! Tokens and the user they stand for.

use std::time::Duration;

use rancher_client::{Error, Remaining, TokenInfo, TokenReach, TokenReading, Unreadable};
use serde_json::{Value, json as value};
use wiremock::matchers::{body_string, header, method, path, query_param};
use wiremock::{Mock, ResponseTemplate};

use crate::support::{
    CLUSTER, Case, DATE, LIST, MISSING, MUST, Rancher, Rotating, case, collection, equals, id, json, place,
    static_token,
};

async fn known(rancher: &Rancher, token: &str) -> TokenInfo {
    match rancher.client_with(static_token(token)).token_info().await.unwrap() {
        TokenReading::Known(info) => info,
        TokenReading::Unreadable(why) => panic!("{why:?}"),
    }
}

/// A token that is not described, and why.
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

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = bearer_cases();
    cases.extend(token_cases());
    cases.extend(user_cases());
    cases
}

use std::path::Path;

use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::config::Config;

/// The answer of the one probe that is configured so.
async fn asked(probe: &str) -> ProbeAnswer {
    let probes = configured(probe);
    probes.ask(&ProbeName::new("p").unwrap()).await.unwrap()
}

fn configured(probe: &str) -> Probes {
    let text = format!(
        r#"
[environments.e]
rancher = {{ url = "http://127.0.0.1:1", token = {{ env = "X" }} }}
azure = {{ subscription = "00000000-0000-0000-0000-000000000001", credential = {{ kind = "token", env = "X" }} }}
[clusters]
c = {{ environment = "e", rancher_id = "c-abcde", resource_group = "rg" }}
[policy]
probes = [{{ name = "p", {probe} }}]
"#
    );
    let config = Config::parse(Path::new("drover.toml"), &text).unwrap();
    Probes::new(&config.clusters["c"].probes).unwrap()
}

async fn sh(script: &str) -> String {
    asked(&format!("timeout = \"2s\", command = [\"sh\", \"-c\", {script:?}]")).await.to_string()
}

#[tokio::test]
async fn a_program_is_green_if_it_ends_well_and_else_its_last_words_are_told() {
    assert_eq!(sh("echo 12 orders").await, "green: 12 orders");
    assert_eq!(sh("true").await, "green: it ended well");
    assert_eq!(
        sh("echo fine; echo cart: 500 >&2; exit 3").await,
        "red: it failed (exit status: 3): cart: 500"
    );
    assert_eq!(sh("kill -9 $$").await, "red: it failed (signal: 9 (SIGKILL))");
    let missing = asked("command = [\"/nowhere/smoke.sh\"]").await.to_string();
    assert!(missing.starts_with("not known: `/nowhere/smoke.sh` cannot be run: "), "{missing}");
}

#[tokio::test]
async fn a_program_has_its_time_and_talks_as_much_as_it_likes_in_one_clean_short_line() {
    let late = asked("timeout = \"1s\", command = [\"sh\", \"-c\", \"exec sleep 60\"]").await;
    assert_eq!(late.to_string(), "red: it gave no answer within 1s");
    let much = sh("yes hello | head -c 3000000; printf '\\n\\033[2Jlast'").await;
    assert_eq!(much, "green: [2Jlast");
    let long = sh("printf 'x%.0s' $(seq 2000)").await;
    assert_eq!(long.len(), "green: ".len() + MOST_WORDS + 3);
}

#[tokio::test]
async fn a_page_is_judged_by_its_status_and_asked_with_its_token() {
    let server = MockServer::start().await;
    let health = Mock::given(method("GET")).and(path("/health")).and(header("authorization", "Bearer t0p"));
    health.respond_with(ResponseTemplate::new(204)).mount(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "t0p\n").unwrap();
    let (uri, token) = (server.uri(), token.display());
    let with_token = format!("http = \"{uri}/health\", status = 204, token = {{ file = \"{token}\" }}");
    assert_eq!(asked(&with_token).await.to_string(), "green: status 204");
    let down =
        Mock::given(path("/down")).respond_with(ResponseTemplate::new(503).set_body_string("no\nbackend"));
    down.mount(&server).await;
    let red = asked(&format!("http = \"{uri}/down\"")).await.to_string();
    assert_eq!(red, "red: status 503 instead of 200: no backend");
    let moved = Mock::given(path("/moved"))
        .respond_with(ResponseTemplate::new(302).insert_header("location", "/health"));
    moved.mount(&server).await;
    let red = asked(&format!("http = \"{uri}/moved\"")).await.to_string();
    assert_eq!(red, "red: status 302 instead of 200", "nobody is sent elsewhere with the token");
    let refused = asked("http = \"http://127.0.0.1:1/?key=hunter2\"").await.to_string();
    assert!(refused.starts_with("red: ") && !refused.contains("hunter2"), "{refused}");
}

#[tokio::test]
async fn a_token_that_is_not_there_is_told_before_anything_is_asked_and_is_no_pass_later() {
    let probes = configured("http = \"http://127.0.0.1:1\", token = { env = \"AKS_DROVER_TEST_NOT_SET\" }");
    let error = probes.check_tokens().await.unwrap_err().to_string();
    assert!(
        error.contains("policy.probes[0].token: the variable `AKS_DROVER_TEST_NOT_SET` is not set"),
        "{error}"
    );
    let answer = probes.ask(&ProbeName::new("p").unwrap()).await.unwrap();
    assert_eq!(answer.to_string(), "not known: the variable `AKS_DROVER_TEST_NOT_SET` is not set");
    assert_eq!(probes.ask(&ProbeName::new("other").unwrap()).await, None);
}

/// What a Prometheus says, and what that means.
async fn queried(status: u16, answer: &str, bound: &str) -> String {
    let server = MockServer::start().await;
    let query = Mock::given(path("/prom/api/v1/query")).and(query_param("query", "rate(x[5m])"));
    query
        .respond_with(ResponseTemplate::new(status).set_body_raw(answer, "application/json"))
        .mount(&server)
        .await;
    asked(&format!("prometheus = \"{}/prom/\", query = \"rate(x[5m])\", {bound}", server.uri()))
        .await
        .to_string()
}

#[tokio::test]
async fn every_value_of_a_query_must_be_within_its_bounds_and_none_is_no_pass() {
    let vector = |samples: &str| {
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{samples}]}}}}"#)
    };
    let sample =
        |pod: &str, value: &str| format!(r#"{{"metric":{{"pod":"{pod}"}},"value":[17.5,"{value}"]}}"#);
    let one = vector(&sample("a", "0.003"));
    assert_eq!(queried(200, &one, "at_most = 0.01").await, "green: 0.003 (pod=a)");
    let two = vector(&[sample("a", "0.003"), sample("b", "+Inf")].join(","));
    assert_eq!(queried(200, &two, "at_most = 0.01").await, "red: +Inf (pod=b), at most 0.01 is wanted");
    assert_eq!(queried(200, &two, "at_least = 0").await, "green: 2 values, at least 0 is wanted");
    let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[17,"1"]},"warnings":["w"]}"#;
    assert_eq!(queried(200, scalar, "at_least = 2").await, "red: 1, at least 2 is wanted");
    for (status, answer, words) in [
        (200, vector(""), "the query has no result"),
        (200, vector(&sample("a", "NaN")), "NaN (pod=a) is no number"),
        (
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#.to_owned(),
            "the query gives a matrix; it must give a vector or a scalar",
        ),
        (
            400,
            r#"{"status":"error","errorType":"bad_data","error":"parse error: unclosed"}"#.to_owned(),
            "it refuses the query: parse error: unclosed",
        ),
        (502, "<html>".to_owned(), "status 502 Bad Gateway, and not the answer of a Prometheus"),
    ] {
        assert_eq!(queried(status, &answer, "at_most = 1").await, format!("not known: {words}"));
    }
}

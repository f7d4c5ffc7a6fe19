//! What is not an answer, to a read and to a write: pages of proxies, halves of documents, redirects, endless bodies.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions marked as tests")]

use std::sync::Arc;

use aks_client::{AksClient, ApiVersion, Endpoint, RemainingRequests};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wiremock::ResponseTemplate;

use crate::support::{Arm, Tokens, answer, cluster, cluster_path, describe, http, id, ok, pool_path};

pub(crate) struct Nonsense {
    /// The section of the facts it pins.
    pub(crate) pins: &'static str,
    answer: fn() -> ResponseTemplate,
    /// What the caller of a read is told, and of a write.
    read: &'static str,
    write: &'static str,
}

fn raw(status: u16, body: &str, kind: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body, kind)
}

const UNEXPECTED: &str = "unexpected, final, known";
const UNKNOWN: &str = "unexpected, final, unknown";
const TAKEN: &str = "taken";

pub(crate) fn all() -> Vec<Nonsense> {
    vec![
        Nonsense {
            pins: "§2.3 HTML from a proxy",
            answer: || raw(200, "<html>sign in</html>", "text/html"),
            read: UNEXPECTED,
            write: UNKNOWN,
        },
        Nonsense {
            pins: "§2.3 HTML that says it is JSON",
            answer: || raw(200, "<html></html>", "application/json"),
            read: UNEXPECTED,
            write: UNKNOWN,
        },
        Nonsense {
            pins: "§1.2 truncated JSON",
            answer: || raw(200, "{\"id\": \"/subs", "application/json"),
            read: UNEXPECTED,
            write: UNKNOWN,
        },
        Nonsense {
            pins: "§1.2 two documents",
            answer: || raw(200, "{} {}", "application/json"),
            read: UNEXPECTED,
            write: UNKNOWN,
        },
        Nonsense {
            pins: "§1.2 nothing at all",
            answer: || ResponseTemplate::new(200),
            read: UNEXPECTED,
            write: UNKNOWN,
        },
        Nonsense {
            pins: "§1.2 204 where a resource belongs",
            answer: || ResponseTemplate::new(204),
            read: UNEXPECTED,
            write: UNKNOWN,
        },
        Nonsense {
            pins: "§1.2 JSON that is text",
            answer: || raw(200, "\"ok\"", "application/json"),
            read: UNEXPECTED,
            write: UNKNOWN,
        },
        Nonsense {
            pins: "§1.2 JSON that is a list",
            answer: || raw(200, "[]", "application/json"),
            read: UNEXPECTED,
            write: UNKNOWN,
        },
        Nonsense {
            pins: "§1.2 not UTF-8",
            answer: || ResponseTemplate::new(200).set_body_raw(vec![b'"', 0xff, b'"'], "application/json"),
            read: UNEXPECTED,
            write: UNKNOWN,
        },
        Nonsense {
            pins: "§1.2 JSON of bottomless depth",
            answer: || raw(200, &"[".repeat(100_000), "application/json"),
            read: UNEXPECTED,
            write: UNKNOWN,
        },
        Nonsense {
            pins: "§1.2 body over the limit",
            answer: || ResponseTemplate::new(200).set_body_bytes(vec![b' '; 8 * 1024 * 1024 + 1]),
            read: "too large, final, known",
            write: "too large, final, unknown",
        },
        Nonsense {
            pins: "§1.2 redirect",
            answer: || ResponseTemplate::new(302).insert_header("Location", "https://login.example.com/x"),
            read: "redirected, final, known",
            write: "redirected, final, unknown",
        },
        Nonsense {
            pins: "§1.2 redirect that keeps the method",
            answer: || ResponseTemplate::new(307).insert_header("Location", "/elsewhere"),
            read: "redirected, final, known",
            write: "redirected, final, unknown",
        },
        Nonsense {
            pins: "§1.2 redirect to nowhere",
            answer: || ResponseTemplate::new(301),
            read: "redirected, final, known",
            write: "redirected, final, unknown",
        },
        Nonsense {
            pins: "§1.2 JSON under another Content-Type",
            answer: || raw(200, &cluster("Succeeded", "1.34.6").to_string(), "text/plain"),
            read: TAKEN,
            write: TAKEN,
        },
        Nonsense {
            pins: "§2.3 a proxy's page on 403",
            answer: || raw(403, "<html>blocked</html>", "text/html"),
            read: "forbidden, final, known",
            write: "forbidden, final, known",
        },
        Nonsense {
            pins: "§2.3 a proxy's page on 407",
            answer: || raw(407, "<html>sign in</html>", "text/html"),
            read: "api, final, known",
            write: "api, final, known",
        },
    ]
}

fn told<T>(result: &Result<T, aks_client::Error>) -> String {
    result.as_ref().map_or_else(describe, |_| TAKEN.to_owned())
}

#[tokio::test]
async fn nonsense_is_never_an_answer_and_a_write_that_met_it_is_open() {
    for case in all() {
        let arm = Arm::start().await;
        arm.once("GET", &cluster_path(), (case.answer)()).await;
        arm.once("PUT", &pool_path("p"), (case.answer)()).await;
        assert_eq!(told(&arm.client.cluster(&id()).await), case.read, "{} to a read", case.pins);
        let written = arm.client.begin_create_pool(&id(), "p", &json!({})).await;
        assert_eq!(told(&written), case.write, "{} to a write", case.pins);
    }
}

/// A server that answers every connection with these bytes, and closes it.
async fn bytes(bytes: &'static [u8]) -> (Endpoint, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 8_192]).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    (endpoint, serving)
}

#[tokio::test]
async fn an_answer_torn_in_its_middle_is_no_answer() {
    let table: [(&str, &[u8]); 3] = [
        ("§1.2 fewer bytes than announced", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"id\":"),
        ("§1.2 a chunk cut short", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{\"id\":"),
        ("§1.2 not HTTP", b"SSH-2.0-OpenSSH_9.6\r\n"),
    ];
    for (pins, answer) in table {
        let arm = Arm::start().await;
        let (endpoint, serving) = bytes(answer).await;
        let client = AksClient::new(
            http(reqwest::redirect::Policy::none()),
            endpoint,
            ApiVersion::default(),
            arm.tokens.clone(),
        )
        .with_pause(arm.waits.clone());
        assert_eq!(told(&client.cluster(&id()).await), "unreachable, retry, known", "{pins}");
        assert_eq!(arm.waited(), [1, 2, 4, 8], "{pins}");
        let written = client.begin_create_pool(&id(), "p", &json!({})).await;
        assert_eq!(told(&written), "unreachable, retry, unknown", "{pins}");
        serving.abort();
    }
}

#[tokio::test]
async fn a_door_that_does_not_prove_itself_is_not_spoken_through() {
    // Something that answers a TLS greeting with plain HTTP: a proxy, or somebody in between.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let listening = heard.clone();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 8_192];
            let read = stream.read(&mut bytes).await.unwrap_or(0);
            listening.lock().unwrap().extend_from_slice(&bytes[..read]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
        }
    });
    let arm = Arm::start().await;
    let http = http(reqwest::redirect::Policy::none());
    let client = AksClient::new(http, endpoint, ApiVersion::default(), arm.tokens.clone());
    let written = client.begin_create_pool(&id(), "p", &json!({})).await;
    assert_eq!(told(&written), "unreachable, retry, known", "§1.2 nothing was sent");
    let heard = heard.lock().unwrap().clone();
    assert!(!heard.is_empty() && !heard.windows(3).any(|bytes| bytes == b"tok"), "§8.2 the token was sent");
    serving.abort();
}

#[tokio::test]
async fn reads_keep_the_pace_of_the_service_and_clones_keep_it_together() {
    let arm = Arm::start().await;
    // A server whose time stands still: nothing flows back into the bucket but what this client waits.
    let still = || ok(&cluster("Succeeded", "1.34.6")).insert_header("Date", "Tue, 24 Nov 2026 08:00:00 GMT");
    arm.times(62, "GET", &cluster_path(), still()).await;
    let clone = arm.client.clone();
    for _ in 0..30 {
        arm.client.cluster(&id()).await.unwrap();
        clone.cluster(&id()).await.unwrap();
    }
    assert!(arm.waited().is_empty(), "§2.5 sixty in a burst");
    arm.client.cluster(&id()).await.unwrap();
    clone.cluster(&id()).await.unwrap();
    assert_eq!(arm.waited(), [1, 1], "§2.5 then one a second");
}

#[tokio::test]
async fn a_refused_reader_holds_the_others_of_its_bucket_back() {
    let arm = Arm::start().await;
    let date = "Tue, 24 Nov 2026 08:00:00 GMT";
    let busy = answer(429, &json!({"code": "Throttled"}))
        .insert_header("Retry-After", "3600")
        .insert_header("Date", date);
    arm.once("GET", &pool_path("a"), busy).await;
    assert_eq!(told(&arm.client.pool(&id(), "a").await), "throttled, retry, known");
    assert!(arm.waited().is_empty(), "§2.5 an hour is the caller's to wait");

    let busy = answer(429, &json!({"code": "Throttled"}))
        .insert_header("Retry-After", "9")
        .insert_header("Date", date);
    let there = answer(404, &json!({})).insert_header("Date", date);
    arm.once("GET", &pool_path("b"), busy).await;
    arm.once("GET", &pool_path("b"), there.clone()).await;
    arm.once("GET", &pool_path("c"), there).await;
    assert_eq!(arm.client.pool(&id(), "b").await.unwrap(), None);
    assert_eq!(arm.client.clone().pool(&id(), "c").await.unwrap(), None);
    assert_eq!(arm.waited(), [9], "§2.5 who has waited waits no second time, nor does the next");
}

#[tokio::test]
async fn what_arm_says_is_left_is_told_and_slows_who_has_little() {
    let arm = Arm::start().await;
    assert_eq!(arm.client.remaining_requests(), RemainingRequests::default());
    let low = ok(&cluster("Succeeded", "1.34.6"))
        .insert_header("x-ms-ratelimit-remaining-subscription-reads", "3")
        .insert_header("x-ms-ratelimit-remaining-subscription-deletes", "199");
    arm.times(2, "GET", &cluster_path(), low).await;
    let clone = arm.client.clone();
    arm.client.cluster(&id()).await.unwrap();
    let left = RemainingRequests { reads: Some(3), writes: None, deletes: Some(199) };
    assert_eq!(clone.remaining_requests(), left, "§2.5");
    clone.cluster(&id()).await.unwrap();
    assert_eq!(arm.waited(), [1], "§2.5");
}

#[tokio::test]
async fn retry_after_as_a_date_is_measured_by_the_servers_clock() {
    // A clock that is five minutes ahead of ours, one five minutes behind, one that tells no time.
    for (date, asked, waited) in [
        (Some("Tue, 24 Nov 2026 08:05:00 GMT"), "Tue, 24 Nov 2026 08:05:08 GMT", 8),
        (Some("Tue, 24 Nov 2026 07:55:00 GMT"), "Tue, 24 Nov 2026 07:55:08 GMT", 8),
        (Some("Tue, 24 Nov 2026 08:05:00 GMT"), "Tue, 24 Nov 2026 08:00:00 GMT", 0),
        // wiremock's own Date is that of today: the date asked for is long past.
        (None, "Tue, 24 Nov 1998 08:00:00 GMT", 0),
    ] {
        let arm = Arm::start().await;
        let mut busy = answer(503, &json!({})).insert_header("Retry-After", asked);
        if let Some(date) = date {
            busy = busy.insert_header("Date", date);
        }
        arm.once("GET", &cluster_path(), busy).await;
        arm.once("GET", &cluster_path(), ok(&cluster("Succeeded", "1.34.6"))).await;
        arm.client.cluster(&id()).await.unwrap();
        assert_eq!(arm.waited(), [waited], "§2.1 {date:?} {asked}");
    }
}

#[tokio::test]
async fn the_api_version_asked_for_is_the_one_sent_and_old_ones_are_refused() {
    for (version, taken) in [
        ("2026-08-01", true),
        ("2025-10-01", true),
        ("2026-08-02-preview", true),
        ("2025-09-01", false),
        ("latest", false),
    ] {
        let parsed = version.parse::<ApiVersion>();
        assert_eq!(parsed.is_ok(), taken, "§1.1 {version}");
        let Ok(parsed) = parsed else { continue };
        let arm = Arm::start().await;
        let tokens = Arc::new(Tokens::default());
        let endpoint = arm.server.uri().parse().unwrap();
        let client = AksClient::new(http(reqwest::redirect::Policy::none()), endpoint, parsed, tokens);
        arm.version(version, "GET", &cluster_path(), ok(&cluster("Succeeded", "1.34.6"))).await;
        assert!(client.cluster(&id()).await.is_ok(), "§1.1 {version}");
    }
}

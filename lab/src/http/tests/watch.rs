//! Watches.

use futures::StreamExt;

use super::*;

/// Reads the lines of a watch as they come.
pub(super) struct Lines {
    stream: axum::body::BodyDataStream,
    rest: String,
}

impl Lines {
    pub(super) async fn of(bench: &Bench, path: &str) -> Self {
        let bearer = format!("Bearer {RANCHER}");
        let response = bench.open("GET", &format!("{K8S}{path}"), &[("authorization", &bearer)], "").await;
        assert_eq!(response.status().as_u16(), 200);
        Self { stream: response.into_body().into_data_stream(), rest: String::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.rest.split_once('\n') {
                let value = serde_json::from_str(line).unwrap();
                self.rest = rest.to_owned();
                return Some(value);
            }
            let chunk = self.stream.next().await?.unwrap();
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    pub(super) async fn kinds(&mut self, count: usize) -> Vec<(String, String)> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            let event = self.next().await.unwrap();
            kinds.push((event["type"].as_str().unwrap().to_owned(), name_of(&event["object"]).to_owned()));
        }
        kinds
    }
}

fn events(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect()
}

#[tokio::test]
async fn a_watch_goes_on_where_the_list_ended_and_tells_every_change_in_order() {
    let bench = Bench::new();
    let all = "/api/v1/namespaces/default/configmaps";
    bench.kube("POST", all, &config_map("a")).await;
    let list = bench.get(all).await;
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = Lines::of(&bench, &format!("{all}?watch=1&resourceVersion={from}")).await;
    bench.kube("POST", all, &config_map("b")).await;
    bench.kube("POST", "/api/v1/namespaces/kube-system/configmaps", &config_map("elsewhere")).await;
    bench
        .kube_typed(
            "PATCH",
            &format!("{all}/a"),
            "application/merge-patch+json",
            &json!({ "data": { "a": "2" } }),
        )
        .await;
    bench.kube("DELETE", &format!("{all}/b"), &Value::Null).await;
    assert_eq!(watch.kinds(3).await, events(&[("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]));
    // A second one resumes from the middle.
    let mut state = Lines::of(&bench, &format!("{all}?watch=true")).await;
    let seen = state.next().await.unwrap();
    assert_eq!((seen["type"].as_str(), name_of(&seen["object"])), (Some("ADDED"), "a"));
    let resumed = seen["object"]["metadata"]["resourceVersion"].as_str().unwrap();
    let mut later = Lines::of(&bench, &format!("{all}?watch=1&resourceVersion={resumed}")).await;
    assert_eq!(later.kinds(1).await, events(&[("DELETED", "b")]));
    bench.closing.send(true).unwrap();
    assert_eq!(later.next().await, None, "the server closes");
}

#[tokio::test]
async fn an_object_enters_and_leaves_a_selection() {
    let bench = Bench::new();
    let all = "/api/v1/namespaces/default/configmaps";
    bench.kube("POST", all, &config_map("a")).await;
    let mut watch =
        Lines::of(&bench, &format!("{all}?watch=1&resourceVersion=1&labelSelector=on%3Dyes")).await;
    let merge = "application/merge-patch+json";
    for label in [json!("yes"), json!("yes"), json!("no")] {
        let patch = json!({ "metadata": { "labels": { "on": label } }, "data": { "x": label, "y": bench.lab.now().to_string() } });
        bench.kube_typed("PATCH", &format!("{all}/a"), merge, &patch).await;
        bench.pass(1);
    }
    assert_eq!(watch.kinds(3).await, events(&[("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]));
}

#[tokio::test]
async fn a_watch_that_comes_too_late_is_told_so_and_ends() {
    let bench = Bench::new();
    let all = "/api/v1/namespaces/default/configmaps";
    bench.kube("POST", all, &config_map("a")).await;
    forget(&bench);
    let mut watch = Lines::of(&bench, &format!("{all}?watch=1&resourceVersion=1")).await;
    let event = watch.next().await.unwrap();
    assert_eq!((event["type"].as_str(), &event["object"]["code"]), (Some("ERROR"), &json!(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_sends_bookmarks_and_ends_in_time() {
    let bench = Bench::new();
    let path = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=5&allowWatchBookmarks=true&timeoutSeconds=90";
    let mut watch = Lines::of(&bench, path).await;
    let begin = tokio::time::Instant::now();
    let mut kinds = Vec::new();
    while let Some(event) = watch.next().await {
        assert!(
            event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() >= 5
        );
        kinds.push((event["type"].as_str().unwrap().to_owned(), begin.elapsed().as_secs()));
    }
    assert_eq!(kinds, [("BOOKMARK".to_owned(), 60), ("BOOKMARK".to_owned(), 90)]);
}

#[tokio::test]
async fn a_streamed_list_ends_in_its_bookmark() {
    let bench = Bench::new();
    let mut watch = Lines::of(&bench, "/api/v1/nodes?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true").await;
    for _ in 0..9 {
        assert_eq!(watch.next().await.unwrap()["type"], "ADDED");
    }
    let end = watch.next().await.unwrap();
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_watch_for_people_tells_its_columns_once() {
    let bench = Bench::new();
    let bearer = format!("Bearer {RANCHER}");
    let headers =
        [("authorization", bearer.as_str()), ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let response = bench.open("GET", &format!("{K8S}/api/v1/nodes?watch=1"), &headers, "").await;
    let mut watch = Lines { stream: response.into_body().into_data_stream(), rest: String::new() };
    let (first, second) = (watch.next().await.unwrap(), watch.next().await.unwrap());
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert!(
        first["object"]["columnDefinitions"].is_array() && second["object"]["columnDefinitions"].is_null()
    );
    assert!(second["object"]["metadata"]["resourceVersion"].is_string());
}

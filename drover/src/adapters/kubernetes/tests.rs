//! Against a Rancher made of prepared answers.

mod changes;
mod leases;
mod pages;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rancher_client::{BearerToken, RancherClient, RancherClusterId, RancherUrl, StaticToken};
use serde_json::{Value, json};
use upgrade_core::access::Verb;
use upgrade_core::model::{PullAccess, WorkloadKind};
use upgrade_core::view::View;
use wiremock::matchers::{any, method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::*;

const BASE: &str = "/k8s/clusters/c-abcde";

fn kubernetes(server: &MockServer) -> HttpKubernetes {
    HttpKubernetes::new(proxy(server))
}

fn proxy(server: &MockServer) -> KubernetesProxy {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let token = StaticToken::new(BearerToken::parse("token-x:hunter2").unwrap());
    let rancher = RancherClient::new(http, RancherUrl::parse(&server.uri()).unwrap(), Arc::new(token));
    rancher.proxy(&RancherClusterId::parse("c-abcde").unwrap())
}

fn at(below: &str) -> String {
    format!("{BASE}{below}")
}

fn list(version: &str, items: &[Value]) -> ResponseTemplate {
    ResponseTemplate::new(200)
        .set_body_json(json!({"metadata": {"resourceVersion": version}, "items": items}))
}

fn status(code: u16, body: &Value) -> ResponseTemplate {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code});
    status.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    ResponseTemplate::new(code).set_body_json(status)
}

fn pod_named(name: &str, version: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop", "uid": format!("{name}-uid"), "resourceVersion": version}})
}

/// Answers in order; the last one again and again.
struct InOrder {
    answers: Vec<ResponseTemplate>,
    next: AtomicUsize,
}

impl InOrder {
    fn of(answers: impl Into<Vec<ResponseTemplate>>) -> Self {
        Self { answers: answers.into(), next: AtomicUsize::new(0) }
    }
}

impl Respond for InOrder {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        self.answers[index.min(self.answers.len() - 1)].clone()
    }
}

/// Everything else is empty, and a watch of it stays silent.
async fn mount_rest(server: &MockServer) {
    let version = json!({"gitVersion": "v1.34.2"});
    let namespace = json!({"metadata": {"name": "kube-system", "uid": "ks-uid"}});
    for (below, body) in [("/version", version), ("/api/v1/namespaces/kube-system", namespace)] {
        let mock = Mock::given(path(at(below))).respond_with(ResponseTemplate::new(200).set_body_json(body));
        mock.mount(server).await;
    }
    let silent = ResponseTemplate::new(200).set_delay(Duration::from_secs(600));
    let metrics = ResponseTemplate::new(200).set_body_string("# TYPE kubernetes_build_info gauge\n");
    Mock::given(path(at("/metrics"))).respond_with(metrics).with_priority(100).mount(server).await;
    Mock::given(query_param("watch", "true")).respond_with(silent).with_priority(200).mount(server).await;
    Mock::given(any()).respond_with(list("1", &[])).with_priority(255).mount(server).await;
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_begun_anew_when_its_continuation_expires() {
    let server = MockServer::start().await;
    let page = |name: &str, next: &str| {
        ResponseTemplate::new(200).set_body_json(json!({
            "metadata": {"resourceVersion": "7", "continue": next}, "items": [pod_named(name, "5")]
        }))
    };
    let first = Mock::given(path(at("/api/v1/pods"))).and(query_param_is_missing("continue"));
    first.and(query_param("limit", "500")).respond_with(page("a", "a b/c")).expect(2).mount(&server).await;
    let second = Mock::given(path(at("/api/v1/pods"))).and(query_param("continue", "a b/c"));
    let expired =
        status(410, &json!({"reason": "Expired", "message": "too old", "metadata": {"continue": "x"}}));
    second.respond_with(InOrder::of([expired, page("b", "")])).expect(2).mount(&server).await;

    let listing = kubernetes(&server).api.list(ResourceKind::Pod).await.unwrap();
    let names: Vec<_> = listing
        .objects
        .iter()
        .map(|o| match o {
            Object::Pod(p) => p.name.name(),
            _ => "",
        })
        .collect();
    assert_eq!((names, listing.version.as_str()), (vec!["a", "b"], "7"));
}

#[tokio::test]
async fn a_snapshot_names_the_kinds_that_may_not_be_read_and_fails_for_everything_else() {
    let server = MockServer::start().await;
    let forbidden = status(403, &json!({"reason": "Forbidden", "message": "jobs.batch is forbidden\n: no"}));
    for below in ["/apis/batch/v1/jobs", "/api/v1/persistentvolumes"] {
        Mock::given(path(at(below))).respond_with(forbidden.clone()).mount(&server).await;
    }
    mount_rest(&server).await;
    let snapshot = kubernetes(&server).snapshot().await.unwrap();
    assert_eq!((snapshot.version.to_string().as_str(), snapshot.kube_system.as_str()), ("1.34.2", "ks-uid"));
    assert_eq!(snapshot.lists.len(), ResourceKind::ALL.len() - 1);
    let unseen: Vec<_> = snapshot.unseen.iter().map(|u| (u.what.as_str(), u.why.as_str())).collect();
    let why = |what| format!("listing {what}: jobs.batch is forbidden : no (HTTP 403)");
    assert_eq!(unseen, [("persistentvolumes", &*why("persistentvolumes")), ("jobs", &*why("jobs"))]);

    // Rancher's own "no" is about the whole cluster.
    let server = MockServer::start().await;
    let denied = ResponseTemplate::new(403)
        .set_body_json(json!({"type": "error", "status": "403", "code": "Forbidden", "message": "no"}));
    Mock::given(path(at("/apis/batch/v1/jobs"))).respond_with(denied).mount(&server).await;
    mount_rest(&server).await;
    let error = kubernetes(&server).snapshot().await.unwrap_err();
    assert_eq!((error.service, error.kind), (RemoteService::Rancher, PortErrorKind::Forbidden), "{error}");
    assert!(error.outcome_known(), "a read changes nothing");
}

fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn watched(events: &[String]) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(events.concat(), "application/json")
}

async fn next_of(
    watch: &mut BoxStream<'static, Result<Change, PortError>>,
    kind: ResourceKind,
) -> Result<Change, PortError> {
    loop {
        let item = watch.next().await.expect("a watch never ends");
        let other = match &item {
            Ok(Change::Listed { kind: k, .. } | Change::Deleted { kind: k, .. }) => *k != kind,
            Ok(Change::Applied(object)) => object.kind() != Some(kind),
            Err(_) => false,
        };
        if !other {
            return item;
        }
    }
}

async fn writes(server: &MockServer) -> Vec<(String, String, Value)> {
    let requests = server.received_requests().await.unwrap();
    let writes = requests.iter().filter(|request| request.method != http::Method::GET);
    let content = |request: &Request| request.headers["content-type"].to_str().unwrap().to_owned();
    writes
        .map(|r| (r.url.query().unwrap_or_default().to_owned(), content(r), r.body_json().unwrap()))
        .collect()
}

/// A list, then changes; a watch that ends goes on from the last version, one that is too old lists anew.
#[tokio::test]
async fn a_watch_goes_on_for_ever() {
    let server = MockServer::start().await;
    let pods = || Mock::given(path(at("/api/v1/pods")));
    let from = |version: &'static str| {
        pods().and(query_param("watch", "true")).and(query_param("resourceVersion", version))
    };
    let lists = InOrder::of([list("10", &[pod_named("a", "9")]), list("50", &[])]);
    pods().and(query_param_is_missing("watch")).respond_with(lists).mount(&server).await;
    let first = watched(&[
        event("ADDED", &pod_named("b", "11")),
        event("BOOKMARK", &json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "20"}})),
    ]);
    from("10")
        .and(query_param("allowWatchBookmarks", "true"))
        .respond_with(first)
        .expect(1)
        .mount(&server)
        .await;
    let second = watched(&[
        event("DELETED", &pod_named("a", "21")),
        event(
            "ERROR",
            &json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "old"}),
        ),
    ]);
    from("20").respond_with(second).expect(1).mount(&server).await;
    from("50")
        .respond_with(watched(&[event("MODIFIED", &pod_named("c", "51"))]))
        .expect(1)
        .mount(&server)
        .await;
    mount_rest(&server).await;

    let mut watch = kubernetes(&server).watch();
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(match next_of(&mut watch, ResourceKind::Pod).await.unwrap() {
            Change::Listed { objects, .. } => format!("listed {}", objects.len()),
            Change::Applied(Object::Pod(pod)) => format!("applied {}", pod.name),
            Change::Deleted { name, .. } => format!("deleted {name}"),
            other @ Change::Applied(_) => panic!("{other:?}"),
        });
    }
    assert_eq!(told, ["listed 1", "applied shop/b", "deleted shop/a", "listed 0", "applied shop/c"]);
}

#[tokio::test]
async fn every_kind_is_listed_before_anything_else_and_a_failure_is_told_and_survived() {
    let server = MockServer::start().await;
    let trouble = ResponseTemplate::new(500).set_body_string("unable to reach: x509");
    let nodes = InOrder::of([trouble, list("1", &[json!({"metadata": {"name": "n0", "uid": "u"}})])]);
    Mock::given(path(at("/api/v1/nodes")))
        .and(query_param_is_missing("watch"))
        .respond_with(nodes)
        .mount(&server)
        .await;
    mount_rest(&server).await;
    let mut watch = kubernetes(&server).watch();
    let (mut listed, mut errors, mut view) = (BTreeSet::new(), Vec::new(), View::default());
    while listed.len() < ResourceKind::ALL.len() {
        match watch.next().await.unwrap() {
            Ok(change) => {
                if let Change::Listed { kind, .. } = &change {
                    listed.insert(*kind);
                }
                view.apply(change);
            }
            Err(error) => errors.push(error),
        }
    }
    assert_eq!((view.nodes().count(), errors.len()), (1, 1));
    assert!(errors[0].message.starts_with("listing nodes: "), "{}", errors[0]);
}

/// A claim that appears later is told with the zone of its volume.
#[tokio::test]
async fn the_zone_of_a_new_volume_is_looked_up() {
    let server = MockServer::start().await;
    let claim = json!({
        "metadata": {"name": "data", "namespace": "shop", "uid": "c", "resourceVersion": "2"},
        "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "pv-1"}
    });
    let volume = json!({"metadata": {"name": "pv-1"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "topology.disk.csi.azure.com/zone", "operator": "In", "values": ["westeurope-2"]}]}]}}}});
    let claims =
        Mock::given(path(at("/api/v1/persistentvolumeclaims"))).and(query_param("resourceVersion", "1"));
    claims.respond_with(watched(&[event("ADDED", &claim)])).mount(&server).await;
    let one = Mock::given(path(at("/api/v1/persistentvolumes/pv-1")));
    one.respond_with(ResponseTemplate::new(200).set_body_json(volume)).expect(1).mount(&server).await;
    mount_rest(&server).await;
    let mut watch = kubernetes(&server).watch();
    next_of(&mut watch, ResourceKind::PersistentVolumeClaim).await.unwrap();
    let change = next_of(&mut watch, ResourceKind::PersistentVolumeClaim).await.unwrap();
    let Change::Applied(Object::Claim(claim)) = change else { panic!("{change:?}") };
    assert_eq!(claim.zones, ["westeurope-2"]);
}

#[tokio::test]
async fn a_right_is_asked_for_and_what_is_no_answer_is_not_taken_for_one() {
    let server = MockServer::start().await;
    let answer = |value: Value| ResponseTemplate::new(201).set_body_json(json!({"status": value}));
    let about = |resource: &str| {
        let asked = json!({"spec": {"resourceAttributes": {"resource": resource}}});
        Mock::given(method("POST"))
            .and(path(at("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")))
            .and(wiremock::matchers::body_partial_json(asked))
    };
    about("nodes").respond_with(answer(json!({"allowed": true}))).mount(&server).await;
    about("pods").respond_with(answer(json!({"allowed": false, "reason": "not\nyou"}))).mount(&server).await;
    let error = json!({"allowed": false, "evaluationError": "webhook: timeout"});
    about("jobs").respond_with(answer(error)).mount(&server).await;
    let forbidden = json!({"reason": "Forbidden", "message": "cannot create selfsubjectaccessreviews"});
    about("services").respond_with(status(403, &forbidden)).mount(&server).await;

    let evict = Right::new(Verb::Create, "", "pods/eviction").within("shop");
    let rights = [
        Right::new(Verb::Patch, "", "nodes"),
        evict,
        Right::new(Verb::Watch, "batch", "jobs"),
        Right::new(Verb::Watch, "", "services"),
    ];
    let answers = kubernetes(&server).access(&rights).await;
    let unanswered = |why: &str| AccessAnswer::Unanswered { why: why.into() };
    assert_eq!(
        answers,
        [
            AccessAnswer::Allowed,
            AccessAnswer::Denied { reason: "not you".into() },
            unanswered("webhook: timeout"),
            unanswered(
                "asking for the right to watch services: cannot create selfsubjectaccessreviews (HTTP 403)"
            ),
        ]
    );
    let requests = writes(&server).await;
    let asked = requests.iter().map(|(_, _, body)| &body["spec"]["resourceAttributes"]);
    let asked = asked.filter(|asked| asked["resource"] == "pods").collect::<Vec<_>>();
    let expected = json!({"verb": "create", "group": "", "resource": "pods", "subresource": "eviction", "namespace": "shop"});
    assert_eq!(asked, [&expected]);
}

#[tokio::test]
async fn the_metrics_tell_which_deprecated_apis_are_in_use_and_are_named_when_they_cannot_be_read() {
    let line = "apiserver_requested_deprecated_apis{group=\"policy\",removed_release=\"1.25\",\
                resource=\"poddisruptionbudgets\",subresource=\"\",version=\"v1beta1\"} 1\n";
    let metrics = format!("# TYPE apiserver_requested_deprecated_apis gauge\n{line}");
    let forbidden = json!({"reason": "Forbidden", "message": "cannot get path \"/metrics\""});
    let cases = [
        (ResponseTemplate::new(200).set_body_string(metrics), 1, None),
        (status(403, &forbidden), 0, Some("cannot get path \"/metrics\" (HTTP 403)")),
        (
            ResponseTemplate::new(200).set_body_string("<html>"),
            0,
            Some("the answer cannot be read: it is not a list of metrics"),
        ),
    ];
    for (answer, found, why) in cases {
        let server = MockServer::start().await;
        Mock::given(path(at("/metrics"))).respond_with(answer).mount(&server).await;
        mount_rest(&server).await;
        let snapshot = kubernetes(&server).snapshot().await.unwrap();
        assert_eq!(snapshot.deprecated_apis.len(), found);
        let unseen: Vec<_> = snapshot.unseen.iter().map(|u| (u.what.clone(), u.why.clone())).collect();
        let why = why.map(|why| (METRICS.to_owned(), format!("reading the API server's metrics: {why}")));
        assert_eq!(unseen, why.into_iter().collect::<Vec<_>>());
    }
}

/// A clock on which every pause is over at once.
struct NoTime;

impl Pause for NoTime {
    fn pause(&self, _: Duration) -> futures::future::BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Rancher makes the user's service account on the first request, and fails now and then while it does.
#[tokio::test]
async fn a_cluster_is_warmed_up_before_anything_else_and_one_that_denies_is_not_asked_again() {
    let server = MockServer::start().await;
    let cold = ResponseTemplate::new(500).set_body_string("unable to create impersonator account: error");
    let warm = ResponseTemplate::new(200).set_body_json(json!({"gitVersion": "v1.34.2"}));
    let answers = InOrder::of([cold, warm]);
    Mock::given(path(at("/version"))).respond_with(answers).expect(2).mount(&server).await;
    HttpKubernetes::connect(proxy(&server), &NoTime).await.unwrap();

    let server = MockServer::start().await;
    let unauthorized = ResponseTemplate::new(401)
        .set_body_json(json!({"type": "error", "status": "401", "message": "must authenticate"}));
    Mock::given(path(at("/version"))).respond_with(unauthorized).expect(1).mount(&server).await;
    let Err(error) = HttpKubernetes::connect(proxy(&server), &NoTime).await else { panic!("connected") };
    assert_eq!((error.service, error.kind), (RemoteService::Rancher, PortErrorKind::Unauthorized), "{error}");
}

/// A body that goes silent is known through everything that the kube client wraps around it.
#[tokio::test]
async fn a_watch_that_goes_silent_is_over_and_not_broken() {
    #[derive(Clone)]
    struct Silent;
    impl tower::Service<http::Request<kube::client::Body>> for Silent {
        type Response = http::Response<reqwest::Body>;
        type Error = tower::BoxError;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<kube::client::Body>) -> Self::Future {
            let event = event("ADDED", &pod_named("a", "2"));
            let idle = rancher_client::BodyError::Idle { idle: Duration::from_secs(90) };
            let body = stream::iter([Ok(bytes::Bytes::from(event)), Err(idle)]);
            std::future::ready(Ok(http::Response::new(reqwest::Body::wrap_stream(body))))
        }
    }
    let client = kube::Client::new(Silent, "default");
    let events = client.request_events::<wire::Pod>(api::get("/api/v1/pods")).await.unwrap();
    let events: Vec<_> = StreamExt::map(events, |event| event.map_err(Failure::from)).collect().await;
    assert!(matches!(events[..], [Ok(_), Err(Failure::Idle)]), "{}", events.len());
}

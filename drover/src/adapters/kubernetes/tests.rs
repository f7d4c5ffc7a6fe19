//! Against a Rancher made of prepared answers.

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

fn node(uid: &str, unschedulable: bool) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(
        json!({"metadata": {"name": "n0", "uid": uid}, "spec": {"unschedulable": unschedulable}}),
    )
}

async fn writes(server: &MockServer) -> Vec<(String, String, Value)> {
    let requests = server.received_requests().await.unwrap();
    let writes = requests.iter().filter(|request| request.method != http::Method::GET);
    let content = |request: &Request| request.headers["content-type"].to_str().unwrap().to_owned();
    writes
        .map(|r| (r.url.query().unwrap_or_default().to_owned(), content(r), r.body_json().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_cordon_is_a_merge_patch_fenced_by_the_uid_and_sent_only_if_needed() {
    let (name, uid) = (NodeName::new("n0").unwrap(), Uid::new("u1").unwrap());
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(node("u1", false)).mount(&server).await;
    Mock::given(method("PATCH"))
        .and(path(at("/api/v1/nodes/n0")))
        .respond_with(node("u1", true))
        .mount(&server)
        .await;
    let kubernetes_port = kubernetes(&server);
    kubernetes_port.set_unschedulable(&name, &uid, false, WriteMode::Commit).await.unwrap();
    assert_eq!(writes(&server).await, [], "already so");
    kubernetes_port.set_unschedulable(&name, &uid, true, WriteMode::Commit).await.unwrap();
    let patch = json!({"metadata": {"uid": "u1"}, "spec": {"unschedulable": true}});
    let merge = "application/merge-patch+json".to_owned();
    assert_eq!(writes(&server).await, [("fieldManager=aks-drover".to_owned(), merge, patch)]);

    let other = kubernetes_port
        .set_unschedulable(&name, &Uid::new("u2").unwrap(), true, WriteMode::Commit)
        .await
        .unwrap_err();
    assert_eq!((other.kind, other.outcome_known()), (PortErrorKind::Conflict, true));
    assert_eq!(other.message, "cordoning node n0: it is another one now (uid u1, not u2)");
    assert_eq!(writes(&server).await.len(), 1);
}

/// The node was replaced between the read and the patch.
#[tokio::test]
async fn a_patch_that_meets_another_object_is_a_conflict_and_an_answer_that_is_lost_leaves_everything_open() {
    let (name, uid) = (NodeName::new("n0").unwrap(), Uid::new("u1").unwrap());
    let immutable = json!({"reason": "Invalid", "message": "Node \"n0\" is invalid: metadata.uid: Invalid value",
        "details": {"causes": [{"reason": "FieldValueInvalid", "field": "metadata.uid", "message": "field is immutable"}]}});
    let lost = ResponseTemplate::new(500).set_body_string("error trying to reach service: EOF");
    for (answer, kind, known) in [
        (status(422, &immutable), PortErrorKind::Conflict, true),
        (status(422, &json!({"reason": "Invalid", "message": "no"})), PortErrorKind::Rejected, true),
        (status(403, &json!({"reason": "Forbidden", "message": "no"})), PortErrorKind::Forbidden, true),
        (lost, PortErrorKind::Unreachable, false),
        (ResponseTemplate::new(502).set_body_raw("<html>", "text/html"), PortErrorKind::Unreachable, false),
    ] {
        let server = MockServer::start().await;
        Mock::given(method("GET")).respond_with(node("u1", false)).mount(&server).await;
        Mock::given(method("PATCH")).respond_with(answer).expect(1).mount(&server).await;
        let error =
            kubernetes(&server).set_unschedulable(&name, &uid, true, WriteMode::Commit).await.unwrap_err();
        assert_eq!((error.kind, error.outcome_known()), (kind, known), "{error}");
    }
}

#[tokio::test]
async fn a_restart_is_written_once_with_both_annotations() {
    let at_time: Timestamp = "2026-11-24T01:02:03.456Z".parse().unwrap();
    let web = WorkloadRef { kind: WorkloadKind::Deployment, name: "shop/web".parse().unwrap() };
    let (uid, id) = (Uid::new("w1").unwrap(), RestartId::new("r-1.2.1.1").unwrap());
    let found = |id: &str| {
        ResponseTemplate::new(200).set_body_json(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "w1"},
            "spec": {"template": {"metadata": {"annotations": {"aks-drover/restart-id": id}}}}
        }))
    };
    let server = MockServer::start().await;
    let place = at("/apis/apps/v1/namespaces/shop/deployments/web");
    let reads = InOrder::of([found("r-0.2.1.1"), found("r-1.2.1.1")]);
    Mock::given(method("GET")).and(path(&place)).respond_with(reads).mount(&server).await;
    Mock::given(method("PATCH")).and(path(&place)).respond_with(found("x")).expect(1).mount(&server).await;
    let kubernetes_port = kubernetes(&server);
    kubernetes_port.restart(&web, &uid, &id, at_time, WriteMode::Commit).await.unwrap();
    kubernetes_port.restart(&web, &uid, &id, at_time, WriteMode::Commit).await.unwrap();
    let annotations = json!({"aks-drover/restart-id": "r-1.2.1.1", "kubectl.kubernetes.io/restartedAt": "2026-11-24T01:02:03Z"});
    let patch =
        json!({"metadata": {"uid": "w1"}, "spec": {"template": {"metadata": {"annotations": annotations}}}});
    assert_eq!(writes(&server).await[0].2, patch);

    let daemons = WorkloadRef { kind: WorkloadKind::DaemonSet, name: "shop/web".parse().unwrap() };
    let error = kubernetes_port.restart(&daemons, &uid, &id, at_time, WriteMode::Commit).await.unwrap_err();
    assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Rejected, true));
}

#[tokio::test]
async fn an_eviction_is_sent_once_with_the_uid_and_each_of_its_answers_is_told_apart() {
    let budget = json!({
        "reason": "TooManyRequests", "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "details": {"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods and has 2 currently"}],
            "retryAfterSeconds": 10}
    });
    let several = json!({"message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."});
    let uids = json!({"reason": "Conflict", "message": "Precondition failed: UID in precondition: a, UID in object meta: b"});
    let versions = json!({"reason": "Conflict", "message": "the object has been modified"});
    let unknown_cluster = ResponseTemplate::new(404).set_body_json(
        json!({"Code": {"Code": "NotFound", "Status": 404}, "Message": "No cluster available"}),
    );
    let refused = EvictionAnswer::Refused {
        message: "The disruption budget web needs 2 healthy pods and has 2 currently".into(),
        retry_after_seconds: 10,
    };
    let misconfigured =
        EvictionAnswer::Misconfigured { message: several["message"].as_str().unwrap().into() };
    let cases = [
        (
            ResponseTemplate::new(201)
                .set_body_json(json!({"kind": "Status", "status": "Success", "code": 201})),
            Ok(EvictionAnswer::Accepted),
        ),
        (status(404, &json!({"reason": "NotFound", "message": "gone"})), Ok(EvictionAnswer::Gone)),
        (status(409, &uids), Ok(EvictionAnswer::Gone)),
        (status(429, &budget), Ok(refused)),
        (status(500, &several), Ok(misconfigured)),
        (status(409, &versions), Err((PortErrorKind::Conflict, true))),
        (
            status(429, &json!({"reason": "TooManyRequests", "message": "busy"})),
            Err((PortErrorKind::Throttled, true)),
        ),
        (
            status(504, &json!({"reason": "Timeout", "message": "slow"})),
            Err((PortErrorKind::Unreachable, false)),
        ),
        (unknown_cluster, Err((PortErrorKind::NotFound, true))),
        (
            ResponseTemplate::new(500).set_body_string("error trying to reach service: EOF"),
            Err((PortErrorKind::Unreachable, false)),
        ),
    ];
    for (answer, expected) in cases {
        let server = MockServer::start().await;
        let place = at("/api/v1/namespaces/shop/pods/web-1/eviction");
        Mock::given(method("POST")).and(path(place)).respond_with(answer).expect(1).mount(&server).await;
        let pod: ObjectName = "shop/web-1".parse().unwrap();
        let answer = kubernetes(&server).evict(&pod, &Uid::new("p1").unwrap(), WriteMode::Commit).await;
        assert_eq!(answer.map_err(|error| (error.kind, error.outcome_known())), expected);
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-1", "namespace": "shop"},
            "deleteOptions": {"preconditions": {"uid": "p1"}}
        });
        assert_eq!(writes(&server).await[0].2, body);
    }
}

#[tokio::test]
async fn a_pod_that_pulls_is_created_whole_and_deleted_by_its_uid_alone() {
    let pod = PrewarmPod {
        name: "shop/aks-drover-pull-1".parse().unwrap(),
        node: NodeName::new("n0").unwrap(),
        windows: true,
        images: vec!["reg/a:1".into()],
        access: PullAccess::default(),
    };
    let run = upgrade_core::model::RunId::new("run-1").unwrap();
    let denied = json!({"reason": "Forbidden", "message": "exceeded quota: pods"});
    let exists = json!({"reason": "AlreadyExists", "message": "pods \"aks-drover-pull-1\" already exists"});
    let server = MockServer::start().await;
    let created = ResponseTemplate::new(201).set_body_json(json!({"kind": "Pod"}));
    let answers = InOrder::of([created, status(403, &denied), status(409, &exists)]);
    Mock::given(method("POST"))
        .and(path(at("/api/v1/namespaces/shop/pods")))
        .respond_with(answers)
        .mount(&server)
        .await;
    let uids = json!({"reason": "Conflict", "message": "Precondition failed: UID in precondition: a, UID in object meta: b"});
    let gone = json!({"reason": "NotFound", "message": "gone"});
    let going = ResponseTemplate::new(200).set_body_json(json!({"kind": "Pod"}));
    let answers = InOrder::of([going, status(409, &uids), status(404, &gone), status(403, &denied)]);
    Mock::given(method("DELETE"))
        .and(path(at("/api/v1/namespaces/shop/pods/aks-drover-pull-1")))
        .respond_with(answers)
        .mount(&server)
        .await;
    let port = kubernetes(&server);
    let create = || port.create_prewarm_pod(&pod, &run, WriteMode::Commit);
    create().await.unwrap();
    let refused = [create().await.unwrap_err(), create().await.unwrap_err()];
    assert_eq!(refused.map(|error| error.kind), [PortErrorKind::Forbidden, PortErrorKind::Conflict]);
    let uid = Uid::new("p1").unwrap();
    for _ in 0..3 {
        port.delete_prewarm_pod(&pod.name, &uid, WriteMode::Commit).await.unwrap();
    }
    let error = port.delete_prewarm_pod(&pod.name, &uid, WriteMode::Commit).await.unwrap_err();
    assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Forbidden, true));
    let writes = writes(&server).await;
    assert_eq!(writes[0].2, pod.manifest(&run));
    assert_eq!(writes[3].2["preconditions"], json!({"uid": "p1"}));
}

/// Everything of a trial is like the write itself but for `dryRun`, which an eviction says twice.
#[tokio::test]
async fn a_trial_says_so_and_its_refusals_are_told_apart() {
    let (name, uid) = (NodeName::new("n0").unwrap(), Uid::new("u1").unwrap());
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(node("u1", false)).mount(&server).await;
    let denied = json!({"reason": "Forbidden", "message": "admission webhook \"w\" denied the request: no"});
    let unable =
        json!({"reason": "BadRequest", "message": "admission webhook \"w\" does not support dry run"});
    let answers = InOrder::of([node("u1", true), status(403, &denied), status(400, &unable)]);
    Mock::given(method("PATCH")).respond_with(answers).mount(&server).await;
    let accepted = ResponseTemplate::new(201).set_body_json(json!({"kind": "Status"}));
    Mock::given(method("POST")).respond_with(accepted).mount(&server).await;
    let kubernetes_port = kubernetes(&server);
    let cordon = || kubernetes_port.set_unschedulable(&name, &uid, true, WriteMode::DryRun);
    cordon().await.unwrap();
    let error = cordon().await.unwrap_err();
    assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Forbidden, true));
    let error = cordon().await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Rejected);
    assert!(error.message.contains("does not support dry run"), "{error}");
    let pod: ObjectName = "shop/web-1".parse().unwrap();
    let answer = kubernetes_port.evict(&pod, &uid, WriteMode::DryRun).await.unwrap();
    assert_eq!(answer, EvictionAnswer::Accepted);
    let writes = writes(&server).await;
    let queries: Vec<&str> = writes.iter().map(|(query, ..)| query.as_str()).collect();
    let patch = "fieldManager=aks-drover&dryRun=All";
    assert_eq!(queries, [patch, patch, patch, "dryRun=All"]);
    let options = json!({"preconditions": {"uid": "u1"}, "dryRun": ["All"]});
    assert_eq!(writes[3].2["deleteOptions"], options);
}

fn record() -> LeaseRecord {
    LeaseRecord {
        holder: "run-1:a".into(),
        duration_seconds: 60,
        acquired_at: Some("2026-11-24T01:02:03Z".parse().unwrap()),
        renewed_at: Some("2026-11-24T01:02:03.1234567Z".parse().unwrap()),
        transitions: 2,
        run: Some(upgrade_core::model::RunId::new("run-1").unwrap()),
        stop: upgrade_core::lock::StopRequest::parse("run-1 now ann on build-7"),
    }
}

fn lease_body(version: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": "drover-upgrade", "namespace": "kube-system", "annotations": {"aks-drover/run": "run-1", "aks-drover/abort": "run-1 now ann on build-7"},
            "uid": "l1", "resourceVersion": version,
        },
        "spec": {
            "holderIdentity": "run-1:a", "leaseDurationSeconds": 60, "leaseTransitions": 2,
            "acquireTime": "2026-11-24T01:02:03.000000Z", "renewTime": "2026-11-24T01:02:03.123456Z",
        },
    })
}

#[tokio::test]
async fn a_lease_is_written_with_six_digits_and_on_condition_of_uid_and_version() {
    let server = MockServer::start().await;
    let all = at("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases");
    let one = format!("{all}/drover-upgrade");
    let found = |version| ResponseTemplate::new(200).set_body_json(lease_body(version));
    let missing = status(404, &json!({"reason": "NotFound", "message": "no"}));
    Mock::given(method("GET"))
        .and(path(&one))
        .respond_with(InOrder::of([missing, found("7")]))
        .mount(&server)
        .await;
    Mock::given(method("POST")).and(path(&all)).respond_with(found("7")).mount(&server).await;
    Mock::given(method("PUT")).and(path(&one)).respond_with(found("8")).mount(&server).await;
    let (port, name) = (kubernetes(&server), upgrade_core::lock::lock_name());
    assert_eq!(port.lease(&name).await.unwrap(), None);
    port.create_lease(&name, &record()).await.unwrap();
    let lease = port.lease(&name).await.unwrap().unwrap();
    let cut = Some("2026-11-24T01:02:03.123456Z".parse().unwrap());
    assert_eq!(lease.record, LeaseRecord { renewed_at: cut, ..record() });
    assert_eq!((lease.uid.as_str(), lease.resource_version.as_str()), ("l1", "7"));
    let renewed = port.update_lease(&name, &lease, &record()).await.unwrap();
    assert_eq!(renewed.resource_version, "8");
    let writes = writes(&server).await;
    let mut created = lease_body("7");
    for field in ["uid", "resourceVersion"] {
        created["metadata"].as_object_mut().unwrap().remove(field);
    }
    assert_eq!((&writes[0].2, &writes[1].2), (&created, &lease_body("7")));
}

#[tokio::test]
async fn whoever_was_slower_to_a_lease_has_a_conflict_and_a_lost_answer_leaves_it_open() {
    let exists = json!({"reason": "AlreadyExists", "message": "leases \"drover-upgrade\" already exists"});
    let stale = json!({"reason": "Conflict", "message": "the object has been modified"});
    let gone = json!({"reason": "NotFound", "message": "not found"});
    let lost = || ResponseTemplate::new(500).set_body_string("error trying to reach service: EOF");
    let half = ResponseTemplate::new(200).set_body_json(json!({"metadata": {"name": "drover-upgrade"}}));
    let known = |kind| (kind, true);
    let cases = [
        (status(409, &exists), status(409, &stale), known(PortErrorKind::Conflict)),
        (lost(), lost(), (PortErrorKind::Unreachable, false)),
        (half.clone(), half, (PortErrorKind::Internal, false)),
        (status(409, &stale), status(404, &gone), known(PortErrorKind::Conflict)),
    ];
    for (post, put, expected) in cases {
        let server = MockServer::start().await;
        Mock::given(method("POST")).respond_with(post).expect(1).mount(&server).await;
        Mock::given(method("PUT")).respond_with(put).expect(1).mount(&server).await;
        let (port, name) = (kubernetes(&server), upgrade_core::lock::lock_name());
        let over = Lease { uid: Uid::new("l1").unwrap(), resource_version: "7".into(), record: record() };
        for error in [
            port.create_lease(&name, &record()).await.unwrap_err(),
            port.update_lease(&name, &over, &record()).await.unwrap_err(),
        ] {
            assert_eq!((error.kind, error.outcome_known()), expected, "{error}");
        }
    }
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

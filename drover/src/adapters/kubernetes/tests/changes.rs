//! Writes, their trials, and what is made of their answers.

use super::*;

fn node(uid: &str, unschedulable: bool) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(
        json!({"metadata": {"name": "n0", "uid": uid}, "spec": {"unschedulable": unschedulable}}),
    )
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

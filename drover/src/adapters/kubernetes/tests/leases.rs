//! Leases: one writer at a time.

use super::*;

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

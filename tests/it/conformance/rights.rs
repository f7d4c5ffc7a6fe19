//! What holds where the token may not do everything, and where webhooks have a say.

use super::*;

/// Everything, as a plan is made from it.
async fn inventory(ports: &Ports) -> Inventory {
    let (identity, facts) = (ports.rancher.identity().await.unwrap(), ports.rancher.facts().await.unwrap());
    let (azure, snapshot) =
        (ports.azure.observe().await.unwrap(), ports.kubernetes.snapshot().await.unwrap());
    Inventory::of(ports.clock.now(), identity, facts, azure, snapshot)
}

/// A webhook outside of the cluster that is asked about changes of a resource.
fn webhook_on(name: &str, group: &str, resource: &str, side_effects: &str) -> ValidatingWebhookConfiguration {
    let configuration = json!({
        "metadata": { "name": name },
        "webhooks": [{
            "name": name, "clientConfig": { "url": format!("https://{name}/check") },
            "admissionReviewVersions": ["v1"], "sideEffects": side_effects,
            "rules": [{
                "operations": ["UPDATE"], "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource],
            }],
        }],
    });
    serde_json::from_value(configuration).unwrap()
}

/// The world of the cases below: a user who may not do everything, webhooks, and an API that will go.
pub(crate) fn restricted(lab: &Lab) {
    lab.with(|world| {
        world.access.denied = vec![
            Right::new(Verb::Patch, "apps", "deployments").within("shop"),
            Right::new(Verb::Create, "", "pods/eviction").within("pay"),
            Right::new(Verb::List, "batch", "jobs"),
        ];
        for (webhook, group, resource, side_effects) in
            [("policy.example", "apps", "statefulsets", "None"), ("audit.example", "", "nodes", "Some")]
        {
            world.store.create(webhook_on(webhook, group, resource, side_effects)).unwrap();
            world.access.refusals.push(Refusal {
                webhook: webhook.to_owned(),
                refuses: Right::new(Verb::Patch, group, resource),
                message: "owner label missing".to_owned(),
            });
        }
        world.deprecated_apis = vec![DeprecatedApi {
            group: "flowcontrol.apiserver.k8s.io".into(),
            version: "v1beta3".into(),
            resource: "flowschemas/status".into(),
            removed_release: "1.35".into(),
        }];
    });
}

/// What the token's user may not do is refused, said when asked, and named where it hides something.
pub(crate) async fn a_missing_right_is_refused_said_and_named(ports: Ports) {
    let kubernetes = &ports.kubernetes;
    let snapshot = kubernetes.snapshot().await.unwrap();
    let unseen: Vec<_> = snapshot.unseen.iter().map(|unseen| unseen.what.as_str()).collect();
    assert_eq!(unseen, ["jobs"]);
    assert_eq!(snapshot.lists.len(), ResourceKind::ALL.len() - 1);
    assert_eq!(snapshot.deprecated_apis[0].resource, "flowschemas/status");

    let patch = Right::new(Verb::Patch, "apps", "deployments");
    let evict = Right::new(Verb::Create, "", "pods/eviction");
    let rights = [
        Right::everything(),
        patch.clone(),
        patch.clone().within("shop"),
        patch.within("pay"),
        evict.clone().within("pay"),
        evict.within("shop"),
    ];
    let answers = kubernetes.access(&rights).await;
    let allowed: Vec<bool> = answers.iter().map(|answer| *answer == AccessAnswer::Allowed).collect();
    assert_eq!(allowed, [false, false, false, true, false, true], "{answers:?}");

    let mut view = View::default();
    for list in snapshot.lists {
        view.apply(list);
    }
    let web = view.workloads().find(|w| w.reference.to_string().starts_with("Deployment shop/")).unwrap();
    let id = RestartId::new("conformance.3.1.1").unwrap();
    for mode in [WriteMode::DryRun, WriteMode::Commit] {
        let error =
            kubernetes.restart(&web.reference, &web.uid, &id, ports.clock.now(), mode).await.unwrap_err();
        assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Forbidden, true), "{error}");
        let pod = view.pods().find(|pod| pod.name.namespace() == "pay").unwrap();
        let error = kubernetes.evict(&pod.name, &pod.uid, mode).await.unwrap_err();
        assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Forbidden, true), "{error}");
    }
    let known = access::review(&**kubernetes, &inventory(&ports).await).await;
    assert!(
        known.iter().any(|reviewed| reviewed.right == rights[4] && reviewed.answer != AccessAnswer::Allowed)
    );
}

/// A webhook refuses the trial as it refuses the write; one with side effects cannot be tried.
pub(crate) async fn a_webhook_refuses_a_trial_as_it_refuses_the_write(ports: Ports) {
    let kubernetes = &ports.kubernetes;
    let snapshot = kubernetes.snapshot().await.unwrap();
    let mut view = View::default();
    for list in snapshot.lists {
        view.apply(list);
    }
    let database = view.workloads().find(|w| w.reference.kind == WorkloadKind::StatefulSet).unwrap();
    let id = RestartId::new("conformance.4.1.1").unwrap();
    for mode in [WriteMode::DryRun, WriteMode::Commit] {
        let error = kubernetes
            .restart(&database.reference, &database.uid, &id, ports.clock.now(), mode)
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Forbidden, true), "{error}");
        let words = "admission webhook \"policy.example\" denied the request: owner label missing";
        assert!(error.message.contains(words), "{error}");
    }
    let node = first_user_node(&view);
    let error =
        kubernetes.set_unschedulable(&node.name, &node.uid, true, WriteMode::DryRun).await.unwrap_err();
    assert_eq!((error.kind, error.outcome_known()), (PortErrorKind::Rejected, true), "{error}");
    assert!(
        error.message.contains("admission webhook \"audit.example\" does not support dry run"),
        "{error}"
    );
}

//! Hazards of what the API server says to a new pod.

use cluster_lab::Refusal;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::json;
use upgrade_core::access::{Right, Verb};
use upgrade_core::trial::try_out;

use super::*;

fn quota(pods: u32) -> Vec<Manifest> {
    vec![object::<ResourceQuota>(json!({
        "metadata": { "name": "all", "namespace": "shop" }, "spec": { "hard": { "pods": pods.to_string() } },
    }))]
}

#[test]
fn hazard_12_a_quota_without_room_for_the_surge_blocks_and_with_room_for_one_pod_it_does_not() {
    let full = Town::of([quota(3), app("web", 3, json!({}))]);
    assert_eq!(
        full.says("QUO-001"),
        [
            "blocking shop/web: quota shop/all has no room for one more pod of Deployment shop/web (pods: 0 left, 1 needed), and its move makes one before another goes"
        ]
    );
    assert_eq!(full.blocked(), ["QUO-001 shop/web"]);

    // Two rollouts, and one pod more than now: they go one after another, and each waits for the pods that still end.
    let tight = Town::of([quota(7), app("api", 3, json!({})), app("web", 3, json!({}))]);
    assert_eq!(
        tight.says("QUO-002"),
        [
            "advisory shop/all: does not have room for all rollouts of its namespace at the same time (pods: 1 left, 2 needed); they \
          move one after another"
        ]
    );
    let told = tight.upgraded();
    let away = told.plan.stages.iter().find(|stage| stage.title == "user: move onto userbf").unwrap();
    assert_eq!((away.lanes.len(), away.steps().count()), (1, 2));
    assert_eq!((told.endpoints("shop/api"), told.endpoints("shop/web")), ((3, 3), (3, 3)));
}

/// A webhook `policy` that fails closed, served by `policy/server`, and is asked about these.
fn webhook(resources: &str, operation: &str) -> Vec<Manifest> {
    let group = if resources == "pods" { "" } else { "apps" };
    vec![object::<ValidatingWebhookConfiguration>(json!({
        "metadata": { "name": "policy" },
        "webhooks": [{
            "name": "check.policy.example",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "namespaceSelector": { "matchExpressions": [
                { "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "policy"] },
            ] },
            "clientConfig": { "service": { "namespace": "policy", "name": "server" } },
            "rules": [{ "apiGroups": [group], "apiVersions": ["v1"], "operations": [operation], "resources": [resources] }],
        }],
    }))]
}

fn server(replicas: u32, more: Value) -> Vec<Manifest> {
    vec![deployment("policy", "server", replicas, more, json!({})), service("policy", "server", json!({}))]
}

#[test]
fn hazard_13_what_admission_would_refuse_is_tried_before_anything_is_touched() {
    let town = Town::of([server(2, json!({})), webhook("deployments", "UPDATE"), app("web", 2, json!({}))]);
    let lab = Lab::new(&town.scenario, 1);
    let mut inventory = lab.inventory();
    let made = plan(&inventory, &town.policy, town.to).unwrap();
    lab.with(|world| {
        world.access.refusals.push(Refusal {
            webhook: "check.policy.example".into(),
            refuses: Right::new(Verb::Patch, "apps", "deployments").within("shop"),
            message: "no label `owner`".into(),
        });
    });
    let tried = lab.block_on(try_out(&*lab.kubernetes(), &made, &inventory.view(), lab.now())).unwrap();
    inventory.trials = tried;
    let findings = check(&inventory, &town.policy, town.to);
    let refused: Vec<String> = findings
        .iter()
        .filter(|finding| finding.code == "ADM-001")
        .map(|f| format!("{} {}: {}", f.severity, f.object, f.message))
        .collect();
    assert_eq!(
        refused,
        [
            "blocking shop/web: the API server would refuse to restart Deployment shop/web: admission webhook \"check.policy.example\" denied the request: no label `owner`"
        ]
    );
}

/// A class that was deleted takes nothing from the pods that run: nobody notices until one has to be made.
#[test]
fn hazard_13_a_pod_that_could_not_be_made_again_is_found_before_the_last_ones_go() {
    let gold = object::<PriorityClass>(json!({ "metadata": { "name": "gold" }, "value": 1000 }));
    let important = app("web", 2, json!({ "priorityClassName": "gold" }));
    let town = Town::of([vec![gold], important, app("api", 2, json!({}))]);
    let lab = Lab::new(&town.scenario, 1);
    lab.with(|world| world.store.delete::<PriorityClass>("", "gold")).unwrap();
    let mut inventory = lab.inventory();
    let made = plan(&inventory, &town.policy, town.to).unwrap();
    let tried = lab.block_on(try_out(&*lab.kubernetes(), &made, &inventory.view(), lab.now())).unwrap();
    inventory.trials = tried;
    let findings = check(&inventory, &town.policy, town.to);
    let refused = findings.iter().filter(|finding| finding.code == "ADM-001");
    assert_eq!(
        refused.map(|f| format!("{} {}: {}", f.severity, f.object, f.message)).collect::<Vec<_>>(),
        [
            "blocking shop/web: the API server would refuse to create a pod of Deployment shop/web: pods \"aks-drover-trial\" is forbidden: no PriorityClass with name gold was found"
        ]
    );
}

#[test]
fn hazard_15_what_the_api_server_asks_moves_first_and_never_all_at_once() {
    let api = object::<APIService>(json!({
        "metadata": { "name": "v1beta1.custom.example" },
        "spec": {
            "group": "custom.example", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": true, "service": { "namespace": "shop", "name": "adapter" },
        },
    }));
    let definition = object::<CustomResourceDefinition>(json!({
        "metadata": { "name": "stamps.custom.example" },
        "spec": {
            "group": "custom.example", "scope": "Namespaced", "names": { "kind": "Stamp", "plural": "stamps" }, "versions": [],
            "conversion": { "strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"],
                "clientConfig": { "service": { "namespace": "shop", "name": "converter" } },
            } },
        },
    }));
    let town = Town::of([
        server(2, json!({})),
        webhook("pods", "CREATE"),
        vec![api, definition],
        app("adapter", 2, json!({})),
        app("converter", 2, json!({})),
        app("web", 6, json!({})),
    ]);
    assert_eq!(
        town.says("CNV-001"),
        [
            "info shop/converter: converts stamps.custom.example; Deployment shop/converter moves before the others"
        ]
    );
    assert_eq!(
        town.says("WHK-001"),
        [
            "info policy/server: answers for the webhook(s) of policy, which fail closed; Deployment policy/server moves before the \
          others"
        ]
    );
    assert_eq!(
        town.says("AGG-001"),
        [
            "info v1beta1.custom.example: is answered by Deployment shop/adapter, which moves before the others"
        ]
    );
    let told = town.upgraded();
    assert_eq!(
        moves_off_user(&told.plan),
        [
            "user: move onto userbf: first, what the API server asks (policy/server, shop/adapter, shop/converter)",
            "user: move onto userbf (shop/web)",
        ]
    );
    assert_eq!((told.endpoints("policy/server"), told.endpoints("shop/adapter")), ((2, 2), (2, 2)));

    let recreate = json!({ "strategy": { "type": "Recreate", "rollingUpdate": null } });
    let alone = Town::of([server(1, recreate), webhook("pods", "CREATE"), app("web", 6, json!({}))])
        .accepting_the_gap_of("policy/server");
    assert_eq!(
        alone.says("WHK-002"),
        [
            "blocking policy/server: Deployment policy/server alone answers for the webhook(s) of policy, which fail closed, and moves \
          with a gap: meanwhile no new pod is admitted"
        ]
    );
    assert_eq!(alone.blocked(), ["WHK-002 policy/server"], "whatever gap is accepted");
}

//! Hazards of requests that are on their way while pods come and go.

use std::time::Duration;

use serde_json::json;

use super::*;

#[test]
fn hazard_18_pods_that_may_take_longer_to_end_than_a_move_block_and_those_that_end_at_once_are_told() {
    let patient = json!({ "terminationGracePeriodSeconds": 3600 });
    let mut town = Town::of([app("queue", 2, patient)]);
    assert_eq!(
        town.says("END-001"),
        [
            "blocking shop/queue: a pod of Deployment shop/queue may take 3600 s to end, and a move may take 1800 s in all"
        ]
    );
    assert_eq!(town.blocked(), ["END-001 shop/queue"]);
    town.policy.move_timeout = Duration::from_secs(2 * 3600);
    let told = town.upgraded();
    assert_eq!((told.endpoints("shop/queue"), told.gaps().len()), ((2, 2), 0));

    let sudden = json!({ "containers": [container("web", json!({ "lifecycle": null }))] });
    assert_eq!(
        Town::of([app("web", 2, sudden)]).says("END-002"),
        [
            "advisory demo: 1 workload(s) behind a Service have no preStop hook (shop/web): requests that are on their way when a pod is \
          told to end may fail, unless it goes on answering for some seconds by itself"
        ]
    );
}

#[test]
fn hazard_20_an_endpoint_counts_while_it_is_ready_and_not_ending_and_one_that_says_nothing_is_not_measured() {
    let unready =
        service("shop", "gossip", json!({ "selector": { "app": "web" }, "publishNotReadyAddresses": true }));
    let surge_less = json!({ "strategy": { "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } } });
    let town = Town::of([app_with("web", 3, surge_less, json!({})), vec![unready]]);
    assert_eq!(
        town.says("SVC-002"),
        [
            "info shop/gossip: publishes the addresses of pods that are not ready (publishNotReadyAddresses): its endpoints say nothing \
          about availability, and its gaps are not measured"
        ]
    );
    let told = town.upgraded();
    assert!(told.endpoints("shop/web").1 >= 2, "a pod that ends is no endpoint, even while it still answers");
    assert!(told.report.ledger.iter().all(|record| record.service.to_string() != "shop/gossip"));
}

#[test]
fn hazard_21_what_takes_traffic_from_outside_moves_before_what_is_behind_it() {
    let entry = vec![
        deployment("ingress", "nginx", 2, json!({}), json!({})),
        service("ingress", "nginx", json!({ "type": "LoadBalancer" })),
    ];
    let mut gateway = deployment_labelled("kube-system", "appgw", "ingress-appgw");
    gateway.push(deployment("kube-system", "spare", 2, json!({}), json!({})));
    let town = Town::of([entry, gateway, app("web", 6, json!({}))]);
    assert_eq!(
        town.says("ING-001"),
        [
            "info demo: 2 workload(s) take traffic from outside (ingress/nginx, kube-system/appgw); they move before those behind them"
        ]
    );
    assert_eq!(
        town.says("ING-002"),
        [
            "advisory kube-system/appgw: writes the addresses of pods into an Application Gateway, which takes seconds to minutes: the \
          gateway goes on sending to a pod that has ended"
        ]
    );
    let told = town.upgraded();
    assert_eq!(
        moves_off_user(&told.plan),
        [
            "user: move onto userbf: before the rest, what takes traffic from outside (ingress/nginx, kube-system/appgw)",
            "user: move onto userbf (shop/web, kube-system/spare)",
        ]
    );
    assert_eq!((told.endpoints("ingress/nginx"), told.gaps().len()), ((2, 2), 0));
}

/// A Deployment of two whose pods carry another value of label `app` than its name.
fn deployment_labelled(namespace: &str, name: &str, app: &str) -> Vec<Manifest> {
    let labels = json!({ "app": app });
    let more =
        json!({ "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels } } });
    vec![deployment(namespace, name, 2, more, json!({}))]
}

/// Rancher's agent may be our only way in.
#[test]
fn the_rancher_agent_moves_first_and_alone() {
    let agent = deployment("cattle-system", "cattle-cluster-agent", 2, json!({}), json!({}));
    let told = Town::of([vec![agent], app("web", 6, json!({}))]).upgraded();
    assert_eq!(
        moves_off_user(&told.plan),
        [
            "user: move onto userbf: first and alone, the Rancher agent (cattle-system/cattle-cluster-agent)",
            "user: move onto userbf (shop/web)",
        ]
    );
    assert_eq!(told.written()[0], "cattle-system/cattle-cluster-agent");
}

//! What differs between Rancher 2.6 and 2.16, one fixture each.

use std::time::Duration;

use rancher_client::ownership::{OutOfSync, Ownership, Refusal, classify, in_sync};
use rancher_client::{Cluster, Connection, Remaining, TokenReading, Transitioning};
use serde_json::{Value, json as value};

use crate::support::{CLUSTER, Case, LIST, Rancher, case, id, json, static_token};

/// Reads a cluster over the wire.
async fn read(raw: &Value) -> Cluster {
    let answer = json(200, &raw.to_string()).insert_header("date", "Tue, 14 Nov 2023 22:15:00 GMT");
    let rancher = Rancher::with(CLUSTER, answer).await;
    let cluster = rancher.client().cluster(&id()).await.unwrap();
    assert_eq!(cluster.raw(), raw, "nothing is lost");
    cluster
}

/// A cluster that was imported generically, as 2.6 shows it: `aksStatus` with nulls all the same.
fn imported_2_6() -> Value {
    value!({
        "type": "cluster", "baseType": "cluster", "id": "c-x7k2p", "name": "shop-acc", "state": "active",
        "transitioning": "no", "transitioningMessage": "", "provider": "aks", "driver": "imported", "internal": false,
        "conditions": [{"type": "Ready", "status": "True", "lastUpdateTime": "2021-09-01T10:00:00Z"},
                       {"type": "Connected", "status": "True"}],
        "version": {"gitVersion": "v1.20.7", "major": "1", "minor": "20", "type": "/v3/schemas/info"},
        "apiEndpoint": "https://10.0.0.1:443", "caCert": null, "aksConfig": null, "appliedSpec": {"aksConfig": null},
        "aksStatus": {"upstreamSpec": null, "privateRequiresTunnel": null, "rbacEnabled": null},
        "nodeCount": 5, "linuxWorkerCount": 5, "labels": {"provider.cattle.io": "aks"},
        "annotations": {"authz.management.cattle.io/creator-role-bindings": "{}"},
        "created": "2021-09-01T10:00:00Z", "createdTS": 1_630_490_400_000_u64, "links": {}, "actions": {},
    })
}

/// A cluster with an AKS configuration, in sync but for its last refresh.
fn managed(pools: &Value) -> Value {
    let config = value!({
        "type": "/v3/schemas/aksClusterConfigSpec", "imported": true, "clusterName": "shop-acc",
        "resourceGroup": "rg-shop", "resourceLocation": "westeurope", "kubernetesVersion": "1.29.7",
        "azureCredentialSecret": "cattle-global-data:cc-abcde", "tags": null, "dnsPrefix": null, "nodePools": pools,
    });
    value!({
        "id": "c-x7k2p", "name": "shop-acc", "state": "active", "transitioning": "no", "provider": "aks",
        "driver": "AKS", "conditions": [{"type": "Provisioned", "status": "True"}, {"type": "Updated", "status": "True"}],
        "aksConfig": config, "appliedSpec": {"aksConfig": config, "type": "/v3/schemas/clusterSpec"},
        "aksStatus": {"upstreamSpec": config, "privateRequiresTunnel": false, "rbacEnabled": true},
        "annotations": {"clusters.management.cattle.io/ke-last-refresh": "1700000000"},
    })
}

fn one_pool() -> Value {
    value!([{"name": "system", "count": 3, "mode": "System", "orchestratorVersion": "1.29.7", "maxSurge": "1",
             "enableAutoScaling": null, "minCount": null, "maxCount": null, "type": "/v3/schemas/aksNodePool"}])
}

fn sync(cluster: &Cluster) -> Result<(), Vec<OutOfSync>> {
    // Rancher's own clock counts.
    in_sync(cluster, jiff::Timestamp::UNIX_EPOCH, Duration::from_secs(300))
}

/// What a token of this version tells about its end.
async fn life(token: &'static str, at: &'static str, body: Value, expected: Remaining) {
    let answer = json(200, &body.to_string()).insert_header("date", "Tue, 01 Dec 2026 08:00:00 GMT");
    let rancher = Rancher::with(at, answer).await;
    let reading = rancher.client_with(static_token(token)).token_info().await.unwrap();
    let TokenReading::Known(info) = reading else { panic!("{reading:?}") };
    assert_eq!(info.remaining("2026-12-01T08:00:00Z".parse().unwrap()), expected);
}

/// A driver, a provider and a configuration, and who owns that.
async fn owner(raw: Value, expected: &'static str) {
    let mut raw = raw;
    raw["id"] = value!("c-x7k2p");
    let ownership = classify(&read(&raw).await);
    assert!(format!("{ownership:?}").starts_with(expected), "{ownership:?}");
}

fn owner_cases() -> Vec<Case> {
    let row = |name, raw, expected| case("§7.4", format!("owner: {name}"), owner(raw, expected));
    vec![
        row("a generic import", value!({"driver": "imported", "provider": "aks"}), "Generic"),
        row(
            "a generic import before its first contact",
            value!({"driver": "imported", "provider": ""}),
            "Generic",
        ),
        row(
            "a configuration that wants nothing",
            value!({"driver": "AKS", "aksConfig": {"imported": true, "nodePools": null, "kubernetesVersion": null}}),
            "Unmanaged",
        ),
        row(
            "a configuration that wants a version only",
            value!({"driver": "AKS", "aksConfig": {"kubernetesVersion": "1.29.7"}}),
            "Managed",
        ),
        row(
            "a configuration that wants no pools at all",
            value!({"driver": "AKS", "aksConfig": {"nodePools": []}}),
            "Managed",
        ),
        row(
            "AKS nodes under another driver",
            value!({"driver": "rke2", "provider": "aks"}),
            "Refused(Driver",
        ),
        row("no driver yet", value!({"driver": null, "provider": "aks"}), "Refused(Driver"),
        row("another cloud", value!({"driver": "imported", "provider": "eks"}), "Refused(Provider"),
        row(
            "driver AKS without a configuration",
            value!({"driver": "AKS", "aksConfig": null, "aksStatus": {"upstreamSpec": null}}),
            "Refused(NoConfig)",
        ),
        row(
            "a pool in another form",
            value!({"driver": "AKS", "aksConfig": {"nodePools": [{"name": 7}]}}),
            "Refused(Unreadable",
        ),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = owner_cases();
    cases.extend(vec![
        case("§9 2.6", "a generic import, nulls and all", async {
            let cluster = read(&imported_2_6()).await;
            assert_eq!(classify(&cluster), Ownership::Generic);
            assert_eq!((cluster.kubernetes_version(), cluster.node_count()), (Some("v1.20.7"), Some(5)));
            assert_eq!((cluster.aks_config(), cluster.upstream_spec(), cluster.ca_cert()), (None, None, Ok(None)));
            assert_eq!(cluster.connection(), Some(Connection::Tunnel));
            assert_eq!(sync(&cluster), Ok(()));
        }),
        case("§9 2.6", "API keys without an end", life(
            "token-7x2kp:abc", "/v3/tokens/token-7x2kp",
            value!({"id": "token-7x2kp", "name": "token-7x2kp", "ttl": 0, "expiresAt": "", "expired": false, "enabled": true}),
            Remaining::Unlimited,
        )),
        case("§9 2.7", "the version's own page", async {
            let rancher = Rancher::with("/v3/settings/server-version", json(404, r#"{"type":"error","code":"NotFound"}"#)).await;
            let page = r#"{"Version":"v2.7.9","GitCommit":"abc","RancherPrime":"true"}"#;
            let rancher = rancher.and("/rancherversion", json(200, page)).await;
            assert_eq!(rancher.client().server_version().await.unwrap().major_minor(), Some((2, 7)));
        }),
        case("§9 2.8", "API keys end after 90 days", life(
            "token-7x2kp:abc", "/v3/tokens/token-7x2kp",
            value!({"name": "token-7x2kp", "ttl": 7_776_000_000_u64, "expiresAt": "2027-03-01T08:00:00Z", "enabled": true}),
            Remaining::For(Duration::from_secs(90 * 24 * 3600)),
        )),
        case("§9 2.8", "kubeconfig tokens end, and have a dot in their name", life(
            "kubeconfig-u-abc.c-x7k2p:abc", "/v3/tokens/kubeconfig-u-abc.c-x7k2p",
            value!({"name": "kubeconfig-u-abc.c-x7k2p", "clusterId": "c-x7k2p", "expiresAt": "2026-12-31T08:00:00Z"}),
            Remaining::For(Duration::from_secs(30 * 24 * 3600)),
        )),
        case("§9 2.9", "an AKS cluster managed and at rest", async {
            let cluster = read(&managed(&one_pool())).await;
            assert!(matches!(classify(&cluster), Ownership::Managed(_)));
            assert_eq!(sync(&cluster), Ok(()));
            assert_eq!((cluster.azure_name(), cluster.azure_resource_group()), (Some("shop-acc"), Some("rg-shop")));
            assert_eq!(cluster.azure_credential(), Some("cattle-global-data:cc-abcde"));
            assert_eq!(cluster.connection(), Some(Connection::Direct));
        }),
        case("§3.2", "a private AKS cluster is reached through its agent", async {
            let mut raw = managed(&one_pool());
            raw["aksStatus"]["privateRequiresTunnel"] = value!(true);
            assert_eq!(read(&raw).await.connection(), Some(Connection::Tunnel));
        }),
        case("§9 2.11", "a cluster of the new provisioning, in a state nobody has heard of", async {
            let mut raw = imported_2_6();
            raw["state"] = value!("somersaulting");
            raw["transitioning"] = value!("sideways");
            raw["newIn211"] = value!({"a": [1, {"b": null}]});
            let cluster = read(&raw).await;
            assert_eq!(cluster.state(), "somersaulting");
            assert_eq!(*cluster.transitioning(), Transitioning::Unknown("sideways".into()));
        }),
        case("§9 2.12", "extension tokens", life(
            "ext/token-9mm4z:abc", "/v1/ext.cattle.io.tokens/token-9mm4z",
            value!({"metadata": {"name": "token-9mm4z"}, "spec": {"userID": "u-1", "kind": "", "ttl": 1},
                    "status": {"current": true, "expired": false, "expiresAt": "2026-12-01T10:00:00Z", "hash": "$3:x"}}),
            Remaining::For(Duration::from_secs(7200)),
        )),
        case("§9 2.13", "the bearer of the create reply is not needed to read a token", life(
            "ext/token-9mm4z:abc", "/v1/ext.cattle.io.tokens/token-9mm4z",
            value!({"metadata": {"name": "token-9mm4z"}, "spec": {"enabled": false},
                    "status": {"expiresAt": "2026-12-01T10:00:00Z", "bearerToken": "ext/token-9mm4z:x"}}),
            Remaining::Over,
        )),
        case("§9 2.14", "more system namespaces", async {
            let system = rancher_client::projects::SystemNamespaces::default();
            for name in ["cattle-tokens", "cattle-oidc-codes", "cattle-local-user-passwords", "cattle-scc-system"] {
                assert!(system.names().contains(name), "{name}");
            }
        }),
        case("§9 2.15", "a path that was cleaned comes back as a redirect, and is not followed", async {
            let moved = wiremock::ResponseTemplate::new(301).insert_header("location", "/v3/clusters");
            let rancher = Rancher::with(LIST, moved).await;
            let error = rancher.client().clusters().await.unwrap_err();
            assert!(matches!(error, rancher_client::Error::Redirected { followed: false, .. }), "{error:?}");
            assert_eq!(rancher.authorizations(LIST).await.len(), 1);
        }),
        case("§9 2.16", "a development build", async {
            let body = r#"{"name":"server-version","value":"v2.16-59bd052e-head"}"#;
            let rancher = Rancher::with("/v3/settings/server-version", json(200, body)).await;
            assert_eq!(rancher.client().server_version().await.unwrap().major_minor(), Some((2, 16)));
        }),
        case("§2.3 A", "the certificate authority, with a line break in its base64, and a text that is none", async {
            let mut raw = managed(&one_pool());
            raw["caCert"] = value!("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQ\no=");
            let pem = read(&raw).await.ca_cert().unwrap().unwrap();
            assert_eq!(pem, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
            raw["caCert"] = value!("bm90IGEgY2VydGlmaWNhdGU=");
            assert!(read(&raw).await.ca_cert().is_err());
        }),
        case("§7.2", "a pool that Rancher saw in Azure and does not want", async {
            let mut raw = managed(&one_pool());
            let mut seen = one_pool();
            seen.as_array_mut().unwrap().push(value!({"name": "gpu", "count": 1, "mode": "User", "orchestratorVersion": "1.29.7"}));
            raw["aksStatus"]["upstreamSpec"]["nodePools"] = seen;
            let reasons = sync(&read(&raw).await).unwrap_err();
            assert!(matches!(&reasons[..], [OutOfSync::PoolUnknown { name, .. }] if name == "gpu"), "{reasons:?}");
        }),
        case("§7.2", "an upgrade outside Rancher that it answers with a downgrade", async {
            let mut raw = managed(&one_pool());
            raw["aksStatus"]["upstreamSpec"]["kubernetesVersion"] = value!("1.30.1");
            raw["state"] = value!("updating");
            raw["transitioning"] = value!("error");
            raw["transitioningMessage"] = value!("Downgrading Kubernetes version is not allowed");
            raw["conditions"][1] = value!({"type": "Updated", "status": "False", "message": "Downgrading"});
            let reasons = sync(&read(&raw).await).unwrap_err();
            assert_eq!(reasons.len(), 4, "{reasons:?}");
        }),
        case("§7.3", "wanted and not applied", async {
            let mut raw = managed(&one_pool());
            raw["appliedSpec"]["aksConfig"]["nodePools"][0]["count"] = value!(5);
            let reasons = sync(&read(&raw).await).unwrap_err();
            assert_eq!(reasons, [OutOfSync::NotApplied { fields: vec!["nodePools[0].count".into()] }]);
        }),
        case("§7.4", "Rancher cannot read Azure, and last did long ago", async {
            let mut raw = managed(&one_pool());
            raw["conditions"][1]["message"] = value!("[Syncing error: 403] x");
            raw["annotations"]["clusters.management.cattle.io/ke-last-refresh"] = value!("1699990000");
            let reasons = sync(&read(&raw).await).unwrap_err();
            assert!(matches!(&reasons[..], [OutOfSync::SyncError { .. }, OutOfSync::Stale { age_seconds: Some(10_100) }]), "{reasons:?}");
        }),
        case("§7.4", "a cluster whose owner cannot be told is never in sync", async {
            let mut raw = managed(&one_pool());
            raw["driver"] = value!("rke2");
            let reasons = sync(&read(&raw).await).unwrap_err();
            assert!(matches!(&reasons[..], [OutOfSync::Refused(Refusal::Driver { .. })]), "{reasons:?}");
        }),
    ]);
    cases
}

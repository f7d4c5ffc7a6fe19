//! The Rancher server: its clusters, tokens and settings, in the shapes of its API (norman, `/v3`).

mod answer;
mod collection;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use upgrade_core::inventory::{Ownership, RancherFacts};
use upgrade_core::model::RancherClusterId;

pub(crate) use answer::{RancherError, must_authenticate, router_error};
pub(crate) use collection::{Query, collection};

use crate::scenario::Scenario;
use crate::world::World;

/// The Rancher side of the World.
#[derive(Clone, Debug)]
pub(crate) struct Rancher {
    /// The cluster's id.
    id: RancherClusterId,
    /// Its display name.
    name: String,
    facts: RancherFacts,
    /// The certificate authority of the cluster's API server, as the agent reported it.
    authority: String,
    tokens: BTreeMap<String, Token>,
    settings: BTreeMap<&'static str, Setting>,
    /// When the cluster was imported, and everything else began.
    since: Timestamp,
}

/// An API key.
#[derive(Clone)]
struct Token {
    secret: String,
    expires: Option<Timestamp>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
struct Setting {
    value: String,
    default: &'static str,
}

/// Settings that anybody may read (Rancher: `pkg/multiclustermanager/routes.go`).
const OPEN_SETTINGS: [&str; 7] =
    ["cacerts", "first-login", "ui-banners", "ui-issues", "ui-pl", "ui-brand", "ui-default-landing"];

/// The cloud credential with which this Rancher manages its AKS clusters.
const CREDENTIAL: &str = "cattle-global-data:cc-lab01";

const SYSTEM_NAMESPACES: &str = "kube-system,kube-public,cattle-system,cattle-alerting,cattle-logging,cattle-prometheus,ingress-nginx,cattle-global-data,cattle-istio,kube-node-lease,cert-manager,cattle-global-nt,security-scan,cattle-fleet-system,cattle-fleet-local-system,calico-system,tigera-operator,cattle-impersonation-system";

impl Rancher {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let setting = |default| Setting { value: String::new(), default };
        let mut settings = BTreeMap::from([
            ("aks-refresh", setting("300")),
            ("auth-token-max-ttl-minutes", setting("129600")),
            ("cacerts", setting("")),
            ("first-login", setting("false")),
            ("public-api-body-limit", setting("1Mi")),
            ("system-namespaces", setting(SYSTEM_NAMESPACES)),
        ]);
        let version = scenario.rancher.version.clone().unwrap_or_else(|| "dev".to_owned());
        settings.insert("server-version", Setting { value: version, default: "dev" });
        Self {
            id: scenario.identity.rancher_id.clone(),
            name: scenario.identity.name.clone(),
            facts: scenario.rancher.clone(),
            authority: crate::azure::AUTHORITY.to_owned(),
            tokens: BTreeMap::new(),
            settings,
            since: scenario.start,
        }
    }

    /// The cluster's id on this server.
    pub(crate) fn id(&self) -> &RancherClusterId {
        &self.id
    }

    /// The cluster's display name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What Rancher says of the cluster.
    pub(crate) fn facts(&self) -> &RancherFacts {
        &self.facts
    }

    /// The certificate authority of the cluster's API server, PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The server's version.
    pub(crate) fn version(&self) -> &str {
        self.settings.get("server-version").map_or("dev", |setting| setting.value.as_str())
    }

    /// Makes an API key and returns the bearer, `name:secret`.
    pub(crate) fn issue(&mut self, name: &str, secret: &str, expires: Option<Timestamp>) -> String {
        self.tokens.insert(name.to_owned(), Token { secret: secret.to_owned(), expires });
        format!("{name}:{secret}")
    }

    /// Is this bearer good now? Gives the token's name.
    pub(crate) fn authenticate(&self, bearer: &str, now: Timestamp) -> Option<&str> {
        let (name, secret) = bearer.split_once(':')?;
        let (name, token) = self.tokens.get_key_value(name)?;
        let alive = token.expires.is_none_or(|expires| expires > now);
        (alive && token.secret == secret).then_some(name)
    }

    /// `/v3/tokens/<name>`.
    pub(crate) fn token(&self, name: &str, now: Timestamp) -> Result<Value, RancherError> {
        let token = self.tokens.get(name).ok_or_else(|| RancherError::not_found("token", name))?;
        let expired = token.expires.is_some_and(|expires| expires <= now);
        let lives = token.expires.map(|expires| expires.duration_since(self.since).as_millis());
        Ok(json!({
            "id": name, "name": name, "type": "token", "baseType": "token", "userId": "user-lab01",
            "userPrincipal": "map[displayName:Lab loginName:lab]", "authProvider": "local", "clusterId": Value::Null,
            "description": "made by the lab", "enabled": true, "expired": expired,
            "expiresAt": token.expires.map(|at| at.to_string()).unwrap_or_default(), "isDerived": true,
            "current": false, "ttl": i64::try_from(lives.unwrap_or(0)).unwrap_or(i64::MAX),
            "created": self.since.to_string(), "createdTS": self.since.as_millisecond(),
            "labels": {}, "annotations": {}, "links": {},
        }))
    }

    /// `/v3/settings/<name>`.
    pub(crate) fn setting(&self, name: &str) -> Result<Value, RancherError> {
        let (name, setting) =
            self.settings.get_key_value(name).ok_or_else(|| RancherError::not_found("setting", name))?;
        Ok(json!({
            "id": name, "name": name, "type": "setting", "baseType": "setting", "value": setting.value,
            "default": setting.default, "customized": false, "source": "default", "links": {},
        }))
    }

    /// May anybody read this setting?
    pub(crate) fn is_open_setting(name: &str) -> bool {
        OPEN_SETTINGS.contains(&name)
    }
}

/// Every cluster of the server as `/v3/clusters` shows it, sorted by id: this one, and the one Rancher itself runs on.
pub(crate) fn clusters(world: &World) -> Vec<Value> {
    let mut clusters = vec![cluster(world), local(world)];
    clusters.sort_by(|a, b| a["id"].as_str().cmp(&b["id"].as_str()));
    clusters
}

/// One of them.
pub(crate) fn find_cluster(world: &World, id: &str) -> Result<Value, RancherError> {
    let found = clusters(world).into_iter().find(|cluster| cluster["id"] == id);
    found.ok_or_else(|| RancherError::not_found("cluster", id))
}

fn cluster(world: &World) -> Value {
    let rancher = &world.rancher;
    let (driver, config) = ownership(world);
    let version = world.version();
    let (major, minor) = version.release();
    let transitioning = if rancher.facts.state == "active" { "no" } else { "yes" };
    let mut cluster = common(rancher, rancher.id.as_str(), &rancher.name);
    let own = json!({
        "state": rancher.facts.state, "transitioning": transitioning, "transitioningMessage": "",
        "provider": "aks", "driver": driver, "internal": false,
        "conditions": conditions(rancher),
        "version": {
            "gitVersion": format!("v{version}"), "major": major.to_string(), "minor": minor.to_string(),
            "platform": "linux/amd64", "type": "/v3/schemas/info",
        },
        "apiEndpoint": api_endpoint(world),
        "caCert": STANDARD.encode(&rancher.authority),
        "aksConfig": config,
        "appliedSpec": { "aksConfig": config, "type": "/v3/schemas/clusterSpec" },
        "aksStatus": {
            "upstreamSpec": config, "privateRequiresTunnel": Value::Null, "rbacEnabled": Value::Null,
            "type": "/v3/schemas/aksStatus",
        },
        "labels": { "provider.cattle.io": "aks" },
        "annotations": {
            "clusters.management.cattle.io/ke-last-refresh": world.now().as_second().to_string(),
            "management.cattle.io/current-cluster-controllers-version": format!("v{version}"),
        },
        "nodeCount": world.store.list::<k8s_openapi::api::core::v1::Node>().count(),
    });
    extend(&mut cluster, own);
    cluster
}

/// Rancher's operator takes the API server's name from Azure. Of a generic import the agent reports the service's own
/// address, the same in every cluster.
pub(crate) fn api_endpoint(world: &World) -> String {
    match world.rancher.facts.ownership {
        Ownership::Unmanaged | Ownership::Managed => format!("https://{}:443", world.azure.fqdn()),
        Ownership::Generic | Ownership::Unclear { .. } => "https://10.0.0.1:443".to_owned(),
    }
}

/// `/v3/cloudcredentials/<id>` as its owner sees it: the secret is left out.
pub(crate) fn cloud_credential(world: &World, id: &str) -> Result<Value, RancherError> {
    if id != CREDENTIAL {
        return Err(RancherError::not_found("cloudcredential", id));
    }
    Ok(json!({
        "id": id, "name": "lab", "type": "cloudCredential", "baseType": "cloudCredential", "links": {},
        "azurecredentialConfig": {
            "clientId": "00000000-0000-4000-8000-0000000000c1", "environment": "AzurePublicCloud",
            "subscriptionId": world.azure.id().subscription(),
        },
    }))
}

fn local(world: &World) -> Value {
    let mut cluster = common(&world.rancher, "local", "local");
    let own = json!({
        "state": "active", "transitioning": "no", "transitioningMessage": "", "provider": "k3s", "driver": "k3s",
        "internal": true, "conditions": conditions(&world.rancher), "aksConfig": Value::Null, "nodeCount": 1,
        "aksStatus": { "upstreamSpec": Value::Null, "privateRequiresTunnel": Value::Null, "rbacEnabled": Value::Null },
        "labels": {}, "annotations": {},
    });
    extend(&mut cluster, own);
    cluster
}

fn common(rancher: &Rancher, id: &str, name: &str) -> Value {
    json!({
        "id": id, "name": name, "type": "cluster", "baseType": "cluster", "creatorId": "user-lab01",
        "created": rancher.since.to_string(), "createdTS": rancher.since.as_millisecond(), "links": {}, "actions": {},
    })
}

fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}

fn conditions(rancher: &Rancher) -> Value {
    ["Ready", "Connected", "Provisioned", "Updated", "Waiting"]
        .map(|kind| {
            json!({
                "type": kind, "status": "True", "lastUpdateTime": rancher.since.to_string(),
            })
        })
        .into_iter()
        .collect()
}

/// The driver and the `aksConfig` by which a client tells who owns version and pools. The lab's Rancher never acts on one:
/// it adopts what Azure has at once.
fn ownership(world: &World) -> (&'static str, Value) {
    let id = world.azure.id();
    let mut config = Map::from_iter([
        ("imported".to_owned(), json!(true)),
        ("clusterName".to_owned(), json!(id.name())),
        ("resourceGroup".to_owned(), json!(id.resource_group())),
        ("resourceLocation".to_owned(), json!(world.azure.location())),
        ("azureCredentialSecret".to_owned(), json!(CREDENTIAL)),
        ("kubernetesVersion".to_owned(), Value::Null),
        ("nodePools".to_owned(), Value::Null),
        ("tags".to_owned(), Value::Null),
        ("type".to_owned(), json!("/v3/schemas/aksClusterConfigSpec")),
    ]);
    match &world.rancher.facts.ownership {
        Ownership::Generic => ("imported", Value::Null),
        Ownership::Unmanaged => ("AKS", Value::Object(config)),
        Ownership::Managed => {
            config.insert("kubernetesVersion".to_owned(), json!(world.azure.version().to_string()));
            config.insert("nodePools".to_owned(), node_pools(world));
            ("AKS", Value::Object(config))
        }
        // An AKS driver without a configuration: half of an answer, which nobody can read.
        Ownership::Unclear { .. } => ("AKS", Value::Null),
    }
}

fn node_pools(world: &World) -> Value {
    let pools = world.azure.pool_models().into_iter().map(|pool| {
        json!({
            "name": pool.name.as_str(), "count": pool.count, "orchestratorVersion": pool.version.to_string(),
            "vmSize": pool.vm_size, "mode": pool.mode, "osType": pool.os, "maxPods": pool.max_pods,
            "enableAutoScaling": pool.autoscaling.is_some(),
            "minCount": pool.autoscaling.map(|(min, _)| min), "maxCount": pool.autoscaling.map(|(_, max)| max),
            "availabilityZones": pool.zones, "type": "/v3/schemas/aksNodePool",
        })
    });
    pools.collect()
}

#[cfg(test)]
mod tests;

//! The Rancher server: its clusters, tokens and settings, in the shapes of its API (norman, `/v3`).

mod agreement;
mod answer;
mod collection;
mod operator;
mod record;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use upgrade_core::inventory::{Ownership, RancherFacts, SecondWriter};
use upgrade_core::model::RancherClusterId;

pub(crate) use answer::{RancherError, must_authenticate, router_error};
pub(crate) use collection::{Query, collection};
pub use operator::RancherDeed;
pub(crate) use operator::{RancherWake, on_wake};

use crate::scenario::Scenario;
use crate::world::{Wake, World};
use record::AksRecord;

/// The Rancher side of the World.
#[derive(Clone, Debug)]
pub(crate) struct Rancher {
    /// The cluster's id.
    id: RancherClusterId,
    /// Its display name.
    name: String,
    /// What the scenario says of it, at the first moment.
    facts: RancherFacts,
    /// What it holds of the cluster in Azure; nothing of a generic import.
    record: Option<AksRecord>,
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
    /// The one cluster it is limited to.
    scope: Option<RancherClusterId>,
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
            ("aks-refresh", Setting { value: refresh_setting(scenario), default: DEFAULT_REFRESH }),
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
            record: None,
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

    /// How often Azure is read.
    fn refresh(&self) -> Duration {
        let setting = self.settings.get("aks-refresh");
        let text = setting.map_or(DEFAULT_REFRESH, |s| if s.value.is_empty() { s.default } else { &s.value });
        Duration::from_secs(text.parse().unwrap_or(300))
    }

    /// Does it hold a configuration of the cluster in Azure?
    pub(crate) fn has_aks_config(&self) -> bool {
        self.record.is_some()
    }

    /// When the token that the scenario gives ends.
    pub(crate) fn token_expires(&self) -> Option<Timestamp> {
        self.facts.token_expires
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
        self.tokens.insert(name.to_owned(), Token { secret: secret.to_owned(), expires, scope: None });
        format!("{name}:{secret}")
    }

    /// Is this bearer good now, at this path? Gives the token's name. One that is limited to a cluster opens what lies below
    /// that cluster and nothing else (Rancher: `pkg/clusterrouter/lookup.go`).
    pub(crate) fn authenticate(&self, bearer: &str, path: &[&str], now: Timestamp) -> Option<&str> {
        let (name, secret) = bearer.split_once(':')?;
        let (name, token) = self.tokens.get_key_value(name)?;
        let alive = token.expires.is_none_or(|expires| expires > now);
        let within = token.scope.as_ref().is_none_or(|scope| match path {
            ["k8s" | "v3", "clusters" | "cluster" | "proxy", id, ..] => *id == scope.as_str(),
            _ => false,
        });
        (alive && within && token.secret == secret).then_some(name)
    }

    /// `/v3/tokens/<name>`.
    pub(crate) fn token(&self, name: &str, now: Timestamp) -> Result<Value, RancherError> {
        let token = self.tokens.get(name).ok_or_else(|| RancherError::not_found("token", name))?;
        let expired = token.expires.is_some_and(|expires| expires <= now);
        let lives = token.expires.map(|expires| expires.duration_since(self.since).as_millis());
        Ok(json!({
            "id": name, "name": name, "type": "token", "baseType": "token", "userId": "user-lab01",
            "userPrincipal": "map[displayName:Lab loginName:lab]", "authProvider": "local", "clusterId": token.scope.as_ref().map(RancherClusterId::as_str),
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

/// Rancher's own default for `aks-refresh`.
const DEFAULT_REFRESH: &str = "300";

/// Empty where it is the default, as Rancher shows it.
fn refresh_setting(scenario: &Scenario) -> String {
    match &scenario.rancher.ownership {
        Ownership::Managed(writer) if writer.refresh_seconds.to_string() != DEFAULT_REFRESH => {
            writer.refresh_seconds.to_string()
        }
        _ => String::new(),
    }
}

impl World {
    /// Sets Rancher's loops going, and whatever the scenario has somebody do there.
    pub(crate) fn begin_rancher(&mut self, deeds: &[(Duration, RancherDeed)]) {
        operator::begin(self);
        for (after, deed) in deeds {
            self.schedule(*after, Wake::Rancher(RancherWake::Deed(*deed)));
        }
    }

    /// Makes an API key that is limited to this cluster, and returns the bearer, `name:secret`.
    pub fn issue_scoped_token(&mut self, name: &str, secret: &str) -> String {
        let bearer = self.rancher.issue(name, secret, None);
        let scope = self.rancher.id.clone();
        if let Some(token) = self.rancher.tokens.get_mut(name) {
            token.scope = Some(scope);
        }
        bearer
    }
}

/// The cluster's state where the agent has lost its tunnel (Rancher: `pkg/controllers/management/clusterconnected`).
const UNAVAILABLE: &str = "unavailable";

/// Has Rancher a way to the cluster?
fn is_connected(world: &World) -> bool {
    !world.weather.agent_is_lost(world.now())
}

/// What Rancher says of the cluster now.
pub(crate) fn facts(world: &World) -> RancherFacts {
    let rancher = &world.rancher;
    let managed = |record: &AksRecord| SecondWriter {
        out_of_sync: agreement::reasons(world, record),
        refresh_seconds: rancher.refresh().as_secs(),
        last_refresh: Some(record.refreshed),
    };
    let ownership = match &rancher.record {
        None => rancher.facts.ownership.clone(),
        Some(record) if !record.is_managed() => Ownership::Unmanaged,
        Some(record) => Ownership::Managed(managed(record)),
    };
    let state = rancher.record.as_ref().map(AksRecord::standing).filter(|(state, ..)| *state != "active");
    RancherFacts {
        ownership,
        state: match state {
            _ if !is_connected(world) => UNAVAILABLE.to_owned(),
            Some((state, ..)) => state.to_owned(),
            None => rancher.facts.state.clone(),
        },
        clock_ahead_seconds: Some(0),
        ..rancher.facts.clone()
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
    let record = rancher.record.as_ref();
    let (state, transitioning, updated, message) = record.map_or_else(
        || {
            let transitioning = if rancher.facts.state == "active" { "no" } else { "yes" };
            (rancher.facts.state.as_str(), transitioning, "True", String::new())
        },
        |record| {
            let (state, transitioning, updated, message) = record.standing();
            (
                if state == "active" { rancher.facts.state.as_str() } else { state },
                transitioning,
                updated,
                message,
            )
        },
    );
    let connected = is_connected(world);
    let state = if connected { state } else { UNAVAILABLE };
    // Without a record it is a generic import, or an AKS driver without a configuration: half of an answer.
    let driver = match (&rancher.facts.ownership, record) {
        (Ownership::Generic, None) => "imported",
        _ => "AKS",
    };
    let config = |of: fn(&AksRecord) -> &Map<String, Value>| {
        record.map_or(Value::Null, |r| configuration(world, of(r)))
    };
    let version = world.version();
    let (major, minor) = version.release();
    let mut annotations =
        json!({ "management.cattle.io/current-cluster-controllers-version": format!("v{version}") });
    if let Some(record) = record {
        annotations["clusters.management.cattle.io/ke-last-refresh"] =
            record.refreshed.as_second().to_string().into();
    }
    let mut cluster = common(rancher, rancher.id.as_str(), &rancher.name);
    let own = json!({
        "state": state, "transitioning": transitioning, "transitioningMessage": message,
        "provider": "aks", "driver": driver, "internal": false,
        "conditions": conditions(rancher, connected, (updated, &message)),
        "version": {
            "gitVersion": format!("v{version}"), "major": major.to_string(), "minor": minor.to_string(),
            "platform": "linux/amd64", "type": "/v3/schemas/info",
        },
        "apiEndpoint": api_endpoint(world),
        "caCert": STANDARD.encode(&rancher.authority),
        "aksConfig": config(|record| &record.config),
        "appliedSpec": { "aksConfig": config(|record| &record.applied), "type": "/v3/schemas/clusterSpec" },
        "aksStatus": {
            "upstreamSpec": config(|record| &record.upstream), "privateRequiresTunnel": Value::Null,
            "rbacEnabled": Value::Null, "type": "/v3/schemas/aksStatus",
        },
        "labels": { "provider.cattle.io": "aks" },
        "annotations": annotations,
        "nodeCount": world.store.list::<k8s_openapi::api::core::v1::Node>().count(),
    });
    extend(&mut cluster, own);
    cluster
}

/// Rancher's operator takes the API server's name from Azure. Of a generic import the agent reports the service's own
/// address, the same in every cluster.
pub(crate) fn api_endpoint(world: &World) -> String {
    if world.rancher.has_aks_config() {
        format!("https://{}:443", world.azure.fqdn())
    } else {
        "https://10.0.0.1:443".to_owned()
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
        "internal": true, "conditions": conditions(&world.rancher, true, ("True", "")), "aksConfig": Value::Null, "nodeCount": 1,
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

fn conditions(rancher: &Rancher, connected: bool, (updated, message): (&str, &str)) -> Value {
    ["Ready", "Connected", "Provisioned", "Updated", "Waiting"]
        .map(|kind| {
            let (status, reason, message) = match kind {
                "Updated" => (updated, "", message),
                "Ready" if !connected => ("False", "Disconnected", "Cluster agent is not connected"),
                "Connected" if !connected => ("False", "", ""),
                _ => ("True", "", ""),
            };
            let mut condition = json!({
                "type": kind, "status": status, "message": message, "lastUpdateTime": rancher.since.to_string(),
            });
            if !reason.is_empty() {
                condition["reason"] = reason.into();
            }
            condition
        })
        .into_iter()
        .collect()
}

/// A configuration with the names that tell which cluster it is for, and the types that norman puts into nested objects.
fn configuration(world: &World, config: &Map<String, Value>) -> Value {
    let id = world.azure.id();
    let mut shown = json!({
        "imported": true, "clusterName": id.name(), "resourceGroup": id.resource_group(),
        "resourceLocation": world.azure.location(), "azureCredentialSecret": CREDENTIAL,
        "kubernetesVersion": Value::Null, "nodePools": Value::Null, "tags": Value::Null,
        "type": "/v3/schemas/aksClusterConfigSpec",
    });
    extend(&mut shown, Value::Object(config.clone()));
    for pool in shown["nodePools"].as_array_mut().into_iter().flatten() {
        pool["type"] = "/v3/schemas/aksNodePool".into();
    }
    shown
}

#[cfg(test)]
mod loops_tests;
#[cfg(test)]
mod tests;

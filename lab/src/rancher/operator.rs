//! Rancher's two loops around an AKS cluster.
//!
//! The refresher reads Azure every `aks-refresh` seconds and takes over what it sees, where nothing is waiting to be applied
//! (Rancher: `clusterupstreamrefresher`). The operator makes Azure match what is wanted: on a change of that, when it starts,
//! and every ten hours (aks-operator: `updateUpstreamClusterState`). Between a change made in Azure and the next refresh the
//! operator, should it wake, takes the change back.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use upgrade_core::model::PoolName;

use super::record::{AksRecord, Config, Phase, pools, upstream};
use crate::azure::{ArmError, Conditions};
use crate::world::{Wake, World};

/// How long the operator waits before it looks again at what it has begun.
const WAIT: Duration = Duration::from_secs(30);
/// Informers list everything anew so often (lasso: `CATTLE_RESYNC_DEFAULT`).
const RESYNC: Duration = Duration::from_secs(600 * 60);
/// From a change of the record to the operator's look at it, in milliseconds, from and to.
const NOTICED: (u64, u64) = (1_000, 4_000);
/// What a refresh is late by, in milliseconds, from and to.
const LATE: (u64, u64) = (0, 5_000);

/// Something that will happen in Rancher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RancherWake {
    /// Azure is read.
    Refresh,
    /// The operator looks, if it is still to look at this moment.
    Operate,
    /// The operator looks at everything.
    Resync,
    /// Somebody does something.
    Deed(RancherDeed),
}

/// What somebody does to a cluster in Rancher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RancherDeed {
    /// Restarts the operator, as an upgrade of Rancher does: it looks at the cluster at once.
    RestartOperator,
    /// Opens the form to edit the cluster, which shows it as it is wanted now.
    OpenForm,
    /// Saves the form, with what it showed when it was opened.
    SaveForm,
}

impl fmt::Display for RancherDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RestartOperator => "restarts the operator",
            Self::OpenForm => "opens the form of the cluster",
            Self::SaveForm => "saves the form of the cluster",
        })
    }
}

/// Makes the record of the cluster, and sets the loops going where there is one.
pub(super) fn begin(world: &mut World) {
    let record = AksRecord::of(&world.rancher.facts.ownership, &world.azure.cluster(), world.now());
    world.rancher.record = record;
    if world.rancher.record.is_none() {
        return;
    }
    let refresh = world.rancher.refresh();
    world.schedule(refresh, Wake::Rancher(RancherWake::Refresh));
    world.schedule(RESYNC, Wake::Rancher(RancherWake::Resync));
    operate_soon(world);
}

/// Carries out what is due.
pub(crate) fn on_wake(world: &mut World, wake: RancherWake) {
    match wake {
        RancherWake::Refresh => {
            refresh(world);
            let next = world.rancher.refresh() + world.between(LATE.0, LATE.1);
            world.schedule(next, Wake::Rancher(RancherWake::Refresh));
        }
        RancherWake::Operate => {
            let now = world.now();
            let due = world.rancher.record.as_mut().and_then(|record| record.due.take_if(|due| *due == now));
            if due.is_some() {
                operate(world);
            }
        }
        RancherWake::Resync => {
            operate(world);
            world.schedule(RESYNC, Wake::Rancher(RancherWake::Resync));
        }
        RancherWake::Deed(deed) => world.in_rancher(deed),
    }
}

impl World {
    /// Somebody does something in Rancher. A generic import has no operator and no form.
    pub fn in_rancher(&mut self, deed: RancherDeed) {
        let Some(record) = &mut self.rancher.record else { return };
        match deed {
            RancherDeed::RestartOperator => operate_soon(self),
            RancherDeed::OpenForm => record.form = Some(record.form()),
            RancherDeed::SaveForm => {
                if let Some(form) = record.form.take() {
                    record.config = form;
                    operate_soon(self);
                }
            }
        }
    }
}

fn operate_soon(world: &mut World) {
    let soon = world.between(NOTICED.0, NOTICED.1);
    operate_after(world, soon);
}

fn operate_after(world: &mut World, after: Duration) {
    let at = world.now() + after;
    let Some(record) = &mut world.rancher.record else { return };
    if record.due.is_none_or(|due| due > at) {
        record.due = Some(at);
        world.schedule(after, Wake::Rancher(RancherWake::Operate));
    }
}

/// The first loop.
fn refresh(world: &mut World) {
    let (now, shown) = (world.now(), world.azure.cluster());
    let Some(record) = &mut world.rancher.record else { return };
    record.upstream = upstream(&shown, &record.config);
    record.refreshed = now;
    if record.adopt() {
        operate_soon(world);
    }
}

/// The second loop: one look, and one repair.
fn operate(world: &mut World) {
    let shown = world.azure.cluster();
    let Some(record) = &mut world.rancher.record else { return };
    if shown["properties"]["provisioningState"] == "Failed" {
        record.failure = Some("update failed for cluster, status: Failed".to_owned());
        return operate_after(world, WAIT);
    }
    if is_at_work(&shown) {
        // Somebody else's update is waited for by doing nothing; the next change or start looks again.
        if record.phase == Phase::Active && record.failure.is_none() {
            record.applied.clone_from(&record.config);
            return;
        }
        return operate_after(world, WAIT);
    }
    let upstream = upstream(&shown, &record.config);
    let Some(repair) = next_repair(&record.config, &upstream) else {
        record.phase = Phase::Active;
        record.failure = None;
        record.applied.clone_from(&record.config);
        return;
    };
    record.phase = Phase::Updating;
    let failure = carry_out(world, repair, &shown).err();
    if let Some(record) = &mut world.rancher.record {
        record.failure = failure;
    }
    operate_after(world, WAIT);
}

/// The states that the operator waits for. `Upgrading` of the cluster itself is not among them.
fn is_at_work(shown: &Value) -> bool {
    let at = |value: &Value, words: &[&str]| {
        value["provisioningState"].as_str().is_some_and(|word| words.contains(&word))
    };
    let pools = shown["properties"]["agentPoolProfiles"].as_array();
    at(&shown["properties"], &["InProgress", "Updating"])
        || pools.is_some_and(|pools| {
            pools.iter().any(|pool| at(pool, &["Creating", "Scaling", "Deleting", "Upgrading"]))
        })
}

/// What the operator does about the first difference that it finds.
enum Repair {
    Tags(Value),
    Version(Value),
    /// A pool is made, or made to match.
    Put(Value),
    Remove(PoolName),
    Refused(String),
}

/// One at a time: tags, version, pools by name, then pools that nobody wants.
fn next_repair(config: &Config, upstream: &Config) -> Option<Repair> {
    let differs = |field: &str| {
        config.get(field).filter(|wanted| !wanted.is_null() && Some(*wanted) != upstream.get(field))
    };
    if let Some(tags) = differs("tags") {
        return Some(Repair::Tags(tags.clone()));
    }
    if let Some(version) = differs("kubernetesVersion") {
        return Some(Repair::Version(version.clone()));
    }
    config.get("nodePools").filter(|pools| !pools.is_null())?;
    for wanted in pools(config) {
        let found = pools(upstream).find(|pool| pool["name"] == wanted["name"]);
        let Some(found) = found else { return Some(Repair::Put(wanted.clone())) };
        let zones = &wanted["availabilityZones"];
        if !zones.is_null() && *zones != found["availabilityZones"] {
            let message = format!(
                "Changing availability zones for node pool [{}] is not permitted",
                text(&wanted["name"])
            );
            return Some(Repair::Refused(message));
        }
        if pool_differs(wanted, found) {
            return Some(Repair::Put(wanted.clone()));
        }
    }
    let unknown = pools(upstream).find(|pool| pools(config).all(|wanted| wanted["name"] != pool["name"]))?;
    let system = |pool: &Value| pool["mode"] == "System";
    if system(unknown) && !pools(config).any(system) {
        let message =
            format!("cannot remove node pool [{}] with mode System from cluster", text(&unknown["name"]));
        return Some(Repair::Refused(message));
    }
    PoolName::new(text(&unknown["name"])).ok().map(Repair::Remove)
}

fn pool_differs(wanted: &Value, found: &Value) -> bool {
    let differs = |field: &str| wanted[field] != found[field];
    let given = |field: &str| !wanted[field].is_null() && differs(field);
    let scales_itself = |pool: &Value| pool["enableAutoScaling"] == true;
    let size = if scales_itself(wanted) {
        !scales_itself(found) || differs("minCount") || differs("maxCount")
    } else {
        scales_itself(found) || differs("count")
    };
    size || ["orchestratorVersion", "nodeLabels", "nodeTaints", "maxSurge", "mode"].into_iter().any(given)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn carry_out(world: &mut World, repair: Repair, shown: &Value) -> Result<(), String> {
    let failed = |error: ArmError| format!("failed to update cluster: {error}");
    let anyhow = Conditions::default();
    match repair {
        Repair::Refused(message) => Err(message),
        Repair::Tags(tags) => {
            let body = cluster_body(shown, |body| body["tags"] = tags);
            world
                .with_azure(|azure, ground| azure.put_cluster(ground, &anyhow, &body))
                .map(drop)
                .map_err(failed)
        }
        Repair::Version(version) => {
            let body = cluster_body(shown, |body| body["properties"]["kubernetesVersion"] = version);
            world
                .with_azure(|azure, ground| azure.put_cluster(ground, &anyhow, &body))
                .map(drop)
                .map_err(failed)
        }
        Repair::Put(pool) => {
            let (name, body) = (text(&pool["name"]).to_owned(), pool_body(&pool));
            let put = world.with_azure(|azure, ground| azure.put_pool(ground, &name, &anyhow, &body));
            put.map(drop).map_err(failed)
        }
        Repair::Remove(name) => {
            let remove =
                world.with_azure(|azure, ground| azure.delete_pool(ground, name.as_str(), &anyhow, false));
            remove.map(drop).map_err(|error| format!("failed to remove node pool: {error}"))
        }
    }
}

/// The cluster as it is, but for one thing. The pools are left out: the lab's Azure changes none by a request on the cluster.
fn cluster_body(shown: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut body = shown.clone();
    change(&mut body);
    if let Some(properties) = body["properties"].as_object_mut() {
        properties
            .retain(|name, _| !["servicePrincipalProfile", "agentPoolProfiles"].contains(&name.as_str()));
    }
    body
}

/// What Rancher knows of a pool, and nothing else (aks-operator: `CreateOrUpdateAgentPool`).
fn pool_body(pool: &Value) -> Value {
    let mut properties = json!({ "type": "VirtualMachineScaleSets" });
    for (field, value) in pool.as_object().into_iter().flatten() {
        if !value.is_null() && !["name", "maxSurge"].contains(&field.as_str()) {
            properties[field] = value.clone();
        }
    }
    if !pool["maxSurge"].is_null() {
        properties["upgradeSettings"] = json!({ "maxSurge": pool["maxSurge"] });
    }
    if pool["enableAutoScaling"] == true {
        properties.as_object_mut().map(|properties| properties.remove("count"));
    }
    json!({ "properties": properties })
}

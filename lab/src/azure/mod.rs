//! Azure as the lab has it: one managed cluster, its agent pools, and the operations on them.
//!
//! The state is JSON-shaped, because a real pool has properties that the lab has never heard of and they must survive. The
//! rules (which request is refused, in what order, with which code) are those of ARM and AKS, in one place for both faces.
//! Progress is made in [`Azure::on_wake`], which the World calls at the times that Azure asked for.

mod allocation;
mod cluster;
mod error;
mod ground;
mod maintenance;
mod operation;
mod pool;
mod pools;
mod read;
mod region;
mod rules;
mod scale;
mod throttle;
mod trouble;
mod upgrade;
mod versions;
mod wanted;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use upgrade_core::model::{
    ArmId, AvailableUpgrade, KubeVersion, OsType, Pool, PoolMode, PoolName, ProvisioningState,
};

pub(crate) use error::ArmError;
pub(crate) use ground::Ground;
pub(crate) use operation::{OperationId, OperationStatus};
pub use pool::PoolSpec;
pub(crate) use pool::node_image;
pub use region::{AzureLimits, PodNetwork};
pub(crate) use scale::Autoscaled;
pub use throttle::{Bucket, RequestLimits};
#[cfg(feature = "http")]
pub(crate) use throttle::{Handler, Verb};
pub(crate) use upgrade::batches_of as upgrade_batches;
pub(crate) use world::on_wake;

use cluster::Cluster;
use maintenance::NODE_IMAGES;
use operation::{Operation, Progress, Target, Work};
use pool::AgentPool;
use throttle::Buckets;
use trouble::Trouble;
use upgrade::busy;
use versions::Catalogue;
use wanted::{Wanted, invalid, taint_text};

use crate::scenario::Scenario;
use crate::timing::Timing;

/// The certificate authority of the lab's API servers. Nobody has its key.
pub(crate) const AUTHORITY: &str = include_str!("ca.pem");

/// The Azure side of the World.
#[derive(Clone, Debug)]
pub(crate) struct Azure {
    cluster: Cluster,
    pools: BTreeMap<PoolName, AgentPool>,
    operations: BTreeMap<OperationId, Operation>,
    catalogue: Catalogue,
    authority: String,
    /// What the subscription, the region and the network leave room for.
    limits: AzureLimits,
    trouble: Trouble,
    buckets: Buckets,
    /// Counts writes, for eTags.
    writes: u64,
}

/// Conditions of a write, from its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// `If-Match`: the eTag must be this one.
    pub(crate) if_match: Option<String>,
    /// `If-None-Match`: only `*` is allowed, the resource must not exist.
    pub(crate) if_none_match: Option<String>,
}

/// An accepted write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Accepted {
    /// The HTTP status: 200, 201, 202 or 204.
    pub(crate) status: u16,
    /// The resource, where the answer carries it.
    pub(crate) body: Option<Value>,
    /// The operation that was begun; none where nothing had to be done.
    pub(crate) operation: Option<OperationId>,
}

impl Azure {
    /// The scenario's cluster and pools, with their machines.
    ///
    /// The versions on offer in the region are those that the cluster is offered and those that are in use.
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let (cluster, pools) = (&scenario.cluster, &scenario.pools);
        let in_use = pools.iter().map(|pool| pool.version).chain([cluster.version]);
        let in_use = in_use.map(|version| AvailableUpgrade { version, preview: false });
        let mut azure = Self {
            cluster: Cluster::new(cluster, scenario.limits.pod_network, String::new()),
            pools: BTreeMap::new(),
            operations: BTreeMap::new(),
            catalogue: Catalogue::new(cluster.upgrades.iter().copied().chain(in_use)),
            authority: AUTHORITY.to_owned(),
            limits: scenario.limits.clone(),
            trouble: Trouble::default(),
            buckets: Buckets::default(),
            writes: 0,
        };
        for pool in pools {
            let kept = AgentPool {
                state: pool.state.clone(),
                error: pool.error.as_ref().map(|e| ArmError::aks(500, &e.code, e.message.as_str())),
                machines: scenario.machine_names(&pool.name),
                ..AgentPool::new(Wanted::of(pool), properties_of(pool), pool.version)
            };
            azure.pools.insert(pool.name.clone(), kept);
        }
        // Whoever has a schedule for node images wants them.
        if azure.limits.maintenance.keys().any(|name| name.eq_ignore_ascii_case(NODE_IMAGES)) {
            azure.cluster.want_node_images();
        }
        azure.stamp(None);
        azure
    }

    /// What a machine of the pool is made of, at a version.
    fn spec_at(name: &PoolName, pool: &AgentPool, version: KubeVersion, ground: &dyn Ground) -> PoolSpec {
        let wanted = &pool.wanted;
        PoolSpec {
            name: name.clone(),
            mode: wanted.mode.clone(),
            os: wanted.os.clone(),
            vm_size: wanted.vm_size.clone(),
            allocatable: ground.allocatable(&wanted.vm_size),
            max_pods: wanted.max_pods,
            zones: wanted.zones.clone(),
            labels: wanted.labels.clone(),
            taints: wanted.taints.clone(),
            version,
            node_image: node_image(&wanted.os, version),
        }
    }

    /// The cluster's ARM id.
    pub(crate) fn id(&self) -> &ArmId {
        &self.cluster.id
    }

    /// The Azure region.
    pub(crate) fn location(&self) -> &str {
        &self.cluster.location
    }

    /// The resource group of the machines.
    pub(crate) fn node_resource_group(&self) -> &str {
        &self.cluster.node_resource_group
    }

    /// The version the control plane runs.
    pub(crate) fn version(&self) -> KubeVersion {
        self.cluster.version
    }

    /// The API server's public name.
    pub(crate) fn fqdn(&self) -> &str {
        self.cluster.fqdn()
    }

    /// The certificate authority of the API server, PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// How long to wait between looks at an operation, as `Retry-After` says it: 10 s while something is under way (AKS
    /// allows two status reads a second), 15 s otherwise.
    pub(crate) fn look_again(&self) -> Duration {
        let running = self.operations.values().any(|operation| operation.ended.is_none());
        Duration::from_secs(if running { 10 } else { 15 })
    }

    /// New eTags: of the whole cluster, or of one pool. A write to the cluster changes its pools' eTags too, a write to a
    /// pool only its own (AKS: use eTags).
    fn stamp(&mut self, pool: Option<&PoolName>) {
        self.writes += 1;
        let tag = |name: &str| format!("{:08x}-{name}", self.writes.wrapping_mul(0x9e37_79b9) & 0xffff_ffff);
        if pool.is_none() {
            self.cluster.etag = tag("cluster");
        }
        for (name, kept) in self.pools.iter_mut().filter(|(name, _)| pool.is_none_or(|pool| pool == *name)) {
            kept.etag = tag(name.as_str());
        }
    }

    /// 409 where something is under way that a write on `target` must not meet. One operation at a time on the cluster and
    /// on each pool; pools go side by side, and each keeps the cluster busy and the other way round.
    fn refuse_busy(&self, target: &Target) -> Result<(), ArmError> {
        if self.cluster.is_busy() {
            return Err(ArmError::busy(&format!(
                "Another operation ({}) is in progress",
                self.cluster.state
            )));
        }
        let concerned = |name: &PoolName| *target == Target::Cluster || *target == Target::Pool(name.clone());
        match self.pools.iter().find(|(name, pool)| pool.is_busy() && concerned(name)) {
            None => Ok(()),
            Some((name, pool)) if *target == Target::Cluster => Err(ArmError::busy(&format!(
                "Managed Cluster operation is not allowed: Another operation ({}) is in progress on agent pool ({name})",
                pool.state
            ))),
            Some((name, pool)) if pool.state == busy("Deleting") => Err(ArmError::busy(&format!(
                "Unable to perform the operation on '{name}' since deletion was issued"
            ))),
            Some((name, pool)) => {
                Err(ArmError::busy(&format!("Another operation ({name} - {}) is in progress", pool.state)))
            }
        }
    }

    /// Reads a PUT on the cluster against the rules and begins what it asks for.
    pub(crate) fn put_cluster(
        &mut self,
        ground: &mut dyn Ground,
        conditions: &Conditions,
        body: &Value,
    ) -> Result<Accepted, ArmError> {
        check_conditions(conditions, Some(&self.cluster.etag))?;
        self.refuse_busy(&Target::Cluster)?;
        let pools: Vec<_> = self.pools.iter().map(|(name, pool)| (name.as_str(), pool)).collect();
        let change = self.cluster.read_put(body, &pools)?;
        if let Some(to) = change.version {
            let pools: Vec<_> = pools.iter().map(|(name, pool)| ((*name).to_owned(), pool.version)).collect();
            self.catalogue.check_control_plane(self.cluster.version, to, &pools)?;
        }
        let settled = self.cluster.state == ProvisioningState::Succeeded;
        let (word, work) = match change.version {
            None if !change.differs && settled => {
                return Ok(Accepted { status: 200, body: Some(self.cluster()), operation: None });
            }
            // Only settings, or a repair after a failure: the machinery reconciles for a while.
            None => ("Updating", Work::Update { at: ground.now() + ground.takes(Timing::ClusterUpdate) }),
            Some(to) => {
                let at = ground.now() + ground.takes(Timing::ControlPlane);
                ("Upgrading", Work::ControlPlane { to, at })
            }
        };
        self.cluster.take(change);
        let operation = self.begin(ground, Target::Cluster, word, work, None);
        Ok(Accepted { status: 200, body: Some(self.cluster()), operation: Some(operation) })
    }

    /// Enters an operation in the books and lets it begin. `refusal`: why it cannot end well.
    fn begin(
        &mut self,
        ground: &mut dyn Ground,
        target: Target,
        word: &str,
        work: Work,
        refusal: Option<ArmError>,
    ) -> OperationId {
        match &target {
            Target::Cluster => {
                self.cluster.state = busy(word);
                self.cluster.error = None;
                self.stamp(None);
            }
            Target::Pool(name) => {
                if let Some(pool) = self.pools.get_mut(name) {
                    pool.state = busy(word);
                    pool.error = None;
                }
                self.stamp(Some(name));
            }
        }
        let id = OperationId::new(ground.draw(0..=u64::MAX), ground.draw(0..=u64::MAX));
        let operation = Operation {
            target,
            work,
            started: ground.now(),
            ended: None,
            status: OperationStatus::InProgress,
            fails: refusal.or_else(|| self.trouble.take_failure()),
        };
        self.operations.insert(id, operation);
        ground.wake_azure(Duration::ZERO, id);
        id
    }

    /// Carries an operation on. The World calls this at the times asked for by [`Ground::wake_azure`].
    pub(crate) fn on_wake(&mut self, ground: &mut dyn Ground, id: OperationId) {
        let Some(mut operation) = self.operations.remove(&id) else { return };
        if operation.ended.is_none() {
            match self.carry_on(ground, &mut operation) {
                // At least a moment, so that a step that waits for nothing cannot stop time.
                Progress::After(pause) => ground.wake_azure(pause, id),
                Progress::Done => self.end(ground, &mut operation, OperationStatus::Succeeded),
                Progress::Failed(error) => self.end(ground, &mut operation, OperationStatus::Failed(error)),
            }
        }
        self.operations.insert(id, operation);
    }

    /// One look. An operation that is to fail does everything but its last act.
    fn carry_on(&mut self, ground: &mut dyn Ground, operation: &mut Operation) -> Progress {
        match (self.work_on(ground, operation), &operation.fails) {
            (Progress::Done, Some(error)) => Progress::Failed(error.clone()),
            (progress, _) => progress,
        }
    }

    fn work_on(&mut self, ground: &mut dyn Ground, operation: &mut Operation) -> Progress {
        let now = ground.now();
        let until = |at: jiff::Timestamp| {
            if now >= at { Progress::Done } else { Progress::After(at.duration_since(now).unsigned_abs()) }
        };
        match &mut operation.work {
            Work::ControlPlane { to, at } => {
                let progress = until(*at);
                if matches!(progress, Progress::Done) && operation.fails.is_none() {
                    self.cluster.version = *to;
                    ground.control_plane_runs(*to);
                }
                progress
            }
            Work::Update { at } | Work::Forget { at } => until(*at),
            // Whatever its machines say.
            Work::Boot { not_before, .. } if operation.fails.is_some() => until(*not_before),
            Work::Boot { machines, version, not_before, deadline } => {
                upgrade::boot(machines, *version, *not_before, *deadline, ground)
            }
            Work::Upgrade(upgrade) => match self.pool_of(&operation.target) {
                Some(pool) => upgrade.step(pool, operation.fails.as_ref(), ground),
                None => Progress::Done,
            },
            Work::Shrink { machines, ignore_budgets, deadline, delete } => {
                match upgrade::drain(machines, *ignore_budgets, *deadline, ground) {
                    upgrade::Drain::Going => Progress::After(ground.takes(Timing::EvictionPause)),
                    upgrade::Drain::Stuck(error) => Progress::Failed(error),
                    upgrade::Drain::Empty if operation.fails.is_some() => Progress::Done,
                    upgrade::Drain::Empty => {
                        let (gone, delete) = (std::mem::take(machines), *delete);
                        for machine in &gone {
                            ground.remove_machine(machine);
                        }
                        if let Some(pool) = self.pool_of(&operation.target) {
                            pool.machines.retain(|machine| !gone.contains(machine));
                            pool.surge.retain(|machine| !gone.contains(machine));
                        }
                        if !delete {
                            return Progress::Done;
                        }
                        let takes = ground.takes(Timing::PoolRemoval);
                        operation.work = Work::Forget { at: now + takes };
                        Progress::After(takes)
                    }
                }
            }
        }
    }

    fn pool_of(&mut self, target: &Target) -> Option<&mut AgentPool> {
        match target {
            Target::Pool(name) => self.pools.get_mut(name),
            Target::Cluster => None,
        }
    }

    /// Closes an operation and settles what it worked on.
    fn end(&mut self, ground: &mut dyn Ground, operation: &mut Operation, status: OperationStatus) {
        let (state, error) = match &status {
            OperationStatus::Failed(error) => (ProvisioningState::Failed, Some(error.clone())),
            OperationStatus::Canceled => (ProvisioningState::Canceled, None),
            OperationStatus::Succeeded | OperationStatus::InProgress => (ProvisioningState::Succeeded, None),
        };
        let forgotten = matches!(operation.work, Work::Forget { .. }) && status == OperationStatus::Succeeded;
        operation.status = status;
        operation.ended = Some(ground.now());
        match &operation.target {
            Target::Cluster => {
                self.cluster.state = state;
                self.cluster.error = error;
                self.stamp(None);
            }
            Target::Pool(name) if forgotten => {
                self.pools.remove(name);
            }
            Target::Pool(name) => {
                if let Some(pool) = self.pools.get_mut(name) {
                    pool.state = state;
                    pool.error = error;
                }
                let name = name.clone();
                self.stamp(Some(&name));
            }
        }
    }

    /// Aborts the operation under way on the cluster, or on one pool. What was done stays done.
    pub(crate) fn abort(
        &mut self,
        ground: &mut dyn Ground,
        pool: Option<&PoolName>,
    ) -> Result<Accepted, ArmError> {
        let target = pool.cloned().map_or(Target::Cluster, Target::Pool);
        let running = self.operations.iter().find(|(_, op)| op.ended.is_none() && op.target == target);
        let Some((id, mut operation)) = running.map(|(id, op)| (*id, op.clone())) else {
            return Err(ArmError::aks(
                409,
                "OperationNotAllowed",
                "There is no operation in progress to abort.",
            ));
        };
        self.end(ground, &mut operation, OperationStatus::Canceled);
        self.operations.insert(id, operation);
        Ok(Accepted { status: 204, body: None, operation: None })
    }
}

/// Something that will happen in Azure: an operation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AzureWake(OperationId);

/// ETag conditions (AKS: use eTags). `current` is `None` where the resource does not exist.
fn check_conditions(conditions: &Conditions, current: Option<&str>) -> Result<(), ArmError> {
    match (&conditions.if_match, &conditions.if_none_match, current) {
        (Some(_), Some(_), _) => Err(invalid("If-Match and If-None-Match cannot be used together")),
        (_, Some(other), _) if other != "*" => Err(invalid("If-None-Match supports `*` only")),
        (_, Some(_), Some(_)) => {
            Err(ArmError::precondition("The resource exists already (If-None-Match: *)."))
        }
        (Some(_), _, None) => Err(ArmError::precondition("The resource does not exist (If-Match).")),
        (Some(wanted), _, Some(current)) if wanted != current && wanted != "*" => {
            Err(ArmError::precondition(format!("The eTag {wanted} does not match the current one.")))
        }
        _ => Ok(()),
    }
}

/// The JSON of a pool of the core's model.
fn properties_of(pool: &Pool) -> Map<String, Value> {
    let mode = match &pool.mode {
        PoolMode::System => "System",
        PoolMode::User => "User",
        PoolMode::Other(mode) => mode,
    };
    let os = match &pool.os {
        OsType::Linux => "Linux",
        OsType::Windows => "Windows",
        OsType::Other(os) => os,
    };
    let kind = if pool.scale_set { "VirtualMachineScaleSets" } else { "AvailabilitySet" };
    let power = if pool.stopped { "Stopped" } else { "Running" };
    let mut properties = json!({
        "count": pool.count, "vmSize": pool.vm_size, "mode": mode, "osType": os, "maxPods": pool.max_pods,
        "orchestratorVersion": pool.version.to_string(), "type": kind, "powerState": { "code": power },
        "enableAutoScaling": pool.autoscaling.is_some(), "osDiskSizeGB": 128, "osDiskType": "Managed",
        "kubeletDiskType": "OS", "enableNodePublicIP": false, "enableEncryptionAtHost": false, "enableUltraSSD": false,
        "enableFIPS": false, "scaleDownMode": "Delete", "workloadRuntime": "OCIContainer",
    });
    let optional = [
        ("osSKU", (pool.os == OsType::Linux).then(|| json!("Ubuntu"))),
        ("availabilityZones", (!pool.zones.is_empty()).then(|| json!(pool.zones))),
        ("nodeLabels", (!pool.labels.is_empty()).then(|| json!(pool.labels))),
        ("nodeTaints", (!pool.taints.is_empty()).then(|| pool.taints.iter().map(taint_text).collect())),
        ("tags", (!pool.tags.is_empty()).then(|| json!(pool.tags))),
        ("minCount", pool.autoscaling.map(|(min, _)| json!(min))),
        ("maxCount", pool.autoscaling.map(|(_, max)| json!(max))),
        ("scaleSetPriority", pool.spot.then(|| json!("Spot"))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            properties[name] = value;
        }
    }
    let mut settings = Map::new();
    let amounts = [("maxSurge", &pool.upgrade.max_surge), ("maxUnavailable", &pool.upgrade.max_unavailable)];
    for (name, amount) in amounts {
        if let Some(amount) = amount {
            settings.insert(name.to_owned(), amount.as_str().into());
        }
    }
    if !settings.is_empty() {
        properties["upgradeSettings"] = Value::Object(settings);
    }
    match properties {
        Value::Object(properties) => properties,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;

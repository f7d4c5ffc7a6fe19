//! Writes on agent pools.

use serde_json::{Map, Value};
use upgrade_core::model::{KubeVersion, PoolMode, PoolName, ProvisioningState, VersionRequest};

use super::error::ArmError;
use super::ground::Ground;
use super::operation::{Target, Work};
use super::pool::{AgentPool, node_image};
use super::rules::MOST_NODES;
use super::upgrade::{Upgrade, batches, batches_now, boot_times, missing_surge};
use super::wanted::{SCALE_SET, Wanted, invalid, unsupported};
use super::{Accepted, Azure, Conditions, check_conditions};
use crate::timing::Timing;

/// Read-only members of a pool: accepted in a PUT, and ignored.
const READ_ONLY: [&str; 6] =
    ["eTag", "currentOrchestratorVersion", "provisioningState", "status", "nodeImageVersion", "name"];

/// Members that AKS never changes after a pool was made.
const IMMUTABLE: [&str; 13] = [
    "vmSize",
    "osType",
    "osDiskSizeGB",
    "osDiskType",
    "kubeletDiskType",
    "maxPods",
    "availabilityZones",
    "vnetSubnetID",
    "podSubnetID",
    "enableNodePublicIP",
    "enableFIPS",
    "scaleSetPriority",
    "type",
];

/// What AKS calls its own failure where a pool that is there cannot get its machines.
const RECONCILER: &str = "ReconcileVMSSAgentPoolFailed";

/// Members that AKS can change on a living pool, and the lab cannot.
const UNMODELLED: [&str; 4] = ["mode", "nodeLabels", "nodeTaints", "powerState"];

impl Azure {
    /// Creates a pool, or changes one.
    pub(crate) fn put_pool(
        &mut self,
        ground: &mut dyn Ground,
        name: &str,
        conditions: &Conditions,
        body: &Value,
    ) -> Result<Accepted, ArmError> {
        let current = PoolName::new(name).ok().and_then(|name| self.pools.get(&name));
        check_conditions(conditions, current.map(|pool| pool.etag.as_str()))?;
        let asked = body.get("properties").and_then(Value::as_object);
        let asked =
            asked.ok_or_else(|| ArmError::aks(400, "BadRequest", "the request body has no properties"))?;
        match PoolName::new(name) {
            Ok(name) if current.is_some() => self.change_pool(ground, &name, asked),
            Ok(name) => self.create_pool(ground, &name, asked),
            Err(_) => Err(invalid(format!(
                "The agent pool name `{name}` is invalid: it must match ^[a-z][a-z0-9]{{0,11}}$"
            ))),
        }
    }

    fn create_pool(
        &mut self,
        ground: &mut dyn Ground,
        name: &PoolName,
        asked: &Map<String, Value>,
    ) -> Result<Accepted, ArmError> {
        self.refuse_busy(&Target::Pool(name.clone()))?;
        let mut properties: Map<String, Value> = asked
            .iter()
            .filter(|(n, _)| !READ_ONLY.contains(&n.as_str()))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let wanted = Wanted::read(&properties)?;
        self.check_rules(name, &wanted)?;
        let most = self.cluster.max_pools;
        if self.pools.len() >= most as usize {
            let message = format!("The number of agent pools must not be more than {most}.");
            return Err(ArmError::aks(400, "MaxAgentPoolCountReached", message));
        }
        let control_plane = self.cluster.version;
        let version = match wanted.version {
            Some(request) => self.catalogue.resolve(request, control_plane)?,
            None => control_plane,
        };
        self.catalogue.check_pool(name.as_str(), None, version, control_plane)?;
        self.check_quota(ground, &wanted, wanted.count as usize)?;
        self.check_subnet(name, &wanted, &properties, 0)?;
        // A GET always shows the effective version.
        properties.entry("orchestratorVersion").or_insert_with(|| version.to_string().into());
        let allocated =
            self.allocate(&wanted, &properties, wanted.count as usize, "CreateVMSSAgentPoolFailed");
        let mut pool = AgentPool::new(wanted, properties, version);
        let spec = Self::spec_at(name, &pool, version, ground);
        pool.machines = (0..allocated.machines).map(|_| ground.add_machine(&spec)).collect();
        let (not_before, deadline) = boot_times(ground);
        let work = Work::Boot { machines: pool.machines.clone(), version, not_before, deadline };
        self.pools.insert(name.clone(), pool);
        let operation = self.begin(ground, Target::Pool(name.clone()), "Creating", work, allocated.refusal);
        Ok(Accepted { status: 201, body: self.pool_shown(name), operation: Some(operation) })
    }

    fn change_pool(
        &mut self,
        ground: &mut dyn Ground,
        name: &PoolName,
        asked: &Map<String, Value>,
    ) -> Result<Accepted, ArmError> {
        self.refuse_busy(&Target::Pool(name.clone()))?;
        let pool = &self.pools[name];
        let back = pool.rollback(asked, ground.now());
        let merged = merge(pool, asked, back.is_some())?;
        let wanted = Wanted::read(&merged)?;
        self.check_rules(name, &wanted)?;
        let to = match back {
            Some(back) => self.check_rollback(back)?,
            None => self.version_asked(name, pool, &wanted)?,
        };
        let broken = matches!(pool.state, ProvisioningState::Failed | ProvisioningState::Canceled);
        let short = broken && to == pool.version && pool.machines.len() < wanted.count as usize;
        let scaled = wanted.count != pool.wanted.count || short;
        if scaled && to != pool.version {
            let message = "Updating Kubernetes version and agent node scaling are mutually exclusive operations. Please perform them separately.";
            return Err(ArmError::aks(400, "OperationNotAllowed", message));
        }
        if to == pool.version && merged == pool.properties && !broken {
            return Ok(Accepted { status: 200, body: self.pool_shown(name), operation: None });
        }
        let upgrades = to != pool.version;
        let mut pool = pool.clone();
        (pool.wanted, pool.properties) = (wanted, merged);
        if upgrades {
            self.check_before_upgrade(ground, &pool.wanted)?;
            pool.leaves_version(ground.now());
            pool.version = to;
        }
        let (word, work, refusal) = if scaled {
            let (work, refusal) = self.scale(ground, name, &mut pool)?;
            ("Scaling", work, refusal)
        } else if upgrades || broken {
            let (work, refusal) = self.upgrade(ground, name, &mut pool)?;
            ("Upgrading", work, refusal)
        } else {
            ("Updating", Work::Update { at: ground.now() + ground.takes(Timing::PoolUpdate) }, None)
        };
        self.pools.insert(name.clone(), pool);
        let operation = self.begin(ground, Target::Pool(name.clone()), word, work, refusal);
        Ok(Accepted { status: 200, body: self.pool_shown(name), operation: Some(operation) })
    }

    /// The version that a change asks for, by the rules.
    fn version_asked(
        &self,
        name: &PoolName,
        pool: &AgentPool,
        wanted: &Wanted,
    ) -> Result<KubeVersion, ArmError> {
        let control_plane = self.cluster.version;
        let to = match wanted.version {
            // The alias of the release it has upgrades nothing.
            Some(request @ VersionRequest::Minor { .. }) if request.admits(pool.version) => pool.version,
            Some(request) => self.catalogue.resolve(request, control_plane)?,
            None => pool.version,
        };
        self.catalogue.check_pool(name.as_str(), Some(pool.version), to, control_plane)?;
        Ok(to)
    }

    /// Begins to add or to remove machines.
    fn scale(
        &self,
        ground: &mut dyn Ground,
        name: &PoolName,
        pool: &mut AgentPool,
    ) -> Result<(Work, Option<ArmError>), ArmError> {
        let (have, want) = (pool.machines.len(), pool.wanted.count as usize);
        if want <= have {
            // The newest machines go first.
            let machines = pool.machines[want..].to_vec();
            let ignore_budgets = self.cluster.forces_upgrades(ground.now());
            return Ok((shrink(ground, machines, pool, ignore_budgets, false), None));
        }
        self.check_quota(ground, &pool.wanted, want - have)?;
        self.check_subnet(name, &pool.wanted, &pool.properties, 0)?;
        let allocated = self.allocate(&pool.wanted, &pool.properties, want - have, RECONCILER);
        let spec = Self::spec_at(name, pool, pool.version, ground);
        let machines: Vec<_> = (0..allocated.machines).map(|_| ground.add_machine(&spec)).collect();
        pool.machines.extend(machines.iter().cloned());
        let (not_before, deadline) = boot_times(ground);
        let work = Work::Boot { machines, version: pool.version, not_before, deadline };
        Ok((work, allocated.refusal))
    }

    /// Begins to bring every machine to the pool's version. An upgrade whose surge machines do not all come fails before it has
    /// touched a node; from 1.35 on AKS goes on with one of them (AKS: upgrade options).
    fn upgrade(
        &self,
        ground: &mut dyn Ground,
        name: &PoolName,
        pool: &mut AgentPool,
    ) -> Result<(Work, Option<ArmError>), ArmError> {
        let version = pool.version;
        let spec = Self::spec_at(name, pool, version, ground);
        let (surge, at_once) = batches_now(pool)?;
        let missing = missing_surge(pool, version, surge, ground);
        if missing > 0 {
            if pool.machines.len() + surge as usize > MOST_NODES as usize {
                return Err(invalid(format!("count and maxSurge together must not exceed {MOST_NODES}")));
            }
            self.check_quota(ground, &pool.wanted, missing)?;
            self.check_subnet(name, &pool.wanted, &pool.properties, surge)?;
        }
        let allocated = self.allocate(&pool.wanted, &pool.properties, missing, RECONCILER);
        let falls_back =
            allocated.refusal.is_some() && allocated.machines > 0 && version.release() >= (1, 35);
        let more = if falls_back { 1 } else { allocated.machines };
        for _ in 0..more {
            pool.surge.push(ground.add_machine(&spec));
        }
        if more < missing && !falls_back {
            let (not_before, deadline) = boot_times(ground);
            let machines = pool.surge.clone();
            return Ok((Work::Boot { machines, version, not_before, deadline }, allocated.refusal));
        }
        let at_once = if falls_back { 1 } else { at_once as usize };
        let ignore_budgets = self.cluster.forces_upgrades(ground.now());
        let upgrade = Upgrade::begin(pool, version, at_once, ignore_budgets, ground);
        Ok((Work::Upgrade(Box::new(upgrade)), None))
    }

    /// A pool goes back to the version that it had only while nothing upgrades the cluster by itself, and to one that is still
    /// supported (AKS: roll back node pool versions; which code says so is not documented).
    fn check_rollback(&self, back: KubeVersion) -> Result<KubeVersion, ArmError> {
        if self.cluster.channel().is_some() || self.cluster.node_os_channel().is_some() {
            let message = "A node pool cannot be rolled back while an automatic upgrade channel is set.";
            return Err(ArmError::aks(400, "OperationNotAllowed", message));
        }
        if !self.catalogue.has(back) {
            return Err(unsupported(&back.to_string()));
        }
        Ok(back)
    }

    /// What AKS validates for the whole cluster before it accepts an upgrade.
    fn check_before_upgrade(&self, ground: &dyn Ground, wanted: &Wanted) -> Result<(), ArmError> {
        let stopped = |text: &str| ArmError::aks(400, "OperationNotAllowed", text);
        if wanted.kind != SCALE_SET {
            return Err(stopped(
                "Only agent pools of type VirtualMachineScaleSets can be upgraded on their own.",
            ));
        }
        if let Some(budget) =
            ground.unsatisfiable_budget().filter(|_| !self.cluster.forces_upgrades(ground.now()))
        {
            let message = format!(
                "1 error occurred: * PDB {budget} has maxUnavailble == 0 can't proceed with put operation"
            );
            return Err(ArmError::aks(400, "UnsatisfiablePDB", message));
        }
        batches(&wanted.settings, wanted.count).map(drop)
    }

    pub(super) fn is_last_system(&self, name: &PoolName) -> bool {
        let mut system = self.pools.iter().filter(|(_, pool)| pool.wanted.mode == PoolMode::System);
        system.next().is_some_and(|(only, _)| only == name) && system.next().is_none()
    }

    /// Deletes a pool. AKS drains its nodes and respects budgets unless told otherwise.
    pub(crate) fn delete_pool(
        &mut self,
        ground: &mut dyn Ground,
        name: &str,
        conditions: &Conditions,
        ignore_budgets: bool,
    ) -> Result<Accepted, ArmError> {
        let gone = Ok(Accepted { status: 204, body: None, operation: None });
        let Ok(name) = PoolName::new(name) else { return gone };
        let Some(pool) = self.pools.get(&name) else { return gone };
        check_conditions(conditions, Some(&pool.etag))?;
        self.refuse_busy(&Target::Pool(name.clone()))?;
        if self.is_last_system(&name) {
            return Err(no_system_pool());
        }
        let machines = pool.all_machines().cloned().collect();
        let work = shrink(ground, machines, pool, ignore_budgets, true);
        let operation = self.begin(ground, Target::Pool(name), "Deleting", work, None);
        Ok(Accepted { status: 202, body: None, operation: Some(operation) })
    }
}

fn shrink(
    ground: &mut dyn Ground,
    machines: Vec<upgrade_core::model::NodeName>,
    pool: &AgentPool,
    ignore_budgets: bool,
    delete: bool,
) -> Work {
    for machine in &machines {
        ground.set_unschedulable(machine, true);
    }
    let minutes = u64::from(pool.wanted.settings.drain_minutes);
    let deadline = ground.now() + std::time::Duration::from_secs(minutes * 60);
    Work::Shrink { machines, ignore_budgets, deadline, delete }
}

pub(super) fn no_system_pool() -> ArmError {
    ArmError::aks(400, "MustDefineAtLeastOneSystemPool", "There has to be at least one system agent pool.")
}

/// What a PUT leaves unsaid stays as it is. What must not change is refused; so is what the lab cannot change.
fn merge(
    pool: &AgentPool,
    asked: &Map<String, Value>,
    goes_back: bool,
) -> Result<Map<String, Value>, ArmError> {
    let shown_image = node_image(&pool.wanted.os, pool.version);
    if let Some(image) = asked.get("nodeImageVersion").and_then(Value::as_str)
        && image != shown_image
        && image != "latest"
        && !goes_back
    {
        return Err(invalid(format!(
            "NodeImageVersion '{image}' is not accepted. NodeImageVersion can only be current version '{shown_image}' or 'latest'"
        )));
    }
    let mut merged = pool.properties.clone();
    for (name, value) in asked.iter().filter(|(name, _)| !READ_ONLY.contains(&name.as_str())) {
        let here = merged.get(name);
        if here == Some(value) || (here.is_none() && value.is_null()) {
            continue;
        }
        if IMMUTABLE.contains(&name.as_str()) {
            let message = format!("Changing property 'properties.{name}' is not allowed.");
            return Err(ArmError::aks(400, "PropertyChangeNotAllowed", message));
        }
        if UNMODELLED.contains(&name.as_str()) {
            return Err(ArmError::not_modelled(&format!("changing {name} of a living pool")));
        }
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    Ok(merged)
}

//! Replacing the machines of a pool, batch by batch (AKS: node pool upgrade).
//!
//! With surge: new machines of the target version come first, then as many old ones at a time are cordoned, drained and
//! reimaged under their names; the surge machines are drained and removed at the end. Without: so many machines at a time are
//! cordoned, drained and reimaged in place. A reimaged machine takes pods as soon as it is Ready: nobody's cordon survives.

use std::time::Duration;

use jiff::Timestamp;
use upgrade_core::model::{KubeVersion, NodeName, OsType, Pool, ProvisioningState};

use super::error::ArmError;
use super::ground::Ground;
use super::operation::Progress;
use super::pool::AgentPool;
use super::wanted::{Settings, Wanted, invalid};
use crate::timing::Timing;

/// An upgrade under way.
#[derive(Clone, Debug)]
pub(super) struct Upgrade {
    to: KubeVersion,
    os: OsType,
    settings: Settings,
    /// Machines at once.
    batch: usize,
    ignore_budgets: bool,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    Surging {
        deadline: Timestamp,
    },
    Draining {
        machines: Vec<NodeName>,
        deadline: Timestamp,
    },
    Soaking {
        machines: Vec<NodeName>,
        until: Timestamp,
    },
    Reimaging {
        machines: Vec<NodeName>,
        not_before: Timestamp,
        deadline: Timestamp,
    },
    /// Surge machines are drained; the deadline is that of the drain.
    Returning {
        deadline: Timestamp,
    },
}

/// How many machines an upgrade of a pool of `count` adds, and how many it takes at once.
pub(super) fn batches(settings: &Settings, count: u32) -> Result<(u32, u32), ArmError> {
    let surge = settings.max_surge.ceil_of(count).min(count);
    let unavailable = settings.max_unavailable.floor_of(count).min(count);
    match (surge, unavailable) {
        _ if count == 0 => Ok((0, 0)),
        (0, 0) => Err(invalid("upgradeSettings: maxSurge and maxUnavailable cannot both be 0")),
        (0, at_once) => Ok((0, at_once)),
        (surge, 0) => Ok((surge, surge)),
        (_, _) => Err(invalid("upgradeSettings: maxUnavailable needs maxSurge 0")),
    }
}

/// The same of a pool in the core's model; `None` where its settings are none that AKS takes.
pub(crate) fn batches_of(pool: &Pool) -> Option<(u32, u32)> {
    batches(&Wanted::of(pool).settings, pool.count).ok()
}

/// The same of a pool's machines as they are.
pub(super) fn batches_now(pool: &AgentPool) -> Result<(u32, u32), ArmError> {
    let count = u32::try_from(pool.machines.len()).unwrap_or(u32::MAX);
    batches(&pool.wanted.settings, count)
}

/// How many machines an upgrade to a version still has to add. Those that a failed upgrade left are used again.
pub(super) fn missing_surge(pool: &AgentPool, to: KubeVersion, surge: u32, ground: &dyn Ground) -> usize {
    let outdated = pool.machines.iter().any(|machine| !ground.is_ready_at(machine, to));
    if outdated { (surge as usize).saturating_sub(pool.surge.len()) } else { 0 }
}

impl Upgrade {
    /// Begins, with so many machines at once; the surge machines boot already.
    pub(super) fn begin(
        pool: &AgentPool,
        to: KubeVersion,
        batch: usize,
        ignore_budgets: bool,
        ground: &mut dyn Ground,
    ) -> Self {
        let phase = Phase::Surging { deadline: ground.now() + ground.takes(Timing::NodeLimit) };
        let (settings, os) = (pool.wanted.settings, pool.wanted.os.clone());
        Self { to, os, settings, batch, ignore_budgets, phase }
    }

    /// One look, and what follows from it.
    ///
    /// An upgrade that is to fail (`fails`) leaves its last batch as it is.
    pub(super) fn step(
        &mut self,
        pool: &mut AgentPool,
        fails: Option<&ArmError>,
        ground: &mut dyn Ground,
    ) -> Progress {
        let now = ground.now();
        match self.phase.clone() {
            Phase::Surging { deadline } => match self.unready(&pool.surge, ground) {
                Some(machine) if now >= deadline => Progress::Failed(not_ready(machine)),
                Some(_) => Progress::After(ground.takes(Timing::ReadyPause)),
                None => self.next_batch(pool, ground),
            },
            Phase::Draining { machines, deadline } => {
                let old = pool.machines.iter().filter(|machine| !ground.is_ready_at(machine, self.to));
                let fails = fails.filter(|_| old.count() <= machines.len());
                self.drain(machines, deadline, fails, ground)
            }
            Phase::Soaking { machines, until } if now >= until => self.reimage(machines, ground),
            Phase::Soaking { until, .. } => Progress::After(until.duration_since(now).unsigned_abs()),
            Phase::Reimaging { machines, not_before, deadline } => match self.unready(&machines, ground) {
                _ if now < not_before => Progress::After(not_before.duration_since(now).unsigned_abs()),
                Some(machine) if now >= deadline => Progress::Failed(not_ready(machine)),
                Some(_) => Progress::After(ground.takes(Timing::ReadyPause)),
                None => self.next_batch(pool, ground),
            },
            Phase::Returning { deadline } => self.return_surge(pool, deadline, ground),
        }
    }

    fn unready<'m>(&self, machines: &'m [NodeName], ground: &dyn Ground) -> Option<&'m NodeName> {
        machines.iter().find(|machine| !ground.is_ready_at(machine, self.to))
    }

    fn next_batch(&mut self, pool: &mut AgentPool, ground: &mut dyn Ground) -> Progress {
        let old = pool.machines.iter().filter(|machine| !ground.is_ready_at(machine, self.to));
        let machines: Vec<NodeName> = old.take(self.batch).cloned().collect();
        let deadline = ground.now() + self.drain_limit();
        self.phase = if machines.is_empty() {
            cordon(&pool.surge, ground);
            Phase::Returning { deadline }
        } else {
            cordon(&machines, ground);
            Phase::Draining { machines, deadline }
        };
        Progress::After(Duration::ZERO)
    }

    fn drain_limit(&self) -> Duration {
        Duration::from_secs(u64::from(self.settings.drain_minutes) * 60)
    }

    fn drain(
        &mut self,
        machines: Vec<NodeName>,
        deadline: Timestamp,
        fails: Option<&ArmError>,
        ground: &mut dyn Ground,
    ) -> Progress {
        let error = match (drain(&machines, self.ignore_budgets, deadline, ground), fails) {
            (Drain::Empty, Some(error)) => error.clone(),
            (Drain::Empty, None) if self.settings.soak_minutes > 0 => {
                let until = ground.now() + Duration::from_secs(u64::from(self.settings.soak_minutes) * 60);
                self.phase = Phase::Soaking { machines, until };
                return Progress::After(Duration::ZERO);
            }
            (Drain::Empty, None) => return self.reimage(machines, ground),
            (Drain::Going, _) => return Progress::After(ground.takes(Timing::EvictionPause)),
            (Drain::Stuck(error), _) => error,
        };
        // `undrainableNodeBehavior: Schedule`: what stays old takes pods again.
        for machine in &machines {
            ground.set_unschedulable(machine, false);
        }
        Progress::Failed(error)
    }

    fn reimage(&mut self, machines: Vec<NodeName>, ground: &mut dyn Ground) -> Progress {
        for machine in &machines {
            ground.reimage_machine(machine, self.to);
        }
        let takes = ground.takes_on(&self.os, Timing::Reimage, Timing::ReimageWindows);
        let not_before = ground.now() + takes;
        let deadline = not_before + ground.takes(Timing::NodeLimit);
        self.phase = Phase::Reimaging { machines, not_before, deadline };
        Progress::After(takes)
    }

    fn return_surge(
        &mut self,
        pool: &mut AgentPool,
        deadline: Timestamp,
        ground: &mut dyn Ground,
    ) -> Progress {
        match drain(&pool.surge, self.ignore_budgets, deadline, ground) {
            Drain::Empty => {
                for machine in pool.surge.drain(..) {
                    ground.remove_machine(&machine);
                }
                Progress::Done
            }
            Drain::Going => Progress::After(ground.takes(Timing::EvictionPause)),
            Drain::Stuck(error) => Progress::Failed(error),
        }
    }
}

fn cordon(machines: &[NodeName], ground: &mut dyn Ground) {
    for machine in machines {
        ground.set_unschedulable(machine, true);
    }
}

/// How a drain stands.
pub(super) enum Drain {
    Empty,
    Going,
    Stuck(ArmError),
}

/// One round of evictions on every machine. Budgets are honoured unless told otherwise; at the deadline it is over.
pub(super) fn drain(
    machines: &[NodeName],
    ignore_budgets: bool,
    deadline: Timestamp,
    ground: &mut dyn Ground,
) -> Drain {
    let mut left = None;
    for machine in machines {
        let drained = ground.drain(machine, ignore_budgets);
        if drained.left > 0 && left.is_none() {
            left = Some((machine, drained));
        }
    }
    let Some((machine, drained)) = left else { return Drain::Empty };
    if ground.now() < deadline {
        return Drain::Going;
    }
    let why = drained.blocked.unwrap_or_else(|| format!("{} pods did not end in time", drained.left));
    Drain::Stuck(ArmError::aks(
        500,
        "UpgradeFailed",
        format!(
            "Drain node {machine} failed when evicting pods, see https://aka.ms/aks/debugdrainfailures: {why}"
        ),
    ))
}

pub(super) fn not_ready(machine: &NodeName) -> ArmError {
    ArmError::aks(500, "NodesNotReady", format!("Node {machine} did not become ready in time"))
}

/// The deadline and pace of machines that boot for the first time.
pub(super) fn boot_times(ground: &mut dyn Ground) -> (Timestamp, Timestamp) {
    let not_before = ground.now() + ground.takes(Timing::AddMachines);
    (not_before, not_before + ground.takes(Timing::NodeLimit))
}

/// How machines that boot stand.
pub(super) fn boot(
    machines: &[NodeName],
    version: KubeVersion,
    not_before: Timestamp,
    deadline: Timestamp,
    ground: &mut dyn Ground,
) -> Progress {
    let now = ground.now();
    if now < not_before {
        return Progress::After(not_before.duration_since(now).unsigned_abs());
    }
    match machines.iter().find(|machine| !ground.is_ready_at(machine, version)) {
        None => Progress::Done,
        Some(machine) if now >= deadline => Progress::Failed(not_ready(machine)),
        Some(_) => Progress::After(ground.takes(Timing::ReadyPause)),
    }
}

/// Azure's word for what an upgrade is doing.
pub(super) fn busy(word: &str) -> ProvisioningState {
    ProvisioningState::Busy(word.to_owned())
}

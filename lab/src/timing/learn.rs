//! What a run has shown of how long things take.

use std::collections::BTreeMap;

use jiff::Timestamp;
use upgrade_core::inventory::Inventory;
use upgrade_core::journal::{Entry, Record, Write, WriteAnswer};
use upgrade_core::model::{OsType, Pool, PoolName, StepId};

use super::distribution::Distribution;
use super::key::Timing;
use super::model::{TimingChanges, TimingModel};
use crate::azure::upgrade_batches;

impl TimingChanges {
    /// What a journal shows of Azure: the control plane, new pools, upgrades by node of each system, and removals.
    ///
    /// A step is measured from Azure's yes to the step's end, so that each time is up to one look at Azure longer than Azure took
    /// (a quarter of a minute). The pools' systems, sizes and settings are the inventory's; a pool that it does not have tells
    /// nothing of its upgrade. What went on while no process worked on the run is left out, because nobody saw when it ended.
    /// `base` says how much of an upgrade was the boot of its surge machines.
    pub fn learnt(records: &[Record], inventory: &Inventory, base: &TimingModel) -> Self {
        let mut seen: BTreeMap<Timing, Vec<u64>> = BTreeMap::new();
        for (write, took) in measured(records) {
            let pool = |name: &PoolName| inventory.pools.iter().find(|pool| pool.name == *name);
            let shown = match write {
                Write::UpgradeControlPlane { .. } => Some((Timing::ControlPlane, took)),
                Write::CreatePool { .. } => Some((Timing::AddMachines, took)),
                Write::DeletePool { .. } => Some((Timing::PoolRemoval, took)),
                Write::UpgradePool { pool: name, .. } => {
                    pool(name).and_then(|pool| of_a_node(pool, took, base))
                }
                Write::Cordon { .. }
                | Write::Uncordon { .. }
                | Write::Exclude { .. }
                | Write::Include { .. }
                | Write::Restart { .. }
                | Write::Evict { .. }
                | Write::Lend { .. }
                | Write::GiveBack { .. }
                | Write::CreatePrewarmPod { .. }
                | Write::DeletePrewarmPod { .. } => None,
            };
            if let Some((timing, took)) = shown {
                seen.entry(timing).or_default().push(took);
            }
        }
        let lines =
            seen.into_iter().filter_map(|(timing, seen)| Some((timing, Distribution::of_seen(seen)?)));
        Self(lines.collect())
    }
}

/// How long each step in Azure took that was watched from its beginning to its end, in milliseconds.
fn measured(records: &[Record]) -> Vec<(&Write, u64)> {
    let mut writes: BTreeMap<u64, (&StepId, &Write)> = BTreeMap::new();
    let mut begun: BTreeMap<&StepId, (&Write, Timestamp)> = BTreeMap::new();
    let mut measured = Vec::new();
    for record in records {
        match &record.entry {
            Entry::Opened => begun.clear(),
            Entry::Intent { id, step, write } if write.is_in_azure() => {
                writes.insert(*id, (step, write));
            }
            Entry::Answered { id, answer: WriteAnswer::Accepted { .. } } => {
                if let Some((step, write)) = writes.get(id) {
                    begun.insert(step, (write, record.at));
                }
            }
            Entry::StepFinished { step, .. } => {
                if let Some((write, at)) = begun.remove(step) {
                    let took = record.at.duration_since(at).as_millis();
                    measured.push((write, u64::try_from(took).unwrap_or_default()));
                }
            }
            Entry::Header { .. }
            | Entry::AsksBefore { .. }
            | Entry::AsksProbes { .. }
            | Entry::Approved { .. }
            | Entry::StageStarted { .. }
            | Entry::Intent { .. }
            | Entry::Answered { .. }
            | Entry::StageFinished { .. }
            | Entry::OnFailure { .. }
            | Entry::Reversing { .. }
            | Entry::GivenUp { .. }
            | Entry::Closed { .. } => {}
        }
    }
    measured
}

/// What one batch of a pool's machines took.
fn of_a_node(pool: &Pool, took: u64, base: &TimingModel) -> Option<(Timing, u64)> {
    let (surge, at_once) = upgrade_batches(pool)?;
    // A pool without machines shows nothing.
    let batches = (at_once > 0).then(|| u64::from(pool.count.div_ceil(at_once)))?;
    let (reimage, boot) = match pool.os {
        OsType::Windows => (Timing::ReimageWindows, Timing::BootWindows),
        OsType::Linux | OsType::Other(_) => (Timing::Reimage, Timing::Boot),
    };
    let middle = |timing: Timing| u64::midpoint(base[timing].min(), base[timing].max());
    let surging = if surge > 0 { middle(boot) + middle(Timing::NodeReady) } else { 0 };
    Some((reimage, took.saturating_sub(surging) / batches))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use upgrade_core::event::{Event, StepOutcome};
    use upgrade_core::model::{HolderId, RunId};
    use upgrade_core::ports::{Answer, EventSink, Gate, Journal, OperationRef, PortError, Question};
    use upgrade_core::run::{Start, drive, stop_signal};
    use upgrade_core::{Policy, plan};

    use super::*;
    use crate::{Lab, Scenario};

    /// Keeps the journal of a run that nobody watches.
    #[derive(Default)]
    struct Kept(Mutex<Vec<Record>>);

    #[async_trait]
    impl Journal for Kept {
        async fn append(&self, record: &Record) -> Result<(), PortError> {
            self.0.lock().unwrap().push(record.clone());
            Ok(())
        }
    }

    #[async_trait]
    impl Gate for Kept {
        async fn ask(&self, _: &Question) -> Answer {
            Answer::Continue
        }
    }

    impl EventSink for Kept {
        fn emit(&self, _: &Event) {}
    }

    /// A world's cluster and the journal of its upgrade.
    fn upgraded(scenario: &Scenario) -> (Inventory, Vec<Record>) {
        let lab = Lab::new(scenario, 4);
        let inventory = lab.inventory();
        let plan = plan(&inventory, &Policy::default(), "1.35".parse().unwrap()).unwrap();
        let kept = Arc::new(Kept::default());
        let start = Start::Fresh { plan, run: RunId::new("learn").unwrap(), tool: "test".to_owned() };
        let (_stop, signal) = stop_signal();
        let report = lab
            .block_on(drive(
                start,
                lab.ports_with(Arc::clone(&kept), HolderId::new("learn").unwrap()),
                signal,
            ))
            .unwrap()
            .unwrap();
        assert!(report.outcome.is_done(), "{report:?}");
        let records = std::mem::take(&mut *kept.0.lock().unwrap());
        (inventory, records)
    }

    #[test]
    fn what_is_learnt_of_a_run_lies_within_what_made_it() {
        let mut scenario = Scenario::demo();
        // A cluster that is in no respect like the table.
        let own = "[azure]\ncontrol_plane = { from = \"30m\", to = \"40m\" }\nreimage = { from = \"10m\", to = \"12m\" }\n\
                   add_machines = { from = \"8m\", to = \"9m\" }\npool_removal = { from = \"5m\", to = \"6m\" }";
        scenario.timing = scenario.timing.with(&TimingChanges::read(own).unwrap());
        let (inventory, records) = upgraded(&scenario);
        let learnt = TimingChanges::learnt(&records, &inventory, &TimingModel::default());
        // One look at Azure, and what else a step waits for.
        let late = 30_000;
        let timings = [Timing::Reimage, Timing::AddMachines, Timing::ControlPlane, Timing::PoolRemoval];
        assert_eq!(learnt.iter().map(|(timing, _)| timing).collect::<Vec<_>>(), timings);
        for (timing, seen) in learnt.iter() {
            let made = scenario.timing[timing];
            assert!(seen.min() >= made.min(), "{timing}: {seen:?}");
            assert!(seen.max() <= made.max() + late, "{timing}: {seen:?}");
        }
    }

    fn record(seq: u64, at: &str, entry: Entry) -> Record {
        Record { seq, at: format!("2026-01-15T{at}Z").parse().unwrap(), entry }
    }

    #[test]
    fn a_step_that_nobody_watched_to_its_end_tells_nothing() {
        let step = || StepId::new("1.1.1").unwrap();
        let write = Write::UpgradeControlPlane { to: "1.35.1".parse().unwrap() };
        let operation = OperationRef("o".to_owned());
        let story = |opened_again: bool| {
            let mut records = vec![
                record(1, "01:00:00", Entry::Intent { id: 1, step: step(), write: write.clone() }),
                record(
                    2,
                    "01:00:01",
                    Entry::Answered { id: 1, answer: WriteAnswer::Accepted { operation: operation.clone() } },
                ),
            ];
            records.extend(opened_again.then(|| record(3, "01:05:00", Entry::Opened)));
            let outcome = StepOutcome::Done { message: String::new() };
            records.push(record(4, "01:08:01", Entry::StepFinished { step: step(), outcome }));
            measured(&records).into_iter().map(|(_, took)| took).collect::<Vec<_>>()
        };
        assert_eq!(story(false), [480_000]);
        assert_eq!(story(true), [0; 0]);
    }
}

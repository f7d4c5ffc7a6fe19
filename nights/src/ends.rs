//! What must hold whenever a process ends its work, and of what is left in the end.

use std::collections::{BTreeMap, BTreeSet};

use upgrade_core::event::{Report, RunOutcome};
use upgrade_core::inventory::Inventory;
use upgrade_core::journal::{Entry, Record, Write, WriteAnswer};
use upgrade_core::model::{PoolName, Settings, StepId, Uid, Workload, WorkloadKind};

use crate::night::Night;

/// A process has ended its work with this report: does it tell the truth?
pub(crate) fn truth(night: &Night, report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    let end = format!("a process ended ({})", short(&report.outcome));
    match &report.outcome {
        RunOutcome::Done | RunOutcome::Held { .. } | RunOutcome::Paused { .. } | RunOutcome::Aborted => {}
        RunOutcome::Reversed { .. } => broken.push(format!("{end}, and nobody has asked for it")),
        RunOutcome::IdentityLost { .. } | RunOutcome::Locked { .. } => {
            broken.push(format!("{end}, and neither cluster nor lock was taken away"));
        }
    }
    for record in &report.ledger {
        for gap in record.gaps.iter().filter(|gap| !gap.accepted) {
            broken.push(format!(
                "Service {} had no endpoint since {} ({})",
                record.service, gap.begin, gap.cause
            ));
        }
    }
    match night.state() {
        // Who ends before he has the lock leaves the journal as it was.
        Ok(state) if night.kept.has_recorded() && state.closed() != Some(&report.outcome) => {
            broken.push(format!("{end}, and its journal says {:?}", state.closed().map(short)));
        }
        Ok(_) => {}
        Err(rule) => broken.push(rule),
    }
    let held = held(night, &night.lab.inventory());
    for (thing, words) in &held {
        if !report
            .holding
            .iter()
            .any(|line| line.starts_with(words) || line.contains(&format!(" of {words};")))
        {
            broken.push(format!("{end} and did not name {thing}: {:?}", report.holding));
        }
    }
    // Whether that has come to its end, or was begun, shows in Azure or in the cluster, which may be out of sight just then.
    let open = [
        ", which Azure was told to delete",
        ", unless Azure has made the node anew by now",
        ", unless Azure has deleted the node by now",
        ", if it was taken at all",
    ];
    let settled = report.holding.iter().filter(|line| !open.iter().any(|words| line.ends_with(words)));
    for line in settled {
        let is_held =
            held.iter().any(|(_, words)| line.starts_with(words) || line.contains(&format!(" of {words};")));
        if !is_held {
            broken.push(format!("{end} and named what it does not hold: {line}"));
        }
    }
    broken
}

fn short(outcome: &RunOutcome) -> String {
    match outcome {
        RunOutcome::Held { step, title, cause } => format!("held at {step}, {title}: {cause}"),
        RunOutcome::Paused { question } => format!("paused: {}", question.text),
        other => format!("{other:?}"),
    }
}

/// What the run holds in truth: each thing, and how a report names it (how its line begins, or whose settings it has).
fn held(night: &Night, now: &Inventory) -> Vec<(String, String)> {
    let (cordoned, run_pools) = {
        let story = night.kept.story();
        (story.cordoned.clone(), story.pools.clone())
    };
    let mut held = Vec::new();
    for pool in now.pools.iter().filter(|pool| run_pools.contains(&pool.name)) {
        held.push((format!("pool {}", pool.name), format!("buffer {} with ", pool.name)));
    }
    for node in now.nodes.iter().filter(|node| node.unschedulable && cordoned.contains(&node.uid)) {
        let words = format!("cordon of node {}", node.name);
        held.push((words.clone(), words));
    }
    for node in now.nodes.iter().filter(|node| node.excluded_by().is_some()) {
        let words = format!("node {} out of external load balancers", node.name);
        held.push((words.clone(), words));
    }
    for workload in lent(&night.before, now) {
        held.push((format!("what {} has lent", workload.reference), workload.reference.to_string()));
    }
    for pod in now.pods.iter().filter(|pod| pod.pulling.is_some() && !pod.terminating) {
        let words = format!("pod {}, ", pod.name);
        held.push((words.clone(), words));
    }
    held
}

/// The workloads whose settings are not as they were.
fn lent<'a>(before: &'a Inventory, now: &'a Inventory) -> impl Iterator<Item = &'a Workload> {
    let were: BTreeMap<&Uid, Settings> =
        before.workloads.iter().map(|was| (&was.uid, Settings::of(was))).collect();
    let has_size = |is: &&Workload| is.owner.is_none() && is.reference.kind != WorkloadKind::DaemonSet;
    now.workloads
        .iter()
        .filter(has_size)
        .filter(move |is| were.get(&is.uid).is_some_and(|was| *was != Settings::of(is)))
}

/// The night is over: what is left?
pub(crate) fn left(night: &Night, outcome: &RunOutcome) -> Vec<String> {
    let mut broken = match night.read() {
        Ok((records, _)) => restarts(&records),
        Err(rule) => vec![rule],
    };
    let (before, after) = (&night.before, night.lab.inventory());
    let names = |inventory: &Inventory| -> BTreeSet<PoolName> {
        inventory.pools.iter().map(|pool| pool.name.clone()).collect()
    };
    for lost in names(before).difference(&names(&after)) {
        broken.push(format!("pool {lost} is gone, and the run did not make it"));
    }
    if !outcome.is_done() {
        return broken;
    }
    for (thing, _) in held(night, &after) {
        broken.push(format!("the run is done and still holds {thing}"));
    }
    for node in &after.nodes {
        if node.kubelet != Some(night.plan.target) || node.unschedulable || !node.ready {
            broken.push(format!("the run is done, and node {} is not as it should be", node.name));
        }
    }
    let view = after.view();
    let unsettled = view.workloads().filter(|workload| {
        workload.owner.is_none() && workload.reference.kind != WorkloadKind::Job && !workload.is_settled()
    });
    broken.extend(unsettled.map(|w| format!("the run is done, and {} is not at strength", w.reference)));
    if let Ok(state) = night.state() {
        broken.extend(state.loans().map(|loan| format!("the run is done and owes {}", loan.workload)));
        broken.extend(
            state
                .open_intents()
                .map(|(_, _, write)| format!("the run is done, and nobody knows of: {write}")),
        );
    }
    broken
}

/// A workload restarts at most once a move: no step has two restarts that were made.
fn restarts(records: &[Record]) -> Vec<String> {
    let mut intents: BTreeMap<u64, &StepId> = BTreeMap::new();
    let mut made: BTreeMap<&StepId, u32> = BTreeMap::new();
    for record in records {
        match &record.entry {
            Entry::Intent { id, step, write: Write::Restart { .. } } => {
                intents.insert(*id, step);
            }
            Entry::Answered { id, answer: WriteAnswer::Done } => {
                if let Some(step) = intents.get(id) {
                    *made.entry(step).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    let twice = made.into_iter().filter(|(_, times)| *times > 1);
    twice.map(|(step, times)| format!("step {step} restarted its workload {times} times")).collect()
}

#[cfg(test)]
mod tests {
    use upgrade_core::model::{ObjectName, RestartId, WorkloadRef};

    use super::*;

    #[test]
    fn a_second_restart_of_a_step_is_seen() {
        let deployment = |name: ObjectName| WorkloadRef { kind: WorkloadKind::Deployment, name };
        let restart = || Write::Restart {
            workload: "shop/web".parse().map(deployment).expect("a name"),
            uid: Uid::new("u").expect("plain"),
            restart: RestartId::new("r.1.1.1").expect("plain"),
        };
        let step = || StepId::new("1.1.1").expect("three numbers");
        let entries = [
            Entry::Intent { id: 1, step: step(), write: restart() },
            Entry::Answered { id: 1, answer: WriteAnswer::Unknown { message: String::new() } },
            Entry::Intent { id: 2, step: step(), write: restart() },
            Entry::Answered { id: 2, answer: WriteAnswer::Done },
            Entry::Intent { id: 3, step: step(), write: restart() },
            Entry::Answered { id: 3, answer: WriteAnswer::Done },
        ];
        let at = jiff::Timestamp::UNIX_EPOCH;
        let records: Vec<Record> = (1..).zip(entries).map(|(seq, entry)| Record { seq, at, entry }).collect();
        assert_eq!(restarts(&records[..4]), Vec::<String>::new());
        assert_eq!(restarts(&records), ["step 1.1.1 restarted its workload 2 times"]);
    }
}

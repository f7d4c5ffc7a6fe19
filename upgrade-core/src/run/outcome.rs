//! The report at the end of a run.

use jiff::Timestamp;

use crate::event::{Report, RunOutcome, StageRecord};
use crate::journal::{RunState, Write};
use crate::ledger::Ledger;
use crate::model::RunId;
use crate::plan::{Action, Plan};
use crate::view::View;

pub(super) fn report(
    plan: &Plan,
    run: &RunId,
    state: &RunState,
    view: &View,
    ledger: &Ledger,
    outcome: RunOutcome,
    now: Timestamp,
) -> Report {
    let begun = plan.stages.iter().filter_map(|stage| Some((stage, state.stage_started(stage.number)?)));
    let stages = begun.map(|(stage, started)| {
        let finished = state.stage_finished(stage.number);
        let took = finished.map(|at| u64::try_from(at.duration_since(started).as_millis()).unwrap_or(0));
        StageRecord { number: stage.number, title: stage.title.clone(), duration_ms: took }
    });
    Report {
        run: run.clone(),
        cluster: plan.cluster.name.clone(),
        from: plan.from,
        target: plan.target,
        outcome,
        stages: stages.collect(),
        ledger: ledger.records(),
        holding: holding(plan, state, view),
        duration_ms: state.worked_ms(now),
    }
}

/// What the run has borrowed and not given back: buffers it has begun to make, and cordons.
fn holding(plan: &Plan, state: &RunState, view: &View) -> Vec<String> {
    let created =
        |name| state.announced().any(|write| matches!(write, Write::CreatePool { name: n, .. } if n == name));
    let deleted = |name| {
        let step =
            plan.steps().find(|step| matches!(&step.action, Action::DeleteBuffer { pool } if pool == name));
        step.is_some_and(|step| state.outcome(&step.id).is_some())
    };
    let buffers = plan.steps().filter_map(|step| match &step.action {
        Action::CreateBuffer { buffer } if created(&buffer.name) && !deleted(&buffer.name) => {
            Some(format!("buffer {} with {} nodes", buffer.name, buffer.count))
        }
        _ => None,
    });
    let ours = state.cordons();
    let cordoned = view.nodes().filter(|node| node.unschedulable && ours.contains(&(&node.name, &node.uid)));
    buffers.chain(cordoned.map(|node| format!("cordon of node {}", node.name))).collect()
}

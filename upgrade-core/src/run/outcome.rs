//! The report at the end of a run.

use jiff::Timestamp;

use crate::event::{Report, RunOutcome, StageRecord};
use crate::journal::{RunState, Write};
use crate::ledger::Ledger;
use crate::model::{EXCLUDE_LABEL, Pod, PoolName, RunId};
use crate::plan::{Action, Plan, Step};
use crate::ports::AzureView;
use crate::view::View;

/// What is known of a run at its end.
pub(super) struct AtTheEnd<'a> {
    pub(super) plan: &'a Plan,
    pub(super) run: &'a RunId,
    pub(super) state: &'a RunState,
    pub(super) view: &'a View,
    pub(super) ledger: &'a Ledger,
    pub(super) azure: Option<&'a AzureView>,
}

pub(super) fn report(known: &AtTheEnd<'_>, outcome: RunOutcome, now: Timestamp) -> Report {
    let AtTheEnd { plan, run, state, view, ledger, azure } = *known;
    let begun = plan.stages.iter().filter_map(|stage| Some((stage, state.stage_started(stage.number)?)));
    let stages = begun.map(|(stage, started)| {
        let finished = state.stage_finished(stage.number);
        let took = finished.map(|at| u64::try_from(at.duration_since(started).as_millis()).unwrap_or(0));
        StageRecord { number: stage.number, title: stage.title.clone(), duration_ms: took }
    });
    let pulls = |pod: &&Pod| pod.pulling.as_ref().is_some_and(|own| own.run == *run);
    let pulling =
        view.pulling_pods().filter(pulls).filter(|pod| !pod.terminating && !state.has_deleted(&pod.uid));
    let pulling = pulling.map(|pod| format!("pod {}, which pulls images", pod.name));
    Report {
        run: run.clone(),
        cluster: plan.cluster.name.clone(),
        from: plan.from,
        target: plan.target,
        outcome,
        stages: stages.collect(),
        ledger: ledger.records(),
        holding: holding(run, plan, state, view, azure).into_iter().chain(pulling).collect(),
        duration_ms: state.worked_ms(now),
    }
}

/// What the run has borrowed and not given back: buffers it has begun to make, settings of workloads, cordons, and nodes that are
/// out of load balancers.
fn holding(
    run: &RunId,
    plan: &Plan,
    state: &RunState,
    view: &View,
    azure: Option<&AzureView>,
) -> Vec<String> {
    let created =
        |name| state.announced().any(|write| matches!(write, Write::CreatePool { name: n, .. } if n == name));
    let deleted = |name| {
        let mut steps =
            plan.steps().filter(|step| matches!(&step.action, Action::DeleteBuffer { pool } if pool == name));
        steps.any(|step| state.outcome(&step.id).is_some())
    };
    // Announced is not made: Azure may have refused. It is there unless Azure was seen without it and works on none.
    let may_exist = |step: &Step, name: &PoolName| {
        let seen = azure.is_none_or(|azure| azure.pools.iter().any(|pool| pool.name == *name));
        seen || state.operation(&step.id).is_some() || state.open_intents().any(|(_, own, _)| *own == step.id)
    };
    let buffers = plan.steps().filter_map(|step| match &step.action {
        Action::CreateBuffer { buffer }
            if created(&buffer.name) && !deleted(&buffer.name) && may_exist(step, &buffer.name) =>
        {
            Some(format!("buffer {} with {} nodes", buffer.name, buffer.count))
        }
        _ => None,
    });
    let loans = state.loans().filter_map(|loan| {
        let still = match view.workload(&loan.workload) {
            Some(workload) => loan.still_lent(workload),
            // Nothing was seen yet.
            None if view.workloads().next().is_none() => loan.lent,
            None => return None,
        };
        (!still.is_empty()).then(|| loan.owed(&still))
    });
    let ours = state.cordons();
    let cordoned = view.nodes().filter(|node| node.unschedulable && ours.contains(&(&node.name, &node.uid)));
    let out = view.nodes().filter(|node| node.excluded_by() == Some(run.as_str()));
    let out = out.map(|node| {
        let name = &node.name;
        format!("node {name} out of external load balancers; `kubectl label node {name} {EXCLUDE_LABEL}-` lets it back in")
    });
    let cordons = cordoned.map(|node| format!("cordon of node {}", node.name));
    buffers.chain(loans).chain(cordons).chain(out).collect()
}

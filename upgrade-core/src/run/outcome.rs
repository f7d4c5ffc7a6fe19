//! The report at the end of a run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::machine::Sent;
use crate::event::{Report, RunOutcome, StageRecord};
use crate::journal::{Loan, RunState, Write};
use crate::ledger::Ledger;
use crate::model::{EXCLUDE_LABEL, Node, NodeName, ObjectName, Pod, PoolName, RunId, Settings, StepId, Uid};
use crate::plan::{Action, Plan, Step};
use crate::ports::AzureView;
use crate::view::View;

/// Said of what is out of sight where the answer to its write was lost.
const UNSURE: &str = ", if it was taken at all";

/// What is known of a run at its end.
pub(super) struct AtTheEnd<'a> {
    pub(super) plan: &'a Plan,
    pub(super) run: &'a RunId,
    pub(super) state: &'a RunState,
    pub(super) view: &'a View,
    pub(super) ledger: &'a Ledger,
    pub(super) azure: Option<&'a AzureView>,
    pub(super) sent: &'a Sent,
    /// The contact to the cluster is lost: the view is as it was before.
    pub(super) is_blind: bool,
}

/// A node, and what is known of it.
struct Known<'a> {
    /// Missing where the process has seen no nodes.
    node: Option<&'a Node>,
    pool: Option<PoolName>,
}

impl AtTheEnd<'_> {
    /// What was written a moment ago, or before the contact was lost, does not show yet: then the answer is believed, which is
    /// `sure`, and not what `shows`.
    fn is_held(&self, shows: bool, sure: bool, taken: &Write, given_back: &Write) -> bool {
        shows && !self.sent.is_pending(given_back) || sure && (self.is_blind || self.sent.is_pending(taken))
    }

    /// The nodes, by name: those that are seen, or, where the process has seen none yet, those of which the journal tells that
    /// something was done to them, and not that they were upgraded or deleted since.
    fn nodes(&self) -> BTreeMap<(NodeName, Uid), Known<'_>> {
        let seen = self.view.nodes().map(|node| {
            ((node.name.clone(), node.uid.clone()), Known { node: Some(node), pool: node.pool() })
        });
        let mut nodes: BTreeMap<_, _> = seen.collect();
        if nodes.is_empty() {
            nodes.extend(self.state.intents().filter_map(|(_, step, write)| match write {
                Write::Cordon { node, uid } | Write::Exclude { node, uid } => Some((
                    (node.clone(), uid.clone()),
                    Known { node: None, pool: self.emptied_by(step).cloned() },
                )),
                _ => None,
            }));
            nodes.retain(|_, known| !known.pool.as_ref().is_some_and(|pool| self.was_replaced(pool)));
        }
        nodes
    }

    /// The pool whose nodes the step empties.
    fn emptied_by(&self, step: &StepId) -> Option<&PoolName> {
        match &self.plan.steps().find(|own| own.id == *step)?.action {
            Action::Cordon { pool } | Action::Drain { pool } | Action::Move { off: pool, .. } => Some(pool),
            _ => None,
        }
    }

    /// The steps after which the pool's nodes are others, or none.
    fn replacing(&self, pool: &PoolName) -> impl Iterator<Item = &Step> {
        self.plan.steps().filter(move |step| match &step.action {
            Action::UpgradePool { pool: own, .. } | Action::DeleteBuffer { pool: own } => own == pool,
            _ => false,
        })
    }

    fn was_replaced(&self, pool: &PoolName) -> bool {
        self.replacing(pool).any(|step| self.state.outcome(&step.id).is_some())
    }

    /// What may have become of the node where Azure replaces its pool's nodes and nobody sees how far it is.
    fn perhaps(&self, known: &Known<'_>) -> &'static str {
        let at_work =
            |step: &&Step| self.state.writes(&step.id) > 0 && self.state.outcome(&step.id).is_none();
        let pool = known.pool.as_ref().filter(|_| self.is_blind || known.node.is_none());
        match pool.and_then(|pool| self.replacing(pool).find(at_work)).map(|step| &step.action) {
            None => "",
            Some(Action::DeleteBuffer { .. }) => ", unless Azure has deleted the node by now",
            Some(_) => ", unless Azure has made the node anew by now",
        }
    }

    /// Is the node cordoned by the run? `None`: nobody sees it, and the answer to the cordon was lost.
    fn is_cordoned(
        &self,
        (name, uid): &(NodeName, Uid),
        node: Option<&Node>,
        announced: &BTreeSet<(&NodeName, &Uid)>,
    ) -> Option<bool> {
        let sure = self.state.has_cordoned(name, uid);
        let shows = node.is_some_and(|node| node.unschedulable) && announced.contains(&(name, uid));
        let taken = Write::Cordon { node: name.clone(), uid: uid.clone() };
        let given_back = Write::Uncordon { node: name.clone(), uid: uid.clone() };
        let held = self.is_held(shows, sure, &taken, &given_back) || node.is_none() && sure;
        let unseen = self.is_blind || node.is_none();
        (held || !unseen || !self.state.may_have_cordoned(name, uid)).then_some(held)
    }

    fn is_excluded(&self, (name, uid): &(NodeName, Uid), node: Option<&Node>) -> bool {
        let sure = self.state.excluded().contains_key(uid);
        let shows = node.is_some_and(|node| node.excluded_by() == Some(self.run.as_str()));
        let taken = Write::Exclude { node: name.clone(), uid: uid.clone() };
        let given_back = Write::Include { node: name.clone(), uid: uid.clone() };
        self.is_held(shows, sure, &taken, &given_back) || node.is_none() && sure
    }

    /// The pods of the run that pull images, by name.
    fn pulling(&self) -> BTreeSet<&ObjectName> {
        let own = |pod: &&Pod| pod.pulling.as_ref().is_some_and(|pulling| pulling.run == *self.run);
        let stays = |pod: &&Pod| !pod.terminating && !self.state.has_deleted(&pod.uid);
        let seen = self.view.pulling_pods().filter(own).filter(stays).map(|pod| &pod.name);
        let is_late = |(name, write): &(&ObjectName, &Write)| {
            self.view.pod(name).is_none() && (self.is_blind || self.sent.is_pending(write))
        };
        seen.chain(self.state.made_pods().filter(is_late).map(|(name, _)| name)).collect()
    }

    /// What is still lent of a workload, and whether it surely is.
    fn still_lent(&self, loan: &Loan) -> (Settings, bool) {
        let Loan { workload, uid, former, lent, taken, .. } = loan;
        let Some(now) = self.view.workload(workload) else {
            // Nothing was seen yet, or it is gone.
            let unseen = self.view.workloads().next().is_none();
            return if unseen { (*lent, *taken) } else { (Settings::default(), true) };
        };
        let as_before = now.uid == *uid && Settings::of(now).named_in(lent) == *former;
        let write =
            Write::Lend { workload: workload.clone(), uid: uid.clone(), former: *former, lent: *lent };
        let late = self.is_blind || *taken && self.sent.is_pending(&write);
        if as_before && late { (*lent, *taken) } else { (loan.still_lent(now), true) }
    }
}

pub(super) fn report(known: &AtTheEnd<'_>, outcome: RunOutcome, now: Timestamp) -> Report {
    let AtTheEnd { plan, run, state, ledger, .. } = *known;
    let begun = plan.stages.iter().filter_map(|stage| Some((stage, state.stage_started(stage.number)?)));
    let stages = begun.map(|(stage, started)| {
        let finished = state.stage_finished(stage.number);
        let took = finished.map(|at| u64::try_from(at.duration_since(started).as_millis()).unwrap_or(0));
        StageRecord { number: stage.number, title: stage.title.clone(), duration_ms: took }
    });
    let pulling = known.pulling().into_iter().map(|pod| format!("pod {pod}, which pulls images"));
    Report {
        run: run.clone(),
        cluster: plan.cluster.name.clone(),
        from: plan.from,
        target: plan.target,
        outcome,
        stages: stages.collect(),
        ledger: ledger.records(),
        holding: holding(known).into_iter().chain(pulling).collect(),
        duration_ms: state.worked_ms(now),
    }
}

/// What the run has borrowed and not given back: buffers it has begun to make, settings of workloads, cordons, and nodes that are
/// out of load balancers.
fn holding(known: &AtTheEnd<'_>) -> Vec<String> {
    let AtTheEnd { plan, state, azure, .. } = *known;
    let created = |name| {
        state.may_have_done(|write| matches!(write, Write::CreatePool { name: own, .. } if own == name))
    };
    let deleted = |name| {
        let mut steps =
            plan.steps().filter(|step| matches!(&step.action, Action::DeleteBuffer { pool } if pool == name));
        steps.any(|step| state.outcome(&step.id).is_some())
    };
    // It is there unless Azure was seen without it and works on none.
    let may_exist = |step: &Step, name: &PoolName| {
        let seen = azure.is_none_or(|azure| azure.pools.iter().any(|pool| pool.name == *name));
        seen || state.operation(&step.id).is_some() || state.open_intents().any(|(_, own, _)| *own == step.id)
    };
    let leaves = |name: &PoolName| {
        let deletes = |step: &&Step| matches!(&step.action, Action::DeleteBuffer { pool } if pool == name);
        plan.steps().filter(deletes).any(|step| state.operation(&step.id).is_some())
    };
    // Where Azure could not make it as it should be, its own step deletes it, to make it anew.
    let is_remade = |step: &Step| matches!(state.last_in_azure(&step.id), Some(Write::DeletePool { .. }));
    let buffers = plan.steps().filter_map(|step| match &step.action {
        Action::CreateBuffer { buffer }
            if created(&buffer.name) && !deleted(&buffer.name) && may_exist(step, &buffer.name) =>
        {
            let going =
                if leaves(&buffer.name) || is_remade(step) { ", which Azure was told to delete" } else { "" };
            Some(format!("buffer {} with {} nodes{going}", buffer.name, buffer.count))
        }
        _ => None,
    });
    let loans = state.loans().filter_map(|loan| {
        let (still, sure) = known.still_lent(loan);
        (!still.is_empty()).then(|| format!("{}{}", loan.owed(&still), if sure { "" } else { UNSURE }))
    });
    let announced = state.cordons();
    let nodes = known.nodes();
    let out = nodes.iter().filter(|(name, node)| known.is_excluded(name, node.node));
    let out = out.map(|((name, _), node)| {
        let remedy = format!("`kubectl label node {name} {EXCLUDE_LABEL}-` lets it back in");
        format!("node {name} out of external load balancers; {remedy}{}", known.perhaps(node))
    });
    let cordons = nodes.iter().filter_map(|(name, node)| {
        let unsure = match known.is_cordoned(name, node.node, &announced) {
            Some(false) => return None,
            Some(true) => known.perhaps(node),
            None => UNSURE,
        };
        Some(format!("cordon of node {}{unsure}", name.0))
    });
    buffers.chain(loans).chain(cordons).chain(out).collect()
}

//! What each step that is looked at wants now.

use jiff::Timestamp;

use super::Machine;
use super::agenda::{Agenda, LaneNumber};
use crate::journal::Write;
use crate::model::{StepId, WorkloadRef};
use crate::moves::{self, MoveCase, OpenMove, Round};
use crate::plan::{Action, Route, Stage, Step};
use crate::run::azure::AzureCase;
use crate::run::truth::Truth;
use crate::run::{Verdict, nodes};

impl Machine {
    /// What the steps that are on the agenda want; moves that may begin now come last.
    pub(super) fn verdicts<'s>(&mut self, now: Timestamp, stage: &'s Stage) -> Vec<(&'s Step, Verdict)> {
        let others: Vec<_> = self.agenda.others().filter_map(|lane| self.agenda.open(stage, lane)).collect();
        for step in &others {
            self.remember(now, step);
            self.warm(now, step);
            self.soak(now, step);
        }
        let case = self.case(now, self.agenda.under_way(stage));
        let mut verdicts: Vec<_> =
            others.into_iter().map(|step| (step, self.single_verdict(&case, step))).collect();
        if let Some(cordons) = self.cordons_first(stage) {
            verdicts.push(cordons);
            return verdicts;
        }
        let mut agenda = std::mem::take(&mut self.agenda);
        self.moves(now, stage, &mut agenda, &mut verdicts);
        self.agenda = agenda;
        verdicts
    }

    fn case<'a>(&'a self, now: Timestamp, under_way: Vec<(&'a WorkloadRef, Route)>) -> MoveCase<'a> {
        let pools = self.azure.as_ref().map(|azure| &azure.pools);
        let may_grow = pools.is_some_and(|pools| pools.iter().any(|pool| pool.autoscaling.is_some()));
        MoveCase {
            under_way,
            disks_per_node: &self.plan.disks_per_node,
            turned_back: self.state.reversal().is_some(),
            may_grow,
            view: &self.view,
            run: &self.run,
            now,
            leaving: self.sent.leaving(),
            excluded: self.state.excluded(),
            job_wait: self.plan.policy.job_wait,
        }
    }

    /// A node that became schedulable again would take the pods that leave the others: it is cordoned before anything moves.
    fn cordons_first<'s>(&self, stage: &'s Stage) -> Option<(&'s Step, Verdict)> {
        let (pool, missing) = self.agenda.doomed().find_map(|pool| {
            let missing = nodes::missing_cordons(&self.view, pool);
            (!missing.is_empty()).then_some((pool, missing))
        })?;
        let step = self.agenda.open(stage, self.agenda.first_move_off(stage, pool)?)?;
        Some((step, Verdict::Write(missing)))
    }

    /// The moves that are due, and those that may begin.
    fn moves<'s>(
        &self,
        now: Timestamp,
        stage: &'s Stage,
        agenda: &mut Agenda,
        verdicts: &mut Vec<(&'s Step, Verdict)>,
    ) {
        let case = self.case(now, agenda.under_way(stage));
        let begun = u32::try_from(agenda.begun()).unwrap_or(u32::MAX);
        let mut round = Round::new(&case, self.plan.policy.max_concurrent_moves.saturating_sub(begun));
        for lane in agenda.take_due() {
            let Some((step, open)) = self.open_move(now, stage, agenda, lane) else { continue };
            if open.begun {
                verdicts.push((step, round.next(&open)));
            } else if let Some(done) = round.finished(&open) {
                verdicts.push((step, done));
            } else {
                agenda.enqueue(lane);
                // One that had its turn and was stuck: its time limit does not count while it has no turn.
                if self.steps.contains_key(&step.id) && !round.has_slot() {
                    verdicts.push((step, Verdict::Patience(format!("{}: a free slot", open.workload))));
                }
            }
        }
        while round.has_slot()
            && let Some(lane) = agenda.next_in_queue()
        {
            if let Some((step, open)) = self.open_move(now, stage, agenda, lane) {
                verdicts.push((step, round.next(&open)));
            }
        }
    }

    fn open_move<'a, 's: 'a>(
        &'a self,
        now: Timestamp,
        stage: &'s Stage,
        agenda: &Agenda,
        lane: LaneNumber,
    ) -> Option<(&'s Step, OpenMove<'a>)> {
        let step = agenda.open(stage, lane)?;
        let Action::Move { workload, off, route, .. } = &step.action else { return None };
        let open = OpenMove {
            step: &step.id,
            workload,
            off,
            route: *route,
            begun: agenda.has_begun(lane) || self.has_begun(&step.id),
            restart_seen: self.restart_was_there(&step.id, workload),
            loan: self.state.loan_of(&step.id),
            loan_seen: self.steps.get(&step.id).is_some_and(|memory| memory.loan_seen),
            lending: self.is_lending(&step.id),
            since: agenda.since(&step.id).unwrap_or(now),
        };
        Some((step, open))
    }

    /// The template has had the step's restart. A workload restarts once a move, whichever process made it and whoever took it
    /// out again; one that was made a moment ago may not show yet.
    pub(super) fn restart_was_there(&self, step: &StepId, workload: &WorkloadRef) -> bool {
        let shown = self.steps.get(step).is_some_and(|memory| memory.restart_seen);
        let fresh = || {
            let uid = self.view.workload(workload).map(|found| found.uid.clone());
            let restart = moves::restart_id(&self.run, step);
            let write = uid.map(|uid| Write::Restart { workload: workload.clone(), uid, restart });
            write.is_some_and(|write| self.sent.is_pending(&write))
        };
        shown || self.state.restarted().contains(step) && !fresh()
    }

    /// A move has begun when it has announced a write of its own; cordons that it makes up for do not count.
    pub(super) fn has_begun(&self, step: &StepId) -> bool {
        self.state.has_announced(step, |write| {
            matches!(
                write,
                Write::Restart { .. } | Write::Evict { .. } | Write::Lend { .. } | Write::Exclude { .. }
            )
        })
    }

    fn single_verdict(&self, case: &MoveCase<'_>, step: &Step) -> Verdict {
        let Some(memory) = self.steps.get(&step.id) else { return Verdict::Patience(String::new()) };
        let reference = self.state.operation(&step.id);
        let operation = reference.and_then(|reference| self.operations.get(reference));
        let azure = AzureCase {
            azure: self.azure.as_ref(),
            view: &self.view,
            run: &self.run,
            operation,
            operation_unseen: reference.is_some() && operation.is_none(),
            fresh_writes: memory.fresh_writes,
            last: self.state.last_in_azure(&step.id),
        };
        match &step.action {
            Action::UpgradeControlPlane { to } => azure.control_plane(*to),
            Action::CreateBuffer { buffer } => azure.create_buffer(buffer),
            Action::UpgradePool { pool, to } => {
                azure.upgrade_pool(pool, *to, self.state.writes(&step.id) == 0)
            }
            Action::DeleteBuffer { pool } => azure.delete_buffer(pool),
            Action::Prewarm { on, .. } => self.warmed(on),
            Action::Cordon { pool } => nodes::cordon(&self.view, pool),
            Action::Uncordon { pool } => nodes::uncordon(&self.view, &self.run, pool, &self.state.cordons()),
            Action::Drain { pool } => {
                let missing = nodes::missing_cordons(&self.view, pool);
                if !missing.is_empty() {
                    return Verdict::Write(missing);
                }
                case.balancers()
                    .before_nodes_go(pool)
                    .unwrap_or_else(|| moves::leftovers(case, pool, memory.since))
            }
            Action::Verify { version, pools } => {
                let fresh = self.seen_at.is_some_and(|at| at >= memory.since);
                let truth = Truth {
                    plan: &self.plan,
                    run: &self.run,
                    state: &self.state,
                    view: &self.view,
                    azure: self.azure.as_ref().filter(|_| fresh),
                };
                truth.verdict(*version, pools)
            }
            Action::Soak { seconds } => self.soaked(case.now, &step.id, *seconds),
            Action::AwaitRancher { once_more } => self.adopted(case.now, memory, *once_more),
            Action::Move { .. } => Verdict::Patience(String::new()),
        }
    }
}

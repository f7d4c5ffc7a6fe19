//! The decision function.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::allowance::{Allowances, Refusal};
use super::balancers::Balancers;
use super::loan::{Lending, returned};
use super::room::Room;
use crate::journal::{Loan, Write};
use crate::model::{
    Pod, PoolName, RestartId, RunId, Settings, StepId, Uid, Workload, WorkloadKind, WorkloadRef,
};
use crate::plan::Route;
use crate::run::Verdict;
use crate::run::failure::Failure;
use crate::span;
use crate::view::View;

/// How long a workload that is brought back is waited for until it is at strength again. One that never is must not keep all others
/// from getting rid of the buffer.
const COMES_BACK: Duration = Duration::from_secs(300);

/// A move that is not finished.
pub(crate) struct OpenMove<'a> {
    /// Its step.
    pub(crate) step: &'a StepId,
    /// The workload.
    pub(crate) workload: &'a WorkloadRef,
    /// The pool it leaves.
    pub(crate) off: &'a PoolName,
    /// The way.
    pub(crate) route: Route,
    /// A write of it was announced: it holds one of the slots.
    pub(crate) begun: bool,
    /// The template has shown this step's restart before; if it is missing now, somebody took it out.
    pub(crate) restart_seen: bool,
    /// What it has borrowed of the workload.
    pub(crate) loan: Option<&'a Loan>,
    /// The workload has shown the whole loan before.
    pub(crate) loan_seen: bool,
    /// The loan was sent and does not show yet.
    pub(crate) lending: bool,
    /// When the move's turn came, for Jobs.
    pub(crate) since: Timestamp,
}

/// What the engine looks at.
pub(crate) struct MoveCase<'a> {
    /// The cluster.
    pub(crate) view: &'a View,
    /// The run, whose restarts are told apart by it.
    pub(crate) run: &'a RunId,
    /// Now.
    pub(crate) now: Timestamp,
    /// Pods whose eviction was sent or accepted.
    pub(crate) leaving: &'a BTreeSet<Uid>,
    /// Since when the nodes are out of external load balancers that the run has had taken out.
    pub(crate) excluded: &'a BTreeMap<Uid, Timestamp>,
    /// How long a Job may take to end by itself.
    pub(crate) job_wait: Duration,
    /// The moves that hold a slot, with their routes: their pods need room, too.
    pub(crate) under_way: Vec<(&'a WorkloadRef, Route)>,
    /// How many disks a node of each pool can have, as far as that is known.
    pub(crate) disks_per_node: &'a BTreeMap<PoolName, u32>,
    /// The run has turned back: what is not at strength is helped by leaving, and is not waited for for long.
    pub(crate) turned_back: bool,
    /// An autoscaler may add nodes for pods that wait for room.
    pub(crate) may_grow: bool,
}

/// The name under which a step's restart is written.
pub(crate) fn restart_id(run: &RunId, step: &StepId) -> RestartId {
    RestartId::new(format!("{run}.{step}")).expect("a run id and a step id are plain text")
}

/// One round of decisions about the same observation. What one move is granted is gone for the next.
pub(crate) struct Round<'a> {
    case: &'a MoveCase<'a>,
    allowances: Allowances<'a>,
    room: Room<'a>,
    slots: u32,
}

impl<'a> Round<'a> {
    /// A round in which `slots` more moves may begin.
    pub(crate) fn new(case: &'a MoveCase<'a>, slots: u32) -> Self {
        Self { case, allowances: Allowances::new(case.view, case.leaving), room: Room::new(case), slots }
    }

    /// May another move begin?
    pub(crate) fn has_slot(&self) -> bool {
        self.slots > 0
    }

    /// The move's end, if it is at it; costs no slot.
    pub(crate) fn finished(&self, open: &OpenMove<'_>) -> Option<Verdict> {
        self.case.finished(open)
    }

    /// What the move does next. One that begins with it takes a slot; one that cannot begin yet takes none, and stops nobody.
    pub(crate) fn next(&mut self, open: &OpenMove<'_>) -> Verdict {
        if let Some(done) = self.finished(open) {
            return done;
        }
        let wanted = self.case.advance(open, &mut self.allowances);
        let verdict = self.room.only_what_fits(self.case, open.workload, wanted);
        if !open.begun && matches!(verdict, Verdict::Write(_)) {
            self.slots = self.slots.saturating_sub(1);
        }
        verdict
    }
}

/// Is the pod still on a doomed node? Terminating ones are.
pub(super) fn is_doomed(view: &View, pod: &Pod, off: &PoolName) -> bool {
    let node = pod.node.as_ref().and_then(|name| view.node(name));
    !pod.is_finished() && node.is_some_and(|node| node.is_in(off))
}

/// The pods of an owner that is not read (custom resources), or of a workload that was deleted and whose pods still end.
pub(super) fn pods_of_unread<'a>(view: &'a View, owner: &WorkloadRef) -> impl Iterator<Item = &'a Pod> {
    let pods = view.pods_in_namespace(owner.name.namespace());
    pods.filter(move |pod| view.workload_of(pod).as_ref() == Some(owner))
}

impl<'a> MoveCase<'a> {
    /// Nodes and load balancers.
    pub(crate) fn balancers(&self) -> Balancers<'a> {
        Balancers { view: self.view, run: self.run, excluded: self.excluded, now: self.now }
    }

    /// Is any pod of the workload still there?
    fn has_doomed(&self, workload: &WorkloadRef, off: &PoolName) -> bool {
        match self.view.workload(workload) {
            Some(found) => self.view.has_pods_in(found, off),
            None => !self.doomed(workload, off).is_empty(),
        }
    }

    /// The workload's pods that are still on doomed nodes.
    fn doomed(&self, workload: &WorkloadRef, off: &PoolName) -> Vec<&'a Pod> {
        let on_doomed = |pod: &&Pod| is_doomed(self.view, pod, off);
        if let Some(found) = self.view.workload(workload) {
            return self.view.pods_of(found).filter(on_doomed).collect();
        }
        pods_of_unread(self.view, workload).filter(on_doomed).collect()
    }

    /// Nothing is left on the doomed nodes, and the workload is at strength.
    fn finished(&self, open: &OpenMove<'_>) -> Option<Verdict> {
        let workload = self.view.workload(open.workload);
        let settled = |workload: &Workload| open.workload.kind == WorkloadKind::Job || workload.is_settled();
        // Most of the time a rollout is under way, and what is where says nothing yet.
        let waited = Duration::try_from(self.now.duration_since(open.since)).unwrap_or_default();
        let given_up = self.turned_back && waited > COMES_BACK;
        if open.begun && !given_up && workload.is_some_and(|workload| !settled(workload)) {
            return None;
        }
        // What is on its way has to come back, too.
        if open.lending || self.has_doomed(open.workload, open.off) {
            return None;
        }
        let Some(workload) = workload else {
            return Some(Verdict::Done(format!("{} is gone", open.workload)));
        };
        if !open.begun {
            return Some(Verdict::Done(format!("no pod of {} is on {}", open.workload, open.off)));
        }
        let back = returned(open, workload);
        Some(back.unwrap_or_else(|| {
            Verdict::Done(format!("{} pod(s) of {} are at work elsewhere", workload.replicas, open.workload))
        }))
    }

    /// The next step of a move that is not finished.
    fn advance(&self, open: &OpenMove<'_>, allowances: &mut Allowances<'a>) -> Verdict {
        let workload = self.view.workload(open.workload);
        match (open.route, workload) {
            (Route::Restart | Route::RestartWithLoan, Some(workload)) => {
                self.restart(open, workload, allowances)
            }
            (Route::ScaleThenEvict, Some(workload)) => self.scale_then_evict(open, workload, allowances),
            (Route::WaitThenEvict, _) => {
                self.wait_then_evict(open.workload, open.off, open.since, allowances)
            }
            (Route::Restart | Route::RestartWithLoan | Route::ScaleThenEvict | Route::Evict, _) => {
                self.evict(open.workload, open.off, false, allowances)
            }
            (Route::Gap, _) => self.evict(open.workload, open.off, true, allowances),
        }
    }

    fn restart(&self, open: &OpenMove<'_>, workload: &Workload, allowances: &mut Allowances<'a>) -> Verdict {
        let id = restart_id(self.run, open.step);
        if workload.template.restart_id.as_ref() == Some(&id) {
            if workload.is_settled() {
                // New pods are everywhere; what is still here is ending, or landed before its node was cordoned.
                return self.evict(open.workload, open.off, false, allowances);
            }
            return Verdict::Wait(rollout(workload));
        }
        if open.restart_seen {
            // Somebody (GitOps, an operator) took the restart out of the template again: a second restart would only repeat
            // the fight, so the pods that are left go one by one.
            return self.evict(open.workload, open.off, false, allowances);
        }
        if !workload.is_settled() {
            let sick = |pod: &&Pod| !pod.ready && !self.is_leaving(pod);
            if self.turned_back && self.doomed(open.workload, open.off).iter().any(sick) {
                // Where it came from is its image, or whatever else it lacks here. Those that are not ready go first.
                return self.evict(open.workload, open.off, false, allowances);
            }
            return Verdict::Wait(format!(
                "{} to be at strength first: {}",
                open.workload,
                strength(workload)
            ));
        }
        match self.lending(open, workload) {
            Lending::Ready => {}
            Lending::Missing(write) => return Verdict::Write(vec![write]),
            Lending::TakenBack(gone) => return self.without_loan(open, workload, gone, allowances),
        }
        Verdict::Write(vec![Write::Restart {
            workload: open.workload.clone(),
            uid: workload.uid.clone(),
            restart: id,
        }])
    }

    /// One more pod stands in while they go one by one.
    fn scale_then_evict(
        &self,
        open: &OpenMove<'_>,
        workload: &Workload,
        allowances: &mut Allowances<'a>,
    ) -> Verdict {
        match self.lending(open, workload) {
            Lending::Missing(_) if !workload.is_settled() => {
                Verdict::Wait(format!("{} to be at strength first: {}", open.workload, strength(workload)))
            }
            Lending::Missing(write) => Verdict::Write(vec![write]),
            Lending::Ready => self.evict(open.workload, open.off, false, allowances),
            Lending::TakenBack(gone) => self.without_loan(open, workload, gone, allowances),
        }
    }

    /// Somebody has taken back what the move had borrowed, and it is not borrowed again. What has several replicas leaves as it
    /// would have without it; a single one needs a person.
    fn without_loan(
        &self,
        open: &OpenMove<'_>,
        workload: &Workload,
        gone: Settings,
        allowances: &mut Allowances<'a>,
    ) -> Verdict {
        let stays = self.doomed(open.workload, open.off).into_iter().any(|pod| !self.is_leaving(pod));
        if workload.replicas > 1 || !stays {
            return self.evict(open.workload, open.off, false, allowances);
        }
        Verdict::Fail(
            Failure::CannotLeave,
            format!(
                "somebody (GitOps, an operator?) has taken back {gone}, which was borrowed of {}; with one replica it cannot leave without",
                open.workload
            ),
        )
    }

    fn wait_then_evict(
        &self,
        job: &WorkloadRef,
        off: &PoolName,
        since: Timestamp,
        allowances: &mut Allowances<'a>,
    ) -> Verdict {
        let waited = Duration::try_from(self.now.duration_since(since)).unwrap_or_default();
        match self.job_wait.checked_sub(waited) {
            Some(rest) if !rest.is_zero() => {
                Verdict::Patience(format!("{job} to end by itself, {} more at most", span::show(rest)))
            }
            _ => self.evict(job, off, false, allowances),
        }
    }

    /// The next pods that go. Under a budget, as many at a time as the workload's own rollouts let be missing, the next as soon
    /// as one is replaced. Without one, the next goes only when the one before is replaced and the workload at strength.
    fn evict(
        &self,
        owner: &WorkloadRef,
        off: &PoolName,
        gap_accepted: bool,
        allowances: &mut Allowances<'a>,
    ) -> Verdict {
        let (gone, mut staying): (Vec<&Pod>, Vec<&Pod>) =
            self.doomed(owner, off).into_iter().partition(|pod| self.is_leaving(pod));
        staying.sort_by_key(|pod| (pod.ready, &pod.name));
        let workload = self.view.workload(owner);
        let Some(first) = staying.first() else {
            let gone = gone.first().map(|pod| format!("pod {} to end", pod.name));
            let strength = || workload.map_or_else(|| format!("{owner} to be at strength"), rollout);
            return Verdict::Wait(gone.unwrap_or_else(strength));
        };
        let has_budget = self.view.budgets_of(first).next().is_some();
        let several = workload.filter(|workload| has_budget && workload.most_leaving() > 1);
        let mut room = if let Some(workload) = several {
            self.room(workload)
        } else {
            if let Some(pod) = gone.first() {
                return Verdict::Wait(format!("pod {} to end", pod.name));
            }
            if let Some(wait) = self.not_at_strength(owner, first) {
                return wait;
            }
            staying.truncate(1);
            1
        };
        let mut writes = Vec::new();
        for pod in staying {
            if pod.is_healthy() {
                if room == 0 {
                    break;
                }
                room -= 1;
                let goes = |other: &Pod| self.is_leaving(other) || evicts(&writes, other);
                match self.balancers().before_eviction(pod, goes) {
                    Some(first) if writes.is_empty() => return first,
                    Some(_) => break,
                    None => {}
                }
            }
            match allowances.grant(pod, gap_accepted) {
                Ok(()) => writes.push(Write::Evict { pod: pod.name.clone(), uid: pod.uid.clone() }),
                Err(Refusal::Never(why)) => return Verdict::Fail(Failure::NeverEvicted, why),
                Err(Refusal::NotNow(why)) if writes.is_empty() => return Verdict::Blocked(why),
                Err(Refusal::NotNow(_)) => break,
            }
        }
        match (writes.is_empty(), workload) {
            (true, Some(workload)) => {
                Verdict::Wait(format!("{owner} to be at strength: {}", strength(workload)))
            }
            (true, None) | (false, _) => Verdict::Write(writes),
        }
    }

    /// Told to go, or about to be.
    fn is_leaving(&self, pod: &Pod) -> bool {
        pod.terminating || self.leaving.contains(&pod.uid)
    }

    /// How many more pods of a workload may go now.
    fn room(&self, workload: &Workload) -> u32 {
        let works = |pod: &&Pod| pod.is_healthy() && !self.is_leaving(pod);
        let healthy = u32::try_from(self.view.pods_of(workload).filter(works).count()).unwrap_or(u32::MAX);
        let missing = workload.replicas.saturating_sub(healthy);
        workload.most_leaving().saturating_sub(missing)
    }

    /// What has to be waited for before a pod that works may go.
    fn not_at_strength(&self, owner: &WorkloadRef, pod: &Pod) -> Option<Verdict> {
        if !pod.ready || owner.kind == WorkloadKind::Job {
            return None;
        }
        match self.view.workload(owner) {
            Some(workload) if !workload.is_settled() => {
                Some(Verdict::Wait(format!("{owner} to be at strength: {}", strength(workload))))
            }
            None if !self.all_healthy(pod) => {
                Some(Verdict::Wait(format!("every pod of {owner} to be ready")))
            }
            Some(_) | None => None,
        }
    }

    /// Every pod of the same owner is ready: all that can be known of an owner that is not read.
    fn all_healthy(&self, pod: &Pod) -> bool {
        let owner = pod.owner.as_ref().map(|owner| &owner.uid);
        let siblings = self.view.pods_in_namespace(pod.name.namespace());
        siblings
            .filter(|p| !p.is_finished() && p.owner.as_ref().map(|o| &o.uid) == owner)
            .all(Pod::is_healthy)
    }
}

fn evicts(writes: &[Write], pod: &Pod) -> bool {
    writes.iter().any(|write| matches!(write, Write::Evict { uid, .. } if *uid == pod.uid))
}

/// How many of a workload's pods are available, in words.
pub(crate) fn strength(workload: &Workload) -> String {
    let trouble = workload.status.trouble.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{} of {} pods available{trouble}", workload.status.available, workload.replicas)
}

fn rollout(workload: &Workload) -> String {
    let status = &workload.status;
    let trouble = status.trouble.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let (reference, wanted) = (&workload.reference, workload.replicas);
    format!(
        "{reference}: {} of {wanted} pods new, {} available{trouble}",
        status.updated.min(wanted),
        status.available
    )
}

/// What is left on a pool's nodes after the moves: pods of workloads that came later. They leave one by one under the same
/// guards; Jobs get their time first. Bare pods are never evicted: nothing would make them again.
pub(crate) fn leftovers(case: &MoveCase<'_>, pool: &PoolName, since: Timestamp) -> Verdict {
    let nothing = || Verdict::Done(format!("nothing is left on {pool} but what goes with its nodes"));
    if case.view.pods_to_move_from(pool) == 0 {
        return nothing();
    }
    let left: Vec<&Pod> = case.view.pods_in(pool).filter(|pod| !pod.leaves_with_node()).collect();
    let Some(first) = left.first() else { return nothing() };
    if let Some(bare) = left.iter().find(|pod| pod.owner.is_none() && !pod.terminating) {
        return Verdict::Wait(format!(
            "bare pod {} to be removed by whoever made it: nothing would make it again",
            bare.name
        ));
    }
    let owners: BTreeSet<WorkloadRef> = left.iter().filter_map(|pod| case.view.workload_of(pod)).collect();
    let mut allowances = Allowances::new(case.view, case.leaving);
    let mut room = Room::new(case);
    let mut writes = Vec::new();
    let (mut wait, mut patience) = (None, None);
    for owner in &owners {
        let verdict = match owner.kind {
            WorkloadKind::Job => case.wait_then_evict(owner, pool, since, &mut allowances),
            _ => case.evict(owner, pool, false, &mut allowances),
        };
        match room.only_what_fits(case, owner, verdict) {
            Verdict::Write(more) => writes.extend(more),
            Verdict::Wait(why) | Verdict::Blocked(why) | Verdict::NoRoom(why) => wait = wait.or(Some(why)),
            Verdict::Patience(why) => patience = patience.or(Some(why)),
            Verdict::Fail(failure, why) => return Verdict::Fail(failure, why),
            Verdict::Done(_) => {}
        }
    }
    match (writes.is_empty(), wait, patience) {
        (false, _, _) => Verdict::Write(writes),
        (true, None, Some(why)) => Verdict::Patience(why),
        (true, why, _) => Verdict::Wait(why.unwrap_or_else(|| format!("pod {} to end", first.name))),
    }
}

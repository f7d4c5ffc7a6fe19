//! Which lanes of the stage under way are looked at, and when.
//!
//! A stage may have thousands of lanes, and a cluster changes many times a second. A move is looked at when something that it
//! depends on has changed: its workload or one of that one's pods, an answer to a write of its own, the end of a pause; if it
//! waits for a budget or a Service, one of its namespace, too; and every few seconds, for its time limits. A
//! move that only waits for a free slot costs nothing. Other steps are few and are looked at each time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::TICK;
use crate::journal::RunState;
use crate::model::{PoolName, StepId, WorkloadRef};
use crate::plan::{Action, Route, Stage, Step};
use crate::run::{Verdict, azure};
use crate::view::Touched;

/// The number of a lane in its stage, from zero.
pub(super) type LaneNumber = usize;

/// The lanes of one stage.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    lanes: Vec<LaneAt>,
    lane_of: HashMap<StepId, LaneNumber>,
    moves_of: HashMap<WorkloadRef, Vec<LaneNumber>>,
    /// Lanes whose next step is no move.
    others: BTreeSet<LaneNumber>,
    /// Lanes whose next step is a move.
    moves: BTreeSet<LaneNumber>,
    /// Moves to look at.
    due: BTreeSet<LaneNumber>,
    /// Moves that wait for a free slot.
    queue: BTreeSet<LaneNumber>,
    /// Moves that hold a slot.
    begun: BTreeSet<LaneNumber>,
    /// Moves that were looked at and are not finished.
    watched: BTreeSet<LaneNumber>,
    /// Those of them that wait for a budget or a Service, by namespace.
    blocked: BTreeMap<String, BTreeSet<LaneNumber>>,
    /// Those of them that wait for room.
    cramped: BTreeSet<LaneNumber>,
    /// Moves that had more to send than there was room for.
    crowded: BTreeSet<LaneNumber>,
    pauses: BTreeSet<(Timestamp, LaneNumber)>,
    next_tick: Option<Timestamp>,
    /// The pools that moves leave, with the number of moves that are not finished.
    leaving: BTreeMap<PoolName, usize>,
    steps: usize,
    finished: usize,
    /// Steps that look at Azure and are not finished.
    in_azure: usize,
    /// A lane has reached its next step or its end since this was asked last.
    advanced: bool,
}

/// Whose change may let a move go on that waits, beside its own workload's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// Nobody's.
    Itself,
    /// A budget, or another endpoint of a Service in its namespace.
    Protection,
    /// Room on the nodes that take pods.
    Room,
}

impl WaitsFor {
    pub(super) fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Blocked(_) => Self::Protection,
            Verdict::NoRoom(_) => Self::Room,
            Verdict::Done(_)
            | Verdict::Write(_)
            | Verdict::Wait(_)
            | Verdict::Patience(_)
            | Verdict::Fail(..) => Self::Itself,
        }
    }
}

/// Where a lane stands.
#[derive(Clone, Copy, Debug)]
struct LaneAt {
    step: usize,
    since: Timestamp,
}

impl Agenda {
    /// The lanes of a stage that begins, or is taken up again, now.
    pub(super) fn of(stage: &Stage, state: &RunState, now: Timestamp) -> Self {
        let mut agenda = Self::default();
        for (number, lane) in stage.lanes.iter().enumerate() {
            agenda.steps += lane.steps.len();
            for step in &lane.steps {
                agenda.lane_of.insert(step.id.clone(), number);
                agenda.in_azure += usize::from(azure::concerns(&step.action));
                if let Action::Move { workload, off, .. } = &step.action {
                    agenda.moves_of.entry(workload.clone()).or_default().push(number);
                    *agenda.leaving.entry(off.clone()).or_default() += 1;
                }
            }
            agenda.lanes.push(LaneAt { step: 0, since: now });
            agenda.reach(stage, number);
            while let Some(step) = agenda.open(stage, number).filter(|step| state.outcome(&step.id).is_some())
            {
                agenda.finish(stage, step, now);
            }
        }
        agenda
    }

    /// The first unfinished step of a lane.
    pub(super) fn open<'s>(&self, stage: &'s Stage, lane: LaneNumber) -> Option<&'s Step> {
        stage.lanes.get(lane)?.steps.get(self.lanes.get(lane)?.step)
    }

    /// When the lane reached its next step.
    pub(super) fn since(&self, step: &StepId) -> Option<Timestamp> {
        self.lanes.get(*self.lane_of.get(step)?).map(|lane| lane.since)
    }

    /// The lane has a next step, which is new.
    fn reach(&mut self, stage: &Stage, lane: LaneNumber) {
        match self.open(stage, lane).map(|step| &step.action) {
            Some(Action::Move { .. }) => {
                self.moves.insert(lane);
                self.due.insert(lane);
            }
            Some(_) => {
                self.others.insert(lane);
            }
            None => {}
        }
    }

    /// A step is finished: its lane goes on.
    pub(super) fn finish(&mut self, stage: &Stage, step: &Step, now: Timestamp) {
        let Some(&lane) = self.lane_of.get(&step.id) else { return };
        let sets = [&mut self.others, &mut self.moves, &mut self.due, &mut self.queue, &mut self.begun];
        for lanes in sets.into_iter().chain([&mut self.watched]) {
            lanes.remove(&lane);
        }
        if let Action::Move { workload, off, .. } = &step.action {
            self.block(workload.name.namespace(), lane, false);
            self.cramped.remove(&lane);
            // The room that was kept for its pods is taken, or free.
            self.due.extend(&self.cramped);
            if let Some(left) = self.leaving.get_mut(off) {
                *left -= 1;
            }
        }
        self.finished += 1;
        self.in_azure -= usize::from(azure::concerns(&step.action));
        self.advanced = true;
        if let Some(at) = self.lanes.get_mut(lane) {
            *at = LaneAt { step: at.step + 1, since: now };
        }
        self.reach(stage, lane);
    }

    /// Something has changed in the cluster.
    pub(super) fn touched(&mut self, touched: &Touched) {
        if touched.nodes {
            return self.due.extend(&self.moves);
        }
        for lane in touched.workloads.iter().filter_map(|workload| self.moves_of.get(workload)).flatten() {
            if self.moves.contains(lane) {
                self.due.insert(*lane);
            }
        }
        for lanes in touched.namespaces.iter().filter_map(|namespace| self.blocked.get(namespace)) {
            self.due.extend(lanes);
        }
        if touched.room {
            self.due.extend(&self.cramped);
        }
    }

    /// The step had more to send than there was room for: it is looked at again with the next answer.
    pub(super) fn crowd(&mut self, step: &StepId) {
        self.crowded.extend(self.lane_of.get(step));
    }

    /// A write of the step was answered.
    pub(super) fn answered(&mut self, step: &StepId) {
        let crowded = std::mem::take(&mut self.crowded);
        self.due.extend(crowded.intersection(&self.moves));
        if let Some(&lane) = self.lane_of.get(step)
            && self.moves.contains(&lane)
        {
            self.due.insert(lane);
        }
    }

    /// The step pauses; it is looked at again at `until`.
    pub(super) fn pause(&mut self, step: &StepId, until: Timestamp) {
        if let Some(&lane) = self.lane_of.get(step) {
            self.pauses.insert((until, lane));
        }
    }

    /// When a pause ends next.
    pub(super) fn next_pause(&self) -> Option<Timestamp> {
        self.pauses.first().map(|(at, _)| *at)
    }

    /// Time has passed: pauses end, and now and then whatever waits is looked at for its time limit.
    pub(super) fn tick(&mut self, now: Timestamp) {
        while let Some((_, lane)) = self.pauses.first().copied().filter(|(at, _)| *at <= now) {
            self.pauses.pop_first();
            if self.moves.contains(&lane) {
                self.due.insert(lane);
            }
        }
        if self.next_tick.is_none_or(|at| at <= now) {
            self.next_tick = Some(now + TICK);
            self.due.extend(&self.watched);
        }
    }

    /// The moves to look at now, in the plan's order; each is shown once.
    pub(super) fn take_due(&mut self) -> BTreeSet<LaneNumber> {
        std::mem::take(&mut self.due)
    }

    /// The move has to wait for a free slot.
    pub(super) fn enqueue(&mut self, lane: LaneNumber) {
        self.queue.insert(lane);
    }

    /// The first move that waits for a slot. It is on the agenda from now on.
    pub(super) fn next_in_queue(&mut self) -> Option<LaneNumber> {
        self.queue.pop_first()
    }

    /// The move was looked at and is not finished.
    pub(super) fn watch(&mut self, step: &Step, begun: bool, waits_for: WaitsFor) {
        let (Some(&lane), Action::Move { workload, .. }) = (self.lane_of.get(&step.id), &step.action) else {
            return;
        };
        self.watched.insert(lane);
        self.block(workload.name.namespace(), lane, waits_for == WaitsFor::Protection);
        if waits_for == WaitsFor::Room {
            self.cramped.insert(lane);
        } else {
            self.cramped.remove(&lane);
        }
        if begun {
            self.begun.insert(lane);
        }
    }

    fn block(&mut self, namespace: &str, lane: LaneNumber, blocked: bool) {
        if blocked {
            self.blocked.entry(namespace.to_owned()).or_default().insert(lane);
        } else if let Some(lanes) = self.blocked.get_mut(namespace) {
            lanes.remove(&lane);
            if lanes.is_empty() {
                self.blocked.remove(namespace);
            }
        }
    }

    /// Does the move hold a slot?
    pub(super) fn has_begun(&self, lane: LaneNumber) -> bool {
        self.begun.contains(&lane)
    }

    /// The moves that hold a slot.
    pub(super) fn under_way<'s>(&self, stage: &'s Stage) -> Vec<(&'s WorkloadRef, Route)> {
        let steps = self.begun.iter().filter_map(|lane| self.open(stage, *lane));
        let moves = steps.filter_map(|step| match &step.action {
            Action::Move { workload, route, .. } => Some((workload, *route)),
            _ => None,
        });
        moves.collect()
    }

    /// How many moves hold a slot.
    pub(super) fn begun(&self) -> usize {
        self.begun.len()
    }

    /// The first lane whose next step is a move off this pool.
    pub(super) fn first_move_off(&self, stage: &Stage, pool: &PoolName) -> Option<LaneNumber> {
        let leaves = |lane: &LaneNumber| {
            let action = self.open(stage, *lane).map(|step| &step.action);
            matches!(action, Some(Action::Move { off, .. }) if off == pool)
        };
        self.moves.iter().copied().find(leaves)
    }

    /// The pools that moves still leave.
    pub(super) fn doomed(&self) -> impl Iterator<Item = &PoolName> {
        self.leaving.iter().filter(|(_, moves)| **moves > 0).map(|(pool, _)| pool)
    }

    /// Every pool that a move of the stage leaves, or has left.
    pub(super) fn pools(&self) -> impl Iterator<Item = &PoolName> {
        self.leaving.keys()
    }

    /// Lanes whose next step is no move.
    pub(super) fn others(&self) -> impl Iterator<Item = LaneNumber> {
        self.others.iter().copied()
    }

    /// Lanes that somebody waits for, in the plan's order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = LaneNumber> {
        self.others.iter().chain(&self.watched).copied()
    }

    /// Does a step of the stage still need Azure?
    pub(super) fn needs_azure(&self) -> bool {
        self.in_azure > 0
    }

    /// Finished steps, and all.
    pub(super) fn steps(&self) -> (usize, usize) {
        (self.finished, self.steps)
    }

    /// Every lane is at its end.
    pub(super) fn is_finished(&self) -> bool {
        self.finished == self.steps
    }

    /// Has a lane gone on since this was asked last? Then there may be more to do at once.
    pub(super) fn take_advanced(&mut self) -> bool {
        std::mem::take(&mut self.advanced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ObjectName, WorkloadKind};
    use crate::plan::{Lane, Reversal};

    fn workload(name: &str) -> WorkloadRef {
        WorkloadRef { kind: WorkloadKind::Deployment, name: name.parse::<ObjectName>().unwrap() }
    }

    /// A stage with one move a lane.
    fn stage(workloads: &[&str]) -> Stage {
        let lanes = workloads.iter().enumerate().map(|(number, name)| {
            let action = Action::Move {
                workload: workload(name),
                off: PoolName::new("user").unwrap(),
                route: Route::Restart,
                reason: String::new(),
            };
            let id = StepId::new(format!("1.{}.1", number + 1)).unwrap();
            Lane { steps: vec![Step { id, action, reversal: Reversal::Forward { why: String::new() } }] }
        });
        Stage { number: 1, title: "move".into(), lanes: lanes.collect() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// An agenda on which everything has been looked at: the first lanes have begun, the others wait for a slot.
    fn under_way(stage: &Stage, begun: usize) -> Agenda {
        let mut agenda = Agenda::of(stage, &RunState::default(), at(0));
        agenda.tick(at(0));
        for lane in agenda.take_due() {
            if lane < begun {
                agenda.watch(agenda.open(stage, lane).unwrap(), true, WaitsFor::Protection);
            } else {
                agenda.enqueue(lane);
            }
        }
        agenda
    }

    fn touched(workloads: &[&str], namespaces: &[&str]) -> Touched {
        Touched {
            workloads: workloads.iter().map(|name| workload(name)).collect(),
            namespaces: namespaces.iter().map(ToString::to_string).collect(),
            ..Touched::default()
        }
    }

    #[test]
    fn everything_is_looked_at_once_and_then_only_what_has_changed() {
        let stage = stage(&["shop/a", "shop/b", "pay/c", "pay/d"]);
        let mut agenda = under_way(&stage, 1);
        assert_eq!(agenda.take_due(), [].into());
        // A pod of a move that waits for a slot: it may have ended by itself.
        agenda.touched(&touched(&["pay/d"], &[]));
        assert_eq!(agenda.take_due(), [3].into());
        // A budget: only moves that were looked at and denied wait for it.
        agenda.touched(&touched(&[], &["shop", "pay"]));
        assert_eq!(agenda.take_due(), [0].into());
        agenda.touched(&touched(&["other/x"], &["other"]));
        assert_eq!(agenda.take_due(), [].into());
        agenda.touched(&Touched { nodes: true, ..Touched::default() });
        assert_eq!(agenda.take_due(), [0, 1, 2, 3].into());
    }

    #[test]
    fn time_limits_are_looked_at_now_and_then_and_a_pause_at_its_end() {
        let stage = stage(&["shop/a", "shop/b"]);
        let mut agenda = under_way(&stage, 1);
        let step = agenda.open(&stage, 1).unwrap().id.clone();
        agenda.pause(&step, at(3));
        assert_eq!(agenda.next_pause(), Some(at(3)));
        agenda.tick(at(2));
        assert_eq!(agenda.take_due(), [].into());
        agenda.tick(at(3));
        assert_eq!(agenda.take_due(), [1].into());
        agenda.tick(at(5));
        assert_eq!(agenda.take_due(), [0].into(), "what waits for a slot has no limit");
    }

    #[test]
    fn a_move_without_room_is_looked_at_when_a_pod_leaves_or_another_move_ends() {
        let stage = stage(&["shop/a", "shop/b"]);
        let mut agenda = Agenda::of(&stage, &RunState::default(), at(0));
        agenda.tick(at(0));
        agenda.take_due();
        agenda.watch(agenda.open(&stage, 0).unwrap(), true, WaitsFor::Itself);
        agenda.watch(agenda.open(&stage, 1).unwrap(), false, WaitsFor::Room);
        agenda.touched(&touched(&["shop/other"], &["shop"]));
        assert_eq!(agenda.take_due(), [].into());
        agenda.touched(&Touched { room: true, ..Touched::default() });
        assert_eq!(agenda.take_due(), [1].into());
        agenda.finish(&stage, agenda.open(&stage, 0).unwrap(), at(1));
        assert_eq!(agenda.take_due(), [1].into());
        agenda.watch(agenda.open(&stage, 1).unwrap(), true, WaitsFor::Itself);
        agenda.touched(&Touched { room: true, ..Touched::default() });
        assert_eq!(agenda.take_due(), [].into(), "it has its room");
    }

    #[test]
    fn a_finished_move_leaves_its_slot_and_is_not_looked_at_again() {
        let stage = stage(&["shop/a", "shop/b"]);
        let mut agenda = under_way(&stage, 1);
        assert_eq!((agenda.begun(), agenda.take_advanced(), agenda.is_finished()), (1, false, false));
        agenda.finish(&stage, agenda.open(&stage, 0).unwrap(), at(9));
        assert_eq!((agenda.begun(), agenda.take_advanced(), agenda.take_advanced()), (0, true, false));
        agenda.touched(&touched(&["shop/a"], &["shop"]));
        agenda.answered(&stage.lanes[0].steps[0].id);
        agenda.tick(at(60));
        assert_eq!(agenda.take_due(), [].into());
        assert_eq!(agenda.next_in_queue(), Some(1));
        agenda.finish(&stage, agenda.open(&stage, 1).unwrap(), at(9));
        assert!(agenda.is_finished() && agenda.doomed().next().is_none());
    }
}

//! Ten thousand nights of moves on small random clusters, with late news, lost answers and killed processes: whatever happens,
//! the rules of a move hold.

mod luck;
mod toy;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use self::toy::Toy;
use super::{Effect, Input, Look, Machine};
use crate::event::RunOutcome;
use crate::inventory::{ClusterIdentity, Evidence, EvidenceKind, EvidenceVerdict};
use crate::journal::{Record, RunState, Write, WriteAnswer};
use crate::model::tests_support::inventory;
use crate::model::{PoolName, RunId, StepId};
use crate::plan::{Action, Lane, Plan, Reversal, Route, RouteChoice, Stage, Step, plan};
use crate::policy::Policy;
use crate::ports::{Answer, AzureView, CallOutcome, PortError, PortErrorKind, ProbeAnswer, RemoteService};
use crate::run::{LockNews, lost};
use crate::view::{Change, View};

const NIGHTS: u64 = 10_000;

/// One night.
struct Night {
    toy: Toy,
    machine: Machine,
    journal: Vec<Record>,
    /// Writes that are on their way.
    sent: BTreeMap<u64, Write>,
    /// What has happened and was not delivered yet.
    late: VecDeque<Change>,
    /// The watches have lost contact; they go on where they were.
    silent_until: Timestamp,
    /// How it ended.
    end: Option<RunOutcome>,
    /// What it said to hold at its end.
    holding: Vec<String>,
}

fn identity() -> ClusterIdentity {
    let evidence = [EvidenceKind::ApiServerCa, EvidenceKind::Nodes];
    let agrees = |what| Evidence { what, verdict: EvidenceVerdict::Agrees, detail: "values".into() };
    ClusterIdentity { evidence: evidence.map(agrees).into(), ..inventory().identity }
}

/// Cordon, move, drain: the part of a plan that leaves a pool, for these workloads.
fn leave(toy: &mut Toy) -> Plan {
    let off = PoolName::new("user").expect("a name");
    let mut view = View::default();
    for change in toy.lists() {
        view.apply(change);
    }
    let mut moves = Vec::new();
    for app in &mut toy.apps {
        let choice = RouteChoice::of(&app.workload, &view, &Policy::default()).expect("no DaemonSet");
        app.route = choice.route;
        let workload = app.workload.reference.clone();
        moves.push(Action::Move { workload, off: off.clone(), route: choice.route, reason: choice.reason });
    }
    let stages = [vec![Action::Cordon { pool: off.clone() }], moves, vec![Action::Drain { pool: off }]];
    let stages = (1..).zip(stages).map(|(number, actions)| {
        let lanes = (1..).zip(actions).map(|(lane, action)| {
            let id = StepId::new(format!("{number}.{lane}.1")).expect("three numbers");
            let reversal = Reversal::Forward { why: "a test".into() };
            Lane { steps: vec![Step { id, action, reversal }] }
        });
        Stage { number, title: format!("stage {number}"), lanes: lanes.collect() }
    });
    let policy = Policy {
        move_timeout: Duration::from_secs(240),
        max_concurrent_moves: 1 + u32::try_from(toy.luck.below(4)).expect("small"),
        ..Policy::default()
    };
    let whole = plan(&inventory(), &Policy::default(), "1.35".parse().expect("a version")).expect("a plan");
    let gaps = toy.apps.iter().filter(|app| app.route == Route::Gap);
    let accepted_gaps = gaps.map(|app| toy.apps[app.leader].workload.reference.name.clone()).collect();
    Plan { cluster: identity(), policy, accepted_gaps, stages: stages.collect(), ..whole }
}

impl Night {
    fn begin(seed: u64) -> Self {
        let mut toy = Toy::new(seed);
        let plan = leave(&mut toy);
        let run = RunId::new("r").expect("plain");
        let (machine, effects) = Machine::begin(plan, run, "test".into(), toy.now);
        let mut night = Self {
            toy,
            machine,
            journal: Vec::new(),
            sent: BTreeMap::new(),
            late: VecDeque::new(),
            silent_until: Timestamp::MIN,
            end: None,
            holding: Vec::new(),
        };
        night.listed(effects);
        night
    }

    /// A process begins: it lists everything, and hears of what comes later.
    fn listed(&mut self, effects: Vec<Effect>) {
        self.late.clear();
        self.silent_until = self.toy.now;
        let lists = self.toy.lists();
        self.carry_out(effects);
        self.tell(Input::Changes(lists));
    }

    fn tell(&mut self, input: Input) {
        let effects = self.machine.on(self.toy.now, input);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Record(record) => {
                    self.journal.push(record);
                    if self.toy.luck.one_in(120) {
                        return self.kill();
                    }
                }
                Effect::Act { id, write } => {
                    self.sent.insert(id, write);
                }
                Effect::Prove => self.tell(Input::Identity(Ok(identity()))),
                Effect::TakeLock => self.tell(Input::Lock(LockNews::Held)),
                Effect::LookForRoom(_) => self.tell(Input::Room(Ok(Vec::new()))),
                Effect::ReadRancher => self.tell(Input::Rancher(Ok(inventory().rancher))),
                Effect::LookAtAzure(_) => {
                    let (cluster, pools) = (inventory().cluster, inventory().pools);
                    let view = AzureView { cluster, pools, look_again: Duration::from_secs(30) };
                    self.tell(Input::Azure(Ok(Look { view, operations: Vec::new() })));
                }
                Effect::Ask(_) => self.tell(Input::Gate(Answer::Pause)),
                Effect::Probe(probe) => {
                    let answer = ProbeAnswer::Unknown { words: "nobody is asked here".into() };
                    self.tell(Input::Probed { probe, answer });
                }
                Effect::Emit(_) => {}
                Effect::End(report) => (self.end, self.holding) = (Some(report.outcome), report.holding),
            }
        }
    }

    /// The process ends here. What it had sent may arrive all the same; another process goes on from the journal.
    fn kill(&mut self) {
        for (_, write) in std::mem::take(&mut self.sent) {
            if self.toy.luck.one_in(2) {
                self.arrives_unseen(&write);
            }
        }
        let state = RunState::replay(self.journal.clone()).expect("the journal replays");
        if state.is_done() {
            self.end = Some(RunOutcome::Done);
            return;
        }
        let (machine, effects) = Machine::resume(state, self.toy.now).expect("it goes on");
        self.machine = machine;
        self.listed(effects);
    }

    /// A write arrives, and nobody hears of it. Where somebody takes its effect away again, too, nobody can know that it was there.
    fn arrives_unseen(&mut self, write: &Write) {
        self.toy.act(write);
        if let Write::Restart { restart, .. } = write {
            for app in &mut self.toy.apps {
                app.restarts.remove(restart);
            }
        }
    }

    /// One of the writes on their way arrives, and is answered, or fails in one of the ways in which calls fail. Where the answer
    /// is lost, what became of the write is read, as the driver does it.
    fn arrive(&mut self) {
        let Some(id) = self.sent.keys().next().copied() else { return };
        let Some(write) = self.sent.remove(&id) else { return };
        let answer = match self.toy.luck.below(12) {
            0 => {
                WriteAnswer::Failed { message: "a call that failed".into(), kind: PortErrorKind::Unreachable }
            }
            lost @ (1 | 2) => {
                if lost == 1 {
                    self.toy.act(&write);
                }
                let (kind, name) = lost::place(&write).expect("a write to the cluster");
                lost::came_to(&write, self.toy.read(kind, &name).as_ref())
            }
            _ => self.toy.act(&write),
        };
        self.tell(Input::Answered { id, answer, retry_after: None });
    }

    /// The watches tell what has happened, or a part of it, or nothing for a while.
    fn deliver(&mut self) {
        if self.toy.luck.one_in(60) {
            let seconds = i64::try_from(self.toy.luck.below(90)).expect("small");
            self.silent_until = self.toy.now + SignedDuration::from_secs(seconds);
            let (kind, outcome) = (PortErrorKind::Unreachable, CallOutcome::NothingDone);
            let lost = PortError::new(RemoteService::Kubernetes, kind, outcome, "the watch was cut");
            self.tell(Input::ContactLost(lost));
        }
        if self.silent_until > self.toy.now {
            return;
        }
        let waiting = u64::try_from(self.late.len()).expect("small");
        let told = if self.toy.luck.one_in(3) { self.toy.luck.below(waiting + 1) } else { waiting };
        let told: Vec<Change> = self.late.drain(..usize::try_from(told).expect("small")).collect();
        if !told.is_empty() {
            self.tell(Input::Changes(told));
        }
    }

    /// The night to its end; the rules that were broken.
    fn through(mut self) -> Told {
        for _ in 0..4000 {
            if self.end.is_some() || !self.toy.broken.is_empty() {
                break;
            }
            let step = SignedDuration::from_millis(i64::try_from(self.toy.luck.below(2500)).expect("small"));
            let next = self.toy.now + step;
            self.toy.pass(next);
            let news = self.toy.take_news();
            self.late.extend(news);
            self.deliver();
            self.arrive();
            if self.toy.luck.one_in(3) {
                self.tell(Input::Tick);
            }
            if self.toy.luck.one_in(600) {
                self.tell(Input::Stop);
            }
        }
        // What goes on after the run has ended goes on with what was given back.
        if self.holding.iter().all(|held| !held.contains("gives it back")) {
            for _ in 0..40 {
                let next = self.toy.now + SignedDuration::from_secs(2);
                self.toy.pass(next);
            }
        }
        let broken = self.rules();
        let owed = self.toy.owed().count();
        Told {
            done: self.end == Some(RunOutcome::Done),
            restarts: self.toy.restarts(),
            borrowing: self.toy.borrowing(),
            owed,
            broken,
        }
    }

    fn rules(&self) -> Vec<String> {
        let mut broken = self.toy.broken.clone();
        for app in &self.toy.apps {
            if app.restarts.values().sum::<u32>() > 1 {
                broken.push(format!("{} restarted again", app.workload.reference));
            }
        }
        for owed in self.toy.owed().filter(|_| self.end.is_some()) {
            let told = self.holding.iter().any(|held| held.contains(&format!("of {owed}; `kubectl")));
            if !told || self.end == Some(RunOutcome::Done) {
                broken.push(format!("{owed} has not got back what it lent, at {:?}", self.end));
            }
        }
        match &self.end {
            None if broken.is_empty() => broken.push("the run does not end".into()),
            Some(RunOutcome::Done) => {
                let left = self.toy.left_behind();
                broken
                    .extend(left.into_iter().map(|pod| format!("the run is done, and {pod} is still there")));
            }
            Some(RunOutcome::Held { cause, .. }) if !names_a_blocker(cause) => {
                broken.push(format!("the run holds and names no blocker: {cause}"));
            }
            Some(RunOutcome::Paused { .. }) if self.toy.calm => broken.push("a gap on a calm night".into()),
            _ => {}
        }
        broken
    }
}

/// A workload, a pod, a budget or a Service, by name.
fn names_a_blocker(cause: &str) -> bool {
    cause.contains("shop/a")
}

/// What a night comes to.
struct Told {
    done: bool,
    restarts: usize,
    borrowing: usize,
    owed: usize,
    broken: Vec<String>,
}

#[test]
fn whatever_happens_the_rules_of_a_move_hold() {
    let threads = std::thread::available_parallelism().map_or(1, |n| u64::try_from(n.get()).unwrap_or(1));
    let told: Vec<(u64, Told)> = std::thread::scope(|scope| {
        let part = |first| {
            scope.spawn(move || {
                let nights = (first..NIGHTS).step_by(usize::try_from(threads).expect("small"));
                nights.map(|seed| (seed, Night::begin(seed).through())).collect::<Vec<_>>()
            })
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts.into_iter().flat_map(|part| part.join().expect("no panic")).collect()
    });
    let broken: Vec<String> = told
        .iter()
        .filter(|(_, night)| !night.broken.is_empty())
        .map(|(seed, night)| format!("seed {seed}: {}", night.broken.join("; ")))
        .collect();
    let first = broken.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(broken.is_empty(), "{} nights broke a rule:\n{first}", broken.len());
    // The nights are worth telling: most come to their end, some do not, and many restart something.
    let nights = usize::try_from(NIGHTS).expect("small");
    let done = told.iter().filter(|(_, night)| night.done).count();
    assert!((nights * 6 / 10..nights).contains(&done), "{done} of {nights} are done");
    let restarted = told.iter().filter(|(_, night)| night.restarts > 0).count();
    assert!(restarted > nights / 3, "{restarted} of {nights} restart something");
    let borrowing = told.iter().filter(|(_, night)| night.borrowing > 0).count();
    let owed = told.iter().filter(|(_, night)| night.owed > 0).count();
    assert!(borrowing > nights / 3, "{borrowing} of {nights} borrow something");
    assert!(owed < nights / 100, "{owed} of {nights} say that they could not give something back");
}

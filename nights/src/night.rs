//! One night: a lab, a plan, and the processes that work on the run one after the other, watched over all of it.

use std::sync::Arc;
use std::time::Duration;

use cluster_lab::Lab;
use futures::future::{Either, select};
use upgrade_core::event::{Report, RunOutcome};
use upgrade_core::inventory::Inventory;
use upgrade_core::journal::{Reader, Record, RunState, whole_lines};
use upgrade_core::model::{HolderId, RunId};
use upgrade_core::plan::Plan;
use upgrade_core::ports::Ports;
use upgrade_core::run::{Start, drive, stop_signal};

use crate::ends;
use crate::eye::Eye;
use crate::hands::Hands;
use crate::kept::{Kept, Kill};

/// How often a run that holds is gone on with, half an hour later each time, as a person would do it.
const TRIES: usize = 3;
const LATER: Duration = Duration::from_secs(30 * 60);

/// Longer than a lock that nobody renews.
const REST: Duration = Duration::from_secs(2 * 60);

/// More processes than any night needs. A run that is taken up again and again and comes no further is a defect.
const MOST_PROCESSES: usize = 50;

/// A night.
pub struct Night {
    /// The world.
    pub lab: Lab,
    /// The cluster before.
    pub(crate) before: Inventory,
    /// What is to be done.
    pub plan: Plan,
    pub(crate) kept: Arc<Kept>,
    eye: Eye,
}

/// How a night went.
#[derive(Debug)]
pub struct Told {
    /// How the run ended, whoever worked on it last.
    pub outcome: RunOutcome,
    /// How many of the processes that worked on it were killed.
    pub kills: usize,
    /// The rules that were broken, in words; empty if all is well.
    pub broken: Vec<String>,
}

/// How a process ended.
enum Ended {
    Reported(Box<Report>),
    Killed,
    Broken(String),
}

impl Night {
    /// A night over this lab. Nothing has happened yet.
    pub fn new(lab: Lab, before: Inventory, plan: Plan) -> Self {
        Self::of(lab, before, plan, false)
    }

    /// The same, in which each write is sent twice in a row.
    pub fn twice(lab: Lab, before: Inventory, plan: Plan) -> Self {
        Self::of(lab, before, plan, true)
    }

    fn of(lab: Lab, before: Inventory, plan: Plan, twice: bool) -> Self {
        let eye = Eye::new(&plan);
        let kept = Arc::new(Kept::new(plan.cluster.clone(), twice));
        Self { lab, before, plan, kept, eye }
    }

    /// The fewest ready endpoints of each Service, as an onlooker saw them through the whole night.
    pub fn fewest(&self) -> Vec<(String, u32)> {
        self.eye.fewest()
    }

    /// The fewest that another night over the same cluster may see of each.
    pub fn bounds(&self) -> Vec<(String, u32)> {
        self.eye.bounds()
    }

    /// How many writes the run has sent.
    pub fn writes(&self) -> usize {
        self.kept.story().writes.len()
    }

    /// Runs the plan to its end through these kills, which come in the order of the journal.
    pub fn through(&self, kills: &[Kill]) -> Told {
        let run = RunId::new("night").expect("plain");
        let mut start = Start::Fresh { plan: self.plan.clone(), run, tool: "nights".to_owned() };
        let (mut outcome, mut holds, mut broken) = (RunOutcome::Aborted, 0, Vec::new());
        let mut processes = 0;
        loop {
            processes += 1;
            if processes > MOST_PROCESSES {
                broken.push("the run comes to no end".to_owned());
                break;
            }
            match self.process(processes, start, self.kept.next_kill(kills)) {
                Ended::Killed => {}
                Ended::Broken(rule) => {
                    broken.push(rule);
                    break;
                }
                Ended::Reported(report) => {
                    broken.extend(ends::truth(self, &report));
                    outcome = report.outcome.clone();
                    if outcome.is_done() || holds == TRIES {
                        break;
                    }
                    holds += 1;
                    if let Err(stuck) = self.pass(LATER) {
                        broken.push(stuck);
                        break;
                    }
                }
            }
            start = match self.state() {
                // Killed with its last record.
                Ok(state) if state.is_done() => {
                    outcome = RunOutcome::Done;
                    break;
                }
                Ok(state) => Start::Resumed(state),
                Err(rule) => {
                    broken.push(rule);
                    break;
                }
            };
        }
        broken.extend(self.kept.broken());
        broken.extend(self.eye.broken());
        broken.extend(ends::left(self, &outcome));
        Told { outcome, kills: self.kept.kills(), broken }
    }

    /// One process works on the run until its end, or until it is killed.
    fn process(&self, number: usize, start: Start, kill: Option<Kill>) -> Ended {
        let holder = HolderId::new(format!("process-{number}")).expect("plain");
        let killed = self.kept.begin(holder.clone(), kill);
        let (_stop, signal) = stop_signal();
        let run = Box::pin(drive(start, self.ports(holder), signal));
        let work = select(run, killed);
        let onlooker = Box::pin(self.eye.look_on(&self.lab));
        let ended = self.lab.block_on(select(work, onlooker));
        // Whoever is left is dropped here, as a killed process drops everything.
        match ended {
            Ok(Either::Left((Either::Left((Ok(report), _)), _))) => Ended::Reported(Box::new(report)),
            Ok(Either::Left((Either::Left((Err(error), _)), _))) => {
                Ended::Broken(format!("a run ended with {error:?}"))
            }
            Ok(Either::Left((Either::Right(_), _))) => Ended::Killed,
            Ok(Either::Right(((), _))) => Ended::Broken("the onlooker left".to_owned()),
            Err(stuck) => Ended::Broken(format!("a run waits for ever: {stuck}")),
        }
    }

    fn ports(&self, holder: HolderId) -> Ports {
        let hands = Hands::new(self.lab.clone(), Arc::clone(&self.kept));
        Ports {
            kubernetes: Arc::new(hands.kubernetes()),
            azure: Arc::new(hands.azure()),
            rancher: Arc::new(hands.rancher()),
            clock: self.lab.clock(),
            journal: Arc::<Kept>::clone(&self.kept),
            gate: Arc::<Kept>::clone(&self.kept),
            events: Arc::<Kept>::clone(&self.kept),
            holder,
        }
    }

    /// Nobody works on the run any more. The lock of one that was killed with its last record ends by itself.
    pub(crate) fn rest(&self) {
        // Nothing can be wrong about a few minutes in which nobody does anything.
        let _ = self.pass(REST);
    }

    /// Time passes, and nobody works on the run.
    fn pass(&self, time: Duration) -> Result<(), String> {
        let until = self.lab.now() + time;
        let onlooker = Box::pin(self.eye.look_on(&self.lab));
        let clock = self.lab.clock();
        let slept = self.lab.block_on(select(clock.sleep_until(until), onlooker));
        slept.map(drop).map_err(|stuck| stuck.to_string())
    }

    /// What the journal tells, from its bytes. What a killed process had not finished to write is cut off, as a resume does it.
    pub(crate) fn state(&self) -> Result<RunState, String> {
        self.read().map(|(_, state)| state)
    }

    /// Every record, and what they tell.
    pub(crate) fn read(&self) -> Result<(Vec<Record>, RunState), String> {
        let (mut reader, mut records) = (Reader::default(), Vec::new());
        let bytes = self.kept.whole_journal(whole_lines);
        for line in bytes.split(|byte| *byte == b'\n') {
            match reader.take(line) {
                Ok(record) => records.extend(record),
                Err(bad) => {
                    return Err(format!("the journal does not replay: line {}: {bad}", reader.line()));
                }
            }
        }
        Ok((records, reader.into_state()))
    }
}

//! The way back: what a run does that is to reverse when it fails.
//!
//! A reversal is a pure function of the plan and of how far the run has come. It returns the pool in hand to where it was: its
//! nodes take pods again, the workloads leave the buffer by the routes by which they would have left it anyhow, and the buffer
//! goes. What Azure never takes back (the control plane's version, pools that are upgraded) stays.

use super::{Action, Lane, Plan, Reversal, Stage, Step};
use crate::journal::RunState;
use crate::model::{PoolName, StepId};
use crate::ports::BufferSpec;

/// Why nothing can be brought back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Irreversible {
    /// No pool is in hand.
    #[error("there is nothing to bring back")]
    Nothing,
    /// The pool's own nodes are being replaced.
    #[error(
        "the upgrade of pool {pool} has begun (step {since}), and from there on the way of its workloads is forward"
    )]
    Upgraded {
        /// The pool.
        pool: PoolName,
        /// The step that has begun.
        since: StepId,
    },
}

impl Plan {
    /// For each pool that has a buffer, the first step after which its workloads are not brought back any more.
    pub fn points_of_no_return(&self) -> impl Iterator<Item = (&PoolName, &StepId)> {
        self.buffers().filter_map(|(_, buffer)| Some((&buffer.like, self.upgrade_of(&buffer.like)?)))
    }

    fn buffers(&self) -> impl Iterator<Item = (&StepId, &BufferSpec)> {
        self.steps().filter_map(|step| match &step.action {
            Action::CreateBuffer { buffer } => Some((&step.id, buffer)),
            _ => None,
        })
    }

    fn upgrade_of(&self, wanted: &PoolName) -> Option<&StepId> {
        let is_it = |step: &&Step| matches!(&step.action, Action::UpgradePool { pool, .. } if pool == wanted);
        self.steps().find(is_it).map(|step| &step.id)
    }
}

/// The stages that bring back what is in hand, numbered after the plan's own.
pub(crate) fn reverse(plan: &Plan, state: &RunState) -> Result<Vec<Stage>, Irreversible> {
    let goes = |name: &PoolName| {
        let is_it = |step: &&Step| matches!(&step.action, Action::DeleteBuffer { pool } if pool == name);
        plan.steps().find(is_it).is_some_and(|step| state.outcome(&step.id).is_some())
    };
    let mut in_hand =
        plan.buffers().filter(|(create, buffer)| state.writes(create) > 0 && !goes(&buffer.name));
    let (_, buffer) = in_hand.next().ok_or(Irreversible::Nothing)?;
    let pool = &buffer.like;
    if let Some(since) = plan.upgrade_of(pool).filter(|step| state.writes(step) > 0) {
        return Err(Irreversible::Upgraded { pool: pool.clone(), since: since.clone() });
    }
    let uncordon = Action::Uncordon { pool: pool.clone() };
    let mut ways = vec![(format!("{pool}: take pods again"), vec![vec![(uncordon, back())]])];
    let leaves = |stage: &&Stage| stage.steps().any(|step| leaves(&step.action, &buffer.name));
    ways.extend(plan.stages.iter().filter(leaves).map(|stage| {
        let lanes = stage.lanes.iter().map(|lane| lane.steps.iter().map(again).collect());
        (stage.title.clone(), lanes.collect())
    }));
    let first = plan.stages.iter().map(|stage| stage.number).max().unwrap_or(0) + 1;
    Ok((first..).zip(ways).map(|(number, (title, lanes))| stage(number, &title, lanes)).collect())
}

/// Is it what empties the buffer, or takes it away?
fn leaves(action: &Action, buffer: &PoolName) -> bool {
    match action {
        Action::Cordon { pool } | Action::Drain { pool } | Action::DeleteBuffer { pool } => pool == buffer,
        Action::Move { off, .. } => off == buffer,
        Action::UpgradeControlPlane { .. }
        | Action::CreateBuffer { .. }
        | Action::Prewarm { .. }
        | Action::Soak { .. }
        | Action::UpgradePool { .. }
        | Action::Uncordon { .. }
        | Action::AwaitRancher { .. }
        | Action::Verify { .. } => false,
    }
}

fn back() -> Reversal {
    Reversal::Forward { why: "it is the way back".to_owned() }
}

/// The same step; after the last change Rancher reads Azure once more, as at the end of a plan.
fn again(step: &Step) -> (Action, Reversal) {
    let action = match &step.action {
        Action::AwaitRancher { .. } => Action::AwaitRancher { once_more: true },
        other => other.clone(),
    };
    (action, step.reversal.clone())
}

fn stage(number: u32, title: &str, lanes: Vec<Vec<(Action, Reversal)>>) -> Stage {
    let lanes = lanes.into_iter().enumerate().map(|(lane, steps)| {
        let steps = steps.into_iter().enumerate().map(|(step, (action, reversal))| {
            let id = StepId::new(format!("{number}.{}.{}", lane + 1, step + 1)).expect("three numbers");
            Step { id, action, reversal }
        });
        Lane { steps: steps.collect() }
    });
    Stage { number, title: format!("back: {title}"), lanes: lanes.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Entry, Record, Write};
    use crate::model::RunId;
    use crate::model::tests_support::inventory;
    use crate::plan::plan;
    use crate::policy::Policy;
    use jiff::Timestamp;

    fn the_plan() -> Plan {
        plan(&inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap()
    }

    /// The state of a run that has come to this stage, with the first write of it announced.
    fn at(plan: &Plan, number: u32) -> RunState {
        let mut state = RunState::default();
        let mut note = |entry| {
            let record = Record { seq: state.next_seq(), at: Timestamp::UNIX_EPOCH, entry };
            state.apply(&record).unwrap();
        };
        let format = crate::journal::FORMAT;
        let run = RunId::new("r").unwrap();
        note(Entry::Header { format, run, tool: "test".into(), plan: Box::new(plan.clone()) });
        note(Entry::Opened);
        let mut id = 0;
        for stage in plan.stages.iter().filter(|stage| stage.number <= number) {
            note(Entry::StageStarted { stage: stage.number });
            for step in stage.steps() {
                id += 1;
                let write = Write::UpgradeControlPlane { to: plan.target };
                note(Entry::Intent { id, step: step.id.clone(), write });
                if stage.number < number {
                    let outcome = crate::event::StepOutcome::Done { message: String::new() };
                    note(Entry::StepFinished { step: step.id.clone(), outcome });
                }
            }
            if stage.number < number {
                note(Entry::StageFinished { stage: stage.number });
            }
        }
        state
    }

    fn titles(plan: &Plan, number: u32) -> Result<Vec<String>, String> {
        let stages = reverse(plan, &at(plan, number)).map_err(|why| why.to_string())?;
        Ok(stages.into_iter().map(|stage| format!("{} {}", stage.number, stage.title)).collect())
    }

    #[test]
    fn the_way_back_is_the_plans_own_way_off_the_buffer_until_the_upgrade_begins() {
        let plan = the_plan();
        let last = plan.stages.last().unwrap().number;
        let number = |title: &str| plan.stages.iter().find(|stage| stage.title == title).unwrap().number;
        let way = [
            "back: user: take pods again",
            "back: user: move back from userbf: cordon userbf",
            "back: user: move back from userbf",
            "back: user: move back from userbf: drain userbf",
            "back: user: delete buffer userbf",
        ];
        let way: Vec<String> =
            (last + 1..).zip(way).map(|(number, title)| format!("{number} {title}")).collect();
        for title in [
            "user: add buffer userbf",
            "user: pull images onto userbf",
            "user: move onto userbf: cordon user",
            "user: move onto userbf",
            "user: move onto userbf: drain user",
        ] {
            assert_eq!(titles(&plan, number(title)).as_ref(), Ok(&way), "{title}");
        }
        for title in ["user: upgrade its nodes", "user: move back from userbf", "user: delete buffer userbf"]
        {
            let why = titles(&plan, number(title)).unwrap_err();
            assert!(why.contains("the upgrade of pool user has begun"), "{title}: {why}");
        }
        assert_eq!(titles(&plan, 1), Err("there is nothing to bring back".into()));
        let points: Vec<String> =
            plan.points_of_no_return().map(|(pool, step)| format!("{pool} {step}")).collect();
        assert_eq!(points, ["system 5.1.1", "user 14.1.1"]);
    }
}

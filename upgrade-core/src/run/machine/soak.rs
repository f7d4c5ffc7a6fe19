//! Soaking: a step that ends when all was well for the time the policy asks for, without a break.
//!
//! Nothing of it is in the journal: a process that takes the run up begins to look anew, because what went on while nobody
//! looked is not known.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::gates::About;
use super::{Machine, signed};
use crate::model::{ProbeName, StepId};
use crate::plan::{Action, Stage, Step};
use crate::ports::Question;
use crate::run::Verdict;
use crate::run::evidence::{Baseline, Objection};
use crate::run::failure::Failure;
use crate::span;

/// How often a probe is asked.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// For how long the answer of a probe counts: it may take its time for the next.
const ANSWER_COUNTS: Duration = Duration::from_secs(180);
/// A watch that is lost is tried again within this time; if nothing is heard of it, it is there again.
const CONTACT_LOST: Duration = Duration::from_secs(60);
/// How many things that are not well a question names.
const MOST_NAMED: usize = 3;

/// A soak under way.
#[derive(Debug)]
pub(super) struct Soaking {
    step: StepId,
    begun: Timestamp,
    /// Since when all is well, and how things were then.
    well_since: Timestamp,
    baseline: Baseline,
    /// What is not well now; all is if there is nothing.
    open: Vec<Objection>,
    /// Since when, and what it was last, of everything that was not well, by object.
    troubles: BTreeMap<String, Trouble>,
    ask_at: Timestamp,
}

#[derive(Debug)]
struct Trouble {
    since: Timestamp,
    last: Timestamp,
    words: String,
}

impl Soaking {
    /// When something may have to be done next.
    pub(super) fn wake_at(&self, time: Duration) -> Timestamp {
        self.ask_at.min(self.well_since + time)
    }

    fn object(&mut self, now: Timestamp, objections: &[Objection]) {
        for objection in objections {
            let fresh = || Trouble { since: now, last: now, words: String::new() };
            let trouble = self.troubles.entry(objection.object.clone()).or_insert_with(fresh);
            trouble.last = now;
            trouble.words.clone_from(&objection.words);
        }
    }

    /// What was not well last, for a question: the latest first.
    fn troubles(&self) -> String {
        let mut troubles: Vec<_> = self.troubles.iter().collect();
        troubles.sort_by_key(|(_, trouble)| std::cmp::Reverse(trouble.last));
        let named = troubles.iter().take(MOST_NAMED).map(|(object, trouble)| {
            let Trouble { since, last, words } = trouble;
            let last = if last == since { String::new() } else { format!(", last seen at {last:.0}") };
            format!("{object} {words} (since {since:.0}{last})")
        });
        let named = named.collect::<Vec<_>>().join("; ");
        match troubles.len().saturating_sub(MOST_NAMED) {
            0 => named,
            more => format!("{named}; and {more} more"),
        }
    }
}

impl Machine {
    /// Looks whether all is well, if the step is a soak.
    pub(super) fn soak(&mut self, now: Timestamp, step: &Step) {
        if !matches!(step.action, Action::Soak { .. }) {
            return;
        }
        let mut soaking = match self.soaking.take().filter(|soaking| soaking.step == step.id) {
            Some(soaking) => soaking,
            None => Soaking {
                step: step.id.clone(),
                begun: now,
                well_since: now,
                baseline: self.baseline(now),
                open: Vec::new(),
                troubles: BTreeMap::new(),
                ask_at: now,
            },
        };
        if soaking.ask_at <= now {
            soaking.ask_at = now + ASK_AGAIN;
            let probes: Vec<ProbeName> = self.state.probes().into_iter().cloned().collect();
            for probe in probes {
                self.ask_probe(now, probe);
            }
        }
        soaking.open = self.objections(now, &soaking);
        if !soaking.open.is_empty() {
            let open = std::mem::take(&mut soaking.open);
            soaking.object(now, &open);
            soaking.open = open;
            soaking.well_since = now;
            soaking.baseline = self.baseline(now);
        }
        self.soaking = Some(soaking);
    }

    /// How things are with what the run has moved so far.
    fn baseline(&self, now: Timestamp) -> Baseline {
        let current = self.state.current_stage().unwrap_or(u32::MAX);
        let stages = self.plan.stages.iter().filter(|stage| stage.number <= current);
        let moved = stages.flat_map(Stage::steps).filter_map(|step| match &step.action {
            Action::Move { workload, .. } => Some(workload),
            _ => None,
        });
        Baseline::of(&self.view, &moved.collect(), now)
    }

    fn objections(&self, now: Timestamp, soaking: &Soaking) -> Vec<Objection> {
        let mut objections = soaking.baseline.objections(&self.view, &self.ledger);
        if self.contact_lost.is_some_and(|at| now.duration_since(at) < signed(CONTACT_LOST)) {
            let words = "is out of sight".to_owned();
            objections.push(Objection { object: "the cluster".to_owned(), words });
        }
        let since = now - ANSWER_COUNTS;
        objections.extend(self.state.probes().into_iter().filter_map(|probe| {
            let words = match self.probes.said(probe, since, now) {
                Some(answer) if answer.is_green() => return None,
                Some(answer) => format!("is not green: {answer}"),
                None => "has not answered yet".to_owned(),
            };
            Some(Objection { object: format!("probe {probe}"), words })
        }));
        objections
    }

    /// What a soak wants now.
    pub(super) fn soaked(&self, now: Timestamp, step: &StepId, seconds: u64) -> Verdict {
        let time = Duration::from_secs(seconds);
        let shown = span::show(time);
        let Some(soaking) = &self.soaking else { return Verdict::Patience(String::new()) };
        if self.state.is_approved(&question_id(step)) {
            return Verdict::Done("somebody said to go on".to_owned());
        }
        if let Some(objection) = soaking.open.first() {
            let Objection { object, words } = objection;
            return Verdict::Patience(format!("all to be well for {shown}: {object} {words}"));
        }
        let passed = Duration::try_from(now.duration_since(soaking.well_since)).unwrap_or_default();
        match time.checked_sub(passed) {
            Some(rest) if !rest.is_zero() => {
                Verdict::Patience(format!("{} more in which all is well", span::show(rest)))
            }
            _ => Verdict::Done(format!("all was well for {shown}")),
        }
    }

    /// Asks whether to go on when a soak has come to its limit; true if it does.
    pub(super) fn asks_about_soak(&mut self, now: Timestamp, stage: &Stage) -> bool {
        let Some((soaking, seconds)) = self.soak_under_way() else { return false };
        let limit = self.plan.policy.soak_limit();
        let overdue = now.duration_since(soaking.begun) >= signed(limit);
        if !overdue || matches!(self.soaked(now, &soaking.step, seconds), Verdict::Done(_)) {
            return false;
        }
        let text = format!(
            "Stage {} ({}) has waited {} (`soak_limit`) for all to be well for {}: {}. Go on all the same?",
            stage.number,
            stage.title,
            span::show(limit),
            span::show(self.plan.policy.soak),
            soaking.troubles()
        );
        let question = Question { id: question_id(&soaking.step), text };
        self.asks_about(now, stage.number, Failure::SoakTooLong, question, About::Soak);
        true
    }

    fn soak_under_way(&self) -> Option<(&Soaking, u64)> {
        let soaking = self.soaking.as_ref().filter(|soaking| self.state.outcome(&soaking.step).is_none())?;
        let stage = self.plan.stage(self.state.current_stage()?)?;
        stage.steps().find(|step| step.id == soaking.step).and_then(|step| match step.action {
            Action::Soak { seconds } => Some((soaking, seconds)),
            _ => None,
        })
    }

    /// When a soak has something to do next.
    pub(super) fn soak_wakes_at(&self) -> Option<Timestamp> {
        let (soaking, seconds) = self.soak_under_way()?;
        let limit = soaking.begun + self.plan.policy.soak_limit();
        Some(soaking.wake_at(Duration::from_secs(seconds)).min(limit))
    }
}

fn question_id(step: &StepId) -> String {
    format!("soak-{step}")
}

//! Whose word a run waits for, and what it remembers of it.

use std::sync::{Arc, Mutex};

use aks_drover::exit_code;
use async_trait::async_trait;
use cluster_lab::{Lab, Scenario};
use jiff::{SignedDuration, ToSpan};
use upgrade_core::event::{Report, RunOutcome};
use upgrade_core::journal::{Entry, RunState};
use upgrade_core::model::RunId;
use upgrade_core::plan::Plan;
use upgrade_core::policy::Freeze;
use upgrade_core::ports::{Answer, AskBefore, Gate, Ports, Question};
use upgrade_core::run::{Start, drive, stop_signal};
use upgrade_core::{Policy, plan};

use crate::support::Night;

/// Somebody who wants to be asked, and says "go on" to some questions.
struct Clerk {
    before: AskBefore,
    says_yes: fn(&str) -> bool,
    asked: Mutex<Vec<String>>,
}

impl Clerk {
    fn new(before: AskBefore, says_yes: fn(&str) -> bool) -> Arc<Self> {
        Arc::new(Self { before, says_yes, asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Gate for Clerk {
    async fn ask(&self, question: &Question) -> Answer {
        self.asked.lock().unwrap().push(question.id.clone());
        if (self.says_yes)(&question.id) { Answer::Continue } else { Answer::Pause }
    }

    fn asks_before(&self) -> AskBefore {
        self.before
    }

    fn answers_for(&self) -> String {
        "ann".into()
    }
}

fn demo() -> Night {
    Night::of(Lab::new(&Scenario::demo(), 1))
}

fn plan_of(night: &Night, policy: &Policy) -> Plan {
    plan(&night.inventory(), policy, "1.35".parse().unwrap()).unwrap()
}

fn fresh(plan: &Plan) -> Start {
    Start::Fresh { plan: plan.clone(), run: RunId::new("night-1").unwrap(), tool: "test".into() }
}

fn resumed(night: &Night) -> Start {
    Start::Resumed(RunState::replay(night.records()).unwrap())
}

fn work(night: &Night, start: Start, gate: &Arc<Clerk>) -> Report {
    let (_handle, stop) = stop_signal();
    let ports = Ports { gate: Arc::<Clerk>::clone(gate), ..night.ports() };
    night.lab.block_on(drive(start, ports, stop)).unwrap().unwrap()
}

/// The questions that were answered with "go on", with the hash of the plan and who said so.
fn approvals(night: &Night) -> Vec<(String, String, String)> {
    let approved = |entry: Entry| match entry {
        Entry::Approved { question, plan, by } => Some((question, plan, by)),
        _ => None,
    };
    night.records().into_iter().filter_map(|record| approved(record.entry)).collect()
}

fn waits_for(report: &Report) -> &str {
    match &report.outcome {
        RunOutcome::Paused { question } => &question.id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn before_each_stage_somebody_is_asked_and_his_word_is_written_down_with_the_plan() {
    let night = demo();
    let plan = plan_of(&night, &Policy::default());
    let clerk = Clerk::new(AskBefore::Stage, |_| true);
    assert_eq!(work(&night, fresh(&plan), &clerk).outcome, RunOutcome::Done);
    let stages: Vec<String> = plan.stages.iter().map(|stage| format!("stage-{}", stage.number)).collect();
    assert_eq!(clerk.asked(), stages);
    let written = stages.into_iter().map(|stage| (stage, plan.hash(), "ann".to_owned()));
    assert_eq!(approvals(&night), written.collect::<Vec<_>>());
}

/// Nobody is there at night. The next process is not told to ask, and asks all the same: the run was begun so.
#[test]
fn a_run_without_an_answer_pauses_before_the_stage_and_its_approval_counts_once_for_all() {
    let night = demo();
    let plan = plan_of(&night, &Policy::default());
    let nobody = Clerk::new(AskBefore::Stage, |_| false);
    let paused = work(&night, fresh(&plan), &nobody);
    assert_eq!((waits_for(&paused), exit_code(&paused), paused.stages.len()), ("stage-1", 4, 0));
    assert!(!night.records().iter().any(|record| matches!(record.entry, Entry::Intent { .. })));

    let first = Clerk::new(AskBefore::None, |question| question == "stage-1");
    let paused = work(&night, resumed(&night), &first);
    assert_eq!((waits_for(&paused), paused.stages.len()), ("stage-2", 1));
    assert_eq!(first.asked(), ["stage-1", "stage-2"]);

    let rest = Clerk::new(AskBefore::None, |_| true);
    assert_eq!(work(&night, resumed(&night), &rest).outcome, RunOutcome::Done);
    assert!(!rest.asked().contains(&"stage-1".to_owned()), "a word is asked for once");
}

#[test]
fn before_each_step_that_changes_something_somebody_is_asked() {
    let night = demo();
    let plan = plan_of(&night, &Policy::default());
    let clerk = Clerk::new(AskBefore::Step, |_| true);
    let report = work(&night, fresh(&plan), &clerk);
    assert_eq!(report.outcome, RunOutcome::Done);
    let announced = night.records().into_iter().filter_map(|record| match record.entry {
        Entry::Intent { step, .. } => Some(format!("step-{step}")),
        _ => None,
    });
    let announced: std::collections::BTreeSet<String> = announced.collect();
    let asked: Vec<String> = clerk.asked().into_iter().filter(|id| id.starts_with("step-")).collect();
    assert_eq!(asked.iter().cloned().collect::<std::collections::BTreeSet<_>>(), announced);
    assert_eq!(asked.len(), announced.len(), "nobody is asked twice");
}

#[test]
fn within_a_freeze_no_stage_begins_without_a_word_and_after_it_each_does() {
    let night = demo();
    let now = night.lab.now();
    let freeze = Freeze { from: now - 1.hour(), to: now + 1.hour(), reason: "Black Friday".into() };
    let policy = Policy { freeze: vec![freeze], ..Policy::default() };
    let plan = plan_of(&night, &policy);
    let nobody = Clerk::new(AskBefore::None, |_| false);
    let paused = work(&night, fresh(&plan), &nobody);
    assert_eq!(waits_for(&paused), "freeze-1");
    let RunOutcome::Paused { question } = &paused.outcome else { panic!() };
    assert!(question.text.contains("(Black Friday)"), "{}", question.text);
    let clock = night.lab.clock();
    night.lab.block_on(clock.sleep_until(now + SignedDuration::from_hours(1))).unwrap();
    assert_eq!(work(&night, resumed(&night), &nobody).outcome, RunOutcome::Done);
}

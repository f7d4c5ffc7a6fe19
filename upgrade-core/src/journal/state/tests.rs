//! What may follow what in a journal.

use proptest::prelude::*;

use super::*;
use crate::model::tests_support::inventory;
use crate::model::{FormatVersion, KubeVersion};
use crate::plan::{Action, Lane, Reversal, Step, plan};
use crate::policy::Policy;

fn sample_plan() -> Plan {
    plan(&inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap()
}

fn header(plan: &Plan) -> Entry {
    let run = RunId::new("r").unwrap();
    Entry::Header { format: FormatVersion::CURRENT, run, tool: "test".into(), plan: Box::new(plan.clone()) }
}

/// A stage that no plan has.
fn way_back() -> Stage {
    let action = Action::Soak { seconds: 1 };
    let reversal = Reversal::Forward { why: "time passes".into() };
    let step = Step { id: StepId::new("100.1.1").unwrap(), action, reversal };
    Stage { number: 100, title: "back".into(), lanes: vec![Lane { steps: vec![step] }] }
}

/// Every kind of entry, about any stage or step, whether it makes sense or not.
fn entry(plan: &Plan) -> impl Strategy<Value = Entry> + use<> {
    let back = way_back();
    let way = back.steps().map(|step| step.id.clone());
    let steps: Vec<StepId> = plan.steps().map(|step| step.id.clone()).take(6).chain(way).collect();
    let stage = || prop_oneof![4 => 1_u32..5, 1 => Just(back.number)];
    let reversing = Entry::Reversing {
        step: steps[0].clone(),
        title: "t".into(),
        cause: "c".into(),
        stages: vec![back.clone()],
    };
    let step = prop::sample::select(steps);
    let finished = StepOutcome::Done { message: "m".into() };
    let write = Write::UpgradeControlPlane { to: KubeVersion::new(1, 35, 3) };
    prop_oneof![
        1 => Just(header(plan)),
        2 => Just(Entry::Opened),
        4 => stage().prop_map(|stage| Entry::StageStarted { stage }),
        4 => (1_u64..6, step.clone()).prop_map(move |(id, step)| Entry::Intent { id, step, write: write.clone() }),
        4 => (1_u64..6).prop_map(|id| Entry::Answered { id, answer: WriteAnswer::Done }),
        4 => step.prop_map(move |step| Entry::StepFinished { step, outcome: finished.clone() }),
        4 => stage().prop_map(|stage| Entry::StageFinished { stage }),
        1 => Just(Entry::OnFailure { then: OnFailure::Reverse }),
        1 => Just(reversing),
        1 => Just(Entry::GivenUp { by: "ann".into() }),
        1 => Just(Entry::Closed { outcome: RunOutcome::Aborted, ledger: Vec::new() }),
    ]
}

fn write_down(entries: Vec<Entry>) -> (RunState, Vec<Record>) {
    let (mut state, mut records) = (RunState::default(), Vec::new());
    for entry in entries {
        let record = Record { seq: state.next_seq(), at: Timestamp::UNIX_EPOCH, entry };
        let before = state.clone();
        match state.apply(&record) {
            Ok(()) => records.push(record),
            Err(_) => assert_eq!(state, before, "a refused record changed something"),
        }
    }
    (state, records)
}

proptest! {
    /// What was accepted replays to the same state, through its text form; so does every beginning of it, which is what a
    /// killed process leaves behind.
    #[test]
    fn a_journal_replays_to_what_was_recorded_and_so_does_every_prefix(
        entries in prop::collection::vec(entry(&sample_plan()), 0..60),
    ) {
        let plan = sample_plan();
        let (state, records) = write_down([vec![header(&plan), Entry::Opened], entries].concat());
        let lines: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        let read: Vec<Record> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(&read, &records);
        prop_assert_eq!(RunState::replay(read).unwrap(), state);
        for length in 0..records.len() {
            prop_assert!(RunState::replay(records[..length].iter().cloned()).is_ok());
        }
    }
}

#[test]
fn an_illegal_record_names_both_lines_and_the_rule() {
    let plan = sample_plan();
    let (state, _) = write_down(vec![header(&plan), Entry::Opened, Entry::StageStarted { stage: 1 }]);
    let refuse = |seq, entry| {
        let record = Record { seq, at: Timestamp::UNIX_EPOCH, entry };
        state.clone().apply(&record).unwrap_err().to_string()
    };
    assert_eq!(
        refuse(4, Entry::StageStarted { stage: 2 }),
        "record 4 (stage_started) cannot follow record 3: stage 1 is not finished"
    );
    assert_eq!(
        refuse(4, Entry::Answered { id: 9, answer: WriteAnswer::Done }),
        "record 4 (answered) cannot follow record 3: there is no open intent 9"
    );
    assert_eq!(refuse(6, Entry::Opened), "record 6 (opened) cannot follow record 3: expected number 4");
}

#[test]
fn another_major_format_is_refused() {
    let mut entry = header(&sample_plan());
    if let Entry::Header { format, .. } = &mut entry {
        format.major = 2;
    }
    let record = Record { seq: 1, at: Timestamp::UNIX_EPOCH, entry };
    let error = RunState::replay([record]).unwrap_err();
    assert!(
        error.to_string().ends_with("format 2.0 cannot be read, this version reads 1.x; a newer Drover can"),
        "{error}"
    );
}

/// Whoever cleans up after a run gives back for any of its steps, and goes on with none.
#[test]
fn a_run_that_is_given_up_only_gives_back() {
    let plan = sample_plan();
    let step = plan.steps().next().unwrap().id.clone();
    let late = plan.steps().last().unwrap().id.clone();
    let given_up = vec![header(&plan), Entry::Opened, Entry::GivenUp { by: "ann".into() }];
    let (mut state, _) = write_down(given_up);
    assert!(state.is_given_up());
    let mut try_it = |entry: Entry| {
        state.apply(&Record { seq: state.next_seq(), at: Timestamp::UNIX_EPOCH, entry }).map_err(|e| e.rule)
    };
    let pool = crate::model::PoolName::new("userbf").unwrap();
    for (entry, rule) in [
        (Entry::StageStarted { stage: 1 }, "the run is given up"),
        (
            Entry::StepFinished { step: step.clone(), outcome: StepOutcome::Done { message: String::new() } },
            "the run is given up",
        ),
        (
            Entry::Intent {
                id: 1,
                step: step.clone(),
                write: Write::UpgradeControlPlane { to: KubeVersion::new(1, 35, 3) },
            },
            "the run is given up, and this gives nothing back",
        ),
        (
            Entry::Intent {
                id: 1,
                step: StepId::new("99.1.1").unwrap(),
                write: Write::DeletePool { pool: pool.clone() },
            },
            "the plan has no step 99.1.1",
        ),
    ] {
        assert_eq!(try_it(entry), Err(rule.to_owned()));
    }
    assert_eq!(try_it(Entry::Intent { id: 1, step: late, write: Write::DeletePool { pool } }), Ok(()));
    assert_eq!(try_it(Entry::Answered { id: 1, answer: WriteAnswer::Done }), Ok(()));
    assert_eq!(try_it(Entry::Closed { outcome: RunOutcome::Aborted, ledger: Vec::new() }), Ok(()));
    assert_eq!(try_it(Entry::Opened), Ok(()), "somebody comes back for the rest");
    assert_eq!(try_it(Entry::GivenUp { by: "bob".into() }), Ok(()));
}

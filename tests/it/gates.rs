//! Whose word a run waits for, and what it remembers of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aks_drover::exit_code;
use async_trait::async_trait;
use cluster_lab::{Fault, Lab, RehearseOptions, Scenario, What, When, rehearse};
use jiff::{SignedDuration, ToSpan};
use serde_json::{Value, json};
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::journal::{Entry, Record, RunState, Write};
use upgrade_core::model::{ProbeName, RunId};
use upgrade_core::plan::Plan;
use upgrade_core::policy::{Freeze, FreezeTime, ZoneName};
use upgrade_core::ports::{Answer, AskBefore, Gate, Ports, ProbeAnswer, Question};
use upgrade_core::run::{Start, drive, stop_signal};
use upgrade_core::{Policy, plan};

use crate::support::Night;

/// Somebody who wants to be asked, and says "go on" to some questions.
struct Clerk {
    before: AskBefore,
    says_yes: fn(&str) -> bool,
    asked: Mutex<Vec<String>>,
    /// What his probes say, the how manieth time they are asked.
    probes: Mutex<BTreeMap<ProbeName, Script>>,
    probed: Mutex<Vec<String>>,
}

type Script = Box<dyn Fn(usize) -> ProbeAnswer + Send>;

impl Clerk {
    fn new(before: AskBefore, says_yes: fn(&str) -> bool) -> Arc<Self> {
        Arc::new(Self {
            before,
            says_yes,
            asked: Mutex::default(),
            probes: Mutex::default(),
            probed: Mutex::default(),
        })
    }

    /// He knows how to ask this probe.
    fn knows(&self, probe: &str, script: impl Fn(usize) -> ProbeAnswer + Send + 'static) {
        self.probes.lock().unwrap().insert(name(probe), Box::new(script));
    }

    /// How often the probe was asked.
    fn probed(&self, probe: &str) -> usize {
        self.probed.lock().unwrap().iter().filter(|asked| *asked == probe).count()
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

    async fn probe(&self, probe: &ProbeName) -> ProbeAnswer {
        let before = self.probed(probe.as_str());
        self.probed.lock().unwrap().push(probe.to_string());
        match self.probes.lock().unwrap().get(probe) {
            Some(script) => script(before),
            None => ProbeAnswer::Unknown { words: "nobody knows how".into() },
        }
    }

    fn more_probes(&self) -> Vec<ProbeName> {
        self.probes.lock().unwrap().keys().cloned().collect()
    }
}

fn name(probe: &str) -> ProbeName {
    ProbeName::new(probe).unwrap()
}

fn green(_: usize) -> ProbeAnswer {
    ProbeAnswer::Green { words: "200".into() }
}

fn red(_: usize) -> ProbeAnswer {
    ProbeAnswer::Red { words: "cart: 500".into() }
}

/// A policy that names these probes.
fn asking(probes: &[&str]) -> Policy {
    Policy { probes: probes.iter().copied().map(name).collect(), ..Policy::default() }
}

fn question(report: &Report) -> &Question {
    match &report.outcome {
        RunOutcome::Paused { question } => question,
        other => panic!("{other:?}"),
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
    &question(report).id
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
    let when = FreezeTime::Once { from: now - 1.hour(), to: now + 1.hour() };
    let freeze = Freeze { when, reason: "Black Friday".into() };
    let policy = Policy { freeze: vec![freeze], ..Policy::default() };
    let plan = plan_of(&night, &policy);
    let nobody = Clerk::new(AskBefore::None, |_| false);
    let paused = work(&night, fresh(&plan), &nobody);
    assert_eq!(waits_for(&paused), "freeze-1");
    assert!(question(&paused).text.contains("(Black Friday)"), "{}", question(&paused).text);
    let clock = night.lab.clock();
    night.lab.block_on(clock.sleep_until(now + SignedDuration::from_hours(1))).unwrap();
    assert_eq!(work(&night, resumed(&night), &nobody).outcome, RunOutcome::Done);
}

#[test]
fn before_each_stage_every_probe_is_asked_and_green_ones_hold_nobody_up() {
    let night = demo();
    let plan = plan_of(&night, &asking(&["checkout", "errors"]));
    let clerk = Clerk::new(AskBefore::None, |_| false);
    clerk.knows("checkout", green);
    clerk.knows("errors", green);
    assert_eq!(work(&night, fresh(&plan), &clerk).outcome, RunOutcome::Done);
    assert_eq!((clerk.probed("checkout"), clerk.probed("errors")), (plan.stages.len(), plan.stages.len()));
    assert_eq!(clerk.asked(), [""; 0]);
    let told = |kind: EventKind| match kind {
        EventKind::ProbeAnswered { probe, green: true, words } => Some((probe, words)),
        _ => None,
    };
    let told: Vec<_> = night.events().into_iter().filter_map(|event| told(event.kind)).collect();
    assert_eq!(told.len(), 2, "what is as it was is told once: {told:?}");
}

/// The answer of a person counts for this stage and this probe; the next stage asks anew.
#[test]
fn a_red_probe_pauses_the_run_in_its_own_words_and_somebody_may_go_on_without_it() {
    let night = demo();
    let plan = plan_of(&night, &asking(&["checkout", "errors"]));
    let clerk = Clerk::new(AskBefore::None, |_| false);
    clerk.knows("checkout", |before| if before == 2 { red(before) } else { green(before) });
    clerk.knows("errors", green);
    let paused = work(&night, fresh(&plan), &clerk);
    assert_eq!((waits_for(&paused), exit_code(&paused), paused.stages.len()), ("probe-3-checkout", 4, 2));
    let text = &question(&paused).text;
    assert!(text.starts_with("Probe checkout is not green before stage 3 ("), "{text}");
    assert!(text.ends_with("): red: cart: 500. Begin it all the same?"), "{text}");

    let ann = Clerk::new(AskBefore::None, |question| question == "probe-3-checkout");
    ann.knows("checkout", red);
    ann.knows("errors", green);
    let paused = work(&night, resumed(&night), &ann);
    assert_eq!((waits_for(&paused), paused.stages.len()), ("probe-4-checkout", 3));
    assert_eq!(approvals(&night), [("probe-3-checkout".to_owned(), plan.hash(), "ann".to_owned())]);

    let well = Clerk::new(AskBefore::None, |_| false);
    well.knows("checkout", green);
    well.knows("errors", green);
    assert_eq!(work(&night, resumed(&night), &well).outcome, RunOutcome::Done);
}

/// A function of Python's is no part of the plan; the journal says that it was asked, and the next process has to know it, too.
#[test]
fn a_probe_that_was_brought_along_is_asked_to_the_end_and_one_that_nobody_knows_is_no_pass() {
    let night = demo();
    let plan = plan_of(&night, &Policy::default());
    let clerk = Clerk::new(AskBefore::None, |_| false);
    clerk.knows("smoke", |before| if before == 1 { red(before) } else { green(before) });
    assert_eq!(waits_for(&work(&night, fresh(&plan), &clerk)), "probe-2-smoke");
    let stranger = Clerk::new(AskBefore::None, |_| false);
    let paused = work(&night, resumed(&night), &stranger);
    assert!(question(&paused).text.contains("not known: nobody knows how"), "{}", question(&paused).text);
    assert_eq!(work(&night, resumed(&night), &clerk).outcome, RunOutcome::Done);
}

#[test]
fn a_rehearsal_counts_every_probe_as_green() {
    let night = demo();
    let plan = plan_of(&night, &asking(&["checkout"]));
    let options = RehearseOptions { runs: 1, ..RehearseOptions::default() };
    let forecast = rehearse(&night.inventory(), &plan, &options);
    assert_eq!((forecast.completed, forecast.probes), (1, vec!["checkout".to_owned()]));
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn soaking(soak: Duration) -> Policy {
    Policy { soak, ..Policy::default() }
}

/// How long each soak of the run took, in seconds.
fn soaks(report: &Report) -> Vec<u64> {
    let soaks = report.stages.iter().filter(|stage| stage.title.ends_with(": soak"));
    soaks.filter_map(|stage| stage.duration_ms).map(|millis| millis / 1000).collect()
}

/// The stage in which the workloads of pool user soak on its buffer.
const SOAK: &str = "user: move onto userbf: soak";

#[test]
fn a_soak_ends_when_all_was_well_for_exactly_the_time_it_asks_for() {
    let night = demo();
    let plan = plan_of(&night, &soaking(TEN_MINUTES));
    let report = work(&night, fresh(&plan), &Clerk::new(AskBefore::None, |_| false));
    assert_eq!(report.outcome, RunOutcome::Done);
    assert_eq!(soaks(&report), [600; 4]);
}

/// What was seen before the process ended does not count: nobody has looked since.
#[test]
fn a_soak_that_is_taken_up_again_sees_all_well_for_its_whole_time() {
    let night = demo();
    let plan = plan_of(&night, &soaking(TEN_MINUTES));
    let soak = plan.stages.iter().find(|stage| stage.title == SOAK).unwrap();
    let step = soak.steps().next().unwrap().id.clone();
    let stopped = night.run_and_stop_at_step(fresh(&plan), &step).unwrap();
    assert_eq!(stopped.outcome, RunOutcome::Aborted);
    let clock = night.lab.clock();
    let later = night.lab.now() + SignedDuration::from_mins(9);
    night.lab.block_on(clock.sleep_until(later)).unwrap();
    let resumed_at = night.lab.now();
    assert_eq!(night.run(resumed(&night)).unwrap().outcome, RunOutcome::Done);
    let state = RunState::replay(night.records()).unwrap();
    let finished = state.stage_finished(soak.number).unwrap();
    assert!(finished.duration_since(resumed_at) >= SignedDuration::from_mins(10), "{finished}");
}

/// The new version of the nodes does not agree with it, and it tells only after five minutes.
#[test]
fn a_workload_that_begins_to_crash_after_its_move_pauses_the_run_within_the_soak_by_name() {
    const IMAGE: &str = "registry.example.com/cert-manager/cert-manager:1.0";
    let night = demo();
    let plan = plan_of(&night, &soaking(TEN_MINUTES));
    let crashes = What::ImageCrashes { image: IMAGE.into(), after: Duration::from_secs(300) };
    let fault = Fault::new(When::After(Duration::ZERO), crashes).unwrap();
    night.lab.with(|world| world.add_fault(&fault));
    let nobody = Clerk::new(AskBefore::None, |_| false);
    let paused = work(&night, fresh(&plan), &nobody);
    let (id, text) = (waits_for(&paused).to_owned(), &question(&paused).text);
    assert!(id.starts_with("soak-") && exit_code(&paused) == 4, "{id}");
    let waited = format!("({SOAK}) has waited 30m (`soak_limit`) for all to be well for 10m: ");
    assert!(text.contains(&waited), "{text}");
    assert!(text.contains("pod cert-manager/cert-manager-"), "{text}");
    assert!(text.contains(" of Deployment cert-manager/cert-manager was started again"), "{text}");
    assert!(text.contains("(CrashLoopBackOff) (since 2026-01-15T"), "{text}");
    let at_rest = night.records();
    let drained = |write: &Write| matches!(write, Write::UpgradePool { pool, .. } if pool.as_str() == "user");
    let wrote = |record: &Record| matches!(&record.entry, Entry::Intent { write, .. } if drained(write));
    assert!(!at_rest.iter().any(wrote), "the nodes it came from stand untouched");

    // Somebody knows why, and says so.
    let ann = Clerk::new(AskBefore::None, |question| question.starts_with("soak-"));
    work(&night, resumed(&night), &ann);
    let finished = night.records().into_iter().find_map(|record| match record.entry {
        Entry::StepFinished { step, outcome } if format!("soak-{step}") == id => Some(outcome),
        _ => None,
    });
    assert_eq!(finished.unwrap().message(), "somebody said to go on");
}

/// One red answer begins the time anew, and a limit that is not reached asks nobody.
#[test]
fn a_probe_that_is_red_for_a_minute_makes_the_soak_longer_and_nothing_else() {
    let night = demo();
    let plan = plan_of(&night, &Policy { probes: [name("checkout")].into(), ..soaking(TEN_MINUTES) });
    let first = plan.stages.iter().position(|stage| stage.title.ends_with(": soak")).unwrap();
    // Once before each stage, then at the soak's beginning and every minute.
    let third = first + 1 + 2;
    let clerk = Clerk::new(AskBefore::None, |_| false);
    clerk.knows("checkout", move |before| if before == third { red(before) } else { green(before) });
    let report = work(&night, fresh(&plan), &clerk);
    assert_eq!(report.outcome, RunOutcome::Done);
    assert_eq!(soaks(&report), [600 + 180, 600, 600, 600]);
}

/// The demo night is one from Wednesday to Thursday, 02:00 in Amsterdam.
#[test]
fn a_freeze_that_comes_again_each_week_pauses_the_run_until_its_hours_are_over() {
    let night = demo();
    let every = "Wed 16:00 - Thu 06:00".parse().unwrap();
    let when = FreezeTime::Every { every, zone: ZoneName::new("Europe/Amsterdam").unwrap() };
    let freeze = Freeze { when, reason: "month's end".into() };
    let plan = plan_of(&night, &Policy { freeze: vec![freeze], ..Policy::default() });
    let nobody = Clerk::new(AskBefore::None, |_| false);
    let paused = work(&night, fresh(&plan), &nobody);
    assert_eq!(waits_for(&paused), "freeze-1");
    let text = &question(&paused).text;
    assert!(text.contains("which ends at 2026-01-15T05:00:00Z (month's end)"), "{text}");
    let clock = night.lab.clock();
    night.lab.block_on(clock.sleep_until("2026-01-15T05:00:00Z".parse().unwrap())).unwrap();
    assert_eq!(work(&night, resumed(&night), &nobody).outcome, RunOutcome::Done);
}

/// A night on which Azure's maintenance is configured so; the demo begins on Thursday 2026-01-15 at 01:00 UTC.
fn maintained(name: &str, properties: Value) -> Night {
    let mut scenario = Scenario::demo();
    scenario.limits.maintenance.insert(name.to_owned(), properties);
    Night::of(Lab::new(&scenario, 1))
}

fn weekly_at(day: &str, time: &str) -> Value {
    json!({ "maintenanceWindow": { "durationHours": 4, "startTime": time, "utcOffset": "+00:00",
        "schedule": { "weekly": { "intervalWeeks": 1, "dayOfWeek": day } } } })
}

#[test]
fn a_window_in_which_azure_may_upgrade_by_itself_before_the_run_is_through_is_asked_for_once() {
    let night = maintained("aksManagedNodeOSUpgradeSchedule", weekly_at("Thursday", "03:00"));
    let plan = plan_of(&night, &Policy::default());
    assert!(plan.findings.iter().any(|finding| finding.code == "AZR-005"), "{:?}", plan.findings);
    let nobody = Clerk::new(AskBefore::None, |_| false);
    let paused = work(&night, fresh(&plan), &nobody);
    assert_eq!((waits_for(&paused), exit_code(&paused)), ("maintenance-20260115T0300Z", 4));
    let text = &question(&paused).text;
    let window = "aksManagedNodeOSUpgradeSchedule (Thursday at 03:00 UTC+00, 4 h)";
    assert!(text.starts_with("Azure may begin an upgrade of its own from 2026-01-15T03:00:00Z on"), "{text}");
    assert!(text.contains(window), "{text}");
    assert!(!night.records().iter().any(|record| matches!(record.entry, Entry::Intent { .. })));
    let ann = Clerk::new(AskBefore::None, |question| question.starts_with("maintenance-"));
    assert_eq!(work(&night, resumed(&night), &ann).outcome, RunOutcome::Done);
    assert_eq!(ann.asked(), ["maintenance-20260115T0300Z"]);
}

#[test]
fn a_window_of_another_day_and_one_that_no_channel_uses_disturb_nobody() {
    for (name, day) in
        [("aksManagedNodeOSUpgradeSchedule", "Saturday"), ("aksManagedAutoUpgradeSchedule", "Thursday")]
    {
        let night = maintained(name, weekly_at(day, "03:00"));
        let plan = plan_of(&night, &Policy::default());
        let nobody = Clerk::new(AskBefore::None, |_| false);
        assert_eq!(work(&night, fresh(&plan), &nobody).outcome, RunOutcome::Done, "{name}");
    }
}

#[test]
fn a_time_that_azure_is_not_allowed_counts_as_a_freeze_and_what_nobody_understands_is_no_pass() {
    let times = json!([{ "start": "2026-01-14T12:00:00Z", "end": "2026-01-15T12:00:00Z" }]);
    let night = maintained("default", json!({ "notAllowedTime": times }));
    let nobody = Clerk::new(AskBefore::None, |_| false);
    let paused = work(&night, fresh(&plan_of(&night, &Policy::default())), &nobody);
    assert_eq!(waits_for(&paused), "freeze-1");
    let text = &question(&paused).text;
    assert!(text.contains("default does not allow, which ends at 2026-01-15T12:00:00Z"), "{text}");

    let schedule = json!({ "maintenanceWindow": { "schedule": { "lunar": {} } } });
    let night = maintained("aksManagedNodeOSUpgradeSchedule", schedule);
    let plan = plan_of(&night, &Policy::default());
    let paused = work(&night, fresh(&plan), &nobody);
    assert_eq!(waits_for(&paused), "maintenance-unclear");
    assert!(question(&paused).text.contains("its schedule is not known"), "{}", question(&paused).text);
    let ann = Clerk::new(AskBefore::None, |question| question == "maintenance-unclear");
    assert_eq!(work(&night, resumed(&night), &ann).outcome, RunOutcome::Done);
}

//! JUnit XML, for the "Tests" tab of a pipeline: each check's finding, each stage and each Service is a test case.

use std::time::Duration;

use cluster_lab::Forecast;
use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};
use upgrade_core::event::{Report, RunOutcome, StageRecord};
use upgrade_core::finding::{Finding, Severity};
use upgrade_core::ledger::ServiceRecord;
use upgrade_core::plan::Plan;

use super::clean::clean;
use super::status::{RunStatus, StageState};
use super::{exact, outcome_words, proof};

fn show(document: &Document) -> String {
    document.to_string().expect("writing XML to memory cannot fail")
}

fn failure(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(clean(message));
    status
}

fn skipped(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(clean(message));
    status
}

/// Each finding is a case: a failure if it blocks, skipped if it is accepted, passed with its text otherwise.
pub fn findings(cluster: &str, findings: &[Finding]) -> String {
    let mut suite = TestSuite::new(format!("check {}", clean(cluster)));
    for finding in findings {
        let status = match (&finding.accepted, finding.severity) {
            (Some(reason), _) => skipped(&format!("accepted: {reason}")),
            (None, Severity::Blocking | Severity::Unknown) => failure(&finding.message),
            (None, Severity::Advisory | Severity::Info) => TestCaseStatus::success(),
        };
        let mut case = TestCase::new(format!("{} {}", finding.code, clean(&finding.object)), status);
        case.set_classname(format!("check.{}", family(&finding.code)));
        case.set_system_out(format!(
            "{}: {}\nremedy: {}",
            finding.severity,
            clean(&finding.message),
            clean(&finding.remedy)
        ));
        suite.add_test_case(case);
    }
    if findings.is_empty() {
        suite.add_test_case(TestCase::new("nothing stands in the way", TestCaseStatus::success()));
    }
    let mut document = Document::new("aks-drover check");
    document.add_test_suite(suite);
    show(&document)
}

/// `PDB-002` belongs to `PDB`.
fn family(code: &str) -> &str {
    code.split_once('-').map_or(code, |(family, _)| family)
}

/// How a run ended: its stages and its Services.
pub fn report(report: &Report) -> String {
    let cluster = clean(&report.cluster).into_owned();
    let mut stages = TestSuite::new(format!("upgrade {cluster}"));
    for stage in &report.stages {
        stages.add_test_case(stage_case(stage, &report.outcome));
    }
    if report.stages.is_empty() {
        stages.add_test_case(TestCase::new("no stage was begun", unfinished(&report.outcome)));
    }
    let mut services = TestSuite::new(format!("availability {cluster}"));
    for record in &report.ledger {
        services.add_test_case(service_case(record));
    }
    services.set_system_out(proof(report));
    let mut document = Document::new("aks-drover apply");
    document.add_test_suites([stages, services]);
    show(&document)
}

fn stage_case(stage: &StageRecord, outcome: &RunOutcome) -> TestCase {
    let status = match stage.duration_ms {
        Some(_) => TestCaseStatus::success(),
        None => unfinished(outcome),
    };
    let mut case = TestCase::new(format!("{:02} {}", stage.number, clean(&stage.title)), status);
    case.set_classname("upgrade.stage");
    if let Some(milliseconds) = stage.duration_ms {
        case.set_time(Duration::from_millis(milliseconds));
    }
    case
}

/// What a stage that is not finished counts as.
fn unfinished(outcome: &RunOutcome) -> TestCaseStatus {
    match outcome {
        RunOutcome::Done => TestCaseStatus::success(),
        RunOutcome::Held { title, cause, .. } | RunOutcome::Reversed { title, cause, .. } => {
            failure(&format!("{title}: {cause}"))
        }
        RunOutcome::IdentityLost { why } => failure(why),
        RunOutcome::Locked { by } => failure(&format!("the cluster is locked by {by}")),
        RunOutcome::Paused { question } => skipped(&format!("paused: {}", question.text)),
        RunOutcome::Aborted => skipped("stopped at a safe point"),
    }
}

fn service_case(record: &ServiceRecord) -> TestCase {
    let told = record.gaps.iter().map(|gap| {
        let lasted =
            gap.end.map_or_else(|| "a gap that is not over".to_owned(), |end| exact(gap.millis(end)));
        format!("{lasted} without a ready endpoint, during {}", gap.cause)
    });
    let told: Vec<String> = told.collect();
    let status = if record.gaps.is_empty() {
        TestCaseStatus::success()
    } else if record.gaps.iter().all(|gap| gap.accepted) {
        skipped(&format!("accepted: {}", told.join("; ")))
    } else {
        failure(&told.join("; "))
    };
    let mut case = TestCase::new(record.service.to_string(), status);
    case.set_classname("upgrade.availability");
    case.set_system_out(format!(
        "ready endpoints: {} at the start, {} at least, {} at the end",
        record.start, record.fewest, record.now
    ));
    case
}

/// What rehearsals say of a plan: a case for all rehearsals that were done, one for each that was not, one for each Service.
pub fn forecast(plan: &Plan, forecast: &Forecast) -> String {
    let cluster = clean(&plan.cluster.name).into_owned();
    let mut rehearsals = TestSuite::new(format!("rehearsal {cluster}"));
    let mut done =
        TestCase::new(format!("{} rehearsals done", forecast.completed), TestCaseStatus::success());
    done.set_classname("rehearsal.run").set_time(Duration::from_millis(forecast.duration_ms.median));
    rehearsals.add_test_case(done);
    for failed in &forecast.failures {
        let mut case =
            TestCase::new(format!("seed {}", failed.seed), failure(&outcome_words(&failed.outcome)));
        case.set_classname("rehearsal.run");
        rehearsals.add_test_case(case);
    }
    let mut services = TestSuite::new(format!("rehearsed availability {cluster}"));
    for service in &forecast.services {
        let gap = format!(
            "{} without a ready endpoint at most, in {} of {} rehearsals",
            exact(service.longest_gap_ms),
            service.runs_with_gap,
            forecast.runs
        );
        let accepted = plan.accepted_gaps.contains(&service.service);
        let status = match (service.runs_with_gap, accepted) {
            (0, _) => TestCaseStatus::success(),
            (_, true) => skipped(&format!("accepted: {gap}")),
            (_, false) => failure(&gap),
        };
        let mut case = TestCase::new(service.service.to_string(), status);
        case.set_classname("rehearsal.availability");
        services.add_test_case(case);
    }
    let mut document = Document::new("aks-drover rehearse");
    document.add_test_suites([rehearsals, services]);
    show(&document)
}

/// Where a run stands: finished stages have passed, the others are skipped.
pub fn status(status: &RunStatus) -> String {
    let mut suite = TestSuite::new(format!("run {} of {}", status.run, clean(&status.cluster)));
    for stage in &status.stages {
        let result = match stage.state {
            StageState::Finished { .. } => TestCaseStatus::success(),
            StageState::Begun { done, steps } => skipped(&format!("{done} of {steps} steps finished")),
            StageState::Waiting => skipped("to come"),
        };
        let mut case = TestCase::new(format!("{:02} {}", stage.number, clean(&stage.title)), result);
        case.set_classname("upgrade.stage");
        if let StageState::Finished { duration_ms } = stage.state {
            case.set_time(Duration::from_millis(duration_ms));
        }
        suite.add_test_case(case);
    }
    let mut document = Document::new("aks-drover status");
    document.add_test_suite(suite);
    show(&document)
}

//! Every scenario file of the lab, told as it goes today: check, plan, run, and what is left. The transcripts are for people.

use std::fmt::Write;
use std::time::Duration;

use cluster_lab::{Fault, Lab, Story};
use jiff::Timestamp;
use upgrade_core::event::{EventKind, Report, RunOutcome};
use upgrade_core::finding::{Finding, Severity};
use upgrade_core::inventory::Inventory;
use upgrade_core::journal::RunState;
use upgrade_core::model::RunId;
use upgrade_core::plan::{Plan, PlanError};
use upgrade_core::run::Start;
use upgrade_core::span;
use upgrade_core::{check, plan};

use crate::support::Night;

macro_rules! every_file {
    ($($test:ident: $name:literal)*) => {
        const TOLD: &[&str] = &[$($name),*];

        $(#[test]
        fn $test() {
            insta::assert_snapshot!($name, tell($name));
        })*
    };
}

every_file! {
    agent_lost: "agent-lost"
    autoscaled_pool: "autoscaled-pool"
    context_switch: "context-switch"
    deleted_image: "deleted-image"
    deprecated_api: "deprecated-api"
    eviction_webhook: "eviction-webhook"
    frozen_budget: "frozen-budget"
    gitops_reverts: "gitops-reverts"
    half_an_upgrade: "half-an-upgrade"
    killed_and_resumed: "killed-and-resumed"
    never_ready: "never-ready"
    no_quota: "no-quota"
    other_person: "other-person"
    rancher_deletes_the_buffer: "rancher-deletes-the-buffer"
    single_replica: "single-replica"
    slow_machines: "slow-machines"
    stale_rancher: "stale-rancher"
    token_expires: "token-expires"
    unready_webhook: "unready-webhook"
    windows_images: "windows-images"
    zonal_disks: "zonal-disks"
}

#[test]
fn every_file_is_told_here() {
    assert_eq!(Story::names().collect::<Vec<_>>(), TOLD);
}

/// The whole transcript of a file.
fn tell(name: &str) -> String {
    let story = Story::named(name).unwrap();
    let lab = Lab::new(&story.scenario, 1);
    let inventory = lab.inventory();
    let mut text = format!("{}\n\ncheck --to {}\n", folded(&story.text), story.to);
    tell_findings(&mut text, &check(&inventory, &story.policy, story.to));
    match plan(&inventory, &story.policy, story.to) {
        Err(PlanError::Blocked(_)) => text += "\nblocked: there is no plan, and nothing was touched\n",
        Err(error) => writeln!(text, "\nno plan: {error}").unwrap(),
        Ok(plan) => tell_run(&mut text, &story, &Night::of(lab), &plan),
    }
    text
}

fn folded(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().unwrap();
        if line.len() + word.len() > 100 {
            lines.push(word.to_owned());
        } else {
            *line += if line.is_empty() { "" } else { " " };
            *line += word;
        }
    }
    lines.join("\n")
}

fn tell_findings(text: &mut String, findings: &[Finding]) {
    let worth_telling = findings.iter().filter(|finding| finding.severity != Severity::Info);
    for Finding { severity, code, object, message, .. } in worth_telling {
        writeln!(text, "  {severity} {code} {object}: {message}").unwrap();
    }
}

/// Runs the plan, through the crashes that the file asks for, and tells what happened in order.
fn tell_run(text: &mut String, story: &Story, night: &Night, plan: &Plan) {
    writeln!(text, "\nplan: {} stages, {} steps\n\nrun", plan.stages.len(), plan.steps().count()).unwrap();
    let run = RunId::new(story.name.as_str()).unwrap();
    let mut start = Start::Fresh { plan: plan.clone(), run, tool: "test".into() };
    let mut told = Told { begun: night.lab.now(), lines: Vec::new(), events: 0 };
    for record in story.scenario.faults.iter().filter_map(Fault::crash) {
        assert!(night.run_until_record(start, record), "the run was over before record {record}");
        told.take(night);
        told.add(night.lab.now(), format!("! the process is killed after record {record}"));
        start = Start::Resumed(RunState::replay(night.records()).unwrap());
    }
    let mut report = night.run(start).unwrap();
    told.take(night);
    // Nobody sits there at night, but somebody comes: whatever did not end well is gone on with once.
    if !report.outcome.is_done() {
        told.add(night.lab.now(), format!("-> {}", outcome(&report)));
        let later = night.lab.now() + LATER;
        night.lab.block_on(night.lab.clock().sleep_until(later)).unwrap();
        let state = RunState::replay(night.records()).unwrap();
        report = night.run(Start::Resumed(state)).unwrap();
        told.take(night);
    }
    for (at, what) in night.lab.with(|world| world.befallen().to_vec()) {
        told.put_in(at, format!("! {what}"));
    }
    *text += &told.text();
    tell_end(text, &report, &night.inventory());
}

/// What happened, with the time since the run began.
struct Told {
    begun: Timestamp,
    lines: Vec<Line>,
    /// How many of the night's events are told.
    events: usize,
}

/// A line, with how often it came again and when it did last.
struct Line {
    at: Timestamp,
    text: String,
    again: Option<(usize, Timestamp)>,
}

impl Told {
    fn add(&mut self, at: Timestamp, text: String) {
        self.lines.push(Line { at, text, again: None });
    }

    /// Something that the run did not see comes before what it led to.
    fn put_in(&mut self, at: Timestamp, text: String) {
        let place = self.lines.partition_point(|line| line.at < at);
        self.lines.insert(place, Line { at, text, again: None });
    }

    /// Tells what is new. What comes again and again within a stage is told once.
    fn take(&mut self, night: &Night) {
        for event in night.events().split_off(self.events) {
            self.events += 1;
            let Some(text) = line(&event.kind) else { continue };
            let stage = self.lines.iter().rposition(|line| !line.text.starts_with(' ')).unwrap_or(0);
            match self.lines.iter_mut().skip(stage).find(|line| line.text == text) {
                Some(line) if text.starts_with(' ') => {
                    line.again = Some((line.again.map_or(0, |(times, _)| times) + 1, event.at));
                }
                _ => self.add(event.at, text),
            }
        }
    }

    fn text(&self) -> String {
        let since =
            |at: Timestamp| span::show(Duration::try_from(at.duration_since(self.begun)).unwrap_or_default());
        let shown = |line: &Line| {
            let again = line.again.map_or(String::new(), |(times, at)| {
                format!(" (and {times} times more, at last at {})", since(at))
            });
            format!("  {:>8}  {}{again}\n", since(line.at), line.text)
        };
        self.lines.iter().map(shown).collect()
    }
}

fn line(event: &EventKind) -> Option<String> {
    Some(match event {
        EventKind::RunStarted { resumed: true, .. } => "another process goes on from the journal".to_owned(),
        EventKind::StageStarted { stage, title } => format!("{stage}. {title}"),
        EventKind::WriteAnswered { what, answer, ok: false, .. } => format!("   {what}: {answer}"),
        EventKind::GapOpened { gap } => {
            format!("   GAP: {} has no ready endpoint ({})", gap.service, gap.cause)
        }
        EventKind::GapClosed { gap } => {
            format!("   {} has one again after {} ms", gap.service, gap.end.map_or(0, |end| gap.millis(end)))
        }
        EventKind::Warning { message } => format!("   warning: {message}"),
        EventKind::Asked { question } => format!("   asks: {}", question.text),
        _ => return None,
    })
}

/// How long it takes until somebody looks.
const LATER: Duration = Duration::from_secs(20 * 60);

fn outcome(report: &Report) -> String {
    match &report.outcome {
        RunOutcome::Done => "done".to_owned(),
        RunOutcome::Held { step, title, cause } => format!("held at {step}, {title}: {cause}"),
        RunOutcome::Reversed { step, title, cause, .. } => {
            format!("failed at {step}, {title}, and brought back: {cause}")
        }
        RunOutcome::Paused { question } => format!("paused: {}", question.text),
        RunOutcome::Aborted => "aborted".to_owned(),
        RunOutcome::IdentityLost { why } => format!("the cluster is another one: {why}"),
        RunOutcome::Locked { by } => format!("locked by {by}"),
    }
}

fn tell_end(text: &mut String, report: &Report, after: &Inventory) {
    let outcome = outcome(report);
    let lasted = span::show(Duration::from_millis(report.duration_ms));
    writeln!(text, "\nend: {outcome}\n  after {lasted}").unwrap();
    for loan in &report.holding {
        writeln!(text, "  still holds {loan}").unwrap();
    }
    writeln!(text, "\nledger").unwrap();
    for record in &report.ledger {
        let gaps: Vec<_> = record
            .gaps
            .iter()
            .map(|gap| gap.end.map_or("open".to_owned(), |end| format!("{} ms", gap.millis(end))))
            .collect();
        let gaps = if gaps.is_empty() { "no gap".to_owned() } else { format!("GAPS {}", gaps.join(", ")) };
        writeln!(
            text,
            "  {}: {} ready, never fewer than {}, {gaps}",
            record.service, record.start, record.fewest
        )
        .unwrap();
    }
    writeln!(text, "\ncluster\n  control plane {}", after.cluster.version).unwrap();
    for pool in &after.pools {
        let nodes = || after.nodes.iter().filter(|node| node.pool().as_ref() == Some(&pool.name));
        let versions: std::collections::BTreeSet<_> = nodes()
            .map(|node| node.kubelet.map_or("unknown".to_owned(), |version| version.to_string()))
            .collect();
        let cordoned = nodes().filter(|node| node.unschedulable).count();
        let versions = versions.into_iter().collect::<Vec<_>>().join(" and ");
        writeln!(
            text,
            "  pool {}: {} at {}, {} nodes at {versions}, {cordoned} of them cordoned",
            pool.name,
            pool.state,
            pool.version,
            nodes().count()
        )
        .unwrap();
    }
    let ill = after.pods.iter().filter(|pod| pod.trouble.is_some() && !pod.terminating);
    for pod in ill {
        writeln!(text, "  pod {}: {}", pod.name, pod.trouble.as_deref().unwrap_or_default()).unwrap();
    }
}

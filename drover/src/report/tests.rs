//! Transcripts of every renderer, on fixed data.

use insta::assert_snapshot;
use upgrade_core::journal::{Entry, Record, RunState, Write};
use upgrade_core::model::{FormatVersion, RunId, StepId};

use super::test_support as fixed;
use super::*;
use crate::files::SnapshotFile;

/// A run that was killed in its first stage, with a write in flight.
fn killed() -> RunStatus {
    let plan = Box::new(fixed::plan());
    let target = plan.target;
    let run = RunId::new("shop-acc-20261124-200000-0a1f").unwrap();
    let entries = [
        Entry::Header { format: FormatVersion::CURRENT, run, tool: "aks-drover 0.1.0".into(), plan },
        Entry::Opened,
        Entry::StageStarted { stage: 1 },
        Entry::Intent {
            id: 1,
            step: StepId::new("1.1.1").unwrap(),
            write: Write::UpgradeControlPlane { to: target },
        },
    ];
    let records = entries.into_iter().enumerate().map(|(index, entry)| Record {
        seq: index as u64 + 1,
        at: format!("2026-11-24T20:00:{index:02}Z").parse().unwrap(),
        entry,
    });
    RunStatus::of(&RunState::replay(records).unwrap()).unwrap()
}

/// What no renderer may let through.
fn harmless(text: &str) {
    assert!(!text.contains('\u{1b}') && !text.to_lowercase().contains("##vso["), "{text}");
    assert!(text.lines().all(|line| !line.trim_start().starts_with("::")), "{text}");
}

#[test]
fn plans() {
    assert_snapshot!("plan.txt", text::plan(&fixed::plan()));
    assert_snapshot!("plan.md", markdown::plan(&fixed::plan()));
    assert_snapshot!("plan_empty.txt", text::plan(&fixed::empty_plan()));
    assert_snapshot!("plan_empty.md", markdown::plan(&fixed::empty_plan()));
    let json: serde_json::Value = serde_json::from_str(&json::plan(&fixed::plan(), None)).unwrap();
    assert_eq!(
        (json["format"].as_str(), json["hash"].as_str()),
        (Some("1.0"), Some(fixed::plan().hash().as_str()))
    );
    assert_eq!(
        serde_json::from_value::<upgrade_core::plan::Plan>(json["plan"].clone()).unwrap(),
        fixed::plan()
    );
}

#[test]
fn forecasts() {
    for (name, forecast) in [("bad", fixed::forecast()), ("good", fixed::good_forecast())] {
        assert_snapshot!(format!("forecast_{name}.txt"), text::forecast(&forecast));
        assert_snapshot!(format!("forecast_{name}.md"), markdown::forecast(&fixed::plan(), &forecast));
        assert_eq!(
            serde_json::from_str::<cluster_lab::Forecast>(&json::forecast(&forecast)).unwrap(),
            forecast
        );
    }
}

#[test]
fn findings() {
    let all = fixed::findings();
    assert_snapshot!("findings.txt", text::findings(&all));
    assert_snapshot!("findings.md", markdown::findings("shop-acc", &all));
    assert_snapshot!("findings_none.txt", text::findings(&[]));
    let json = json::findings(&fixed::identity(), "1.35", &all);
    assert_snapshot!("findings.json", json);
    for text in [text::findings(&all).to_string(), markdown::findings("shop-acc", &all), json] {
        harmless(&text);
    }
}

#[test]
fn runs() {
    for (name, report) in [("done", fixed::done()), ("held", fixed::held()), ("paused", fixed::paused())] {
        assert_snapshot!(format!("run_{name}.txt"), text::report(&report));
        assert_snapshot!(format!("run_{name}.md"), markdown::report(&report));
        harmless(&text::report(&report).coloured().replace("\u{1b}[", ""));
        harmless(&markdown::report(&report));
        let json = json::report(&report);
        harmless(&json);
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}

#[test]
fn events() {
    let lines: String = fixed::events().iter().map(|event| text::event(event, 17).to_string()).collect();
    assert_snapshot!("events.txt", lines);
    harmless(&lines);
    let stream: String =
        [json::stream_version()].into_iter().chain(fixed::events().iter().map(json::event)).collect();
    harmless(&stream);
    assert_eq!(stream.lines().count(), fixed::events().len() + 1, "one line each");
    let first: serde_json::Value = serde_json::from_str(stream.lines().next().unwrap()).unwrap();
    assert_eq!((first["type"].as_str(), first["format"].as_str()), (Some("version"), Some("1.0")));
    let back: Vec<upgrade_core::event::Event> =
        stream.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(back, fixed::events());
}

#[test]
fn where_a_run_stands() {
    assert_snapshot!("status.txt", text::status(&killed()));
    assert_snapshot!("status.md", markdown::status(&killed()));
    assert_snapshot!("status.json", json::status(&killed()));
}

#[test]
fn what_was_seen() {
    assert_snapshot!("inventory.txt", text::inventory(&fixed::snapshot()));
    assert_snapshot!("inventory.md", markdown::inventory(&fixed::snapshot()));
    harmless(&json::snapshot(&SnapshotFile::new(fixed::snapshot())));
}

#[cfg(feature = "cli")]
#[test]
fn junit_for_the_tests_tab() {
    assert_snapshot!("findings.xml", junit::findings("shop-acc", &fixed::findings()));
    assert_snapshot!("findings_none.xml", junit::findings("shop-acc", &[]));
    assert_snapshot!("forecast_bad.xml", junit::forecast(&fixed::plan(), &fixed::forecast()));
    assert_snapshot!("run_held.xml", junit::report(&fixed::held()));
    assert_snapshot!("run_paused.xml", junit::report(&fixed::paused()));
    assert_snapshot!("status.xml", junit::status(&killed()));
    harmless(&junit::report(&fixed::held()));
}

#[test]
fn the_proof_is_one_sentence() {
    assert_eq!(proof(&fixed::done()), "0 s without ready endpoints for every one of 2 Services");
    assert_eq!(proof(&fixed::held()), "12.4 s without ready endpoints in 1 gap, over 3 Services");
    let nothing = Report { ledger: Vec::new(), ..fixed::done() };
    assert_eq!(proof(&nothing), "no Service had a ready endpoint to watch");
}

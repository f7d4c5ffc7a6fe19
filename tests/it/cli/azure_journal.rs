//! A run that is written down in Azure Blob Storage, which Azurite plays.

use super::{Lab, UnderWay, read};
use crate::azurite::Azurite;

/// A lab, and a storage account that its drover.toml names.
fn lab_and_account() -> Option<(Lab, Azurite)> {
    let azurite = Azurite::with_container("journals")?;
    let lab = Lab::serve();
    let config = lab.folder().join("drover.toml");
    std::fs::write(&config, format!("{}{}", read(&config), azurite.toml())).unwrap();
    lab.plan();
    Some((lab, azurite))
}

/// The address of the run that said so on stderr.
fn address(stderr: &str) -> String {
    let said = stderr.lines().find_map(|line| line.split_once("journal: "));
    said.unwrap_or_else(|| panic!("no address: {stderr}")).1.trim().to_owned()
}

/// The agent's machine is gone with its disk. Another agent asks where the run stands, and goes on with it.
#[cfg(unix)]
#[test]
fn a_run_whose_machine_is_gone_goes_on_from_its_journal_in_azure() {
    let Some((lab, _azurite)) = lab_and_account() else { return };
    let mut apply = UnderWay::start(lab.folder(), &["apply", "plan.json", "--journal", "az://journals/team"]);
    apply.hear("user: move onto userbf: cordon user");
    apply.signal("-KILL");
    let killed = apply.end();
    assert_eq!(killed.code, None, "it ended by itself before it was killed");
    let run = address(&killed.stderr);
    assert!(run.starts_with("az://journals/team/demo-"), "{run}");
    let id = run.rsplit('/').next().unwrap();

    let status = lab.run(&["status", id, "--journal", "az://journals/team"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stderr.contains(&format!("go on with: aks-drover resume {run}")), "{}", status.stderr);
    let resume = lab.run(&["resume", &run]);
    assert_eq!(resume.code, Some(0), "{resume:?}");
    let status = lab.run(&["status", &run]);
    assert!(status.stdout.contains("state        done"), "{}", status.stdout);
    assert!(!lab.folder().join("journal").exists(), "nothing is written down here");
}

/// Somebody takes up a run that another agent is working on: he is refused, and the run goes on undisturbed.
#[test]
fn of_two_agents_and_one_journal_one_wins() {
    let Some((lab, _azurite)) = lab_and_account() else { return };
    let mut apply = UnderWay::start(lab.folder(), &["apply", "plan.json", "--journal", "az://journals"]);
    apply.hear("stage 1 of ");
    let run = address(&apply.heard);
    let second = lab.run(&["resume", &run]);
    assert_eq!(second.code, Some(3), "{second:?}");
    assert!(second.stderr.contains("somebody else works on the cluster"), "{}", second.stderr);
    let first = apply.end();
    assert_eq!(first.code, Some(0), "{first:?}");
}

#[test]
fn an_address_that_cannot_be_used_is_refused_before_anything_is_done() {
    let Some((lab, _azurite)) = lab_and_account() else { return };
    let nowhere = lab.run(&["apply", "plan.json", "--journal", "az://nowhere"]);
    assert_eq!(nowhere.code, Some(2), "{nowhere:?}");
    for said in ["journal az://nowhere: there is no such container", "hint: create the container"] {
        assert!(nowhere.stderr.contains(said), "{said}: {}", nowhere.stderr);
    }
    let config = lab.folder().join("drover.toml");
    let right = read(&config);
    std::fs::write(&config, right.replace("devstoreaccount1\"\nc", "other\"\nc")).unwrap();
    let stranger = lab.run(&["status", "az://journals/demo-1"]);
    assert_eq!(stranger.code, Some(1), "{stranger:?}");
    let said = stranger.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("hint: check `account` and `credential` of the table `[journal]`"), "{said}");
    std::fs::write(&config, right.split("\n[journal]").next().unwrap()).unwrap();
    let unknown = lab.run(&["status", "az://journals/demo-1"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    let said = unknown.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("journal: the table is missing; it is needed for az://journals"), "{said}");
    assert!(said.contains("hint: name the storage account"), "{said}");
}

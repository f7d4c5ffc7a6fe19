use upgrade_core::Policy;

use super::*;
use crate::test_support::inventory;

fn plan_file() -> PlanFile {
    let plan = upgrade_core::plan(&inventory(), &Policy::default(), "1.35".parse().unwrap()).unwrap();
    let taken_at = Some("2026-11-24T01:02:03Z".parse().unwrap());
    PlanFile::new(plan, Inventory { taken_at, ..inventory() })
}

#[test]
fn files_come_back_as_they_were_and_a_plan_does_not_know_when_it_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan_file();
    assert_eq!(plan.inventory.taken_at, None);
    let path = folder.path().join("plan.json");
    plan.save(&path).unwrap();
    assert_eq!(PlanFile::load(&path).unwrap(), plan);
    assert_eq!(fs::read_to_string(&path).unwrap(), plan.to_json());

    let snapshot = SnapshotFile::new(inventory());
    let path = folder.path().join("snapshot.json");
    snapshot.save(&path).unwrap();
    assert_eq!(SnapshotFile::load(&path).unwrap(), snapshot);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "a temporary file was left");
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    let told = |text: &str| {
        fs::write(&path, text).unwrap();
        let error = PlanFile::load(&path).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string().replace(path.to_str().unwrap(), "FILE")
    };
    assert_eq!(
        told(r#"{"format": "2.0", "plan": "of the future"}"#),
        "plan FILE cannot be read: format 2.0 cannot be read, this version reads 1.x; a newer Drover can"
    );
    assert!(told("<html>").starts_with("plan FILE cannot be read: it is not a plan of Drover ("));
    let damaged = plan_file().to_json().replacen("\"MC_rg\"", "7", 1);
    let text = told(&damaged);
    assert!(text.contains("at `inventory.cluster.node_resource_group`: invalid type"), "{text}");
    let newer = plan_file().to_json().replacen("\"format\": \"1.0\"", "\"format\": \"1.9\", \"newer\": 1", 1);
    fs::write(&path, newer).unwrap();
    assert!(PlanFile::load(&path).is_ok(), "a newer minor format is read");
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let error = write_atomically(&folder.path().join("missing").join("plan.json"), b"x").unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    assert!(write_atomically(&taken, b"x").is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

use super::*;
use crate::check::check;
use crate::model::tests_support::{inventory, managed};
use crate::policy::Acceptance;

fn of_rancher(inventory: &Inventory, policy: &Policy) -> Vec<(String, Severity, bool)> {
    let found = check(inventory, policy, "1.35".parse().unwrap()).into_iter();
    found.filter(|f| f.code.starts_with("RAN")).map(|f| (f.code.clone(), f.severity, f.blocks())).collect()
}

fn owned(ownership: Ownership) -> Inventory {
    let mut inventory = inventory();
    inventory.rancher.ownership = ownership;
    inventory
}

fn lock_step() -> Policy {
    Policy { rancher_managed: RancherManaged::LockStep, ..Policy::default() }
}

#[test]
fn a_second_writer_needs_consent_and_has_to_be_in_sync() {
    let blocks = |code: &str, severity| vec![(code.to_owned(), severity, true)];
    let unclear = Ownership::Unclear { reason: "driver k3s".into() };
    let table = [
        (Ownership::Generic, Policy::default(), vec![]),
        (Ownership::Unmanaged, lock_step(), vec![]),
        (managed(&[]), Policy::default(), blocks("RAN-001", Severity::Blocking)),
        (managed(&["Rancher is at work"]), Policy::default(), blocks("RAN-001", Severity::Blocking)),
        (managed(&["Rancher is at work"]), lock_step(), blocks("RAN-002", Severity::Blocking)),
        (managed(&[]), lock_step(), vec![("RAN-004".to_owned(), Severity::Advisory, false)]),
        (unclear.clone(), Policy::default(), blocks("RAN-003", Severity::Unknown)),
        (unclear, lock_step(), blocks("RAN-003", Severity::Unknown)),
    ];
    for (ownership, policy, expected) in table {
        assert_eq!(of_rancher(&owned(ownership.clone()), &policy), expected, "{ownership:?}");
    }
}

#[test]
fn consent_is_given_by_the_policy_and_not_by_accepting_a_finding() {
    for (code, ownership, policy) in [
        ("RAN-001", managed(&[]), Policy::default()),
        ("RAN-002", managed(&["Rancher is at work"]), lock_step()),
        ("RAN-003", Ownership::Unclear { reason: "x".into() }, Policy::default()),
    ] {
        let accept = vec![Acceptance {
            code: code.into(),
            object: "shop".into(),
            reason: "hurry".into(),
            until: None,
        }];
        let found = of_rancher(&owned(ownership), &Policy { accept, ..policy });
        assert!(matches!(&found[..], [(only, _, true)] if only == code), "{found:?}");
    }
}

#[test]
fn a_description_that_does_not_say_whether_the_two_agree_is_no_proof_of_it() {
    let old: Ownership = serde_json::from_str(r#"{"kind":"managed"}"#).unwrap();
    assert_eq!(of_rancher(&owned(old), &lock_step())[0].0, "RAN-002");
}

#[test]
fn a_token_that_ends_before_the_run_would_blocks_it() {
    let mut case = inventory();
    let now = case.taken_at.unwrap();
    let needed =
        expected_duration(&case, &case.view(), &Policy::default(), "1.35.3".parse().unwrap()).unwrap();
    let minute = jiff::SignedDuration::from_mins(1);
    let needed = jiff::SignedDuration::try_from(needed).unwrap();
    let table = [
        (None, None, false),
        (Some(now + needed + minute), None, false),
        (Some(now + needed - minute), None, true),
        (Some(now - minute), None, true),
        // A clock of ours that runs behind makes no token live longer, and one that runs ahead does not prove that it ends.
        (Some(now + needed + minute), Some(120), true),
        (Some(now + needed + minute), Some(-120), false),
    ];
    for (expires, ahead, blocks) in table {
        case.rancher.token_expires = expires;
        case.rancher.clock_ahead_seconds = ahead;
        let found = of_rancher(&case, &Policy::default());
        let found = found.iter().any(|(code, _, blocks)| code == "RAN-005" && *blocks);
        assert_eq!(found, blocks, "{expires:?} {ahead:?}");
    }
}

#[test]
fn a_token_whose_end_cannot_be_read_is_said_and_stops_nobody() {
    let mut case = inventory();
    case.rancher.token_unread = Some("it is limited to one cluster".into());
    assert_eq!(of_rancher(&case, &Policy::default()), [("RAN-006".to_owned(), Severity::Advisory, false)]);
}

#[test]
fn clocks_apart_are_said_from_a_minute_on_and_matter_from_five() {
    for (ahead, severity, way) in [
        (59, None, ""),
        (-60, Some(Severity::Info), "more than a minute behind"),
        (299, Some(Severity::Info), "more than a minute ahead of"),
        (300, Some(Severity::Advisory), "more than five minutes ahead of"),
        (i64::MIN, Some(Severity::Advisory), "more than five minutes behind"),
    ] {
        let mut case = inventory();
        case.rancher.clock_ahead_seconds = Some(ahead);
        let found = check(&case, &Policy::default(), "1.35".parse().unwrap());
        let found = found.iter().find(|finding| finding.code == "RAN-007");
        assert_eq!(found.map(|f| f.severity), severity, "{ahead}");
        assert!(found.is_none_or(|f| f.message.contains(way) && !f.blocks()), "{found:?}");
    }
}

//! Failures that pass are waited for, up to a limit; what must not happen is a run that tries for ever.

use super::super::second_writer::tests::{act, asks, at, at_the_first_change, held, look, owned, says};
use super::*;
use crate::inventory::Ownership;
use crate::policy::RancherManaged;
use crate::ports::{CallOutcome, OperationRef, OperationState, PortErrorKind, RemoteService};
use crate::run::machine::room::RoomInAzure;
use crate::run::machine::{Effect, Input};

/// A machine at its first change, which Azure answers like this from then on: how often it was tried, and the cause at the end.
fn tried(kind: PortErrorKind) -> (u32, String) {
    let (mut machine, mut effects) = at_the_first_change(&owned(Ownership::Generic), RancherManaged::Refuse);
    let (mut now, mut tries) = (0, 0);
    loop {
        if let Some(cause) = held(&effects) {
            return (tries, cause);
        }
        assert!(now < 24 * 3600, "it tries for ever");
        let looks = effects.iter().any(|effect| matches!(effect, Effect::LookAtAzure(_)));
        effects = if let Some(id) = act(&effects) {
            tries += 1;
            let answer = WriteAnswer::Failed { message: "another operation is in progress".into(), kind };
            machine.on(at(now), Input::Answered { id, answer, retry_after: None })
        } else if asks(&effects) > 0 {
            machine.on(at(now), says(Ownership::Generic))
        } else if looks {
            machine.on(at(now), look(Vec::new(), |_| {}))
        } else {
            now += 5;
            machine.on(at(now), Input::Tick)
        };
    }
}

#[test]
fn a_write_that_goes_on_failing_is_tried_with_pauses_and_holds_at_its_limit() {
    let (tries, cause) = tried(PortErrorKind::Conflict);
    assert!((300..400).contains(&tries), "about one a minute: {tries}");
    let why = "upgrade control plane to 1.35.3: another operation is in progress";
    // The step's own limit comes at the same time; whichever is seen first ends it, and it is the same in both.
    let limits = ["tried for 6h 0m, since ", "not done in 6h 0m, since "];
    assert!(limits.iter().any(|limit| cause.starts_with(limit)) && cause.ends_with(why), "{cause}");
    let (tries, cause) = tried(PortErrorKind::Rejected);
    assert_eq!(
        (tries, cause.as_str()),
        (1, "upgrade control plane to 1.35.3: another operation is in progress")
    );
}

/// Azure has begun, and works on it for ever: that is what the message says then, and nothing else.
#[test]
fn an_operation_that_does_not_end_is_waited_for_to_the_limit_and_named() {
    let (mut machine, _) = at_the_first_change(&owned(Ownership::Generic), RancherManaged::Refuse);
    let id = act(&machine.on(at(1), says(Ownership::Generic))).unwrap();
    let operation = OperationRef("op".into());
    let answer = WriteAnswer::Accepted { operation: operation.clone() };
    machine.on(at(2), Input::Answered { id, answer, retry_after: None });
    let works = || look(vec![(operation.clone(), OperationState::Running)], |_| {});
    let cause = (3..24 * 3600).step_by(30).find_map(|now| held(&machine.on(at(now), works())));
    assert_eq!(
        cause.unwrap(),
        "waited 6h 0m, since 1970-01-12T13:46:40Z, for Azure: upgrade the control plane to 1.35.3"
    );
}

#[test]
fn whether_there_is_room_is_asked_before_the_first_change_and_held_where_there_is_none() {
    let begin = || {
        let case = owned(Ownership::Generic);
        let (mut machine, effects) = at_the_first_change(&case, RancherManaged::Refuse);
        assert!(
            effects.iter().any(|effect| matches!(effect, Effect::LookForRoom(buffers) if buffers.len() == 2))
        );
        machine.room = RoomInAzure::default();
        machine
    };
    let mut machine = begin();
    assert!(act(&machine.on(at(1), says(Ownership::Generic))).is_none());
    machine.room_says(at(1), Ok(Vec::new()));
    machine.on(at(16), Input::Tick);
    assert!(act(&machine.on(at(17), says(Ownership::Generic))).is_some());
    let mut machine = begin();
    machine.room_says(at(1), Ok(vec!["buffer userbf: cores: 8 needed, 4 left".into()]));
    let cause = held(&machine.on(at(2), Input::Tick)).unwrap();
    assert_eq!(cause, "Azure has no room; nothing was changed: buffer userbf: cores: 8 needed, 4 left");
    // What may not be read does not stand in the way; Azure looks itself.
    let mut machine = begin();
    let (service, outcome) = (RemoteService::Azure, CallOutcome::NothingDone);
    machine.room_says(at(1), Err(PortError::new(service, PortErrorKind::Forbidden, outcome, "no")));
    assert!(act(&machine.on(at(2), says(Ownership::Generic))).is_some());
}

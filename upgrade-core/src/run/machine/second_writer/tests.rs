//! When the machine lets a change in Azure begin, seen apart from any world.

use super::*;
use crate::event::RunOutcome;
use crate::inventory::{ClusterIdentity, Evidence, EvidenceKind, EvidenceVerdict, Inventory};
use crate::journal::WriteAnswer;
use crate::model::RunId;
use crate::model::tests_support::{inventory, managed};
use crate::plan::plan;
use crate::policy::{Policy, RancherManaged};
use crate::ports::{AzureView, CallOutcome, OperationRef, OperationState, PortErrorKind, RemoteService};
use crate::run::LockNews;
use crate::run::machine::{Input, Look};
use crate::view::{Change, ResourceKind};

pub(in crate::run::machine) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

pub(in crate::run::machine) fn owned(ownership: Ownership) -> Inventory {
    let mut inventory = inventory();
    inventory.rancher.ownership = ownership;
    inventory
}

/// What Rancher says, with this owner.
pub(in crate::run::machine) fn says(ownership: Ownership) -> Input {
    Input::Rancher(Ok(owned(ownership).rancher))
}

pub(in crate::run::machine) fn look(
    operations: Vec<(OperationRef, OperationState)>,
    change: impl FnOnce(&mut AzureView),
) -> Input {
    let case = inventory();
    let look_again = Duration::from_secs(10);
    let mut view = AzureView { cluster: case.cluster, pools: case.pools, look_again };
    change(&mut view);
    Input::Azure(Ok(Look { view, operations }))
}

/// A machine whose first stage, the control plane, has begun and is seen in Azure as it was.
pub(in crate::run::machine) fn at_the_first_change(
    case: &Inventory,
    managed: RancherManaged,
) -> (Machine, Vec<Effect>) {
    let policy = Policy { rancher_managed: managed, ..Policy::default() };
    let plan = plan(case, &policy, "1.35".parse().unwrap()).unwrap();
    let (mut machine, _) = Machine::begin(plan, RunId::new("r").unwrap(), "test".into(), at(0));
    let lists = ResourceKind::ALL.map(|kind| Change::Listed { kind, objects: Vec::new() });
    machine.on(at(0), Input::Changes(lists.into()));
    let agrees = |what| Evidence { what, verdict: EvidenceVerdict::Agrees, detail: "values".into() };
    let evidence = vec![agrees(EvidenceKind::ApiServerCa), agrees(EvidenceKind::Nodes)];
    let proven = ClusterIdentity { evidence, ..case.identity.clone() };
    let mut effects = machine.on(at(0), Input::Identity(Ok(proven)));
    effects.extend(machine.on(at(0), Input::Lock(LockNews::Held)));
    effects.extend(machine.on(at(0), look(Vec::new(), |_| {})));
    effects.extend(machine.on(at(0), Input::Room(Ok(Vec::new()))));
    (machine, effects)
}

pub(in crate::run::machine) fn asks(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::ReadRancher)).count()
}

pub(in crate::run::machine) fn act(effects: &[Effect]) -> Option<u64> {
    effects.iter().find_map(|effect| if let Effect::Act { id, .. } = effect { Some(*id) } else { None })
}

pub(in crate::run::machine) fn held(effects: &[Effect]) -> Option<String> {
    effects.iter().find_map(|effect| match effect {
        Effect::End(report) => match &report.outcome {
            RunOutcome::Held { cause, .. } => Some(cause.clone()),
            other => panic!("{other:?}"),
        },
        _ => None,
    })
}

#[test]
fn nothing_is_changed_in_azure_before_rancher_was_asked() {
    for ownership in [Ownership::Generic, Ownership::Unmanaged, managed(&[])] {
        let (mut machine, effects) = at_the_first_change(&owned(ownership.clone()), RancherManaged::LockStep);
        assert_eq!((asks(&effects), act(&effects)), (1, None), "{ownership:?}");
        assert_eq!(act(&machine.on(at(1), Input::Tick)), None);
        assert!(act(&machine.on(at(2), says(ownership))).is_some());
    }
}

#[test]
fn a_rancher_that_does_not_agree_is_asked_again_until_it_does_or_the_time_is_up() {
    let (mut machine, _) = at_the_first_change(&owned(managed(&[])), RancherManaged::LockStep);
    let effects = machine.on(at(1), says(managed(&["Rancher is at work"])));
    assert_eq!((asks(&effects), act(&effects)), (0, None));
    assert_eq!(asks(&machine.on(at(10), Input::Tick)), 0, "not every moment");
    assert_eq!(asks(&machine.on(at(16), Input::Tick)), 1);
    assert_eq!(asks(&machine.on(at(20), Input::Tick)), 0, "one question at a time");
    let mut agreeing = machine;
    assert!(act(&agreeing.on(at(21), says(managed(&[])))).is_some());

    let (mut machine, _) = at_the_first_change(&owned(managed(&[])), RancherManaged::LockStep);
    for seconds in (1..=691).step_by(15) {
        let effects = machine.on(at(seconds), says(managed(&["Rancher is at work"])));
        assert_eq!(held(&effects), None, "after {seconds} s");
        assert_eq!(held(&machine.on(at(seconds + 15), Input::Tick)), None, "after {seconds} s");
    }
    let cause = held(&machine.on(at(721), Input::Tick)).unwrap();
    assert_eq!(cause, "no change may be made in Azure, waited 12m: Rancher is at work");
}

#[test]
fn consent_is_asked_for_again_when_rancher_becomes_a_second_writer() {
    let (mut machine, _) = at_the_first_change(&owned(Ownership::Unmanaged), RancherManaged::Refuse);
    let cause = held(&machine.on(at(1), says(managed(&[])))).unwrap();
    assert!(cause.starts_with("Rancher manages this cluster's version and pools now"), "{cause}");
}

#[test]
fn a_read_that_fails_for_a_moment_is_repeated_and_one_that_is_forbidden_holds() {
    let failure = |kind| {
        let (service, outcome) = (RemoteService::Rancher, CallOutcome::NothingDone);
        Input::Rancher(Err(PortError::new(service, kind, outcome, "no")))
    };
    let (mut machine, _) = at_the_first_change(&owned(Ownership::Generic), RancherManaged::Refuse);
    let effects = machine.on(at(1), failure(PortErrorKind::Unreachable));
    assert_eq!((act(&effects), held(&effects)), (None, None));
    assert_eq!(asks(&machine.on(at(16), Input::Tick)), 1);
    assert!(act(&machine.on(at(17), says(Ownership::Generic))).is_some());

    let (mut machine, _) = at_the_first_change(&owned(Ownership::Generic), RancherManaged::Refuse);
    assert!(held(&machine.on(at(1), failure(PortErrorKind::Forbidden))).is_some());
}

/// The change is done in Azure; what Rancher said before that does not count, and what it says after it must agree.
#[test]
fn a_change_is_finished_when_rancher_has_adopted_it() {
    let (mut machine, _) = at_the_first_change(&owned(managed(&[])), RancherManaged::LockStep);
    let id = act(&machine.on(at(1), says(managed(&[])))).unwrap();
    let operation = OperationRef("op".into());
    machine.on(
        at(2),
        Input::Answered {
            id,
            answer: WriteAnswer::Accepted { operation: operation.clone() },
            retry_after: None,
        },
    );
    let done = vec![(operation, OperationState::Succeeded)];
    let upgraded = look(done, |view| view.cluster.version = "1.35.3".parse().unwrap());
    let effects = machine.on(at(600), upgraded);
    assert_eq!(asks(&effects), 1, "the wait begins with a question");
    let behind = managed(&["Rancher wants version 1.34.2, Azure has 1.35.3"]);
    let effects = machine.on(at(601), says(behind));
    let told = effects.iter().any(|effect| {
        matches!(effect, Effect::Emit(event) if matches!(&event.kind, EventKind::Progress { waiting_for, .. }
            if waiting_for[..] == ["Rancher, for 0s of at most 12m: Rancher wants version 1.34.2, Azure has 1.35.3"]))
    });
    assert!(told, "{effects:?}");
    assert_eq!(asks(&machine.on(at(616), Input::Tick)), 1);
    let effects = machine.on(at(617), says(managed(&[])));
    let finished = effects.iter().any(|effect| {
        matches!(effect, Effect::Emit(event) if matches!(event.kind, EventKind::StageFinished { stage: 1, .. }))
    });
    assert!(finished, "{effects:?}");
}

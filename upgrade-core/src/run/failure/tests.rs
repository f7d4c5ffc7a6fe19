//! The table where it matters most.

use super::*;
use crate::model::{NodeName, Uid};

fn next(step: StepKind, failure: Failure) -> Next {
    response(Some(step), failure).next
}

#[test]
fn what_is_denied_is_not_repeated_and_what_passes_is() {
    let write = Write::Cordon { node: NodeName::new("n").unwrap(), uid: Uid::new("u").unwrap() };
    let met = |kind| {
        let answer = WriteAnswer::Failed { message: String::new(), kind };
        next(StepKind::Cordon, Failure::of_answer(&write, &answer).unwrap())
    };
    for kind in [PortErrorKind::Unauthorized, PortErrorKind::Forbidden, PortErrorKind::Rejected] {
        assert_eq!(met(kind), Next::Hold, "{kind:?}");
    }
    for kind in [
        PortErrorKind::Conflict,
        PortErrorKind::Throttled,
        PortErrorKind::Unreachable,
        PortErrorKind::Internal,
    ] {
        assert_eq!(met(kind), Next::Retry(Limit::Policy), "{kind:?}");
    }
    assert_eq!(met(PortErrorKind::NotFound), Next::Observe(Limit::Policy));
    let lost = WriteAnswer::Unknown { message: String::new() };
    assert_eq!(Failure::of_answer(&write, &lost), Some(Failure::AnswerLost));
    assert_eq!(next(StepKind::UpgradePool, Failure::AnswerLost), Next::Observe(Limit::Azure));
    assert_eq!(Failure::of_answer(&write, &WriteAnswer::Done), None);
}

#[test]
fn nothing_is_written_any_more_where_the_cluster_the_lock_or_the_journal_is_in_doubt() {
    for step in StepKind::ALL.iter().copied().map(Some).chain([None]) {
        for failure in [
            Failure::OtherCluster,
            Failure::LockTaken,
            Failure::LockLost,
            Failure::JournalLost,
            Failure::Defect,
        ] {
            assert_eq!(response(step, failure).next, Next::Stop, "{failure} at {step:?}");
        }
    }
}

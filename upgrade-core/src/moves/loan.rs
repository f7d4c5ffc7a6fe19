//! What a move borrows of its workload, and gives back at its end.

use super::engine::{MoveCase, OpenMove};
use crate::journal::{Loan, Write};
use crate::model::{Settings, Workload};
use crate::plan::lent_by;
use crate::run::Verdict;

/// How a move's loan stands.
pub(super) enum Lending {
    /// The workload is as the move needs it.
    Ready,
    /// It has to be lent.
    Missing(Write),
    /// It was lent, and somebody else has set it otherwise since.
    TakenBack(Settings),
}

impl MoveCase<'_> {
    /// Is the workload as the move needs it? A loan that somebody has taken back is not made again: that would be a fight.
    pub(super) fn lending(&self, open: &OpenMove<'_>, workload: &Workload) -> Lending {
        let now = Settings::of(workload);
        if let Some(loan) = loan_on(open, workload) {
            let gone = loan.lent.differing_from(&now);
            if gone.is_empty() {
                return Lending::Ready;
            }
            if open.loan_seen {
                return Lending::TakenBack(gone);
            }
        }
        let lent = lent_by(open.route, workload, self.view).differing_from(&now);
        if lent.is_empty() {
            return Lending::Ready;
        }
        let (workload, uid) = (workload.reference.clone(), workload.uid.clone());
        Lending::Missing(Write::Lend { workload, uid, former: now.named_in(&lent), lent })
    }
}

/// The move's loan, if it is this object that lent something.
fn loan_on<'a>(open: &OpenMove<'a>, workload: &Workload) -> Option<&'a Loan> {
    open.loan.filter(|loan| loan.uid == workload.uid)
}

/// What goes back: all of the loan but what somebody else has set otherwise, which stays. It goes back even where it seems to be
/// as it was, because a watch may be late, and a return that finds it so changes nothing. `None` if nothing is left of it.
pub(crate) fn give_back(loan: &Loan, workload: &Workload) -> Option<Write> {
    let now = Settings::of(workload).named_in(&loan.lent);
    let theirs = now.differing_from(&loan.lent).differing_from(&loan.former);
    let lent = loan.lent.not_named_in(&theirs);
    (workload.uid == loan.uid && !lent.is_empty()).then(|| Write::GiveBack {
        workload: loan.workload.clone(),
        uid: loan.uid.clone(),
        former: loan.former.named_in(&lent),
        lent,
    })
}

/// The end of a move is the end of its loan.
pub(super) fn returned(open: &OpenMove<'_>, workload: &Workload) -> Option<Verdict> {
    let write = give_back(open.loan?, workload)?;
    Some(Verdict::Write(vec![write]))
}

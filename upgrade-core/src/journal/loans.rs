//! What a run has borrowed of workloads, as its journal tells it.

use std::collections::BTreeMap;

use super::{Write, WriteAnswer};
use crate::model::{Settings, StepId, Uid, Workload, WorkloadRef};

/// Settings of a workload that a run has borrowed, or has announced to borrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loan {
    /// The move that needs it.
    pub step: StepId,
    /// The workload.
    pub workload: WorkloadRef,
    /// Its uid: another object of the name owes nothing.
    pub uid: Uid,
    /// What the settings were.
    pub former: Settings,
    /// What they are meanwhile.
    pub lent: Settings,
    /// It surely was taken. If not, the workload itself shows whether it was.
    pub taken: bool,
}

impl Loan {
    /// What of it the workload still has as the run has set it; nothing of another object under the name.
    pub fn still_lent(&self, workload: &Workload) -> Settings {
        if workload.uid == self.uid {
            self.lent.equal_in(&Settings::of(workload))
        } else {
            Settings::default()
        }
    }

    /// The command by which a person gives back what is still lent.
    pub fn manual_return(&self, still: &Settings) -> String {
        let (kind, name) = (self.workload.kind.as_str().to_lowercase(), &self.workload.name);
        format!(
            "kubectl -n {} patch {kind} {} --type merge -p '{}'",
            name.namespace(),
            name.name(),
            self.former.named_in(still).merge_patch()
        )
    }
}

/// The open loans, in the order in which they were announced. One step has one at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Loans(BTreeMap<u64, Loan>);

impl Loans {
    pub(super) fn announced(&mut self, id: u64, step: &StepId, write: &Write) {
        if let Write::Lend { workload, uid, former, lent } = write {
            // A second one is announced only when the first is seen not to be so.
            self.end(step);
            let (workload, uid) = (workload.clone(), uid.clone());
            let loan = Loan { step: step.clone(), workload, uid, former: *former, lent: *lent, taken: false };
            self.0.insert(id, loan);
        }
    }

    pub(super) fn answered(&mut self, id: u64, step: &StepId, write: &Write, answer: &WriteAnswer) {
        match (write, answer) {
            (Write::Lend { .. }, WriteAnswer::Done) => {
                if let Some(loan) = self.0.get_mut(&id) {
                    loan.taken = true;
                }
            }
            (Write::Lend { .. }, WriteAnswer::Failed { .. }) => {
                self.0.remove(&id);
            }
            (Write::GiveBack { .. }, WriteAnswer::Done) => self.end(step),
            _ => {}
        }
    }

    /// The step owes nothing any more.
    pub(super) fn end(&mut self, step: &StepId) {
        self.0.retain(|_, loan| loan.step != *step);
    }

    pub(super) fn of(&self, step: &StepId) -> Option<&Loan> {
        self.0.values().find(|loan| loan.step == *step)
    }

    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Loan> {
        self.0.values()
    }
}

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

    /// What is still lent, in words, with the command that gives it back.
    pub fn owed(&self, still: &Settings) -> String {
        format!("{still} of {}; `{}` gives it back", self.workload, self.manual_return(still))
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
            let (workload, uid) = (workload.clone(), uid.clone());
            let loan = Loan { step: step.clone(), workload, uid, former: *former, lent: *lent, taken: false };
            // The same again, because the first does not show yet: whatever becomes of that, the first one stays owed.
            let same = |open: &Loan| Loan { taken: false, ..open.clone() } == loan;
            if !self.of(step).is_some_and(same) {
                self.end(step);
                self.0.insert(id, loan);
            }
        }
    }

    pub(super) fn answered(&mut self, id: u64, step: &StepId, write: &Write, answer: &WriteAnswer) {
        match (write, answer) {
            (Write::Lend { .. }, WriteAnswer::Done) => {
                for loan in self.0.values_mut().filter(|loan| loan.step == *step) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests_support::deployment;
    use crate::model::{IntOrPercent, ObjectName, WorkloadKind};
    use crate::ports::PortErrorKind;

    fn surge(count: u32) -> Settings {
        Settings { max_surge: Some(IntOrPercent::Int(count)), ..Settings::default() }
    }

    fn lend() -> Write {
        let name: ObjectName = "shop/web".parse().unwrap();
        let workload = WorkloadRef { kind: WorkloadKind::Deployment, name };
        Write::Lend { workload, uid: Uid::new("web-uid").unwrap(), former: surge(0), lent: surge(1) }
    }

    fn give_back() -> Write {
        let Write::Lend { workload, uid, former, lent } = lend() else { unreachable!() };
        Write::GiveBack { workload, uid, lent, former }
    }

    #[test]
    fn a_loan_is_open_from_its_announcement_until_it_surely_was_not_taken_or_is_given_back() {
        let step = StepId::new("1.1.1").unwrap();
        let unknown = || WriteAnswer::Unknown { message: String::new() };
        let failed = || WriteAnswer::Failed { message: String::new(), kind: PortErrorKind::Conflict };
        let mut loans = Loans::default();
        loans.announced(1, &step, &lend());
        assert!(loans.of(&step).is_some_and(|loan| !loan.taken), "a process may die right here");
        loans.answered(1, &step, &lend(), &failed());
        assert_eq!(loans.of(&step), None);
        loans.announced(2, &step, &lend());
        loans.answered(2, &step, &lend(), &unknown());
        assert!(loans.of(&step).is_some_and(|loan| !loan.taken), "the workload shows");
        loans.announced(3, &step, &lend());
        loans.answered(3, &step, &lend(), &WriteAnswer::Done);
        assert_eq!((loans.all().count(), loans.of(&step).unwrap().taken), (1, true));
        loans.answered(4, &step, &give_back(), &unknown());
        loans.answered(5, &step, &give_back(), &failed());
        assert_eq!(loans.all().count(), 1);
        loans.answered(6, &step, &give_back(), &WriteAnswer::Done);
        assert_eq!(loans.all().count(), 0);
    }

    #[test]
    fn only_what_is_as_it_was_set_is_owed_and_the_command_gives_back_just_that() {
        let mut loans = Loans::default();
        let step = StepId::new("1.1.1").unwrap();
        loans.announced(1, &step, &lend());
        let loan = loans.of(&step).unwrap();
        let lent = deployment(3, "1", "1");
        assert_eq!(loan.still_lent(&lent), surge(1));
        assert_eq!(
            loan.owed(&loan.still_lent(&lent)),
            "maxSurge 1 of Deployment shop/web; `kubectl -n shop patch deployment web --type merge -p \
             '{\"spec\":{\"strategy\":{\"rollingUpdate\":{\"maxSurge\":0}}}}'` gives it back"
        );
        assert!(loan.still_lent(&deployment(3, "2", "1")).is_empty(), "somebody has set it since");
        let mut another = deployment(3, "1", "1");
        another.uid = Uid::new("another").unwrap();
        assert!(loan.still_lent(&another).is_empty(), "another object of the name");
    }
}

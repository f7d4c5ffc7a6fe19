//! Which nodes a run has cordoned and not opened again, as its journal tells it.

use std::collections::BTreeMap;

use super::{Write, WriteAnswer};
use crate::model::{NodeName, StepId, Uid};

/// A cordon that a run has announced and not surely taken back. Whether it was made, the node shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cordoned {
    /// The number of the intent.
    pub id: u64,
    /// The step that wanted it.
    pub step: StepId,
    /// The node.
    pub node: NodeName,
    /// Its uid: the same name with another uid is another node.
    pub uid: Uid,
    /// It surely was made.
    pub made: bool,
}

/// The open cordons, in the order of their first announcement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cordons(BTreeMap<(NodeName, Uid), Cordoned>);

impl Cordons {
    pub(super) fn announced(&mut self, id: u64, step: &StepId, write: &Write) {
        if let Write::Cordon { node, uid } = write {
            let (node, uid, step) = (node.clone(), uid.clone(), step.clone());
            let key = (node.clone(), uid.clone());
            self.0.entry(key).or_insert(Cordoned { id, step, node, uid, made: false });
        }
    }

    pub(super) fn answered(&mut self, id: u64, write: &Write, answer: &WriteAnswer) {
        match (write, answer) {
            (Write::Cordon { node, uid }, WriteAnswer::Done) => {
                if let Some(cordon) = self.0.get_mut(&(node.clone(), uid.clone())) {
                    cordon.made = true;
                }
            }
            // The same again that was not made says nothing of a first one whose answer was lost.
            (Write::Cordon { .. }, WriteAnswer::Failed { .. }) => {
                self.0.retain(|_, own| own.made || own.id != id);
            }
            (Write::Uncordon { node, uid }, WriteAnswer::Done) => {
                self.0.remove(&(node.clone(), uid.clone()));
            }
            _ => {}
        }
    }

    pub(super) fn of(&self, node: &NodeName, uid: &Uid) -> Option<&Cordoned> {
        self.0.get(&(node.clone(), uid.clone()))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Cordoned> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::PortErrorKind;

    #[test]
    fn a_cordon_is_open_from_its_announcement_until_it_surely_was_not_made_or_is_taken_back() {
        let node = || (NodeName::new("n").unwrap(), Uid::new("u").unwrap());
        let cordon = || Write::Cordon { node: node().0, uid: node().1 };
        let uncordon = || Write::Uncordon { node: node().0, uid: node().1 };
        let failed = WriteAnswer::Failed { message: String::new(), kind: PortErrorKind::Conflict };
        let step = StepId::new("1.1.1").unwrap();
        let mut cordons = Cordons::default();
        cordons.announced(1, &step, &cordon());
        assert_eq!(cordons.all().count(), 1, "a process may die right here");
        cordons.answered(1, &cordon(), &failed);
        assert_eq!(cordons.all().count(), 0);
        cordons.announced(2, &step, &cordon());
        cordons.answered(2, &cordon(), &WriteAnswer::Unknown { message: String::new() });
        cordons.announced(3, &step, &cordon());
        cordons.answered(3, &cordon(), &failed);
        assert_eq!(cordons.all().count(), 1, "what became of the first nobody knows");
        cordons.announced(4, &step, &cordon());
        cordons.answered(4, &cordon(), &WriteAnswer::Done);
        cordons.announced(5, &step, &cordon());
        cordons.answered(5, &cordon(), &failed);
        assert_eq!(cordons.all().map(|cordon| cordon.id).collect::<Vec<_>>(), [2], "the first one stands");
        cordons.answered(6, &uncordon(), &failed);
        assert_eq!(cordons.all().count(), 1);
        cordons.answered(7, &uncordon(), &WriteAnswer::Done);
        assert_eq!(cordons.all().count(), 0);
    }
}

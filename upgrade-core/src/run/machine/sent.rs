//! Writes that were sent, and may not show in what is observed yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::signed;
use crate::journal::Write;
use crate::model::{StepId, Uid};

/// How long the same write is not repeated after it was answered: the watch needs a moment to show what it did.
const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// The writes of this process. None of it is needed to resume: what a write did is observed.
#[derive(Debug, Default)]
pub(in crate::run) struct Sent {
    in_flight: BTreeMap<u64, (StepId, Write)>,
    flying: BTreeSet<Write>,
    answered: BTreeMap<Write, Timestamp>,
    /// The answered ones, oldest first; one that was answered again later stands here twice.
    by_age: VecDeque<(Timestamp, Write)>,
    leaving: BTreeSet<Uid>,
}

impl Sent {
    /// A write is sent.
    pub(super) fn send(&mut self, id: u64, step: StepId, write: Write) {
        self.leaving.extend(evicted(&write).cloned());
        self.flying.insert(write.clone());
        self.in_flight.insert(id, (step, write));
    }

    /// A write came back, whatever the answer; gives it and its step.
    pub(super) fn returned(&mut self, id: u64) -> Option<(StepId, Write)> {
        let (step, write) = self.in_flight.remove(&id)?;
        self.flying.remove(&write);
        self.forget_leaving(&write);
        Some((step, write))
    }

    /// The write took effect, which may not show yet.
    pub(super) fn took_effect(&mut self, write: Write, now: Timestamp) {
        self.leaving.extend(evicted(&write).cloned());
        self.by_age.push_back((now, write.clone()));
        self.answered.insert(write, now);
    }

    /// Time has passed: what was answered long ago shows by now.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let old = |at: Timestamp| now.duration_since(at) >= signed(REPEAT_AFTER);
        while self.by_age.front().is_some_and(|(at, _)| old(*at)) {
            let Some((_, write)) = self.by_age.pop_front() else { return };
            if self.answered.get(&write).is_some_and(|at| old(*at)) {
                self.answered.remove(&write);
                self.forget_leaving(&write);
            }
        }
    }

    /// The same write is under way, or was answered a moment ago.
    pub(in crate::run) fn is_pending(&self, write: &Write) -> bool {
        self.flying.contains(write) || self.answered.contains_key(write)
    }

    /// Nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// How many writes are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Pods whose eviction is under way or was accepted a moment ago.
    pub(super) fn leaving(&self) -> &BTreeSet<Uid> {
        &self.leaving
    }

    fn forget_leaving(&mut self, write: &Write) {
        if let Some(uid) = evicted(write)
            && !self.is_pending(write)
        {
            self.leaving.remove(uid);
        }
    }
}

fn evicted(write: &Write) -> Option<&Uid> {
    if let Write::Evict { uid, .. } = write { Some(uid) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeName;

    #[test]
    fn an_evicted_pod_leaves_until_the_answer_is_a_refusal_or_has_had_time_to_show() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let uid = Uid::new("u").unwrap();
        let evict = Write::Evict { pod: "shop/web".parse().unwrap(), uid: uid.clone() };
        let step = || StepId::new("1.1.1").unwrap();
        let mut sent = Sent::default();
        sent.send(1, step(), evict.clone());
        assert!(sent.is_pending(&evict) && sent.leaving().contains(&uid));
        sent.returned(1);
        assert!(!sent.is_pending(&evict) && sent.leaving().is_empty(), "refused");
        sent.send(2, step(), evict.clone());
        sent.returned(2);
        sent.took_effect(evict.clone(), at(10));
        sent.expire(at(39));
        assert!(sent.is_pending(&evict) && sent.leaving().contains(&uid));
        sent.expire(at(40));
        assert!(!sent.is_pending(&evict) && sent.leaving().is_empty());
        assert!(sent.is_empty());
    }

    #[test]
    fn the_latest_answer_counts() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let cordon = Write::Cordon { node: NodeName::new("n").unwrap(), uid: Uid::new("u").unwrap() };
        let mut sent = Sent::default();
        sent.took_effect(cordon.clone(), at(0));
        sent.took_effect(cordon.clone(), at(20));
        sent.expire(at(30));
        assert!(sent.is_pending(&cordon));
        sent.expire(at(50));
        assert!(!sent.is_pending(&cordon));
    }
}

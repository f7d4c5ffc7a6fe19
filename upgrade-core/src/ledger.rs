//! The ledger: for each Service the fewest ready endpoints, and each moment without any.
//!
//! Downtime is measured, not believed. The ledger is fed from EndpointSlice watches; what happens while the watch is broken
//! is seen only in its result, so a gap shorter than a lost watch may be missed, and the report says when contact was lost.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::ObjectName;

/// A moment in which a Service had no ready endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The Service.
    pub service: ObjectName,
    /// When the last endpoint went.
    pub begin: Timestamp,
    /// When one came back; `None` while it lasts.
    pub end: Option<Timestamp>,
    /// What was going on: the stage and the moves under way.
    pub cause: String,
    /// The plan accepts it.
    pub accepted: bool,
}

impl Gap {
    /// How many milliseconds it has lasted at `now`.
    pub fn millis(&self, now: Timestamp) -> u64 {
        let end = self.end.unwrap_or(now);
        u64::try_from(end.duration_since(self.begin).as_millis()).unwrap_or(0)
    }
}

/// What the ledger knows of one Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// The Service.
    pub service: ObjectName,
    /// Ready endpoints when the run began to watch it.
    pub start: u32,
    /// The fewest at any time.
    pub fewest: u32,
    /// Ready endpoints now, or at the end.
    pub now: u32,
    /// Its gaps, oldest first.
    pub gaps: Vec<Gap>,
}

/// What a new count means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The last ready endpoint has gone.
    Opened(Gap),
    /// One is back.
    Closed(Gap),
}

/// The ledger of a run. A Service is in it from the moment it first had a ready endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    services: BTreeMap<ObjectName, ServiceRecord>,
    /// Services whose last gap is open and accepted by nobody.
    unaccepted: BTreeSet<ObjectName>,
}

impl Ledger {
    /// A ledger that goes on from the records of an earlier process of the same run.
    pub fn resume(records: Vec<ServiceRecord>) -> Self {
        let open = |record: &&ServiceRecord| {
            record.gaps.last().is_some_and(|gap| gap.end.is_none() && !gap.accepted)
        };
        let unaccepted = records.iter().filter(open).map(|record| record.service.clone()).collect();
        Self {
            services: records.into_iter().map(|record| (record.service.clone(), record)).collect(),
            unaccepted,
        }
    }

    /// Notes that `service` has `ready` ready endpoints at `now`; `cause` and `accepted` are for a gap that opens.
    pub fn note(
        &mut self,
        service: &ObjectName,
        ready: u32,
        now: Timestamp,
        accepted: bool,
        cause: impl FnOnce() -> String,
    ) -> Option<Notice> {
        let Some(record) = self.services.get_mut(service) else {
            if ready > 0 {
                let fresh = ServiceRecord {
                    service: service.clone(),
                    start: ready,
                    fewest: ready,
                    now: ready,
                    gaps: Vec::new(),
                };
                self.services.insert(service.clone(), fresh);
            }
            return None;
        };
        let before = std::mem::replace(&mut record.now, ready);
        record.fewest = record.fewest.min(ready);
        if before > 0 && ready == 0 {
            let gap = Gap { service: service.clone(), begin: now, end: None, cause: cause(), accepted };
            record.gaps.push(gap.clone());
            if !accepted {
                self.unaccepted.insert(service.clone());
            }
            return Some(Notice::Opened(gap));
        }
        let open = record.gaps.last_mut().filter(|gap| ready > 0 && gap.end.is_none())?;
        open.end = Some(now);
        self.unaccepted.remove(service);
        Some(Notice::Closed(open.clone()))
    }

    /// A Service that was deleted has no endpoints to miss: an open gap ends, and it is no longer counted.
    pub fn forget(&mut self, service: &ObjectName, now: Timestamp) {
        if let Some(gap) = self.services.get_mut(service).and_then(|record| record.gaps.last_mut()) {
            gap.end.get_or_insert(now);
            self.unaccepted.remove(service);
        }
    }

    /// Has the Service a ready endpoint, as far as the ledger knows?
    pub(crate) fn is_up(&self, service: &ObjectName) -> bool {
        self.services.get(service).is_some_and(|record| record.now > 0)
    }

    /// Everything, by Service.
    pub fn records(&self) -> Vec<ServiceRecord> {
        self.services.values().cloned().collect()
    }

    /// Accepts every gap that is open now: a person has seen it and said to go on.
    pub fn accept_open_gaps(&mut self) {
        for service in std::mem::take(&mut self.unaccepted) {
            if let Some(gap) = self.services.get_mut(&service).and_then(|record| record.gaps.last_mut()) {
                gap.accepted = true;
            }
        }
    }

    /// A gap that is open, or was after this moment; accepted or not.
    pub(crate) fn gap_since(&self, since: Timestamp) -> Option<&Gap> {
        let last = self.services.values().filter_map(|record| record.gaps.last());
        last.into_iter().find(|gap| gap.end.is_none_or(|end| end > since))
    }

    /// The first open gap that nobody accepted.
    pub fn unaccepted_gap(&self) -> Option<&Gap> {
        self.services.get(self.unaccepted.first()?)?.gaps.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_opens_with_the_last_endpoint_and_closes_with_the_next() {
        let web: ObjectName = "shop/web".parse().unwrap();
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let mut ledger = Ledger::default();
        // A Service that never had an endpoint has none to lose.
        assert_eq!(ledger.note(&web, 0, at(0), false, String::new), None);
        for (second, ready) in [(1, 2), (2, 1)] {
            assert_eq!(ledger.note(&web, ready, at(second), false, String::new), None);
        }
        let opened = ledger.note(&web, 0, at(3), false, || "stage 4".into());
        assert!(matches!(opened, Some(Notice::Opened(gap)) if gap.cause == "stage 4"));
        assert!(ledger.unaccepted_gap().is_some());
        assert_eq!(ledger.note(&web, 0, at(4), false, String::new), None);
        let Some(Notice::Closed(gap)) = ledger.note(&web, 1, at(5), false, String::new) else {
            panic!("not closed")
        };
        assert_eq!(gap.millis(at(9)), 2000);
        assert!(ledger.unaccepted_gap().is_none());
        let record = &ledger.records()[0];
        assert_eq!((record.start, record.fewest, record.now, record.gaps.len()), (2, 0, 1, 1));
    }
}

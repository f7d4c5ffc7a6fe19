//! The weather of a world: what calls meet, and what befalls.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::fault::{Effect, Fault, Issuer, Service, Throttling, What, When, WriteKind};
use crate::world::{Wake, World};

/// A call through a face of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A write that a run makes.
    Write(WriteKind),
    /// Everything else: a read, a trial, and whatever other people write.
    Other(Service),
}

impl Call {
    /// Who is called.
    pub(crate) fn service(self) -> Service {
        match self {
            Self::Write(write) => write.service(),
            Self::Other(service) => service,
        }
    }
}

/// What a call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sky {
    /// Nothing: it is carried out and answered.
    Clear,
    /// It is not carried out.
    Before(Symptom),
    /// It is carried out, and nobody learns what came of it.
    After(Symptom),
}

/// What the caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symptom {
    /// 500 of the service itself.
    Error,
    /// The answer breaks off.
    Cut,
    /// 429.
    Throttled,
    /// Rancher has no way to the cluster.
    AgentLost,
    /// 401.
    TokenExpired,
}

impl Symptom {
    /// What the service says to it, in its own words where it has any.
    pub(crate) fn words(self, service: Service) -> String {
        match (self, service) {
            // Kubernetes: NewInternalError of an etcd that did not answer in time.
            (Self::Error, Service::Kubernetes) => {
                "Internal error occurred: etcdserver: request timed out".to_owned()
            }
            (Self::Error, Service::Azure | Service::Rancher) => {
                "Encountered internal server error.".to_owned()
            }
            (Self::Cut, _) => "the connection broke before the answer was complete".to_owned(),
            // Kubernetes: priority and fairness.
            (Self::Throttled, _) => "Too many requests, please try again later.".to_owned(),
            // Rancher: pkg/dialer/factory.go, through its proxy's error responder.
            (Self::AgentLost, _) => "error trying to reach service: cluster agent disconnected".to_owned(),
            (Self::TokenExpired, Service::Azure) => "The access token has expired.".to_owned(),
            (Self::TokenExpired, Service::Kubernetes | Service::Rancher) => {
                "Unauthorized 401: must authenticate".to_owned()
            }
        }
    }
}

/// What will befall, or cease.
#[derive(Clone, Debug)]
pub(crate) enum FaultWake {
    /// This befalls.
    Befalls(What),
    /// Something that lasts is over; whoever waits looks again.
    Ceases,
}

/// The faults that wait for their occasion, and those that last.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    /// Those that wait for a write.
    armed: Vec<(WriteKind, u32, What)>,
    /// How many writes of a kind there were since the handover.
    writes: BTreeMap<WriteKind, u32>,
    /// What the next writes that come through meet, each one of them.
    next: VecDeque<(Symptom, Effect)>,
    /// Until when the API server refuses callers; Azure keeps its own books.
    throttled: Option<Timestamp>,
    /// Until when a token is refused.
    expired: BTreeMap<Service, Timestamp>,
    /// Until when the agent is lost.
    agent_lost: Option<Timestamp>,
    /// Counts the times that every watch broke.
    cuts: u64,
    /// Counts the times that every watch became too old.
    expiries: u64,
    befallen: Vec<(Timestamp, What)>,
}

/// How far the two kinds of ends of watches have come; a watch compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WatchMarks {
    pub(crate) cuts: u64,
    pub(crate) expiries: u64,
}

impl Weather {
    fn standing(&self, service: Service, now: Timestamp) -> Option<Symptom> {
        let door = if service == Service::Azure { Service::Azure } else { Service::Rancher };
        if self.expired.get(&door).is_some_and(|until| now < *until) {
            return Some(Symptom::TokenExpired);
        }
        if service == Service::Kubernetes && self.agent_is_lost(now) {
            return Some(Symptom::AgentLost);
        }
        let throttled = service == Service::Kubernetes && self.throttled.is_some_and(|until| now < until);
        throttled.then_some(Symptom::Throttled)
    }

    /// Is the tunnel to the cluster down?
    pub(crate) fn agent_is_lost(&self, now: Timestamp) -> bool {
        self.agent_lost.is_some_and(|until| now < until)
    }

    pub(crate) fn watch_marks(&self) -> WatchMarks {
        WatchMarks { cuts: self.cuts, expiries: self.expiries }
    }
}

impl World {
    /// The faults of a scenario are armed: offsets and writes count from now.
    pub(crate) fn begin_faults(&mut self, faults: &[Fault]) {
        for fault in faults {
            self.add_fault(fault);
        }
    }

    /// Arms one more; its offset counts from now. A crash is not the world's to carry out and is passed over.
    pub fn add_fault(&mut self, fault: &Fault) {
        let what = fault.what().clone();
        match fault.when() {
            When::After(after) => self.schedule(after, Wake::Fault(FaultWake::Befalls(what))),
            When::Call { write, nth } => self.weather.armed.push((write, nth, what)),
            When::Record(_) => {}
        }
    }

    /// What has befallen so far, and when.
    pub fn befallen(&self) -> &[(Timestamp, What)] {
        &self.weather.befallen
    }

    /// What the call meets. Asked once for each, before anybody else looks at it.
    pub(crate) fn meet(&mut self, call: Call) -> Sky {
        if let Call::Write(write) = call {
            self.count(write);
        }
        if let Some(symptom) = self.weather.standing(call.service(), self.now()) {
            return Sky::Before(symptom);
        }
        let met = if let Call::Write(_) = call { self.weather.next.pop_front() } else { None };
        match met {
            None => Sky::Clear,
            Some((symptom, Effect::NotDone)) => Sky::Before(symptom),
            Some((symptom, Effect::Done)) => Sky::After(symptom),
        }
    }

    /// Counts a write, and lets befall what has waited for it.
    fn count(&mut self, write: WriteKind) {
        let number = self.weather.writes.entry(write).or_default();
        *number += 1;
        let number = *number;
        let due = self.weather.armed.extract_if(.., |(kind, nth, _)| (*kind, *nth) == (write, number));
        let due: Vec<What> = due.map(|(.., what)| what).collect();
        for what in due {
            self.befall(what);
        }
    }

    fn befall(&mut self, what: What) {
        let now = self.now();
        self.weather.befallen.push((now, what.clone()));
        let weather = &mut self.weather;
        match what {
            What::Error(effect) => weather.next.push_back((Symptom::Error, effect)),
            What::Cut(effect) => weather.next.push_back((Symptom::Cut, effect)),
            What::Throttled { by: Throttling::Kubernetes, lasts } => weather.throttled = Some(now + lasts),
            What::Throttled { by: Throttling::Azure, lasts } => self.throttle_azure(now + lasts),
            What::WatchesCut => weather.cuts += 1,
            What::WatchesExpired => weather.expiries += 1,
            What::AgentLost(lasts) => {
                weather.agent_lost = Some(now + lasts);
                weather.cuts += 1;
                self.schedule(lasts, Wake::Fault(FaultWake::Ceases));
            }
            What::TokenExpired { of: of @ (Issuer::Rancher | Issuer::Azure), lasts } => {
                weather.expired.insert(of.into(), now + lasts);
            }
            What::NeverJoin { pool, machines } => self.never_join(&pool, machines),
            What::SlowBoot { pool, factor } => self.slow_boot(&pool, factor),
            What::Tainted { pool, taint } => self.taint_boots(&pool, &taint),
            What::ImageDeleted(image) => self.delete_image(&image),
            What::ImageCrashes { image, after } => self.let_image_crash(image, after),
            What::OperationFails { code, message } => self.fail_next_operation(&code, &message),
            What::InRancher(deed) => self.in_rancher(deed),
            What::AnotherCluster => crate::scenario::other_kube_system(self),
            // Never armed.
            What::Crash => {}
        }
        self.touch();
    }
}

/// Carries out what is due.
pub(crate) fn on_wake(world: &mut World, wake: FaultWake) {
    match wake {
        FaultWake::Befalls(what) => world.befall(what),
        FaultWake::Ceases => world.touch(),
    }
}

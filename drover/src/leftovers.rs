//! What runs have left behind on a cluster, and giving it back.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::mpsc::unbounded_channel;
use upgrade_core::journal::{Record, RunState};
use upgrade_core::leftovers::{CleanError, LeftBehind, Leftover, LeftoverKind, Seen, clean, free_lock};
use upgrade_core::lock::{LockHolder, LockTimes, Pulse, Sign, lock_name};
use upgrade_core::model::RunId;
use upgrade_core::ports::{CallOutcome, Journal, PortError, PortErrorKind, Ports, RemoteService};
use upgrade_core::run::StopSignal;

use crate::cluster::{Cluster, Services};
use crate::error::Error;
use crate::gate::PauseAlways;
use crate::holder;
use crate::journal::{JournalPlace, Journals};
use crate::run::Channel;

/// What is told while something is looked for or given back.
pub type Tell<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// A search for what runs have left on a cluster. Nothing happens before [`find`](Self::find) or [`clean`](Self::clean).
#[must_use = "nothing happens before `find` or `clean`"]
#[derive(Clone)]
pub struct Leftovers {
    cluster: Cluster,
    journals: JournalPlace,
}

/// What was given back, and what is left then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CleanReport {
    /// What was written, in words, in its order.
    pub written: Vec<String>,
    /// What is left, as it was seen afterwards.
    pub rest: LeftBehind,
}

impl CleanReport {
    /// What the command exits with: 0 if nothing is left.
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.rest.left.is_empty())
    }
}

impl Leftovers {
    pub(crate) fn new(cluster: Cluster, journals: JournalPlace) -> Self {
        Self { cluster, journals }
    }

    /// Where journals are; the directory `./journal` unless set.
    pub fn journal(self, place: impl Into<JournalPlace>) -> Self {
        Self { journals: place.into(), ..self }
    }

    /// Looks at the cluster, at Azure and into the journals. Never writes. Where somebody holds the lock, up to a minute is waited
    /// for a sign of life.
    ///
    /// # Errors
    /// [`Error::Remote`] if the cluster or Azure cannot be seen. A journal that cannot be read is named in the result.
    pub async fn find(&self, tell: Tell<'_>) -> Result<LeftBehind, Error> {
        let journals = self.cluster.journal_access().journals(&self.journals).await?;
        let sign = self.sign(tell).await?;
        Ok(self.gather(&journals, &sign).await?.0)
    }

    /// Gives back what is left, newest run first: proves the identity anew, takes the lock of the cluster, and writes into each
    /// run's journal before it writes to the cluster. A run whose leftovers are given back is given up: it cannot be resumed.
    /// What cannot be given back is in the report, with the command for a person.
    ///
    /// # Errors
    /// [`Error::Locked`] if a run is at work on the cluster; then nothing was changed.
    pub async fn clean(&self, stop: &mut StopSignal, tell: Tell<'_>) -> Result<CleanReport, Error> {
        let journals = self.cluster.journal_access().journals(&self.journals).await?;
        // Whether the holder of the lock is alive shows when it is sought.
        let (before, states) = self.gather(&journals, &self.glance().await?).await?;
        let (mut written, mut took_the_lock, mut stopped) = (Vec::new(), false, false);
        for run in states.iter().filter_map(RunState::run) {
            let owes = |left: &Leftover| left.run.as_ref() == Some(run) && left.kind != LeftoverKind::Lock;
            if stopped || !before.left.iter().any(owes) {
                continue;
            }
            tell(&format!("giving back what run {run} has left"));
            let (journal, state) = match journals.run(run).resume().await {
                Ok(taken) => taken,
                Err(error) => return Err(self.at_work(tell).await?.unwrap_or(error)),
            };
            let ports = self.ports(journal);
            let cleaned = clean(state, &ports, holder::person(), stop, tell).await;
            let cleaned = cleaned.map_err(|error| self.failed(error))?;
            took_the_lock = true;
            stopped = cleaned.stopped;
            written.extend(cleaned.written);
        }
        let orphan = before.left.iter().find(|left| left.kind == LeftoverKind::Lock);
        if let Some(orphan) = orphan.filter(|_| !took_the_lock && !stopped) {
            let nobody = || RunId::new("leftovers").expect("a literal");
            let run = orphan.run.clone().unwrap_or_else(nobody);
            let freed = free_lock(&self.ports(Arc::new(NoJournal)), &run, stop, tell).await;
            freed.map_err(|error| self.failed(error))?;
            written.push(format!("give back the lock {}", orphan.object));
        }
        let (rest, _) = self.gather(&journals, &self.glance().await?).await?;
        Ok(CleanReport { written, rest })
    }

    fn ports(&self, journal: Arc<dyn Journal>) -> Ports {
        let (nobody, _) = unbounded_channel();
        self.cluster.ports(journal, Arc::new(PauseAlways), Arc::new(Channel(nobody)))
    }

    /// What there is, and the journals of this cluster, newest run first.
    async fn gather(&self, journals: &Journals, sign: &Sign) -> Result<(LeftBehind, Vec<RunState>), Error> {
        let identity = self.cluster.identity();
        let (mut states, mut unread) = (Vec::new(), Vec::new());
        for run in journals.runs().await?.iter().rev() {
            match journals.run(run).load().await {
                Ok(state) => {
                    if state.plan().is_some_and(|plan| plan.cluster.is_same_cluster(identity)) {
                        states.push(state);
                    }
                }
                Err(error) => unread.push(error.to_string()),
            }
        }
        if states.is_empty() {
            unread.push(
                "no journal of a run on this cluster was found: cordons and borrowed settings show in journals alone"
                    .to_owned(),
            );
        }
        let Services { kubernetes, azure, rancher, .. } = self.cluster.services();
        let seen = Seen::look(&**kubernetes, &**azure, &**rancher).await?;
        Ok((LeftBehind::of(identity, sign, &seen, &states, unread), states))
    }

    /// The refusal, if a run is at work on the cluster.
    async fn at_work(&self, tell: Tell<'_>) -> Result<Option<Error>, Error> {
        Ok(match self.sign(tell).await? {
            Sign::Alive(record) => Some(Error::Locked { by: LockHolder::from(&record) }),
            Sign::Free | Sign::Silent(_) | Sign::Unclear { .. } => None,
        })
    }

    /// What the lock says at the first look.
    async fn glance(&self) -> Result<Sign, Error> {
        let Services { kubernetes, clock, .. } = self.cluster.services();
        let lease = kubernetes.lease(&lock_name()).await?;
        Ok(Pulse::new(LockTimes::default()).on(clock.elapsed(), lease.as_ref()))
    }

    /// Is somebody at work on the cluster? Shows within a minute.
    async fn sign(&self, tell: Tell<'_>) -> Result<Sign, Error> {
        let Services { kubernetes, clock, .. } = self.cluster.services();
        let mut pulse = Pulse::new(LockTimes::default());
        let mut told = false;
        loop {
            let lease = kubernetes.lease(&lock_name()).await?;
            let now = clock.elapsed();
            let (record, look) = match pulse.on(now, lease.as_ref()) {
                Sign::Unclear { record, look } => (record, look),
                sign @ (Sign::Free | Sign::Alive(_) | Sign::Silent(_)) => return Ok(sign),
            };
            if !std::mem::replace(&mut told, true) {
                let holder = LockHolder::from(&record);
                tell(&format!("the cluster is locked by {holder}; looking whether it is still at work"));
            }
            clock.sleep_until(clock.now() + look.saturating_sub(now)).await;
        }
    }

    fn failed(&self, error: CleanError) -> Error {
        match error {
            CleanError::Locked(by) => Error::Locked { by },
            CleanError::Identity(why) => {
                Error::Identity { cluster: self.cluster.name().to_owned(), why, evidence: Vec::new() }
            }
            CleanError::Unseen(error) => Error::Remote(error),
            error => Error::NotCleaned { cluster: self.cluster.name().to_owned(), source: error },
        }
    }
}

/// There is none: whoever only frees the lock writes nothing down.
struct NoJournal;

#[async_trait]
impl Journal for NoJournal {
    async fn append(&self, _: &Record) -> Result<(), PortError> {
        let (service, kind) = (RemoteService::Journal, PortErrorKind::Rejected);
        Err(PortError::new(service, kind, CallOutcome::NothingDone, "there is no journal"))
    }
}

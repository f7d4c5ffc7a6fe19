//! Gives back what a run has left: observes, announces, writes once, and observes again, under the lock of the cluster.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::stream::StreamExt;
use futures::{FutureExt, select_biased};
use jiff::Timestamp;

use super::decide::{self, Next, Task};
use super::{Leftover, Seen};
use crate::event::RunOutcome;
use crate::inventory::ClusterIdentity;
use crate::journal::{Entry, IllegalRecord, Record, RunState, Write, WriteAnswer};
use crate::lock::LockHolder;
use crate::model::RunId;
use crate::ports::{PortError, Ports};
use crate::run::{Keeper, LockNews, StopSignal, send_if};

/// How long the lock is sought. A process that has died keeps it for a minute.
const SEEK: Duration = Duration::from_secs(300);
/// The pause between two looks.
const PACE: Duration = Duration::from_secs(5);
/// How long a lost contact is waited for.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the same write is tried.
const TRIES: u32 = 3;

/// What came of cleaning up after a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// The run.
    pub run: RunId,
    /// What was written, in words, in its order.
    pub written: Vec<String>,
    /// What is left, each with its obstacle.
    pub left: Vec<Leftover>,
    /// Somebody asked to stop before everything was tried.
    pub stopped: bool,
}

/// Why nothing more could be given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CleanError {
    /// A run works on the cluster. Nothing was changed.
    #[error("the cluster is locked by {0}; nothing was changed")]
    Locked(LockHolder),
    /// The lock could not be taken in time. Nothing was changed.
    #[error("the lock of the cluster could not be taken; nothing was changed: {0}")]
    NotLocked(String),
    /// Somebody else has taken the lock meanwhile. Nothing was written after that was seen.
    #[error("the lock of the cluster was lost; nothing was written after that was seen")]
    LockLost,
    /// This is not the cluster that the run is for. Nothing was changed.
    #[error("this is not the cluster of the run; nothing was changed: {0}")]
    Identity(String),
    /// The cluster or Azure could not be seen.
    #[error("what is left cannot be seen: {0}")]
    Unseen(#[source] PortError),
    /// The journal could not be written. Nothing was written to the cluster after that.
    #[error("the journal cannot be written; nothing was done after that")]
    Journal(#[source] PortError),
    /// The journal does not allow it.
    #[error("the run cannot be given up")]
    Illegal(#[source] IllegalRecord),
}

/// Gives back what the run of this journal has left, what it took last first, and closes the run as given up: it cannot be gone on
/// with afterwards. `by` says who wants that. A request to stop counts before the next write.
///
/// # Errors
/// Whatever keeps it from looking or from writing; what cannot be given back by itself is in [`Cleaned::left`].
pub async fn clean(
    state: RunState,
    ports: &Ports,
    by: String,
    stop: &mut StopSignal,
    tell: impl Fn(&str) + Send + Sync,
) -> Result<Cleaned, CleanError> {
    let (Some(run), Some(plan)) = (state.run().cloned(), state.plan()) else {
        let what = "a journal begins with its header".to_owned();
        return Err(CleanError::Identity(what));
    };
    let cluster = plan.cluster.clone();
    let mut hand = Hand::new(ports, &run, stop, &tell);
    hand.take().await?;
    let mut work = Work {
        state,
        ports,
        run,
        cluster,
        waits: BTreeMap::new(),
        tries: BTreeMap::new(),
        written: Vec::new(),
        tell: &tell,
    };
    let ended = work.perform(&mut hand, by).await;
    // A write without an answer may be on its way: then nobody is let in before the Lease has ended by itself.
    if work.state.open_intents().next().is_none() {
        hand.keeper.give_back().await;
    }
    ended
}

/// Takes the lock of a process that has died, and gives it back.
///
/// # Errors
/// [`CleanError::Locked`] if it is alive after all.
pub async fn free_lock(
    ports: &Ports,
    run: &RunId,
    stop: &mut StopSignal,
    tell: impl Fn(&str) + Send + Sync,
) -> Result<(), CleanError> {
    let mut hand = Hand::new(ports, run, stop, &tell);
    hand.take().await?;
    hand.keeper.give_back().await;
    Ok(())
}

/// The lock of the cluster, kept while something else is done, and whoever asks to stop.
struct Hand<'a> {
    keeper: Keeper,
    ports: &'a Ports,
    stop: &'a mut StopSignal,
    stopped: bool,
    tell: &'a (dyn Fn(&str) + Send + Sync),
}

impl<'a> Hand<'a> {
    fn new(
        ports: &'a Ports,
        run: &RunId,
        stop: &'a mut StopSignal,
        tell: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Self {
        Self { keeper: Keeper::new(ports, run), ports, stop, stopped: false, tell }
    }

    async fn take(&mut self) -> Result<(), CleanError> {
        let until = self.ports.clock.now() + SEEK;
        self.keeper.seek();
        let mut why = "nobody answered".to_owned();
        loop {
            let mut end = self.ports.clock.sleep_until(until).fuse();
            let news = select_biased! {
                () = self.stop.select_next_some() => {
                    self.keeper.give_back().await;
                    return Err(CleanError::NotLocked("somebody asked to stop".to_owned()));
                }
                news = pin!(self.keeper.news().fuse()) => news,
                () = end => return Err(CleanError::NotLocked(why)),
            };
            match news {
                LockNews::Held => return Ok(()),
                LockNews::Refused(by) => return Err(CleanError::Locked(by)),
                LockNews::Occupied(by) => {
                    why = format!("it is held by {by}");
                    (self.tell)(&format!("the lock is held by {by}; looking whether it is still at work"));
                }
                LockNews::Failed(error) if !error.is_retryable() => {
                    return Err(CleanError::NotLocked(error.to_string()));
                }
                LockNews::Failed(error) => why = error.to_string(),
                LockNews::Lost(_) => return Err(CleanError::LockLost),
                LockNews::StopAsked(_) => self.stopped = true,
            }
        }
    }

    /// Waits for something while the lock is renewed.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, CleanError> {
        let mut work = pin!(work.fuse());
        loop {
            select_biased! {
                () = self.stop.select_next_some() => self.stopped = true,
                news = pin!(self.keeper.news().fuse()) => match news {
                    LockNews::Lost(_) => return Err(CleanError::LockLost),
                    LockNews::StopAsked(_) => self.stopped = true,
                    LockNews::Held | LockNews::Occupied(_) | LockNews::Refused(_) | LockNews::Failed(_) => {}
                },
                done = work => return Ok(done),
            }
        }
    }
}

/// Cleaning up after one run.
struct Work<'a> {
    state: RunState,
    ports: &'a Ports,
    run: RunId,
    cluster: ClusterIdentity,
    /// Since when what is waited for.
    waits: BTreeMap<String, Timestamp>,
    /// How often a write was tried, and what was said last.
    tries: BTreeMap<Write, (u32, String)>,
    written: Vec<String>,
    tell: &'a (dyn Fn(&str) + Send + Sync),
}

impl Work<'_> {
    async fn perform(&mut self, hand: &mut Hand<'_>, by: String) -> Result<Cleaned, CleanError> {
        self.prove(hand).await?;
        self.record(hand, Entry::Opened).await?;
        self.record(hand, Entry::GivenUp { by }).await?;
        let open: Vec<u64> = self.state.open_intents().map(|(id, _, _)| id).collect();
        for id in open {
            let message = "the process ended before the answer came".to_owned();
            self.record(hand, Entry::Answered { id, answer: WriteAnswer::Unknown { message } }).await?;
        }
        let left = loop {
            let seen = self.look(hand).await?;
            let tasks = decide::tasks(&self.state, &seen, &self.cluster);
            let mut left = Vec::new();
            let mut goes_on = false;
            for task in tasks {
                let obstacle = if hand.stopped {
                    Some("somebody asked to stop".to_owned())
                } else {
                    self.advance(hand, &task).await?
                };
                goes_on |= obstacle.is_none();
                left.push(Leftover { obstacle, ..task.leftover });
            }
            if !goes_on {
                break left;
            }
            let clock = &self.ports.clock;
            hand.beside(clock.sleep_until(clock.now() + PACE)).await?;
        };
        let outcome = self.outcome(&left);
        let ledger = self.state.ledger().to_vec();
        self.record(hand, Entry::Closed { outcome, ledger }).await?;
        Ok(Cleaned {
            run: self.run.clone(),
            written: std::mem::take(&mut self.written),
            left,
            stopped: hand.stopped,
        })
    }

    async fn prove(&self, hand: &mut Hand<'_>) -> Result<(), CleanError> {
        let identity = hand.beside(self.ports.rancher.identity()).await?.map_err(CleanError::Unseen)?;
        if !identity.is_same_cluster(&self.cluster) {
            return Err(CleanError::Identity(identity.difference(&self.cluster)));
        }
        identity.proof().map_err(|unproven| CleanError::Identity(unproven.to_string()))
    }

    /// Looks at everything; a contact that is lost for a moment is waited for.
    async fn look(&self, hand: &mut Hand<'_>) -> Result<Seen, CleanError> {
        let Ports { kubernetes, azure, rancher, clock, .. } = self.ports;
        let until = clock.now() + PATIENCE;
        loop {
            let seen = hand.beside(Seen::look(&**kubernetes, &**azure, &**rancher)).await?;
            match seen {
                Err(error) if error.is_retryable() && clock.now() < until && !hand.stopped => {
                    (self.tell)(&format!("contact lost, trying again: {error}"));
                    hand.beside(clock.sleep_until(clock.now() + PACE)).await?;
                }
                seen => return seen.map_err(CleanError::Unseen),
            }
        }
    }

    /// Does what is next about a leftover; gives the obstacle if there is nothing more to be done.
    async fn advance(&mut self, hand: &mut Hand<'_>, task: &Task) -> Result<Option<String>, CleanError> {
        match &task.next {
            Next::Stuck(why) => Ok(Some(why.clone())),
            Next::Wait { what, limit } => {
                let now = self.ports.clock.now();
                let since = *self.waits.entry(task.leftover.object.clone()).or_insert_with(|| {
                    (self.tell)(&format!("waiting for {what}"));
                    now
                });
                let waited = Duration::try_from(now.duration_since(since)).unwrap_or_default();
                let limit_told = crate::span::show(*limit);
                Ok((waited > *limit).then(|| format!("waited {limit_told} for {what}")))
            }
            Next::Write(writes) => {
                let mut obstacle = None;
                for write in writes {
                    match self.tries.get(write) {
                        Some((TRIES.., said)) => obstacle = Some(said.clone()),
                        _ => self.write(hand, task, write.clone()).await?,
                    }
                }
                Ok(obstacle)
            }
        }
    }

    async fn write(&mut self, hand: &mut Hand<'_>, task: &Task, write: Write) -> Result<(), CleanError> {
        let id = self.state.next_intent();
        (self.tell)(&write.to_string());
        self.record(hand, Entry::Intent { id, step: task.step.clone(), write: write.clone() }).await?;
        let permit = hand.keeper.permit();
        let sent = send_if(self.ports, &self.run, write.clone(), permit);
        let (answer, _) = hand.beside(sent).await?;
        self.record(hand, Entry::Answered { id, answer: answer.clone() }).await?;
        let (tries, said) = match answer {
            WriteAnswer::Done | WriteAnswer::Accepted { .. } | WriteAnswer::Eviction { .. } => {
                self.written.push(write.to_string());
                (1, "it was written and does not show".to_owned())
            }
            WriteAnswer::Failed { message, kind } if !kind.is_retryable() => (TRIES, message),
            WriteAnswer::Failed { message, .. } | WriteAnswer::Unknown { message } => (1, message),
        };
        let tried = self.tries.entry(write).or_default();
        *tried = (tried.0.saturating_add(tries), said);
        Ok(())
    }

    /// A run whose every loan is returned has ended as if it had been stopped; else it holds what is left.
    fn outcome(&self, left: &[Leftover]) -> RunOutcome {
        let plan = self.state.plan();
        let Some(step) = plan.and_then(|plan| plan.steps().last()).filter(|_| !left.is_empty()) else {
            return RunOutcome::Aborted;
        };
        let owed = left.iter().map(|left| {
            let why = left.obstacle.as_deref().unwrap_or_default();
            format!("{} cannot be given back ({why}); do it with `{}`", left.object, left.by_hand)
        });
        let cause = owed.collect::<Vec<_>>().join("; ");
        RunOutcome::Held { step: step.id.clone(), title: "give back what the run has left".to_owned(), cause }
    }

    async fn record(&mut self, hand: &mut Hand<'_>, entry: Entry) -> Result<(), CleanError> {
        let record = Record { seq: self.state.next_seq(), at: self.ports.clock.now(), entry };
        self.state.apply(&record).map_err(CleanError::Illegal)?;
        hand.beside(self.ports.journal.append(&record)).await?.map_err(CleanError::Journal)
    }
}

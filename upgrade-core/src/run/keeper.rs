//! Keeps the lock of the cluster while a run works: performs what [`Lock`] decides, and tells the run what it must know.

use std::future::{Future, pending};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};

use crate::lock::{Lease, Lock, LockAction, LockHolder, LockTimes, StopRequest, lock_name};
use crate::model::RunId;
use crate::ports::{CallOutcome, Clock, PortError, PortErrorKind, Ports, RemoteService};

/// How long one call about the Lease may take: renewals must get their turns before the deadline.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a run tries to give the lock back at its end. After that it ends by itself.
const PARTING: Duration = Duration::from_secs(15);

/// What has become of the lock of the cluster.
#[derive(Debug)]
pub enum LockNews {
    /// It is held.
    Held,
    /// Somebody else holds it. Whether he is still alive will show.
    Occupied(LockHolder),
    /// Somebody else holds it and is alive. It is not sought any longer.
    Refused(LockHolder),
    /// It could not be read or taken; this is tried again.
    Failed(PortError),
    /// It was held, and is not any more: somebody else has it, or (`None`) its Lease was deleted or emptied.
    Lost(Option<LockHolder>),
    /// Somebody asks the run to stop, by the Lease. Told once, and once more if more is asked.
    StopAsked(StopRequest),
}

/// The answer to one call.
enum Answer {
    Read(Result<Option<Lease>, PortError>),
    Written { sent: Duration, left: Result<Lease, PortError> },
}

/// One process's hand on the lock.
pub(crate) struct Keeper {
    lock: Lock,
    ports: Ports,
    doing: Option<BoxFuture<'static, Answer>>,
    /// What is being done is a write.
    writes: bool,
    /// It was sought, and may be held.
    sought: bool,
    told_of: Option<String>,
    told_to_stop: Option<StopRequest>,
    last_error: Option<PortError>,
}

impl Keeper {
    pub(crate) fn new(ports: &Ports, run: &RunId) -> Self {
        Self {
            lock: Lock::new(ports.holder.clone(), run.clone(), LockTimes::default()),
            ports: ports.clone(),
            doing: None,
            writes: false,
            sought: false,
            told_of: None,
            told_to_stop: None,
            last_error: None,
        }
    }

    /// Begins to seek the lock.
    pub(crate) fn seek(&mut self) {
        self.sought = true;
        self.perform(LockAction::Look { at: self.ports.clock.elapsed() });
    }

    /// Waits for the next thing that the run must know. Dropping the future loses nothing.
    pub(crate) async fn news(&mut self) -> LockNews {
        loop {
            let Some(doing) = &mut self.doing else { return pending().await };
            let answer = doing.await;
            if let Some(news) = self.take_in(answer) {
                return news;
            }
        }
    }

    /// May a write be sent now? If not, it is surely not done, and this is why.
    pub(crate) fn permit(&self) -> Result<(), PortError> {
        if self.lock.may_write(self.ports.clock.elapsed()) {
            return Ok(());
        }
        let (kind, why) = match &self.last_error {
            Some(error) => (error.kind, format!(": {error}")),
            None => (PortErrorKind::Unreachable, String::new()),
        };
        let message = format!("not sent, because the lock of the cluster is not held now{why}");
        Err(PortError::new(RemoteService::Kubernetes, kind, CallOutcome::NothingDone, message))
    }

    /// Gives the lock back, if it was sought. After that nothing may be written.
    pub(crate) async fn give_back(&mut self) {
        if !self.sought {
            return;
        }
        // A write of the lock itself is answered first.
        if self.writes
            && let Some(doing) = self.doing.take()
        {
            let answer = doing.await;
            let _: LockAction = self.answered(answer);
        }
        let until = self.ports.clock.elapsed() + PARTING;
        let mut action = self.lock.give_back(self.ports.clock.elapsed());
        while !matches!(action, LockAction::Rest) && self.ports.clock.elapsed() < until {
            self.perform(action);
            let Some(doing) = self.doing.take() else { return };
            let answer = doing.await;
            action = self.answered(answer);
        }
    }

    fn take_in(&mut self, answer: Answer) -> Option<LockNews> {
        let before = self.lock.transitions().is_some();
        let action = self.answered(answer);
        if let Some(record) = self.lock.refused_by() {
            let by = record.into();
            self.doing = None;
            return Some(LockNews::Refused(by));
        }
        self.perform(action);
        match (before, self.lock.transitions().is_some()) {
            (false, true) => Some(LockNews::Held),
            (true, false) => Some(LockNews::Lost(self.lock.held_by().map(Into::into))),
            (true, true) => self.request(),
            (false, false) => self.obstacle(),
        }
    }

    /// A request to stop, if it was not told already.
    fn request(&mut self) -> Option<LockNews> {
        let asked = self.lock.asked_to_stop()?.clone();
        let told = self.told_to_stop.replace(asked.clone());
        (told.as_ref() != Some(&asked)).then_some(LockNews::StopAsked(asked))
    }

    /// Why the lock is not held yet, if it was not said already.
    fn obstacle(&mut self) -> Option<LockNews> {
        if let Some(error) = &self.last_error {
            return Some(LockNews::Failed(error.clone()));
        }
        let record = self.lock.held_by()?;
        let told = self.told_of.replace(record.holder.clone());
        (told.as_ref() != Some(&record.holder)).then(|| LockNews::Occupied(record.into()))
    }

    /// Hands an answer to the lock, which says what is next.
    fn answered(&mut self, answer: Answer) -> LockAction {
        self.doing = None;
        let (now, wall) = (self.ports.clock.elapsed(), self.ports.clock.now());
        match answer {
            Answer::Read(Ok(lease)) => {
                self.last_error = None;
                self.lock.on(now, wall, lease)
            }
            Answer::Read(Err(error)) => {
                self.last_error = Some(error);
                self.lock.unread(now)
            }
            Answer::Written { sent, left } => {
                let (left, error) = match left {
                    Ok(lease) => (Some(lease), None),
                    Err(error) => (None, Some(error)),
                };
                self.last_error = error;
                self.lock.answered(sent, now, left)
            }
        }
    }

    fn perform(&mut self, action: LockAction) {
        let (clock, kubernetes, name) =
            (self.ports.clock.clone(), self.ports.kubernetes.clone(), lock_name());
        self.writes = matches!(action, LockAction::Create(_) | LockAction::Update { .. });
        let sent = clock.elapsed();
        self.doing = match action {
            LockAction::Rest => None,
            LockAction::Look { at } => Some(
                async move {
                    clock.sleep_until(clock.now() + at.saturating_sub(sent)).await;
                    Answer::Read(in_time(&*clock, kubernetes.lease(&name)).await)
                }
                .boxed(),
            ),
            LockAction::Create(record) => Some(
                async move {
                    let left = in_time(&*clock, kubernetes.create_lease(&name, &record)).await;
                    Answer::Written { sent, left }
                }
                .boxed(),
            ),
            LockAction::Update { over, record } => Some(
                async move {
                    let left = in_time(&*clock, kubernetes.update_lease(&name, &over, &record)).await;
                    Answer::Written { sent, left }
                }
                .boxed(),
            ),
        };
    }
}

/// Waits for a call as long as there is patience. What it did after that, the Lease will show.
async fn in_time<T>(
    clock: &dyn Clock,
    call: impl Future<Output = Result<T, PortError>> + Unpin,
) -> Result<T, PortError> {
    let end = clock.sleep_until(clock.now() + PATIENCE);
    match select(call, end).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => {
            let message = format!("no answer about the lock in {}", crate::span::show(PATIENCE));
            Err(PortError::new(
                RemoteService::Kubernetes,
                PortErrorKind::Unreachable,
                CallOutcome::Unknown,
                message,
            ))
        }
    }
}

//! Asking a run that another process works on to stop.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use upgrade_core::event::RunOutcome;
use upgrade_core::inventory::ClusterIdentity;
use upgrade_core::journal::RunState;
use upgrade_core::lock::{AskAction, AskEnd, AskStage, Asking, LockTimes, StopRequest, lock_name};
use upgrade_core::model::RunId;

use crate::cluster::{Cluster, Services};
use crate::error::Error;
use crate::holder;

/// How long is waited for a run to stop, unless somebody says otherwise. A rollout that is under way comes to its end first, and
/// where Rancher is a second writer it may have to adopt a change.
const WAIT: Duration = Duration::from_secs(600);

/// A request to stop that is about to be made. Nothing happens before [`perform`](Self::perform).
///
/// The request travels through the cluster: it stands in the Lease that the run's process renews, so that it is heard wherever
/// that process is. See [`upgrade_core::lock::Asking`].
#[must_use = "nothing happens before `perform`"]
#[derive(Clone)]
pub struct Abort {
    cluster: Cluster,
    run: RunId,
    at_once: bool,
    wait: Duration,
}

/// How far a request to stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortProgress {
    /// Whether the run is alive shows within so long.
    Looking(Duration),
    /// The request stands in the cluster's Lease; the run reads it with its next renewal.
    Asked,
    /// The run has read it, and stops.
    Heard,
}

impl fmt::Display for AbortProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Looking(longest) => write!(
                f,
                "looking whether the run is at work, which shows within {}",
                upgrade_core::span::show(*longest)
            ),
            Self::Asked => write!(f, "asked, by Lease {}; the run reads it within seconds", lock_name()),
            Self::Heard => f.write_str("the run has read it and stops"),
        }
    }
}

/// What came of a request to stop, with what the run's journal says, if that can be read from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AbortReport {
    /// The run.
    pub run: RunId,
    /// What came of it.
    #[serde(flatten)]
    pub end: AskEnd,
    /// How the run has ended; `None` if the journal cannot be read from here, or does not say.
    pub outcome: Option<RunOutcome>,
    /// Writes that were never answered, in words, as the journal has them.
    pub open_writes: Vec<String>,
}

impl AbortReport {
    /// Of a run whose journal, read afterwards, tells this.
    pub fn new(run: RunId, end: AskEnd, journal: Option<&RunState>) -> Self {
        let outcome = journal.and_then(RunState::closed).cloned();
        let open = journal.into_iter().flat_map(RunState::open_intents);
        Self { run, end, outcome, open_writes: open.map(|(_, _, write)| write.to_string()).collect() }
    }

    /// What the command exits with: 0 if the run is not at work any more and holds nothing that it could not give back, 3 if
    /// another run works on the cluster, else 1.
    pub fn exit_code(&self) -> u8 {
        let failed = matches!(self.outcome, Some(RunOutcome::Held { .. } | RunOutcome::IdentityLost { .. }));
        match &self.end {
            AskEnd::NobodyWorks => 0,
            AskEnd::LetGo => u8::from(failed),
            AskEnd::FellSilent(_) => u8::from(failed || self.outcome.is_none()),
            AskEnd::AnotherRun(_) => 3,
            AskEnd::Dead(_) | AskEnd::Deaf(_) | AskEnd::StillAtWork(_) => 1,
        }
    }
}

impl Abort {
    pub(crate) fn new(cluster: Cluster, run: RunId) -> Self {
        Self { cluster, run, at_once: false, wait: WAIT }
    }

    /// Not at a safe point but at once, as a second Ctrl-C: writes that are under way stay unanswered, which the journal says.
    pub fn at_once(self, at_once: bool) -> Self {
        Self { at_once, ..self }
    }

    /// For how long is waited until the run has let go of the cluster; 10 minutes unless set.
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// For how long is waited.
    pub fn waits(&self) -> Duration {
        self.wait
    }

    /// Refuses if a plan, such as that of the run's journal, is for another cluster.
    ///
    /// # Errors
    /// [`Error::Identity`] then.
    pub fn for_plan_of(self, planned: &ClusterIdentity) -> Result<Self, Error> {
        self.cluster.is_planned_for(planned)?;
        Ok(self)
    }

    /// Asks the run to stop, and waits until it has let go of the cluster. The only thing that is written is the request, and
    /// only to a run that has shown to be alive.
    ///
    /// Dropping the future waits no longer; a request that was made stays.
    ///
    /// # Errors
    /// [`Error::Remote`] if the Lease cannot be read or written.
    pub async fn perform(self, tell: impl Fn(AbortProgress) + Send) -> Result<AskEnd, Error> {
        let Services { kubernetes, clock, .. } = self.cluster.services();
        let times = LockTimes::default();
        let request = StopRequest { run: self.run, at_once: self.at_once, by: holder::person() };
        let until = clock.elapsed() + times.lease() + self.wait;
        let mut asking = Asking::new(request, times, self.wait);
        let mut told = None;
        let mut action = AskAction::Look { at: clock.elapsed() };
        loop {
            action = match action {
                AskAction::End(end) => return Ok(end),
                AskAction::Look { at } => {
                    let now = clock.elapsed();
                    clock.sleep_until(clock.now() + at.saturating_sub(now)).await;
                    match kubernetes.lease(&lock_name()).await {
                        Ok(lease) => asking.on(clock.elapsed(), lease),
                        Err(error) if error.is_retryable() && clock.elapsed() < until => {
                            asking.unread(clock.elapsed())
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                AskAction::Update { over, record } => {
                    let answer = kubernetes.update_lease(&lock_name(), &over, &record).await;
                    match answer {
                        Err(error) if !error.is_retryable() => return Err(error.into()),
                        answer => asking.answered(clock.elapsed(), answer.ok()),
                    }
                }
            };
            let progress = match (asking.stage(), &action) {
                (_, AskAction::End(_)) | (AskStage::Looking, AskAction::Update { .. }) => continue,
                (AskStage::Looking, AskAction::Look { .. }) => AbortProgress::Looking(times.lease()),
                (AskStage::Asked, _) => AbortProgress::Asked,
                (AskStage::Heard, _) => AbortProgress::Heard,
            };
            if told.replace(progress) != Some(progress) {
                tell(progress);
            }
        }
    }
}

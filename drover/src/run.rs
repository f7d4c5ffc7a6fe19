//! A run under way.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use upgrade_core::event::{Event, Report};
use upgrade_core::model::RunId;
use upgrade_core::ports::EventSink;
use upgrade_core::run::{DriveError, StopHandle};

use crate::error::Error;
use crate::journal::RunPlace;

/// A run under way, or ended. Made by [`Apply::start`](crate::Apply::start).
///
/// The work is done on a task of the runtime it was started on, whether or not anybody listens: dropping this value does not
/// stop the run, and neither does a reader who is slow. To stop it, ask with a [`stop_handle`](Self::stop_handle).
#[derive(Debug)]
pub struct Run {
    pub(crate) id: RunId,
    pub(crate) journal: RunPlace,
    pub(crate) stop: StopHandle,
    pub(crate) events: UnboundedReceiver<Event>,
    pub(crate) work: JoinHandle<Result<Report, DriveError>>,
}

impl Run {
    /// The run's id.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The place of the run's journal.
    pub fn journal(&self) -> &RunPlace {
        &self.journal
    }

    /// A handle to stop the run with.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// The next event; `None` when the run has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Waits for the end. However the run ends is in the report; an error means that it had no end of its own.
    pub async fn finish(self) -> Result<Report, Error> {
        let Self { id: run, journal, work, .. } = self;
        let journal = journal.to_string();
        match work.await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(source)) => Err(Error::RunFailed { run, journal, source }),
            Err(source) => Err(Error::RunLost { run, journal, source }),
        }
    }
}

/// Events on their way to [`Run::next`].
pub(crate) struct Channel(pub(crate) UnboundedSender<Event>);

impl EventSink for Channel {
    fn emit(&self, event: &Event) {
        // Nobody listens any more: that is the listener's right.
        let _ = self.0.send(event.clone());
    }
}

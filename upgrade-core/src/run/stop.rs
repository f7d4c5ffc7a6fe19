//! Asking a run to stop.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::FusedStream;

/// Asks a run to stop. Cheap to clone; dropping it asks nothing.
#[derive(Clone, Debug)]
pub struct StopHandle(UnboundedSender<()>);

/// The run's end of a [`StopHandle`].
#[derive(Debug)]
pub struct StopSignal(UnboundedReceiver<()>);

/// A handle to ask with, and the signal to give to [`drive`](super::drive).
pub fn stop_signal() -> (StopHandle, StopSignal) {
    let (sender, receiver) = unbounded();
    (StopHandle(sender), StopSignal(receiver))
}

impl StopHandle {
    /// The first call lets the writes in hand be answered and stops before the next; the second stops at once and leaves
    /// open what is open, which the journal knows. A run that has ended does not care.
    pub fn stop(&self) {
        // A closed channel means that the run has ended: there is nothing left to stop.
        let _ = self.0.unbounded_send(());
    }
}

impl Stream for StopSignal {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<()>> {
        match Pin::new(&mut self.0).poll_next(context) {
            // Every handle is gone: nobody will ever ask.
            Poll::Ready(None) => Poll::Pending,
            other => other,
        }
    }
}

impl FusedStream for StopSignal {
    fn is_terminated(&self) -> bool {
        false
    }
}

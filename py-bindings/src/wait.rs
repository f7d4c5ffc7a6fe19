//! Waiting for async work from Python: the interpreter is released, and signals are heard.

use std::future::Future;
use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;

/// How often signals are looked for. Python runs its signal handlers only when asked to, on its main thread; a person who
/// presses Ctrl-C should not wonder whether it was heard, and ten looks in a second cost nothing.
const TICK: Duration = Duration::from_millis(100);

/// One runtime for the whole process, never shut down: a run goes on while Python does something else.
static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(Runtime::new);

/// The runtime, for what must be started inside it.
pub(crate) fn runtime() -> PyResult<&'static Runtime> {
    RUNTIME.as_ref().map_err(|error| PyRuntimeError::new_err(format!("no threads for Drover: {error}")))
}

/// Waits for work that may be dropped at any time. The first signal that Python answers with an exception drops it.
pub(crate) fn or_leave<T: Send>(py: Python<'_>, work: impl Future<Output = T> + Send) -> PyResult<T> {
    let runtime = runtime()?;
    py.detach(|| {
        runtime.block_on(async {
            tokio::select! {
                out = work => Ok(out),
                error = interrupted() => Err(error),
            }
        })
    })
}

/// Waits for work that must come to its end. Each signal that Python answers with an exception calls `ask`, which is to make
/// that end come sooner; the first exception is raised when it has come.
pub(crate) fn to_the_end<T: Send>(
    py: Python<'_>,
    ask: impl Fn() + Sync,
    work: impl Future<Output = T> + Send,
) -> PyResult<T> {
    let runtime = runtime()?;
    py.detach(|| {
        runtime.block_on(async {
            tokio::pin!(work);
            let mut first = None;
            loop {
                tokio::select! {
                    out = &mut work => return first.map_or(Ok(out), Err),
                    error = interrupted() => {
                        ask();
                        first.get_or_insert(error);
                    }
                }
            }
        })
    })
}

/// Returns when a signal handler has raised an exception; on any thread but Python's main thread, never.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method's path alone fits one lifetime, not each"
)]
async fn interrupted() -> PyErr {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = Python::attach(|py| py.check_signals()) {
            return error;
        }
    }
}

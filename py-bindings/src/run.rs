//! A run under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aks_drover::Error;
use pyo3::prelude::*;
use tokio::sync::Mutex;
use upgrade_core::event::{Event, Report};
use upgrade_core::run::StopHandle;

use crate::error::{json, raise};
use crate::gate::Raised;
use crate::wait;

/// A run under way, or ended.
#[pyclass(frozen, module = "aks_drover._native")]
pub(crate) struct Run {
    id: String,
    journal: String,
    stop: StopHandle,
    /// Somebody asked to stop: asking again means "at once".
    asked: AtomicBool,
    raised: Raised,
    // An async lock: whoever waits for it has released the interpreter and hears signals.
    course: Mutex<Course>,
}

/// What of the run has been heard. Its futures are never dropped half-way: every wait for them goes to the end.
struct Course {
    run: Option<aks_drover::Run>,
    /// Events that nobody has taken.
    waiting: VecDeque<Event>,
    end: Option<Arc<Result<Report, Error>>>,
}

impl Course {
    /// Hears one event more, or the end.
    async fn hear(&mut self) {
        let Some(mut run) = self.run.take() else { return };
        match run.next().await {
            Some(event) => {
                self.waiting.push_back(event);
                self.run = Some(run);
            }
            None => self.end = Some(Arc::new(run.finish().await)),
        }
    }

    async fn hear_everything(&mut self) -> Arc<Result<Report, Error>> {
        loop {
            if let Some(end) = &self.end {
                return Arc::clone(end);
            }
            self.hear().await;
        }
    }
}

impl Run {
    pub(crate) fn new(run: aks_drover::Run, raised: Raised) -> Self {
        Self {
            id: run.id().to_string(),
            journal: run.journal().to_string(),
            stop: run.stop_handle(),
            asked: AtomicBool::new(false),
            raised,
            course: Mutex::new(Course { run: Some(run), waiting: VecDeque::new(), end: None }),
        }
    }

    fn ask_again(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.stop.stop();
    }

    fn ask_once(&self) {
        if !self.asked.swap(true, Ordering::Relaxed) {
            self.stop.stop();
        }
    }

    /// Waits for the end of the run; Ctrl-C brings it nearer.
    fn end(&self, py: Python<'_>) -> PyResult<Arc<Result<Report, Error>>> {
        let heard = async { self.course.lock().await.hear_everything().await };
        wait::to_the_end(py, || self.ask_again(), heard)
    }
}

/// What goes wrong with the run itself is raised, whatever its outcome is; its outcome is for Python to judge.
fn report(py: Python<'_>, end: &Result<Report, Error>) -> PyResult<String> {
    end.as_ref().map_err(|error| raise(py, error)).and_then(json)
}

#[pymethods]
impl Run {
    /// The run's id.
    #[getter]
    fn id(&self) -> &str {
        &self.id
    }

    /// The place of the run's journal: a path, or an address.
    #[getter]
    fn journal(&self) -> &str {
        &self.journal
    }

    /// Wait for the next event, as JSON; `None` after the last.
    fn next(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let leaving = AtomicBool::new(false);
        let heard = async {
            let mut course = self.course.lock().await;
            // Whoever is interrupted waits for the run's end, and leaves the events to the next who asks.
            while course.end.is_none() && (course.waiting.is_empty() || leaving.load(Ordering::Relaxed)) {
                course.hear().await;
            }
            if leaving.load(Ordering::Relaxed) {
                return (None, None);
            }
            (course.waiting.pop_front(), course.end.clone())
        };
        let ask = || {
            leaving.store(true, Ordering::Relaxed);
            self.ask_again();
        };
        match wait::to_the_end(py, ask, heard)? {
            (Some(event), _) => json(&event).map(Some),
            (None, end) => {
                self.raised.check(py)?;
                // A loop that nobody asks for its result must not end as if all were well.
                end.map_or(Ok(()), |end| report(py, &end).map(drop))?;
                Ok(None)
            }
        }
    }

    /// Ask the run to stop at a safe point; asked again, at once.
    fn stop(&self) {
        self.ask_again();
    }

    /// Wait for the end; the report, as JSON.
    fn finish(&self, py: Python<'_>) -> PyResult<String> {
        let end = self.end(py)?;
        self.raised.check(py)?;
        report(py, &end)
    }

    /// Ask the run to stop at a safe point, unless it was asked before, and wait for the end.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.ask_once();
        let end = self.end(py)?;
        report(py, &end).map(drop)
    }
}

//! A run under way.

use std::collections::VecDeque;
use std::path::PathBuf;
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
    journal: PathBuf,
    stop: StopHandle,
    /// Somebody asked to stop: asking again means "at once".
    asked: AtomicBool,
    raised: Raised,
    // An async lock: whoever waits for it hears signals, too.
    course: Mutex<Course>,
}

/// What of the run has been heard.
struct Course {
    run: Option<aks_drover::Run>,
    /// Events that nobody has taken.
    waiting: VecDeque<Event>,
    end: Option<Result<Report, Error>>,
}

impl Course {
    /// Hears one event more. Returns `false` when the run has ended.
    async fn hear(&mut self) -> bool {
        let Some(run) = &mut self.run else { return false };
        if let Some(event) = run.next().await {
            self.waiting.push_back(event);
            return true;
        }
        if let Some(run) = self.run.take() {
            self.end = Some(run.finish().await);
        }
        false
    }

    async fn hear_everything(&mut self) {
        while self.hear().await {}
    }

    async fn next(&mut self) -> Option<Event> {
        if self.waiting.is_empty() {
            self.hear().await;
        }
        self.waiting.pop_front()
    }
}

impl Run {
    pub(crate) fn new(run: aks_drover::Run, journal: PathBuf, raised: Raised) -> Self {
        Self {
            id: run.id().to_string(),
            journal,
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
    fn wait_for_end(&self, py: Python<'_>) -> PyResult<()> {
        let heard = async { self.course.lock().await.hear_everything().await };
        wait::to_the_end(py, || self.ask_again(), heard)
    }

    /// Raises what went wrong with the run itself, whatever its outcome is; otherwise returns its report.
    fn report(&self, py: Python<'_>) -> PyResult<String> {
        self.raised.check(py)?;
        let course = self.course.blocking_lock();
        match &course.end {
            Some(Ok(report)) => json(report),
            Some(Err(error)) => Err(raise(py, error)),
            None => Err(raise_unended()),
        }
    }
}

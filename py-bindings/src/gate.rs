//! A Python function as the run's gate.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pyo3::prelude::*;
use upgrade_core::ports::{Answer, Gate, Question};

/// The first exception that a gate raised.
#[derive(Clone, Default)]
pub(crate) struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    fn keep(&self, error: PyErr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Raises it, if there is one.
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        let raised = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        raised.as_ref().map_or(Ok(()), |error| Err(error.clone_ref(py)))
    }
}

/// A gate that asks a Python function, which takes the question as JSON and returns a bool.
pub(crate) struct PythonGate {
    ask: Arc<Py<PyAny>>,
    raised: Raised,
}

impl PythonGate {
    pub(crate) fn new(ask: Py<PyAny>) -> (Self, Raised) {
        let raised = Raised::default();
        (Self { ask: Arc::new(ask), raised: raised.clone() }, raised)
    }
}

#[async_trait]
impl Gate for PythonGate {
    /// An exception pauses the run: nobody has said "go on". It is raised in Python when the run has ended.
    async fn ask(&self, question: &Question) -> Answer {
        let Ok(question) = serde_json::to_string(question) else { return Answer::Pause };
        let ask = Arc::clone(&self.ask);
        // A person may take all night to answer: on a thread of its own, so that the run goes on watching.
        // Python may be on its way out: then there is nobody left to ask.
        let call = move || Python::try_attach(|py| ask.bind(py).call1((question,))?.extract::<bool>());
        match tokio::task::spawn_blocking(call).await {
            Ok(Some(Ok(true))) => Answer::Continue,
            Ok(Some(Ok(false)) | None) | Err(_) => Answer::Pause,
            Ok(Some(Err(error))) => {
                self.raised.keep(error);
                Answer::Pause
            }
        }
    }
}

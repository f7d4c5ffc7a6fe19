//! Python functions as the run's gate, and as its probes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pyo3::prelude::*;
use upgrade_core::model::ProbeName;
use upgrade_core::ports::{Answer, Gate, ProbeAnswer, Question};

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

/// A gate that asks Python functions.
pub(crate) struct PythonGate {
    /// Takes the question as JSON and returns a bool; without it nobody is there to ask.
    ask: Option<Arc<Py<PyAny>>>,
    /// Each takes nothing and returns whether all is well, with its words.
    probes: BTreeMap<ProbeName, Arc<Py<PyAny>>>,
    raised: Raised,
}

impl PythonGate {
    pub(crate) fn new(ask: Option<Py<PyAny>>, probes: BTreeMap<ProbeName, Py<PyAny>>) -> (Self, Raised) {
        let raised = Raised::default();
        let probes = probes.into_iter().map(|(name, probe)| (name, Arc::new(probe))).collect();
        (Self { ask: ask.map(Arc::new), probes, raised: raised.clone() }, raised)
    }
}

#[async_trait]
impl Gate for PythonGate {
    /// An exception pauses the run: nobody has said "go on". It is raised in Python when the run has ended.
    async fn ask(&self, question: &Question) -> Answer {
        let Some(ask) = self.ask.clone() else { return Answer::Pause };
        let Ok(question) = serde_json::to_string(question) else { return Answer::Pause };
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

    /// An exception is no answer, and no more: the run asks again, or asks a person.
    async fn probe(&self, probe: &ProbeName) -> ProbeAnswer {
        let unknown = |words: &str| ProbeAnswer::Unknown { words: words.to_owned() };
        let Some(probe) = self.probes.get(probe).cloned() else {
            return unknown("neither the configuration nor Python knows how to ask it");
        };
        let call = move || {
            let called = |py: Python<'_>| probe.bind(py).call0()?.extract::<(bool, String)>();
            Python::try_attach(|py| called(py).map_err(|error| error.to_string()))
        };
        match tokio::task::spawn_blocking(call).await {
            Ok(Some(Ok((true, words)))) => ProbeAnswer::Green { words },
            Ok(Some(Ok((false, words)))) => ProbeAnswer::Red { words },
            Ok(Some(Err(error))) => unknown(&error),
            Ok(None) | Err(_) => unknown("Python is on its way out"),
        }
    }

    fn more_probes(&self) -> Vec<ProbeName> {
        self.probes.keys().cloned().collect()
    }
}

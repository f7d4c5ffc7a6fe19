//! A connected cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use aks_drover::{AbortReport, Apply, Fleet, JournalPlace, RunSelector};
use pyo3::prelude::*;
use upgrade_core::model::{ProbeName, RunId, VersionRequest};
use upgrade_core::ports::AskBefore;
use upgrade_core::run::failure::OnFailure;
use upgrade_core::run::stop_signal;

use crate::error::{json, raise, refuse};
use crate::gate::PythonGate;
use crate::plan::{Inventory, Plan};
use crate::run::Run;
use crate::wait;

/// A cluster whose identity is proven.
#[pyclass(frozen, module = "aks_drover._native")]
pub(crate) struct Cluster {
    inner: aks_drover::Cluster,
}

/// Read the configuration and prove the cluster's identity.
#[pyfunction]
pub(crate) fn connect(py: Python<'_>, config: PathBuf, name: &str) -> PyResult<Cluster> {
    let connected = async move { Fleet::from_file(&config)?.connect(name).await };
    let inner = wait::or_leave(py, connected)?.map_err(|error| raise(py, &error))?;
    Ok(Cluster { inner })
}

#[pymethods]
impl Cluster {
    /// The name in the configuration.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// The identity, as JSON.
    #[getter]
    fn identity(&self) -> PyResult<String> {
        json(self.inner.identity())
    }

    /// Read everything a plan rests on.
    fn inventory(&self, py: Python<'_>) -> PyResult<Inventory> {
        let inventory = wait::or_leave(py, self.inner.inventory())?;
        inventory.map(Inventory::new).map_err(|error| raise(py, &error))
    }

    /// Read and check; the findings, as JSON.
    fn check(&self, py: Python<'_>, to: &str) -> PyResult<String> {
        let to = version(py, to)?;
        let findings = wait::or_leave(py, self.inner.check(to))?;
        json(&findings.map_err(|error| raise(py, &error))?)
    }

    /// Read, check and plan.
    fn plan(&self, py: Python<'_>, to: &str) -> PyResult<Plan> {
        let to = version(py, to)?;
        let plan = wait::or_leave(py, self.inner.plan(to))?;
        plan.map(Plan::new).map_err(|error| raise(py, &error))
    }

    /// Refuse a stale plan, or begin a run of it. The gate takes a question as JSON; a probe gives a bool and its words.
    #[pyo3(signature = (plan, journal, gate, probes, approve, on_failure))]
    #[expect(clippy::too_many_arguments, reason = "as many as the method has in Python")]
    fn apply(
        &self,
        py: Python<'_>,
        plan: &Plan,
        journal: PathBuf,
        gate: Option<Py<PyAny>>,
        probes: BTreeMap<String, Py<PyAny>>,
        approve: &str,
        on_failure: &str,
    ) -> PyResult<Run> {
        let then = when_it_fails(py, on_failure)?;
        let before = match approve {
            "none" => AskBefore::None,
            "stage" => AskBefore::Stage,
            "step" => AskBefore::Step,
            _ => {
                let hint = "write \"none\", \"stage\" or \"step\"".to_owned();
                return Err(refuse(py, "`approve`: not known here", Some(hint)));
            }
        };
        let apply = self.inner.apply(plan.file().clone()).ask_before(before).on_failure(then);
        begin(py, apply, journal, gate, probes)
    }

    /// Go on with a run from its journal.
    #[pyo3(signature = (run, journal, gate, probes, approve, on_failure))]
    #[expect(clippy::too_many_arguments, reason = "as many as the method has in Python")]
    fn resume(
        &self,
        py: Python<'_>,
        run: PathBuf,
        journal: PathBuf,
        gate: Option<Py<PyAny>>,
        probes: BTreeMap<String, Py<PyAny>>,
        approve: Option<String>,
        on_failure: Option<&str>,
    ) -> PyResult<Run> {
        let run = RunSelector::parse(run).map_err(|error| refuse(py, &format!("`run`: {error}"), None))?;
        let resume = self.inner.resume(run);
        let resume = approve.into_iter().fold(resume, Apply::approve);
        let then = on_failure.map(|then| when_it_fails(py, then)).transpose()?;
        let resume = then.into_iter().fold(resume, Apply::on_failure);
        begin(py, resume, journal, gate, probes)
    }

    /// Ask a run to stop that works elsewhere; what came of it, as JSON.
    fn abort(&self, py: Python<'_>, run: String, at_once: bool, wait: f64) -> PyResult<String> {
        let id = RunId::new(run).map_err(|error| refuse(py, &format!("`run`: {error}"), None))?;
        let wait = Duration::try_from_secs_f64(wait)
            .map_err(|error| refuse(py, &format!("`wait`: {error}"), None))?;
        let abort = self.inner.abort(id.clone()).at_once(at_once).wait(wait);
        let asked = wait::or_leave(py, abort.perform(|_| ()))?.map_err(|error| raise(py, &error))?;
        json(&AbortReport::new(id, asked, None))
    }

    /// Find what runs have left, as JSON.
    fn leftovers(&self, py: Python<'_>, journal: PathBuf) -> PyResult<String> {
        let leftovers = self.inner.leftovers().journal(place(py, journal)?);
        let left = wait::or_leave(py, leftovers.find(&|_| ()))?;
        json(&left.map_err(|error| raise(py, &error))?)
    }

    /// Give back what runs have left; what was written and what is left, as JSON.
    fn clean(&self, py: Python<'_>, journal: PathBuf) -> PyResult<String> {
        let leftovers = self.inner.leftovers().journal(place(py, journal)?);
        let (handle, mut stop) = stop_signal();
        let cleans = leftovers.clean(&mut stop, &|_| ());
        let cleaned = wait::to_the_end(py, || handle.stop(), cleans)?;
        json(&cleaned.map_err(|error| raise(py, &error))?)
    }
}

fn place(py: Python<'_>, journal: PathBuf) -> PyResult<JournalPlace> {
    JournalPlace::parse(journal).map_err(|error| refuse(py, &format!("`journal`: {error}"), None))
}

fn when_it_fails(py: Python<'_>, text: &str) -> PyResult<OnFailure> {
    match text {
        "hold" => Ok(OnFailure::Hold),
        "reverse" => Ok(OnFailure::Reverse),
        _ => {
            let hint = "write \"hold\" or \"reverse\"".to_owned();
            Err(refuse(py, "`on_failure`: not known here", Some(hint)))
        }
    }
}

fn begin(
    py: Python<'_>,
    apply: Apply,
    journal: PathBuf,
    gate: Option<Py<PyAny>>,
    probes: BTreeMap<String, Py<PyAny>>,
) -> PyResult<Run> {
    let place = place(py, journal)?;
    let named = |(name, probe)| ProbeName::new(name).map(|name| (name, probe));
    let probes: BTreeMap<ProbeName, Py<PyAny>> = probes
        .into_iter()
        .map(named)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(py, &format!("`probes`: {error}"), None))?;
    let (gate, raised) = PythonGate::new(gate, probes);
    let run =
        wait::or_leave(py, apply.journal(place).gate(gate).start())?.map_err(|error| raise(py, &error))?;
    Ok(Run::new(run, raised))
}

fn version(py: Python<'_>, text: &str) -> PyResult<VersionRequest> {
    text.parse().map_err(|error| {
        let hint = "write `1.36` for the newest patch that Azure offers, or `1.36.2`";
        refuse(py, &format!("`to`: {error}"), Some(hint.to_owned()))
    })
}

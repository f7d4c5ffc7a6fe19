//! Inventories and plans.

use std::path::PathBuf;

use aks_drover::{PlanFile, SnapshotFile, report, timing_file};
use cluster_lab::{RehearseOptions, TimingModel};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde::Serialize;
use upgrade_core::plan::{Action, Reversal, Stage, Step};

use crate::error::{json, raise, refuse};
use crate::wait;

/// What was seen.
#[pyclass(frozen, module = "aks_drover._native")]
pub(crate) struct Inventory {
    file: SnapshotFile,
}

impl Inventory {
    pub(crate) fn new(inventory: upgrade_core::Inventory) -> Self {
        Self { file: SnapshotFile::new(inventory) }
    }
}

#[pymethods]
impl Inventory {
    /// Everything, as JSON.
    fn json(&self) -> String {
        self.file.to_json()
    }

    /// Write the snapshot file.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.file.save(path)).map_err(|error| raise(py, &error))
    }
}

/// A plan with the inventory it was made from.
#[pyclass(frozen, module = "aks_drover._native")]
pub(crate) struct Plan {
    file: PlanFile,
}

impl Plan {
    pub(crate) fn new(file: PlanFile) -> Self {
        Self { file }
    }

    pub(crate) fn file(&self) -> &PlanFile {
        &self.file
    }
}

#[pymethods]
impl Plan {
    /// Read a plan file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| PlanFile::load(path)).map(Self::new).map_err(|error| raise(py, &error))
    }

    /// Write the plan file.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.file.save(path)).map_err(|error| raise(py, &error))
    }

    /// The plan's fingerprint.
    #[getter]
    fn hash(&self) -> String {
        self.file.plan.hash()
    }

    /// Show the plan as the command line does.
    fn text(&self) -> String {
        report::text::plan(&self.file.plan).to_string()
    }

    /// Everything, as JSON.
    fn json(&self) -> String {
        self.file.to_json()
    }

    /// Give the stages, with a title for each step, as JSON.
    fn stages(&self) -> PyResult<String> {
        json(&self.file.plan.stages.iter().map(TitledStage::new).collect::<Vec<_>>())
    }

    /// Execute the plan in the lab, with the times of a file where one is given; the forecast, as JSON.
    fn rehearse(&self, py: Python<'_>, runs: u32, seed: u64, timing: Option<PathBuf>) -> PyResult<String> {
        if runs == 0 {
            return Err(refuse(py, "`runs`: 0 rehearsals tell nothing", None));
        }
        let changes = timing.map(timing_file).transpose().map_err(|error| raise(py, &error))?;
        let timing = TimingModel::default().with(&changes.unwrap_or_default());
        let options = RehearseOptions { runs, seed, timing };
        let PlanFile { inventory, plan, .. } = self.file.clone();
        // On a thread of its own: whoever presses Ctrl-C leaves at once, and the thread ends when it is done.
        let rehearsed =
            wait::runtime()?.spawn_blocking(move || cluster_lab::rehearse(&inventory, &plan, &options));
        let forecast = wait::or_leave(py, rehearsed)?;
        json(
            &forecast
                .map_err(|error| PyRuntimeError::new_err(format!("the rehearsal broke off: {error}")))?,
        )
    }
}

/// A stage whose steps carry what they ensure in words, which in Rust is their `Display`.
#[derive(Serialize)]
struct TitledStage<'a> {
    number: u32,
    title: &'a str,
    lanes: Vec<TitledLane<'a>>,
}

#[derive(Serialize)]
struct TitledLane<'a> {
    steps: Vec<TitledStep<'a>>,
}

#[derive(Serialize)]
struct TitledStep<'a> {
    id: String,
    title: String,
    action: &'a Action,
    reversal: &'a Reversal,
}

impl<'a> TitledStage<'a> {
    fn new(stage: &'a Stage) -> Self {
        let lanes = stage
            .lanes
            .iter()
            .map(|lane| TitledLane { steps: lane.steps.iter().map(TitledStep::new).collect() });
        Self { number: stage.number, title: &stage.title, lanes: lanes.collect() }
    }
}

impl<'a> TitledStep<'a> {
    fn new(step: &'a Step) -> Self {
        Self {
            id: step.id.to_string(),
            title: step.action.to_string(),
            action: &step.action,
            reversal: &step.reversal,
        }
    }
}

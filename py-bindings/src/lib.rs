//! The native module `aks_drover._native`: handles, and JSON for everything else.
//!
//! There is no decision here. What Python sees is written in Python, beside this module (`python/aks_drover/`).

use pyo3::prelude::*;

mod cluster;
mod error;
mod gate;
mod plan;
mod run;
mod wait;

#[pymodule]
mod _native {
    use std::ffi::OsString;

    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::cluster::{Cluster, connect};
    #[pymodule_export]
    use crate::plan::{Inventory, Plan};
    #[pymodule_export]
    use crate::run::Run;

    /// Run the command line; `arguments` begin with the program's name. Returns the exit code.
    #[pyfunction]
    fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
        py.detach(|| aks_drover::cli::run(arguments))
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

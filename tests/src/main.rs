//! The command `aks-drover`, built for the tests of this package: cargo tells a test only where its own package's programs are.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(aks_drover::cli::run(std::env::args_os()))
}

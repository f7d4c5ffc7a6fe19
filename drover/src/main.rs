//! The command `aks-drover`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(aks_drover::cli::run(std::env::args_os()))
}
